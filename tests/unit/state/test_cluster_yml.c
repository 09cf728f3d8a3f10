#include "state/cluster_yml.h"

#include "support.h"

static struct cluster *parse(const char *text)
{
    struct cluster *c = NULL;
    OK(cluster_parse(text, strlen(text), "cluster.yml", &c, &err));
    assert_non_null(c);
    return c;
}

static void a_file_of_rke_config_reads_as_rke_reads_it(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) = NULL;
    setenv("HOME", "/home/op", 1);
    OK(cluster_read("tests/data/rke/generated.yml", &c, &err));
    assert_string_equal(c->path, "tests/data/rke/generated.yml");
    assert_int_equal(c->node_count, 2);

    const struct cluster_node *n = &c->nodes[0];
    assert_string_equal(n->ssh.address, "10.0.0.1");
    assert_int_equal(n->ssh.port, 22);
    assert_string_equal(n->ssh.user, "ubuntu");
    assert_null(n->ssh.key);
    assert_null(n->ssh.cert);
    assert_null(n->ssh.cert_path);
    assert_string_equal(n->ssh.key_path, "/home/op/.ssh/id_rsa");
    assert_int_equal(n->ssh.line, 4);
    assert_string_equal(n->name, "server-1");
    assert_string_equal(n->internal_address, "10.0.0.1");
    assert_true(n->controlplane && n->etcd && n->worker);

    n = &c->nodes[1];
    assert_string_equal(n->name, "10.0.0.2");
    assert_string_equal(n->internal_address, "192.168.0.2");
    assert_string_equal(n->ssh.key_path, "/keys/cluster");
    assert_true(n->controlplane && !n->etcd && !n->worker);

    assert_null(c->bastion);
    assert_null(c->name);
    assert_null(c->kubernetes_version);
    assert_null(c->prefix_path);
    assert_false(c->external_etcd);
    assert_false(c->ssh_agent_auth);
    assert_false(c->rotate_encryption_key);
    assert_int_equal(c->encryption, SECRETS_ENCRYPTION_ABSENT);
    assert_int_equal(c->encryption_line, 0);
    assert_null(c->custom_config);
}

static void anchors_merges_and_a_custom_configuration_read(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) = NULL;
    setenv("HOME", "/home/op", 1);
    OK(cluster_read("tests/data/rke/custom.yml", &c, &err));
    assert_int_equal(c->node_count, 3);
    assert_int_equal(c->nodes[0].ssh.port, 2222);
    assert_int_equal(c->nodes[1].ssh.port, 22);
    assert_true(str_starts(c->nodes[0].ssh.key, "-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    /* A key of its own: no path is made up beside it. */
    assert_null(c->nodes[0].ssh.key_path);
    assert_string_equal(c->nodes[1].ssh.cert, "ssh-rsa-cert-v01@openssh.com AAAA");
    assert_string_equal(c->nodes[1].ssh.cert_path, "/home/op/cert.pub");
    assert_string_equal(c->nodes[2].ssh.key_path, "/home/op/.ssh/id_rsa");
    assert_string_equal(c->nodes[2].docker_socket, "/var/run/docker.sock");
    assert_false(c->nodes[2].controlplane);
    assert_string_equal(c->bastion->address, "jump.example.com");
    assert_int_equal(c->bastion->port, 443);
    assert_string_equal(c->bastion->key_path, "/home/op/.ssh/id_rsa");
    assert_string_equal(c->name, "custom");
    assert_string_equal(c->kubernetes_version, "v1.20.15-rancher2-2");
    assert_string_equal(c->prefix_path, "/opt/rke");
    assert_true(c->ssh_agent_auth);
    assert_true(c->rotate_encryption_key);
    assert_true(c->external_etcd);
    assert_int_equal(c->encryption, SECRETS_ENCRYPTION_ENABLED);
    assert_int_equal(c->encryption_line, 35);
    assert_string_equal(yaml_get(c->custom_config, "kind")->scalar, "EncryptionConfiguration");
}

static void the_example_reads(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) = NULL;
    OK(cluster_read("examples/rke/cluster.yml", &c, &err));
    assert_int_equal(c->node_count, 5);
    assert_int_equal(c->encryption, SECRETS_ENCRYPTION_ENABLED);
    assert_null(c->custom_config);
}

