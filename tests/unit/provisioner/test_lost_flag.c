/* What an administrator is told where the flag is gone, or would go with the next start. */
#include "provisioner/lost_flag.h"

#include "provisioner/drivers/kubeadm.h"
#include "provisioner/drivers/openshift3.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PATH "/etc/kubernetes/enc/encryption.yaml"
#define OWN "/etc/origin/master/own.yaml"
#define K1 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define CONFIG                                                                                     \
    "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"          \
    "- resources: [secrets]\n  providers: [{aescbc: {keys: [{name: a, secret: " K1                 \
    "}]}}, {identity: {}}]\n"

static char address[] = "10.0.0.1", process[] = "p 1 2", sha256[] = "5ada", none[] = "none";

/* A journal that saw it read the file at `path` (NULL: none recorded). */
static struct journal seen(char *path, char *its_sha256)
{
    static struct node_record n;
    n = (struct node_record){
        .address = address, .path = path, .runs = {.sha256 = its_sha256, .process = process}};
    return (struct journal){.nodes = &n, .node_count = 1};
}

static void a_restart_is_told_only_where_it_takes_nothing_away(void **state)
{
    (void)state;
    static char path[] = PATH, own[] = OWN, why[] = "it was changed";
    const struct {
        char *has, *next, *recorded, *recorded_sha256;
        const char *lost;
    } table[] = {
        /* By the process' own flags: kubeadm. */
        {path, NULL, NULL, NULL, PATH},
        {path, own, path, sha256, PATH},
        {path, path, path, sha256, NULL},
        {NULL, path, NULL, NULL, NULL},
        {NULL, NULL, NULL, NULL, NULL},
        /* By what stands in its settings now: openshift3. */
        {NULL, NULL, own, sha256, OWN},
        {path, path, own, sha256, OWN},
        {own, own, own, sha256, NULL},
        {NULL, NULL, own, none, NULL},
        {NULL, NULL, NULL, sha256, PATH},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct journal j = seen(table[i].recorded, table[i].recorded_sha256);
        struct member m = {.node.name = address,
                           .config_path = path,
                           .seen = {.config_path = table[i].has,
                                    .process = process,
                                    .doubt = why,
                                    .doubt_next = table[i].next}};
        const char *lost = lost_flag_at_restart(&j, &m);
        if (!str_eq(lost, table[i].lost))
            fail_msg("%zu: %s", i, lost ? lost : "nothing");
        m.seen.doubt = NULL;
        assert_null(lost_flag_at_restart(&j, &m));
    }
}

struct lab {
    struct cluster cluster;
    struct encrypt_options o;
    struct member m;
    struct session s;
    struct journal j;
    struct openshift3 openshift;
    struct error err;
};

static void lab_make(struct lab *l, const struct driver *driver, char *path)
{
    *l = (struct lab){.o.config = "cluster.yml"};
    l->m = (struct member){
        .node = {.name = address,
                 .driver = driver,
                 .cluster = &l->cluster,
                 .driver_data = driver == &driver_openshift3 ? &l->openshift : NULL},
        .config_path = path,
        .seen = {.exists = true, .running = true, .process = process}};
    l->j = seen(path, sha256);
    l->s = (struct session){
        .options = &l->o, .members = &l->m, .count = 1, .journal = &l->j, .cluster = &l->cluster};
}

