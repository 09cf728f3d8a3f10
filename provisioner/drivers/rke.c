#include "provisioner/drivers/rke.h"

#include "provisioner/docker/files.h"
#include "provisioner/docker/settings.h"
#include "state/cluster_yml.h"

#include <string.h>

static const struct rke *rke_of(const struct node *n)
{
    return n->driver_data;
}

int rke_open_server(struct node *n, struct http_server *server, struct error *err)
{
    struct rke *r = mem_alloc(1, sizeof(*r));
    r->docker = *server;
    *server = (struct http_server){0};
    n->driver_data = r;
    if (docker_negotiate(&r->docker, err) == 0)
        return 0;
    driver_rke.close(n);
    return -1;
}

static int rke_open(struct node *n, struct error *err)
{
    const char *path = n->conf->docker_socket;
    const char *socket = NULL;
    if (ssh_forward_unix(n->ssh, path, &socket, err) < 0)
        return error_wrap(err, "%s: forwarding to the Docker socket %s", n->name, path);
    struct http_server s = {
        .loop = n->loop,
        .what = mem_printf("Docker on %s", n->name),
        .url = mem_strdup("http://docker"),
        .socket = mem_strdup(socket),
        .explain = ssh_explain,
        .way = n->ssh,
    };
    if (rke_open_server(n, &s, err) == 0)
        return 0;
    const char *why = ssh_last_channel_error(n->ssh);
    if (!why)
        return -1;
    error_wrap(err, "the Docker socket %s", path);
    error_next(err, "on the node: the user must be able to use the socket (group docker), Docker "
                    "must run, and sshd must allow AllowStreamLocalForwarding; docker_socket in "
                    "cluster.yml names another socket");
    return -1;
}

static void rke_close(struct node *n)
{
    struct rke *r = n->driver_data;
    if (!r)
        return;
    http_server_free(&r->docker);
    mem_free(r->folder);
    mem_free(r);
    n->driver_data = NULL;
}

static const json_t *listed(const json_t *list, const char *name)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach (list, i, item) {
        size_t k = 0;
        const json_t *one = NULL;
        json_array_foreach (json_object_get(item, "Names"), k, one) {
            const char *s = json_string_value(one);
            /* (A name with a second slash is a link's.) */
            if (s && s[0] == '/' && str_eq(s + 1, name))
                return item;
        }
    }
    return NULL;
}

static int inspect_listed(const struct rke *r, const json_t *list, const char *name, json_t **out,
                          struct error *err)
{
    const char *id = json_string_value(json_object_get(listed(list, name), "Id"));
    return id ? docker_inspect(&r->docker, id, out, err) : 0;
}

int rke_look(const struct rke *r, struct rke_view *v, struct error *err)
{
    *v = (struct rke_view){0};
    if (docker_list(&r->docker, RKE_CURRENT "|" DOCKER_HELPER_PREFIX, &v->list, err) < 0 ||
        inspect_listed(r, v->list, RKE_CURRENT, &v->current, err) < 0 ||
        inspect_listed(r, v->list, RKE_NEW, &v->fresh, err) < 0 ||
        inspect_listed(r, v->list, RKE_OLD, &v->old, err) < 0 ||
        inspect_listed(r, v->list, RKE_RECORD, &v->record, err) < 0)
        return error_wrap(err, "looking for the container " RKE_CURRENT);
    return 0;
}

void rke_view_free(struct rke_view *v)
{
    json_decref(v->current);
    json_decref(v->fresh);
    json_decref(v->old);
    json_decref(v->record);
    json_decref(v->list);
    *v = (struct rke_view){0};
}

static bool has_helper(const json_t *list)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach (list, i, item) {
        const char *name = json_string_value(json_array_get(json_object_get(item, "Names"), 0));
        if (name && str_starts(name, "/" DOCKER_HELPER_PREFIX))
            return true;
    }
    return false;
}

/* Path and Args are the command as it really runs, whatever of it was Entrypoint, Cmd or the
 * image's. The flags begin at the first that looks like one. */
static char **flags_of(const json_t *inspected)
{
    const json_t *args = json_object_get(inspected, "Args");
    char **out = mem_alloc(json_array_size(args) + 1, sizeof(*out));
    size_t count = 0;
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach (args, i, item) {
        const char *s = json_string_value(item);
        if (s && (count > 0 || str_starts(s, "--")))
            out[count++] = mem_strdup(s);
    }
    return out;
}

