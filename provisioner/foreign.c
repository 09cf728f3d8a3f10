/* What somebody else put on the nodes since, held against what is stored. */
#include "provisioner/lost_flag.h"
#include "provisioner/run.h"
#include "provisioner/store.h"

#include <string.h>

/* Keys that were put to use and never given up, and kms providers of the last custom_config: what
 * `running` lacks of them. NULL-terminated prefixes, for encryption_resources_free(). */
static char **missing_prefixes(struct session *s, const struct encryption_config *running,
                               const struct encryption_config *before, bool *renamed)
{
    char **list = store_leaving(before, running);
    size_t count = 0;
    while (list[count])
        count++;
    for (size_t i = 0; i < s->journal->key_count; i++) {
        const struct key_record *k = &s->journal->keys[i];
        if (!k->activated || k->retired || encryption_config_has_key(running, k->type, &k->key))
            continue;
        char *prefix CLEANUP(cleanup_mem) =
            mem_printf("k8s:enc:%s:v1:%s:", provider_type_name(k->type), k->key.name);
        /* The same name with another secret: what is stored doesn't tell. */
        if (store_reads_prefix(running, prefix)) {
            *renamed = true;
            continue;
        }
        MEM_GROW(list, count + 1);
        list[count++] = STEAL(prefix);
        list[count] = NULL;
    }
    return list;
}

static int check_missing(struct session *s, char **missing, struct error *err)
{
    struct census c CLEANUP(census_free) = {0};
    if (!missing[0])
        return 0;
    if (census_under(s, missing, 0, &c, err) < 0)
        return -1;
    if (!c.refused)
        return 0;
    if (lost_flag_refuse(s, missing, err) < 0)
        return -1;
    char *text CLEANUP(cleanup_mem) = census_text(&c);
    error_set(
        err, RESULT_REFUSED,
        "%zu values in etcd (%s) lie under a key that was in use and that no node has any more; "
        "the first is %s. %s",
        c.refused, text, c.examples[0],
        session_shares_state(s)
            ? "Was `rke up` run with another cluster.yml, or one of before a rotation?"
            : "Was an older configuration put back on the nodes by other means?");
    error_next(err,
               "encrypt doctor --config %s    (the key history has that key: it writes the "
               "configuration that reads everything)",
               s->options->config);
    return -1;
}

static int check_read(struct session *s, const struct resource *r,
                      const struct encryption_config *running, struct error *err)
{
    struct census c CLEANUP(census_free) = {0};
    if (store_elsewhere(s, r)) {
        tell(s, ENCRYPT_WARNING, "check", NULL, "%s: in an etcd of their own, not looked at",
             r->name);
        return 0;
    }
    if (census_unreadable(s, r, running, 0, &c, err) < 0)
        return -1;
    char *text CLEANUP(cleanup_mem) = census_text(&c);
    tell(s, ENCRYPT_NODE, "check", NULL, "%s in etcd: %s", r->name, text);
    return c.refused ? preflight_refuse_unknown(s, r, &c, text, err) : 0;
}

/* A key's name stands for another secret than it did: prefixes don't tell them apart, reading does.
 */
static int check_list(struct session *s, struct error *err)
{
    const struct http_server *api = NULL;
    struct error e CLEANUP(error_clear) = {0};
    size_t count = 0;
    int64_t revision = 0;
    if (session_ready_api(s, &api, err) < 0)
        return -1;
    if (kube_count(api, resource_find("secrets"), &count, &revision, &e) == 0)
        return 0;
    if (e.result == RESULT_INTERRUPTED)
        return error_move(err, &e);
    error_set(
        err, RESULT_REFUSED,
        "a key on the nodes has the name of one in the history and another secret, and the API "
        "can't list secrets (%s)",
        e.message);
    error_next(err, "encrypt doctor --config %s", s->options->config);
    return -1;
}

static int check_readable(struct session *s, const struct encryption_config *running,
                          const struct encryption_config *before, struct error *err)
{
    const struct resources *all = NULL;
    const struct resource *secrets = resource_find("secrets");
    bool renamed = false;
    char **missing CLEANUP(cleanup_encryption_resources) =
        missing_prefixes(s, running, before, &renamed);
    if (check_missing(s, missing, err) < 0 || check_read(s, secrets, running, err) < 0 ||
        (renamed && check_list(s, err) < 0) || store_resources(s, running, before, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++)
        if (!str_eq(all->list[i].name, secrets->name) &&
            check_read(s, &all->list[i], running, err) < 0)
            return -1;
    return 0;
}

/* What each node has is what was recorded of it last: the file, byte for byte, or none. Where
 * nothing is recorded, and no key was ever in use, there is nothing to be missed. */
static bool nodes_are_as_left(struct session *s)
{
    bool used = false, same = true;
    for (size_t i = 0; i < s->journal->key_count; i++)
        used = used || (s->journal->keys[i].activated && !s->journal->keys[i].retired);
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        if (m->joins)
            continue;
        const struct node_record *n = journal_node(s->journal, m->node.name);
        const char *now = m->seen.config_path ? m->file_sha256 : "none";
        same = same && (str_eq(n->runs.sha256 ? n->runs.sha256
                               : used         ? ""
                                              : "none",
                               now) ||
                        str_eq(n->placed.sha256, now));
    }
    return same;
}

