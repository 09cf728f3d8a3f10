#include "provisioner/docker/binds.h"
#include "provisioner/kms.h"
#include "provisioner/kms_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void an_endpoint_is_read_as_kube_apiserver_reads_it(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"unix:///run/kms/kms.sock", "/run/kms/kms.sock"},
        {"unix:////run//kms/./kms.sock", "/run/kms/kms.sock"},
        {"unix:///@kms", "@kms"},
        {"unix:///a:b", "/a:b"},
        {"unix://run/kms.sock", NULL},
        {"unix://@kms", NULL},
        {"unix:///", NULL},
        {"unix://", NULL},
        {"unix:/run/kms.sock", NULL},
        {"/run/kms.sock", NULL},
        {"tcp:///run/kms.sock", NULL},
        {"unix:///run/%6bms.sock", NULL},
        {"unix:///run/kms.sock?a", NULL},
        {"unix:///run/kms.sock#a", NULL},
        {"", NULL},
        {NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *path CLEANUP(cleanup_mem) = kms_socket_path(cases[i][0]);
        assert_true(str_eq(path, cases[i][1]));
    }
}

static void only_binds_that_a_socket_needs_are_added(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct cluster *cluster CLEANUP(cleanup_cluster) = NULL;
    static const char yml[] =
        "nodes: [{address: a, role: [controlplane]}]\n"
        "services: {kube-api: {extra_binds: ['/logs:/logs', '/run/kms:/kms', '/b:/kms/deep:ro',"
        " '/run:/@kms']}}\n";
    static const char text[] =
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
        "- resources: [secrets]\n  providers:\n"
        "  - kms: {name: a, endpoint: 'unix:///kms/deep/a.sock'}\n"
        "  - kms: {name: b, endpoint: 'unix:///kms/b.sock'}\n"
        "  - kms: {name: c, endpoint: 'unix:///elsewhere/c.sock'}\n"
        "  - kms: {name: e, endpoint: 'unix:///@kms'}\n"
        "- resources: [configmaps]\n  providers:\n"
        "  - kms: {name: d, endpoint: 'unix:///kms/b.sock'}\n  - identity: {}\n";
    assert_int_equal(cluster_parse(yml, strlen(yml), "cluster.yml", &cluster, &err), 0);
    assert_int_equal(
        encryption_config_read(text, strlen(text), "test", ENCRYPTION_LENIENT, &c, &err), 0);
    char **binds CLEANUP(cleanup_mem) = kms_binds(cluster, c);
    assert_non_null(binds);
    assert_string_equal(binds[0], "/b:/kms/deep:ro");
    assert_string_equal(binds[1], "/run/kms:/kms");
    assert_null(binds[2]);
    assert_null(kms_binds(cluster, NULL));
    unsigned char secret[32] = {1};
    char name[] = "key";
    struct encryption_key key = {name, secret, sizeof(secret)};
    struct encryption_config *plain CLEANUP(cleanup_encryption_config) =
        encryption_config_managed(PROVIDER_AESCBC, NULL, &key);
    assert_null(kms_binds(cluster, plain));
}

/* --- kms_check() of what is in use, on a node whose container has its own /run/kms --- */

static int find_socket(struct node *n, const char *path, char *const *binds,
                       struct node_socket *out, struct error *err)
{
    const char *bind = bind_holding(binds, path);
    char *container CLEANUP(cleanup_mem) = bind ? bind_container(bind) : NULL;
    char *host CLEANUP(cleanup_mem) = bind ? bind_host(bind) : NULL;
    bool mounted = path_is_below(path, "/run/kms") || path_is_below(path, "/etc/kubernetes");
    (void)n;
    if (str_eq(container, "/run/kms") && !str_eq(host, "/run/kms"))
        return error_set(err, RESULT_REFUSED, "another mount at /run/kms");
    if (bind)
        out->host_path = mem_printf("%s%s", host, path + strlen(container));
    else if (mounted)
        out->host_path = mem_strdup(path);
    else
        return error_set(err, RESULT_REFUSED, "no mount that holds it");
    return 0;
}

