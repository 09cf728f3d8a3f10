#include "cmd/cmd.h"

int cmd_version(struct command_line *l)
{
    printf(l->output == OUTPUT_JSON ? "{\"version\": \"%s\"}\n" : "encrypt %s\n",
           encrypt_version());
    return ENCRYPT_OK;
}
