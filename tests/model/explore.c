/*
 * What may happen in a state and what must hold there: the planner is asked, its step is carried
 * out in full, in part, failing and rolled back, and accidents befall every node.
 */
#include "tests/model/explore.h"

#include <stdlib.h>

/* ---- what the tool sees and the planner says ---- */

enum form there_of(enum form back)
{
    static const enum form there[FORM_COUNT] = {FORM_SWITCH, FORM_SWITCH, FORM_WIDEN, FORM_FROM};
    return there[back];
}

/* As the forms of the way that is gone. */
static form_set seen_as(const struct state *s, form_set there)
{
    form_set back = 0;
    for (unsigned f = 0; f < FORM_COUNT; f++)
        back |= there & FORM_BIT(there_of((enum form)f)) ? FORM_BIT(f) : 0;
    return s->back ? back : there;
}

static void observe(const struct search *x, const struct state *s, struct plan_node *out)
{
    const struct transition *t = x->t;
    form_set none = 0;
    for (unsigned f = 0; f < FORM_COUNT; f++)
        none |= t->none[f] ? FORM_BIT(f) : 0;
    for (size_t i = 0; i < x->n; i++) {
        const struct node *n = &s->nodes[i];
        out[i].file_there = n->file != ABSENT;
        out[i].file = seen_as(s, n->file == ABSENT ? none : t->bits[n->file]);
        out[i].runs = seen_as(s, n->known && n->runs != DOWN ? t->bits[n->runs] : 0);
        if (x->broken == BREAK_RELOAD_PROVES && n->flag && n->file != ABSENT && n->runs != DOWN)
            out[i].runs = out[i].file;
    }
}

/* Where it ends. */
static enum form goal(const struct state *s)
{
    return s->back ? FORM_FROM : FORM_TO;
}

static struct plan_step planned(const struct search *x, const struct plan_node *obs,
                                struct plan_facts facts)
{
    break_facts(x, &facts);
    struct plan_step step = plan_next(facts.back ? x->back : &x->t->forms, obs, x->n, facts);
    if (facts.back)
        step.form = there_of(step.form);
    break_step(x, obs, facts, &step);
    return step;
}

const struct plan_memo *plan(struct search *x, const struct state *s)
{
    struct plan_node obs[MAX_NODES];
    observe(x, s, obs);
    uint64_t key = 1;
    for (size_t i = 0; i < x->n; i++)
        key = key << 9 | obs[i].file << 5 | obs[i].runs << 1 | obs[i].file_there;
    key = key << 5 | (uint64_t)(s->narrowing | s->rewritten << 1 | s->proved << 2 |
                                s->switched << 3 | s->back << 4);
    if (x->memo_count * 2 >= x->memo_slots) {
        /* Small enough to be simply made again. */
        x->memo_slots = x->memo_slots ? x->memo_slots * 2 : 1 << 10;
        free(x->memo);
        x->memo = calloc(x->memo_slots, sizeof(*x->memo));
        if (!x->memo)
            abort();
        x->memo_count = 0;
    }
    size_t at = mix(key) & (x->memo_slots - 1);
    for (; x->memo[at].key; at = (at + 1) & (x->memo_slots - 1))
        if (x->memo[at].key == key)
            return &x->memo[at];
    struct plan_facts facts = {.narrowing = s->narrowing,
                               .rewritten = s->rewritten,
                               .proved = s->proved,
                               .switched = s->switched,
                               .back = s->back,
                               .staged = x->staged};
    const struct forms *forms = s->back ? x->back : &x->t->forms;
    struct plan_memo *m = &x->memo[at];
    x->memo_count++;
    m->key = key;
    m->step = planned(x, obs, facts);
    struct plan_facts by_hand = facts;
    by_hand.staged = by_hand.by_hand = true;
    m->by_hand = planned(x, obs, by_hand);
    struct plan_facts singly = facts;
    singly.singly = true;
    m->singly = planned(x, obs, singly);
    m->state_form = plan_state_form(forms, obs, x->n, facts);
    for (unsigned f = 0; f < FORM_COUNT; f++)
        m->rollback[f] = plan_rollback(forms, obs, x->n, facts, (enum form)f);
    if (s->back) {
        enum form back[FORM_COUNT];
        m->state_form = there_of(m->state_form);
        /* SWITCH of the way there is FROM and WIDEN of the way back: only the latter is gone to. */
        for (unsigned f = 0; f < FORM_COUNT; f++)
            back[f] = there_of(m->rollback[f]);
        for (unsigned f = 0; f < FORM_COUNT; f++)
            m->rollback[there_of((enum form)f)] = back[f];
    }
    break_answer(x, facts, m);
    return m;
}

