#include "base/file.h"
#include "templates/static_pod_parts.h"
#include "templates/yaml_edit.h"

#include <string.h>

#define FLAG "--encryption-provider-config"
#define OLD_FLAG "--experimental-encryption-provider-config"

static const char *text_of(const struct yaml *y)
{
    return y && y->kind == YAML_KIND_SCALAR ? y->scalar : NULL;
}

static bool is_filled(const struct yaml *y, enum yaml_kind kind)
{
    return y && y->kind == kind && y->count > 0;
}

/* The index of the last member of that name, or -1. */
static long member(const struct yaml *map, const char *key)
{
    long found = -1;
    for (size_t i = 0; map && map->kind == YAML_KIND_MAP && i < map->count; i++)
        if (str_eq(map->keys[i]->scalar, key))
            found = (long)i;
    return found;
}

/* --- compared --- */

enum place { TOP, METADATA, ANNOTATIONS, SPEC, VOLUMES, CONTAINERS, CONTAINER, ARGS, OTHER };

static const struct {
    enum place at;
    const char *key;
    enum place leads_to;
} ways[] = {
    {TOP, "metadata", METADATA},
    {TOP, "spec", SPEC},
    {METADATA, "annotations", ANNOTATIONS},
    {SPEC, "volumes", VOLUMES},
    {SPEC, "containers", CONTAINERS},
    {CONTAINER, "volumeMounts", VOLUMES},
    {CONTAINER, "command", ARGS},
    {CONTAINER, "args", ARGS},
};

static enum place below(enum place at, const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(ways); i++)
        if (ways[i].at == at && str_eq(ways[i].key, key))
            return ways[i].leads_to;
    return OTHER;
}

/* The items or members of `y` from `i` on that are ours: gives the next that isn't, or the count.
 */
static size_t skip_ours(const struct yaml *y, enum place at, size_t i)
{
    for (; i < y->count; i++) {
        const char *value = NULL;
        const char *text = text_of(y->items[i]);
        if (at == VOLUMES && static_pod_is_ours(text_of(yaml_get(y->items[i], "name"))))
            continue;
        if (at == ARGS && text && static_pod_arg_is_config(text, &value)) {
            i += !value && i + 1 < y->count;
            continue;
        }
        if (at == ANNOTATIONS && y->keys && str_eq(y->keys[i]->scalar, STATIC_POD_RESTART))
            continue;
        /* A list or map that came with what is ours in it. */
        enum place child = y->keys ? below(at, y->keys[i]->scalar) : OTHER;
        bool may = child == VOLUMES || child == ANNOTATIONS;
        if (may && y->items[i]->count && skip_ours(y->items[i], child, 0) == y->items[i]->count)
            continue;
        return i;
    }
    return i;
}

static bool same(const struct yaml *a, const struct yaml *b, enum place at)
{
    if (a->kind != b->kind || !str_eq(a->scalar, b->scalar) || a->quoted != b->quoted)
        return false;
    if (!a->items || !b->items)
        return a->count == b->count;
    size_t i = skip_ours(a, at, 0), k = skip_ours(b, at, 0);
    while (i < a->count && k < b->count) {
        const char *key = a->keys ? a->keys[i]->scalar : NULL;
        if (a->keys && !str_eq(key, b->keys[k]->scalar))
            return false;
        enum place child = at == CONTAINERS ? CONTAINER : a->keys ? below(at, key) : OTHER;
        if (!same(a->items[i], b->items[k], child))
            return false;
        i = skip_ours(a, at, i + 1);
        k = skip_ours(b, at, k + 1);
    }
    return i == a->count && k == b->count;
}

bool static_pod_same_but_ours(const struct static_pod *a, const struct static_pod *b)
{
    return same(a->document, b->document, TOP);
}

/* --- changed --- */

struct editor {
    struct yaml_edit edit;
    const struct static_pod *pod;
    const struct static_pod_want *want;
    const struct yaml *container, *spec, *metadata;
    int number;                 /* of the last volume of ours that was named */
    struct buf volumes, mounts; /* what comes, where there is no list yet: its items */
    struct error *err;
};

