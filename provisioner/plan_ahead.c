#include "provisioner/plan_ahead.h"

#include <string.h>

struct future {
    const struct forms *forms;
    struct plan_node nodes[PLAN_MAX_NODES];
    struct plan_facts facts;
    uint64_t reloads;
};

static bool is_none(const struct future *f, enum form form)
{
    return !f->forms->config[form] || !f->forms->config[form]->item_count;
}

static void take_for_done(struct future *f, const struct plan_step *step, size_t count)
{
    form_set set = forms_of(f->forms, f->forms->config[step->form]);
    bool none = is_none(f, step->form);
    for (size_t i = 0; i < count; i++) {
        struct plan_node *n = &f->nodes[i];
        if (!(step->nodes >> i & 1))
            continue;
        if (step->kind == PLAN_PUT)
            n->file = set;
        if (step->kind == PLAN_PUT)
            n->file_there = !none;
        if (step->kind == PLAN_RESTART)
            n->runs = set;
        if (step->kind == PLAN_RESTART && none)
            f->reloads &= ~(UINT64_C(1) << i);
        if (step->kind == PLAN_REMOVE)
            *n = (struct plan_node){.file = forms_of(f->forms, NULL), .runs = n->runs};
    }
    bool writes = step->kind == PLAN_PUT || step->kind == PLAN_RESTART;
    if (writes && !f->facts.back && (step->form == FORM_SWITCH || step->form == FORM_TO))
        f->facts.switched = true;
    f->facts.rewritten = f->facts.rewritten || step->kind == PLAN_REWRITE;
    f->facts.proved = f->facts.proved || step->kind == PLAN_PROVE;
    f->facts.narrowing = f->facts.narrowing || step->kind == PLAN_NARROW;
}

size_t plan_ahead(const struct forms *forms, const struct plan_node *nodes, size_t count,
                  struct plan_facts facts, uint64_t reloads, struct plan_ahead **out)
{
    struct future f = {.forms = forms, .facts = facts, .reloads = reloads};
    struct plan_ahead *list = NULL;
    size_t steps = 0, bound = 64 + count * 32; /* as run.c has it */
    if (count <= PLAN_MAX_NODES)
        memcpy(f.nodes, nodes, count * sizeof(*nodes));
    do {
        MEM_GROW(list, steps);
        struct plan_ahead *a = &list[steps++];
        *a = (struct plan_ahead){.step = plan_next(forms, f.nodes, count, f.facts)};
        a->reload = a->step.kind == PLAN_RESTART && !is_none(&f, a->step.form) &&
                    !(a->step.nodes & ~f.reloads);
        if (a->step.kind == PLAN_DONE || a->step.kind == PLAN_REFUSE)
            break;
        take_for_done(&f, &a->step, count);
    } while (steps < bound);
    *out = list;
    return steps;
}
