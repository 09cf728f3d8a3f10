/* State files of RKE's versions survive our reading and writing: all but what we change is as it
 * was, in its order. */
#include "state/journal.h"
#include "state/journal_json.h"
#include "state/json_text.h"
#include "support.h"

#define FOLDER "tests/data/rkestate"
#define SECRET "bm90IGEgcmVhbCBrZXksIDMyIGJ5dGVzIG9mIHRleHQ="

static const char *const states[] = {"desiredState", "currentState"};

static json_t *load(const char *path)
{
    struct buf text CLEANUP(buf_free) = {0};
    json_t *json = NULL;
    slurp(path, &text);
    OK(json_text_read(buf_str(&text), text.len, path, &json, &err));
    return json;
}

static json_t *at(const json_t *of, const char *const *way, size_t count)
{
    json_t *j = (json_t *)of;
    for (size_t i = 0; i < count; i++)
        j = json_object_get(j, way[i]);
    return j;
}

static json_t *kube_api(const json_t *root, const char *state)
{
    const char *way[] = {state, "rkeConfig", "services", "kubeApi"};
    return at(root, way, ARRAY_LEN(way));
}

static json_t *section(const json_t *root, const char *state)
{
    return json_object_get(kube_api(root, state), "secretsEncryptionConfig");
}

/* Takes out what is ours to change. */
static void forget(json_t *root)
{
    json_object_del(root, "encrypt");
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        json_t *of = section(root, states[i]);
        json_object_del(json_object_get(root, states[i]), "encryptionConfig");
        json_object_del(json_object_get(json_object_get(root, states[i]), "rkeConfig"),
                        "rotateEncryptionKey");
        json_object_del(of, "enabled");
        json_object_del(of, "customConfig");
        if (!json_object_size(of))
            json_object_del(kube_api(root, states[i]), "secretsEncryptionConfig");
    }
}

/* With the names of members in their order: two texts are the same where nothing differs. */
static char *text_of(const json_t *json)
{
    struct buf out CLEANUP(buf_free) = {0};
    json_text_write(json, &out);
    return mem_strdup(buf_str(&out));
}

static void assert_rest_is_kept(const char *name, const char *path)
{
    json_t *before CLEANUP(cleanup_json) = load(name), *after CLEANUP(cleanup_json) = load(path);
    forget(before);
    forget(after);
    if (!json_equal(before, after))
        fail_msg("%s: something else changed", name);
    char *a CLEANUP(cleanup_mem) = text_of(before), *b CLEANUP(cleanup_mem) = text_of(after);
    assert_string_equal(a, b);
}

static bool there(const json_t *root, const char *state)
{
    return json_object_size(json_object_get(root, state)) > 0;
}

static void assert_set(const char *path, const char *yaml, const char *custom)
{
    json_t *root CLEANUP(cleanup_json) = load(path);
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        const json_t *state = json_object_get(root, states[i]);
        const json_t *of = section(root, states[i]);
        if (!there(root, states[i]))
            continue;
        const char *text = json_string_value(json_object_get(state, "encryptionConfig"));
        assert_string_equal(text ? text : "", yaml);
        assert_int_equal(json_is_true(json_object_get(of, "enabled")), *yaml != '\0');
        assert_false(json_is_true(
            json_object_get(json_object_get(state, "rkeConfig"), "rotateEncryptionKey")));
        json_t *got = json_object_get(of, "customConfig");
        json_t *want CLEANUP(cleanup_json) = NULL;
        if (custom)
            OK(json_text_read(custom, strlen(custom), "custom", &want, &err));
        assert_true(custom ? json_equal(got, want) : !got);
    }
    /* Ours comes last. */
    void *iter = json_object_iter(root), *last = iter;
    for (; iter; iter = json_object_iter_next(root, iter))
        last = iter;
    assert_string_equal(json_object_iter_key(last), "encrypt");
}

