#include "state/cluster_encryption.h"

#include <ctype.h>
#include <string.h>

#define SECTION "secrets_encryption_config"

void cluster_encryption_defaults(struct cluster *c)
{
    c->provider = PROVIDER_AESCBC;
    c->resources = mem_alloc(2, sizeof(*c->resources));
    c->resources[0] = mem_strdup("secrets");
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            return true;
    return false;
}

static void fault(struct config_findings *f, const struct yaml *y, const char *field,
                  const char *what, const char *mend)
{
    config_findings_add(f, y, false, field, what, mend);
}

/* RKE passes over what it doesn't know. */
static void check_members(struct config_findings *f, const struct yaml *map)
{
    static const char *const known[] = {"enabled", "custom_config", "provider", "resources"};
    for (size_t i = 0; i < map->count; i++) {
        size_t k = 0;
        while (k < ARRAY_LEN(known) && !str_eq(known[k], map->keys[i]->scalar))
            k++;
        if (k == ARRAY_LEN(known))
            config_findings_add(f, map->keys[i], true, SECTION, "unknown field, which does nothing",
                                "known here: enabled, provider, resources, custom_config");
    }
}

static void read_provider(struct cluster *c, struct config_findings *f, const struct yaml *y)
{
    static const char field[] = SECTION ".provider";
    static const enum provider_type types[] = {PROVIDER_AESCBC, PROVIDER_AESGCM,
                                               PROVIDER_SECRETBOX};
    if (yaml_is_null(y))
        return;
    const char *name = y->kind == YAML_KIND_SCALAR ? y->scalar : "";
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(name, provider_type_name(types[i]))) {
            c->provider = types[i];
            if (types[i] == PROVIDER_AESGCM)
                config_findings_add(
                    f, y, true, field,
                    "a key of aesgcm may be used for 200,000 writes, no more: nonces are random",
                    "rotate the key in time, or take secretbox or aescbc");
            return;
        }
    if (str_eq(name, "kms"))
        fault(f, y, field, "kms needs more than its name",
              "write custom_config with a kms provider in it, and take provider out");
    else if (str_eq(name, "identity"))
        fault(f, y, field, "identity encrypts nothing", "write enabled: false");
    else
        fault(f, y, field, "unknown provider", "aescbc, aesgcm or secretbox");
}

static void read_resources(struct cluster *c, struct config_findings *f, const struct yaml *y)
{
    struct config_findings own CLEANUP(config_findings_free) = {0};
    char **names = NULL;
    if (yaml_is_null(y))
        return;
    encryption_resources_check(y, &own, &names);
    config_findings_move(f, &own, SECTION ".resources", false);
    if (!names)
        return;
    encryption_resources_free(c->resources);
    c->resources = names;
}

static void read_custom(struct cluster *c, struct config_findings *f, const struct yaml *map)
{
    struct config_findings own CLEANUP(config_findings_free) = {0};
    const struct yaml *y = yaml_get(map, "custom_config");
    if (yaml_is_null(y))
        return;
    encryption_config_check(y, &own, &c->custom);
    config_findings_move(f, &own, "custom_config", false);
    c->custom_config = y;
    if (c->encryption != SECRETS_ENCRYPTION_ENABLED)
        config_findings_add(f, y, true, SECTION ".custom_config", "not used: enabled is not true",
                            NULL);
    static const char *const managed[] = {"provider", "resources"};
    for (size_t i = 0; i < ARRAY_LEN(managed); i++)
        for (size_t k = 0; k < map->count; k++)
            if (str_eq(map->keys[k]->scalar, managed[i]) && !yaml_is_null(map->items[k])) {
                char *field CLEANUP(cleanup_mem) = mem_printf("%s.%s", SECTION, managed[i]);
                char *mend CLEANUP(cleanup_mem) = mem_printf(
                    "take %s out, or custom_config for an encryption that encrypt manages",
                    managed[i]);
                fault(f, map->keys[k], field, "can't stand beside custom_config, which says it all",
                      mend);
            }
}

/* A map of texts, or (extra_args_array) of lists of texts, of which the last counts. */
static const struct yaml *argument(const struct yaml *kube_api, const char *map, const char *name)
{
    const struct yaml *y = yaml_path(kube_api, map, name, NULL);
    if (y && y->kind == YAML_KIND_LIST)
        y = y->count ? y->items[y->count - 1] : NULL;
    return y && y->kind == YAML_KIND_SCALAR && *y->scalar ? y : NULL;
}

