/* What is stored, seen through the keys of configurations: the common ground of check, rewrite and
 * proof. Values pass through and are dropped. */
#ifndef ENCRYPT_PROVISIONER_STORE_H
#define ENCRYPT_PROVISIONER_STORE_H

#include "provisioner/session.h"

/* How many values lie under one prefix ("" is plain, NULL: begins as encrypted, but is no known
 * form). */
struct prefix_count {
    char *prefix;
    size_t count;
};

struct census {
    struct prefix_count *prefixes;
    size_t prefix_count;
    size_t values;
    int64_t bytes;
    int64_t revision;
    char **examples; /* "namespace/name" (or the whole key) of the first values that `want` refused;
                        NULL-terminated */
    size_t example_count;
    size_t refused; /* how many it refused */
    int64_t refused_bytes;
};
void census_free(struct census *c); /* also for CLEANUP */

/* Judges a value by its resource (NULL: not one that was asked for): true where it is as it should
 * be. */
typedef bool census_fn(void *ctx, const struct resource *r, const unsigned char *value, size_t len);

enum { CENSUS_MAX_EXAMPLES = 1000 };

/* Counts the values of one resource, at *revision (0: the newest). */
int census_resource(struct session *s, const struct resource *r, int64_t revision, census_fn *want,
                    void *ctx, struct census *out, struct error *err) MUST_CHECK;

/* The same at the revision of the API's own list (*revision is set to it), of which etcd must hold
 * as many values; STOPPED where it doesn't: they are stored elsewhere, and nothing is proved.
 * (proof.c) */
int proof_census(struct session *s, const struct resource *r, census_fn *want, void *ctx,
                 int64_t *revision, struct census *out, struct error *err) MUST_CHECK;

/* As census_resource(): `refused` are those that this configuration (NULL: none) can't read. */
int census_unreadable(struct session *s, const struct resource *r,
                      const struct encryption_config *by, int64_t revision, struct census *out,
                      struct error *err) MUST_CHECK;

/* Counts the values of one resource, of the namespace `ns` (NULL: all), whose names come after
 * `after` (NULL: all), at the newest revision; out->examples are the names of the first `most` that
 * `want` refused. */
int census_names(struct session *s, const struct resource *r, const char *ns, const char *after,
                 size_t most, census_fn *want, void *ctx, struct census *out,
                 struct error *err) MUST_CHECK;

/* Counts all values of the store: `refused` are those that lie under one of these prefixes
 * (NULL-terminated; empty: none). */
int census_under(struct session *s, char **prefixes, int64_t revision, struct census *out,
                 struct error *err) MUST_CHECK;

/* Names with a colon in them, which rke2 and k3s make: a value's prefix is told by the keys that
 * are known, and those of c (which may be NULL) are from here on. */
void store_know_keys(struct session *s, const struct encryption_config *c);

/* "3 under k8s:enc:aescbc:v1:key-a:, 1 plain"; to be freed. */
char *census_text(const struct census *c);

/* Up to `count` values of the resource, of the namespace `ns` (NULL: all), that `want` refuses
 * ("namespace/name", or "name"), NULL-terminated, to be freed each and whole; the walk ends when it
 * has them. */
int census_find(struct session *s, const struct resource *r, const char *ns, size_t count,
                census_fn *want, void *ctx, char ***out, struct error *err) MUST_CHECK;

/* The key of an object in etcd; `name` as census_find() gives it. To be freed. */
char *store_key(const struct session *s, const struct resource *r, const char *name);

/* The prefixes that `from` can read and `to` can't, whatever the resource: NULL-terminated, to be
 * freed with encryption_resources_free(). Empty: nothing is to go. */
char **store_leaving(const struct encryption_config *from, const struct encryption_config *to);

/* True where an apiserver has this resource in another etcd: then none of these can look at it. */
bool store_elsewhere(const struct session *s, const struct resource *r);

/* REFUSED where something is stored of what our patches can't change that `to` can't read. */
int store_check_unchangeable(struct session *s, const struct resources *all,
                             const struct encryption_config *from,
                             const struct encryption_config *to, struct error *err) MUST_CHECK;

/* True where c reads what lies under this prefix, for any resource that it names. */
bool store_reads_prefix(const struct encryption_config *c, const char *prefix);

/* What the names stand for is found out anew the next time. */
void store_forget_resources(struct session *s);

/* Adds a resource's name (those that a configuration, which may be NULL, names), where it is not in
 * the list yet. The list (of mem_alloc(), for encryption_resources_free()) stays NULL-terminated.
 */
void store_add_name(char ***list, size_t *count, const char *name);
void store_add_names(char ***list, size_t *count, const struct encryption_config *c);

/* What the names stand for now, wildcards too: found out once for these names (the session owns it:
 * good until another call), by the API's discovery; where no apiserver answers, by the table of
 * built-in ones, which knows no custom resource and no wildcard: FAILED then. What is covered and
 * can't be rewritten through the API is told as a warning, the first time. */
int store_named(struct session *s, char *const *names, const struct resources **out,
                struct error *err) MUST_CHECK;
/* The same without asking an apiserver: FAILED where one is not in the table. */
int store_built_in(struct session *s, char *const *names, const struct resources **out,
                   struct error *err) MUST_CHECK;
/* As store_named(), for all resources that the two name. */
int store_resources(struct session *s, const struct encryption_config *a,
                    const struct encryption_config *b, const struct resources **out,
                    struct error *err) MUST_CHECK;

#endif