static struct encryption_config *config(const char *yaml)
{
    struct encryption_config *c = NULL;
    OK(encryption_config_read(yaml, strlen(yaml), "config", ENCRYPTION_STRICT, &c, &err));
    return c;
}

#define HEAD "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
#define MANAGED                                                                                    \
    HEAD "- resources: [secrets]\n  providers:\n  - aescbc:\n      keys:\n"                        \
         "      - {name: key-fresh, secret: " SECRET "}\n  - identity: {}\n"

static void change(void **state, const char *name, const char *yaml,
                   const struct encryption_config *custom, const char *custom_json)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    char *sidecar CLEANUP(cleanup_mem) = in(state, "cluster.encrypt-state");
    struct rkestate *s CLEANUP(cleanup_rkestate) = NULL, *again CLEANUP(cleanup_rkestate) = NULL;
    struct journal *j CLEANUP(cleanup_journal) = NULL, *kept CLEANUP(cleanup_journal) = NULL;
    unlink(sidecar);
    copy_file(name, path);
    OK(rkestate_read(path, &s, &err));
    assert_false(rkestate_is_bare(s));
    OK(journal_read(s, path, &j, &err));
    rkestate_set_encryption(s, yaml, *yaml);
    rkestate_set_custom(s, custom);
    assert_true(rkestate_agrees(s, *yaml));
    OK(journal_write(j, s, &err));
    assert_rest_is_kept(name, path);
    assert_set(path, yaml, custom_json);
    OK(rkestate_read(path, &again, &err));
    OK(journal_read(again, path, &kept, &err));
    /* No key of RKE's is lost: all are in the history. */
    assert_true(j->sequence > 0);
    for (size_t i = 0; i < j->key_count; i++)
        assert_non_null(journal_find_key(kept, j->keys[i].type, &j->keys[i].key));
}

static void every_sample_survives(void **state)
{
    static const char custom_json[] =
        "{\"kind\": \"EncryptionConfiguration\", \"apiVersion\": \"apiserver.config.k8s.io/v1\", "
        "\"resources\": [{\"resources\": [\"secrets\"], \"providers\": [{\"aescbc\": {\"keys\": "
        "[{\"name\": \"key-fresh\", \"secret\": \"" SECRET "\"}]}}, {\"identity\": {}}]}]}";
    struct encryption_config *custom CLEANUP(cleanup_encryption_config) = config(MANAGED);
    size_t count = 0;
    DIR *d = opendir(FOLDER);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        const char *end = strrchr(e->d_name, '.');
        if (!end || !str_eq(end, ".json"))
            continue;
        char *name CLEANUP(cleanup_mem) = mem_printf(FOLDER "/%s", e->d_name);
        change(state, name, MANAGED, NULL, NULL);
        change(state, name, MANAGED, custom, custom_json);
        change(state, name, "", NULL, NULL);
        count++;
    }
    closedir(d);
    assert_true(count >= 9);
}

static void untouched_but_for_our_member(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    static const char name[] = FOLDER "/v1.8-everything.json";
    struct rkestate *s CLEANUP(cleanup_rkestate) = NULL;
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    copy_file(name, path);
    OK(rkestate_read(path, &s, &err));
    OK(journal_read(s, path, &j, &err));
    OK(journal_write(j, s, &err));
    json_t *before CLEANUP(cleanup_json) = load(name), *after CLEANUP(cleanup_json) = load(path);
    json_object_del(after, "encrypt");
    char *a CLEANUP(cleanup_mem) = text_of(before), *b CLEANUP(cleanup_mem) = text_of(after);
    assert_string_equal(a, b);
}

