#include "provisioner/kube/api_groups.h"

#include "base/file.h"
#include "state/json_text.h"
#include "tests/unit/provisioner/standin.h"

/* A recorded apiserver: see tests/data/discovery/README.md. */
struct recorded {
    json_t *answers;
    const char *fail; /* this path answers `status`, `times` times */
    int status, times;
    struct buf asked; /* paths, a line each */
};

static void answer_recorded(void *ctx, const struct asked *q, struct buf *out)
{
    struct recorded *r = ctx;
    char *path CLEANUP(cleanup_mem) = mem_strndup(q->path, strcspn(q->path, "?"));
    buf_printf(&r->asked, "%s\n", path);
    json_t *answer = json_object_get(r->answers, path);
    int status = answer ? (int)json_integer_value(json_object_get(answer, "status")) : 404;
    bool metadata_only = strstr(q->head, "as=PartialObjectMetadataList") != NULL;
    if (metadata_only != str_eq(path, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"))
        status = 406;
    if (r->fail && r->times > 0 && str_eq(path, r->fail)) {
        r->times--;
        status = r->status;
    }
    if (status) {
        standin_status(out, status, "Retry-After: 0\r\n", "X", "recorded so", NULL, NULL, NULL);
        return;
    }
    char *body = json_dumps(answer, JSON_COMPACT);
    standin_answer(out, 200, NULL, body);
    free(body);
}

static void recorded_stop(struct recorded *r)
{
    json_decref(r->answers);
    buf_free(&r->asked);
}

static json_t *load(const char *version)
{
    struct error err CLEANUP(error_clear) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    json_t *out = NULL;
    char *path CLEANUP(cleanup_mem) = mem_printf("tests/data/discovery/%s.json", version);
    if (file_read(path, 1 << 20, false, &text, NULL, &err) < 0 ||
        json_text_read(text.data, text.len, path, &out, &err) < 0)
        fail_msg("%s", err.message);
    return out;
}

#define RECORDED(version)                                                                          \
    struct recorded r CLEANUP(recorded_stop) = {.answers = load(version)};                         \
    struct standin s CLEANUP(standin_stop) = {.fn = answer_recorded, .ctx = &r};                   \
    struct resources out CLEANUP(resources_free) = {0};                                            \
    standin_start(&s, *state, "kube-apiserver on a")
#define NAMES(...) ((char *const[]){__VA_ARGS__, NULL})

/* "name api etcd_dir[ namespaced]", a line each. */
static void expect_list(const struct resources *r, const char *expected)
{
    struct buf text CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < r->count; i++)
        buf_printf(&text, "%s %s %s%s\n", r->list[i].name, r->list[i].api, r->list[i].etcd_dir,
                   r->list[i].namespaced ? " namespaced" : "");
    assert_string_equal(buf_str(&text), expected);
    for (size_t i = 0; i < r->count; i++)
        assert_true(str_starts(r->list[i].name, r->list[i].plural));
}

/* "name: why", "name! why" where something of it is stored; a line each. */
static void expect_others(const struct resources *r, const char *expected)
{
    struct buf text CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < r->other_count; i++)
        buf_printf(&text, "%s%s %s\n", r->others[i].name, r->others[i].stored ? "!" : ":",
                   r->others[i].why);
    assert_string_equal(buf_str(&text), expected);
}

static void discover(struct standin *s, char *const *names, struct resources *out)
{
    struct error err CLEANUP(error_clear) = {0};
    resources_free(out);
    if (discovery_resources(&s->server, names, out, &err) < 0)
        fail_msg("%s", err.message);
}

#define SERVICES                                                                                   \
    "serviceipallocations! the addresses and ports in use, ranges/ in etcd, stored as services "   \
    "are; kube-apiserver writes them anew when it starts\n"                                        \
    "servicenodeportallocations! the addresses and ports in use, ranges/ in etcd, stored as "      \
    "services are; kube-apiserver writes them anew when it starts\n"
