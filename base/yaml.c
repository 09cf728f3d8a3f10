#include "base/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 64, MAX_COPIED = 100000, BYTES_PER_NODE = 256 };

/* `node` is NULL while the anchored node is still being read. */
struct anchor {
    char *name;
    struct yaml *node;
};

struct reader {
    yaml_parser_t parser;
    const char *name;
    const char *text;
    size_t len;
    size_t index, byte; /* one place in the text: libyaml counts characters, we count bytes */
    struct anchor *anchors;
    size_t anchor_count;
    struct yaml **kept; /* out of the tree, but an alias may still name them */
    size_t kept_count;
    size_t copied; /* nodes made by aliases; long scalars count more */
    struct error *err;
};

static int refuse(struct reader *r, const yaml_mark_t *at, const char *what)
{
    return error_set(r->err, RESULT_REFUSED, "%s:%zu:%zu: %s", r->name, at->line + 1,
                     at->column + 1, what);
}

static void wipe_string(yaml_char_t *s)
{
    if (s)
        explicit_bzero(s, strlen((char *)s));
}

static void event_free(yaml_event_t *e)
{
    if (e->type == YAML_SCALAR_EVENT && e->data.scalar.value)
        explicit_bzero(e->data.scalar.value, e->data.scalar.length);
    yaml_event_delete(e);
}

static void reader_free(struct reader *r)
{
    yaml_parser_t *p = &r->parser;
    for (yaml_token_t *t = p->tokens.head; t && t != p->tokens.tail; t++)
        if (t->type == YAML_SCALAR_TOKEN)
            wipe_string(t->data.scalar.value);
    if (p->raw_buffer.start)
        explicit_bzero(p->raw_buffer.start, (size_t)(p->raw_buffer.end - p->raw_buffer.start));
    if (p->buffer.start)
        explicit_bzero(p->buffer.start, (size_t)(p->buffer.end - p->buffer.start));
    yaml_parser_delete(p);
    for (size_t i = 0; i < r->anchor_count; i++)
        mem_free(r->anchors[i].name);
    mem_free(r->anchors);
    for (size_t i = 0; i < r->kept_count; i++)
        yaml_tree_free(r->kept[i]);
    mem_free(r->kept);
}

/* libyaml's own texts are constants: none quotes the document. */
static int parser_failed(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "not YAML";
    if (p->error == YAML_READER_ERROR)
        return error_set(r->err, RESULT_REFUSED, "%s: byte %zu: %s", r->name, p->problem_offset,
                         problem);
    if (p->error == YAML_MEMORY_ERROR)
        abort();
    return refuse(r, &p->problem_mark, problem);
}

static int next_event(struct reader *r, yaml_event_t *e)
{
    return yaml_parser_parse(&r->parser, e) ? 0 : parser_failed(r);
}

static struct yaml *node_new(enum yaml_kind kind, const yaml_mark_t *at)
{
    struct yaml *y = mem_alloc(1, sizeof(*y));
    y->kind = kind;
    y->line = at->line + 1;
    y->column = at->column + 1;
    return y;
}

static void add_item(struct yaml *list, struct yaml *item)
{
    MEM_GROW(list->items, list->count);
    list->items[list->count++] = item;
}

static void add_member(struct yaml *map, struct yaml *key, struct yaml *value)
{
    MEM_GROW(map->keys, map->count);
    MEM_GROW(map->items, map->count);
    map->keys[map->count] = key;
    map->items[map->count++] = value;
}

static void keep(struct reader *r, struct yaml *node)
{
    MEM_GROW(r->kept, r->kept_count);
    r->kept[r->kept_count++] = node;
}

/* NULL: error set. */
static struct yaml *copy(struct reader *r, const struct yaml *y, int depth, const yaml_mark_t *at)
{
    if (depth > MAX_DEPTH) {
        refuse(r, at, "nested too deep");
        return NULL;
    }
    r->copied += 1 + (y->scalar ? strlen(y->scalar) / BYTES_PER_NODE : 0);
    if (r->copied > MAX_COPIED) {
        refuse(r, at, "its aliases multiply to too large a document");
        return NULL;
    }
    struct yaml *c CLEANUP(cleanup_yaml) = mem_alloc(1, sizeof(*c));
    c->kind = y->kind;
    c->scalar = mem_strdup(y->scalar);
    c->quoted = y->quoted;
    c->style = y->style;
    c->begin = y->begin;
    c->end = y->end;
    c->flow = y->flow;
    c->line = y->line;
    c->column = y->column;
    for (size_t i = 0; i < y->count; i++) {
        struct yaml *item CLEANUP(cleanup_yaml) = copy(r, y->items[i], depth + 1, at);
        struct yaml *key CLEANUP(cleanup_yaml) = NULL;
        if (!item || (y->keys && !(key = copy(r, y->keys[i], depth + 1, at))))
            return NULL;
        if (key)
            add_member(c, STEAL(key), STEAL(item));
        else
            add_item(c, STEAL(item));
    }
    return STEAL(c);
}

