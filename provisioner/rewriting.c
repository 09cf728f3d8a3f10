#include "provisioner/objects.h"
#include "provisioner/run.h"
#include "provisioner/store.h"
#include "provisioner/stubborn.h"

#include <string.h>

struct stored_as {
    const char *prefix;
};

static bool is_stored_as(void *ctx, const struct resource *r, const unsigned char *value,
                         size_t len)
{
    (void)r;
    const struct stored_as *want = ctx;
    char *prefix CLEANUP(cleanup_mem) = encryption_stored_prefix(value, len);
    return prefix && str_eq(prefix, want->prefix);
}

/* Patches it through that apiserver. *shown: it was stored in the new form; false where the patch
 * was not taken: one that can't be patched proves nothing, the rewrite lists it with its reason.
 * *answered: that didn't take long. */
static int try_one(struct session *s, const struct http_server *api, const struct resource *res,
                   const char *whole, struct stored_as *want, bool *shown, bool *answered,
                   struct error *err)
{
    const char *slash = strchr(whole, '/');
    char *ns CLEANUP(cleanup_mem) = slash ? mem_strndup(whole, (size_t)(slash - whole)) : NULL;
    char *key CLEANUP(cleanup_mem) = store_key(s, res, whole);
    struct buf value CLEANUP(buf_free) = {0};
    int64_t mod_revision = 0;
    enum { LONG_MS = 15000 };
    long status = 0;
    bool found = false;
    int64_t began = loop_now();
    if (kube_patch_empty(api, res, ns, slash ? slash + 1 : whole, &status, err) < 0)
        return -1;
    *answered = loop_now() - began < LONG_MS;
    if (status != 200)
        return 0;
    if (etcd_get(s->etcd, key, &value, &mod_revision, &found, err) < 0)
        return -1;
    if (found && !is_stored_as(want, res, (const unsigned char *)buf_str(&value), value.len))
        return error_set(err, RESULT_STOPPED,
                         "%s took an empty patch of %s %s and did not store it under %s: it does "
                         "not run what it was shown to run",
                         api->what, res->name, whole, want->prefix[0] ? want->prefix : "plain");
    *shown = found;
    return 0;
}

/* What the whole rewrite leans on, tried once through each apiserver: an empty patch of a stale
 * object stores it in the new form. *tried: how many were rewritten by that. */
static int try_each(struct run *r, const struct resource *res, const char *ns,
                    struct stored_as *want, size_t *tried, struct error *err)
{
    enum { SPARE = 3 }; /* some may be stubborn */
    struct session *s = r->s;
    char **stale = NULL;
    if (census_find(s, res, ns, s->count + SPARE, is_stored_as, want, &stale, err) < 0)
        return -1;
    int rc = 0;
    bool answered = true;
    /* Where one answers that it can't, after several tries, it is not the object: the rewrite,
     * which has its own patience, tells what is the matter. */
    for (size_t i = 0; rc == 0 && answered && *tried < s->count && stale[i]; i++) {
        bool shown = false;
        rc = try_one(s, &s->members[*tried].node.api, res, stale[i], want, &shown, &answered, err);
        *tried += shown;
    }
    encryption_resources_free(stale);
    return rc;
}

static bool is_that(const struct stubborn *o, const char *whole)
{
    const char *slash = strchr(whole, '/');
    if (!o->namespace || !slash)
        return !o->namespace && str_eq(o->name, whole);
    size_t len = (size_t)(slash - whole);
    return strlen(o->namespace) == len && memcmp(o->namespace, whole, len) == 0 &&
           str_eq(o->name, slash + 1);
}

/* Takes those out of the census' examples that are known to be stubborn, and notes that they are
 * still stale. */
static void leave_out_known(struct census *c, const struct tally *t, size_t known, bool *still)
{
    size_t left = 0;
    for (size_t i = 0; i < c->example_count; i++) {
        size_t k = 0;
        while (k < known && !is_that(&t->stubborn[k], c->examples[i]))
            k++;
        if (k == known) {
            c->examples[left++] = c->examples[i];
            continue;
        }
        still[k] = true;
        mem_free(c->examples[i]);
    }
    c->example_count = left;
    c->examples[left] = NULL;
}

