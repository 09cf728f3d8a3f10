/* The answer of `status` as it is printed: RKE2's lines and members, and what is wrong. */
#include "base/buf.h"
#include "cmd/cmd.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* main.c's, which the tests don't link. */
const struct command commands[] = {{.name = "resume"}, {0}};
const struct command *command_find(const char *name)
{
    return str_eq(name, "resume") ? commands : NULL;
}
static const struct command_line plugin = {.program = "kubectl encrypt"};
static const struct command_line line = {.program = "encrypt"};

static char *printed(const struct encrypt_status *s,
                     void (*print)(const struct command_line *, const struct encrypt_status *,
                                   FILE *))
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    print(&line, s, f);
    fclose(f);
    return text;
}

static char word_cbc[] = "AES-CBC", word_gcm[] = "AES-GCM", word_box[] = "XSalsa20-POLY1305",
            word_plain[] = "identity", new_key[] = "key-new", old_key[] = "key-old", none[] = "",
            print_a[] = "0123456789ab", moment[] = "2026-01-02T03:04:05Z", one[] = "10.0.0.1",
            two[] = "10.0.0.2", host[] = "node1", stage[] = "rotate", prepare[] = "prepare",
            path[] = "/etc/kubernetes/ssl/encryption.yaml", sha_a[] = "aaaaaaaaaaaaaaaa",
            sha_b[] = "bbbbbbbbbbbbbbbb", file_a[] = "key-new (writes), key-old, identity",
            file_b[] = "key-old (writes), key-new, identity", timeout[] = "connection timed out",
            mismatch[] = "hash does not match between 10.0.0.1 and the file on it";

static void a_healthy_cluster_is_said_in_rke2s_words(void **state)
{
    (void)state;
    struct encrypt_status_key keys[] = {{.type = word_cbc,
                                         .name = new_key,
                                         .fingerprint = print_a,
                                         .active = true,
                                         .on_nodes = true,
                                         .created = moment,
                                         .activated = moment,
                                         .counted = true,
                                         .objects = 2000}};
    struct encrypt_status_node nodes[] = {{.address = one,
                                           .name = host,
                                           .stage = stage,
                                           .path = path,
                                           .file_sha256 = sha_a,
                                           .file = file_a,
                                           .runs_sha256 = sha_a,
                                           .runs = file_a,
                                           .evidence = "journal",
                                           .matches = true,
                                           .since = moment,
                                           .apiserver = "ready"}};
    const struct encrypt_status s = {.enabled = true,
                                     .stage = "start",
                                     .hash_match = true,
                                     .keys = keys,
                                     .key_count = 1,
                                     .nodes = nodes,
                                     .node_count = 1,
                                     .revision = 7};
    char *text = printed(&s, status_print_text);
    assert_string_equal(
        text,
        "Encryption Status: Enabled\n"
        "Current Rotation Stage: start\n"
        "Server Encryption Hashes: All hashes match\n"
        "\n"
        "Active  Key Type  Name\n"
        "------  --------  ----\n"
        " *      AES-CBC   key-new\n"
        "\n"
        "Key      Fingerprint   Created               Stored  State\n"
        "---      -----------   -------               ------  -----\n"
        "key-new  0123456789ab  2026-01-02T03:04:05Z  2000    writes, in use since "
        "2026-01-02T03:04:05Z\n"
        "\n"
        "Node      Stage   Apiserver  Since                 File                                   "
        "           Runs\n"
        "----      -----   ---------  -----                 ----                                   "
        "           ----\n"
        "10.0.0.1  rotate  ready      2026-01-02T03:04:05Z  aaaaaaaaaaaa key-new (writes), "
        "key-old, identity  the same\n");
    free(text);
    assert_int_equal(status_exit_code(&s), ENCRYPT_OK);
}

