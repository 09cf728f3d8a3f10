#include "templates/encryption_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
/* 32, 32, 16 and 24 bytes. */
#define K1 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define K2 "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
#define K16 "QUFBQUFBQUFBQUFBQUFBQQ=="
#define K24 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
#define ITEM(resources, providers) "- resources: [" resources "]\n  providers: [" providers "]\n"
#define KEY(name, secret) "{name: " name ", secret: " secret "}"
#define CBC(keys) "{aescbc: {keys: [" keys "]}}"
#define GCM(keys) "{aesgcm: {keys: [" keys "]}}"
#define BOX(keys) "{secretbox: {keys: [" keys "]}}"
#define ID "{identity: {}}"
#define KMS1(name, sock) "{kms: {name: " name ", endpoint: 'unix:///" sock "', cachesize: 100}}"
#define KMS2(name, sock) "{kms: {apiVersion: v2, name: " name ", endpoint: 'unix:///" sock "'}}"

static struct encryption_config *read_as(const char *text, enum encryption_reading how)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    if (encryption_config_read(text, strlen(text), "e.yml", how, &c, &err) != 0)
        fail_msg("%s", err.message);
    assert_non_null(c);
    return c;
}

static struct encryption_config *strict(const char *text)
{
    return read_as(text, ENCRYPTION_STRICT);
}

static void finding_as(const char *text, enum encryption_reading how, const char *message)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    if (encryption_config_read(text, strlen(text), "e.yml", how, &c, &err) == 0)
        fail_msg("read, but lacks '%s'", message);
    assert_null(c);
    assert_int_equal(err.result, RESULT_REFUSED);
    if (!strstr(err.message, message))
        fail_msg("'%s' lacks '%s'", err.message, message);
    assert_null(strstr(err.message, "QUFBQU"));
}

static void finding(const char *text, const char *message)
{
    finding_as(text, ENCRYPTION_STRICT, message);
}

static void writes_as(const struct encryption_config *c, const char *expected)
{
    struct buf out CLEANUP(buf_free) = {0};
    encryption_config_write(c, &out);
    assert_string_equal(buf_str(&out), expected);
}

/* Apiservers before 1.13 know that pair alone; all read it. */
static void test_old_pair(void **state)
{
    (void)state;
    unsigned char secret[32];
    char name[] = "key-a1b2c";
    memset(secret, 'A', sizeof(secret));
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = encryption_config_managed(
        PROVIDER_AESCBC, NULL, &(struct encryption_key){name, secret, sizeof(secret)});
    struct buf now CLEANUP(buf_free) = {0}, old CLEANUP(buf_free) = {0};
    struct encryption_config *again CLEANUP(cleanup_encryption_config) = NULL;
    struct error err CLEANUP(error_clear) = {0};
    encryption_config_write(c, &now);
    encryption_config_write_old(c, &old);
    static const char heading[] = "apiVersion: v1\nkind: EncryptionConfig\nresources:\n";
    assert_true(str_starts(buf_str(&old), heading));
    assert_string_equal(strstr(buf_str(&now), "- resources:"), buf_str(&old) + strlen(heading));
    assert_int_equal(
        encryption_config_read(buf_str(&old), old.len, "f", ENCRYPTION_LENIENT, &again, &err), 0);
    assert_true(encryption_config_equal(c, again));
    buf_reset(&old);
    encryption_config_write_old(NULL, &old);
    assert_int_equal(old.len, 0);
}

static void test_managed(void **state)
{
    (void)state;
    unsigned char secret[32];
    char name[] = "key-a1b2c";
    memset(secret, 'A', sizeof(secret));
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = encryption_config_managed(
        PROVIDER_AESCBC, NULL, &(struct encryption_key){name, secret, sizeof(secret)});
    static const char text[] =
        HEAD "- resources:\n  - secrets\n  providers:\n  - aescbc:\n"
             "      keys:\n      - name: key-a1b2c\n        secret: " K1 "\n  - identity: {}\n";
    writes_as(c, text);
    struct encryption_config *again CLEANUP(cleanup_encryption_config) = strict(text);
    assert_true(encryption_config_equal(c, again));
    assert_true(encryption_config_is_managed(again));
    assert_false(encryption_config_is_plain(again));
    assert_string_equal(encryption_active_key(c)->name, "key-a1b2c");
    struct encryption_config *copy CLEANUP(cleanup_encryption_config) = encryption_config_copy(c);
    assert_true(encryption_config_equal(c, copy));
    copy->items[0].providers[0].keys[0].secret[31] ^= 1;
    assert_false(encryption_config_equal(c, copy));
    char print[13], other[13];
    encryption_key_fingerprint(encryption_active_key(c), print);
    encryption_key_fingerprint(encryption_active_key(copy), other);
    assert_int_equal(strlen(print), 12);
    assert_string_not_equal(print, other);
    /* printf 'encrypt key fingerprint\0AAAA…' | sha256sum */
    assert_string_equal(print, "73f6117b34fb");
}

