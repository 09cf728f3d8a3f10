#include "provisioner/planner.h"

#include "tests/unit/provisioner/forms.h"

static const struct plan_facts nothing = {0}, narrowing = {.narrowing = true},
                               switched = {.switched = true}, back = {.back = true};

static struct forms rotation(void)
{
    return make(managed('a'), managed('b'));
}

static struct forms enabling(void)
{
    return make(NULL, managed('a'));
}

static struct forms disabling(void)
{
    return make(managed('a'), NULL);
}

/* Reads the managed form and writes plain. */
static struct encryption_config *identity_first(void)
{
    struct encryption_config *c = managed('a');
    struct encryption_provider *p = c->items[0].providers, first = p[0];
    p[0] = p[1];
    p[1] = first;
    return c;
}

static struct plan_node node(form_set file, form_set runs)
{
    return (struct plan_node){.file = file, .file_there = true, .runs = runs};
}

static struct plan_node bare(form_set file, form_set runs)
{
    return (struct plan_node){.file = file, .runs = runs};
}

static void gives(struct plan_step got, enum plan_kind kind, enum form form, uint64_t nodes)
{
    if (got.kind != kind || got.form != form || got.nodes != nodes)
        fail_msg("kind %d form %s nodes %llx %s", got.kind, form_name(got.form),
                 (unsigned long long)got.nodes, got.why ? got.why : "");
    assert_true((got.kind == PLAN_REFUSE) == (got.why != NULL));
}

#define NEXT(forms, facts, ...)                                                                    \
    plan_next(&(forms), (struct plan_node[]){__VA_ARGS__},                                         \
              sizeof((struct plan_node[]){__VA_ARGS__}) / sizeof(struct plan_node), facts)
#define BACK(forms, facts, failed, ...)                                                            \
    plan_rollback(&(forms), (struct plan_node[]){__VA_ARGS__},                                     \
                  sizeof((struct plan_node[]){__VA_ARGS__}) / sizeof(struct plan_node), facts,     \
                  failed)
#define STATE(forms, facts, ...)                                                                   \
    plan_state_form(&(forms), (struct plan_node[]){__VA_ARGS__},                                   \
                    sizeof((struct plan_node[]){__VA_ARGS__}) / sizeof(struct plan_node), facts)

static void test_forms(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    assert_int_equal(forms_of(&f, f.config[FORM_FROM]), F);
    assert_int_equal(forms_of(&f, f.config[FORM_WIDEN]), W);
    assert_int_equal(forms_of(&f, f.config[FORM_SWITCH]), S);
    assert_int_equal(forms_of(&f, f.config[FORM_TO]), T);
    assert_int_equal(forms_of(&f, NULL), 0);
    struct forms e CLEANUP(forms_free) = enabling();
    assert_int_equal(forms_of(&e, NULL), F);
    assert_int_equal(forms_of(&e, e.config[FORM_TO]), S | T);
    struct forms d CLEANUP(forms_free) = disabling();
    assert_int_equal(forms_of(&d, d.config[FORM_FROM]), F | W);
    assert_int_equal(forms_of(&d, NULL), T);
}

