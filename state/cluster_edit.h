/*
 * cluster.yml edited in place, where a key was rotated under a custom configuration: RKE renders
 * the configuration from it at each `up`, so it must say the same. What changes are the scalars
 * that hold names and secrets of keys and names of kms providers; each other byte stays.
 */
#ifndef ENCRYPT_STATE_CLUSTER_EDIT_H
#define ENCRYPT_STATE_CLUSTER_EDIT_H

#include "templates/encryption_config.h"

/* The text of cluster.yml with its custom_config changed to say `to`.
 * out: the whole new text; shown: the change for people, "-  12: name: old" and "+  12: name: new",
 * with each secret as "(hidden)"; empty where nothing changes. Both are appended to on success.
 * was: what custom_config must say now (REFUSED where it says something else: a user's edit is not
 * overwritten); NULL: whatever it says.
 * REFUSED: the two differ in more than such scalars; a scalar can't be replaced where it stands (a
 * block; an alias or a merge by which it stands elsewhere too). The message names what is to be
 * edited by hand, by line. The new text was read again: its custom_config strictly says `to`, and
 * all else reads as before. */
int cluster_edit_custom(const char *text, size_t len, const char *path,
                        const struct encryption_config *was, const struct encryption_config *to,
                        struct buf *out, struct buf *shown, struct error *err) MUST_CHECK;

/* The same with the file: replaced whole or not at all (see file_replace()), untouched where
 * nothing changes. */
int cluster_edit_write(const char *path, const struct encryption_config *was,
                       const struct encryption_config *to, struct buf *shown,
                       struct error *err) MUST_CHECK;

/* That cluster_edit_write() would work, for before a transition begins. `shown` is there also where
 * it is the file that can't be replaced. */
int cluster_edit_check(const char *path, const struct encryption_config *to, struct buf *shown,
                       struct error *err) MUST_CHECK;

#endif
