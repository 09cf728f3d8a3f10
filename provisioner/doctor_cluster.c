/* What the API says: who serves, who holds the lock, what the copy of the state has. */
#include "provisioner/doctor.h"
#include "provisioner/kube/lease.h"

#include <string.h>

static bool is_node(const struct doctor *d, const struct cluster_node *n, const char *address)
{
    if (str_eq(n->ssh.address, address) || str_eq(n->internal_address, address))
        return true;
    for (size_t i = 0; i < d->s->count; i++) {
        const struct member *m = &d->s->members[i];
        if (m->node.conf == n && apiserver_serves_at(&m->seen, address))
            return true;
    }
    return false;
}

static bool is_listed(const struct doctor *d, const char *address)
{
    const struct cluster *c = d->s->cluster;
    for (size_t i = 0; i < c->node_count; i++) {
        if (c->nodes[i].controlplane && is_node(d, &c->nodes[i], address))
            return true;
    }
    return false;
}

/* True where one isn't. */
static bool not_listed(struct doctor *d, char **addresses, const char *by)
{
    bool any = false;
    for (size_t i = 0; addresses[i]; i++) {
        if (is_listed(d, addresses[i]))
            continue;
        any = true;
        char *about CLEANUP(cleanup_mem) = mem_printf("node %s", addresses[i]);
        mend(means(wrong(d, about, "it is a control-plane node by %s, and %s doesn't list it", by,
                         d->o->config),
                   "what its kube-apiserver writes could not be read after a change, or not by it; "
                   "every change is refused until then"),
             "# add the node to %s, or take its kube-apiserver out of the cluster%s", d->o->config,
             session_shares_state(d->s)
                 ? " (`rke up` without it)"
                 : "; where it is a listed one by another address, that is to be its "
                   "internal_address there");
    }
    return any;
}

/* Listed, seen to be ready or not to be seen at all, and not among those that serve. */
static void not_serving(struct doctor *d, char **addresses)
{
    const struct cluster *c = d->s->cluster;
    for (size_t i = 0; addresses[0] && i < c->node_count; i++) {
        bool serves = !c->nodes[i].controlplane;
        for (size_t k = 0; addresses[k]; k++)
            serves = serves || is_node(d, &c->nodes[i], addresses[k]);
        if (serves)
            continue;
        char *about CLEANUP(cleanup_mem) = mem_printf("node %s", c->nodes[i].ssh.address);
        means(wrong(d, about,
                    "%s lists it as a control-plane node, and it is not among those "
                    "that serve (endpoints default/kubernetes)",
                    d->o->config),
              "its kube-apiserver is down, or has never joined this cluster");
    }
}

static int addresses(struct doctor *d, struct error *err)
{
    char **list = NULL;
    if (d->s->state) {
        list = rkestate_controlplane(d->s->state);
        not_listed(d, list, "the state file");
        encryption_resources_free(list);
    }
    if (kube_apiserver_addresses(d->api, &list, err) < 0)
        return -1;
    d->stranger = not_listed(d, list, "the endpoints of default/kubernetes");
    not_serving(d, list);
    encryption_resources_free(list);
    return 0;
}

static void our_lock(struct doctor *d, const struct lease_seen *seen)
{
    const char *since = seen->since ? seen->since : "an unknown time";
    if (doctor_open_change(d) || d->run_alive)
        return;
    struct encrypt_finding *f =
        d->s->journal && d->s->journal->sequence > 0
            ? wrong(d, "lock", "we hold the lock in the cluster since %s, and no change is open",
                    since)
            : wrong(d, "lock", "we hold the lock in the cluster since %s", since);
    if (d->state_missing || !d->s->journal || !d->s->journal->sequence) {
        means(f, "a change of ours was begun and not finished, and its journal is lost: how far it "
                 "came is told by the nodes alone; others are kept out meanwhile");
        mend(f, "# first what is said of the state file and the nodes below; the next change of "
                "ours takes the lock again");
        return;
    }
    char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
    mend(means(f, "a run of ours ended before it gave the lock back; others are kept out by it"),
         "%s    # gives it back", resume);
}

