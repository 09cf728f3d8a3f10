#include "provisioner/etcd/etcd.h"
#include "state/json_text.h"
#include "tests/unit/provisioner/standin.h"

#include <inttypes.h>
#include <openssl/evp.h>

enum { MEMBERS = 3, MOST = 3000 };

/* Keys "/registry/secrets/ns/k0000" … with values of `size` bytes, on three stand-ins of etcd. */
struct world {
    pthread_mutex_t lock;
    size_t objects, size;
    int64_t revision;
    size_t ranges, of_member[MEMBERS];
    int64_t revisions[64]; /* asked for, in order */
    size_t limits[64];
    /* Answers itself and gives true, or leaves it to the usual answer. */
    bool (*special)(struct world *w, int member, const struct asked *q, struct buf *out);
    int flag;

    struct standin members[MEMBERS];
    struct place {
        struct world *w;
        int member;
    } places[MEMBERS];
    struct etcd *etcd;
    struct error err;

    size_t seen;
    size_t bytes;
    char last[64];
    int64_t last_revision;
};

static void add_base64(struct buf *out, const void *data, size_t len)
{
    char *to = buf_reserve(out, (len + 2) / 3 * 4);
    out->len += (size_t)EVP_EncodeBlock((unsigned char *)to, data, (int)len);
}

static size_t decoded(const json_t *j, const char *name, char *out, size_t room)
{
    const char *s = json_string_value(json_object_get(j, name));
    size_t len = s ? strlen(s) : 0;
    assert_true(len / 4 * 3 < room);
    memset(out, 0, room);
    EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)(s ? s : ""), (int)len);
    return len / 4 * 3 - (len ? (size_t)(s[len - 1] == '=') + (size_t)(s[len - 2] == '=') : 0);
}

static int64_t number(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));
    return s ? strtoll(s, NULL, 10) : 0;
}

/* "key" of object i: sorted as etcd does. */
static void key_of(size_t i, char out[64])
{
    snprintf(out, 64, "/registry/secrets/ns/k%04zu", i);
}

static void answer_range(struct world *w, const json_t *body, struct buf *out)
{
    char key[128], end[128], name[64];
    size_t len = decoded(body, "key", key, sizeof(key));
    decoded(body, "range_end", end, sizeof(end));
    size_t limit = (size_t)number(body, "limit");
    if (w->ranges < 64) {
        w->revisions[w->ranges] = number(body, "revision");
        w->limits[w->ranges] = limit;
    }
    w->ranges++;
    struct buf text CLEANUP(buf_free) = {0};
    struct buf value CLEANUP(buf_free) = {0};
    size_t matching = 0;
    size_t given = 0;
    memset(buf_reserve(&value, w->size), 'v', w->size);
    buf_printf(&text, "{\"header\":{\"cluster_id\":\"1\",\"revision\":\"%" PRId64 "\"},\"kvs\":[",
               w->revision);
    for (size_t i = 0; i < w->objects; i++) {
        key_of(i, name);
        if (end[0] ? strcmp(name, key) < 0 || strcmp(name, end) >= 0 : strcmp(name, key) != 0)
            continue;
        if (strcmp(name, key) == 0 && strlen(name) < len) /* key + NUL: the next one */
            continue;
        if (matching++ >= limit && limit)
            continue;
        buf_adds(&text, given++ ? ",{\"key\":\"" : "{\"key\":\"");
        add_base64(&text, name, strlen(name));
        buf_printf(&text, "\",\"create_revision\":\"2\",\"mod_revision\":\"%zu\",\"version\":\"1\"",
                   i + 3000000000);
        if (w->size) {
            buf_adds(&text, ",\"value\":\"");
            add_base64(&text, value.data, w->size);
            buf_adds(&text, "\"");
        }
        buf_adds(&text, "}");
    }
    /* A gateway leaves zeros out. */
    buf_adds(&text, "]");
    if (given < matching)
        buf_adds(&text, ",\"more\":true");
    if (matching)
        buf_printf(&text, ",\"count\":\"%zu\"", matching);
    buf_adds(&text, "}");
    standin_answer(out, 200, NULL, buf_str(&text));
}