void rke_apiserver(const json_t *inspected, struct apiserver *out)
{
    const json_t *state = json_object_get(inspected, "State");
    out->exists = true;
    /* One that the daemon keeps restarting is said to be running too. */
    out->running = json_is_true(json_object_get(state, "Running")) &&
                   !json_is_true(json_object_get(state, "Restarting"));
    out->restarts = (long)json_integer_value(json_object_get(inspected, "RestartCount"));
    const char *id = json_string_value(json_object_get(inspected, "Id"));
    const char *since = json_string_value(json_object_get(state, "StartedAt"));
    if (out->running)
        out->process = mem_printf("%s %s %lld", id ? id : "", since ? since : "",
                                  (long long)json_integer_value(json_object_get(state, "Pid")));
    if (out->running && since)
        out->since = mem_printf("%.*sZ", (int)strcspn(since, ".Z"), since);
    apiserver_set_args(out, flags_of(inspected));
}

/*
 * A run that was killed between the two renames left no container of the right name, but the one
 * that was stopped (and the new one): there is an apiserver then, which doesn't run, with the flags
 * that it last ran with; start() and go_back() go on from there. A new one alone is none: whoever
 * removed the others means it.
 */
static int rke_observe(struct node *n, struct apiserver *out, struct error *err)
{
    const struct rke *r = rke_of(n);
    struct rke_view v CLEANUP(rke_view_free) = {0};
    if (rke_look(r, &v, err) < 0)
        return -1;
    if (has_helper(v.list)) {
        /* A killed run's helper may be about to put the file in its place. The process is looked at
         * after that, and the file is read after the process. */
        if (docker_helpers_wait(&r->docker, v.list, err) < 0)
            return -1;
        rke_view_free(&v);
        if (rke_look(r, &v, err) < 0)
            return -1;
    }
    *out = (struct apiserver){0};
    const json_t *it = v.current ? v.current : v.old;
    if (it)
        rke_apiserver(it, out);
    if (it && !v.current) {
        out->running = false;
        mem_free(STEAL(out->process));
        mem_free(STEAL(out->since));
    }
    out->unsettled = v.fresh || v.old || v.record || has_helper(v.list);
    return 0;
}

bool rke_never_started(const json_t *inspected)
{
    return str_eq(json_string_value(json_object_get(json_object_get(inspected, "State"), "Status")),
                  "created");
}

/* NULL without an error: there is none. */
static int find_base(const struct rke *r, json_t **out, struct error *err)
{
    json_auto_t *current = NULL;
    if (docker_inspect(&r->docker, RKE_CURRENT, &current, err) < 0)
        return -1;
    *out = NULL;
    if ((!current || rke_never_started(current)) &&
        docker_inspect(&r->docker, RKE_OLD, out, err) < 0)
        return -1;
    if (!*out)
        *out = STEAL(current);
    return *out ? 0 : docker_inspect(&r->docker, RKE_NEW, out, err);
}

/* The image that the apiserver will be of: it is likely there, and has a shell. */
static const char *apiserver_image(const struct node *n)
{
    const struct yaml *y =
        n->cluster ? yaml_path(n->cluster->document, "system_images", "kubernetes", NULL) : NULL;
    return y && y->kind == YAML_KIND_SCALAR ? y->scalar : NULL;
}

int rke_base_open(struct node *n, enum bare_use use, struct rke_base *out, struct error *err)
{
    const struct rke *r = rke_of(n);
    const char *host = NULL;
    *out = (struct rke_base){.r = r};
    if (find_base(r, &out->it, err) < 0)
        return -1;
    if (out->it)
        return 0;
    out->bare = true;
    if (rke_kubernetes_folder(n, &host, err) < 0)
        return -1;
    return docker_bare_open(&r->docker, apiserver_image(n), host, RKE_FOLDER, use, &out->it, err);
}

void rke_base_close(struct rke_base *b)
{
    if (b->bare)
        docker_bare_close(&b->r->docker, b->it);
    else
        json_decref(b->it);
    *b = (struct rke_base){0};
}

static int rke_read_file(struct node *n, const char *path, struct buf *out, bool *missing,
                         struct error *err)
{
    const struct rke *r = rke_of(n);
    struct rke_base b CLEANUP(rke_base_close) = {0};
    if (rke_base_open(n, BARE_READ, &b, err) < 0)
        return -1;
    if (!b.it && !missing)
        return error_set(err, RESULT_FAILED, "%s: %s: there is no such file", r->docker.what, path);
    if (!b.it) {
        *missing = true;
        return 0;
    }
    const char *id = json_string_value(json_object_get(b.it, "Id"));
    return docker_file_read(&r->docker, id, path, out, missing, err);
}

/* RKE puts its own file anew at each `up`, the same as it was, and restarts nothing then: its time
 * tells nothing. */
static int rke_changed_at(struct node *n, const char *path, long long *out, struct error *err)
{
    *out = 0;
    if (str_eq(path, driver_rke.default_config_path))
        return 0;
    return docker_file_changed_at(&rke_of(n)->docker, RKE_CURRENT, path, out, err);
}

