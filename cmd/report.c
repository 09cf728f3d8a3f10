#include "base/printable.h"
#include "cmd/cmd.h"

#include <jansson.h>
#include <string.h>

void report_json(json_t *o)
{
    if (!o || json_dumpf(o, stdout, JSON_INDENT(2)) < 0)
        printf("{\"result\": \"unknown\"}");
    printf("\n");
    json_decref(o);
}

int report_error(struct command_line *l, const struct encrypt_error *err)
{
    progress_end(l);
    int code = err->result == ENCRYPT_INTERRUPTED ? signals_exit_code() : (int)err->result;
    char *message CLEANUP(cleanup_mem) = in_words(l, err->message ? err->message : "failed");
    char *state CLEANUP(cleanup_mem) = in_words(l, err->state);
    char *next CLEANUP(cleanup_mem) = in_words(l, err->next);
    fprintf(stderr, "encrypt: %s\n", message);
    if (state)
        fprintf(stderr, "  state: %s\n", state);
    if (next)
        fprintf(stderr, "  next:  %s\n", next);
    if (l->output == OUTPUT_JSON)
        report_json(json_pack("{s:s, s:i, s:s, s:s?, s:s?}", "result", "error", "code", code,
                              "message", message, "state", state, "next", next));
    return code ? code : ENCRYPT_FAILED;
}

static void print_nothing(const char *nothing, const char *no_key, const char *key, bool kms)
{
    if (key[0])
        printf("Nothing to do: %s (encrypted %s %s).\n", nothing,
               kms ? "by the kms provider" : "with key", key);
    else if (no_key[0])
        printf("Nothing to do: %s (%s).\n", nothing, no_key);
    else
        printf("Nothing to do: %s.\n", nothing);
}

/* The command as this one's files would have it. */
static void print_command(const struct command_line *l, const char *command)
{
    const struct encrypt_options *o = &l->options;
    char *config CLEANUP(cleanup_mem) = make_printable(o->config);
    char *state CLEANUP(cleanup_mem) = make_printable(o->state);
    printf("%s %s --config %s%s%s\n", l->program, command, config, state ? " --state " : "",
           state ? state : "");
}

static void print_next(const struct command_line *l, const struct encrypt_report *r)
{
    const char *after = r->stage_next[0] ? r->stage_next : NULL;
    if (r->waiting && after && strcmp(after, "restart") == 0) {
        printf("Next: restart kube-apiserver on %zu node%s, one after the other, each when the one "
               "before is ready; then, or to have it done: ",
               r->waiting, r->waiting == 1 ? "" : "s");
        print_command(l, "restart");
        printf("(it closes the rotation).");
        if (r->keep_off)
            printf(" Don't run %s before.", r->keep_off);
        printf("\n");
        return;
    }
    if (r->waiting) {
        printf("Next: restart kube-apiserver on %zu node%s, one after the other, each when the one "
               "before is ready; or: ",
               r->waiting, r->waiting == 1 ? "" : "s");
        print_command(l, "restart");
    }
    if (!after)
        return;
    printf(r->waiting ? "Then: " : "Next: ");
    print_command(l, after);
    if (r->keep_off)
        printf("Don't run %s before the rotation is finished.\n", r->keep_off);
}

static const char *words_of(const struct encrypt_report *r, const char *command)
{
    bool finished = !r->stage[0] || strcmp(r->stage, "reencrypt_finished") == 0;
    bool placed = !r->stage[0] || r->stage_placed;
    if (strcmp(command, "restart") == 0)
        return r->nothing_to_do ? "nothing to restart" : "restart completed successfully";
    if (strcmp(command, "reencrypt") == 0)
        return finished && placed ? "keys rotated, reencryption finished"
                                  : "reencryption not finished";
    if (strcmp(command, "prepare") == 0)
        return placed ? "prepare completed successfully" : "prepare not finished";
    return placed ? "rotate completed successfully" : "rotate not finished";
}