static void note_warning(void *ctx, const struct encrypt_event *e)
{
    assert_int_equal(e->kind, ENCRYPT_WARNING);
    buf_printf(ctx, "%s\n", e->text);
}

static struct encryption_config *config_of(const char *provider)
{
    struct encryption_config *c = NULL;
    struct error err CLEANUP(error_clear) = {0};
    char *text CLEANUP(cleanup_mem) =
        mem_printf("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n"
                   "resources:\n- resources: [secrets]\n  providers:\n  - %s\n  - identity: {}\n",
                   provider);
    assert_int_equal(encryption_config_read(text, strlen(text), "c", ENCRYPTION_LENIENT, &c, &err),
                     0);
    return c;
}

static void binds_of_a_kms_in_use_are_looked_at_before_anything_is_begun(void **state)
{
    (void)state;
#define KMS(name, path) "kms: {name: " name ", endpoint: 'unix://" path "'}"
#define LOCAL "secretbox: {keys: [{name: k, secret: QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=}]}"
#define LONG "/longer-than-the-path-of-a-socket-can-be-longer-than-the-path-of-a-socket-can-be"
    static const struct {
        const char *binds, *from, *to;
        const char *refused, *warned; /* NULL: not */
    } table[] = {
        {"'/run/kms:/run/kms'", KMS("a", "/run/kms/s"), LOCAL, NULL, NULL},
        {"'/run/kms:/run/kms'", KMS("a", "/run/kms/s"), KMS("a", "/run/kms/s"), NULL, NULL},
        {"'/other:/run/kms'", KMS("a", "/run/kms/s"), LOCAL,
         "node a: the KMS provider a: another mount", NULL},
        {"'/other:/run/kms'", KMS("a", "/run/kms/s"), KMS("a", "/run/kms/s"), "another mount",
         NULL},
        /* It lies elsewhere then, and is asked there. */
        {"'" LONG LONG ":/run/kms/deep'", KMS("a", "/run/kms/deep/s"), LOCAL, "longer than", NULL},
        {"", KMS("a", "/run/kms/s"), LOCAL, NULL,
         "no extra_binds in c.yml holds /run/kms/s, the socket of the KMS plugin a, which is "
         "needed until this is finished"},
        {"'/run/kms2:/run/kms2'", KMS("a", "/run/kms/s"), KMS("a", "/run/kms/s"), NULL,
         "can't reach it; add it there"},
        {"", KMS("a", "/etc/kubernetes/s"), LOCAL, NULL, NULL},
        {"", KMS("a", "/@s"), LOCAL, NULL, NULL},
        /* What no apiserver reaches now is not made worse. */
        {"", KMS("a", "/gone/s"), LOCAL, NULL, "no extra_binds in c.yml holds /gone/s"},
        {"'/gone:/gone'", KMS("a", "/gone/s"), LOCAL, NULL, NULL},
        {"", LOCAL, LOCAL, NULL, NULL},
    };
    static const struct driver driver = {
        .kind = "none", .needs_state = true, .mounts = true, .find_socket = find_socket};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct buf warned CLEANUP(buf_free) = {0};
        struct cluster *cluster CLEANUP(cleanup_cluster) = NULL;
        struct encryption_config *from CLEANUP(cleanup_encryption_config) =
            config_of(table[i].from);
        struct encryption_config *to CLEANUP(cleanup_encryption_config) = config_of(table[i].to);
        char *yml CLEANUP(cleanup_mem) = mem_printf("nodes: [{address: a, role: [controlplane]}]\n"
                                                    "services: {kube-api: {extra_binds: [%s]}}\n",
                                                    table[i].binds);
        assert_int_equal(cluster_parse(yml, strlen(yml), "c.yml", &cluster, &err), 0);
        const struct encrypt_options options = {
            .config = "c.yml", .event = note_warning, .ctx = &warned};
        struct member m = {.node = {.name = "a", .conf = cluster->nodes, .driver = &driver}};
        struct session s = {.options = &options, .cluster = cluster, .members = &m, .count = 1};
        int rc = kms_check(&s, from, to, &err);
        if (rc != (table[i].refused ? -1 : 0) ||
            (rc &&
             (err.result != RESULT_REFUSED || !strstr(err.message, table[i].refused) || !err.next)))
            fail_msg("row %zu: %s", i, err.message ? err.message : "not refused");
        if ((table[i].warned != NULL) != (warned.len > 0) ||
            (warned.len && (!strstr(buf_str(&warned), table[i].warned) ||
                            strchr(buf_str(&warned), '\n') != warned.data + warned.len - 1)))
            fail_msg("row %zu: %s", i, buf_str(&warned));
    }
}

