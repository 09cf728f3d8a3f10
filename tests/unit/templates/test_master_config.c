#include "base/file.h"
#include "base/yaml.h"
#include "templates/encryption_config.h"
#include "templates/master_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATH "/etc/origin/master/encryption-config.yaml"
#define FILE_NAME "/etc/origin/master/master-config.yaml"

static void edit(const char *text, const char *config_path, struct buf *out, bool *changed)
{
    struct error err CLEANUP(error_clear) = {0};
    if (master_config_edit(text, strlen(text), FILE_NAME, config_path, out, changed, &err) != 0)
        fail_msg("%s", err.message);
}

/* Set: these bytes. Set again: none changes. Taken away again: `after`, NULL: the bytes of before.
 */
static void set_and_take(const char *before, const char *expected, const char *after)
{
    struct buf with CLEANUP(buf_free) = {0};
    struct buf again CLEANUP(buf_free) = {0};
    struct buf without CLEANUP(buf_free) = {0};
    bool changed = false;
    edit(before, PATH, &with, &changed);
    assert_string_equal(buf_str(&with), expected);
    assert_true(changed);
    edit(expected, PATH, &again, &changed);
    assert_string_equal(buf_str(&again), expected);
    assert_false(changed);
    edit(expected, NULL, &without, &changed);
    assert_string_equal(buf_str(&without), after ? after : before);
    assert_true(changed);
}

static void test_only_the_flag_changes(void **state)
{
    (void)state;
    set_and_take("a: 1\nkubernetesMasterConfig:\n  apiServerArguments:\n"
                 "    # of the first\n    runtime-config:\n    - x # y\n\n  masterCount: 3\n",
                 "a: 1\nkubernetesMasterConfig:\n  apiServerArguments:\n"
                 "    " MASTER_CONFIG_FLAG ":\n    - " PATH "\n"
                 "    # of the first\n    runtime-config:\n    - x # y\n\n  masterCount: 3\n",
                 NULL);
    /* Items deeper than their keys, CRLF. */
    set_and_take("kubernetesMasterConfig:\r\n    apiServerArguments: # c\r\n"
                 "        runtime-config:\r\n          - x\r\n",
                 "kubernetesMasterConfig:\r\n    apiServerArguments: # c\r\n"
                 "        " MASTER_CONFIG_FLAG ":\r\n          - " PATH "\r\n"
                 "        runtime-config:\r\n          - x\r\n",
                 NULL);
    /* No line end at the end. */
    set_and_take("kubernetesMasterConfig:\n  masterCount: 1\n  apiServerArguments:",
                 "kubernetesMasterConfig:\n  masterCount: 1\n  apiServerArguments:\n"
                 "    " MASTER_CONFIG_FLAG ":\n    - " PATH "\n",
                 "kubernetesMasterConfig:\n  masterCount: 1\n  apiServerArguments:\n");
    /* Null in three ways, empty, not there. */
    set_and_take("kubernetesMasterConfig:\n  apiServerArguments:\n  masterCount: 1\n",
                 "kubernetesMasterConfig:\n  apiServerArguments:\n"
                 "    " MASTER_CONFIG_FLAG ":\n    - " PATH "\n  masterCount: 1\n",
                 NULL);
    set_and_take("kubernetesMasterConfig:\n  apiServerArguments: null # none\n  masterCount: 1\n",
                 "kubernetesMasterConfig:\n  apiServerArguments: # none\n"
                 "    " MASTER_CONFIG_FLAG ":\n    - " PATH "\n  masterCount: 1\n",
                 "kubernetesMasterConfig:\n  apiServerArguments: # none\n  masterCount: 1\n");
    set_and_take("kubernetesMasterConfig:\n  apiServerArguments: ~\n  masterCount: 1\n",
                 "kubernetesMasterConfig:\n  apiServerArguments:\n"
                 "    " MASTER_CONFIG_FLAG ":\n    - " PATH "\n  masterCount: 1\n",
                 "kubernetesMasterConfig:\n  apiServerArguments:\n  masterCount: 1\n");
    set_and_take("kubernetesMasterConfig:\n  apiServerArguments: {}\n  masterCount: 1\n",
                 "kubernetesMasterConfig:\n  apiServerArguments: {" MASTER_CONFIG_FLAG ": [\"" PATH
                 "\"]}\n  masterCount: 1\n",
                 NULL);
    set_and_take("kubernetesMasterConfig:\n  masterCount: 1\nz: 1\n",
                 "kubernetesMasterConfig:\n  apiServerArguments:\n"
                 "    " MASTER_CONFIG_FLAG ":\n    - " PATH "\n  masterCount: 1\nz: 1\n",
                 "kubernetesMasterConfig:\n  apiServerArguments:\n  masterCount: 1\nz: 1\n");
}

