#include "provisioner/session.h"

#include "base/file.h"
#include "base/user.h"
#include "provisioner/credentials.h"
#include "provisioner/kind.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONNECT_TIMEOUT_MS = 20000, SILENCE_MS = 20000 };

void tell(struct session *s, enum encrypt_event_kind kind, const char *step, const char *node,
          const char *fmt, ...)
{
    if (!s->options->event)
        return;
    va_list ap;
    struct buf text CLEANUP(buf_free) = {0};
    va_start(ap, fmt);
    char *p = buf_reserve(&text, 4096);
    int len = vsnprintf(p, 4096, fmt, ap);
    va_end(ap);
    if (len < 0)
        return;
    s->options->event(s->options->ctx,
                      &(struct encrypt_event){.kind = kind, .step = step, .node = node, .text = p});
    if (kind == ENCRYPT_STEP) {
        mem_free(s->previous_step);
        s->previous_step = mem_strdup(step);
    }
    if (kind != ENCRYPT_DEBUG)
        session_moves(s);
}

void session_moves(struct session *s)
{
    if (!s->silence)
        return;
    s->moved_at = loop_now();
    loop_watch_wake_at(s->silence, s->moved_at + SILENCE_MS);
}

/* Nobody shall have to guess whether it hangs. */
static void on_silence(void *ctx, short revents)
{
    struct session *s = ctx;
    (void)revents;
    int64_t moved_at = s->moved_at;
    struct buf whys CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        const char *why = m->node.ssh ? ssh_explain(m->node.ssh) : NULL;
        if (why)
            buf_printf(&whys, "; node %s: %s", m->node.name, why);
    }
    tell(s, ENCRYPT_NOTE, s->previous_step, NULL,
         "nothing new for %lld s; still trying (Ctrl-C stops at the next safe point)%s",
         (long long)((loop_now() - moved_at) / 1000), buf_str(&whys));
    s->moved_at = moved_at;
}

int session_check_stop(struct session *s, struct error *err)
{
    if (s->options->stop && s->options->stop(s->options->ctx))
        return error_set(err, RESULT_INTERRUPTED, "stopped at a safe point%s%s, as you asked",
                         s->previous_step ? " of the step " : "",
                         s->previous_step ? s->previous_step : "");
    return 0;
}

static void ssh_say(void *ctx, const char *text)
{
    tell(ctx, ENCRYPT_NOTE, NULL, NULL, "%s", text);
}

static char *ssh_ask(void *ctx, const char *prompt)
{
    struct session *s = ctx;
    char *answer = s->options->ask ? s->options->ask(s->options->ctx, prompt) : NULL;
    session_moves(s);
    return answer;
}

static bool ssh_stop(void *ctx)
{
    struct session *s = ctx;
    return s->options->stop && s->options->stop(s->options->ctx);
}

/* Who we are to other operators: stable over the runs of one operator with one state file. */
void session_set_identity(struct session *s)
{
    char host[HOST_NAME_MAX + 1] = "";
    gethostname(host, sizeof(host) - 1);
    char *user CLEANUP(cleanup_mem) = user_name();
    s->who = mem_printf("%s@%s", user ? user : "unknown", host);

    struct buf machine CLEANUP(buf_free) = {0};
    struct error ignored CLEANUP(error_clear) = {0};
    bool missing = false;
    if (file_read("/etc/machine-id", 4096, false, &machine, &missing, &ignored) < 0 || missing)
        buf_adds(&machine, host);
    char *text CLEANUP(cleanup_mem) =
        mem_printf("%s\n%s\n%s", buf_str(&machine), s->who, s->state_path);
    char hash[65];
    sha256_hex(text, strlen(text), hash);
    s->lease_owner = mem_printf("encrypt-%.32s", hash);
}

static int put_back_state(const struct session *s, struct error *err)
{
    error_next(err,
               "mend %s, or put a good copy in its place (a backup of yours), then run the same "
               "command again; keep this one and the .encrypt-state beside it: they may "
               "be the only place of a key",
               s->state_path);
    return -1;
}

