/* Units as systemd reads them: what starts, with which words, by which environment. */
#include "templates/unit_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct unit_service read_unit(const char *const *texts)
{
    struct unit_file files[4] = {0};
    struct unit_service s = {0};
    struct error err CLEANUP(error_clear) = {0};
    size_t count = 0;
    for (; texts[count]; count++)
        files[count] = (struct unit_file){"u.service", texts[count], strlen(texts[count])};
    if (unit_service_read(files, count, &s, &err) < 0)
        fail_msg("%s", err.message);
    return s;
}

static void what_starts_is_what_systemd_would_start(void **state)
{
    (void)state;
    static const struct {
        const char *texts[4];
        const char *commands[3];
    } table[] = {
        {{"[Service]\nExecStart=/bin/a --x\n"}, {"/bin/a --x"}},
        {{"[Unit]\nExecStart=/bin/no\n[Service]\nExecStart = /bin/a  --x \t\n"}, {"/bin/a  --x"}},
        {{"[Service]\r\nExecStart=/bin/a\r\n"}, {"/bin/a"}},
        {{"[Service]\nExecStart=/bin/a"}, {"/bin/a"}},
        /* as written, over many lines; comments in between are none of it */
        {{"[Service]\nExecStart=/bin/a \\\n  --x \\\n# no\n ; no\n  --y\nRestart=always\n"},
         {"/bin/a \\\n  --x \\\n  --y"}},
        {{"[Service]\nExecStart=/bin/a \\\n"}, {"/bin/a"}},
        /* a blank line ends it */
        {{"[Service]\nExecStart=/bin/a \\\n  --x \\\n\nExecStart=/bin/b\n"},
         {"/bin/a \\\n  --x", "/bin/b"}},
        {{"[Service]\nExecStart=/bin/a \\\n \t\n--x\n"}, {"/bin/a"}},
        {{"[Service]\nExecStart=/bin/a b\\\\\\\n\n"}, {"/bin/a b\\\\"}},
        {{"[Service]\nExecStart=/bin/a 'b\\\\'\nUser=x\n"}, {"/bin/a 'b\\\\'"}},
        /* several, and an empty one that takes those before it away */
        {{"[Service]\nExecStart=/bin/a\nExecStart=/bin/b\n"}, {"/bin/a", "/bin/b"}},
        {{"[Service]\nExecStart=/bin/a\nExecStart=\nExecStart=/bin/b\n"}, {"/bin/b"}},
        {{"[Service]\nExecStart=/bin/a\n", "[Service]\nExecStart=\nExecStart=/bin/b\n"},
         {"/bin/b"}},
        {{"[Service]\nExecStart=/bin/a\n", "[Service]\nRestart=no\n"}, {"/bin/a"}},
        {{"[Service]\nExecStart=/bin/a\n", "[Service]\nExecStart=\n"}, {NULL}},
        {{"[Service]\n#ExecStart=/bin/a\nExecStartPre=/bin/b\nExecStartPost=/bin/c\n"}, {NULL}},
        {{"[X-Service]\nExecStart=/bin/a\n"}, {NULL}},
        {{""}, {NULL}},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct unit_service s CLEANUP(unit_service_free) = read_unit(table[i].texts);
        size_t k = 0;
        for (; table[i].commands[k]; k++) {
            if (k >= s.count || !str_eq(s.commands[k], table[i].commands[k]))
                fail_msg("row %zu: \"%s\"", i, k < s.count ? s.commands[k] : "none");
        }
        assert_int_equal(s.count, k);
    }
}

static void what_cannot_be_told_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        size_t len;
    } table[] = {
        {".include /usr/lib/systemd/system/kube-apiserver.service\n[Service]\n", "u.service:1:", 0},
        {"[Service]\nEnvironment=\"A=b\n", "u.service:2:", 0},
        {"[Service]\nUser=a\0b\n", "NUL", 18},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct unit_file f = {"u.service", table[i].text,
                              table[i].len ? table[i].len : strlen(table[i].text)};
        struct unit_service s CLEANUP(unit_service_free) = {0};
        struct error err CLEANUP(error_clear) = {0};
        assert_int_equal(unit_service_read(&f, 1, &s, &err), -1);
        assert_int_equal(err.result, RESULT_REFUSED);
        assert_non_null(strstr(err.message, table[i].message));
    }
}

static char *joined(char *const *args)
{
    struct buf out CLEANUP(buf_free) = {0};
    for (size_t i = 0; args && args[i]; i++)
        buf_printf(&out, "%s%s", i ? "|" : "", args[i]);
    return args ? mem_strdup(buf_str(&out)) : mem_strdup("NULL");
}

