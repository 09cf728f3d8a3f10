/*
 * The logs of the static pod's containers, /var/log/pods/<pod>/kube-apiserver/<restart>.log: there
 * for every container runtime. Who wrote last is told by the times in their lines.
 */
#include "provisioner/drivers/kubeadm.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* (As root where that may be: the folder may be root's alone.) */
static const char list_script[] =
    "if logs=$(as_root find " KUBEADM_LOGS " -path '" KUBEADM_LOGS
    "/kube-system_kube-apiserver-*/kube-apiserver/*.log' 2>/dev/null); then\n"
    "  echo \"$logs\"\n"
    "  exit 0\n"
    "fi\n"
    "set +f\n"
    "for log in " KUBEADM_LOGS "/kube-system_kube-apiserver-*/kube-apiserver/*.log; do\n"
    "  echo \"$log\"\n"
    "done\n"
    "exit 0";

/* find(1) and not the shell looks for them: root's may be the only eyes that can. */
static const char tail_script[] =
    "as_root find " KUBEADM_LOGS " -path '" KUBEADM_LOGS
    "/kube-system_kube-apiserver-*/kube-apiserver/*.log' -exec tail -n 40 {} +";

long kubeadm_restarts(const char *paths)
{
    long sum = 0, most = 0;
    char *pod CLEANUP(cleanup_mem) = mem_strdup("");
    while (*paths) {
        size_t len = strcspn(paths, "\n");
        char *line CLEANUP(cleanup_mem) = mem_strndup(paths, len);
        paths += len + (paths[len] == '\n');
        char *name = strrchr(line, '/');
        if (!name || !isdigit((unsigned char)name[1]))
            continue;
        long number = strtol(name + 1, NULL, 10);
        *name = '\0';
        if (!str_eq(pod, line)) {
            sum += most;
            most = 0;
            mem_free(pod);
            pod = mem_strdup(line);
        }
        most = number > most ? number : most;
    }
    return sum + most;
}

int kubeadm_logs(struct node *n, struct buf *out, long *restarts, struct error *err)
{
    if (host_do(kubeadm_host(n), "looking for the logs of kube-apiserver", list_script, NULL, NULL,
                out, err) < 0)
        return -1;
    *restarts = kubeadm_restarts(buf_str(out));
    return 0;
}

/* Docker: {"log":"…\n","stream":"stderr","time":"…"}; the CRI: "TIME stderr F …". False: neither.
 */
static bool read_line(const char *line, size_t len, char **time, struct buf *out)
{
    json_error_t why;
    if (len && line[0] == '{') {
        json_auto_t *json = json_loadb(line, len, 0, &why);
        const char *text = json_string_value(json_object_get(json, "log"));
        const char *at = json_string_value(json_object_get(json, "time"));
        if (!text || !at)
            return false;
        size_t n = strlen(text);
        buf_add(out, text, n && text[n - 1] == '\n' ? n - 1 : n);
        *time = mem_strdup(at);
        return true;
    }
    const char *end = line + len;
    const char *word[3];
    const char *at = line;
    for (size_t i = 0; i < ARRAY_LEN(word); i++) {
        word[i] = at;
        at = memchr(at, ' ', (size_t)(end - at));
        if (!at)
            return false;
        at++;
    }
    if (!isdigit((unsigned char)word[0][0]) || !str_starts(word[1], "std"))
        return false;
    *time = mem_strndup(word[0], (size_t)(word[1] - word[0] - 1));
    buf_add(out, at, (size_t)(end - at));
    return true;
}

struct one_log {
    char **lines;
    size_t count;
    char *last; /* the time of its last line */
};

static void log_free(struct one_log *l)
{
    for (size_t i = 0; i < l->count; i++)
        mem_free(l->lines[i]);
    mem_free(l->lines);
    mem_free(l->last);
    *l = (struct one_log){0};
}

static void keep_later(struct one_log *best, struct one_log *other)
{
    if (other->last && (!best->last || strcmp(other->last, best->last) > 0)) {
        struct one_log swap = *best;
        *best = *other;
        *other = swap;
    }
    log_free(other);
}

void kubeadm_last_lines(const char *text, size_t lines, struct buf *out)
{
    struct one_log best CLEANUP(log_free) = {0};
    struct one_log now CLEANUP(log_free) = {0};
    while (*text) {
        size_t len = strcspn(text, "\n");
        struct buf line = {0};
        char *time = NULL;
        if (str_starts(text, "==> " KUBEADM_LOGS "/")) {
            keep_later(&best, &now);
        } else if (read_line(text, len, &time, &line)) {
            mem_free(now.last);
            now.last = time;
            MEM_GROW(now.lines, now.count);
            now.lines[now.count++] = mem_strdup(buf_str(&line));
        }
        buf_free(&line);
        text += len + (text[len] == '\n');
    }
    keep_later(&best, &now);
    for (size_t i = best.count > lines ? best.count - lines : 0; i < best.count; i++)
        buf_printf(out, "%s\n", best.lines[i]);
}

int kubeadm_log_tail(struct node *n, size_t lines, struct buf *out, struct error *err)
{
    struct buf all CLEANUP(buf_free) = {0};
    struct buf last CLEANUP(buf_free) = {0};
    if (host_do(kubeadm_host(n), "reading the logs of kube-apiserver", tail_script, NULL, NULL,
                &all, err) < 0)
        return -1;
    kubeadm_last_lines(buf_str(&all), lines, &last);
    log_add_safe_lines(out, buf_str(&last), last.len);
    return 0;
}
