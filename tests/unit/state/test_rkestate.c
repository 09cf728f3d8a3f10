#include "state/rkestate.h"

#include "state/json_text.h"
#include "support.h"

#include <signal.h>
#include <sys/resource.h>

#define STATE "tests/data/rke/cluster.rkestate"
#define BEFORE_UP "tests/data/rke/before-up.rkestate"

static struct rkestate *parse(const char *text)
{
    struct rkestate *s = NULL;
    OK(rkestate_parse(text, strlen(text), "cluster.rkestate", &s, &err));
    return s;
}

static struct rkestate *read_copy(void **state, const char *from, char **path)
{
    struct rkestate *s = NULL;
    *path = in(state, "cluster.rkestate");
    copy_file(from, *path);
    OK(rkestate_read(*path, &s, &err));
    assert_non_null(s);
    return s;
}

static json_t *load(const char *path)
{
    struct buf text CLEANUP(buf_free) = {0};
    json_t *json = NULL;
    slurp(path, &text);
    OK(json_text_read(buf_str(&text), text.len, path, &json, &err));
    return json;
}

/* Member names, depth first, to compare their order. */
static void outline(json_t *json, struct buf *out)
{
    const char *name;
    json_t *value;
    size_t i;
    json_object_foreach (json, name, value) {
        buf_printf(out, "%s{", name);
        outline(value, out);
        buf_adds(out, "}");
    }
    json_array_foreach (json, i, value)
        outline(value, out);
}

static void assert_same_order(json_t *a, json_t *b)
{
    struct buf of_a CLEANUP(buf_free) = {0}, of_b CLEANUP(buf_free) = {0};
    outline(a, &of_a);
    outline(b, &of_b);
    assert_string_equal(buf_str(&of_a), buf_str(&of_b));
}

static void state_survives_our_reading_and_writing(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL;
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_copy(state, STATE, &path);
    json_t *before CLEANUP(cleanup_json) = load(STATE);
    OK(rkestate_write(s, &err));
    json_t *after CLEANUP(cleanup_json) = load(path);
    assert_true(json_equal(before, after));
    assert_same_order(before, after);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(count_files(state), 1);
    /* Again: what we wrote is no other program's. */
    OK(rkestate_write(s, &err));
}

static void it_is_laid_out_as_rke_lays_it_out(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL;
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_copy(state, STATE, &path);
    struct buf ours CLEANUP(buf_free) = {0}, theirs CLEANUP(buf_free) = {0};
    OK(rkestate_write(s, &err));
    slurp(path, &ours);
    slurp(STATE, &theirs);
    /* But for the characters that Go escapes and the digits of 0.1, byte for byte. */
    static const char *const escapes[][2] = {
        {"\\u003c", "<"}, {"\\u003e", ">"}, {"\\u0026", "&"}, {"\\u2028", "\u2028"}};
    for (size_t i = 0; i < ARRAY_LEN(escapes); i++)
        while (strstr(theirs.data, escapes[i][0]))
            edit(&theirs, escapes[i][0], escapes[i][1]);
    for (int i = 0; i < 2; i++) {
        edit(&ours, "\"small\": 4.9406564584124654e-324", "\"small\": 5e-324");
        edit(&ours, "0.10000000000000001", "0.1");
        edit(&ours, "1.5000000000000001e300", "1.5e+300");
    }
    assert_string_equal(ours.data, theirs.data);
}

static void numbers_keep_their_value(void **state)
{
    (void)state;
    static const char text[] = "{\"desiredState\": {}, \"n\": [0, -1, 9007199254740993, "
                               "9223372036854775807, -9223372036854775808, 0.5, 1e3, 5.0, -0.25, "
                               "0.1, 1e-300, 1.7976931348623157e308, 123456789.123456789]}";
    struct rkestate *s CLEANUP(cleanup_rkestate) = parse(text);
    struct buf out CLEANUP(buf_free) = {0};
    json_text_write(s->root, &out);
    struct rkestate *again CLEANUP(cleanup_rkestate) = parse(out.data);
    assert_true(json_equal(s->root, again->root));
    assert_non_null(strstr(out.data, "9007199254740993,"));
    assert_non_null(strstr(out.data, "9223372036854775807,"));
    assert_non_null(strstr(out.data, " 0.5,"));
    assert_non_null(strstr(out.data, " 5.0,"));
    struct rkestate *none = NULL;
    static const char large[] = "{\"desiredState\": {}, \"n\": 9223372036854775808}";
    REFUSES(rkestate_parse(large, strlen(large), "f", &none, &err), RESULT_REFUSED,
            "a number too large to keep exactly");
}

