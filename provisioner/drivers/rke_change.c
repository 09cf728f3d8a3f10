/*
 * Starting anew, settling, going back. Each is safe to be killed after any call, and to be called
 * again then, or another of the three in its place: what lies there says how far it got (rke.h has
 * the names). The old container becomes `encrypt-old-…` only after it is stopped and without its
 * restart policy; a container gets the name kube-apiserver, then the policy, then is started.
 */
#include "provisioner/drivers/rke.h"

#include "provisioner/docker/binds.h"
#include "provisioner/docker/files.h"
#include "provisioner/docker/settings.h"

#include <stdlib.h>
#include <string.h>

enum { STOP_SECONDS = 30, STOP_BAD_SECONDS = 10 };

#define LABEL_OF "io.encrypt.of"
#define LABEL_POLICY "io.encrypt.restart-policy"
#define LABEL_COUNT "io.encrypt.restart-count"

struct change {
    const struct http_server *d;
    struct rke_view v;
    json_t *policy; /* the restart policy that the apiserver is to have */
};

static void change_free(struct change *c)
{
    rke_view_free(&c->v);
    json_decref(c->policy);
}

static const char *id_of(const json_t *inspected)
{
    const char *id = json_string_value(json_object_get(inspected, "Id"));
    return id ? id : "";
}

/* Running, or kept restarting by the daemon. */
static bool is_up(const json_t *inspected)
{
    return json_is_true(json_object_get(json_object_get(inspected, "State"), "Running")) ||
           json_is_true(json_object_get(json_object_get(inspected, "State"), "Restarting"));
}

static json_t *policy_of(const json_t *inspected)
{
    return json_object_get(json_object_get(inspected, "HostConfig"), "RestartPolicy");
}

static bool is_no_policy(const json_t *policy)
{
    const char *name = json_string_value(json_object_get(policy, "Name"));
    return !name || !*name || str_eq(name, "no");
}

static const char *record_label(const json_t *record, const char *label)
{
    const json_t *labels = json_object_get(json_object_get(record, "Config"), "Labels");
    return json_string_value(json_object_get(labels, label));
}

static json_t *new_policy(const char *name, long count)
{
    return json_pack("{s:s, s:I}", "Name", name, "MaximumRetryCount", (json_int_t)count);
}

/* The policy that the container had before we took it: only ever `no` is ours. A record of another
 * container says nothing. */
static json_t *policy_before(const struct change *c, const json_t *it)
{
    if (it && is_no_policy(policy_of(it)) &&
        str_eq(record_label(c->v.record, LABEL_OF), id_of(it))) {
        const char *count = record_label(c->v.record, LABEL_COUNT);
        const char *name = record_label(c->v.record, LABEL_POLICY);
        return new_policy(name ? name : "no", count ? strtol(count, NULL, 10) : 0);
    }
    return json_incref(policy_of(it));
}

static int look(struct node *n, struct change *c, struct error *err)
{
    const struct rke *r = n->driver_data;
    c->d = &r->docker;
    return rke_look(r, &c->v, err);
}

static bool has_flag(const json_t *inspected, const char *config_path)
{
    struct apiserver a CLEANUP(apiserver_free) = {0};
    rke_apiserver(inspected, &a);
    return str_eq(a.config_path, config_path);
}

static bool has_wanted(const json_t *inspected, const struct apiserver_want *want)
{
    for (char *const *bind = want->binds; bind && *bind; bind++) {
        if (bind_state_in(inspected, *bind) != BIND_THERE)
            return false;
    }
    return has_flag(inspected, want->config_path);
}

/* True where `newer` is `older` with other binds. */
static bool same_but_binds(const json_t *older, const json_t *newer)
{
    json_auto_t *a = json_deep_copy(json_object_get(older, "HostConfig"));
    json_auto_t *b = json_deep_copy(json_object_get(newer, "HostConfig"));
    bool same_binds = json_equal(json_object_get(a, "Binds"), json_object_get(b, "Binds"));
    static const char *const passing[] = {"Binds", "RestartPolicy"};
    for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
        json_object_del(a, passing[i]);
        json_object_del(b, passing[i]);
    }
    return !same_binds && json_equal(a, b) &&
           json_equal(json_object_get(older, "Config"), json_object_get(newer, "Config")) &&
           json_equal(json_object_get(older, "Image"), json_object_get(newer, "Image"));
}