/* Of the first `known`, those that are not stale any more: somebody else wrote or deleted them, or
 * the patch that seemed to fail was done after all. */
static void forget_others(struct tally *t, size_t known, const bool *still)
{
    size_t left = 0;
    for (size_t i = 0; i < t->kept; i++) {
        struct stubborn *o = &t->stubborn[i];
        if (i >= known || still[i]) {
            t->stubborn[left++] = *o;
            continue;
        }
        mem_free(o->namespace);
        mem_free(o->name);
        mem_free(o->why);
    }
    t->kept = left;
}

/* Walks etcd once (the namespace; NULL: all), and patches by name what is stale and not known to be
 * stubborn. `tried`: what was stale, too, a moment ago. */
static int sweep(struct run *r, struct tally *t, const char *ns, struct stored_as *want,
                 size_t tried, struct error *err)
{
    struct session *s = r->s;
    char *after CLEANUP(cleanup_mem) = NULL;
    size_t known = t->kept;
    bool *still CLEANUP(cleanup_mem) = mem_alloc(known, sizeof(*still));
    bool more = true;
    t->more = 0; /* they are met again */
    while (more) {
        struct census c CLEANUP(census_free) = {0};
        if (census_names(s, t->resource, ns, after, OBJECTS_AT_ONCE, is_stored_as, want, &c, err) <
            0)
            return -1;
        if (ns && c.values == 0)
            tell(s, ENCRYPT_WARNING, "rewrite", NULL, "there are no %s in namespace %s",
                 t->resource->name, ns);
        else if (!after)
            tell(s, ENCRYPT_NODE, "rewrite", NULL,
                 "%zu of %zu %s in etcd%s%s are not in the new form", c.refused + tried, c.values,
                 t->resource->name, ns ? ", namespace " : "", ns ? ns : "");
        if (c.example_count == 0)
            break;
        more = c.refused > c.example_count;
        t->total = t->patched + t->gone + t->kept + c.refused;
        mem_free(after);
        after = mem_strdup(c.examples[c.example_count - 1]);
        leave_out_known(&c, t, known, still);
        if (c.example_count && objects_patch(s, t, c.examples, err) < 0)
            return -1;
    }
    forget_others(t, known, still);
    return 0;
}

/* By etcd's keys: until a walk finds nothing stale but what was stubborn. */
static int rewrite_stale(struct run *r, struct tally *t, const char *ns, struct stored_as *want,
                         size_t tried, struct error *err)
{
    enum { SWEEPS = 5 }; /* nothing new comes in the old form: the second one finds nothing */
    for (int i = 0; i < SWEEPS; i++) {
        size_t before = t->patched + t->gone;
        if (sweep(r, t, ns, want, i ? 0 : tried, err) < 0)
            return -1;
        if (t->patched + t->gone == before)
            break;
    }
    return 0;
}

static int add_stubborn(struct run *r, struct tally *t, struct buf *out, struct error *err)
{
    if (t->kept == 0 && t->more == 0)
        return 0;
    if (objects_mark_unreadable(r->s, t, err) < 0)
        return -1;
    stubborn_explain(t->resource, t->stubborn, t->kept, t->more, r->s->etcd_prefix, out);
    return 0;
}

static int refuse_stubborn(struct run *r, const struct buf *text, struct error *err)
{
    /* Without the last newline. */
    error_set(err, RESULT_STOPPED,
              "all but these could be rewritten; for them the old key stays:\n%.*s",
              (int)text->len - 1, buf_str(text));
    char *keep_off CLEANUP(cleanup_mem) = session_keep_off(r->s);
    const char *part = r->upto && r->s->options->namespaces ? " of these namespaces" : "";
    error_state(err,
                "%s is open: all others%s are in the new form, nothing is proved yet; both keys "
                "are kept on every node%s",
                r->s->journal->transition->why, part, keep_off);
    error_next(err, "do what stands with each of them, then: %s", r->again);
    return -1;
}

