#include "provisioner/kube/rewrite.h"

#include "provisioner/kube/list.h"
#include "provisioner/kube/spread.h"

#include <string.h>

enum {
    CONCURRENCY = 64,
    MOST_CONCURRENCY = 1000,
    BUSY_TRIES = 30, /* how often one object may be answered 429 */
    LIST_RESTARTS = 1000,
    OUTAGE_MS = 60000, /* no server gives an answer for so long: the end */
};

struct item {
    char *name; /* "namespace/name", or "name" */
    unsigned tries, busy;
    int64_t due; /* for items that wait */
    int avoid;   /* the server that failed it, or -1 */
    struct item *next;
};

struct slot { /* a patch in flight */
    struct http_request request;
    struct item *item; /* NULL: free */
    int server;
};

struct lister {
    struct http_request request;
    bool running, done;
    int server, avoid;
    char *token; /* of the next page, NULL: the first */
    size_t limit;
    bool table; /* the servers' lists of metadata are bare */
    unsigned tries, busy, restarts;
    int64_t due;
    char *last;    /* the last name that was listed */
    bool skipping; /* begun anew: names up to `last` are had already */
    size_t remaining;
    char *const *named; /* instead of a list */
    struct http_request guess;
    size_t guessed; /* how many there are in all; 0: no idea */
};

/* One run, turned by loop_until(): no callbacks from below, so nothing is ever re-entered. */
struct run {
    struct rewrite *w;
    struct lister list;
    struct spread spread;
    struct slot *slots;
    size_t slot_count, in_flight;
    struct item *fresh, **fresh_end;
    struct item *waiting;
    size_t queued; /* fresh and waiting */
    struct loop_watch *timer;
    int64_t dead_since; /* 0: the last answer was one */
    size_t told;        /* what progress() was told */
    bool ending;        /* nothing new is started */
    bool failed;
    struct error err;
};

static void on_timer(void *ctx, short revents)
{
    (void)ctx; /* its use is that the loop turns */
    (void)revents;
}

static void item_free(struct item *i)
{
    if (i)
        mem_free(i->name);
    mem_free(i);
}

static void push_fresh(struct run *run, char *name)
{
    struct item *i = mem_alloc(1, sizeof(*i));
    *i = (struct item){.name = name, .avoid = -1};
    *run->fresh_end = i;
    run->fresh_end = &i->next;
    run->queued++;
    run->w->listed++;
}

/* The next item that may be tried now: first those that have waited. */
static struct item *take_item(struct run *run, int64_t now)
{
    struct item *i = NULL;
    for (struct item **p = &run->waiting; *p; p = &(*p)->next) {
        if ((*p)->due <= now) {
            i = *p;
            *p = i->next;
            break;
        }
    }
    if (!i && run->fresh) {
        i = run->fresh;
        run->fresh = i->next;
        if (!run->fresh)
            run->fresh_end = &run->fresh;
    }
    if (i) {
        i->next = NULL;
        run->queued--;
    }
    return i;
}

static void push_waiting(struct run *run, struct item *i, int64_t due)
{
    i->due = due;
    i->next = run->waiting;
    run->waiting = i;
    run->queued++;
}

static void fail(struct run *run, struct error *err)
{
    run->ending = true;
    if (!run->failed)
        error_move(&run->err, err);
    run->failed = true;
}

/* What is still in flight on a server that is left alone goes elsewhere. */
static void call_back(struct run *run, int server, int64_t now)
{
    for (size_t k = 0; k < run->slot_count; k++) {
        struct slot *s = &run->slots[k];
        if (!s->item || s->server != server || s->request.finished)
            continue;
        http_reset(&s->request);
        spread_dropped(&run->spread, server);
        run->in_flight--;
        s->item->avoid = server;
        push_waiting(run, STEAL(s->item), now);
    }
    struct lister *l = &run->list;
    if (l->running && l->server == server && !l->request.finished) {
        http_reset(&l->request);
        spread_dropped(&run->spread, server);
        l->running = false;
        l->avoid = server;
    }
}

