#include "provisioner/cluster_state.h"
#include "tests/unit/provisioner/standin.h"

#include "state/journal_json.h"
#include "state/json_text.h"

#include <openssl/evp.h>

/* A stand-in that keeps the Secret and the ConfigMap as kube-apiserver does: resourceVersion, 409s,
 * preconditions, merge patches. */
struct world {
    json_t *secret, *config_map;
    int version;
    int thieves; /* so often somebody else changes the Secret right after it was looked at */
    int writes;
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

static void tell_object(const struct asked *q, const json_t *o, struct buf *out)
{
    bool metadata = strstr(q->head, "as=PartialObjectMetadata");
    json_t *view CLEANUP(cleanup_json) = json_deep_copy(o);
    if (metadata)
        json_object_del(view, "data");
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
        json_object_set_new(json_object_get(*o, "metadata"), "uid", json_string("u"));
        touch(w, *o);
        tell_object(q, *o, out);
    } else if (!*o) {
        standin_status(out, 404, NULL, "NotFound", "not found", "secrets", "", NULL);
    } else if (str_eq(q->method, "GET")) {
        tell_object(q, *o, out);
        if (secret && w->thieves-- > 0)
            touch(w, *o);
    } else if (str_eq(q->method, "PATCH")) {
        if (!str_eq(version_of(body, "metadata"), version_of(*o, "metadata"))) {
            standin_status(out, 409, NULL, "Conflict", "changed", "secrets", "", NULL);
            return;
        }
        w->writes++;
        json_object_update(json_object_get(*o, "data"), json_object_get(body, "data"));
        touch(w, *o);
        tell_object(q, *o, out);
    } else if (!str_eq(version_of(body, "preconditions"), version_of(*o, "metadata"))) {
        standin_status(out, 409, NULL, "Conflict", "changed", "configmaps", "", NULL);
    } else {
        json_decref(*o);
        *o = NULL;
        standin_answer(out, 200, NULL, "{}");
    }
}

static char *base64_of(const char *text)
{
    char *to = mem_alloc(strlen(text) / 3 * 4 + 8, 1);
    EVP_EncodeBlock((unsigned char *)to, (const unsigned char *)text, (int)strlen(text));
    return to;
}

/* `text`: as the object has it, NULL: without the key. */
static json_t *object(struct world *w, const char *text)
{
    json_t *o = json_pack("{s:{s:s, s:s}, s:{s:s*}}", "metadata", "name", "full-cluster-state",
                          "uid", "u", "data", "full-cluster-state", text);
    touch(w, o);
    return o;
}

static json_t *secret(struct world *w, const char *text)
{
    char *base64 CLEANUP(cleanup_mem) = base64_of(text);
    return object(w, base64);
}

#define WORLD(...)                                                                                 \
    struct world w CLEANUP(world_free) = {__VA_ARGS__};                                            \
    struct standin s CLEANUP(standin_stop) = {.fn = serve, .ctx = &w};                             \
    struct error err CLEANUP(error_clear) = {0};                                                   \
    struct ours ours CLEANUP(ours_free) = {0};                                                     \
    standin_start(&s, *state, "kube-apiserver on a");                                              \
    w.version = 8;                                                                                 \
    ours_make(&ours)

#define K1 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define K2 "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
#define CBC(name, secret) "{aescbc: {keys: [{name: " name ", secret: \\\"" secret "\\\"}]}}"
#define CONFIG(providers)                                                                          \
    "{kind: EncryptionConfiguration, apiVersion: apiserver.config.k8s.io/v1, resources: "          \
    "[{resources: [secrets], providers: [" providers "]}]}"
#define ENCRYPTED CONFIG(CBC("b", K2) ", {identity: {}}")
#define PLAIN CONFIG("{identity: {}}, " CBC("b", K2))
#define STATE(certificates, config)                                                                \
    "{\"desiredState\": {\"rkeConfig\": {\"nodes\": []}, \"certificatesBundle\": " certificates    \
    ", \"encryptionConfig\": \"" config "\"}, \"currentState\": {\"rkeConfig\": {\"nodes\": []}, " \
    "\"certificatesBundle\": " certificates ", \"encryptionConfig\": \"" config "\"}}"
#define OLD "{\"kube-ca\": {\"certificatePEM\": \"old\"}}"
#define NEW "{\"kube-ca\": {\"certificatePEM\": \"new\"}}"

