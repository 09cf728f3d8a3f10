/* What the doctor makes of a state file that is lost: what is written, what is refused. */
#include "tests/unit/provisioner/doctor_lab.h"

/* Nodes that are the same are what they are, also where no union of such would be made. */
static void test_equal_nodes_as_they_are(void **state)
{
    static const char odd[] = SECRETS(CBC("a:b", K1) ", " ID);
    LAB(odd, odd);
    l.d.copy_read = true;
    assert_int_equal(write_state(&l), 0);
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    assert_non_null(strstr(rkestate_encryption_config(s), "a:b"));
    /* Written, and said that it has no members of RKE's. */
    SAID("a fresh encryption key of its own");
}

static void test_two_secrets_of_one_name(void **state)
{
    static const char odd[] =
        ITEM("secrets", CBC("a", K1) ", " ID) ITEM("configmaps", CBC("a", K2) ", " ID);
    LAB(odd, odd);
    l.d.copy_read = true;
    assert_int_equal(write_state(&l), 0);
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    assert_non_null(strstr(rkestate_encryption_config(s), K1));
    assert_non_null(strstr(rkestate_encryption_config(s), K2));
}

static void test_no_union_no_state(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K2) ", " ID));
    l.d.copy_read = true;
    refused(&l, "stands for two secrets");
    /* What is there is kept before anything is put over it. */
    SAID("cp -p /etc/kubernetes/ssl/encryption.yaml");
    NOT_SAID("docker restart");
}

static void test_bare_only_where_there_is_no_copy(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    refused(&l, "could not be looked for");
    assert_non_null(strstr(l.err.next, "--bare"));
    error_clear(&l.err);
    l.asked.bare = true;
    assert_int_equal(doctor_rebuild(&l.d, &l.err), 0);
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    assert_true(rkestate_is_bare(s));
}

static void test_a_lost_state_of_ours_is_rebuilt_from_the_nodes_alone(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    make_ours(&l);
    stamps[0] = stamps[1] = STAMP("00000001", "7");
    assert_int_equal(write_state(&l), 0);
    SAID("is not there");
    nothing_of_rke_is_said(&l);
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    assert_non_null(strstr(rkestate_encryption_config(s), K1));
    assert_int_equal(journal_read(s, l.d.s->state_path, &j, &l.err), 0);
    assert_string_equal(j->cluster_id, "00000001-0000-4000-8000-000000000000");
    assert_true(j->generation > 7);
    assert_int_equal(j->key_count, 1);
    assert_non_null(j->keys[0].activated);
}

static void test_what_never_was_is_not_lost(void **state)
{
    for (int stamped = 0; stamped <= 2; stamped++) {
        LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
        make_ours(&l);
        stamps[1] = stamped == 0 ? NULL : stamped == 1 ? STAMP("00000001", "7") : "?";
        assert_int_equal(doctor_stamps(&l.d, &l.err), 0);
        doctor_history(&l.d);
        assert_int_equal(doctor_rebuild(&l.d, &l.err), 0);
        assert_null(written(&l));
        if (stamped)
            SAID("is not there");
        else
            assert_int_equal(l.out.finding_count, 0);
        nothing_of_rke_is_said(&l);
    }
}

static void test_a_bare_state_of_ours_lacks_nothing(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    l.d.state_missing = false;
    l.d.s->state = rkestate_bare(l.d.s->state_path);
    assert_int_equal(doctor_rebuild(&l.d, &l.err), 0);
    SAID("RKE's own members");
    size_t before = l.out.finding_count;
    make_ours(&l);
    assert_int_equal(doctor_rebuild(&l.d, &l.err), 0);
    assert_int_equal(l.out.finding_count, before);
}

static void test_damaged_copy_is_no_lack_of_one(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    l.d.copy_read = true;
    l.d.copy.secret.kind = "Secret";
    l.d.copy.newest = &l.d.copy.secret;
    refused(&l, "can't be used");
}

