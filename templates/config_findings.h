/* What is wrong, or worth a thought, in a configuration file: each with its place and its mend.
 * None quotes a value: any may be a key, or a key in the wrong place. */
#ifndef ENCRYPT_TEMPLATES_CONFIG_FINDINGS_H
#define ENCRYPT_TEMPLATES_CONFIG_FINDINGS_H

#include "base/error.h"
#include "base/yaml.h"

struct config_finding {
    size_t line, column; /* from 1; 0 where the finding is about the whole file */
    char *field;         /* "resources[0].providers[1].aescbc.keys[0].secret"; "" for the whole */
    char *what;          /* what is wrong */
    char *mend;          /* what to do; NULL where `what` says it */
    bool warning;        /* no error */
};

/* Initialise with {0}. */
struct config_findings {
    struct config_finding *list;
    size_t count;  /* at most CONFIG_FINDINGS_MAX: what comes after is counted alone */
    size_t errors; /* all errors, also those that are not in the list */
};
enum { CONFIG_FINDINGS_MAX = 200 };

/* Adds one; `at` may be NULL (the whole file), `mend` too. Texts are copied. */
void config_findings_add(struct config_findings *f, const struct yaml *at, bool warning,
                         const char *field, const char *what, const char *mend);
/* Moves all of `from` to the end of `to`, their fields behind `prefix` (may be ""); `as_warnings`:
 * none of them is an error any more. `from` is empty afterwards. */
void config_findings_move(struct config_findings *to, struct config_findings *from,
                          const char *prefix, bool as_warnings);
/* By line and column; of one place in the order in which they were added. */
void config_findings_sort(struct config_findings *f);

/* The errors as "file:line:column: field: what; mend", one a line: REFUSED, and -1. 0 where there
 * is none. */
int config_findings_error(const struct config_findings *f, const char *file,
                          struct error *err) MUST_CHECK;

void config_findings_free(struct config_findings *f); /* empties; also for CLEANUP */

#endif
