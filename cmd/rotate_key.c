#include "cmd/cmd.h"

int cmd_rotate_key(struct command_line *l)
{
    struct encrypt_error err CLEANUP(encrypt_error_clear) = {0};
    struct encrypt_report report;
    if (encrypt_rotate_key(&l->options, &report, &err) < 0)
        return report_error(l, &err);
    return report_done(l, &report, "", "");
}
