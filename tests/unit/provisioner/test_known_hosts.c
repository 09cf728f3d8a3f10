/*
 * The decision on a host key. The fixtures are real: ssh-keygen made the keys and (ssh-keygen -H)
 * the hashed names, and the table's lines are those that `ssh-keygen -F NAME -f known_hosts`
 * (OpenSSH 9.2) found in this text.
 */
#include "provisioner/ssh/known_hosts.h"

#include "base/file.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_A "AAAAC3NzaC1lZDI1NTE5AAAAIBN+k/rsS57IHND6P4smldubQP0M1Esfp9IKVRJjRc6y"
#define KEY_B "AAAAC3NzaC1lZDI1NTE5AAAAIEcJqryNN6vzXP+yOIsblG2SxuZCWIU9HaESLGFVGe06"
#define KEY_C                                                                                      \
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBPTomHXSOOdLUqAr0A/"                      \
    "G1xrxsfzRyWk8hsKCgaectdKWcojK4CulJyq/J+/wNXq7lEw1IGRe0ngP466Ge46QC8s="
#define KEY_D                                                                                      \
    "AAAAB3NzaC1yc2EAAAADAQABAAABAQDESIFc9NXd3KQhUO1/"                                             \
    "eCrmaP4JaqiOLOmDTTohhQyQ8lBvi0+yYRcX4xvjdi369MDgSV/2mX/"                                      \
    "1rvtd2tIdA8cQebQi98SzA5eqDT5u1toN0CSLI1Ia87/"                                                 \
    "iH7FEjA9RoRTjc6pXQwFcxPwwJJS8Wjsx4Xyl6pWJkQ1oCEPVZPX5eeHCyLZKtlHJJSgCyHnLtR936K6JtgOipRHD2rI" \
    "J6yPJCxYOlPcsF+6Kc1dD9XFHH4f/ikeRjiC85Li90WIxp/gjOKlFvBjrrikepmLyn95Rdt5ot4onFUMGf/"          \
    "jgvampbTVVyRUH+GrK2wRWF8hV4IicoAQ5lZvHdxbm+upTd/sx"

static const char known_hosts[] =
    "# a comment\n"
    "\n"
    "host.example.com ssh-ed25519 " KEY_A " somebody@somewhere\n"
    "[host.example.com]:2222 ssh-ed25519 " KEY_B "\n"
    "*.wild.example.com,!bad.wild.example.com ssh-ed25519 " KEY_A "\n"
    "\t10.0.0.?  ssh-ed25519 " KEY_A "\n"
    "|1|cNZwJgy0itYUwUSORff+IykOYKc=|hhA+7MM2ae3+lrc7x+GbVk/U9XQ= ssh-ed25519 " KEY_A "\n"
    "|1|Cbt1p6FFxjrsZnFkgZ7ISrn/l0c=|rPFDyndywV6OUu/R9DSsdXAvWvE= ssh-ed25519 " KEY_B "\n"
    "|1|e2yCblkYSrxx4y2OPa3faIa/ZRY=|32kx1Cqa3IybVxFwNuoXR/lmFco= ecdsa-sha2-nistp256 " KEY_C "\n"
    "@cert-authority *.ca.example.com ssh-ed25519 " KEY_A "\n"
    "one,two.example.com,192.168.1.1 ecdsa-sha2-nistp256 " KEY_C "\n"
    "fe80::1 ssh-ed25519 " KEY_A "\n"
    "[fe80::1]:2222 ssh-ed25519 " KEY_B "\n"
    "UPPER.example.com ssh-ed25519 " KEY_A "\n"
    "both ssh-rsa " KEY_D "\n"
    "both ssh-ed25519 " KEY_A "\n"
    "broken ssh-ed25519 AAAA\n"
    "wrongtype ssh-rsa " KEY_A "\n"
    "crlf.example.com ssh-ed25519 " KEY_A "\r\n"
    "[*]:2022 ecdsa-sha2-nistp256 " KEY_C "\n"
    "last.example.com ssh-ed25519 " KEY_A;