static void test_none(void **state)
{
    (void)state;
    struct encryption_config *none CLEANUP(cleanup_encryption_config) = strict(" \n\t\r\n");
    assert_int_equal(none->item_count, 0);
    assert_true(encryption_config_equal(none, NULL));
    assert_true(encryption_config_equal(NULL, none));
    assert_true(encryption_config_is_plain(none));
    assert_true(encryption_config_is_plain(NULL));
    assert_false(encryption_config_is_managed(none));
    assert_null(encryption_active_key(none));
    writes_as(none, "");
    writes_as(NULL, "");
    struct encryption_config *plain CLEANUP(cleanup_encryption_config) =
        strict(HEAD ITEM("secrets", ID));
    assert_true(encryption_config_is_plain(plain));
    assert_false(encryption_config_equal(plain, none));
    finding("# nothing\n", "no document");
    finding_as("~", ENCRYPTION_LENIENT, "no document");
}

static void test_round_trips(void **state)
{
    (void)state;
    static const char *const texts[] = {
        HEAD ITEM("secrets, configmaps", CBC(KEY("a", K1) ", " KEY("b", K16)) ", " ID),
        HEAD ITEM("secrets", GCM(KEY("'1'", K24)) ", " BOX(KEY("\"yes\"", K2))),
        HEAD ITEM("secrets", KMS1("k", "run/kms.sock") ", " KMS2("l", "@abstract") ", " ID),
        HEAD ITEM("'*.'", CBC(KEY("\"a b\\\"\\\\\"", K1)) ", " ID) ITEM("'*.apps'", ID)
            ITEM("'*.*'", CBC(KEY("c", K2)) ", " ID),
        HEAD ITEM("secrets", CBC(KEY("a", "'12345678901234567890123456789012'"))),
        HEAD ITEM("secrets",
                  "{kms: {name: k, endpoint: 'unix:///s', cachesize: -1, timeout: 1m30s}}"),
        "{\"kind\":\"EncryptionConfig\",\"apiVersion\":\"v1\",\"resources\":[{\"resources\":["
        "\"secrets\"],"
        "\"providers\":[{\"identity\":{}}]}]}",
        HEAD ITEM("secrets", KMS1("k", "s")) ITEM("configmaps", KMS1("k", "s")),
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = strict(texts[i]);
        struct buf out CLEANUP(buf_free) = {0};
        encryption_config_write(c, &out);
        struct encryption_config *again CLEANUP(cleanup_encryption_config) = strict(out.data);
        if (!encryption_config_equal(c, again))
            fail_msg("%s", out.data);
        struct encryption_config *copy CLEANUP(cleanup_encryption_config) =
            encryption_config_copy(c);
        assert_true(encryption_config_equal(c, copy));
    }
}

