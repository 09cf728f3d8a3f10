/*
 * A lost state file: what the nodes run is the truth about keys; RKE's own members come from the
 * copy in the cluster; the journal from beside the lost file, else from that copy, else anew.
 */
#include "base/file.h"
#include "provisioner/doctor.h"
#include "provisioner/stamp.h"
#include "state/journal_json.h"
#include "state/json_text.h"
#include "state/timestamp.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const char about[] = "state file";
enum { STATE_LIMIT = 64 << 20 };

/* What the nodes' stamps say: whose state they were changed with, and how far that had come. */
struct stamps {
    struct stamp newest; /* cluster NULL: there is none */
    bool differ;         /* they are of several clusters */
};

static void stamps_free(struct stamps *s)
{
    stamp_free(&s->newest);
}

static int read_stamps(struct doctor *d, struct stamps *out, struct error *err)
{
    for (size_t i = 0; i < d->s->count; i++) {
        struct stamp stamp CLEANUP(stamp_free) = {0};
        bool found = false;
        if (stamp_read(&d->s->members[i], &stamp, &found, err) < 0)
            return -1;
        if (!found)
            continue;
        out->differ =
            out->differ || (out->newest.cluster && !str_eq(out->newest.cluster, stamp.cluster));
        if (out->newest.cluster && out->newest.generation >= stamp.generation)
            continue;
        stamp_free(&out->newest);
        out->newest = stamp;
        stamp = (struct stamp){0};
    }
    return 0;
}

/* The journal takes the cluster's name over, and a generation that no other copy has. */
static int take_over_stamps(struct journal *j, bool known, const struct stamps *stamps,
                            struct error *err)
{
    const struct stamp *s = &stamps->newest;
    const struct transition *t = j->transition;
    if (stamps->differ)
        return error_set(err, RESULT_REFUSED,
                         "the nodes bear the stamps of several clusters: are they all of one?");
    if (!s->cluster)
        return 0;
    if (known && !str_eq(s->cluster, j->cluster_id))
        return error_set(
            err, RESULT_REFUSED,
            "the nodes were changed with the state file of cluster %s (by %s, %s), the "
            "journal that is left is of cluster %s",
            s->cluster, s->by, s->at, j->cluster_id);
    if (!known) {
        mem_free(j->cluster_id);
        j->cluster_id = mem_strdup(s->cluster);
    }
    bool same = s->generation == j->generation && str_eq(s->transition, t ? t->id : "");
    if (s->generation < j->generation || same)
        return 0;
    if (t)
        return error_set(err, RESULT_REFUSED,
                         "%s tells of an open change (%s) of generation %lld, and the nodes were "
                         "changed since with generation %lld (by %s, %s): move it away, then look "
                         "again",
                         j->sidecar_path, t->why, (long long)j->generation,
                         (long long)s->generation, s->by, s->at);
    /* The lost file went on from there without telling the nodes: aborted, narrowing, finished. */
    j->generation = s->generation + 3;
    return 0;
}

/* The state file that is there, held against the stamps. */
static int judge_stamps(struct doctor *d, struct error *err)
{
    for (size_t i = 0; d->s->journal && i < d->s->count; i++) {
        struct member *m = &d->s->members[i];
        struct stamp stamp CLEANUP(stamp_free) = {0};
        struct error why CLEANUP(error_clear) = {0};
        bool found = false;
        if (stamp_read(m, &stamp, &found, &why) < 0) {
            if (why.result == RESULT_INTERRUPTED)
                return error_move(err, &why);
        } else if (!found ||
                   stamp_judge(&stamp, d->s->journal, m->node.name, d->s->state_path, &why) >= 0) {
            continue;
        }
        char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
        char *word CLEANUP(cleanup_mem) = shell_word(d->s->state_path);
        char *sidecar CLEANUP(cleanup_mem) = shell_word(d->s->journal->sidecar_path);
        struct encrypt_finding *f = wrong(d, about, "%s", why.message);
        means(f, "every command refuses to work with this state file: it may lack keys that are in "
                 "force");
        mend(f,
             "# use the state file that changed the cluster last, with the .encrypt-state beside "
             "it. Only where that is lost:");
        mend(f, "mv %s %s.older; mv %s %s.older", word, word, sidecar, sidecar);
        mend(f, "%s --write-state --from %s.older", doctor, word);
        break; /* the others say the same */
    }
    return 0;
}

