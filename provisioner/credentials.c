#include "provisioner/credentials.h"

#include "base/file.h"
#include "base/yaml.h"

#include <openssl/evp.h>
#include <string.h>

void credentials_free(struct credentials *c)
{
    mem_free(c->ca);
    mem_free(c->cert);
    mem_free(c->key);
    *c = (struct credentials){0};
}

static int decode(const struct yaml *y, const char *path, char **out, struct error *err)
{
    size_t len = strlen(y->scalar);
    unsigned char *text CLEANUP(cleanup_mem) = mem_alloc(len / 4 * 3 + 4, 1);
    if (len % 4 || EVP_DecodeBlock(text, (const unsigned char *)y->scalar, (int)len) < 0)
        return error_set(err, RESULT_REFUSED, "%s:%zu: not base64", path, y->line);
    *out = mem_strdup((char *)text);
    return 0;
}

/* `<name>-data` inside, or the file that `<name>` names: one of this machine's, so not of a text
 * that is `remote`. */
static int pem(const struct yaml *y, const char *name, const char *path, bool remote, char **out,
               struct error *err)
{
    char *inline_name CLEANUP(cleanup_mem) = mem_printf("%s-data", name);
    const struct yaml *data = yaml_get(y, inline_name);
    const struct yaml *file = yaml_get(y, name);
    if (data && data->kind == YAML_KIND_SCALAR)
        return decode(data, path, out, err);
    if (!file || file->kind != YAML_KIND_SCALAR)
        return error_set(err, RESULT_REFUSED, "%s: the current context has no %s", path, name);
    if (remote) {
        error_set(err, RESULT_REFUSED,
                  "%s:%zu: %s names a file; from a node only what the kubeconfig holds itself "
                  "(%s-data) is taken",
                  path, file->line, name, name);
        error_next(err, "name an administrator's kubeconfig of this machine with --kubeconfig");
        return -1;
    }
    const char *slash = strrchr(path, '/');
    char *where CLEANUP(cleanup_mem) =
        file->scalar[0] == '/' || !slash
            ? mem_strdup(file->scalar)
            : mem_printf("%.*s/%s", (int)(slash - path), path, file->scalar);
    struct buf text CLEANUP(buf_free) = {0};
    if (file_read(where, 1u << 20, false, &text, NULL, err) < 0)
        return error_wrap(err, "%s:%zu: %s", path, file->line, name);
    *out = mem_strdup(buf_str(&text));
    return 0;
}

static const struct yaml *named(const struct yaml *list, const char *name, const char *member)
{
    for (size_t i = 0; name && list && list->kind == YAML_KIND_LIST && i < list->count; i++) {
        const struct yaml *n = yaml_get(list->items[i], "name");
        if (n && n->kind == YAML_KIND_SCALAR && strcmp(n->scalar, name) == 0)
            return yaml_get(list->items[i], member);
    }
    return NULL;
}

static const char *text_of(const struct yaml *y, const char *member)
{
    const struct yaml *v = yaml_get(y, member);
    return v && v->kind == YAML_KIND_SCALAR ? v->scalar : NULL;
}

static int read_kubeconfig(const char *text, size_t len, const char *path, bool remote,
                           struct credentials *out, struct error *err)
{
    struct yaml *y CLEANUP(cleanup_yaml) = NULL;
    if (yaml_read(text, len, path, &y, err) < 0)
        return -1;
    const char *current = text_of(y, "current-context");
    const struct yaml *context = named(yaml_get(y, "contexts"), current, "context");
    if (!context)
        return error_set(err, RESULT_REFUSED, "%s: no context that current-context names", path);
    const struct yaml *cluster =
        named(yaml_get(y, "clusters"), text_of(context, "cluster"), "cluster");
    const struct yaml *user = named(yaml_get(y, "users"), text_of(context, "user"), "user");
    struct credentials c = {0};
    if (pem(cluster, "certificate-authority", path, remote, &c.ca, err) < 0 ||
        pem(user, "client-certificate", path, remote, &c.cert, err) < 0 ||
        pem(user, "client-key", path, remote, &c.key, err) < 0) {
        credentials_free(&c);
        return -1;
    }
    *out = c;
    return 0;
}

int credentials_from_kubeconfig(const char *text, size_t len, const char *path,
                                struct credentials *out, struct error *err)
{
    return read_kubeconfig(text, len, path, false, out, err);
}

int credentials_from_remote(const char *text, size_t len, const char *path, struct credentials *out,
                            struct error *err)
{
    return read_kubeconfig(text, len, path, true, out, err);
}

static int from_file(const char *path, struct credentials *out, bool *missing, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (file_read(path, 1u << 20, false, &text, missing, err) < 0)
        return -1;
    if (missing && *missing)
        return 0;
    return credentials_from_kubeconfig(buf_str(&text), text.len, path, out, err);
}

int credentials_find(const struct encrypt_options *o, const struct rkestate *state,
                     struct credentials *out, struct error *err)
{
    if (o->kubeconfig)
        return from_file(o->kubeconfig, out, NULL, err);
    if (state) {
        const char *ca = rkestate_certificate(state, "kube-ca");
        const char *cert = rkestate_certificate(state, "kube-admin");
        const char *key = rkestate_key(state, "kube-admin");
        if (ca && cert && key) {
            *out = (struct credentials){mem_strdup(ca), mem_strdup(cert), mem_strdup(key)};
            return 0;
        }
    }
    const char *slash = strrchr(o->config, '/');
    const char *base = slash ? slash + 1 : o->config;
    char *beside CLEANUP(cleanup_mem) =
        mem_printf("%.*skube_config_%s", (int)(base - o->config), o->config, base);
    bool missing = false;
    if (from_file(beside, out, &missing, err) < 0)
        return -1;
    if (missing)
        return error_set(
            err, RESULT_REFUSED,
            "no administrator's credentials: neither kube-admin in the state file, nor "
            "%s, nor a kubeconfig on the nodes; name one with --kubeconfig",
            beside);
    return 0;
}

int credentials_from_node(struct session *s, struct node *n, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    bool missing = true;
    if (s->admin.ca || !n->driver->admin_kubeconfig)
        return 0;
    if (n->driver->read_node_file(n, n->driver->admin_kubeconfig, &text, &missing, err) < 0)
        return error_wrap(err, "node %s: the administrator's credentials", n->name);
    char *path CLEANUP(cleanup_mem) = mem_printf("%s:%s", n->name, n->driver->admin_kubeconfig);
    return missing ? 0 : credentials_from_remote(buf_str(&text), text.len, path, &s->admin, err);
}

int credentials_from_nodes(struct session *s, struct error *err)
{
    struct error first CLEANUP(error_clear) = {0};
    for (size_t i = 0; i < s->count && !s->admin.ca; i++) {
        struct error e CLEANUP(error_clear) = {0};
        if (credentials_from_node(s, &s->members[i].node, &e) == 0)
            continue;
        if (e.result == RESULT_INTERRUPTED)
            return error_move(err, &e);
        if (!first.result)
            error_move(&first, &e);
    }
    return s->admin.ca || !first.result ? 0 : error_move(err, &first);
}
