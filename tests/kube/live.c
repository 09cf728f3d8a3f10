/*
 * The clients of provisioner/kube and provisioner/etcd as a small program, for tests/kube/run and
 * for measuring. usage: live PKI-FOLDER ADDRESS,ADDRESS… COMMAND [ARGUMENTS]
 */
#include "base/file.h"
#include "provisioner/etcd/etcd.h"
#include "provisioner/kube/discovery.h"
#include "provisioner/kube/kube.h"
#include "provisioner/kube/lease.h"
#include "provisioner/kube/list.h"
#include "provisioner/kube/rewrite.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NODES = 16 };

struct live {
    struct loop *loop;
    struct http_server *api, *etcd;
    size_t count;
    char **args;
};

static char *pem(const char *folder, const char *name)
{
    struct buf text = {0};
    struct error err = {0};
    char *path CLEANUP(cleanup_mem) = mem_printf("%s/%s.pem", folder, name);
    if (file_read(path, 1 << 20, false, &text, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
    return text.data;
}

static struct http_server server(struct loop *loop, const char *what, const char *address, int port,
                                 const char *pki, const char *cert)
{
    char *key CLEANUP(cleanup_mem) = mem_printf("%s-key", cert);
    return (struct http_server){
        .loop = loop,
        .what = mem_printf("%s on %s", what, address),
        .url = mem_printf("https://%s:%d", port == 6443 ? "kubernetes" : address, port),
        .resolve = mem_strdup(address),
        .ca = pem(pki, "kube-ca"),
        .cert = pem(pki, cert),
        .key = pem(pki, key),
        .http2 = true,
    };
}

static int do_version(struct live *l, struct error *err)
{
    char *version CLEANUP(cleanup_mem) = NULL;
    if (kube_server_version(&l->api[0], &version, err) < 0)
        return -1;
    printf("%s\n", version);
    return 0;
}

/* discover NAME...: "name api etcd_dir namespaced", and "name: why" of the others. */
static int do_discover(struct live *l, struct error *err)
{
    struct resources r CLEANUP(resources_free) = {0};
    if (discovery_resources(&l->api[0], l->args, &r, err) < 0)
        return -1;
    for (size_t i = 0; i < r.count; i++)
        printf("%s %s %s %d\n", r.list[i].name, r.list[i].api, r.list[i].etcd_dir,
               r.list[i].namespaced);
    for (size_t i = 0; i < r.other_count; i++)
        printf("%s: %s\n", r.others[i].name, r.others[i].why);
    return 0;
}

static int do_ready(struct live *l, struct error *err)
{
    for (size_t i = 0; i < l->count; i++) {
        bool ready = false;
        char *why CLEANUP(cleanup_mem) = NULL;
        if (kube_ready(&l->api[i], &ready, &why, err) < 0)
            return -1;
        printf("%s\n", ready ? "ready" : why);
    }
    return 0;
}

static int do_addresses(struct live *l, struct error *err)
{
    char **list = NULL;
    if (kube_apiserver_addresses(&l->api[0], &list, err) < 0)
        return -1;
    for (size_t i = 0; list[i]; i++) {
        printf("%s\n", list[i]);
        mem_free(list[i]);
    }
    mem_free(list);
    return 0;
}

static int do_count(struct live *l, struct error *err)
{
    size_t count = 0;
    int64_t revision = 0;
    if (kube_count(&l->api[0], resource_find(l->args[0]), &count, &revision, err) < 0)
        return -1;
    printf("%zu %" PRId64 "\n", count, revision);
    return 0;
}

/* names RESOURCE table|metadata: of every page, by a list of that form. */
static int do_names(struct live *l, struct error *err)
{
    const struct resource *resource = resource_find(l->args[0]);
    char *token CLEANUP(cleanup_mem) = NULL;
    do {
        struct http_request r CLEANUP(http_reset) = {0};
        struct kube_page page CLEANUP(kube_page_free) = {0};
        kube_list_request(&r, &l->api[0], resource, KUBE_PAGE, token, str_eq(l->args[1], "table"));
        if (kube_perform(&r, err) < 0)
            return -1;
        if (r.status != 200)
            return http_error(&r, err);
        if (kube_page_read(&r, &page, NULL, err) < 0)
            return -1;
        for (size_t i = 0; i < page.count; i++)
            printf("%s %s\n", page.names[i], page.versions[i]);
        mem_free(token);
        token = STEAL(page.token);
    } while (token);
    return 0;
}

static int do_take(struct live *l, struct error *err)
{
    return lease_take(&l->api[0], l->args[0], "test@here", l->args[1] != NULL, err);
}

static int do_check(struct live *l, struct error *err)
{
    bool gone = false;
    return lease_check(&l->api[0], l->args[0], &gone, err);
}

static int do_release(struct live *l, struct error *err)
{
    return lease_release(&l->api[0], l->args[0], err);
}

/* rewrite CONCURRENCY [SERVERS] */
static int do_rewrite(struct live *l, struct error *err)
{
    const struct http_server *servers[MOST_NODES];
    for (size_t i = 0; i < l->count; i++)
        servers[i] = &l->api[i];
    struct rewrite w CLEANUP(rewrite_clear) = {
        .servers = servers,
        .server_count = l->args[1] ? strtoul(l->args[1], NULL, 10) : l->count,
        .resource = resource_find("secrets"),
        .concurrency = strtoul(l->args[0], NULL, 10),
    };
    int64_t began = loop_now();
    if (rewrite_run(&w, err) < 0)
        return -1;
    int64_t took = loop_now() - began;
    printf("listed=%zu patched=%zu gone=%zu stubborn=%zu ms=%" PRId64 " rate=%" PRId64 "\n",
           w.listed, w.patched, w.gone, w.stubborn_count, took,
           took ? (int64_t)w.patched * 1000 / took : 0);
    for (size_t i = 0; i < w.stubborn_count && i < 10; i++)
        printf("stubborn %s/%s %ld %s\n", w.stubborn[i].namespace, w.stubborn[i].name,
               w.stubborn[i].status, w.stubborn[i].why);
    return 0;
}

struct sums {
    int64_t count, bytes, revisions, encrypted;
};

static int add(void *ctx, const char *key, const unsigned char *value, size_t len,
               int64_t mod_revision, struct error *err)
{
    (void)err;
    struct sums *s = ctx;
    s->count++;
    s->bytes += (int64_t)(strlen(key) + len);
    s->revisions += mod_revision;
    s->encrypted += len > 8 && memcmp(value, "k8s:enc:", 8) == 0;
    return 0;
}

/* walk PREFIX [REVISION] */
static int do_walk(struct live *l, struct error *err)
{
    struct etcd *e = etcd_new(l->loop, STEAL(l->etcd), l->count);
    struct sums s = {0};
    int64_t revision = l->args[1] ? strtoll(l->args[1], NULL, 10) : 0;
    int64_t began = loop_now();
    int rc = etcd_walk(e, l->args[0], &revision, add, &s, err);
    int64_t took = loop_now() - began;
    etcd_close(e);
    printf("count=%" PRId64 " revision=%" PRId64 " revisions=%" PRId64 " encrypted=%" PRId64
           " bytes=%" PRId64 " ms=%" PRId64 " MB/s=%.1f\n",
           s.count, revision, s.revisions, s.encrypted, s.bytes, took,
           took ? (double)s.bytes / 1000 / (double)took : 0.0);
    return rc;
}

static int do_get(struct live *l, struct error *err)
{
    struct etcd *e = etcd_new(l->loop, STEAL(l->etcd), l->count);
    struct buf value CLEANUP(buf_free) = {0};
    int64_t revision = 0;
    bool found = false;
    int rc = etcd_get(e, l->args[0], &value, &revision, &found, err);
    etcd_close(e);
    printf("found=%d revision=%" PRId64 " bytes=%zu\n", found, revision, value.len);
    return rc;
}

static int do_status(struct live *l, struct error *err)
{
    struct etcd *e = etcd_new(l->loop, STEAL(l->etcd), l->count);
    struct etcd_status s = {0};
    int rc = etcd_status(e, &s, err);
    etcd_close(e);
    printf("revision=%" PRId64 " db_size=%" PRId64 " in_use=%" PRId64 " version=%s\n", s.revision,
           s.db_size, s.db_size_in_use, s.version);
    return rc;
}

static const struct {
    const char *name;
    int (*fn)(struct live *l, struct error *err);
    int arguments;
} commands[] = {
    {"version", do_version, 0}, {"ready", do_ready, 0},     {"addresses", do_addresses, 0},
    {"count", do_count, 1},     {"take", do_take, 1},       {"check", do_check, 1},
    {"release", do_release, 1}, {"rewrite", do_rewrite, 1}, {"walk", do_walk, 1},
    {"get", do_get, 1},         {"status", do_status, 0},   {"discover", do_discover, 1},
    {"names", do_names, 2},
};

int main(int argc, char **argv)
{
    struct error err CLEANUP(error_clear) = {0};
    struct live l = {.args = argv + 4};
    json_set_alloc_funcs(wipe_malloc, wipe_free);
    if (argc < 4 || curl_global_init_mem(CURL_GLOBAL_DEFAULT, wipe_malloc, wipe_free, wipe_realloc,
                                         wipe_strdup, wipe_calloc) != CURLE_OK)
        return 2;
    if (loop_new(&l.loop, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return 2;
    }
    l.api = mem_alloc(MOST_NODES, sizeof(*l.api));
    l.etcd = mem_alloc(MOST_NODES, sizeof(*l.etcd));
    for (char *a = strtok(argv[2], ","); a && l.count < MOST_NODES; a = strtok(NULL, ",")) {
        l.api[l.count] = server(l.loop, "kube-apiserver", a, 6443, argv[1], "kube-admin");
        l.etcd[l.count++] = server(l.loop, "etcd", a, 2379, argv[1], "kube-node");
    }
    int rc = -1;
    error_set(&err, RESULT_USAGE, "unknown command");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (str_eq(argv[3], commands[i].name) && argc - 4 >= commands[i].arguments)
            rc = commands[i].fn(&l, &err);
    }
    for (size_t i = 0; i < l.count; i++) {
        http_server_free(&l.api[i]);
        if (l.etcd)
            http_server_free(&l.etcd[i]);
    }
    mem_free(l.api);
    mem_free(l.etcd);
    loop_free(l.loop);
    curl_global_cleanup();
    if (rc == 0)
        return 0;
    fprintf(stderr, "%s\n", err.message);
    return (int)err.result;
}
