/*
 * A small provisioner that embeds libencrypt: it brings up a Kubernetes control plane (etcd and
 * kube-apiserver, in Docker containers) on machines that have sshd and Docker, encrypted from the
 * first secret on.
 *
 *   provisioner [-u USER] [-i SSH-KEY] [-k KNOWN-HOSTS] [-a APISERVER-IMAGE] [-e ETCD-IMAGE] FOLDER
 * NAME=ADDRESS...
 *
 * FOLDER keeps what lasts: certificates, cluster.yml, and beside it the library's state file, which
 * holds the keys. Run again, it goes on where it stopped. The images are on the machines already.
 * It uses ssh, curl and openssl as a provisioner would; what it uses of encryption is <encrypt.h>
 * and no more:
 *
 *   encrypt_init()         once
 *   encrypt_up_initial()   before the first kube-apiserver is started: makes the key, stores it,
 * puts the configuration on the nodes, and tells the flags and mounts that each kube-apiserver
 * needs encrypt_up()           when all of them run: proves that they use it, and that nothing is
 * stored otherwise
 */
#include <encrypt.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_NODES = 9, TRIES = 240, TRY_AGAIN_MS = 500 };

struct node {
    const char *name, *address;
};

struct provisioner {
    const char *user, *ssh_key, *known_hosts, *apiserver_image, *etcd_image;
    const char *folder;
    struct node nodes[MAX_NODES];
    size_t count;
};

extern char **environ;
static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

static char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *format, ...)
{
    char *out = NULL;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&out, format, ap) < 0)
        abort();
    va_end(ap);
    return out;
}

/* --- other programs --- */

