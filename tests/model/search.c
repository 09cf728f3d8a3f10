/* One search: from the first state until nothing new is found or something is violated. */
#include "tests/model/explore.h"

#include <stdio.h>
#include <stdlib.h>

/* From every state, the planner alone comes to an end. */
static void check_ends(struct search *x, const uint32_t *on)
{
    enum { BOUND = 200 };
    uint32_t path[BOUND];
    for (uint32_t i = 0; i < x->count && !x->violation; i++) {
        size_t len = 0;
        uint32_t at = i;
        while (at != UINT32_MAX && !x->visits[at].to_done && len < BOUND) {
            path[len++] = at;
            at = on[at];
        }
        if (len == BOUND) {
            x->current = i;
            violated(x, "the planner does not come to an end from here");
            return;
        }
        uint8_t steps = at == UINT32_MAX ? 0 : x->visits[at].to_done;
        while (len-- > 0)
            x->visits[path[len]].to_done = ++steps;
    }
}

void search_free(struct search *x)
{
    free(x->visits);
    free(x->slots);
    free(x->memo);
}

bool search(struct search *x, size_t *states)
{
    enter_first(x);
    uint32_t *on = NULL;
    size_t room = 0;
    for (uint32_t i = 0; i < x->count && !x->violation; i++) {
        if (i == room) {
            room = room ? room * 2 : 1 << 12;
            on = realloc(on, room * sizeof(*on));
            if (!on)
                abort();
        }
        on[i] = expand(x, i);
    }
    if (!x->violation)
        check_ends(x, on);
    free(on);
    *states += x->count;
    if (!x->violation)
        return true;
    if (!x->quiet) {
        printf("model: \"%s\" to \"%s\" with %zu nodes: %s\n", x->from_name, x->to_name, x->n,
               x->violation);
        print_trace(x, x->current);
        struct state last = unpack(x->visits[x->current].key);
        const struct plan_step *step = &plan(x, &last)->step;
        printf("  next: kind %d form %s nodes %llx %s\n", step->kind, form_name(step->form),
               (unsigned long long)step->nodes, step->why ? step->why : "");
    }
    return false;
}
