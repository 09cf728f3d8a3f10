#include "provisioner/net/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct loop_watch {
    struct loop *loop;
    int fd;
    short events;
    int64_t wake_at;
    void (*fn)(void *ctx, short revents);
    void *ctx;
    bool gone; /* removed while the watches are being walked */
    struct loop_watch *next;
};

struct loop {
    CURLM *multi;
    struct loop_watch *watches;
    bool walking;
    bool turning;
    void (*finished)(CURL *easy, CURLcode code);
    int interrupt_fd;
    atomic_bool interrupted;
    struct curl_waitfd *fds; /* room for one turn */
    struct loop_watch **polled;
    size_t room;
};

int loop_new(struct loop **out, struct error *err)
{
    struct loop *l = mem_alloc(1, sizeof(*l));
    l->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->multi = curl_multi_init();
    if (l->interrupt_fd < 0 || !l->multi) {
        int e = errno;
        loop_free(l);
        return error_set(err, RESULT_FAILED, "setting up the event loop: %s", strerror(e));
    }
    curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(l->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, 250L); /* kube-apiserver's limit */
    /* Without this, four idle connections are kept for each request in flight: fewer than there are
     * servers when they are asked one after the other. */
    curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, 256L);
    *out = l;
    return 0;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    if (l->multi)
        curl_multi_cleanup(l->multi);
    if (l->interrupt_fd >= 0)
        close(l->interrupt_fd);
    mem_free(l->fds);
    mem_free(l->polled);
    mem_free(l);
}

CURLM *loop_multi(struct loop *l)
{
    return l->multi;
}

int64_t loop_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct loop_watch *loop_watch(struct loop *l, int fd, short events,
                              void (*fn)(void *ctx, short revents), void *ctx)
{
    struct loop_watch *w = mem_alloc(1, sizeof(*w));
    *w = (struct loop_watch){.loop = l, .fd = fd, .events = events, .fn = fn, .ctx = ctx};
    w->next = l->watches;
    l->watches = w;
    return w;
}

void loop_watch_events(struct loop_watch *w, short events)
{
    w->events = events;
}

void loop_watch_wake_at(struct loop_watch *w, int64_t when)
{
    w->wake_at = when;
}

static void sweep(struct loop *l)
{
    for (struct loop_watch **p = &l->watches; *p;) {
        struct loop_watch *w = *p;
        if (w->gone) {
            *p = w->next;
            mem_free(w);
        } else {
            p = &w->next;
        }
    }
}

void loop_unwatch(struct loop_watch *w)
{
    if (!w)
        return;
    struct loop *l = w->loop;
    w->gone = true;
    if (!l->walking)
        sweep(l);
}

void loop_on_finished(struct loop *l, void (*fn)(CURL *easy, CURLcode code))
{
    l->finished = fn;
}

/* True where a transfer has finished. */
static bool drive_curl(struct loop *l)
{
    bool finished = false;
    int running = 0;
    int left = 0;
    curl_multi_perform(l->multi, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(l->multi, &left));) {
        if (m->msg == CURLMSG_DONE && l->finished) {
            l->finished(m->easy_handle, m->data.result);
            finished = true;
        }
    }
    return finished;
}

static size_t gather(struct loop *l, int64_t now, int64_t *timeout)
{
    size_t n = 0;
    for (struct loop_watch *w = l->watches; w; w = w->next)
        n++;
    if (n + 1 > l->room) {
        l->room = n + 16;
        l->fds = mem_realloc(l->fds, l->room, sizeof(*l->fds));
        l->polled = mem_realloc(l->polled, l->room, sizeof(struct loop_watch *));
    }
    n = 0;
    for (struct loop_watch *w = l->watches; w; w = w->next) {
        if (w->wake_at) {
            int64_t wait = w->wake_at > now ? w->wake_at - now : 0;
            if (wait < *timeout)
                *timeout = wait;
        }
        if (w->fd < 0 || !w->events)
            continue;
        /* CURL_WAIT_POLLIN and the like have poll's own meanings but not its numbers. */
        short events = 0;
        if (w->events & POLLIN)
            events |= CURL_WAIT_POLLIN;
        if (w->events & POLLOUT)
            events |= CURL_WAIT_POLLOUT;
        l->fds[n] = (struct curl_waitfd){.fd = w->fd, .events = events};
        l->polled[n++] = w;
    }
    l->fds[n] = (struct curl_waitfd){.fd = l->interrupt_fd, .events = CURL_WAIT_POLLIN};
    l->polled[n++] = NULL;
    return n;
}

static void dispatch(struct loop *l, size_t n)
{
    l->walking = true;
    for (size_t i = 0; i < n; i++) {
        struct loop_watch *w = l->polled[i];
        short got = l->fds[i].revents;
        if (!w || w->gone || !got)
            continue;
        short revents = 0;
        if (got & CURL_WAIT_POLLIN)
            revents |= POLLIN;
        if (got & CURL_WAIT_POLLOUT)
            revents |= POLLOUT;
        w->fn(w->ctx, revents);
    }
    int64_t now = loop_now();
    for (struct loop_watch *w = l->watches; w; w = w->next) {
        if (!w->gone && w->wake_at && w->wake_at <= now) {
            w->wake_at = 0;
            w->fn(w->ctx, 0);
        }
    }
    l->walking = false;
    sweep(l);
}

static int turn_once(struct loop *l, int64_t deadline, struct error *err)
{
    if (atomic_load(&l->interrupted))
        return error_set(err, RESULT_INTERRUPTED, "interrupted");
    int64_t now = loop_now();
    if (deadline && now >= deadline)
        return error_set(err, RESULT_FAILED, "timed out");
    int64_t timeout = deadline ? deadline - now : 60000;
    /* That may be all that is waited for: then there is nothing left to wake the poll. */
    if (drive_curl(l))
        timeout = 0;
    size_t n = gather(l, now, &timeout);
    CURLMcode rc = curl_multi_poll(l->multi, l->fds, (unsigned)n,
                                   timeout > INT_MAX ? INT_MAX : (int)timeout, NULL);
    if (rc != CURLM_OK)
        return error_set(err, RESULT_FAILED, "waiting for the network: %s",
                         curl_multi_strerror(rc));
    dispatch(l, n);
    drive_curl(l);
    return 0;
}

static int turn(struct loop *l, int64_t deadline, struct error *err)
{
    if (l->turning)
        abort(); /* from a callback: the turn under way would find its arrays changed */
    l->turning = true;
    int rc = turn_once(l, deadline, err);
    l->turning = false;
    return rc;
}

int loop_until(struct loop *l, bool (*done)(void *ctx), void *ctx, int64_t deadline,
               struct error *err)
{
    while (!done(ctx)) {
        if (turn(l, deadline, err) < 0)
            return -1;
    }
    return 0;
}

int loop_pause(struct loop *l, int64_t milliseconds, struct error *err)
{
    int64_t end = loop_now() + milliseconds;
    while (loop_now() < end) {
        struct error e CLEANUP(error_clear) = {0};
        if (turn(l, end, &e) < 0 && loop_now() < end)
            return error_move(err, &e);
    }
    return 0;
}

void loop_interrupt(struct loop *l)
{
    atomic_store(&l->interrupted, true);
    uint64_t one = 1;
    ssize_t ignored = write(l->interrupt_fd, &one, sizeof(one));
    (void)ignored;
}
