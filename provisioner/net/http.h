/* HTTP requests over the loop, by libcurl. Bodies are wiped when freed. */
#ifndef ENCRYPT_PROVISIONER_NET_HTTP_H
#define ENCRYPT_PROVISIONER_NET_HTTP_H

#include "base/buf.h"
#include "provisioner/net/loop.h"

/* One server, as it is reached: a base URL through a forwarder's socket, with credentials. */
struct http_server {
    struct loop *loop; /* not owned */
    char *what;        /* for messages: "kube-apiserver on 10.0.0.1" */
    char *url;         /* "https://kubernetes:6443", "http://docker" */
    char *socket;      /* abstract socket name of a forwarder (see ssh.h), or NULL: plain TCP, */
    char *unix_path;   /* or the path of a Unix socket on this machine; at most one of the two */
    char *ca, *cert, *key; /* PEM texts, NULL where not used; wiped when freed */
    char *resolve;         /* an address to go to instead of the URL's host (no socket), or NULL */
    /* Why the way to it is broken, in words, or NULL: added to libcurl's, which knows the near end
     * alone. Both may be NULL. */
    const char *(*explain)(const void *way);
    const void *way; /* not owned */
    bool http2;
    bool http2_plain;           /* HTTP/2 without TLS, from the first byte: gRPC on a Unix socket */
    struct curl_slist *headers; /* sent with every request */
};
void http_server_free(struct http_server *s); /* frees what it points to, not s */

struct http_request {
    /* set by the caller */
    const struct http_server *server;
    const char *method;       /* "GET", … */
    char *path;               /* owned by the request: "/api/v1/…" with query */
    const char *accept;       /* or NULL */
    const char *content_type; /* or NULL */
    struct buf body;          /* sent where content_type is there */
    int64_t timeout_ms;       /* for the whole request; 0: 30 s */
    size_t limit;             /* longest answer taken, 0: 64 MiB */
    /* Not to be sent twice (a POST that does something). libcurl sends any request again, and says
     * nothing, where a connection that it used before ends before the first byte of the answer. So
     * this one gets a connection of its own, which costs a round trip or a few. */
    bool once;
    void (*done)(struct http_request *r); /* or NULL; called once, from the loop */
    void *ctx;

    /* set when it is finished */
    bool finished;
    long status; /* 0 where there was no answer: then `failure` says why */
    struct buf answer;
    char *failure;          /* libcurl's words; NULL where there was an answer */
    int64_t retry_after_ms; /* from the header, 0 where there is none */

    /* private */
    CURL *easy;
    struct curl_slist *sent_headers, *connect_to;
    char error_buffer[CURL_ERROR_SIZE];
};

/* Starts it. The request must stay where it is until it is finished or reset. Failures come as a
 * finished request. A finished one may be started again: its answer is forgotten. */
void http_start(struct http_request *r);
/* Ends it if it runs, frees and wipes all it owns, empties it. Also for CLEANUP. */
void http_reset(struct http_request *r);

/* Starts it and turns the loop until it is finished. 0 where there is an answer of any status; an
 * error (FAILED) "what: METHOD path: failure" where there is none. */
int http_perform(struct http_request *r, struct error *err) MUST_CHECK;
/* The same for many side by side; 0 when all are finished, however they ended. */
int http_perform_all(struct http_request **requests, size_t count, struct error *err) MUST_CHECK;

/* Sets an error that tells the request and its answer: status and, where the body is a Kubernetes
 * Status or a Docker error, its `message` (cut to 500 characters); never any other body. Always
 * gives -1. */
int http_error(const struct http_request *r, struct error *err);

#endif
