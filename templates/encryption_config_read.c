#include "base/yaml.h"
#include "templates/encryption_config_reader.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reader_free(struct config_reader *r)
{
    buf_free(&r->path);
}

static void add(struct config_reader *r, const struct yaml *y, bool warning, const char *field,
                const char *mend, const char *fmt, va_list ap)
{
    char *what CLEANUP(cleanup_mem) = NULL;
    if (vasprintf(&what, fmt, ap) < 0)
        abort();
    char *whole CLEANUP(cleanup_mem) =
        mem_printf("%s%s%s", buf_str(&r->path), r->path.len && *field ? "." : "", field);
    config_findings_add(r->findings, y, warning, whole, what, mend);
}

void config_fault(struct config_reader *r, const struct yaml *y, const char *field,
                  const char *mend, const char *what, ...)
{
    va_list ap;
    va_start(ap, what);
    add(r, y, false, field, mend, what, ap);
    va_end(ap);
}

void config_warn(struct config_reader *r, const struct yaml *y, const char *field, const char *mend,
                 const char *what, ...)
{
    va_list ap;
    va_start(ap, what);
    add(r, y, true, field, mend, what, ap);
    va_end(ap);
}

size_t config_enter(struct config_reader *r, const char *fmt, ...)
{
    size_t before = r->path.len;
    va_list ap;
    va_start(ap, fmt);
    char *step CLEANUP(cleanup_mem) = NULL;
    if (vasprintf(&step, fmt, ap) < 0)
        abort();
    va_end(ap);
    buf_printf(&r->path, "%s%s", before && *step != '[' ? "." : "", step);
    return before;
}

void config_leave(struct config_reader *r, size_t before)
{
    r->path.len = before;
    r->path.data[before] = '\0';
}

static const char *is_null(const struct yaml *y)
{
    return yaml_is_null(y) ? "it is null: write the entry, or take the line out" : NULL;
}

/* Names no field that is not like one: anything longer, or with other characters, may be a key in
 * the wrong place. */
static void unknown_field(struct config_reader *r, const struct yaml *key,
                          const char *const *fields)
{
    struct buf mend CLEANUP(buf_free) = {0};
    buf_adds(&mend, fields[0] ? "known here: " : "nothing belongs here");
    for (size_t i = 0; fields[i]; i++)
        buf_printf(&mend, "%s%s", i ? ", " : "", fields[i]);
    size_t len = strlen(key->scalar);
    if (len > 20 ||
        strspn(key->scalar, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") < len)
        config_fault(r, key, "", buf_str(&mend), "unknown field");
    else
        config_fault(r, key, "", buf_str(&mend), "unknown field \"%s\"", key->scalar);
}

/* A map with no other fields than these, each once (unless lenient). False where it is no map. */
static bool check_map(struct config_reader *r, const struct yaml *y, const char *const *fields)
{
    if (y->kind != YAML_KIND_MAP) {
        config_fault(r, y, "", is_null(y), "must be a map");
        return false;
    }
    bool seen[8] = {false};
    for (size_t i = 0; r->strict && i < y->count; i++) {
        size_t f = 0;
        while (fields[f] && !str_eq(fields[f], y->keys[i]->scalar))
            f++;
        if (!fields[f])
            unknown_field(r, y->keys[i], fields);
        else if (seen[f])
            config_fault(r, y->keys[i], "", "take one of the two out",
                         "field \"%s\" is given twice", fields[f]);
        seen[f] = true;
    }
    return true;
}

/* A list field; NULL where it is absent, null or no list. */
static const struct yaml *get_list(struct config_reader *r, const struct yaml *map,
                                   const char *field)
{
    const struct yaml *list = yaml_get(map, field);
    if (!yaml_is_null(list) && list->kind != YAML_KIND_LIST) {
        config_fault(r, list, field, "write each entry in a line of its own, behind \"- \"",
                     "must be a list");
        return NULL;
    }
    if (r->strict && (yaml_is_null(list) || !list->count)) {
        config_fault(r, list ? list : map, field, NULL, "at least one is needed");
        return NULL;
    }
    return yaml_is_null(list) ? NULL : list;
}

static bool read_text(struct config_reader *r, const struct yaml *y, char **out)
{
    bool is_text = y->kind == YAML_KIND_SCALAR;
    if (!is_text)
        config_fault(r, y, "", is_null(y), "must be a string");
    else if (!y->quoted && !yaml_plain_is_string(y->scalar))
        config_fault(r, y, "", "quote it",
                     "must be a string, and YAML takes it for a number or a boolean");
    else
        *out = mem_strdup(y->scalar);
    return *out;
}

/* A string field; NULL where it is absent or null. False where it is something else. */
static bool get_text(struct config_reader *r, const struct yaml *map, const char *field, char **out)
{
    const struct yaml *y = yaml_get(map, field);
    if (yaml_is_null(y))
        return true;
    size_t path = config_enter(r, "%s", field);
    bool is_text = read_text(r, y, out);
    config_leave(r, path);
    return is_text;
}

/* The name of a key or of a kms provider. */
static void get_name(struct config_reader *r, const struct yaml *map, char **out)
{
    bool is_text = get_text(r, map, "name", out);
    const struct yaml *at = yaml_get(map, "name");
    if (r->strict && is_text)
        encryption_check_name(r, at ? at : map, *out ? *out : "");
    if (!*out)
        *out = mem_strdup("");
}

bool encryption_secret_decode(const char *text, bool skip_line_ends, unsigned char **out,
                              size_t *out_len)
{
    struct buf clean CLEANUP(buf_free) = {0};
    for (; *text; text++)
        if (!skip_line_ends || (*text != '\n' && *text != '\r'))
            buf_add(&clean, text, 1);
    const char *s = buf_str(&clean);
    size_t digits = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    size_t pads = strspn(s + digits, "=");
    if (digits + pads != clean.len || clean.len % 4 || pads > 2 || clean.len > INT_MAX)
        return false;
    unsigned char *bytes = mem_alloc(clean.len, 1);
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)s, (int)clean.len);
    if (n < 0 || (size_t)n < pads) {
        mem_free(bytes);
        return false;
    }
    *out = bytes;
    *out_len = (size_t)n - pads;
    return true;
}

