#include "cmd/cmd.h"

#include <string.h>

void help_all(FILE *to)
{
    fprintf(to,
            "encrypt: encryption at rest of Kubernetes secrets, for a whole cluster, over SSH\n\n"
            "usage: encrypt COMMAND [OPTIONS]\n\n");
    for (const struct command *c = commands; c->name; c++)
        fprintf(to, "  %-12s %s\n", c->name, c->line);
    fprintf(to, "\n`encrypt help COMMAND` says more; `man encrypt` says all.\n");
}

void help_command(const struct command *c, FILE *to)
{
    fprintf(to, "usage: encrypt %s%s%s%s%s\n\n%s\n", c->name, c->reach ? " [OPTIONS]" : "",
            c->arguments[0] ? " " : "", c->arguments, "", c->line);
    if (c->text[0])
        fprintf(to, "\n%s\n", c->text);
    if (c->reach) {
        fprintf(to, "\n");
        options_print(c, to);
    }
}

int cmd_help(struct command_line *l)
{
    if (l->argument_count == 0) {
        help_all(stdout);
        return ENCRYPT_OK;
    }
    const struct command *c = command_find(l->arguments[0]);
    if (!c) {
        fprintf(stderr, "encrypt: no command `%s`; `encrypt help` lists them\n", l->arguments[0]);
        return ENCRYPT_USAGE;
    }
    help_command(c, stdout);
    return ENCRYPT_OK;
}
