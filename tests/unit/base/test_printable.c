#include "base/printable.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void leaves_nothing_for_the_terminal_to_obey(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"", ""},
        {"plain text\nsecond line\n", "plain text\nsecond line\n"},
        {"\033[2J\033]0;title\a", "?[2J?]0;title?"},
        {"a\tb\rc\bd\177", "a b?c?d?"},
        {"Zürich, 東京, 𝄞", "Zürich, 東京, 𝄞"},
        {"\302\2331m \302\205 \302\240 \302\237", "?1m ? \302\240 ?"}, /* C1; U+00A0 is none */
        {"\x9b[31m \xff\xfe", "?[31m ??"},
        {"\300\257 \301\277", "?? ??"}, /* overlong */
        {"\340\200\257 \360\200\200\257", "??? ????"},
        {"\355\240\200", "???"}, /* a surrogate */
        {"\364\217\277\277 \364\220\200\200", "\364\217\277\277 ????"},
        {"\370\210\200\200\200", "?????"},
        {"cut \346\235", "cut ??"}, /* in the middle of a character */
        {"cut \360", "cut ?"},
        {"\346\235x", "??x"},
        {"\302\033[m", "??[m"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *got CLEANUP(cleanup_mem) = make_printable(table[i][0]);
        assert_string_equal(got, table[i][1]);
    }
    assert_null(make_printable(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_nothing_for_the_terminal_to_obey),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