#define NODE "nodes: [{address: a, user: u, role: [controlplane]}]\n"
#define ENCRYPTION NODE "services: {kube-api: {secrets_encryption_config: "

#define CUSTOM(resources)                                                                          \
    "{kind: EncryptionConfiguration, apiVersion: apiserver.config.k8s.io/v1, resources: "          \
    "[{resources: [" resources "], providers: [{aescbc: {keys: [{name: k, secret: "                \
    "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=}]}}, {identity: {}}]}]}"

static void enabled_is_what_rke_takes_it_for(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum secrets_encryption want;
        bool custom;
    } table[] = {
        {NODE, SECRETS_ENCRYPTION_ABSENT, false},
        {NODE "services:\n", SECRETS_ENCRYPTION_ABSENT, false},
        {NODE "services: {kube-api: }\n", SECRETS_ENCRYPTION_ABSENT, false},
        {NODE "services: {kube-api: {}, etcd: ~}\n", SECRETS_ENCRYPTION_ABSENT, false},
        {ENCRYPTION "}}\n", SECRETS_ENCRYPTION_ABSENT, false},
        {ENCRYPTION "null}}\n", SECRETS_ENCRYPTION_ABSENT, false},
        {ENCRYPTION "{}}}\n", SECRETS_ENCRYPTION_DISABLED, false},
        {ENCRYPTION "{enabled: }}}\n", SECRETS_ENCRYPTION_DISABLED, false},
        {ENCRYPTION "{enabled: false}}}\n", SECRETS_ENCRYPTION_DISABLED, false},
        {ENCRYPTION "{enabled: off}}}\n", SECRETS_ENCRYPTION_DISABLED, false},
        {ENCRYPTION "{enabled: true}}}\n", SECRETS_ENCRYPTION_ENABLED, false},
        {ENCRYPTION "{enabled: yes, custom_config: }}}\n", SECRETS_ENCRYPTION_ENABLED, false},
        {ENCRYPTION "{enabled: True, custom_config: {}}}}\n", SECRETS_ENCRYPTION_ENABLED, true},
        {ENCRYPTION "{custom_config: {a: b}}}}\n", SECRETS_ENCRYPTION_DISABLED, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct cluster *c CLEANUP(cleanup_cluster) = parse(table[i].text);
        assert_int_equal(c->encryption, table[i].want);
        assert_int_equal(c->custom_config != NULL, table[i].custom);
        assert_int_equal(c->encryption_line, c->encryption == SECRETS_ENCRYPTION_ABSENT ? 0 : 2);
    }
}

