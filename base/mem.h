/*
 * Memory: wiped when freed, owned by cleanup attributes.
 *
 * An allocation that fails ends the process with abort(): every change of a cluster is journalled
 * before it is made, so that the end of the process at any point is a case that is handled anyway.
 */
#ifndef ENCRYPT_BASE_MEM_H
#define ENCRYPT_BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Zeroed memory of n * size bytes (n or size 0: one byte). Never NULL. Free with mem_free(). */
void *mem_alloc(size_t n, size_t size);

/* Allocates, copies and wipes what it leaves behind. p may be NULL. Never NULL. Bytes past the old
 * usable size are not initialised. */
void *mem_realloc(void *p, size_t n, size_t size);

/* Wipes the whole block, then frees it. p may be NULL. Any block of malloc() will do. */
void mem_free(void *p);

/* A copy of s, or NULL where s is NULL. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);

/* A formatted string. Never NULL. */
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
char *mem_vprintf(const char *fmt, va_list ap) PRINTF_LIKE(1, 0);

/* The same with malloc's own signatures and failures (NULL), to hand to libraries as their
 * allocator hooks. */
void *wipe_malloc(size_t size);
void *wipe_calloc(size_t n, size_t size);
void *wipe_realloc(void *p, size_t size);
void wipe_free(void *p);
char *wipe_strdup(const char *s);

/* Grows the array *items of elements of `size` bytes so that one more fits after `count`. */
#define MEM_GROW(items, count) ((items) = mem_grow((items), (count), sizeof(*(items))))
void *mem_grow(void *items, size_t count, size_t size);

/* For CLEANUP: frees (wiped) what the pointer variable points to; closes the descriptor (>= 0). */
void cleanup_mem(void *pointer_to_pointer);
void cleanup_fd(int *fd);

/* Hands the pointer on: gives its value, leaves NULL (or -1 for descriptors). */
#define STEAL(p)                                                                                   \
    __extension__({                                                                                \
        __typeof__(p) steal_ = (p);                                                                \
        (p) = NULL;                                                                                \
        steal_;                                                                                    \
    })
#define STEAL_FD(fd)                                                                               \
    __extension__({                                                                                \
        int steal_ = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        steal_;                                                                                    \
    })

/* True where both are NULL or both are equal strings. */
_Bool str_eq(const char *a, const char *b);
_Bool str_starts(const char *s, const char *prefix);

#endif
