#include "templates/encryption_features.h"

#include <ctype.h>
#include <string.h>

static bool read_number(const char **at, int *out)
{
    int n = 0, digits = 0;
    for (; isdigit((unsigned char)**at); (*at)++) {
        if (++digits > 4)
            return false;
        n = n * 10 + (**at - '0');
    }
    *out = n;
    return digits > 0;
}

bool kube_version_parse(const char *text, struct kube_version *out)
{
    struct kube_version v = {0};
    const char *at = text;
    if (*at == 'v')
        at++;
    if (!read_number(&at, &v.major) || *at++ != '.' || !read_number(&at, &v.minor))
        return false;
    if (*at && !strchr(".+-_", *at))
        return false;
    *out = v;
    return true;
}

bool kube_version_at_least(struct kube_version v, int major, int minor)
{
    return v.major > major || (v.major == major && v.minor >= minor);
}

/* All groups that kube-apiserver itself serves, or has served since 1.13. */
static const char *const own_groups[] = {
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "auditregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "checkpoint.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "imagepolicy.k8s.io",
    "internal.apiserver.k8s.io",
    "lifecycle.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "settings.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
};

static const char *group_of(const char *name)
{
    const char *dot = strchr(name, '.');
    return dot ? dot + 1 : "";
}

bool encryption_resource_is_wildcard(const char *name)
{
    return name[0] == '*' && (name[1] == '.' || !name[1]);
}

bool encryption_resource_is_custom(const char *name)
{
    const char *group = group_of(name);
    if (str_eq(group, "*"))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(own_groups); i++) {
        if (str_eq(group, own_groups[i]))
            return false;
    }
    return true;
}

static bool is_named_custom(const char *name)
{
    return encryption_resource_is_custom(name) && !encryption_resource_is_wildcard(name);
}

/* Definitions and APIServices are stored by servers of their own inside kube-apiserver, which know
 * of encryption since 1.26, like custom resources. */
static bool is_definition(const char *name)
{
    return !encryption_resource_is_wildcard(name) &&
           (str_eq(group_of(name), "apiextensions.k8s.io") ||
            str_eq(group_of(name), "apiregistration.k8s.io"));
}

static bool names(const struct encryption_config *c, bool (*is)(const char *))
{
    for (size_t i = 0; c && i < c->item_count; i++) {
        for (size_t r = 0; r < c->items[i].resource_count; r++) {
            if (is(c->items[i].resources[r]))
                return true;
        }
    }
    return false;
}

bool encryption_config_names_custom_resource(const struct encryption_config *c)
{
    return names(c, encryption_resource_is_custom);
}

bool encryption_config_names_wildcard(const struct encryption_config *c)
{
    return names(c, encryption_resource_is_wildcard);
}

static bool is_true(const char *value, size_t len)
{
    static const char *const words[] = {"1", "t", "T", "true", "TRUE", "True"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strlen(words[i]) == len && strncmp(words[i], value, len) == 0)
            return true;
    }
    return false;
}

/* What --feature-gates says of a gate; `otherwise` where it says nothing. Of two, the last. */
static bool gate(const char *gates, const char *name, bool otherwise)
{
    bool on = otherwise;
    for (const char *at = gates; at && *at;) {
        size_t len = strcspn(at, ",");
        const char *word = at + strspn(at, " ");
        /* The component can stand before it since 1.32. */
        if (str_starts(word, "kube:"))
            word += 5;
        const char *equals = memchr(at, '=', len);
        if (equals && equals - word == (ptrdiff_t)strlen(name) &&
            strncmp(word, name, strlen(name)) == 0)
            on = is_true(equals + 1, len - (size_t)(equals + 1 - at));
        at += len + (at[len] == ',');
    }
    return on;
}

/* "a, b": each resource once. */
static void add_names(const struct encryption_config *c, bool (*is)(const char *), struct buf *out)
{
    char **all = encryption_resources(c, NULL);
    for (size_t i = 0; all[i]; i++) {
        if (is(all[i]))
            buf_printf(out, "%s%s", out->len ? ", " : "", all[i]);
    }
    encryption_resources_free(all);
}

