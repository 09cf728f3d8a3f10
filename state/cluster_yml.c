#include "base/file.h"
#include "base/user.h"
#include "state/cluster_encryption.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct reader {
    struct cluster *cluster;
    const char *path;
    const char *ssh_key_path; /* the cluster's, or RKE's default */
    struct error *err;
};

static int refuse(struct reader *r, const struct yaml *at, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int refuse(struct reader *r, const struct yaml *at, const char *fmt, ...)
{
    va_list ap;
    char *what CLEANUP(cleanup_mem) = NULL;
    va_start(ap, fmt);
    if (vasprintf(&what, fmt, ap) < 0)
        abort();
    va_end(ap);
    error_set(r->err, RESULT_REFUSED, "%s:%zu:%zu: %s", r->path, at->line, at->column, what);
    return -1;
}

/* Of the members that we read, none may stand twice. `names` ends in NULL. */
static int once(struct reader *r, const struct yaml *map, const char *const *names)
{
    for (; *names; names++) {
        const struct yaml *first = NULL;
        for (size_t i = 0; i < map->count; i++) {
            if (!str_eq(map->keys[i]->scalar, *names))
                continue;
            if (first)
                return refuse(r, map->keys[i], "%s: stands twice (the first is in line %zu)",
                              *names, first->line);
            first = map->keys[i];
        }
    }
    return 0;
}

/* *out is NULL where the member is missing or null. */
static int get_map(struct reader *r, const struct yaml *from, const char *name,
                   const struct yaml **out)
{
    const struct yaml *y = yaml_get(from, name);
    *out = NULL;
    if (yaml_is_null(y))
        return 0;
    if (y->kind != YAML_KIND_MAP)
        return refuse(r, y, "%s: not a map", name);
    *out = y;
    return 0;
}

enum text_kind { ONE_LINE, MANY_LINES };

/* A text as go-yaml has it: any scalar. NULL where it is missing, null or empty. */
static int get_text(struct reader *r, const struct yaml *map, const char *name, enum text_kind kind,
                    char **out)
{
    const struct yaml *y = yaml_get(map, name);
    if (yaml_is_null(y))
        return 0;
    if (y->kind != YAML_KIND_SCALAR)
        return refuse(r, y, "%s: not a text", name);
    for (const char *c = y->scalar; kind == ONE_LINE && *c; c++)
        if (iscntrl((unsigned char)*c))
            return refuse(r, y, "%s: holds a control character", name);
    if (*y->scalar)
        *out = mem_strdup(y->scalar);
    return 0;
}

static int get_bool(struct reader *r, const struct yaml *map, const char *name, bool *out)
{
    const struct yaml *y = yaml_get(map, name);
    if (yaml_is_null(y))
        return 0;
    return yaml_bool(y, out) ? 0 : refuse(r, y, "%s: neither true nor false", name);
}

/* RKE takes the text as it stands, quoted or not: decimal digits. */
static int get_port(struct reader *r, const struct yaml *map, uint16_t *out)
{
    char *text CLEANUP(cleanup_mem) = NULL;
    if (get_text(r, map, "port", ONE_LINE, &text) != 0)
        return -1;
    *out = 22;
    if (!text)
        return 0;
    unsigned long port = 0;
    const char *c = text;
    while (isdigit((unsigned char)*c) && port <= UINT16_MAX)
        port = port * 10 + (unsigned long)(*c++ - '0');
    if (*c || port < 1 || port > UINT16_MAX)
        return refuse(r, yaml_get(map, "port"), "port: not a number from 1 to 65535");
    *out = (uint16_t)port;
    return 0;
}

static char *local_user(void)
{
    char *known = user_name();
    if (known)
        return known;
    const char *name = getenv("USER");
    return mem_strdup(name && *name ? name : "root");
}

/* `~/` is the operator's home. Takes the path over. */
static char *expand(char *path)
{
    if (!path || (!str_starts(path, "~/") && !str_eq(path, "~")))
        return path;
    char *home CLEANUP(cleanup_mem) = user_home();
    if (!home)
        return path;
    char *expanded = mem_printf("%s%s", home, path + 1);
    mem_free(path);
    return expanded;
}

static int get_ssh_access(struct reader *r, const struct yaml *map, struct ssh_access *a)
{
    a->line = map->line;
    if (get_text(r, map, "address", ONE_LINE, &a->address) != 0 ||
        get_port(r, map, &a->port) != 0 || get_text(r, map, "user", ONE_LINE, &a->user) != 0 ||
        get_text(r, map, "ssh_key", MANY_LINES, &a->key) != 0 ||
        get_text(r, map, "ssh_key_path", ONE_LINE, &a->key_path) != 0 ||
        get_text(r, map, "ssh_cert", MANY_LINES, &a->cert) != 0 ||
        get_text(r, map, "ssh_cert_path", ONE_LINE, &a->cert_path) != 0)
        return -1;
    if (!a->user)
        a->user = local_user();
    if (!a->key_path && !a->key)
        a->key_path = mem_strdup(r->ssh_key_path);
    a->key_path = expand(a->key_path);
    a->cert_path = expand(a->cert_path);
    return 0;
}

static int get_roles(struct reader *r, const struct yaml *map, struct cluster_node *n)
{
    const struct yaml *roles = yaml_get(map, "role");
    if (yaml_is_null(roles) || (roles->kind == YAML_KIND_LIST && roles->count == 0))
        return refuse(r, roles ? roles : map,
                      "role: a node needs one (controlplane, etcd or worker)");
    if (roles->kind != YAML_KIND_LIST)
        return refuse(r, roles, "role: not a list; write [controlplane]");
    for (size_t i = 0; i < roles->count; i++) {
        const struct yaml *role = roles->items[i];
        const char *name = role->kind == YAML_KIND_SCALAR ? role->scalar : "";
        if (str_eq(name, "controlplane"))
            n->controlplane = true;
        else if (str_eq(name, "etcd"))
            n->etcd = true;
        else if (str_eq(name, "worker"))
            n->worker = true;
        else
            return refuse(r, role, "role: unknown (not controlplane, etcd or worker)");
    }
    return 0;
}

static int get_node(struct reader *r, const struct yaml *map, struct cluster_node *n)
{
    static const char *const members[] = {"address",           "port",          "user",
                                          "ssh_key",           "ssh_key_path",  "ssh_cert",
                                          "ssh_cert_path",     "role",          "internal_address",
                                          "hostname_override", "docker_socket", NULL};
    if (map->kind != YAML_KIND_MAP && map->kind != YAML_KIND_NULL)
        return refuse(r, map, "nodes: a node that is not a map");
    if (once(r, map, members) != 0 || get_ssh_access(r, map, &n->ssh) != 0)
        return -1;
    if (!n->ssh.address)
        return refuse(r, map, "address: a node needs one");
    if (get_text(r, map, "internal_address", ONE_LINE, &n->internal_address) != 0 ||
        get_text(r, map, "hostname_override", ONE_LINE, &n->name) != 0 ||
        get_text(r, map, "docker_socket", ONE_LINE, &n->docker_socket) != 0)
        return -1;
    if (!n->internal_address)
        n->internal_address = mem_strdup(n->ssh.address);
    if (!n->name)
        n->name = mem_strdup(n->ssh.address);
    for (char *c = n->name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (!n->docker_socket)
        n->docker_socket = mem_strdup("/var/run/docker.sock");
    return get_roles(r, map, n);
}

static bool same_host(const char *a, const char *b)
{
    return a && b && strcasecmp(a, b) == 0;
}

static int get_nodes(struct reader *r)
{
    struct cluster *c = r->cluster;
    const struct yaml *list = yaml_get(c->document, "nodes");
    if (!yaml_is_null(list) && list->kind != YAML_KIND_LIST)
        return refuse(r, list, "nodes: not a list");
    bool controlplane = false;
    for (size_t i = 0; list && i < list->count; i++) {
        MEM_GROW(c->nodes, c->node_count);
        struct cluster_node *n = &c->nodes[c->node_count++];
        *n = (struct cluster_node){0};
        if (get_node(r, list->items[i], n) != 0)
            return -1;
        controlplane = controlplane || n->controlplane;
        for (size_t j = 0; j < i; j++) {
            bool same_address = same_host(c->nodes[j].ssh.address, n->ssh.address);
            if (same_address || str_eq(c->nodes[j].name, n->name))
                return refuse(r, list->items[i], "%s: the same as that of the node in line %zu",
                              same_address ? "address" : "hostname_override", c->nodes[j].ssh.line);
        }
    }
    return controlplane
               ? 0
               : refuse(r, list ? list : c->document, "nodes: none has the role controlplane");
}

static int get_bastion(struct reader *r)
{
    static const char *const members[] = {"address",      "port",     "user",          "ssh_key",
                                          "ssh_key_path", "ssh_cert", "ssh_cert_path", NULL};
    struct cluster *c = r->cluster;
    const struct yaml *map = NULL;
    if (get_map(r, c->document, "bastion_host", &map) != 0)
        return -1;
    if (!map)
        return 0;
    if (once(r, map, members) != 0)
        return -1;
    /* `rke config` writes a bastion_host of empty members. */
    char *address CLEANUP(cleanup_mem) = NULL;
    if (get_text(r, map, "address", ONE_LINE, &address) != 0)
        return -1;
    if (!address)
        return 0;
    c->bastion = mem_alloc(1, sizeof(*c->bastion));
    return get_ssh_access(r, map, c->bastion);
}

static int get_encryption(struct reader *r, const struct yaml *kube_api)
{
    static const char *const members[] = {"enabled", "custom_config", "provider", "resources",
                                          NULL};
    struct cluster *c = r->cluster;
    const struct yaml *map = NULL;
    bool enabled = false;
    if (get_map(r, kube_api, "secrets_encryption_config", &map) != 0 ||
        (map && (once(r, map, members) != 0 || get_bool(r, map, "enabled", &enabled) != 0)))
        return -1;
    if (map)
        c->encryption = enabled ? SECRETS_ENCRYPTION_ENABLED : SECRETS_ENCRYPTION_DISABLED;
    for (size_t i = 0; map && i < kube_api->count; i++)
        if (kube_api->items[i] == map)
            c->encryption_line = kube_api->keys[i]->line;
    cluster_encryption_read(c, kube_api, map);
    return 0;
}

static int get_services(struct reader *r)
{
    static const char *const members[] = {"kube-api", "etcd", NULL};
    static const char *const of_kube_api[] = {"secrets_encryption_config", "extra_binds", NULL};
    static const char *const of_etcd[] = {"external_urls", NULL};
    const struct yaml *services = NULL, *kube_api = NULL, *etcd = NULL;
    if (get_map(r, r->cluster->document, "services", &services) != 0)
        return -1;
    if (!services)
        return 0;
    if (once(r, services, members) != 0 || get_map(r, services, "kube-api", &kube_api) != 0 ||
        get_map(r, services, "etcd", &etcd) != 0)
        return -1;
    if (etcd) {
        const struct yaml *urls = yaml_get(etcd, "external_urls");
        if (once(r, etcd, of_etcd) != 0)
            return -1;
        if (!yaml_is_null(urls) && urls->kind != YAML_KIND_LIST)
            return refuse(r, urls, "external_urls: not a list");
        r->cluster->external_etcd = urls && urls->count > 0;
    }
    if (!kube_api)
        return 0;
    return once(r, kube_api, of_kube_api) == 0 ? get_encryption(r, kube_api) : -1;
}

/* What systemd takes for a unit's name, of a service. */
static bool is_unit(const char *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ":-_.\\@";
    size_t len = strlen(s);
    return len > 8 && len < 256 && str_eq(s + len - 8, ".service") && s[0] != '-' && s[0] != '.' &&
           strspn(s, letters) == len;
}

static int get_kind(struct reader *r, const struct yaml *root)
{
    static const char *const kinds[] = {CLUSTER_KINDS};
    struct cluster *c = r->cluster;
    if (get_text(r, root, "cluster_kind", ONE_LINE, &c->kind) != 0 ||
        get_text(r, root, "apiserver_unit", ONE_LINE, &c->apiserver_unit) != 0)
        return -1;
    bool known = !c->kind;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        known = known || str_eq(c->kind, kinds[i]);
    if (!known)
        return refuse(
            r, yaml_get(root, "cluster_kind"),
            "cluster_kind: unknown (not rke, kubeadm, systemd, openshift3, rke2 or k3s); without "
            "it the kind is found out");
    if (c->kind)
        c->kind_line = yaml_get(root, "cluster_kind")->line;
    if (c->apiserver_unit && !is_unit(c->apiserver_unit))
        return refuse(r, yaml_get(root, "apiserver_unit"),
                      "apiserver_unit: not the name of a service, like kube-apiserver.service");
    return 0;
}

static int get_cluster(struct reader *r)
{
    static const char *const members[] = {"nodes",        "services",       "bastion_host",
                                          "ssh_key_path", "ssh_agent_auth", "kubernetes_version",
                                          "cluster_name", "prefix_path",    "rotate_encryption_key",
                                          "cluster_kind", "apiserver_unit", NULL};
    struct cluster *c = r->cluster;
    const struct yaml *root = c->document;
    char *key_path CLEANUP(cleanup_mem) = NULL;
    if (root->kind == YAML_KIND_NULL)
        return refuse(r, root, "empty: no nodes");
    if (root->kind != YAML_KIND_MAP)
        return refuse(r, root, "not a map");
    if (once(r, root, members) != 0 ||
        get_text(r, root, "ssh_key_path", ONE_LINE, &key_path) != 0 ||
        get_text(r, root, "cluster_name", ONE_LINE, &c->name) != 0 ||
        get_text(r, root, "kubernetes_version", ONE_LINE, &c->kubernetes_version) != 0 ||
        get_text(r, root, "prefix_path", ONE_LINE, &c->prefix_path) != 0 ||
        get_bool(r, root, "ssh_agent_auth", &c->ssh_agent_auth) != 0 ||
        get_bool(r, root, "rotate_encryption_key", &c->rotate_encryption_key) != 0 ||
        get_kind(r, root) != 0)
        return -1;
    r->ssh_key_path = key_path ? key_path : "~/.ssh/id_rsa";
    if (get_nodes(r) != 0 || get_bastion(r) != 0 || get_services(r) != 0)
        return -1;
    cluster_encryption_read_rotation(c, root);
    return 0;
}

int cluster_parse(const char *text, size_t len, const char *path, struct cluster **out,
                  struct error *err)
{
    struct cluster *c CLEANUP(cleanup_cluster) = mem_alloc(1, sizeof(*c));
    struct reader r = {.cluster = c, .path = path, .err = err};
    c->path = mem_strdup(path);
    cluster_encryption_defaults(c);
    /* libyaml, told that it is UTF-8, would count it as a column of the first line. */
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if (yaml_read(text, len, path, &c->document, err) != 0 || get_cluster(&r) != 0)
        return -1;
    *out = STEAL(c);
    return 0;
}

int cluster_read(const char *path, struct cluster **out, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (file_read(path, CLUSTER_LIMIT, false, &text, NULL, err) != 0)
        return -1;
    return cluster_parse(buf_str(&text), text.len, path, out, err);
}

static void ssh_access_clear(struct ssh_access *a)
{
    mem_free(a->address);
    mem_free(a->user);
    mem_free(a->key);
    mem_free(a->key_path);
    mem_free(a->cert);
    mem_free(a->cert_path);
}

void cluster_free(struct cluster *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->node_count; i++) {
        struct cluster_node *n = &c->nodes[i];
        ssh_access_clear(&n->ssh);
        mem_free(n->name);
        mem_free(n->internal_address);
        mem_free(n->docker_socket);
    }
    mem_free(c->nodes);
    if (c->bastion)
        ssh_access_clear(c->bastion);
    mem_free(c->bastion);
    for (char **bind = c->extra_binds; bind && *bind; bind++)
        mem_free(*bind);
    mem_free(c->extra_binds);
    yaml_tree_free(c->document);
    mem_free(c->path);
    mem_free(c->name);
    mem_free(c->kubernetes_version);
    mem_free(c->prefix_path);
    mem_free(c->kind);
    mem_free(c->apiserver_unit);
    encryption_config_free(c->custom);
    encryption_resources_free(c->resources);
    mem_free(c->own_config_path);
    mem_free(c->feature_gates);
    config_findings_free(&c->findings);
    mem_free(c);
}

void cleanup_cluster(struct cluster **c)
{
    cluster_free(*c);
}
