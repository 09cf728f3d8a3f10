#include "provisioner/cluster_state.h"

#include "provisioner/kube/list.h"
#include "state/journal_json.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define NAME "full-cluster-state"
#define COPY "the copy of the state in the cluster (kube-system/" NAME ")"

static const char secrets[] = "/api/v1/namespaces/kube-system/secrets";
static const char config_maps[] = "/api/v1/namespaces/kube-system/configmaps";
static const char own[] = "encrypt"; /* our member */
static const char *const states[] = {"desiredState", "currentState"};
/* RACES: lost in a row, that is: others write it all the time. */
enum { RACES = 8 };

/* --- reading --- */

static void place_free(struct cluster_state_place *p)
{
    mem_free(p->uid);
    mem_free(p->version);
    mem_free(p->trouble);
    rkestate_free(p->state);
    *p = (struct cluster_state_place){0};
}

void cluster_state_copy_free(struct cluster_state_copy *c)
{
    place_free(&c->secret);
    place_free(&c->config_map);
    c->newest = NULL;
}

static int text_of_secret(const json_t *data, struct buf *out)
{
    size_t len = json_string_length(data);
    char *to = buf_reserve(out, len / 4 * 3 + 4);
    const char *text = json_string_value(data);
    int n = len && len % 4 == 0
                ? EVP_DecodeBlock((unsigned char *)to, (const unsigned char *)text, (int)len)
                : -1;
    if (n < 0)
        return -1;
    n -= (text[len - 1] == '=') + (text[len - 2] == '=');
    out->len += (size_t)n;
    out->data[out->len] = '\0';
    return 0;
}

static void read_text(struct cluster_state_place *p, const json_t *object)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct error why CLEANUP(error_clear) = {0};
    char *name CLEANUP(cleanup_mem) = mem_printf("%s kube-system/" NAME, p->kind);
    const json_t *data = json_object_get(json_object_get(object, "data"), NAME);
    if (!json_is_string(data))
        p->trouble = mem_strdup("its key " NAME " is missing");
    else if (str_eq(p->kind, "ConfigMap"))
        buf_add(&text, json_string_value(data), json_string_length(data));
    else if (text_of_secret(data, &text) < 0)
        p->trouble = mem_strdup("its key " NAME " is not base64");
    if (!p->trouble && rkestate_parse(buf_str(&text), text.len, name, &p->state, &why) < 0)
        p->trouble = STEAL(why.message);
}

static int read_place(const struct http_server *api, const char *kind, const char *folder,
                      struct cluster_state_place *out, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = api,
        .method = "GET",
        .path = mem_printf("%s/" NAME, folder),
        .accept = "application/json",
    };
    json_t *object CLEANUP(cleanup_json) = NULL;
    const char *uid = NULL, *version = NULL;
    if (kube_perform(&r, err) < 0)
        return -1;
    if (r.status == 404)
        return 0;
    if (r.status != 200)
        return http_error(&r, err);
    if (json_text_read(buf_str(&r.answer), r.answer.len, api->what, &object, err) < 0)
        return error_wrap(err, "%s %s", r.method, r.path);
    if (json_unpack(object, "{s:{s:s, s:s}}", "metadata", "uid", &uid, "resourceVersion",
                    &version) < 0)
        return error_set(err, RESULT_FAILED, "%s: %s %s: an answer without uid or resourceVersion",
                         api->what, r.method, r.path);
    out->kind = kind;
    out->uid = mem_strdup(uid);
    out->version = mem_strdup(version);
    read_text(out, object);
    return 0;
}

/* Both are etcd's revision at the last write. */
static bool is_later(const struct cluster_state_place *a, const struct cluster_state_place *b)
{
    return strtoull(a->version, NULL, 10) > strtoull(b->version, NULL, 10);
}

int cluster_state_read(const struct http_server *api, struct cluster_state_copy *out,
                       struct error *err)
{
    *out = (struct cluster_state_copy){0};
    if (read_place(api, "Secret", secrets, &out->secret, err) < 0 ||
        read_place(api, "ConfigMap", config_maps, &out->config_map, err) < 0) {
        cluster_state_copy_free(out);
        return -1;
    }
    if (out->secret.kind)
        out->newest = &out->secret;
    if (out->config_map.kind && (!out->newest || is_later(&out->config_map, out->newest)))
        out->newest = &out->config_map;
    return 0;
}

/* --- what it should be --- */

static bool same_configuration(const char *a, const char *b)
{
    struct encryption_config *ca CLEANUP(cleanup_encryption_config) = NULL;
    struct encryption_config *cb CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    if (strcmp(a, b) == 0)
        return true;
    return encryption_config_read(a, strlen(a), "a", ENCRYPTION_LENIENT, &ca, &ignored) == 0 &&
           encryption_config_read(b, strlen(b), "b", ENCRYPTION_LENIENT, &cb, &ignored) == 0 &&
           encryption_config_equal(ca, cb);
}

