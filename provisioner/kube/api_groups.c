#include "provisioner/kube/api_groups.h"

#include <string.h>

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));
    return s ? s : "";
}

static void version_free(struct api_version *v)
{
    for (size_t i = 0; i < v->count; i++)
        mem_free(v->resources[i].plural);
    mem_free(v->resources);
    mem_free(v->name);
    mem_free(v->path);
}

void api_groups_free(struct api_groups *g)
{
    for (size_t i = 0; i < g->count; i++) {
        for (size_t k = 0; k < g->groups[i].count; k++)
            version_free(&g->groups[i].versions[k]);
        mem_free(g->groups[i].versions);
        mem_free(g->groups[i].name);
    }
    mem_free(g->groups);
    for (size_t i = 0; i < g->definition_count; i++)
        mem_free(g->definitions[i]);
    mem_free(g->definitions);
    *g = (struct api_groups){0};
}

static struct api_group *add_group(struct api_groups *g, const char *name)
{
    MEM_GROW(g->groups, g->count);
    struct api_group *group = &g->groups[g->count++];
    *group = (struct api_group){.name = mem_strdup(name)};
    return group;
}

static void add_version(struct api_group *group, const char *name)
{
    for (size_t i = 0; i < group->count; i++) {
        if (str_eq(group->versions[i].name, name))
            return;
    }
    MEM_GROW(group->versions, group->count);
    group->versions[group->count++] = (struct api_version){
        .name = mem_strdup(name),
        .path = group->name[0] ? mem_printf("/apis/%s/%s", group->name, name)
                               : mem_printf("/api/%s", name),
    };
}

void api_groups_init(struct api_groups *g)
{
    add_version(add_group(g, ""), "v1");
}

int api_groups_add(struct api_groups *g, const json_t *answer, struct error *err)
{
    if (!str_eq(text(answer, "kind"), "APIGroupList"))
        return error_set(err, RESULT_FAILED, "the answer is no list of API groups");
    size_t i;
    json_t *j;
    json_array_foreach (json_object_get(answer, "groups"), i, j) {
        if (!text(j, "name")[0])
            continue;
        struct api_group *group = add_group(g, text(j, "name"));
        const char *preferred = text(json_object_get(j, "preferredVersion"), "version");
        if (preferred[0])
            add_version(group, preferred);
        size_t k;
        json_t *v;
        json_array_foreach (json_object_get(j, "versions"), k, v) {
            if (text(v, "version")[0])
                add_version(group, text(v, "version"));
        }
    }
    return 0;
}

struct api_group *api_groups_find(const struct api_groups *g, const char *name)
{
    for (size_t i = 0; i < g->count; i++) {
        if (str_eq(g->groups[i].name, name))
            return &g->groups[i];
    }
    return NULL;
}

int api_groups_mark_aggregated(struct api_groups *g, const json_t *answer, struct error *err)
{
    if (!str_eq(text(answer, "kind"), "APIServiceList"))
        return error_set(err, RESULT_FAILED, "the answer is no list of APIServices");
    size_t i;
    json_t *j;
    json_array_foreach (json_object_get(answer, "items"), i, j) {
        const json_t *spec = json_object_get(j, "spec");
        struct api_group *group = api_groups_find(g, text(spec, "group"));
        if (!group || !json_is_object(json_object_get(spec, "service")))
            continue;
        for (size_t k = 0; k < group->count; k++) {
            if (str_eq(group->versions[k].name, text(spec, "version")))
                group->versions[k].aggregated = true;
        }
    }
    return 0;
}

static bool has_verb(const json_t *resource, const char *verb)
{
    size_t i;
    json_t *v;
    json_array_foreach (json_object_get(resource, "verbs"), i, v) {
        if (str_eq(json_string_value(v), verb))
            return true;
    }
    return false;
}

int api_version_add(struct api_version *v, const json_t *answer, struct error *err)
{
    if (!str_eq(text(answer, "kind"), "APIResourceList"))
        return error_set(err, RESULT_FAILED, "the answer is no list of resources");
    size_t i;
    json_t *j;
    json_array_foreach (json_object_get(answer, "resources"), i, j) {
        const char *name = text(j, "name");
        if (!name[0] || strchr(name, '/')) /* a subresource: "pods/status" */
            continue;
        MEM_GROW(v->resources, v->count);
        v->resources[v->count++] = (struct api_resource){
            .plural = mem_strdup(name),
            .namespaced = json_is_true(json_object_get(j, "namespaced")),
            .list = has_verb(j, "list"),
            .patch = has_verb(j, "patch"),
        };
    }
    return 0;
}

void api_groups_add_definition(struct api_groups *g, char *name)
{
    MEM_GROW(g->definitions, g->definition_count);
    g->definitions[g->definition_count++] = name;
}
