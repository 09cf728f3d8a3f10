/* Where the socket of a KMS plugin lies, by the mounts of the container and the binds to come. */
#include "provisioner/docker/binds.h"
#include "provisioner/docker/files.h"
#include "provisioner/drivers/rke.h"

#include <string.h>

static const char *text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* An abstract socket is its network namespace's. */
static int find_abstract(const json_t *it, const char *path, struct node_socket *out,
                         struct error *err)
{
    if (!str_eq(text(json_object_get(it, "HostConfig"), "NetworkMode"), "host"))
        return error_set(err, RESULT_REFUSED,
                         "%s is a socket in the abstract namespace, and the container " RKE_CURRENT
                         " has a network of its own: it can't reach it",
                         path);
    out->path = mem_strdup(path);
    return 0;
}

static int refuse_not_there(const char *path, const json_t *mount, struct error *err)
{
    char *folder CLEANUP(cleanup_mem) = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    if (mount)
        error_set(err, RESULT_REFUSED,
                  "the container " RKE_CURRENT " has %s at %s, which is no folder of the node",
                  str_eq(text(mount, "Type"), "tmpfs") ? "a tmpfs" : "another mount",
                  text(mount, "Destination"));
    else
        error_set(err, RESULT_REFUSED,
                  "the container " RKE_CURRENT " has no mount that holds %s, and "
                  "services.kube-api.extra_binds names none",
                  path);
    error_next(err,
               "mount the folder that the plugin's socket is in; in cluster.yml:\n"
               "  services:\n    kube-api:\n      extra_binds:\n      - \"%s:%s\"",
               *folder ? folder : "/", *folder ? folder : "/");
    return -1;
}

static int place(const json_t *it, const char *path, char *const *binds, struct node_socket *out,
                 struct error *err)
{
    const json_t *mount = mount_holding(it, path);
    const char *bind = bind_holding(binds, path);
    char *container CLEANUP(cleanup_mem) = bind ? bind_container(bind) : NULL;
    char *host CLEANUP(cleanup_mem) = bind ? bind_host(bind) : NULL;
    if (bind && bind_state_in(it, bind) == BIND_OTHER)
        return error_set(err, RESULT_REFUSED,
                         "the container " RKE_CURRENT
                         " has another mount at %s than %s, which services.kube-api.extra_binds "
                         "asks for",
                         container, bind);
    bool by_bind = bind && (!mount || strlen(container) >= strlen(text(mount, "Destination")));
    out->mount_container =
        by_bind ? STEAL(container) : path_clean(mount ? text(mount, "Destination") : "");
    out->mount_host = by_bind ? STEAL(host) : path_clean(mount ? text(mount, "Source") : "");
    /* (A volume that is mounted already shows where it lies; one that a bind only names doesn't.)
     */
    if (out->mount_host[0] != '/' && mount &&
        str_eq(out->mount_container, text(mount, "Destination"))) {
        mem_free(out->mount_host);
        out->mount_host = path_clean(text(mount, "Source"));
    }
    if (out->mount_host[0] != '/')
        return refuse_not_there(path, by_bind ? NULL : mount, err);
    out->path = mem_strdup(path);
    out->alone = str_eq(out->mount_container, path);
    size_t skip = str_eq(out->mount_container, "/") ? 0 : strlen(out->mount_container);
    bool root = str_eq(out->mount_host, "/");
    out->host_path = mem_printf("%s%s", root ? "" : out->mount_host, path + skip);
    return 0;
}

int rke_find_socket(struct node *n, const char *path, char *const *binds, struct node_socket *out,
                    struct error *err)
{
    struct rke_base b CLEANUP(rke_base_close) = {0};
    struct node_socket found CLEANUP(node_socket_free) = {0};
    if (rke_base_open(n, BARE_DESCRIBE, &b, err) < 0)
        return -1;
    char *clean CLEANUP(cleanup_mem) = path_clean(path);
    int rc = path[0] == '@' ? find_abstract(b.it, path, &found, err)
                            : place(b.it, clean, binds, &found, err);
    if (rc < 0)
        return -1;
    *out = found;
    found = (struct node_socket){0};
    return 0;
}

int rke_look_for_socket(struct node *n, const struct node_socket *at, enum socket_there *out,
                        struct error *err)
{
    struct rke_base b CLEANUP(rke_base_close) = {0};
    if (rke_base_open(n, BARE_READ, &b, err) < 0)
        return -1;
    if (b.it)
        return docker_look_for_socket(&b.r->docker, b.it, at, out, err);
    *out = SOCKET_NO_FOLDER;
    return 0;
}
