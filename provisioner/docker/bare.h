/*
 * Files on a node that has no kube-apiserver yet: no container tells there where they lie, and no
 * image may be there to make helpers of. So a *base* is made for each act, a container that is
 * created and never started, with the mount that the apiserver will have; all of files.h works with
 * it. Its image is the one that the caller names, where that is on the node; else an empty one that
 * is imported through the Engine API itself, and whose helpers get the node's own /bin, /usr, /lib…
 * read-only, for a shell. It is a helper by name and label: docker_helpers_clear() removes what a
 * killed run left.
 */
#ifndef ENCRYPT_PROVISIONER_DOCKER_BARE_H
#define ENCRYPT_PROVISIONER_DOCKER_BARE_H

#include "provisioner/docker/engine.h"

#include <stdbool.h>

enum bare_use {
    BARE_DESCRIBE, /* what it would be alone: its mounts. Nothing is made on the node */
    BARE_READ,     /* a folder that is not on the node is not made there */
    BARE_WRITE,    /* it is made: root's, 0755 */
};

/*
 * host: the folder on the node; container: where the apiserver will find it. image: the tag of one
 * that has a shell, or NULL. *base is a new reference, NULL where BARE_READ finds no such folder;
 * to be given to docker_bare_close().
 */
int docker_bare_open(const struct http_server *d, const char *image, const char *host,
                     const char *container, enum bare_use use, json_t **base,
                     struct error *err) MUST_CHECK;
/* Removes it from the node and lets go of it. What can't be removed, the next run does. */
void docker_bare_close(const struct http_server *d, json_t *base);

/* Removes the empty image where a killed run left it; its helpers are gone by now. */
int docker_bare_clear(const struct http_server *d, struct error *err) MUST_CHECK;

/* Mounts that a helper made of a base must have for its shell (of any other container: none; an
 * empty list); a new reference. Such a helper has this label too: others may be made of it. */
#define DOCKER_BARE_LABEL "io.encrypt.base"
json_t *docker_bare_userland(const json_t *base);

#endif
