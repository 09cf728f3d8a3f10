/* What `up` and `rotate-key` would do: asked as they ask, told, and nothing changed. */
#include "provisioner/plan.h"

#include "provisioner/decide.h"
#include "provisioner/doctor.h"
#include "provisioner/engine.h"
#include "provisioner/kube/lease.h"
#include "provisioner/owned/owned.h"
#include "provisioner/stamp.h"
#include "provisioner/start.h"
#include "provisioner/store.h"
#include "templates/encryption_features.h"

#include <stdarg.h>
#include <string.h>

void plan_note(struct encrypt_plan *p, const char *fmt, ...)
{
    va_list ap;
    MEM_GROW(p->notes, p->note_count);
    va_start(ap, fmt);
    p->notes[p->note_count++] = mem_vprintf(fmt, ap);
    va_end(ap);
}

static void free_steps(struct encrypt_plan_step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        encryption_resources_free(steps[i].nodes);
        mem_free(steps[i].text);
    }
    mem_free(steps);
}

void encrypt_plan_free(struct encrypt_plan *p)
{
    free_steps(p->steps, p->step_count);
    free_steps(p->back, p->back_count);
    for (size_t i = 0; i < p->key_count; i++) {
        mem_free(p->keys[i].name);
        mem_free(p->keys[i].fingerprint);
    }
    for (size_t i = 0; i < p->resource_count; i++)
        mem_free(p->resources[i].name);
    for (size_t i = 0; i < p->note_count; i++)
        mem_free(p->notes[i]);
    mem_free(p->keys);
    mem_free(p->resources);
    mem_free(p->notes);
    mem_free(p->why);
    mem_free(p->opened);
    mem_free(p->by);
    mem_free(p->command);
    mem_free(p->no_way_back);
    *p = (struct encrypt_plan){0};
}

/* --- the lock in the cluster --- */

/* Another's would keep the command from its work. */
static int look_at_lease(struct session *s, struct error *err)
{
    const struct http_server *api = NULL;
    struct error e CLEANUP(error_clear) = {0};
    bool gone = false;
    if (session_ready_api(s, &api, err) < 0)
        return -1;
    if (lease_check(api, s->lease_owner, &gone, &e) == 0 || gone || s->options->take_over)
        return e.result == RESULT_INTERRUPTED ? error_move(err, &e) : 0;
    if (e.result == RESULT_REFUSED)
        error_next(&e,
                   "the same command with --take-over, if that run is surely no longer at work");
    return error_move(err, &e);
}

/* --- what is stored --- */

struct wanted {
    const char *prefix;
};

static bool has_prefix(void *ctx, const struct resource *r, const unsigned char *value, size_t len)
{
    (void)r;
    const struct wanted *w = ctx;
    char *prefix CLEANUP(cleanup_mem) = encryption_stored_prefix(value, len);
    return prefix && str_eq(prefix, w->prefix);
}

static int count_objects(struct run *r, struct encrypt_plan *p, struct error *err)
{
    const struct resources *all = NULL;
    if (run_resources(r, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++) {
        const struct resource *res = &all->list[i];
        struct census c CLEANUP(census_free) = {0};
        char *want CLEANUP(cleanup_mem) =
            encryption_write_prefix(r->forms.config[FORM_TO], res->name);
        struct wanted w = {want};
        if (!run_changes(r, res))
            continue;
        if (census_resource(r->s, res, 0, has_prefix, &w, &c, err) < 0)
            return -1;
        MEM_GROW(p->resources, p->resource_count);
        p->resources[p->resource_count++] = (struct encrypt_plan_resource){
            .name = mem_strdup(res->name), .objects = c.values, .rewrite = c.refused};
    }
    return 0;
}

static size_t to_rewrite(const struct encrypt_plan *p)
{
    size_t sum = 0;
    for (size_t i = 0; i < p->resource_count; i++)
        sum += p->resources[i].rewrite;
    return sum;
}

/* --- the steps --- */

static uint64_t those_that_reload(const struct session *s)
{
    uint64_t nodes = 0;
    for (size_t i = 0; i < s->count; i++)
        nodes |= s->members[i].reload.told ? UINT64_C(1) << i : 0;
    return nodes;
}

/* What an open transition is brought to from what the nodes show. REFUSED as the run would be. */
static int tell_steps(struct run *r, struct encrypt_plan *p, struct encrypt_plan_step **steps,
                      size_t *step_count, bool main, struct error *err)
{
    struct session *s = r->s;
    const char *names[PLAN_MAX_NODES];
    for (size_t i = 0; i < s->count; i++)
        names[i] = s->members[i].node.name;
    struct plan_words words = {names, s->journal->transition->aborting, s->members[0].config_path};
    struct plan_ahead *list CLEANUP(cleanup_mem) = NULL;
    size_t count = plan_ahead(&r->forms, r->nodes, s->count, r->facts, those_that_reload(s), &list);
    if (list[0].step.kind == PLAN_REFUSE)
        return run_refuse(r, list[0].step, err);
    plan_tell_steps(list, count, &r->forms, &words, steps, step_count);
    if (!main)
        return 0;
    plan_count(list, count, &p->restarts, &p->reloads);
    p->seconds =
        plan_seconds(list, count, to_rewrite(p), p->reloads ? RELOAD_REQUEST_TIMEOUT_MS : 0);
    return 0;
}

/* --- automatic reload, where it would help --- */

static int tell_reload(struct session *s, struct encrypt_plan *p, struct error *err)
{
    struct kube_version v = {0};
    bool some = false, all = true;
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        char *version CLEANUP(cleanup_mem) = NULL;
        if (m->seen.automatic_reload || !m->seen.running)
            continue;
        if (kube_server_version(&m->node.api, &version, err) < 0)
            return -1;
        some = true;
        all = all && kube_version_parse(version, &v) && kube_version_at_least(v, 1, 26);
    }
    if (!some || !all || !p->restarts)
        return 0;
    if (kube_version_at_least(v, 1, 34))
        plan_note(
            p,
            "kube-apiserver can take such files up by itself: with "
            "--encryption-provider-config-automatic-reload=true set once on all of them, a "
            "rotation needs none of its %zu restarts (each file then takes up to 60 s, and the "
            "proof waits as long as a request may take)",
            p->restarts);
    else
        plan_note(p, "--encryption-provider-config-automatic-reload would save no restart in this "
                     "version: which file is in force is told from 1.34 on");
    return 0;
}

