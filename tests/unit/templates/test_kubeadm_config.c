/* kubeadm's ClusterConfiguration: the flag and its volumes come and go, all else stays. */
#include "templates/kubeadm_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATH "/etc/kubernetes/enc/encryption.yaml"
#define HEAD(version) "apiVersion: kubeadm.k8s.io/" version "\n"
#define TAIL                                                                                       \
    "certificatesDir: /etc/kubernetes/pki\n"                                                       \
    "controllerManager: {}\n"                                                                      \
    "kind: ClusterConfiguration # not ours\n"                                                      \
    "kubernetesVersion: v1.20.2\n"
#define VOLUME(in)                                                                                 \
    in "- hostPath: /etc/kubernetes/enc\n" in "  mountPath: /etc/kubernetes/enc\n" in              \
       "  name: encrypt-io-config\n" in "  pathType: DirectoryOrCreate\n" in "  readOnly: true\n"

static const struct static_pod_bind folder = {"/etc/kubernetes/enc", "/etc/kubernetes/enc", true};
static const struct kubeadm_config_want none = {0};
static const struct kubeadm_config_want on = {
    .config_path = PATH, .volumes = &folder, .count = 1, .folder = true};

static void edit(const char *from, const struct kubeadm_config_want *want, struct buf *to)
{
    struct error err CLEANUP(error_clear) = {0};
    buf_reset(to);
    if (kubeadm_config_edit(from, strlen(from), "cm", want, to, &err) != 0)
        fail_msg("%s\n%s", err.message, from);
}