static int refuse_no_state(struct session *s, struct error *err)
{
    error_set(err, RESULT_REFUSED, "no state file %s: without it no key can be kept",
              s->state_path);
    error_state(err, "unchanged");
    error_next(err,
               "encrypt doctor --config %s    (what can be rebuilt from the nodes and from "
               "full-cluster-state in the cluster); `rke up` first where there is no cluster "
               "yet (a provisioner of its own: `encrypt up --initial`); --state names another file",
               s->options->config);
    return -1;
}

int session_check_state_link(const char *path, struct error *err)
{
    struct stat st;
    char *to CLEANUP(cleanup_mem) = mem_alloc(PATH_MAX + 1, 1);
    if (lstat(path, &st) < 0 || !S_ISLNK(st.st_mode) || stat(path, &st) == 0 || errno != ENOENT ||
        readlink(path, to, PATH_MAX) < 0)
        return 0;
    error_set(err, RESULT_REFUSED, "%s leads to %s, which is not there", path, to);
    error_state(err, "unchanged");
    error_next(
        err, "bring back what it leads to (a disk that is not mounted?); or, where the state file "
             "is lost: remove the link, then: encrypt doctor");
    return -1;
}

/* Who only tells takes none, and changes nothing under another's hands. */
static int take_lock(struct session *s, struct error *err)
{
    char *holder CLEANUP(cleanup_mem) = NULL;
    if (!s->tells_only)
        return state_lock_take(s->state_path, &s->lock, err);
    if (state_lock_look(s->state_path, &holder, err) < 0)
        return -1;
    if (!holder)
        return 0;
    error_set(err, RESULT_REFUSED,
              "%s: another process is at work on it; its lock says (it may be out of date): %s",
              s->state_path, *holder ? holder : "nothing");
    error_next(err, "wait until that has ended, then run the same command again");
    return -1;
}

/* `initial`: also a kind that must have a state file may be without. */
static int read_files(struct session *s, bool initial, struct error *err)
{
    const struct encrypt_options *o = s->options;
    if (cluster_read(o->config, &s->cluster, err) < 0)
        return -1;
    /* One state file has one lock, one journal beside it and one owner, by whatever path it is
     * named. */
    s->state_path = session_state_path(o);
    if (session_check_state_link(s->state_path, err) < 0)
        return -1;
    bool missing = access(s->state_path, F_OK) != 0;
    s->state_missing = missing && !initial;
    const struct driver *named = s->cluster->kind ? kind_driver(s->cluster->kind) : NULL;
    if (s->state_missing && named && named->needs_state)
        return refuse_no_state(s, err);
    if (take_lock(s, err) < 0)
        return -1;
    if (rkestate_read(s->state_path, &s->state, err) < 0)
        return put_back_state(s, err);
    if (!s->state && !missing)
        return error_set(err, RESULT_REFUSED, "%s: gone while it was being opened", s->state_path);
    if (!s->state) {
        s->state = rkestate_bare(s->state_path);
        s->state->is_new = true;
    }
    if (journal_read(s->state, s->state_path, &s->journal, err) < 0)
        return put_back_state(s, err);
    s->journal->only_told = s->tells_only;
    session_set_identity(s);
    return 0;
}

struct node session_node(struct session *s, const struct cluster_node *conf)
{
    return (struct node){
        .conf = conf, .cluster = s->cluster, .name = conf->ssh.address, .loop = s->loop};
}

int session_connect(struct session *s, const struct ssh_access *const *targets, size_t count,
                    struct ssh **sessions, struct error *whys, struct error *err)
{
    const struct encrypt_options *o = s->options;
    char *home CLEANUP(cleanup_mem) = user_home();
    char *known_hosts CLEANUP(cleanup_mem) =
        o->known_hosts ? mem_strdup(o->known_hosts)
                       : mem_printf("%s/.ssh/known_hosts", home ? home : "");
    struct ssh_settings settings = {
        .use_agent = o->ssh_agent_auth || s->cluster->ssh_agent_auth,
        .known_hosts = known_hosts,
        .accept_new_host_keys = o->accept_new_host_keys,
        .passphrase_file = o->passphrase_file,
        .ask = ssh_ask,
        .stop = ssh_stop,
        .say = ssh_say,
        .ctx = s,
        .timeout_ms = CONNECT_TIMEOUT_MS,
    };
    if (whys)
        return ssh_connect_each(s->loop, &settings, s->cluster->bastion, targets, count, sessions,
                                whys, err);
    return ssh_connect_all(s->loop, &settings, s->cluster->bastion, targets, count, sessions, err);
}

