#include "provisioner/kube/kube.h"
#include "tests/unit/provisioner/standin.h"

/* What the stand-in says, one answer after the other: status, body; the last one stays. */
struct script {
    struct {
        int status;
        const char *headers, *body;
    } answers[8];
    size_t next;
    char last[4096]; /* "METHOD path" of the last question */
    char head[4096];
    char body[1024];
};

static void from_script(void *ctx, const struct asked *q, struct buf *out)
{
    struct script *s = ctx;
    snprintf(s->last, sizeof(s->last), "%s %s", q->method, q->path);
    snprintf(s->head, sizeof(s->head), "%s", q->head);
    snprintf(s->body, sizeof(s->body), "%s", q->body);
    if (s->answers[s->next].status)
        standin_answer(out, s->answers[s->next].status, s->answers[s->next].headers,
                       s->answers[s->next].body);
    if (s->next + 1 < ARRAY_LEN(s->answers) && s->answers[s->next + 1].body)
        s->next++;
}

#define SCRIPT(...)                                                                                \
    struct script script = {.answers = {__VA_ARGS__}};                                             \
    struct standin s CLEANUP(standin_stop) = {.fn = from_script, .ctx = &script};                  \
    struct error err CLEANUP(error_clear) = {0};                                                   \
    standin_start(&s, *state, "kube-apiserver on a")

static void test_ready(void **state)
{
    SCRIPT({200, NULL, "ok"});
    bool ready = false;
    char *why CLEANUP(cleanup_mem) = NULL;
    assert_int_equal(kube_ready(&s.server, &ready, &why, &err), 0);
    assert_true(ready);
    assert_null(why);
    assert_string_equal(script.last, "GET /readyz");
}

static void test_not_ready(void **state)
{
    SCRIPT(
        {500, NULL, "[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/x failed: y\n"},
        {403, NULL, "{}"});
    bool ready = true;
    char *why CLEANUP(cleanup_mem) = NULL;
    assert_int_equal(kube_ready(&s.server, &ready, &why, &err), 0);
    assert_false(ready);
    assert_string_equal(why, "/readyz answered 500: failed: etcd, poststarthook/x");
    ready = true;
    assert_int_equal(kube_ready(&s.server, &ready, NULL, &err), 0);
    assert_false(ready);
}

static void test_old_ready(void **state)
{
    SCRIPT({404, NULL, "404 page not found"}, {200, NULL, "ok"});
    bool ready = false;
    assert_int_equal(kube_ready(&s.server, &ready, NULL, &err), 0);
    assert_true(ready);
    assert_string_equal(script.last, "GET /healthz");
}

static void test_unreachable(void **state)
{
    SCRIPT({0, NULL, ""});
    bool ready = true;
    char *why CLEANUP(cleanup_mem) = NULL;
    assert_int_equal(kube_ready(&s.server, &ready, &why, &err), 0);
    assert_false(ready);
    assert_non_null(why);
    standin_stop(&s);
}

/* A request that fails in the very turn in which it was started. */
static void test_no_socket(void **state)
{
    struct http_server server = {.loop = *state,
                                 .what = mem_strdup("kube-apiserver on a"),
                                 .url = mem_strdup("http://kubernetes"),
                                 .unix_path = mem_strdup("/nonexistent/socket")};
    struct error err CLEANUP(error_clear) = {0};
    int64_t began = loop_now();
    bool ready = true;
    assert_int_equal(kube_ready(&server, &ready, NULL, &err), 0);
    assert_false(ready);
    assert_true(loop_now() - began < 1000);
    http_server_free(&server);
}

static void test_version(void **state)
{
    SCRIPT({503, "Retry-After: 0\r\n", "{}"},
           {200, NULL, "{\"major\":\"1\",\"minor\":\"20+\",\"gitVersion\":\"v1.20.2-rancher1\"}"},
           {200, NULL, "{\"major\":\"1\",\"minor\":\"20+\",\"gitVersion\":\"\"}"},
           {200, NULL, "{\"gitVersion\":\"none\"}"}, {200, NULL, "<html>"});
    char *v = NULL;
    assert_int_equal(kube_server_version(&s.server, &v, &err), 0);
    assert_string_equal(v, "v1.20.2-rancher1");
    mem_free(v);
    assert_int_equal(kube_server_version(&s.server, &v, &err), 0);
    assert_string_equal(v, "v1.20");
    mem_free(v);
    assert_int_equal(kube_server_version(&s.server, &v, &err), -1);
    assert_int_equal(kube_server_version(&s.server, &v, &err), -1);
    assert_string_equal(err.message,
                        "kube-apiserver on a: GET /version: the answer is no JSON object");
}

