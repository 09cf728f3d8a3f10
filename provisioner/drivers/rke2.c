/*
 * rke2 and k3s. Their servers own the encryption configuration: what changes it, and restarts
 * servers, is provisioner/owned; this driver looks and reads, and refuses the rest. rke2 has its
 * apiserver in a container of its own, a process that is seen on the node; k3s has it within the
 * server.
 */
#include "provisioner/host/host.h"
#include "provisioner/owned/owned.h"

#include <stdlib.h>
#include <string.h>

#define RKE2 "/var/lib/rancher/rke2/server"
#define K3S "/var/lib/rancher/k3s/server"

static const struct owned_kind rke2 = {
    .program = "rke2",
    .unit = "rke2-server.service",
    .config = RKE2 "/cred/encryption-config.json",
    .settings = "/etc/rancher/rke2/config.yaml",
    .tls = RKE2 "/",
    .crictl = "/var/lib/rancher/rke2/bin/crictl",
    .crictl_config = "/var/lib/rancher/rke2/agent/etc/crictl.yaml",
    .apart = true,
};

static const struct owned_kind k3s = {
    .program = "k3s",
    .unit = "k3s.service",
    .config = K3S "/cred/encryption-config.json",
    .settings = "/etc/rancher/k3s/config.yaml",
    .tls = K3S "/",
};

const struct host *owned_host(const struct node *n)
{
    return n->driver_data;
}

static int owned_open(struct node *n, struct error *err)
{
    struct host *h = mem_alloc(1, sizeof(*h));
    n->driver_data = h;
    if (host_open(n, h, err) == 0)
        return 0;
    n->driver->close(n);
    return -1;
}

static void owned_close(struct node *n)
{
    mem_free(STEAL(n->driver_data));
}

static void take(struct apiserver *out, struct host_process *p)
{
    out->exists = out->running = true;
    out->process = STEAL(p->identity);
    out->since = STEAL(p->since);
}

/* By its encryption configuration; one that has none, by another file of the server's. */
bool owned_is_servers(char *const *args, const struct owned_kind *kind)
{
    struct apiserver a CLEANUP(apiserver_free) = {0};
    size_t count = 0;
    bool names = false;
    while (args && args[count])
        names = strstr(args[count++], kind->tls) || names;
    char **copy = mem_alloc(count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++)
        copy[i] = mem_strdup(args[i]);
    apiserver_set_args(&a, copy);
    return a.config_path ? str_eq(a.config_path, kind->config) : names;
}

/* The one that came last: a restart may have two for a moment. */
static int rke2_observe(struct node *n, struct apiserver *out, struct error *err)
{
    const struct host *h = owned_host(n);
    struct host_process *list = NULL;
    size_t count = 0;
    bool server = false;
    if (host_processes(h, "kube-apiserver", &list, &count, err) < 0)
        return -1;
    size_t own = count;
    while (own && !owned_is_servers(list[own - 1].args, &rke2))
        own--;
    if (own) {
        take(out, &list[own - 1]);
        apiserver_set_args(out, STEAL(list[own - 1].args));
    }
    host_processes_free(list, count);
    if (!own && host_file_is(h, "-d", RKE2, &server, err) < 0)
        return -1;
    out->exists = own || server;
    return 0;
}

/* The arguments of an apiserver that is a part of the server: as far as the datastore tells. */
static char **k3s_flags(bool etcd)
{
    static const char *const flags[] = {
        "--etcd-servers=https://127.0.0.1:2379",
        "--etcd-cafile=" K3S "/tls/etcd/server-ca.crt",
        "--etcd-certfile=" K3S "/tls/etcd/client.crt",
        "--etcd-keyfile=" K3S "/tls/etcd/client.key",
    };
    char **args = mem_alloc(ARRAY_LEN(flags) + 2, sizeof(char *));
    size_t count = 0;
    args[count++] = mem_strdup("--encryption-provider-config=" K3S "/cred/encryption-config.json");
    for (size_t i = 0; etcd && i < ARRAY_LEN(flags); i++)
        args[count++] = mem_strdup(flags[i]);
    return args;
}

/* As k3s itself tells whether it has an embedded etcd (IsInitialized() in its pkg/etcd/etcd.go):
 * the folder above is there on SQLite too. */
static int k3s_observe(struct node *n, struct apiserver *out, struct error *err)
{
    static const char script[] = "systemctl show -p MainPID \"$1\"";
    const struct host *h = owned_host(n);
    const char *args[] = {k3s.unit, NULL};
    struct buf text CLEANUP(buf_free) = {0};
    struct host_process p CLEANUP(host_process_free) = {0};
    bool found = false, etcd = false;
    if (host_do(h, "asking systemd for k3s.service", script, args, NULL, &text, err) < 0 ||
        host_file_is(h, "-d", K3S "/db/etcd/member/wal", &etcd, err) < 0)
        return -1;
    const char *value = strchr(buf_str(&text), '=');
    long pid = value ? strtol(value + 1, NULL, 10) : 0;
    if (pid > 0 && host_process_of(h, pid, &p, &found, err) < 0)
        return -1;
    if (found)
        take(out, &p);
    apiserver_set_args(out, k3s_flags(etcd));
    out->exists = true;
    return 0;
}