static bool all_known(const struct journal *j, const struct encryption_config *c)
{
    bool kms = false, known = true;
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t k = 0; k < c->items[i].provider_count; k++)
            kms = kms || c->items[i].providers[k].type == PROVIDER_KMS;
    for (size_t i = 0; i < j->key_count; i++) {
        const struct key_record *k = &j->keys[i];
        if (encryption_config_has_key(c, k->type, &k->key))
            known = known && k->activated && !k->retired && !k->found;
    }
    return known && (!kms || encryption_config_equal(j->custom, c));
}

/* The same configuration as was recorded, in another writing (RKE's): by the state, and with no key
 * that the journal did not know to be in use. RKE commits a rotation to its state before it
 * restarts anything. */
static bool is_rewritten_only(struct session *s, const struct encryption_config *running)
{
    const char *text = rkestate_encryption_config(s->state);
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    return encryption_config_read(text, strlen(text), s->state_path, ENCRYPTION_LENIENT, &c,
                                  &ignored) == 0 &&
           encryption_config_equal(c, running) && all_known(s->journal, running);
}

static bool is_same_process(const struct member *m, const struct node_record *n)
{
    return n->runs.process && str_eq(n->runs.process, m->seen.process);
}

int foreign_check_restarted(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        const struct node_record *n = journal_seen_node(s->journal, m->node.name);
        char *changed CLEANUP(cleanup_mem) = NULL;
        /* (What it took up by itself is told: reload_check_in_force().) */
        if (m->joins || m->reload.told)
            continue;
        bool other = n && is_same_process(m, n) &&
                     !str_eq(n->runs.sha256, m->seen.config_path ? m->file_sha256 : "none");
        if (member_file_is_newer(m, n, &changed, err) < 0)
            return -1;
        if (!other && !changed)
            continue;
        if (other)
            error_set(err, RESULT_REFUSED,
                      "node %s: %s was changed and its kube-apiserver was not restarted since: it "
                      "runs another configuration than lies there",
                      m->node.name, m->config_path);
        else
            error_set(err, RESULT_REFUSED,
                      "node %s: %s was changed at %s, after its kube-apiserver had started (%s): "
                      "it may run another configuration than lies there",
                      m->node.name, m->config_path, changed, m->seen.since);
        error_next(err,
                   "encrypt doctor --config %s    (does what lies there read all that is stored?); "
                   "then restart kube-apiserver on one node after the other without a pause, each "
                   "when the one before is ready: meanwhile one may write what another can't read; "
                   "then run the same command again",
                   s->options->config);
        return -1;
    }
    return 0;
}

int foreign_check(struct session *s, const struct encryption_config *running, struct error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    if (nodes_are_as_left(s))
        return 0;
    tell(s, ENCRYPT_STEP, "check", NULL,
         "the nodes have another file than was put there last: can it read all that is stored");
    if (reload_check_in_force(s, err) < 0)
        return -1;
    int rc = check_readable(s, running, s->journal->custom, &e);
    if (rc < 0 && e.result != RESULT_FAILED)
        return error_move(err, &e);
    bool rewritten = is_rewritten_only(s, running);
    if (!rewritten && foreign_check_restarted(s, err) < 0)
        return -1;
    if (rc < 0) {
        tell(s, ENCRYPT_WARNING, "check", NULL, "that could not be looked at: %s", e.message);
        return 0;
    }
    /* A cluster that was never ours gets no journal by being looked at. */
    if (s->journal->sequence == 0)
        return 0;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (m->joins)
            continue;
        struct node_record *n = journal_node(s->journal, m->node.name);
        char *process CLEANUP(cleanup_mem) =
            is_same_process(m, n) ? mem_strdup(m->seen.process) : NULL;
        node_record_runs(n, m->seen.config_path ? m->file_sha256 : "none", process);
        node_record_placed(n, NULL, NULL);
    }
    s->journal->behind = true;
    return 0;
}
