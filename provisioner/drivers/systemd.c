#include "provisioner/drivers/systemd.h"

#include "state/cluster_yml.h"

#include <stdlib.h>
#include <string.h>

static struct systemd *systemd_of(const struct node *n)
{
    return n->driver_data;
}

static void systemd_close(struct node *n)
{
    struct systemd *s = systemd_of(n);
    if (!s)
        return;
    mem_free(s->unit);
    mem_free(s->process);
    mem_free(s);
    n->driver_data = NULL;
}

static int systemd_open(struct node *n, struct error *err)
{
    const char *unit =
        n->cluster && n->cluster->apiserver_unit ? n->cluster->apiserver_unit : SYSTEMD_UNIT;
    const char *at = strchr(unit, '@');
    if (at && at[1] == '.') {
        error_set(err, RESULT_REFUSED, "apiserver_unit: %s is a template: no instance is named",
                  unit);
        error_next(err, "name the unit that runs, as `systemctl list-units` has it, in cluster.yml "
                        "(apiserver_unit)");
        return -1;
    }
    struct systemd *s = mem_alloc(1, sizeof(*s));
    n->driver_data = s;
    s->unit = mem_strdup(unit);
    if (host_open(n, &s->host, err) == 0)
        return 0;
    systemd_close(n);
    return -1;
}

/* Where systemd doesn't count, we count what we see. */
static long count_restarts(struct systemd *s, const struct systemd_look *l)
{
    const char *told = host_unit_get(&l->unit, "NRestarts");
    const char *process = l->running ? l->process.identity : NULL;
    if (*told)
        return strtol(told, NULL, 10);
    if (process && s->process && !str_eq(process, s->process))
        s->restarts++;
    if (process) {
        mem_free(s->process);
        s->process = mem_strdup(process);
    }
    return s->restarts;
}

static char **copy_args(char *const *args)
{
    size_t count = 0;
    while (args && args[count])
        count++;
    char **out = mem_alloc(count + 1, sizeof(*out));
    for (size_t i = 0; i < count; i++)
        out[i] = mem_strdup(args[i]);
    return out;
}

/* What the next start would give: for one that doesn't run. */
static void take_what_it_says(const struct systemd_look *l, struct apiserver *out)
{
    apiserver_set_args(out, copy_args(l->says.args));
    if (!l->own_there || l->own_foreign)
        return;
    mem_free(out->config_path);
    out->config_path = mem_strdup(l->own_value);
}

static char *what_the_next_start_lacks(const struct systemd *s, const struct systemd_look *l)
{
    const char *next = NULL;
    if (!systemd_next_differs(l) || !systemd_next(l, &next))
        return NULL;
    const char *runs = l->runs.config_path;
    if (systemd_own_counts(l))
        return mem_printf("its kube-apiserver reads %s, and " UNIT_DROPIN_NAME
                          " names %s for its next start: an interrupted change, or an edit by hand",
                          runs ? runs : "no configuration", next ? next : "none");
    if (!next)
        return mem_printf("its kube-apiserver reads %s, and the files of %s no longer say so "
                          "(was " UNIT_DROPIN_NAME " removed, or a flag in an environment file?): "
                          "started anew as they are, it could read nothing that is encrypted",
                          runs, s->unit);
    return mem_printf("its kube-apiserver reads %s, and the files of %s name %s for its next start",
                      runs ? runs : "no configuration", s->unit, next);
}

static int systemd_observe(struct node *n, struct apiserver *out, struct error *err)
{
    struct systemd *s = systemd_of(n);
    struct systemd_look l CLEANUP(systemd_look_free) = {0};
    if (systemd_look_at(n, &l, err) < 0)
        return error_wrap(err, "looking for %s", s->unit);
    *out = (struct apiserver){.exists = l.exists, .running = l.running};
    if (!l.exists)
        return 0;
    out->restarts = count_restarts(s, &l);
    out->gave_up = !l.running && str_eq(host_unit_get(&l.unit, "ActiveState"), "failed");
    if (l.running) {
        out->process = mem_strdup(l.process.identity);
        out->since = mem_strdup(l.process.since);
        apiserver_set_args(out, copy_args(l.runs.args));
    } else {
        take_what_it_says(&l, out);
    }
    if (l.engine)
        out->unseen = mem_printf(
            "%s starts it in a container (%s), and which files that sees can't be told: let the "
            "unit start kube-apiserver itself, or a kubelet as a static pod (kind kubeadm)",
            host_unit_get(&l.unit, "Id"), l.engine);
    out->next_start = what_the_next_start_lacks(s, &l);
    out->unsettled = systemd_next_differs(&l) || (!l.own_foreign && l.own_there != l.own_loaded);
    return 0;
}

static int systemd_read_file(struct node *n, const char *path, struct buf *out, bool *missing,
                             struct error *err)
{
    return host_file_read(&systemd_of(n)->host, path, out, missing, err);
}

static int systemd_changed_at(struct node *n, const char *path, long long *out, struct error *err)
{
    return host_file_changed_at(&systemd_of(n)->host, path, out, err);
}

static int systemd_rehearse(struct node *n, const char *path, struct error *err)
{
    return host_file_rehearse(&systemd_of(n)->host, path, err);
}

static int systemd_put_file(struct node *n, const struct node_text *file,
                            const struct node_text *beside, struct error *err)
{
    return host_file_put(&systemd_of(n)->host, file, beside, err);
}

static int systemd_claim_file(struct node *n, const struct node_text *file, bool *claimed,
                              struct error *err)
{
    return host_file_claim(&systemd_of(n)->host, file, claimed, err);
}

static int systemd_remove_file(struct node *n, const char *path, struct error *err)
{
    return host_file_remove(&systemd_of(n)->host, path, err);
}

static int systemd_log_tail(struct node *n, size_t lines, struct buf *out, struct error *err)
{
    const struct systemd *s = systemd_of(n);
    return host_unit_log(&s->host, s->unit, lines, out, err);
}

const struct driver driver_systemd = {
    .kind = "systemd",
    .words = {.apiserver = SYSTEMD_UNIT,
              .logs = "journalctl -u " SYSTEMD_UNIT " -n 50",
              .start = "systemctl start " SYSTEMD_UNIT,
              .flags = "the flags of " SYSTEMD_UNIT,
              .restart = "systemctl restart " SYSTEMD_UNIT,
              .take_away = "systemctl disable --now " SYSTEMD_UNIT,
              .left_over = "systemctl cat " SYSTEMD_UNIT,
              .left_over_is = "systemd doesn't know yet that the drop-in of encrypt's "
                              "(" UNIT_DROPIN_NAME ") was put there, or is gone",
              .left_over_means = "it comes into force with systemd's next daemon-reload and a "
                                 "restart; the next change (a rotation, say) brings it to what the "
                                 "apiserver has"},
    .open = systemd_open,
    .close = systemd_close,
    .observe = systemd_observe,
    .read_file = systemd_read_file,
    .changed_at = systemd_changed_at,
    .default_config_path = "/etc/kubernetes/encryption.yaml",
    .check_place = systemd_check_place,
    .check_start = systemd_check_start,
    .rehearse = systemd_rehearse,
    .put_file = systemd_put_file,
    .remove_file = systemd_remove_file,
    .claim_file = systemd_claim_file,
    .start_with = systemd_start_with,
    .start = systemd_start,
    .settle = systemd_settle,
    .go_back = systemd_go_back,
    .find_socket = systemd_find_socket,
    .look_for_socket = systemd_look_for_socket,
    .log_tail = systemd_log_tail,
};
