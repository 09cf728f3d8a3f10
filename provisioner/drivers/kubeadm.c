#include "provisioner/drivers/kubeadm.h"

#include "base/sha256.h"
#include "provisioner/docker/binds.h"
#include "state/cluster_yml.h"
#include "templates/encryption_features.h"

#include <string.h>

enum { POLL_MS = 500, REPLACED_MS = 90000 };

const struct host *kubeadm_host(const struct node *n)
{
    const struct kubeadm *k = n->driver_data;
    return &k->host;
}

static int kubeadm_open(struct node *n, struct error *err)
{
    struct kubeadm *k = mem_alloc(1, sizeof(*k));
    n->driver_data = k;
    if (host_open(n, &k->host, err) == 0)
        return 0;
    mem_free(k);
    n->driver_data = NULL;
    return -1;
}

static void kubeadm_close(struct node *n)
{
    mem_free(n->driver_data);
    n->driver_data = NULL;
}

void kubeadm_view_free(struct kubeadm_view *v)
{
    buf_free(&v->text);
    static_pod_free(v->pod);
    host_processes_free(v->list, v->count);
    *v = (struct kubeadm_view){0};
}

int kubeadm_manifest(struct node *n, struct buf *text, struct static_pod **out, struct error *err)
{
    struct buf own CLEANUP(buf_free) = {0};
    struct buf *to = text ? text : &own;
    bool missing = false;
    static const char mark[] = "\xef\xbb\xbf";
    *out = NULL;
    if (host_file_read(kubeadm_host(n), KUBEADM_MANIFEST, to, &missing, err) < 0)
        return -1;
    if (missing)
        return 0;
    size_t skip = to->len >= 3 && memcmp(to->data, mark, 3) == 0 ? 3 : 0;
    if (static_pod_read(buf_str(to) + skip, to->len - skip, KUBEADM_MANIFEST, out, err) < 0)
        return error_wrap(err, "node %s", n->name);
    return 0;
}

int kubeadm_look(struct node *n, struct kubeadm_view *v, struct error *err)
{
    kubeadm_view_free(v);
    if (kubeadm_manifest(n, &v->text, &v->pod, err) < 0)
        return -1;
    return kubeadm_processes(n, &v->list, &v->count, err);
}

/* Of a program that is every one of Kubernetes': "/hyperkube apiserver --…". */
static bool is_apiserver(const struct host_process *p)
{
    const char *first = p->args[0] ? p->args[1] : NULL;
    return str_eq(first, "apiserver") || str_eq(first, "kube-apiserver");
}

