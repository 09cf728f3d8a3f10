#include "provisioner/kube/rewrite.h"
#include "tests/unit/provisioner/standin.h"

enum { MOST = 4000, SERVERS = 3, PAGE = 500 };

/* Objects "ns0/o0000" …, served by three stand-ins in step. */
struct world {
    pthread_mutex_t lock;
    size_t objects;
    int asked[MOST];                     /* patches of each */
    int done[MOST];                      /* of them answered 200 */
    size_t listed, answered, most_known; /* names that were told and not patched yet */
    size_t lists;
    size_t of_server[SERVERS];
    /* Answers itself and gives true, or leaves it to the usual answer. i is -1 for a list. */
    bool (*special)(struct world *w, int server, int i, const struct asked *q, struct buf *out);
    int flag;

    struct standin servers[SERVERS];
    struct place {
        struct world *w;
        int server;
    } places[SERVERS];
    const struct http_server *list[SERVERS];
    struct rewrite rewrite;
    struct error err;
    size_t told, told_total, told_early, backwards;
    bool old; /* lists of metadata are bare */
};

static size_t number_after(const char *path, const char *name)
{
    const char *p = strstr(path, name);
    return p ? (size_t)strtoul(p + strlen(name), NULL, 10) : 0;
}

static void answer_list(struct world *w, const struct asked *q, struct buf *out)
{
    size_t limit = number_after(q->path, "limit=");
    size_t from = number_after(q->path, "continue=t");
    size_t to = from + limit < w->objects ? from + limit : w->objects;
    struct buf body CLEANUP(buf_free) = {0};
    bool table = strstr(q->head, "as=Table") != NULL, bare = w->old && !table;
    assert_int_equal(limit, PAGE);
    buf_printf(&body, "{\"kind\":\"%s\",\"metadata\":{%s",
               table ? "Table" : "PartialObjectMetadataList",
               bare ? "" : "\"resourceVersion\":\"5\"");
    if (to < w->objects && !bare)
        buf_printf(&body, ",\"continue\":\"t%zu\"", to);
    buf_printf(&body, "},\"%s\":[", table ? "rows" : "items");
    for (size_t i = from; i < to; i++)
        buf_printf(&body, "%s%s{\"metadata\":{\"name\":\"o%04zu\",\"namespace\":\"ns%zu\"}}%s",
                   i > from ? "," : "", table ? "{\"object\":" : "", i, i / 1000, table ? "}" : "");
    buf_adds(&body, "]}");
    standin_answer(out, 200, NULL, buf_str(&body));
    w->listed += bare ? 0 : to - from;
    w->lists++;
}

static void serve(void *ctx, const struct asked *q, struct buf *out)
{
    struct place *p = ctx;
    struct world *w = p->w;
    pthread_mutex_lock(&w->lock);
    w->of_server[p->server]++;
    bool patch = str_eq(q->method, "PATCH");
    const char *name = strrchr(q->path, '/');
    int i = patch ? (int)strtol(name + 2, NULL, 10) : -1;
    if (patch)
        w->asked[i]++;
    if (w->special && w->special(w, p->server, i, q, out)) {
        ;
    } else if (patch) {
        w->done[i]++;
        standin_answer(out, 200, NULL,
                       "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\"}");
    } else if (strstr(q->path, "?limit=1&includeObject=None")) {
        char text[128];
        snprintf(text, sizeof(text),
                 "{\"kind\":\"Table\",\"metadata\":{\"remainingItemCount\":%zu},\"rows\":[{}]}",
                 w->objects ? w->objects - 1 : 0);
        standin_answer(out, 200, NULL, text);
    } else {
        answer_list(w, q, out);
    }
    if (patch && out->len)
        w->answered++;
    if (w->listed > w->answered && w->listed - w->answered > w->most_known)
        w->most_known = w->listed - w->answered;
    pthread_mutex_unlock(&w->lock);
}

static void on_progress(void *ctx, size_t done, size_t total)
{
    struct world *w = ctx;
    w->backwards += done < w->told || done > total;
    w->told = done;
    w->told_total = total;
    w->told_early += done < 300 && total == w->objects;
}