static void a_nul_in_a_foreign_text_survives(void **state)
{
    (void)state;
    struct rkestate *s CLEANUP(cleanup_rkestate) =
        parse("{\"currentState\": {}, \"t\": \"a\\u0000b\"}");
    struct buf out CLEANUP(buf_free) = {0};
    json_text_write(s->root, &out);
    assert_non_null(strstr(out.data, "\"a\\u0000b\""));
}

static void only_the_four_places_change(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL;
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_copy(state, STATE, &path);
    json_t *want CLEANUP(cleanup_json) = load(STATE);
    rkestate_set_encryption(s, "new: yaml\n", false);
    OK(rkestate_write(s, &err));
    static const char *const states[] = {"desiredState", "currentState"};
    for (size_t i = 0; i < 2; i++) {
        json_t *of = json_object_get(want, states[i]);
        json_object_set_new(of, "encryptionConfig", json_string("new: yaml\n"));
        json_t *kube_api = json_object_get(
            json_object_get(json_object_get(of, "rkeConfig"), "services"), "kubeApi");
        json_object_set_new(json_object_get(kube_api, "secretsEncryptionConfig"), "enabled",
                            json_false());
    }
    json_t *after CLEANUP(cleanup_json) = load(path);
    assert_true(json_equal(want, after));
    assert_same_order(want, after);
}

static void set_as(const char *before, const char *yaml, bool enabled, const char *after)
{
    struct rkestate *s CLEANUP(cleanup_rkestate) = parse(before);
    struct rkestate *want CLEANUP(cleanup_rkestate) = parse(after);
    rkestate_set_encryption(s, yaml, enabled);
    if (!json_equal(s->root, want->root)) {
        struct buf got CLEANUP(buf_free) = {0};
        json_text_write(s->root, &got);
        fail_msg("from %s: got %s", before, got.data);
    }
}

#define ENABLED(v) "{\"services\":{\"kubeApi\":{\"secretsEncryptionConfig\":{\"enabled\":" v "}}}}"

static void what_is_missing_is_made_and_no_more(void **state)
{
    (void)state;
    /* A cluster that RKE has not brought up: its currentState stays empty. */
    set_as("{\"desiredState\":{\"rkeConfig\":{}},\"currentState\":{}}", "y", true,
           "{\"desiredState\":{\"rkeConfig\":" ENABLED(
               "true") ",\"encryptionConfig\":\"y\"},\"currentState\":{}}");
    /* No rkeConfig is made: RKE takes one for a cluster that is there. */
    set_as("{\"currentState\":{\"certificatesBundle\":{}}}", "y", true,
           "{\"currentState\":{\"certificatesBundle\":{},\"encryptionConfig\":\"y\"}}");
    set_as("{\"currentState\":{\"rkeConfig\":null,\"a\":1}}", "y", true,
           "{\"currentState\":{\"rkeConfig\":null,\"a\":1,\"encryptionConfig\":\"y\"}}");
    /* Disabled, and was absent. */
    set_as("{\"currentState\":{\"rkeConfig\":{\"services\":{}}}}", "", false,
           "{\"currentState\":{\"rkeConfig\":{\"services\":{}}}}");
    set_as("{\"currentState\":{\"rkeConfig\":{\"services\":{\"kubeApi\":{"
           "\"secretsEncryptionConfig\":null}}}}}",
           "", false,
           "{\"currentState\":{\"rkeConfig\":{\"services\":{\"kubeApi\":{"
           "\"secretsEncryptionConfig\":null}}}}}");
    set_as("{\"currentState\":{\"encryptionConfig\":\"x\",\"rkeConfig\":" ENABLED("true") "}}", "",
           false,
           "{\"currentState\":{\"encryptionConfig\":\"\",\"rkeConfig\":" ENABLED("false") "}}");
    set_as("{\"currentState\":{\"rkeConfig\":{\"services\":null}}}", "y", true,
           "{\"currentState\":{\"encryptionConfig\":\"y\",\"rkeConfig\":" ENABLED("true") "}}");
    /* RKE must not rotate again. */
    set_as("{\"currentState\":{\"rkeConfig\":{\"rotateEncryptionKey\":true}}}", "y", false,
           "{\"currentState\":{\"encryptionConfig\":\"y\","
           "\"rkeConfig\":{\"rotateEncryptionKey\":false}}}");
}

