/*
 * Drives provisioner/host against a real sshd, for tests/host/run: logs in by the options, does
 * what the first argument says, prints what came of it. Ends with 0, or with the error's exit code
 * and its text. Files on this machine give what is put and get what is read.
 */
#include "provisioner/host/host.h"
#include "provisioner/ssh/ssh.h"

#include "base/file.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
    struct host host;
    char **args; /* NULL-terminated */
};

static int load(const char *path, struct buf *out, struct error *err)
{
    return file_read(path, 64 << 20, false, out, NULL, err);
}

/* user: who the SSH user is */
static int do_user(struct run *r, struct error *err)
{
    (void)err;
    printf("%s\n", r->host.root ? "root" : "not root");
    return 0;
}

/* read PATH TO */
static int do_read(struct run *r, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    bool missing = false;
    if (host_file_read(&r->host, r->args[0], &text, &missing, err) < 0)
        return -1;
    printf("%s: %zu bytes\n", missing ? "missing" : "there", text.len);
    return missing ? 0 : file_write(r->args[1], buf_str(&text), text.len, err);
}

/* must PATH: as for who can't do without */
static int do_must(struct run *r, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    return host_file_read(&r->host, r->args[0], &text, NULL, err);
}

/* is TYPE PATH */
static int do_is(struct run *r, struct error *err)
{
    bool is = false;
    if (host_file_is(&r->host, r->args[0], r->args[1], &is, err) < 0)
        return -1;
    printf("%s\n", is ? "yes" : "no");
    return 0;
}

static struct node_text text_of(const char *path, const struct buf *b)
{
    return (struct node_text){.path = path, .data = buf_str(b), .len = b->len};
}

/* put PATH FROM [PATH FROM] */
static int do_put(struct run *r, struct error *err)
{
    struct buf a CLEANUP(buf_free) = {0};
    struct buf b CLEANUP(buf_free) = {0};
    if (load(r->args[1], &a, err) < 0 || (r->args[2] && load(r->args[3], &b, err) < 0))
        return -1;
    struct node_text file = text_of(r->args[0], &a);
    struct node_text beside = text_of(r->args[2], &b);
    if (host_file_put(&r->host, &file, r->args[2] ? &beside : NULL, err) < 0)
        return -1;
    printf("put\n");
    return 0;
}

/* claim PATH FROM */
static int do_claim(struct run *r, struct error *err)
{
    struct buf a CLEANUP(buf_free) = {0};
    bool claimed = true;
    if (load(r->args[1], &a, err) < 0)
        return -1;
    struct node_text file = text_of(r->args[0], &a);
    if (host_file_claim(&r->host, &file, &claimed, err) < 0)
        return -1;
    printf("%s\n", claimed ? "claimed" : "taken");
    return 0;
}

/* rehearse PATH */
static int do_rehearse(struct run *r, struct error *err)
{
    if (host_file_rehearse(&r->host, r->args[0], err) < 0)
        return -1;
    printf("rehearsed\n");
    return 0;
}

/* may PATH */
static int do_may(struct run *r, struct error *err)
{
    if (host_check_may_put(&r->host, r->args[0], err) < 0)
        return -1;
    printf("may\n");
    return 0;
}

/* remove PATH */
static int do_remove(struct run *r, struct error *err)
{
    if (host_file_remove(&r->host, r->args[0], err) < 0)
        return -1;
    printf("removed\n");
    return 0;
}

/* replace PATH FROM SECRET [WAS]: SECRET is 0 or 1, WAS a file here */
static int do_replace(struct run *r, struct error *err)
{
    struct buf a CLEANUP(buf_free) = {0};
    struct buf was CLEANUP(buf_free) = {0};
    if (load(r->args[1], &a, err) < 0 || (r->args[3] && load(r->args[3], &was, err) < 0))
        return -1;
    if (host_file_replace(&r->host, r->args[0], &a, str_eq(r->args[2], "1"),
                          r->args[3] ? &was : NULL, err) < 0)
        return -1;
    printf("replaced\n");
    return 0;
}

static void print_process(const struct host_process *p)
{
    printf("pid %ld identity %s since %s\n", p->pid, p->identity, p->since ? p->since : "-");
    for (size_t i = 0; p->args[i]; i++)
        printf("  [%s]\n", p->args[i]);
}

