/* What cluster.yml asks for, given what runs and what the journal knows. */
#include "provisioner/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define K1 "{name: k1, secret: QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=}"
#define K2 "{name: k2, secret: QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=}"
#define HEAD "apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: "
#define ITEM(resources, providers) "{resources: [" resources "], providers: [" providers "]}"
#define CBC(keys) "{aescbc: {keys: [" keys "]}}"
#define GCM(keys) "{aesgcm: {keys: [" keys "]}}"
#define BOX(keys) "{secretbox: {keys: [" keys "]}}"
#define KMS(name) "{kms: {name: " name ", endpoint: 'unix:///run/s'}}"
#define ID "{identity: {}}"
#define CUSTOM(items) "{enabled: true, custom_config: {" HEAD "[" items "]}}"
#define MANAGED ITEM("secrets", CBC(K1) ", " ID)

struct world {
    struct cluster *cluster;
    struct journal *journal;
    struct encryption_config *running, *custom;
    struct target target;
    struct error err;
};

static void world_free(struct world *w)
{
    cluster_free(w->cluster);
    journal_free(w->journal);
    encryption_config_free(w->running);
    encryption_config_free(w->custom);
    target_free(&w->target);
    error_clear(&w->err);
}

static struct encryption_config *config(const char *items)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    char *text CLEANUP(cleanup_mem) = *items ? mem_printf("{" HEAD "[%s]}", items) : mem_strdup("");
    if (encryption_config_read(text, strlen(text), "e.yml", ENCRYPTION_LENIENT, &c, &err) != 0)
        fail_msg("%s", err.message);
    return c;
}

/* `kube_api`: members of services.kube-api; `made_from`: the journal's custom_config, NULL: none.
 */
static struct world world(const char *kube_api, const char *running, const char *made_from)
{
    struct world w = {.running = config(running)};
    char *text CLEANUP(cleanup_mem) =
        mem_printf("nodes: [{address: 10.0.0.1, user: root, role: [controlplane, etcd]}]\n"
                   "services: {kube-api: {%s}}\n",
                   kube_api);
    if (cluster_parse(text, strlen(text), "cluster.yml", &w.cluster, &w.err) != 0)
        fail_msg("%s", w.err.message);
    assert_int_equal(w.cluster->findings.errors, 0);
    assert_int_equal(journal_new("/nowhere/cluster.rkestate", &w.journal, &w.err), 0);
    journal_add_config_keys(w.journal, w.running);
    w.custom = made_from ? config(made_from) : NULL;
    journal_set_custom(w.journal, w.custom);
    /* What runs no more was retired by the rotation. */
    journal_add_config_keys(w.journal, w.custom);
    for (size_t i = 0; i < w.journal->key_count; i++) {
        struct key_record *k = &w.journal->keys[i];
        if (!encryption_config_has_key(w.running, k->type, &k->key))
            k->retired = mem_strdup("2026-01-02T03:04:05Z");
    }
    return w;
}

#define ENCRYPTION(what) "secrets_encryption_config: " what

static void up(struct world *w)
{
    if (target_up(w->cluster, w->journal, w->running, &w->target, &w->err) != 0)
        fail_msg("%s", w->err.message);
}

static bool nothing_to_do(const struct world *w)
{
    return encryption_config_equal(w->running, w->target.to);
}

static void the_managed_form_has_the_provider_and_the_resources_asked_for(void **state)
{
    (void)state;
    struct world w CLEANUP(world_free) = world(ENCRYPTION("{enabled: true}"), "", NULL);
    up(&w);
    assert_string_equal(w.target.why, "enable");
    assert_true(encryption_config_is_managed(w.target.to));
    assert_true(encryption_writes_with(w.target.to, "secrets", PROVIDER_AESCBC));
    assert_true(encryption_writes_with(w.target.to, "configmaps", PROVIDER_IDENTITY));
    assert_null(w.target.custom);

    struct world v CLEANUP(world_free) =
        world(ENCRYPTION("{enabled: true, provider: secretbox, resources: [configmaps, secrets]}"),
              "", NULL);
    up(&v);
    assert_true(encryption_writes_with(v.target.to, "secrets", PROVIDER_SECRETBOX));
    assert_true(encryption_writes_with(v.target.to, "configmaps", PROVIDER_SECRETBOX));
}

