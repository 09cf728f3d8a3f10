#include "provisioner/docker/engine.h"

#include <stdlib.h>
#include <string.h>

enum {
    SLOW_MS = 120000, /* what waits for disks on a loaded node */
    FILE_LIMIT = 4 << 20,
    LOG_LIMIT = 16 << 20,
};

static char *escaped(const char *s)
{
    char *quoted = curl_easy_escape(NULL, s, 0);
    char *copy = mem_strdup(quoted ? quoted : "");
    curl_free(quoted);
    return copy;
}

/* Performs it; an answer other than 2xx and `fine` (a status that is right too, or 0) is an error.
 */
static int perform(struct http_request *r, long fine, struct error *err)
{
    if (!r->timeout_ms)
        r->timeout_ms = SLOW_MS;
    /* What changes something is sent once. */
    r->once = !str_eq(r->method, "GET") && !str_eq(r->method, "HEAD");
    if (http_perform(r, err) < 0)
        return -1;
    if ((r->status < 200 || r->status > 299) && r->status != fine)
        return http_error(r, err);
    return 0;
}

static int answer_json(struct http_request *r, json_t **out, struct error *err)
{
    json_error_t why;
    json_t *j = json_loadb(buf_str(&r->answer), r->answer.len, JSON_ALLOW_NUL, &why);
    if (!j)
        return error_set(err, RESULT_FAILED, "%s: %s: answered no JSON (%s)", r->server->what,
                         r->path, why.text);
    *out = j;
    return 0;
}

static void set_body(struct http_request *r, const json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT);
    r->content_type = "application/json";
    buf_adds(&r->body, text ? text : "null");
    mem_free(text);
}

static int get_json(const struct http_server *d, const char *path, json_t **out, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = d, .method = "GET", .path = mem_strdup(path)};
    *out = NULL;
    if (perform(&r, 404, err) < 0)
        return -1;
    return r.status == 404 ? 0 : answer_json(&r, out, err);
}

/* A POST without a body, and without an answer that matters. */
static int post(const struct http_server *d, char *path, int64_t timeout_ms, long fine,
                struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = d, .method = "POST", .path = path, .timeout_ms = timeout_ms};
    return perform(&r, fine, err);
}

/* "1.41" as 1041; 0 where it is no version. */
static long version_number(const char *text)
{
    char *dot = NULL;
    char *end = NULL;
    long major = text ? strtol(text, &dot, 10) : 0;
    if (!dot || *dot != '.')
        return 0;
    long minor = strtol(dot + 1, &end, 10);
    if (end == dot + 1 || *end || major < 1 || major > 99 || minor < 0 || minor > 999)
        return 0;
    return major * 1000 + minor;
}

int docker_negotiate(struct http_server *d, struct error *err)
{
    json_auto_t *answer = NULL;
    if (get_json(d, "/version", &answer, err) < 0)
        return -1;
    long version = version_number(json_string_value(json_object_get(answer, "ApiVersion")));
    if (version == 0)
        return error_set(err, RESULT_REFUSED, "%s: does not answer as a Docker Engine", d->what);
    if (version < 1024)
        return error_set(err, RESULT_REFUSED,
                         "%s: its API version %ld.%ld is too old: 1.24 (Docker 1.12) is needed",
                         d->what, version / 1000, version % 1000);
    char *url = mem_printf("%s/v%ld.%ld", d->url, version / 1000, version % 1000);
    mem_free(d->url);
    d->url = url;
    return 0;
}

int docker_inspect(const struct http_server *d, const char *name, json_t **out, struct error *err)
{
    char *path CLEANUP(cleanup_mem) = mem_printf("/containers/%s/json", name);
    return get_json(d, path, out, err);
}

int docker_inspect_image(const struct http_server *d, const char *name, json_t **out,
                         struct error *err)
{
    char *path CLEANUP(cleanup_mem) = mem_printf("/images/%s/json", name);
    return get_json(d, path, out, err);
}