bool encryption_secret_fits(enum provider_type type, size_t len)
{
    return len == 32 || (type != PROVIDER_SECRETBOX && (len == 16 || len == 24));
}

static void read_secret(struct config_reader *r, const struct yaml *y, enum provider_type type,
                        struct encryption_key *key)
{
    char *text CLEANUP(cleanup_mem) = NULL;
    if (!get_text(r, y, "secret", &text))
        return;
    const struct yaml *at = yaml_get(y, "secret");
    if (!text || !*text) {
        config_fault(r, at ? at : y, "secret", NULL, "must not be empty");
        return;
    }
    char *mend CLEANUP(cleanup_mem) = encryption_secret_mend(text);
    /* Go's decoder, and so kube-apiserver, passes over line ends. */
    if (!encryption_secret_decode(text, !r->strict, &key->secret, &key->secret_len))
        config_fault(r, at, "secret", mend, "must be standard base64 with padding");
    else if (!encryption_secret_fits(type, key->secret_len))
        config_fault(r, at, "secret", mend, "%s needs a key of %s bytes, this one has %zu",
                     provider_type_name(type), type == PROVIDER_SECRETBOX ? "32" : "16, 24 or 32",
                     key->secret_len);
    else if (r->strict)
        encryption_check_secret(r, at, text, key);
}

static void read_key(struct config_reader *r, const struct yaml *y, enum provider_type type,
                     struct encryption_key *key)
{
    static const char *const fields[] = {"name", "secret", NULL};
    if (!check_map(r, y, fields)) {
        key->name = mem_strdup("");
        return;
    }
    get_name(r, y, &key->name);
    read_secret(r, y, type, key);
}

static void read_keys(struct config_reader *r, const struct yaml *y, struct encryption_provider *p)
{
    static const char *const fields[] = {"keys", NULL};
    if (!check_map(r, y, fields))
        return;
    size_t before = r->findings->errors;
    const struct yaml *keys = get_list(r, y, "keys");
    if (r->findings->errors == before && (!keys || !keys->count))
        config_fault(r, y, "keys", NULL, "at least one is needed");
    for (size_t i = 0; keys && i < keys->count; i++) {
        size_t path = config_enter(r, "keys[%zu]", i);
        MEM_GROW(p->keys, p->key_count);
        struct encryption_key *key = &p->keys[p->key_count++];
        *key = (struct encryption_key){0};
        read_key(r, keys->items[i], p->type, key);
        config_leave(r, path);
    }
}

