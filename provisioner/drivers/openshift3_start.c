/*
 * Starting anew, settling, going back. The copy of openshift3.h is what tells, after a kill between
 * any two steps, what the process has read:
 *
 *   1  the copy: what it reads, `changing`
 *   2  master-config.yaml is replaced
 *   3  the copy: `changed`, where the process is still the same
 *   4  it is restarted, and another is there
 *   5  (settle) the controllers are restarted; the copy goes
 *
 * Where 1 is done and not 3, and another process has come, it may have read either: it is
 * restarted.
 */
#include "provisioner/drivers/openshift3.h"
#include "templates/master_config.h"

#include <stdlib.h>
#include <string.h>

enum {
    POLL_MS = 200,
    NEW_PROCESS_MS = 180000,
    CONTROLLERS_MS = 120000,
    POD_MS = 180000, /* master-restart stops a container (30 s) and waits for another (60 s) */
    LOOKS = 3,
};

static struct openshift3 *of(const struct node *n)
{
    return n->driver_data;
}

static const char *api_name(const struct openshift3 *o)
{
    return o->pods ? "the master API's pod" : o->api;
}

static int write_kept(struct node *n, const struct kept *k, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    kept_write(k, &text);
    struct node_text file = {OPENSHIFT_KEPT, buf_str(&text), text.len};
    return host_file_put(&of(n)->host, &file, NULL, err);
}

/* What runs is on record before anything changes. Of one that may have read either the record stays
 * as it is. */
static int keep(struct node *n, struct openshift3_view *v, bool changing, struct error *err)
{
    struct kept *k = &v->kept;
    const struct buf *read = openshift3_read_text(v);
    bool unknown = v->api.running && !read;
    if (k->there && k->changing == (changing || unknown) &&
        (unknown || str_eq(k->process, v->api.running ? v->api.process.identity : "none")))
        return 0;
    k->changing = changing || unknown;
    if (!k->there || read == &v->text) {
        buf_reset(&k->text);
        buf_add(&k->text, buf_str(&v->text), v->text.len);
    }
    if (!unknown) {
        mem_free(k->process);
        k->process = mem_strdup(v->api.running ? v->api.process.identity : "none");
    }
    k->there = true;
    return write_kept(n, k, err);
}

/* Master-config.yaml gets another text; the view's process is looked at again afterwards. */
static int change(struct node *n, struct openshift3_view *v, const struct buf *text,
                  struct error *err)
{
    struct openshift3 *o = of(n);
    if (keep(n, v, true, err) < 0 ||
        host_file_replace(&o->host, OPENSHIFT_CONFIG, text, true, &v->text, err) < 0)
        return -1;
    openshift3_part_free(&v->api);
    if (openshift3_look_at(o, false, &v->api, err) < 0)
        return -1;
    /* (One that was not running then and is not running now has read nothing.) */
    if (!str_eq(v->kept.process, v->api.running ? v->api.process.identity : "none"))
        return 0;
    v->kept.changing = false;
    return write_kept(n, &v->kept, err);
}

static int edit(const struct node *n, const struct buf *text, const char *config_path,
                struct buf *out, struct error *err)
{
    bool changed = false;
    if (master_config_edit(buf_str(text), text->len, OPENSHIFT_CONFIG, config_path, out, &changed,
                           err) < 0)
        return error_wrap(err, "node %s", n->name);
    return 0;
}

static bool same_text(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && memcmp(buf_str(a), buf_str(b), a->len) == 0;
}

/* The file with another flag: the very text that was kept, where that has it and nothing but the
 * flag was changed since. */
static int text_with(const struct node *n, const struct openshift3_view *v, const char *config_path,
                     struct buf *out, struct error *err)
{
    char *now CLEANUP(cleanup_mem) = NULL;
    char *then CLEANUP(cleanup_mem) = NULL;
    struct buf again CLEANUP(buf_free) = {0};
    struct error ignored CLEANUP(error_clear) = {0};
    if (v->kept.there && openshift3_flag(n, &v->kept.text, &then, &ignored) == 0 &&
        str_eq(then, config_path) && openshift3_flag(n, &v->text, &now, &ignored) == 0 &&
        edit(n, &v->kept.text, now, &again, &ignored) == 0 && same_text(&again, &v->text)) {
        buf_add(out, buf_str(&v->kept.text), v->kept.text.len);
        return 0;
    }
    return edit(n, &v->text, config_path, out, err);
}

/* --- processes --- */

/* What master-restart ends with tells little: after the stop it waits for the newest container of
 * that name, which may be another's, and says 124 while the restart goes on; or 0 where it found
 * nothing to stop. Whether another process comes is what is waited for. */
