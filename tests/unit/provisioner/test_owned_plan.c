/*
 * The planner for servers that own their configuration, held against a model of those servers:
 * every reachable moment of a rotation on one to three of them, with clients that write through
 * each apiserver at any time, commands and servers that die half-way, restarts by somebody else,
 * automatic reload, and their reencrypt that fails, or drops the key with work left undone.
 *
 * Promises: whatever may be stored can be read by every apiserver that runs, and by what each would
 * run after a restart; and from every moment, when nothing bad happens any more, the plan ends.
 */
#include "provisioner/owned/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 3, OLD = 1, NEW = 2 };

struct server {
    uint8_t disk, runs; /* enum owned_file */
    uint8_t stage;      /* what it says */
    uint8_t shown;      /* the file that it was shown to run; OTHER: none */
    uint8_t up;
};

/* Bytes alone, so that two can be compared. */
struct moment {
    struct server s[MOST];
    uint8_t saved, saved_stage; /* in the datastore: what a server gets when it starts */
    uint8_t stored;             /* forms that values may have */
    uint8_t at_work;            /* their reencrypt runs, on the leader */
    uint8_t proved, gone, stuck;
};

static size_t count; /* of servers */
static enum owned_way way;

static uint8_t writes(uint8_t file)
{
    return file <= OWNED_FILE_PREPARED ? OLD : NEW;
}

static uint8_t reads(uint8_t file)
{
    return file == OWNED_FILE_FROM ? OLD : file == OWNED_FILE_TO ? NEW : OLD | NEW;
}

static struct owned_step plan(const struct moment *m)
{
    struct owned_server servers[MOST] = {0};
    bool match = true;
    size_t leader = 0;
    for (size_t i = 0; i < count; i++) {
        match = match && m->s[i].stage == m->s[0].stage;
        servers[i].file = (enum owned_file)m->s[i].disk;
    }
    leader = owned_leader(servers, count);
    for (size_t i = 0; i < count; i++)
        servers[i] = (struct owned_server){.active = m->s[i].up,
                                           .up = m->s[i].up,
                                           .stage = (enum stage)m->s[i].stage,
                                           .hash_match = match,
                                           .file = (enum owned_file)m->s[i].disk,
                                           .same = m->s[i].disk == m->s[leader].disk,
                                           .shown = m->s[i].shown == m->s[i].disk};
    return owned_plan(servers, count,
                      (struct owned_facts){.change = OWNED_ROTATE_KEY,
                                           .way = way,
                                           .proved = m->proved,
                                           .gone = m->gone,
                                           .stuck = m->stuck});
}

/* Clients write through every apiserver all the time. */
static void clients(struct moment *m)
{
    for (size_t i = 0; i < count; i++)
        if (m->s[i].up)
            m->stored |= writes(m->s[i].runs);
}

static void check(const struct moment *m)
{
    for (size_t i = 0; i < count; i++) {
        if (m->s[i].up && (m->stored & ~reads(m->s[i].runs)))
            fail_msg("server %zu runs %d and can't read what is stored (%d)", i, m->s[i].runs,
                     m->stored);
        if (m->stored & ~reads(m->saved))
            fail_msg("a server that restarts would run %d and could not read what is stored (%d)",
                     m->saved, m->stored);
    }
}

/* It takes up what the datastore has. */
static void restart(struct moment *m, size_t i, size_t leader)
{
    struct server *s = &m->s[i];
    s->disk = s->runs = m->saved;
    s->stage = m->saved_stage;
    s->shown = OWNED_FILE_OTHER;
    s->up = true;
    if (i == leader)
        m->at_work = false;
}

enum half { WHOLE, NOT_SAVED };

static void command(struct moment *m, size_t i, const char *name, enum half half)
{
    struct server *s = &m->s[i];
    if (strcmp(name, "prepare") == 0) {
        s->disk = OWNED_FILE_PREPARED;
        s->stage = STAGE_PREPARE;
    } else if (strcmp(name, "rotate") == 0) {
        s->disk = OWNED_FILE_ROTATED;
        s->stage = STAGE_ROTATE;
    } else {
        /* (Versions before k3s#13763 was mended save it at the end alone, and a server that is
         * restarted meanwhile loses the fresh key. Nobody who drives the command can help it.) */
        if (strcmp(name, "rotate-keys") == 0)
            s->disk = m->saved = OWNED_FILE_ROTATED;
        else
            assert_true(m->proved); /* before the old key can go */
        s->stage = STAGE_REENCRYPT_ACTIVE;
        m->at_work = true;
        return;
    }
    if (half == NOT_SAVED) {
        s->stage = m->saved_stage;
        return;
    }
    m->saved = s->disk;
    m->saved_stage = s->stage;
}