static void keys_of_a_rotation_of_rkes_are_all_kept(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    struct rkestate *s CLEANUP(cleanup_rkestate) = NULL;
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    copy_file(FOLDER "/v1.1-rotating.json", path);
    OK(rkestate_read(path, &s, &err));
    OK(journal_read(s, path, &j, &err));
    assert_int_equal(j->key_count, 2);
    /* Its 32 hexadecimal characters are the key. */
    assert_int_equal(j->keys[0].key.secret_len, 32);
    assert_memory_equal(j->keys[0].key.secret, "FFEEDDCCBBAA99887766554433221100", 32);
    assert_false(rkestate_agrees(s, true));
}

/* Else a way back would leave a custom_config of RKE's as one of its own. */
static void rkes_word_on_what_is_custom_is_taken(void **state)
{
    static const struct {
        const char *name;
        bool custom;
    } table[] = {{"v1.1-custom", true},    {"v1.3-custom", true},      {"v1.0-managed", false},
                 {"v1.4-disabled", false}, {"v1.2-no-current", false}, {"v0.2", false}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *name CLEANUP(cleanup_mem) = mem_printf(FOLDER "/%s.json", table[i].name);
        char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
        struct rkestate *s CLEANUP(cleanup_rkestate) = NULL;
        struct journal *j CLEANUP(cleanup_journal) = NULL;
        copy_file(name, path);
        OK(rkestate_read(path, &s, &err));
        OK(journal_read(s, path, &j, &err));
        assert_int_equal(rkestate_is_custom(s), table[i].custom);
        assert_int_equal(j->custom != NULL, table[i].custom);
        if (!table[i].custom)
            continue;
        assert_string_equal(j->custom->items[0].providers[0].keys[0].name, "box");
        /* It is in no file yet, and is asked again; disabled, it says nothing. */
        rkestate_set_encryption(s, "", false);
        assert_false(rkestate_is_custom(s));
    }
}

static void custom_is_written_as_rke_writes_it(void **state)
{
    (void)state;
    static const char yaml[] =
        HEAD "- resources: [secrets, widgets.example.com]\n  providers:\n"
             "  - aesgcm: {keys: [{name: g, secret: " SECRET "}, {name: h, secret: "
             "QUFBQUFBQUFBQUFBQUFBQg==}]}\n"
             "  - secretbox: {keys: [{name: s, secret: " SECRET "}]}\n"
             "  - kms: {name: one, endpoint: 'unix:///a', cachesize: 5, timeout: 3s}\n"
             "  - kms: {apiVersion: v2, name: two, endpoint: 'unix:///b'}\n  - identity: {}\n"
             "- resources: [configmaps]\n  providers:\n  - identity: {}\n";
    static const char want[] =
        "{\"kind\":\"EncryptionConfiguration\",\"apiVersion\":\"apiserver.config.k8s.io/v1\","
        "\"resources\":[{\"resources\":[\"secrets\",\"widgets.example.com\"],\"providers\":["
        "{\"aesgcm\":{\"keys\":[{\"name\":\"g\",\"secret\":\"" SECRET "\"},"
        "{\"name\":\"h\",\"secret\":\"QUFBQUFBQUFBQUFBQUFBQg==\"}]}},"
        "{\"secretbox\":{\"keys\":[{\"name\":\"s\",\"secret\":\"" SECRET "\"}]}},"
        "{\"kms\":{\"name\":\"one\",\"cachesize\":5,\"endpoint\":\"unix:///a\",\"timeout\":\"3s\"}}"
        ",{\"kms\":{\"apiVersion\":\"v2\",\"name\":\"two\",\"endpoint\":\"unix:///b\"}},"
        "{\"identity\":{}}]},{\"resources\":[\"configmaps\"],\"providers\":[{\"identity\":{}}]}]}";
    static const char bare[] =
        "{\"desiredState\":{\"rkeConfig\":{\"services\":{\"kubeApi\":{"
        "\"secretsEncryptionConfig\":{\"enabled\":true}}}}},\"currentState\":{\"rkeConfig\":{"
        "\"services\":{\"kubeApi\":{\"secretsEncryptionConfig\":null}}}}}";
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    OK(encryption_config_read(yaml, strlen(yaml), "yaml", ENCRYPTION_LENIENT, &c, &err));
    struct rkestate *s CLEANUP(cleanup_rkestate) = NULL, *other CLEANUP(cleanup_rkestate) = NULL;
    OK(rkestate_parse(bare, strlen(bare), "bare", &s, &err));
    OK(rkestate_parse(bare, strlen(bare), "bare", &other, &err));
    json_t *before CLEANUP(cleanup_json) = json_deep_copy(s->root);
    rkestate_set_custom(s, NULL);
    assert_true(json_equal(before, s->root));
    rkestate_set_custom(s, c);
    json_t *got = json_object_get(section(s->root, "desiredState"), "customConfig");
    char *text = json_dumps(got, JSON_COMPACT);
    assert_string_equal(text, want);
    free(text);
    /* No section is made for it. */
    assert_true(json_is_null(section(s->root, "currentState")));
    rkestate_copy_custom(other, s);
    assert_true(json_equal(other->root, s->root));
    rkestate_set_custom(s, NULL);
    assert_true(json_equal(before, s->root));
    rkestate_copy_custom(other, s);
    assert_true(json_equal(other->root, s->root));
    /* From one that knows nothing of it, nothing. */
    struct rkestate *none CLEANUP(cleanup_rkestate) = rkestate_bare("none");
    rkestate_set_custom(other, c);
    json_t *had CLEANUP(cleanup_json) = json_deep_copy(other->root);
    rkestate_copy_custom(other, none);
    assert_true(json_equal(had, other->root));
}

