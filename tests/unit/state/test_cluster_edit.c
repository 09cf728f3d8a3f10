#include "state/cluster_edit.h"

#include "state/cluster_yml.h"
#include "support.h"

#include <openssl/evp.h>

#define OLD1 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define OLD2 "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
#define OLD16 "QUFBQUFBQUFBQUFBQUFBQQ=="
/* Its characters make sure that no escape of sed or printf would do. */
#define NEW1 "+/8mXFwqJCYmJiZcMVwyJCgpWy5dK14kfCcnIiIvXFw="
#define NEW2 "Q0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0M="
#define NEW16 "RERERERERERERERERERERA=="

#define NODES "nodes: [{address: a, user: u, role: [controlplane]}]\n"
#define SERVICES "services:\n  kube-api:\n    secrets_encryption_config:\n      enabled: true\n"
/* Four lines before, and then custom_config in line 6. */
#define HEAD NODES SERVICES "      custom_config:\n"
#define KIND                                                                                       \
    "        apiVersion: apiserver.config.k8s.io/v1\n        kind: EncryptionConfiguration\n"

static struct encryption_config *custom_of(const char *text, size_t len)
{
    struct cluster *c CLEANUP(cleanup_cluster) = NULL;
    struct encryption_config *config = NULL;
    OK(cluster_parse(text, len, "cluster.yml", &c, &err));
    assert_non_null(c->custom_config);
    OK(encryption_config_from_yaml(c->custom_config, "cluster.yml", ENCRYPTION_STRICT, &config,
                                   &err));
    return config;
}

static void set_secret(struct encryption_key *k, const char *base64)
{
    size_t len = strlen(base64);
    mem_free(k->secret);
    k->secret = mem_alloc(len, 1);
    int n = EVP_DecodeBlock(k->secret, (const unsigned char *)base64, (int)len);
    assert_true(n > 0);
    k->secret_len = (size_t)n;
    for (const char *pad = base64 + len; *--pad == '=';)
        k->secret_len--;
}

/* What a rotation makes: the keys named k1 and k2 become new ones, everywhere; the kms provider
 * `remote` gets another name. */
static struct encryption_config *rotated(const struct encryption_config *from)
{
    struct encryption_config *to = encryption_config_copy(from);
    for (size_t i = 0; i < to->item_count; i++)
        for (size_t j = 0; j < to->items[i].provider_count; j++) {
            struct encryption_provider *p = &to->items[i].providers[j];
            if (str_eq(p->kms_name, "remote")) {
                mem_free(p->kms_name);
                p->kms_name = mem_strdup("remote-2");
            }
            for (size_t k = 0; k < p->key_count; k++) {
                struct encryption_key *key = &p->keys[k];
                bool first = str_eq(key->name, "k1");
                if (!first && !str_eq(key->name, "k2"))
                    continue;
                set_secret(key, key->secret_len == 16 ? NEW16 : first ? NEW1 : NEW2);
                mem_free(key->name);
                key->name = mem_strdup(first ? "key-n3w1a" : "key-n3w2b");
            }
        }
    return to;
}

static void replace_all(struct buf *text, const char *what, const char *with)
{
    struct buf b CLEANUP(buf_free) = {0};
    const char *from = buf_str(text);
    for (const char *at; (at = strstr(from, what)); from = at + strlen(what)) {
        buf_add(&b, from, (size_t)(at - from));
        buf_adds(&b, with);
    }
    buf_adds(&b, from);
    buf_reset(text);
    buf_add(text, b.data, b.len);
}

/* @a and @A stand for name and secret of the first key, @b and @B of the second, @c for a secret of
 * 16 bytes, @k for the kms name. */
static void fill_in(struct buf *text, const char *template, bool new)
{
    static const char *const marks[][3] = {
        {"@a", "k1", "key-n3w1a"}, {"@b", "k2", "key-n3w2b"}, {"@A", OLD1, NEW1},
        {"@B", OLD2, NEW2},        {"@c", OLD16, NEW16},      {"@k", "remote", "remote-2"},
    };
    buf_reset(text);
    buf_adds(text, template);
    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        replace_all(text, marks[i][0], marks[i][new ? 2 : 1]);
}

