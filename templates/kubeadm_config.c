#include "templates/kubeadm_config.h"

#include "base/file.h"
#include "templates/static_pod_parts.h"
#include "templates/yaml_edit.h"

#include <string.h>

static const char *const flags[] = {"encryption-provider-config",
                                    "experimental-encryption-provider-config"};
/* An apiserver that has it without them does not start: it goes with them. */
static const char reload[] = "encryption-provider-config-automatic-reload";

/* Where a version has what: up to v1alpha3 it is at the top, with names of its own. */
struct layout {
    const char *args, *volumes;
    bool top, list; /* list: arguments are items of name and value */
};

static const char *text_of(const struct yaml *y)
{
    return y && y->kind == YAML_KIND_SCALAR ? y->scalar : NULL;
}

static bool is_filled(const struct yaml *y)
{
    return y && (y->kind == YAML_KIND_MAP || y->kind == YAML_KIND_LIST) && y->count > 0;
}

static bool is_empty(const struct yaml *y)
{
    return !is_filled(y) && !text_of(y);
}

static struct layout layout_of(const struct yaml *document)
{
    const char *version = text_of(yaml_get(document, "apiVersion"));
    bool unversioned = !version && !yaml_get(document, "kind");
    if (unversioned || (version && strstr(version, "/v1alpha")))
        return (struct layout){"apiServerExtraArgs", "apiServerExtraVolumes", true, false};
    const struct yaml *args = yaml_path(document, "apiServer", "extraArgs", NULL);
    bool map = version && (str_eq(version, "kubeadm.k8s.io/v1beta1") ||
                           str_eq(version, "kubeadm.k8s.io/v1beta2") ||
                           str_eq(version, "kubeadm.k8s.io/v1beta3"));
    return (struct layout){"extraArgs", "extraVolumes", false,
                           args && is_filled(args) ? args->kind == YAML_KIND_LIST : !map};
}

static bool is_flag(const char *name)
{
    return str_eq(name, flags[0]) || str_eq(name, flags[1]);
}

static bool goes_with_flag(const char *name)
{
    return is_flag(name) || str_eq(name, reload);
}

/* Member or item i of the arguments: its name, its value. */
static const char *arg_name(const struct yaml *args, size_t i)
{
    return args->kind == YAML_KIND_MAP ? args->keys[i]->scalar
                                       : text_of(yaml_get(args->items[i], "name"));
}
static const struct yaml *arg_value(const struct yaml *args, size_t i)
{
    return args->kind == YAML_KIND_MAP ? args->items[i] : yaml_get(args->items[i], "value");
}

static bool is_ours(const struct yaml *volume)
{
    return static_pod_is_ours(text_of(yaml_get(volume, "name")));
}

/* --- compared --- */

static bool equal(const struct yaml *a, const struct yaml *b)
{
    if (a->kind != b->kind || a->count != b->count || !str_eq(a->scalar, b->scalar) ||
        a->quoted != b->quoted)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if ((a->keys && !str_eq(a->keys[i]->scalar, b->keys[i]->scalar)) ||
            !equal(a->items[i], b->items[i]))
            return false;
    return true;
}

/* The next from i on that is none of ours, of arguments or of volumes. */
static size_t next_of_theirs(const struct yaml *y, bool args, size_t i)
{
    while (i < y->count && (args ? goes_with_flag(arg_name(y, i)) : is_ours(y->items[i])))
        i++;
    return i;
}

static bool same_theirs(const struct yaml *a, const struct yaml *b, bool args)
{
    static const struct yaml none = {.kind = YAML_KIND_LIST};
    a = is_filled(a) ? a : &none;
    b = is_filled(b) ? b : &none;
    size_t i = next_of_theirs(a, args, 0), k = next_of_theirs(b, args, 0);
    while (i < a->count && k < b->count) {
        if ((a->keys && b->keys && !str_eq(a->keys[i]->scalar, b->keys[k]->scalar)) ||
            !equal(a->items[i], b->items[k]))
            return false;
        i = next_of_theirs(a, args, i + 1);
        k = next_of_theirs(b, args, k + 1);
    }
    return i == a->count && k == b->count;
}