static void test_lenient(void **state)
{
    (void)state;
    static const char text[] =
        "kind: Wrong\nkind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\n"
        "apiVersion: apiserver.config.k8s.io/v1\nextra: 1\nresources:\n"
        "- resources: [secrets, secrets, Caps]\n  providers:\n  - aescbc:\n      keys:\n"
        "      - {name: first, name: 'a:b', secret: \"" K1 "\\n\", more: 2}\n";
    struct encryption_config *c CLEANUP(cleanup_encryption_config) =
        read_as(text, ENCRYPTION_LENIENT);
    assert_string_equal(c->items[0].providers[0].keys[0].name, "a:b");
    assert_int_equal(c->items[0].providers[0].keys[0].secret_len, 32);
    finding(text, "e.yml:5:1: unknown field \"extra\"");
    struct encryption_config *empty CLEANUP(cleanup_encryption_config) =
        read_as("kind: EncryptionConfig\napiVersion: v1\nresources: []\n", ENCRYPTION_LENIENT);
    assert_true(encryption_config_is_plain(empty));
    /* What no kube-apiserver takes is refused here too. */
    finding_as("a: b", ENCRYPTION_LENIENT, "kind, apiVersion");
    finding_as("text", ENCRYPTION_LENIENT, "must be a map");
    finding_as(HEAD ITEM("secrets", ""), ENCRYPTION_LENIENT, "providers: at least one");
    finding_as(HEAD ITEM("secrets", CBC("")), ENCRYPTION_LENIENT, "keys: at least one");
    finding_as(HEAD ITEM("secrets", CBC(KEY("a", "QUFBQQ=="))), ENCRYPTION_LENIENT,
               "this one has 4");
    finding_as(HEAD ITEM("secrets", "{identity: }"), ENCRYPTION_LENIENT, "no provider");
    finding_as(HEAD ITEM("secrets", CBC(KEY("7", K1))), ENCRYPTION_LENIENT, "quote it");
}