/* The single steps; each also brings the view up to date. */

static int remove_it(struct change *c, json_t **it, struct error *err)
{
    if (!*it)
        return 0;
    /* The record alone may have volumes of its own (its image's): the others' are the apiserver's.
     */
    if (docker_remove(c->d, id_of(*it), it != &c->v.old, it == &c->v.record, err) < 0)
        return -1;
    json_decref(*it);
    *it = NULL;
    return 0;
}

static int set_policy(struct change *c, json_t *it, json_t *policy, struct error *err)
{
    if (!policy || json_equal(policy, policy_of(it)) ||
        (is_no_policy(policy) && is_no_policy(policy_of(it))))
        return 0;
    if (docker_update_policy(c->d, id_of(it), policy, err) < 0)
        return -1;
    json_object_set(json_object_get(it, "HostConfig"), "RestartPolicy", policy);
    return 0;
}

static int move(struct change *c, json_t **from, json_t **to, const char *name, struct error *err)
{
    if (docker_rename(c->d, id_of(*from), name, err) < 0)
        return -1;
    *to = STEAL(*from);
    return 0;
}

/* From its end to its new name nothing would bring an apiserver up if the node restarted, so these
 * come right after one another; stopping, which may take long, comes first: until it has ended, the
 * policy is its own. A dockerd that restarted before that was taken away has brought it up again,
 * so it is stopped once more. */
static int switch_off(struct change *c, json_t *it, int seconds, struct error *err)
{
    json_auto_t *none = new_policy("no", 0);
    bool had_policy = !is_no_policy(policy_of(it));
    if ((is_up(it) && docker_stop(c->d, id_of(it), seconds, err) < 0) ||
        set_policy(c, it, none, err) < 0)
        return -1;
    return had_policy ? docker_stop(c->d, id_of(it), seconds, err) : 0;
}

static int make_record(struct change *c, const json_t *of, struct error *err)
{
    if (c->v.record && str_eq(record_label(c->v.record, LABEL_OF), id_of(of)))
        return 0;
    if (remove_it(c, &c->v.record, err) < 0)
        return -1;
    const char *name = json_string_value(json_object_get(c->policy, "Name"));
    char *count CLEANUP(cleanup_mem) = mem_printf(
        "%lld", (long long)json_integer_value(json_object_get(c->policy, "MaximumRetryCount")));
    json_auto_t *settings =
        json_pack("{s:O, s:[s], s:{s:s, s:s, s:s}, s:{s:s, s:{s:s}}}", "Image",
                  json_object_get(of, "Image"), "Entrypoint", "/bin/true", "Labels", LABEL_OF,
                  id_of(of), LABEL_POLICY, name && *name ? name : "no", LABEL_COUNT, count,
                  "HostConfig", "NetworkMode", "none", "RestartPolicy", "Name", "no");
    char *id CLEANUP(cleanup_mem) = NULL;
    if (docker_create(c->d, RKE_RECORD, settings, &id, err) < 0)
        return -1;
    return docker_inspect(c->d, id, &c->v.record, err);
}

/* Its tag, where that still is the image that the container has; else its id. */
static int image_for(struct change *c, const json_t *it, char **out, struct error *err)
{
    const char *id = json_string_value(json_object_get(it, "Image"));
    const char *tag = json_string_value(json_object_get(json_object_get(it, "Config"), "Image"));
    json_auto_t *image = NULL;
    if (tag && docker_inspect_image(c->d, tag, &image, err) < 0)
        return -1;
    bool same = str_eq(json_string_value(json_object_get(image, "Id")), id);
    *out = mem_strdup(same ? tag : id);
    return 0;
}

