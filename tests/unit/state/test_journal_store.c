#include "state/journal.h"

#include "state/json_text.h"
#include "support.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define STATE "tests/data/rke/cluster.rkestate"
#define BEFORE_UP "tests/data/rke/before-up.rkestate"

static struct rkestate *read_state(const char *path)
{
    struct rkestate *s = NULL;
    OK(rkestate_read(path, &s, &err));
    return s;
}

static struct journal *read_journal(const struct rkestate *s, const char *path)
{
    struct journal *j = NULL;
    OK(journal_read(s, path, &j, &err));
    return j;
}

static char *state_file(void **state)
{
    char *path = in(state, "cluster.rkestate");
    copy_file(STATE, path);
    return path;
}

static struct encryption_config *managed(const char *name, int with)
{
    unsigned char secret[32];
    memset(secret, with, 32);
    char *copy CLEANUP(cleanup_mem) = mem_strdup(name);
    return encryption_config_managed(PROVIDER_AESCBC, NULL,
                                     &(struct encryption_key){copy, secret, sizeof(secret)});
}

static bool has_key(const struct journal *j, const char *name)
{
    for (size_t i = 0; i < j->key_count; i++)
        if (str_eq(j->keys[i].key.name, name))
            return true;
    return false;
}

static void add_key(struct journal *j, const char *name, int with)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = managed(name, with);
    journal_add_key(j, PROVIDER_AESCBC, encryption_active_key(c));
}

/* What RKE does to the member: it drops it. */
static void drop_member(const char *path)
{
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    assert_int_equal(json_object_del(s->root, "encrypt"), 0);
    OK(rkestate_write(s, &err));
}

/* Edits a file's text in place. */
static void tamper(const char *path, const char *what, const char *with)
{
    struct buf text CLEANUP(buf_free) = {0};
    slurp(path, &text);
    edit(&text, what, with);
    spill(path, text.data, text.len, 0600);
}

static void a_fresh_journal_knows_the_states_keys(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
    assert_int_equal(j->sequence, 0);
    assert_int_equal(j->generation, 0);
    assert_int_equal(strlen(j->cluster_id), 36);
    assert_int_equal(j->cluster_id[14], '4');
    assert_null(j->transition);
    assert_int_equal(j->key_count, 1);
    assert_string_equal(j->keys[0].key.name, "key-n4bdz");
    assert_memory_equal(j->keys[0].key.secret, "E73F1C830C0205ADE842A1FE48B7397B", 32);
    assert_null(j->keys[0].created);
    assert_non_null(j->keys[0].activated);
    assert_int_equal(count_files(state), 1);
    struct journal *other CLEANUP(cleanup_journal) = read_journal(s, path);
    assert_string_not_equal(j->cluster_id, other->cluster_id);
}

