#include "provisioner/etcd/etcd.h"

#include "provisioner/etcd/gateway.h"
#include "state/json_text.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_LIMIT = 200,
    MOST_LIMIT = 10000,
    TIMEOUT_MS = 10000,
    LONGEST_TIMEOUT_MS = 60000,
    PAGE_MS = 2000, /* how long one page may well take: a slow line gets smaller ones */
};
/* gRPC itself has 4 MiB as its default limit; base64 makes four bytes of three. */
static const size_t page_target = (size_t)4 << 20;
static const size_t least_target = (size_t)256 << 10;
static const size_t longest_answer = (size_t)32 << 20;

struct etcd {
    struct gateway gateway;
    size_t limit;  /* keys a page */
    size_t target; /* bytes of an answer to aim at */
};

struct etcd *etcd_new(struct loop *loop, struct http_server *servers, size_t count)
{
    struct etcd *e = mem_alloc(1, sizeof(*e));
    *e = (struct etcd){
        .gateway = {.loop = loop, .servers = servers, .count = count, .pause_ms = 100},
        .limit = FIRST_LIMIT,
        .target = page_target,
    };
    e->gateway.base = mem_alloc(count, sizeof(*e->gateway.base));
    return e;
}

void etcd_close(struct etcd *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->gateway.count; i++)
        http_server_free(&e->gateway.servers[i]);
    mem_free(e->gateway.servers);
    mem_free(e->gateway.base);
    mem_free(e);
}

void etcd_set_pause(struct etcd *e, int64_t milliseconds)
{
    e->gateway.pause_ms = milliseconds;
}

static void add_base64(struct buf *out, const void *data, size_t len)
{
    char *to = buf_reserve(out, (len + 2) / 3 * 4);
    out->len += (size_t)EVP_EncodeBlock((unsigned char *)to, data, (int)len);
}

/* Appends what the member holds; nothing where it isn't there. */
static bool add_decoded(struct buf *out, const json_t *text)
{
    const char *s = json_string_value(text);
    size_t len = json_string_length(text);
    if (!text || !len)
        return !text || s;
    if (len % 4 || len > (size_t)1 << 30)
        return false;
    char *to = buf_reserve(out, len / 4 * 3);
    int got = EVP_DecodeBlock((unsigned char *)to, (const unsigned char *)s, (int)len);
    if (got < 0)
        return false;
    /* It writes the padding out as zeros. */
    size_t padding = (size_t)(s[len - 1] == '=') + (size_t)(s[len - 2] == '=');
    out->len += (size_t)got - padding;
    out->data[out->len] = '\0';
    return true;
}

/* The end of the range of all keys with that prefix: its last byte one higher. "\0" is "to the
 * end". */
static void add_range_end(struct buf *out, const char *prefix)
{
    size_t len = strlen(prefix);
    while (len && (unsigned char)prefix[len - 1] == 0xff)
        len--;
    buf_add(out, prefix, len ? len : 1);
    if (len)
        out->data[out->len - 1]++;
    else
        out->data[out->len - 1] = '\0';
}

/* A walk in progress. */
struct walk {
    struct etcd *e;
    const char *prefix;
    struct buf start; /* the next page begins at this key */
    struct buf end;
    int64_t revision; /* 0: not pinned yet */
    int64_t timeout;
    bool begun, more;
    int64_t expected; /* how many the first answer said there are */
    int64_t seen;
    struct buf key, value; /* of one object; reused, so not wiped each time but at the end */
};

static void walk_free(struct walk *w)
{
    buf_free(&w->start);
    buf_free(&w->end);
    buf_free(&w->key);
    buf_free(&w->value);
}

static void request_text(const struct walk *w, struct buf *out)
{
    buf_adds(out, "{\"key\":\"");
    add_base64(out, w->start.data, w->start.len);
    buf_adds(out, "\",\"range_end\":\"");
    add_base64(out, w->end.data, w->end.len);
    buf_printf(out, "\",\"limit\":\"%zu\",\"revision\":\"%" PRId64 "\"}", w->e->limit, w->revision);
}

static int malformed(const struct http_request *r, const char *what, struct error *err)
{
    return error_set(err, RESULT_FAILED, "%s: POST %s: the answer is malformed: %s",
                     r->server->what, r->path, what);
}