static void test_in_brackets(void **state)
{
    (void)state;
    set_and_take("kubernetesMasterConfig:\n  apiServerArguments: { a: [x], b: [y, z] } # c\n",
                 "kubernetesMasterConfig:\n  apiServerArguments: {" MASTER_CONFIG_FLAG ": [\"" PATH
                 "\"],  a: [x], b: [y, z] } # c\n",
                 "kubernetesMasterConfig:\n  apiServerArguments: {a: [x], b: [y, z] } # c\n");
    set_and_take("{\"kubernetesMasterConfig\": {\"apiServerArguments\": null}}",
                 "{\"kubernetesMasterConfig\": {\"apiServerArguments\": {" MASTER_CONFIG_FLAG
                 ": [\"" PATH "\"]}}}",
                 "{\"kubernetesMasterConfig\": {\"apiServerArguments\": {}}}");
    set_and_take("{kubernetesMasterConfig: {masterCount: 1}}",
                 "{kubernetesMasterConfig: {apiServerArguments: {" MASTER_CONFIG_FLAG ": [\"" PATH
                 "\"]}, masterCount: 1}}",
                 "{kubernetesMasterConfig: {apiServerArguments: {}, masterCount: 1}}");
    /* The last member, and what stands between. */
    struct buf out CLEANUP(buf_free) = {0};
    bool changed = false;
    edit("kubernetesMasterConfig: {apiServerArguments: {a: [x], " MASTER_CONFIG_FLAG ": [/x]}}\n",
         NULL, &out, &changed);
    assert_string_equal(buf_str(&out), "kubernetesMasterConfig: {apiServerArguments: {a: [x]}}\n");
}

/* An administrator's own: the path alone changes; where it goes, its neighbours and comments stay.
 */
static void test_what_is_there(void **state)
{
    (void)state;
    struct buf out CLEANUP(buf_free) = {0};
    bool changed = false;
    static const char own[] = "kubernetesMasterConfig:\n  apiServerArguments:\n    a: [x]\n"
                              "    " MASTER_CONFIG_FLAG ": # ours\n    # by hand\n"
                              "    - '/own/it''s.yaml' # since May\n    # of the next\n    b:\n"
                              "    - y\n";
    edit(own, PATH, &out, &changed);
    assert_string_equal(buf_str(&out),
                        "kubernetesMasterConfig:\n  apiServerArguments:\n    a: [x]\n"
                        "    " MASTER_CONFIG_FLAG ": # ours\n    # by hand\n"
                        "    - '" PATH "' # since May\n    # of the next\n    b:\n    - y\n");
    buf_reset(&out);
    edit(own, "/own/it's.yaml", &out, &changed);
    assert_string_equal(buf_str(&out), own);
    assert_false(changed);
    buf_reset(&out);
    edit(own, NULL, &out, &changed);
    assert_string_equal(buf_str(&out),
                        "kubernetesMasterConfig:\n  apiServerArguments:\n    a: [x]\n"
                        "    # by hand\n    # of the next\n    b:\n    - y\n");
    buf_reset(&out);
    edit("kubernetesMasterConfig:\n  apiServerArguments:\n    " MASTER_CONFIG_FLAG ": [ /a ]\n    "
         "b: [ y ]\n",
         NULL, &out, &changed);
    assert_string_equal(buf_str(&out),
                        "kubernetesMasterConfig:\n  apiServerArguments:\n    b: [ y ]\n");
    /* A path that must be quoted. */
    buf_reset(&out);
    edit("kubernetesMasterConfig: {apiServerArguments: {}}\n", "/a, b]: #c", &out, &changed);
    struct yaml *y CLEANUP(cleanup_yaml) = NULL;
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(yaml_read(buf_str(&out), out.len, "f", &y, &err), 0);
    const struct yaml *list =
        yaml_path(y, "kubernetesMasterConfig", "apiServerArguments", MASTER_CONFIG_FLAG, NULL);
    assert_int_equal(list->count, 1);
    assert_string_equal(list->items[0]->scalar, "/a, b]: #c");
}

