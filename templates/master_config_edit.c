/* The edit of master-config.yaml: in the text, so that all else stays as it is written. */
#include "templates/master_config_parts.h"

#include <stdint.h>
#include <string.h>

/* (The second is of Kubernetes 1.13 and later: no OpenShift 3 knows it, but it is no less a flag.)
 */
static const char *const flag_names[] = {MASTER_CONFIG_FLAG, "encryption-provider-config"};

/* A change of the text: these bytes are replaced. Several of an edit don't overlap. */
struct edit {
    const char *text;
    size_t len;
    const char *path;
    const char *newline;
    struct buf *out;
    size_t done; /* so much of the text is in `out` */
};

static void copy_to(struct edit *e, size_t at)
{
    if (at > e->done)
        buf_add(e->out, e->text + e->done, at - e->done);
    e->done = at > e->done ? at : e->done;
}

static void skip_to(struct edit *e, size_t at)
{
    e->done = at > e->done ? at : e->done;
}

static size_t line_begin(const struct edit *e, size_t at)
{
    while (at > 0 && e->text[at - 1] != '\n')
        at--;
    return at;
}

/* Of the line after. */
static size_t line_end(const struct edit *e, size_t at)
{
    while (at < e->len && e->text[at] != '\n')
        at++;
    return at < e->len ? at + 1 : at;
}

static bool is_blank(const struct edit *e, size_t from, size_t to)
{
    while (from < to && strchr(" \t\r\n", e->text[from]))
        from++;
    return from == to;
}

/* Nothing, or a comment, to the end of the line. */
static bool ends_line(const struct edit *e, size_t at)
{
    size_t end = line_end(e, at);
    while (at < end && strchr(" \t\r\n", e->text[at]))
        at++;
    return at == end || (e->text[at] == '#' && at > 0 && strchr(" \t\r\n", e->text[at - 1]));
}

/* (Written by hand, the flag would be there before its file, or gone before it may.) */
static int by_hand(const struct edit *e, size_t line, const char *why, struct error *err)
{
    error_set(err, RESULT_REFUSED, "%s:%zu: %s: %s", e->path, line, master_config_arguments, why);
    error_next(err,
               "edit %s by hand: write %s of %s in plain lines, each flag with its list of values "
               "below it, and put no %s in and take none out; restart the master there, one node "
               "after the other; then run the same command again, which sets that flag itself",
               e->path, master_config_arguments, master_config_part, MASTER_CONFIG_FLAG);
    return -1;
}

static void add_spaces(struct buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_adds(out, " ");
}

static void write_flow(struct edit *e, const char *config_path)
{
    buf_adds(e->out, MASTER_CONFIG_FLAG ": [");
    /* Quoted: in brackets a comma or bracket would end it. */
    yaml_write(e->out, config_path, YAML_STYLE_DOUBLE);
    buf_adds(e->out, "]");
}

/* `indent`: of the key; the item's may be deeper. */
static void write_block(struct edit *e, size_t indent, size_t item_indent, const char *config_path)
{
    add_spaces(e->out, indent);
    buf_printf(e->out, MASTER_CONFIG_FLAG ":%s", e->newline);
    add_spaces(e->out, item_indent);
    buf_adds(e->out, "- ");
    yaml_write(e->out, config_path, YAML_STYLE_PLAIN);
    buf_adds(e->out, e->newline);
}

/* To the line after the one of this key: what comes next is written there. */
static void to_next_line(struct edit *e, const struct yaml *key)
{
    size_t next = line_end(e, key->end);
    copy_to(e, next);
    if (next == e->len && next > 0 && e->text[next - 1] != '\n')
        buf_adds(e->out, e->newline);
}

/* A key of a block that begins its line, with nothing but its value's lines below it. */
static bool is_plain_block(const struct edit *e, const struct yaml *key)
{
    size_t begin = line_begin(e, key->begin);
    for (size_t i = begin; i < key->begin; i++) {
        if (e->text[i] != ' ')
            return false;
    }
    return key->column == key->begin - begin + 1;
}

static size_t member_index(const struct yaml *map, const char *name)
{
    size_t i = 0;
    while (i < map->count && !str_eq(map->keys[i]->scalar, name))
        i++;
    return i;
}

/* How deep the items of lists are here, below their keys. */
static size_t item_depth(const struct yaml *args)
{
    for (size_t i = 0; i < args->count; i++) {
        const struct yaml *list = args->items[i];
        if (list->kind == YAML_KIND_LIST && !list->flow && list->line > args->keys[i]->line &&
            list->column >= args->keys[i]->column)
            return list->column - args->keys[i]->column;
    }
    return 0;
}

