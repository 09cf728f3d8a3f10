/*
 * A lost state file: what the nodes run is the truth about keys; RKE's own members come from the
 * copy in the cluster or an older file; the journal from beside the lost file, else from such a
 * copy, else anew. The keys of all journals that are at hand are in its history.
 */
#include "base/file.h"
#include "provisioner/doctor.h"
#include "state/journal_json.h"
#include "state/json_text.h"
#include "state/timestamp.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const char about[] = "state file";
/* The lost file may have gone on by as many generations without telling the nodes. */
enum { MARGIN = 1000 };

/* What it is rebuilt from, and what becomes of it. */
struct rebuilt {
    struct rkestate *state;
    const char *from; /* whose RKE's members are; NULL: nobody's */
    struct journal *journal;
    bool no_change; /* the journal told of one that is none any more */
};

static void rebuilt_free(struct rebuilt *r)
{
    rkestate_free(r->state);
    journal_free(r->journal);
}

/* Such a file is no less than there ever was, where nobody but us keeps a state. */
static bool lacks_members(const struct doctor *d, const struct rkestate *state)
{
    return session_shares_state(d->s) && rkestate_is_bare(state);
}

/* At least one control-plane node is the same. */
static bool is_of_these_nodes(const struct doctor *d, const struct rkestate *state)
{
    const struct cluster *c = d->s->cluster;
    char **list = rkestate_controlplane(state);
    bool same = !list[0];
    for (size_t i = 0; list[i]; i++) {
        for (size_t k = 0; k < c->node_count; k++)
            same = same ||
                   (c->nodes[k].controlplane && (str_eq(list[i], c->nodes[k].ssh.address) ||
                                                 str_eq(list[i], c->nodes[k].internal_address)));
    }
    encryption_resources_free(list);
    return same;
}

/* RKE's members: of the older file that was named, of the copy in the cluster, or none. */
static int base(struct doctor *d, struct rebuilt *r, struct error *err)
{
    const struct rkestate *found = d->older;
    r->state = rkestate_bare(d->s->state_path);
    r->from = d->older ? d->asked->from : NULL;
    if (d->older_trouble)
        return error_set(err, RESULT_REFUSED, "%s", d->older_trouble);
    if (!found && d->copy.newest && d->copy.newest->state) {
        found = d->copy.newest->state;
        r->from = "the copy in the cluster (kube-system/full-cluster-state)";
    }
    if (!found)
        return 0;
    if (!is_of_these_nodes(d, found)) {
        error_set(err, RESULT_REFUSED,
                  "%s is of another cluster: none of its control-plane nodes is in %s", r->from,
                  d->o->config);
        r->from = NULL;
        return -1;
    }
    json_wipe(r->state->root);
    if (!(r->state->root = json_deep_copy(found->root)))
        abort();
    json_object_del(r->state->root, "encrypt");
    return 0;
}

/* --- the journal --- */

static int same_cluster(const char *a, const char *a_name, const char *b, const char *b_name,
                        struct error *err)
{
    return str_eq(a, b) ? 0
                        : error_set(err, RESULT_REFUSED,
                                    "%s is of cluster %s, and %s of cluster %s: move away the one "
                                    "that is not of this cluster",
                                    a_name, a, b_name, b);
}

/* All that is at hand is of one cluster; `name` has its name (NULL: nothing has one). */
static int check_cluster(const struct doctor *d, const struct journal *beside, const char **name,
                         struct error *err)
{
    const struct stamp *stamp = doctor_newest_stamp(d);
    const char *who = "the node's stamp";
    *name = stamp ? stamp->cluster : NULL;
    if (beside) {
        if (*name && same_cluster(beside->cluster_id, beside->sidecar_path, *name, who, err) < 0)
            return -1;
        *name = beside->cluster_id;
        who = beside->sidecar_path;
    }
    for (size_t i = 0; i < d->tale_count; i++) {
        const struct doctor_tale *t = &d->tales[i];
        if (*name && same_cluster(t->journal->cluster_id, t->name, *name, who, err) < 0)
            return -1;
        *name = t->journal->cluster_id;
        who = t->name;
    }
    return 0;
}