int docker_import_empty(const struct http_server *d, const char *name, struct error *err)
{
    enum { END_OF_TAR = 1024 };
    static const char zeros[END_OF_TAR];
    const char *colon = strrchr(name, ':');
    struct http_request r CLEANUP(http_reset) = {
        .server = d,
        .method = "POST",
        .path = mem_printf("/images/create?fromSrc=-&repo=%.*s&tag=%s", (int)(colon - name), name,
                           colon + 1),
        .content_type = "application/x-tar"};
    buf_add(&r.body, zeros, sizeof(zeros));
    json_auto_t *image = NULL;
    /* It answers 200 also where it fails. */
    if (perform(&r, 0, err) < 0 || docker_inspect_image(d, name, &image, err) < 0)
        return error_wrap(err, "importing an empty image");
    return image ? 0
                 : error_set(err, RESULT_FAILED, "%s: importing an empty image: it isn't there",
                             d->what);
}

int docker_remove_image(const struct http_server *d, const char *name, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = d, .method = "DELETE", .path = mem_printf("/images/%s", name)};
    if (perform(&r, 404, err) == 0)
        return 0;
    if (r.status != 409)
        return -1;
    error_clear(err);
    return 0;
}

int docker_system(const struct http_server *d, char **out, struct error *err)
{
    json_auto_t *info = NULL;
    if (get_json(d, "/info", &info, err) < 0)
        return -1;
    const char *name = json_string_value(json_object_get(info, "OperatingSystem"));
    *out = mem_strdup(name ? name : "");
    return 0;
}

int docker_list(const struct http_server *d, const char *pattern, json_t **out, struct error *err)
{
    json_auto_t *filters = json_pack("{s:[s]}", "name", pattern);
    char *text = json_dumps(filters, JSON_COMPACT);
    char *query CLEANUP(cleanup_mem) = escaped(text ? text : "{}");
    mem_free(text);
    char *path CLEANUP(cleanup_mem) = mem_printf("/containers/json?all=1&filters=%s", query);
    if (get_json(d, path, out, err) < 0)
        return -1;
    if (json_is_array(*out))
        return 0;
    json_decref(*out);
    *out = NULL;
    return error_set(err, RESULT_FAILED, "%s: listing containers: answered no list", d->what);
}

int docker_create(const struct http_server *d, const char *name, const json_t *settings, char **id,
                  struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = d, .method = "POST", .path = mem_printf("/containers/create?name=%s", name)};
    set_body(&r, settings);
    json_auto_t *answer = NULL;
    if (perform(&r, 0, err) < 0 || answer_json(&r, &answer, err) < 0)
        return error_wrap(err, "creating the container %s", name);
    *id = mem_strdup(json_string_value(json_object_get(answer, "Id")));
    if (!*id)
        return error_set(err, RESULT_FAILED, "%s: creating the container %s: answered no id",
                         d->what, name);
    return 0;
}

int docker_connect(const struct http_server *d, const char *network, const char *container,
                   const json_t *endpoint, struct error *err)
{
    char *name CLEANUP(cleanup_mem) = escaped(network);
    struct http_request r CLEANUP(http_reset) = {
        .server = d, .method = "POST", .path = mem_printf("/networks/%s/connect", name)};
    json_auto_t *body =
        json_pack("{s:s, s:O?}", "Container", container, "EndpointConfig", endpoint);
    set_body(&r, body);
    return perform(&r, 0, err);
}

int docker_start(const struct http_server *d, const char *container, struct error *err)
{
    return post(d, mem_printf("/containers/%s/start", container), 0, 304, err);
}

int docker_stop(const struct http_server *d, const char *container, int seconds, struct error *err)
{
    return post(d, mem_printf("/containers/%s/stop?t=%d", container, seconds),
                SLOW_MS + seconds * 1000, 304, err);
}

int docker_restart(const struct http_server *d, const char *container, int seconds,
                   struct error *err)
{
    return post(d, mem_printf("/containers/%s/restart?t=%d", container, seconds),
                SLOW_MS + seconds * 1000, 0, err);
}

int docker_rename(const struct http_server *d, const char *container, const char *name,
                  struct error *err)
{
    return post(d, mem_printf("/containers/%s/rename?name=%s", container, name), 0, 0, err);
}

