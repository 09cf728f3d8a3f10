#include "provisioner/net/http.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_TIMEOUT_MS = 30000, CONNECT_TIMEOUT_MS = 10000 };
static const size_t default_limit = (size_t)64 << 20;

void http_server_free(struct http_server *s)
{
    mem_free(s->what);
    mem_free(s->url);
    mem_free(s->socket);
    mem_free(s->unix_path);
    mem_free(s->ca);
    mem_free(s->cert);
    mem_free(s->key);
    mem_free(s->resolve);
    curl_slist_free_all(s->headers);
    *s = (struct http_server){0};
}

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
    struct http_request *r = ctx;
    size_t len = size * count;
    size_t limit = r->limit ? r->limit : default_limit;
    if (len > limit - r->answer.len)
        return CURL_WRITEFUNC_ERROR;
    buf_add(&r->answer, data, len);
    return len;
}

static void finish(struct http_request *r, CURLcode code)
{
    struct loop *loop = r->server->loop;
    if (code == CURLE_OK) {
        curl_off_t after = 0;
        curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &r->status);
        if (curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &after) == CURLE_OK)
            r->retry_after_ms = (int64_t)after * 1000;
    } else {
        r->status = 0;
        const struct http_server *s = r->server;
        const char *words = r->error_buffer[0] ? r->error_buffer : curl_easy_strerror(code);
        const char *why = s->explain ? s->explain(s->way) : NULL;
        /* Certificates of a cluster that was just made, or long ago: it may be our clock. */
        bool clock = strstr(words, "not yet valid") || strstr(words, "expired");
        r->failure = mem_printf("%s%s%s%s%s", words, why ? " (over SSH: " : "", why ? why : "",
                                why ? ")" : "", clock ? "; is this machine's clock right?" : "");
    }
    curl_multi_remove_handle(loop_multi(loop), r->easy);
    curl_easy_cleanup(r->easy);
    r->easy = NULL;
    curl_slist_free_all(STEAL(r->sent_headers));
    curl_slist_free_all(STEAL(r->connect_to));
    r->finished = true;
    if (r->done)
        r->done(r);
}

static void on_finished(CURL *easy, CURLcode code)
{
    struct http_request *r = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&r);
    if (r)
        finish(r, code);
}

static void set_blob(CURL *easy, CURLoption option, const char *pem)
{
    /* libcurl copies it, and doesn't say const. */
    union {
        const char *in;
        void *out;
    } text = {.in = pem};
    struct curl_blob blob = {.data = text.out, .len = strlen(pem), .flags = CURL_BLOB_COPY};
    curl_easy_setopt(easy, option, &blob);
}

static void set_server(CURL *easy, const struct http_server *s)
{
    if (s->socket)
        curl_easy_setopt(easy, CURLOPT_ABSTRACT_UNIX_SOCKET, s->socket);
    else if (s->unix_path)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, s->unix_path);
    if (s->ca) {
        set_blob(easy, CURLOPT_CAINFO_BLOB, s->ca);
        /* The blob stands in for CAINFO alone: Debian's /etc/ssl/certs would be trusted besides. */
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (s->cert)
        set_blob(easy, CURLOPT_SSLCERT_BLOB, s->cert);
    if (s->key)
        set_blob(easy, CURLOPT_SSLKEY_BLOB, s->key);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     s->http2_plain ? CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
                     : s->http2     ? CURL_HTTP_VERSION_2TLS
                                    : CURL_HTTP_VERSION_1_1);
    if (s->http2)
        curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
}

/* The host to connect to instead of the URL's. libcurl groups connections by host; servers that
 * have one URL and a socket each would be one group, in which PIPEWAIT works for the first alone
 * and the others get a connection for each request. So a socket's name stands for its host; where
 * the connection goes is the socket's affair still. */
static char *connect_to(const struct http_server *s)
{
    if (s->resolve)
        return mem_printf(strchr(s->resolve, ':') ? "::[%s]:" : "::%s:", s->resolve);
    const char *name = s->socket ? s->socket : s->unix_path;
    if (!name)
        return NULL;
    char *to = mem_printf("::%s:", name);
    for (char *c = to + 2; c[1]; c++) {
        if (!isalnum((unsigned char)*c))
            *c = '-';
    }
    return to;
}