static int rewrite(struct run *r, const struct resource *res, struct buf *stubborn,
                   struct error *err)
{
    struct session *s = r->s;
    char *prefix CLEANUP(cleanup_mem) =
        encryption_write_prefix(r->forms.config[FORM_TO], res->name);
    struct stored_as want = {prefix};
    struct tally t CLEANUP(tally_free) = {.resource = res};
    bool by_etcd = r->resumed;
    int64_t began = loop_now();
    size_t tried = 0;
    if (try_each(r, res, NULL, &want, &tried, err) < 0)
        return -1;
    if (by_etcd) {
        t.patched = tried; /* the list has them again, etcd has not */
    } else {
        tried = 0;
        struct error e CLEANUP(error_clear) = {0};
        long list_status = 0;
        /* An object that can't be read fails the whole list: etcd's keys are names too. */
        if (objects_patch_listed(s, &t, &list_status, &e) < 0) {
            if (list_status != 500)
                return error_move(err, &e);
            tell(s, ENCRYPT_WARNING, "rewrite", NULL, "%s; going on by the names in etcd",
                 e.message);
            by_etcd = true;
        }
    }
    if ((by_etcd || t.kept) && rewrite_stale(r, &t, NULL, &want, tried, err) < 0)
        return -1;
    int64_t took = loop_now() - began;
    r->report->rewritten += t.patched;
    tell(s, ENCRYPT_NODE, "rewrite", NULL, "%zu %s rewritten in %.1f s (%.0f/s)%s", t.patched,
         res->name, (double)took / 1000, took ? (double)t.patched * 1000 / (double)took : 0.0,
         t.gone ? ", some were deleted meanwhile" : "");
    return add_stubborn(r, &t, stubborn, err);
}

int run_rewrite_named(struct run *r, const struct resource *res, char *const *names,
                      struct error *err)
{
    struct buf stubborn CLEANUP(buf_free) = {0};
    struct tally t CLEANUP(tally_free) = {.resource = res};
    if (objects_patch(r->s, &t, names, err) < 0)
        return -1;
    r->report->rewritten += t.patched;
    tell(r->s, ENCRYPT_NODE, "rewrite", NULL, "%zu %s rewritten that were not in the new form",
         t.patched, res->name);
    if (add_stubborn(r, &t, &stubborn, err) < 0)
        return -1;
    return stubborn.len ? refuse_stubborn(r, &stubborn, err) : 0;
}

/* Asked for, and on disk, before the first patch: `status` tells it so. */
static int note_request(struct run *r, struct error *err)
{
    struct transition *t = r->s->journal->transition;
    if (t->requested)
        return 0;
    t->requested = true;
    return run_record(r, err);
}

static int rewrite_namespace(struct run *r, const struct resource *res, const char *ns,
                             struct buf *stubborn, struct error *err)
{
    char *prefix CLEANUP(cleanup_mem) =
        encryption_write_prefix(r->forms.config[FORM_TO], res->name);
    struct stored_as want = {prefix};
    struct tally t CLEANUP(tally_free) = {.resource = res};
    size_t tried = 0;
    if (try_each(r, res, ns, &want, &tried, err) < 0)
        return -1;
    t.patched = tried;
    if (rewrite_stale(r, &t, ns, &want, tried, err) < 0)
        return -1;
    r->report->rewritten += t.patched;
    tell(r->s, ENCRYPT_NODE, "rewrite", NULL, "namespace %s: %zu %s rewritten", ns, t.patched,
         res->name);
    return add_stubborn(r, &t, stubborn, err);
}

/* A run that goes on did no check of its own, and etcd may have grown since: what is stale is
 * stored once more, and a full etcd stops the whole cluster. */
