/* A session that is opened to look: each node by itself, whatever is missing. */
#include "base/file.h"
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

int session_look(const struct encrypt_options *o, struct session **out, struct error *err)
{
    struct session *s CLEANUP(cleanup_session) = mem_alloc(1, sizeof(*s));
    s->options = o;
    if (cluster_read(o->config, &s->cluster, err) < 0 || loop_new(&s->loop, err) < 0)
        return -1;
    char *path CLEANUP(cleanup_mem) =
        o->state ? mem_strdup(o->state) : file_beside(o->config, "rkestate");
    s->state_path = real_path(path);
    session_set_identity(s);
    *out = STEAL(s);
    return 0;
}

static int look_at(struct session *s, struct member *m, struct error *err)
{
    const struct ssh_access *target = &m->node.conf->ssh;
    if (session_connect(s, &target, 1, &m->node.ssh, err) < 0)
        return -1;
    if (m->node.driver->open(&m->node, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    m->opened = true;
    return member_observe(m, err) < 0 || member_open_api(s, m, err) < 0 ? -1 : 0;
}

int session_look_at_nodes(struct session *s, struct error *err)
{
    size_t total = s->cluster->node_count;
    s->members = mem_alloc(total, sizeof(*s->members));
    s->absent = mem_alloc(total, sizeof(*s->absent));
    for (size_t i = 0; i < total; i++) {
        const struct cluster_node *conf = &s->cluster->nodes[i];
        struct error why CLEANUP(error_clear) = {0};
        if (!conf->controlplane)
            continue;
        struct member *m = &s->members[s->count];
        m->node = session_node(s, conf);
        tell(s, ENCRYPT_DEBUG, NULL, m->node.name, "looking at it");
        if (look_at(s, m, &why) == 0) {
            s->count++;
            continue;
        }
        member_close(m);
        *m = (struct member){0};
        if (why.result == RESULT_INTERRUPTED)
            return error_move(err, &why);
        struct absent *a = &s->absent[s->absent_count++];
        a->conf = conf;
        error_move(&a->why, &why);
    }
    return session_check_stop(s, err);
}
