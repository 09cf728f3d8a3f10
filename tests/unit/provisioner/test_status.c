/* What `status` makes of what was seen: stage, next command, what a node runs, whether all match.
 */
#include "provisioner/status.h"

#include "tests/unit/provisioner/forms.h"

#include <stdio.h>

static struct forms rotation(bool back)
{
    struct forms f = make(managed('a'), managed('b'));
    if (back)
        forms_turn_back(&f);
    return f;
}

/* --- stage and next --- */

static void without_a_transition_the_last_one_tells_the_stage(void **state)
{
    (void)state;
    struct journal j = {0};
    const struct stage_at at = {0};
    char rotated[] = "rotate-key", enabled[] = "enable";
    assert_int_equal(status_stage(NULL, &at, false), STAGE_START);
    assert_int_equal(status_stage(&j, &at, true), STAGE_START);
    j.last.why = enabled;
    assert_int_equal(status_stage(&j, &at, false), STAGE_START);
    j.last.why = rotated;
    assert_int_equal(status_stage(&j, &at, false), STAGE_REENCRYPT_FINISHED);
    j.last.aborted = true;
    assert_int_equal(status_stage(&j, &at, false), STAGE_START);
    assert_null(status_next(NULL, &at, false));
}

static void reencryption_is_active_while_somebody_is_at_work(void **state)
{
    (void)state;
    struct transition t = {.staged = true, .requested = true};
    struct journal j = {.transition = &t};
    struct stage_at at = {.stage = STAGE_REENCRYPT_REQUEST, .complete = true};
    assert_int_equal(status_stage(&j, &at, false), STAGE_REENCRYPT_REQUEST);
    assert_int_equal(status_stage(&j, &at, true), STAGE_REENCRYPT_ACTIVE);
    assert_string_equal(status_next(&t, &at, false), "reencrypt");
    assert_null(status_next(&t, &at, true));
    at.stage = STAGE_ROTATE;
    assert_int_equal(status_stage(&j, &at, true), STAGE_ROTATE);
}

static void what_was_not_begun_by_stages_goes_on_by_resume(void **state)
{
    (void)state;
    struct transition t = {0};
    struct stage_at at = {.stage = STAGE_PREPARE, .complete = true};
    assert_string_equal(status_next(&t, &at, false), "resume");
    t.staged = true;
    assert_string_equal(status_next(&t, &at, false), "rotate");
    at.waiting = 1;
    assert_string_equal(status_next(&t, &at, false), "restart");
    t.aborting = true;
    assert_string_equal(status_next(&t, &at, false), "resume");
    t.aborting = false;
    t.reopened = true;
    assert_string_equal(status_next(&t, &at, false), "resume");
    at.refused = true;
    assert_string_equal(status_next(&t, &at, false), "doctor");
}

/* rotate-key asks for the rewrite by itself: RKE2's word for it is the one of its `reencrypt`. */
static void rotate_key_at_its_rewrite_is_reencrypt(void **state)
{
    (void)state;
    struct forms f = rotation(false);
    const struct plan_node nodes[] = {{S, true, S}, {S, true, S}};
    struct transition t = {.switched = true};
    struct plan_facts facts = {.switched = true};
    assert_int_equal(status_at(&t, &f, nodes, 2, facts).stage, STAGE_REENCRYPT_REQUEST);
    t.staged = facts.staged = true;
    assert_int_equal(status_at(&t, &f, nodes, 2, facts).stage, STAGE_ROTATE);
    t.requested = true;
    assert_int_equal(status_at(&t, &f, nodes, 2, facts).stage, STAGE_REENCRYPT_REQUEST);
    forms_free(&f);
}