static void world_start(struct world *w, struct loop *loop)
{
    pthread_mutex_init(&w->lock, NULL);
    for (int k = 0; k < SERVERS; k++) {
        w->places[k] = (struct place){w, k};
        w->servers[k].fn = serve;
        w->servers[k].ctx = &w->places[k];
        standin_start(&w->servers[k], loop, k == 0 ? "api-0" : k == 1 ? "api-1" : "api-2");
        w->list[k] = &w->servers[k].server;
    }
    w->rewrite.servers = w->list;
    w->rewrite.server_count = SERVERS;
    w->rewrite.resource = resource_find("secrets");
    w->rewrite.progress = on_progress;
    w->rewrite.ctx = w;
    w->rewrite.pause_ms = 2;
    if (!w->rewrite.concurrency)
        w->rewrite.concurrency = 16;
}

static void world_free(struct world *w)
{
    for (int k = 0; k < SERVERS; k++)
        standin_stop(&w->servers[k]);
    rewrite_clear(&w->rewrite);
    error_clear(&w->err);
}

#define WORLD(...)                                                                                 \
    struct world w CLEANUP(world_free) = {__VA_ARGS__};                                            \
    world_start(&w, *state)

/* More than once is fine: libcurl sends again what a connection that broke has not answered. */
static void assert_all_done(const struct world *w)
{
    for (size_t i = 0; i < w->objects; i++)
        assert_true(w->done[i] >= 1);
}

static void test_all(void **state)
{
    WORLD(.objects = 2600, .rewrite.concurrency = 32);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_int_equal(w.rewrite.listed, 2600);
    assert_int_equal(w.rewrite.patched, 2600);
    assert_int_equal(w.rewrite.gone, 0);
    assert_int_equal(w.rewrite.stubborn_count, 0);
    assert_false(w.rewrite.stopped);
    assert_all_done(&w);
    /* No connection broke here: each was sent once. */
    for (size_t i = 0; i < w.objects; i++)
        assert_int_equal(w.done[i], 1);
    assert_int_equal(w.lists, 6);
    assert_int_equal(w.backwards, 0);
    assert_int_equal(w.told, 2600);
    assert_int_equal(w.told_total, 2600);
    assert_true(w.told_early > 0);
    /* No more names than two pages and what is in flight, whatever the number of objects. */
    assert_true(w.most_known <= 2 * PAGE + 32 + 1);
    for (int k = 0; k < SERVERS; k++) {
        assert_true(w.of_server[k] > 300);
        assert_true(w.servers[k].count <= 32);
    }
}

/* Before Kubernetes 1.15: see test_lists_before_1_15. */
static void test_all_of_an_old_server(void **state)
{
    WORLD(.objects = 1800, .old = true);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_int_equal(w.rewrite.listed, 1800);
    assert_int_equal(w.rewrite.patched, 1800);
    assert_int_equal(w.lists, 1 + 4);
    assert_all_done(&w);
}

static void test_none(void **state)
{
    WORLD(.objects = 0);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_int_equal(w.rewrite.listed, 0);
}

/* One that answers slowly gets less. */
static void test_slow_server(void **state)
{
    WORLD(.objects = 300);
    w.servers[0].delay_us = w.servers[2].delay_us = 500;
    w.servers[1].delay_us = 20000;
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_all_done(&w);
    assert_true(w.of_server[1] < 100);
}

/* The first two tries of every third fail in all the ways that pass. */
static bool fails_twice(struct world *w, int server, int i, const struct asked *q, struct buf *out)
{
    (void)server;
    (void)q;
    if (i < 0 || i % 3 || w->asked[i] > 2)
        return false;
    switch (i % 4) {
    case 0:
        standin_status(out, 500, NULL, "InternalError", "etcdserver: leader changed", "", "", NULL);
        return true;
    case 1:
        standin_status(out, 409, NULL, "Conflict", "again", "", "", NULL);
        return true;
    case 2:
        standin_answer(out, 503, NULL, "shutting down");
        return true;
    default:
        return true; /* the connection ends */
    }
}

