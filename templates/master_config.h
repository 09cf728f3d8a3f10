/*
 * OpenShift 3's master-config.yaml: what of it are the apiserver's flags, and the edit that gives
 * it an encryption configuration or takes it away. Pure. Sources: OpenShift 3.11, "Encrypting Data
 * at Datastore Layer", "Master and Node Configuration"; the files that openshift-ansible wrote
 * from 3.4 to 3.11. The file may hold passwords (of LDAP, say): no error quotes a value of it.
 */
#ifndef ENCRYPT_TEMPLATES_MASTER_CONFIG_H
#define ENCRYPT_TEMPLATES_MASTER_CONFIG_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

/* As a member of apiServerArguments: a list of one, the path. */
#define MASTER_CONFIG_FLAG "experimental-encryption-provider-config"

/*
 * The flags that kube-apiserver would have for what the file says, "--name=value" each, as far as
 * they are our concern: from etcdClientInfo, etcdStorageConfig, servingInfo and masterIP, then
 * apiServerArguments as they stand (which win: the last counts). A relative path is one of the
 * file's folder, `path` being the file's. A NULL-terminated array, for encryption_resources_free().
 * REFUSED: no YAML, no MasterConfig, no kubernetesMasterConfig (this master runs no apiserver of
 * its own), a member that stands twice, no etcdClientInfo.urls.
 */
int master_config_flags(const char *text, size_t len, const char *path, char ***out,
                        struct error *err) MUST_CHECK;

/*
 * Appends the text with the flag set to config_path, or without the flag (NULL). Only what must
 * change does: where it is so already nothing; comments, order and writing of all else stay. The
 * new text is read again, and says what it said, but for the flag. (apiServerArguments that is not
 * there, null or empty are the same thing: one that was made for the flag stays, empty, without
 * it.) *changed: whether it differs from the old. REFUSED: as master_config_flags(); where the flag
 * can't be written in its place (an alias, more than one value, a value over several lines): says
 * what is to be done by hand.
 */
int master_config_edit(const char *text, size_t len, const char *path, const char *config_path,
                       struct buf *out, bool *changed, struct error *err) MUST_CHECK;

#endif
