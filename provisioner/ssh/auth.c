#include "provisioner/ssh/session.h"

#include <openssl/err.h>
#include <string.h>

enum stage { STAGE_METHODS, STAGE_AGENT, STAGE_CERTIFICATE, STAGE_KEY, STAGE_REFUSED };

struct ssh_auth {
    enum stage stage;
    LIBSSH2_AGENT *agent;
    struct libssh2_agent_publickey **identities;
    size_t count, next;
    char *methods; /* that the server allows, as it said first: libssh2 leaks the answer when asked
                      again */
    struct buf tried; /* "the key /root/.ssh/id_rsa", for the error */
    bool passed_over; /* an RSA certificate in the agent */
};

void auth_free(struct ssh *s)
{
    struct ssh_auth *a = STEAL(s->auth);
    if (!a)
        return;
    if (a->agent)
        libssh2_agent_free(a->agent); /* before the session: it lives in its memory */
    mem_free(a->identities);
    buf_free(&a->tried);
    mem_free(a->methods);
    mem_free(a);
}

static void tried(struct ssh_auth *a, const char *what, const char *name)
{
    buf_printf(&a->tried, "%s%s %s", a->tried.len ? ", " : "", what, name);
}

static int step_refused(struct ssh *s, struct error *err)
{
    struct ssh_auth *a = s->auth;
    error_set(
        err, RESULT_REFUSED, "user %s could not log in: the server took none of %s; it allows %s%s",
        s->user, buf_str(&a->tried), a->methods,
        a->passed_over ? " (the agent's RSA certificate was passed over: libssh2 can't use it)"
                       : "");
    struct buf command CLEANUP(buf_free) = {0};
    buf_printf(&command, "ssh -p %u", s->port);
    if (s->credentials.key && s->credentials.key->path)
        buf_printf(&command, " -o IdentitiesOnly=yes -i '%s'", s->credentials.key->path);
    if (s->bastion)
        buf_printf(&command, " -J %s@%s:%u", s->bastion->user, s->bastion->host, s->bastion->port);
    error_next(err,
               "%s %s@%s true (shows whether ssh gets in; the key's public half must stand in that "
               "user's authorized_keys)",
               command.data, s->user, s->host);
    return -1;
}

/* The connection is gone, rather than the key refused. */
static int broken(struct ssh *s, struct error *err)
{
    char *text CLEANUP(cleanup_mem) = transport_explain(s);
    error_set(err, RESULT_REFUSED, "logging in as %s: %s", s->user, text);
    if (s->auth->tried.len)
        error_set(err, RESULT_REFUSED, "logging in as %s with %s: %s", s->user, s->auth->tried.data,
                  text);
    return -1;
}

static bool is_broken(int rc)
{
    return rc == LIBSSH2_ERROR_SOCKET_SEND || rc == LIBSSH2_ERROR_SOCKET_RECV ||
           rc == LIBSSH2_ERROR_SOCKET_DISCONNECT || rc == LIBSSH2_ERROR_TIMEOUT ||
           rc == LIBSSH2_ERROR_INVALID_MAC || rc == LIBSSH2_ERROR_DECRYPT;
}

static bool blob_is(const struct libssh2_agent_publickey *id, const char *type)
{
    size_t len = strlen(type);
    return id->blob_len >= 4 + len && memcmp(id->blob + 4, type, len) == 0;
}

/*
 * RSA keys come last: where a server takes no RSA signatures, libssh2 1.11.1 forgets to drop the
 * name "ssh-rsa" after the first such key, and would send the next key, of whatever type, under it.
 * RSA certificates are passed over: for those it asks the agent for a SHA-1 signature.
 */
