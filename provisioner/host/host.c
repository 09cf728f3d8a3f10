#include "provisioner/host/host.h"

#include <stdlib.h>
#include <string.h>

/* What every script begins with. */
static const char prelude_root[] = "LC_ALL=C; export LC_ALL; umask 077; set -f\n"
                                   "as_root() { \"$@\"; }\n";
static const char prelude_sudo[] = "LC_ALL=C; export LC_ALL; umask 077; set -f\n"
                                   "as_root() { sudo -n -- \"$@\"; }\n";

/* One word of the shell's, whatever is in it. */
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

int host_run(const struct host *h, const char *script, const char *const *args,
             const struct buf *in, struct ssh_answer *out, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct buf command CLEANUP(buf_free) = {0};
    buf_printf(&text, "%s%s", h->root ? prelude_root : prelude_sudo, script);
    /* The user's own shell, whatever it is, has only this line to understand. */
    buf_adds(&command, "exec /bin/sh -c ");
    add_quoted(&command, buf_str(&text));
    buf_adds(&command, " sh");
    for (; args && *args; args++) {
        buf_adds(&command, " ");
        add_quoted(&command, *args);
    }
    return ssh_exec(h->ssh, buf_str(&command), in ? buf_str(in) : NULL, in ? in->len : 0,
                    HOST_LIMIT, HOST_TIMEOUT_MS, out, err);
}

static bool says(const struct ssh_answer *a, const char *words)
{
    return strstr(buf_str(&a->errors), words) != NULL;
}

/* sudo's own words, in the locale C. */
static bool is_sudo_refusing(const struct ssh_answer *a)
{
    return says(a, "sudo: a password is required") || says(a, "sudo: a terminal is required") ||
           says(a, "not allowed to execute") || says(a, "is not in the sudoers") ||
           says(a, "may not run sudo") || says(a, "sudo: not found") ||
           says(a, "sudo: command not found");
}

int host_explain(const struct host *h, const char *what, const struct ssh_answer *a,
                 struct error *err)
{
    struct buf lines CLEANUP(buf_free) = {0};
    log_add_safe_lines(&lines, buf_str(&a->errors), a->errors.len);
    while (lines.len && lines.data[lines.len - 1] == '\n')
        lines.data[--lines.len] = '\0';
    error_set(err, RESULT_FAILED, "node %s: %s: %s (exit status %d)", h->name, what,
              lines.len ? buf_str(&lines) : "it failed without a word", a->status);
    if (!h->root && is_sudo_refusing(a))
        error_next(err,
                   "let the SSH user do this by sudo without a password on node %s: the folder "
                   "docs/sudoers of encrypt has a file for each kind of cluster, which goes to "
                   "/etc/sudoers.d/ there; or log in as root (`user` in cluster.yml)",
                   h->name);
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
