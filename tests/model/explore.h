/*
 * States of a cluster in a transition, and the search through them. Calls run down only: model.c,
 * search.c, explore.c, then states.c and mutants.c.
 */
#ifndef ENCRYPT_TESTS_MODEL_EXPLORE_H
#define ENCRYPT_TESTS_MODEL_EXPLORE_H

#include "tests/model/transition.h"

/* ---- types ---- */

/* ABSENT and DOWN stand where a form would: they must differ from all of them, within 3 bits. */
enum { ABSENT = 4, DOWN = 4, MAX_NODES = 4 };

struct node {
    unsigned file : 3;  /* a form (canonical, not none) or ABSENT */
    unsigned runs : 3;  /* a form (canonical) or DOWN */
    unsigned known : 1; /* the tool knows what it runs */
    unsigned flag : 1;  /* its arguments name the file */
};

/* Nodes that aren't there are zero. */
struct state {
    struct node nodes[MAX_NODES];
    uint32_t store : STORE_BITS;
    uint32_t narrowing : 1, rewritten : 1, proved : 1;
    uint32_t switched : 1; /* the journal: SWITCH was meant for some node */
    uint32_t back : 1;     /* the way there was given up: the way back, through the same forms */
};
_Static_assert(sizeof(struct node) == 4 || sizeof(struct node) == 1, "packs into the key");

/* What led to a state, for the trace. */
enum action {
    START,
    STEP,          /* the planner's, in full */
    STEP_PART,     /* on some of its nodes only */
    STEP_CUT,      /* cut off in the middle of a restart */
    STEP_ROLLBACK, /* failed and rolled back */
    PROOF_FAILED,
    RESTARTED, /* an apiserver, by itself */
    STOPPED,
    FORGOTTEN,
    DEPLOYED, /* by somebody else, out of the state file */
    TURNED_BACK,
    BY_HAND,    /* a staged command with --no-restart: files on all or some of its nodes */
    LATE,       /* the step, after nodes took up what lies there by themselves: automatic reload */
    SINGLY,     /* the step where what is taken up by itself isn't told */
    OLDER_COPY, /* somebody goes on with a state file that knows nothing of going back */
};

struct visit {
    uint64_t key;
    uint32_t parent;
    uint8_t action, node;
    uint8_t to_done; /* 0: not known yet; else steps + 1 */
};

/* One mistake at a time; BREAK_NOTHING is the real thing. */
enum breakage {
    BREAK_NOTHING,
    BREAK_SKIP_WIDEN,
    BREAK_NARROW_UNPROVED,
    BREAK_NARROW_UNREWRITTEN,
    BREAK_NARROW_EARLY,
    BREAK_ROLLBACK_FROM,
    BREAK_ROLLBACK_WIDEN_FROM,
    BREAK_ALL_AT_ONCE,
    BREAK_RESTART_TOGETHER,
    BREAK_STATE_TO,
    BREAK_STATE_FROM,
    BREAK_KEEP_FACTS,
    BREAK_REMOVE_FIRST,
    BREAK_ENABLE_AT_ONCE,
    BREAK_HEAL_FINISHED,
    BREAK_BACK_AT_ONCE,
    BREAK_BACK_UNPROVED,
    BREAK_BACK_AS_THERE,
    BREAK_BACK_UNSWITCHED,
    BREAK_UNION_TWO_ENTRIES,
    BREAK_UNION_SWAPPED,
    BREAK_UNION_FIRST_ONLY,
    BREAK_UNION_NO_IDENTITY,
    BREAK_RELOAD_PROVES,   /* a file that lies there counts as what runs */
    BREAK_HAND_EARLY,      /* by hand, a stage does not wait for the one before */
    BREAK_REWRITE_WRITERS, /* what changes in its readers alone is not rewritten */
    BREAK_COUNT,
};

/* What the planner says to an observation: asked once, remembered by key. Its forms are those of
 * the way there, also on the way back. */
struct plan_memo {
    uint64_t key;
    struct plan_step step;
    struct plan_step by_hand; /* where the restarts are somebody else's */
    struct plan_step singly;  /* where a file may take effect and nothing tells */
    enum form state_form, rollback[FORM_COUNT];
};

/* One search: a transition with n apiservers. Set t, from_name, to_name, n, broken and quiet, the
 * rest zero; free with search_free(). */
struct search {
    const struct transition *t;
    const struct forms *back; /* of the way back */
    const char *from_name, *to_name;
    size_t n;
    enum breakage broken;
    bool staged; /* the planner is told so (it makes a difference with one apiserver alone) */
    struct visit *visits;
    size_t count, room;
    uint32_t *slots; /* index into visits + 1 */
    size_t slot_count;
    struct plan_memo *memo;
    size_t memo_slots, memo_count;
    const char *violation;
    uint32_t current; /* the state being expanded */
    bool quiet;
};

/* ---- states.c ---- */

uint64_t pack(const struct state *s); /* never 0 */
struct state unpack(uint64_t key);
uint64_t mix(uint64_t x); /* a hash */

/* The index of the state, entered (as come to from x->current by the action) if it is new. Moves
 * x->visits. */
uint32_t visit(struct search *x, uint64_t key, enum action action, size_t node);

/* The first violation is kept, and ends the search. what: a literal. */
void violated(struct search *x, const char *what);

/* To stdout: how the state was come to, from the start on. */
void print_trace(const struct search *x, uint32_t index);

/* ---- mutants.c: each does nothing unless that mistake is asked for ---- */

extern const char *const breakage_names[BREAK_COUNT]; /* BREAK_NOTHING: NULL */

void break_forms(struct forms *f, enum breakage how); /* before boil() */
void break_facts(const struct search *x, struct plan_facts *facts);
/* facts: as the planner was told them, after break_facts(). */
void break_step(const struct search *x, const struct plan_node *obs, struct plan_facts facts,
                struct plan_step *step);
/* Its state form and rollbacks. facts: as they are. BREAK_KEEP_FACTS strikes in expand(). */
void break_answer(const struct search *x, struct plan_facts facts, struct plan_memo *m);

/* ---- explore.c ---- */

/* The form of the way there that a form of the way back is. */
enum form there_of(enum form back);

/* The planner's answer in this state. Valid until the next call. */
const struct plan_memo *plan(struct search *x, const struct state *s);

/* Enters the state that all begins with: every node runs FROM, what FROM reads may be stored. */
void enter_first(struct search *x);

/* Enters all that may follow the state, with what clients write meanwhile, and asserts what must
 * hold. Gives the state that the
 * tool goes on to by itself, or UINT32_MAX when it is done. */
uint32_t expand(struct search *x, uint32_t index);

/* ---- search.c ---- */

/* Gives true where nothing is violated; otherwise prints the trace, unless x->quiet. Adds the
 * number of states to *states. */
bool search(struct search *x, size_t *states);
void search_free(struct search *x);

#endif
