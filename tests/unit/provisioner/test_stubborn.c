#include "provisioner/stubborn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Takes over nothing. */
static struct stubborn object(char *name, long status, const char *why)
{
    char *copy = NULL;
    memcpy(&copy, &why, sizeof(copy)); /* only read */
    static char ns[] = "st";
    return (struct stubborn){.namespace = ns, .name = name, .status = status, .why = copy};
}

static char *explain(const struct stubborn *list, size_t kept, size_t more)
{
    struct buf out = {0};
    stubborn_explain(resource_find("secrets"), list, kept, more, "/registry", &out);
    buf_adds(&out, "");
    return out.data;
}

static void assert_says(const struct stubborn *o, const char *means, const char *todo)
{
    char *text CLEANUP(cleanup_mem) = explain(o, 1, 0);
    if (!strstr(text, means) || !strstr(text, todo))
        fail_msg("neither \"%s\" nor \"%s\" in: %s", means, todo, text);
}

/* What kube-apiserver 1.20.2 really answers. */
static void test_real_answers(void **state)
{
    (void)state;
    struct stubborn o = object("deny", 400,
                               "admission webhook \"denier.example.org\" denied the request: the "
                               "vault is sealed by policy");
    assert_says(&o, "the admission webhook denier.example.org denies the patch", "exempt");
    assert_says(&o, "st/deny", "the vault is sealed by policy");
    o = object("down", 500,
               "Internal error occurred: failed calling webhook \"downer.example.org\": Post "
               "\"https://10.99.44.1:9444/deny?timeout=5s\": dial tcp 10.99.44.1:9444: connect: "
               "connection refused");
    assert_says(&o, "the admission webhook downer.example.org can't be called", "failurePolicy");
    o = object("tlsless", 422,
               "Secret \"tlsless\" is invalid: [data[tls.crt]: Required value, data[tls.key]: "
               "Required value]");
    assert_says(&o, "no longer valid", "kubectl edit");
    o = object("orphan", 404, "namespaces \"ghost\" not found");
    assert_says(&o, "its namespace is gone", "kubectl create namespace");
    o = object("damaged", 500, "the stored data is not a multiple of the block size");
    o.unreadable = true;
    assert_says(&o, "can't be read", "\n    /registry/secrets/st/damaged\n");
    assert_says(&o, "never a key from memory", "etcdctl del KEY");
    /* The same words of an object that can be read are not about what is stored. */
    o.unreadable = false;
    assert_says(&o, "answered 500", "\n    st/damaged\n");
}

static void test_other_answers(void **state)
{
    (void)state;
    struct stubborn o = object("s", 403,
                               "secrets \"s\" is forbidden: User \"u\" cannot patch resource "
                               "\"secrets\" in API group \"\" in the namespace \"st\"");
    assert_says(&o, "may not patch it", "--kubeconfig");
    o = object("s", 403,
               "secrets \"s\" is forbidden: unable to create new content in namespace st because "
               "it is being terminated");
    assert_says(&o, "namespace is being deleted", "let that end");
    o = object("s", 422,
               "secrets \"s\" is forbidden: ValidatingAdmissionPolicy 'no-touch' with binding 'b' "
               "denied request: no");
    assert_says(&o, "the ValidatingAdmissionPolicy no-touch denies", "binding");
    o = object("s", 500, "etcdserver: request is too large");
    assert_says(&o, "too large for etcd", "--max-request-bytes");
    o = object("s", 413, "answered 413");
    assert_says(&o, "too large for etcd", "make it smaller");
    o = object("s", 500, "etcdserver: mvcc: database space exceeded");
    assert_says(&o, "etcd is out of space", "disarm");
    o = object("s", 401, "Unauthorized");
    assert_says(&o, "not accepted", "--kubeconfig");
    o = object("s", 0, "timed out");
    assert_says(&o, "gave no answer in time", "timed out");
    o = object("s", 429, "later");
    assert_says(&o, "too busy", "later");
    o = object("s", 418, "short and stout");
    assert_says(&o, "answered 418", "short and stout");
}

/* One line of text a cause, a webhook each being a cause of its own, in the order of the first of
 * each. */
static void test_groups(void **state)
{
    (void)state;
    const char *a = "admission webhook \"a\" denied the request: no";
    const char *b = "admission webhook \"b\" denied the request: no";
    struct stubborn list[] = {
        object("one", 400, a),
        object("two", 422, "Secret \"two\" is invalid"),
        object("three", 400, b),
        object("four", 400, a),
        object("five", 422, "Secret \"five\" is invalid"),
    };
    char *text CLEANUP(cleanup_mem) = explain(list, 5, 0);
    const char *first = strstr(text, "  secrets (2): the admission webhook a denies the patch:\n"
                                     "    st/one, st/four\n");
    const char *second = strstr(text, "  secrets (2): no longer valid");
    const char *third = strstr(text, "  secrets (1): the admission webhook b denies the patch:\n"
                                     "    st/three\n");
    assert_true(first && second && third);
    assert_true(first < second && second < third);
    assert_non_null(strstr(text, "st/two, st/five\n"));
    assert_null(strstr(text, "more"));
}

/* Twenty are shown, over all causes, and the number of the others. */
static void test_many(void **state)
{
    (void)state;
    enum { ALL = 60 };
    static char names[ALL][8];
    struct stubborn list[ALL];
    for (size_t i = 0; i < ALL; i++) {
        snprintf(names[i], sizeof(names[i]), "o%02zu", i);
        list[i] = object(names[i], i < 15 ? 400 : 422,
                         i < 15 ? "admission webhook \"a\" denied the request: no" : "invalid");
    }
    char *text CLEANUP(cleanup_mem) = explain(list, ALL, 12345);
    size_t shown = 0;
    for (const char *p = text; (p = strstr(p, "st/o")); p++)
        shown++;
    assert_int_equal(shown, STUBBORN_SHOWN);
    assert_non_null(strstr(text, "st/o14\n"));
    assert_non_null(strstr(text, "st/o19, and 40 more\n"));
    assert_non_null(strstr(text, "and 12345 more secrets\n"));
}

/* A cause whose objects find no room any more is told all the same. */
static void test_no_room(void **state)
{
    (void)state;
    enum { ALL = 25 };
    struct stubborn list[ALL];
    for (size_t i = 0; i < ALL; i++)
        list[i] = object("x", i < 22 ? 422 : 401, "no");
    char *text CLEANUP(cleanup_mem) = explain(list, ALL, 0);
    assert_non_null(strstr(text, "secrets (3): the credentials in use were not accepted:\n"
                                 "    and 3 more\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_answers), cmocka_unit_test(test_other_answers),
        cmocka_unit_test(test_groups),       cmocka_unit_test(test_many),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
