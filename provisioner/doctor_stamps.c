/* The nodes' stamps (where there is a kube-apiserver to reach them by): of which cluster's state
 * file, and how far that had come. */
#include "provisioner/doctor.h"

#include <string.h>

static const char about[] = "state file";

static void unreadable(struct doctor *d, const struct member *m, const struct error *why)
{
    char *name CLEANUP(cleanup_mem) = mem_printf("node %s", m->node.name);
    struct encrypt_finding *f = wrong(d, name, "its stamp can't be read: %s", why->message);
    means(f, "it tells which state file changed the node last; no command changes anything without "
             "it");
    if (why->result != RESULT_REFUSED) {
        mend(f, "# mend that, then look again");
        return;
    }
    char *path CLEANUP(cleanup_mem) = stamp_path(m);
    mend(f, "# written by a newer encrypt: use that version. Only where it is damaged:");
    mend_remote_move(d, f, m, path, "damaged");
}

static int read_all(struct doctor *d, struct error *err)
{
    for (size_t i = 0; i < d->s->count; i++) {
        struct doctor_node *n = &d->nodes[i];
        struct error why CLEANUP(error_clear) = {0};
        bool found = false;
        stamp_free(&n->stamp);
        n->stamped = false;
        if (d->s->members[i].unread)
            continue;
        if (stamp_read(&d->s->members[i], &n->stamp, &found, &why) == 0) {
            n->stamped = true;
            continue;
        }
        if (why.result == RESULT_INTERRUPTED)
            return error_move(err, &why);
        unreadable(d, &d->s->members[i], &why);
    }
    return 0;
}

/* How many nodes bear the stamp of this cluster. */
static size_t bearers(const struct doctor *d, const char *cluster)
{
    size_t count = 0;
    for (size_t i = 0; i < d->s->count; i++)
        count += d->nodes[i].stamp.cluster && str_eq(d->nodes[i].stamp.cluster, cluster);
    return count;
}

/* The cluster that these nodes are of: the journal's, where a node says so too; else that of most
 * stamps. NULL: that can't be told. */
static const char *ours(const struct doctor *d)
{
    const struct journal *j = d->s->journal;
    const char *best = NULL;
    size_t most = 0;
    if (j && bearers(d, j->cluster_id))
        return j->cluster_id;
    for (size_t i = 0; i < d->s->count; i++) {
        const char *cluster = d->nodes[i].stamp.cluster;
        size_t count = cluster ? bearers(d, cluster) : 0;
        if (count == most && !str_eq(cluster, best))
            best = NULL;
        if (count <= most)
            continue;
        most = count;
        best = cluster;
    }
    return best;
}

static bool is_foreign(const struct doctor *d, size_t i)
{
    return d->nodes[i].stamp.cluster && !str_eq(d->nodes[i].stamp.cluster, ours(d));
}

/* A machine that was in another cluster before. */
static bool tell_foreign(struct doctor *d)
{
    bool any = false;
    for (size_t i = 0; i < d->s->count; i++) {
        const struct member *m = &d->s->members[i];
        const struct stamp *s = &d->nodes[i].stamp;
        if (!is_foreign(d, i))
            continue;
        char *name CLEANUP(cleanup_mem) = mem_printf("node %s", m->node.name);
        struct encrypt_finding *f =
            wrong(d, name, "it bears the stamp of cluster %s (by %s, %s)%s%s", s->cluster, s->by,
                  s->at, ours(d) ? ", other nodes that of " : ", and others bear another",
                  ours(d) ? ours(d) : "");
        means(f, "every command refuses: it is not clear whether the nodes are of one cluster");
        char *path CLEANUP(cleanup_mem) = stamp_path(m);
        mend(f, "# where this machine was in another cluster before it came to this one:");
        mend_remote_move(d, f, m, path, "other-cluster");
        any = true;
    }
    return any;
}

static bool nothing_encrypted(const struct doctor *d)
{
    for (size_t i = 0; i < d->s->count; i++) {
        if (!d->nodes[i].known || (d->nodes[i].config && d->nodes[i].config->item_count))
            return false;
    }
    return !d->s->absent_count;
}

/* The state file that is there is not the one that changed this node last. */
static void older_state(struct doctor *d, size_t i, const char *message)
{
    const struct stamp *s = &d->nodes[i].stamp;
    const struct journal *j = d->s->journal;
    struct encrypt_finding *f = wrong(d, about, "%s", message);
    means(f, "every command refuses to work with this state file: it may lack keys that are in "
             "force");
    mend(f, "# use the state file that changed the cluster last, with the .encrypt-state beside "
            "it. Only where that is lost:");
    mend_anew(d, f, "older");
    if (str_eq(s->cluster, j->cluster_id))
        return;
    mend(f, "# (the .encrypt-state beside it is of another cluster: move it away too)");
    mend_move(d, f, j->sidecar_path, "other-cluster");
    if (!j->sequence && nothing_encrypted(d)) {
        char *path CLEANUP(cleanup_mem) = stamp_path(&d->s->members[i]);
        mend(f, "# or, where these machines were in another cluster before, and nothing of this "
                "one is encrypted yet, on each of them:");
        mend_remote_move(d, f, &d->s->members[i], path, "other-cluster");
    }
}

static void judge(struct doctor *d)
{
    for (size_t i = 0; d->s->state && d->s->journal && i < d->s->count; i++) {
        const struct stamp *s = &d->nodes[i].stamp;
        struct error why CLEANUP(error_clear) = {0};
        if (!s->cluster ||
            stamp_judge(s, d->s->journal, d->s->members[i].node.name, d->s->state_path, &why) >= 0)
            continue;
        older_state(d, i, why.message);
        return; /* the others say the same */
    }
}

int doctor_stamps(struct doctor *d, struct error *err)
{
    if (read_all(d, err) < 0)
        return -1;
    if (!tell_foreign(d))
        judge(d);
    return 0;
}

const char *doctor_stamps_obstacle(const struct doctor *d)
{
    for (size_t i = 0; i < d->s->count; i++) {
        if (!d->nodes[i].stamped)
            return "the stamp of a node can't be read, and with it how far the lost file had come";
        if (is_foreign(d, i))
            return "the nodes bear the stamps of several clusters";
    }
    return NULL;
}

const struct stamp *doctor_newest_stamp(const struct doctor *d)
{
    const struct stamp *newest = NULL;
    for (size_t i = 0; i < d->s->count; i++) {
        const struct stamp *s = &d->nodes[i].stamp;
        if (s->cluster && (!newest || s->generation > newest->generation))
            newest = s;
    }
    return newest;
}
