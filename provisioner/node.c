#include "provisioner/node.h"

#include "state/timestamp.h"

#include <ctype.h>
#include <string.h>

void apiserver_free(struct apiserver *a)
{
    mem_free(a->process);
    mem_free(a->since);
    for (size_t i = 0; a->args && a->args[i]; i++)
        mem_free(a->args[i]);
    mem_free(a->args);
    mem_free(a->config_path);
    mem_free(a->doubt);
    mem_free(a->doubt_next);
    mem_free(a->unseen);
    mem_free(a->next_start);
    *a = (struct apiserver){0};
}

bool changed_after_start(long long changed_at, const char *since, char **text)
{
    enum { SLACK_S = 2 };
    char *surely CLEANUP(cleanup_mem) = timestamp_at(changed_at - SLACK_S);
    *text = NULL;
    if (changed_at <= 0 || !since || !surely || strcmp(surely, since) <= 0)
        return false;
    *text = timestamp_at(changed_at);
    return *text;
}

void node_socket_free(struct node_socket *s)
{
    mem_free(s->path);
    mem_free(s->host_path);
    mem_free(s->mount_host);
    mem_free(s->mount_container);
    *s = (struct node_socket){0};
}

bool apiserver_arg_is(const char *arg, const char *name, const char **value)
{
    if (!arg || !str_starts(arg, "--"))
        return false;
    /* kube-apiserver takes underscores for dashes. */
    for (arg += 2; *name; arg++, name++) {
        if (*arg != *name && !(*arg == '_' && *name == '-'))
            return false;
    }
    if (*arg && *arg != '=')
        return false;
    *value = *arg ? arg + 1 : NULL;
    return true;
}

const char *apiserver_flag(const struct apiserver *a, const char *name)
{
    const char *found = NULL;
    for (size_t i = 0; a->args && a->args[i]; i++) {
        const char *value = NULL;
        if (!apiserver_arg_is(a->args[i], name, &value))
            continue;
        const char *next = a->args[i + 1];
        /* A flag alone is a boolean, and true. */
        found = value ? value : next && !str_starts(next, "--") ? next : "true";
    }
    return found;
}

bool apiserver_serves_at(const struct apiserver *a, const char *address)
{
    const char *told = apiserver_flag(a, "advertise-address");
    return str_eq(told ? told : apiserver_flag(a, "bind-address"), address);
}

void apiserver_set_args(struct apiserver *a, char **args)
{
    static const char *const names[] = {"encryption-provider-config",
                                        "experimental-encryption-provider-config"};
    a->args = args;
    size_t last = 0;
    for (size_t n = 0; n < ARRAY_LEN(names); n++) {
        const char *path = apiserver_flag(a, names[n]);
        if (!path)
            continue;
        size_t at = 0;
        for (size_t i = 0; args[i]; i++) {
            const char *value = NULL;
            if (apiserver_arg_is(args[i], names[n], &value))
                at = i + 1;
        }
        if (at < last)
            continue;
        last = at;
        mem_free(a->config_path);
        a->config_path = *path ? mem_strdup(path) : NULL;
    }
    const char *reload = apiserver_flag(a, "encryption-provider-config-automatic-reload");
    a->automatic_reload = reload && (strchr("1tT", reload[0]) && reload[0]);
}

/* The letters and digits of base64 and of hexadecimal. (Not `=`: padding says nothing, and before a
 * value it is no part of it.) */
static bool is_key_letter(char c)
{
    return isalnum((unsigned char)c) || c == '+' || c == '/';
}

/* A path has slashes and small letters; the odds of such a key are one in many thousands. */
static bool is_path(const char *token, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (isupper((unsigned char)token[i]) || token[i] == '+')
            return false;
    }
    return memchr(token, '/', len);
}

/* True where the text before a token ends in a word that announces a secret: `secret: "`, `key=`.
 */
static bool is_announced(const char *line, const char *token)
{
    static const char *const words[] = {"secret", "key", "password", "token"};
    const char *end = token;
    while (end > line && strchr(" \t\"'`:=\\", end[-1]))
        end--;
    if (end == token)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t len = strlen(words[i]);
        if ((size_t)(end - line) >= len && strncasecmp(end - len, words[i], len) == 0)
            return true;
    }
    return false;
}

static bool may_hold_key(const char *line, size_t len)
{
    enum { LONG_TOKEN = 40, ANNOUNCED_TOKEN = 20 };
    for (size_t i = 0; i < len;) {
        size_t n = 0;
        while (i + n < len && is_key_letter(line[i + n]))
            n++;
        if (n >= ANNOUNCED_TOKEN && !is_path(line + i, n) &&
            (n >= LONG_TOKEN || is_announced(line, line + i)))
            return true;
        i += n ? n : 1;
    }
    return false;
}

void log_add_safe_lines(struct buf *out, const char *text, size_t len)
{
    size_t left_out = 0;
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t n = end ? (size_t)(end - text) : len;
        if (may_hold_key(text, n)) {
            left_out++;
        } else {
            buf_add(out, text, n && text[n - 1] == '\r' ? n - 1 : n);
            buf_adds(out, "\n");
        }
        n += end ? 1 : 0;
        text += n;
        len -= n;
    }
    if (left_out)
        buf_printf(out, "(%zu %s that may hold a key left out)\n", left_out,
                   left_out == 1 ? "line" : "lines");
}
