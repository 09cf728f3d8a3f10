#include "state/journal.h"

#include "state/journal_json.h"
#include "state/json_text.h"
#include "state/timestamp.h"
#include "support.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct journal *fresh(void)
{
    struct journal *j = NULL;
    OK(journal_new("/nonexistent/cluster.rkestate", &j, &err));
    return j;
}

static void fill(unsigned char secret[32], int with)
{
    memset(secret, with, 32);
}

static struct encryption_config *managed(const char *name, int with)
{
    unsigned char secret[32];
    fill(secret, with);
    char *copy CLEANUP(cleanup_mem) = mem_strdup(name);
    return encryption_config_managed(PROVIDER_AESCBC, NULL,
                                     &(struct encryption_key){copy, secret, sizeof(secret)});
}

static const struct key_record *find(const struct journal *j, const char *name)
{
    for (size_t i = 0; i < j->key_count; i++)
        if (str_eq(j->keys[i].key.name, name))
            return &j->keys[i];
    return NULL;
}

static void keys_are_32_bytes_and_differ(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    struct journal *j CLEANUP(cleanup_journal) = fresh();
    for (size_t i = 0; i < COUNT; i++) {
        struct encryption_key k = {0};
        OK(journal_fresh_key(j, &k, &err));
        assert_int_equal(k.secret_len, 32);
        assert_int_equal(strlen(k.name), 9);
        assert_true(str_starts(k.name, "key-"));
        assert_int_equal(strspn(k.name + 4, "abcdefghijklmnopqrstuvwxyz0123456789"), 5);
        for (size_t o = 0; o < j->key_count; o++) {
            assert_memory_not_equal(j->keys[o].key.secret, k.secret, 32);
            assert_string_not_equal(j->keys[o].key.name, k.name);
        }
        journal_add_key(j, PROVIDER_AESCBC, &k);
        mem_free(k.name);
        mem_free(k.secret);
    }
    assert_int_equal(j->key_count, COUNT);
}

static void the_history_holds_each_key_once(void **state)
{
    (void)state;
    struct journal *j CLEANUP(cleanup_journal) = fresh();
    unsigned char one[32], two[32];
    fill(one, 1);
    fill(two, 2);
    struct encryption_key a = {(char *)"a", one, 32}, a2 = {(char *)"a", two, 32},
                          b = {(char *)"b", one, 32}, shorter = {(char *)"a", one, 16};
    for (int i = 0; i < 2; i++) {
        journal_add_key(j, PROVIDER_AESCBC, &a);
        journal_add_key(j, PROVIDER_AESGCM, &a);
        journal_add_key(j, PROVIDER_AESCBC, &a2);
        journal_add_key(j, PROVIDER_AESCBC, &b);
        journal_add_key(j, PROVIDER_AESCBC, &shorter);
        assert_int_equal(j->key_count, 5);
    }
    assert_true(timestamp_valid(j->keys[0].created));
    assert_null(j->keys[0].activated);
    assert_null(j->keys[0].retired);
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = managed("found", 9);
    journal_add_config_keys(j, c);
    journal_add_config_keys(j, NULL);
    assert_int_equal(j->key_count, 6);
    assert_null(find(j, "found")->created);
}