/* Their reencrypt ends: every secret was rewritten through the leader, or not, and the old key is
 * dropped all the same. */
static void reencrypted(struct moment *m, size_t leader)
{
    struct server *s = &m->s[leader];
    /* rotate-keys waits until its own apiserver has loaded the file, and so has rewritten by it:
     * what it left undone can't be helped by anybody there, and is not explored. */
    if (way == OWNED_AT_ONCE) {
        s->runs = OWNED_FILE_ROTATED;
        m->stored = NEW;
    }
    s->disk = m->saved = OWNED_FILE_TO;
    s->stage = m->saved_stage = STAGE_REENCRYPT_FINISHED;
    m->at_work = false;
}

/* --- all moments --- */

enum { ROOM = 1 << 20 };
static struct moment *all;
static size_t found, done;
static uint32_t *table;

static void add(const struct moment *m)
{
    uint64_t hash = 1469598103934665603u;
    const unsigned char *bytes = (const unsigned char *)m;
    for (size_t i = 0; i < sizeof(*m); i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    size_t at = (size_t)(hash % ((size_t)ROOM * 2));
    while (table[at]) {
        if (memcmp(&all[table[at] - 1], m, sizeof(*m)) == 0)
            return;
        at = (at + 1) % ((size_t)ROOM * 2);
    }
    if (found == ROOM)
        fail_msg("more moments than there is room for");
    all[found++] = *m;
    table[at] = (uint32_t)found;
}

/* A moment comes to be: clients write, and all must be well. */
static void reach(struct moment m)
{
    clients(&m);
    check(&m);
    add(&m);
}

/* What the plan asks for, done whole. False where it ends there. */
static bool act(struct moment *m, struct owned_step step)
{
    size_t leader = 0;
    for (size_t i = 1; i < count; i++)
        leader = m->s[i].disk > m->s[leader].disk ? i : leader;
    switch (step.act) {
    case OWNED_RESTART:
        /* It would end their rewriting, and may take the fresh key from the server. */
        if (way == OWNED_AT_ONCE) {
            assert_false(m->at_work);
            assert_int_equal(m->s[step.server].disk, OWNED_FILE_TO);
        }
        restart(m, step.server, leader);
        m->s[step.server].shown = m->s[step.server].disk;
        m->stuck = false;
        return true;
    case OWNED_LISTEN:
        fail_msg("in this model each server that is up answers");
        return false;
    case OWNED_START:
        restart(m, step.server, leader);
        m->s[step.server].shown = m->s[step.server].disk;
        m->stuck = false;
        return true;
    case OWNED_COMMAND:
        assert_int_equal(step.server, leader);
        command(m, step.server, step.command, WHOLE);
        return true;
    case OWNED_PROVE:
        /* rotate-keys half-way: it would all lie under a key that may be saved nowhere. */
        assert_int_equal(way, OWNED_IN_STAGES);
        /* Every apiserver is patched through, and what etcd holds is looked at. */
        for (size_t i = 0; i < count; i++)
            assert_int_equal(writes(m->s[i].runs), NEW);
        m->stored = NEW;
        m->proved = true;
        return true;
    case OWNED_COUNT:
        assert_int_equal(m->stored, NEW);
        m->gone = true;
        return true;
    case OWNED_WAIT:
        if (m->at_work)
            reencrypted(m, leader);
        else
            m->stuck = true;
        return true;
    case OWNED_DONE:
    case OWNED_REFUSE:
        return false;
    }
    return false;
}

static void bad_things(const struct moment *from)
{
    struct moment m;
    size_t leader = 0;
    struct owned_step step = plan(from);
    for (size_t i = 1; i < count; i++)
        leader = from->s[i].disk > from->s[leader].disk ? i : leader;
    for (size_t i = 0; i < count; i++) {
        /* Somebody restarts it, or it dies. */
        m = *from;
        restart(&m, i, leader);
        reach(m);
        m = *from;
        m.s[i].up = false;
        m.s[i].shown = OWNED_FILE_OTHER;
        if (i == leader)
            m.at_work = false;
        reach(m);
        /* Automatic reload. */
        m = *from;
        m.s[i].runs = m.s[i].disk;
        if (m.s[i].up)
            reach(m);
    }
    if (from->at_work) {
        m = *from;
        reencrypted(&m, leader);
        reach(m);
        m = *from;
        m.at_work = false; /* it fails, and its stage stays */
        reach(m);
        if (way == OWNED_AT_ONCE) {
            /* The old key is dropped, and then it fails: before that is saved. */
            m = *from;
            reencrypted(&m, leader);
            m.saved = from->saved;
            m.saved_stage = from->saved_stage;
            m.s[leader].stage = STAGE_REENCRYPT_ACTIVE;
            reach(m);
        }
    }
    if (step.act == OWNED_COMMAND) {
        m = *from;
        command(&m, step.server, step.command, NOT_SAVED);
        reach(m);
    }
}

static void ends(struct moment m)
{
    struct owned_step step = {0};
    for (int i = 0; i < 60; i++) {
        step = plan(&m);
        if (!act(&m, step))
            break;
        clients(&m);
        check(&m);
    }
    /* rotate-keys that was interrupted is where their commands have no way on: both keys stay, or
     * it was found that nothing needs the one that has gone. */
    if (way == OWNED_AT_ONCE && step.act == OWNED_REFUSE &&
        (m.s[0].disk == OWNED_FILE_ROTATED ||
         (m.s[0].stage == STAGE_REENCRYPT_ACTIVE && m.stuck && m.gone)))
        return;
    if (step.act != OWNED_DONE)
        fail_msg("the plan does not end: %d, %s", step.act, step.why ? step.why : "");
    assert_int_equal(m.stored, NEW);
    assert_true(m.gone);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(m.s[i].runs, OWNED_FILE_TO);
        assert_int_equal(m.s[i].disk, OWNED_FILE_TO);
    }
}