/* --- the cases --- */

/* An open transition is gone on with also where none answers: that may bring one up. */
static int look_for_api(struct session *s, struct encrypt_plan *p, bool *answers, struct error *err)
{
    const struct http_server *api = NULL;
    struct error e CLEANUP(error_clear) = {0};
    *answers = session_ready_api(s, &api, &e) == 0;
    if (!*answers && e.result == RESULT_INTERRUPTED)
        return error_move(err, &e);
    if (!*answers)
        plan_note(p,
                  "%s: whether another operator holds the lock, and how much is stored, could not "
                  "be looked at",
                  e.message);
    return 0;
}

/* As go() and go_on() begin. */
static int plan_open(struct session *s, struct encrypt_plan *p, struct error *err)
{
    struct run r CLEANUP(run_free) = {0}, back CLEANUP(run_free) = {0};
    struct transition *t = s->journal->transition;
    struct encrypt_report ignored = {0};
    struct plan_known all_known = {0};
    p->open = true;
    p->aborting = t->aborting;
    p->why = mem_strdup(t->why);
    p->opened = mem_strdup(t->opened);
    p->by = mem_strdup(t->by);
    bool answers = false;
    if (start_check_open(s, err) < 0 || look_for_api(s, p, &answers, err) < 0 ||
        (answers && (look_at_lease(s, err) < 0 || preflight_addresses(s, err) < 0)) ||
        run_prepare(&r, s, &ignored, err) < 0 || run_observe(&r, err) < 0 ||
        run_check_strings(&r, err) < 0)
        return -1;
    run_take_placed(&r);
    if (answers && !r.facts.narrowing && count_objects(&r, p, err) < 0)
        return -1;
    if (tell_steps(&r, p, &p->steps, &p->step_count, true, err) < 0)
        return -1;
    plan_tell_keys(p, t->aborting ? t->to : t->from, t->aborting ? t->from : t->to, &all_known);
    for (size_t i = 0; i < s->count; i++)
        if (r.unconfirmed >> i & 1)
            plan_note(p,
                      "node %s: its kube-apiserver was left in the middle by the last run, or was "
                      "started since: it is waited for first, and taken back where it does not get "
                      "ready",
                      s->members[i].node.name);
    if (t->aborting)
        return 0;
    struct error none CLEANUP(error_clear) = {0};
    if (decide_abort(s, &none) < 0) {
        p->no_way_back = STEAL(none.message);
        return 0;
    }
    /* In memory alone. */
    journal_abort(s->journal);
    if (run_prepare(&back, s, &ignored, err) < 0 || run_observe(&back, err) < 0)
        return -1;
    run_take_placed(&back);
    return tell_steps(&back, p, &p->back, &p->back_count, false, err);
}

static int plan_change(struct session *s, const struct decision *d, struct encrypt_plan *p,
                       struct error *err)
{
    struct run r CLEANUP(run_free) = {0};
    struct encrypt_report ignored = {0};
    struct plan_known known = {s->journal, s->cluster->custom};
    const struct encryption_config *to = d->target.to;
    if (transition_check(s, d->from, to, err) < 0 || look_at_lease(s, err) < 0 ||
        stamp_check(s, err) < 0)
        return -1;
    p->why = mem_strdup(d->target.why);
    plan_tell_keys(p, d->from, to, &known);
    /* In memory alone. */
    journal_open(s->journal, d->target.why, d->from, to, d->target.custom);
    record_what_runs(s, d->from, to);
    return run_prepare(&r, s, &ignored, err) < 0 || run_observe(&r, err) < 0 ||
                   count_objects(&r, p, err) < 0 ||
                   tell_steps(&r, p, &p->steps, &p->step_count, true, err) < 0
               ? -1
               : tell_reload(s, p, err);
}

