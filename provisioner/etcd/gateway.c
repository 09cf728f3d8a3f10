#include "provisioner/etcd/gateway.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 5 };
static const char *const bases[] = {"/v3", "/v3beta", "/v3alpha"};

/* What a refusal says: {"error": …} before 3.4, with `message` later; no other part is looked at.
 */
static char *refusal(const struct http_request *r)
{
    json_t *j = json_loadb(buf_str(&r->answer), r->answer.len, 0, NULL);
    const char *text = json_string_value(json_object_get(j, "error"));
    if (!text)
        text = json_string_value(json_object_get(j, "message"));
    char *out = text ? mem_strndup(text, 300) : NULL;
    json_decref(j);
    return out;
}

static bool says(const char *text, const char *part)
{
    return text && strstr(text, part);
}

enum verdict { VERDICT_OK, VERDICT_LESS, VERDICT_OTHER_MEMBER, VERDICT_OTHER_BASE, VERDICT_NO };

static enum verdict judge(const struct http_request *r, const char *text)
{
    if (r->status == 200)
        return VERDICT_OK;
    if (!r->status)
        return r->answer.len ? VERDICT_LESS : VERDICT_OTHER_MEMBER;
    if (says(text, "larger than max"))
        return VERDICT_LESS;
    if (says(text, "compacted"))
        return VERDICT_NO;
    if (r->status == 404)
        return VERDICT_OTHER_BASE;
    /* A listener that serves gRPC alone. */
    if (r->status == 415)
        return VERDICT_OTHER_MEMBER;
    /* A member that lags behind can be asked for a revision that it hasn't got. */
    if (r->status == 408 || r->status == 429 || r->status >= 500 || says(text, "no leader") ||
        says(text, "future revision"))
        return VERDICT_OTHER_MEMBER;
    return VERDICT_NO;
}

/* etcd's JSON gateway is a client of etcd itself, and shows it the member's own server certificate.
 * Where that is for servers alone, no request by JSON is ever answered (tried with 3.4.23;
 * openshift-ansible made such until mid-2018, etcd issues 9398 and 9785). */
static const char cant_reach_itself[] =
    " (the member's JSON gateway can't reach the member: where etcd's log has `incompatible key "
    "usage` or `bad certificate`, its own certificate lacks clientAuth; `openssl x509 -noout -ext "
    "extendedKeyUsage -in` it shows that, and a certificate with serverAuth and clientAuth mends "
    "it)";

static bool is_of_the_gateway(const struct http_request *r, const char *text)
{
    return r->status == 503 && says(text, "connection error") && says(text, "transport:");
}

static void note_failure(struct buf *failures, const struct http_request *r, const char *text)
{
    if (failures->len)
        buf_adds(failures, "; ");
    buf_printf(failures, "%s: ", r->server->what);
    if (!r->status)
        buf_adds(failures, r->failure ? r->failure : "no answer");
    else
        buf_printf(failures, "answered %ld%s%s%s", r->status, text ? ": " : "", text ? text : "",
                   is_of_the_gateway(r, text) ? cant_reach_itself : "");
}

static void prepare(const struct gateway *g, const char *path, const char *text, int64_t timeout_ms,
                    size_t limit, struct http_request *r)
{
    http_reset(r);
    r->server = &g->servers[g->current];
    r->method = "POST";
    r->path = mem_printf("%s%s", bases[g->base[g->current]], path);
    r->content_type = "application/json";
    r->timeout_ms = timeout_ms;
    r->limit = limit;
    buf_adds(&r->body, text);
}

/* One member, under each path that it may know. *next: another member may do better. */
static int ask_member(struct gateway *g, const char *path, const char *text, int64_t timeout_ms,
                      size_t limit, struct http_request *r, enum gateway_answer *answer, bool *next,
                      struct buf *failures, struct error *err)
{
    size_t *base = &g->base[g->current];
    *next = false;
    for (size_t tried = 0; tried < ARRAY_LEN(bases); tried++) {
        prepare(g, path, text, timeout_ms, limit, r);
        struct http_request *one[] = {r};
        if (http_perform_all(one, 1, err) < 0)
            return -1;
        char *why CLEANUP(cleanup_mem) = r->status == 200 ? NULL : refusal(r);
        switch (judge(r, why)) {
        case VERDICT_OK:
            *answer = GATEWAY_OK;
            return 0;
        case VERDICT_LESS:
            *answer = GATEWAY_TOO_LONG;
            return 0;
        case VERDICT_OTHER_MEMBER:
            note_failure(failures, r, why);
            *next = true;
            return 0;
        case VERDICT_NO:
            return error_set(err, RESULT_FAILED, "%s: POST %s: answered %ld%s%s", r->server->what,
                             r->path, r->status, why ? ": " : "", why ? why : "");
        case VERDICT_OTHER_BASE:
            break;
        }
        *base = (*base + 1) % ARRAY_LEN(bases);
    }
    note_failure(failures, r, "it has no JSON gateway");
    *next = true;
    return 0;
}

int gateway_ask(struct gateway *g, const char *path, const char *text, int64_t timeout_ms,
                size_t limit, struct http_request *r, enum gateway_answer *answer,
                struct error *err)
{
    struct buf failures CLEANUP(buf_free) = {0};
    int64_t pause = g->pause_ms;
    if (!g->count)
        return error_set(err, RESULT_FAILED, "etcd: no member is known");
    for (int round = 0; round < ROUNDS; round++, pause *= 3) {
        if (round && loop_pause(g->loop, pause / 3, err) < 0)
            return -1;
        buf_reset(&failures);
        for (size_t i = 0; i < g->count; i++) {
            bool next = false;
            if (ask_member(g, path, text, timeout_ms, limit, r, answer, &next, &failures, err) < 0)
                return -1;
            if (!next)
                return 0;
            g->current = (g->current + 1) % g->count;
        }
    }
    return error_set(err, RESULT_FAILED, "no etcd member answers: %s", buf_str(&failures));
}

int gateway_json(const struct http_request *r, json_t **out, struct error *err)
{
    json_t *j = json_loadb(buf_str(&r->answer), r->answer.len, 0, NULL);
    if (!json_is_object(j)) {
        json_decref(j);
        return error_set(err, RESULT_FAILED, "%s: POST %s: the answer is no JSON object",
                         r->server->what, r->path);
    }
    *out = j;
    return 0;
}

int64_t gateway_int64(const json_t *j, const char *name)
{
    const json_t *v = json_object_get(j, name);
    if (json_is_integer(v))
        return (int64_t)json_integer_value(v);
    const char *text = json_string_value(v);
    return text ? strtoll(text, NULL, 10) : 0;
}
