/* What is told of a server of rke2 or k3s from what was seen of it. */
#include "provisioner/owned/owned.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/provisioner/forms.h"

#define TOP "/var/lib/rancher/rke2/server/"

static const struct owned_kind kind = {
    .config = TOP "cred/encryption-config.json", .tls = TOP, .apart = true};

static bool is_servers(const char *a, const char *b)
{
    char name[] = "kube-apiserver";
    char *first = mem_strdup(a), *second = mem_strdup(b);
    char *args[] = {name, first, second, NULL};
    bool is = owned_is_servers(args, &kind);
    mem_free(first);
    mem_free(second);
    return is;
}

/* A cluster within the cluster has a kube-apiserver of its own on the node. */
static void another_clusters_apiserver_is_not_the_servers(void **state)
{
    (void)state;
    assert_true(is_servers("--secure-port=6443",
                           "--encryption-provider-config=" TOP "cred/encryption-config.json"));
    assert_true(is_servers("--encryption-provider-config", TOP "cred/encryption-config.json"));
    assert_true(is_servers("--etcd-cafile=" TOP "tls/etcd/server-ca.crt", "--secure-port=6443"));
    assert_false(is_servers("--secure-port=6443", "--encryption-provider-config=/etc/other.json"));
    assert_false(is_servers("--etcd-cafile=/data/pki/ca.crt", "--secure-port=8443"));
    assert_false(is_servers("--etcd-cafile=" TOP "tls/etcd/server-ca.crt",
                            "--encryption-provider-config=/etc/other.json"));
    assert_false(owned_is_servers(NULL, &kind));
}

/* A static pod may be older than the file that its server's restart brought. */
static void what_ran_before_the_file_is_not_shown(void **state)
{
    (void)state;
    struct node_record n = {.placed = {(char *)(uintptr_t) "old", (char *)(uintptr_t) "1"}};
    assert_false(owned_is_shown(NULL, true, "new", "2"));
    assert_false(owned_is_shown(&n, true, "old", NULL));
    assert_false(owned_is_shown(&n, true, "old", "1"));
    assert_true(owned_is_shown(&n, true, "old", "2"));
    /* It crashed and came back by itself before the file came. */
    assert_false(owned_is_shown(&n, true, "new", "2"));
    /* k3s' apiserver is the server, which takes the file up first. */
    assert_true(owned_is_shown(&n, false, "new", "2"));
    n.runs = (struct node_file){(char *)(uintptr_t) "new", (char *)(uintptr_t) "2"};
    assert_true(owned_is_shown(&n, true, "new", "2"));
    assert_false(owned_is_shown(&n, true, "newer", "2"));
    assert_false(owned_is_shown(&n, false, "newer", "2"));
}

static struct encryption_config *with_keys(const char *first, const char *second)
{
    static const char secret[] = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    struct encryption_config *c = NULL;
    struct error err CLEANUP(error_clear) = {0};
    char *more = second ? mem_printf(",{\"name\":\"%s\",\"secret\":\"%s\"}", second, secret)
                        : mem_strdup("");
    char *text = mem_printf("{\"kind\":\"EncryptionConfiguration\",\"apiVersion\":"
                            "\"apiserver.config.k8s.io/v1\",\"resources\":[{\"resources\":"
                            "[\"secrets\"],\"providers\":[{\"aescbc\":{\"keys\":[{\"name\":\"%s\","
                            "\"secret\":\"%s\"}%s]}},{\"identity\":{}}]}]}",
                            first, secret, more);
    if (encryption_config_read(text, strlen(text), "test", ENCRYPTION_LENIENT, &c, &err) < 0)
        fail_msg("%s", err.message);
    mem_free(more);
    mem_free(text);
    return c;
}

