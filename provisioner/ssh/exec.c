/*
 * Commands on the node: a channel each, that is opened, given its input, read to its end, closed.
 * What was given up (its time was over) is gone on with until libssh2 has let go of the channel: it
 * can't forget one that is half open.
 */
#include "provisioner/ssh/session.h"

#include <string.h>

enum {
    CHUNK = 32 * 1024,
    STATUS_OF_SIGNAL = 128,
    TRIES = 8,                   /* to open a channel where there is room for one */
    LONGEST_COMMAND = 32 * 1024, /* what libssh2 makes one packet of */
};

struct job {
    struct job *next;
    LIBSSH2_CHANNEL *channel; /* NULL: not open yet, or let go of */
    bool opening;             /* begun, must be ended */
    bool begun;               /* the command was taken */
    bool given_up;            /* nobody waits for it: `command` and `in` are gone */
    bool done;                /* to be taken by who waits */
    const char *command, *in;
    size_t in_len, given, limit;
    bool eof_sent;
    int tries;
    struct ssh_answer answer;
    struct error why; /* where it failed */
};

void ssh_answer_free(struct ssh_answer *a)
{
    buf_free(&a->out);
    buf_free(&a->errors);
    *a = (struct ssh_answer){0};
}

static void job_free(struct job *j)
{
    ssh_answer_free(&j->answer);
    error_clear(&j->why);
    mem_free(j);
}

static const char *last_words(struct ssh *s)
{
    char *text = NULL;
    libssh2_session_last_error(s->lib, &text, NULL, 0);
    return text && *text ? text : "refused";
}

static int fail(struct job *j, const char *what, const char *why)
{
    error_set(&j->why, RESULT_FAILED, "%s: %s", what, why);
    j->done = true;
    return 1;
}

/* What concerns this channel only ends the command. */
static bool is_broken(ssize_t rc)
{
    return rc < 0 && rc != LIBSSH2_ERROR_EAGAIN && rc != LIBSSH2_ERROR_CHANNEL_CLOSED &&
           rc != LIBSSH2_ERROR_CHANNEL_EOF_SENT;
}

/* A server that allows one session channel only (MaxSessions 1) gives it to commands: the anchor
 * goes, and the session is read from then on while it has something to do. It gets a channel's
 * place back after it has looked at what came with its end, so it is asked again. */
static bool makes_room(struct ssh *s, struct job *j)
{
    s->anchor_lent = s->anchor_lent || s->anchor;
    return s->anchor_lent && j->tries++ < TRIES;
}

static int job_open(struct ssh *s, struct job *j)
{
    if (s->anchor_lent && s->anchor)
        return 0;
    j->channel = libssh2_channel_open_session(s->lib);
    j->opening = !j->channel && libssh2_session_last_errno(s->lib) == LIBSSH2_ERROR_EAGAIN;
    if (j->channel)
        return 1;
    if (j->opening)
        return 0;
    int code = libssh2_session_last_errno(s->lib);
    if (code != LIBSSH2_ERROR_CHANNEL_FAILURE && code != LIBSSH2_ERROR_TIMEOUT)
        return -1;
    if (code == LIBSSH2_ERROR_CHANNEL_FAILURE && makes_room(s, j))
        return 1;
    return fail(
        j,
        "opening a channel for a command (MaxSessions of its sshd_config, or a user who may "
        "only forward)",
        code == LIBSSH2_ERROR_TIMEOUT ? "no answer" : last_words(s));
}

static int job_begin(struct ssh *s, struct job *j)
{
    int rc = libssh2_channel_exec(j->channel, j->command);
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return 0;
    if (rc == 0) {
        j->begun = true;
        return 1;
    }
    if (rc == LIBSSH2_ERROR_TIMEOUT)
        return fail(j, "running a command", "no answer; it may run all the same");
    if (rc != LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED && rc != LIBSSH2_ERROR_CHANNEL_CLOSED)
        return -1;
    return fail(j, "running a command", last_words(s));
}

static int job_give(struct ssh *s, struct job *j)
{
    int moved = 0;
    while (j->given < j->in_len && s->out.len - s->out.start < SSH_OUT_HIGH) {
        ssize_t n = libssh2_channel_write(j->channel, j->in + j->given, j->in_len - j->given);
        if (is_broken(n))
            return -1;
        if (n == 0 || n == LIBSSH2_ERROR_EAGAIN)
            break; /* the window is full */
        /* A command that doesn't read to the end of its input is no error of ours. */
        j->given = n < 0 ? j->in_len : j->given + (size_t)n;
        moved = 1;
    }
    if (j->given == j->in_len && !j->eof_sent) {
        int rc = libssh2_channel_send_eof(j->channel);
        if (is_broken(rc))
            return -1;
        j->eof_sent = rc != LIBSSH2_ERROR_EAGAIN;
        moved |= j->eof_sent;
    }
    return moved;
}

