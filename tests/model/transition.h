/*
 * A transition between two configurations, and what kube-apiserver would do in each of its forms.
 * configurations.c makes the one, semantics.c the other; nothing here knows of nodes or of time.
 */
#ifndef ENCRYPT_TESTS_MODEL_TRANSITION_H
#define ENCRYPT_TESTS_MODEL_TRANSITION_H

#include "provisioner/planner.h"

/* ---- configurations.c ---- */

/* items: YAML, the items of an EncryptionConfiguration; "": no configuration at all. */
struct configuration {
    const char *name, *items;
};
extern const struct configuration configurations[];
extern const size_t configuration_count;

/* Free with encryption_config_free(). Ends the process (2) where the items can't be read. */
struct encryption_config *read_config(const char *items);

/* ---- semantics.c ---- */

/* Value v of resource r is bit r * MAX_VALUES + v of a store. MAX_VALUES and RESOURCES are bounded
 * by the 64 bits of a state's key (states.c). */
enum { RESOURCES = 3, MAX_VALUES = 8, STORE_BITS = MAX_VALUES * RESOURCES };

/* The four forms, and all that the search needs to know of them. */
struct transition {
    struct forms forms;
    unsigned canon[FORM_COUNT]; /* the first form that is equal */
    form_set bits[FORM_COUNT];  /* all that are equal */
    bool none[FORM_COUNT];
    bool from_wide;
    size_t value_count[RESOURCES];
    uint32_t writes[FORM_COUNT]; /* a bit for each resource */
    uint32_t reads[FORM_COUNT];  /* a bit for each value of each resource */
    uint32_t changes,
        changes_back; /* all bits of each resource that is rewritten, there and back */
};

/* Fills in everything else from t->forms; t is zeroed but for them. Ends the process (2) where
 * there are more values than there is room for. */
void boil(struct transition *t);

/* Two transitions that agree in this can't be told apart by the search. forms are not compared. */
bool same_transition(const struct transition *a, const struct transition *b);

#endif
