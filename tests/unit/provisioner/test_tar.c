#include "provisioner/docker/tar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCK = 512 };

static void write_one(struct buf *tar, const char *name, const char *data, size_t len)
{
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(tar_write(tar, name, data, len, 1700000000, &err), 0);
    assert_int_equal(tar->len % BLOCK, 0);
}

/* Sets the checksum right again after a change. */
static void sum_up(struct buf *tar, size_t at)
{
    unsigned sum = 0;
    memset(tar->data + at + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += (unsigned char)tar->data[at + i];
    char text[8];
    snprintf(text, sizeof(text), "%06o", sum);
    memcpy(tar->data + at + 148, text, 7);
}

static int read_one(const struct buf *tar, struct buf *out, char **link)
{
    struct error err CLEANUP(error_clear) = {0};
    buf_reset(out);
    int rc = tar_read(tar, out, link, &err);
    assert_true(rc == 0 || (rc == -1 && err.message && out->len == 0 && !*link));
    return rc;
}

static void test_round_trip(void **state)
{
    (void)state;
    char *data CLEANUP(cleanup_mem) = mem_alloc(TAR_FILE_LIMIT + 1, 1);
    static const size_t sizes[] = {0, 1, 511, 512, 513, 5000, TAR_FILE_LIMIT};
    for (size_t i = 0; i < TAR_FILE_LIMIT; i++)
        data[i] = (char)(i * 7 + i / 256);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf tar CLEANUP(buf_free) = {0};
        struct buf out CLEANUP(buf_free) = {0};
        char *link = NULL;
        write_one(&tar, ".encryption.yaml.encrypt-0123456789abcdef", data, sizes[i]);
        assert_int_equal(read_one(&tar, &out, &link), 0);
        assert_null(link);
        assert_int_equal(out.len, sizes[i]);
        assert_memory_equal(buf_str(&out), data, sizes[i]);
    }
    struct buf tar CLEANUP(buf_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(tar_write(&tar, "a", data, TAR_FILE_LIMIT + 1, 0, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
}

static void test_names(void **state)
{
    (void)state;
    char name[102];
    memset(name, 'n', sizeof(name));
    name[101] = '\0';
    const char *const bad[] = {"", ".", "..", "a/b", "/a", name};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf tar CLEANUP(buf_free) = {0};
        struct error err CLEANUP(error_clear) = {0};
        assert_int_equal(tar_write(&tar, bad[i], "x", 1, 0, &err), -1);
        assert_int_equal(tar.len, 0);
    }
    name[100] = '\0';
    struct buf tar CLEANUP(buf_free) = {0};
    write_one(&tar, name, "x", 1);
}

/* What tar(1) makes of it, and what we make of tar(1)'s. */
static void test_tar_program(void **state)
{
    (void)state;
    struct buf tar CLEANUP(buf_free) = {0};
    write_one(&tar, "a file", "contents\n", 9);
    char dir[] = "/tmp/encrypt-tar.XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *file CLEANUP(cleanup_mem) = mem_printf("%s/t.tar", dir);
    FILE *f = fopen(file, "w");
    assert_int_equal(fwrite(tar.data, 1, tar.len, f), tar.len);
    fclose(f);
    char *command CLEANUP(cleanup_mem) = mem_printf(
        "cd %s && tar --numeric-owner -tvf t.tar | grep -q '^-rw------- 0/0 *9 .*a file$'"
        " && tar -xOf t.tar >\"$(printf '%%0120d' 7)\" && touch -d @1700000001 0*7 && ln -s target "
        "link"
        " && tar -H pax -cf pax.tar 0*7 && tar -H gnu -cf gnu.tar 0*7"
        " && tar -cf link.tar link && tar -cf dir.tar .",
        dir);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c)
    static const char *const names[] = {"pax", "gnu", "link", "dir"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path CLEANUP(cleanup_mem) = mem_printf("%s/%s.tar", dir, names[i]);
        struct buf made CLEANUP(buf_free) = {0};
        struct buf out CLEANUP(buf_free) = {0};
        char *link CLEANUP(cleanup_mem) = NULL;
        f = fopen(path, "r");
        buf_reserve(&made, 1 << 20);
        made.len = fread(made.data, 1, 1 << 20, f);
        fclose(f);
        struct error unread CLEANUP(error_clear) = {0};
        long long changed = -1;
        assert_int_equal(tar_changed_at(&made, &changed, &unread), i < 3 ? 0 : -1);
        if (i < 2) {
            assert_int_equal(read_one(&made, &out, &link), 0);
            assert_string_equal(buf_str(&out), "contents\n");
            assert_int_equal(changed, 1700000001);
        } else if (i == 2) {
            assert_int_equal(read_one(&made, &out, &link), 0);
            assert_string_equal(link, "target");
            assert_int_equal(changed, 0);
        } else {
            assert_int_equal(read_one(&made, &out, &link), -1);
        }
    }
    char *clean CLEANUP(cleanup_mem) = mem_printf("rm -r %s", dir);
    assert_int_equal(system(clean), 0); // NOLINT(cert-env33-c)
}

static void test_damaged(void **state)
{
    (void)state;
    struct buf tar CLEANUP(buf_free) = {0};
    struct buf out CLEANUP(buf_free) = {0};
    char *link = NULL;
    write_one(&tar, "name", "0123456789", 10);
    for (size_t len = 0; len < BLOCK + 10; len++) {
        struct buf cut CLEANUP(buf_free) = {0};
        buf_add(&cut, tar.data, len);
        assert_int_equal(read_one(&cut, &out, &link), -1);
    }
    /* Each byte of the header is under the checksum. */
    for (size_t i = 0; i < BLOCK; i++) {
        tar.data[i] = (char)(tar.data[i] + 1);
        int rc = read_one(&tar, &out, &link);
        tar.data[i] = (char)(tar.data[i] - 1);
        assert_true(rc == -1 || (i >= 148 && i < 156));
    }
    static const struct {
        size_t at;
        const char *text;
    } wrong[] = {
        {124, "77777777777"}, {124, "0000000000x"}, {124, "           "}, {156, "1"},
        {156, "3"},           {156, "5"},           {156, "6"},           {257, "nostar"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct buf bad CLEANUP(buf_free) = {0};
        buf_add(&bad, tar.data, tar.len);
        memcpy(bad.data + wrong[i].at, wrong[i].text, strlen(wrong[i].text));
        sum_up(&bad, 0);
        assert_int_equal(read_one(&bad, &out, &link), -1);
    }
    /* An extended header that says it is longer than all there is. */
    tar.data[156] = 'x';
    sum_up(&tar, 0);
    assert_int_equal(read_one(&tar, &out, &link), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_tar_program),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