static int add_stale(struct run *r, const struct resources *all, const char *ns, int64_t *bytes,
                     struct error *err)
{
    for (size_t i = 0; r->resumed && i < all->count; i++) {
        struct census c CLEANUP(census_free) = {0};
        char *prefix CLEANUP(cleanup_mem) =
            encryption_write_prefix(r->forms.config[FORM_TO], all->list[i].name);
        struct stored_as want = {prefix};
        if (!run_changes(r, &all->list[i]))
            continue;
        if (census_names(r->s, &all->list[i], ns, NULL, 1, is_stored_as, &want, &c, err) < 0)
            return -1;
        *bytes += c.refused_bytes;
    }
    return 0;
}

static int check_room(struct run *r, int64_t bytes, struct error *err)
{
    if (!bytes || preflight_room(r->s, bytes, err) == 0)
        return 0;
    if (err->next) {
        char *then = mem_printf("%s, then: %s", err->next, r->again);
        mem_free(err->next);
        err->next = then;
    }
    return -1;
}

static int count_left(struct run *r, const struct resource *res, struct error *err)
{
    struct census c CLEANUP(census_free) = {0};
    char *prefix CLEANUP(cleanup_mem) =
        encryption_write_prefix(r->forms.config[FORM_TO], res->name);
    struct stored_as want = {prefix};
    if (census_resource(r->s, res, 0, is_stored_as, &want, &c, err) < 0)
        return -1;
    char *text CLEANUP(cleanup_mem) = census_text(&c);
    tell(r->s, ENCRYPT_NODE, "rewrite", NULL, "%s in etcd: %s", res->name, text);
    r->report->left += c.refused;
    return 0;
}

int run_rewrite_namespaces(struct run *r, const char *namespaces, struct error *err)
{
    struct session *s = r->s;
    const struct resources *all = NULL;
    int64_t bytes = 0;
    struct buf stubborn CLEANUP(buf_free) = {0};
    store_forget_resources(s);
    if (check_lease(s, err) < 0 || run_resources(r, &all, err) < 0)
        return -1;
    for (const char *at = namespaces; *at;) {
        size_t len = strcspn(at, ",");
        char *ns CLEANUP(cleanup_mem) = mem_strndup(at, len);
        if (*ns && add_stale(r, all, ns, &bytes, err) < 0)
            return -1;
        at += len + (at[len] == ',');
    }
    if (check_room(r, bytes, err) < 0 || note_request(r, err) < 0)
        return -1;
    tell(s, ENCRYPT_STEP, "rewrite", NULL,
         "what is stored in these namespaces gets its new form, by empty patches");
    for (const char *at = namespaces; *at;) {
        size_t len = strcspn(at, ",");
        char *ns CLEANUP(cleanup_mem) = mem_strndup(at, len);
        for (size_t i = 0; *ns && i < all->count; i++)
            if (run_changes(r, &all->list[i]) &&
                rewrite_namespace(r, &all->list[i], ns, &stubborn, err) < 0)
                return -1;
        at += len + (at[len] == ',');
    }
    for (size_t i = 0; i < all->count; i++)
        if (run_changes(r, &all->list[i]) && count_left(r, &all->list[i], err) < 0)
            return -1;
    if (stubborn.len)
        return refuse_stubborn(r, &stubborn, err);
    run_report_stage(r);
    return 0;
}

int run_rewrite(struct run *r, struct error *err)
{
    struct session *s = r->s;
    const struct resources *all = NULL;
    int64_t bytes = 0;
    struct buf stubborn CLEANUP(buf_free) = {0};
    store_forget_resources(s); /* some may have come since */
    if (check_lease(s, err) < 0 || run_resources(r, &all, err) < 0 ||
        add_stale(r, all, NULL, &bytes, err) < 0 || check_room(r, bytes, err) < 0 ||
        note_request(r, err) < 0)
        return -1;
    tell(s, ENCRYPT_STEP, "rewrite", NULL, "what is stored gets its new form, by empty patches");
    for (size_t i = 0; i < all->count; i++) {
        const struct resource *res = &all->list[i];
        if (run_changes(r, res) && rewrite(r, res, &stubborn, err) < 0)
            return -1;
    }
    if (stubborn.len)
        return refuse_stubborn(r, &stubborn, err);
    r->facts.rewritten = true;
    return run_record(r, err);
}
