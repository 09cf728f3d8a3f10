/* The stages: where each moment of a rotation is, and what each command may do there. */
#include "provisioner/stage.h"

#include "tests/unit/provisioner/forms.h"

enum { MOST = 3 };

/* A moment: what lies on each node, what it runs (0: its apiserver is down), what the journal says;
 * and what is to be said of it. */
struct moment {
    const char *name;
    form_set file[MOST], runs[MOST];
    bool requested, narrowing;
    enum stage stage;
    bool complete;
    uint64_t waiting;
    const char *answers; /* of prepare, rotate, reencrypt, restart: go, early, -- (wrong), no */
    const char *next;
    const char *nodes; /* the stage of each: start, prepare, rotate, request, finished, ? */
};

/* clang-format off */
static const struct moment three[] = {
    {"opened, nothing done",         {F,F,F}, {F,F,F}, 0,0, STAGE_PREPARE, 0, 0, "go -- -- no", "prepare", "start start start"},
    {"a file, no restart",           {W,F,F}, {F,F,F}, 0,0, STAGE_PREPARE, 0, 1, "go early -- go", "restart", "start start start"},
    {"the first prepared",           {W,F,F}, {W,F,F}, 0,0, STAGE_PREPARE, 0, 0, "go -- -- no", "prepare", "prepare start start"},
    {"prepare --no-restart",         {W,W,W}, {F,F,F}, 0,0, STAGE_PREPARE, 0, 7, "go early -- go", "restart", "start start start"},
    {"… one restarted by hand",      {W,W,W}, {W,F,F}, 0,0, STAGE_PREPARE, 0, 6, "go early -- go", "restart", "prepare start start"},
    {"… two, the last down",         {W,W,W}, {W,W,0}, 0,0, STAGE_PREPARE, 0, 4, "go early -- go", "restart", "prepare prepare ?"},
    {"prepared",                     {W,W,W}, {W,W,W}, 0,0, STAGE_PREPARE, 1, 0, "-- go -- no", "rotate", "prepare prepare prepare"},
    {"the switch file on one",       {S,W,W}, {W,W,W}, 0,0, STAGE_ROTATE, 0, 1, "-- go early go", "restart", "prepare prepare prepare"},
    {"the first switched",           {S,W,W}, {S,W,W}, 0,0, STAGE_ROTATE, 0, 0, "-- go -- no", "rotate", "rotate prepare prepare"},
    {"rotate --no-restart",          {S,S,S}, {W,W,W}, 0,0, STAGE_ROTATE, 0, 7, "-- go early go", "restart", "prepare prepare prepare"},
    {"… one restarted by hand",      {S,S,S}, {S,W,W}, 0,0, STAGE_ROTATE, 0, 6, "-- go early go", "restart", "rotate prepare prepare"},
    {"… two, the last down",         {S,S,S}, {S,S,0}, 0,0, STAGE_ROTATE, 0, 4, "-- go early go", "restart", "rotate rotate ?"},
    {"rotated",                      {S,S,S}, {S,S,S}, 0,0, STAGE_ROTATE, 1, 0, "-- -- go no", "reencrypt", "rotate rotate rotate"},
    {"reencrypt stopped",            {S,S,S}, {S,S,S}, 1,0, STAGE_REENCRYPT_REQUEST, 1, 0, "-- -- go no", "reencrypt", "request request request"},
    {"proved",                       {S,S,S}, {S,S,S}, 1,1, STAGE_REENCRYPT_FINISHED, 0, 0, "-- -- go no", "reencrypt", "rotate rotate rotate"},
    {"the narrow file on one",       {T,S,S}, {S,S,S}, 1,1, STAGE_REENCRYPT_FINISHED, 0, 1, "early -- go go", "restart", "rotate rotate rotate"},
    {"the first narrowed",           {T,S,S}, {T,S,S}, 1,1, STAGE_REENCRYPT_FINISHED, 0, 0, "-- -- go no", "reencrypt", "finished rotate rotate"},
    {"reencrypt --no-restart",       {T,T,T}, {S,S,S}, 1,1, STAGE_REENCRYPT_FINISHED, 0, 7, "early -- go go", "restart", "rotate rotate rotate"},
    {"… one restarted by hand",      {T,T,T}, {T,S,S}, 1,1, STAGE_REENCRYPT_FINISHED, 0, 6, "early -- go go", "restart", "finished rotate rotate"},
    {"… two, the last down",         {T,T,T}, {T,T,0}, 1,1, STAGE_REENCRYPT_FINISHED, 0, 4, "early -- go go", "restart", "finished finished ?"},
    {"all narrowed, not closed",     {T,T,T}, {T,T,T}, 1,1, STAGE_REENCRYPT_FINISHED, 1, 0, "go -- go go", "prepare", "finished finished finished"},
};
static const struct moment one[] = {
    {"opened, nothing done",         {F}, {F}, 0,0, STAGE_PREPARE, 0, 0, "go -- -- no", "prepare", "start"},
    {"prepare --no-restart",         {W}, {F}, 0,0, STAGE_PREPARE, 0, 1, "go early -- go", "restart", "start"},
    {"… and it is down",             {W}, {0}, 0,0, STAGE_PREPARE, 0, 1, "go early -- go", "restart", "?"},
    {"prepared",                     {W}, {W}, 0,0, STAGE_PREPARE, 1, 0, "-- go -- no", "rotate", "prepare"},
    {"rotate --no-restart",          {S}, {W}, 0,0, STAGE_ROTATE, 0, 1, "-- go early go", "restart", "prepare"},
    {"rotated",                      {S}, {S}, 0,0, STAGE_ROTATE, 1, 0, "-- -- go no", "reencrypt", "rotate"},
    {"reencrypt stopped",            {S}, {S}, 1,0, STAGE_REENCRYPT_REQUEST, 1, 0, "-- -- go no", "reencrypt", "request"},
    {"proved",                       {S}, {S}, 1,1, STAGE_REENCRYPT_FINISHED, 0, 0, "-- -- go no", "reencrypt", "rotate"},
    {"reencrypt --no-restart",       {T}, {S}, 1,1, STAGE_REENCRYPT_FINISHED, 0, 1, "early -- go go", "restart", "rotate"},
    {"narrowed, not closed",         {T}, {T}, 1,1, STAGE_REENCRYPT_FINISHED, 1, 0, "go -- go go", "prepare", "finished"},
};
/* clang-format on */

