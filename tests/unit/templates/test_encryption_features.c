#include "templates/encryption_features.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int major, minor;
    } good[] = {
        {"v1.20.2", 1, 20},
        {"v1.20.15-rancher1-1", 1, 20},
        {"1.27+", 1, 27},
        {"v1.11.0+d4cacc0", 1, 11},
        {"1.7", 1, 7},
        {"v2.0.0", 2, 0},
        {"v1.36.0-alpha.1", 1, 36},
        {"v1.30.4+k3s1", 1, 30},
        {"1.9-gke", 1, 9},
        {"v1.28.3-eks-1234", 1, 28},
    };
    static const char *const bad[] = {"",      "v",        "v1",      "1.",       "v1.x", "latest",
                                      "1.20a", "vv1.20.2", "1 .20.2", "12345.20", "-1.20"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct kube_version v = {0};
        if (!kube_version_parse(good[i].text, &v))
            fail_msg("%s", good[i].text);
        assert_int_equal(v.major, good[i].major);
        assert_int_equal(v.minor, good[i].minor);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct kube_version v = {-1, -1};
        if (kube_version_parse(bad[i], &v))
            fail_msg("%s", bad[i]);
        assert_int_equal(v.minor, -1);
    }
    assert_true(kube_version_at_least((struct kube_version){1, 26}, 1, 26));
    assert_false(kube_version_at_least((struct kube_version){1, 25}, 1, 26));
    assert_true(kube_version_at_least((struct kube_version){2, 0}, 1, 26));
    assert_false(kube_version_at_least((struct kube_version){0, 30}, 1, 26));
}