static void test_addresses(void **state)
{
    SCRIPT({200, NULL,
            "{\"kind\":\"Endpoints\",\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"},"
            "{\"ip\":\"10.0.0.2\"}]},{\"addresses\":[{\"ip\":\"fd00::3\"}]}]}"},
           {404, NULL, "{}"}, {403, NULL, "{\"kind\":\"Status\",\"message\":\"no\"}"});
    char **list = NULL;
    assert_int_equal(kube_apiserver_addresses(&s.server, &list, &err), 0);
    assert_string_equal(list[0], "10.0.0.1");
    assert_string_equal(list[1], "10.0.0.2");
    assert_string_equal(list[2], "fd00::3");
    assert_null(list[3]);
    for (size_t i = 0; list[i]; i++)
        mem_free(list[i]);
    mem_free(list);
    assert_int_equal(kube_apiserver_addresses(&s.server, &list, &err), 0);
    assert_null(list[0]);
    mem_free(list);
    assert_int_equal(kube_apiserver_addresses(&s.server, &list, &err), -1);
    assert_non_null(strstr(err.message, "answered 403: no"));
}

#define LIST(rv, token, items)                                                                     \
    "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{"     \
    "\"resourceVersion\":\"" rv "\",\"continue\":\"" token "\"},\"items\":" items "}"
#define ITEM(ns, name) "{\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name "\"}}"