static void test_strict_findings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {HEAD, "e.yml:3:11: resources: at least one"},
        {HEAD " []", "resources: at least one"},
        {"kind: EncryptionConfiguration\napiVersion: v1\nresources: []\n", "e.yml:1:7: kind, api"},
        {"apiVersion: v1\nresources: []\n", "kind, apiVersion: must be"},
        {HEAD ITEM("", ID), "resources[0].resources: at least one"},
        {HEAD ITEM("secrets", ""), "resources[0].providers: at least one"},
        {HEAD ITEM("secrets", ID ", {}"), "e.yml:5:31: resources[0].providers[1]: no provider"},
        {HEAD ITEM("secrets", "{identity: {}, aescbc: {}}"), "more than one provider"},
        {HEAD ITEM("secrets", "{identity: {a: b}}"), "identity: unknown field \"a\""},
        {HEAD ITEM("secrets", "{rot13: {}}"), "unknown field"},
        {HEAD ITEM("secrets", "{" K1 ": {}}"), "unknown field"},
        {HEAD ITEM("secrets", CBC("")), "providers[0].aescbc.keys: at least one"},
        {HEAD ITEM("secrets", "{aescbc: {keys: 7}}"), "keys: must be a list"},
        {HEAD ITEM("secrets", CBC("{name: a}")), "aescbc.keys[0].secret: must not be empty"},
        {HEAD ITEM("secrets", CBC("{secret: " K1 "}")), "aescbc.keys[0].name: must not be empty"},
        {HEAD ITEM("secrets", CBC(KEY("''", K1))), "name: must not be empty"},
        {HEAD ITEM("secrets", CBC(KEY("'a:b'", K1))), "must not contain a colon"},
        {HEAD ITEM("secrets", CBC(KEY("a", K1) ", " KEY("a", K1))), "keys[1].name: the same as"},
        {HEAD ITEM("secrets", CBC(KEY("a", "QUFBQUFBQUFBQUFBQUFBQQ"))), "standard base64"},
        {HEAD ITEM("secrets", CBC(KEY("a", "'QUFB QUFBQUFBQUFBQUFBQQ=='"))), "standard base64"},
        {HEAD ITEM("secrets", CBC(KEY("a", "QUFBQUFBQUFBQUFBQUF_QQ=="))), "standard base64"},
        {HEAD ITEM("secrets", CBC(KEY("a", "QUFBQUFBQUFBQU=BQUFBQQ=="))), "standard base64"},
        {HEAD ITEM("secrets", CBC(KEY("a", "QUFB===="))), "standard base64"},
        {HEAD ITEM("secrets", CBC(KEY("a", "\"" K1 "\\n\""))), "standard base64"},
        {HEAD ITEM("secrets", BOX(KEY("a", K16))),
         "secretbox needs a key of 32 bytes, this one has 16"},
        {HEAD ITEM("secrets", GCM(KEY("a", "QUFB"))), "aesgcm needs a key of 16, 24 or 32 bytes"},
        {HEAD ITEM("secrets", CBC(KEY("a", "[1]"))), "secret: must be a string"},
        {HEAD ITEM("secrets", CBC(KEY("a", "12345678901234567890123456789012"))), "quote it"},
        {HEAD ITEM("secrets, secrets", ID), "resources[0].resources[1]: named already"},
        {HEAD ITEM("secrets, '*.*'", ID), "named already"},
        {HEAD ITEM("'*.apps', deployments.apps", ID), "named already"},
        {HEAD ITEM("'*.', pods", ID), "named already"},
        {HEAD ITEM("Secrets", ID), "small letters"},
        {HEAD ITEM("'*'", ID), "use \"*.\""},
        {HEAD ITEM("secrets.*", ID), "a wildcard can only"},
        {HEAD ITEM("'*.*.*'", ID), "no such wildcard"},
        {HEAD ITEM("''", ID), "must not be empty"},
        {HEAD ITEM("ingresses.extensions", ID), "another: name that one"},
        {HEAD ITEM("apiserveripinfo", ID), "can't be encrypted"},
        {HEAD ITEM("[a]", ID), "must be a string"},
        {HEAD ITEM("secrets", "{kms: {endpoint: 'unix:///s'}}"), "kms.name: must not be empty"},
        {HEAD ITEM("secrets", "{kms: {name: k}}"), "kms.endpoint: must not be empty"},
        {HEAD ITEM("secrets", "{kms: {name: k, endpoint: 'http://s'}}"), "unix:// address"},
        {HEAD ITEM("secrets", "{kms: {name: 'k:l', endpoint: 'unix:///s'}}"), "colon"},
        {HEAD ITEM("secrets", "{kms: {apiVersion: v3, name: k, endpoint: 'unix:///s'}}"),
         "v1 or v2"},
        {HEAD ITEM("secrets", "{kms: {name: k, endpoint: 'unix:///s', cachesize: 0}}"), "not be 0"},
        {HEAD ITEM("secrets", "{kms: {name: k, endpoint: 'unix:///s', cachesize: x}}"),
         "whole number"},
        {HEAD ITEM("secrets",
                   "{kms: {apiVersion: v2, name: k, endpoint: 'unix:///s', cachesize: 1}}"),
         "kms v2 has none"},
        {HEAD ITEM("secrets", "{kms: {name: k, endpoint: 'unix:///s', timeout: 0s}}"), "duration"},
        {HEAD ITEM("secrets", "{kms: {name: k, endpoint: 'unix:///s', timeout: 3}}"), "quote it"},
        {HEAD ITEM("secrets", "{kms: {name: k, endpoint: 'unix:///s', timeout: 3 s}}"), "duration"},
        {HEAD ITEM("secrets", KMS2("k", "s") ", " KMS1("k", "s")), "kms.name: given already"},
        {HEAD ITEM("secrets", KMS2("k", "s")) ITEM("configmaps", KMS2("k", "s")), "given already"},
        {HEAD ITEM("secrets", KMS1("k", "s")) ITEM("configmaps", KMS1("k", "t")), "given already"},
        {HEAD ITEM("secrets", CBC(KEY("a", K1))) ITEM("pods", CBC(KEY("a", K2))), "another secret"},
        {"kind: EncryptionConfig\nkind: EncryptionConfig\napiVersion: v1\n",
         "e.yml:2:1: field \"kind\" is given twice"},
        {HEAD "- 7\n", "e.yml:4:3: resources[0]: must be a map"},
        {"a: [", "e.yml:"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        finding(cases[i].text, cases[i].message);
}

static void check_all(const char *text, struct config_findings *f, struct encryption_config **c)
{
    struct error err CLEANUP(error_clear) = {0};
    struct yaml *y CLEANUP(cleanup_yaml) = NULL;
    if (yaml_read(text, strlen(text), "e.yml", &y, &err) != 0)
        fail_msg("%s", err.message);
    encryption_config_check(y, f, c);
}