static void note_answer(struct run *run, int server, const struct http_request *r)
{
    int64_t now = loop_now();
    enum spread_answer a = SPREAD_GOOD;
    if (r->status == 0 || (r->status >= 502 && r->status <= 504))
        a = SPREAD_DEAD;
    else if (r->status >= 500)
        a = SPREAD_BROKEN;
    else if (r->status == 429)
        a = SPREAD_BUSY;
    if (spread_answered(&run->spread, server, a, now) && a == SPREAD_DEAD)
        call_back(run, server, now);
    if (a != SPREAD_DEAD) {
        run->dead_since = 0;
    } else if (!run->dead_since) {
        run->dead_since = now;
    } else if (now - run->dead_since > OUTAGE_MS) {
        struct error err CLEANUP(error_clear) = {0};
        http_error(r, &err);
        error_wrap(&err, "no apiserver has answered for %d s", OUTAGE_MS / 1000);
        fail(run, &err);
    }
}

static int64_t pause_after(const struct run *run, const struct http_request *r, unsigned tries)
{
    return loop_now() + kube_pause(r, tries, run->w->pause_ms ? run->w->pause_ms : 200);
}

/* ---- the list ---- */

static void restart_list(struct lister *l, struct kube_status *status)
{
    mem_free(l->token);
    /* A newer server gives a token to go on with, at a newer revision; what was created meanwhile
     * is in its final form already. An older one lists in the order of etcd's keys, always, so what
     * is up to `last` was had. */
    l->token = STEAL(status->token);
    l->skipping = !l->token;
}

static void take_page(struct run *run, struct kube_page *page)
{
    struct lister *l = &run->list;
    for (size_t i = 0; i < page->count; i++) {
        char *name = STEAL(page->names[i]);
        if (l->skipping && l->last && strcmp(name, l->last) <= 0) {
            mem_free(name);
            continue;
        }
        mem_free(l->last);
        l->last = mem_strdup(name);
        push_fresh(run, name);
    }
    l->remaining = page->remaining;
    mem_free(l->token);
    l->token = STEAL(page->token);
    l->done = !l->token;
    l->tries = l->busy = 0;
}

static void page_answered(struct run *run)
{
    struct lister *l = &run->list;
    struct http_request *r = &l->request;
    struct error err CLEANUP(error_clear) = {0};
    if (r->status == 200) {
        struct kube_page page CLEANUP(kube_page_free) = {0};
        bool bare = false;
        if (kube_page_read(r, &page, &bare, &err) < 0)
            fail(run, &err);
        else if (bare)
            l->table = true;
        else
            take_page(run, &page);
    } else if (r->status == 410 && l->token && l->restarts++ < LIST_RESTARTS) {
        struct kube_status status CLEANUP(kube_status_free) = {0};
        kube_status_read(r, &status);
        restart_list(l, &status);
    } else if (r->status == 429 && l->busy++ < BUSY_TRIES) {
        l->due = pause_after(run, r, 1);
    } else if (r->status != 429 && kube_is_transient(r) && ++l->tries < KUBE_TRIES) {
        /* Cut short: metadata can be long (annotations), then fewer a page. */
        if (!r->status && r->answer.len && l->limit >= 20)
            l->limit /= 4;
        l->avoid = l->server;
        l->due = pause_after(run, r, l->tries);
    } else {
        run->w->list_status = r->status;
        http_error(r, &err);
        error_wrap(&err, "listing the %s", run->w->resource->name);
        fail(run, &err);
    }
}

static void list_ahead(struct run *run, int64_t now)
{
    struct lister *l = &run->list;
    if (l->running && l->request.finished) {
        l->running = false;
        note_answer(run, l->server, &l->request);
        page_answered(run);
        http_reset(&l->request);
    }
    if (run->ending) {
        http_reset(&l->request);
        l->running = false;
    }
    if (l->done || l->running || run->ending || run->queued > KUBE_PAGE)
        return;
    if (l->named) {
        for (size_t i = 0; i < KUBE_PAGE && l->remaining; i++, l->remaining--)
            push_fresh(run, mem_strdup(*l->named++));
        l->done = !l->remaining;
        return;
    }
    if (l->due > now)
        return;
    /* Names run out while a page is waited for in vain. */
    l->server = spread_pick(&run->spread, l->avoid, true, now);
    if (l->server < 0)
        return;
    kube_list_request(&l->request, run->w->servers[l->server], run->w->resource, l->limit, l->token,
                      l->table);
    l->running = true;
    http_start(&l->request);
}

