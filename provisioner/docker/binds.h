/*
 * Binds as Docker and RKE's extra_binds write them, "host:container[:options]", held against what a
 * container has mounted. Pure functions.
 */
#ifndef ENCRYPT_PROVISIONER_DOCKER_BINDS_H
#define ENCRYPT_PROVISIONER_DOCKER_BINDS_H

#include "base/file.h" /* path_clean() */

#include <jansson.h>
#include <stdbool.h>

/* True where `path` is `folder` or lies below it. Both clean, but for a slash at folder's end. */
bool path_is_below(const char *path, const char *folder);

/* The two paths of a bind, clean; "" where it has none. To be freed. A host side that is no
 * absolute path is a volume's name. */
char *bind_host(const char *bind);
/* Of a bind of one part ("container"): that. */
char *bind_container(const char *bind);

/* The bind whose container path holds `path` and is the longest such; or NULL. Not owned. `binds`
 * ends in NULL, or is NULL. */
const char *bind_holding(char *const *binds, const char *path);

/* The mount of the inspected container that holds `path`, the longest; or NULL. Not owned. */
const json_t *mount_holding(const json_t *inspected, const char *path);

enum bind_state {
    BIND_MISSING, /* nothing is mounted at its container path */
    BIND_THERE,   /* the very folder or volume is */
    BIND_OTHER,   /* something else is */
};
enum bind_state bind_state_in(const json_t *inspected, const char *bind);

#endif