static int restart_pod(struct openshift3 *o, const char *name, struct error *err)
{
    enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 };
    static const char script[] = "as_root " OPENSHIFT_RESTART " \"$1\" >/dev/null";
    const char *args[] = {name, NULL};
    struct host h = o->host;
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    struct error said CLEANUP(error_clear) = {0};
    h.timeout_ms = POD_MS;
    mem_free(STEAL(o->said));
    if (host_run(&h, script, args, NULL, &a, err) < 0)
        return error_wrap(err, "restarting the static pod %s", name);
    if (a.status == NOT_EXECUTABLE || a.status == NOT_FOUND ||
        (a.status && host_is_refused(&h, &a)))
        return host_explain(&h, "restarting the static pod", &a, err);
    if (a.status || a.errors.len) {
        host_explain(&h, OPENSHIFT_RESTART, &a, &said);
        o->said = mem_strdup(said.message);
    }
    return 0;
}

static int restart(struct node *n, bool controllers, bool failed, struct error *err)
{
    /* Of one that failed too often systemd wants to hear that it may be tried again. */
    static const char unit[] =
        "[ \"$2\" = no ] || as_root systemctl reset-failed \"$1\" || exit 1\n"
        "as_root systemctl restart --no-block \"$1\"";
    struct openshift3 *o = of(n);
    if (o->pods)
        return restart_pod(o, controllers ? "controllers" : "api", err);
    const char *name = controllers ? o->controllers : o->api;
    const char *args[] = {name, failed ? "failed" : "no", NULL};
    char *what CLEANUP(cleanup_mem) = mem_printf("restarting %s", name);
    return host_do(&o->host, what, unit, args, NULL, NULL, err);
}

/* "; and what master-restart said", to be freed. */
static char *and_said(const struct node *n)
{
    const char *said = of(n)->said;
    return said ? mem_printf("; %s", said) : mem_strdup("");
}

static int did_not_come(const struct node *n, const char *what, const char *why, struct error *err)
{
    char *said CLEANUP(cleanup_mem) = and_said(n);
    return error_set(err, RESULT_FAILED, "node %s: %s %s%s", n->name, what, why, said);
}

/* Until another process than `before` is there, or has been: one that ends at once is the
 * caller's to see. */
static int await_new_process(struct node *n, const char *before, struct error *err)
{
    const struct openshift3 *o = of(n);
    int64_t deadline = loop_now() + NEW_PROCESS_MS;
    for (;;) {
        struct openshift3_part p CLEANUP(openshift3_part_free) = {0};
        if (openshift3_look_at(o, false, &p, err) < 0)
            return -1;
        if ((p.running && !str_eq(p.process.identity, before)) || (!p.running && p.waiting))
            return 0;
        if (!p.running && p.failed)
            return did_not_come(n, api_name(o), "ended, and systemd does not start it again", err);
        if (loop_now() >= deadline)
            return did_not_come(n, api_name(o),
                                p.running ? "was restarted and is still the process of before"
                                          : "does not start",
                                err);
        if (loop_pause(n->loop, POLL_MS, err) < 0)
            return -1;
    }
}

/* After the file is as it is to be: what comes now reads that. */
static int renew(struct node *n, struct openshift3_view *v, struct error *err)
{
    char *before CLEANUP(cleanup_mem) = v->api.running ? mem_strdup(v->api.process.identity) : NULL;
    if (restart(n, false, v->api.failed, err) < 0 || await_new_process(n, before, err) < 0)
        return -1;
    if (!v->kept.changing)
        return 0;
    mem_free(v->kept.process);
    v->kept.process = mem_strdup(before ? before : "none");
    v->kept.changing = false;
    return write_kept(n, &v->kept, err);
}

/* --- the driver's calls --- */

static int look(struct node *n, struct openshift3_view *v, struct error *err)
{
    if (openshift3_look(n, v, err) < 0)
        return -1;
    if (v->there)
        return 0;
    return error_set(err, RESULT_REFUSED, "node %s: there is no master of OpenShift 3", n->name);
}

/* The process is none of `process`, and has read what is wanted. */
static int runs_what_is_wanted(const struct node *n, const struct openshift3_view *v,
                               const struct apiserver_want *want, const char *process, bool *is,
                               struct error *err)
{
    const struct buf *read = openshift3_read_text(v);
    char *flag CLEANUP(cleanup_mem) = NULL;
    *is = false;
    if (!read || !process || str_eq(v->api.process.identity, process))
        return 0;
    if (openshift3_flag(n, read, &flag, err) < 0)
        return -1;
    *is = str_eq(flag, want->config_path);
    return 0;
}

static int bring_up(struct node *n, struct openshift3_view *v, const struct apiserver_want *want,
                    struct error *err)
{
    char *now CLEANUP(cleanup_mem) = NULL;
    struct buf text CLEANUP(buf_free) = {0};
    if (openshift3_flag(n, &v->text, &now, err) < 0)
        return -1;
    if (str_eq(now, want->config_path))
        return keep(n, v, false, err) < 0 ? -1 : renew(n, v, err);
    if (text_with(n, v, want->config_path, &text, err) < 0 || change(n, v, &text, err) < 0)
        return -1;
    return renew(n, v, err);
}

