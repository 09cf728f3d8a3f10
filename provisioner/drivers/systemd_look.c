/* The unit as its files and its process tell it. */
#include "provisioner/drivers/systemd.h"

#include "state/cluster_yml.h"
#include "templates/encryption_features.h"

#include <stdlib.h>
#include <string.h>

void systemd_look_free(struct systemd_look *l)
{
    host_unit_free(&l->unit);
    mem_free(l->dropin);
    buf_free(&l->own);
    mem_free(l->own_value);
    for (size_t i = 0; i < l->count; i++)
        buf_free(&l->texts[i]);
    mem_free(l->texts);
    unit_args_free(l->paths);
    mem_free(l->files);
    unit_service_free(&l->service);
    mem_free(l->program);
    apiserver_free(&l->says);
    apiserver_free(&l->runs);
    host_process_free(&l->process);
    *l = (struct systemd_look){0};
}

/* --- files --- */

enum text_is { TEXT_MISSING, TEXT_THERE, TEXT_UNKNOWN };

/*
 * Of each file "there", its bytes in hexadecimal, "end"; or "missing", or "unknown" where the user
 * may not read it. Units are everybody's to read; root is asked for those that are not.
 */
static const char read_script[] =
    "for file; do\n"
    "  if [ -r \"$file\" ]; then\n"
    "    echo there; od -An -v -tx1 \"$file\" || exit 1; echo end\n"
    "  elif [ -x \"${file%/*}\" ] && [ ! -e \"$file\" ]; then\n"
    "    echo missing\n"
    "  elif why=$(as_root cat \"$file\" 2>&1 >/dev/null); then\n"
    "    echo there; as_root cat \"$file\" | od -An -v -tx1 || exit 1; echo end\n"
    "  else\n"
    "    case $why in *'No such file'*) echo missing ;; *) echo unknown ;; esac\n"
    "  fi\n"
    "done";

static void add_hex(struct buf *out, const char *s, size_t len)
{
    const char *end = s + len;
    while (s < end) {
        char *after = NULL;
        char c = (char)strtoul(s, &after, 16);
        if (after == s || after > end)
            return;
        buf_add(out, &c, 1);
        s = after;
    }
}

/* texts, is: of each path (NULL-terminated). */
static int read_texts(const struct host *h, char *const *paths, struct buf *texts, enum text_is *is,
                      struct error *err)
{
    struct buf said CLEANUP(buf_free) = {0};
    size_t at = 0;
    bool inside = false;
    if (host_do(h, "reading the unit's files", read_script, (const char *const *)paths, NULL, &said,
                err) < 0)
        return -1;
    for (const char *p = buf_str(&said); *p && paths[at];) {
        size_t len = strcspn(p, "\n");
        char *line CLEANUP(cleanup_mem) = mem_strndup(p, len);
        if (!inside && str_eq(line, "there")) {
            inside = true;
        } else if (!inside) {
            is[at++] = str_eq(line, "missing") ? TEXT_MISSING : TEXT_UNKNOWN;
        } else if (str_eq(line, "end")) {
            is[at++] = TEXT_THERE;
            inside = false;
        } else {
            add_hex(&texts[at], p, len);
        }
        p += len + (p[len] == '\n');
    }
    if (!paths[at])
        return 0;
    return error_set(err, RESULT_FAILED, "node %s: reading the unit's files: not all of them came",
                     h->name);
}

static void add_text(char ***texts, size_t *count, const char *text, size_t len)
{
    *texts = mem_realloc(*texts, *count + 2, sizeof(**texts));
    (*texts)[(*count)++] = mem_strndup(text, len);
    (*texts)[*count] = NULL;
}

/* The unit and its drop-ins, ours left out. */
static void list_paths(struct systemd_look *l)
{
    const char *fragment = host_unit_get(&l->unit, "FragmentPath");
    l->paths = mem_alloc(1, sizeof(*l->paths));
    size_t count = 0;
    if (*fragment)
        add_text(&l->paths, &count, fragment, strlen(fragment));
    for (const char *p = host_unit_get(&l->unit, "DropInPaths"); *p;) {
        size_t len = strcspn(p, " ");
        if (len == strlen(l->dropin) && strncmp(p, l->dropin, len) == 0)
            l->own_loaded = true;
        else if (len)
            add_text(&l->paths, &count, p, len);
        p += len + (p[len] == ' ');
    }
    l->count = count;
}

