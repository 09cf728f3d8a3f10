/* Manifests of static pods: what they say, and that an edit changes what it must and nothing else.
 */
#include "templates/static_pod.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include <cmocka.h>

#define FOLDER "tests/data/manifests/"
#define PATH "/etc/kubernetes/enc/encryption.yaml"

static const struct static_pod_want none = {0};
static const struct static_pod_want ours = {.config_path = PATH, .restart = "0123456789"};

static void load(const char *name, struct buf *out)
{
    struct error err CLEANUP(error_clear) = {0};
    char *path CLEANUP(cleanup_mem) = mem_printf(FOLDER "%s", name);
    if (file_read(path, 1 << 20, false, out, NULL, &err) != 0)
        fail_msg("%s", err.message);
}

static void edit(const struct buf *from, const struct static_pod_want *want, struct buf *to)
{
    struct error err CLEANUP(error_clear) = {0};
    buf_reset(to);
    if (static_pod_edit(buf_str(from), from->len, "m.yaml", want, to, &err) != 0)
        fail_msg("%s\n%s", err.message, buf_str(from));
}

static struct static_pod *parse(const struct buf *text)
{
    struct error err CLEANUP(error_clear) = {0};
    struct static_pod *p = NULL;
    size_t skip = str_starts(buf_str(text), "\xef\xbb\xbf") ? 3 : 0;
    if (static_pod_read(buf_str(text) + skip, text->len - skip, "m.yaml", &p, &err) != 0)
        fail_msg("%s", err.message);
    return p;
}

static void assert_text(const struct buf *a, const char *b)
{
    if (!str_eq(buf_str(a), b))
        fail_msg("not the same:\n%s\n----\n%s", buf_str(a), b);
}

/* How many lines of the longer one the shorter lacks; the others are the same, in order. */
static size_t lines_added(const struct buf *was, const struct buf *is)
{
    const char *a = buf_str(was), *b = buf_str(is);
    size_t added = 0;
    while (*b) {
        size_t n = strcspn(b, "\n"), m = strcspn(a, "\n");
        if (*a && n == m && memcmp(a, b, n) == 0)
            a += m + (a[m] == '\n');
        else
            added++;
        b += n + (b[n] == '\n');
    }
    assert_string_equal(a, "");
    return added;
}

/* The samples without a flag of their own, and what of them differs only in their layout. */
static const char *const plain[] = {"kubeadm-1.13.yaml", "kubeadm-1.20.yaml", "kubeadm-1.31.yaml",
                                    "kops.yaml", "by-hand.yaml"};

static void vary(struct buf *text, int how)
{
    struct buf out = {0};
    if (how == 0)
        return;
    if (how == 3)
        buf_adds(&out, "\xef\xbb\xbf");
    for (const char *s = buf_str(text); *s; s++) {
        if (how == 1 && *s == '\n')
            buf_adds(&out, "\r");
        /* (Not of the last line.) */
        if (how != 2 || s[1] || *s != '\n')
            buf_add(&out, s, 1);
    }
    buf_free(text);
    *text = out;
}

static void enabled_and_disabled_gives_the_same_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        for (int how = 0; how < 4; how++) {
            struct buf was CLEANUP(buf_free) = {0}, on CLEANUP(buf_free) = {0};
            struct buf off CLEANUP(buf_free) = {0}, again CLEANUP(buf_free) = {0};
            load(plain[i], &was);
            vary(&was, how);
            edit(&was, &none, &off);
            assert_text(&off, buf_str(&was));
            edit(&was, &ours, &on);
            struct static_pod *pod CLEANUP(cleanup_static_pod) = parse(&on);
            assert_string_equal(static_pod_config(pod), PATH);
            assert_string_equal(static_pod_mount_of(pod, PATH)->host, "/etc/kubernetes/enc");
            assert_string_equal(pod->restart, "0123456789");
            assert_true(static_pod_has(pod, &ours));
            assert_false(static_pod_has(pod, &none));
            edit(&on, &ours, &again);
            assert_text(&again, buf_str(&on));
            /* Another restart, as at a rotation, changes one line. */
            struct static_pod_want other = {.config_path = PATH, .restart = "1e5"};
            edit(&on, &other, &again);
            struct static_pod *anew CLEANUP(cleanup_static_pod) = parse(&again);
            assert_string_equal(anew->restart, "1e5");
            assert_true(static_pod_same_but_ours(pod, anew));
            edit(&again, &none, &off);
            assert_text(&off, buf_str(&was));
        }
}