#define LEASES                                                                                     \
    "apiserveripinfo! masterleases/ in etcd; each kube-apiserver writes its own anew every few "   \
    "seconds\n"
#define METRICS(name)                                                                              \
    name ": metrics.k8s.io is served by another API server (its APIService has a service), which " \
         "stores it itself; kube-apiserver's configuration doesn't reach it\n"
#define UNKNOWN(name, hint)                                                                        \
    name ": no such resource here, now: kube-apiserver takes the name and stores nothing under "   \
         "it" hint "\n"

#define CORE                                                                                       \
    "configmaps /api/v1 configmaps namespaced\n"                                                   \
    "endpoints /api/v1 services/endpoints namespaced\n"                                            \
    "events /api/v1 events namespaced\n"                                                           \
    "limitranges /api/v1 limitranges namespaced\n"                                                 \
    "namespaces /api/v1 namespaces\n"                                                              \
    "nodes /api/v1 minions\n"                                                                      \
    "persistentvolumeclaims /api/v1 persistentvolumeclaims namespaced\n"                           \
    "persistentvolumes /api/v1 persistentvolumes\n"                                                \
    "pods /api/v1 pods namespaced\n"                                                               \
    "podtemplates /api/v1 podtemplates namespaced\n"                                               \
    "replicationcontrollers /api/v1 controllers namespaced\n"                                      \
    "resourcequotas /api/v1 resourcequotas namespaced\n"                                           \
    "secrets /api/v1 secrets namespaced\n"                                                         \
    "serviceaccounts /api/v1 serviceaccounts namespaced\n"                                         \
    "services /api/v1 services/specs namespaced\n"
#define APPS                                                                                       \
    "controllerrevisions.apps /apis/apps/v1 controllerrevisions namespaced\n"                      \
    "daemonsets.apps /apis/apps/v1 daemonsets namespaced\n"                                        \
    "deployments.apps /apis/apps/v1 deployments namespaced\n"                                      \
    "replicasets.apps /apis/apps/v1 replicasets namespaced\n"                                      \
    "statefulsets.apps /apis/apps/v1 statefulsets namespaced\n"
#define RBAC "/apis/rbac.authorization.k8s.io/v1 "
#define ROLES                                                                                      \
    "clusterrolebindings.rbac.authorization.k8s.io " RBAC "clusterrolebindings\n"                  \
    "clusterroles.rbac.authorization.k8s.io " RBAC "clusterroles\n"                                \
    "rolebindings.rbac.authorization.k8s.io " RBAC "rolebindings namespaced\n"                     \
    "roles.rbac.authorization.k8s.io " RBAC "roles namespaced\n"
#define ADMISSION "admissionregistration.k8s.io"
#define EXAMPLE                                                                                    \
    "widgets.example.com /apis/example.com/v1 example.com/widgets namespaced\n"                    \
    "gadgets.example.com /apis/example.com/v1alpha1 example.com/gadgets\n"
#define SNAPSHOTS                                                                                  \
    "volumesnapshots.snapshot.storage.k8s.io /apis/snapshot.storage.k8s.io/v1 "                    \
    "snapshot.storage.k8s.io/volumesnapshots namespaced\n"

static void test_secrets_need_one_question(void **state)
{
    RECORDED("1.20.2");
    discover(&s, NAMES("secrets"), &out);
    expect_list(&out, "secrets /api/v1 secrets namespaced\n");
    expect_others(&out, "");
    assert_string_equal(buf_str(&r.asked), "/api/v1\n");
}

