/* The files of examples/: what they say is valid, and none can be deployed with a key out of it;
 * those of docs/sudoers/ allow no more than is run. */
#include "state/cluster_edit.h"
#include "state/cluster_yml.h"
#include "support.h"

#include <glob.h>
#include <openssl/evp.h>

#define PLACEHOLDER "<head -c 32 /dev/urandom | base64>"

/* `seed` stands for random bytes: each key is another one. */
static void generate(struct buf *text, unsigned char seed)
{
    while (strstr(buf_str(text), PLACEHOLDER)) {
        unsigned char key[32], base64[64];
        for (size_t i = 0; i < sizeof(key); i++)
            key[i] = (unsigned char)(seed * 31u + i * 7u + 1u);
        seed++;
        EVP_EncodeBlock(base64, key, sizeof(key));
        edit(text, PLACEHOLDER, (char *)base64);
    }
}

static struct cluster *parse(const struct buf *text, const char *path)
{
    struct cluster *c = NULL;
    OK(cluster_parse(buf_str(text), text->len, path, &c, &err));
    return c;
}

/* The keys as a rotation replaces them: another name, and a secret of the same length. */
static struct encryption_config *rotated(const struct encryption_config *from)
{
    struct encryption_config *to = encryption_config_copy(from);
    for (size_t i = 0; i < to->item_count; i++)
        for (size_t j = 0; j < to->items[i].provider_count; j++)
            for (size_t k = 0; k < to->items[i].providers[j].key_count; k++) {
                struct encryption_key *key = &to->items[i].providers[j].keys[k];
                key->name[0] = 'K';
                key->secret[0] ^= 0xff;
            }
    return to;
}

static size_t count_lines_that_differ(const char *a, const char *b)
{
    size_t differ = 0;
    while (*a && *b) {
        size_t m = strcspn(a, "\n"), n = strcspn(b, "\n");
        differ += m != n || memcmp(a, b, m) != 0;
        a += m + 1;
        b += n + 1;
    }
    assert_true(!*a && !*b);
    return differ;
}

static void check_example(const char *path)
{
    struct buf text CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
    struct buf shown CLEANUP(buf_free) = {0};
    slurp(path, &text);
    bool has_key = strstr(text.data, PLACEHOLDER) != NULL;
    struct cluster *as_it_is CLEANUP(cleanup_cluster) = parse(&text, path);
    if ((as_it_is->findings.errors > 0) != has_key)
        fail_msg("%s: %zu errors as it stands there", path, as_it_is->findings.errors);

    generate(&text, 1);
    struct cluster *c CLEANUP(cleanup_cluster) = parse(&text, path);
    if (c->findings.errors)
        fail_msg("%s: %s: %s", path, c->findings.list[0].field, c->findings.list[0].what);
    assert_true(c->kubernetes_version || c->kind);
    assert_true(c->encryption == SECRETS_ENCRYPTION_ENABLED || c->own_config_path);
    if (!c->custom)
        return;
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = rotated(c->custom);
    OK(cluster_edit_custom(text.data, text.len, path, NULL, to, &out, &shown, &err));
    assert_int_equal(count_lines_that_differ(text.data, out.data), has_key ? 2 : 0);
}

static void each_is_valid_with_a_key_of_ones_own(void **state)
{
    (void)state;
    glob_t found = {0};
    assert_int_equal(glob("examples/*/*.yml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 11);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_example(found.gl_pathv[i]);
    globfree(&found);
}

/* A command that would be as good as a shell of root's, or more than is run. */
static void check_command(const char *path, const char *command)
{
    static const char *const shells[] = {"sh",   "bash", "dash", "busybox", "env",
                                         "sudo", "su",   "vi",   "vim",     "ed",
                                         "sed",  "awk",  "dd",   "less",    "python3"};
    size_t len = strcspn(command, " ,\\\n");
    const char *name = command + len;
    while (name > command && name[-1] != '/')
        name--;
    if (command[0] != '/')
        fail_msg("%s: not a program by its path: %.60s", path, command);
    for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
        if (strlen(shells[i]) == (size_t)(command + len - name) &&
            strncmp(name, shells[i], strlen(shells[i])) == 0)
            fail_msg("%s: %.60s", path, command);
    }
}

static void check_sudoers(const char *path)
{
    struct buf text CLEANUP(buf_free) = {0};
    size_t commands = 0, rules = 0;
    slurp(path, &text);
    for (const char *line = text.data, *next; *line; line = next) {
        size_t len = strcspn(line, "\n");
        char *one CLEANUP(cleanup_mem) = mem_strndup(line, len);
        next = line + len + (line[len] == '\n');
        if (one[0] == '#')
            continue;
        /* sudo's own star would match spaces and slashes; an escaped one is a star. */
        for (const char *c = one; *c; c++)
            if ((*c == '*' || *c == '?') && (c == one || c[-1] != '\\'))
                fail_msg("%s: a pattern: %s", path, one);
        if (str_starts(one, "    ")) {
            commands++;
            check_command(path, one + 4);
        } else if (strstr(one, "NOPASSWD:")) {
            rules++;
            const char *what = strstr(one, "NOPASSWD:") + strlen("NOPASSWD:");
            if (!str_starts(what, " NOLOG_INPUT: NOLOG_OUTPUT: ENCRYPT_") || strstr(what, "ALL"))
                fail_msg("%s: %s", path, one);
        }
    }
    if (commands < 5 || rules != 1)
        fail_msg("%s: %zu commands, %zu rules", path, commands, rules);
}

/* A sudo that logs what its commands read and say would keep keys. */
static void sudoers_allow_no_more_and_log_no_key(void **state)
{
    (void)state;
    glob_t found = {0};
    assert_int_equal(glob("docs/sudoers/*", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 3);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_sudoers(found.gl_pathv[i]);
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_valid_with_a_key_of_ones_own),
        cmocka_unit_test(sudoers_allow_no_more_and_log_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
