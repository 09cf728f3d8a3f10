/* `up --initial`: before the first kube-apiserver is started. */
#include "provisioner/engine.h"
#include "provisioner/kind.h"
#include "provisioner/kms.h"
#include "provisioner/run.h"
#include "provisioner/stamp.h"
#include "provisioner/start.h"
#include "provisioner/target.h"
#include "templates/encryption_features.h"

#include <stdlib.h>
#include <string.h>

static bool is_none(const struct encryption_config *c)
{
    return !c || !c->item_count;
}

static int read_state_config(struct session *s, struct encryption_config **out, struct error *err)
{
    const char *text = rkestate_encryption_config(s->state);
    if (encryption_config_read(text, strlen(text), s->state_path, ENCRYPTION_LENIENT, out, err) < 0)
        return error_wrap(err, "the state file's encryptionConfig");
    return 0;
}

static const struct key_record *active_key(const struct journal *j)
{
    for (size_t i = 0; i < j->key_count; i++)
        if (j->keys[i].activated && !j->keys[i].retired)
            return &j->keys[i];
    return NULL;
}

/* The journal beside it tells that there was one, and what of it ran is not known. */
static int check_not_lost(struct session *s, struct error *err)
{
    const struct key_record *k = active_key(s->journal);
    if (!s->state->is_new || !k)
        return 0;
    error_set(err, RESULT_REFUSED,
              "the state file %s is lost: %s has key %s in use, so this cluster was there before",
              s->state_path, s->journal->sidecar_path, k->key.name);
    error_next(
        err,
        "put a backup of it back, then run the same command; where there is none: start the "
        "apiservers as they were (the file lies on the nodes), then: encrypt doctor --config "
        "%s --write-state. Another state file (--state) makes another key: never where this "
        "cluster's etcd is kept",
        s->options->config);
    return -1;
}

static int check_keys_in_use(struct session *s, const struct encryption_config *to,
                             struct error *err)
{
    for (size_t i = 0; i < s->journal->key_count; i++) {
        const struct key_record *k = &s->journal->keys[i];
        if (!k->activated || k->retired || encryption_config_has_key(to, k->type, &k->key))
            continue;
        error_set(err, RESULT_REFUSED,
                  "by %s key %s is in use, and what %s asks for lacks it: what is stored under it "
                  "could not be read",
                  s->state_path, k->key.name, s->options->config);
        error_next(err,
                   "make %s ask for what the cluster had (provider, custom_config); where this "
                   "is another cluster, name another state file with --state",
                   s->options->config);
        return -1;
    }
    return 0;
}

/* No encryption is asked for. */
static int nothing_asked(struct session *s, struct error *err)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    if (read_state_config(s, &c, err) < 0 || check_keys_in_use(s, NULL, err) < 0)
        return -1;
    if (is_none(c) || encryption_config_is_plain(c))
        return 0;
    error_set(err, RESULT_REFUSED,
              "%s says that the cluster is encrypted, and %s does not ask for it: an apiserver "
              "without a configuration could not read what is stored",
              s->state_path, s->options->config);
    error_next(err,
               "set services.kube-api.secrets_encryption_config.enabled: true in %s (it can be "
               "disabled when the cluster runs); or name another state file with --state",
               s->options->config);
    return -1;
}

/* What is open is of an earlier run of this, and can be gone on with by this. */
static int check_open(struct session *s, struct error *err)
{
    const struct transition *t = s->journal->transition;
    if (t->initial && t->stage == TRANSITION_OPEN && !t->aborting && !t->reopened)
        return 0;
    char *next CLEANUP(cleanup_mem) =
        run_command_line(t->aborting ? "abort" : "resume", s->options);
    error_set(err, RESULT_REFUSED, "a transition (%s of %s by %s) is open%s", t->why, t->opened,
              t->by, t->aborting ? ", and being taken back" : "");
    error_next(err, "%s", next);
    return -1;
}

