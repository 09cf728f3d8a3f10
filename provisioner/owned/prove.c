/*
 * Everything rewritten by empty patches, and etcd counted. Their names of keys have colons in them,
 * so values are judged by whole prefixes of known keys and never by what a prefix seems to be.
 */
#include "provisioner/objects.h"
#include "provisioner/owned/owned.h"
#include "provisioner/run.h"
#include "provisioner/store.h"
#include "provisioner/stubborn.h"
#include "state/timestamp.h"

#include <string.h>

/* As in proof.c: a write that an apiserver which has ended sent before it did has arrived in etcd
 * by then, or never will. */
enum { IN_FLIGHT_MS = 16000, SWEEPS = 5 };

struct want {
    const char *prefix; /* "": plain */
};

static bool has_new_form(void *ctx, const struct resource *r, const unsigned char *value,
                         size_t len)
{
    (void)r;
    const struct want *w = ctx;
    static const char any[] = "k8s:enc:";
    const char *prefix = w->prefix[0] ? w->prefix : any;
    size_t n = strlen(prefix);
    bool begins = len >= n && memcmp(value, prefix, n) == 0;
    return begins == (w->prefix[0] != '\0');
}

/* An apiserver that doesn't run tells nothing, and is no word against it. */
int owned_find_etcd(const struct owned_run *r, bool *has, struct error *err)
{
    const struct session *s = r->s;
    bool all_run = true;
    *has = false;
    for (size_t i = 0; i < s->count; i++) {
        const char *urls = apiserver_flag(&s->members[i].seen, "etcd-servers");
        /* (A socket is kine's, before a database; with TLS it is unixs.) */
        *has = *has || (urls && !str_starts(urls, "unix:") && !str_starts(urls, "unixs:"));
        all_run = all_run && s->members[i].seen.running;
    }
    if (*has || all_run)
        return 0;
    return error_set(err, RESULT_STOPPED, "no kube-apiserver of the cluster tells where etcd is");
}

static int resources_of(struct owned_run *r, const struct resources **out, struct error *err)
{
    const struct encryption_config *c = r->seen[r->leader].config;
    return store_resources(r->s, c, r->s->journal->owned ? r->s->journal->owned->from : c, out,
                           err);
}

