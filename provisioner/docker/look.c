/* What lies on the node, by helpers that only look. */
#include "provisioner/docker/files.h"
#include "provisioner/docker/helper.h"

#include <string.h>

/* $1 the socket. */
static const char look_script[] = "[ -e \"$1\" ] || exit 10\n[ -S \"$1\" ] || exit 11\n";

/* One that only looks at what lies on the node by the path `host`. Not by Binds: the daemon would
 * make a folder that is not there. *there is false, and *id NULL, where nothing is. */
static int create_looker(const struct http_server *d, const json_t *base, const char *host,
                         const char *container, json_t *command, bool *there, char **id,
                         struct error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    json_t *mounts = json_pack("{s:[{s:s, s:s, s:s, s:b}]}", "Mounts", "Type", "bind", "Source",
                               host, "Target", container, "ReadOnly", 1);
    *there = true;
    if (docker_helper_create(d, base, json_pack("{s:s}", DOCKER_HELPER_LABEL, "1"), mounts, command,
                             id, &e) == 0)
        return 0;
    if (!strstr(e.message, "source path does not exist"))
        return error_move(err, &e);
    *there = false;
    return 0;
}

int docker_has_on_node(const struct http_server *d, const json_t *base, const char *host,
                       bool *there, struct error *err)
{
    char *id CLEANUP(cleanup_mem) = NULL;
    json_t *command = json_pack("[s,s]", "-c", "exit 0");
    if (create_looker(d, base, host, "/look", command, there, &id, err) < 0 ||
        (id && docker_remove(d, id, true, true, err) < 0))
        return error_wrap(err, "looking whether %s is on the node", host);
    return 0;
}

int docker_look_for_socket(const struct http_server *d, const json_t *base,
                           const struct node_socket *at, enum socket_there *out, struct error *err)
{
    enum { NOTHING = 10, OTHER = 11 };
    char *id CLEANUP(cleanup_mem) = NULL;
    bool there = false;
    long code = -1;
    json_t *command = json_pack("[s,s,s,s]", "-c", look_script, "sh", at->path);
    if (create_looker(d, base, at->mount_host, at->mount_container, command, &there, &id, err) < 0)
        return error_wrap(err, "looking for the socket %s", at->host_path);
    *out = SOCKET_NO_FOLDER;
    if (!there)
        return 0;
    int rc = docker_start(d, id, err) < 0 ? -1 : docker_wait(d, id, DOCKER_HELPER_MS, &code, err);
    struct error second CLEANUP(error_clear) = {0};
    if (docker_remove(d, id, true, true, &second) < 0 && rc == 0)
        rc = error_move(err, &second);
    if (rc == 0 && code != 0 && code != NOTHING && code != OTHER)
        rc =
            error_set(err, RESULT_FAILED, "%s: the helper container ended with %ld", d->what, code);
    if (rc < 0)
        return error_wrap(err, "looking for the socket %s", at->host_path);
    *out = code == 0 ? SOCKET_THERE : code == NOTHING ? SOCKET_NOTHING : SOCKET_OTHER;
    return 0;
}
