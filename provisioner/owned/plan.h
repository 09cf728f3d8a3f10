/*
 * The next action of a change on servers that own their encryption configuration (rke2, k3s). Pure:
 * no I/O, no clock, no memory of earlier steps. What they do to the file, by their commands:
 *
 *   rotate-key  FROM      one key, which writes
 *               PREPARED  `prepare`: a fresh key to read with
 *               ROTATED   `rotate`: the fresh key writes
 *               TO        `reencrypt` (or `rotate-keys`, in one): the old key is dropped
 *   enable      FROM      identity writes, the key reads       TO  the key writes
 *   disable     FROM      the key writes                       TO  identity writes, the key reads
 *
 * A command changes the file on the server where it was given, at once, and on each other one when
 * that restarts. Reading and proving come before the key goes:
 *
 *   prepare, restart each, rotate, restart each, rewrite and prove (ours), reencrypt (theirs, which
 *   finds nothing left to rewrite and drops the key), count once more, restart each.
 *
 * Held to it by tests/unit/provisioner/test_owned_plan.c, which explores every moment.
 */
#ifndef ENCRYPT_PROVISIONER_OWNED_PLAN_H
#define ENCRYPT_PROVISIONER_OWNED_PLAN_H

#include "provisioner/stage.h"

enum owned_change { OWNED_ROTATE_KEY, OWNED_ENABLE, OWNED_DISABLE };
enum owned_way {
    OWNED_IN_STAGES,
    OWNED_AT_ONCE, /* rotate-keys: one server alone, see owned_plan_way() */
};

/* What the file on a server is, in the order of the change. */
enum owned_file {
    OWNED_FILE_FROM,
    OWNED_FILE_PREPARED,
    OWNED_FILE_ROTATED,
    OWNED_FILE_TO,
    OWNED_FILE_OTHER, /* none of them */
};

struct owned_server {
    bool active; /* its unit */
    bool up;     /* that, its status command answers, and what lies there can be read */
    enum stage stage;
    bool hash_match;      /* of all servers, by its own word */
    enum owned_file file; /* that lies there */
    bool same;            /* byte for byte that of the leader, see owned_leader() */
    bool shown;           /* its apiserver was shown to run the file that lies there */
};

struct owned_facts {
    enum owned_change change;
    enum owned_way way;
    bool proved; /* with every apiserver shown to write the new form, nothing in the old one was
                    left */
    bool gone;   /* that was so still when the file had become TO (rotate-key) */
    bool stuck;  /* their reencrypt was seen to fail, or to go on for too long */
};

enum owned_act {
    OWNED_START,   /* the server's unit is not active: start it */
    OWNED_LISTEN,  /* it is active, and what it has can't be told: wait for it, and never restart it
                    */
    OWNED_RESTART, /* restart the server, until it is shown to run the leader's file */
    OWNED_COMMAND, /* give `command` on the leader */
    OWNED_WAIT,    /* they are at work: ask again in a moment */
    OWNED_PROVE,   /* rewrite by empty patches, and prove */
    OWNED_COUNT,   /* nothing lies under what has gone from the leader's file? */
    OWNED_DONE,
    OWNED_REFUSE, /* what is found fits no moment of this change: `why`, `server` */
};

struct owned_step {
    enum owned_act act;
    size_t server;
    const char *command; /* "prepare", "rotate", "reencrypt", "rotate-keys", "enable", "disable" */
    const char *why;     /* constant */
    enum owned_file at;  /* how far the change is when this step is to be made */
};

/* The server whose file is the furthest; of several the first. Theirs is what the others get. */
size_t owned_leader(const struct owned_server *servers, size_t count);

struct owned_step owned_plan(const struct owned_server *servers, size_t count,
                             struct owned_facts facts);

#endif