/* ---- the patches ---- */

/* namespace and name of "namespace/name"; ns is NULL where there is none. */
static void split(const char *whole, char **ns, const char **name)
{
    const char *slash = strchr(whole, '/');
    *ns = slash ? mem_strndup(whole, (size_t)(slash - whole)) : NULL;
    *name = slash ? slash + 1 : whole;
}

static void add_stubborn(struct run *run, const struct item *i, const struct http_request *r)
{
    struct rewrite *w = run->w;
    if (w->stubborn_count++ >= STUBBORN_KEPT)
        return;
    struct kube_status status CLEANUP(kube_status_free) = {0};
    kube_status_read(r, &status);
    w->stubborn = mem_grow(w->stubborn, w->stubborn_count - 1, sizeof(*w->stubborn));
    struct stubborn *s = &w->stubborn[w->stubborn_count - 1];
    *s = (struct stubborn){.status = r->status};
    const char *name = NULL;
    split(i->name, &s->namespace, &name);
    s->name = mem_strdup(name);
    if (!r->status)
        s->why = mem_strdup(r->failure ? r->failure : "no answer");
    else
        s->why = status.message ? STEAL(status.message) : mem_printf("answered %ld", r->status);
}

/* A 404 may also be about the namespace, or about the resource itself: then the object may well be
 * there, and stale. */
static bool is_gone(const struct run *run, const struct item *i, const struct http_request *r)
{
    struct kube_status status CLEANUP(kube_status_free) = {0};
    char *ns CLEANUP(cleanup_mem) = NULL;
    const char *name = NULL;
    if (r->status != 404)
        return false;
    kube_status_read(r, &status);
    split(i->name, &ns, &name);
    return str_eq(status.reason, "NotFound") && str_eq(status.name, name) &&
           str_eq(status.kind, run->w->resource->plural);
}

static void patch_answered(struct run *run, struct slot *s)
{
    struct item *i = STEAL(s->item);
    const struct http_request *r = &s->request;
    run->in_flight--;
    note_answer(run, s->server, r);
    if (r->status >= 200 && r->status < 300) {
        run->w->patched++;
    } else if (is_gone(run, i, r)) {
        run->w->gone++;
    } else if (r->status == 429 && i->busy++ < BUSY_TRIES) {
        push_waiting(run, STEAL(i), pause_after(run, r, 1));
    } else if ((r->status == 409 || (r->status != 429 && kube_is_transient(r))) &&
               ++i->tries < KUBE_TRIES) {
        i->avoid = s->server;
        unsigned tries = i->tries;
        push_waiting(run, STEAL(i), pause_after(run, r, tries));
    } else {
        add_stubborn(run, i, r);
    }
    item_free(i);
    http_reset(&s->request);
}

static bool start_patch(struct run *run, struct slot *s, int64_t now)
{
    struct item *i = take_item(run, now);
    if (!i)
        return false;
    s->server = spread_pick(&run->spread, i->avoid, false, now);
    if (s->server < 0) {
        push_waiting(run, i, now); /* due, and so the first to be taken */
        return false;
    }
    char *ns CLEANUP(cleanup_mem) = NULL;
    const char *name = NULL;
    split(i->name, &ns, &name);
    (run->w->look ? kube_look_request : kube_patch_request)(&s->request, run->w->servers[s->server],
                                                            run->w->resource, ns, name);
    s->request.timeout_ms = 60000; /* the apiserver's own */
    s->item = i;
    run->in_flight++;
    http_start(&s->request);
    return true;
}

static void fill_slots(struct run *run, int64_t now)
{
    for (size_t k = 0; k < run->slot_count; k++) {
        struct slot *s = &run->slots[k];
        if (s->item)
            continue;
        if (!run->ending && run->w->stop && run->w->stop(run->w->ctx)) {
            run->w->stopped = true;
            run->ending = true;
        }
        if (run->ending || !start_patch(run, s, now))
            return;
    }
}

/* ---- the whole ---- */

