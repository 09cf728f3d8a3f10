/* `status` of servers that own their configuration: their own words, side by side. */
#include "provisioner/owned/owned.h"
#include "provisioner/store.h"

#include <string.h>

static void tell_open(struct status *d, const struct owned_record *o, enum owned_file at,
                      size_t have)
{
    if (!o)
        return;
    char *far CLEANUP(cleanup_mem) = owned_how_far(o, at, have, d->s->count);
    d->out->transition = mem_alloc(1, sizeof(*d->out->transition));
    *d->out->transition = (struct encrypt_status_transition){
        .why = mem_strdup(o->why),
        .opened = mem_strdup(o->opened),
        .by = mem_strdup(o->by),
        .state = mem_printf("%s%s", far,
                            o->stuck    ? ", and their reencrypt stopped half-way"
                            : o->proved ? ", everything is rewritten and proved"
                                        : ""),
        .staged = o->staged,
    };
    if (!d->out->at_work)
        d->out->next = mem_printf("encrypt resume --config %s", d->o->config);
}

static void tell_server(struct status *d, size_t i, const struct owned_seen *seen)
{
    const char *name = d->s->members[i].node.name;
    struct encrypt_status_node *n = NULL;
    for (size_t k = 0; k < d->out->node_count; k++)
        if (str_eq(d->out->nodes[k].address, name))
            n = &d->out->nodes[k];
    if (!n)
        return;
    mem_free(n->stage);
    n->stage = seen->answers ? mem_strdup(stage_name(seen->status.stage)) : NULL;
    if (!seen->active)
        status_problem(d, "node %s: %s is %s", name, session_driver(d->s)->owned->unit, seen->unit);
    else if (!seen->answers)
        status_problem(d, "node %s: its server does not tell its state: %s", name, seen->silence);
    else if (!seen->status.configured)
        status_note(d, "node %s: its server was started without encryption", name);
    else if (!seen->status.hash_match && !d->out->hash_error)
        d->out->hash_error = seen->status.hash_error
                                 ? mem_strdup(seen->status.hash_error)
                                 : mem_strdup("the servers' hashes don't match");
    if (owned_restart_may_lose(seen, d->s->journal ? d->s->journal->owned : NULL))
        status_note(d, "node %s: " OWNED_MAY_LOSE, name, session_driver(d->s)->owned->unit);
}

int owned_tell_status(struct status *d, struct error *err)
{
    struct session *s = d->s;
    struct owned_run r CLEANUP(owned_run_free) = {.s = s, .kind = session_driver(s)->owned};
    const struct owned_record *o = s->journal ? s->journal->owned : NULL;
    struct error why CLEANUP(error_clear) = {0};
    size_t first = s->count;
    enum owned_file at = OWNED_FILE_FROM;
    mem_free(STEAL(d->out->hash_error));
    d->out->hash_assumed = false;
    for (size_t i = 0; i < s->count; i++) {
        if (owned_ask(r.kind, &s->members[i], &r.seen[i], &why) < 0) {
            if (why.result == RESULT_INTERRUPTED)
                return error_move(err, &why);
            status_problem(d, "%s%s%s", why.message, why.next ? ": " : "",
                           why.next ? why.next : "");
            error_clear(&why);
            continue;
        }
        store_know_keys(s, r.seen[i].config);
        tell_server(d, i, &r.seen[i]);
        enum owned_file f = o ? owned_file_of(r.seen[i].config, o) : OWNED_FILE_FROM;
        if (r.seen[i].answers && (first == s->count || (f != OWNED_FILE_OTHER && f > at))) {
            first = i;
            at = f;
        }
    }
    if (first < s->count) {
        d->stage = r.seen[first].status.stage;
        d->out->stage = stage_name(d->stage);
        d->out->enabled = r.seen[first].status.enabled;
    }
    d->out->hash_match = first < s->count && !d->out->hash_error;
    if (first == s->count)
        d->out->hash_error = mem_strdup("no server tells");
    size_t have = 0;
    for (size_t i = 0; i < s->count; i++)
        have += o && owned_file_of(r.seen[i].config, o) == at;
    tell_open(d, o, at, have);
    return 0;
}