/* A frame around a message. */
static void frame(struct buf *out, const char *message, size_t len)
{
    const char header[] = {0, (char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};
    buf_add(out, header, sizeof(header));
    buf_add(out, message, len);
}

/* In a block of its very size, so that a sanitizer sees what is read beyond it. */
static int answer(bool v2, const char *body, size_t len, char **about, struct error *err)
{
    char *exact CLEANUP(cleanup_mem) = mem_alloc(len, 1);
    memcpy(exact, body, len);
    return kms_answer_check(v2, exact, len, about, err);
}

static void what_is_asked_is_what_the_protocol_says(void **state)
{
    (void)state;
    struct buf one CLEANUP(buf_free) = {0};
    struct buf two CLEANUP(buf_free) = {0};
    kms_ask(false, &one);
    kms_ask(true, &two);
    assert_int_equal(one.len, 14);
    assert_memory_equal(one.data, "\0\0\0\0\x09\x0a\x07v1beta1", 14);
    assert_int_equal(two.len, 5);
    assert_memory_equal(two.data, "\0\0\0\0\0", 5);
    assert_string_equal(kms_ask_path(false), "/v1beta1.KeyManagementService/Version");
    assert_string_equal(kms_ask_path(true), "/v2.KeyManagementService/Status");
}

#define MESSAGE(text) text, sizeof(text) - 1

static const struct {
    bool v2;
    const char *message;
    size_t len;
    const char *about, *word; /* word: wrong, with it */
} answers[] = {
    {false,
     MESSAGE("\x0a\7v1beta1\x12\4name\x1a\3"
             "1.0"),
     "name 1.0", NULL},
    {false, MESSAGE("\x1a\0\x12\0\x0a\7v1beta1"), " ", NULL},
    /* Other fields, of every kind. */
    {false,
     MESSAGE("\x20\x96\1\x29"
             "12345678\x35"
             "1234\x82\1\2xx\x0a\7v1beta1"),
     " ", NULL},
    {false, MESSAGE("\x0a\2v2"), NULL, "speaks version 'v2' and not 'v1beta1'"},
    {false, MESSAGE("\x0a\6v1beta"), NULL, "speaks version 'v1beta'"},
    {false, MESSAGE("\x0a\4\x1b[2J"), NULL, "speaks version '?[2J'"},
    {false, MESSAGE(""), NULL, "speaks version ''"},
    {true, MESSAGE("\x0a\2v2\x12\2ok\x1a\2k1"), "key id k1", NULL},
    {true, MESSAGE("\x0a\7v2beta1\x12\2ok\x1a\2k1"), "key id k1", NULL},
    {true, MESSAGE("\x0a\2v2\x12\6sealed\x1a\2k1"), NULL, "healthz 'sealed', and not 'ok'"},
    {true, MESSAGE("\x0a\2v2\x1a\2k1"), NULL, "healthz ''"},
    {true, MESSAGE("\x0a\2v2\x12\2ok"), NULL, "no key id"},
    {true, MESSAGE("\x0a\7v1beta1\x12\2ok\x1a\2k1"), NULL, "speaks version 'v1beta1'"},
    /* No protobuf: a length beyond the end, a number without one, kinds and fields that don't
     * exist. */
    {false, MESSAGE("\x0a\x08v1beta1"), NULL, "no VersionResponse"},
    {false, MESSAGE("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\1v1beta1"), NULL,
     "no VersionResponse"},
    {false, MESSAGE("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1v"), NULL,
     "no VersionResponse"},
    {false, MESSAGE("\x0b"), NULL, "no VersionResponse"},
    {false, MESSAGE("\x02\1x"), NULL, "no VersionResponse"},
    {false,
     MESSAGE("\x29"
             "1234567"),
     NULL, "no VersionResponse"},
    {true, MESSAGE("\x80"), NULL, "no StatusResponse"},
};

static void an_answer_counts_only_where_it_says_the_right_thing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct buf body CLEANUP(buf_free) = {0};
        char *about CLEANUP(cleanup_mem) = NULL;
        frame(&body, answers[i].message, answers[i].len);
        int rc = answer(answers[i].v2, body.data, body.len, &about, &err);
        if (!answers[i].word) {
            assert_int_equal(rc, 0);
            assert_string_equal(about, answers[i].about);
            continue;
        }
        assert_int_equal(rc, -1);
        assert_null(about);
        if (!strstr(err.message, answers[i].word))
            fail_msg("%zu: %s", i, err.message);
    }
}

