#include "provisioner/docker/binds.h"

#include <string.h>

static const char *text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

bool path_is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    while (len > 0 && folder[len - 1] == '/')
        len--;
    return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

char *bind_host(const char *bind)
{
    const char *colon = strchr(bind, ':');
    char *host CLEANUP(cleanup_mem) = mem_strndup(bind, colon ? (size_t)(colon - bind) : 0);
    return path_clean(host);
}

char *bind_container(const char *bind)
{
    const char *colon = strchr(bind, ':');
    char *container CLEANUP(cleanup_mem) =
        colon ? mem_strndup(colon + 1, strcspn(colon + 1, ":")) : mem_strdup(bind);
    return path_clean(container);
}

const char *bind_holding(char *const *binds, const char *path)
{
    const char *best = NULL;
    size_t longest = 0;
    for (; binds && *binds; binds++) {
        char *container CLEANUP(cleanup_mem) = bind_container(*binds);
        if (container[0] != '/' || !path_is_below(path, container) || strlen(container) <= longest)
            continue;
        best = *binds;
        longest = strlen(container);
    }
    return best;
}

const json_t *mount_holding(const json_t *inspected, const char *path)
{
    const json_t *best = NULL;
    size_t i = 0;
    const json_t *mount = NULL;
    json_array_foreach (json_object_get(inspected, "Mounts"), i, mount) {
        const char *to = text(mount, "Destination");
        if (*to && path_is_below(path, to) &&
            (!best || strlen(to) > strlen(text(best, "Destination"))))
            best = mount;
    }
    return best;
}

enum bind_state bind_state_in(const json_t *inspected, const char *bind)
{
    char *host CLEANUP(cleanup_mem) = bind_host(bind);
    char *container CLEANUP(cleanup_mem) = bind_container(bind);
    size_t i = 0;
    const json_t *mount = NULL;
    json_array_foreach (json_object_get(inspected, "Mounts"), i, mount) {
        char *to CLEANUP(cleanup_mem) = path_clean(text(mount, "Destination"));
        if (!str_eq(to, container))
            continue;
        bool volume = str_eq(text(mount, "Type"), "volume");
        char *from CLEANUP(cleanup_mem) = path_clean(text(mount, volume ? "Name" : "Source"));
        return str_eq(from, host) ? BIND_THERE : BIND_OTHER;
    }
    return BIND_MISSING;
}