static int lock(struct doctor *d, struct error *err)
{
    struct lease_seen seen CLEANUP(lease_seen_free) = {0};
    if (lease_look(d->api, &seen, err) < 0)
        return -1;
    if (!seen.owner) {
        saw(d, "lock", "nobody holds the lock in the cluster (Lease kube-system/encrypt)");
        return 0;
    }
    const char *who = seen.who ? seen.who : "somebody";
    const char *since = seen.since ? seen.since : "an unknown time";
    bool ours = str_eq(seen.owner, d->s->lease_owner);
    saw(d, "lock", "Lease kube-system/encrypt: %s, since %s%s", who, since,
        ours ? " (that is us)" : "");
    if (ours) {
        our_lock(d, &seen);
        return 0;
    }
    struct encrypt_finding *f = wrong(
        d, "lock", "the lock in the cluster is held by %s (%s) since %s", who, seen.owner, since);
    means(f,
          "a change is under way there, or was interrupted there: only its own machine and state "
          "file know how far it came. What nodes have may be changing meanwhile");
    mend(f,
         "# on that machine: encrypt resume. Only where that run is surely no longer at work and "
         "its state file is lost:");
    char *command CLEANUP(cleanup_mem) = doctor_command(d, d->state_missing        ? "doctor"
                                                           : doctor_open_change(d) ? "resume"
                                                                                   : "up");
    mend(f, "%s --take-over%s", command, d->state_missing ? " --write-state" : "");
    if (!d->o->take_over)
        d->busy = mem_printf("%s holds the lock in the cluster since %s: let that run finish", who,
                             since);
    return 0;
}

static bool same_list(char **a, char **b)
{
    size_t i = 0;
    while (a[i] && str_eq(a[i], b[i]))
        i++;
    return !a[i] && !b[i];
}

static bool same_members(const struct rkestate *a, const struct rkestate *b)
{
    static const char *const states[] = {"currentState", "desiredState"};
    char **nodes_a = rkestate_controlplane(a);
    char **nodes_b = rkestate_controlplane(b);
    bool same = same_list(nodes_a, nodes_b);
    encryption_resources_free(nodes_a);
    encryption_resources_free(nodes_b);
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        json_t *x = json_object_get(json_object_get(a->root, states[i]), "certificatesBundle");
        json_t *y = json_object_get(json_object_get(b->root, states[i]), "certificatesBundle");
        same = same && (json_object_size(x) + json_object_size(y) == 0 || json_equal(x, y));
    }
    return same;
}

/* Nobody makes such a copy good by himself. */
static void keep_and_remove(struct doctor *d, struct encrypt_finding *f, const char *kind)
{
    const char *name = strrchr(d->o->config, '/');
    name = name ? name + 1 : d->o->config;
    char *beside CLEANUP(cleanup_mem) =
        mem_printf("%.*skube_config_%s", (int)(name - d->o->config), d->o->config, name);
    char *word CLEANUP(cleanup_mem) = shell_word(d->o->kubeconfig ? d->o->kubeconfig : beside);
    const char *what = str_eq(kind, "Secret") ? "secret" : "configmap";
    mend(f,
         "# keep what is in it (it may hold keys), then remove it; RKE makes it anew at its next "
         "`rke up`:");
    mend(f,
         "(umask 077; kubectl --kubeconfig %s -n kube-system get %s full-cluster-state -o yaml "
         ">full-cluster-state-%s.yaml) && kubectl --kubeconfig %s -n kube-system delete %s "
         "full-cluster-state",
         word, what, d->now, word, what);
}

static void damaged_copy(struct doctor *d, const struct cluster_state_place *p)
{
    if (!p->trouble)
        return;
    struct encrypt_finding *f =
        wrong(d, "copy of the state", "%s kube-system/full-cluster-state can't be read: %s",
              p->kind, p->trouble);
    means(f, "a state file could not be rebuilt from it; it is never written over");
    keep_and_remove(d, f, p->kind);
}

