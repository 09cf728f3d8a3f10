/* What cluster.yml says of encryption: a room of the reader of cluster.yml. */
#ifndef ENCRYPT_STATE_CLUSTER_ENCRYPTION_H
#define ENCRYPT_STATE_CLUSTER_ENCRYPTION_H

#include "state/cluster_yml.h"

/* The managed form's: aescbc, secrets. */
void cluster_encryption_defaults(struct cluster *c);

/* Reads provider, resources, custom_config, the administrator's own file, feature gates and
 * extra_binds, into c and its findings. `kube_api` is services.kube-api, `map` its
 * secrets_encryption_config or NULL;
 * c->encryption is set already. */
void cluster_encryption_read(struct cluster *c, const struct yaml *kube_api,
                             const struct yaml *map);

/* The place of the document's rotate_encryption_key, and where it is true a warning among the
 * findings. c->rotate_encryption_key and what cluster_encryption_read() sets are set already. */
void cluster_encryption_read_rotation(struct cluster *c, const struct yaml *document);

#endif
