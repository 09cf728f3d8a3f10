#include "provisioner/run.h"

#include "provisioner/kube/lease.h"

#include <stdio.h>
#include <string.h>

static void add_text(struct run *r, enum form f)
{
    struct buf text = {0};
    if (r->forms.config[f] && r->forms.config[f]->item_count) {
        encryption_config_write(r->forms.config[f], &text);
        r->text[f] = text.data;
    }
    sha256_hex(r->text[f], r->text[f] ? strlen(r->text[f]) : 0, r->sha256[f]);
}

int run_prepare(struct run *r, struct session *s, struct encrypt_report *report, struct error *err)
{
    const struct transition *t = s->journal->transition;
    *r = (struct run){.s = s, .report = report, .step = -1};
    if (forms_make(t->from, t->to, &r->forms, err) < 0)
        return error_wrap(err, "the open transition (%s)", t->why);
    for (int f = 0; f < FORM_COUNT; f++)
        add_text(r, (enum form)f);
    r->facts.narrowing = t->stage == TRANSITION_NARROWING;
    r->facts.rewritten = t->rewritten;
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
    *r = (struct run){0};
}

static form_set forms_of_sha256(const struct run *r, const char *sha256)
{
    form_set set = 0;
    for (unsigned f = 0; f < FORM_COUNT; f++) {
        if (str_eq(r->sha256[f], sha256))
            set |= FORM_BIT(f);
    }
    return set;
}

form_set run_file_forms(struct run *r, struct member *m)
{
    form_set set = forms_of_sha256(r, m->file_sha256);
    if (set || m->file_missing)
        return set;
    /* Not ours byte for byte: RKE's own text of the same configuration counts as well. */
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    if (encryption_config_read(buf_str(&m->file), m->file.len, m->config_path, ENCRYPTION_LENIENT,
                               &c, &ignored) < 0)
        return 0;
    return forms_of(&r->forms, c);
}

/*
 * What an apiserver runs is known by its process: one without the flag runs "none"; one that the
 * journal saw running a file still runs that; one that started after the file was put (another
 * process than at the moment when the file had been read back), with the file unchanged since, runs
 * the file.
 */
static form_set forms_that_run(struct run *r, struct member *m, form_set file)
{
    const struct node_record *n = journal_node(r->s->journal, m->node.name);
    if (!m->seen.running || !m->seen.process)
        return 0;
    if (!m->seen.config_path)
        return forms_of(&r->forms, NULL);
    if (str_eq(n->runs.process, m->seen.process)) {
        form_set set = forms_of_sha256(r, n->runs.sha256);
        return set || !str_eq(n->runs.sha256, m->file_sha256) ? set : file;
    }
    if (n->placed.process && !str_eq(n->placed.process, m->seen.process) &&
        str_eq(n->placed.sha256, m->file_sha256))
        return file;
    return 0;
}

int run_observe(struct run *r, struct error *err)
{
    struct session *s = r->s;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (member_observe(m, err) < 0)
            return -1;
        form_set file = run_file_forms(r, m);
        form_set runs = forms_that_run(r, m, file);
        r->nodes[i] =
            (struct plan_node){.file = file, .file_there = !m->file_missing, .runs = runs};
        if (!(runs & FORM_BIT(FORM_SWITCH)) && !r->facts.narrowing) {
            r->facts.rewritten = false;
            r->facts.proved = false;
        }
    }
    return 0;
}

int run_record(struct run *r, struct error *err)
{
    struct session *s = r->s;
    enum form f = plan_state_form(&r->forms, r->nodes, s->count, r->facts);
    rkestate_set_encryption(s->state, r->text[f] ? r->text[f] : "", r->text[f] != NULL);
    s->journal->transition->rewritten = r->facts.rewritten;
    return journal_write(s->journal, s->state, err);
}

int take_lease(struct session *s, struct error *err)
{
    const struct http_server *api = NULL;
    if (session_ready_api(s, NULL, &api, err) < 0 ||
        lease_take(api, s->lease_owner, s->who, s->options->take_over, err) < 0)
        return -1;
    s->lease_held = true;
    return 0;
}

int check_lease(struct session *s, struct error *err)
{
    const struct http_server *api = NULL;
    if (session_ready_api(s, NULL, &api, err) < 0)
        return -1;
    return lease_check(api, s->lease_owner, err);
}

void give_lease_back(struct session *s)
{
    const struct http_server *api = NULL;
    struct error e CLEANUP(error_clear) = {0};
    if (session_ready_api(s, NULL, &api, &e) < 0 || lease_release(api, s->lease_owner, &e) < 0)
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             "the lock in the cluster (Lease kube-system/encrypt) could not be given back: %s; the "
             "next run of yours takes it again",
             e.message);
    s->lease_held = false;
}

static int narrow(struct run *r, struct error *err)
{
    struct session *s = r->s;
    if (check_lease(s, err) < 0 || run_check_identities(r, err) < 0)
        return -1;
    /* Commit point: from here there is no way back, only on. */
    s->journal->transition->stage = TRANSITION_NARROWING;
    r->facts.narrowing = true;
    return run_record(r, err);
}

static int finish(struct run *r, struct error *err)
{
    struct session *s = r->s;
    const char *text = r->text[FORM_TO];
    rkestate_set_encryption(s->state, text ? text : "", text != NULL);
    journal_close(s->journal);
    if (journal_write(s->journal, s->state, err) < 0)
        return -1;
    give_lease_back(s);
    return 0;
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
    error_set(err, RESULT_REFUSED, "%s", step.why);
    for (size_t i = 0; i < r->s->count; i++) {
        if (step.nodes >> i & 1)
            error_wrap(err, "node %s", r->s->members[i].node.name);
    }
    return -1;
}

static void explain_state(struct run *r, struct error *err)
{
    const struct transition *t = r->s->journal->transition;
    if (!t)
        return;
    error_state(err,
                "%s is open, %s; every value stored can be read by every apiserver; don't run "
                "`rke` before it is finished",
                t->why,
                r->facts.narrowing
                    ? "everything is rewritten and proved, the old key is being dropped"
                : r->facts.rewritten ? "everything is rewritten, not yet proved"
                                     : "both keys are kept");
    error_next(err, "encrypt resume --config %s", r->s->options->config);
}

static int steps(struct run *r, struct error *err)
{
    /* Each node is put, restarted and removed at most once or twice a form; far above any real run.
     */
    size_t bound = 64 + r->s->count * 32;
    for (size_t i = 0; i < bound; i++) {
        if (run_observe(r, err) < 0)
            return -1;
        struct plan_step step = plan_next(&r->forms, r->nodes, r->s->count, r->facts);
        if (step.kind != PLAN_DONE && session_check_stop(r->s, err) < 0)
            return -1;
        if (carry_out(r, step, err) < 0)
            return -1;
        if (step.kind == PLAN_DONE)
            return 0;
    }
    return error_set(err, RESULT_STOPPED,
                     "the transition makes no headway: the nodes change "
                     "under it");
}

int run_transition(struct session *s, struct encrypt_report *report, struct error *err)
{
    struct run r CLEANUP(run_free) = {0};
    snprintf(report->why, sizeof(report->why), "%s", s->journal->transition->why);
    if (run_prepare(&r, s, report, err) < 0)
        return -1;
    if (run_observe(&r, err) < 0 || run_record(&r, err) < 0 || steps(&r, err) < 0) {
        /* What was refused in the middle is a stop all the same: the transition is open. */
        if (err->result == RESULT_FAILED || err->result == RESULT_REFUSED)
            err->result = RESULT_STOPPED;
        explain_state(&r, err);
        return -1;
    }
    return 0;
}
