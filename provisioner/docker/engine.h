/*
 * The Docker Engine API, as far as we use it, spoken through an http_server. API version 1.24
 * (Docker 1.12) and later. Containers are named by id or name. Errors tell the daemon (d->what),
 * the request and the daemon's own message.
 */
#ifndef ENCRYPT_PROVISIONER_DOCKER_ENGINE_H
#define ENCRYPT_PROVISIONER_DOCKER_ENGINE_H

#include "provisioner/net/http.h"

#include <jansson.h>

/* Asks the daemon for its API version and puts it into d->url ("http://docker/v1.41"), so that all
 * later requests speak it: the daemon's own newest, since only that one shows, and takes, every
 * setting that a container can have. */
int docker_negotiate(struct http_server *d, struct error *err) MUST_CHECK;

/* The container's inspected settings (a new reference), or NULL with 0 where there is none of that
 * name. */
int docker_inspect(const struct http_server *d, const char *name, json_t **out,
                   struct error *err) MUST_CHECK;
/* The same, of an image that is on the node. */
int docker_inspect_image(const struct http_server *d, const char *name, json_t **out,
                         struct error *err) MUST_CHECK;

/* An image without any file, as `name` ("repo:tag"), made on the spot: nothing is pulled. */
int docker_import_empty(const struct http_server *d, const char *name,
                        struct error *err) MUST_CHECK;
/* Removes the name, and the image where it has no other. Gone already, or in use, is fine. */
int docker_remove_image(const struct http_server *d, const char *name,
                        struct error *err) MUST_CHECK;

/* What the daemon says the node's system is ("Debian GNU/Linux 12 (bookworm)"); "" where it doesn't
 * say. To be freed. */
int docker_system(const struct http_server *d, char **out, struct error *err) MUST_CHECK;

/* All containers, running or not, a part of whose name matches the regular expression, as the API
 * lists them (Id, Names, Labels, State); a new reference. */
int docker_list(const struct http_server *d, const char *pattern, json_t **out,
                struct error *err) MUST_CHECK;

/* Creates a container (the image must be there; nothing is pulled); gives its id, to be freed. */
int docker_create(const struct http_server *d, const char *name, const json_t *settings, char **id,
                  struct error *err) MUST_CHECK;
/* Connects a container to one more network with these endpoint settings. */
int docker_connect(const struct http_server *d, const char *network, const char *container,
                   const json_t *endpoint, struct error *err) MUST_CHECK;

/* Starting what runs and stopping what doesn't is fine. Stopping sends the container's stop signal,
 * and SIGKILL after so many seconds; it also ends a container that the daemon keeps restarting. */
int docker_start(const struct http_server *d, const char *container, struct error *err) MUST_CHECK;
int docker_stop(const struct http_server *d, const char *container, int seconds,
                struct error *err) MUST_CHECK;
/* Stops where it runs, then starts. */
int docker_restart(const struct http_server *d, const char *container, int seconds,
                   struct error *err) MUST_CHECK;
int docker_rename(const struct http_server *d, const char *container, const char *name,
                  struct error *err) MUST_CHECK;
/* Sets the restart policy ({"Name":…,"MaximumRetryCount":…}), of running and stopped ones. */
int docker_update_policy(const struct http_server *d, const char *container, const json_t *policy,
                         struct error *err) MUST_CHECK;
/* Removes it. `force`: also where it runs. `volumes`: with its anonymous volumes. Gone already is
 * fine. */
int docker_remove(const struct http_server *d, const char *container, bool force, bool volumes,
                  struct error *err) MUST_CHECK;
/* Waits until it doesn't run, for at most `timeout_ms`; gives its exit code. */
int docker_wait(const struct http_server *d, const char *container, int64_t timeout_ms, long *code,
                struct error *err) MUST_CHECK;

/* Unpacks a tar into a folder of the container; it need not run. The daemon's mounts of the
 * container are followed, so that what lies in a bind mount lands on the node. */
int docker_put_archive(const struct http_server *d, const char *container, const char *folder,
                       const struct buf *tar, struct error *err) MUST_CHECK;
/* Gives a file (or what else lies there) as a tar; *found is false where there is nothing. */
int docker_get_archive(const struct http_server *d, const char *container, const char *path,
                       struct buf *tar, bool *found, struct error *err) MUST_CHECK;
/* Only whether there is something (no contents come here). */
int docker_has_path(const struct http_server *d, const char *container, const char *path,
                    bool *found, struct error *err) MUST_CHECK;

/* The last lines of a container's log, stdout and stderr, without the API's frames. `tty`: its
 * Config.Tty. */
int docker_logs(const struct http_server *d, const char *container, bool tty, size_t lines,
                struct buf *out, struct error *err) MUST_CHECK;
/* Appends what the frames of a log stream without a terminal hold; a cut last frame is taken as far
 * as it goes. */
void docker_log_frames(struct buf *out, const char *data, size_t len);

#endif
