#include "provisioner/cluster_state.h"
#include "tests/unit/provisioner/standin.h"

#include "state/json_text.h"

#include <openssl/evp.h>

/* A stand-in that keeps the Secret and the ConfigMap as kube-apiserver does: resourceVersion, 409s,
 * preconditions, merge patches. */
struct world {
    json_t *secret, *config_map;
    int version;
    int thieves; /* so often somebody else changes the Secret right after it was looked at */
    int writes;
    bool told_data; /* a request that asked for data (not metadata alone) was answered */
    bool forbidden; /* writes */
};

static void world_free(struct world *w)
{
    json_decref(w->secret);
    json_decref(w->config_map);
}

static void touch(struct world *w, json_t *o)
{
    char text[32];
    snprintf(text, sizeof(text), "%d", ++w->version);
    json_object_set_new(json_object_get(o, "metadata"), "resourceVersion", json_string(text));
}

static const char *version_of(const json_t *o, const char *part)
{
    return json_string_value(json_object_get(json_object_get(o, part), "resourceVersion"));
}

static void tell_object(struct world *w, const struct asked *q, const json_t *o, struct buf *out)
{
    bool metadata = strstr(q->head, "as=PartialObjectMetadata");
    json_t *view CLEANUP(cleanup_json) = json_deep_copy(o);
    if (metadata)
        json_object_del(view, "data");
    else
        w->told_data = true;
    char *text = json_dumps(view, JSON_COMPACT);
    standin_answer(out, 200, NULL, text);
    free(text);
}

static void serve(void *ctx, const struct asked *q, struct buf *out)
{
    struct world *w = ctx;
    bool secret = strstr(q->path, "/namespaces/kube-system/secrets");
    bool post = str_eq(q->method, "POST");
    json_t **o = secret ? &w->secret : &w->config_map;
    json_t *body CLEANUP(cleanup_json) = json_loads(q->body, 0, NULL);
    if (!str_eq(q->method, "GET") && w->forbidden) {
        standin_status(out, 403, NULL, "Forbidden", "not allowed", "secrets", "", NULL);
    } else if (post && *o) {
        standin_status(out, 409, NULL, "AlreadyExists", "there", "secrets", "", NULL);
    } else if (post) {
        w->writes++;
        *o = json_incref(body);
        touch(w, *o);
        tell_object(w, q, *o, out);
    } else if (!*o) {
        standin_status(out, 404, NULL, "NotFound", "not found", "secrets", "", NULL);
    } else if (str_eq(q->method, "GET")) {
        tell_object(w, q, *o, out);
        if (secret && w->thieves-- > 0)
            touch(w, *o);
    } else if (str_eq(q->method, "PATCH")) {
        if (!str_eq(version_of(body, "metadata"), version_of(*o, "metadata"))) {
            standin_status(out, 409, NULL, "Conflict", "changed", "secrets", "", NULL);
            return;
        }
        w->writes++;
        json_object_update(json_object_get(*o, "data"), json_object_get(body, "data"));
        json_object_set(json_object_get(*o, "metadata"), "annotations",
                        json_object_get(json_object_get(body, "metadata"), "annotations"));
        touch(w, *o);
        tell_object(w, q, *o, out);
    } else if (!str_eq(version_of(body, "preconditions"), version_of(*o, "metadata"))) {
        standin_status(out, 409, NULL, "Conflict", "changed", "configmaps", "", NULL);
    } else {
        json_decref(*o);
        *o = NULL;
        standin_answer(out, 200, NULL, "{}");
    }
}

static json_t *object(struct world *w, const char *text)
{
    json_t *o = json_pack("{s:{s:s, s:s}, s:{s:s}}", "metadata", "name", "full-cluster-state",
                          "uid", "u", "data", "full-cluster-state", text);
    touch(w, o);
    return o;
}

#define WORLD(...)                                                                                 \
    struct world w CLEANUP(world_free) = {__VA_ARGS__};                                            \
    struct standin s CLEANUP(standin_stop) = {.fn = serve, .ctx = &w};                             \
    struct error err CLEANUP(error_clear) = {0};                                                   \
    standin_start(&s, *state, "kube-apiserver on a")

