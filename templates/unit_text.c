#include "templates/unit_text.h"

#include <ctype.h>
#include <string.h>

static const char blanks[] = " \t";

static void args_add(char ***args, char *one)
{
    size_t count = 0;
    while (*args && (*args)[count])
        count++;
    *args = mem_realloc(*args, count + 2, sizeof(**args));
    (*args)[count] = one;
    (*args)[count + 1] = NULL;
}

void unit_args_free(char **args)
{
    for (size_t i = 0; args && args[i]; i++)
        mem_free(args[i]);
    mem_free(args);
}

void cleanup_unit_args(char ***args)
{
    unit_args_free(*args);
    *args = NULL;
}

void unit_service_free(struct unit_service *s)
{
    unit_args_free(s->commands);
    unit_args_free(s->environment);
    unit_args_free(s->files);
    *s = (struct unit_service){0};
}

/* --- lines --- */

struct lines {
    const char *at, *end;
    size_t number; /* of the line that was read last */
    size_t first;  /* of the first line of what was read last */
};

static bool next_raw(struct lines *l, const char **line, size_t *len)
{
    if (l->at >= l->end)
        return false;
    const char *eol = memchr(l->at, '\n', (size_t)(l->end - l->at));
    eol = eol ? eol : l->end;
    *line = l->at;
    *len = (size_t)(eol - l->at);
    if (*len && (*line)[*len - 1] == '\r')
        --*len;
    l->at = eol < l->end ? eol + 1 : eol;
    l->number++;
    return true;
}

static bool ends_escaped(const char *s, size_t len)
{
    size_t count = 0;
    while (count < len && s[len - 1 - count] == '\\')
        count++;
    return count % 2 == 1;
}

static bool is_comment(const char *line, size_t len)
{
    size_t skip = 0;
    while (skip < len && strchr(blanks, line[skip]))
        skip++;
    return skip < len && (line[skip] == '#' || line[skip] == ';');
}

/* Nothing continues it: the backslash at its end is a blank. */
static void end_continued(struct buf *out)
{
    while (out->len && strchr(" \t\n", out->data[out->len - 1])) {
        bool joined = out->len > 1 && str_starts(out->data + out->len - 2, "\\\n");
        out->len -= joined ? 2 : 1;
        out->data[out->len] = '\0';
    }
}

/* A line with those that continue it, as written ("\\\n" between them); comments are passed over,
 * within it too. A blank line continues it and ends it. */
static bool next_line(struct lines *l, struct buf *out)
{
    const char *line = NULL;
    size_t len = 0;
    bool inside = false;
    buf_reset(out);
    while (next_raw(l, &line, &len)) {
        if (is_comment(line, len))
            continue;
        if (!inside)
            l->first = l->number;
        buf_add(out, line, len);
        if (!ends_escaped(line, len)) {
            end_continued(out);
            return true;
        }
        buf_adds(out, "\n");
        inside = true;
    }
    /* (The text ends in the middle.) */
    end_continued(out);
    return inside;
}

/* What systemd makes of continuation lines. */
static char *join(const char *written)
{
    struct buf out CLEANUP(buf_free) = {0};
    for (const char *p = written; *p; p++) {
        if (p[0] == '\\' && p[1] == '\n') {
            buf_adds(&out, " ");
            p++;
        } else if (p[0] == '\\' && p[1]) {
            buf_add(&out, p++, 2);
        } else {
            buf_add(&out, p, 1);
        }
    }
    return mem_strdup(buf_str(&out));
}

static void trim(struct buf *b)
{
    size_t skip = 0;
    while (b->len && strchr(" \t\n", b->data[b->len - 1]))
        b->data[--b->len] = '\0';
    while (skip < b->len && strchr(blanks, b->data[skip]))
        skip++;
    if (skip)
        memmove(b->data, b->data + skip, b->len - skip + 1);
    b->len -= skip;
}

/* --- words --- */