static void no_line_but_ours_comes(void **state)
{
    (void)state;
    /* One for the flag; a volume of four lines and a mount of three; the annotation. The one by
     * hand has none of these lists. */
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        struct buf was CLEANUP(buf_free) = {0}, on CLEANUP(buf_free) = {0};
        load(plain[i], &was);
        edit(&was, &ours, &on);
        assert_int_equal(lines_added(&was, &on), str_eq(plain[i], "by-hand.yaml") ? 12 : 9);
    }
}

static void it_looks_like_what_is_around_it(void **state)
{
    (void)state;
    struct buf was CLEANUP(buf_free) = {0}, on CLEANUP(buf_free) = {0};
    load("kubeadm-1.20.yaml", &was);
    edit(&was, &ours, &on);
    assert_non_null(strstr(buf_str(&on), "\n    - --tls-private-key-file=/etc/kubernetes/pki/"
                                         "apiserver.key\n"
                                         "    - --encryption-provider-config=" PATH "\n"
                                         "    image: "));
    assert_non_null(strstr(buf_str(&on), "\n    - mountPath: /etc/kubernetes/enc\n"
                                         "      name: encrypt-io-config\n"
                                         "      readOnly: true\n  hostNetwork"));
    assert_non_null(strstr(buf_str(&on), "\n  - hostPath:\n"
                                         "      path: /etc/kubernetes/enc\n"
                                         "      type: DirectoryOrCreate\n"
                                         "    name: encrypt-io-config\nstatus"));
    buf_reset(&was);
    load("by-hand.yaml", &was);
    edit(&was, &ours, &on);
    assert_non_null(strstr(buf_str(&on),
                           "            - \"--allow-privileged\"\n"
                           "            - \"--encryption-provider-config=" PATH "\"\n"));
    assert_non_null(strstr(buf_str(&on), "\n    volumes:\n      - hostPath:\n"
                                         "          path: /etc/kubernetes/enc\n"));
}

static void an_own_flag_is_taken_as_it_is(void **state)
{
    (void)state;
    struct buf was CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
    load("kubespray.yaml", &was);
    struct static_pod *pod CLEANUP(cleanup_static_pod) = parse(&was);
    const char *path = "/etc/kubernetes/ssl/secrets_encryption.yaml";
    assert_string_equal(static_pod_config(pod), path);
    struct static_pod_want same = {.config_path = path};
    assert_true(static_pod_has(pod, &same));
    edit(&was, &same, &out);
    assert_text(&out, buf_str(&was));
    /* Its mount is the administrator's, and stays when the flag goes. */
    edit(&was, &none, &out);
    assert_null(strstr(buf_str(&out), "encryption-provider"));
    assert_non_null(strstr(buf_str(&out), "mountPath: /etc/kubernetes/ssl"));
    assert_int_equal(lines_added(&out, &was), 1);
    /* To another place and back */
    struct buf back CLEANUP(buf_free) = {0};
    edit(&was, &(struct static_pod_want){.config_path = PATH}, &out);
    assert_null(strstr(buf_str(&out), "secrets_encryption.yaml"));
    edit(&out, &same, &back);
    assert_null(strstr(buf_str(&back), PATH));
}

static void a_flag_of_two_words_and_another_name(void **state)
{
    (void)state;
    struct buf was CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
    load("two-words.yaml", &was);
    struct static_pod *pod CLEANUP(cleanup_static_pod) = parse(&was);
    const char *path = "/etc/kubernetes/crypt/own.yaml";
    assert_string_equal(static_pod_config(pod), path);
    const struct static_pod_mount *m = static_pod_mount_of(pod, path);
    assert_string_equal(m->host, "/srv/crypt/own.yaml");
    assert_true(m->file && m->read_only && !m->ours);
    edit(&was, &(struct static_pod_want){.config_path = "/etc/kubernetes/crypt/other"}, &out);
    assert_non_null(strstr(buf_str(&out), "    - --experimental_encryption_provider_config\n"
                                          "    - /etc/kubernetes/crypt/other\n"));
    edit(&was, &none, &out);
    assert_int_equal(lines_added(&out, &was), 2);
    struct static_pod_want old = {.config_path = PATH, .old_flag = true};
    struct buf on CLEANUP(buf_free) = {0};
    edit(&out, &old, &on);
    assert_non_null(strstr(buf_str(&on), "- --experimental-encryption-provider-config=" PATH "\n"));
}

