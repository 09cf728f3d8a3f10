/*
 * libssh2_knownhost_* is not used: it knows neither @revoked nor patterns nor negation, it drops
 * @cert-authority lines without saying so, and it fails on the first line that it can't parse, so
 * that one foreign line would make every host unknown. What is left to do here is small: split a
 * line, match a name, compare two blobs.
 */
#include "provisioner/ssh/known_hosts.h"

#include "base/file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEFAULT_PORT = 22, MAX_KEY = 64 * 1024 };

struct text {
    const char *at;
    size_t len;
};

struct line {
    bool revoked;
    struct text names, type;
    char *blob;
    size_t blob_len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct text next_word(struct text *rest)
{
    while (rest->len && is_blank(*rest->at))
        rest->at++, rest->len--;
    struct text word = {rest->at, 0};
    while (rest->len && !is_blank(*rest->at))
        rest->at++, rest->len--, word.len++;
    return word;
}

static struct text next_item(struct text *rest, char separator)
{
    const char *end = rest->len ? memchr(rest->at, separator, rest->len) : NULL;
    struct text item = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
    size_t used = end ? item.len + 1 : item.len;
    rest->at += used;
    rest->len -= used;
    return item;
}

static bool text_is(struct text t, const char *s)
{
    return t.len == strlen(s) && memcmp(t.at, s, t.len) == 0;
}

/* NULL where it is no base64. */
static char *decode(struct text in, size_t *len)
{
    if (in.len == 0 || in.len % 4 != 0 || in.len > MAX_KEY)
        return NULL;
    char *out = mem_alloc(in.len / 4 * 3 + 1, 1);
    int n = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)in.at, (int)in.len);
    size_t padding = (size_t)(in.at[in.len - 1] == '=') + (size_t)(in.at[in.len - 2] == '=');
    if (n < 3 || (size_t)n < padding) {
        mem_free(out);
        return NULL;
    }
    *len = (size_t)n - padding;
    return out;
}

/* The type's name that a key begins with, as the SSH protocol writes strings. */
static struct text blob_type(const void *blob, size_t len)
{
    const unsigned char *b = blob;
    if (len < 4)
        return (struct text){"", 0};
    size_t n = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
    if (n > len - 4)
        return (struct text){"", 0};
    return (struct text){(const char *)b + 4, n};
}

