#include "base/buf.h"
#include "base/printable.h"
#include "cmd/cmd.h"

#include <string.h>

const char *program_name(const char *argv0)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
    const char *base = slash ? slash + 1 : argv0;
    return str_eq(base, "kubectl-encrypt") ? "kubectl encrypt" : "encrypt";
}

static _Bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-_./", c));
}

/* "encrypt COMMAND" begins at `at`, as words of their own, and is not RKE's. */
static _Bool is_call(const char *text, const char *at)
{
    static const char rke[] = "rke ";
    size_t before = (size_t)(at - text);
    if ((before && is_word(at[-1])) ||
        (before >= strlen(rke) && strncmp(at - strlen(rke), rke, strlen(rke)) == 0))
        return 0;
    const char *word = at + strlen("encrypt ");
    char name[32] = "";
    size_t len = strspn(word, "abcdefghijklmnopqrstuvwxyz-");
    if (len >= sizeof(name))
        return 0;
    memcpy(name, word, len);
    return command_find(name) != NULL;
}

char *in_words(const struct command_line *l, const char *text)
{
    char *shown = make_printable(text);
    if (!shown || str_eq(l->program, "encrypt"))
        return shown;
    struct buf b = {0};
    const char *rest = shown;
    for (const char *at = shown; (at = strstr(at, "encrypt ")); at++) {
        if (!is_call(shown, at))
            continue;
        buf_add(&b, rest, (size_t)(at - rest));
        buf_adds(&b, l->program);
        rest = at + strlen("encrypt");
    }
    buf_adds(&b, rest);
    mem_free(shown);
    return b.data;
}