static void where_no_node_was_seen_the_journal_tells(void **state)
{
    (void)state;
    struct transition t = {.staged = true};
    const struct plan_facts none = {0};
    assert_int_equal(status_at(&t, NULL, NULL, 0, none).stage, STAGE_PREPARE);
    t.switched = true;
    assert_int_equal(status_at(&t, NULL, NULL, 0, none).stage, STAGE_ROTATE);
    t.requested = true;
    assert_int_equal(status_at(&t, NULL, NULL, 0, none).stage, STAGE_REENCRYPT_REQUEST);
    t.stage = TRANSITION_NARROWING;
    assert_int_equal(status_at(&t, NULL, NULL, 0, none).stage, STAGE_REENCRYPT_FINISHED);
    t = (struct transition){.reopened = true};
    assert_int_equal(status_at(&t, NULL, NULL, 0, none).stage, STAGE_REENCRYPT_REQUEST);
}

/* The words are those of the way there: what the furthest node has of it still. */
static void on_the_way_back_the_stages_come_in_reverse(void **state)
{
    (void)state;
    struct forms f = rotation(true);
    struct transition t = {.aborting = true, .switched = true};
    struct plan_facts facts = {.back = true, .switched = true};
    /* The old SWITCH is FROM and WIDEN now, the old WIDEN is SWITCH, the old FROM is TO. */
    form_set old_switch = forms_of(&f, f.config[FORM_FROM]);
    assert_int_equal(old_switch, F | W);
    const struct plan_node rotated[] = {{S, true, S}, {S, true, old_switch}};
    struct stage_at at = status_at(&t, &f, rotated, 2, facts);
    assert_int_equal(at.stage, STAGE_ROTATE);
    assert_int_equal(at.waiting, 2);
    const struct plan_node widened[] = {{S, true, S}, {S, true, S}};
    assert_int_equal(status_at(&t, &f, widened, 2, facts).stage, STAGE_PREPARE);
    const struct plan_node back[] = {{T, true, T}, {T, true, T}};
    t.stage = TRANSITION_NARROWING;
    facts.narrowing = facts.rewritten = facts.proved = true;
    assert_int_equal(status_at(&t, &f, back, 2, facts).stage, STAGE_START);
    assert_string_equal(status_next(&t, &at, false), "resume");
    forms_free(&f);
}

/* --- what a node runs --- */

static void what_runs_is_told_by_the_best_evidence(void **state)
{
    (void)state;
    char process[] = "p2", path[] = "/e.yaml", old[] = "aa", old_process[] = "p1", file[] = "ff";
    struct member m = {.seen = {.exists = true, .running = true, .process = process}};
    struct node_record r = {.runs = {old, process}};
    const char *sha = NULL;
    memcpy(m.file_sha256, "ff", 3);
    /* No flag: it runs none, whatever lies there. */
    assert_int_equal(status_runs(&m, &r, &sha), RUNS_BY_FLAGS);
    assert_string_equal(sha, "none");
    m.seen.config_path = path;
    assert_int_equal(status_runs(&m, &r, &sha), RUNS_BY_JOURNAL);
    assert_string_equal(sha, "aa");
    /* Another process: it began after the file was put, which is still there. */
    r = (struct node_record){.runs = {old, old_process}, .placed = {file, old_process}};
    assert_int_equal(status_runs(&m, &r, &sha), RUNS_BY_PLACEMENT);
    assert_string_equal(sha, "ff");
    /* … or there is another one by now. */
    r.placed.sha256 = old;
    assert_int_equal(status_runs(&m, &r, &sha), RUNS_ASSUMED);
    assert_int_equal(status_runs(&m, NULL, &sha), RUNS_ASSUMED);
    assert_string_equal(sha, "ff");
    m.file_missing = true;
    assert_int_equal(status_runs(&m, NULL, &sha), RUNS_UNKNOWN);
    assert_null(sha);
    m.seen.running = false;
    assert_int_equal(status_runs(&m, &r, &sha), RUNS_UNKNOWN);
    assert_null(sha);
}

