/* Processes by /proc, which needs no right (but where it is mounted with hidepid, which is said).
 */
#include "provisioner/host/host.h"
#include "state/timestamp.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/*
 * $1: a command name, or a pid after "pid:". Gives lines: "boot ID", "btime SECONDS", "hz TICKS",
 * and of each process "stat <the whole line>" and lines of hexadecimal (its command line), ended by
 * "end". What ends meanwhile is left out, or has no command line.
 */
static const char script[] =
    "{ read -r comm </proc/1/comm; } 2>/dev/null || exit 86\n"
    "read -r boot </proc/sys/kernel/random/boot_id || exit 1\n"
    "echo \"boot $boot\"\n"
    "while read -r word value; do [ \"$word\" != btime ] || echo \"btime $value\"; done "
    "</proc/stat\n"
    "echo \"hz $(getconf CLK_TCK 2>/dev/null || echo 100)\"\n"
    "one() {\n"
    "  { IFS= read -r stat <\"$1/stat\"; } 2>/dev/null || return 0\n"
    "  echo \"stat $stat\"\n"
    "  od -An -v -tx1 \"$1/cmdline\" 2>/dev/null\n"
    "  echo end\n"
    "}\n"
    "case $1 in pid:*) one \"/proc/${1#pid:}\"; exit 0 ;; esac\n"
    "set +f\n"
    "for folder in /proc/[0-9]*; do\n"
    "  { IFS= read -r comm <\"$folder/comm\"; } 2>/dev/null || continue\n"
    "  [ \"$comm\" != \"$1\" ] || one \"$folder\"\n"
    "done\n"
    "exit 0";

enum { IS_HIDDEN = 86 };

void host_process_free(struct host_process *p)
{
    mem_free(p->identity);
    mem_free(p->since);
    for (size_t i = 0; p->args && p->args[i]; i++)
        mem_free(p->args[i]);
    mem_free(p->args);
    *p = (struct host_process){0};
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

static void take_line(struct reader *r, const char *line)
{
    if (str_starts(line, "stat "))
        begin(r, line + 5);
    else if (r->inside && str_eq(line, "end"))
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

static int look(const struct host *h, const char *which, struct host_process **out, size_t *count,
                struct error *err)
{
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    const char *args[] = {which, NULL};
    *out = NULL;
    *count = 0;
    if (host_run(h, script, args, NULL, &a, err) < 0)
        return error_wrap(err, "looking for processes");
    if (a.status == IS_HIDDEN) {
        error_set(err, RESULT_FAILED,
                  "node %s: /proc shows the SSH user only his own processes (hidepid)", h->name);
        error_next(err,
                   "log in as root (`user` in cluster.yml), or put the user into the group that "
                   "/proc is mounted with (gid=)");
        return -1;
    }
    if (a.status != 0)
        return host_explain(h, "looking for processes in /proc", &a, err);
    host_processes_parse(buf_str(&a.out), out, count);
    return 0;
}

int host_processes(const struct host *h, const char *program, struct host_process **out,
                   size_t *count, struct error *err)
{
    return look(h, program, out, count, err);
}

int host_process_of(const struct host *h, long pid, struct host_process *out, bool *found,
                    struct error *err)
{
    struct host_process *list = NULL;
    size_t count = 0;
    char *which CLEANUP(cleanup_mem) = mem_printf("pid:%ld", pid);
    if (look(h, which, &list, &count, err) < 0)
        return -1;
    *found = count == 1;
    if (*found) {
        *out = list[0];
        list[0] = (struct host_process){0};
    }
    host_processes_free(list, count);
    return 0;
}
