#include "base/file.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char *at(const char *folder, const char *name)
{
    return mem_printf("%s/%s", folder, name);
}

static void spill(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void holds(const char *path, const char *text)
{
    struct error err CLEANUP(error_clear) = {0};
    struct buf b CLEANUP(buf_free) = {0};
    if (file_read(path, 100000, true, &b, NULL, &err) != 0)
        fail_msg("%s", err.message);
    assert_string_equal(buf_str(&b), text);
}

static size_t entries(const char *folder)
{
    size_t count = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    return count;
}

static int setup(void **state)
{
    char template[] = "/tmp/encrypt-test-file-XXXXXX";
    if (!mkdtemp(template))
        return -1;
    *state = mem_strdup(template);
    return 0;
}

static int teardown(void **state)
{
    DIR *d = opendir(*state);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *path CLEANUP(cleanup_mem) = at(*state, e->d_name);
        if (unlink(path) != 0)
            rmdir(path);
    }
    if (d)
        closedir(d);
    rmdir(*state);
    mem_free(*state);
    return 0;
}

static void test_read(void **state)
{
    struct error err CLEANUP(error_clear) = {0};
    struct buf b CLEANUP(buf_free) = {0};
    char *path CLEANUP(cleanup_mem) = at(*state, "it's");
    bool missing = false;
    assert_int_equal(file_read(path, 10, true, &b, &missing, &err), 0);
    assert_true(missing);
    assert_null(b.data);
    assert_int_equal(file_read(path, 10, true, &b, NULL, &err), -1);
    assert_int_equal(err.result, RESULT_FAILED);

    spill(path, "0123456789", 0644);
    buf_adds(&b, "before ");
    assert_int_equal(file_read(path, 10, false, &b, &missing, &err), 0);
    assert_false(missing);
    assert_string_equal(b.data, "before 0123456789");
    assert_int_equal(file_read(path, 9, false, &b, &missing, &err), -1);
    assert_non_null(strstr(err.message, "larger than 9 bytes"));
    assert_string_equal(b.data, "before 0123456789");

    assert_int_equal(file_read(path, 10, true, &b, &missing, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    char *next CLEANUP(cleanup_mem) = mem_printf("chmod 600 '%s/it'\\''s'", (char *)*state);
    assert_string_equal(err.next, next);
}

static void test_read_other_kinds(void **state)
{
    struct error err CLEANUP(error_clear) = {0};
    struct buf b CLEANUP(buf_free) = {0};
    assert_int_equal(file_read(*state, 10, false, &b, NULL, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    char *path CLEANUP(cleanup_mem) = at(*state, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_read(path, 10, false, &b, NULL, &err), -1);
    assert_non_null(strstr(err.message, "not a regular file"));
}

static void test_write(void **state)
{
    struct error err CLEANUP(error_clear) = {0};
    char *path CLEANUP(cleanup_mem) = at(*state, "f");
    assert_int_equal(file_write(path, "one", 3, &err), 0);
    holds(path, "one");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(file_write(path, NULL, 0, &err), 0);
    holds(path, "");
    assert_int_equal(entries(*state), 1);
    assert_null(err.message);
}

static void test_write_removes_leftovers(void **state)
{
    struct error err CLEANUP(error_clear) = {0};
    char *path CLEANUP(cleanup_mem) = at(*state, "f");
    char *ours CLEANUP(cleanup_mem) = at(*state, ".f.encrypt-0123456789abcdef");
    char *other CLEANUP(cleanup_mem) = at(*state, ".g.encrypt-0123456789abcdef");
    char *theirs CLEANUP(cleanup_mem) = at(*state, ".f.encrypt-mine");
    spill(ours, "x", 0600);
    spill(other, "x", 0600);
    spill(theirs, "x", 0600);
    assert_int_equal(file_write(path, "one", 3, &err), 0);
    assert_int_equal(access(ours, F_OK), -1);
    assert_int_equal(access(other, F_OK), 0);
    assert_int_equal(access(theirs, F_OK), 0);
}

static void test_write_follows_links(void **state)
{
    struct error err CLEANUP(error_clear) = {0};
    char *path CLEANUP(cleanup_mem) = at(*state, "f");
    char *link CLEANUP(cleanup_mem) = at(*state, "link");
    char *again CLEANUP(cleanup_mem) = at(*state, "again");
    char *loop CLEANUP(cleanup_mem) = at(*state, "loop");
    assert_int_equal(symlink("f", link), 0);
    assert_int_equal(symlink(link, again), 0);
    assert_int_equal(symlink("loop", loop), 0);
    assert_int_equal(file_write(again, "one", 3, &err), 0);
    holds(path, "one");
    struct stat st;
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(file_write(again, "two", 3, &err), 0);
    holds(path, "two");
    assert_int_equal(file_write(loop, "x", 1, &err), -1);
    assert_int_equal(err.result, RESULT_FAILED);
}

static void test_write_failures(void **state)
{
    struct error err CLEANUP(error_clear) = {0};
    char *folder CLEANUP(cleanup_mem) = at(*state, "d");
    char *in_it CLEANUP(cleanup_mem) = at(folder, "f");
    char *none CLEANUP(cleanup_mem) = at(*state, "none/f");
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(file_write(folder, "x", 1, &err), -1);
    assert_int_equal(entries(*state), 1);
    assert_int_equal(file_write(none, "x", 1, &err), -1);
    char *slash CLEANUP(cleanup_mem) = at(folder, "");
    assert_int_equal(file_write(slash, "x", 1, &err), -1);
    assert_int_equal(file_write(in_it, "x", 1, &err), 0);
    assert_int_equal(unlink(in_it), 0);
}

static void test_write_without_folder(void **state)
{
    struct error err CLEANUP(error_clear) = {0};
    char *before CLEANUP(cleanup_mem) = getcwd(NULL, 0);
    assert_int_equal(chdir(*state), 0);
    int rc = file_write("plain", "x", 1, &err);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(rc, 0);
    char *path CLEANUP(cleanup_mem) = at(*state, "plain");
    holds(path, "x");
}

static void test_create(void **state)
{
    struct error err CLEANUP(error_clear) = {0};
    char *path CLEANUP(cleanup_mem) = at(*state, "new");
    char *link CLEANUP(cleanup_mem) = at(*state, "link");
    struct stat st;
    assert_int_equal(file_create(path, "first", 5, &err), 0);
    holds(path, "first");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_nlink, 1);
    /* What is there is left as it is, a link that leads nowhere too. */
    assert_int_equal(file_create(path, "second", 6, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    holds(path, "first");
    assert_int_equal(symlink("nowhere", link), 0);
    assert_int_equal(file_create(link, "third", 5, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_int_equal(entries(*state), 2);
}

static void test_beside(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a/cluster.yml", "a/cluster.rkestate"},
        {"cluster", "cluster.rkestate"},
        {"a.b/cluster", "a.b/cluster.rkestate"},
        {"a/.hidden", "a/.hidden.rkestate"},
        {"x.y.yml", "x.y.rkestate"},
        {"/c.yml", "/c.rkestate"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *got CLEANUP(cleanup_mem) = file_beside(cases[i][0], "rkestate");
        assert_string_equal(got, cases[i][1]);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read),
        TEST(test_read_other_kinds),
        TEST(test_write),
        TEST(test_write_removes_leftovers),
        TEST(test_write_follows_links),
        TEST(test_write_failures),
        TEST(test_write_without_folder),
        TEST(test_create),
        TEST(test_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
