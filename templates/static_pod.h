/*
 * The manifest of a static pod that runs kube-apiserver, as kubeadm, Kubespray and others write it:
 * what it says, and the few edits that are ours. An edit changes the text where it must and nowhere
 * else: comments, order, quoting and unknown fields stay byte for byte, and an edit that is taken
 * back leaves the very bytes of before.
 */
#ifndef ENCRYPT_TEMPLATES_STATIC_POD_H
#define ENCRYPT_TEMPLATES_STATIC_POD_H

#include "base/yaml.h"

/* Names of ours: the volume of the configuration's folder; those of further mounts, with a number
 * after it; the annotation that makes the kubelet start the pod anew. */
#define STATIC_POD_FOLDER "encrypt-io-config"
#define STATIC_POD_MORE "encrypt-io-mount-"
#define STATIC_POD_RESTART "encrypt.io/restart"

/* A volume as the container has it. */
struct static_pod_mount {
    char *container; /* its path there, never NULL */
    char *host;      /* on the node; NULL: it is no hostPath */
    char *volume;    /* its name, never NULL */
    bool read_only;
    bool file; /* said to be no folder (type File, FileOrCreate, Socket) */
    bool ours;
};

struct static_pod {
    struct yaml *document;
    char **args;   /* what follows the program's name; the flags. NULL-terminated */
    char *image;   /* or NULL */
    char *restart; /* what STATIC_POD_RESTART says, or NULL */
    char *user;    /* runAsUser, of the container or else of the pod; NULL: none is named */
    bool host_network;
    struct static_pod_mount *mounts;
    size_t count;
};

/* REFUSED: not YAML, no Pod, no container that runs kube-apiserver (or more than one), its flags
 * inside a shell's command line. */
int static_pod_read(const char *text, size_t len, const char *name, struct static_pod **out,
                    struct error *err) MUST_CHECK;
void static_pod_free(struct static_pod *p);
void cleanup_static_pod(struct static_pod **p);

/* The value of --encryption-provider-config, by either of its names; the last one counts. NULL
 * without. Not owned. */
const char *static_pod_config(const struct static_pod *p);

/* The mount that holds an absolute path of the container, the longest; or NULL. */
const struct static_pod_mount *static_pod_mount_of(const struct static_pod *p, const char *path);

/* Nothing is owned. */
struct static_pod_bind {
    const char *host, *container;
    bool read_only;
};

struct static_pod_want {
    const char *config_path; /* NULL: no such flag, and no mount of ours */
    bool old_flag;           /* where a flag is to be added: under its name before 1.13 */
    const struct static_pod_bind *binds; /* mounts that are there, or added */
    size_t bind_count;
    const char *restart; /* what the annotation says; NULL: it stays, and goes with the flag */
};

/* Whether it has the flag, or none, and the mounts. The annotation doesn't count. */
bool static_pod_has(const struct static_pod *p, const struct static_pod_want *want);

/* The text with what is wanted, checked by reading it. The folder of config_path is mounted, by the
 * same path on the node, where no mount holds it. REFUSED, with what to do: a place that is
 * written in one line (JSON too), something else is mounted where a bind is to go, or the new text
 * would not be the old one but for what was to change. */
int static_pod_edit(const char *text, size_t len, const char *name,
                    const struct static_pod_want *want, struct buf *out,
                    struct error *err) MUST_CHECK;

/* True where two manifests differ in nothing but what static_pod_edit() changes. */
bool static_pod_same_but_ours(const struct static_pod *a, const struct static_pod *b);

#endif