static int add_to_map(struct edit *e, const struct yaml *key, const struct yaml *args,
                      const char *config_path, struct error *err)
{
    if (args->flow) {
        copy_to(e, args->begin + 1);
        write_flow(e, config_path);
        if (args->count)
            buf_adds(e->out, ", ");
        return 0;
    }
    if (args->keys[0]->line <= key->line || !is_plain_block(e, args->keys[0]))
        return by_hand(e, key->line, "it is written in an unusual way", err);
    size_t indent = args->keys[0]->column - 1;
    to_next_line(e, key);
    write_block(e, indent, indent + item_depth(args), config_path);
    return 0;
}

/* apiServerArguments is null, or not there (key: NULL). */
static int add_map(struct edit *e, const struct yaml *root, const struct yaml *part,
                   const struct yaml *key, const struct yaml *args, const char *config_path,
                   struct error *err)
{
    const struct yaml *part_key = root->keys[member_index(root, master_config_part)];
    if (part->flow) {
        if (key && args) {
            copy_to(e, args->begin);
            buf_adds(e->out, args->begin == key->end + 1 ? " {" : "{");
            skip_to(e, args->end);
        } else {
            copy_to(e, part->begin + 1);
            buf_printf(e->out, "%s: {", master_config_arguments);
        }
        write_flow(e, config_path);
        buf_adds(e->out, key || !part->count ? "}" : "}, ");
        return 0;
    }
    const struct yaml *first = part->keys[0];
    if (first->line <= part_key->line || !is_plain_block(e, first) ||
        (key && !is_plain_block(e, key)))
        return by_hand(e, part_key->line, "it is written in an unusual way", err);
    size_t indent = first->column - 1;
    size_t step = first->column > part_key->column ? first->column - part_key->column : 2;
    if (key && args) {
        size_t from = args->begin;
        while (from > key->end + 1 && strchr(" \t", e->text[from - 1]))
            from--;
        if (args->end > args->begin) {
            copy_to(e, from);
            skip_to(e, args->end);
        }
        to_next_line(e, key);
    } else {
        to_next_line(e, part_key);
        add_spaces(e->out, indent);
        buf_printf(e->out, "%s:%s", master_config_arguments, e->newline);
    }
    write_block(e, indent + step, indent + step, config_path);
    return 0;
}

static int set_value(struct edit *e, const struct yaml *key, const struct yaml *value,
                     const char *config_path, struct error *err)
{
    if (value->kind != YAML_KIND_LIST || value->count != 1 ||
        value->items[0]->kind != YAML_KIND_SCALAR || value->items[0]->style == YAML_STYLE_BLOCK)
        return by_hand(e, key->line, "the flag there is no list of one path", err);
    const struct yaml *item = value->items[0];
    copy_to(e, item->begin);
    yaml_write(e->out, config_path, value->flow ? YAML_STYLE_DOUBLE : item->style);
    skip_to(e, item->end);
    return 0;
}

static void take_from_flow(struct edit *e, const struct yaml *map, size_t i)
{
    bool last = i + 1 == map->count;
    size_t from = map->keys[i]->begin;
    size_t to = map->items[i]->end > map->keys[i]->end ? map->items[i]->end : map->keys[i]->end;
    if (!last)
        to = map->keys[i + 1]->begin;
    else if (i > 0)
        from = map->items[i - 1]->end;
    copy_to(e, from);
    skip_to(e, to);
}

/* The lines that it stands on; comments and blank lines between them stay. */
static int take_from_block(struct edit *e, const struct yaml *key, const struct yaml *value,
                           struct error *err)
{
    size_t end = value->end > key->end ? value->end : key->end;
    if (!is_plain_block(e, key) || !ends_line(e, end) ||
        (value->kind == YAML_KIND_SCALAR && value->style == YAML_STYLE_BLOCK))
        return by_hand(e, key->line, "the flag there is written in an unusual way", err);
    size_t at = line_begin(e, key->begin);
    copy_to(e, at);
    while (at <= end && at < e->len) {
        size_t next = line_end(e, at);
        size_t first = at;
        while (first < next && strchr(" \t", e->text[first]))
            first++;
        skip_to(e, at);
        if (e->text[first] == '#' || is_blank(e, at, next))
            copy_to(e, next);
        at = next;
    }
    skip_to(e, at);
    return 0;
}

static int take_flag(struct edit *e, const struct yaml *args, size_t i, struct error *err)
{
    if (!args->flow)
        return take_from_block(e, args->keys[i], args->items[i], err);
    take_from_flow(e, args, i);
    return 0;
}

/* --- that only this has changed --- */

