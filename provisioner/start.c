#include "provisioner/start.h"

#include "provisioner/kms.h"
#include "provisioner/run.h"
#include "provisioner/stamp.h"
#include "state/journal_json.h"

#include <string.h>

void encrypt_start_free(struct encrypt_start *s)
{
    for (size_t i = 0; i < s->node_count; i++) {
        struct encrypt_start_node *n = &s->nodes[i];
        for (size_t k = 0; k < n->file_count; k++) {
            mem_free(n->files[k].path);
            mem_free(n->files[k].mode);
            mem_free(n->files[k].owner);
            mem_free(n->files[k].sha256);
        }
        mem_free(n->files);
        mem_free(n->address);
        mem_free(n->name);
        encryption_resources_free(n->flags);
        encryption_resources_free(n->mounts);
    }
    mem_free(s->nodes);
    mem_free(s->key);
    mem_free(s->state);
    mem_free(s->next);
    *s = (struct encrypt_start){0};
}

void encrypt_report_free(struct encrypt_report *r)
{
    encrypt_start_free(&r->start);
    *r = (struct encrypt_report){0};
}

static bool all_in_history(const struct journal *j, const struct encryption_config *c)
{
    size_t count = 0;
    for (size_t i = 0; c && i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            for (size_t n = 0; n < p->key_count; n++, count++)
                if (!journal_find_key(j, p->type, &p->keys[n]))
                    return false;
        }
    }
    return count > 0;
}

int start_check_file(struct session *s, const struct member *m, const struct encryption_config *c,
                     struct error *err)
{
    struct encryption_config *lies CLEANUP(cleanup_encryption_config) = NULL;
    struct error unread CLEANUP(error_clear) = {0};
    if (m->file_missing)
        return 0;
    if (encryption_config_read(buf_str(&m->file), m->file.len, m->config_path, ENCRYPTION_LENIENT,
                               &lies, &unread) == 0 &&
        (encryption_config_equal(lies, c) || all_in_history(s->journal, lies)))
        return 0;
    error_set(err, RESULT_REFUSED,
              "node %s: %s is there, and is none of ours: it may hold a key that is nowhere else",
              m->node.name, m->config_path);
    error_next(err, "on node %s: mv %s %s.old    (0600; keep it), then run the same command",
               m->node.name, m->config_path, m->config_path);
    return -1;
}

/* etcd's data may be a live one's. */
static void next_of_a_cluster(struct session *s, const struct node *n, const char *sign,
                              struct error *err)
{
    char *up CLEANUP(cleanup_mem) = run_command_line("up", s->options);
    const char *name = strrchr(sign, '/');
    if (!str_eq(name, "/member")) {
        error_next(
            err,
            "start its kube-apiserver as it was, then: %s; where that cluster is gone for "
            "good, or has never had one: on node %s: mv %s %s.old, then run the same command "
            "again",
            up, n->name, sign, sign);
        return;
    }
    error_next(err,
               "start its kube-apiserver as it was, then: %s; where that etcd was started on "
               "purpose, for a cluster that is yet to come: leave it as it is, start "
               "kube-apiserver without encryption, then: %s    (encrypts what was written until "
               "then); where that cluster is gone for good: on node %s, stop etcd first and keep "
               "the whole of %.*s aside, then run the same command again",
               up, up, n->name, (int)(name - sign), sign);
}

int start_check_no_cluster(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        struct node *n = &s->members[i].node;
        const char *sign = NULL;
        if (!n->driver->find_cluster || s->members[i].seen.exists)
            continue;
        if (n->driver->find_cluster(n, &sign, err) < 0)
            return -1;
        if (!sign)
            continue;
        error_set(err, RESULT_REFUSED,
                  "node %s has no kube-apiserver, and %s: it was of a cluster that was there "
                  "before, and what that has encrypted a fresh key could not read",
                  n->name, sign);
        next_of_a_cluster(s, n, sign, err);
        return -1;
    }
    return 0;
}

int start_put(struct session *s, struct member *m, const char *text, size_t len, struct error *err)
{
    char *path CLEANUP(cleanup_mem) = stamp_path(m);
    struct buf stamp_text CLEANUP(buf_free) = {0};
    char sha256[65];
    stamp_write(s->journal, s->who, &stamp_text);
    struct node_text file = {m->config_path, text, len};
    struct node_text stamp = {path, buf_str(&stamp_text), stamp_text.len};
    if (m->node.driver->put_file(&m->node, &file, m->stamped ? NULL : &stamp, err) < 0 ||
        member_observe(m, err) < 0)
        return error_wrap(err, "putting %s on node %s", m->config_path, m->node.name);
    m->stamped = true;
    sha256_hex(text, len, sha256);
    if (!str_eq(m->file_sha256, sha256))
        return error_set(err, RESULT_STOPPED,
                         "node %s: %s was written and reads back as something else: another "
                         "writer is at work there",
                         m->node.name, m->config_path);
    struct node_record *n = journal_node(s->journal, m->node.name);
    node_record_path(n, m->config_path);
    node_record_placed(n, sha256, m->seen.process ? m->seen.process : START_NO_PROCESS);
    return 0;
}