/* Each is edited to the same text with the new values in it, and not a byte else. */
static const char *const layouts[] = {
    /* block, with comments on the lines and after them, and odd spaces */
    HEAD KIND "        resources: # all of it\n"
              "          - resources:\n              - secrets\n"
              "            providers:\n"
              "              # rotated each year\n"
              "              - aescbc:\n                  keys:\n"
              "                    - name:   @a     # since 2026 — ümläut, 鍵\n"
              "                      secret: @A  # of the safe\n"
              "              - identity: {}\n\n\n# the end, without a newline",
    /* quotes of both kinds */
    HEAD KIND "        resources:\n        - resources: ['secrets']\n          providers:\n"
              "          - aescbc:\n              keys:\n"
              "              - {\"name\": \"@a\", 'secret': '@A'}\n"
              "              - {name: '@b', secret: \"@B\"}\n",
    /* the secret before the name, the keys in an order of their own */
    HEAD KIND "        resources:\n        - providers:\n          - aesgcm:\n              keys:\n"
              "              - secret: @c\n                name: @a\n"
              "          resources: [secrets]\n",
    /* flow, in one line, with multi-byte characters before the keys */
    NODES "x: \"鍵 🔒 é\"\nservices: {kube-api: {secrets_encryption_config: {enabled: true, "
          "custom_config: {kind: EncryptionConfiguration, apiVersion: apiserver.config.k8s.io/v1, "
          "resources: [{resources: [secrets], providers: [{secretbox: {keys: [{name: @a,secret: "
          "@A}, {name: @b, secret: @B}]}}, {identity: {}}]}]}}}}\n",
    /* JSON */
    "{\"nodes\":[{\"address\":\"a\",\"role\":[\"controlplane\"],\"user\":\"\\u00fc\\u9375\"}],\n"
    "\t\"services\":{\"kube-api\":{\"secrets_encryption_config\":{\"enabled\":true,"
    "\"custom_config\":\n"
    "{\"apiVersion\":\"apiserver.config.k8s.io/v1\",\"kind\":\"EncryptionConfiguration\","
    "\"resources\":[\n"
    "{\"resources\":[\"secrets\"],\"providers\":[{\"aescbc\":{\"keys\":[{\"name\":\"@a\","
    "\"secret\":\"@A\"}]}},{\"identity\":{}}]}]}}}}}",
    /* Windows line ends, a byte order mark, tabs before comments */
    "\xef\xbb\xbf# Ä\r\n" NODES "services:\r\n  kube-api:\r\n    secrets_encryption_config:\r\n"
    "      enabled: true\r\n      custom_config:\r\n"
    "        apiVersion: apiserver.config.k8s.io/v1\r\n        kind: EncryptionConfiguration\r\n"
    "        resources:\r\n        - resources: [secrets]\r\n          providers:\r\n"
    "          - aescbc:\r\n              keys:\r\n              - name: @a\t# a\r\n"
    "                secret: @A\r\n          - identity: {}\r\n",
    /* old Macintosh line ends */
    NODES "services:\r  kube-api:\r    secrets_encryption_config:\r      enabled: true\r"
          "      custom_config: {apiVersion: apiserver.config.k8s.io/v1,\r"
          "        kind: EncryptionConfiguration,\r        resources: [{resources: [secrets],\r"
          "        providers: [{aescbc: {keys: [{name: @a,\r        secret: @A}]}}]}]}\r",
    /* anchors and tags before the scalars, with comments between; two items with the same key */
    HEAD KIND "        resources:\n"
              "        - resources: [secrets]\n          providers:\n          - aescbc:\n"
              "              keys:\n"
              "              - name: &name !!str @a\n"
              "                secret: !!str &secret # here it comes\n"
              "                  @A\n"
              "        - resources: [configmaps]\n          providers:\n          - aescbc:\n"
              "              keys:\n"
              "              - name: *name\n"
              "                secret: *secret\n",
    /* two items with the same key, written twice, and one that stays */
    HEAD KIND
    "        resources:\n"
    "        - resources: [secrets]\n          providers:\n"
    "          - aescbc: {keys: [{name: @a, secret: @A}]}\n"
    "          - secretbox: {keys: [{name: other, secret: " OLD2 "}]}\n"
    "        - resources: [configmaps]\n          providers:\n"
    "          - aescbc: {keys: [{name: '@a', secret: '@A'}]}\n          - identity: {}\n",
    /* all keys by an alias, and by a merge, inside of custom_config */
    HEAD KIND "        resources:\n"
              "        - resources: [secrets]\n          providers: &all\n"
              "          - aescbc: &box {keys: [{name: @a, secret: @A}]}\n"
              "        - resources: [configmaps]\n          providers: *all\n"
              "        - resources: [pods]\n          providers:\n"
              "          - aescbc: {<<: *box}\n",
    /* kms */
    HEAD KIND "        resources:\n        - resources: [secrets]\n          providers:\n"
              "          - kms:\n              name: @k # of the remote key\n"
              "              endpoint: unix:///run/kms.sock\n              cachesize: 100\n"
              "          - identity: {}\n"
              "        - resources: [configmaps]\n          providers:\n"
              "          - kms: {name: \"@k\", endpoint: 'unix:///run/kms.sock', cachesize: 100}\n"
              "          - identity: {}\n",
    /* plain over several lines, with quotes inside quotes near by */
    HEAD KIND "        resources:\n        - resources: [secrets]\n          providers:\n"
              "          - aescbc:\n              keys:\n"
              "              - {name: @a, secret:\n\n"
              "                   @A }\n"
              "              - ? name\n                : '@b'\n"
              "                ? \"secret\"\n                : \"@B\"\n"
              "          - secretbox: {keys: [{name: 'it''s', secret: " OLD1 "}]}\n"
              "    extra_args: {x: 'a: b # c', y: \"name: k1\"}\n",
    /* a document between its marks */
    "%YAML 1.1\n--- # start\n" HEAD KIND
    "        resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: @a, secret: "
    "@A}]}}]}]\n...\n# after\n",
};