/* RKE's members: of the older file that was named, of the copy in the cluster, or none. */
static int base(struct doctor *d, struct rkestate **out, const char **from, struct error *err)
{
    const struct cluster_state_copy *copy = &d->copy;
    struct error why CLEANUP(error_clear) = {0};
    *from = NULL;
    if (d->asked->from) {
        struct buf text CLEANUP(buf_free) = {0};
        *from = d->asked->from;
        if (file_read(d->asked->from, STATE_LIMIT, true, &text, NULL, err) < 0)
            return -1;
        return rkestate_parse(buf_str(&text), text.len, d->s->state_path, out, err) < 0
                   ? error_wrap(err, "--from %s", d->asked->from)
                   : 0;
    }
    if (d->copy_read && copy->kind &&
        rkestate_parse(buf_str(&copy->text), copy->text.len, d->s->state_path, out, &why) == 0) {
        *from = "the copy in the cluster (kube-system/full-cluster-state)";
        return 0;
    }
    if (why.message)
        saw(d, about, "%s kube-system/full-cluster-state is no use: %s", copy->kind, why.message);
    *out = rkestate_bare(d->s->state_path);
    return 0;
}

/* The journal in an older state file, taken out of it; NULL where there is none of use. A change
 * that it tells of was finished since, or will be found on the nodes. */
static struct journal *older_journal(struct doctor *d, struct rkestate *state)
{
    struct journal *j = NULL;
    struct error why CLEANUP(error_clear) = {0};
    json_t *json = json_object_get(state->root, "encrypt");
    if (!json)
        return NULL;
    if (json_is_object(json)) {
        json_put(json, "transition", json_null());
        json_put(json, "nodes", json_object());
    }
    if (journal_from_json(json, "the older journal", &j, &why) < 0)
        saw(d, about, "its key history is no use: %s", why.message);
    json_object_del(state->root, "encrypt");
    return j;
}

/* A file that its apiserver is not told to read may be the last place of a key. */
static void add_stray_keys(struct journal *j, const struct member *m)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    if (!m->seen.config_path && !m->file_missing &&
        encryption_config_read(buf_str(&m->file), m->file.len, m->config_path, ENCRYPTION_LENIENT,
                               &c, &ignored) == 0)
        journal_add_config_keys(j, c);
}

/* The journal, as far as any copy of it is left; the one beside the lost file may be of a change
 * that is open. */
static int rebuild_journal(struct doctor *d, struct rkestate *state, const struct stamps *stamps,
                           struct journal **out, struct error *err)
{
    const struct session *s = d->s;
    struct journal *older CLEANUP(cleanup_journal) = older_journal(d, state);
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    if (journal_read(state, s->state_path, &j, err) < 0)
        return -1;
    bool known = j->sequence > 0;
    if (older && !known) {
        mem_free(j->cluster_id);
        j->cluster_id = mem_strdup(older->cluster_id);
        j->sequence = older->sequence;
        j->generation = older->generation;
        known = true;
    }
    if (take_over_stamps(j, known, stamps, err) < 0)
        return -1;
    for (size_t i = 0; older && i < older->key_count; i++) {
        if (!journal_find_key(j, older->keys[i].type, &older->keys[i].key))
            journal_append_key(j, &older->keys[i]);
    }
    for (size_t i = 0; i < s->count; i++) {
        journal_add_config_keys(j, d->nodes[i].config);
        add_stray_keys(j, &s->members[i]);
    }
    *out = STEAL(j);
    return 0;
}

static bool is_on_a_node(const struct doctor *d, const struct key_record *k)
{
    for (size_t i = 0; i < d->s->count; i++) {
        const struct encryption_config *c = d->nodes[i].config;
        for (size_t n = 0; c && n < c->item_count; n++) {
            for (size_t p = 0; p < c->items[n].provider_count; p++) {
                const struct encryption_provider *provider = &c->items[n].providers[p];
                for (size_t j = 0; j < provider->key_count; j++) {
                    char a[13];
                    char b[13];
                    encryption_key_fingerprint(&provider->keys[j], a);
                    encryption_key_fingerprint(&k->key, b);
                    if (provider->type == k->type && str_eq(provider->keys[j].name, k->key.name) &&
                        str_eq(a, b))
                        return true;
                }
            }
        }
    }
    return false;
}

/* What is on nodes is in force, what isn't has been retired. */
static void set_key_dates(struct doctor *d, struct journal *j)
{
    for (size_t i = 0; !j->transition && i < j->key_count; i++) {
        struct key_record *k = &j->keys[i];
        bool there = is_on_a_node(d, k);
        if (there && !k->activated)
            k->activated = timestamp_now();
        if (there)
            mem_free(STEAL(k->retired));
        else if (!k->retired)
            k->retired = timestamp_now();
    }
}

static void show_keys(struct doctor *d, const struct journal *j)
{
    for (size_t i = 0; i < j->key_count; i++) {
        const struct key_record *k = &j->keys[i];
        char fingerprint[13];
        encryption_key_fingerprint(&k->key, fingerprint);
        struct buf where CLEANUP(buf_free) = {0};
        for (size_t n = 0; n < d->s->count; n++) {
            struct buf keys CLEANUP(buf_free) = {0};
            doctor_describe(d->nodes[n].config, NULL, &keys);
            if (strstr(buf_str(&keys), fingerprint))
                buf_printf(&where, "%s%s", where.len ? ", " : "", d->s->members[n].node.name);
        }
        saw(d, "would be rebuilt", "%s key %s (fingerprint %s), %s%s", provider_type_name(k->type),
            k->key.name, fingerprint, where.len ? "from " : "of the history, on no node",
            buf_str(&where));
    }
}