static int job_take(struct job *j, int stream, struct buf *to)
{
    char *room = buf_reserve(to, CHUNK);
    ssize_t n = libssh2_channel_read_ex(j->channel, stream, room, CHUNK);
    if (is_broken(n))
        return -1;
    if (n <= 0)
        return 0;
    to->len += (size_t)n;
    to->data[to->len] = '\0';
    if (to->len > j->limit)
        return fail(j, "running a command", "it says more than is taken");
    return 1;
}

static int job_end(struct job *j)
{
    /* Closed by the other end, it is over also where its input was never read to the end. */
    if (libssh2_channel_eof(j->channel) != 1)
        return 0;
    int rc = libssh2_channel_wait_closed(j->channel);
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return 0;
    if (is_broken(rc))
        return -1;
    char *signal = NULL;
    size_t len = 0;
    libssh2_channel_get_exit_signal(j->channel, &signal, &len, NULL, NULL, NULL, NULL);
    j->answer.status = signal ? STATUS_OF_SIGNAL : libssh2_channel_get_exit_status(j->channel);
    mem_free(signal);
    j->done = true;
    return 1;
}

bool exec_is_opening(const struct ssh *s)
{
    for (const struct job *j = s->jobs; j; j = j->next) {
        if (j->opening)
            return true;
    }
    return false;
}

static int job_step(struct ssh *s, struct job *j)
{
    if (!j->channel)
        return forward_is_opening(s) || (!j->opening && exec_is_opening(s)) ? 0 : job_open(s, j);
    if (j->given_up || j->done)
        return 0;
    if (!j->begun)
        return job_begin(s, j);
    int moved = job_give(s, j);
    if (moved < 0)
        return -1;
    int out = job_take(j, 0, &j->answer.out);
    int errors = out < 0 ? -1 : job_take(j, SSH_EXTENDED_DATA_STDERR, &j->answer.errors);
    if (errors < 0)
        return -1;
    if (j->done || out || errors)
        return 1;
    int end = job_end(j);
    return end < 0 ? -1 : moved | end;
}

/* True when there is nothing left of one that nobody waits for. */
static bool job_let_go(struct job *j)
{
    if (!j->given_up || j->opening)
        return false;
    return !j->channel || libssh2_channel_free(j->channel) != LIBSSH2_ERROR_EAGAIN;
}

int exec_service(struct ssh *s)
{
    int moved = 0;
    for (struct job **p = &s->jobs; *p;) {
        struct job *j = *p;
        int rc = j->given_up && !j->opening ? 0 : job_step(s, j);
        if (rc < 0)
            return -1;
        moved |= rc;
        if (job_let_go(j)) {
            *p = j->next;
            job_free(j);
        } else {
            p = &j->next;
        }
    }
    return moved;
}

void exec_abort(struct ssh *s)
{
    for (struct job **p = &s->jobs; *p;) {
        struct job *j = *p;
        j->channel = NULL; /* goes with the session */
        j->opening = false;
        if (j->given_up) {
            *p = j->next;
            job_free(j);
            continue;
        }
        if (!j->done)
            fail(j, "running a command",
                 s->failure.message ? s->failure.message : "the session is closed");
        p = &j->next;
    }
}

static bool is_done(void *ctx)
{
    return ((struct job *)ctx)->done;
}

/* What became of it, taken out; the channel goes by itself. */
static int job_result(struct ssh *s, struct job *j, int waited, struct ssh_answer *out,
                      struct error *err)
{
    if (waited == 0 && !j->why.result) {
        *out = j->answer;
        j->answer = (struct ssh_answer){0};
    } else if (waited == 0) {
        waited = error_move(err, &j->why);
    }
    j->given_up = true;
    j->command = j->in = NULL;
    struct job **p = &s->jobs;
    while (*p != j)
        p = &(*p)->next;
    if (!j->channel && !j->opening) {
        *p = j->next;
        job_free(j);
    } else {
        ssh_wake(s);
    }
    return waited;
}

int ssh_exec(struct ssh *s, const char *command, const void *in, size_t in_len, size_t limit,
             int64_t timeout_ms, struct ssh_answer *out, struct error *err)
{
    if (s->phase != PHASE_READY)
        return error_set(err, RESULT_FAILED, "%s: %s", s->name,
                         s->failure.message ? s->failure.message : "the session is closed");
    if (strlen(command) > LONGEST_COMMAND)
        return error_set(err, RESULT_FAILED, "%s: a command of %zu bytes: %d at most", s->name,
                         strlen(command), LONGEST_COMMAND);
    struct job *j = mem_alloc(1, sizeof(*j));
    *j = (struct job){.command = command, .in = in, .in_len = in ? in_len : 0, .limit = limit};
    struct job **end = &s->jobs; /* those before it give their channels back first */
    while (*end)
        end = &(*end)->next;
    *end = j;
    ssh_wake(s);
    int rc = loop_until(s->loop, is_done, j, timeout_ms ? loop_now() + timeout_ms : 0, err);
    if (rc < 0 && err->result == RESULT_FAILED)
        error_set(err, RESULT_FAILED, "a command did not end within %lld s; it may still run",
                  (long long)(timeout_ms + 999) / 1000);
    return job_result(s, j, rc, out, err) < 0 ? error_wrap(err, "%s", s->name) : 0;
}
