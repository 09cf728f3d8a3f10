/* What lies on this machine: the state file, the journal beside it, the credentials. */
#include "base/file.h"
#include "provisioner/credentials.h"
#include "provisioner/doctor.h"
#include "state/json_text.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const char about[] = "state file";
enum { SIDECAR_LIMIT = 64 << 20 };

/* The lock is only tried: a look must not keep a run from its work. */
static void try_lock(struct doctor *d)
{
    struct error why CLEANUP(error_clear) = {0};
    struct state_lock *lock CLEANUP(cleanup_state_lock) = NULL;
    if (d->state_missing || state_lock_take(d->s->state_path, &lock, &why) == 0)
        return;
    d->run_alive = why.result == RESULT_REFUSED;
    mend(means(wrong(d, about, "%s", why.message),
               "a run is at work: what is said here may be changing while it is being looked at"),
         "# let it finish, then look again");
}

static void read_state(struct doctor *d)
{
    struct session *s = d->s;
    struct error why CLEANUP(error_clear) = {0};
    struct stat st;
    char *again CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
    d->state_missing = lstat(s->state_path, &st) != 0 && errno == ENOENT;
    if (d->state_missing || (session_check_state_link(s->state_path, &why) == 0 &&
                             rkestate_read(s->state_path, &s->state, &why) == 0))
        return;
    struct encrypt_finding *f = wrong(d, about, "it can't be read: %s", why.message);
    means(f, "without it no command can keep a key; nothing was done to the cluster");
    if (why.next) {
        mend(f, "%s", why.next);
        return;
    }
    mend(f, "# move it away, keep it (it may hold the only copy of a key, and of RKE's "
            "certificates), and let it be rebuilt:");
    mend_move(d, f, s->state_path, "damaged");
    mend(f, "%s", again);
}

static json_t *read_sidecar(const char *path)
{
    struct error ignored CLEANUP(error_clear) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    bool missing = false;
    json_t *json = NULL;
    if (file_read(path, SIDECAR_LIMIT, true, &text, &missing, &ignored) < 0 || missing ||
        json_text_read(buf_str(&text), text.len, path, &json, &ignored) < 0)
        return NULL;
    return json;
}

/* The journal stands in two places; that it can be read from one of them was seen before. */
static void compare_copies(struct doctor *d, const char *sidecar_path)
{
    const struct session *s = d->s;
    json_t *beside CLEANUP(cleanup_json) = read_sidecar(sidecar_path);
    const json_t *inside = s->state ? json_object_get(s->state->root, "encrypt") : NULL;
    if (!s->state || (!beside && !inside) || (beside && json_equal(beside, inside)))
        return;
    char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
    if (!beside) {
        struct encrypt_finding *f = wrong(
            d, about, "%s, the second copy of the journal and of all keys, is gone", sidecar_path);
        if (session_shares_state(s))
            means(f,
                  "RKE drops the first one (in %s) when it writes that file: the history of keys, "
                  "which old backups need, would be lost then",
                  s->state_path);
        else
            means(f, "the one in %s is the last one", s->state_path);
        mend(f, "%s    # writes it again", resume);
    } else if (!inside) {
        saw(d, about, "%s has written it since: our journal is in %s alone, which is enough",
            session_shares_state(s) ? "RKE" : "another program", sidecar_path);
    } else {
        saw(d, about,
            "the journals in it and in %s are of two steps (%lld, %lld): a run ended between the "
            "two writes; the later one counts, with the keys of both",
            sidecar_path, (long long)json_integer_value(json_object_get(inside, "sequence")),
            (long long)json_integer_value(json_object_get(beside, "sequence")));
    }
}

const char *transition_how_far(const struct transition *t)
{
    if (t->aborting)
        return "it is being taken back; both keys are kept until that is proved";
    if (t->stage == TRANSITION_NARROWING)
        return "everything is rewritten and proved, the old key is being dropped";
    if (t->rewritten)
        return "everything is rewritten, not yet proved; both keys are kept";
    return t->switched ? "new values are written in the new form; both keys are kept"
                       : "both keys are kept";
}

static void tell_transition(struct doctor *d, const struct transition *t)
{
    char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
    char *abort_it CLEANUP(cleanup_mem) = doctor_command(d, "abort");
    struct encrypt_finding *f = wrong(d, "transition", "%s is open, since %s, by %s: %s", t->why,
                                      t->opened, t->by, transition_how_far(t));
    char *keep_off CLEANUP(cleanup_mem) = session_keep_off(d->s);
    means(f, "every secret stays readable%s", keep_off);
    if (t->staged && !t->aborting && !t->reopened) {
        char *status CLEANUP(cleanup_mem) = doctor_command(d, "status");
        mend(f, "%s    # it is gone through in stages: which is next", status);
        mend(f, "%s    # or all that is left at once, with its restarts", resume);
    } else {
        mend(f, "%s    # go on", resume);
    }
    if (t->stage == TRANSITION_OPEN && !t->aborting)
        mend(f, "%s    # or go back", abort_it);
}

static void read_journal(struct doctor *d)
{
    struct session *s = d->s;
    struct error why CLEANUP(error_clear) = {0};
    char *sidecar CLEANUP(cleanup_mem) = file_beside(s->state_path, "encrypt-state");
    if (journal_read(s->state, s->state_path, &s->journal, &why) < 0) {
        struct encrypt_finding *f = wrong(d, about, "the journal can't be read: %s", why.message);
        means(f, "it says which change is open and has every key there ever was; no command acts "
                 "without it");
        if (why.next)
            mend(f, "%s", why.next);
        mend(f,
             "# of a newer version: use that version of encrypt. Damaged: put the file back from "
             "a backup, or, where the other copy is sound, move the damaged one away:");
        mend_move(d, f, sidecar, "damaged");
        return;
    }
    const struct journal *j = s->journal;
    if (!j)
        return;
    if (j->sequence > 0)
        saw(d, about, "%s: generation %lld, %zu keys in the history%s", s->state_path,
            (long long)j->generation, j->key_count,
            journal_is_open(j) ? "" : "; no change is open");
    else
        saw(d, about, "%s: encrypt has not changed this cluster yet", s->state_path);
}

void doctor_journal(struct doctor *d)
{
    const struct session *s = d->s;
    if (!s->journal)
        return;
    char *sidecar CLEANUP(cleanup_mem) = file_beside(s->state_path, "encrypt-state");
    compare_copies(d, sidecar);
    if (s->journal->transition)
        tell_transition(d, s->journal->transition);
}

void doctor_credentials(struct doctor *d)
{
    struct session *s = d->s;
    struct error why CLEANUP(error_clear) = {0};
    d->admin = s->admin.ca || credentials_find(d->o, s->state, &s->admin, &why) == 0;
    if (d->admin)
        return;
    mend(means(wrong(d, "credentials", "%s", why.message),
               "what needs the API was not looked at: readiness, the lock in the cluster, its copy "
               "of the state, who serves"),
         "# name a kubeconfig of an administrator with --kubeconfig");
}

void doctor_files(struct doctor *d)
{
    read_state(d);
    try_lock(d);
    /* Without a state file the journal beside it may still be there. */
    read_journal(d);
    /* Where none are found here, the nodes may have them; what is said of it is said after the
     * look. */
    struct error later CLEANUP(error_clear) = {0};
    if (credentials_find(d->o, d->s->state, &d->s->admin, &later) < 0)
        tell(d->s, ENCRYPT_DEBUG, NULL, NULL, "%s", later.message);
}