static void a_configuration_is_told_by_names_alone(void **state)
{
    (void)state;
    static const char text[] =
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
        "- resources: [secrets, configmaps]\n  providers:\n"
        "  - aescbc: {keys: [{name: b, secret: QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=},\n"
        "                    {name: a, secret: QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=}]}\n"
        "  - identity: {}\n"
        "- resources: [events]\n  providers:\n  - identity: {}\n"
        "  - kms: {name: vault, endpoint: 'unix:///run/kms.sock'}\n";
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(encryption_config_read(text, strlen(text), "x", ENCRYPTION_LENIENT, &c, &err),
                     0);
    char *said CLEANUP(cleanup_mem) = status_describe(c);
    assert_string_equal(said,
                        "secrets, configmaps: b (writes), a, identity; events: identity (writes), "
                        "vault");
    char *none CLEANUP(cleanup_mem) = status_describe(NULL);
    assert_string_equal(none, "none");
}

/* --- hashes --- */

enum { NODES = 3 };

struct lab {
    struct encrypt_status out;
    struct encrypt_status_node nodes[NODES];
    struct status_node seen[NODES];
    struct member members[NODES];
    struct session session;
    struct cluster_node conf;
    struct absent absent;
    struct status d;
    struct encryption_config *a, *b;
    char path[16], name[16];
};

/* Three nodes that have and run the same. */
static void lab_make(struct lab *l)
{
    static const char *const names[NODES] = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};
    *l = (struct lab){.path = "/e.yaml", .name = "10.0.0.9", .a = managed('a'), .b = managed('b')};
    l->out.nodes = l->nodes;
    l->session.members = l->members;
    l->session.count = NODES;
    l->d = (struct status){.s = &l->session, .out = &l->out, .nodes = l->seen};
    for (size_t i = 0; i < NODES; i++) {
        l->members[i].node.name = names[i];
        l->members[i].seen.exists = true;
        l->members[i].seen.config_path = l->path;
        memcpy(l->members[i].file_sha256, "aa", 3);
        l->seen[i] = (struct status_node){.file = l->a,
                                          .file_known = true,
                                          .runs_sha256 = "aa",
                                          .runs = l->a,
                                          .runs_known = true};
    }
}

static void lab_free(struct lab *l)
{
    mem_free(l->out.hash_error);
    for (size_t i = 0; i < l->out.problem_count; i++)
        mem_free(l->out.problems[i]);
    mem_free(l->out.problems);
    for (size_t i = 0; i < l->out.note_count; i++)
        mem_free(l->out.notes[i]);
    mem_free(l->out.notes);
    encryption_config_free(l->a);
    encryption_config_free(l->b);
}

static void hashes(struct lab *l, const char *error, size_t problems)
{
    status_hashes(&l->d);
    assert_int_equal(l->out.hash_match, !error);
    if (error)
        assert_string_equal(l->out.hash_error, error);
    assert_int_equal(l->out.problem_count, problems);
}

static void the_same_everywhere_matches(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l);
    hashes(&l, NULL, 0);
    assert_true(l.nodes[0].matches && l.nodes[2].matches);
}

static void another_writing_of_the_same_matches(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l);
    memcpy(l.members[1].file_sha256, "a2", 3);
    hashes(&l, NULL, 0);
}

static void servers_that_run_different_files_are_named(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l);
    l.seen[2].file = l.b;
    l.seen[2].runs = l.b;
    l.seen[2].runs_sha256 = "bb";
    memcpy(l.members[2].file_sha256, "bb", 3);
    hashes(&l, "hash does not match between 10.0.0.1 and 10.0.0.3", 1);
}

static void a_server_that_has_not_taken_up_its_file_is_named(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l);
    l.seen[1].file = l.b;
    memcpy(l.members[1].file_sha256, "bb", 3);
    hashes(&l, "hash does not match between 10.0.0.2 and the file on it", 1);
    assert_false(l.nodes[1].matches);
    assert_true(l.nodes[2].matches);
}

