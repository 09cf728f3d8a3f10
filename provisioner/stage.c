#include "provisioner/stage.h"

#include <stdlib.h>

const char *stage_name(enum stage s)
{
    static const char *const names[] = {"start",
                                        "prepare",
                                        "rotate",
                                        "reencrypt_request",
                                        "reencrypt_active",
                                        "reencrypt_finished"};
    return names[s];
}

const char *stage_command_name(enum stage_command c)
{
    static const char *const names[STAGE_COMMANDS] = {"", "prepare", "rotate", "reencrypt",
                                                      "restart"};
    return names[c];
}

/* One of the two that are told apart, and not the one before: forms may be equal. */
static bool has_switch(const struct plan_node *n)
{
    const form_set before = FORM_BIT(FORM_FROM) | FORM_BIT(FORM_WIDEN);
    return (n->file_there && (n->file & FORM_BIT(FORM_SWITCH)) && !(n->file & before)) ||
           ((n->runs & FORM_BIT(FORM_SWITCH)) && !(n->runs & before));
}

static uint64_t waiting(const struct plan_node *nodes, size_t count)
{
    uint64_t set = 0;
    for (size_t i = 0; i < count; i++)
        if (!(nodes[i].runs & nodes[i].file))
            set |= UINT64_C(1) << i;
    return set;
}

static bool all_have(const struct plan_node *nodes, size_t count, form_set files)
{
    for (size_t i = 0; i < count; i++)
        if (!(nodes[i].file & files))
            return false;
    return true;
}

/* The files that a stage brings. */
static form_set files_of(enum stage s)
{
    return s == STAGE_REENCRYPT_FINISHED ? FORM_BIT(FORM_TO)
           : s == STAGE_PREPARE          ? FORM_BIT(FORM_WIDEN) | FORM_BIT(FORM_SWITCH)
                                         : FORM_BIT(FORM_SWITCH);
}

static struct stage_at look(const struct forms *forms, const struct plan_node *nodes, size_t count,
                            struct plan_facts facts, bool requested)
{
    facts.by_hand = false;
    struct plan_step step = plan_next(forms, nodes, count, facts);
    struct stage_at at = {.waiting = waiting(nodes, count), .refused = step.kind == PLAN_REFUSE};
    bool switched = false;
    for (size_t i = 0; i < count; i++)
        switched = switched || has_switch(&nodes[i]);
    if (facts.narrowing) {
        at.stage = STAGE_REENCRYPT_FINISHED;
        at.complete = step.kind == PLAN_DONE;
        return at;
    }
    switch (step.kind) {
    case PLAN_PUT:
    case PLAN_RESTART:
        at.stage = switched ? STAGE_ROTATE : STAGE_PREPARE;
        at.complete = !switched && step.form == FORM_SWITCH;
        return at;
    case PLAN_REWRITE:
    case PLAN_PROVE:
    case PLAN_NARROW:
        at.stage = requested ? STAGE_REENCRYPT_REQUEST : STAGE_ROTATE;
        at.complete = true;
        return at;
    case PLAN_REFUSE:
        at.stage = requested ? STAGE_REENCRYPT_REQUEST : switched ? STAGE_ROTATE : STAGE_PREPARE;
        return at;
    case PLAN_REMOVE:
    case PLAN_DONE:
        break;
    }
    abort(); /* both come after narrowing was begun */
}

struct stage_at stage_of(const struct forms *forms, const struct plan_node *nodes, size_t count,
                         struct plan_facts facts, bool requested)
{
    struct stage_at at = look(forms, nodes, count, facts, requested);
    at.placed = at.complete || all_have(nodes, count, files_of(at.stage));
    return at;
}

bool stage_of_node(form_set runs, enum stage whole, enum stage *out)
{
    /* Forms that are equal are one: the later one is what was meant, if that was reached. */
    bool switching = whole >= STAGE_ROTATE;
    if (!runs)
        return false;
    if (whole == STAGE_REENCRYPT_FINISHED && (runs & FORM_BIT(FORM_TO)))
        *out = STAGE_REENCRYPT_FINISHED;
    else if (switching && (runs & FORM_BIT(FORM_SWITCH)))
        *out = whole == STAGE_REENCRYPT_FINISHED ? STAGE_ROTATE : whole;
    else if (runs & FORM_BIT(FORM_FROM))
        *out = STAGE_START;
    else if (runs & FORM_BIT(FORM_WIDEN))
        *out = STAGE_PREPARE;
    else
        *out = runs & FORM_BIT(FORM_SWITCH) ? STAGE_ROTATE : STAGE_REENCRYPT_FINISHED;
    return true;
}

