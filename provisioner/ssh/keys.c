#include "base/file.h"
#include "provisioner/ssh/session.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_LIMIT = 64 * 1024, PASSPHRASE_TRIES = 3 };

void ssh_credentials_free(struct ssh_credentials *c)
{
    buf_free(&c->certificate);
    mem_free(c->certificate_label);
    *c = (struct ssh_credentials){0};
}

static void key_free(struct ssh_key *key)
{
    if (!key)
        return;
    buf_free(&key->text);
    mem_free(key->passphrase);
    mem_free(key->path);
    mem_free(key->label);
    mem_free(key);
}

static void cleanup_key(struct ssh_key **key)
{
    key_free(*key);
}

void ssh_keys_free(struct ssh_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        key_free(keys->items[i]);
    mem_free(keys->items);
    *keys = (struct ssh_keys){0};
}

static bool is_encrypted(const char *text)
{
    /* "openssh-key-v1\0", then the cipher's name: "none". */
    static const char plain_openssh[] = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
    static const char openssh[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
    const char *begin = strstr(text, openssh);
    if (begin) {
        begin += sizeof(openssh) - 1;
        while (isspace((unsigned char)*begin))
            begin++;
        return !str_starts(begin, plain_openssh);
    }
    return strstr(text, "BEGIN ENCRYPTED PRIVATE KEY") || strstr(text, "ENCRYPTED\n") ||
           strstr(text, "ENCRYPTED\r\n");
}

static ssize_t refuse_to_send(libssh2_socket_t fd, const void *data, size_t len, int flags,
                              void **abstract)
{
    (void)fd, (void)data, (void)len, (void)flags, (void)abstract;
    return -EPIPE;
}

/*
 * Whether libssh2 can read the key with this passphrase. It has no call that only reads a key, but
 * a login begins with just that: on a session that can't send, a good key comes as far as the
 * sending.
 */
static bool opens(const struct ssh_key *key, const char *passphrase)
{
    LIBSSH2_SESSION *lib = ssh_lib_new(NULL);
    libssh2_session_callback_set2(lib, LIBSSH2_CALLBACK_SEND, (libssh2_cb_generic *)refuse_to_send);
    int rc = libssh2_userauth_publickey_frommemory(lib, "-", 1, NULL, 0, key->text.data,
                                                   key->text.len, passphrase);
    libssh2_session_free(lib);
    ERR_clear_error(); /* libcurl's TLS looks at the same queue */
    return rc == LIBSSH2_ERROR_SOCKET_SEND;
}

static int passphrase_from_file(const struct ssh_settings *settings, struct ssh_key *key,
                                struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (file_read(settings->passphrase_file, KEY_LIMIT, true, &text, NULL, err) < 0)
        return -1;
    char *line CLEANUP(cleanup_mem) = mem_strndup(buf_str(&text), strcspn(buf_str(&text), "\r\n"));
    if (!opens(key, line))
        return error_set(err, RESULT_REFUSED,
                         "private key %s: the passphrase in %s does not open it", key->label,
                         settings->passphrase_file);
    key->passphrase = STEAL(line);
    return 0;
}

static int passphrase_ask(const struct ssh_settings *settings, struct ssh_key *key,
                          struct error *err)
{
    char *prompt CLEANUP(cleanup_mem) = mem_printf("passphrase for %s: ", key->label);
    for (int i = 0; i < PASSPHRASE_TRIES; i++) {
        char *answer CLEANUP(cleanup_mem) =
            settings->ask ? settings->ask(settings->ctx, prompt) : NULL;
        if (!answer && settings->stop && settings->stop(settings->ctx))
            return error_set(err, RESULT_INTERRUPTED, "interrupted");
        if (!answer && i == 0) {
            error_set(err, RESULT_REFUSED,
                      "private key %s has a passphrase, and there is no terminal to ask for it",
                      key->label);
            error_next(err,
                       "run the command again with --ssh-passphrase-file FILE, or load the key "
                       "into an agent (ssh-add) and add --ssh-agent-auth");
            return -1;
        }
        if (!answer)
            break;
        if (opens(key, answer)) {
            key->passphrase = STEAL(answer);
            return 0;
        }
    }
    return error_set(err, RESULT_REFUSED, "private key %s: none of the passphrases opens it",
                     key->label);
}

static int key_load(const struct ssh_settings *settings, const struct ssh_access *access,
                    struct ssh_key **out, struct error *err)
{
    struct ssh_key *key CLEANUP(cleanup_key) = mem_alloc(1, sizeof(*key));
    if (access->key) {
        key->label = mem_printf("ssh_key of %s", access->address);
        buf_adds(&key->text, access->key);
    } else {
        key->path = mem_strdup(access->key_path);
        key->label = mem_strdup(access->key_path);
        if (file_read(key->path, KEY_LIMIT, true, &key->text, NULL, err) < 0) {
            err->result = RESULT_REFUSED;
            return error_wrap(err, "private key");
        }
    }
    /* YAML block scalars and copied files may lack the last newline; OpenSSL wants it. */
    if (key->text.len && key->text.data[key->text.len - 1] != '\n')
        buf_adds(&key->text, "\n");

    if (is_encrypted(buf_str(&key->text))) {
        int rc = settings->passphrase_file ? passphrase_from_file(settings, key, err)
                                           : passphrase_ask(settings, key, err);
        if (rc < 0)
            return -1;
    } else if (!key->text.len || !opens(key, NULL)) {
        return error_set(
            err, RESULT_REFUSED,
            "private key %s is none that can be used: ed25519, ECDSA and RSA in PEM or "
            "OpenSSH format are",
            key->label);
    }
    *out = STEAL(key);
    return 0;
}

static bool is_of(const struct ssh_key *key, const struct ssh_access *access)
{
    if (!access->key)
        return str_eq(key->path, access->key_path);
    size_t len = strlen(access->key);
    return !key->path && len + 1 >= key->text.len && str_starts(key->text.data, access->key);
}

static const struct ssh_key *find(const struct ssh_keys *keys, const struct ssh_access *access)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (is_of(keys->items[i], access))
            return keys->items[i];
    }
    return NULL;
}

