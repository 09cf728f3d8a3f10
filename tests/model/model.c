/*
 * An exhaustive check of the transitions: for pairs of configurations and clusters of 1 to 4
 * apiservers, every state that the real planner can lead to is visited, with every step carried out
 * in full, in part, failing and rolled back; apiservers that restart by themselves at any moment,
 * the tool's memory lost at any moment (but not the journal's word that narrowing was begun, which
 * is on disk before anything narrows), clients that write through every apiserver at every moment,
 * and somebody else who deploys what the state file says. From every state that narrows it is also
 * asked what a run with an older copy of the state does: nothing, once a node was narrowed.
 *
 * How an apiserver reads and writes is modelled here anew, on stored bytes, without the code under
 * test: an ordered list of providers, the first whose prefix matches is asked and no other,
 * identity refuses what begins with k8s:enc:.
 *
 * What is stored is a set for each resource: every form that a value may have by now.
 *
 *   model [--max-nodes N] [--break NAME|all] [--verbose]
 *
 * Without --max-nodes: 1 to 3 apiservers, and 4 for a part of the transitions.
 */
#include "provisioner/planner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- configurations ---- */

#define ITEM(resources, providers) "- resources: [" resources "]\n  providers: [" providers "]\n"
#define A1 "{name: k1, secret: QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=}"
#define A2 "{name: k2, secret: QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=}"
#define A3 "{name: k3, secret: Q0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0M=}"
#define CBC(keys) "{aescbc: {keys: [" keys "]}}"
#define GCM(keys) "{aesgcm: {keys: [" keys "]}}"
#define BOX(keys) "{secretbox: {keys: [" keys "]}}"
#define KMS1(name) "{kms: {name: " name ", endpoint: 'unix:///" name "'}}"
#define KMS2(name) "{kms: {apiVersion: v2, name: " name ", endpoint: 'unix:///" name "'}}"
#define ID "{identity: {}}"

