#include "cmd/cmd.h"

int cmd_up(struct command_line *l)
{
    struct encrypt_error err CLEANUP(encrypt_error_clear) = {0};
    struct encrypt_report report;
    if (encrypt_up(&l->options, &report, &err) < 0)
        return report_error(l, &err);
    return report_done(l, &report, "the cluster is what the cluster file says", "not encrypted");
}