static void tell(struct run *run)
{
    const struct rewrite *w = run->w;
    size_t done = w->patched + w->gone + w->stubborn_count;
    if (!w->progress || done == run->told)
        return;
    run->told = done;
    size_t total = w->listed + run->list.remaining;
    if (run->list.guess.finished && !run->list.guessed) {
        run->list.guessed = kube_guess_read(&run->list.guess);
        http_reset(&run->list.guess);
    }
    if (!run->list.done && total < run->list.guessed)
        total = run->list.guessed;
    w->progress(w->ctx, done, total);
}

static void earlier(int64_t *when, int64_t t)
{
    if (t && (!*when || t < *when))
        *when = t;
}

static void set_timer(struct run *run, int64_t now)
{
    int64_t when = spread_next(&run->spread, now);
    for (const struct item *i = run->waiting; i; i = i->next) {
        if (i->due > now)
            earlier(&when, i->due);
    }
    if (run->list.due > now)
        earlier(&when, run->list.due);
    loop_watch_wake_at(run->timer, when);
}

/* Asked by the loop after each turn: takes what has finished, starts what may start. */
static bool advance(void *ctx)
{
    struct run *run = ctx;
    for (size_t k = 0; k < run->slot_count; k++) {
        if (run->slots[k].item && run->slots[k].request.finished)
            patch_answered(run, &run->slots[k]);
    }
    int64_t now = loop_now();
    list_ahead(run, now);
    fill_slots(run, now);
    tell(run);
    set_timer(run, now);
    if (run->in_flight || run->list.running)
        return false;
    return run->ending || (run->list.done && !run->queued);
}

static void run_free(struct run *run)
{
    for (size_t k = 0; k < run->slot_count; k++) {
        http_reset(&run->slots[k].request);
        item_free(run->slots[k].item);
    }
    mem_free(run->slots);
    http_reset(&run->list.request);
    http_reset(&run->list.guess);
    mem_free(run->list.token);
    mem_free(run->list.last);
    *run->fresh_end = run->waiting;
    for (struct item *i = run->fresh; i;) {
        struct item *next = i->next;
        item_free(i);
        i = next;
    }
    loop_unwatch(run->timer);
    spread_free(&run->spread);
    error_clear(&run->err);
}

static int run_all(struct rewrite *w, char *const *names, struct error *err)
{
    rewrite_clear(w);
    if (!w->server_count)
        return error_set(err, RESULT_FAILED, "rewriting the %s: no apiserver to do it",
                         w->resource->name);
    struct loop *loop = w->servers[0]->loop;
    struct run run CLEANUP(run_free) = {
        .w = w,
        .list = {.limit = KUBE_PAGE, .avoid = -1, .named = names},
        .slot_count = w->concurrency ? w->concurrency : CONCURRENCY,
    };
    if (run.slot_count > MOST_CONCURRENCY)
        run.slot_count = MOST_CONCURRENCY;
    while (names && names[run.list.remaining])
        run.list.remaining++;
    run.fresh_end = &run.fresh;
    run.slots = mem_alloc(run.slot_count, sizeof(*run.slots));
    spread_init(&run.spread, w->server_count, run.slot_count + 1);
    run.timer = loop_watch(loop, -1, 0, on_timer, NULL);
    if (w->progress && !names) {
        kube_guess_request(&run.list.guess, w->servers[0], w->resource);
        http_start(&run.list.guess);
    }
    if (loop_until(loop, advance, &run, 0, err) < 0)
        return -1;
    return run.failed ? error_move(err, &run.err) : 0;
}

int rewrite_run(struct rewrite *w, struct error *err)
{
    return run_all(w, NULL, err);
}

int rewrite_named(struct rewrite *w, char *const *names, struct error *err)
{
    return run_all(w, names, err);
}

void rewrite_clear(struct rewrite *w)
{
    size_t kept = w->stubborn_count < STUBBORN_KEPT ? w->stubborn_count : STUBBORN_KEPT;
    for (size_t i = 0; i < kept; i++) {
        mem_free(w->stubborn[i].namespace);
        mem_free(w->stubborn[i].name);
        mem_free(w->stubborn[i].why);
    }
    mem_free(STEAL(w->stubborn));
    w->listed = w->patched = w->gone = w->stubborn_count = 0;
    w->list_status = 0;
    w->stopped = false;
}