static void a_transition_moves_its_keys_through_the_history(void **state)
{
    (void)state;
    struct journal *j CLEANUP(cleanup_journal) = fresh();
    struct encryption_config *a CLEANUP(cleanup_encryption_config) = managed("a", 1);
    struct encryption_config *b CLEANUP(cleanup_encryption_config) = managed("b", 2);
    journal_open(j, "rotate-key", a, b, NULL);
    assert_string_equal(j->transition->why, "rotate-key");
    assert_non_null(strchr(j->transition->by, '@'));
    assert_true(timestamp_valid(j->transition->opened));
    assert_int_equal(j->transition->stage, TRANSITION_OPEN);
    assert_true(encryption_config_equal(j->transition->from, a));
    assert_true(encryption_config_equal(j->transition->to, b));
    assert_null(find(j, "a")->created);
    assert_non_null(find(j, "b")->created);
    assert_null(find(j, "b")->activated);
    struct node_record *n = journal_node(j, "10.0.0.1");
    node_record_intend(n, "narrow", "p1");
    node_record_placed(n, HASH, "p1");

    journal_close(j);
    assert_null(j->transition);
    assert_int_equal(j->generation, 2);
    assert_non_null(find(j, "a")->retired);
    assert_non_null(find(j, "b")->activated);
    assert_null(find(j, "b")->retired);
    assert_null(j->nodes[0].intent_form);
    assert_null(j->nodes[0].intent_process);
    assert_string_equal(j->nodes[0].placed.sha256, HASH);

    /* Disabled: nothing is forgotten. */
    journal_open(j, "up", b, NULL, NULL);
    journal_close(j);
    assert_int_equal(j->key_count, 2);
    assert_non_null(find(j, "b")->retired);
    assert_int_equal(j->generation, 4);

    /* A key that comes back is no longer retired; one in both never was. */
    journal_open(j, "up", NULL, a, NULL);
    journal_close(j);
    assert_null(find(j, "a")->retired);
    assert_non_null(find(j, "a")->activated);
    journal_open(j, "up", a, a, NULL);
    journal_close(j);
    assert_null(find(j, "a")->retired);
    assert_int_equal(j->key_count, 2);
}

/* What is taken back ends where it began, and its key stays in the history; what was recorded on
 * the way there counts no more. */
static void an_aborted_transition_ends_where_it_began(void **state)
{
    (void)state;
    struct journal *j CLEANUP(cleanup_journal) = fresh();
    struct encryption_config *a CLEANUP(cleanup_encryption_config) = managed("a", 1);
    struct encryption_config *b CLEANUP(cleanup_encryption_config) = managed("b", 2);
    journal_open(j, "rotate-key", a, b, NULL);
    static const char *const intents[][2] = {
        {"from", "narrow"}, {"widen", "switch"}, {"switch", "widen"}};
    for (size_t i = 0; i < ARRAY_LEN(intents); i++)
        node_record_intend(journal_node(j, intents[i][0]), intents[i][0], "p");
    journal_node(j, "none");
    j->transition->rewritten = j->transition->proved = true;
    journal_abort(j);
    assert_true(j->transition->aborting);
    assert_false(j->transition->rewritten || j->transition->proved);
    assert_int_equal(j->generation, 2);
    for (size_t i = 0; i < ARRAY_LEN(intents); i++) {
        assert_string_equal(journal_node(j, intents[i][0])->intent_form, intents[i][1]);
        assert_string_equal(journal_node(j, intents[i][0])->intent_process, "p");
    }
    assert_null(journal_node(j, "none")->intent_form);
    j->transition->proved = true;
    journal_narrow(j);
    assert_int_equal(j->transition->stage, TRANSITION_NARROWING);
    /* The store was found older than its proof. */
    j->transition->rewritten = true;
    journal_reopen(j);
    assert_int_equal(j->transition->stage, TRANSITION_OPEN);
    assert_true(j->transition->reopened && j->transition->aborting);
    assert_false(j->transition->rewritten || j->transition->proved);
    j->transition->proved = true;
    journal_narrow(j);
    journal_close(j);
    assert_int_equal(j->generation, 6);
    assert_null(find(j, "a")->retired);
    assert_non_null(find(j, "a")->activated);
    assert_non_null(find(j, "b")->retired);
    assert_null(find(j, "b")->activated);
}

/* A cluster made anew from its state file: what is stored may need the key all the same. */
static void a_key_that_was_in_use_before_is_so_after_an_abort(void **state)
{
    (void)state;
    struct journal *j CLEANUP(cleanup_journal) = fresh();
    struct encryption_config *a CLEANUP(cleanup_encryption_config) = managed("a", 1);
    struct encryption_config *b CLEANUP(cleanup_encryption_config) = managed("b", 2);
    journal_open(j, "enable", NULL, a, NULL);
    journal_close(j);
    assert_non_null(find(j, "a")->activated);
    journal_open(j, "enable", NULL, a, NULL);
    journal_abort(j);
    journal_close(j);
    assert_non_null(find(j, "a")->activated);
    assert_null(find(j, "a")->retired);
    /* One that is retired stays so, one that never was in use is not wanted any more. */
    journal_open(j, "rotate-key", a, b, NULL);
    journal_close(j);
    journal_open(j, "enable", NULL, a, NULL);
    journal_abort(j);
    journal_close(j);
    assert_non_null(find(j, "a")->retired);
    assert_null(find(j, "b")->retired);
}

