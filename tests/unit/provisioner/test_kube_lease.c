#include "provisioner/kube/lease.h"
#include "tests/unit/provisioner/standin.h"

#include "state/json_text.h"

/* A stand-in that keeps one object as kube-apiserver does: resourceVersion, 409s, preconditions. */
struct world {
    int leases; /* 0: v1, 1: v1beta1 only, 2: none */
    json_t *lock;
    int version;
    int uid;
    int thieves; /* so often somebody else changes it right after it was looked at */
    bool thief_removes, thief_holds;
    char posted[2048];
};

static void put(struct world *w, json_t *lock)
{
    char text[32];
    json_t *meta = json_object_get(lock, "metadata");
    snprintf(text, sizeof(text), "%d", ++w->version);
    json_object_set_new(meta, "resourceVersion", json_string(text));
    snprintf(text, sizeof(text), "uid-%d", w->uid);
    json_object_set_new(meta, "uid", json_string(text));
    if (w->lock != lock)
        json_decref(w->lock);
    w->lock = lock;
}

static const char *member(const json_t *j, const char *part, const char *name)
{
    return json_string_value(json_object_get(json_object_get(j, part), name));
}

static void steal(struct world *w)
{
    if (w->thieves-- <= 0)
        return;
    if (w->thief_removes) {
        json_decref(w->lock);
        w->lock = NULL;
        return;
    }
    json_t *lock =
        w->lock ? w->lock : json_pack("{s:{s:s}, s:{}}", "metadata", "name", "encrypt", "spec");
    if (!w->lock)
        w->uid++;
    if (w->thief_holds)
        json_object_set_new(json_object_get(lock, "spec"), "holderIdentity", json_string("thief"));
    put(w, lock);
}

static void answer_lock(struct world *w, struct buf *out, int status)
{
    char *text = json_dumps(w->lock, JSON_COMPACT);
    standin_answer(out, status, NULL, text);
    free(text);
}

static bool stale(const struct world *w, const char *version, const char *uid)
{
    return (version && !str_eq(version, member(w->lock, "metadata", "resourceVersion"))) ||
           (uid && !str_eq(uid, member(w->lock, "metadata", "uid")));
}

static void on_lock(struct world *w, const struct asked *q, struct buf *out)
{
    json_t *body CLEANUP(cleanup_json) = json_loads(q->body, 0, NULL);
    bool post = str_eq(q->method, "POST");
    if (post && w->lock) {
        standin_status(out, 409, NULL, "AlreadyExists", "there", "leases", "encrypt", NULL);
    } else if (post) {
        snprintf(w->posted, sizeof(w->posted), "%s", q->body);
        w->uid++;
        put(w, json_incref(body));
        answer_lock(w, out, 201);
    } else if (!w->lock) {
        standin_status(out, 404, NULL, "NotFound", "not found", "leases", "encrypt", NULL);
        steal(w);
    } else if (str_eq(q->method, "GET")) {
        answer_lock(w, out, 200);
        steal(w);
    } else if (str_eq(q->method, "PUT")) {
        if (stale(w, member(body, "metadata", "resourceVersion"),
                  member(body, "metadata", "uid"))) {
            standin_status(out, 409, NULL, "Conflict", "changed", "leases", "encrypt", NULL);
            return;
        }
        put(w, json_incref(body));
        answer_lock(w, out, 200);
    } else if (stale(w, member(body, "preconditions", "resourceVersion"),
                     member(body, "preconditions", "uid"))) {
        standin_status(out, 409, NULL, "Conflict", "changed", "leases", "encrypt", NULL);
    } else {
        json_decref(w->lock);
        w->lock = NULL;
        standin_answer(out, 200, NULL, "{}");
    }
}

static void serve(void *ctx, const struct asked *q, struct buf *out)
{
    struct world *w = ctx;
    static const char *const groups[] = {"/apis/coordination.k8s.io/v1",
                                         "/apis/coordination.k8s.io/v1beta1"};
    for (int i = 0; i < 2; i++) {
        if (!str_eq(q->path, groups[i]))
            continue;
        if (w->leases <= i)
            standin_answer(out, 200, NULL, "{\"kind\":\"APIResourceList\"}");
        else
            standin_answer(out, 404, NULL, "404 page not found");
        return;
    }
    on_lock(w, q, out);
}

static void world_free(struct world *w)
{
    json_decref(w->lock);
}

#define WORLD(...)                                                                                 \
    struct world w CLEANUP(world_free) = {__VA_ARGS__};                                            \
    struct standin s CLEANUP(standin_stop) = {.fn = serve, .ctx = &w};                             \
    struct error err CLEANUP(error_clear) = {0};                                                   \
    bool gone = false;                                                                             \
    (void)gone;                                                                                    \
    standin_start(&s, *state, "kube-apiserver on a")