static void it_comes_and_goes(void **state)
{
    (void)state;
    static const struct {
        const char *was, *is;
        bool back; /* byte for byte */
    } table[] = {
        /* kubeadm 1.20 as it comes */
        {"apiServer:\n  extraArgs:\n    authorization-mode: Node,RBAC\n"
         "  timeoutForControlPlane: 4m0s\n" HEAD("v1beta2") TAIL,
         "apiServer:\n  extraArgs:\n    authorization-mode: Node,RBAC\n"
         "    encryption-provider-config: " PATH "\n"
         "  timeoutForControlPlane: 4m0s\n  extraVolumes:\n" VOLUME("  ") HEAD("v1beta2") TAIL,
         true},
        /* with a volume of its own, and an indented list */
        {"apiServer:\n  extraVolumes:\n    - name: audit\n      hostPath: /a\n"
         "      mountPath: /a\n" HEAD("v1beta3") TAIL,
         "apiServer:\n  extraVolumes:\n    - name: audit\n      hostPath: /a\n"
         "      mountPath: /a\n" VOLUME(
             "    ") "  extraArgs:\n    encryption-provider-config: " PATH "\n" HEAD("v1beta3")
             TAIL,
         true},
        /* 1.31, with nothing */
        {"apiServer: {}\n" HEAD("v1beta4") TAIL,
         HEAD("v1beta4") TAIL "apiServer:\n  extraArgs:\n  - name: encryption-provider-config\n"
                              "    value: " PATH "\n  extraVolumes:\n" VOLUME("  "),
         false},
        {"apiServer:\n  extraArgs:\n  - name: v\n    value: \"2\"\n" HEAD("v1beta4") TAIL,
         "apiServer:\n  extraArgs:\n  - name: v\n    value: \"2\"\n"
         "  - name: encryption-provider-config\n    value: " PATH "\n  extraVolumes:\n" VOLUME("  ")
             HEAD("v1beta4") TAIL,
         true},
        /* without apiServer; with an empty extraArgs */
        {HEAD("v1beta2") TAIL,
         HEAD("v1beta2") TAIL "apiServer:\n  extraArgs:\n    encryption-provider-config: " PATH
                              "\n  extraVolumes:\n" VOLUME("  "),
         true},
        {"apiServer:\n  certSANs: [a, b]\n  extraArgs: {}\n" HEAD("v1beta1") TAIL,
         "apiServer:\n  certSANs: [a, b]\n  extraArgs:\n    encryption-provider-config: " PATH
         "\n  extraVolumes:\n" VOLUME("  ") HEAD("v1beta1") TAIL,
         false},
        /* 1.12 */
        {"apiServerExtraArgs:\n  v: \"2\"\n" HEAD("v1alpha3") TAIL,
         "apiServerExtraArgs:\n  v: \"2\"\n  encryption-provider-config: " PATH
         "\n" HEAD("v1alpha3") TAIL "apiServerExtraVolumes:\n- hostPath: /etc/kubernetes/enc\n"
                                    "  mountPath: /etc/kubernetes/enc\n  name: encrypt-io-config\n"
                                    "  pathType: DirectoryOrCreate\n",
         true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct buf is CLEANUP(buf_free) = {0}, again CLEANUP(buf_free) = {0};
        edit(table[i].was, &none, &again);
        assert_string_equal(buf_str(&again), table[i].was);
        edit(table[i].was, &on, &is);
        assert_string_equal(buf_str(&is), table[i].is);
        edit(table[i].is, &on, &again);
        assert_string_equal(buf_str(&again), table[i].is);
        edit(table[i].is, &none, &again);
        if (table[i].back)
            assert_string_equal(buf_str(&again), table[i].was);
        assert_null(strstr(buf_str(&again), "encrypt"));
        assert_non_null(strstr(buf_str(&again), TAIL));
    }
}

static void an_own_flag_and_volume_are_kept(void **state)
{
    (void)state;
    static const char own[] =
        "apiServer:\n  extraArgs:\n    encryption-provider-config: /srv/enc/own.yaml\n"
        "  extraVolumes:\n  - name: own\n    hostPath: /srv/enc\n    mountPath: /srv/enc\n" HEAD(
            "v1beta3") TAIL;
    struct kubeadm_config_want want = {.config_path = "/srv/enc/own.yaml"};
    struct buf is CLEANUP(buf_free) = {0};
    edit(own, &want, &is);
    assert_string_equal(buf_str(&is), own);
    edit(own, &none, &is);
    assert_null(strstr(buf_str(&is), "own.yaml"));
    assert_non_null(strstr(buf_str(&is), "  - name: own\n    hostPath: /srv/enc\n"));
    /* Another path stands in its place. */
    edit(own, &on, &is);
    assert_null(strstr(buf_str(&is), "own.yaml"));
    assert_non_null(strstr(buf_str(&is), "encryption-provider-config: " PATH "\n"));
}

#define OLD_TAIL                                                                                   \
    "certificatesDir: /etc/kubernetes/pki\n"                                                       \
    "kubernetesVersion: v1.11.3\n"
#define OLD_VOLUME                                                                                 \
    "- hostPath: /etc/kubernetes/enc\n  mountPath: /etc/kubernetes/enc\n"                          \
    "  name: encrypt-io-config\n  pathType: DirectoryOrCreate\n"

/* Both at the top, no readOnly (it is `writable` there, which is false). */
static void what_kubeadm_had_before_1_12_is_edited(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "apiVersion: kubeadm.k8s.io/v1alpha2\nkind: MasterConfiguration\n",
        "apiVersion: kubeadm.k8s.io/v1alpha3\nkind: ClusterConfiguration\n",
        "api:\n  advertiseAddress: 10.0.0.1\n", /* 1.10 and before: neither */
    };
    struct kubeadm_config_want want = on;
    want.old_flag = true;
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        char *was CLEANUP(cleanup_mem) = mem_printf(
            "%sapiServerExtraArgs:\n  authorization-mode: Node,RBAC\n" OLD_TAIL, heads[i]);
        char *wanted CLEANUP(cleanup_mem) =
            mem_printf("%sapiServerExtraArgs:\n  authorization-mode: Node,RBAC\n"
                       "  experimental-encryption-provider-config: " PATH "\n" OLD_TAIL
                       "apiServerExtraVolumes:\n" OLD_VOLUME,
                       heads[i]);
        struct buf is CLEANUP(buf_free) = {0};
        struct buf again CLEANUP(buf_free) = {0};
        edit(was, &want, &is);
        assert_string_equal(buf_str(&is), wanted);
        edit(wanted, &want, &again);
        assert_string_equal(buf_str(&again), wanted);
        edit(wanted, &none, &again);
        assert_string_equal(buf_str(&again), was);
    }
}

