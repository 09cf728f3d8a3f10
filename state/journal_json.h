/* The journal's form on disk; its own room so that it can be fuzzed. Used by journal_store.c. */
#ifndef ENCRYPT_STATE_JOURNAL_JSON_H
#define ENCRYPT_STATE_JOURNAL_JSON_H

#include "state/journal.h"

#include <jansson.h>

/* Reads it and trusts nothing: types, members, lengths, ranges, moments, base64, fingerprints,
 * configurations. `name` stands for the place in messages. REFUSED; no value is ever quoted. The
 * sidecar_path stays NULL. */
int journal_from_json(const json_t *json, const char *name, struct journal **out,
                      struct error *err) MUST_CHECK;

/* The other way. Error (FAILED): a text in it is not UTF-8. */
int journal_to_json(const struct journal *j, json_t **out, struct error *err) MUST_CHECK;

/* The history's record of this very key, or NULL. Secrets are compared in constant time. */
struct key_record *journal_find_key(const struct journal *j, enum provider_type type,
                                    const struct encryption_key *k);

/* Appends a copy of the record. */
void journal_append_key(struct journal *j, const struct key_record *record);

/* A fresh UUID (version 4). NULL: error set. */
char *journal_uuid(struct error *err);

#endif
