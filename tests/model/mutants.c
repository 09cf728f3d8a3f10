/*
 * The deliberately broken variants: each is a mistake that the planner or the union could have, and
 * the model must find. A new one is a name in enum breakage and here, and a line where it strikes.
 */
#include "tests/model/explore.h"

const char *const breakage_names[BREAK_COUNT] = {
    [BREAK_SKIP_WIDEN] = "skip-widen",
    [BREAK_NARROW_UNPROVED] = "narrow-unproved",
    [BREAK_NARROW_UNREWRITTEN] = "narrow-unrewritten",
    [BREAK_NARROW_EARLY] = "narrow-early",
    [BREAK_ROLLBACK_FROM] = "rollback-from",
    [BREAK_ROLLBACK_WIDEN_FROM] = "rollback-widen-from",
    [BREAK_ALL_AT_ONCE] = "all-at-once",
    [BREAK_RESTART_TOGETHER] = "restart-together",
    [BREAK_STATE_TO] = "state-to",
    [BREAK_STATE_FROM] = "state-from",
    [BREAK_KEEP_FACTS] = "keep-facts",
    [BREAK_REMOVE_FIRST] = "remove-first",
    [BREAK_ENABLE_AT_ONCE] = "enable-at-once",
    [BREAK_HEAL_FINISHED] = "heal-finished",
    [BREAK_BACK_AT_ONCE] = "back-at-once",
    [BREAK_BACK_UNPROVED] = "back-unproved",
    [BREAK_BACK_AS_THERE] = "back-as-there",
    [BREAK_BACK_UNSWITCHED] = "back-unswitched",
    [BREAK_UNION_TWO_ENTRIES] = "union-two-entries",
    [BREAK_UNION_SWAPPED] = "union-swapped",
    [BREAK_UNION_FIRST_ONLY] = "union-first-only",
    [BREAK_UNION_NO_IDENTITY] = "union-no-identity",
    [BREAK_RELOAD_PROVES] = "reload-proves",
    [BREAK_HAND_EARLY] = "hand-early",
    [BREAK_REWRITE_WRITERS] = "rewrite-writers",
};

/* ---- unions ---- */

/* One provider entry after the other, as they come: two entries of a type may stand side by side.
 */
static void split_entries(struct encryption_config *c)
{
    for (size_t i = 0; i < c->item_count; i++) {
        struct encryption_item *item = &c->items[i];
        for (size_t j = 0; j < item->provider_count; j++) {
            struct encryption_provider *p = &item->providers[j];
            while (p->key_count > 1) {
                struct encryption_key *last = mem_alloc(1, sizeof(*last));
                *last = p->keys[--p->key_count];
                struct encryption_provider q = {.type = p->type, .keys = last, .key_count = 1};
                item->providers = mem_realloc(item->providers, item->provider_count + 1,
                                              sizeof(*item->providers));
                item->providers[item->provider_count++] = q;
                p = &item->providers[j];
            }
        }
    }
}

static void drop_identity(struct encryption_config *c)
{
    for (size_t i = 0; i < c->item_count; i++) {
        struct encryption_item *item = &c->items[i];
        if (item->provider_count > 1 &&
            item->providers[item->provider_count - 1].type == PROVIDER_IDENTITY)
            item->provider_count--;
    }
}

static void drop_other_keys(struct encryption_config *c)
{
    for (size_t i = 0; i < c->item_count; i++) {
        for (size_t j = 0; j < c->items[i].provider_count; j++) {
            struct encryption_provider *p = &c->items[i].providers[j];
            for (; p->key_count > 1; p->key_count--) {
                mem_free(p->keys[p->key_count - 1].name);
                mem_free(p->keys[p->key_count - 1].secret);
            }
        }
    }
}

void break_forms(struct forms *f, enum breakage how)
{
    if (how == BREAK_UNION_SWAPPED) {
        struct encryption_config *c = f->config[FORM_WIDEN];
        f->config[FORM_WIDEN] = f->config[FORM_SWITCH];
        f->config[FORM_SWITCH] = c;
    }
    for (int i = FORM_WIDEN; i <= FORM_SWITCH; i++) {
        if (how == BREAK_UNION_TWO_ENTRIES)
            split_entries(f->config[i]);
        if (how == BREAK_UNION_NO_IDENTITY)
            drop_identity(f->config[i]);
        if (how == BREAK_UNION_FIRST_ONLY)
            drop_other_keys(f->config[i]);
    }
}

/* ---- the planner ---- */

void break_facts(const struct search *x, struct plan_facts *facts)
{
    if (x->broken == BREAK_NARROW_UNPROVED)
        facts->proved = true;
    if (x->broken == BREAK_NARROW_UNREWRITTEN)
        facts->proved = facts->rewritten = true;
    if (x->broken == BREAK_NARROW_EARLY)
        facts->narrowing = true;
    if (x->broken == BREAK_BACK_UNPROVED && facts->back)
        facts->proved = facts->rewritten = true;
    if (x->broken == BREAK_BACK_UNSWITCHED && facts->back)
        facts->switched = false;
}

void break_step(const struct search *x, const struct plan_node *obs, struct plan_facts facts,
                struct plan_step *step)
{
    uint64_t all = (1ull << x->n) - 1;
    if (x->broken == BREAK_SKIP_WIDEN && step->form == FORM_WIDEN)
        step->form = FORM_SWITCH;
    if (x->broken == BREAK_BACK_AT_ONCE && facts.back && step->form == FORM_WIDEN)
        step->form = FORM_FROM;
    if (x->broken == BREAK_BACK_AS_THERE && facts.back && step->form == FORM_WIDEN)
        step->form = FORM_SWITCH;
    if (x->broken == BREAK_ENABLE_AT_ONCE && x->n == 1 && x->t->none[FORM_FROM] &&
        step->form == FORM_WIDEN)
        step->form = FORM_SWITCH;
    if (x->broken == BREAK_HEAL_FINISHED && step->kind == PLAN_REFUSE && !facts.narrowing)
        *step = (struct plan_step){.kind = PLAN_PUT, .form = FORM_WIDEN, .nodes = step->nodes};
    if (x->broken == BREAK_HAND_EARLY && facts.by_hand && !facts.back && !facts.narrowing &&
        step->kind == PLAN_RESTART && step->form == FORM_WIDEN)
        *step = (struct plan_step){.kind = PLAN_PUT, .form = FORM_SWITCH, .nodes = all};
    if (x->broken == BREAK_ALL_AT_ONCE && step->kind == PLAN_PUT)
        step->nodes = all;
    if (x->broken == BREAK_RESTART_TOGETHER && step->kind == PLAN_RESTART)
        step->nodes = all;
    if (x->broken == BREAK_REMOVE_FIRST && step->kind == PLAN_RESTART && step->form == FORM_TO &&
        x->t->none[FORM_TO])
        for (size_t i = 0; i < x->n; i++)
            if (obs[i].file_there)
                *step = (struct plan_step){.kind = PLAN_REMOVE, .nodes = all};
}

void break_answer(const struct search *x, struct plan_facts facts, struct plan_memo *m)
{
    if (x->broken == BREAK_STATE_TO)
        m->state_form = FORM_TO;
    if (x->broken == BREAK_STATE_FROM && !facts.narrowing)
        m->state_form = FORM_FROM;
    if (x->broken == BREAK_ROLLBACK_FROM)
        m->rollback[FORM_SWITCH] = FORM_FROM;
    if (x->broken == BREAK_ROLLBACK_WIDEN_FROM)
        m->rollback[FORM_WIDEN] = FORM_FROM;
}
