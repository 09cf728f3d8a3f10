#include "provisioner/host/unit.h"

#include <stdlib.h>
#include <string.h>

void host_unit_free(struct host_unit *u)
{
    for (size_t i = 0; u->properties && u->properties[i]; i++)
        mem_free(u->properties[i]);
    mem_free(u->properties);
    *u = (struct host_unit){0};
}

/* (A user may look where there is a D-Bus that lets him.) */
int host_unit_show(const struct host *h, const char *unit, struct host_unit *out, struct error *err)
{
    static const char script[] = "systemctl show --no-pager \"$1\" 2>/dev/null && exit 0\n"
                                 "as_root systemctl show --no-pager \"$1\"";
    struct buf text CLEANUP(buf_free) = {0};
    char *what CLEANUP(cleanup_mem) = mem_printf("looking at %s", unit);
    const char *args[] = {unit, NULL};
    if (host_do(h, what, script, args, NULL, &text, err) < 0)
        return -1;
    size_t count = 0;
    *out = (struct host_unit){.properties = mem_alloc(1, sizeof(*out->properties))};
    for (const char *p = buf_str(&text); *p;) {
        size_t len = strcspn(p, "\n");
        out->properties = mem_realloc(out->properties, count + 2, sizeof(*out->properties));
        out->properties[count++] = mem_strndup(p, len);
        out->properties[count] = NULL;
        p += len + (p[len] == '\n');
    }
    return 0;
}

const char *host_unit_get(const struct host_unit *u, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; u->properties && u->properties[i]; i++) {
        const char *s = u->properties[i];
        if (strncmp(s, name, len) == 0 && s[len] == '=')
            return s + len + 1;
    }
    return "";
}

int host_unit_process(const struct host *h, const struct host_unit *u, struct host_process *out,
                      bool *found, struct error *err)
{
    long pid = strtol(host_unit_get(u, "MainPID"), NULL, 10);
    *found = false;
    if (pid <= 0)
        return 0;
    struct host_process p CLEANUP(host_process_free) = {0};
    if (host_process_of(h, pid, &p, found, err) < 0)
        return -1;
    /* A child of systemd's, before it becomes the program: named "(kube-apiserver)", or still as
     * systemd itself. */
    const char *name = *found && p.args[0] ? p.args[0] : "";
    const char *slash = strrchr(name, '/');
    if (name[0] == '(' || str_eq(slash ? slash + 1 : name, "systemd"))
        *found = false;
    if (*found) {
        *out = p;
        p = (struct host_process){0};
    }
    return 0;
}

int host_units_reload(const struct host *h, struct error *err)
{
    return host_do(h, "systemctl daemon-reload", "as_root systemctl daemon-reload", NULL, NULL,
                   NULL, err);
}

int host_unit_restart(const struct host *h, const char *unit, struct error *err)
{
    /* One that is stopped may be none that systemd has loaded: it has nothing to forgive then, and
     * says so by an error. What counts is the restart. */
    static const char script[] = "as_root systemctl reset-failed \"$1\" 2>/dev/null\n"
                                 "as_root systemctl restart --no-block \"$1\"";
    char *what CLEANUP(cleanup_mem) = mem_printf("systemctl restart %s", unit);
    const char *args[] = {unit, NULL};
    return host_do(h, what, script, args, NULL, NULL, err);
}

/* "Nov 22 15:02:39 node1 kube-apiserver[39]: text": what comes after the four words; NULL where it
 * is no such line. */
static const char *identifier_of(const char *line)
{
    for (int words = 0; words < 4; words++) {
        line += strspn(line, " ");
        if (!*line)
            return NULL;
        line += strcspn(line, " ");
    }
    return line + strspn(line, " ");
}

/* systemd's own lines, or all others. */
static void take_lines(const char *text, bool systemd, struct buf *out)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        char *line CLEANUP(cleanup_mem) = mem_strndup(text, len);
        const char *from = identifier_of(line);
        const char *said = from ? strstr(from, ": ") : NULL;
        text += len + (text[len] == '\n');
        if (!said || str_starts(from, "systemd[") != systemd)
            continue;
        buf_adds(out, said + 2);
        buf_adds(out, "\n");
    }
}

void host_unit_log_lines(const char *text, size_t lines, struct buf *out)
{
    struct buf said CLEANUP(buf_free) = {0};
    take_lines(text, false, &said);
    if (!said.len)
        take_lines(text, true, &said);
    size_t at = said.len;
    for (size_t seen = 0; at > 0; at--) {
        if (said.data[at - 1] == '\n' && seen++ == lines)
            break;
    }
    log_add_safe_lines(out, buf_str(&said) + at, said.len - at);
}

int host_unit_log(const struct host *h, const char *unit, size_t lines, struct buf *out,
                  struct error *err)
{
    static const char script[] = "as_root journalctl -q -u \"$1\" -n 50 --no-pager -o short";
    struct buf text CLEANUP(buf_free) = {0};
    char *what CLEANUP(cleanup_mem) = mem_printf("reading the log of %s", unit);
    const char *args[] = {unit, NULL};
    if (host_do(h, what, script, args, NULL, &text, err) < 0)
        return -1;
    host_unit_log_lines(buf_str(&text), lines, out);
    return 0;
}
