#include "provisioner/run.h"

#include "provisioner/cluster_state.h"
#include "provisioner/stamp.h"
#include "provisioner/store.h"
#include "templates/encryption_features.h"

#include <stdio.h>
#include <string.h>

static void add_text(struct run *r, enum form f)
{
    struct buf text = {0};
    if (r->forms.config[f] && r->forms.config[f]->item_count) {
        session_write_config(r->s, r->forms.config[f], &text);
        r->text[f] = text.data;
    }
    sha256_hex(r->text[f], r->text[f] ? strlen(r->text[f]) : 0, r->sha256[f]);
}

void run_rke_text(const struct session *s, const struct encryption_config *c,
                  const struct encryption_config *custom, struct buf *out)
{
    struct kube_version v = {0};
    if (!custom || !session_shares_state(s)) {
        session_write_config(s, c, out);
        return;
    }
    /* From 1.31 on kube-apiserver refuses what RKE renders: safe to deploy comes first. */
    bool strict = s->cluster->kubernetes_version &&
                  kube_version_parse(s->cluster->kubernetes_version, &v) &&
                  kube_version_at_least(v, 1, 31);
    encryption_config_write_rke_custom(c, strict ? RKE_HEADING_ONCE : RKE_HEADING_TWICE, out);
}

static void set_state_form(struct run *r, enum form f)
{
    const struct journal *j = r->s->journal;
    const struct transition *t = j->transition;
    const struct encryption_config *custom = t->aborting ? j->custom : t->custom;
    struct buf text CLEANUP(buf_free) = {0};
    if (r->text[f])
        run_rke_text(r->s, r->forms.config[f], f == FORM_TO ? custom : NULL, &text);
    rkestate_set_encryption(r->s->state, buf_str(&text), r->text[f] != NULL);
    /* In between, with either: nothing that RKE does with its own form is safe then. */
    bool is_custom = f == FORM_TO ? custom != NULL : j->custom || t->custom;
    rkestate_set_custom(r->s->state, is_custom && r->text[f] ? r->forms.config[f] : NULL);
}

char *run_command_line(const char *command, const struct encrypt_options *o)
{
    struct buf b = {0};
    buf_printf(&b, "encrypt %s --config %s", command, o->config);
    if (o->state)
        buf_printf(&b, " --state %s", o->state);
    if (o->kubeconfig)
        buf_printf(&b, " --kubeconfig %s", o->kubeconfig);
    return b.data;
}

int run_prepare(struct run *r, struct session *s, struct encrypt_report *report, struct error *err)
{
    const struct transition *t = s->journal->transition;
    *r = (struct run){.s = s, .report = report, .step = -1};
    if (forms_make(t->from, t->to, &r->forms, err) < 0)
        return error_wrap(err, "the open transition (%s)", t->why);
    if (t->aborting)
        forms_turn_back(&r->forms);
    for (int f = 0; f < FORM_COUNT; f++)
        add_text(r, (enum form)f);
    r->again = run_command_line("resume", s->options);
    r->facts.narrowing = t->stage == TRANSITION_NARROWING;
    r->facts.rewritten = t->rewritten;
    r->facts.switched = t->switched || t->reopened;
    r->facts.back = t->aborting || t->reopened;
    r->facts.staged = t->staged;
    if (t->proved) {
        report->proof_values = t->proof_values;
        report->proof_revision = t->proof_revision;
    }
    /* Proof holds for the processes it was had with; a new run has its own. */
    r->facts.proved = r->facts.narrowing;
    r->switched_at = loop_now();
    return 0;
}

void run_free(struct run *r)
{
    forms_free(&r->forms);
    for (int f = 0; f < FORM_COUNT; f++)
        mem_free(r->text[f]);
    mem_free(r->again);
    *r = (struct run){0};
}

int run_resources(struct run *r, const struct resources **out, struct error *err)
{
    const struct transition *t = r->s->journal->transition;
    return store_resources(r->s, t->from, t->to, out, err);
}

bool run_changes(const struct run *r, const struct resource *res)
{
    return encryption_resource_changes(r->forms.config[FORM_FROM], r->forms.config[FORM_TO],
                                       res->name);
}