static void a_file_that_is_not_at_hand_differs_by_its_hash(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l);
    l.seen[1].runs_known = false;
    l.seen[1].runs_sha256 = "cc";
    hashes(&l, "hash does not match between 10.0.0.1 and 10.0.0.2", 1);
}

static void a_file_that_no_apiserver_is_told_to_read_is_none(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l);
    for (size_t i = 0; i < NODES; i++) {
        l.members[i].seen.config_path = NULL;
        l.seen[i].runs = NULL;
        l.seen[i].runs_sha256 = "none";
    }
    hashes(&l, NULL, 0);
}

static void a_node_that_was_not_seen_does_not_match(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l);
    l.conf.ssh.address = l.name;
    l.absent.conf = &l.conf;
    l.session.absent = &l.absent;
    l.session.absent_count = 1;
    /* (That it could not be looked at is the problem, and said elsewhere.) */
    hashes(&l, "hash of 10.0.0.9 is not known", 0);
}

/* Down, or of an open transition and started by nobody knows whom. */
static void a_server_of_which_nothing_is_known_is_not_said_to_differ(void **state)
{
    (void)state;
    for (int open = 0; open < 2; open++) {
        struct lab l CLEANUP(lab_free);
        lab_make(&l);
        l.d.observed = open;
        for (size_t i = 0; i < NODES; i++)
            l.d.run.nodes[i] = (struct plan_node){.file = W, .file_there = true, .runs = W};
        l.d.run.nodes[1].runs = 0;
        l.seen[1] = (struct status_node){.file = l.a, .file_known = true};
        hashes(&l, "hash of 10.0.0.2 is not known", 0);
        assert_false(l.nodes[1].matches);
    }
}

static void what_is_assumed_is_said(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l);
    l.seen[1].evidence = RUNS_ASSUMED;
    hashes(&l, NULL, 0);
    assert_true(l.out.hash_assumed);
    assert_int_equal(l.out.note_count, 1);
    assert_non_null(strstr(l.out.notes[0], "10.0.0.2: nobody saw"));
}

/* --- which node tells --- */

static void the_first_node_that_can_tell_is_the_reference(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l);
    l.d.recorded = l.b;
    assert_ptr_equal(status_reference(&l.d), l.a);
    /* No apiserver; a file that is gone; what it runs is known all the same. */
    l.members[0].seen = (struct apiserver){0};
    l.seen[1] = (struct status_node){0};
    l.seen[2] = (struct status_node){.runs = l.b, .runs_known = true};
    l.d.recorded = NULL;
    assert_ptr_equal(status_reference(&l.d), l.b);
    l.seen[2].runs_known = false;
    l.d.recorded = l.a;
    assert_ptr_equal(status_reference(&l.d), l.a);
    /* An apiserver without the flag reads none, whatever the state file says. */
    l.members[1].seen.config_path = NULL;
    assert_null(status_reference(&l.d));
}

/* --- what could not be asked --- */

static size_t problems_without(struct lab *l, bool credentials, bool counted)
{
    struct error err CLEANUP(error_clear) = {0};
    l->d.no_credentials = credentials ? NULL : l->name;
    l->d.counted = counted;
    assert_int_equal(status_state(&l->d, &err), 0);
    return l->out.problem_count;
}

static void what_could_not_be_asked_is_wrong_where_anything_is_encrypted(void **state)
{
    (void)state;
    for (int which = 0; which < 4; which++) {
        bool credentials = which & 1, counted = which & 2;
        struct lab on CLEANUP(lab_free);
        lab_make(&on);
        assert_int_equal(problems_without(&on, credentials, counted), !credentials + !counted);
        struct lab off CLEANUP(lab_free);
        lab_make(&off);
        for (size_t i = 0; i < NODES; i++) {
            off.members[i].seen.config_path = NULL;
            off.seen[i].runs = NULL;
        }
        assert_int_equal(problems_without(&off, credentials, counted), 0);
        assert_int_equal(off.out.note_count, !credentials);
    }
}

