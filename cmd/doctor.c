#include "cmd/cmd.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Each line of the text behind `indent`. */
static void print_lines(const char *indent, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        printf("%s%.*s\n", indent, (int)len, text);
        text += len + (text[len] == '\n');
    }
}

static void print_text(const struct command_line *l, const struct encrypt_diagnosis *d, size_t left)
{
    for (size_t i = 0; i < d->seen_count; i++) {
        char *about CLEANUP(cleanup_mem) = in_words(l, d->seen[i].about);
        char *text CLEANUP(cleanup_mem) = in_words(l, d->seen[i].text);
        printf("%s: %s\n", about, text);
    }
    size_t number = 0;
    for (size_t i = 0; i < d->finding_count; i++) {
        const struct encrypt_finding *f = &d->findings[i];
        char *about CLEANUP(cleanup_mem) = in_words(l, f->about);
        char *what CLEANUP(cleanup_mem) = in_words(l, f->what);
        char *means CLEANUP(cleanup_mem) = in_words(l, f->means);
        char *mend CLEANUP(cleanup_mem) = in_words(l, f->mend);
        if (f->repaired)
            continue;
        printf("\n%zu. %s: ", ++number, about);
        size_t first = strcspn(what, "\n");
        printf("%.*s\n", (int)first, what);
        print_lines("     ", what + first + (what[first] == '\n'));
        if (means)
            print_lines("   ", means);
        if (mend)
            print_lines("     ", mend);
    }
    if (left)
        printf("\n%zu thing%s wrong.\n", left, left == 1 ? " is" : "s are");
    else if (d->nodes_seen == d->nodes)
        printf("\nNothing is wrong.\n");
}

static json_t *text(const struct command_line *l, const char *s)
{
    char *shown CLEANUP(cleanup_mem) = in_words(l, s);
    return shown ? json_string(shown) : json_null();
}

static void print_json(const struct command_line *l, const struct encrypt_diagnosis *d, size_t left)
{
    json_t *findings = json_array();
    json_t *seen = json_array();
    for (size_t i = 0; i < d->finding_count; i++) {
        const struct encrypt_finding *f = &d->findings[i];
        json_array_append_new(findings,
                              json_pack("{s:o, s:o, s:o, s:o, s:b}", "about", text(l, f->about),
                                        "what", text(l, f->what), "means", text(l, f->means),
                                        "mend", text(l, f->mend), "repaired", (int)f->repaired));
    }
    for (size_t i = 0; i < d->seen_count; i++)
        json_array_append_new(seen, json_pack("{s:o, s:o}", "about", text(l, d->seen[i].about),
                                              "text", text(l, d->seen[i].text)));
    json_t *all = json_pack("{s:s, s:I, s:I, s:o, s:o}", "result", left ? "found" : "healthy",
                            "nodes", (json_int_t)d->nodes, "nodes_seen", (json_int_t)d->nodes_seen,
                            "findings", findings, "seen", seen);
    if (!all || json_dumpf(all, stdout, JSON_INDENT(2)) < 0)
        abort();
    printf("\n");
    json_decref(all);
}

int cmd_doctor(struct command_line *l)
{
    struct encrypt_error err CLEANUP(encrypt_error_clear) = {0};
    struct encrypt_diagnosis d CLEANUP(encrypt_diagnosis_free) = {0};
    int rc = encrypt_doctor(&l->options, &l->doctor, &d, &err);
    size_t left = 0;
    for (size_t i = 0; i < d.finding_count; i++)
        left += !d.findings[i].repaired;
    progress_end(l);
    if (d.finding_count || d.seen_count) {
        /* One JSON document: the diagnosis. An error is on standard error too. */
        if (l->output == OUTPUT_JSON)
            print_json(l, &d, left);
        else
            print_text(l, &d, left);
        l->output = OUTPUT_TEXT;
    }
    if (rc < 0)
        return report_error(l, &err);
    return d.nodes_seen == 0 ? ENCRYPT_REFUSED : left ? ENCRYPT_FOUND : ENCRYPT_OK;
}
