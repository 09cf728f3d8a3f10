/*
 * The driver for static pods on a node that is a folder of this machine: its scripts run here, with
 * the node's paths below that folder. There is no kubelet.
 */
#include "provisioner/drivers/kubeadm.h"
#include "provisioner/host/host.h"

#include "base/file.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH "/etc/kubernetes/enc/encryption.yaml"

static char root[64]; /* the node's / */

/* --- in the place of host.c --- */

static const char *const places[] = {"/etc/kubernetes", "/var/log/pods", "/var/lib/etcd", "/proc/"};

static void replace(const char *from, const char *to, const char *text, struct buf *out)
{
    for (const char *at; (at = strstr(text, from)); text = at + strlen(from)) {
        buf_add(out, text, (size_t)(at - text));
        buf_adds(out, to);
    }
    buf_adds(out, text);
}

/* A text with the node's paths becomes one with those of this machine, or (`back`) the other way
 * round. */
static void translate(const char *text, bool back, struct buf *out)
{
    buf_adds(out, text);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct buf was = *out;
        char *here CLEANUP(cleanup_mem) = mem_printf("%s%s", root, places[i]);
        *out = (struct buf){0};
        replace(back ? here : places[i], back ? places[i] : here, buf_str(&was), out);
        buf_free(&was);
    }
}

static void take(int fd, struct buf *out)
{
    char text[4096];
    ssize_t n = 0;
    while ((n = read(fd, text, sizeof(text))) > 0)
        buf_add(out, text, (size_t)n);
    close(fd);
}

/* Gives the exit status. */
static int run(const char *script, const struct buf *in, struct buf *out)
{
    int to[2], from[2], status = 0;
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[1]);
        close(from[0]);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    if (in)
        assert_int_equal(write(to[1], buf_str(in), in->len), in->len);
    close(to[1]);
    take(from[0], out);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* What happens on the node before each look at it; NULL: nothing. */
static void (*kubelet)(void);

int host_run(const struct host *h, const char *script, const char *const *args,
             const struct buf *in, struct ssh_answer *out, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct buf here CLEANUP(buf_free) = {0};
    struct buf said CLEANUP(buf_free) = {0};
    (void)h;
    (void)err;
    if (kubelet)
        kubelet();
    /* (Folders of this test are root's only where root runs it.) */
    buf_adds(&text, "set -f; umask 077; as_root() { case \"$*\" in 'ls -ldn '*/.) "
                    "echo 'drwxr-xr-x 2 0 0' ;; *) \"$@\" ;; esac; }\n"
                    "sudo() { shift 3; echo \"$*\" >>/etc/kubernetes/asked; "
                    "grep -qxF \"/usr/bin/$*\" /etc/kubernetes/allowed; }\nset --");
    for (; args && *args; args++)
        buf_printf(&text, " '%s'", *args);
    buf_printf(&text, "\n%s", script);
    translate(buf_str(&text), false, &here);
    out->status = run(buf_str(&here), in, &said);
    translate(buf_str(&said), true, &out->out);
    return 0;
}

int host_explain(const struct host *h, const char *what, const struct ssh_answer *a,
                 struct error *err)
{
    (void)h;
    return error_set(err, RESULT_FAILED, "%s: %d", what, a->status);
}

int host_do(const struct host *h, const char *what, const char *script, const char *const *args,
            const struct buf *in, struct buf *out, struct error *err)
{
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    if (host_run(h, script, args, in, &a, err) < 0)
        return -1;
    if (a.status)
        return host_explain(h, what, &a, err);
    if (out)
        buf_add(out, buf_str(&a.out), a.out.len);
    return 0;
}

int host_next_sudo(const struct host *h, struct error *err)
{
    (void)h;
    (void)err;
    return -1;
}

int host_open(const struct node *n, struct host *h, struct error *err)
{
    (void)err;
    *h = (struct host){.name = n->name, .root = true};
    return 0;
}

/* --- the node --- */

static char *here(const char *path)
{
    return mem_printf("%s%s", root, path);
}

