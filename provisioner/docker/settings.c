#include "provisioner/docker/settings.h"

#include "provisioner/docker/binds.h"
#include "provisioner/node.h"

#include <string.h>

static const char *const config_flags[] = {"encryption-provider-config",
                                           "experimental-encryption-provider-config"};
static const char reload_flag[] = "encryption-provider-config-automatic-reload";

static const char *text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* The array of that name, made where it is not there. */
static json_t *array_of(json_t *object, const char *key)
{
    json_t *a = json_object_get(object, key);
    if (json_is_array(a))
        return a;
    json_object_set_new(object, key, json_array());
    return json_object_get(object, key);
}

static bool is_bound(const json_t *host, const char *destination)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach (json_object_get(host, "Binds"), i, item) {
        const char *bind = json_string_value(item);
        char *to CLEANUP(cleanup_mem) = bind_container(bind ? bind : "");
        if (str_eq(to, destination))
            return true;
    }
    return false;
}

/* Anonymous volumes have a name like any other; made anew, the container would get empty ones. */
static void keep_volumes(const json_t *inspected, const json_t *inherited, json_t *host)
{
    size_t i = 0;
    const json_t *mount = NULL;
    json_array_foreach (json_object_get(inspected, "Mounts"), i, mount) {
        const char *name = text(mount, "Name");
        const char *to = text(mount, "Destination");
        if (!str_eq(text(mount, "Type"), "volume") || !*name || is_bound(host, to) ||
            json_object_get(inherited, to))
            continue;
        size_t k = 0;
        json_t *given = NULL;
        bool by_mounts = false;
        json_array_foreach (json_object_get(host, "Mounts"), k, given) {
            if (!str_eq(text(given, "Target"), to))
                continue;
            by_mounts = true;
            if (!*text(given, "Source"))
                json_object_set_new(given, "Source", json_string(name));
        }
        if (by_mounts)
            continue;
        bool writable = !json_is_false(json_object_get(mount, "RW"));
        json_array_append_new(array_of(host, "Binds"),
                              json_sprintf("%s:%s%s", name, to, writable ? "" : ":ro"));
    }
}

/* Shown as "/other:/this/alias", taken as "other:alias". */
static json_t *links(const json_t *shown)
{
    json_t *out = json_array();
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach (shown, i, item) {
        const char *link = json_string_value(item);
        const char *colon = link ? strchr(link, ':') : NULL;
        const char *slash = link ? strrchr(link, '/') : NULL;
        if (colon && slash && slash > colon)
            json_array_append_new(
                out, json_sprintf("%.*s:%s", (int)(colon - link - 1), link + 1, slash + 1));
        else if (link)
            json_array_append_new(out, json_string(link));
    }
    return out;
}

/* What was asked for of a network; what the daemon found for it (addresses, ids) is left out. */
static json_t *endpoint(const json_t *shown, const char *id)
{
    static const char *const asked[] = {"IPAMConfig", "Links", "DriverOpts", "GwPriority"};
    json_t *out = json_object();
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        json_t *value = json_object_get(shown, asked[i]);
        if (value && !json_is_null(value))
            json_object_set(out, asked[i], value);
    }
    json_t *aliases = json_array();
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach (json_object_get(shown, "Aliases"), i, item) {
        /* Older daemons add the container's short id by themselves. */
        const char *alias = json_string_value(item);
        if (alias && !(strlen(alias) == 12 && str_starts(id, alias)))
            json_array_append(aliases, item);
    }
    if (json_array_size(aliases))
        json_object_set(out, "Aliases", aliases);
    json_decref(aliases);
    return out;
}

/* Before API 1.44 a create call takes one network only: the others are connected afterwards. */
static void set_networks(const json_t *inspected, const char *mode, json_t *body, json_t *others)
{
    const json_t *shown =
        json_object_get(json_object_get(inspected, "NetworkSettings"), "Networks");
    const char *id = text(inspected, "Id");
    const char *name = NULL;
    json_t *value = NULL;
    const char *first = NULL;
    json_object_foreach ((json_t *)shown, name, value) {
        if (str_eq(name, mode) || (*mode && str_starts(text(value, "NetworkID"), mode)))
            first = name;
    }
    json_object_foreach ((json_t *)shown, name, value) {
        json_t *e = endpoint(value, id);
        /* The default bridge takes no settings, by any of its names. */
        bool is_default = str_eq(name, "bridge");
        if (first ? str_eq(name, first) : is_default) {
            if (!is_default)
                json_object_set_new(body, "NetworkingConfig",
                                    json_pack("{s:{s:O}}", "EndpointsConfig", name, e));
        } else {
            json_object_set(others, name, e);
        }
        json_decref(e);
    }
}

int settings_for_create(const json_t *inspected, const char *image, const json_t *inherited,
                        json_t **body, json_t **networks, struct error *err)
{
    json_auto_t *out = json_deep_copy(json_object_get(inspected, "Config"));
    json_auto_t *host = json_deep_copy(json_object_get(inspected, "HostConfig"));
    json_auto_t *others = json_object();
    if (!json_is_object(out) || !json_is_object(host))
        return error_set(err, RESULT_FAILED, "the container's settings are not shown");
    if (json_is_true(json_object_get(host, "AutoRemove")))
        return error_set(err, RESULT_REFUSED,
                         "the container is removed by Docker when it stops (--rm): it can't be "
                         "kept to go back to");
    json_object_set_new(out, "Image", json_string(image));
    json_object_set_new(host, "RestartPolicy",
                        json_pack("{s:s, s:i}", "Name", "no", "MaximumRetryCount", 0));
    keep_volumes(inspected, inherited, host);
    if (json_array_size(json_object_get(host, "Links")))
        json_object_set_new(host, "Links", links(json_object_get(host, "Links")));

    const char *mode = text(host, "NetworkMode");
    bool shared = str_starts(mode, "container:");
    if (shared || str_eq(text(host, "UTSMode"), "host")) {
        /* The daemon fills it in by itself, and refuses it when it is given. */
        json_object_del(out, "Hostname");
        json_object_del(out, "Domainname");
    }
    if (shared)
        json_object_del(out, "ExposedPorts");
    if (!shared && !str_eq(mode, "host") && !str_eq(mode, "none"))
        set_networks(inspected, mode, out, others);
    json_object_set(out, "HostConfig", host);
    *body = STEAL(out);
    *networks = STEAL(others);
    return 0;
}

