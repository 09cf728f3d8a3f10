#include "templates/static_pod.h"

#include "base/file.h"
#include "templates/static_pod_parts.h"

#include <string.h>

void static_pod_free(struct static_pod *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++) {
        mem_free(p->mounts[i].container);
        mem_free(p->mounts[i].host);
        mem_free(p->mounts[i].volume);
    }
    mem_free(p->mounts);
    for (size_t i = 0; p->args && p->args[i]; i++)
        mem_free(p->args[i]);
    mem_free(p->args);
    mem_free(p->image);
    mem_free(p->user);
    mem_free(p->restart);
    yaml_tree_free(p->document);
    mem_free(p);
}

void cleanup_static_pod(struct static_pod **p)
{
    static_pod_free(*p);
}

static const char *text_of(const struct yaml *y)
{
    return y && y->kind == YAML_KIND_SCALAR ? y->scalar : NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_list(const struct yaml *y)
{
    return y && y->kind == YAML_KIND_LIST;
}

/* What of a list's items are texts. */
static bool all_texts(const struct yaml *list)
{
    for (size_t i = 0; is_list(list) && i < list->count; i++)
        if (!text_of(list->items[i]))
            return false;
    return true;
}

static bool names_apiserver(const struct yaml *list)
{
    const char *before = NULL;
    for (size_t i = 0; is_list(list) && i < list->count; i++) {
        const char *text = text_of(list->items[i]);
        if (text &&
            (str_eq(base_name(text), "kube-apiserver") ||
             (str_eq(text, "apiserver") && before && str_eq(base_name(before), "hyperkube"))))
            return true;
        before = text;
    }
    return false;
}

static bool runs_apiserver(const struct yaml *container)
{
    return str_eq(text_of(yaml_get(container, "name")), "kube-apiserver") ||
           names_apiserver(yaml_get(container, "command"));
}

const struct yaml *static_pod_container(const struct yaml *document)
{
    const struct yaml *list = yaml_path(document, "spec", "containers", NULL);
    const struct yaml *found = NULL;
    for (size_t i = 0; is_list(list) && i < list->count; i++) {
        if (!runs_apiserver(list->items[i]))
            continue;
        if (found)
            return NULL;
        found = list->items[i];
    }
    return found;
}

static bool is_shell(const char *program)
{
    static const char *const shells[] = {"sh", "bash", "ash", "dash", "busybox"};
    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        if (str_eq(base_name(program), shells[i]))
            return true;
    return false;
}

static int refuse(const char *name, const struct yaml *at, struct error *err, const char *what)
{
    return error_set(err, RESULT_REFUSED, "%s:%zu: %s", name, at ? at->line : 1, what);
}

/* In a shell's command line the flags are words of a program. */
static int check_shell(const char *name, const struct yaml *command, struct error *err)
{
    const char *first = is_list(command) && command->count ? text_of(command->items[0]) : NULL;
    if (!first || !is_shell(first))
        return 0;
    refuse(
        name, command, err,
        "kube-apiserver is started by a shell, and its flags stand in that shell's command line: "
        "this tool does not edit programs");
    error_next(err, "write the command as a list, an item a flag (command: [kube-apiserver], args: "
                    "[--etcd-servers=…, …]), each in a line of its own");
    return -1;
}

/* The arguments as the process gets them, and where its flags begin: after the program's name (a
 * wrapper like /go-runner has flags of its own before it), else at the first that looks like one.
 */
static int read_args(struct static_pod *p, const struct yaml *container, const char *name,
                     struct error *err)
{
    const struct yaml *lists[] = {yaml_get(container, "command"), yaml_get(container, "args")};
    size_t total = 0;
    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        if (!yaml_is_null(lists[k]) && (!is_list(lists[k]) || !all_texts(lists[k])))
            return refuse(name, lists[k], err, "command and args must be lists of texts");
        total += is_list(lists[k]) ? lists[k]->count : 0;
    }
    if (check_shell(name, lists[0], err) < 0)
        return -1;
    p->args = mem_alloc(total + 1, sizeof(*p->args));
    size_t count = 0;
    bool begun = !names_apiserver(lists[0]) && !names_apiserver(lists[1]);
    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        for (size_t i = 0; is_list(lists[k]) && i < lists[k]->count; i++) {
            const char *text = text_of(lists[k]->items[i]);
            if (begun && (count || text[0] == '-'))
                p->args[count++] = mem_strdup(text);
            begun = begun || str_eq(base_name(text), "kube-apiserver") ||
                    str_eq(base_name(text), "hyperkube");
        }
    }
    if (!begun)
        return refuse(name, container, err, "kube-apiserver is not a word of its own in command");
    return 0;
}

static const struct yaml *volume_named(const struct yaml *document, const char *name)
{
    const struct yaml *list = yaml_path(document, "spec", "volumes", NULL);
    for (size_t i = 0; is_list(list) && i < list->count; i++)
        if (str_eq(text_of(yaml_get(list->items[i], "name")), name))
            return list->items[i];
    return NULL;
}

bool static_pod_is_ours(const char *volume)
{
    return str_eq(volume, STATIC_POD_FOLDER) || (volume && str_starts(volume, STATIC_POD_MORE));
}

