#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static char *format(const char *fmt, va_list ap)
{
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    return text;
}

int error_set(struct error *err, enum result result, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = format(fmt, ap);
    va_end(ap);
    mem_free(err->message);
    err->message = text;
    err->result = result;
    return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text CLEANUP(cleanup_mem) = format(fmt, ap);
    va_end(ap);
    char *whole = mem_printf("%s: %s", text, err->message ? err->message : "unknown error");
    mem_free(err->message);
    err->message = whole;
    if (err->result == RESULT_OK)
        err->result = RESULT_FAILED;
    return -1;
}

void error_state(struct error *err, const char *fmt, ...)
{
    if (err->state)
        return;
    va_list ap;
    va_start(ap, fmt);
    err->state = format(fmt, ap);
    va_end(ap);
}

void error_next(struct error *err, const char *fmt, ...)
{
    if (err->next)
        return;
    va_list ap;
    va_start(ap, fmt);
    err->next = format(fmt, ap);
    va_end(ap);
}

int error_move(struct error *to, struct error *from)
{
    error_clear(to);
    *to = *from;
    *from = (struct error){0};
    return -1;
}

void error_clear(struct error *err)
{
    mem_free(err->message);
    mem_free(err->state);
    mem_free(err->next);
    *err = (struct error){0};
}
