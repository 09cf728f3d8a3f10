/* The files of examples/: what they say is valid, and none can be deployed with a key out of it. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_valid_with_a_key_of_ones_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
