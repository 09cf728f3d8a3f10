#include "state/rkestate.h"

#include "base/file.h"
#include "state/json_text.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

enum { STATE_LIMIT = 64 << 20 };

static const char *const states[] = {"desiredState", "currentState"};
static const char *const way_to_encryption[] = {"services", "kubeApi", "secretsEncryptionConfig"};

static const json_t *state_of(const struct rkestate *s, const char *which)
{
    const json_t *state = json_object_get(s->root, which);
    return json_object_size(state) > 0 ? state : NULL;
}

enum type { OBJECT, LIST, TEXT, BOOLEAN };

/* Absent and null pass: Go reads both as the empty value. */
static int want(const json_t *object, const char *member, enum type type, const char *path,
                const char *where, struct error *err)
{
    const json_t *value = json_object_get(object, member);
    if (!value || json_is_null(value))
        return 0;
    bool fits = (type == OBJECT && json_is_object(value)) ||
                (type == LIST && json_is_array(value)) ||
                (type == TEXT && json_is_string(value) &&
                 strlen(json_string_value(value)) == json_string_length(value)) ||
                (type == BOOLEAN && json_is_boolean(value));
    static const char *const names[] = {"an object", "a list", "a text", "a boolean"};
    return fits ? 0
                : error_set(err, RESULT_REFUSED, "%s: %s%s%s is not %s", path, where,
                            *where ? "." : "", member, names[type]);
}

static int check_state(const json_t *root, const char *which, const char *path, struct error *err)
{
    const json_t *state = json_object_get(root, which);
    if (want(state, "rkeConfig", OBJECT, path, which, err) != 0 ||
        want(state, "certificatesBundle", OBJECT, path, which, err) != 0 ||
        want(state, "encryptionConfig", TEXT, path, which, err) != 0)
        return -1;
    const json_t *at = json_object_get(state, "rkeConfig");
    char *where CLEANUP(cleanup_mem) = mem_printf("%s.rkeConfig", which);
    if (want(at, "nodes", LIST, path, where, err) != 0 ||
        want(at, "rotateEncryptionKey", BOOLEAN, path, where, err) != 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(way_to_encryption); i++) {
        if (want(at, way_to_encryption[i], OBJECT, path, where, err) != 0)
            return -1;
        at = json_object_get(at, way_to_encryption[i]);
        char *longer = mem_printf("%s.%s", where, way_to_encryption[i]);
        mem_free(where);
        where = longer;
    }
    return want(at, "enabled", BOOLEAN, path, where, err);
}

/* NULL: error set. */
static struct rkestate *parse(const char *text, size_t len, const char *path, struct error *err)
{
    json_t *root CLEANUP(cleanup_json) = NULL;
    if (json_text_read(text, len, path, &root, err) != 0)
        return NULL;
    if (!json_is_object(root)) {
        error_set(err, RESULT_REFUSED, "%s: not a state file of RKE: not an object", path);
        return NULL;
    }
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (want(root, states[i], OBJECT, path, "", err) != 0 ||
            check_state(root, states[i], path, err) != 0)
            return NULL;
        any = any || json_is_object(json_object_get(root, states[i]));
    }
    if (!any) {
        error_set(err, RESULT_REFUSED,
                  "%s: not a state file of RKE: no desiredState and no currentState", path);
        return NULL;
    }
    struct rkestate *s = mem_alloc(1, sizeof(*s));
    s->path = mem_strdup(path);
    s->root = STEAL(root);
    return s;
}

int rkestate_parse(const char *text, size_t len, const char *path, struct rkestate **out,
                   struct error *err)
{
    struct rkestate *s = parse(text, len, path, err);
    if (!s)
        return -1;
    *out = s;
    return 0;
}

int rkestate_read(const char *path, struct rkestate **out, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    bool missing = false;
    *out = NULL;
    if (file_read(path, STATE_LIMIT, true, &text, &missing, err) != 0)
        return -1;
    if (missing)
        return 0;
    struct rkestate *s = parse(text.data, text.len, path, err);
    if (!s)
        return -1;
    s->on_disk = true;
    SHA256((const unsigned char *)buf_str(&text), text.len, s->seen);
    *out = s;
    return 0;
}

static int digest_of_file(const char *path, unsigned char digest[32], bool *missing,
                          struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (file_read(path, STATE_LIMIT, true, &text, missing, err) != 0)
        return -1;
    SHA256((const unsigned char *)buf_str(&text), text.len, digest);
    return 0;
}

int rkestate_check_unchanged(const struct rkestate *s, struct error *err)
{
    unsigned char digest[sizeof(s->seen)];
    bool missing = false;
    if (!s->on_disk)
        return 0;
    if (digest_of_file(s->path, digest, &missing, err) != 0)
        return -1;
    if (!missing && memcmp(digest, s->seen, sizeof(digest)) == 0)
        return 0;
    return error_set(err, RESULT_REFUSED,
                     "%s: another program %s it after we had read it: nothing was written to it",
                     s->path, missing ? "removed" : "changed");
}

int rkestate_write(struct rkestate *s, struct error *err)
{
    if (rkestate_check_unchanged(s, err) != 0)
        return -1;
    struct buf text CLEANUP(buf_free) = {0};
    json_text_write(s->root, &text);
    unsigned char digest[sizeof(s->seen)];
    SHA256((const unsigned char *)text.data, text.len, digest);
    bool create = s->is_new && !s->on_disk;
    int failed = create ? file_create(s->path, text.data, text.len, err)
                        : file_write(s->path, text.data, text.len, err);
    if (failed) {
        /* The new contents may stand there all the same (a failed fsync of the folder): then a
         * second try must not take them for another program's. */
        struct error ignored CLEANUP(error_clear) = {0};
        unsigned char now[sizeof(digest)];
        bool missing = false;
        if (digest_of_file(s->path, now, &missing, &ignored) != 0 || missing ||
            memcmp(now, digest, sizeof(now)) != 0)
            return -1;
    }
    s->on_disk = true;
    memcpy(s->seen, digest, sizeof(digest));
    return failed;
}

