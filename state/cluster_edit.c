#include "state/cluster_edit.h"

#include "base/file.h"
#include "base/printable.h"
#include "state/cluster_yml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct edit {
    const struct yaml *at; /* the scalar in the old tree; its place is that in the text */
    const char *field;     /* "name" or "secret" */
    bool secret;
    char *value; /* what it is to say */
    char *with;  /* the same as YAML */
};

struct editor {
    const char *path;
    const char *text; /* without a byte order mark, as the tree's places are */
    size_t len;
    struct edit *edits; /* in the order of the text */
    size_t count;
    struct error *err;
};

static void editor_free(struct editor *e)
{
    for (size_t i = 0; i < e->count; i++) {
        mem_free(e->edits[i].value);
        mem_free(e->edits[i].with);
    }
    mem_free(e->edits);
}

static int refuse(struct editor *e, const struct yaml *at, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* What has to be edited by hand is known only once all edits are. */
static int refuse(struct editor *e, const struct yaml *at, const char *fmt, ...)
{
    va_list ap;
    char *why CLEANUP(cleanup_mem) = NULL;
    va_start(ap, fmt);
    if (vasprintf(&why, fmt, ap) < 0)
        abort();
    va_end(ap);
    struct buf lines CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < e->count; i++)
        buf_printf(&lines, "%s%s in line %zu",
                   i ? ", " : "; to be edited by hand: ", e->edits[i].field, e->edits[i].at->line);
    return error_set(e->err, RESULT_REFUSED,
                     "%s:%zu:%zu: custom_config can't be edited in place: %s%s", e->path, at->line,
                     at->column, why, buf_str(&lines));
}

/* `value` is taken over. */
static void add_edit(struct editor *e, const struct yaml *map, const char *field, char *value)
{
    struct edit edit = {
        .at = yaml_get(map, field), .field = field, .secret = str_eq(field, "secret")};
    struct buf with CLEANUP(buf_free) = {0};
    yaml_write(&with, value, edit.at->style);
    edit.value = value;
    edit.with = STEAL(with.data);
    MEM_GROW(e->edits, e->count);
    e->edits[e->count++] = edit;
}

static void edit_key(struct editor *e, const struct yaml *map, const struct encryption_key *from,
                     const struct encryption_key *to)
{
    if (!str_eq(from->name, to->name))
        add_edit(e, map, "name", mem_strdup(to->name));
    struct encryption_key renamed = *from;
    renamed.name = to->name;
    if (encryption_key_equal(&renamed, to))
        return;
    struct buf secret CLEANUP(buf_free) = {0};
    encryption_key_write_secret(to, &secret);
    add_edit(e, map, "secret", STEAL(secret.data));
}

/* False where they differ in more than names and secrets. */
static bool edit_provider(struct editor *e, const struct yaml *map,
                          const struct encryption_provider *from,
                          const struct encryption_provider *to)
{
    const struct yaml *body = yaml_get(map, provider_type_name(from->type));
    if (from->type != to->type || from->key_count != to->key_count)
        return false;
    const struct yaml *keys = yaml_get(body, "keys");
    for (size_t i = 0; i < from->key_count; i++)
        edit_key(e, keys->items[i], &from->keys[i], &to->keys[i]);
    if (from->type != PROVIDER_KMS)
        return true;
    if (!str_eq(from->kms_name, to->kms_name))
        add_edit(e, body, "name", mem_strdup(to->kms_name));
    struct encryption_provider renamed = *from;
    renamed.kms_name = to->kms_name;
    return encryption_provider_equal(&renamed, to);
}

static bool same_resources(const struct encryption_item *a, const struct encryption_item *b)
{
    if (a->resource_count != b->resource_count)
        return false;
    for (size_t i = 0; i < a->resource_count; i++)
        if (!str_eq(a->resources[i], b->resources[i]))
            return false;
    return true;
}

