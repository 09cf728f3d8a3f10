/*
 * The driver for kube-apiservers that a kubelet runs as static pods: kubeadm's clusters, and what
 * looks like them. Inner parts, for the driver's own files and its tests.
 *
 * What an apiserver runs with is what its process says; the manifest says what it is to run with,
 * and writing it is how the kubelet is told to put another in its place. Where nothing in it has to
 * change, an annotation does: a short hash of the process that is to end, so that a run that goes
 * on after a kill sees that this was asked for already.
 */
#ifndef ENCRYPT_PROVISIONER_DRIVERS_KUBEADM_H
#define ENCRYPT_PROVISIONER_DRIVERS_KUBEADM_H

#include "provisioner/host/host.h"
#include "templates/static_pod.h"

#define KUBEADM_MANIFESTS "/etc/kubernetes/manifests"
#define KUBEADM_MANIFEST KUBEADM_MANIFESTS "/kube-apiserver.yaml"
/* What the manifest was before the change that is under way. Not in the kubelet's folder: it would
 * run it. */
#define KUBEADM_KEPT "/etc/kubernetes/.encrypt-kube-apiserver.yaml"
#define KUBEADM_LOGS "/var/log/pods"
#define KUBEADM_ADMIN "/etc/kubernetes/admin.conf"
/* Where the manifest lies while somebody restarts the apiserver by hand, by the driver's words. */
#define KUBEADM_AWAY "/etc/kubernetes/kube-apiserver.yaml"

struct kubeadm {
    struct host host;
};
const struct host *kubeadm_host(const struct node *n);

/* The manifest and the processes, as they are. */
struct kubeadm_view {
    struct buf text;
    struct static_pod *pod; /* NULL where there is no manifest */
    struct host_process *list;
    size_t count;
};
void kubeadm_view_free(struct kubeadm_view *v); /* also for CLEANUP */
int kubeadm_look(struct node *n, struct kubeadm_view *v, struct error *err) MUST_CHECK;

/* The processes of kube-apiserver on the node, hyperkube's too; as host_processes() gives them. */
int kubeadm_processes(struct node *n, struct host_process **out, size_t *count,
                      struct error *err) MUST_CHECK;

/* Why that process is not what the manifest says (the kubelet has not acted on it), as struct
 * apiserver's doubt; to be freed. NULL: nothing speaks against it. `pod` NULL: there is no
 * manifest.
 */
char *kubeadm_doubt(const struct static_pod *pod, const struct host_process *p);

/* The uid of the pod that /proc/PID/cgroup tells, as the names of its logs have it; to be freed.
 * NULL: it tells none. */
char *kubeadm_pod_uid(const char *cgroup);

/* Short, and another for each text (the process that is to end): what the annotation says. */
void kubeadm_mark(const char *text, char out[11]);

/* The manifest alone: NULL where there is none. `text` may be NULL. */
int kubeadm_manifest(struct node *n, struct buf *text, struct static_pod **out,
                     struct error *err) MUST_CHECK;

/* Where there is no manifest: one that was moved out of the kubelet's folder, or what it was before
 * our change. *there: the node has an apiserver all the same, whatever stands in it. *pod: NULL
 * where that can't be read. */
int kubeadm_moved(struct node *n, bool *there, struct static_pod **pod,
                  struct error *err) MUST_CHECK;
/* REFUSED: there is no manifest; says how it comes back. */
int kubeadm_refuse_without(const struct node *n, struct error *err);

/* A process' flags: what follows its name. To be freed as apiserver.args are. */
char **kubeadm_flags(const struct host_process *p);

/* The binds of `want` as static_pod.h has them; owned by `out`. */
struct kubeadm_want {
    struct static_pod_want pod;
    struct static_pod_bind *binds;
    char **texts; /* NULL-terminated */
};
void kubeadm_want_free(struct kubeadm_want *w); /* also for CLEANUP */
void kubeadm_want_of(const struct node *n, const struct static_pod *p,
                     const struct apiserver_want *want, struct kubeadm_want *out);

/* --- kubeadm_change.c --- */
int kubeadm_start(struct node *n, const struct apiserver_want *want, const char *process,
                  struct error *err);
int kubeadm_settle(struct node *n, struct error *err);
int kubeadm_check_start(struct node *n, const struct apiserver_want *want, struct error *err);
int kubeadm_go_back(struct node *n, const struct apiserver_want *want, struct error *err);

/* --- kubeadm_files.c --- */

/* Where an absolute path of the apiserver's lies on the node: by its mounts (where the manifest was
 * moved away, by those that it has there), or by the one that start() would add. REFUSED where what
 * is mounted there is none of the node's. To be freed. */
int kubeadm_host_path(struct node *n, const char *path, char **out, struct error *err) MUST_CHECK;
int kubeadm_read_file(struct node *n, const char *path, struct buf *out, bool *missing,
                      struct error *err);
int kubeadm_changed_at(struct node *n, const char *path, long long *out, struct error *err);
int kubeadm_read_node_file(struct node *n, const char *path, struct buf *out, bool *missing,
                           struct error *err);
/* REFUSED where another file beside the manifest may be one of kube-apiserver too. */
int kubeadm_check_folder(struct node *n, struct error *err) MUST_CHECK;
/* …by its name, as `ls -p` has it. Pure. */
bool kubeadm_is_double(const char *name, size_t len);
int kubeadm_check_place(struct node *n, const char *path, struct error *err);
int kubeadm_rehearse(struct node *n, const char *path, struct error *err);
int kubeadm_put_file(struct node *n, const struct node_text *file, const struct node_text *beside,
                     struct error *err);
int kubeadm_claim_file(struct node *n, const struct node_text *file, bool *claimed,
                       struct error *err);
int kubeadm_remove_file(struct node *n, const char *path, struct error *err);
/* For kubeadm_find_socket(), which reads the manifest: `pod` NULL: there is none yet, and kubeadm
 * will make it with the binds (its hostPath volumes). */
int kubeadm_place_socket(const struct node *n, const struct static_pod *pod, const char *path,
                         char *const *binds, struct node_socket *out, struct error *err) MUST_CHECK;
int kubeadm_find_socket(struct node *n, const char *path, char *const *binds,
                        struct node_socket *out, struct error *err);
int kubeadm_look_for_socket(struct node *n, const struct node_socket *at, enum socket_there *out,
                            struct error *err);

/* --- kubeadm_log.c --- */

/* The logs of the pod's containers that are there, one path a line; how often a container was
 * started again, by their names. */
int kubeadm_logs(struct node *n, struct buf *out, long *restarts, struct error *err) MUST_CHECK;
int kubeadm_log_tail(struct node *n, size_t lines, struct buf *out, struct error *err);
/* For tests: the last lines of the log that was written last, out of what tail(1) gives of several;
 * Docker's JSON or the CRI's form. Not yet checked for keys. */
void kubeadm_last_lines(const char *text, size_t lines, struct buf *out);
/* For tests: the sum of the numbers that the newest log of each pod has. */
long kubeadm_restarts(const char *paths);

/* --- kubeadm_record.c --- */
/* The same tried, without writing. */
int kubeadm_try_record(struct node *n, const struct http_server *api,
                       const struct apiserver_want *want, struct error *err) MUST_CHECK;
int kubeadm_record(struct node *n, const struct http_server *api, const struct apiserver_want *want,
                   bool *changed, struct error *err);

#endif
