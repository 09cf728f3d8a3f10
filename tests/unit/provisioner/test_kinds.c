/* What holds for a kind of cluster whose state file is ours alone, and not for RKE's: over nodes
 * that are made up. */
#include "provisioner/cluster_state.h"
#include "provisioner/config_file.h"
#include "provisioner/credentials.h"
#include "provisioner/kms.h"
#include "provisioner/run.h"
#include "provisioner/stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define K1 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define CONFIG                                                                                     \
    "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"          \
    "- resources: [secrets]\n  providers: [{aescbc: {keys: [{name: mine, secret: " K1 "}]}}, "     \
    "{identity: {}}]\n"
#define NODES "nodes:\n- {address: 10.0.0.1, user: root, role: [controlplane]}\n"
#define SAYS(text) NODES "services: {kube-api: {" text "}}\n"
#define STAMP(generation)                                                                          \
    "{\"version\": 1, \"cluster\": \"00000001-0000-4000-8000-000000000000\", \"generation\": "     \
    "" generation ", \"transition\": \"\", \"by\": \"ann\", \"at\": \"2026-01-02T03:04:05Z\"}"

static const char *stamp; /* what lies on the node; NULL: nothing */

static int read_file(struct node *n, const char *path, struct buf *out, bool *missing,
                     struct error *err)
{
    (void)n;
    (void)path;
    (void)err;
    *missing = !stamp;
    if (stamp)
        buf_adds(out, stamp);
    return 0;
}

static const struct driver rkes = {.kind = "rke",
                                   .needs_state = true,
                                   .mounts = true,
                                   .default_config_path = "/etc/default.yaml",
                                   .read_file = read_file};
static int start_with(struct node *n, const struct apiserver_want *want, char ***flags,
                      char ***mounts, struct error *err)
{
    (void)n;
    (void)err;
    *flags = mem_alloc(2, sizeof(**flags));
    *mounts = mem_alloc(2, sizeof(**mounts));
    (*flags)[0] = mem_printf("--encryption-provider-config=%s", want->config_path);
    (*mounts)[0] = mem_strdup("/etc:/etc:ro");
    return 0;
}

static const struct driver ours = {.kind = "systemd",
                                   .default_config_path = "/etc/default.yaml",
                                   .read_file = read_file,
                                   .start_with = start_with};

struct lab {
    struct session s;
    struct encrypt_options o;
    struct member m;
    struct error err;
    char folder[32];
    struct encryption_config *running;
};