static void serve(void *ctx, const struct asked *q, struct buf *out)
{
    struct place *p = ctx;
    struct world *w = p->w;
    json_t *body CLEANUP(cleanup_json) = json_loads(q->body, 0, NULL);
    pthread_mutex_lock(&w->lock);
    w->of_member[p->member]++;
    if (w->special && w->special(w, p->member, q, out))
        ;
    else if (str_eq(q->path, "/v3/kv/range"))
        answer_range(w, body, out);
    else if (str_eq(q->path, "/v3/maintenance/status"))
        standin_answer(out, 200, NULL,
                       "{\"header\":{\"revision\":\"41\"},\"version\":\"3.4.23\",\"dbSize\":"
                       "\"3000000000\",\"leader\":\"5\",\"dbSizeInUse\":\"2999999999\"}");
    else
        standin_answer(out, 404, NULL, "404 page not found");
    pthread_mutex_unlock(&w->lock);
}

static void world_start(struct world *w, struct loop *loop)
{
    pthread_mutex_init(&w->lock, NULL);
    struct http_server *servers = mem_alloc(MEMBERS, sizeof(*servers));
    for (int k = 0; k < MEMBERS; k++) {
        w->places[k] = (struct place){w, k};
        w->members[k].fn = serve;
        w->members[k].ctx = &w->places[k];
        standin_start(&w->members[k], loop, k == 0 ? "etcd-0" : k == 1 ? "etcd-1" : "etcd-2");
        servers[k] = (struct http_server){.loop = loop,
                                          .what = mem_strdup(w->members[k].server.what),
                                          .url = mem_strdup("http://etcd"),
                                          .unix_path = mem_strdup(w->members[k].path)};
    }
    w->etcd = etcd_new(loop, servers, MEMBERS);
    etcd_set_pause(w->etcd, 1);
}

static void world_free(struct world *w)
{
    etcd_close(w->etcd);
    for (int k = 0; k < MEMBERS; k++)
        standin_stop(&w->members[k]);
    error_clear(&w->err);
}

#define WORLD(...)                                                                                 \
    struct world w CLEANUP(world_free) = {.revision = 42, __VA_ARGS__};                            \
    world_start(&w, *state)

static int see(void *ctx, const char *key, const unsigned char *value, size_t len,
               int64_t mod_revision, struct error *err)
{
    (void)err;
    struct world *w = ctx;
    assert_true(strcmp(key, w->last) > 0);
    snprintf(w->last, sizeof(w->last), "%s", key);
    assert_int_equal(len, w->size);
    if (len)
        assert_true(value[0] == 'v' && value[len - 1] == 'v');
    w->bytes += len;
    w->seen++;
    w->last_revision = mod_revision;
    return 0;
}

static int walk(struct world *w, const char *prefix, int64_t *revision)
{
    w->seen = 0;
    w->last[0] = '\0';
    return etcd_walk(w->etcd, prefix, revision, see, w, &w->err);
}

static void test_walk(void **state)
{
    /* Sizes with each padding of base64. */
    for (size_t size = 0; size < 4; size++) {
        WORLD(.objects = 1234, .size = size);
        int64_t revision = 0;
        assert_int_equal(walk(&w, "/registry/secrets/", &revision), 0);
        assert_int_equal(revision, 42);
        assert_int_equal(w.seen, 1234);
        assert_int_equal(w.last_revision, 3000001233);
        assert_string_equal(w.last, "/registry/secrets/ns/k1233");
        /* The first look is at the newest, and all others at what that was. */
        assert_int_equal(w.revisions[0], 0);
        for (size_t i = 1; i < w.ranges; i++)
            assert_int_equal(w.revisions[i], 42);
        assert_int_equal(w.limits[0], 200);
        assert_int_equal(w.limits[1], 800);
        assert_int_equal(w.ranges, 3);
        assert_int_equal(w.of_member[0], 3);
    }
}

/* A walk can go on where another ended, and a key that is the beginning of the next is no end. */
static void test_walk_after(void **state)
{
    WORLD(.objects = 700, .size = 3);
    int64_t revision = 0;
    assert_int_equal(etcd_walk_after(w.etcd, "/registry/secrets/", "/registry/secrets/ns/k0499",
                                     &revision, see, &w, &w.err),
                     0);
    assert_int_equal(w.seen, 200);
    assert_string_equal(w.last, "/registry/secrets/ns/k0699");
    w.seen = 0;
    w.last[0] = '\0';
    assert_int_equal(etcd_walk_after(w.etcd, "/registry/secrets/", "/registry/secrets/ns/k0499x",
                                     &revision, see, &w, &w.err),
                     0);
    assert_int_equal(w.seen, 200);
    w.seen = 0;
    w.last[0] = '\0';
    assert_int_equal(etcd_walk_after(w.etcd, "/registry/secrets/", "/registry/secrets/ns/k0699",
                                     &revision, see, &w, &w.err),
                     0);
    assert_int_equal(w.seen, 0);
}