static void what_was_written_is_read_from_either_place(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    char *sidecar CLEANUP(cleanup_mem) = in(state, "cluster.encrypt-state");
    struct encryption_config *a CLEANUP(cleanup_encryption_config) = managed("a", 1);
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
    assert_string_equal(j->sidecar_path, sidecar);
    journal_open(j, "up", NULL, a, NULL);
    rkestate_set_encryption(s, "apiVersion: v1\n", true);
    OK(journal_write(j, s, &err));
    assert_int_equal(j->sequence, 1);
    OK(journal_write(j, s, &err));
    struct stat st;
    assert_int_equal(stat(sidecar, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(count_files(state), 2);

    for (int i = 0; i < 3; i++) {
        if (i == 1) {
            assert_int_equal(unlink(sidecar), 0);
        } else if (i == 2) {
            OK(journal_write(j, s, &err));
            drop_member(path);
        }
        struct rkestate *again CLEANUP(cleanup_rkestate) = read_state(path);
        assert_string_equal(rkestate_encryption_config(again), "apiVersion: v1\n");
        struct journal *k CLEANUP(cleanup_journal) = read_journal(again, path);
        assert_int_equal(k->sequence, i == 2 ? 3 : 2);
        assert_string_equal(k->cluster_id, j->cluster_id);
        assert_int_equal(k->key_count, 2);
        assert_string_equal(k->transition->id, j->transition->id);
        assert_true(encryption_config_equal(k->transition->to, a));
        assert_string_equal(k->sidecar_path, sidecar);
    }
}

static void rke_dropping_our_member_loses_nothing(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
    add_key(j, "old", 1);
    OK(journal_write(j, s, &err));
    /* RKE writes the file anew, with a key of its own making. */
    drop_member(path);
    tamper(path, "key-n4bdz", "key-rkes1");
    struct rkestate *again CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *k CLEANUP(cleanup_journal) = read_journal(again, path);
    assert_true(has_key(k, "old") && has_key(k, "key-n4bdz") && has_key(k, "key-rkes1"));
    OK(journal_write(k, again, &err));
    /* And the member is back. */
    char *sidecar CLEANUP(cleanup_mem) = in(state, "cluster.encrypt-state");
    assert_int_equal(unlink(sidecar), 0);
    struct rkestate *last CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *l CLEANUP(cleanup_journal) = read_journal(last, path);
    assert_true(has_key(l, "old") && has_key(l, "key-rkes1"));
    assert_int_equal(l->sequence, 2);
}

/* A run that was killed between the two writes, or RKE, which drops our member. */
static void a_copy_that_is_behind_is_told(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    char *sidecar CLEANUP(cleanup_mem) = in(state, "cluster.encrypt-state");
    char *before CLEANUP(cleanup_mem) = in(state, "before");
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *fresh CLEANUP(cleanup_journal) = read_journal(s, path);
    assert_false(fresh->behind);
    assert_true(fresh->key_count > 0 && fresh->keys[0].found);
    OK(journal_write(fresh, s, &err));
    copy_file(sidecar, before);
    OK(journal_write(fresh, s, &err));
    struct journal *both CLEANUP(cleanup_journal) = read_journal(s, path);
    assert_false(both->behind || both->cut_off || both->keys[0].found);
    copy_file(before, sidecar);
    struct journal *differ CLEANUP(cleanup_journal) = read_journal(s, path);
    assert_true(differ->behind);
    assert_false(differ->cut_off);
    assert_int_equal(differ->sequence, 2);
    assert_int_equal(unlink(sidecar), 0);
    struct journal *alone CLEANUP(cleanup_journal) = read_journal(s, path);
    assert_true(alone->behind);
    copy_file(before, sidecar);
    json_object_del(s->root, "encrypt");
    struct journal *dropped CLEANUP(cleanup_journal) = read_journal(s, path);
    assert_true(dropped->behind);
    assert_false(dropped->cut_off);
    /* Killed between the two. */
    struct rkestate *again CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *killed CLEANUP(cleanup_journal) = read_journal(again, path);
    OK(journal_write(killed, again, &err));
    OK(journal_write(killed, NULL, &err));
    struct rkestate *last CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *cut CLEANUP(cleanup_journal) = read_journal(last, path);
    assert_true(cut->behind && cut->cut_off);
}

static void of_two_sequences_the_higher_wins_with_the_keys_of_both(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    char *sidecar CLEANUP(cleanup_mem) = in(state, "cluster.encrypt-state");
    char *kept CLEANUP(cleanup_mem) = in(state, "kept");
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
    add_key(j, "first", 1);
    OK(journal_write(j, s, &err));
    copy_file(sidecar, kept);
    journal_free(j);
    /* As if the other copy had gone another way. */
    j = read_journal(s, path);
    add_key(j, "second", 2);
    j->generation = 7;
    OK(journal_write(j, s, &err));
    copy_file(kept, sidecar);
    tamper(sidecar, "\"first\"", "\"other\"");
    for (int i = 0; i < 2; i++) {
        struct rkestate *t CLEANUP(cleanup_rkestate) = read_state(path);
        struct journal *k CLEANUP(cleanup_journal) = read_journal(t, path);
        assert_int_equal(k->generation, i == 0 ? 7 : 0);
        assert_true(has_key(k, "first") && has_key(k, "second") && has_key(k, "other"));
        assert_int_equal(k->sequence, i == 0 ? 2 : 9);
        /* The other way round. */
        if (i == 0)
            tamper(sidecar, "\"sequence\": 1,", "\"sequence\": 9,");
    }
}

static void two_stories_of_one_step_are_refused(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    char *sidecar CLEANUP(cleanup_mem) = in(state, "cluster.encrypt-state");
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
    struct journal *k = NULL;
    OK(journal_write(j, s, &err));
    tamper(sidecar, "\"generation\": 0", "\"generation\": 1");
    REFUSES(journal_read(s, path, &k, &err), RESULT_REFUSED, "different stories of the same step");
    assert_null(k);
}

static void a_journal_of_another_cluster_is_refused(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    char *sidecar CLEANUP(cleanup_mem) = in(state, "cluster.encrypt-state");
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
    struct journal *other CLEANUP(cleanup_journal) = NULL;
    OK(journal_write(j, s, &err));
    OK(journal_new(path, &other, &err));
    OK(journal_write(other, NULL, &err));
    struct journal *k = NULL;
    char *both CLEANUP(cleanup_mem) = mem_printf("%s and %s are of different", path, sidecar);
    REFUSES(journal_read(s, path, &k, &err), RESULT_REFUSED, both);
    assert_null(k);
}

static void a_damaged_copy_is_refused_by_name_without_quoting_it(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    char *sidecar CLEANUP(cleanup_mem) = in(state, "cluster.encrypt-state");
    char *good CLEANUP(cleanup_mem) = in(state, "good");
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
    struct journal *k = NULL;
    OK(journal_write(j, s, &err));
    copy_file(sidecar, good);
    static const char *const rubbish[] = {
        "", MARKER, "{\"" MARKER, "[\"" MARKER "\"]", "{\"version\": \"" MARKER "\"}", "null"};
    for (size_t i = 0; i < ARRAY_LEN(rubbish); i++) {
        spill(sidecar, rubbish[i], strlen(rubbish[i]), 0600);
        REFUSES(journal_read(s, path, &k, &err), RESULT_REFUSED, sidecar);
        REFUSES(journal_read(NULL, path, &k, &err), RESULT_REFUSED, sidecar);
    }
    /* Cut off anywhere. */
    struct buf text CLEANUP(buf_free) = {0};
    slurp(good, &text);
    for (size_t len = 0; len < text.len; len += 13) {
        spill(sidecar, text.data, len, 0600);
        REFUSES(journal_read(s, path, &k, &err), RESULT_REFUSED, sidecar);
    }
    copy_file(good, sidecar);
    assert_int_equal(chmod(sidecar, 0644), 0);
    REFUSES(journal_read(s, path, &k, &err), RESULT_REFUSED, sidecar);
    assert_int_equal(unlink(sidecar), 0);
    tamper(path, "\"version\": 4", "\"version\": \"" MARKER "\"");
    struct rkestate *t CLEANUP(cleanup_rkestate) = read_state(path);
    REFUSES(journal_read(t, path, &k, &err), RESULT_REFUSED,
            "cluster.rkestate: encrypt: damaged: journal.version");
    tamper(path, "\"version\": \"" MARKER "\"", "\"version\": 6");
    struct rkestate *u CLEANUP(cleanup_rkestate) = read_state(path);
    REFUSES(journal_read(u, path, &k, &err), RESULT_REFUSED, "written by a newer encrypt");
    assert_null(k);
}

static void without_a_state_file_the_sidecar_stands_alone(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    struct journal *j = NULL;
    OK(journal_read(NULL, path, &j, &err));
    assert_null(j);
    OK(journal_new(path, &j, &err));
    add_key(j, "a", 1);
    OK(journal_write(j, NULL, &err));
    journal_free(j);
    j = read_journal(NULL, path);
    assert_non_null(j);
    assert_true(has_key(j, "a"));
    journal_free(j);
    assert_int_equal(count_files(state), 1);
}

static void a_state_that_rke_has_not_brought_up_gives_no_active_key(void **state)
{
    static const char *const yaml =
        "{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: "
        "[{resources: [secrets], providers: [{aescbc: {keys: [{name: d, secret: "
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}]}}, {identity: {}}]}]}";
    char *text CLEANUP(cleanup_mem) = mem_printf(
        "{\"desiredState\": {\"encryptionConfig\": \"%s\"}, \"currentState\": {\"a\": 1}}", yaml);
    struct rkestate *s CLEANUP(cleanup_rkestate) = NULL;
    OK(rkestate_parse(text, strlen(text), "/nonexistent/f.rkestate", &s, &err));
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, "/nonexistent/f.rkestate");
    assert_int_equal(j->key_count, 1);
    assert_null(j->keys[0].activated);

    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    copy_file(BEFORE_UP, path);
    struct rkestate *t CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *k CLEANUP(cleanup_journal) = read_journal(t, path);
    assert_int_equal(k->key_count, 0);
}

