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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_copy),
        cmocka_unit_test(test_what_a_process_has_read),
        cmocka_unit_test(test_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