struct decoded {
    unsigned char blob[1024];
    size_t len;
};

static struct host_key key_of(const char *host, uint16_t port, const char *base64,
                              struct decoded *to)
{
    size_t len = strlen(base64);
    int n = EVP_DecodeBlock(to->blob, (const unsigned char *)base64, (int)len);
    assert_true(n > 0);
    to->len = (size_t)n - (base64[len - 1] == '=') - (base64[len - 2] == '=');
    return (struct host_key){host, port, to->blob, to->len};
}

static void expect(const char *text, const char *host, uint16_t port, const char *base64,
                   enum host_key_verdict verdict, size_t line)
{
    struct decoded d;
    struct host_key key = key_of(host, port, base64, &d);
    size_t got_line = 99;
    enum host_key_verdict got = known_hosts_check(text, strlen(text), &key, &got_line);
    if (got != verdict || got_line != line)
        fail_msg("%s port %u: verdict %d (line %zu), not %d (line %zu)", host, port, got, got_line,
                 verdict, line);
}

static void finds_what_ssh_keygen_finds(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        uint16_t port;
        const char *key;
        size_t line; /* 0: not found */
    } table[] = {
        {"host.example.com", 22, KEY_A, 3},
        {"HOST.example.com", 22, KEY_A, 3},
        {"host.example.com", 2222, KEY_B, 4},
        {"x.wild.example.com", 22, KEY_A, 5},
        {"bad.wild.example.com", 22, KEY_A, 0},
        {"wild.example.com", 22, KEY_A, 0},
        {"10.0.0.1", 22, KEY_A, 6},
        {"10.0.0.12", 22, KEY_A, 0},
        {"hashed.example.com", 22, KEY_A, 7},
        {"Hashed.Example.com", 22, KEY_A,
         7}, /* as ssh, not as ssh-keygen: names are lower-cased before */
        {"hashed.example.com", 2200, KEY_B, 8},
        {"192.168.7.7", 22, KEY_C, 9},
        {"one", 22, KEY_C, 11},
        {"two.example.com", 22, KEY_C, 11},
        {"192.168.1.1", 22, KEY_C, 11},
        {"192.168.1.10", 22, KEY_C, 0},
        {"fe80::1", 22, KEY_A, 12},
        {"fe80::1", 2222, KEY_B, 13},
        {"upper.example.com", 22, KEY_A, 14},
        {"both", 22, KEY_D, 15},
        {"both", 22, KEY_A, 16},
        {"crlf.example.com", 22, KEY_A, 19},
        {"anything", 2022, KEY_C, 20},
        {"last.example.com", 22, KEY_A, 21},
        {"nobody", 22, KEY_A, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        expect(known_hosts, table[i].host, table[i].port, table[i].key,
               table[i].line ? HOST_KEY_KNOWN : HOST_KEY_UNKNOWN, table[i].line);
}

static void another_key_is_a_change(void **state)
{
    (void)state;
    expect(known_hosts, "host.example.com", 22, KEY_B, HOST_KEY_CHANGED, 3);
    expect(known_hosts, "host.example.com", 2222, KEY_C, HOST_KEY_CHANGED, 4);
    expect(known_hosts, "hashed.example.com", 22, KEY_B, HOST_KEY_CHANGED, 7);
    expect(known_hosts, "x.wild.example.com", 22, KEY_D, HOST_KEY_CHANGED, 5);
    expect(known_hosts, "both", 22, KEY_B, HOST_KEY_CHANGED, 15);
    /* Only another type is known. */
    expect(known_hosts, "192.168.7.7", 22, KEY_A, HOST_KEY_CHANGED, 9);
    expect(known_hosts, "one", 22, KEY_D, HOST_KEY_CHANGED, 11);
}

static void authorities_are_passed_over(void **state)
{
    (void)state;
    expect(known_hosts, "x.ca.example.com", 22, KEY_A, HOST_KEY_UNKNOWN, 0);
    expect(known_hosts, "x.ca.example.com", 22, KEY_B, HOST_KEY_UNKNOWN, 0);
    expect("@new-marker h ssh-ed25519 " KEY_A, "h", 22, KEY_A, HOST_KEY_UNKNOWN, 0);
}

static void broken_lines_are_passed_over(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "h",
        "h ssh-ed25519",
        "h ssh-ed25519 ",
        "h ssh-ed25519 AAAA",
        "h ssh-ed25519 ====",
        "h ssh-ed25519 !!!!",
        "h ssh-ed25519 A",
        "h ssh-rsa " KEY_A,
        "h ssh-ed2551 " KEY_A,
        ", ssh-ed25519 " KEY_A,
        "!h ssh-ed25519 " KEY_A,
        "! ssh-ed25519 " KEY_A,
        "|1| ssh-ed25519 " KEY_A,
        "|1|| ssh-ed25519 " KEY_A,
        "|1|AAAA ssh-ed25519 " KEY_A,
        "|1|AAAA|AAAA ssh-ed25519 " KEY_A,
        "|2|cNZwJgy0itYUwUSORff+IykOYKc=|hhA+7MM2ae3+lrc7x+GbVk/U9XQ= ssh-ed25519 " KEY_A,
        "@revoked",
        "@revoked h",
        "#h ssh-ed25519 " KEY_A,
        "h\vssh-ed25519 " KEY_A,
        "1024 35 12345678901234567890",
    };
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        char *text CLEANUP(cleanup_mem) = mem_printf("%s\nh ssh-ed25519 " KEY_B "\n", broken[i]);
        expect(broken[i], "h", 22, KEY_A, HOST_KEY_UNKNOWN, 0);
        expect(text, "h", 22, KEY_B, HOST_KEY_KNOWN, 2);
    }
    expect("", "h", 22, KEY_A, HOST_KEY_UNKNOWN, 0);
    expect("\n\n\n", "h", 22, KEY_A, HOST_KEY_UNKNOWN, 0);
}