/* As go-yaml v2, RKE's reader, resolves them: YAML 1.1, merges in their order. */
static void the_forms_of_toggling_read_as_rke_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        enum secrets_encryption want;
    } table[] = {
        {"{enabled: y}", SECRETS_ENCRYPTION_ENABLED},
        {"{enabled: Yes}", SECRETS_ENCRYPTION_ENABLED},
        {"{enabled: YES}", SECRETS_ENCRYPTION_ENABLED},
        {"{enabled: on}", SECRETS_ENCRYPTION_ENABLED},
        {"{enabled: ON}", SECRETS_ENCRYPTION_ENABLED},
        {"{enabled: TRUE}", SECRETS_ENCRYPTION_ENABLED},
        {"{\"enabled\": true}", SECRETS_ENCRYPTION_ENABLED},
        {"{'enabled': true, 'custom_config': null}", SECRETS_ENCRYPTION_ENABLED},
        {"{enabled: &b true, x-other: *b}", SECRETS_ENCRYPTION_ENABLED},
        {"*on", SECRETS_ENCRYPTION_ENABLED},
        {"{<<: *on}", SECRETS_ENCRYPTION_ENABLED},
        {"{<<: [*off, *on]}", SECRETS_ENCRYPTION_DISABLED},
        {"{<<: [*on, *off]}", SECRETS_ENCRYPTION_ENABLED},
        {"{<<: *off, enabled: true}", SECRETS_ENCRYPTION_ENABLED},
        {"{<<: *on, enabled: false}", SECRETS_ENCRYPTION_DISABLED},
        {"{<<: *on, enabled: ~}", SECRETS_ENCRYPTION_DISABLED},
        {"{enabled: false, <<: *on}", SECRETS_ENCRYPTION_ENABLED},
        {"{enabled: *bool}", SECRETS_ENCRYPTION_ENABLED},
        {"{enabled: n}", SECRETS_ENCRYPTION_DISABLED},
        {"{enabled: No}", SECRETS_ENCRYPTION_DISABLED},
        {"{enabled: Off}", SECRETS_ENCRYPTION_DISABLED},
        {"{enabled: FALSE}", SECRETS_ENCRYPTION_DISABLED},
        {"{enabled: null}", SECRETS_ENCRYPTION_DISABLED},
        {"{enabled: Null}", SECRETS_ENCRYPTION_DISABLED},
        {"{enabled: ~}", SECRETS_ENCRYPTION_DISABLED},
        {"{}", SECRETS_ENCRYPTION_DISABLED},
        {"*off", SECRETS_ENCRYPTION_DISABLED},
        {"~", SECRETS_ENCRYPTION_ABSENT},
        {"null", SECRETS_ENCRYPTION_ABSENT},
        {"NULL", SECRETS_ENCRYPTION_ABSENT},
        {"*none", SECRETS_ENCRYPTION_ABSENT},
    };
    static const char anchors[] = "x: [&on {enabled: yes}, &off {enabled: off}, &none ~, "
                                  "&bool true]\n";
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *text CLEANUP(cleanup_mem) =
            mem_printf("%s" NODE "services: {kube-api: {secrets_encryption_config: %s}}\n", anchors,
                       table[i].value);
        struct cluster *c CLEANUP(cleanup_cluster) = parse(text);
        if (c->encryption != table[i].want || c->custom_config)
            fail_msg("%s: %d", table[i].value, (int)c->encryption);
    }
    static const char *const refused[] = {
        "{enabled: \"true\"}",
        "{enabled: 'yes'}",
        "{enabled: \"\"}",
        "{enabled: !!str true}",
        "{enabled: 0}",
        "{enabled: 1.0}",
        "{enabled: t}",
        "{enabled: oN}",
        "{enabled: [true]}",
        "{enabled: {yes: yes}}",
        "{enabled: |\n  true\n }",
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        char *text CLEANUP(cleanup_mem) =
            mem_printf(NODE "services:\n kube-api: {secrets_encryption_config: %s}\n", refused[i]);
        struct cluster *c = NULL;
        struct error why CLEANUP(error_clear) = {0};
        if (cluster_parse(text, strlen(text), "cluster.yml", &c, &why) == 0)
            fail_msg("%s passes", refused[i]);
        assert_int_equal(why.result, RESULT_REFUSED);
    }
}

static void null_on_the_way_asks_for_nothing(void **state)
{
    (void)state;
    static const char *const table[] = {NODE,
                                        NODE "services:\n",
                                        NODE "services: ~\n",
                                        NODE "services: null\n",
                                        NODE "services: {kube-api: null}\n",
                                        "x: &none ~\n" NODE "services: *none\n",
                                        NODE "services:\n  kube-api:\n  etcd:\n"};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct cluster *c CLEANUP(cleanup_cluster) = parse(table[i]);
        assert_int_equal(c->encryption, SECRETS_ENCRYPTION_ABSENT);
        assert_int_equal(c->findings.count, 0);
    }
}

