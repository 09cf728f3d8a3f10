/* The kind of cluster that a session is with: one for all its nodes. */
#include "provisioner/kind.h"
#include "provisioner/session.h"

/* cluster.yml's own word; NULL: to be found out. */
static int named_kind(const struct session *s, const struct driver **out, struct error *err)
{
    const struct cluster *c = s->cluster;
    *out = c->kind ? kind_driver(c->kind) : NULL;
    if (!c->kind || *out)
        return 0;
    return error_set(err, RESULT_REFUSED, "%s:%zu: cluster_kind %s is not managed by this build",
                     c->path, c->kind_line, c->kind);
}

/* What the journal says that it is; NULL: nothing. */
static const struct driver *recorded_kind(const struct session *s)
{
    return s->journal && s->journal->kind ? kind_driver(s->journal->kind) : NULL;
}

/* Of a session that has reached no node; NULL: nothing tells. */
static const struct driver *kind_unseen(const struct session *s)
{
    const struct driver *named =
        s->cluster && s->cluster->kind ? kind_driver(s->cluster->kind) : NULL;
    if (named || recorded_kind(s))
        return named ? named : recorded_kind(s);
    return s->state && rkestate_is_bare(s->state) ? NULL : &driver_rke;
}

const struct driver *session_driver(const struct session *s)
{
    if (s->count)
        return s->members[0].node.driver;
    const struct driver *d = kind_unseen(s);
    return d ? d : &driver_rke;
}

bool session_shares_state(const struct session *s)
{
    return (s->count || kind_unseen(s)) && session_driver(s)->needs_state;
}

/* A change that is open is of one kind of cluster, and is gone on with on no other. */
static int check_recorded(const struct session *s, const struct driver *d, const char *who,
                          struct error *err)
{
    const struct driver *recorded = recorded_kind(s);
    if (!d || !recorded || d == recorded || !journal_is_open(s->journal))
        return 0;
    error_set(err, RESULT_REFUSED,
              "%s kind %s, and the change that is open in %s is of a cluster of kind %s", who,
              d->kind, s->state_path, recorded->kind);
    error_next(err,
               "use the state file of this cluster (--state). Where it is this one, and was no "
               "other kind when the change began: cluster_kind: %s in %s, then run the same "
               "command again",
               recorded->kind, s->cluster->path);
    return -1;
}

/* The kind that all are to have, before any node was looked at; NULL: to be found. */
static int wanted_kind(const struct session *s, const struct driver **out, struct error *err)
{
    if (named_kind(s, out, err) < 0)
        return -1;
    char *who CLEANUP(cleanup_mem) = mem_printf("%s says", s->cluster->path);
    return check_recorded(s, *out, who, err);
}

void session_record_kind(struct session *s)
{
    bool seen = !s->kind_guessed;
    for (size_t i = 0; i < s->count; i++)
        seen = seen || s->members[i].seen.exists;
    if (!s->count || !seen || str_eq(s->journal->kind, session_driver(s)->kind))
        return;
    if (s->journal->kind)
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             "%s says that the cluster is of kind %s; by its nodes it is of kind %s now",
             s->state_path, s->journal->kind, session_driver(s)->kind);
    journal_set_kind(s->journal, session_driver(s)->kind);
}

char *session_keep_off(const struct session *s)
{
    const char *what = session_driver(s)->words.keep_off;
    return what ? mem_printf("; don't run %s before it is finished", what) : mem_strdup("");
}

void session_write_config(const struct session *s, const struct encryption_config *c,
                          struct buf *out)
{
    const struct driver *d = session_driver(s);
    if (d && d->old_format)
        encryption_config_write_old(c, out);
    else
        encryption_config_write(c, out);
}

static int refuse_mixed(const struct session *s, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < s->count; i++)
        buf_printf(&text, "%s%s is %s", i ? ", " : "", s->members[i].node.name,
                   s->members[i].node.driver ? s->members[i].node.driver->kind : "of no kind yet");
    error_set(err, RESULT_REFUSED, "the control-plane nodes are of different kinds of cluster: %s",
              buf_str(&text));
    error_next(
        err,
        "leave in cluster.yml the nodes of one cluster; where one was of another kind once, take "
        "away what is left of that, or name the kind (cluster_kind)");
    return -1;
}

int session_find_kinds(struct session *s, struct error *err)
{
    const struct driver *named = NULL;
    if (wanted_kind(s, &named, err) < 0)
        return -1;
    const struct driver *found = named;
    for (size_t i = 0; i < s->count && !named; i++) {
        struct node *n = &s->members[i].node;
        char *who CLEANUP(cleanup_mem) = mem_printf("node %s has signs of", n->name);
        if (kind_find(n, &n->driver, err) < 0 || check_recorded(s, n->driver, who, err) < 0)
            return -1;
        found = found ? found : n->driver;
    }
    /* A sign that is gone for a while (a manifest that is being moved, say) makes it no other. */
    found = found ? found : recorded_kind(s);
    s->kind_guessed = !found;
    for (size_t i = 0; i < s->count; i++) {
        struct node *n = &s->members[i].node;
        /* One without a sign is bare, or RKE's. */
        if (!n->driver || named)
            n->driver = found ? found : &driver_rke;
        else if (n->driver != found)
            return refuse_mixed(s, err);
    }
    return 0;
}

static void leave_out(struct ssh **session)
{
    ssh_close(*session);
    *session = NULL;
}

int session_find_kinds_each(struct session *s, const struct cluster_node *const *confs,
                            size_t count, struct ssh **sessions, const struct driver **drivers,
                            struct error *whys, struct error *err)
{
    const struct driver *named = NULL;
    if (wanted_kind(s, &named, err) < 0)
        return -1;
    const struct driver *found = named;
    for (size_t i = 0; i < count; i++) {
        struct node n = session_node(s, confs[i]);
        n.ssh = sessions[i];
        if (!n.ssh || named)
            continue;
        char *who CLEANUP(cleanup_mem) = mem_printf("it has signs of");
        if (kind_find(&n, &drivers[i], &whys[i]) < 0 ||
            check_recorded(s, drivers[i], who, &whys[i]) < 0) {
            if (whys[i].result == RESULT_INTERRUPTED)
                return error_move(err, &whys[i]);
            leave_out(&sessions[i]);
            continue;
        }
        found = found ? found : drivers[i];
        if (drivers[i] && drivers[i] != found) {
            error_set(&whys[i], RESULT_REFUSED,
                      "it is a node of kind %s, and the nodes before it are of kind %s",
                      drivers[i]->kind, found->kind);
            leave_out(&sessions[i]);
        }
    }
    found = found ? found : recorded_kind(s);
    for (size_t i = 0; i < count; i++)
        drivers[i] = found ? found : &driver_rke;
    return 0;
}