static void explore(size_t servers, enum owned_way how)
{
    struct moment first = {.saved = OWNED_FILE_FROM, .saved_stage = STAGE_START, .stored = OLD};
    count = servers;
    way = how;
    all = calloc(ROOM, sizeof(*all));
    table = calloc((size_t)ROOM * 2, sizeof(*table));
    assert_non_null(all);
    assert_non_null(table);
    found = done = 0;
    for (size_t i = 0; i < count; i++)
        first.s[i] = (struct server){.disk = OWNED_FILE_FROM,
                                     .runs = OWNED_FILE_FROM,
                                     .shown = OWNED_FILE_OTHER,
                                     .up = true};
    reach(first);
    for (; done < found; done++) {
        struct moment m = all[done];
        ends(m);
        bad_things(&all[done]);
        if (act(&m, plan(&m)))
            reach(m);
    }
    print_message("%zu server(s): %zu moments\n", servers, found);
    assert_true(found > 20);
    free(all);
    free(table);
}

static void one_server(void **state)
{
    (void)state;
    explore(1, OWNED_IN_STAGES);
}

static void two_servers(void **state)
{
    (void)state;
    explore(2, OWNED_IN_STAGES);
}

static void three_servers(void **state)
{
    (void)state;
    explore(3, OWNED_IN_STAGES);
}

static void one_server_at_once(void **state)
{
    (void)state;
    explore(1, OWNED_AT_ONCE);
}

/* --- single moments --- */

static struct owned_server at(enum stage stage, enum owned_file file)
{
    return (struct owned_server){.active = true,
                                 .up = true,
                                 .stage = stage,
                                 .hash_match = true,
                                 .file = file,
                                 .same = true,
                                 .shown = true};
}

static void refuses(const struct owned_server *s, size_t n, struct owned_facts f, const char *why)
{
    struct owned_step step = owned_plan(s, n, f);
    assert_int_equal(step.act, OWNED_REFUSE);
    assert_non_null(strstr(step.why, why));
}