/* The paths that VolumesFrom brings. */
static int inherited_paths(struct change *c, const json_t *it, json_t **out, struct error *err)
{
    json_auto_t *paths = json_object();
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach (json_object_get(json_object_get(it, "HostConfig"), "VolumesFrom"), i,
                        item) {
        const char *from = json_string_value(item);
        char *name CLEANUP(cleanup_mem) =
            mem_strndup(from ? from : "", strcspn(from ? from : "", ":"));
        json_auto_t *source = NULL;
        if (docker_inspect(c->d, name, &source, err) < 0)
            return -1;
        size_t k = 0;
        const json_t *mount = NULL;
        json_array_foreach (json_object_get(source, "Mounts"), k, mount) {
            const char *to = json_string_value(json_object_get(mount, "Destination"));
            if (to)
                json_object_set_new(paths, to, json_true());
        }
    }
    *out = STEAL(paths);
    return 0;
}

static int create_new(struct change *c, const struct apiserver_want *want, const json_t *body,
                      json_t *networks, struct error *err)
{
    char *id CLEANUP(cleanup_mem) = NULL;
    if (docker_create(c->d, RKE_NEW, body, &id, err) < 0)
        return -1;
    const char *network = NULL;
    json_t *endpoint = NULL;
    json_object_foreach (networks, network, endpoint) {
        if (docker_connect(c->d, network, id, endpoint, err) < 0)
            return -1;
    }
    if (docker_inspect(c->d, id, &c->v.fresh, err) < 0)
        return -1;
    if (!c->v.fresh || !has_wanted(c->v.fresh, want))
        return error_set(err, RESULT_FAILED,
                         "%s: the container that was made has other flags or mounts than it should",
                         c->d->what);
    return 0;
}

/* Nothing that was in force was touched: only what was made goes. It may be there although its
 * answer was lost, so it goes by its name. The record stays where it alone tells the policy. What
 * can't be removed, settle() will. */
static void forget_new(struct change *c, const json_t *from)
{
    struct error ignored CLEANUP(error_clear) = {0};
    if (docker_remove(c->d, RKE_NEW, true, false, &ignored) < 0)
        return;
    json_decref(c->v.fresh);
    c->v.fresh = NULL;
    if (from == c->v.current && json_equal(c->policy, policy_of(from)))
        remove_it(c, &c->v.record, &ignored);
}

/* The daemon would make what a bind names and isn't there: an empty folder, root's, in the place of
 * the plugin's. */
static int check_folders(struct change *c, const json_t *from, char *const *binds,
                         struct error *err)
{
    for (; binds && *binds; binds++) {
        char *host CLEANUP(cleanup_mem) = bind_host(*binds);
        bool there = false;
        if (host[0] != '/' || bind_state_in(from, *binds) == BIND_THERE)
            continue;
        if (docker_has_on_node(c->d, from, host, &there, err) < 0)
            return -1;
        if (there)
            continue;
        error_set(err, RESULT_REFUSED,
                  "%s: services.kube-api.extra_binds has %s, and there is no %s on the node",
                  c->d->what, *binds, host);
        error_next(err, "start the KMS plugin there, or make the folder that its socket is to be "
                        "in, then run the same command again");
        return -1;
    }
    return 0;
}

/* Creates the new one beside `from`: the same settings, but for the flag and for binds that are
 * added, and without a restart policy. */
static int make_new(struct change *c, const json_t *from, const struct apiserver_want *want,
                    struct error *err)
{
    json_auto_t *body = NULL;
    json_auto_t *networks = NULL;
    json_auto_t *inherited = NULL;
    char *image CLEANUP(cleanup_mem) = NULL;
    if (image_for(c, from, &image, err) < 0 || inherited_paths(c, from, &inherited, err) < 0 ||
        settings_for_create(from, image, inherited, &body, &networks, err) < 0 ||
        settings_set_config_flag(body, want->config_path, err) < 0 ||
        settings_add_binds(from, want->binds, body, err) < 0 ||
        check_folders(c, from, want->binds, err) < 0)
        return -1;
    /* One of an earlier call may be of other settings. */
    if (remove_it(c, &c->v.fresh, err) == 0 && make_record(c, from, err) == 0 &&
        create_new(c, want, body, networks, err) == 0)
        return 0;
    forget_new(c, from);
    return -1;
}

/* What has the name kube-apiserver gets its policy and is started. */
static int bring_up(struct change *c, struct error *err)
{
    if (set_policy(c, c->v.current, c->policy, err) < 0)
        return -1;
    return docker_start(c->d, id_of(c->v.current), err);
}