static void refused(const char *text, const char *config_path, const char *where)
{
    struct error err CLEANUP(error_clear) = {0};
    struct buf out CLEANUP(buf_free) = {0};
    bool changed = false;
    assert_int_equal(
        master_config_edit(text, strlen(text), FILE_NAME, config_path, &out, &changed, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_int_equal(out.len, 0);
    if (!strstr(err.message, where))
        fail_msg("'%s' lacks '%s'", err.message, where);
    assert_null(strstr(err.message, "passw0rd"));
}

static void test_refused(void **state)
{
    (void)state;
    refused("- a\n", PATH, "not a MasterConfig");
    refused("a: passw0rd\nb: [\n", PATH, FILE_NAME ":");
    refused("kind: MasterConfig\n", PATH, "it has no kubernetesMasterConfig");
    refused("kubernetesMasterConfig: null\n", PATH, "it has no kubernetesMasterConfig");
    refused("kubernetesMasterConfig:\n  apiServerArguments: passw0rd\n", PATH, ":2: ");
    refused("kubernetesMasterConfig: {}\nkubernetesMasterConfig: {}\n", PATH, ":2: ");
    refused("kubernetesMasterConfig:\n  apiServerArguments: {}\n  apiServerArguments: {}\n", PATH,
            ":3: apiServerArguments stands there twice");
    /* An alias: others read the same. */
    refused("x: &a {}\nkubernetesMasterConfig:\n  apiServerArguments: *a\n", PATH,
            "without changing something else");
    refused("x: &a\n  " MASTER_CONFIG_FLAG ": [/p]\nkubernetesMasterConfig:\n  "
            "apiServerArguments:\n    <<: *a\n    b: [y]\n",
            NULL, "apiServerArguments");
    refused("kubernetesMasterConfig:\n  apiServerArguments:\n    " MASTER_CONFIG_FLAG
            ":\n    - /a\n    - /b\n",
            PATH, ":3: ");
    refused("kubernetesMasterConfig:\n  apiServerArguments:\n    " MASTER_CONFIG_FLAG ": /a\n",
            PATH, "no list of one");
    refused("kubernetesMasterConfig:\n  apiServerArguments:\n    " MASTER_CONFIG_FLAG
            ": [/a]\n    encryption-provider-config: [/a]\n",
            NULL, "two names");
}

static void has(char **flags, const char *flag)
{
    size_t i = 0;
    while (flags[i] && !str_eq(flags[i], flag))
        i++;
    if (!flags[i])
        fail_msg("no %s", flag);
}

static void read_sample(const char *name, struct buf *out)
{
    struct error err CLEANUP(error_clear) = {0};
    char *path CLEANUP(cleanup_mem) = mem_printf("tests/data/master-config/%s", name);
    if (file_read(path, 1 << 20, false, out, NULL, &err) != 0)
        fail_msg("%s", err.message);
}

static void test_flags(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    char **flags CLEANUP(cleanup_encryption_resources) = NULL;
    read_sample("3.11.yaml", &text);
    assert_int_equal(master_config_flags(buf_str(&text), text.len, FILE_NAME, &flags, &err), 0);
    has(flags, "--etcd-servers=https://master1.example.com:2379,https://master2.example.com:2379,"
               "https://master3.example.com:2379");
    has(flags, "--etcd-cafile=/etc/origin/master/master.etcd-ca.crt");
    has(flags, "--etcd-certfile=/etc/origin/master/master.etcd-client.crt");
    has(flags, "--etcd-keyfile=/etc/origin/master/master.etcd-client.key");
    has(flags, "--etcd-prefix=/kubernetes.io");
    has(flags, "--bind-address=0.0.0.0");
    has(flags, "--secure-port=8443");
    has(flags, "--advertise-address=192.0.2.11");
    has(flags, "--storage-backend=etcd3");
    has(flags, "--audit-log-maxage=10");
    for (size_t i = 0; flags[i]; i++)
        assert_null(strstr(flags[i], "encryption"));
}

static void test_flags_given_otherwise(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    char **flags CLEANUP(cleanup_encryption_resources) = NULL;
    static const char text[] =
        "etcdClientInfo: {ca: /pki/ca.crt, urls: ['https://[::1]:4001', https://b]}\n"
        "etcdStorageConfig: {kubernetesStoragePrefix: /other}\n"
        "servingInfo: {bindAddress: '[::]:443'}\n"
        "kubernetesMasterConfig:\n  apiServerArguments:\n    " MASTER_CONFIG_FLAG
        ": [/a]\n    v: ['1', '2']\n    n:\n";
    assert_int_equal(master_config_flags(text, strlen(text), FILE_NAME, &flags, &err), 0);
    static const char *const expected[] = {"--etcd-servers=https://[::1]:4001,https://b",
                                           "--etcd-cafile=/pki/ca.crt",
                                           "--etcd-prefix=/other",
                                           "--bind-address=::",
                                           "--secure-port=443",
                                           "--experimental-encryption-provider-config=/a",
                                           "--v=1",
                                           "--v=2"};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_string_equal(flags[i], expected[i]);
    assert_null(flags[ARRAY_LEN(expected)]);
    char **none = NULL;
    static const char no_etcd[] = "kubernetesMasterConfig: {}\n";
    assert_int_equal(master_config_flags(no_etcd, strlen(no_etcd), FILE_NAME, &none, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_null(none);
}

/* Files as openshift-ansible wrote them: there and back, byte for byte. */
static void test_samples(void **state)
{
    (void)state;
    static const char *const names[] = {"3.6.yaml", "3.11.yaml"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct buf text CLEANUP(buf_free) = {0};
        struct buf with CLEANUP(buf_free) = {0};
        struct buf without CLEANUP(buf_free) = {0};
        bool changed = false;
        read_sample(names[i], &text);
        edit(buf_str(&text), PATH, &with, &changed);
        static const char added[] =
            "  apiServerArguments:\n    " MASTER_CONFIG_FLAG ":\n    - " PATH "\n";
        assert_non_null(strstr(buf_str(&with), added));
        assert_int_equal(with.len, text.len + sizeof(added) - sizeof("  apiServerArguments:\n"));
        edit(buf_str(&with), NULL, &without, &changed);
        assert_string_equal(buf_str(&without), buf_str(&text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_flag_changes),
        cmocka_unit_test(test_in_brackets),
        cmocka_unit_test(test_what_is_there),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_flags_given_otherwise),
        cmocka_unit_test(test_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