/* A restart puts the datastore's file in the place of a server's. */
static void a_key_that_one_server_alone_has_is_seen(void **state)
{
    (void)state;
    struct encryption_config *a = with_keys("a", NULL), *ab = with_keys("a", "b");
    struct encryption_config *ba = with_keys("b", "a");
    const struct encryption_config *same[] = {a, NULL, a}, *turned[] = {ab, ba};
    const struct encryption_config *more[] = {a, a, ab}, *fewer[] = {ab, a};
    assert_false(owned_keys_differ(same, 3));
    assert_false(owned_keys_differ(turned, 2));
    assert_true(owned_keys_differ(more, 3));
    assert_true(owned_keys_differ(fewer, 2));
    encryption_config_free(a);
    encryption_config_free(ab);
    encryption_config_free(ba);
}

/* A server whose file has these keys, the first one writing. */
struct one {
    struct encrypt_options options;
    struct member member;
    struct session s;
    struct owned_kind kind;
    struct owned_run r;
};

static void one_make(struct one *o, struct encryption_config *config, enum stage stage)
{
    struct error err CLEANUP(error_clear) = {0};
    *o = (struct one){.options = {.config = "cluster.yml"}};
    o->member.node.name = "10.0.0.11";
    o->member.seen.running = true;
    o->member.seen.process = mem_strdup("2");
    memset(o->member.file_sha256, 'a', 64);
    o->s = (struct session){.options = &o->options,
                            .state_path = mem_strdup("cluster.rkestate"),
                            .members = &o->member,
                            .count = 1};
    if (journal_new("/nowhere/cluster.rkestate", &o->s.journal, &err) < 0)
        fail_msg("%s", err.message);
    o->kind = (struct owned_kind){.program = "k3s", .unit = "k3s.service"};
    o->r = (struct owned_run){.s = &o->s, .kind = &o->kind, .again = mem_strdup("encrypt resume")};
    o->r.seen[0] = (struct owned_seen){
        .active = true, .answers = true, .config = config, .status = {.stage = stage}};
}

static void one_free(struct one *o)
{
    owned_run_free(&o->r);
    journal_free(o->s.journal);
    mem_free(o->s.state_path);
    mem_free(o->member.seen.process);
}

/* rotate-keys of older versions has the file ROTATED for a minute before its stage says anything,
 * and a restart would take the fresh key from the server. */
static void whose_command_is_at_work_is_not_guessed(void **state)
{
    (void)state;
    const struct {
        enum stage stage;
        bool at_once;
    } t[] = {{STAGE_ROTATE, false},
             {STAGE_REENCRYPT_FINISHED, true},
             {STAGE_REENCRYPT_REQUEST, true},
             {STAGE_REENCRYPT_ACTIVE, true}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct one o;
        one_make(&o, with_keys("fresh", "old"), t[i].stage);
        /* Of an earlier change: another process, which ran before this file came. */
        node_record_placed(journal_node(o.s.journal, "10.0.0.11"), "earlier", "1");
        struct encryption_config *from CLEANUP(cleanup_encryption_config) = owned_half_way(&o.r);
        assert_non_null(from);
        owned_note_adopted(&o.r, from);
        assert_int_equal(o.s.journal->owned->at_once, t[i].at_once);
        assert_int_equal(o.s.journal->key_count, 2);
        owned_judge(&o.r);
        assert_int_equal(o.r.servers[0].file, OWNED_FILE_ROTATED);
        assert_false(o.r.servers[0].shown);
        one_free(&o);
    }
}

