/* `plan` and `doctor` for servers that own their configuration. Nothing is changed. */
#include "provisioner/doctor.h"
#include "provisioner/owned/owned.h"
#include "provisioner/plan.h"
#include "provisioner/store.h"

#include <string.h>

/* --- plan --- */

static struct encrypt_plan_step *add(struct encrypt_plan *p, const char *what, char *text)
{
    MEM_GROW(p->steps, p->step_count);
    struct encrypt_plan_step *s = &p->steps[p->step_count++];
    *s = (struct encrypt_plan_step){
        .what = what, .nodes = mem_alloc(1, sizeof(char *)), .text = text};
    return s;
}

static void add_node(struct encrypt_plan_step *s, const char *name)
{
    MEM_GROW(s->nodes, s->node_count + 1);
    s->nodes[s->node_count++] = mem_strdup(name);
    s->nodes[s->node_count] = NULL;
}

static bool has_etcd(const struct owned_run *r)
{
    struct error ignored CLEANUP(error_clear) = {0};
    bool has = false;
    return owned_find_etcd(r, &has, &ignored) < 0 || has;
}

static void tell_step(struct owned_run *r, struct encrypt_plan *p, struct owned_step step)
{
    const char *node = r->s->members[step.server].node.name;
    struct encrypt_plan_step *last = p->step_count ? &p->steps[p->step_count - 1] : NULL;
    switch (step.act) {
    case OWNED_START:
    case OWNED_RESTART:
        p->restarts++;
        if (!last || !str_eq(last->what, "restart"))
            last = add(p, "restart",
                       mem_printf("restart %s, one after the other, each shown to run its file "
                                  "before the next",
                                  r->kind->unit));
        add_node(last, node);
        return;
    case OWNED_COMMAND:
        add_node(add(p, step.command,
                     mem_printf("%s secrets-encrypt %s", r->kind->program, step.command)),
                 node);
        return;
    case OWNED_LISTEN:
        add_node(add(p, "wait",
                     mem_strdup("wait until the server tells its state; it is not restarted")),
                 node);
        return;
    case OWNED_WAIT:
        add_node(add(p, "wait", mem_strdup("wait until the server has finished")), node);
        return;
    case OWNED_PROVE:
        (void)add(p, "rewrite", mem_strdup("rewrite what is stored, by empty patches"));
        (void)add(
            p, "prove",
            mem_strdup(has_etcd(r)
                           ? "count in etcd: all is in the new form, nothing needs the old key"
                           : "patch everything a second time, through the API: nothing changes by "
                             "that, so nothing needs the old key"));
        return;
    case OWNED_COUNT:
        (void)add(p, "prove",
                  mem_strdup(has_etcd(r) ? "count in etcd once more: nothing lies under the key "
                                           "that was dropped"
                                         : "the same once more: nothing lies under the key that "
                                           "was dropped"));
        return;
    case OWNED_DONE:
        (void)add(p, "close",
                  mem_strdup("the state file says what runs, the lock in the cluster "
                             "is given back"));
        return;
    case OWNED_REFUSE:
        plan_note(p, "it would stop at node %s: %s", node, step.why);
        return;
    }
}

static enum stage stage_at(enum owned_file f)
{
    return f == OWNED_FILE_PREPARED  ? STAGE_PREPARE
           : f == OWNED_FILE_ROTATED ? STAGE_ROTATE
           : f == OWNED_FILE_TO      ? STAGE_REENCRYPT_FINISHED
                                     : STAGE_START;
}

/* As if it had been done. */
static void pretend(struct owned_server *servers, size_t count, struct owned_step step,
                    struct owned_facts *facts)
{
    struct owned_server *s = &servers[step.server];
    size_t leader = owned_leader(servers, count);
    if (step.act == OWNED_LISTEN) {
        s->up = true;
    } else if (step.act == OWNED_START || step.act == OWNED_RESTART) {
        s->active = true;
        s->up = s->same = s->shown = true;
        s->file = servers[leader].file;
        s->stage = stage_at(s->file);
    } else if (step.act == OWNED_PROVE) {
        facts->proved = true;
    } else if (step.act == OWNED_COUNT) {
        facts->gone = true;
    } else if (step.act == OWNED_COMMAND || step.act == OWNED_WAIT) {
        bool stages = facts->change == OWNED_ROTATE_KEY && facts->way == OWNED_IN_STAGES;
        s->file = stages && s->file < OWNED_FILE_ROTATED ? s->file + 1 : OWNED_FILE_TO;
        s->stage = stage_at(s->file);
        for (size_t i = 0; i < count; i++) {
            servers[i].same = i == step.server;
            servers[i].shown = servers[i].shown && i != step.server;
        }
    }
    for (size_t i = 0; i < count; i++)
        servers[i].hash_match = true;
}

int owned_tell_plan(struct session *s, enum encrypt_plan_of what, struct encrypt_plan *p,
                    struct error *err)
{
    enum { MOST_STEPS = 8 * PLAN_MAX_NODES };
    struct owned_run r CLEANUP(owned_run_free) = {.s = s, .kind = session_driver(s)->owned};
    const struct owned_record *o = s->journal->owned;
    const char *why = NULL;
    struct owned_facts facts = {0};
    p->nodes = s->count;
    if (owned_look_only(&r, err) < 0)
        return -1;
    if (o) {
        facts = owned_facts_of(o);
        why = o->why;
        p->open = true;
        p->opened = mem_strdup(o->opened);
        p->by = mem_strdup(o->by);
        p->no_way_back = mem_printf("%s has no command for that", r.kind->program);
    } else if (owned_decide(&r, what == ENCRYPT_PLAN_UP ? OWNED_UP : OWNED_ROTATION, &why, &facts,
                            err) < 0) {
        return -1;
    }
    p->nothing_to_do = !why;
    if (!why)
        return 0;
    p->why = mem_strdup(why);
    for (int i = 0; i < MOST_STEPS; i++) {
        struct owned_step step = owned_plan(r.servers, s->count, facts);
        tell_step(&r, p, step);
        if (step.act == OWNED_DONE || step.act == OWNED_REFUSE)
            break;
        pretend(r.servers, s->count, step, &facts);
    }
    /* (Where nothing tells, it is taken for one.) */
    struct error ignored CLEANUP(error_clear) = {0};
    bool etcd = true;
    if (owned_find_etcd(&r, &etcd, &ignored) < 0)
        etcd = true;
    if (!o)
        plan_note(p, etcd ? "a snapshot of etcd comes first, where it is asked for (--snapshot)"
                          : "no snapshot can be had of this datastore (no embedded etcd): save it "
                            "first, and say --no-snapshot");
    return 0;
}