static void a_nodes_record_is_one_and_keeps_what_is_not_touched(void **state)
{
    (void)state;
    struct journal *j CLEANUP(cleanup_journal) = fresh();
    journal_node(j, "a");
    journal_node(j, "b");
    node_record_intend(journal_node(j, "a"), "switch", NULL);
    node_record_placed(journal_node(j, "a"), "none", NULL);
    node_record_runs(journal_node(j, "a"), HASH, "p");
    assert_int_equal(j->node_count, 2);
    struct node_record *n = journal_node(j, "a");
    assert_string_equal(n->intent_form, "switch");
    assert_null(n->intent_process);
    assert_string_equal(n->placed.sha256, "none");
    assert_string_equal(n->runs.process, "p");
    /* Its own text may be handed in. */
    node_record_placed(n, n->runs.sha256, n->runs.process);
    node_record_placed(n, n->placed.sha256, n->placed.process);
    assert_string_equal(n->placed.sha256, HASH);
    node_record_intend(n, NULL, "ignored");
    assert_null(n->intent_form);
    assert_null(n->intent_process);
    assert_string_equal(n->runs.sha256, HASH);
    assert_null(journal_node(j, "b")->runs.sha256);
}

/* A journal with everything in it. */
static struct journal *full(void)
{
    struct journal *j = fresh();
    struct encryption_config *a CLEANUP(cleanup_encryption_config) = managed("a", 1);
    struct encryption_config *b CLEANUP(cleanup_encryption_config) = managed("b: \"\xc3\xa4\"", 2);
    journal_open(j, "up", NULL, a, NULL);
    journal_close(j);
    journal_open(j, "rotate-key", a, b, NULL);
    j->sequence = 42;
    j->transition->stage = TRANSITION_NARROWING;
    j->transition->rewritten = true;
    j->transition->proved = true;
    j->transition->proof_revision = 9007199254740992;
    j->transition->proof_values = 2000;
    j->transition->proved_at = timestamp_now();
    j->transition->initial = true;
    j->transition->before = encryption_config_copy(a);
    j->transition->started = mem_strdup("10.0.0.1");
    struct node_record *n = journal_node(j, "10.0.0.1");
    node_record_intend(n, "narrow", "container 0123 since x");
    node_record_placed(n, HASH, NULL);
    node_record_runs(n, "none", "p");
    journal_node(j, "10.0.0.2");
    unsigned char short_secret[16] = {7};
    struct encryption_key gcm = {(char *)"g", short_secret, 16};
    journal_add_key(j, PROVIDER_AESGCM, &gcm);
    return j;
}

static json_t *to_json(const struct journal *j)
{
    json_t *json = NULL;
    OK(journal_to_json(j, &json, &err));
    return json;
}

static void a_journal_survives_writing_and_reading(void **state)
{
    (void)state;
    struct journal *j CLEANUP(cleanup_journal) = full();
    json_t *json CLEANUP(cleanup_json) = to_json(j);
    struct journal *again CLEANUP(cleanup_journal) = NULL;
    OK(journal_from_json(json, "f", &again, &err));
    json_t *json_again CLEANUP(cleanup_json) = to_json(again);
    assert_true(json_equal(json, json_again));
    assert_int_equal(again->sequence, 42);
    assert_int_equal(again->transition->proof_revision, 9007199254740992);
    assert_int_equal(again->key_count, 3);
    assert_memory_equal(again->keys[1].key.secret, j->keys[1].key.secret, 32);
    assert_int_equal(again->keys[2].key.secret_len, 16);
    assert_true(encryption_config_equal(again->transition->to, j->transition->to));
    assert_true(again->transition->initial);
    assert_true(encryption_config_equal(again->transition->before, j->transition->before));
    assert_string_equal(again->transition->started, "10.0.0.1");
    assert_int_equal(again->node_count, 2);
    assert_string_equal(again->nodes[0].intent_process, "container 0123 since x");

    struct journal *little CLEANUP(cleanup_journal) = fresh();
    little->sequence = 1;
    json_t *of_little CLEANUP(cleanup_json) = to_json(little);
    struct journal *read CLEANUP(cleanup_journal) = NULL;
    OK(journal_from_json(of_little, "f", &read, &err));
    assert_null(read->transition);
    assert_string_equal(read->cluster_id, little->cluster_id);
}

