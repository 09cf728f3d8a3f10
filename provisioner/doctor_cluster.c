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
        if (m->node.conf == n && str_eq(apiserver_flag(&m->seen, "advertise-address"), address))
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

static void not_listed(struct doctor *d, char **addresses, const char *by)
{
    for (size_t i = 0; addresses[i]; i++) {
        if (is_listed(d, addresses[i]))
            continue;
        char *about CLEANUP(cleanup_mem) = mem_printf("node %s", addresses[i]);
        mend(means(wrong(d, about, "it is a control-plane node by %s, and %s doesn't list it", by,
                         d->o->config),
                   "what its kube-apiserver writes could not be read after a change, or not by it; "
                   "every change is refused until then"),
             "# add the node to %s, or take its kube-apiserver out of the cluster (`rke up` "
             "without it)",
             d->o->config);
    }
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
    if (d->api && kube_apiserver_addresses(d->api, &list, err) < 0)
        return -1;
    if (list) {
        not_listed(d, list, "the endpoints of default/kubernetes");
        not_serving(d, list);
        encryption_resources_free(list);
    }
    if (!d->s->state)
        return 0;
    list = rkestate_controlplane(d->s->state);
    not_listed(d, list, "the state file");
    encryption_resources_free(list);
    return 0;
}

static int lock(struct doctor *d, struct error *err)
{
    struct lease_seen seen CLEANUP(lease_seen_free) = {0};
    const struct journal *j = d->s->journal;
    bool open = j && j->transition;
    if (lease_look(d->api, &seen, err) < 0)
        return -1;
    if (!seen.owner) {
        saw(d, "lock", "nobody holds the lock in the cluster (Lease kube-system/encrypt)");
        return 0;
    }
    bool ours = str_eq(seen.owner, d->s->lease_owner);
    saw(d, "lock", "Lease kube-system/encrypt: %s, since %s%s", seen.who ? seen.who : "somebody",
        seen.since ? seen.since : "an unknown time", ours ? " (that is us)" : "");
    if (ours && open)
        return 0;
    char *rotate CLEANUP(cleanup_mem) = doctor_command(d, "rotate-key");
    if (ours) {
        mend(means(wrong(d, "lock",
                         "we hold the lock in the cluster since %s, and no change is "
                         "open",
                         seen.since ? seen.since : "an unknown time"),
                   "a run of ours ended before it gave the lock back; others are kept out by it, "
                   "our own next change takes it again"),
             "kubectl -n kube-system delete lease encrypt    # where no run of ours is at work");
        return 0;
    }
    struct encrypt_finding *f = wrong(
        d, "lock", "the lock in the cluster is held by %s (%s) since %s",
        seen.who ? seen.who : "somebody", seen.owner, seen.since ? seen.since : "an unknown time");
    means(f,
          "a change is under way there, or was interrupted there: only its own machine and state "
          "file know how far it came");
    mend(f,
         "# on that machine: encrypt resume. Only where that run is surely no longer at work and "
         "its state file is lost:");
    mend(f, "%s --take-over", open ? "encrypt resume" : rotate);
    return 0;
}

/* The copy is what a restored snapshot, or `rke util get-state-file`, would go on with. */
static void compare_copy(struct doctor *d)
{
    struct error why CLEANUP(error_clear) = {0};
    struct rkestate *copy CLEANUP(cleanup_rkestate) = NULL;
    const struct cluster_state_copy *c = &d->copy;
    char *up CLEANUP(cleanup_mem) = doctor_command(d, "up");
    const char about[] = "copy of the state";
    if (str_eq(c->kind, "ConfigMap"))
        mend(
            means(wrong(d, about,
                        "the ConfigMap kube-system/full-cluster-state holds the keys in "
                        "the clear"),
                  "whoever may read ConfigMaps of kube-system has them, and etcd holds them plain"),
            "%s    # makes it a Secret", up);
    if (!d->s->state)
        return;
    if (rkestate_parse(buf_str(&c->text), c->text.len, "full-cluster-state", &copy, &why) < 0) {
        mend(wrong(d, about, "%s kube-system/full-cluster-state can't be read: %s", c->kind,
                   why.message),
             "%s    # writes it anew", up);
        return;
    }
    if (str_eq(rkestate_encryption_config(copy), rkestate_encryption_config(d->s->state))) {
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
         d->s->journal && d->s->journal->transition ? "# it follows when the change is finished"
                                                    : up);
}

int doctor_cluster(struct doctor *d, struct error *err)
{
    struct error why CLEANUP(error_clear) = {0};
    int rc = addresses(d, &why);
    if (rc == 0 && d->api)
        rc = lock(d, &why);
    if (rc == 0 && d->api) {
        rc = cluster_state_read(d->api, &d->copy, &why);
        d->copy_read = rc == 0;
        if (rc == 0 && d->copy.kind)
            compare_copy(d);
    }
    if (rc == 0)
        return 0;
    if (why.result == RESULT_INTERRUPTED)
        return error_move(err, &why);
    wrong(d, "API", "it can't be asked for everything: %s", why.message);
    return 0;
}