/* ---- what happens ---- */

/* Clients write through every apiserver that is up; all of them must read what may be stored. */
static uint32_t enter(struct search *x, struct state s, enum action action, size_t node)
{
    const struct transition *t = x->t;
    bool unreadable = false;
    for (size_t i = 0; i < x->n; i++) {
        if (s.nodes[i].runs == DOWN)
            s.nodes[i].known = 0;
        else
            s.store |= t->writes[s.nodes[i].runs] & ((1u << STORE_BITS) - 1);
    }
    for (size_t i = 0; i < x->n; i++)
        unreadable =
            unreadable || (s.nodes[i].runs != DOWN && (s.store & ~t->reads[s.nodes[i].runs]));
    uint32_t index = visit(x, pack(&s), action, node);
    if (unreadable || (s.narrowing && (s.store & ~t->reads[goal(&s)]))) {
        if (!x->violation)
            x->current = index;
        violated(x, unreadable ? "an apiserver that is up can't read what may be stored"
                               : "something stored needs what is being dropped");
    }
    return index;
}

static void put(const struct search *x, struct node *n, enum form f)
{
    n->file = x->t->none[f] ? ABSENT : x->t->canon[f] & 7;
}

static void start(const struct search *x, struct node *n, enum form f, unsigned known)
{
    n->flag = !x->t->none[f];
    n->runs = x->t->canon[f] & 7;
    n->known = known & 1;
    /* It runs what lies there, whatever was meant. */
    if (n->flag)
        n->runs = n->file == ABSENT ? DOWN : n->file;
}

static void by_itself(const struct search *x, struct node *n, unsigned known)
{
    unsigned none = 0;
    while (none < FORM_COUNT && !x->t->none[none])
        none++;
    if (n->flag)
        n->runs = n->file == ABSENT ? DOWN : n->file;
    else
        n->runs = x->t->canon[none] & 7;
    n->known = known & 1;
}

/* Writes, or would, what is given up on the way back. */
static bool is_given_up(const struct search *x, unsigned form)
{
    return form < FORM_COUNT && !(x->t->bits[form] & (FORM_BIT(FORM_FROM) | FORM_BIT(FORM_WIDEN)));
}

/* The journal has it before anything is put or restarted. */
static void note_switch(const struct plan_step *step, struct state *s)
{
    if ((step->kind == PLAN_PUT || step->kind == PLAN_RESTART) && !s->back &&
        (step->form == FORM_SWITCH || step->form == FORM_TO))
        s->switched = 1;
}

/* What is rewritten and proved: the resources that the engine takes to change. */
static uint32_t changing(const struct search *x, const struct state *s)
{
    const struct transition *t = x->t;
    uint32_t all = s->back ? t->changes_back : t->changes;
    if (x->broken != BREAK_REWRITE_WRITERS)
        return all;
    /* Those alone whose writer is another: what is dropped as a reader is forgotten. */
    for (size_t r = 0; r < RESOURCES; r++) {
        uint32_t bits = ((1u << MAX_VALUES) - 1) << (r * MAX_VALUES);
        if (!((t->writes[FORM_FROM] ^ t->writes[FORM_TO]) & bits))
            all &= ~bits;
    }
    return all;
}

/* Is it what the proof asks for? Where nothing was switched, going back asks no more than that all
 * can be read. */
static bool can_be_proved(const struct search *x, const struct state *s)
{
    const struct transition *t = x->t;
    bool lenient = s->back && !s->switched;
    for (size_t i = 0; i < x->n; i++)
        lenient = lenient && !is_given_up(x, s->nodes[i].file) && !is_given_up(x, s->nodes[i].runs);
    return !(s->store & ~(lenient ? t->reads[FORM_FROM] : t->writes[goal(s)] | ~changing(x, s)));
}

