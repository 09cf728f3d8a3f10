/* The ConfigMap kube-system/kubeadm-config: what kubeadm makes manifests anew of. */
#include "base/file.h"
#include "provisioner/drivers/kubeadm.h"
#include "provisioner/kube/list.h"
#include "state/json_text.h"
#include "templates/kubeadm_config.h"

#include <string.h>

#define NAME "kubeadm-config"
#define PATH "/api/v1/namespaces/kube-system/configmaps/" NAME
/* The first before 1.12. */
static const char *const keys[] = {"MasterConfiguration", "ClusterConfiguration"};

/* Lost in a row, that is: others write it all the time. */
enum { RACES = 8 };

/* What of the mounts kubeadm doesn't make by itself: ours, those that are still to come, and those
 * that somebody made by hand in the manifest: an upgrade would have the flag and not them. */
struct volumes {
    struct static_pod_bind *list;
    size_t count;
    bool folder;
    char *path; /* of the configuration's folder */
};

static void volumes_free(struct volumes *v)
{
    mem_free(v->list);
    mem_free(v->path);
}

static bool is_of_kubeadm(const char *volume)
{
    static const char *const names[] = {
        "k8s-certs",
        "ca-certs",
        "etc-ca-certificates",
        "usr-share-ca-certificates",
        "usr-local-share-ca-certificates",
        "etc-pki",
        "etc-pki-ca-trust",
        "etc-pki-tls-certs",
        "cloud-config",
        "audit",
        "audit-log",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(volume, names[i]))
            return true;
    return str_starts(volume, "etcd-certs-");
}

/* `bind` holds the path, or what holds it by now. */
static void add_volume(struct volumes *v, const struct static_pod *pod, const char *path,
                       struct static_pod_bind bind, bool folder)
{
    const struct static_pod_mount *m = static_pod_mount_of(pod, path);
    if (m && !m->ours && (!m->host || is_of_kubeadm(m->volume)))
        return;
    if (m && !m->ours)
        bind = (struct static_pod_bind){m->host, m->container, m->read_only};
    else
        v->folder = v->folder || folder;
    v->list[v->count++] = bind;
}

static void find_volumes(const struct static_pod *pod, const struct static_pod_want *want,
                         struct volumes *out)
{
    out->list = mem_alloc(want->bind_count + 1, sizeof(*out->list));
    char *path CLEANUP(cleanup_mem) = want->config_path ? path_clean(want->config_path) : NULL;
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (slash && slash > path) {
        out->path = mem_strndup(path, (size_t)(slash - path));
        add_volume(out, pod, want->config_path,
                   (struct static_pod_bind){out->path, out->path, true}, true);
    }
    for (size_t i = 0; i < want->bind_count; i++)
        add_volume(out, pod, want->binds[i].container, want->binds[i], false);
}

/* NULL where there is none: this is no cluster of kubeadm's. */
static int read_config_map(const struct http_server *api, json_t **out, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = api, .method = "GET", .path = mem_strdup(PATH), .accept = "application/json"};
    *out = NULL;
    if (kube_perform(&r, err) < 0)
        return -1;
    if (r.status == 404)
        return 0;
    if (r.status != 200)
        return http_error(&r, err);
    return json_text_read(buf_str(&r.answer), r.answer.len, api->what, out, err);
}

/* *lost: somebody else was faster. */
static int write_config_map(const struct http_server *api, const json_t *there, json_t *data,
                            bool *lost, struct error *err)
{
    const char *version =
        json_string_value(json_object_get(json_object_get(there, "metadata"), "resourceVersion"));
    json_t *patch CLEANUP(cleanup_json) = json_pack("{s:{s:s}, s:O}", "metadata", "resourceVersion",
                                                    version ? version : "", "data", data);
    struct http_request r CLEANUP(http_reset) = {
        .server = api,
        .method = "PATCH",
        .path = mem_strdup(PATH),
        .accept = KUBE_AS("PartialObjectMetadata"),
        .content_type = "application/merge-patch+json",
    };
    json_text_write(patch, &r.body);
    if (kube_perform(&r, err) < 0)
        return -1;
    *lost = r.status == 409;
    return *lost || r.status == 200 ? 0 : http_error(&r, err);
}

/* *fresh: the members that have to be written; empty: none. */
static int edit_config_map(const struct http_server *api, const struct kubeadm_config_want *want,
                           json_t **there, json_t **fresh, struct error *err)
{
    *fresh = json_object();
    if (read_config_map(api, there, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct buf text CLEANUP(buf_free) = {0};
        const char *now =
            json_string_value(json_object_get(json_object_get(*there, "data"), keys[i]));
        if (!now)
            continue;
        if (kubeadm_config_edit(now, strlen(now), "kube-system/" NAME, want, &text, err) < 0)
            return -1;
        if (!str_eq(buf_str(&text), now) &&
            json_object_set_new(*fresh, keys[i], json_string(buf_str(&text))) < 0)
            return error_set(err, RESULT_FAILED, "%s: " NAME " is no UTF-8", api->what);
    }
    return 0;
}

/* `changed` NULL: nothing is written. */
static int bring_up_to_date(const struct http_server *api, const struct kubeadm_config_want *want,
                            bool *changed, bool *lost, struct error *err)
{
    json_t *there CLEANUP(cleanup_json) = NULL;
    json_t *fresh CLEANUP(cleanup_json) = NULL;
    if (edit_config_map(api, want, &there, &fresh, err) < 0)
        return -1;
    if (!changed || !json_object_size(fresh))
        return 0;
    *changed = true;
    return write_config_map(api, there, fresh, lost, err);
}

static int record(struct node *n, const struct http_server *api, const struct apiserver_want *want,
                  bool *changed, struct error *err)
{
    struct static_pod *pod CLEANUP(cleanup_static_pod) = NULL;
    struct kubeadm_want w CLEANUP(kubeadm_want_free) = {0};
    struct volumes v CLEANUP(volumes_free) = {0};
    if (kubeadm_manifest(n, NULL, &pod, err) < 0)
        return -1;
    if (!pod)
        return error_set(err, RESULT_FAILED, "node %s: there is no %s", n->name, KUBEADM_MANIFEST);
    kubeadm_want_of(n, pod, want, &w);
    find_volumes(pod, &w.pod, &v);
    struct kubeadm_config_want said = {
        .config_path = want->config_path,
        .old_flag = w.pod.old_flag,
        .volumes = v.list,
        .count = v.count,
        .folder = v.folder,
    };
    for (int race = 0; race < RACES; race++) {
        bool lost = false;
        if (changed)
            *changed = false;
        if (bring_up_to_date(api, &said, changed, &lost, err) < 0)
            return -1;
        if (!lost)
            return 0;
    }
    return error_set(err, RESULT_FAILED, "%s: " NAME ": somebody else writes it all the time",
                     api->what);
}

int kubeadm_record(struct node *n, const struct http_server *api, const struct apiserver_want *want,
                   bool *changed, struct error *err)
{
    *changed = false;
    return record(n, api, want, changed, err);
}

int kubeadm_try_record(struct node *n, const struct http_server *api,
                       const struct apiserver_want *want, struct error *err)
{
    return record(n, api, want, NULL, err);
}
