/* What somebody else did to a node's file, by the clock of the node: with a driver that says what
 * the test wants. */
#include "provisioner/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PATH "/etc/kubernetes/enc/encryption.yaml"
#define STARTED 1795251155 /* 2026-11-21T08:52:35Z */

static char path[] = PATH;
static char since[] = "2026-11-21T08:52:35Z";
static char process[] = "p2";

/* Of the node: when its file was changed; -1: it doesn't tell. */
static long long file_time;
static int asked;

static int tell_time(struct node *n, const char *at, long long *out, struct error *err)
{
    (void)n;
    assert_string_equal(at, PATH);
    asked++;
    *out = file_time;
    return file_time < 0 ? error_set(err, RESULT_FAILED, "sudo refuses") : 0;
}

static const struct driver tells = {.kind = "kubeadm", .changed_at = tell_time};
static const struct driver tells_not = {.kind = "rke"};

static void times_are_told_apart_by_more_than_their_rounding(void **state)
{
    (void)state;
    static const struct {
        long long changed;
        const char *since, *text;
    } table[] = {
        {STARTED - 3600, since, NULL},
        {STARTED, since, NULL},
        {STARTED + 2, since, NULL},
        {STARTED + 3, since, "2026-11-21T08:52:38Z"},
        {STARTED + 86400, since, "2026-11-22T08:52:35Z"},
        {STARTED + 86400, NULL, NULL},
        {0, since, NULL},
        {0, "1970-01-01T00:00:00Z", NULL},
        {INT64_MAX, since, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *text CLEANUP(cleanup_mem) = NULL;
        bool is = changed_after_start(table[i].changed, table[i].since, &text);
        assert_int_equal(is, table[i].text != NULL);
        if (table[i].text)
            assert_string_equal(text, table[i].text);
        else
            assert_null(text);
    }
}

/* A cluster of one node, of which the journal knows what a test lets it. */
struct moment {
    struct encrypt_options options;
    struct member member;
    struct session session;
};

static void make_moment(struct moment *m)
{
    struct error err CLEANUP(error_clear) = {0};
    *m = (struct moment){.options = {.config = "cluster.yml"},
                         .member = {.node = {.name = "n1", .driver = &tells},
                                    .seen = {.exists = true,
                                             .running = true,
                                             .process = process,
                                             .since = since,
                                             .config_path = path},
                                    .config_path = path,
                                    .file_sha256 = "now"}};
    m->session = (struct session){.options = &m->options, .members = &m->member, .count = 1};
    assert_int_equal(journal_new("/nonexistent/cluster.rkestate", &m->session.journal, &err), 0);
    file_time = STARTED + 60;
    asked = 0;
}

static void free_moment(struct moment *m)
{
    journal_free(m->session.journal);
}

static void check(struct moment *m, const char *refusal)
{
    struct error err CLEANUP(error_clear) = {0};
    int rc = foreign_check_restarted(&m->session, &err);
    assert_int_equal(rc, refusal ? -1 : 0);
    if (!refusal)
        return;
    assert_int_equal(err.result, RESULT_REFUSED);
    if (!strstr(err.message, refusal))
        fail_msg("%s", err.message);
    assert_non_null(strstr(err.message, "node n1"));
    assert_non_null(strstr(err.next, "restart kube-apiserver on one node after the other"));
}

#define REFUSAL PATH " was changed at 2026-11-21T08:53:35Z, after its kube-apiserver had started"

/* Put there by hand, after a reboot or before anything was recorded, and not restarted. */
static void a_file_that_is_newer_than_its_process_is_refused(void **state)
{
    (void)state;
    struct moment m CLEANUP(free_moment);
    make_moment(&m);
    check(&m, REFUSAL);
    /* An earlier process was seen to run another file. */
    node_record_runs(journal_node(m.session.journal, "n1"), "before", "p1");
    check(&m, REFUSAL);
    /* What we put was another. */
    node_record_placed(journal_node(m.session.journal, "n1"), "before", "p1");
    check(&m, REFUSAL);
    file_time = STARTED - 60;
    check(&m, NULL);
    assert_int_equal(asked, 4);
}

static void what_the_journal_knows_counts_more_than_times(void **state)
{
    (void)state;
    struct moment m CLEANUP(free_moment);
    make_moment(&m);
    struct node_record *n = journal_node(m.session.journal, "n1");
    node_record_runs(n, "now", "p2");
    check(&m, NULL);
    node_record_runs(n, "before", "p2");
    check(&m, "was not restarted since");
    /* The file that it ran is there still. */
    node_record_runs(n, "now", "p1");
    check(&m, NULL);
    /* We put it there, and the process came after. */
    node_record_runs(n, "before", "p0");
    node_record_placed(n, "now", "p1");
    check(&m, NULL);
    assert_int_equal(asked, 0);
    /* We put it there under that very process. */
    node_record_placed(n, "now", "p2");
    check(&m, REFUSAL);
}

static void where_times_tell_nothing_none_is_asked(void **state)
{
    (void)state;
    struct moment m CLEANUP(free_moment);
    make_moment(&m);
    m.member.node.driver = &tells_not;
    check(&m, NULL);
    m.member.node.driver = &tells;
    m.member.seen.automatic_reload = true;
    check(&m, NULL);
    m.member.seen.automatic_reload = false;
    m.member.joins = true;
    check(&m, NULL);
    m.member.joins = false;
    m.member.seen.config_path = NULL;
    check(&m, NULL);
    m.member.seen.config_path = path;
    m.member.file_missing = true;
    check(&m, NULL);
    assert_int_equal(asked, 0);
    m.member.file_missing = false;
    check(&m, REFUSAL);
}

static void a_time_that_can_not_be_had_stops_it(void **state)
{
    (void)state;
    struct moment m CLEANUP(free_moment);
    struct error err CLEANUP(error_clear) = {0};
    make_moment(&m);
    file_time = -1;
    assert_int_equal(foreign_check_restarted(&m.session, &err), -1);
    assert_non_null(strstr(err.message, "node n1"));
    assert_non_null(strstr(err.message, "sudo refuses"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_told_apart_by_more_than_their_rounding),
        cmocka_unit_test(a_file_that_is_newer_than_its_process_is_refused),
        cmocka_unit_test(what_the_journal_knows_counts_more_than_times),
        cmocka_unit_test(where_times_tell_nothing_none_is_asked),
        cmocka_unit_test(a_time_that_can_not_be_had_stops_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
