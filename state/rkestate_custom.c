/* secretsEncryptionConfig.customConfig, as RKE's encoder writes it: the JSON of Kubernetes' types.
 */
#include "state/json_text.h"
#include "state/rkestate.h"

#include <stdlib.h>

static const char *const states[] = {"desiredState", "currentState"};

static json_t *make(json_t *value)
{
    if (!value)
        abort();
    return value;
}

static void append(json_t *list, json_t *value)
{
    if (json_array_append_new(list, make(value)) != 0)
        abort();
}

static json_t *keys_to_json(const struct encryption_provider *p)
{
    json_t *list = make(json_array());
    for (size_t i = 0; i < p->key_count; i++) {
        struct buf secret CLEANUP(buf_free) = {0};
        encryption_key_write_secret(&p->keys[i], &secret);
        append(list, json_pack("{s:s, s:s}", "name", p->keys[i].name, "secret", buf_str(&secret)));
    }
    return make(json_pack("{s:o}", "keys", list));
}

static json_t *kms_to_json(const struct encryption_provider *p)
{
    json_t *kms = make(json_object());
    if (p->kms_v2)
        json_put(kms, "apiVersion", json_string("v2"));
    json_put(kms, "name", json_string(p->kms_name));
    if (p->has_cachesize)
        json_put(kms, "cachesize", json_integer(p->cachesize));
    json_put(kms, "endpoint", json_string(p->kms_endpoint));
    if (p->kms_timeout)
        json_put(kms, "timeout", json_string(p->kms_timeout));
    return kms;
}

static json_t *provider_to_json(const struct encryption_provider *p)
{
    json_t *value = p->type == PROVIDER_IDENTITY ? make(json_object())
                    : p->type == PROVIDER_KMS    ? kms_to_json(p)
                                                 : keys_to_json(p);
    return make(json_pack("{s:o}", provider_type_name(p->type), value));
}

static json_t *to_json(const struct encryption_config *c)
{
    json_t *items = make(json_array());
    for (size_t i = 0; i < c->item_count; i++) {
        const struct encryption_item *item = &c->items[i];
        json_t *resources = make(json_array()), *providers = make(json_array());
        for (size_t k = 0; k < item->resource_count; k++)
            append(resources, json_string(item->resources[k]));
        for (size_t k = 0; k < item->provider_count; k++)
            append(providers, provider_to_json(&item->providers[k]));
        append(items, json_pack("{s:o, s:o}", "resources", resources, "providers", providers));
    }
    return make(json_pack("{s:s, s:s, s:o}", "kind", "EncryptionConfiguration", "apiVersion",
                          "apiserver.config.k8s.io/v1", "resources", items));
}

/* NULL where that object is not there. */
static json_t *section(const struct rkestate *s, const char *state)
{
    static const char *const way[] = {"rkeConfig", "services", "kubeApi",
                                      "secretsEncryptionConfig"};
    json_t *at = json_object_get(s->root, state);
    for (size_t i = 0; i < ARRAY_LEN(way); i++)
        at = json_object_get(at, way[i]);
    return json_is_object(at) ? at : NULL;
}

/* `value` is a loan; NULL: taken out. */
static void set(struct rkestate *s, const json_t *value)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        json_t *at = section(s, states[i]);
        const json_t *old = json_object_get(at, "customConfig");
        if (!at || (!value && (!old || json_is_null(old))))
            continue;
        if (value)
            json_put(at, "customConfig", json_deep_copy(value));
        else
            json_object_del(at, "customConfig");
    }
}

void rkestate_set_custom(struct rkestate *s, const struct encryption_config *custom)
{
    json_t *value CLEANUP(cleanup_json) = custom ? to_json(custom) : NULL;
    set(s, value);
}

void rkestate_copy_custom(struct rkestate *s, const struct rkestate *from)
{
    const json_t *at = section(from, "currentState");
    at = at ? at : section(from, "desiredState");
    const json_t *there = json_object_get(at, "customConfig");
    json_t *value CLEANUP(cleanup_json) = json_is_object(there) ? json_deep_copy(there) : NULL;
    if (at)
        set(s, value);
}

bool rkestate_is_custom(const struct rkestate *s)
{
    bool current = json_object_size(json_object_get(s->root, "currentState")) > 0;
    const json_t *at = section(s, current ? "currentState" : "desiredState");
    return json_is_true(json_object_get(at, "enabled")) &&
           json_is_object(json_object_get(at, "customConfig"));
}