/* Half-way, a node down, keys of other types. */
static struct encrypt_status_key many_keys[] = {
    {.type = word_gcm,
     .name = new_key,
     .fingerprint = print_a,
     .active = true,
     .on_nodes = true,
     .limited = true,
     .writes = 61},
    {.type = word_box, .name = old_key, .fingerprint = print_a, .on_nodes = true},
    {.type = word_plain, .name = none},
    {.type = word_cbc, .name = old_key, .fingerprint = print_a, .retired = moment},
    {.type = word_cbc, .name = new_key},
};
static struct encrypt_status_node many_nodes[] = {
    {.address = one,
     .name = host,
     .stage = prepare,
     .path = path,
     .file_sha256 = sha_a,
     .file = file_a,
     .runs_sha256 = sha_b,
     .runs = file_b,
     .evidence = "journal",
     .apiserver = "not ready",
     .reason = timeout},
    {.address = two, .name = two, .unseen = timeout},
};
static char why[] = "rotate-key", by[] = "me@here", far[] = "both keys are kept",
            at_work[] = "process 1", uncounted[] = "etcd: it is away", wrong[] = "one\ntwo",
            note[] = "\x1b[2Jfine", next[] = "encrypt restart";
static char *problems[] = {wrong}, *notes[] = {note};
static struct encrypt_status_transition transition = {.why = why,
                                                      .opened = moment,
                                                      .by = by,
                                                      .state = far,
                                                      .staged = true,
                                                      .counted = true,
                                                      .done = 3,
                                                      .total = 10};
static const struct encrypt_status half_way = {.enabled = true,
                                               .stage = "rotate",
                                               .hash_error = mismatch,
                                               .keys = many_keys,
                                               .key_count = ARRAY_LEN(many_keys),
                                               .nodes = many_nodes,
                                               .node_count = ARRAY_LEN(many_nodes),
                                               .transition = &transition,
                                               .at_work = at_work,
                                               .uncounted = uncounted,
                                               .problems = problems,
                                               .problem_count = 1,
                                               .notes = notes,
                                               .note_count = 1,
                                               .next = next};

static void what_is_wrong_and_what_is_open_is_said(void **state)
{
    (void)state;
    static const char *const want[] = {
        "Server Encryption Hashes: hash does not match between 10.0.0.1 and the file on it\n",
        "Active  Key Type           Name\n",
        "\n *      AES-GCM            key-new\n",
        "\n        XSalsa20-POLY1305  key-old\n\n", /* no further key is on a node */
        "61 or more of 200000",
        "identity  ",
        "not encrypted\n",
        "retired 2026-01-02T03:04:05Z\n",
        "nobody has it\n",
        "Not counted: etcd: it is away\n",
        "bbbbbbbbbbbb key-old (writes), key-new, identity\n",
        "\n10.0.0.2  -        not seen   -",
        ("Transition: rotate-key is open since 2026-01-02T03:04:05Z, by me@here: both keys are "
         "kept\n"),
        "Rewritten: 3 of 10 values have their final form\n",
        "At work: process 1\n",
        "\nWrong:\n- one\n  two\n",
        "\nNotes:\n- ?[2Jfine\n",
        "\nNext: encrypt restart\n",
    };
    char *text = printed(&half_way, status_print_text);
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        if (!strstr(text, want[i]))
            fail_msg("`%s` is missing in:\n%s", want[i], text);
    /* Nothing was counted, and no node tells since when: no such columns. */
    assert_null(strstr(text, "Stored"));
    assert_null(strstr(text, "Since"));
    free(text);
    assert_int_equal(status_exit_code(&half_way), ENCRYPT_FOUND);
}

