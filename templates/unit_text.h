/*
 * The text of systemd units (systemd.unit(5), systemd.service(5), systemd.exec(5)), as far as it
 * tells what a service is started with. Pure: files come as texts, in the order in which systemd
 * reads them (the unit, then its drop-ins by name).
 */
#ifndef ENCRYPT_TEMPLATES_UNIT_TEXT_H
#define ENCRYPT_TEMPLATES_UNIT_TEXT_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

struct unit_file {
    const char *path, *text; /* not owned */
    size_t len;
};

/* What a service is started with. */
struct unit_service {
    char **commands; /* the ExecStart= lines that are in force, as written: prefixes, quotes,
                        specifiers, variables and continuation lines stay. Without the comment lines
                        in between. NULL-terminated, as all three */
    size_t count;
    bool says_start;    /* one of the files has an ExecStart= line, be it an empty one */
    char **environment; /* "NAME=value" of Environment=, unquoted; the last of a name counts */
    char **files;       /* of EnvironmentFile=, in order; `-` before the path stays */
    bool whole;         /* nothing was met that these can't tell: a specifier, an unknown escape */
};
/* REFUSED (with the file's path and line) where it can't be told: `.include`, quotes that are not
 * closed, a NUL. Fields of other sections, and those that don't matter here, are passed over. */
int unit_service_read(const struct unit_file *files, size_t count, struct unit_service *out,
                      struct error *err) MUST_CHECK;
void unit_service_free(struct unit_service *s); /* also for CLEANUP */

/* Adds what an environment file sets to a NULL-terminated list of "NAME=value"; lines that are no
 * assignment are passed over, as systemd does. */
void unit_environment_add(char ***environment, const char *text, size_t len);

/* The command line that systemd makes of an ExecStart= value: unquoted, variables replaced, the
 * program's prefixes (`-@:+!|`) gone. To be freed: unit_args_free(). *whole turns false where a
 * part of it isn't known: it then stands there as written. Several commands in one value (`;`) give
 * NULL, and so do quotes that are not closed. */
char **unit_command_args(const char *command, char *const *environment, bool *whole);
void unit_args_free(char **args); /* NULL is fine */
void cleanup_unit_args(char ***args);

/* True where the command is a shell that is given its program as a text (`sh -c '…'`): an argument
 * at its end is none of that program's. */
bool unit_is_shell_text(char *const *args);

#endif