static void put(const char *path, const char *text)
{
    char *at CLEANUP(cleanup_mem) = here(path);
    FILE *f = fopen(at, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static bool is_there(const char *path)
{
    char *at CLEANUP(cleanup_mem) = here(path);
    return access(at, F_OK) == 0;
}

static void away(const char *path)
{
    char *at CLEANUP(cleanup_mem) = here(path);
    assert_true(unlink(at) == 0 || errno == ENOENT);
}

static void sh(const char *script)
{
    struct buf out CLEANUP(buf_free) = {0};
    if (run(script, NULL, &out) != 0)
        fail_msg("%s", script);
}

/* kube-apiserver's process, or of another program; NULL: none runs. */
static void processes(const char *comm, const char *const *args)
{
    char *gone CLEANUP(cleanup_mem) = mem_printf("rm -rf %s/proc/816", root);
    sh(gone);
    if (!comm)
        return;
    char *folder CLEANUP(cleanup_mem) = here("/proc/816");
    assert_int_equal(mkdir(folder, 0755), 0);
    char *name CLEANUP(cleanup_mem) = mem_printf("%s\n", comm);
    char *stat CLEANUP(cleanup_mem) = mem_printf(
        "816 (%s) S 1 775 775 0 -1 4194304 2118 0 12 0 3 5 0 0 20 0 9 0 5379438 766959616\n", comm);
    put("/proc/816/comm", name);
    put("/proc/816/stat", stat);
    char *path CLEANUP(cleanup_mem) = here("/proc/816/cmdline");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (; *args; args++)
        assert_int_equal(fwrite(*args, 1, strlen(*args) + 1, f), strlen(*args) + 1);
    assert_int_equal(fclose(f), 0);
}

static const char *const plain[] = {"kube-apiserver", "--etcd-servers=https://127.0.0.1:2379",
                                    NULL};
static const char *const with_flag[] = {"kube-apiserver", "--etcd-servers=https://127.0.0.1:2379",
                                        "--encryption-provider-config=" PATH, NULL};

/* As it is with the flag, or without. `restart` may be NULL. */
/* The same of the pod with that uid, and another start. */
static void process_of(const char *start, const char *pod)
{
    processes("kube-apiserver", with_flag);
    char *stat CLEANUP(cleanup_mem) =
        mem_printf("816 (kube-apiserver) S 1 775 775 0 -1 4194304 2118 "
                   "0 12 0 3 5 0 0 20 0 9 0 %s 766959616\n",
                   start);
    char *cgroup CLEANUP(cleanup_mem) =
        mem_printf("0::/kubepods.slice/kubepods-burstable-pod%s.slice/cri-x.scope\n", pod);
    put("/proc/816/stat", stat);
    put("/proc/816/cgroup", cgroup);
}

static char *manifest(bool flag, const char *restart)
{
    return mem_printf("apiVersion: v1\nkind: Pod\nmetadata:\n  name: kube-apiserver\n%s%s%s"
                      "spec:\n  containers:\n  - name: kube-apiserver\n    image: x:v1.20.2\n"
                      "    command:\n    - kube-apiserver\n"
                      "    - --etcd-servers=https://127.0.0.1:2379\n%s"
                      "    volumeMounts:\n    - mountPath: /etc/kubernetes/enc\n      name: enc\n"
                      "  volumes:\n  - hostPath:\n      path: /etc/kubernetes/enc\n    name: enc\n",
                      restart ? "  annotations:\n    encrypt.io/restart: \"" : "",
                      restart ? restart : "", restart ? "\"\n" : "",
                      flag ? "    - --encryption-provider-config=" PATH "\n" : "");
}

static void put_manifest(const char *at, bool flag, const char *restart)
{
    char *text CLEANUP(cleanup_mem) = manifest(flag, restart);
    put(at, text);
}

static struct node *node;

static struct apiserver observe(void)
{
    struct apiserver a = {0};
    struct error err CLEANUP(error_clear) = {0};
    if (driver_kubeadm.observe(node, &a, &err) != 0)
        fail_msg("%s", err.message);
    return a;
}

static void settle(void)
{
    struct error err CLEANUP(error_clear) = {0};
    if (driver_kubeadm.settle(node, &err) != 0)
        fail_msg("%s", err.message);
}

static int make_node(void **state)
{
    static struct node n;
    struct error err CLEANUP(error_clear) = {0};
    strcpy(root, "/tmp/kubeadm-node-XXXXXX");
    assert_non_null(mkdtemp(root));
    char *folders CLEANUP(cleanup_mem) =
        mem_printf("cd %s && mkdir -p etc/kubernetes/manifests etc/kubernetes/enc proc/1 "
                   "proc/sys/kernel/random var/log/pods var/lib",
                   root);
    sh(folders);
    put("/proc/1/comm", "init\n");
    put("/proc/stat", "btime 1795251155\n");
    put("/proc/sys/kernel/random/boot_id", "6d95d9bd\n");
    n = (struct node){.name = "n1", .driver = &driver_kubeadm};
    assert_int_equal(loop_new(&n.loop, &err), 0);
    assert_int_equal(driver_kubeadm.open(&n, &err), 0);
    node = &n;
    *state = &n;
    return 0;
}

static int remove_node(void **state)
{
    (void)state;
    driver_kubeadm.close(node);
    loop_free(node->loop);
    char *gone CLEANUP(cleanup_mem) = mem_printf("rm -rf %s", root);
    sh(gone);
    return 0;
}

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
        ON_A_NODE(hyperkube_is_an_apiserver_by_its_first_word),
        ON_A_NODE(a_file_that_the_next_apiserver_reads_is_not_removed),
        ON_A_NODE(what_a_change_will_do_is_asked_of_sudo_first),
        ON_A_NODE(by_hand_the_manifest_is_away_until_the_process_is_gone),
        ON_A_NODE(by_hand_the_manifest_comes_back_whatever_happens),
        ON_A_NODE(by_hand_what_was_put_meanwhile_stays),
        ON_A_NODE(a_container_that_came_up_again_is_not_the_new_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
