#include "base/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct yaml *read_ok(const char *text)
{
    struct error err CLEANUP(error_clear) = {0};
    struct yaml *y = NULL;
    if (yaml_read(text, strlen(text), "f.yml", &y, &err) != 0)
        fail_msg("%s", err.message);
    assert_non_null(y);
    assert_null(err.message);
    return y;
}

static void refused_len(const char *text, size_t len, const char *where)
{
    struct error err CLEANUP(error_clear) = {0};
    struct yaml *y = NULL;
    assert_int_equal(yaml_read(text, len, "f.yml", &y, &err), -1);
    assert_null(y);
    assert_int_equal(err.result, RESULT_REFUSED);
    if (!strstr(err.message, where))
        fail_msg("'%s' lacks '%s'", err.message, where);
}

static void refused(const char *text, const char *where)
{
    refused_len(text, strlen(text), where);
}

static const char *text_at(const struct yaml *y, const char *a, const char *b)
{
    const struct yaml *found = yaml_path(y, a, b, NULL);
    return found ? found->scalar : NULL;
}

static void test_tree(void **state)
{
    (void)state;
    struct yaml *y CLEANUP(cleanup_yaml) =
        read_ok("# c\na: 1\nb:\n  c: 'x y'\n  d: [p, \"q\"]\ne: ~\n\"null\": |\n  block\n");
    assert_int_equal(y->kind, YAML_KIND_MAP);
    assert_int_equal(y->count, 4);
    assert_string_equal(yaml_get(y, "a")->scalar, "1");
    assert_false(yaml_get(y, "a")->quoted);
    assert_string_equal(text_at(y, "b", "c"), "x y");
    assert_true(yaml_path(y, "b", "c", NULL)->quoted);
    const struct yaml *d = yaml_path(y, "b", "d", NULL);
    assert_int_equal(d->kind, YAML_KIND_LIST);
    assert_int_equal(d->count, 2);
    assert_int_equal(d->line, 5);
    assert_int_equal(d->column, 6);
    assert_int_equal(d->items[1]->column, 10);
    assert_true(yaml_is_null(yaml_get(y, "e")));
    assert_string_equal(yaml_get(y, "null")->scalar, "block\n");
    assert_null(yaml_get(y, "nothing"));
    assert_null(yaml_path(y, "a", "b", "c", NULL));
    assert_null(yaml_path(NULL, "a", NULL));
    assert_true(yaml_is_null(NULL));
}

static void test_json(void **state)
{
    (void)state;
    struct yaml *y CLEANUP(cleanup_yaml) =
        read_ok("{\"a\":{\"b\":\"x\\/y\\n\"},\n\t\"l\":[{\"n\":1}],\"e\":\"\"}");
    assert_string_equal(text_at(y, "a", "b"), "x/y\n");
    assert_string_equal(text_at(yaml_get(y, "l")->items[0], "n", NULL), "1");
    assert_string_equal(yaml_get(y, "e")->scalar, "");
    assert_false(yaml_is_null(yaml_get(y, "e")));
}

static void test_empty(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n \n", "# only this\n", "---\n", "---\n...\n", "~"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct yaml *y CLEANUP(cleanup_yaml) = read_ok(texts[i]);
        assert_int_equal(y->kind, YAML_KIND_NULL);
    }
}

static void test_aliases(void **state)
{
    (void)state;
    struct yaml *y CLEANUP(cleanup_yaml) = read_ok(
        "a: &x {k: v}\nb: *x\nc: &s text\nd: *s\ne: [&x other, *x]\nf: *x\n? &k g\n: 1\nh: *k\n");
    assert_string_equal(text_at(y, "b", "k"), "v");
    assert_string_equal(text_at(y, "d", NULL), "text");
    assert_string_equal(yaml_get(y, "e")->items[1]->scalar, "other");
    assert_string_equal(text_at(y, "f", NULL), "other");
    assert_string_equal(text_at(y, "h", NULL), "g");
}