static void words_are_systemds(void **state)
{
    (void)state;
    static const struct {
        const char *command, *args;
        bool whole;
    } table[] = {
        {"/bin/a --x=1  --y\t--z", "/bin/a|--x=1|--y|--z", true},
        {"-/bin/a x", "/bin/a|x", true},
        {"@/bin/a name x", "/bin/a|name|x", true},
        {"+-/bin/a", "/bin/a", true},
        {"/bin/a 'b c' \"d  e\" f'g h'i", "/bin/a|b c|d  e|fg hi", true},
        {"/bin/a \"it's\" 'say \"x\"' ''", "/bin/a|it's|say \"x\"|", true},
        {"/bin/a \\x41 \\101 b\\sc d\\\\e \\\"", "/bin/a|A|A|b c|d\\e|\"", true},
        {"/bin/a \\\n  --x \\\n\t'y \\\n  z'", "/bin/a|--x|y    z", true},
        {"/bin/a 100%% $$HOME", "/bin/a|100%|$HOME", true},
        {"/bin/a --name=%n", "/bin/a|--name=%n", false},
        {"/bin/a \\q", "/bin/a|\\q", false},
        /* variables: a word of its own becomes many */
        {"/bin/a $ARGS --x", "/bin/a|--one|--two=2 3|--x", true},
        {"/bin/a ${ARGS}", "/bin/a|--one '--two=2 3'", true},
        {"/bin/a --v=${ONE}0 --w=$ONE", "/bin/a|--v=10|--w=$ONE", true},
        {"/bin/a $NONE ${NONE} $EMPTY x", "/bin/a||x", true},
        {"/bin/a \"$ONE\"", "/bin/a|1", true},
        {":/bin/a $ARGS ${ONE} $$", "/bin/a|$ARGS|${ONE}|$$", true},
        {"/bin/a $TWICE", "/bin/a|second", true},
        /* more than one command, or none that is whole */
        {"/bin/a ; /bin/b", "NULL", true},
        {"/bin/a \";\" x", "/bin/a|;|x", true},
        {"/bin/a 'b", "NULL", true},
        {"/bin/a b\\", "NULL", true},
        {"", "", true},
    };
    static char *environment[] = {"ARGS=--one '--two=2 3'", "ONE=1", "EMPTY=", "TWICE=first",
                                  "TWICE=second",           NULL};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        bool whole = true;
        char **args CLEANUP(cleanup_unit_args) =
            unit_command_args(table[i].command, environment, &whole);
        char *text CLEANUP(cleanup_mem) = joined(args);
        if (!str_eq(text, table[i].args) || whole != table[i].whole)
            fail_msg("%s: \"%s\", %d", table[i].command, text, whole);
    }
}

static void environment_comes_from_the_unit_and_from_files(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[Service]\nEnvironment=A=1 \"B=2 3\"\nEnvironment='C=x'\n"
        "EnvironmentFile=-/etc/kubernetes/config\nEnvironmentFile=/etc/kubernetes/apiserver\n",
        "[Service]\nEnvironment=A=4\n", NULL};
    struct unit_service s CLEANUP(unit_service_free) = read_unit(texts);
    char *set CLEANUP(cleanup_mem) = joined(s.environment);
    char *files CLEANUP(cleanup_mem) = joined(s.files);
    assert_string_equal(set, "A=1|B=2 3|C=x|A=4");
    assert_string_equal(files, "-/etc/kubernetes/config|/etc/kubernetes/apiserver");
    assert_true(s.whole);

    static const char *const none[] = {"[Service]\nEnvironment=A=1\nEnvironmentFile=/a\n",
                                       "[Service]\nEnvironment=\nEnvironmentFile=\n", NULL};
    struct unit_service t CLEANUP(unit_service_free) = read_unit(none);
    assert_null(t.environment[0]);
    assert_null(t.files[0]);
}

static void environment_files_are_read_as_systemd_does(void **state)
{
    (void)state;
    static const char text[] = "# KUBE_API_ARGS=\"--no\"\n"
                               "; X=no\n"
                               "KUBE_API_ADDRESS=\"--insecure-bind-address=127.0.0.1\"\n"
                               "KUBE_API_ARGS=\"--a=1 \\\n--b=2\" \r\n"
                               "  PLAIN = one two  \n"
                               "SINGLE='a \"b\" $c'\n"
                               "MIXED=a'b 'c\n"
                               "TWO='a' \"b\" \n"
                               "ESCAPED=\"a\\\"b\\nc\" \n"
                               "no assignment\n"
                               "1X=no\n"
                               "EMPTY=\n"
                               "LAST=end";
    char **environment CLEANUP(cleanup_unit_args) = mem_alloc(1, sizeof(*environment));
    unit_environment_add(&environment, text, strlen(text));
    char *got CLEANUP(cleanup_mem) = joined(environment);
    assert_string_equal(got, "KUBE_API_ADDRESS=--insecure-bind-address=127.0.0.1|"
                             "KUBE_API_ARGS=--a=1 --b=2|PLAIN=one two|SINGLE=a \"b\" $c|"
                             "MIXED=a'b 'c|TWO=ab|ESCAPED=a\"b\\nc|EMPTY=|LAST=end");
}

static void texts_for_a_shell_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        bool is;
    } table[] = {
        {"/bin/sh -c 'exec kube-apiserver $ARGS'", true},
        {"/bin/bash -ec \"kube-apiserver\"", true},
        {"bash -l -c kube-apiserver", true},
        {"/bin/sh /usr/local/bin/start-apiserver", false},
        {"/usr/local/bin/kube-apiserver -c", false},
        {"/bin/bash --norc /x", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        bool whole = true;
        char **args CLEANUP(cleanup_unit_args) = unit_command_args(table[i].command, NULL, &whole);
        if (unit_is_shell_text(args) != table[i].is)
            fail_msg("%s", table[i].command);
    }
    assert_false(unit_is_shell_text(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_starts_is_what_systemd_would_start),
        cmocka_unit_test(what_cannot_be_told_is_refused),
        cmocka_unit_test(words_are_systemds),
        cmocka_unit_test(environment_comes_from_the_unit_and_from_files),
        cmocka_unit_test(environment_files_are_read_as_systemd_does),
        cmocka_unit_test(texts_for_a_shell_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
