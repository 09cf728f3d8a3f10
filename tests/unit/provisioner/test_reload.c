/*
 * Automatic reload: what apiservers tell, and what may follow from it. The texts are what
 * kube-apiserver's code prints (read in Kubernetes' sources, of the versions named); of 1.36.2 the
 * names and labels were also seen running.
 */
#include "provisioner/reload.h"

#include "provisioner/run.h"
#include "tests/unit/provisioner/forms.h"
#include "tests/unit/provisioner/standin.h"

#define ID                                                                                         \
    "apiserver_id_hash=\"sha256:"                                                                  \
    "14f9d63e669337ac6bfda2e2162915ee6a6067743eddd4e5c374b572f951ff37\""
#define C "apiserver_encryption_config_controller_"
#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* 1.36.2, after one reload (seen). */
static const char v136[] =
    "# HELP " C "automatic_reload_last_timestamp_seconds [ALPHA] Timestamp of the last successful "
    "or failed automatic reload of encryption configuration split by apiserver identity.\n"
    "# TYPE " C "automatic_reload_last_timestamp_seconds gauge\n" C
    "automatic_reload_last_timestamp_seconds{" ID ",status=\"success\"} 1.7954e+09\n"
    "# HELP " C "automatic_reloads_total [ALPHA] Total number of reload successes and failures of "
    "encryption configuration split by apiserver identity.\n"
    "# TYPE " C "automatic_reloads_total counter\n" C "automatic_reloads_total{" ID
    ",status=\"success\"} 1\n"
    "# HELP " C "last_config_info [ALPHA] Information about the last applied encryption "
    "configuration with hash as label, split by apiserver identity.\n"
    "# TYPE " C "last_config_info gauge\n" C "last_config_info{" ID ",hash=\"sha256:" SHA_A
    "\"} 1\n";

/* 1.30 (read): no hash; the older two counters beside the one with a label. */
static const char v130[] =
    C "automatic_reload_failures_total{" ID "} 2\n" C "automatic_reload_success_total{" ID "} 3\n" C
      "automatic_reloads_total{" ID ",status=\"failure\"} 2\n" C "automatic_reloads_total{" ID
      ",status=\"success\"} 3\n";

/* 1.29 (read). */
static const char v129[] =
    "# TYPE " C "automatic_reload_failures_total counter\n" C "automatic_reload_failures_total{" ID
    "} 2\n" C "automatic_reload_success_total{" ID "} 3\n";

static void what_each_version_tells(void **state)
{
    (void)state;
    struct reload_seen r;
    reload_read(v136, &r);
    assert_true(r.told);
    assert_string_equal(r.sha256, SHA_A);
    assert_true(r.counted);
    assert_int_equal((int)r.successes, 1);
    assert_int_equal((int)r.failures, 0);
    const char *older[] = {v130, v129};
    for (size_t i = 0; i < ARRAY_LEN(older); i++) {
        reload_read(older[i], &r);
        assert_false(r.told);
        assert_string_equal(r.sha256, "");
        assert_true(r.counted);
        assert_int_equal((int)r.successes, 3);
        assert_int_equal((int)r.failures, 2);
    }
    reload_read("apiserver_request_total{code=\"200\"} 7\n", &r);
    assert_false(r.told || r.counted);
}

/* Of a hash that can't be trusted nothing is built: then a restart tells. */
static void a_doubtful_hash_is_none(void **state)
{
    (void)state;
    const char *doubtful[] = {
        /* two that differ, of which one may be of before */
        C "last_config_info{hash=\"sha256:" SHA_A "\"} 1\n" C
          "last_config_info{hash=\"sha256:" SHA_B "\"} 1\n",
        C "last_config_info{hash=\"sha256:" SHA_A "\"} 0\n",
        C "last_config_info{hash=\"" SHA_A "\"} 1\n",
        C "last_config_info{hash=\"sha256:aaaa\"} 1\n",
        C "last_config_info{hash=\"sha256:AA" SHA_A "\"} 1\n",
        C "last_config_info{} 1\n",
        C "last_config_info{hash=\"sha256:" SHA_A "\"}\n",
        C "last_config_info 1\n",
    };
    struct reload_seen r;
    for (size_t i = 0; i < ARRAY_LEN(doubtful); i++) {
        reload_read(doubtful[i], &r);
        if (r.told)
            fail_msg("told by %s", doubtful[i]);
    }
    /* One that was replaced, and one of before that is 0. */
    reload_read(C "last_config_info{hash=\"sha256:" SHA_B "\"} 0\n" C "last_config_info{" ID
                  ",hash=\"sha256:" SHA_A "\"} 1\n",
                &r);
    assert_true(r.told);
    assert_string_equal(r.sha256, SHA_A);
}

