#include "provisioner/stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER "f14620f9-0c61-4005-8768-3e342ca067af"
#define OTHER "00000000-0c61-4005-8768-3e342ca067af"

static char first[] = "11111111-0c61-4005-8768-3e342ca067af";
static char second[] = "22222222-0c61-4005-8768-3e342ca067af";
static char cluster[] = CLUSTER;

static struct stamp from(const char *text)
{
    struct error err CLEANUP(error_clear) = {0};
    struct stamp s = {0};
    if (stamp_parse(text, strlen(text), "f", &s, &err) != 0)
        fail_msg("%s", err.message);
    return s;
}

static struct stamp stamp_of(const struct journal *j)
{
    struct buf text CLEANUP(buf_free) = {0};
    stamp_write(j, "eve@there", &text);
    return from(buf_str(&text));
}

static void what_is_written_reads(void **state)
{
    (void)state;
    struct transition t = {.id = first};
    struct journal j = {.cluster_id = cluster, .generation = 7, .transition = &t};
    struct stamp s CLEANUP(stamp_free) = stamp_of(&j);
    assert_string_equal(s.cluster, CLUSTER);
    assert_string_equal(s.transition, first);
    assert_string_equal(s.by, "eve@there");
    assert_int_equal(s.generation, 7);
    j.transition = NULL;
    struct stamp closed CLEANUP(stamp_free) = stamp_of(&j);
    assert_string_equal(closed.transition, "");
}

static void what_is_no_stamp_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "{\"version\": 1}",
        "{\"version\": 1, \"cluster\": \"c\", \"generation\": \"3\", \"transition\": \"\", "
        "\"by\": \"\", \"at\": \"\"}",
        "{\"version\": 1, \"cluster\": \"c\", \"generation\": -1, \"transition\": \"\", "
        "\"by\": \"\", \"at\": \"\"}",
        "{\"version\": 1, \"cluster\": \"c\", \"generation\": 1",
        "{\"version\": 2, \"cluster\": 1}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct stamp s CLEANUP(stamp_free) = {0};
        assert_int_equal(stamp_parse(texts[i], strlen(texts[i]), "node a: f", &s, &err), -1);
        assert_int_equal(err.result, RESULT_REFUSED);
        assert_non_null(strstr(err.message, "node a: f"));
    }
}

/* Whose state file may change a node that bears a stamp. */
static void an_older_or_foreign_state_is_refused_with_both_generations(void **state)
{
    (void)state;
    static const struct {
        const char *cluster, *transition;
        int64_t generation;
        int rc;
        const char *says;
    } table[] = {
        {CLUSTER, first, 5, 1, NULL},
        {CLUSTER, first, 4, 0, NULL},
        {CLUSTER, second, 4, 0, NULL},
        {CLUSTER, "", 0, 0, NULL},
        {CLUSTER, first, 6, -1,
         "generation 6 of the state file (by eve@there, then), and s.rkestate has generation 5"},
        {CLUSTER, second, 5, -1, "two copies of the state file went apart"},
        {CLUSTER, "", 5, -1, "two copies of the state file went apart"},
        {OTHER, first, 5, -1, "another cluster's file"},
        {OTHER, first, 1, -1,
         "(generation 1, by eve@there, then), and s.rkestate is of " CLUSTER " (generation 5)"},
    };
    struct transition t = {.id = first};
    struct journal j = {.cluster_id = cluster, .generation = 5, .transition = &t};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct error err CLEANUP(error_clear) = {0};
        char *text CLEANUP(cleanup_mem) =
            mem_printf("{\"version\": 1, \"cluster\": \"%s\", \"generation\": %d, \"transition\": "
                       "\"%s\", \"by\": \"eve@there\", \"at\": \"then\"}",
                       table[i].cluster, (int)table[i].generation, table[i].transition);
        struct stamp s CLEANUP(stamp_free) = from(text);
        assert_int_equal(stamp_judge(&s, &j, "a", "s.rkestate", &err), table[i].rc);
        if (table[i].rc >= 0)
            continue;
        assert_int_equal(err.result, RESULT_REFUSED);
        assert_non_null(err.next);
        if (!strstr(err.message, table[i].says))
            fail_msg("%s", err.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads),
        cmocka_unit_test(what_is_no_stamp_is_refused),
        cmocka_unit_test(an_older_or_foreign_state_is_refused_with_both_generations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