static void test_walk_none_and_pinned(void **state)
{
    WORLD(.objects = 10);
    int64_t revision = 0;
    assert_int_equal(walk(&w, "/registry/none/", &revision), 0);
    assert_int_equal(w.seen, 0);
    assert_int_equal(revision, 42);
    revision = 17;
    assert_int_equal(walk(&w, "/registry/", &revision), 0);
    assert_int_equal(w.seen, 10);
    assert_int_equal(revision, 17);
    assert_int_equal(w.revisions[1], 17);
}

static void test_big_values(void **state)
{
    WORLD(.objects = 30, .size = 400000);
    int64_t revision = 0;
    assert_int_equal(walk(&w, "/registry/secrets/", &revision), 0);
    assert_int_equal(w.seen, 30);
    /* 30 at first (16 MB, below what is taken), then as many as make 4 MiB. */
    w.objects = 40;
    assert_int_equal(walk(&w, "/registry/secrets/", &revision), 0);
    assert_int_equal(w.seen, 40);
    assert_true(w.limits[1] <= 8);
}

static int end_early(void *ctx, const char *key, const unsigned char *value, size_t len,
                     int64_t mod_revision, struct error *err)
{
    (void)value;
    (void)len;
    (void)mod_revision;
    struct world *w = ctx;
    if (++w->seen == 7)
        return error_set(err, RESULT_FOUND, "enough at %s", key);
    return 0;
}

static void test_end_early(void **state)
{
    WORLD(.objects = 1000);
    int64_t revision = 0;
    assert_int_equal(etcd_walk(w.etcd, "/registry/", &revision, end_early, &w, &w.err), -1);
    assert_int_equal(w.err.result, RESULT_FOUND);
    assert_int_equal(w.seen, 7);
    assert_int_equal(w.ranges, 1);
}

static bool second_page_fails(struct world *w, int member, const struct asked *q, struct buf *out)
{
    (void)q;
    if (w->ranges < 1 || member != 0)
        return false;
    if (w->flag == 1)
        standin_answer(out, 503, NULL,
                       "{\"error\":\"etcdserver: no leader\",\"message\":\"etcdserver: no leader\","
                       "\"code\":14}");
    else if (w->flag == 2)
        standin_answer(out, 504, NULL, "{\"error\":\"context deadline exceeded\",\"code\":4}");
    return true; /* or the connection ends */
}

static void test_failover(void **state)
{
    for (int flag = 0; flag < 3; flag++) {
        WORLD(.objects = 700, .special = second_page_fails, .flag = flag);
        int64_t revision = 0;
        assert_int_equal(walk(&w, "/registry/secrets/", &revision), 0);
        assert_int_equal(w.seen, 700);
        assert_int_equal(w.revisions[1], 42);
        assert_true(w.of_member[1] >= 1);
    }
}

static bool all_fail(struct world *w, int member, const struct asked *q, struct buf *out)
{
    (void)w;
    (void)q;
    if (member == 0)
        standin_answer(out, 503, NULL, "{\"error\":\"etcdserver: no leader\",\"code\":14}");
    else if (member == 1)
        standin_answer(out, 404, NULL, "404 page not found");
    return true;
}

static void test_no_member(void **state)
{
    WORLD(.objects = 7, .special = all_fail);
    int64_t revision = 0;
    assert_int_equal(walk(&w, "/registry/secrets/", &revision), -1);
    assert_int_equal(w.err.result, RESULT_FAILED);
    assert_non_null(strstr(w.err.message,
                           "no etcd member answers: etcd-0: answered 503: "
                           "etcdserver: no leader; etcd-1: answered 404: it has no JSON gateway; "
                           "etcd-2: "));
    assert_int_equal(revision, 0);
    assert_int_equal(w.of_member[0], 5);
}

static bool serves_grpc_alone(struct world *w, int member, const struct asked *q, struct buf *out)
{
    (void)w;
    (void)q;
    if (member != 0)
        return false;
    standin_answer(out, 415, NULL, "invalid gRPC request content-type \"application/json\"");
    return true;
}

/* etcd 3.5 with --listen-client-http-urls: the client port of before, and one for HTTP. */
static void test_a_port_for_grpc_alone(void **state)
{
    WORLD(.objects = 7, .special = serves_grpc_alone);
    int64_t revision = 0;
    if (walk(&w, "/registry/secrets/", &revision) < 0)
        fail_msg("%s", w.err.message);
    assert_int_equal(w.of_member[0], 1);
}