/* 0 where the command ended well. `input`: a file for its standard input, or NULL. */
static int run(char *const argv[], const char *input)
{
    posix_spawn_file_actions_t files;
    pid_t pid = 0;
    int status = 0;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, input ? input : "/dev/null", O_RDONLY,
                                     0);
    int rc = posix_spawnp(&pid, argv[0], &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", argv[0], strerror(rc));
        return -1;
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* A shell command on the node. */
static int on_node(const struct provisioner *p, const struct node *n, const char *command,
                   const char *input)
{
    char *target = text("%s@%s", p->user, n->address);
    char *known = text("UserKnownHostsFile=%s", p->known_hosts);
    char *const argv[] = {
        "ssh", "-q",  "-o", "BatchMode=yes",    "-o",   "StrictHostKeyChecking=yes",
        "-o",  known, "-i", (char *)p->ssh_key, target, (char *)command,
        NULL};
    int rc = run(argv, input);
    free(target);
    free(known);
    return rc;
}

/* Until the URL answers with success, to the administrator's certificate. */
static int wait_for(const struct provisioner *p, const char *certificate, const struct node *n,
                    const char *port_path)
{
    char *ca = text("%s/pki/ca.pem", p->folder),
         *url = text("https://%s:%s", n->address, port_path);
    char *cert = text("%s/pki/%s.pem", p->folder, certificate),
         *key = text("%s/pki/%s-key.pem", p->folder, certificate);
    char *const argv[] = {"curl", "-sf",    "-o", "/dev/null", "--max-time", "2", "--cacert",
                          ca,     "--cert", cert, "--key",     key,          url, NULL};
    const struct timespec pause = {0, TRY_AGAIN_MS * 1000000L};
    int rc = -1;
    for (int i = 0; i < TRIES && rc < 0 && !stopped; i++)
        if ((rc = run(argv, NULL)) < 0)
            nanosleep(&pause, NULL);
    if (rc < 0)
        fprintf(stderr, "node %s: %s does not answer\n", n->name, url);
    free(ca);
    free(url);
    free(cert);
    free(key);
    return rc;
}

/* A word for a shell, whatever is in it. */
static void add_quoted(FILE *to, const char *word)
{
    fputs(" '", to);
    for (; *word; word++)
        if (*word == '\'')
            fputs("'\\''", to);
        else
            fputc(*word, to);
    fputc('\'', to);
}

/* --- the steps --- */

static int make_certificates(const struct provisioner *p, const char *program)
{
    const char *slash = strrchr(program, '/');
    char *script = text("%.*scertificates", slash ? (int)(slash + 1 - program) : 0, program);
    char *folder = text("%s/pki", p->folder);
    char *argv[MAX_NODES + 3] = {script, folder};
    for (size_t i = 0; i < p->count; i++)
        argv[i + 2] = text("%s=%s", p->nodes[i].name, p->nodes[i].address);
    int rc = run(argv, NULL);
    for (size_t i = 0; argv[i]; i++)
        free(argv[i]);
    return rc;
}

/* What the library is told of the cluster: the same as RKE would be. */
static int write_cluster_yml(const struct provisioner *p, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    fprintf(f, "# made by provisioner\nnodes:\n");
    for (size_t i = 0; i < p->count; i++)
        fprintf(f, "- {address: %s, hostname_override: %s, user: %s, role: [controlplane, etcd]}\n",
                p->nodes[i].address, p->nodes[i].name, p->user);
    fprintf(f,
            "ssh_key_path: %s\nkubernetes_version: v1.20.2\nsystem_images: {kubernetes: \"%s\"}\n",
            p->ssh_key, p->apiserver_image);
    fprintf(f, "services:\n  kube-api:\n    service_cluster_ip_range: 10.43.0.0/16\n"
               "    secrets_encryption_config: {enabled: true}\n");
    return fclose(f) == 0 ? 0 : -1;
}

static int put_certificates(const struct provisioner *p)
{
    for (size_t i = 0; i < p->count; i++) {
        char *tar = text("%s/pki/%s.tar", p->folder, p->nodes[i].name);
        int rc = on_node(p, &p->nodes[i],
                         "mkdir -p -m 755 /etc/kubernetes && mkdir -p -m 700 /etc/kubernetes/pki "
                         "&& tar -C /etc/kubernetes/pki -xf -",
                         tar);
        free(tar);
        if (rc < 0) {
            fprintf(stderr, "node %s: the certificates can't be put there\n", p->nodes[i].name);
            return -1;
        }
    }
    return 0;
}

static void add_list(FILE *to, const struct provisioner *p, const char *format)
{
    for (size_t i = 0; i < p->count; i++) {
        if (i)
            fputc(',', to);
        for (const char *c = format; *c; c++)
            if (*c == 'N')
                fputs(p->nodes[i].name, to);
            else if (*c == 'A')
                fputs(p->nodes[i].address, to);
            else
                fputc(*c, to);
    }
}

/* Runs what was written to *command by way of `to`, where no such container is there; else starts
 * that. */
static int start_container(const struct provisioner *p, const struct node *n, const char *name,
                           FILE *to, char **command)
{
    fclose(to);
    char *all =
        text("if docker inspect %s >/dev/null 2>&1; then docker start %s; else %s; fi >/dev/null",
             name, name, *command);
    int rc = on_node(p, n, all, NULL);
    free(all);
    free(*command);
    if (rc < 0)
        fprintf(stderr, "node %s: the container %s can't be started\n", n->name, name);
    return rc;
}

static int start_etcd(const struct provisioner *p, const struct node *n)
{
    char *command = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&command, &len);
    if (!to)
        return -1;
    fprintf(
        to,
        "docker run -d --name etcd --network host --restart always -v etcd-data:/var/lib/etcd "
        "-v /etc/kubernetes/pki:/etc/kubernetes/pki:ro %s etcd --name %s --data-dir /var/lib/etcd "
        "--listen-client-urls https://0.0.0.0:2379 --advertise-client-urls https://%s:2379 "
        "--listen-peer-urls https://0.0.0.0:2380 --initial-advertise-peer-urls https://%s:2380 "
        "--initial-cluster-state new --initial-cluster ",
        p->etcd_image, n->name, n->address, n->address);
    add_list(to, p, "N=https://A:2380");
    for (int peer = 0; peer < 2; peer++) {
        const char *of = peer ? "--peer-" : "--";
        fprintf(to,
                " %sclient-cert-auth %strusted-ca-file /etc/kubernetes/pki/ca.pem %scert-file "
                "/etc/kubernetes/pki/etcd.pem "
                "%skey-file /etc/kubernetes/pki/etcd-key.pem",
                of, of, of, of);
    }
    return start_container(p, n, "etcd", to, &command);
}

