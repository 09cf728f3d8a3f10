/*
 * All steps that are to come: the planner asked again and again, each answer taken for done. Pure.
 */
#ifndef ENCRYPT_PROVISIONER_PLAN_AHEAD_H
#define ENCRYPT_PROVISIONER_PLAN_AHEAD_H

#include "provisioner/planner.h"

struct plan_ahead {
    struct plan_step step;
    bool reload; /* a RESTART of an apiserver that takes the file up by itself */
};

/*
 * Gives the steps in *out (to be freed), and how many: the last is DONE or REFUSE. `reloads`: bit i
 * where the apiserver of node i takes files up by itself and tells it; where it loses the flag it
 * does no more. nodes and facts are as for plan_next().
 */
size_t plan_ahead(const struct forms *forms, const struct plan_node *nodes, size_t count,
                  struct plan_facts facts, uint64_t reloads, struct plan_ahead **out);

#endif
