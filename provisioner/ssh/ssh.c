#include "provisioner/ssh/ssh.h"

#include "provisioner/ssh/session.h"

#include <string.h>

/* Of hosts behind one bastion, so many log into it at once: sshd drops some beyond 10
 * (MaxStartups). */
enum { BASTION_LOGINS = 8 };

struct connecting {
    struct ssh **sessions;
    size_t count;
};

static struct ssh *session_new(struct loop *loop, const struct ssh_settings *settings,
                               const struct ssh_access *access, const char *role)
{
    struct ssh *s = mem_alloc(1, sizeof(*s));
    s->loop = loop;
    s->settings = *settings;
    s->name = mem_printf("%s %s", role, access->address);
    s->host = mem_strdup(access->address);
    s->port = access->port;
    s->user = mem_strdup(access->user);
    s->fd = -1;
    return s;
}

static void cleanup_ssh(struct ssh **s)
{
    ssh_close(*s);
}

static int session_prepare(struct loop *loop, const struct ssh_settings *settings,
                           const struct ssh_access *access, const char *role, struct ssh_keys *keys,
                           struct ssh **out, struct error *err)
{
    struct ssh *s CLEANUP(cleanup_ssh) = session_new(loop, settings, access, role);
    if (ssh_credentials_load(keys, settings, access, &s->credentials, err) < 0)
        return error_wrap(err, "%s", s->name);
    *out = STEAL(s);
    return 0;
}

static bool is_waiting(const struct ssh *s)
{
    return s->phase != PHASE_READY && s->phase != PHASE_DEAD;
}

/* Takes each as far as its bastion has come; asked after each turn of the loop. */
static bool all_done(void *ctx)
{
    struct connecting *c = ctx;
    size_t logins = 0;
    bool waiting = false;
    for (size_t i = 0; i < c->count; i++) {
        struct ssh *s = c->sessions[i];
        struct ssh *b = s->bastion;
        if (b && b->phase == PHASE_WAITING && s->phase == PHASE_WAITING && logins < BASTION_LOGINS)
            ssh_start(b);
        if (b && b->phase == PHASE_DEAD && s->phase == PHASE_WAITING) {
            struct error why CLEANUP(error_clear) = {0};
            error_set(&why, RESULT_REFUSED, "%s", b->failure.message);
            if (b->failure.next)
                error_next(&why, "%s", b->failure.next);
            ssh_die(s, &why);
        }
        if (s->phase == PHASE_WAITING && (!b || b->phase == PHASE_READY))
            ssh_start(s);
        logins += b && is_waiting(b);
        waiting = waiting || is_waiting(s);
    }
    return !waiting;
}

/* "2 of 3 nodes …", one line each; what several have in common (their bastion) once. */
static int failures(struct ssh *const *sessions, size_t count, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    size_t failed = 0;
    const char *next = NULL;
    enum result result = RESULT_REFUSED;
    for (size_t i = 0; i < count; i++) {
        const struct ssh *s = sessions[i];
        if (s->phase != PHASE_DEAD)
            continue;
        failed++;
        if (!next)
            next = s->failure.next;
        bool by_bastion = s->bastion && str_eq(s->bastion->failure.message, s->failure.message);
        char *line CLEANUP(cleanup_mem) =
            mem_printf("%s: %s", by_bastion ? s->bastion->name : s->name, s->failure.message);
        if (!strstr(buf_str(&text), line))
            buf_printf(&text, "%s%s", text.len ? "\n" : "", line);
    }
    if (!failed)
        return 0;
    if (count == 1)
        error_set(err, result, "%s", text.data);
    else
        error_set(err, result, "%zu of %zu nodes can't be used over SSH:\n%s", failed, count,
                  text.data);
    if (next)
        error_next(err, "%s", next);
    return -1;
}

static int wait_for_all(struct loop *loop, struct ssh **sessions, size_t count, struct error *err)
{
    struct connecting c = {sessions, count};
    int rc = loop_until(loop, all_done, &c, 0, err);
    for (size_t i = 0; i < count; i++) {
        /* The keys are wiped now. */
        ssh_credentials_free(&sessions[i]->credentials);
        if (sessions[i]->bastion)
            ssh_credentials_free(&sessions[i]->bastion->credentials);
    }
    return rc;
}

static int prepare_one(struct loop *loop, const struct ssh_settings *settings,
                       const struct ssh_access *bastion, const struct ssh_access *target,
                       struct ssh_keys *keys, struct ssh **out, struct error *err)
{
    struct ssh *b CLEANUP(cleanup_ssh) = NULL;
    if ((bastion && session_prepare(loop, settings, bastion, "bastion", keys, &b, err) < 0) ||
        session_prepare(loop, settings, target, "node", keys, out, err) < 0)
        return -1;
    (*out)->bastion = STEAL(b);
    return 0;
}

static int connect_all(struct loop *loop, const struct ssh_settings *settings,
                       const struct ssh_access *bastion, const struct ssh_access *const *targets,
                       size_t count, struct ssh **sessions, struct error *err)
{
    struct ssh_keys keys CLEANUP(ssh_keys_free) = {0};
    for (size_t i = 0; i < count; i++)
        if (prepare_one(loop, settings, bastion, targets[i], &keys, &sessions[i], err) < 0)
            return -1;
    return wait_for_all(loop, sessions, count, err) < 0 ? -1 : failures(sessions, count, err);
}

int ssh_connect_all(struct loop *loop, const struct ssh_settings *settings,
                    const struct ssh_access *bastion, const struct ssh_access *const *targets,
                    size_t count, struct ssh **sessions, struct error *err)
{
    memset(sessions, 0, count * sizeof(struct ssh *));
    if (connect_all(loop, settings, bastion, targets, count, sessions, err) == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        ssh_close(sessions[i]);
        sessions[i] = NULL;
    }
    return -1;
}

/* `ready`: room for all, those that were prepared, side by side. */
static int connect_each(struct loop *loop, const struct ssh_settings *settings,
                        const struct ssh_access *bastion, const struct ssh_access *const *targets,
                        size_t count, struct ssh **sessions, struct ssh **ready, struct error *whys,
                        struct error *err)
{
    struct ssh_keys keys CLEANUP(ssh_keys_free) = {0};
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (prepare_one(loop, settings, bastion, targets[i], &keys, &sessions[i], &whys[i]) == 0)
            ready[n++] = sessions[i];
        else if (whys[i].result == RESULT_INTERRUPTED)
            return error_move(err, &whys[i]);
    }
    if (wait_for_all(loop, ready, n, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (!sessions[i] || failures(&sessions[i], 1, &whys[i]) == 0)
            continue;
        ssh_close(sessions[i]);
        sessions[i] = NULL;
    }
    return 0;
}

int ssh_connect_each(struct loop *loop, const struct ssh_settings *settings,
                     const struct ssh_access *bastion, const struct ssh_access *const *targets,
                     size_t count, struct ssh **sessions, struct error *whys, struct error *err)
{
    memset(sessions, 0, count * sizeof(struct ssh *));
    struct ssh **ready CLEANUP(cleanup_mem) = mem_alloc(count, sizeof(*ready));
    if (connect_each(loop, settings, bastion, targets, count, sessions, ready, whys, err) == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        ssh_close(sessions[i]);
        sessions[i] = NULL;
    }
    return -1;
}