/* The members of two maps are the same but for those, which are held against each other. */
static bool same_map(const struct yaml *a, const struct yaml *b, const struct layout *l,
                     bool inside)
{
    static const struct yaml none = {.kind = YAML_KIND_MAP};
    a = is_filled(a) ? a : &none;
    b = is_filled(b) ? b : &none;
    const struct yaml *maps[] = {a, b};
    for (size_t m = 0; m < 2; m++)
        for (size_t i = 0; i < maps[m]->count; i++) {
            const char *key = maps[m]->keys[i]->scalar;
            const struct yaml *x = yaml_get(a, key), *y = yaml_get(b, key);
            bool same = inside && str_eq(key, l->args)                   ? same_theirs(x, y, true)
                        : inside && str_eq(key, l->volumes)              ? same_theirs(x, y, false)
                        : !l->top && !inside && str_eq(key, "apiServer") ? same_map(x, y, l, true)
                                                                         : x && y && equal(x, y);
            if (!same)
                return false;
        }
    return true;
}

/* --- what it says --- */

static bool same_path(const char *a, const char *b)
{
    char *x CLEANUP(cleanup_mem) = path_clean(a ? a : "");
    char *y CLEANUP(cleanup_mem) = path_clean(b ? b : "");
    return str_eq(x, y);
}

/* What is mounted there; NULL: nothing. */
static const struct yaml *volume_at(const struct yaml *volumes, const struct static_pod_bind *b)
{
    for (size_t i = 0; is_filled(volumes) && i < volumes->count; i++)
        if (same_path(text_of(yaml_get(volumes->items[i], "mountPath")), b->container))
            return volumes->items[i];
    return NULL;
}

static bool has_volume(const struct yaml *volumes, const struct static_pod_bind *b)
{
    const struct yaml *there = volume_at(volumes, b);
    return there && same_path(text_of(yaml_get(there, "hostPath")), b->host);
}

static bool says(const struct yaml *args, const struct yaml *volumes,
                 const struct kubeadm_config_want *want)
{
    const char *path = NULL;
    bool reloads = false;
    for (size_t i = 0; is_filled(args) && i < args->count; i++) {
        if (is_flag(arg_name(args, i)))
            path = text_of(arg_value(args, i));
        reloads = reloads || str_eq(arg_name(args, i), reload);
    }
    if (!str_eq(path, want->config_path) || (reloads && !want->config_path))
        return false;
    for (size_t i = 0; i < want->count; i++)
        if (!has_volume(volumes, &want->volumes[i]))
            return false;
    for (size_t i = 0; !want->config_path && is_filled(volumes) && i < volumes->count; i++)
        if (is_ours(volumes->items[i]))
            return false;
    return true;
}

/* --- changed --- */

struct editor {
    struct yaml_edit edit;
    const struct yaml *document, *server; /* `server`: the map that has both; NULL: not there */
    const struct kubeadm_config_want *want;
    struct layout layout;
    struct buf args, volumes; /* what comes, as items or members in the first column */
    struct error *err;
};

static void editor_free(struct editor *e)
{
    yaml_edit_free(&e->edit);
    buf_free(&e->args);
    buf_free(&e->volumes);
}

static bool name_is_taken(const struct yaml *volumes, const char *name)
{
    for (size_t i = 0; is_filled(volumes) && i < volumes->count; i++)
        if (str_eq(text_of(yaml_get(volumes->items[i], "name")), name))
            return true;
    return false;
}

static void write_volume(struct editor *e, const struct static_pod_bind *b, const char *name,
                         bool make, struct buf *out)
{
    buf_adds(out, "hostPath: ");
    yaml_edit_write(out, b->host);
    buf_adds(out, "\nmountPath: ");
    yaml_edit_write(out, b->container);
    buf_printf(out, "\nname: %s\n", name);
    if (make)
        buf_adds(out, "pathType: DirectoryOrCreate\n");
    if (b->read_only && !e->layout.top)
        buf_adds(out, "readOnly: true\n");
}

/* As an item: with its dash. */
static void add_item(struct buf *list, const struct buf *item)
{
    for (const char *line = buf_str(item); *line;) {
        size_t len = strcspn(line, "\n");
        buf_printf(list, "%s%.*s\n", line == item->data ? "- " : "  ", (int)len, line);
        line += len + (line[len] == '\n');
    }
}