static void test_no_union(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *a CLEANUP(cleanup_encryption_config) = managed('a');
    struct encryption_config *b CLEANUP(cleanup_encryption_config) = managed('a');
    b->items[0].providers[0].keys[0].secret[0] ^= 1;
    struct forms f = {0};
    assert_int_equal(forms_make(a, b, &f, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_null(f.config[FORM_FROM]);
}

static void test_rotate_one(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    gives(NEXT(f, nothing, node(F, F)), PLAN_PUT, FORM_SWITCH, 1);
    gives(NEXT(f, nothing, node(S, F)), PLAN_RESTART, FORM_SWITCH, 1);
    gives(NEXT(f, nothing, node(S, 0)), PLAN_RESTART, FORM_SWITCH, 1);
    /* rolled back */
    gives(NEXT(f, nothing, node(W, W)), PLAN_PUT, FORM_SWITCH, 1);
    gives(NEXT(f, nothing, node(S, S)), PLAN_REWRITE, 0, 0);
    struct plan_facts facts = {.rewritten = true};
    gives(NEXT(f, facts, node(S, S)), PLAN_PROVE, 0, 0);
    facts.proved = true;
    gives(NEXT(f, facts, node(S, S)), PLAN_NARROW, 0, 0);
    gives(NEXT(f, narrowing, node(S, S)), PLAN_PUT, FORM_TO, 1);
    gives(NEXT(f, narrowing, node(T, S)), PLAN_RESTART, FORM_TO, 1);
    gives(NEXT(f, narrowing, node(T, T)), PLAN_DONE, 0, 0);
}

static void test_rotate_three(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    gives(NEXT(f, nothing, node(F, F), node(F, F), node(F, F)), PLAN_PUT, FORM_WIDEN, 1);
    gives(NEXT(f, nothing, node(W, F), node(F, F), node(F, F)), PLAN_RESTART, FORM_WIDEN, 1);
    gives(NEXT(f, nothing, node(W, W), node(F, F), node(F, F)), PLAN_PUT, FORM_WIDEN, 6);
    gives(NEXT(f, nothing, node(W, W), node(F, F), node(W, F)), PLAN_PUT, FORM_WIDEN, 2);
    gives(NEXT(f, nothing, node(W, W), node(W, F), node(W, F)), PLAN_RESTART, FORM_WIDEN, 2);
    gives(NEXT(f, nothing, node(W, W), node(W, W), node(W, F)), PLAN_RESTART, FORM_WIDEN, 4);
    gives(NEXT(f, nothing, node(W, W), node(W, W), node(W, W)), PLAN_PUT, FORM_SWITCH, 1);
    gives(NEXT(f, nothing, node(S, W), node(W, W), node(W, W)), PLAN_RESTART, FORM_SWITCH, 1);
    gives(NEXT(f, nothing, node(S, S), node(W, W), node(W, W)), PLAN_PUT, FORM_SWITCH, 6);
    gives(NEXT(f, nothing, node(S, S), node(S, W), node(S, W)), PLAN_RESTART, FORM_SWITCH, 2);
    gives(NEXT(f, nothing, node(S, S), node(S, S), node(S, S)), PLAN_REWRITE, 0, 0);
    gives(NEXT(f, narrowing, node(S, S), node(S, S), node(S, S)), PLAN_PUT, FORM_TO, 1);
    gives(NEXT(f, narrowing, node(T, S), node(S, S), node(S, S)), PLAN_RESTART, FORM_TO, 1);
    gives(NEXT(f, narrowing, node(T, T), node(S, S), node(S, S)), PLAN_PUT, FORM_TO, 6);
    gives(NEXT(f, narrowing, node(T, T), node(T, T), node(T, S)), PLAN_RESTART, FORM_TO, 4);
    gives(NEXT(f, narrowing, node(T, T), node(T, T), node(T, T)), PLAN_DONE, 0, 0);
}

static void test_enable_three(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = enabling();
    form_set st = S | T;
    gives(NEXT(f, nothing, bare(F, F), bare(F, F), bare(F, F)), PLAN_PUT, FORM_WIDEN, 1);
    gives(NEXT(f, nothing, node(W, F), bare(F, F), bare(F, F)), PLAN_RESTART, FORM_WIDEN, 1);
    gives(NEXT(f, nothing, node(W, W), bare(F, F), bare(F, F)), PLAN_PUT, FORM_WIDEN, 6);
    gives(NEXT(f, nothing, node(W, W), node(W, W), node(W, W)), PLAN_PUT, FORM_SWITCH, 1);
    gives(NEXT(f, nothing, node(st, st), node(st, st), node(st, st)), PLAN_REWRITE, 0, 0);
    struct plan_facts proved = {.rewritten = true, .proved = true};
    gives(NEXT(f, proved, node(st, st), node(st, st), node(st, st)), PLAN_NARROW, 0, 0);
    gives(NEXT(f, narrowing, node(st, st), node(st, st), node(st, st)), PLAN_DONE, 0, 0);
    /* somebody removed the file under a running apiserver */
    gives(NEXT(f, narrowing, node(st, st), bare(F, st)), PLAN_PUT, FORM_TO, 2);
}

/* WIDEN is not skipped: it brings the flag. */
static void test_enable_one(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = enabling();
    form_set st = S | T;
    gives(NEXT(f, nothing, bare(F, F)), PLAN_PUT, FORM_WIDEN, 1);
    gives(NEXT(f, nothing, node(W, F)), PLAN_RESTART, FORM_WIDEN, 1);
    assert_int_equal(BACK(f, nothing, FORM_WIDEN, node(W, F)), FORM_FROM);
    gives(NEXT(f, nothing, node(W, 0)), PLAN_RESTART, FORM_WIDEN, 1);
    assert_int_equal(BACK(f, nothing, FORM_WIDEN, node(W, 0)), FORM_FROM);
    gives(NEXT(f, nothing, node(W, W)), PLAN_PUT, FORM_SWITCH, 1);
    gives(NEXT(f, nothing, node(st, W)), PLAN_RESTART, FORM_SWITCH, 1);
    assert_int_equal(BACK(f, nothing, FORM_SWITCH, node(st, W)), FORM_WIDEN);
    gives(NEXT(f, nothing, node(st, 0)), PLAN_RESTART, FORM_SWITCH, 1);
    gives(NEXT(f, nothing, node(st, st)), PLAN_REWRITE, 0, 0);
    /* SWITCH's file, without the flag */
    gives(NEXT(f, nothing, node(st, F)), PLAN_PUT, FORM_WIDEN, 1);
    gives(NEXT(f, nothing, node(st, F), node(W, W)), PLAN_PUT, FORM_WIDEN, 1);
    /* WIDEN and SWITCH are the same: it is the first of them, which can be taken back. */
    struct forms g CLEANUP(forms_free) = make(NULL, identity_first());
    gives(NEXT(g, nothing, node(W | S | T, 0)), PLAN_RESTART, FORM_WIDEN, 1);
}

static void test_disable_three(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = disabling();
    form_set fw = F | W;
    /* FROM reads all that TO does: no WIDEN */
    gives(NEXT(f, nothing, node(fw, fw), node(fw, fw), node(fw, fw)), PLAN_PUT, FORM_SWITCH, 1);
    gives(NEXT(f, nothing, node(S, S), node(fw, fw), node(fw, fw)), PLAN_PUT, FORM_SWITCH, 6);
    /* flag off, one after the other; only then the files */
    gives(NEXT(f, narrowing, node(S, S), node(S, S), node(S, S)), PLAN_RESTART, FORM_TO, 1);
    gives(NEXT(f, narrowing, node(S, T), node(S, S), node(S, S)), PLAN_RESTART, FORM_TO, 2);
    gives(NEXT(f, narrowing, node(S, T), node(S, T), node(S, 0)), PLAN_RESTART, FORM_TO, 4);
    gives(NEXT(f, narrowing, node(S, T), node(S, T), node(S, T)), PLAN_REMOVE, 0, 7);
    gives(NEXT(f, narrowing, node(S, T), bare(T, T), node(S, T)), PLAN_REMOVE, 0, 5);
    gives(NEXT(f, narrowing, bare(T, T), bare(T, T), bare(T, T)), PLAN_DONE, 0, 0);
}

static void test_unknown(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    /* On SWITCH only where all others read both. */
    gives(NEXT(f, nothing, node(S, 0), node(W, W), node(S, S)), PLAN_RESTART, FORM_SWITCH, 1);
    gives(NEXT(f, nothing, node(S, 0), node(F, F), node(W, W)), PLAN_PUT, FORM_WIDEN, 3);
    gives(NEXT(f, nothing, node(S, 0), node(S, 0), node(S, 0)), PLAN_PUT, FORM_WIDEN, 1);
    gives(NEXT(f, nothing, node(W, 0), node(S, 0), node(S, 0)), PLAN_RESTART, FORM_WIDEN, 1);
    gives(NEXT(f, nothing, node(F, 0), node(F, F), node(F, F)), PLAN_PUT, FORM_WIDEN, 1);
    gives(NEXT(f, nothing, node(S, S), node(W, 0), node(W, W)), PLAN_RESTART, FORM_WIDEN, 2);
    gives(NEXT(f, narrowing, node(T, 0), node(S, 0), node(S, 0)), PLAN_RESTART, FORM_TO, 1);
    gives(NEXT(f, narrowing, node(T, T), node(T, 0), node(S, 0)), PLAN_PUT, FORM_TO, 4);
}

static void test_files_beside_what_runs(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    /* FROM's file under an apiserver that would read it when it restarts by itself */
    gives(NEXT(f, nothing, node(F, W), node(W, W), node(W, W)), PLAN_PUT, FORM_WIDEN, 1);
    gives(NEXT(f, nothing, node(S, S), node(F, S), node(S, S)), PLAN_PUT, FORM_SWITCH, 2);
    gives(NEXT(f, narrowing, node(S, T), node(S, S)), PLAN_PUT, FORM_TO, 3);
    /* no file at all */
    gives(NEXT(f, nothing, node(W, W), bare(0, W)), PLAN_PUT, FORM_WIDEN, 2);
}

static void test_contradictions(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    gives(NEXT(f, nothing, node(S, S), node(F, F)), PLAN_PUT, FORM_WIDEN, 2);
    /* A file that is none of ours stays. */
    gives(NEXT(f, nothing, node(F, F), node(0, F), node(0, 0)), PLAN_REFUSE, 0, 6);
    gives(NEXT(f, narrowing, node(T, T), node(0, S)), PLAN_REFUSE, 0, 2);
    /* Written with FROM's key again after the proof. */
    gives(NEXT(f, narrowing, node(T, T), node(W, W)), PLAN_REFUSE, 0, 2);
    gives(NEXT(f, narrowing, node(F, S), node(T, T)), PLAN_REFUSE, 0, 1);
    gives(plan_next(&f, NULL, 0, nothing), PLAN_REFUSE, 0, 0);
    static const struct plan_node many[PLAN_MAX_NODES + 1];
    gives(plan_next(&f, many, PLAN_MAX_NODES + 1, nothing), PLAN_REFUSE, 0, 0);
}

/* TO is there, and narrowing was never decided: nothing is done. */
static void test_finished_by_another(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    struct plan_facts proved = {.rewritten = true, .proved = true};
    gives(NEXT(f, nothing, node(T, T), node(F, F), node(F, F)), PLAN_REFUSE, 0, 1);
    gives(NEXT(f, nothing, node(W, T), node(F, F), node(T, 0)), PLAN_REFUSE, 0, 5);
    gives(NEXT(f, nothing, node(S, S), node(T, S)), PLAN_REFUSE, 0, 2);
    gives(NEXT(f, proved, node(T, T), node(S, S)), PLAN_REFUSE, 0, 1);
    gives(NEXT(f, nothing, node(T, T)), PLAN_REFUSE, 0, 1);
    assert_int_equal(STATE(f, nothing, node(T, T), node(S, S)), FORM_SWITCH);
    struct plan_step step = NEXT(f, nothing, node(T, T));
    assert_non_null(strstr(step.why, "use the newest state file"));
    struct forms e CLEANUP(forms_free) = enabling();
    gives(NEXT(e, nothing, node(S | T, S | T)), PLAN_REWRITE, 0, 0);
    struct forms d CLEANUP(forms_free) = disabling();
    form_set fw = F | W;
    gives(NEXT(d, nothing, node(S, T), node(fw, fw)), PLAN_REFUSE, 0, 1);
    gives(NEXT(d, nothing, node(fw, fw), bare(T, T)), PLAN_REFUSE, 0, 2);
    gives(NEXT(d, nothing, node(fw, fw), bare(T, 0)), PLAN_REFUSE, 0, 2);
    /* The file was removed under an apiserver that does need it. */
    gives(NEXT(d, nothing, node(fw, fw), bare(T, fw)), PLAN_PUT, FORM_WIDEN, 2);
}

static void test_many_nodes(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    struct plan_node nodes[PLAN_MAX_NODES];
    for (size_t i = 0; i < PLAN_MAX_NODES; i++)
        nodes[i] = node(W, W);
    nodes[0] = node(S, S);
    gives(plan_next(&f, nodes, PLAN_MAX_NODES, nothing), PLAN_PUT, FORM_SWITCH, ~1ull);
    for (size_t i = 0; i < PLAN_MAX_NODES - 1; i++)
        nodes[i] = node(S, S);
    nodes[63].file = S;
    gives(plan_next(&f, nodes, PLAN_MAX_NODES, nothing), PLAN_RESTART, FORM_SWITCH, 1ull << 63);
}

static void test_rollback(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    assert_int_equal(BACK(f, nothing, FORM_TO, node(T, S)), FORM_SWITCH);
    assert_int_equal(BACK(f, nothing, FORM_SWITCH, node(S, F)), FORM_WIDEN);
    assert_int_equal(BACK(f, nothing, FORM_WIDEN, node(W, F), node(F, F)), FORM_FROM);
    assert_int_equal(BACK(f, nothing, FORM_WIDEN, node(W, 0), node(F, F)), FORM_FROM);
    assert_int_equal(BACK(f, switched, FORM_WIDEN, node(W, 0)), FORM_WIDEN);
    assert_int_equal(BACK(f, switched, FORM_WIDEN, node(W, 0), node(S, S)), FORM_WIDEN);
    /* One node may read TO alone by now: what writes FROM's form may not come up. */
    assert_int_equal(BACK(f, narrowing, FORM_SWITCH, node(S, S), node(T, T)), FORM_SWITCH);
}

/* The forms of the way back: FROM and WIDEN are the old SWITCH, SWITCH the old WIDEN, TO the old
 * FROM. */
static struct forms rotation_back(void)
{
    struct forms f = rotation();
    forms_turn_back(&f);
    return f;
}

static void test_back_forms(void **state)
{
    (void)state;
    struct forms there CLEANUP(forms_free) = rotation();
    struct forms f CLEANUP(forms_free) = rotation_back();
    static const enum form old[FORM_COUNT] = {FORM_SWITCH, FORM_SWITCH, FORM_WIDEN, FORM_FROM};
    for (int i = 0; i < FORM_COUNT; i++)
        assert_true(encryption_config_equal(f.config[i], there.config[old[i]]));
}

/* Nothing was written with the new key: it is brought to no node any more, and nothing is dropped
 * before the proof. */
static void test_back_unswitched(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation_back();
    struct plan_facts proved = {.back = true, .proved = true};
    struct plan_facts going = {.back = true, .narrowing = true};
    gives(NEXT(f, back, node(T, T), node(T, T)), PLAN_PROVE, 0, 0);
    gives(NEXT(f, back, node(S, S), node(T, T)), PLAN_PROVE, 0, 0);
    /* Down with the new configuration, which may be why. */
    gives(NEXT(f, back, node(T, T), node(S, 0)), PLAN_PUT, FORM_TO, 2);
    gives(NEXT(f, back, node(T, T), node(T, 0)), PLAN_RESTART, FORM_TO, 2);
    gives(NEXT(f, proved, node(S, S), node(T, T)), PLAN_NARROW, 0, 0);
    gives(NEXT(f, going, node(S, S), node(T, T)), PLAN_PUT, FORM_TO, 1);
    gives(NEXT(f, going, node(T, T), node(T, T)), PLAN_DONE, 0, 0);
    assert_int_equal(STATE(f, back, node(S, S), node(T, T)), FORM_TO);
}

static void test_back_unswitched_to_none(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = enabling();
    forms_turn_back(&f);
    struct plan_facts going = {.back = true, .narrowing = true};
    gives(NEXT(f, back, node(S, 0), bare(T, T)), PLAN_RESTART, FORM_TO, 1);
    gives(NEXT(f, back, node(S, T), bare(T, T)), PLAN_PROVE, 0, 0);
    gives(NEXT(f, going, node(S, T), bare(T, T)), PLAN_REMOVE, 0, 1);
}

/* What the new key wrote is rewritten and proved before the key is dropped. */
static void test_back_switched(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation_back();
    form_set fw = F | W;
    struct plan_facts facts = {.back = true, .switched = true};
    gives(NEXT(f, facts, node(fw, fw), node(S, S)), PLAN_PUT, FORM_SWITCH, 1);
    gives(NEXT(f, facts, node(S, fw), node(S, S)), PLAN_RESTART, FORM_SWITCH, 1);
    gives(NEXT(f, facts, node(S, S), node(S, S)), PLAN_REWRITE, 0, 0);
    facts.rewritten = true;
    gives(NEXT(f, facts, node(S, S), node(S, S)), PLAN_PROVE, 0, 0);
    facts.proved = true;
    gives(NEXT(f, facts, node(S, S), node(S, S)), PLAN_NARROW, 0, 0);
    assert_int_equal(STATE(f, facts, node(fw, fw), node(S, S)), FORM_SWITCH);
    /* A node that shows it outweighs a journal that doesn't. */
    gives(NEXT(f, back, node(fw, fw), node(S, S)), PLAN_PUT, FORM_SWITCH, 1);
    assert_int_equal(BACK(f, facts, FORM_SWITCH, node(S, fw), node(S, S)), FORM_WIDEN);
    /* One that was left in the middle of the way there and does not get ready. */
    assert_int_equal(BACK(f, facts, FORM_WIDEN, node(fw, 0), node(S, S)), FORM_SWITCH);
    assert_int_equal(BACK(f, facts, FORM_FROM, node(fw, 0), node(S, S)), FORM_SWITCH);
}

/* A configuration that has the final form comes from no way back. */
static void test_back_after_narrowing(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation_back();
    struct plan_step step = NEXT(f, back, node(0, 0), node(F | W, F | W));
    assert_int_equal(step.kind, PLAN_REFUSE);
    assert_int_equal(step.nodes, 1);
}

/* Narrowing was undone, since etcd is older than its proof: nodes that have given the old key up
 * get the union that writes the new one, before anything else. */
static void test_reopened(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    struct plan_facts facts = {.back = true, .switched = true};
    gives(NEXT(f, facts, node(S, S), node(T, T)), PLAN_PUT, FORM_SWITCH, 2);
    gives(NEXT(f, facts, node(S, S), node(S, T)), PLAN_RESTART, FORM_SWITCH, 2);
    gives(NEXT(f, facts, node(S, S), node(S, S)), PLAN_REWRITE, 0, 0);
    assert_int_equal(STATE(f, facts, node(S, S), node(T, T)), FORM_SWITCH);
    struct forms none CLEANUP(forms_free) = disabling();
    gives(NEXT(none, facts, node(S, S), bare(T, T)), PLAN_PUT, FORM_SWITCH, 2);
}

/* A KMS shows only when it is loaded whether it works: before anything is written with it. */
static void test_kms_is_tried_before_it_writes(void **state)
{
    (void)state;
    static const char text[] =
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
        "- resources: [secrets]\n  providers:\n  - kms:\n      name: a\n      endpoint: "
        "unix:///a\n  - identity: {}\n";
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *kms = NULL;
    assert_int_equal(
        encryption_config_read(text, strlen(text), "kms", ENCRYPTION_STRICT, &kms, &err), 0);
    struct forms f CLEANUP(forms_free) = make(managed('a'), kms);
    gives(NEXT(f, nothing, node(F, F)), PLAN_PUT, FORM_WIDEN, 1);
    struct forms local CLEANUP(forms_free) = rotation();
    gives(NEXT(local, nothing, node(F, F)), PLAN_PUT, FORM_SWITCH, 1);
}

static void test_state_form(void **state)
{
    (void)state;
    struct forms f CLEANUP(forms_free) = rotation();
    assert_int_equal(STATE(f, nothing, node(F, F)), FORM_WIDEN);
    assert_int_equal(STATE(f, nothing, node(W, W), node(W, F)), FORM_WIDEN);
    /* Deploying it must not be the first to write the new form: nothing is known of that then. */
    assert_int_equal(STATE(f, nothing, node(W, W), node(W, W)), FORM_WIDEN);
    assert_int_equal(STATE(f, switched, node(W, W), node(W, W)), FORM_SWITCH);
    assert_int_equal(STATE(f, switched, node(S, S), node(S, S)), FORM_SWITCH);
    assert_int_equal(STATE(f, narrowing, node(T, T), node(T, S)), FORM_SWITCH);
    assert_int_equal(STATE(f, narrowing, node(T, T), node(T, T)), FORM_TO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_no_union),
        cmocka_unit_test(test_rotate_one),
        cmocka_unit_test(test_rotate_three),
        cmocka_unit_test(test_enable_three),
        cmocka_unit_test(test_enable_one),
        cmocka_unit_test(test_disable_three),
        cmocka_unit_test(test_finished_by_another),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_files_beside_what_runs),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_many_nodes),
        cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_state_form),
        cmocka_unit_test(test_back_forms),
        cmocka_unit_test(test_back_unswitched),
        cmocka_unit_test(test_back_unswitched_to_none),
        cmocka_unit_test(test_back_switched),
        cmocka_unit_test(test_back_after_narrowing),
        cmocka_unit_test(test_reopened),
        cmocka_unit_test(test_kms_is_tried_before_it_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
