/* Files and sockets, as the static pod's hostPath volumes show them to the apiserver. */
#include "provisioner/docker/binds.h"
#include "provisioner/drivers/kubeadm.h"

#include <string.h>

/* `path` below the container's folder, on the node. */
static char *on_node(const char *container, const char *host, const char *path)
{
    size_t skip = str_eq(container, "/") ? 0 : strlen(container);
    return mem_printf("%s%s", str_eq(host, "/") ? "" : host, path + skip);
}

/* As observe() takes it: the manifest, or where it was moved to. NULL: there is none. `moved` may
 * be NULL. */
static int find_pod(struct node *n, struct static_pod **out, bool *moved, struct error *err)
{
    bool ignored = false;
    bool *there = moved ? moved : &ignored;
    *there = false;
    if (kubeadm_manifest(n, NULL, out, err) < 0)
        return -1;
    return *out ? 0 : kubeadm_moved(n, there, out, err);
}

/* No file where its manifest is away: what is mounted when it comes back isn't known, nor whether
 * this is a machine that was reset. */
static int check_not_moved(struct node *n, struct error *err)
{
    struct static_pod *pod CLEANUP(cleanup_static_pod) = NULL;
    bool moved = false;
    if (find_pod(n, &pod, &moved, err) < 0)
        return -1;
    return moved ? kubeadm_refuse_without(n, err) : 0;
}

bool kubeadm_is_double(const char *name, size_t len)
{
    static const char own[] = "kube-apiserver", file[] = "kube-apiserver.yaml";
    static const char *const copies[] = {"bak", "backup", "old", "orig", "save", "copy"};
    if (len < strlen(own) || name[len - 1] == '/' || strncmp(name, own, strlen(own)) != 0 ||
        (len == strlen(file) && strncmp(name, file, len) == 0))
        return false;
    if (len == strlen(own) || name[strlen(own)] != '-')
        return true;
    /* kube-apiserver-haproxy.yaml is another program; kube-apiserver-old.yaml is not. */
    static const char between[] = "-._";
    char *rest CLEANUP(cleanup_mem) = mem_strndup(name + strlen(own), len - strlen(own));
    char *at = rest;
    for (char *word; (word = strsep(&at, between));)
        for (size_t i = 0; i < ARRAY_LEN(copies); i++)
            if (str_eq(word, copies[i]))
                return true;
    return false;
}

/* The kubelet runs every file there that does not begin with a dot, whatever its end, and of two
 * pods of one name now the one, now the other. */
int kubeadm_check_folder(struct node *n, struct error *err)
{
    static const char script[] = "as_root ls -Ap " KUBEADM_MANIFESTS;
    struct buf names CLEANUP(buf_free) = {0};
    if (host_do(kubeadm_host(n), "listing " KUBEADM_MANIFESTS, script, NULL, NULL, &names, err) < 0)
        return -1;
    for (const char *at = buf_str(&names); *at;) {
        size_t len = strcspn(at, "\n");
        if (kubeadm_is_double(at, len)) {
            error_set(err, RESULT_REFUSED,
                      "node %s: " KUBEADM_MANIFESTS "/%.*s lies beside kube-apiserver.yaml: the "
                      "kubelet runs that too, whatever its name ends with, and may take it for the "
                      "pod of the same name, without the flag",
                      n->name, (int)len, at);
            error_next(err, "on node %s: move it out of that folder (mv %s/%.*s /root/)", n->name,
                       KUBEADM_MANIFESTS, (int)len, at);
            return -1;
        }
        at += len + (at[len] == '\n');
    }
    return 0;
}

int kubeadm_host_path(struct node *n, const char *path, char **out, struct error *err)
{
    struct static_pod *pod CLEANUP(cleanup_static_pod) = NULL;
    char *clean CLEANUP(cleanup_mem) = path_clean(path);
    if (find_pod(n, &pod, NULL, err) < 0)
        return -1;
    const struct static_pod_mount *m = pod ? static_pod_mount_of(pod, clean) : NULL;
    if (m && !m->host) {
        error_set(err, RESULT_REFUSED,
                  "node %s: %s is in the volume %s of %s, which is no hostPath: it does not lie on "
                  "the node",
                  n->name, path, m->volume, KUBEADM_MANIFEST);
        error_next(err, "mount a folder of the node there (hostPath), or name a path elsewhere");
        return -1;
    }
    *out = m ? on_node(m->container, m->host, clean) : STEAL(clean);
    return 0;
}

int kubeadm_read_file(struct node *n, const char *path, struct buf *out, bool *missing,
                      struct error *err)
{
    char *host CLEANUP(cleanup_mem) = NULL;
    if (kubeadm_host_path(n, path, &host, err) < 0)
        return -1;
    return host_file_read(kubeadm_host(n), host, out, missing, err);
}