static void revoked_wins(void **state)
{
    (void)state;
    static const char good[] = "h ssh-ed25519 " KEY_A "\n";
    static const char revoked[] = "@revoked * ssh-ed25519 " KEY_A "\n";
    char *before CLEANUP(cleanup_mem) = mem_printf("%s%s", good, revoked);
    char *after CLEANUP(cleanup_mem) = mem_printf("%s%s", revoked, good);
    expect(before, "h", 22, KEY_A, HOST_KEY_REVOKED, 2);
    expect(after, "h", 22, KEY_A, HOST_KEY_REVOKED, 1);
    expect(revoked, "h", 22, KEY_A, HOST_KEY_REVOKED, 1);
    expect(revoked, "h", 2222, KEY_A, HOST_KEY_REVOKED, 1);
    /* It says nothing of other keys, nor of other hosts. */
    expect(revoked, "h", 22, KEY_B, HOST_KEY_UNKNOWN, 0);
    expect(before, "h", 22, KEY_B, HOST_KEY_CHANGED, 1);
    expect("@revoked other ssh-ed25519 " KEY_A "\n", "h", 22, KEY_A, HOST_KEY_UNKNOWN, 0);
    expect("@revoked h ssh-ed25519 " KEY_B "\nh ssh-ed25519 " KEY_A "\n", "h", 22, KEY_A,
           HOST_KEY_KNOWN, 2);
    expect("@revoked h ssh-ed25519 " KEY_A "\n", "h", 2222, KEY_A, HOST_KEY_REVOKED, 1);
}