static void what_fits_nothing_is_refused(void **state)
{
    (void)state;
    struct owned_facts f = {.change = OWNED_ROTATE_KEY};
    struct owned_server s[2] = {at(STAGE_START, OWNED_FILE_FROM), at(STAGE_START, OWNED_FILE_FROM)};
    s[0].hash_match = s[1].hash_match = false;
    refuses(s, 2, f, "hashes");
    s[0] = s[1] = at(STAGE_PREPARE, OWNED_FILE_FROM);
    refuses(s, 2, f, "something else");
    s[1] = s[0] = at(STAGE_START, OWNED_FILE_FROM);
    s[1].same = false;
    refuses(s, 2, f, "not that of the others");
    s[1] = at(STAGE_START, OWNED_FILE_OTHER);
    refuses(s, 2, f, "none of this change");
    s[0] = s[1] = at(STAGE_START, OWNED_FILE_PREPARED);
    refuses(s, 2, f, "does not say `prepare`");
}

/* rotate-keys that somebody gave on one of several servers: a count says nothing while another
 * writes with what was dropped. */
static void no_count_while_the_dropped_key_is_written_with(void **state)
{
    (void)state;
    struct owned_facts f = {.change = OWNED_ROTATE_KEY};
    struct owned_server s[2] = {at(STAGE_REENCRYPT_FINISHED, OWNED_FILE_TO),
                                at(STAGE_START, OWNED_FILE_FROM)};
    s[1].same = false;
    refuses(s, 2, f, "still writes with the key");
    s[1] = at(STAGE_PREPARE, OWNED_FILE_PREPARED);
    s[1].same = false;
    refuses(s, 2, f, "still writes with the key");
    s[1] = at(STAGE_ROTATE, OWNED_FILE_ROTATED);
    s[1].same = false;
    assert_int_equal(owned_plan(s, 2, f).act, OWNED_COUNT);
}

/* The process that can still read what is left under the old key is not ended before the count. */
static void what_is_stuck_is_counted_before_it_is_restarted(void **state)
{
    (void)state;
    struct owned_facts f = {.change = OWNED_ROTATE_KEY, .stuck = true};
    struct owned_server s[1] = {at(STAGE_REENCRYPT_ACTIVE, OWNED_FILE_TO)};
    assert_int_equal(owned_plan(s, 1, f).act, OWNED_COUNT);
    f.gone = true;
    assert_int_equal(owned_plan(s, 1, f).act, OWNED_RESTART);
}

static void the_leader_restarts_first(void **state)
{
    (void)state;
    struct owned_facts f = {.change = OWNED_ROTATE_KEY};
    struct owned_server s[3] = {at(STAGE_START, OWNED_FILE_FROM),
                                at(STAGE_PREPARE, OWNED_FILE_PREPARED),
                                at(STAGE_START, OWNED_FILE_FROM)};
    s[0].same = s[2].same = s[1].shown = false;
    assert_int_equal(owned_leader(s, 3), 1);
    struct owned_step step = owned_plan(s, 3, f);
    assert_int_equal(step.act, OWNED_RESTART);
    assert_int_equal(step.server, 1);
    s[1].shown = true;
    assert_int_equal(owned_plan(s, 3, f).server, 0);
    s[2].active = s[2].up = false;
    step = owned_plan(s, 3, f);
    assert_int_equal(step.act, OWNED_START);
    assert_int_equal(step.server, 2);
}

/* Its status command is silent, or its file can't be read: a restart could end what it is at, or
 * put another file in the place of that one. One that is down is started before: others may be
 * silent because of it. */
static void an_active_server_that_is_silent_is_never_restarted(void **state)
{
    (void)state;
    for (int file = OWNED_FILE_FROM; file <= OWNED_FILE_OTHER; file++)
        for (int way_ = OWNED_IN_STAGES; way_ <= OWNED_AT_ONCE; way_++) {
            struct owned_facts f = {.change = OWNED_ROTATE_KEY, .way = (enum owned_way)way_};
            struct owned_server s[2] = {at(STAGE_START, (enum owned_file)file),
                                        at(STAGE_START, OWNED_FILE_FROM)};
            s[0].up = s[0].shown = s[0].same = false;
            struct owned_step step = owned_plan(s, 2, f);
            assert_int_equal(step.act, OWNED_LISTEN);
            assert_int_equal(step.server, 0);
            s[1].active = s[1].up = false;
            step = owned_plan(s, 2, f);
            assert_int_equal(step.act, OWNED_START);
            assert_int_equal(step.server, 1);
        }
}