static void what_is_lost_at_a_restart_is_to_be_put_back_first(void **state)
{
    (void)state;
    static char path[] = PATH, own[] = OWN, why[] = "it was changed";
    const struct {
        const struct driver *driver;
        char *has, *where;
        const char *back;
    } table[] = {
        {&driver_kubeadm, path, path,
         "put back --encryption-provider-config=" PATH
         ", with the mount /etc/kubernetes/enc:/etc/kubernetes/enc:ro, in " KUBEADM_MANIFEST},
        {&driver_openshift3, NULL, own,
         "put back --experimental-encryption-provider-config=" OWN
         ", in kubernetesMasterConfig.apiServerArguments of " OPENSHIFT_CONFIG},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct lab l;
        lab_make(&l, table[i].driver, table[i].where);
        l.m.seen.config_path = table[i].has;
        l.m.seen.doubt = why;
        assert_int_equal(lost_flag_refuse_doubt(&l.s, &l.m, &l.err), -1);
        assert_int_equal(l.err.result, RESULT_REFUSED);
        assert_true(str_starts(l.err.next, "don't restart it"));
        assert_null(strstr(l.err.next, table[i].driver->words.restart));
        if (!strstr(l.err.next, table[i].back))
            fail_msg("%s", l.err.next);
        error_clear(&l.err);
        /* It is back: now a restart is what ends the doubt. */
        l.m.seen.config_path = l.m.seen.doubt_next = table[i].where;
        assert_int_equal(lost_flag_refuse_doubt(&l.s, &l.m, &l.err), -1);
        assert_non_null(strstr(l.err.next, table[i].driver->words.restart));
        error_clear(&l.err);
    }
}

static const char *lies; /* at PATH; NULL: nothing */

static int read_file(struct node *n, const char *path, struct buf *out, bool *missing,
                     struct error *err)
{
    (void)n;
    (void)err;
    *missing = !lies || !str_eq(path, PATH);
    if (!*missing)
        buf_adds(out, lies);
    return 0;
}

static void without_any_flag_and_with_the_file_the_flag_is_to_come_back(void **state)
{
    (void)state;
    static char path[] = PATH;
    char a[] = "k8s:enc:aescbc:v1:a:", b[] = "k8s:enc:aescbc:v1:b:";
    char *missing[] = {a, NULL}, *other[] = {b, NULL};
    struct driver driver = driver_kubeadm;
    struct lab l;
    driver.read_file = read_file;
    lies = CONFIG;
    lab_make(&l, &driver, path);
    assert_int_equal(lost_flag_refuse(&l.s, missing, &l.err), -1);
    assert_int_equal(l.err.result, RESULT_REFUSED);
    assert_non_null(strstr(l.err.next, "--encryption-provider-config=" PATH
                                       ", with the mount /etc/kubernetes/enc:"));
    assert_null(strstr(l.err.next, "doctor"));
    error_clear(&l.err);
    /* Another key, no file, or some apiserver with the flag: that is the union's. */
    assert_int_equal(lost_flag_refuse(&l.s, other, &l.err), 0);
    lies = NULL;
    assert_int_equal(lost_flag_refuse(&l.s, missing, &l.err), 0);
    lies = CONFIG;
    l.m.seen.config_path = path;
    assert_int_equal(lost_flag_refuse(&l.s, missing, &l.err), 0);
}

/* The state file says what `rke up` deploys: only where that reads it. */
static void rke_gives_it_back_where_its_state_has_the_key(void **state)
{
    (void)state;
    static char path[] = PATH;
    char a[] = "k8s:enc:aescbc:v1:a:";
    char *missing[] = {a, NULL};
    struct driver driver = driver_kubeadm;
    struct lab l;
    driver.read_file = read_file;
    driver.needs_state = true;
    lies = CONFIG;
    lab_make(&l, &driver, path);
    l.s.state = rkestate_bare("cluster.rkestate");
    assert_int_equal(lost_flag_refuse(&l.s, missing, &l.err), -1);
    assert_null(strstr(l.err.next, "rke up"));
    error_clear(&l.err);
    rkestate_set_encryption(l.s.state, CONFIG, true);
    assert_int_equal(lost_flag_refuse(&l.s, missing, &l.err), -1);
    assert_non_null(strstr(l.err.next, "`rke up` brings it back"));
    error_clear(&l.err);
    rkestate_free(l.s.state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_is_told_only_where_it_takes_nothing_away),
        cmocka_unit_test(what_is_lost_at_a_restart_is_to_be_put_back_first),
        cmocka_unit_test(without_any_flag_and_with_the_file_the_flag_is_to_come_back),
        cmocka_unit_test(rke_gives_it_back_where_its_state_has_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