/* With what the library said: its mounts, its flags. */
static int start_apiserver(const struct provisioner *p, const struct node *n,
                           const struct encrypt_start_node *with)
{
    char *command = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&command, &len);
    if (!to)
        return -1;
    fprintf(to, "docker run -d --name kube-apiserver --network host --restart always -v "
                "/etc/kubernetes/pki:/etc/kubernetes/pki:ro");
    for (char **m = with->mounts; *m; m++) {
        fputs(" -v", to);
        add_quoted(to, *m);
    }
    fprintf(to,
            " %s kube-apiserver --advertise-address=%s --secure-port=6443 "
            "--authorization-mode=Node,RBAC "
            "--disable-admission-plugins=ServiceAccount --service-cluster-ip-range=10.43.0.0/16 "
            "--client-ca-file=/etc/kubernetes/pki/ca.pem "
            "--tls-cert-file=/etc/kubernetes/pki/apiserver.pem "
            "--tls-private-key-file=/etc/kubernetes/pki/apiserver-key.pem "
            "--service-account-issuer=https://kubernetes.default "
            "--service-account-key-file=/etc/kubernetes/pki/service-account-key.pem "
            "--service-account-signing-key-file=/etc/kubernetes/pki/service-account-key.pem "
            "--etcd-cafile=/etc/kubernetes/pki/ca.pem --etcd-certfile=/etc/kubernetes/pki/etcd.pem "
            "--etcd-keyfile=/etc/kubernetes/pki/etcd-key.pem --etcd-servers=",
            p->apiserver_image, n->address);
    add_list(to, p, "https://A:2379");
    for (char **f = with->flags; *f; f++)
        add_quoted(to, *f);
    return start_container(p, n, "kube-apiserver", to, &command);
}

/* --- the library --- */

static void on_event(void *ctx, const struct encrypt_event *e)
{
    (void)ctx;
    if (e->kind == ENCRYPT_DEBUG || e->kind == ENCRYPT_PROGRESS)
        return;
    say("    %s%s%s%s%s", e->step ? e->step : "encryption", e->node ? " on " : "",
        e->node ? e->node : "", e->text ? ": " : "", e->text ? e->text : "");
}

static bool should_stop(void *ctx)
{
    (void)ctx;
    return stopped;
}

static int failed(struct encrypt_error *err)
{
    fprintf(stderr, "encryption: %s\n", err->message);
    if (err->state)
        fprintf(stderr, "  state: %s\n", err->state);
    if (err->next)
        fprintf(stderr, "  next:  %s\n", err->next);
    encrypt_error_clear(err);
    return -1;
}

static const struct node *node_of(const struct provisioner *p, const struct encrypt_start_node *s)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->nodes[i].address, s->address) == 0)
            return &p->nodes[i];
    return NULL;
}

/* The key and the configuration first, then etcd, then the apiservers. */
static int bring_up(const struct provisioner *p, const struct encrypt_options *o)
{
    struct encrypt_error err = {0};
    struct encrypt_start start = {0};
    int rc = encrypt_up_initial(o, &start, &err);
    if (rc < 0)
        failed(&err);
    else
        say("key %s is stored in %s; the configuration is on %zu nodes", start.key, start.state,
            start.node_count);
    for (size_t i = 0; rc == 0 && i < p->count; i++) {
        say("starting etcd on %s", p->nodes[i].name);
        rc = start_etcd(p, &p->nodes[i]);
    }
    for (size_t i = 0; rc == 0 && i < p->count; i++)
        rc = wait_for(p, "etcd", &p->nodes[i], "2379/health");
    for (size_t i = 0; rc == 0 && i < start.node_count; i++) {
        const struct node *n = node_of(p, &start.nodes[i]);
        say("starting kube-apiserver on %s with %s", n->name, start.nodes[i].flags[0]);
        rc = start_apiserver(p, n, &start.nodes[i]);
    }
    encrypt_start_free(&start);
    return rc;
}

static int finish(const struct provisioner *p, const struct encrypt_options *o)
{
    struct encrypt_error err = {0};
    struct encrypt_report report = {0};
    for (size_t i = 0; i < p->count; i++)
        if (wait_for(p, "admin", &p->nodes[i], "6443/readyz") < 0)
            return -1;
    say("all apiservers are ready");
    int rc = encrypt_up(o, &report, &err);
    if (rc < 0)
        failed(&err);
    else if (report.nothing_to_do)
        say("secrets are encrypted with key %s", report.key);
    else
        say("secrets are encrypted with key %s; %lld values proved in etcd at revision %lld",
            report.key, (long long)report.proof_values, (long long)report.proof_revision);
    encrypt_report_free(&report);
    return rc;
}

