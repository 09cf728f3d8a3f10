#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { RANDOM_DIGITS = 16, MAX_LINKS = 40 };

static void shell_quote(struct buf *out, const char *s)
{
    buf_adds(out, "'");
    for (; *s; s++) {
        if (*s == '\'')
            buf_adds(out, "'\\''");
        else
            buf_add(out, s, 1);
    }
    buf_adds(out, "'");
}

static int check_private(const char *path, const struct stat *st, struct error *err)
{
    struct buf quoted CLEANUP(buf_free) = {0};
    shell_quote(&quoted, path);
    if (st->st_uid != geteuid() && st->st_uid != 0) {
        error_set(err, RESULT_REFUSED, "%s: belongs to another user (uid %lu)", path,
                  (unsigned long)st->st_uid);
        error_next(err, "chown \"$(id -u)\" %s", quoted.data);
        return -1;
    }
    if (st->st_mode & 077) {
        error_set(err, RESULT_REFUSED,
                  "%s: others may read or write it (mode %04o), and it may hold keys", path,
                  (unsigned)(st->st_mode & 07777));
        error_next(err, "chmod 600 %s", quoted.data);
        return -1;
    }
    return 0;
}

static int read_all(int fd, const char *path, size_t limit, struct buf *out, struct error *err)
{
    size_t total = 0;
    for (;;) {
        enum { CHUNK = 65536 };
        char *to = buf_reserve(out, CHUNK);
        ssize_t n = read(fd, to, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(err, RESULT_FAILED, "%s: reading: %m", path);
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        total += (size_t)n;
        if (total > limit)
            return error_set(err, RESULT_REFUSED, "%s: larger than %zu bytes", path, limit);
        if (n == 0)
            return 0;
    }
}

int file_read(const char *path, size_t limit, bool private, struct buf *out, bool *missing,
              struct error *err)
{
    if (missing)
        *missing = false;
    /* Non-blocking: a FIFO must not hold us up before it is seen to be one. */
    int fd CLEANUP(cleanup_fd) = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT && missing) {
        *missing = true;
        return 0;
    }
    if (fd < 0)
        return error_set(err, RESULT_FAILED, "%s: opening: %m", path);
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_set(err, RESULT_FAILED, "%s: looking at it: %m", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, RESULT_REFUSED, "%s: not a regular file", path);
    if (private && check_private(path, &st, err) != 0)
        return -1;
    size_t before = out->len;
    if (read_all(fd, path, limit, out, err) != 0) {
        explicit_bzero(out->data + before, out->cap - before);
        out->len = before;
        return -1;
    }
    return 0;
}

/* The folder ("." where there is none) and the name of a path. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_strdup(".");
    return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Follows symbolic links of the last component, dangling ones too. NULL: error set. */
static char *follow(const char *path, struct error *err)
{
    char *at CLEANUP(cleanup_mem) = mem_strdup(path);
    for (int i = 0; i < MAX_LINKS; i++) {
        char target[PATH_MAX];
        ssize_t n = readlink(at, target, sizeof(target) - 1);
        if (n < 0 && (errno == EINVAL || errno == ENOENT))
            return STEAL(at);
        if (n < 0) {
            error_set(err, RESULT_FAILED, "%s: following the link: %m", path);
            return NULL;
        }
        target[n] = '\0';
        char *folder CLEANUP(cleanup_mem) = folder_of(at);
        char *next = target[0] == '/' ? mem_strdup(target) : mem_printf("%s/%s", folder, target);
        mem_free(at);
        at = next;
    }
    error_set(err, RESULT_FAILED, "%s: too many symbolic links", path);
    return NULL;
}

static void remove_leftovers(int dir, const char *prefix)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return;
    }
    size_t len = strlen(prefix);
    for (struct dirent *e; (e = readdir(d));) {
        if (!str_starts(e->d_name, prefix))
            continue;
        const char *rest = e->d_name + len;
        if (strlen(rest) == RANDOM_DIGITS && strspn(rest, "0123456789abcdef") == RANDOM_DIGITS)
            unlinkat(dir, e->d_name, 0);
    }
    closedir(d);
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

enum write_how {
    WRITE_PRIVATE, /* 0600 */
    WRITE_FRESH,   /* that, and nothing is there yet */
    WRITE_KEEP,    /* with mode, owner and so on of what is there */
    WRITE_TRY,     /* that, and taken away again */
};

/* Else a group that the list gives no more than the mode's mask could read the new file. */
static int copy_access_list(int from, int to)
{
    static const char name[] = "system.posix_acl_access";
    char list[4096];
    ssize_t n = fgetxattr(from, name, list, sizeof(list));
    if (n < 0)
        return errno == ENODATA || errno == ENOTSUP ? 0 : -1;
    return fsetxattr(to, name, list, (size_t)n, 0);
}

static int keep_metadata(int fd, int dir, const char *name)
{
    struct stat old, new;
    int from CLEANUP(cleanup_fd) = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0 || fstat(from, &old) != 0 || fstat(fd, &new) != 0)
        return -1;
    if ((old.st_uid != new.st_uid || old.st_gid != new.st_gid) &&
        fchown(fd, old.st_uid, old.st_gid) != 0)
        return -1;
    return fchmod(fd, old.st_mode & 07777) == 0 ? copy_access_list(from, fd) : -1;
}

static int set_metadata(int fd, int dir, const char *name, enum write_how how)
{
    struct stat old;
    if (how == WRITE_KEEP || how == WRITE_TRY)
        return keep_metadata(fd, dir, name);
    if (fchmod(fd, 0600) != 0)
        return -1;
    /* A run under sudo must not lock the file's owner out. */
    if (geteuid() == 0 && fstatat(dir, name, &old, 0) == 0)
        return fchown(fd, old.st_uid, old.st_gid);
    return 0;
}

