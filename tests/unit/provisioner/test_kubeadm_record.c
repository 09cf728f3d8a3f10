/* What kubeadm makes manifests anew of says what is wanted; and that an edit which can't be made is
 * seen before anything is begun. */
#include "tests/unit/provisioner/node_folder.h"
#include "tests/unit/provisioner/standin.h"

#define HEAD "apiVersion: kubeadm.k8s.io/v1beta2\\nkind: ClusterConfiguration\\n"

/* The apiserver, which has the ConfigMap. */
struct api {
    const char *key, *text; /* JSON; NULL: there is none */
    char *patch;            /* what was written; NULL: nothing */
};

static void answer(void *ctx, const struct asked *q, struct buf *out)
{
    struct api *a = ctx;
    struct buf body CLEANUP(buf_free) = {0};
    if (!a->key) {
        standin_status(out, 404, NULL, "NotFound", "not found", "configmaps", "", NULL);
        return;
    }
    if (str_eq(q->method, "PATCH")) {
        mem_free(a->patch);
        a->patch = mem_strdup(q->body);
        standin_answer(out, 200, NULL, "{}");
        return;
    }
    buf_printf(&body, "{\"metadata\":{\"resourceVersion\":\"7\"},\"data\":{\"%s\":\"%s\"}}", a->key,
               a->text);
    standin_answer(out, 200, NULL, buf_str(&body));
}

static const struct apiserver_want with = {.config_path = PATH};
static const struct apiserver_want without = {0};

/* Gives what was written; to be freed. */
static char *record(struct api *a, const struct apiserver_want *want)
{
    struct standin s = {.fn = answer, .ctx = a};
    struct error err CLEANUP(error_clear) = {0};
    bool changed = false;
    standin_start(&s, node->loop, "n1");
    int rc = driver_kubeadm.record(node, &s.server, want, &changed, &err);
    standin_stop(&s);
    if (rc != 0)
        fail_msg("%s", err.message);
    assert_int_equal(changed, a->patch != NULL);
    return STEAL(a->patch);
}

static int rehearse(struct api *a, const struct apiserver_want *want, struct error *err)
{
    struct standin s = {.fn = answer, .ctx = a};
    standin_start(&s, node->loop, "n1");
    node->api = s.server;
    int rc = driver_kubeadm.check_start(node, want, err);
    node->api = (struct http_server){0};
    standin_stop(&s);
    assert_null(a->patch);
    return rc;
}

static void a_mount_that_was_made_by_hand_is_recorded(void **state)
{
    (void)state;
    struct api a = {"ClusterConfiguration", "apiServer: {}\\n" HEAD, NULL};
    put_manifest(KUBEADM_MANIFEST, false, NULL);
    char *patch CLEANUP(cleanup_mem) = record(&a, &with);
    assert_non_null(patch);
    assert_non_null(strstr(patch, "\"resourceVersion\": \"7\""));
    assert_non_null(strstr(patch, "encryption-provider-config: " PATH));
    assert_non_null(strstr(patch, "mountPath: /etc/kubernetes/enc\\n"));
    /* What kubeadm mounts by itself would be there twice. */
    char *text CLEANUP(cleanup_mem) = manifest(false, NULL);
    struct buf certs CLEANUP(buf_free) = {0};
    replace("name: enc\n", "name: k8s-certs\n", text, &certs);
    put(KUBEADM_MANIFEST, buf_str(&certs));
    char *other CLEANUP(cleanup_mem) = record(&a, &with);
    assert_non_null(other);
    assert_null(strstr(other, "mountPath"));
}

