#include "provisioner/kube/discovery.h"

#include "provisioner/kube/api_groups.h"
#include "provisioner/kube/list.h"

#include <string.h>

enum {
    AT_ONCE = 32,
    LONGEST = 16 << 20,    /* of any answer */
    DEFINITIONS_PAGE = 50, /* their metadata can be long: kubectl notes whole definitions in it */
};

static const char APISERVICES[] = "/apis/apiregistration.k8s.io/v1/apiservices";

static struct http_request question(const struct http_server *api, const char *path)
{
    return (struct http_request){.server = api,
                                 .method = "GET",
                                 .path = mem_strdup(path),
                                 .accept = "application/json",
                                 .limit = LONGEST};
}

/* Side by side; what is answered transiently is asked again. */
static int perform(struct http_request *requests, size_t count, struct error *err)
{
    struct http_request *list[AT_ONCE];
    for (size_t i = 0; i < count; i++)
        list[i] = &requests[i];
    if (http_perform_all(list, count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (kube_is_transient(&requests[i]) && kube_perform(&requests[i], err) < 0)
            return -1;
    }
    return 0;
}

static int bad_answer(const struct http_request *r, struct error *err)
{
    return error_wrap(err, "%s: GET %s", r->server->what, r->path);
}

/* The answer's JSON. *missing (may be NULL: then that is an error): it is a 404. */
static int read_answer(const struct http_request *r, bool *missing, json_t **out, struct error *err)
{
    if (missing)
        *missing = r->status == 404;
    if (missing && *missing)
        return 0;
    if (r->status != 200)
        return http_error(r, err);
    *out = json_loadb(buf_str(&r->answer), r->answer.len, 0, NULL);
    if (!*out) {
        error_set(err, RESULT_FAILED, "the answer is no JSON");
        return bad_answer(r, err);
    }
    return 0;
}

static void reset_all(struct http_request (*requests)[AT_ONCE])
{
    for (size_t i = 0; i < AT_ONCE; i++)
        http_reset(&(*requests)[i]);
}

static int ask_groups(const struct http_server *api, struct api_groups *g, struct error *err)
{
    struct http_request r[AT_ONCE] CLEANUP(reset_all) = {0};
    r[0] = question(api, "/apis");
    r[1] = question(api, APISERVICES);
    json_t *groups CLEANUP(cleanup_json) = NULL;
    json_t *services CLEANUP(cleanup_json) = NULL;
    bool missing = false;
    if (perform(r, 2, err) < 0 || read_answer(&r[0], NULL, &groups, err) < 0 ||
        read_answer(&r[1], &missing, &services, err) < 0)
        return -1;
    if (api_groups_add(g, groups, err) < 0)
        return bad_answer(&r[0], err);
    /* Without an aggregation layer there is nobody else who serves. */
    if (!missing && api_groups_mark_aggregated(g, services, err) < 0)
        return bad_answer(&r[1], err);
    return 0;
}

/* Up to AT_ONCE versions. */
static int ask_versions(const struct http_server *api, struct api_version **versions, size_t count,
                        struct error *err)
{
    struct http_request r[AT_ONCE] CLEANUP(reset_all) = {0};
    for (size_t i = 0; i < count; i++)
        r[i] = question(api, versions[i]->path);
    if (perform(r, count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        json_t *answer CLEANUP(cleanup_json) = NULL;
        bool missing = false; /* its definition was removed just now */
        if (read_answer(&r[i], &missing, &answer, err) < 0)
            return -1;
        if (!missing && api_version_add(versions[i], answer, err) < 0)
            return bad_answer(&r[i], err);
    }
    return 0;
}

static int ask_resources(const struct http_server *api, struct api_groups *g, char *const *names,
                         struct error *err)
{
    struct api_version *versions[AT_ONCE];
    size_t count = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (!api_group_is_named(g->groups[i].name, names))
            continue;
        for (size_t k = 0; k < g->groups[i].count; k++) {
            struct api_version *v = &g->groups[i].versions[k];
            if (v->aggregated)
                continue;
            if (count == AT_ONCE) {
                if (ask_versions(api, versions, count, err) < 0)
                    return -1;
                count = 0;
            }
            versions[count++] = v;
        }
    }
    return ask_versions(api, versions, count, err);
}

static int ask_definitions(const struct http_server *api, struct api_groups *g, struct error *err)
{
    const struct api_group *group = api_groups_find(g, "apiextensions.k8s.io");
    if (!group || !group->count)
        return 0;
    const struct resource definitions = {.api = group->versions[0].path,
                                         .plural = "customresourcedefinitions"};
    char *token CLEANUP(cleanup_mem) = NULL;
    bool table = false, bare = false;
    do {
        struct http_request r CLEANUP(http_reset) = {0};
        kube_list_request(&r, api, &definitions, DEFINITIONS_PAGE, token, table);
        struct kube_page page CLEANUP(kube_page_free) = {0};
        if (kube_perform(&r, err) < 0)
            return -1;
        if (r.status != 200)
            return http_error(&r, err);
        bare = false;
        if (kube_page_read(&r, &page, table ? NULL : &bare, err) < 0)
            return -1;
        table = table || bare;
        for (size_t i = 0; i < page.count; i++)
            api_groups_add_definition(g, STEAL(page.names[i]));
        if (bare)
            continue;
        mem_free(token);
        token = STEAL(page.token);
    } while (token || bare);
    return 0;
}

static bool only_core(char *const *names)
{
    for (size_t i = 0; names[i]; i++) {
        const char *dot = strchr(names[i], '.');
        if (dot && dot[1])
            return false;
    }
    return true;
}

int discovery_resources(const struct http_server *api, char *const *names, struct resources *out,
                        struct error *err)
{
    *out = (struct resources){0};
    struct api_groups g CLEANUP(api_groups_free) = {0};
    api_groups_init(&g);
    /* Secrets alone are the usual case, and need one question. */
    bool core = only_core(names);
    if ((!core && (ask_groups(api, &g, err) < 0 || ask_definitions(api, &g, err) < 0)) ||
        ask_resources(api, &g, names, err) < 0)
        return error_wrap(err, "what the configuration's resources are can't be told");
    api_groups_resolve(&g, names, out);
    return 0;
}