/* A state file and its journal: encrypted with b, which has replaced a; certificates `OLD`. */
struct ours {
    struct rkestate *state;
    struct journal *journal;
    struct cluster_state_done what;
};

static void add_key(struct journal *j, const char *name, int letter)
{
    unsigned char bytes[32];
    memset(bytes, letter, sizeof(bytes));
    struct encryption_key key = {.name = mem_strdup(name), .secret = bytes, .secret_len = 32};
    journal_add_key(j, PROVIDER_AESCBC, &key);
    mem_free(key.name);
}

static struct rkestate *state_of(const char *text)
{
    struct error err CLEANUP(error_clear) = {0};
    struct rkestate *s = NULL;
    if (rkestate_parse(text, strlen(text), "state", &s, &err) < 0)
        fail_msg("%s", err.message);
    return s;
}

static void ours_make(struct ours *o)
{
    struct error err CLEANUP(error_clear) = {0};
    o->state = state_of(STATE(OLD, ENCRYPTED));
    assert_int_equal(journal_new("/tmp/x.rkestate", &o->journal, &err), 0);
    o->journal->sequence = 5;
    o->journal->generation = 7;
    add_key(o->journal, "a", 'A');
    add_key(o->journal, "b", 'B');
}

static void ours_free(struct ours *o)
{
    rkestate_free(o->state);
    journal_free(o->journal);
    mem_free(o->what.left);
}

static int put(struct standin *s, struct ours *o, struct error *err)
{
    mem_free(o->what.left);
    return cluster_state_put(&s->server, o->state, o->journal, &o->what, err);
}
#define PUT() put(&s, &ours, &err)

/* What the Secret holds; to be freed. */
static struct rkestate *held(const struct world *w)
{
    const char *data = json_string_value(
        json_object_get(json_object_get(w->secret, "data"), "full-cluster-state"));
    assert_non_null(data);
    char *got CLEANUP(cleanup_mem) = mem_alloc(strlen(data), 1);
    assert_true(
        EVP_DecodeBlock((unsigned char *)got, (const unsigned char *)data, (int)strlen(data)) > 0);
    return state_of(got);
}

/* Both strings, and the flags with them, are ours; the certificates these. */
static void holds(const struct world *w, const char *config, const char *certificate)
{
    struct rkestate *copy CLEANUP(cleanup_rkestate) = held(w);
    assert_string_equal(rkestate_encryption_config(copy), config);
    assert_string_equal(rkestate_desired_encryption_config(copy), config);
    assert_string_equal(rkestate_certificate(copy, "kube-ca"), certificate);
}

/* The journal in the Secret, NULL: none. */
static json_t *member_of(const struct world *w)
{
    struct rkestate *copy CLEANUP(cleanup_rkestate) = held(w);
    return json_incref(json_object_get(copy->root, "encrypt"));
}

static char *with_member(const char *text, const struct journal *j)
{
    struct error err CLEANUP(error_clear) = {0};
    struct rkestate *copy CLEANUP(cleanup_rkestate) = state_of(text);
    struct buf b = {0};
    json_t *json = NULL;
    assert_int_equal(journal_to_json(j, &json, &err), 0);
    json_put(copy->root, "encrypt", json);
    json_text_write(copy->root, &b);
    return b.data;
}

static void test_none_is_made(void **state)
{
    WORLD(.writes = 0);
    assert_int_equal(PUT(), 0);
    assert_null(ours.what.done);
    assert_null(ours.what.left);
    assert_int_equal(w.writes, 0);
}

static void test_secret_is_updated_once(void **state)
{
    WORLD(.writes = 0);
    w.secret = secret(&w, STATE(OLD, ""));
    assert_int_equal(PUT(), 0);
    assert_non_null(ours.what.done);
    holds(&w, rkestate_encryption_config(ours.state), "old");
    json_t *member CLEANUP(cleanup_json) = member_of(&w);
    assert_int_equal(json_integer_value(json_object_get(member, "generation")), 7);
    assert_int_equal(json_array_size(json_object_get(member, "keys")), 2);
    assert_int_equal(w.writes, 1);
    assert_int_equal(PUT(), 0);
    assert_null(ours.what.done);
    assert_int_equal(w.writes, 1);
    /* A later generation with the same keys. */
    ours.journal->generation++;
    assert_int_equal(PUT(), 0);
    assert_int_equal(w.writes, 2);
}