int report_stage(struct command_line *l, const struct encrypt_report *r, const char *command)
{
    const char *words = words_of(r, command);
    char *key CLEANUP(cleanup_mem) = make_printable(r->key);
    progress_end(l);
    if (l->output == OUTPUT_JSON) {
        report_json(
            json_pack("{s:s, s:b, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "result",
                      r->nothing_to_do ? "nothing-to-do" : "done", "open", r->stage[0] != '\0',
                      "stage", r->stage[0] ? r->stage : "reencrypt_finished", "message", words,
                      "next", r->stage_next, "key", key, "nodes", (json_int_t)r->nodes, "waiting",
                      (json_int_t)r->waiting, "rewritten", (json_int_t)r->rewritten, "left",
                      (json_int_t)r->left, "proved", (json_int_t)r->proof_values, "revision",
                      (json_int_t)r->proof_revision, "milliseconds", (json_int_t)r->milliseconds));
        return ENCRYPT_OK;
    }
    printf("%s\n", words);
    if (strcmp(command, "reencrypt") == 0 && strcmp(r->stage, "reencrypt_request") == 0)
        printf("%zu rewritten; %zu still under the old key, which stays until all is rewritten and "
               "proved.\n",
               r->rewritten, r->left);
    else if (r->proof_values && (!r->stage[0] || strcmp(r->stage, "reencrypt_finished") == 0))
        printf("%zu rewritten, %lld values proved at revision %lld.\n", r->rewritten,
               (long long)r->proof_values, (long long)r->proof_revision);
    print_next(l, r);
    return ENCRYPT_OK;
}

void report_started(struct command_line *l, long pid, const char *log)
{
    char *shown CLEANUP(cleanup_mem) = make_printable(log);
    if (l->output == OUTPUT_JSON) {
        report_json(json_pack("{s:s, s:s, s:I, s:s}", "result", "started", "stage",
                              "reencrypt_active", "pid", (json_int_t)pid, "log", shown));
        return;
    }
    printf("reencryption started\n(process %ld; what it says goes to %s)\nNext: ", pid, shown);
    print_command(l, "status");
}

int report_done(struct command_line *l, const struct encrypt_report *r, const char *nothing,
                const char *no_key)
{
    progress_end(l);
    json_t *start = r->start.node_count ? start_json(&r->start) : NULL;
    char *why CLEANUP(cleanup_mem) = make_printable(r->why);
    char *key CLEANUP(cleanup_mem) = make_printable(r->key);
    if (l->output == OUTPUT_JSON) {
        report_json(
            json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o*}",
                      "result", r->nothing_to_do ? "nothing-to-do" : "done", "resumed", r->resumed,
                      "aborted", r->aborted, "config_written", r->config_written, "config_lags",
                      r->config_lags, "kms", r->kms, "why", why, "key", key, "nodes",
                      (json_int_t)r->nodes, "rewritten", (json_int_t)r->rewritten, "proved",
                      (json_int_t)r->proof_values, "revision", (json_int_t)r->proof_revision,
                      "milliseconds", (json_int_t)r->milliseconds, "start", start));
        return ENCRYPT_OK;
    }
    if (start && !r->why[0]) {
        start_print(&r->start);
        json_decref(start);
        return ENCRYPT_OK;
    }
    json_decref(start);
    if (r->nothing_to_do) {
        print_nothing(nothing, no_key, key, r->kms);
        return ENCRYPT_OK;
    }
    printf("Done: %s%s%s on %zu node%s in %.1f s", why, r->aborted ? " taken back" : "",
           r->resumed && !r->aborted ? " (resumed)" : "", r->nodes, r->nodes == 1 ? "" : "s",
           (double)r->milliseconds / 1000);
    /* (None where no kube-apiserver was there.) */
    if (r->proof_revision)
        printf("; %lld values proved at revision %lld", (long long)r->proof_values,
               (long long)r->proof_revision);
    printf(".\n");
    if (key[0])
        printf("Secrets are encrypted %s %s.\n", r->kms ? "by the kms provider" : "with key", key);
    else
        printf("Secrets are stored plain; the key stays in the state file's history.\n");
    return ENCRYPT_OK;
}
