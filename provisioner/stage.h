/*
 * RKE2's stages over our transitions: what `prepare`, `rotate`, `reencrypt` and `restart` may do,
 * and what `status` calls it. Pure, as the planner is: the planner's steps, a part at a time.
 *
 *   start               nothing is open, or no node has the fresh key yet
 *   prepare             WIDEN: every apiserver reads the fresh key
 *   rotate              SWITCH: every apiserver writes with it
 *   reencrypt_request   `reencrypt` was asked for, is not done, and nobody is at it
 *   reencrypt_active    … and somebody is
 *   reencrypt_finished  all is rewritten and proved: TO; stays until the next change
 *
 * The words are those of `rke2 secrets-encrypt`.
 */
#ifndef ENCRYPT_PROVISIONER_STAGE_H
#define ENCRYPT_PROVISIONER_STAGE_H

#include "provisioner/planner.h"

enum stage {
    STAGE_START,
    STAGE_PREPARE,
    STAGE_ROTATE,
    STAGE_REENCRYPT_REQUEST,
    STAGE_REENCRYPT_ACTIVE,
    STAGE_REENCRYPT_FINISHED,
};
const char *stage_name(enum stage s);

enum stage_command {
    STAGE_COMMAND_NONE, /* not staged: to the end */
    STAGE_COMMAND_PREPARE,
    STAGE_COMMAND_ROTATE,
    STAGE_COMMAND_REENCRYPT,
    STAGE_COMMAND_RESTART,
};
enum { STAGE_COMMANDS = STAGE_COMMAND_RESTART + 1 };
const char *stage_command_name(enum stage_command c); /* "prepare", …; NONE: "" */

/* Where an open transition is. */
struct stage_at {
    enum stage stage; /* ACTIVE is the caller's to tell from REQUEST: who is at work is not seen
                         from here */
    bool complete;    /* every file of the stage lies there, and every apiserver runs it */
    bool placed;      /* every file of the stage lies there */
    uint64_t waiting; /* nodes whose apiserver does not run the file that lies there */
    bool refused;     /* plan_next() refuses what is seen: the stage is a guess */
};

/* The stage of an open transition (on its way there: not facts.back) with these nodes. `requested`:
 * reencrypt was asked for. facts.by_hand is ignored. */
struct stage_at stage_of(const struct forms *forms, const struct plan_node *nodes, size_t count,
                         struct plan_facts facts, bool requested);

/* The stage of one apiserver by what it runs; `whole`: that of the transition, which tells what a
 * node that runs SWITCH is at. False where what it runs isn't known. */
bool stage_of_node(form_set runs, enum stage whole, enum stage *out);

/* How the nodes differ. */
enum stage_match {
    STAGE_MATCH,
    STAGE_MISMATCH_NODES, /* `first` and `second` run different files */
    STAGE_MISMATCH_FILE, /* `first` runs another file than lies on it, or what it runs is unknown */
};
struct stage_hashes {
    enum stage_match match;
    size_t first, second;
};
struct stage_hashes stage_compare(const struct plan_node *nodes, size_t count);

/* What a command may do where an open transition is. */
enum stage_answer {
    STAGE_GO,        /* carry its steps out */
    STAGE_TOO_EARLY, /* an apiserver does not yet run the file of the stage before */
    STAGE_WRONG,     /* another stage's turn */
    STAGE_NOTHING,   /* there is nothing for it to do */
};
/* at: NULL where no transition is open. */
enum stage_answer stage_allows(enum stage_command c, const struct stage_at *at);

/* The command whose turn it is. */
enum stage_command stage_next(const struct stage_at *at);

/* `restart` ends the stage that is under way: the command whose steps that takes. */
enum stage_command stage_to_restart(const struct stage_at *at);

/* True where the planner's step is beyond what the command (not RESTART) is to do. by_hand: no
 * restart is ours. */
bool stage_ends_before(enum stage_command c, bool by_hand, const struct plan_step *step);

#endif
