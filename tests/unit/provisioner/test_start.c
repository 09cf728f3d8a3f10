#include "provisioner/start.h"

#include "provisioner/drivers/rke.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char config_path[] = "/etc/kubernetes/ssl/encryption.yaml";

/* What an apiserver is to be started with, as one text. */
static char *asked(char *version, char *prefix, const char *path, char *const *binds)
{
    struct rke r = {.folder = NULL};
    struct cluster c = {.kubernetes_version = version, .prefix_path = prefix};
    struct node n = {.cluster = &c, .driver_data = &r};
    struct apiserver_want want = {path, binds};
    struct error err CLEANUP(error_clear) = {0};
    struct buf text = {0};
    char **flags = NULL, **mounts = NULL;
    if (driver_rke.start_with(&n, &want, &flags, &mounts, &err) < 0)
        fail_msg("%s", err.message);
    for (char **f = flags; *f; f++)
        buf_printf(&text, "%s ", *f);
    for (char **m = mounts; *m; m++)
        buf_printf(&text, "%s ", *m);
    buf_adds(&text, "");
    encryption_resources_free(flags);
    encryption_resources_free(mounts);
    mem_free(r.folder);
    return text.data;
}

static void check(char *version, char *prefix, const char *path, char *const *binds,
                  const char *want)
{
    char *is CLEANUP(cleanup_mem) = asked(version, prefix, path, binds);
    assert_string_equal(is ? is : "", want);
}

#define FLAG "encryption-provider-config=/etc/kubernetes/ssl/encryption.yaml "

static void the_flag_has_the_name_of_the_version(void **state)
{
    (void)state;
    static char v1_12[] = "v1.12.9-rancher1-1", v1_13[] = "v1.13.0", odd[] = "latest";
    static char root[] = "/";
    check(v1_12, root, config_path, NULL,
          "--experimental-" FLAG "/etc/kubernetes:/etc/kubernetes:z ");
    check(v1_13, root, config_path, NULL, "--" FLAG "/etc/kubernetes:/etc/kubernetes:z ");
    check(odd, root, config_path, NULL, "--" FLAG "/etc/kubernetes:/etc/kubernetes:z ");
    check(NULL, root, config_path, NULL, "--" FLAG "/etc/kubernetes:/etc/kubernetes:z ");
}

static void mounts_are_of_the_prefix_and_the_sockets(void **state)
{
    (void)state;
    static char prefix[] = "/opt/rke/", bind[] = "/run/kms:/run/kms:ro";
    char *const binds[] = {bind, NULL};
    check(NULL, prefix, config_path, binds,
          "--" FLAG "/opt/rke/etc/kubernetes:/etc/kubernetes:z /run/kms:/run/kms:ro ");
}

static void without_encryption_nothing_is_asked_for(void **state)
{
    (void)state;
    static char root[] = "/";
    check(NULL, root, NULL, NULL, "");
}

static const char ours[] =
    "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n"
    "- resources: [secrets]\n  providers:\n  - aescbc:\n      keys:\n      - name: a\n"
    "        secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n  - identity: {}\n";
static const char other_order[] =
    "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n"
    "- resources: [secrets]\n  providers:\n  - identity: {}\n  - aescbc:\n      keys:\n"
    "      - name: a\n        secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
static const char another_key[] =
    "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n"
    "- resources: [secrets]\n  providers:\n  - aescbc:\n      keys:\n      - name: a\n"
    "        secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWE=\n  - identity: {}\n";
static const char no_key[] =
    "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n"
    "- resources: [secrets]\n  providers:\n  - kms:\n      name: k\n"
    "      endpoint: unix:///run/kms.sock\n  - identity: {}\n";

static struct encryption_config *config(const char *text)
{
    struct encryption_config *c = NULL;
    struct error err CLEANUP(error_clear) = {0};
    if (encryption_config_read(text, strlen(text), "f", ENCRYPTION_LENIENT, &c, &err) != 0)
        fail_msg("%s", err.message);
    return c;
}

/* May `text` (NULL: nothing) be put over by `by`, where the history has `known`'s keys? */
static bool may(const char *text, const char *by, const char *known)
{
    struct journal j = {0};
    struct session s = {.journal = &j};
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = config(by);
    struct encryption_config *k CLEANUP(cleanup_encryption_config) = known ? config(known) : NULL;
    struct member m = {.config_path = config_path, .file_missing = !text};
    struct error err CLEANUP(error_clear) = {0};
    m.node.name = "10.0.0.1";
    journal_add_config_keys(&j, k);
    if (text)
        buf_adds(&m.file, text);
    int rc = start_check_file(&s, &m, c, &err);
    if (rc < 0) {
        assert_int_equal(err.result, RESULT_REFUSED);
        assert_non_null(strstr(err.next, "mv "
                                         "/etc/kubernetes/ssl/encryption.yaml"));
    }
    for (size_t i = 0; i < j.key_count; i++) {
        mem_free(j.keys[i].key.name);
        mem_free(j.keys[i].key.secret);
        mem_free(j.keys[i].created);
    }
    mem_free(j.keys);
    buf_free(&m.file);
    return rc == 0;
}