static int take_kv(struct walk *w, const json_t *kv, const struct http_request *r, etcd_walk_fn *fn,
                   void *ctx, struct error *err)
{
    w->key.len = w->value.len = 0;
    buf_add(&w->key, "", 0);
    buf_add(&w->value, "", 0);
    if (!add_decoded(&w->key, json_object_get(kv, "key")) ||
        !add_decoded(&w->value, json_object_get(kv, "value")))
        return malformed(r, "base64", err);
    /* What the proof leans on is checked: in the range, in order, none twice. */
    if (strncmp(w->key.data, w->prefix, strlen(w->prefix)) != 0)
        return malformed(r, "a key out of the range", err);
    size_t common = w->key.len < w->start.len ? w->key.len : w->start.len;
    int order = memcmp(w->key.data, w->start.data, common);
    if (order < 0 || (order == 0 && w->key.len < w->start.len))
        return malformed(r, "keys out of order", err);
    w->start.len = 0;
    buf_add(&w->start, w->key.data, w->key.len + 1); /* with its NUL: the next possible key */
    w->seen++;
    return fn(ctx, w->key.data, (const unsigned char *)w->value.data, w->value.len,
              gateway_int64(kv, "mod_revision"), err) < 0
               ? -1
               : 0;
}

static int take_page(struct walk *w, const struct http_request *r, size_t *count, etcd_walk_fn *fn,
                     void *ctx, struct error *err)
{
    json_t *body CLEANUP(cleanup_json) = NULL;
    if (gateway_json(r, &body, err) < 0)
        return -1;
    const json_t *kvs = json_object_get(body, "kvs");
    *count = json_array_size(kvs);
    int64_t left = gateway_int64(body, "count");
    w->more = json_is_true(json_object_get(body, "more"));
    if (!w->revision)
        w->revision = gateway_int64(json_object_get(body, "header"), "revision");
    if (w->revision <= 0)
        return malformed(r, "no revision", err);
    if (!w->begun)
        w->expected = left;
    w->begun = true;
    if (w->more && !*count)
        return malformed(r, "an empty page in the middle", err);
    for (size_t i = 0; i < *count; i++) {
        if (take_kv(w, json_array_get(kvs, i), r, fn, ctx, err) < 0)
            return -1;
    }
    if (!w->more && w->seen != w->expected)
        return error_set(err, RESULT_FAILED,
                         "%s: %" PRId64 " keys were announced under %s and %" PRId64 " came",
                         r->server->what, w->expected, w->prefix, w->seen);
    return 0;
}

static size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void adapt(struct etcd *e, size_t count, size_t bytes, int64_t took)
{
    if (!count || !bytes)
        return;
    size_t by_size = count * e->target / bytes;
    size_t by_time = took > 0 ? count * PAGE_MS / (size_t)took : MOST_LIMIT;
    size_t limit = at_most(at_most(by_size, by_time), at_most(e->limit * 4, MOST_LIMIT));
    e->limit = limit ? limit : 1;
}

static int shrink(struct walk *w, const struct http_request *r, struct error *err)
{
    struct etcd *e = w->e;
    bool timed_out = !r->status && r->answer.len + CURL_MAX_WRITE_SIZE < longest_answer;
    if (timed_out) {
        /* Slow, or broken off: the next member may do better. */
        e->gateway.current = (e->gateway.current + 1) % e->gateway.count;
        if (w->timeout >= LONGEST_TIMEOUT_MS && e->limit == 1)
            return http_error(r, err);
        w->timeout = w->timeout < LONGEST_TIMEOUT_MS / 2 ? w->timeout * 2 : LONGEST_TIMEOUT_MS;
    } else if (e->limit == 1) {
        return error_set(err, RESULT_FAILED, "%s: POST %s: one value alone is too long an answer",
                         r->server->what, r->path);
    }
    e->limit = e->limit > 1 ? e->limit / 2 : 1;
    e->target = e->target / 2 > least_target ? e->target / 2 : least_target;
    return 0;
}