static void test_retries(void **state)
{
    WORLD(.objects = 120, .special = fails_twice);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_int_equal(w.rewrite.patched, 120);
    assert_int_equal(w.rewrite.stubborn_count, 0);
    assert_all_done(&w);
    for (int i = 0; i < 120; i += 3)
        assert_true(w.asked[i] >= 3);
}

static bool is_busy_once(struct world *w, int server, int i, const struct asked *q, struct buf *out)
{
    (void)server;
    (void)q;
    if (i < 0 || i >= 5)
        return false;
    if (w->asked[i] == 1) {
        standin_status(out, 429, "Retry-After: 1\r\n", "TooManyRequests", "later", "", "", NULL);
        return true;
    }
    w->flag += w->answered >= 395; /* all others were not kept waiting */
    return false;
}

static void test_too_many_requests(void **state)
{
    WORLD(.objects = 400, .special = is_busy_once);
    int64_t began = loop_now();
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_true(loop_now() - began >= 1000);
    assert_int_equal(w.rewrite.patched, 400);
    assert_all_done(&w);
    assert_int_equal(w.flag, 5);
    assert_int_equal(w.asked[0], 2);
}

static bool is_stubborn(struct world *w, int server, int i, const struct asked *q, struct buf *out)
{
    (void)w;
    (void)server;
    (void)q;
    if (i == 3)
        standin_status(out, 403, NULL, "Forbidden", "admission webhook denied it", "", "", NULL);
    else if (i == 5)
        standin_status(out, 500, NULL, "InternalError", "no matching key was found", "", "", NULL);
    else if (i == 7)
        standin_answer(out, 422, NULL, "{\"kind\":\"Secret\",\"message\":\"c2VjcmV0\"}");
    else if (i == 8)
        standin_status(out, 404, NULL, "NotFound", "not found", "secrets", "o0008", NULL);
    else if (i == 9)
        standin_status(out, 404, NULL, "NotFound", "namespace not found", "namespaces", "ns0",
                       NULL);
    return i == 3 || i == 5 || i == 7 || i == 8 || i == 9;
}

static const struct stubborn *stubborn(const struct world *w, const char *name)
{
    for (size_t i = 0; i < w->rewrite.stubborn_count; i++) {
        if (str_eq(w->rewrite.stubborn[i].name, name))
            return &w->rewrite.stubborn[i];
    }
    fail_msg("%s is not listed", name);
    return NULL;
}

static void test_stubborn(void **state)
{
    WORLD(.objects = 20, .special = is_stubborn);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_int_equal(w.rewrite.patched, 15);
    assert_int_equal(w.rewrite.gone, 1);
    assert_int_equal(w.rewrite.stubborn_count, 4);
    assert_int_equal(w.told, 20);
    assert_string_equal(stubborn(&w, "o0003")->why, "admission webhook denied it");
    assert_string_equal(stubborn(&w, "o0003")->namespace, "ns0");
    assert_int_equal(w.asked[3], 1);
    assert_int_equal(stubborn(&w, "o0005")->status, 500);
    assert_int_equal(w.asked[5], 5);
    /* A body that is no Status may be an object. */
    assert_string_equal(stubborn(&w, "o0007")->why, "answered 422");
    /* The object may be there still, and stale. */
    assert_string_equal(stubborn(&w, "o0009")->why, "namespace not found");
}

static bool is_all_denied(struct world *w, int server, int i, const struct asked *q,
                          struct buf *out)
{
    (void)w;
    (void)server;
    (void)q;
    if (i >= 0)
        standin_status(out, 403, NULL, "Forbidden", "no", "", "", NULL);
    return i >= 0;
}

static void test_many_stubborn(void **state)
{
    WORLD(.objects = 1200, .special = is_all_denied);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_int_equal(w.rewrite.stubborn_count, 1200);
    assert_string_equal(w.rewrite.stubborn[999].why, "no");
}