static int check_apiservers(struct session *s, struct error *err)
{
    const struct member *there = NULL;
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (!s->members[i].seen.exists)
            continue;
        there = &s->members[i];
        count++;
    }
    /* Of a provisioner that is starting them, and asks again. */
    if (!count || (s->journal->transition && count < s->count))
        return 0;
    char *up CLEANUP(cleanup_mem) = run_command_line("up", s->options);
    if (s->journal->transition)
        error_set(err, RESULT_REFUSED, "every node has its kube-apiserver");
    else
        error_set(err, RESULT_REFUSED,
                  "node %s has a kube-apiserver: this is no cluster at its first provisioning",
                  there->node.name);
    error_next(err, "%s", up);
    return -1;
}

/* What a run that was taken back has made, for an apiserver that nobody saw may have written with
 * it. NULL: there is none. */
static struct encryption_config *of_the_aborted(const struct session *s)
{
    const struct journal *j = s->journal;
    const struct key_record *k = j->key_count ? &j->keys[j->key_count - 1] : NULL;
    if (!j->last.aborted || !str_eq(j->last.why, "enable") || s->cluster->custom || !k ||
        k->activated || k->type != s->cluster->provider)
        return NULL;
    return encryption_config_managed(k->type, s->cluster->resources, &k->key);
}

/* What the nodes get: by cluster.yml, with the key that the state file has for it, if any: RKE
 * makes one before the first `up`, and a cluster may be made anew from its state. */
static int make_target(struct session *s, struct target *out, struct error *err)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct encryption_config *aborted CLEANUP(cleanup_encryption_config) = of_the_aborted(s);
    if (read_state_config(s, &c, err) < 0 ||
        target_up(s->cluster, s->journal, is_none(c) ? aborted : c, out, err) < 0 ||
        check_keys_in_use(s, out->to, err) < 0)
        return -1;
    if (!is_none(c) && !encryption_config_reads_all(out->to, c)) {
        error_set(err, RESULT_REFUSED,
                  "%s has a configuration which that of %s can't stand in for: what it had "
                  "encrypted could not be read",
                  s->state_path, s->options->config);
        error_next(err,
                   "make %s ask for what the cluster had; where this is another cluster, name "
                   "another state file with --state",
                   s->options->config);
        return -1;
    }
    const char *version = s->cluster->kubernetes_version;
    const struct driver *kind = kind_driver(s->cluster->kind);
    if (version && encryption_config_check_version(
                       out->to, version, "kubernetes_version of cluster.yml",
                       s->cluster->feature_gates, kind && kind->old_format, err) < 0)
        return -1;
    return 0;
}

/* cluster.yml still asks for what the open transition leads to. */
static int check_same_target(struct session *s, struct error *err)
{
    const struct transition *t = s->journal->transition;
    struct target asked CLEANUP(target_free) = {0};
    if (target_up(s->cluster, s->journal, t->to, &asked, err) < 0)
        return -1;
    if (encryption_config_equal(asked.to, t->to))
        return 0;
    char *abort_it CLEANUP(cleanup_mem) = run_command_line("abort", s->options);
    error_set(err, RESULT_REFUSED,
              "%s asks for another configuration than the open transition (%s) gives the nodes",
              s->options->config, t->why);
    error_next(err,
               "undo that edit, then run the same command again; or, before any kube-apiserver "
               "is started: %s, then the same command",
               abort_it);
    return -1;
}

/* (With a configuration in the state file it is that one's key that the nodes get: a cluster may be
 * made anew from its state.) */
static int check_fresh(struct session *s, struct error *err)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    if (read_state_config(s, &c, err) < 0)
        return -1;
    return is_none(c) ? start_check_no_cluster(s, err) : 0;
}

static int check_files(struct session *s, const struct encryption_config *c, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (!m->seen.exists && (m->node.driver->check_place(&m->node, m->config_path, err) < 0 ||
                                start_check_file(s, m, c, err) < 0 || rehearse(m, err) < 0))
            return -1;
    }
    return 0;
}

