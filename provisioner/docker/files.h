/*
 * Files on the node through the Engine API alone: no shell over SSH, no root, no sudo, no pulled
 * image; a node's user who is in the group `docker` and nothing else can do it, and it does not
 * matter whether the apiserver runs, is down, or crash-loops.
 *
 * The Engine's own upload is no safe way to replace a file: it removes the old one and writes the
 * new one in its place, without fsync, and it can't delete. So the file is uploaded under another
 * name, and a *helper* finishes it: a container of the apiserver's own image that is there for this
 * one act, has nothing but the file's mount, no network and no environment of ours, and runs a few
 * lines of shell: check, chmod, sync, mv, sync. (An exec in the apiserver's container would save
 * 0.2 s of 0.35 s, and would work only while that runs.) The contents travel in the body of the
 * upload only.
 *
 * The helper is also the record of what is under way: it is created before the temporary file and
 * removed after that is gone, and its labels name the place. So a run that was killed leaves no key
 * that the next run does not find.
 */
#ifndef ENCRYPT_PROVISIONER_DOCKER_FILES_H
#define ENCRYPT_PROVISIONER_DOCKER_FILES_H

#include "provisioner/docker/engine.h"
#include "provisioner/node.h"

/* How the names of helpers begin. */
#define DOCKER_HELPER_PREFIX "encrypt-helper-"
/* The label that all of them have. */
#define DOCKER_HELPER_LABEL "io.encrypt.helper"

/* In all of these `base` is the inspected container whose mounts say where a path is, and whose
 * image helpers are made of. */

/* See struct driver's put_file, remove_file and read_file. REFUSED where the path does not lie on
 * the node by a bind mount (reading looks anywhere), and where `beside` is not in its folder. */
int docker_file_put(const struct http_server *d, const json_t *base, const struct node_text *file,
                    const struct node_text *beside, struct error *err) MUST_CHECK;
/* The same where nothing of that name is there yet, in one act of the node's kernel: *claimed is
 * false where something is, and that stays. Clears nothing of other runs first: another's may be at
 * work, and one of the two gets it. */
int docker_file_claim(const struct http_server *d, const json_t *base, const struct node_text *file,
                      bool *claimed, struct error *err) MUST_CHECK;
/* Makes the folder of `path` on the node where it isn't there: root's, 0755. REFUSED where others
 * than root may write into it. */
int docker_folder_make(const struct http_server *d, const json_t *base, const char *path,
                       struct error *err) MUST_CHECK;
int docker_file_remove(const struct http_server *d, const json_t *base, const char *path,
                       struct error *err) MUST_CHECK;
/* A symbolic link is followed once. */
int docker_file_read(const struct http_server *d, const char *container, const char *path,
                     struct buf *out, bool *missing, struct error *err) MUST_CHECK;

/* See struct driver's changed_at: its mtime. 0 of a symbolic link. */
int docker_file_changed_at(const struct http_server *d, const char *container, const char *path,
                           long long *out, struct error *err) MUST_CHECK;

/* Whether something lies on the node by this path: by a helper that is made and never started. The
 * daemon makes nothing in its place where nothing is (as it would for a bind). */
int docker_has_on_node(const struct http_server *d, const json_t *base, const char *host,
                       bool *there, struct error *err) MUST_CHECK;
/* See struct driver's look_for_socket. `at` has a host_path. */
int docker_look_for_socket(const struct http_server *d, const json_t *base,
                           const struct node_socket *at, enum socket_there *out,
                           struct error *err) MUST_CHECK;

/* Removes helpers that killed runs left, and their temporary files. The caller holds the cluster's
 * lock, so that none is at work for another. */
int docker_helpers_clear(const struct http_server *d, struct error *err) MUST_CHECK;
/* Waits (at most 10 s each) for helpers in the list (docker_list's) that still run: a killed run's
 * file may be just about to get into its place. */
int docker_helpers_wait(const struct http_server *d, const json_t *list,
                        struct error *err) MUST_CHECK;

#endif
