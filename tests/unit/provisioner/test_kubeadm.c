/* The logs of a static pod: which was written last, what it says, how often its container was
 * started. */
#include "provisioner/drivers/kubeadm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define POD(uid) "/var/log/pods/kube-system_kube-apiserver-node1_" uid "/kube-apiserver/"
#define LINE(text, time) "{\"log\":\"" text "\\n\",\"stream\":\"stderr\",\"time\":\"" time "\"}\n"

static void assert_lines(const char *text, size_t lines, const char *want)
{
    struct buf out CLEANUP(buf_free) = {0};
    kubeadm_last_lines(text, lines, &out);
    assert_string_equal(buf_str(&out), want);
}

static void the_log_that_was_written_last_counts(void **state)
{
    (void)state;
    /* Docker's, of two pods: find(1) lists them in any order. */
    assert_lines("==> " POD("b") "1.log <==\n" LINE("second", "2026-11-22T15:00:05.2Z")
                     LINE("Error: \\\"x\\\"", "2026-11-22T15:00:06Z") "\n==> " POD(
                         "a") "0.log <==\n" LINE("first", "2026-11-22T15:00:01.999999999Z"),
                 8, "second\nError: \"x\"\n");
    /* The CRI's; one file has no heading. */
    assert_lines("2026-11-22T15:00:01.5+01:00 stderr F one two\n"
                 "2026-11-22T15:00:02.5+01:00 stdout P three\n",
                 1, "three\n");
    assert_lines("tail: cannot open it\n\n", 8, "");
    assert_lines("", 8, "");
}

static void what_is_no_line_of_a_log_is_left_out(void **state)
{
    (void)state;
    assert_lines("{\"log\":\"a\\n\"}\n{\"log\n" LINE("b", "2026-11-22T15:00:05Z") "x y z\n", 8,
                 "b\n");
}

static void restarts_are_counted_by_the_numbers_of_logs(void **state)
{
    (void)state;
    assert_int_equal(kubeadm_restarts(""), 0);
    assert_int_equal(kubeadm_restarts("/var/log/pods/kube-system_kube-apiserver-*/kube-apiserver/"
                                      "*.log\n"),
                     0);
    assert_int_equal(kubeadm_restarts(POD("a") "0.log\n"), 0);
    assert_int_equal(kubeadm_restarts(POD("a") "2.log\n" POD("a") "10.log\n" POD("b") "3.log\n"),
                     13);
}

static void a_process_without_its_name_is_its_flags(void **state)
{
    (void)state;
    char *args[] = {(char *)"/hyperkube", (char *)"apiserver", (char *)"--a=b",
                    (char *)"-v",         (char *)"2",         NULL};
    struct host_process p = {.args = args};
    char **flags = kubeadm_flags(&p);
    assert_string_equal(flags[0], "--a=b");
    assert_string_equal(flags[2], "2");
    assert_null(flags[3]);
    for (size_t i = 0; flags[i]; i++)
        mem_free(flags[i]);
    mem_free(flags);
}

static void the_pod_is_told_by_the_cgroup(void **state)
{
    (void)state;
#define UID "6f5a0123456789abcdef0123456789ab"
    static const struct {
        const char *text, *uid;
    } table[] = {
        {"11:memory:/kubepods/burstable/pod" UID "/4b5c\n10:cpu:/\n", UID},
        {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID
         ".slice/cri-containerd-4b5c.scope\n",
         UID},
        {"0::/kubepods.slice/kubepods-pod1b2c3d4e_0000_1111_2222_333344445555.slice/x\n",
         "1b2c3d4e-0000-1111-2222-333344445555"},
        {"0::/docker/4b5c\n", NULL},
        {"0::/kubepods/pods/podx/pod12\n", NULL},
        {"pod" UID, NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *uid CLEANUP(cleanup_mem) = kubeadm_pod_uid(table[i].text);
        if (!str_eq(uid, table[i].uid))
            fail_msg("%s: %s", table[i].text, uid ? uid : "none");
    }
}

/* Before the first manifest is there, the socket of a KMS plugin lies where cluster.yml's binds
 * say: kubeadm makes the volumes of them. */
static void without_a_manifest_the_binds_tell_where_a_socket_lies(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct node_socket at CLEANUP(node_socket_free) = {0};
    const struct node n = {.name = "10.0.0.1"};
    char *const binds[] = {(char[]){"/var/kms:/run/kms:ro"}, NULL};
    if (kubeadm_place_socket(&n, NULL, "/run/kms/kms.sock", binds, &at, &err) < 0)
        fail_msg("%s", err.message);
    assert_string_equal(at.host_path, "/var/kms/kms.sock");
    assert_string_equal(at.mount_host, "/var/kms");
    assert_string_equal(at.mount_container, "/run/kms");
    assert_false(at.alone);
    struct node_socket none CLEANUP(node_socket_free) = {0};
    assert_int_equal(kubeadm_place_socket(&n, NULL, "/run/kms/kms.sock", NULL, &none, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.next, "- \"/run/kms:/run/kms\""));
}

/* The kubelet runs a backup that lies there. */
static void a_second_manifest_is_seen_by_its_name(void **state)
{
    (void)state;
    static const char *const doubles[] = {"kube-apiserver.yaml.bak", "kube-apiserver.yaml~",
                                          "kube-apiserver.bak",      "kube-apiserver.yml",
                                          "kube-apiserver-old.yaml", "kube-apiserver_1.yaml",
                                          "kube-apiserver"};
    static const char *const others[] = {
        "kube-apiserver.yaml",          ".kube-apiserver.yaml.swp",     "etcd.yaml",
        "kube-apiserver-haproxy.yaml",  "kube-controller-manager.yaml", "kube-apiserver-backup/",
        "kube-apiserver-threshold.yaml"};
    for (size_t i = 0; i < ARRAY_LEN(doubles); i++)
        if (!kubeadm_is_double(doubles[i], strlen(doubles[i])))
            fail_msg("%s", doubles[i]);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (kubeadm_is_double(others[i], strlen(others[i])))
            fail_msg("%s", others[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_that_was_written_last_counts),
        cmocka_unit_test(what_is_no_line_of_a_log_is_left_out),
        cmocka_unit_test(restarts_are_counted_by_the_numbers_of_logs),
        cmocka_unit_test(a_process_without_its_name_is_its_flags),
        cmocka_unit_test(the_pod_is_told_by_the_cgroup),
        cmocka_unit_test(a_second_manifest_is_seen_by_its_name),
        cmocka_unit_test(without_a_manifest_the_binds_tell_where_a_socket_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
