#include "provisioner/drivers/openshift3.h"

#include <string.h>

static const char before[] = "# encrypt: what the process ";
static const char changed[] = " reads; changed";
static const char changing[] = " reads; changing";

void kept_free(struct kept *k)
{
    mem_free(k->process);
    buf_free(&k->text);
    *k = (struct kept){0};
}

static bool ends_with(const char *s, const char *end)
{
    size_t len = strlen(s), tail = strlen(end);
    return len >= tail && str_eq(s + len - tail, end);
}

int kept_parse(const struct buf *file, struct kept *out, struct error *err)
{
    const char *text = buf_str(file);
    size_t len = strcspn(text, "\n");
    char *line CLEANUP(cleanup_mem) = mem_strndup(text, len);
    bool is_changing = ends_with(line, changing);
    const char *end = is_changing ? changing : changed;
    if (len == file->len || !str_starts(line, before) || !ends_with(line, end) ||
        strlen(line) <= strlen(before) + strlen(end)) {
        error_set(err, RESULT_REFUSED, OPENSHIFT_KEPT ": its first line is none of encrypt's");
        error_next(
            err, "look at " OPENSHIFT_KEPT " on the node: it is a copy of master-config.yaml from "
                 "an interrupted change; move it to another folder, restart the master API there, "
                 "then run the same command again");
        return -1;
    }
    out->there = true;
    out->changing = is_changing;
    out->process = mem_strndup(line + strlen(before), len - strlen(before) - strlen(end));
    buf_add(&out->text, text + len + 1, file->len - len - 1);
    return 0;
}

void kept_write(const struct kept *k, struct buf *out)
{
    buf_printf(out, "%s%s%s\n", before, k->process ? k->process : "none",
               k->changing ? changing : changed);
    buf_add(out, buf_str(&k->text), k->text.len);
}