static void a_running_configuration_that_does_not_read_stops_a_fresh_journal_only(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *k = NULL, *j = read_journal(s, path);
    rkestate_set_encryption(s, "resources: [ " MARKER, true);
    REFUSES(journal_read(s, path, &k, &err), RESULT_REFUSED, "the running encryptionConfig");
    assert_null(k);
    OK(journal_write(j, s, &err));
    journal_free(j);
    j = read_journal(s, path);
    assert_true(has_key(j, "key-n4bdz"));
    journal_free(j);
}

static void a_write_that_fails_leaves_what_can_be_read(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
    OK(journal_write(j, s, &err));
    add_key(j, "new", 3);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    /* First neither fits, then the sidecar alone. */
    for (int i = 0; i < 2; i++) {
        struct rlimit small = {.rlim_cur = i == 0 ? 100 : 10000, .rlim_max = old.rlim_max};
        struct error why CLEANUP(error_clear) = {0};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        int failed = journal_write(j, s, &why);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(failed, -1);
        assert_int_equal(why.result, RESULT_FAILED);
        assert_int_equal(count_files(state), 2);
        struct rkestate *t CLEANUP(cleanup_rkestate) = read_state(path);
        struct journal *k CLEANUP(cleanup_journal) = read_journal(t, path);
        assert_int_equal(has_key(k, "new"), i == 1);
        assert_int_equal(k->sequence, i == 0 ? 1 : 3);
    }
    OK(journal_write(j, s, &err));
    assert_int_equal(j->sequence, 4);
}

