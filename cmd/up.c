#include "cmd/cmd.h"

/* Text goes to people only where it was asked for: who calls this is a program. */
static int initial(struct command_line *l)
{
    struct encrypt_error err CLEANUP(encrypt_error_clear) = {0};
    struct encrypt_start start CLEANUP(encrypt_start_free) = {0};
    if (!l->output_given)
        l->output = OUTPUT_JSON;
    if (encrypt_up_initial(&l->options, &start, &err) < 0)
        return report_error(l, &err);
    progress_end(l);
    if (l->output == OUTPUT_JSON)
        report_json(start_json(&start));
    else if (start.enable)
        start_print(&start);
    else
        printf("No encryption is asked for: nothing was put on any node, no flag is needed.\n");
    return ENCRYPT_OK;
}

int cmd_up(struct command_line *l)
{
    struct encrypt_error err CLEANUP(encrypt_error_clear) = {0};
    struct encrypt_report report CLEANUP(encrypt_report_free) = {0};
    if (l->initial)
        return initial(l);
    if (encrypt_up(&l->options, &report, &err) < 0)
        return report_error(l, &err);
    return report_done(l, &report, "the cluster is what the cluster file says", "not encrypted");
}