static void test_all_findings(void **state)
{
    (void)state;
    struct config_findings f CLEANUP(config_findings_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    check_all(HEAD ITEM("Secrets, secret", CBC(KEY("'a:b'", K1) ", {name: x}") ", {rot13: {}}")
                  ITEM("'*'", "{kms: {name: k}}"),
              &f, &c);
    assert_null(c);
    assert_int_equal(config_findings_error(&f, "e.yml", &err), -1);
    assert_string_equal(
        err.message,
        "e.yml:4:15: resources[0].resources[0]: only small letters, digits, '-' and '.', or a "
        "wildcard; resources are written like secrets or deployments.apps\n"
        "e.yml:4:24: resources[0].resources[1]: no resource of the core group: kube-apiserver "
        "would encrypt nothing by it; write the plural, as in secrets\n"
        "e.yml:5:39: resources[0].providers[0].aescbc.keys[0].name: must not contain a colon: it "
        "ends the prefix in the store\n"
        "e.yml:5:101: resources[0].providers[0].aescbc.keys[1].secret: must not be empty\n"
        "e.yml:5:116: resources[0].providers[1]: unknown field; known here: identity, aescbc, "
        "aesgcm, secretbox, kms\n"
        "e.yml:6:15: resources[1].resources[0]: no such wildcard; use \"*.\" for the core group, "
        "\"*.*\" for everything\n"
        "e.yml:7:21: resources[1].providers[0].kms.endpoint: must not be empty; write the "
        "socket's path: unix:///run/kmsplugin/socket.sock");
}

static void test_warnings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *field, *what;
    } cases[] = {
        {HEAD ITEM("secrets", CBC(KEY("a", K1))), "resources[0].providers", "no identity: what is"},
        {HEAD ITEM("secrets", ID ", " CBC(KEY("a", K1))), "resources[0].providers[0]",
         "everything is stored plain, the others only read"},
        {HEAD ITEM("secrets", GCM(KEY("a", K1)) ", " ID), "resources[0].providers[0].aesgcm",
         "200,000 writes"},
        {HEAD ITEM("secrets", CBC(KEY("a", K1) ", " KEY("b", K1)) ", " ID),
         "resources[0].providers[0].aescbc.keys[1].secret", "the same as in resources[0]"},
        {HEAD ITEM("secrets", CBC(KEY("a", K1)) ", " BOX(KEY("a", K1)) ", " ID),
         "resources[0].providers[1].secretbox.keys[0].secret", "the same as in resources[0]"},
        {HEAD ITEM("secrets", CBC(KEY("a", K1)) ", " ID)
             ITEM("secrets, pods", BOX(KEY("b", K2)) ", " ID),
         "resources[1].resources[0]", "the providers there come first"},
        {HEAD ITEM("secrets", CBC(KEY("a", "0123456789abcdef0123456789abcdef")) ", " ID),
         "resources[0].providers[0].aescbc.keys[0].secret", "hexadecimal digits"},
        {HEAD ITEM("secrets", KMS2("k", "@name") ", " ID), "resources[0].providers[0].kms.endpoint",
         "an abstract socket"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_findings f CLEANUP(config_findings_free) = {0};
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
        check_all(cases[i].text, &f, &c);
        assert_non_null(c);
        assert_int_equal(f.errors, 0);
        assert_int_equal(f.count, 1);
        assert_true(f.list[0].warning);
        assert_string_equal(f.list[0].field, cases[i].field);
        if (!strstr(f.list[0].what, cases[i].what))
            fail_msg("'%s' lacks '%s'", f.list[0].what, cases[i].what);
    }
}

/* One with everything that is legal and unusual: nothing is to be said of it. */
static void test_no_findings(void **state)
{
    (void)state;
    struct config_findings f CLEANUP(config_findings_free) = {0};
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    check_all("kind: EncryptionConfig\napiVersion: v1\nresources:\n" ITEM(
                  "secrets, leases.coordination.k8s.io",
                  CBC("&a " KEY("a", K1) ", " KEY("'1'", K16)) ", " BOX(KEY("a", K2)) ", " ID)
                  ITEM("widgets.v.example.com", "{aescbc: {keys: [*a]}}, " ID)
                      ITEM("'*.'", "{kms: {name: k, endpoint: 'unix:///s', cachesize: -1, "
                                   "timeout: 1m}}, " ID) ITEM("'*.*'", CBC("*a") ", " ID),
              &f, &c);
    for (size_t i = 0; i < f.count; i++)
        print_error("%s: %s\n", f.list[i].field, f.list[i].what);
    assert_int_equal(f.count, 0);
    assert_non_null(c);
}