static void editor_free(struct editor *e)
{
    yaml_edit_free(&e->edit);
    buf_free(&e->volumes);
    buf_free(&e->mounts);
}

/* How far lists are indented in this file: by their dash, against the key that they belong to. */
static int list_indentation(const struct editor *e)
{
    static const char *const lists[] = {"command", "args", "volumeMounts"};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        long at = member(e->container, lists[i]);
        if (at < 0 || !is_filled(e->container->items[at], YAML_KIND_LIST))
            continue;
        const struct yaml *list = e->container->items[at], *key = e->container->keys[at];
        if (!list->flow && list->column >= key->column && list->column - key->column <= 8)
            return (int)(list->column - key->column);
    }
    return 0;
}

/* One more item of map->key, which is made where it isn't there: the items of one that is made are
 * gathered in `fresh`. */
static int add_item(struct editor *e, const struct yaml *map, const char *key, struct buf *fresh,
                    const char *lines)
{
    const struct yaml *list = yaml_get(map, key);
    int indentation = list_indentation(e);
    if (list && !is_filled(list, YAML_KIND_LIST))
        return error_set(e->err, RESULT_REFUSED,
                         "%s:%zu: %s is there and empty: take that line out", e->edit.name,
                         list->line, key);
    if (list)
        return yaml_edit_append(&e->edit, list, lines, e->err);
    if (!fresh->len)
        buf_printf(fresh, "%s:\n", key);
    for (const char *line = lines; *line;) {
        size_t len = strcspn(line, "\n");
        buf_printf(fresh, "%*s%s%.*s\n", indentation, "", line == lines ? "- " : "  ", (int)len,
                   line);
        line += len + (line[len] == '\n');
    }
    return 0;
}

static bool name_is_taken(const struct editor *e, const char *name)
{
    const struct yaml *list = yaml_get(e->spec, "volumes");
    for (size_t i = 0; is_filled(list, YAML_KIND_LIST) && i < list->count; i++)
        if (str_eq(text_of(yaml_get(list->items[i], "name")), name))
            return true;
    return false;
}

/* `name` NULL: the next of ours. A folder is made by the kubelet where it isn't there. */
static int add_mount(struct editor *e, const char *name, const struct static_pod_bind *b, bool make)
{
    char *numbered CLEANUP(cleanup_mem) = NULL;
    while (!name && (!numbered || name_is_taken(e, numbered))) {
        mem_free(numbered);
        numbered = mem_printf(STATIC_POD_MORE "%d", ++e->number);
    }
    name = name ? name : numbered;
    struct buf host CLEANUP(buf_free) = {0}, container CLEANUP(buf_free) = {0};
    yaml_edit_write(&host, b->host);
    yaml_edit_write(&container, b->container);
    char *volume CLEANUP(cleanup_mem) =
        mem_printf("hostPath:\n  path: %s\n%sname: %s\n", buf_str(&host),
                   make ? "  type: DirectoryOrCreate\n" : "", name);
    char *mount CLEANUP(cleanup_mem) =
        mem_printf("mountPath: %s\nname: %s\n%s", buf_str(&container), name,
                   b->read_only ? "readOnly: true\n" : "");
    if (add_item(e, e->container, "volumeMounts", &e->mounts, mount) < 0)
        return -1;
    return add_item(e, e->spec, "volumes", &e->volumes, volume);
}