static void binds_are_added_once_and_go_with_the_flag(void **state)
{
    (void)state;
    static const struct static_pod_bind binds[] = {{"/run/kms", "/run/kms", false},
                                                   {"/srv/a b", "/var/run/other", true}};
    struct static_pod_want want = {.config_path = PATH, .binds = binds, .bind_count = 2};
    struct error err CLEANUP(error_clear) = {0};
    struct buf was CLEANUP(buf_free) = {0}, on CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
    load("by-hand.yaml", &was);
    edit(&was, &want, &on);
    struct static_pod *pod CLEANUP(cleanup_static_pod) = parse(&on);
    assert_true(static_pod_has(pod, &want));
    assert_string_equal(static_pod_mount_of(pod, "/var/run/other/x")->host, "/srv/a b");
    assert_true(static_pod_mount_of(pod, "/var/run/other/x")->read_only);
    assert_false(static_pod_mount_of(pod, "/run/kms/socket")->read_only);
    edit(&on, &want, &out);
    assert_text(&out, buf_str(&on));
    /* One that is not asked for any more stays: others may use it. */
    edit(&on, &(struct static_pod_want){.config_path = PATH}, &out);
    assert_text(&out, buf_str(&on));
    edit(&on, &none, &out);
    assert_text(&out, buf_str(&was));

    static const struct static_pod_bind other = {"/elsewhere", "/run/kms", false};
    want.binds = &other;
    want.bind_count = 1;
    buf_reset(&out);
    assert_int_equal(static_pod_edit(buf_str(&on), on.len, "m.yaml", &want, &out, &err), -1);
    assert_non_null(strstr(err.message, "is mounted at /run/kms, where /elsewhere is to be"));
}

static void what_it_says_is_read_as_the_kubelet_does(void **state)
{
    (void)state;
    struct buf text CLEANUP(buf_free) = {0};
    load("kops.yaml", &text);
    struct static_pod *pod CLEANUP(cleanup_static_pod) = parse(&text);
    assert_string_equal(pod->args[0], "--allow-privileged=true");
    assert_string_equal(pod->args[2], "--v=2");
    assert_null(pod->args[3]);
    assert_true(pod->host_network);
    /* The other container's mounts are none of it. */
    assert_null(static_pod_mount_of(pod, "/secrets/ca.crt"));
    assert_int_equal(pod->count, 2);
}

static void others_are_told_apart(void **state)
{
    (void)state;
    struct buf a CLEANUP(buf_free) = {0}, b CLEANUP(buf_free) = {0}, on CLEANUP(buf_free) = {0};
    load("kubeadm-1.13.yaml", &a);
    load("kubeadm-1.20.yaml", &b);
    edit(&a, &ours, &on);
    struct static_pod *x CLEANUP(cleanup_static_pod) = parse(&a);
    struct static_pod *y CLEANUP(cleanup_static_pod) = parse(&b);
    struct static_pod *z CLEANUP(cleanup_static_pod) = parse(&on);
    assert_true(static_pod_same_but_ours(x, z) && static_pod_same_but_ours(z, x));
    assert_false(static_pod_same_but_ours(x, y) || static_pod_same_but_ours(y, z));
}

