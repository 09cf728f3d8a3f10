#include "provisioner/stubborn.h"

#include <string.h>

enum cause {
    DENIED,      /* by a webhook */
    UNREACHABLE, /* a webhook */
    POLICY,      /* a ValidatingAdmissionPolicy */
    UNREADABLE,
    INVALID,
    TERMINATING,
    NO_NAMESPACE,
    FORBIDDEN,
    UNAUTHORIZED,
    TOO_LARGE,
    NO_SPACE,
    BUSY,
    OTHER,
};

static const struct {
    const char *means, *todo; /* %s: the webhook or policy */
} texts[] = {
    [DENIED] = {"the admission webhook %s denies the patch",
                "let the webhook allow an update that changes nothing, or exempt these objects "
                "from it (its namespaceSelector or objectSelector)"},
    [UNREACHABLE] = {"the admission webhook %s can't be called, and its failurePolicy is Fail",
                     "bring the webhook's server back, or exempt these objects from it; kubectl "
                     "get validatingwebhookconfigurations,mutatingwebhookconfigurations shows "
                     "where it should be"},
    [POLICY] = {"the ValidatingAdmissionPolicy %s denies the patch",
                "let the policy allow an update that changes nothing, or exempt these objects in "
                "its binding"},
    [UNREADABLE] = {"can't be read: no key that the apiservers have opens it, or its value in etcd "
                    "is damaged",
                    "restart no kube-apiserver, it may not become ready as long as this is there; "
                    "put its value back from a backup of etcd together with the key it was written "
                    "under, never a key from memory; or, where what it held can be made anew, "
                    "delete it: etcdctl del KEY, with the whole key as it stands here"},
    [INVALID] = {"no longer valid by today's rules, so no update is taken",
                 "kubectl edit each until it is valid, or delete it and make it anew"},
    [TERMINATING] = {"its namespace is being deleted",
                     "let that end (kubectl get namespaces shows what it waits for)"},
    [NO_NAMESPACE] = {"its namespace is gone, and the object was left behind",
                      "kubectl create namespace with that name, then look at the object and keep "
                      "or delete it"},
    [FORBIDDEN] = {"the credentials in use may not patch it",
                   "use a cluster administrator's: --kubeconfig FILE"},
    [UNAUTHORIZED] = {"the credentials in use were not accepted",
                      "use a cluster administrator's that have not expired: --kubeconfig FILE"},
    [TOO_LARGE] = {"too large for etcd once it is encrypted",
                   "make it smaller (its data, annotations or managedFields), or raise etcd's "
                   "--max-request-bytes"},
    [NO_SPACE] = {"etcd is out of space",
                  "compact and defragment etcd, end its alarm (etcdctl alarm disarm), or raise "
                  "quota-backend-bytes"},
    [BUSY] = {"the apiservers or etcd were too busy, or gave no answer in time",
              "look at their load and their logs; it may well work the next time"},
    [OTHER] = {"answered %s", "look at the object, and at kube-apiserver's log"},
};

static bool says(const struct stubborn *o, const char *words)
{
    return o->why && strstr(o->why, words);
}

/* What stands between the first pair of `quote` after `words`, to be freed; NULL where it is not
 * there. */
static char *quoted_after(const struct stubborn *o, const char *words, char quote)
{
    const char *p = o->why ? strstr(o->why, words) : NULL;
    const char *begin = p ? strchr(p + strlen(words), quote) : NULL;
    const char *end = begin ? strchr(begin + 1, quote) : NULL;
    return end ? mem_strndup(begin + 1, (size_t)(end - begin - 1)) : NULL;
}

/* Where the answer names no object, decryption has no words that all versions share; but etcd's
 * failures have. So only what could not be read either is UNREADABLE; see
 * objects_mark_unreadable(). */