static void nothing_is_written_where_rke_changed_the_state_meanwhile(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
    copy_file(BEFORE_UP, path);
    REFUSES(journal_write(j, s, &err), RESULT_REFUSED, "another program changed it");
    assert_int_equal(count_files(state), 1);
}

static void what_could_not_be_read_back_is_not_written(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    OK(journal_new(path, &j, &err));
    node_record_runs(journal_node(j, "a"), "none", "two\nlines");
    REFUSES(journal_write(j, NULL, &err), RESULT_FAILED, "holds a control character");
    node_record_runs(journal_node(j, "a"), "none", "\xff");
    REFUSES(journal_write(j, NULL, &err), RESULT_FAILED, "is not UTF-8");
    node_record_runs(journal_node(j, "a"), "not a hash", NULL);
    REFUSES(journal_write(j, NULL, &err), RESULT_FAILED, "is not a SHA-256");
    node_record_runs(journal_node(j, "a"), NULL, NULL);
    journal_open(j, "up", NULL, NULL, NULL);
    j->transition->stage = TRANSITION_NARROWING;
    REFUSES(journal_write(j, NULL, &err), RESULT_FAILED, "nothing is proved");
    assert_int_equal(count_files(state), 0);
    j->transition->stage = TRANSITION_OPEN;
    OK(journal_write(j, NULL, &err));
}

/* An older build refuses what it doesn't know as a newer journal's, and doesn't take it for damage.
 */
static void a_kind_or_an_owned_change_makes_a_newer_version(void **state)
{
    struct encryption_config *from CLEANUP(cleanup_encryption_config) = managed("old", 1);
    for (int owned = 0; owned <= 1; owned++) {
        char *path CLEANUP(cleanup_mem) = state_file(state);
        char *sidecar CLEANUP(cleanup_mem) = in(state, "cluster.encrypt-state");
        struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
        struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
        struct buf text CLEANUP(buf_free) = {0}, later CLEANUP(buf_free) = {0};
        OK(journal_write(j, s, &err));
        slurp(sidecar, &text);
        assert_non_null(strstr(text.data, "\"version\": 4"));
        assert_null(strstr(text.data, "\"kind\""));
        assert_false(journal_is_open(j));
        if (owned)
            journal_open_owned(j, "rotate-key", from);
        else
            journal_set_kind(j, "kubeadm");
        assert_int_equal(journal_is_open(j), owned);
        OK(journal_write(j, s, &err));
        slurp(sidecar, &later);
        assert_non_null(strstr(later.data, "\"version\": 5"));
        struct rkestate *s2 CLEANUP(cleanup_rkestate) = read_state(path);
        struct journal *j2 CLEANUP(cleanup_journal) = read_journal(s2, path);
        assert_int_equal(journal_is_open(j2), owned);
        assert_true(str_eq(j2->kind, owned ? NULL : "kubeadm"));
        unlink(sidecar);
    }
}