/* An apiserver that has it alone does not start. */
static void the_flag_of_reload_goes_with_the_other(void **state)
{
    (void)state;
    static const char *const table[] = {
        "apiServer:\n  extraArgs:\n    v: \"2\"\n"
        "    encryption-provider-config-automatic-reload: \"true\"\n" HEAD("v1beta3") TAIL,
        "apiServer:\n  extraArgs:\n  - name: v\n    value: \"2\"\n"
        "  - name: encryption-provider-config-automatic-reload\n"
        "    value: \"true\"\n" HEAD("v1beta4") TAIL,
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct buf is CLEANUP(buf_free) = {0};
        edit(table[i], &on, &is);
        assert_non_null(strstr(buf_str(&is), "automatic-reload"));
        assert_non_null(strstr(buf_str(&is), PATH));
        char *with CLEANUP(cleanup_mem) = mem_strdup(buf_str(&is));
        edit(with, &none, &is);
        assert_null(strstr(buf_str(&is), "automatic-reload"));
        assert_null(strstr(buf_str(&is), PATH));
        assert_non_null(strstr(buf_str(&is), "\"2\""));
        /* Also where nothing else of ours is there any more. */
        edit(table[i], &none, &is);
        assert_null(strstr(buf_str(&is), "automatic-reload"));
    }
}

static void a_volume_is_known_by_its_place(void **state)
{
    (void)state;
    static const char own[] =
        "apiServer:\n  extraArgs:\n    encryption-provider-config: " PATH "\n"
        "  extraVolumes:\n  - name: own\n    hostPath: /etc/kubernetes//enc/\n"
        "    mountPath: /etc/kubernetes/enc/\n" HEAD("v1beta3") TAIL;
    struct buf is CLEANUP(buf_free) = {0};
    edit(own, &on, &is);
    assert_string_equal(buf_str(&is), own);
    /* Two mounts in one place are a manifest that no kubelet runs. */
    static const char other[] =
        "apiServer:\n  extraVolumes:\n  - name: own\n    hostPath: /srv/enc\n"
        "    mountPath: /etc/kubernetes/enc\n" HEAD("v1beta3") TAIL;
    struct error err CLEANUP(error_clear) = {0};
    buf_reset(&is);
    assert_int_equal(kubeadm_config_edit(other, strlen(other), "cm", &on, &is, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.message, "/srv/enc"));
}

static void what_cant_be_edited_is_refused(void **state)
{
    (void)state;
    static const char *const table[] = {
        "kind: ClusterStatus\n",
        "apiVersion: kubeadm.k8s.io/v1alpha1\nkubernetesVersion: v1.10.0\n",
        "x: y\n",
        "kind: ClusterConfiguration\napiServer: none\n",
        "{kind: ClusterConfiguration, apiServer: {extraArgs: {v: \"2\"}}}\n",
        "kind: ClusterConfiguration\napiServer: [\n",
        "kind: ClusterConfiguration\nx: &x {v: \"2\"}\napiServer:\n  extraArgs: *x\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct buf out CLEANUP(buf_free) = {0};
        assert_int_equal(kubeadm_config_edit(table[i], strlen(table[i]), "cm", &on, &out, &err),
                         -1);
        assert_int_equal(err.result, RESULT_REFUSED);
        assert_int_equal(out.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_and_goes),
        cmocka_unit_test(an_own_flag_and_volume_are_kept),
        cmocka_unit_test(what_kubeadm_had_before_1_12_is_edited),
        cmocka_unit_test(the_flag_of_reload_goes_with_the_other),
        cmocka_unit_test(a_volume_is_known_by_its_place),
        cmocka_unit_test(what_cant_be_edited_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