static enum cause cause_of(const struct stubborn *o, char **name)
{
    *name = NULL;
    if (says(o, "admission webhook \"") && says(o, " denied the request")) {
        *name = quoted_after(o, "admission webhook ", '"');
        return DENIED;
    }
    if (says(o, "failed calling webhook \"") || says(o, "failed calling admission webhook \"")) {
        *name = quoted_after(o, "webhook ", '"');
        return UNREACHABLE;
    }
    if (says(o, "ValidatingAdmissionPolicy '")) {
        *name = quoted_after(o, "ValidatingAdmissionPolicy ", '\'');
        return POLICY;
    }
    if (says(o, "database space exceeded"))
        return NO_SPACE;
    if (o->status == 413 || says(o, "request is too large") || says(o, "message larger than max"))
        return TOO_LARGE;
    if (o->unreadable)
        return UNREADABLE;
    if (o->status == 0 || o->status == 409 || o->status == 429 ||
        (o->status >= 502 && o->status <= 504) || says(o, "etcdserver: request timed out") ||
        says(o, "etcdserver: leader changed") || says(o, "context deadline exceeded"))
        return BUSY;
    if (o->status == 404 && says(o, "namespaces \""))
        return NO_NAMESPACE;
    if (o->status == 403 && says(o, "is being terminated"))
        return TERMINATING;
    if (o->status == 403 && says(o, "cannot patch resource"))
        return FORBIDDEN;
    if (o->status == 401)
        return UNAUTHORIZED;
    if (o->status == 422)
        return INVALID;
    *name = mem_printf("%ld", o->status);
    return OTHER;
}

struct known {
    enum cause cause;
    char *name;
    bool told;
};

static void add_object(const struct resource *r, const struct stubborn *o, enum cause cause,
                       const char *etcd_prefix, struct buf *out)
{
    if (cause == UNREADABLE)
        buf_printf(out, "%s/%s/", etcd_prefix, r->etcd_dir);
    buf_printf(out, "%s%s%s", o->namespace ? o->namespace : "", o->namespace ? "/" : "", o->name);
}

static void add_text(const char *format, const char *name, struct buf *out)
{
    const char *gap = strstr(format, "%s");
    if (gap)
        buf_printf(out, "%.*s%s%s", (int)(gap - format), format, name ? name : "", gap + 2);
    else
        buf_adds(out, format);
}

/* All that share the cause of `first`; gives how many objects were shown. */
static size_t add_group(const struct resource *r, const struct stubborn *list, struct known *known,
                        size_t kept, size_t first, size_t room, const char *etcd_prefix,
                        struct buf *out)
{
    const struct known *k = &known[first];
    size_t count = 0;
    size_t shown = 0;
    struct buf objects CLEANUP(buf_free) = {0};
    for (size_t i = first; i < kept; i++) {
        if (known[i].cause != k->cause || !str_eq(known[i].name, k->name))
            continue;
        known[i].told = true;
        count++;
        if (shown >= room)
            continue;
        buf_adds(&objects, shown++ ? ", " : "");
        add_object(r, &list[i], k->cause, etcd_prefix, &objects);
    }
    buf_printf(out, "  %s (%zu): ", r->name, count);
    add_text(texts[k->cause].means, k->name, out);
    buf_printf(out, ":\n    %s", buf_str(&objects));
    if (shown < count)
        buf_printf(out, "%sand %zu more", shown ? ", " : "", count - shown);
    if (list[first].why)
        buf_printf(out, "\n    kube-apiserver says of the first: %s", list[first].why);
    buf_printf(out, "\n    what to do: %s\n", texts[k->cause].todo);
    return shown;
}

void stubborn_explain(const struct resource *r, const struct stubborn *list, size_t kept,
                      size_t more, const char *etcd_prefix, struct buf *out)
{
    struct known *known CLEANUP(cleanup_mem) = mem_alloc(kept, sizeof(*known));
    size_t room = STUBBORN_SHOWN;
    for (size_t i = 0; i < kept; i++)
        known[i].cause = cause_of(&list[i], &known[i].name);
    for (size_t i = 0; i < kept; i++) {
        if (!known[i].told)
            room -= add_group(r, list, known, kept, i, room, etcd_prefix, out);
    }
    if (more)
        buf_printf(out, "  and %zu more %s\n", more, r->name);
    for (size_t i = 0; i < kept; i++)
        mem_free(known[i].name);
}
