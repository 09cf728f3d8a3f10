/* What the SSH user may do by sudo, asked before anything is changed: `sudo -l COMMAND` runs
 * nothing. */
#include "provisioner/host/host.h"

#include <string.h>

enum { SHOWN = 4 };

/* Each argument is a command; says those that sudo would not run. */
static const char script[] = "for command; do\n"
                             "  sudo -n -l -- $command >/dev/null 2>&1 || echo \"$command\"\n"
                             "done";

static int refuse(const struct host *h, const char *lines, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    size_t count = 0;
    for (const char *line = lines; *line; line += strcspn(line, "\n") + 1) {
        if (count++ < SHOWN)
            buf_printf(&text, "\n  %.*s", (int)strcspn(line, "\n"), line);
    }
    if (count > SHOWN)
        buf_printf(&text, "\n  and %zu more", count - SHOWN);
    error_set(err, RESULT_REFUSED,
              "node %s: the SSH user may not run by sudo, without a password:%s", h->name,
              buf_str(&text));
    return host_next_sudo(h, err);
}

int host_check_may(const struct host *h, const char *const *commands, struct error *err)
{
    struct buf missing CLEANUP(buf_free) = {0};
    if (h->root)
        return 0;
    if (host_do(h, "asking sudo what the SSH user may do", script, commands, NULL, &missing, err) <
        0)
        return -1;
    return missing.len ? refuse(h, buf_str(&missing), err) : 0;
}

int host_check_may_put(const struct host *h, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    /* (A path with a space can't be told to sudo so; it will be seen when it is written.) */
    if (!slash || strpbrk(path, " \t"))
        return 0;
    char *folder CLEANUP(cleanup_mem) =
        slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
    char *temporary CLEANUP(cleanup_mem) = mem_printf("%s/.%s.encrypt-00000000", folder, slash + 1);
    char *text[] = {
        mem_printf("ls -ldn %s/.", folder),
        mem_printf("ls -A %s", folder),
        mem_printf("touch %s", temporary),
        mem_printf("ls -ldn %s", temporary),
        mem_printf("tee %s", temporary),
        mem_printf("cat %s", temporary),
        mem_printf("mv -f %s %s", temporary, path),
        mem_printf("rm -f %s", temporary),
        mem_printf("rm -f %s", path),
        mem_printf("cat %s", path),
    };
    const char *commands[ARRAY_LEN(text) + 1] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        commands[i] = text[i];
    int rc = host_check_may(h, commands, err);
    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        mem_free(text[i]);
    return rc;
}
