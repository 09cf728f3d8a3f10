/* Nodes that differ: the union reads what any of them wrote, and while it is put on them one by one
 * nobody is worse off. */
#include "provisioner/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define K1 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define K2 "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
#define KEY(name, secret) "{name: " name ", secret: " secret "}"
#define CBC(keys) "{aescbc: {keys: [" keys "]}}"
#define SECRETS(providers) "- resources: [secrets]\n  providers: [" providers "]\n"
#define ID "{identity: {}}"
#define A KEY("a", K1)
#define B KEY("b", K2)
#define C KEY("c", K2)

static struct encryption_config *config(const char *items)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    char *text CLEANUP(cleanup_mem) =
        *items ? mem_printf("apiVersion: apiserver.config.k8s.io/v1\n"
                            "kind: EncryptionConfiguration\nresources:\n%s",
                            items)
               : mem_strdup("");
    if (encryption_config_read(text, strlen(text), "c", ENCRYPTION_STRICT, &c, &err) != 0)
        fail_msg("%s: %s", err.message, items);
    return c;
}

struct lab {
    struct encryption_config *of[4];
    const struct encryption_config *view[4];
    size_t count;
    struct encryption_config *needed, *united;
    size_t order[4];
    struct error err;
    int rc;
};

static void lab_free(struct lab *l)
{
    for (size_t i = 0; i < l->count; i++)
        encryption_config_free(l->of[i]);
    encryption_config_free(l->needed);
    encryption_config_free(l->united);
    error_clear(&l->err);
}

static struct lab unite(const char *const *items, size_t count, const char *needed)
{
    struct lab l = {.count = count, .needed = needed ? config(needed) : NULL};
    for (size_t i = 0; i < count; i++)
        l.view[i] = l.of[i] = config(items[i]);
    l.rc = doctor_unite(l.view, count, l.needed, &l.united, l.order, &l.err);
    return l;
}
#define UNITE(needed, ...)                                                                         \
    static const char *const items[] = {__VA_ARGS__};                                              \
    struct lab l CLEANUP(lab_free) = unite(items, ARRAY_LEN(items), needed)

static void writes_and_reads_all(const struct lab *l, const char *prefix)
{
    assert_int_equal(l->rc, 0);
    char *mine CLEANUP(cleanup_mem) = encryption_write_prefix(l->united, "secrets");
    assert_string_equal(mine, prefix);
    for (size_t i = 0; i < l->count; i++)
        assert_true(encryption_config_reads_all(l->united, l->of[i]));
    if (l->needed)
        assert_true(encryption_config_reads_all(l->united, l->needed));
}

/* Somebody made a node write with a key that the others lack. */
static void test_writer_is_what_all_read(void **state)
{
    (void)state;
    UNITE(NULL, SECRETS(CBC(B ", " A) ", " ID), SECRETS(CBC(A) ", " ID));
    writes_and_reads_all(&l, "k8s:enc:aescbc:v1:a:");
    /* Both read it: the order of the nodes. */
    assert_int_equal(l.order[0], 0);
    assert_int_equal(l.order[1], 1);
}

/* No form is read by all: the one that most read; who can't read it comes first. */
static void test_majority(void **state)
{
    (void)state;
    UNITE(NULL, SECRETS(CBC(A) ", " ID), SECRETS(CBC(B) ", " ID), SECRETS(CBC(B) ", " ID));
    writes_and_reads_all(&l, "k8s:enc:aescbc:v1:b:");
    assert_int_equal(l.order[0], 0);
    assert_int_equal(l.order[1], 1);
    assert_int_equal(l.order[2], 2);
    static const char *const more[] = {SECRETS(CBC(B) ", " ID), SECRETS(CBC(B) ", " ID),
                                       SECRETS(CBC(A) ", " ID)};
    struct lab m CLEANUP(lab_free) = unite(more, 3, NULL);
    writes_and_reads_all(&m, "k8s:enc:aescbc:v1:b:");
    assert_int_equal(m.order[0], 2);
    assert_int_equal(m.order[1], 0);
    assert_int_equal(m.order[2], 1);
}

/* A node without the flag writes plain, and can read nothing else. */
static void test_without_flag(void **state)
{
    (void)state;
    UNITE(NULL, SECRETS(CBC(A) ", " ID), "");
    writes_and_reads_all(&l, "");
    assert_true(encryption_config_reads(l.united, "secrets", "k8s:enc:aescbc:v1:a:", 20));
}

static void test_encrypts_where_both_would_do(void **state)
{
    (void)state;
    UNITE(NULL, SECRETS(ID ", " CBC(A)), SECRETS(CBC(A) ", " ID));
    writes_and_reads_all(&l, "k8s:enc:aescbc:v1:a:");
}

static void test_key_of_the_history(void **state)
{
    (void)state;
    UNITE(SECRETS(CBC(C)), SECRETS(CBC(A) ", " ID), SECRETS(CBC(A) ", " ID));
    writes_and_reads_all(&l, "k8s:enc:aescbc:v1:a:");
    assert_true(encryption_config_reads(l.united, "secrets", "k8s:enc:aescbc:v1:c:", 20));
}

/* What is the same on all stays as it is. */
static void test_same(void **state)
{
    (void)state;
    UNITE(NULL, SECRETS(CBC(A)), SECRETS(CBC(A)));
    assert_int_equal(l.rc, 0);
    assert_true(encryption_config_equal(l.united, l.of[0]));
}

static void test_one_name_two_secrets(void **state)
{
    (void)state;
    UNITE(NULL, SECRETS(CBC(A) ", " ID), SECRETS(CBC(KEY("a", K2)) ", " ID));
    assert_int_equal(l.rc, -1);
    assert_int_equal(l.err.result, RESULT_REFUSED);
    assert_null(strstr(l.err.message, "QUFB"));
    assert_null(strstr(l.err.message, "QkJC"));
}

static void test_describe_tells_no_key(void **state)
{
    (void)state;
    struct encryption_config *c CLEANUP(cleanup_encryption_config) =
        config(SECRETS(CBC(A ", " B) ", " ID));
    struct buf text CLEANUP(buf_free) = {0};
    doctor_describe(c, NULL, &text);
    assert_non_null(strstr(text.data, "aescbc key a (fingerprint "));
    assert_non_null(strstr(text.data, ", writes), aescbc key b (fingerprint "));
    assert_null(strstr(text.data, "QUFB"));
    assert_null(strstr(text.data, "QkJC"));
    buf_reset(&text);
    doctor_describe(NULL, NULL, &text);
    assert_string_equal(text.data, "no key");
}

static void test_shell_word(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"/etc/a-b_c.yml", "/etc/a-b_c.yml"},
                                           {"", "''"},
                                           {"a b", "'a b'"},
                                           {"it's", "'it'\\''s'"},
                                           {"$x", "'$x'"},
                                           {"~/x", "'~/x'"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *word CLEANUP(cleanup_mem) = shell_word(cases[i][0]);
        assert_string_equal(word, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writer_is_what_all_read),
        cmocka_unit_test(test_majority),
        cmocka_unit_test(test_without_flag),
        cmocka_unit_test(test_encrypts_where_both_would_do),
        cmocka_unit_test(test_key_of_the_history),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_one_name_two_secrets),
        cmocka_unit_test(test_describe_tells_no_key),
        cmocka_unit_test(test_shell_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
