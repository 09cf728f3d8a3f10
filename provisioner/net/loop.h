/*
 * One thread, one poll loop: libcurl's multi interface, SSH sessions and forwarders all wait in the
 * one curl_multi_poll(). Code above is written straight down: it starts things and calls
 * loop_until() for the fact it waits for.
 */
#ifndef ENCRYPT_PROVISIONER_NET_LOOP_H
#define ENCRYPT_PROVISIONER_NET_LOOP_H

#include "base/error.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_watch;

/* curl_global_init() with wiping allocators is the caller's, once per process (see encrypt.h). */
int loop_new(struct loop **out, struct error *err) MUST_CHECK;
void loop_free(struct loop *l); /* all watches must be gone; NULL is fine */
CURLM *loop_multi(struct loop *l);

/* Monotonic milliseconds. */
int64_t loop_now(void);

/* Calls fn(ctx, revents) when the descriptor (not owned) is ready for `events` (POLLIN, POLLOUT),
 * and with revents 0 when `wake_at` (loop_now()'s clock; 0: never) has passed (it is then cleared).
 * fn may add and remove any watch, its own included. fd may be -1: a timer only. */
struct loop_watch *loop_watch(struct loop *l, int fd, short events,
                              void (*fn)(void *ctx, short revents), void *ctx);
void loop_watch_events(struct loop_watch *w, short events);
void loop_watch_wake_at(struct loop_watch *w, int64_t when);
void loop_unwatch(struct loop_watch *w); /* NULL is fine */

/* Turns the loop until done(ctx) is true (asked first, and after each turn). Error (FAILED: "timed
 * out") when `deadline` (loop_now()'s clock; 0: none) has passed, or INTERRUPTED when
 * loop_interrupt() was called. Not from a callback of the loop (a watch's fn, a request's done):
 * that aborts. */
int loop_until(struct loop *l, bool (*done)(void *ctx), void *ctx, int64_t deadline,
               struct error *err) MUST_CHECK;
/* Turns the loop for so long; for the pause between two looks at a fact (200 ms), no other use. */
int loop_pause(struct loop *l, int64_t milliseconds, struct error *err) MUST_CHECK;

/* Async-signal-safe. Makes every loop_until() and loop_pause(), the running one and later ones,
 * fail with INTERRUPTED. */
void loop_interrupt(struct loop *l);

/* For http.c alone: told of each easy handle that finished in a turn. */
void loop_on_finished(struct loop *l, void (*fn)(CURL *easy, CURLcode code));

#endif
