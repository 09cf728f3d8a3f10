/* The commands on servers that own their configuration: what is opened, gone on with, refused. */
#include "provisioner/owned/owned.h"
#include "provisioner/run.h"
#include "provisioner/stamp.h"

#include <stdio.h>
#include <string.h>

static int not_done(struct owned_run *r, struct error *err)
{
    error_state(err, "nothing was changed");
    error_next(err, "mend that, then run the same command again");
    (void)r;
    return -1;
}

/* With the lock: what was checked before somebody else may have changed, who had it then. */
static int check_again(struct owned_run *r, const struct encryption_config *from, struct error *err)
{
    if (owned_look(r, err) < 0 || owned_check_at_rest(r, err) < 0)
        return -1;
    if (encryption_config_equal(r->seen[r->leader].config, from))
        return 0;
    return error_set(err, RESULT_REFUSED,
                     "the servers' configuration was changed by somebody else while this looked");
}

/* Every check, then the lock, the snapshot, the journal. */
static int begin(struct owned_run *r, const char *why, bool staged, struct error *err)
{
    struct session *s = r->s;
    struct encryption_config *from CLEANUP(cleanup_encryption_config) =
        encryption_config_copy(r->seen[r->leader].config);
    bool at_once = false;
    if (owned_check_change(r, why, &at_once, err) < 0 ||
        (at_once && owned_check_can_show(r, err) < 0) ||
        owned_check_may(r, at_once, s->options->snapshot >= 0, err) < 0)
        return -1;
    if (staged && at_once)
        return error_set(err, RESULT_REFUSED,
                         "keys of secretbox are not rotated in stages: encrypt rotate-key");
    tell(s, ENCRYPT_STEP, "check", NULL, "can every value that is stored be read, is there room");
    if (preflight_addresses(s, err) < 0 || owned_check_store(r, from, err) < 0 ||
        session_check_stop(s, err) < 0 || take_lease(s, err) < 0)
        return -1;
    const char **names CLEANUP(cleanup_mem) = mem_alloc(s->count + 1, sizeof(char *));
    for (size_t i = 0; i < s->count; i++)
        names[i] = s->members[i].node.name;
    if (check_again(r, from, err) < 0 || owned_snapshot(r, err) < 0) {
        give_lease_back(s);
        return -1;
    }
    journal_keep_nodes(s->journal, names);
    journal_open_owned(s->journal, why, from);
    s->journal->owned->staged = staged;
    s->journal->owned->at_once = at_once;
    if (owned_record(r, err) == 0)
        return 0;
    give_lease_back(s);
    return -1;
}

static int open_and_carry_out(struct owned_run *r, const char *why, bool staged, struct error *err)
{
    if (begin(r, why, staged, err) < 0) {
        if (err->result == RESULT_FAILED)
            err->result = RESULT_REFUSED;
        return not_done(r, err);
    }
    snprintf(r->report->why, sizeof(r->report->why), "%s", why);
    return owned_carry_out(r, err);
}

static int nothing(struct owned_run *r)
{
    const struct encryption_key *k = encryption_active_key(r->seen[r->leader].config);
    r->report->nothing_to_do = true;
    snprintf(r->report->key, sizeof(r->report->key), "%s", k ? k->name : "");
    return 0;
}

/* --- up --- */

static int check_wishes(const struct owned_run *r, struct error *err)
{
    const struct cluster *c = r->s->cluster;
    const char *what = c->custom_config                      ? "custom_config"
                       : c->own_config_path                  ? "a configuration of your own"
                       : c->resources[0] && c->resources[1]  ? "more resources than secrets"
                       : !str_eq(c->resources[0], "secrets") ? "other resources than secrets"
                                                             : NULL;
    if (!what)
        return 0;
    error_set(err, RESULT_REFUSED,
              "%s:%zu: %s: the servers of %s own their configuration, and encrypt secrets alone",
              c->path, c->encryption_line, what, r->kind->program);
    error_next(err, "take it out of %s", c->path);
    return -1;
}