static bool same(const struct yaml *a, const struct yaml *b)
{
    if (!a || !b)
        return a == b;
    if (a->kind != b->kind || a->count != b->count || a->quoted != b->quoted ||
        !str_eq(a->scalar, b->scalar))
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if ((a->keys && !str_eq(a->keys[i]->scalar, b->keys[i]->scalar)) ||
            !same(a->items[i], b->items[i]))
            return false;
    }
    return true;
}

/* All members but one, in their order. */
static bool same_but(const struct yaml *a, const struct yaml *b, const char *name)
{
    size_t i = 0, k = 0;
    for (;; i++, k++) {
        while (a && i < a->count && str_eq(a->keys[i]->scalar, name))
            i++;
        while (b && k < b->count && str_eq(b->keys[k]->scalar, name))
            k++;
        bool more = a && i < a->count;
        if (more != (b && k < b->count))
            return false;
        if (!more)
            return true;
        if (!str_eq(a->keys[i]->scalar, b->keys[k]->scalar) || !same(a->items[i], b->items[k]))
            return false;
    }
}

static bool says(const struct yaml *args, const char *name, const char *config_path)
{
    const struct yaml *value = yaml_get(args, name);
    if (!config_path)
        return !value;
    return value && value->kind == YAML_KIND_LIST && value->count == 1 &&
           value->items[0]->kind == YAML_KIND_SCALAR &&
           str_eq(value->items[0]->scalar, config_path);
}

static int check_edit(const struct edit *e, const struct yaml *root, const char *name,
                      const char *config_path, struct error *err)
{
    struct error unread CLEANUP(error_clear) = {0};
    const struct yaml *part = NULL;
    struct yaml *now CLEANUP(cleanup_yaml) =
        master_config_read(buf_str(e->out), e->out->len, e->path, &part, &unread);
    if (now) {
        const struct yaml *before = yaml_get(root, master_config_part);
        const struct yaml *args = yaml_get(part, master_config_arguments);
        if (same_but(root, now, master_config_part) &&
            same_but(before, part, master_config_arguments) &&
            same_but(yaml_get(before, master_config_arguments), args, name) &&
            says(args, name, config_path))
            return 0;
    }
    return by_hand(e, yaml_get(root, master_config_part)->line,
                   "it can't be changed without changing something else", err);
}

static int edit_text(struct edit *e, const struct yaml *root, const struct yaml *part,
                     const char *config_path, struct error *err)
{
    size_t at = member_index(part, master_config_arguments);
    const struct yaml *key = at < part->count ? part->keys[at] : NULL;
    const struct yaml *args = at < part->count ? part->items[at] : NULL;
    const char *name = flag_names[0];
    size_t flag = SIZE_MAX;
    for (size_t n = 0; args && args->kind == YAML_KIND_MAP && n < ARRAY_LEN(flag_names); n++) {
        size_t i = member_index(args, flag_names[n]);
        if (i == args->count)
            continue;
        if (flag != SIZE_MAX)
            return by_hand(e, args->keys[i]->line, "it has the flag by two names, and one must go",
                           err);
        flag = i;
        name = flag_names[n];
    }
    if (says(args, name, config_path)) {
        copy_to(e, e->len);
        return 0;
    }
    int rc = 0;
    if (flag != SIZE_MAX)
        rc = config_path ? set_value(e, args->keys[flag], args->items[flag], config_path, err)
                         : take_flag(e, args, flag, err);
    else if (args && args->kind == YAML_KIND_MAP && (args->flow || args->count))
        rc = add_to_map(e, key, args, config_path, err);
    else
        rc = add_map(e, root, part, key, args, config_path, err);
    if (rc < 0)
        return -1;
    copy_to(e, e->len);
    return check_edit(e, root, name, config_path, err);
}

int master_config_edit(const char *text, size_t len, const char *path, const char *config_path,
                       struct buf *out, bool *changed, struct error *err)
{
    const struct yaml *part = NULL;
    struct buf fresh CLEANUP(buf_free) = {0};
    struct yaml *root CLEANUP(cleanup_yaml) = master_config_read(text, len, path, &part, err);
    if (!root || !part)
        return -1;
    const char *end = memchr(text, '\n', len);
    struct edit e = {.text = text,
                     .len = len,
                     .path = path,
                     .newline = end && end > text && end[-1] == '\r' ? "\r\n" : "\n",
                     .out = &fresh};
    if (edit_text(&e, root, part, config_path, err) < 0)
        return -1;
    *changed = fresh.len != len || memcmp(buf_str(&fresh), text, len) != 0;
    buf_add(out, buf_str(&fresh), fresh.len);
    return 0;
}
