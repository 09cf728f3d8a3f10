#include "provisioner/kms.h"

#include "provisioner/docker/binds.h"
#include "provisioner/kms_frame.h"

#include <string.h>

enum { ANSWER_MS = 5000, LONGEST_SOCKET = 107 };

char *kms_socket_path(const char *endpoint)
{
    static const char scheme[] = "unix://";
    if (!endpoint || !str_starts(endpoint, scheme))
        return NULL;
    const char *path = endpoint + strlen(scheme);
    /* What follows the scheme up to a slash would be a host; the other three mean more in a URL. */
    if (path[0] != '/' || !path[1] || strpbrk(path, "%?#"))
        return NULL;
    return path[1] == '@' ? mem_strdup(path + 1) : path_clean(path);
}

static bool has_bind(char *const *binds, const char *bind)
{
    for (; *binds; binds++) {
        if (str_eq(*binds, bind))
            return true;
    }
    return false;
}

char **session_binds(const struct session *s, const struct encryption_config *config)
{
    return session_driver(s)->mounts ? kms_binds(s->cluster, config) : NULL;
}

char **kms_binds(const struct cluster *cluster, const struct encryption_config *config)
{
    size_t most = 0;
    size_t count = 0;
    for (char *const *bind = cluster->extra_binds; bind && *bind; bind++)
        most++;
    char **out CLEANUP(cleanup_mem) = mem_alloc(most + 1, sizeof(*out));
    for (size_t i = 0; config && i < config->item_count; i++) {
        for (size_t k = 0; k < config->items[i].provider_count; k++) {
            const struct encryption_provider *p = &config->items[i].providers[k];
            char *path CLEANUP(cleanup_mem) =
                p->type == PROVIDER_KMS ? kms_socket_path(p->kms_endpoint) : NULL;
            const char *held = path ? bind_holding(cluster->extra_binds, path) : NULL;
            if (!held || has_bind(out, held))
                continue;
            for (size_t b = 0; b < most; b++) {
                if (cluster->extra_binds[b] == held)
                    out[count++] = cluster->extra_binds[b];
            }
        }
    }
    return count ? STEAL(out) : NULL;
}

static char *const *binds_of(const struct session *s)
{
    return session_driver(s)->mounts ? s->cluster->extra_binds : NULL;
}

/* --- one plugin on one node --- */

/* Gives 1 where it answered well, 0 where the user may not connect (or nobody listens), -1 with
 * what is wrong. */
static int ask(struct member *m, const struct encryption_provider *p, const char *host_path,
               char **about, struct error *err)
{
    const char *socket = NULL;
    if (ssh_forward_unix(m->node.ssh, host_path, &socket, err) < 0)
        return -1;
    struct http_server server CLEANUP(http_server_free) = {
        .loop = m->node.loop,
        .what = mem_strdup("the plugin"),
        .url = mem_strdup("http://localhost"),
        .socket = mem_strdup(socket),
        .explain = ssh_explain,
        .way = m->node.ssh,
        .http2_plain = true,
        .headers = curl_slist_append(NULL, "te: trailers"),
    };
    struct http_request r CLEANUP(http_reset) = {
        .server = &server,
        .method = "POST",
        .path = mem_strdup(kms_ask_path(p->kms_v2)),
        .content_type = "application/grpc",
        .timeout_ms = ANSWER_MS,
        .limit = KMS_FRAME_LIMIT + 5,
        .once = true,
    };
    kms_ask(p->kms_v2, &r.body);
    struct error e CLEANUP(error_clear) = {0};
    if (http_perform(&r, &e) < 0) {
        if (e.result != RESULT_FAILED || ssh_dead(m->node.ssh))
            return error_move(err, &e);
        if (ssh_last_channel_error(m->node.ssh))
            return 0;
        return error_set(err, RESULT_REFUSED, "it takes the connection and gives no answer (%s)",
                         r.failure);
    }
    if (r.status != 200)
        return error_set(err, RESULT_REFUSED,
                         "what listens there is no KMS plugin: it answered %ld", r.status);
    if (kms_answer_check(p->kms_v2, buf_str(&r.answer), r.answer.len, about, &e) == 0)
        return 1;
    return error_set(err, RESULT_REFUSED, "the plugin answers, but %s", e.message);
}

