/* The strict checks of single fields: names, secrets, resources, kms. */
#include "templates/encryption_config_reader.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* Prefixes in the store are at most 300 bytes to us; see encryption_config_reads(). */
enum { NAME_MAX_BYTES = 253 };

#define FRESH "make one with: head -c 32 /dev/urandom | base64"

void encryption_check_name(struct config_reader *r, const struct yaml *y, const char *name)
{
    size_t len = strlen(name);
    bool control = false, foreign = false;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
        control = control || *c < 0x20 || *c == 0x7f;
        foreign = foreign || *c > 0x7f;
    }
    if (!len)
        config_fault(r, y, "name", NULL, "must not be empty");
    if (strchr(name, ':'))
        config_fault(r, y, "name", NULL,
                     "must not contain a colon: it ends the prefix in the store");
    if (control)
        config_fault(r, y, "name", NULL, "must not contain a control character");
    if (foreign)
        config_fault(r, y, "name", NULL, "must be of ASCII characters");
    if (len && (name[0] == ' ' || name[len - 1] == ' '))
        config_fault(r, y, "name", NULL, "must not begin or end with a space");
    if (len > NAME_MAX_BYTES)
        config_fault(r, y, "name", NULL, "must not be longer than %d bytes, this one has %zu",
                     NAME_MAX_BYTES, len);
}

static bool is_hex(const char *text)
{
    return strspn(text, "0123456789abcdefABCDEF") == strlen(text);
}

/* Base64 of base64. */
static bool is_encoded_twice(const char *text)
{
    unsigned char *once CLEANUP(cleanup_mem) = NULL, *twice CLEANUP(cleanup_mem) = NULL;
    size_t len = 0, inner = 0;
    if (!encryption_secret_decode(text, true, &once, &len) || memchr(once, '\0', len))
        return false;
    char *again CLEANUP(cleanup_mem) = mem_strndup((char *)once, len);
    return encryption_secret_decode(again, true, &twice, &inner) &&
           encryption_secret_fits(PROVIDER_AESCBC, inner);
}

char *encryption_secret_mend(const char *text)
{
    size_t len = strlen(text);
    if (strpbrk(text, "<>${}*"))
        return mem_strdup("a placeholder? " FRESH);
    if (strpbrk(text, " \t\r\n"))
        return mem_strdup("write it in one line, without spaces; a block scalar (|) ends in a line "
                          "end, so don't use one");
    if (strpbrk(text, "-_"))
        return mem_strdup("this is the alphabet for URLs: write + for each - and / for each _");
    if (is_hex(text) && len >= 32)
        return mem_strdup("hexadecimal digits? Their bytes must be encoded: xxd -r -p | base64");
    if (is_encoded_twice(text))
        return mem_strdup("it was encoded twice: decode it once with base64 -d");
    if (!strchr(text, '=') && len % 4 > 1)
        return mem_printf("write it with padding: %s at its end", len % 4 == 2 ? "==" : "=");
    return mem_strdup(FRESH);
}

void encryption_check_secret(struct config_reader *r, const struct yaml *y, const char *text,
                             const struct encryption_key *key)
{
    /* Of Kubernetes' and RKE's documentation */
    static const char *const published[] = {"secret is secure", "this is password",
                                            "abcdefghijklmnopqrstuvwxyz123456",
                                            "E73F1C830C0205ADE842A1FE48B7397B"};
    for (size_t i = 0; i < ARRAY_LEN(published); i++)
        if (key->secret_len == strlen(published[i]) &&
            memcmp(key->secret, published[i], key->secret_len) == 0)
            config_fault(r, y, "secret", FRESH, "this key stands in a manual: everybody has it");
    if (is_hex(text))
        config_warn(r, y, "secret",
                    "where they are meant as a key in hexadecimal, encode its bytes: xxd -r -p | "
                    "base64",
                    "hexadecimal digits, which are read as base64");
}

static bool in_group(const char *resource, const char *group)
{
    const char *dot = strchr(resource, '.');
    return str_eq(dot ? dot + 1 : "", group);
}

/* The resources of the core group. What isn't among them has a group, or isn't stored at all:
 * kube-apiserver takes any name, and encrypts nothing by it. */
static bool is_core(const char *name)
{
    static const char *const core[] = {"bindings", "componentstatuses", "configmaps", "endpoints",
                                       "events", "limitranges", "namespaces", "nodes",
                                       "persistentvolumeclaims", "persistentvolumes", "pods",
                                       "podtemplates", "replicationcontrollers", "resourcequotas",
                                       "secrets", "serviceaccounts", "services",
                                       /* OpenShift 3 */
                                       "securitycontextconstraints"};
    for (size_t i = 0; i < ARRAY_LEN(core); i++)
        if (str_eq(core[i], name))
            return true;
    return false;
}

/* "deployments.v1.apps": v1, v1beta1 … before the group */
static bool has_version(const char *resource)
{
    const char *c = strchr(resource, '.');
    if (!c || c[1] != 'v')
        return false;
    size_t digits = strspn(c + 2, "0123456789");
    c += 2 + digits;
    if (!digits)
        return false;
    if (str_starts(c, "alpha") || str_starts(c, "beta")) {
        c += *c == 'a' ? 5 : 4;
        c += strspn(c, "0123456789");
    }
    return *c == '.' || !*c;
}

static bool not_a_name(const char *s)
{
    size_t len = strlen(s);
    return s[0] == '.' || s[0] == '-' || s[len - 1] == '.' || s[len - 1] == '-' ||
           strstr(s, "..") || strstr(s, ".-") || strstr(s, "-.");
}