static void add(struct buf *b, const char *word)
{
    buf_printf(b, "%s%s", b->len ? " " : "", word);
}

static const char *answer_word(enum stage_answer a)
{
    static const char *const words[] = {"go", "early", "--", "no"};
    return words[a];
}

static void check(const struct moment *m, size_t count)
{
    struct forms forms = make(managed('a'), managed('b'));
    struct plan_node nodes[MOST];
    struct buf answers CLEANUP(buf_free) = {0};
    struct buf each CLEANUP(buf_free) = {0};
    bool wrote = m->requested || m->narrowing;
    for (size_t i = 0; i < count; i++) {
        nodes[i] = (struct plan_node){m->file[i], true, m->runs[i]};
        wrote = wrote || (m->file[i] & S);
    }
    struct plan_facts facts = {.staged = true,
                               .switched = wrote,
                               .narrowing = m->narrowing,
                               .rewritten = m->narrowing,
                               .proved = m->narrowing};
    struct stage_at at = stage_of(&forms, nodes, count, facts, m->requested);
    if (at.stage != m->stage || at.complete != m->complete || at.waiting != m->waiting)
        fail_msg("%s (%zu): %s, complete %d, waiting %llx", m->name, count, stage_name(at.stage),
                 at.complete, (unsigned long long)at.waiting);
    assert_false(at.refused);
    /* Whose restarts they are is nothing to the stage. */
    facts.by_hand = true;
    struct stage_at by_hand = stage_of(&forms, nodes, count, facts, m->requested);
    assert_int_equal(by_hand.stage, at.stage);
    assert_int_equal(by_hand.complete, at.complete);
    static const enum stage_command commands[] = {STAGE_COMMAND_PREPARE, STAGE_COMMAND_ROTATE,
                                                  STAGE_COMMAND_REENCRYPT, STAGE_COMMAND_RESTART};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        add(&answers, answer_word(stage_allows(commands[i], &at)));
    if (!str_eq(buf_str(&answers), m->answers))
        fail_msg("%s (%zu): %s, not %s", m->name, count, buf_str(&answers), m->answers);
    assert_int_equal(stage_allows(STAGE_COMMAND_NONE, &at), STAGE_GO);
    if (!str_eq(stage_command_name(stage_next(&at)), m->next))
        fail_msg("%s (%zu): next %s, not %s", m->name, count, stage_command_name(stage_next(&at)),
                 m->next);
    for (size_t i = 0; i < count; i++) {
        enum stage s = STAGE_START;
        bool known = stage_of_node(nodes[i].runs, at.stage, &s);
        add(&each, !known                          ? "?"
                   : s == STAGE_REENCRYPT_REQUEST  ? "request"
                   : s == STAGE_REENCRYPT_FINISHED ? "finished"
                                                   : stage_name(s));
    }
    if (!str_eq(buf_str(&each), m->nodes))
        fail_msg("%s (%zu): %s, not %s", m->name, count, buf_str(&each), m->nodes);
    forms_free(&forms);
}

