/* The manifest changed, the kubelet's doing awaited, and the way back. */
#include "provisioner/drivers/kubeadm.h"

#include <stdlib.h>
#include <string.h>

enum {
    POLL_MS = 300,
    /* A kubelet looks each 20 s where its folder can't be watched; then the process has its time to
     * end. */
    ACTS_MS = 60000,
    GRACE_SECONDS = 30,
    APPEARS_MS = 120000, /* the new one, once the old one is gone */
    RUNS_MS = 5000,      /* one whose container was started and that can't be seen: it ended */
    BY_ITSELF_MS = 15000 /* one that is down, and that the kubelet is to start anyway */
};

struct change {
    struct node *n;
    struct kubeadm_view v;
    struct kubeadm_want want;
    char **before; /* the identities that are to be gone; owned */
    size_t before_count;
    struct buf logs; /* as they were listed before the change */
    char *pod;       /* the uid of the pod that is to go; NULL: not known, or no manifest written */
    bool late;       /* the kubelet was waited for in vain */
};

static void change_free(struct change *c)
{
    kubeadm_view_free(&c->v);
    kubeadm_want_free(&c->want);
    for (size_t i = 0; i < c->before_count; i++)
        mem_free(c->before[i]);
    mem_free(c->before);
    mem_free(c->pod);
    buf_free(&c->logs);
}

int kubeadm_refuse_without(const struct node *n, struct error *err)
{
    error_set(err, RESULT_REFUSED, "node %s: there is no %s", n->name, KUBEADM_MANIFEST);
    error_next(
        err,
        "on node %s: put it back where somebody moved it (" KUBEADM_AWAY "; what it was "
        "before a change that is open: " KUBEADM_KEPT "; `ln` and not `mv`, which would "
        "overwrite): ln " KUBEADM_AWAY " " KUBEADM_MANIFEST "; or, where this machine was "
        "reset (`kubeadm reset`) and these are left over: move both to another folder (it is "
        "taken for a new node then); then run the same command again",
        n->name);
    return -1;
}

static int look(struct node *n, const struct apiserver_want *want, struct change *c,
                struct error *err)
{
    long restarts = 0;
    *c = (struct change){.n = n};
    if (kubeadm_look(n, &c->v, err) < 0 || kubeadm_logs(n, &c->logs, &restarts, err) < 0)
        return -1;
    if (!c->v.pod)
        return kubeadm_refuse_without(n, err);
    kubeadm_want_of(n, c->v.pod, want, &c->want);
    return 0;
}

static void add_before(struct change *c, const char *identity)
{
    MEM_GROW(c->before, c->before_count);
    c->before[c->before_count++] = mem_strdup(identity);
}

/* The pod that a process is of, by its cgroup; *out NULL: it doesn't tell. */
static int pod_of(struct change *c, const struct host_process *p, char **out, struct error *err)
{
    static const char script[] = "cat \"/proc/$1/cgroup\" 2>/dev/null\nexit 0";
    struct buf text CLEANUP(buf_free) = {0};
    char *pid CLEANUP(cleanup_mem) = mem_printf("%ld", p->pid);
    const char *args[] = {pid, NULL};
    *out = NULL;
    if (host_do(kubeadm_host(c->n), "looking for the pod of kube-apiserver", script, args, NULL,
                &text, err) < 0)
        return -1;
    *out = kubeadm_pod_uid(buf_str(&text));
    return 0;
}

/* Those that run now are to end, and their pod: a kubelet gives what another manifest says another
 * uid (unless the manifest names one). */
static int all_before(struct change *c, struct error *err)
{
    bool named = !yaml_is_null(yaml_path(c->v.pod->document, "metadata", "uid", NULL));
    for (size_t i = 0; i < c->v.count; i++)
        add_before(c, c->v.list[i].identity);
    return c->v.count == 1 && !named ? pod_of(c, &c->v.list[0], &c->pod, err) : 0;
}

static bool is_before(const struct change *c, const char *identity)
{
    for (size_t i = 0; i < c->before_count; i++)
        if (str_eq(c->before[i], identity))
            return true;
    return false;
}

/* Its flag is the one that is wanted, or none is. */
static bool runs_wanted(const struct change *c, const struct host_process *p)
{
    struct apiserver a CLEANUP(apiserver_free) = {0};
    apiserver_set_args(&a, kubeadm_flags(p));
    return str_eq(a.config_path, c->want.pod.config_path);
}

