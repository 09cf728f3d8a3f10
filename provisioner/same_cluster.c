/* Whether an apiserver that is there already is of this cluster, by what its flags tell. */
#include "provisioner/run.h"
#include "provisioner/start.h"

#include <string.h>

bool join_same_list(const char *a, const char *b)
{
    for (int way = 0; way < 2; way++) {
        const char *in = way ? a : b;
        for (const char *at = way ? b : a; *at; at += strcspn(at, ",")) {
            at += *at == ',';
            size_t len = strcspn(at, ",");
            bool found = false;
            for (const char *o = in; *o && !found; o += strcspn(o, ",")) {
                o += *o == ',';
                found = strcspn(o, ",") == len && memcmp(o, at, len) == 0;
            }
            if (!found)
                return false;
        }
    }
    return true;
}

bool join_shares_server(const char *a, const char *b)
{
    for (const char *at = a; *at; at += strcspn(at, ",")) {
        at += *at == ',';
        char *one CLEANUP(cleanup_mem) = mem_strndup(at, strcspn(at, ","));
        bool here = strstr(one, "//127.") || strstr(one, "//localhost") || strstr(one, "//[::1]");
        const char *found = *one && !here ? strstr(b, one) : NULL;
        const char *end = found ? found + strlen(one) : "?";
        if (found && (found == b || found[-1] == ',') && (!*end || *end == ','))
            return true;
    }
    return false;
}

/* It answers with a certificate of our CA. (It can't get ready: what it would read is encrypted.)
 * It may have been started just now. */
static int check_answers(struct session *s, struct member *m, struct error *err)
{
    enum { ANSWER_MS = 60000, PAUSE_MS = 500 };
    int64_t until = loop_now() + ANSWER_MS;
    char *version CLEANUP(cleanup_mem) = NULL;
    while (kube_server_version(&m->node.api, &version, err) < 0) {
        if (err->result != RESULT_FAILED || loop_now() >= until || ssh_dead(m->node.ssh))
            return -1;
        error_clear(err);
        if (loop_pause(s->loop, PAUSE_MS, err) < 0 || session_check_stop(s, err) < 0)
            return -1;
    }
    return 0;
}

/* Empty: it has no such flag, or there is no such file. */
static int read_flag_file(struct member *m, const char *flag, struct buf *out, struct error *err)
{
    const char *path = apiserver_flag(&m->seen, flag);
    bool missing = false;
    if (path && m->node.driver->read_file(&m->node, path, out, &missing, err) < 0)
        return error_wrap(err, "node %s: its --%s", m->node.name, flag);
    return 0;
}

int join_check_authority(struct member *m, struct member *model, const char *config,
                         struct error *err)
{
    static const char *const flags[] = {"etcd-cafile", "client-ca-file"};
    struct buf ours CLEANUP(buf_free) = {0};
    struct buf theirs CLEANUP(buf_free) = {0};
    const char *flag = NULL;
    for (size_t i = 0; i < ARRAY_LEN(flags) && !ours.len; i++) {
        flag = flags[i];
        if (read_flag_file(model, flag, &ours, err) < 0)
            return -1;
    }
    if (ours.len && read_flag_file(m, flag, &theirs, err) < 0)
        return -1;
    if (ours.len && theirs.len == ours.len &&
        memcmp(buf_str(&theirs), buf_str(&ours), ours.len) == 0)
        return 0;
    error_set(err, RESULT_REFUSED,
              "node %s: its kube-apiserver stores in an etcd of its own machine, by its "
              "--etcd-servers, as that of node %s does, and %s: it may be another cluster's",
              m->node.name, model->node.name,
              !ours.len     ? "neither has a CA certificate by which to tell whose that is"
              : !theirs.len ? "it has no CA certificate by which to tell whose that is"
                            : "they have different CA certificates");
    error_next(err,
               "where it is of this cluster, give it the file that --%s of node %s names; else "
               "take node %s out of %s; then run the same command again",
               flag, model->node.name, m->node.name, config);
    return -1;
}

/* An apiserver that is there already is of this cluster, or another's would get our keys. */
int join_check_cluster(struct session *s, struct member *m, bool flagless, struct error *err)
{
    struct member *model = NULL;
    for (size_t i = 0; i < s->count && !model; i++)
        model = s->members[i].joins ? NULL : &s->members[i];
    if (!m->seen.exists || !model)
        return 0;
    const char *theirs = apiserver_flag(&m->seen, "etcd-servers");
    const char *ours = apiserver_flag(&model->seen, "etcd-servers");
    if (!str_eq(apiserver_flag(&m->seen, "etcd-prefix"),
                apiserver_flag(&model->seen, "etcd-prefix"))) {
        error_set(err, RESULT_REFUSED,
                  "node %s: its kube-apiserver has another --etcd-prefix than that of node %s: it "
                  "may be another cluster's",
                  m->node.name, model->node.name);
        error_next(err,
                   "where it is of this cluster, give both the same; else take node %s out of %s",
                   m->node.name, s->options->config);
        return -1;
    }
    bool shared = theirs && ours && join_shares_server(theirs, ours);
    if (!shared && (!theirs || !ours || !join_same_list(theirs, ours))) {
        error_set(err, RESULT_REFUSED,
                  "node %s: its kube-apiserver has other --etcd-servers (%s) than that of node %s "
                  "(%s): it may be another cluster's",
                  m->node.name, theirs ? theirs : "none", model->node.name, ours ? ours : "none");
        error_next(err,
                   "where it is of this cluster, give both the same --etcd-servers; else take node "
                   "%s out of %s; then run the same command again",
                   m->node.name, s->options->config);
        return -1;
    }
    /* Stacked etcd: the list says "this machine" on every node of every cluster. */
    if (!shared && join_check_authority(m, model, s->options->config, err) < 0)
        return -1;
    if (!flagless || check_answers(s, m, err) == 0)
        return 0;
    if (err->result == RESULT_FAILED)
        err->result = RESULT_REFUSED;
    error_wrap(err, "node %s: that its kube-apiserver is of this cluster can't be seen",
               m->node.name);
    error_next(err,
               "look why it does not answer with this cluster's certificates; where it is another "
               "cluster's, take node %s out of %s; then run the same command again",
               m->node.name, s->options->config);
    return -1;
}
