/*
 * The driver for RKE's clusters (and whatever else runs the apiserver as a Docker container of the
 * name kube-apiserver): inner parts, for the driver's own files and its tests.
 *
 * A container's settings can't be changed: for another flag it is made anew. Names on the node:
 *
 *   kube-apiserver                 the one that is in force
 *   encrypt-new-kube-apiserver     made, never started; or gone back from, and to be removed
 *   encrypt-old-kube-apiserver     what was in force before, kept to go back to: stopped
 *   encrypt-record-kube-apiserver  never started; its labels say what the restart policy was, and
 *                                  of which container
 *   encrypt-helper-…               see docker/files.h
 *
 * At every moment at most one of them has a restart policy other than `no`, so that a dockerd that
 * restarts never starts two apiservers. That is what the record is for: between the call that takes
 * the policy from one container and the call that gives it to the other, it must be somewhere.
 */
#ifndef ENCRYPT_PROVISIONER_DRIVERS_RKE_H
#define ENCRYPT_PROVISIONER_DRIVERS_RKE_H

#include "provisioner/docker/bare.h"
#include "provisioner/docker/engine.h"
#include "provisioner/node.h"

/* As the apiserver's container knows it. */
#define RKE_FOLDER "/etc/kubernetes"

#define RKE_CURRENT "kube-apiserver"
#define RKE_NEW "encrypt-new-kube-apiserver"
#define RKE_OLD "encrypt-old-kube-apiserver"
#define RKE_RECORD "encrypt-record-kube-apiserver"

struct rke {
    struct http_server docker;
    char *folder; /* rke_kubernetes_folder()'s, once it is known */
};

/* What open() does once there is a way to the daemon: takes the server (its contents are the
 * driver's from here on, and gone where this fails), asks for the API version, sets
 * n->driver_data. */
int rke_open_server(struct node *n, struct http_server *server, struct error *err) MUST_CHECK;

/* The containers of ours as they are: inspected settings, NULL where there is none. */
struct rke_view {
    json_t *current, *fresh, *old, *record;
    json_t *list; /* all whose names are ours, as listed; helpers too */
};
int rke_look(const struct rke *r, struct rke_view *v, struct error *err) MUST_CHECK;
void rke_view_free(struct rke_view *v);

/* An apiserver as its inspected container tells. */
void rke_apiserver(const json_t *inspected, struct apiserver *out);

/* Created, and never started, be it that starting failed: where one of its mounts can't be made,
 * the daemon doesn't reach a file by it either. */
bool rke_never_started(const json_t *inspected);

/*
 * The container by which files are reached, inspected: the one in force, but the one that was kept
 * beside one that never started. Where there is none, one that is made for this (docker/bare.h): it
 * is NULL then where BARE_READ finds no folder.
 */
struct rke_base {
    const struct rke *r;
    json_t *it;
    bool bare;
};
int rke_base_open(struct node *n, enum bare_use use, struct rke_base *out,
                  struct error *err) MUST_CHECK;
void rke_base_close(struct rke_base *b); /* also for CLEANUP */

/* --- rke_start.c --- */

/* Where RKE has /etc/kubernetes on the node: prefix_path of cluster.yml, or by the node's system.
 * Not owned. */
int rke_kubernetes_folder(struct node *n, const char **out, struct error *err) MUST_CHECK;
int rke_start_with(struct node *n, const struct apiserver_want *want, char ***flags, char ***mounts,
                   struct error *err);

int rke_start(struct node *n, const struct apiserver_want *want, const char *process,
              struct error *err);
int rke_settle(struct node *n, struct error *err);
int rke_go_back(struct node *n, const struct apiserver_want *want, struct error *err);
int rke_find_socket(struct node *n, const char *path, char *const *binds, struct node_socket *out,
                    struct error *err);
int rke_look_for_socket(struct node *n, const struct node_socket *at, enum socket_there *out,
                        struct error *err);

#endif
