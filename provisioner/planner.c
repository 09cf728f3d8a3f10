#include "provisioner/planner.h"

#include <stdlib.h>

/* Both of FROM and TO can be read, whatever is written. */
enum { READS_BOTH = FORM_BIT(FORM_WIDEN) | FORM_BIT(FORM_SWITCH) };
/* Writes as TO does. */
enum { WRITES_TO = FORM_BIT(FORM_SWITCH) | FORM_BIT(FORM_TO) };

form_set plan_writes_to(bool back)
{
    return back ? WRITES_TO : FORM_BIT(FORM_SWITCH);
}

struct view {
    const struct forms *forms;
    const struct plan_node *nodes;
    size_t count;
    form_set wide; /* what reads everything, as long as not all nodes switched */
    bool staged, by_hand, singly;
};

const char *form_name(enum form f)
{
    switch (f) {
    case FORM_FROM:
        return "from";
    case FORM_WIDEN:
        return "widen";
    case FORM_SWITCH:
        return "switch";
    case FORM_TO:
        return "narrow";
    }
    abort();
}

int forms_make(const struct encryption_config *from, const struct encryption_config *to,
               struct forms *out, struct error *err)
{
    struct encryption_config *widen CLEANUP(cleanup_encryption_config) = NULL;
    struct encryption_config *switched CLEANUP(cleanup_encryption_config) = NULL;
    if (encryption_config_union(from, to, &widen, err) != 0 ||
        encryption_config_union(to, from, &switched, err) != 0)
        return -1;
    *out = (struct forms){
        {encryption_config_copy(from), STEAL(widen), STEAL(switched), encryption_config_copy(to)}};
    return 0;
}

void forms_turn_back(struct forms *f)
{
    struct encryption_config *from = f->config[FORM_FROM], *widen = f->config[FORM_WIDEN];
    encryption_config_free(f->config[FORM_TO]);
    f->config[FORM_FROM] = encryption_config_copy(f->config[FORM_SWITCH]);
    f->config[FORM_WIDEN] = f->config[FORM_SWITCH];
    f->config[FORM_SWITCH] = widen;
    f->config[FORM_TO] = from;
}

void forms_free(struct forms *f)
{
    for (int i = 0; i < FORM_COUNT; i++)
        encryption_config_free(f->config[i]);
    *f = (struct forms){0};
}

form_set forms_of(const struct forms *f, const struct encryption_config *c)
{
    form_set set = 0;
    for (unsigned i = 0; i < FORM_COUNT; i++)
        if (encryption_config_equal(f->config[i], c))
            set |= 1u << i;
    return set;
}

static struct view view_of(const struct forms *forms, const struct plan_node *nodes, size_t count)
{
    struct view v = {.forms = forms, .nodes = nodes, .count = count, .wide = READS_BOTH};
    if (encryption_config_reads_all(forms->config[FORM_FROM], forms->config[FORM_TO]))
        v.wide |= FORM_BIT(FORM_FROM);
    return v;
}

static bool is_none(const struct view *v, enum form f)
{
    return v->forms->config[f]->item_count == 0;
}

/* Runs one of these, and would again if it restarted by itself. */
static bool holds(const struct plan_node *n, form_set set)
{
    return (n->runs & set) && (n->file & set);
}

static uint64_t lacking(const struct view *v, form_set set)
{
    uint64_t nodes = 0;
    for (size_t i = 0; i < v->count; i++)
        if (!holds(&v->nodes[i], set))
            nodes |= 1ull << i;
    return nodes;
}

static uint64_t first_of(uint64_t nodes)
{
    return nodes & -nodes;
}

static struct plan_step refuse(uint64_t nodes, const char *why)
{
    return (struct plan_step){.kind = PLAN_REFUSE, .nodes = nodes, .why = why};
}

/* A file of unknown contents may hold the only copy of a key: nothing is put over it. */
static uint64_t foreign_files(const struct view *v)
{
    uint64_t nodes = 0;
    for (size_t i = 0; i < v->count; i++)
        if (v->nodes[i].file_there && !v->nodes[i].file)
            nodes |= 1ull << i;
    return nodes;
}

/* One of `nodes` (not empty): first what doesn't serve, since no other may go down meanwhile. */
static uint64_t one_of(const struct view *v, uint64_t nodes)
{
    for (size_t i = 0; i < v->count; i++)
        if ((nodes >> i & 1) && !v->nodes[i].runs)
            return 1ull << i;
    return first_of(nodes);
}

/* The next step of bringing `nodes` (not empty) to run `form`: one alone until one is shown to run
 * it, then the files of all, then the restarts in order. `form` is not none. */
