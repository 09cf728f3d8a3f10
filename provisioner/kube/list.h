/* Metadata-only lists and the requests and answers around them: kube.c's and rewrite.c's own. */
#ifndef ENCRYPT_PROVISIONER_KUBE_LIST_H
#define ENCRYPT_PROVISIONER_KUBE_LIST_H

#include "provisioner/kube/resource.h"
#include "provisioner/net/http.h"
#include "state/json_text.h"

#include <jansson.h>

/* The `Accept` of a request that is to be answered as that kind of meta.k8s.io. Servers before 1.15
 * know v1beta1 only; they take the first clause that they know. */
#define KUBE_AS(kind)                                                                              \
    "application/json;as=" kind ";g=meta.k8s.io;v=v1,"                                             \
    "application/json;as=" kind ";g=meta.k8s.io;v=v1beta1"

enum { KUBE_PAGE = 500, KUBE_TRIES = 5, KUBE_PATIENCE_MS = 40000 };

/* "api/namespaces/NS/plural/NAME", parts escaped; NULL parts are left out. ns counts only where the
 * resource has namespaces. To be freed. */
char *kube_path(const struct resource *r, const char *ns, const char *name);

/* Readies the (empty) request of a page of names; token NULL: from the start. `table`: for a server
 * whose lists of metadata are bare (see kube_page_read). */
void kube_list_request(struct http_request *r, const struct http_server *s,
                       const struct resource *resource, size_t limit, const char *token,
                       bool table);
/* Readies the (empty) request of a guess at their number. Lists of metadata don't tell it, a table
 * does; its one row holds what `kubectl get` shows. */
void kube_guess_request(struct http_request *r, const struct http_server *s,
                        const struct resource *resource);
/* The guess; 0 where there is none. */
size_t kube_guess_read(const struct http_request *r);
/* Readies the (empty) request of an object's metadata, as etcd has it now. */
void kube_look_request(struct http_request *r, const struct http_server *s,
                       const struct resource *resource, const char *ns, const char *name);
/* Readies the (empty) request of an empty merge patch. */
void kube_patch_request(struct http_request *r, const struct http_server *s,
                        const struct resource *resource, const char *ns, const char *name);

struct kube_page {
    char **names;    /* "namespace/name", or "name"; the caller may take them (leaving NULL) */
    char **versions; /* the resourceVersion of each, "" where it has none */
    size_t count;
    size_t remaining; /* a guess; 0 where it is not told */
    char *token;      /* of the next page; NULL: there is none */
    int64_t revision; /* the list's resourceVersion */
};
/* Reads a 200's body. Before Kubernetes 1.15 a PartialObjectMetadataList lacks ListMeta: a page has
 * no token, and would be taken for everything. Then *bare is set (NULL: an error), and nothing is
 * given: ask for a Table, whose rows are metadata too. Error: no list of metadata; no revision. */
int kube_page_read(const struct http_request *r, struct kube_page *out, bool *bare,
                   struct error *err) MUST_CHECK;
void kube_page_free(struct kube_page *p);

/* What a Kubernetes Status says. Strings are NULL where it isn't one or lacks them. */
struct kube_status {
    char *reason;
    char *message;     /* cut to 500 characters */
    char *kind, *name; /* details: which thing it is about */
    char *token;       /* of a 410 on a list: where to go on, at a newer revision */
};
void kube_status_read(const struct http_request *r, struct kube_status *out);
void kube_status_free(struct kube_status *s);

/* True where the answer is worth another try as it is: none, 429 or 5xx. */
bool kube_is_transient(const struct http_request *r);
/* The pause before the next try after `tries` of them: it triples, and is at least what Retry-After
 * says, at most 60 s. */
int64_t kube_pause(const struct http_request *r, unsigned tries, int64_t first);

/* Performs it, again (up to KUBE_TRIES times, and none begins after KUBE_PATIENCE_MS) where the
 * answer is transient. Only for requests that may be repeated. 0 where there is an answer of any
 * status in the end. */
int kube_perform(struct http_request *r, struct error *err) MUST_CHECK;

#endif