static void show(struct doctor *d, const struct rkestate *state, const struct journal *j,
                 const char *from)
{
    show_keys(d, j);
    saw(d, "would be rebuilt", "cluster %s, generation %lld%s", j->cluster_id,
        (long long)j->generation,
        j->transition ? "; with the change that is open, by the journal beside the lost file" : "");
    if (from)
        saw(d, "would be rebuilt", "RKE's own members (certificates, rkeConfig): from %s%s", from,
            rkestate_is_bare(state) ? ", which has none" : "");
    else
        saw(d, "would be rebuilt", "RKE's own members (certificates, rkeConfig): not there%s",
            d->copy_read ? ": the cluster has no kube-system/full-cluster-state"
                         : ": the API can't be asked for its copy");
}

static int write_state(struct doctor *d, struct rkestate *state, struct journal *j,
                       struct encrypt_finding *lost, struct error *err)
{
    struct session *s = d->s;
    struct buf text CLEANUP(buf_free) = {0};
    struct stat st;
    if (state_lock_take(s->state_path, &s->lock, err) < 0)
        return -1;
    /* Another process may have been faster. */
    if (lstat(s->state_path, &st) == 0 || errno != ENOENT)
        return error_set(err, RESULT_REFUSED, "%s is there: nothing is written over it",
                         s->state_path);
    if (d->united)
        encryption_config_write(d->united, &text);
    state->is_new = true;
    rkestate_set_encryption(state, buf_str(&text), text.len > 0);
    set_key_dates(d, j);
    /* Commit point. */
    if (journal_write(j, state, err) < 0)
        return -1;
    lost->repaired = true;
    saw(d, about, "%s and %s were written (0600; they hold keys: keep them, and a backup)",
        s->state_path, j->sidecar_path);
    return 0;
}

/* Why it can't be written as things are; NULL: it can. */
static const char *obstacle(const struct doctor *d)
{
    if (d->s->absent_count)
        return "a control-plane node can't be looked at: its keys would be missing";
    for (size_t i = 0; i < d->s->count; i++) {
        if (!d->nodes[i].known)
            return "what a node has is not known: its keys would be missing";
    }
    if (!d->s->count)
        return "no control-plane node could be looked at";
    return d->united || !d->split ? NULL : "what the nodes have has no union";
}

static struct encrypt_finding *tell_lost(struct doctor *d, const struct rkestate *state,
                                         const char *why_not)
{
    char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
    struct encrypt_finding *f = wrong(d, about, "%s is not there", d->s->state_path);
    means(f, "no key can be kept without it: `up` and `rotate-key` refuse");
    mend(f, "# where the last one is somewhere, put that there (0600). Else rebuild it%s%s:",
         why_not ? ", but not yet: " : " from the cluster, as shown above", why_not ? why_not : "");
    mend(f, "%s --write-state", doctor);
    if (!rkestate_is_bare(state))
        return f;
    means(f, "RKE's own members would be missing in it: encrypt can work with that (credentials: "
             "--kubeconfig, or kube_config_<cluster file> beside the cluster file), but `rke up` "
             "would make new certificates for the whole cluster");
    mend(f, "# where there is an older one (a backup, a snapshot of etcd, `rke util "
            "get-state-file`): RKE's members from that, the keys from the nodes:");
    mend(f, "%s --write-state --from OLDER.rkestate", doctor);
    return f;
}

int doctor_rebuild(struct doctor *d, struct error *err)
{
    struct stamps stamps CLEANUP(stamps_free) = {0};
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    struct error why CLEANUP(error_clear) = {0};
    struct rkestate *state CLEANUP(cleanup_rkestate) = NULL;
    const char *from = NULL;
    if (!d->state_missing && d->asked->write_state)
        return error_set(err, RESULT_REFUSED, "%s is there: nothing is written over it",
                         d->s->state_path);
    if (!d->state_missing)
        return judge_stamps(d, err);
    const char *why_not = obstacle(d);
    if (base(d, &state, &from, err) < 0)
        return -1;
    if (read_stamps(d, &stamps, &why) < 0 || rebuild_journal(d, state, &stamps, &j, &why) < 0) {
        if (why.result == RESULT_INTERRUPTED)
            return error_move(err, &why);
        saw(d, about, "it can't be rebuilt: %s", why.message);
    } else {
        show(d, state, j, from);
    }
    struct encrypt_finding *lost = tell_lost(d, state, why_not ? why_not : why.message);
    if (!d->asked->write_state)
        return 0;
    if (why_not || !j)
        return error_set(err, RESULT_REFUSED, "no state file is written: %s",
                         why_not ? why_not : why.message);
    return write_state(d, state, j, lost, err);
}