static void stored_under(const char *value, size_t len, const char *prefix)
{
    char *got CLEANUP(cleanup_mem) = encryption_stored_prefix(value, len);
    if (prefix)
        assert_string_equal(got, prefix);
    else
        assert_null(got);
}

static void test_prefixes(void **state)
{
    (void)state;
    struct encryption_config *c CLEANUP(cleanup_encryption_config) =
        strict(HEAD ITEM("secrets", CBC(KEY("k-1", K1))) ITEM("configmaps", KMS2("m", "s"))
                   ITEM("pods", ID) ITEM("'*.apps'", BOX(KEY("b", K2)) ", " ID));
    static const char *const cases[][2] = {
        {"secrets", "k8s:enc:aescbc:v1:k-1:"},
        {"configmaps", "k8s:enc:kms:v2:m:"},
        {"pods", ""},
        {"services", ""},
        {"deployments.apps", "k8s:enc:secretbox:v1:b:"},
        {"a.apps.example.com", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *prefix CLEANUP(cleanup_mem) = encryption_write_prefix(c, cases[i][0]);
        assert_string_equal(prefix, cases[i][1]);
    }
    stored_under("k8s:enc:aescbc:v1:k-1:\0\1", 24, "k8s:enc:aescbc:v1:k-1:");
    stored_under("k8s:enc:kms:v2:m:x:y", 20, "k8s:enc:kms:v2:m:");
    stored_under("k8s:enc:secretbox:v1::", 22, "k8s:enc:secretbox:v1::");
    stored_under("k8s\0\n", 5, "");
    stored_under("", 0, "");
    stored_under("k8s:enc:aescbc:v1:long", 22, NULL);
    stored_under("k8s:enc:rot13:v1:a:", 19, NULL);
    stored_under("k8s:enc:aescbc:v1:a\0b:", 22, NULL);
    stored_under("k8s:enc:", 8, NULL);
}

static bool reads(const struct encryption_config *c, const char *resource, const char *value)
{
    return encryption_config_reads(c, resource, value, strlen(value));
}

static void test_reads(void **state)
{
    (void)state;
    struct encryption_config *c CLEANUP(cleanup_encryption_config) =
        read_as(HEAD ITEM("secrets", CBC(KEY("a", K1)) ", " CBC(KEY("b", K2)) ", " KMS1("m", "s"))
                    ITEM("pods", ID) ITEM("secrets", GCM(KEY("g", K1))),
                ENCRYPTION_LENIENT);
    assert_true(reads(c, "secrets", "k8s:enc:aescbc:v1:a:xxx"));
    assert_false(
        reads(c, "secrets", "k8s:enc:aescbc:v1:b:xxx")); /* the first entry alone is tried */
    assert_false(reads(c, "secrets", "k8s:enc:aescbc:v1:a"));
    assert_true(reads(c, "secrets", "k8s:enc:kms:v1:m:x"));
    assert_false(reads(c, "secrets", "k8s:enc:kms:v2:m:x"));
    assert_true(reads(c, "secrets", "k8s:enc:aesgcm:v1:g:x"));
    assert_false(reads(c, "secrets", "plain"));
    assert_true(reads(c, "pods", "plain"));
    assert_false(reads(c, "pods", "k8s:enc:aescbc:v1:a:x"));
    assert_true(reads(c, "services", "plain"));
    assert_true(reads(NULL, "services", "plain"));
    assert_false(reads(NULL, "secrets", "k8s:enc:aescbc:v1:a:x"));
}

static void test_resources(void **state)
{
    (void)state;
    struct encryption_config *a CLEANUP(cleanup_encryption_config) =
        strict(HEAD ITEM("secrets, pods", ID) ITEM("'*.apps'", ID));
    struct encryption_config *b CLEANUP(cleanup_encryption_config) =
        strict(HEAD ITEM("configmaps, secrets", ID));
    char **names = encryption_resources(a, b);
    static const char *const expected[] = {"secrets", "pods", "*.apps", "configmaps"};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_string_equal(names[i], expected[i]);
    assert_null(names[4]);
    encryption_resources_free(names);
    names = encryption_resources(NULL, NULL);
    assert_null(names[0]);
    encryption_resources_free(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_managed),
        cmocka_unit_test(test_old_pair),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_lenient),
        cmocka_unit_test(test_all_findings),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_no_findings),
        cmocka_unit_test(test_strict_findings),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_resources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