/* True where the secrets of the cluster, the copy among them, are not stored plain. */
static bool encrypts_secrets(const char *yaml)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    if (encryption_config_read(yaml, strlen(yaml), "encryptionConfig", ENCRYPTION_LENIENT, &c,
                               &ignored) < 0)
        return false;
    char *prefix CLEANUP(cleanup_mem) = encryption_write_prefix(c, "secrets");
    return *prefix;
}

/* Our member in a copy. *out is NULL where there is none. */
static int read_member(const struct rkestate *copy, struct journal **out, struct error *err)
{
    const json_t *json = copy ? json_object_get(copy->root, own) : NULL;
    *out = NULL;
    return json && !json_is_null(json) ? journal_from_json(json, own, out, err) : 0;
}

static size_t keys_lacking(const struct journal *in, const struct journal *of)
{
    size_t count = 0;
    for (size_t i = 0; of && i < of->key_count; i++)
        count += !journal_find_key(in, of->keys[i].type, &of->keys[i].key);
    return count;
}

/* NULL: our member may take the place of this one. Else why not, to be freed. */
static char *why_leave(const struct cluster_state_place *p, const struct journal *ours,
                       bool encrypted)
{
    struct error why CLEANUP(error_clear) = {0};
    struct journal *its CLEANUP(cleanup_journal) = NULL;
    if (p->trouble)
        return mem_strdup(p->trouble);
    if (read_member(p->state, &its, &why) < 0)
        return mem_printf("its member %s can't be read: %s", own, why.message);
    if (!its)
        return NULL;
    if (!str_eq(its->cluster_id, ours->cluster_id))
        return mem_printf("it has the journal of cluster %s, and the state file that of %s",
                          its->cluster_id, ours->cluster_id);
    if (its->generation > ours->generation)
        return mem_printf("it has generation %lld, and the state file %lld: this state file may "
                          "be an older one",
                          (long long)its->generation, (long long)ours->generation);
    if (!encrypted && keys_lacking(ours, its))
        return mem_strdup("its history has keys that the state file's lacks");
    return NULL;
}

char *cluster_state_why_left(const struct cluster_state_copy *c, const struct rkestate *state,
                             const struct journal *journal)
{
    bool encrypted = !cluster_state_is_plain(state);
    char *why = why_leave(&c->secret, journal, encrypted);
    return why ? why : why_leave(&c->config_map, journal, encrypted);
}

bool cluster_state_is_plain(const struct rkestate *state)
{
    return !encrypts_secrets(rkestate_encryption_config(state));
}

/* Our member as it is to stand in the copy: with the keys that only the copy has. NULL: none. */
static int make_member(const struct rkestate *copy, const struct journal *ours, json_t **out,
                       struct error *err)
{
    struct journal *its CLEANUP(cleanup_journal) = NULL;
    struct journal *both CLEANUP(cleanup_journal) = NULL;
    if (read_member(copy, &its, err) < 0 || journal_to_json(ours, out, err) < 0)
        return -1;
    if (!keys_lacking(ours, its))
        return 0;
    if (journal_from_json(*out, own, &both, err) < 0)
        return -1;
    for (size_t i = 0; i < its->key_count; i++) {
        if (!journal_find_key(both, its->keys[i].type, &its->keys[i].key))
            journal_append_key(both, &its->keys[i]);
    }
    json_wipe(STEAL(*out));
    return journal_to_json(both, out, err);
}

/* RKE's members and flags: all but the strings and our member. */
static json_t *rest_of(const json_t *root)
{
    json_t *rest = json_deep_copy(root);
    if (!rest)
        abort();
    json_object_del(rest, own);
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        json_object_del(json_object_get(rest, states[i]), "encryptionConfig");
    return rest;
}

/* Sets in the copy what we set in the file. *changed: that was more than what was there already. */
static int bring_up_to_date(struct rkestate *copy, const struct rkestate *state,
                            const struct journal *journal, bool *changed, struct error *err)
{
    const char *yaml = rkestate_encryption_config(state);
    json_t *member CLEANUP(cleanup_json) = NULL;
    struct journal *its CLEANUP(cleanup_journal) = NULL;
    bool wanted = encrypts_secrets(yaml) && journal->sequence > 0;
    if (read_member(copy, &its, err) < 0 ||
        (wanted && make_member(copy, journal, &member, err) < 0))
        return -1;
    *changed = wanted ? !its || its->generation != journal->generation
                      : json_object_get(copy->root, own) && !encrypts_secrets(yaml);
    if (rkestate_is_bare(copy) && !rkestate_is_bare(state)) {
        json_wipe(copy->root);
        copy->root = json_deep_copy(state->root);
        if (!copy->root)
            abort();
        *changed = true;
    }
    json_t *before CLEANUP(cleanup_json) = rest_of(copy->root);
    char *running CLEANUP(cleanup_mem) = mem_strdup(rkestate_encryption_config(copy));
    char *desired CLEANUP(cleanup_mem) = mem_strdup(rkestate_desired_encryption_config(copy));
    rkestate_set_encryption(copy, yaml, *yaml);
    rkestate_copy_custom(copy, state);
    json_t *after CLEANUP(cleanup_json) = rest_of(copy->root);
    *changed = *changed || !json_equal(before, after) ||
               !same_configuration(rkestate_encryption_config(copy), running) ||
               !same_configuration(rkestate_desired_encryption_config(copy), desired);
    if (wanted)
        json_put(copy->root, own, STEAL(member));
    else if (!encrypts_secrets(yaml))
        json_object_del(copy->root, own);
    return 0;
}

