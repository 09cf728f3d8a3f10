#include "provisioner/objects.h"

#include "provisioner/store.h"
#include "provisioner/stubborn.h"

#include <string.h>

static void stubborn_free(struct stubborn *o)
{
    mem_free(o->namespace);
    mem_free(o->name);
    mem_free(o->why);
}

void tally_free(struct tally *t)
{
    for (size_t i = 0; i < t->kept; i++)
        stubborn_free(&t->stubborn[i]);
    mem_free(t->stubborn);
    *t = (struct tally){0};
}

char *stubborn_name(const struct stubborn *o)
{
    return o->namespace ? mem_printf("%s/%s", o->namespace, o->name) : mem_strdup(o->name);
}

/* What the rewrite found becomes the tally's. */
static void take(struct tally *t, struct rewrite *w)
{
    size_t had = w->stubborn_count < STUBBORN_KEPT ? w->stubborn_count : STUBBORN_KEPT;
    t->patched += w->patched;
    t->gone += w->gone;
    t->more += w->stubborn_count - had;
    for (size_t i = 0; i < had; i++) {
        if (t->kept == STUBBORN_KEPT) {
            t->more++;
            stubborn_free(&w->stubborn[i]);
            continue;
        }
        MEM_GROW(t->stubborn, t->kept);
        t->stubborn[t->kept++] = w->stubborn[i];
    }
    w->stubborn_count = 0; /* its strings are the tally's now, or freed */
    rewrite_clear(w);
}

struct told {
    struct session *s;
    const struct tally *tally;
    const char *step;
};

static void on_progress(void *ctx, size_t done, size_t total)
{
    const struct told *told = ctx;
    const struct encrypt_options *o = told->s->options;
    const struct tally *t = told->tally;
    size_t before = t->patched + t->gone + t->kept + t->more;
    total = before + total < t->total ? t->total : before + total;
    session_moves(told->s);
    if (o->event)
        o->event(o->ctx, &(struct encrypt_event){.kind = ENCRYPT_PROGRESS,
                                                 .step = told->step,
                                                 .done = before + done,
                                                 .total = total});
}

static bool on_stop(void *ctx)
{
    const struct told *told = ctx;
    const struct encrypt_options *o = told->s->options;
    return o->stop && o->stop(o->ctx);
}

/* names NULL: what the API lists. */
static int go(struct session *s, struct tally *t, char *const *names, bool look, long *list_status,
              struct error *err)
{
    const struct http_server **servers CLEANUP(cleanup_mem) =
        mem_alloc(s->count, sizeof(const struct http_server *));
    for (size_t i = 0; i < s->count; i++)
        servers[i] = &s->members[i].node.api;
    struct told told = {.s = s, .tally = t, .step = look ? "check" : "rewrite"};
    struct rewrite w CLEANUP(rewrite_clear) = {.servers = servers,
                                               .server_count = s->count,
                                               .resource = t->resource,
                                               .look = look,
                                               .concurrency = s->options->concurrency,
                                               .progress = on_progress,
                                               .stop = on_stop,
                                               .ctx = &told};
    int rc = names ? rewrite_named(&w, names, err) : rewrite_run(&w, err);
    if (list_status)
        *list_status = w.list_status;
    bool stopped = w.stopped;
    take(t, &w);
    if (rc < 0)
        return error_wrap(err, "%s %s", look ? "looking at" : "rewriting", t->resource->name);
    if (!stopped || session_check_stop(s, err) < 0)
        return stopped ? -1 : 0;
    return error_set(err, RESULT_INTERRUPTED, "stopped in the middle of the %s", t->resource->name);
}

int objects_patch_listed(struct session *s, struct tally *t, long *list_status, struct error *err)
{
    return go(s, t, NULL, false, list_status, err);
}

int objects_patch(struct session *s, struct tally *t, char *const *names, struct error *err)
{
    return go(s, t, names, false, NULL, err);
}

static bool none_is(void *ctx, const struct resource *r, const unsigned char *value, size_t len)
{
    (void)ctx;
    (void)r;
    (void)value;
    (void)len;
    return false;
}

int objects_find_unreadable(struct session *s, struct tally *t, struct error *err)
{
    char *after CLEANUP(cleanup_mem) = NULL;
    bool more = true;
    while (more) {
        struct census c CLEANUP(census_free) = {0};
        if (census_names(s, t->resource, NULL, after, OBJECTS_AT_ONCE, none_is, NULL, &c, err) < 0)
            return -1;
        if (c.example_count == 0)
            break;
        mem_free(after);
        after = mem_strdup(c.examples[c.example_count - 1]);
        more = c.refused > c.example_count;
        if (go(s, t, c.examples, true, NULL, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < t->kept; i++) {
        if (t->stubborn[i].status != 500)
            return error_set(err, RESULT_FAILED, "%s/%s could not be looked at: %ld %s",
                             t->stubborn[i].namespace ? t->stubborn[i].namespace : "",
                             t->stubborn[i].name, t->stubborn[i].status, t->stubborn[i].why);
        t->stubborn[i].unreadable = true;
    }
    return 0;
}

int objects_explain_list(struct session *s, const struct resource *r, struct error *err)
{
    struct tally t CLEANUP(tally_free) = {.resource = r};
    struct error e CLEANUP(error_clear) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    if (err->result == RESULT_INTERRUPTED)
        return -1;
    if (objects_find_unreadable(s, &t, &e) < 0)
        return e.result == RESULT_INTERRUPTED ? error_move(err, &e) : -1;
    if (t.kept == 0)
        return -1;
    stubborn_explain(r, t.stubborn, t.kept, t.more, s->etcd_prefix, &text);
    return error_set(err, RESULT_STOPPED, "the API can't list the %s, because of these:\n%.*s",
                     r->name, (int)text.len - 1, buf_str(&text));
}

int objects_mark_unreadable(struct session *s, struct tally *t, struct error *err)
{
    struct tally looked CLEANUP(tally_free) = {.resource = t->resource};
    char **names = mem_alloc(t->kept + 1, sizeof(*names));
    size_t *which CLEANUP(cleanup_mem) = mem_alloc(t->kept, sizeof(*which));
    size_t count = 0;
    for (size_t i = 0; i < t->kept; i++) {
        if (t->stubborn[i].status != 500)
            continue;
        which[count] = i;
        names[count++] = stubborn_name(&t->stubborn[i]);
    }
    int rc = count ? go(s, &looked, names, true, NULL, err) : 0;
    for (size_t k = 0; rc == 0 && k < looked.kept; k++) {
        char *name CLEANUP(cleanup_mem) = stubborn_name(&looked.stubborn[k]);
        for (size_t i = 0; i < count; i++) {
            if (looked.stubborn[k].status == 500 && str_eq(names[i], name))
                t->stubborn[which[i]].unreadable = true;
        }
    }
    encryption_resources_free(names);
    return rc;
}