static void add_kms(const struct encryption_config *c, bool v2, struct buf *out)
{
    for (size_t i = 0; i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            if (p->type != PROVIDER_KMS || p->kms_v2 != v2)
                continue;
            buf_printf(out, "%s%s", out->len ? ", " : "", p->kms_name);
        }
    }
}

static void check_kms(const struct encryption_config *c, struct kube_version v, const char *gates,
                      struct buf *out)
{
    struct buf v1 CLEANUP(buf_free) = {0};
    struct buf v2 CLEANUP(buf_free) = {0};
    add_kms(c, false, &v1);
    add_kms(c, true, &v2);
    if (v1.len && !kube_version_at_least(v, 1, 10))
        buf_printf(out, "kms (%s) is known only from Kubernetes 1.10 on; ", buf_str(&v1));
    if (v1.len && kube_version_at_least(v, 1, 29) && !gate(gates, "KMSv1", false))
        buf_printf(out,
                   "kms v1 (%s) is off from Kubernetes 1.29 on, unless kube-apiserver has "
                   "--feature-gates=KMSv1=true; ",
                   buf_str(&v1));
    if (!v2.len)
        return;
    if (!kube_version_at_least(v, 1, 25))
        buf_printf(out, "kms v2 (%s) is known only from Kubernetes 1.27 on; ", buf_str(&v2));
    else if (!kube_version_at_least(v, 1, 27))
        buf_printf(out,
                   "kms v2 (%s) is fit for use only from Kubernetes 1.27 on: 1.25 and 1.26 have an "
                   "alpha of it, and nothing later reads what that wrote; ",
                   buf_str(&v2));
    else if (!kube_version_at_least(v, 1, 29) &&
             !gate(gates, "KMSv2", gate(gates, "AllBeta", true)))
        buf_printf(out, "kms v2 (%s) is switched off by --feature-gates=%s; ", buf_str(&v2), gates);
}

int encryption_config_check_version(const struct encryption_config *c, const char *version_text,
                                    const char *who, const char *gates, bool old_format,
                                    struct error *err)
{
    if (!c || c->item_count == 0)
        return 0;
    struct kube_version v;
    if (!kube_version_parse(version_text, &v))
        return error_set(err, RESULT_REFUSED, "%s: `%s` is not a version of Kubernetes", who,
                         version_text);
    struct buf out CLEANUP(buf_free) = {0};
    if (!old_format && !kube_version_at_least(v, 1, 13)) {
        buf_adds(&out, "the kind EncryptionConfiguration and the flag "
                       "--encryption-provider-config are known only from Kubernetes 1.13 on; ");
    } else {
        struct buf custom CLEANUP(buf_free) = {0};
        struct buf definitions CLEANUP(buf_free) = {0};
        struct buf wildcards CLEANUP(buf_free) = {0};
        add_names(c, is_named_custom, &custom);
        add_names(c, is_definition, &definitions);
        add_names(c, encryption_resource_is_wildcard, &wildcards);
        if (custom.len && !kube_version_at_least(v, 1, 26))
            buf_printf(&out, "custom resources (%s) are encrypted only from Kubernetes 1.26 on; ",
                       buf_str(&custom));
        if (definitions.len && !kube_version_at_least(v, 1, 26))
            buf_printf(&out,
                       "definitions of APIs (%s) are encrypted only from Kubernetes 1.26 on; ",
                       buf_str(&definitions));
        if (wildcards.len && !kube_version_at_least(v, 1, 27))
            buf_printf(&out, "wildcards (%s) are known only from Kubernetes 1.27 on; ",
                       buf_str(&wildcards));
        check_kms(c, v, gates, &out);
    }
    if (!out.len)
        return 0;
    return error_set(err, RESULT_REFUSED, "%s%s is %s", buf_str(&out), who, version_text);
}