static struct plan_step roll_out(const struct view *v, enum form form, uint64_t nodes)
{
    form_set set = FORM_BIT(form);
    bool shown = false;
    for (size_t i = 0; i < v->count; i++)
        shown = shown || (v->nodes[i].runs & set);
    uint64_t now = (shown && !v->singly) || v->by_hand ? nodes : one_of(v, nodes), files = 0,
             restarts = 0;
    for (size_t i = 0; i < v->count; i++) {
        if (!(now >> i & 1))
            continue;
        if (!(v->nodes[i].file & set))
            files |= 1ull << i;
        if (!(v->nodes[i].runs & set))
            restarts |= 1ull << i;
    }
    if (files)
        return (struct plan_step){.kind = PLAN_PUT, .form = form, .nodes = files};
    return (struct plan_step){.kind = PLAN_RESTART, .form = form, .nodes = one_of(v, restarts)};
}

/* Nodes that are at the end already, though narrowing, which is recorded before the first of them
 * gets there, was not begun. A missing file alone shows that only where nothing else runs. */
static uint64_t finished(const struct view *v)
{
    uint64_t nodes = 0;
    for (size_t i = 0; i < v->count; i++) {
        const struct plan_node *n = &v->nodes[i];
        if (n->runs == FORM_BIT(FORM_TO) ||
            (n->file == FORM_BIT(FORM_TO) && (n->file_there || !n->runs)))
            nodes |= 1ull << i;
    }
    return nodes;
}

/* Nobody can have written with what is given up: neither was that ever meant (the journal's word,
 * which is on disk before), nor does any node show it. */
static bool never_written(const struct view *v, struct plan_facts facts)
{
    bool seen = false;
    for (size_t i = 0; i < v->count; i++) {
        const struct plan_node *n = &v->nodes[i];
        seen = seen || (n->runs && !(n->runs & WRITES_TO)) ||
               (n->file_there && !(n->file & WRITES_TO));
    }
    return !facts.switched && !seen;
}

/* What is gone back to writes already, everywhere, and reads all that was ever written: the other
 * form, which may be what doesn't work, is not needed on the way. */
static struct plan_step next_back_unswitched(const struct view *v, struct plan_facts facts)
{
    uint64_t unsure = lacking(v, WRITES_TO);
    if (!unsure)
        return (struct plan_step){.kind = facts.proved ? PLAN_NARROW : PLAN_PROVE};
    if (!is_none(v, FORM_TO))
        return roll_out(v, FORM_TO, unsure);
    return (struct plan_step){.kind = PLAN_RESTART, .form = FORM_TO, .nodes = one_of(v, unsure)};
}

static struct plan_step next_back(const struct view *v, struct plan_facts facts)
{
    if (never_written(v, facts))
        return next_back_unswitched(v, facts);
    /* What can't read what others write comes first. */
    uint64_t narrow_ones = lacking(v, READS_BOTH);
    uint64_t unswitched = narrow_ones ? narrow_ones : lacking(v, FORM_BIT(FORM_SWITCH));
    if (unswitched)
        return roll_out(v, FORM_SWITCH, unswitched);
    if (!facts.rewritten)
        return (struct plan_step){.kind = PLAN_REWRITE};
    return (struct plan_step){.kind = facts.proved ? PLAN_NARROW : PLAN_PROVE};
}

static bool has_kms(const struct encryption_config *c, const char *name, const char *endpoint)
{
    for (size_t i = 0; i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            if (p->type == PROVIDER_KMS && str_eq(p->kms_name, name) &&
                str_eq(p->kms_endpoint, endpoint))
                return true;
        }
    }
    return false;
}

/* A KMS that doesn't answer shows only when an apiserver loads it: where nothing was written with
 * it yet, there is FROM to go back to. */
static bool brings_kms(const struct view *v)
{
    const struct encryption_config *from = v->forms->config[FORM_FROM];
    const struct encryption_config *to = v->forms->config[FORM_TO];
    for (size_t i = 0; i < to->item_count; i++) {
        for (size_t k = 0; k < to->items[i].provider_count; k++) {
            const struct encryption_provider *p = &to->items[i].providers[k];
            if (p->type == PROVIDER_KMS && !has_kms(from, p->kms_name, p->kms_endpoint))
                return true;
        }
    }
    return false;
}

static struct plan_step next_open(const struct view *v, struct plan_facts facts)
{
    if (facts.back)
        return next_back(v, facts);
    uint64_t ended = finished(v);
    if (ended)
        return refuse(ended, "this node already has the transition's final configuration, though "
                             "this state file's journal does not say that the old key was proved "
                             "to be unneeded: the transition was finished by somebody else; use "
                             "the newest state file");
    /* The flag itself comes with WIDEN: a failed SWITCH must have one with the flag to go back to.
     */
    bool widens = v->staged || v->count > 1 || is_none(v, FORM_FROM) || brings_kms(v);
    uint64_t narrow_ones = widens ? lacking(v, v->wide) : 0;
    if (narrow_ones) {
        /* One alone may go on to SWITCH, if it was on the way there: all others read both. */
        bool alone = narrow_ones == first_of(narrow_ones);
        const struct plan_node *n = &v->nodes[__builtin_ctzll(narrow_ones)];
        bool switching = alone && (n->file & READS_BOTH) == FORM_BIT(FORM_SWITCH) &&
                         !(n->runs & FORM_BIT(FORM_FROM));
        /* What runs SWITCH with another file under it gets its own file back, no restart. */
        if (alone && (n->runs & FORM_BIT(FORM_SWITCH)))
            switching = true;
        return roll_out(v, switching ? FORM_SWITCH : FORM_WIDEN, narrow_ones);
    }
    uint64_t unswitched = lacking(v, FORM_BIT(FORM_SWITCH));
    if (unswitched)
        return roll_out(v, FORM_SWITCH, unswitched);
    if (!facts.rewritten)
        return (struct plan_step){.kind = PLAN_REWRITE};
    if (!facts.proved)
        return (struct plan_step){.kind = PLAN_PROVE};
    return (struct plan_step){.kind = PLAN_NARROW};
}