/* Nothing is known to have saved the fresh key. */
static void a_restart_half_way_is_warned_of(void **state)
{
    (void)state;
    const struct {
        enum stage stage;
        bool two, open, at_once, lost;
    } t[] = {{STAGE_START, false, false, false, false},
             {STAGE_START, true, false, false, true},
             {STAGE_REENCRYPT_FINISHED, true, false, false, true},
             {STAGE_REENCRYPT_ACTIVE, true, false, false, true},
             {STAGE_PREPARE, true, false, false, false},
             {STAGE_ROTATE, true, false, false, false},
             {STAGE_REENCRYPT_ACTIVE, true, true, false, false},
             {STAGE_REENCRYPT_ACTIVE, true, true, true, true},
             {STAGE_REENCRYPT_ACTIVE, false, true, true, true},
             {STAGE_REENCRYPT_FINISHED, false, true, true, false}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct encryption_config *from CLEANUP(cleanup_encryption_config) = with_keys("old", NULL);
        struct one o;
        one_make(&o, t[i].two ? with_keys("fresh", "old") : with_keys("fresh", NULL), t[i].stage);
        if (t[i].open) {
            journal_open_owned(o.s.journal, "rotate-key", from);
            o.s.journal->owned->at_once = t[i].at_once;
        }
        if (owned_restart_may_lose(&o.r.seen[0], o.s.journal->owned) != t[i].lost)
            fail_msg("row %zu", i);
        o.r.seen[0].answers = false;
        assert_false(owned_restart_may_lose(&o.r.seen[0], o.s.journal->owned));
        one_free(&o);
    }
}

static void told_half_way(struct encryption_config *config, struct error *err)
{
    struct encryption_config *from CLEANUP(cleanup_encryption_config) = with_keys("old", NULL);
    struct one o;
    one_make(&o, config, STAGE_REENCRYPT_ACTIVE);
    journal_open_owned(o.s.journal, "rotate-key", from);
    o.s.journal->owned->at_once = true;
    owned_judge(&o.r);
    error_clear(err);
    error_set(err, RESULT_STOPPED, "half-way");
    owned_tell_half_way(&o.r, 0, err);
    one_free(&o);
}

/* `reencrypt --force` is refused by a server whose provider is secretbox, and drops the only key
 * where one has gone already. */
static void no_command_is_named_half_way_that_fails_or_loses(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    told_half_way(with_keys("fresh", "old"), &err);
    assert_non_null(strstr(err.state, "both keys are in the server's file and in the key history"));
    assert_non_null(strstr(err.state, "a restart of k3s.service may take the fresh key"));
    assert_non_null(strstr(err.next, "don't restart k3s.service on 10.0.0.11"));
    assert_non_null(strstr(err.next, "reencrypt --force`, given once"));
    assert_non_null(strstr(err.next, "encrypt abort"));

    struct encryption_config *secretbox = with_keys("fresh", "old");
    secretbox->items[0].providers[0].type = PROVIDER_SECRETBOX;
    told_half_way(secretbox, &err);
    assert_null(strstr(err.next, "--force"));
    assert_non_null(strstr(err.next, "don't restart k3s.service on 10.0.0.11"));

    told_half_way(with_keys("fresh", NULL), &err);
    assert_null(strstr(err.next, "--force"));
    assert_null(strstr(err.next, "abort"));
    assert_non_null(strstr(err.next, "don't give reencrypt: it would drop the only key"));
    assert_non_null(strstr(err.next, "don't restart"));
}

/* A key that has gone from a file may be needed, until it is counted. */
static void that_all_can_be_read_is_said_where_it_is_known(void **state)
{
    (void)state;
    char rotate[] = "rotate-key", enable[] = "enable";
    struct owned_record o = {.why = rotate};
    assert_true(owned_reads_all(&o, OWNED_FILE_FROM));
    assert_true(owned_reads_all(&o, OWNED_FILE_ROTATED));
    assert_false(owned_reads_all(&o, OWNED_FILE_TO));
    o.gone = true;
    assert_true(owned_reads_all(&o, OWNED_FILE_TO));
    o = (struct owned_record){.why = enable};
    assert_true(owned_reads_all(&o, OWNED_FILE_TO));
}

/* k3s' apiserver has the flag and shows none. */
static void k3s_takes_its_file_up_by_itself(void **state)
{
    (void)state;
    const struct owned_kind k3s = {.apart = false};
    const struct apiserver with = {.automatic_reload = true}, without = {0};
    assert_true(owned_reloads(&k3s, &without));
    assert_true(owned_reloads(&kind, &with));
    assert_false(owned_reloads(&kind, &without));
}

