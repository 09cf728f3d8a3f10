#include "templates/encryption_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define K1 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define K2 "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
#define ITEM(resources, providers) "- resources: [" resources "]\n  providers: [" providers "]\n"
#define KEY(name, secret) "{name: " name ", secret: " secret "}"
#define CBC(keys) "{aescbc: {keys: [" keys "]}}"
#define BOX(keys) "{secretbox: {keys: [" keys "]}}"
#define ID "{identity: {}}"
#define A KEY("a", K1)
#define B KEY("b", K2)
#define KMS2(name) "{kms: {apiVersion: v2, name: " name ", endpoint: 'unix:///" name "'}}"

static struct encryption_config *config(const char *items)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    char *text CLEANUP(cleanup_mem) =
        *items ? mem_printf("apiVersion: apiserver.config.k8s.io/v1\n"
                            "kind: EncryptionConfiguration\nresources:\n%s",
                            items)
               : mem_strdup("");
    if (encryption_config_read(text, strlen(text), "c", ENCRYPTION_LENIENT, &c, &err) != 0)
        fail_msg("%s: %s", err.message, items);
    return c;
}

static void reread(const struct encryption_config *c)
{
    struct error err CLEANUP(error_clear) = {0};
    struct buf out CLEANUP(buf_free) = {0};
    struct encryption_config *again CLEANUP(cleanup_encryption_config) = NULL;
    encryption_config_write(c, &out);
    if (encryption_config_read(buf_str(&out), out.len, "u", ENCRYPTION_LENIENT, &again, &err) != 0)
        fail_msg("%s: %s", err.message, out.data);
    assert_true(encryption_config_equal(c, again));
}

static void test_union(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        /* rotation: one entry, in order */
        {ITEM("secrets", CBC(A) ", " ID), ITEM("secrets", CBC(B) ", " ID),
         ITEM("secrets", CBC(A ", " B) ", " ID)},
        /* enabling and disabling */
        {"", ITEM("secrets", CBC(A) ", " ID), ITEM("secrets", ID ", " CBC(A))},
        {ITEM("secrets", CBC(A) ", " ID), "", ITEM("secrets", CBC(A) ", " ID)},
        {ITEM("secrets", CBC(A)), "", ITEM("secrets", CBC(A) ", " ID)},
        /* nothing is missing: left as it is, doubled entries of a type apart */
        {ITEM("secrets", BOX(B) ", " CBC(A) ", " ID), ITEM("secrets", CBC(A)),
         ITEM("secrets", BOX(B) ", " CBC(A) ", " ID)},
        {ITEM("secrets", CBC(A) ", " ID ", " CBC(B)), "", ITEM("secrets", CBC(A ", " B) ", " ID)},
        /* two items of one resource are strung together */
        {ITEM("secrets", CBC(A)) ITEM("secrets", CBC(B) ", " ID), "",
         ITEM("secrets", CBC(A ", " B) ", " ID)},
        /* one more resource; equal chains share an item */
        {ITEM("secrets", CBC(A) ", " ID), ITEM("secrets, configmaps", CBC(A) ", " ID),
         ITEM("secrets", CBC(A) ", " ID) ITEM("configmaps", ID ", " CBC(A))},
        {ITEM("configmaps", ID) ITEM("secrets", ID), ITEM("secrets, configmaps", CBC(A) ", " ID),
         ITEM("configmaps, secrets", ID ", " CBC(A))},
        /* another type */
        {ITEM("secrets", CBC(A) ", " ID), ITEM("secrets", BOX(A)),
         ITEM("secrets", CBC(A) ", " ID ", " BOX(A))},
        /* wildcards: what covers a name counts; names come before them */
        {ITEM("'*.*'", CBC(A)), ITEM("secrets", CBC(B)),
         ITEM("secrets", CBC(A ", " B)) ITEM("'*.*'", CBC(A) ", " ID)},
        {ITEM("'*.'", CBC(A)), ITEM("'*.*'", CBC(B)),
         ITEM("'*.'", CBC(A ", " B)) ITEM("'*.*'", ID ", " CBC(B))},
        /* a kms name stands once */
        {ITEM("secrets", KMS2("m") ", " ID), ITEM("secrets, pods", KMS2("m") ", " ID),
         ITEM("pods", ID) ITEM("secrets, pods", KMS2("m")) ITEM("secrets", ID)},
        {ITEM("secrets", KMS2("m") ", " ID) ITEM("pods", CBC(A)),
         ITEM("secrets, pods", KMS2("kn") ", " ID) ITEM("configmaps", KMS2("m")),
         ITEM("pods", CBC(A) ", " ID) ITEM("configmaps", ID) ITEM("secrets, configmaps", KMS2("m"))
             ITEM("secrets, pods", KMS2("kn")) ITEM("secrets", ID)},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct encryption_config *w CLEANUP(cleanup_encryption_config) = config(cases[i][0]);
        struct encryption_config *r CLEANUP(cleanup_encryption_config) = config(cases[i][1]);
        struct encryption_config *x CLEANUP(cleanup_encryption_config) = config(cases[i][2]);
        struct encryption_config *u CLEANUP(cleanup_encryption_config) = NULL;
        if (encryption_config_union(w, r, &u, &err) != 0)
            fail_msg("case %zu: %s", i, err.message);
        if (!encryption_config_equal(u, x)) {
            struct buf out CLEANUP(buf_free) = {0};
            encryption_config_write(u, &out);
            fail_msg("case %zu:\n%s", i, buf_str(&out));
        }
        assert_true(encryption_config_reads_all(u, w));
        assert_true(encryption_config_reads_all(u, r));
        reread(u);
        char **names = encryption_resources(u, w);
        for (size_t n = 0; names[n]; n++) {
            char *p CLEANUP(cleanup_mem) = encryption_write_prefix(w, names[n]);
            char *q CLEANUP(cleanup_mem) = encryption_write_prefix(u, names[n]);
            assert_string_equal(p, q);
        }
        encryption_resources_free(names);
    }
}