/* processes NAME */
static int do_processes(struct run *r, struct error *err)
{
    struct host_process *list = NULL;
    size_t count = 0;
    if (host_processes(&r->host, r->args[0], &list, &count, err) < 0)
        return -1;
    printf("processes: %zu\n", count);
    for (size_t i = 0; i < count; i++)
        print_process(&list[i]);
    host_processes_free(list, count);
    return 0;
}

/* process PID */
static int do_process(struct run *r, struct error *err)
{
    struct host_process p CLEANUP(host_process_free) = {0};
    bool found = false;
    if (host_process_of(&r->host, atol(r->args[0]), &p, &found, err) < 0)
        return -1;
    printf("%s\n", found ? "found" : "none");
    if (found)
        print_process(&p);
    return 0;
}

/* run SCRIPT [ARGUMENT...]: the exit status, what it said and its errors */
static int do_run(struct run *r, struct error *err)
{
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    if (host_run(&r->host, r->args[0], (const char *const *)r->args + 1, NULL, &a, err) < 0)
        return -1;
    printf("status %d out [%s] errors [%s]\n", a.status, buf_str(&a.out), buf_str(&a.errors));
    return 0;
}

/* do SCRIPT [ARGUMENT...] */
static int do_do(struct run *r, struct error *err)
{
    struct buf out CLEANUP(buf_free) = {0};
    if (host_do(&r->host, "trying it", r->args[0], (const char *const *)r->args + 1, NULL, &out,
                err) < 0)
        return -1;
    printf("out [%s]\n", buf_str(&out));
    return 0;
}

static int act(struct run *r, const char *name, struct error *err)
{
    static const struct {
        const char *name;
        int (*fn)(struct run *, struct error *);
        int args; /* at least */
    } actions[] = {
        {"user", do_user, 0},
        {"read", do_read, 2},
        {"must", do_must, 1},
        {"is", do_is, 2},
        {"put", do_put, 2},
        {"claim", do_claim, 2},
        {"remove", do_remove, 1},
        {"replace", do_replace, 3},
        {"processes", do_processes, 1},
        {"process", do_process, 1},
        {"run", do_run, 1},
        {"do", do_do, 1},
        {"rehearse", do_rehearse, 1},
        {"may", do_may, 1},
    };
    int given = 0;
    while (r->args[given])
        given++;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (str_eq(name, actions[i].name) && given >= actions[i].args)
            return actions[i].fn(r, err);
    }
    return error_set(err, RESULT_USAGE, "%s: no such action, or too few arguments", name);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},  {"user", 1, NULL, 'u'}, {"key", 1, NULL, 'k'},
        {"known", 1, NULL, 'n'}, {NULL, 0, NULL, 0},
    };
    struct ssh_access access = {.address = "127.0.0.1", .user = "root"};
    struct ssh_settings settings = {.timeout_ms = 20000,
                                    .global_known_hosts = "/nonexistent/known_hosts"};
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int o; (o = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        switch (o) {
        case 'p':
            access.port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'u':
            access.user = optarg;
            break;
        case 'k':
            access.key_path = optarg;
            break;
        case 'n':
            settings.known_hosts = optarg;
            break;
        default:
            return RESULT_USAGE;
        }
    }
    if (optind == argc)
        return RESULT_USAGE;
    const struct ssh_access *target = &access;
    struct ssh *session = NULL;
    struct loop *loop = NULL;
    struct run r = {.args = argv + optind + 1};
    struct error err CLEANUP(error_clear) = {0};
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int rc = loop_new(&loop, &err);
    if (rc == 0)
        rc = ssh_connect_all(loop, &settings, NULL, &target, 1, &session, &err);
    struct node node = {.name = "n1", .ssh = session};
    if (rc == 0)
        rc = host_open(&node, &r.host, &err);
    if (rc == 0)
        rc = act(&r, argv[optind], &err);
    ssh_close(session);
    loop_free(loop);
    curl_global_cleanup();
    if (rc == 0)
        return 0;
    printf("error %d: %s\n", err.result, err.message);
    if (err.next)
        printf("next: %s\n", err.next);
    return (int)err.result;
}