static void read_own_file(struct cluster *c, struct config_findings *f, const struct yaml *kube_api)
{
    static const char *const maps[] = {"extra_args", "extra_args_array"};
    static const char *const names[] = {"experimental-encryption-provider-config",
                                        "encryption-provider-config"};
    for (size_t m = 0; m < ARRAY_LEN(maps); m++)
        for (size_t n = 0; n < ARRAY_LEN(names); n++) {
            const struct yaml *y = argument(kube_api, maps[m], names[n]);
            if (!y || has_control(y->scalar))
                continue;
            mem_free(c->own_config_path);
            c->own_config_path = mem_strdup(y->scalar);
            c->own_config_line = y->line;
            if (c->encryption != SECRETS_ENCRYPTION_ENABLED)
                continue;
            char *field CLEANUP(cleanup_mem) = mem_printf("%s.%s", maps[m], names[n]);
            fault(f, y, field,
                  "goes against enabled: true: kube-apiserver would read this file, and never the "
                  "one that is managed",
                  "either take this line out, and `encrypt up` takes over what that file says as "
                  "what runs; or keep the file as yours and set enabled: false");
        }
}

static void add_gates(struct buf *out, const struct yaml *y)
{
    if (y->kind == YAML_KIND_SCALAR && *y->scalar && !has_control(y->scalar))
        buf_printf(out, "%s%s", out->len ? "," : "", y->scalar);
}

/* kube-apiserver puts all that it is given together. */
static void read_gates(struct cluster *c, const struct yaml *kube_api)
{
    static const char *const maps[] = {"extra_args", "extra_args_array"};
    struct buf gates CLEANUP(buf_free) = {0};
    for (size_t m = 0; m < ARRAY_LEN(maps); m++) {
        const struct yaml *y = yaml_path(kube_api, maps[m], "feature-gates", NULL);
        if (y)
            add_gates(&gates, y);
        for (size_t i = 0; y && y->kind == YAML_KIND_LIST && i < y->count; i++)
            add_gates(&gates, y->items[i]);
    }
    if (gates.len)
        c->feature_gates = mem_strdup(buf_str(&gates));
}

/* Two parts at least, and the container's a path: what Docker takes. */
static bool is_bind(const struct yaml *y)
{
    if (y->kind != YAML_KIND_SCALAR || has_control(y->scalar))
        return false;
    const char *colon = strchr(y->scalar, ':');
    return colon && colon > y->scalar && colon[1] == '/';
}

static void read_extra_binds(struct cluster *c, struct config_findings *f,
                             const struct yaml *kube_api)
{
    static const char mend[] = "write \"host:container[:options]\" for each, with an absolute path "
                               "of the container";
    const struct yaml *list = yaml_get(kube_api, "extra_binds");
    if (yaml_is_null(list))
        return;
    for (size_t i = 0; i < kube_api->count; i++)
        if (kube_api->items[i] == list)
            c->extra_binds_line = kube_api->keys[i]->line;
    if (list->kind != YAML_KIND_LIST) {
        fault(f, list, "extra_binds", "not a list", mend);
        return;
    }
    char **binds CLEANUP(cleanup_mem) = mem_alloc(list->count + 1, sizeof(*binds));
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (is_bind(list->items[i])) {
            binds[count++] = mem_strdup(list->items[i]->scalar);
            continue;
        }
        char *field CLEANUP(cleanup_mem) = mem_printf("extra_binds[%zu]", i);
        fault(f, list->items[i], field, "not a bind", mend);
    }
    if (count)
        c->extra_binds = STEAL(binds);
}

void cluster_encryption_read(struct cluster *c, const struct yaml *kube_api, const struct yaml *map)
{
    struct config_findings own CLEANUP(config_findings_free) = {0};
    if (map) {
        check_members(&own, map);
        read_provider(c, &own, yaml_get(map, "provider"));
        read_resources(c, &own, yaml_get(map, "resources"));
        read_custom(c, &own, map);
    }
    read_own_file(c, &own, kube_api);
    read_gates(c, kube_api);
    read_extra_binds(c, &own, kube_api);
    config_findings_move(&c->findings, &own, "", c->encryption != SECRETS_ENCRYPTION_ENABLED);
    config_findings_sort(&c->findings);
}

void cluster_encryption_read_rotation(struct cluster *c, const struct yaml *document)
{
    static const char field[] = "rotate_encryption_key";
    const struct yaml *key = NULL;
    for (size_t i = 0; i < document->count; i++)
        if (str_eq(document->keys[i]->scalar, field))
            key = document->keys[i];
    c->rotate_line = key ? key->line : 0;
    if (!c->rotate_encryption_key)
        return;
    if (c->encryption != SECRETS_ENCRYPTION_ENABLED)
        config_findings_add(&c->findings, key, true, field,
                            "does nothing: secrets_encryption_config.enabled is not true",
                            "take it out");
    else if (c->custom_config)
        config_findings_add(&c->findings, key, true, field,
                            "does not go with custom_config: `up` rotates no key of yours by it",
                            "take it out; encrypt rotate-key rotates under a custom_config");
    else
        config_findings_add(&c->findings, key, true, field,
                            "each `up` that has nothing else to do rotates the key",
                            "take it out when the key is rotated");
    config_findings_sort(&c->findings);
}
