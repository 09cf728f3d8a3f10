/* Which kind a node is of, by what is found on it. */
#include "provisioner/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void a_kind_is_known_by_its_name(void **state)
{
    (void)state;
    static const char *const kinds[] = {"rke", "kubeadm", "systemd", "openshift3", "rke2", "k3s"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const struct driver *d = kind_driver(kinds[i]);
        assert_non_null(d);
        assert_string_equal(d->kind, kinds[i]);
    }
    assert_null(kind_driver("gke"));
    assert_null(kind_driver(""));
    assert_null(kind_driver("RKE"));
}

static void one_sign_tells_the_kind(void **state)
{
    (void)state;
    static const char *const kinds[] = {"rke", "kubeadm", "systemd", "openshift3", "rke2", "k3s"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct error err CLEANUP(error_clear) = {0};
        const struct driver *d = NULL;
        char *signs CLEANUP(cleanup_mem) = mem_printf("%s\n", kinds[i]);
        assert_int_equal(kind_of_signs("n1", signs, &d, &err), 0);
        assert_ptr_equal(d, kind_driver(kinds[i]));
    }
}

static void no_sign_is_no_error(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    const struct driver *d = kind_driver("rke");
    assert_int_equal(kind_of_signs("n1", "", &d, &err), 0);
    assert_null(d);
}

/* What is refused, and the words that say why and what to do. */
static void refused(const char *signs, const char *why, const char *next)
{
    struct error err CLEANUP(error_clear) = {0};
    const struct driver *d = NULL;
    assert_int_equal(kind_of_signs("n1", signs, &d, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.message, "node n1"));
    assert_non_null(strstr(err.message, why));
    assert_non_null(strstr(err.next, next));
}

static void signs_of_several_kinds_are_refused(void **state)
{
    (void)state;
    refused("rke\nsystemd\n", "several kinds of cluster: rke, systemd", "cluster_kind");
    refused("kubeadm\nopenshift3\nk3s\n", "kubeadm, openshift3, k3s", "cluster_kind");
}

static void a_kind_of_another_build_is_refused(void **state)
{
    (void)state;
    refused("gke\n", "kind gke, which this build does not manage", "cluster_kind");
    refused("rke\ngke\n", "gke", "cluster_kind");
}

static void a_folder_that_the_user_may_not_look_into_is_said(void **state)
{
    (void)state;
    refused("unseen kubeadm /etc/kubernetes/manifests\n",
            "may not look into /etc/kubernetes/manifests", "docs/sudoers");
    refused("unseen kubeadm /etc/kubernetes/manifests\nunseen openshift3 /etc/origin/master\n",
            "/etc/kubernetes/manifests, /etc/origin/master", "cluster_kind");
}

static void a_sign_counts_more_than_a_folder_unseen(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    const struct driver *d = NULL;
    const char *signs = "unseen kubeadm /etc/kubernetes/manifests\nrke\n";
    assert_int_equal(kind_of_signs("n1", signs, &d, &err), 0);
    assert_ptr_equal(d, &driver_rke);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kind_is_known_by_its_name),
        cmocka_unit_test(one_sign_tells_the_kind),
        cmocka_unit_test(no_sign_is_no_error),
        cmocka_unit_test(signs_of_several_kinds_are_refused),
        cmocka_unit_test(a_kind_of_another_build_is_refused),
        cmocka_unit_test(a_folder_that_the_user_may_not_look_into_is_said),
        cmocka_unit_test(a_sign_counts_more_than_a_folder_unseen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