static void the_config_map_of_before_1_12_is_kept_up_to_date(void **state)
{
    (void)state;
    struct api a = {"MasterConfiguration",
                    "apiVersion: kubeadm.k8s.io/v1alpha2\\nkind: MasterConfiguration\\n", NULL};
    put_manifest(KUBEADM_MANIFEST, false, NULL);
    char *patch CLEANUP(cleanup_mem) = record(&a, &with);
    assert_non_null(patch);
    assert_non_null(strstr(patch, "\"MasterConfiguration\":"));
    assert_non_null(strstr(patch, "apiServerExtraArgs:\\n  encryption-provider-config: " PATH));
    a.text = "apiVersion: kubeadm.k8s.io/v1alpha2\\nkind: MasterConfiguration\\nx: y\\n";
    assert_null(record(&a, &without));
    a.key = NULL;
    assert_null(record(&a, &with));
}

static void what_can_be_edited_is_let_through(void **state)
{
    (void)state;
    struct api a = {"ClusterConfiguration", "apiServer: {}\\n" HEAD, NULL};
    struct error err CLEANUP(error_clear) = {0};
    char *was CLEANUP(cleanup_mem) = manifest(true, NULL);
    char *at CLEANUP(cleanup_mem) = here(KUBEADM_MANIFEST);
    struct buf is CLEANUP(buf_free) = {0};
    put(KUBEADM_MANIFEST, was);
    if (rehearse(&a, &with, &err) != 0 || rehearse(&a, &without, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(file_read(at, 1 << 20, false, &is, NULL, &err), 0);
    assert_string_equal(buf_str(&is), was);
}

static void assert_refused(struct api *a, const struct apiserver_want *want, const char *why)
{
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(rehearse(a, want, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    if (!strstr(err.message, why))
        fail_msg("%s", err.message);
}

static void what_cant_be_edited_refuses_before_anything_is_begun(void **state)
{
    (void)state;
    struct api a = {"ClusterConfiguration", "apiServer: {}\\n" HEAD, NULL};
    struct api flow = {"ClusterConfiguration", HEAD "apiServer: {extraArgs: {v: \\\"2\\\"}}\\n",
                       NULL};
    put_manifest(KUBEADM_MANIFEST, true, NULL);
    assert_refused(&flow, &with, "kubeadm-config");
    /* In one line: with the flag, it has to say a mark; without, to lose the flag. */
    char *text CLEANUP(cleanup_mem) = manifest(true, NULL);
    struct buf one CLEANUP(buf_free) = {0};
    replace("    command:\n    - kube-apiserver\n    - --etcd-servers=https://127.0.0.1:2379\n"
            "    - --encryption-provider-config=" PATH "\n",
            "    command: [kube-apiserver, --encryption-provider-config=" PATH "]\n", text, &one);
    put(KUBEADM_MANIFEST, buf_str(&one));
    struct error err CLEANUP(error_clear) = {0};
    assert_int_equal(rehearse(&a, &with, &err), 0);
    assert_refused(&a, &without, KUBEADM_MANIFEST);
    struct buf two CLEANUP(buf_free) = {0};
    replace("metadata:\n  name: kube-apiserver\n", "metadata: {name: kube-apiserver}\n", text,
            &two);
    put(KUBEADM_MANIFEST, buf_str(&two));
    assert_refused(&a, &with, KUBEADM_MANIFEST);
    /* What it leads to would not be what is replaced. */
    char *link CLEANUP(cleanup_mem) =
        mem_printf("cd %s/etc/kubernetes && mv manifests/kube-apiserver.yaml it.yaml && "
                   "ln -s ../it.yaml manifests/kube-apiserver.yaml",
                   root);
    put_manifest(KUBEADM_MANIFEST, true, NULL);
    sh(link);
    assert_refused(&a, &with, "symbolic link");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ON_A_NODE(f) cmocka_unit_test_setup_teardown(f, make_node, remove_node)
        ON_A_NODE(a_mount_that_was_made_by_hand_is_recorded),
        ON_A_NODE(the_config_map_of_before_1_12_is_kept_up_to_date),
        ON_A_NODE(what_can_be_edited_is_let_through),
        ON_A_NODE(what_cant_be_edited_refuses_before_anything_is_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