/* The journal without the change that it tells of. */
static int without_change(struct journal **j, struct error *err)
{
    json_t *json CLEANUP(cleanup_json) = NULL;
    struct journal *without = NULL;
    if (journal_to_json(*j, &json, err) < 0)
        return -1;
    json_put(json, "transition", json_null());
    json_put(json, "nodes", json_object());
    if (journal_from_json(json, "the journal", &without, err) < 0)
        return -1;
    without->sidecar_path = mem_strdup((*j)->sidecar_path);
    journal_free(*j);
    *j = without;
    return 0;
}

/* The highest of the generations that are at hand, but for the journal's own. */
static int64_t highest(const struct doctor *d, int64_t *sequence)
{
    const struct stamp *stamp = doctor_newest_stamp(d);
    int64_t generation = stamp ? stamp->generation : 0;
    for (size_t i = 0; i < d->tale_count; i++) {
        const struct journal *j = d->tales[i].journal;
        generation = j->generation > generation ? j->generation : generation;
        *sequence = j->sequence > *sequence ? j->sequence : *sequence;
    }
    return generation;
}

/* The nodes were changed since by another copy than the journal that is left. */
static bool is_outdated(const struct doctor *d, const struct journal *j, int64_t generation)
{
    const struct stamp *stamp = doctor_newest_stamp(d);
    return generation > j->generation ||
           (stamp && stamp->generation == j->generation &&
            !str_eq(stamp->transition, j->transition ? j->transition->id : ""));
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
static int rebuild_journal(struct doctor *d, struct rebuilt *r, struct error *err)
{
    const struct session *s = d->s;
    const char *cluster = NULL;
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    if (!d->history)
        return error_set(err, RESULT_FAILED, "the keys that are at hand can't be gathered");
    if (journal_read(r->state, s->state_path, &j, err) < 0)
        return -1;
    bool beside = j->sequence > 0;
    if (check_cluster(d, beside ? j : NULL, &cluster, err) < 0)
        return -1;
    int64_t sequence = j->sequence;
    int64_t generation = highest(d, &sequence);
    if (cluster && !beside) {
        mem_free(j->cluster_id);
        j->cluster_id = mem_strdup(cluster);
    }
    if (cluster && (!beside || is_outdated(d, j, generation))) {
        r->no_change = j->transition;
        if (j->transition && without_change(&j, err) < 0)
            return -1;
        j->sequence = sequence;
        j->generation = (generation > j->generation ? generation : j->generation) + MARGIN;
    }
    for (size_t i = 0; i < d->history->key_count; i++) {
        const struct key_record *k = &d->history->keys[i];
        if (!journal_find_key(j, k->type, &k->key))
            journal_append_key(j, k);
    }
    for (size_t i = 0; i < s->count; i++) {
        journal_add_config_keys(j, d->nodes[i].config);
        add_stray_keys(j, &s->members[i]);
    }
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = doctor_half_way(d);
    if (to && !j->transition) {
        journal_open(j, "enable", NULL, to, NULL);
        /* Anything may have been written with it. */
        j->transition->switched = true;
    }
    r->journal = STEAL(j);
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
    for (size_t i = 0; !journal_is_open(j) && i < j->key_count; i++) {
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

static void show(struct doctor *d, const struct rebuilt *r)
{
    const struct journal *j = r->journal;
    show_keys(d, j);
    saw(d, "would be rebuilt", "cluster %s, generation %lld%s", j->cluster_id,
        (long long)j->generation,
        j->transition  ? "; with a change that is open: `encrypt resume` finishes it"
        : r->no_change ? "; the change that the journal beside the lost file tells of is not open "
                         "any more: the nodes were changed since with another copy"
                       : "");
    if (!session_shares_state(d->s))
        return;
    if (r->from)
        saw(d, "would be rebuilt", "RKE's own members (certificates, rkeConfig): from %s%s",
            r->from, rkestate_is_bare(r->state) ? ", which has none" : "");
    else
        saw(d, "would be rebuilt", "RKE's own members (certificates, rkeConfig): not there%s",
            !d->copy_read    ? ": the API can't be asked for its copy"
            : d->copy.newest ? ": the copy in the cluster is no use"
                             : ": the cluster has no kube-system/full-cluster-state");
}

/* What a state without RKE's members means. */
static void tell_bare(struct encrypt_finding *f)
{
    means(f,
          "encrypt can work without them (credentials: --kubeconfig, or kube_config_<cluster "
          "file> beside the cluster file). For RKE such a file is worse than none: `rke up` would "
          "make new certificates for the whole cluster, and a fresh encryption key of its own, "
          "whatever keys the file names");
}

static int write_state(struct doctor *d, struct rebuilt *r, struct encrypt_finding *lost,
                       struct error *err)
{
    struct session *s = d->s;
    struct journal *j = r->journal;
    struct buf text CLEANUP(buf_free) = {0};
    struct stat st;
    if (state_lock_take(s->state_path, &s->lock, err) < 0)
        return -1;
    /* Another process may have been faster. */
    if (lstat(s->state_path, &st) == 0 || errno != ENOENT)
        return error_set(err, RESULT_REFUSED, "%s is there: nothing is written over it",
                         s->state_path);
    if (d->united)
        session_write_config(d->s, d->united, &text);
    r->state->is_new = true;
    rkestate_set_encryption(r->state, buf_str(&text), text.len > 0);
    if (!text.len || j->custom)
        rkestate_set_custom(r->state, text.len ? d->united : NULL);
    set_key_dates(d, j);
    /* Commit point. */
    if (journal_write(j, r->state, err) < 0)
        return -1;
    lost->repaired = true;
    saw(d, about, "%s and %s were written (0600; they hold keys: keep them, and a backup)",
        s->state_path, j->sidecar_path);
    if (!lacks_members(d, r->state))
        return 0;
    struct encrypt_finding *f =
        wrong(d, about,
              "RKE's own members (its certificates, rkeConfig) are not in the file that was "
              "written");
    tell_bare(f);
    mend(f, "# run no `rke` command before they are back: encrypt doctor says how");
    return 0;
}

/* Why it can't be written as things are; NULL: it can. */
static const char *obstacle(const struct doctor *d)
{
    if (d->busy)
        return d->busy;
    if (d->s->absent_count)
        return "a control-plane node can't be looked at: its keys would be missing";
    if (!d->s->count)
        return "no control-plane node could be looked at";
    if (!doctor_knows_all_nodes(d))
        return "what a node has is not known: its keys would be missing";
    if (doctor_flag_is_lost(d))
        return "a kube-apiserver is not told to read the file that stored values need: see what is "
               "said of the nodes";
    return d->no_union ? d->no_union : doctor_stamps_obstacle(d);
}

/* A bare file is worse than none where a better one could be had. */
static int check_bare(const struct doctor *d, const struct rkestate *state, struct error *err)
{
    if (!lacks_members(d, state) || d->asked->bare || (d->copy_read && !d->copy.newest))
        return 0;
    error_set(err, RESULT_REFUSED,
              "no state file is written: RKE's own members would be missing in it, and the copy of "
              "them in the cluster %s",
              d->copy.newest ? "can't be used" : "could not be looked for");
    error_next(err,
               "let the cluster be asked for it (--kubeconfig, an apiserver that is ready), or "
               "name an older state file (--from); only where all of these are lost: --bare");
    return -1;
}

static struct encrypt_finding *tell_lost(struct doctor *d, const struct rkestate *state,
                                         const char *why_not)
{
    char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
    struct encrypt_finding *f = wrong(d, about, "%s is not there", d->s->state_path);
    struct error bare CLEANUP(error_clear) = {0};
    means(f, "no key can be kept without it: `up` and `rotate-key` refuse%s",
          session_shares_state(d->s) || !d->s->journal
              ? ""
              : ", unless the journal beside it is the newest by the nodes' "
                "stamps: then they make it again from that");
    mend(f, "# where the last one is somewhere, put that there (0600). Else rebuild it%s%s:",
         why_not ? ", but not yet: " : " from the cluster, as shown above", why_not ? why_not : "");
    if (!lacks_members(d, state)) {
        mend(f, "%s --write-state", doctor);
        return f;
    }
    means(f, "RKE's own members (its certificates, rkeConfig) would be missing in it");
    tell_bare(f);
    bool refused = check_bare(d, state, &bare) < 0;
    if (refused)
        mend(f, "# first let the cluster be asked for its copy (--kubeconfig, an apiserver that is "
                "ready; `copy of the state` above), then look again");
    mend(f,
         "# where there is an older one (a backup, a snapshot of etcd): RKE's members from that, "
         "the keys from the nodes:");
    mend(f, "%s --write-state --from OLDER.rkestate", doctor);
    mend(f, "# only where all of these are lost:");
    mend(f, "%s --write-state%s", doctor, refused ? " --bare" : "");
    return f;
}

/* The state file that is there has none of RKE's members. */
static void tell_bare_state(struct doctor *d)
{
    struct encrypt_finding *f =
        wrong(d, about, "RKE's own members (its certificates, rkeConfig) are not in %s",
              d->s->state_path);
    tell_bare(f);
    mend(f, "# before any `rke` command, take them from %s",
         d->copy.newest && d->copy.newest->state
             ? "the copy in the cluster:"
             : "an older state file (a backup, a snapshot of etcd), here OLDER.rkestate:");
    mend_move(d, f, d->s->state_path, "bare");
    char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
    mend(f, "%s --write-state%s", doctor,
         d->copy.newest && d->copy.newest->state ? "" : " --from OLDER.rkestate");
}

/* None was ever there: no journal beside it, no stamp on any node that could be looked at. */
static bool is_new_to_us(const struct doctor *d)
{
    bool stamped = false, all = d->s->count && !d->s->absent_count;
    for (size_t i = 0; i < d->s->count; i++) {
        stamped = stamped || d->nodes[i].stamp.cluster;
        all = all && (d->nodes[i].stamped || d->s->members[i].unread);
    }
    return !session_shares_state(d->s) && all && !stamped &&
           !(d->s->journal && d->s->journal->sequence > 0);
}

void doctor_owned_state(struct doctor *d)
{
    if (!d->state_missing)
        return;
    saw(d, about,
        "%s is not there. Servers of kind %s bear no stamp of ours, so whether encrypt has changed "
        "this cluster before can't be told. Where it has: put the last state file there (0600), it "
        "has the history of keys, which backups of etcd need. Where not: the first change makes it",
        d->s->state_path, session_driver(d->s)->kind);
}

int doctor_rebuild(struct doctor *d, struct error *err)
{
    struct rebuilt r CLEANUP(rebuilt_free) = {0};
    struct error why CLEANUP(error_clear) = {0};
    if (d->state_missing && !d->asked->write_state && is_new_to_us(d)) {
        saw(d, about,
            "%s is not there, and no node bears our stamp: encrypt has not changed this cluster "
            "yet, its first change makes the file",
            d->s->state_path);
        return 0;
    }
    if (!d->state_missing && d->asked->write_state)
        return error_set(err, RESULT_REFUSED, "%s is there: nothing is written over it",
                         d->s->state_path);
    if (!d->state_missing) {
        if (d->s->state && lacks_members(d, d->s->state))
            tell_bare_state(d);
        return 0;
    }
    if (base(d, &r, &why) < 0 || rebuild_journal(d, &r, &why) < 0)
        saw(d, about, "it can't be rebuilt: %s", why.message);
    else
        show(d, &r);
    const char *why_not = why.message ? why.message : obstacle(d);
    struct encrypt_finding *lost = tell_lost(d, r.state, why_not);
    if (!d->asked->write_state)
        return 0;
    if (why_not)
        return error_set(err, RESULT_REFUSED, "no state file is written: %s", why_not);
    return check_bare(d, r.state, err) < 0 ? -1 : write_state(d, &r, lost, err);
}
