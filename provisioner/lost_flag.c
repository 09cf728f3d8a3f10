#include "provisioner/lost_flag.h"

#include "provisioner/kms.h"
#include "provisioner/store.h"

#include <string.h>

static const struct node_record *record_of(const struct journal *j, const struct member *m)
{
    return j ? journal_seen_node(j, m->node.name) : NULL;
}

const char *lost_flag_path(const struct journal *j, const struct member *m)
{
    const struct node_record *n = record_of(j, m);
    return n && n->path ? n->path : m->config_path;
}

const char *lost_flag_at_restart(const struct journal *j, const struct member *m)
{
    const struct apiserver *a = &m->seen;
    const struct node_record *n = record_of(j, m);
    if (!a->doubt)
        return NULL;
    if (a->config_path && !str_eq(a->config_path, a->doubt_next))
        return a->config_path;
    /* Of a process that nobody has seen: what was there last. */
    if (!n || !n->runs.sha256 || str_eq(n->runs.sha256, "none"))
        return NULL;
    const char *path = lost_flag_path(j, m);
    return str_eq(path, a->doubt_next) ? NULL : path;
}

int lost_flag_words(struct session *s, struct member *m, const char *path,
                    const struct encryption_config *c, struct buf *out, struct error *err)
{
    struct encryption_config *lies CLEANUP(cleanup_encryption_config) = NULL;
    struct error unread CLEANUP(error_clear) = {0};
    if (!c && !m->file_missing && str_eq(path, m->config_path) &&
        encryption_config_read(buf_str(&m->file), m->file.len, path, ENCRYPTION_LENIENT, &lies,
                               &unread) < 0)
        lies = NULL;
    char **binds CLEANUP(cleanup_mem) = session_binds(s, c ? c : lies);
    struct apiserver_want want = {path, binds};
    char **flags = NULL, **mounts = NULL;
    if (m->node.driver->start_with(&m->node, &want, &flags, &mounts, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    for (size_t i = 0; flags[i]; i++)
        buf_printf(out, "%s%s", i ? " " : "", flags[i]);
    for (size_t i = 0; mounts[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : ", with the mount ", mounts[i]);
    char *where CLEANUP(cleanup_mem) = member_words(m, m->node.driver->words.flags);
    if (where)
        buf_printf(out, ", in %s", where);
    encryption_resources_free(flags);
    encryption_resources_free(mounts);
    return 0;
}

/* What `rke up` would give them. */
static bool state_reads(const struct session *s, const struct encryption_config *c)
{
    const char *text = rkestate_encryption_config(s->state);
    struct encryption_config *state CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    return encryption_config_read(text, strlen(text), "", ENCRYPTION_LENIENT, &state, &ignored) ==
               0 &&
           state && state->item_count && encryption_config_reads_all(state, c);
}

int lost_flag_way_back(struct session *s, struct member *m, const char *path,
                       const struct encryption_config *c, struct buf *out, struct error *err)
{
    if (session_shares_state(s) && s->state && state_reads(s, c)) {
        buf_adds(out, "`rke up` brings it back from the state file");
        return 0;
    }
    buf_adds(out, "give every kube-apiserver its flag back, one node after the other, each ready "
                  "before the next, and only where that file is there: ");
    return lost_flag_words(s, m, path, c, out, err);
}

int lost_flag_refuse_doubt(struct session *s, struct member *m, struct error *err)
{
    const char *path = lost_flag_at_restart(s->journal, m);
    const char *next = m->seen.doubt_next;
    struct buf words CLEANUP(buf_free) = {0};
    if (path && lost_flag_words(s, m, path, NULL, &words, err) < 0)
        return -1;
    error_set(err, RESULT_REFUSED, "node %s: %s", m->node.name, m->seen.doubt);
    if (path) {
        error_next(err,
                   "don't restart it: its next kube-apiserver would be started with %s, and could "
                   "not read what is encrypted. On node %s, put back %s; then run the same command "
                   "again",
                   next ? next : "no configuration", m->node.name, buf_str(&words));
        return -1;
    }
    char *restart CLEANUP(cleanup_mem) = member_words(m, m->node.driver->words.restart);
    error_next(err,
               "restart it there (%s), on one node after the other, each when the one before is "
               "ready; then run the same command again",
               restart);
    return -1;
}

static bool reads_one(const struct encryption_config *c, char *const *prefixes)
{
    for (; *prefixes; prefixes++)
        if (store_reads_prefix(c, *prefixes))
            return true;
    return false;
}

/* A node on which the configuration lies that its apiserver was told to read once, and what it
 * says; NULL where there is none. */
static struct member *find_left(struct session *s, char *const *missing,
                                struct encryption_config **out)
{
    for (size_t i = 0; i < s->count; i++) {
        struct member *one = &s->members[i];
        const char *path = lost_flag_path(s->journal, one);
        struct buf text CLEANUP(buf_free) = {0};
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
        struct error unread CLEANUP(error_clear) = {0};
        bool gone = false;
        if (one->joins || !one->seen.exists ||
            one->node.driver->read_file(&one->node, path, &text, &gone, &unread) < 0 || gone ||
            encryption_config_read(buf_str(&text), text.len, path, ENCRYPTION_LENIENT, &c,
                                   &unread) < 0 ||
            !reads_one(c, missing))
            continue;
        *out = STEAL(c);
        return one;
    }
    return NULL;
}

static bool any_flag(const struct session *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->members[i].seen.config_path)
            return true;
    return false;
}

int lost_flag_refuse(struct session *s, char *const *missing, struct error *err)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct buf back CLEANUP(buf_free) = {0};
    struct member *m = any_flag(s) ? NULL : find_left(s, missing, &c);
    if (!m)
        return 0;
    const char *path = lost_flag_path(s->journal, m);
    if (lost_flag_way_back(s, m, path, c, &back, err) < 0)
        return -1;
    error_set(err, RESULT_REFUSED,
              "values in etcd lie under a key that was in use; %s on node %s has it, and no "
              "kube-apiserver is told to read a configuration: their flag was lost",
              path, m->node.name);
    error_next(err, "%s; then run the same command again", buf_str(&back));
    return -1;
}
