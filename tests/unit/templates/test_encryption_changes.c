/* What a change of configuration changes, resource by resource, and what rotating makes of one. */
#include "templates/encryption_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
#define K1 "{name: k1, secret: QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=}"
#define K2 "{name: k2, secret: QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=}"
#define K16 "{name: k16, secret: QUFBQUFBQUFBQUFBQUFBQQ==}"
#define ITEM(resources, providers) "- resources: [" resources "]\n  providers: [" providers "]\n"
#define CBC(keys) "{aescbc: {keys: [" keys "]}}"
#define GCM(keys) "{aesgcm: {keys: [" keys "]}}"
#define KMS(name, sock) "{kms: {name: " name ", endpoint: 'unix:///" sock "'}}"
#define ID "{identity: {}}"

static struct encryption_config *config(const char *items)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    char *text CLEANUP(cleanup_mem) = *items ? mem_printf(HEAD "%s", items) : mem_strdup("");
    if (encryption_config_read(text, strlen(text), "e.yml", ENCRYPTION_LENIENT, &c, &err) != 0)
        fail_msg("%s", err.message);
    return c;
}

static void those_that_change_are_rewritten_and_no_others(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *resource;
        bool changes;
    } table[] = {
        /* another writer */
        {"", ITEM("secrets", CBC(K1) ", " ID), "secrets", true},
        {"", ITEM("secrets", CBC(K1) ", " ID), "configmaps", false},
        {ITEM("secrets", CBC(K1) ", " ID), "", "secrets", true},
        {ITEM("secrets", CBC(K1) ", " ID), ITEM("secrets", CBC(K2) ", " ID), "secrets", true},
        {ITEM("secrets", CBC(K1) ", " ID), ITEM("secrets", GCM(K1) ", " ID), "secrets", true},
        {ITEM("secrets", CBC(K1) ", " ID), ITEM("secrets", CBC(K2 ", " K1) ", " ID), "secrets",
         true},
        {ITEM("secrets", CBC(K1) ", " ID), ITEM("secrets", ID ", " CBC(K1)), "secrets", true},
        {ITEM("secrets", KMS("a", "s")), ITEM("secrets", KMS("a-2", "s")), "secrets", true},
        {ITEM("secrets", KMS("a", "s")), ITEM("secrets", KMS("a", "t")), "secrets", true},
        /* one more resource */
        {ITEM("secrets", CBC(K1) ", " ID), ITEM("secrets, configmaps", CBC(K1) ", " ID), "secrets",
         false},
        {ITEM("secrets", CBC(K1) ", " ID), ITEM("secrets, configmaps", CBC(K1) ", " ID),
         "configmaps", true},
        /* a reader comes, or goes */
        {ITEM("secrets", CBC(K1) ", " ID), ITEM("secrets", CBC(K1 ", " K2) ", " ID), "secrets",
         false},
        {ITEM("secrets", CBC(K1 ", " K2) ", " ID), ITEM("secrets", CBC(K1) ", " ID), "secrets",
         true},
        {ITEM("secrets", CBC(K1) ", " ID), ITEM("secrets", CBC(K1)), "secrets", true},
        {ITEM("secrets", CBC(K1)), ITEM("secrets", CBC(K1) ", " ID), "secrets", false},
        {ITEM("secrets", KMS("a", "s") ", " ID),
         ITEM("secrets", KMS("a", "s") ", " KMS("b", "t") ", " ID), "secrets", false},
        /* plain, and no longer to be read plain */
        {"", ITEM("secrets", ID), "secrets", false},
        {ITEM("secrets", ID), "", "secrets", false},
        /* wildcards */
        {ITEM("'*.*'", CBC(K1) ", " ID), ITEM("secrets", CBC(K1) ", " ID), "secrets", false},
        {ITEM("'*.*'", CBC(K1) ", " ID), ITEM("secrets", CBC(K1) ", " ID), "pods", true},
        {ITEM("secrets", CBC(K1) ", " ID), ITEM("'*.apps'", CBC(K1) ", " ID), "deployments.apps",
         true},
        {ITEM("secrets", CBC(K1) ", " ID), ITEM("'*.apps'", CBC(K1) ", " ID), "secrets", true},
        /* one resource in two items: their providers one after the other */
        {ITEM("secrets", CBC(K1)) ITEM("secrets", ID), ITEM("secrets", CBC(K1) ", " ID), "secrets",
         false},
        {ITEM("secrets", CBC(K1)) ITEM("secrets", GCM(K2) ", " ID),
         ITEM("secrets", CBC(K1) ", " ID), "secrets", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct encryption_config *from CLEANUP(cleanup_encryption_config) = config(table[i].from);
        struct encryption_config *to CLEANUP(cleanup_encryption_config) = config(table[i].to);
        if (encryption_resource_changes(from, to, table[i].resource) != table[i].changes)
            fail_msg("%zu: %s: %s ->\n%s", i, table[i].resource, table[i].from, table[i].to);
    }
}

