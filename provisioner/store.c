#include "provisioner/store.h"

#include <string.h>

void census_free(struct census *c)
{
    for (size_t i = 0; i < c->prefix_count; i++)
        mem_free(c->prefixes[i].prefix);
    mem_free(c->prefixes);
    for (size_t i = 0; i < c->example_count; i++)
        mem_free(c->examples[i]);
    mem_free(c->examples);
    *c = (struct census){0};
}

struct walk {
    struct census *census;
    const struct resource *resource;
    size_t strip; /* of each key, for its example */
    census_fn *want;
    void *ctx;
    const char *after; /* a whole key: only those after it; NULL: all */
    size_t most;       /* examples; 0: CENSUS_MAX_EXAMPLES */
    bool end_early;    /* when there are as many */
    bool ended;
};

static void count_prefix(struct census *c, char *prefix)
{
    for (size_t i = 0; i < c->prefix_count; i++) {
        if (str_eq(c->prefixes[i].prefix, prefix)) {
            c->prefixes[i].count++;
            mem_free(prefix);
            return;
        }
    }
    MEM_GROW(c->prefixes, c->prefix_count);
    c->prefixes[c->prefix_count++] = (struct prefix_count){.prefix = prefix, .count = 1};
}

static int on_value(void *ctx, const char *key, const unsigned char *value, size_t len,
                    int64_t mod_revision, struct error *err)
{
    (void)mod_revision;
    struct walk *w = ctx;
    struct census *c = w->census;
    c->values++;
    c->bytes += (int64_t)len;
    count_prefix(c, encryption_stored_prefix(value, len));
    if (w->want(w->ctx, w->resource, value, len))
        return 0;
    c->refused++;
    size_t most = w->most ? w->most : CENSUS_MAX_EXAMPLES;
    if (c->example_count < most) {
        /* One more place than is counted: the list ends with NULL. */
        MEM_GROW(c->examples, c->example_count + 1);
        c->examples[c->example_count++] = mem_strdup(key + w->strip);
        c->examples[c->example_count] = NULL;
    }
    if (w->end_early && c->example_count >= most) {
        w->ended = true;
        return error_set(err, RESULT_FAILED, "enough");
    }
    return 0;
}

static int run_walk(struct session *s, struct walk *w, const char *prefix, int64_t revision,
                    struct error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    if (session_open_etcd(s, err) < 0)
        return -1;
    w->census->examples = mem_alloc(2, sizeof(char *));
    w->census->revision = revision;
    if (etcd_walk_after(s->etcd, prefix, w->after, &w->census->revision, on_value, w, &e) < 0 &&
        !w->ended)
        return error_move(err, &e);
    return 0;
}

int census_resource(struct session *s, const struct resource *r, int64_t revision, census_fn *want,
                    void *ctx, struct census *out, struct error *err)
{
    if (session_open_etcd(s, err) < 0)
        return -1;
    char *prefix CLEANUP(cleanup_mem) = store_key(s, r, "");
    struct walk w = {
        .census = out, .resource = r, .strip = strlen(prefix), .want = want, .ctx = ctx};
    return run_walk(s, &w, prefix, revision, err);
}

int census_names(struct session *s, const struct resource *r, const char *after, size_t most,
                 census_fn *want, void *ctx, struct census *out, struct error *err)
{
    if (session_open_etcd(s, err) < 0)
        return -1;
    char *prefix CLEANUP(cleanup_mem) = store_key(s, r, "");
    char *key CLEANUP(cleanup_mem) = after ? store_key(s, r, after) : NULL;
    struct walk w = {.census = out,
                     .resource = r,
                     .strip = strlen(prefix),
                     .after = key,
                     .most = most,
                     .want = want,
                     .ctx = ctx};
    return run_walk(s, &w, prefix, 0, err);
}

