#include "provisioner/cluster_state.h"

#include "base/file.h"
#include "provisioner/kube/list.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define NAME "full-cluster-state"
#define METADATA "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
#define METADATA_OLD "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1"

static const char secrets[] = "/api/v1/namespaces/kube-system/secrets";
static const char config_maps[] = "/api/v1/namespaces/kube-system/configmaps";
static const char sha256_key[] = "encrypt/sha256";
/* RACES: lost in a row, that is: others write it all the time. */
enum { STATE_LIMIT = 64 << 20, RACES = 8 };

static int read_object(const struct http_request *r, json_t **out, struct error *err)
{
    if (json_text_read(buf_str(&r->answer), r->answer.len, r->server->what, out, err) < 0)
        return error_wrap(err, "%s %s", r->method, r->path);
    return 0;
}

/* *out is NULL where there is none. */
static int look(const struct http_server *api, const char *folder, const char *accept, json_t **out,
                struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = api,
        .method = "GET",
        .path = mem_printf("%s/" NAME, folder),
        .accept = accept,
    };
    *out = NULL;
    if (kube_perform(&r, err) < 0)
        return -1;
    if (r.status == 404)
        return 0;
    return r.status == 200 ? read_object(&r, out, err) : http_error(&r, err);
}

static const char *meta(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(json_object_get(object, "metadata"), member));
}

/* To be json_wipe()d; holds keys. */
static json_t *secret_of(const json_t *there, const char *text, size_t len, const char *sha256)
{
    char *base64 CLEANUP(cleanup_mem) = mem_alloc(len / 3 * 4 + 8, 1);
    EVP_EncodeBlock((unsigned char *)base64, (const unsigned char *)text, (int)len);
    json_t *o = json_pack("{s:{s:{s:s}}, s:{s:s}}", "metadata", "annotations", sha256_key, sha256,
                          "data", NAME, base64);
    if (!o)
        abort();
    json_t *metadata = json_object_get(o, "metadata");
    if (there) {
        /* Compare and swap. */
        json_put(metadata, "resourceVersion", json_string(meta(there, "resourceVersion")));
        return o;
    }
    json_put(o, "apiVersion", json_string("v1"));
    json_put(o, "kind", json_string("Secret"));
    json_put(o, "type", json_string("Opaque"));
    json_put(metadata, "name", json_string(NAME));
    json_put(metadata, "namespace", json_string("kube-system"));
    return o;
}

/* *lost: somebody else was faster. */
static int store(const struct http_server *api, const json_t *there, const char *text, size_t len,
                 const char *sha256, bool *lost, struct error *err)
{
    json_t *o CLEANUP(cleanup_json) = secret_of(there, text, len, sha256);
    struct http_request r CLEANUP(http_reset) = {
        .server = api,
        .method = there ? "PATCH" : "POST",
        .path = there ? mem_printf("%s/" NAME, secrets) : mem_strdup(secrets),
        .accept = METADATA ", " METADATA_OLD,
        .content_type = there ? "application/merge-patch+json" : "application/json",
    };
    json_text_write(o, &r.body);
    if (kube_perform(&r, err) < 0)
        return -1;
    *lost = r.status == 409 || (there && r.status == 404);
    if (*lost || r.status == 200 || r.status == 201)
        return 0;
    return http_error(&r, err);
}

/* The very one that was looked at. */
static int remove_config_map(const struct http_server *api, const json_t *there, bool *lost,
                             struct error *err)
{
    json_t *options CLEANUP(cleanup_json) = json_pack(
        "{s:s, s:s, s:{s:s*, s:s*}}", "apiVersion", "v1", "kind", "DeleteOptions", "preconditions",
        "uid", meta(there, "uid"), "resourceVersion", meta(there, "resourceVersion"));
    struct http_request r CLEANUP(http_reset) = {
        .server = api,
        .method = "DELETE",
        .path = mem_printf("%s/" NAME, config_maps),
        .accept = "application/json",
        .content_type = "application/json",
    };
    if (!options)
        abort();
    json_text_write(options, &r.body);
    if (kube_perform(&r, err) < 0)
        return -1;
    *lost = r.status == 409;
    if (*lost || r.status == 200 || r.status == 202 || r.status == 404)
        return 0;
    return http_error(&r, err);
}

