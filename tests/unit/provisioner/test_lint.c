/* engine_lint(): what it takes a file for, and the key history. */
#include "provisioner/engine.h"
#include "state/journal.h"
#include "tests/unit/state/support.h"

#define NODES "nodes: [{address: a, user: u, role: [controlplane]}]\n"
#define CONFIG(name, secret)                                                                       \
    "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n"          \
    "- resources: [secrets]\n  providers: [{aescbc: {keys: [{name: " name ", secret: " secret      \
    "}]}}, {identity: {}}]\n"
#define CLUSTER(enabled, name, secret)                                                             \
    NODES                                                                                          \
    "services: {kube-api: {secrets_encryption_config: {enabled: " enabled ",\n"                    \
    "  custom_config: {kind: EncryptionConfiguration, apiVersion: "                                \
    "apiserver.config.k8s.io/v1,\n  resources: [{resources: [secrets], providers: [{aescbc: "      \
    "{keys: [\n{name: " name ", secret: " secret "}]}}, {identity: {}}]}]}}}}\n"
#define SECRET "UUdDcUhBVkV0YmN5YVpOdmtwWG1Ld1JqRGZQeUxzVGk="
#define OTHER "bVRuUnZXcVpwTGtKaEdmRHNBenhDdkJuTXFXZVJ0WXU="

static void lint(void **state, const char *text, struct encrypt_lint *out)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.yml");
    spill(path, text, strlen(text), 0644);
    struct encrypt_options o = {.config = path};
    OK(engine_lint(&o, out, &err));
}

static void one_finding(const struct encrypt_lint *l, bool warning, size_t line, const char *what)
{
    assert_int_equal(l->finding_count, 1);
    assert_int_equal(l->errors, !warning);
    assert_int_equal(l->findings[0].warning, warning);
    assert_int_equal(l->findings[0].line, line);
    if (!strstr(l->findings[0].what, what))
        fail_msg("'%s' lacks '%s'", l->findings[0].what, what);
    assert_null(strstr(l->findings[0].what, SECRET));
}

static void it_tells_the_two_kinds_of_files_by_their_members(void **state)
{
    struct encrypt_lint a CLEANUP(encrypt_lint_free) = {0}, b CLEANUP(encrypt_lint_free) = {0},
                          c CLEANUP(encrypt_lint_free) = {0}, d CLEANUP(encrypt_lint_free) = {0};
    lint(state, CONFIG("k", SECRET), &a);
    assert_false(a.is_cluster);
    assert_int_equal(a.finding_count, 0);
    lint(state, NODES, &b);
    assert_true(b.is_cluster);
    assert_int_equal(b.finding_count, 0);
    lint(state, "\xef\xbb\xbf" CONFIG("k:l", SECRET), &c);
    one_finding(&c, false, 5, "must not contain a colon");
    assert_string_equal(c.findings[0].field, "resources[0].providers[0].aescbc.keys[0].name");
    lint(state, CLUSTER("true", "'k:l'", SECRET), &d);
    assert_true(d.is_cluster);
    one_finding(&d, false, 5, "must not contain a colon");
    assert_string_equal(d.findings[0].field,
                        "custom_config.resources[0].providers[0].aescbc.keys[0].name");
}