/* In memory; run_record() writes it. */
static int open_transition(struct session *s, const struct target *t, struct error *err)
{
    struct encryption_config *before CLEANUP(cleanup_encryption_config) = NULL;
    if (read_state_config(s, &before, err) < 0)
        return -1;
    const char **names CLEANUP(cleanup_mem) = mem_alloc(s->count + 1, sizeof(char *));
    for (size_t i = 0; i < s->count; i++)
        names[i] = s->members[i].node.name;
    journal_keep_nodes(s->journal, names);
    journal_open(s->journal, "enable", NULL, t->to, t->custom);
    struct transition *open = s->journal->transition;
    open->initial = true;
    open->before = is_none(before) ? NULL : STEAL(before);
    /* What starts with the file writes with the key: see struct transition. */
    open->switched = true;
    for (size_t i = 0; i < s->count; i++) {
        struct node_record *n = journal_node(s->journal, names[i]);
        node_record_intend(n, form_name(FORM_SWITCH), NULL);
        node_record_placed(n, NULL, NULL);
        node_record_runs(n, NULL, NULL);
        node_record_path(n, s->members[i].config_path);
        s->members[i].stamped = false;
    }
    return 0;
}

/* No apiserver runs: each will run what it is given, and no plain writer is to be thought of. So
 * the state's strings are of SWITCH already: what RKE starts writes with the key from the first. */
static void foresee(struct run *r)
{
    for (size_t i = 0; i < r->s->count; i++) {
        form_set set = forms_of(&r->forms, r->forms.config[FORM_SWITCH]);
        bool plain = r->s->members[i].seen.exists && !r->s->members[i].seen.config_path;
        r->nodes[i] =
            plain ? (struct plan_node){.file = set, .file_there = true, .runs = FORM_BIT(FORM_FROM)}
                  : (struct plan_node){.file = set, .file_there = true, .runs = set};
    }
}

/* Another was quicker, on the very first node: it is as if this had never been begun. */
static void forget_transition(struct session *s)
{
    struct error ignored CLEANUP(error_clear) = {0};
    for (size_t i = 0; i < s->count; i++)
        if (s->members[i].stamped)
            return;
    journal_abort(s->journal);
    initial_put_state_back(s);
    journal_close(s->journal);
    if (journal_write(s->journal, s->state, &ignored) < 0)
        tell(s, ENCRYPT_WARNING, NULL, NULL, "%s", ignored.message);
}

static int by_address(const void *a, const void *b)
{
    const struct member *const *x = a, *const *y = b;
    return strcmp((*x)->node.name, (*y)->node.name);
}

/* The stamps of all come before the first configuration: who has all nodes goes on. In an order
 * that is the same for all, or two would each hold a node that the other wants. */
static int claim_all(struct session *s, struct error *err)
{
    struct member **sorted CLEANUP(cleanup_mem) = mem_alloc(s->count, sizeof(struct member *));
    for (size_t i = 0; i < s->count; i++)
        sorted[i] = &s->members[i];
    qsort(sorted, s->count, sizeof(struct member *), by_address);
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = sorted[i];
        if (m->seen.exists || stamp_claim(s, m, err) == 0)
            continue;
        char *abort_it CLEANUP(cleanup_mem) = run_command_line("abort", s->options);
        mem_free(STEAL(err->next));
        error_next(err,
                   "where that other run is somebody's: leave it to them, or use their state file "
                   "(--state); where it is gone for good: on node %s: rm %s.encrypt, then run the "
                   "same command again. To take this run back: %s",
                   m->node.name, m->config_path, abort_it);
        return -1;
    }
    return 0;
}

/* What killed runs left, also where nothing is to be put any more. The node is ours by now. */
static int settle_bare(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (!m->seen.exists && m->node.driver->settle(&m->node, err) < 0)
            return error_wrap(err, "node %s: removing what an earlier run left", m->node.name);
    }
    return 0;
}

static int put_all(struct run *r, struct error *err)
{
    struct session *s = r->s;
    const char *text = r->text[FORM_SWITCH];
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        const struct node_record *n = journal_node(s->journal, m->node.name);
        bool placed = str_eq(n->placed.sha256, r->sha256[FORM_SWITCH]) &&
                      str_eq(m->file_sha256, r->sha256[FORM_SWITCH]);
        if (m->seen.exists || placed)
            continue;
        if (start_put(s, m, text, strlen(text), err) < 0)
            return -1;
        tell(s, ENCRYPT_NODE, form_name(FORM_SWITCH), m->node.name, "configuration put");
        if (session_check_stop(s, err) < 0)
            return -1;
    }
    return 0;
}