static int write_manifest(struct change *c, const struct buf *text, struct error *err)
{
    return host_file_replace(kubeadm_host(c->n), KUBEADM_MANIFEST, text, true, &c->v.text, err);
}

/* The manifest with what is wanted, and `restart` (NULL: as it is). */
static int edit(const struct change *c, const char *restart, struct buf *out, struct error *err)
{
    struct static_pod_want want = c->want.pod;
    want.restart = restart;
    if (static_pod_edit(buf_str(&c->v.text), c->v.text.len, KUBEADM_MANIFEST, &want, out, err) < 0)
        return error_wrap(err, "node %s", c->n->name);
    return 0;
}

static long grace_ms(const struct change *c)
{
    long seconds = GRACE_SECONDS;
    (void)yaml_int(yaml_path(c->v.pod->document, "spec", "terminationGracePeriodSeconds", NULL),
                   &seconds);
    return (seconds < 0 || seconds > 3600 ? GRACE_SECONDS : seconds) * 1000;
}

/* A container was started since: its log has a name that wasn't there. (One of the pod that is to
 * go came up again by itself.) */
static bool has_new_log(const struct change *c, const char *now)
{
    while (*now) {
        size_t len = strcspn(now, "\n");
        char *line CLEANUP(cleanup_mem) = mem_strndup(now, len);
        if (!strstr(buf_str(&c->logs), line) && !(c->pod && strstr(line, c->pod)))
            return true;
        now += len + (now[len] == '\n');
    }
    return false;
}

struct sight {
    bool old_there, new_there, new_log;
};

/* What ran before; what has other flags, or is of the same pod: it came up again by itself, and the
 * kubelet, which has not acted on the manifest yet, will end it too. */
static int is_to_go(struct change *c, const struct host_process *p, bool *out, struct error *err)
{
    char *pod CLEANUP(cleanup_mem) = NULL;
    *out = is_before(c, p->identity) || !runs_wanted(c, p);
    if (*out || !c->pod)
        return 0;
    if (pod_of(c, p, &pod, err) < 0)
        return -1;
    *out = str_eq(pod, c->pod);
    return 0;
}