/* What `up` would open; NULL: nothing. */
static int decide_up(struct owned_run *r, const char **why, struct error *err)
{
    const struct cluster *c = r->s->cluster;
    enum provider_type type = PROVIDER_IDENTITY;
    *why = NULL;
    if (c->encryption == SECRETS_ENCRYPTION_ABSENT) {
        tell(r->s, ENCRYPT_NOTE, NULL, NULL,
             "%s does not say whether secrets are to be encrypted: the servers are left as they "
             "are",
             c->path);
        return owned_check_at_rest(r, err);
    }
    bool wants = c->encryption == SECRETS_ENCRYPTION_ENABLED;
    if ((wants && check_wishes(r, err) < 0) || owned_check_at_rest(r, err) < 0)
        return -1;
    bool has = r->seen[0].status.enabled;
    if (wants && has && owned_only_key(r->seen[r->leader].config, &type) && type != c->provider &&
        yaml_path(c->document, "services", "kube-api", "secrets_encryption_config", "provider",
                  NULL)) {
        error_set(err, RESULT_REFUSED, "%s:%zu: provider: the key in use is for %s", c->path,
                  c->encryption_line, provider_type_name(type));
        error_next(err,
                   "secrets-encryption-provider: %s in %s on every server, restart them, then: "
                   "encrypt rotate-key --config %s",
                   provider_type_name(c->provider), r->kind->settings, r->s->options->config);
        return -1;
    }
    if (wants != has && (wants || r->seen[0].status.configured))
        *why = wants ? "enable" : "disable";
    else if (wants && c->rotate_encryption_key)
        *why = "rotate-key";
    return 0;
}

static int decide_rotation(struct owned_run *r, const char **why, struct error *err)
{
    if (owned_check_at_rest(r, err) < 0)
        return -1;
    *why = "rotate-key";
    if (!r->seen[0].status.configured || r->seen[0].status.enabled)
        return 0;
    error_set(err, RESULT_REFUSED, "secrets are not encrypted: there is no key to rotate");
    error_next(err, "enabled: true in %s, then: encrypt up --config %s", r->s->options->config,
               r->s->options->config);
    return -1;
}

static int decide(struct owned_run *r, enum owned_command command, const char **why,
                  struct error *err)
{
    return command == OWNED_UP ? decide_up(r, why, err) : decide_rotation(r, why, err);
}

int owned_decide(struct owned_run *r, enum owned_command command, const char **why,
                 struct owned_facts *facts, struct error *err)
{
    bool at_once = false;
    if (decide(r, command, why, err) < 0 ||
        (*why && owned_check_change(r, *why, &at_once, err) < 0))
        return -1;
    struct owned_record as_if = {.at_once = at_once};
    as_if.why = mem_strdup(*why ? *why : "");
    *facts = owned_facts_of(&as_if);
    mem_free(as_if.why);
    return 0;
}

/* --- what is open --- */

/* Where all is well an API answers, or will in a moment; where a server is down it may be the only
 * one, and is started first. */
static int take_lock(struct owned_run *r, struct error *err)
{
    enum { ANSWER_MS = 15000, POLL_MS = 200 };
    struct session *s = r->s;
    const struct http_server *api = NULL;
    const char *down = NULL;
    int64_t until = loop_now() + ANSWER_MS;
    for (size_t i = 0; i < s->count; i++)
        if (!r->seen[i].active)
            down = s->members[i].node.name;
    while (session_ready_api(s, &api, err) < 0) {
        if (err->result != RESULT_FAILED || (!down && loop_now() >= until))
            return -1;
        if (down) {
            tell(s, ENCRYPT_WARNING, NULL, NULL,
                 "%s; node %s: %s is not active: it is started first, and the lock in the cluster "
                 "taken when an apiserver answers",
                 err->message, down, r->kind->unit);
            error_clear(err);
            return 0;
        }
        error_clear(err);
        if (loop_pause(s->loop, POLL_MS, err) < 0)
            return -1;
    }
    return owned_hold_lock(r, err);
}

