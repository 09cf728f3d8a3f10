/*
 * Rewriting without reading: names come from metadata-only lists, each object is rewritten by an
 * empty merge patch; where its stored form is current already, that is a no-op. No
 * resourceVersion in the patch, so no conflict with somebody else's write; an object that is gone
 * is done. Many patches in flight over all apiservers; memory doesn't grow with the number of
 * objects.
 */
#ifndef ENCRYPT_PROVISIONER_KUBE_REWRITE_H
#define ENCRYPT_PROVISIONER_KUBE_REWRITE_H

#include "provisioner/kube/kube.h"

enum { STUBBORN_KEPT = 1000 };

struct stubborn { /* an object that could not be rewritten */
    char *namespace, *name;
    long status;     /* of the last answer, 0 where there was none */
    char *why;       /* the Status message, cut */
    bool unreadable; /* it can't even be read: set by unreadable_mark() */
};

struct rewrite {
    /* set by the caller */
    const struct http_server *const *servers; /* apiservers to spread it over */
    size_t server_count;
    const struct resource *resource;
    bool look;          /* only GET each object's metadata: nothing is changed */
    size_t concurrency; /* patches in flight, 0: 64 */
    unsigned pause_ms;  /* before the second try, 0: 200; it triples */
    void (*progress)(
        void *ctx, size_t done,
        size_t total);       /* may be NULL; total is a guess while listing (remainingItemCount) */
    bool (*stop)(void *ctx); /* may be NULL; asked between patches: true ends it at a safe point */
    void *ctx;

    /* set by rewrite_run() and rewrite_named() */
    size_t listed, patched, gone;
    bool stopped;
    long list_status; /* after an error: what the list was answered; 0: it was not the list's */
    struct stubborn *stubborn; /* the first STUBBORN_KEPT of them */
    size_t stubborn_count;     /* all */
};

/* Lists (pages of 500) and patches everything. 429 and Retry-After are obeyed; 5xx, 409, and
 * connections that fail are tried again, on another apiserver too, up to 5 times each with growing
 * pauses; what then still fails is listed in `stubborn`, which is no error. After a 410 the list
 * goes on where it was, at a newer revision. Error: the list itself can't be had, or no server has
 * given any answer for 60 s. */
int rewrite_run(struct rewrite *w, struct error *err) MUST_CHECK;

/* The same for named objects ("namespace/name", or "name"), NULL-terminated: those that a proof
 * still found stale. */
int rewrite_named(struct rewrite *w, char *const *names, struct error *err) MUST_CHECK;

void rewrite_clear(struct rewrite *w); /* frees the results */

#endif