int census_store(struct session *s, int64_t revision, census_fn *want, void *ctx,
                 struct census *out, struct error *err)
{
    if (session_open_etcd(s, err) < 0)
        return -1;
    char *prefix CLEANUP(cleanup_mem) = mem_printf("%s/", s->etcd_prefix);
    struct walk w = {.census = out, .want = want, .ctx = ctx};
    return run_walk(s, &w, prefix, revision, err);
}

int census_find(struct session *s, const struct resource *r, size_t count, census_fn *want,
                void *ctx, char ***out, struct error *err)
{
    if (session_open_etcd(s, err) < 0)
        return -1;
    struct census c CLEANUP(census_free) = {0};
    char *prefix CLEANUP(cleanup_mem) = store_key(s, r, "");
    struct walk w = {.census = &c,
                     .resource = r,
                     .strip = strlen(prefix),
                     .want = want,
                     .ctx = ctx,
                     .most = count,
                     .end_early = true};
    if (run_walk(s, &w, prefix, 0, err) < 0)
        return -1;
    *out = STEAL(c.examples);
    c.example_count = 0;
    return 0;
}

char *store_key(const struct session *s, const struct resource *r, const char *name)
{
    return mem_printf("%s/%s/%s", s->etcd_prefix, r->etcd_dir, name);
}

char *census_text(const struct census *c)
{
    struct buf b = {0};
    if (c->prefix_count == 0)
        buf_adds(&b, "nothing");
    for (size_t i = 0; i < c->prefix_count; i++) {
        const struct prefix_count *p = &c->prefixes[i];
        buf_printf(&b, "%s%zu %s", i ? ", " : "", p->count,
                   !p->prefix     ? "of an unknown form"
                   : p->prefix[0] ? "under "
                                  : "plain");
        if (p->prefix)
            buf_adds(&b, p->prefix);
    }
    return b.data;
}

static void add_leaving(char ***list, size_t *count, const struct encryption_provider *p,
                        const char *name, const struct encryption_config *to)
{
    char *prefix = p->type == PROVIDER_KMS
                       ? mem_printf("k8s:enc:kms:%s:%s:", p->kms_v2 ? "v2" : "v1", name)
                       : mem_printf("k8s:enc:%s:v1:%s:", provider_type_name(p->type), name);
    bool stays = false;
    for (size_t i = 0; to && i < to->item_count; i++) {
        const struct encryption_item *item = &to->items[i];
        for (size_t r = 0; r < item->resource_count; r++)
            stays =
                stays || encryption_config_reads(to, item->resources[r], prefix, strlen(prefix));
    }
    for (size_t i = 0; i < *count; i++)
        stays = stays || str_eq((*list)[i], prefix);
    if (stays) {
        mem_free(prefix);
        return;
    }
    MEM_GROW(*list, *count + 1);
    (*list)[(*count)++] = prefix;
    (*list)[*count] = NULL;
}

char **store_leaving(const struct encryption_config *from, const struct encryption_config *to)
{
    char **list = mem_alloc(2, sizeof(char *));
    size_t count = 0;
    for (size_t i = 0; from && i < from->item_count; i++) {
        for (size_t k = 0; k < from->items[i].provider_count; k++) {
            const struct encryption_provider *p = &from->items[i].providers[k];
            for (size_t j = 0; j < p->key_count; j++)
                add_leaving(&list, &count, p, p->keys[j].name, to);
            if (p->type == PROVIDER_KMS)
                add_leaving(&list, &count, p, p->kms_name, to);
        }
    }
    return list;
}

int store_resources(const struct encryption_config *a, const struct encryption_config *b,
                    const struct resource ***out, size_t *count, struct error *err)
{
    char **names = encryption_resources(a, b);
    size_t n = 0;
    while (names[n])
        n++;
    const struct resource **list = mem_alloc(n + 1, sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        list[i] = resource_find(names[i]);
        if (!list[i]) {
            error_set(err, RESULT_REFUSED,
                      "resource `%s`: not one that can be rewritten and proved", names[i]);
            mem_free(list);
            encryption_resources_free(names);
            return -1;
        }
    }
    encryption_resources_free(names);
    *out = list;
    *count = n;
    return 0;
}