static const char *done;
static const char text[] = "{\"desiredState\": {}}";
#define PUT() cluster_state_put(&s.server, text, strlen(text), &done, &err)

static void holds(const struct world *w, const char *want)
{
    const char *data = json_string_value(
        json_object_get(json_object_get(w->secret, "data"), "full-cluster-state"));
    unsigned char got[256] = {0};
    assert_non_null(data);
    assert_true(EVP_DecodeBlock(got, (const unsigned char *)data, (int)strlen(data)) > 0);
    assert_string_equal((char *)got, want);
}

static void test_none_is_made(void **state)
{
    WORLD(.writes = 0);
    assert_int_equal(PUT(), 0);
    assert_null(done);
    assert_int_equal(w.writes, 0);
}

static void test_secret_is_updated_once(void **state)
{
    WORLD(.writes = 0);
    w.secret = object(&w, "b2xk");
    assert_int_equal(PUT(), 0);
    assert_non_null(done);
    holds(&w, text);
    assert_int_equal(w.writes, 1);
    assert_int_equal(PUT(), 0);
    assert_null(done);
    assert_int_equal(w.writes, 1);
    /* What was there is nobody's to see. */
    assert_false(w.told_data);
}

static void test_race(void **state)
{
    WORLD(.thieves = 2);
    w.secret = object(&w, "b2xk");
    assert_int_equal(PUT(), 0);
    holds(&w, text);
    assert_int_equal(w.writes, 1);
    w.thieves = 100;
    assert_int_equal(cluster_state_put(&s.server, "other", 5, &done, &err), -1);
    holds(&w, text);
}

static void test_config_map_becomes_a_secret(void **state)
{
    WORLD(.writes = 0);
    w.config_map = object(&w, "old");
    assert_int_equal(PUT(), 0);
    assert_non_null(strstr(done, "in the clear"));
    holds(&w, text);
    assert_null(w.config_map);
    assert_false(w.told_data);
    /* A killed run left both. */
    w.config_map = object(&w, "old");
    assert_int_equal(PUT(), 0);
    assert_null(w.config_map);
    assert_int_equal(w.writes, 1);
}

static void test_forbidden(void **state)
{
    WORLD(.forbidden = true);
    w.config_map = object(&w, "old");
    assert_int_equal(PUT(), -1);
    assert_non_null(strstr(err.message, "full-cluster-state"));
    /* The only copy stays. */
    assert_non_null(w.config_map);
}

static void test_read(void **state)
{
    WORLD(.writes = 0);
    struct cluster_state_copy c CLEANUP(cluster_state_copy_free) = {0};
    assert_int_equal(cluster_state_read(&s.server, &c, &err), 0);
    assert_null(c.kind);
    w.config_map = object(&w, "a text");
    assert_int_equal(cluster_state_read(&s.server, &c, &err), 0);
    assert_string_equal(c.kind, "ConfigMap");
    assert_string_equal(buf_str(&c.text), "a text");
    cluster_state_copy_free(&c);
    static const char *const ends[][2] = {{"YQ==", "a"}, {"YWI=", "ab"}, {"YWJj", "abc"}};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        json_decref(w.secret);
        w.secret = object(&w, ends[i][0]);
        assert_int_equal(cluster_state_read(&s.server, &c, &err), 0);
        assert_string_equal(c.kind, "Secret");
        assert_int_equal(c.text.len, strlen(ends[i][1]));
        assert_string_equal(buf_str(&c.text), ends[i][1]);
        cluster_state_copy_free(&c);
    }
    json_decref(w.secret);
    w.secret = object(&w, "***");
    assert_int_equal(cluster_state_read(&s.server, &c, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STANDIN_TEST(test_none_is_made), STANDIN_TEST(test_secret_is_updated_once),
        STANDIN_TEST(test_race),         STANDIN_TEST(test_config_map_becomes_a_secret),
        STANDIN_TEST(test_forbidden),    STANDIN_TEST(test_read),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