static void test_merges(void **state)
{
    (void)state;
    struct yaml *y CLEANUP(cleanup_yaml) = read_ok("base: &b {p: 1, q: 2}\nmore: &m {q: 3, r: 4}\n"
                                                   "before: {<<: *b, q: own}\n"
                                                   "after: {q: own, <<: *b}\n"
                                                   "list: {<<: [*b, *m]}\n"
                                                   "inline: {<<: &i {z: 9}, w: 8}\nlater: *i\n"
                                                   "quoted: {\"<<\": *b}\n");
    assert_string_equal(text_at(y, "before", "q"), "own");
    assert_string_equal(text_at(y, "before", "p"), "1");
    assert_int_equal(yaml_duplicate(yaml_get(y, "before")), -1);
    /* go-yaml v2 takes members in the order they stand in. */
    assert_string_equal(text_at(y, "after", "q"), "2");
    assert_int_equal(yaml_get(y, "after")->count, 2);
    assert_string_equal(text_at(y, "list", "q"), "2");
    assert_string_equal(text_at(y, "list", "r"), "4");
    assert_int_equal(yaml_get(y, "list")->count, 3);
    assert_string_equal(text_at(y, "inline", "z"), "9");
    assert_string_equal(text_at(y, "later", "z"), "9");
    assert_non_null(yaml_path(y, "quoted", "<<", "p", NULL));
    refused("a: {<<: text}", "f.yml:1:9: a merge");
    refused("a: {<<: [1]}", "a merge");
}

static void test_replaced_anchor_lives_on(void **state)
{
    (void)state;
    struct yaml *y CLEANUP(cleanup_yaml) =
        read_ok("b: &b {k: 1}\nm: {k: &a old, <<: *b}\nuse: *a\n");
    assert_string_equal(text_at(y, "m", "k"), "1");
    assert_string_equal(text_at(y, "use", NULL), "old");
}

static void test_duplicate(void **state)
{
    (void)state;
    struct yaml *y CLEANUP(cleanup_yaml) = read_ok("a: 1\nb: 2\na: 3\nc: 4\n");
    assert_int_equal(yaml_duplicate(y), 2);
    assert_string_equal(yaml_get(y, "a")->scalar, "3");
    assert_int_equal(yaml_duplicate(yaml_get(y, "a")), -1);
    assert_int_equal(yaml_duplicate(NULL), -1);
}

static void test_refused(void **state)
{
    (void)state;
    refused("a: [1", "f.yml:");
    refused("a: 1\n b: 2\n", "f.yml:2:");
    refused("a: \"\\0\"", "f.yml:1:4: a scalar with a NUL");
    refused("a: 1\n---\nb: 2\n", "f.yml:2:1: more than one document");
    refused("? [a]\n: b\n", "f.yml:1:3: a key that is no scalar");
    refused("x: &a {b: c}\n? *a\n: d\n", "a key that is no scalar");
    refused("a: *nothing", "f.yml:1:4: an alias to an anchor");
    refused("a: &a [*a]", "f.yml:1:8: an alias inside");
    refused("a: &a [b]\nb: &a [*a]", "f.yml:2:8: an alias inside");
    refused("a: !!binary aGk=", "!!binary");
    refused("a: \xff\xfe", "f.yml: byte 3");
    refused("a: \xc0\x80", "f.yml: byte 3");
    refused_len("a: b\0c", 6, "f.yml: byte 4");
    refused("a: @b", "f.yml:1:");
}

