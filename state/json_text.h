/*
 * JSON texts that may hold keys, over Jansson: no error quotes them, dumps go through wiped
 * buffers, and trees are wiped when freed.
 *
 * Jansson's own buffers (its scanner's, while a text is read) are wiped only where its allocator is
 * ours. That is set once and for the whole process, so a program does it and not a library:
 * json_set_alloc_funcs(wipe_malloc, wipe_free), before its first JSON.
 */
#ifndef ENCRYPT_STATE_JSON_TEXT_H
#define ENCRYPT_STATE_JSON_TEXT_H

#include "base/buf.h"
#include "base/error.h"

#include <jansson.h>

/* Reads a whole text: an object or a list, no member twice, whole numbers within 64 bits (larger
 * ones are an error, never rounded). `name` stands for the file in messages: "name:line:column: …".
 * REFUSED. */
int json_text_read(const char *text, size_t len, const char *name, json_t **out,
                   struct error *err) MUST_CHECK;

/* Appends it, indented by two spaces, members in their order; no newline at the end, as Go has it.
 */
void json_text_write(const json_t *json, struct buf *out);

/* Wipes the strings that nobody else holds, and lets go of the tree; NULL is fine. */
void json_wipe(json_t *json);
void cleanup_json(json_t **json);

/* json_object_set_new() that wipes what was there. A NULL value, or a full memory, is abort(). */
void json_put(json_t *object, const char *member, json_t *value);

#endif