/* Fills the new file; it closes fd whatever happens. */
static int fill(int fd, int dir, const char *name, enum write_how how, const char *data, size_t len)
{
    int failed = set_metadata(fd, dir, name, how);
    failed = failed || write_all(fd, data, len) != 0 || fsync(fd) != 0;
    int why = errno;
    if (close(fd) != 0 && !failed)
        return -1;
    errno = why;
    return failed ? -1 : 0;
}

/* Into its place: over what is there, or only where nothing is. */
static int place(int dir, const char *beside, const char *name, enum write_how how)
{
    if (how == WRITE_TRY)
        return unlinkat(dir, beside, 0);
    if (how != WRITE_FRESH)
        return renameat(dir, beside, dir, name);
    return linkat(dir, beside, dir, name, 0) == 0 ? unlinkat(dir, beside, 0) : -1;
}

static int write_file(const char *real, const char *path, enum write_how how, const char *data,
                      size_t len, struct error *err)
{
    const char *name = name_of(real);
    if (!*name)
        return error_set(err, RESULT_FAILED, "%s: writing: it names a folder", path);
    char *folder CLEANUP(cleanup_mem) = folder_of(real);
    int dir CLEANUP(cleanup_fd) = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return error_set(err, RESULT_FAILED, "%s: opening its folder %s: %m", path, folder);

    char *prefix CLEANUP(cleanup_mem) = mem_printf(".%s.encrypt-", name);
    remove_leftovers(dir, prefix);
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_set(err, RESULT_FAILED, "%s: writing: no random numbers: %m", path);
    char *beside CLEANUP(cleanup_mem) = mem_printf("%s%016" PRIx64, prefix, random);

    int fd = openat(dir, beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, RESULT_FAILED, "%s: making the new file in %s: %m", path, folder);
    if (fill(fd, dir, name, how, data, len) != 0 || place(dir, beside, name, how) != 0) {
        error_set(err, how == WRITE_FRESH && errno == EEXIST ? RESULT_REFUSED : RESULT_FAILED,
                  "%s: writing: %m", path);
        unlinkat(dir, beside, 0);
        return -1;
    }
    if (fsync(dir) != 0)
        return error_set(err, RESULT_FAILED,
                         "%s: the new contents are in place, but may not outlast a power failure "
                         "(fsync of %s: %m)",
                         path, folder);
    return 0;
}

int file_write(const char *path, const char *data, size_t len, struct error *err)
{
    char *real CLEANUP(cleanup_mem) = follow(path, err);
    return real ? write_file(real, path, WRITE_PRIVATE, data, len, err) : -1;
}

static int check_replaceable(const char *real, const char *path, struct error *err)
{
    int fd CLEANUP(cleanup_fd) = open(real, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    struct statx st = {0};
    if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) != 0)
        return error_set(err, RESULT_REFUSED, "%s: can't be written: %m", path);
    if (!S_ISREG(st.stx_mode))
        return error_set(err, RESULT_REFUSED, "%s: can't be replaced: not a regular file", path);
    if (st.stx_nlink > 1)
        return error_set(err, RESULT_REFUSED,
                         "%s: can't be replaced: it has %u names (hard links), and only this one "
                         "would get the new contents",
                         path, st.stx_nlink);
    if (st.stx_attributes & STATX_ATTR_MOUNT_ROOT)
        return error_set(err, RESULT_REFUSED,
                         "%s: can't be replaced: it is mounted by itself; mount its folder instead",
                         path);
    return 0;
}

static int replace(const char *path, enum write_how how, const char *data, size_t len,
                   struct error *err)
{
    char *real CLEANUP(cleanup_mem) = follow(path, err);
    if (!real || check_replaceable(real, path, err) != 0)
        return -1;
    if (write_file(real, path, how, data, len, err) == 0)
        return 0;
    err->result = RESULT_REFUSED;
    return -1;
}

int file_replace(const char *path, const char *data, size_t len, struct error *err)
{
    return replace(path, WRITE_KEEP, data, len, err);
}

int file_replace_check(const char *path, size_t len, struct error *err)
{
    char *blank CLEANUP(cleanup_mem) = mem_alloc(len, 1);
    return replace(path, WRITE_TRY, blank, len, err);
}

int file_create(const char *path, const char *data, size_t len, struct error *err)
{
    return write_file(path, path, WRITE_FRESH, data, len, err);
}

char *file_beside(const char *path, const char *extension)
{
    const char *name = name_of(path);
    const char *dot = strrchr(name, '.');
    /* A leading dot begins a hidden file's name, not an extension. */
    size_t len = dot && dot != name ? (size_t)(dot - path) : strlen(path);
    char *stem CLEANUP(cleanup_mem) = mem_strndup(path, len);
    return mem_printf("%s.%s", stem, extension);
}

char *path_clean(const char *path)
{
    if (path[0] != '/')
        return mem_strdup(path);
    size_t len = strlen(path);
    char *out = mem_alloc(len + 2, 1);
    size_t at = 0; /* without a slash at its end */
    for (const char *c = path; *c;) {
        c += strspn(c, "/");
        size_t n = strcspn(c, "/");
        if (n == 2 && strncmp(c, "..", 2) == 0) {
            while (at > 0 && out[--at] != '/')
                ;
        } else if (n > 0 && !(n == 1 && *c == '.')) {
            out[at++] = '/';
            memcpy(out + at, c, n);
            at += n;
        }
        c += n;
    }
    if (at == 0)
        out[at++] = '/';
    out[at] = '\0';
    return out;
}