static void a_cut_or_oversized_answer_is_none(void **state)
{
    (void)state;
    struct buf body CLEANUP(buf_free) = {0};
    frame(&body, answers[0].message, answers[0].len);
    for (size_t len = 0; len < body.len; len++) {
        struct error err CLEANUP(error_clear) = {0};
        char *about CLEANUP(cleanup_mem) = NULL;
        assert_int_equal(answer(false, body.data, len, &about, &err), -1);
        assert_non_null(strstr(err.message, len ? "cut off" : "does it speak v1beta1?"));
    }
    static const struct {
        const char *body;
        size_t len;
        const char *word;
    } wrong[] = {
        {MESSAGE("\0\0\0\0\x09\x0a\7v1beta1x"), "goes on after its end"},
        {MESSAGE("\1\0\0\0\x09\x0a\7v1beta1"), "compressed"},
        {MESSAGE("HTTP/1.1 400 Bad Request"), "no gRPC"},
        {MESSAGE("\0\xff\xff\xff\xff\x0a\7v1beta1"), "more than 8192"},
        {MESSAGE("\0\0\0\x20\1\x0a\7v1beta1"), "more than 8192"},
        {MESSAGE("\0\0\0\x20\0\x0a\7v1beta1"), "cut off"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct error err CLEANUP(error_clear) = {0};
        char *about CLEANUP(cleanup_mem) = NULL;
        assert_int_equal(answer(false, wrong[i].body, wrong[i].len, &about, &err), -1);
        assert_non_null(strstr(err.message, wrong[i].word));
    }
    /* As large as one may be: another field beside the version. */
    struct buf large CLEANUP(buf_free) = {0};
    struct buf message CLEANUP(buf_free) = {0};
    buf_add(&message, "\x0a\7v1beta1\x22\xf4\x3f", 12);
    while (message.len < KMS_FRAME_LIMIT)
        buf_adds(&message, "x");
    frame(&large, message.data, message.len);
    struct error err CLEANUP(error_clear) = {0};
    char *about CLEANUP(cleanup_mem) = NULL;
    assert_int_equal(answer(false, large.data, large.len, &about, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_endpoint_is_read_as_kube_apiserver_reads_it),
        cmocka_unit_test(only_binds_that_a_socket_needs_are_added),
        cmocka_unit_test(binds_of_a_kms_in_use_are_looked_at_before_anything_is_begun),
        cmocka_unit_test(what_is_asked_is_what_the_protocol_says),
        cmocka_unit_test(an_answer_counts_only_where_it_says_the_right_thing),
        cmocka_unit_test(a_cut_or_oversized_answer_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
