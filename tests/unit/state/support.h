/* What the tests of this folder share: a private folder, and files in it. They run at the root of
 * the repository. */
#ifndef ENCRYPT_TESTS_STATE_SUPPORT_H
#define ENCRYPT_TESTS_STATE_SUPPORT_H

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

/* Stands in the place of a secret in broken files: no message may hold it. */
#define MARKER "TUFSS0VSLVNFQ1JFVA"

static inline int make_folder(void **state)
{
    char template[] = "/tmp/encrypt-test-state-XXXXXX";
    if (!mkdtemp(template))
        return -1;
    *state = mem_strdup(template);
    return 0;
}

static inline int remove_folder(void **state)
{
    DIR *d = opendir(*state);
    for (struct dirent *e; d && (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    int failed = rmdir(*state);
    mem_free(*state);
    return failed;
}

static inline char *in(void **state, const char *name)
{
    return mem_printf("%s/%s", (char *)*state, name);
}

static inline void spill(const char *path, const char *data, size_t len, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static inline void slurp(const char *path, struct buf *out)
{
    struct error err CLEANUP(error_clear) = {0};
    buf_reset(out);
    if (file_read(path, 10 << 20, false, out, NULL, &err) != 0)
        fail_msg("%s", err.message);
}

static inline void copy_file(const char *from, const char *to)
{
    struct buf text CLEANUP(buf_free) = {0};
    slurp(from, &text);
    spill(to, buf_str(&text), text.len, 0600);
}

static inline size_t count_files(void **state)
{
    size_t count = 0;
    DIR *d = opendir(*state);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_type == DT_REG;
    closedir(d);
    return count;
}

/* Replaces the first `what` of the text. */
static inline void edit(struct buf *text, const char *what, const char *with)
{
    struct buf b CLEANUP(buf_free) = {0};
    const char *at = strstr(buf_str(text), what);
    if (!at)
        fail_msg("nothing to edit: %s", what);
    buf_add(&b, text->data, (size_t)(at - text->data));
    buf_adds(&b, with);
    buf_adds(&b, at + strlen(what));
    buf_reset(text);
    buf_add(text, b.data, b.len);
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct error err CLEANUP(error_clear) = {0};                                               \
        if ((call) != 0)                                                                           \
            fail_msg("%s", err.message);                                                           \
        assert_null(err.message);                                                                  \
    } while (0)

/* The call fails with this result; its message holds `text`, and never the marker. */
#define REFUSES(call, why, text)                                                                   \
    do {                                                                                           \
        struct error err CLEANUP(error_clear) = {0};                                               \
        assert_int_equal((call), -1);                                                              \
        assert_non_null(err.message);                                                              \
        if (err.result != (why) || !strstr(err.message, (text)))                                   \
            fail_msg("wanted \"%s\", got result %d: %s", (text), (int)err.result, err.message);    \
        assert_null(strstr(err.message, MARKER));                                                  \
        assert_true(!err.state || !strstr(err.state, MARKER));                                     \
        assert_true(!err.next || !strstr(err.next, MARKER));                                       \
    } while (0)

#endif
