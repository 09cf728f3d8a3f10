/* What the doctor advises where files, flags and processes are not what they should be, in the
 * kind's words. */
#include "tests/unit/provisioner/doctor_lab.h"

static void test_the_union_is_put_by_the_words_of_the_kind(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("b", K2) ", " ID));
    char *path CLEANUP(cleanup_mem) = mem_printf("%s/union.yaml", l.folder);
    make_ours(&l);
    l.d.store_read = true;
    l.asked.write_union = path;
    mem_free(l.d.s->cluster->nodes[1].ssh.user);
    l.d.s->cluster->nodes[1].ssh.user = mem_strdup("op");
    assert_int_equal(doctor_union(&l.d, &l.err), 0);
    unlink(path);
    SAID(" root@10.0.0.1 'sh -ec '\\''umask 077; cat >");
    SAID(" op@10.0.0.2 'sudo sh -ec '\\''umask 077; cat >");
    SAID("; sync\nsystemctl restart a.service'\\'''");
    nothing_of_rke_is_said(&l);
}

/* Their files lie there still, or not (`gone`). */
static void take_flags(struct lab *l, bool gone)
{
    for (size_t i = 0; i < NODES; i++) {
        struct member *m = &l->d.s->members[i];
        mem_free(STEAL(m->seen.config_path));
        l->d.nodes[i].stray = STEAL(l->d.nodes[i].config);
        m->file_missing = gone;
        if (gone)
            encryption_config_free(STEAL(l->d.nodes[i].stray));
    }
}

static void store(struct lab *l, const char *prefix)
{
    static char text[64];
    snprintf(text, sizeof(text), "%s", prefix);
    l->d.stored = mem_alloc(1, sizeof(*l->d.stored));
    l->d.stored[0] = (struct doctor_stored){resource_find("secrets"), text};
    l->d.stored_count = 1;
    l->d.store_read = true;
}

/* The file is what reads what is stored: it is not moved away, no union is put beside it, nothing
 * is enabled anew. */
static void test_a_flag_that_is_lost_comes_back_and_the_file_stays(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    char *path CLEANUP(cleanup_mem) = mem_printf("%s/union.yaml", l.folder);
    make_ours(&l);
    take_flags(&l, false);
    store(&l, "k8s:enc:aescbc:v1:a:");
    l.asked.write_union = path;
    doctor_stray_files(&l.d);
    assert_int_equal(doctor_union(&l.d, &l.err), -1);
    assert_non_null(strstr(l.err.message, "is not told to read a file"));
    SAID("the flag was lost");
    SAID("--encryption-provider-config=/etc/kubernetes/ssl/encryption.yaml, in the unit a.service");
    NOT_SAID("mv -n");
    NOT_SAID("the nodes don't encrypt");
    nothing_of_rke_is_said(&l);
    assert_int_equal(access(path, F_OK), -1);
    /* Nor is a state made of nodes that have nothing. */
    error_clear(&l.err);
    l.asked.write_union = NULL;
    l.asked.write_state = true;
    doctor_history(&l.d);
    assert_int_equal(doctor_rebuild(&l.d, &l.err), -1);
    if (!strstr(l.err.message, "is not told to read the file"))
        fail_msg("%s", l.err.message);
}

static void test_a_file_is_moved_only_where_nothing_needs_it(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    make_ours(&l);
    take_flags(&l, false);
    doctor_stray_files(&l.d);
    SAID("could not be looked at: leave it there");
    NOT_SAID("mv -n");
    store(&l, "");
    doctor_stray_files(&l.d);
    SAID("mv -n");
}

/* The files are gone too: the union has the key, and the flag has to come after it. */
static void test_where_the_files_are_gone_too_the_union_and_the_flag_are_told(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    char *path CLEANUP(cleanup_mem) = mem_printf("%s/union.yaml", l.folder);
    make_ours(&l);
    l.d.needed = encryption_config_copy(l.d.nodes[0].config);
    take_flags(&l, true);
    store(&l, "k8s:enc:aescbc:v1:a:");
    l.asked.write_union = path;
    if (doctor_union(&l.d, &l.err) != 0)
        fail_msg("%s", l.err.message);
    unlink(path);
    SAID("no kube-apiserver is told to read it yet");
    SAID("--encryption-provider-config=/etc/kubernetes/ssl/encryption.yaml, in the unit a.service");
}

static void test_a_restart_that_would_take_the_flag_away_is_not_advised(void **state)
{
    static const char same[] = SECRETS(CBC("a", K1) ", " ID);
    for (int safe = 0; safe <= 1; safe++) {
        LAB(same, same);
        struct apiserver *a = &l.d.s->members[1].seen;
        make_ours(&l);
        for (size_t i = 0; i < NODES; i++)
            encryption_config_free(STEAL(l.d.nodes[i].config));
        a->doubt = mem_strdup("its settings were changed");
        a->doubt_next = safe ? mem_strdup(a->config_path) : NULL;
        assert_int_equal(doctor_nodes(&l.d, &l.err), 0);
        SAID("its settings were changed");
        if (safe) {
            SAID("systemctl restart a.service");
        } else {
            NOT_SAID("systemctl restart a.service");
            SAID("must not be restarted as it is");
            SAID("put back --encryption-provider-config=/etc/kubernetes/ssl/encryption.yaml");
        }
    }
}

