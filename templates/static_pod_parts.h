/* What static_pod.c and static_pod_edit.c share. */
#ifndef ENCRYPT_TEMPLATES_STATIC_POD_PARTS_H
#define ENCRYPT_TEMPLATES_STATIC_POD_PARTS_H

#include "templates/static_pod.h"

/* The container that runs kube-apiserver, or NULL where there is none, or more than one. */
const struct yaml *static_pod_container(const struct yaml *document);
bool static_pod_is_ours(const char *volume);
/* True where the argument is the flag, by either name; *value: what follows its `=`, or NULL. */
bool static_pod_arg_is_config(const char *arg, const char **value);
/* What is mounted at this very path, or NULL. */
const struct static_pod_mount *static_pod_mounted_at(const struct static_pod *p, const char *path);

#endif
