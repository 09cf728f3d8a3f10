#include "templates/config_findings.h"

#include "base/buf.h"

#include <stdlib.h>

void config_findings_add(struct config_findings *f, const struct yaml *at, bool warning,
                         const char *field, const char *what, const char *mend)
{
    f->errors += !warning;
    if (f->count >= CONFIG_FINDINGS_MAX)
        return;
    MEM_GROW(f->list, f->count);
    f->list[f->count++] = (struct config_finding){.line = at ? at->line : 0,
                                                  .column = at ? at->column : 0,
                                                  .field = mem_strdup(field),
                                                  .what = mem_strdup(what),
                                                  .mend = mem_strdup(mend),
                                                  .warning = warning};
}

void config_findings_move(struct config_findings *to, struct config_findings *from,
                          const char *prefix, bool as_warnings)
{
    to->errors += as_warnings ? 0 : from->errors;
    for (size_t i = 0; i < from->count && to->count < CONFIG_FINDINGS_MAX; i++) {
        struct config_finding *f = &from->list[i];
        size_t len = str_starts(f->field, "[") || !*f->field ? 0 : 1;
        char *field = *prefix ? mem_printf("%s%.*s%s", prefix, (int)len, ".", f->field)
                              : mem_strdup(f->field);
        mem_free(f->field);
        f->field = field;
        f->warning = f->warning || as_warnings;
        MEM_GROW(to->list, to->count);
        to->list[to->count++] = *f;
        *f = (struct config_finding){0};
    }
    config_findings_free(from);
}

void config_findings_sort(struct config_findings *f)
{
    for (size_t i = 1; i < f->count; i++) {
        struct config_finding moved = f->list[i];
        size_t to = i;
        for (; to > 0; to--) {
            const struct config_finding *before = &f->list[to - 1];
            if (before->line < moved.line ||
                (before->line == moved.line && before->column <= moved.column))
                break;
            f->list[to] = *before;
        }
        f->list[to] = moved;
    }
}

int config_findings_error(const struct config_findings *f, const char *file, struct error *err)
{
    if (!f->errors)
        return 0;
    struct buf all CLEANUP(buf_free) = {0};
    size_t shown = 0;
    for (size_t i = 0; i < f->count; i++) {
        const struct config_finding *one = &f->list[i];
        if (one->warning)
            continue;
        buf_printf(&all, "%s%s", shown++ ? "\n" : "", file);
        if (one->line)
            buf_printf(&all, ":%zu:%zu", one->line, one->column);
        buf_printf(&all, ": %s%s%s%s%s", one->field, *one->field ? ": " : "", one->what,
                   one->mend ? "; " : "", one->mend ? one->mend : "");
    }
    if (shown < f->errors)
        buf_printf(&all, "%s%s: %zu more errors", shown ? "\n" : "", file, f->errors - shown);
    return error_set(err, RESULT_REFUSED, "%s", buf_str(&all));
}

void config_findings_free(struct config_findings *f)
{
    for (size_t i = 0; i < f->count; i++) {
        mem_free(f->list[i].field);
        mem_free(f->list[i].what);
        mem_free(f->list[i].mend);
    }
    mem_free(f->list);
    *f = (struct config_findings){0};
}
