#include "provisioner/owned/plan.h"

size_t owned_leader(const struct owned_server *servers, size_t count)
{
    size_t leader = 0;
    for (size_t i = 1; i < count; i++)
        if (servers[i].file != OWNED_FILE_OTHER &&
            (servers[leader].file == OWNED_FILE_OTHER || servers[i].file > servers[leader].file))
            leader = i;
    return leader;
}

static struct owned_step refuse(size_t server, const char *why)
{
    return (struct owned_step){.act = OWNED_REFUSE, .server = server, .why = why};
}

static struct owned_step on(enum owned_act act, size_t server, const char *command)
{
    return (struct owned_step){.act = act, .server = server, .command = command};
}

static bool is_at_rest(enum stage s)
{
    return s == STAGE_START || s == STAGE_REENCRYPT_FINISHED;
}

static bool is_at_work(enum stage s)
{
    return s == STAGE_REENCRYPT_REQUEST || s == STAGE_REENCRYPT_ACTIVE;
}

/* The first that does not run the leader's file, the leader before all others; `count`: none. */
static size_t to_restart(const struct owned_server *s, size_t count, size_t leader)
{
    if (!s[leader].shown)
        return leader;
    for (size_t i = 0; i < count; i++)
        if (!s[i].same || !s[i].shown)
            return i;
    return count;
}

/* Every server says so, and that all hashes match. Gives the first that doesn't. */
static size_t not_at(const struct owned_server *s, size_t count, enum stage one, enum stage other)
{
    for (size_t i = 0; i < count; i++)
        if ((s[i].stage != one && s[i].stage != other) || !s[i].hash_match)
            return i;
    return count;
}

static struct owned_step command_at_rest(const struct owned_server *s, size_t count,
                                         const char *command)
{
    for (size_t i = 0; i < count; i++)
        if (!s[i].same)
            return refuse(i, "its configuration is not that of the others");
    size_t i = not_at(s, count, STAGE_START, STAGE_REENCRYPT_FINISHED);
    if (i == count)
        return on(OWNED_COMMAND, owned_leader(s, count), command);
    return refuse(i, is_at_rest(s[i].stage) ? "the servers' hashes don't match"
                                            : "it is in the middle of something else");
}

static struct owned_step at_from(const struct owned_server *s, size_t count, struct owned_facts f)
{
    const char *command = f.change == OWNED_ENABLE    ? "enable"
                          : f.change == OWNED_DISABLE ? "disable"
                          : f.way == OWNED_AT_ONCE    ? "rotate-keys"
                                                      : "prepare";
    return command_at_rest(s, count, command);
}

static struct owned_step at_prepared(const struct owned_server *s, size_t count, size_t leader)
{
    size_t i = to_restart(s, count, leader);
    if (i < count)
        return on(OWNED_RESTART, i, NULL);
    i = not_at(s, count, STAGE_PREPARE, STAGE_PREPARE);
    if (i < count)
        return refuse(i, "it has the fresh key, and does not say `prepare`");
    return on(OWNED_COMMAND, leader, "rotate");
}

/* rotate-keys does it all by itself, on one server. A restart would end its rewriting, and in
 * versions that save the fresh key at the end alone (k3s#13763) it would take that from the server:
 * never one. Where it was interrupted both keys are there, and the operator is told how to go on.
 * Nothing is rewritten then: it would all lie under a key that nothing is known to have saved. */
static struct owned_step half_way(const struct owned_server *s, size_t count, size_t leader,
                                  struct owned_facts f)
{
    if (is_at_work(s[leader].stage) && !f.stuck)
        return on(OWNED_WAIT, leader, NULL);
    for (size_t i = 0; i < count; i++)
        if (!s[i].same)
            return refuse(i, "rotate-keys was given on one of several servers, and ended half-way");
    return refuse(leader, "rotate-keys ended half-way");
}

