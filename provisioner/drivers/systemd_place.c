/* What the apiserver of a unit sees of the node: all of it, but for what the unit hides. */
#include "provisioner/drivers/systemd.h"

#include <string.h>

/* Properties that put the node's folders out of a unit's sight, where they are not empty or "no".
 */
struct hiding {
    const char *property;
    const char *const *folders; /* NULL: the property itself names them */
};
static const char *const everything[] = {"/", NULL};
static const char *const temporaries[] = {"/tmp", "/var/tmp", NULL};
static const char *const homes[] = {"/home", "/root", "/run/user", NULL};
static const struct hiding hidings[] = {
    {"RootDirectory", everything}, {"RootImage", everything},   {"PrivateTmp", temporaries},
    {"ProtectHome", homes},        {"InaccessiblePaths", NULL}, {"InaccessibleDirectories", NULL},
    {"TemporaryFileSystem", NULL}, {"BindPaths", NULL},         {"BindReadOnlyPaths", NULL},
};

static bool is_below(const char *path, const char *folder, size_t len)
{
    while (len > 1 && folder[len - 1] == '/')
        len--;
    if (len == 1 && folder[0] == '/')
        return path[0] == '/';
    return strncmp(path, folder, len) == 0 && (!path[len] || path[len] == '/');
}

/* "[-]/path[:options]" each, or "source:destination[:options]" where something is bound. */
static bool names(const char *value, bool bound, const char *path)
{
    while (*value) {
        size_t len = strcspn(value, " ");
        const char *at = value + (*value == '-' || *value == '+');
        const char *colon = memchr(at, ':', (size_t)(value + len - at));
        const char *folder = bound && colon ? colon + 1 : at;
        size_t n = strcspn(folder, ": ");
        if (n && is_below(path, folder, n))
            return true;
        value += len + (value[len] == ' ');
    }
    return false;
}

const char *systemd_what_hides(const struct host_unit *u, const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(hidings); i++) {
        const struct hiding *h = &hidings[i];
        const char *value = host_unit_get(u, h->property);
        if (!*value || str_eq(value, "no") || str_eq(value, "read-only"))
            continue;
        if (!h->folders && names(value, str_starts(h->property, "Bind"), path))
            return h->property;
        for (size_t k = 0; h->folders && h->folders[k]; k++) {
            if (is_below(path, h->folders[k], strlen(h->folders[k])))
                return h->property;
        }
    }
    return NULL;
}

static int check_sight(const struct systemd *s, const struct systemd_look *l, const char *path,
                       struct error *err)
{
    const char *hides = l->exists ? systemd_what_hides(&l->unit, path) : NULL;
    if (!hides)
        return 0;
    error_set(err, RESULT_REFUSED,
              "node %s: %s has %s=%s: it doesn't see what lies at %s on the node", s->host.name,
              s->unit, hides, host_unit_get(&l->unit, hides), path);
    error_next(err,
               "take %s= out of the unit, or name a path that it sees: "
               "--encryption-provider-config= among its own flags; restart it, then run the same "
               "command again",
               hides);
    return -1;
}

static int check_user(const struct systemd *s, const struct systemd_look *l, struct error *err)
{
    const char *user = l->exists ? host_unit_get(&l->unit, "User") : "";
    if (!*user || str_eq(user, "root") || str_eq(user, "0"))
        return 0;
    error_set(
        err, RESULT_REFUSED,
        "node %s: %s runs as the user %s (User=), who could not read the configuration: it is "
        "root's, with mode 0600",
        s->host.name, s->unit, user);
    error_next(err, "run kube-apiserver as root: take User= out of the unit, restart it, then run "
                    "the same command again");
    return -1;
}

/* A restart, and a drop-in of ours. */
static int check_may_change(const struct systemd *s, const struct systemd_look *l,
                            struct error *err)
{
    char *text[] = {
        mem_strdup("systemctl daemon-reload"),
        mem_printf("systemctl reset-failed %s", s->unit),
        mem_printf("systemctl restart --no-block %s", s->unit),
        mem_printf("rm -f %s", l->dropin),
    };
    const char *commands[ARRAY_LEN(text) + 1] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        commands[i] = text[i];
    int rc = host_check_may_replace(&s->host, l->dropin, false, err);
    if (rc == 0)
        rc = host_check_may(&s->host, commands, err);
    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        mem_free(text[i]);
    return rc;
}

int systemd_check_place(struct node *n, const char *path, struct error *err)
{
    const struct systemd *s = n->driver_data;
    struct systemd_look l CLEANUP(systemd_look_free) = {0};
    char *stamp CLEANUP(cleanup_mem) = mem_printf("%s.encrypt", path);
    if (systemd_look_at(n, &l, err) < 0 || check_sight(s, &l, path, err) < 0 ||
        check_user(s, &l, err) < 0 || host_check_may_put(&s->host, path, err) < 0 ||
        host_check_may_put(&s->host, stamp, err) < 0)
        return -1;
    if (!l.exists)
        return 0;
    return systemd_check_dropin(n, &l, path, err) < 0 ? -1 : check_may_change(s, &l, err);
}

int systemd_check_start(struct node *n, const struct apiserver_want *want, struct error *err)
{
    struct systemd_look l CLEANUP(systemd_look_free) = {0};
    if (systemd_look_at(n, &l, err) < 0)
        return -1;
    return l.exists ? systemd_check_dropin(n, &l, want->config_path, err) : 0;
}

int systemd_start_with(struct node *n, const struct apiserver_want *want, char ***flags,
                       char ***mounts, struct error *err)
{
    (void)err;
    struct systemd_look nothing = {0};
    *flags = mem_alloc(2, sizeof(**flags));
    *mounts = mem_alloc(1, sizeof(**mounts));
    if (want->config_path)
        (*flags)[0] = mem_printf("--%s=%s", systemd_flag_name(n, &nothing), want->config_path);
    return 0;
}

int systemd_find_socket(struct node *n, const char *path, char *const *binds,
                        struct node_socket *out, struct error *err)
{
    const struct systemd *s = n->driver_data;
    struct systemd_look l CLEANUP(systemd_look_free) = {0};
    (void)binds;
    if (systemd_look_at(n, &l, err) < 0)
        return -1;
    bool abstract = path[0] == '@';
    if (abstract && str_eq(host_unit_get(&l.unit, "PrivateNetwork"), "yes"))
        return error_set(err, RESULT_REFUSED,
                         "%s is a socket in the abstract namespace, and %s has a network of its "
                         "own (PrivateNetwork=): it can't reach it",
                         path, s->unit);
    if (!abstract && check_sight(s, &l, path, err) < 0)
        return -1;
    *out = (struct node_socket){.path = mem_strdup(path)};
    if (abstract)
        return 0;
    out->host_path = mem_strdup(path);
    out->mount_host = mem_strdup("/");
    out->mount_container = mem_strdup("/");
    return 0;
}

int systemd_look_for_socket(struct node *n, const struct node_socket *at, enum socket_there *out,
                            struct error *err)
{
    const struct systemd *s = n->driver_data;
    return host_look_for_socket(&s->host, at, out, err);
}