/* The form on disk is a promise: this file was written by the first version. */
static void a_journal_of_version_1_reads(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    char *sidecar CLEANUP(cleanup_mem) = in(state, "cluster.encrypt-state");
    copy_file("tests/data/rke/version-1.encrypt-state", sidecar);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(NULL, path);
    assert_int_equal(j->sequence, 1);
    assert_string_equal(j->cluster_id, "f14620f9-0c61-4005-8768-3e342ca067af");
    assert_string_equal(j->transition->why, "rotate-key");
    assert_null(j->transition->from);
    assert_string_equal(encryption_active_key(j->transition->to)->name, "key-x");
    assert_true(j->transition->proved);
    assert_string_equal(j->nodes[0].intent_form, "switch");
    assert_string_equal(j->nodes[0].runs.process, "q");
    assert_int_equal(j->key_count, 2);
    /* And is written byte for byte as it was, but for the sequence and what is new. */
    struct buf before CLEANUP(buf_free) = {0}, after CLEANUP(buf_free) = {0};
    slurp(sidecar, &before);
    OK(journal_write(j, NULL, &err));
    slurp(sidecar, &after);
    edit(&before, "\"sequence\": 1", "\"sequence\": 2");
    edit(&before, "\"version\": 1", "\"version\": 4");
    edit(&before, "\"nodes\": {", "\"last\": null,\n  \"nodes\": {");
    edit(&before, "\"switched\": true",
         "\"custom\": \"\",\n    \"aborting\": false,\n    \"reopened\": false,\n    \"staged\": "
         "false,\n"
         "    \"requested\": false,\n    \"initial\": false,\n    \"before\": \"\",\n"
         "    \"started\": null,\n    \"switched\": true");
    edit(&before, "\"process\": \"q\"\n      }",
         "\"process\": \"q\"\n      },\n      \"path\": null");
    edit(&before, "\"keys\": [", "\"custom\": \"\",\n  \"keys\": [");
    assert_string_equal(before.data, after.data);
}

/* Killed at any moment of its writing, the last journal or the one before it is there, whole. */
static void kill_9_while_writing_loses_no_key(void **state)
{
    char *path CLEANUP(cleanup_mem) = state_file(state);
    struct rkestate *s CLEANUP(cleanup_rkestate) = read_state(path);
    struct journal *j CLEANUP(cleanup_journal) = read_journal(s, path);
    OK(journal_write(j, s, &err));
    for (useconds_t delay = 0; delay < 12; delay++) {
        int at[2];
        assert_int_equal(pipe(at), 0);
        pid_t child = fork();
        if (child == 0) {
            struct error err = {0};
            struct rkestate *t = NULL;
            struct journal *k = NULL;
            if (rkestate_read(path, &t, &err) != 0 || journal_read(t, path, &k, &err) != 0)
                _exit(1);
            for (;;)
                if (journal_write(k, t, &err) != 0 ||
                    write(at[1], &k->sequence, sizeof(k->sequence)) < 0)
                    _exit(1);
        }
        close(at[1]);
        int64_t told = 0, last = 0;
        assert_int_equal(read(at[0], &told, sizeof(told)), sizeof(told));
        usleep(delay * 150);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(at[0], &last, sizeof(last)) == sizeof(last))
            told = last;
        close(at[0]);
        struct rkestate *t CLEANUP(cleanup_rkestate) = read_state(path);
        struct journal *k CLEANUP(cleanup_journal) = read_journal(t, path);
        assert_true(k->sequence == told || k->sequence == told + 1);
        assert_true(has_key(k, "key-n4bdz"));
        OK(journal_write(k, t, &err));
        assert_int_equal(count_files(state), 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
        IN_FOLDER(a_fresh_journal_knows_the_states_keys),
        IN_FOLDER(what_was_written_is_read_from_either_place),
        IN_FOLDER(rke_dropping_our_member_loses_nothing),
        IN_FOLDER(a_copy_that_is_behind_is_told),
        IN_FOLDER(of_two_sequences_the_higher_wins_with_the_keys_of_both),
        IN_FOLDER(two_stories_of_one_step_are_refused),
        IN_FOLDER(a_journal_of_another_cluster_is_refused),
        IN_FOLDER(a_damaged_copy_is_refused_by_name_without_quoting_it),
        IN_FOLDER(without_a_state_file_the_sidecar_stands_alone),
        IN_FOLDER(a_state_that_rke_has_not_brought_up_gives_no_active_key),
        IN_FOLDER(a_running_configuration_that_does_not_read_stops_a_fresh_journal_only),
        IN_FOLDER(a_write_that_fails_leaves_what_can_be_read),
        IN_FOLDER(nothing_is_written_where_rke_changed_the_state_meanwhile),
        IN_FOLDER(what_could_not_be_read_back_is_not_written),
        IN_FOLDER(a_kind_or_an_owned_change_makes_a_newer_version),
        IN_FOLDER(a_journal_of_version_1_reads),
        IN_FOLDER(kill_9_while_writing_loses_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
