#include "state/json_text.h"

#include <stdlib.h>
#include <string.h>

/* Jansson's own texts may quote what stands there, and so are never passed on. */
static const char *reason(const json_error_t *e)
{
    switch (json_error_code(e)) {
    case json_error_stack_overflow:
        return "nested too deep";
    case json_error_invalid_utf8:
        return "not UTF-8";
    case json_error_premature_end_of_input:
        return "ends too early";
    case json_error_end_of_input_expected:
        return "goes on after its end";
    case json_error_null_byte_in_key:
        return "a NUL in a member's name";
    case json_error_duplicate_key:
        return "a member that stands there twice";
    case json_error_numeric_overflow:
        return "a number too large to keep exactly";
    default:
        return "not JSON";
    }
}

int json_text_read(const char *text, size_t len, const char *name, json_t **out, struct error *err)
{
    json_error_t e = {0};
    *out = json_loadb(text ? text : "", len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (*out)
        return 0;
    error_set(err, RESULT_REFUSED, "%s:%d:%d: %s", name, e.line, e.column, reason(&e));
    explicit_bzero(&e, sizeof(e));
    return -1;
}

static int add(const char *text, size_t len, void *out)
{
    buf_add(out, text, len);
    return 0;
}

void json_text_write(const json_t *json, struct buf *out)
{
    if (json_dump_callback(json, add, out, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) != 0)
        abort();
}

static void wipe_strings(json_t *json)
{
    if (json->refcount != 1)
        return;
    if (json_is_string(json)) {
        explicit_bzero((char *)json_string_value(json), json_string_length(json));
        return;
    }
    const char *name;
    json_t *value;
    size_t i;
    json_object_foreach (json, name, value)
        wipe_strings(value);
    json_array_foreach (json, i, value)
        wipe_strings(value);
}

void json_wipe(json_t *json)
{
    if (!json)
        return;
    wipe_strings(json);
    json_decref(json);
}

void cleanup_json(json_t **json)
{
    json_wipe(*json);
}

void json_put(json_t *object, const char *member, json_t *value)
{
    json_t *old = json_object_get(object, member);
    if (old)
        wipe_strings(old);
    if (json_object_set_new(object, member, value) != 0)
        abort();
}