static void rotate_encryption_key_is_known_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool want;
        const char *warning; /* NULL: none */
    } table[] = {
        {ENCRYPTION "{enabled: true}}}\nrotate_encryption_key: true\n", true,
         "each `up` that has nothing else to do rotates the key"},
        {ENCRYPTION "{enabled: true}}}\nrotate_encryption_key: yes\n", true, "each `up`"},
        {ENCRYPTION "{enabled: false}}}\nrotate_encryption_key: on\n", true, "does nothing"},
        {ENCRYPTION "null}}\nrotate_encryption_key: true\n", true, "does nothing"},
        {ENCRYPTION
         "{enabled: true, custom_config: " CUSTOM("secrets") "}}}\nrotate_encryption_key: true\n",
         true, "does not go with custom_config"},
        {ENCRYPTION "{enabled: true}}}\nrotate_encryption_key: false\n", false, NULL},
        {ENCRYPTION "{enabled: true}}}\nrotate_encryption_key: ~\n", false, NULL},
        {ENCRYPTION "{enabled: true}}}\nrotate_encryption_key:\n", false, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct cluster *c CLEANUP(cleanup_cluster) = parse(table[i].text);
        assert_int_equal(c->rotate_encryption_key, table[i].want);
        assert_int_equal(c->rotate_line, 3);
        assert_int_equal(c->findings.count, table[i].warning != NULL);
        assert_int_equal(c->findings.errors, 0);
        if (!table[i].warning)
            continue;
        assert_string_equal(c->findings.list[0].field, "rotate_encryption_key");
        assert_int_equal(c->findings.list[0].line, 3);
        assert_non_null(strstr(c->findings.list[0].what, table[i].warning));
    }
    struct cluster *none CLEANUP(cleanup_cluster) = parse(NODE);
    assert_int_equal(none->rotate_line, 0);
}

static void what_rke_would_refuse_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } table[] = {
        {"", "cluster.yml:1:1: empty"},
        {"# nothing\n", "empty"},
        {"- a\n", "cluster.yml:1:1: not a map"},
        {"nodes: [\n", "cluster.yml:2:1: "},
        {"a: b\n", "nodes: none has the role controlplane"},
        {"nodes:\n", "nodes: none has the role controlplane"},
        {"nodes: {}\n", "cluster.yml:1:8: nodes: not a list"},
        {"nodes:\n- address: a\n  role: [worker]\n", "none has the role controlplane"},
        {"nodes:\n- ~\n", "address: a node needs one"},
        {"nodes:\n- text\n", "cluster.yml:2:3: nodes: a node that is not a map"},
        {"nodes:\n- role: [controlplane]\n", "cluster.yml:2:3: address: a node needs one"},
        {"nodes:\n- address: ''\n  role: [controlplane]\n", "address: a node needs one"},
        {"nodes:\n- address: [a]\n", "cluster.yml:2:12: address: not a text"},
        {"nodes:\n- address: a\n", "cluster.yml:2:3: role: a node needs one"},
        {"nodes:\n- address: a\n  role: []\n", "cluster.yml:3:9: role: a node needs one"},
        {"nodes:\n- address: a\n  role: controlplane\n", "role: not a list; write [controlplane]"},
        {"nodes:\n- address: a\n  role: [controlplane, master]\n",
         "cluster.yml:3:24: role: unknown"},
        {"nodes:\n- address: a\n  role: [~]\n", "role: unknown"},
        {"nodes:\n- address: a\n  port: 0\n", "cluster.yml:3:9: port: not a number from 1 to"},
        {"nodes:\n- address: a\n  port: 65536\n", "port: not a number from 1 to 65535"},
        {"nodes:\n- address: a\n  port: '99999999999999999999999'\n", "port: not a number"},
        {"nodes:\n- address: a\n  port: -22\n", "port: not a number"},
        {"nodes:\n- address: a\n  port: 22x\n", "port: not a number"},
        {"nodes:\n- address: a\n  port: 0x16\n", "port: not a number"},
        {"nodes:\n- address: a\n  port: [22]\n", "port: not a text"},
        {"nodes:\n- address: a\n  user: \"a\\x1b[2Jb\"\n", "user: holds a control character"},
        {"nodes:\n- {address: a, role: [controlplane]}\n- {address: A, role: [etcd]}\n",
         "cluster.yml:3:3: address: the same as that of the node in line 2"},
        {"nodes:\n- {address: a, role: [controlplane]}\n"
         "- {address: b, hostname_override: A, role: [etcd]}\n",
         "cluster.yml:3:3: hostname_override: the same as that of the node in line 2"},
        {NODE NODE, "cluster.yml:2:1: nodes: stands twice (the first is in line 1)"},
        {"nodes:\n- address: a\n  role: [controlplane]\n  address: b\n",
         "cluster.yml:4:3: address: stands twice (the first is in line 2)"},
        {NODE "services: []\n", "cluster.yml:2:11: services: not a map"},
        {NODE "services: {kube-api: text}\n", "kube-api: not a map"},
        {NODE "services: {kube-api: {}, kube-api: {}}\n", "kube-api: stands twice"},
        {NODE "services: {etcd: {external_urls: a}}\n", "external_urls: not a list"},
        {ENCRYPTION "true}}\n", "secrets_encryption_config: not a map"},
        {ENCRYPTION "{enabled: maybe}}}\n", "enabled: neither true nor false"},
        {ENCRYPTION "{enabled: 'true'}}}\n", "enabled: neither true nor false"},
        {ENCRYPTION "{enabled: 1}}}\n", "enabled: neither true nor false"},
        {ENCRYPTION "{enabled: true, enabled: false}}}\n", "enabled: stands twice"},
        {NODE "services: {kube-api: {secrets_encryption_config: {}, "
              "secrets_encryption_config: {enabled: true}}}\n",
         "secrets_encryption_config: stands twice"},
        {NODE "services: {kube-api: {extra_binds: [], extra_binds: []}}\n",
         "extra_binds: stands twice"},
        {NODE "bastion_host: [a]\n", "bastion_host: not a map"},
        {NODE "bastion_host: {address: a, port: ssh}\n", "port: not a number"},
        {NODE "bastion_host: {address: a, address: b}\n", "address: stands twice"},
        {NODE "ssh_agent_auth: sometimes\n", "ssh_agent_auth: neither true nor false"},
        {NODE "rotate_encryption_key: []\n", "rotate_encryption_key: neither true nor false"},
        {NODE "rotate_encryption_key: 'true'\n",
         "cluster.yml:2:24: rotate_encryption_key: neither true nor false"},
        {NODE "rotate_encryption_key: true\nrotate_encryption_key: false\n",
         "rotate_encryption_key: stands twice (the first is in line 2)"},
        {NODE "kubernetes_version: {}\n", "kubernetes_version: not a text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct cluster *c = NULL;
        REFUSES(cluster_parse(table[i].text, strlen(table[i].text), "cluster.yml", &c, &err),
                RESULT_REFUSED, table[i].want);
        assert_null(c);
    }
}

