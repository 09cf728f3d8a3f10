/* The command line: one table of commands, a file per command, what is printed. */
#ifndef ENCRYPT_CMD_CMD_H
#define ENCRYPT_CMD_CMD_H

#include "base/mem.h"
#include "provisioner/encrypt.h"

#include <jansson.h>
#include <stdio.h>
#include <time.h>

enum output { OUTPUT_TEXT, OUTPUT_JSON };

/* What the options of all commands that reach a cluster say. */
struct command_line {
    const char *program; /* what the user typed: "encrypt" or "kubectl encrypt" */
    struct encrypt_options options;
    struct encrypt_doctor doctor; /* doctor's own */
    _Bool initial;                /* up's own */
    enum output output;
    _Bool output_given;
    int quiet, debug; /* -q, -d */
    _Bool yes;
    _Bool detach; /* reencrypt's own */
    struct {
        int ready; /* the parent waits for a byte on it; 0: told, or none */
        char *log;
    } background; /* staged.c's */
    struct {
        _Bool shown;
        size_t next;
        struct timespec began;
    } bar;            /* progress.c's */
    char **arguments; /* what is no option, NULL-terminated */
    int argument_count;
};

enum command_reach {
    REACHES_NOTHING,
    REACHES_CLUSTER, /* takes the common options */
    REACHES_FILES,   /* of them --config and --state */
};

struct command {
    const char *name;
    const char *line;      /* what it does, one line */
    const char *arguments; /* "" or "[COMMAND]" … */
    enum command_reach reach;
    const char *text; /* the long help */
    int (*run)(struct command_line *l);
};

extern const struct command commands[];
const struct command *command_find(const char *name);

/* The commands: each gives the exit code and prints what it has to say. */
int cmd_up(struct command_line *l);
int cmd_rotate_key(struct command_line *l);
int cmd_resume(struct command_line *l);
int cmd_abort(struct command_line *l);
int cmd_prepare(struct command_line *l);
int cmd_rotate(struct command_line *l);
int cmd_reencrypt(struct command_line *l);
int cmd_restart(struct command_line *l);
int cmd_doctor(struct command_line *l);
int cmd_status(struct command_line *l);
int cmd_plan(struct command_line *l);
int cmd_lint(struct command_line *l);
int cmd_version(struct command_line *l);
int cmd_help(struct command_line *l);

/* options.c: reads argv behind the command's name. False: a message was printed, exit with 2;
 * *help: --help stood there. */
_Bool options_read(const struct command *c, int argc, char **argv, struct command_line *l,
                   _Bool *help);
void options_print(const struct command *c, FILE *to);

/* words.c: the program's name by what it was called as. */
const char *program_name(const char *argv0);
/* A text of the engine as it is shown: printable, and with the commands in it as the user types
 * them. NULL where text is NULL. To be freed. */
char *in_words(const struct command_line *l, const char *text);

/* help.c */
void help_command(const struct command_line *l, const struct command *c, FILE *to);
void help_all(const struct command_line *l, FILE *to);

/* progress.c: what options.event does with `ctx` = the command line. */
void progress_event(void *ctx, const struct encrypt_event *e);
void progress_end(struct command_line *l); /* clears a bar */

/* report.c: the error on standard error, once; gives the exit code. */
int report_error(struct command_line *l, const struct encrypt_error *err);
/* What a transition did, on standard output. `nothing`: why nothing was to do; `no_key`: what is
 * said then where the report names no key ("not encrypted"), "": nothing. */
int report_done(struct command_line *l, const struct encrypt_report *r, const char *nothing,
                const char *no_key);

/* What a staged command did, and whose turn it is now. */
int report_stage(struct command_line *l, const struct encrypt_report *r, const char *command);
/* That it goes on in the background. */
void report_started(struct command_line *l, long pid, const char *log);
/* status_print.c: the answer of `status`, as RKE2 words it and then more; as one JSON document. */
void status_print_text(const struct command_line *l, const struct encrypt_status *s, FILE *to);
void status_print_json(const struct command_line *l, const struct encrypt_status *s, FILE *to);
/* ENCRYPT_OK, or ENCRYPT_FOUND where something is wrong. */
int status_exit_code(const struct encrypt_status *s);
/* report.c: prints it; `o` (NULL where it could not be made) is let go of. */
void report_json(json_t *o);

/* start.c: what kube-apiservers are to be started with, as JSON (a new reference), and for people.
 */
json_t *start_json(const struct encrypt_start *s);
void start_print(const struct encrypt_start *s);

/* signals.c: the first SIGINT or SIGTERM stops at the next safe point, the second at once. */
void signals_install(void);
_Bool signals_stop(void *ctx);
int signals_exit_code(void); /* 130 or 143 */

/* ask.c: a secret from the terminal, without echo. NULL where there is no terminal, and where
 * signals_stop(). */
char *ask_secret(void *ctx, const char *prompt);
/* Yes (1) or no (-1), asked where standard input is a terminal; 0: it is none, or signals_stop().
 * With --yes it is yes. `ctx`: the command line. */
int ask_yes_or_no(void *ctx, const char *question);

#endif