int openshift3_start(struct node *n, const struct apiserver_want *want, const char *process,
                     struct error *err)
{
    struct openshift3_view v CLEANUP(openshift3_view_free) = {0};
    char *now CLEANUP(cleanup_mem) = NULL;
    bool done = false;
    if (look(n, &v, err) < 0 || openshift3_flag(n, &v.text, &now, err) < 0 ||
        runs_what_is_wanted(n, &v, want, process, &done, err) < 0)
        return -1;
    if (done && str_eq(now, want->config_path))
        return 0;
    return bring_up(n, &v, want, err);
}

int openshift3_go_back(struct node *n, const struct apiserver_want *want, struct error *err)
{
    struct openshift3_view v CLEANUP(openshift3_view_free) = {0};
    return look(n, &v, err) < 0 ? -1 : bring_up(n, &v, want, err);
}

/* Ticks since the boot: the last word of an identity. */
static unsigned long long started(const struct host_process *p)
{
    return strtoull(strrchr(p->identity, ' '), NULL, 10);
}

bool openshift3_part_is_wanted(const struct openshift3_part *p)
{
    return p->loaded && (p->active || p->running || p->failed || p->waiting || p->coming);
}

/* They are up, and came after the API. */
static int controllers_follow(struct node *n, const struct openshift3_part *api, bool *wanted,
                              bool *follow, bool *failed, struct error *err)
{
    struct openshift3_part p CLEANUP(openshift3_part_free) = {0};
    if (openshift3_look_at(of(n), true, &p, err) < 0)
        return -1;
    *wanted = openshift3_part_is_wanted(&p);
    *failed = p.failed;
    *follow = p.running && p.active && started(&p.process) >= started(&api->process);
    return 0;
}

static int no_controllers(const struct node *n, const char *why, struct error *err)
{
    const struct openshift3 *o = of(n);
    char *said CLEANUP(cleanup_mem) = and_said(n);
    if (o->pods)
        return error_set(err, RESULT_FAILED,
                         "node %s: the controllers' pod %s (" OPENSHIFT_LOGS
                         " controllers controllers there tells why)%s",
                         n->name, why, said);
    return error_set(err, RESULT_FAILED, "node %s: %s %s (journalctl -u %s there tells why)",
                     n->name, o->controllers, why, o->controllers);
}

/* The documented order: the API, then the controllers, which need it. Those that somebody has
 * stopped stay so. */
static int restart_controllers(struct node *n, const struct openshift3_part *api, struct error *err)
{
    const struct openshift3 *o = of(n);
    bool wanted = false, follow = false, failed = false;
    if (!o->pods && !o->controllers)
        return 0;
    if (controllers_follow(n, api, &wanted, &follow, &failed, err) < 0)
        return -1;
    if (!wanted || follow)
        return 0;
    if (restart(n, true, failed, err) < 0)
        return -1;
    int64_t deadline = loop_now() + CONTROLLERS_MS;
    for (int seen = 0; seen < LOOKS;) {
        if (controllers_follow(n, api, &wanted, &follow, &failed, err) < 0)
            return -1;
        seen = follow ? seen + 1 : 0;
        const char *why = failed ? "ended, and systemd does not start it again"
                          : loop_now() >= deadline
                              ? "was restarted after the API and does not come up"
                              : NULL;
        if (why)
            return no_controllers(n, why, err);
        if (loop_pause(n->loop, POLL_MS, err) < 0)
            return -1;
    }
    return 0;
}

/* The change was never taken up: the file gets back what the process has read. The copy stays, as
 * evidence of that: the file's change time tells otherwise. Where others have changed more in it,
 * it is left to them. */
static int withdraw(struct node *n, struct openshift3_view *v, struct error *err)
{
    char *now CLEANUP(cleanup_mem) = NULL;
    char *then CLEANUP(cleanup_mem) = NULL;
    struct buf text CLEANUP(buf_free) = {0};
    if (same_text(&v->text, &v->kept.text))
        return 0;
    if (openshift3_flag(n, &v->text, &now, err) < 0 ||
        openshift3_flag(n, &v->kept.text, &then, err) < 0 || text_with(n, v, then, &text, err) < 0)
        return -1;
    if (same_text(&text, &v->kept.text))
        return change(n, v, &text, err);
    if (!str_eq(now, then) &&
        host_file_replace(&of(n)->host, OPENSHIFT_CONFIG, &text, true, &v->text, err) < 0)
        return -1;
    return host_file_remove(&of(n)->host, OPENSHIFT_KEPT, err);
}

int openshift3_settle(struct node *n, struct error *err)
{
    struct openshift3_view v CLEANUP(openshift3_view_free) = {0};
    if (openshift3_look(n, &v, err) < 0)
        return -1;
    if (!v.kept.there)
        return 0;
    const struct buf *read = openshift3_read_text(&v);
    if (!read)
        return did_not_come(
            n, api_name(of(n)),
            "does not run, or isn't known to have read master-config.yaml as it is: "
            "the copy " OPENSHIFT_KEPT " is kept",
            err);
    if (read == &v.kept.text)
        return withdraw(n, &v, err);
    if (restart_controllers(n, &v.api, err) < 0)
        return -1;
    return host_file_remove(&of(n)->host, OPENSHIFT_KEPT, err);
}