static void test_take_check_release(void **state)
{
    WORLD(.leases = 0);
    assert_int_equal(lease_check(&s.server, "me", &gone, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_true(gone);
    assert_int_equal(lease_take(&s.server, "me", "user@host", false, &err), 0);
    assert_string_equal(member(w.lock, "spec", "holderIdentity"), "me");
    assert_string_equal(
        json_string_value(json_object_get(
            json_object_get(json_object_get(w.lock, "metadata"), "annotations"), "encrypt/who")),
        "user@host");
    /* MicroTime: 2006-01-02T15:04:05.000000Z */
    assert_int_equal(strlen(member(w.lock, "spec", "acquireTime")), 27);
    assert_int_equal(member(w.lock, "spec", "acquireTime")[19], '.');
    assert_non_null(
        strstr(w.posted, "\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\""));
    assert_int_equal(lease_check(&s.server, "me", &gone, &err), 0);
    /* A crashed run of ours. */
    assert_int_equal(lease_take(&s.server, "me", "user@host", false, &err), 0);
    assert_int_equal(lease_release(&s.server, "me", &err), 0);
    assert_null(w.lock);
    assert_int_equal(lease_release(&s.server, "me", &err), 0);
}

static void test_held(void **state)
{
    WORLD(.leases = 0);
    assert_int_equal(lease_take(&s.server, "other", "eve@there", false, &err), 0);
    assert_int_equal(lease_take(&s.server, "me", "user@host", false, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.message, "held by eve@there (other) since 2"));
    assert_non_null(strstr(err.next, "--take-over"));
    assert_int_equal(lease_release(&s.server, "me", &err), -1);
    assert_non_null(w.lock);
    assert_int_equal(lease_take(&s.server, "me", "user@host", true, &err), 0);
    assert_string_equal(member(w.lock, "spec", "holderIdentity"), "me");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(w.lock, "spec"), "leaseTransitions")),
        2);
    assert_int_equal(lease_check(&s.server, "other", &gone, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_false(gone);
    assert_non_null(strstr(err.message, "user@host (me)"));
}

static void test_look(void **state)
{
    WORLD(.leases = 0);
    struct lease_seen seen CLEANUP(lease_seen_free) = {0};
    assert_int_equal(lease_look(&s.server, &seen, &err), 0);
    assert_null(seen.owner);
    assert_int_equal(lease_take(&s.server, "other", "eve@there", false, &err), 0);
    assert_int_equal(lease_look(&s.server, &seen, &err), 0);
    assert_string_equal(seen.owner, "other");
    assert_string_equal(seen.who, "eve@there");
    assert_int_equal(strlen(seen.since), 27);
}

/* Between look and create, and between look and update, somebody else is faster. */
static void test_races(void **state)
{
    WORLD(.leases = 0, .thieves = 0);
    assert_int_equal(lease_take(&s.server, "me", "u", false, &err), 0);
    w.thieves = 3;
    assert_int_equal(lease_take(&s.server, "me", "u", false, &err), 0);
    w.thieves = 1;
    w.thief_holds = true;
    assert_int_equal(lease_take(&s.server, "me", "u", false, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_string_equal(member(w.lock, "spec", "holderIdentity"), "thief");
    w.thieves = 2;
    assert_int_equal(lease_take(&s.server, "me", "u", true, &err), 0);
    assert_string_equal(member(w.lock, "spec", "holderIdentity"), "me");
    w.thieves = 1;
    assert_int_equal(lease_release(&s.server, "me", &err), -1);
    assert_non_null(w.lock);
    w.thief_holds = false;
    assert_int_equal(lease_take(&s.server, "me", "u", true, &err), 0);
    w.thieves = 2;
    assert_int_equal(lease_release(&s.server, "me", &err), 0);
    assert_null(w.lock);
    assert_int_equal(lease_take(&s.server, "me", "u", false, &err), 0);
    w.thieves = 1;
    w.thief_removes = true;
    assert_int_equal(lease_take(&s.server, "me", "u", false, &err), 0);
    assert_string_equal(member(w.lock, "spec", "holderIdentity"), "me");
    w.thieves = 100;
    w.thief_removes = false;
    assert_int_equal(lease_take(&s.server, "me", "u", false, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
}

static void test_two_create(void **state)
{
    WORLD(.leases = 0);
    /* A look that finds nothing, and then the other's is there. */
    w.thieves = 1;
    w.thief_holds = true;
    assert_int_equal(lease_take(&s.server, "b", "u", false, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    json_object_set_new(json_object_get(w.lock, "spec"), "holderIdentity", json_string(""));
    assert_int_equal(lease_take(&s.server, "b", "u", false, &err), 0);
    assert_string_equal(member(w.lock, "spec", "holderIdentity"), "b");
}

static void test_old_servers(void **state)
{
    WORLD(.leases = 1);
    assert_int_equal(lease_take(&s.server, "me", "u", false, &err), 0);
    assert_non_null(strstr(w.posted, "\"coordination.k8s.io/v1beta1\""));
    assert_int_equal(lease_check(&s.server, "me", &gone, &err), 0);
    assert_int_equal(lease_release(&s.server, "me", &err), 0);
    w.leases = 2;
    assert_int_equal(lease_take(&s.server, "me", "u", false, &err), 0);
    assert_non_null(strstr(w.posted, "\"ConfigMap\""));
    assert_string_equal(member(w.lock, "data", "holderIdentity"), "me");
    assert_int_equal(lease_take(&s.server, "other", "u", false, &err), -1);
    assert_non_null(strstr(err.message, "ConfigMap kube-system/encrypt"));
    assert_int_equal(lease_check(&s.server, "me", &gone, &err), 0);
    assert_int_equal(lease_release(&s.server, "me", &err), 0);
    assert_null(w.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STANDIN_TEST(test_take_check_release),
        STANDIN_TEST(test_held),
        STANDIN_TEST(test_look),
        STANDIN_TEST(test_races),
        STANDIN_TEST(test_two_create),
        STANDIN_TEST(test_old_servers),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