static int walk_pages(struct walk *w, etcd_walk_fn *fn, void *ctx, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {0};
    while (w->more) {
        struct buf text CLEANUP(buf_free) = {0};
        enum gateway_answer answer = GATEWAY_TOO_LONG;
        int64_t began = loop_now();
        size_t count = 0;
        request_text(w, &text);
        if (gateway_ask(&w->e->gateway, "/kv/range", buf_str(&text), w->timeout, longest_answer, &r,
                        &answer, err) < 0)
            return -1;
        int64_t took = loop_now() - began;
        if (answer == GATEWAY_TOO_LONG) {
            if (shrink(w, &r, err) < 0)
                return -1;
            continue;
        }
        if (take_page(w, &r, &count, fn, ctx, err) < 0)
            return -1;
        adapt(w->e, count, r.answer.len, took);
    }
    return 0;
}

int etcd_walk(struct etcd *e, const char *prefix, int64_t *revision, etcd_walk_fn *fn, void *ctx,
              struct error *err)
{
    return etcd_walk_after(e, prefix, NULL, revision, fn, ctx, err);
}

int etcd_walk_after(struct etcd *e, const char *prefix, const char *after, int64_t *revision,
                    etcd_walk_fn *fn, void *ctx, struct error *err)
{
    struct walk w CLEANUP(walk_free) = {
        .e = e,
        .prefix = prefix,
        .revision = *revision,
        .timeout = TIMEOUT_MS,
        .more = true,
    };
    e->target = page_target;
    if (after)
        buf_add(&w.start, after, strlen(after) + 1); /* with its NUL: the next possible key */
    else
        buf_add(&w.start, prefix, *prefix ? strlen(prefix) : 1); /* "\0" is the first of all keys */
    add_range_end(&w.end, prefix);
    int rc = walk_pages(&w, fn, ctx, err);
    if (w.revision)
        *revision = w.revision;
    return rc;
}

int etcd_get(struct etcd *e, const char *key, struct buf *value, int64_t *mod_revision, bool *found,
             struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct http_request r CLEANUP(http_reset) = {0};
    json_t *body CLEANUP(cleanup_json) = NULL;
    enum gateway_answer answer = GATEWAY_TOO_LONG;
    buf_adds(&text, "{\"key\":\"");
    add_base64(&text, key, strlen(key));
    buf_adds(&text, "\"}");
    if (gateway_ask(&e->gateway, "/kv/range", buf_str(&text), TIMEOUT_MS, longest_answer, &r,
                    &answer, err) < 0)
        return -1;
    if (answer == GATEWAY_TOO_LONG)
        return http_error(&r, err);
    if (gateway_json(&r, &body, err) < 0)
        return -1;
    const json_t *kv = json_array_get(json_object_get(body, "kvs"), 0);
    if (kv && !add_decoded(value, json_object_get(kv, "value")))
        return malformed(&r, "base64", err);
    *mod_revision = gateway_int64(kv, "mod_revision");
    *found = kv != NULL;
    return 0;
}

int etcd_status(struct etcd *e, struct etcd_status *out, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {0};
    json_t *status CLEANUP(cleanup_json) = NULL;
    json_t *range CLEANUP(cleanup_json) = NULL;
    enum gateway_answer answer = GATEWAY_TOO_LONG;
    if (gateway_ask(&e->gateway, "/maintenance/status", "{}", TIMEOUT_MS, longest_answer, &r,
                    &answer, err) < 0)
        return -1;
    if (answer == GATEWAY_TOO_LONG)
        return http_error(&r, err);
    if (gateway_json(&r, &status, err) < 0)
        return -1;
    /* The status' own revision is what that member has applied; a range is linearisable. */
    if (gateway_ask(&e->gateway, "/kv/range", "{\"key\":\"AA==\",\"count_only\":true}", TIMEOUT_MS,
                    longest_answer, &r, &answer, err) < 0)
        return -1;
    if (answer == GATEWAY_TOO_LONG)
        return http_error(&r, err);
    if (gateway_json(&r, &range, err) < 0)
        return -1;
    struct etcd_status s = {
        .revision = gateway_int64(json_object_get(range, "header"), "revision"),
        .db_size = gateway_int64(status, "dbSize"),
        .db_size_in_use = gateway_int64(status, "dbSizeInUse"),
    };
    const char *version = json_string_value(json_object_get(status, "version"));
    snprintf(s.version, sizeof(s.version), "%s", version ? version : "");
    if (s.revision <= 0)
        return malformed(&r, "no revision", err);
    *out = s;
    return 0;
}
