/*
 * What `rke2 secrets-encrypt status` and `k3s secrets-encrypt status` say, as text and as JSON
 * (`-o json`). Pure. Sources: docs.k3s.io/cli/secrets-encrypt, docs.rke2.io/security/
 * secrets_encryption, and the type EncryptionState of k3s.
 */
#ifndef ENCRYPT_PROVISIONER_OWNED_STATUS_TEXT_H
#define ENCRYPT_PROVISIONER_OWNED_STATUS_TEXT_H

#include "base/error.h"
#include "provisioner/stage.h"

#include <stdbool.h>
#include <stddef.h>

struct owned_key {
    char *type; /* "AES-CBC"; "" where only the name is told (JSON before the second provider) */
    char *name;
    bool active;
};

struct owned_status {
    bool configured; /* false: "Disabled, no configuration file found"; the rest is empty then */
    bool enabled;
    enum stage stage;
    bool hash_match;
    char *hash_error; /* NULL where they match, or nothing is told */
    struct owned_key *keys;
    size_t key_count;
};

/* Reads either form; which, is told by the text. Lines before the first known one are passed over
 * (they are log lines). FAILED where it is neither, or a stage is none of the six. */
int owned_status_read(const char *text, size_t len, struct owned_status *out,
                      struct error *err) MUST_CHECK;
void owned_status_free(struct owned_status *s); /* empties; also for CLEANUP */

#endif
