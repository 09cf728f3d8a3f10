/* A session that is opened to look: each node by itself, whatever is missing. */
#include "base/file.h"
#include "provisioner/credentials.h"
#include "provisioner/session.h"

#include <stdlib.h>
#include <string.h>

/* As realpath(), also where the file itself isn't there: an owner's name must be the same before
 * and after it is lost. */
static char *real_path(const char *path)
{
    char *real = realpath(path, NULL);
    if (real)
        return real;
    const char *slash = strrchr(path, '/');
    char *folder CLEANUP(cleanup_mem) =
        slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_strdup(".");
    char *there CLEANUP(cleanup_mem) = realpath(folder, NULL);
    if (!there)
        return mem_strdup(path);
    return mem_printf("%s%s%s", there, str_eq(there, "/") ? "" : "/", slash ? slash + 1 : path);
}

char *session_state_path(const struct encrypt_options *o)
{
    char *path CLEANUP(cleanup_mem) =
        o->state ? mem_strdup(o->state) : file_beside(o->config, "rkestate");
    return real_path(path);
}

int session_look(const struct encrypt_options *o, struct session **out, struct error *err)
{
    struct session *s CLEANUP(cleanup_session) = mem_alloc(1, sizeof(*s));
    s->options = o;
    if (cluster_read(o->config, &s->cluster, err) < 0 || loop_new(&s->loop, err) < 0)
        return -1;
    s->state_path = session_state_path(o);
    session_set_identity(s);
    *out = STEAL(s);
    return 0;
}

static const char *recorded_path(const struct session *s, const char *address)
{
    const struct node_record *n = journal_seen_node(s->journal, address);
    return n ? n->path : NULL;
}

static int look_at(struct session *s, struct member *m, struct error *err)
{
    if (m->node.driver->open(&m->node, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    m->opened = true;
    m->look_only = true;
    struct error none CLEANUP(error_clear) = {0};
    if (credentials_from_node(s, &m->node, &none) < 0)
        tell(s, ENCRYPT_DEBUG, NULL, m->node.name, "%s", none.message);
    /* An apiserver whose flag is gone already doesn't tell where the file still lies. */
    if (s->journal && s->journal->transition)
        m->config_path = mem_strdup(recorded_path(s, m->node.name));
    return member_observe(m, err) < 0 || member_open_api(s, m, err) < 0 ? -1 : 0;
}

/* The control-plane nodes of cluster.yml; how many. */
static size_t targets(const struct session *s, const struct cluster_node **confs,
                      const struct ssh_access **accesses)
{
    size_t n = 0;
    for (size_t i = 0; i < s->cluster->node_count; i++) {
        if (!s->cluster->nodes[i].controlplane)
            continue;
        confs[n] = &s->cluster->nodes[i];
        accesses[n++] = &s->cluster->nodes[i].ssh;
    }
    return n;
}

/* The sessions that were had (taken over), the others' reasons. */
static int look_at_each(struct session *s, const struct cluster_node *const *confs, size_t count,
                        struct ssh **sessions, struct error *whys, struct error *err)
{
    const struct driver **drivers CLEANUP(cleanup_mem) = mem_alloc(count, sizeof(*drivers));
    if (session_find_kinds_each(s, confs, count, sessions, drivers, whys, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct member *m = &s->members[s->count];
        m->node = session_node(s, confs[i]);
        m->node.ssh = STEAL(sessions[i]);
        m->node.driver = drivers[i];
        if (m->node.ssh) {
            tell(s, ENCRYPT_DEBUG, NULL, m->node.name, "looking at it");
            if (look_at(s, m, &whys[i]) == 0) {
                s->count++;
                continue;
            }
        }
        member_close(m);
        *m = (struct member){0};
        if (whys[i].result == RESULT_INTERRUPTED)
            return error_move(err, &whys[i]);
        struct absent *a = &s->absent[s->absent_count++];
        a->conf = confs[i];
        error_move(&a->why, &whys[i]);
    }
    return 0;
}

int session_look_at_nodes(struct session *s, struct error *err)
{
    size_t total = s->cluster->node_count;
    s->members = mem_alloc(total, sizeof(*s->members));
    s->absent = mem_alloc(total, sizeof(*s->absent));
    const struct cluster_node **confs CLEANUP(cleanup_mem) = mem_alloc(total, sizeof(*confs));
    const struct ssh_access **accesses CLEANUP(cleanup_mem) = mem_alloc(total, sizeof(*accesses));
    struct ssh **sessions CLEANUP(cleanup_mem) = mem_alloc(total, sizeof(*sessions));
    struct error *whys CLEANUP(cleanup_mem) = mem_alloc(total, sizeof(*whys));
    size_t count = targets(s, confs, accesses);
    int rc = session_connect(s, accesses, count, sessions, whys, err);
    if (rc == 0)
        rc = look_at_each(s, confs, count, sessions, whys, err);
    for (size_t i = 0; i < count; i++) {
        ssh_close(sessions[i]);
        error_clear(&whys[i]);
    }
    return rc < 0 ? -1 : session_check_stop(s, err);
}
