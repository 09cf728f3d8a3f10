/* The keys: which there are, what is stored under each, how far a rewrite is. */
#include "provisioner/kube/metrics.h"
#include "provisioner/status.h"
#include "provisioner/store.h"
#include "state/journal_json.h"

#include <string.h>

const struct encryption_config *status_reference(const struct status *d)
{
    const struct session *s = d->s;
    const struct encryption_config *c = NULL;
    for (size_t i = 0; i < s->count; i++)
        if (status_config(d, i, &c))
            return c;
    return d->recorded;
}

const char *status_type_word(enum provider_type type, bool kms_v2)
{
    switch (type) {
    case PROVIDER_AESCBC:
        return "AES-CBC";
    case PROVIDER_AESGCM:
        return "AES-GCM";
    case PROVIDER_SECRETBOX:
        return "XSalsa20-POLY1305";
    case PROVIDER_KMS:
        return kms_v2 ? "KMS v2" : "KMS v1";
    case PROVIDER_IDENTITY:
        break;
    }
    return "identity";
}

/* --- the rows --- */

/* What stands behind a row of the answer, by the same index. */
struct row {
    char *prefix; /* NULL: of no known form */
    enum provider_type type;
    const struct encryption_key *key; /* NULL: kms, plain, or nobody has it */
};

struct rows {
    struct row *list;
    size_t count;
};

static void rows_free(struct rows *r)
{
    for (size_t i = 0; i < r->count; i++)
        mem_free(r->list[i].prefix);
    mem_free(r->list);
}

static struct encrypt_status_key *add_row(struct status *d, struct rows *rows, char *prefix,
                                          const char *type, const char *name)
{
    MEM_GROW(rows->list, rows->count);
    MEM_GROW(d->out->keys, d->out->key_count);
    rows->list[rows->count++] = (struct row){.prefix = prefix};
    struct encrypt_status_key *k = &d->out->keys[d->out->key_count++];
    *k = (struct encrypt_status_key){.type = mem_strdup(type), .name = mem_strdup(name)};
    return k;
}

/* What the history says of it. */
static void add_history(const struct status *d, struct encrypt_status_key *k, const struct row *row)
{
    const struct journal *j = d->s->journal;
    const struct key_record *r = j && row->key ? journal_find_key(j, row->type, row->key) : NULL;
    char fingerprint[13];
    if (!row->key)
        return;
    encryption_key_fingerprint(row->key, fingerprint);
    k->fingerprint = mem_strdup(fingerprint);
    if (!r)
        return;
    k->created = mem_strdup(r->created);
    k->activated = mem_strdup(r->activated);
    k->retired = mem_strdup(r->retired);
}

static void add_node_key(struct status *d, struct rows *rows, enum provider_type type,
                         const struct encryption_key *key, bool writes)
{
    char *prefix = mem_printf("k8s:enc:%s:v1:%s:", provider_type_name(type), key->name);
    for (size_t i = 0; i < rows->count; i++) {
        struct row *r = &rows->list[i];
        if (r->key && r->type == type && encryption_key_equal(r->key, key)) {
            d->out->keys[i].active = d->out->keys[i].active || writes;
            mem_free(prefix);
            return;
        }
    }
    struct encrypt_status_key *k =
        add_row(d, rows, prefix, status_type_word(type, false), key->name);
    struct row *r = &rows->list[rows->count - 1];
    r->type = type;
    r->key = key;
    k->active = writes;
    k->on_nodes = true;
    k->limited = type == PROVIDER_AESGCM;
    add_history(d, k, r);
}

