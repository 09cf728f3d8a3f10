#include "provisioner/kube/list.h"

#include <stdlib.h>
#include <string.h>

static void add_escaped(struct buf *out, const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, (int)strlen(text));
    if (!escaped)
        abort();
    buf_adds(out, escaped);
    curl_free(escaped);
}

char *kube_path(const struct resource *r, const char *ns, const char *name)
{
    struct buf path = {0};
    buf_adds(&path, r->api);
    if (ns && r->namespaced) {
        buf_adds(&path, "/namespaces/");
        add_escaped(&path, ns);
    }
    buf_printf(&path, "/%s", r->plural);
    if (name) {
        buf_adds(&path, "/");
        add_escaped(&path, name);
    }
    return path.data;
}

void kube_list_request(struct http_request *r, const struct http_server *s,
                       const struct resource *resource, size_t limit, const char *token, bool table)
{
    char *base CLEANUP(cleanup_mem) = kube_path(resource, NULL, NULL);
    struct buf path = {0};
    buf_printf(&path, "%s?limit=%zu%s", base, limit, table ? "&includeObject=Metadata" : "");
    if (token) {
        buf_adds(&path, "&continue=");
        add_escaped(&path, token);
    }
    r->server = s;
    r->method = "GET";
    r->path = path.data;
    r->accept = table ? KUBE_AS("Table") : KUBE_AS("PartialObjectMetadataList");
    r->timeout_ms = 60000;
}

void kube_guess_request(struct http_request *r, const struct http_server *s,
                        const struct resource *resource)
{
    char *base CLEANUP(cleanup_mem) = kube_path(resource, NULL, NULL);
    r->server = s;
    r->method = "GET";
    r->path = mem_printf("%s?limit=1&includeObject=None", base);
    r->accept = KUBE_AS("Table");
}

size_t kube_guess_read(const struct http_request *r)
{
    if (r->status != 200)
        return 0;
    json_t *body CLEANUP(cleanup_json) = json_loadb(buf_str(&r->answer), r->answer.len, 0, NULL);
    json_int_t remaining = json_integer_value(
        json_object_get(json_object_get(body, "metadata"), "remainingItemCount"));
    return remaining > 0 ? (size_t)remaining + json_array_size(json_object_get(body, "rows")) : 0;
}

void kube_look_request(struct http_request *r, const struct http_server *s,
                       const struct resource *resource, const char *ns, const char *name)
{
    r->server = s;
    r->method = "GET";
    r->path = kube_path(resource, ns, name);
    r->accept = KUBE_AS("PartialObjectMetadata");
}

void kube_patch_request(struct http_request *r, const struct http_server *s,
                        const struct resource *resource, const char *ns, const char *name)
{
    r->server = s;
    r->method = "PATCH";
    r->path = kube_path(resource, ns, name);
    r->accept = KUBE_AS("PartialObjectMetadata");
    r->content_type = "application/merge-patch+json";
    buf_adds(&r->body, "{}");
}

static json_t *member(const json_t *j, const char *name)
{
    return json_object_get(j, name);
}

static bool text_is_there(const json_t *j, const char *name)
{
    const char *s = json_string_value(member(j, name));
    return s && *s;
}

static char *text_of(const json_t *j, const char *name)
{
    const char *s = json_string_value(member(j, name));
    return s && *s ? mem_strdup(s) : NULL;
}

static int list_error(const struct http_request *r, const char *why, struct error *err)
{
    return error_set(err, RESULT_FAILED, "%s: GET %.*s: %s", r->server->what,
                     (int)strcspn(r->path, "?"), r->path, why);
}