static int connect_nodes(struct session *s, struct error *err)
{
    const struct encrypt_options *o = s->options;
    for (size_t i = 0; i < s->cluster->node_count; i++)
        s->count += s->cluster->nodes[i].controlplane;
    if (s->count > PLAN_MAX_NODES)
        return error_set(err, RESULT_REFUSED, "%s: %zu control-plane nodes; at most %d are managed",
                         o->config, s->count, (int)PLAN_MAX_NODES);
    s->members = mem_alloc(s->count, sizeof(*s->members));
    const struct ssh_access **targets CLEANUP(cleanup_mem) =
        mem_alloc(s->count, sizeof(struct ssh_access *));
    struct ssh **sessions CLEANUP(cleanup_mem) = mem_alloc(s->count, sizeof(struct ssh *));
    size_t n = 0;
    for (size_t i = 0; i < s->cluster->node_count; i++) {
        const struct cluster_node *conf = &s->cluster->nodes[i];
        if (!conf->controlplane)
            continue;
        s->members[n].node = session_node(s, conf);
        s->members[n].look_only = s->tells_only;
        targets[n++] = &conf->ssh;
    }

    if (session_connect(s, targets, s->count, sessions, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < s->count; i++)
        s->members[i].node.ssh = sessions[i];
    return 0;
}

static int check_config(struct session *s, struct error *err)
{
    const struct config_findings *f = &s->cluster->findings;
    for (size_t i = 0; i < f->count; i++) {
        const struct config_finding *one = &f->list[i];
        if (one->warning)
            tell(s, ENCRYPT_WARNING, NULL, NULL, "%s:%zu: %s: %s", s->cluster->path, one->line,
                 one->field, one->what);
    }
    return config_findings_error(f, s->cluster->path, err);
}

bool session_is_initial(const struct session *s)
{
    const struct transition *t = s->journal->transition;
    bool initial = t && t->initial && t->stage == TRANSITION_OPEN;
    for (size_t i = 0; i < s->count; i++)
        initial = initial && !s->members[i].seen.exists;
    return initial;
}

static int refuse_to_open(struct session *s, struct error *err)
{
    if (err->result == RESULT_FAILED)
        err->result = RESULT_REFUSED;
    if (s->journal && s->journal->transition)
        error_state(err, "as the last run left it: a transition (%s) is open",
                    s->journal->transition->why);
    else
        error_state(err, "nothing was changed");
    error_next(err, "mend that, then run the same command again");
    return -1;
}

/* A kind that has no state of its own gets ours with its first change; the stamps on the nodes tell
 * where one was there already. */
static int check_state_is_there(struct session *s, struct error *err)
{
    return s->state_missing && session_driver(s)->needs_state ? refuse_no_state(s, err) : 0;
}

int session_reach_nodes(struct session *s, struct error *err)
{
    s->silence = loop_watch(s->loop, -1, 0, on_silence, s);
    session_moves(s);
    if (connect_nodes(s, err) < 0)
        return refuse_to_open(s, err);
    if (session_find_kinds(s, err) < 0 || check_state_is_there(s, err) < 0)
        return refuse_to_open(s, err);
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (m->node.driver->open(&m->node, err) < 0) {
            error_wrap(err, "node %s", m->node.name);
            if (s->kind_guessed)
                error_wrap(err, "nothing on the nodes shows of which kind the cluster is, so it is "
                                "taken for RKE's (cluster_kind in cluster.yml names another)");
            return refuse_to_open(s, err);
        }
        m->opened = true;
    }
    if (credentials_from_nodes(s, err) < 0)
        return refuse_to_open(s, err);
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        /* An apiserver whose flag is gone already doesn't tell where the file still lies. */
        if (s->journal->transition)
            m->config_path = mem_strdup(journal_node(s->journal, m->node.name)->path);
        if (member_observe(m, err) < 0 || member_open_api(s, m, err) < 0)
            return refuse_to_open(s, err);
    }
    session_record_kind(s);
    if (s->state_missing && !s->journal->sequence && session_driver(s)->owned)
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             "there is no %s. Nodes of kind %s bear no stamp of ours, so whether encrypt has "
             "changed this cluster before can't be told; where it has, put its last state file "
             "there first: it has the history of keys, which backups of etcd need",
             s->state_path, session_driver(s)->kind);
    return 0;
}