static int read_unit(const struct host *h, struct systemd_look *l, struct error *err)
{
    size_t count = l->count;
    char **all CLEANUP(cleanup_mem) = mem_alloc(count + 2, sizeof(*all));
    enum text_is *is CLEANUP(cleanup_mem) = mem_alloc(count + 1, sizeof(*is));
    struct buf *texts CLEANUP(cleanup_mem) = mem_alloc(count + 1, sizeof(*texts));
    all[0] = l->dropin;
    memcpy(all + 1, l->paths, count * sizeof(*all));
    l->texts = mem_alloc(count, sizeof(*l->texts));
    l->files = mem_alloc(count, sizeof(*l->files));
    int rc = read_texts(h, all, texts, is, err);
    l->own = texts[0];
    memcpy(l->texts, texts + 1, count * sizeof(*texts));
    if (rc < 0)
        return -1;
    for (size_t i = 0; i <= count; i++) {
        if (is[i] == TEXT_UNKNOWN) {
            error_set(err, RESULT_FAILED, "node %s: the SSH user may not read %s", h->name, all[i]);
            error_next(err, "let everybody read it (chmod a+r: what is in it is told by systemctl "
                            "cat anyway), then run the same command again");
            return -1;
        }
    }
    l->own_there = is[0] == TEXT_THERE;
    l->own_foreign = l->own_there && !unit_dropin_read(buf_str(&l->own), l->own.len, &l->own_value);
    for (size_t i = 0; i < count; i++)
        l->files[i] = (struct unit_file){l->paths[i], buf_str(&l->texts[i]), l->texts[i].len};
    if (unit_service_read(l->files, count, &l->service, err) < 0)
        return error_wrap(err, "node %s", h->name);
    l->whole = l->service.whole;
    return 0;
}

static int read_environment(const struct host *h, struct systemd_look *l, char ***environment,
                            struct error *err)
{
    size_t count = 0;
    while (l->service.files[count])
        count++;
    char **paths CLEANUP(cleanup_mem) = mem_alloc(count + 1, sizeof(*paths));
    enum text_is *is CLEANUP(cleanup_mem) = mem_alloc(count, sizeof(*is));
    struct buf *texts CLEANUP(cleanup_mem) = mem_alloc(count, sizeof(*texts));
    l->flag_told = !*host_unit_get(&l->unit, "PassEnvironment");
    for (size_t i = 0; i < count; i++)
        paths[i] = l->service.files[i] + (l->service.files[i][0] == '-');
    int rc = count ? read_texts(h, paths, texts, is, err) : 0;
    for (size_t i = 0; i < count; i++) {
        /* (A pattern, or a specifier: which files those are is systemd's to know.) */
        bool unknown = is[i] == TEXT_UNKNOWN || strpbrk(paths[i], "*?[%");
        if (rc == 0 && is[i] == TEXT_THERE)
            unit_environment_add(environment, buf_str(&texts[i]), texts[i].len);
        l->whole = l->whole && (rc < 0 || !unknown);
        l->flag_told = l->flag_told && !unknown;
        buf_free(&texts[i]);
    }
    return rc;
}

/* --- flags --- */

/* Without the program, and without what a hyperkube is told to be. */
static void set_flags(struct apiserver *a, char *const *args)
{
    size_t count = 0;
    size_t skip = 0;
    while (args && args[count])
        count++;
    while (skip < count && !str_starts(args[skip], "--"))
        skip++;
    char **flags = mem_alloc(count - skip + 1, sizeof(*flags));
    for (size_t i = skip; i < count; i++)
        flags[i - skip] = mem_strdup(args[i]);
    apiserver_set_args(a, flags);
}

