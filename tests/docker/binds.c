/* Binds: added where they are missing, gone back from, refused; killed at each call. */
#include "tests/docker/lab.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char path[] = "/etc/kubernetes/ssl/encryption.yaml";

static bool has_mount(struct lab *l, const char *container, const char *destination)
{
    json_auto_t *it = inspect(l, container);
    size_t i = 0;
    const json_t *mount = NULL;
    json_array_foreach (json_object_get(it, "Mounts"), i, mount) {
        if (str_eq(json_string_value(json_object_get(mount, "Destination")), destination))
            return true;
    }
    return false;
}

static int start_wanted(struct node *n, void *want, struct error *err)
{
    return driver_rke.start(n, want, NULL, err);
}

static int go_back_wanted(struct node *n, void *want, struct error *err)
{
    return driver_rke.go_back(n, want, err);
}

static void observe(struct lab *l, struct apiserver *a)
{
    apiserver_free(a);
    DO(driver_rke.observe(&l->node, a, &err));
}

static void test_added(struct lab *l, char *const *binds)
{
    begin(l, "added");
    struct apiserver a CLEANUP(apiserver_free) = {0};
    struct apiserver b CLEANUP(apiserver_free) = {0};
    const struct apiserver_want with_bind = {path, binds};
    make_apiserver(l, NULL);
    DO(lab_start(l, path, NULL, &err));
    DO(driver_rke.settle(&l->node, &err));
    observe(l, &a);
    /* The flag is right, and the process is another than the one to end: the bind alone asks for
     * it. */
    DO(driver_rke.start(&l->node, &with_bind, "", &err));
    observe(l, &b);
    CHECK(!str_eq(a.process, b.process) && has_mount(l, RKE_CURRENT, "/kms"));
    json_auto_t *it = inspect(l, RKE_CURRENT);
    const json_t *list = json_object_get(json_object_get(it, "HostConfig"), "Binds");
    CHECK(json_array_size(list) == 2 &&
          str_eq(json_string_value(json_array_get(list, 1)), binds[0]));
    check_end(l, path, "always", false);
    /* The same call again, and one that asks for none: nothing is done, and none is removed. */
    DO(driver_rke.start(&l->node, &with_bind, "", &err));
    DO(lab_start(l, path, "", &err));
    observe(l, &a);
    CHECK(str_eq(a.process, b.process));
    DO(driver_rke.settle(&l->node, &err));
    check_end(l, path, "always", true);
    DO(lab_start(l, NULL, NULL, &err));
    DO(driver_rke.settle(&l->node, &err));
    CHECK(has_mount(l, RKE_CURRENT, "/kms"));
    check_end(l, NULL, "always", true);
    end(l, "a bind is added where it is missing, and stays");
}

static void test_refused_binds(struct lab *l, const char *folder)
{
    begin(l, "refused");
    struct apiserver a CLEANUP(apiserver_free) = {0};
    struct apiserver b CLEANUP(apiserver_free) = {0};
    char *missing CLEANUP(cleanup_mem) = mem_printf("%s/missing", folder);
    char *of_missing CLEANUP(cleanup_mem) = mem_printf("%s:/kms", missing);
    char *other CLEANUP(cleanup_mem) = mem_printf("%s:/etc/kubernetes/", folder);
    char *const cases[][2] = {{of_missing, NULL}, {other, NULL}};
    static const char *const words[] = {"there is no", "another mount at /etc/kubernetes"};
    make_apiserver(l, NULL);
    observe(l, &a);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct apiserver_want want = {path, cases[i]};
        REFUSED(driver_rke.start(&l->node, &want, a.process, &err), words[i]);
        observe(l, &b);
        CHECK(b.running && str_eq(a.process, b.process) && ours(l) == 0 && !b.unsettled);
    }
    CHECK(access(missing, F_OK) != 0);
    end(l, "a bind of a folder that isn't there, or to where something else is");
}

/* start() with another flag and a bind killed at each call; then the same again, or going back. */
static void test_killed(struct lab *l, char *const *binds, bool flag_too, bool back,
                        const char *name)
{
    begin(l, name);
    struct apiserver_want want = {path, binds};
    const char *from = flag_too ? NULL : path;
    const struct apiserver_want before = {.config_path = from};
    int points = 0;
    for (int k = 1;; k++, points++) {
        make_apiserver(l, NULL);
        DO(lab_start(l, from, NULL, &err));
        DO(driver_rke.settle(&l->node, &err));
        if (!killed_at(l, k, start_wanted, &want))
            break;
        check_one(l);
        if (back)
            DO(driver_rke.go_back(&l->node, &before, &err));
        else
            DO(driver_rke.start(&l->node, &want, NULL, &err));
        check_end(l, back ? from : path, "always", false);
        CHECK(has_mount(l, RKE_CURRENT, "/kms") == !back);
        DO(driver_rke.settle(&l->node, &err));
        check_end(l, back ? from : path, "always", true);
        CHECK(has_mount(l, RKE_CURRENT, "/kms") == !back);
    }
    /* Two more than without: the helper that looks for the folder. */
    CHECK(points == 11);
    end(l, name);
}