int owned_check_store(struct owned_run *r, const struct encryption_config *from, struct error *err)
{
    struct session *s = r->s;
    const struct resources *all = NULL;
    int64_t bytes = 0;
    bool etcd = false;
    if (owned_find_etcd(r, &etcd, err) < 0)
        return -1;
    if (!etcd) {
        const struct http_server *api = NULL;
        int64_t revision = 0;
        tell(s, ENCRYPT_WARNING, "check", NULL,
             "this datastore is no etcd that can be looked into: that all can be read is seen by "
             "the API's list, and that nothing needs the old key by patching everything twice");
        return session_ready_api(s, &api, err) < 0 ||
                       kube_count(api, resource_find("secrets"), &r->stored, &revision, err) < 0
                   ? -1
                   : 0;
    }
    if (store_resources(s, from, from, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++) {
        struct census c CLEANUP(census_free) = {0};
        if (census_unreadable(s, &all->list[i], from, 0, &c, err) < 0)
            return -1;
        if (c.refused)
            return error_set(err, RESULT_REFUSED,
                             "%zu of %zu %s lie under a key that the servers don't have; the "
                             "first is %s",
                             c.refused, c.values, all->list[i].name, c.examples[0]);
        bytes += c.bytes;
        r->stored += c.values;
    }
    return preflight_room(s, bytes, err);
}

/* --- rewriting --- */

int owned_refuse_stubborn(struct owned_run *r, struct tally *t, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    const char *prefix = r->s->etcd_prefix ? r->s->etcd_prefix : "/registry";
    if (objects_mark_unreadable(r->s, t, err) < 0)
        return -1;
    stubborn_explain(t->resource, t->stubborn, t->kept, t->more, prefix, &text);
    error_set(err, RESULT_STOPPED, "all but these could be rewritten%s:\n%.*s",
              r->servers[r->leader].file == OWNED_FILE_ROTATED ? "; the servers keep both keys"
                                                               : "",
              (int)(text.len ? text.len - 1 : 0), buf_str(&text));
    error_next(err, "do what stands with each of them, then: %s", r->again);
    return -1;
}

/* An empty patch through each apiserver stores the new form: what the whole rewrite leans on. */
static int try_each(struct owned_run *r, const struct resource *res, struct want *want,
                    struct error *err)
{
    struct session *s = r->s;
    char **stale = NULL;
    if (census_find(s, res, NULL, s->count, has_new_form, want, &stale, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->count && stale[i]; i++) {
        const struct http_server *api = &s->members[i].node.api;
        const char *slash = strchr(stale[i], '/');
        char *ns CLEANUP(cleanup_mem) =
            slash ? mem_strndup(stale[i], (size_t)(slash - stale[i])) : NULL;
        char *key CLEANUP(cleanup_mem) = store_key(s, res, stale[i]);
        struct buf value CLEANUP(buf_free) = {0};
        long status = 0;
        int64_t revision = 0;
        bool found = false;
        rc = kube_patch_empty(api, res, ns, slash ? slash + 1 : stale[i], &status, err);
        /* (One that can't be patched proves nothing: the rewrite tells why.) */
        if (rc == 0 && status == 200)
            rc = etcd_get(s->etcd, key, &value, &revision, &found, err);
        if (rc == 0 && found &&
            !has_new_form(want, res, (const unsigned char *)buf_str(&value), value.len))
            rc = error_set(err, RESULT_STOPPED,
                           "%s took an empty patch of %s %s and did not store it in the new form: "
                           "it does not run the file that lies on its node",
                           api->what, res->name, stale[i]);
    }
    encryption_resources_free(stale);
    return rc;
}

static int rewrite(struct owned_run *r, const struct resource *res, struct want *want, bool etcd,
                   struct error *err)
{
    struct session *s = r->s;
    struct tally t CLEANUP(tally_free) = {.resource = res};
    struct error e CLEANUP(error_clear) = {0};
    long status = 0;
    if (etcd && try_each(r, res, want, err) < 0)
        return -1;
    if (objects_patch_listed(s, &t, &status, &e) < 0 && (status != 500 || !etcd))
        return error_move(err, &e);
    for (int i = 0; etcd && i < SWEEPS; i++) {
        struct census c CLEANUP(census_free) = {0};
        size_t patched = t.patched, gone = t.gone;
        tally_free(&t); /* what was stubborn is tried again, or isn't there any more */
        t = (struct tally){.resource = res, .patched = patched, .gone = gone};
        if (census_names(s, res, NULL, NULL, OBJECTS_AT_ONCE, has_new_form, want, &c, err) < 0)
            return -1;
        if (c.example_count == 0)
            break;
        if (objects_patch(s, &t, c.examples, err) < 0)
            return -1;
        if (t.patched + t.gone == patched + gone)
            break;
    }
    r->report->rewritten += t.patched;
    tell(s, ENCRYPT_NODE, "rewrite", NULL, "%zu %s patched", t.patched, res->name);
    return t.kept || t.more ? owned_refuse_stubborn(r, &t, err) : 0;
}

/* --- proving --- */

static int wait_for_writes_in_flight(struct owned_run *r, struct error *err)
{
    int64_t request = reload_longest_request_ms(r->s);
    int64_t until = (r->restarted_at ? r->restarted_at : loop_now()) + IN_FLIGHT_MS + request;
    if (loop_now() < until)
        tell(r->s, ENCRYPT_NODE, "prove", NULL,
             "%.0f s until writes of %s can no longer arrive in etcd",
             (double)(until - loop_now()) / 1000,
             request ? "before the file was taken up" : "the replaced apiservers");
    while (loop_now() < until)
        if (session_check_stop(r->s, err) < 0 || loop_pause(r->s->loop, 100, err) < 0)
            return -1;
    return 0;
}

/* All of it in the new form. */
static int prove_resource(struct owned_run *r, const struct resource *res, struct want *want,
                          int64_t *revision, int64_t *values, struct error *err)
{
    enum { ROUNDS = 3 };
    struct session *s = r->s;
    for (int round = 0; round < ROUNDS; round++) {
        struct census c CLEANUP(census_free) = {0};
        if (proof_census(s, res, has_new_form, want, revision, &c, err) < 0)
            return -1;
        tell(s, ENCRYPT_NODE, "prove", NULL, "%s at revision %lld: %zu %s%s%s", res->name,
             (long long)*revision, c.values - c.refused, want->prefix[0] ? "under " : "plain",
             want->prefix, c.refused ? ", others are not" : "");
        if (c.refused == 0) {
            *values += (int64_t)c.values;
            return 0;
        }
        struct tally t CLEANUP(tally_free) = {.resource = res};
        if (objects_patch(s, &t, c.examples, err) < 0)
            return -1;
        r->report->rewritten += t.patched;
    }
    return error_set(err, RESULT_STOPPED,
                     "some %s are still not in the new form after %d rounds of rewriting",
                     res->name, (int)ROUNDS);
}

/* The prefix of what was written before, where that was encrypted: nothing may lie under it. */
static char *old_prefix(const struct owned_run *r, const char *now)
{
    char *old = encryption_write_prefix(r->s->journal->owned->from, "secrets");
    if (old[0] && !str_eq(old, now))
        return old;
    mem_free(old);
    return NULL;
}

static int count_under(struct owned_run *r, char *prefix, struct census *c, struct error *err)
{
    char *const list[] = {prefix, NULL};
    char *leaving[2] = {list[0], NULL};
    return census_under(r->s, leaving, 0, c, err);
}

/* Every apiserver is the process still that was shown. */
static int check_all_shown(struct owned_run *r, struct error *err)
{
    if (owned_look(r, err) < 0)
        return -1;
    for (size_t i = 0; i < r->s->count; i++)
        if (!r->servers[i].up || !r->servers[i].same || !r->servers[i].shown)
            return error_set(err, RESULT_STOPPED,
                             "node %s: its server, or what lies there, changed while this looked",
                             r->s->members[i].node.name);
    return 0;
}

static int prove(struct owned_run *r, const struct resources *all, struct want *want,
                 int64_t *revision, int64_t *values, struct error *err)
{
    struct session *s = r->s;
    char *old CLEANUP(cleanup_mem) = old_prefix(r, want->prefix);
    struct census c CLEANUP(census_free) = {0};
    tell(s, ENCRYPT_STEP, "prove", NULL,
         "what etcd holds is counted: nothing may need the old key");
    if (wait_for_writes_in_flight(r, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++)
        if (prove_resource(r, &all->list[i], want, revision, values, err) < 0)
            return -1;
    if (!old)
        return 0;
    if (count_under(r, old, &c, err) < 0)
        return -1;
    if (c.refused)
        return error_set(err, RESULT_STOPPED,
                         "%zu values of the whole store lie under the old key; the first is %s: "
                         "the servers keep both keys",
                         c.refused, c.examples[0]);
    tell(s, ENCRYPT_NODE, "prove", NULL,
         "whole store at revision %lld: %zu values, none under the old key", (long long)c.revision,
         c.values);
    return 0;
}

/* Without an etcd that can be looked into. */
static int prove_by_api(struct owned_run *r, const struct resources *all, int64_t *revision,
                        int64_t *values, struct error *err)
{
    tell(r->s, ENCRYPT_STEP, "prove", NULL,
         "everything is patched a second time, through the API: what the old key wrote would "
         "change by that");
    if (wait_for_writes_in_flight(r, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++)
        if (owned_prove_by_api(r, &all->list[i], revision, values, err) < 0)
            return -1;
    return 0;
}

int owned_prove(struct owned_run *r, struct error *err)
{
    struct session *s = r->s;
    struct owned_record *o = s->journal->owned;
    const struct resources *all = NULL;
    int64_t revision = 0, values = 0;
    char *prefix CLEANUP(cleanup_mem) =
        encryption_write_prefix(r->seen[r->leader].config, "secrets");
    struct want want = {prefix};
    bool etcd = false;
    if (owned_hold_lock(r, err) < 0)
        return -1;
    store_forget_resources(s);
    tell(s, ENCRYPT_STEP, "rewrite", NULL, "what is stored gets its new form, by empty patches");
    if (owned_find_etcd(r, &etcd, err) < 0 || resources_of(r, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++)
        if (rewrite(r, &all->list[i], &want, etcd, err) < 0)
            return -1;
    if (etcd ? prove(r, all, &want, &revision, &values, err) < 0
             : prove_by_api(r, all, &revision, &values, err) < 0)
        return -1;
    if (check_all_shown(r, err) < 0)
        return -1;
    o->proved = true;
    o->proof_revision = r->report->proof_revision = revision;
    o->proof_values = r->report->proof_values = values;
    mem_free(o->proved_at);
    o->proved_at = timestamp_now();
    return owned_record(r, err);
}

/* --- when the old key has gone from the leader's file --- */

/* Servers that were not restarted yet have both keys: patched through them, it is stored anew. */
static int mend(struct owned_run *r, struct census *c, const char *prefix, struct error *err)
{
    struct session *s = r->s;
    const struct resources *all = NULL;
    if (resources_of(r, &all, err) < 0)
        return -1;
    tell(s, ENCRYPT_WARNING, "prove", NULL,
         "%zu values lie under the old key: they are rewritten through the servers that have it "
         "still",
         c->refused);
    for (size_t i = 0; i < all->count; i++) {
        struct tally t CLEANUP(tally_free) = {.resource = &all->list[i]};
        struct want want = {prefix};
        struct census stale CLEANUP(census_free) = {0};
        if (census_names(s, &all->list[i], NULL, NULL, OBJECTS_AT_ONCE, has_new_form, &want, &stale,
                         err) < 0 ||
            (stale.example_count && objects_patch(s, &t, stale.examples, err) < 0))
            return -1;
        r->report->rewritten += t.patched;
    }
    return 0;
}

bool owned_reloads(const struct owned_kind *kind, const struct apiserver *a)
{
    /* (k3s, where the apiserver is a part of the server, has it since 1.28, and shows no flag.) */
    return a->automatic_reload || !kind->apart;
}

/* Whether something lies there is not known, or (`counted`) known; where it can still be read. */
static int tell_dropped(struct owned_run *r, bool counted, struct error *err)
{
    struct session *s = r->s;
    struct buf still CLEANUP(buf_free) = {0};
    bool reloads = false;
    const char *what = counted ? "these values" : "what may lie under it still";
    for (size_t i = 0; i < s->count; i++) {
        reloads = reloads || owned_reloads(r->kind, &s->members[i].seen);
        if (r->servers[i].file == OWNED_FILE_ROTATED)
            buf_printf(&still, "%s%s", still.len ? ", " : "", s->members[i].node.name);
    }
    if (still.len) {
        error_state(err,
                    "the key is in the history of %s, and in the files of %s: these servers can "
                    "read %s. Don't restart them",
                    s->state_path, buf_str(&still), what);
        if (counted)
            error_next(err,
                       "save those objects through such a server (kubectl get -o yaml), then: %s",
                       r->again);
    } else if (reloads) {
        error_state(err,
                    "the key is in the history of %s, and in no server's file: their apiservers "
                    "load that by themselves within a minute, and can't read %s then. Don't "
                    "restart %s",
                    s->state_path, what, r->kind->unit);
        if (counted)
            error_next(
                err,
                "save those objects at once, while they can be read (kubectl get -o yaml); else "
                "their recovery from the snapshot (docs/kinds/rke2.md); then: %s",
                r->again);
    } else {
        error_state(err,
                    "the key is in the history of %s, and in no server's file: the apiserver that "
                    "runs can read %s until it is restarted. Don't restart it",
                    s->state_path, what);
        if (counted)
            error_next(err, "save those objects (kubectl get -o yaml), then: %s", r->again);
    }
    error_next(err, "%s    (it looks once more; restart no server before it has)", r->again);
    return -1;
}

static int tell_under_dropped(struct owned_run *r, const struct census *c, struct error *err)
{
    if (err->result == RESULT_OK)
        error_set(err, RESULT_STOPPED,
                  "%zu values lie under the key that was dropped; the first is %s", c->refused,
                  c->examples[0]);
    return tell_dropped(r, true, err);
}

/* rotate-keys leaves the process as it was. Without an etcd nothing else shows what it runs, and
 * one that still wrote with the old key would change nothing by a second patch either. */
static int show_in_force(struct owned_run *r, struct error *err)
{
    enum { IN_FORCE_MS = 75000, POLL_MS = 1000 };
    struct member *m = &r->s->members[r->leader];
    int64_t until = loop_now() + IN_FORCE_MS;
    for (;;) {
        if (r->servers[r->leader].shown)
            return 0;
        if (owned_ask_reload(r, r->leader, err) < 0)
            return -1;
        if (m->reload.told && str_eq(m->reload.sha256, m->file_sha256))
            return 0;
        if (!m->reload.told || loop_now() >= until)
            break;
        if (session_check_stop(r->s, err) < 0 || loop_pause(r->s->loop, POLL_MS, err) < 0 ||
            owned_look(r, err) < 0)
            return -1;
    }
    error_set(err, RESULT_STOPPED,
              "node %s: which configuration its kube-apiserver has in force can't be shown here: "
              "this datastore can't be looked into, and %s",
              m->node.name,
              m->reload.told ? "its metric names another than the file that lies there"
                             : "no metric of its version tells");
    if (r->servers[r->leader].stage != STAGE_REENCRYPT_FINISHED) {
        owned_tell_half_way(r, r->leader, err);
        return -1;
    }
    error_state(err, "%s is open; the old key is in the history of %s, and in no server's file",
                r->s->journal->owned->why, r->s->state_path);
    error_next(err,
               "save every secret while it can be read (kubectl get secrets -A -o yaml); restart "
               "%s on %s; then: %s    (another process has the file that lies there, and what it "
               "can't read is seen)",
               r->kind->unit, m->node.name, r->again);
    return -1;
}

static int count_gone(struct owned_run *r, struct error *err)
{
    struct session *s = r->s;
    struct owned_record *o = s->journal->owned;
    char *now CLEANUP(cleanup_mem) = encryption_write_prefix(r->seen[r->leader].config, "secrets");
    char *old CLEANUP(cleanup_mem) = old_prefix(r, now);
    bool etcd = false;
    if (owned_find_etcd(r, &etcd, err) < 0)
        return -1;
    for (int round = 0; old && etcd; round++) {
        struct census c CLEANUP(census_free) = {0};
        if (count_under(r, old, &c, err) < 0)
            return -1;
        if (c.refused == 0) {
            tell(s, ENCRYPT_NODE, "prove", NULL,
                 "whole store at revision %lld: %zu values, none under the key that was dropped",
                 (long long)c.revision, c.values);
            if (!r->report->proof_values) {
                r->report->proof_values = o->proved ? o->proof_values : (int64_t)c.values;
                r->report->proof_revision = c.revision;
            }
            break;
        }
        if (round == 0 && mend(r, &c, now, err) == 0)
            continue;
        return tell_under_dropped(r, &c, err);
    }
    /* (The process that runs has the old key yet, or it is seen that something needs it.) */
    if (old && !etcd) {
        const struct resources *all = NULL;
        int64_t revision = 0, values = 0;
        if ((o->at_once && show_in_force(r, err) < 0) || resources_of(r, &all, err) < 0 ||
            prove_by_api(r, all, &revision, &values, err) < 0)
            return -1;
        o->proof_revision = r->report->proof_revision = revision;
        o->proof_values = r->report->proof_values = values;
    }
    return 0;
}

int owned_count_gone(struct owned_run *r, struct error *err)
{
    if (count_gone(r, err) < 0)
        return tell_dropped(r, false, err);
    r->s->journal->owned->gone = true;
    return owned_record(r, err);
}