/* A restart ends their rewriting, and takes the fresh key from a server that has not saved it. */
static void rotate_keys_half_way_is_never_restarted(void **state)
{
    (void)state;
    struct owned_facts f = {.change = OWNED_ROTATE_KEY, .way = OWNED_AT_ONCE};
    for (int file = OWNED_FILE_PREPARED; file <= OWNED_FILE_TO; file++)
        for (int shown = 0; shown <= 1; shown++) {
            struct owned_server s[1] = {at(STAGE_REENCRYPT_ACTIVE, (enum owned_file)file)};
            s[0].shown = shown;
            f.stuck = f.proved = false;
            assert_int_equal(owned_plan(s, 1, f).act, OWNED_WAIT);
            f.stuck = true;
            if (file == OWNED_FILE_TO)
                continue;
            refuses(s, 1, f, "half-way");
            f.stuck = false;
            s[0].stage = STAGE_START;
            refuses(s, 1, f, "half-way");
        }
}

/* The key has gone from the file, and the stage stays: whether something needs it is told all the
 * same, and nothing is restarted before the server says that it has ended. */
static void what_rotate_keys_dropped_is_counted_though_it_is_stuck(void **state)
{
    (void)state;
    struct owned_facts f = {.change = OWNED_ROTATE_KEY, .way = OWNED_AT_ONCE, .stuck = true};
    struct owned_server s[1] = {at(STAGE_REENCRYPT_ACTIVE, OWNED_FILE_TO)};
    for (int shown = 0; shown <= 1; shown++) {
        s[0].shown = shown;
        f.gone = false;
        assert_int_equal(owned_plan(s, 1, f).act, OWNED_COUNT);
        f.gone = true;
        refuses(s, 1, f, "did not end");
    }
    /* The operator has saved it by another command of theirs, which keeps the stage from before. */
    s[0].stage = STAGE_START;
    s[0].shown = false;
    assert_int_equal(owned_plan(s, 1, f).act, OWNED_RESTART);
    s[0].shown = true;
    assert_int_equal(owned_plan(s, 1, f).act, OWNED_DONE);
    f.way = OWNED_IN_STAGES;
    refuses(s, 1, f, "don't say so");
}

static void enabling_and_disabling(void **state)
{
    (void)state;
    for (int change = OWNED_ENABLE; change <= OWNED_DISABLE; change++) {
        struct owned_facts f = {.change = (enum owned_change)change};
        struct owned_server s[2] = {at(STAGE_REENCRYPT_FINISHED, OWNED_FILE_FROM),
                                    at(STAGE_REENCRYPT_FINISHED, OWNED_FILE_FROM)};
        struct owned_step step = owned_plan(s, 2, f);
        assert_int_equal(step.act, OWNED_COMMAND);
        assert_string_equal(step.command, change == OWNED_ENABLE ? "enable" : "disable");
        s[0].file = OWNED_FILE_TO;
        s[1].same = s[0].shown = false;
        s[0].stage = STAGE_REENCRYPT_ACTIVE;
        assert_int_equal(owned_plan(s, 2, f).act, OWNED_WAIT);
        s[0].stage = STAGE_REENCRYPT_FINISHED;
        step = owned_plan(s, 2, f);
        assert_int_equal(step.act, OWNED_RESTART);
        assert_int_equal(step.server, 0);
        s[0].shown = true;
        step = owned_plan(s, 2, f);
        assert_int_equal(step.act, OWNED_RESTART);
        assert_int_equal(step.server, 1);
        s[1] = s[0];
        assert_int_equal(owned_plan(s, 2, f).act, OWNED_PROVE);
        f.proved = true;
        assert_int_equal(owned_plan(s, 2, f).act, OWNED_DONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_server),
        cmocka_unit_test(two_servers),
        cmocka_unit_test(three_servers),
        cmocka_unit_test(one_server_at_once),
        cmocka_unit_test(the_leader_restarts_first),
        cmocka_unit_test(what_fits_nothing_is_refused),
        cmocka_unit_test(no_count_while_the_dropped_key_is_written_with),
        cmocka_unit_test(what_is_stuck_is_counted_before_it_is_restarted),
        cmocka_unit_test(an_active_server_that_is_silent_is_never_restarted),
        cmocka_unit_test(rotate_keys_half_way_is_never_restarted),
        cmocka_unit_test(what_rotate_keys_dropped_is_counted_though_it_is_stuck),
        cmocka_unit_test(enabling_and_disabling),
    };
    return cmocka_run_group_tests_name("owned_plan", tests, NULL, NULL);
}
