#include "state/lock.h"

#include "base/buf.h"
#include "state/timestamp.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 10, COMMAND_LENGTH = 400, HOLDER_LENGTH = 1000 };

struct state_lock {
    int fd;
};

/* Where the state file really lies, or will lie. NULL: error set. */
static char *real_path(const char *state_path, struct error *err)
{
    char resolved[PATH_MAX];
    if (realpath(state_path, resolved))
        return mem_strdup(resolved);
    const char *slash = strrchr(state_path, '/');
    const char *name = slash ? slash + 1 : state_path;
    char *folder CLEANUP(cleanup_mem) =
        slash ? mem_strndup(state_path, (size_t)(slash - state_path) + 1) : mem_strdup(".");
    if (errno != ENOENT || !realpath(folder, resolved)) {
        error_set(err, RESULT_FAILED, "%s: locking: %m", state_path);
        return NULL;
    }
    return mem_printf("%s/%s", resolved, name);
}

static char *lock_path(const char *state_path, struct error *err)
{
    char *real CLEANUP(cleanup_mem) = real_path(state_path, err);
    if (!real)
        return NULL;
    const char *name = strrchr(real, '/') + 1;
    return mem_printf("%.*s.%s.lock", (int)(name - real), real, name);
}

/* What others wrote is shown to an operator: one printable line. */
static void make_printable(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        text[--len] = '\0';
    for (; *text; text++)
        if (!isprint((unsigned char)*text))
            *text = '?';
}

static char *read_start(int fd, size_t limit, char between)
{
    char *text = mem_alloc(limit + 1, 1);
    ssize_t n = pread(fd, text, limit, 0);
    for (ssize_t i = 0; i + 1 < n; i++)
        if (text[i] == '\0')
            text[i] = between;
    return text;
}

static char *own_command(void)
{
    int fd CLEANUP(cleanup_fd) = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mem_strdup("unknown");
    char *command = read_start(fd, COMMAND_LENGTH, ' ');
    make_printable(command);
    return command;
}

/* Only for the message of the next one: a full disk must not stop us here. */
static void write_holder(int fd)
{
    char *command CLEANUP(cleanup_mem) = own_command();
    char *since CLEANUP(cleanup_mem) = timestamp_now();
    char *text CLEANUP(cleanup_mem) =
        mem_printf("process %ld, \"%s\", since %s\n", (long)getpid(), command, since);
    if (ftruncate(fd, 0) == 0) {
        ssize_t ignored = pwrite(fd, text, strlen(text), 0);
        (void)ignored;
    }
}

static int refuse_held(int fd, const char *state_path, const char *path, struct error *err)
{
    char *holder CLEANUP(cleanup_mem) = read_start(fd, HOLDER_LENGTH, ' ');
    make_printable(holder);
    error_set(err, RESULT_REFUSED,
              "%s: another process is at work on it; %s says (it may be out of date): %s",
              state_path, path, *holder ? holder : "nothing");
    error_next(err, "wait until that has ended, then run the same command again");
    return -1;
}

static struct flock whole_file(short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

/* One try. *stale: the path names another file now, try again. */
static int try_lock(const char *state_path, const char *path, int *locked, bool *stale,
                    struct error *err)
{
    struct stat ours, there;
    int fd CLEANUP(cleanup_fd) =
        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return error_set(err, RESULT_FAILED, "%s: opening the lock: %m", path);
    if (fstat(fd, &ours) != 0)
        return error_set(err, RESULT_FAILED, "%s: looking at the lock: %m", path);
    if (!S_ISREG(ours.st_mode))
        return error_set(err, RESULT_REFUSED, "%s: not a regular file", path);
    /* A run under sudo must not lock the state's owner out. */
    if (geteuid() == 0 && stat(state_path, &there) == 0 && there.st_uid != ours.st_uid &&
        fchown(fd, there.st_uid, there.st_gid) != 0)
        return error_set(err, RESULT_FAILED, "%s: giving it to the state's owner: %m", path);
    struct flock whole = whole_file(F_WRLCK);
    if (fcntl(fd, F_OFD_SETLK, &whole) != 0)
        return errno == EAGAIN || errno == EACCES
                   ? refuse_held(fd, state_path, path, err)
                   : error_set(err, RESULT_FAILED, "%s: locking: %m", path);
    *stale = lstat(path, &there) != 0 || there.st_dev != ours.st_dev || there.st_ino != ours.st_ino;
    if (!*stale)
        *locked = STEAL_FD(fd);
    return 0;
}

int state_lock_take(const char *state_path, struct state_lock **out, struct error *err)
{
    char *path CLEANUP(cleanup_mem) = lock_path(state_path, err);
    if (!path)
        return -1;
    int fd = -1;
    bool stale = true;
    for (int i = 0; stale && i < TRIES; i++)
        if (try_lock(state_path, path, &fd, &stale, err) != 0)
            return -1;
    if (stale)
        return error_set(err, RESULT_FAILED, "%s: locking: somebody keeps replacing the file",
                         path);
    write_holder(fd);
    struct state_lock *lock = mem_alloc(1, sizeof(*lock));
    lock->fd = fd;
    *out = lock;
    return 0;
}

int state_lock_look(const char *state_path, char **holder, struct error *err)
{
    *holder = NULL;
    char *path CLEANUP(cleanup_mem) = lock_path(state_path, err);
    if (!path)
        return -1;
    int fd CLEANUP(cleanup_fd) = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return error_set(err, RESULT_FAILED, "%s: opening the lock: %m", path);
    struct flock whole = whole_file(F_WRLCK);
    if (fcntl(fd, F_OFD_GETLK, &whole) != 0)
        return error_set(err, RESULT_FAILED, "%s: looking at the lock: %m", path);
    if (whole.l_type == F_UNLCK)
        return 0;
    *holder = read_start(fd, HOLDER_LENGTH, ' ');
    make_printable(*holder);
    return 0;
}

void state_lock_release(struct state_lock *lock)
{
    if (!lock)
        return;
    int ignored = ftruncate(lock->fd, 0);
    (void)ignored;
    struct flock whole = whole_file(F_UNLCK);
    ignored = fcntl(lock->fd, F_OFD_SETLK, &whole); /* of children that share the descriptor too */
    (void)ignored;
    close(lock->fd);
    mem_free(lock);
}

void cleanup_state_lock(struct state_lock **lock)
{
    state_lock_release(*lock);
}
