/* Helpers (see files.h), as the files of this folder make them. */
#ifndef ENCRYPT_PROVISIONER_DOCKER_HELPER_H
#define ENCRYPT_PROVISIONER_DOCKER_HELPER_H

#include "provisioner/docker/engine.h"

enum { DOCKER_HELPER_MS = 120000 };

/* Creates one of base's image. labels (DOCKER_HELPER_LABEL among them), mounts (HostConfig's
 * members) and command (of /bin/sh) are let go of; nothing secret is in them. *id: to be freed. */
int docker_helper_create(const struct http_server *d, const json_t *base, json_t *labels,
                         json_t *mounts, json_t *command, char **id, struct error *err) MUST_CHECK;

#endif