/* Servers that own their configuration: what is open there, and what becomes of the keys. */
static void an_owned_change_survives_and_moves_its_keys(void **state)
{
    (void)state;
    struct journal *j CLEANUP(cleanup_journal) = fresh();
    struct encryption_config *from CLEANUP(cleanup_encryption_config) =
        managed("aescbckey-2021-12-10T22:54:38Z", 1);
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = managed("fresh", 2);
    j->sequence = 1;
    journal_open_owned(j, "rotate-key", from);
    assert_non_null(find(j, "aescbckey-2021-12-10T22:54:38Z")->activated);
    journal_add_config_keys(j, to);
    j->owned->proved = j->owned->staged = j->owned->gone = true;
    j->owned->proof_revision = 12;
    j->owned->proof_values = 34;
    j->owned->proved_at = timestamp_now();
    json_t *json CLEANUP(cleanup_json) = to_json(j);
    struct journal *again CLEANUP(cleanup_journal) = NULL;
    OK(journal_from_json(json, "journal", &again, &err));
    const struct owned_record *o = again->owned;
    assert_non_null(o);
    assert_string_equal(o->why, "rotate-key");
    assert_true(encryption_config_equal(o->from, from));
    assert_true(o->proved && o->staged && o->gone && !o->stuck && !o->at_once);
    assert_int_equal(o->proof_revision, 12);
    assert_int_equal(o->proof_values, 34);

    journal_close_owned(again, to, false);
    assert_null(again->owned);
    assert_string_equal(again->last.why, "rotate-key");
    assert_non_null(find(again, "fresh")->activated);
    assert_non_null(find(again, "aescbckey-2021-12-10T22:54:38Z")->retired);
    assert_null(find(again, "fresh")->retired);

    json_object_set_new(json_object_get(json, "owned"), "why", json_string("something"));
    struct error e CLEANUP(error_clear) = {0};
    struct journal *none = NULL;
    assert_int_equal(journal_from_json(json, "journal", &none, &e), -1);
    assert_int_equal(e.result, RESULT_REFUSED);
}