/* The flag says the path; where it isn't there, it is to be added. */
static int change_args(struct editor *e, const struct yaml *args)
{
    bool there = false;
    for (size_t i = 0; is_filled(args) && i < args->count; i++) {
        if (!is_flag(arg_name(args, i)))
            continue;
        const struct yaml *value = arg_value(args, i);
        there = true;
        if (!str_eq(text_of(value), e->want->config_path) &&
            yaml_edit_replace(&e->edit, value, e->want->config_path, e->err) < 0)
            return -1;
    }
    if (there)
        return 0;
    struct buf item CLEANUP(buf_free) = {0};
    buf_printf(&item, e->layout.list ? "name: %s\nvalue: " : "%s: ", flags[e->want->old_flag]);
    yaml_edit_write(&item, e->want->config_path);
    buf_adds(&item, "\n");
    if (is_filled(args))
        return yaml_edit_append(&e->edit, args, buf_str(&item), e->err);
    if (e->layout.list)
        add_item(&e->args, &item);
    else
        buf_printf(&e->args, "  %s", buf_str(&item));
    return 0;
}

static int refuse_other(struct editor *e, const struct yaml *there, const struct static_pod_bind *b)
{
    const char *host = text_of(yaml_get(there, "hostPath"));
    error_set(e->err, RESULT_REFUSED, "%s:%zu: it mounts %s at %s, where kube-apiserver has %s",
              e->edit.name, there->line, host ? host : "something", b->container, b->host);
    error_next(e->err, "make both say the same: kubectl -n kube-system edit configmap "
                       "kubeadm-config, or the manifests");
    return -1;
}

static int add_volumes(struct editor *e, const struct yaml *volumes)
{
    int number = 0;
    for (size_t i = 0; i < e->want->count; i++) {
        const struct static_pod_bind *b = &e->want->volumes[i];
        struct buf item CLEANUP(buf_free) = {0};
        char *name CLEANUP(cleanup_mem) = NULL;
        bool folder = i == 0 && e->want->folder;
        if (has_volume(volumes, b))
            continue;
        if (volume_at(volumes, b))
            return refuse_other(e, volume_at(volumes, b), b);
        do {
            mem_free(name);
            name = folder && !number ? mem_strdup(STATIC_POD_FOLDER)
                                     : mem_printf(STATIC_POD_MORE "%d", ++number);
            folder = false;
        } while (name_is_taken(volumes, name));
        write_volume(e, b, name, i == 0 && e->want->folder, &item);
        if (is_filled(volumes)) {
            if (yaml_edit_append(&e->edit, volumes, buf_str(&item), e->err) < 0)
                return -1;
        } else {
            add_item(&e->volumes, &item);
        }
    }
    return 0;
}

/* Of a list or map that is there and empty ("extraArgs: {}"), the whole member is written anew. */
static int drop_empty(struct editor *e, const char *key)
{
    for (size_t i = 0; is_filled(e->server) && i < e->server->count; i++)
        if (str_eq(e->server->keys[i]->scalar, key))
            return yaml_edit_remove(&e->edit, e->server, i, e->err);
    return 0;
}