void http_start(struct http_request *r)
{
    const struct http_server *s = r->server;
    CURL *easy = curl_easy_init();
    if (!easy)
        abort();
    r->easy = easy;
    r->finished = false;
    r->status = 0;
    r->retry_after_ms = 0;
    r->error_buffer[0] = '\0';
    mem_free(STEAL(r->failure));
    buf_reset(&r->answer);
    loop_on_finished(s->loop, on_finished);

    char *url CLEANUP(cleanup_mem) = mem_printf("%s%s", s->url, r->path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, r->error_buffer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                     (long)(r->timeout_ms ? r->timeout_ms : DEFAULT_TIMEOUT_MS));
    /* Requests wait for the one connection that is being made: it must not take all their time. */
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    set_server(easy, s);
    if (r->once) {
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    }
    char *to CLEANUP(cleanup_mem) = connect_to(s);
    if (to) {
        r->connect_to = curl_slist_append(NULL, to);
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, r->connect_to);
    }

    struct curl_slist *h = curl_slist_append(NULL, "Expect:");
    for (struct curl_slist *i = s->headers; i; i = i->next)
        h = curl_slist_append(h, i->data);
    if (r->accept) {
        char *line CLEANUP(cleanup_mem) = mem_printf("Accept: %s", r->accept);
        h = curl_slist_append(h, line);
    }
    if (r->content_type) {
        char *line CLEANUP(cleanup_mem) = mem_printf("Content-Type: %s", r->content_type);
        h = curl_slist_append(h, line);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, buf_str(&r->body));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    } else if (str_eq(r->method, "POST")) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
    } else if (str_eq(r->method, "HEAD")) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    }
    r->sent_headers = h;
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, h);
    CURLMcode rc = curl_multi_add_handle(loop_multi(s->loop), easy);
    if (rc != CURLM_OK)
        abort();
}

void http_reset(struct http_request *r)
{
    if (r->easy) {
        curl_multi_remove_handle(loop_multi(r->server->loop), r->easy);
        curl_easy_cleanup(r->easy);
    }
    curl_slist_free_all(r->sent_headers);
    curl_slist_free_all(r->connect_to);
    mem_free(r->path);
    mem_free(r->failure);
    buf_free(&r->body);
    buf_free(&r->answer);
    *r = (struct http_request){0};
}

static bool all_finished(void *ctx)
{
    struct http_request **requests = ctx;
    for (size_t i = 0; requests[i]; i++) {
        if (!requests[i]->finished)
            return false;
    }
    return true;
}

int http_perform_all(struct http_request **requests, size_t count, struct error *err)
{
    if (count == 0)
        return 0;
    struct http_request **list CLEANUP(cleanup_mem) = mem_alloc(count + 1, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        list[i] = requests[i];
        http_start(requests[i]);
    }
    return loop_until(requests[0]->server->loop, all_finished, list, 0, err);
}

int http_perform(struct http_request *r, struct error *err)
{
    if (http_perform_all(&r, 1, err) < 0)
        return -1;
    if (!r->status)
        return http_error(r, err);
    return 0;
}

/* The `message` of a Kubernetes Status or a Docker error. Any other body stays unseen: it may be an
 * object, and an object may be a secret. */
static char *message_of(const struct http_request *r)
{
    json_t *body = json_loadb(buf_str(&r->answer), r->answer.len, 0, NULL);
    const char *kind = json_string_value(json_object_get(body, "kind"));
    const char *text = json_string_value(json_object_get(body, "message"));
    char *out = NULL;
    if (text && (!kind || str_eq(kind, "Status")))
        out = mem_strndup(text, 500);
    json_decref(body);
    return out;
}

int http_error(const struct http_request *r, struct error *err)
{
    const char *query = strchr(r->path, '?');
    int shown = query ? (int)(query - r->path) : (int)strlen(r->path);
    if (!r->status)
        return error_set(err, RESULT_FAILED, "%s: %s %.*s: %s", r->server->what, r->method, shown,
                         r->path, r->failure ? r->failure : "no answer");
    char *text CLEANUP(cleanup_mem) = message_of(r);
    return error_set(err, RESULT_FAILED, "%s: %s %.*s: answered %ld%s%s", r->server->what,
                     r->method, shown, r->path, r->status, text ? ": " : "", text ? text : "");
}