int kubeadm_processes(struct node *n, struct host_process **out, size_t *count, struct error *err)
{
    const struct host *h = kubeadm_host(n);
    struct host_process *list = NULL;
    size_t all = 0, kept = 0;
    if (host_processes(h, "kube-apiserver", out, count, err) < 0)
        return -1;
    if (*count)
        return 0;
    host_processes_free(*out, *count);
    *out = NULL;
    if (host_processes(h, "hyperkube", &list, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < all; i++) {
        if (is_apiserver(&list[i]))
            list[kept++] = list[i];
        else
            host_process_free(&list[i]);
    }
    *out = list;
    *count = kept;
    return 0;
}

char **kubeadm_flags(const struct host_process *p)
{
    size_t count = 0;
    size_t from = 0;
    while (p->args[count])
        count++;
    while (p->args[from] && p->args[from][0] != '-')
        from++;
    char **out = mem_alloc(count - from + 1, sizeof(*out));
    for (size_t i = from; i < count; i++)
        out[i - from] = mem_strdup(p->args[i]);
    return out;
}

/* "/kubepods/burstable/pod<uid>/<container>", "…/kubepods-burstable-pod<uid>.slice/…", where dashes
 * of the uid are underscores. */
char *kubeadm_pod_uid(const char *cgroup)
{
    enum { SHORTEST = 32 };
    for (const char *at = cgroup; (at = strstr(at, "pod")); at += 3) {
        size_t len = strspn(at + 3, "0123456789abcdef-_");
        if (at == cgroup || !strchr("/-", at[-1]) || len < SHORTEST)
            continue;
        char *uid = mem_strndup(at + 3, len);
        for (char *c = uid; *c; c++) {
            if (*c == '_')
                *c = '-';
        }
        return uid;
    }
    return NULL;
}

void kubeadm_mark(const char *text, char out[11])
{
    char sha256[65];
    sha256_hex(text, strlen(text), sha256);
    memcpy(out, sha256, 10);
    out[10] = '\0';
}

char *kubeadm_doubt(const struct static_pod *pod, const struct host_process *p)
{
    struct apiserver a CLEANUP(apiserver_free) = {0};
    char mark[11];
    if (!pod)
        return mem_strdup("there is no " KUBEADM_MANIFEST " (was it moved to " KUBEADM_AWAY "?), "
                          "and a kube-apiserver runs: it is being ended, or the kubelet does not "
                          "run");
    apiserver_set_args(&a, kubeadm_flags(p));
    const char *says = static_pod_config(pod);
    if (!str_eq(says, a.config_path))
        return mem_printf(KUBEADM_MANIFEST " says %s%s, and the kube-apiserver that runs was "
                                           "started with %s: the kubelet has not acted on it",
                          says ? "--encryption-provider-config=" : "nothing of encryption",
                          says ? says : "", a.config_path ? a.config_path : "none");
    kubeadm_mark(p->identity, mark);
    if (str_eq(mark, pod->restart))
        return mem_strdup(KUBEADM_MANIFEST " asks for another kube-apiserver than the one that "
                                           "runs: the kubelet has not acted on it");
    return NULL;
}

static char **copy_of(char *const *args)
{
    size_t count = 0;
    while (args[count])
        count++;
    char **out = mem_alloc(count + 1, sizeof(*out));
    for (size_t i = 0; i < count; i++)
        out[i] = mem_strdup(args[i]);
    return out;
}

/* A kubelet that replaces the pod has two of them for a moment. */
static int look_at_one(struct node *n, struct kubeadm_view *v, struct error *err)
{
    int64_t deadline = loop_now() + REPLACED_MS;
    for (;;) {
        if (kubeadm_look(n, v, err) < 0)
            return -1;
        if (v->count < 2)
            return 0;
        if (loop_now() >= deadline)
            return error_set(err, RESULT_FAILED,
                             "%zu processes are called kube-apiserver on the node, for %d s by "
                             "now: which of them is this cluster's can't be told",
                             v->count, REPLACED_MS / 1000);
        if (loop_pause(n->loop, POLL_MS, err) < 0)
            return -1;
    }
}

int kubeadm_moved(struct node *n, bool *there, struct static_pod **pod, struct error *err)
{
    static const char *const places[] = {KUBEADM_AWAY, KUBEADM_KEPT};
    *there = false;
    *pod = NULL;
    for (size_t i = 0; i < ARRAY_LEN(places) && !*there; i++) {
        struct buf text CLEANUP(buf_free) = {0};
        struct error unread CLEANUP(error_clear) = {0};
        bool missing = false;
        if (host_file_read(kubeadm_host(n), places[i], &text, &missing, err) < 0)
            return -1;
        *there = !missing;
        if (!missing && static_pod_read(buf_str(&text), text.len, places[i], pod, &unread) < 0)
            *pod = NULL;
    }
    return 0;
}

static int kubeadm_observe(struct node *n, struct apiserver *out, struct error *err)
{
    struct kubeadm_view v CLEANUP(kubeadm_view_free) = {0};
    struct static_pod *elsewhere CLEANUP(cleanup_static_pod) = NULL;
    struct buf logs CLEANUP(buf_free) = {0};
    bool moved = false, kept = false;
    long restarts = 0;
    if (look_at_one(n, &v, err) < 0 || kubeadm_logs(n, &logs, &restarts, err) < 0 ||
        host_file_is(kubeadm_host(n), "-e", KUBEADM_KEPT, &kept, err) < 0 ||
        (!v.pod && kubeadm_moved(n, &moved, &elsewhere, err) < 0))
        return -1;
    *out = (struct apiserver){.exists = v.pod || v.count || moved,
                              .running = v.count,
                              .restarts = restarts,
                              .unsettled = kept};
    const struct static_pod *pod = v.pod ? v.pod : elsewhere;
    if (v.count) {
        out->doubt = kubeadm_doubt(v.pod, &v.list[0]);
        out->doubt_next = out->doubt && pod ? mem_strdup(static_pod_config(pod)) : NULL;
        out->process = STEAL(v.list[0].identity);
        out->since = STEAL(v.list[0].since);
        apiserver_set_args(out, kubeadm_flags(&v.list[0]));
    } else if (pod) {
        apiserver_set_args(out, copy_of(pod->args));
    }
    return 0;
}

static int kubeadm_find_cluster(struct node *n, const char **sign, struct error *err)
{
    static const char *const signs[] = {KUBEADM_ADMIN, "/var/lib/etcd/member"};
    *sign = NULL;
    for (size_t i = 0; i < ARRAY_LEN(signs) && !*sign; i++) {
        bool there = false;
        if (host_file_is(kubeadm_host(n), "-e", signs[i], &there, err) < 0)
            return -1;
        *sign = there ? signs[i] : NULL;
    }
    return 0;
}

void kubeadm_want_free(struct kubeadm_want *w)
{
    for (size_t i = 0; w->texts && w->texts[i]; i++)
        mem_free(w->texts[i]);
    mem_free(w->texts);
    mem_free(w->binds);
    *w = (struct kubeadm_want){0};
}

/* "host:container:ro,z" */
static bool is_read_only(const char *bind)
{
    const char *options = strchr(bind, ':');
    options = options ? strchr(options + 1, ':') : NULL;
    for (; options; options = strchr(options + 1, ','))
        if (strncmp(options + 1, "ro", 2) == 0 && (!options[3] || options[3] == ','))
            return true;
    return false;
}

/* The flag had another name before 1.13: by the tag of the image, or by cluster.yml. */
static bool is_old(const struct node *n, const struct static_pod *p)
{
    struct kube_version v = {0};
    /* (Without the digest that may come after the tag.) */
    char *image CLEANUP(cleanup_mem) =
        p && p->image ? mem_strndup(p->image, strcspn(p->image, "@")) : NULL;
    const char *tag = image ? strrchr(image, ':') : NULL;
    const char *told = n->cluster ? n->cluster->kubernetes_version : NULL;
    bool known = (tag && kube_version_parse(tag + 1, &v)) || (told && kube_version_parse(told, &v));
    return known && !kube_version_at_least(v, 1, 13);
}

void kubeadm_want_of(const struct node *n, const struct static_pod *p,
                     const struct apiserver_want *want, struct kubeadm_want *out)
{
    size_t count = 0;
    while (want->binds && want->binds[count])
        count++;
    *out = (struct kubeadm_want){
        .pod = {.config_path = want->config_path, .old_flag = is_old(n, p), .bind_count = count}};
    out->binds = mem_alloc(count, sizeof(*out->binds));
    out->texts = mem_alloc(2 * count + 1, sizeof(*out->texts));
    for (size_t i = 0; i < count; i++) {
        out->texts[2 * i] = bind_host(want->binds[i]);
        out->texts[2 * i + 1] = bind_container(want->binds[i]);
        out->binds[i] = (struct static_pod_bind){out->texts[2 * i], out->texts[2 * i + 1],
                                                 is_read_only(want->binds[i])};
    }
    out->pod.binds = out->binds;
}

static int kubeadm_start_with(struct node *n, const struct apiserver_want *want, char ***flags,
                              char ***mounts, struct error *err)
{
    (void)err;
    size_t binds = 0;
    while (want->binds && want->binds[binds])
        binds++;
    char **flag = mem_alloc(2, sizeof(*flag));
    char **mount = mem_alloc(binds + 2, sizeof(*mount));
    if (want->config_path) {
        const char *slash = strrchr(want->config_path, '/');
        int len = slash ? (int)(slash - want->config_path) : 0;
        flag[0] = mem_printf("--%sencryption-provider-config=%s",
                             is_old(n, NULL) ? "experimental-" : "", want->config_path);
        mount[0] = mem_printf("%.*s:%.*s:ro", len, want->config_path, len, want->config_path);
        for (size_t i = 0; i < binds; i++)
            mount[i + 1] = mem_strdup(want->binds[i]);
    }
    *flags = flag;
    *mounts = mount;
    return 0;
}

/* The manifest moved out of the kubelet's folder until the process is gone, then back: whatever
 * ends this in between, and over nothing that was put there meanwhile (so by ln(1)). In a shell of
 * its own, for its traps. */
#define RESTART                                                                                    \
    "(m=" KUBEADM_MANIFEST "; k=" KUBEADM_AWAY "; i=0; "                                           \
    "up() { pgrep -x kube-apiserver || pgrep -f '^[^ ]*hyperkube (kube-)?apiserver'; } "           \
    ">/dev/null; "                                                                                 \
    "wait_for() { until \"$@\"; do i=$((i+1)); [ $i -le 180 ] || "                                 \
    "{ echo 'kube-apiserver: the kubelet does nothing' >&2; exit 1; }; sleep 1; done; }; "         \
    "gone() { ! up; }; back() { ln $k $m && rm $k; }; "                                            \
    "[ ! -e $k ] || [ ! -e $m ] || { echo \"$k and $m: which is right?\" >&2; exit 1; }; "         \
    "trap '[ ! -e $k ] || back' EXIT; trap 'exit 1' HUP INT TERM; "                                \
    "[ -e $k ] || mv $m $k || exit 1; wait_for gone; back || exit 1; i=0; wait_for up)"

const struct driver driver_kubeadm = {
    .kind = "kubeadm",
    .words = {.apiserver = "the static pod kube-apiserver",
              .logs =
                  "tail -n 40 " KUBEADM_LOGS "/kube-system_kube-apiserver-*/kube-apiserver/*.log",
              .start = "[ -e " KUBEADM_MANIFEST " ] || ln " KUBEADM_AWAY " " KUBEADM_MANIFEST
                       "; systemctl restart kubelet",
              .flags = KUBEADM_MANIFEST,
              .restart = RESTART,
              .left_over = "diff " KUBEADM_KEPT " " KUBEADM_MANIFEST,
              .left_over_is = "the manifest of before an interrupted change is kept there "
                              "(" KUBEADM_KEPT ")",
              .left_over_means = "it is what can be gone back to: leave it there; the next change "
                                 "(a rotation, say) removes it when the apiserver is ready",
              .keep_off = "`kubeadm upgrade`"},
    .mounts = true,
    .admin_kubeconfig = KUBEADM_ADMIN,
    .open = kubeadm_open,
    .close = kubeadm_close,
    .observe = kubeadm_observe,
    .find_cluster = kubeadm_find_cluster,
    .host_path = kubeadm_host_path,
    .read_file = kubeadm_read_file,
    .changed_at = kubeadm_changed_at,
    .read_node_file = kubeadm_read_node_file,
    .default_config_path = "/etc/kubernetes/enc/encryption.yaml",
    .check_place = kubeadm_check_place,
    .rehearse = kubeadm_rehearse,
    .check_start = kubeadm_check_start,
    .put_file = kubeadm_put_file,
    .remove_file = kubeadm_remove_file,
    .claim_file = kubeadm_claim_file,
    .start_with = kubeadm_start_with,
    .start = kubeadm_start,
    .settle = kubeadm_settle,
    .go_back = kubeadm_go_back,
    .find_socket = kubeadm_find_socket,
    .look_for_socket = kubeadm_look_for_socket,
    .record = kubeadm_record,
    .log_tail = kubeadm_log_tail,
};