/* Nodes that wrote, or may start to write, with what was proved to be gone. */
static uint64_t written_back(const struct view *v)
{
    uint64_t nodes = 0;
    for (size_t i = 0; i < v->count; i++) {
        const struct plan_node *n = &v->nodes[i];
        if ((n->runs && !(n->runs & WRITES_TO)) || (n->file_there && !(n->file & WRITES_TO)))
            nodes |= 1ull << i;
    }
    return nodes;
}

static struct plan_step next_to_none(const struct view *v)
{
    uint64_t restarts = 0, files = 0;
    for (size_t i = 0; i < v->count; i++) {
        if (!(v->nodes[i].runs & FORM_BIT(FORM_TO)))
            restarts |= 1ull << i;
        if (v->nodes[i].file_there)
            files |= 1ull << i;
    }
    if (restarts)
        return (struct plan_step){
            .kind = PLAN_RESTART, .form = FORM_TO, .nodes = one_of(v, restarts)};
    if (files)
        return (struct plan_step){.kind = PLAN_REMOVE, .nodes = files};
    return (struct plan_step){.kind = PLAN_DONE};
}

static struct plan_step next_narrowing(const struct view *v)
{
    uint64_t back = written_back(v);
    if (back)
        return refuse(back, "narrowing was begun, but this node has a configuration that writes "
                            "with what is to go: somebody else put it there");
    if (is_none(v, FORM_TO))
        return next_to_none(v);
    uint64_t nodes = lacking(v, FORM_BIT(FORM_TO));
    if (nodes)
        return roll_out(v, FORM_TO, nodes);
    return (struct plan_step){.kind = PLAN_DONE};
}

struct plan_step plan_next(const struct forms *forms, const struct plan_node *nodes, size_t count,
                           struct plan_facts facts)
{
    if (count < 1 || count > PLAN_MAX_NODES)
        return refuse(0, "between 1 and 64 control-plane nodes are supported");
    struct view v = view_of(forms, nodes, count);
    v.staged = facts.staged;
    v.by_hand = facts.by_hand;
    v.singly = facts.singly;
    uint64_t foreign = foreign_files(&v);
    if (foreign)
        return refuse(foreign, "the configuration file on this node is none of this transition's: "
                               "it may hold keys that are nowhere else");
    return facts.narrowing ? next_narrowing(&v) : next_open(&v, facts);
}

/* Some node is shown to run SWITCH: it can be gone back to. */
static bool switch_works(const struct view *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->nodes[i].runs & FORM_BIT(FORM_SWITCH))
            return true;
    return false;
}

enum form plan_rollback(const struct forms *forms, const struct plan_node *nodes, size_t count,
                        struct plan_facts facts, enum form failed)
{
    struct view v = view_of(forms, nodes, count);
    /* While narrowing some nodes read TO alone: nothing that writes FROM may come back. */
    if (facts.narrowing)
        return facts.back && !facts.switched && !switch_works(&v) ? FORM_TO : FORM_SWITCH;
    /* It writes what all read, and reads all that was ever written. */
    if (facts.back && (failed == FORM_FROM || failed == FORM_WIDEN))
        return FORM_SWITCH;
    switch (failed) {
    case FORM_TO:
        return !facts.back || switch_works(&v) ? FORM_SWITCH : FORM_TO;
    case FORM_SWITCH:
        /* Some may read no more than TO: what writes the other form may not come up. */
        return facts.back && lacking(&v, READS_BOTH) ? FORM_SWITCH : FORM_WIDEN;
    case FORM_WIDEN:
        return facts.switched ? FORM_WIDEN : FORM_FROM;
    case FORM_FROM:
        return FORM_FROM;
    }
    abort();
}

enum form plan_state_form(const struct forms *forms, const struct plan_node *nodes, size_t count,
                          struct plan_facts facts)
{
    struct view v = view_of(forms, nodes, count);
    if (!facts.narrowing && facts.back)
        return never_written(&v, facts) ? FORM_TO : FORM_SWITCH;
    if (!facts.narrowing)
        return finished(&v) || (facts.switched && !lacking(&v, v.wide)) ? FORM_SWITCH : FORM_WIDEN;
    for (size_t i = 0; i < count; i++)
        if (!(nodes[i].runs & FORM_BIT(FORM_TO)))
            return facts.back && never_written(&v, facts) ? FORM_TO : FORM_SWITCH;
    return FORM_TO;
}