static void the_running_configuration_is_the_current_one(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL;
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_copy(state, STATE, &path);
    assert_non_null(strstr(rkestate_encryption_config(s), "key-n4bdz"));
    assert_non_null(strstr(rkestate_desired_encryption_config(s), "key-n4bdz"));
    static const struct {
        const char *text, *want;
    } table[] = {
        {"{\"currentState\":{\"encryptionConfig\":\"c\"},\"desiredState\":{\"encryptionConfig\":"
         "\"d\"}}",
         "c"},
        {"{\"currentState\":{},\"desiredState\":{\"encryptionConfig\":\"d\"}}", "d"},
        {"{\"currentState\":null,\"desiredState\":{\"encryptionConfig\":\"d\"}}", "d"},
        {"{\"desiredState\":{\"encryptionConfig\":\"d\"}}", "d"},
        {"{\"currentState\":{\"rkeConfig\":{}},\"desiredState\":{\"encryptionConfig\":\"d\"}}", ""},
        {"{\"currentState\":{\"encryptionConfig\":null}}", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct rkestate *t CLEANUP(cleanup_rkestate) = parse(table[i].text);
        assert_string_equal(rkestate_encryption_config(t), table[i].want);
    }
}

static void certificates_and_their_keys_come_from_one_bundle(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL;
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_copy(state, STATE, &path);
    assert_true(str_starts(rkestate_certificate(s, "kube-ca"), "-----BEGIN CERTIFICATE-----\n"));
    assert_true(str_starts(rkestate_key(s, "kube-admin"), "-----BEGIN RSA PRIVATE KEY-----\n"));
    assert_null(rkestate_certificate(s, "nobody"));
    char *same CLEANUP(cleanup_mem) = NULL;
    struct rkestate *before CLEANUP(cleanup_rkestate) = read_copy(state, BEFORE_UP, &same);
    assert_non_null(rkestate_certificate(before, "kube-ca"));
    struct rkestate *t CLEANUP(cleanup_rkestate) =
        parse("{\"currentState\":{\"certificatesBundle\":{\"a\":{\"certificatePEM\":\"c\"}}},"
              "\"desiredState\":{\"certificatesBundle\":{\"a\":{\"certificatePEM\":\"d\","
              "\"keyPEM\":\"k\"},\"b\":{\"keyPEM\":\"k\"},\"c\":5}}}");
    assert_string_equal(rkestate_certificate(t, "a"), "c");
    assert_null(rkestate_key(t, "a"));
    assert_string_equal(rkestate_key(t, "b"), "k");
    assert_null(rkestate_key(t, "c"));
}

static void the_control_plane_of_the_current_state_is_listed(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL;
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_copy(state, STATE, &path);
    char **list = rkestate_controlplane(s);
    assert_string_equal(list[0], "10.0.0.1");
    assert_string_equal(list[1], "10.0.0.2");
    assert_null(list[2]);
    for (char **p = list; *p; p++)
        mem_free(*p);
    mem_free(list);
    struct rkestate *t CLEANUP(cleanup_rkestate) =
        parse("{\"currentState\":{\"rkeConfig\":{\"nodes\":[5,{},{\"role\":\"controlplane\"},"
              "{\"role\":[5]},{\"role\":[\"controlplane\"]}]}}}");
    list = rkestate_controlplane(t);
    assert_null(list[0]);
    mem_free(list);
}

static void a_group_readable_state_file_is_refused(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    struct rkestate *s = NULL;
    copy_file(STATE, path);
    assert_int_equal(chmod(path, 0640), 0);
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(rkestate_read(path, &s, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.next, "chmod 600 "));
    assert_null(s);
}

static void no_file_is_no_error(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    struct rkestate *s = (struct rkestate *)path;
    OK(rkestate_read(path, &s, &err));
    assert_null(s);
}

static void what_is_no_state_file_is_refused_without_quoting_it(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } table[] = {
        {"", "f:1:0: "},
        {MARKER, "f:1:"},
        {"{\"desiredState\": {\"a\": \"" MARKER "\", \"a\": \"" MARKER "\"}}",
         "a member that stands there twice"},
        {"{\"" MARKER "\": 1, \"" MARKER "\": 2}", "a member that stands there twice"},
        {"{\"desiredState\": {\"encryptionConfig\": \"" MARKER "\n\"}}", "f:1:"},
        {"{\"desiredState\": {\"encryptionConfig\": \"" MARKER, "f:1:"},
        {"{\"desiredState\": {\"encryptionConfig\": \"" MARKER "\\q\"}}", "f:1:"},
        {"{\"desiredState\": {\"encryptionConfig\": \"" MARKER "\xff\"}}", "not UTF-8"},
        {"{\"desiredState\": {\"encryptionConfig\": " MARKER "}}", "f:1:"},
        {"{\"desiredState\": {}} " MARKER, "f:1:"},
        {"{\"desiredState\": {}}\n\n  \"" MARKER "\"", "f:3:"},
        {"[\"" MARKER "\"]", "not an object"},
        {"{\"a\": \"" MARKER "\"}", "no desiredState and no currentState"},
        {"{\"desiredState\": null}", "no desiredState and no currentState"},
        {"{\"desiredState\": \"" MARKER "\"}", "f: desiredState is not an object"},
        {"{\"currentState\": {\"rkeConfig\": \"" MARKER "\"}}",
         "currentState.rkeConfig is not an object"},
        {"{\"currentState\": {\"encryptionConfig\": [\"" MARKER "\"]}}",
         "currentState.encryptionConfig is not a text"},
        {"{\"currentState\": {\"encryptionConfig\": \"a\\u0000" MARKER "\"}}",
         "currentState.encryptionConfig is not a text"},
        {"{\"currentState\": {\"certificatesBundle\": []}}", "certificatesBundle is not an object"},
        {"{\"currentState\": {\"rkeConfig\": {\"nodes\": {}}}}", "rkeConfig.nodes is not a list"},
        {"{\"currentState\": {\"rkeConfig\": {\"services\": []}}}",
         "rkeConfig.services is not an object"},
        {"{\"currentState\": {\"rkeConfig\": " ENABLED("\"" MARKER "\"") "}}",
         "rkeConfig.services.kubeApi.secretsEncryptionConfig.enabled is not a boolean"},
        {"{\"currentState\": {\"rkeConfig\": {\"rotateEncryptionKey\": 1}}}",
         "rotateEncryptionKey is not a boolean"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct rkestate *s = NULL;
        REFUSES(rkestate_parse(table[i].text, strlen(table[i].text), "f", &s, &err), RESULT_REFUSED,
                table[i].want);
        assert_null(s);
    }
    struct buf deep CLEANUP(buf_free) = {0};
    for (int i = 0; i < 100000; i++)
        buf_adds(&deep, "[");
    struct rkestate *s = NULL;
    REFUSES(rkestate_parse(deep.data, deep.len, "f", &s, &err), RESULT_REFUSED, "nested too deep");
}

static void a_state_write_that_fails_leaves_the_old_file(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL;
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_copy(state, STATE, &path);
    rkestate_set_encryption(s, "new: yaml\n", true);
    struct rlimit old, small = {.rlim_cur = 1000, .rlim_max = RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct error why CLEANUP(error_clear) = {0};
    int failed = rkestate_write(s, &why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(failed, -1);
    assert_int_equal(why.result, RESULT_FAILED);
    json_t *before CLEANUP(cleanup_json) = load(STATE), *after CLEANUP(cleanup_json) = load(path);
    assert_true(json_equal(before, after));
    assert_int_equal(count_files(state), 1);
    /* And a second try goes through. */
    OK(rkestate_write(s, &err));
}

static void left_over_temporary_files_are_removed(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL;
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_copy(state, STATE, &path);
    char *left CLEANUP(cleanup_mem) = in(state, ".cluster.rkestate.encrypt-0123456789abcdef");
    spill(left, MARKER, strlen(MARKER), 0600);
    OK(rkestate_write(s, &err));
    assert_int_equal(access(left, F_OK), -1);
}

static void what_rke_wrote_meanwhile_is_not_overwritten(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL;
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_copy(state, STATE, &path);
    copy_file(BEFORE_UP, path);
    REFUSES(rkestate_write(s, &err), RESULT_REFUSED, "another program changed it");
    json_t *theirs CLEANUP(cleanup_json) = load(BEFORE_UP), *now CLEANUP(cleanup_json) = load(path);
    assert_true(json_equal(theirs, now));
    assert_int_equal(unlink(path), 0);
    REFUSES(rkestate_write(s, &err), RESULT_REFUSED, "another program removed it");
    assert_int_equal(count_files(state), 0);
}

static void a_wiped_tree_holds_no_secret(void **state)
{
    (void)state;
    struct rkestate *s = parse("{\"currentState\": {\"encryptionConfig\": \"" MARKER "\"}}");
    json_t *text = json_object_get(json_object_get(s->root, "currentState"), "encryptionConfig");
    json_t *lists = json_pack("[[s]]", MARKER);
    json_t *kept = json_incref(json_array_get(json_array_get(lists, 0), 0));
    json_wipe(lists);
    /* Somebody else still holds this one. */
    assert_string_equal(json_string_value(kept), MARKER);
    json_decref(kept);
    json_incref(s->root);
    json_t *root = s->root;
    rkestate_free(s);
    assert_string_equal(json_string_value(text), MARKER);
    rkestate_set_encryption(&(struct rkestate){.root = root}, "", false);
    json_wipe(root);
}

static void a_bare_state_can_be_worked_with_and_is_never_written_over_another(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    struct rkestate *s CLEANUP(cleanup_rkestate) = rkestate_bare(path);
    struct rkestate *again CLEANUP(cleanup_rkestate) = NULL;
    assert_true(rkestate_is_bare(s));
    rkestate_set_encryption(s, "kind: x", true);
    s->is_new = true;
    OK(rkestate_write(s, &err));
    OK(rkestate_write(s, &err));
    OK(rkestate_read(path, &again, &err));
    assert_true(rkestate_is_bare(again));
    assert_string_equal(rkestate_encryption_config(again), "kind: x");
    assert_string_equal(rkestate_desired_encryption_config(again), "kind: x");
    struct rkestate *other CLEANUP(cleanup_rkestate) = rkestate_bare(path);
    other->is_new = true;
    struct buf before CLEANUP(buf_free) = {0}, after CLEANUP(buf_free) = {0};
    slurp(path, &before);
    REFUSES(rkestate_write(other, &err), RESULT_REFUSED, "cluster.rkestate");
    slurp(path, &after);
    assert_string_equal(before.data, after.data);
    char *copy CLEANUP(cleanup_mem) = NULL;
    struct rkestate *whole CLEANUP(cleanup_rkestate) = read_copy(state, STATE, &copy);
    assert_false(rkestate_is_bare(whole));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
        IN_FOLDER(state_survives_our_reading_and_writing),
        IN_FOLDER(it_is_laid_out_as_rke_lays_it_out),
        cmocka_unit_test(numbers_keep_their_value),
        cmocka_unit_test(a_nul_in_a_foreign_text_survives),
        IN_FOLDER(only_the_four_places_change),
        cmocka_unit_test(what_is_missing_is_made_and_no_more),
        IN_FOLDER(the_running_configuration_is_the_current_one),
        IN_FOLDER(certificates_and_their_keys_come_from_one_bundle),
        IN_FOLDER(the_control_plane_of_the_current_state_is_listed),
        IN_FOLDER(a_group_readable_state_file_is_refused),
        IN_FOLDER(no_file_is_no_error),
        cmocka_unit_test(what_is_no_state_file_is_refused_without_quoting_it),
        IN_FOLDER(a_state_write_that_fails_leaves_the_old_file),
        IN_FOLDER(left_over_temporary_files_are_removed),
        IN_FOLDER(what_rke_wrote_meanwhile_is_not_overwritten),
        IN_FOLDER(a_bare_state_can_be_worked_with_and_is_never_written_over_another),
        cmocka_unit_test(a_wiped_tree_holds_no_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
