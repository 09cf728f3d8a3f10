/* What reading the journal (journal_json.c) and writing it (journal_json_write.c) share. */
#ifndef ENCRYPT_STATE_JOURNAL_JSON_PARTS_H
#define ENCRYPT_STATE_JOURNAL_JSON_PARTS_H

#include "base/buf.h"
#include "state/journal_json.h"

/* Version 1 had neither `aborting` nor `reopened`, version 2 no `custom` and no node's `path`,
 * version 3 no `last`, `staged`, `requested`, `initial`, `before` and `started`, version 4 no
 * `kind`. A journal without what version 5 has is written as version 4: an older build can go on
 * with it. */
enum { JOURNAL_VERSION = 5, JOURNAL_STAGES = 2 };

/* By enum transition_stage. */
extern const char *const journal_stage_names[JOURNAL_STAGES];

/* Appends the canonical base64 of a key. */
void journal_add_base64(struct buf *out, const unsigned char *data, size_t len);

#endif