/* It could not be connected to: not there, nobody listens, or it is not for this user. */
static int look(struct session *s, struct member *m, const struct encryption_provider *p,
                const struct node_socket *at, struct error *err)
{
    enum socket_there there = SOCKET_NO_FOLDER;
    const char *user = m->node.conf->ssh.user;
    if (m->node.driver->look_for_socket(&m->node, at, &there, err) < 0)
        return -1;
    switch (there) {
    case SOCKET_NO_FOLDER:
        return error_set(err, RESULT_REFUSED, "there is no %s on the node", at->mount_host);
    case SOCKET_NOTHING:
        return error_set(err, RESULT_REFUSED, "there is no such socket");
    case SOCKET_OTHER:
        return error_set(err, RESULT_REFUSED, "what lies there is no socket");
    case SOCKET_THERE:
        break;
    }
    if (str_eq(user, "root"))
        return error_set(err, RESULT_REFUSED, "the socket is there, and nobody listens on it");
    tell(s, ENCRYPT_NOTE, "check", m->node.name,
         "node %s: the socket %s of the KMS plugin %s is there; whether the plugin answers could "
         "not be asked, since the user %s may not connect to it: the first kube-apiserver that is "
         "restarted will tell",
         m->node.name, at->host_path, p->kms_name, user);
    return 0;
}

static int check_on(struct session *s, struct member *m, const struct encryption_provider *p,
                    const char *path, struct error *err)
{
    struct node_socket at CLEANUP(node_socket_free) = {0};
    char *about CLEANUP(cleanup_mem) = NULL;
    if (m->node.driver->find_socket(&m->node, path, binds_of(s), &at, err) < 0)
        return -1;
    if (!at.host_path) {
        tell(s, ENCRYPT_NOTE, "check", m->node.name,
             "node %s: the KMS plugin %s listens in the abstract namespace (%s): whether it is "
             "there could not be asked; the first kube-apiserver that is restarted will tell",
             m->node.name, p->kms_name, path);
        return 0;
    }
    if (at.alone)
        tell(s, ENCRYPT_WARNING, "check", m->node.name,
             "node %s: %s is mounted by itself: a KMS plugin that restarts makes a new socket, and "
             "kube-apiserver still has the old one; mount its folder (extra_binds in %s)",
             m->node.name, path, s->options->config);
    if (strlen(at.host_path) > LONGEST_SOCKET)
        return error_set(err, RESULT_REFUSED, "%s: longer than a socket's path can be",
                         at.host_path);
    int rc = ask(m, p, at.host_path, &about, err);
    if (rc == 0)
        rc = look(s, m, p, &at, err);
    else if (rc > 0)
        tell(s, ENCRYPT_NODE, "check", m->node.name, "the KMS plugin %s answers (%s)", p->kms_name,
             about);
    return rc < 0 ? error_wrap(err, "%s", at.host_path) : 0;
}

/* One that is in use: where its socket is, and where it would be with cluster.yml's binds, which
 * the next start of the apiserver adds. */
static int check_in_use(struct session *s, struct member *m, const struct encryption_provider *p,
                        const char *path, struct error *err)
{
    struct node_socket is CLEANUP(node_socket_free) = {0};
    struct node_socket becomes CLEANUP(node_socket_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    char *const *binds = binds_of(s);
    if (m->node.driver->find_socket(&m->node, path, NULL, &is, &e) < 0) {
        if (e.result != RESULT_REFUSED)
            return error_move(err, &e);
        error_clear(&e);
    }
    if (m->node.driver->find_socket(&m->node, path, binds, &becomes, &e) < 0) {
        if (e.result != RESULT_REFUSED)
            return error_move(err, &e);
        if (!bind_holding(binds, path))
            return 0;
        error_next(&e,
                   "let extra_binds in %s name what is mounted there until this is finished, and "
                   "run the same command again",
                   s->options->config);
        return error_move(err, &e);
    }
    bool moves = is.host_path && !str_eq(is.host_path, becomes.host_path);
    return moves ? check_on(s, m, p, path, err) : 0;
}

/* --- all of them --- */

static bool same_plugin(const struct encryption_provider *a, const struct encryption_provider *b)
{
    return a->type == PROVIDER_KMS && b->type == PROVIDER_KMS && a->kms_v2 == b->kms_v2 &&
           str_eq(a->kms_name, b->kms_name) && str_eq(a->kms_endpoint, b->kms_endpoint);
}

/* True where one of c's providers is it, looking no further than `end` (NULL: at all). */
static bool names(const struct encryption_config *c, const struct encryption_provider *p,
                  const struct encryption_provider *end)
{
    for (size_t i = 0; c && i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *q = &c->items[i].providers[k];
            if (q == end)
                return false;
            if (same_plugin(p, q))
                return true;
        }
    }
    return false;
}

struct findings {
    struct buf text;
    size_t count;
    char *next; /* of the first */
};

static void findings_free(struct findings *f)
{
    buf_free(&f->text);
    mem_free(f->next);
}

