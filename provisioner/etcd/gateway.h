/* One question to the JSON gateway of whichever etcd member answers: etcd.c's own. */
#ifndef ENCRYPT_PROVISIONER_ETCD_GATEWAY_H
#define ENCRYPT_PROVISIONER_ETCD_GATEWAY_H

#include "provisioner/net/http.h"

#include <jansson.h>

struct gateway {
    struct loop *loop;           /* not owned */
    struct http_server *servers; /* owned */
    size_t *base;                /* of each: which of the versions' paths it knows */
    size_t count, current;
    int64_t pause_ms; /* after a first round in which every member failed */
};

enum gateway_answer {
    GATEWAY_OK,
    GATEWAY_TOO_LONG, /* too long for us, for gRPC or for the time: ask for less */
};

/* POSTs the JSON text to "/v3" + path, to the current member, and where that fails to the next
 * ones, several rounds. OK: r->answer holds the body of a 200. `r` is reset first and is the
 * caller's to reset after. Error: a refusal, or no member that can answer. */
int gateway_ask(struct gateway *g, const char *path, const char *text, int64_t timeout_ms,
                size_t limit, struct http_request *r, enum gateway_answer *answer,
                struct error *err) MUST_CHECK;

/* The answer as a JSON object. */
int gateway_json(const struct http_request *r, json_t **out, struct error *err) MUST_CHECK;
/* An int64 member: the gateway writes them as strings, and leaves out zeros. */
int64_t gateway_int64(const json_t *j, const char *name);

#endif
