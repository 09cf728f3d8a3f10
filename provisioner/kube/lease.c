#include "provisioner/kube/lease.h"

#include "provisioner/kube/list.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Where the lock is kept. Before 1.12 there are no Leases: then it is a ConfigMap. The two versions
 * of Lease are one object in etcd. */
struct form {
    const char *group; /* NULL: always there */
    const char *version;
    const char *kind;
    const char *path;
    const char *part; /* the member that has holderIdentity */
    bool typed;       /* numbers are numbers there, not strings */
};
static const struct form forms[] = {
    {"/apis/coordination.k8s.io/v1", "coordination.k8s.io/v1", "Lease",
     "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", "spec", true},
    {"/apis/coordination.k8s.io/v1beta1", "coordination.k8s.io/v1beta1", "Lease",
     "/apis/coordination.k8s.io/v1beta1/namespaces/kube-system/leases", "spec", true},
    {NULL, "v1", "ConfigMap", "/api/v1/namespaces/kube-system/configmaps", "data", false},
};
static const char lock_name[] = "encrypt";
static const char who_key[] = "encrypt/who";
enum { RACES = 8 }; /* lost in a row, that is: others come and go all the time */

static int answer_object(struct http_request *r, json_t **out, struct error *err)
{
    json_t *j = json_loadb(buf_str(&r->answer), r->answer.len, 0, NULL);
    if (!json_is_object(j)) {
        json_decref(j);
        return error_set(err, RESULT_FAILED, "%s: %s %s: the answer is no JSON object",
                         r->server->what, r->method, r->path);
    }
    *out = j;
    return 0;
}

/* NULL: an error. */
static const struct form *form_of(const struct http_server *s, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (!forms[i].group)
            return &forms[i];
        struct http_request r CLEANUP(http_reset) = {.server = s,
                                                     .method = "GET",
                                                     .path = mem_strdup(forms[i].group),
                                                     .accept = "application/json"};
        if (kube_perform(&r, err) < 0)
            return NULL;
        if (r.status == 200)
            return &forms[i];
        if (r.status != 404) {
            http_error(&r, err);
            return NULL;
        }
    }
    error_set(err, RESULT_FAILED, "%s: no kind of lock is known there", s->what);
    return NULL;
}

/* *out is NULL where there is none. */
static int look(const struct http_server *s, const struct form *f, json_t **out, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = s,
        .method = "GET",
        .path = mem_printf("%s/%s", f->path, lock_name),
        .accept = "application/json",
    };
    if (kube_perform(&r, err) < 0)
        return -1;
    *out = NULL;
    if (r.status == 404)
        return 0;
    if (r.status != 200)
        return http_error(&r, err);
    return answer_object(&r, out, err);
}

static const char *holder_of(const struct form *f, const json_t *lock)
{
    const char *holder =
        json_string_value(json_object_get(json_object_get(lock, f->part), "holderIdentity"));
    return holder ? holder : "";
}

static int refuse_held(const struct form *f, const json_t *lock, struct error *err)
{
    const json_t *notes = json_object_get(json_object_get(lock, "metadata"), "annotations");
    const char *who = json_string_value(json_object_get(notes, who_key));
    const char *since =
        json_string_value(json_object_get(json_object_get(lock, f->part), "acquireTime"));
    return error_set(err, RESULT_REFUSED,
                     "the lock in the cluster (%s kube-system/%s) is held by %.200s (%.200s) since "
                     "%.40s",
                     f->kind, lock_name, who ? who : "somebody", holder_of(f, lock),
                     since ? since : "an unknown time");
}

static void now_text(char out[64])
{
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    char date[32];
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, 64, "%s.%06ldZ", date, t.tv_nsec / 1000);
}

/* The member object of that name, made where there is none. */
static json_t *child(json_t *parent, const char *name)
{
    json_t *c = json_object_get(parent, name);
    if (!json_is_object(c)) {
        json_object_set_new(parent, name, json_object());
        c = json_object_get(parent, name);
    }
    return c;
}

/* Writes us into the lock, a new one where *lock is NULL; what else it holds stays. */
static void claim(const struct form *f, json_t **lock, const char *owner, const char *who)
{
    if (!*lock) {
        *lock = json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", f->version, "kind", f->kind,
                          "metadata", "name", lock_name, "namespace", "kube-system");
        if (!*lock)
            abort();
    }
    char now[64];
    now_text(now);
    json_t *part = child(*lock, f->part);
    bool ours = str_eq(holder_of(f, *lock), owner);
    if (!ours) {
        json_int_t before =
            f->typed ? json_integer_value(json_object_get(part, "leaseTransitions")) : 0;
        if (f->typed)
            json_object_set_new(part, "leaseTransitions", json_integer(before + 1));
        json_object_set_new(part, "acquireTime", json_string(now));
        json_object_set_new(part, "holderIdentity", json_string(owner));
    }
    json_object_set_new(part, "renewTime", json_string(now));
    json_object_set_new(child(child(*lock, "metadata"), "annotations"), who_key, json_string(who));
}

/* POST or PUT (which compares the resourceVersion in `lock`). *lost: somebody else was faster. */
static int store(const struct http_server *s, const struct form *f, const json_t *lock, bool create,
                 bool *lost, struct error *err)
{
    char *text CLEANUP(cleanup_mem) = json_dumps(lock, JSON_COMPACT);
    if (!text)
        abort();
    struct http_request r CLEANUP(http_reset) = {
        .server = s,
        .method = create ? "POST" : "PUT",
        .path = create ? mem_strdup(f->path) : mem_printf("%s/%s", f->path, lock_name),
        .accept = "application/json",
        .content_type = "application/json",
    };
    buf_adds(&r.body, text);
    if (kube_perform(&r, err) < 0)
        return -1;
    *lost = r.status == 409 || (!create && r.status == 404);
    if (*lost || r.status == 200 || r.status == 201)
        return 0;
    return http_error(&r, err);
}

