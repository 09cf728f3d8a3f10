#include "provisioner/objects.h"
#include "provisioner/run.h"
#include "provisioner/store.h"
#include "state/timestamp.h"

#include <string.h>

/*
 * How long after its sender is gone a write may still arrive in etcd. etcd ends a request of its
 * own after 5 s and two election timeouts (server/config: ReqTimeout): 15 s with RKE's election
 * timeout of 5 s, 7 s with etcd's own default. The sender, kube-apiserver, has ended before its
 * successor was shown.
 */
enum { IN_FLIGHT_MS = 16000, ROUNDS = 3 };

int run_check_identities(struct run *r, struct error *err)
{
    struct session *s = r->s;
    form_set right = plan_writes_to(r->facts.back);
    if (run_observe(r, err) < 0)
        return -1;
    for (size_t i = 0; i < s->count; i++) {
        if (!(r->nodes[i].runs & right) || !(r->nodes[i].file & right))
            return error_set(err, RESULT_STOPPED,
                             "node %s: its kube-apiserver is not the one that was shown to write "
                             "the new form",
                             s->members[i].node.name);
    }
    return 0;
}

struct judge {
    const char *want; /* the write prefix of the resource */
};

static bool has_new_form(void *ctx, const struct resource *r, const unsigned char *value,
                         size_t len)
{
    (void)r;
    const struct judge *j = ctx;
    char *prefix CLEANUP(cleanup_mem) = encryption_stored_prefix(value, len);
    return prefix && str_eq(prefix, j->want);
}

int proof_census(struct session *s, const struct resource *res, census_fn *want, void *ctx,
                 int64_t *revision, struct census *out, struct error *err)
{
    const struct http_server *api = NULL;
    size_t listed = 0;
    if (session_check_stop(s, err) < 0 || session_ready_api(s, &api, err) < 0)
        return -1;
    if (kube_count(api, res, &listed, revision, err) < 0)
        return objects_explain_list(s, res, err);
    if (census_resource(s, res, *revision, want, ctx, out, err) < 0)
        return -1;
    if (out->values == listed)
        return 0;
    return error_set(err, RESULT_STOPPED,
                     "the API lists %zu %s and etcd holds %zu under %s/%s/ at the same "
                     "revision (%lld): this is not where they are stored",
                     listed, res->name, out->values, s->etcd_prefix, res->etcd_dir,
                     (long long)*revision);
}

/* All of it in the new form. */
static int prove_resource(struct run *r, const struct resource *res, int64_t *revision,
                          struct error *err)
{
    struct session *s = r->s;
    char *want CLEANUP(cleanup_mem) = encryption_write_prefix(r->forms.config[FORM_TO], res->name);
    struct judge j = {.want = want};
    for (int round = 0; round < ROUNDS; round++) {
        struct census c CLEANUP(census_free) = {0};
        if (proof_census(s, res, has_new_form, &j, revision, &c, err) < 0)
            return -1;
        char *text CLEANUP(cleanup_mem) = census_text(&c);
        tell(s, ENCRYPT_NODE, "prove", NULL, "%s at revision %lld: %s", res->name,
             (long long)*revision, text);
        r->report->proof_values += (int64_t)c.values;
        if (c.refused == 0)
            return 0;
        r->report->proof_values -= (int64_t)c.values;
        if (round + 1 == ROUNDS)
            return error_set(err, RESULT_STOPPED,
                             "%zu %s are still not in the new form after %d rounds of rewriting "
                             "(%s), the first is %s: the old key stays",
                             c.refused, res->name, (int)ROUNDS, text, c.examples[0]);
        if (run_rewrite_named(r, res, c.examples, err) < 0)
            return -1;
    }
    return error_set(err, RESULT_STOPPED, "no proof for %s", res->name);
}

static int prove_store(struct run *r, char **leaving, int64_t *revision, struct error *err)
{
    struct session *s = r->s;
    struct census c CLEANUP(census_free) = {0};
    if (census_under(s, leaving, 0, &c, err) < 0)
        return -1;
    if (c.refused)
        return error_set(err, RESULT_STOPPED,
                         "%zu values of the store lie under a key that was to go; the first is %s: "
                         "the key stays. Name its resource in the configuration, or delete it",
                         c.refused, c.examples[0]);
    tell(s, ENCRYPT_NODE, "prove", NULL,
         "whole store at revision %lld: %zu values, none under a key that goes",
         (long long)c.revision, c.values);
    if (*revision == 0)
        *revision = c.revision;
    return 0;
}