static int add_mounts(struct editor *e)
{
    char *path CLEANUP(cleanup_mem) =
        e->want->config_path ? path_clean(e->want->config_path) : NULL;
    if (path && !static_pod_mount_of(e->pod, path)) {
        const char *slash = strrchr(path, '/');
        char *folder CLEANUP(cleanup_mem) =
            mem_strndup(path, slash && slash > path ? (size_t)(slash - path) : 1);
        if (str_eq(folder, "/"))
            return error_set(e->err, RESULT_REFUSED,
                             "%s: %s lies in no folder that could be mounted", e->edit.name, path);
        if (add_mount(e, STATIC_POD_FOLDER, &(struct static_pod_bind){folder, folder, true}, true) <
            0)
            return -1;
    }
    for (size_t i = 0; i < e->want->bind_count; i++) {
        const struct static_pod_bind *b = &e->want->binds[i];
        const struct static_pod_mount *m = static_pod_mounted_at(e->pod, b->container);
        if (m && !str_eq(m->host, b->host))
            return error_set(e->err, RESULT_REFUSED,
                             "%s: the volume %s is mounted at %s, where %s is to be", e->edit.name,
                             m->volume, b->container, b->host);
        if (!m && add_mount(e, NULL, b, false) < 0)
            return -1;
    }
    /* The container first: it may end where spec does. */
    if (e->mounts.len && yaml_edit_append(&e->edit, e->container, buf_str(&e->mounts), e->err) < 0)
        return -1;
    if (e->volumes.len && yaml_edit_append(&e->edit, e->spec, buf_str(&e->volumes), e->err) < 0)
        return -1;
    return 0;
}

/* What is ours of map->key goes; with the key, where it has nothing else. */
static int remove_ours(struct editor *e, const struct yaml *map, const char *key, enum place at)
{
    long index = member(map, key);
    const struct yaml *list = index < 0 ? NULL : map->items[index];
    if (!list || !list->count || !list->items)
        return 0;
    if (skip_ours(list, at, 0) == list->count)
        return yaml_edit_remove(&e->edit, map, (size_t)index, e->err);
    for (size_t i = 0; i < list->count; i++)
        if (skip_ours(list, at, i) != i && yaml_edit_remove(&e->edit, list, i, e->err) < 0)
            return -1;
    return 0;
}

/* An occurrence of the flag, item i of a list: says `path`, or goes. */
static int change_flag(struct editor *e, const struct yaml *list, size_t i, const char *value)
{
    const char *path = e->want->config_path;
    const struct yaml *item = list->items[i];
    const struct yaml *next = i + 1 < list->count ? list->items[i + 1] : NULL;
    if (!value && !next)
        return error_set(e->err, RESULT_REFUSED, "%s:%zu: %s has no value", e->edit.name,
                         item->line, item->scalar);
    if (!path) {
        if (yaml_edit_remove(&e->edit, list, i, e->err) < 0)
            return -1;
        return value ? 0 : yaml_edit_remove(&e->edit, list, i + 1, e->err);
    }
    if (str_eq(value ? value : next->scalar, path))
        return 0;
    if (!value)
        return yaml_edit_replace(&e->edit, next, path, e->err);
    char *flag CLEANUP(cleanup_mem) =
        mem_printf("%.*s=%s", (int)strcspn(item->scalar, "="), item->scalar, path);
    return yaml_edit_replace(&e->edit, item, flag, e->err);
}

/* As the last flag is written. */
static enum yaml_style flag_style(const struct yaml *list)
{
    for (size_t i = list->count; i-- > 0;)
        if (list->items[i]->scalar[0] == '-')
            return list->items[i]->style;
    return YAML_STYLE_PLAIN;
}

static int change_flags(struct editor *e)
{
    const struct yaml *lists[] = {yaml_get(e->container, "command"),
                                  yaml_get(e->container, "args")};
    bool there = false;
    const struct yaml *last = NULL;
    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        if (!is_filled(lists[k], YAML_KIND_LIST))
            continue;
        last = lists[k];
        for (size_t i = 0; i < last->count; i++) {
            const char *value = NULL;
            if (!static_pod_arg_is_config(last->items[i]->scalar, &value))
                continue;
            there = true;
            if (change_flag(e, last, i, value) < 0)
                return -1;
            i += !value;
        }
    }
    if (there || !e->want->config_path)
        return 0;
    if (!last)
        return error_set(e->err, RESULT_REFUSED, "%s:%zu: the container has no command",
                         e->edit.name, e->container->line);
    char *flag CLEANUP(cleanup_mem) =
        mem_printf("%s=%s", e->want->old_flag ? OLD_FLAG : FLAG, e->want->config_path);
    struct buf item CLEANUP(buf_free) = {0};
    enum yaml_style style = flag_style(last);
    if (style == YAML_STYLE_SINGLE || style == YAML_STYLE_DOUBLE)
        yaml_write(&item, flag, style);
    else
        yaml_edit_write(&item, flag);
    return yaml_edit_append(&e->edit, last, buf_str(&item), e->err);
}