int run_record(struct run *r, struct error *err)
{
    struct session *s = r->s;
    enum form f = plan_state_form(&r->forms, r->nodes, s->count, r->facts);
    /* All but the one that joins write so already: nothing is to write plain again for its sake. */
    if (f == FORM_WIDEN && str_eq(s->journal->transition->why, "join"))
        f = FORM_SWITCH;
    set_state_form(r, f);
    s->journal->transition->rewritten = r->facts.rewritten;
    if (journal_write(s->journal, s->state, err) < 0)
        return error_wrap(err, "writing down how far it is");
    r->changed = true;
    return 0;
}

/* The nodes are told of this generation by their stamps, also where no file is put. */
static int stamp_all(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        if (stamp_put(s, &s->members[i], err) < 0)
            return -1;
    }
    return 0;
}

static int narrow(struct run *r, struct error *err)
{
    struct session *s = r->s;
    if (check_lease(s, err) < 0 || preflight_addresses(s, err) < 0 ||
        run_check_identities(r, err) < 0)
        return -1;
    /* The lock was gone: what was proved may be of another store by now. */
    if (s->store_doubtful)
        return 0;
    /* Commit point: from here there is no way back, only on. */
    journal_narrow(s->journal);
    r->facts.narrowing = true;
    for (size_t i = 0; i < s->count; i++)
        s->members[i].stamped = false;
    return run_record(r, err) < 0 ? -1 : stamp_all(s, err);
}

static int finish(struct run *r, struct error *err)
{
    struct session *s = r->s;
    if (stamp_all(s, err) < 0 || record_at_end(r, err) < 0)
        return -1;
    set_state_form(r, FORM_TO);
    journal_close(s->journal);
    if (journal_write(s->journal, s->state, err) < 0) {
        error_state(err, "the cluster is what it should be; that it is could not be written down");
        error_next(err, "make room for %s, then: %s", s->state_path, r->again);
        return -1;
    }
    cluster_state_refresh(s);
    give_lease_back(s);
    return 0;
}

int run_refuse(struct run *r, struct plan_step step, struct error *err)
{
    error_set(err, RESULT_REFUSED, "%s", step.why);
    for (size_t i = 0; i < r->s->count; i++) {
        const struct member *m = &r->s->members[i];
        if (step.nodes >> i & 1)
            error_wrap(err, "node %s, %s", m->node.name, m->config_path);
    }
    error_next(err,
               "look at that file on that node; put there what belongs there (the state file "
               "has every key), then: %s",
               r->again);
    return -1;
}

static int carry_out(struct run *r, struct plan_step step, struct error *err)
{
    switch (step.kind) {
    case PLAN_PUT:
        return rollout_put(r, step.form, step.nodes, err);
    case PLAN_RESTART:
        return rollout_restart(r, step.form, (size_t)__builtin_ctzll(step.nodes), err);
    case PLAN_REWRITE:
        return run_rewrite(r, err);
    case PLAN_PROVE:
        return run_prove(r, err);
    case PLAN_NARROW:
        return narrow(r, err);
    case PLAN_REMOVE:
        return rollout_remove(r, step.nodes, err);
    case PLAN_DONE:
        return finish(r, err);
    case PLAN_REFUSE:
        break;
    }
    return run_refuse(r, step, err);
}

/* How the nodes are now: asked anew, since what was seen last may be what has changed. Gives what
 * must be mended before going on can work ("when …: "), NULL where nothing is known of; to be
 * freed.
 */
static char *explain_nodes(struct run *r, struct buf *text)
{
    struct session *s = r->s;
    struct error ignored CLEANUP(error_clear) = {0};
    char *until = NULL;
    bool all = true;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        char *why CLEANUP(cleanup_mem) = NULL;
        bool ready = false;
        bool asked =
            !ssh_dead(m->node.ssh) && kube_ready(&m->node.api, &ready, &why, &ignored) == 0;
        if (asked && ready)
            continue;
        bool reached = !ssh_dead(m->node.ssh);
        all = false;
        if (reached)
            buf_printf(text, "; kube-apiserver on %s is not ready now (%s)", m->node.name,
                       why ? why : "no answer");
        else
            buf_printf(text, "; node %s is out of reach now", m->node.name);
        if (!until && !reached)
            until = mem_printf("when node %s answers over SSH again: ", m->node.name);
        else if (!until && why && strstr(why, "etcd"))
            until = mem_strdup("when etcd has its quorum again: ");
    }
    if (all)
        buf_adds(text, "; every apiserver is ready and has the keys of all that is stored");
    return until;
}