static void add_kms(struct status *d, struct rows *rows, const struct encryption_provider *p,
                    bool writes)
{
    char *prefix = mem_printf("k8s:enc:kms:%s:%s:", p->kms_v2 ? "v2" : "v1", p->kms_name);
    for (size_t i = 0; i < rows->count; i++) {
        if (str_eq(rows->list[i].prefix, prefix)) {
            d->out->keys[i].active = d->out->keys[i].active || writes;
            mem_free(prefix);
            return;
        }
    }
    struct encrypt_status_key *k =
        add_row(d, rows, prefix, status_type_word(PROVIDER_KMS, p->kms_v2), p->kms_name);
    rows->list[rows->count - 1].type = PROVIDER_KMS;
    k->active = writes;
    k->on_nodes = true;
}

/* Those that write, or the others; `reference`: it says which are active. */
static void add_config(struct status *d, struct rows *rows, const struct encryption_config *c,
                       bool reference, bool writers)
{
    for (size_t i = 0; c && i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            for (size_t n = 0; n < p->key_count; n++)
                if ((k == 0 && n == 0) == writers)
                    add_node_key(d, rows, p->type, &p->keys[n], reference && writers);
            if (p->type == PROVIDER_KMS && (k == 0) == writers)
                add_kms(d, rows, p, reference && writers);
        }
    }
}

/* The row of this prefix to the front: what secrets are written under comes first. */
static void bring_forward(struct status *d, struct rows *rows, const char *prefix)
{
    for (size_t i = 1; i < rows->count; i++) {
        if (!str_eq(rows->list[i].prefix, prefix) || !d->out->keys[i].active)
            continue;
        struct row row = rows->list[0];
        struct encrypt_status_key key = d->out->keys[0];
        rows->list[0] = rows->list[i];
        d->out->keys[0] = d->out->keys[i];
        rows->list[i] = row;
        d->out->keys[i] = key;
        return;
    }
}

static void add_configs(struct status *d, struct rows *rows)
{
    const struct encryption_config *reference = status_reference(d);
    char *secrets CLEANUP(cleanup_mem) = encryption_write_prefix(reference, "secrets");
    add_config(d, rows, reference, true, true);
    bring_forward(d, rows, secrets);
    add_config(d, rows, reference, true, false);
    for (size_t i = 0; i < d->s->count; i++) {
        const struct encryption_config *of[] = {d->nodes[i].file, d->nodes[i].runs};
        for (size_t k = 0; k < ARRAY_LEN(of); k++) {
            add_config(d, rows, of[k], false, true);
            add_config(d, rows, of[k], false, false);
        }
    }
}

/* --- what is stored --- */

/* A prefix's type and name: "k8s:enc:aescbc:v1:NAME:". */
static struct encrypt_status_key *add_stored(struct status *d, struct rows *rows,
                                             const char *prefix)
{
    static const enum provider_type types[] = {PROVIDER_AESCBC, PROVIDER_AESGCM,
                                               PROVIDER_SECRETBOX};
    const struct journal *j = d->s->journal;
    char *copy = mem_strdup(prefix);
    if (!prefix)
        return add_row(d, rows, copy, "unknown", "");
    if (!*prefix)
        return add_row(d, rows, copy, status_type_word(PROVIDER_IDENTITY, false), "");
    size_t len = strlen(prefix);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        char *head CLEANUP(cleanup_mem) =
            mem_printf("k8s:enc:%s:v1:", provider_type_name(types[i]));
        size_t n = strlen(head);
        if (!str_starts(prefix, head) || len <= n)
            continue;
        char *name CLEANUP(cleanup_mem) = mem_strndup(prefix + n, len - n - 1);
        struct encrypt_status_key *k =
            add_row(d, rows, copy, status_type_word(types[i], false), name);
        struct row *r = &rows->list[rows->count - 1];
        r->type = types[i];
        for (size_t h = 0; j && h < j->key_count; h++)
            if (j->keys[h].type == types[i] && str_eq(j->keys[h].key.name, name))
                r->key = &j->keys[h].key;
        add_history(d, k, r);
        return k;
    }
    static const char kms[] = "k8s:enc:kms:";
    const char *name = str_starts(prefix, kms) ? strchr(prefix + strlen(kms), ':') : NULL;
    char *shown CLEANUP(cleanup_mem) =
        name ? mem_strndup(name + 1, strlen(name) - 2) : mem_strdup(prefix);
    return add_row(d, rows, copy,
                   name ? status_type_word(PROVIDER_KMS, str_starts(prefix + strlen(kms), "v2"))
                        : "unknown",
                   shown);
}

