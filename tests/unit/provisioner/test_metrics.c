#include "provisioner/kube/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNTER "apiserver_storage_transformation_operations_total"

static double sum(const char *text, const char *prefix, bool *found)
{
    const struct metric_label labels[] = {
        {"transformation_type", "to_storage"}, {"transformer_prefix", prefix}, {"status", "OK"}};
    return metrics_sum(text, COUNTER, labels, ARRAY_LEN(labels), found);
}

/* As kube-apiserver 1.20.2 says it. */
static const char answer[] =
    "# HELP " COUNTER " [ALPHA] Total number of transformations.\n"
    "# TYPE " COUNTER " counter\n" COUNTER "{status=\"OK\",transformation_type=\"from_storage\","
    "transformer_prefix=\"key-atd0s:\"} 255\n" COUNTER
    "{status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"k8s:enc:aesgcm:"
    "v1:\"} 61\n" COUNTER
    "{status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"key-atd0s:\"} 61\n"
    "apiserver_storage_transformation_duration_seconds_count{} 7\n";

static void a_keys_writes_are_counted_and_its_reads_are_not(void **state)
{
    (void)state;
    bool found = false;
    assert_int_equal((int)sum(answer, "key-atd0s:", &found), 61);
    assert_true(found);
    assert_int_equal((int)sum(answer, "key-other:", &found), 0);
    assert_false(found);
}

static void lines_that_have_more_labels_are_summed(void **state)
{
    (void)state;
    bool found = false;
    const char *text =
        COUNTER "{resource=\"secrets\",status=\"OK\",transformation_type=\"to_storage"
                "\",transformer_prefix=\"k:\"} 1.5e+03\n" COUNTER
                "{resource=\"configmaps\",status=\"OK\",transformation_type="
                "\"to_storage\",transformer_prefix=\"k:\",} 4";
    assert_int_equal((int)sum(text, "k:", &found), 1504);
}

static void values_of_labels_are_unescaped(void **state)
{
    (void)state;
    bool found = false;
    const char *text = COUNTER "{status=\"OK\",transformation_type=\"to_storage\","
                               "transformer_prefix=\"a\\\"}\\\\ 9\\n:\"} 3\n";
    assert_int_equal((int)sum(text, "a\"}\\ 9\n:", &found), 3);
}

static void what_can_not_be_read_counts_as_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        COUNTER,
        COUNTER "{",
        COUNTER "{status=\"OK",
        COUNTER "{status=OK} 1\n",
        COUNTER "{status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"k:\"",
        COUNTER "{status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"k:\"}",
        COUNTER "{status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"k:\"} x\n",
        COUNTER "{status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"k:\"} NaN",
        /* The number of the line after it is not its own. */
        COUNTER "{status=\"OK\",transformation_type=\"to_storage\",transformer_prefix=\"k:\"}\n7\n",
        COUNTER "_created{status=\"OK\",transformation_type=\"to_storage\","
                "transformer_prefix=\"k:\"} 5\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        bool found = true;
        assert_int_equal((int)sum(texts[i], "k:", &found), 0);
        assert_false(found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_keys_writes_are_counted_and_its_reads_are_not),
        cmocka_unit_test(lines_that_have_more_labels_are_summed),
        cmocka_unit_test(values_of_labels_are_unescaped),
        cmocka_unit_test(what_can_not_be_read_counts_as_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
