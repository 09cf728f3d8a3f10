/* What the files of the EncryptionConfiguration share among themselves. */
#ifndef ENCRYPT_TEMPLATES_ENCRYPTION_CONFIG_PARTS_H
#define ENCRYPT_TEMPLATES_ENCRYPTION_CONFIG_PARTS_H

#include "templates/encryption_config.h"

/* Append copies. */
void encryption_provider_add(struct encryption_item *item, const struct encryption_provider *p);
void encryption_key_add(struct encryption_provider *p, const struct encryption_key *k);

/* The providers of one resource, in order; see encryption_config_algebra.c. Initialise with {0}. */
struct encryption_chain {
    const struct encryption_provider **providers; /* borrowed from the configuration */
    size_t count;                                 /* 0: not configured, and so plain */
};
struct encryption_chain encryption_chain_of(const struct encryption_config *c,
                                            const char *resource);
void encryption_chain_add(struct encryption_chain *chain, const struct encryption_item *item);
void encryption_chain_free(struct encryption_chain *chain);

/* True where values of both begin alike: one type, or one kms version and name. */
bool encryption_same_prefix(const struct encryption_provider *a,
                            const struct encryption_provider *b);
const struct encryption_provider *encryption_first_match(const struct encryption_chain *chain,
                                                         const struct encryption_provider *p);
const struct encryption_key *encryption_key_named(const struct encryption_provider *p,
                                                  const char *name);

/* True where kube-apiserver takes the wildcard for this resource, or for this narrower wildcard. */
bool encryption_wildcard_covers(const char *wildcard, const char *resource);

#endif
