/* What the script of processes.c says, read. */
#include "provisioner/host/host.h"
#include "state/timestamp.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void host_process_free(struct host_process *p)
{
    mem_free(p->identity);
    mem_free(p->since);
    for (size_t i = 0; p->args && p->args[i]; i++)
        mem_free(p->args[i]);
    mem_free(p->args);
    mem_free(p->cgroups);
    *p = (struct host_process){0};
}

/* "0::/system.slice/x.service", or "1:name=systemd:/…"; seen from another namespace of groups there
 * may be more before it. */
bool host_process_is_in(const struct host_process *p, const char *group)
{
    size_t len = strlen(group);
    while (len && group[len - 1] == '/')
        len--;
    for (const char *line = p->cgroups; len && line && *line;) {
        const char *end = line + strcspn(line, "\n");
        const char *path = memchr(line, ':', (size_t)(end - line));
        path = path ? memchr(path + 1, ':', (size_t)(end - path - 1)) : NULL;
        for (const char *at = path; at && at < end; at++) {
            if ((size_t)(end - at) >= len && strncmp(at, group, len) == 0 &&
                (at + len == end || at[len] == '/'))
                return true;
        }
        line = end + (*end == '\n');
    }
    return false;
}

void host_processes_free(struct host_process *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        host_process_free(&list[i]);
    mem_free(list);
}

/* What the script says, as it is gone through. */
struct reader {
    char *boot;
    long long btime, hz;
    struct host_process *list;
    unsigned long long *starts; /* ticks since the boot, of each in the list */
    size_t count;
    bool inside, zombie;
    struct buf cmdline;
};

static void reader_free(struct reader *r)
{
    mem_free(r->boot);
    mem_free(r->starts);
    buf_free(&r->cmdline);
    host_processes_free(r->list, r->count);
}

/* Seconds; later is no time that the node can mean. */
enum { LATEST = INT_MAX };

/* The 22nd field, and the third, the first that comes after the name in brackets (proc(5)). */
static void begin(struct reader *r, const char *stat)
{
    const char *at = strrchr(stat, ')');
    char state = ' ';
    unsigned long long ticks = 0;
    if (r->inside)
        host_process_free(&r->list[--r->count]);
    r->inside = at && at[1] == ' ' && at[2];
    if (!r->inside)
        return;
    state = at[2];
    at += 2;
    for (int field = 3; field < 22 && at; field++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    if (!at) {
        r->inside = false;
        return;
    }
    ticks = strtoull(at, NULL, 10);
    r->zombie = state == 'Z' || state == 'X';
    buf_reset(&r->cmdline);
    MEM_GROW(r->list, r->count);
    r->starts = mem_realloc(r->starts, r->count + 1, sizeof(*r->starts));
    struct host_process *p = &r->list[r->count];
    *p = (struct host_process){.pid = strtol(stat, NULL, 10)};
    r->starts[r->count++] = ticks;
    p->identity = mem_printf("%s %ld %llu", r->boot ? r->boot : "", p->pid, ticks);
    if (r->btime > 0 && r->btime < LATEST && r->hz > 0 &&
        ticks / (unsigned long long)r->hz < LATEST)
        p->since = timestamp_at(r->btime + (long long)(ticks / (unsigned long long)r->hz));
}

static void add_hex(struct buf *out, const char *line)
{
    while (*line) {
        char *end = NULL;
        unsigned long byte = strtoul(line, &end, 16);
        if (end == line)
            return;
        char c = (char)byte;
        buf_add(out, &c, 1);
        line = end;
    }
}

static char **split(const struct buf *b)
{
    char **args = mem_alloc(1, sizeof(*args));
    size_t count = 0;
    for (size_t at = 0; at < b->len;) {
        const char *one = b->data + at;
        size_t len = strnlen(one, b->len - at);
        args = mem_realloc(args, count + 2, sizeof(*args));
        args[count++] = mem_strndup(one, len);
        args[count] = NULL;
        at += len + 1;
    }
    return args;
}

/* One without a command line has ended, or has not begun yet. */
static void finish(struct reader *r)
{
    struct host_process *p = &r->list[r->count - 1];
    r->inside = false;
    if (r->zombie || r->cmdline.len == 0) {
        host_process_free(p);
        r->count--;
        return;
    }
    p->args = split(&r->cmdline);
    /* The oldest first. */
    for (size_t i = r->count - 1; i > 0 && r->starts[i - 1] > r->starts[i]; i--) {
        struct host_process process = r->list[i];
        unsigned long long start = r->starts[i];
        r->list[i] = r->list[i - 1];
        r->list[i - 1] = process;
        r->starts[i] = r->starts[i - 1];
        r->starts[i - 1] = start;
    }
}

static void add_group(struct host_process *p, const char *line)
{
    char *more = mem_printf("%s%s\n", p->cgroups ? p->cgroups : "", line);
    mem_free(p->cgroups);
    p->cgroups = more;
}

static void take_line(struct reader *r, const char *line)
{
    if (str_starts(line, "stat "))
        begin(r, line + 5);
    else if (str_starts(line, "cgroup ")) {
        if (r->inside)
            add_group(&r->list[r->count - 1], line + 7);
    } else if (r->inside && str_eq(line, "end"))
        finish(r);
    else if (r->inside)
        add_hex(&r->cmdline, line);
    else if (str_starts(line, "boot ")) {
        mem_free(r->boot);
        r->boot = mem_strdup(line + 5);
    } else if (str_starts(line, "btime "))
        r->btime = strtoll(line + 6, NULL, 10);
    else if (str_starts(line, "hz "))
        r->hz = strtoll(line + 3, NULL, 10);
}

void host_processes_parse(const char *text, struct host_process **out, size_t *count)
{
    struct reader r CLEANUP(reader_free) = {0};
    while (*text) {
        size_t len = strcspn(text, "\n");
        char *line CLEANUP(cleanup_mem) = mem_strndup(text, len);
        take_line(&r, line);
        text += len + (text[len] == '\n');
    }
    /* Cut off within one: it is no whole process. */
    if (r.inside)
        host_process_free(&r.list[--r.count]);
    *out = STEAL(r.list);
    *count = r.count;
    r.count = 0;
}