int lease_take(const struct http_server *s, const char *owner, const char *who, bool take_over,
               struct error *err)
{
    const struct form *f = form_of(s, err);
    if (!f)
        return error_wrap(err, "taking the lock in the cluster");
    for (int i = 0; i < RACES; i++) {
        json_t *lock CLEANUP(cleanup_json) = NULL;
        if (look(s, f, &lock, err) < 0)
            return error_wrap(err, "taking the lock in the cluster");
        const char *holder = lock ? holder_of(f, lock) : "";
        if (*holder && !str_eq(holder, owner) && !take_over) {
            refuse_held(f, lock, err);
            error_next(err, "the same command with --take-over, if that run is surely no longer at "
                            "work");
            return -1;
        }
        bool create = !lock;
        bool lost = true;
        claim(f, &lock, owner, who);
        if (store(s, f, lock, create, &lost, err) < 0)
            return error_wrap(err, "taking the lock in the cluster");
        if (!lost)
            return 0;
    }
    return error_set(
        err, RESULT_REFUSED,
        "taking the lock in the cluster (%s kube-system/%s): it changed %d times while "
        "it was looked at",
        f->kind, lock_name, RACES);
}

int lease_check(const struct http_server *s, const char *owner, bool *gone, struct error *err)
{
    *gone = false;
    const struct form *f = form_of(s, err);
    json_t *lock CLEANUP(cleanup_json) = NULL;
    if (!f || look(s, f, &lock, err) < 0)
        return error_wrap(err, "looking at the lock in the cluster");
    *gone = !lock || !*holder_of(f, lock);
    if (*gone)
        return error_set(err, RESULT_REFUSED,
                         "the lock in the cluster (%s kube-system/%s) is gone: somebody removed it",
                         f->kind, lock_name);
    if (!str_eq(holder_of(f, lock), owner))
        return refuse_held(f, lock, err);
    return 0;
}

int lease_look(const struct http_server *s, struct lease_seen *out, struct error *err)
{
    const struct form *f = form_of(s, err);
    json_t *lock CLEANUP(cleanup_json) = NULL;
    *out = (struct lease_seen){0};
    if (!f || look(s, f, &lock, err) < 0)
        return error_wrap(err, "looking at the lock in the cluster");
    if (!lock || !*holder_of(f, lock))
        return 0;
    const json_t *notes = json_object_get(json_object_get(lock, "metadata"), "annotations");
    const json_t *since = json_object_get(json_object_get(lock, f->part), "acquireTime");
    const json_t *renewed = json_object_get(json_object_get(lock, f->part), "renewTime");
    *out = (struct lease_seen){
        .owner = mem_strdup(holder_of(f, lock)),
        .who = mem_strdup(json_string_value(json_object_get(notes, who_key))),
        .since = mem_strdup(json_string_value(since)),
        .renewed = mem_strdup(json_string_value(renewed)),
    };
    return 0;
}

void lease_seen_free(struct lease_seen *l)
{
    mem_free(l->owner);
    mem_free(l->who);
    mem_free(l->since);
    mem_free(l->renewed);
    *l = (struct lease_seen){0};
}

int lease_release(const struct http_server *s, const char *owner, struct error *err)
{
    const struct form *f = form_of(s, err);
    if (!f)
        return error_wrap(err, "releasing the lock in the cluster");
    for (int i = 0; i < RACES; i++) {
        json_t *lock CLEANUP(cleanup_json) = NULL;
        if (look(s, f, &lock, err) < 0)
            return error_wrap(err, "releasing the lock in the cluster");
        if (!lock || !*holder_of(f, lock))
            return 0;
        if (!str_eq(holder_of(f, lock), owner))
            return refuse_held(f, lock, err);
        const json_t *meta = json_object_get(lock, "metadata");
        const char *uid = json_string_value(json_object_get(meta, "uid"));
        const char *version = json_string_value(json_object_get(meta, "resourceVersion"));
        json_t *options CLEANUP(cleanup_json) =
            json_pack("{s:s, s:s, s:{s:s*, s:s*}}", "apiVersion", "v1", "kind", "DeleteOptions",
                      "preconditions", "uid", uid, "resourceVersion", version);
        char *text CLEANUP(cleanup_mem) = json_dumps(options, JSON_COMPACT);
        if (!text)
            abort();
        struct http_request r CLEANUP(http_reset) = {
            .server = s,
            .method = "DELETE",
            .path = mem_printf("%s/%s", f->path, lock_name),
            .accept = "application/json",
            .content_type = "application/json",
        };
        buf_adds(&r.body, text);
        if (kube_perform(&r, err) < 0)
            return error_wrap(err, "releasing the lock in the cluster");
        if (r.status == 200 || r.status == 202 || r.status == 404)
            return 0;
        if (r.status != 409) {
            http_error(&r, err);
            return error_wrap(err, "releasing the lock in the cluster");
        }
    }
    return error_set(err, RESULT_FAILED,
                     "releasing the lock in the cluster (%s kube-system/%s): it changed %d times "
                     "while it was looked at",
                     f->kind, lock_name, RACES);
}