static int go_on(struct owned_run *r, enum owned_command command, struct error *err)
{
    struct session *s = r->s;
    struct owned_record *o = s->journal->owned;
    bool stages = command == OWNED_PREPARE || command == OWNED_ROTATE || command == OWNED_REENCRYPT;
    enum owned_file at = r->servers[r->leader].file;
    r->report->resumed = true;
    snprintf(r->report->why, sizeof(r->report->why), "%s", o->why);
    if (stages && !str_eq(o->why, "rotate-key")) {
        error_set(err, RESULT_REFUSED, "%s is open, which has no stages", o->why);
        error_next(err, "%s", r->again);
        return -1;
    }
    bool all = true;
    for (size_t i = 0; i < s->count; i++)
        all = all && r->servers[i].same && r->servers[i].shown;
    if (command == OWNED_PREPARE &&
        (at > OWNED_FILE_PREPARED || (at == OWNED_FILE_PREPARED && all)))
        return owned_refuse_stage(r, r->leader, at == OWNED_FILE_PREPARED ? "rotate" : "reencrypt",
                                  err);
    if (command == OWNED_ROTATE &&
        (at < OWNED_FILE_PREPARED || at > OWNED_FILE_ROTATED || (at == OWNED_FILE_ROTATED && all)))
        return owned_refuse_stage(r, r->leader, at < OWNED_FILE_PREPARED ? "prepare" : "reencrypt",
                                  err);
    if (command == OWNED_REENCRYPT && at < OWNED_FILE_ROTATED)
        return owned_refuse_stage(r, r->leader, at == OWNED_FILE_PREPARED ? "rotate" : "prepare",
                                  err);
    if ((command == OWNED_ROTATE && at == OWNED_FILE_PREPARED && !all) ||
        (command == OWNED_REENCRYPT && at == OWNED_FILE_ROTATED && !all)) {
        error_set(err, RESULT_REFUSED, "not every server runs what lies there yet");
        error_state(err, "nothing was changed");
        error_next(err, "encrypt restart --config %s", s->options->config);
        return -1;
    }
    tell(s, ENCRYPT_NOTE, NULL, NULL, "going on with the open change (%s, of %s by %s)", o->why,
         o->opened, o->by);
    /* What is stored may be another's since: etcd may have been restored, a key taken away. */
    if (owned_check_may(r, o->at_once, false, err) < 0 || take_lock(r, err) < 0 ||
        (at == OWNED_FILE_FROM && s->lease_held && owned_check_store(r, o->from, err) < 0))
        return -1;
    /* A proof is had anew by who goes on: etcd may have been restored since. */
    if (at == OWNED_FILE_ROTATED)
        o->proved = false;
    if (at == OWNED_FILE_TO)
        o->gone = false;
    return owned_carry_out(r, err);
}

static int give_up(struct owned_run *r, struct error *err)
{
    struct session *s = r->s;
    const struct owned_record *o = s->journal->owned;
    bool half_way = r->servers[r->leader].file != OWNED_FILE_FROM;
    if (!owned_may_abort(r)) {
        error_set(err, RESULT_REFUSED,
                  "%s can't be taken back: %s has no command for that; from here is only on",
                  o->why, r->kind->program);
        error_state(err, "%s is open%s", o->why,
                    owned_reads_all(o, r->servers[r->leader].file)
                        ? "; every server can read all that is stored"
                        : "");
        error_next(err,
                   str_eq(o->why, "rotate-key")
                       ? "%s"
                       : "%s, then change enabled in cluster.yml, and encrypt up",
                   r->again);
        return -1;
    }
    if (take_lease(s, err) < 0)
        return -1;
    snprintf(r->report->why, sizeof(r->report->why), "%s", o->why);
    r->report->aborted = r->report->resumed = true;
    (void)nothing(r);
    r->report->nothing_to_do = false;
    if (half_way)
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             "what %s did is not taken back: both keys stay in the server's file and in the key "
             "history of %s, and values may lie under either. A restart of %s, or of the machine, "
             "may take the fresh key from the server, where its version saves it at the end alone: "
             "what lies under it could not be read then. docs/kinds/rke2.md (rotate-keys ended "
             "half-way) tells how both are kept, and how the old one goes",
             r->kind->program, s->state_path, r->kind->unit);
    journal_close_owned(s->journal, half_way ? r->seen[r->leader].config : NULL, true);
    if (owned_record(r, err) < 0)
        return -1;
    give_lease_back(s);
    return 0;
}

/* --- nothing of ours is open --- */

/* Somebody began one by hand: it becomes ours. False where there is none. */
static int adopt(struct owned_run *r, bool *is, struct error *err)
{
    struct session *s = r->s;
    struct encryption_config *before CLEANUP(cleanup_encryption_config) = owned_half_way(r);
    *is = before != NULL;
    if (!before)
        return 0;
    if (take_lock(r, err) < 0 || owned_look(r, err) < 0)
        return -1;
    /* With the lock, once more: another operator's run may just have begun or ended it. */
    struct encryption_config *from CLEANUP(cleanup_encryption_config) = owned_half_way(r);
    if (!from) {
        if (s->lease_held)
            give_lease_back(s);
        return error_set(err, RESULT_REFUSED,
                         "the servers' configuration was changed by somebody else while this "
                         "looked");
    }
    tell(s, ENCRYPT_NOTE, NULL, NULL,
         "a rotation that was begun by hand is half-way on these servers: it is gone on with");
    owned_note_adopted(r, from);
    if (owned_record(r, err) < 0)
        return -1;
    owned_judge(r);
    return 0;
}

