/* One node of a session, and its apiserver: the way to it, what it has and runs, whether it is
 * ready. */
#include "provisioner/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int member_open_api(struct session *s, struct member *m, struct error *err)
{
    const char *port = apiserver_flag(&m->seen, "secure-port");
    const char *bind = apiserver_flag(&m->seen, "bind-address");
    long number = port ? strtol(port, NULL, 10) : 6443;
    if (number < 1 || number > UINT16_MAX)
        number = 6443;
    if (!bind || str_eq(bind, "0.0.0.0") || str_eq(bind, "::"))
        bind = "127.0.0.1";
    const char *socket = NULL;
    if (ssh_forward_tcp(m->node.ssh, bind, (uint16_t)number, &socket, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    m->node.api = (struct http_server){
        .loop = s->loop,
        .what = mem_printf("kube-apiserver on %s", m->node.name),
        /* Every distribution's certificate names `kubernetes`. */
        .url = mem_printf("https://kubernetes:%ld", number),
        .socket = mem_strdup(socket),
        .ca = mem_strdup(s->admin.ca),
        .cert = mem_strdup(s->admin.cert),
        .key = mem_strdup(s->admin.key),
        .explain = ssh_explain,
        .way = m->node.ssh,
        .http2 = true,
        .headers = curl_slist_append(NULL, "User-Agent: encrypt/" ENCRYPT_VERSION),
    };
    return 0;
}

int member_observe(struct member *m, struct error *err)
{
    struct apiserver seen = {0};
    if (m->node.driver->observe(&m->node, &seen, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    apiserver_free(&m->seen);
    m->seen = seen;
    const char *path = seen.config_path ? seen.config_path
                       : m->config_path ? m->config_path
                                        : m->node.driver->default_config_path;
    char *copy = mem_strdup(path);
    mem_free(m->config_path);
    m->config_path = copy;
    buf_free(&m->file);
    m->file_missing = true;
    m->unread = m->look_only && !m->seen.exists;
    if (!m->unread &&
        m->node.driver->read_file(&m->node, m->config_path, &m->file, &m->file_missing, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    sha256_hex(m->file_missing ? NULL : buf_str(&m->file), m->file.len, m->file_sha256);
    return 0;
}

int member_file_is_newer(struct member *m, const struct node_record *n, char **changed,
                         struct error *err)
{
    const struct apiserver *a = &m->seen;
    long long at = 0;
    *changed = NULL;
    bool seen = n && n->runs.process && str_eq(n->runs.process, a->process);
    bool same = n && str_eq(n->runs.sha256, m->file_sha256);
    bool after = n && n->placed.process && !str_eq(n->placed.process, a->process) &&
                 str_eq(n->placed.sha256, m->file_sha256);
    if (!a->running || !a->since || !a->config_path || m->file_missing || a->automatic_reload ||
        a->doubt || seen || same || after || !m->node.driver->changed_at)
        return 0;
    if (m->node.driver->changed_at(&m->node, m->config_path, &at, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    changed_after_start(at, a->since, changed);
    return 0;
}

char *member_words(const struct member *m, const char *words)
{
    static const char usual[] = "kube-apiserver.service";
    const char *unit = m->node.cluster ? m->node.cluster->apiserver_unit : NULL;
    const char *at = NULL;
    struct buf b CLEANUP(buf_free) = {0};
    if (!words)
        return NULL;
    for (; unit && (at = strstr(words, usual)); words = at + strlen(usual))
        buf_printf(&b, "%.*s%s", (int)(at - words), words, unit);
    buf_adds(&b, words);
    return mem_strdup(buf_str(&b));
}

void member_close(struct member *m)
{
    if (m->opened)
        m->node.driver->close(&m->node);
    http_server_free(&m->node.api);
    apiserver_free(&m->seen);
    mem_free(m->config_path);
    buf_free(&m->file);
    ssh_close(m->node.ssh);
}

int member_wait_ready(struct session *s, struct member *m, int64_t timeout_ms, struct error *err)
{
    enum { POLL_MS = 200, LOOK_EVERY = 10, TOO_MANY_RESTARTS = 3 };
    int64_t deadline = loop_now() + timeout_ms;
    char *why CLEANUP(cleanup_mem) = NULL;
    long before = -1;
    for (long turn = 1;; turn++) {
        bool ready = false;
        mem_free(why);
        why = NULL;
        if (kube_ready(&m->node.api, &ready, &why, err) < 0)
            return -1;
        if (ready)
            return 0;
        if (ssh_dead(m->node.ssh))
            return error_set(err, RESULT_FAILED, "node %s: the SSH connection died: %s",
                             m->node.name, ssh_dead(m->node.ssh));
        if (turn % LOOK_EVERY == 0) {
            struct apiserver seen = {0};
            if (m->node.driver->observe(&m->node, &seen, err) < 0)
                return error_wrap(err, "node %s", m->node.name);
            long restarts = seen.restarts;
            bool gave_up = seen.gave_up;
            apiserver_free(&seen);
            before = before < 0 || restarts < before ? restarts : before;
            if (restarts - before >= TOO_MANY_RESTARTS)
                return error_set(err, RESULT_FAILED,
                                 "node %s: kube-apiserver ends again and again (%ld times)",
                                 m->node.name, restarts - before);
            if (gave_up)
                return error_set(
                    err, RESULT_FAILED,
                    "node %s: kube-apiserver ended, and is not started again by itself",
                    m->node.name);
        }
        if (loop_now() >= deadline)
            return error_set(err, RESULT_FAILED,
                             "node %s: kube-apiserver was not ready within %lld s: %s%s",
                             m->node.name, (long long)(timeout_ms / 1000), why ? why : "no answer",
                             why && strstr(why, "kms-provider")
                                 ? " (the KMS plugin on the node answers, and does not encrypt or "
                                   "decrypt what it is asked to: its own log tells why)"
                                 : "");
        if (loop_pause(s->loop, POLL_MS, err) < 0)
            return -1;
    }
}
