#include "provisioner/kind.h"

#include "provisioner/host/host.h"
#include "state/cluster_yml.h"

#include <string.h>

static const struct driver *const drivers[] = {&driver_rke,  &driver_systemd, &driver_openshift3,
                                               &driver_rke2, &driver_k3s,     &driver_kubeadm};

const struct driver *kind_driver(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        if (str_eq(drivers[i]->kind, name))
            return drivers[i];
    }
    return NULL;
}

/*
 * A line for each sign: the kind's name, or "unseen KIND" where its folder is there and may not be
 * looked into. $1: the unit of kind systemd. What has no unit or folder at all says nothing; that
 * sudo is refused is no error here, where the folder isn't there.
 */
static const char script[] =
    "is_loaded() {\n"
    "  [ \"$(systemctl show -p LoadState \"$1\" 2>/dev/null)\" = LoadState=loaded ]\n"
    "}\n"
    "inside() {\n"
    "  [ -d \"$2\" ] || return 0\n"
    "  if as_root test -f \"$2/$3\" 2>/dev/null; then echo \"$1\"\n"
    "  elif ! as_root test ! -f \"$2/$3\" 2>/dev/null; then echo \"unseen $1 $2\"; fi\n"
    "}\n"
    /* (Moved away by hand, or kept beside a change.) */
    "if [ -e /etc/kubernetes/kube-apiserver.yaml ] ||\n"
    "  [ -e /etc/kubernetes/.encrypt-kube-apiserver.yaml ]; then echo kubeadm\n"
    "else inside kubeadm /etc/kubernetes/manifests kube-apiserver.yaml; fi\n"
    "inside openshift3 /etc/origin/master master-config.yaml\n"
    "[ ! -e /etc/kubernetes/ssl/kube-apiserver.pem ] || echo rke\n"
    "! is_loaded \"$1\" || echo systemd\n"
    "[ ! -d /var/lib/rancher/rke2/server ] || echo rke2\n"
    "[ ! -d /var/lib/rancher/k3s/server ] || echo k3s\n"
    "exit 0";

static int refuse(struct error *err, const char *node, const char *what, const char *next)
{
    error_set(err, RESULT_REFUSED, "node %s: %s", node, what);
    error_next(err, "%s", next);
    return -1;
}

static const char name_it[] =
    "name the kind in cluster.yml (cluster_kind: rke, kubeadm, systemd, openshift3, "
    "rke2 or k3s), then run the same command again";

int kind_of_signs(const char *node, const char *signs, const struct driver **out, struct error *err)
{
    struct buf kinds CLEANUP(buf_free) = {0};
    struct buf unseen CLEANUP(buf_free) = {0};
    size_t count = 0;
    *out = NULL;
    while (*signs) {
        size_t len = strcspn(signs, "\n");
        char *line CLEANUP(cleanup_mem) = mem_strndup(signs, len);
        signs += len + (signs[len] == '\n');
        if (str_starts(line, "unseen ")) {
            const char *folder = strrchr(line, ' ') + 1;
            buf_printf(&unseen, "%s%s", unseen.len ? ", " : "", folder);
            continue;
        }
        buf_printf(&kinds, "%s%s", count ? ", " : "", line);
        count++;
        *out = kind_driver(line);
        if (!*out) {
            char *text CLEANUP(cleanup_mem) = mem_printf(
                "it looks like a node of kind %s, which this build does not manage", line);
            return refuse(err, node, text, name_it);
        }
    }
    if (count > 1) {
        char *text CLEANUP(cleanup_mem) =
            mem_printf("it has signs of several kinds of cluster: %s", buf_str(&kinds));
        return refuse(err, node, text, name_it);
    }
    if (count == 0 && unseen.len) {
        char *text CLEANUP(cleanup_mem) =
            mem_printf("the SSH user may not look into %s, so the kind of cluster can't be told",
                       buf_str(&unseen));
        return refuse(
            err, node, text,
            "let the user look by sudo (the file of the kind in docs/sudoers of encrypt, to "
            "/etc/sudoers.d/ on the node), or name the kind in cluster.yml (cluster_kind)");
    }
    return 0;
}

int kind_find(struct node *n, const struct driver **out, struct error *err)
{
    struct host h = {0};
    struct buf signs CLEANUP(buf_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    const char *unit = n->cluster && n->cluster->apiserver_unit ? n->cluster->apiserver_unit
                                                                : "kube-apiserver.service";
    const char *args[] = {unit, NULL};
    *out = NULL;
    if (host_open(n, &h, &e) < 0 ||
        host_do(&h, "looking for the kind of cluster", script, args, NULL, &signs, &e) < 0) {
        /* A user who may forward and no more: of the kinds only RKE's can do with that. */
        if (e.result == RESULT_INTERRUPTED || ssh_dead(n->ssh))
            return error_move(err, &e);
        return 0;
    }
    return kind_of_signs(n->name, buf_str(&signs), out, err);
}
