/* The driver for static pods, on a node that is a folder of this machine. */
#include "tests/unit/provisioner/node_folder.h"

#include <signal.h>

/* --- what it promises --- */

static void what_runs_is_what_the_manifest_says(void **state)
{
    (void)state;
    put_manifest(KUBEADM_MANIFEST, true, "0123456789");
    processes("kube-apiserver", with_flag);
    struct apiserver a CLEANUP(apiserver_free) = observe();
    assert_true(a.exists && a.running && !a.unsettled);
    assert_string_equal(a.config_path, PATH);
    assert_null(a.doubt);
}

static void a_manifest_that_is_not_acted_on_is_a_doubt(void **state)
{
    (void)state;
    char mark[11];
    kubeadm_mark("6d95d9bd 816 5379438", mark);
    const struct {
        bool manifest, process;
        const char *mark, *says;
    } table[] = {
        {true, false, NULL, "was started with none"},
        {false, true, NULL, "says nothing of encryption"},
        {true, true, mark, "asks for another kube-apiserver"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        put_manifest(KUBEADM_MANIFEST, table[i].manifest, table[i].mark);
        put_manifest(KUBEADM_KEPT, table[i].process, NULL);
        processes("kube-apiserver", table[i].process ? with_flag : plain);
        struct apiserver a CLEANUP(apiserver_free) = observe();
        assert_true(a.running);
        assert_non_null(a.doubt);
        assert_non_null(strstr(a.doubt, table[i].says));
        assert_int_equal(a.config_path != NULL, table[i].process);
        /* What a restart would bring. */
        assert_true(str_eq(a.doubt_next, table[i].manifest ? PATH : NULL));
        /* What is in force is nowhere else. */
        settle();
        assert_true(is_there(KUBEADM_KEPT));
    }
}

static void what_was_kept_goes_when_the_new_one_runs(void **state)
{
    (void)state;
    put_manifest(KUBEADM_MANIFEST, true, "0123456789");
    put_manifest(KUBEADM_KEPT, false, NULL);
    processes("kube-apiserver", with_flag);
    struct apiserver a CLEANUP(apiserver_free) = observe();
    assert_true(a.unsettled);
    assert_null(a.doubt);
    settle();
    assert_false(is_there(KUBEADM_KEPT));
    assert_true(is_there(KUBEADM_MANIFEST));
}

static void a_manifest_that_was_moved_away_is_an_apiserver(void **state)
{
    (void)state;
    static const char *const at[] = {KUBEADM_AWAY, KUBEADM_KEPT};
    struct apiserver none CLEANUP(apiserver_free) = observe();
    assert_false(none.exists);
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        put_manifest(at[i], true, NULL);
        struct apiserver a CLEANUP(apiserver_free) = observe();
        assert_true(a.exists);
        assert_false(a.running);
        assert_string_equal(a.config_path, PATH);
        settle();
        assert_true(is_there(at[i]));
        put(at[i], "no: manifest\n");
        struct apiserver b CLEANUP(apiserver_free) = observe();
        assert_true(b.exists);
        away(at[i]);
    }
}

static void a_cluster_that_was_there_before_shows(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    const char *sign = "";
    assert_int_equal(driver_kubeadm.find_cluster(node, &sign, &err), 0);
    assert_null(sign);
    char *etcd CLEANUP(cleanup_mem) = mem_printf("mkdir -p %s/var/lib/etcd/member", root);
    sh(etcd);
    assert_int_equal(driver_kubeadm.find_cluster(node, &sign, &err), 0);
    assert_string_equal(sign, "/var/lib/etcd/member");
    put("/etc/kubernetes/admin.conf", "x");
    assert_int_equal(driver_kubeadm.find_cluster(node, &sign, &err), 0);
    assert_string_equal(sign, "/etc/kubernetes/admin.conf");
}