static void test_no_value_is_quoted(void **state)
{
    (void)state;
    static const char *const texts[] = {"secret: SESAME: x",    "secret: \"SESAME",
                                        "secret: 'SESAME' b",   "[SESAME",
                                        "secret: &SESAME *b c", "- SESAME\nb: c"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct yaml *y = NULL;
        assert_int_equal(yaml_read(texts[i], strlen(texts[i]), "f", &y, &err), -1);
        assert_null(strstr(err.message, "SESAME"));
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct buf deep CLEANUP(buf_free) = {0};
    for (int i = 0; i < 64; i++)
        buf_adds(&deep, "[");
    for (int i = 0; i < 64; i++)
        buf_adds(&deep, "]");
    struct yaml *y CLEANUP(cleanup_yaml) = read_ok(deep.data);
    assert_int_equal(y->count, 1);
    struct buf deeper CLEANUP(buf_free) = {0};
    buf_printf(&deeper, "[%s]", deep.data);
    refused(deeper.data, "nested too deep");

    struct buf laughs CLEANUP(buf_free) = {0};
    buf_adds(&laughs, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++)
        buf_printf(&laughs, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
                   i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    refused(laughs.data, "aliases multiply");

    struct buf chain CLEANUP(buf_free) = {0};
    buf_adds(&chain, "a0: &a0 [x]\n");
    for (int i = 1; i < 70; i++)
        buf_printf(&chain, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    refused(chain.data, "nested too deep");
}

static void test_scalars(void **state)
{
    (void)state;
    struct yaml *y CLEANUP(cleanup_yaml) =
        read_ok("[yes, Off, 'yes', 17, -3, +4, 1_000, 010, 0, 0x10, 9223372036854775808, 1.5, '7', "
                "!!str 8, y]");
    bool b = false;
    assert_true(yaml_bool(y->items[0], &b) && b);
    assert_true(yaml_bool(y->items[1], &b) && !b);
    assert_false(yaml_bool(y->items[2], &b));
    assert_true(yaml_bool(y->items[14], &b) && b);
    long n = 0;
    assert_true(yaml_int(y->items[3], &n) && n == 17);
    assert_true(yaml_int(y->items[4], &n) && n == -3);
    assert_true(yaml_int(y->items[5], &n) && n == 4);
    assert_true(yaml_int(y->items[6], &n) && n == 1000);
    assert_false(yaml_int(y->items[7], &n));
    assert_true(yaml_int(y->items[8], &n) && n == 0);
    for (size_t i = 9; i < 14; i++)
        assert_false(yaml_int(y->items[i], &n));
}

static void test_plain_strings(void **state)
{
    (void)state;
    static const char *const strings[] = {"key-a1b2c", "a",   "-",     "1a",    "1e",
                                          "_1",        "0xg", "1.2.3", "AAAA=", "2001-01-01",
                                          "+a",        ".",   "e5"};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        if (!yaml_plain_is_string(strings[i]))
            fail_msg("'%s' is a string", strings[i]);
    static const char *const others[] = {"",    "~",    "null", "yes",   "n",    "On",   "1",
                                         "-1",  "+1.5", "1e3",  "1.",    ".5",   "0x1f", "0b1",
                                         "0o7", "017",  "1_0",  "-.inf", ".NaN", "<<"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (yaml_plain_is_string(others[i]))
            fail_msg("'%s' is no string", others[i]);
}

static void stands(const char *text, const struct yaml *y, bool flow, const char *expected)
{
    assert_non_null(y);
    assert_int_equal(y->flow, flow);
    char *found CLEANUP(cleanup_mem) = mem_strndup(text + y->begin, y->end - y->begin);
    assert_string_equal(found, expected);
}

/* Where lists and maps stand: what edits a text leans on it. */
static void test_places(void **state)
{
    (void)state;
    static const char text[] = "# \xc3\xa9\n"
                               "a: &x {p: [1, \"\xc3\xa9\" ], q: {}} # c\n"
                               "b:\n"
                               "  c:\n"
                               "  - one # d\n"
                               "  - *x\n"
                               "  # e\n"
                               "  n:\n"
                               "d: !!map\n"
                               "  k: v\n"
                               "\n"
                               "e: []\n";
    struct yaml *y CLEANUP(cleanup_yaml) = read_ok(text);
    stands(text, yaml_get(y, "a"), true, "{p: [1, \"\xc3\xa9\" ], q: {}}");
    stands(text, yaml_path(y, "a", "p", NULL), true, "[1, \"\xc3\xa9\" ]");
    stands(text, yaml_path(y, "a", "q", NULL), true, "{}");
    stands(text, yaml_get(y, "b"), false, "c:\n  - one # d\n  - *x\n  # e\n  n:");
    stands(text, yaml_path(y, "b", "c", NULL), false, "- one # d\n  - *x");
    stands(text, yaml_path(y, "b", "c", NULL)->items[1], true, "{p: [1, \"\xc3\xa9\" ], q: {}}");
    stands(text, yaml_path(y, "b", "n", NULL), false, "");
    stands(text, yaml_get(y, "d"), false, "k: v");
    stands(text, yaml_get(y, "e"), true, "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_merges),
        cmocka_unit_test(test_replaced_anchor_lives_on),
        cmocka_unit_test(test_duplicate),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_no_value_is_quoted),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_plain_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
