#include "provisioner/drivers/openshift3.h"

#include "templates/encryption_config.h"
#include "templates/master_config.h"

#include <stdlib.h>
#include <string.h>

/* By their priority; {api, controllers}. */
static const char *const units[][2] = {
    {"origin-master-api.service", "origin-master-controllers.service"},
    {"atomic-openshift-master-api.service", "atomic-openshift-master-controllers.service"},
    {"origin-master.service", NULL},
    {"atomic-openshift-master.service", NULL},
};

static struct openshift3 *of(const struct node *n)
{
    return n->driver_data;
}

/* Prints the number of the first unit that is loaded and not just lying there, else "pods", else
 * the first that is loaded. From 3.10 on the units of before may still be there, switched off.
 * (master-restart is 0500: whether it can be run is root's to say.) */
static const char find_script[] =
    "first=\n"
    "number=0\n"
    "for unit; do\n"
    "  state=$(systemctl show -p LoadState -p ActiveState \"$unit\" 2>/dev/null)\n"
    "  case $state in\n"
    "  *LoadState=loaded*)\n"
    "    case $state in *ActiveState=inactive*) ;; *) echo $number; exit 0 ;; esac\n"
    "    [ -n \"$first\" ] || first=$number ;;\n"
    "  esac\n"
    "  number=$((number + 1))\n"
    "done\n"
    "if [ -e " OPENSHIFT_RESTART " ]; then echo pods\n"
    "else echo $first; fi";

static int find_master(struct openshift3 *o, struct error *err)
{
    const char *args[ARRAY_LEN(units) + 1] = {NULL};
    struct buf found CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        args[i] = units[i][0];
    if (host_do(&o->host, "looking for OpenShift's master API", find_script, args, NULL, &found,
                err) < 0)
        return -1;
    const char *text = buf_str(&found);
    o->pods = str_starts(text, "pods");
    size_t number = (size_t)(text[0] - '0');
    if (number < ARRAY_LEN(units)) {
        o->api = units[number][0];
        o->controllers = units[number][1];
    }
    return 0;
}

static int openshift3_open(struct node *n, struct error *err)
{
    struct openshift3 *o = mem_alloc(1, sizeof(*o));
    n->driver_data = o;
    if (host_open(n, &o->host, err) == 0 && find_master(o, err) == 0)
        return 0;
    driver_openshift3.close(n);
    return -1;
}

static void openshift3_close(struct node *n)
{
    struct openshift3 *o = of(n);
    if (!o)
        return;
    mem_free(o->said);
    mem_free(o->last);
    mem_free(o);
    n->driver_data = NULL;
}

/* --- looking --- */

void openshift3_view_free(struct openshift3_view *v)
{
    buf_free(&v->text);
    kept_free(&v->kept);
    openshift3_part_free(&v->api);
    *v = (struct openshift3_view){0};
}

static const char *property(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = text; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, name, len) == 0 && at[len] == '=')
            return at + len + 1;
    }
    return "";
}

/* $1: the unit, empty for none. */
static const char look_script[] =
    "if [ -n \"$1\" ]; then\n"
    "  systemctl show -p LoadState -p ActiveState -p SubState -p MainPID -p NRestarts \"$1\" || "
    "exit 1\n"
    "fi\n"
    "as_root test ! -e " OPENSHIFT_CONFIG " && exit 0\n"
    "printf Changed=\n"
    "as_root stat -c %Z " OPENSHIFT_CONFIG;

/* Among the programs of that name: the oldest, which is the one that is to end where another comes
 * already. `part`: "api" or "controllers". */
