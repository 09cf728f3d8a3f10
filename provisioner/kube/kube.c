#include "provisioner/kube/kube.h"
#include "templates/encryption_features.h"

#include "provisioner/kube/list.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The names of the failed checks in the text of /readyz: its lines "[-]etcd failed: …". */
static char *failed_checks(const char *text)
{
    struct buf out = {0};
    for (const char *line = text; (line = strstr(line, "[-]"));) {
        line += 3;
        size_t len = strcspn(line, " \n");
        if (len && len < 100 && out.len < 300)
            buf_printf(&out, "%s%.*s", out.len ? ", " : "", (int)len, line);
    }
    return out.data;
}

int kube_ready(const struct http_server *s, bool *ready, char **why, struct error *err)
{
    static const char *const paths[] = {"/readyz", "/healthz"};
    struct http_request r CLEANUP(http_reset) = {0};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        http_reset(&r);
        r = (struct http_request){
            .server = s, .method = "GET", .path = mem_strdup(paths[i]), .timeout_ms = 10000};
        struct http_request *one[] = {&r};
        if (http_perform_all(one, 1, err) < 0)
            return -1;
        if (r.status != 404)
            break;
    }
    *ready = r.status == 200;
    if (!why)
        return 0;
    *why = NULL;
    if (*ready)
        return 0;
    char *checks CLEANUP(cleanup_mem) = failed_checks(buf_str(&r.answer));
    if (!r.status)
        *why = mem_strdup(r.failure ? r.failure : "no answer");
    else
        *why = mem_printf("%s answered %ld%s%s", r.path, r.status, checks ? ": failed: " : "",
                          checks ? checks : "");
    return 0;
}

/* GET of a small JSON document that holds no secret. A 404 gives NULL where `missing` is true. */
static int get_json(const struct http_server *s, const char *path, bool missing, json_t **out,
                    struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = s, .method = "GET", .path = mem_strdup(path), .accept = "application/json"};
    if (kube_perform(&r, err) < 0)
        return -1;
    if (r.status == 404 && missing) {
        *out = NULL;
        return 0;
    }
    if (r.status != 200)
        return http_error(&r, err);
    json_t *j = json_loadb(buf_str(&r.answer), r.answer.len, 0, NULL);
    if (!json_is_object(j)) {
        json_decref(j);
        return error_set(err, RESULT_FAILED, "%s: GET %s: the answer is no JSON object", s->what,
                         path);
    }
    *out = j;
    return 0;
}

int kube_apiserver_addresses(const struct http_server *s, char ***out, struct error *err)
{
    json_t *body CLEANUP(cleanup_json) = NULL;
    /* Not there where the endpoint reconciler is off. */
    if (get_json(s, "/api/v1/namespaces/default/endpoints/kubernetes", true, &body, err) < 0)
        return -1;
    char **list = mem_alloc(1, sizeof(*list));
    size_t count = 0;
    size_t i;
    json_t *subset;
    json_array_foreach (json_object_get(body, "subsets"), i, subset) {
        size_t k;
        json_t *address;
        json_array_foreach (json_object_get(subset, "addresses"), k, address) {
            const char *ip = json_string_value(json_object_get(address, "ip"));
            if (!ip)
                continue;
            list = mem_realloc(list, count + 2, sizeof(*list));
            list[count++] = mem_strdup(ip);
            list[count] = NULL;
        }
    }
    *out = list;
    return 0;
}

int kube_check_lists(const char *version, const char *who, struct error *err)
{
    struct kube_version v = {0};
    if (!kube_version_parse(version, &v) || kube_version_at_least(v, 1, 10))
        return 0;
    error_set(err, RESULT_REFUSED,
              "%s: it is %s, and lists of metadata alone came with Kubernetes 1.10 (OpenShift "
              "3.10): the names of what is to be rewritten can't be had without the secrets "
              "themselves",
              who, version);
    error_next(err, "upgrade the cluster to Kubernetes 1.10, OpenShift 3.10, or later first");
    return -1;
}

int kube_server_version(const struct http_server *s, char **out, struct error *err)
{
    json_t *body CLEANUP(cleanup_json) = NULL;
    if (get_json(s, "/version", false, &body, err) < 0)
        return -1;
    const char *text = json_string_value(json_object_get(body, "gitVersion"));
    const char *major = json_string_value(json_object_get(body, "major"));
    const char *minor = json_string_value(json_object_get(body, "minor"));
    if (text && text[0] == 'v' && isdigit((unsigned char)text[1]))
        *out = mem_strndup(text, 100);
    else if (major && isdigit((unsigned char)*major) && minor && isdigit((unsigned char)*minor))
        *out = mem_printf("v%.4s.%.*s", major, (int)strspn(minor, "0123456789"), minor);
    else
        return error_set(err, RESULT_FAILED, "%s: GET /version: no version in the answer", s->what);
    return 0;
}