static struct yaml *build(struct reader *r, yaml_event_t *e, int depth);

static struct yaml *build_alias(struct reader *r, const yaml_event_t *e, int depth)
{
    const char *name = (const char *)e->data.alias.anchor;
    for (size_t i = r->anchor_count; i-- > 0;) {
        const struct anchor *a = &r->anchors[i];
        if (!str_eq(a->name, name))
            continue;
        if (a->node)
            return copy(r, a->node, depth, &e->start_mark);
        refuse(r, &e->start_mark, "an alias inside of what it stands for");
        return NULL;
    }
    refuse(r, &e->start_mark, "an alias to an anchor that isn't there");
    return NULL;
}

/* The byte where libyaml's character stands. Scalars come in order: the text is gone over once. */
static size_t byte_of(struct reader *r, size_t index)
{
    if (index < r->index)
        r->index = r->byte = 0;
    for (; r->index < index && r->byte < r->len; r->index++)
        do
            r->byte++;
        while (r->byte < r->len && ((unsigned char)r->text[r->byte] & 0xc0) == 0x80);
    return r->byte;
}

/* What libyaml gives begins with its anchor and tag; so they are passed over, with the spaces, line
 * ends and comments after them. */
static size_t after_anchor(const struct reader *r, size_t at, size_t end)
{
    while (at < end && strchr("&!", r->text[at])) {
        while (at < end && !strchr(" \t\r\n", r->text[at]))
            at++;
        while (at < end && strchr(" \t\r\n#", r->text[at])) {
            bool comment = r->text[at++] == '#';
            while (comment && at < end && !strchr("\r\n", r->text[at]))
                at++;
        }
    }
    return at;
}

static void find_scalar(struct reader *r, const yaml_event_t *e, struct yaml *y)
{
    size_t at = byte_of(r, e->start_mark.index);
    y->end = byte_of(r, e->end_mark.index);
    y->begin = after_anchor(r, at, y->end);
}

/* At its end: the mark of a block's is where the next thing begins. */
static void find_collection(struct reader *r, const yaml_event_t *end, struct yaml *y, size_t begin,
                            size_t last)
{
    y->end = y->flow ? byte_of(r, end->end_mark.index) : last;
    y->begin = after_anchor(r, begin, y->end);
}

static enum yaml_style style_of(const yaml_event_t *e)
{
    switch (e->data.scalar.style) {
    case YAML_SINGLE_QUOTED_SCALAR_STYLE:
        return YAML_STYLE_SINGLE;
    case YAML_DOUBLE_QUOTED_SCALAR_STYLE:
        return YAML_STYLE_DOUBLE;
    case YAML_LITERAL_SCALAR_STYLE:
    case YAML_FOLDED_SCALAR_STYLE:
        return YAML_STYLE_BLOCK;
    default:
        return YAML_STYLE_PLAIN;
    }
}

static struct yaml *build_scalar(struct reader *r, const yaml_event_t *e, bool is_key)
{
    const char *text = (const char *)e->data.scalar.value;
    const char *tag = (const char *)e->data.scalar.tag;
    if (strlen(text) != e->data.scalar.length) {
        refuse(r, &e->start_mark, "a scalar with a NUL character");
        return NULL;
    }
    if (tag && str_eq(tag, "tag:yaml.org,2002:binary")) {
        refuse(r, &e->start_mark, "!!binary is not supported");
        return NULL;
    }
    struct yaml *y = node_new(YAML_KIND_SCALAR, &e->start_mark);
    y->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE ||
                (tag && (str_eq(tag, YAML_STR_TAG) || str_eq(tag, "!")));
    if (!y->quoted && !is_key && yaml_is_null_text(text))
        y->kind = YAML_KIND_NULL;
    else
        y->scalar = mem_strdup(text);
    y->style = style_of(e);
    find_scalar(r, e, y);
    return y;
}