/* --- writing --- */

/* To be json_wipe()d; holds keys. */
static json_t *secret_of(const struct cluster_state_place *there, const struct rkestate *copy)
{
    struct buf text CLEANUP(buf_free) = {0};
    json_text_write(copy->root, &text);
    char *base64 CLEANUP(cleanup_mem) = mem_alloc(text.len / 3 * 4 + 8, 1);
    EVP_EncodeBlock((unsigned char *)base64, (const unsigned char *)text.data, (int)text.len);
    json_t *o = json_pack("{s:{}, s:{s:s}}", "metadata", "data", NAME, base64);
    if (!o)
        abort();
    json_t *metadata = json_object_get(o, "metadata");
    if (there->kind) {
        /* Compare and swap. */
        json_put(metadata, "resourceVersion", json_string(there->version));
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
static int store(const struct http_server *api, const struct cluster_state_place *there,
                 const struct rkestate *copy, bool *lost, struct error *err)
{
    json_t *o CLEANUP(cleanup_json) = secret_of(there, copy);
    struct http_request r CLEANUP(http_reset) = {
        .server = api,
        .method = there->kind ? "PATCH" : "POST",
        .path = there->kind ? mem_printf("%s/" NAME, secrets) : mem_strdup(secrets),
        .accept = KUBE_AS("PartialObjectMetadata"),
        .content_type = there->kind ? "application/merge-patch+json" : "application/json",
    };
    json_text_write(o, &r.body);
    if (kube_perform(&r, err) < 0)
        return -1;
    *lost = r.status == 409 || (there->kind && r.status == 404);
    if (*lost || r.status == 200 || r.status == 201)
        return 0;
    return http_error(&r, err);
}

/* The very one that was looked at. */
static int remove_config_map(const struct http_server *api, const struct cluster_state_place *there,
                             bool *lost, struct error *err)
{
    json_t *options CLEANUP(cleanup_json) =
        json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "DeleteOptions",
                  "preconditions", "uid", there->uid, "resourceVersion", there->version);
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
static int put(const struct http_server *api, const struct rkestate *state,
               const struct journal *journal, bool *again, struct cluster_state_done *out,
               struct error *err)
{
    struct cluster_state_copy copy CLEANUP(cluster_state_copy_free) = {0};
    bool changed = false;
    *again = false;
    if (cluster_state_read(api, &copy, err) < 0)
        return -1;
    if (!copy.newest)
        return 0;
    out->left = cluster_state_why_left(&copy, state, journal);
    if (out->left)
        return 0;
    if (bring_up_to_date(copy.newest->state, state, journal, &changed, err) < 0)
        return -1;
    if (changed || copy.newest == &copy.config_map) {
        if (store(api, &copy.secret, copy.newest->state, again, err) < 0)
            return -1;
        if (*again)
            return 0;
        out->done = "brought up to date";
    }
    if (!copy.config_map.kind)
        return 0;
    if (remove_config_map(api, &copy.config_map, again, err) < 0)
        return error_wrap(err, "the ConfigMap kube-system/" NAME " holds keys in the clear");
    out->done =
        "it was a ConfigMap, which holds keys in the clear, and is a Secret now (RKE before "
        "1.4.19, 1.5.10: its next `up` makes the ConfigMap again)";
    return 0;
}

int cluster_state_put(const struct http_server *api, const struct rkestate *state,
                      const struct journal *journal, struct cluster_state_done *out,
                      struct error *err)
{
    bool again = true;
    *out = (struct cluster_state_done){0};
    for (int i = 0; again && i < RACES; i++) {
        if (put(api, state, journal, &again, out, err) < 0)
            return error_wrap(err, COPY);
    }
    if (again)
        return error_set(err, RESULT_FAILED, COPY " changed %d times while it was being written",
                         RACES);
    return 0;
}

int cluster_state_update(struct session *s, struct error *err)
{
    const struct http_server *api = NULL;
    struct cluster_state_done what = {0};
    if (!session_shares_state(s))
        return 0;
    if (session_ready_api(s, &api, err) < 0 ||
        cluster_state_put(api, s->state, s->journal, &what, err) < 0)
        return -1;
    if (what.done)
        tell(s, ENCRYPT_NOTE, NULL, NULL, COPY ": %s", what.done);
    if (what.left)
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             COPY " is left as it is: %s; encrypt doctor --config %s tells what to do", what.left,
             s->options->config);
    mem_free(what.left);
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
