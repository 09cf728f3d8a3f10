/*
 * Files by coreutils. What is put is written beside its place under a name of its own, checked
 * there, flushed, renamed. The length is checked before the rename: a connection that dies looks
 * like the end of the file to who reads standard input.
 *
 * Exit statuses of the scripts are apart from those of the programs that they run: sudo fails
 * with 1.
 */
#include "base/sha256.h"
#include "provisioner/host/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    IS_MISSING = 80,
    IS_THERE = 81,
    IS_FOLDER = 82,
    IS_CUT = 83,
    IS_CHANGED = 84,
    IS_UNSAFE = 85,
    IS_OPEN = 87,
    IS_LINK = 88,
};

/* What the file's contents come by; the commands between must not take any of it, nor a sudo that
 * logs what its commands read. */
#define INPUT "exec 3<&0 </dev/null\n"

/* $1, $2 as test(1) has them. Neither is said by sudo, which fails with 1 as test(1) does; or by
 * what came between the two, and is there then. */
#define IS                                                                                         \
    "is() {\n"                                                                                     \
    "  as_root test \"$1\" \"$2\" && return 0\n"                                                   \
    "  as_root test ! \"$1\" \"$2\" && return 1\n"                                                 \
    "  as_root test \"$1\" \"$2\" && return 0\n"                                                   \
    "  exit 1\n"                                                                                   \
    "}\n"

/* $1 the temporary file, $2 the exit status. */
#define GIVE_UP "give_up() { as_root rm -f \"$1\"; exit \"$2\"; }\n"

/* sync(1) takes names only in later versions: else everything is flushed. But a disk that fails
 * says so once. */
#define FLUSH                                                                                      \
    "flush() {\n"                                                                                  \
    "  said=$(as_root sync \"$1\" 2>&1) && return 0\n"                                             \
    "  case $said in *rror*|*'No space'*|*uota*) echo \"$said\" >&2; return 1 ;; esac\n"           \
    "  sync\n"                                                                                     \
    "}\n"

/* What a killed run left: $1 the folder, $2 the name. */
#define CLEAR                                                                                      \
    "clear() {\n"                                                                                  \
    "  names=$(as_root ls -A \"$1\") || exit 1\n"                                                  \
    "  x='[0-9a-f]'\n"                                                                             \
    "  for left in $names; do\n"                                                                   \
    "    case $left in\n"                                                                          \
    "    \".$2.encrypt-\"$x$x$x$x$x$x$x$x) as_root rm -f \"$1/$left\" || exit 1 ;;\n"              \
    "    esac\n"                                                                                   \
    "  done\n"                                                                                     \
    "}\n"

/* $1 the folder, $2 the mode of one that has to be made (and its name flushed): with what is above
 * it, others must be able to look in there as before, and a folder of /etc itself is not ours alone
 * (may.c asks for the same). Only root may write into it; where there is an ACL, the group's bits
 * are its mask. */
#define FOLDER                                                                                     \
    "folder() {\n"                                                                                 \
    "  case $1 in /etc/*/*) ;; /etc/*) set -- \"$1\" 0755 ;; esac\n"                               \
    "  is -d \"$1\" || { (umask 022; as_root mkdir -p -m \"$2\" \"$1\") && flush \"${1%/*}\"; } "  \
    "|| exit 1\n"                                                                                  \
    "  line=$(as_root ls -ldn \"$1/.\") || exit 1\n"                                               \
    "  case $line in d[r-][w-][xsS-][r-]-[xsS-][r-]-*) ;; *) exit 85 ;; esac\n"                    \
    "  set -- $line\n"                                                                             \
    "  [ \"$3\" = 0 ] || exit 85\n"                                                                \
    "}\n"

/* $1 the temporary file, $2 the length of what comes. */
#define WRITE                                                                                      \
    "write() {\n"                                                                                  \
    "  as_root tee \"$1\" <&3 >/dev/null || give_up \"$1\" 1\n"                                    \
    "  if [ \"$(as_root cat \"$1\" | wc -c)\" -ne \"$2\" ]; then\n"                                \
    "    as_root cat \"$1\" >/dev/null || give_up \"$1\" 1\n"                                      \
    "    give_up \"$1\" 83\n"                                                                      \
    "  fi\n"                                                                                       \
    "  flush \"$1\" || give_up \"$1\" 1\n"                                                         \
    "}\n"

/* The same of a key: nobody else may have it open. A folder's default ACL, or a sudo that sets its
 * own umask, would make it readable before any chmod. */