static void a_tampered_journal_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what, *with, *want;
    } table[] = {
        {"\"version\": 4", "\"version\": 6", "f: written by a newer encrypt (version 6 of the"},
        {"\"version\": 4", "\"version\": 1", "journal has a member that does not belong"},
        {"\"custom\": \"\"", "\"custom\": null", "transition.custom is not a text"},
        {"\"custom\": \"\",", "", "transition.custom is missing"},
        {"\"aborting\": false", "\"aborting\": 0", "transition.aborting is neither"},
        {"\"aborting\": false,", "", "transition.aborting is missing"},
        {"\"reopened\": false", "\"reopened\": null", "transition.reopened is neither"},
        {"\"initial\": true", "\"initial\": 1", "transition.initial is neither"},
        {"\"started\": \"10.0.0.1\"", "\"started\": 1", "transition.started is not a text"},
        {"\"started\": \"10.0.0.1\",", "", "transition.started is missing"},
        {"\"version\": 4", "\"version\": 0", "f: damaged: journal.version is out of range"},
        {"\"version\": 4", "\"version\": \"1\"", "journal.version is not a whole number"},
        {"\"version\": 4,", "", "journal.version is not a whole number"},
        {"\"version\": 4", "\"version\": 2, \"" MARKER "\": 1", "journal has a member that does"},
        {"\"sequence\": 42", "\"sequence\": 0", "journal.sequence is out of range"},
        {"\"sequence\": 42", "\"sequence\": -1", "journal.sequence is out of range"},
        {"\"sequence\": 42", "\"sequence\": 42.0", "journal.sequence is not a whole number"},
        {"\"sequence\": 42", "\"sequence\": 9223372036854775807", "sequence is out of range"},
        {"\"sequence\": 42,", "", "journal.sequence is missing"},
        {"\"cluster\": \"", "\"cluster\": \"" MARKER, "journal.cluster is not a UUID"},
        {"\"cluster\": ", "\"cluster\": null, \"c\": ", "journal has a member that does not"},
        {"\"generation\": 3", "\"generation\": -1", "journal.generation is out of range"},
        {"\"generation\": 3", "\"generation\": null", "journal.generation is not a whole number"},
        {"\"transition\": {", "\"transition\": [\"" MARKER "\"], \"t\": {", "journal has a member"},
        {"\"id\": \"", "\"id\": \"X", "transition.id is not a UUID"},
        {"\"why\": \"rotate-key\"", "\"why\": \"\\u001b[2J" MARKER "\"", "why holds a control ch"},
        {"\"why\": \"rotate-key\"", "\"why\": \"" MARKER "\\u0000\"", "transition.why is too long"},
        {"\"why\": \"rotate-key\"", "\"why\": [\"" MARKER "\"]", "transition.why is not a text"},
        {"\"opened\": \"2", "\"opened\": \"x", "transition.opened is not a moment"},
        {"\"by\": ", "\"by\": 5, \"b\": ", "transition has a member that does not belong"},
        {"\"stage\": \"narrowing\"", "\"stage\": \"" MARKER "\"", "transition.stage is not one of"},
        {"\"stage\": \"narrowing\"", "\"stage\": \"open\\u0000\"", "transition.stage is not one"},
        {"\"stage\": \"narrowing\"", "\"stage\": 1", "transition.stage is not one of"},
        {"\"from\": \"", "\"from\": \"" MARKER ": [", "f: damaged: transition.from:"},
        {"\"to\": \"", "\"to\": \"- " MARKER "\\n", "f: damaged: transition.to:"},
        {"\"to\": \"", "\"to\": 5, \"t\": \"", "transition has a member"},
        {"\"rewritten\": true", "\"rewritten\": 1", "transition.rewritten is neither true nor"},
        {"\"proved\": {", "\"proved\": null, \"p\": {", "transition has a member"},
        {"\"revision\": 9007199254740992", "\"revision\": 9007199254740993", "revision is out of"},
        {"\"revision\": 9007199254740992", "\"revision\": -1", "proved.revision is out of range"},
        {"\"values\": 2000", "\"values\": \"2000\"", "proved.values is not a whole number"},
        {"\"values\": 2000,", "", "transition.proved.values is missing"},
        {"\"at\": \"", "\"at\": \"0", "transition.proved.at is not a moment"},
        {"\"nodes\": {", "\"nodes\": [], \"n\": {", "journal has a member"},
        {"\"10.0.0.1\": {", "\"\": {", "nodes[0] has no proper address"},
        {"\"10.0.0.1\": {", "\"\\n" MARKER "\": {", "nodes[0] has no proper address"},
        {"\"10.0.0.1\": {", "\"10.0.0.1\": {\"x\": 1, ", "nodes[0] has a member"},
        {"\"10.0.0.1\": {", "\"" MARKER "\": 5, \"10.0.0.1\": {", "nodes[0] is not an object"},
        {"\"form\": \"narrow\"", "\"form\": \"" MARKER "\"", "nodes[0].intent.form is not one of"},
        {"\"form\": \"narrow\",", "", "nodes[0].intent.form is missing"},
        {"\"sha256\": \"0", "\"sha256\": \"A", "nodes[0].placed.sha256 is not a SHA-256"},
        {"\"sha256\": \"0", "\"sha256\": \"", "nodes[0].placed.sha256 is not a SHA-256"},
        {"\"sha256\": \"none\"", "\"sha256\": \"" MARKER "\"", "nodes[0].runs.sha256 is not a SHA"},
        {"\"sha256\": \"none\"", "\"sha256\": null", "nodes[0].runs.sha256 is not a text"},
        {"\"process\": \"p\"", "\"process\": 5", "nodes[0].runs.process is not a text"},
        {"\"keys\": [", "\"keys\": {}, \"k\": [", "journal has a member"},
        {"\"keys\": [", "\"keys\": [\"" MARKER "\", ", "keys[0] is not an object"},
        {"\"name\": \"a\"", "\"name\": null", "keys[0].name is not a text"},
        {"\"name\": \"a\"", "\"name\": \"a\\u0000" MARKER "\"", "keys[0].name is too long or"},
        {"\"name\": \"a\"", "\"name\": \"a\", \"secret2\": \"" MARKER "\"", "keys[0] has a member"},
        {"\"type\": \"aescbc\"", "\"type\": \"identity\"", "keys[0].type is not one of"},
        {"\"type\": \"aescbc\"", "\"type\": \"kms\"", "keys[0].type is not one of"},
        {"\"type\": \"aesgcm\"", "\"type\": \"secretbox\"",
         "keys[2].secret has no length of a key"},
        {"\"secret\": \"", "\"secret\": \"" MARKER, "keys[0].secret is not the base64 of a key"},
        {"\"secret\": \"A", "\"secret\": \"*", "keys[0].secret is not the base64 of a key"},
        {"\"secret\": \"A", "\"secret\": \" A", "keys[0].secret is not the base64 of a key"},
        {"\"secret\": \"A", "\"secret\": \"B", "keys[0].fingerprint is not that of its secret"},
        {"\"secret\": \"A", "\"secret\": 5, \"s\": \"A", "keys[0] has a member"},
        {"AQE=\"", "AQF=\"", "keys[0].secret is not the base64 of a key"},
        {"AQE=\"", "AQE\"", "keys[0].secret is not the base64 of a key"},
        {"AQEBAQE=\"", "AQ==\"", "keys[0].secret has no length of a key"},
        {"AQE=\"", "AQE=\\n\"", "keys[0].secret is not the base64 of a key"},
        {"\"fingerprint\": \"", "\"fingerprint\": \"" MARKER, "keys[0].fingerprint is not that"},
        {"\"fingerprint\": \"", "\"fingerprint\": null, \"f\": \"", "keys[0] has a member"},
        {"\"created\": \"2", "\"created\": \"3000-02-30", "keys[0].created is not a moment"},
        {"\"activated\": \"2", "\"activated\": \"x", "keys[0].activated is not a moment"},
        {"\"retired\": null", "\"retired\": 0", "keys[0].retired is not a text"},
        {"\"retired\": null", "\"retired\": false", "keys[0].retired is not a text"},
    };
    struct journal *j CLEANUP(cleanup_journal) = full();
    json_t *json CLEANUP(cleanup_json) = to_json(j);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct buf text CLEANUP(buf_free) = {0};
        json_t *tampered CLEANUP(cleanup_json) = NULL;
        struct journal *out = NULL;
        json_text_write(json, &text);
        edit(&text, table[i].what, table[i].with);
        OK(json_text_read(text.data, text.len, "f", &tampered, &err));
        REFUSES(journal_from_json(tampered, "f", &out, &err), RESULT_REFUSED, table[i].want);
        assert_null(out);
    }
}

