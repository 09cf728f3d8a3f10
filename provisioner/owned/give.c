/* Their commands: given, waited for. */
#include "provisioner/owned/owned.h"
#include "provisioner/run.h"

#include <string.h>

enum {
    SNAPSHOT_MS = 1800000, /* a snapshot that also goes to S3 */
    POLL_MS = 1000,
};

static int run_command(struct owned_run *r, size_t i, const char *const *args, int64_t timeout_ms,
                       struct buf *out, struct error *err)
{
    static const char script[] =
        "name=$1; shift\n"
        "for dir in /usr/local/bin /usr/bin /opt/rke2/bin; do\n"
        "  [ -x \"$dir/$name\" ] || continue\n"
        "  as_root \"$dir/$name\" \"$@\"\n"
        "  exit\n"
        "done\n"
        "echo \"no program $name in /usr/local/bin, /usr/bin, /opt/rke2/bin\" >&2\n"
        "exit 90";
    struct host h = *owned_host(&r->s->members[i].node);
    char *what CLEANUP(cleanup_mem) = mem_printf("%s %s %s", args[0], args[1], args[2]);
    h.timeout_ms = timeout_ms;
    return host_do(&h, what, script, args, NULL, out, err);
}

/* The lock, and what a command is about to change: where everybody is now, by a fresh look, is what
 * restarts are told by later. */
static int before_command(struct owned_run *r, struct error *err)
{
    struct session *s = r->s;
    const struct http_server *api = NULL;
    if (session_check_stop(s, err) < 0 || session_ready_api(s, &api, err) < 0 ||
        owned_hold_lock(r, err) < 0)
        return -1;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (member_observe(m, err) < 0)
            return -1;
        node_record_placed(journal_node(s->journal, m->node.name), m->file_sha256, m->seen.process);
    }
    s->journal->owned->stuck = false;
    return owned_record(r, err);
}

/* Lines that tell of a reencrypt that failed, each with its time. */
static char *complaints(struct owned_run *r, size_t i)
{
    struct buf log CLEANUP(buf_free) = {0};
    struct buf out = {0};
    struct error ignored CLEANUP(error_clear) = {0};
    struct member *m = &r->s->members[i];
    if (m->node.driver->log_tail(&m->node, 500, &log, &ignored) < 0)
        return mem_strdup("");
    for (const char *at = buf_str(&log); *at;) {
        size_t len = strcspn(at, "\n");
        char *line CLEANUP(cleanup_mem) = mem_strndup(at, len);
        if (strstr(line, "SecretsUpdateError") || strstr(line, "failed to update secret") ||
            strstr(line, "failed to reencrypt"))
            buf_printf(&out, "%s\n", line);
        at += len + (at[len] == '\n');
    }
    return out.len ? out.data : mem_strdup("");
}

int owned_give(struct owned_run *r, size_t i, const char *command, struct error *err)
{
    struct session *s = r->s;
    struct member *m = &s->members[i];
    const char *args[] = {r->kind->program, "secrets-encrypt", command, NULL};
    struct error why CLEANUP(error_clear) = {0};
    enum owned_file file = r->servers[i].file;
    bool reencrypts = str_eq(command, "reencrypt");
    if (before_command(r, err) < 0)
        return -1;
    mem_free(r->complaints);
    r->complaints = complaints(r, i);
    tell(s, ENCRYPT_STEP, command, NULL, "%s secrets-encrypt %s on %s", r->kind->program, command,
         m->node.name);
    /* What it says is not what counts: it gives up after a while where the server goes on, and the
     * server's own reasons stand in its log alone. */
    bool said = run_command(r, i, args, 0, NULL, &why) == 0;
    if (!said && ssh_dead(m->node.ssh))
        return error_move(err, &why);
    if (owned_look(r, err) < 0)
        return -1;
    enum stage stage = r->servers[i].stage;
    bool begun = reencrypts ? stage != STAGE_ROTATE || r->servers[i].file != file
                            : r->servers[i].file != file || stage == STAGE_REENCRYPT_ACTIVE ||
                                  stage == STAGE_REENCRYPT_REQUEST;
    if (begun) {
        tell(s, ENCRYPT_NODE, command, m->node.name, "stage %s%s", stage_name(stage),
             said ? "" : " (the command itself did not wait for it)");
        return 0;
    }
    error_set(err, RESULT_STOPPED, "node %s: %s secrets-encrypt %s: %s", m->node.name,
              r->kind->program, command, said ? "it changed nothing" : why.message);
    owned_add_log(m, err);
    return -1;
}

/* --- their reencrypt --- */

static char *new_complaint(struct owned_run *r, size_t i)
{
    char *now CLEANUP(cleanup_mem) = complaints(r, i);
    for (const char *at = now; r->complaints && *at;) {
        size_t len = strcspn(at, "\n");
        char *line CLEANUP(cleanup_mem) = mem_strndup(at, len);
        if (!strstr(r->complaints, line))
            return STEAL(line);
        at += len + (at[len] == '\n');
    }
    return NULL;
}

