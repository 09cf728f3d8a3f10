/* The live tests' surroundings: a dockerd, a stand-in apiserver, and a proxy that kills its client.
 */
#ifndef ENCRYPT_TESTS_DOCKER_LAB_H
#define ENCRYPT_TESTS_DOCKER_LAB_H

#include "provisioner/drivers/rke.h"

#include <stdio.h>
#include <sys/types.h>

struct lab {
    const char *dir;
    char *socket; /* dockerd's */
    pid_t dockerd;
    struct loop *loop;
    struct http_server d;
    struct node node; /* opened on dockerd itself */
    int passed, failed;
    bool bad; /* the case at work has failed */
};

void lab_open(struct lab *l, const char *dir); /* ends the program where it can't */
void lab_close(struct lab *l);
void lab_start_dockerd(struct lab *l);
void lab_stop_dockerd(struct lab *l);

/* A node by way of a socket; driver_rke's. */
void node_open(struct node *n, struct loop *loop, const char *socket);

/* Removes all containers and makes kube-apiserver of these settings (NULL: RKE's), running. */
void make_apiserver(struct lab *l, json_t *settings);
json_t *rke_settings(const struct lab *l); /* as RKE makes it */

/* The driver's start() and go_back() with that flag (NULL: without), and no binds. */
int lab_start(struct lab *l, const char *config_path, const char *process, struct error *err);
int lab_go_back(struct lab *l, const char *config_path, struct error *err);

/* Does op in a process of its own through a proxy that kills it (SIGKILL) as soon as the daemon
 * answers its Kth request that changes something: the state before the next such request is the
 * same. False where it ended by itself before. */
typedef int (*operation)(struct node *n, void *ctx, struct error *err);
bool killed_at(struct lab *l, int k, operation op, void *ctx);

void begin(struct lab *l, const char *name);
void end(struct lab *l, const char *name);
bool check(struct lab *l, bool ok, const char *what, int line);
#define CHECK(ok) check(l, (ok), #ok, __LINE__)
/* A call that must succeed. */
#define DO(call)                                                                                   \
    do {                                                                                           \
        struct error err CLEANUP(error_clear) = {0};                                               \
        if (!check(l, (call) == 0, #call, __LINE__))                                               \
            printf("    %s\n", err.message ? err.message : "no message");                          \
    } while (0)
/* One that must be refused, with that in its message. */
#define REFUSED(call, word)                                                                        \
    do {                                                                                           \
        struct error err CLEANUP(error_clear) = {0};                                               \
        if (!check(l,                                                                              \
                   (call) == -1 && err.result != RESULT_OK && err.message &&                       \
                       strstr(err.message, word),                                                  \
                   #call, __LINE__))                                                               \
            printf("    %s\n", err.message ? err.message : "no message");                          \
    } while (0)

/* Never two that a dockerd that restarts would start, and never two that run. */
void check_one(struct lab *l);
/* One apiserver, running, with these flags and the policy that it always had. */
void check_end(struct lab *l, const char *config_path, const char *policy, bool settled);
json_t *inspect(struct lab *l, const char *name); /* NULL where there is none */
size_t ours(struct lab *l); /* containers with names of ours, but for kube-apiserver */
void test_files(struct lab *l);
void test_changes(struct lab *l);
void test_kills(struct lab *l);
void test_binds(struct lab *l);
void test_bare(struct lab *l);

#endif
