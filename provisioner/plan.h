/*
 * `plan`: what would be done, for people and for scripts. Private to the engine: plan.c asks,
 * plan_steps.c and plan_keys.c make the answer of it.
 */
#ifndef ENCRYPT_PROVISIONER_PLAN_H
#define ENCRYPT_PROVISIONER_PLAN_H

#include "provisioner/plan_ahead.h"
#include "provisioner/run.h"

/* --- plan.c --- */
void plan_note(struct encrypt_plan *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* --- plan_steps.c: pure, but that nodes are named --- */

/* What the steps mean: of a way there or back, to or from nothing. */
struct plan_words {
    const char *const *names; /* of the nodes */
    bool back;                /* a transition is being taken back */
    const char *path;         /* where the file lies */
};

/* Appends the planner's steps as they are told: restarts in a row become one. REFUSE is left out.
 */
void plan_tell_steps(const struct plan_ahead *list, size_t count, const struct forms *forms,
                     const struct plan_words *words, struct encrypt_plan_step **steps,
                     size_t *step_count);
/* How many apiservers the steps restart, and how many take a file up by themselves. */
void plan_count(const struct plan_ahead *list, size_t count, size_t *restarts, size_t *reloads);
/*
 * About how long they take, in seconds, by what was measured on the testbed (docs/testbed.md): an
 * apiserver's restart, objects rewritten a second, the wait before the proof (`request_ms`: longer
 * by that, where an apiserver takes files up by itself), and 60 s for each round of reloads.
 */
double plan_seconds(const struct plan_ahead *list, size_t count, size_t objects,
                    int64_t request_ms);

/* --- plan_keys.c --- */

/* What was known before: a key of the new configuration that is in neither is a fresh one. */
struct plan_known {
    const struct journal *journal;          /* NULL: all keys are known */
    const struct encryption_config *custom; /* cluster.yml's; NULL: none */
};

/* The keys of both configurations (NULL: none), and what becomes of each. */
void plan_tell_keys(struct encrypt_plan *p, const struct encryption_config *from,
                    const struct encryption_config *to, const struct plan_known *known);

#endif