/* -1 only where looking itself can't go on. */
static int check_provider(struct session *s, const struct encryption_provider *p, bool in_use,
                          struct findings *found, struct error *err)
{
    char *path CLEANUP(cleanup_mem) = kms_socket_path(p->kms_endpoint);
    if (in_use && (!path || path[0] == '@'))
        return 0;
    if (!path)
        return error_set(err, RESULT_REFUSED,
                         "the KMS provider %s: its endpoint must be unix:// and the absolute path "
                         "of a socket",
                         p->kms_name);
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        struct error e CLEANUP(error_clear) = {0};
        if ((in_use ? check_in_use(s, m, p, path, &e) : check_on(s, m, p, path, &e)) == 0)
            continue;
        if (e.result != RESULT_REFUSED)
            return error_wrap(&e, "node %s: the KMS provider %s", m->node.name, p->kms_name),
                   error_move(err, &e);
        buf_printf(&found->text, "%snode %s: the KMS provider %s: %s", found->count++ ? "\n" : "",
                   m->node.name, p->kms_name, e.message);
        if (!found->next)
            found->next = STEAL(e.next);
    }
    return 0;
}

/* Of `of`, those that `but` (NULL: none) lacks. */
static int check_providers(struct session *s, const struct encryption_config *of,
                           const struct encryption_config *but, bool in_use, struct findings *found,
                           struct error *err)
{
    for (size_t i = 0; of && i < of->item_count; i++) {
        for (size_t k = 0; k < of->items[i].provider_count; k++) {
            const struct encryption_provider *p = &of->items[i].providers[k];
            if (p->type != PROVIDER_KMS || names(but, p, NULL) || names(of, p, p))
                continue;
            if (check_provider(s, p, in_use, found, err) < 0)
                return -1;
        }
    }
    return 0;
}

static bool uses_socket(const struct encryption_config *c, const char *path)
{
    for (size_t i = 0; c && i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            char *at CLEANUP(cleanup_mem) =
                p->type == PROVIDER_KMS ? kms_socket_path(p->kms_endpoint) : NULL;
            if (str_eq(at, path))
                return true;
        }
    }
    return false;
}

/* A container that RKE makes has the mounts of cluster.yml, and RKE's own. */
static bool rke_mounts(const struct cluster *cluster, const char *path)
{
    return path[0] == '@' || path_is_below(path, "/etc/kubernetes") ||
           bind_holding(cluster->extra_binds, path);
}

/* Sockets that the apiserver reaches now, or will by mounts that RKE's next `up` takes away. */
static void warn_of_mounts(struct session *s, const struct encryption_config *c,
                           const struct encryption_config *to)
{
    for (size_t i = 0; c && i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            char *path CLEANUP(cleanup_mem) =
                p->type == PROVIDER_KMS ? kms_socket_path(p->kms_endpoint) : NULL;
            if (!path || names(c, p, p) || rke_mounts(s->cluster, path))
                continue;
            if (c == to)
                tell(s, ENCRYPT_WARNING, "check", NULL,
                     "no extra_binds in %s holds %s, the socket of the KMS plugin %s: RKE's next "
                     "`up` makes a kube-apiserver that can't reach it; add it there",
                     s->options->config, path, p->kms_name);
            else if (!uses_socket(to, path))
                tell(s, ENCRYPT_WARNING, "check", NULL,
                     "no extra_binds in %s holds %s, the socket of the KMS plugin %s, which is "
                     "needed until this is finished: an `rke up` before that makes a "
                     "kube-apiserver that can't reach it; leave extra_binds as they were until "
                     "then",
                     s->options->config, path, p->kms_name);
        }
    }
}

static bool has_kms(const struct encryption_config *c)
{
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t k = 0; k < c->items[i].provider_count; k++)
            if (c->items[i].providers[k].type == PROVIDER_KMS)
                return true;
    return false;
}

int kms_check(struct session *s, const struct encryption_config *from,
              const struct encryption_config *to, struct error *err)
{
    struct findings found CLEANUP(findings_free) = {0};
    if (s->cluster->extra_binds && !session_driver(s)->mounts && (has_kms(from) || has_kms(to)))
        tell(s, ENCRYPT_NOTE, "check", NULL,
             "%s:%zu: extra_binds has no effect: a kube-apiserver of kind %s has no mounts, it "
             "sees the node's own files",
             s->options->config, s->cluster->extra_binds_line, session_driver(s)->kind);
    if (check_providers(s, from, NULL, true, &found, err) < 0 ||
        check_providers(s, to, from, false, &found, err) < 0)
        return -1;
    if (!found.count) {
        if (session_shares_state(s)) {
            warn_of_mounts(s, from, to);
            warn_of_mounts(s, to, to);
        }
        return 0;
    }
    error_set(err, RESULT_REFUSED, "%s", buf_str(&found.text));
    error_next(err, "%s",
               found.next ? found.next
                          : "see to it that the KMS plugin runs and answers on every control-plane "
                            "node, then run the same command again");
    return -1;
}