/* From one with a bind that was added to the one that was kept, killed at each call. */
static void test_back_killed(struct lab *l, char *const *binds)
{
    begin(l, "back");
    struct apiserver_want without = {.config_path = path};
    const struct apiserver_want with_bind = {path, binds};
    int points = 0;
    for (int k = 1;; k++, points++) {
        make_apiserver(l, NULL);
        DO(lab_start(l, path, NULL, &err));
        DO(driver_rke.settle(&l->node, &err));
        DO(driver_rke.start(&l->node, &with_bind, NULL, &err));
        CHECK(has_mount(l, RKE_CURRENT, "/kms"));
        if (!killed_at(l, k, go_back_wanted, &without))
            break;
        check_one(l);
        DO(driver_rke.go_back(&l->node, &without, &err));
        check_end(l, path, "always", true);
        CHECK(!has_mount(l, RKE_CURRENT, "/kms"));
    }
    CHECK(points == 9);
    CHECK(!has_mount(l, RKE_CURRENT, "/kms"));

    /* What is gone back to needs the bind: then the new one is right. */
    DO(driver_rke.start(&l->node, &with_bind, NULL, &err));
    DO(driver_rke.go_back(&l->node, &with_bind, &err));
    CHECK(has_mount(l, RKE_CURRENT, "/kms"));
    check_end(l, path, "always", false);
    /* One that was settled has nothing else to go back to, and has what is wanted. */
    DO(driver_rke.settle(&l->node, &err));
    DO(driver_rke.go_back(&l->node, &without, &err));
    CHECK(has_mount(l, RKE_CURRENT, "/kms"));
    check_end(l, path, "always", true);
    end(l, "going back from a bind that was added");
}

/* A bind with which no container starts: what was kept comes back. */
static void test_bind_that_fails(struct lab *l, const char *folder)
{
    begin(l, "fails");
    struct apiserver a CLEANUP(apiserver_free) = {0};
    char *bind CLEANUP(cleanup_mem) = mem_printf("%s:/usr/local/bin/kube-apiserver", folder);
    char *const binds[] = {bind, NULL};
    const struct apiserver_want want = {path, binds};
    make_apiserver(l, NULL);
    DO(lab_start(l, path, NULL, &err));
    DO(driver_rke.settle(&l->node, &err));
    REFUSED(driver_rke.start(&l->node, &want, NULL, &err), "kube-apiserver");
    observe(l, &a);
    CHECK(!a.running);
    DO(lab_go_back(l, path, &err));
    check_end(l, path, "always", true);
    end(l, "a bind with which no container starts");
}

/* The same flag, and a bind with which no container starts: a run was killed after the new one got
 * its name. */
static void make_dead(struct lab *l, const struct apiserver_want *want)
{
    make_apiserver(l, NULL);
    DO(lab_start(l, path, NULL, &err));
    DO(driver_rke.settle(&l->node, &err));
    REFUSED(driver_rke.start(&l->node, want, NULL, &err), "kube-apiserver");
}

/* Wanting what the one that was kept has, it comes back, whatever is called (abort has start()). */
static void test_kept_beside_dead(struct lab *l, const char *folder)
{
    begin(l, "kept");
    char *bind CLEANUP(cleanup_mem) = mem_printf("%s:/usr/local/bin/kube-apiserver", folder);
    char *const binds[] = {bind, NULL};
    struct apiserver_want with_bind = {path, binds};
    struct apiserver_want without = {.config_path = path};
    static const operation operations[] = {start_wanted, go_back_wanted};
    struct buf file CLEANUP(buf_free) = {0};
    bool missing = false;
    make_dead(l, &with_bind);
    /* With the bind, no other will do. */
    REFUSED(driver_rke.start(&l->node, &with_bind, "", &err), "kube-apiserver");
    REFUSED(driver_rke.go_back(&l->node, &with_bind, &err), "kube-apiserver");
    /* The node's files are reached all the same: what is gone back to is put there first. */
    DO(driver_rke.put_file(&l->node, &(struct node_text){path, "a", 1}, NULL, &err));
    DO(driver_rke.read_file(&l->node, path, &file, &missing, &err));
    CHECK(!missing && str_eq(buf_str(&file), "a"));
    DO(driver_rke.remove_file(&l->node, path, &err));
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        int points = 0;
        for (int k = 1;; k++, points++) {
            make_dead(l, &with_bind);
            if (!killed_at(l, k, operations[i], &without))
                break;
            check_one(l);
            DO(operations[i](&l->node, &without, &err));
            check_end(l, path, "always", false);
            DO(driver_rke.settle(&l->node, &err));
            check_end(l, path, "always", true);
            CHECK(!has_mount(l, RKE_CURRENT, "/usr/local/bin/kube-apiserver"));
        }
        check_end(l, path, "always", true);
        CHECK(points == 8);
    }
    end(l, "one that never started, beside the one that was kept");
}

