#include "base/buf.h"
#include "base/printable.h"
#include "cmd/cmd.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int status_exit_code(const struct encrypt_status *s)
{
    return s->problem_count ? ENCRYPT_FOUND : ENCRYPT_OK;
}

/* --- tables --- */

enum { MAX_COLUMNS = 7 };

/* Cells are owned; the first row is the heading, a column without any other cell is left out. */
struct table {
    char *(*rows)[MAX_COLUMNS];
    size_t row_count, columns;
};

/* `cells`: owned from here on; NULL: "-". */
static void table_add(struct table *t, char *const cells[MAX_COLUMNS])
{
    MEM_GROW(t->rows, t->row_count);
    for (size_t i = 0; i < t->columns; i++) {
        t->rows[t->row_count][i] = make_printable(cells[i] ? cells[i] : "-");
        mem_free(cells[i]);
    }
    t->row_count++;
}

static void table_free(struct table *t)
{
    for (size_t r = 0; r < t->row_count; r++)
        for (size_t i = 0; i < t->columns; i++)
            mem_free(t->rows[r][i]);
    mem_free(t->rows);
}

static void print_row(const struct table *t, const size_t *widths, size_t row, FILE *to)
{
    struct buf line CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < t->columns; i++) {
        const char *cell = t->rows[row][i];
        if (widths[i])
            buf_printf(&line, "%s%*s", cell, (int)(widths[i] + 2 - strlen(cell)), "");
    }
    while (line.len && line.data[line.len - 1] == ' ')
        line.data[--line.len] = '\0';
    fprintf(to, "%s\n", buf_str(&line));
}

static void table_print(const struct table *t, FILE *to)
{
    size_t widths[MAX_COLUMNS] = {0};
    for (size_t i = 0; i < t->columns; i++) {
        bool used = false;
        for (size_t r = 0; r < t->row_count; r++) {
            size_t len = strlen(t->rows[r][i]);
            widths[i] = len > widths[i] ? len : widths[i];
            used = used || (r > 0 && !str_eq(t->rows[r][i], "-"));
        }
        if (!used)
            widths[i] = 0;
    }
    print_row(t, widths, 0, to);
    struct buf line CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < t->columns; i++) {
        size_t len = strlen(t->rows[0][i]);
        for (size_t k = 0; widths[i] && k < widths[i] + 2; k++)
            buf_adds(&line, k < len ? "-" : " ");
    }
    while (line.len && line.data[line.len - 1] == ' ')
        line.data[--line.len] = '\0';
    fprintf(to, "%s\n", buf_str(&line));
    for (size_t r = 1; r < t->row_count; r++)
        print_row(t, widths, r, to);
}

static void table_head(struct table *t, size_t columns, const char *const names[])
{
    char *cells[MAX_COLUMNS] = {0};
    t->columns = columns;
    for (size_t i = 0; i < columns; i++)
        cells[i] = mem_strdup(names[i]);
    table_add(t, cells);
}

/* --- text --- */

/* RKE2's own table: the keys that servers have. */
static void print_keys_as_rke2(const struct encrypt_status *s, FILE *to)
{
    static const char *const names[] = {"Active", "Key Type", "Name"};
    struct table t CLEANUP(table_free) = {0};
    table_head(&t, ARRAY_LEN(names), names);
    for (size_t i = 0; i < s->key_count; i++) {
        const struct encrypt_status_key *k = &s->keys[i];
        char *cells[MAX_COLUMNS] = {mem_strdup(k->active ? " *" : " "), mem_strdup(k->type),
                                    mem_strdup(k->name)};
        if (k->on_nodes) {
            table_add(&t, cells);
            continue;
        }
        for (size_t c = 0; c < ARRAY_LEN(names); c++)
            mem_free(cells[c]);
    }
    fprintf(to, "\n");
    table_print(&t, to);
}

static char *key_state(const struct encrypt_status_key *k)
{
    if (k->active)
        return k->activated ? mem_printf("writes, in use since %s", k->activated)
                            : mem_strdup("writes");
    if (k->on_nodes)
        return mem_strdup("on the nodes, to read");
    if (str_eq(k->type, "identity"))
        return mem_strdup("not encrypted");
    if (k->retired)
        return mem_printf("retired %s", k->retired);
    if (str_starts(k->type, "KMS"))
        return mem_strdup("no node is configured with it");
    return mem_strdup(k->fingerprint ? "in the key history, on no node" : "nobody has it");
}