static int read_flags(const struct host *h, struct systemd_look *l, struct error *err)
{
    char **environment CLEANUP(cleanup_unit_args) = mem_alloc(1, sizeof(*environment));
    size_t count = 0;
    for (size_t i = 0; l->service.environment[i]; i++)
        add_text(&environment, &count, l->service.environment[i],
                 strlen(l->service.environment[i]));
    if (read_environment(h, l, &environment, err) < 0)
        return -1;
    const char *command = l->service.count == 1 ? l->service.commands[0] : NULL;
    char **args CLEANUP(cleanup_unit_args) =
        command ? unit_command_args(command, environment, &l->whole) : NULL;
    l->whole = l->whole && args;
    l->flag_told = l->flag_told && args;
    l->program = args ? mem_strdup(args[0]) : NULL;
    set_flags(&l->says, args);
    return 0;
}

/* --- the process --- */

static const char *name_of(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

static bool is_apiserver(const struct host_process *p)
{
    const char *name = name_of(p->args[0]);
    bool flags = false;
    for (size_t i = 1; name && p->args[i]; i++)
        flags = flags || str_starts(p->args[i], "--");
    if (!flags || !strstr(name, "hyperkube"))
        return flags && strstr(name, "apiserver");
    return str_eq(p->args[1], "apiserver") || str_eq(p->args[1], "kube-apiserver");
}

/* Those of that name in the unit's control group: how many, and the first. `any`: hyperkube is
 * every program of Kubernetes. */
static int find_in_group(const struct host *h, struct systemd_look *l, const char *name, bool any,
                         size_t *mine, struct error *err)
{
    struct host_process *list = NULL;
    size_t count = 0;
    const char *group = host_unit_get(&l->unit, "ControlGroup");
    if (host_processes(h, name, &list, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (!host_process_is_in(&list[i], group) || (any && !is_apiserver(&list[i])) || (*mine)++)
            continue;
        l->process = list[i];
        list[i] = (struct host_process){0};
    }
    host_processes_free(list, count);
    return 0;
}

/* The main process is something else: a script, which has started it, or what runs it in a
 * container. */
static int find_child(const struct host *h, struct systemd_look *l, struct error *err)
{
    static const char *const engines[] = {"docker", "podman", "nerdctl", "rkt"};
    char *main CLEANUP(cleanup_mem) = mem_strdup(name_of(l->process.args[0]));
    size_t mine = 0;
    host_process_free(&l->process);
    if (find_in_group(h, l, "kube-apiserver", false, &mine, err) < 0 ||
        (!mine && find_in_group(h, l, "hyperkube", true, &mine, err) < 0))
        return -1;
    l->running = mine == 1;
    if (mine > 1)
        return error_set(err, RESULT_REFUSED,
                         "node %s: the unit's main process is a script, and %zu processes "
                         "kube-apiserver run in its control group (%s): which is the one that "
                         "serves can't be told",
                         h->name, mine, host_unit_get(&l->unit, "ControlGroup"));
    for (size_t i = 0; !mine && i < ARRAY_LEN(engines); i++)
        if (str_eq(main, engines[i]))
            l->engine = engines[i];
    return 0;
}

/* The unit's main process, or the kube-apiserver that it has started. */
static int find_process(const struct host *h, struct systemd_look *l, struct error *err)
{
    bool found = false;
    if (host_unit_process(h, &l->unit, &l->process, &found, err) < 0)
        return -1;
    l->running = found && is_apiserver(&l->process);
    if (found && !l->running && find_child(h, l, err) < 0)
        return -1;
    if (l->running)
        set_flags(&l->runs, l->process.args);
    /* A script that starts it may give what the files don't show. */
    l->flag_told = l->flag_told && l->running && l->says.args[0] &&
                   str_eq(name_of(l->program), name_of(l->process.args[0]));
    return 0;
}

static int check_loaded(const struct systemd *s, struct systemd_look *l, struct error *err)
{
    const char *load = host_unit_get(&l->unit, "LoadState");
    l->exists = str_eq(load, "loaded");
    if (l->exists || str_eq(load, "not-found"))
        return 0;
    error_set(err, RESULT_REFUSED, "node %s: systemd doesn't run %s: its load state is \"%s\"",
              s->host.name, s->unit, load);
    error_next(err,
               str_eq(load, "masked")
                   ? "on the node: systemctl unmask %s (or name in cluster.yml the unit that runs "
                     "kube-apiserver: apiserver_unit), then run the same command again"
                   : "on the node: systemctl status %s tells what is wrong with the unit's files",
               s->unit);
    return -1;
}

int systemd_look_at(struct node *n, struct systemd_look *l, struct error *err)
{
    const struct systemd *s = n->driver_data;
    if (host_unit_show(&s->host, s->unit, &l->unit, err) < 0 || check_loaded(s, l, err) < 0)
        return -1;
    const char *id = host_unit_get(&l->unit, "Id");
    l->dropin = mem_printf("/etc/systemd/system/%s.d/" UNIT_DROPIN_NAME, *id ? id : s->unit);
    if (!l->exists)
        return 0;
    list_paths(l);
    if (read_unit(&s->host, l, err) < 0 || read_flags(&s->host, l, err) < 0)
        return -1;
    return find_process(&s->host, l, err);
}

/* --- what the next start would have --- */

bool systemd_own_counts(const struct systemd_look *l)
{
    return l->own_there && !l->own_foreign && !unit_dropin_overruled_by(l->files, l->count);
}

bool systemd_next(const struct systemd_look *l, const char **path)
{
    bool ours = systemd_own_counts(l);
    *path = ours ? l->own_value : l->says.config_path;
    return ours || (l->flag_told && !l->own_foreign);
}

bool systemd_next_differs(const struct systemd_look *l)
{
    const char *next = NULL;
    return l->running && systemd_next(l, &next) && !str_eq(next, l->runs.config_path);
}

/* --- what a drop-in is needed for --- */

static bool has_flag(const struct apiserver *a, const char *name)
{
    return apiserver_flag(a, name) != NULL;
}

const char *systemd_flag_name(const struct node *n, const struct systemd_look *l)
{
    static const char now[] = "encryption-provider-config";
    static const char before[] = "experimental-encryption-provider-config";
    struct kube_version v = {0};
    const char *text = n->cluster ? n->cluster->kubernetes_version : NULL;
    bool knows_now = has_flag(&l->says, now) || has_flag(&l->runs, now);
    bool knows_before = has_flag(&l->says, before) || has_flag(&l->runs, before);
    bool old = text && kube_version_parse(text, &v) && !kube_version_at_least(v, 1, 13);
    return !knows_now && (knows_before || old) ? before : now;
}

/* True where the process has what the unit's files say, with or without a drop-in of ours. */
static bool is_accounted_for(const struct systemd_look *l)
{
    size_t i = 0;
    const char *value = NULL;
    char *const *says = l->says.args;
    char *const *runs = l->runs.args;
    if (!l->whole)
        return false;
    while (says[i] && str_eq(says[i], runs[i]))
        i++;
    if (says[i])
        return false;
    return !runs[i] ||
           (!runs[i + 1] &&
            (apiserver_arg_is(runs[i], "encryption-provider-config", &value) ||
             apiserver_arg_is(runs[i], "experimental-encryption-provider-config", &value)));
}

bool systemd_needs_dropin(const struct systemd_look *l, const char *config_path)
{
    if (!str_eq(l->says.config_path, config_path))
        return true;
    /* The flag that ours takes away comes from where the files don't tell it, or nothing that runs
     * shows that it is gone: without ours it would be back. */
    if (!config_path && l->own_there && !l->own_foreign && !l->own_value &&
        (!l->whole || !l->running))
        return true;
    /* A script or a variable may give a flag that the files don't show. */
    return l->running && !str_eq(l->runs.config_path, config_path) && !is_accounted_for(l);
}

int systemd_check_dropin(const struct node *n, const struct systemd_look *l,
                         const char *config_path, struct error *err)
{
    if (l->own_foreign) {
        error_set(err, RESULT_REFUSED, "node %s: %s is not encrypt's", n->name, l->dropin);
        error_next(err, "give it another name on the node (one that sorts before it), then run the "
                        "same command again");
        return -1;
    }
    if (!systemd_needs_dropin(l, config_path))
        return 0;
    if (unit_dropin_check(l->files, l->count, &l->service, systemd_flag_name(n, l), config_path,
                          err) < 0)
        return error_wrap(err, "node %s", n->name);
    return 0;
}