static int wait_for_writes_in_flight(struct run *r, struct error *err)
{
    int64_t request = reload_longest_request_ms(r->s);
    int64_t until = r->switched_at + IN_FLIGHT_MS + request;
    int64_t left = until - loop_now();
    if (left <= 0)
        return 0;
    tell(r->s, ENCRYPT_NODE, "prove", NULL,
         "%.0f s until writes of %s can no longer arrive in etcd", (double)left / 1000,
         request ? "before the file was taken up" : "the replaced apiservers");
    while (loop_now() < until) {
        if (session_check_stop(r->s, err) < 0 || loop_pause(r->s->loop, 100, err) < 0)
            return -1;
    }
    return 0;
}

/* A custom resource may have stopped being served since the check. */
static int check_unchangeable(struct run *r, const struct resources *all, struct error *err)
{
    if (store_check_unchangeable(r->s, all, r->forms.config[FORM_FROM], r->forms.config[FORM_TO],
                                 err) == 0)
        return 0;
    err->result = RESULT_STOPPED;
    return -1;
}

static int prove_resources(struct run *r, int64_t *revision, struct error *err)
{
    const struct resources *all = NULL;
    if (run_resources(r, &all, err) < 0 || check_unchangeable(r, all, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++) {
        const struct resource *res = &all->list[i];
        if (run_changes(r, res) && prove_resource(r, res, revision, err) < 0)
            return -1;
    }
    return 0;
}

static int record_proof(struct run *r, int64_t revision, struct error *err)
{
    struct transition *t = r->s->journal->transition;
    r->facts.proved = true;
    r->report->proof_revision = revision;
    t->proved = true;
    t->proof_revision = revision;
    t->proof_values = r->report->proof_values;
    mem_free(t->proved_at);
    t->proved_at = timestamp_now();
    return run_record(r, err);
}

/* How many values of the resource this form can't read; *first: of them, where it is NULL so far.
 */
static int count_unreadable(struct run *r, const struct resource *res, enum form f,
                            int64_t *revision, size_t *refused, char **first, struct error *err)
{
    struct session *s = r->s;
    struct census c CLEANUP(census_free) = {0};
    if (census_unreadable(s, res, r->forms.config[f], *revision, &c, err) < 0)
        return -1;
    *revision = c.revision;
    *refused += c.refused;
    if (c.refused && first && !*first)
        *first = mem_printf("%s %s", res->name, c.examples[0]);
    if (f != FORM_TO)
        return 0;
    char *text CLEANUP(cleanup_mem) = census_text(&c);
    tell(s, ENCRYPT_NODE, "prove", NULL, "%s at revision %lld: %s", res->name,
         (long long)c.revision, text);
    r->report->proof_values += (int64_t)c.values;
    return 0;
}

/*
 * Going back where nothing was ever meant to write with what is given up: nothing is rewritten, so
 * values keep whatever form they had; the configuration before must read them all. One that it
 * can't read shows that something did write: the journal is then told so, and the planner goes the
 * long way.
 */
static int prove_untouched(struct run *r, char **leaving, struct error *err)
{
    struct session *s = r->s;
    struct transition *t = s->journal->transition;
    const struct resources *all = NULL;
    int64_t revision = 0;
    size_t refused = 0, lost = 0; /* lost: by the other form too */
    char *first CLEANUP(cleanup_mem) = NULL;
    if (run_resources(r, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++) {
        size_t before = refused;
        if (count_unreadable(r, &all->list[i], FORM_TO, &revision, &refused, &first, err) < 0)
            return -1;
        if (refused > before &&
            count_unreadable(r, &all->list[i], FORM_FROM, &revision, &lost, NULL, err) < 0)
            return -1;
    }
    struct census store CLEANUP(census_free) = {0};
    if (leaving[0] && census_under(s, leaving, revision, &store, err) < 0)
        return -1;
    if (revision == 0 && all->count == 0 && census_under(s, leaving, 0, &store, err) < 0)
        return -1;
    if (refused + store.refused == 0)
        return run_check_identities(r, err) < 0
                   ? -1
                   : record_proof(r, revision ? revision : store.revision, err);
    if (store.refused == 0 && lost == refused)
        return error_set(
            err, RESULT_STOPPED,
            "%zu values can be read neither with the configuration before nor lie under "
            "what is given up, the first is %s: encrypt doctor tells of them",
            refused, first);
    tell(s, ENCRYPT_WARNING, "prove", NULL,
         "%zu values lie under what is to be given up: they are rewritten first",
         store.refused > refused ? store.refused : refused);
    r->facts.switched = t->switched = true;
    return run_record(r, err);
}

static int holds_by_resource(struct run *r, bool *holds, struct error *err)
{
    const struct resources *all = NULL;
    size_t refused = 0;
    if (run_resources(r, &all, err) < 0 || check_unchangeable(r, all, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count && *holds; i++) {
        struct census c CLEANUP(census_free) = {0};
        if (!run_changes(r, &all->list[i]))
            continue;
        if (census_unreadable(r->s, &all->list[i], r->forms.config[FORM_TO], 0, &c, err) < 0)
            return -1;
        refused += c.refused;
        *holds = refused == 0;
    }
    return 0;
}

int run_proof_holds(struct run *r, bool *holds, struct error *err)
{
    struct session *s = r->s;
    struct error e CLEANUP(error_clear) = {0};
    struct census c CLEANUP(census_free) = {0};
    char **leaving = store_leaving(r->forms.config[FORM_FROM], r->forms.config[FORM_TO]);
    int rc = 0;
    *holds = true;
    if (leaving[0]) {
        rc = census_under(s, leaving, 0, &c, err);
        *holds = c.refused == 0;
    }
    bool tells = leaving[0] != NULL;
    encryption_resources_free(leaving);
    if (rc < 0 || !*holds || holds_by_resource(r, holds, &e) == 0)
        return rc;
    struct error why CLEANUP(error_clear) = {0};
    const struct http_server *api = NULL;
    if (!tells || e.result != RESULT_FAILED || session_ready_api(s, &api, &why) == 0)
        return error_move(err, &e);
    /* What a wildcard stands for is told by an apiserver alone, and going on may be what brings one
     * up: what goes altogether was looked for above. */
    tell(s, ENCRYPT_WARNING, "prove", NULL, "%s; nothing in etcd lies under a key that goes",
         e.message);
    return 0;
}

int run_switch_reads_all(struct run *r, struct error *err)
{
    struct session *s = r->s;
    const struct resources *all = NULL;
    if (run_resources(r, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++) {
        struct census c CLEANUP(census_free) = {0};
        if (census_unreadable(s, &all->list[i], r->forms.config[FORM_SWITCH], 0, &c, err) < 0)
            return -1;
        char *text CLEANUP(cleanup_mem) = census_text(&c);
        if (c.refused)
            return error_set(
                err, RESULT_REFUSED,
                "etcd was restored from a backup that is older than the last change: "
                "%zu of %zu %s (%s) can be read with neither key of this one, the first "
                "is %s. No node was touched: restore a backup that was made since (the "
                "key history in the state file has the keys of all)",
                c.refused, c.values, all->list[i].name, text, c.examples[0]);
    }
    return 0;
}

int run_prove(struct run *r, struct error *err)
{
    struct session *s = r->s;
    int64_t revision = 0;
    r->report->proof_values = 0;
    store_forget_resources(s);
    tell(s, ENCRYPT_STEP, "prove", NULL,
         "what etcd holds is counted: nothing may need what is to go");
    char **leaving = store_leaving(r->forms.config[FORM_FROM], r->forms.config[FORM_TO]);
    int rc = -1;
    if (r->facts.back && !r->facts.switched) {
        rc = run_check_identities(r, err) < 0 ? -1 : prove_untouched(r, leaving, err);
    } else if (wait_for_writes_in_flight(r, err) == 0 && run_check_identities(r, err) == 0 &&
               prove_resources(r, &revision, err) == 0 &&
               ((!leaving[0] && revision) || prove_store(r, leaving, &revision, err) == 0) &&
               run_check_identities(r, err) == 0) {
        rc = record_proof(r, revision, err);
    }
    encryption_resources_free(leaving);
    return rc;
}