static void the_worse_of_two_files_counts(void **state)
{
    (void)state;
    static const enum host_key_verdict table[][3] = {
        {HOST_KEY_KNOWN, HOST_KEY_KNOWN, HOST_KEY_KNOWN},
        {HOST_KEY_KNOWN, HOST_KEY_UNKNOWN, HOST_KEY_KNOWN},
        {HOST_KEY_UNKNOWN, HOST_KEY_UNKNOWN, HOST_KEY_UNKNOWN},
        {HOST_KEY_CHANGED, HOST_KEY_KNOWN, HOST_KEY_CHANGED},
        {HOST_KEY_CHANGED, HOST_KEY_UNKNOWN, HOST_KEY_CHANGED},
        {HOST_KEY_CHANGED, HOST_KEY_CHANGED, HOST_KEY_CHANGED},
        {HOST_KEY_REVOKED, HOST_KEY_KNOWN, HOST_KEY_REVOKED},
        {HOST_KEY_REVOKED, HOST_KEY_UNKNOWN, HOST_KEY_REVOKED},
        {HOST_KEY_REVOKED, HOST_KEY_CHANGED, HOST_KEY_REVOKED},
        {HOST_KEY_REVOKED, HOST_KEY_REVOKED, HOST_KEY_REVOKED},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_int_equal(known_hosts_combine(table[i][0], table[i][1]), table[i][2]);
        assert_int_equal(known_hosts_combine(table[i][1], table[i][0]), table[i][2]);
    }
}

static void a_bare_name_counts_for_other_ports_as_yes_only(void **state)
{
    (void)state;
    static const char text[] = "h ssh-ed25519 " KEY_A "\n[h]:2222 ssh-ed25519 " KEY_B "\n";
    expect(text, "h", 2200, KEY_A, HOST_KEY_KNOWN, 1);
    expect(text, "h", 2200, KEY_B, HOST_KEY_UNKNOWN, 0);
    expect(text, "h", 2222, KEY_A, HOST_KEY_CHANGED, 2);
    expect("[h]:2222 ssh-ed25519 " KEY_A "\n", "h", 22, KEY_A, HOST_KEY_UNKNOWN, 0);
    expect("[h]:22 ssh-ed25519 " KEY_A "\n", "h", 22, KEY_A, HOST_KEY_UNKNOWN, 0);
}

static void patterns_take_no_time(void **state)
{
    (void)state;
    struct buf text CLEANUP(buf_free) = {0};
    char host[2001];
    memset(host, 'a', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    for (int i = 0; i < 500; i++)
        buf_adds(&text, "*a");
    buf_adds(&text, "b ssh-ed25519 " KEY_A "\n");
    expect(text.data, host, 22, KEY_A, HOST_KEY_UNKNOWN, 0);
    expect("a**?*c ssh-ed25519 " KEY_A "\n", "abc", 22, KEY_A, HOST_KEY_KNOWN, 1);
    expect("?? ssh-ed25519 " KEY_A "\n", "a", 22, KEY_A, HOST_KEY_UNKNOWN, 0);
    expect("!*,* ssh-ed25519 " KEY_A "\n", "a", 22, KEY_A, HOST_KEY_UNKNOWN, 0);
    expect("*,!b ssh-ed25519 " KEY_A "\n", "a", 22, KEY_A, HOST_KEY_KNOWN, 1);
}

static void says_the_algorithms_that_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        uint16_t port;
        const char *expected;
    } table[] = {
        {"host.example.com", 22, "ssh-ed25519"},
        {"hashed.example.com", 2200, "ssh-ed25519"},
        {"both", 22, "rsa-sha2-512,rsa-sha2-256,ssh-ed25519"},
        {"both", 2200, "rsa-sha2-512,rsa-sha2-256,ssh-ed25519"},
        {"one", 22, "ecdsa-sha2-nistp256"},
        {"nobody", 22, NULL},
        {"x.ca.example.com", 22, NULL},
        {"broken", 22, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *got CLEANUP(cleanup_mem) = known_hosts_algorithms(
            known_hosts, sizeof(known_hosts) - 1, table[i].host, table[i].port);
        if (!str_eq(got, table[i].expected))
            fail_msg("%s: %s", table[i].host, got ? got : "(null)");
    }
    static const char revoked[] = "@revoked h ssh-ed25519 " KEY_A "\n";
    assert_null(known_hosts_algorithms(revoked, sizeof(revoked) - 1, "h", 22));
}