/* The second page's token has expired; a new server gives another one, an old one doesn't. */
static bool expires_once(struct world *w, int server, int i, const struct asked *q, struct buf *out)
{
    (void)server;
    (void)i;
    if (!strstr(q->path, "continue=t1000") || w->flag < 1)
        return false;
    standin_status(out, 410, NULL, "Expired", "too old", "", "", w->flag == 2 ? "t1000&new" : NULL);
    w->flag = 0;
    return true;
}

static void test_expired_token(void **state)
{
    WORLD(.objects = 1800, .special = expires_once, .flag = 2);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_int_equal(w.rewrite.patched, 1800);
    assert_int_equal(w.lists, 4);
    assert_all_done(&w);
}

static void test_expired_token_of_an_old_server(void **state)
{
    WORLD(.objects = 1800, .special = expires_once, .flag = 1);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_int_equal(w.rewrite.patched, 1800);
    assert_int_equal(w.rewrite.listed, 1800);
    assert_int_equal(w.lists, 2 + 4);
    assert_all_done(&w);
}

static bool is_dead_server(struct world *w, int server, int i, const struct asked *q,
                           struct buf *out)
{
    (void)i;
    (void)q;
    (void)out;
    return server == w->flag; /* every connection ends without an answer */
}

static void test_dead_server(void **state)
{
    WORLD(.objects = 1200, .special = is_dead_server, .flag = 0);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_int_equal(w.rewrite.patched, 1200);
    assert_int_equal(w.rewrite.stubborn_count, 0);
    assert_all_done(&w);
    /* It was left alone after the first ones. */
    assert_true(w.of_server[0] < 60);
}

/* One dies in the middle, with all that was in flight there. */
static bool dies_later(struct world *w, int server, int i, const struct asked *q, struct buf *out)
{
    (void)q;
    (void)out;
    return server == 2 && i >= 0 && w->answered > 600;
}

static void test_dying_server(void **state)
{
    WORLD(.objects = 1500, .special = dies_later);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_int_equal(w.rewrite.patched, 1500);
    assert_int_equal(w.rewrite.stubborn_count, 0);
}

static bool has_no_list(struct world *w, int server, int i, const struct asked *q, struct buf *out)
{
    (void)server;
    (void)q;
    if (i >= 0)
        return false;
    if (w->flag == 1 && w->lists == 1)
        standin_status(out, 500, NULL, "InternalError", "no matching key was found", "", "", NULL);
    else if (w->flag == 2)
        standin_answer(out, 200, NULL,
                       "{\"kind\":\"SecretList\",\"items\":[{\"metadata\":{\"name\":\"a\"},"
                       "\"data\":{\"p\":\"c2VjcmV0\"}}]}");
    else if (w->flag == 3)
        standin_answer(out, 403, NULL, "{\"kind\":\"Secret\",\"message\":\"c2VjcmV0\"}");
    else
        return false;
    return true;
}

static void test_no_list(void **state)
{
    WORLD(.objects = 800, .special = has_no_list, .flag = 1);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), -1);
    assert_non_null(strstr(w.err.message, "listing the secrets: api-"));
    assert_non_null(strstr(w.err.message, "answered 500: no matching key was found"));
    for (w.flag = 2; w.flag <= 3; w.flag++) {
        assert_int_equal(rewrite_run(&w.rewrite, &w.err), -1);
        assert_null(strstr(w.err.message, "c2VjcmV0"));
    }
}

static bool stops(void *ctx)
{
    struct world *w = ctx;
    return w->told >= 100;
}

static void test_stop(void **state)
{
    WORLD(.objects = 3000);
    w.rewrite.stop = stops;
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), 0);
    assert_true(w.rewrite.stopped);
    assert_true(w.rewrite.patched >= 100 && w.rewrite.patched < 300);
    size_t done = 0;
    for (size_t i = 0; i < w.objects; i++)
        done += (size_t)w.done[i];
    assert_int_equal(done, w.rewrite.patched);
}