static void explain_state(struct run *r, struct error *err)
{
    const struct session *s = r->s;
    const struct transition *t = s->journal->transition;
    struct buf text CLEANUP(buf_free) = {0};
    if (!t)
        return;
    buf_printf(&text, "%s is open%s: %s", t->why, t->aborting ? ", and being taken back" : "",
               r->facts.narrowing
                   ? "everything is rewritten and proved, what is not needed is being dropped"
               : r->facts.rewritten ? "everything is rewritten, not yet proved; both keys are kept"
                                    : "both keys are kept");
    char *until CLEANUP(cleanup_mem) = explain_nodes(r, &text);
    char *keep_off CLEANUP(cleanup_mem) = session_keep_off(s);
    buf_adds(&text, keep_off);
    error_state(err, "%s", buf_str(&text));
    char *back CLEANUP(cleanup_mem) = run_command_line("abort", s->options);
    bool may_go_back = !r->facts.narrowing && !r->facts.back;
    error_next(err, "%s%s%s%s%s", until ? until : "", r->again,
               may_go_back ? "    (or, to go back to the configuration before: " : "",
               may_go_back ? back : "", may_go_back ? ")" : "");
}

/* The lock was gone, or this run didn't have the proof itself: etcd may have been restored from a
 * backup that is older than the proof. */
static int doubt_store(struct run *r, struct error *err)
{
    struct session *s = r->s;
    bool holds = true;
    struct error ignored CLEANUP(error_clear) = {0};
    const struct http_server *api = NULL;
    s->store_doubtful = false;
    /* Another store may have other custom resources. Without an API what is known has to do. */
    if (session_ready_api(s, &api, &ignored) == 0)
        store_forget_resources(s);
    if (!r->facts.narrowing) {
        r->facts.rewritten = r->facts.proved = false;
        return 0;
    }
    if (run_proof_holds(r, &holds, err) < 0)
        return -1;
    if (holds)
        return 0;
    /* Before any node is touched: one that can't read what is stored does not get ready. */
    if (run_switch_reads_all(r, err) < 0)
        return -1;
    tell(s, ENCRYPT_WARNING, "prove", NULL,
         "etcd is not what the proof had seen (restored from a backup?): every apiserver is "
         "brought to read both again, and everything is rewritten and proved anew");
    journal_reopen(s->journal);
    bool by_hand = r->facts.by_hand;
    r->facts = (struct plan_facts){.switched = true, .back = true, .staged = r->facts.staged};
    for (size_t i = 0; i < s->count; i++)
        s->members[i].stamped = false;
    if (run_record(r, err) < 0 || stamp_all(s, err) < 0)
        return -1;
    /* Stages go one way: what brings every apiserver back to both is not theirs to do. */
    if (!by_hand)
        return 0;
    char *resume CLEANUP(cleanup_mem) = run_command_line("resume", s->options);
    error_set(err, RESULT_STOPPED,
              "etcd is not what the proof had seen: every apiserver has to read both keys again "
              "before anything else");
    char *keep_off CLEANUP(cleanup_mem) = session_keep_off(s);
    error_state(err,
                "some apiservers may read the fresh key alone: what is stored under the old one "
                "can't be read through them until then; the state file has both keys%s",
                keep_off);
    error_next(err, "%s", resume);
    return -1;
}

/* A part of the rewriting alone was asked for: its proof comes with all of it. */
static bool is_sitting(const struct run *r, const struct plan_step *step)
{
    return r->upto == STAGE_COMMAND_REENCRYPT && r->s->options->namespaces &&
           (step->kind == PLAN_REWRITE || step->kind == PLAN_PROVE || step->kind == PLAN_NARROW);
}

static int steps(struct run *r, struct error *err)
{
    /* Each node is put, restarted and removed at most once or twice a form; far above any real run.
     */
    size_t bound = 64 + r->s->count * 32;
    for (size_t i = 0; i < bound; i++) {
        if ((r->s->store_doubtful && doubt_store(r, err) < 0) || run_observe(r, err) < 0)
            return -1;
        struct plan_step step = plan_next(&r->forms, r->nodes, r->s->count, r->facts);
        if (step.kind == PLAN_REFUSE)
            return run_refuse(r, step, err);
        if (r->unconfirmed) {
            if (rollout_confirm(r, (size_t)__builtin_ctzll(r->unconfirmed), err) < 0)
                return -1;
            continue;
        }
        if (stage_ends_before(r->upto, r->facts.by_hand, &step)) {
            if (r->facts.by_hand && run_expect_restarts(r, err) < 0)
                return -1;
            run_report_stage(r);
            return 0;
        }
        if (step.kind != PLAN_DONE && session_check_stop(r->s, err) < 0)
            return -1;
        if (is_sitting(r, &step))
            return run_rewrite_namespaces(r, r->s->options->namespaces, err);
        if (carry_out(r, step, err) < 0)
            return -1;
        if (step.kind == PLAN_DONE)
            return 0;
    }
    return error_set(err, RESULT_STOPPED,
                     "the transition makes no headway: the nodes change "
                     "under it");
}

