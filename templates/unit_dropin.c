#include "templates/unit_dropin.h"

#include <ctype.h>
#include <string.h>

#define FIRST_LINE "# Made by encrypt"

static const char comment[] = FIRST_LINE
    ": the unit's own ExecStart= with one flag at its end, where it counts.\n"
    "# `encrypt` writes it anew at each change, and takes it away where the unit says the "
    "same without it.\n"
    "# Until then a change of ExecStart= in the unit itself has no effect.\n";

/* As one word of a unit's: `%` and `$` are systemd's own letters. */
static void add_word(struct buf *out, const char *s)
{
    bool plain = true;
    for (const char *p = s; *p; p++)
        plain = plain && (isalnum((unsigned char)*p) || strchr("-_=/.,:@+", *p));
    if (plain) {
        buf_adds(out, s);
        return;
    }
    buf_adds(out, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            buf_adds(out, "\\");
        else if (*s == '%' || *s == '$')
            buf_add(out, s, 1);
        buf_add(out, s, 1);
    }
    buf_adds(out, "\"");
}

void unit_dropin_write(const char *command, const char *flag, const char *value, struct buf *out)
{
    char *word CLEANUP(cleanup_mem) = mem_printf("--%s=%s", flag, value ? value : "");
    buf_printf(out, "%s[Service]\nExecStart=\nExecStart=%s%s", comment, command,
               strchr(command, '\n') ? " \\\n  " : " ");
    add_word(out, word);
    buf_adds(out, "\n");
}

bool unit_dropin_read(const char *text, size_t len, char **value)
{
    struct unit_file file = {UNIT_DROPIN_NAME, text, len};
    struct unit_service s CLEANUP(unit_service_free) = {0};
    struct error ignored CLEANUP(error_clear) = {0};
    bool whole = true;
    *value = NULL;
    if (len < strlen(FIRST_LINE) || memcmp(text, FIRST_LINE, strlen(FIRST_LINE)) != 0)
        return false;
    if (unit_service_read(&file, 1, &s, &ignored) < 0 || s.count == 0)
        return true;
    char **args CLEANUP(cleanup_unit_args) =
        unit_command_args(s.commands[s.count - 1], NULL, &whole);
    const char *last = NULL;
    for (size_t i = 0; args && args[i]; i++)
        last = args[i];
    const char *equals = last ? strchr(last, '=') : NULL;
    if (equals && equals[1] && str_starts(last, "--"))
        *value = mem_strdup(equals + 1);
    return true;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int refuse_later(const char *path, const char *flag, const char *value, struct error *err)
{
    error_set(err, RESULT_REFUSED,
              "%s says ExecStart= and is read after " UNIT_DROPIN_NAME
              ": a flag that is set there would not count",
              path);
    error_next(err,
               "give that drop-in a name that sorts before " UNIT_DROPIN_NAME
               " (and systemctl daemon-reload), or write --%s=%s into it yourself and restart the "
               "unit; then run the same command again",
               flag, value ? value : "");
    return -1;
}

const char *unit_dropin_overruled_by(const struct unit_file *files, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct unit_service one CLEANUP(unit_service_free) = {0};
        struct error ignored CLEANUP(error_clear) = {0};
        if (strcmp(name_of(files[i].path), UNIT_DROPIN_NAME) <= 0)
            continue;
        /* (All of them were read together before: none fails.) */
        if (unit_service_read(&files[i], 1, &one, &ignored) < 0 || one.says_start)
            return files[i].path;
    }
    return NULL;
}

int unit_dropin_check(const struct unit_file *files, size_t count,
                      const struct unit_service *service, const char *flag, const char *value,
                      struct error *err)
{
    const char *later = unit_dropin_overruled_by(files, count);
    if (later)
        return refuse_later(later, flag, value, err);
    const char *path = count ? files[0].path : "the unit";
    bool whole = true;
    char **args CLEANUP(cleanup_unit_args) =
        service->count == 1 ? unit_command_args(service->commands[0], NULL, &whole) : NULL;
    if (!args || !args[0]) {
        error_set(err, RESULT_REFUSED,
                  "%s: it doesn't have one ExecStart= with one command: which of them is "
                  "kube-apiserver can't be told",
                  path);
        error_next(err,
                   "start kube-apiserver by an ExecStart= of its own, or write --%s=%s where its "
                   "flags stand and restart the unit; then run the same command again",
                   flag, value ? value : "");
        return -1;
    }
    if (!unit_is_shell_text(args))
        return 0;
    error_set(err, RESULT_REFUSED,
              "%s: ExecStart= is a text for a shell: a flag at its end would not reach "
              "kube-apiserver",
              path);
    error_next(err,
               "write --%s=%s into that text and restart the unit; then run the same command again",
               flag, value ? value : "");
    return -1;
}