/* What was listed, "name version" each; NULL-terminated. */
struct listed {
    char **list;
    size_t count;
};

static void listed_free(struct listed *l)
{
    for (size_t i = 0; i < l->count; i++)
        mem_free(l->list[i]);
    mem_free(l->list);
    *l = (struct listed){0};
}

static void listed_add(struct listed *l, const struct kube_page *page)
{
    l->list = mem_realloc(l->list, l->count + page->count + 1, sizeof(*l->list));
    for (size_t i = 0; i < page->count; i++)
        l->list[l->count++] = mem_printf("%s %s", page->names[i], page->versions[i]);
    l->list[l->count] = NULL;
}

/* How pages are asked for. */
struct paging {
    size_t limit;
    bool table;
};

/* One page more: adds to *count and to `listed` (NULL: nowhere), moves *token on (NULL: that was
 * the last). *expired: the token is, or the pages are of different revisions, or of a server that
 * has to be asked otherwise. */
static int count_page(const struct http_server *s, const struct resource *resource,
                      struct paging *p, char **token, size_t *count, struct listed *listed,
                      int64_t *revision, bool *expired, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {0};
    kube_list_request(&r, s, resource, p->limit, *token, p->table);
    while (kube_perform(&r, err) < 0) {
        /* Metadata can be long (annotations): then fewer a page. */
        if (err->result == RESULT_INTERRUPTED || !r.answer.len || p->limit < 10)
            return -1;
        error_clear(err);
        p->limit /= 4;
        http_reset(&r);
        kube_list_request(&r, s, resource, p->limit, *token, p->table);
    }
    *expired = r.status == 410 && *token;
    if (*expired)
        return 0;
    if (r.status != 200)
        return http_error(&r, err);
    struct kube_page page CLEANUP(kube_page_free) = {0};
    bool bare = false;
    if (kube_page_read(&r, &page, &bare, err) < 0)
        return -1;
    if (bare) {
        *expired = p->table = true;
        return 0;
    }
    *expired = *token && page.revision != *revision;
    *revision = page.revision;
    *count += page.count;
    if (listed)
        listed_add(listed, &page);
    mem_free(*token);
    *token = STEAL(page.token);
    return 0;
}

static int count_all(const struct http_server *s, const struct resource *resource, size_t *out,
                     struct listed *listed, int64_t *revision, struct error *err)
{
    struct paging p = {.limit = KUBE_PAGE};
    for (unsigned tries = 0; tries < KUBE_TRIES; tries++) {
        char *token CLEANUP(cleanup_mem) = NULL;
        size_t count = 0;
        int64_t at = 0;
        bool expired = false;
        if (listed)
            listed_free(listed);
        do {
            if (count_page(s, resource, &p, &token, &count, listed, &at, &expired, err) < 0)
                return -1;
        } while (token && !expired);
        if (expired)
            continue;
        if (at <= 0)
            return error_set(err, RESULT_FAILED, "%s: the list of %s has no resourceVersion",
                             s->what, resource->name);
        *out = count;
        *revision = at;
        return 0;
    }
    return error_set(err, RESULT_FAILED,
                     "%s: counting the %s took so long that etcd had compacted the revision, %d "
                     "times",
                     s->what, resource->name, KUBE_TRIES);
}

int kube_count(const struct http_server *s, const struct resource *resource, size_t *out,
               int64_t *revision, struct error *err)
{
    return count_all(s, resource, out, NULL, revision, err);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int kube_versions(const struct http_server *s, const struct resource *resource, char ***out,
                  size_t *count, int64_t *revision, struct error *err)
{
    struct listed listed CLEANUP(listed_free) = {0};
    if (count_all(s, resource, count, &listed, revision, err) < 0)
        return -1;
    if (listed.list)
        qsort(listed.list, listed.count, sizeof(*listed.list), by_text);
    *out = STEAL(listed.list);
    listed.count = 0;
    return 0;
}

int kube_patch_empty(const struct http_server *s, const struct resource *resource, const char *ns,
                     const char *name, long *status, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {0};
    kube_patch_request(&r, s, resource, ns, name);
    if (kube_perform(&r, err) < 0)
        return -1;
    *status = r.status;
    return 0;
}
