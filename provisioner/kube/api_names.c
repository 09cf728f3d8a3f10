/* Names of a configuration to resources of an API: see api_groups.h. */
#include "provisioner/kube/api_groups.h"

#include <string.h>

/* Resources that two groups serve. kube-apiserver stores them, and looks for them in the
 * configuration, under the first (AddCohabitatingResources in its storage factory), where that
 * group is there. */
static const struct cohabiting {
    const char *plural, *stored, *other;
} cohabiting[] = {
    {"events", "", "events.k8s.io"},
    {"replicationcontrollers", "", "extensions"},
    {"daemonsets", "apps", "extensions"},
    {"deployments", "apps", "extensions"},
    {"replicasets", "apps", "extensions"},
    {"ingresses", "networking.k8s.io", "extensions"},
    {"networkpolicies", "networking.k8s.io", "extensions"},
    {"podsecuritypolicies", "policy", "extensions"},
};

/* Values that have no API of their own, stored with another resource's. kube-apiserver writes them
 * anew by itself. */
static const struct companion {
    const char *of; /* NULL: of the core group as a whole */
    const char *name, *why;
} companions[] = {
    {"services", "serviceipallocations",
     "the addresses and ports in use, ranges/ in etcd, stored as services are; kube-apiserver "
     "writes them anew when it starts"},
    {"services", "servicenodeportallocations",
     "the addresses and ports in use, ranges/ in etcd, stored as services are; kube-apiserver "
     "writes them anew when it starts"},
    {NULL, "apiserveripinfo",
     "masterleases/ in etcd; each kube-apiserver writes its own anew every few seconds"},
};

static const char *group_of(const char *name)
{
    const char *dot = strchr(name, '.');
    return dot ? dot + 1 : "";
}

static bool is_wildcard(const char *name)
{
    return name[0] == '*' && (name[1] == '.' || !name[1]);
}

static char *full_name(const char *plural, const char *group)
{
    return group[0] ? mem_printf("%s.%s", plural, group) : mem_strdup(plural);
}

static const struct cohabiting *cohabiting_find(const char *plural, const char *other)
{
    for (size_t i = 0; i < ARRAY_LEN(cohabiting); i++) {
        if (str_eq(cohabiting[i].plural, plural) && str_eq(cohabiting[i].other, other))
            return &cohabiting[i];
    }
    return NULL;
}

bool api_group_is_named(const char *group, char *const *names)
{
    for (size_t i = 0; names[i]; i++) {
        const char *named = group_of(names[i]);
        if (str_eq(named, group) || (str_eq(named, "*") && is_wildcard(names[i])))
            return true;
        /* Whether the other group is the one that counts. */
        for (size_t k = 0; k < ARRAY_LEN(cohabiting); k++) {
            if (str_eq(cohabiting[k].other, named) && str_eq(cohabiting[k].stored, group))
                return true;
        }
    }
    return false;
}

void resources_free(struct resources *r)
{
    for (size_t i = 0; i < r->count; i++) {
        mem_free((char *)r->list[i].name);
        mem_free((char *)r->list[i].api);
        mem_free((char *)r->list[i].plural);
        mem_free((char *)r->list[i].etcd_dir);
    }
    mem_free(r->list);
    for (size_t i = 0; i < r->other_count; i++) {
        mem_free(r->others[i].name);
        mem_free(r->others[i].why);
    }
    mem_free(r->others);
    *r = (struct resources){0};
}

/* Takes `why` over. */
static void add_other(struct resources *out, const char *name, bool stored, char *why)
{
    for (size_t i = 0; i < out->other_count; i++) {
        if (str_eq(out->others[i].name, name)) {
            mem_free(why);
            return;
        }
    }
    MEM_GROW(out->others, out->other_count);
    out->others[out->other_count++] =
        (struct unchangeable){.name = mem_strdup(name), .why = why, .stored = stored};
}

static void add_companions(struct resources *out, const char *of)
{
    for (size_t i = 0; i < ARRAY_LEN(companions); i++) {
        if (!str_eq(companions[i].of, of))
            continue;
        add_other(out, companions[i].name, true, mem_strdup(companions[i].why));
        for (size_t k = 0; k < out->other_count; k++)
            if (str_eq(out->others[k].name, companions[i].name))
                out->others[k].follows = true;
    }
}

static bool is_defined(const struct api_groups *g, const char *name)
{
    for (size_t i = 0; i < g->definition_count; i++) {
        if (str_eq(g->definitions[i], name))
            return true;
    }
    return false;
}

/* A resource in the first version that can list and patch it, otherwise in the first that has it.
 */
static const struct api_resource *find_resource(const struct api_group *group, const char *plural,
                                                const struct api_version **version)
{
    const struct api_resource *found = NULL;
    for (size_t i = 0; i < group->count; i++) {
        const struct api_version *v = &group->versions[i];
        for (size_t k = 0; k < v->count; k++) {
            const struct api_resource *r = &v->resources[k];
            bool can = r->list && r->patch;
            if (!str_eq(r->plural, plural) || (found && !can))
                continue;
            found = r;
            *version = v;
            if (can)
                return found;
        }
    }
    return found;
}

/* One resource of a group; `exact`: by its own name, and not by a wildcard. True where some of it
 * is stored here, under that name. */