static void nothing_but_the_key_changes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
        struct buf old CLEANUP(buf_free) = {0}, want CLEANUP(buf_free) = {0};
        struct buf out CLEANUP(buf_free) = {0}, shown CLEANUP(buf_free) = {0};
        fill_in(&old, layouts[i], false);
        fill_in(&want, layouts[i], true);
        struct encryption_config *from CLEANUP(cleanup_encryption_config) =
            custom_of(old.data, old.len);
        struct encryption_config *to CLEANUP(cleanup_encryption_config) = rotated(from);
        struct error err CLEANUP(error_clear) = {0};
        if (cluster_edit_custom(old.data, old.len, "c.yml", NULL, to, &out, &shown, &err) != 0)
            fail_msg("layout %zu: %s", i, err.message);
        assert_string_equal(out.data, want.data);
        assert_int_equal(out.len, want.len);
        assert_true(shown.len > 0);
        assert_null(strstr(shown.data, OLD1));
        assert_null(strstr(shown.data, NEW1));
        assert_null(strstr(shown.data, NEW2));
    }
}

static void an_edit_back_gives_the_old_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
        struct buf old CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
        struct buf back CLEANUP(buf_free) = {0}, shown CLEANUP(buf_free) = {0};
        fill_in(&old, layouts[i], false);
        struct encryption_config *from CLEANUP(cleanup_encryption_config) =
            custom_of(old.data, old.len);
        struct encryption_config *to CLEANUP(cleanup_encryption_config) = rotated(from);
        OK(cluster_edit_custom(old.data, old.len, "c.yml", NULL, to, &out, &shown, &err));
        OK(cluster_edit_custom(out.data, out.len, "c.yml", NULL, from, &back, &shown, &err));
        assert_string_equal(back.data, old.data);
        buf_reset(&shown);
        buf_reset(&back);
        OK(cluster_edit_custom(out.data, out.len, "c.yml", NULL, to, &back, &shown, &err));
        assert_string_equal(back.data, out.data);
        assert_int_equal(shown.len, 0);
    }
}

static void the_change_is_shown_by_line_and_without_secrets(void **state)
{
    (void)state;
    struct buf old CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
    struct buf shown CLEANUP(buf_free) = {0};
    fill_in(&old, layouts[0], false);
    struct encryption_config *from CLEANUP(cleanup_encryption_config) =
        custom_of(old.data, old.len);
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = rotated(from);
    OK(cluster_edit_custom(old.data, old.len, "c.yml", NULL, to, &out, &shown, &err));
    assert_string_equal(shown.data, "-  16: name: k1\n-  17: secret: (hidden)\n"
                                    "+  16: name: key-n3w1a\n+  17: secret: (hidden)\n");
}