/* Some server's word differs from the others', with nothing half-way; *any: a restart is due. */
static int check_restarts(struct owned_run *r, bool *any, struct error *err)
{
    const struct session *s = r->s;
    *any = false;
    for (size_t i = 0; i < s->count; i++)
        *any = *any || !r->servers[i].up || !r->servers[i].same || !r->seen[i].status.hash_match;
    *any = *any && r->seen[r->leader].config;
    for (size_t i = 0; *any && i < s->count; i++)
        if (r->seen[i].active && !r->seen[i].answers && owned_listen(r, i, err) < 0) {
            err->result = err->result == RESULT_STOPPED ? RESULT_REFUSED : err->result;
            return -1;
        }
    return *any && (owned_check_none_lost(r, err) < 0 || owned_check_keys_agree(r, err) < 0) ? -1
                                                                                             : 0;
}

static int restart_those_that_differ(struct owned_run *r, struct error *err)
{
    struct session *s = r->s;
    bool any = false;
    if (check_restarts(r, &any, err) < 0)
        return not_done(r, err);
    if (!any)
        return nothing(r);
    if (owned_check_may(r, false, false, err) < 0 || take_lock(r, err) < 0)
        return not_done(r, err);
    /* With the lock, once more. */
    if (owned_look(r, err) < 0 || check_restarts(r, &any, err) < 0 || !any) {
        if (s->lease_held)
            give_lease_back(s);
        return any ? not_done(r, err) : nothing(r);
    }
    mem_free(r->again);
    r->again = run_command_line("restart", s->options);
    owned_keep_keys(r);
    int rc = owned_record(r, err);
    for (size_t i = 0; rc == 0 && i < s->count; i++)
        rc = owned_restart(r, i, err);
    if (s->lease_held)
        give_lease_back(s);
    return rc;
}

static int nothing_open(struct owned_run *r, enum owned_command command, struct error *err)
{
    bool adopted = false;
    const char *why = NULL;
    switch (command) {
    case OWNED_UP:
    case OWNED_ROTATION:
    case OWNED_PREPARE:
        if (decide(r, command, &why, err) < 0)
            return not_done(r, err);
        return why ? open_and_carry_out(r, why, command == OWNED_PREPARE, err) : nothing(r);
    case OWNED_ABORT:
        return owned_check_at_rest(r, err) < 0 ? not_done(r, err) : nothing(r);
    case OWNED_RESUME:
    case OWNED_ROTATE:
    case OWNED_REENCRYPT:
    case OWNED_RESTARTS:
        if (adopt(r, &adopted, err) < 0)
            return not_done(r, err);
        if (adopted)
            return go_on(r, command, err);
        if (command == OWNED_RESTARTS)
            return restart_those_that_differ(r, err);
        if (command != OWNED_RESUME)
            return owned_refuse_stage(r, r->leader, "prepare", err);
        return owned_check_at_rest(r, err) < 0 ? not_done(r, err) : nothing(r);
    }
    return 0;
}

int owned_command(struct session *s, enum owned_command command, struct encrypt_report *report,
                  struct error *err)
{
    struct owned_run r CLEANUP(owned_run_free) = {
        .s = s,
        .kind = session_driver(s)->owned,
        .report = report,
        .upto = command == OWNED_PREPARE    ? STAGE_COMMAND_PREPARE
                : command == OWNED_ROTATE   ? STAGE_COMMAND_ROTATE
                : command == OWNED_RESTARTS ? STAGE_COMMAND_RESTART
                                            : STAGE_COMMAND_NONE,
        .again = run_command_line("resume", s->options),
    };
    if (s->journal->transition)
        return error_set(err, RESULT_REFUSED,
                         "%s: a transition of another kind of cluster is open in it",
                         s->state_path);
    if (owned_look(&r, err) < 0) {
        if (!s->journal->owned)
            return not_done(&r, err);
        error_state(err, "as the last run left it: %s is open", s->journal->owned->why);
        error_next(err, "%s", r.again);
        return -1;
    }
    if (!s->journal->owned)
        return nothing_open(&r, command, err);
    if ((command == OWNED_ABORT ? give_up(&r, err) : go_on(&r, command, err)) == 0)
        return 0;
    if (s->journal->owned)
        error_state(err, "as the last run left it: %s is open", s->journal->owned->why);
    return -1;
}
