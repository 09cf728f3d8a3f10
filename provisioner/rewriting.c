#include "provisioner/kube/rewrite.h"
#include "provisioner/run.h"
#include "provisioner/store.h"

#include <string.h>

static void on_progress(void *ctx, size_t done, size_t total)
{
    struct session *s = ctx;
    if (s->options->event)
        s->options->event(s->options->ctx, &(struct encrypt_event){.kind = ENCRYPT_PROGRESS,
                                                                   .step = "rewrite",
                                                                   .done = done,
                                                                   .total = total});
}

static bool on_stop(void *ctx)
{
    const struct session *s = ctx;
    return s->options->stop && s->options->stop(s->options->ctx);
}

struct stored_as {
    char *prefix;
};

static bool is_stored_as(void *ctx, const struct resource *r, const unsigned char *value,
                         size_t len)
{
    (void)r;
    const struct stored_as *want = ctx;
    char *prefix CLEANUP(cleanup_mem) = encryption_stored_prefix(value, len);
    return prefix && str_eq(prefix, want->prefix);
}

/* What the whole rewrite leans on, tried once through each apiserver: an empty patch of a stale
 * object stores it in the new form. */
static int try_each(struct run *r, const struct resource *res, struct error *err)
{
    struct session *s = r->s;
    struct stored_as want = {encryption_write_prefix(r->forms.config[FORM_TO], res->name)};
    char *owner CLEANUP(cleanup_mem) = want.prefix;
    (void)owner;
    char **stale = NULL;
    if (census_find(s, res, s->count, is_stored_as, &want, &stale, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->count && stale[i]; i++) {
        const struct http_server *api = &s->members[i].node.api;
        char *slash = strchr(stale[i], '/');
        char *ns CLEANUP(cleanup_mem) =
            slash ? mem_strndup(stale[i], (size_t)(slash - stale[i])) : NULL;
        char *key CLEANUP(cleanup_mem) = store_key(s, res, stale[i]);
        struct buf value CLEANUP(buf_free) = {0};
        int64_t mod_revision = 0;
        long status = 0;
        bool found = false;
        rc = kube_patch_empty(api, res, ns, slash ? slash + 1 : stale[i], &status, err);
        /* One that can't be patched proves nothing: the rewrite lists it with its reason. */
        if (rc < 0 || status != 200)
            continue;
        rc = etcd_get(s->etcd, key, &value, &mod_revision, &found, err);
        if (rc == 0 && found &&
            !is_stored_as(&want, res, (const unsigned char *)buf_str(&value), value.len))
            rc = error_set(err, RESULT_STOPPED,
                           "%s took an empty patch of %s %s and did not store it under %s: it does "
                           "not run what it was shown to run",
                           api->what, res->name, stale[i], want.prefix[0] ? want.prefix : "plain");
    }
    encryption_resources_free(stale);
    return rc;
}

static int refuse_stubborn(const struct rewrite *w, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    size_t shown = w->stubborn_count < 20 ? w->stubborn_count : 20;
    for (size_t i = 0; i < shown; i++) {
        const struct stubborn *o = &w->stubborn[i];
        buf_printf(&text, "\n  %s%s%s: %ld %s", o->namespace ? o->namespace : "",
                   o->namespace ? "/" : "", o->name, o->status, o->why ? o->why : "");
    }
    return error_set(err, RESULT_STOPPED,
                     "%zu %s could not be rewritten, so the old key stays:%s%s", w->stubborn_count,
                     w->resource->name, buf_str(&text), shown < w->stubborn_count ? "\n  …" : "");
}

static const struct http_server **all_servers(struct session *s)
{
    const struct http_server **list = mem_alloc(s->count, sizeof(*list));
    for (size_t i = 0; i < s->count; i++)
        list[i] = &s->members[i].node.api;
    return list;
}

static int rewrite(struct run *r, const struct resource *res, char *const *names, struct error *err)
{
    struct session *s = r->s;
    const struct http_server **servers CLEANUP(cleanup_mem) = all_servers(s);
    struct rewrite w CLEANUP(rewrite_clear) = {.servers = servers,
                                               .server_count = s->count,
                                               .resource = res,
                                               .concurrency = s->options->concurrency,
                                               .progress = on_progress,
                                               .stop = on_stop,
                                               .ctx = s};
    int64_t began = loop_now();
    if ((names ? rewrite_named(&w, names, err) : rewrite_run(&w, err)) < 0)
        return error_wrap(err, "rewriting %s", res->name);
    if (w.stopped)
        return session_check_stop(s, err);
    if (w.stubborn_count)
        return refuse_stubborn(&w, err);
    int64_t took = loop_now() - began;
    r->report->rewritten += w.patched;
    tell(s, ENCRYPT_NODE, "rewrite", NULL, "%zu %s rewritten in %.1f s (%.0f/s)%s", w.patched,
         res->name, (double)took / 1000, took ? (double)w.patched * 1000 / (double)took : 0.0,
         w.gone ? ", some were deleted meanwhile" : "");
    return 0;
}

int run_rewrite_named(struct run *r, const struct resource *res, char *const *names,
                      struct error *err)
{
    return rewrite(r, res, names, err);
}

int run_rewrite(struct run *r, struct error *err)
{
    struct session *s = r->s;
    const struct transition *t = s->journal->transition;
    const struct resource **list CLEANUP(cleanup_mem) = NULL;
    size_t count = 0;
    tell(s, ENCRYPT_STEP, "rewrite", NULL, "what is stored gets its new form, by empty patches");
    if (check_lease(s, err) < 0 || store_resources(t->from, t->to, &list, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (try_each(r, list[i], err) < 0 || rewrite(r, list[i], NULL, err) < 0)
            return -1;
    }
    r->facts.rewritten = true;
    return run_record(r, err);
}