/* The file on this machine is older than what RKE wrote from another one. */
static void test_members_of_rke_survive(void **state)
{
    WORLD(.writes = 0);
    w.secret = secret(&w, STATE(NEW, ""));
    assert_int_equal(PUT(), 0);
    holds(&w, rkestate_encryption_config(ours.state), "new");
}

/* A state file that was rebuilt without RKE's members takes them from nobody. */
static void test_bare_state_is_not_pushed(void **state)
{
    WORLD(.writes = 0);
    w.secret = secret(&w, STATE(NEW, ""));
    char *yaml CLEANUP(cleanup_mem) = mem_strdup(rkestate_encryption_config(ours.state));
    rkestate_free(ours.state);
    ours.state = rkestate_bare("state");
    rkestate_set_encryption(ours.state, yaml, true);
    assert_int_equal(PUT(), 0);
    holds(&w, yaml, "new");
    /* The other way round the copy gets them. */
    rkestate_free(ours.state);
    ours.state = state_of(STATE(OLD, ENCRYPTED));
    json_decref(w.secret);
    w.secret = secret(&w, "{\"desiredState\": {\"encryptionConfig\": \"\"}}");
    assert_int_equal(PUT(), 0);
    holds(&w, yaml, "old");
}

static void test_race(void **state)
{
    WORLD(.thieves = 2);
    w.secret = secret(&w, STATE(OLD, ""));
    assert_int_equal(PUT(), 0);
    holds(&w, rkestate_encryption_config(ours.state), "old");
    assert_int_equal(w.writes, 1);
    w.thieves = 100;
    ours.journal->generation++;
    assert_int_equal(PUT(), -1);
    assert_int_equal(w.writes, 1);
}

static void test_later_generation_is_left(void **state)
{
    WORLD(.writes = 0);
    ours.journal->generation += 2;
    char *text CLEANUP(cleanup_mem) = with_member(STATE(NEW, ""), ours.journal);
    ours.journal->generation -= 2;
    w.secret = secret(&w, text);
    assert_int_equal(PUT(), 0);
    assert_non_null(strstr(ours.what.left, "generation 9"));
    assert_int_equal(w.writes, 0);
    /* Of another cluster. */
    ours.journal->generation += 2;
    ours.journal->cluster_id[0] = ours.journal->cluster_id[0] == '1' ? '2' : '1';
    assert_int_equal(PUT(), 0);
    assert_non_null(strstr(ours.what.left, "cluster"));
    assert_int_equal(w.writes, 0);
}

/* A key that only the copy's history has is never lost. */
static void test_keys_of_the_copy_stay(void **state)
{
    WORLD(.writes = 0);
    size_t before = ours.journal->key_count;
    add_key(ours.journal, "c", 'C');
    char *text CLEANUP(cleanup_mem) = with_member(STATE(NEW, ""), ours.journal);
    journal_free(ours.journal);
    rkestate_free(ours.state);
    char id[37];
    json_t *json CLEANUP(cleanup_json) = json_loads(text, 0, NULL);
    snprintf(id, sizeof(id), "%s",
             json_string_value(json_object_get(json_object_get(json, "encrypt"), "cluster")));
    ours_make(&ours);
    snprintf(ours.journal->cluster_id, 37, "%s", id);
    ours.journal->generation++;
    w.secret = secret(&w, text);
    assert_int_equal(PUT(), 0);
    json_t *member CLEANUP(cleanup_json) = member_of(&w);
    assert_int_equal(json_integer_value(json_object_get(member, "generation")), 8);
    assert_int_equal(json_array_size(json_object_get(member, "keys")), before + 1);
    /* Where it may not stay, since it would lie in etcd in the clear, nothing is touched. */
    rkestate_set_encryption(ours.state, "", false);
    ours.journal->generation++;
    assert_int_equal(PUT(), 0);
    assert_non_null(strstr(ours.what.left, "keys"));
}

/* What is stored plain holds no history of keys. */
static void test_plain_without_member(void **state)
{
    static const char *const plain[] = {STATE(OLD, ""), STATE(OLD, PLAIN)};
    WORLD(.writes = 0);
    char *text CLEANUP(cleanup_mem) = with_member(STATE(OLD, ENCRYPTED), ours.journal);
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        rkestate_free(ours.state);
        ours.state = state_of(plain[i]);
        json_decref(w.secret);
        w.secret = secret(&w, text);
        w.writes = 0;
        assert_int_equal(PUT(), 0);
        assert_int_equal(w.writes, 1);
        assert_null(member_of(&w));
        holds(&w, rkestate_encryption_config(ours.state), "old");
        assert_int_equal(PUT(), 0);
        assert_int_equal(w.writes, 1);
    }
}

