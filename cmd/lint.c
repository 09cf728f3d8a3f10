#include "cmd/cmd.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static size_t count_warnings(const struct encrypt_lint *lint)
{
    size_t count = 0;
    for (size_t i = 0; i < lint->finding_count; i++)
        count += lint->findings[i].warning;
    return count;
}

static void print_text(const struct command_line *l, const struct encrypt_lint *lint,
                       const char *file)
{
    char *name CLEANUP(cleanup_mem) = in_words(l, file);
    size_t warnings = count_warnings(lint);
    for (size_t i = 0; i < lint->finding_count; i++) {
        const struct encrypt_lint_finding *f = &lint->findings[i];
        char *what CLEANUP(cleanup_mem) = in_words(l, f->what);
        char *mend CLEANUP(cleanup_mem) = in_words(l, f->mend);
        printf("%s:", name);
        if (f->line)
            printf("%zu:%zu:", f->line, f->column);
        printf(" %s: %s%s%s\n", f->warning ? "warning" : "error", f->field, *f->field ? ": " : "",
               what);
        if (mend)
            printf("    %s\n", mend);
    }
    if (lint->errors || warnings)
        printf("%zu error%s, %zu warning%s\n", lint->errors, lint->errors == 1 ? "" : "s", warnings,
               warnings == 1 ? "" : "s");
    else
        printf("No fault found\n");
}

static json_t *text(const struct command_line *l, const char *s)
{
    char *shown CLEANUP(cleanup_mem) = in_words(l, s);
    return shown ? json_string(shown) : json_null();
}

static void print_json(const struct command_line *l, const struct encrypt_lint *lint,
                       const char *file)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < lint->finding_count; i++) {
        const struct encrypt_lint_finding *f = &lint->findings[i];
        json_array_append_new(
            findings, json_pack("{s:s, s:I, s:I, s:o, s:o, s:o}", "severity",
                                f->warning ? "warning" : "error", "line", (json_int_t)f->line,
                                "column", (json_int_t)f->column, "field", text(l, f->field), "what",
                                text(l, f->what), "mend", text(l, f->mend)));
    }
    json_t *all = json_pack("{s:o, s:s, s:I, s:I, s:o}", "file", text(l, file), "kind",
                            lint->is_cluster ? "cluster" : "EncryptionConfiguration", "errors",
                            (json_int_t)lint->errors, "warnings", (json_int_t)count_warnings(lint),
                            "findings", findings);
    if (!all || json_dumpf(all, stdout, JSON_INDENT(2)) < 0)
        abort();
    printf("\n");
    json_decref(all);
}

int cmd_lint(struct command_line *l)
{
    struct encrypt_error err CLEANUP(encrypt_error_clear) = {0};
    struct encrypt_lint lint CLEANUP(encrypt_lint_free) = {0};
    if (l->argument_count > 1) {
        fprintf(stderr, "encrypt lint: one FILE, not %d\n", l->argument_count);
        return ENCRYPT_USAGE;
    }
    if (l->argument_count)
        l->options.config = l->arguments[0];
    if (encrypt_lint(&l->options, &lint, &err) < 0) {
        /* Nothing was looked at. */
        err.result = ENCRYPT_REFUSED;
        return report_error(l, &err);
    }
    if (l->output == OUTPUT_JSON)
        print_json(l, &lint, l->options.config);
    else
        print_text(l, &lint, l->options.config);
    return lint.errors ? ENCRYPT_FOUND : ENCRYPT_OK;
}