static void more_tampering_is_refused(void **state)
{
    (void)state;
    struct journal *j CLEANUP(cleanup_journal) = full();
    struct journal *out = NULL;
    json_t *json CLEANUP(cleanup_json) = to_json(j);

    json_t *keys = json_object_get(json, "keys");
    json_array_append_new(keys, json_deep_copy(json_array_get(keys, 0)));
    REFUSES(journal_from_json(json, "f", &out, &err), RESULT_REFUSED, "keys[3] is there twice");
    json_array_remove(keys, 3);

    /* Narrowing takes keys away: never on the word of a journal that proved nothing. */
    json_t *transition = json_object_get(json, "transition");
    json_object_set_new(transition, "proved", json_null());
    REFUSES(journal_from_json(json, "f", &out, &err), RESULT_REFUSED, "nothing is proved");
    json_object_set_new(transition, "stage", json_string("open"));
    struct journal *fine CLEANUP(cleanup_journal) = NULL;
    OK(journal_from_json(json, "f", &fine, &err));

    json_t *list CLEANUP(cleanup_json) = json_array();
    REFUSES(journal_from_json(list, "f", &out, &err), RESULT_REFUSED, "journal is not an object");
    REFUSES(journal_from_json(json_null(), "f", &out, &err), RESULT_REFUSED, "not an object");
    json_object_set_new(json, "transition", json_string(MARKER));
    REFUSES(journal_from_json(json, "f", &out, &err), RESULT_REFUSED, "transition is not an obj");
    assert_null(out);
}