static void what_can_t_be_read_further_is_one_finding_with_its_place(void **state)
{
    static const struct {
        const char *text;
        size_t line;
        const char *what;
    } table[] = {
        {"nodes: [\n", 2, "did not find"},
        {"nodes:\n", 1, "nodes: none has the role controlplane"},
        {"\xff", 0, "byte 0: "},
        {"", 1, "no document"},
        {NODES "services: {kube-api: {secrets_encryption_config: {enabled: maybe}}}\n", 2,
         "neither true nor false"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct encrypt_lint l CLEANUP(encrypt_lint_free) = {0};
        lint(state, table[i].text, &l);
        one_finding(&l, false, table[i].line, table[i].what);
    }
}

/* What only RKE reads must not seem to do anything elsewhere. */
static void what_does_nothing_in_a_kind_is_said(void **state)
{
#define BINDS                                                                                      \
    "services: {kube-api: {extra_binds: ['/a:/b'], secrets_encryption_config: {enabled: true}}}\n"
    static const struct {
        const char *text;
        size_t line;
        const char *what; /* NULL: no finding */
    } table[] = {
        {NODES BINDS, 0, NULL},
        {NODES "cluster_kind: rke\n" BINDS, 0, NULL},
        {NODES "cluster_kind: systemd\n" BINDS, 3, "kind systemd has no mounts"},
        {NODES "cluster_kind: rke\n", 0, NULL},
        {NODES "cluster_kind: systemd\n", 0, "is not there: `up` refuses"},
        {NODES "cluster_kind: systemd\n"
               "services: {kube-api: {extra_args: {encryption-provider-config: /a.yaml}}}\n",
         0, NULL},
        {NODES "cluster_kind: systemd\n"
               "services: {kube-api: {secrets_encryption_config: {enabled: false}}}\n",
         0, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct encrypt_lint l CLEANUP(encrypt_lint_free) = {0};
        lint(state, table[i].text, &l);
        if (table[i].what)
            one_finding(&l, true, table[i].line, table[i].what);
        else
            assert_int_equal(l.finding_count, 0);
    }
}

static void a_file_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct encrypt_lint l CLEANUP(encrypt_lint_free) = {0};
    struct encrypt_options o = {.config = "/nonexistent/cluster.yml"};
    REFUSES(engine_lint(&o, &l, &err), RESULT_FAILED, "/nonexistent/");
}

static void a_name_means_one_secret_for_ever(void **state)
{
    char *state_path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    struct encrypt_lint same CLEANUP(encrypt_lint_free) = {0},
                             changed CLEANUP(encrypt_lint_free) = {0},
                             off CLEANUP(encrypt_lint_free) = {0},
                             unreadable CLEANUP(encrypt_lint_free) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    slurp("tests/data/rke/cluster.rkestate", &text);
    edit(&text, "RTczRjFDODMwQzAyMDVBREU4NDJBMUZFNDhCNzM5N0I=", SECRET);
    edit(&text, "RTczRjFDODMwQzAyMDVBREU4NDJBMUZFNDhCNzM5N0I=", SECRET);
    spill(state_path, text.data, text.len, 0600);
    lint(state, CLUSTER("true", "key-n4bdz", SECRET), &same);
    assert_int_equal(same.finding_count, 0);
    lint(state, CLUSTER("true", "key-n4bdz", OTHER), &changed);
    one_finding(&changed, false, 5, "stands for another secret in the key history (fingerprint ");
    lint(state, CLUSTER("false", "key-n4bdz", OTHER), &off);
    assert_int_equal(off.errors, 0);
    assert_int_equal(count_files(state), 2);
    assert_int_equal(chmod(state_path, 0644), 0);
    lint(state, CLUSTER("true", "key-n4bdz", OTHER), &unreadable);
    one_finding(&unreadable, true, 3, "were not held against the key history");
    assert_int_equal(unlink(state_path), 0);
}

/* What lint refuses and what `up` refuses may not differ by what was left out. */
static void the_clusters_feature_gates_count(void **state)
{
    static const struct {
        const char *version, *api_version, *kube_api;
        size_t errors;
        const char *what;
    } table[] = {
        {"v1.29.4", "v1", "", 1, "kms v1 (cloud) is off from Kubernetes 1.29 on"},
        {"v1.29.4", "v1", "extra_args: {feature-gates: 'KMSv1=true'}, ", 0, NULL},
        {"v1.29.4", "v1", "extra_args_array: {feature-gates: ['A=true', 'KMSv1=true']}, ", 0, NULL},
        {"v1.29.4", "v1", "extra_args: {feature-gates: 'KMSv1=false'}, ", 1, "is off from"},
        {"v1.28.4", "v2", "", 0, NULL},
        {"v1.28.4", "v2", "extra_args: {feature-gates: 'KMSv2=false'}, ", 1, "is switched off by"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct encrypt_lint l CLEANUP(encrypt_lint_free) = {0};
        char *text CLEANUP(cleanup_mem) = mem_printf(
            NODES "kubernetes_version: %s-rancher1-1\n"
                  "services: {kube-api: {%ssecrets_encryption_config: {enabled: true, "
                  "custom_config: {kind: EncryptionConfiguration, apiVersion: "
                  "apiserver.config.k8s.io/v1, resources: [{resources: [secrets], providers: "
                  "[{kms: {name: cloud, apiVersion: %s, endpoint: 'unix:///run/kms.sock'}}, "
                  "{identity: {}}]}]}}}}\n",
            table[i].version, table[i].kube_api, table[i].api_version);
        lint(state, text, &l);
        assert_int_equal(l.errors, table[i].errors);
        if (table[i].what)
            one_finding(&l, false, 3, table[i].what);
    }
}

static struct encryption_config *read_config(const char *text)
{
    struct encryption_config *c = NULL;
    OK(encryption_config_read(text, strlen(text), "c", ENCRYPTION_STRICT, &c, &err));
    return c;
}

static void a_retired_key_may_not_come_back_under_a_name_with_two_meanings(void **state)
{
    (void)state;
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    struct encryption_config *a CLEANUP(cleanup_encryption_config) =
        read_config(CONFIG("k", SECRET));
    struct encryption_config *b CLEANUP(cleanup_encryption_config) =
        read_config(CONFIG("k", OTHER));
    struct config_findings f CLEANUP(config_findings_free) = {0};
    OK(journal_new("/nonexistent/cluster.rkestate", &j, &err));
    journal_add_config_keys(j, a);
    journal_check_names(j, a, NULL, &f);
    journal_check_names(j, NULL, NULL, &f);
    assert_int_equal(f.count, 0);
    journal_check_names(j, b, NULL, &f);
    assert_int_equal(f.errors, 1);
    assert_string_equal(f.list[0].field, "resources[0].providers[0].aescbc.keys[0].name");
    /* Both are in the history: the one in use may stay, the other may not come back. */
    journal_add_config_keys(j, b);
    j->keys[0].retired = mem_strdup("2026-01-02T03:04:05Z");
    journal_check_names(j, b, NULL, &f);
    assert_int_equal(f.errors, 1);
    journal_check_names(j, a, NULL, &f);
    assert_int_equal(f.errors, 2);
    assert_non_null(strstr(f.list[1].what, "not retired"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_tells_the_two_kinds_of_files_by_their_members),
        cmocka_unit_test(what_can_t_be_read_further_is_one_finding_with_its_place),
        cmocka_unit_test(what_does_nothing_in_a_kind_is_said),
        cmocka_unit_test(a_file_that_is_not_there_is_an_error),
        cmocka_unit_test(a_name_means_one_secret_for_ever),
        cmocka_unit_test(the_clusters_feature_gates_count),
        cmocka_unit_test(a_retired_key_may_not_come_back_under_a_name_with_two_meanings),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