static bool is_certificate(const char *text)
{
    static const char *const types[] = {
        "ssh-ed25519-cert-v01@openssh.com ",
        "ecdsa-sha2-nistp256-cert-v01@openssh.com ",
        "ecdsa-sha2-nistp384-cert-v01@openssh.com ",
        "ecdsa-sha2-nistp521-cert-v01@openssh.com ",
        "ssh-rsa-cert-v01@openssh.com ",
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (str_starts(text, types[i]))
            return true;
    }
    return false;
}

static int certificate_load(const struct ssh_access *access, struct ssh_credentials *out,
                            struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (access->cert) {
        out->certificate_label = mem_printf("ssh_cert of %s", access->address);
        buf_adds(&text, access->cert);
    } else {
        out->certificate_label = mem_strdup(access->cert_path);
        if (file_read(access->cert_path, KEY_LIMIT, false, &text, NULL, err) < 0) {
            err->result = RESULT_REFUSED;
            return error_wrap(err, "certificate");
        }
    }
    const char *at = buf_str(&text);
    at += strspn(at, " \t\r\n");
    buf_add(&out->certificate, at, strcspn(at, "\r\n"));
    if (!is_certificate(buf_str(&out->certificate)))
        return error_set(
            err, RESULT_REFUSED,
            "certificate %s is no OpenSSH user certificate of an ed25519, ECDSA or RSA key",
            out->certificate_label);
    return 0;
}

int ssh_credentials_load(struct ssh_keys *keys, const struct ssh_settings *settings,
                         const struct ssh_access *access, struct ssh_credentials *out,
                         struct error *err)
{
    *out = (struct ssh_credentials){0};
    /* As in RKE: the agent alone is asked, and without one the key is used after all. */
    const char *socket = getenv("SSH_AUTH_SOCK");
    out->agent = settings->use_agent && socket && *socket;
    if (out->agent)
        return 0;
    out->key = find(keys, access);
    if (!out->key) {
        struct ssh_key *key = NULL;
        if (key_load(settings, access, &key, err) < 0)
            return -1;
        keys->items = mem_grow(keys->items, keys->count, sizeof(struct ssh_key *));
        keys->items[keys->count++] = key;
        out->key = key;
    }
    if (access->cert || access->cert_path)
        return certificate_load(access, out, err);
    return 0;
}