static const struct {
    const char *name, *items;
} configurations[] = {
    {"none", ""},
    {"identity", ITEM("secrets", ID)},
    {"managed k1", ITEM("secrets", CBC(A1) ", " ID)},
    {"managed k2", ITEM("secrets", CBC(A2) ", " ID)},
    {"managed k1,k2", ITEM("secrets", CBC(A1 ", " A2) ", " ID)},
    {"managed k2,k1", ITEM("secrets", CBC(A2 ", " A1) ", " ID)},
    {"managed k1,k2,k3", ITEM("secrets", CBC(A1 ", " A2 ", " A3) ", " ID)},
    {"identity, k1", ITEM("secrets", ID ", " CBC(A1))},
    {"identity, k1,k2", ITEM("secrets", ID ", " CBC(A1 ", " A2))},
    {"k1 without identity", ITEM("secrets", CBC(A1))},
    {"k2 without identity", ITEM("secrets", CBC(A2))},
    {"k1 and k2 in two entries", ITEM("secrets", CBC(A1) ", " CBC(A2) ", " ID)},
    {"k2, identity, k1 in two entries", ITEM("secrets", CBC(A2) ", " ID ", " CBC(A1))},
    {"k1 and k2 in two items", ITEM("secrets", CBC(A1)) ITEM("secrets", CBC(A2) ", " ID)},
    {"aesgcm k1", ITEM("secrets", GCM(A1) ", " ID)},
    {"aesgcm k2", ITEM("secrets", GCM(A2) ", " ID)},
    {"aesgcm k1, aescbc k1", ITEM("secrets", GCM(A1) ", " CBC(A1) ", " ID)},
    {"secretbox k1", ITEM("secrets", BOX(A1) ", " ID)},
    {"secretbox k2, identity first", ITEM("secrets", ID ", " BOX(A2))},
    {"aescbc k1, secretbox k2", ITEM("secrets", CBC(A1) ", " BOX(A2) ", " ID)},
    {"secretbox k2, aescbc k1", ITEM("secrets", BOX(A2) ", " CBC(A1) ", " ID)},
    {"all local types", ITEM("secrets", CBC(A1) ", " GCM(A2) ", " BOX(A3) ", " ID)},
    {"secrets k1, configmaps box k2",
     ITEM("secrets", CBC(A1) ", " ID) ITEM("configmaps", BOX(A2) ", " ID)},
    {"secrets box k2, configmaps k1",
     ITEM("secrets", BOX(A2) ", " ID) ITEM("configmaps", CBC(A1) ", " ID)},
    {"secrets and configmaps k1", ITEM("secrets, configmaps", CBC(A1) ", " ID)},
    {"secrets and configmaps k2", ITEM("secrets, configmaps", CBC(A2) ", " ID)},
    {"configmaps k1", ITEM("configmaps", CBC(A1) ", " ID)},
    {"configmaps k3 without identity", ITEM("configmaps", CBC(A3))},
    {"secrets k1, configmaps identity", ITEM("secrets", CBC(A1) ", " ID) ITEM("configmaps", ID)},
    {"kms v1 a", ITEM("secrets", KMS1("a") ", " ID)},
    {"kms v1 b, aescbc k1", ITEM("secrets", KMS1("b") ", " CBC(A1) ", " ID)},
    {"kms v1 a, b", ITEM("secrets", KMS1("a") ", " KMS1("b"))},
    {"kms v2 c", ITEM("secrets", KMS2("c") ", " ID)},
    {"kms v2 c for two", ITEM("secrets, configmaps", KMS2("c") ", " ID)},
    {"kms v2 c, d", ITEM("secrets", KMS2("c") ", " ID) ITEM("configmaps", KMS2("d") ", " ID)},
    {"*.* k1", ITEM("'*.*'", CBC(A1) ", " ID)},
    {"secrets k2, *.* k1", ITEM("secrets", CBC(A2) ", " ID) ITEM("'*.*'", CBC(A1) ", " ID)},
};