static void plan_join(struct session *s, struct encrypt_plan *p)
{
    p->why = mem_strdup("join");
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        if (!m->joins)
            continue;
        MEM_GROW(p->steps, p->step_count);
        struct encrypt_plan_step *step = &p->steps[p->step_count++];
        *step = (struct encrypt_plan_step){
            .what = "join", .nodes = mem_alloc(2, sizeof(char *)), .node_count = 1};
        step->nodes[0] = mem_strdup(m->node.name);
        step->text = mem_strdup(
            !m->seen.exists
                ? "put the configuration of the others there, and tell what to start its "
                  "kube-apiserver with"
            : m->seen.config_path
                ? "put the configuration of the others there, start its kube-apiserver and wait "
                  "until it is ready"
                : "bring it to the configuration of the others: the file, the flag, a restart; "
                  "then "
                  "rewrite what it wrote plain, and prove it");
    }
}

/* What is mended without a step of the planner's. */
static void tell_next_starts(const struct session *s, struct encrypt_plan *p)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->members[i].seen.next_start)
            plan_note(p, "node %s: %s. `up` mends that, without a restart", s->members[i].node.name,
                      s->members[i].seen.next_start);
}

/* By record_flags(), which looks when it is carried out. */
static void tell_record(const struct session *s, struct encrypt_plan *p)
{
    const struct driver *d = session_driver(s);
    if (d->record)
        plan_note(p,
                  "`up` also brings %s's own settings to say what kube-apiservers are started "
                  "with, where they don't say so yet",
                  d->kind);
}

static int plan_closed(struct session *s, enum encrypt_plan_of what, struct encrypt_plan *p,
                       struct error *err)
{
    struct decision d CLEANUP(decision_free) = {0};
    if ((what == ENCRYPT_PLAN_UP ? decide_up(s, &d, err) : decide_rotation(s, &d, err)) < 0)
        return -1;
    tell_next_starts(s, p);
    tell_record(s, p);
    if (d.target.lags)
        plan_note(p, "the keys that run are written into the custom_config of %s",
                  s->cluster->path);
    if (d.what == DECIDED_ROTATE) {
        decision_free(&d);
        if (decide_rotation(s, &d, err) < 0)
            return -1;
    }
    if (d.what == DECIDED_JOIN)
        plan_join(s, p);
    if (d.what == DECIDED_CHANGE)
        return plan_change(s, &d, p, err);
    struct plan_known all_known = {0};
    plan_tell_keys(p, d.from, d.from, &all_known);
    p->nothing_to_do = d.what == DECIDED_NOTHING && !d.target.lags;
    return p->nothing_to_do ? state_agrees(s, d.from, err) : 0;
}

static int plan_owned(struct session *s, enum encrypt_plan_of what, struct encrypt_plan *out,
                      struct error *err)
{
    if (owned_tell_plan(s, what, out, err) < 0) {
        error_state(err, s->journal->owned ? "as the last run left it: a change is open"
                                           : "nothing was changed");
        error_next(err, "mend that, then run the same command again");
        return -1;
    }
    if (!out->nothing_to_do)
        out->command =
            command_as_called(s->options, s->journal->owned                 ? "resume"
                                          : what == ENCRYPT_PLAN_ROTATE_KEY ? "rotate-key"
                                                                            : "up");
    return 0;
}

int engine_plan(const struct encrypt_options *o, enum encrypt_plan_of what,
                struct encrypt_plan *out, struct error *err)
{
    struct session *s CLEANUP(cleanup_session) = NULL;
    *out = (struct encrypt_plan){0};
    if (session_open_to_tell(o, true, &s, err) < 0)
        return -1;
    if (session_driver(s)->owned)
        return plan_owned(s, what, out, err);
    out->nodes = s->count;
    bool open = s->journal->transition != NULL;
    int rc = stamp_check(s, err);
    if (rc == 0)
        rc = open ? plan_open(s, out, err) : plan_closed(s, what, out, err);
    if (rc == 0 && !out->nothing_to_do)
        out->command = command_as_called(o, open                              ? "resume"
                                            : what == ENCRYPT_PLAN_ROTATE_KEY ? "rotate-key"
                                                                              : "up");
    if (out->command && (o->write_config || o->forget_node || o->ssh_agent_auth)) {
        char *more = mem_printf(
            "%s%s%s%s%s", out->command, o->write_config ? " --write-config" : "",
            o->forget_node ? " --forget-node " : "", o->forget_node ? o->forget_node : "",
            o->ssh_agent_auth ? " --ssh-agent-auth" : "");
        mem_free(out->command);
        out->command = more;
    }
    if (rc < 0 && (err->result == RESULT_REFUSED || err->result == RESULT_FAILED)) {
        error_state(err,
                    open ? "as the last run left it: a transition is open" : "nothing was changed");
        error_next(err, "mend that, then run the same command again");
    }
    return rc;
}
