#include "base/buf.h"
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_buf(void **state)
{
    (void)state;
    struct buf b CLEANUP(buf_free) = {0};
    assert_string_equal(buf_str(&b), "");
    buf_add(&b, NULL, 0);
    assert_string_equal(b.data, "");
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i);
    assert_int_equal(b.len, strlen(b.data));
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
    assert_memory_equal(b.data, "0,1,2,", 6);
    buf_reset(&b);
    assert_string_equal(b.data, "");
    buf_adds(&b, "again");
    assert_string_equal(b.data, "again");
    char *to = buf_reserve(&b, 5000);
    memset(to, 'x', 5000);
    b.len += 5000;
    assert_true(b.cap > 5005);
    buf_free(&b);
    assert_null(b.data);
}

static void test_grow(void **state)
{
    (void)state;
    size_t *items = NULL;
    for (size_t i = 0; i < 100; i++) {
        MEM_GROW(items, i);
        items[i] = i;
    }
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(items[i], i);
    mem_free(items);
}

static void test_error(void **state)
{
    (void)state;
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(error_set(&err, RESULT_REFUSED, "no %d", 1), -1);
    assert_int_equal(error_wrap(&err, "node %s", "n1"), -1);
    assert_string_equal(err.message, "node n1: no 1");
    assert_int_equal(err.result, RESULT_REFUSED);
    error_next(&err, "inner");
    error_next(&err, "outer");
    assert_string_equal(err.next, "inner");
    struct error to CLEANUP(error_clear) = {0};
    error_set(&to, RESULT_FAILED, "old");
    assert_int_equal(error_move(&to, &err), -1);
    assert_string_equal(to.message, "node n1: no 1");
    assert_null(err.message);
    assert_int_equal(err.result, RESULT_OK);
}

static void test_strings(void **state)
{
    (void)state;
    assert_true(str_eq(NULL, NULL));
    assert_false(str_eq("", NULL));
    assert_true(str_eq("a", "a"));
    assert_true(str_starts("abc", "ab"));
    assert_false(str_starts("a", "ab"));
    assert_null(mem_strdup(NULL));
    char *s CLEANUP(cleanup_mem) = mem_strndup("abc", 2);
    assert_string_equal(s, "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf),
        cmocka_unit_test(test_grow),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
