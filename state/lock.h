/*
 * One writer on this machine: a lock (of the open file description: fcntl F_OFD_SETLK) on a file of
 * its own beside the state file (`.<state file>.lock`), which a `kill -9` releases and which never
 * goes stale. Symbolic links are followed first, so that two names of one state file have one lock.
 */
#ifndef ENCRYPT_STATE_LOCK_H
#define ENCRYPT_STATE_LOCK_H

#include "base/error.h"

struct state_lock;

/* Takes it without waiting; after locking checks that the path still names the locked file. REFUSED
 * where another process holds it: says its process id, command and since when, as written into the
 * file by the holder (told as such: it may be out of date). A child that is forked while it is held
 * shares it until it ends or executes another program. */
int state_lock_take(const char *state_path, struct state_lock **out, struct error *err) MUST_CHECK;
/* Empties the file (it stays), unlocks, frees. NULL is fine. */
void state_lock_release(struct state_lock *lock);
void cleanup_state_lock(struct state_lock **lock);

/* Whether somebody holds it, without taking or making anything: *holder is what the holder wrote
 * (printable; may be "", to be freed), NULL where nobody does. FAILED where that can't be seen. */
int state_lock_look(const char *state_path, char **holder, struct error *err) MUST_CHECK;

#endif