static void a_file_with_a_key_that_may_be_nowhere_else_stays(void **state)
{
    (void)state;
    assert_true(may(NULL, ours, NULL));
    assert_true(may(ours, ours, NULL));
    assert_true(may(other_order, ours, ours));
    assert_false(may(other_order, ours, NULL));
    /* The same name with another secret is another key. */
    assert_false(may(another_key, ours, ours));
    /* No key is in it, and nobody said that it is ours. */
    assert_false(may(no_key, ours, ours));
    assert_false(may("not: a configuration\n", ours, ours));
    assert_false(may("", ours, ours));
}

/* What is refused where node 10.0.0.1 has no apiserver and `t` is open. */
static void refused(struct transition *t, const char *want, bool initial)
{
    static char config_name[] = "cluster.yml";
    struct encrypt_options o = {.config = config_name};
    struct journal j = {.transition = t};
    struct member m = {.config_path = config_path, .file_missing = true};
    struct session s = {.options = &o, .journal = &j, .members = &m, .count = 1};
    struct error err CLEANUP(error_clear) = {0};
    m.node.name = "10.0.0.1";
    assert_int_equal(start_check_open(&s, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    if (!strstr(err.next, want))
        fail_msg("%s", err.next);
    assert_int_equal(session_is_initial(&s), initial);
    mem_free(j.nodes ? j.nodes[0].address : NULL);
    mem_free(j.nodes);
}

/* There, other apiservers write plain, and could not read what this one would write. */
static void an_ordinary_enable_is_not_gone_on_with_by_initial(void **state)
{
    (void)state;
    static char why[] = "enable";
    struct transition t = {.why = why, .initial = true};
    refused(&t, "up --initial", true);
    t.initial = false;
    refused(&t, "--forget-node 10.0.0.1", false);
}

/* By --etcd-servers an apiserver is told from another cluster's. */
static void etcd_servers_are_compared_in_any_order(void **state)
{
    (void)state;
    assert_true(join_same_list("https://a:2379,https://b:2379", "https://b:2379,https://a:2379"));
    assert_true(join_same_list("https://a:2379", "https://a:2379"));
    assert_false(join_same_list("https://a:2379,https://b:2379", "https://a:2379"));
    assert_false(join_same_list("https://a:2379", "https://a:2379,https://b:2379"));
    assert_false(join_same_list("https://a:2379", "https://a:23791"));
    assert_false(join_same_list("", "https://a:2379"));
}

static void one_server_in_common_that_is_no_loopback_is_enough(void **state)
{
    (void)state;
    assert_true(
        join_shares_server("https://a:2379,https://b:2379", "https://c:2379,https://b:2379"));
    assert_true(join_shares_server("https://a:2379", "https://a:2379,https://b:2379"));
    assert_false(join_shares_server("https://a:2379", "https://b:2379"));
    assert_false(join_shares_server("https://a:2379", "https://a:23791"));
    assert_false(join_shares_server("https://a:2379", "xhttps://a:2379"));
    assert_false(
        join_shares_server("https://127.0.0.1:2379,https://a:1", "https://127.0.0.1:2379"));
    assert_false(join_shares_server("https://localhost:2379", "https://localhost:2379"));
    assert_false(join_shares_server("https://[::1]:2379", "https://[::1]:2379"));
    assert_false(join_shares_server("", ""));
}

/* A node whose apiserver has these flags, and these texts in the files that they name (NULL: there
 * is none). */
struct stacked {
    const char *name, *etcd_ca, *client_ca;
};

static int read_ca(struct node *n, const char *path, struct buf *out, bool *missing,
                   struct error *err)
{
    const struct stacked *of = n->driver_data;
    const char *text = str_eq(path, "/pki/etcd/ca.crt") ? of->etcd_ca : of->client_ca;
    (void)err;
    *missing = !text;
    buf_adds(out, text ? text : "");
    return 0;
}

static const struct driver stacked_driver = {.kind = "kubeadm", .read_file = read_ca};

static struct member stacked_member(struct stacked *of)
{
    static char servers[] = "--etcd-servers=https://127.0.0.1:2379";
    static char etcd_ca[] = "--etcd-cafile=/pki/etcd/ca.crt";
    static char client_ca[] = "--client-ca-file=/pki/ca.crt";
    static char path_flag[] = "--encryption-provider-config=/etc/kubernetes/enc/encryption.yaml";
    static char *args[] = {servers, etcd_ca, client_ca, path_flag, NULL};
    return (struct member){.node = {.name = of->name, .driver = &stacked_driver, .driver_data = of},
                           .seen = {.exists = true, .args = args, .config_path = config_path}};
}

/* That of n2 joins, and has the flag; n1's is of this cluster. */
static int same_cluster(const char *const this[2], const char *const that[2], struct error *err)
{
    struct stacked n1 = {"n1", this[0], this[1]}, n2 = {"n2", that[0], that[1]};
    struct encrypt_options o = {.config = "cluster.yml"};
    struct member m[] = {stacked_member(&n1), stacked_member(&n2)};
    struct session s = {.options = &o, .members = m, .count = 2};
    m[1].joins = true;
    return join_check_cluster(&s, &m[1], false, err);
}

/* https://127.0.0.1:2379 is what kubeadm gives each apiserver of each cluster. */
static void stacked_etcd_is_told_apart_by_its_authority(void **state)
{
    (void)state;
    static const struct {
        const char *this[2], *that[2];
        const char *says; /* NULL: the same cluster */
    } table[] = {
        {{"A", "C"}, {"A", "D"}, NULL},
        {{NULL, "C"}, {NULL, "C"}, NULL},
        {{"A", "C"}, {"B", "C"}, "different CA certificates"},
        {{"A", "C"}, {"AB", "C"}, "different CA certificates"},
        {{NULL, "C"}, {"A", "D"}, "different CA certificates"},
        {{"A", "C"}, {NULL, "C"}, "it has no CA certificate"},
        {{NULL, NULL}, {"A", "C"}, "neither has a CA certificate"},
        {{NULL, NULL}, {NULL, NULL}, "neither has a CA certificate"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct error err CLEANUP(error_clear) = {0};
        int rc = same_cluster(table[i].this, table[i].that, &err);
        assert_int_equal(rc, table[i].says ? -1 : 0);
        if (!table[i].says)
            continue;
        assert_int_equal(err.result, RESULT_REFUSED);
        assert_non_null(strstr(err.message, table[i].says));
        assert_non_null(strstr(err.message, "n1"));
        assert_non_null(strstr(err.message, "n2"));
        assert_non_null(strstr(err.next, "take node n2 out of cluster.yml"));
    }
}

static const char *sign_of_a_cluster;

static int find_sign(struct node *n, const char **sign, struct error *err)
{
    (void)n;
    (void)err;
    *sign = sign_of_a_cluster;
    return 0;
}

static void a_fresh_key_is_for_a_fresh_cluster(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    const struct driver d = {.find_cluster = find_sign};
    const struct driver blind = {.kind = "rke"};
    struct encrypt_options o = {.config = "cluster.yml"};
    struct member m[] = {{.node = {.name = "n1", .driver = &blind}},
                         {.node = {.name = "n2", .driver = &d}}};
    struct session s = {.options = &o, .members = m, .count = 2};
    sign_of_a_cluster = NULL;
    assert_int_equal(start_check_no_cluster(&s, &err), 0);
    sign_of_a_cluster = "/var/lib/etcd/member";
    assert_int_equal(start_check_no_cluster(&s, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.message, "node n2"));
    assert_non_null(strstr(err.next, "encrypt up --config cluster.yml"));
    /* That etcd may be alive. */
    assert_null(strstr(err.next, "mv "));
    assert_non_null(strstr(err.next, "stop etcd first and keep the whole of /var/lib/etcd aside"));
    assert_non_null(strstr(err.next, "start kube-apiserver without encryption"));
    sign_of_a_cluster = "/etc/kubernetes/admin.conf";
    error_clear(&err);
    assert_int_equal(start_check_no_cluster(&s, &err), -1);
    assert_non_null(strstr(err.next, "mv /etc/kubernetes/admin.conf "));
    /* What is there has its key. */
    m[1].seen.exists = true;
    error_clear(&err);
    assert_int_equal(start_check_no_cluster(&s, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_flag_has_the_name_of_the_version),
        cmocka_unit_test(mounts_are_of_the_prefix_and_the_sockets),
        cmocka_unit_test(without_encryption_nothing_is_asked_for),
        cmocka_unit_test(a_file_with_a_key_that_may_be_nowhere_else_stays),
        cmocka_unit_test(etcd_servers_are_compared_in_any_order),
        cmocka_unit_test(one_server_in_common_that_is_no_loopback_is_enough),
        cmocka_unit_test(stacked_etcd_is_told_apart_by_its_authority),
        cmocka_unit_test(an_ordinary_enable_is_not_gone_on_with_by_initial),
        cmocka_unit_test(a_fresh_key_is_for_a_fresh_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
