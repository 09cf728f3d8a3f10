/*
 * An exhaustive check of the transitions: for pairs of configurations and clusters of 1 to 4
 * apiservers, every state that the real planner can lead to is visited, with every step carried out
 * in full, in part, failing and rolled back; apiservers that restart by themselves at any moment,
 * the tool's memory lost at any moment (but not the journal's word that narrowing was begun, which
 * is on disk before anything narrows), clients that write through every apiserver at every moment,
 * files that take effect by themselves (automatic reload), at any moment and just before a step
 * that was decided without it; staged commands that leave the restarts to others, somebody who
 * turns back (`abort`) at any moment before narrowing, and somebody else who deploys what the state
 * file says. From every state that narrows it is also asked what a run with an older copy of the
 * state does: nothing, once a node was narrowed.
 *
 * What is stored is a set for each resource: every form that a value may have by now.
 *
 *   configurations.c  what is gone from and to
 *   semantics.c       how an apiserver reads and writes, modelled anew: not the code under test
 *   states.c          states, the visited set, traces
 *   explore.c         the moves and the assertions
 *   search.c          one search
 *   mutants.c         the deliberately broken variants
 *   model.c           all pairs, options, summary
 *
 *   model [--max-nodes N] [--break NAME|all] [--verbose]
 *
 * Without --max-nodes: 1 to 3 apiservers, and 4 for a part of the transitions.
 */
#include "tests/model/explore.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- all pairs ---- */

/* Four apiservers take ten times as long as three: one transition in so many, unless asked. */
enum { SAMPLE = 6 };

struct totals {
    size_t pairs, refused, distinct, widest, states, violations;
};

struct seen {
    struct transition *at;
    size_t count;
};

static bool is_new(struct seen *seen, const struct transition *t)
{
    for (size_t i = 0; i < seen->count; i++)
        if (same_transition(&seen->at[i], t))
            return false;
    MEM_GROW(seen->at, seen->count);
    seen->at[seen->count++] = *t;
    return true;
}

static struct forms copy_forms(const struct forms *f)
{
    struct forms copy = {0};
    for (int i = 0; i < FORM_COUNT; i++)
        copy.config[i] = encryption_config_copy(f->config[i]);
    return copy;
}

/* False: stop. */
static bool check_pair(size_t a, size_t b, size_t max_nodes, enum breakage broken,
                       struct seen *seen, struct totals *totals, bool verbose)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *from CLEANUP(cleanup_encryption_config) =
        read_config(configurations[a].items);
    struct encryption_config *to CLEANUP(cleanup_encryption_config) =
        read_config(configurations[b].items);
    struct transition t = {0};
    if (forms_make(from, to, &t.forms, &err) != 0) {
        totals->refused++;
        if (verbose)
            printf("refused: %s -> %s: %s\n", configurations[a].name, configurations[b].name,
                   err.message);
        return true;
    }
    break_forms(&t.forms, broken);
    boil(&t);
    struct forms back CLEANUP(forms_free) = copy_forms(&t.forms);
    forms_turn_back(&back);
    totals->pairs++;
    bool fine = true;
    if (is_new(seen, &t)) {
        totals->distinct++;
        size_t limit = max_nodes                        ? max_nodes
                       : totals->distinct % SAMPLE == 1 ? MAX_NODES
                                                        : MAX_NODES - 1;
        totals->widest += limit == MAX_NODES;
        /* (0: one apiserver, a stage at a time.) */
        for (size_t n = 0; n <= limit && fine; n++) {
            struct search x CLEANUP(search_free) = {.t = &t,
                                                    .back = &back,
                                                    .from_name = configurations[a].name,
                                                    .to_name = configurations[b].name,
                                                    .n = n ? n : 1,
                                                    .staged = n == 0,
                                                    .broken = broken,
                                                    .quiet = broken && !verbose};
            fine = search(&x, &totals->states);
        }
    }
    totals->violations += !fine;
    forms_free(&t.forms);
    return fine;
}

static struct totals check_all(size_t max_nodes, enum breakage broken, bool verbose)
{
    struct totals totals = {0};
    struct seen seen = {0};
    for (size_t a = 0; a < configuration_count; a++)
        for (size_t b = 0; b < configuration_count; b++)
            if (!totals.violations)
                check_pair(a, b, max_nodes, broken, &seen, &totals, verbose);
    mem_free(seen.at);
    return totals;
}

static int check_broken(const char *name, size_t max_nodes, bool verbose)
{
    int missed = 0, known = 0;
    for (int b = 1; b < BREAK_COUNT; b++) {
        if (!str_eq(name, "all") && !str_eq(name, breakage_names[b]))
            continue;
        known = 1;
        struct totals t = check_all(max_nodes, (enum breakage)b, verbose || !str_eq(name, "all"));
        printf("model: break %s: %s after %zu states\n", breakage_names[b],
               t.violations ? "caught" : "NOT CAUGHT", t.states);
        fflush(stdout);
        missed += !t.violations;
    }
    if (!known) {
        fprintf(stderr, "model: no breakage \"%s\"; there are: all", name);
        for (int b = 1; b < BREAK_COUNT; b++)
            fprintf(stderr, ", %s", breakage_names[b]);
        fprintf(stderr, "\n");
        return 2;
    }
    if (str_eq(name, "all"))
        printf("model: %d broken variants, %d not caught\n", BREAK_COUNT - 1, missed);
    /* A broken variant that is found is what this is for; one alone still exits like a finding. */
    return str_eq(name, "all") ? missed != 0 : !missed;
}

int main(int argc, char **argv)
{
    size_t max_nodes = 0;
    const char *broken = NULL;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        if (str_eq(argv[i], "--max-nodes") && i + 1 < argc)
            max_nodes = strtoul(argv[++i], NULL, 10);
        else if (str_eq(argv[i], "--break") && i + 1 < argc)
            broken = argv[++i];
        else if (str_eq(argv[i], "--verbose"))
            verbose = true;
        else
            max_nodes = MAX_NODES + 1;
    }
    if (max_nodes > MAX_NODES) {
        fprintf(stderr, "usage: model [--max-nodes 1..4] [--break NAME|all] [--verbose]\n");
        return 2;
    }
    if (broken)
        return check_broken(broken, max_nodes, verbose);
    struct totals t = check_all(max_nodes, BREAK_NOTHING, verbose);
    printf("model: %zu configurations, %zu pairs have no union and are refused, %zu distinct "
           "transitions, %zu of them with 4 apiservers\n",
           configuration_count, t.refused, t.distinct, t.widest);
    printf("model: %zu pairs, %zu states, %zu violations\n", t.pairs, t.states, t.violations);
    return t.violations != 0;
}
