/* What somebody else put on the nodes since, held against what is stored. */
#include "provisioner/run.h"
#include "provisioner/store.h"

#include <string.h>

/* Keys that were put to use and never given up, and kms providers of the last custom_config: what
 * `running` lacks of them. NULL-terminated prefixes, for encryption_resources_free(). */
static char **missing_prefixes(struct session *s, const struct encryption_config *running,
                               const struct encryption_config *before)
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
        /* The same name with another secret shows in the API's own list. */
        if (store_reads_prefix(running, prefix))
            continue;
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
    char *text CLEANUP(cleanup_mem) = census_text(&c);
    error_set(
        err, RESULT_REFUSED,
        "%zu values in etcd (%s) lie under a key that was in use and that no node has any more; "
        "the first is %s. Was `rke up` run with another cluster.yml, or one of before a rotation?",
        c.refused, text, c.examples[0]);
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

static int check_readable(struct session *s, const struct encryption_config *running,
                          const struct encryption_config *before, struct error *err)
{
    const struct resources *all = NULL;
    const struct resource *secrets = resource_find("secrets");
    bool seen = false;
    char **missing CLEANUP(cleanup_encryption_resources) = missing_prefixes(s, running, before);
    if (check_missing(s, missing, err) < 0 || store_resources(s, running, before, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++) {
        seen = seen || str_eq(all->list[i].name, secrets->name);
        if (check_read(s, &all->list[i], running, err) < 0)
            return -1;
    }
    return seen ? 0 : check_read(s, secrets, running, err);
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

/* A process that is known to have read another file than lies there now, and another configuration
 * (a mere newline of RKE's is none). */
static int check_restarted(struct session *s, const struct encryption_config *running,
                           struct error *err)
{
    const char *text = rkestate_encryption_config(s->state);
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    if (encryption_config_read(text, strlen(text), s->state_path, ENCRYPTION_LENIENT, &c,
                               &ignored) == 0 &&
        encryption_config_equal(c, running))
        return 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        const struct node_record *n = journal_node(s->journal, m->node.name);
        if (!n->runs.process || !str_eq(n->runs.process, m->seen.process) ||
            str_eq(n->runs.sha256, m->seen.config_path ? m->file_sha256 : "none"))
            continue;
        error_set(err, RESULT_REFUSED,
                  "node %s: %s was changed and its kube-apiserver was not restarted since: it runs "
                  "another configuration than lies there",
                  m->node.name, m->config_path);
        error_next(
            err, "what lies there can read all that is stored: restart kube-apiserver on one node "
                 "after the other, each when the one before is ready; then run the same command "
                 "again");
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
    if (check_readable(s, running, s->journal->custom, &e) < 0) {
        if (e.result != RESULT_FAILED)
            return error_move(err, &e);
        tell(s, ENCRYPT_WARNING, "check", NULL, "that could not be looked at: %s", e.message);
        return 0;
    }
    if (check_restarted(s, running, err) < 0)
        return -1;
    /* A cluster that was never ours gets no journal by being looked at. */
    if (s->journal->sequence == 0)
        return 0;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        node_record_runs(journal_node(s->journal, m->node.name),
                         m->seen.config_path ? m->file_sha256 : "none", NULL);
    }
    s->journal->behind = true;
    return 0;
}