static void test_all_of_1_20(void **state)
{
    RECORDED("1.20.2");
    discover(&s, NAMES("*.*"), &out);
    expect_list(
        &out, CORE
        "apiservices.apiregistration.k8s.io /apis/apiregistration.k8s.io/v1 "
        "apiregistration.k8s.io/apiservices\n" APPS
        "horizontalpodautoscalers.autoscaling /apis/autoscaling/v1 horizontalpodautoscalers "
        "namespaced\n"
        "jobs.batch /apis/batch/v1 jobs namespaced\n"
        "cronjobs.batch /apis/batch/v1beta1 cronjobs namespaced\n"
        "certificatesigningrequests.certificates.k8s.io /apis/certificates.k8s.io/v1 "
        "certificatesigningrequests\n"
        "ingressclasses.networking.k8s.io /apis/networking.k8s.io/v1 ingressclasses\n"
        "ingresses.networking.k8s.io /apis/networking.k8s.io/v1 ingress namespaced\n"
        "networkpolicies.networking.k8s.io /apis/networking.k8s.io/v1 networkpolicies namespaced\n"
        "poddisruptionbudgets.policy /apis/policy/v1beta1 poddisruptionbudgets namespaced\n"
        "podsecuritypolicies.policy /apis/policy/v1beta1 podsecuritypolicy\n" ROLES
        "csidrivers.storage.k8s.io /apis/storage.k8s.io/v1 csidrivers\n"
        "csinodes.storage.k8s.io /apis/storage.k8s.io/v1 csinodes\n"
        "storageclasses.storage.k8s.io /apis/storage.k8s.io/v1 storageclasses\n"
        "volumeattachments.storage.k8s.io /apis/storage.k8s.io/v1 volumeattachments\n"
        "mutatingwebhookconfigurations." ADMISSION " /apis/" ADMISSION
        "/v1 mutatingwebhookconfigurations\n"
        "validatingwebhookconfigurations." ADMISSION " /apis/" ADMISSION
        "/v1 validatingwebhookconfigurations\n"
        "customresourcedefinitions.apiextensions.k8s.io /apis/apiextensions.k8s.io/v1 "
        "apiextensions.k8s.io/customresourcedefinitions\n"
        "priorityclasses.scheduling.k8s.io /apis/scheduling.k8s.io/v1 priorityclasses\n"
        "leases.coordination.k8s.io /apis/coordination.k8s.io/v1 leases namespaced\n"
        "runtimeclasses.node.k8s.io /apis/node.k8s.io/v1 runtimeclasses\n"
        "endpointslices.discovery.k8s.io /apis/discovery.k8s.io/v1beta1 endpointslices namespaced\n"
        "flowschemas.flowcontrol.apiserver.k8s.io /apis/flowcontrol.apiserver.k8s.io/v1beta1 "
        "flowschemas\n"
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io "
        "/apis/flowcontrol.apiserver.k8s.io/v1beta1 prioritylevelconfigurations\n" EXAMPLE
            SNAPSHOTS);
    expect_others(&out, SERVICES LEASES METRICS("*.metrics.k8s.io"));
    /* Its server isn't there, and nobody asked it. */
    assert_null(strstr(r.asked.data, "metrics"));
}