enum files_for { FILES_TO_CHANGE, FILES_TO_BEGIN, FILES_TO_TELL };

static int open_files(const struct encrypt_options *o, bool by_cluster_yml, enum files_for what,
                      struct session **out, struct error *err)
{
    struct session *s CLEANUP(cleanup_session) = mem_alloc(1, sizeof(*s));
    s->options = o;
    s->tells_only = what == FILES_TO_TELL;
    if (read_files(s, what == FILES_TO_BEGIN, err) < 0 ||
        (by_cluster_yml && check_config(s, err) < 0) || loop_new(&s->loop, err) < 0)
        return refuse_to_open(s, err);
    *out = STEAL(s);
    return 0;
}

int session_open_initial(const struct encrypt_options *o, struct session **out, struct error *err)
{
    return open_files(o, true, FILES_TO_BEGIN, out, err);
}

static int open_session(const struct encrypt_options *o, bool by_cluster_yml, enum files_for what,
                        struct session **out, struct error *err)
{
    struct session *s CLEANUP(cleanup_session) = NULL;
    struct error e CLEANUP(error_clear) = {0};
    if (open_files(o, by_cluster_yml, what, &s, err) < 0)
        return -1;
    bool found = credentials_find(o, s->state, &s->admin, &e) == 0;
    /* The nodes of some kinds have them; and where `up --initial` was, there may be none yet, and
     * nobody to show them to. */
    if (!found && o->kubeconfig) {
        error_move(err, &e);
        return refuse_to_open(s, err);
    }
    if (session_reach_nodes(s, err) < 0)
        return -1;
    if (!s->admin.ca && !session_is_initial(s)) {
        error_move(err, &e);
        return refuse_to_open(s, err);
    }
    *out = STEAL(s);
    return 0;
}

int session_open(const struct encrypt_options *o, bool by_cluster_yml, struct session **out,
                 struct error *err)
{
    return open_session(o, by_cluster_yml, FILES_TO_CHANGE, out, err);
}

int session_open_to_tell(const struct encrypt_options *o, bool by_cluster_yml, struct session **out,
                         struct error *err)
{
    return open_session(o, by_cluster_yml, FILES_TO_TELL, out, err);
}

void session_close(struct session *s)
{
    if (!s)
        return;
    etcd_close(s->etcd);
    for (size_t i = 0; s->members && i < s->count; i++)
        member_close(&s->members[i]);
    mem_free(s->members);
    for (size_t i = 0; i < s->absent_count; i++)
        error_clear(&s->absent[i].why);
    mem_free(s->absent);
    loop_unwatch(s->silence);
    loop_free(s->loop);
    credentials_free(&s->admin);
    mem_free(s->etcd_prefix);
    resources_free(&s->resources);
    mem_free(s->resources_of);
    encryption_resources_free(s->long_prefixes);
    mem_free(s->lease_owner);
    mem_free(s->who);
    mem_free(s->previous_step);
    mem_free(s->state_path);
    journal_free(s->journal);
    rkestate_free(s->state);
    cluster_free(s->cluster);
    state_lock_release(s->lock);
    mem_free(s);
}

void cleanup_session(struct session **s)
{
    session_close(*s);
}

int session_ready_api(struct session *s, const struct http_server **out, struct error *err)
{
    struct buf whys CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        bool ready = false;
        char *why CLEANUP(cleanup_mem) = NULL;
        /* (It may lack the keys of what is stored.) */
        if (m->joins)
            continue;
        if (kube_ready(&m->node.api, &ready, &why, err) < 0)
            return -1;
        if (ready) {
            *out = &m->node.api;
            return 0;
        }
        buf_printf(&whys, "%s%s: %s", i ? "; " : "", m->node.name, why ? why : "no answer");
    }
    return error_set(err, RESULT_FAILED, "no kube-apiserver of the cluster is ready (%s)",
                     buf_str(&whys));
}
