#include "base/yaml.h"
#include "templates/encryption_config_parts.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    const char *name;
    bool strict;
    struct buf path; /* the field being read */
    struct error *err;
};

static void reader_free(struct reader *r)
{
    buf_free(&r->path);
}

/* A finding at y (or, where y is NULL, about the file): file:line:column: field: what. */
static int PRINTF_LIKE(3, 4) finding(struct reader *r, const struct yaml *y, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *what CLEANUP(cleanup_mem) = NULL;
    if (vasprintf(&what, fmt, ap) < 0)
        abort();
    va_end(ap);
    error_set(r->err, RESULT_REFUSED, "%s%s%s", buf_str(&r->path), r->path.len ? ": " : "", what);
    if (y)
        return error_wrap(r->err, "%s:%zu:%zu", r->name, y->line, y->column);
    return error_wrap(r->err, "%s", r->name);
}

static size_t PRINTF_LIKE(2, 3) enter(struct reader *r, const char *fmt, ...)
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

static void leave(struct reader *r, size_t before)
{
    r->path.len = before;
    r->path.data[before] = '\0';
}

/* A map with no other fields than these, each once (unless lenient). */
static int check_map(struct reader *r, const struct yaml *y, const char *const *fields)
{
    if (y->kind != YAML_KIND_MAP)
        return finding(r, y, "must be a map");
    if (!r->strict)
        return 0;
    for (size_t i = 0; i < y->count; i++) {
        const struct yaml *key = y->keys[i];
        size_t f = 0;
        while (fields[f] && !str_eq(fields[f], key->scalar))
            f++;
        if (fields[f])
            continue;
        /* Anything longer, or with other characters, may be a key in the wrong place. */
        size_t len = strlen(key->scalar);
        if (len > 20 ||
            strspn(key->scalar, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") < len)
            return finding(r, key, "unknown field");
        return finding(r, key, "unknown field \"%s\"", key->scalar);
    }
    long doubled = yaml_duplicate(y);
    if (doubled >= 0)
        return finding(r, y->keys[doubled], "field \"%s\" is given twice",
                       y->keys[doubled]->scalar);
    return 0;
}

/* A list field; *list is NULL where it is absent or null. */
static int get_list(struct reader *r, const struct yaml *map, const char *field,
                    const struct yaml **list)
{
    *list = yaml_get(map, field);
    if (yaml_is_null(*list))
        *list = NULL;
    else if ((*list)->kind != YAML_KIND_LIST)
        return finding(r, *list, "%s: must be a list", field);
    if (r->strict && (!*list || !(*list)->count))
        return finding(r, *list ? *list : map, "%s: at least one is needed", field);
    return 0;
}

static int read_text(struct reader *r, const struct yaml *y, char **out)
{
    if (y->kind != YAML_KIND_SCALAR)
        return finding(r, y, "must be a string");
    if (!y->quoted && !yaml_plain_is_string(y->scalar))
        return finding(r, y, "must be a string: YAML takes it for a number or a boolean; quote it");
    *out = mem_strdup(y->scalar);
    return 0;
}

/* A string field; NULL where it is absent or null. */
static int get_text(struct reader *r, const struct yaml *map, const char *field, char **out)
{
    const struct yaml *y = yaml_get(map, field);
    if (yaml_is_null(y))
        return 0;
    size_t path = enter(r, "%s", field);
    if (read_text(r, y, out) != 0)
        return -1;
    leave(r, path);
    return 0;
}

/* The name of a key or of a kms provider. */
static int get_name(struct reader *r, const struct yaml *map, char **out)
{
    if (get_text(r, map, "name", out) != 0)
        return -1;
    const struct yaml *at = yaml_get(map, "name");
    if (r->strict && (!*out || !**out))
        return finding(r, at ? at : map, "name: must not be empty");
    if (r->strict && strchr(*out, ':'))
        return finding(r, at, "name: must not contain a colon: it ends the prefix in the store");
    if (!*out)
        *out = mem_strdup("");
    return 0;
}

/* Standard base64 with padding; false where it is something else. */
static bool decode(const char *text, bool skip_newlines, unsigned char **out, size_t *out_len)
{
    struct buf clean CLEANUP(buf_free) = {0};
    for (; *text; text++)
        if (!skip_newlines || (*text != '\n' && *text != '\r'))
            buf_add(&clean, text, 1);
    const char *s = buf_str(&clean);
    size_t digits = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    size_t pads = strspn(s + digits, "=");
    if (digits + pads != clean.len || clean.len % 4 || pads > 2 || clean.len > INT_MAX)
        return false;
    *out = mem_alloc(clean.len, 1);
    int n = EVP_DecodeBlock(*out, (const unsigned char *)s, (int)clean.len);
    if (n < 0 || (size_t)n < pads)
        return false;
    *out_len = (size_t)n - pads;
    return true;
}

static bool length_fits(enum provider_type type, size_t len)
{
    return len == 32 || (type != PROVIDER_SECRETBOX && (len == 16 || len == 24));
}

static int read_key(struct reader *r, const struct yaml *y, enum provider_type type,
                    struct encryption_key *key)
{
    static const char *const fields[] = {"name", "secret", NULL};
    if (check_map(r, y, fields) != 0 || get_name(r, y, &key->name) != 0)
        return -1;
    char *text CLEANUP(cleanup_mem) = NULL;
    if (get_text(r, y, "secret", &text) != 0)
        return -1;
    const struct yaml *at = yaml_get(y, "secret");
    if (!text || !*text)
        return finding(r, at ? at : y, "secret: must not be empty");
    /* Go's decoder, and so kube-apiserver, passes over line ends. */
    if (!decode(text, !r->strict, &key->secret, &key->secret_len))
        return finding(r, at, "secret: must be standard base64 with padding");
    if (!length_fits(type, key->secret_len))
        return finding(r, at, "secret: %s needs a key of %s bytes, this one has %zu",
                       provider_type_name(type), type == PROVIDER_SECRETBOX ? "32" : "16, 24 or 32",
                       key->secret_len);
    return 0;
}

static int read_keys(struct reader *r, const struct yaml *y, struct encryption_provider *p)
{
    static const char *const fields[] = {"keys", NULL};
    const struct yaml *keys = NULL;
    if (check_map(r, y, fields) != 0 || get_list(r, y, "keys", &keys) != 0)
        return -1;
    if (!keys || !keys->count)
        return finding(r, y, "keys: at least one is needed");
    for (size_t i = 0; i < keys->count; i++) {
        size_t path = enter(r, "keys[%zu]", i);
        MEM_GROW(p->keys, p->key_count);
        struct encryption_key *key = &p->keys[p->key_count++];
        *key = (struct encryption_key){0};
        if (read_key(r, keys->items[i], p->type, key) != 0)
            return -1;
        for (size_t j = 0; r->strict && j < i; j++)
            if (str_eq(p->keys[j].name, key->name))
                return finding(r, yaml_get(keys->items[i], "name"),
                               "name: the same as that of keys[%zu]", j);
        leave(r, path);
    }
    return 0;
}

/* A positive duration as Go writes it: 3s, 1m30s, 1.5h. */
static bool is_duration(const char *s)
{
    static const char *const units[] = {"ns", "us", "\xc2\xb5s", "\xce\xbcs", "ms", "s", "m", "h"};
    bool positive = false;
    if (*s == '+')
        s++;
    if (!*s)
        return false;
    while (*s) {
        size_t number = strspn(s, "0123456789.");
        const char *dot = memchr(s, '.', number);
        if (!number ||
            (dot && (number == 1 || memchr(dot + 1, '.', number - (size_t)(dot - s) - 1))))
            return false;
        positive = positive || strspn(s, "0.") < number;
        s += number;
        size_t unit = 0;
        while (unit < ARRAY_LEN(units) && !str_starts(s, units[unit]))
            unit++;
        if (unit == ARRAY_LEN(units))
            return false;
        s += strlen(units[unit]);
    }
    return positive;
}

static int check_kms(struct reader *r, const struct yaml *y, const struct encryption_provider *p)
{
    const struct yaml *endpoint = yaml_get(y, "endpoint");
    if (!str_starts(p->kms_endpoint, "unix://") || !p->kms_endpoint[strlen("unix://")])
        return finding(r, endpoint, "endpoint: must be a unix:// address");
    if (p->kms_v2 && p->has_cachesize)
        return finding(r, yaml_get(y, "cachesize"), "cachesize: kms v2 has none");
    if (p->has_cachesize && p->cachesize == 0)
        return finding(r, yaml_get(y, "cachesize"), "cachesize: must not be 0");
    if (p->kms_timeout && !is_duration(p->kms_timeout))
        return finding(r, yaml_get(y, "timeout"), "timeout: must be a positive duration, as in 3s");
    return 0;
}

static int read_kms(struct reader *r, const struct yaml *y, struct encryption_provider *p)
{
    static const char *const fields[] = {"apiVersion", "name",    "endpoint",
                                         "cachesize",  "timeout", NULL};
    char *version CLEANUP(cleanup_mem) = NULL;
    if (check_map(r, y, fields) != 0 || get_text(r, y, "apiVersion", &version) != 0 ||
        get_name(r, y, &p->kms_name) != 0 || get_text(r, y, "endpoint", &p->kms_endpoint) != 0 ||
        get_text(r, y, "timeout", &p->kms_timeout) != 0)
        return -1;
    p->kms_v2 = str_eq(version, "v2");
    if (version && *version && !p->kms_v2 && !str_eq(version, "v1"))
        return finding(r, yaml_get(y, "apiVersion"), "apiVersion: must be v1 or v2");
    if (!p->kms_endpoint || !*p->kms_endpoint) {
        const struct yaml *at = yaml_get(y, "endpoint");
        return finding(r, at ? at : y, "endpoint: must not be empty");
    }
    const struct yaml *cachesize = yaml_get(y, "cachesize");
    p->has_cachesize = !yaml_is_null(cachesize);
    if (p->has_cachesize &&
        (!yaml_int(cachesize, &p->cachesize) || p->cachesize > INT_MAX || p->cachesize < INT_MIN))
        return finding(r, cachesize, "cachesize: must be a whole number of 32 bits");
    return r->strict ? check_kms(r, y, p) : 0;
}

static int read_provider(struct reader *r, const struct yaml *y, struct encryption_provider *p)
{
    static const enum provider_type types[] = {PROVIDER_IDENTITY, PROVIDER_AESCBC, PROVIDER_AESGCM,
                                               PROVIDER_SECRETBOX, PROVIDER_KMS};
    static const char *const fields[] = {"identity", "aescbc", "aesgcm", "secretbox", "kms", NULL};
    static const char *const none[] = {NULL};
    if (check_map(r, y, fields) != 0)
        return -1;
    const struct yaml *body = NULL;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const struct yaml *found = yaml_get(y, fields[i]);
        if (yaml_is_null(found)) /* kube-apiserver takes null for absent */
            continue;
        if (body)
            return finding(r, found, "more than one provider in one entry");
        body = found;
        p->type = types[i];
    }
    if (!body)
        return finding(r, y, "no provider in this entry (identity is written \"identity: {}\")");
    enter(r, "%s", provider_type_name(p->type));
    switch (p->type) {
    case PROVIDER_IDENTITY:
        return check_map(r, body, none);
    case PROVIDER_KMS:
        return read_kms(r, body, p);
    default:
        return read_keys(r, body, p);
    }
}

static bool in_group(const char *resource, const char *group)
{
    const char *dot = strchr(resource, '.');
    return str_eq(dot ? dot + 1 : "", group);
}

/* The names that kube-apiserver's validation refuses (1.27 and later). */
static const char *bad_resource(const char *s)
{
    static const char *const never[] = {"apiserveripinfo", "serviceipallocations",
                                        "servicenodeportallocations"};
    const char *dot = strchr(s, '.');
    if (!*s)
        return "must not be empty";
    if (strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.*") < strlen(s))
        return "only small letters, digits, '-' and '.', or a wildcard";
    if (str_eq(s, "*"))
        return "use \"*.\" for the core group, \"*.*\" for everything";
    if (s[0] != '*' && strchr(s, '*'))
        return "a wildcard can only stand for all resources of a group";
    if (s[0] == '*' && (s[1] != '.' || (strchr(s + 2, '*') && !str_eq(s, "*.*"))))
        return "no such wildcard: \"*.\", \"*.<group>\" or \"*.*\"";
    if (s[0] == '.' || (s[0] != '*' && dot && !dot[1]))
        return "not a resource";
    if (in_group(s, "extensions") || in_group(s, "events.k8s.io"))
        return "this group's resources are stored under another: name that one";
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (str_eq(s, never[i]))
            return "can't be encrypted";
    return NULL;
}

static bool overlap(const char *a, const char *b)
{
    if (str_eq(a, b) || str_eq(a, "*.*") || str_eq(b, "*.*"))
        return true;
    if (str_starts(a, "*."))
        return in_group(b, a + 2);
    return str_starts(b, "*.") && in_group(a, b + 2);
}

static int read_resources(struct reader *r, const struct yaml *y, struct encryption_item *item)
{
    const struct yaml *list = NULL;
    if (get_list(r, y, "resources", &list) != 0)
        return -1;
    for (size_t i = 0; list && i < list->count; i++) {
        const struct yaml *at = list->items[i];
        size_t path = enter(r, "resources[%zu]", i);
        MEM_GROW(item->resources, item->resource_count);
        char **resource = &item->resources[item->resource_count++];
        *resource = NULL;
        if (read_text(r, at, resource) != 0)
            return -1;
        const char *bad = r->strict ? bad_resource(at->scalar) : NULL;
        if (bad)
            return finding(r, at, "%s", bad);
        for (size_t j = 0; r->strict && j < i; j++)
            if (overlap(item->resources[j], *resource))
                return finding(r, at, "named already by resources[%zu]", j);
        leave(r, path);
    }
    return 0;
}

static int read_item(struct reader *r, const struct yaml *y, struct encryption_item *item)
{
    static const char *const fields[] = {"resources", "providers", NULL};
    const struct yaml *providers = NULL;
    if (check_map(r, y, fields) != 0 || read_resources(r, y, item) != 0 ||
        get_list(r, y, "providers", &providers) != 0)
        return -1;
    if (!providers || !providers->count)
        return finding(r, y, "providers: at least one is needed");
    for (size_t i = 0; i < providers->count; i++) {
        size_t path = enter(r, "providers[%zu]", i);
        MEM_GROW(item->providers, item->provider_count);
        struct encryption_provider *p = &item->providers[item->provider_count++];
        *p = (struct encryption_provider){0};
        if (read_provider(r, providers->items[i], p) != 0)
            return -1;
        leave(r, path);
    }
    return 0;
}

/* One name means one thing in the whole file: else it could never be left again without two
 * meanings meeting in one union. kube-apiserver itself wants kms names unique (v1 alone may stand
 * in several items). */
static int check_names(struct reader *r, const struct yaml *y, size_t i, size_t j,
                       const struct encryption_config *c)
{
    const struct encryption_provider *p = &c->items[i].providers[j];
    for (size_t e = 0; e <= i; e++) {
        for (size_t f = 0; f < (e == i ? j : c->items[e].provider_count); f++) {
            const struct encryption_provider *q = &c->items[e].providers[f];
            if (p->type == PROVIDER_KMS && q->type == PROVIDER_KMS &&
                str_eq(p->kms_name, q->kms_name) &&
                (p->kms_v2 || q->kms_v2 || e == i || !str_eq(p->kms_endpoint, q->kms_endpoint)))
                return finding(r, y, "kms.name: given already by resources[%zu].providers[%zu]", e,
                               f);
            for (size_t k = 0; p->type == q->type && k < p->key_count; k++)
                for (size_t l = 0; l < q->key_count; l++)
                    if (str_eq(p->keys[k].name, q->keys[l].name) &&
                        !encryption_key_equal(&p->keys[k], &q->keys[l]))
                        return finding(r, y,
                                       "%s.keys[%zu].name: stands for another secret in "
                                       "resources[%zu].providers[%zu]",
                                       provider_type_name(p->type), k, e, f);
        }
    }
    return 0;
}

static int check_whole(struct reader *r, const struct yaml *list, const struct encryption_config *c)
{
    for (size_t i = 0; i < c->item_count; i++) {
        const struct yaml *providers = yaml_get(list->items[i], "providers");
        for (size_t j = 0; j < c->items[i].provider_count; j++) {
            size_t path = enter(r, "resources[%zu].providers[%zu]", i, j);
            if (check_names(r, providers->items[j], i, j, c) != 0)
                return -1;
            leave(r, path);
        }
    }
    return 0;
}

static int check_kind(struct reader *r, const struct yaml *y)
{
    const struct yaml *kind = yaml_get(y, "kind"), *version = yaml_get(y, "apiVersion");
    const char *k = kind && kind->scalar ? kind->scalar : "";
    const char *v = version && version->scalar ? version->scalar : "";
    bool now = str_eq(k, "EncryptionConfiguration") && str_eq(v, "apiserver.config.k8s.io/v1");
    bool then = str_eq(k, "EncryptionConfig") && str_eq(v, "v1");
    if (!now && !then)
        return finding(r, kind ? kind : y,
                       "kind, apiVersion: must be EncryptionConfiguration and "
                       "apiserver.config.k8s.io/v1 (or the old EncryptionConfig and v1)");
    return 0;
}

static int read_config(struct reader *r, const struct yaml *y, struct encryption_config *c)
{
    static const char *const fields[] = {"apiVersion", "kind", "resources", NULL};
    const struct yaml *list = NULL;
    if (yaml_is_null(y))
        return finding(r, y, "no document");
    if (check_map(r, y, fields) != 0 || check_kind(r, y) != 0 ||
        get_list(r, y, "resources", &list) != 0)
        return -1;
    for (size_t i = 0; list && i < list->count; i++) {
        size_t path = enter(r, "resources[%zu]", i);
        MEM_GROW(c->items, c->item_count);
        struct encryption_item *item = &c->items[c->item_count++];
        *item = (struct encryption_item){0};
        if (read_item(r, list->items[i], item) != 0)
            return -1;
        leave(r, path);
    }
    if (r->strict && list && check_whole(r, list, c) != 0)
        return -1;
    return 0;
}

int encryption_config_read(const char *text, size_t len, const char *name,
                           enum encryption_reading how, struct encryption_config **out,
                           struct error *err)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = mem_alloc(1, sizeof(*c));
    size_t blank = 0;
    while (blank < len && text[blank] && strchr(" \t\r\n", text[blank]))
        blank++;
    if (blank < len) {
        struct yaml *y CLEANUP(cleanup_yaml) = NULL;
        struct reader r CLEANUP(reader_free) = {
            .name = name, .strict = how == ENCRYPTION_STRICT, .err = err};
        if (yaml_read(text, len, name, &y, err) != 0 || read_config(&r, y, c) != 0)
            return -1;
    }
    *out = STEAL(c);
    return 0;
}
