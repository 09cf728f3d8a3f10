/* What a run makes of what a node shows: with a driver that says what the test wants. */
#include "provisioner/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATH "/etc/kubernetes/enc/encryption.yaml"
#define SWITCH_ONLY (FORM_BIT(FORM_SWITCH))

static struct shown {
    const char *doubt;
    bool unsettled;
    const char *file;
} shown;

static int show(struct node *n, struct apiserver *out, struct error *err)
{
    (void)n;
    (void)err;
    *out = (struct apiserver){.exists = true,
                              .running = true,
                              .process = mem_strdup("1"),
                              .config_path = mem_strdup(PATH),
                              .unsettled = shown.unsettled,
                              .doubt = mem_strdup(shown.doubt)};
    return 0;
}

static int read_it(struct node *n, const char *path, struct buf *out, bool *missing,
                   struct error *err)
{
    (void)n;
    (void)path;
    (void)err;
    *missing = false;
    buf_adds(out, shown.file);
    return 0;
}

static const struct driver says_so = {.kind = "kubeadm", .observe = show, .read_file = read_it};

static struct encryption_config *managed(char letter)
{
    unsigned char secret[32];
    memset(secret, letter, sizeof(secret));
    char name[] = {'k', letter, '\0'};
    return encryption_config_managed(PROVIDER_AESCBC, NULL,
                                     &(struct encryption_key){name, secret, sizeof(secret)});
}

/* A rotation that was switched: the one node's process was seen to run that file. */
struct moment {
    struct encrypt_options options;
    struct member member;
    struct session session;
    struct encrypt_report report;
    struct run run;
};

static void make_moment(struct moment *m)
{
    struct encryption_config *from CLEANUP(cleanup_encryption_config) = managed('a');
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = managed('b');
    struct error err CLEANUP(error_clear) = {0};
    *m = (struct moment){.options = {.config = "cluster.yml"},
                         .member = {.node = {.name = "n1", .driver = &says_so}}};
    m->session = (struct session){.options = &m->options, .members = &m->member, .count = 1};
    assert_int_equal(journal_new("/nonexistent/cluster.rkestate", &m->session.journal, &err), 0);
    journal_open(m->session.journal, "rotate-key", from, to, NULL);
    assert_int_equal(run_prepare(&m->run, &m->session, &m->report, &err), 0);
    shown.file = m->run.text[FORM_SWITCH];
    node_record_runs(journal_node(m->session.journal, "n1"), m->run.sha256[FORM_SWITCH], "1");
}

static void free_moment(struct moment *m)
{
    apiserver_free(&m->member.seen);
    mem_free(m->member.config_path);
    buf_free(&m->member.file);
    run_free(&m->run);
    journal_free(m->session.journal);
}

static void observe(const char *doubt, bool unsettled, form_set runs, uint64_t unconfirmed)
{
    struct moment m CLEANUP(free_moment);
    struct error err CLEANUP(error_clear) = {0};
    make_moment(&m);
    shown.doubt = doubt;
    shown.unsettled = unsettled;
    m.run.facts.rewritten = m.run.facts.proved = true;
    assert_int_equal(run_observe(&m.run, &err), 0);
    assert_int_equal(m.run.nodes[0].file, SWITCH_ONLY);
    assert_int_equal(m.run.nodes[0].runs, runs);
    assert_int_equal(m.run.unconfirmed, unconfirmed);
    /* Proof holds for what is shown to run alone. */
    assert_int_equal(m.run.facts.proved, runs != 0);
}

static void a_process_that_was_seen_runs_what_it_ran(void **state)
{
    (void)state;
    observe(NULL, false, SWITCH_ONLY, 0);
    observe(NULL, true, SWITCH_ONLY, 1);
}

/* It is brought to what it is to run; waiting for what is unsettled there would never end. */
static void one_in_doubt_may_run_anything(void **state)
{
    (void)state;
    observe("its manifest says something else", false, 0, 0);
    observe("its manifest says something else", true, 0, 0);
}

/* For `plan` nothing is made on a node without an apiserver, not even to look: what was placed
 * there would be placed once more, as it were. */
static void what_was_not_looked_at_counts_as_what_was_placed(void **state)
{
    (void)state;
    struct moment m CLEANUP(free_moment) = {0};
    make_moment(&m);
    m.run.nodes[0] = (struct plan_node){0};
    node_record_placed(journal_node(m.session.journal, "n1"), m.run.sha256[FORM_SWITCH], "none");
    run_take_placed(&m.run);
    assert_int_equal(m.run.nodes[0].file, 0);
    m.member.unread = true;
    run_take_placed(&m.run);
    assert_true(m.run.nodes[0].file & FORM_BIT(FORM_SWITCH));
    assert_true(m.run.nodes[0].file_there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_looked_at_counts_as_what_was_placed),
        cmocka_unit_test(a_process_that_was_seen_runs_what_it_ran),
        cmocka_unit_test(one_in_doubt_may_run_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
