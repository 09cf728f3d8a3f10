#include "tests/docker/lab.h"

#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "/etc/kubernetes/ssl"
#define PATH FOLDER "/encryption.yaml"

static const char key[] = "secret: VGhpcyBpcyBhIGtleSBvZiAzMiBieXRlcyBmb3IgdGVzdHMu\n";

/* The same path as the node has it. */
static char *on_node(const struct lab *l, const char *path)
{
    return mem_printf("%s/kubernetes%s", l->dir, path + strlen("/etc/kubernetes"));
}

static bool holds(struct lab *l, const char *path, const char *text)
{
    char *real CLEANUP(cleanup_mem) = on_node(l, path);
    struct buf b CLEANUP(buf_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    struct stat st;
    return file_read(real, 1 << 22, false, &b, NULL, &err) == 0 && str_eq(buf_str(&b), text) &&
           lstat(real, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_uid == 0 &&
           st.st_gid == 0 && S_ISREG(st.st_mode);
}

static size_t temporaries(struct lab *l)
{
    char *real CLEANUP(cleanup_mem) = on_node(l, FOLDER);
    size_t count = 0;
    DIR *d = opendir(real);
    for (struct dirent *e; d && (e = readdir(d));)
        count += strstr(e->d_name, ".encrypt-") != NULL;
    if (d)
        closedir(d);
    return count;
}

static int put_at(struct node *n, const char *path, const char *text, struct error *err)
{
    struct node_text file = {path, text, strlen(text)};
    return driver_rke.put_file(n, &file, NULL, err);
}

static int put(struct node *n, void *ctx, struct error *err)
{
    return put_at(n, PATH, ctx, err);
}

static int put_text(struct lab *l, const char *text, struct error *err)
{
    return put_at(&l->node, PATH, text, err);
}

static bool reads(struct lab *l, const char *path, const char *text)
{
    struct buf b CLEANUP(buf_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    bool missing = true;
    return driver_rke.read_file(&l->node, path, &b, &missing, &err) == 0 &&
           (text ? !missing && str_eq(buf_str(&b), text) : missing);
}

static void test_put(struct lab *l)
{
    begin(l, "put");
    make_apiserver(l, NULL);
    CHECK(reads(l, PATH, NULL));
    int64_t from = loop_now();
    DO(put_text(l, key, &err));
    printf("  put_file: %lld ms\n", (long long)(loop_now() - from));
    CHECK(holds(l, PATH, key) && reads(l, PATH, key));
    DO(put_text(l, "other\n", &err));
    CHECK(holds(l, PATH, "other\n") && reads(l, PATH, "other\n"));
    DO(put_text(l, "", &err));
    CHECK(holds(l, PATH, ""));
    struct buf big CLEANUP(buf_free) = {0};
    for (int i = 0; i < 20000; i++)
        buf_printf(&big, "%d a line of a large file\n", i);
    DO(put_text(l, buf_str(&big), &err));
    CHECK(holds(l, PATH, buf_str(&big)) && reads(l, PATH, buf_str(&big)));
    from = loop_now();
    DO(driver_rke.remove_file(&l->node, PATH, &err));
    printf("  remove_file: %lld ms\n", (long long)(loop_now() - from));
    CHECK(reads(l, PATH, NULL));
    DO(driver_rke.remove_file(&l->node, PATH, &err));
    CHECK(ours(l) == 0 && temporaries(l) == 0);
    end(l, "putting, reading and removing a file");
}

static void test_put_down(struct lab *l)
{
    begin(l, "down");
    DO(docker_stop(&l->d, RKE_CURRENT, 5, &err));
    DO(put_text(l, key, &err));
    CHECK(holds(l, PATH, key) && reads(l, PATH, key));
    json_t *crash = rke_settings(l);
    json_array_append_new(json_object_get(crash, "Entrypoint"), json_string("--crash=true"));
    make_apiserver(l, crash);
    DO(put_text(l, "while it crashes\n", &err));
    CHECK(holds(l, PATH, "while it crashes\n") && reads(l, PATH, "while it crashes\n"));
    DO(driver_rke.remove_file(&l->node, PATH, &err));
    CHECK(reads(l, PATH, NULL) && ours(l) == 0);
    end(l, "files while the apiserver is down or crashes");
}

static void test_odd_files(struct lab *l)
{
    begin(l, "odd");
    char *file CLEANUP(cleanup_mem) = mem_printf("%s/kubernetes/one", l->dir);
    char *bind CLEANUP(cleanup_mem) = mem_printf("%s:/mnt/one.yaml", file);
    char *nested CLEANUP(cleanup_mem) = mem_printf("%s/nested:/etc/kubernetes/nested", l->dir);
    json_t *settings = rke_settings(l);
    json_t *binds = json_object_get(json_object_get(settings, "HostConfig"), "Binds");
    json_array_append_new(binds, json_string(bind));
    json_array_append_new(binds, json_string(nested));
    json_array_append_new(binds, json_string("named:/volume"));
    char *folder CLEANUP(cleanup_mem) = mem_printf("%s/kubernetes", l->dir);
    mkdir(folder, 0755);
    close(creat(file, 0600));
    make_apiserver(l, settings);

    struct node *n = &l->node;
    REFUSED(put_at(n, "/etc/encryption.yaml", "x", &err), "inside the container");
    REFUSED(put_at(n, "/volume/a", "x", &err), "volume");
    REFUSED(put_at(n, "/mnt/one.yaml", "x", &err), "is itself a mount");
    REFUSED(put_at(n, "relative", "x", &err), "absolute");
    REFUSED(put_at(n, FOLDER "/../../x", "x", &err), "absolute");
    REFUSED(put_at(n, FOLDER "/", "x", &err), "absolute");
    REFUSED(put_at(n, "/etc/kubernetes/none/x", "x", &err), "none");
    REFUSED(put_at(n, FOLDER, "x", &err), "folder of that name");
    DO(put_at(n, "/etc/kubernetes/nested/it's a \"name\" $x", "x", &err));
    char *real CLEANUP(cleanup_mem) = mem_printf("%s/nested/it's a \"name\" $x", l->dir);
    CHECK(access(real, F_OK) == 0);
    CHECK(reads(l, "/etc/kubernetes/nested/it's a \"name\" $x", "x"));
    CHECK(ours(l) == 0 && temporaries(l) == 0);

    /* Links: within the folder, absolute as the container sees it, to nothing, to a link. */
    DO(put_text(l, key, &err));
    static const char *const links[][2] = {{"encryption.yaml", "a"},
                                           {PATH, "b"},
                                           {"nothing", "c"},
                                           {"a", "d"},
                                           {"../ssl/encryption.yaml", "e"}};
    for (size_t i = 0; i < ARRAY_LEN(links); i++) {
        char *link CLEANUP(cleanup_mem) = mem_printf("%s/kubernetes/ssl/%s", l->dir, links[i][1]);
        unlink(link);
        CHECK(symlink(links[i][0], link) == 0);
    }
    CHECK(reads(l, FOLDER "/a", key) && reads(l, FOLDER "/b", key) && reads(l, FOLDER "/e", key));
    CHECK(reads(l, FOLDER "/c", NULL));
    struct buf b CLEANUP(buf_free) = {0};
    REFUSED(driver_rke.read_file(n, FOLDER "/d", &b, NULL, &err), "symbolic link");
    REFUSED(driver_rke.read_file(n, FOLDER, &b, NULL, &err), "not a regular file");
    REFUSED(driver_rke.read_file(n, FOLDER "/none", &b, NULL, &err), "no such file");
    end(l, "paths that are refused, and links");
}

/* No byte of the key anywhere in what Docker keeps or logs. */
static void test_no_trace(struct lab *l)
{
    begin(l, "trace");
    char *command CLEANUP(cleanup_mem) =
        mem_printf("grep -rqsF VGhpcyBpcyBhIGtleSBvZiAzMiBieXRlcyBmb3IgdGVzdHMu %s/data/containers "
                   "%s/data/overlay2/*/diff %s/dockerd.log %s/exec",
                   l->dir, l->dir, l->dir, l->dir);
    for (int k = 1; killed_at(l, k, put, (char *)key); k++)
        CHECK(system(command) != 0); // NOLINT(cert-env33-c)
    CHECK(holds(l, PATH, key));
    CHECK(system(command) != 0); // NOLINT(cert-env33-c)
    end(l, "the key is in no container's settings, layer or log");
}

static void test_killed_put(struct lab *l)
{
    begin(l, "killed put");
    make_apiserver(l, NULL);
    DO(put_text(l, "old\n", &err));
    int points = 0;
    for (int k = 1; killed_at(l, k, put, (char *)key); k++, points++) {
        struct apiserver a CLEANUP(apiserver_free) = {0};
        DO(driver_rke.observe(&l->node, &a, &err));
        CHECK(a.unsettled == (ours(l) > 0));
        CHECK(holds(l, PATH, "old\n") || holds(l, PATH, key));
        CHECK(temporaries(l) == 0 || ours(l) > 0);
        if (k % 2) {
            DO(put_text(l, "next\n", &err));
            CHECK(holds(l, PATH, "next\n"));
        } else {
            DO(driver_rke.settle(&l->node, &err));
            CHECK(holds(l, PATH, "old\n") || holds(l, PATH, key));
        }
        CHECK(temporaries(l) == 0 && ours(l) == 0);
        DO(put_text(l, "old\n", &err));
    }
    CHECK(points == 5);
    end(l, "killed at each call of putting a file");
}

static int remove_it(struct node *n, void *ctx, struct error *err)
{
    (void)ctx;
    return driver_rke.remove_file(n, PATH, err);
}

/* Settling clears what a killed removal left, also where the file is gone already. */
static void test_killed_removal(struct lab *l)
{
    begin(l, "killed removal");
    make_apiserver(l, NULL);
    DO(put_text(l, key, &err));
    int points = 0, gone = 0;
    for (int k = 1; killed_at(l, k, remove_it, NULL); k++, points++) {
        struct apiserver a CLEANUP(apiserver_free) = {0};
        DO(driver_rke.observe(&l->node, &a, &err));
        CHECK(a.unsettled == (ours(l) > 0));
        gone += a.unsettled && reads(l, PATH, NULL);
        DO(driver_rke.settle(&l->node, &err));
        CHECK(temporaries(l) == 0 && ours(l) == 0);
        DO(driver_rke.remove_file(&l->node, PATH, &err));
        CHECK(reads(l, PATH, NULL) && ours(l) == 0);
        DO(put_text(l, key, &err));
    }
    CHECK(points == 4 && gone >= 1 && reads(l, PATH, NULL) && ours(l) == 0);

    /* Also while no apiserver runs. */
    DO(put_text(l, key, &err));
    CHECK(killed_at(l, 1, put, (char *)"next\n"));
    DO(docker_stop(&l->d, RKE_CURRENT, 5, &err));
    CHECK(ours(l) == 1);
    DO(driver_rke.settle(&l->node, &err));
    CHECK(ours(l) == 0);
    end(l, "killed at each call of removing a file");
}

void test_files(struct lab *l)
{
    test_put(l);
    test_put_down(l);
    test_odd_files(l);
    make_apiserver(l, NULL);
    test_no_trace(l);
    test_killed_put(l);
    test_killed_removal(l);
}