/* In a container beside kube-apiserver's, with its volumes: the group docker is enough for it. */
static char *rke_shell(const char *script, bool input)
{
    return mem_printf(
        "image=$(docker inspect -f \"{{.Image}}\" kube-apiserver); docker run --rm%s --user 0 "
        "--network none --security-opt label=disable --volumes-from kube-apiserver --entrypoint sh "
        "\"$image\" -ec %s",
        input ? " -i" : "", script);
}

static int rke_check_place(struct node *n, const char *path, struct error *err)
{
    struct rke_base b CLEANUP(rke_base_close) = {0};
    if (rke_base_open(n, BARE_DESCRIBE, &b, err) < 0)
        return -1;
    char *bind CLEANUP(cleanup_mem) = settings_bind_for(b.it, path, err);
    if (bind)
        return 0;
    error_next(err,
               "mount the folder of %s from the node into the container (extra_binds of kube-api; "
               "the folder, not the file: a mounted file can't be replaced)",
               path);
    return -1;
}

/* For writing: with the folder of `path` there. */
static int open_place(struct node *n, const char *path, struct rke_base *out, struct error *err)
{
    if (rke_base_open(n, BARE_WRITE, out, err) < 0)
        return -1;
    return out->bare ? docker_folder_make(&out->r->docker, out->it, path, err) : 0;
}

static int rke_put_file(struct node *n, const struct node_text *file,
                        const struct node_text *beside, struct error *err)
{
    struct rke_base b CLEANUP(rke_base_close) = {0};
    if (open_place(n, file->path, &b, err) < 0)
        return -1;
    return docker_file_put(&b.r->docker, b.it, file, beside, err);
}

static int rke_claim_file(struct node *n, const struct node_text *file, bool *claimed,
                          struct error *err)
{
    struct rke_base b CLEANUP(rke_base_close) = {0};
    if (open_place(n, file->path, &b, err) < 0)
        return -1;
    return docker_file_claim(&b.r->docker, b.it, file, claimed, err);
}

static int rke_remove_file(struct node *n, const char *path, struct error *err)
{
    struct rke_base b CLEANUP(rke_base_close) = {0};
    if (open_place(n, path, &b, err) < 0)
        return -1;
    return docker_file_remove(&b.r->docker, b.it, path, err);
}

static int rke_log_tail(struct node *n, size_t lines, struct buf *out, struct error *err)
{
    const struct rke *r = rke_of(n);
    json_auto_t *it = NULL;
    /* (One that never started has none, and what the one before it said is not its own.) */
    if (docker_inspect(&r->docker, RKE_CURRENT, &it, err) < 0 ||
        (!it && find_base(r, &it, err) < 0))
        return -1;
    if (!it)
        return error_set(err, RESULT_REFUSED, "%s: there is no container " RKE_CURRENT,
                         r->docker.what);
    const char *id = json_string_value(json_object_get(it, "Id"));
    bool tty = json_is_true(json_object_get(json_object_get(it, "Config"), "Tty"));
    struct buf log CLEANUP(buf_free) = {0};
    if (docker_logs(&r->docker, id, tty, lines, &log, err) < 0)
        return error_wrap(err, "reading the log of " RKE_CURRENT);
    log_add_safe_lines(out, buf_str(&log), log.len);
    return 0;
}

const struct driver driver_rke = {
    .kind = "rke",
    .words = {.apiserver = "the container kube-apiserver",
              .logs = "docker logs --tail 50 kube-apiserver",
              .start = "docker start kube-apiserver",
              .restart = "docker restart kube-apiserver",
              .restart_checked =
                  "was=$(docker inspect -f \"{{.State.StartedAt}}\" kube-apiserver)\n"
                  "docker restart kube-apiserver >/dev/null\n"
                  "[ \"$was\" != \"$(docker inspect -f \"{{.State.StartedAt}}\" "
                  "kube-apiserver)\" ]",
              .take_away = "docker rm -f kube-apiserver",
              .left_over = "docker ps -a --filter name=encrypt-",
              .left_over_means =
                  "they are stopped and do nothing; the next change (a rotation, say) removes them",
              .left_over_is = "containers of an interrupted change lie there (their names begin "
                              "with encrypt-)",
              .keep_off = "`rke`",
              .user = true},
    .needs_state = true,
    .drops_reload = true,
    .mounts = true,
    .shell = rke_shell,
    .open = rke_open,
    .close = rke_close,
    .observe = rke_observe,
    .read_file = rke_read_file,
    .changed_at = rke_changed_at,
    .default_config_path = RKE_FOLDER "/ssl/encryption.yaml",
    .check_place = rke_check_place,
    .put_file = rke_put_file,
    .remove_file = rke_remove_file,
    .claim_file = rke_claim_file,
    .start_with = rke_start_with,
    .start = rke_start,
    .settle = rke_settle,
    .go_back = rke_go_back,
    .find_socket = rke_find_socket,
    .look_for_socket = rke_look_for_socket,
    .log_tail = rke_log_tail,
};
