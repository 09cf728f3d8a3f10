#include "templates/master_config_parts.h"

#include <string.h>

const char master_config_part[] = "kubernetesMasterConfig";
const char master_config_arguments[] = "apiServerArguments";

/* --- what it says --- */

struct flags {
    char **list;
    size_t count;
};

static void flags_free(struct flags *f)
{
    for (size_t i = 0; i < f->count; i++)
        mem_free(f->list[i]);
    mem_free(f->list);
}

static void add_flag(struct flags *f, const char *name, const char *value)
{
    MEM_GROW(f->list, f->count + 1);
    f->list[f->count++] = mem_printf("--%s=%s", name, value);
    f->list[f->count] = NULL;
}

static const char *text_of(const struct yaml *y)
{
    return y && y->kind == YAML_KIND_SCALAR && *y->scalar ? y->scalar : NULL;
}

static void add_file(struct flags *f, const char *name, const struct yaml *value, const char *path)
{
    const char *file = text_of(value);
    const char *slash = strrchr(path, '/');
    if (!file)
        return;
    char *whole CLEANUP(cleanup_mem) = file[0] == '/' || !slash
                                           ? mem_strdup(file)
                                           : mem_printf("%.*s/%s", (int)(slash - path), path, file);
    add_flag(f, name, whole);
}

static int add_etcd(struct flags *f, const struct yaml *root, const char *path, struct error *err)
{
    const struct yaml *etcd = yaml_get(root, "etcdClientInfo");
    const struct yaml *urls = yaml_get(etcd, "urls");
    struct buf list CLEANUP(buf_free) = {0};
    for (size_t i = 0; urls && urls->kind == YAML_KIND_LIST && i < urls->count; i++) {
        if (text_of(urls->items[i]))
            buf_printf(&list, "%s%s", list.len ? "," : "", urls->items[i]->scalar);
    }
    if (!list.len)
        return error_set(err, RESULT_REFUSED,
                         "%s: no etcdClientInfo.urls: where etcd is isn't told", path);
    add_flag(f, "etcd-servers", buf_str(&list));
    add_file(f, "etcd-cafile", yaml_get(etcd, "ca"), path);
    add_file(f, "etcd-certfile", yaml_get(etcd, "certFile"), path);
    add_file(f, "etcd-keyfile", yaml_get(etcd, "keyFile"), path);
    const char *prefix =
        text_of(yaml_path(root, "etcdStorageConfig", "kubernetesStoragePrefix", NULL));
    char *whole CLEANUP(cleanup_mem) = mem_printf("/%s", prefix ? prefix : "kubernetes.io");
    add_flag(f, "etcd-prefix", prefix && prefix[0] == '/' ? prefix : whole);
    return 0;
}

static void add_address(struct flags *f, const struct yaml *root)
{
    const char *at = text_of(yaml_path(root, "servingInfo", "bindAddress", NULL));
    const char *colon = at ? strrchr(at, ':') : NULL;
    size_t len = colon ? (size_t)(colon - at) : 0;
    if (len > 1 && at[0] == '[' && at[len - 1] == ']') {
        at++;
        len -= 2;
    }
    char *host CLEANUP(cleanup_mem) = mem_strndup(at ? at : "", len);
    if (*host)
        add_flag(f, "bind-address", host);
    /* (8443 is OpenShift's own default.) */
    add_flag(f, "secure-port", colon && colon[1] ? colon + 1 : "8443");
}

/* By which the endpoints of default/kubernetes know it. */
static void add_master(struct flags *f, const struct yaml *part)
{
    const char *ip = text_of(yaml_get(part, "masterIP"));
    if (ip)
        add_flag(f, "advertise-address", ip);
}

static void add_arguments(struct flags *f, const struct yaml *args)
{
    for (size_t i = 0; args && args->kind == YAML_KIND_MAP && i < args->count; i++) {
        const struct yaml *values = args->items[i];
        for (size_t k = 0; values->kind == YAML_KIND_LIST && k < values->count; k++) {
            if (values->items[k]->kind == YAML_KIND_SCALAR)
                add_flag(f, args->keys[i]->scalar, values->items[k]->scalar);
        }
    }
}

static int check_single(const struct yaml *map, const char *path, struct error *err)
{
    long second = yaml_duplicate(map);
    if (second < 0)
        return 0;
    return error_set(err, RESULT_REFUSED, "%s:%zu: %s stands there twice", path,
                     map->keys[second]->line, map->keys[second]->scalar);
}

static int check_shape(const struct yaml *root, const char *path, const struct yaml **part,
                       struct error *err)
{
    if (root->kind != YAML_KIND_MAP)
        return error_set(err, RESULT_REFUSED, "%s: not a MasterConfig of OpenShift 3", path);
    *part = yaml_get(root, master_config_part);
    if (!*part || (*part)->kind != YAML_KIND_MAP)
        return error_set(err, RESULT_REFUSED,
                         "%s: it has no %s: this master runs no Kubernetes of its own", path,
                         master_config_part);
    const struct yaml *args = yaml_get(*part, master_config_arguments);
    if (args && args->kind != YAML_KIND_MAP && args->kind != YAML_KIND_NULL)
        return error_set(err, RESULT_REFUSED, "%s:%zu: %s is no map", path, args->line,
                         master_config_arguments);
    if (check_single(root, path, err) < 0 || check_single(*part, path, err) < 0 ||
        (args && check_single(args, path, err) < 0))
        return -1;
    return 0;
}

struct yaml *master_config_read(const char *text, size_t len, const char *path,
                                const struct yaml **part, struct error *err)
{
    struct yaml *root = NULL;
    if (yaml_read(text, len, path, &root, err) < 0)
        return NULL;
    if (check_shape(root, path, part, err) == 0)
        return root;
    yaml_tree_free(root);
    return NULL;
}

int master_config_flags(const char *text, size_t len, const char *path, char ***out,
                        struct error *err)
{
    struct flags f CLEANUP(flags_free) = {0};
    const struct yaml *part = NULL;
    struct yaml *root CLEANUP(cleanup_yaml) = master_config_read(text, len, path, &part, err);
    if (!root || !part || add_etcd(&f, root, path, err) < 0)
        return -1;
    add_address(&f, root);
    add_master(&f, part);
    add_arguments(&f, yaml_get(part, master_config_arguments));
    *out = STEAL(f.list);
    f.count = 0;
    return 0;
}