/* One node, that has `config` (NULL: none) by a path of its administrator's; no state file. */
static void lab_make(struct lab *l, const struct driver *driver, const char *yml,
                     const char *config)
{
    struct error err CLEANUP(error_clear) = {0};
    *l = (struct lab){.o.config = "cluster.yml"};
    snprintf(l->folder, sizeof(l->folder), "/tmp/kinds-XXXXXX");
    assert_non_null(mkdtemp(l->folder));
    struct session *s = &l->s;
    s->options = &l->o;
    s->state_missing = true;
    s->state_path = mem_printf("%s/cluster.rkestate", l->folder);
    s->state = rkestate_bare(s->state_path);
    s->state->is_new = true;
    assert_int_equal(journal_read(s->state, s->state_path, &s->journal, &err), 0);
    if (cluster_parse(yml, strlen(yml), "cluster.yml", &s->cluster, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(loop_new(&s->loop, &err), 0);
    s->members = &l->m;
    s->count = 1;
    l->m.node = (struct node){
        .conf = &s->cluster->nodes[0], .cluster = s->cluster, .name = "10.0.0.1", .driver = driver};
    /* (So that no API is asked for.) */
    l->m.joins = true;
    l->m.seen.exists = l->m.seen.running = true;
    l->m.config_path = mem_strdup("/etc/own.yaml");
    l->m.file_missing = !config;
    stamp = NULL;
    if (!config)
        return;
    l->m.seen.config_path = mem_strdup(l->m.config_path);
    buf_adds(&l->m.file, config);
    assert_int_equal(
        encryption_config_read(config, strlen(config), "c", ENCRYPTION_LENIENT, &l->running, &err),
        0);
}

static void lab_free(struct lab *l)
{
    struct session *s = &l->s;
    char *sidecar CLEANUP(cleanup_mem) = mem_printf("%s/cluster.encrypt-state", l->folder);
    unlink(s->state_path);
    unlink(sidecar);
    rmdir(l->folder);
    mem_free(l->m.config_path);
    apiserver_free(&l->m.seen);
    buf_free(&l->m.file);
    encryption_config_free(l->running);
    mem_free(s->state_path);
    journal_free(s->journal);
    rkestate_free(s->state);
    cluster_free(s->cluster);
    loop_free(s->loop);
    error_clear(&l->err);
}

static void refused(const struct lab *l, int rc, const char *what, const char *next)
{
    assert_int_equal(rc, -1);
    assert_int_equal(l->err.result, RESULT_REFUSED);
    if (!strstr(l->err.message, what))
        fail_msg("%s", l->err.message);
    if (!l->err.next || !strstr(l->err.next, next))
        fail_msg("%s", l->err.next ? l->err.next : "no next");
}

static bool is_there(const struct lab *l)
{
    return access(l->s.state_path, F_OK) == 0;
}

/* To RKE a cluster.yml that says nothing means disabled; elsewhere nobody may have thought of it.
 */
static void what_is_not_said_disables_nothing(void **state)
{
    static const struct {
        const char *yml, *config;
        const struct driver *driver;
        bool refused;
    } table[] = {
        {NODES, CONFIG, &ours, true},
        {SAYS("secrets_encryption_config: null"), CONFIG, &ours, true},
        {SAYS("secrets_encryption_config: {enabled: false}"), CONFIG, &ours, false},
        {SAYS("secrets_encryption_config: {enabled: true}"), CONFIG, &ours, false},
        {SAYS("extra_args: {encryption-provider-config: /etc/own.yaml}"), CONFIG, &ours, false},
        {NODES, NULL, &ours, false},
        {NODES, CONFIG, &rkes, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct lab l CLEANUP(lab_free);
        lab_make(&l, table[i].driver, table[i].yml, table[i].config);
        int rc = config_check_meant(&l.s, l.running, &l.err);
        if (table[i].refused)
            refused(&l, rc, "does not say", "enabled: false");
        else
            assert_int_equal(rc, 0);
    }
}

static void a_node_that_tells_of_a_state_file_gets_no_new_one(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l, &ours, NODES, CONFIG);
    assert_int_equal(stamp_check(&l.s, &l.err), 0);
    stamp = STAMP("7");
    refused(&l, stamp_check(&l.s, &l.err), "there is no state file",
            "doctor --config cluster.yml --write-state");
    /* The journal beside it is left, and is the newest: it will do. */
    error_clear(&l.err);
    mem_free(l.s.journal->cluster_id);
    l.s.journal->cluster_id = mem_strdup("00000001-0000-4000-8000-000000000000");
    l.s.journal->generation = 7;
    assert_int_equal(stamp_check(&l.s, &l.err), 0);
    l.s.journal->generation = 6;
    refused(&l, stamp_check(&l.s, &l.err), "there is no state file", "--write-state");
    /* An older one that is there is said to be that. */
    error_clear(&l.err);
    l.s.state_missing = false;
    refused(&l, stamp_check(&l.s, &l.err), "an older copy", "newest state file");
}

/* An administrator's own configuration is taken over as it is, with its key and where it lies. */
static void nothing_to_do_makes_a_state_file_where_there_is_a_key_to_keep(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l, &ours, SAYS("secrets_encryption_config: {enabled: true}"), CONFIG);
    assert_int_equal(state_agrees(&l.s, l.running, &l.err), 0);
    assert_false(is_there(&l));
    assert_int_equal(state_bring_up_to_date(&l.s, l.running, &l.err), 0);
    struct rkestate *s CLEANUP(cleanup_rkestate) = NULL;
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    assert_int_equal(rkestate_read(l.s.state_path, &s, &l.err), 0);
    assert_non_null(s);
    assert_true(rkestate_is_bare(s));
    assert_non_null(strstr(rkestate_encryption_config(s), K1));
    assert_int_equal(journal_read(s, l.s.state_path, &j, &l.err), 0);
    assert_int_equal(j->key_count, 1);
    assert_string_equal(j->keys[0].key.name, "mine");
    assert_non_null(j->keys[0].activated);
}

static void a_look_at_a_plain_cluster_makes_no_state_file(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l, &ours, NODES, NULL);
    assert_int_equal(state_agrees(&l.s, NULL, &l.err), 0);
    assert_int_equal(state_bring_up_to_date(&l.s, NULL, &l.err), 0);
    assert_false(is_there(&l));
}

