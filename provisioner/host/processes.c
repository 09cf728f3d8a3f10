/* Processes by /proc, which needs no right (but where it is mounted with hidepid, which is said).
 */
#include "provisioner/host/host.h"

#include <string.h>

/*
 * $1: a command name, or a pid after "pid:". Gives lines: "boot ID", "btime SECONDS", "hz TICKS",
 * and of each process "stat <the whole line>", a "cgroup LINE" for each of its groups, and lines of
 * hexadecimal (its command line), ended by "end". What ends meanwhile is left out, or has no
 * command line.
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
    "  { while IFS= read -r line; do echo \"cgroup $line\"; done <\"$1/cgroup\"; } 2>/dev/null\n"
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