static void json_has_rke2s_members(void **state)
{
    (void)state;
    char *text = printed(&half_way, status_print_json);
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    assert_true(json_is_true(json_object_get(j, "enable")));
    assert_true(json_is_false(json_object_get(j, "hashmatch")));
    assert_string_equal(json_string_value(json_object_get(j, "stage")), "rotate");
    assert_string_equal(json_string_value(json_object_get(j, "hasherror")), mismatch);
    assert_string_equal(json_string_value(json_object_get(j, "activekey")), "key-new");
    json_t *inactive = json_object_get(j, "inactivekeys");
    assert_int_equal(json_array_size(inactive), 1);
    assert_string_equal(json_string_value(json_array_get(inactive, 0)), "key-old");
    /* What was not counted is not 0. */
    assert_true(
        json_is_null(json_object_get(json_array_get(json_object_get(j, "keys"), 0), "objects")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "transition"), "total")),
                     10);
    assert_true(
        json_is_false(json_object_get(json_array_get(json_object_get(j, "nodes"), 1), "seen")));
    json_decref(j);
    free(text);
}

/* `kubectl encrypt` proposes itself. */
static void commands_are_said_as_they_are_typed(void **state)
{
    (void)state;
    char go_on[] = "encrypt resume --config c.yml", bad[] = "stuck: encrypt resume goes on";
    char *list[] = {bad};
    const struct encrypt_status s = {
        .stage = "rotate", .hash_match = true, .next = go_on, .problems = list, .problem_count = 1};
    void (*const forms[])(const struct command_line *, const struct encrypt_status *,
                          FILE *) = {status_print_text, status_print_json};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char *text = NULL;
        size_t len = 0;
        FILE *f = open_memstream(&text, &len);
        assert_non_null(f);
        forms[i](&plugin, &s, f);
        fclose(f);
        assert_non_null(strstr(text, "kubectl encrypt resume --config c.yml"));
        assert_non_null(strstr(text, "stuck: kubectl encrypt resume"));
        free(text);
    }
}

static char nowhere[] = "not looked at", provider[] = "vault", kms_type[] = "KMS v2",
            no_answer[] = "none";

static void what_is_not_known_is_not_made_up(void **state)
{
    (void)state;
    struct encrypt_status_key key = {.type = kms_type, .name = provider};
    struct encrypt_status_node node = {.address = one, .file = nowhere, .apiserver = no_answer};
    const struct encrypt_status s = {.stage = "start",
                                     .hash_match = true,
                                     .hash_assumed = true,
                                     .keys = &key,
                                     .key_count = 1,
                                     .nodes = &node,
                                     .node_count = 1};
    char *text = printed(&s, status_print_text);
    assert_non_null(strstr(text, "Server Encryption Hashes: All hashes match\n"));
    assert_non_null(strstr(text, "vault  no node is configured with it\n"));
    assert_non_null(strstr(text, "  not looked at  not known\n"));
    free(text);
    text = printed(&s, status_print_json);
    json_t *j = json_loads(text, 0, NULL);
    assert_true(json_is_true(json_object_get(j, "hashmatch")));
    assert_true(json_is_true(json_object_get(j, "hashassumed")));
    assert_true(json_is_null(
        json_object_get(json_array_get(json_object_get(j, "nodes"), 0), "filesha256")));
    json_decref(j);
    free(text);
}

static void an_empty_answer_is_whole_too(void **state)
{
    (void)state;
    const struct encrypt_status s = {.stage = "start", .hash_match = true};
    char *text = printed(&s, status_print_text);
    assert_true(str_starts(text, "Encryption Status: Disabled\nCurrent Rotation Stage: start\n"
                                 "Server Encryption Hashes: All hashes match\n"));
    assert_null(strstr(text, "Active"));
    free(text);
    text = printed(&s, status_print_json);
    json_t *j = json_loads(text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(j, "activekey")), "");
    assert_string_equal(json_string_value(json_object_get(j, "hasherror")), "");
    assert_true(json_is_null(json_object_get(j, "transition")));
    json_decref(j);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_healthy_cluster_is_said_in_rke2s_words),
        cmocka_unit_test(what_is_wrong_and_what_is_open_is_said),
        cmocka_unit_test(json_has_rke2s_members),
        cmocka_unit_test(commands_are_said_as_they_are_typed),
        cmocka_unit_test(what_is_not_known_is_not_made_up),
        cmocka_unit_test(an_empty_answer_is_whole_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
