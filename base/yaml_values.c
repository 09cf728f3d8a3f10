/* What stands in a tree: members, and scalars as go-yaml resolves them. */
#include "base/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

bool yaml_is_null_text(const char *s)
{
    return !*s || str_eq(s, "~") || str_eq(s, "null") || str_eq(s, "Null") || str_eq(s, "NULL");
}

const struct yaml *yaml_get(const struct yaml *y, const char *key)
{
    if (!y || y->kind != YAML_KIND_MAP)
        return NULL;
    for (size_t i = y->count; i-- > 0;)
        if (str_eq(y->keys[i]->scalar, key))
            return y->items[i];
    return NULL;
}

const struct yaml *yaml_path(const struct yaml *y, ...)
{
    va_list ap;
    va_start(ap, y);
    for (const char *key; (key = va_arg(ap, const char *));)
        y = yaml_get(y, key);
    va_end(ap);
    return y;
}

static int compare_keys(const void *a, const void *b)
{
    const struct yaml *const *x = a, *const *y = b;
    int order = strcmp((*x)->scalar, (*y)->scalar);
    return order ? order : ((*x)->line > (*y)->line) - ((*x)->line < (*y)->line);
}

long yaml_duplicate(const struct yaml *y)
{
    if (!y || y->kind != YAML_KIND_MAP || y->count < 2)
        return -1;
    /* Sorted, as a large hostile map must not cost its square. */
    struct yaml **sorted CLEANUP(cleanup_mem) = mem_alloc(y->count, sizeof(*sorted));
    memcpy(sorted, y->keys, y->count * sizeof(*sorted));
    qsort(sorted, y->count, sizeof(*sorted), compare_keys);
    const char *doubled = NULL;
    for (size_t i = 1; i < y->count && !doubled; i++)
        if (str_eq(sorted[i - 1]->scalar, sorted[i]->scalar))
            doubled = sorted[i]->scalar;
    for (size_t i = 0, seen = 0; doubled && i < y->count; i++)
        if (str_eq(y->keys[i]->scalar, doubled) && seen++)
            return (long)i;
    return -1;
}

bool yaml_is_null(const struct yaml *y)
{
    return !y || y->kind == YAML_KIND_NULL;
}

static bool one_of(const char *s, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(s, words[i]))
            return true;
    return false;
}

static bool bool_text(const char *s, bool *out)
{
    static const char *const yes[] = {"y",    "Y",    "yes", "Yes", "YES", "true",
                                      "True", "TRUE", "on",  "On",  "ON"};
    static const char *const no[] = {"n",     "N",     "no",  "No",  "NO", "false",
                                     "False", "FALSE", "off", "Off", "OFF"};
    *out = one_of(s, yes, ARRAY_LEN(yes));
    return *out || one_of(s, no, ARRAY_LEN(no));
}

bool yaml_bool(const struct yaml *y, bool *out)
{
    bool value = false;
    if (!y || y->kind != YAML_KIND_SCALAR || y->quoted || !bool_text(y->scalar, &value))
        return false;
    *out = value;
    return true;
}

bool yaml_int(const struct yaml *y, long *out)
{
    if (!y || y->kind != YAML_KIND_SCALAR || y->quoted)
        return false;
    const char *s = y->scalar;
    char digits[32];
    size_t n = 0;
    if (*s == '+' || *s == '-')
        digits[n++] = *s++;
    /* A zero before other digits means octal. */
    if (*s < '0' || *s > '9' || (*s == '0' && s[1]))
        return false;
    for (; *s; s++) {
        if (*s == '_')
            continue;
        if (*s < '0' || *s > '9' || n + 1 >= sizeof(digits))
            return false;
        digits[n++] = *s;
    }
    digits[n] = '\0';
    errno = 0;
    long value = strtol(digits, NULL, 10);
    if (errno)
        return false;
    *out = value;
    return true;
}

static size_t skip_digits(const char *s, size_t at)
{
    while ((s[at] >= '0' && s[at] <= '9') || s[at] == '_')
        at++;
    return at;
}

/* Rather too much than too little: what go-yaml may take for a number. */
static bool number_text(const char *s)
{
    static const char *const words[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    size_t at = *s == '+' || *s == '-';
    if (one_of(s + at, words, ARRAY_LEN(words)))
        return true;
    if (s[at] == '0' && s[at + 1] && strchr("xXoObB", s[at + 1]))
        return s[at + 2] && strspn(s + at + 2, "0123456789abcdefABCDEF_") == strlen(s + at + 2);
    size_t whole = skip_digits(s, at), end = whole;
    if (s[whole] == '.')
        end = skip_digits(s, whole + 1);
    if (end - at == 0 || (end - at == 1 && s[at] == '.') || s[at] == '_')
        return false;
    if (s[end] == 'e' || s[end] == 'E') {
        size_t exponent = end + 1 + (s[end + 1] == '+' || s[end + 1] == '-');
        end = skip_digits(s, exponent);
        if (end == exponent)
            return false;
    }
    return s[end] == '\0';
}

bool yaml_plain_is_string(const char *s)
{
    bool ignored = false;
    return !yaml_is_null_text(s) && !bool_text(s, &ignored) && !number_text(s) && !str_eq(s, "<<");
}