static void without_its_manifest_nothing_is_started(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct apiserver_want want = {.config_path = PATH};
    put_manifest(KUBEADM_AWAY, true, NULL);
    assert_int_equal(driver_kubeadm.start(node, &want, "", &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(strstr(err.next, "ln " KUBEADM_AWAY " " KUBEADM_MANIFEST));
    assert_false(is_there(KUBEADM_MANIFEST));
}

/* The mounts are those of the manifest that was moved: what it names is looked for where it lies,
 * and no key is put where it may not belong, nor on a machine that was reset. */
static void a_manifest_that_was_moved_tells_its_mounts_and_gets_no_file(void **state)
{
    (void)state;
    static const char *const at[] = {KUBEADM_AWAY, KUBEADM_KEPT};
    struct node_text file = {PATH, "x", 1};
    bool claimed = false;
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        struct error err CLEANUP(error_clear) = {0};
        char *text CLEANUP(cleanup_mem) = manifest(true, NULL);
        struct buf elsewhere CLEANUP(buf_free) = {0};
        char *host CLEANUP(cleanup_mem) = NULL;
        replace("path: /etc/kubernetes/enc", "path: /etc/kubernetes/crypt", text, &elsewhere);
        put(at[i], buf_str(&elsewhere));
        assert_int_equal(driver_kubeadm.host_path(node, PATH, &host, &err), 0);
        assert_string_equal(host, "/etc/kubernetes/crypt/encryption.yaml");
        for (int k = 0; k < 4; k++) {
            error_clear(&err);
            assert_int_equal(k == 0   ? driver_kubeadm.put_file(node, &file, NULL, &err)
                             : k == 1 ? driver_kubeadm.claim_file(node, &file, &claimed, &err)
                             : k == 2 ? driver_kubeadm.remove_file(node, PATH, &err)
                                      : driver_kubeadm.check_place(node, PATH, &err),
                             -1);
            assert_int_equal(err.result, RESULT_REFUSED);
            assert_non_null(strstr(err.next, "ln " KUBEADM_AWAY " " KUBEADM_MANIFEST));
            assert_non_null(strstr(err.next, "where this machine was reset"));
        }
        assert_false(is_there(PATH));
        away(at[i]);
    }
}

static void hyperkube_is_an_apiserver_by_its_first_word(void **state)
{
    (void)state;
    static const char *const other[] = {"/hyperkube", "kubelet", "--v=2", NULL};
    static const char *const apiserver[] = {"/hyperkube", "apiserver",
                                            "--encryption-provider-config=" PATH, NULL};
    put_manifest(KUBEADM_MANIFEST, true, NULL);
    processes("hyperkube", other);
    struct apiserver a CLEANUP(apiserver_free) = observe();
    assert_false(a.running);
    processes("hyperkube", apiserver);
    struct apiserver b CLEANUP(apiserver_free) = observe();
    assert_true(b.running);
    assert_null(b.doubt);
    assert_string_equal(b.config_path, PATH);
}

/* Also one that was made long ago, elsewhere, and moved there just now. */
static void a_file_tells_when_it_came_there(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct stat is = {0};
    long long at = -1;
    char *file CLEANUP(cleanup_mem) = here(PATH);
    put_manifest(KUBEADM_MANIFEST, true, NULL);
    put(PATH, "x");
    char *old CLEANUP(cleanup_mem) = mem_printf("touch -d @1700000000 %s", file);
    sh(old);
    assert_int_equal(stat(file, &is), 0);
    assert_int_equal(driver_kubeadm.changed_at(node, PATH, &at, &err), 0);
    assert_int_equal(at, is.st_ctime);
    assert_int_not_equal(at, is.st_mtime);
}

static void a_file_that_the_next_apiserver_reads_is_not_removed(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    put(PATH, "x");
    put_manifest(KUBEADM_MANIFEST, true, NULL);
    processes("kube-apiserver", plain);
    assert_int_equal(driver_kubeadm.remove_file(node, PATH, &err), -1);
    assert_int_equal(err.result, RESULT_FAILED);
    assert_non_null(strstr(err.message, KUBEADM_MANIFEST " still names " PATH));
    assert_true(is_there(PATH));
    put_manifest(KUBEADM_MANIFEST, false, NULL);
    error_clear(&err);
    assert_int_equal(driver_kubeadm.remove_file(node, PATH, &err), 0);
    assert_false(is_there(PATH));
}

/* --- what is asked of sudo --- */

/* docs/sudoers/kubeadm, a command a line, without `without` (NULL: all). */
static void allow(const char *without)
{
    char *script CLEANUP(cleanup_mem) = mem_printf(
        "sed -n 's/^ *\\(\\/usr\\/bin\\/.*[^ ,\\]\\)[ ,\\]*$/\\1/p' docs/sudoers/kubeadm | "
        "sed 's/\\(\\[0-9a-f]\\)\\{8\\}/00000000/g' | grep -vxF '/usr/bin/%s' >%s/plain",
        without ? without : "no such command", root);
    sh(script);
    char *at CLEANUP(cleanup_mem) = here("/plain");
    struct buf text CLEANUP(buf_free) = {0};
    struct buf moved CLEANUP(buf_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(file_read(at, 1 << 20, false, &text, NULL, &err), 0);
    translate(buf_str(&text), false, &moved);
    put("/etc/kubernetes/allowed", buf_str(&moved));
}

static int check_place(struct error *err)
{
    return driver_kubeadm.check_place(node, PATH, err);
}

static void what_a_change_will_do_is_asked_of_sudo_first(void **state)
{
    (void)state;
#define MANIFEST_NEW "/etc/kubernetes/manifests/.kube-apiserver.yaml.encrypt-00000000"
#define KEPT_NEW "/etc/kubernetes/..encrypt-kube-apiserver.yaml.encrypt-00000000"
    static const char *const needed[] = {
        "tee " MANIFEST_NEW,
        "rm -f " MANIFEST_NEW,
        "cp -p " KUBEADM_MANIFEST " " MANIFEST_NEW,
        "test ! -L " KUBEADM_MANIFEST,
        "ls -A /etc/kubernetes/manifests",
        "mv -f " MANIFEST_NEW " " KUBEADM_MANIFEST,
        "touch " KEPT_NEW,
        "chmod 0600 " KEPT_NEW,
        "cp -p " KUBEADM_KEPT " " KEPT_NEW,
        "rm -f " KEPT_NEW,
        "rm -f " KUBEADM_KEPT,
        "cat " KUBEADM_AWAY,
    };
    struct error err CLEANUP(error_clear) = {0};
    struct kubeadm *k = node->driver_data;
    k->host.root = false;
    put_manifest(KUBEADM_MANIFEST, false, NULL);
    allow(NULL);
    if (check_place(&err) != 0)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        error_clear(&err);
        allow(needed[i]);
        if (check_place(&err) == 0)
            fail_msg("not asked: %s", needed[i]);
        assert_int_equal(err.result, RESULT_REFUSED);
        assert_non_null(strstr(err.message, needed[i]));
    }
}

/* --- what people run by hand --- */

/* `pgrep` gives what the test's script says. Gives the exit status. */
static bool in_vain; /* it said that the kubelet does nothing */

static int restart_by_hand(const char *pgrep)
{
    struct buf script CLEANUP(buf_free) = {0};
    struct buf out CLEANUP(buf_free) = {0};
    char *text CLEANUP(cleanup_mem) =
        mem_printf("n=0; cd %s; pgrep() { [ \"$1\" = -x ] || return 1; n=$((n+1)); %s; }; "
                   "sleep() { :; }; exec 2>&1; %s",
                   root, pgrep, driver_kubeadm.words.restart);
    translate(text, false, &script);
    int status = run(buf_str(&script), NULL, &out);
    in_vain = strstr(buf_str(&out), "does nothing") != NULL;
    return status;
}

static void by_hand_the_manifest_is_away_until_the_process_is_gone(void **state)
{
    (void)state;
    put_manifest(KUBEADM_MANIFEST, true, NULL);
    /* Runs as long as the manifest is there, and for two more looks. */
    assert_int_equal(restart_by_hand("[ -e etc/kubernetes/manifests/kube-apiserver.yaml ] || "
                                     "[ $n -lt 3 ]"),
                     0);
    assert_true(is_there(KUBEADM_MANIFEST));
    assert_false(is_there(KUBEADM_AWAY));
    /* One that was left away by an earlier try. */
    away(KUBEADM_MANIFEST);
    put_manifest(KUBEADM_AWAY, true, NULL);
    assert_int_equal(restart_by_hand("[ -e etc/kubernetes/manifests/kube-apiserver.yaml ]"), 0);
    assert_true(is_there(KUBEADM_MANIFEST));
    assert_false(is_there(KUBEADM_AWAY));
}

static void by_hand_the_manifest_comes_back_whatever_happens(void **state)
{
    (void)state;
    static const char *const table[] = {
        "true",                                                    /* it never ends */
        "[ -e etc/kubernetes/kube-apiserver.yaml ]",               /* … and never comes */
        "if [ $n = 2 ]; then kill -INT $(sh -c 'echo $PPID'); fi", /* ^C */
        "if [ $n = 2 ]; then kill -HUP $(sh -c 'echo $PPID'); fi",
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        put_manifest(KUBEADM_MANIFEST, true, NULL);
        if (restart_by_hand(table[i]) == 0)
            fail_msg("%s", table[i]);
        assert_int_equal(in_vain, i < 2);
        assert_true(is_there(KUBEADM_MANIFEST));
        assert_false(is_there(KUBEADM_AWAY));
    }
}

static void by_hand_what_was_put_meanwhile_stays(void **state)
{
    (void)state;
    char *at CLEANUP(cleanup_mem) = here(KUBEADM_MANIFEST);
    struct buf is CLEANUP(buf_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    put_manifest(KUBEADM_MANIFEST, true, NULL);
    assert_int_not_equal(
        restart_by_hand("[ $n -gt 1 ] || echo other >etc/kubernetes/manifests/kube-apiserver.yaml; "
                        "[ $n -lt 3 ]"),
        0);
    assert_int_equal(file_read(at, 1 << 20, false, &is, NULL, &err), 0);
    assert_string_equal(buf_str(&is), "other\n");
    assert_true(is_there(KUBEADM_AWAY));
    /* Which is right is not for a script to say. */
    assert_int_not_equal(restart_by_hand("false"), 0);
    assert_true(is_there(KUBEADM_AWAY));
}

#define POD_A "0123456789abcdef0123456789abcdef"
#define POD_B "fedcba9876543210fedcba9876543210"

enum { LOOKS_UNTIL_REPLACED = 12 };
static int looks_since_written;

/* The container crashes and comes up again as soon as the manifest is written; the kubelet acts on
 * that later. */
static void acts_late(void)
{
    char *was CLEANUP(cleanup_mem) = manifest(true, NULL);
    char *at CLEANUP(cleanup_mem) = here(KUBEADM_MANIFEST);
    struct buf is CLEANUP(buf_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(file_read(at, 1 << 20, false, &is, NULL, &err), 0);
    if (str_eq(was, buf_str(&is)))
        return;
    if (looks_since_written == 0)
        process_of("600", POD_A);
    if (looks_since_written == LOOKS_UNTIL_REPLACED)
        process_of("700", POD_B);
    looks_since_written++;
}

static void not_begun(const char *why)
{
    struct error err CLEANUP(error_clear) = {0};
    struct apiserver_want want = {.config_path = PATH};
    assert_int_equal(driver_kubeadm.check_start(node, &want, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    if (!strstr(err.message, why))
        fail_msg("%s", err.message);
    assert_non_null(err.next);
}

static void what_the_kubelet_would_run_beside_it_is_refused(void **state)
{
    (void)state;
    put_manifest(KUBEADM_MANIFEST, false, NULL);
    processes("kube-apiserver", plain);
    put(KUBEADM_MANIFEST ".bak", "");
    not_begun("kube-apiserver.yaml.bak lies beside");
    away(KUBEADM_MANIFEST ".bak");
    put(KUBEADM_MANIFESTS "/kube-apiserver-old.yaml", "");
    not_begun("kube-apiserver-old.yaml lies beside");
}

static void an_apiserver_that_is_not_root_is_refused(void **state)
{
    (void)state;
    char *text CLEANUP(cleanup_mem) = manifest(false, NULL);
    struct buf other CLEANUP(buf_free) = {0};
    replace("spec:\n", "spec:\n  securityContext:\n    runAsUser: 4242\n", text, &other);
    put(KUBEADM_MANIFEST, buf_str(&other));
    processes("kube-apiserver", plain);
    not_begun("runAsUser: 4242");
}

static void a_container_that_came_up_again_is_not_the_new_one(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct apiserver_want want = {.config_path = PATH};
    put_manifest(KUBEADM_MANIFEST, true, NULL);
    process_of("500", POD_A);
    struct apiserver a CLEANUP(apiserver_free) = observe();
    looks_since_written = 0;
    kubelet = acts_late;
    int rc = driver_kubeadm.start(node, &want, a.process, &err);
    kubelet = NULL;
    if (rc != 0)
        fail_msg("%s", err.message);
    assert_true(looks_since_written > LOOKS_UNTIL_REPLACED);
    struct apiserver b CLEANUP(apiserver_free) = observe();
    assert_string_equal(b.process, "6d95d9bd 816 700");
    assert_null(b.doubt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ON_A_NODE(f) cmocka_unit_test_setup_teardown(f, make_node, remove_node)
        ON_A_NODE(what_runs_is_what_the_manifest_says),
        ON_A_NODE(a_manifest_that_is_not_acted_on_is_a_doubt),
        ON_A_NODE(what_was_kept_goes_when_the_new_one_runs),
        ON_A_NODE(a_manifest_that_was_moved_away_is_an_apiserver),
        ON_A_NODE(a_cluster_that_was_there_before_shows),
        ON_A_NODE(without_its_manifest_nothing_is_started),
        ON_A_NODE(a_manifest_that_was_moved_tells_its_mounts_and_gets_no_file),
        ON_A_NODE(hyperkube_is_an_apiserver_by_its_first_word),
        ON_A_NODE(a_file_tells_when_it_came_there),
        ON_A_NODE(a_file_that_the_next_apiserver_reads_is_not_removed),
        ON_A_NODE(what_a_change_will_do_is_asked_of_sudo_first),
        ON_A_NODE(by_hand_the_manifest_is_away_until_the_process_is_gone),
        ON_A_NODE(by_hand_the_manifest_comes_back_whatever_happens),
        ON_A_NODE(by_hand_what_was_put_meanwhile_stays),
        ON_A_NODE(a_container_that_came_up_again_is_not_the_new_one),
        ON_A_NODE(what_the_kubelet_would_run_beside_it_is_refused),
        ON_A_NODE(an_apiserver_that_is_not_root_is_refused),
    };
    /* Ignored where the tests are started in the background, and a shell leaves that as it is. */
    if (signal(SIGINT, SIG_DFL) == SIG_ERR || signal(SIGHUP, SIG_DFL) == SIG_ERR)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