static int change_annotation(struct editor *e)
{
    const char *value = e->want->restart;
    const struct yaml *annotations = yaml_get(e->metadata, "annotations");
    if (!value)
        return e->want->config_path ? 0 : remove_ours(e, e->metadata, "annotations", ANNOTATIONS);
    if (str_eq(e->pod->restart, value))
        return 0;
    if (e->pod->restart)
        return yaml_edit_replace(&e->edit, yaml_get(annotations, STATIC_POD_RESTART), value,
                                 e->err);
    struct buf line CLEANUP(buf_free) = {0};
    if (!annotations)
        buf_adds(&line, "annotations:\n  ");
    buf_adds(&line, STATIC_POD_RESTART ": ");
    yaml_write(&line, value, YAML_STYLE_DOUBLE);
    if (annotations && !is_filled(annotations, YAML_KIND_MAP))
        return error_set(e->err, RESULT_REFUSED,
                         "%s:%zu: annotations is there and empty: take that line out", e->edit.name,
                         annotations->line);
    return yaml_edit_append(&e->edit, annotations ? annotations : e->metadata, buf_str(&line),
                            e->err);
}

static int change(struct editor *e)
{
    if (!is_filled(e->metadata, YAML_KIND_MAP) || !is_filled(e->spec, YAML_KIND_MAP))
        return error_set(e->err, RESULT_REFUSED, "%s: it has no metadata or no spec", e->edit.name);
    if (change_annotation(e) < 0 || change_flags(e) < 0)
        return -1;
    if (e->want->config_path || e->want->bind_count)
        return add_mounts(e);
    if (remove_ours(e, e->container, "volumeMounts", VOLUMES) < 0)
        return -1;
    return remove_ours(e, e->spec, "volumes", VOLUMES);
}

/* What makes the edit safe, whatever went before. */
static int check(const struct editor *e, const struct buf *new)
{
    struct static_pod *pod CLEANUP(cleanup_static_pod) = NULL;
    struct error why CLEANUP(error_clear) = {0};
    const char *wrong = NULL;
    if (static_pod_read(buf_str(new), new->len, e->edit.name, &pod, &why) < 0)
        wrong = why.message;
    else if (!static_pod_same_but_ours(e->pod, pod))
        wrong = "something else in it would change too (an alias or a merge shares it, or it is "
                "laid out in an unusual way)";
    else if (!static_pod_has(pod, e->want) ||
             (e->want->restart && !str_eq(pod->restart, e->want->restart)))
        wrong = "it would not say what it is to say";
    return wrong ? error_set(e->err, RESULT_REFUSED, "%s can't be edited: %s", e->edit.name, wrong)
                 : 0;
}

int static_pod_edit(const char *text, size_t len, const char *name,
                    const struct static_pod_want *want, struct buf *out, struct error *err)
{
    static const char mark[] = "\xef\xbb\xbf";
    size_t skip = len >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
    struct static_pod *pod CLEANUP(cleanup_static_pod) = NULL;
    struct buf new CLEANUP(buf_free) = {0};
    if (static_pod_read(text + skip, len - skip, name, &pod, err) < 0)
        return -1;
    struct editor e CLEANUP(editor_free) = {
        .edit = {.name = name, .text = text + skip, .len = len - skip},
        .pod = pod,
        .want = want,
        .container = static_pod_container(pod->document),
        .spec = yaml_get(pod->document, "spec"),
        .metadata = yaml_get(pod->document, "metadata"),
        .err = err,
    };
    if (change(&e) < 0 || yaml_edit_apply(&e.edit, &new, err) < 0 || check(&e, &new) < 0) {
        error_next(err,
                   "write that manifest in YAML's block style, an item and a field a line (as "
                   "kubeadm does); or set the flag and its volume by hand, named in cluster.yml "
                   "under services.kube-api.extra_args");
        return -1;
    }
    buf_add(out, text, skip);
    buf_add(out, new.data, new.len);
    return 0;
}
