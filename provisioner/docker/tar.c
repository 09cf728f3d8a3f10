#include "provisioner/docker/tar.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 512 };

struct header {
    char name[100];
    char mode[8], uid[8], gid[8];
    char size[12], mtime[12];
    char checksum[8];
    char type;
    char linkname[100];
    char magic[6], version[2];
    char uname[32], gname[32];
    char devmajor[8], devminor[8];
    char prefix[155];
    char pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a tar header is one block");

/* The sum of the header's bytes, its own field taken as blanks. */
static unsigned checksum(const struct header *h)
{
    const unsigned char *bytes = (const unsigned char *)h;
    const size_t from = offsetof(struct header, checksum);
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; i++)
        sum += i >= from && i < from + sizeof(h->checksum) ? ' ' : bytes[i];
    return sum;
}

static void put_octal(char *field, size_t width, uint64_t value)
{
    field[width - 1] = '\0';
    for (size_t i = width - 1; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
}

static bool get_octal(const char *field, size_t width, uint64_t *out)
{
    size_t i = 0;
    while (i < width && field[i] == ' ')
        i++;
    size_t first = i;
    uint64_t value = 0;
    for (; i < width && field[i] >= '0' && field[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(field[i] - '0');
    *out = value;
    return i > first && (i == width || field[i] == '\0' || field[i] == ' ');
}

static void pad_to_block(struct buf *out, size_t len)
{
    static const char zeros[BLOCK];
    if (len % BLOCK)
        buf_add(out, zeros, BLOCK - len % BLOCK);
}

int tar_write(struct buf *out, const char *name, const void *data, size_t len, int64_t mtime,
              struct error *err)
{
    struct header h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
    size_t name_len = strlen(name);
    if (name_len == 0 || name_len > sizeof(h.name) || strchr(name, '/') || str_eq(name, ".") ||
        str_eq(name, ".."))
        return error_set(err, RESULT_REFUSED, "'%s' can't be the name of a file to be put there",
                         name);
    if (len > TAR_FILE_LIMIT)
        return error_set(err, RESULT_REFUSED, "%s: larger than %d bytes", name, TAR_FILE_LIMIT);
    memcpy(h.name, name, name_len);
    put_octal(h.mode, sizeof(h.mode), 0600);
    put_octal(h.uid, sizeof(h.uid), 0);
    put_octal(h.gid, sizeof(h.gid), 0);
    put_octal(h.size, sizeof(h.size), len);
    put_octal(h.mtime, sizeof(h.mtime), mtime > 0 ? (uint64_t)mtime : 0);
    put_octal(h.devmajor, sizeof(h.devmajor), 0);
    put_octal(h.devminor, sizeof(h.devminor), 0);
    put_octal(h.checksum, sizeof(h.checksum) - 1, checksum(&h));
    h.checksum[7] = ' ';

    /* Room at once: growing would copy the key about (wiped, but why). */
    buf_reserve(out, len + (size_t)4 * BLOCK);
    buf_add(out, &h, BLOCK);
    buf_add(out, data, len);
    pad_to_block(out, len);
    static const char end[2 * BLOCK];
    buf_add(out, end, sizeof(end));
    return 0;
}

static int check(const struct header *h, uint64_t *size, struct error *err)
{
    uint64_t sum = 0;
    if (memcmp(h->magic, "ustar", 5) != 0)
        return error_set(err, RESULT_FAILED, "not a tar archive");
    if (!get_octal(h->checksum, sizeof(h->checksum), &sum) || sum != checksum(h))
        return error_set(err, RESULT_FAILED, "a tar header with a wrong checksum");
    if (!get_octal(h->size, sizeof(h->size), size) || *size > TAR_FILE_LIMIT)
        return error_set(err, RESULT_FAILED, "a tar entry larger than %d bytes", TAR_FILE_LIMIT);
    return 0;
}

/* The first entry's header; *at: where its contents begin, *size: of them. A link has none. */
static int find(const struct buf *tar, struct header *h, size_t *at, uint64_t *size,
                struct error *err)
{
    bool extended = false;
    *at = 0;
    while (tar->len - *at >= BLOCK) {
        memcpy(h, tar->data + *at, BLOCK);
        if (check(h, size, err) < 0)
            return -1;
        *at += BLOCK;
        if (h->type == '2' && extended)
            return error_set(err, RESULT_FAILED, "a symbolic link with a long target");
        if (h->type == '2')
            return 0;
        if (*size > tar->len - *at)
            break;
        if (h->type == '0' || h->type == '\0')
            return 0;
        if (!h->type || !strchr("xgLK", h->type))
            return error_set(err, RESULT_FAILED, "not a regular file");
        size_t blocks = (*size + BLOCK - 1) / BLOCK * BLOCK;
        if (blocks > tar->len - *at)
            break;
        *at += blocks;
        extended = true;
    }
    return error_set(err, RESULT_FAILED, "a tar archive that is cut short");
}

int tar_read(const struct buf *tar, struct buf *out, char **link, struct error *err)
{
    struct header h = {0};
    size_t at = 0;
    uint64_t size = 0;
    *link = NULL;
    if (find(tar, &h, &at, &size, err) < 0)
        return -1;
    if (h.type == '2')
        *link = mem_strndup(h.linkname, sizeof(h.linkname));
    else
        buf_add(out, tar->data + at, size);
    return 0;
}

int tar_changed_at(const struct buf *tar, long long *out, struct error *err)
{
    struct header h = {0};
    size_t at = 0;
    uint64_t size = 0, mtime = 0;
    *out = 0;
    if (find(tar, &h, &at, &size, err) < 0)
        return -1;
    if (h.type != '2' && get_octal(h.mtime, sizeof(h.mtime), &mtime) && mtime <= INT64_MAX)
        *out = (long long)mtime;
    return 0;
}