/* The members that have to be made, in a map that is there, or with it. */
static int add_members(struct editor *e)
{
    struct buf lines CLEANUP(buf_free) = {0};
    const struct {
        const char *key;
        const struct buf *what;
    } both[] = {{e->layout.args, &e->args}, {e->layout.volumes, &e->volumes}};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        if (!both[i].what->len)
            continue;
        if (drop_empty(e, both[i].key) < 0)
            return -1;
        buf_printf(&lines, "%s:\n%s", both[i].key, buf_str(both[i].what));
    }
    if (!lines.len)
        return 0;
    if (is_filled(e->server))
        return yaml_edit_append(&e->edit, e->server, buf_str(&lines), e->err);
    struct buf whole CLEANUP(buf_free) = {0};
    buf_adds(&whole, "apiServer:\n");
    for (const char *line = buf_str(&lines); *line;) {
        size_t len = strcspn(line, "\n");
        buf_printf(&whole, "  %.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
    /* ("apiServer: {}") */
    for (size_t i = 0; i < e->document->count; i++)
        if (str_eq(e->document->keys[i]->scalar, "apiServer") &&
            yaml_edit_remove(&e->edit, e->document, i, e->err) < 0)
            return -1;
    return yaml_edit_append(&e->edit, e->document, buf_str(&whole), e->err);
}

/* What is ours of server->key goes; with the key where it has nothing else. */
static int remove_ours(struct editor *e, const char *key, bool args)
{
    const struct yaml *y = yaml_get(e->server, key);
    if (!is_filled(y))
        return 0;
    if (next_of_theirs(y, args, 0) == y->count)
        return drop_empty(e, key);
    for (size_t i = 0; i < y->count; i++)
        if (next_of_theirs(y, args, i) != i && yaml_edit_remove(&e->edit, y, i, e->err) < 0)
            return -1;
    return 0;
}

/* Where the map has nothing but what is ours, it goes as a whole. */
static bool all_ours(const struct editor *e)
{
    for (size_t i = 0; i < e->server->count; i++) {
        const struct yaml *y = e->server->items[i];
        bool args = str_eq(e->server->keys[i]->scalar, e->layout.args);
        if ((!args && !str_eq(e->server->keys[i]->scalar, e->layout.volumes)) || !is_filled(y) ||
            next_of_theirs(y, args, 0) != y->count)
            return false;
    }
    return true;
}

static int change(struct editor *e)
{
    const struct yaml *args = yaml_get(e->server, e->layout.args);
    const struct yaml *volumes = yaml_get(e->server, e->layout.volumes);
    if (says(args, volumes, e->want))
        return 0;
    if (e->want->config_path)
        return change_args(e, args) < 0 || add_volumes(e, volumes) < 0 ? -1 : add_members(e);
    if (!e->layout.top && all_ours(e)) {
        for (size_t i = 0; i < e->document->count; i++)
            if (e->document->items[i] == e->server)
                return yaml_edit_remove(&e->edit, e->document, i, e->err);
    }
    return remove_ours(e, e->layout.args, true) < 0 ? -1 : remove_ours(e, e->layout.volumes, false);
}

static const struct yaml *server_of(const struct yaml *document, const struct layout *l)
{
    return l->top ? document : yaml_get(document, "apiServer");
}

/* What makes the edit safe, whatever went before. */
static int check(const struct editor *e, const struct buf *new)
{
    struct yaml *document CLEANUP(cleanup_yaml) = NULL;
    struct error why CLEANUP(error_clear) = {0};
    if (yaml_read(buf_str(new), new->len, e->edit.name, &document, &why) < 0)
        return error_set(e->err, RESULT_REFUSED, "%s can't be edited: %s", e->edit.name,
                         why.message);
    const struct yaml *server = server_of(document, &e->layout);
    if (!same_map(e->document, document, &e->layout, e->layout.top))
        return error_set(e->err, RESULT_REFUSED,
                         "%s can't be edited: something else in it would change too", e->edit.name);
    if (!says(yaml_get(server, e->layout.args), yaml_get(server, e->layout.volumes), e->want))
        return error_set(e->err, RESULT_REFUSED,
                         "%s can't be edited: it would not say what it is to say", e->edit.name);
    return 0;
}

/* (Before 1.11 it was stored without a kind and a version.) */
static bool is_configuration(const struct yaml *document)
{
    const char *kind = text_of(yaml_get(document, "kind"));
    return str_eq(kind, "ClusterConfiguration") || str_eq(kind, "MasterConfiguration") ||
           (!kind && !yaml_get(document, "apiVersion") && yaml_get(document, "kubernetesVersion"));
}

int kubeadm_config_edit(const char *text, size_t len, const char *name,
                        const struct kubeadm_config_want *want, struct buf *out, struct error *err)
{
    struct yaml *document CLEANUP(cleanup_yaml) = NULL;
    struct buf new CLEANUP(buf_free) = {0};
    if (yaml_read(text, len, name, &document, err) < 0)
        return -1;
    if (document->kind != YAML_KIND_MAP || !is_configuration(document))
        return error_set(err, RESULT_REFUSED,
                         "%s: this is no ClusterConfiguration (before 1.12: MasterConfiguration)",
                         name);
    struct editor e CLEANUP(editor_free) = {
        .edit = {.name = name, .text = text, .len = len},
        .document = document,
        .want = want,
        .layout = layout_of(document),
        .err = err,
    };
    e.server = server_of(document, &e.layout);
    if (e.server && e.server->kind != YAML_KIND_MAP && !is_empty(e.server))
        return error_set(err, RESULT_REFUSED, "%s: apiServer is no map", name);
    if (e.server && !is_filled(e.server))
        e.server = NULL;
    if (!want->config_path && !e.server) {
        buf_add(out, text, len);
        return 0;
    }
    if (change(&e) < 0 || yaml_edit_apply(&e.edit, &new, err) < 0 || check(&e, &new) < 0)
        return -1;
    buf_add(out, new.data, new.len);
    return 0;
}