/* RKE's string is not what an administrator's own file says; ours is, wherever that lies. */
static void a_flag_that_was_lost_is_told_from_plain(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free);
    lab_make(&l, &ours, SAYS("secrets_encryption_config: {enabled: true}"), NULL);
    l.s.state_missing = false;
    rkestate_set_encryption(l.s.state, CONFIG, true);
    refused(&l, state_agrees(&l.s, NULL, &l.err), "no kube-apiserver has a configuration",
            "--encryption-provider-config=/etc/own.yaml, with the mount /etc:/etc:ro");
    assert_null(strstr(l.err.next, "rke up"));
}

static void another_file_than_the_state_s_is_refused_wherever_it_lies(void **state)
{
    (void)state;
    static const struct driver *const drivers[] = {&ours, &rkes};
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        struct lab l CLEANUP(lab_free);
        lab_make(&l, drivers[i], SAYS("secrets_encryption_config: {enabled: true}"), CONFIG);
        char *text CLEANUP(cleanup_mem) = mem_strdup(CONFIG);
        memcpy(strstr(text, "mine"), "othr", 4);
        rkestate_set_encryption(l.s.state, text, true);
        int rc = state_agrees(&l.s, l.running, &l.err);
        if (drivers[i] == &ours)
            refused(&l, rc, "writes with key othr", "state file");
        else
            assert_int_equal(rc, 0);
    }
}

static void there_is_no_copy_in_the_cluster_to_be_brought_up_to_date(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free), r CLEANUP(lab_free);
    lab_make(&l, &ours, NODES, CONFIG);
    lab_make(&r, &rkes, NODES, CONFIG);
    assert_int_equal(cluster_state_update(&l.s, &l.err), 0);
    assert_int_equal(cluster_state_update(&r.s, &r.err), -1); /* (it asks) */
}

static void the_state_has_no_rendering_of_rke_s(void **state)
{
    (void)state;
    struct lab l CLEANUP(lab_free), r CLEANUP(lab_free);
    struct buf mine CLEANUP(buf_free) = {0}, its CLEANUP(buf_free) = {0};
    lab_make(&l, &ours, NODES, CONFIG);
    lab_make(&r, &rkes, NODES, CONFIG);
    run_rke_text(&l.s, l.running, l.running, &mine);
    run_rke_text(&r.s, r.running, r.running, &its);
    const char *first = strstr(buf_str(&mine), "kind:");
    assert_non_null(first);
    assert_null(strstr(first + 1, "kind:"));
    assert_non_null(strstr(strstr(buf_str(&its), "kind:") + 1, "kind:"));
}

static void binds_are_for_those_that_have_mounts(void **state)
{
    static const char yml[] = SAYS("extra_binds: ['/run/kms:/run/kms']");
    static const char kms[] =
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
        "- resources: [secrets]\n  providers: [{kms: {name: a, endpoint: "
        "'unix:///run/kms/a.sock'}}, {identity: {}}]\n";
    (void)state;
    struct lab l CLEANUP(lab_free), r CLEANUP(lab_free);
    lab_make(&l, &ours, yml, kms);
    lab_make(&r, &rkes, yml, kms);
    char **binds CLEANUP(cleanup_mem) = session_binds(&r.s, r.running);
    assert_non_null(binds);
    assert_string_equal(binds[0], "/run/kms:/run/kms");
    assert_null(session_binds(&l.s, l.running));
}

static void an_apiserver_is_known_by_the_address_that_its_flags_tell(void **state)
{
    static char advertise[] = "--advertise-address=10.1.1.1", bind[] = "--bind-address=10.2.2.2";
    char *both[] = {advertise, bind, NULL}, *one[] = {bind, NULL}, *none[] = {NULL};
    (void)state;
    assert_true(apiserver_serves_at(&(struct apiserver){.args = both}, "10.1.1.1"));
    assert_false(apiserver_serves_at(&(struct apiserver){.args = both}, "10.2.2.2"));
    assert_true(apiserver_serves_at(&(struct apiserver){.args = one}, "10.2.2.2"));
    assert_false(apiserver_serves_at(&(struct apiserver){.args = none}, "10.2.2.2"));
}