static void count_under(struct status *d, struct rows *rows, const struct prefix_count *p)
{
    bool found = false;
    /* Two keys of one name can't be told apart by what is stored. */
    for (size_t i = 0; i < rows->count; i++) {
        if (str_eq(rows->list[i].prefix, p->prefix)) {
            d->out->keys[i].objects += p->count;
            found = true;
        }
    }
    if (!found)
        add_stored(d, rows, p->prefix)->objects = p->count;
}

static bool reads(const struct encryption_config *c, const struct resource *r, const char *prefix)
{
    return prefix && encryption_config_reads(c, r->name, prefix, strlen(prefix));
}

/* Where to look for what no node reads by: nobody has it, the history, or a node (for another
 * resource). Appended. */
static void add_whereabouts(const struct status *d, const struct rows *rows, const char *prefix,
                            struct buf *out)
{
    static const char kms[] = "k8s:enc:kms:";
    bool nodes = false, at_hand = false;
    const char *name = NULL;
    for (size_t i = 0; i < rows->count; i++) {
        if (!str_eq(rows->list[i].prefix, prefix))
            continue;
        nodes = nodes || d->out->keys[i].on_nodes;
        at_hand = at_hand || rows->list[i].key;
        name = d->out->keys[i].name;
    }
    if (str_starts(prefix, kms) && name && !nodes)
        buf_printf(out, "; they are of the kms provider %s, which no node is configured with",
                   name);
    else if (!str_starts(prefix, kms) && !at_hand)
        buf_adds(out, "; nobody has that key");
    else if (!nodes)
        buf_adds(out, "; the key history in the state file has that key");
}

/* Readable, but not in the form that is written. */
static void check_form(struct status *d, const struct resource *r, const struct prefix_count *p)
{
    const struct encryption_config *reference = status_reference(d), *c = NULL;
    char *want CLEANUP(cleanup_mem) = encryption_write_prefix(reference, r->name);
    if (d->out->transition || str_eq(want, p->prefix))
        return;
    for (size_t i = 0; i < d->s->count; i++)
        if (status_config(d, i, &c) && !encryption_config_equal(c, reference))
            return; /* which is right isn't known, and that they differ is told */
    if (*p->prefix)
        status_problem(d,
                       "%s: %zu still under %s: they were not rewritten when the key changed "
                       "(encrypt doctor tells what to do)",
                       r->name, p->count, p->prefix);
    else
        status_problem(d,
                       "%s: %zu stored plain, though what is written is encrypted (encrypt doctor "
                       "tells what to do)",
                       r->name, p->count);
}

/* Who of the nodes can't read what lies under it. */
static void check_readers(struct status *d, const struct rows *rows, const struct resource *r,
                          const struct prefix_count *p)
{
    struct buf blind CLEANUP(buf_free) = {0};
    size_t known = 0, cant = 0;
    for (size_t i = 0; i < d->s->count; i++) {
        const struct status_node *n = &d->nodes[i];
        bool told = d->s->members[i].seen.config_path != NULL;
        if (!d->s->members[i].seen.exists || (!n->runs_known && told && !n->file_known))
            continue;
        known++;
        if (reads(n->runs_known ? n->runs : told ? n->file : NULL, r, p->prefix))
            continue;
        buf_printf(&blind, "%s%s", cant++ ? ", " : "", d->s->members[i].node.name);
    }
    if (!cant) {
        if (known)
            check_form(d, r, p);
        return;
    }
    const char *form = p->prefix ? *p->prefix ? p->prefix : "no key (plain)" : "an unknown form";
    struct buf where CLEANUP(buf_free) = {0};
    if (p->prefix && *p->prefix)
        add_whereabouts(d, rows, p->prefix, &where);
    if (cant == known)
        status_problem(d, "%s: %zu stored under %s, which %s can read%s", r->name, p->count, form,
                       d->s->absent_count ? "none of the nodes that could be looked at" : "no node",
                       buf_str(&where));
    else
        status_problem(d, "%s: %zu stored under %s, which %s can't read", r->name, p->count, form,
                       buf_str(&blind));
}