/* rke2's static pod outlives the restart of a server whose word alone was wanted. */
static void another_process_is_wanted_where_something_is_to_be_shown(void **state)
{
    (void)state;
    assert_false(owned_wants_another(false, "a", "a"));
    assert_true(owned_wants_another(false, "a", "b"));
    assert_true(owned_wants_another(true, "a", "a"));
}

/* An object that an empty patch has changed lay under another key than is written with. */
static void what_a_patch_changed_is_not_proved(void **state)
{
    (void)state;
    char a1[] = "ns/a 1", a3[] = "ns/a 3", b2[] = "ns/b 2", c2[] = "ns/c 2", b10[] = "ns/b 10";
    char *none[] = {NULL}, *first[] = {a1, b2, NULL};
    const struct {
        char *after[4];
        const char *names;
    } t[] = {{{a1, b2, NULL}, ""},
             {{a3, b2, NULL}, "ns/a "},
             {{a1, b10, NULL}, "ns/b "},
             {{a1, NULL}, ""},
             {{NULL}, ""},
             {{a1, b2, c2, NULL}, "ns/c "},
             {{a3, b10, c2, NULL}, "ns/a ns/b ns/c "}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        size_t count = 0;
        struct buf text CLEANUP(buf_free) = {0};
        char **out = owned_unsettled(first, t[i].after, &count);
        for (size_t k = 0; k < count; k++)
            buf_printf(&text, "%s ", out[k]);
        assert_null(out[count]);
        assert_string_equal(buf_str(&text), t[i].names);
        encryption_resources_free(out);
        out = owned_unsettled(none, t[i].after, &count);
        size_t all = 0;
        while (t[i].after[all])
            all++;
        assert_int_equal(count, all);
        encryption_resources_free(out);
    }
}