static int find_edits(struct editor *e, const struct yaml *custom,
                      const struct encryption_config *from, const struct encryption_config *to)
{
    const struct yaml *items = yaml_get(custom, "resources");
    if (from->item_count != (to ? to->item_count : 0))
        return refuse(e, custom, "it has %zu resources items, the new configuration %zu",
                      from->item_count, to ? to->item_count : 0);
    for (size_t i = 0; i < from->item_count; i++) {
        const struct encryption_item *a = &from->items[i], *b = &to->items[i];
        const struct yaml *providers = yaml_get(items->items[i], "providers");
        if (a->provider_count != b->provider_count || !same_resources(a, b))
            return refuse(e, items->items[i],
                          "resources[%zu] has other resources, or more or fewer providers, than in "
                          "the new configuration",
                          i);
        for (size_t j = 0; j < a->provider_count; j++)
            if (!edit_provider(e, providers->items[j], &a->providers[j], &b->providers[j]))
                return refuse(e, providers->items[j],
                              "resources[%zu].providers[%zu] differs from the new configuration in "
                              "more than names and secrets",
                              i, j);
    }
    return 0;
}

static int compare_edits(const void *a, const void *b)
{
    const struct edit *x = a, *y = b;
    return (x->at->begin > y->at->begin) - (x->at->begin < y->at->begin);
}

/* In order, and each place once: an alias brings the same scalar several times. */
static int order_edits(struct editor *e)
{
    if (e->count)
        qsort(e->edits, e->count, sizeof(*e->edits), compare_edits);
    size_t kept = 0;
    for (size_t i = 0; i < e->count; i++) {
        struct edit *edit = &e->edits[i];
        const struct yaml *at = edit->at;
        const struct edit *last = kept ? &e->edits[kept - 1] : NULL;
        if (at->style == YAML_STYLE_BLOCK)
            return refuse(e, at, "this %s is a block scalar", edit->field);
        bool again = last && last->at->begin == at->begin;
        if (again && !str_eq(last->value, edit->value))
            return refuse(e, at,
                          "this %s stands in several places, by an alias or a merge, and is "
                          "to become different in them",
                          edit->field);
        if (at->begin >= at->end || at->end > e->len ||
            (last && !again && last->at->end > at->begin))
            return refuse(e, at, "this %s was not found in the text", edit->field);
        if (!again) {
            struct edit swap = e->edits[kept];
            e->edits[kept++] = *edit;
            *edit = swap;
        }
    }
    for (size_t i = kept; i < e->count; i++) {
        mem_free(e->edits[i].value);
        mem_free(e->edits[i].with);
    }
    e->count = kept;
    return 0;
}

static void apply(const struct editor *e, struct buf *out)
{
    size_t at = 0;
    for (size_t i = 0; i < e->count; i++) {
        buf_add(out, e->text + at, e->edits[i].at->begin - at);
        buf_adds(out, e->edits[i].with);
        at = e->edits[i].at->end;
    }
    buf_add(out, e->text + at, e->len - at);
}

static bool edited(const struct editor *e, const struct yaml *y)
{
    for (size_t i = 0; i < e->count; i++)
        if (e->edits[i].at->begin == y->begin)
            return true;
    return false;
}

/* The first node that is not what it was, or NULL. Edits count inside `custom` alone. */
static const struct yaml *changed(const struct editor *e, const struct yaml *old,
                                  const struct yaml *new, const struct yaml *custom, bool inside)
{
    inside = inside || old == custom;
    if (old->kind != new->kind || old->count != new->count)
        return old;
    if (inside && old->kind == YAML_KIND_SCALAR && edited(e, old))
        return NULL;
    if (!str_eq(old->scalar, new->scalar) || old->quoted != new->quoted)
        return old;
    for (size_t i = 0; i < old->count; i++) {
        const struct yaml *found = NULL;
        if (old->keys && !str_eq(old->keys[i]->scalar, new->keys[i]->scalar))
            return old->keys[i];
        if ((found = changed(e, old->items[i], new->items[i], custom, inside)))
            return found;
    }
    return NULL;
}

/* What makes the edit safe, whatever went before. */
static int check(struct editor *e, const struct cluster *old, const struct buf *new,
                 const struct encryption_config *to)
{
    struct error why CLEANUP(error_clear) = {0};
    struct cluster *c CLEANUP(cleanup_cluster) = NULL;
    struct encryption_config *says CLEANUP(cleanup_encryption_config) = NULL;
    if (cluster_parse(buf_str(new), new->len, e->path, &c, &why) != 0 || !c->custom_config ||
        encryption_config_from_yaml(c->custom_config, e->path, ENCRYPTION_STRICT, &says, &why) != 0)
        return refuse(e, old->custom_config, "it would not be valid any more (%s)",
                      why.message ? why.message : "it would be missing");
    const struct yaml *at = changed(e, old->document, c->document, old->custom_config, false);
    if (at)
        return refuse(e, at, "this would change too: an alias or a merge shares it");
    if (!encryption_config_equal(says, to))
        return refuse(e, old->custom_config, "it would not say what the new configuration says");
    return 0;
}

