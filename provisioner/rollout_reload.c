/* A file that takes effect by itself: waited for, and shown by what the apiserver tells. */
#include "provisioner/kms.h"
#include "provisioner/run.h"

#include <time.h>

/* An apiserver checks the plugins of a new file for 10 s and more before it takes it. */
enum { POLL_MS = 1000, LOADING_MS = 60000 };

/* The sockets of its kms providers are reached by the mounts that the apiserver has. */
static bool has_mounts(struct run *r, struct member *m, enum form f)
{
    const struct encryption_config *c = r->forms.config[f];
    char **binds CLEANUP(cleanup_mem) = kms_binds(r->s->cluster, c);
    for (size_t i = 0; binds && i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            struct node_socket at CLEANUP(node_socket_free) = {0};
            struct error ignored CLEANUP(error_clear) = {0};
            if (p->type != PROVIDER_KMS)
                continue;
            char *path CLEANUP(cleanup_mem) = kms_socket_path(p->kms_endpoint);
            if (!path || m->node.driver->find_socket(&m->node, path, NULL, &at, &ignored) < 0)
                return false;
        }
    }
    return true;
}

bool rollout_reloads(struct run *r, struct member *m, enum form f)
{
    return r->text[f] && m->seen.running && m->seen.config_path && m->reload.told &&
           has_mounts(r, m, f);
}

static void tell_when(struct run *r, struct member *m, enum form f)
{
    int64_t put = r->put_at[m - r->s->members];
    int64_t left = put ? put + RELOAD_POLL_MS - loop_now() : RELOAD_POLL_MS;
    char at[16] = "";
    struct tm local;
    time_t then = time(NULL) + (time_t)((left + 999) / 1000);
    if (localtime_r(&then, &local))
        strftime(at, sizeof(at), "%H:%M:%S", &local);
    if (left > 0)
        tell(r->s, ENCRYPT_NODE, form_name(f), m->node.name,
             "kube-apiserver takes the file up by itself: it looks every %d s, next by %s at the "
             "latest (in %lld s)",
             RELOAD_POLL_MS / 1000, at, (long long)((left + 999) / 1000));
    else
        tell(r->s, ENCRYPT_NODE, form_name(f), m->node.name,
             "waiting until kube-apiserver has taken the file up");
}

static int fail(const struct member *m, const struct reload_seen *first, int64_t waited,
                struct error *err)
{
    if (m->reload.failures > first->failures)
        return error_set(err, RESULT_FAILED,
                         "node %s: kube-apiserver could not load %s (it counts %.0f failed reloads "
                         "more): the last good file stays in force there",
                         m->node.name, m->config_path, m->reload.failures - first->failures);
    return error_set(err, RESULT_FAILED,
                     "node %s: kube-apiserver has not taken %s up within %lld s%s", m->node.name,
                     m->config_path, (long long)(waited / 1000),
                     m->reload.told ? "" : ", or does not answer");
}

int rollout_await_reload(struct run *r, struct member *m, enum form f, bool back, struct error *err)
{
    struct session *s = r->s;
    int64_t began = loop_now(), until = began + RELOAD_POLL_MS + LOADING_MS;
    if (member_ask_reload(m, err) < 0)
        return -1;
    struct reload_seen first = m->reload;
    tell_when(r, m, f);
    while (!m->reload.told || !str_eq(m->reload.sha256, m->file_sha256)) {
        /* (Going back, what fails may be what was there before.) */
        bool failed = !back && m->reload.counted && m->reload.failures > first.failures;
        if (failed || loop_now() >= until || (m->node.ssh && ssh_dead(m->node.ssh)))
            return fail(m, &first, loop_now() - began, err);
        session_moves(s);
        if (loop_pause(s->loop, POLL_MS, err) < 0 || member_ask_reload(m, err) < 0)
            return -1;
        /* An apiserver that came up anew counts from nothing. */
        if (m->reload.counted && m->reload.failures < first.failures)
            first.failures = m->reload.failures;
    }
    return member_wait_ready(s, m, LOADING_MS, err) < 0 || member_observe(m, err) < 0 ? -1 : 0;
}
