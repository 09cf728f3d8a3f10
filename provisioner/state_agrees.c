/* The state file held against what the nodes run, and made good where a run ended before it did. */
#include "provisioner/cluster_state.h"
#include "provisioner/kube/lease.h"
#include "provisioner/lost_flag.h"
#include "provisioner/run.h"

#include <string.h>

static bool is_retired(const struct journal *j, enum provider_type type,
                       const struct encryption_key *key)
{
    for (size_t i = 0; i < j->key_count; i++) {
        const struct key_record *k = &j->keys[i];
        if (k->type == type && k->retired && encryption_key_equal(&k->key, key))
            return true;
    }
    return false;
}

static bool has_kms(const struct encryption_config *c, const char *name)
{
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t k = 0; k < c->items[i].provider_count; k++)
            if (str_eq(c->items[i].providers[k].kms_name, name))
                return true;
    return false;
}

/* Every key of the state's configuration is in force, or known to have been retired: the file was
 * merely not written to the end. */
static bool is_outdated_by_us(const struct session *s, const struct encryption_config *c,
                              const struct encryption_config *running)
{
    for (size_t i = 0; i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            /* Of a kms provider the history doesn't tell; where our own last write was cut off, the
             * journal does. */
            if (p->type == PROVIDER_KMS && !s->journal->cut_off && !has_kms(running, p->kms_name))
                return false;
            for (size_t j = 0; j < p->key_count; j++) {
                if (!encryption_config_has_key(running, p->type, &p->keys[j]) &&
                    !is_retired(s->journal, p->type, &p->keys[j]))
                    return false;
            }
        }
    }
    return true;
}

int state_agrees(struct session *s, const struct encryption_config *running, struct error *err)
{
    const char *text = rkestate_encryption_config(s->state);
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    if (encryption_config_read(text, strlen(text), s->state_path, ENCRYPTION_LENIENT, &c, err) < 0)
        return error_wrap(err, "the state file's encryptionConfig");
    bool none = !running || !running->item_count;
    /* An administrator's own file in the place of RKE's: what RKE rendered was never read, and is
     * kept in the history all the same. (Where the state is ours alone it says what lies there,
     * wherever that is.) */
    size_t first = 0;
    while (first + 1 < s->count && s->members[first].joins)
        first++;
    const char *path = s->members[first].seen.config_path;
    if (path && !str_eq(path, s->members[0].node.driver->default_config_path) &&
        (session_shares_state(s) || s->cluster->own_config_path)) {
        journal_add_config_keys(s->journal, c);
        return 0;
    }
    if (!c || !c->item_count || (!none && encryption_config_reads_all(running, c)) ||
        is_outdated_by_us(s, c, running))
        return 0;
    const struct encryption_key *a = encryption_active_key(c);
    const struct encryption_key *b = encryption_active_key(running);
    if (none && encryption_config_is_plain(c))
        return 0;
    if (none) {
        struct buf back CLEANUP(buf_free) = {0};
        struct member *m = &s->members[first];
        if (lost_flag_way_back(s, m, lost_flag_path(s->journal, m), c, &back, err) < 0)
            return -1;
        error_set(err, RESULT_REFUSED,
                  "%s says that the cluster encrypts with key %s, and no kube-apiserver has a "
                  "configuration: their flag was lost, or this is an older state file, or another "
                  "cluster's",
                  s->state_path, a ? a->name : "of another resource, or of a KMS");
        error_next(err,
                   "encrypt doctor --config %s    (tells what is stored under which key); where "
                   "the flag was lost, %s",
                   s->options->config, buf_str(&back));
        return -1;
    }
    error_set(
        err, RESULT_REFUSED,
        "%s says that the cluster writes with key %s, the nodes have key %s: this is an older "
        "state file, or another cluster's",
        s->state_path, a ? a->name : "(none)", b ? b->name : "(none)");
    error_next(err, "use the state file of the machine that changed the cluster last (--state)");
    return -1;
}

/* A run that was killed after its last record left the lock in the cluster with us. */
static void give_left_lease_back(struct session *s)
{
    const struct http_server *api = NULL;
    struct error e CLEANUP(error_clear) = {0};
    bool gone = false;
    if (session_ready_api(s, &api, &e) == 0 && lease_check(api, s->lease_owner, &gone, &e) == 0) {
        give_lease_back(s);
        tell(s, ENCRYPT_NOTE, NULL, NULL,
             "the lock in the cluster that an ended run of yours left "
             "was given back");
    }
}

/* Made from a custom_config: cluster.yml's, or the one of before a rotation. */
static bool is_custom(const struct session *s, const struct encryption_config *running)
{
    const struct encryption_config *before = s->journal->custom;
    return (s->cluster->custom && encryption_config_equal(running, s->cluster->custom)) ||
           (before && encryption_config_same_shape(before, running));
}

int state_bring_up_to_date(struct session *s, const struct encryption_config *running,
                           struct error *err)
{
    const char *text = rkestate_encryption_config(s->state);
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct buf right CLEANUP(buf_free) = {0};
    if (encryption_config_read(text, strlen(text), s->state_path, ENCRYPTION_LENIENT, &c, err) < 0)
        return error_wrap(err, "the state file's encryptionConfig");
    bool equal = encryption_config_equal(c, running);
    bool none = !running || !running->item_count;
    /* An administrator's own file, which RKE is not to render: its keys are kept, no more. */
    bool theirs =
        s->cluster->encryption != SECRETS_ENCRYPTION_ENABLED && s->cluster->own_config_path;
    if (theirs) {
        journal_add_config_keys(s->journal, running);
        equal = true;
    }
    bool custom = !none && !theirs && is_custom(s, running);
    if (!equal) {
        run_rke_text(s, running, custom ? running : NULL, &right);
        journal_add_config_keys(s->journal, c); /* before they are gone from there */
        journal_add_config_keys(s->journal, running);
        rkestate_set_encryption(s->state, buf_str(&right), right.len > 0);
        rkestate_set_custom(s->state, custom ? running : NULL);
    } else if (!theirs && !rkestate_agrees(s->state, !none)) {
        char *same CLEANUP(cleanup_mem) = mem_strdup(text);
        rkestate_set_encryption(s->state, same, !none);
        equal = false;
    }
    /* (Never taken out here: RKE's own word that there is one stands.) */
    if (custom && !rkestate_is_custom(s->state)) {
        rkestate_set_custom(s->state, running);
        equal = equal && !rkestate_is_custom(s->state); /* (a bare state has no place for it) */
    }
    if (s->state_missing && !s->journal->sequence)
        journal_take_over(s->journal, running);
    if (!equal || s->journal->behind) {
        tell(s, ENCRYPT_NOTE, NULL, NULL,
             s->state_missing ? "%s was not there: made, with the keys that the nodes have (0600: "
                                "keep it, and a backup)"
                              : "%s was behind: brought up to date",
             s->state_path);
        if (journal_write(s->journal, s->state, err) < 0)
            return -1;
    }
    cluster_state_refresh(s);
    give_left_lease_back(s);
    return 0;
}