struct stage_hashes stage_compare(const struct plan_node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = i + 1; k < count; k++)
            if (nodes[i].runs && nodes[k].runs && !(nodes[i].runs & nodes[k].runs))
                return (struct stage_hashes){STAGE_MISMATCH_NODES, i, k};
    uint64_t late = waiting(nodes, count);
    if (late)
        return (struct stage_hashes){STAGE_MISMATCH_FILE, (size_t)__builtin_ctzll(late), 0};
    return (struct stage_hashes){STAGE_MATCH, 0, 0};
}

enum stage_command stage_next(const struct stage_at *at)
{
    if (!at)
        return STAGE_COMMAND_PREPARE;
    if (at->waiting)
        return STAGE_COMMAND_RESTART;
    switch (at->stage) {
    case STAGE_START:
        return STAGE_COMMAND_PREPARE;
    case STAGE_PREPARE:
        return at->complete ? STAGE_COMMAND_ROTATE : STAGE_COMMAND_PREPARE;
    case STAGE_ROTATE:
        return at->complete ? STAGE_COMMAND_REENCRYPT : STAGE_COMMAND_ROTATE;
    case STAGE_REENCRYPT_REQUEST:
    case STAGE_REENCRYPT_ACTIVE:
        return STAGE_COMMAND_REENCRYPT;
    case STAGE_REENCRYPT_FINISHED:
        return at->complete ? STAGE_COMMAND_PREPARE : STAGE_COMMAND_REENCRYPT;
    }
    abort();
}

/* The stage that a command brings about. */
static enum stage stage_made_by(enum stage_command c)
{
    return c == STAGE_COMMAND_PREPARE  ? STAGE_PREPARE
           : c == STAGE_COMMAND_ROTATE ? STAGE_ROTATE
                                       : STAGE_REENCRYPT_FINISHED;
}

enum stage_answer stage_allows(enum stage_command c, const struct stage_at *at)
{
    if (c == STAGE_COMMAND_NONE)
        return STAGE_GO;
    if (!at)
        return c == STAGE_COMMAND_PREPARE   ? STAGE_GO
               : c == STAGE_COMMAND_RESTART ? STAGE_NOTHING
                                            : STAGE_WRONG;
    bool over = at->stage == STAGE_REENCRYPT_FINISHED && at->complete;
    if (c == STAGE_COMMAND_RESTART)
        return at->waiting || over ? STAGE_GO : STAGE_NOTHING;
    /* Its own stage, begun and not ended. */
    if (at->stage == stage_made_by(c))
        return !at->complete || c == STAGE_COMMAND_REENCRYPT ? STAGE_GO : STAGE_WRONG;
    if (c == STAGE_COMMAND_REENCRYPT &&
        (at->stage == STAGE_REENCRYPT_REQUEST || at->stage == STAGE_REENCRYPT_ACTIVE))
        return STAGE_GO;
    /* Of the next stage: it has to wait until every apiserver runs this one. */
    bool follows = c == STAGE_COMMAND_PREPARE  ? at->stage == STAGE_REENCRYPT_FINISHED
                   : c == STAGE_COMMAND_ROTATE ? at->stage == STAGE_PREPARE
                                               : at->stage == STAGE_ROTATE;
    if (!follows)
        return STAGE_WRONG;
    return at->complete ? STAGE_GO : at->waiting ? STAGE_TOO_EARLY : STAGE_WRONG;
}

enum stage_command stage_to_restart(const struct stage_at *at)
{
    return at->stage <= STAGE_PREPARE  ? STAGE_COMMAND_PREPARE
           : at->stage == STAGE_ROTATE ? STAGE_COMMAND_ROTATE
                                       : STAGE_COMMAND_REENCRYPT;
}

bool stage_ends_before(enum stage_command c, bool by_hand, const struct plan_step *step)
{
    bool puts = step->kind == PLAN_PUT, restarts = step->kind == PLAN_RESTART;
    if (by_hand && restarts)
        return true;
    switch (c) {
    case STAGE_COMMAND_NONE:
    case STAGE_COMMAND_REENCRYPT:
        return false;
    case STAGE_COMMAND_PREPARE:
        return !((puts || restarts) && step->form == FORM_WIDEN);
    case STAGE_COMMAND_ROTATE:
        return !((puts || restarts) && (step->form == FORM_WIDEN || step->form == FORM_SWITCH));
    case STAGE_COMMAND_RESTART:
        break;
    }
    abort();
}