static void every_command_at_every_moment_on_three_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(three); i++)
        check(&three[i], 3);
}

static void every_command_at_every_moment_on_one_node(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(one); i++)
        check(&one[i], 1);
}

static void where_nothing_is_open_only_prepare_goes(void **state)
{
    (void)state;
    assert_int_equal(stage_allows(STAGE_COMMAND_NONE, NULL), STAGE_GO);
    assert_int_equal(stage_allows(STAGE_COMMAND_PREPARE, NULL), STAGE_GO);
    assert_int_equal(stage_allows(STAGE_COMMAND_ROTATE, NULL), STAGE_WRONG);
    assert_int_equal(stage_allows(STAGE_COMMAND_REENCRYPT, NULL), STAGE_WRONG);
    assert_int_equal(stage_allows(STAGE_COMMAND_RESTART, NULL), STAGE_NOTHING);
    assert_int_equal(stage_next(NULL), STAGE_COMMAND_PREPARE);
}

/* The command that is said to be next is one that may go: nobody is sent from door to door. */
static void the_next_command_is_always_allowed(void **state)
{
    (void)state;
    for (int stage = STAGE_START; stage <= STAGE_REENCRYPT_FINISHED; stage++) {
        for (uint64_t waiting = 0; waiting < 2; waiting++) {
            for (int complete = 0; complete < 2; complete++) {
                struct stage_at at = {
                    .stage = (enum stage)stage, .complete = complete, .waiting = waiting};
                /* Not to be had: complete is that nobody is waited for; an open one has begun. */
                if ((complete && waiting) || stage == STAGE_START)
                    continue;
                if (stage_allows(stage_next(&at), &at) != STAGE_GO)
                    fail_msg("%s complete %d waiting %d: %s", stage_name((enum stage)stage),
                             complete, (int)waiting, stage_command_name(stage_next(&at)));
            }
        }
    }
}

static void while_somebody_rewrites_reencrypt_alone_may_go_on(void **state)
{
    (void)state;
    const struct stage_at at = {.stage = STAGE_REENCRYPT_ACTIVE, .complete = true};
    assert_int_equal(stage_allows(STAGE_COMMAND_PREPARE, &at), STAGE_WRONG);
    assert_int_equal(stage_allows(STAGE_COMMAND_ROTATE, &at), STAGE_WRONG);
    assert_int_equal(stage_allows(STAGE_COMMAND_REENCRYPT, &at), STAGE_GO);
    assert_int_equal(stage_allows(STAGE_COMMAND_RESTART, &at), STAGE_NOTHING);
}

static void what_the_planner_refuses_is_told_as_a_guess(void **state)
{
    (void)state;
    struct forms forms = make(managed('a'), managed('b'));
    const struct plan_node nodes[] = {{T, true, T}, {S, true, S}, {S, true, S}};
    struct stage_at at =
        stage_of(&forms, nodes, 3, (struct plan_facts){.staged = true, .switched = true}, true);
    assert_true(at.refused);
    assert_false(at.complete);
    assert_int_equal(at.stage, STAGE_REENCRYPT_REQUEST);
    forms_free(&forms);
}

/* Enabling: FROM is none, and SWITCH and TO are one; disabling the other way round. */
static void enabling_and_disabling_have_the_same_stages(void **state)
{
    (void)state;
    struct forms on = make(NULL, managed('a'));
    const struct plan_node bare[] = {{forms_of(&on, NULL), false, forms_of(&on, NULL)}};
    struct plan_facts facts = {.staged = true};
    assert_int_equal(stage_of(&on, bare, 1, facts, false).stage, STAGE_PREPARE);
    form_set switched = forms_of(&on, on.config[FORM_SWITCH]);
    const struct plan_node runs[] = {{switched, true, switched}};
    facts.switched = true;
    struct stage_at at = stage_of(&on, runs, 1, facts, false);
    assert_int_equal(at.stage, STAGE_ROTATE);
    assert_true(at.complete);
    forms_free(&on);

    struct forms off = make(managed('a'), NULL);
    form_set before = forms_of(&off, off.config[FORM_FROM]);
    const struct plan_node still[] = {{before, true, before}};
    at = stage_of(&off, still, 1, (struct plan_facts){.staged = true}, false);
    assert_int_equal(at.stage, STAGE_PREPARE);
    /* FROM reads all that TO does: prepare has nothing to do. */
    assert_true(at.complete);
    forms_free(&off);
}

