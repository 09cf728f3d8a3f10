/* A node without kube-apiserver: files are put where the apiserver will find them, and nothing of
 * what that took stays. The node's /etc/kubernetes is below a prefix here, as on a system with a
 * read-only root. */
#include "tests/docker/lab.h"

#include "base/file.h"
#include "state/cluster_yml.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH "/etc/kubernetes/ssl/encryption.yaml"
static const char key[] = "secret: c2VjcmV0LWtleS1vZi0zMi1ieXRlcy1sb25nLi4uLi4=\n";

/* Of files and folders on the node; to be freed. */
static char *on_node(const struct lab *l, const char *path)
{
    return mem_printf("%s/bare%s", l->dir, path);
}

static void remove_folders(struct lab *l)
{
    static const char *const paths[] = {PATH, PATH ".encrypt", "/etc/kubernetes/ssl",
                                        "/etc/kubernetes"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char *real CLEANUP(cleanup_mem) = on_node(l, paths[i]);
        if (i < 2)
            unlink(real);
        else
            rmdir(real);
    }
}

static bool mode_is(const struct lab *l, const char *path, mode_t mode)
{
    char *real CLEANUP(cleanup_mem) = on_node(l, path);
    struct stat st;
    return lstat(real, &st) == 0 && (st.st_mode & 07777) == mode && st.st_uid == 0 &&
           st.st_gid == 0;
}

static bool is_there(const struct lab *l, const char *path)
{
    char *real CLEANUP(cleanup_mem) = on_node(l, path);
    return access(real, F_OK) == 0;
}

/* By the driver, and by the node's own file. */
static bool holds(struct lab *l, const char *path, const char *text)
{
    char *real CLEANUP(cleanup_mem) = on_node(l, path);
    struct buf seen CLEANUP(buf_free) = {0};
    struct buf is CLEANUP(buf_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    bool missing = true;
    return driver_rke.read_file(&l->node, path, &seen, &missing, &err) == 0 && !missing &&
           file_read(real, 1 << 20, false, &is, NULL, &err) == 0 && str_eq(buf_str(&is), text) &&
           str_eq(buf_str(&seen), text) && mode_is(l, path, 0600);
}

static bool is_missing(struct lab *l)
{
    struct buf b CLEANUP(buf_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    bool missing = false;
    return driver_rke.read_file(&l->node, PATH, &b, &missing, &err) == 0 && missing;
}

/* No helper, no image but the one that was there. */
static bool nothing_left(struct lab *l)
{
    json_auto_t *image = NULL;
    struct error err CLEANUP(error_clear) = {0};
    return ours(l) == 0 && docker_inspect_image(&l->d, "encrypt-helper:empty", &image, &err) == 0 &&
           !image;
}

struct what {
    const struct cluster *cluster;
    const char *text;
};

/* (A node that is opened anew has no cluster: it must not take the machine's own folder.) */
static int put(struct node *n, void *ctx, struct error *err)
{
    const struct what *what = ctx;
    const char *text = what->text;
    n->cluster = what->cluster;
    struct node_text file = {PATH, text, strlen(text)};
    struct node_text beside = {PATH ".encrypt", "stamp\n", 6};
    return driver_rke.put_file(n, &file, &beside, err);
}

static int put_text(struct lab *l, const char *text, struct error *err)
{
    struct what what = {l->node.cluster, text};
    return put(&l->node, &what, err);
}

static int claim(struct lab *l, const char *text, bool *claimed, struct error *err)
{
    struct node_text file = {PATH ".encrypt", text, strlen(text)};
    return driver_rke.claim_file(&l->node, &file, claimed, err);
}

static void test_put(struct lab *l, const char *name)
{
    begin(l, name);
    remove_folders(l);
    CHECK(is_missing(l) && !is_there(l, "/etc/kubernetes"));
    CHECK(nothing_left(l));
    DO(put_text(l, key, &err));
    CHECK(holds(l, PATH, key) && holds(l, PATH ".encrypt", "stamp\n"));
    CHECK(mode_is(l, "/etc/kubernetes", 0755) && mode_is(l, "/etc/kubernetes/ssl", 0755));
    CHECK(nothing_left(l));
    DO(put_text(l, "other\n", &err));
    CHECK(holds(l, PATH, "other\n"));
    DO(driver_rke.remove_file(&l->node, PATH, &err));
    CHECK(is_missing(l) && nothing_left(l));
    end(l, name);
}

static void test_claim(struct lab *l)
{
    begin(l, "claim");
    remove_folders(l);
    bool first = false, second = true;
    DO(claim(l, "one\n", &first, &err));
    DO(claim(l, "two\n", &second, &err));
    CHECK(first && !second && holds(l, PATH ".encrypt", "one\n"));
    CHECK(nothing_left(l));
    end(l, "of two who claim a file the first has it");
}

static void test_folder(struct lab *l)
{
    begin(l, "folder");
    char *real CLEANUP(cleanup_mem) = on_node(l, "/etc/kubernetes/ssl");
    CHECK(chmod(real, 0777) == 0);
    REFUSED(put_text(l, key, &err), "others than root");
    CHECK(is_missing(l) && nothing_left(l));
    CHECK(chmod(real, 0755) == 0);
    end(l, "a folder into which others write is refused");
}

static void test_killed(struct lab *l)
{
    begin(l, "killed");
    remove_folders(l);
    struct what what = {l->node.cluster, key};
    int points = 0;
    for (int k = 1; killed_at(l, k, put, &what); k++, points++) {
        CHECK(is_missing(l) || holds(l, PATH, key));
        if (k % 2)
            DO(put_text(l, key, &err));
        DO(driver_rke.settle(&l->node, &err));
        CHECK(k % 2 == 0 || holds(l, PATH, key));
        CHECK(nothing_left(l));
        DO(driver_rke.remove_file(&l->node, PATH, &err));
    }
    CHECK(points >= 10 && nothing_left(l));
    end(l, "killed at each call of putting a file on a node without kube-apiserver");
}

/* `text`: of cluster.yml. */
static void with_cluster(struct lab *l, const char *text)
{
    struct error err CLEANUP(error_clear) = {0};
    struct cluster *c CLEANUP(cleanup_cluster) = NULL;
    char *whole CLEANUP(cleanup_mem) = mem_printf("nodes:\n- address: 10.0.0.1\n  user: root\n  "
                                                  "role: [controlplane]\nprefix_path: %s/bare\n%s",
                                                  l->dir, text);
    CHECK(cluster_parse(whole, strlen(whole), "cluster.yml", &c, &err) == 0);
    l->node.cluster = c;
    if (text[0])
        test_put(l, "put, by the image that cluster.yml names");
    else {
        test_put(l, "put, by an empty image and the node's own shell");
        test_claim(l);
        test_folder(l);
        test_killed(l);
    }
    l->node.cluster = NULL;
}

void test_bare(struct lab *l)
{
    char *folder CLEANUP(cleanup_mem) = mem_printf("%s/bare", l->dir);
    char *etc CLEANUP(cleanup_mem) = mem_printf("%s/bare/etc", l->dir);
    mkdir(folder, 0755);
    mkdir(etc, 0755);
    struct error err CLEANUP(error_clear) = {0};
    CHECK(docker_remove(&l->d, RKE_CURRENT, true, true, &err) == 0);
    with_cluster(l, "");
    with_cluster(l, "system_images:\n  kubernetes: rancher/hyperkube:test\n");
}
