/* What the reader of the EncryptionConfiguration and its strict checks share. */
#ifndef ENCRYPT_TEMPLATES_ENCRYPTION_CONFIG_READER_H
#define ENCRYPT_TEMPLATES_ENCRYPTION_CONFIG_READER_H

#include "templates/config_findings.h"
#include "templates/encryption_config_parts.h"

struct config_reader {
    bool strict;
    struct buf path; /* the field being read */
    struct config_findings *findings;
    bool shapeless; /* providers or resources are missing or broken: no use in looking at the whole
                     */
};

/* A finding at y, about the field that is being read or, where `field` is not "", that one in it.
 * `mend` may be NULL. */
void config_fault(struct config_reader *r, const struct yaml *y, const char *field,
                  const char *mend, const char *what, ...) PRINTF_LIKE(5, 6);
void config_warn(struct config_reader *r, const struct yaml *y, const char *field, const char *mend,
                 const char *what, ...) PRINTF_LIKE(5, 6);

/* Steps into a field; config_leave() takes what config_enter() gave. */
size_t config_enter(struct config_reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
void config_leave(struct config_reader *r, size_t before);

/* Standard base64 with padding; false where it is something else. */
bool encryption_secret_decode(const char *text, bool skip_line_ends, unsigned char **out,
                              size_t *out_len);
bool encryption_secret_fits(enum provider_type type, size_t len);

/* The strict checks of one field each; `y` is where it stands. */
void encryption_check_name(struct config_reader *r, const struct yaml *y, const char *name);
void encryption_check_secret(struct config_reader *r, const struct yaml *y, const char *text,
                             const struct encryption_key *key);
/* What to do about a secret that is no base64, or of a length that doesn't fit. To be freed. */
char *encryption_secret_mend(const char *text);
void encryption_check_resource(struct config_reader *r, const struct yaml *y, const char *name);
/* No resource twice in one item, nor beside a wildcard that covers it; `list` is the tree's. */
void encryption_check_overlaps(struct config_reader *r, const struct yaml *list,
                               const struct encryption_item *item);
void encryption_check_kms(struct config_reader *r, const struct yaml *y,
                          const struct encryption_provider *p);

/* What only the whole can tell: names, order, what masks what. `list` is the tree's `resources`,
 * whose items are c's. */
void encryption_check_whole(struct config_reader *r, const struct yaml *list,
                            const struct encryption_config *c);

#endif