/* A block scalar in the place of what is to change can't be replaced as it stands. */
static void what_cannot_be_edited_in_place_is_refused_with_the_lines_to_edit(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } table[] = {
        {HEAD KIND "        resources:\n        - resources: [secrets]\n          providers:\n"
                   "          - aescbc:\n              keys:\n              - name: @a\n"
                   "                secret: >-\n                  @A\n",
         "c.yml:15:25: custom_config can't be edited in place: this secret is a block scalar; to "
         "be edited by hand: name in line 14, secret in line 15"},
        {HEAD KIND "        resources:\n        - resources: [secrets]\n          providers:\n"
                   "          - aescbc:\n              keys:\n              - name: |-\n"
                   "                  @a\n                secret: @A\n",
         "c.yml:14:23: custom_config can't be edited in place: this name is a block scalar"},
        /* The value is another field's too. */
        {"x-key: &key @a\n" HEAD KIND
         "        resources:\n        - resources: [secrets]\n          providers:\n"
         "          - aescbc: {keys: [{name: *key, secret: @A}]}\n",
         "c.yml:1:8: custom_config can't be edited in place: this would change too: an alias or a "
         "merge shares it"},
        {"x-key: &key {name: @a, secret: @A}\n" HEAD KIND
         "        resources:\n        - resources: [secrets]\n          providers:\n"
         "          - aescbc: {keys: [{<<: *key}]}\n",
         "shares it; to be edited by hand: name in line 1, secret in line 1"},
        {HEAD KIND "        resources:\n        - resources: [secrets]\n          providers:\n"
                   "          - aescbc: {keys: [{name: &key @a, secret: @A}]}\n"
                   "cluster_name: *key\n",
         "shares it"},
        /* One scalar, and two keys that are to differ. */
        {HEAD KIND "        resources:\n        - resources: [secrets]\n          providers:\n"
                   "          - aescbc: {keys: [{name: @a, secret: &s @A}, "
                   "{name: @b, secret: *s}]}\n",
         "this secret stands in several places, by an alias or a merge, and is to become different "
         "in them"},
        /* A key that stays uses the value of one that goes. */
        {HEAD KIND "        resources:\n        - resources: [secrets]\n          providers:\n"
                   "          - aescbc: {keys: [{name: @a, secret: &s @A}, "
                   "{name: third, secret: *s}]}\n",
         "it would not say what the new configuration says"},
        {HEAD KIND "        resources:\n        - resources: [secrets]\n          providers:\n"
                   "          - kms: {name: &n @k, endpoint: 'unix:///s'}\n"
                   "          - aescbc: {keys: [{name: *n, secret: @A}]}\n",
         "it would not say what"},
        {NODES SERVICES, "c.yml: there is no custom_config to be edited"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct buf old CLEANUP(buf_free) = {0};
        struct buf out CLEANUP(buf_free) = {0}, shown CLEANUP(buf_free) = {0};
        fill_in(&old, table[i].text, false);
        struct encryption_config *to CLEANUP(cleanup_encryption_config) = NULL;
        if (strstr(old.data, "custom_config")) {
            struct encryption_config *from CLEANUP(cleanup_encryption_config) =
                custom_of(old.data, old.len);
            to = rotated(from);
        }
        REFUSES(cluster_edit_custom(old.data, old.len, "c.yml", NULL, to, &out, &shown, &err),
                RESULT_REFUSED, table[i].want);
        assert_int_equal(out.len + shown.len, 0);
    }
}

#define ONE                                                                                        \
    "        resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: k1, "          \
    "secret: " OLD1 "}]}}, {identity: {}}]}]\n"

