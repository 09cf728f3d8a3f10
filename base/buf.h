/* A growable buffer of bytes, always followed by a NUL, wiped when it grows or is freed. */
#ifndef ENCRYPT_BASE_BUF_H
#define ENCRYPT_BASE_BUF_H

#include "base/mem.h"

#include <stdarg.h>

/* Initialise with {0}; data is NULL while nothing was ever added. */
struct buf {
    char *data;
    size_t len;
    size_t cap;
};

void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room for `len` more bytes; gives where they go. The caller adds to b->len what it wrote. */
char *buf_reserve(struct buf *b, size_t len);
/* The text, "" where nothing was ever added. */
const char *buf_str(const struct buf *b);
/* Empties (and wipes) but keeps the room. */
void buf_reset(struct buf *b);
/* Wipes, frees, empties; also for CLEANUP. */
void buf_free(struct buf *b);

#endif
