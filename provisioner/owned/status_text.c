#include "provisioner/owned/status_text.h"

#include <jansson.h>
#include <string.h>

enum { MOST_KEYS = 64, MOST_TEXT = 1 << 16 };

void owned_status_free(struct owned_status *s)
{
    for (size_t i = 0; i < s->key_count; i++) {
        mem_free(s->keys[i].type);
        mem_free(s->keys[i].name);
    }
    mem_free(s->keys);
    mem_free(s->hash_error);
    *s = (struct owned_status){0};
}

static int unknown(struct error *err, const char *what)
{
    return error_set(err, RESULT_FAILED, "its status is not understood: %s", what);
}

static bool read_stage(const char *name, size_t len, enum stage *out)
{
    for (int i = STAGE_START; i <= STAGE_REENCRYPT_FINISHED; i++) {
        const char *known = stage_name((enum stage)i);
        if (strlen(known) == len && memcmp(known, name, len) == 0) {
            *out = (enum stage)i;
            return true;
        }
    }
    return false;
}

static int add_key(struct owned_status *s, bool active, const char *type, size_t type_len,
                   const char *name, size_t name_len, struct error *err)
{
    if (s->key_count == MOST_KEYS)
        return unknown(err, "more keys than anybody has");
    MEM_GROW(s->keys, s->key_count);
    s->keys[s->key_count++] = (struct owned_key){
        .type = mem_strndup(type, type_len), .name = mem_strndup(name, name_len), .active = active};
    return 0;
}

/* A word from *at on: its length, 0 at the end of the line. */
static size_t word(const char **at, const char *end)
{
    while (*at < end && (**at == ' ' || **at == '\t'))
        (*at)++;
    const char *from = *at;
    while (from < end && *from != ' ' && *from != '\t')
        from++;
    return (size_t)(from - *at);
}

/* " *      AES-CBC   aescbckey": a row of the table. Others (its heading) are passed over. */
static int read_row(struct owned_status *s, const char *at, const char *end, struct error *err)
{
    size_t len = word(&at, end);
    bool active = len == 1 && *at == '*';
    if (active) {
        at += len;
        len = word(&at, end);
    }
    const char *type = at;
    size_t type_len = len;
    at += len;
    len = word(&at, end);
    if (!type_len || !len || *type == '-' || (type_len == 6 && memcmp(type, "Active", 6) == 0))
        return 0;
    return add_key(s, active, type, type_len, at, len, err);
}

static bool value_of(const char *line, size_t len, const char *label, const char **value,
                     size_t *value_len)
{
    size_t n = strlen(label);
    if (len < n || memcmp(line, label, n) != 0)
        return false;
    *value = line + n;
    *value_len = len - n;
    while (*value_len && **value == ' ') {
        (*value)++;
        (*value_len)--;
    }
    return true;
}

static bool is(const char *value, size_t len, const char *text)
{
    return strlen(text) == len && memcmp(value, text, len) == 0;
}

struct seen {
    bool status, stage, hashes;
};

static int read_line(struct owned_status *s, const char *line, size_t len, struct seen *seen,
                     struct error *err)
{
    const char *value = NULL;
    size_t n = 0;
    if (!seen->status && value_of(line, len, "Encryption Status:", &value, &n)) {
        s->enabled = is(value, n, "Enabled");
        s->configured = s->enabled || is(value, n, "Disabled");
        seen->status = true;
        if (!s->configured && !is(value, n, "Disabled, no configuration file found"))
            return unknown(err, "neither Enabled nor Disabled");
        return 0;
    }
    if (!seen->status || !s->configured)
        return 0;
    if (value_of(line, len, "Current Rotation Stage:", &value, &n)) {
        seen->stage = true;
        return read_stage(value, n, &s->stage) ? 0 : unknown(err, "no stage that is known");
    }
    if (!seen->hashes && value_of(line, len, "Server Encryption Hashes:", &value, &n)) {
        seen->hashes = true;
        s->hash_match = is(value, n, "All hashes match");
        if (!s->hash_match)
            s->hash_error = mem_strndup(value, n);
        return 0;
    }
    return seen->hashes ? read_row(s, line, line + len, err) : 0;
}

static int read_text(const char *text, size_t len, struct owned_status *s, struct error *err)
{
    struct seen seen = {0};
    for (const char *at = text, *end = text + len; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t line = (size_t)((newline ? newline : end) - at);
        size_t shown = line && at[line - 1] == '\r' ? line - 1 : line;
        if (read_line(s, at, shown, &seen, err) < 0)
            return -1;
        at += line + (newline != NULL);
    }
    if (!seen.status)
        return unknown(err, "no line `Encryption Status:`");
    if (s->configured && (!seen.stage || !seen.hashes))
        return unknown(err, "no stage, or no word on the hashes");
    return 0;
}

/* "AES-CBC aescbckey", and before there was a second type the name alone. */
static int add_json_key(struct owned_status *s, const json_t *json, bool active, struct error *err)
{
    const char *text = json_string_value(json);
    if (!text || strlen(text) != json_string_length(json))
        return unknown(err, "a key that is no text");
    if (!*text)
        return 0;
    const char *space = strchr(text, ' ');
    const char *name = space ? space + 1 : text;
    return add_key(s, active, text, space ? (size_t)(space - text) : 0, name, strlen(name), err);
}

static int read_members(struct owned_status *s, const json_t *json, struct error *err)
{
    const json_t *enable = json_object_get(json, "enable");
    const json_t *stage = json_object_get(json, "stage");
    const json_t *match = json_object_get(json, "hashmatch"); /* left out where it is false */
    const json_t *why = json_object_get(json, "hasherror");
    const json_t *active = json_object_get(json, "activekey");
    const json_t *others = json_object_get(json, "inactivekeys");
    const json_t *other = NULL;
    size_t i = 0;
    if (!json_is_object(json) || !json_is_string(stage) || (enable && !json_is_boolean(enable)) ||
        (match && !json_is_boolean(match)) || (why && !json_is_string(why)) ||
        (others && !json_is_array(others)))
        return unknown(err, "JSON of another form");
    s->configured = enable != NULL;
    if (!enable)
        return 0;
    s->enabled = json_is_true(enable);
    s->hash_match = json_is_true(match);
    if (why && json_string_length(why) && !s->hash_match)
        s->hash_error = mem_strdup(json_string_value(why));
    if (!read_stage(json_string_value(stage), json_string_length(stage), &s->stage))
        return unknown(err, "no stage that is known");
    if (active && add_json_key(s, active, true, err) < 0)
        return -1;
    json_array_foreach (others, i, other)
        if (add_json_key(s, other, false, err) < 0)
            return -1;
    return 0;
}

static int read_json(const char *text, size_t len, struct owned_status *s, struct error *err)
{
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    int rc = json ? read_members(s, json, err) : unknown(err, "no JSON");
    json_decref(json);
    return rc;
}

int owned_status_read(const char *text, size_t len, struct owned_status *out, struct error *err)
{
    struct owned_status s CLEANUP(owned_status_free) = {.stage = STAGE_START};
    if (len > MOST_TEXT)
        return unknown(err, "too long");
    size_t from = 0;
    while (from < len && strchr(" \t\r\n", text[from]) && text[from])
        from++;
    bool json = from < len && text[from] == '{';
    if ((json ? read_json(text + from, len - from, &s, err) : read_text(text, len, &s, err)) < 0)
        return -1;
    *out = s;
    s = (struct owned_status){0};
    return 0;
}
