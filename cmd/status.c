#include "cmd/cmd.h"

int cmd_status(struct command_line *l)
{
    struct encrypt_error err CLEANUP(encrypt_error_clear) = {0};
    struct encrypt_status s CLEANUP(encrypt_status_free) = {0};
    int rc = encrypt_status(&l->options, &s, &err);
    progress_end(l);
    if (rc < 0)
        return report_error(l, &err);
    if (l->output == OUTPUT_JSON)
        status_print_json(l, &s, stdout);
    else
        status_print_text(l, &s, stdout);
    return status_exit_code(&s);
}
