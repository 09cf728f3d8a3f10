/* All steps to come, and how they are told. */
#include "provisioner/plan.h"

#include "tests/unit/provisioner/forms.h"

static const char *const names[] = {"a", "b", "c"};

/* Every node has and runs this form. */
static void all(const struct forms *f, enum form form, struct plan_node *nodes)
{
    form_set set = forms_of(f, f->config[form]);
    bool there = f->config[form] && f->config[form]->item_count;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        nodes[i] = (struct plan_node){.file = set, .file_there = there, .runs = set};
}

static void free_steps(struct encrypt_plan_step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        encryption_resources_free(steps[i].nodes);
        mem_free(steps[i].text);
    }
    mem_free(steps);
}

/* "put widen a; restart widen a; …" of what is told. */
static char *told(const struct forms *f, const struct plan_node *nodes, size_t count,
                  struct plan_facts facts, uint64_t reloads)
{
    struct plan_ahead *list CLEANUP(cleanup_mem) = NULL;
    struct encrypt_plan_step *steps = NULL;
    struct plan_words words = {names, facts.back, "/etc/enc.yaml"};
    size_t told_count = 0, n = plan_ahead(f, nodes, count, facts, reloads, &list);
    plan_tell_steps(list, n, f, &words, &steps, &told_count);
    struct buf b = {0};
    for (size_t i = 0; i < told_count; i++) {
        buf_printf(&b, "%s%s%s%s", i ? "; " : "", steps[i].what, steps[i].form ? " " : "",
                   steps[i].form ? steps[i].form : "");
        for (size_t k = 0; k < steps[i].node_count; k++)
            buf_printf(&b, " %s", steps[i].nodes[k]);
        assert_null(steps[i].nodes[steps[i].node_count]);
        assert_true(strlen(steps[i].text) > 0);
    }
    free_steps(steps, told_count);
    return b.data;
}

static void is(char *got, const char *want)
{
    assert_string_equal(got, want);
    mem_free(got);
}

static void a_rotation_is_three_rollouts_the_first_node_alone(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = make(managed('a'), managed('b'));
    struct plan_node nodes[3];
    all(&f, FORM_FROM, nodes);
    is(told(&f, nodes, 3, (struct plan_facts){0}, 0),
       "put widen a; restart widen a; put widen b c; restart widen b c; "
       "put switch a; restart switch a; put switch b c; restart switch b c; rewrite; prove; "
       "narrow; "
       "put narrow a; restart narrow a; put narrow b c; restart narrow b c; close");
    is(told(&f, nodes, 1, (struct plan_facts){0}, 0),
       "put switch a; restart switch a; rewrite; prove; narrow; put narrow a; restart narrow a; "
       "close");
}

static void disabling_ends_with_the_files_removed(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = make(managed('a'), NULL);
    struct plan_node nodes[3];
    all(&f, FORM_FROM, nodes);
    is(told(&f, nodes, 3, (struct plan_facts){0}, 7),
       "put switch a; reload switch a; put switch b c; reload switch b c; rewrite; prove; narrow; "
       "restart narrow a b c; remove a b c; close");
}

static void with_automatic_reload_nothing_restarts(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = make(managed('a'), managed('b'));
    struct plan_node nodes[3];
    all(&f, FORM_FROM, nodes);
    char *text CLEANUP(cleanup_mem) = told(&f, nodes, 3, (struct plan_facts){0}, 7);
    assert_null(strstr(text, "restart"));
    assert_non_null(strstr(text, "reload switch b c; rewrite"));
    /* One that doesn't have it is restarted. */
    is(told(&f, nodes, 2, (struct plan_facts){0}, 1),
       "put widen a; reload widen a; put widen b; restart widen b; put switch a; reload switch a; "
       "put switch b; restart switch b; rewrite; prove; narrow; put narrow a; reload narrow a; put "
       "narrow b; restart narrow b; close");
}

/* What is taken up by itself and not told: never a second file before the first was shown. */
static void singly_each_node_gets_its_file_when_the_one_before_was_shown(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = make(managed('a'), managed('b'));
    struct plan_node nodes[3];
    all(&f, FORM_FROM, nodes);
    is(told(&f, nodes, 3, (struct plan_facts){.singly = true}, 0),
       "put widen a; restart widen a; put widen b; restart widen b; put widen c; restart widen c; "
       "put switch a; restart switch a; put switch b; restart switch b; put switch c; restart "
       "switch c; rewrite; prove; narrow; put narrow a; restart narrow a; put narrow b; restart "
       "narrow b; put narrow c; restart narrow c; close");
    /* As it is observed then: what has a new file is unknown until it was restarted. */
    all(&f, FORM_WIDEN, nodes);
    nodes[0].file = nodes[0].runs = FORM_BIT(FORM_SWITCH);
    nodes[1].file = FORM_BIT(FORM_SWITCH);
    nodes[1].runs = 0;
    char *text CLEANUP(cleanup_mem) =
        told(&f, nodes, 3, (struct plan_facts){.singly = true, .switched = true}, 0);
    assert_true(str_starts(text, "restart switch b; put switch c; restart switch c; rewrite;"));
}

