/*
 * A node's own programs, run over SSH: a POSIX shell, coreutils or busybox, and what the kind of
 * cluster brings. For the drivers that have no better way (Docker's is provisioner/docker).
 *
 * A script is a constant text for /bin/sh; what varies comes as "$1", "$2", …, never a key: those
 * travel on standard input. In a script, `as_root COMMAND ARGUMENT...` runs a command as root: by
 * itself where the SSH user is root, else by `sudo -n`. Each such command with its arguments stands
 * in the sudoers file of the kind (docs/sudoers/), so it is one program with arguments that are
 * fixed for a cluster; never a shell. A script doesn't `exec` a program (its end would tell
 * nothing) and sets no trap on EXIT.
 */
#ifndef ENCRYPT_PROVISIONER_HOST_HOST_H
#define ENCRYPT_PROVISIONER_HOST_HOST_H

#include "provisioner/node.h"

enum { HOST_LIMIT = 4 << 20, HOST_TIMEOUT_MS = 60000 };

struct host {
    struct ssh *ssh;    /* not owned */
    const char *name;   /* the node's, for messages; not owned */
    bool root;          /* the user is root, no sudo is needed */
    int64_t timeout_ms; /* how long a script may take, 0: HOST_TIMEOUT_MS */
};

/* Asks the node who the user is. `h` needs no closing. FAILED where no command can be run there. */
int host_open(const struct node *n, struct host *h, struct error *err) MUST_CHECK;

/* Runs a script with arguments (NULL-terminated array; NULL: none) and `in` (NULL: nothing) on its
 * standard input. The exit status is the caller's to judge. The locale is C, the
 * umask 077, names are not expanded (set -f; `set +f` where a script needs it). The user's login
 * shell may be any, and may print at its start. FAILED, besides what ssh_exec() says: the user can
 * run no commands there; the server told no exit status. */
int host_run(const struct host *h, const char *script, const char *const *args,
             const struct buf *in, struct ssh_answer *out, struct error *err) MUST_CHECK;

/* The same, and FAILED with what it said (its safe lines, see log_add_safe_lines()) unless it ends
 * with 0. `what`: what was tried, for the message ("restarting kube-apiserver.service"). Where sudo
 * would want a password, or refuses, the error says so and names docs/sudoers. `out` may be NULL.
 */
int host_do(const struct host *h, const char *what, const char *script, const char *const *args,
            const struct buf *in, struct buf *out, struct error *err) MUST_CHECK;

/* What host_do() says of a command that failed. Always gives -1. */
int host_explain(const struct host *h, const char *what, const struct ssh_answer *a,
                 struct error *err);

/* Whether it was sudo that failed, by its words: the command was not begun. */
bool host_is_refused(const struct host *h, const struct ssh_answer *a);

/* Sets what is to be done where sudo refuses. Always gives -1. */
int host_next_sudo(const struct host *h, struct error *err);

/* --- may.c: asked before anything is changed --- */

/* REFUSED where the user may not run each of these as root: commands with their arguments, words
 * with a space between; NULL-terminated. */
int host_check_may(const struct host *h, const char *const *commands, struct error *err) MUST_CHECK;
/* What is wrong, by what its script says, for its test. */
void host_may_not(const char *said, struct buf *out);
/* The same of what host_file_put() and host_file_remove() need for this path. (sync may be refused:
 * then all disks are flushed, without sudo.) */
int host_check_may_put(const struct host *h, const char *path, struct error *err) MUST_CHECK;
/* The same of what host_file_replace() needs (removing it is another matter). */
int host_check_may_replace(const struct host *h, const char *path, bool secret,
                           struct error *err) MUST_CHECK;

/*
 * --- files.c: by their paths on the node ---
 *
 * What is run as root, for the sudoers files: one command with all its arguments each. FILE is
 * FOLDER/NAME, NEW its temporary file (see below).
 *
 *   read:    test ! -e FILE | cat FILE
 *   changed: stat -L -c %Z FILE
 *   is:      test TYPE FILE | test ! TYPE FILE
 *   folder:  test -d FOLDER | test ! -d FOLDER | mkdir -p -m 0700 FOLDER (0755 just below /etc) |
 *            sync FOLDER/..'s name | ls -ldn FOLDER/.
 *   write:   tee NEW | cat NEW | sync NEW | rm -f NEW | sync FOLDER
 *   put:     folder, write, read | ls -A FOLDER | test -d FILE | test ! -d FILE | touch NEW |
 *            ls -ldn NEW | mv -f NEW FILE; for `beside` the same
 *   claim:   folder, write, read | test -e FILE | touch NEW | ls -ldn NEW | ln NEW FILE
 *   remove:  test ! -d FOLDER | ls -A FOLDER | rm -f NEW | rm -f FILE | sync FOLDER
 *   replace: folder (mkdir -p -m 0755), write, read | ls -A FOLDER | test -d FILE |
 *            test ! -d FILE | test -L FILE | test ! -L FILE | test -e FILE | cp -p FILE NEW |
 *            touch NEW | chmod 0644 NEW (`secret`: 0600) | mv -f NEW FILE
 *
 * A sudo that logs what its commands read and say (log_input, log_output) would keep keys: the
 * sudoers files say NOLOG_INPUT and NOLOG_OUTPUT of these.
 */