static void shows_fingerprints_as_ssh_keygen(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {KEY_A, "SHA256:GfMxSK51ighAXE9h9xqs1rLnOqpVQX2urLHhM7mNqWg"},
        {KEY_B, "SHA256:Os7TlXEo+mcWt+dwX/TQZ4vSchbk2/6DFLMcNRqVRoI"},
        {KEY_C, "SHA256:LaxsG1g3/GE4UKpF/8pv6PArL0U5XGfMc7nM1VcS2+8"},
        {KEY_D, "SHA256:8CRJRp7YCXFNujAAlW3k2x50b44aEcvV3A/bLSwOQXQ"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct decoded d;
        struct host_key key = key_of("h", 22, table[i][0], &d);
        char *got CLEANUP(cleanup_mem) = host_key_fingerprint(&key);
        assert_string_equal(got, table[i][1]);
    }
}

static char *read_back(const char *path)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(file_read(path, 65536, false, &text, NULL, &err), 0);
    return mem_strdup(buf_str(&text));
}

static void adds_lines(void **state)
{
    (void)state;
    char folder[] = "/tmp/encrypt-known-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *inner CLEANUP(cleanup_mem) = mem_printf("%s/.ssh", folder);
    char *path CLEANUP(cleanup_mem) = mem_printf("%s/known_hosts", inner);
    struct error err CLEANUP(error_clear) = {0};
    struct decoded d;

    struct host_key a = key_of("Node.example.com", 22, KEY_A, &d);
    assert_int_equal(known_hosts_add(path, &a, &err), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(inner, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    /* A last line without its newline stays one line. */
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs("# no newline", f);
    fclose(f);
    struct host_key b = key_of("fe80::1", 2222, KEY_B, &d);
    assert_int_equal(known_hosts_add(path, &b, &err), 0);
    char *text CLEANUP(cleanup_mem) = read_back(path);
    assert_string_equal(text, "node.example.com ssh-ed25519 " KEY_A "\n"
                              "# no newline\n"
                              "[fe80::1]:2222 ssh-ed25519 " KEY_B "\n");
    expect(text, "node.example.com", 22, KEY_A, HOST_KEY_KNOWN, 1);
    expect(text, "FE80::1", 2222, KEY_B, HOST_KEY_KNOWN, 3);

    /* Names and types that would be more than one word or a pattern. */
    static const char *const names[] = {"a b", "*", "a,b", "a\nb", "", "!a", "|1|a|b", "#a", "@a"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct host_key bad = key_of(names[i], 22, KEY_A, &d);
        assert_int_equal(known_hosts_add(path, &bad, &err), -1);
    }
    static const unsigned char odd_type[] = "\0\0\0\3a b";
    struct host_key odd = {"h", 22, odd_type, sizeof(odd_type) - 1};
    assert_int_equal(known_hosts_add(path, &odd, &err), -1);
    struct host_key short_blob = {"h", 22, odd_type, 3};
    assert_int_equal(known_hosts_add(path, &short_blob, &err), -1);
    char *after CLEANUP(cleanup_mem) = read_back(path);
    assert_string_equal(after, text);

    struct host_key c = key_of("h", 22, KEY_A, &d);
    assert_int_equal(known_hosts_add("/proc/none/known_hosts", &c, &err), -1);
    unlink(path);
    rmdir(inner);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_ssh_keygen_finds),
        cmocka_unit_test(another_key_is_a_change),
        cmocka_unit_test(authorities_are_passed_over),
        cmocka_unit_test(broken_lines_are_passed_over),
        cmocka_unit_test(revoked_wins),
        cmocka_unit_test(the_worse_of_two_files_counts),
        cmocka_unit_test(a_bare_name_counts_for_other_ports_as_yes_only),
        cmocka_unit_test(patterns_take_no_time),
        cmocka_unit_test(says_the_algorithms_that_are_known),
        cmocka_unit_test(shows_fingerprints_as_ssh_keygen),
        cmocka_unit_test(adds_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