static void one_container_is_stopped_or_none(void **state)
{
    (void)state;
    char id[OWNED_ID + 1] = "";
    assert_true(owned_container_id(
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", id));
    assert_string_equal(id, "0123456789abc");
    assert_true(owned_container_id("0123456789abc", id));
    assert_false(owned_container_id("", id));
    assert_false(owned_container_id("\n", id));
    assert_false(owned_container_id("0123456789ab\n", id));
    assert_false(owned_container_id("0123456789abcdef\n0123456789abcdee\n", id));
    assert_false(owned_container_id("0123456789abcdef 1\n", id));
    assert_false(owned_container_id("WARN[0000] runtime connect using default endpoints\n", id));
}

static enum provider_type said_last(const char *first, const char *second)
{
    enum provider_type type = PROVIDER_IDENTITY;
    struct error err CLEANUP(error_clear) = {0};
    if (owned_setting_provider(first, strlen(first), "config.yaml", &type, &err) < 0 ||
        owned_setting_provider(second, strlen(second), "10.yaml", &type, &err) < 0)
        fail_msg("%s", err.message);
    return type;
}

static void the_last_word_of_the_settings_counts(void **state)
{
    (void)state;
    assert_int_equal(said_last("", "token: a\n"), PROVIDER_IDENTITY);
    assert_int_equal(said_last("secrets-encryption-provider: secretbox\n", "token: a\n"),
                     PROVIDER_SECRETBOX);
    assert_int_equal(said_last("token: a\n", "secrets-encryption-provider: secretbox\n"),
                     PROVIDER_SECRETBOX);
    assert_int_equal(said_last("secrets-encryption-provider: secretbox\n",
                               "secrets-encryption-provider: \"aescbc\"\n"),
                     PROVIDER_AESCBC);
}

static void etcd_is_told_by_the_flag_and_a_socket_is_none(void **state)
{
    (void)state;
    static const struct {
        const char *flag;
        bool running, has;
        int rc;
    } table[] = {
        {"--etcd-servers=https://127.0.0.1:2379", true, true, 0},
        {"--etcd-servers=https://127.0.0.1:2379", false, true, 0},
        {"--etcd-servers=unix:///var/lib/rancher/rke2/server/kine.sock", true, false, 0},
        {"--etcd-servers=unixs:///var/lib/rancher/rke2/server/kine.sock", true, false, 0},
        {"--a", true, false, 0},
        {"--a", false, false, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct error err CLEANUP(error_clear) = {0};
        bool has = !table[i].has;
        struct one o;
        one_make(&o, with_keys("a", NULL), STAGE_START);
        char **args = mem_alloc(2, sizeof(*args));
        args[0] = mem_strdup(table[i].flag);
        apiserver_set_args(&o.member.seen, args);
        o.member.seen.running = table[i].running;
        assert_int_equal(owned_find_etcd(&o.r, &has, &err), table[i].rc);
        if (has != table[i].has)
            fail_msg("%s", table[i].flag);
        apiserver_free(&o.member.seen);
        o.member.seen = (struct apiserver){0};
        one_free(&o);
    }
}

/* k3s on a cluster that had none: nothing of it is somebody's change left half-way. */
static void identity_alone_is_told_as_what_it_is(void **state)
{
    (void)state;
    static const char text[] = "{\"kind\":\"EncryptionConfiguration\",\"apiVersion\":"
                               "\"apiserver.config.k8s.io/v1\",\"resources\":[{\"resources\":"
                               "[\"secrets\"],\"providers\":[{\"identity\":{}}]}]}";
    static const char *const whys[] = {"enable", "disable", "rotate-key"};
    for (size_t i = 0; i < ARRAY_LEN(whys); i++) {
        struct encryption_config *c = NULL;
        struct error err CLEANUP(error_clear) = {0};
        bool at_once = false;
        struct one o;
        assert_int_equal(
            encryption_config_read(text, strlen(text), "test", ENCRYPTION_LENIENT, &c, &err), 0);
        one_make(&o, c, STAGE_START);
        o.r.seen[0].status.configured = true;
        assert_int_equal(owned_check_change(&o.r, whys[i], &at_once, &err), -1);
        assert_int_equal(err.result, RESULT_REFUSED);
        assert_non_null(strstr(err.message, "identity alone"));
        assert_non_null(strstr(err.next, "rotate-keys"));
        one_free(&o);
    }
}

/* Several servers that are given the setting by turns make a key each. */
static void without_a_file_several_servers_are_told_otherwise_than_one(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 2; count++) {
        struct error err CLEANUP(error_clear) = {0};
        bool at_once = false;
        struct one o;
        one_make(&o, NULL, STAGE_START);
        o.s.count = count;
        assert_int_equal(owned_check_change(&o.r, "enable", &at_once, &err), -1);
        o.s.count = 1;
        assert_int_equal(str_starts(err.next, "don't put"), count > 1);
        one_free(&o);
    }
}

static void etcd_s_other_port(void **state)
{
    (void)state;
    static const struct {
        const char *urls, *want;
    } table[] = {
        {"https://127.0.0.1:2379", "https://127.0.0.1:2382"},
        {"https://[::1]:2379,https://10.0.0.1:2379", "https://[::1]:2382"},
        {"https://127.0.0.1", "https://127.0.0.1:2382"},
        {"https://[::1]", "https://[::1]:2382"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *url CLEANUP(cleanup_mem) = etcd_url_with_port(table[i].urls, 2382);
        assert_string_equal(url, table[i].want);
    }
}

#define EXEC(args)                                                                                 \
    "ExecStart={ path=/usr/local/bin/k3s ; argv[]=/usr/local/bin/k3s server" args                  \
    " ; ignore_errors=no ; start_time=[n/a] }\nEnvironment="

static void the_unit_s_arguments_count_more_than_the_settings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum provider_type type;
        bool elsewhere;
    } table[] = {
        {EXEC(""), PROVIDER_AESCBC, false},
        {EXEC(" --secrets-encryption --kubelet-arg=config=/x"), PROVIDER_AESCBC, false},
        {EXEC(" --secrets-encryption-provider=secretbox"), PROVIDER_SECRETBOX, false},
        {EXEC(" --secrets-encryption-provider secretbox --token-file /x"), PROVIDER_SECRETBOX,
         false},
        {EXEC(" '--secrets-encryption-provider=secretbox'"), PROVIDER_SECRETBOX, false},
        {EXEC(" --secrets-encryption-provider=secretbox --secrets-encryption-provider=aescbc"),
         PROVIDER_AESCBC, false},
        {EXEC(" --config /etc/k3s.yaml"), PROVIDER_AESCBC, true},
        {EXEC(" --config=/etc/k3s.yaml"), PROVIDER_AESCBC, true},
        {EXEC(" -c /etc/k3s.yaml"), PROVIDER_AESCBC, true},
        {EXEC("") "K3S_CONFIG_FILE=/etc/k3s.yaml", PROVIDER_AESCBC, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        enum provider_type type = PROVIDER_AESCBC;
        bool elsewhere = false;
        owned_unit_provider(table[i].text, &type, &elsewhere);
        if (type != table[i].type || elsewhere != table[i].elsewhere)
            fail_msg("%s", table[i].text);
    }
}

/* A restart puts the datastore's file in the place of a server's own. */
static void no_key_is_in_a_file_alone_before_restarts(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    if (journal_new("/nowhere/cluster.rkestate", &j, &err) < 0)
        fail_msg("%s", err.message);
    struct encryption_config *a CLEANUP(cleanup_encryption_config) = managed('a');
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = managed('c');
    struct session s = {.journal = j, .count = 3};
    struct owned_run r = {.s = &s};
    r.seen[0].config = a;
    r.seen[2].config = c; /* the second has none */
    owned_keep_keys(&r);
    assert_int_equal(j->key_count, 2);
    assert_string_equal(j->keys[0].key.name, "ka");
    assert_string_equal(j->keys[1].key.name, "kc");
    assert_memory_equal(j->keys[1].key.secret, "cccccccccccccccccccccccccccccccc", 32);
    owned_keep_keys(&r);
    assert_int_equal(j->key_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_clusters_apiserver_is_not_the_servers),
        cmocka_unit_test(what_ran_before_the_file_is_not_shown),
        cmocka_unit_test(a_key_that_one_server_alone_has_is_seen),
        cmocka_unit_test(what_a_patch_changed_is_not_proved),
        cmocka_unit_test(one_container_is_stopped_or_none),
        cmocka_unit_test(the_last_word_of_the_settings_counts),
        cmocka_unit_test(the_unit_s_arguments_count_more_than_the_settings),
        cmocka_unit_test(etcd_is_told_by_the_flag_and_a_socket_is_none),
        cmocka_unit_test(identity_alone_is_told_as_what_it_is),
        cmocka_unit_test(without_a_file_several_servers_are_told_otherwise_than_one),
        cmocka_unit_test(etcd_s_other_port),
        cmocka_unit_test(no_key_is_in_a_file_alone_before_restarts),
        cmocka_unit_test(whose_command_is_at_work_is_not_guessed),
        cmocka_unit_test(a_restart_half_way_is_warned_of),
        cmocka_unit_test(no_command_is_named_half_way_that_fails_or_loses),
        cmocka_unit_test(that_all_can_be_read_is_said_where_it_is_known),
        cmocka_unit_test(k3s_takes_its_file_up_by_itself),
        cmocka_unit_test(another_process_is_wanted_where_something_is_to_be_shown),
    };
    return cmocka_run_group_tests_name("owned_look", tests, NULL, NULL);
}
