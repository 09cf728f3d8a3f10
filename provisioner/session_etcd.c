/* Where the apiservers of a session store: etcd, by their own flags. */
#include "provisioner/session.h"

#include <stdlib.h>
#include <string.h>

/* A PEM file that a flag of the apiserver names, NULL where the flag is absent. */
static int flag_file(struct member *m, const char *flag, char **out, struct error *err)
{
    const char *path = apiserver_flag(&m->seen, flag);
    struct buf text CLEANUP(buf_free) = {0};
    *out = NULL;
    if (!path)
        return 0;
    if (m->node.driver->read_file(&m->node, path, &text, NULL, err) < 0)
        return error_wrap(err, "node %s: --%s", m->node.name, flag);
    *out = mem_strdup(buf_str(&text));
    return 0;
}

/* Through the node that the member lives on where it is one of ours, else through the i-th. */
static const struct member *way_to(const struct session *s, const char *host, size_t i)
{
    for (size_t k = 0; k < s->count; k++) {
        const struct cluster_node *c = s->members[k].node.conf;
        if (str_eq(c->ssh.address, host) || str_eq(c->internal_address, host))
            return &s->members[k];
    }
    return &s->members[i % s->count];
}

static int add_etcd_server(struct session *s, const char *url, const char *const pem[3], size_t i,
                           struct http_server *out, struct error *err)
{
    CURLU *parsed = curl_url();
    char *host = NULL;
    char *port = NULL;
    if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK) {
        curl_free(host);
        curl_url_cleanup(parsed);
        return error_set(err, RESULT_REFUSED, "--etcd-servers: `%s` is no URL", url);
    }
    /* An IPv6 address stands in brackets in the URL alone. */
    size_t len = strlen(host);
    bool brackets = len > 2 && host[0] == '[' && host[len - 1] == ']';
    char *address CLEANUP(cleanup_mem) =
        brackets ? mem_strndup(host + 1, len - 2) : mem_strdup(host);
    const struct member *way = way_to(s, address, i);
    const char *socket = NULL;
    long number = strtol(port, NULL, 10);
    int rc = ssh_forward_tcp(way->node.ssh, address, (uint16_t)number, &socket, err);
    if (rc == 0)
        *out = (struct http_server){.loop = s->loop,
                                    .what = mem_printf("etcd at %s", url),
                                    .url = mem_strdup(url),
                                    .socket = mem_strdup(socket),
                                    .ca = mem_strdup(pem[0]),
                                    .cert = mem_strdup(pem[1]),
                                    .key = mem_strdup(pem[2]),
                                    .explain = ssh_explain,
                                    .way = way->node.ssh};
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parsed);
    return rc;
}

/* What one apiserver stores, all store in the same place. Gives the first one, whose flags tell
 * where. */
static int same_etcd(struct session *s, struct member **out, struct error *err)
{
    *out = NULL;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        /* (One that joins may yet turn out to be another cluster's.) */
        if (!m->seen.exists || m->joins)
            continue;
        if (!*out)
            *out = m;
        const struct apiserver *first = &(*out)->seen;
        if (!apiserver_flag(&m->seen, "etcd-servers"))
            return error_set(err, RESULT_REFUSED,
                             "node %s: its kube-apiserver has no --etcd-servers", m->node.name);
        if (!str_eq(apiserver_flag(&m->seen, "etcd-prefix"), apiserver_flag(first, "etcd-prefix")))
            return error_set(
                err, RESULT_REFUSED,
                "node %s: its kube-apiserver has another --etcd-prefix than that of %s",
                m->node.name, (*out)->node.name);
    }
    if (!*out)
        return error_set(err, RESULT_REFUSED,
                         "no node has a kube-apiserver whose flags tell where "
                         "etcd is");
    return 0;
}

int session_open_etcd(struct session *s, struct error *err)
{
    if (s->etcd)
        return 0;
    struct member *m = NULL;
    if (same_etcd(s, &m, err) < 0)
        return -1;
    const char *urls = apiserver_flag(&m->seen, "etcd-servers");
    const char *prefix = apiserver_flag(&m->seen, "etcd-prefix");
    char *ca CLEANUP(cleanup_mem) = NULL;
    char *cert CLEANUP(cleanup_mem) = NULL;
    char *key CLEANUP(cleanup_mem) = NULL;
    if (flag_file(m, "etcd-cafile", &ca, err) < 0 ||
        flag_file(m, "etcd-certfile", &cert, err) < 0 ||
        flag_file(m, "etcd-keyfile", &key, err) < 0)
        return -1;
    const char *const pem[3] = {ca, cert, key};

    struct http_server *servers = NULL;
    size_t count = 0;
    int more = session_driver(s)->etcd_http_port;
    char *list CLEANUP(cleanup_mem) = mem_strdup(urls);
    char *rest = list;
    int rc = 0;
    for (char *url; rc == 0 && (url = strsep(&rest, ","));) {
        if (!*url)
            continue;
        MEM_GROW(servers, count);
        rc = add_etcd_server(s, url, pem, count, &servers[count], err);
        count += rc == 0;
    }
    if (rc == 0 && count && more) {
        char *url CLEANUP(cleanup_mem) = mem_printf("https://127.0.0.1:%d", more);
        MEM_GROW(servers, count);
        rc = add_etcd_server(s, url, pem, 0, &servers[count], err);
        count += rc == 0;
    }
    if (rc < 0 || count == 0) {
        for (size_t i = 0; i < count; i++)
            http_server_free(&servers[i]);
        mem_free(servers);
        return rc < 0 ? -1 : error_set(err, RESULT_REFUSED, "--etcd-servers is empty");
    }
    s->etcd = etcd_new(s->loop, servers, count);
    /* The apiserver puts a slash before a prefix that has none. */
    s->etcd_prefix =
        mem_printf("%s%s", prefix && prefix[0] != '/' ? "/" : "", prefix ? prefix : "/registry");
    for (size_t n = strlen(s->etcd_prefix); n && s->etcd_prefix[n - 1] == '/'; n--)
        s->etcd_prefix[n - 1] = '\0';
    return 0;
}
