#include "templates/yaml_edit.h"

#include <stdlib.h>
#include <string.h>

void yaml_edit_free(struct yaml_edit *e)
{
    for (size_t i = 0; i < e->count; i++)
        mem_free(e->changes[i].with);
    mem_free(e->changes);
    e->changes = NULL;
    e->count = 0;
}

static int refuse(const struct yaml_edit *e, const struct yaml *at, const char *what,
                  struct error *err)
{
    return error_set(err, RESULT_REFUSED, "%s:%zu:%zu: %s", e->name, at->line, at->column, what);
}

/* `with` is taken over. */
static void add(struct yaml_edit *e, size_t begin, size_t end, char *with)
{
    MEM_GROW(e->changes, e->count);
    e->changes[e->count++] = (struct yaml_change){begin, end, with};
}

static size_t line_begin(const struct yaml_edit *e, size_t at)
{
    while (at > 0 && e->text[at - 1] != '\n')
        at--;
    return at;
}

/* Past the line end. (A block scalar ends at the beginning of a line.) */
static size_t line_end(const struct yaml_edit *e, size_t at)
{
    if (at > 0 && e->text[at - 1] == '\n')
        return at;
    while (at < e->len && e->text[at] != '\n')
        at++;
    return at < e->len ? at + 1 : at;
}

static const char *line_break(const struct yaml_edit *e)
{
    const char *first = memchr(e->text, '\n', e->len);
    return first && first > e->text && first[-1] == '\r' ? "\r\n" : "\n";
}

static bool is_indentation(const struct yaml_edit *e, size_t from, size_t to)
{
    for (; from < to; from++)
        if (e->text[from] != ' ')
            return false;
    return true;
}

/* Where an item's dash or a member's key stands; false where it is not the first in its line. */
static bool find_first(const struct yaml_edit *e, const struct yaml *in, size_t index,
                       size_t *place)
{
    size_t at = in->kind == YAML_KIND_MAP ? in->keys[index]->begin : in->items[index]->begin;
    if (at >= e->len)
        return false;
    if (in->kind == YAML_KIND_LIST) {
        do {
            if (at == 0)
                return false;
            at--;
        } while (e->text[at] == ' ');
        if (e->text[at] != '-')
            return false;
    }
    *place = at;
    return is_indentation(e, line_begin(e, at), at);
}

void yaml_edit_write(struct buf *out, const char *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-._/=,@+";
    bool flag = str_starts(s, "--") && s[2] != '-';
    bool plain = (s[0] == '/' || flag) && !s[strspn(s, letters)];
    if (plain)
        buf_adds(out, s);
    else
        yaml_write(out, s, YAML_STYLE_PLAIN);
}

int yaml_edit_replace(struct yaml_edit *e, const struct yaml *scalar, const char *value,
                      struct error *err)
{
    struct buf with = {0};
    if (scalar->kind != YAML_KIND_SCALAR || scalar->style == YAML_STYLE_BLOCK)
        return refuse(e, scalar, "this is no text on one line", err);
    if (scalar->style == YAML_STYLE_PLAIN)
        yaml_edit_write(&with, value);
    else
        yaml_write(&with, value, scalar->style);
    add(e, scalar->begin, scalar->end, with.data);
    return 0;
}

/* The column of its items, by one that is the first in its line. */
static int find_indentation(const struct yaml_edit *e, const struct yaml *to, size_t *out,
                            struct error *err)
{
    size_t at = 0;
    if (to->flow || !to->count || (to->kind != YAML_KIND_LIST && to->kind != YAML_KIND_MAP))
        return refuse(e, to, "this is written in one line, as [a, b] or {a: b}", err);
    for (size_t i = 0; i < to->count; i++) {
        if (!find_first(e, to, i, &at))
            continue;
        *out = at - line_begin(e, at);
        return 0;
    }
    /* The only key of a map that is an item of a list: "- name: x". */
    if (to->kind == YAML_KIND_MAP) {
        at = to->keys[0]->begin;
        *out = at - line_begin(e, at);
        if (*out >= 2 && e->text[at - 1] == ' ' &&
            strspn(e->text + line_begin(e, at), " -") >= *out)
            return 0;
    }
    return refuse(e, to, "this is laid out in a way that can't be edited", err);
}

int yaml_edit_append(struct yaml_edit *e, const struct yaml *to, const char *lines,
                     struct error *err)
{
    size_t indentation = 0;
    if (find_indentation(e, to, &indentation, err) < 0)
        return -1;
    const char *eol = line_break(e);
    size_t at = line_end(e, to->end);
    bool unended = at > 0 && e->text[at - 1] != '\n';
    struct buf with = {0};
    for (const char *line = lines; *line;) {
        size_t len = strcspn(line, "\n");
        const char *dash = to->kind == YAML_KIND_MAP ? "" : line == lines ? "- " : "  ";
        buf_printf(&with, "%s%*s%s%.*s%s", unended ? eol : "", (int)indentation, "", dash, (int)len,
                   line, unended ? "" : eol);
        line += len + (line[len] == '\n');
    }
    add(e, at, at, with.data);
    return 0;
}

int yaml_edit_remove(struct yaml_edit *e, const struct yaml *from, size_t index, struct error *err)
{
    const struct yaml *item = from->items[index];
    size_t begin = 0;
    if (from->flow)
        return refuse(e, from, "this is written in one line, as [a, b] or {a: b}", err);
    if (!find_first(e, from, index, &begin))
        return refuse(e, item, "this does not begin its line, so the line can't be taken out", err);
    begin = line_begin(e, begin);
    size_t end = line_end(e, item->end);
    if (end <= begin)
        return refuse(e, item, "this has its place elsewhere: an alias or a merge brings it", err);
    if (end == e->len && e->text[end - 1] != '\n')
        begin -= begin > 1 && e->text[begin - 2] == '\r' ? 2 : begin > 0;
    add(e, begin, end, mem_strdup(""));
    return 0;
}

/* In the order of the text; those of one place in the order that they were asked for. */
static void sort(struct yaml_edit *e)
{
    for (size_t i = 1; i < e->count; i++) {
        struct yaml_change one = e->changes[i];
        size_t k = i;
        for (; k > 0 && e->changes[k - 1].begin > one.begin; k--)
            e->changes[k] = e->changes[k - 1];
        e->changes[k] = one;
    }
}

int yaml_edit_apply(struct yaml_edit *e, struct buf *out, struct error *err)
{
    size_t at = 0;
    sort(e);
    for (size_t i = 0; i < e->count; i++) {
        const struct yaml_change *c = &e->changes[i];
        if (c->begin < at || c->end < c->begin || c->end > e->len)
            return error_set(err, RESULT_REFUSED,
                             "%s: an alias or a merge brings what is to be changed", e->name);
        buf_add(out, e->text + at, c->begin - at);
        buf_adds(out, c->with);
        at = c->end;
    }
    buf_add(out, e->text + at, e->len - at);
    return 0;
}