/* A character after a backslash; *used: how many that are. */
static bool unescape(const char *s, char *out, size_t *used)
{
    static const char letters[] = "abfnrtv\\\"'s", meant[] = "\a\b\f\n\r\t\v\\\"' ";
    const char *at = *s ? strchr(letters, *s) : NULL;
    *used = 1;
    if (at) {
        *out = meant[at - letters];
        return true;
    }
    unsigned value = 0;
    size_t digits = *s == 'x' ? 2 : 3;
    unsigned base = *s == 'x' ? 16 : 8;
    size_t skip = *s == 'x';
    for (size_t i = 0; i < digits; i++) {
        const char *all = "0123456789abcdef";
        char c = (char)tolower((unsigned char)s[skip + i]);
        const char *digit = c ? strchr(all, c) : NULL;
        if (!digit || (unsigned)(digit - all) >= base)
            return false;
        value = value * base + (unsigned)(digit - all);
    }
    *used = skip + digits;
    *out = (char)value;
    return value > 0 && value < 256;
}

/* The next word of a joined line, unquoted. Gives NULL at the end, or where quotes or a backslash
 * are left open (*bad). *quoted: some of it was. */
static char *next_word(const char **s, bool *quoted, bool *whole, bool *bad)
{
    struct buf word CLEANUP(buf_free) = {0};
    char quote = '\0';
    const char *p = *s + strspn(*s, " \t\n");
    *quoted = false;
    if (!*p) {
        *s = p;
        return NULL;
    }
    for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
        char c = '\0';
        size_t used = 0;
        /* (systemd takes no such command.) */
        *bad = *bad || (*p == '\\' && !p[1]);
        if (*p == '\\' && p[1]) {
            if (unescape(p + 1, &c, &used)) {
                buf_add(&word, &c, 1);
                p += used;
            } else {
                buf_add(&word, p++, 2);
                *whole = false;
            }
        } else if (quote ? *p == quote : *p == '"' || *p == '\'') {
            quote = (char)(quote ? '\0' : *p);
            *quoted = true;
        } else {
            buf_add(&word, p, 1);
        }
    }
    *s = p;
    *bad = *bad || quote;
    return *bad ? NULL : mem_strdup(buf_str(&word));
}

/* Specifiers (`%n`) are systemd's to know; `%%` is a percent sign. */
static char *without_specifiers(const char *s, bool *whole)
{
    struct buf out CLEANUP(buf_free) = {0};
    for (; *s; s++) {
        if (s[0] == '%' && s[1] == '%')
            s++;
        else if (s[0] == '%')
            *whole = false;
        buf_add(&out, s, 1);
    }
    return mem_strdup(buf_str(&out));
}

static const char *value_of(char *const *environment, const char *name, size_t len)
{
    const char *found = NULL;
    for (; environment && *environment; environment++) {
        if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
            found = *environment + len + 1;
    }
    return found;
}

static size_t name_length(const char *s)
{
    size_t len = 0;
    if (isdigit((unsigned char)*s))
        return 0;
    while (isalnum((unsigned char)s[len]) || s[len] == '_')
        len++;
    return len;
}

/* `${NAME}` anywhere, `$$`. */
static char *with_variables(const char *s, char *const *environment)
{
    struct buf out CLEANUP(buf_free) = {0};
    for (; *s; s++) {
        size_t len = s[0] == '$' && s[1] == '{' ? name_length(s + 2) : 0;
        if (s[0] == '$' && s[1] == '$') {
            buf_adds(&out, "$");
            s++;
        } else if (len && s[2 + len] == '}') {
            const char *value = value_of(environment, s + 2, len);
            buf_adds(&out, value ? value : "");
            s += len + 2;
        } else {
            buf_add(&out, s, 1);
        }
    }
    return mem_strdup(buf_str(&out));
}