static int owned_read_file(struct node *n, const char *path, struct buf *out, bool *missing,
                           struct error *err)
{
    return host_file_read(owned_host(n), path, out, missing, err);
}

/* One number of lines, so that a sudoers file can name it. */
static int owned_log_tail(struct node *n, size_t lines, struct buf *out, struct error *err)
{
    static const char script[] = "as_root journalctl -u \"$1\" -n 500 --no-pager -o short";
    const char *args[] = {n->driver->owned->unit, NULL};
    struct buf text CLEANUP(buf_free) = {0};
    if (host_do(owned_host(n), "reading its log", script, args, NULL, &text, err) < 0)
        return -1;
    const char *all = buf_str(&text);
    size_t from = text.len;
    for (size_t seen = 0; from > 0; from--)
        if (all[from - 1] == '\n' && from < text.len && ++seen == lines)
            break;
    log_add_safe_lines(out, all + from, text.len - from);
    return 0;
}

/* --- what is theirs alone --- */

static int theirs(const struct node *n, struct error *err)
{
    return error_set(err, RESULT_REFUSED,
                     "node %s: %s owns its encryption configuration: nothing is put there by hand",
                     n->name, n->driver->kind);
}

static int no_place(struct node *n, const char *path, struct error *err)
{
    (void)path;
    return theirs(n, err);
}

static int no_put(struct node *n, const struct node_text *file, const struct node_text *beside,
                  struct error *err)
{
    (void)file;
    (void)beside;
    return theirs(n, err);
}

static int no_claim(struct node *n, const struct node_text *file, bool *claimed, struct error *err)
{
    (void)file;
    *claimed = false;
    return theirs(n, err);
}

static int no_start_with(struct node *n, const struct apiserver_want *want, char ***flags,
                         char ***mounts, struct error *err)
{
    (void)want;
    (void)flags;
    (void)mounts;
    return theirs(n, err);
}

static int no_start(struct node *n, const struct apiserver_want *want, const char *process,
                    struct error *err)
{
    (void)want;
    (void)process;
    return theirs(n, err);
}

static int no_settle(struct node *n, struct error *err)
{
    return theirs(n, err);
}

static int no_go_back(struct node *n, const struct apiserver_want *want, struct error *err)
{
    (void)want;
    return theirs(n, err);
}

static int no_find_socket(struct node *n, const char *path, char *const *binds,
                          struct node_socket *out, struct error *err)
{
    (void)path;
    (void)binds;
    (void)out;
    return theirs(n, err);
}

static int no_look_for_socket(struct node *n, const struct node_socket *at, enum socket_there *out,
                              struct error *err)
{
    (void)at;
    (void)out;
    return theirs(n, err);
}

/* Since about 1.28 etcd's client port serves gRPC alone (k3s pull request 8402), and JSON has a
 * port of its own. */
#define OWNED                                                                                      \
    .etcd_http_port = 2382, .open = owned_open, .close = owned_close,                              \
    .read_file = owned_read_file, .read_node_file = owned_read_file, .check_place = no_place,      \
    .put_file = no_put, .remove_file = no_place, .claim_file = no_claim,                           \
    .start_with = no_start_with, .start = no_start, .settle = no_settle, .go_back = no_go_back,    \
    .find_socket = no_find_socket, .look_for_socket = no_look_for_socket,                          \
    .log_tail = owned_log_tail

const struct driver driver_rke2 = {
    .kind = "rke2",
    .words = {.apiserver = "the static pod kube-apiserver of rke2-server.service",
              .logs = "journalctl -u rke2-server.service -n 100 --no-pager",
              .start = "systemctl start rke2-server.service",
              .restart = "systemctl restart rke2-server.service"},
    .owned = &rke2,
    .admin_kubeconfig = "/etc/rancher/rke2/rke2.yaml",
    .observe = rke2_observe,
    .default_config_path = RKE2 "/cred/encryption-config.json",
    OWNED,
};

const struct driver driver_k3s = {
    .kind = "k3s",
    .words = {.apiserver = "kube-apiserver within k3s.service",
              .logs = "journalctl -u k3s.service -n 100 --no-pager",
              .start = "systemctl start k3s.service",
              .restart = "systemctl restart k3s.service"},
    .owned = &k3s,
    .admin_kubeconfig = "/etc/rancher/k3s/k3s.yaml",
    .observe = k3s_observe,
    .default_config_path = K3S "/cred/encryption-config.json",
    OWNED,
};