static void interrupts(void *ctx, size_t done, size_t total)
{
    struct world *w = ctx;
    (void)total;
    if (done > 50)
        loop_interrupt(w->servers[0].server.loop);
}

static void test_interrupt(void **state)
{
    WORLD(.objects = 3000);
    w.rewrite.progress = interrupts;
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), -1);
    assert_int_equal(w.err.result, RESULT_INTERRUPTED);
}

static void test_named(void **state)
{
    char *names[1301];
    WORLD(.objects = 1500, .special = is_stubborn);
    for (int i = 0; i < 1300; i++)
        names[i] = mem_printf("ns%d/o%04d", i / 1000, i);
    names[1300] = NULL;
    assert_int_equal(rewrite_named(&w.rewrite, names, &w.err), 0);
    for (int i = 0; i < 1300; i++)
        mem_free(names[i]);
    assert_int_equal(w.lists, 0);
    assert_int_equal(w.rewrite.listed, 1300);
    assert_int_equal(w.rewrite.patched, 1295);
    assert_int_equal(w.rewrite.gone, 1);
    assert_int_equal(w.rewrite.stubborn_count, 4);
    assert_int_equal(w.told_total, 1300);
    assert_int_equal(w.done[1299], 1);
}

static bool is_look(struct world *w, int server, int i, const struct asked *q, struct buf *out)
{
    (void)server;
    (void)i;
    const char *name = strrchr(q->path, '/');
    assert_string_equal(q->method, "GET");
    assert_non_null(strstr(q->head, "as=PartialObjectMetadata;"));
    w->flag++;
    if (str_eq(name, "/o0003"))
        standin_status(out, 500, NULL, "InternalError", "invalid padding on input", "", "", NULL);
    else
        standin_answer(out, 200, NULL, "{\"kind\":\"PartialObjectMetadata\"}");
    return true;
}

/* Looking changes nothing, and tells what can't be read. */
static void test_look(void **state)
{
    char *names[11] = {0};
    WORLD(.special = is_look);
    w.rewrite.look = true;
    for (int i = 0; i < 10; i++)
        names[i] = mem_printf("ns0/o%04d", i);
    assert_int_equal(rewrite_named(&w.rewrite, names, &w.err), 0);
    for (int i = 0; i < 10; i++)
        mem_free(names[i]);
    assert_int_equal(w.rewrite.patched, 9);
    assert_int_equal(w.rewrite.stubborn_count, 1);
    assert_string_equal(w.rewrite.stubborn[0].name, "o0003");
    assert_int_equal(w.rewrite.stubborn[0].status, 500);
    assert_int_equal(w.flag, 9 + 5);
}

static bool list_fails(struct world *w, int server, int i, const struct asked *q, struct buf *out)
{
    (void)w;
    (void)server;
    (void)q;
    if (i < 0)
        standin_status(out, 500, NULL, "", "invalid padding on input", "", "", NULL);
    return i < 0;
}

/* One object that can't be read fails the list: that it was the list's answer is told. */
static void test_list_status(void **state)
{
    WORLD(.objects = 10, .special = list_fails);
    assert_int_equal(rewrite_run(&w.rewrite, &w.err), -1);
    assert_int_equal(w.rewrite.list_status, 500);
    assert_int_equal(w.rewrite.patched, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STANDIN_TEST(test_all),           STANDIN_TEST(test_all_of_an_old_server),
        STANDIN_TEST(test_none),          STANDIN_TEST(test_slow_server),
        STANDIN_TEST(test_retries),       STANDIN_TEST(test_too_many_requests),
        STANDIN_TEST(test_stubborn),      STANDIN_TEST(test_many_stubborn),
        STANDIN_TEST(test_expired_token), STANDIN_TEST(test_expired_token_of_an_old_server),
        STANDIN_TEST(test_dead_server),   STANDIN_TEST(test_dying_server),
        STANDIN_TEST(test_no_list),       STANDIN_TEST(test_stop),
        STANDIN_TEST(test_interrupt),     STANDIN_TEST(test_named),
        STANDIN_TEST(test_look),          STANDIN_TEST(test_list_status),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
