#include "provisioner/store.h"

#include "templates/encryption_features.h"

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
    char *const *long_prefixes; /* the session's */
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

static char *prefix_of_value(char *const *known, const unsigned char *value, size_t len)
{
    for (; known && *known; known++) {
        size_t n = strlen(*known);
        if (len >= n && memcmp(value, *known, n) == 0)
            return mem_strdup(*known);
    }
    return encryption_stored_prefix(value, len);
}

static int on_value(void *ctx, const char *key, const unsigned char *value, size_t len,
                    int64_t mod_revision, struct error *err)
{
    (void)mod_revision;
    struct walk *w = ctx;
    struct census *c = w->census;
    c->values++;
    c->bytes += (int64_t)len;
    count_prefix(c, prefix_of_value(w->long_prefixes, value, len));
    if (w->want(w->ctx, w->resource, value, len))
        return 0;
    c->refused++;
    c->refused_bytes += (int64_t)len;
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

/* --etcd-servers-overrides: "group/resource#servers,…", "/resource#…" for the core group. */
static const struct member *overridden_on(const struct session *s, const struct resource *r)
{
    const char *group = strchr(r->name, '.');
    char *entry CLEANUP(cleanup_mem) = mem_printf("%s/%s#", group ? group + 1 : "", r->plural);
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        const char *overrides = apiserver_flag(&m->seen, "etcd-servers-overrides");
        const char *at = overrides ? strstr(overrides, entry) : NULL;
        if (at && (at == overrides || at[-1] == ','))
            return m;
    }
    return NULL;
}

bool store_elsewhere(const struct session *s, const struct resource *r)
{
    return overridden_on(s, r) != NULL;
}

static int check_override(struct session *s, const struct resource *r, struct error *err)
{
    const struct member *m = overridden_on(s, r);
    return m ? error_set(
                   err, RESULT_REFUSED,
                   "node %s: --etcd-servers-overrides puts %s into an etcd of their own, where "
                   "nothing can be proved",
                   m->node.name, r->name)
             : 0;
}

/* Opens the way to what is stored of the resource. */
static int open_store(struct session *s, const struct resource *r, struct error *err)
{
    return session_open_etcd(s, err) < 0 ? -1 : check_override(s, r, err);
}

static int run_walk(struct session *s, struct walk *w, const char *prefix, int64_t revision,
                    struct error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    if (session_open_etcd(s, err) < 0)
        return -1;
    w->long_prefixes = s->long_prefixes;
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
    if (open_store(s, r, err) < 0)
        return -1;
    char *prefix CLEANUP(cleanup_mem) = store_key(s, r, "");
    struct walk w = {
        .census = out, .resource = r, .strip = strlen(prefix), .want = want, .ctx = ctx};
    return run_walk(s, &w, prefix, revision, err);
}

static bool can_be_read(void *ctx, const struct resource *r, const unsigned char *value, size_t len)
{
    return encryption_config_reads(ctx, r->name, value, len);
}

int census_unreadable(struct session *s, const struct resource *r,
                      const struct encryption_config *by, int64_t revision, struct census *out,
                      struct error *err)
{
    union {
        const struct encryption_config *in;
        void *out;
    } ctx = {.in = by};
    return census_resource(s, r, revision, can_be_read, ctx.out, out, err);
}

static char *prefix_of(const char *all, const char *ns)
{
    return ns ? mem_printf("%s%s/", all, ns) : mem_strdup(all);
}

int census_names(struct session *s, const struct resource *r, const char *ns, const char *after,
                 size_t most, census_fn *want, void *ctx, struct census *out, struct error *err)
{
    if (open_store(s, r, err) < 0)
        return -1;
    char *all CLEANUP(cleanup_mem) = store_key(s, r, "");
    char *prefix CLEANUP(cleanup_mem) = prefix_of(all, ns);
    char *key CLEANUP(cleanup_mem) = after ? store_key(s, r, after) : NULL;
    struct walk w = {.census = out,
                     .resource = r,
                     .strip = strlen(all),
                     .after = key,
                     .most = most,
                     .want = want,
                     .ctx = ctx};
    return run_walk(s, &w, prefix, 0, err);
}

