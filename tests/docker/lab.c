#include "tests/docker/lab.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what, const struct error *err)
{
    fprintf(stderr, "docker: %s: %s\n", what, err && err->message ? err->message : strerror(errno));
    exit(1);
}

bool check(struct lab *l, bool ok, const char *what, int line)
{
    if (!ok) {
        printf("  line %d: %s\n", line, what);
        l->bad = true;
    }
    return ok;
}

void begin(struct lab *l, const char *name)
{
    (void)name;
    l->bad = false;
}

void end(struct lab *l, const char *name)
{
    if (l->bad) {
        printf("FAILED: %s\n", name);
        l->failed++;
    } else {
        l->passed++;
    }
    fflush(stdout);
}

static void server_for(struct http_server *s, struct loop *loop, const char *socket)
{
    *s = (struct http_server){.loop = loop,
                              .what = mem_strdup("Docker on test"),
                              .url = mem_strdup("http://docker"),
                              .unix_path = mem_strdup(socket)};
}

void node_open(struct node *n, struct loop *loop, const char *socket)
{
    struct error err CLEANUP(error_clear) = {0};
    struct http_server s;
    server_for(&s, loop, socket);
    *n = (struct node){.name = "test", .loop = loop, .driver = &driver_rke};
    if (rke_open_server(n, &s, &err) < 0)
        die("opening the driver", &err);
}

void lab_start_dockerd(struct lab *l)
{
    const char *name = strrchr(l->dir, '/') + 1;
    char *args[] = {"dockerd",
                    mem_printf("--data-root=%s/data", l->dir),
                    mem_printf("--exec-root=%s/exec", l->dir),
                    mem_printf("--pidfile=%s/docker.pid", l->dir),
                    mem_printf("--host=unix://%s", l->socket),
                    mem_printf("--cgroup-parent=/%s", name),
                    "--iptables=false",
                    "--ip6tables=false",
                    "--ip-masq=false",
                    "--bridge=none",
                    "--oom-score-adjust=0",
                    "--exec-opt=native.cgroupdriver=cgroupfs",
                    "--shutdown-timeout=3",
                    NULL};
    char *log CLEANUP(cleanup_mem) = mem_printf("%s/dockerd.log", l->dir);
    l->dockerd = fork();
    if (l->dockerd == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        setsid();
        execvp(args[0], args);
        _exit(127);
    }
    for (int i = 1; i < 6; i++)
        mem_free(args[i]);
    for (int i = 0;; i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct http_server s;
        server_for(&s, l->loop, l->socket);
        int rc = docker_negotiate(&s, &err);
        http_server_free(&s);
        if (rc == 0)
            return;
        if (i == 300)
            die("dockerd doesn't start", &err);
        usleep(50000);
    }
}

void lab_stop_dockerd(struct lab *l)
{
    if (l->dockerd > 0) {
        kill(l->dockerd, SIGTERM);
        waitpid(l->dockerd, NULL, 0);
    }
    l->dockerd = 0;
}

static void load_image(struct lab *l)
{
    struct error err CLEANUP(error_clear) = {0};
    char *file CLEANUP(cleanup_mem) = mem_printf("%s/image.tar", l->dir);
    struct http_request r CLEANUP(http_reset) = {
        .server = &l->d,
        .method = "POST",
        .path = mem_strdup("/images/create?fromSrc=-&repo=rancher/hyperkube&tag=test"
                           "&changes=ENV%20PATH=/usr/local/bin:/bin:/opt/rke-tools"),
        .content_type = "application/x-tar"};
    if (file_read(file, (size_t)64 << 20, false, &r.body, NULL, &err) < 0 ||
        http_perform(&r, &err) < 0 || r.status != 200)
        die("loading the image", &err);
}