#define WRITE_SECRET                                                                               \
    "write_secret() {\n"                                                                           \
    "  as_root touch \"$1\" || exit 1\n"                                                           \
    "  line=$(as_root ls -ldn \"$1\") || give_up \"$1\" 1\n"                                       \
    "  case $line in -rw-------*) ;; *) give_up \"$1\" 87 ;; esac\n"                               \
    "  write \"$1\" \"$2\"\n"                                                                      \
    "}\n"

static int not_there(const struct host *h, const char *path, struct error *err)
{
    return error_set(err, RESULT_FAILED, "node %s: %s: there is no such file", h->name, path);
}

/* FAILED in words, unless it ended with 0 or with a status that the caller knows (`known`). */
static int run(const struct host *h, const char *what, const char *path, const char *script,
               const char *const *args, const struct buf *in, int known, struct ssh_answer *out,
               struct error *err)
{
    char *tried CLEANUP(cleanup_mem) = mem_printf("%s %s", what, path);
    if (host_run(h, script, args, in, out, err) < 0)
        return error_wrap(err, "%s", tried);
    if (out->status == 0 || out->status == known)
        return 0;
    switch (out->status) {
    case IS_MISSING:
        return not_there(h, path, err);
    case IS_FOLDER:
        return error_set(err, RESULT_REFUSED, "node %s: %s: a folder lies there", h->name, path);
    case IS_CUT:
        return error_set(err, RESULT_FAILED,
                         "node %s: %s: not all of it arrived; nothing was changed", h->name, tried);
    case IS_CHANGED:
        return error_set(err, RESULT_REFUSED,
                         "node %s: %s was changed by somebody else just now; it was left alone",
                         h->name, path);
    case IS_UNSAFE:
        return error_set(err, RESULT_REFUSED,
                         "node %s: %s: others than root may write into its folder", h->name, path);
    case IS_OPEN:
        return error_set(err, RESULT_REFUSED,
                         "node %s: %s: others could read a file that root makes in its folder "
                         "before it can be locked (a default ACL of the folder, or umask_override "
                         "in sudoers); nothing was changed",
                         h->name, path);
    case IS_LINK:
        return error_set(err, RESULT_REFUSED, "node %s: %s: a symbolic link lies there, not a file",
                         h->name, path);
    default:
        return host_explain(h, tried, out, err);
    }
}

int host_file_is(const struct host *h, const char *type, const char *path, bool *is,
                 struct error *err)
{
    static const char script[] = IS "is \"$1\" \"$2\" || exit 80";
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    const char *args[] = {type, path, NULL};
    if (run(h, "looking for", path, script, args, NULL, IS_MISSING, &a, err) < 0)
        return -1;
    *is = a.status == 0;
    return 0;
}

int host_look_for_socket(const struct host *h, const struct node_socket *at, enum socket_there *out,
                         struct error *err)
{
    const char *path = at->host_path;
    char *folder CLEANUP(cleanup_mem) = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    bool is_socket = false, is_there = false, is_folder = false;
    if (host_file_is(h, "-S", path, &is_socket, err) < 0 ||
        (!is_socket && host_file_is(h, "-e", path, &is_there, err) < 0) ||
        (!is_socket && !is_there &&
         host_file_is(h, "-d", *folder ? folder : "/", &is_folder, err) < 0))
        return -1;
    *out = is_socket   ? SOCKET_THERE
           : is_there  ? SOCKET_OTHER
           : is_folder ? SOCKET_NOTHING
                       : SOCKET_NO_FOLDER;
    return 0;
}

int host_file_read(const struct host *h, const char *path, struct buf *out, bool *missing,
                   struct error *err)
{
    static const char script[] = "as_root test ! -e \"$1\" && exit 80\n"
                                 "as_root cat \"$1\"";
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    const char *args[] = {path, NULL};
    if (missing)
        *missing = false;
    if (run(h, "reading", path, script, args, NULL, missing ? IS_MISSING : 0, &a, err) < 0)
        return -1;
    if (missing && a.status == IS_MISSING)
        *missing = true;
    else
        buf_add(out, buf_str(&a.out), a.out.len);
    return 0;
}

int host_file_changed_at(const struct host *h, const char *path, long long *out, struct error *err)
{
    static const char script[] = "as_root stat -L -c %Z \"$1\"";
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    const char *args[] = {path, NULL};
    *out = 0;
    if (run(h, "asking for the time of", path, script, args, NULL, 0, &a, err) < 0)
        return -1;
    *out = strtoll(buf_str(&a.out), NULL, 10);
    return 0;
}

/* A path's folder, its name, and a name of eight random digits for its temporary file. */
struct place {
    char *folder, *name, *temporary;
};

static void place_free(struct place *p)
{
    mem_free(p->folder);
    mem_free(p->name);
    mem_free(p->temporary);
}

