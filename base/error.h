/*
 * Errors carry the whole way up: what was tried, on which node, what it answered; then, where it
 * is known, the state the cluster is in and the next command to run. Each layer adds its part, the
 * command line prints once. No error ever holds a key, nor text that may hold one (file contents,
 * request or response bodies of secrets).
 */
#ifndef ENCRYPT_BASE_ERROR_H
#define ENCRYPT_BASE_ERROR_H

#include "base/mem.h"

/* The exit codes of the command line (shared contract; stable). */
enum result {
    RESULT_OK = 0,
    RESULT_FAILED = 1,  /* failed; the cluster is as it was */
    RESULT_USAGE = 2,   /* the command line is wrong */
    RESULT_STOPPED = 3, /* stopped part-way; recorded, nothing lost */
    RESULT_REFUSED = 4, /* unsafe, invalid, locked, out of reach; nothing was changed */
    RESULT_FOUND = 5,   /* looked, and found something wrong */
    RESULT_INTERRUPTED = 130,
    RESULT_TERMINATED = 143,
};

/* Initialise with {0}. A function with a `struct error *` parameter (never NULL) gives 0 on
 * success and leaves it untouched, or gives -1 and has set it. */
struct error {
    enum result result; /* RESULT_OK where nothing is set */
    char *message;      /* what was tried, where, what it answered */
    char *state;        /* the state of the cluster now, or NULL */
    char *next;         /* the next command to run, or NULL */
};

/* Sets the message (replacing what was there). Always gives -1. */
int error_set(struct error *err, enum result result, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "text: " before the message. Always gives -1. */
int error_wrap(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Sets the state or the next command, unless one is there already (the innermost knows best). */
void error_state(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
void error_next(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Moves `from` into `to` (what `to` held is freed); `from` is empty afterwards. Always gives -1. */
int error_move(struct error *to, struct error *from);

/* Frees and empties; also for CLEANUP. */
void error_clear(struct error *err);

#endif