int kubeadm_changed_at(struct node *n, const char *path, long long *out, struct error *err)
{
    char *host CLEANUP(cleanup_mem) = NULL;
    if (kubeadm_host_path(n, path, &host, err) < 0)
        return -1;
    return host_file_changed_at(kubeadm_host(n), host, out, err);
}

int kubeadm_read_node_file(struct node *n, const char *path, struct buf *out, bool *missing,
                           struct error *err)
{
    return host_file_read(kubeadm_host(n), path, out, missing, err);
}

/* A file that is mounted by itself stays the old one in the container until that is made anew: a
 * rename is not seen there. */
static int check_reload(struct node *n, const struct static_pod *pod, const char *path,
                        struct error *err)
{
    char *clean CLEANUP(cleanup_mem) = path_clean(path);
    const struct static_pod_mount *m = static_pod_mount_of(pod, clean);
    struct apiserver a CLEANUP(apiserver_free) = {0};
    size_t count = 0;
    while (pod->args[count])
        count++;
    char **args = mem_alloc(count + 1, sizeof(*args));
    for (size_t i = 0; i < count; i++)
        args[i] = mem_strdup(pod->args[i]);
    apiserver_set_args(&a, args);
    if (!a.automatic_reload || !m || !str_eq(m->container, clean))
        return 0;
    error_set(
        err, RESULT_REFUSED,
        "node %s: the volume %s mounts the file %s by itself, and kube-apiserver is to reload "
        "it by itself: it would go on reading the old one",
        n->name, m->volume, path);
    error_next(err,
               "in %s, mount the folder of that file instead of the file; or take out "
               "--encryption-provider-config-automatic-reload",
               KUBEADM_MANIFEST);
    return -1;
}

/* What a change does beside putting files. */
static const char *const changes[] = {
    "rm -f " KUBEADM_KEPT,
    "test ! -e " KUBEADM_AWAY,
    "cat " KUBEADM_AWAY,
    NULL,
};

int kubeadm_check_place(struct node *n, const char *path, struct error *err)
{
    struct static_pod *pod CLEANUP(cleanup_static_pod) = NULL;
    char *host CLEANUP(cleanup_mem) = NULL;
    bool moved = false;
    if (find_pod(n, &pod, &moved, err) < 0)
        return -1;
    if (moved)
        return kubeadm_refuse_without(n, err);
    if (kubeadm_host_path(n, path, &host, err) < 0 ||
        (pod && check_reload(n, pod, path, err) < 0) ||
        host_check_may_put(kubeadm_host(n), host, err) < 0)
        return -1;
    char *stamp CLEANUP(cleanup_mem) = mem_printf("%s.encrypt", host);
    if (host_check_may_put(kubeadm_host(n), stamp, err) < 0)
        return -1;
    /* Before kubeadm has made it there is nothing to change; /etc/kubernetes may not be there. */
    if (!pod)
        return 0;
    if (host_check_may_replace(kubeadm_host(n), KUBEADM_MANIFEST, true, err) < 0 ||
        host_check_may_replace(kubeadm_host(n), KUBEADM_KEPT, true, err) < 0)
        return -1;
    return host_check_may(kubeadm_host(n), changes, err);
}

int kubeadm_rehearse(struct node *n, const char *path, struct error *err)
{
    char *host CLEANUP(cleanup_mem) = NULL;
    if (kubeadm_host_path(n, path, &host, err) < 0)
        return -1;
    return host_file_rehearse(kubeadm_host(n), host, err);
}

int kubeadm_put_file(struct node *n, const struct node_text *file, const struct node_text *beside,
                     struct error *err)
{
    char *host CLEANUP(cleanup_mem) = NULL;
    char *host_beside CLEANUP(cleanup_mem) = NULL;
    if (check_not_moved(n, err) < 0 || kubeadm_host_path(n, file->path, &host, err) < 0)
        return -1;
    struct node_text it = {host, file->data, file->len};
    if (!beside)
        return host_file_put(kubeadm_host(n), &it, NULL, err);
    /* Of the same folder, also where the file is mounted by itself. */
    const char *slash = strrchr(host, '/');
    const char *name = strrchr(beside->path, '/');
    host_beside = mem_printf("%.*s%s", (int)(slash - host), host, name);
    struct node_text other = {host_beside, beside->data, beside->len};
    return host_file_put(kubeadm_host(n), &it, &other, err);
}