static void other_peoples_fields_are_never_complained_of(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) = parse(
        "nodes:\n- address: a\n  role: [controlplane]\n  labels: 5\n  taints: x\n  labels: 6\n"
        "  ssh_agent_auth: maybe\n"
        "services: {kubelet: [], scheduler: ~, kube-api: {extra_args: 1, audit_log: []}}\n"
        "authentication: ~\nnetwork: [1, 2]\nnetwork: 3\n");
    assert_int_equal(c->node_count, 1);
}

static void binds_of_the_apiserver_read(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) =
        parse(NODE "services:\n  kube-api:\n    extra_binds:\n    - /run/kms:/run/kms\n"
                   "    - volume:/v:ro,z\n");
    assert_int_equal(c->extra_binds_line, 4);
    assert_string_equal(c->extra_binds[0], "/run/kms:/run/kms");
    assert_string_equal(c->extra_binds[1], "volume:/v:ro,z");
    assert_null(c->extra_binds[2]);
    static const char *const none[] = {NODE, NODE "services: {kube-api: {extra_binds: []}}\n",
                                       NODE "services: {kube-api: {extra_binds: ~}}\n",
                                       NODE "services: {etcd: {extra_binds: 5}}\n"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        struct cluster *without CLEANUP(cleanup_cluster) = parse(none[i]);
        assert_null(without->extra_binds);
    }
}

/* Whoever has a transition open must be able to finish it and to take it back. */
static void a_bind_that_is_none_takes_nothing_from_the_others(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) =
        parse(NODE "services: {kube-api: {secrets_encryption_config: {enabled: true}, "
                   "extra_binds: [/run/kms, '/run/kms:/run/kms', kms]}}\n");
    assert_string_equal(c->extra_binds[0], "/run/kms:/run/kms");
    assert_null(c->extra_binds[1]);
    assert_int_equal(c->extra_binds_line, 2);
    assert_int_equal(c->findings.errors, 2);
    static const char *const none[] = {"[/run/kms]", "/run/kms:/run/kms"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        char *text CLEANUP(cleanup_mem) =
            mem_printf(NODE "services: {kube-api: {extra_binds: %s}}\n", none[i]);
        struct cluster *off CLEANUP(cleanup_cluster) = parse(text);
        assert_null(off->extra_binds);
        assert_int_equal(off->findings.errors, 0);
        assert_int_equal(off->findings.count, 1);
    }
}