static void test_custom_by_name(void **state)
{
    (void)state;
    static const char *const own[] = {"secrets",
                                      "secrets.",
                                      "deployments.apps",
                                      "ingresses.networking.k8s.io",
                                      "events.events.k8s.io",
                                      "roles.rbac.authorization.k8s.io",
                                      "resourceclaims.resource.k8s.io",
                                      "customresourcedefinitions.apiextensions.k8s.io",
                                      "*.",
                                      "*.*",
                                      "*.apps",
                                      "secrets.*"};
    static const char *const custom[] = {"widgets.example.com",
                                         "volumesnapshots.snapshot.storage.k8s.io",
                                         "gateways.gateway.networking.k8s.io",
                                         "pods.metrics.k8s.io",
                                         "deployments.app",
                                         "*.example.com"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (encryption_resource_is_custom(own[i]))
            fail_msg("%s", own[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(custom); i++) {
        if (!encryption_resource_is_custom(custom[i]))
            fail_msg("%s", custom[i]);
    }
    assert_true(encryption_resource_is_wildcard("*"));
    assert_true(encryption_resource_is_wildcard("*."));
    assert_true(encryption_resource_is_wildcard("*.*"));
    assert_true(encryption_resource_is_wildcard("*.example.com"));
    assert_false(encryption_resource_is_wildcard("secrets.*"));
    assert_false(encryption_resource_is_wildcard("secrets"));
}

#define K1 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define CBC "{aescbc: {keys: [{name: key1, secret: " K1 "}]}}"
#define KMS1 "{kms: {name: vault, endpoint: 'unix:///run/kms.sock'}}"
#define KMS2 "{kms: {apiVersion: v2, name: cloud, endpoint: 'unix:///run/kms2.sock'}}"

/* Checks resources and providers against a version: `message` is what it is refused with, NULL:
 * it isn't. */
static void check(const char *resources, const char *providers, const char *version,
                  const char *gates, const char *message)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    buf_printf(&text,
               "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
               "- resources: [%s]\n  providers: [%s]\n",
               resources, providers);
    if (encryption_config_read(text.data, text.len, "e.yml", ENCRYPTION_LENIENT, &c, &err) < 0)
        fail_msg("%s", err.message);
    int rc = encryption_config_check_version(c, version, "kube-apiserver on 10.0.0.1", gates, false,
                                             &err);
    if (!message) {
        if (rc != 0)
            fail_msg("%s with %s: %s", version, gates ? gates : "no gates", err.message);
        return;
    }
    if (rc != -1)
        fail_msg("%s on %s with %s: not refused", resources, version, gates ? gates : "no gates");
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_string_equal(err.message, message);
    assert_null(strstr(err.message, K1));
}

#define IS(version) "; kube-apiserver on 10.0.0.1 is " version

static void test_every_version_has_the_managed_form(void **state)
{
    (void)state;
    for (int minor = 13; minor <= 40; minor++) {
        char version[32];
        snprintf(version, sizeof(version), "v1.%d.0", minor);
        check("secrets, configmaps, deployments.apps", CBC ", {identity: {}}", version, NULL, NULL);
    }
}

static void test_kind_and_flag(void **state)
{
    (void)state;
    check("secrets", CBC, "v1.12.9", NULL,
          "the kind EncryptionConfiguration and the flag --encryption-provider-config are known "
          "only from Kubernetes 1.13 on" IS("v1.12.9"));
    check("secrets", CBC, "v1.13.0", NULL, NULL);
    check("secrets", CBC, "none", NULL,
          "kube-apiserver on 10.0.0.1: `none` is not a version of Kubernetes");
}

static void test_custom_resources(void **state)
{
    (void)state;
    check("secrets, widgets.example.com", CBC, "v1.20.2", NULL,
          "custom resources (widgets.example.com) are encrypted only from Kubernetes 1.26 on" IS(
              "v1.20.2"));
    check("widgets.example.com, volumesnapshots.snapshot.storage.k8s.io", CBC, "v1.25.16", NULL,
          "custom resources (widgets.example.com, volumesnapshots.snapshot.storage.k8s.io) are "
          "encrypted only from Kubernetes 1.26 on" IS("v1.25.16"));
    check("widgets.example.com", CBC, "v1.26.0", NULL, NULL);
    check("customresourcedefinitions.apiextensions.k8s.io", CBC, "v1.20.2", NULL,
          "definitions of APIs (customresourcedefinitions.apiextensions.k8s.io) are encrypted only "
          "from Kubernetes 1.26 on" IS("v1.20.2"));
    check("customresourcedefinitions.apiextensions.k8s.io", CBC, "v1.26.0", NULL, NULL);
}

static void test_wildcards(void **state)
{
    (void)state;
    check("'*.*'", CBC, "v1.26.9", NULL,
          "wildcards (*.*) are known only from Kubernetes 1.27 on" IS("v1.26.9"));
    check("'*.', '*.apps', '*.example.com'", CBC, "v1.20.15-rancher1-1", NULL,
          "wildcards (*., *.apps, *.example.com) are known only from Kubernetes 1.27 on" IS(
              "v1.20.15-rancher1-1"));
    check("'*.'", CBC, "1.27+", NULL, NULL);
    check("widgets.example.com, '*.*'", KMS2, "v1.20.2", NULL,
          "custom resources (widgets.example.com) are encrypted only from Kubernetes 1.26 on; "
          "wildcards (*.*) are known only from Kubernetes 1.27 on; "
          "kms v2 (cloud) is known only from Kubernetes 1.27 on" IS("v1.20.2"));
}

static void test_kms_v1(void **state)
{
    (void)state;
#define OFF                                                                                        \
    "kms v1 (vault) is off from Kubernetes 1.29 on, unless kube-apiserver has "                    \
    "--feature-gates=KMSv1=true"
    check("secrets", KMS1, "v1.20.2", NULL, NULL);
    check("secrets", KMS1, "v1.28.4", NULL, NULL);
    check("secrets", CBC ", " KMS1, "v1.29.0", NULL, OFF IS("v1.29.0"));
    check("secrets", KMS1, "v1.36.2", "KMSv1=false", OFF IS("v1.36.2"));
    check("secrets", KMS1, "v1.36.2", "XKMSv1=true,KMSv10=true", OFF IS("v1.36.2"));
    check("secrets", KMS1, "v1.36.2", "KMSv1=true,KMSv1=false", OFF IS("v1.36.2"));
    check("secrets", KMS1, "v1.36.2", "KMSv1=true", NULL);
    check("secrets", KMS1, "v1.36.2", "AllAlpha=true,KMSv1=T,AllBeta=false", NULL);
    check("secrets", KMS1, "v1.36.2", "kube:KMSv1=true", NULL);
}

static void test_kms_v2(void **state)
{
    (void)state;
    check("secrets", KMS2, "v1.24.0", NULL,
          "kms v2 (cloud) is known only from Kubernetes 1.27 on" IS("v1.24.0"));
    /* "Attempting to upgrade from old versions with the alpha feature enabled will result in data
     * loss", says Kubernetes of it. */
    check("secrets", KMS2, "v1.26.3", "KMSv2=true",
          "kms v2 (cloud) is fit for use only from Kubernetes 1.27 on: 1.25 and 1.26 have an alpha "
          "of it, and nothing later reads what that wrote" IS("v1.26.3"));
    check("secrets", KMS2, "v1.27.0", NULL, NULL);
    check("secrets", KMS2, "v1.28.0", "KMSv2=false",
          "kms v2 (cloud) is switched off by --feature-gates=KMSv2=false" IS("v1.28.0"));
    check("secrets", KMS2, "v1.28.0", "AllBeta=false",
          "kms v2 (cloud) is switched off by --feature-gates=AllBeta=false" IS("v1.28.0"));
    check("secrets", KMS2, "v1.28.0", "AllBeta=false,KMSv2=true", NULL);
    check("secrets", KMS2, "v1.36.2", NULL, NULL);
}

/* OpenShift 3 has Kubernetes 1.6 to 1.11, and gets the old kind by the old flag. */
static void test_the_old_format(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    unsigned char secret[32] = {1};
    char name[] = "a", kms[] = "cloud";
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = encryption_config_managed(
        PROVIDER_AESCBC, NULL, &(struct encryption_key){name, secret, sizeof(secret)});
    assert_int_equal(encryption_config_check_version(c, "v1.11.0+d4cacc0", "x", NULL, true, &err),
                     0);
    assert_int_equal(encryption_config_check_version(c, "v1.6.1", "x", NULL, true, &err), 0);
    struct encryption_provider provider = {
        .type = PROVIDER_KMS, .kms_name = kms, .kms_endpoint = kms};
    struct encryption_item item = {.providers = &provider, .provider_count = 1};
    struct encryption_config remote = {&item, 1};
    assert_int_equal(encryption_config_check_version(&remote, "v1.10.0", "x", NULL, true, &err), 0);
    assert_int_equal(encryption_config_check_version(&remote, "v1.9.1", "x", NULL, true, &err), -1);
    assert_non_null(strstr(err.message, "only from Kubernetes 1.10 on"));
}

static void test_nothing_asks_for_nothing(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config none = {0};
    assert_int_equal(encryption_config_check_version(NULL, "v1.6.0", "x", NULL, false, &err), 0);
    assert_int_equal(encryption_config_check_version(&none, "v1.6.0", "x", NULL, false, &err), 0);
    assert_false(encryption_config_names_wildcard(NULL));
    assert_false(encryption_config_names_custom_resource(NULL));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_old_format),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_custom_by_name),
        cmocka_unit_test(test_every_version_has_the_managed_form),
        cmocka_unit_test(test_kind_and_flag),
        cmocka_unit_test(test_custom_resources),
        cmocka_unit_test(test_wildcards),
        cmocka_unit_test(test_kms_v1),
        cmocka_unit_test(test_kms_v2),
        cmocka_unit_test(test_nothing_asks_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