static void what_cant_be_edited_is_refused_and_says_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *file, *why;
    } table[] = {
        {"refused/shell.yaml", "started by a shell"},
        {"refused/json.yaml", "as [a, b] or {a: b}"},
        {"refused/flow.yaml", "as [a, b] or {a: b}"},
        {"refused/two-documents.yaml", "more than one document"},
        {"refused/alias.yaml", "something else in it would change too"},
        {"refused/empty-volumes.yaml", "volumes is there and empty"},
        {"refused/empty-annotations.yaml", "annotations is there and empty"},
        {"refused/no-apiserver.yaml", "not one container that runs kube-apiserver"},
        {"refused/no-pod.yaml", "this is no Pod"},
        {"refused/two-apiservers.yaml", "not one container that runs kube-apiserver"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct error err CLEANUP(error_clear) = {0};
        struct buf text CLEANUP(buf_free) = {0}, out CLEANUP(buf_free) = {0};
        load(table[i].file, &text);
        assert_int_equal(static_pod_edit(buf_str(&text), text.len, "m.yaml", &ours, &out, &err),
                         -1);
        if (!strstr(err.message, table[i].why))
            fail_msg("%s: %s", table[i].file, err.message);
        assert_int_equal(err.result, RESULT_REFUSED);
        assert_int_equal(out.len, 0);
    }
}

/* The container's counts more than the pod's. */
static void whose_user_it_runs_as_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *pod, *container, *want;
    } table[] = {
        {"", "", NULL},
        {"  securityContext:\n    runAsUser: 4242\n", "", "4242"},
        {"  securityContext:\n    runAsUser: 4242\n", "    securityContext:\n      runAsUser: 0\n",
         "0"},
        {"  securityContext:\n    fsGroup: 1\n", "    securityContext:\n      runAsUser: 65532\n",
         "65532"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct buf text CLEANUP(buf_free) = {0};
        buf_printf(&text,
                   "kind: Pod\nmetadata:\n  name: x\nspec:\n%s  containers:\n  - name: x\n%s"
                   "    command:\n    - kube-apiserver\n    - --a=b\n",
                   table[i].pod, table[i].container);
        struct static_pod *p CLEANUP(cleanup_static_pod) = parse(&text);
        if (!str_eq(p->user, table[i].want))
            fail_msg("row %zu: %s", i, p->user ? p->user : "none");
    }
}

/* The kernel takes them so, and so do we. */
static void a_path_may_be_written_in_many_ways(void **state)
{
    (void)state;
    static const char text[] =
        "kind: Pod\nmetadata:\n  name: x\nspec:\n  containers:\n  - name: x\n    command:\n"
        "    - /hyperkube\n    - apiserver\n"
        "    - --encryption-provider-config=/etc/kubernetes//enc/../enc/./e.yaml\n"
        "    volumeMounts:\n    - mountPath: /etc/kubernetes/ssl/../enc//\n      name: enc\n"
        "  volumes:\n  - hostPath:\n      path: //srv/enc/\n    name: enc\n";
    struct buf was CLEANUP(buf_free) = {0};
    struct buf is CLEANUP(buf_free) = {0};
    buf_adds(&was, text);
    struct static_pod *p CLEANUP(cleanup_static_pod) = parse(&was);
    assert_string_equal(p->args[0],
                        "--encryption-provider-config=/etc/kubernetes//enc/../enc/./e.yaml");
    const struct static_pod_mount *m = static_pod_mount_of(p, static_pod_config(p));
    assert_non_null(m);
    assert_string_equal(m->host, "/srv/enc");
    struct static_pod_want want = {.config_path = static_pod_config(p)};
    assert_true(static_pod_has(p, &want));
    want.restart = "0123456789";
    edit(&was, &want, &is);
    assert_null(strstr(buf_str(&is), "encrypt-io-config"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enabled_and_disabled_gives_the_same_bytes),
        cmocka_unit_test(no_line_but_ours_comes),
        cmocka_unit_test(it_looks_like_what_is_around_it),
        cmocka_unit_test(an_own_flag_is_taken_as_it_is),
        cmocka_unit_test(a_flag_of_two_words_and_another_name),
        cmocka_unit_test(binds_are_added_once_and_go_with_the_flag),
        cmocka_unit_test(what_it_says_is_read_as_the_kubelet_does),
        cmocka_unit_test(others_are_told_apart),
        cmocka_unit_test(what_cant_be_edited_is_refused_and_says_what_to_do),
        cmocka_unit_test(whose_user_it_runs_as_is_told),
        cmocka_unit_test(a_path_may_be_written_in_many_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