/* As struct driver's read_file(): *missing (may be NULL: then an error) where there is none. A
 * symbolic link is followed. */
int host_file_read(const struct host *h, const char *path, struct buf *out, bool *missing,
                   struct error *err) MUST_CHECK;
/* As struct driver's changed_at(): a change of owner, mode or name counts too, as the node's kernel
 * has it. */
int host_file_changed_at(const struct host *h, const char *path, long long *out,
                         struct error *err) MUST_CHECK;
/* Whether something lies there (`type`: "-e", or "-f", "-d", "-S" as test(1) has them). */
int host_file_is(const struct host *h, const char *type, const char *path, bool *is,
                 struct error *err) MUST_CHECK;

/* As struct driver's look_for_socket(); `at` has a host_path. */
int host_look_for_socket(const struct host *h, const struct node_socket *at, enum socket_there *out,
                         struct error *err) MUST_CHECK;

/* As struct driver's put_file(), claim_file(), remove_file(). A folder that is missing is made
 * (root's, 0700; 0755 those above it, and one that lies in /etc itself, which others use too);
 * REFUSED where others than root may write into it, or could open a file that root
 * makes there before it is locked. A symbolic link in the file's place is replaced, not followed.
 */
int host_file_put(const struct host *h, const struct node_text *file,
                  const struct node_text *beside, struct error *err) MUST_CHECK;
/* Writes a file of blank lines as host_file_put() would, under the name of its temporary file, and
 * removes it: what sudo, or the disk, only refuses when it is done is seen before anything is
 * changed. Does nothing where the folder isn't there. */
int host_file_rehearse(const struct host *h, const char *path, struct error *err) MUST_CHECK;
int host_file_claim(const struct host *h, const struct node_text *file, bool *claimed,
                    struct error *err) MUST_CHECK;
int host_file_remove(const struct host *h, const char *path, struct error *err) MUST_CHECK;

/* Replaces a file that is no key (a manifest, a unit's drop-in, master-config.yaml), or makes it
 * (with its folder, 0755): whole or not at all, on disk before it returns, read back and compared.
 * Its mode and owner stay; a new one is 0644 (`secret`: 0600). Written beside under a name that
 * begins with a dot, so that a kubelet passes it over, and renamed. `was` (NULL: not asked) is what
 * must lie there just before the rename, else REFUSED: somebody else changed it; empty: nothing
 * may lie there, or an empty file. REFUSED too: a symbolic link or a folder lies there. */
int host_file_replace(const struct host *h, const char *path, const struct buf *text, bool secret,
                      const struct buf *was, struct error *err) MUST_CHECK;

/* The name of the temporary file that lies beside `path` while it is put or replaced:
 * <folder>/.<name>.encrypt-<eight small hexadecimal digits>. Left-overs of killed runs are removed
 * by the next put or replace of that path. */

/* --- processes.c: by /proc --- */

struct host_process {
    char *identity; /* "<boot id> <pid> <start time in ticks>": another after each start */
    char *since;    /* when it started, RFC 3339, by the node's clock; for people */
    long pid;
    char **args;   /* its command line, NULL-terminated */
    char *cgroups; /* a line each, as /proc/PID/cgroup has them; NULL: not told */
};
void host_process_free(struct host_process *p); /* also for CLEANUP */
/* True where it is in that control group (of systemd's: a unit's ControlGroup), or in one below. */
bool host_process_is_in(const struct host_process *p, const char *group);

/* The processes whose command name (comm, as the kernel has it: at most 15 letters) is `program`,
 * the oldest first. To be freed: host_processes_free(). */
int host_processes(const struct host *h, const char *program, struct host_process **out,
                   size_t *count, struct error *err) MUST_CHECK;
void host_processes_free(struct host_process *list, size_t count);
/* What the script of processes.c says, for tests: any text will do. */
void host_processes_parse(const char *text, struct host_process **out, size_t *count);
/* One by its pid; *found is false where there is none. */
int host_process_of(const struct host *h, long pid, struct host_process *out, bool *found,
                    struct error *err) MUST_CHECK;

#endif
