/* The change from whatever is found to its end: look, ask the planner, act, record. */
#include "provisioner/run.h"
#include "provisioner/owned/owned.h"

#include <stdio.h>
#include <string.h>

enum { SETTLE_MS = 30000, POLL_MS = 1000 };

const char *owned_stage_of(enum owned_file at)
{
    return at == OWNED_FILE_PREPARED  ? "prepare"
           : at == OWNED_FILE_ROTATED ? "rotate"
           : at == OWNED_FILE_TO      ? "reencrypt_finished"
                                      : "start";
}

char *owned_how_far(const struct owned_record *o, enum owned_file at, size_t have, size_t count)
{
    if (str_eq(o->why, "rotate-key"))
        return mem_printf("stage %s", owned_stage_of(at));
    return at == OWNED_FILE_FROM ? mem_strdup("no server has it yet")
                                 : mem_printf("%zu of %zu servers have it", have, count);
}

struct owned_facts owned_facts_of(const struct owned_record *o)
{
    return (struct owned_facts){.change = str_eq(o->why, "enable")    ? OWNED_ENABLE
                                          : str_eq(o->why, "disable") ? OWNED_DISABLE
                                                                      : OWNED_ROTATE_KEY,
                                .way = o->at_once ? OWNED_AT_ONCE : OWNED_IN_STAGES,
                                .proved = o->proved,
                                .gone = o->gone,
                                .stuck = o->stuck};
}

static struct owned_step next_step(const struct owned_run *r)
{
    return owned_plan(r->servers, r->s->count, owned_facts_of(r->s->journal->owned));
}

/* A staged command has done its part. */
static bool ends_before(const struct owned_run *r, struct owned_step step)
{
    switch (r->upto) {
    case STAGE_COMMAND_PREPARE:
        return step.act == OWNED_COMMAND && step.at == OWNED_FILE_PREPARED;
    case STAGE_COMMAND_ROTATE:
        return step.act == OWNED_PROVE ||
               (step.act == OWNED_COMMAND && step.at == OWNED_FILE_ROTATED);
    case STAGE_COMMAND_RESTART:
        return step.act != OWNED_START && step.act != OWNED_LISTEN && step.act != OWNED_RESTART &&
               step.act != OWNED_DONE;
    case STAGE_COMMAND_NONE:
    case STAGE_COMMAND_REENCRYPT:
        break;
    }
    return false;
}

static size_t waiting(const struct owned_run *r)
{
    size_t count = 0;
    for (size_t i = 0; i < r->s->count; i++)
        count += !r->servers[i].same || !r->servers[i].shown;
    return count;
}

static void report_stage(struct owned_run *r, struct owned_step step)
{
    struct encrypt_report *report = r->report;
    const char *next = step.at == OWNED_FILE_FROM       ? "prepare"
                       : step.at == OWNED_FILE_PREPARED ? "rotate"
                       : step.at == OWNED_FILE_ROTATED  ? "reencrypt"
                                                        : "";
    snprintf(report->stage, sizeof(report->stage), "%s", owned_stage_of(step.at));
    snprintf(report->stage_next, sizeof(report->stage_next), "%s", next);
    report->stage_placed = true;
    report->waiting = waiting(r);
}

static void set_key(struct owned_run *r)
{
    const struct encryption_key *k = encryption_active_key(r->seen[r->leader].config);
    snprintf(r->report->key, sizeof(r->report->key), "%s", k ? k->name : "");
}

static int finish(struct owned_run *r, struct error *err)
{
    struct session *s = r->s;
    const struct owned_record *o = s->journal->owned;
    if (!r->report->proof_values) {
        r->report->proof_values = o->proof_values;
        r->report->proof_revision = o->proof_revision;
    }
    set_key(r);
    journal_close_owned(s->journal, r->seen[r->leader].config, false);
    if (owned_record(r, err) < 0)
        return -1;
    give_lease_back(s);
    tell(s, ENCRYPT_STEP, "done", NULL, "all servers have it, and run it");
    return 0;
}

bool owned_may_abort(const struct owned_run *r)
{
    const struct owned_record *o = r->s->journal->owned;
    bool untouched = true, at_work = false;
    for (size_t i = 0; i < r->s->count; i++) {
        enum stage stage = r->servers[i].stage;
        untouched = untouched && r->servers[i].file == OWNED_FILE_FROM &&
                    (stage == STAGE_START || stage == STAGE_REENCRYPT_FINISHED);
        at_work = at_work || stage == STAGE_REENCRYPT_REQUEST || stage == STAGE_REENCRYPT_ACTIVE;
    }
    enum owned_file at = r->servers[r->leader].file;
    return untouched || (o->at_once && (at == OWNED_FILE_PREPARED || at == OWNED_FILE_ROTATED) &&
                         (!at_work || o->stuck));
}