static void test_all_of_1_31(void **state)
{
    RECORDED("1.31");
    discover(&s, NAMES("*.*"), &out);
    /* The folders are those that Kubernetes' own test/integration/etcd/data.go expects. */
    expect_list(
        &out, CORE
        "apiservices.apiregistration.k8s.io /apis/apiregistration.k8s.io/v1 "
        "apiregistration.k8s.io/apiservices\n" APPS
        "horizontalpodautoscalers.autoscaling /apis/autoscaling/v2 horizontalpodautoscalers "
        "namespaced\n"
        "cronjobs.batch /apis/batch/v1 cronjobs namespaced\n"
        "jobs.batch /apis/batch/v1 jobs namespaced\n"
        "certificatesigningrequests.certificates.k8s.io /apis/certificates.k8s.io/v1 "
        "certificatesigningrequests\n"
        "clustertrustbundles.certificates.k8s.io /apis/certificates.k8s.io/v1alpha1 "
        "clustertrustbundles\n"
        "ingressclasses.networking.k8s.io /apis/networking.k8s.io/v1 ingressclasses\n"
        "ingresses.networking.k8s.io /apis/networking.k8s.io/v1 ingress namespaced\n"
        "networkpolicies.networking.k8s.io /apis/networking.k8s.io/v1 networkpolicies namespaced\n"
        "ipaddresses.networking.k8s.io /apis/networking.k8s.io/v1beta1 ipaddresses\n"
        "servicecidrs.networking.k8s.io /apis/networking.k8s.io/v1beta1 servicecidrs\n"
        "poddisruptionbudgets.policy /apis/policy/v1 poddisruptionbudgets namespaced\n" ROLES
        "csidrivers.storage.k8s.io /apis/storage.k8s.io/v1 csidrivers\n"
        "csinodes.storage.k8s.io /apis/storage.k8s.io/v1 csinodes\n"
        "csistoragecapacities.storage.k8s.io /apis/storage.k8s.io/v1 csistoragecapacities "
        "namespaced\n"
        "storageclasses.storage.k8s.io /apis/storage.k8s.io/v1 storageclasses\n"
        "volumeattachments.storage.k8s.io /apis/storage.k8s.io/v1 volumeattachments\n"
        "volumeattributesclasses.storage.k8s.io /apis/storage.k8s.io/v1alpha1 "
        "volumeattributesclasses\n"
        "mutatingwebhookconfigurations." ADMISSION " /apis/" ADMISSION
        "/v1 mutatingwebhookconfigurations\n"
        "validatingadmissionpolicies." ADMISSION " /apis/" ADMISSION
        "/v1 validatingadmissionpolicies\n"
        "validatingadmissionpolicybindings." ADMISSION " /apis/" ADMISSION
        "/v1 validatingadmissionpolicybindings\n"
        "validatingwebhookconfigurations." ADMISSION " /apis/" ADMISSION
        "/v1 validatingwebhookconfigurations\n"
        "customresourcedefinitions.apiextensions.k8s.io /apis/apiextensions.k8s.io/v1 "
        "apiextensions.k8s.io/customresourcedefinitions\n"
        "priorityclasses.scheduling.k8s.io /apis/scheduling.k8s.io/v1 priorityclasses\n"
        "leases.coordination.k8s.io /apis/coordination.k8s.io/v1 leases namespaced\n"
        "runtimeclasses.node.k8s.io /apis/node.k8s.io/v1 runtimeclasses\n"
        "endpointslices.discovery.k8s.io /apis/discovery.k8s.io/v1 endpointslices namespaced\n"
        "flowschemas.flowcontrol.apiserver.k8s.io /apis/flowcontrol.apiserver.k8s.io/v1 "
        "flowschemas\n"
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io "
        "/apis/flowcontrol.apiserver.k8s.io/v1 prioritylevelconfigurations\n"
        "storageversions.internal.apiserver.k8s.io /apis/internal.apiserver.k8s.io/v1alpha1 "
        "storageversions\n"
        "podschedulingcontexts.resource.k8s.io /apis/resource.k8s.io/v1alpha3 "
        "podschedulingcontexts namespaced\n"
        "resourceclaimparameters.resource.k8s.io /apis/resource.k8s.io/v1alpha3 "
        "resourceclaimparameters namespaced\n"
        "resourceclaims.resource.k8s.io /apis/resource.k8s.io/v1alpha3 resourceclaims namespaced\n"
        "resourceclaimtemplates.resource.k8s.io /apis/resource.k8s.io/v1alpha3 "
        "resourceclaimtemplates namespaced\n"
        "resourceclasses.resource.k8s.io /apis/resource.k8s.io/v1alpha3 resourceclasses\n"
        "resourceclassparameters.resource.k8s.io /apis/resource.k8s.io/v1alpha3 "
        "resourceclassparameters namespaced\n"
        "resourceslices.resource.k8s.io /apis/resource.k8s.io/v1alpha3 resourceslices\n"
        "storageversionmigrations.storagemigration.k8s.io /apis/storagemigration.k8s.io/v1alpha1 "
        "storageversionmigrations\n" EXAMPLE SNAPSHOTS);
    expect_others(&out, SERVICES LEASES METRICS("*.metrics.k8s.io"));
}

