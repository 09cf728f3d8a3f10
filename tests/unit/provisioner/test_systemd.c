/* The driver for units, where it decides: whether a drop-in is needed, what a unit hides from its
 * apiserver, which log lines are told. */
#include "provisioner/drivers/systemd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FLAG "--encryption-provider-config="

static void set_args(struct apiserver *a, const char *text)
{
    size_t count = 0;
    char **args = mem_alloc(8, sizeof(*args));
    for (const char *p = text; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        args[count++] = mem_strndup(p, len);
        p += len;
    }
    apiserver_set_args(a, args);
}

static void a_drop_in_is_there_only_where_the_unit_does_not_say_it_itself(void **state)
{
    (void)state;
    static const struct {
        const char *says, *runs, *want; /* runs NULL: it doesn't */
        bool whole, needed;
    } table[] = {
        /* enabling, disabling, where only ours gives the flag */
        {"--a", "--a", "/e", true, true},
        {"--a", "--a " FLAG "/e", "/e", true, true},
        {"--a", "--a " FLAG "/e", NULL, true, false},
        {"--a", "--a", NULL, true, false},
        {"--a", NULL, "/e", true, true},
        {"--a", NULL, NULL, true, false},
        /* the unit or its environment file has it */
        {"--a " FLAG "/e", "--a " FLAG "/e", "/e", true, false},
        {"--a " FLAG "/e", "--a " FLAG "/e", NULL, true, true},
        {"--a " FLAG "/e", "--a " FLAG "/e " FLAG, NULL, true, true},
        {"--a " FLAG "/e", "--a " FLAG "/e " FLAG, "/e", true, false},
        {"--a " FLAG, "--a " FLAG, NULL, true, false},
        /* a script gives what the files don't show, or they can't be told */
        {"", "--a " FLAG "/e", NULL, true, true},
        {"", "--a " FLAG "/e", "/e", true, true},
        {"--a --b=%H", "--a --b=node " FLAG "/e", NULL, false, true},
        {"--a --b=%H", "--a --b=node", NULL, false, false},
        /* the unit was edited and not restarted: what its files say is what counts, and for
         * safety's sake is said once more */
        {"--a --new", "--a " FLAG "/e", NULL, true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct systemd_look l CLEANUP(systemd_look_free) = {
            .whole = table[i].whole, .exists = true, .running = table[i].runs};
        set_args(&l.says, table[i].says);
        set_args(&l.runs, table[i].runs ? table[i].runs : "");
        if (systemd_needs_dropin(&l, table[i].want) != table[i].needed)
            fail_msg("row %zu", i);
    }
}

/* Ours says that there is no flag, since one comes from where the files don't tell it: it would be
 * back with the next start. */
static void what_takes_a_hidden_flag_away_stays(void **state)
{
    (void)state;
    struct systemd_look l CLEANUP(systemd_look_free) = {.exists = true, .own_there = true};
    set_args(&l.says, "--a");
    set_args(&l.runs, "--a");
    assert_true(systemd_needs_dropin(&l, NULL));
    l.whole = true; /* nothing runs that would show it */
    assert_true(systemd_needs_dropin(&l, NULL));
    l.running = true;
    assert_false(systemd_needs_dropin(&l, NULL));
}

/* A drop-in that was purged, or a flag that was taken out of a file, while the apiserver runs on
 * with it: the next start could read nothing. */
static void a_next_start_that_would_lack_the_configuration_is_seen(void **state)
{
    (void)state;
    static const struct {
        const char *says, *runs, *own; /* own NULL: no drop-in of ours; "": of an empty value */
        bool told, differs;
    } table[] = {
        {"--a", "--a " FLAG "/e", NULL, true, true},     /* purged */
        {"--a", "--a " FLAG "/e --b", NULL, true, true}, /* out of the environment file */
        {"--a --new", "--a " FLAG "/e", NULL, true, true},
        {"--a", "--a " FLAG "/e", NULL, false, false}, /* a script may give it */
        {"--a", "--a " FLAG "/e", "/e", true, false},
        {"--a", "--a " FLAG "/e", "/e", false, false},
        {"--a", "--a " FLAG "/e", "/f", false, true},
        {"--a", "--a", "/e", true, true}, /* killed before the restart */
        {"--a " FLAG "/e", "--a " FLAG "/e", NULL, true, false},
        {"--a " FLAG "/f", "--a " FLAG "/e", NULL, true, true},
        {"--a " FLAG "/e", "--a " FLAG "/e " FLAG, "", true, false},
        {"--a " FLAG "/e", "--a " FLAG "/e " FLAG, NULL, true, true}, /* ours took it away */
        {"--a", NULL, NULL, true, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *own = table[i].own;
        struct systemd_look l CLEANUP(systemd_look_free) = {
            .exists = true,
            .running = table[i].runs,
            .flag_told = table[i].told,
            .own_there = own,
            .own_value = own && *own ? mem_strdup(own) : NULL};
        set_args(&l.says, table[i].says);
        set_args(&l.runs, table[i].runs ? table[i].runs : "");
        if (systemd_next_differs(&l) != table[i].differs)
            fail_msg("row %zu", i);
        /* What is somebody else's is told when a change is to be made. */
        l.own_foreign = true;
        assert_false(systemd_next_differs(&l));
    }
}

/* Ours lies there, and another after it says ExecStart=: that one counts. */
static void a_later_drop_in_is_what_the_next_start_has(void **state)
{
    (void)state;
    static const char unit[] = "[Service]\nExecStart=/k --a\n";
    const char *path = NULL;
    char *own = mem_strdup("/e");
    struct unit_file files[] = {{"/u/k.service", unit, strlen(unit)},
                                {"/u/k.service.d/60-x.conf", "[Service]\nLimitNOFILE=1\n", 24}};
    struct systemd_look l = {
        .exists = true, .running = true, .flag_told = true, .own_there = true, .own_value = own};
    l.files = files;
    l.count = ARRAY_LEN(files);
    set_args(&l.says, "--a");
    set_args(&l.runs, "--a " FLAG "/e");
    assert_true(systemd_own_counts(&l));
    assert_false(systemd_next_differs(&l));
    files[1].text = unit;
    files[1].len = strlen(unit);
    assert_false(systemd_own_counts(&l));
    assert_true(systemd_next(&l, &path));
    assert_null(path);
    assert_true(systemd_next_differs(&l));
    files[1].path = "/u/k.service.d/40-x.conf";
    assert_false(systemd_next_differs(&l));
    apiserver_free(&l.says);
    apiserver_free(&l.runs);
    mem_free(own);
}

static void what_a_unit_does_not_see_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *property, *path;
        bool hidden;
    } table[] = {
        {"RootDirectory=/srv/kube", "/etc/kubernetes/encryption.yaml", true},
        {"RootDirectory=", "/etc/kubernetes/encryption.yaml", false},
        {"PrivateTmp=yes", "/tmp/kms.sock", true},
        {"PrivateTmp=yes", "/var/tmp/x/kms.sock", true},
        {"PrivateTmp=yes", "/tmpfs/kms.sock", false},
        {"PrivateTmp=no", "/tmp/kms.sock", false},
        {"ProtectHome=yes", "/root/e.yaml", true},
        {"ProtectHome=tmpfs", "/home/x/e.yaml", true},
        {"ProtectHome=read-only", "/home/x/e.yaml", false},
        {"ProtectHome=yes", "/run/kms/kms.sock", false},
        {"InaccessiblePaths=-/etc/kubernetes /mnt", "/etc/kubernetes/e.yaml", true},
        {"InaccessiblePaths=/mnt -/etc/kube", "/etc/kubernetes/e.yaml", false},
        {"InaccessibleDirectories=/etc/kubernetes/", "/etc/kubernetes/e.yaml", true},
        {"TemporaryFileSystem=/run:ro", "/run/kms/kms.sock", true},
        {"BindPaths=/srv/a:/etc/kubernetes:rbind", "/etc/kubernetes/e.yaml", true},
        {"BindPaths=/etc/kubernetes:/srv", "/etc/kubernetes/e.yaml", false},
        {"BindReadOnlyPaths=/etc/kubernetes", "/etc/kubernetes/e.yaml", true},
        {"ReadOnlyPaths=/etc", "/etc/kubernetes/e.yaml", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *line CLEANUP(cleanup_mem) = mem_strdup(table[i].property);
        char *properties[] = {line, NULL};
        const struct host_unit u = {.properties = properties};
        const char *hides = systemd_what_hides(&u, table[i].path);
        if ((hides != NULL) != table[i].hidden)
            fail_msg("%s, %s: %s", table[i].property, table[i].path, hides ? hides : "seen");
    }
}

/* Given up before systemd ends the process, a node would be taken back that is about to come. */
static void a_restart_may_take_as_long_as_the_unit_says(void **state)
{
    (void)state;
    static const struct {
        const char *property;
        int64_t ms;
    } table[] = {
        {"Id=k.service", 150000},
        {"TimeoutStopUSec=1min 30s", 150000},
        {"TimeoutStopUSec=5min", 360000},
        {"TimeoutStopUSec=2min 1.500s", 181500},
        {"TimeoutStopUSec=1h", 900000},
        {"TimeoutStopUSec=1month", 900000},
        {"TimeoutStopUSec=infinity", 900000},
        {"TimeoutStopUSec=0", 150000},
        {"TimeoutStopUSec=250ms", 150000},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *line CLEANUP(cleanup_mem) = mem_strdup(table[i].property);
        char *properties[] = {line, NULL};
        const struct host_unit u = {.properties = properties};
        if (systemd_new_process_ms(&u) != table[i].ms)
            fail_msg("%s: %lld", line, (long long)systemd_new_process_ms(&u));
    }
}

static void the_last_words_are_the_apiservers_own(void **state)
{
    (void)state;
    static const char log[] =
        "Nov 22 15:02:38 node1 systemd[1]: Starting kube-apiserver.service - Kubernetes...\n"
        "Nov 22 15:02:39 node1 kube-apiserver[39]: I1122 first\n"
        "Nov  2 15:02:39 node1 kube-apiserver[39]: secret: QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\n"
        "Nov 22 15:02:40 node1 kube-apiserver[39]: Error: error while parsing: a: b\n"
        "Nov 22 15:02:40 node1 systemd[1]: kube-apiserver.service: Main process exited\n"
        "Nov 22 15:02:41 node1 systemd[1]: Stopped kube-apiserver.service - Kubernetes.\n";
    static const char never_ran[] =
        "Nov 22 15:02:38 node1 systemd[1]: Starting kube-apiserver.service - Kubernetes...\n"
        "Nov 22 15:02:39 node1 systemd[1]: kube-apiserver.service: Failed at step EXEC\n";
    struct buf out CLEANUP(buf_free) = {0};
    host_unit_log_lines(log, 2, &out);
    assert_string_equal(buf_str(&out), "Error: error while parsing: a: b\n"
                                       "(1 line that may hold a key left out)\n");
    buf_reset(&out);
    host_unit_log_lines(log, 50, &out);
    assert_true(str_starts(buf_str(&out), "I1122 first\nError:"));
    buf_reset(&out);
    host_unit_log_lines(never_ran, 8, &out);
    assert_non_null(strstr(buf_str(&out), "Failed at step EXEC"));
    buf_reset(&out);
    host_unit_log_lines("", 8, &out);
    assert_string_equal(buf_str(&out), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_drop_in_is_there_only_where_the_unit_does_not_say_it_itself),
        cmocka_unit_test(what_takes_a_hidden_flag_away_stays),
        cmocka_unit_test(a_next_start_that_would_lack_the_configuration_is_seen),
        cmocka_unit_test(a_later_drop_in_is_what_the_next_start_has),
        cmocka_unit_test(what_a_unit_does_not_see_is_known),
        cmocka_unit_test(a_restart_may_take_as_long_as_the_unit_says),
        cmocka_unit_test(the_last_words_are_the_apiservers_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