#define STATE(string, enabled, more)                                                               \
    "{\"encryptionConfig\":\"" string "\",\"rkeConfig\":{\"services\":{\"kubeApi\":{"              \
    "\"secretsEncryptionConfig\":{" enabled "}}}" more "}}"

static void states_that_differ_are_noticed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool enabled, want;
    } table[] = {
        {"{\"currentState\":" STATE("", "", "") ",\"desiredState\":" STATE("", "", "") "}", false,
         true},
        {"{\"currentState\":" STATE("", "", "") ",\"desiredState\":" STATE("", "", "") "}", true,
         false},
        {"{\"currentState\":" STATE("", "", "") "}", false, true},
        {"{\"currentState\":{},\"desiredState\":" STATE("", "\"enabled\":true", "") "}", true,
         true},
        {"{\"currentState\":" STATE("", "\"enabled\":true", "") ",\"desiredState\":" STATE("", "",
                                                                                           "") "}",
         true, false},
        {"{\"currentState\":" STATE("", "", ",\"rotateEncryptionKey\":true") "}", false, false},
        {"{\"currentState\":" STATE("", "", ",\"rotateEncryptionKey\":false") "}", false, true},
        {"{\"currentState\":{\"encryptionConfig\":\"\"},\"desiredState\":{\"encryptionConfig\":"
         "\"{kind: EncryptionConfig, apiVersion: v1, resources: [{resources: [secrets], providers: "
         "[{identity: {}}]}]}\"}}",
         false, false},
        /* What doesn't read may hold a key. */
        {"{\"currentState\":{\"encryptionConfig\":\"\"},\"desiredState\":{\"encryptionConfig\":"
         "\"{\"}}",
         false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct rkestate *s CLEANUP(cleanup_rkestate) = NULL;
        OK(rkestate_parse(table[i].text, strlen(table[i].text), "f", &s, &err));
        if (rkestate_agrees(s, table[i].enabled) != table[i].want)
            fail_msg("%s", table[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_sample_survives, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(untouched_but_for_our_member, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(keys_of_a_rotation_of_rkes_are_all_kept, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(rkes_word_on_what_is_custom_is_taken, make_folder,
                                        remove_folder),
        cmocka_unit_test(custom_is_written_as_rke_writes_it),
        cmocka_unit_test(states_that_differ_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