/* Nothing has the name kube-apiserver: a run was killed between two renames, here or in
 * going back. */
static int go_on(struct change *c, const struct apiserver_want *want, struct error *err)
{
    json_t *old = c->v.old;
    bool told = str_eq(record_label(c->v.record, LABEL_OF), id_of(old));
    /* Only where somebody removed the record: RKE's own policy, then. */
    c->policy =
        told || !is_no_policy(policy_of(old)) ? policy_before(c, old) : new_policy("always", 0);
    if (has_wanted(old, want)) {
        if (switch_off(c, old, STOP_SECONDS, err) < 0 ||
            move(c, &c->v.old, &c->v.current, RKE_CURRENT, err) < 0)
            return -1;
        return bring_up(c, err);
    }
    if (make_new(c, old, want, err) < 0 || switch_off(c, old, STOP_SECONDS, err) < 0 ||
        move(c, &c->v.fresh, &c->v.current, RKE_CURRENT, err) < 0)
        return -1;
    return bring_up(c, err);
}

/* Flags and mounts are right: another process is all that is wanted. */
static int start_anew(struct change *c, const char *process, struct error *err)
{
    struct apiserver a CLEANUP(apiserver_free) = {0};
    rke_apiserver(c->v.current, &a);
    const json_t *was = c->v.old ? c->v.old : c->v.current;
    c->policy = policy_before(c, was);
    /* (Where the old one has none and no record tells, the new one's stands.) */
    if (is_no_policy(policy_of(c->v.current)) && set_policy(c, c->v.current, c->policy, err) < 0)
        return -1;
    if (a.running && !str_eq(a.process, process))
        return 0;
    if (is_up(c->v.current))
        return docker_restart(c->d, id_of(c->v.current), STOP_SECONDS, err);
    return docker_start(c->d, id_of(c->v.current), err);
}

static int replace(struct change *c, const struct apiserver_want *want, struct error *err)
{
    /* An old one beside one that has run is of an earlier change that was never settled. What is
     * kept from here on is what is in force now; its policy first, while the record tells it. */
    if (c->v.old && is_no_policy(policy_of(c->v.current))) {
        json_auto_t *policy = policy_before(c, c->v.old);
        if (set_policy(c, c->v.current, policy, err) < 0)
            return -1;
    }
    c->policy = policy_before(c, c->v.current);
    if (make_new(c, c->v.current, want, err) < 0 || remove_it(c, &c->v.old, err) < 0 ||
        switch_off(c, c->v.current, STOP_SECONDS, err) < 0 ||
        move(c, &c->v.current, &c->v.old, RKE_OLD, err) < 0 ||
        move(c, &c->v.fresh, &c->v.current, RKE_CURRENT, err) < 0)
        return -1;
    return bring_up(c, err);
}

static int back_to_old(struct change *c, struct error *err)
{
    c->policy = policy_before(c, c->v.old);
    /* Where somebody removed the record, the new one has it. */
    const json_t *other = c->v.current ? c->v.current : c->v.fresh;
    if (is_no_policy(c->policy) && !is_no_policy(policy_of(other))) {
        json_decref(c->policy);
        c->policy = json_incref(policy_of(other));
    }
    if (make_record(c, c->v.old, err) < 0)
        return -1;
    if (c->v.current && (remove_it(c, &c->v.fresh, err) < 0 ||
                         switch_off(c, c->v.current, STOP_BAD_SECONDS, err) < 0 ||
                         move(c, &c->v.current, &c->v.fresh, RKE_NEW, err) < 0))
        return -1;
    if (move(c, &c->v.old, &c->v.current, RKE_CURRENT, err) < 0 || bring_up(c, err) < 0 ||
        remove_it(c, &c->v.fresh, err) < 0)
        return -1;
    return remove_it(c, &c->v.record, err);
}

/* The new one never started, and the one that was kept has what is wanted: that one is good, and a
 * bind that was added may be what doesn't work. */
static bool kept_will_do(const struct change *c, const struct apiserver_want *want)
{
    return c->v.current && c->v.old && rke_never_started(c->v.current) &&
           has_wanted(c->v.old, want);
}

