/* This machine's files held against the nodes: is this the state file that belongs to them? */
#include "provisioner/doctor.h"
#include "provisioner/status.h"
#include "provisioner/store.h"

#include <string.h>

/* Anything is encrypted, or was meant to be, as far as is known. */
static bool is_on(const struct status *d)
{
    const struct encryption_config *c = NULL;
    bool on = d->out->transition || !encryption_config_is_plain(d->recorded);
    for (size_t i = 0; i < d->s->count; i++)
        on = on || (status_config(d, i, &c) && !encryption_config_is_plain(c)) ||
             !encryption_config_is_plain(d->nodes[i].runs);
    return on;
}

/* What could not be asked. */
static void tell_unasked(struct status *d)
{
    static const char ready[] = "whether the apiservers are ready was not asked";
    bool on = is_on(d);
    if (d->no_credentials && on)
        status_problem(d, "%s: %s", ready, d->no_credentials);
    else if (d->no_credentials)
        status_note(d, "%s: %s", ready, d->no_credentials);
    if (on && !d->counted)
        status_problem(d, "what is stored under which key could not be counted: %s",
                       d->out->uncounted ? d->out->uncounted : "etcd was not asked");
}

/* An administrator's own file in the place of RKE's: no state file tells what it says. */
static bool is_theirs(const struct session *s)
{
    bool theirs =
        s->cluster->encryption != SECRETS_ENCRYPTION_ENABLED && s->cluster->own_config_path != NULL;
    for (size_t i = 0; session_shares_state(s) && i < s->count; i++)
        theirs = theirs || (s->members[i].seen.config_path &&
                            !str_eq(s->members[i].seen.config_path,
                                    s->members[i].node.driver->default_config_path));
    return theirs;
}

/* A run of this state file is at work, or has gone on since that was read: what was read of the
 * nodes may be newer. */
static bool has_gone_on(const struct status *d)
{
    const struct session *s = d->s;
    struct error ignored CLEANUP(error_clear) = {0};
    struct rkestate *state CLEANUP(cleanup_rkestate) = NULL;
    struct journal *journal CLEANUP(cleanup_journal) = NULL;
    char *holder CLEANUP(cleanup_mem) = NULL;
    if (state_lock_look(s->state_path, &holder, &ignored) == 0 && holder)
        return true;
    error_clear(&ignored);
    return rkestate_read(s->state_path, &state, &ignored) < 0 ||
           journal_read(state, s->state_path, &journal, &ignored) < 0 || !journal ||
           journal->sequence != s->journal->sequence;
}

/* --- stamps --- */

/* What the first node whose stamp refuses this state file says: the others say the same. */
static int judge_stamps(struct status *d, struct error *verdict, struct error *err)
{
    struct session *s = d->s;
    for (size_t i = 0; i < s->count && !verdict->result; i++) {
        struct stamp stamp CLEANUP(stamp_free) = {0};
        struct error why CLEANUP(error_clear) = {0};
        bool found = false;
        if (s->members[i].unread)
            continue;
        if (stamp_read(&s->members[i], &stamp, &found, &why) < 0) {
            if (why.result == RESULT_INTERRUPTED)
                return error_move(err, &why);
            status_problem(d, "the stamp can't be read: %s", why.message);
        } else if (found && stamp_judge(&stamp, s->journal, s->members[i].node.name, s->state_path,
                                        &why) < 0) {
            error_move(verdict, &why);
        }
    }
    return 0;
}

/* A state file was there once: a node says so. */
static int any_stamp(const struct status *d, bool *out, struct error *err)
{
    *out = false;
    for (size_t i = 0; i < d->s->count && !*out; i++) {
        struct stamp stamp CLEANUP(stamp_free) = {0};
        struct error why CLEANUP(error_clear) = {0};
        if (d->s->members[i].unread || stamp_read(&d->s->members[i], &stamp, out, &why) == 0)
            continue;
        if (why.result == RESULT_INTERRUPTED)
            return error_move(err, &why);
        *out = true; /* there is one that can't be read, or it can't be told */
    }
    return 0;
}

/* --- configurations --- */

static void describe(const struct status *d, const struct encryption_config *c, struct buf *out)
{
    if (encryption_config_is_plain(c))
        buf_adds(out, "no encryption");
    else
        doctor_describe(c, d->s->journal, out);
}

static bool is_recorded(const struct status *d, const struct encryption_config *c)
{
    return encryption_config_equal(d->recorded, c) ||
           (encryption_config_is_plain(d->recorded) && encryption_config_is_plain(c));
}

/* Nodes that have another configuration than the state file says. */
static void check_recorded(struct status *d)
{
    const struct encryption_config *c = NULL, *other = NULL;
    struct buf names CLEANUP(buf_free) = {0};
    struct buf says CLEANUP(buf_free) = {0};
    struct buf has CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < d->s->count; i++) {
        if (!status_config(d, i, &c) || is_recorded(d, c) ||
            (names.len && !encryption_config_equal(c, other)))
            continue;
        other = c;
        buf_printf(&names, "%s%s", names.len ? ", " : "", d->s->members[i].node.name);
    }
    if (!names.len)
        return;
    describe(d, d->recorded, &says);
    describe(d, other, &has);
    bool alike = str_eq(buf_str(&says), buf_str(&has));
    status_problem(d, "%s says that the nodes have %s; on %s: %s: %s", d->s->state_path,
                   buf_str(&says), names.data,
                   alike ? "the same in another order, or for other resources" : buf_str(&has),
                   d->s->journal->cut_off
                       ? "the last run could not write it to the end (encrypt resume brings it up "
                         "to date)"
                       : "this is not the state file that changed them last, or they were changed "
                         "by other means (encrypt doctor tells more)");
}

