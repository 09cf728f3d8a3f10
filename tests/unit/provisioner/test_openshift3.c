#include "provisioner/drivers/openshift3.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OLD "9d1f 100 5000"
#define NEW "9d1f 200 6000"

static void set(struct buf *b, const char *text)
{
    buf_reset(b);
    buf_adds(b, text);
}

static void parses(const char *text, bool changing, const char *process, const char *rest)
{
    struct error err CLEANUP(error_clear) = {0};
    struct buf file CLEANUP(buf_free) = {0};
    struct buf again CLEANUP(buf_free) = {0};
    struct kept k CLEANUP(kept_free) = {0};
    set(&file, text);
    if (kept_parse(&file, &k, &err) != 0)
        fail_msg("%s", err.message);
    assert_true(k.there);
    assert_int_equal(k.changing, changing);
    assert_string_equal(k.process, process);
    assert_string_equal(buf_str(&k.text), rest);
    kept_write(&k, &again);
    assert_string_equal(buf_str(&again), text);
}

static void refused(const char *text)
{
    struct error err CLEANUP(error_clear) = {0};
    struct buf file CLEANUP(buf_free) = {0};
    struct kept k CLEANUP(kept_free) = {0};
    set(&file, text);
    assert_int_equal(kept_parse(&file, &k, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_non_null(err.next);
    assert_false(k.there);
}

static void test_the_copy(void **state)
{
    (void)state;
    parses("# encrypt: what the process " OLD " reads; changed\na: 1\n", false, OLD, "a: 1\n");
    parses("# encrypt: what the process " OLD " reads; changing\n", true, OLD, "");
    parses("# encrypt: what the process none reads; changed\n# c\r\n", false, "none", "# c\r\n");
    refused("");
    refused("kind: MasterConfig\n");
    refused("# encrypt: what the process " OLD " reads; changed");
    refused("# encrypt: what the process " OLD " reads; chang\na: 1\n");
    refused("# encrypt: what the process  reads; changed\na: 1\n");
}

static const char *read_by(const char *process, const char *kept_process, bool changing)
{
    struct openshift3_view v CLEANUP(openshift3_view_free) = {.there = true};
    set(&v.text, "new");
    if (kept_process) {
        v.kept = (struct kept){.there = true, .changing = changing};
        v.kept.process = mem_strdup(kept_process);
        set(&v.kept.text, "old");
    }
    if (process) {
        v.api.running = true;
        v.api.process.identity = mem_strdup(process);
    }
    const struct buf *read = openshift3_read_text(&v);
    return !read ? "unknown" : read == &v.kept.text ? "old" : "new";
}

/* A process that still runs the old flags never passes for one that runs the new. */
static void test_what_a_process_has_read(void **state)
{
    (void)state;
    assert_string_equal(read_by(OLD, NULL, false), "new");
    assert_string_equal(read_by(OLD, OLD, true), "old");
    assert_string_equal(read_by(OLD, OLD, false), "old");
    /* Came up while the file was being changed: either. */
    assert_string_equal(read_by(NEW, OLD, true), "unknown");
    assert_string_equal(read_by(NEW, "none", true), "unknown");
    assert_string_equal(read_by(NEW, OLD, false), "new");
    assert_string_equal(read_by(NEW, "none", false), "new");
    assert_string_equal(read_by(NULL, OLD, false), "unknown");
}

static void test_flag(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    struct node n = {.name = "10.0.0.1"};
    char *path = NULL;
    set(&text,
        "etcdClientInfo: {urls: [https://a]}\nkubernetesMasterConfig:\n  apiServerArguments: "
        "{experimental-encryption-provider-config: [/a/b]}\n");
    assert_int_equal(openshift3_flag(&n, &text, &path, &err), 0);
    assert_string_equal(path, "/a/b");
    mem_free(path);
    set(&text, "etcdClientInfo: {urls: [https://a]}\nkubernetesMasterConfig: {}\n");
    assert_int_equal(openshift3_flag(&n, &text, &path, &err), 0);
    assert_null(path);
    set(&text, "a: 1\n");
    assert_int_equal(openshift3_flag(&n, &text, &path, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_true(str_starts(err.message, "node 10.0.0.1: "));
}

static const char *reads_other(const char *one, const char *two, struct error *err)
{
    char *args[] = {"/usr/bin/openshift",   "start", "master", "api", (char *)(uintptr_t)one,
                    (char *)(uintptr_t)two, NULL};
    struct host_process p = {.args = args};
    struct node n = {.name = "10.0.0.1"};
    return openshift3_check_process(&n, &p, err) < 0 ? err->message : NULL;
}

/* A file that the master doesn't read would be edited, and taken for what it runs. */
static void test_a_master_of_another_file_is_refused(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    assert_null(reads_other("--config=" OPENSHIFT_CONFIG, NULL, &err));
    assert_null(reads_other("--config", OPENSHIFT_CONFIG, &err));
    assert_null(reads_other("--loglevel=2", NULL, &err));
    assert_null(reads_other("--config=master-config.yaml", NULL, &err));
    assert_non_null(strstr(reads_other("--config=/etc/o/m.yaml", NULL, &err), "/etc/o/m.yaml"));
    assert_int_equal(err.result, RESULT_REFUSED);
    error_clear(&err);
    assert_non_null(reads_other("--config", "/etc/o/m.yaml", &err));
}

static void test_controllers_that_somebody_stopped_stay_so(void **state)
{
    (void)state;
    struct openshift3_part p = {.loaded = true};
    assert_false(openshift3_part_is_wanted(&p));
    p.failed = true;
    assert_true(openshift3_part_is_wanted(&p));
    p = (struct openshift3_part){.loaded = true, .waiting = true};
    assert_true(openshift3_part_is_wanted(&p));
    p = (struct openshift3_part){.loaded = true, .coming = true};
    assert_true(openshift3_part_is_wanted(&p));
    p = (struct openshift3_part){.loaded = true, .active = true};
    assert_true(openshift3_part_is_wanted(&p));
    p = (struct openshift3_part){.failed = true};
    assert_false(openshift3_part_is_wanted(&p));
}

/* The commands that people are told: for each name that a master's units have. */
static void test_words_are_for_every_name_of_the_units(void **state)
{
    (void)state;
    static const char *const names[] = {"origin-master-api", "atomic-openshift-master-api",
                                        " origin-master ", " atomic-openshift-master "};
    const struct driver_words *w = &driver_openshift3.words;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_non_null(strstr(w->restart, names[i]));
        assert_non_null(strstr(w->restart_checked, names[i]));
        assert_non_null(strstr(w->start, names[i]));
        assert_non_null(strstr(w->take_away, names[i]));
    }
    /* Another process of the controllers proves nothing. */
    assert_null(strstr(strstr(w->restart_checked, "was="), "controllers; do if systemctl -q "
                                                           "is-enabled $u 2>/dev/null; then "
                                                           "systemctl show"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_copy),
        cmocka_unit_test(test_what_a_process_has_read),
        cmocka_unit_test(test_flag),
        cmocka_unit_test(test_a_master_of_another_file_is_refused),
        cmocka_unit_test(test_controllers_that_somebody_stopped_stay_so),
        cmocka_unit_test(test_words_are_for_every_name_of_the_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