static void from_the_middle_it_goes_on_from_what_is_seen(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = make(managed('a'), managed('b'));
    struct plan_node nodes[3];
    all(&f, FORM_WIDEN, nodes);
    nodes[0].file = nodes[0].runs = FORM_BIT(FORM_SWITCH);
    struct plan_facts facts = {.switched = true};
    char *on CLEANUP(cleanup_mem) = told(&f, nodes, 3, facts, 0);
    assert_true(str_starts(on, "put switch b c; restart switch b c; rewrite; prove"));
    struct forms back CLEANUP(forms_free) = make(managed('a'), managed('b'));
    forms_turn_back(&back);
    all(&back, FORM_SWITCH, nodes);
    nodes[0].file = nodes[0].runs = FORM_BIT(FORM_FROM) | FORM_BIT(FORM_WIDEN);
    facts.back = true;
    is(told(&back, nodes, 3, facts, 0), "put switch a; restart switch a; rewrite; prove; narrow; "
                                        "put narrow a; restart narrow a; put "
                                        "narrow b c; restart narrow b c; close");
}

static void what_is_refused_is_no_step(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = make(managed('a'), managed('b'));
    struct plan_node nodes[3];
    all(&f, FORM_WIDEN, nodes);
    nodes[1].file = 0;
    struct plan_ahead *list CLEANUP(cleanup_mem) = NULL;
    assert_int_equal(plan_ahead(&f, nodes, 3, (struct plan_facts){0}, 0, &list), 1);
    assert_int_equal(list[0].step.kind, PLAN_REFUSE);
    assert_int_equal(list[0].step.nodes, 2);
}

static void what_it_takes_is_counted(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = make(managed('a'), managed('b'));
    struct plan_node nodes[3];
    struct plan_ahead *list CLEANUP(cleanup_mem) = NULL;
    size_t restarts = 0, reloads = 0;
    all(&f, FORM_FROM, nodes);
    size_t n = plan_ahead(&f, nodes, 3, (struct plan_facts){0}, 0, &list);
    plan_count(list, n, &restarts, &reloads);
    assert_int_equal(restarts, 9);
    assert_int_equal(reloads, 0);
    /* 9 restarts of 6 s, and the wait before the proof, in which little is rewritten. */
    assert_int_equal((int)plan_seconds(list, n, 300, 0), 9 * 6 + 16);
    assert_int_equal((int)plan_seconds(list, n, 30000, 0), 9 * 6 + 100);
    mem_free(list);
    n = plan_ahead(&f, nodes, 3, (struct plan_facts){0}, 7, &list);
    plan_count(list, n, &restarts, &reloads);
    assert_int_equal(restarts, 0);
    assert_int_equal(reloads, 9);
    /* Six rounds of up to a minute, and what an apiserver may still have to send. */
    assert_int_equal((int)plan_seconds(list, n, 300, 60000), 6 * 60 + 76);
}

static void keys_are_told_by_name_and_a_fresh_one_has_none(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    struct encryption_config *a CLEANUP(cleanup_encryption_config) = managed('a');
    struct encryption_config *b CLEANUP(cleanup_encryption_config) = managed('b');
    assert_int_equal(journal_new("/nowhere/cluster.rkestate", &j, &err), 0);
    journal_add_config_keys(j, a);
    struct encrypt_plan p CLEANUP(encrypt_plan_free) = {0};
    struct plan_known known = {j, NULL};
    plan_tell_keys(&p, a, b, &known);
    assert_int_equal(p.key_count, 2);
    assert_string_equal(p.keys[0].change, "new");
    assert_string_equal(p.keys[0].type, "AES-CBC");
    assert_null(p.keys[0].name);
    assert_null(p.keys[0].fingerprint);
    assert_true(p.keys[0].writes);
    /* One that cluster.yml has is known by its name. */
    encrypt_plan_free(&p);
    known.custom = b;
    plan_tell_keys(&p, a, b, &known);
    assert_string_equal(p.keys[0].name, "kb");
    assert_int_equal(strlen(p.keys[0].fingerprint), 12);
    assert_string_equal(p.keys[p.key_count - 1].change, "dropped");
    assert_string_equal(p.keys[p.key_count - 1].name, "ka");
    assert_false(p.keys[p.key_count - 1].writes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rotation_is_three_rollouts_the_first_node_alone),
        cmocka_unit_test(disabling_ends_with_the_files_removed),
        cmocka_unit_test(with_automatic_reload_nothing_restarts),
        cmocka_unit_test(singly_each_node_gets_its_file_when_the_one_before_was_shown),
        cmocka_unit_test(from_the_middle_it_goes_on_from_what_is_seen),
        cmocka_unit_test(what_is_refused_is_no_step),
        cmocka_unit_test(what_it_takes_is_counted),
        cmocka_unit_test(keys_are_told_by_name_and_a_fresh_one_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