static struct encryption_config *read_config(const char *items)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    char *text CLEANUP(cleanup_mem) =
        *items ? mem_printf("apiVersion: apiserver.config.k8s.io/v1\n"
                            "kind: EncryptionConfiguration\nresources:\n%s",
                            items)
               : mem_strdup("");
    if (encryption_config_read(text, strlen(text), "model", ENCRYPTION_STRICT, &c, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
    return c;
}

/* ---- how an apiserver reads and writes ---- */

/* A value as it may be stored: its beginning, and the secret that it takes. */
struct value {
    char *bytes;
    const char *secret;
    size_t secret_len;
};

static const char *const resources[] = {"secrets", "configmaps", "deployments.apps"};
enum { RESOURCES = ARRAY_LEN(resources), MAX_VALUES = 8, MAX_PROVIDERS = 16 };

struct list {
    const struct encryption_provider *at[MAX_PROVIDERS];
    size_t count;
};

/* The providers of a resource, as EncryptionProviderConfig is loaded: strung together by name; what
 * stands behind a wildcard that covers it is not taken; then the wildcards. */
static struct list load(const struct encryption_config *c, const char *resource)
{
    struct list by_name = {0}, by_wildcard = {0};
    const char *dot = strchr(resource, '.');
    char *group CLEANUP(cleanup_mem) = mem_printf("*.%s", dot ? dot + 1 : "");
    bool masked = false;
    for (size_t i = 0; i < c->item_count; i++) {
        const struct encryption_item *item = &c->items[i];
        for (size_t j = 0; j < item->resource_count && !masked; j++) {
            const char *name = item->resources[j];
            masked = str_eq(name, "*.*") || str_eq(name, group);
            struct list *to = masked ? &by_wildcard : str_eq(name, resource) ? &by_name : NULL;
            for (size_t k = 0; to && k < item->provider_count; k++)
                to->at[to->count++] = &item->providers[k];
        }
    }
    return by_name.count ? by_name : by_wildcard;
}

/* As the provider's transformer writes with this key (NULL: kms), and the prefix it is tried for.
 */
static char *prefix_of(const struct encryption_provider *p)
{
    static const char *const local[] = {
        "", "k8s:enc:aescbc:v1:", "k8s:enc:aesgcm:v1:", "k8s:enc:secretbox:v1:"};
    if (p->type == PROVIDER_KMS)
        return mem_printf("k8s:enc:kms:%s:%s:", p->kms_v2 ? "v2" : "v1", p->kms_name);
    return mem_strdup(local[p->type]);
}

static struct value written(const struct encryption_provider *p, const struct encryption_key *k)
{
    char *prefix CLEANUP(cleanup_mem) = prefix_of(p);
    if (p->type == PROVIDER_IDENTITY)
        return (struct value){mem_strdup("plain"), "", 0};
    if (p->type == PROVIDER_KMS)
        return (struct value){mem_printf("%sdata", prefix), p->kms_endpoint,
                              strlen(p->kms_endpoint)};
    return (struct value){mem_printf("%s%s:data", prefix, k->name), (const char *)k->secret,
                          k->secret_len};
}

static bool same_secret(const struct value *v, const void *secret, size_t len)
{
    return v->secret_len == len && memcmp(v->secret, secret, len) == 0;
}

static bool reads(const struct list *providers, const struct value *v)
{
    if (!providers->count)
        return !str_starts(v->bytes, "k8s:enc:");
    for (size_t i = 0; i < providers->count; i++) {
        const struct encryption_provider *p = providers->at[i];
        char *prefix CLEANUP(cleanup_mem) = prefix_of(p);
        if (!str_starts(v->bytes, prefix))
            continue;
        if (p->type == PROVIDER_IDENTITY) {
            if (!str_starts(v->bytes, "k8s:enc:"))
                return true;
            continue; /* the one error that lets the next be tried */
        }
        if (p->type == PROVIDER_KMS)
            return same_secret(v, p->kms_endpoint, strlen(p->kms_endpoint));
        for (size_t k = 0; k < p->key_count; k++) {
            char *inner CLEANUP(cleanup_mem) = mem_printf("%s:", p->keys[k].name);
            if (str_starts(v->bytes + strlen(prefix), inner))
                return same_secret(v, p->keys[k].secret, p->keys[k].secret_len);
        }
        return false;
    }
    return false;
}

/* ---- a transition, boiled down ---- */

enum { ABSENT = 4, DOWN = 4, MAX_NODES = 4, STORE_BITS = MAX_VALUES * RESOURCES };

struct transition {
    struct forms forms;
    unsigned canon[FORM_COUNT]; /* the first form that is equal */
    form_set bits[FORM_COUNT];  /* all that are equal */
    bool none[FORM_COUNT];
    bool from_wide;
    size_t value_count[RESOURCES];
    uint32_t writes[FORM_COUNT]; /* a bit for each resource */
    uint32_t reads[FORM_COUNT];  /* a bit for each value of each resource */
};

struct pool {
    struct value values[MAX_VALUES];
    size_t count;
};

static unsigned value_index(struct pool *pool, struct value v)
{
    for (size_t i = 0; i < pool->count; i++) {
        if (str_eq(pool->values[i].bytes, v.bytes) &&
            same_secret(&pool->values[i], v.secret, v.secret_len)) {
            mem_free(v.bytes);
            return (unsigned)i;
        }
    }
    if (pool->count == MAX_VALUES) {
        fprintf(stderr, "model: more values than there is room for\n");
        exit(2);
    }
    pool->values[pool->count] = v;
    return (unsigned)pool->count++;
}

static void boil_resource(struct transition *t, size_t r)
{
    static const struct encryption_provider identity = {.type = PROVIDER_IDENTITY};
    struct pool pool = {0};
    struct list lists[FORM_COUNT];
    for (size_t f = 0; f < FORM_COUNT; f++) {
        lists[f] = load(t->forms.config[f], resources[r]);
        const struct list *l = &lists[f];
        const struct encryption_provider *w = l->count ? l->at[0] : &identity;
        unsigned first = value_index(&pool, written(w, w->keys));
        t->writes[f] |= 1u << (r * MAX_VALUES + first);
        for (size_t i = 0; i < l->count; i++)
            for (size_t k = 0; k < (l->at[i]->key_count ? l->at[i]->key_count : 1); k++)
                value_index(&pool, written(l->at[i], l->at[i]->keys + k));
    }
    for (size_t f = 0; f < FORM_COUNT; f++)
        for (size_t i = 0; i < pool.count; i++)
            if (reads(&lists[f], &pool.values[i]))
                t->reads[f] |= 1u << (r * MAX_VALUES + i);
    t->value_count[r] = pool.count;
    for (size_t i = 0; i < pool.count; i++)
        mem_free(pool.values[i].bytes);
}

static void boil(struct transition *t)
{
    for (unsigned f = 0; f < FORM_COUNT; f++) {
        t->bits[f] = forms_of(&t->forms, t->forms.config[f]);
        t->canon[f] = (unsigned)__builtin_ctz(t->bits[f]);
        t->none[f] = t->forms.config[f]->item_count == 0;
    }
    t->from_wide =
        encryption_config_reads_all(t->forms.config[FORM_FROM], t->forms.config[FORM_TO]);
    for (size_t r = 0; r < RESOURCES; r++)
        boil_resource(t, r);
}

/* Two transitions that agree in this can't be told apart by anything below. */
static bool same_transition(const struct transition *a, const struct transition *b)
{
    return memcmp(a->canon, b->canon, sizeof(a->canon)) == 0 &&
           memcmp(a->none, b->none, sizeof(a->none)) == 0 && a->from_wide == b->from_wide &&
           memcmp(a->writes, b->writes, sizeof(a->writes)) == 0 &&
           memcmp(a->reads, b->reads, sizeof(a->reads)) == 0;
}

/* ---- states ---- */

struct node {
    unsigned file : 3;  /* a form (canonical, not none) or ABSENT */
    unsigned runs : 3;  /* a form (canonical) or DOWN */
    unsigned known : 1; /* the tool knows what it runs */
    unsigned flag : 1;  /* its arguments name the file */
};

struct state {
    struct node nodes[MAX_NODES];
    uint32_t store : STORE_BITS;
    uint32_t narrowing : 1, rewritten : 1, proved : 1;
};
_Static_assert(sizeof(struct node) == 4 || sizeof(struct node) == 1, "packs into the key");

static uint64_t pack(const struct state *s)
{
    uint64_t key = 1; /* never 0, which marks a free slot */
    for (size_t i = 0; i < MAX_NODES; i++) {
        const struct node *n = &s->nodes[i];
        key = key << 8 | (uint64_t)(n->file | n->runs << 3 | n->known << 6 | n->flag << 7);
    }
    key = key << STORE_BITS | s->store;
    return key << 3 | (uint64_t)(s->narrowing | s->rewritten << 1 | s->proved << 2);
}

static struct state unpack(uint64_t key)
{
    struct state s = {0};
    s.narrowing = key & 1;
    s.rewritten = key >> 1 & 1;
    s.proved = key >> 2 & 1;
    key >>= 3;
    s.store = (uint32_t)(key & ((1u << STORE_BITS) - 1));
    key >>= STORE_BITS;
    for (size_t i = MAX_NODES; i-- > 0; key >>= 8)
        s.nodes[i] = (struct node){key & 7, key >> 3 & 7, key >> 6 & 1, key >> 7 & 1};
    return s;
}

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
};