static int provide(struct session *s, bool opened, struct encrypt_start *out, struct error *err)
{
    struct encrypt_report unused = {0};
    struct run r CLEANUP(run_free) = {0};
    if (run_prepare(&r, s, &unused, err) < 0)
        return -1;
    foresee(&r);
    tell(s, ENCRYPT_STEP, form_name(FORM_SWITCH), NULL,
         "every kube-apiserver that is started writes with the key from the first");
    /* Commit point: the key is durable before anything is put on a node. */
    if (run_record(&r, err) < 0)
        return -1;
    if (claim_all(s, err) < 0) {
        if (opened && err->result == RESULT_REFUSED)
            forget_transition(s);
        return -1;
    }
    if (settle_bare(s, err) < 0 || put_all(&r, err) < 0 || run_record(&r, err) < 0)
        return -1;
    for (size_t i = 0; i < s->count; i++)
        if (start_add(s, &s->members[i], s->journal->transition->to, out, err) < 0)
            return -1;
    return 0;
}

static int begin(struct session *s, struct encrypt_start *out, struct error *err)
{
    struct target t CLEANUP(target_free) = {0};
    if (check_fresh(s, err) < 0 || make_target(s, &t, err) < 0 ||
        kms_check(s, NULL, t.to, err) < 0 || check_files(s, t.to, err) < 0 ||
        session_check_stop(s, err) < 0 || open_transition(s, &t, err) < 0)
        return -1;
    return provide(s, true, out, err);
}

static int go_on(struct session *s, struct encrypt_start *out, struct error *err)
{
    const struct transition *t = s->journal->transition;
    if (check_same_target(s, err) < 0 || check_files(s, t->to, err) < 0)
        return -1;
    tell(s, ENCRYPT_NOTE, NULL, NULL, "going on with the open transition (%s) of %s by %s", t->why,
         t->opened, t->by);
    return provide(s, false, out, err);
}

static int initial(struct session *s, struct encrypt_start *out, struct error *err)
{
    bool open = s->journal->transition != NULL;
    if (open && check_open(s, err) < 0)
        return -1;
    if (!open && check_not_lost(s, err) < 0)
        return -1;
    if (!open && s->cluster->encryption != SECRETS_ENCRYPTION_ENABLED)
        return nothing_asked(s, err);
    if (session_reach_nodes(s, err) < 0 || start_note_started(s, err) < 0 ||
        check_apiservers(s, err) < 0 || preflight_listed(s, err) < 0 || stamp_check(s, err) < 0)
        return -1;
    return open ? go_on(s, out, err) : begin(s, out, err);
}

static bool all_started(const struct session *s)
{
    bool all = s->count > 0;
    for (size_t i = 0; i < s->count; i++)
        all = all && s->members[i].seen.exists;
    return all;
}

/* An error says how the nodes are left. */
static void explain(struct session *s, bool was_open, struct error *err)
{
    const struct transition *t = s->journal->transition;
    char *again CLEANUP(cleanup_mem) = run_command_line("up --initial", s->options);
    if (!t) {
        error_state(err, "nothing was changed");
        error_next(err, "mend that, then run the same command again");
        return;
    }
    if (err->result == RESULT_FAILED || (err->result == RESULT_REFUSED && !was_open))
        err->result = RESULT_STOPPED;
    if (!t->initial || all_started(s)) {
        error_state(err, "as the last run left it: %s is open", t->why);
        error_next(err, "mend that, then run the same command again");
        return;
    }
    error_state(err,
                "%s is open: its key is in %s, and some nodes may have the configuration; "
                "start no kube-apiserver before this is done",
                t->why, s->state_path);
    error_next(err, "%s", again);
}

int engine_up_initial(const struct encrypt_options *o, struct encrypt_start *out, struct error *err)
{
    struct session *s CLEANUP(cleanup_session) = NULL;
    *out = (struct encrypt_start){0};
    if (session_open_initial(o, &s, err) < 0)
        return -1;
    bool was_open = s->journal->transition != NULL;
    if (initial(s, out, err) == 0)
        return 0;
    explain(s, was_open, err);
    return -1;
}