static void managed_is_one_item_with_a_local_provider_and_identity(void **state)
{
    (void)state;
    unsigned char secret[32] = {1};
    char name[] = "key-a", secrets[] = "secrets", configmaps[] = "configmaps";
    char *resources[] = {secrets, configmaps, NULL};
    struct encryption_key key = {name, secret, sizeof(secret)};
    static const enum provider_type types[] = {PROVIDER_AESCBC, PROVIDER_AESGCM,
                                               PROVIDER_SECRETBOX};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct encryption_config *c CLEANUP(cleanup_encryption_config) =
            encryption_config_managed(types[i], resources, &key);
        assert_true(encryption_config_is_managed(c));
        assert_true(encryption_writes_with(c, "configmaps", types[i]));
        assert_true(encryption_writes_with(c, "pods", PROVIDER_IDENTITY));
        assert_int_equal(c->items[0].resource_count, 2);
    }
    static const char *const others[] = {"",
                                         ITEM("secrets", ID),
                                         ITEM("secrets", CBC(K1)),
                                         ITEM("secrets", KMS("a", "s") ", " ID),
                                         ITEM("secrets", CBC(K1) ", " GCM(K2) ", " ID),
                                         ITEM("secrets", CBC(K1) ", " ID)
                                             ITEM("configmaps", CBC(K1) ", " ID)};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = config(others[i]);
        assert_false(encryption_config_is_managed(c));
    }
}

static int fresh_key(void *ctx, struct encryption_key *out, struct error *err)
{
    (void)err;
    int *count = ctx;
    *out = (struct encryption_key){mem_printf("fresh%d", ++*count), mem_alloc(32, 1), 32};
    memset(out->secret, 'f', 32);
    return 0;
}

static int fresh_name(void *ctx, const char *old, char **out, struct error *err)
{
    (void)ctx;
    (void)err;
    *out = mem_printf("%s-2", old);
    return 0;
}

static int no_key(void *ctx, struct encryption_key *out, struct error *err)
{
    (void)ctx;
    (void)out;
    return error_set(err, RESULT_FAILED, "no random numbers");
}

