/*
 * The stamp: a small file beside the configuration on each node, which names the cluster and the
 * generation of the state that last changed something there. It stops whoever comes with an older
 * copy of the state file, or with another cluster's (safety rule 7). It gets into its place before
 * the configuration that it comes with.
 *
 *   {"version": 1, "cluster": "<uuid>", "generation": 3, "transition": "<uuid>",
 *    "by": "user@host", "at": "2026-…Z"}
 *
 * The generation is the journal's: raised when a transition is opened, aborted, begins to narrow
 * and is finished. No secret is in it. A node without one (no run of ours, or an older one's) tells
 * nothing: what lies there is then compared by contents alone.
 */
#ifndef ENCRYPT_PROVISIONER_STAMP_H
#define ENCRYPT_PROVISIONER_STAMP_H

#include "provisioner/session.h"

struct stamp {
    char *cluster, *transition, *by, *at;
    int64_t generation;
};
void stamp_free(struct stamp *s); /* also for CLEANUP */

/* From text. REFUSED: not a stamp; `name` stands for the file in messages. */
int stamp_parse(const char *text, size_t len, const char *name, struct stamp *out,
                struct error *err) MUST_CHECK;
/* What this moment's journal would put; appended. */
void stamp_write(const struct journal *j, const char *by, struct buf *out);

/* Where it lies: the configuration's path and `.encrypt`; to be freed. */
char *stamp_path(const struct member *m);
/* Reads a node's. *found false where there is none. */
int stamp_read(struct member *m, struct stamp *out, bool *found, struct error *err) MUST_CHECK;

/* Whether a node with this stamp may be changed by whoever has this journal: REFUSED with both
 * generations where it is newer, another's or of another cluster. `node`, `state_path`: for
 * messages. Gives 1 where the stamp is already that of this moment's journal, else 0. */
int stamp_judge(const struct stamp *s, const struct journal *j, const char *node,
                const char *state_path, struct error *err) MUST_CHECK;

/* Reads and judges those of all nodes (but where nothing is looked at); sets `stamped` of each. */
int stamp_check(struct session *s, struct error *err) MUST_CHECK;

/* The same as stamp_put() where there is no API yet, so no lock in the cluster: of several who come
 * at once one gets the node. REFUSED, as stamp_judge(), where another has it. */
int stamp_claim(struct session *s, struct member *m, struct error *err) MUST_CHECK;

/* Puts it onto the node by itself, where it isn't there yet: before an act that puts no file. */
int stamp_put(struct session *s, struct member *m, struct error *err) MUST_CHECK;

#endif
