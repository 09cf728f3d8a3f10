/*
 * Starting anew, settling, going back. The drop-in is brought to what is wanted, systemd reads it,
 * and only then is the unit restarted. Each is safe to be killed after any call: the next one makes
 * the drop-in again from what is wanted.
 */
#include "provisioner/drivers/systemd.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_MS = 200 };

static int remove_dropin(const struct host *h, const char *path, struct error *err)
{
    /* The folder goes where nothing else is in it. */
    static const char script[] = "as_root rmdir \"$1\" 2>/dev/null; exit 0";
    if (host_file_remove(h, path, err) < 0)
        return -1;
    char *folder CLEANUP(cleanup_mem) = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    const char *args[] = {folder, NULL};
    return host_do(h, "removing the drop-in's folder", script, args, NULL, NULL, err);
}

static int look_again(struct node *n, struct systemd_look *l, struct error *err)
{
    systemd_look_free(l);
    return systemd_look_at(n, l, err);
}

/* systemd knows the files as they lie there. */
static int reload(struct node *n, struct systemd_look *l, struct error *err)
{
    const struct systemd *s = n->driver_data;
    if (host_units_reload(&s->host, err) < 0 || look_again(n, l, err) < 0)
        return -1;
    if (l->exists && l->own_there == l->own_loaded &&
        !str_eq(host_unit_get(&l->unit, "NeedDaemonReload"), "yes"))
        return 0;
    return error_set(err, RESULT_FAILED,
                     "node %s: systemd doesn't take up %s: it says that its files are other than "
                     "those that it knows, after systemctl daemon-reload",
                     n->name, l->dropin);
}

static int refuse_missing(const struct systemd *s, struct error *err)
{
    return error_set(err, RESULT_REFUSED, "node %s: there is no unit %s", s->host.name, s->unit);
}

/* `l` is looked at anew where something was changed: config_path is none of its own. */
static int bring_dropin(struct node *n, struct systemd_look *l, const char *config_path,
                        struct error *err)
{
    const struct systemd *s = n->driver_data;
    struct buf text CLEANUP(buf_free) = {0};
    /* What somebody else has changed in the unit is what the drop-in is to be made of. */
    if (l->exists &&
        (l->own_there != l->own_loaded ||
         str_eq(host_unit_get(&l->unit, "NeedDaemonReload"), "yes")) &&
        reload(n, l, err) < 0)
        return -1;
    if (!l->exists)
        return refuse_missing(s, err);
    if (systemd_check_dropin(n, l, config_path, err) < 0)
        return -1;
    if (!systemd_needs_dropin(l, config_path)) {
        if (!l->own_there)
            return 0;
        if (remove_dropin(&s->host, l->dropin, err) < 0)
            return -1;
        return reload(n, l, err);
    }
    unit_dropin_write(l->service.commands[0], systemd_flag_name(n, l), config_path, &text);
    if (l->own_there && l->own.len == text.len && memcmp(l->own.data, text.data, text.len) == 0)
        return 0;
    if (host_file_replace(&s->host, l->dropin, &text, false, &l->own, err) < 0)
        return -1;
    return reload(n, l, err);
}

/* "1min 30s", as systemctl show has it; -1: for ever. */
static int64_t timespan_ms(const char *text)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1},        {"s", 1000},  {"min", 60000}, {"h", 3600000}, {"d", 86400000},
                 {"w", 604800000}, {"month", 0}, {"y", 0}}; /* (longer than is waited for) */
    int64_t sum = 0;
    if (str_eq(text, "infinity"))
        return -1;
    while (*text) {
        char *end = NULL;
        double count = strtod(text, &end);
        size_t len = strcspn(end, " ");
        for (size_t i = 0; end > text && i < ARRAY_LEN(units); i++) {
            if (strlen(units[i].name) != len || strncmp(end, units[i].name, len) != 0)
                continue;
            if (!units[i].ms || count * (double)units[i].ms >= (double)INT32_MAX)
                return -1;
            sum += (int64_t)(count * (double)units[i].ms);
        }
        text = end + len;
        text += *text == ' ';
    }
    return sum;
}

int64_t systemd_new_process_ms(const struct host_unit *u)
{
    static const int64_t usual = 150000, longest = (int64_t)15 * 60000, start = 60000;
    int64_t stop = timespan_ms(host_unit_get(u, "TimeoutStopUSec"));
    int64_t wait = stop + start;
    return stop < 0 || wait > longest ? longest : wait < usual ? usual : wait;
}

static int wait_for_another(struct node *n, const char *process, int64_t wait_ms, struct error *err)
{
    const struct systemd *s = n->driver_data;
    int64_t deadline = loop_now() + wait_ms;
    for (;;) {
        struct systemd_look l CLEANUP(systemd_look_free) = {0};
        if (systemd_look_at(n, &l, err) < 0)
            return -1;
        if (l.running && !str_eq(l.process.identity, process))
            return 0;
        const char *active = host_unit_get(&l.unit, "ActiveState");
        if (str_eq(active, "failed"))
            return error_set(err, RESULT_FAILED, "node %s: %s failed after systemctl restart (%s)",
                             n->name, s->unit, host_unit_get(&l.unit, "Result"));
        if (loop_now() >= deadline)
            return error_set(
                err, RESULT_FAILED,
                "node %s: %s has no new process %lld s after systemctl restart: it is \"%s\"",
                n->name, s->unit, (long long)(wait_ms / 1000), active);
        if (loop_pause(n->loop, LOOK_MS, err) < 0)
            return -1;
    }
}

static int restart(struct node *n, const struct systemd_look *l, struct error *err)
{
    const struct systemd *s = n->driver_data;
    char *before CLEANUP(cleanup_mem) = l->running ? mem_strdup(l->process.identity) : NULL;
    if (host_unit_restart(&s->host, s->unit, err) < 0)
        return -1;
    return wait_for_another(n, before, systemd_new_process_ms(&l->unit), err);
}

static int start(struct node *n, const struct apiserver_want *want, const char *process,
                 struct error *err)
{
    struct systemd_look l CLEANUP(systemd_look_free) = {0};
    if (systemd_look_at(n, &l, err) < 0 || bring_dropin(n, &l, want->config_path, err) < 0)
        return -1;
    if (process && l.running && !str_eq(l.process.identity, process) &&
        str_eq(l.runs.config_path, want->config_path))
        return 0;
    return restart(n, &l, err);
}

int systemd_start(struct node *n, const struct apiserver_want *want, const char *process,
                  struct error *err)
{
    return start(n, want, process ? process : "", err);
}

int systemd_go_back(struct node *n, const struct apiserver_want *want, struct error *err)
{
    return start(n, want, NULL, err);
}

int systemd_settle(struct node *n, struct error *err)
{
    struct systemd_look l CLEANUP(systemd_look_free) = {0};
    if (systemd_look_at(n, &l, err) < 0)
        return -1;
    if (!l.exists || l.own_foreign)
        return 0;
    /* What runs is what a restart is to give; also where systemd doesn't know yet that ours was
     * purged: to tell it alone would make the next start another. */
    char *runs CLEANUP(cleanup_mem) = l.running ? mem_strdup(l.runs.config_path) : NULL;
    if (l.running && (systemd_next_differs(&l) || l.own_there != l.own_loaded))
        return bring_dropin(n, &l, runs, err);
    return l.own_there == l.own_loaded ? 0 : reload(n, &l, err);
}
