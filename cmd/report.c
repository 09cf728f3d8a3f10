#include "cmd/cmd.h"

#include <jansson.h>

int report_error(struct command_line *l, const struct error *err)
{
    progress_end(l);
    int code = err->result == RESULT_INTERRUPTED ? signals_exit_code() : (int)err->result;
    fprintf(stderr, "encrypt: %s\n", err->message ? err->message : "failed");
    if (err->state)
        fprintf(stderr, "  state: %s\n", err->state);
    if (err->next)
        fprintf(stderr, "  next:  %s\n", err->next);
    if (l->output == OUTPUT_JSON) {
        json_t *o = json_pack("{s:s, s:i, s:s, s:s?, s:s?}", "result", "error", "code", code,
                              "message", err->message ? err->message : "failed", "state",
                              err->state, "next", err->next);
        json_dumpf(o, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(o);
    }
    return code ? code : RESULT_FAILED;
}

int report_done(struct command_line *l, const struct encrypt_report *r, const char *nothing)
{
    progress_end(l);
    if (l->output == OUTPUT_JSON) {
        json_t *o =
            json_pack("{s:s, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "result",
                      r->nothing_to_do ? "nothing-to-do" : "done", "resumed", r->resumed, "why",
                      r->why, "key", r->key, "nodes", (json_int_t)r->nodes, "rewritten",
                      (json_int_t)r->rewritten, "proved", (json_int_t)r->proof_values, "revision",
                      (json_int_t)r->proof_revision, "milliseconds", (json_int_t)r->milliseconds);
        json_dumpf(o, stdout, JSON_INDENT(2));
        printf("\n");
        json_decref(o);
        return RESULT_OK;
    }
    if (r->nothing_to_do) {
        printf("Nothing to do: %s (%s%s).\n", nothing,
               r->key[0] ? "encrypted with key " : "not encrypted", r->key);
        return RESULT_OK;
    }
    printf("Done: %s%s on %zu node%s in %.1f s; %lld values proved at revision %lld.\n", r->why,
           r->resumed ? " (resumed)" : "", r->nodes, r->nodes == 1 ? "" : "s",
           (double)r->milliseconds / 1000, (long long)r->proof_values,
           (long long)r->proof_revision);
    if (r->key[0])
        printf("Secrets are encrypted with key %s.\n", r->key);
    else
        printf("Secrets are stored plain; the old key stays in the state file's history.\n");
    return RESULT_OK;
}