/* Once: *again where something changed under it. */
static int put(const struct http_server *api, const char *text, size_t len, const char *sha256,
               bool *again, const char **done, struct error *err)
{
    json_t *secret CLEANUP(cleanup_json) = NULL;
    json_t *config_map CLEANUP(cleanup_json) = NULL;
    if (look(api, secrets, METADATA ", " METADATA_OLD, &secret, err) < 0 ||
        look(api, config_maps, METADATA ", " METADATA_OLD, &config_map, err) < 0)
        return -1;
    *again = false;
    if (!secret && !config_map)
        return 0;
    const json_t *notes = json_object_get(json_object_get(secret, "metadata"), "annotations");
    if (!secret || !str_eq(json_string_value(json_object_get(notes, sha256_key)), sha256)) {
        if (store(api, secret, text, len, sha256, again, err) < 0)
            return -1;
        if (*again)
            return 0;
        *done = "brought up to date";
    }
    if (!config_map)
        return 0;
    if (remove_config_map(api, config_map, again, err) < 0)
        return error_wrap(err, "the ConfigMap kube-system/" NAME " holds keys in the clear");
    *done = "it was a ConfigMap, which holds keys in the clear, and is a Secret now; (RKE before "
            "1.4.19, 1.5.10: its next `up` makes the ConfigMap again)";
    return 0;
}

int cluster_state_put(const struct http_server *api, const char *text, size_t len,
                      const char **done, struct error *err)
{
    char sha256[65];
    bool again = true;
    sha256_hex(text, len, sha256);
    *done = NULL;
    for (int i = 0; again && i < RACES; i++) {
        if (put(api, text, len, sha256, &again, done, err) < 0)
            return error_wrap(err, "the copy of the state in the cluster (kube-system/" NAME ")");
    }
    if (again)
        return error_set(err, RESULT_FAILED,
                         "the copy of the state in the cluster (kube-system/" NAME
                         ") changed %d times while it was being written",
                         RACES);
    return 0;
}

int cluster_state_update(struct session *s, struct error *err)
{
    const struct http_server *api = NULL;
    struct buf text CLEANUP(buf_free) = {0};
    const char *done = NULL;
    if (file_read(s->state_path, STATE_LIMIT, true, &text, NULL, err) < 0 ||
        session_ready_api(s, &api, err) < 0 ||
        cluster_state_put(api, buf_str(&text), text.len, &done, err) < 0)
        return -1;
    if (done)
        tell(s, ENCRYPT_NOTE, NULL, NULL,
             "the copy of the state in the cluster (kube-system/" NAME "): %s", done);
    return 0;
}

void cluster_state_refresh(struct session *s)
{
    struct error e CLEANUP(error_clear) = {0};
    if (cluster_state_update(s, &e) < 0)
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             "%s; the state file %s is right, and the next run tries the copy again", e.message,
             s->state_path);
}

static int text_of_secret(const json_t *secret, struct buf *out, struct error *err)
{
    const json_t *data = json_object_get(json_object_get(secret, "data"), NAME);
    size_t len = json_string_length(data);
    char *to = buf_reserve(out, len / 4 * 3 + 4);
    int n = len && len % 4 == 0
                ? EVP_DecodeBlock((unsigned char *)to,
                                  (const unsigned char *)json_string_value(data), (int)len)
                : -1;
    if (n < 0)
        return error_set(err, RESULT_REFUSED,
                         "Secret kube-system/" NAME ": its key " NAME " is missing or not base64");
    const char *text = json_string_value(data);
    n -= (text[len - 1] == '=') + (text[len - 2] == '=');
    out->len += (size_t)n;
    out->data[out->len] = '\0';
    return 0;
}

int cluster_state_read(const struct http_server *api, struct cluster_state_copy *out,
                       struct error *err)
{
    json_t *object CLEANUP(cleanup_json) = NULL;
    *out = (struct cluster_state_copy){0};
    if (look(api, secrets, "application/json", &object, err) < 0)
        return -1;
    if (object) {
        out->kind = "Secret";
        return text_of_secret(object, &out->text, err);
    }
    if (look(api, config_maps, "application/json", &object, err) < 0)
        return -1;
    if (!object)
        return 0;
    const json_t *text = json_object_get(json_object_get(object, "data"), NAME);
    out->kind = "ConfigMap";
    if (!json_is_string(text))
        return error_set(err, RESULT_REFUSED,
                         "ConfigMap kube-system/" NAME ": its key " NAME " is missing");
    buf_add(&out->text, json_string_value(text), json_string_length(text));
    return 0;
}

void cluster_state_copy_free(struct cluster_state_copy *c)
{
    buf_free(&c->text);
    *c = (struct cluster_state_copy){0};
}