static void each_member_is_needed_and_of_its_type(void **state)
{
    (void)state;
    struct journal *j CLEANUP(cleanup_journal) = full();
    json_t *json CLEANUP(cleanup_json) = to_json(j);
    json_t *transition = json_object_get(json, "transition");
    json_t *node = json_object_get(json_object_get(json, "nodes"), "10.0.0.1");
    json_t *objects[] = {json,
                         transition,
                         json_object_get(transition, "proved"),
                         node,
                         json_object_get(node, "intent"),
                         json_object_get(node, "placed"),
                         json_object_get(node, "runs"),
                         json_array_get(json_object_get(json, "keys"), 0)};
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        json_t *whole CLEANUP(cleanup_json) = json_copy(objects[i]);
        const char *name;
        json_t *value;
        json_object_foreach (whole, name, value) {
            struct journal *out = NULL;
            json_object_del(objects[i], name);
            REFUSES(journal_from_json(json, "f", &out, &err), RESULT_REFUSED, "f: damaged: ");
            json_object_set_new(objects[i], name, json_real(0.5));
            REFUSES(journal_from_json(json, "f", &out, &err), RESULT_REFUSED, "f: damaged: ");
            json_object_set_new(objects[i], name, json_pack("[s]", MARKER));
            REFUSES(journal_from_json(json, "f", &out, &err), RESULT_REFUSED, "f: damaged: ");
            json_object_set(objects[i], name, value);
        }
    }
    struct journal *again CLEANUP(cleanup_journal) = NULL;
    OK(journal_from_json(json, "f", &again, &err));
}

static void moments_are_of_one_form(void **state)
{
    (void)state;
    char *now CLEANUP(cleanup_mem) = timestamp_now();
    assert_true(timestamp_valid(now));
    static const char *const good[] = {"1970-01-01T00:00:00Z", "2024-02-29T23:59:60Z",
                                       "2000-02-29T00:00:00Z", "9999-12-31T23:59:59Z"};
    static const char *const bad[] = {"",
                                      "2026-01-02",
                                      "2026-01-02T03:04:05",
                                      "2026-01-02 03:04:05Z",
                                      "2026-01-02T03:04:05+00:00",
                                      "2026-01-02T03:04:05.1Z",
                                      "2026-13-02T03:04:05Z",
                                      "2026-00-02T03:04:05Z",
                                      "2026-01-00T03:04:05Z",
                                      "2026-04-31T03:04:05Z",
                                      "2025-02-29T03:04:05Z",
                                      "2100-02-29T03:04:05Z",
                                      "1969-12-31T03:04:05Z",
                                      "2026-01-02T24:04:05Z",
                                      "2026-01-02T03:60:05Z",
                                      "2026-01-02T03:04:61Z",
                                      "2026-01-02T03:04:05Z ",
                                      "2026-01-02T03:-4:05Z"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(timestamp_valid(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(timestamp_valid(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_32_bytes_and_differ),
        cmocka_unit_test(the_history_holds_each_key_once),
        cmocka_unit_test(a_transition_moves_its_keys_through_the_history),
        cmocka_unit_test(a_nodes_record_is_one_and_keeps_what_is_not_touched),
        cmocka_unit_test(an_aborted_transition_ends_where_it_began),
        cmocka_unit_test(a_key_that_was_in_use_before_is_so_after_an_abort),
        cmocka_unit_test(a_journal_survives_writing_and_reading),
        cmocka_unit_test(an_owned_change_survives_and_moves_its_keys),
        cmocka_unit_test(a_tampered_journal_is_refused),
        cmocka_unit_test(more_tampering_is_refused),
        cmocka_unit_test(each_member_is_needed_and_of_its_type),
        cmocka_unit_test(moments_are_of_one_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