static size_t line_at(const char *text, size_t byte)
{
    size_t line = 1;
    for (size_t i = 0; i < byte; i++)
        line += text[i] == '\n' || (text[i] == '\r' && text[i + 1] != '\n');
    return line;
}

/* Not the line itself: beside the edit there may be another secret, in a comment too. */
static void show_line(const struct editor *e, size_t i, bool new, size_t line, struct buf *shown)
{
    const struct edit *edit = &e->edits[i];
    const char *value = edit->secret ? "(hidden)" : new ? edit->value : edit->at->scalar;
    char *text CLEANUP(cleanup_mem) = make_printable(value);
    buf_printf(shown, "%c %3zu: %s: %s\n", new ? '+' : '-', line, edit->field, text);
}

static void show(const struct editor *e, struct buf *shown)
{
    long grown = 0; /* how far the new text is ahead of the old one */
    struct buf new CLEANUP(buf_free) = {0};
    apply(e, &new);
    for (size_t i = 0, next = 0; i < e->count; i = next) {
        /* A group of lines one after the other. */
        for (next = i + 1; next < e->count; next++)
            if (e->edits[next].at->line > e->edits[next - 1].at->line + 1)
                break;
        for (size_t j = i; j < next; j++)
            show_line(e, j, false, e->edits[j].at->line, shown);
        for (size_t j = i; j < next; j++) {
            const struct yaml *at = e->edits[j].at;
            size_t begin = (size_t)((long)at->begin + grown);
            show_line(e, j, true, line_at(new.data, begin), shown);
            grown += (long)strlen(e->edits[j].with) - (long)(at->end - at->begin);
        }
    }
}

int cluster_edit_custom(const char *text, size_t len, const char *path,
                        const struct encryption_config *was, const struct encryption_config *to,
                        struct buf *out, struct buf *shown, struct error *err)
{
    static const char mark[] = "\xef\xbb\xbf";
    size_t skip = len >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
    struct editor e CLEANUP(editor_free) = {
        .path = path, .text = text + skip, .len = len - skip, .err = err};
    struct cluster *old CLEANUP(cleanup_cluster) = NULL;
    struct encryption_config *from CLEANUP(cleanup_encryption_config) = NULL;
    if (cluster_parse(text, len, path, &old, err) != 0)
        return -1;
    if (!old->custom_config)
        return error_set(err, RESULT_REFUSED, "%s: there is no custom_config to be edited", path);
    struct buf new CLEANUP(buf_free) = {0};
    if (encryption_config_from_yaml(old->custom_config, path, ENCRYPTION_STRICT, &from, err) != 0)
        return -1;
    if (was && !encryption_config_equal(from, was))
        return error_set(err, RESULT_REFUSED,
                         "%s: custom_config was edited meanwhile: what stands there now is kept",
                         path);
    if (find_edits(&e, old->custom_config, from, to) != 0 || order_edits(&e) != 0)
        return -1;
    apply(&e, &new);
    if (check(&e, old, &new, to) != 0)
        return -1;
    buf_add(out, mark, skip);
    buf_add(out, new.data, new.len);
    show(&e, shown);
    return 0;
}

enum what { CHECK, WRITE };

static int with_file(const char *path, const struct encryption_config *was,
                     const struct encryption_config *to, struct buf *shown, enum what what,
                     struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0}, new CLEANUP(buf_free) = {0};
    struct buf change CLEANUP(buf_free) = {0};
    if (file_read(path, CLUSTER_LIMIT, false, &text, NULL, err) != 0 ||
        cluster_edit_custom(buf_str(&text), text.len, path, was, to, &new, &change, err) != 0)
        return -1;
    if (!change.len)
        return 0;
    buf_add(shown, change.data, change.len);
    return what == CHECK ? file_replace_check(path, new.len, err)
                         : file_replace(path, new.data, new.len, err);
}

int cluster_edit_write(const char *path, const struct encryption_config *was,
                       const struct encryption_config *to, struct buf *shown, struct error *err)
{
    return with_file(path, was, to, shown, WRITE, err);
}

int cluster_edit_check(const char *path, const struct encryption_config *to, struct buf *shown,
                       struct error *err)
{
    return with_file(path, NULL, to, shown, CHECK, err);
}