static void feature_gates_are_put_together(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) =
        parse(NODE "services: {kube-api: {extra_args: {feature-gates: 'A=true,B=false'}, "
                   "extra_args_array: {feature-gates: [C=true, \"D=\\n\", 'B=true']}}}\n");
    assert_string_equal(c->feature_gates, "A=true,B=false,C=true,B=true");
    struct cluster *without CLEANUP(cleanup_cluster) =
        parse(NODE "services: {kube-api: {extra_args: {feature-gates: ''}}}\n");
    assert_null(without->feature_gates);
}

static void a_byte_order_mark_and_windows_line_ends_are_fine(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) =
        parse("\xef\xbb\xbfnodes:\r\n- address: a\r\n  port: 2222\r\n  role: [controlplane]\r\n"
              "services:\r\n  kube-api:\r\n    secrets_encryption_config:\r\n"
              "      enabled: true\r\n");
    assert_string_equal(c->nodes[0].ssh.address, "a");
    assert_int_equal(c->nodes[0].ssh.port, 2222);
    assert_int_equal(c->encryption, SECRETS_ENCRYPTION_ENABLED);
    assert_int_equal(c->encryption_line, 7);
}

static void a_user_that_is_not_given_is_the_local_one(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) =
        parse("nodes: [{address: a, role: [controlplane]}]");
    assert_true(*c->nodes[0].ssh.user);
}

static void no_error_quotes_a_secret(void **state)
{
    (void)state;
    static const char *const table[] = {
        "nodes:\n- address: a\n  ssh_key: [" MARKER "]\n",
        "nodes:\n- address: a\n  ssh_key: |\n    " MARKER "\n  ssh_key: |\n    " MARKER "\n",
        "nodes:\n- address: a\n  ssh_key: \"" MARKER "\n",
        "nodes:\n- address: a\n  ssh_key: |\n" MARKER "\n",
        "nodes:\n- address: a\n  role: " MARKER "\n",
        "nodes:\n- address: a\n  role: [" MARKER "]\n",
        "nodes:\n- address: a\n  port: " MARKER "\n",
        "nodes:\n- " MARKER "\n",
        "nodes: " MARKER "\n",
        NODE "bastion_host: " MARKER "\n",
        ENCRYPTION MARKER "}}\n",
        ENCRYPTION "{enabled: " MARKER "}}}\n",
        ENCRYPTION "{custom_config: *" MARKER "}}}\n",
        ENCRYPTION "{custom_config: {secret: " MARKER ", ]}}}\n",
        ENCRYPTION "{custom_config: {? [" MARKER "] : a}}}}\n",
        MARKER "\n",
        "%" MARKER "\n",
        "a: !" MARKER "!b c\n",
        "a: \"\\q" MARKER "\"\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct cluster *c = NULL;
        REFUSES(cluster_parse(table[i], strlen(table[i]), "cluster.yml", &c, &err), RESULT_REFUSED,
                "cluster.yml:");
    }
}

/* What config_findings_error() says of the file; NULL where nothing is wrong. To be freed. */
static char *errors_of(const struct cluster *c)
{
    struct error err CLEANUP(error_clear) = {0};
    if (config_findings_error(&c->findings, c->path, &err) == 0)
        return NULL;
    assert_int_equal(err.result, RESULT_REFUSED);
    return STEAL(err.message);
}

static void the_managed_form_has_provider_and_resources(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum provider_type provider;
        const char *resources;
    } table[] = {
        {NODE, PROVIDER_AESCBC, "secrets "},
        {ENCRYPTION "{enabled: true}}}\n", PROVIDER_AESCBC, "secrets "},
        {ENCRYPTION "{enabled: true, provider: , resources: ~}}}\n", PROVIDER_AESCBC, "secrets "},
        {ENCRYPTION "{enabled: true, provider: secretbox}}}\n", PROVIDER_SECRETBOX, "secrets "},
        {ENCRYPTION "{enabled: true, provider: aesgcm, resources: [configmaps, secrets]}}}\n",
         PROVIDER_AESGCM, "configmaps secrets "},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct cluster *c CLEANUP(cleanup_cluster) = parse(table[i].text);
        struct buf names CLEANUP(buf_free) = {0};
        for (char **r = c->resources; *r; r++)
            buf_printf(&names, "%s ", *r);
        assert_int_equal(c->provider, table[i].provider);
        assert_string_equal(buf_str(&names), table[i].resources);
        assert_int_equal(c->findings.errors, 0);
        assert_null(c->custom);
        assert_null(c->own_config_path);
    }
}

