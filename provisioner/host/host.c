#include "provisioner/host/host.h"

#include <string.h>

/*
 * What every script begins with. The login shell's start-up files may print anything before it, so
 * what the script itself says begins after a line of ours. And a server may close a channel without
 * telling an exit status (ChannelTimeout in its sshd_config), which libssh2 gives as 0: so success
 * is told as a status of ours. That is why a script must not `exec`.
 */
static const char begins[] = "encrypt: the script begins\n";
enum { ENDED_WELL = 113 };
static const char prelude[] = "LC_ALL=C; export LC_ALL; umask 077; set -f\n"
                              "trap 'case $? in 0) exit 113 ;; 113) exit 1 ;; esac' EXIT\n"
                              "echo 'encrypt: the script begins'\n";
static const char prelude_root[] = "as_root() { \"$@\"; }\n";
static const char prelude_sudo[] = "as_root() { sudo -n -- \"$@\"; }\n";

/* One word of a POSIX shell's, whatever is in it. */
static void add_quoted(struct buf *out, const char *s)
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

/* As printf(1) undoes it with %b. What is left are characters that mean nothing within single
 * quotes in any shell: csh has its own mind about newlines and `!` there, fish about backslashes.
 */
static void add_encoded(struct buf *out, const struct buf *text)
{
    for (size_t i = 0; i < text->len; i++) {
        char c = text->data[i];
        if (c == '\n')
            buf_adds(out, "\\n");
        else if (c == '\'' || c == '\\' || c == '!')
            buf_printf(out, "\\0%03o", (unsigned)c);
        else
            buf_add(out, &c, 1);
    }
}

/* For a login shell of any kind. */
static void add_command(struct buf *out, const struct host *h, const char *script,
                        const char *const *args)
{
    struct buf text CLEANUP(buf_free) = {0};
    buf_printf(&text, "%s%sset --", prelude, h->root ? prelude_root : prelude_sudo);
    for (; args && *args; args++) {
        buf_adds(&text, " ");
        add_quoted(&text, *args);
    }
    buf_printf(&text, "\n%s", script);
    buf_adds(out, "exec /bin/sh -c 'eval \"$(printf %b \"$1\")\"' sh '");
    add_encoded(out, &text);
    buf_adds(out, "'");
}

/* What a command said, for people: its safe lines. Gives how many bytes there are. */
static size_t add_words(struct buf *out, const struct buf *said)
{
    log_add_safe_lines(out, buf_str(said), said->len);
    while (out->len && out->data[out->len - 1] == '\n')
        out->data[--out->len] = '\0';
    return out->len;
}

/* Takes off what came before the script, and what `prelude` made of its status. */
static int undo_prelude(const struct host *h, struct ssh_answer *a, struct error *err)
{
    struct buf words CLEANUP(buf_free) = {0};
    const char *mark = memmem(buf_str(&a->out), a->out.len, begins, strlen(begins));
    if (!mark) {
        if (!add_words(&words, &a->errors))
            add_words(&words, &a->out);
        return error_set(err, RESULT_FAILED,
                         "node %s: the SSH user can't run commands there by /bin/sh: %s (exit "
                         "status %d)",
                         h->name, words.len ? buf_str(&words) : "it ended without a word",
                         a->status);
    }
    size_t start = (size_t)(mark - a->out.data) + strlen(begins);
    memmove(a->out.data, a->out.data + start, a->out.len - start);
    explicit_bzero(a->out.data + a->out.len - start, start);
    a->out.len -= start;
    a->out.data[a->out.len] = '\0';
    if (a->status == 0)
        return error_set(err, RESULT_FAILED,
                         "node %s: its SSH server ended the command without saying what became of "
                         "it; it may still run, or have run",
                         h->name);
    if (a->status == ENDED_WELL)
        a->status = 0;
    return 0;
}

int host_run(const struct host *h, const char *script, const char *const *args,
             const struct buf *in, struct ssh_answer *out, struct error *err)
{
    struct buf command CLEANUP(buf_free) = {0};
    add_command(&command, h, script, args);
    if (ssh_exec(h->ssh, buf_str(&command), in ? buf_str(in) : NULL, in ? in->len : 0, HOST_LIMIT,
                 h->timeout_ms ? h->timeout_ms : HOST_TIMEOUT_MS, out, err) < 0)
        return -1;
    return undo_prelude(h, out, err);
}

/* sudo's own words (and sudo-rs's), in the locale C. */
bool host_is_refused(const struct host *h, const struct ssh_answer *a)
{
    static const char *const words[] = {
        "sudo: a password is required",
        "sudo: a terminal is required",
        "authentication is required",
        "authentication required",
        "not allowed to execute",
        "is not in the sudoers",
        "may not run sudo",
        "not allowed to run sudo",
        "you must have a tty to run",
        "sudo: not found",
        "sudo: command not found",
        "sudo: Permission denied",
        "command not found: sudo",
        "sudo: inaccessible",
    };
    for (size_t i = 0; !h->root && i < ARRAY_LEN(words); i++) {
        if (strstr(buf_str(&a->errors), words[i]))
            return true;
    }
    return false;
}

int host_next_sudo(const struct host *h, struct error *err)
{
    error_next(
        err,
        "let the SSH user do this by sudo without a password on node %s: the folder "
        "docs/sudoers of encrypt has a file for each kind of cluster, which goes to "
        "/etc/sudoers.d/ there; or log in as root (`user` in cluster.yml); then run the same "
        "command again",
        h->name);
    return -1;
}

int host_explain(const struct host *h, const char *what, const struct ssh_answer *a,
                 struct error *err)
{
    struct buf lines CLEANUP(buf_free) = {0};
    add_words(&lines, &a->errors);
    error_set(err, RESULT_FAILED, "node %s: %s: %s (exit status %d)", h->name, what,
              lines.len ? buf_str(&lines) : "it failed without a word", a->status);
    if (host_is_refused(h, a))
        host_next_sudo(h, err);
    return -1;
}

int host_do(const struct host *h, const char *what, const char *script, const char *const *args,
            const struct buf *in, struct buf *out, struct error *err)
{
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    if (host_run(h, script, args, in, &a, err) < 0)
        return error_wrap(err, "%s", what);
    if (a.status != 0)
        return host_explain(h, what, &a, err);
    if (out)
        buf_add(out, buf_str(&a.out), a.out.len);
    return 0;
}

int host_open(const struct node *n, struct host *h, struct error *err)
{
    struct buf uid CLEANUP(buf_free) = {0};
    *h = (struct host){.ssh = n->ssh, .name = n->name};
    if (host_do(h, "asking who the SSH user is", "id -u", NULL, NULL, &uid, err) < 0)
        return -1;
    h->root = str_eq(buf_str(&uid), "0\n");
    return 0;
}