/* Where what began with this event ends. */
static size_t end_of(struct reader *r, const yaml_event_t *e, const struct yaml *y)
{
    return e->type == YAML_ALIAS_EVENT ? byte_of(r, e->end_mark.index) : y->end;
}

static struct yaml *build_list(struct reader *r, const yaml_event_t *start, int depth)
{
    struct yaml *list CLEANUP(cleanup_yaml) = node_new(YAML_KIND_LIST, &start->start_mark);
    size_t begin = byte_of(r, start->start_mark.index);
    size_t last = begin;
    list->flow = start->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
    for (;;) {
        yaml_event_t e CLEANUP(event_free) = {0};
        if (next_event(r, &e) != 0)
            return NULL;
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            find_collection(r, &e, list, begin, last);
            return STEAL(list);
        }
        struct yaml *item = build(r, &e, depth + 1);
        if (!item)
            return NULL;
        last = end_of(r, &e, item);
        add_item(list, item);
    }
}

/* A map being read: merged[i] tells that member i came by a merge. */
struct members {
    struct yaml *map;
    bool *merged;
    bool any_merged;
};

static void members_free(struct members *m)
{
    yaml_tree_free(m->map);
    mem_free(m->merged);
}

/* As go-yaml v2 fills a map: what comes later wins. What a merge has a part in leaves no doubled
 * member behind; two members that are both written out stay, for yaml_duplicate(). */
static void put_member(struct reader *r, struct members *m, struct yaml *key, struct yaml *value,
                       bool by_merge)
{
    m->any_merged = m->any_merged || by_merge;
    for (size_t i = 0; m->any_merged && i < m->map->count; i++) {
        if (!(by_merge || m->merged[i]) || !str_eq(m->map->keys[i]->scalar, key->scalar))
            continue;
        keep(r, m->map->keys[i]);
        keep(r, m->map->items[i]);
        m->map->count--;
        size_t after = m->map->count - i;
        memmove(&m->map->keys[i], &m->map->keys[i + 1], after * sizeof(m->map->keys[0]));
        memmove(&m->map->items[i], &m->map->items[i + 1], after * sizeof(m->map->items[0]));
        memmove(&m->merged[i], &m->merged[i + 1], after * sizeof(m->merged[0]));
        i--;
    }
    MEM_GROW(m->merged, m->map->count);
    m->merged[m->map->count] = by_merge;
    add_member(m->map, key, value);
}

static int merge(struct reader *r, struct members *m, const struct yaml *from, int depth,
                 const yaml_mark_t *at)
{
    if (from->kind == YAML_KIND_LIST) {
        /* Backwards: of a list of maps the earlier wins. */
        for (size_t i = from->count; i-- > 0;) {
            if (from->items[i]->kind != YAML_KIND_MAP)
                return refuse(r, at, "a merge of something that is no map");
            if (merge(r, m, from->items[i], depth, at) != 0)
                return -1;
        }
        return 0;
    }
    if (from->kind != YAML_KIND_MAP)
        return refuse(r, at, "a merge of something that is no map");
    for (size_t i = 0; i < from->count; i++) {
        struct yaml *key CLEANUP(cleanup_yaml) = copy(r, from->keys[i], depth, at);
        struct yaml *value CLEANUP(cleanup_yaml) = key ? copy(r, from->items[i], depth, at) : NULL;
        if (!value)
            return -1;
        put_member(r, m, STEAL(key), STEAL(value), true);
    }
    return 0;
}