/* The state after the planner's step, carried out in full; *done where there is none. */
static struct state full_step(struct search *x, const struct state *s, const struct plan_memo *m,
                              bool *done, enum action *action)
{
    struct state next = *s;
    const struct plan_step *step = &m->step;
    *done = false;
    *action = STEP;
    note_switch(step, &next);
    switch (step->kind) {
    case PLAN_PUT:
        for (size_t i = 0; i < x->n; i++)
            if (step->nodes >> i & 1)
                put(x, &next.nodes[i], step->form);
        break;
    case PLAN_RESTART:
        for (size_t i = 0; i < x->n; i++)
            if (step->nodes >> i & 1)
                start(x, &next.nodes[i], step->form, true);
        break;
    case PLAN_REMOVE:
        for (size_t i = 0; i < x->n; i++)
            if (step->nodes >> i & 1)
                next.nodes[i].file = ABSENT;
        break;
    case PLAN_REWRITE:
        /* Everything is stored as the apiservers write it now; enter() adds what they write. */
        next.store = s->store & ~changing(x, s) & ((1u << STORE_BITS) - 1);
        next.rewritten = 1;
        break;
    case PLAN_PROVE:
        if (!can_be_proved(x, s)) {
            *action = PROOF_FAILED;
            next.rewritten = 0;
            next.switched = 1;
        } else {
            next.proved = 1;
        }
        break;
    case PLAN_NARROW:
        next.narrowing = 1;
        break;
    case PLAN_DONE:
    case PLAN_REFUSE:
        *done = true;
        break;
    }
    return next;
}

static void expand_restart(struct search *x, const struct state *s, const struct plan_memo *m)
{
    const struct plan_step *step = &m->step;
    size_t i = (size_t)__builtin_ctzll(step->nodes);
    struct state next = *s;
    struct node *n = &next.nodes[i];
    n->runs = DOWN;
    note_switch(step, &next);
    enter(x, next, STEP_CUT, i); /* stopped, not started */
    n->flag = !x->t->none[step->form];
    enter(x, next, STEP_CUT, i); /* its arguments are new, it isn't started */
    start(x, n, step->form, false);
    struct state up = next;
    enter(x, up, STEP_CUT, i); /* started, not shown */
    /* It did not come up well; what it wrote in the meantime is stored. */
    enum form back = m->rollback[step->form];
    if (n->runs != DOWN)
        next.store |= x->t->writes[n->runs] & ((1u << STORE_BITS) - 1);
    if (!x->t->none[back])
        put(x, n, back);
    enter(x, next, STEP_ROLLBACK, i); /* the file alone, while it may still run */
    n->runs = DOWN;
    enter(x, next, STEP_ROLLBACK, i);
    start(x, n, back, false);
    enter(x, next, STEP_ROLLBACK, i);
    start(x, n, back, true);
    enter(x, next, STEP_ROLLBACK, i);
}

static void expand_parts(struct search *x, const struct state *s, const struct plan_step *step,
                         enum action action)
{
    if (step->kind != PLAN_PUT && step->kind != PLAN_REMOVE)
        return;
    for (uint64_t part = (step->nodes - 1) & step->nodes; part; part = (part - 1) & step->nodes) {
        struct state next = *s;
        note_switch(step, &next);
        for (size_t i = 0; i < x->n; i++) {
            if (!(part >> i & 1))
                continue;
            if (step->kind == PLAN_PUT)
                put(x, &next.nodes[i], step->form);
            else
                next.nodes[i].file = ABSENT;
        }
        enter(x, next, action, 0);
    }
}

/* A staged command that leaves the restarts to others: its files, on some of its nodes or all. The
 * restarts are those that may befall any apiserver. */
static void expand_by_hand(struct search *x, const struct state *s, const struct plan_memo *m)
{
    const struct plan_memo hand = {.step = m->by_hand};
    bool done = false;
    enum action action = STEP;
    if (s->back || hand.step.kind != PLAN_PUT)
        return;
    if (!s->narrowing && x->t->canon[hand.step.form] == FORM_TO)
        violated(x, "by hand, a file narrows before narrowing was decided");
    enter(x, full_step(x, s, &hand, &done, &action), BY_HAND, 0);
    expand_parts(x, s, &hand.step, BY_HAND);
}

/* Automatic reload that nothing tells of: each node gets its file when the one before was shown. */
static void expand_singly(struct search *x, const struct state *s, const struct plan_memo *m)
{
    const struct plan_memo singly = {.step = m->singly};
    bool done = false;
    enum action action = STEP;
    if (singly.step.kind == PLAN_PUT && __builtin_popcountll(singly.step.nodes) != 1)
        violated(x, "singly, several nodes get a file at once");
    if (singly.step.kind == PLAN_PUT)
        enter(x, full_step(x, s, &singly, &done, &action), SINGLY, 0);
}

/*
 * Automatic reload: what lies on a node may take effect at any moment (RESTARTED has that between
 * steps), so also when the next step is decided already: on any nodes, then the step all the same.
 */