static int look_again(struct change *c, struct sight *out, struct error *err)
{
    struct host_process *list = NULL;
    size_t count = 0;
    struct buf logs CLEANUP(buf_free) = {0};
    long restarts = 0;
    *out = (struct sight){0};
    if (kubeadm_processes(c->n, &list, &count, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        bool old = false;
        rc = is_to_go(c, &list[i], &old, err);
        out->old_there = out->old_there || old;
        out->new_there = out->new_there || !old;
    }
    host_processes_free(list, count);
    if (rc < 0 || kubeadm_logs(c->n, &logs, &restarts, err) < 0)
        return -1;
    out->new_log = has_new_log(c, buf_str(&logs));
    return 0;
}

/* `gone`: no kube-apiserver runs. */
static int not_done(struct change *c, const char *what, bool gone, int64_t ms, struct error *err)
{
    c->late = true;
    error_set(err, RESULT_FAILED, "node %s: %s was changed, and within %lld s %s", c->n->name,
              KUBEADM_MANIFEST, (long long)ms / 1000, what);
    error_next(err,
               "on node %s: systemctl status kubelet; journalctl -u kubelet -n 50 (it tells "
               "why it does not run a manifest)%s",
               c->n->name,
               gone ? "; where it says nothing of it: systemctl restart kubelet (of 1.22 and 1.23 "
                      "some lose a static pod that is changed twice in a short time)"
                    : "");
    return -1;
}

/* Until the processes of before are gone and another is there: or was, and ended (the readiness
 * that the caller waits for will tell). *acted: the kubelet has done something at all. */
static int wait_replaced(struct change *c, bool *acted, struct error *err)
{
    int64_t began = loop_now(), gone = 0, started = 0;
    int64_t acts_ms = ACTS_MS + grace_ms(c);
    *acted = false;
    for (;;) {
        struct sight s = {0};
        if (look_again(c, &s, err) < 0)
            return -1;
        int64_t now = loop_now();
        *acted = *acted || !s.old_there || s.new_there || s.new_log;
        if (s.new_there && !s.old_there)
            return 0;
        gone = s.old_there ? 0 : gone ? gone : now;
        started = !s.new_log ? 0 : started ? started : now;
        if (gone && started && now - gone > RUNS_MS && now - started > RUNS_MS)
            return 0;
        if (gone && now - gone > APPEARS_MS)
            return not_done(c, "the kubelet has ended kube-apiserver and started no other", true,
                            APPEARS_MS, err);
        if (s.old_there && now - began > acts_ms)
            return not_done(c,
                            *acted ? "kube-apiserver has not ended"
                                   : "the kubelet has not put another kube-apiserver in place of "
                                     "the one that runs",
                            false, acts_ms, err);
        if (loop_pause(c->n->loop, POLL_MS, err) < 0)
            return -1;
    }
}

/* The manifest becomes `text`; where the kubelet does nothing at all, it is put back (not where
 * this is the way `back`): it must not act on it later, when nobody looks. */
static int write_and_wait(struct change *c, const struct buf *text, bool back, struct error *err)
{
    bool acted = false;
    if (all_before(c, err) < 0 || write_manifest(c, text, err) < 0)
        return -1;
    if (wait_replaced(c, &acted, err) == 0)
        return 0;
    /* (What failed otherwise, a look that found no way to the node, says nothing of the kubelet.
     * And going back, what is to come is what lies there.) */
    if (acted || !c->late || back)
        return -1;
    struct error e CLEANUP(error_clear) = {0};
    if (host_file_replace(kubeadm_host(c->n), KUBEADM_MANIFEST, &c->v.text, true, text, &e) < 0)
        return error_wrap(err, "%s; the manifest could not be put back: %s", c->n->name, e.message);
    return error_wrap(err, "the manifest was put back");
}

/* What is in force is kept, unless that was done before what lies there now was written and has not
 * been in force since. */
static int keep(struct change *c, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct static_pod *pod CLEANUP(cleanup_static_pod) = NULL;
    struct error e CLEANUP(error_clear) = {0};
    bool missing = false;
    const struct host *h = kubeadm_host(c->n);
    if (host_file_read(h, KUBEADM_KEPT, &text, &missing, err) < 0)
        return -1;
    const char *runs = NULL;
    struct apiserver a CLEANUP(apiserver_free) = {0};
    if (c->v.count) {
        apiserver_set_args(&a, kubeadm_flags(&c->v.list[0]));
        runs = a.config_path;
    }
    if (!missing && c->v.count &&
        static_pod_read(buf_str(&text), text.len, KUBEADM_KEPT, &pod, &e) == 0 &&
        str_eq(static_pod_config(pod), runs) && !str_eq(static_pod_config(c->v.pod), runs))
        return 0;
    return host_file_replace(h, KUBEADM_KEPT, &c->v.text, true, NULL, err);
}

/* The manifest says what is wanted: another process is all there is to be had. */
static int start_anew(struct change *c, const char *process, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    char mark[11];
    bool acted = false;
    for (size_t i = 0; i < c->v.count; i++)
        if (c->v.count == 1 && !str_eq(c->v.list[i].identity, process) &&
            runs_wanted(c, &c->v.list[i]))
            return 0;
    if (!c->v.count) {
        /* Down. It may be on its way; else the mark that was there is what the next is made of. */
        int64_t until = loop_now() + BY_ITSELF_MS;
        struct sight s = {0};
        while (!s.new_there && loop_now() < until) {
            if (look_again(c, &s, err) < 0 || loop_pause(c->n->loop, POLL_MS, err) < 0)
                return -1;
        }
        if (s.new_there)
            return 0;
        kubeadm_mark(c->v.pod->restart ? c->v.pod->restart : "down", mark);
    } else {
        const char *ends = process && *process ? process : c->v.list[0].identity;
        kubeadm_mark(ends, mark);
        if (str_eq(mark, c->v.pod->restart) || !runs_wanted(c, &c->v.list[0])) {
            /* A run that was killed had asked for it. */
            add_before(c, ends);
            return wait_replaced(c, &acted, err);
        }
    }
    if (edit(c, mark, &text, err) < 0)
        return -1;
    return write_and_wait(c, &text, false, err);
}

static int start(struct change *c, const char *process, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    char mark[11];
    if (static_pod_has(c->v.pod, &c->want.pod))
        return start_anew(c, process, err);
    const char *ends = c->v.count ? c->v.list[0].identity : process ? process : "";
    kubeadm_mark(ends, mark);
    /* (A manifest without the flag is what it was before there was one.) */
    if (edit(c, c->want.pod.config_path ? mark : NULL, &text, err) < 0 || keep(c, err) < 0)
        return -1;
    return write_and_wait(c, &text, false, err);
}

int kubeadm_start(struct node *n, const struct apiserver_want *want, const char *process,
                  struct error *err)
{
    struct change c CLEANUP(change_free) = {0};
    return look(n, want, &c, err) < 0 ? -1 : start(&c, process, err);
}

int kubeadm_check_start(struct node *n, const struct apiserver_want *want, struct error *err)
{
    struct change c CLEANUP(change_free) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    bool link = false;
    if (look(n, want, &c, err) < 0 ||
        host_file_is(kubeadm_host(n), "-L", KUBEADM_MANIFEST, &link, err) < 0)
        return -1;
    if (link) {
        error_set(err, RESULT_REFUSED, "node %s: " KUBEADM_MANIFEST " is a symbolic link", n->name);
        error_next(err, "on node %s: put the file that it leads to in its place", n->name);
        return -1;
    }
    if (kubeadm_check_folder(n, err) < 0)
        return -1;
    if (c.v.pod->user && !str_eq(c.v.pod->user, "0")) {
        error_set(err, RESULT_REFUSED,
                  "node %s: " KUBEADM_MANIFEST " has runAsUser: %s: what is put there is root's "
                  "alone, and kube-apiserver could not read it",
                  n->name, c.v.pod->user);
        error_next(err, "let kube-apiserver run as root (kubeadm's feature gate "
                        "RootlessControlPlane off)");
        return -1;
    }
    /* (Some mark, as a restart has one.) */
    if (edit(&c, want->config_path ? "0123456789" : NULL, &text, err) < 0)
        return -1;
    return kubeadm_try_record(n, &n->api, want, err);
}

int kubeadm_settle(struct node *n, struct error *err)
{
    struct kubeadm_view v CLEANUP(kubeadm_view_free) = {0};
    bool kept = false;
    if (kubeadm_look(n, &v, err) < 0 ||
        (!v.pod && host_file_is(kubeadm_host(n), "-e", KUBEADM_KEPT, &kept, err) < 0))
        return -1;
    /* Without a manifest it may be the last copy. */
    if (kept)
        return 0;
    /* What is in force is what was kept as long as the kubelet has not acted. */
    for (size_t i = 0; i < v.count; i++) {
        char *doubt CLEANUP(cleanup_mem) = kubeadm_doubt(v.pod, &v.list[i]);
        if (doubt)
            return 0;
    }
    return host_file_remove(kubeadm_host(n), KUBEADM_KEPT, err);
}

/* What start() kept, where that has what is wanted and nobody has edited the manifest since; else
 * the manifest, edited. */
static int find_way_back(struct change *c, struct buf *out, struct error *err)
{
    struct static_pod *kept CLEANUP(cleanup_static_pod) = NULL;
    struct error e CLEANUP(error_clear) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    bool missing = false;
    if (host_file_read(kubeadm_host(c->n), KUBEADM_KEPT, &text, &missing, err) < 0)
        return -1;
    if (!missing && static_pod_read(buf_str(&text), text.len, KUBEADM_KEPT, &kept, &e) == 0 &&
        static_pod_has(kept, &c->want.pod) && static_pod_same_but_ours(kept, c->v.pod)) {
        buf_add(out, text.data, text.len);
        return 0;
    }
    if (!static_pod_has(c->v.pod, &c->want.pod))
        return edit(c, NULL, out, err);
    buf_add(out, c->v.text.data, c->v.text.len);
    return 0;
}

static int go_back(struct change *c, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    char mark[11];
    if (find_way_back(c, &text, err) < 0)
        return -1;
    if (text.len == c->v.text.len && memcmp(text.data, c->v.text.data, text.len) == 0) {
        const char *restart = c->v.pod->restart;
        kubeadm_mark(c->v.count ? c->v.list[0].identity : restart ? restart : "down", mark);
        /* It was asked for before, and may have been had: once more. */
        if (str_eq(mark, restart))
            kubeadm_mark(restart, mark);
        buf_reset(&text);
        if (edit(c, mark, &text, err) < 0)
            return -1;
    }
    return write_and_wait(c, &text, true, err);
}

int kubeadm_go_back(struct node *n, const struct apiserver_want *want, struct error *err)
{
    struct change c CLEANUP(change_free) = {0};
    if (look(n, want, &c, err) < 0 || go_back(&c, err) < 0)
        return error_wrap(err, "going back to the former apiserver of %s", n->name);
    return 0;
}