static void test_nothing_while_another_is_at_work(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("b", K2) ", " ID));
    l.d.copy_read = true;
    l.d.busy = mem_strdup("ann@host holds the lock: let that run finish");
    refused(&l, "let that run finish");
    SAID("let that run finish");
    NOT_SAID("write-union");
    error_clear(&l.err);
    encryption_config_free(STEAL(l.d.united));
    encryption_config_free(STEAL(l.d.mended));
    l.asked.write_state = false;
    l.asked.write_union = "/nowhere/union.yaml";
    assert_int_equal(doctor_union(&l.d, &l.err), -1);
    assert_non_null(strstr(l.err.message, "let that run finish"));
}

static void test_base_of_another_cluster(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    char *path CLEANUP(cleanup_mem) = mem_printf("%s/older", l.folder);
    l.d.copy_read = true;
    l.asked.from = path;
    FILE *f = fopen(path, "w");
    fputs(STATE("10.9.9.9"), f);
    fclose(f);
    refused(&l, "mode 0644");
    chmod(path, 0600);
    error_clear(&l.err);
    mem_free(STEAL(l.d.older_trouble));
    journal_free(STEAL(l.d.history));
    doctor_history(&l.d);
    assert_int_equal(doctor_rebuild(&l.d, &l.err), -1);
    assert_non_null(strstr(l.err.message, "is of another cluster"));
    unlink(path);
}

static void test_generation_that_no_copy_has(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    l.d.copy_read = true;
    stamps[0] = STAMP("00000001", "7");
    stamps[1] = STAMP("00000001", "9");
    assert_int_equal(write_state(&l), 0);
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    json_t *j = json_object_get(s->root, "encrypt");
    assert_string_equal(json_string_value(json_object_get(j, "cluster")),
                        "00000001-0000-4000-8000-000000000000");
    assert_true(json_integer_value(json_object_get(j, "generation")) >= 1000);
}

/* That it couldn't be read says nothing of the state file. */
static void test_stamp_that_cant_be_read(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    l.d.copy_read = true;
    stamps[0] = STAMP("00000001", "7");
    stamps[1] = "?";
    refused(&l, "stamp");
    SAID("the node does not answer");
    SAID("then look again");
    NOT_SAID("mv -n");
    error_clear(&l.err);
    encrypt_diagnosis_free(&l.out);
    stamps[1] = "{";
    assert_int_equal(doctor_stamps(&l.d, &l.err), 0);
    SAID("use that version");
    SAID("encryption.yaml.encrypt.damaged-20260102T030405Z");
    NOT_SAID("--from");
}

static void test_stamp_of_another_cluster(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    l.d.copy_read = true;
    l.d.state_missing = false;
    assert_int_equal(journal_new(l.d.s->state_path, &l.d.s->journal, &l.err), 0);
    snprintf(l.d.s->journal->cluster_id, 37, "00000001-0000-4000-8000-000000000000");
    stamps[0] = STAMP("00000001", "0");
    stamps[1] = STAMP("00000002", "9");
    assert_int_equal(doctor_stamps(&l.d, &l.err), 0);
    SAID("node 10.0.0.2: it bears the stamp of cluster 00000002");
    SAID("encryption.yaml.encrypt.other-cluster-20260102T030405Z");
    /* The state file is not to blame. */
    NOT_SAID("rkestate.older");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_nodes_as_they_are),
        cmocka_unit_test(test_two_secrets_of_one_name),
        cmocka_unit_test(test_no_union_no_state),
        cmocka_unit_test(test_bare_only_where_there_is_no_copy),
        cmocka_unit_test(test_a_lost_state_of_ours_is_rebuilt_from_the_nodes_alone),
        cmocka_unit_test(test_what_never_was_is_not_lost),
        cmocka_unit_test(test_a_bare_state_of_ours_lacks_nothing),
        cmocka_unit_test(test_damaged_copy_is_no_lack_of_one),
        cmocka_unit_test(test_nothing_while_another_is_at_work),
        cmocka_unit_test(test_base_of_another_cluster),
        cmocka_unit_test(test_generation_that_no_copy_has),
        cmocka_unit_test(test_stamp_that_cant_be_read),
        cmocka_unit_test(test_stamp_of_another_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