static void rotating_replaces_each_writer_in_its_own_place(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to; /* with the secrets of fresh keys as they are made here */
        size_t count;
    } table[] = {
#define F32 "ZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY="
#define F16 "ZmZmZmZmZmZmZmZmZmZmZg=="
#define FRESH1 "{name: fresh1, secret: " F32 "}"
#define FRESH2 "{name: fresh2, secret: " F32 "}"
        {ITEM("secrets", CBC(K1 ", " K2) ", " ID), ITEM("secrets", CBC(FRESH1 ", " K2) ", " ID), 1},
        {ITEM("secrets", GCM(K16) ", " ID),
         ITEM("secrets", GCM("{name: fresh1, secret: " F16 "}") ", " ID), 1},
        /* a key that two items write with is one key, wherever it stands */
        {ITEM("secrets", CBC(K1) ", " ID) ITEM("configmaps", CBC(K1) ", " ID),
         ITEM("secrets", CBC(FRESH1) ", " ID) ITEM("configmaps", CBC(FRESH1) ", " ID), 1},
        {ITEM("secrets", CBC(K1) ", " ID) ITEM("configmaps", GCM(K2) ", " CBC(K1) ", " ID),
         ITEM("secrets", CBC(FRESH1) ", " ID)
             ITEM("configmaps", GCM(FRESH2) ", " CBC(FRESH1) ", " ID),
         2},
        /* readers stay */
        {ITEM("secrets", ID ", " CBC(K1)), ITEM("secrets", ID ", " CBC(K1)), 0},
        {ITEM("secrets", KMS("a", "s") ", " CBC(K1)), ITEM("secrets", KMS("a-2", "s") ", " CBC(K1)),
         1},
        /* the second item of a resource writes nothing */
        {ITEM("secrets", CBC(K1)) ITEM("secrets", GCM(K2) ", " ID),
         ITEM("secrets", CBC(FRESH1)) ITEM("secrets", GCM(K2) ", " ID), 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct encryption_config *from CLEANUP(cleanup_encryption_config) = config(table[i].from);
        struct encryption_config *want CLEANUP(cleanup_encryption_config) = config(table[i].to);
        struct encryption_config *got CLEANUP(cleanup_encryption_config) = NULL;
        int made = 0;
        size_t count = 0;
        struct encryption_freshener f = {fresh_key, fresh_name, &made};
        assert_int_equal(encryption_config_refresh(from, &f, &got, &count, &err), 0);
        assert_int_equal(count, table[i].count);
        if (!encryption_config_equal(got, want)) {
            struct buf text CLEANUP(buf_free) = {0};
            encryption_config_write(got, &text);
            fail_msg("%zu:\n%s", i, buf_str(&text));
        }
        assert_true(encryption_config_same_shape(from, got));
    }
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *from CLEANUP(cleanup_encryption_config) =
        config(ITEM("secrets", CBC(K1) ", " ID));
    struct encryption_config *got = NULL;
    size_t count = 0;
    assert_int_equal(
        encryption_config_refresh(from, &(struct encryption_freshener){no_key, fresh_name, NULL},
                                  &got, &count, &err),
        -1);
    assert_null(got);
}

static void the_shape_is_all_but_names_and_secrets(void **state)
{
    (void)state;
    static const char *const forms[] = {
        ITEM("secrets", CBC(K1) ", " ID),
        ITEM("secrets", CBC(K16) ", " ID),
        ITEM("secrets", CBC(K1 ", " K2) ", " ID),
        ITEM("secrets", GCM(K1) ", " ID),
        ITEM("configmaps", CBC(K1) ", " ID),
        ITEM("secrets, configmaps", CBC(K1) ", " ID),
        ITEM("secrets", CBC(K1)),
        ITEM("secrets", KMS("a", "s") ", " ID),
        ITEM("secrets", KMS("a", "t") ", " ID),
        ITEM("secrets", CBC(K1) ", " ID) ITEM("configmaps", ID),
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct encryption_config *a CLEANUP(cleanup_encryption_config) = config(forms[i]);
        for (size_t j = 0; j < ARRAY_LEN(forms); j++) {
            struct encryption_config *b CLEANUP(cleanup_encryption_config) = config(forms[j]);
            assert_int_equal(encryption_config_same_shape(a, b), i == j);
        }
        assert_false(encryption_config_same_shape(a, NULL));
    }
    struct encryption_config *a CLEANUP(cleanup_encryption_config) =
        config(ITEM("secrets", CBC(K1) ", " KMS("a", "s")));
    struct encryption_config *b CLEANUP(cleanup_encryption_config) =
        config(ITEM("secrets", CBC(K2) ", " KMS("b", "s")));
    assert_true(encryption_config_same_shape(a, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_change_are_rewritten_and_no_others),
        cmocka_unit_test(managed_is_one_item_with_a_local_provider_and_identity),
        cmocka_unit_test(rotating_replaces_each_writer_in_its_own_place),
        cmocka_unit_test(the_shape_is_all_but_names_and_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