static bool is_flag(const json_t *item)
{
    const char *s = json_string_value(item);
    return s && str_starts(s, "--");
}

/* Takes the flag out of the list wherever it is given; gives the index of the first, or -1. *name
 * is by which it was given. */
static long take_out(json_t *list, const char *flag, bool has_value, const char **name)
{
    long first = -1;
    for (size_t i = 0; i < json_array_size(list);) {
        const char *value = NULL;
        if (!apiserver_arg_is(json_string_value(json_array_get(list, i)), flag, &value)) {
            i++;
            continue;
        }
        bool apart = !value && has_value && i + 1 < json_array_size(list) &&
                     !is_flag(json_array_get(list, i + 1));
        json_array_remove(list, i);
        if (apart)
            json_array_remove(list, i);
        if (first < 0)
            first = (long)i;
        *name = flag;
    }
    return first;
}

static bool holds_flags(const json_t *list)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach (list, i, item) {
        if (is_flag(item))
            return true;
    }
    return false;
}

static bool holds_script(const json_t *list)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach (list, i, item) {
        const char *s = json_string_value(item);
        if (s && strstr(s, " --"))
            return true;
    }
    return false;
}

int settings_set_config_flag(json_t *config, const char *config_path, struct error *err)
{
    json_t *lists[] = {json_object_get(config, "Cmd"), json_object_get(config, "Entrypoint")};
    bool flags = holds_flags(lists[0]) || holds_flags(lists[1]);
    if (!flags && (holds_script(lists[0]) || holds_script(lists[1])))
        return error_set(err, RESULT_REFUSED,
                         "the container's command is a shell script: its flags can't be changed");
    json_t *into = NULL;
    long at = -1;
    const char *name = config_flags[0];
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        const char *unused = NULL;
        for (size_t k = 0; k < ARRAY_LEN(config_flags); k++) {
            long found = take_out(lists[i], config_flags[k], true, &name);
            if (found >= 0) {
                into = lists[i];
                at = found;
            }
        }
        if (!config_path)
            take_out(lists[i], reload_flag, false, &unused);
    }
    if (!config_path)
        return 0;
    json_t *flag = json_sprintf("--%s=%s", name, config_path);
    if (into) {
        json_array_insert_new(into, (size_t)at, flag);
        return 0;
    }
    bool in_entrypoint = holds_flags(lists[0]) ? false
                         : holds_flags(lists[1])
                             ? true
                             : json_array_size(lists[0]) == 0 && json_array_size(lists[1]) > 0;
    json_array_append_new(array_of(config, in_entrypoint ? "Entrypoint" : "Cmd"), flag);
    return 0;
}

int settings_add_binds(const json_t *inspected, char *const *binds, json_t *body, struct error *err)
{
    for (; binds && *binds; binds++) {
        char *container CLEANUP(cleanup_mem) = bind_container(*binds);
        enum bind_state state = bind_state_in(inspected, *binds);
        if (state == BIND_THERE)
            continue;
        if (state == BIND_OTHER) {
            error_set(err, RESULT_REFUSED,
                      "the container kube-apiserver has another mount at %s than %s, which "
                      "services.kube-api.extra_binds asks for",
                      container, *binds);
            error_next(err, "make extra_binds name what is mounted there, or another folder of "
                            "the container");
            return -1;
        }
        json_array_append_new(array_of(json_object_get(body, "HostConfig"), "Binds"),
                              json_string(*binds));
    }
    return 0;
}

char *settings_bind_for(const json_t *inspected, const char *path, struct error *err)
{
    const json_t *best = mount_holding(inspected, path);
    const char *to = text(best, "Destination");
    const char *from = text(best, "Source");
    if (path[0] != '/' || strstr(path, "/../")) {
        error_set(err, RESULT_REFUSED, "%s: must be an absolute path without '..'", path);
    } else if (best && str_eq(to, path)) {
        error_set(err, RESULT_REFUSED,
                  "%s: is itself a mount of the container kube-apiserver; it must be a file inside "
                  "a mounted folder, to be replaced whole",
                  path);
    } else if (!best || !str_eq(text(best, "Type"), "bind") || !*from) {
        error_set(err, RESULT_REFUSED,
                  "%s: does not lie on the node, but inside the container kube-apiserver%s: it "
                  "would be lost with it",
                  path, best ? " (in a volume of Docker's)" : "");
    } else if (strchr(from, ':') || strchr(to, ':')) {
        error_set(err, RESULT_REFUSED, "%s: lies in a mount whose path has a colon", path);
    } else {
        return mem_printf("%s:%s", from, to);
    }
    error_next(err, "use a path below /etc/kubernetes, or mount its folder by "
                    "services.kube-api.extra_binds and run rke up");
    return NULL;
}