/* It can be read, and encrypt would not write to it. */
static void stubborn_copy(struct doctor *d)
{
    const struct session *s = d->s;
    char *why CLEANUP(cleanup_mem) =
        s->state && s->journal ? cluster_state_why_left(&d->copy, s->state, s->journal) : NULL;
    if (!why || d->copy.secret.trouble || d->copy.config_map.trouble)
        return;
    struct encrypt_finding *f =
        wrong(d, "copy of the state",
              "kube-system/full-cluster-state is not brought up to date: %s", why);
    means(f, "the copy or the state file is not the newest of this cluster");
    mend(f, "# where the copy is the newer one, work with the state file that it was made from. "
            "Where this state file is right:");
    keep_and_remove(d, f, d->copy.newest->kind);
}

/* The copy is what a restored snapshot, or `rke util get-state-file`, would go on with. */
static void compare_copy(struct doctor *d)
{
    const struct cluster_state_place *c = d->copy.newest;
    char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
    const char about[] = "copy of the state";
    damaged_copy(d, &d->copy.secret);
    damaged_copy(d, &d->copy.config_map);
    stubborn_copy(d);
    if (d->copy.config_map.kind)
        mend(
            means(wrong(d, about,
                        "the ConfigMap kube-system/full-cluster-state holds the keys in the clear"),
                  "whoever may read ConfigMaps of kube-system has them, and etcd holds them plain"),
            "%s    # makes it a Secret", resume);
    if (!d->s->state || !c->state)
        return;
    if (cluster_state_is_plain(d->s->state) && json_object_get(c->state->root, "encrypt"))
        mend(means(
                 wrong(d, about,
                       "%s kube-system/full-cluster-state has the history of keys, and secrets are "
                       "not encrypted",
                       c->kind),
                 "every key there ever was lies in etcd in the clear"),
             "%s    # takes it out", resume);
    if (!same_members(c->state, d->s->state) && !rkestate_is_bare(d->s->state))
        mend(means(wrong(d, about,
                         "%s kube-system/full-cluster-state has other certificates or nodes than "
                         "%s",
                         c->kind, d->s->state_path),
                   "RKE ran with another state file than this one: its next run with the older of "
                   "the two would bring old certificates back"),
             "# find out which one the last `rke up` wrote (`rke util get-state-file` shows the "
             "copy) before the next `rke` command; encrypt leaves both as they are");
    if (str_eq(rkestate_encryption_config(c->state), rkestate_encryption_config(d->s->state))) {
        saw(d, about, "%s kube-system/full-cluster-state says the same as the state file", c->kind);
        return;
    }
    mend(means(wrong(d, about,
                     "%s kube-system/full-cluster-state has another encryptionConfig "
                     "than the state file",
                     c->kind),
               "a cluster or a state file restored from it would have keys that are gone, or lack "
               "those in force"),
         "%s",
         doctor_open_change(d) ? "# it follows when the change is finished"
         : d->split            ? "# it follows when the nodes are one again"
                               : resume);
}

static int copy(struct doctor *d, struct error *err)
{
    if (!session_shares_state(d->s))
        return 0;
    if (cluster_state_read(d->api, &d->copy, err) < 0)
        return -1;
    d->copy_read = true;
    if (d->copy.newest)
        compare_copy(d);
    return 0;
}

int doctor_cluster(struct doctor *d, struct error *err)
{
    static const struct {
        int (*look)(struct doctor *d, struct error *err);
        const char *means;
    } parts[] = {
        {addresses, "an apiserver that isn't listed could be at work"},
        {lock, "somebody else could be at work"},
        {copy, "what a state file could be rebuilt from is not known"},
    };
    for (size_t i = 0; d->api && i < ARRAY_LEN(parts); i++) {
        struct error why CLEANUP(error_clear) = {0};
        if (parts[i].look(d, &why) == 0)
            continue;
        if (why.result == RESULT_INTERRUPTED)
            return error_move(err, &why);
        means(wrong(d, "API", "it can't be asked for everything: %s", why.message), "%s",
              parts[i].means);
    }
    if (d->stranger && !d->busy)
        d->busy = mem_printf("an apiserver serves that %s doesn't list", d->o->config);
    return 0;
}