void lab_open(struct lab *l, const char *dir)
{
    struct error err CLEANUP(error_clear) = {0};
    *l = (struct lab){.dir = dir, .socket = mem_printf("%s/docker.sock", dir)};
    if (loop_new(&l->loop, &err) < 0)
        die("the loop", &err);
    lab_start_dockerd(l);
    server_for(&l->d, l->loop, l->socket);
    if (docker_negotiate(&l->d, &err) < 0)
        die("asking for the version", &err);
    load_image(l);
    node_open(&l->node, l->loop, l->socket);
}

static void remove_all(struct lab *l)
{
    json_auto_t *list = NULL;
    size_t i = 0;
    const json_t *item = NULL;
    DO(docker_list(&l->d, "", &list, &err));
    json_array_foreach (list, i, item) {
        const char *id = json_string_value(json_object_get(item, "Id"));
        DO(docker_remove(&l->d, id, true, true, &err));
    }
}

void lab_close(struct lab *l)
{
    remove_all(l);
    driver_rke.close(&l->node);
    http_server_free(&l->d);
    lab_stop_dockerd(l);
    loop_free(l->loop);
    mem_free(l->socket);
}

json_t *inspect(struct lab *l, const char *name)
{
    json_t *out = NULL;
    DO(docker_inspect(&l->d, name, &out, &err));
    return out;
}

size_t ours(struct lab *l)
{
    json_auto_t *list = NULL;
    DO(docker_list(&l->d, "^/?encrypt-", &list, &err));
    return json_array_size(list);
}

json_t *rke_settings(const struct lab *l)
{
    char *bind CLEANUP(cleanup_mem) = mem_printf("%s/kubernetes:/etc/kubernetes:z", l->dir);
    return json_pack(
        "{s:s, s:[s,s,s,s,s], s:[s], s:{s:s}, s:{s:[s], s:s, s:{s:s}, s:{s:s, s:{s:s, s:s}}}}",
        "Image", "rancher/hyperkube:test", "Entrypoint", "/opt/rke-tools/entrypoint.sh",
        "kube-apiserver", "--anonymous-auth=false", "--cloud-provider=", "--secure-port=6443",
        "Env", "NOTE=a note, with spaces & signs <>", "Labels", "io.rancher.rke.container.name",
        "kube-apiserver", "HostConfig", "Binds", bind, "NetworkMode", "host", "RestartPolicy",
        "Name", "always", "LogConfig", "Type", "json-file", "Config", "max-size", "50m", "max-file",
        "2");
}

void make_apiserver(struct lab *l, json_t *settings)
{
    json_auto_t *s = settings ? settings : rke_settings(l);
    char *id CLEANUP(cleanup_mem) = NULL;
    char *folder CLEANUP(cleanup_mem) = mem_printf("%s/kubernetes", l->dir);
    char *ssl CLEANUP(cleanup_mem) = mem_printf("%s/ssl", folder);
    mkdir(folder, 0755);
    mkdir(ssl, 0755);
    remove_all(l);
    DO(docker_create(&l->d, RKE_CURRENT, s, &id, &err));
    if (id)
        DO(docker_start(&l->d, id, &err));
}

int lab_start(struct lab *l, const char *config_path, const char *process, struct error *err)
{
    return driver_rke.start(&l->node, &(struct apiserver_want){.config_path = config_path}, process,
                            err);
}

int lab_go_back(struct lab *l, const char *config_path, struct error *err)
{
    return driver_rke.go_back(&l->node, &(struct apiserver_want){.config_path = config_path}, err);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: live FOLDER (see tests/docker/run)\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    curl_global_init_mem(CURL_GLOBAL_ALL, wipe_malloc, wipe_free, wipe_realloc, wipe_strdup,
                         wipe_calloc);
    json_set_alloc_funcs(wipe_malloc, wipe_free);
    struct lab l;
    lab_open(&l, argv[1]);
    test_files(&l);
    test_changes(&l);
    test_kills(&l);
    test_binds(&l);
    test_bare(&l);
    lab_close(&l);
    curl_global_cleanup();
    printf("docker: %d passed, %d failed\n", l.passed, l.failed);
    return l.failed > 0;
}