static int find_in_pod(const struct host *h, const char *part, struct host_process *out,
                       bool *found, struct error *err)
{
    struct host_process *list = NULL;
    size_t count = 0;
    *found = false;
    if (host_processes(h, "openshift", &list, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count && !*found; i++) {
        char **args = list[i].args;
        if (!args[0] || !str_eq(args[1], "start") || !str_eq(args[2], "master") ||
            !str_eq(args[3], part))
            continue;
        *found = true;
        *out = list[i];
        list[i] = (struct host_process){0};
    }
    host_processes_free(list, count);
    return 0;
}

void openshift3_part_free(struct openshift3_part *p)
{
    host_process_free(&p->process);
    *p = (struct openshift3_part){0};
}

int openshift3_look_at(const struct openshift3 *o, bool controllers, struct openshift3_part *p,
                       struct error *err)
{
    struct buf state CLEANUP(buf_free) = {0};
    const char *unit = controllers ? o->controllers : o->api;
    const char *args[] = {unit ? unit : "", NULL};
    if (host_do(&o->host, "asking for the state of the OpenShift master", look_script, args, NULL,
                &state, err) < 0)
        return -1;
    const char *text = buf_str(&state);
    const char *restarts = property(text, "NRestarts");
    p->restarts = *restarts ? strtol(restarts, NULL, 10) : -1;
    p->changed_at = strtol(property(text, "Changed"), NULL, 10);
    p->loaded = o->pods || str_starts(property(text, "LoadState"), "loaded");
    p->failed = str_starts(property(text, "ActiveState"), "failed");
    p->active = o->pods || str_starts(property(text, "ActiveState"), "active");
    p->waiting = str_starts(property(text, "SubState"), "auto-restart");
    p->coming = str_starts(property(text, "ActiveState"), "activating") ||
                str_starts(property(text, "ActiveState"), "deactivating");
    if (o->pods)
        return find_in_pod(&o->host, controllers ? "controllers" : "api", &p->process, &p->running,
                           err);
    long pid = strtol(property(text, "MainPID"), NULL, 10);
    return pid > 0 ? host_process_of(&o->host, pid, &p->process, &p->running, err) : 0;
}

int openshift3_look(struct node *n, struct openshift3_view *v, struct error *err)
{
    const struct openshift3 *o = of(n);
    struct buf kept CLEANUP(buf_free) = {0};
    bool no_config = false, no_copy = false;
    if (openshift3_look_at(o, false, &v->api, err) < 0 ||
        (v->api.running && openshift3_check_process(n, &v->api.process, err) < 0) ||
        host_file_read(&o->host, OPENSHIFT_CONFIG, &v->text, &no_config, err) < 0 ||
        host_file_read(&o->host, OPENSHIFT_KEPT, &kept, &no_copy, err) < 0)
        return -1;
    v->there = !no_config && (o->api || o->pods);
    return no_copy ? 0 : kept_parse(&kept, &v->kept, err);
}

int openshift3_check_process(const struct node *n, const struct host_process *p, struct error *err)
{
    const char *path = NULL;
    for (size_t i = 0; p->args && p->args[i]; i++) {
        if (str_starts(p->args[i], "--config="))
            path = p->args[i] + strlen("--config=");
        else if (str_eq(p->args[i], "--config") && p->args[i + 1])
            path = p->args[i + 1];
    }
    if (!path || path[0] != '/' || str_eq(path, OPENSHIFT_CONFIG))
        return 0;
    error_set(err, RESULT_REFUSED,
              "node %s: its master API reads %s, and not " OPENSHIFT_CONFIG
              ", which is all that encrypt edits",
              n->name, path);
    error_next(err, "on the node: let the master be started with --config=" OPENSHIFT_CONFIG
                    " (move the file there, and name it in /etc/sysconfig), then run the same "
                    "command again");
    return -1;
}

static bool same_text(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && memcmp(buf_str(a), buf_str(b), a->len) == 0;
}

const struct buf *openshift3_read_text(const struct openshift3_view *v)
{
    if (!v->api.running)
        return NULL;
    if (!v->kept.there)
        return &v->text;
    if (str_eq(v->api.process.identity, v->kept.process))
        return &v->kept.text;
    return v->kept.changing ? NULL : &v->text;
}

int openshift3_flag(const struct node *n, const struct buf *text, char **out, struct error *err)
{
    struct apiserver a CLEANUP(apiserver_free) = {0};
    char **flags = NULL;
    if (master_config_flags(buf_str(text), text->len, OPENSHIFT_CONFIG, &flags, err) < 0)
        return error_wrap(err, "node %s", n->name);
    apiserver_set_args(&a, flags);
    *out = STEAL(a.config_path);
    return 0;
}

/* What stands there by now is not what it has read, as far as the node's clock tells. */
static char *doubt_of(const struct openshift3_view *v)
{
    char *changed CLEANUP(cleanup_mem) = NULL;
    if ((v->kept.there && str_eq(v->api.process.identity, v->kept.process)) ||
        !changed_after_start(v->api.changed_at, v->api.process.since, &changed))
        return NULL;
    return mem_printf(OPENSHIFT_CONFIG " was changed (at %s) after the master API had started (at "
                                       "%s), so what that runs with isn't known",
                      changed, v->api.process.since);
}

/* By systemd's own count where it has one; else by the processes that were seen. */
static long count_restarts(struct openshift3 *o, const struct openshift3_view *v)
{
    if (v->api.running && !str_eq(o->last, v->api.process.identity)) {
        o->restarts += o->last != NULL;
        mem_free(o->last);
        o->last = mem_strdup(v->api.process.identity);
    }
    return v->api.restarts >= 0 ? v->api.restarts : o->restarts;
}

static int openshift3_observe(struct node *n, struct apiserver *out, struct error *err)
{
    struct openshift3_view v CLEANUP(openshift3_view_free) = {0};
    char **flags = NULL;
    *out = (struct apiserver){0};
    if (openshift3_look(n, &v, err) < 0)
        return -1;
    out->unsettled = v.kept.there;
    if (!v.there)
        return 0;
    const struct buf *text = openshift3_read_text(&v);
    const struct buf *tells = text ? text : &v.text;
    if (master_config_flags(buf_str(tells), tells->len, OPENSHIFT_CONFIG, &flags, err) < 0)
        return -1;
    apiserver_set_args(out, flags);
    out->exists = true;
    out->running = text != NULL;
    out->gave_up = !v.api.running && v.api.failed;
    out->restarts = count_restarts(of(n), &v);
    if (!text)
        return 0;
    /* A copy of what lies there, and runs: evidence, no left-over. */
    if (text == &v.kept.text && same_text(text, &v.text))
        out->unsettled = false;
    out->doubt = doubt_of(&v);
    /* (What it has read isn't known: the flags are those of the next start.) */
    out->doubt_next = out->doubt ? mem_strdup(out->config_path) : NULL;
    out->process = STEAL(v.api.process.identity);
    out->since = STEAL(v.api.process.since);
    return 0;
}

/* --- files --- */

static int openshift3_read_file(struct node *n, const char *path, struct buf *out, bool *missing,
                                struct error *err)
{
    return host_file_read(&of(n)->host, path, out, missing, err);
}

static int openshift3_changed_at(struct node *n, const char *path, long long *out,
                                 struct error *err)
{
    return host_file_changed_at(&of(n)->host, path, out, err);
}

/* The folders that the static pod has of its node. */
static bool pod_has(const char *path)
{
    static const char *const folders[] = {"/etc/origin/master/", "/etc/origin/cloudprovider/",
                                          "/var/lib/origin/"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        if (str_starts(path, folders[i]) && !strstr(path, "/../"))
            return true;
    }
    return false;
}

/* The edit is tried in memory: what can't be written in its place is to be known beforehand. */
static int check_edit(struct node *n, const char *config_path, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct buf out CLEANUP(buf_free) = {0};
    bool missing = false, changed = false, link = false;
    if (host_file_is(&of(n)->host, "-L", OPENSHIFT_CONFIG, &link, err) < 0 ||
        host_file_read(&of(n)->host, OPENSHIFT_CONFIG, &text, &missing, err) < 0)
        return -1;
    if (link) {
        error_set(err, RESULT_REFUSED,
                  "node %s: " OPENSHIFT_CONFIG " is a symbolic link: the edit would replace it",
                  n->name);
        error_next(err, "put the file itself there on the node, and restart the master; then run "
                        "the same command again");
        return -1;
    }
    if (missing || master_config_edit(buf_str(&text), text.len, OPENSHIFT_CONFIG, config_path, &out,
                                      &changed, err) == 0)
        return 0;
    return error_wrap(err, "node %s", n->name);
}

static int openshift3_check_start(struct node *n, const struct apiserver_want *want,
                                  struct error *err)
{
    return check_edit(n, want->config_path, err);
}

/* What openshift3_start.c runs as root. */
static int check_may_restart(const struct openshift3 *o, struct error *err)
{
    char *text[] = {
        o->pods  ? mem_strdup(OPENSHIFT_RESTART " api")
        : o->api ? mem_printf("systemctl restart --no-block %s", o->api)
                 : NULL, /* not installed yet: before its first start */
        o->pods          ? mem_strdup(OPENSHIFT_RESTART " controllers")
        : o->controllers ? mem_printf("systemctl restart --no-block %s", o->controllers)
                         : NULL,
    };
    const char *commands[ARRAY_LEN(text) + 1] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        commands[i] = text[i];
    /* Before there is a configuration there is nothing to change. */
    bool there = false;
    int rc = host_file_is(&o->host, "-e", OPENSHIFT_CONFIG, &there, err);
    if (rc == 0 && there)
        rc = host_check_may_replace(&o->host, OPENSHIFT_CONFIG, true, err);
    if (rc == 0)
        rc = host_check_may(&o->host, commands, err);
    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        mem_free(text[i]);
    return rc;
}

static int openshift3_check_place(struct node *n, const char *path, struct error *err)
{
    const struct openshift3 *o = of(n);
    if (path[0] != '/') {
        error_set(err, RESULT_REFUSED, "the path %s in " OPENSHIFT_CONFIG " is not absolute", path);
        error_next(err, "name it with its folder there, restart the master, then run the same "
                        "command again");
        return -1;
    }
    if (o->pods && !pod_has(path)) {
        error_set(err, RESULT_REFUSED,
                  "%s is not in a folder that the master API's pod has of its node", path);
        error_next(err, "let " OPENSHIFT_CONFIG " name a file in " OPENSHIFT_FOLDER
                        ", with the same contents, and restart the master; then run the same "
                        "command again");
        return -1;
    }
    char *stamp CLEANUP(cleanup_mem) = mem_printf("%s.encrypt", path);
    if (check_edit(n, path, err) < 0)
        return -1;
    if (host_check_may_put(&o->host, path, err) < 0 ||
        host_check_may_put(&o->host, stamp, err) < 0 ||
        host_check_may_put(&o->host, OPENSHIFT_KEPT, err) < 0)
        return -1;
    return check_may_restart(o, err);
}

static int openshift3_rehearse(struct node *n, const char *path, struct error *err)
{
    return host_file_rehearse(&of(n)->host, path, err);
}

static int openshift3_put_file(struct node *n, const struct node_text *file,
                               const struct node_text *beside, struct error *err)
{
    return host_file_put(&of(n)->host, file, beside, err);
}

static int openshift3_remove_file(struct node *n, const char *path, struct error *err)
{
    return host_file_remove(&of(n)->host, path, err);
}

static int openshift3_claim_file(struct node *n, const struct node_text *file, bool *claimed,
                                 struct error *err)
{
    return host_file_claim(&of(n)->host, file, claimed, err);
}

static int openshift3_start_with(struct node *n, const struct apiserver_want *want, char ***flags,
                                 char ***mounts, struct error *err)
{
    (void)n;
    (void)err;
    *flags = mem_alloc(2, sizeof(**flags));
    *mounts = mem_alloc(1, sizeof(**mounts));
    if (want->config_path)
        (*flags)[0] = mem_printf("--" MASTER_CONFIG_FLAG "=%s", want->config_path);
    return 0;
}

/* --- sockets: the master API sees the node's own files --- */

static int openshift3_find_socket(struct node *n, const char *path, char *const *binds,
                                  struct node_socket *out, struct error *err)
{
    (void)binds;
    if (path[0] == '@') {
        out->path = mem_strdup(path);
        return 0;
    }
    const char *slash = strrchr(path, '/');
    if (path[0] != '/' || !slash[1])
        return error_set(err, RESULT_REFUSED, "node %s: %s is no absolute path of a socket",
                         n->name, path);
    if (of(n)->pods && !pod_has(path)) {
        error_set(err, RESULT_REFUSED,
                  "node %s: %s is not in a folder that the master API's pod has of its node",
                  n->name, path);
        error_next(err, "let the KMS plugin listen in " OPENSHIFT_FOLDER
                        " on the nodes, and name that socket");
        return -1;
    }
    char *folder CLEANUP(cleanup_mem) =
        slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
    out->path = mem_strdup(path);
    out->host_path = mem_strdup(path);
    out->mount_host = mem_strdup(folder);
    out->mount_container = mem_strdup(folder);
    return 0;
}

static int openshift3_look_for_socket(struct node *n, const struct node_socket *at,
                                      enum socket_there *out, struct error *err)
{
    return host_look_for_socket(&of(n)->host, at, out, err);
}

/* --- its log --- */

static int openshift3_log_tail(struct node *n, size_t lines, struct buf *out, struct error *err)
{
    /* The count is fixed, since sudoers names it; $1: the unit, $2: how many are asked for. */
    static const char unit_log[] =
        "as_root journalctl -u \"$1\" -n 50 --no-pager -o cat | tail -n \"$2\"";
    static const char pod_log[] =
        "as_root " OPENSHIFT_LOGS " api api --tail 50 2>&1 | tail -n \"$2\"";
    const struct openshift3 *o = of(n);
    struct buf text CLEANUP(buf_free) = {0};
    char *count CLEANUP(cleanup_mem) = mem_printf("%zu", lines);
    const char *args[] = {o->api ? o->api : "", count, NULL};
    if (!o->api && !o->pods)
        return error_set(err, RESULT_REFUSED, "node %s: there is no OpenShift master API", n->name);
    if (host_do(&o->host, "reading the log of the master API", o->pods ? pod_log : unit_log, args,
                NULL, &text, err) < 0)
        return -1;
    log_add_safe_lines(out, buf_str(&text), text.len);
    return 0;
}

/* Units have another name in the product than in Origin, and one of their own where the master is
 * one process; what lies there switched off is none of this master's. The API first. */
#define API_UNITS                                                                                  \
    "origin-master-api atomic-openshift-master-api origin-master atomic-openshift-master"
#define UNITS API_UNITS " origin-master-controllers atomic-openshift-master-controllers"
#define EACH(list, command)                                                                        \
    "for u in " list "; do if systemctl -q is-enabled $u 2>/dev/null; then " command " $u; fi; "   \
    "done"
#define API_PIDS "$(" EACH(API_UNITS, "systemctl show -p MainPID") ")"

/* From 3.10 on there are no units of the master, but static pods. */
#define PODS "if [ -e " OPENSHIFT_RESTART " ]; then "
#define RESTART_PODS OPENSHIFT_RESTART " api && " OPENSHIFT_RESTART " controllers"

const struct driver driver_openshift3 = {
    .kind = "openshift3",
    .words = {.apiserver = "OpenShift's master API (the unit origin-master-api)",
              .logs = PODS OPENSHIFT_LOGS " api api --tail 50; "
                                          "else " EACH(API_UNITS, "journalctl -n 50 -u") "; fi",
              .start = PODS "systemctl start \"*-node.service\"; "
                            "else " EACH(UNITS, "systemctl start") "; fi",
              .flags = "kubernetesMasterConfig.apiServerArguments of " OPENSHIFT_CONFIG
                       " (a list of one path)",
              .restart = PODS RESTART_PODS "; else " EACH(UNITS, "systemctl restart") "; fi",
              .restart_checked = PODS RESTART_PODS "\nelse was=" API_PIDS "\n" EACH(
                  UNITS, "systemctl restart") "\n[ \"$was\" != \"" API_PIDS "\" ]\nfi",
              .take_away =
                  PODS "mv /etc/origin/node/pods/apiserver.yaml "
                       "/etc/origin/node/pods/controller.yaml /root/; "
                       "else " EACH(UNITS, "systemctl stop") "; fi; mv " OPENSHIFT_CONFIG " /root/",
              .left_over = "head -n 1 " OPENSHIFT_KEPT,
              .left_over_is = "a copy of master-config.yaml as it was before an interrupted change "
                              "is kept there (" OPENSHIFT_KEPT ")",
              .left_over_means =
                  "it tells what the process has read: don't remove it, and restart no master "
                  "before the next change (a rotation, say), which removes it",
              .keep_off = "openshift-ansible's playbooks"},
    .admin_kubeconfig = OPENSHIFT_FOLDER "/admin.kubeconfig",
    .old_format = true,
    .default_config_path = OPENSHIFT_FOLDER "/encryption-config.yaml",
    .open = openshift3_open,
    .close = openshift3_close,
    .observe = openshift3_observe,
    .read_file = openshift3_read_file,
    .changed_at = openshift3_changed_at,
    .read_node_file = openshift3_read_file,
    .check_place = openshift3_check_place,
    .check_start = openshift3_check_start,
    .rehearse = openshift3_rehearse,
    .put_file = openshift3_put_file,
    .remove_file = openshift3_remove_file,
    .claim_file = openshift3_claim_file,
    .start_with = openshift3_start_with,
    .start = openshift3_start,
    .settle = openshift3_settle,
    .go_back = openshift3_go_back,
    .find_socket = openshift3_find_socket,
    .look_for_socket = openshift3_look_for_socket,
    .log_tail = openshift3_log_tail,
};