/* RKE run in the middle may have made a key of its own: it must not be overwritten. */
int run_check_strings(struct run *r, struct error *err)
{
    struct session *s = r->s;
    const char *text = rkestate_encryption_config(s->state);
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    if (encryption_config_read(text, strlen(text), s->state_path, ENCRYPTION_LENIENT, &c, err) < 0)
        return error_wrap(err, "the state file's encryptionConfig");
    if (encryption_config_reads_all(r->forms.config[FORM_WIDEN], c) || !c || !c->item_count)
        return 0;
    const struct encryption_key *k = encryption_active_key(c);
    error_set(
        err, RESULT_REFUSED,
        "%s has an encryptionConfig with key %s, which is not one of the open transition (%s): "
        "%s, or this is another cluster's file",
        s->state_path, k ? k->name : "(none)", r->s->journal->transition->why,
        session_shares_state(s) ? "`rke` was run in between" : "another program changed it");
    error_next(err, "compare it with %s on the control-plane nodes", s->members[0].config_path);
    return -1;
}

static int go(struct run *r, bool opened, bool turned, enum stage_command command,
              struct error *err)
{
    struct session *s = r->s;
    bool nothing = false;
    if (run_observe(r, err) < 0)
        return -1;
    if (command && run_check_stage(r, command, &nothing, err) < 0)
        return -1;
    if (nothing) {
        run_report_stage(r);
        r->report->nothing_to_do = true;
        return 0;
    }
    struct plan_step step = plan_next(&r->forms, r->nodes, s->count, r->facts);
    if (step.kind == PLAN_REFUSE)
        return run_refuse(r, step, err);
    if (!opened && run_check_strings(r, err) < 0)
        return -1;
    s->store_doubtful = s->store_doubtful || r->facts.narrowing;
    if (!opened && !turned)
        return steps(r, err);
    /* Commit point: the new key is durable, and known to be meant, before anything else is done. */
    if (run_record(r, err) < 0)
        return -1;
    return steps(r, err);
}

char *run_stage_line(enum stage_command command, const struct encrypt_options *o)
{
    char *line CLEANUP(cleanup_mem) = run_command_line(stage_command_name(command), o);
    return mem_printf("%s%s%s%s", line, o->no_restart ? " --no-restart" : "",
                      o->namespaces ? " --namespace " : "", o->namespaces ? o->namespaces : "");
}

int run_transition(struct session *s, enum beginning how, enum stage_command command,
                   struct encrypt_report *report, struct error *err)
{
    struct run r CLEANUP(run_free) = {0};
    if (how == BEGIN_TURNED)
        journal_abort(s->journal);
    /* A generation of its own, which no node has been told of. */
    for (size_t i = 0; how != BEGIN_RESUMED && i < s->count; i++)
        s->members[i].stamped = false;
    report->aborted = s->journal->transition->aborting;
    snprintf(report->why, sizeof(report->why), "%s", s->journal->transition->why);
    bool prepared = run_prepare(&r, s, report, err) == 0;
    /* What failed is gone on with as it was asked for: `resume` would restart, and narrow. */
    if (prepared && command) {
        mem_free(r.again);
        r.again = run_stage_line(command, s->options);
    }
    r.resumed = how != BEGIN_OPENED;
    if (!prepared || go(&r, how == BEGIN_OPENED, how == BEGIN_TURNED, command, err) < 0) {
        /* What was refused in the middle is a stop all the same: the transition is open. */
        bool open = r.changed || how != BEGIN_OPENED;
        if ((r.changed && err->result == RESULT_REFUSED) || (open && err->result == RESULT_FAILED))
            err->result = RESULT_STOPPED;
        if (open && prepared)
            explain_state(&r, err);
        return -1;
    }
    return 0;
}