static void test_wildcards_of_a_group(void **state)
{
    RECORDED("1.31");
    discover(&s, NAMES("*."), &out);
    expect_list(&out, CORE);
    expect_others(&out, SERVICES LEASES);
    assert_string_equal(buf_str(&r.asked), "/api/v1\n");
    discover(&s, NAMES("*"), &out); /* as 1.20 reads it; later ones refuse it */
    expect_list(&out, CORE);
    buf_reset(&r.asked);
    discover(&s, NAMES("*.apps"), &out);
    expect_list(&out, APPS);
    expect_others(&out, "");
    assert_string_equal(buf_str(&r.asked) + strlen(buf_str(&r.asked)) - 14, "/apis/apps/v1\n");
    assert_null(strstr(buf_str(&r.asked), "/api/v1\n"));
    discover(&s, NAMES("*.example.com"), &out);
    expect_list(&out, EXAMPLE);
    discover(&s, NAMES("*.nothing.example.com", "*.metrics.k8s.io", "*.authorization.k8s.io"),
             &out);
    expect_list(&out, "");
    expect_others(
        &out, "*.nothing.example.com: no such API group here, now: nothing is "
              "stored\n" METRICS(
                  "*.metrics.k8s.io") "*.authorization.k8s.io: covers nothing that is stored\n");
    discover(&s, NAMES("deployments.apps", "*.apps", "*.apps", "services", "*."), &out);
    expect_others(&out, SERVICES LEASES);
}

static void test_in_the_order_of_the_names_and_once(void **state)
{
    RECORDED("1.31");
    discover(&s, NAMES("statefulsets.apps", "secrets.", "*.apps", "secrets", "configmaps"), &out);
    expect_list(&out, "statefulsets.apps /apis/apps/v1 statefulsets namespaced\n"
                      "secrets /api/v1 secrets namespaced\n"
                      "controllerrevisions.apps /apis/apps/v1 controllerrevisions namespaced\n"
                      "daemonsets.apps /apis/apps/v1 daemonsets namespaced\n"
                      "deployments.apps /apis/apps/v1 deployments namespaced\n"
                      "replicasets.apps /apis/apps/v1 replicasets namespaced\n"
                      "configmaps /api/v1 configmaps namespaced\n");
}

static void test_custom_resources(void **state)
{
    RECORDED("1.20.2");
    discover(&s,
             NAMES("widgets.example.com", "gadgets.example.com",
                   "volumesnapshots.snapshot.storage.k8s.io"),
             &out);
    expect_list(&out, EXAMPLE SNAPSHOTS);
    expect_others(&out, "");
}

static void test_version_that_serves_it(void **state)
{
    {
        RECORDED("1.20.2");
        discover(&s, NAMES("cronjobs.batch"), &out);
        expect_list(&out, "cronjobs.batch /apis/batch/v1beta1 cronjobs namespaced\n");
    }
    {
        RECORDED("1.31");
        discover(&s, NAMES("cronjobs.batch"), &out);
        expect_list(&out, "cronjobs.batch /apis/batch/v1 cronjobs namespaced\n");
    }
}

static void test_two_groups_for_one_object(void **state)
{
    RECORDED("1.20.2");
    discover(&s,
             NAMES("events.events.k8s.io", "ingresses.extensions", "*.extensions",
                   "*.events.k8s.io", "ingresses.networking.k8s.io"),
             &out);
    expect_list(&out,
                "ingresses.networking.k8s.io /apis/networking.k8s.io/v1 ingress namespaced\n");
    expect_others(&out,
                  "events.events.k8s.io: stored as `events`, and encrypted by that name alone\n"
                  "ingresses.extensions: stored as `ingresses.networking.k8s.io`, and encrypted by "
                  "that name alone\n"
                  "*.extensions: covers nothing that is stored\n"
                  "*.events.k8s.io: covers nothing that is stored\n");
}

