/* The ConfigMap kube-system/kubeadm-config: what kubeadm makes manifests anew of. */
#include "provisioner/drivers/kubeadm.h"
#include "provisioner/kube/list.h"
#include "state/json_text.h"
#include "templates/kubeadm_config.h"

#include <string.h>

#define NAME "kubeadm-config"
#define PATH "/api/v1/namespaces/kube-system/configmaps/" NAME
#define KEY "ClusterConfiguration"
#define METADATA "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

/* Lost in a row, that is: others write it all the time. */
enum { RACES = 8 };

/* What of the mounts kubeadm doesn't make by itself: ours, and those that are still to come. */
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

static bool is_ours_to_record(const struct static_pod *pod, const char *path)
{
    const struct static_pod_mount *m = static_pod_mount_of(pod, path);
    return !m || m->ours;
}

static void find_volumes(const struct static_pod *pod, const struct static_pod_want *want,
                         struct volumes *out)
{
    out->list = mem_alloc(want->bind_count + 1, sizeof(*out->list));
    const char *slash = want->config_path ? strrchr(want->config_path, '/') : NULL;
    if (slash && slash > want->config_path && is_ours_to_record(pod, want->config_path)) {
        out->path = mem_strndup(want->config_path, (size_t)(slash - want->config_path));
        out->list[out->count++] = (struct static_pod_bind){out->path, out->path, true};
        out->folder = true;
    }
    for (size_t i = 0; i < want->bind_count; i++)
        if (is_ours_to_record(pod, want->binds[i].container))
            out->list[out->count++] = want->binds[i];
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
static int write_config_map(const struct http_server *api, const json_t *there,
                            const struct buf *text, bool *lost, struct error *err)
{
    const char *version =
        json_string_value(json_object_get(json_object_get(there, "metadata"), "resourceVersion"));
    json_t *patch CLEANUP(cleanup_json) =
        json_pack("{s:{s:s}, s:{s:s}}", "metadata", "resourceVersion", version ? version : "",
                  "data", KEY, buf_str(text));
    if (!patch)
        return error_set(err, RESULT_FAILED, "%s: " NAME " is no UTF-8", api->what);
    struct http_request r CLEANUP(http_reset) = {
        .server = api,
        .method = "PATCH",
        .path = mem_strdup(PATH),
        .accept = METADATA,
        .content_type = "application/merge-patch+json",
    };
    json_text_write(patch, &r.body);
    if (kube_perform(&r, err) < 0)
        return -1;
    *lost = r.status == 409;
    return *lost || r.status == 200 ? 0 : http_error(&r, err);
}

static int bring_up_to_date(const struct http_server *api, const struct kubeadm_config_want *want,
                            bool *changed, bool *lost, struct error *err)
{
    json_t *there CLEANUP(cleanup_json) = NULL;
    struct buf text CLEANUP(buf_free) = {0};
    if (read_config_map(api, &there, err) < 0)
        return -1;
    const char *now = json_string_value(json_object_get(json_object_get(there, "data"), KEY));
    if (!now)
        return 0;
    if (kubeadm_config_edit(now, strlen(now), "kube-system/" NAME, want, &text, err) < 0)
        return -1;
    if (str_eq(buf_str(&text), now))
        return 0;
    *changed = true;
    return write_config_map(api, there, &text, lost, err);
}

int kubeadm_record(struct node *n, const struct http_server *api, const struct apiserver_want *want,
                   bool *changed, struct error *err)
{
    struct static_pod *pod CLEANUP(cleanup_static_pod) = NULL;
    struct kubeadm_want w CLEANUP(kubeadm_want_free) = {0};
    struct volumes v CLEANUP(volumes_free) = {0};
    *changed = false;
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
        *changed = false;
        if (bring_up_to_date(api, &said, changed, &lost, err) < 0)
            return -1;
        if (!lost)
            return 0;
    }
    return error_set(err, RESULT_FAILED, "%s: " NAME ": somebody else writes it all the time",
                     api->what);
}