static void read_mounts(struct static_pod *p, const struct yaml *container)
{
    const struct yaml *list = yaml_get(container, "volumeMounts");
    for (size_t i = 0; is_list(list) && i < list->count; i++) {
        const char *at = text_of(yaml_get(list->items[i], "mountPath"));
        const char *name = text_of(yaml_get(list->items[i], "name"));
        const char *below = text_of(yaml_get(list->items[i], "subPath"));
        bool read_only = false;
        if (!at || !name)
            continue;
        const struct yaml *host_path = yaml_get(volume_named(p->document, name), "hostPath");
        const char *host = text_of(yaml_get(host_path, "path"));
        const char *type = text_of(yaml_get(host_path, "type"));
        char *whole CLEANUP(cleanup_mem) =
            host ? mem_printf("%s%s%s", host, below ? "/" : "", below ? below : "") : NULL;
        bool file = type && (str_starts(type, "File") || str_eq(type, "Socket"));
        MEM_GROW(p->mounts, p->count);
        p->mounts[p->count++] = (struct static_pod_mount){
            .container = path_clean(at),
            .host = whole ? path_clean(whole) : NULL,
            .volume = mem_strdup(name),
            .read_only = yaml_bool(yaml_get(list->items[i], "readOnly"), &read_only) && read_only,
            .file = file,
            .ours = static_pod_is_ours(name),
        };
    }
}

static int read_pod(struct static_pod *p, const char *name, struct error *err)
{
    const struct yaml *d = p->document;
    bool host_network = false;
    if (!str_eq(text_of(yaml_get(d, "kind")), "Pod"))
        return refuse(name, d, err, "this is no Pod");
    const struct yaml *container = static_pod_container(d);
    if (!container)
        return refuse(name, yaml_path(d, "spec", "containers", NULL), err,
                      "there is not one container that runs kube-apiserver");
    p->image = mem_strdup(text_of(yaml_get(container, "image")));
    const char *user = text_of(yaml_path(container, "securityContext", "runAsUser", NULL));
    if (!user)
        user = text_of(yaml_path(d, "spec", "securityContext", "runAsUser", NULL));
    p->user = mem_strdup(user);
    p->restart =
        mem_strdup(text_of(yaml_path(d, "metadata", "annotations", STATIC_POD_RESTART, NULL)));
    p->host_network =
        yaml_bool(yaml_path(d, "spec", "hostNetwork", NULL), &host_network) && host_network;
    read_mounts(p, container);
    return read_args(p, container, name, err);
}

int static_pod_read(const char *text, size_t len, const char *name, struct static_pod **out,
                    struct error *err)
{
    struct static_pod *p CLEANUP(cleanup_static_pod) = mem_alloc(1, sizeof(*p));
    if (yaml_read(text, len, name, &p->document, err) < 0 || read_pod(p, name, err) < 0)
        return -1;
    *out = STEAL(p);
    return 0;
}

/* (As apiserver_arg_is(): kube-apiserver takes underscores for dashes.) */
bool static_pod_arg_is_config(const char *arg, const char **value)
{
    static const char *const names[] = {"--encryption-provider-config",
                                        "--experimental-encryption-provider-config"};
    for (size_t n = 0; n < ARRAY_LEN(names); n++) {
        const char *a = arg, *name = names[n];
        while (*name && (*a == *name || (*a == '_' && *name == '-')))
            a++, name++;
        if (*name || (*a && *a != '='))
            continue;
        *value = *a ? a + 1 : NULL;
        return true;
    }
    return false;
}

const char *static_pod_config(const struct static_pod *p)
{
    const char *found = NULL;
    for (size_t i = 0; p->args[i]; i++) {
        const char *value = NULL;
        if (!static_pod_arg_is_config(p->args[i], &value))
            continue;
        found = value ? value : p->args[i + 1];
        i += !value && p->args[i + 1];
    }
    return found && *found ? found : NULL;
}

static bool holds(const char *folder, const char *path)
{
    size_t len = strlen(folder);
    return str_eq(folder, "/") || (strncmp(path, folder, len) == 0 && strchr("/", path[len]));
}

const struct static_pod_mount *static_pod_mount_of(const struct static_pod *p, const char *path)
{
    const struct static_pod_mount *found = NULL;
    char *clean CLEANUP(cleanup_mem) = path_clean(path);
    for (size_t i = 0; i < p->count; i++) {
        const struct static_pod_mount *m = &p->mounts[i];
        if (holds(m->container, clean) &&
            (!found || strlen(m->container) >= strlen(found->container)))
            found = m;
    }
    return found;
}

const struct static_pod_mount *static_pod_mounted_at(const struct static_pod *p, const char *path)
{
    const struct static_pod_mount *m = static_pod_mount_of(p, path);
    char *clean CLEANUP(cleanup_mem) = path_clean(path);
    return m && str_eq(m->container, clean) ? m : NULL;
}

bool static_pod_has(const struct static_pod *p, const struct static_pod_want *want)
{
    if (!str_eq(static_pod_config(p), want->config_path))
        return false;
    for (size_t i = 0; !want->config_path && i < p->count; i++)
        if (p->mounts[i].ours)
            return false;
    if (want->config_path && !static_pod_mount_of(p, want->config_path))
        return false;
    for (size_t i = 0; i < want->bind_count; i++) {
        const struct static_pod_mount *m = static_pod_mounted_at(p, want->binds[i].container);
        if (!m || !str_eq(m->host, want->binds[i].host))
            return false;
    }
    return true;
}