static void read_kms(struct config_reader *r, const struct yaml *y, struct encryption_provider *p)
{
    static const char *const fields[] = {"apiVersion", "name",    "endpoint",
                                         "cachesize",  "timeout", NULL};
    char *version CLEANUP(cleanup_mem) = NULL;
    if (!check_map(r, y, fields))
        return;
    get_text(r, y, "apiVersion", &version);
    get_name(r, y, &p->kms_name);
    bool is_text = get_text(r, y, "endpoint", &p->kms_endpoint);
    get_text(r, y, "timeout", &p->kms_timeout);
    p->kms_v2 = str_eq(version, "v2");
    if (version && *version && !p->kms_v2 && !str_eq(version, "v1"))
        config_fault(r, yaml_get(y, "apiVersion"), "apiVersion", NULL, "must be v1 or v2");
    if (is_text && (!p->kms_endpoint || !*p->kms_endpoint)) {
        const struct yaml *at = yaml_get(y, "endpoint");
        config_fault(r, at ? at : y, "endpoint",
                     "write the socket's path: unix:///run/kmsplugin/socket.sock",
                     "must not be empty");
    }
    const struct yaml *cachesize = yaml_get(y, "cachesize");
    p->has_cachesize = !yaml_is_null(cachesize);
    if (p->has_cachesize &&
        (!yaml_int(cachesize, &p->cachesize) || p->cachesize > INT_MAX || p->cachesize < INT_MIN)) {
        config_fault(r, cachesize, "cachesize", NULL, "must be a whole number of 32 bits");
        p->has_cachesize = false;
    }
    if (r->strict)
        encryption_check_kms(r, y, p);
}

static bool is_behind(const struct yaml *a, const struct yaml *b)
{
    return a->line > b->line || (a->line == b->line && a->column > b->column);
}

/* False where it is none that can be read. */
static bool read_provider(struct config_reader *r, const struct yaml *y,
                          struct encryption_provider *p)
{
    static const enum provider_type types[] = {PROVIDER_IDENTITY, PROVIDER_AESCBC, PROVIDER_AESGCM,
                                               PROVIDER_SECRETBOX, PROVIDER_KMS};
    static const char *const fields[] = {"identity", "aescbc", "aesgcm", "secretbox", "kms", NULL};
    static const char *const none[] = {NULL};
    size_t errors = r->findings->errors;
    if (!check_map(r, y, fields))
        return false;
    const struct yaml *body = NULL;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const struct yaml *found = yaml_get(y, fields[i]);
        if (yaml_is_null(found)) /* kube-apiserver takes null for absent */
            continue;
        if (body)
            config_fault(r, is_behind(found, body) ? found : body, "",
                         "write each behind a \"- \" of its own",
                         "more than one provider in one entry");
        body = found;
        p->type = types[i];
    }
    if (!body && r->findings->errors == errors)
        config_fault(r, y, "", "identity is written \"identity: {}\"", "no provider in this entry");
    if (r->findings->errors > errors)
        return false;
    size_t path = config_enter(r, "%s", provider_type_name(p->type));
    if (p->type == PROVIDER_IDENTITY)
        check_map(r, body, none);
    else if (p->type == PROVIDER_KMS)
        read_kms(r, body, p);
    else
        read_keys(r, body, p);
    config_leave(r, path);
    return p->type == PROVIDER_IDENTITY || p->key_count || p->kms_name;
}

/* The names of a list, which the path is at already but for their numbers. */
static void read_resources(struct config_reader *r, const struct yaml *list,
                           struct encryption_item *item)
{
    for (size_t i = 0; list && i < list->count; i++) {
        const struct yaml *at = list->items[i];
        size_t path = config_enter(r, "[%zu]", i);
        MEM_GROW(item->resources, item->resource_count);
        char **resource = &item->resources[item->resource_count++];
        *resource = NULL;
        if (!read_text(r, at, resource))
            *resource = mem_strdup("");
        else if (r->strict)
            encryption_check_resource(r, at, *resource);
        config_leave(r, path);
    }
    if (r->strict)
        encryption_check_overlaps(r, list, item);
}

static void read_item(struct config_reader *r, const struct yaml *y, struct encryption_item *item)
{
    static const char *const fields[] = {"resources", "providers", NULL};
    if (!check_map(r, y, fields)) {
        r->shapeless = true;
        return;
    }
    const struct yaml *resources = get_list(r, y, "resources");
    size_t path = config_enter(r, "resources");
    read_resources(r, resources, item);
    config_leave(r, path);
    size_t before = r->findings->errors;
    const struct yaml *providers = get_list(r, y, "providers");
    if (r->findings->errors == before && (!providers || !providers->count))
        config_fault(r, y, "providers", NULL, "at least one is needed");
    for (size_t i = 0; providers && i < providers->count; i++) {
        path = config_enter(r, "providers[%zu]", i);
        MEM_GROW(item->providers, item->provider_count);
        struct encryption_provider *p = &item->providers[item->provider_count++];
        *p = (struct encryption_provider){0};
        if (!read_provider(r, providers->items[i], p))
            r->shapeless = true;
        config_leave(r, path);
    }
    r->shapeless = r->shapeless || !item->resource_count || !item->provider_count;
}