/* Before 1.14 the newer group doesn't have it. */
static void test_older_group_alone(void **state)
{
    RECORDED("1.20.2");
    json_object_set_new(r.answers, "/apis/networking.k8s.io/v1",
                        json_pack("{sss[]}", "kind", "APIResourceList", "resources"));
    json_object_set(r.answers, "/apis/networking.k8s.io/v1beta1",
                    json_object_get(r.answers, "/apis/networking.k8s.io/v1"));
    discover(&s, NAMES("ingresses.extensions"), &out);
    expect_list(&out, "ingresses.extensions /apis/extensions/v1beta1 ingress namespaced\n");
}

static void test_what_no_rewriting_reaches(void **state)
{
    RECORDED("1.20.2");
    discover(&s,
             NAMES("bindings", "componentstatuses", "tokenreviews.authentication.k8s.io",
                   "pods.metrics.k8s.io", "secret", "deployments", "pods/status", "secrets.*",
                   "things.x.io", "serviceipallocations", "Secrets"),
             &out);
    expect_list(&out, "");
    static const char nothing[] = "bindings: never stored\n"
                                  "componentstatuses: never stored\n"
                                  "tokenreviews.authentication.k8s.io: never stored\n";
    static const char allocations[] =
        "serviceipallocations: has no API; kube-apiserver doesn't look for that name\n";
    struct buf text CLEANUP(buf_free) = {0};
    buf_printf(&text, "%s%s%s%s%s%s%s%s%s", nothing, METRICS("pods.metrics.k8s.io"),
               UNKNOWN("secret", ""), UNKNOWN("deployments", " (is `deployments.apps` meant?)"),
               UNKNOWN("pods/status", ""), UNKNOWN("secrets.*", " (is `secrets` meant?)"),
               UNKNOWN("things.x.io", ""), allocations, UNKNOWN("Secrets", ""));
    expect_others(&out, text.data);
}

static void test_services_bring_their_ranges(void **state)
{
    RECORDED("1.31");
    discover(&s, NAMES("services"), &out);
    expect_list(&out, "services /api/v1 services/specs namespaced\n");
    expect_others(&out, SERVICES);
}