static void a_custom_configuration_is_read_strictly_and_breaks_nothing_else(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) =
        parse(ENCRYPTION "{enabled: true, custom_config: " CUSTOM("secrets") "}}}\n");
    assert_int_equal(c->findings.count, 0);
    assert_string_equal(c->custom->items[0].resources[0], "secrets");
    struct cluster *broken CLEANUP(cleanup_cluster) =
        parse(ENCRYPTION "{enabled: true, custom_config: " CUSTOM("secrets, secret") "}}}\n");
    assert_null(broken->custom);
    assert_non_null(broken->custom_config);
    char *errors CLEANUP(cleanup_mem) = errors_of(broken);
    assert_true(str_starts(errors, "cluster.yml:2:"));
    assert_non_null(
        strstr(errors, ": custom_config.resources[0].resources[1]: no resource of the"));
    struct cluster *off CLEANUP(cleanup_cluster) =
        parse(ENCRYPTION "{enabled: false, custom_config: " CUSTOM("secrets, secret") "}}}\n");
    assert_int_equal(off->findings.errors, 0);
    assert_int_equal(off->findings.count, 2);
    assert_string_equal(off->findings.list[0].what, "not used: enabled is not true");
}

static void what_goes_against_itself_is_an_error_with_its_mend(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } table[] = {
        {"{enabled: true, provider: kms}}}\n",
         "secrets_encryption_config.provider: kms needs more than its name; write custom_config"},
        {"{enabled: true, provider: identity}}}\n", "encrypts nothing; write enabled: false"},
        {"{enabled: true, provider: " MARKER "}}}\n", "unknown provider; aescbc, aesgcm or secret"},
        {"{enabled: true, provider: [aescbc]}}}\n", "unknown provider"},
        {"{enabled: true, resources: secrets}}}\n",
         "secrets_encryption_config.resources: must be a list; write it as a list: [secrets"},
        {"{enabled: true, resources: []}}}\n", "resources: at least one"},
        {"{enabled: true, resources: [secrets, secrets]}}}\n", "resources[1]: named already"},
        {"{enabled: true, resources: [secret]}}}\n", "resources[0]: no resource of the core group"},
        {"{enabled: true, provider: aescbc, custom_config: " CUSTOM("secrets") "}}}\n",
         "provider: can't stand beside custom_config, which says it all; take provider out"},
        {"{enabled: true, resources: [pods], custom_config: " CUSTOM("secrets") "}}}\n",
         "take resources out"},
        {"{enabled: true, custom_config: " MARKER "}}}\n", "custom_config: must be a map"},
        {"{enabled: true}, extra_args: {encryption-provider-config: /etc/mine.yml}}}\n",
         ": extra_args.encryption-provider-config: goes against enabled: true"},
        {"{enabled: true}, extra_args: {experimental-encryption-provider-config: /x.yml}}}\n",
         "extra_args.experimental-encryption-provider-config: goes against"},
        {"{enabled: true}, extra_args_array: {encryption-provider-config: [/a, /b]}}}\n",
         "extra_args_array.encryption-provider-config: goes against"},
        /* (A value that is passed over hides none of the others.) */
        {"{enabled: true}, extra_args: {experimental-encryption-provider-config: \"/a\\n\", "
         "encryption-provider-config: /b}}}\n",
         "extra_args.encryption-provider-config: goes against"},
        {"{enabled: true}, extra_args: {encryption-provider-config: \"/a\\n\"}, "
         "extra_args_array: {encryption-provider-config: [/b]}}}\n",
         "extra_args_array.encryption-provider-config: goes against"},
        {"{enabled: true}, extra_binds: '/a:/" MARKER "'}}\n",
         "extra_binds: not a list; write \"host:container[:options]\""},
        {"{enabled: true}, extra_binds: {a: b}}}\n", "extra_binds: not a list"},
        {"{enabled: true}, extra_binds: ['/a:/b', /" MARKER "]}}\n",
         "extra_binds[1]: not a bind; write \"host:container[:options]\""},
        {"{enabled: true}, extra_binds: [~]}}\n", "extra_binds[0]: not a bind"},
        {"{enabled: true}, extra_binds: [{/a: /b}]}}\n", "extra_binds[0]: not a bind"},
        {"{enabled: true}, extra_binds: ['/a:b']}}\n", "extra_binds[0]: not a bind"},
        {"{enabled: true}, extra_binds: [':/b']}}\n", "extra_binds[0]: not a bind"},
        {"{enabled: true}, extra_binds: [\"/a:/b\\n\"]}}\n", "extra_binds[0]: not a bind"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *text CLEANUP(cleanup_mem) = mem_printf("%s%s", ENCRYPTION, table[i].text);
        struct cluster *c CLEANUP(cleanup_cluster) = parse(text);
        char *errors CLEANUP(cleanup_mem) = errors_of(c);
        if (!errors || !strstr(errors, table[i].want))
            fail_msg("wanted \"%s\", got: %s", table[i].want, errors);
        assert_true(str_starts(errors, "cluster.yml:2:"));
        assert_null(strstr(errors, MARKER));
    }
}

