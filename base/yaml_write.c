#include "base/yaml.h"

#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool made_of(const char *s, const char *characters)
{
    return !s[strspn(s, characters)];
}

/* A word, a path, or base64. */
static bool fits_plain(const char *s)
{
    bool word = *s && strchr(LETTERS "/", *s) && made_of(s, LETTERS DIGITS "-._/");
    return (word || made_of(s, LETTERS DIGITS "+/=")) && yaml_plain_is_string(s);
}

/* The code point at s (valid UTF-8, as libyaml gave it); *len: its bytes. */
static unsigned code_point(const unsigned char *s, size_t *len)
{
    *len = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    unsigned value = *len == 1 ? s[0] : s[0] & (0x7fu >> *len);
    for (size_t i = 1; i < *len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *len = i;
            return 0xfffd;
        }
        value = value << 6 | (s[i] & 0x3f);
    }
    return value;
}

static bool fits_single(const char *s)
{
    for (const unsigned char *at = (const unsigned char *)s; *at;) {
        size_t len = 0;
        unsigned c = code_point(at, &len);
        bool printable = c >= 0x20 && c != 0x7f && (c < 0x80 || c >= 0xa0) && c != 0x2028 &&
                         c != 0x2029 && c != 0xfeff && (c & 0xfffe) != 0xfffe;
        if (!printable)
            return false;
        at += len;
    }
    return true;
}

static void write_double(struct buf *out, const char *s)
{
    buf_adds(out, "\"");
    for (const unsigned char *at = (const unsigned char *)s; *at;) {
        size_t len = 0;
        unsigned c = code_point(at, &len);
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", (int)c);
        else if (c >= 0x20 && c < 0x7f)
            buf_add(out, at, 1);
        else
            buf_printf(out, "\\U%08X", c);
        at += len;
    }
    buf_adds(out, "\"");
}

void yaml_write(struct buf *out, const char *s, enum yaml_style style)
{
    if (style == YAML_STYLE_PLAIN && fits_plain(s)) {
        buf_adds(out, s);
    } else if (style == YAML_STYLE_SINGLE && fits_single(s)) {
        buf_adds(out, "'");
        for (; *s; s++)
            buf_add(out, *s == '\'' ? "\'\'" : s, *s == '\'' ? 2 : 1);
        buf_adds(out, "'");
    } else {
        write_double(out, s);
    }
}
