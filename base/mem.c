#include "base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *mem_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        abort();
    return p;
}

void *mem_realloc(void *p, size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        abort();
    void *q = wipe_realloc(p, n * size);
    if (!q)
        abort();
    return q;
}

void mem_free(void *p)
{
    wipe_free(p);
}

char *mem_strdup(const char *s)
{
    return s ? mem_strndup(s, strlen(s)) : NULL;
}

char *mem_strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *copy = mem_alloc(len + 1, 1);
    memcpy(copy, s, len);
    return copy;
}

char *mem_vprintf(const char *fmt, va_list ap)
{
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    return text;
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = mem_vprintf(fmt, ap);
    va_end(ap);
    return text;
}

void *wipe_malloc(size_t size)
{
    return malloc(size ? size : 1);
}

void *wipe_calloc(size_t n, size_t size)
{
    return calloc(n ? n : 1, size ? size : 1);
}

void *wipe_realloc(void *p, size_t size)
{
    void *q = malloc(size ? size : 1);
    if (!q)
        return NULL;
    if (p) {
        size_t old = malloc_usable_size(p);
        memcpy(q, p, old < size ? old : size);
        wipe_free(p);
    }
    return q;
}

void wipe_free(void *p)
{
    if (!p)
        return;
    explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

char *wipe_strdup(const char *s)
{
    return strdup(s);
}

void *mem_grow(void *items, size_t count, size_t size)
{
    /* Capacity is implied by the count: it doubles at each power of two. */
    if (count && (count & (count - 1)))
        return items;
    return mem_realloc(items, count ? count * 2 : 1, size);
}

void cleanup_mem(void *pointer_to_pointer)
{
    void *p = NULL;
    memcpy(&p, pointer_to_pointer, sizeof(p));
    mem_free(p);
}

void cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

_Bool str_eq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

_Bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}