struct visit {
    uint64_t key;
    uint32_t parent;
    uint8_t action, node;
    uint8_t to_done; /* 0: not known yet; else steps + 1 */
};

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
    BREAK_UNION_TWO_ENTRIES,
    BREAK_UNION_SWAPPED,
    BREAK_UNION_FIRST_ONLY,
    BREAK_UNION_NO_IDENTITY,
    BREAK_COUNT,
};

static const char *const breakage_names[] = {
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
    [BREAK_UNION_TWO_ENTRIES] = "union-two-entries",
    [BREAK_UNION_SWAPPED] = "union-swapped",
    [BREAK_UNION_FIRST_ONLY] = "union-first-only",
    [BREAK_UNION_NO_IDENTITY] = "union-no-identity",
};

struct plan_memo {
    uint64_t key;
    struct plan_step step;
    enum form state_form, rollback[FORM_COUNT];
};

struct search {
    const struct transition *t;
    const char *from_name, *to_name;
    size_t n;
    enum breakage broken;
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

static uint64_t mix(uint64_t x)
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

/* The index of the state, entered if it is new. */
static uint32_t visit(struct search *x, uint64_t key, enum action action, size_t node)
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

static void violated(struct search *x, const char *what)
{
    if (!x->violation)
        x->violation = what;
}

/* ---- what the tool sees and the planner says ---- */

static void observe(const struct search *x, const struct state *s, struct plan_node *out)
{
    const struct transition *t = x->t;
    form_set none = 0;
    for (unsigned f = 0; f < FORM_COUNT; f++)
        none |= t->none[f] ? FORM_BIT(f) : 0;
    for (size_t i = 0; i < x->n; i++) {
        const struct node *n = &s->nodes[i];
        out[i].file_there = n->file != ABSENT;
        out[i].file = n->file == ABSENT ? none : t->bits[n->file];
        out[i].runs = n->known && n->runs != DOWN ? t->bits[n->runs] : 0;
    }
}

static struct plan_step planned(const struct search *x, const struct plan_node *obs,
                                struct plan_facts facts)
{
    struct plan_step step;
    if (x->broken == BREAK_NARROW_UNPROVED)
        facts.proved = true;
    if (x->broken == BREAK_NARROW_UNREWRITTEN)
        facts.proved = facts.rewritten = true;
    if (x->broken == BREAK_NARROW_EARLY)
        facts.narrowing = true;
    step = plan_next(&x->t->forms, obs, x->n, facts);
    uint64_t all = (1ull << x->n) - 1;
    if (x->broken == BREAK_SKIP_WIDEN && step.form == FORM_WIDEN)
        step.form = FORM_SWITCH;
    if (x->broken == BREAK_ENABLE_AT_ONCE && x->n == 1 && x->t->none[FORM_FROM] &&
        step.form == FORM_WIDEN)
        step.form = FORM_SWITCH;
    if (x->broken == BREAK_HEAL_FINISHED && step.kind == PLAN_REFUSE && !facts.narrowing)
        step = (struct plan_step){.kind = PLAN_PUT, .form = FORM_WIDEN, .nodes = step.nodes};
    if (x->broken == BREAK_ALL_AT_ONCE && step.kind == PLAN_PUT)
        step.nodes = all;
    if (x->broken == BREAK_RESTART_TOGETHER && step.kind == PLAN_RESTART)
        step.nodes = all;
    if (x->broken == BREAK_REMOVE_FIRST && step.kind == PLAN_RESTART && step.form == FORM_TO &&
        x->t->none[FORM_TO])
        for (size_t i = 0; i < x->n; i++)
            if (obs[i].file_there)
                step = (struct plan_step){.kind = PLAN_REMOVE, .nodes = all};
    return step;
}

static const struct plan_memo *plan(struct search *x, const struct state *s)
{
    struct plan_node obs[MAX_NODES];
    observe(x, s, obs);
    uint64_t key = 1;
    for (size_t i = 0; i < x->n; i++)
        key = key << 9 | obs[i].file << 5 | obs[i].runs << 1 | obs[i].file_there;
    key = key << 3 | (uint64_t)(s->narrowing | s->rewritten << 1 | s->proved << 2);
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
    struct plan_facts facts = {s->narrowing, s->rewritten, s->proved};
    struct plan_memo *m = &x->memo[at];
    x->memo_count++;
    m->key = key;
    m->step = planned(x, obs, facts);
    m->state_form = plan_state_form(&x->t->forms, obs, x->n, facts);
    if (x->broken == BREAK_STATE_TO)
        m->state_form = FORM_TO;
    if (x->broken == BREAK_STATE_FROM && !s->narrowing)
        m->state_form = FORM_FROM;
    for (unsigned f = 0; f < FORM_COUNT; f++) {
        m->rollback[f] = plan_rollback(&x->t->forms, obs, x->n, (enum form)f);
        if (x->broken == BREAK_ROLLBACK_FROM && f == FORM_SWITCH)
            m->rollback[f] = FORM_FROM;
        if (x->broken == BREAK_ROLLBACK_WIDEN_FROM && f == FORM_WIDEN)
            m->rollback[f] = FORM_FROM;
    }
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
    if (unreadable || (s.narrowing && (s.store & ~t->reads[FORM_TO]))) {
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
        if (!s->narrowing && t->canon[step->form] == FORM_TO)
            violated(x, "a file or restart narrows before narrowing was decided");
        if (step->nodes == 0 || step->nodes >> x->n)
            violated(x, "a step on no node, or on one that isn't there");
    }
    if (step->kind == PLAN_PUT && !shown && count > 1)
        violated(x, "several nodes get a file that no apiserver was shown to run");
    if (step->kind == PLAN_RESTART && count != 1)
        violated(x, "several apiservers restart at once");
    if (step->kind == PLAN_NARROW && !(s->proved && s->rewritten))
        violated(x, "narrowing without proof");
    if (step->kind == PLAN_RESTART && step->form == FORM_SWITCH && !t->from_wide)
        for (size_t i = 0; i < x->n; i++)
            if ((step->nodes >> i & 1) && s->nodes[i].runs != DOWN && !s->nodes[i].flag)
                violated(x, "SWITCH brings the flag: what it goes back to has none");
    for (size_t i = 0; i < x->n; i++) {
        const struct node *n = &s->nodes[i];
        if (step->kind == PLAN_REMOVE && (step->nodes >> i & 1) && n->flag)
            violated(x, "a file is removed that an apiserver still reads");
        if (step->kind == PLAN_PROVE && n->runs != DOWN && t->writes[n->runs] != t->writes[FORM_TO])
            violated(x, "proof is sought while an apiserver still writes the old form");
    }
}

/* The state after the planner's step, carried out in full; *done where there is none. */
static struct state full_step(struct search *x, const struct state *s, const struct plan_memo *m,
                              bool *done, enum action *action)
{
    struct state next = *s;
    const struct plan_step *step = &m->step;
    *done = false;
    *action = STEP;
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
        next.store = 0;
        next.rewritten = 1;
        break;
    case PLAN_PROVE:
        if (s->store & ~x->t->writes[FORM_TO]) {
            *action = PROOF_FAILED;
            next.rewritten = 0;
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

static void expand_parts(struct search *x, const struct state *s, const struct plan_memo *m)
{
    const struct plan_step *step = &m->step;
    if (step->kind != PLAN_PUT && step->kind != PLAN_REMOVE)
        return;
    for (uint64_t part = (step->nodes - 1) & step->nodes; part; part = (part - 1) & step->nodes) {
        struct state next = *s;
        for (size_t i = 0; i < x->n; i++) {
            if (!(part >> i & 1))
                continue;
            if (step->kind == PLAN_PUT)
                put(x, &next.nodes[i], step->form);
            else
                next.nodes[i].file = ABSENT;
        }
        enter(x, next, STEP_PART, 0);
    }
}

static void expand_accidents(struct search *x, const struct state *s, const struct plan_memo *m)
{
    struct state next = *s;
    next.rewritten = next.rewritten && next.narrowing;
    next.proved = next.proved && next.narrowing;
    enter(x, next, FORGOTTEN, 0);
    for (size_t i = 0; i < x->n; i++) {
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

/*
 * Somebody else goes on with an older copy of the state, which knows nothing of narrowing, nor
 * perhaps of the processes: where a node shows that it was narrowed already, nothing is done.
 */
static void check_older_copy(struct search *x, const struct state *s)
{
    if (!s->narrowing)
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
    }
}

/* Gives the state that the tool goes on to by itself, or UINT32_MAX when it is done. */
static uint32_t expand(struct search *x, uint32_t index)
{
    x->current = index;
    struct state s = unpack(x->visits[index].key);
    struct plan_node obs[MAX_NODES];
    observe(x, &s, obs);
    for (size_t i = 0; i < x->n; i++)
        if (!s.narrowing && !(obs[i].runs & FORM_BIT(FORM_SWITCH)) && x->broken != BREAK_KEEP_FACTS)
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
            if ((s.nodes[i].runs != DOWN && s.nodes[i].runs != x->t->canon[FORM_TO]) ||
                s.nodes[i].file != (x->t->none[FORM_TO] ? ABSENT : x->t->canon[FORM_TO]))
                violated(x, "done, but a node is left behind");
    }
    if (x->violation)
        return on;
    expand_parts(x, &s, &m);
    if (m.step.kind == PLAN_RESTART)
        expand_restart(x, &s, &m);
    expand_accidents(x, &s, &m);
    return on;
}

/* ---- the search ---- */

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
    printf("  stored %06x%s%s%s\n", (unsigned)s.store, s.rewritten ? " rewritten" : "",
           s.proved ? " proved" : "", s.narrowing ? " NARROWING" : "");
}

static void print_trace(const struct search *x, uint32_t index)
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
                                        "deployed from the state file"};
    const struct visit *v = &x->visits[index];
    if (v->action != START)
        print_trace(x, v->parent);
    printf("  %-28s node %u", names[v->action], v->node);
    print_state(x, v->key);
}

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

