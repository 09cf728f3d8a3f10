#include "templates/encryption_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/*
 * The expected texts come from RKE's own way: the types of k8s.io/apiserver 0.28, Go's
 * encoding/json, go-yaml 2.4.0, and RKE's template around it.
 */

#define KIND "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n"
#define K1 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define K24 "12345678901234567890123456789012"

static struct encryption_config *strict(const char *text)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    if (encryption_config_read(text, strlen(text), "e.yml", ENCRYPTION_STRICT, &c, &err) != 0)
        fail_msg("%s", err.message);
    return c;
}

static const struct {
    const char *config, *want;
} table[] = {
    /* As in RKE's documents. */
    {KIND "resources:\n- resources: [secrets]\n  providers:\n  - aescbc:\n      keys:\n"
          "      - name: k-fw5hn\n        secret: " K1 "\n  - identity: {}\n",
     "resources:\n- providers:\n  - aescbc:\n      keys:\n      - name: k-fw5hn\n"
     "        secret: " K1 "\n  - identity: {}\n  resources:\n  - secrets\n\n"},
    /* Names and secrets that stand in quotes, of either kind, and such that don't. */
    {KIND "resources:\n- resources: [secrets, '*.apps']\n  providers:\n  - aesgcm: {keys: [\n"
          "    {name: '123', secret: '" K24 "'}, {name: 'yes', secret: " K1 "},\n"
          "    {name: \"it's\", secret: " K1 "}, {name: '#', secret: " K1 "},\n"
          "    {name: '2026-01-01', secret: " K1 "}, {name: '2026-02-30', secret: " K1 "},\n"
          "    {name: '*a', secret: " K1 "}, {name: '- a', secret: " K1 "},\n"
          "    {name: '-a', secret: " K1 "}, {name: '\"', secret: " K1 "}]}\n  - identity: {}\n"
          "- resources: ['*.*']\n  providers: [{identity: {}}]\n",
     "resources:\n- providers:\n  - aesgcm:\n      keys:\n"
     "      - name: \"123\"\n        secret: \"" K24 "\"\n"
     "      - name: \"yes\"\n        secret: " K1 "\n"
     "      - name: it's\n        secret: " K1 "\n"
     "      - name: '#'\n        secret: " K1 "\n"
     "      - name: \"2026-01-01\"\n        secret: " K1 "\n"
     "      - name: 2026-02-30\n        secret: " K1 "\n"
     "      - name: '*a'\n        secret: " K1 "\n"
     "      - name: '- a'\n        secret: " K1 "\n"
     "      - name: -a\n        secret: " K1 "\n"
     "      - name: '\"'\n        secret: " K1 "\n  - identity: {}\n"
     "  resources:\n  - secrets\n  - '*.apps'\n"
     "- providers:\n  - identity: {}\n  resources:\n  - '*.*'\n\n"},
    {KIND "resources:\n- resources: [secrets]\n  providers:\n"
          "  - kms: {name: one, endpoint: 'unix:///run/kms.sock', cachesize: 100, timeout: 90s}\n"
          "  - kms: {timeout: 0.5s, name: two, apiVersion: v2, endpoint: 'unix:///run/two.sock'}\n"
          "  - secretbox: {keys: [{name: box, secret: " K1 "}]}\n  - identity: {}\n",
     "resources:\n- providers:\n  - kms:\n      apiVersion: \"\"\n      cachesize: 100\n"
     "      endpoint: unix:///run/kms.sock\n      name: one\n      timeout: 1m30s\n"
     "  - kms:\n      apiVersion: v2\n      endpoint: unix:///run/two.sock\n      name: two\n"
     "      timeout: 500ms\n"
     "  - secretbox:\n      keys:\n      - name: box\n        secret: " K1 "\n"
     "  - identity: {}\n  resources:\n  - secrets\n\n"},
};

static void it_is_what_rke_renders(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = strict(table[i].config);
        struct buf twice CLEANUP(buf_free) = {0}, once CLEANUP(buf_free) = {0};
        char *want CLEANUP(cleanup_mem) = mem_printf("%s%s%s", KIND, KIND, table[i].want);
        encryption_config_write_rke_custom(c, RKE_HEADING_TWICE, &twice);
        assert_string_equal(twice.data, want);
        encryption_config_write_rke_custom(c, RKE_HEADING_ONCE, &once);
        assert_string_equal(once.data, want + strlen(KIND));
    }
}

static void it_reads_back_to_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = strict(table[i].config);
        struct encryption_config *lenient CLEANUP(cleanup_encryption_config) = NULL;
        struct encryption_config *refused = NULL;
        struct buf out CLEANUP(buf_free) = {0}, once CLEANUP(buf_free) = {0};
        encryption_config_write_rke_custom(c, RKE_HEADING_TWICE, &out);
        assert_int_equal(
            encryption_config_read(out.data, out.len, "e.yml", ENCRYPTION_LENIENT, &lenient, &err),
            0);
        assert_int_equal(
            encryption_config_read(out.data, out.len, "e.yml", ENCRYPTION_STRICT, &refused, &err),
            -1);
        assert_non_null(strstr(err.message, "given twice"));
        encryption_config_write_rke_custom(c, RKE_HEADING_ONCE, &once);
        struct encryption_config *again CLEANUP(cleanup_encryption_config) = strict(once.data);
        /* (The same duration in other words is the same.) */
        assert_true(encryption_config_equal(c, again));
        assert_true(encryption_config_equal(c, lenient));
    }
}

static void durations_are_written_as_go_writes_them(void **state)
{
    (void)state;
    static const char *const durations[][2] = {
        {"3s", "3s"},
        {"90s", "1m30s"},
        {"60m", "1h0m0s"},
        {"1.5h", "1h30m0s"},
        {"500ms", "500ms"},
        {"0.5s", "500ms"},
        {"1500us", "1.5ms"},
        {"1ns", "1ns"},
        {"1.23456789s", "1.23456789s"},
        {"1m1ms", "1m0.001s"},
        {"+4s", "4s"},
        {"100h0.5s", "100h0m0.5s"},
        {"1500ns", "1.5\xc2\xb5s"},
        {"3m0.25s", "3m0.25s"},
        {".5s", "500ms"},
    };
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        char *text CLEANUP(cleanup_mem) =
            mem_printf("%sresources:\n- resources: [secrets]\n  providers:\n"
                       "  - kms: {name: k, endpoint: 'unix:///s', timeout: %s}\n",
                       KIND, durations[i][0]);
        char *want CLEANUP(cleanup_mem) = mem_printf("      timeout: %s\n", durations[i][1]);
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = strict(text);
        struct buf out CLEANUP(buf_free) = {0};
        encryption_config_write_rke_custom(c, RKE_HEADING_TWICE, &out);
        if (!strstr(out.data, want))
            fail_msg("%s: %s", durations[i][0], out.data);
    }
}

static void none_is_no_text(void **state)
{
    (void)state;
    struct buf out CLEANUP(buf_free) = {0};
    struct encryption_config empty = {0};
    encryption_config_write_rke_custom(NULL, RKE_HEADING_TWICE, &out);
    encryption_config_write_rke_custom(&empty, RKE_HEADING_TWICE, &out);
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_rke_renders),
        cmocka_unit_test(it_reads_back_to_the_same),
        cmocka_unit_test(durations_are_written_as_go_writes_them),
        cmocka_unit_test(none_is_no_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