struct rkestate *rkestate_bare(const char *path)
{
    struct rkestate *s = mem_alloc(1, sizeof(*s));
    s->path = mem_strdup(path);
    s->root = json_object();
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        json_put(s->root, states[i], json_object());
        json_put(json_object_get(s->root, states[i]), "encryptionConfig", json_string(""));
    }
    return s;
}

bool rkestate_is_bare(const struct rkestate *s)
{
    static const char *const members[] = {"rkeConfig", "certificatesBundle"};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        for (size_t k = 0; k < ARRAY_LEN(members); k++) {
            if (json_object_size(json_object_get(state_of(s, states[i]), members[k])) > 0)
                return false;
        }
    }
    return true;
}

void rkestate_free(struct rkestate *s)
{
    if (!s)
        return;
    mem_free(s->path);
    json_wipe(s->root);
    mem_free(s);
}

void cleanup_rkestate(struct rkestate **s)
{
    rkestate_free(*s);
}

static const char *config_of(const json_t *state)
{
    const char *text = json_string_value(json_object_get(state, "encryptionConfig"));
    return text ? text : "";
}

const char *rkestate_encryption_config(const struct rkestate *s)
{
    const json_t *current = state_of(s, "currentState");
    return config_of(current ? current : state_of(s, "desiredState"));
}

const char *rkestate_desired_encryption_config(const struct rkestate *s)
{
    return config_of(state_of(s, "desiredState"));
}

static void set_enabled(json_t *rke_config, bool enabled)
{
    json_t *at = rke_config;
    for (size_t i = 0; i < ARRAY_LEN(way_to_encryption); i++) {
        if (!json_is_object(json_object_get(at, way_to_encryption[i]))) {
            if (!enabled)
                return;
            json_put(at, way_to_encryption[i], json_object());
        }
        at = json_object_get(at, way_to_encryption[i]);
    }
    if (enabled || json_object_get(at, "enabled"))
        json_put(at, "enabled", json_boolean(enabled));
}

void rkestate_set_encryption(struct rkestate *s, const char *yaml, bool enabled)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (!state_of(s, states[i]))
            continue;
        json_t *state = json_object_get(s->root, states[i]);
        if (*yaml || json_object_get(state, "encryptionConfig"))
            json_put(state, "encryptionConfig", json_string(yaml));
        json_t *rke_config = json_object_get(state, "rkeConfig");
        if (!json_is_object(rke_config))
            continue;
        if (json_is_true(json_object_get(rke_config, "rotateEncryptionKey")))
            json_put(rke_config, "rotateEncryptionKey", json_false());
        set_enabled(rke_config, enabled);
    }
}

static bool flags_say(const json_t *rke_config, bool enabled)
{
    const json_t *at = rke_config;
    if (!json_is_object(rke_config))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(way_to_encryption); i++)
        at = json_object_get(at, way_to_encryption[i]);
    return json_is_true(json_object_get(at, "enabled")) == enabled &&
           !json_is_true(json_object_get(rke_config, "rotateEncryptionKey"));
}

/* What doesn't read may hold a key that is nowhere else: it is left. */
static bool same_or_unreadable(const char *a, const char *b)
{
    struct encryption_config *ca CLEANUP(cleanup_encryption_config) = NULL;
    struct encryption_config *cb CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    return encryption_config_read(a, strlen(a), "a", ENCRYPTION_LENIENT, &ca, &ignored) < 0 ||
           encryption_config_read(b, strlen(b), "b", ENCRYPTION_LENIENT, &cb, &ignored) < 0 ||
           encryption_config_equal(ca, cb);
}

bool rkestate_agrees(const struct rkestate *s, bool enabled)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        const json_t *state = state_of(s, states[i]);
        if (state && (!flags_say(json_object_get(state, "rkeConfig"), enabled) ||
                      !same_or_unreadable(config_of(state), rkestate_encryption_config(s))))
            return false;
    }
    return true;
}

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text && *text ? text : NULL;
}

static const char *pem(const struct rkestate *s, const char *name, const char *member)
{
    static const char *const order[] = {"currentState", "desiredState"};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        const json_t *bundle = json_object_get(state_of(s, order[i]), "certificatesBundle");
        const json_t *entry = json_object_get(bundle, name);
        if (text_of(entry, "certificatePEM") || text_of(entry, "keyPEM"))
            return text_of(entry, member);
    }
    return NULL;
}

const char *rkestate_certificate(const struct rkestate *s, const char *name)
{
    return pem(s, name, "certificatePEM");
}

const char *rkestate_key(const struct rkestate *s, const char *name)
{
    return pem(s, name, "keyPEM");
}

static bool is_controlplane(const json_t *node)
{
    const json_t *roles = json_object_get(node, "role"), *role;
    size_t i;
    json_array_foreach (roles, i, role)
        if (str_eq(json_string_value(role), "controlplane"))
            return true;
    return false;
}

char **rkestate_controlplane(const struct rkestate *s)
{
    const json_t *rke_config = json_object_get(state_of(s, "currentState"), "rkeConfig");
    const json_t *nodes = json_object_get(rke_config, "nodes"), *node;
    char **addresses = mem_alloc(json_array_size(nodes) + 1, sizeof(*addresses));
    size_t i, count = 0;
    json_array_foreach (nodes, i, node)
        if (is_controlplane(node) && text_of(node, "address"))
            addresses[count++] = mem_strdup(text_of(node, "address"));
    return addresses;
}
