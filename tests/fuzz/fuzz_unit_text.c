/* libFuzzer: a unit, its command line, an environment file; and that a drop-in made of any command
 * has its words and the flag. */
#include "templates/unit_dropin.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count_of(char *const *args)
{
    size_t count = 0;
    while (args && args[count])
        count++;
    return count;
}

static void check_dropin(const char *command, char *const *environment)
{
    static const char value[] = "/etc/kubernetes/encryption.yaml";
    struct buf text CLEANUP(buf_free) = {0};
    struct unit_service s CLEANUP(unit_service_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    char *told CLEANUP(cleanup_mem) = NULL;
    bool whole = true;
    char **before CLEANUP(cleanup_unit_args) = unit_command_args(command, environment, &whole);
    if (!before || !before[0])
        return;
    unit_dropin_write(command, "encryption-provider-config", value, &text);
    struct unit_file file = {"50-encrypt.conf", text.data, text.len};
    if (unit_service_read(&file, 1, &s, &err) < 0 || s.count != 1)
        abort();
    char **after CLEANUP(cleanup_unit_args) = unit_command_args(s.commands[0], environment, &whole);
    size_t count = count_of(before);
    if (count_of(after) != count + 1 || !strstr(after[count], value))
        abort();
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(before[i], after[i]))
            abort();
    }
    if (!unit_dropin_read(text.data, text.len, &told) || !str_eq(told, value))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unit_file file = {"u.service", (const char *)data, size};
    struct unit_service s CLEANUP(unit_service_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    char **environment CLEANUP(cleanup_unit_args) = mem_alloc(1, sizeof(*environment));
    unit_environment_add(&environment, (const char *)data, size);
    if (unit_service_read(&file, 1, &s, &err) < 0)
        return err.result == RESULT_REFUSED ? 0 : (abort(), 0);
    for (size_t i = 0; i < s.count; i++)
        check_dropin(s.commands[i], environment);
    if (unit_dropin_check(&file, 1, &s, "encryption-provider-config", NULL, &err) < 0 &&
        err.result != RESULT_REFUSED)
        abort();
    return 0;
}