/* How many nodes have that container. A node that can't be asked is an error. */
static int count_with(const struct provisioner *p, const char *container, size_t *count)
{
    char *command = text("docker inspect %s >/dev/null 2>&1", container);
    int rc = 0;
    *count = 0;
    for (size_t i = 0; i < p->count && rc == 0; i++)
        if (on_node(p, &p->nodes[i], command, NULL) == 0)
            ++*count;
        else if ((rc = on_node(p, &p->nodes[i], "docker version >/dev/null 2>&1", NULL)) < 0)
            fprintf(stderr, "node %s: its Docker can't be asked\n", p->nodes[i].name);
    free(command);
    return rc;
}

/* Of the first provisioning, where only some nodes have their kube-apiserver. */
static int is_open(const struct encrypt_options *o, bool *open)
{
    struct encrypt_error err = {0};
    struct encrypt_status status = {0};
    int rc = encrypt_status(o, &status, &err);
    *open = status.transition && status.transition->initial;
    if (rc < 0)
        failed(&err);
    encrypt_status_free(&status);
    return rc;
}

/* Nodes that are new, or have lost their kube-apiserver: what the others have, first. */
static int join(const struct provisioner *p, const struct encrypt_options *o)
{
    struct encrypt_error err = {0};
    struct encrypt_report report = {0};
    int rc = encrypt_up(o, &report, &err);
    if (rc < 0)
        failed(&err);
    for (size_t i = 0; rc == 0 && i < report.start.node_count; i++) {
        const struct encrypt_start_node *with = &report.start.nodes[i];
        const struct node *n = node_of(p, with);
        say("starting kube-apiserver on %s, which joins", n->name);
        rc = start_apiserver(p, n, with);
    }
    encrypt_report_free(&report);
    return rc;
}

static int provision(const struct provisioner *p, const char *program)
{
    char *config = text("%s/cluster.yml", p->folder),
         *kubeconfig = text("%s/pki/kubeconfig", p->folder);
    const struct encrypt_options o = {.config = config,
                                      .kubeconfig = kubeconfig,
                                      .known_hosts = p->known_hosts,
                                      .event = on_event,
                                      .stop = should_stop};
    int rc = make_certificates(p, program) < 0 || write_cluster_yml(p, config) < 0 ||
                     put_certificates(p) < 0
                 ? -1
                 : 0;
    size_t have = 0;
    bool first = false;
    if (rc == 0)
        rc = count_with(p, "kube-apiserver", &have);
    first = have == 0;
    if (rc == 0 && have > 0 && have < p->count)
        rc = is_open(&o, &first);
    if (rc == 0 && have < p->count)
        rc = first ? bring_up(p, &o) : join(p, &o);
    if (rc == 0)
        rc = finish(p, &o);
    free(config);
    free(kubeconfig);
    return rc;
}

int main(int argc, char **argv)
{
    struct encrypt_error err = {0};
    struct provisioner p = {.user = "root",
                            .ssh_key = "id_ed25519",
                            .known_hosts = "known_hosts",
                            .apiserver_image = "rancher/hyperkube:v1.20.2-rancher1",
                            .etcd_image = "etcd"};
    for (int c; (c = getopt(argc, argv, "u:i:k:a:e:")) != -1;)
        switch (c) {
        case 'u':
            p.user = optarg;
            break;
        case 'i':
            p.ssh_key = optarg;
            break;
        case 'k':
            p.known_hosts = optarg;
            break;
        case 'a':
            p.apiserver_image = optarg;
            break;
        case 'e':
            p.etcd_image = optarg;
            break;
        default:
            return 2;
        }
    if (argc - optind < 2 || argc - optind > MAX_NODES + 1) {
        fprintf(stderr, "usage: provisioner [OPTIONS] FOLDER NAME=ADDRESS...\n");
        return 2;
    }
    p.folder = argv[optind];
    for (int i = optind + 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (!equals)
            return 2;
        *equals = '\0';
        p.nodes[p.count++] = (struct node){argv[i], equals + 1};
    }
    if (mkdir(p.folder, 0700) < 0 && errno != EEXIST) {
        fprintf(stderr, "%s: %s\n", p.folder, strerror(errno));
        return 1;
    }
    if (encrypt_init(0, &err) < 0)
        return failed(&err) < 0;
    struct sigaction a = {.sa_handler = on_signal};
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    return provision(&p, argv[0]) == 0 ? 0 : 1;
}