/* `$NAME` as a word of its own becomes as many words as its value has. */
static void add_expanded(char ***args, const char *word, char *const *environment, bool *whole)
{
    size_t len = word[0] == '$' ? name_length(word + 1) : 0;
    if (!len || word[1 + len]) {
        args_add(args, with_variables(word, environment));
        return;
    }
    const char *value = value_of(environment, word + 1, len);
    bool quoted = false;
    bool bad = false;
    char *one = NULL;
    while (value && (one = next_word(&value, &quoted, whole, &bad)))
        args_add(args, one);
    *whole = *whole && !bad;
}

char **unit_command_args(const char *command, char *const *environment, bool *whole)
{
    char *line CLEANUP(cleanup_mem) = join(command);
    char **args CLEANUP(cleanup_unit_args) = mem_alloc(1, sizeof(*args));
    const char *at = line;
    bool quoted = false;
    bool bad = false;
    bool first = true;
    bool variables = true;
    char *word = NULL;
    while ((word = next_word(&at, &quoted, whole, &bad))) {
        char *raw CLEANUP(cleanup_mem) = word;
        if (!quoted && str_eq(raw, ";"))
            return NULL;
        char *plain CLEANUP(cleanup_mem) = without_specifiers(raw, whole);
        size_t skip = first ? strspn(plain, "-@:+!|") : 0;
        if (first)
            variables = !memchr(plain, ':', skip);
        if (first || !variables)
            args_add(&args, mem_strdup(plain + skip));
        else
            add_expanded(&args, plain, environment, whole);
        first = false;
    }
    return bad ? NULL : STEAL(args);
}

bool unit_is_shell_text(char *const *args)
{
    static const char *const shells[] = {"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"};
    const char *name = args && args[0] ? strrchr(args[0], '/') : NULL;
    name = name ? name + 1 : args ? args[0] : NULL;
    bool shell = false;
    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        shell = shell || str_eq(name, shells[i]);
    for (size_t i = 1; shell && args[i]; i++) {
        if (args[i][0] == '-' && args[i][1] != '-' && strchr(args[i], 'c'))
            return true;
    }
    return false;
}

/* --- a unit --- */

/* Environment= holds assignments like words, each may be quoted. */
static bool take_environment(struct unit_service *s, const char *value)
{
    char *line CLEANUP(cleanup_mem) = join(value);
    const char *at = line;
    bool quoted = false;
    bool bad = false;
    char *word = NULL;
    if (!*line) {
        unit_args_free(s->environment);
        s->environment = mem_alloc(1, sizeof(*s->environment));
    }
    while ((word = next_word(&at, &quoted, &s->whole, &bad))) {
        char *raw CLEANUP(cleanup_mem) = word;
        args_add(&s->environment, without_specifiers(raw, &s->whole));
    }
    return !bad;
}

static void take_list(char ***list, const char *value)
{
    if (*value) {
        args_add(list, mem_strdup(value));
        return;
    }
    unit_args_free(*list);
    *list = mem_alloc(1, sizeof(**list));
}

/* False where its quotes are not closed. */
static bool take_setting(struct unit_service *s, const char *key, const char *value)
{
    if (str_eq(key, "ExecStart")) {
        s->says_start = true;
        take_list(&s->commands, value);
    } else if (str_eq(key, "EnvironmentFile")) {
        char *line CLEANUP(cleanup_mem) = join(value);
        char *path CLEANUP(cleanup_mem) = without_specifiers(line, &s->whole);
        take_list(&s->files, path);
    } else if (str_eq(key, "Environment")) {
        return take_environment(s, value);
    }
    return true;
}

