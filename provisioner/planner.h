/*
 * The planner: what the next step of a transition is. A pure function of the transition's four
 * configurations and of what is observed; no I/O, no clock, no memory. It is asked again after each
 * step and after a crash, so that resuming is nothing special (design: "every change is a
 * transition").
 *
 *   form     reads      writes with
 *   FROM     A          A
 *   WIDEN    A and B    A
 *   SWITCH   A and B    B
 *   TO       B          B
 */
#ifndef ENCRYPT_PROVISIONER_PLANNER_H
#define ENCRYPT_PROVISIONER_PLANNER_H

#include "templates/encryption_config.h"

#include <stdint.h>

enum form { FORM_FROM, FORM_WIDEN, FORM_SWITCH, FORM_TO };
enum { FORM_COUNT = 4 };
const char *form_name(enum form f); /* "from", "widen", "switch", "narrow" */

/* The four configurations of a transition. Forms that are equal (enabling: SWITCH and TO;
 * disabling: FROM and WIDEN) are told apart by nobody. */
struct forms {
    struct encryption_config *config[FORM_COUNT];
};
/* Makes them from A and B (copied). Error: A and B have no union (see encryption_config_union). */
int forms_make(const struct encryption_config *from, const struct encryption_config *to,
               struct forms *out, struct error *err) MUST_CHECK;
/*
 * The forms of going back (`abort`): what was FROM is gone to, through the unions that are there
 * already. FROM and WIDEN are then the old SWITCH, SWITCH is the old WIDEN, TO the old FROM.
 */
void forms_turn_back(struct forms *f);
void forms_free(struct forms *f);

/* A set of forms, as bits 1u << FORM_…: all that a configuration equals. 0: none of them, or
 * unknown. */
typedef unsigned form_set;
#define FORM_BIT(f) (1u << (unsigned)(f))
form_set forms_of(const struct forms *f, const struct encryption_config *c);

/* One apiserver's node, as observed. */
struct plan_node {
    form_set file;   /* what lies on the node; no file is the form of "none" */
    bool file_there; /* some file lies there */
    form_set runs;   /* what its apiserver has been shown to run; 0: not shown, or not running */
};

/* What the journal and this run know beside the nodes. */
struct plan_facts {
    bool narrowing; /* the journal says that narrowing was decided: proof was had, only on from here
                     */
    bool rewritten; /* everything was rewritten since every apiserver was shown to run SWITCH */
    bool proved;    /* proof was had after that */
    bool switched;  /* the journal: an apiserver was meant to write with the TO of the way there, so
                       that it may be stored; recorded before the first such file or restart */
    bool back;      /* the forms are those of going back: `switched` speaks of what is given up. Or
                       (`switched` too) narrowing was taken back since the store is older than the
                       proof: nodes may be at TO already, and only on from SWITCH leads there */
    bool staged;    /* a stage at a time: WIDEN is a rollout of its own with one apiserver too */
    bool singly;    /* what runs is told by a restart alone, and a file may take effect without one
                       (automatic reload that no metric tells of): a file reaches one node at a time,
                       and the next when that was shown, so that at most one is unknown */
    bool by_hand; /* the restarts are somebody else's: the files of a rollout go onto all its nodes
                     at once */
};

/* What an apiserver must be shown to run for `rewritten` and `proved` to hold: a set of forms. */
form_set plan_writes_to(bool back);

enum plan_kind {
    PLAN_PUT,     /* put the form's file on the nodes of the step (all of them, in any order) */
    PLAN_RESTART, /* bring the apiserver of the step's one node to run the form, and show it */
    PLAN_REWRITE,
    PLAN_PROVE,
    PLAN_NARROW, /* record that narrowing begins: the point of no return */
    PLAN_REMOVE, /* remove the file from the nodes of the step: TO is none and none of them reads it
                  */
    PLAN_DONE,
    PLAN_REFUSE, /* what was observed can't come from this transition: see `why` and nodes */
};

enum { PLAN_MAX_NODES = 64 };
struct plan_step {
    enum plan_kind kind;
    enum form form;  /* PUT, RESTART */
    uint64_t nodes;  /* bit i: node i */
    const char *why; /* REFUSE: what contradicts, a constant text */
};

/*
 * The next step. `count` from 1 to PLAN_MAX_NODES.
 *
 * Promises, whatever the observations: after any prefix of the steps, carried out in full, in part,
 * or not at all, on any subset of their nodes,
 *  - a value that any apiserver could have written is readable by every apiserver that is up;
 *  - FROM's keys are given up by no file and no apiserver before PLAN_PROVE was answered;
 *  - a form reaches the first node alone (file and restart, shown) before any other node's file;
 * then the files of the others together; then their restarts one at a time, in order; but by_hand
 * all files come first, and a step RESTART says what is waited for; singly, each gets its file
 * when the one before was shown. RESTART is done without one where the apiserver takes the file up
 * by itself and that is shown;
 *  - PLAN_NARROW comes before the first file or restart that narrows; after it, only on.
 * A rollout that changes nothing (equal forms) is skipped; WIDEN is skipped where it is not staged,
 * there is one apiserver, FROM is not none and TO brings no KMS that FROM lacks (enabling, it is
 * WIDEN that brings the flag, so that a failed SWITCH has an apiserver with the flag to go back
 * to), or where FROM already reads all that TO does. With TO "none": restarts (without the flag)
 * come first, one at a time, and the files are removed when no apiserver reads them. A node whose
 * `runs` is unknown may run anything among the forms up to the furthest that could have been meant
 * for it: it is brought to a form that is safe in every case.
 *
 * A node whose file or apiserver is TO and no other form, while narrowing was not begun, comes from
 * no crash: PLAN_NARROW is on disk before the first such file. Somebody else, with another copy of
 * the state, went on with this transition; this copy knows too little to go on. PLAN_REFUSE names
 * such nodes, and nothing is done. (No file at all counts as TO, where TO is none, unless the
 * apiserver is shown to run another form.)
 */
struct plan_step plan_next(const struct forms *forms, const struct plan_node *nodes, size_t count,
                           struct plan_facts facts);

/*
 * Going back (facts.back): a node at TO is one that was never widened. Where nothing can have been
 * written with what is given up, nothing of it is brought to any node any more (it may be what
 * doesn't work): what is unsure is brought to TO at once, PLAN_PROVE asks whether TO reads all that
 * is stored, and then comes PLAN_NARROW. Else SWITCH on every node, first on those that don't read
 * both, PLAN_REWRITE, PLAN_PROVE, PLAN_NARROW.
 */

/* Where a node goes back to when its restart into `failed` fails (safety rule 10): never one that
 * can't read what may have been written since. `nodes` is what plan_next() was given for that
 * restart. SWITCH fails: WIDEN. TO fails: SWITCH. WIDEN fails: FROM where nothing was switched,
 * else WIDEN itself: there is nothing to go back to, the node waits for its cause to go. On the way
 * back, FROM and WIDEN fail: SWITCH; going back where nothing was switched, TO fails: SWITCH where
 * some node is shown to run it, else TO itself.
 */
enum form plan_rollback(const struct forms *forms, const struct plan_node *nodes, size_t count,
                        struct plan_facts facts, enum form failed);

/* The text that both encryptionConfig strings of the state must hold at this moment, so that
 * whoever deploys them loses nothing (safety rule 9). Where plan_next() refuses since somebody else
 * finished: SWITCH, which reads both and writes what all of them read by then. Going back where
 * nothing was switched: TO, which reads all that is stored. */
enum form plan_state_form(const struct forms *forms, const struct plan_node *nodes, size_t count,
                          struct plan_facts facts);

#endif