static int place_of(const struct host *h, const char *path, struct place *out, struct error *err)
{
    unsigned random = 0;
    const char *slash = strrchr(path, '/');
    if (path[0] != '/' || !slash[1])
        return error_set(err, RESULT_REFUSED, "node %s: %s: not an absolute path of a file",
                         h->name, path);
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_set(err, RESULT_FAILED, "getrandom: %s", strerror(errno));
    *out = (struct place){.folder = slash == path ? mem_strdup("/")
                                                  : mem_strndup(path, (size_t)(slash - path)),
                          .name = mem_strdup(slash + 1)};
    out->temporary = mem_printf("%s/.%s.encrypt-%08x", out->folder, out->name, random);
    return 0;
}

/* What was put is read again. */
static int check(const struct host *h, const char *path, const char *data, size_t len,
                 struct error *err)
{
    struct buf there CLEANUP(buf_free) = {0};
    if (host_file_read(h, path, &there, NULL, err) < 0)
        return error_wrap(err, "reading back");
    if (there.len == len && memcmp(buf_str(&there), data, len) == 0)
        return 0;
    return error_set(err, RESULT_FAILED, "node %s: %s reads back as something else", h->name, path);
}

/* $1 folder, $2 name, $3 temporary, $4 length. */
#define WRITE_BESIDE                                                                               \
    INPUT IS GIVE_UP FLUSH CLEAR FOLDER WRITE WRITE_SECRET "folder \"$1\" 0700\n"                  \
                                                           "clear \"$1\" \"$2\"\n"                 \
                                                           "is -d \"$1/$2\" && exit 82\n"          \
                                                           "write_secret \"$3\" \"$4\"\n"

/* Only written, under its temporary name. */
static int stage(const struct host *h, const struct place *p, const struct node_text *file,
                 struct error *err)
{
    static const char script[] = WRITE_BESIDE;
    struct buf in CLEANUP(buf_free) = {0};
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    char *len CLEANUP(cleanup_mem) = mem_printf("%zu", file->len);
    const char *args[] = {p->folder, p->name, p->temporary, len, NULL};
    buf_add(&in, file->data, file->len);
    return run(h, "writing", file->path, script, args, &in, 0, &a, err);
}

int host_file_put(const struct host *h, const struct node_text *file,
                  const struct node_text *beside, struct error *err)
{
    /* Then both get their names; $5 name, $6 temporary of what lies beside it. The last mv is the
     * commit point. */
    static const char script[] = WRITE_BESIDE
        "if [ $# -gt 4 ]; then as_root mv -f \"$6\" \"$1/$5\" || give_up \"$3\" 1; fi\n"
        "as_root mv -f \"$3\" \"$1/$2\" || give_up \"$3\" 1\n"
        "flush \"$1\"";
    struct place p CLEANUP(place_free) = {0};
    struct place b CLEANUP(place_free) = {0};
    struct buf in CLEANUP(buf_free) = {0};
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    if (place_of(h, file->path, &p, err) < 0 || (beside && place_of(h, beside->path, &b, err) < 0))
        return -1;
    if (beside && !str_eq(p.folder, b.folder))
        return error_set(err, RESULT_REFUSED, "%s is not in the folder of %s", beside->path,
                         file->path);
    if (beside && stage(h, &b, beside, err) < 0)
        return -1;
    char *len CLEANUP(cleanup_mem) = mem_printf("%zu", file->len);
    const char *args[] = {p.folder,    p.name, p.temporary, len, beside ? b.name : NULL,
                          b.temporary, NULL};
    buf_add(&in, file->data, file->len);
    if (run(h, "writing", file->path, script, args, &in, 0, &a, err) < 0 ||
        (beside && check(h, beside->path, beside->data, beside->len, err) < 0))
        return -1;
    return check(h, file->path, file->data, file->len, err);
}

int host_file_rehearse(const struct host *h, const char *path, struct error *err)
{
    static const char script[] =
        INPUT IS GIVE_UP FLUSH FOLDER WRITE WRITE_SECRET "is -d \"$1\" || exit 0\n"
                                                         "folder \"$1\" 0700\n"
                                                         "write_secret \"$2\" \"$3\"\n"
                                                         "as_root rm -f \"$2\"";
    /* (An empty file fits on any disk, and reads as one that can't be read.) */
    enum { SIZE = 4096 };
    struct place p CLEANUP(place_free) = {0};
    struct buf in CLEANUP(buf_free) = {0};
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    if (place_of(h, path, &p, err) < 0)
        return -1;
    char *len CLEANUP(cleanup_mem) = mem_printf("%d", (int)SIZE);
    const char *args[] = {p.folder, p.temporary, len, NULL};
    memset(buf_reserve(&in, SIZE), '\n', SIZE);
    in.len += SIZE;
    return run(h, "trying to write in the folder of", path, script, args, &in, 0, &a, err);
}