/* --- keys --- */

static bool is_on_a_node(const struct status *d, const struct key_record *k)
{
    for (size_t i = 0; i < d->s->count; i++)
        if (encryption_config_has_key(d->nodes[i].file, k->type, &k->key) ||
            encryption_config_has_key(d->nodes[i].runs, k->type, &k->key))
            return true;
    return false;
}

/* Values lie under it: that no node reads them was told. */
static bool is_stored(const struct status *d, const char *fingerprint)
{
    for (size_t i = 0; i < d->out->key_count; i++)
        if (d->out->keys[i].objects && str_eq(d->out->keys[i].fingerprint, fingerprint))
            return true;
    return false;
}

/* Nothing in the whole store, whatever the resource. False also where that can't be seen. */
static bool lies_nowhere(struct status *d, char *prefix)
{
    char *prefixes[2] = {prefix, NULL};
    struct census c CLEANUP(census_free) = {0};
    struct error ignored CLEANUP(error_clear) = {0};
    return census_under(d->s, prefixes, 0, &c, &ignored) == 0 && c.refused == 0;
}

/* Keys in use that no node has, nor the state file says to be on them. */
static void check_keys(struct status *d)
{
    const struct journal *j = d->s->journal;
    const struct encryption_config *reference = status_reference(d);
    for (size_t i = 0; i < j->key_count; i++) {
        const struct key_record *k = &j->keys[i];
        char fingerprint[13];
        if (!k->activated || k->retired || is_on_a_node(d, k) ||
            encryption_config_has_key(d->recorded, k->type, &k->key))
            continue;
        encryption_key_fingerprint(&k->key, fingerprint);
        char *prefix CLEANUP(cleanup_mem) =
            mem_printf("k8s:enc:%s:v1:%s:", provider_type_name(k->type), k->key.name);
        bool renamed = store_reads_prefix(reference, prefix);
        if (!renamed && is_stored(d, fingerprint))
            continue;
        /* RKE rotates and disables without a word to the journal. */
        if (!renamed && d->counted && !d->out->uncounted && lies_nowhere(d, prefix))
            status_note(d,
                        "key %s (fingerprint %s) was in use and is on no node any more; nothing "
                        "lies under it",
                        k->key.name, fingerprint);
        else
            status_problem(d,
                           "key %s (fingerprint %s) is in use by what %s knows, and no node has it"
                           "%s (encrypt doctor tells more)",
                           k->key.name, fingerprint, d->s->state_path,
                           renamed ? ": under its name they have another secret" : "");
    }
}

static bool knows_all_nodes(const struct status *d)
{
    const struct encryption_config *c = NULL;
    for (size_t i = 0; i < d->s->count; i++)
        if (!status_config(d, i, &c))
            return false;
    return d->s->count && !d->s->absent_count;
}

int status_state(struct status *d, struct error *err)
{
    const struct session *s = d->s;
    struct error verdict CLEANUP(error_clear) = {0};
    bool lost = d->state_missing && is_on(d) && !is_theirs(s);
    tell_unasked(d);
    /* Where a state file is ours alone, a cluster that we have not changed has none. */
    if (lost && !session_shares_state(s) && !s->journal && any_stamp(d, &lost, err) < 0)
        return -1;
    if (lost)
        status_problem(d,
                       "there is no state file %s: %s (encrypt doctor tells how it is made anew)",
                       s->state_path,
                       s->journal ? "the key history is in the .encrypt-state beside it alone, "
                                    "which is to be kept"
                                  : "the keys are on the nodes alone");
    else if (d->state_missing)
        status_note(d, "no state file %s: told from the nodes alone", s->state_path);
    if (!s->state || !s->journal)
        return 0;
    if (judge_stamps(d, &verdict, err) < 0)
        return -1;
    if (has_gone_on(d)) {
        status_note(d, "the state file was not held against the nodes: a run is at work with it");
        return 0;
    }
    if (verdict.result) {
        status_problem(d, "%s: %s", verdict.message, verdict.next);
        return 0;
    }
    /* In an open transition the nodes are held against its forms. */
    if (s->journal->transition && d->observed && d->recorded && d->recorded->item_count &&
        !encryption_config_reads_all(d->run.forms.config[FORM_WIDEN], d->recorded))
        status_problem(d,
                       "%s has an encryptionConfig with a key that is not one of the open "
                       "transition: %s (encrypt doctor tells more)",
                       s->state_path,
                       session_shares_state(s)
                           ? "`rke` was run in between, and would put it on the nodes"
                           : "another program changed it");
    if (s->journal->transition || is_theirs(s) || !d->recorded_known)
        return 0;
    check_recorded(d);
    if (knows_all_nodes(d))
        check_keys(d);
    return 0;
}
