#include "provisioner/kube/spread.h"

enum { FAILURES = 5, LEFT_ALONE_MS = 5000, LATELY_MS = 2000 };

/* The window is TCP's: doubling up to the threshold, creeping above it, halved by a 429. */
struct spread_server {
    size_t in_flight;
    double window, threshold;
    unsigned failures; /* in a row */
    int64_t alone_until;
    int64_t good_at; /* its last answer that was one */
    int64_t halved_at;
};

void spread_init(struct spread *s, size_t count, size_t most)
{
    *s = (struct spread){.count = count, .most = (double)most};
    s->servers = mem_alloc(count, sizeof(*s->servers));
    for (size_t i = 0; i < count; i++)
        s->servers[i] = (struct spread_server){.window = s->most, .threshold = s->most};
}

void spread_free(struct spread *s)
{
    mem_free(s->servers);
    *s = (struct spread){0};
}

static bool may_ask(const struct spread_server *v, int64_t now)
{
    return v->alone_until <= now && (double)v->in_flight < v->window;
}

/* True where `a` should rather be asked than `b`. */
static bool is_better(const struct spread *s, int a, int b, int avoid, bool surely)
{
    const struct spread_server *x = &s->servers[a];
    const struct spread_server *y = &s->servers[b];
    if ((a == avoid) != (b == avoid))
        return b == avoid;
    if (surely && (x->failures == 0) != (y->failures == 0))
        return x->failures == 0;
    return x->in_flight < y->in_flight;
}

int spread_pick(struct spread *s, int avoid, bool surely, int64_t now)
{
    int best = -1;
    for (int i = 0; i < (int)s->count; i++) {
        if (may_ask(&s->servers[i], now) && (best < 0 || is_better(s, i, best, avoid, surely)))
            best = i;
    }
    if (best >= 0)
        s->servers[best].in_flight++;
    return best;
}

int64_t spread_next(const struct spread *s, int64_t now)
{
    int64_t next = 0;
    for (size_t i = 0; i < s->count; i++) {
        int64_t t = s->servers[i].alone_until;
        if (t > now && (!next || t < next))
            next = t;
    }
    return next;
}

static bool others_work(const struct spread *s, int server, int64_t now)
{
    for (size_t i = 0; i < s->count; i++) {
        if ((int)i != server && s->servers[i].alone_until <= now)
            return true;
    }
    return false;
}

static bool leave_alone(struct spread_server *v, int64_t now)
{
    v->failures = FAILURES - 1; /* the first failure after the wait is enough for the next */
    v->alone_until = now + LEFT_ALONE_MS;
    v->window = 1;
    return true;
}

bool spread_answered(struct spread *s, int server, enum spread_answer a, int64_t now)
{
    struct spread_server *v = &s->servers[server];
    v->in_flight--;
    switch (a) {
    case SPREAD_GOOD:
        v->failures = 0;
        v->good_at = now;
        v->window += v->window < v->threshold ? 1 : 1 / v->window;
        if (v->window > s->most)
            v->window = s->most;
        break;
    case SPREAD_BUSY:
        /* Many that were in flight together say so together: that is one reason, not many. */
        if (now - v->halved_at < 500)
            break;
        v->halved_at = now;
        v->window = v->window > 2 ? v->window / 2 : 1;
        v->threshold = v->window;
        break;
    case SPREAD_BROKEN:
        /* Where every server says that it can't, it is the objects, and no wait would help. */
        if (++v->failures < FAILURES || !others_work(s, server, now))
            break;
        return leave_alone(v, now);
    case SPREAD_DEAD:
        /* A connection that ends takes many requests with it; a new one may well work. */
        if (++v->failures < FAILURES && now - v->good_at < LATELY_MS)
            break;
        return leave_alone(v, now);
    }
    return false;
}

void spread_dropped(struct spread *s, int server)
{
    s->servers[server].in_flight--;
}