static struct owned_step at_rotated(const struct owned_server *s, size_t count, size_t leader,
                                    struct owned_facts f)
{
    if (is_at_work(s[leader].stage))
        return on(f.stuck ? OWNED_RESTART : OWNED_WAIT, leader, NULL);
    size_t i = to_restart(s, count, leader);
    if (i < count)
        return on(OWNED_RESTART, i, NULL);
    if (!f.proved)
        return on(OWNED_PROVE, leader, NULL);
    i = not_at(s, count, STAGE_ROTATE, STAGE_ROTATE);
    if (i < count)
        return refuse(i, "it writes with the fresh key, and does not say `rotate`");
    return on(OWNED_COMMAND, leader, "reencrypt");
}

static struct owned_step at_to(const struct owned_server *s, size_t count, size_t leader,
                               struct owned_facts f)
{
    /* Its file has the fresh key alone, its process may still read the old one: what is left under
     * that is counted before anything is restarted. */
    bool counts = f.change == OWNED_ROTATE_KEY && !f.gone;
    if (f.way == OWNED_AT_ONCE && is_at_work(s[leader].stage) && !(counts && f.stuck))
        return f.stuck ? refuse(leader, "rotate-keys dropped the old key, and did not end")
                       : on(OWNED_WAIT, leader, NULL);
    if (is_at_work(s[leader].stage) && !(counts && f.stuck))
        return on(f.stuck ? OWNED_RESTART : OWNED_WAIT, leader, NULL);
    /* One that still writes with the old key would do so after any count. */
    for (size_t i = 0; counts && i < count; i++)
        if (s[i].file == OWNED_FILE_FROM || s[i].file == OWNED_FILE_PREPARED)
            return refuse(i, "it still writes with the key that another server has dropped");
    if (counts)
        return on(OWNED_COUNT, leader, NULL);
    size_t i = to_restart(s, count, leader);
    if (i < count)
        return on(OWNED_RESTART, i, NULL);
    if (f.change != OWNED_ROTATE_KEY && !f.proved)
        return on(OWNED_PROVE, leader, NULL);
    /* (rotate-keys that did not end keeps the stage from before.) */
    i = not_at(s, count,
               f.change == OWNED_ROTATE_KEY && f.way == OWNED_IN_STAGES ? STAGE_REENCRYPT_FINISHED
                                                                        : STAGE_START,
               STAGE_REENCRYPT_FINISHED);
    if (i < count)
        return refuse(i, "it runs the last file, and its stage or the hashes don't say so");
    return on(OWNED_DONE, leader, NULL);
}

struct owned_step owned_plan(const struct owned_server *servers, size_t count,
                             struct owned_facts facts)
{
    size_t leader = owned_leader(servers, count);
    struct owned_step step = {0};
    enum owned_file at = servers[leader].file;
    for (size_t i = 0; i < count; i++)
        if (!servers[i].active)
            return (struct owned_step){.act = OWNED_START, .server = i, .at = at};
    for (size_t i = 0; i < count; i++)
        if (!servers[i].up)
            return (struct owned_step){.act = OWNED_LISTEN, .server = i, .at = at};
    for (size_t i = 0; i < count; i++)
        if (servers[i].file == OWNED_FILE_OTHER)
            return refuse(i, "its configuration is none of this change");
    switch (at) {
    case OWNED_FILE_FROM:
        step = at_from(servers, count, facts);
        break;
    case OWNED_FILE_PREPARED:
        step = facts.way == OWNED_AT_ONCE ? half_way(servers, count, leader, facts)
                                          : at_prepared(servers, count, leader);
        break;
    case OWNED_FILE_ROTATED:
        step = facts.way == OWNED_AT_ONCE ? half_way(servers, count, leader, facts)
                                          : at_rotated(servers, count, leader, facts);
        break;
    case OWNED_FILE_TO:
        step = at_to(servers, count, leader, facts);
        break;
    case OWNED_FILE_OTHER:
        step = refuse(leader, "its configuration is none of this change");
        break;
    }
    step.at = at;
    return step;
}
