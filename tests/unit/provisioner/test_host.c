/* What the script of processes.c says. The whole lines are real ones. */
#include "provisioner/host/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define HEAD                                                                                       \
    "boot 6d95d9bd-3b4e-4034-8fae-114c05bf7f5b\n"                                                  \
    "btime 1795251155\n"                                                                           \
    "hz 100\n"
/* pid, name, state, and the time in ticks that it began */
#define STAT(pid, name, state, ticks)                                                              \
    "stat " pid " (" name ") " state " 1 775 775 0 -1 4194304 2118 0 12 0 3 5 0 0 20 0 9 0 " ticks \
    " 766959616 4321 18446744073709551615 1 1 0 0 0 0 0 4096 17663 0 0 0 17 1 0 0 0 0 0\n"
#define CMDLINE " 61 00 2d 2d 62 3d 63 00\n" /* a, --b=c */

static void expect_count(const char *text, size_t want)
{
    struct host_process *list = NULL;
    size_t count = 99;
    host_processes_parse(text, &list, &count);
    assert_int_equal(count, want);
    host_processes_free(list, count);
}

static void a_process_is_read_whole(void **state)
{
    (void)state;
    struct host_process *list = NULL;
    size_t count = 0;
    host_processes_parse(HEAD STAT("816", "kube-apiserver", "S", "5379438") CMDLINE "end\n", &list,
                         &count);
    assert_int_equal(count, 1);
    assert_int_equal(list[0].pid, 816);
    assert_string_equal(list[0].identity, "6d95d9bd-3b4e-4034-8fae-114c05bf7f5b 816 5379438");
    assert_string_equal(list[0].since, "2026-11-21T23:49:09Z");
    assert_string_equal(list[0].args[0], "a");
    assert_string_equal(list[0].args[1], "--b=c");
    assert_null(list[0].args[2]);
    host_processes_free(list, count);
}

static void arguments_keep_what_is_odd_in_them(void **state)
{
    (void)state;
    struct host_process *list = NULL;
    size_t count = 0;
    /* "a", "", "x\ny", " ", "" over two lines of od's */
    host_processes_parse(HEAD STAT("8", "a", "R", "1") " 61 00 00 78\n 0a 79 00 20 00 00\nend\n",
                         &list, &count);
    assert_int_equal(count, 1);
    static const char *const want[] = {"a", "", "x\ny", " ", ""};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_string_equal(list[0].args[i], want[i]);
    assert_null(list[0].args[ARRAY_LEN(want)]);
    host_processes_free(list, count);
}

static void a_name_may_hold_brackets_and_spaces(void **state)
{
    (void)state;
    struct host_process *list = NULL;
    size_t count = 0;
    host_processes_parse(HEAD STAT("8", "a) Z 1 (b", "S", "77") CMDLINE "end\n", &list, &count);
    assert_int_equal(count, 1);
    assert_string_equal(strrchr(list[0].identity, ' '), " 77");
    host_processes_free(list, count);
}

static void the_oldest_comes_first(void **state)
{
    (void)state;
    struct host_process *list = NULL;
    size_t count = 0;
    host_processes_parse(HEAD STAT("1", "a", "S", "30") CMDLINE "end\n" STAT("2", "a", "S", "9")
                             CMDLINE "end\n" STAT("3", "a", "S", "10") CMDLINE "end\n",
                         &list, &count);
    assert_int_equal(count, 3);
    assert_int_equal(list[0].pid, 2);
    assert_int_equal(list[1].pid, 3);
    assert_int_equal(list[2].pid, 1);
    host_processes_free(list, count);
}

static void what_has_ended_is_left_out(void **state)
{
    (void)state;
    expect_count(HEAD STAT("1", "a", "Z", "3") CMDLINE "end\n", 0);
    expect_count(HEAD STAT("1", "a", "X", "3") CMDLINE "end\n", 0);
    expect_count(HEAD STAT("1", "a", "S", "3") "end\n", 0);
    expect_count(HEAD STAT("1", "a", "Z", "3") "end\n" STAT("2", "a", "S", "4") CMDLINE "end\n", 1);
}

