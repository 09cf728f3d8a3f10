#include "base/file.h"
#include "provisioner/ssh/known_hosts.h"
#include "provisioner/ssh/session.h"

#include <string.h>

enum { KNOWN_HOSTS_LIMIT = 16 * 1024 * 1024 };

/* No SHA-1, no certificates: those would have to be checked against @cert-authority lines. */
static const char host_key_algorithms[] =
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,"
    "rsa-sha2-256";

/* The user's file, then the machine's. */
struct known_files {
    const char *path[2];
    struct buf text[2];
};

static void known_files_free(struct known_files *k)
{
    for (size_t i = 0; i < ARRAY_LEN(k->text); i++)
        buf_free(&k->text[i]);
}

static int read_known_hosts(const struct ssh *s, struct known_files *k, struct error *err)
{
    const char *global = s->settings.global_known_hosts;
    k->path[0] = s->settings.known_hosts;
    k->path[1] = global ? global : "/etc/ssh/ssh_known_hosts";
    for (size_t i = 0; i < ARRAY_LEN(k->path); i++) {
        bool missing = false;
        if (k->path[i] &&
            file_read(k->path[i], KNOWN_HOSTS_LIMIT, false, &k->text[i], &missing, err) < 0)
            return -1;
    }
    return 0;
}

/* *file and *line: what decided. */
static enum host_key_verdict check_files(const struct known_files *k, const struct host_key *key,
                                         const char **file, size_t *line)
{
    enum host_key_verdict verdict = HOST_KEY_UNKNOWN;
    for (size_t i = 0; i < ARRAY_LEN(k->text); i++) {
        size_t at = 0;
        enum host_key_verdict here =
            known_hosts_check(buf_str(&k->text[i]), k->text[i].len, key, &at);
        enum host_key_verdict both = known_hosts_combine(verdict, here);
        if (both != verdict) {
            *file = k->path[i];
            *line = at;
        }
        verdict = both;
    }
    return verdict;
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
    struct known_files files CLEANUP(known_files_free) = {0};
    struct buf list CLEANUP(buf_free) = {0};
    if (read_known_hosts(s, &files, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(files.text); i++) {
        char *known CLEANUP(cleanup_mem) =
            known_hosts_algorithms(buf_str(&files.text[i]), files.text[i].len, s->host, s->port);
        if (known)
            add_list(&list, known, host_key_algorithms);
    }
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

static int refuse_changed(struct ssh *s, int type, const char *fingerprint, const char *file,
                          size_t line, struct error *err)
{
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
    struct known_files files CLEANUP(known_files_free) = {0};
    size_t len = 0, line = 0;
    int type = 0;
    const char *blob = libssh2_session_hostkey(s->lib, &len, &type);
    if (!blob)
        return error_set(err, RESULT_REFUSED, "the server showed no host key");
    if (read_known_hosts(s, &files, err) < 0)
        return -1;

    struct host_key key = {
        .host = s->host, .port = s->port, .blob = (const unsigned char *)blob, .blob_len = len};
    char *fingerprint CLEANUP(cleanup_mem) = host_key_fingerprint(&key);
    const char *file = s->settings.known_hosts ? s->settings.known_hosts : "known_hosts";
    const char *name = type_name(type);
    switch (check_files(&files, &key, &file, &line)) {
    case HOST_KEY_KNOWN:
        return 0;
    case HOST_KEY_CHANGED:
        return refuse_changed(s, type, fingerprint, file, line, err);
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
