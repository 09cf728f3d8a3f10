/* States: as keys of 64 bits, the set of those visited, and the way that led to one. */
#include "tests/model/explore.h"

#include <stdio.h>
#include <stdlib.h>

uint64_t pack(const struct state *s)
{
    uint64_t key = 1; /* never 0, which marks a free slot */
    for (size_t i = 0; i < MAX_NODES; i++) {
        const struct node *n = &s->nodes[i];
        key = key << 8 | (uint64_t)(n->file | n->runs << 3 | n->known << 6 | n->flag << 7);
    }
    key = key << STORE_BITS | s->store;
    return key << 5 | (uint64_t)(s->narrowing | s->rewritten << 1 | s->proved << 2 |
                                 s->switched << 3 | s->back << 4);
}

struct state unpack(uint64_t key)
{
    struct state s = {0};
    s.narrowing = key & 1;
    s.rewritten = key >> 1 & 1;
    s.proved = key >> 2 & 1;
    s.switched = key >> 3 & 1;
    s.back = key >> 4 & 1;
    key >>= 5;
    s.store = (uint32_t)(key & ((1u << STORE_BITS) - 1));
    key >>= STORE_BITS;
    for (size_t i = MAX_NODES; i-- > 0; key >>= 8)
        s.nodes[i] = (struct node){key & 7, key >> 3 & 7, key >> 6 & 1, key >> 7 & 1};
    return s;
}

/* ---- the visited set ---- */

uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x7fb5d329728ea185ull;
    x ^= x >> 27;
    x *= 0x81dadef4bc2dd44dull;
    return x ^ x >> 33;
}

static void grow_slots(struct search *x)
{
    x->slot_count = x->slot_count ? x->slot_count * 2 : 1 << 12;
    free(x->slots);
    x->slots = calloc(x->slot_count, sizeof(*x->slots));
    if (!x->slots)
        abort();
    for (size_t i = 0; i < x->count; i++) {
        size_t at = mix(x->visits[i].key) & (x->slot_count - 1);
        while (x->slots[at])
            at = (at + 1) & (x->slot_count - 1);
        x->slots[at] = (uint32_t)i + 1;
    }
}

uint32_t visit(struct search *x, uint64_t key, enum action action, size_t node)
{
    if (x->count * 2 >= x->slot_count)
        grow_slots(x);
    size_t at = mix(key) & (x->slot_count - 1);
    for (; x->slots[at]; at = (at + 1) & (x->slot_count - 1))
        if (x->visits[x->slots[at] - 1].key == key)
            return x->slots[at] - 1;
    if (x->count == x->room) {
        x->room = x->room ? x->room * 2 : 1 << 12;
        x->visits = realloc(x->visits, x->room * sizeof(*x->visits));
        if (!x->visits)
            abort();
    }
    x->visits[x->count] = (struct visit){key, x->current, (uint8_t)action, (uint8_t)node, 0};
    x->slots[at] = (uint32_t)++x->count;
    return (uint32_t)x->count - 1;
}

void violated(struct search *x, const char *what)
{
    if (!x->violation)
        x->violation = what;
}

/* ---- how a state was come to ---- */

static void print_state(const struct search *x, uint64_t key)
{
    static const char *const names[] = {"from", "widen", "switch", "to", "-"};
    struct state s = unpack(key);
    for (size_t i = 0; i < x->n; i++) {
        const struct node *n = &s.nodes[i];
        printf("  [file %s runs %s%s%s]", names[n->file],
               n->runs == DOWN ? "nothing" : names[n->runs], n->known ? "" : "?",
               n->flag ? "" : " no flag");
    }
    printf("  stored %06x%s%s%s%s%s\n", (unsigned)s.store, s.switched ? " switched" : "",
           s.rewritten ? " rewritten" : "", s.proved ? " proved" : "",
           s.narrowing ? " NARROWING" : "", s.back ? " back" : "");
}

void print_trace(const struct search *x, uint32_t index)
{
    static const char *const names[] = {"start",
                                        "step",
                                        "part of a step",
                                        "cut-off restart",
                                        "rolled back",
                                        "no proof",
                                        "restarts by itself",
                                        "stops",
                                        "forgotten",
                                        "deployed from the state file",
                                        "turned back",
                                        "files by hand",
                                        "files taken up, then the step",
                                        "one file at a time",
                                        "an older copy goes on"};
    const struct visit *v = &x->visits[index];
    if (v->action != START)
        print_trace(x, v->parent);
    printf("  %-28s node %u", names[v->action], v->node);
    print_state(x, v->key);
}