static void expand_late(struct search *x, const struct state *s, const struct plan_memo *m)
{
    unsigned due = 0;
    for (size_t i = 0; i < x->n; i++) {
        const struct node *n = &s->nodes[i];
        due |= n->flag && n->file != ABSENT && n->runs != DOWN && n->runs != n->file ? 1u << i : 0;
    }
    for (unsigned part = due; part; part = (part - 1) & due) {
        struct state next = *s;
        bool done = false;
        enum action action = STEP;
        for (size_t i = 0; i < x->n; i++) {
            if (!(part >> i & 1))
                continue;
            next.nodes[i].runs = next.nodes[i].file;
            next.store |= x->t->writes[next.nodes[i].runs] & ((1u << STORE_BITS) - 1);
        }
        next = full_step(x, &next, m, &done, &action);
        if (!done)
            enter(x, next, LATE, part);
    }
}

static void expand_accidents(struct search *x, const struct state *s, const struct plan_memo *m)
{
    struct state next = *s;
    next.rewritten = next.rewritten && next.narrowing;
    next.proved = next.proved && next.narrowing;
    enter(x, next, FORGOTTEN, 0);
    if (!s->back && !s->narrowing) {
        next = *s;
        next.back = 1;
        next.rewritten = next.proved = 0;
        enter(x, next, TURNED_BACK, 0);
    }
    if (s->back) {
        next = *s;
        next.back = next.narrowing = next.rewritten = next.proved = 0;
        enter(x, next, OLDER_COPY, 0);
    }
    for (size_t i = 0; i < x->n; i++) {
        /* One that was left in the middle does not get ready: it is taken back from what lies
         * there. */
        if (!s->nodes[i].known && s->nodes[i].file != ABSENT) {
            enum form back = m->rollback[s->nodes[i].file];
            next = *s;
            if (s->back && back == s->nodes[i].file && back != FORM_WIDEN && back != FORM_FROM)
                violated(x, "going back, there is nothing that a node can be taken back to");
            if (!x->t->none[back])
                put(x, &next.nodes[i], back);
            enter(x, next, STEP_ROLLBACK, i);
            start(x, &next.nodes[i], back, true);
            enter(x, next, STEP_ROLLBACK, i);
        }
        next = *s;
        next.nodes[i].known = 0;
        enter(x, next, FORGOTTEN, i);
        next = *s;
        next.nodes[i].runs = DOWN;
        enter(x, next, STOPPED, i);
        for (unsigned known = 0; known < 2; known++) {
            next = *s;
            by_itself(x, &next.nodes[i], known);
            enter(x, next, RESTARTED, i);
        }
    }
    /* The file alone, then the restart as well, on any nodes at once. */
    for (unsigned part = 1; part < 1u << x->n; part++) {
        for (unsigned how = 0; how < 3; how++) {
            next = *s;
            for (size_t i = 0; i < x->n; i++) {
                if (!(part >> i & 1))
                    continue;
                put(x, &next.nodes[i], m->state_form);
                if (how)
                    start(x, &next.nodes[i], m->state_form, how == 2);
            }
            enter(x, next, DEPLOYED, part);
        }
    }
}

/* ---- what must hold ---- */

static void check_step(struct search *x, const struct state *s, const struct plan_step *step)
{
    const struct transition *t = x->t;
    bool shown = false;
    for (size_t i = 0; i < x->n; i++)
        shown = shown || (s->nodes[i].known && s->nodes[i].runs == t->canon[step->form]);
    int count = __builtin_popcountll(step->nodes);
    if (step->kind == PLAN_REFUSE)
        violated(x, "the planner refuses what comes from the transition itself");
    if (step->kind == PLAN_PUT || step->kind == PLAN_RESTART) {
        if (!s->narrowing && !s->back && t->canon[step->form] == FORM_TO)
            violated(x, "a file or restart narrows before narrowing was decided");
        if (!s->narrowing && s->back && s->switched && step->form == FORM_FROM &&
            t->canon[FORM_WIDEN] != FORM_FROM)
            violated(x, "going back, a file or restart narrows before narrowing was decided");
        if (step->nodes == 0 || step->nodes >> x->n)
            violated(x, "a step on no node, or on one that isn't there");
    }
    if (step->kind == PLAN_PUT && !shown && count > 1)
        violated(x, "several nodes get a file that no apiserver was shown to run");
    if (step->kind == PLAN_RESTART && count != 1)
        violated(x, "several apiservers restart at once");
    if (step->kind == PLAN_NARROW && !(s->proved && (s->rewritten || (s->back && !s->switched))))
        violated(x, "narrowing without proof");
    if (step->kind == PLAN_RESTART && step->form == FORM_SWITCH && !t->from_wide && !s->back)
        for (size_t i = 0; i < x->n; i++)
            if ((step->nodes >> i & 1) && s->nodes[i].runs != DOWN && !s->nodes[i].flag)
                violated(x, "SWITCH brings the flag: what it goes back to has none");
    for (size_t i = 0; i < x->n; i++) {
        const struct node *n = &s->nodes[i];
        if (step->kind == PLAN_REMOVE && (step->nodes >> i & 1) && n->flag)
            violated(x, "a file is removed that an apiserver still reads");
        if (step->kind == PLAN_PROVE && n->runs != DOWN && t->writes[n->runs] != t->writes[goal(s)])
            violated(x, "proof is sought while an apiserver still writes the old form");
    }
}