static void search_free(struct search *x)
{
    free(x->visits);
    free(x->slots);
    free(x->memo);
}

/* Gives true where nothing is violated. */
static bool search(struct search *x, size_t *states)
{
    struct state s = {0};
    for (size_t i = 0; i < x->n; i++) {
        put(x, &s.nodes[i], FORM_FROM);
        start(x, &s.nodes[i], FORM_FROM, true);
    }
    s.store = x->t->reads[FORM_FROM] & ((1u << STORE_BITS) - 1);
    enter(x, s, START, 0);
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

/* ---- deliberately broken unions ---- */

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

static void break_forms(struct forms *f, enum breakage how)
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

/* ---- all pairs ---- */

/* Four apiservers take ten times as long as three: one transition in so many, unless asked. */
enum { SAMPLE = 4 };

struct totals {
    size_t pairs, refused, distinct, widest, states, violations;
};

struct seen {
    struct transition *at;
    size_t count;
};

static bool is_new(struct seen *seen, const struct transition *t)
{
    for (size_t i = 0; i < seen->count; i++)
        if (same_transition(&seen->at[i], t))
            return false;
    MEM_GROW(seen->at, seen->count);
    seen->at[seen->count++] = *t;
    return true;
}

/* False: stop. */
static bool check_pair(size_t a, size_t b, size_t max_nodes, enum breakage broken,
                       struct seen *seen, struct totals *totals, bool verbose)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *from CLEANUP(cleanup_encryption_config) =
        read_config(configurations[a].items);
    struct encryption_config *to CLEANUP(cleanup_encryption_config) =
        read_config(configurations[b].items);
    struct transition t = {0};
    if (forms_make(from, to, &t.forms, &err) != 0) {
        totals->refused++;
        if (verbose)
            printf("refused: %s -> %s: %s\n", configurations[a].name, configurations[b].name,
                   err.message);
        return true;
    }
    break_forms(&t.forms, broken);
    boil(&t);
    totals->pairs++;
    bool fine = true;
    if (is_new(seen, &t)) {
        totals->distinct++;
        size_t limit = max_nodes                        ? max_nodes
                       : totals->distinct % SAMPLE == 1 ? MAX_NODES
                                                        : MAX_NODES - 1;
        totals->widest += limit == MAX_NODES;
        for (size_t n = 1; n <= limit && fine; n++) {
            struct search x CLEANUP(search_free) = {.t = &t,
                                                    .from_name = configurations[a].name,
                                                    .to_name = configurations[b].name,
                                                    .n = n,
                                                    .broken = broken,
                                                    .quiet = broken && !verbose};
            fine = search(&x, &totals->states);
        }
    }
    totals->violations += !fine;
    forms_free(&t.forms);
    return fine;
}