void encryption_check_resource(struct config_reader *r, const struct yaml *y, const char *s)
{
    static const char *const never[] = {"apiserveripinfo", "serviceipallocations",
                                        "servicenodeportallocations"};
    const char *star = strchr(s, '*');
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (str_eq(s, never[i])) {
            config_fault(r, y, "", "take it out", "can't be encrypted: the API has no such thing");
            return;
        }
    if (!*s)
        config_fault(r, y, "", NULL, "must not be empty");
    else if (strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.*") < strlen(s))
        config_fault(r, y, "", "resources are written like secrets or deployments.apps",
                     "only small letters, digits, '-' and '.', or a wildcard");
    else if (str_eq(s, "*"))
        config_fault(r, y, "", "use \"*.\" for the core group, \"*.*\" for everything",
                     "no such wildcard");
    else if (star && star != s)
        config_fault(r, y, "", "name the resource with each of its groups",
                     "a wildcard can only stand for all resources of a group");
    else if (star && (s[1] != '.' || (strchr(s + 2, '*') && !str_eq(s, "*.*"))))
        config_fault(r, y, "", "there are \"*.\", \"*.<group>\" and \"*.*\"", "no such wildcard");
    else if (!str_eq(s, "*.") && !str_eq(s, "*.*") && not_a_name(star ? s + 2 : s))
        config_fault(r, y, "", "resources are written like secrets or deployments.apps",
                     "not a resource");
    else if (in_group(s, "events.k8s.io"))
        config_fault(r, y, "", "write events",
                     "this group's resources are stored under another: name that one");
    else if (in_group(s, "extensions"))
        config_fault(r, y, "", "such as deployments.apps, ingresses.networking.k8s.io",
                     "this group's resources are stored under another: name that one");
    else if (has_version(s))
        config_fault(r, y, "", "write the group alone, as in deployments.apps",
                     "a version doesn't belong there");
    else if (!strchr(s, '.') && !is_core(s)) {
        char *plural CLEANUP(cleanup_mem) = mem_printf("%ss", s);
        config_fault(r, y, "",
                     is_core(plural) ? "write the plural, as in secrets"
                                     : "is a group missing, as in deployments.apps?",
                     "no resource of the core group: kube-apiserver would encrypt nothing by it");
    }
}

/* A positive duration as Go writes it: 3s, 1m30s, 1.5h. */
static bool is_duration(const char *s)
{
    static const char *const units[] = {"ns", "us", "\xc2\xb5s", "\xce\xbcs", "ms", "s", "m", "h"};
    bool positive = false;
    if (*s == '+')
        s++;
    if (!*s)
        return false;
    while (*s) {
        size_t number = strspn(s, "0123456789.");
        const char *dot = memchr(s, '.', number);
        if (!number ||
            (dot && (number == 1 || memchr(dot + 1, '.', number - (size_t)(dot - s) - 1))))
            return false;
        positive = positive || strspn(s, "0.") < number;
        s += number;
        size_t unit = 0;
        while (unit < ARRAY_LEN(units) && !str_starts(s, units[unit]))
            unit++;
        if (unit == ARRAY_LEN(units))
            return false;
        s += strlen(units[unit]);
    }
    return positive;
}

static void check_endpoint(struct config_reader *r, const struct yaml *y, const char *endpoint)
{
    static const char example[] = "write the socket's path: unix:///run/kmsplugin/socket.sock";
    const struct sockaddr_un *address = NULL;
    const char *path = endpoint + strlen("unix://");
    if (!str_starts(endpoint, "unix://"))
        config_fault(r, y, "endpoint", example, "must be a unix:// address");
    else if (*path != '/')
        config_fault(r, y, "endpoint", "three slashes: unix:///run/kmsplugin/socket.sock",
                     "must be an absolute path: what stands behind unix:// is taken for a host");
    else if (!path[1] || path[strlen(path) - 1] == '/' || str_eq(path, "/@"))
        config_fault(r, y, "endpoint", example, "no socket's path");
    else if (strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                          "/._-+,@:=~") < strlen(path))
        config_fault(r, y, "endpoint", "give the socket a path of letters, digits and / . _ -",
                     "has a character that a URL takes for something else");
    else if (strlen(path) >= sizeof(address->sun_path))
        config_fault(r, y, "endpoint", "give the socket a shorter path",
                     "a socket's path has at most %zu bytes, this one has %zu",
                     sizeof(address->sun_path) - 1, strlen(path));
    else if (path[1] == '@')
        config_warn(r, y, "endpoint", "a socket in a folder of root's is safer",
                    "an abstract socket: any process on the node can listen there in the plugin's "
                    "place");
}

void encryption_check_kms(struct config_reader *r, const struct yaml *y,
                          const struct encryption_provider *p)
{
    if (p->kms_endpoint && *p->kms_endpoint)
        check_endpoint(r, yaml_get(y, "endpoint"), p->kms_endpoint);
    if (p->kms_v2 && p->has_cachesize)
        config_fault(r, yaml_get(y, "cachesize"), "cachesize", "take it out", "kms v2 has none");
    else if (p->has_cachesize && p->cachesize == 0)
        config_fault(r, yaml_get(y, "cachesize"), "cachesize",
                     "take it out (1000), or write a negative number for no cache",
                     "must not be 0");
    if (p->kms_timeout && !is_duration(p->kms_timeout))
        config_fault(r, yaml_get(y, "timeout"), "timeout", NULL,
                     "must be a positive duration, as in 3s");
}
