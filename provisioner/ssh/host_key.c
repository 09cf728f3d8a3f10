#include "base/file.h"
#include "provisioner/ssh/known_hosts.h"
#include "provisioner/ssh/session.h"

#include <string.h>

enum { KNOWN_HOSTS_LIMIT = 16 * 1024 * 1024 };

/* No SHA-1, no certificates: those would have to be checked against @cert-authority lines. */
static const char host_key_algorithms[] =
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,"
    "rsa-sha2-256";

static int read_known_hosts(struct ssh *s, struct buf *text, struct error *err)
{
    bool missing = false;
    if (!s->settings.known_hosts)
        return 0;
    return file_read(s->settings.known_hosts, KNOWN_HOSTS_LIMIT, false, text, &missing, err);
}

static bool in_list(const char *list, const char *name, size_t len)
{
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        if (n == len && memcmp(at, name, n) == 0)
            return true;
        at += n;
        at += *at == ',';
    }
    return false;
}

/* The algorithms of `list` that are in `only` and not in what is there already. */
static void add_list(struct buf *out, const char *list, const char *only)
{
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        if (in_list(only, at, n) && !in_list(buf_str(out), at, n)) {
            if (out->len)
                buf_adds(out, ",");
            buf_add(out, at, n);
        }
        at += n;
        at += *at == ',';
    }
}

int host_key_prefer(struct ssh *s, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct buf list CLEANUP(buf_free) = {0};
    if (read_known_hosts(s, &text, err) < 0)
        return -1;
    char *known CLEANUP(cleanup_mem) =
        known_hosts_algorithms(buf_str(&text), text.len, s->host, s->port);
    if (known)
        add_list(&list, known, host_key_algorithms);
    add_list(&list, host_key_algorithms, host_key_algorithms);
    if (libssh2_session_method_pref(s->lib, LIBSSH2_METHOD_HOSTKEY, list.data) != 0)
        return error_set(err, RESULT_FAILED, "libssh2 knows none of %s", list.data);
    return 0;
}

static const char *type_name(int type)
{
    switch (type) {
    case LIBSSH2_HOSTKEY_TYPE_RSA:
        return "RSA";
    case LIBSSH2_HOSTKEY_TYPE_ECDSA_256:
    case LIBSSH2_HOSTKEY_TYPE_ECDSA_384:
    case LIBSSH2_HOSTKEY_TYPE_ECDSA_521:
        return "ECDSA";
    case LIBSSH2_HOSTKEY_TYPE_ED25519:
        return "ED25519";
    default:
        return "host";
    }
}

static const char *file_type(int type)
{
    switch (type) {
    case LIBSSH2_HOSTKEY_TYPE_RSA:
        return "rsa";
    case LIBSSH2_HOSTKEY_TYPE_ED25519:
        return "ed25519";
    default:
        return "ecdsa";
    }
}

static int accept_new(struct ssh *s, const struct host_key *key, const char *type,
                      const char *fingerprint, struct error *err)
{
    const char *file = s->settings.known_hosts;
    if (known_hosts_add(file, key, err) < 0) {
        err->result = RESULT_REFUSED;
        return -1;
    }
    if (s->settings.say) {
        char *text CLEANUP(cleanup_mem) =
            mem_printf("%s: its %s key %s was not known before; added to %s", s->name, type,
                       fingerprint, file);
        s->settings.say(s->settings.ctx, text);
    }
    return 0;
}

static int refuse_changed(struct ssh *s, int type, const char *fingerprint, size_t line,
                          struct error *err)
{
    const char *file = s->settings.known_hosts;
    error_set(
        err, RESULT_REFUSED,
        "its host key is not the one that is known: %s:%zu has another, the server showed the "
        "%s key %s. Either the machine was set up anew, or somebody sits in between",
        file, line, type_name(type), fingerprint);
    char *name CLEANUP(cleanup_mem) =
        s->port == 22 ? mem_strdup(s->host) : mem_printf("[%s]:%u", s->host, s->port);
    error_next(err,
               "compare the fingerprint on the machine itself (ssh-keygen -lf "
               "/etc/ssh/ssh_host_%s_key.pub); if it is right: ssh-keygen -f '%s' -R '%s'",
               file_type(type), file, name);
    return -1;
}

int host_key_check(struct ssh *s, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    size_t len = 0, line = 0;
    int type = 0;
    const char *blob = libssh2_session_hostkey(s->lib, &len, &type);
    if (!blob)
        return error_set(err, RESULT_REFUSED, "the server showed no host key");
    if (read_known_hosts(s, &text, err) < 0)
        return -1;

    struct host_key key = {
        .host = s->host, .port = s->port, .blob = (const unsigned char *)blob, .blob_len = len};
    char *fingerprint CLEANUP(cleanup_mem) = host_key_fingerprint(&key);
    const char *file = s->settings.known_hosts ? s->settings.known_hosts : "known_hosts";
    const char *name = type_name(type);
    switch (known_hosts_check(buf_str(&text), text.len, &key, &line)) {
    case HOST_KEY_KNOWN:
        return 0;
    case HOST_KEY_CHANGED:
        return refuse_changed(s, type, fingerprint, line, err);
    case HOST_KEY_REVOKED:
        return error_set(err, RESULT_REFUSED, "its %s key %s is marked @revoked in %s:%zu", name,
                         fingerprint, file, line);
    case HOST_KEY_UNKNOWN:
        break;
    }
    if (s->settings.accept_new_host_keys && s->settings.known_hosts)
        return accept_new(s, &key, name, fingerprint, err);
    error_set(err, RESULT_REFUSED, "its host key is not known: the %s key %s is not in %s", name,
              fingerprint, file);
    error_next(err,
               "compare the fingerprint on the machine itself (ssh-keygen -lf "
               "/etc/ssh/ssh_host_%s_key.pub); if it is right, run the command again with "
               "--accept-new-host-keys",
               file_type(type));
    return -1;
}