static void nodes_that_differ_are_told_before_a_file_that_was_not_taken_up(void **state)
{
    (void)state;
    const struct plan_node differ[] = {{W, true, F}, {W, true, F}, {W, true, W}};
    struct stage_hashes h = stage_compare(differ, 3);
    assert_int_equal(h.match, STAGE_MISMATCH_NODES);
    assert_int_equal(h.first, 0);
    assert_int_equal(h.second, 2);
    const struct plan_node late[] = {{W, true, W}, {W, true, 0}};
    h = stage_compare(late, 2);
    assert_int_equal(h.match, STAGE_MISMATCH_FILE);
    assert_int_equal(h.first, 1);
    const struct plan_node same[] = {{W, true, W}, {W, true, W}};
    assert_int_equal(stage_compare(same, 2).match, STAGE_MATCH);
    assert_int_equal(stage_compare(same, 0).match, STAGE_MATCH);
}

static void each_command_stops_where_the_next_ones_begins(void **state)
{
    (void)state;
    static const struct {
        enum plan_kind kind;
        enum form form;
        const char *ends; /* of none, prepare, rotate, reencrypt */
    } steps[] = {
        {PLAN_PUT, FORM_WIDEN, "0000"},    {PLAN_RESTART, FORM_WIDEN, "0000"},
        {PLAN_PUT, FORM_SWITCH, "0100"},   {PLAN_RESTART, FORM_SWITCH, "0100"},
        {PLAN_REWRITE, FORM_FROM, "0110"}, {PLAN_PROVE, FORM_FROM, "0110"},
        {PLAN_NARROW, FORM_FROM, "0110"},  {PLAN_PUT, FORM_TO, "0110"},
        {PLAN_RESTART, FORM_TO, "0110"},   {PLAN_REMOVE, FORM_FROM, "0110"},
        {PLAN_DONE, FORM_FROM, "0110"},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        const struct plan_step step = {.kind = steps[i].kind, .form = steps[i].form};
        for (int c = 0; c < STAGE_COMMAND_RESTART; c++) {
            bool ends = stage_ends_before((enum stage_command)c, false, &step);
            if (ends != (steps[i].ends[c] == '1'))
                fail_msg("step %zu, command %d", i, c);
            /* No restart is ours then. */
            bool by_hand = stage_ends_before((enum stage_command)c, true, &step);
            assert_int_equal(by_hand, ends || step.kind == PLAN_RESTART);
        }
    }
}

/* `restart` takes the steps of the stage that is under way, and not one more. */
static void restart_ends_the_stage_that_is_under_way(void **state)
{
    (void)state;
    static const enum stage_command ends[] = {
        [STAGE_START] = STAGE_COMMAND_PREPARE,
        [STAGE_PREPARE] = STAGE_COMMAND_PREPARE,
        [STAGE_ROTATE] = STAGE_COMMAND_ROTATE,
        [STAGE_REENCRYPT_REQUEST] = STAGE_COMMAND_REENCRYPT,
        [STAGE_REENCRYPT_ACTIVE] = STAGE_COMMAND_REENCRYPT,
        [STAGE_REENCRYPT_FINISHED] = STAGE_COMMAND_REENCRYPT,
    };
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        const struct stage_at at = {.stage = (enum stage)i, .waiting = 1};
        assert_int_equal(stage_to_restart(&at), ends[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_at_every_moment_on_three_nodes),
        cmocka_unit_test(every_command_at_every_moment_on_one_node),
        cmocka_unit_test(where_nothing_is_open_only_prepare_goes),
        cmocka_unit_test(the_next_command_is_always_allowed),
        cmocka_unit_test(while_somebody_rewrites_reencrypt_alone_may_go_on),
        cmocka_unit_test(what_the_planner_refuses_is_told_as_a_guess),
        cmocka_unit_test(enabling_and_disabling_have_the_same_stages),
        cmocka_unit_test(nodes_that_differ_are_told_before_a_file_that_was_not_taken_up),
        cmocka_unit_test(each_command_stops_where_the_next_ones_begins),
        cmocka_unit_test(restart_ends_the_stage_that_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