/* No node is reached: what the journal has of the kind counts, and RKE is not guessed at where the
 * state has nothing of RKE's. */
static void test_the_recorded_kind_counts_where_nothing_is_seen(void **state)
{
    (void)state;
    struct lab l;
    lab_make(&l, &ours, NODES, NULL);
    l.s.count = 0;
    assert_false(session_shares_state(&l.s));
    journal_set_kind(l.s.journal, "kubeadm");
    assert_ptr_equal(session_driver(&l.s), &driver_kubeadm);
    assert_false(session_shares_state(&l.s));
    journal_set_kind(l.s.journal, "rke");
    assert_true(session_shares_state(&l.s));
    l.s.count = 1;
    lab_free(&l);
}

/* In the middle of a change a cluster doesn't become one of another kind. */
static void test_another_kind_than_the_open_changes_is_refused(void **state)
{
    (void)state;
    struct lab l;
    lab_make(&l, &ours, NODES "cluster_kind: systemd\n", CONFIG);
    journal_set_kind(l.s.journal, "kubeadm");
    assert_int_equal(session_find_kinds(&l.s, &l.err), 0);
    session_record_kind(&l.s);
    assert_string_equal(l.s.journal->kind, "systemd");
    journal_set_kind(l.s.journal, "kubeadm");
    journal_open(l.s.journal, "rotate-key", l.running, l.running, NULL);
    refused(&l, session_find_kinds(&l.s, &l.err), "kind systemd", "cluster_kind: kubeadm");
    lab_free(&l);
}

/* A lost disk is no new cluster. */
static void test_a_state_file_that_leads_nowhere_is_refused(void **state)
{
    (void)state;
    struct lab l;
    lab_make(&l, &ours, NODES, NULL);
    assert_int_equal(session_check_state_link(l.s.state_path, &l.err), 0);
    assert_int_equal(symlink("/nowhere/cluster.rkestate", l.s.state_path), 0);
    refused(&l, session_check_state_link(l.s.state_path, &l.err), "leads to /nowhere/", "");
    lab_free(&l);
}

/* A path in it would be one of this machine's. */
static void test_a_nodes_kubeconfig_names_no_file_of_ours(void **state)
{
    (void)state;
    static const char text[] =
        "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {certificate-authority-data: QQ==}}]\n"
        "users: [{name: u, user: {client-certificate: /etc/hostname, client-key-data: QQ==}}]\n";
    struct lab l;
    struct credentials c = {0};
    lab_make(&l, &ours, NODES, NULL);
    refused(&l, credentials_from_remote(text, strlen(text), "10.0.0.1:/etc/admin.conf", &c, &l.err),
            "client-certificate names a file", "--kubeconfig");
    assert_null(c.ca);
    lab_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_nodes_kubeconfig_names_no_file_of_ours),
        cmocka_unit_test(test_a_state_file_that_leads_nowhere_is_refused),
        cmocka_unit_test(test_another_kind_than_the_open_changes_is_refused),
        cmocka_unit_test(test_the_recorded_kind_counts_where_nothing_is_seen),
        cmocka_unit_test(what_is_not_said_disables_nothing),
        cmocka_unit_test(a_node_that_tells_of_a_state_file_gets_no_new_one),
        cmocka_unit_test(nothing_to_do_makes_a_state_file_where_there_is_a_key_to_keep),
        cmocka_unit_test(a_look_at_a_plain_cluster_makes_no_state_file),
        cmocka_unit_test(a_flag_that_was_lost_is_told_from_plain),
        cmocka_unit_test(another_file_than_the_state_s_is_refused_wherever_it_lies),
        cmocka_unit_test(there_is_no_copy_in_the_cluster_to_be_brought_up_to_date),
        cmocka_unit_test(the_state_has_no_rendering_of_rke_s),
        cmocka_unit_test(binds_are_for_those_that_have_mounts),
        cmocka_unit_test(an_apiserver_is_known_by_the_address_that_its_flags_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
