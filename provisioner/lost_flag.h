/*
 * Apiservers that have lost the flag of the configuration, or will with their next start: some
 * other tool wrote their settings anew. What is stored under its keys can't be read then, and no
 * file that is put helps; here is what an administrator is told.
 */
#ifndef ENCRYPT_PROVISIONER_LOST_FLAG_H
#define ENCRYPT_PROVISIONER_LOST_FLAG_H

#include "provisioner/session.h"

/* Of an apiserver in doubt: the configuration's path that its process has (by its flags, else by
 * the journal's record of it) and its next start would not have: it must not be restarted as it is.
 * NULL: a restart takes nothing away, as far as it is known. `j` may be NULL. Good as long as both.
 */
const char *lost_flag_at_restart(const struct journal *j, const struct member *m);

/* Where the configuration of a node without the flag was: by the journal (may be NULL); the kind's
 * own place only where that doesn't say. */
const char *lost_flag_path(const struct journal *j, const struct member *m);

/* Appends "--FLAG=PATH, with the mount HOST:CONTAINER:ro, in FILE": what the node's apiserver needs
 * to read `path`. `c` is what lies there (NULL: what was seen there last): its sockets need mounts,
 * too. Changes nothing. */
int lost_flag_words(struct session *s, struct member *m, const char *path,
                    const struct encryption_config *c, struct buf *out,
                    struct error *err) MUST_CHECK;

/* Appends what to do where no apiserver has the flag: `rke up`, where its state says what is wanted
 * (reads all that `c` reads), else the words above for `m`. */
int lost_flag_way_back(struct session *s, struct member *m, const char *path,
                       const struct encryption_config *c, struct buf *out,
                       struct error *err) MUST_CHECK;

/* REFUSED, with the way back, where no apiserver has the flag, and on a node still lies what reads
 * values of one of these prefixes (NULL-terminated): no union helps then. */
int lost_flag_refuse(struct session *s, char *const *missing, struct error *err) MUST_CHECK;

/* REFUSED, of an apiserver in doubt: with what to do, which is a restart only where that takes
 * nothing away. */
int lost_flag_refuse_doubt(struct session *s, struct member *m, struct error *err);

#endif