static void more_than_keys_is_not_edited(void **state)
{
    (void)state;
    static const struct {
        const char *to, *want;
    } table[] = {
        {"        resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: k1, "
         "secret: " OLD1 "}]}}]}]\n",
         "c.yml:9:21: custom_config can't be edited in place: resources[0] has other resources"},
        {"        resources: [{resources: [configmaps], providers: [{aescbc: {keys: [{name: k1, "
         "secret: " OLD1 "}]}}, {identity: {}}]}]\n",
         "resources[0] has other resources"},
        {"        resources: [{resources: [secrets], providers: [{aesgcm: {keys: [{name: k1, "
         "secret: " OLD1 "}]}}, {identity: {}}]}]\n",
         "c.yml:9:56: custom_config can't be edited in place: resources[0].providers[0] differs"},
        {"        resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: k1, "
         "secret: " OLD1 "}, {name: k2, secret: " OLD2 "}]}}, {identity: {}}]}]\n",
         "providers[0] differs"},
        {"        resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: k1, "
         "secret: " OLD1 "}]}}, {identity: {}}]}, {resources: [pods], providers: [{identity: "
         "{}}]}]\n",
         "c.yml:7:9: custom_config can't be edited in place: it has 1 resources items"},
    };
    static const char from[] = HEAD KIND ONE;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct buf out CLEANUP(buf_free) = {0}, shown CLEANUP(buf_free) = {0};
        char *text CLEANUP(cleanup_mem) = mem_printf("%s%s%s", HEAD, KIND, table[i].to);
        struct encryption_config *to CLEANUP(cleanup_encryption_config) =
            custom_of(text, strlen(text));
        REFUSES(cluster_edit_custom(from, strlen(from), "c.yml", NULL, to, &out, &shown, &err),
                RESULT_REFUSED, table[i].want);
        assert_int_equal(out.len + shown.len, 0);
    }
    struct buf out CLEANUP(buf_free) = {0}, shown CLEANUP(buf_free) = {0};
    REFUSES(cluster_edit_custom(from, strlen(from), "c.yml", NULL, NULL, &out, &shown, &err),
            RESULT_REFUSED, "it has 1 resources items, the new configuration 0");
    /* An endpoint is more than a name. */
    static const char kms[] =
        HEAD KIND "        resources: [{resources: [secrets], providers: [{kms: {name: remote, "
                  "endpoint: 'unix:///a'}}]}]\n";
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = custom_of(kms, strlen(kms));
    to->items[0].providers[0].kms_endpoint[8] = 'b';
    REFUSES(cluster_edit_custom(kms, strlen(kms), "c.yml", NULL, to, &out, &shown, &err),
            RESULT_REFUSED, "providers[0] differs");
    /* What is not valid is not edited. */
    static const char bad[] =
        HEAD KIND "        resources: [{resources: [secrets], providers: []}]\n";
    REFUSES(cluster_edit_custom(bad, strlen(bad), "c.yml", NULL, to, &out, &shown, &err),
            RESULT_REFUSED, "c.yml:9:");
}

/* A plain scalar that would be read as something else comes in quotes. */
static void a_value_that_needs_quotes_gets_them(void **state)
{
    (void)state;
    static const char *const names[] = {"123", "yes", "1e5", "a b", "it's", "\"",  "a\\b", "",
                                        "鍵",  "- x", "#",   "~",   "*k",   "a,b", "\n",   "\x7f"};
    static const char *const styles[] = {"k1", "'k1'", "\"k1\""};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (size_t j = 0; j < ARRAY_LEN(styles); j++) {
            struct buf old CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
            struct buf shown CLEANUP(buf_free) = {0};
            buf_adds(&old, HEAD KIND ONE);
            replace_all(&old, "k1", styles[j]);
            struct encryption_config *to CLEANUP(cleanup_encryption_config) =
                custom_of(old.data, old.len);
            mem_free(to->items[0].providers[0].keys[0].name);
            to->items[0].providers[0].keys[0].name = mem_strdup(names[i]);
            struct error err CLEANUP(error_clear) = {0};
            int failed =
                cluster_edit_custom(old.data, old.len, "c.yml", NULL, to, &out, &shown, &err);
            if (failed) {
                /* No valid name: no edit either. */
                assert_true(!*names[i] || *names[i] == '\n' || *names[i] == '\x7f' ||
                            (unsigned char)*names[i] > 0x7f);
                assert_true(strstr(err.message, "it would not be valid any more") != NULL);
                continue;
            }
            struct encryption_config *says CLEANUP(cleanup_encryption_config) =
                custom_of(out.data, out.len);
            assert_true(encryption_config_equal(says, to));
        }
    }
}