static int start(struct change *c, const struct apiserver_want *want, const char *process,
                 struct error *err)
{
    if (!c->v.current && !c->v.old)
        return error_set(err, RESULT_REFUSED, "%s: there is no container " RKE_CURRENT, c->d->what);
    if (kept_will_do(c, want))
        return back_to_old(c, err);
    if (c->v.current && has_wanted(c->v.current, want))
        return start_anew(c, process, err);
    /* One that was never started is no apiserver to be kept: the old one is what was in force. */
    if (c->v.current && c->v.old && rke_never_started(c->v.current) &&
        remove_it(c, &c->v.current, err) < 0)
        return -1;
    return c->v.current ? replace(c, want, err) : go_on(c, want, err);
}

int rke_start(struct node *n, const struct apiserver_want *want, const char *process,
              struct error *err)
{
    struct change c CLEANUP(change_free) = {0};
    if (look(n, &c, err) < 0 || start(&c, want, process, err) < 0)
        return error_wrap(err, "starting the apiserver of %s anew", n->name);
    return 0;
}

static int settle(struct change *c, struct error *err)
{
    /* First: these may hold keys, whether an apiserver runs or not. */
    if (docker_helpers_clear(c->d, err) < 0)
        return -1;
    if (c->v.old && (!c->v.current || !is_up(c->v.current)))
        return error_set(err, RESULT_FAILED,
                         "%s: " RKE_CURRENT " doesn't run, so what was before it is kept",
                         c->d->what);
    if (c->v.current) {
        c->policy = policy_before(c, c->v.old ? c->v.old : c->v.current);
        if (is_no_policy(policy_of(c->v.current)) &&
            set_policy(c, c->v.current, c->policy, err) < 0)
            return -1;
    }
    if (remove_it(c, &c->v.old, err) < 0 || remove_it(c, &c->v.fresh, err) < 0)
        return -1;
    return remove_it(c, &c->v.record, err);
}

int rke_settle(struct node *n, struct error *err)
{
    struct change c CLEANUP(change_free) = {0};
    if (look(n, &c, err) < 0 || settle(&c, err) < 0)
        return error_wrap(err, "clearing up after the change of the apiserver of %s", n->name);
    return 0;
}

/* It may have come up by itself while the other file was there: only a new process has read the one
 * put back. */
static int restart_current(struct change *c, struct error *err)
{
    c->policy = policy_before(c, c->v.old ? c->v.old : c->v.current);
    if ((is_no_policy(policy_of(c->v.current)) &&
         set_policy(c, c->v.current, c->policy, err) < 0) ||
        docker_restart(c->d, id_of(c->v.current), STOP_BAD_SECONDS, err) < 0 ||
        remove_it(c, &c->v.fresh, err) < 0)
        return -1;
    /* An old one with other flags stays for settle(), and the record, which is of it, with it. */
    return c->v.old ? 0 : remove_it(c, &c->v.record, err);
}

static int go_back(struct change *c, const struct apiserver_want *want, struct error *err)
{
    if (!c->v.current && !c->v.old)
        return error_set(err, RESULT_FAILED,
                         "%s: there is no container " RKE_CURRENT " and none that was kept",
                         c->d->what);
    /* A bind that was added may be what doesn't work. */
    bool added = kept_will_do(c, want) || (c->v.current && c->v.old && has_wanted(c->v.old, want) &&
                                           same_but_binds(c->v.old, c->v.current));
    /* First: a new one that failed has other flags than what it is gone back from, so what has the
     * right ones is good, and an old one beside it is left from an earlier change. */
    if (c->v.current && !added && has_wanted(c->v.current, want))
        return restart_current(c, err);
    if (c->v.old && has_wanted(c->v.old, want))
        return back_to_old(c, err);
    return start(c, want, NULL, err);
}

int rke_go_back(struct node *n, const struct apiserver_want *want, struct error *err)
{
    struct change c CLEANUP(change_free) = {0};
    if (look(n, &c, err) < 0 || go_back(&c, want, err) < 0)
        return error_wrap(err, "going back to the former apiserver of %s", n->name);
    return 0;
}