static bool add_resource(const struct api_groups *g, const struct api_group *group,
                         const char *plural, bool exact, struct resources *out)
{
    const struct api_version *version = NULL;
    const struct api_resource *r = find_resource(group, plural, &version);
    char *name CLEANUP(cleanup_mem) = full_name(plural, group->name);
    for (size_t i = 0; i < out->count; i++) {
        if (str_eq(out->list[i].name, name))
            return true;
    }
    const struct cohabiting *c = cohabiting_find(plural, group->name);
    const struct api_group *stored = c ? api_groups_find(g, c->stored) : NULL;
    const struct api_version *there = NULL;
    if (stored && find_resource(stored, plural, &there)) {
        char *as CLEANUP(cleanup_mem) = full_name(plural, stored->name);
        if (exact)
            add_other(out, name, false,
                      mem_printf("stored as `%s`, and encrypted by that name alone", as));
        return false;
    }
    /* componentstatuses are looked up, not stored. */
    if (!r->list || (!group->name[0] && str_eq(plural, "componentstatuses"))) {
        if (exact)
            add_other(out, name, false, mem_strdup("never stored"));
        return false;
    }
    if (!r->patch) {
        add_other(out, name, true, mem_strdup("can't be patched, so not be rewritten"));
        return true;
    }
    char *dir = resource_etcd_dir(group->name, plural, is_defined(g, name));
    MEM_GROW(out->list, out->count);
    out->list[out->count++] = (struct resource){
        .name = STEAL(name),
        .api = mem_strdup(version->path),
        .plural = mem_strdup(plural),
        .etcd_dir = dir,
        .namespaced = r->namespaced,
    };
    if (!group->name[0])
        add_companions(out, plural);
    return true;
}

static bool is_aggregated(const struct api_group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        if (!group->versions[i].aggregated)
            return false;
    }
    return group->count > 0;
}

static void add_aggregated(struct resources *out, const char *name, const char *group)
{
    add_other(out, name, false,
              mem_printf("%s is served by another API server (its APIService has a service), which "
                         "stores it itself; kube-apiserver's configuration doesn't reach it",
                         group));
}

/* False where it covers nothing, and nothing was told. */
static bool add_group(const struct api_groups *g, const struct api_group *group,
                      struct resources *out)
{
    if (is_aggregated(group)) {
        char *name CLEANUP(cleanup_mem) = mem_printf("*.%s", group->name);
        add_aggregated(out, name, group->name);
        return true;
    }
    bool any = false;
    for (size_t i = 0; i < group->count; i++) {
        for (size_t k = 0; k < group->versions[i].count; k++)
            any |= add_resource(g, group, group->versions[i].resources[k].plural, false, out);
    }
    if (!group->name[0])
        add_companions(out, NULL);
    return any;
}

/* Definitions of which no version is served: discovery does not list them, and their objects lie in
 * the store all the same. `in`: of this group; NULL: of any. */
static bool add_unserved(const struct api_groups *g, const char *in, struct resources *out)
{
    bool any = false;
    for (size_t i = 0; i < g->definition_count; i++) {
        const char *name = g->definitions[i];
        bool listed = in && !str_eq(group_of(name), in);
        for (size_t k = 0; k < out->count; k++)
            listed = listed || str_eq(out->list[k].name, name);
        for (size_t k = 0; k < out->other_count; k++)
            listed = listed || str_eq(out->others[k].name, name);
        if (listed)
            continue;
        add_other(out, name, true,
                  mem_strdup("its CustomResourceDefinition is there, but no version of it is "
                             "served, so it can't be rewritten"));
        any = true;
    }
    return any;
}

static void add_wildcard(const struct api_groups *g, const char *name, struct resources *out)
{
    if (str_eq(group_of(name), "*")) {
        for (size_t i = 0; i < g->count; i++)
            add_group(g, &g->groups[i], out);
        add_unserved(g, NULL, out);
        return;
    }
    const struct api_group *group = api_groups_find(g, group_of(name));
    if (group && add_group(g, group, out)) {
        add_unserved(g, group_of(name), out);
        return;
    }
    if (add_unserved(g, group_of(name), out))
        return;
    if (!group)
        add_other(out, name, false, mem_strdup("no such API group here, now: nothing is stored"));
    else
        add_other(out, name, false, mem_strdup("covers nothing that is stored"));
}

static void add_unknown(const struct api_groups *g, const char *name, const char *plural,
                        struct resources *out)
{
    const char *like = resource_name_of(plural);
    for (size_t i = 0; i < ARRAY_LEN(companions); i++) {
        if (str_eq(companions[i].name, name)) {
            add_other(out, name, false,
                      mem_strdup("has no API; kube-apiserver doesn't look for that name"));
            return;
        }
    }
    if (is_defined(g, name))
        add_other(out, name, true,
                  mem_strdup("its CustomResourceDefinition is there, but no version of it is "
                             "served, so it can't be rewritten"));
    else
        add_other(out, name, false,
                  mem_printf("no such resource here, now: kube-apiserver takes the name and stores "
                             "nothing under it%s%s%s",
                             like ? " (is `" : "", like ? like : "", like ? "` meant?)" : ""));
}

static void add_name(const struct api_groups *g, const char *name, struct resources *out)
{
    const char *group_name = group_of(name);
    char *plural CLEANUP(cleanup_mem) = mem_strndup(name, strcspn(name, "."));
    const struct api_group *group = api_groups_find(g, group_name);
    const struct api_version *version = NULL;
    if (group && is_aggregated(group))
        add_aggregated(out, name, group_name);
    else if (group && find_resource(group, plural, &version))
        add_resource(g, group, plural, true, out);
    else
        add_unknown(g, name, plural, out);
}

void api_groups_resolve(const struct api_groups *g, char *const *names, struct resources *out)
{
    for (size_t i = 0; names[i]; i++) {
        if (is_wildcard(names[i]))
            add_wildcard(g, names[i], out);
        else
            add_name(g, names[i], out);
    }
}
