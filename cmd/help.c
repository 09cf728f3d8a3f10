#include "cmd/cmd.h"

#include <string.h>

void help_all(const struct command_line *l, FILE *to)
{
    fprintf(to,
            "encrypt: encryption at rest of Kubernetes secrets, for a whole cluster, over SSH\n\n"
            "usage: %s COMMAND [OPTIONS]\n\n",
            l->program);
    for (const struct command *c = commands; c->name; c++)
        fprintf(to, "  %-12s %s\n", c->name, c->line);
    fprintf(to, "\n`%s help COMMAND` says more; `man encrypt` says all.\n", l->program);
}

void help_command(const struct command_line *l, const struct command *c, FILE *to)
{
    fprintf(to, "usage: %s %s%s%s%s%s\n\n%s\n", l->program, c->name, c->reach ? " [OPTIONS]" : "",
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
        help_all(l, stdout);
        return ENCRYPT_OK;
    }
    const struct command *c = command_find(l->arguments[0]);
    if (!c) {
        fprintf(stderr, "encrypt: no command `%s`; `%s help` lists them\n", l->arguments[0],
                l->program);
        return ENCRYPT_USAGE;
    }
    help_command(l, c, stdout);
    return ENCRYPT_OK;
}