static bool any(void *ctx, const struct resource *r, const unsigned char *value, size_t len)
{
    (void)ctx;
    (void)r;
    (void)value;
    (void)len;
    return true;
}

/* How far the values of the resource are on the way to what they are to be. */
static void count_progress(struct status *d, const struct resource *r, const struct census *c)
{
    const struct transition *t = d->s->journal ? d->s->journal->transition : NULL;
    if (!t || !encryption_resource_changes(t->from, t->to, r->name))
        return;
    char *prefix CLEANUP(cleanup_mem) =
        encryption_write_prefix(t->aborting ? t->from : t->to, r->name);
    d->out->transition->total += c->values;
    for (size_t i = 0; i < c->prefix_count; i++)
        if (str_eq(c->prefixes[i].prefix, prefix))
            d->out->transition->done += c->prefixes[i].count;
}

static int count_resource(struct status *d, struct rows *rows, const struct resource *r,
                          struct error *err)
{
    struct census c CLEANUP(census_free) = {0};
    tell(d->s, ENCRYPT_DEBUG, "count", NULL, "%s in etcd", r->name);
    if (census_resource(d->s, r, d->out->revision, any, NULL, &c, err) < 0)
        return -1;
    d->out->revision = c.revision;
    for (size_t i = 0; i < c.prefix_count; i++) {
        count_under(d, rows, &c.prefixes[i]);
        check_readers(d, rows, r, &c.prefixes[i]);
    }
    count_progress(d, r, &c);
    return 0;
}

static void not_counted(struct status *d, const char *what, const char *why)
{
    char *text = mem_printf("%s: %s", what, why);
    char *both = d->out->uncounted ? mem_printf("%s; %s", d->out->uncounted, text) : NULL;
    if (both) {
        mem_free(d->out->uncounted);
        mem_free(text);
    }
    d->out->uncounted = both ? both : text;
}

/* Secrets, and what any configuration that is in force, or was meant to be, names. Where the API
 * can't tell what a name stands for, those that are known without it. */
static int find_resources(struct status *d, const struct resources **out, struct error *err)
{
    const struct transition *t = d->s->journal ? d->s->journal->transition : NULL;
    char **names CLEANUP(cleanup_encryption_resources) = mem_alloc(2, sizeof(char *));
    struct error e CLEANUP(error_clear) = {0};
    size_t count = 0;
    store_add_name(&names, &count, "secrets");
    for (size_t i = 0; i < d->s->count; i++) {
        store_add_names(&names, &count, d->nodes[i].file);
        store_add_names(&names, &count, d->nodes[i].runs);
    }
    store_add_names(&names, &count, d->recorded);
    store_add_names(&names, &count, d->s->journal ? d->s->journal->custom : NULL);
    store_add_names(&names, &count, d->s->cluster->custom);
    store_add_names(&names, &count, t ? t->from : NULL);
    store_add_names(&names, &count, t ? t->to : NULL);
    if (store_named(d->s, names, out, &e) == 0)
        return 0;
    if (e.result == RESULT_INTERRUPTED)
        return error_move(err, &e);
    size_t known = 0;
    for (size_t i = 0; names[i]; i++) {
        if (resource_find(names[i])) {
            names[known++] = names[i];
            continue;
        }
        not_counted(d, names[i], e.message);
        mem_free(names[i]);
    }
    names[known] = NULL;
    return store_built_in(d->s, names, out, err);
}

/* Each question to an etcd without quorum waits for its whole time: not asked where the apiservers
 * have said so. */