static void print_keys(const struct encrypt_status *s, FILE *to)
{
    static const char *const names[] = {"Key",    "Fingerprint", "Created",
                                        "Stored", "Writes",      "State"};
    struct table t CLEANUP(table_free) = {0};
    if (!s->key_count)
        return;
    table_head(&t, ARRAY_LEN(names), names);
    for (size_t i = 0; i < s->key_count; i++) {
        const struct encrypt_status_key *k = &s->keys[i];
        char *cells[MAX_COLUMNS] = {
            mem_strdup(*k->name ? k->name : k->type),
            mem_strdup(k->fingerprint),
            mem_strdup(k->created),
            k->counted ? mem_printf("%zu", k->objects) : NULL,
            k->limited ? mem_printf("%llu or more of %d", (unsigned long long)k->writes,
                                    (int)ENCRYPT_AESGCM_LIMIT)
                       : NULL,
            key_state(k),
        };
        table_add(&t, cells);
    }
    fprintf(to, "\n");
    table_print(&t, to);
}

static char *file_cell(const struct encrypt_status_node *n)
{
    return !n->file_sha256 || str_eq(n->file_sha256, "none")
               ? mem_strdup(n->file)
               : mem_printf("%.12s %s", n->file_sha256, n->file);
}

static char *runs_cell(const struct encrypt_status_node *n)
{
    if (!n->runs_sha256)
        return mem_strdup("not known");
    if (n->matches)
        return mem_strdup(str_eq(n->evidence, "assumed") ? "the same (assumed)" : "the same");
    return str_eq(n->runs_sha256, "none") ? mem_strdup(n->runs)
                                          : mem_printf("%.12s %s", n->runs_sha256, n->runs);
}

static void print_nodes(const struct encrypt_status *s, FILE *to)
{
    static const char *const names[] = {"Node", "Stage", "Apiserver", "Since", "File", "Runs"};
    struct table t CLEANUP(table_free) = {0};
    table_head(&t, ARRAY_LEN(names), names);
    for (size_t i = 0; i < s->node_count; i++) {
        const struct encrypt_status_node *n = &s->nodes[i];
        char *cells[MAX_COLUMNS] = {mem_strdup(n->address)};
        if (n->unseen) {
            cells[2] = mem_strdup("not seen");
        } else {
            cells[1] = mem_strdup(n->stage);
            cells[2] = mem_strdup(n->apiserver);
            cells[3] = mem_strdup(n->since);
            cells[4] = file_cell(n);
            cells[5] = runs_cell(n);
        }
        table_add(&t, cells);
    }
    fprintf(to, "\n");
    table_print(&t, to);
}

/* Each line behind a dash, what follows in it indented. */
static void print_lines(const struct command_line *l, const char *head, char *const *lines,
                        size_t count, FILE *to)
{
    if (count)
        fprintf(to, "\n%s\n", head);
    for (size_t i = 0; i < count; i++) {
        char *text CLEANUP(cleanup_mem) = in_words(l, lines[i]);
        const char *lead = "- ";
        for (char *rest = text, *line; (line = strsep(&rest, "\n")); lead = "  ")
            if (*line)
                fprintf(to, "%s%s\n", lead, line);
    }
}

static void print_transition(const struct encrypt_status *s, FILE *to)
{
    const struct encrypt_status_transition *t = s->transition;
    if (!t && !s->at_work)
        return;
    fprintf(to, "\n");
    if (t) {
        char *why CLEANUP(cleanup_mem) = make_printable(t->why);
        char *by CLEANUP(cleanup_mem) = make_printable(t->by);
        fprintf(to, "Transition: %s is open since %s, by %s: %s\n", why, t->opened, by, t->state);
        if (t->counted)
            fprintf(to, "Rewritten: %zu of %zu values have their final form\n", t->done, t->total);
    }
    char *at_work CLEANUP(cleanup_mem) = make_printable(s->at_work);
    if (at_work)
        fprintf(to, "At work: %s\n", at_work);
}

void status_print_text(const struct command_line *l, const struct encrypt_status *s, FILE *to)
{
    bool keys = false;
    for (size_t i = 0; i < s->key_count; i++)
        keys = keys || s->keys[i].on_nodes;
    char *hash_error CLEANUP(cleanup_mem) = make_printable(s->hash_error);
    fprintf(to, "Encryption Status: %s\n", s->enabled ? "Enabled" : "Disabled");
    fprintf(to, "Current Rotation Stage: %s\n", s->stage);
    fprintf(to, "Server Encryption Hashes: %s\n", s->hash_match ? "All hashes match" : hash_error);
    if (keys)
        print_keys_as_rke2(s, to);
    print_keys(s, to);
    char *uncounted CLEANUP(cleanup_mem) = make_printable(s->uncounted);
    if (uncounted)
        fprintf(to, "Not counted: %s\n", uncounted);
    print_nodes(s, to);
    print_transition(s, to);
    print_lines(l, "Wrong:", s->problems, s->problem_count, to);
    print_lines(l, "Notes:", s->notes, s->note_count, to);
    char *next CLEANUP(cleanup_mem) = in_words(l, s->next);
    if (next)
        fprintf(to, "\nNext: %s\n", next);
}

