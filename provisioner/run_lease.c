/* The lock in the cluster, as a run holds it. */
#include "provisioner/kube/lease.h"
#include "provisioner/run.h"
#include "provisioner/stamp.h"

#include <string.h>

int take_lease(struct session *s, struct error *err)
{
    const struct http_server *api = NULL;
    if (session_ready_api(s, &api, err) < 0 ||
        lease_take(api, s->lease_owner, s->who, s->options->take_over, err) < 0)
        return -1;
    s->lease_held = true;
    return 0;
}

int check_lease(struct session *s, struct error *err)
{
    const struct http_server *api = NULL;
    struct error e CLEANUP(error_clear) = {0};
    if (session_ready_api(s, &api, &e) == 0) {
        /* A run that began while no apiserver answered makes good what it left out then. */
        bool gone = false;
        if (!s->lease_held)
            return take_lease(s, err) < 0 || stamp_check(s, err) < 0 ? -1
                                                                     : preflight_addresses(s, err);
        if (lease_check(api, s->lease_owner, &gone, err) == 0)
            return 0;
        if (!gone)
            return -1;
        /* Removed by hand, or gone with a restored etcd; whoever held it meanwhile left a stamp. */
        error_clear(err);
        s->store_doubtful = true;
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             "the lock in the cluster was removed: taking it again");
        return take_lease(s, err) < 0 ? -1 : stamp_check(s, err);
    }
    if (e.result == RESULT_INTERRUPTED)
        return error_move(err, &e);
    /* Without an apiserver nobody else can take it either; this is how one comes up again. */
    tell(s, ENCRYPT_DEBUG, NULL, NULL, "the lock in the cluster can't be looked at: %s", e.message);
    return stamp_check(s, err);
}

void give_lease_back(struct session *s)
{
    const struct http_server *api = NULL;
    struct error e CLEANUP(error_clear) = {0};
    if (session_ready_api(s, &api, &e) < 0 || lease_release(api, s->lease_owner, &e) < 0)
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             "the lock in the cluster (Lease kube-system/encrypt) could not be given back: %s; the "
             "next run of yours takes it again",
             e.message);
    s->lease_held = false;
}

bool run_ended_before_telling(struct session *s)
{
    enum { TO_THE_SECOND = sizeof("2026-01-02T03:04:05") - 1 };
    const struct http_server *api = NULL;
    struct lease_seen seen CLEANUP(lease_seen_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    if (session_ready_api(s, &api, &e) < 0 || lease_look(api, &seen, &e) < 0 ||
        !str_eq(seen.owner, s->lease_owner) || !seen.since)
        return false;
    for (size_t i = 0; i < s->journal->key_count; i++) {
        const struct key_record *k = &s->journal->keys[i];
        if (k->activated && !k->retired && strncmp(k->activated, seen.since, TO_THE_SECOND) > 0)
            return true;
    }
    return false;
}