static void the_administrators_own_file_is_found(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) = parse(
        NODE "services:\n  kube-api:\n    extra_args:\n      encryption-provider-config: /etc/x\n");
    assert_string_equal(c->own_config_path, "/etc/x");
    assert_int_equal(c->own_config_line, 5);
    assert_int_equal(c->findings.count, 0);
    struct cluster *array CLEANUP(cleanup_cluster) =
        parse(NODE "services: {kube-api: {extra_args_array: {encryption-provider-config: [/a, "
                   "/b]}}}\n");
    assert_string_equal(array->own_config_path, "/b");
}

static void an_unknown_member_of_ours_is_a_warning(void **state)
{
    (void)state;
    struct cluster *c CLEANUP(cleanup_cluster) =
        parse(ENCRYPTION "{enabled: true, providers: secretbox}}}\n");
    assert_int_equal(c->findings.count, 1);
    assert_true(c->findings.list[0].warning);
    assert_int_equal(c->findings.errors, 0);
}

static void a_missing_file_is_an_error(void **state)
{
    (void)state;
    struct cluster *c = NULL;
    REFUSES(cluster_read("/nonexistent/cluster.yml", &c, &err), RESULT_FAILED, "/nonexistent/");
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_rke_config_reads_as_rke_reads_it),
        cmocka_unit_test(anchors_merges_and_a_custom_configuration_read),
        cmocka_unit_test(the_example_reads),
        cmocka_unit_test(enabled_is_what_rke_takes_it_for),
        cmocka_unit_test(the_forms_of_toggling_read_as_rke_reads_them),
        cmocka_unit_test(null_on_the_way_asks_for_nothing),
        cmocka_unit_test(rotate_encryption_key_is_known_with_its_place),
        cmocka_unit_test(what_rke_would_refuse_is_refused_with_its_place),
        cmocka_unit_test(other_peoples_fields_are_never_complained_of),
        cmocka_unit_test(binds_of_the_apiserver_read),
        cmocka_unit_test(a_byte_order_mark_and_windows_line_ends_are_fine),
        cmocka_unit_test(a_user_that_is_not_given_is_the_local_one),
        cmocka_unit_test(no_error_quotes_a_secret),
        cmocka_unit_test(the_managed_form_has_provider_and_resources),
        cmocka_unit_test(a_custom_configuration_is_read_strictly_and_breaks_nothing_else),
        cmocka_unit_test(what_goes_against_itself_is_an_error_with_its_mend),
        cmocka_unit_test(the_administrators_own_file_is_found),
        cmocka_unit_test(an_unknown_member_of_ours_is_a_warning),
        cmocka_unit_test(a_bind_that_is_none_takes_nothing_from_the_others),
        cmocka_unit_test(feature_gates_are_put_together),
        cmocka_unit_test(a_missing_file_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