/* A definition is there, but no version of it is served: its objects may lie in the store. */
static void test_definition_that_is_not_served(void **state)
{
    RECORDED("1.31");
    json_array_append_new(
        json_object_get(
            json_object_get(r.answers, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
            "items"),
        json_pack("{s{ss}}", "metadata", "name", "things.other.example.com"));
    discover(&s, NAMES("things.other.example.com"), &out);
    expect_list(&out, "");
    expect_others(&out, "things.other.example.com! its CustomResourceDefinition is there, but no "
                        "version of it is served, so it can't be rewritten\n");
}

static void read_into(struct api_groups *g, const char *group, size_t version, const char *text)
{
    struct error err CLEANUP(error_clear) = {0};
    json_t *j CLEANUP(cleanup_json) = json_loads(text, 0, NULL);
    assert_non_null(j);
    if (api_version_add(&api_groups_find(g, group)->versions[version], j, &err) < 0)
        fail_msg("%s", err.message);
}

/* The preferred version can't do it, another can; and one that none can patch is told. */
static void test_verbs_decide(void **state)
{
    (void)state;
    struct api_groups g CLEANUP(api_groups_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    struct resources out CLEANUP(resources_free) = {0};
    api_groups_init(&g);
    json_t *j CLEANUP(cleanup_json) = json_loads(
        "{\"kind\":\"APIGroupList\",\"groups\":[{\"name\":\"g.io\",\"preferredVersion\":{"
        "\"version\":\"v2\"},\"versions\":[{\"version\":\"v1\"},{\"version\":\"v2\"}]}]}",
        0, NULL);
    assert_int_equal(api_groups_add(&g, j, &err), 0);
    assert_int_equal(api_groups_find(&g, "g.io")->count, 2);
    read_into(&g, "g.io", 0,
              "{\"kind\":\"APIResourceList\",\"resources\":["
              "{\"name\":\"as\",\"verbs\":[\"list\"]},"
              "{\"name\":\"bs\",\"verbs\":[\"list\",\"get\"]}]}");
    read_into(&g, "g.io", 1,
              "{\"kind\":\"APIResourceList\",\"resources\":["
              "{\"name\":\"as\",\"verbs\":[\"patch\",\"list\"]},"
              "{\"name\":\"bs\",\"verbs\":[\"list\"]},{\"name\":\"cs\",\"verbs\":[\"patch\"]}]}");
    api_groups_resolve(&g, NAMES("*.g.io"), &out);
    expect_list(&out, "as.g.io /apis/g.io/v1 as\n");
    expect_others(&out, "bs.g.io! can't be patched, so not be rewritten\n");
}

static void test_failures_name_the_question(void **state)
{
    RECORDED("1.31");
    struct error err CLEANUP(error_clear) = {0};
    r.fail = "/apis/batch/v1";
    r.status = 403;
    r.times = 100;
    assert_int_equal(discovery_resources(&s.server, NAMES("jobs.batch"), &out, &err), -1);
    assert_int_equal(err.result, RESULT_FAILED);
    assert_string_equal(
        err.message, "what the configuration's resources are can't be told: kube-apiserver on a: "
                     "GET /apis/batch/v1: answered 403: recorded so");
    /* Other groups' troubles are not ours. */
    discover(&s, NAMES("secrets", "deployments.apps"), &out);
    assert_int_equal(out.count, 2);
    static const char *const needed[] = {"/apis", "/apis/apiregistration.k8s.io/v1/apiservices",
                                         "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        r.fail = needed[i];
        error_clear(&err);
        resources_free(&out);
        assert_int_equal(discovery_resources(&s.server, NAMES("jobs.batch"), &out, &err), -1);
        assert_non_null(strstr(err.message, needed[i]));
        assert_int_equal(out.count, 0);
    }
}

static void test_passing_trouble_is_waited_for(void **state)
{
    RECORDED("1.31");
    r.fail = "/apis/apps/v1";
    r.status = 503;
    r.times = 1;
    discover(&s, NAMES("*.apps"), &out);
    expect_list(&out, APPS);
    assert_int_equal(r.times, 0);
}

/* A group goes while we ask, and there may be no aggregation layer at all. */
static void test_what_is_gone_is_no_error(void **state)
{
    RECORDED("1.31");
    r.fail = "/apis/example.com/v1alpha1";
    r.status = 404;
    r.times = 1;
    discover(&s, NAMES("*.example.com"), &out);
    expect_list(&out, "widgets.example.com /apis/example.com/v1 example.com/widgets namespaced\n");
    json_object_del(r.answers, "/apis/apiregistration.k8s.io/v1/apiservices");
    discover(&s, NAMES("jobs.batch"), &out);
    assert_int_equal(out.count, 1);
}

static void test_other_answers_are_refused(void **state)
{
    static const char *const paths[] = {"/apis", "/apis/apiregistration.k8s.io/v1/apiservices",
                                        "/apis/batch/v1",
                                        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        RECORDED("1.31");
        struct error err CLEANUP(error_clear) = {0};
        json_object_set_new(r.answers, paths[i], json_pack("{ss}", "kind", "SecretList"));
        assert_int_equal(discovery_resources(&s.server, NAMES("jobs.batch"), &out, &err), -1);
        assert_non_null(strstr(err.message, paths[i]));
        assert_non_null(strstr(err.message, "the answer is no"));
    }
}

enum { MANY = 120 };

/* Far more groups than are asked at once, and definitions on many pages. `old`: before 1.15, where
 * only a table tells its revision and its next page. */
static void answer_many(void *ctx, const struct asked *q, struct buf *out)
{
    const bool *old = ctx;
    bool table = strstr(q->head, "as=Table") != NULL;
    struct buf body CLEANUP(buf_free) = {0};
    unsigned from = 0;
    const char *token = strstr(q->path, "continue=");
    if (token)
        from = (unsigned)strtoul(token + 9, NULL, 10);
    if (str_eq(q->path, "/apis")) {
        buf_adds(&body, "{\"kind\":\"APIGroupList\",\"groups\":[{\"name\":\"apiextensions.k8s.io\","
                        "\"versions\":[{\"version\":\"v1beta1\"}]}");
        for (unsigned i = 0; i < MANY; i++)
            buf_printf(&body, ",{\"name\":\"g%u.io\",\"versions\":[{\"version\":\"v1\"}]}", i);
        buf_adds(&body, "]}");
    } else if (strstr(q->path, "customresourcedefinitions?")) {
        unsigned to = from + 50 < MANY ? from + 50 : MANY;
        buf_printf(&body, "{\"kind\":\"%s\",\"metadata\":{",
                   table ? "Table" : "PartialObjectMetadataList");
        if (table || !*old)
            buf_adds(&body, "\"resourceVersion\":\"5\"");
        if ((table || !*old) && to < MANY)
            buf_printf(&body, ",\"continue\":\"%u\"", to);
        buf_printf(&body, "},\"%s\":[", table ? "rows" : "items");
        for (unsigned i = from; i < to; i++)
            buf_printf(&body, "%s%s{\"metadata\":{\"name\":\"things.g%u.io\"}}%s",
                       i > from ? "," : "", table ? "{\"object\":" : "", i, table ? "}" : "");
        buf_adds(&body, "]}");
    } else if (str_starts(q->path, "/apis/g")) {
        buf_adds(&body, "{\"kind\":\"APIResourceList\",\"resources\":[{\"name\":\"things\","
                        "\"namespaced\":true,\"verbs\":[\"list\",\"patch\"]}]}");
    } else if (strstr(q->path, "apiservices")) {
        buf_adds(&body, "{\"kind\":\"APIServiceList\",\"items\":[]}");
    } else {
        buf_adds(&body, "{\"kind\":\"APIResourceList\",\"resources\":[]}");
    }
    standin_answer(out, 200, NULL, buf_str(&body));
}

static void many_groups(void **state, bool old)
{
    struct standin s CLEANUP(standin_stop) = {.fn = answer_many, .ctx = &old};
    struct resources out CLEANUP(resources_free) = {0};
    standin_start(&s, *state, "kube-apiserver on a");
    discover(&s, NAMES("*.*"), &out);
    assert_int_equal(out.count, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        char dir[32];
        snprintf(dir, sizeof(dir), "g%u.io/things", i);
        assert_string_equal(out.list[i].etcd_dir, dir);
    }
    assert_true(s.most_at_once <= 32);
}

static void test_many_groups(void **state)
{
    many_groups(state, false);
}

static void test_many_groups_before_1_15(void **state)
{
    many_groups(state, true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STANDIN_TEST(test_secrets_need_one_question),
        STANDIN_TEST(test_all_of_1_20),
        STANDIN_TEST(test_all_of_1_31),
        STANDIN_TEST(test_wildcards_of_a_group),
        STANDIN_TEST(test_in_the_order_of_the_names_and_once),
        STANDIN_TEST(test_custom_resources),
        STANDIN_TEST(test_version_that_serves_it),
        STANDIN_TEST(test_two_groups_for_one_object),
        STANDIN_TEST(test_older_group_alone),
        STANDIN_TEST(test_what_no_rewriting_reaches),
        STANDIN_TEST(test_services_bring_their_ranges),
        STANDIN_TEST(test_definition_that_is_not_served),
        cmocka_unit_test(test_verbs_decide),
        STANDIN_TEST(test_failures_name_the_question),
        STANDIN_TEST(test_passing_trouble_is_waited_for),
        STANDIN_TEST(test_what_is_gone_is_no_error),
        STANDIN_TEST(test_other_answers_are_refused),
        STANDIN_TEST(test_many_groups),
        STANDIN_TEST(test_many_groups_before_1_15),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