/* Case doesn't count. No recursion, and at worst pattern times name: patterns come from a file. */
static bool glob(struct text pattern, const char *name)
{
    size_t p = 0, star = SIZE_MAX;
    const char *resume = name;
    while (*name) {
        if (p < pattern.len && pattern.at[p] == '*') {
            star = p++;
            resume = name;
        } else if (p < pattern.len &&
                   (pattern.at[p] == '?' ||
                    tolower((unsigned char)pattern.at[p]) == tolower((unsigned char)*name))) {
            p++;
            name++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            name = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.at[p] == '*')
        p++;
    return p == pattern.len;
}

/* |1|salt|hash: HMAC-SHA1 of the name, keyed with the salt. */
static bool hashed_is(struct text names, const char *name)
{
    static const char magic[] = "|1|";
    if (names.len < sizeof(magic) - 1 || memcmp(names.at, magic, sizeof(magic) - 1) != 0)
        return false;
    struct text rest = {names.at + 3, names.len - 3};
    struct text salt_text = next_item(&rest, '|');
    size_t salt_len = 0, hash_len = 0;
    char *salt CLEANUP(cleanup_mem) = decode(salt_text, &salt_len);
    char *hash CLEANUP(cleanup_mem) = decode(rest, &hash_len);
    unsigned char own[EVP_MAX_MD_SIZE];
    unsigned own_len = 0;
    if (!salt || !hash ||
        !HMAC(EVP_sha1(), salt, (int)salt_len, (const unsigned char *)name, strlen(name), own,
              &own_len))
        return false;
    return hash_len == own_len && memcmp(hash, own, own_len) == 0;
}

static bool names_match(struct text names, const char *name)
{
    if (names.len && names.at[0] == '|')
        return hashed_is(names, name);
    bool found = false;
    while (names.len) {
        struct text pattern = next_item(&names, ',');
        bool negated = pattern.len && pattern.at[0] == '!';
        if (negated)
            pattern.at++, pattern.len--;
        if (!pattern.len || !glob(pattern, name))
            continue;
        if (negated)
            return false; /* whatever else the list says */
        found = true;
    }
    return found;
}

/* False for what is no line with a host key: empty, a comment, @cert-authority, unknown markers,
 * broken keys. */
static bool line_parse(struct text text, struct line *out)
{
    struct text rest = text;
    *out = (struct line){0};
    struct text word = next_word(&rest);
    if (!word.len || word.at[0] == '#')
        return false;
    if (word.at[0] == '@') {
        if (!text_is(word, "@revoked"))
            return false;
        out->revoked = true;
        word = next_word(&rest);
    }
    out->names = word;
    out->type = next_word(&rest);
    struct text key = next_word(&rest);
    if (!out->names.len || !out->type.len || !key.len)
        return false;
    out->blob = decode(key, &out->blob_len);
    if (!out->blob)
        return false;
    struct text inner = blob_type(out->blob, out->blob_len);
    if (inner.len == out->type.len && memcmp(inner.at, out->type.at, inner.len) == 0)
        return true;
    mem_free(STEAL(out->blob));
    return false;
}

/* As known_hosts files name it. Hashes are over lower case. */
static char *host_name(const char *host, uint16_t port)
{
    char *name = port == DEFAULT_PORT ? mem_strdup(host) : mem_printf("[%s]:%u", host, port);
    for (char *c = name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return name;
}

static enum host_key_verdict check_name(struct text text, const char *name,
                                        const struct host_key *key, size_t *line)
{
    enum host_key_verdict verdict = HOST_KEY_UNKNOWN;
    for (size_t number = 1; text.len; number++) {
        struct line l;
        if (!line_parse(next_item(&text, '\n'), &l))
            continue;
        char *blob CLEANUP(cleanup_mem) = l.blob;
        bool same = l.blob_len == key->blob_len && memcmp(blob, key->blob, l.blob_len) == 0;
        if (!names_match(l.names, name))
            continue;
        if (l.revoked && same) {
            *line = number;
            return HOST_KEY_REVOKED; /* a line that has it as good doesn't help */
        }
        if (l.revoked || verdict == HOST_KEY_KNOWN)
            continue;
        if (same || verdict == HOST_KEY_UNKNOWN) {
            verdict = same ? HOST_KEY_KNOWN : HOST_KEY_CHANGED;
            *line = number;
        }
    }
    return verdict;
}

enum host_key_verdict known_hosts_check(const char *text, size_t len, const struct host_key *key,
                                        size_t *line)
{
    struct text whole = {text, len};
    size_t ignored = 0;
    if (!line)
        line = &ignored;
    *line = 0;
    char *name CLEANUP(cleanup_mem) = host_name(key->host, key->port);
    enum host_key_verdict verdict = check_name(whole, name, key, line);
    if (verdict != HOST_KEY_UNKNOWN || key->port == DEFAULT_PORT)
        return verdict;

    /* ssh(1) takes a key that stands under the bare name for another port too, but only as a yes:
     * machines behind one address have one key each. */
    char *bare CLEANUP(cleanup_mem) = host_name(key->host, DEFAULT_PORT);
    size_t bare_line = 0;
    verdict = check_name(whole, bare, key, &bare_line);
    if (verdict != HOST_KEY_KNOWN && verdict != HOST_KEY_REVOKED)
        return HOST_KEY_UNKNOWN;
    *line = bare_line;
    return verdict;
}

enum host_key_verdict known_hosts_combine(enum host_key_verdict a, enum host_key_verdict b)
{
    static const enum host_key_verdict order[] = {HOST_KEY_REVOKED, HOST_KEY_CHANGED,
                                                  HOST_KEY_KNOWN};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (a == order[i] || b == order[i])
            return order[i];
    }
    return HOST_KEY_UNKNOWN;
}

static void add_algorithm(struct buf *out, struct text name)
{
    for (struct text rest = {buf_str(out), out->len}; rest.len;) {
        struct text item = next_item(&rest, ',');
        if (item.len == name.len && memcmp(item.at, name.at, name.len) == 0)
            return;
    }
    if (out->len)
        buf_adds(out, ",");
    buf_add(out, name.at, name.len);
}

static void add_algorithms(struct buf *out, struct text text, const char *name)
{
    static const char *const rsa[] = {"rsa-sha2-512", "rsa-sha2-256"};
    while (text.len) {
        struct line l;
        if (!line_parse(next_item(&text, '\n'), &l))
            continue;
        mem_free(l.blob);
        if (l.revoked || !names_match(l.names, name))
            continue;
        if (text_is(l.type, "ssh-rsa")) {
            for (size_t i = 0; i < ARRAY_LEN(rsa); i++)
                add_algorithm(out, (struct text){rsa[i], strlen(rsa[i])});
        } else {
            add_algorithm(out, l.type);
        }
    }
}

char *known_hosts_algorithms(const char *text, size_t len, const char *host, uint16_t port)
{
    struct buf out CLEANUP(buf_free) = {0};
    struct text whole = {text, len};
    char *name CLEANUP(cleanup_mem) = host_name(host, port);
    add_algorithms(&out, whole, name);
    if (!out.len && port != DEFAULT_PORT) {
        char *bare CLEANUP(cleanup_mem) = host_name(host, DEFAULT_PORT);
        add_algorithms(&out, whole, bare);
    }
    return out.len ? mem_strdup(out.data) : NULL;
}

static char *encode(const unsigned char *data, size_t len)
{
    char *out = mem_alloc((len + 2) / 3 * 4 + 1, 1);
    EVP_EncodeBlock((unsigned char *)out, data, (int)len);
    return out;
}

char *host_key_fingerprint(const struct host_key *key)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256(key->blob, key->blob_len, hash);
    char *text CLEANUP(cleanup_mem) = encode(hash, sizeof(hash));
    text[strcspn(text, "=")] = '\0';
    return mem_printf("SHA256:%s", text);
}