/* --- JSON --- */

static json_t *text(const char *s)
{
    char *shown CLEANUP(cleanup_mem) = make_printable(s);
    return shown ? json_string(shown) : json_null();
}

static json_t *number(bool known, uint64_t n)
{
    return known ? json_integer((json_int_t)n) : json_null();
}

/* With our commands in it as the user types them. */
static json_t *words(const struct command_line *l, const char *s)
{
    char *shown CLEANUP(cleanup_mem) = in_words(l, s);
    return shown ? json_string(shown) : json_null();
}

static json_t *lines(const struct command_line *l, char *const *list, size_t count)
{
    json_t *a = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(a, words(l, list[i]));
    return a;
}

static json_t *key_json(const struct encrypt_status_key *k)
{
    return json_pack(
        "{s:o, s:o, s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "name", text(k->name), "type",
        text(k->type), "fingerprint", text(k->fingerprint), "active", (int)k->active, "onnodes",
        (int)k->on_nodes, "created", text(k->created), "activated", text(k->activated), "retired",
        text(k->retired), "objects", number(k->counted, k->objects), "writes",
        number(k->limited, k->writes), "writelimit", number(k->limited, ENCRYPT_AESGCM_LIMIT));
}

static json_t *node_json(const struct encrypt_status_node *n)
{
    if (n->unseen)
        return json_pack("{s:o, s:o, s:b, s:o}", "address", text(n->address), "name", text(n->name),
                         "seen", 0, "error", text(n->unseen));
    return json_pack("{s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}",
                     "address", text(n->address), "name", text(n->name), "seen", 1, "stage",
                     text(n->stage), "path", text(n->path), "filesha256", text(n->file_sha256),
                     "file", text(n->file), "runssha256", text(n->runs_sha256), "runs",
                     text(n->runs), "evidence", text(n->evidence), "matches", (int)n->matches,
                     "since", text(n->since), "apiserver", text(n->apiserver), "reason",
                     text(n->reason));
}

static json_t *transition_json(const struct encrypt_status_transition *t)
{
    if (!t)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:o, s:o}", "why", text(t->why), "opened",
                     text(t->opened), "by", text(t->by), "state", text(t->state), "aborting",
                     (int)t->aborting, "staged", (int)t->staged, "initial", (int)t->initial,
                     "rewritten", number(t->counted, t->done), "total",
                     number(t->counted, t->total));
}

void status_print_json(const struct command_line *l, const struct encrypt_status *s, FILE *to)
{
    const char *active = NULL;
    json_t *inactive = json_array();
    json_t *keys = json_array();
    json_t *nodes = json_array();
    for (size_t i = 0; i < s->key_count; i++) {
        const struct encrypt_status_key *k = &s->keys[i];
        json_array_append_new(keys, key_json(k));
        if (k->active && !active)
            active = k->name;
        else if (k->on_nodes)
            json_array_append_new(inactive, text(k->name));
    }
    for (size_t i = 0; i < s->node_count; i++)
        json_array_append_new(nodes, node_json(&s->nodes[i]));
    json_t *all = json_pack(
        "{s:b, s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "enable", (int)s->enabled, "stage", s->stage, "hashmatch", (int)s->hash_match,
        "hashassumed", (int)s->hash_assumed, "hasherror", text(s->hash_error ? s->hash_error : ""),
        "activekey", text(active ? active : ""), "inactivekeys", inactive, "keys", keys, "nodes",
        nodes, "transition", transition_json(s->transition), "atwork", text(s->at_work),
        "uncounted", text(s->uncounted), "revision", number(s->revision > 0, (uint64_t)s->revision),
        "problems", lines(l, s->problems, s->problem_count), "notes",
        lines(l, s->notes, s->note_count), "next", words(l, s->next));
    if (!all || json_dumpf(all, to, JSON_INDENT(2)) < 0)
        abort();
    fprintf(to, "\n");
    json_decref(all);
}