static void check_kind(struct config_reader *r, const struct yaml *y)
{
    const struct yaml *kind = yaml_get(y, "kind"), *version = yaml_get(y, "apiVersion");
    const char *k = kind && kind->scalar ? kind->scalar : "";
    const char *v = version && version->scalar ? version->scalar : "";
    bool now = str_eq(k, "EncryptionConfiguration") && str_eq(v, "apiserver.config.k8s.io/v1");
    bool then = str_eq(k, "EncryptionConfig") && str_eq(v, "v1");
    if (!now && !then)
        config_fault(r, kind ? kind : y, "kind, apiVersion", NULL,
                     "must be EncryptionConfiguration and apiserver.config.k8s.io/v1 (or the old "
                     "EncryptionConfig and v1)");
}

static void read_config(struct config_reader *r, const struct yaml *y, struct encryption_config *c)
{
    static const char *const fields[] = {"apiVersion", "kind", "resources", NULL};
    if (yaml_is_null(y)) {
        config_fault(r, y, "", NULL, "no document");
        return;
    }
    if (!check_map(r, y, fields))
        return;
    check_kind(r, y);
    const struct yaml *list = get_list(r, y, "resources");
    for (size_t i = 0; list && i < list->count; i++) {
        size_t path = config_enter(r, "resources[%zu]", i);
        MEM_GROW(c->items, c->item_count);
        struct encryption_item *item = &c->items[c->item_count++];
        *item = (struct encryption_item){0};
        read_item(r, list->items[i], item);
        config_leave(r, path);
    }
    if (r->strict && list)
        encryption_check_whole(r, list, c);
}

void encryption_config_check(const struct yaml *y, struct config_findings *findings,
                             struct encryption_config **out)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = mem_alloc(1, sizeof(*c));
    struct config_reader r CLEANUP(reader_free) = {.strict = true, .findings = findings};
    size_t before = findings->errors;
    read_config(&r, y, c);
    config_findings_sort(findings);
    *out = findings->errors > before ? NULL : STEAL(c);
}

void encryption_resources_check(const struct yaml *list, struct config_findings *findings,
                                char ***out)
{
    struct encryption_item item = {0};
    struct config_reader r CLEANUP(reader_free) = {.strict = true, .findings = findings};
    size_t before = findings->errors;
    if (list->kind != YAML_KIND_LIST)
        config_fault(&r, list, "", "write it as a list: [secrets, configmaps]", "must be a list");
    else if (!list->count)
        config_fault(&r, list, "", NULL, "at least one is needed");
    else
        read_resources(&r, list, &item);
    MEM_GROW(item.resources, item.resource_count);
    item.resources[item.resource_count] = NULL;
    if (findings->errors == before)
        *out = item.resources;
    else
        encryption_resources_free(item.resources);
}

/* The first finding alone: what comes after may follow from it. */
static int read_leniently(const struct yaml *y, const char *name, struct encryption_config **out,
                          struct error *err)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = mem_alloc(1, sizeof(*c));
    struct config_findings findings CLEANUP(config_findings_free) = {0};
    struct config_reader r CLEANUP(reader_free) = {.findings = &findings};
    read_config(&r, y, c);
    if (findings.errors) {
        const struct config_findings first = {findings.list, 1, 1};
        return config_findings_error(&first, name, err);
    }
    *out = STEAL(c);
    return 0;
}

int encryption_config_from_yaml(const struct yaml *y, const char *name, enum encryption_reading how,
                                struct encryption_config **out, struct error *err)
{
    if (how == ENCRYPTION_LENIENT)
        return read_leniently(y, name, out, err);
    struct config_findings findings CLEANUP(config_findings_free) = {0};
    struct encryption_config *c = NULL;
    encryption_config_check(y, &findings, &c);
    if (!c)
        return config_findings_error(&findings, name, err);
    *out = c;
    return 0;
}

int encryption_config_read(const char *text, size_t len, const char *name,
                           enum encryption_reading how, struct encryption_config **out,
                           struct error *err)
{
    size_t blank = 0;
    while (blank < len && text[blank] && strchr(" \t\r\n", text[blank]))
        blank++;
    if (blank == len) {
        *out = mem_alloc(1, sizeof(**out));
        return 0;
    }
    struct yaml *y CLEANUP(cleanup_yaml) = NULL;
    if (yaml_read(text, len, name, &y, err) != 0)
        return -1;
    return encryption_config_from_yaml(y, name, how, out, err);
}