int kube_page_read(const struct http_request *r, struct kube_page *out, bool *bare,
                   struct error *err)
{
    json_t *body CLEANUP(cleanup_json) = json_loadb(buf_str(&r->answer), r->answer.len, 0, NULL);
    const char *kind = json_string_value(member(body, "kind"));
    bool table = str_eq(kind, "Table");
    const json_t *items = member(body, table ? "rows" : "items");
    const json_t *meta = member(body, "metadata");
    if (!table && !str_eq(kind, "PartialObjectMetadataList"))
        return list_error(r, "the answer is no list of metadata", err);
    if (!text_is_there(meta, "resourceVersion")) {
        if (!bare || table)
            return list_error(r, "the list has no resourceVersion", err);
        *bare = true;
        return 0;
    }

    struct kube_page page = {0};
    page.token = text_of(meta, "continue");
    json_int_t remaining = json_integer_value(member(meta, "remainingItemCount"));
    page.remaining = remaining > 0 ? (size_t)remaining : 0;
    const char *revision = json_string_value(member(meta, "resourceVersion"));
    page.revision = revision ? strtoll(revision, NULL, 10) : 0;
    size_t count = json_array_size(items);
    page.names = mem_alloc(count, sizeof(*page.names));
    page.versions = mem_alloc(count, sizeof(*page.versions));
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(items, i);
        const json_t *m = member(table ? member(item, "object") : item, "metadata");
        const char *ns = json_string_value(member(m, "namespace"));
        const char *name = json_string_value(member(m, "name"));
        if (!name) {
            kube_page_free(&page);
            return list_error(r, "lists an object without a name", err);
        }
        const char *version = json_string_value(member(m, "resourceVersion"));
        page.versions[page.count] = mem_strdup(version ? version : "");
        page.names[page.count++] = ns ? mem_printf("%s/%s", ns, name) : mem_strdup(name);
    }
    *out = page;
    return 0;
}

void kube_page_free(struct kube_page *p)
{
    for (size_t i = 0; i < p->count; i++) {
        mem_free(p->names[i]);
        mem_free(p->versions[i]);
    }
    mem_free(p->names);
    mem_free(p->versions);
    mem_free(p->token);
    *p = (struct kube_page){0};
}

void kube_status_read(const struct http_request *r, struct kube_status *out)
{
    *out = (struct kube_status){0};
    json_t *body CLEANUP(cleanup_json) = json_loadb(buf_str(&r->answer), r->answer.len, 0, NULL);
    if (!str_eq(json_string_value(member(body, "kind")), "Status"))
        return;
    out->reason = text_of(body, "reason");
    const char *message = json_string_value(member(body, "message"));
    if (message)
        out->message = mem_strndup(message, 500);
    out->kind = text_of(member(body, "details"), "kind");
    out->name = text_of(member(body, "details"), "name");
    out->token = text_of(member(body, "metadata"), "continue");
}

void kube_status_free(struct kube_status *s)
{
    mem_free(s->reason);
    mem_free(s->message);
    mem_free(s->kind);
    mem_free(s->name);
    mem_free(s->token);
    *s = (struct kube_status){0};
}

bool kube_is_transient(const struct http_request *r)
{
    return r->status == 0 || r->status == 429 || r->status >= 500;
}

int64_t kube_pause(const struct http_request *r, unsigned tries, int64_t first)
{
    const int64_t longest = 60000;
    int64_t pause = first;
    for (unsigned i = 1; i < tries && pause < longest; i++)
        pause *= 3;
    if (pause < r->retry_after_ms)
        pause = r->retry_after_ms;
    return pause < longest ? pause : longest;
}

int kube_perform(struct http_request *r, struct error *err)
{
    int64_t began = loop_now();
    for (unsigned tries = 1;; tries++) {
        struct http_request *one[] = {r};
        if (http_perform_all(one, 1, err) < 0)
            return -1;
        /* Without a quorum of etcd each try takes as long as it may. */
        if (!kube_is_transient(r) || tries == KUBE_TRIES || loop_now() - began > KUBE_PATIENCE_MS)
            break;
        if (loop_pause(r->server->loop, kube_pause(r, tries, 100), err) < 0)
            return -1;
    }
    return r->status ? 0 : http_error(r, err);
}
