/* The drop-in: the unit's own command, and the flag where it counts. */
#include "templates/unit_dropin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FLAG "encryption-provider-config"
#define UNIT "/etc/systemd/system/kube-apiserver.service"

static char **args_of(const struct unit_file *files, size_t count)
{
    struct unit_service s CLEANUP(unit_service_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    static char *environment[] = {"KUBE_API_ARGS=--v=2 --" FLAG "=/own.yaml", NULL};
    bool whole = true;
    if (unit_service_read(files, count, &s, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(s.count, 1);
    return unit_command_args(s.commands[0], environment, &whole);
}

/* The words of before, then the flag. */
static void the_command_stays_as_it_is_and_gets_the_flag_at_its_end(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "/usr/local/bin/kube-apiserver --etcd-servers=https://10.0.0.1:2379",
        "/usr/local/bin/kube-apiserver \\\n  --a=1 \\\n  --b=2",
        "-/usr/bin/kube-apiserver $KUBE_LOGTOSTDERR $KUBE_API_ARGS",
        "@/opt/k8s/hyperkube kube-apiserver apiserver --x='a b' \"--y=c \\\n d\"",
        "/usr/bin/kube-apiserver --a=100%% --b=$$x --c=%H",
    };
    static const char *const values[] = {"/etc/kubernetes/encryption.yaml", NULL,
                                         "/a folder/100% \"$x\"\\y"};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        for (size_t v = 0; v < ARRAY_LEN(values); v++) {
            char *unit CLEANUP(cleanup_mem) = mem_printf("[Service]\nExecStart=%s\n", commands[i]);
            struct buf dropin CLEANUP(buf_free) = {0};
            unit_dropin_write(commands[i], FLAG, values[v], &dropin);
            struct unit_file files[] = {{UNIT, unit, strlen(unit)},
                                        {UNIT ".d/" UNIT_DROPIN_NAME, dropin.data, dropin.len}};
            char **before CLEANUP(cleanup_unit_args) = args_of(files, 1);
            char **after CLEANUP(cleanup_unit_args) = args_of(files, 2);
            char *flag CLEANUP(cleanup_mem) =
                mem_printf("--" FLAG "=%s", values[v] ? values[v] : "");
            size_t k = 0;
            for (; before[k]; k++)
                assert_string_equal(before[k], after[k]);
            assert_string_equal(after[k], flag);
            assert_null(after[k + 1]);

            char *told CLEANUP(cleanup_mem) = NULL;
            assert_true(unit_dropin_read(dropin.data, dropin.len, &told));
            assert_true(str_eq(told, values[v]));
        }
    }
}

static void a_drop_in_of_somebody_else_is_not_taken_for_ours(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "[Service]\nExecStart=\nExecStart=/bin/a --" FLAG "=/x\n",
                                        "[Service]\n# Made by encrypt\nExecStart=/bin/a\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char *told CLEANUP(cleanup_mem) = NULL;
        assert_false(unit_dropin_read(texts[i], strlen(texts[i]), &told));
        assert_null(told);
    }
}

static void where_it_would_not_do_it_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *unit, *name, *dropin, *message, *next;
    } table[] = {
        {"[Service]\nExecStart=/usr/bin/kube-apiserver\n", "10-env.conf",
         "[Service]\nExecStart=\nExecStart=/opt/kube-apiserver\n", NULL, NULL},
        {"[Service]\nExecStart=/usr/bin/kube-apiserver\n", "90-limits.conf",
         "[Service]\nLimitNOFILE=9\n", NULL, NULL},
        {"[Service]\nExecStart=/usr/bin/kube-apiserver\n", "90-flags.conf",
         "[Service]\nExecStart=\nExecStart=/opt/kube-apiserver\n", "90-flags.conf", "sorts before"},
        {"[Service]\nExecStart=/usr/bin/kube-apiserver\n", "90-flags.conf",
         "[Service]\nExecStart=\n", "90-flags.conf", "--" FLAG "=/e.yaml"},
        {"[Service]\nExecStart=/bin/a\nExecStart=/bin/b\n", NULL, NULL, "one ExecStart=", ""},
        {"[Service]\nExecStart=/bin/a ; /bin/b\n", NULL, NULL, "one ExecStart=", ""},
        {"[Service]\nUser=x\n", NULL, NULL, "one ExecStart=", "--" FLAG "=/e.yaml"},
        {"[Service]\nExecStart=/bin/a 'b\n", NULL, NULL, "one ExecStart=", ""},
        {"[Service]\nExecStart=/bin/sh -c 'exec kube-apiserver $X'\n", NULL, NULL, "shell",
         "--" FLAG "=/e.yaml"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *path CLEANUP(cleanup_mem) =
            mem_printf(UNIT ".d/%s", table[i].name ? table[i].name : "");
        struct unit_file files[] = {
            {UNIT, table[i].unit, strlen(table[i].unit)},
            {path, table[i].dropin, table[i].dropin ? strlen(table[i].dropin) : 0}};
        size_t count = table[i].dropin ? 2 : 1;
        struct unit_service s CLEANUP(unit_service_free) = {0};
        struct error err CLEANUP(error_clear) = {0};
        assert_int_equal(unit_service_read(files, count, &s, &err), 0);
        int rc = unit_dropin_check(files, count, &s, FLAG, "/e.yaml", &err);
        if (rc != (table[i].message ? -1 : 0))
            fail_msg("row %zu: %d %s", i, rc, err.message ? err.message : "");
        if (!table[i].message)
            continue;
        assert_int_equal(err.result, RESULT_REFUSED);
        assert_non_null(strstr(err.message, table[i].message));
        assert_non_null(strstr(err.next, table[i].next));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_stays_as_it_is_and_gets_the_flag_at_its_end),
        cmocka_unit_test(a_drop_in_of_somebody_else_is_not_taken_for_ours),
        cmocka_unit_test(where_it_would_not_do_it_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