static void a_request_lasts_as_long_as_the_flag_says(void **state)
{
    (void)state;
    assert_int_equal(reload_request_timeout_ms(NULL), 60000);
    assert_int_equal(reload_request_timeout_ms("1m0s"), 60000);
    assert_int_equal(reload_request_timeout_ms("1m30s"), 90000);
    assert_int_equal(reload_request_timeout_ms("500ms"), 500);
    assert_int_equal(reload_request_timeout_ms("1.5m"), 90000);
    /* Longer than anybody waits, or not understood: the longest. */
    const char *odd[] = {"", "soon", "5", "-5m", "48h", "1m x"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        assert_int_equal(reload_request_timeout_ms(odd[i]), 3600000);
}

/* --- one node, and its apiserver's stand-in --- */

struct lab {
    struct standin s;
    struct loop *loop;
    struct session session;
    struct member member;
    struct run run;
    struct encrypt_report report;
    struct encrypt_options options;
    struct cluster cluster;
    const char *process, *hash; /* what is found: the process; the hash told, NULL: none */
    double failures;
    size_t scrapes, taken_up_after; /* the file is taken up with that scrape; 0: never */
    char *file;
};

static int observe(struct node *n, struct apiserver *out, struct error *err)
{
    (void)err;
    const struct lab *l = n->driver_data;
    char **args = mem_alloc(3, sizeof(char *));
    args[0] = mem_strdup("--encryption-provider-config=/etc/enc.yaml");
    args[1] = mem_strdup("--encryption-provider-config-automatic-reload=true");
    *out = (struct apiserver){.exists = true, .running = true};
    out->process = mem_strdup(l->process);
    apiserver_set_args(out, args);
    return 0;
}

static int read_file(struct node *n, const char *path, struct buf *out, bool *missing,
                     struct error *err)
{
    (void)path;
    (void)err;
    const struct lab *l = n->driver_data;
    *missing = !l->file;
    buf_adds(out, l->file ? l->file : "");
    return 0;
}

static const struct driver fake = {.kind = "fake",
                                   .observe = observe,
                                   .read_file = read_file,
                                   .default_config_path = "/etc/enc.yaml"};

static void answer(void *ctx, const struct asked *q, struct buf *out)
{
    struct lab *l = ctx;
    struct buf text CLEANUP(buf_free) = {0};
    char sha[65];
    if (strcmp(q->path, "/metrics") != 0) {
        standin_answer(out, 200, NULL, "ok");
        return;
    }
    l->scrapes++;
    const char *hash = l->hash;
    if (l->taken_up_after && l->scrapes >= l->taken_up_after) {
        sha256_hex(l->file, strlen(l->file), sha);
        hash = sha;
    }
    if (hash)
        buf_printf(&text, C "last_config_info{" ID ",hash=\"sha256:%s\"} 1\n", hash);
    if (l->failures >= 0)
        buf_printf(&text, C "automatic_reloads_total{" ID ",status=\"failure\"} %.0f\n",
                   l->scrapes > 1 ? l->failures : 0);
    standin_answer(out, 200, NULL, buf_str(&text));
}

static int set_up(void **state)
{
    struct error err CLEANUP(error_clear) = {0};
    struct lab *l = mem_alloc(1, sizeof(*l));
    struct encryption_config *a CLEANUP(cleanup_encryption_config) = managed('a');
    struct encryption_config *b CLEANUP(cleanup_encryption_config) = managed('b');
    *state = l;
    l->process = "one";
    if (loop_new(&l->loop, &err) < 0)
        return -1;
    l->s = (struct standin){.fn = answer, .ctx = l};
    standin_start(&l->s, l->loop, "kube-apiserver on 10.0.0.1");
    l->options.config = "cluster.yml";
    l->session = (struct session){.options = &l->options,
                                  .cluster = &l->cluster,
                                  .loop = l->loop,
                                  .members = &l->member,
                                  .count = 1};
    if (journal_new("/nowhere/cluster.rkestate", &l->session.journal, &err) < 0)
        return -1;
    journal_open(l->session.journal, "rotate-key", a, b, NULL);
    l->member.node = (struct node){
        .name = "10.0.0.1", .loop = l->loop, .driver = &fake, .driver_data = l, .api = l->s.server};
    l->member.node.api.cert = "(none is asked for)";
    return run_prepare(&l->run, &l->session, &l->report, &err);
}

static int tear_down(void **state)
{
    struct lab *l = *state;
    run_free(&l->run);
    apiserver_free(&l->member.seen);
    mem_free(l->member.config_path);
    buf_free(&l->member.file);
    journal_free(l->session.journal);
    mem_free(l->session.previous_step);
    standin_stop(&l->s);
    loop_free(l->loop);
    mem_free(l);
    return 0;
}

static struct node_record *record(struct lab *l)
{
    return journal_node(l->session.journal, "10.0.0.1");
}

static form_set observed(struct lab *l)
{
    struct error err CLEANUP(error_clear) = {0};
    if (run_observe(&l->run, &err) < 0)
        fail_msg("%s", err.message);
    return l->run.nodes[0].runs;
}

/* The file lies there, the process is one that the journal has seen with it: what counts is what
 * the apiserver tells. */
static void the_metric_outweighs_the_process(void **state)
{
    struct lab *l = *state;
    l->file = l->run.text[FORM_SWITCH];
    node_record_runs(record(l), l->run.sha256[FORM_SWITCH], "one");
    l->hash = l->run.sha256[FORM_WIDEN];
    assert_int_equal(observed(l), FORM_BIT(FORM_WIDEN));
    l->hash = l->run.sha256[FORM_SWITCH];
    assert_int_equal(observed(l), FORM_BIT(FORM_SWITCH));
    l->hash = SHA_A; /* none of ours */
    assert_int_equal(observed(l), 0);
    assert_false(l->run.facts.singly);
}

/* It is asked anew each time: what was in force a moment ago may not be now. */
static void it_is_asked_each_time(void **state)
{
    struct lab *l = *state;
    l->file = l->run.text[FORM_SWITCH];
    l->hash = l->run.sha256[FORM_WIDEN];
    l->taken_up_after = 3;
    assert_int_equal(observed(l), FORM_BIT(FORM_WIDEN));
    assert_int_equal(observed(l), FORM_BIT(FORM_WIDEN));
    assert_int_equal(observed(l), FORM_BIT(FORM_SWITCH));
    assert_int_equal(l->scrapes, 3);
}

/* No hash: the same process may run what was put since; what the journal saw of another file does
 * not count, nor what lies there; a restart after the file was put does. */
static void without_the_metric_a_restart_tells(void **state)
{
    struct lab *l = *state;
    l->file = l->run.text[FORM_SWITCH];
    node_record_runs(record(l), l->run.sha256[FORM_WIDEN], "one");
    assert_int_equal(observed(l), 0);
    assert_true(l->run.facts.singly);
    node_record_runs(record(l), NULL, NULL);
    node_record_placed(record(l), l->run.sha256[FORM_SWITCH], "one");
    assert_int_equal(observed(l), 0);
    l->process = "two";
    assert_int_equal(observed(l), FORM_BIT(FORM_SWITCH));
    assert_int_equal(l->run.unconfirmed, 1);
    /* Seen to be ready: as long as nothing is put, that holds. */
    node_record_runs(record(l), l->run.sha256[FORM_SWITCH], "two");
    assert_int_equal(observed(l), FORM_BIT(FORM_SWITCH));
    assert_int_equal(l->run.unconfirmed, 0);
}

static int await(struct lab *l, enum form f, bool back, struct error *err)
{
    (void)observed(l);
    l->scrapes = 0;
    return rollout_await_reload(&l->run, &l->member, f, back, err);
}

static void a_rollout_waits_until_the_file_is_taken_up(void **state)
{
    struct lab *l = *state;
    struct error err CLEANUP(error_clear) = {0};
    l->file = l->run.text[FORM_WIDEN];
    l->hash = l->run.sha256[FORM_FROM];
    l->taken_up_after = 100;
    (void)observed(l);
    assert_true(rollout_reloads(&l->run, &l->member, FORM_WIDEN));
    /* It does not where the flag is to go, nor where nothing tells. */
    l->taken_up_after = 2;
    if (await(l, FORM_WIDEN, false, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(l->scrapes, 2);
    l->hash = NULL;
    l->taken_up_after = 0;
    (void)observed(l);
    assert_false(rollout_reloads(&l->run, &l->member, FORM_WIDEN));
}

static void a_file_that_fails_to_load_ends_the_wait(void **state)
{
    struct lab *l = *state;
    struct error err CLEANUP(error_clear) = {0};
    l->file = l->run.text[FORM_WIDEN];
    l->hash = l->run.sha256[FORM_FROM];
    l->failures = 2;
    assert_int_equal(await(l, FORM_WIDEN, false, &err), -1);
    assert_int_equal(err.result, RESULT_FAILED);
    assert_non_null(strstr(err.message, "2 failed reloads"));
    assert_non_null(strstr(err.message, "the last good file stays in force"));
    assert_int_equal(l->scrapes, 2);
    error_clear(&err);
    /* Going back, the failures may be those of the file before. */
    l->taken_up_after = 3;
    if (await(l, FORM_FROM, true, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(l->scrapes, 3);
}

/* Nothing is begun on a cluster where another file lies than is in force. */
static void what_lies_there_must_be_in_force(void **state)
{
    struct lab *l = *state;
    struct error err CLEANUP(error_clear) = {0};
    l->file = l->run.text[FORM_FROM];
    l->hash = l->run.sha256[FORM_FROM];
    (void)observed(l);
    assert_int_equal(reload_check_in_force(&l->session, &err), 0);
    l->hash = SHA_B;
    assert_int_equal(reload_check_in_force(&l->session, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.message, "10.0.0.1: /etc/enc.yaml is not what its kube-apiserver"));
    error_clear(&err);
    /* Not told: no other evidence than before. */
    l->hash = NULL;
    assert_int_equal(reload_check_in_force(&l->session, &err), 0);
}

/* One that took the file up by itself is as one that was restarted with it: what it had encrypted
 * before may come in still, so the proof waits from then on. Noted once, and not where it runs
 * another file than lies there. */
static void a_file_taken_up_unasked_counts_from_when_it_is_seen(void **state)
{
    struct lab *l = *state;
    const char *new = l->run.sha256[FORM_SWITCH], *old = l->run.sha256[FORM_WIDEN];
    l->file = l->run.text[FORM_SWITCH];
    l->hash = old;
    node_record_runs(record(l), old, "one");
    l->run.switched_at = -1;
    (void)observed(l);
    assert_int_equal(l->run.switched_at, -1);
    assert_string_equal(record(l)->runs.sha256, old);
    l->hash = new;
    int64_t before = loop_now();
    (void)observed(l);
    assert_true(l->run.switched_at >= before && l->run.switched_at <= loop_now());
    assert_string_equal(record(l)->runs.sha256, new);
    assert_string_equal(record(l)->runs.process, "one");
    assert_string_equal(record(l)->placed.sha256, new);
    l->run.switched_at = -1;
    (void)observed(l);
    assert_int_equal(l->run.switched_at, -1);
    /* Another process with the same file. */
    l->process = "two";
    (void)observed(l);
    assert_true(l->run.switched_at >= before);
    assert_string_equal(record(l)->runs.process, "two");
}

static int check_can_go(struct lab *l, bool encrypted, struct error *err)
{
    struct encryption_config *to CLEANUP(cleanup_encryption_config) =
        encrypted ? managed('b') : NULL;
    error_clear(err);
    return reload_check_can_go(&l->session, to, err);
}

/* Disabling ends with no configuration, and an apiserver with the flag alone does not start. */
static void the_flag_has_to_go_before_the_configuration(void **state)
{
    static const struct driver drops = {.kind = "fake",
                                        .observe = observe,
                                        .read_file = read_file,
                                        .default_config_path = "/etc/enc.yaml",
                                        .drops_reload = true};
    static const char text[] = "services:\n  kube-api:\n    extra_args:\n"
                               "      encryption-provider-config-automatic-reload: \"true\"\n";
    struct lab *l = *state;
    struct error err CLEANUP(error_clear) = {0};
    struct yaml *document CLEANUP(cleanup_yaml) = NULL;
    l->file = l->run.text[FORM_FROM];
    (void)observed(l);
    if (check_can_go(l, true, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(check_can_go(l, false, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.message, "node 10.0.0.1: its kube-apiserver has"));
    assert_non_null(strstr(err.next, "take that flag away"));
    /* A driver that takes both away needs nothing... */
    l->member.node.driver = &drops;
    assert_int_equal(check_can_go(l, false, &err), 0);
    /* ...but that what deploys the apiservers doesn't give it. */
    if (yaml_read(text, strlen(text), "cluster.yml", &document, &err) < 0)
        fail_msg("%s", err.message);
    l->cluster.document = document;
    l->cluster.path = (char[]){"cluster.yml"};
    assert_int_equal(check_can_go(l, false, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.message, "cluster.yml:4: extra_args has"));
    assert_int_equal(check_can_go(l, true, &err), 0);
    l->cluster.document = NULL;
    l->member.node.driver = &fake;
    l->member.seen.automatic_reload = false;
    assert_int_equal(check_can_go(l, false, &err), 0);
}

int main(void)
{
#define LAB(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_each_version_tells),
        cmocka_unit_test(a_doubtful_hash_is_none),
        cmocka_unit_test(a_request_lasts_as_long_as_the_flag_says),
        LAB(the_metric_outweighs_the_process),
        LAB(it_is_asked_each_time),
        LAB(without_the_metric_a_restart_tells),
        LAB(a_rollout_waits_until_the_file_is_taken_up),
        LAB(a_file_that_fails_to_load_ends_the_wait),
        LAB(what_lies_there_must_be_in_force),
        LAB(a_file_taken_up_unasked_counts_from_when_it_is_seen),
        LAB(the_flag_has_to_go_before_the_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