static int tell_stuck(struct owned_run *r, size_t i, const char *why, struct error *err)
{
    struct member *m = &r->s->members[i];
    r->s->journal->owned->stuck = true;
    if (owned_record(r, err) < 0)
        return -1;
    error_set(err, RESULT_STOPPED, "node %s: its reencrypt stopped half-way: %s", m->node.name,
              why);
    if (r->s->journal->owned->at_once)
        owned_tell_half_way(r, i, err);
    else
        error_next(err,
                   "%s    (it restarts %s there, which takes the stage back to rotate, and asks "
                   "for it again)",
                   r->again, r->kind->unit);
    return -1;
}

/* How many secrets there are; 0 where nobody tells. */
static size_t count_stored(struct owned_run *r)
{
    struct error ignored CLEANUP(error_clear) = {0};
    const struct http_server *api = NULL;
    int64_t revision = 0;
    if (!r->stored &&
        (session_ready_api(r->s, &api, &ignored) < 0 ||
         kube_count(api, resource_find("secrets"), &r->stored, &revision, &ignored) < 0))
        r->stored = 0;
    return r->stored ? r->stored : (size_t)r->s->journal->owned->proof_values;
}

int owned_wait(struct owned_run *r, size_t i, struct error *err)
{
    enum { LEAST_MS = 300000, A_SECRET_MS = 400, LOOK_EVERY = 3, TELL_EVERY = 10 };
    struct session *s = r->s;
    struct member *m = &s->members[i];
    int64_t began = loop_now();
    /* Versions before 1.28 rewrite five secrets a second. */
    int64_t until = began + LEAST_MS + (int64_t)count_stored(r) * A_SECRET_MS;
    for (long turn = 1;; turn++) {
        if (owned_look(r, err) < 0)
            return -1;
        enum stage stage = r->servers[i].stage;
        if (!r->servers[i].up ||
            (stage != STAGE_REENCRYPT_REQUEST && stage != STAGE_REENCRYPT_ACTIVE))
            return 0;
        char *why CLEANUP(cleanup_mem) = turn % LOOK_EVERY == 0 ? new_complaint(r, i) : NULL;
        if (why)
            return tell_stuck(r, i, why, err);
        if (loop_now() >= until) {
            char *long_ CLEANUP(cleanup_mem) =
                mem_printf("%s for %lld s", stage_name(stage), (long long)(until - began) / 1000);
            return tell_stuck(r, i, long_, err);
        }
        if (turn % TELL_EVERY == 0)
            tell(s, ENCRYPT_NODE, "reencrypt", m->node.name, "%s for %lld s", stage_name(stage),
                 (long long)(loop_now() - began) / 1000);
        if (owned_pause(r, POLL_MS, err) < 0)
            return -1;
    }
}

/* --- a snapshot --- */

int owned_snapshot(struct owned_run *r, struct error *err)
{
    const struct encrypt_options *o = r->s->options;
    struct member *m = &r->s->members[r->leader];
    const char *args[] = {r->kind->program, "etcd-snapshot", "save", NULL};
    int yes = o->snapshot;
    bool etcd = false;
    if (owned_find_etcd(r, &etcd, err) < 0)
        return -1;
    if (!etcd && yes >= 0) {
        error_set(err, RESULT_REFUSED,
                  "%s takes snapshots of an embedded etcd alone, and its datastore is another "
                  "here (SQLite, or one of your own)",
                  r->kind->program);
        error_next(err, "save the datastore in its own way (docs/kinds/rke2.md), then the same "
                        "command with --no-snapshot");
        return -1;
    }
    if (!yes && o->confirm)
        yes = o->confirm(o->ctx, "Take a snapshot of etcd first, on the first server? Their "
                                 "documents recommend it.");
    if (!yes) {
        error_set(err, RESULT_REFUSED,
                  "a snapshot of etcd before this is recommended, and nobody is there to be asked");
        error_next(err, "the same command with --snapshot, or with --no-snapshot");
        return -1;
    }
    if (yes < 0)
        return 0;
    tell(r->s, ENCRYPT_STEP, "snapshot", m->node.name, "%s etcd-snapshot save", r->kind->program);
    if (run_command(r, r->leader, args, SNAPSHOT_MS, NULL, err) < 0) {
        if (err->result == RESULT_FAILED)
            err->result = RESULT_REFUSED;
        error_next(err, "mend that; or save the datastore in your own way, and then the same "
                        "command with --no-snapshot");
        return -1;
    }
    tell(r->s, ENCRYPT_NODE, "snapshot", m->node.name,
         "saved; the keys that it needs enter the key history of %s with this change",
         r->s->state_path);
    return 0;
}
