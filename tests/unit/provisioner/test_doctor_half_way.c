/* What the doctor makes of a change that was left half-way, without its journal. */
#include "tests/unit/provisioner/doctor_lab.h"

/* The machine that enabled it is lost, and with it the journal. */
static void test_half_way(void **state)
{
    LAB(SECRETS(ID ", " CBC("a", K1)), NULL);
    l.d.copy_read = true;
    /* What is stored must be known: `resume` goes on without the checks that a change begins with.
     */
    assert_null(doctor_half_way(&l.d));
    l.d.store_read = true;
    assert_int_equal(write_state(&l), 0);
    SAID("was not finished");
    struct error err CLEANUP(error_clear) = {0};
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    assert_int_equal(journal_read(s, l.d.s->state_path, &j, &err), 0);
    assert_non_null(j->transition);
    assert_true(j->transition->switched);
    assert_null(j->transition->from);
    assert_string_equal(encryption_active_key(j->transition->to)->name, "a");
}

static void test_no_half_way(void **state)
{
    LAB(SECRETS(CBC("b", K2) ", " CBC("a", K1)), NULL);
    l.d.store_read = true;
    assert_null(doctor_half_way(&l.d));
    doctor_history(&l.d);
    assert_int_equal(doctor_union(&l.d, &l.err), 0);
    SAID("encrypt has no command");
    NOT_SAID("write-union");
}

/* Where it isn't known what is stored, a restart may lose the last place of a key. */
static void test_no_union_in_the_dark(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("b", K2) ", " CBC("a", K1) ", " ID));
    char *file CLEANUP(cleanup_mem) = mem_printf("%s/union.yaml", l.folder);
    l.asked.write_union = file;
    doctor_history(&l.d);
    assert_int_equal(doctor_union(&l.d, &l.err), -1);
    assert_non_null(strstr(l.err.message, "the last place of a key"));
    assert_int_not_equal(access(file, F_OK), 0);
}

/* Nothing is put over a file that may be needed, and nothing half. */
static void test_commands(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("b", K2) ", " CBC("a", K1) ", " ID));
    char *file CLEANUP(cleanup_mem) = mem_printf("%s/un ion.yaml", l.folder);
    l.asked.write_union = file;
    l.d.store_read = true;
    doctor_history(&l.d);
    assert_int_equal(doctor_union(&l.d, &l.err), 0);
    SAID("un ion.yaml'");
    SAID("sha256sum");
    SAID("cp -p");
    SAID("ready 10.0.0.2 &&\n");
    NOT_SAID("jq");
    NOT_SAID(K1);
    NOT_SAID(K2);
    /* For a shell to read. */
    char *script CLEANUP(cleanup_mem) = mem_printf("%s/script", l.folder);
    FILE *f = fopen(script, "w");
    for (size_t i = 0; i < l.out.finding_count; i++)
        fputs(l.out.findings[i].mend, f);
    fclose(f);
    char *check CLEANUP(cleanup_mem) = mem_printf("sh -n %s", script);
    assert_int_equal(system(check), 0);
    unlink(script);
    unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_way),
        cmocka_unit_test(test_no_half_way),
        cmocka_unit_test(test_no_union_in_the_dark),
        cmocka_unit_test(test_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
