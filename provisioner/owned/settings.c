/* What the server's own settings say, and what the SSH user may do there. */
#include "provisioner/owned/owned.h"

#include "base/yaml.h"

#include <string.h>

/* --- the type of the next key --- */

static enum provider_type type_of(const char *name, size_t len)
{
    return len == 9 && strncmp(name, "secretbox", len) == 0 ? PROVIDER_SECRETBOX
           : len == 6 && strncmp(name, "aescbc", len) == 0  ? PROVIDER_AESCBC
                                                            : PROVIDER_IDENTITY;
}

int owned_setting_provider(const char *text, size_t len, const char *path, enum provider_type *out,
                           struct error *err)
{
    struct yaml *y CLEANUP(cleanup_yaml) = NULL;
    if (!len)
        return 0;
    if (yaml_read(text, len, path, &y, err) < 0)
        return -1;
    const struct yaml *v = y ? yaml_get(y, "secrets-encryption-provider") : NULL;
    if (!v || v->kind != YAML_KIND_SCALAR)
        return 0;
    *out = type_of(v->scalar, strlen(v->scalar));
    return 0;
}

static int read_settings(struct owned_run *r, const char *path, enum provider_type *out,
                         struct error *err)
{
    struct member *m = &r->s->members[r->leader];
    struct buf text CLEANUP(buf_free) = {0};
    bool missing = false;
    if (host_file_read(owned_host(&m->node), path, &text, &missing, err) < 0)
        return -1;
    if (!missing && owned_setting_provider(buf_str(&text), text.len, path, out, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    return 0;
}

static bool ends_with(const char *text, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len > n && memcmp(text + len - n, end, n) == 0;
}

void owned_unit_provider(const char *text, enum provider_type *out, bool *elsewhere)
{
    static const char flag[] = "--secrets-encryption-provider", config[] = "--config";
    static const char around[] = " '\"=", end[] = " '\";\n";
    for (const char *at = text; (at = strstr(at, flag));) {
        at += strlen(flag);
        at += strspn(at, around);
        *out = type_of(at, strcspn(at, end));
    }
    *elsewhere = strstr(text, " -c ") || strstr(text, "_CONFIG_FILE=");
    for (const char *at = text; (at = strstr(at, config));) {
        at += strlen(config);
        *elsewhere = *elsewhere || (*at && strchr(around, *at));
    }
}

/* The settings, then those of the folder beside them in the order of their names, then the unit's
 * arguments: the last word counts. */
int owned_next_provider(struct owned_run *r, enum provider_type *out, bool *elsewhere,
                        struct error *err)
{
    static const char list[] = "as_root ls -A \"$1\"";
    static const char show[] = "systemctl show -p ExecStart -p Environment \"$1\"";
    struct buf unit CLEANUP(buf_free) = {0};
    const char *of_unit[] = {r->kind->unit, NULL};
    const struct host *h = owned_host(&r->s->members[r->leader].node);
    struct buf names CLEANUP(buf_free) = {0};
    char *folder CLEANUP(cleanup_mem) = mem_printf("%s.d", r->kind->settings);
    const char *args[] = {folder, NULL};
    bool there = false;
    *out = PROVIDER_IDENTITY;
    if (read_settings(r, r->kind->settings, out, err) < 0 ||
        host_file_is(h, "-d", folder, &there, err) < 0 ||
        (there && host_do(h, "listing the server's settings", list, args, NULL, &names, err) < 0))
        return -1;
    for (const char *at = buf_str(&names); *at;) {
        size_t len = strcspn(at, "\n");
        char *path CLEANUP(cleanup_mem) = mem_printf("%s/%.*s", folder, (int)len, at);
        if ((ends_with(at, len, ".yaml") || ends_with(at, len, ".yml")) &&
            read_settings(r, path, out, err) < 0)
            return -1;
        at += len + (at[len] == '\n');
    }
    if (host_do(h, "asking systemd how the server is started", show, of_unit, NULL, &unit, err) < 0)
        return -1;
    owned_unit_provider(buf_str(&unit), out, elsewhere);
    return 0;
}

/* --- what the user may do --- */

int owned_check_may(struct owned_run *r, bool at_once, bool snapshot, struct error *err)
{
    static const char script[] =
        "for dir in /usr/local/bin /usr/bin /opt/rke2/bin; do\n"
        "  [ ! -x \"$dir/$1\" ] || { printf %s \"$dir/$1\"; exit 0; }\n"
        "done\n"
        "echo \"no program $1 in /usr/local/bin, /usr/bin, /opt/rke2/bin\" >&2\n"
        "exit 90";
    static const char *const commands[] = {
        "secrets-encrypt prepare", "secrets-encrypt rotate",  "secrets-encrypt reencrypt",
        "secrets-encrypt enable",  "secrets-encrypt disable",
    };
    enum { MORE = 4 };
    const char *args[] = {r->kind->program, NULL};
    for (size_t i = 0; i < r->s->count; i++) {
        const struct host *h = owned_host(&r->s->members[i].node);
        struct buf program CLEANUP(buf_free) = {0};
        char *text[ARRAY_LEN(commands) + MORE];
        const char *list[ARRAY_LEN(commands) + MORE + 1] = {NULL};
        size_t n = 0;
        if (host_do(h, "looking for its program", script, args, NULL, &program, err) < 0)
            return -1;
        for (; n < ARRAY_LEN(commands); n++)
            text[n] = mem_printf("%s %s", buf_str(&program), commands[n]);
        if (at_once)
            text[n++] = mem_printf("%s secrets-encrypt rotate-keys", buf_str(&program));
        if (snapshot)
            text[n++] = mem_printf("%s etcd-snapshot save", buf_str(&program));
        text[n++] = mem_printf("systemctl restart --no-block %s", r->kind->unit);
        text[n++] = mem_printf("journalctl -u %s -n 500 --no-pager -o short", r->kind->unit);
        for (size_t k = 0; k < n; k++)
            list[k] = text[k];
        int rc = host_check_may(h, list, err);
        for (size_t k = 0; k < n; k++)
            mem_free(text[k]);
        if (rc < 0)
            return -1;
    }
    return 0;
}