static void test_config_map_becomes_a_secret(void **state)
{
    WORLD(.writes = 0);
    w.config_map = object(&w, STATE(NEW, ""));
    assert_int_equal(PUT(), 0);
    assert_non_null(strstr(ours.what.done, "in the clear"));
    holds(&w, rkestate_encryption_config(ours.state), "new");
    assert_null(w.config_map);
    /* An RKE that knows ConfigMaps alone made it again: it is the newer one (9 is not more than
     * 10, as text it is). */
    w.config_map = object(&w, STATE(OLD, ""));
    assert_int_equal(PUT(), 0);
    assert_null(w.config_map);
    holds(&w, rkestate_encryption_config(ours.state), "old");
    /* A killed run left the older one. */
    w.config_map = object(&w, STATE(NEW, ""));
    touch(&w, w.secret);
    w.writes = 0;
    assert_int_equal(PUT(), 0);
    assert_null(w.config_map);
    holds(&w, rkestate_encryption_config(ours.state), "old");
    assert_int_equal(w.writes, 0);
}

static void test_forbidden(void **state)
{
    WORLD(.forbidden = true);
    w.config_map = object(&w, STATE(OLD, ""));
    assert_int_equal(PUT(), -1);
    assert_non_null(strstr(err.message, "full-cluster-state"));
    /* The only copy stays. */
    assert_non_null(w.config_map);
}

static void test_damaged_is_left(void **state)
{
    static const char *const damaged[] = {"***", "YWJj", "", NULL};
    WORLD(.writes = 0);
    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        json_decref(w.secret);
        w.secret = object(&w, damaged[i]);
        assert_int_equal(PUT(), 0);
        assert_non_null(ours.what.left);
        assert_int_equal(w.writes, 0);
    }
    w.config_map = object(&w, STATE(NEW, ""));
    assert_int_equal(PUT(), 0);
    assert_non_null(ours.what.left);
    assert_int_equal(w.writes, 0);
    assert_non_null(w.config_map);
}

static void test_read(void **state)
{
    WORLD(.writes = 0);
    struct cluster_state_copy c CLEANUP(cluster_state_copy_free) = {0};
    assert_int_equal(cluster_state_read(&s.server, &c, &err), 0);
    assert_null(c.newest);
    w.config_map = object(&w, STATE(NEW, ""));
    assert_int_equal(cluster_state_read(&s.server, &c, &err), 0);
    assert_string_equal(c.newest->kind, "ConfigMap");
    assert_string_equal(rkestate_certificate(c.newest->state, "kube-ca"), "new");
    cluster_state_copy_free(&c);
    static const char *const ends[] = {STATE(OLD, ""), STATE(OLD, "") " ", STATE(OLD, "") "  "};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        json_decref(w.secret);
        w.secret = secret(&w, ends[i]);
        assert_int_equal(cluster_state_read(&s.server, &c, &err), 0);
        assert_string_equal(c.newest->kind, "Secret");
        assert_non_null(c.newest->state);
        assert_non_null(c.config_map.state);
        cluster_state_copy_free(&c);
    }
    json_decref(w.secret);
    w.secret = object(&w, "***");
    assert_int_equal(cluster_state_read(&s.server, &c, &err), 0);
    assert_non_null(c.secret.trouble);
    cluster_state_copy_free(&c);
    /* An answer that nothing could be swapped by. */
    json_object_del(json_object_get(w.secret, "metadata"), "resourceVersion");
    assert_int_equal(cluster_state_read(&s.server, &c, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STANDIN_TEST(test_none_is_made),
        STANDIN_TEST(test_secret_is_updated_once),
        STANDIN_TEST(test_members_of_rke_survive),
        STANDIN_TEST(test_bare_state_is_not_pushed),
        STANDIN_TEST(test_race),
        STANDIN_TEST(test_later_generation_is_left),
        STANDIN_TEST(test_keys_of_the_copy_stay),
        STANDIN_TEST(test_plain_without_member),
        STANDIN_TEST(test_config_map_becomes_a_secret),
        STANDIN_TEST(test_forbidden),
        STANDIN_TEST(test_damaged_is_left),
        STANDIN_TEST(test_read),
    };
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