/*
 * Somebody else goes on with an older copy of the state, which knows nothing of narrowing, nor
 * perhaps of the processes: where a node shows that it was narrowed already, nothing is done.
 */
static void check_older_copy(struct search *x, const struct state *s)
{
    /* Going back, an older copy is a state of its own: see OLDER_COPY. */
    if (!s->narrowing || s->back)
        return;
    for (unsigned knows = 0; knows < 2; knows++) {
        struct state older = *s;
        older.narrowing = older.rewritten = older.proved = 0;
        for (size_t i = 0; i < x->n; i++) {
            struct node *n = &older.nodes[i];
            n->known = n->runs != DOWN && (!n->flag || (knows && n->known));
        }
        struct plan_node obs[MAX_NODES];
        observe(x, &older, obs);
        uint64_t narrowed = 0;
        for (size_t i = 0; i < x->n; i++)
            if (obs[i].runs == FORM_BIT(FORM_TO) ||
                (obs[i].file == FORM_BIT(FORM_TO) && (obs[i].file_there || !obs[i].runs)))
                narrowed |= 1ull << i;
        struct plan_step step = plan(x, &older)->step;
        if (narrowed && (step.kind != PLAN_REFUSE || step.nodes != narrowed))
            violated(x, "with an older copy of the state, something is done after narrowing");
        if (!narrowed && step.kind == PLAN_REFUSE)
            violated(x, "an older copy of the state is refused though no node was narrowed");
        /* The same copy, told to go back. */
        older.back = 1;
        for (size_t i = 0; i < x->n; i++) {
            const struct node *n = &s->nodes[i];
            bool there = n->file == FORM_TO && x->t->canon[FORM_TO] == FORM_TO;
            if (there && plan(x, &older)->step.kind != PLAN_REFUSE)
                violated(x, "an older copy of the state goes back after narrowing");
        }
    }
}

/* ---- a state and all that may follow it ---- */

void enter_first(struct search *x)
{
    struct state s = {0};
    for (size_t i = 0; i < x->n; i++) {
        put(x, &s.nodes[i], FORM_FROM);
        start(x, &s.nodes[i], FORM_FROM, true);
    }
    s.store = x->t->reads[FORM_FROM] & ((1u << STORE_BITS) - 1);
    enter(x, s, START, 0);
}

uint32_t expand(struct search *x, uint32_t index)
{
    x->current = index;
    struct state s = unpack(x->visits[index].key);
    struct plan_node obs[MAX_NODES];
    observe(x, &s, obs);
    for (size_t i = 0; i < x->n; i++)
        if (!s.narrowing && !(obs[i].runs & plan_writes_to(s.back)) &&
            x->broken != BREAK_KEEP_FACTS)
            s.rewritten = s.proved = 0;
    struct plan_memo m = *plan(x, &s);
    check_step(x, &s, &m.step);
    check_older_copy(x, &s);
    bool done = false;
    enum action action = STEP;
    struct state next = full_step(x, &s, &m, &done, &action);
    uint32_t on = done ? UINT32_MAX : enter(x, next, action, 0);
    if (m.step.kind == PLAN_DONE) {
        for (size_t i = 0; i < x->n; i++)
            if ((s.nodes[i].runs != DOWN && s.nodes[i].runs != x->t->canon[goal(&s)]) ||
                s.nodes[i].file != (x->t->none[goal(&s)] ? ABSENT : x->t->canon[goal(&s)]))
                violated(x, "done, but a node is left behind");
    }
    if (x->violation)
        return on;
    expand_parts(x, &s, &m.step, STEP_PART);
    expand_by_hand(x, &s, &m);
    expand_singly(x, &s, &m);
    expand_late(x, &s, &m);
    if (m.step.kind == PLAN_RESTART)
        expand_restart(x, &s, &m);
    expand_accidents(x, &s, &m);
    return on;
}