/* --- doctor --- */

static void diagnose(struct doctor *d, const struct owned_run *r, size_t i)
{
    const struct owned_seen *seen = &r->seen[i];
    const char *unit = r->kind->unit;
    char *about CLEANUP(cleanup_mem) = mem_printf("node %s", r->s->members[i].node.name);
    if (!seen->active) {
        struct encrypt_finding *f = wrong(d, about, "%s is %s", unit, seen->unit);
        mend(f, "journalctl -u %s -n 100 --no-pager\nsystemctl restart %s", unit, unit);
    } else if (!seen->answers) {
        struct encrypt_finding *f =
            wrong(d, about, "its server does not tell its state: %s", seen->silence);
        if (seen->remedy)
            mend(f, "%s", seen->remedy);
        mend(f, "journalctl -u %s -n 100 --no-pager", unit);
    } else if (!seen->status.configured) {
        saw(d, about, "its server was started without encryption");
    } else {
        saw(d, about, "%s, stage %s, %s", seen->status.enabled ? "Enabled" : "Disabled",
            stage_name(seen->status.stage),
            seen->status.hash_match   ? "all hashes match"
            : seen->status.hash_error ? seen->status.hash_error
                                      : "the hashes don't match");
    }
    if (owned_restart_may_lose(seen, r->s->journal ? r->s->journal->owned : NULL))
        wrong(d, about, OWNED_MAY_LOSE, unit);
}

static void diagnose_all(struct doctor *d, const struct owned_run *r)
{
    const struct owned_record *o = r->s->journal ? r->s->journal->owned : NULL;
    struct encryption_config *from CLEANUP(cleanup_encryption_config) = owned_half_way(r);
    char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
    char *restart CLEANUP(cleanup_mem) = doctor_command(d, "restart");
    bool match = true;
    for (size_t i = 0; i < r->s->count; i++) {
        const struct owned_status *s = &r->seen[i].status;
        match = match && (!r->seen[i].answers || !s->configured || s->hash_match);
    }
    if (o)
        mend(wrong(d, "servers", "%s is open, of %s by %s", o->why, o->opened, o->by), "%s",
             resume);
    else if (from)
        mend(wrong(d, "servers", "a rotation that was begun by hand is half-way"), "%s", resume);
    else if (!match)
        mend(wrong(d, "servers", "their hashes don't match"), "%s", restart);
}

static int refuse_to_write(const struct doctor *d, const struct owned_run *r, struct error *err)
{
    char *rotate CLEANUP(cleanup_mem) = doctor_command(d, "rotate-key");
    if (d->asked->write_union) {
        error_set(err, RESULT_REFUSED,
                  "%s owns its configuration: there is nothing to be put on a node",
                  r->kind->program);
        error_next(err, "the commands that stand with what was found");
        return -1;
    }
    if (!d->asked->write_state)
        return 0;
    if (!d->state_missing)
        return error_set(err, RESULT_REFUSED, "%s is there: nothing is written over it",
                         d->s->state_path);
    error_set(err, RESULT_REFUSED,
              "%s: what it had (the history of keys, an open change) is not on the servers, so it "
              "can't be rebuilt; the keys that they have now enter it with the first change",
              d->s->state_path);
    error_next(err,
               "put the last copy of it there (0600), where there is one; else: %s, which makes it",
               rotate);
    return -1;
}

int owned_tell_doctor(struct doctor *d, struct error *err)
{
    struct session *s = d->s;
    struct owned_run r CLEANUP(owned_run_free) = {.s = s, .kind = session_driver(s)->owned};
    for (size_t i = 0; i < s->absent_count; i++) {
        char *about CLEANUP(cleanup_mem) = mem_printf("node %s", s->absent[i].conf->ssh.address);
        wrong(d, about, "%s", s->absent[i].why.message);
    }
    /* One that can't be asked hides nothing of the others. */
    for (size_t i = 0; i < s->count; i++) {
        struct error why CLEANUP(error_clear) = {0};
        if (owned_ask(r.kind, &s->members[i], &r.seen[i], &why) < 0) {
            if (why.result == RESULT_INTERRUPTED)
                return error_move(err, &why);
            char *about CLEANUP(cleanup_mem) = mem_printf("node %s", s->members[i].node.name);
            struct encrypt_finding *f = wrong(d, about, "%s", why.message);
            if (why.next)
                mend(f, "%s", why.next);
            r.seen[i].unit = mem_strdup("not to be asked");
            continue;
        }
        store_know_keys(s, r.seen[i].config);
    }
    owned_judge(&r);
    for (size_t i = 0; i < s->count; i++)
        if (!str_eq(r.seen[i].unit, "not to be asked"))
            diagnose(d, &r, i);
    diagnose_all(d, &r);
    return refuse_to_write(d, &r, err);
}