static int take_file(struct unit_service *s, const struct unit_file *f, struct error *err)
{
    struct lines l = {.at = f->text, .end = f->text + f->len};
    struct buf line CLEANUP(buf_free) = {0};
    bool inside = false;
    if (f->len && memchr(f->text, '\0', f->len))
        return error_set(err, RESULT_REFUSED, "%s: it holds a NUL", f->path);
    while (next_line(&l, &line)) {
        trim(&line);
        const char *text = buf_str(&line);
        if (str_starts(text, ".include")) {
            error_set(err, RESULT_REFUSED, "%s:%zu: .include can't be followed", f->path, l.first);
            error_next(err, "make a drop-in of what differs (systemd has given .include up), then "
                            "run the same command again");
            return -1;
        }
        if (text[0] == '[') {
            inside = str_eq(text, "[Service]");
            continue;
        }
        const char *equals = strchr(text, '=');
        if (!inside || !equals)
            continue;
        struct buf key CLEANUP(buf_free) = {0};
        struct buf value CLEANUP(buf_free) = {0};
        buf_add(&key, text, (size_t)(equals - text));
        buf_adds(&value, equals + 1);
        trim(&key);
        trim(&value);
        if (!take_setting(s, buf_str(&key), buf_str(&value)))
            return error_set(err, RESULT_REFUSED, "%s:%zu: quotes are not closed", f->path,
                             l.first);
    }
    return 0;
}

int unit_service_read(const struct unit_file *files, size_t count, struct unit_service *out,
                      struct error *err)
{
    struct unit_service s CLEANUP(unit_service_free) = {.whole = true};
    s.commands = mem_alloc(1, sizeof(*s.commands));
    s.environment = mem_alloc(1, sizeof(*s.environment));
    s.files = mem_alloc(1, sizeof(*s.files));
    for (size_t i = 0; i < count; i++) {
        if (take_file(&s, &files[i], err) < 0)
            return -1;
    }
    while (s.commands[s.count])
        s.count++;
    *out = s;
    s = (struct unit_service){0};
    return 0;
}

/* --- an environment file --- */

/* What comes after a backslash: within quotes it is one itself before most letters. */
static void add_escaped(struct buf *out, char c, char quote)
{
    if (c == '\n')
        return;
    if (quote && !strchr("\"\\`$", c))
        buf_adds(out, "\\");
    buf_add(out, &c, 1);
}

/* The value that begins at *s, to the end of its (continued) line. Quotes count at its beginning
 * and after others. */
static char *environment_value(const char **s, const char *end)
{
    struct buf out CLEANUP(buf_free) = {0};
    size_t keep = 0; /* blanks at the end count where they were quoted */
    char quote = '\0';
    bool plain = false;
    const char *p = *s;
    for (; p < end && (quote || !strchr("\r\n", *p)); p++) {
        bool blank = strchr(blanks, *p);
        if (*p == '\\' && quote != '\'' && p + 1 < end) {
            add_escaped(&out, *++p, quote);
            plain = plain || !quote;
            keep = out.len;
        } else if (quote ? *p == quote : !plain && (*p == '"' || *p == '\'')) {
            quote = (char)(quote ? '\0' : *p);
        } else if (quote || plain || !blank) {
            plain = plain || !quote;
            buf_add(&out, p, 1);
            keep = blank && !quote ? keep : out.len;
        }
    }
    *s = p < end ? p + 1 : p;
    return mem_strndup(buf_str(&out), keep);
}

void unit_environment_add(char ***environment, const char *text, size_t len)
{
    const char *end = text + len;
    for (const char *p = text; p < end;) {
        while (p < end && strchr(" \t\r\n", *p))
            p++;
        const char *eol = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        eol = eol ? eol : end;
        size_t n = 0;
        while (p + n < eol && (isalnum((unsigned char)p[n]) || p[n] == '_'))
            n++;
        const char *equals = p + n;
        while (equals < eol && strchr(blanks, *equals))
            equals++;
        if (!n || isdigit((unsigned char)*p) || equals >= eol || *equals != '=') {
            p = eol < end ? eol + 1 : end;
            continue;
        }
        const char *at = equals + 1;
        char *value CLEANUP(cleanup_mem) = environment_value(&at, end);
        args_add(environment, mem_printf("%.*s=%s", (int)n, p, value));
        p = at;
    }
}