static int sync_folder(const char *folder)
{
    int fd CLEANUP(cleanup_fd) = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

/* A line that somebody left without its newline must not swallow ours. */
static bool ends_in_line(int fd)
{
    char last = '\n';
    off_t size = lseek(fd, 0, SEEK_END);
    return size <= 0 || pread(fd, &last, 1, size - 1) != 1 || last == '\n';
}

/* The type comes from the server and the name from a file: nothing of them may make another line or
 * a pattern. */
static bool is_plain(struct text t, const char *forbidden)
{
    for (size_t i = 0; i < t.len; i++) {
        if (!isgraph((unsigned char)t.at[i]) || strchr(forbidden, t.at[i]))
            return false;
    }
    return t.len > 0;
}

int known_hosts_add(const char *path, const struct host_key *key, struct error *err)
{
    struct text type = blob_type(key->blob, key->blob_len);
    struct text host = {key->host, strlen(key->host)};
    if (!is_plain(type, "") || !is_plain(host, ",*?!|#@") || key->blob_len / 3 * 4 > MAX_KEY)
        return error_set(err, RESULT_FAILED, "%s: no line can be written for this host and key",
                         path);
    char *copy CLEANUP(cleanup_mem) = mem_strdup(path);
    const char *folder = dirname(copy);
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return error_set(err, RESULT_FAILED, "%s: making the folder: %s", folder, strerror(errno));

    int fd CLEANUP(cleanup_fd) = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, RESULT_FAILED, "%s: opening: %s", path, strerror(errno));
    struct buf line CLEANUP(buf_free) = {0};
    char *name CLEANUP(cleanup_mem) = host_name(key->host, key->port);
    char *blob CLEANUP(cleanup_mem) = encode(key->blob, key->blob_len);
    buf_printf(&line, "%s%s %.*s %s\n", ends_in_line(fd) ? "" : "\n", name, (int)type.len, type.at,
               blob);
    ssize_t n = write(fd, line.data, line.len);
    if (n < 0 || (size_t)n != line.len)
        return error_set(err, RESULT_FAILED, "%s: writing: %s", path,
                         n < 0 ? strerror(errno) : "the disk is full");
    if (fsync(fd) < 0 || sync_folder(folder) < 0)
        return error_set(err, RESULT_FAILED, "%s: writing: %s", path, strerror(errno));
    return 0;
}
