#include "base/printable.h"
#include "cmd/cmd.h"

#include <jansson.h>

/* `o` is let go of. */
static void print_json(json_t *o)
{
    if (!o || json_dumpf(o, stdout, JSON_INDENT(2)) < 0)
        printf("{\"result\": \"unknown\"}");
    printf("\n");
    json_decref(o);
}

int report_error(struct command_line *l, const struct error *err)
{
    progress_end(l);
    int code = err->result == RESULT_INTERRUPTED ? signals_exit_code() : (int)err->result;
    char *message CLEANUP(cleanup_mem) = make_printable(err->message ? err->message : "failed");
    char *state CLEANUP(cleanup_mem) = make_printable(err->state);
    char *next CLEANUP(cleanup_mem) = make_printable(err->next);
    fprintf(stderr, "encrypt: %s\n", message);
    if (state)
        fprintf(stderr, "  state: %s\n", state);
    if (next)
        fprintf(stderr, "  next:  %s\n", next);
    if (l->output == OUTPUT_JSON)
        print_json(json_pack("{s:s, s:i, s:s, s:s?, s:s?}", "result", "error", "code", code,
                             "message", message, "state", state, "next", next));
    return code ? code : RESULT_FAILED;
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

int report_done(struct command_line *l, const struct encrypt_report *r, const char *nothing,
                const char *no_key)
{
    progress_end(l);
    char *why CLEANUP(cleanup_mem) = make_printable(r->why);
    char *key CLEANUP(cleanup_mem) = make_printable(r->key);
    if (l->output == OUTPUT_JSON) {
        print_json(json_pack(
            "{s:s, s:b, s:b, s:b, s:b, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "result",
            r->nothing_to_do ? "nothing-to-do" : "done", "resumed", r->resumed, "aborted",
            r->aborted, "config_written", r->config_written, "config_lags", r->config_lags, "kms",
            r->kms, "why", why, "key", key, "nodes", (json_int_t)r->nodes, "rewritten",
            (json_int_t)r->rewritten, "proved", (json_int_t)r->proof_values, "revision",
            (json_int_t)r->proof_revision, "milliseconds", (json_int_t)r->milliseconds));
        return RESULT_OK;
    }
    if (r->nothing_to_do) {
        print_nothing(nothing, no_key, key, r->kms);
        return RESULT_OK;
    }
    printf("Done: %s%s%s on %zu node%s in %.1f s; %lld values proved at revision %lld.\n", why,
           r->aborted ? " taken back" : "", r->resumed && !r->aborted ? " (resumed)" : "", r->nodes,
           r->nodes == 1 ? "" : "s", (double)r->milliseconds / 1000, (long long)r->proof_values,
           (long long)r->proof_revision);
    if (key[0])
        printf("Secrets are encrypted %s %s.\n", r->kms ? "by the kms provider" : "with key", key);
    else
        printf("Secrets are stored plain; the key stays in the state file's history.\n");
    return RESULT_OK;
}