/* Recorded: etcd 3.4.23 whose own certificate has serverAuth alone. */
static bool gateway_fails(struct world *w, int member, const struct asked *q, struct buf *out)
{
    (void)w;
    (void)member;
    (void)q;
    standin_answer(out, 503, NULL,
                   "{\"error\":\"connection error: desc = \\\"transport: failed to write client "
                   "preface: write tcp 127.0.0.1:37648-\\u003e127.0.0.1:2379: write: connection "
                   "reset by peer\\\"\",\"code\":14}");
    return true;
}

static void test_a_member_that_does_not_accept_itself(void **state)
{
    WORLD(.objects = 7, .special = gateway_fails);
    int64_t revision = 0;
    assert_int_equal(walk(&w, "/registry/secrets/", &revision), -1);
    assert_non_null(strstr(w.err.message, "lacks clientAuth"));
}

static bool compacted(struct world *w, int member, const struct asked *q, struct buf *out)
{
    (void)member;
    (void)q;
    if (w->ranges < 1)
        return false;
    standin_answer(out, w->flag, NULL,
                   "{\"error\":\"etcdserver: mvcc: required revision has been compacted\","
                   "\"code\":11}");
    return true;
}

static void test_compacted(void **state)
{
    /* 400 as gateways of 3.4 and later say it, 500 of older ones. */
    for (int status = 400; status <= 500; status += 100) {
        WORLD(.objects = 700, .special = compacted, .flag = status);
        int64_t revision = 0;
        assert_int_equal(walk(&w, "/registry/secrets/", &revision), -1);
        assert_int_equal(w.err.result, RESULT_FAILED);
        assert_non_null(strstr(w.err.message, "required revision has been compacted"));
        assert_int_equal(w.of_member[1], 0);
    }
}

/* gRPC's own limit, as the gateway of 3.4 reports it. */
static bool has_small_messages(struct world *w, int member, const struct asked *q, struct buf *out)
{
    (void)member;
    json_t *body CLEANUP(cleanup_json) = json_loads(q->body, 0, NULL);
    if (number(body, "limit") <= w->flag)
        return false;
    standin_answer(out, 429, NULL,
                   "{\"error\":\"grpc: received message larger than max (5242880 vs. 4194304)\","
                   "\"code\":8}");
    return true;
}

static void test_message_limit(void **state)
{
    WORLD(.objects = 300, .size = 10, .special = has_small_messages, .flag = 30);
    int64_t revision = 0;
    assert_int_equal(walk(&w, "/registry/secrets/", &revision), 0);
    assert_int_equal(w.seen, 300);
    w.flag = 0;
    assert_int_equal(walk(&w, "/registry/secrets/", &revision), -1);
    assert_non_null(strstr(w.err.message, "one value alone is too long"));
}

/* Longer than we take, or broken off: half as many are asked for. */
static bool is_too_much(struct world *w, int member, const struct asked *q, struct buf *out)
{
    (void)member;
    json_t *body CLEANUP(cleanup_json) = json_loads(q->body, 0, NULL);
    if (number(body, "limit") < 200)
        return false;
    size_t len = w->flag ? (size_t)33 << 20 : 1000;
    buf_printf(out, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
               len + (w->flag ? 0 : 1));
    memset(buf_reserve(out, len), 'x', len);
    out->len += len;
    return true;
}

static void test_too_long(void **state)
{
    for (int flag = 0; flag < 2; flag++) {
        WORLD(.objects = 110, .size = 3, .special = is_too_much, .flag = flag);
        int64_t revision = 0;
        assert_int_equal(walk(&w, "/registry/secrets/", &revision), 0);
        assert_int_equal(w.seen, 110);
        assert_int_equal(w.limits[0], 100);
    }
}

static bool is_old(struct world *w, int member, const struct asked *q, struct buf *out)
{
    static const char *const bases[] = {"/v3beta", "/v3alpha"};
    (void)member;
    const char *base = bases[w->flag];
    json_t *body CLEANUP(cleanup_json) = json_loads(q->body, 0, NULL);
    if (str_starts(q->path, base) && str_eq(q->path + strlen(base), "/kv/range"))
        answer_range(w, body, out);
    else
        standin_answer(out, 404, NULL, "404 page not found");
    return true;
}