/* Words of theirs may come a moment after a restart: what is refused is looked at again first. */
static int refuse(struct owned_run *r, struct owned_step step, struct error *err)
{
    int64_t until = loop_now() + SETTLE_MS;
    while (step.act == OWNED_REFUSE && loop_now() < until) {
        if (session_check_stop(r->s, err) < 0 || loop_pause(r->s->loop, POLL_MS, err) < 0 ||
            owned_look(r, err) < 0)
            return -1;
        step = next_step(r);
    }
    if (step.act != OWNED_REFUSE)
        return 0;
    const struct owned_seen *seen = &r->seen[step.server];
    const struct owned_status *status = &seen->status;
    error_set(err, RESULT_STOPPED, "node %s: %s (stage %s; %s)",
              r->s->members[step.server].node.name, step.why, stage_name(status->stage),
              status->hash_match   ? "all hashes match"
              : status->hash_error ? status->hash_error
                                   : "the hashes don't match");
    if (r->s->journal->owned->at_once && step.at != OWNED_FILE_FROM)
        owned_tell_half_way(r, step.server, err);
    error_next(err,
               "%s secrets-encrypt status on each server, and docs/kinds/rke2.md (when something "
               "is stuck); then: %s",
               r->kind->program, r->again);
    return -1;
}

static int act(struct owned_run *r, struct owned_step step, bool *done, struct error *err)
{
    switch (step.act) {
    case OWNED_START:
        return owned_start(r, step.server, err);
    case OWNED_LISTEN:
        return owned_listen(r, step.server, err);
    case OWNED_RESTART:
        return owned_restart(r, step.server, err);
    case OWNED_COMMAND:
        return owned_give(r, step.server, step.command, err);
    case OWNED_WAIT:
        return owned_wait(r, step.server, err);
    case OWNED_PROVE:
        return owned_prove(r, err);
    case OWNED_COUNT:
        return owned_count_gone(r, err);
    case OWNED_REFUSE:
        return refuse(r, step, err);
    case OWNED_DONE:
        *done = true;
        return finish(r, err);
    }
    return 0;
}

/* What is open, for who reads the error. */
static void say_where(struct owned_run *r, struct error *err)
{
    const struct owned_record *o = r->s->journal->owned;
    if (!o)
        return;
    if (err->result == RESULT_FAILED || err->result == RESULT_REFUSED)
        err->result = RESULT_STOPPED;
    size_t have = 0;
    for (size_t i = 0; i < r->s->count; i++)
        have += r->servers[i].same && r->servers[i].shown;
    char *far CLEANUP(cleanup_mem) =
        owned_how_far(o, r->servers[r->leader].file, have, r->s->count);
    error_state(err, "%s is open, %s%s%s%s%s%s", o->why, far,
                o->proved ? ", everything is rewritten and proved" : "",
                owned_reads_all(o, r->servers[r->leader].file)
                    ? "; every server can read all that is stored"
                    : "",
                r->unrecorded ? "" : "; the key history in ", r->unrecorded ? "" : r->s->state_path,
                r->unrecorded ? "" : " has all keys");
    char *abort CLEANUP(cleanup_mem) =
        owned_may_abort(r) ? run_command_line("abort", r->s->options) : NULL;
    error_next(err, "%s%s%s", r->again, abort ? "; or: " : "", abort ? abort : "");
}

int owned_carry_out(struct owned_run *r, struct error *err)
{
    bool done = false;
    size_t most = 8 * r->s->count + 24;
    for (size_t steps = 0; !done; steps++) {
        if (steps == most) {
            error_set(err, RESULT_STOPPED,
                      "the change makes no headway: the servers change under "
                      "it");
            say_where(r, err);
            return -1;
        }
        if (owned_look(r, err) < 0) {
            say_where(r, err);
            return -1;
        }
        struct owned_step step = next_step(r);
        bool hands =
            r->s->options->no_restart && (step.act == OWNED_RESTART || step.act == OWNED_START);
        if (hands || ends_before(r, step)) {
            set_key(r);
            report_stage(r, step);
            return 0;
        }
        if (act(r, step, &done, err) < 0) {
            say_where(r, err);
            return -1;
        }
    }
    return 0;
}