static bool lies_under_none(void *ctx, const struct resource *r, const unsigned char *value,
                            size_t len)
{
    (void)r;
    char *const *list = ctx;
    for (size_t i = 0; list[i]; i++) {
        size_t n = strlen(list[i]);
        if (len >= n && memcmp(value, list[i], n) == 0)
            return false;
    }
    return true;
}

int census_under(struct session *s, char **prefixes, int64_t revision, struct census *out,
                 struct error *err)
{
    if (session_open_etcd(s, err) < 0)
        return -1;
    char *prefix CLEANUP(cleanup_mem) = mem_printf("%s/", s->etcd_prefix);
    struct walk w = {.census = out, .want = lies_under_none, .ctx = prefixes};
    return run_walk(s, &w, prefix, revision, err);
}

int census_find(struct session *s, const struct resource *r, const char *ns, size_t count,
                census_fn *want, void *ctx, char ***out, struct error *err)
{
    if (open_store(s, r, err) < 0)
        return -1;
    struct census c CLEANUP(census_free) = {0};
    char *all CLEANUP(cleanup_mem) = store_key(s, r, "");
    char *prefix CLEANUP(cleanup_mem) = prefix_of(all, ns);
    struct walk w = {.census = &c,
                     .resource = r,
                     .strip = strlen(all),
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

bool store_reads_prefix(const struct encryption_config *c, const char *prefix)
{
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t r = 0; r < c->items[i].resource_count; r++)
            if (encryption_config_reads(c, c->items[i].resources[r], prefix, strlen(prefix)))
                return true;
    return false;
}

static void add_leaving(char ***list, size_t *count, const struct encryption_provider *p,
                        const char *name, const struct encryption_config *to)
{
    char *prefix = p->type == PROVIDER_KMS
                       ? mem_printf("k8s:enc:kms:%s:%s:", p->kms_v2 ? "v2" : "v1", name)
                       : mem_printf("k8s:enc:%s:v1:%s:", provider_type_name(p->type), name);
    bool stays = store_reads_prefix(to, prefix);
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

static char *copy(const char *text)
{
    return mem_strdup(text);
}

/* Without discovery: what the table knows. */
static int built_in(char *const *names, struct resources *out, struct error *err)
{
    for (size_t i = 0; names[i]; i++) {
        const struct resource *r = resource_find(names[i]);
        if (!r)
            return error_set(err, RESULT_FAILED,
                             "what the resource `%s` stands for can be told by an apiserver alone, "
                             "and none is ready",
                             names[i]);
        MEM_GROW(out->list, out->count);
        out->list[out->count++] = (struct resource){copy(r->name), copy(r->api), copy(r->plural),
                                                    copy(r->etcd_dir), r->namespaced};
    }
    return 0;
}

static void tell_others(struct session *s, const struct resources *r)
{
    for (size_t i = 0; i < r->other_count; i++)
        tell(s, ENCRYPT_WARNING, "check", NULL, "%s: not rewritten: %s", r->others[i].name,
             r->others[i].why);
}

static char *names_text(char *const *names)
{
    struct buf text = {0};
    for (size_t i = 0; names[i]; i++)
        buf_printf(&text, "%s\n", names[i]);
    char *copy = mem_strdup(buf_str(&text));
    buf_free(&text);
    return copy;
}

void store_add_name(char ***list, size_t *count, const char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (str_eq((*list)[i], name))
            return;
    MEM_GROW(*list, *count + 1);
    (*list)[(*count)++] = mem_strdup(name);
    (*list)[*count] = NULL;
}

void store_know_keys(struct session *s, const struct encryption_config *c)
{
    size_t count = 0;
    while (s->long_prefixes && s->long_prefixes[count])
        count++;
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t p = 0; p < c->items[i].provider_count; p++) {
            const struct encryption_provider *provider = &c->items[i].providers[p];
            for (size_t k = 0; k < provider->key_count; k++) {
                const char *name = provider->keys[k].name;
                if (!strchr(name, ':'))
                    continue;
                char *prefix CLEANUP(cleanup_mem) =
                    mem_printf("k8s:enc:%s:v1:%s:", provider_type_name(provider->type), name);
                store_add_name(&s->long_prefixes, &count, prefix);
            }
        }
}

void store_add_names(char ***list, size_t *count, const struct encryption_config *c)
{
    for (size_t k = 0; c && k < c->item_count; k++)
        for (size_t j = 0; j < c->items[k].resource_count; j++)
            store_add_name(list, count, c->items[k].resources[j]);
}

void store_forget_resources(struct session *s)
{
    mem_free(STEAL(s->resources_of));
}

static void take_resources(struct session *s, struct resources *found, char *of)
{
    resources_free(&s->resources);
    s->resources = *found;
    *found = (struct resources){0};
    mem_free(s->resources_of);
    s->resources_of = of;
}

int store_built_in(struct session *s, char *const *names, const struct resources **out,
                   struct error *err)
{
    struct resources found CLEANUP(resources_free) = {0};
    *out = &s->resources;
    if (built_in(names, &found, err) < 0)
        return -1;
    take_resources(s, &found, NULL);
    return 0;
}

int store_named(struct session *s, char *const *names, const struct resources **out,
                struct error *err)
{
    *out = &s->resources;
    char *of CLEANUP(cleanup_mem) = names_text(names);
    if (str_eq(s->resources_of, of))
        return 0;
    struct resources found CLEANUP(resources_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    const struct http_server *api = NULL;
    if (session_ready_api(s, &api, &e) < 0)
        return e.result == RESULT_FAILED ? store_built_in(s, names, out, err) : error_move(err, &e);
    if (discovery_resources(api, names, &found, err) < 0)
        return -1;
    tell_others(s, &found);
    take_resources(s, &found, STEAL(of));
    return 0;
}

int store_resources(struct session *s, const struct encryption_config *a,
                    const struct encryption_config *b, const struct resources **out,
                    struct error *err)
{
    char **names = encryption_resources(a, b);
    int rc = store_named(s, names, out, err);
    encryption_resources_free(names);
    return rc;
}

/* By etcd alone: what has no API has its folder there all the same. */
static int count_unreadable(struct session *s, const char *name, const struct encryption_config *to,
                            size_t *count, struct error *err)
{
    struct census c CLEANUP(census_free) = {0};
    const char *dot = strchr(name, '.');
    char *plural CLEANUP(cleanup_mem) =
        dot ? mem_strndup(name, (size_t)(dot - name)) : mem_strdup(name);
    char *dir CLEANUP(cleanup_mem) =
        resource_etcd_dir(dot ? dot + 1 : "", plural, encryption_resource_is_custom(name));
    const struct resource r = {.name = name, .api = "", .plural = plural, .etcd_dir = dir};
    if (census_unreadable(s, &r, to, 0, &c, err) < 0)
        return -1;
    *count = c.refused;
    return 0;
}

int store_check_unchangeable(struct session *s, const struct resources *all,
                             const struct encryption_config *from,
                             const struct encryption_config *to, struct error *err)
{
    for (size_t i = 0; i < all->other_count; i++) {
        const struct unchangeable *other = &all->others[i];
        size_t count = 0;
        if (!other->stored || other->follows || !encryption_resource_changes(from, to, other->name))
            continue;
        if (count_unreadable(s, other->name, to, &count, err) < 0)
            return -1;
        if (count == 0)
            continue;
        error_set(
            err, RESULT_REFUSED,
            "%s can't be rewritten through the API (%s), and %zu values of it are stored that "
            "could not be read any more after the change",
            other->name, other->why, count);
        error_next(err,
                   "mend that (for a custom resource: a version of its definition must be served), "
                   "or leave its providers as they are");
        return -1;
    }
    return 0;
}