static void what_is_cut_off_is_left_out(void **state)
{
    (void)state;
    expect_count("", 0);
    expect_count(HEAD, 0);
    expect_count(HEAD STAT("1", "a", "S", "3") CMDLINE, 0);
    expect_count(HEAD "stat 1 (a) S 1 2 3\n" CMDLINE "end\n", 0);
    expect_count(HEAD "stat 1 (a\n" CMDLINE "end\n", 0);
    expect_count(HEAD "stat \n" CMDLINE "end\nend\n", 0);
    expect_count(HEAD STAT("1", "a", "S", "3") CMDLINE STAT("2", "a", "S", "4") CMDLINE "end\n", 1);
}

static void a_clock_that_makes_no_sense_gives_no_time(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "boot b\n",
        "boot b\nbtime 5\nhz 0\n",
        "boot b\nbtime 5\nhz -1\n",
        "boot b\nbtime -5\nhz 100\n",
        "boot b\nbtime 9223372036854775807\nhz 1\n",
        "boot b\nbtime 5\nhz 100\n", /* the ticks below */
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct host_process *list = NULL;
        size_t count = 0;
        char *text CLEANUP(cleanup_mem) = mem_printf(
            "%s%s", heads[i], STAT("1", "a", "S", "18446744073709551615") CMDLINE "end\n");
        host_processes_parse(text, &list, &count);
        assert_int_equal(count, 1);
        assert_null(list[0].since);
        host_processes_free(list, count);
    }
}

/* A kube-apiserver of a container, or of another unit, is none of this unit's. */
static void whose_process_it_is_is_told_by_its_group(void **state)
{
    (void)state;
    static const struct {
        const char *groups;
        bool is;
    } table[] = {
        {"cgroup 0::/system.slice/k.service\n", true},
        {"cgroup 0::/system.slice/k.service/inner\n", true},
        {"cgroup 0::/../../a/system.slice/k.service\n", true},
        {"cgroup 12:cpu,cpuacct:/\ncgroup 1:name=systemd:/system.slice/k.service\n", true},
        {"cgroup 0::/system.slice/k.service2\n", false},
        {"cgroup 0::/system.slice/docker-1f.scope\n", false},
        {"cgroup 0::/\n", false},
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct host_process *list = NULL;
        size_t count = 0;
        char *text CLEANUP(cleanup_mem) =
            mem_printf(HEAD STAT("8", "a", "S", "77") "%s" CMDLINE "end\n", table[i].groups);
        host_processes_parse(text, &list, &count);
        assert_int_equal(count, 1);
        assert_string_equal(list[0].args[0], "a");
        if (host_process_is_in(&list[0], "/system.slice/k.service") != table[i].is)
            fail_msg("%s", table[i].groups);
        assert_false(host_process_is_in(&list[0], ""));
        assert_false(host_process_is_in(&list[0], "/"));
        host_processes_free(list, count);
    }
}

/* A password is a matter of NOPASSWD; a command that isn't listed is none of that. */
static void what_sudo_refuses_is_told_as_it_is(void **state)
{
    (void)state;
    struct buf out CLEANUP(buf_free) = {0};
    host_may_not("never mv -f a b\npassword cat a\n", &out);
    assert_string_equal(buf_str(&out),
                        "sudo does not permit the SSH user to run:\n  mv -f a b\n  cat a");
    buf_reset(&out);
    host_may_not("password a\npassword b\npassword c\npassword d\npassword e\n", &out);
    assert_string_equal(buf_str(&out), "the SSH user may not run by sudo without a password:\n  a\n"
                                       "  b\n  c\n  d\n  and 1 more");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_sudo_refuses_is_told_as_it_is),
        cmocka_unit_test(whose_process_it_is_is_told_by_its_group),
        cmocka_unit_test(a_process_is_read_whole),
        cmocka_unit_test(arguments_keep_what_is_odd_in_them),
        cmocka_unit_test(a_name_may_hold_brackets_and_spaces),
        cmocka_unit_test(the_oldest_comes_first),
        cmocka_unit_test(what_has_ended_is_left_out),
        cmocka_unit_test(what_is_cut_off_is_left_out),
        cmocka_unit_test(a_clock_that_makes_no_sense_gives_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
