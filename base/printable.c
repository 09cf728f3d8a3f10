#include "base/printable.h"

#include "base/mem.h"

#include <stdint.h>
#include <string.h>

/* The length of the UTF-8 character that stands there, 0 where none does. */
static size_t character(const unsigned char *s, uint32_t *code)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80             ? 1
                 : (s[0] & 0xe0) == 0xc0 ? 2
                 : (s[0] & 0xf0) == 0xe0 ? 3
                 : (s[0] & 0xf8) == 0xf0 ? 4
                                         : 0;
    if (len < 2) {
        *code = s[0];
        return len;
    }
    *code = s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) /* the NUL too */
            return 0;
        *code = *code << 6 | (s[i] & 0x3f);
    }
    if (*code < lowest[len] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
        return 0;
    return len;
}

char *make_printable(const char *text)
{
    if (!text)
        return NULL;
    char *out = mem_alloc(strlen(text) + 1, 1);
    char *to = out;
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        uint32_t code = 0;
        size_t len = character(s, &code);
        if (len && (code == '\n' || (code >= ' ' && (code < 0x7f || code > 0x9f)))) {
            memcpy(to, s, len);
            to += len;
        } else {
            *to++ = code == '\t' ? ' ' : '?';
        }
        s += len ? len : 1;
    }
    return out;
}