static int unix_socket(const char *at)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(a.sun_path, at, sizeof(a.sun_path) - 1);
    return fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof(a)) == 0 ? fd : -1;
}

static void test_sockets(struct lab *l, const char *folder, char *const *binds)
{
    static const struct {
        const char *path, *below, *word; /* word: refused with it */
        enum socket_there there;
        bool alone;
    } cases[] = {
        {"/kms//./sock", "/kms/sock", NULL, SOCKET_THERE, false},
        {"/kms/none", "/kms/none", NULL, SOCKET_NOTHING, false},
        {"/kms/file", "/kms/file", NULL, SOCKET_OTHER, false},
        {"/kms", "/kms", NULL, SOCKET_OTHER, true},
        {"/gone/sock", "/gone/sock", NULL, SOCKET_NO_FOLDER, false},
        {"/etc/kubernetes/none", "/kubernetes/none", NULL, SOCKET_NOTHING, false},
        {"/run/kms.sock", NULL, "has no mount that holds /run/kms.sock", SOCKET_NOTHING, false},
        {"/kms2/sock", NULL, "has no mount that holds", SOCKET_NOTHING, false},
    };
    begin(l, "sockets");
    make_apiserver(l, NULL);
    char *sock CLEANUP(cleanup_mem) = mem_printf("%s/sock", folder);
    char *file CLEANUP(cleanup_mem) = mem_printf("%s/file", folder);
    char *gone CLEANUP(cleanup_mem) = mem_printf("%s/gone:/gone", l->dir);
    char *const both[] = {binds[0], gone, NULL};
    int fd CLEANUP(cleanup_fd) = unix_socket(sock);
    CHECK(fd >= 0);
    FILE *f = fopen(file, "w");
    CHECK(f && fclose(f) == 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct node_socket at CLEANUP(node_socket_free) = {0};
        enum socket_there there = SOCKET_NO_FOLDER;
        if (cases[i].word) {
            REFUSED(driver_rke.find_socket(&l->node, cases[i].path, both, &at, &err),
                    cases[i].word);
            continue;
        }
        char *host CLEANUP(cleanup_mem) = mem_printf("%s%s", l->dir, cases[i].below);
        DO(driver_rke.find_socket(&l->node, cases[i].path, both, &at, &err));
        if (!CHECK(str_eq(at.host_path, host) && at.alone == cases[i].alone))
            printf("    %s is at %s\n", cases[i].path, at.host_path);
        DO(driver_rke.look_for_socket(&l->node, &at, &there, &err));
        if (!CHECK(there == cases[i].there))
            printf("    %s: %d\n", cases[i].path, (int)there);
    }
    struct node_socket at CLEANUP(node_socket_free) = {0};
    DO(driver_rke.find_socket(&l->node, "@kms", both, &at, &err));
    CHECK(str_eq(at.path, "@kms") && !at.host_path);
    CHECK(ours(l) == 0);
    CHECK(unlink(sock) == 0 && unlink(file) == 0);
    char *not_made CLEANUP(cleanup_mem) = mem_printf("%s/gone", l->dir);
    CHECK(access(not_made, F_OK) != 0);
    end(l, "where a socket lies, and whether it is there");
}

void test_binds(struct lab *l)
{
    char *folder CLEANUP(cleanup_mem) = mem_printf("%s/kms", l->dir);
    char *bind CLEANUP(cleanup_mem) = mem_printf("%s:/kms:ro", folder);
    char *const binds[] = {bind, NULL};
    mkdir(folder, 0755);
    test_added(l, binds);
    test_refused_binds(l, folder);
    test_killed(l, binds, true, false, "start() with a bind killed, then again");
    test_killed(l, binds, true, true, "start() with a bind killed, then go_back()");
    test_killed(l, binds, false, true, "start() with a bind alone killed, then go_back()");
    test_back_killed(l, binds);
    test_bind_that_fails(l, folder);
    test_kept_beside_dead(l, folder);
    test_sockets(l, folder, binds);
}