static struct totals check_all(size_t max_nodes, enum breakage broken, bool verbose)
{
    struct totals totals = {0};
    struct seen seen = {0};
    for (size_t a = 0; a < ARRAY_LEN(configurations); a++)
        for (size_t b = 0; b < ARRAY_LEN(configurations); b++)
            if (!totals.violations)
                check_pair(a, b, max_nodes, broken, &seen, &totals, verbose);
    mem_free(seen.at);
    return totals;
}

static int check_broken(const char *name, size_t max_nodes, bool verbose)
{
    int missed = 0, known = 0;
    for (int b = 1; b < BREAK_COUNT; b++) {
        if (!str_eq(name, "all") && !str_eq(name, breakage_names[b]))
            continue;
        known = 1;
        struct totals t = check_all(max_nodes, (enum breakage)b, verbose || !str_eq(name, "all"));
        printf("model: break %s: %s after %zu states\n", breakage_names[b],
               t.violations ? "caught" : "NOT CAUGHT", t.states);
        fflush(stdout);
        missed += !t.violations;
    }
    if (!known) {
        fprintf(stderr, "model: no breakage \"%s\"; there are: all", name);
        for (int b = 1; b < BREAK_COUNT; b++)
            fprintf(stderr, ", %s", breakage_names[b]);
        fprintf(stderr, "\n");
        return 2;
    }
    if (str_eq(name, "all"))
        printf("model: %d broken variants, %d not caught\n", BREAK_COUNT - 1, missed);
    /* A broken variant that is found is what this is for; one alone still exits like a finding. */
    return str_eq(name, "all") ? missed != 0 : !missed;
}

int main(int argc, char **argv)
{
    size_t max_nodes = 0;
    const char *broken = NULL;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        if (str_eq(argv[i], "--max-nodes") && i + 1 < argc)
            max_nodes = strtoul(argv[++i], NULL, 10);
        else if (str_eq(argv[i], "--break") && i + 1 < argc)
            broken = argv[++i];
        else if (str_eq(argv[i], "--verbose"))
            verbose = true;
        else
            max_nodes = MAX_NODES + 1;
    }
    if (max_nodes > MAX_NODES) {
        fprintf(stderr, "usage: model [--max-nodes 1..4] [--break NAME|all] [--verbose]\n");
        return 2;
    }
    if (broken)
        return check_broken(broken, max_nodes, verbose);
    struct totals t = check_all(max_nodes, BREAK_NOTHING, verbose);
    printf("model: %zu configurations, %zu pairs have no union and are refused, %zu distinct "
           "transitions, %zu of them with 4 apiservers\n",
           ARRAY_LEN(configurations), t.refused, t.distinct, t.widest);
    printf("model: %zu pairs, %zu states, %zu violations\n", t.pairs, t.states, t.violations);
    return t.violations != 0;
}
