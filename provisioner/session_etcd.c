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

/* `way`: through that node; NULL: see way_to(). */
static int add_etcd_server(struct session *s, const char *url, const char *const pem[3], size_t i,
                           const struct member *way, struct http_server *out, struct error *err)
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
    bool own = way != NULL;
    if (!own)
        way = way_to(s, address, i);
    const char *socket = NULL;
    long number = strtol(port, NULL, 10);
    int rc = ssh_forward_tcp(way->node.ssh, address, (uint16_t)number, &socket, err);
    if (rc == 0)
        *out = (struct http_server){
            .loop = s->loop,
            .what = mem_printf("etcd at %s%s%s", url, own ? " on " : "", own ? way->node.name : ""),
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

/* Of kinds with an embedded etcd a server may be without one (k3s' --disable-etcd): the others tell
 * where it is. */
static bool has_none_itself(const struct session *s, const struct member *m)
{
    return session_driver(s)->etcd_http_port && !apiserver_flag(&m->seen, "etcd-servers");
}

/* What one apiserver stores, all store in the same place. Gives the first one, whose flags tell
 * where. */
static int same_etcd(struct session *s, struct member **out, struct error *err)
{
    *out = NULL;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        /* (One that joins may yet turn out to be another cluster's.) */
        if (!m->seen.exists || m->joins || has_none_itself(s, m))
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

struct servers {
    struct http_server *list;
    size_t count;
};

static int add(struct session *s, const char *url, const char *const pem[3],
               const struct member *way, struct servers *to, struct error *err)
{
    MEM_GROW(to->list, to->count);
    if (add_etcd_server(s, url, pem, to->count, way, &to->list[to->count], err) < 0)
        return -1;
    to->count++;
    return 0;
}

/* `way` as add_etcd_server() has it. */
static int add_all(struct session *s, const char *urls, const char *const pem[3],
                   const struct member *way, struct servers *to, struct error *err)
{
    char *list CLEANUP(cleanup_mem) = mem_strdup(urls);
    char *rest = list;
    for (char *url; (url = strsep(&rest, ","));)
        if (*url && add(s, url, pem, way, to, err) < 0)
            return -1;
    return 0;
}

char *etcd_url_with_port(const char *urls, int port)
{
    size_t len = strcspn(urls, ","), host = len;
    while (host && strchr("0123456789", urls[host - 1]))
        host--;
    bool has = host && host < len && urls[host - 1] == ':';
    return mem_printf("%.*s:%d", (int)(has ? host - 1 : len), urls, port);
}

/* An embedded etcd is on each node's own loopback address, which is reached through that node. */
static int add_embedded(struct session *s, int port, const char *const pem[3], struct servers *to,
                        struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        const char *urls = apiserver_flag(&m->seen, "etcd-servers");
        if (!m->seen.exists || m->joins || !urls)
            continue;
        char *more CLEANUP(cleanup_mem) = etcd_url_with_port(urls, port);
        if (add_all(s, urls, pem, m, to, err) < 0 || add(s, more, pem, m, to, err) < 0)
            return -1;
    }
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

    struct servers servers = {0};
    int port = session_driver(s)->etcd_http_port;
    int rc = port ? add_embedded(s, port, pem, &servers, err)
                  : add_all(s, urls, pem, NULL, &servers, err);
    if (rc < 0 || servers.count == 0) {
        for (size_t i = 0; i < servers.count; i++)
            http_server_free(&servers.list[i]);
        mem_free(servers.list);
        return rc < 0 ? -1 : error_set(err, RESULT_REFUSED, "--etcd-servers is empty");
    }
    s->etcd = etcd_new(s->loop, servers.list, servers.count);
    /* The apiserver puts a slash before a prefix that has none. */
    s->etcd_prefix =
        mem_printf("%s%s", prefix && prefix[0] != '/' ? "/" : "", prefix ? prefix : "/registry");
    for (size_t n = strlen(s->etcd_prefix); n && s->etcd_prefix[n - 1] == '/'; n--)
        s->etcd_prefix[n - 1] = '\0';
    return 0;
}