static void what_runs_as_asked_is_left_alone(void **state)
{
    (void)state;
    static const struct {
        const char *kube_api, *running, *made_from;
    } table[] = {
        {ENCRYPTION("{enabled: true}"), MANAGED, NULL},
        {ENCRYPTION("{enabled: true, provider: aescbc, resources: [secrets]}"), MANAGED, NULL},
        {ENCRYPTION("{enabled: true, resources: [configmaps, secrets]}"),
         ITEM("secrets, configmaps", CBC(K1) ", " ID), NULL},
        {ENCRYPTION("{enabled: true, provider: aesgcm}"), ITEM("secrets", GCM(K1) ", " ID), NULL},
        {ENCRYPTION("{enabled: false}"), "", NULL},
        {"", "", NULL},
        {ENCRYPTION("null"), "", NULL},
        {ENCRYPTION(CUSTOM(MANAGED)), MANAGED, MANAGED},
        /* made by RKE: the journal knows of no custom_config */
        {ENCRYPTION(CUSTOM(ITEM("secrets", BOX(K2) ", " ID))), ITEM("secrets", BOX(K2) ", " ID),
         NULL},
        /* an administrator's own file */
        {"extra_args: {encryption-provider-config: /etc/own.yaml}", MANAGED, NULL},
        {ENCRYPTION("{enabled: false}") ", extra_args: {encryption-provider-config: /etc/own.yaml}",
         ITEM("secrets", GCM(K1)), NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct world w CLEANUP(world_free) =
            world(table[i].kube_api, table[i].running, table[i].made_from);
        up(&w);
        if (!nothing_to_do(&w))
            fail_msg("%zu: %s", i, w.target.why);
        assert_false(w.target.lags);
    }
}

static void a_managed_key_is_kept_as_long_as_it_can_be(void **state)
{
    (void)state;
    static const struct {
        const char *kube_api, *running, *made_from, *key, *why;
    } table[] = {
        /* other resources, the same key */
        {"{enabled: true, resources: [secrets, configmaps]}", MANAGED, NULL, "k1",
         "change the configuration"},
        {"{enabled: true}", ITEM("secrets, configmaps", CBC(K1) ", " ID), NULL, "k1",
         "change the configuration"},
        /* somebody's interrupted rotation */
        {"{enabled: true}", ITEM("secrets", CBC(K2 ", " K1) ", " ID), NULL, "k2",
         "finish a rotation"},
        /* another provider, a key that was the user's own, a disabling left half-way: a fresh one
         */
        {"{enabled: true, provider: secretbox}", MANAGED, NULL, NULL, "change the configuration"},
        {"{enabled: true}", MANAGED, MANAGED, NULL, "change the configuration"},
        {"{enabled: true}", ITEM("secrets", ID ", " CBC(K1)), NULL, NULL,
         "change the configuration"},
        {"{enabled: true}", ITEM("secrets", KMS("a") ", " ID), ITEM("secrets", KMS("a") ", " ID),
         NULL, "change the configuration"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *kube_api CLEANUP(cleanup_mem) = mem_printf(ENCRYPTION("%s"), table[i].kube_api);
        struct world w CLEANUP(world_free) = world(kube_api, table[i].running, table[i].made_from);
        up(&w);
        assert_false(nothing_to_do(&w));
        assert_string_equal(w.target.why, table[i].why);
        const char *name = encryption_active_key(w.target.to)->name;
        if (table[i].key ? !str_eq(name, table[i].key) : str_eq(name, "k1") || str_eq(name, "k2"))
            fail_msg("%zu: %s", i, name);
        assert_null(w.target.custom);
        assert_true(encryption_config_is_managed(w.target.to));
    }
}

static void a_custom_configuration_is_taken_as_it_stands(void **state)
{
    (void)state;
    struct world w CLEANUP(world_free) =
        world(ENCRYPTION(CUSTOM(ITEM("secrets", BOX(K2) ", " CBC(K1) ", " ID))), MANAGED, NULL);
    up(&w);
    assert_true(encryption_config_equal(w.target.to, w.cluster->custom));
    assert_ptr_equal(w.target.custom, w.cluster->custom);
    assert_string_equal(w.target.why, "change the configuration");

    /* From one to a quite different one, the old key dropped in the same edit. */
    struct world v CLEANUP(world_free) =
        world(ENCRYPTION(CUSTOM(ITEM("configmaps", GCM(K2) ", " ID))),
              ITEM("secrets", CBC(K1) ", " ID), ITEM("secrets", CBC(K1) ", " ID));
    up(&v);
    assert_true(encryption_config_equal(v.target.to, v.cluster->custom));
}

static void disabling_goes_to_nothing(void **state)
{
    (void)state;
    static const char *const asked[] = {"{enabled: false}", "null", "{}",
                                        "{enabled: false, custom_config: {" HEAD "[" MANAGED "]}}"};
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        char *kube_api CLEANUP(cleanup_mem) = mem_printf(ENCRYPTION("%s"), asked[i]);
        struct world w CLEANUP(world_free) =
            world(kube_api, ITEM("secrets", KMS("a") ", " ID), i % 2 ? MANAGED : NULL);
        up(&w);
        assert_string_equal(w.target.why, "disable");
        assert_int_equal(w.target.to->item_count, 0);
        assert_null(w.target.custom);
    }
}

static void a_key_that_rotate_key_replaced_does_not_come_back_by_itself(void **state)
{
    (void)state;
    /* cluster.yml is what it was before the rotation. */
    struct world w CLEANUP(world_free) =
        world(ENCRYPTION(CUSTOM(ITEM("secrets", CBC(K1) ", " ID))),
              ITEM("secrets", CBC(K2) ", " ID), ITEM("secrets", CBC(K1) ", " ID));
    up(&w);
    assert_true(w.target.lags);
    assert_true(nothing_to_do(&w));
    assert_true(target_config_lags(w.cluster, w.journal, w.running));

    /* It was edited since, and still has the old key. */
    struct world v CLEANUP(world_free) =
        world(ENCRYPTION(CUSTOM(ITEM("secrets, configmaps", CBC(K1) ", " ID))),
              ITEM("secrets", CBC(K2) ", " ID), ITEM("secrets", CBC(K1) ", " ID));
    assert_int_equal(target_up(v.cluster, v.journal, v.running, &v.target, &v.err), -1);
    assert_int_equal(v.err.result, RESULT_REFUSED);
    assert_non_null(strstr(v.err.message, "\"k1\", which rotate-key has replaced"));
    assert_non_null(strstr(v.err.next, "--write-config"));
    assert_null(strstr(v.err.message, "QUFB"));
    assert_false(target_config_lags(v.cluster, v.journal, v.running));
}

/* Somebody put the configuration of before a rotation back on the nodes: cluster.yml, which has the
 * fresh key, is right, and is not told to be written over. */
static void what_runs_again_after_its_rotation_is_no_rotation(void **state)
{
    (void)state;
    struct world w CLEANUP(world_free) =
        world(ENCRYPTION(CUSTOM(ITEM("secrets", CBC(K2) ", " ID))),
              ITEM("secrets", CBC(K1) ", " ID), ITEM("secrets", CBC(K2) ", " ID));
    for (size_t i = 0; i < w.journal->key_count; i++) {
        struct key_record *k = &w.journal->keys[i];
        mem_free(k->retired);
        k->retired = str_eq(k->key.name, "k1") ? mem_strdup("2026-01-02T03:04:05Z") : NULL;
    }
    assert_false(target_config_lags(w.cluster, w.journal, w.running));
    up(&w);
    assert_true(encryption_config_equal(w.target.to, w.cluster->custom));

    static const struct {
        const char *runs, *asked;
        bool lags;
    } kms[] = {{"a-2", "a", true},    {"a", "a-2", false}, {"a-10", "a-9", true}, {"b", "a", false},
               {"a-2", "a-3", false}, {"a-x", "a", false}, {"ab-2", "a", false}};
    for (size_t i = 0; i < ARRAY_LEN(kms); i++) {
        char *runs CLEANUP(cleanup_mem) =
            mem_printf(ITEM("secrets", KMS("%s") ", " ID), kms[i].runs);
        char *asked CLEANUP(cleanup_mem) =
            mem_printf(ITEM("secrets", KMS("%s") ", " ID), kms[i].asked);
        char *kube_api CLEANUP(cleanup_mem) = mem_printf(ENCRYPTION(CUSTOM("%s")), asked);
        struct world v CLEANUP(world_free) = world(kube_api, runs, asked);
        assert_int_equal(target_config_lags(v.cluster, v.journal, v.running), kms[i].lags);
    }
}

static void rotation(struct world *w)
{
    if (target_rotation(w->cluster, w->journal, w->running, &w->target, &w->err) != 0)
        fail_msg("%s", w->err.message);
    assert_string_equal(w->target.why, "rotate-key");
}

static void rotating_gives_a_fresh_key_in_the_same_form(void **state)
{
    (void)state;
    struct world w CLEANUP(world_free) =
        world(ENCRYPTION("{enabled: true, provider: secretbox, resources: [configmaps, secrets]}"),
              ITEM("secrets, configmaps", BOX(K1) ", " ID), NULL);
    rotation(&w);
    assert_true(encryption_config_same_shape(w.running, w.target.to));
    assert_string_not_equal(encryption_active_key(w.target.to)->name, "k1");
    assert_null(w.target.custom);

    static const char *const two =
        ITEM("secrets", GCM(K1) ", " CBC(K2) ", " ID) ", " ITEM("configmaps", CBC(K2) ", " ID);
    struct world v CLEANUP(world_free) =
        world(ENCRYPTION(CUSTOM(ITEM("secrets", GCM(K1) ", " CBC(K2) ", " ID) ", " ITEM(
                  "configmaps", CBC(K2) ", " ID))),
              two, two);
    rotation(&v);
    assert_true(encryption_config_same_shape(v.running, v.target.to));
    assert_false(v.target.kms);
    assert_ptr_equal(v.target.custom, v.cluster->custom);
    assert_string_not_equal(v.target.to->items[0].providers[0].keys[0].name, "k1");
    assert_string_equal(v.target.to->items[0].providers[1].keys[0].name,
                        v.target.to->items[1].providers[0].keys[0].name);
}

static void rotating_a_kms_gives_its_provider_the_next_free_name(void **state)
{
    (void)state;
    static const struct {
        const char *name, *want;
    } table[] = {{"vault", "vault-2"},     {"vault-2", "vault-3"}, {"vault-9", "vault-10"},
                 {"vault-x", "vault-x-2"}, {"v-007", "v-007-2"},   {"v-", "v--2"},
                 {"taken", "taken-3"}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *items CLEANUP(cleanup_mem) =
            mem_printf(ITEM("secrets", "{kms: {name: '%s', endpoint: 'unix:///run/s'}}, "
                                       "{kms: {name: taken-2, endpoint: 'unix:///run/t'}}, " ID),
                       table[i].name);
        char *kube_api CLEANUP(cleanup_mem) = mem_printf(ENCRYPTION(CUSTOM("%s")), items);
        struct world w CLEANUP(world_free) = world(kube_api, items, items);
        rotation(&w);
        assert_true(w.target.kms);
        assert_string_equal(w.target.to->items[0].providers[0].kms_name, table[i].want);
        assert_string_equal(w.target.to->items[0].providers[0].kms_endpoint, "unix:///run/s");
        assert_string_equal(w.target.to->items[0].providers[1].kms_name, "taken-2");
    }
}

static void a_rotation_that_would_not_be_what_is_meant_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *kube_api, *running, *made_from, *message;
    } table[] = {
        {ENCRYPTION("{enabled: true}"), "", NULL, "encryption is not enabled"},
        {ENCRYPTION("{enabled: false}"), MANAGED, NULL, "says that encryption is not enabled"},
        {"extra_args: {encryption-provider-config: /etc/own.yaml}", MANAGED, NULL, "of your own"},
        {ENCRYPTION("{enabled: true, provider: aesgcm}"), MANAGED, NULL, "asks for another"},
        {ENCRYPTION("{enabled: true, resources: [secrets, configmaps]}"), MANAGED, NULL,
         "asks for another"},
        {ENCRYPTION(CUSTOM(MANAGED)), ITEM("secrets", BOX(K1) ", " ID), NULL, "asks for another"},
        {ENCRYPTION(CUSTOM(ITEM("secrets", ID ", " CBC(K1)))), ITEM("secrets", ID ", " CBC(K1)),
         NULL, "identity comes first everywhere"},
        {ENCRYPTION(CUSTOM(ITEM("secrets", CBC(K1) ", " ID))), ITEM("secrets", CBC(K2) ", " ID),
         ITEM("secrets", CBC(K1) ", " ID), "before the last rotation"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct world w CLEANUP(world_free) =
            world(table[i].kube_api, table[i].running, table[i].made_from);
        assert_int_equal(target_rotation(w.cluster, w.journal, w.running, &w.target, &w.err), -1);
        assert_int_equal(w.err.result, RESULT_REFUSED);
        if (!strstr(w.err.message, table[i].message))
            fail_msg("%zu: %s", i, w.err.message);
        assert_non_null(w.err.next);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_managed_form_has_the_provider_and_the_resources_asked_for),
        cmocka_unit_test(what_runs_as_asked_is_left_alone),
        cmocka_unit_test(a_managed_key_is_kept_as_long_as_it_can_be),
        cmocka_unit_test(a_custom_configuration_is_taken_as_it_stands),
        cmocka_unit_test(disabling_goes_to_nothing),
        cmocka_unit_test(a_key_that_rotate_key_replaced_does_not_come_back_by_itself),
        cmocka_unit_test(what_runs_again_after_its_rotation_is_no_rotation),
        cmocka_unit_test(rotating_gives_a_fresh_key_in_the_same_form),
        cmocka_unit_test(rotating_a_kms_gives_its_provider_the_next_free_name),
        cmocka_unit_test(a_rotation_that_would_not_be_what_is_meant_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