int host_file_claim(const struct host *h, const struct node_text *file, bool *claimed,
                    struct error *err)
{
    /* ln(1) is the commit point: the kernel makes a name once. */
    static const char script[] = INPUT IS GIVE_UP FLUSH FOLDER WRITE WRITE_SECRET
        "folder \"$1\" 0700\n"
        "as_root test -e \"$1/$2\" && exit 81\n"
        "write_secret \"$3\" \"$4\"\n"
        "as_root ln \"$3\" \"$1/$2\"\n"
        "rc=$?\n"
        "as_root rm -f \"$3\" || exit 1\n"
        "if [ $rc -ne 0 ]; then as_root test -e \"$1/$2\" && exit 81; exit 1; fi\n"
        "flush \"$1\"";
    struct place p CLEANUP(place_free) = {0};
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    if (place_of(h, file->path, &p, err) < 0)
        return -1;
    struct buf in CLEANUP(buf_free) = {0};
    buf_add(&in, file->data, file->len);
    char *len CLEANUP(cleanup_mem) = mem_printf("%zu", file->len);
    const char *args[] = {p.folder, p.name, p.temporary, len, NULL};
    *claimed = false;
    if (run(h, "claiming", file->path, script, args, &in, IS_THERE, &a, err) < 0)
        return -1;
    if (a.status == IS_THERE)
        return 0;
    *claimed = true;
    return check(h, file->path, file->data, file->len, err);
}

int host_file_remove(const struct host *h, const char *path, struct error *err)
{
    static const char script[] = FLUSH CLEAR "as_root test ! -d \"$1\" && exit 0\n"
                                             "clear \"$1\" \"$2\"\n"
                                             "as_root rm -f \"$1/$2\" || exit 1\n"
                                             "flush \"$1\"";
    struct place p CLEANUP(place_free) = {0};
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    if (place_of(h, path, &p, err) < 0)
        return -1;
    const char *args[] = {p.folder, p.name, NULL};
    return run(h, "removing", path, script, args, NULL, 0, &a, err);
}

int host_file_replace(const struct host *h, const char *path, const struct buf *text, bool secret,
                      const struct buf *was, struct error *err)
{
    /* $5 the mode of a new file, $6 the SHA-256 of what must lie there ("-": not asked, "none":
     * nothing, or an empty file). cp -p gives the temporary file the mode and owner that the file
     * has. The mv is the commit point. */
    static const char script[] = INPUT IS GIVE_UP FLUSH CLEAR FOLDER WRITE
        "same() {\n"
        "  case $2 in\n"
        "  -) return 0 ;;\n"
        "  none) is -e \"$1\" || return 0; [ \"$(as_root cat \"$1\" | wc -c)\" -eq 0 ] ;;\n"
        "  *) sum=$(as_root cat \"$1\" | sha256sum) && [ \"${sum%% *}\" = \"$2\" ] ;;\n"
        "  esac\n"
        "}\n"
        "folder \"$1\" 0755\n"
        "clear \"$1\" \"$2\"\n"
        "is -d \"$1/$2\" && exit 82\n"
        "is -L \"$1/$2\" && exit 88\n"
        "same \"$1/$2\" \"$6\" || exit 84\n"
        "if is -e \"$1/$2\"; then as_root cp -p \"$1/$2\" \"$3\" || give_up \"$3\" 1\n"
        "else as_root touch \"$3\" && as_root chmod \"$5\" \"$3\" || give_up \"$3\" 1; fi\n"
        "write \"$3\" \"$4\"\n"
        "same \"$1/$2\" \"$6\" || give_up \"$3\" 84\n"
        "as_root mv -f \"$3\" \"$1/$2\" || give_up \"$3\" 1\n"
        "flush \"$1\"";
    struct place p CLEANUP(place_free) = {0};
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    char sha256[65] = "-";
    if (place_of(h, path, &p, err) < 0)
        return -1;
    if (was && was->len == 0)
        memcpy(sha256, "none", sizeof("none"));
    else if (was)
        sha256_hex(was->data, was->len, sha256);
    char *len CLEANUP(cleanup_mem) = mem_printf("%zu", text->len);
    const char *args[] = {p.folder, p.name, p.temporary, len, secret ? "0600" : "0644",
                          sha256,   NULL};
    if (run(h, "writing", path, script, args, text, 0, &a, err) < 0)
        return -1;
    return check(h, path, buf_str(text), text->len, err);
}
