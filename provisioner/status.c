/* How it stands: put together from what can be looked at, whatever is missing. Changes nothing. */
#include "provisioner/status.h"
#include "provisioner/engine.h"

#include "provisioner/credentials.h"
#include "provisioner/doctor.h"
#include "provisioner/kube/lease.h"
#include "provisioner/owned/owned.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

void status_problem(struct status *d, const char *fmt, ...)
{
    va_list ap;
    MEM_GROW(d->out->problems, d->out->problem_count);
    va_start(ap, fmt);
    d->out->problems[d->out->problem_count++] = mem_vprintf(fmt, ap);
    va_end(ap);
}

void status_note(struct status *d, const char *fmt, ...)
{
    va_list ap;
    MEM_GROW(d->out->notes, d->out->note_count);
    va_start(ap, fmt);
    d->out->notes[d->out->note_count++] = mem_vprintf(fmt, ap);
    va_end(ap);
}

static void free_lines(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(list[i]);
    mem_free(list);
}

void encrypt_status_free(struct encrypt_status *s)
{
    for (size_t i = 0; i < s->key_count; i++) {
        struct encrypt_status_key *k = &s->keys[i];
        mem_free(k->type);
        mem_free(k->name);
        mem_free(k->fingerprint);
        mem_free(k->created);
        mem_free(k->activated);
        mem_free(k->retired);
    }
    for (size_t i = 0; s->nodes && i < s->node_count; i++) {
        struct encrypt_status_node *n = &s->nodes[i];
        mem_free(n->address);
        mem_free(n->name);
        mem_free(n->unseen);
        mem_free(n->stage);
        mem_free(n->path);
        mem_free(n->file_sha256);
        mem_free(n->file);
        mem_free(n->runs_sha256);
        mem_free(n->runs);
        mem_free(n->since);
        mem_free(n->reason);
    }
    if (s->transition) {
        mem_free(s->transition->why);
        mem_free(s->transition->opened);
        mem_free(s->transition->by);
        mem_free(s->transition->state);
        mem_free(s->transition);
    }
    mem_free(s->keys);
    mem_free(s->nodes);
    mem_free(s->hash_error);
    mem_free(s->at_work);
    mem_free(s->uncounted);
    mem_free(s->next);
    free_lines(s->problems, s->problem_count);
    free_lines(s->notes, s->note_count);
    *s = (struct encrypt_status){0};
}

static void status_free(struct status *d)
{
    for (size_t i = 0; d->nodes && i < d->s->count; i++) {
        encryption_config_free(d->nodes[i].file);
        mem_free(d->nodes[i].file_trouble);
        mem_free(d->nodes[i].why);
    }
    mem_free(d->nodes);
    encryption_config_free(d->recorded);
    mem_free(d->no_credentials);
    run_free(&d->run);
    session_close(d->s);
}

/* --- this machine --- */

static void read_recorded(struct status *d)
{
    struct error ignored CLEANUP(error_clear) = {0};
    const char *text = d->s->state ? rkestate_encryption_config(d->s->state) : "";
    d->recorded_known =
        d->s->state && encryption_config_read(text, strlen(text), d->s->state_path,
                                              ENCRYPTION_LENIENT, &d->recorded, &ignored) == 0;
    if (d->s->state && !d->recorded_known)
        status_problem(d, "the state file's encryptionConfig can't be read: %s", ignored.message);
}

static void read_files(struct status *d)
{
    struct session *s = d->s;
    struct stat st;
    struct error why CLEANUP(error_clear) = {0};
    d->state_missing = lstat(s->state_path, &st) != 0 && errno == ENOENT;
    if (!d->state_missing && rkestate_read(s->state_path, &s->state, &why) < 0)
        status_problem(d, "the state file can't be read: %s", why.message);
    error_clear(&why);
    if (journal_read(s->state, s->state_path, &s->journal, &why) < 0)
        status_problem(d, "the journal can't be read: %s", why.message);
    error_clear(&why);
    if (credentials_find(d->o, s->state, &s->admin, &why) < 0)
        d->no_credentials = STEAL(why.message);
    read_recorded(d);
}

/* --- who is at work --- */

static void look_at_own_lock(struct status *d)
{
    struct error why CLEANUP(error_clear) = {0};
    char *holder CLEANUP(cleanup_mem) = NULL;
    if (state_lock_look(d->s->state_path, &holder, &why) < 0)
        status_note(d, "%s", why.message);
    else if (holder)
        d->out->at_work = mem_strdup(*holder ? holder : "a process on this machine");
}