static void a_lost_state_file_is_wrong_where_anything_is_encrypted(void **state)
{
    (void)state;
    static const struct driver driver = {.default_config_path = "/e.yaml", .needs_state = true};
    static const struct driver other = {.default_config_path = "/rke.yaml", .needs_state = true};
    struct cluster cluster = {0};
    for (int which = 0; which < 3; which++) {
        struct lab l CLEANUP(lab_free);
        lab_make(&l);
        l.session.cluster = &cluster;
        l.d.state_missing = true;
        for (size_t i = 0; i < NODES; i++) {
            /* 1: not encrypted; 2: by an administrator's own file, of which no state file tells */
            l.members[i].node.driver = which == 2 ? &other : &driver;
            if (which == 1) {
                l.members[i].seen.config_path = NULL;
                l.seen[i].runs = NULL;
            }
        }
        assert_int_equal(problems_without(&l, true, true), which == 0);
        assert_int_equal(l.out.note_count, which != 0);
    }
}

static bool stamped;

static int read_stamp(struct node *n, const char *path, struct buf *out, bool *missing,
                      struct error *err)
{
    (void)n;
    (void)path;
    (void)err;
    *missing = !stamped;
    if (stamped)
        buf_adds(out, "{\"version\": 1, \"cluster\": \"c\", \"generation\": 3, \"transition\": "
                      "\"\", \"by\": \"ann\", \"at\": \"2026-01-02T03:04:05Z\"}");
    return 0;
}

/* Kinds whose state file is made by our first change: only a stamp tells that there was one. */
static void a_state_file_that_never_was_is_not_lost(void **state)
{
    (void)state;
    static const struct driver ours = {.default_config_path = "/other.yaml",
                                       .read_file = read_stamp};
    struct cluster cluster = {0};
    for (int which = 0; which < 2; which++) {
        struct lab l CLEANUP(lab_free);
        lab_make(&l);
        l.session.cluster = &cluster;
        l.d.state_missing = true;
        stamped = which;
        for (size_t i = 0; i < NODES; i++) {
            l.members[i].node.driver = &ours;
            l.members[i].config_path = l.path;
        }
        assert_int_equal(problems_without(&l, true, true), which);
        assert_int_equal(l.out.note_count, !which);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_transition_the_last_one_tells_the_stage),
        cmocka_unit_test(reencryption_is_active_while_somebody_is_at_work),
        cmocka_unit_test(what_was_not_begun_by_stages_goes_on_by_resume),
        cmocka_unit_test(rotate_key_at_its_rewrite_is_reencrypt),
        cmocka_unit_test(where_no_node_was_seen_the_journal_tells),
        cmocka_unit_test(on_the_way_back_the_stages_come_in_reverse),
        cmocka_unit_test(what_runs_is_told_by_the_best_evidence),
        cmocka_unit_test(a_configuration_is_told_by_names_alone),
        cmocka_unit_test(the_same_everywhere_matches),
        cmocka_unit_test(another_writing_of_the_same_matches),
        cmocka_unit_test(servers_that_run_different_files_are_named),
        cmocka_unit_test(a_server_that_has_not_taken_up_its_file_is_named),
        cmocka_unit_test(a_file_that_is_not_at_hand_differs_by_its_hash),
        cmocka_unit_test(a_file_that_no_apiserver_is_told_to_read_is_none),
        cmocka_unit_test(a_node_that_was_not_seen_does_not_match),
        cmocka_unit_test(a_server_of_which_nothing_is_known_is_not_said_to_differ),
        cmocka_unit_test(what_is_assumed_is_said),
        cmocka_unit_test(the_first_node_that_can_tell_is_the_reference),
        cmocka_unit_test(what_could_not_be_asked_is_wrong_where_anything_is_encrypted),
        cmocka_unit_test(a_lost_state_file_is_wrong_where_anything_is_encrypted),
        cmocka_unit_test(a_state_file_that_never_was_is_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
