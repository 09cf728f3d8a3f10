#include "provisioner/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MAX_ARGS 8

static void given(struct apiserver *a, const char *const *args)
{
    apiserver_free(a);
    char **copy = mem_alloc(MAX_ARGS + 1, sizeof(*copy));
    for (size_t i = 0; args[i]; i++)
        copy[i] = mem_strdup(args[i]);
    apiserver_set_args(a, copy);
}
#define GIVEN(...) given(&a, (const char *const[MAX_ARGS + 1]){__VA_ARGS__})

static void test_flag(void **state)
{
    (void)state;
    struct apiserver a CLEANUP(apiserver_free) = {0};
    assert_null(apiserver_flag(&a, "a"));
    GIVEN("--a=b", "--c", "d", "--empty=", "--alone", "--a=last", "--with_line=x", "--end");
    assert_string_equal(apiserver_flag(&a, "a"), "last");
    assert_string_equal(apiserver_flag(&a, "c"), "d");
    assert_string_equal(apiserver_flag(&a, "empty"), "");
    assert_string_equal(apiserver_flag(&a, "alone"), "true");
    assert_string_equal(apiserver_flag(&a, "end"), "true");
    assert_string_equal(apiserver_flag(&a, "with-line"), "x");
    assert_null(apiserver_flag(&a, "d"));
    assert_null(apiserver_flag(&a, "al"));
    assert_null(apiserver_flag(&a, "alonely"));
    assert_null(apiserver_flag(&a, "with"));
    const char *value = "untouched";
    assert_false(apiserver_arg_is("-a=b", "a", &value));
    assert_false(apiserver_arg_is(NULL, "a", &value));
    assert_false(apiserver_arg_is("--a-b", "a_b", &value));
    assert_true(apiserver_arg_is("--a=b=c", "a", &value));
    assert_string_equal(value, "b=c");
}

static void test_config_path(void **state)
{
    (void)state;
    struct apiserver a CLEANUP(apiserver_free) = {0};
    GIVEN("--a=b");
    assert_null(a.config_path);
    assert_false(a.automatic_reload);
    GIVEN("--encryption-provider-config=/a", "--encryption-provider-config-automatic-reload=true");
    assert_string_equal(a.config_path, "/a");
    assert_true(a.automatic_reload);
    GIVEN("--experimental-encryption-provider-config", "/b",
          "--encryption-provider-config-automatic-reload");
    assert_string_equal(a.config_path, "/b");
    assert_true(a.automatic_reload);
    GIVEN("--encryption-provider-config=", "--encryption-provider-config-automatic-reload=false");
    assert_null(a.config_path);
    assert_false(a.automatic_reload);
    /* The last one counts, by whatever name. */
    GIVEN("--encryption-provider-config=/a", "--experimental-encryption-provider-config=/b");
    assert_string_equal(a.config_path, "/b");
    GIVEN("--experimental-encryption-provider-config=/b", "--encryption-provider-config=/a");
    assert_string_equal(a.config_path, "/a");
    GIVEN("--encryption-provider-config=/a", "--encryption-provider-config=");
    assert_null(a.config_path);
}

static bool passes(const char *line)
{
    struct buf out CLEANUP(buf_free) = {0};
    log_add_safe_lines(&out, line, strlen(line));
    if (strstr(buf_str(&out), "1 line that may hold a key left out"))
        return false;
    assert_memory_equal(buf_str(&out), line, strlen(line));
    return true;
}

static void test_log_lines(void **state)
{
    (void)state;
    static const char *const fine[] = {
        "Error: unknown flag: --encryption-provider-configg",
        "unable to transform key \"/registry/secrets/kube-system/full-cluster-state\": no match",
        "open /etc/kubernetes/ssl/encryption.yaml: no such file or directory",
        "key: /var/lib/rancher/something/below/other/folders/and/names/of/some/length",
        "secret: short",
        "I1122 00:57:06.908614       1 server.go:629] external host was not specified",
    };
    static const char *const kept_back[] = {
        "secret: c2VjcmV0LWtleS1vZg1234==",
        "Secret:\\\"c2VjcmV0LWtleS1vZg1234\\\"",
        "key=c2VjcmV0LWtleS1vZg1234",
        "password = 'c2VjcmV0LWtleS1vZg1234'",
        "something dGhpcyBpcyAzMiBieXRlcyBvZiBrZXkgbWF0ZXJpYWw= else",
        "0123456789abcdef0123456789abcdef01234567",
        "{Name:key1 Secret:dGhpcyBpcyAzMiBieXRlcyBvZiBrZXk=}",
        "/Ghpcy/pcyAzMiBieXRlcyBvZiBrZXkgbWF0ZXJpYWw=",
    };
    for (size_t i = 0; i < ARRAY_LEN(fine); i++)
        assert_true(passes(fine[i]));
    for (size_t i = 0; i < ARRAY_LEN(kept_back); i++)
        assert_false(passes(kept_back[i]));
    struct buf out CLEANUP(buf_free) = {0};
    static const char text[] = "one\r\n\nsecret: c2VjcmV0LWtleS1vZg1234\n"
                               "secret: c2VjcmV0LWtleS1vZg1234\nlast";
    log_add_safe_lines(&out, text, sizeof(text) - 1);
    assert_string_equal(buf_str(&out), "one\n\nlast\n(2 lines that may hold a key left out)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flag),
        cmocka_unit_test(test_config_path),
        cmocka_unit_test(test_log_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