/* A run that began (or went on) lately, by this machine's clock; how long one takes isn't known. */
static bool is_fresh(const char *renewed)
{
    enum { FRESH_S = 3600 };
    struct tm tm = {0};
    if (!renewed || !strptime(renewed, "%Y-%m-%dT%H:%M:%S", &tm))
        return false;
    double age = difftime(time(NULL), timegm(&tm));
    return age < FRESH_S && age > -FRESH_S;
}

static int look_at_lease(struct status *d, struct error *err)
{
    struct lease_seen seen CLEANUP(lease_seen_free) = {0};
    struct error why CLEANUP(error_clear) = {0};
    if (!d->api)
        return 0;
    if (lease_look(d->api, &seen, &why) < 0) {
        if (why.result == RESULT_INTERRUPTED)
            return error_move(err, &why);
        status_note(d, "%s", why.message);
        return 0;
    }
    if (!seen.owner || str_eq(seen.owner, d->s->lease_owner))
        return 0;
    const char *who = seen.who ? seen.who : "somebody";
    status_note(d,
                "the lock in the cluster (Lease kube-system/encrypt) is held by %s since %s, not "
                "by this state file: how far that change is, only theirs knows",
                who, seen.since ? seen.since : "an unknown time");
    if (!d->out->at_work && is_fresh(seen.renewed))
        d->out->at_work = mem_printf("%s, by the lock in the cluster", who);
    return 0;
}

/* --- the whole --- */

static void tell_transition(struct status *d)
{
    const struct transition *t = d->s->journal ? d->s->journal->transition : NULL;
    if (!t)
        return;
    d->out->transition = mem_alloc(1, sizeof(*d->out->transition));
    *d->out->transition = (struct encrypt_status_transition){
        .why = mem_strdup(t->why),
        .opened = mem_strdup(t->opened),
        .by = mem_strdup(t->by),
        .state = mem_strdup(transition_how_far(t)),
        .aborting = t->aborting,
        .initial = t->initial,
        .staged = t->staged,
    };
}

static void tell_stage(struct status *d)
{
    const struct session *s = d->s;
    const struct transition *t = s->journal ? s->journal->transition : NULL;
    bool at_work = d->out->at_work != NULL;
    if (t)
        d->at =
            status_at(t, d->observed ? &d->run.forms : NULL, d->run.nodes, s->count, d->run.facts);
    d->stage = status_stage(s->journal, &d->at, at_work);
    d->out->stage = stage_name(d->stage);
    const char *next = status_next(t, &d->at, at_work);
    d->out->next = next ? command_as_called(d->o, next) : NULL;
    if (!d->at.refused)
        return;
    struct plan_step step = plan_next(&d->run.forms, d->run.nodes, s->count, d->run.facts);
    for (size_t i = 0; step.kind == PLAN_REFUSE && i < s->count; i++)
        if (step.nodes >> i & 1)
            status_problem(d, "node %s: %s", s->members[i].node.name, step.why);
}

static void tell_enabled(struct status *d)
{
    char *prefix CLEANUP(cleanup_mem) = encryption_write_prefix(status_reference(d), "secrets");
    d->out->enabled = prefix && *prefix;
}

static int look(struct status *d, struct error *err)
{
    struct session *s = d->s;
    read_files(d);
    look_at_own_lock(d);
    tell(s, ENCRYPT_DEBUG, "look", NULL, "at the control-plane nodes");
    if (session_look_at_nodes(s, err) < 0)
        return -1;
    if (s->admin.ca) /* those of a node */
        mem_free(STEAL(d->no_credentials));
    if (s->count > PLAN_MAX_NODES)
        return error_set(err, RESULT_REFUSED, "%s: %zu control-plane nodes; at most %d are managed",
                         d->o->config, s->count, (int)PLAN_MAX_NODES);
    d->nodes = mem_alloc(s->count, sizeof(*d->nodes));
    tell_transition(d);
    if (status_nodes(d, err) < 0 || look_at_lease(d, err) < 0)
        return -1;
    tell_stage(d);
    tell_enabled(d);
    status_tell_nodes(d);
    if (session_driver(s)->owned)
        return owned_tell_status(d, err) < 0 ? -1 : status_keys(d, err);
    status_hashes(d);
    return status_keys(d, err) < 0 ? -1 : status_state(d, err);
}

int engine_status(const struct encrypt_options *o, struct encrypt_status *out, struct error *err)
{
    struct status d CLEANUP(status_free) = {.o = o, .out = out};
    *out = (struct encrypt_status){.stage = stage_name(STAGE_START)};
    if (session_look(o, &d.s, err) == 0)
        return look(&d, err);
    if (err->result == RESULT_FAILED)
        err->result = RESULT_REFUSED;
    return -1;
}
