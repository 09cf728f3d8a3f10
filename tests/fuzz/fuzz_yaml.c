/* Any bytes: read without a crash, and the tree keeps what yaml.h promises of it. */
#include "base/yaml.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct yaml *y, int depth)
{
    if (depth > 64 || !y->line || !y->column)
        abort();
    switch (y->kind) {
    case YAML_KIND_NULL:
        if (y->scalar || y->count)
            abort();
        break;
    case YAML_KIND_SCALAR:
        if (!y->scalar || y->count)
            abort();
        break;
    case YAML_KIND_LIST:
    case YAML_KIND_MAP:
        for (size_t i = 0; i < y->count; i++) {
            check(y->items[i], depth + 1);
            if (y->kind == YAML_KIND_LIST)
                continue;
            if (y->keys[i]->kind != YAML_KIND_SCALAR || !yaml_get(y, y->keys[i]->scalar))
                abort();
        }
        break;
    }
    bool flag = false;
    long number = 0;
    bool is_bool = yaml_bool(y, &flag), is_int = yaml_int(y, &number);
    if (is_bool && is_int)
        abort();
    if ((is_bool || is_int) && (y->quoted || yaml_plain_is_string(y->scalar)))
        abort();
    long doubled = yaml_duplicate(y);
    if (doubled >= 0 && (size_t)doubled >= y->count)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err CLEANUP(error_clear) = {0};
    struct yaml *y CLEANUP(cleanup_yaml) = NULL;
    if (yaml_read((const char *)data, size, "fuzz", &y, &err) != 0) {
        if (y || err.result != RESULT_REFUSED || !str_starts(err.message, "fuzz:"))
            abort();
        return 0;
    }
    if (err.message)
        abort();
    check(y, 1);
    return 0;
}
