/*
 * Small edits of somebody's YAML text, by the places of its tree: lines come, lines go, scalars are
 * replaced; all else stays byte for byte. Block style only: what is written [a, b] or {a: b} is
 * refused, for its reader to write out. Whether the new text says what was meant is the caller's to
 * see, by reading it: an alias or a merge has its place elsewhere.
 */
#ifndef ENCRYPT_TEMPLATES_YAML_EDIT_H
#define ENCRYPT_TEMPLATES_YAML_EDIT_H

#include "base/yaml.h"

struct yaml_change {
    size_t begin, end; /* these bytes … */
    char *with;        /* … become these */
};

struct yaml_edit {
    const char *name; /* the file, for messages; not owned */
    const char *text; /* what the tree was read from; not owned */
    size_t len;
    struct yaml_change *changes;
    size_t count;
};
void yaml_edit_free(struct yaml_edit *e); /* also for CLEANUP */

/* Appends s: plain where it is a path, a flag or a word, else in double quotes. */
void yaml_edit_write(struct buf *out, const char *s);

/* A scalar says `value` from now on, in its own style. REFUSED: a block scalar. */
int yaml_edit_replace(struct yaml_edit *e, const struct yaml *scalar, const char *value,
                      struct error *err) MUST_CHECK;

/* One more item or member at the end of a block list or map that has some. `lines`: as it would
 * stand in the first column ("name: x\nvalue: y\n"); an item gets its dash. */
int yaml_edit_append(struct yaml_edit *e, const struct yaml *to, const char *lines,
                     struct error *err) MUST_CHECK;

/* An item or member goes, with the lines that it stands in. */
int yaml_edit_remove(struct yaml_edit *e, const struct yaml *from, size_t index,
                     struct error *err) MUST_CHECK;

/* The new text. REFUSED: two changes in one place. */
int yaml_edit_apply(struct yaml_edit *e, struct buf *out, struct error *err) MUST_CHECK;

#endif