static void prepare(void **state, char **path, struct encryption_config **to)
{
    *path = in(state, "cluster.yml");
    spill(*path, HEAD KIND ONE, strlen(HEAD KIND ONE), 0640);
    struct encryption_config *from CLEANUP(cleanup_encryption_config) =
        custom_of(HEAD KIND ONE, strlen(HEAD KIND ONE));
    *to = rotated(from);
}

static void the_file_keeps_its_mode_and_its_links(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL, *link CLEANUP(cleanup_mem) = in(state, "link.yml");
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = NULL;
    struct buf shown CLEANUP(buf_free) = {0}, text CLEANUP(buf_free) = {0};
    struct stat before, after;
    prepare(state, &path, &to);
    assert_int_equal(symlink("cluster.yml", link), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(path, 1234, 2345), 0);
    assert_int_equal(stat(path, &before), 0);
    OK(cluster_edit_check(link, to, &shown, &err));
    assert_int_equal(shown.len > 0, 1);
    slurp(path, &text);
    assert_string_equal(text.data, HEAD KIND ONE);
    assert_int_equal(count_files(state), 1);

    buf_reset(&shown);
    /* A user's edit that came in between is not overwritten. */
    REFUSES(cluster_edit_write(link, to, to, &shown, &err), RESULT_REFUSED, "was edited meanwhile");
    OK(cluster_edit_write(link, NULL, to, &shown, &err));
    assert_true(shown.len > 0);
    assert_int_equal(lstat(link, &after), 0);
    assert_true(S_ISLNK(after.st_mode));
    assert_int_equal(stat(path, &after), 0);
    assert_true(after.st_mode == before.st_mode && after.st_uid == before.st_uid &&
                after.st_gid == before.st_gid);
    slurp(path, &text);
    struct encryption_config *says CLEANUP(cleanup_encryption_config) =
        custom_of(text.data, text.len);
    assert_true(encryption_config_equal(says, to));

    /* Nothing to change: nothing written. */
    buf_reset(&shown);
    assert_int_equal(stat(path, &before), 0);
    OK(cluster_edit_write(path, NULL, to, &shown, &err));
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino && shown.len == 0);
    assert_int_equal(unlink(link), 0);
}

static void what_cannot_be_written_is_known_before(void **state)
{
    char *path CLEANUP(cleanup_mem) = NULL, *other CLEANUP(cleanup_mem) = in(state, "second");
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = NULL;
    struct buf shown CLEANUP(buf_free) = {0}, text CLEANUP(buf_free) = {0};
    prepare(state, &path, &to);
    assert_int_equal(link(path, other), 0);
    REFUSES(cluster_edit_check(path, to, &shown, &err), RESULT_REFUSED, "2 names (hard links)");
    REFUSES(cluster_edit_write(path, NULL, to, &shown, &err), RESULT_REFUSED,
            "2 names (hard links)");
    assert_int_equal(unlink(other), 0);
    if (geteuid() != 0) {
        assert_int_equal(chmod(path, 0444), 0);
        REFUSES(cluster_edit_check(path, to, &shown, &err), RESULT_REFUSED, "can't be written");
        assert_int_equal(chmod(path, 0644), 0);
        assert_int_equal(chmod(*state, 0555), 0);
        REFUSES(cluster_edit_check(path, to, &shown, &err), RESULT_REFUSED, "making the new file");
        assert_int_equal(chmod(*state, 0755), 0);
    }
    slurp(path, &text);
    assert_string_equal(text.data, HEAD KIND ONE);
    assert_non_null(strstr(shown.data, "(hidden)")); /* for whoever makes the edit by hand */
    assert_int_equal(count_files(state), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_but_the_key_changes),
        cmocka_unit_test(an_edit_back_gives_the_old_bytes),
        cmocka_unit_test(the_change_is_shown_by_line_and_without_secrets),
        cmocka_unit_test(what_cannot_be_edited_in_place_is_refused_with_the_lines_to_edit),
        cmocka_unit_test(more_than_keys_is_not_edited),
        cmocka_unit_test(a_value_that_needs_quotes_gets_them),
        cmocka_unit_test_setup_teardown(the_file_keeps_its_mode_and_its_links, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_known_before, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