static int agent_identities(struct ssh *s, struct error *err)
{
    struct ssh_auth *a = s->auth;
    struct libssh2_agent_publickey *id = NULL;
    a->agent = libssh2_agent_init(s->lib);
    if (!a->agent || libssh2_agent_connect(a->agent) != 0)
        return error_set(err, RESULT_REFUSED, "the SSH agent at $SSH_AUTH_SOCK can't be reached");
    if (libssh2_agent_list_identities(a->agent) != 0)
        return error_set(err, RESULT_REFUSED, "the SSH agent does not list its keys");
    for (int rsa = 0; rsa < 2; rsa++) {
        while (libssh2_agent_get_identity(a->agent, &id, id) == 0) {
            if (blob_is(id, "ssh-rsa-cert-v01@")) {
                a->passed_over = true;
                continue;
            }
            if (blob_is(id, "ssh-rsa") != (rsa == 1))
                continue;
            a->identities =
                mem_grow(a->identities, a->count, sizeof(struct libssh2_agent_publickey *));
            a->identities[a->count++] = id;
        }
        id = NULL;
    }
    if (a->count)
        return 0;
    error_set(err, RESULT_REFUSED, "the SSH agent has no key%s",
              a->passed_over ? " but an RSA certificate, which libssh2 can't use" : "");
    error_next(err, "ssh-add KEY");
    return -1;
}

static int step_methods(struct ssh *s, struct error *err)
{
    struct ssh_auth *a = s->auth;
    a->methods = mem_strdup(libssh2_userauth_list(s->lib, s->user, (unsigned)strlen(s->user)));
    if (!a->methods) {
        int rc = libssh2_session_last_errno(s->lib);
        if (libssh2_userauth_authenticated(s->lib))
            return 1;
        return rc == LIBSSH2_ERROR_EAGAIN ? 0 : broken(s, err);
    }
    if (!strstr(a->methods, "publickey"))
        return error_set(err, RESULT_REFUSED,
                         "user %s could not log in: the server allows only %s, and not publickey",
                         s->user, a->methods);
    if (s->credentials.agent) {
        if (agent_identities(s, err) < 0)
            return -1;
        a->stage = STAGE_AGENT;
    } else {
        a->stage = s->credentials.certificate.len ? STAGE_CERTIFICATE : STAGE_KEY;
    }
    return 2;
}

/* 2: go on with the next stage. */
static int outcome(struct ssh *s, int rc, const char *what, const char *name, enum stage next,
                   struct error *err)
{
    ERR_clear_error();
    if (rc == 0)
        return 1;
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return 0;
    tried(s->auth, what, name);
    if (is_broken(rc) || s->closed || s->goodbye)
        return broken(s, err);
    s->auth->stage = next;
    return 2;
}

static int step_agent(struct ssh *s, struct error *err)
{
    struct ssh_auth *a = s->auth;
    struct libssh2_agent_publickey *id = a->identities[a->next];
    int rc = libssh2_agent_userauth(a->agent, s->user, id);
    if (rc != 0 && rc != LIBSSH2_ERROR_EAGAIN)
        a->next++;
    return outcome(s, rc, "the agent's key",
                   id->comment && *id->comment ? id->comment : "(unnamed)",
                   a->next < a->count ? STAGE_AGENT : STAGE_REFUSED, err);
}

static int from_memory(struct ssh *s, const struct buf *public)
{
    const struct ssh_key *key = s->credentials.key;
    return libssh2_userauth_publickey_frommemory(s->lib, s->user, strlen(s->user), public->data,
                                                 public->len, key->text.data, key->text.len,
                                                 key->passphrase);
}

static int step_certificate(struct ssh *s, struct error *err)
{
    struct ssh_credentials *c = &s->credentials;
    return outcome(s, from_memory(s, &c->certificate), "the certificate", c->certificate_label,
                   STAGE_KEY, err);
}

static int step_key(struct ssh *s, struct error *err)
{
    static const struct buf none = {0};
    return outcome(s, from_memory(s, &none), "the key", s->credentials.key->label, STAGE_REFUSED,
                   err);
}

int auth_step(struct ssh *s, struct error *err)
{
    static int (*const steps[])(struct ssh *, struct error *) = {
        [STAGE_METHODS] = step_methods,         [STAGE_AGENT] = step_agent,
        [STAGE_CERTIFICATE] = step_certificate, [STAGE_KEY] = step_key,
        [STAGE_REFUSED] = step_refused,
    };
    if (!s->auth)
        s->auth = mem_alloc(1, sizeof(*s->auth));
    int rc;
    do
        rc = steps[s->auth->stage](s, err);
    while (rc == 2);
    return rc;
}
