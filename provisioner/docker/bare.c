#include "provisioner/docker/bare.h"

#include "provisioner/docker/files.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

/* The empty image. */
#define DOCKER_BARE_IMAGE "encrypt-helper:empty"

/* What a shell and the few programs of the helpers' scripts need, wherever a node has them. */
static const char *const userland[] = {"/bin", "/usr", "/lib", "/lib64", "/lib32", "/sbin"};

static json_t *describe(const char *host, const char *container)
{
    return json_pack("{s:s, s:{s:s}, s:[{s:s, s:s, s:s, s:b}]}", "Id", "", "HostConfig",
                     "NetworkMode", "host", "Mounts", "Type", "bind", "Source", host, "Destination",
                     container, "RW", 1);
}

static json_t *mount_of(const char *host, const char *container)
{
    return json_pack("{s:s, s:s, s:s, s:b}", "Type", "bind", "Source", host, "Target", container,
                     "ReadOnly", 1);
}

/* The named image's id where it is there; else that of the empty one. */
static int find_image(const struct http_server *d, const char *name, char **id, bool *empty,
                      struct error *err)
{
    json_auto_t *image = NULL;
    *empty = false;
    if (name && *name && docker_inspect_image(d, name, &image, err) < 0)
        return -1;
    if (!image) {
        *empty = true;
        if (docker_inspect_image(d, DOCKER_BARE_IMAGE, &image, err) < 0 ||
            (!image && (docker_import_empty(d, DOCKER_BARE_IMAGE, err) < 0 ||
                        docker_inspect_image(d, DOCKER_BARE_IMAGE, &image, err) < 0)))
            return -1;
    }
    const char *text = json_string_value(json_object_get(image, "Id"));
    if (!text)
        return error_set(err, RESULT_FAILED, "%s: an image without an id", d->what);
    *id = mem_strdup(text);
    return 0;
}

/* Takes out the mount of which the daemon says that there is nothing on the node. */
static bool drop_missing(json_t *mounts, const char *message)
{
    const char *said = strstr(message, "source path does not exist");
    size_t i = 0;
    json_t *mount = NULL;
    if (!said)
        return false;
    json_array_foreach (mounts, i, mount) {
        const char *source = json_string_value(json_object_get(mount, "Source"));
        char *named CLEANUP(cleanup_mem) = mem_printf(": %s", source);
        const char *at = strstr(said, named);
        if (at && strcspn(at + 2, " \t\n\"',)") == strlen(source)) {
            json_array_remove(mounts, i);
            return true;
        }
    }
    return false;
}

static int create(const struct http_server *d, const char *image, json_t *mounts, const char *bind,
                  char **id, struct error *err)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_set(err, RESULT_FAILED, "no random numbers: %m");
    char *name CLEANUP(cleanup_mem) = mem_printf(DOCKER_HELPER_PREFIX "%016" PRIx64, random);
    json_auto_t *settings =
        json_pack("{s:s, s:[s], s:{s:s, s:s}, s:{s:s, s:s, s:{s:s}, s:[s], s:O}}", "Image", image,
                  "Entrypoint", "/bin/true", "Labels", DOCKER_HELPER_LABEL, "1", DOCKER_BARE_LABEL,
                  "1", "HostConfig", "NetworkMode", "none", "UsernsMode", "host", "RestartPolicy",
                  "Name", "no", "SecurityOpt", "label=disable", "Mounts", mounts);
    if (bind)
        json_object_set_new(json_object_get(settings, "HostConfig"), "Binds",
                            json_pack("[s]", bind));
    return docker_create(d, name, settings, id, err);
}

/* *id NULL: `reads`, and there is no such folder on the node. */
static int create_base(const struct http_server *d, const char *image, bool empty, const char *host,
                       const char *container, bool reads, char **id, struct error *err)
{
    char *bind CLEANUP(cleanup_mem) = reads ? NULL : mem_printf("%s:%s", host, container);
    json_auto_t *mounts = json_array();
    if (reads)
        json_array_append_new(mounts, mount_of(host, container));
    for (size_t i = 0; empty && i < ARRAY_LEN(userland); i++)
        json_array_append_new(mounts, mount_of(userland[i], userland[i]));
    for (size_t tries = 0; tries <= ARRAY_LEN(userland) + 1; tries++) {
        struct error e CLEANUP(error_clear) = {0};
        if (create(d, image, mounts, bind, id, &e) == 0)
            return 0;
        if (!e.message || !drop_missing(mounts, e.message))
            return error_move(err, &e);
        const json_t *first = json_array_get(mounts, 0);
        if (reads && !str_eq(json_string_value(json_object_get(first, "Target")), container))
            return 0;
    }
    return error_set(err, RESULT_FAILED, "%s: it finds none of the node's own folders", d->what);
}

int docker_bare_open(const struct http_server *d, const char *image, const char *host,
                     const char *container, enum bare_use use, json_t **base, struct error *err)
{
    char *image_id CLEANUP(cleanup_mem) = NULL;
    char *id CLEANUP(cleanup_mem) = NULL;
    bool empty = false;
    *base = NULL;
    if (use == BARE_DESCRIBE) {
        *base = describe(host, container);
        return 0;
    }
    if (find_image(d, image, &image_id, &empty, err) < 0 ||
        create_base(d, image_id, empty, host, container, use == BARE_READ, &id, err) < 0 ||
        (id && docker_inspect(d, id, base, err) < 0))
        return error_wrap(err, "reaching %s without a container kube-apiserver", host);
    if (id && !*base)
        return error_set(err, RESULT_FAILED, "%s: a container that was just made is gone", d->what);
    return !id && empty ? docker_remove_image(d, DOCKER_BARE_IMAGE, err) : 0;
}

void docker_bare_close(const struct http_server *d, json_t *base)
{
    struct error ignored CLEANUP(error_clear) = {0};
    const char *id = json_string_value(json_object_get(base, "Id"));
    if (id && *id && docker_remove(d, id, true, true, &ignored) == 0 &&
        json_array_size(json_object_get(json_object_get(base, "HostConfig"), "Mounts")) > 0 &&
        docker_remove_image(d, DOCKER_BARE_IMAGE, &ignored) < 0)
        error_clear(&ignored); /* by the next run, then */
    json_decref(base);
}

int docker_bare_clear(const struct http_server *d, struct error *err)
{
    json_auto_t *image = NULL;
    if (docker_inspect_image(d, DOCKER_BARE_IMAGE, &image, err) < 0)
        return -1;
    return image ? docker_remove_image(d, DOCKER_BARE_IMAGE, err) : 0;
}

json_t *docker_bare_userland(const json_t *base)
{
    json_t *out = json_array();
    const json_t *labels = json_object_get(json_object_get(base, "Config"), "Labels");
    size_t i = 0;
    json_t *mount = NULL;
    if (!json_object_get(labels, DOCKER_BARE_LABEL))
        return out;
    json_array_foreach (json_object_get(json_object_get(base, "HostConfig"), "Mounts"), i, mount) {
        const char *target = json_string_value(json_object_get(mount, "Target"));
        for (size_t k = 0; target && k < ARRAY_LEN(userland); k++)
            if (str_eq(target, userland[k]))
                json_array_append(out, mount);
    }
    return out;
}
