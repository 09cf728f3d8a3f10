/*
 * YAML documents as trees that know their lines, over libyaml. Anchors and aliases and `<<` merges
 * are resolved as RKE's reader (go-yaml) does. Trees may hold keys: they are wiped when freed.
 */
#ifndef ENCRYPT_BASE_YAML_H
#define ENCRYPT_BASE_YAML_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

enum yaml_kind { YAML_KIND_NULL, YAML_KIND_SCALAR, YAML_KIND_LIST, YAML_KIND_MAP };
enum yaml_style { YAML_STYLE_PLAIN, YAML_STYLE_SINGLE, YAML_STYLE_DOUBLE, YAML_STYLE_BLOCK };

struct yaml {
    enum yaml_kind kind;
    char *scalar; /* SCALAR: its text, resolved */
    bool quoted;  /* SCALAR: was quoted or a block, and so is a string whatever it says */
    enum yaml_style style;
    size_t line, column; /* of its first character, from 1 */
    size_t begin, end;   /* the bytes of the text that it stands in, quotes and brackets included,
                          * anchor and tag not; a block's list or map ends where its last scalar
                          * does. By an alias or a merge: those of what it stands for */
    bool flow;           /* LIST, MAP: written in brackets */
    size_t count;        /* LIST: items; MAP: members, in the file's order */
    struct yaml **items; /* LIST: the items; MAP: the values */
    struct yaml **keys;  /* MAP: the keys (scalars; others are refused by the reader) */
};

/* Reads the first document of `text` (len bytes, any bytes). An empty text gives a NULL-kind node.
 * `name` stands for the file in messages: "cluster.yml:12:5: …". Errors (result REFUSED): not YAML,
 * not UTF-8, a key that is no scalar, nested deeper than 64, an alias that multiplies the tree past
 * 100,000 nodes, more than one document. No error quotes a scalar value. */
int yaml_read(const char *text, size_t len, const char *name, struct yaml **out,
              struct error *err) MUST_CHECK;

/* Wipes and frees the tree; NULL is fine. (libyaml exports a yaml_free() of its own.) */
void yaml_tree_free(struct yaml *y);
void cleanup_yaml(struct yaml **y);

/* The member's value of a map (the last of that name, as lenient readers have it), or NULL where y
 * is NULL, no map, or has none. */
const struct yaml *yaml_get(const struct yaml *y, const char *key);
/* The same down a path: yaml_path(y, "services", "kube-api", NULL). */
const struct yaml *yaml_path(const struct yaml *y, ...) __attribute__((sentinel));

/* The index of a second member with the name of an earlier one, or -1. */
long yaml_duplicate(const struct yaml *y);

/* True where y is NULL or null (`~`, `null`, nothing; never quoted). */
bool yaml_is_null(const struct yaml *y);

/* The same of a plain scalar's text. */
bool yaml_is_null_text(const char *s);

/* A boolean or a decimal integer as YAML 1.1 (go-yaml) resolves plain scalars; false where it is
 * not one. */
bool yaml_bool(const struct yaml *y, bool *out);
bool yaml_int(const struct yaml *y, long *out);

/* True where go-yaml takes this text, written plain, for a string: not for null, a boolean or a
 * number. */
bool yaml_plain_is_string(const char *s);

/* Appends s (UTF-8) on one line, so that any reader takes it for this very string: in this style
 * where it bears it, else in double quotes, with what is not ASCII escaped. */
void yaml_write(struct buf *out, const char *s, enum yaml_style style);

#endif