static void test_words_are_root_s_unless_the_kind_says_otherwise(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    const struct member *m = &l.d.s->members[1];
    static const struct driver users = {.words.user = true};
    make_ours(&l);
    struct {
        const char *user;
        const struct driver *driver;
        const char *words, *end;
    } table[] = {
        {"root", &ours, ours.words.logs, " root@10.0.0.2 -n 'journalctl -u a.service -n 50'"},
        {"op", &ours, ours.words.logs, " op@10.0.0.2 -n 'sudo journalctl -u a.service -n 50'"},
        {"op", &ours, ours.words.left_over,
         " op@10.0.0.2 -n 'sudo sh -c '\\''ls -d /etc/a.d/* | sort'\\'''"},
        {"op", &users, "docker ps", " op@10.0.0.2 -n docker ps"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct ssh_access *a = &l.d.s->cluster->nodes[1].ssh;
        mem_free(a->user);
        a->user = mem_strdup(table[i].user);
        l.d.s->members[1].node.driver = table[i].driver;
        char *got CLEANUP(cleanup_mem) = node_words(&l.d, m, table[i].words);
        size_t len = strlen(got), end = strlen(table[i].end);
        assert_true(len > end);
        assert_string_equal(got + len - end, table[i].end);
    }
}

/* A copy that is evidence, or can be gone back to, is not told to be idle. */
static void test_left_overs_are_told_as_what_they_are(void **state)
{
    (void)state;
    static const struct driver *const kinds[] = {&driver_kubeadm, &driver_systemd,
                                                 &driver_openshift3};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        assert_non_null(kinds[i]->words.left_over_means);
        assert_null(strstr(kinds[i]->words.left_over_means, "do nothing"));
    }
}

static void test_words_name_the_unit_of_cluster_yml(void **state)
{
    static char unit[] = "api.service";
    static const struct cluster named = {.apiserver_unit = unit}, none = {0};
    struct member m = {.node.cluster = &none};
    (void)state;
    char *usual CLEANUP(cleanup_mem) = member_words(&m, "a kube-apiserver.service b");
    assert_string_equal(usual, "a kube-apiserver.service b");
    m.node.cluster = &named;
    char *other CLEANUP(cleanup_mem) =
        member_words(&m, "kube-apiserver.service b kube-apiserver.service");
    assert_string_equal(other, "api.service b api.service");
    assert_null(member_words(&m, NULL));
}

static void test_a_change_that_is_open_keeps_off_what_the_kind_has(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    char *rke CLEANUP(cleanup_mem) = session_keep_off(l.d.s);
    assert_string_equal(rke, "; don't run `rke` before it is finished");
    make_ours(&l);
    char *none CLEANUP(cleanup_mem) = session_keep_off(l.d.s);
    assert_string_equal(none, "");
}

static int changed_later(struct node *n, const char *path, long long *out, struct error *err)
{
    (void)path;
    *out = 1795251155;
    return str_eq(n->name, "10.0.0.2") ? error_set(err, RESULT_FAILED, "sudo refuses") : 0;
}

/* With no journal, by the node's own clock alone. */
static void test_a_file_newer_than_its_process_is_told(void **state)
{
    static const char items[] = SECRETS(CBC("a", K1) ", " ID);
    static const struct driver tells = {.kind = "none", .changed_at = changed_later};
    LAB(items, items);
    for (size_t i = 0; i < NODES; i++) {
        struct member *m = &l.d.s->members[i];
        encryption_config_free(STEAL(l.d.nodes[i].config));
        m->node.driver = &tells;
        m->seen.process = mem_strdup("p1");
        m->seen.since = mem_strdup("2026-11-20T08:52:35Z");
    }
    assert_int_equal(doctor_nodes(&l.d, &l.err), 0);
    SAID("encryption.yaml was changed at 2026-11-21T08:52:35Z, after its kube-apiserver had "
         "started (2026-11-20T08:52:35Z)");
    assert_int_equal(l.out.finding_count, 1);
    assert_string_equal(l.out.findings[0].about, "node 10.0.0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_union_is_put_by_the_words_of_the_kind),
        cmocka_unit_test(test_a_flag_that_is_lost_comes_back_and_the_file_stays),
        cmocka_unit_test(test_a_file_is_moved_only_where_nothing_needs_it),
        cmocka_unit_test(test_where_the_files_are_gone_too_the_union_and_the_flag_are_told),
        cmocka_unit_test(test_a_restart_that_would_take_the_flag_away_is_not_advised),
        cmocka_unit_test(test_words_are_root_s_unless_the_kind_says_otherwise),
        cmocka_unit_test(test_left_overs_are_told_as_what_they_are),
        cmocka_unit_test(test_words_name_the_unit_of_cluster_yml),
        cmocka_unit_test(test_a_change_that_is_open_keeps_off_what_the_kind_has),
        cmocka_unit_test(test_a_file_newer_than_its_process_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