static struct yaml *build_map(struct reader *r, const yaml_event_t *start, int depth)
{
    struct members m CLEANUP(members_free) = {.map = node_new(YAML_KIND_MAP, &start->start_mark)};
    size_t begin = byte_of(r, start->start_mark.index);
    size_t last = begin;
    m.map->flow = start->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
    for (;;) {
        yaml_event_t ke CLEANUP(event_free) = {0};
        if (next_event(r, &ke) != 0)
            return NULL;
        if (ke.type == YAML_MAPPING_END_EVENT) {
            find_collection(r, &ke, m.map, begin, last);
            return STEAL(m.map);
        }
        bool is_merge = ke.type == YAML_SCALAR_EVENT && ke.data.scalar.plain_implicit &&
                        str_eq((const char *)ke.data.scalar.value, "<<");
        struct yaml *key CLEANUP(cleanup_yaml) = NULL;
        if (ke.type == YAML_SCALAR_EVENT)
            key = build_scalar(r, &ke, true);
        else if (ke.type == YAML_ALIAS_EVENT)
            key = build_alias(r, &ke, depth + 1);
        else
            refuse(r, &ke.start_mark, "a key that is no scalar");
        if (!key)
            return NULL;
        if (key->kind != YAML_KIND_SCALAR) {
            refuse(r, &ke.start_mark, "a key that is no scalar");
            return NULL;
        }
        if (ke.type == YAML_SCALAR_EVENT && ke.data.scalar.anchor) {
            struct anchor a = {mem_strdup((char *)ke.data.scalar.anchor), key};
            MEM_GROW(r->anchors, r->anchor_count);
            r->anchors[r->anchor_count++] = a;
        }

        yaml_event_t ve CLEANUP(event_free) = {0};
        if (next_event(r, &ve) != 0)
            return NULL;
        struct yaml *value CLEANUP(cleanup_yaml) = build(r, &ve, depth + 1);
        if (!value)
            return NULL;
        last = end_of(r, &ve, value);
        if (!is_merge) {
            put_member(r, &m, STEAL(key), STEAL(value), false);
            continue;
        }
        if (merge(r, &m, value, depth + 1, &ve.start_mark) != 0)
            return NULL;
        keep(r, STEAL(key));
        keep(r, STEAL(value));
    }
}

static const yaml_char_t *anchor_of(const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return e->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return e->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return e->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

/* The node that begins with this event. NULL: error set. */
static struct yaml *build(struct reader *r, yaml_event_t *e, int depth)
{
    if (depth > MAX_DEPTH) {
        refuse(r, &e->start_mark, "nested too deep");
        return NULL;
    }
    size_t anchor = r->anchor_count;
    const yaml_char_t *name = anchor_of(e);
    if (name) {
        MEM_GROW(r->anchors, r->anchor_count);
        r->anchors[r->anchor_count++] = (struct anchor){mem_strdup((const char *)name), NULL};
    }
    struct yaml *y = NULL;
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return build_alias(r, e, depth);
    case YAML_SCALAR_EVENT:
        y = build_scalar(r, e, false);
        break;
    case YAML_SEQUENCE_START_EVENT:
        y = build_list(r, e, depth);
        break;
    case YAML_MAPPING_START_EVENT:
        y = build_map(r, e, depth);
        break;
    default:
        refuse(r, &e->start_mark, "not YAML");
        break;
    }
    if (name)
        r->anchors[anchor].node = y;
    return y;
}

static int read_document(struct reader *r, struct yaml **out)
{
    for (;;) {
        yaml_event_t e CLEANUP(event_free) = {0};
        if (next_event(r, &e) != 0)
            return -1;
        if (e.type == YAML_STREAM_START_EVENT || e.type == YAML_DOCUMENT_END_EVENT)
            continue;
        if (e.type == YAML_STREAM_END_EVENT) {
            if (!*out)
                *out = node_new(YAML_KIND_NULL, &e.start_mark);
            return 0;
        }
        if (*out)
            return refuse(r, &e.start_mark, "more than one document");
        if (e.type == YAML_DOCUMENT_START_EVENT)
            continue;
        *out = build(r, &e, 1);
        if (!*out)
            return -1;
    }
}

int yaml_read(const char *text, size_t len, const char *name, struct yaml **out, struct error *err)
{
    struct reader r CLEANUP(reader_free) = {.name = name, .text = text, .len = len, .err = err};
    if (!yaml_parser_initialize(&r.parser))
        abort();
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(len ? text : ""), len);
    struct yaml *tree CLEANUP(cleanup_yaml) = NULL;
    if (read_document(&r, &tree) != 0)
        return -1;
    *out = STEAL(tree);
    return 0;
}

void yaml_tree_free(struct yaml *y)
{
    if (!y)
        return;
    for (size_t i = 0; i < y->count; i++) {
        yaml_tree_free(y->items[i]);
        if (y->keys)
            yaml_tree_free(y->keys[i]);
    }
    mem_free(y->items);
    mem_free(y->keys);
    mem_free(y->scalar);
    mem_free(y);
}

void cleanup_yaml(struct yaml **y)
{
    yaml_tree_free(*y);
}