static const char *etcd_trouble(const struct status *d)
{
    for (size_t i = 0; !d->api && i < d->s->count; i++)
        if (d->nodes[i].why && strstr(d->nodes[i].why, "etcd"))
            return d->nodes[i].why;
    return NULL;
}

static int count_store(struct status *d, struct rows *rows, struct error *err)
{
    struct error why CLEANUP(error_clear) = {0};
    const struct resources *all = NULL;
    const char *trouble = etcd_trouble(d);
    if (trouble || !d->s->count) {
        not_counted(d, "etcd", trouble ? trouble : "no node could be looked at");
        return 0;
    }
    if (find_resources(d, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all->count; i++) {
        const struct resource *r = &all->list[i];
        if (store_elsewhere(d->s, r)) {
            not_counted(d, r->name, "in an etcd of their own");
            continue;
        }
        if (count_resource(d, rows, r, &why) == 0)
            continue;
        if (why.result == RESULT_INTERRUPTED)
            return error_move(err, &why);
        not_counted(d, r->name, why.message);
        return 0;
    }
    d->counted = true;
    for (size_t i = 0; i < d->out->key_count; i++)
        d->out->keys[i].counted = true;
    if (d->out->transition)
        d->out->transition->counted = !d->out->uncounted;
    return 0;
}

/* --- writes --- */

/* The label of a key's own transformer is its name and a colon, in all versions that were seen; so
 * keys of one name in several providers count as one. */
static int count_writes(struct status *d, struct error *err)
{
    bool any_limited = false;
    for (size_t i = 0; i < d->out->key_count; i++) {
        struct encrypt_status_key *k = &d->out->keys[i];
        any_limited = any_limited || k->limited;
        k->writes = k->counted ? k->objects : 0;
    }
    double *sums CLEANUP(cleanup_mem) = mem_alloc(d->out->key_count, sizeof(*sums));
    for (size_t n = 0; any_limited && n < d->s->count; n++) {
        struct buf text CLEANUP(buf_free) = {0};
        struct error why CLEANUP(error_clear) = {0};
        const struct member *m = &d->s->members[n];
        if (!d->nodes[n].ready)
            continue;
        if (kube_metrics(&m->node.api, &text, &why) < 0) {
            if (why.result == RESULT_INTERRUPTED)
                return error_move(err, &why);
            status_note(d, "node %s: its writes could not be counted: %s", m->node.name,
                        why.message);
            continue;
        }
        for (size_t i = 0; i < d->out->key_count; i++) {
            if (!d->out->keys[i].limited)
                continue;
            char *prefix CLEANUP(cleanup_mem) = mem_printf("%s:", d->out->keys[i].name);
            const struct metric_label labels[] = {{"transformation_type", "to_storage"},
                                                  {"transformer_prefix", prefix},
                                                  {"status", "OK"}};
            bool found = false;
            sums[i] +=
                metrics_sum(buf_str(&text), "apiserver_storage_transformation_operations_total",
                            labels, ARRAY_LEN(labels), &found);
        }
    }
    for (size_t i = 0; i < d->out->key_count; i++) {
        struct encrypt_status_key *k = &d->out->keys[i];
        if (k->limited && sums[i] > (double)k->writes)
            k->writes = sums[i] < 1e15 ? (uint64_t)sums[i] : k->writes;
        if (k->limited && k->active && k->writes >= ENCRYPT_AESGCM_LIMIT)
            status_problem(d,
                           "key %s has encrypted %llu values or more: a key for aesgcm is good for "
                           "%d; rotate it",
                           k->name, (unsigned long long)k->writes, (int)ENCRYPT_AESGCM_LIMIT);
    }
    return 0;
}

int status_keys(struct status *d, struct error *err)
{
    struct rows rows CLEANUP(rows_free) = {0};
    add_configs(d, &rows);
    return count_store(d, &rows, err) < 0 ? -1 : count_writes(d, err);
}