static void test_count(void **state)
{
    SCRIPT({200, NULL, LIST("77", "a b+/=", "[" ITEM("x", "1") "," ITEM("x", "2") "]")},
           {410, NULL, "{\"kind\":\"Status\",\"reason\":\"Expired\"}"},
           {200, NULL, LIST("88", "next", "[" ITEM("x", "1") "]")},
           {200, NULL, LIST("88", "", "[" ITEM("x", "2") "]")});
    size_t count = 0;
    int64_t revision = 0;
    const struct resource *secrets = resource_find("secrets");
    assert_int_equal(kube_count(&s.server, secrets, &count, &revision, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(revision, 88);
    assert_string_equal(script.last, "GET /api/v1/secrets?limit=500&continue=next");
    assert_non_null(strstr(script.head, "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"));
    assert_int_equal(s.asked, 4);
}

static void test_count_escapes_and_empty(void **state)
{
    SCRIPT({200, NULL, LIST("77", "a b+/=", "[]")}, {200, NULL, LIST("77", "", "null")});
    size_t count = 1;
    int64_t revision = 0;
    assert_int_equal(kube_count(&s.server, resource_find("secrets"), &count, &revision, &err), 0);
    assert_int_equal(count, 0);
    assert_string_equal(script.last, "GET /api/v1/secrets?limit=500&continue=a%20b%2B%2F%3D");
}

static void strings_free(char ***list)
{
    for (size_t i = 0; *list && (*list)[i]; i++)
        mem_free((*list)[i]);
    mem_free(*list);
}

#define BARE                                                                                       \
    "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1beta1\",\"items\":["   \
    "{\"metadata\":{\"name\":\"a\",\"namespace\":\"x\"}}]}"
#define ROW(ns, name, version)                                                                     \
    "{\"cells\":[\"" name                                                                          \
    "\",\"Opaque\",1,\"3d\"],\"object\":{\"kind\":\"PartialObjectMetadata\","                      \
    "\"apiVersion\":\"meta.k8s.io/v1beta1\",\"metadata\":{\"name\":\"" name                        \
    "\",\"namespace\":\"" ns "\",\"resourceVersion\":\"" version "\"}}}"
#define TABLE(meta, rows)                                                                          \
    "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1beta1\",\"metadata\":{" meta               \
    "},\"columnDefinitions\":[],\"rows\":[" rows "]}"

/* Before 1.15 such a list has neither a revision nor a token: its first page is not everything. */
static void test_lists_before_1_15(void **state)
{
    SCRIPT({200, NULL, BARE},
           {200, NULL, TABLE("\"resourceVersion\":\"77\",\"continue\":\"t\"", ROW("x", "b", "5"))},
           {200, NULL, TABLE("\"resourceVersion\":\"77\"", ROW("x", "a", "6"))});
    char **list CLEANUP(strings_free) = NULL;
    size_t count = 0;
    int64_t revision = 0;
    if (kube_versions(&s.server, resource_find("secrets"), &list, &count, &revision, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(count, 2);
    assert_int_equal(revision, 77);
    assert_string_equal(list[0], "x/a 6");
    assert_string_equal(list[1], "x/b 5");
    assert_string_equal(script.last,
                        "GET /api/v1/secrets?limit=500&includeObject=Metadata&continue=t");
    assert_non_null(strstr(script.head, "as=Table;g=meta.k8s.io;v=v1,"));
    assert_non_null(strstr(script.head, "as=Table;g=meta.k8s.io;v=v1beta1"));
    assert_int_equal(s.asked, 3);
}

/* Nor is what tells no revision either way. */
static void test_a_list_without_revision_is_none(void **state)
{
    SCRIPT({200, NULL, BARE}, {200, NULL, TABLE("", ROW("x", "a", "6"))});
    size_t count = 0;
    int64_t revision = 0;
    assert_int_equal(kube_count(&s.server, resource_find("secrets"), &count, &revision, &err), -1);
    assert_non_null(strstr(err.message, "no resourceVersion"));
}

/* An answer that holds whole objects is not taken, nor told. */
static void test_count_refuses_objects(void **state)
{
    SCRIPT({200, NULL,
            "{\"kind\":\"SecretList\",\"items\":[{\"metadata\":{\"name\":\"a\"},\"data\":{\"p\":"
            "\"c2VzYW1l\"}}]}"},
           {418, NULL,
            "{\"kind\":\"Secret\",\"message\":\"c2VzYW1l\",\"data\":{\"p\":\"c2VzYW1l\"}}"});
    size_t count = 0;
    int64_t revision = 0;
    assert_int_equal(kube_count(&s.server, resource_find("secrets"), &count, &revision, &err), -1);
    assert_null(strstr(err.message, "c2VzYW1l"));
    assert_int_equal(kube_count(&s.server, resource_find("secrets"), &count, &revision, &err), -1);
    assert_non_null(strstr(err.message, "answered 418"));
    assert_null(strstr(err.message, "c2VzYW1l"));
}

static void test_patch(void **state)
{
    SCRIPT({200, NULL, "{}"}, {404, NULL, "{}"});
    long status = 0;
    const struct resource *secrets = resource_find("secrets");
    assert_int_equal(kube_patch_empty(&s.server, secrets, "a b", "c/d", &status, &err), 0);
    assert_int_equal(status, 200);
    assert_string_equal(script.last, "PATCH /api/v1/namespaces/a%20b/secrets/c%2Fd");
    assert_string_equal(script.body, "{}");
    assert_non_null(strstr(script.head, "Content-Type: application/merge-patch+json"));
    assert_non_null(strstr(script.head, "as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"));
    assert_non_null(strstr(script.head, "as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1"));
    assert_int_equal(kube_patch_empty(&s.server, secrets, "a", "b", &status, &err), 0);
    assert_int_equal(status, 404);
    assert_int_equal(
        kube_patch_empty(&s.server, resource_find("namespaces"), NULL, "b", &status, &err), 0);
    assert_string_equal(script.last, "PATCH /api/v1/namespaces/b");
}

static void test_resources(void **state)
{
    (void)state;
    assert_null(resource_find("nothing.example.com"));
    assert_null(resource_find("*.*"));
    assert_string_equal(resource_find("secrets")->etcd_dir, "secrets");
    assert_string_equal(resource_find("services")->etcd_dir, "services/specs");
    assert_string_equal(resource_find("endpoints")->etcd_dir, "services/endpoints");
    assert_string_equal(resource_find("nodes")->etcd_dir, "minions");
    assert_string_equal(resource_find("ingresses.networking.k8s.io")->etcd_dir, "ingress");
    assert_string_equal(resource_find("replicationcontrollers")->etcd_dir, "controllers");
    assert_string_equal(resource_find("deployments.apps")->api, "/apis/apps/v1");
    assert_false(resource_find("nodes")->namespaced);
    assert_true(resource_find("configmaps")->namespaced);
}

/* Refused before anything is changed: names would come with what is in the secrets. */
static void test_a_server_without_lists_of_metadata_is_refused(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(kube_check_lists("v1.36.2", "a", &err), 0);
    assert_int_equal(kube_check_lists("v1.10.0+b81c8f8", "a", &err), 0);
    assert_int_equal(kube_check_lists("v1.9.1+a0ce1bc657", "a", &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.next, "OpenShift 3.10"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_without_lists_of_metadata_is_refused),
        STANDIN_TEST(test_ready),
        STANDIN_TEST(test_not_ready),
        STANDIN_TEST(test_old_ready),
        STANDIN_TEST(test_unreachable),
        STANDIN_TEST(test_no_socket),
        STANDIN_TEST(test_version),
        STANDIN_TEST(test_addresses),
        STANDIN_TEST(test_count),
        STANDIN_TEST(test_count_escapes_and_empty),
        STANDIN_TEST(test_lists_before_1_15),
        STANDIN_TEST(test_a_list_without_revision_is_none),
        STANDIN_TEST(test_count_refuses_objects),
        STANDIN_TEST(test_patch),
        cmocka_unit_test(test_resources),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
