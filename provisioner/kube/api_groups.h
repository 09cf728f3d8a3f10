/*
 * What an apiserver says that it serves, and which resources the names in an
 * EncryptionConfiguration stand for there. Pure: discovery.c asks, this reads the answers.
 */
#ifndef ENCRYPT_PROVISIONER_KUBE_API_GROUPS_H
#define ENCRYPT_PROVISIONER_KUBE_API_GROUPS_H

#include "base/error.h"
#include "provisioner/kube/discovery.h"

#include <jansson.h>

struct api_resource {
    char *plural;
    bool namespaced, list, patch;
};

struct api_version {
    char *name;      /* "v1" */
    char *path;      /* "/api/v1", "/apis/batch/v1" */
    bool aggregated; /* another server serves it, and stores what is in it */
    struct api_resource *resources;
    size_t count;
};

struct api_group {
    char *name;                   /* "": core */
    struct api_version *versions; /* the preferred one first */
    size_t count;
};

struct api_groups {
    struct api_group *groups; /* core first, then as /apis has them */
    size_t count;
    char **definitions; /* of the custom resources: "widgets.example.com" */
    size_t definition_count;
};
void api_groups_free(struct api_groups *g); /* also for CLEANUP */

/* Starts with core. */
void api_groups_init(struct api_groups *g);
/* Adds what GET /apis answers. Error: not an APIGroupList. */
int api_groups_add(struct api_groups *g, const json_t *answer, struct error *err) MUST_CHECK;
/* Marks what other servers serve, by the list of APIServices. Error: not one. */
int api_groups_mark_aggregated(struct api_groups *g, const json_t *answer,
                               struct error *err) MUST_CHECK;
/* Adds the resources of a version, from its APIResourceList. Error: not one. */
int api_version_add(struct api_version *v, const json_t *answer, struct error *err) MUST_CHECK;
/* Adds the name of a CustomResourceDefinition; takes it over. */
void api_groups_add_definition(struct api_groups *g, char *name);

struct api_group *api_groups_find(const struct api_groups *g, const char *name);

/* Whether that group must be asked for its resources to know what `names` stand for. */
bool api_group_is_named(const char *group, char *const *names);
/* What `names` stand for; g has the resources of all groups that they name. */
void api_groups_resolve(const struct api_groups *g, char *const *names, struct resources *out);

#endif
