/* The planner's steps as they are told. */
#include "provisioner/plan.h"

/* Measured on the testbed: docs/testbed.md, docs/operations.md. */
static const double restart_s = 6, objects_a_second = 300, in_flight_s = 16;

static const char *form_text(enum form f, bool back)
{
    if (back)
        return f == FORM_TO ? "it is the configuration before, alone"
                            : "it writes the configuration before, and still reads the other";
    switch (f) {
    case FORM_FROM:
        return "it is the configuration before";
    case FORM_WIDEN:
        return "it reads the old form and the new one, and writes the old one";
    case FORM_SWITCH:
        return "it reads both, and writes the new one";
    case FORM_TO:
        return "it reads the new form alone: what was before is given up";
    }
    return "";
}

static bool is_none(const struct forms *forms, enum form f)
{
    return !forms->config[f] || !forms->config[f]->item_count;
}

static char *restart_text(const struct plan_ahead *a, const struct forms *forms, bool back,
                          bool several)
{
    bool without = is_none(forms, a->step.form);
    bool brings = !back && is_none(forms, FORM_FROM) && a->step.form == FORM_WIDEN;
    if (a->reload)
        return mem_strdup("kube-apiserver takes the file up by itself (it looks every 60 s), and "
                          "tells that it has: no restart");
    return mem_printf("restart kube-apiserver%s%s ready%s",
                      without  ? " without the flag"
                      : brings ? " with the flag"
                               : "",
                      several ? ", one after the other, each" : " and wait until it is",
                      without ? "" : " and shown to run that file");
}

static char *step_text(const struct plan_ahead *a, const struct forms *forms,
                       const struct plan_words *w, bool several)
{
    switch (a->step.kind) {
    case PLAN_PUT:
        return mem_printf("put %s: %s", w->path, form_text(a->step.form, w->back));
    case PLAN_RESTART:
        return restart_text(a, forms, w->back, several);
    case PLAN_REWRITE:
        return mem_strdup("what is stored is rewritten, by empty patches through all apiservers");
    case PLAN_PROVE:
        return mem_strdup(
            "what etcd holds is counted, at one revision: nothing may need what is to go");
    case PLAN_NARROW:
        return mem_strdup(
            "that narrowing begins is recorded: from here there is no way back, only on");
    case PLAN_REMOVE:
        return mem_printf("remove %s", w->path);
    case PLAN_DONE:
        return mem_strdup("the state file says what runs, the lock in the cluster is given back");
    case PLAN_REFUSE:
        break;
    }
    return mem_strdup("");
}

static const char *what_of(const struct plan_ahead *a)
{
    switch (a->step.kind) {
    case PLAN_PUT:
        return "put";
    case PLAN_RESTART:
        return a->reload ? "reload" : "restart";
    case PLAN_REWRITE:
        return "rewrite";
    case PLAN_PROVE:
        return "prove";
    case PLAN_NARROW:
        return "narrow";
    case PLAN_REMOVE:
        return "remove";
    case PLAN_DONE:
    case PLAN_REFUSE:
        break;
    }
    return "close";
}

/* How many steps from this one on are told as one. */
static size_t run_length(const struct plan_ahead *list, size_t count)
{
    size_t n = 1;
    while (list[0].step.kind == PLAN_RESTART && n < count && list[n].step.kind == PLAN_RESTART &&
           list[n].step.form == list[0].step.form && list[n].reload == list[0].reload)
        n++;
    return n;
}

static void add_nodes(struct encrypt_plan_step *s, uint64_t nodes, const char *const *names)
{
    for (size_t i = 0; i < PLAN_MAX_NODES; i++) {
        if (!(nodes >> i & 1))
            continue;
        MEM_GROW(s->nodes, s->node_count + 1);
        s->nodes[s->node_count++] = mem_strdup(names[i]);
        s->nodes[s->node_count] = NULL;
    }
}

void plan_tell_steps(const struct plan_ahead *list, size_t count, const struct forms *forms,
                     const struct plan_words *words, struct encrypt_plan_step **steps,
                     size_t *step_count)
{
    for (size_t i = 0, n = 0; i < count; i += n) {
        const struct plan_ahead *a = &list[i];
        n = run_length(a, count - i);
        if (a->step.kind == PLAN_REFUSE)
            continue;
        MEM_GROW(*steps, *step_count);
        struct encrypt_plan_step *s = &(*steps)[(*step_count)++];
        bool has_form = a->step.kind == PLAN_PUT || a->step.kind == PLAN_RESTART;
        *s = (struct encrypt_plan_step){.what = what_of(a),
                                        .form = has_form ? form_name(a->step.form) : NULL,
                                        .nodes = mem_alloc(1, sizeof(char *)),
                                        .text = step_text(a, forms, words, n > 1)};
        for (size_t k = i; k < i + n; k++)
            add_nodes(s, list[k].step.nodes, words->names);
    }
}

void plan_count(const struct plan_ahead *list, size_t count, size_t *restarts, size_t *reloads)
{
    *restarts = *reloads = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].step.kind == PLAN_RESTART)
            ++*(list[i].reload ? reloads : restarts);
    }
}

double plan_seconds(const struct plan_ahead *list, size_t count, size_t objects, int64_t request_ms)
{
    double sum = 0, rewriting = 0;
    bool proves = false;
    for (size_t i = 0, n = 0; i < count; i += n) {
        const struct plan_ahead *a = &list[i];
        n = run_length(a, count - i);
        if (a->step.kind == PLAN_RESTART)
            sum += a->reload ? 60 : restart_s * (double)n;
        if (a->step.kind == PLAN_REWRITE)
            rewriting = (double)objects / objects_a_second;
        proves = proves || a->step.kind == PLAN_PROVE;
    }
    /* The wait runs while what is stored is rewritten. */
    double wait = proves ? in_flight_s + (double)request_ms / 1000 : 0;
    return sum + (rewriting > wait ? rewriting : wait);
}