int kubeadm_claim_file(struct node *n, const struct node_text *file, bool *claimed,
                       struct error *err)
{
    char *host CLEANUP(cleanup_mem) = NULL;
    if (check_not_moved(n, err) < 0 || kubeadm_host_path(n, file->path, &host, err) < 0)
        return -1;
    struct node_text it = {host, file->data, file->len};
    return host_file_claim(kubeadm_host(n), &it, claimed, err);
}

int kubeadm_remove_file(struct node *n, const char *path, struct error *err)
{
    struct kubeadm_view v CLEANUP(kubeadm_view_free) = {0};
    char *host CLEANUP(cleanup_mem) = NULL;
    if (check_not_moved(n, err) < 0 || kubeadm_look(n, &v, err) < 0 ||
        kubeadm_host_path(n, path, &host, err) < 0)
        return -1;
    /* A kubelet that was down has not acted on the manifest yet, and will: the process that runs
     * says nothing of that. */
    if (v.pod && str_eq(static_pod_config(v.pod), path)) {
        error_set(
            err, RESULT_FAILED,
            "node %s: %s still names %s: the next kube-apiserver that the kubelet starts would "
            "not start without it",
            n->name, KUBEADM_MANIFEST, path);
        error_next(
            err,
            "on node %s: see that the kubelet runs (systemctl status kubelet) and has acted on "
            "the manifest; then the same command again",
            n->name);
        return -1;
    }
    return host_file_remove(kubeadm_host(n), host, err);
}

/* --- sockets --- */

static int refuse_not_there(const struct node *n, const char *path,
                            const struct static_pod_mount *m, struct error *err)
{
    char *folder CLEANUP(cleanup_mem) = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    if (m)
        error_set(err, RESULT_REFUSED,
                  "node %s: %s has the volume %s at %s, which is no folder of the node", n->name,
                  KUBEADM_MANIFEST, m->volume, m->container);
    else
        error_set(err, RESULT_REFUSED,
                  "node %s: %s has no volume that holds %s, and services.kube-api.extra_binds "
                  "names none",
                  n->name, KUBEADM_MANIFEST, path);
    error_next(err,
               "mount the folder that the plugin's socket is in; in cluster.yml:\n"
               "  services:\n    kube-api:\n      extra_binds:\n      - \"%s:%s\"",
               *folder ? folder : "/", *folder ? folder : "/");
    return -1;
}

int kubeadm_place_socket(const struct node *n, const struct static_pod *pod, const char *path,
                         char *const *binds, struct node_socket *out, struct error *err)
{
    const struct static_pod_mount *m = pod ? static_pod_mount_of(pod, path) : NULL;
    const char *bind = bind_holding(binds, path);
    char *container CLEANUP(cleanup_mem) = bind ? bind_container(bind) : NULL;
    char *host CLEANUP(cleanup_mem) = bind ? bind_host(bind) : NULL;
    if (bind && m && str_eq(m->container, container) && !str_eq(m->host, host))
        return error_set(err, RESULT_REFUSED,
                         "node %s: %s has the volume %s at %s, where services.kube-api.extra_binds "
                         "asks for %s",
                         n->name, KUBEADM_MANIFEST, m->volume, container, bind);
    bool by_bind = bind && (!m || strlen(container) >= strlen(m->container));
    if (by_bind ? host[0] != '/' : !m || !m->host)
        return refuse_not_there(n, path, by_bind ? NULL : m, err);
    out->mount_container = by_bind ? STEAL(container) : mem_strdup(m->container);
    out->mount_host = by_bind ? STEAL(host) : mem_strdup(m->host);
    out->path = mem_strdup(path);
    out->alone = str_eq(out->mount_container, path);
    out->host_path = on_node(out->mount_container, out->mount_host, path);
    return 0;
}

int kubeadm_find_socket(struct node *n, const char *path, char *const *binds,
                        struct node_socket *out, struct error *err)
{
    struct static_pod *pod CLEANUP(cleanup_static_pod) = NULL;
    struct node_socket found CLEANUP(node_socket_free) = {0};
    char *clean CLEANUP(cleanup_mem) = path_clean(path);
    if (find_pod(n, &pod, NULL, err) < 0)
        return -1;
    if (path[0] == '@' && pod && !pod->host_network)
        return error_set(err, RESULT_REFUSED,
                         "node %s: %s is a socket in the abstract namespace, and the pod has a "
                         "network of its own: it can't reach it",
                         n->name, path);
    if (path[0] == '@')
        found.path = mem_strdup(path);
    else if (kubeadm_place_socket(n, pod, clean, binds, &found, err) < 0)
        return -1;
    *out = found;
    found = (struct node_socket){0};
    return 0;
}

int kubeadm_look_for_socket(struct node *n, const struct node_socket *at, enum socket_there *out,
                            struct error *err)
{
    return host_look_for_socket(kubeadm_host(n), at, out, err);
}