static void test_no_union(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {ITEM("secrets", CBC(KEY("a", K1))), ITEM("secrets", CBC(KEY("a", K2))), "two secrets"},
        {ITEM("secrets", CBC(KEY("a", K1))), ITEM("pods", CBC(KEY("a", K2))), "two secrets"},
        {ITEM("secrets", KMS2("m")),
         ITEM("secrets", "{kms: {apiVersion: v2, name: m, endpoint: 'unix:///n'}}"),
         "two endpoints"},
        {ITEM("secrets", KMS2("m")), ITEM("secrets", "{kms: {name: m, endpoint: 'unix:///m'}}"),
         "as v1 and as v2"},
        {ITEM("'*.'", KMS2("m")), ITEM("secrets", KMS2("m") ", " ID), "wildcards"},
        {ITEM("secrets", KMS2("m")) ITEM("pods", KMS2("kn")),
         ITEM("secrets", KMS2("kn")) ITEM("pods", KMS2("m")), "come first"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct encryption_config *w CLEANUP(cleanup_encryption_config) = config(cases[i][0]);
        struct encryption_config *r CLEANUP(cleanup_encryption_config) = config(cases[i][1]);
        struct encryption_config *u CLEANUP(cleanup_encryption_config) = NULL;
        assert_int_equal(encryption_config_union(w, r, &u, &err), -1);
        assert_null(u);
        assert_int_equal(err.result, RESULT_REFUSED);
        if (!strstr(err.message, cases[i][2]))
            fail_msg("'%s' lacks '%s'", err.message, cases[i][2]);
    }
    /* Same name, same type of name, other type of provider: that is fine. */
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *w CLEANUP(cleanup_encryption_config) =
        config(ITEM("secrets", CBC(KEY("a", K1))));
    struct encryption_config *r CLEANUP(cleanup_encryption_config) =
        config(ITEM("secrets", BOX(KEY("a", K2))));
    struct encryption_config *u CLEANUP(cleanup_encryption_config) = NULL;
    assert_int_equal(encryption_config_union(w, r, &u, &err), 0);
    /* A colon, as only lenient reading lets it pass. */
    char *name = w->items[0].providers[0].keys[0].name;
    name[0] = ':';
    struct encryption_config *none CLEANUP(cleanup_encryption_config) = NULL;
    assert_int_equal(encryption_config_union(w, r, &none, &err), -1);
}

static void test_reads_all(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool yes;
    } cases[] = {
        {"", "", true},
        {"", ITEM("secrets", ID), true},
        {"", ITEM("secrets", CBC(A) ", " ID), false},
        {ITEM("secrets", CBC(A) ", " ID), "", true},
        {ITEM("secrets", CBC(A)), "", false},
        {ITEM("secrets", CBC(A)), ITEM("secrets", CBC(A) ", " ID), false},
        {ITEM("secrets", CBC(B ", " A)), ITEM("secrets", CBC(A)), true},
        {ITEM("secrets", CBC(B) ", " CBC(A)), ITEM("secrets", CBC(A)), false},
        {ITEM("secrets", CBC(A)), ITEM("secrets", CBC(KEY("a", K2))), false},
        {ITEM("secrets", CBC(A) ", " ID), ITEM("pods", CBC(A)), false},
        {ITEM("secrets", KMS2("m")), ITEM("secrets", KMS2("m")), true},
        {ITEM("secrets", KMS2("m")), ITEM("secrets", KMS2("kn")), false},
        {ITEM("'*.*'", CBC(A) ", " ID), ITEM("secrets", CBC(A)), true},
        {ITEM("secrets", CBC(A)), ITEM("'*.*'", CBC(A)), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct encryption_config *a CLEANUP(cleanup_encryption_config) = config(cases[i].a);
        struct encryption_config *b CLEANUP(cleanup_encryption_config) = config(cases[i].b);
        if (encryption_config_reads_all(a, b) != cases[i].yes)
            fail_msg("case %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_union),
        cmocka_unit_test(test_no_union),
        cmocka_unit_test(test_reads_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