static void add_file(struct encrypt_start_node *n, const struct member *m)
{
    n->files = mem_alloc(1, sizeof(*n->files));
    n->file_count = 1;
    n->files[0] = (struct encrypt_start_file){.path = mem_strdup(m->config_path),
                                              .mode = mem_strdup("0600"),
                                              .owner = mem_strdup("0:0"),
                                              .sha256 = mem_strdup(m->file_sha256)};
}

int start_add(struct session *s, struct member *m, const struct encryption_config *c,
              struct encrypt_start *out, struct error *err)
{
    char **binds CLEANUP(cleanup_mem) = session_binds(s, c);
    struct apiserver_want want = {c ? m->config_path : NULL, binds};
    char **flags = NULL, **mounts = NULL;
    if (m->node.driver->start_with(&m->node, &want, &flags, &mounts, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    MEM_GROW(out->nodes, out->node_count);
    struct encrypt_start_node *n = &out->nodes[out->node_count++];
    *n = (struct encrypt_start_node){.address = mem_strdup(m->node.name),
                                     .name = mem_strdup(m->node.conf->name),
                                     .started = m->seen.exists,
                                     .plain = c && m->seen.exists && !m->seen.config_path,
                                     .flags = flags,
                                     .mounts = mounts};
    if (c && !m->file_missing)
        add_file(n, m);
    if (n->plain)
        tell(s, ENCRYPT_WARNING, NULL, n->address,
             "node %s: its kube-apiserver was started without the flag: what it writes is plain "
             "until `encrypt up` has brought it there",
             n->address);
    if (out->node_count > 1)
        return 0;
    struct encrypt_report key = {0};
    set_key_name(&key, c);
    out->enable = c != NULL;
    out->kms = key.kms;
    out->key = mem_strdup(key.key);
    out->state = mem_strdup(s->state_path);
    out->next = run_command_line("up", s->options);
    return 0;
}

/* "--flag, and the mount host:container" */
static void describe_start(const struct encrypt_start_node *n, struct buf *out)
{
    for (size_t i = 0; n->flags[i]; i++)
        buf_printf(out, "%s%s", i ? " " : "", n->flags[i]);
    for (size_t i = 0; n->mounts[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : ", with the mount ", n->mounts[i]);
}

/* One that `up --initial` has prepared, or could. */
static int refuse_unstarted(struct session *s, struct member *m, struct error *err)
{
    const struct transition *t = s->journal->transition;
    const struct node_record *n = journal_node(s->journal, m->node.name);
    struct encrypt_start start CLEANUP(encrypt_start_free) = {0};
    struct buf with CLEANUP(buf_free) = {0};
    if (m->file_missing || !str_eq(n->placed.sha256, m->file_sha256)) {
        char *again CLEANUP(cleanup_mem) = run_command_line("up --initial", s->options);
        error_set(err, RESULT_REFUSED,
                  "node %s has no kube-apiserver yet, and not the configuration that it is to have",
                  m->node.name);
        error_next(err, "%s    (puts it there and tells what to start kube-apiserver with)", again);
        return -1;
    }
    if (start_add(s, m, t->to, &start, err) < 0)
        return -1;
    if (start.nodes)
        describe_start(start.nodes, &with);
    error_set(err, RESULT_REFUSED, "node %s has no kube-apiserver yet", m->node.name);
    error_next(err, "start it with %s; then run the same command again", buf_str(&with));
    return -1;
}

int start_check_open(struct session *s, struct error *err)
{
    const struct transition *t = s->journal->transition;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (m->seen.exists)
            continue;
        if (t->initial && t->stage == TRANSITION_OPEN && !t->aborting)
            return refuse_unstarted(s, m, err);
        char *resume CLEANUP(cleanup_mem) = run_command_line("resume", s->options);
        error_set(err, RESULT_REFUSED,
                  "node %s has no kube-apiserver, and a transition (%s) is open", m->node.name,
                  t->why);
        error_next(err,
                   "start its kube-apiserver again as it was; or, where that machine was replaced: "
                   "take it out of %s, then: %s --forget-node %s, then add it to %s again",
                   s->options->config, resume, m->node.name, s->options->config);
        return -1;
    }
    return 0;
}