static void test_old_gateways(void **state)
{
    for (int flag = 0; flag < 2; flag++) {
        WORLD(.objects = 300, .special = is_old, .flag = flag);
        int64_t revision = 0;
        assert_int_equal(walk(&w, "/registry/secrets/", &revision), 0);
        assert_int_equal(w.seen, 300);
        /* What it knows is remembered. */
        assert_int_equal(w.of_member[0], 2 + 1 + (size_t)flag);
    }
}

static void test_get(void **state)
{
    WORLD(.objects = 10, .size = 5);
    struct buf value CLEANUP(buf_free) = {0};
    int64_t revision = 0;
    bool found = false;
    assert_int_equal(
        etcd_get(w.etcd, "/registry/secrets/ns/k0003", &value, &revision, &found, &w.err), 0);
    assert_true(found);
    assert_string_equal(buf_str(&value), "vvvvv");
    assert_int_equal(revision, 3000000003);
    buf_free(&value);
    assert_int_equal(etcd_get(w.etcd, "/registry/secrets/ns/k", &value, &revision, &found, &w.err),
                     0);
    assert_false(found);
    assert_int_equal(value.len, 0);
}

static void test_status(void **state)
{
    WORLD(.objects = 10);
    struct etcd_status s = {0};
    assert_int_equal(etcd_status(w.etcd, &s, &w.err), 0);
    assert_int_equal(s.revision, 42);
    assert_int_equal(s.db_size, 3000000000);
    assert_int_equal(s.db_size_in_use, 2999999999);
    assert_string_equal(s.version, "3.4.23");
}

/* What a proof may not be built on. */
static bool is_wrong(struct world *w, int member, const struct asked *q, struct buf *out)
{
    (void)member;
    (void)q;
    static const char *const answers[] = {
        /* fewer than announced; a key out of the range; keys out of order, or twice; bad base64;
         * no revision; no JSON; an empty page in the middle */
        "{\"header\":{\"revision\":\"4\"},\"kvs\":[{\"key\":\"L2EvMQ==\"}],\"count\":\"2\"}",
        "{\"header\":{\"revision\":\"4\"},\"kvs\":[{\"key\":\"L2IvMQ==\"}],\"count\":\"1\"}",
        "{\"header\":{\"revision\":\"4\"},\"kvs\":[{\"key\":\"L2EvMg==\"},{\"key\":\"L2EvMQ==\"}],"
        "\"count\":\"2\"}",
        "{\"header\":{\"revision\":\"4\"},\"kvs\":[{\"key\":\"L2EvMg==\"},{\"key\":\"L2EvMg==\"}],"
        "\"count\":\"2\"}",
        "{\"header\":{\"revision\":\"4\"},\"kvs\":[{\"key\":\"L2EvMg==\",\"value\":\"c2Vj*mV0\"}],"
        "\"count\":\"1\"}",
        "{\"kvs\":[{\"key\":\"L2EvMg==\"}],\"count\":\"1\"}",
        "{\"header\":{\"revision\":\"4\"},\"kvs\":[{\"key\":\"L2EvMg==\",\"value\":\"c2Vj",
        "{\"header\":{\"revision\":\"4\"},\"more\":true,\"count\":\"1\"}",
    };
    standin_answer(out, 200, NULL, answers[w->flag]);
    return true;
}

static void test_wrong_answers(void **state)
{
    for (int flag = 0; flag < 8; flag++) {
        WORLD(.special = is_wrong, .flag = flag);
        int64_t revision = 0;
        assert_int_equal(etcd_walk(w.etcd, "/a/", &revision, end_early, &w, &w.err), -1);
        assert_int_equal(w.err.result, RESULT_FAILED);
        assert_null(strstr(w.err.message, "c2Vj"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STANDIN_TEST(test_walk),
        STANDIN_TEST(test_walk_after),
        STANDIN_TEST(test_walk_none_and_pinned),
        STANDIN_TEST(test_big_values),
        STANDIN_TEST(test_end_early),
        STANDIN_TEST(test_failover),
        STANDIN_TEST(test_no_member),
        STANDIN_TEST(test_a_port_for_grpc_alone),
        STANDIN_TEST(test_a_member_that_does_not_accept_itself),
        STANDIN_TEST(test_compacted),
        STANDIN_TEST(test_message_limit),
        STANDIN_TEST(test_too_long),
        STANDIN_TEST(test_old_gateways),
        STANDIN_TEST(test_get),
        STANDIN_TEST(test_status),
        STANDIN_TEST(test_wrong_answers),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
