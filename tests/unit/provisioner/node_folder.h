/*
 * A node of kind kubeadm that is a folder of this machine: the driver's scripts run here, with the
 * node's paths below that folder. There is no kubelet. In the place of provisioner/host/host.c.
 */
#ifndef ENCRYPT_TESTS_NODE_FOLDER_H
#define ENCRYPT_TESTS_NODE_FOLDER_H

#include "base/file.h"
#include "provisioner/drivers/kubeadm.h"
#include "provisioner/host/host.h"

#include <errno.h>
#include <setjmp.h>
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

static inline void replace(const char *from, const char *to, const char *text, struct buf *out)
{
    for (const char *at; (at = strstr(text, from)); text = at + strlen(from)) {
        buf_add(out, text, (size_t)(at - text));
        buf_adds(out, to);
    }
    buf_adds(out, text);
}

/* A text with the node's paths becomes one with those of this machine, or (`back`) the other way
 * round. */
static inline void translate(const char *text, bool back, struct buf *out)
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

static inline void take(int fd, struct buf *out)
{
    char text[4096];
    ssize_t n = 0;
    while ((n = read(fd, text, sizeof(text))) > 0)
        buf_add(out, text, (size_t)n);
    close(fd);
}

/* Gives the exit status. */
static inline int run(const char *script, const struct buf *in, struct buf *out)
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

static inline char *here(const char *path)
{
    return mem_printf("%s%s", root, path);
}

static inline void put(const char *path, const char *text)
{
    char *at CLEANUP(cleanup_mem) = here(path);
    FILE *f = fopen(at, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline bool is_there(const char *path)
{
    char *at CLEANUP(cleanup_mem) = here(path);
    return access(at, F_OK) == 0;
}

static inline void away(const char *path)
{
    char *at CLEANUP(cleanup_mem) = here(path);
    assert_true(unlink(at) == 0 || errno == ENOENT);
}

static inline void sh(const char *script)
{
    struct buf out CLEANUP(buf_free) = {0};
    if (run(script, NULL, &out) != 0)
        fail_msg("%s", script);
}

/* kube-apiserver's process, or of another program; NULL: none runs. */
static inline void processes(const char *comm, const char *const *args)
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
static inline void process_of(const char *start, const char *pod)
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

static inline char *manifest(bool flag, const char *restart)
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

static inline void put_manifest(const char *at, bool flag, const char *restart)
{
    char *text CLEANUP(cleanup_mem) = manifest(flag, restart);
    put(at, text);
}

static struct node *node;

static inline struct apiserver observe(void)
{
    struct apiserver a = {0};
    struct error err CLEANUP(error_clear) = {0};
    if (driver_kubeadm.observe(node, &a, &err) != 0)
        fail_msg("%s", err.message);
    return a;
}

static inline void settle(void)
{
    struct error err CLEANUP(error_clear) = {0};
    if (driver_kubeadm.settle(node, &err) != 0)
        fail_msg("%s", err.message);
}

static inline int make_node(void **state)
{
    static struct node n;
    struct error err CLEANUP(error_clear) = {0};
    static const char template[] = "/tmp/kubeadm-node-XXXXXX";
    memcpy(root, template, sizeof(template));
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

static inline int remove_node(void **state)
{
    (void)state;
    driver_kubeadm.close(node);
    loop_free(node->loop);
    char *gone CLEANUP(cleanup_mem) = mem_printf("rm -rf %s", root);
    sh(gone);
    return 0;
}

#endif