int docker_update_policy(const struct http_server *d, const char *container, const json_t *policy,
                         struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = d, .method = "POST", .path = mem_printf("/containers/%s/update", container)};
    json_auto_t *body = json_pack("{s:O}", "RestartPolicy", policy);
    set_body(&r, body);
    return perform(&r, 0, err);
}

int docker_remove(const struct http_server *d, const char *container, bool force, bool volumes,
                  struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = d,
        .method = "DELETE",
        .path = mem_printf("/containers/%s?force=%d&v=%d", container, force, volumes)};
    return perform(&r, 404, err);
}

int docker_wait(const struct http_server *d, const char *container, int64_t timeout_ms, long *code,
                struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {.server = d,
                                                 .method = "POST",
                                                 .path =
                                                     mem_printf("/containers/%s/wait", container),
                                                 .timeout_ms = timeout_ms};
    json_auto_t *answer = NULL;
    if (perform(&r, 0, err) < 0 || answer_json(&r, &answer, err) < 0)
        return -1;
    const json_t *status = json_object_get(answer, "StatusCode");
    if (!json_is_integer(status))
        return error_set(err, RESULT_FAILED, "%s: %s: answered no exit code", d->what, r.path);
    *code = (long)json_integer_value(status);
    return 0;
}

int docker_put_archive(const struct http_server *d, const char *container, const char *folder,
                       const struct buf *tar, struct error *err)
{
    char *path CLEANUP(cleanup_mem) = escaped(folder);
    struct http_request r CLEANUP(http_reset) = {
        .server = d,
        .method = "PUT",
        .path =
            mem_printf("/containers/%s/archive?path=%s&noOverwriteDirNonDir=1", container, path),
        .content_type = "application/x-tar"};
    buf_add(&r.body, tar->data, tar->len);
    return perform(&r, 0, err);
}

/* A 404 may mean the file or the container; only the message tells. */
static bool is_no_container(const struct http_request *r)
{
    json_auto_t *answer = json_loadb(buf_str(&r->answer), r->answer.len, 0, NULL);
    const char *message = json_string_value(json_object_get(answer, "message"));
    return message && strcasestr(message, "no such container");
}

int docker_get_archive(const struct http_server *d, const char *container, const char *path,
                       struct buf *tar, bool *found, struct error *err)
{
    char *query CLEANUP(cleanup_mem) = escaped(path);
    struct http_request r CLEANUP(http_reset) = {
        .server = d,
        .method = "GET",
        .path = mem_printf("/containers/%s/archive?path=%s", container, query),
        .limit = FILE_LIMIT};
    if (perform(&r, 404, err) < 0)
        return -1;
    *found = r.status != 404;
    if (*found)
        buf_add(tar, r.answer.data, r.answer.len);
    else if (is_no_container(&r))
        return http_error(&r, err);
    return 0;
}

int docker_has_path(const struct http_server *d, const char *container, const char *path,
                    bool *found, struct error *err)
{
    char *query CLEANUP(cleanup_mem) = escaped(path);
    struct http_request r CLEANUP(http_reset) = {
        .server = d,
        .method = "HEAD",
        .path = mem_printf("/containers/%s/archive?path=%s", container, query)};
    if (perform(&r, 404, err) < 0)
        return -1;
    *found = r.status != 404;
    return 0;
}

void docker_log_frames(struct buf *out, const char *data, size_t len)
{
    enum { HEADER = 8 };
    while (len > HEADER) {
        const unsigned char *h = (const unsigned char *)data;
        size_t size = (size_t)h[4] << 24 | (size_t)h[5] << 16 | (size_t)h[6] << 8 | h[7];
        data += HEADER;
        len -= HEADER;
        if (size > len)
            size = len;
        buf_add(out, data, size);
        data += size;
        len -= size;
    }
}

int docker_logs(const struct http_server *d, const char *container, bool tty, size_t lines,
                struct buf *out, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = d,
        .method = "GET",
        .path = mem_printf("/containers/%s/logs?stdout=1&stderr=1&tail=%zu", container, lines),
        .limit = LOG_LIMIT};
    if (perform(&r, 0, err) < 0)
        return -1;
    if (tty)
        buf_add(out, r.answer.data, r.answer.len);
    else
        docker_log_frames(out, buf_str(&r.answer), r.answer.len);
    return 0;
}
