/* Which apiserver gets the next request: rewrite.c's own. A faster one gets more, since the next
 * goes to the one with the fewest in flight; one that is overloaded gets fewer at once; one that
 * fails is left alone for a while. */
#ifndef ENCRYPT_PROVISIONER_KUBE_SPREAD_H
#define ENCRYPT_PROVISIONER_KUBE_SPREAD_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct spread {
    struct spread_server *servers;
    size_t count;
    double most; /* in flight at once on one server */
};
void spread_init(struct spread *s, size_t count, size_t most);
void spread_free(struct spread *s);

/* One to ask now, where there is one another than `avoid` (-1: none), and with `surely` one that
 * did not fail lately; counts it as in flight. -1 where all are left alone or have enough. */
int spread_pick(struct spread *s, int avoid, bool surely, int64_t now);
/* When the next one that is left alone may be asked again; 0 where none is. */
int64_t spread_next(const struct spread *s, int64_t now);

enum spread_answer {
    SPREAD_GOOD,
    SPREAD_BUSY,   /* asks for less */
    SPREAD_BROKEN, /* answers, but that it can't */
    SPREAD_DEAD,   /* no answer */
};
/* True where the server is left alone from now on. */
bool spread_answered(struct spread *s, int server, enum spread_answer a, int64_t now);
/* A request was ended by us, without an answer. */
void spread_dropped(struct spread *s, int server);

#endif
