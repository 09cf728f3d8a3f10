/*
 * kms_check() and the driver's binds as a small program, for tests/kms/run.
 *
 *   live CLUSTER.YML KNOWN-HOSTS check FROM TO    kms_check() from one configuration to the other
 *   live CLUSTER.YML KNOWN-HOSTS start FILE       puts it on every node, starts each apiserver with
 *                                                 it and the binds that it needs, and waits for it
 *   live CLUSTER.YML KNOWN-HOSTS back FILE        puts it on every node and goes back to it
 *
 * FROM and FILE may be `none`. Prints what the user is told; ends with the error's exit code.
 */
#include "base/file.h"
#include "provisioner/engine.h"
#include "provisioner/kms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READY_MS = 90000 };

static void print(void *ctx, const struct encrypt_event *e)
{
    static const char *const kinds[] = {"step", "node", "progress", "note", "warning", "debug"};
    (void)ctx;
    if (e->kind != ENCRYPT_DEBUG && e->kind != ENCRYPT_PROGRESS)
        printf("%s: %s: %s\n", kinds[e->kind], e->node ? e->node : "", e->text ? e->text : "");
}

static int read_config(const char *path, struct buf *text, struct encryption_config **out,
                       struct error *err)
{
    *out = NULL;
    if (str_eq(path, "none"))
        return 0;
    if (file_read(path, 1 << 20, false, text, NULL, err) < 0)
        return -1;
    return encryption_config_read(buf_str(text), text->len, path, ENCRYPTION_STRICT, out, err);
}

static int check(struct session *s, char **args, struct error *err)
{
    struct buf from_text CLEANUP(buf_free) = {0};
    struct buf to_text CLEANUP(buf_free) = {0};
    struct encryption_config *from CLEANUP(cleanup_encryption_config) = NULL;
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = NULL;
    if (!args[0] || !args[1] || read_config(args[0], &from_text, &from, err) < 0 ||
        read_config(args[1], &to_text, &to, err) < 0)
        return -1;
    return kms_check(s, from, to, err);
}

static int change(struct session *s, bool back, const char *path, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct encryption_config *config CLEANUP(cleanup_encryption_config) = NULL;
    if (read_config(path, &text, &config, err) < 0)
        return -1;
    char **binds CLEANUP(cleanup_mem) = kms_binds(s->cluster, config);
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        const struct driver *d = m->node.driver;
        const struct node_text file = {m->config_path, buf_str(&text), text.len};
        const struct apiserver_want want = {config ? m->config_path : NULL, binds};
        if ((config && d->put_file(&m->node, &file, NULL, err) < 0) ||
            (back ? d->go_back(&m->node, &want, err)
                  : d->start(&m->node, &want, m->seen.process, err)) < 0 ||
            member_wait_ready(s, m, READY_MS, err) < 0 || (back && d->settle(&m->node, err) < 0))
            return -1;
        printf("node: %s: ready\n", m->node.name);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct error err CLEANUP(error_clear) = {0};
    struct session *s CLEANUP(cleanup_session) = NULL;
    if (argc < 5 || engine_init(0, &err) < 0) {
        fprintf(stderr, "usage: see tests/kms/live.c\n");
        return RESULT_USAGE;
    }
    const struct encrypt_options options = {
        .config = argv[1], .known_hosts = argv[2], .event = print};
    int rc = session_open(&options, true, &s, &err);
    if (rc == 0 && str_eq(argv[3], "check"))
        rc = check(s, argv + 4, &err);
    else if (rc == 0)
        rc = change(s, str_eq(argv[3], "back"), argv[4], &err);
    if (rc == 0)
        return 0;
    printf("error: %s\n%s%s\n", err.message, err.next ? "next: " : "", err.next ? err.next : "");
    return (int)err.result;
}
