/* The stage that `status` names: pure. */
#include "provisioner/status.h"

enum stage status_stage(const struct journal *j, const struct stage_at *at, bool at_work)
{
    if (j && j->transition)
        return at->stage == STAGE_REENCRYPT_REQUEST && at_work ? STAGE_REENCRYPT_ACTIVE : at->stage;
    return j && str_eq(j->last.why, "rotate-key") && !j->last.aborted ? STAGE_REENCRYPT_FINISHED
                                                                      : STAGE_START;
}

/* Where no node was seen. */
static enum stage by_journal(const struct transition *t)
{
    if (t->stage == TRANSITION_NARROWING)
        return STAGE_REENCRYPT_FINISHED;
    if (t->reopened || t->rewritten || (t->staged && t->requested))
        return STAGE_REENCRYPT_REQUEST;
    return t->switched ? STAGE_ROTATE : STAGE_PREPARE;
}

/* The form of the way there that a node has, the furthest of those that it may be, on the way back:
 * where the forms are turned. */
static enum stage furthest_back(form_set has)
{
    if (has & FORM_BIT(FORM_TO))
        return STAGE_START;
    if (has & FORM_BIT(FORM_SWITCH))
        return STAGE_PREPARE;
    return has ? STAGE_ROTATE : STAGE_START;
}

static enum stage on_the_way_back(const struct plan_node *nodes, size_t count)
{
    enum stage s = STAGE_START;
    for (size_t i = 0; i < count; i++) {
        enum stage file = furthest_back(nodes[i].file);
        enum stage runs = furthest_back(nodes[i].runs);
        s = file > s ? file : s;
        s = runs > s ? runs : s;
    }
    return s;
}

struct stage_at status_at(const struct transition *t, const struct forms *forms,
                          const struct plan_node *nodes, size_t count, struct plan_facts facts)
{
    struct stage_at at = {.stage = by_journal(t)};
    if (!forms || !count)
        return at;
    /* One that was not begun stage by stage rewrites without being asked to once more. */
    if (!facts.back)
        return stage_of(forms, nodes, count, facts, t->requested || !t->staged);
    at.refused = plan_next(forms, nodes, count, facts).kind == PLAN_REFUSE;
    for (size_t i = 0; i < count; i++)
        if (!(nodes[i].runs & nodes[i].file))
            at.waiting |= UINT64_C(1) << i;
    if (t->aborting)
        at.stage = on_the_way_back(nodes, count);
    return at;
}

const char *status_next(const struct transition *t, const struct stage_at *at, bool at_work)
{
    if (!t || at_work)
        return NULL;
    if (at->refused)
        return "doctor";
    if (!t->staged || t->aborting || t->reopened)
        return "resume";
    return stage_command_name(stage_next(at));
}
