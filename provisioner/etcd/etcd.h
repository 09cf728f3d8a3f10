/*
 * etcd through its JSON gateway on the client port (POST /v3/kv/range …; /v3beta on 3.3, /v3alpha
 * on 3.2). Values come as they are stored; they are looked at and dropped, wiped.
 */
#ifndef ENCRYPT_PROVISIONER_ETCD_ETCD_H
#define ENCRYPT_PROVISIONER_ETCD_ETCD_H

#include "provisioner/net/http.h"

#include <stddef.h>
#include <stdint.h>

struct etcd;

/* `servers`: one http_server for each member's client URL, in the order to try them; taken over,
 * the array (mem_alloc) too: freed by etcd_close. */
struct etcd *etcd_new(struct loop *loop, struct http_server *servers, size_t count);
void etcd_close(struct etcd *e); /* NULL is fine */
/* The pause after a round in which every member failed (100 ms); it triples, four times. */
void etcd_set_pause(struct etcd *e, int64_t milliseconds);

struct etcd_status {
    int64_t revision;
    int64_t db_size, db_size_in_use; /* bytes */
    char version[32];
};
/* Of the first member that answers (a linearisable look at the revision). */
int etcd_status(struct etcd *e, struct etcd_status *out, struct error *err) MUST_CHECK;

/*
 * Walks all keys that begin with `prefix`, at one revision: *revision where it is > 0, else the
 * newest (linearisable), which is then stored there. fn gets the key (NUL-terminated, not owned),
 * the value's beginning (up to all of it) and its revision of last change; it may give a negative
 * number to end the walk with an error it has set itself. Pages adapt their size so that an answer
 * stays below some 8 MiB. A member that fails in the middle is replaced by the next one at the same
 * revision. FAILED where the revision was compacted meanwhile: start anew.
 */
typedef int etcd_walk_fn(void *ctx, const char *key, const unsigned char *value, size_t len,
                         int64_t mod_revision, struct error *err);
int etcd_walk(struct etcd *e, const char *prefix, int64_t *revision, etcd_walk_fn *fn, void *ctx,
              struct error *err) MUST_CHECK;

/* The same for those keys that come after `after` (NULL: all). */
int etcd_walk_after(struct etcd *e, const char *prefix, const char *after, int64_t *revision,
                    etcd_walk_fn *fn, void *ctx, struct error *err) MUST_CHECK;

/* One key's value at the newest revision. *found false where there is none. */
int etcd_get(struct etcd *e, const char *key, struct buf *value, int64_t *mod_revision, bool *found,
             struct error *err) MUST_CHECK;

#endif
