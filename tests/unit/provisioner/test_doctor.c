/* The doctor's judgement, over nodes that are made up: what is written, what is refused, what is
 * advised. */
#include "provisioner/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define K1 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define K2 "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
#define CBC(name, secret) "{aescbc: {keys: [{name: '" name "', secret: " secret "}]}}"
#define ITEM(resource, providers) "- resources: [" resource "]\n  providers: [" providers "]\n"
#define SECRETS(providers) ITEM("secrets", providers)
#define ID "{identity: {}}"
#define CLUSTER                                                                                    \
    "nodes:\n- {address: 10.0.0.1, user: root, role: [controlplane, etcd]}\n"                      \
    "- {address: 10.0.0.2, user: root, role: [controlplane, etcd]}\n"                              \
    "services: {kube-api: {secrets_encryption_config: {enabled: true}}}\n"
#define STATE(address)                                                                             \
    "{\"desiredState\": {}, \"currentState\": {\"rkeConfig\": {\"nodes\": [{\"address\": "         \
    "\"" address "\", \"role\": [\"controlplane\"]}]}, \"certificatesBundle\": {\"kube-ca\": "     \
    "{\"certificatePEM\": \"x\"}}, \"encryptionConfig\": \"\"}}"

#define STAMP(cluster, generation)                                                                 \
    "{\"version\": 1, \"cluster\": \"" cluster                                                     \
    "-0000-4000-8000-000000000000\", \"generation\": " generation                                  \
    ", \"transition\": \"\", \"by\": \"ann\", \"at\": \"2026-01-02T03:04:05Z\"}"

enum { NODES = 2 };

/* What lies at the stamp's path: a text, NULL: nothing, "?": it can't be read. */
static const char *stamps[NODES];

static int read_file(struct node *n, const char *path, struct buf *out, bool *missing,
                     struct error *err)
{
    (void)path;
    const char *text = stamps[str_eq(n->name, "10.0.0.2")];
    *missing = !text;
    if (str_eq(text, "?"))
        return error_set(err, RESULT_FAILED, "the node does not answer");
    if (text)
        buf_adds(out, text);
    return 0;
}

static const struct driver driver = {
    .kind = "none", .needs_state = true, .words.keep_off = "`rke`", .read_file = read_file};

static int start_with(struct node *n, const struct apiserver_want *want, char ***flags,
                      char ***mounts, struct error *err)
{
    (void)n;
    (void)err;
    *flags = mem_alloc(2, sizeof(**flags));
    *mounts = mem_alloc(1, sizeof(**mounts));
    (*flags)[0] = mem_printf("--encryption-provider-config=%s", want->config_path);
    return 0;
}

/* A kind of which nobody but us keeps a state. */
static const struct driver ours = {.kind = "none",
                                   .words = {.apiserver = "the unit a.service",
                                             .logs = "journalctl -u a.service -n 50",
                                             .start = "systemctl start a.service",
                                             .restart = "systemctl restart a.service",
                                             .left_over = "ls -d /etc/a.d/* | sort",
                                             .flags = "the unit a.service"},
                                   .read_file = read_file,
                                   .start_with = start_with};

struct lab {
    struct doctor d;
    struct encrypt_options o;
    struct encrypt_doctor asked;
    struct encrypt_diagnosis out;
    struct error err;
    char folder[32];
};

/* Nodes with these configurations; NULL: no flag. */
static void lab_make(struct lab *l, const char *first, const char *second)
{
    const char *const items[NODES] = {first, second};
    struct session *s = mem_alloc(1, sizeof(*s));
    struct error err CLEANUP(error_clear) = {0};
    snprintf(l->folder, sizeof(l->folder), "/tmp/doctor-XXXXXX");
    assert_non_null(mkdtemp(l->folder));
    l->o = (struct encrypt_options){.config = "cluster.yml"};
    l->d = (struct doctor){.o = &l->o,
                           .asked = &l->asked,
                           .out = &l->out,
                           .s = s,
                           .state_missing = true,
                           .now = mem_strdup("20260102T030405Z")};
    s->options = &l->o;
    s->state_path = mem_printf("%s/cluster.rkestate", l->folder);
    assert_int_equal(cluster_parse(CLUSTER, strlen(CLUSTER), "cluster.yml", &s->cluster, &err), 0);
    s->members = mem_alloc(NODES, sizeof(*s->members));
    l->d.nodes = mem_alloc(NODES, sizeof(*l->d.nodes));
    s->count = NODES;
    for (size_t i = 0; i < NODES; i++) {
        struct member *m = &s->members[i];
        m->node = (struct node){.conf = &s->cluster->nodes[i],
                                .name = s->cluster->nodes[i].ssh.address,
                                .driver = &driver};
        m->seen.exists = m->seen.running = true;
        m->config_path = mem_strdup("/etc/kubernetes/ssl/encryption.yaml");
        m->file_missing = !items[i];
        l->d.nodes[i].known = true;
        stamps[i] = NULL;
        if (!items[i])
            continue;
        m->seen.config_path = mem_strdup(m->config_path);
        char *text CLEANUP(cleanup_mem) =
            mem_printf("apiVersion: apiserver.config.k8s.io/v1\n"
                       "kind: EncryptionConfiguration\nresources:\n%s",
                       items[i]);
        buf_adds(&m->file, text);
        if (encryption_config_read(text, strlen(text), "c", ENCRYPTION_LENIENT,
                                   &l->d.nodes[i].config, &err) < 0)
            fail_msg("%s", err.message);
    }
    l->d.split = !encryption_config_equal(l->d.nodes[0].config, l->d.nodes[1].config);
}

static void lab_free(struct lab *l)
{
    struct session *s = l->d.s;
    char *sidecar CLEANUP(cleanup_mem) = mem_printf("%s/cluster.encrypt-state", l->folder);
    char *lock CLEANUP(cleanup_mem) = mem_printf("%s/.cluster.rkestate.lock", l->folder);
    unlink(s->state_path);
    unlink(sidecar);
    unlink(lock);
    rmdir(l->folder);
    for (size_t i = 0; i < NODES; i++) {
        mem_free(s->members[i].config_path);
        apiserver_free(&s->members[i].seen);
        buf_free(&s->members[i].file);
    }
    mem_free(STEAL(s->members));
    s->count = 0;
    for (size_t i = 0; i < NODES; i++) {
        encryption_config_free(l->d.nodes[i].config);
        encryption_config_free(l->d.nodes[i].stray);
        stamp_free(&l->d.nodes[i].stamp);
    }
    mem_free(l->d.nodes);
    mem_free(l->d.stored);
    rkestate_free(l->d.older);
    journal_free(l->d.history);
    encryption_config_free(l->d.united);
    encryption_config_free(l->d.mended);
    encryption_config_free(l->d.needed);
    mem_free(l->d.no_union);
    mem_free(l->d.busy);
    mem_free(l->d.now);
    session_close(s);
    encrypt_diagnosis_free(&l->out);
    error_clear(&l->err);
}
#define LAB(first, second)                                                                         \
    (void)state;                                                                                   \
    struct lab l CLEANUP(lab_free) = {0};                                                          \
    lab_make(&l, first, second)

static int write_state(struct lab *l)
{
    l->asked.write_state = true;
    assert_int_equal(doctor_stamps(&l->d, &l->err), 0);
    doctor_history(&l->d);
    assert_int_equal(doctor_union(&l->d, &l->err), 0);
    return doctor_rebuild(&l->d, &l->err);
}

/* The state that was written; to be freed. */
static struct rkestate *written(const struct lab *l)
{
    struct error err CLEANUP(error_clear) = {0};
    struct rkestate *s = NULL;
    assert_int_equal(rkestate_read(l->d.s->state_path, &s, &err), 0);
    return s;
}

static const char *all_of(const struct lab *l)
{
    static struct buf text;
    buf_reset(&text);
    for (size_t i = 0; i < l->out.finding_count; i++) {
        const struct encrypt_finding *f = &l->out.findings[i];
        buf_printf(&text, "%s: %s\n%s\n%s\n", f->about, f->what, f->means ? f->means : "",
                   f->mend ? f->mend : "");
    }
    return buf_str(&text);
}
#define SAID(text) assert_non_null(strstr(all_of(&l), text))
#define NOT_SAID(text) assert_null(strstr(all_of(&l), text))

static void refused(struct lab *l, const char *why)
{
    assert_int_equal(write_state(l), -1);
    assert_int_equal(l->err.result, RESULT_REFUSED);
    if (!strstr(l->err.message, why))
        fail_msg("%s", l->err.message);
    assert_null(written(l));
}

/* Nodes that are the same are what they are, also where no union of such would be made. */
static void test_equal_nodes_as_they_are(void **state)
{
    static const char odd[] = SECRETS(CBC("a:b", K1) ", " ID);
    LAB(odd, odd);
    l.d.copy_read = true;
    assert_int_equal(write_state(&l), 0);
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    assert_non_null(strstr(rkestate_encryption_config(s), "a:b"));
    /* Written, and said that it has no members of RKE's. */
    SAID("a fresh encryption key of its own");
}

static void test_two_secrets_of_one_name(void **state)
{
    static const char odd[] =
        ITEM("secrets", CBC("a", K1) ", " ID) ITEM("configmaps", CBC("a", K2) ", " ID);
    LAB(odd, odd);
    l.d.copy_read = true;
    assert_int_equal(write_state(&l), 0);
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    assert_non_null(strstr(rkestate_encryption_config(s), K1));
    assert_non_null(strstr(rkestate_encryption_config(s), K2));
}

static void test_no_union_no_state(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K2) ", " ID));
    l.d.copy_read = true;
    refused(&l, "stands for two secrets");
    /* What is there is kept before anything is put over it. */
    SAID("cp -p /etc/kubernetes/ssl/encryption.yaml");
    NOT_SAID("docker restart");
}

static void test_bare_only_where_there_is_no_copy(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    refused(&l, "could not be looked for");
    assert_non_null(strstr(l.err.next, "--bare"));
    error_clear(&l.err);
    l.asked.bare = true;
    assert_int_equal(doctor_rebuild(&l.d, &l.err), 0);
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    assert_true(rkestate_is_bare(s));
}

/* --- kinds without a state of their own --- */

static void make_ours(struct lab *l)
{
    for (size_t i = 0; i < NODES; i++)
        l->d.s->members[i].node.driver = &ours;
}

/* No word of what there is in a cluster of RKE's alone. (".rkestate" is the file's name.) */
static void nothing_of_rke_is_said(const struct lab *l)
{
    static const char *const words[] = {"RKE",    "rke ",      "`rke",
                                        "docker", "container", "full-cluster-state"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strstr(all_of(l), words[i]))
            fail_msg("'%s' in: %s", words[i], all_of(l));
        for (size_t k = 0; k < l->out.seen_count; k++)
            assert_null(strstr(l->out.seen[k].text, words[i]));
        assert_null(l->err.message ? strstr(l->err.message, words[i]) : NULL);
        assert_null(l->err.next ? strstr(l->err.next, words[i]) : NULL);
    }
}

static void test_a_lost_state_of_ours_is_rebuilt_from_the_nodes_alone(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    make_ours(&l);
    stamps[0] = stamps[1] = STAMP("00000001", "7");
    assert_int_equal(write_state(&l), 0);
    SAID("is not there");
    nothing_of_rke_is_said(&l);
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    assert_non_null(strstr(rkestate_encryption_config(s), K1));
    assert_int_equal(journal_read(s, l.d.s->state_path, &j, &l.err), 0);
    assert_string_equal(j->cluster_id, "00000001-0000-4000-8000-000000000000");
    assert_true(j->generation > 7);
    assert_int_equal(j->key_count, 1);
    assert_non_null(j->keys[0].activated);
}

static void test_what_never_was_is_not_lost(void **state)
{
    for (int stamped = 0; stamped <= 2; stamped++) {
        LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
        make_ours(&l);
        stamps[1] = stamped == 0 ? NULL : stamped == 1 ? STAMP("00000001", "7") : "?";
        assert_int_equal(doctor_stamps(&l.d, &l.err), 0);
        doctor_history(&l.d);
        assert_int_equal(doctor_rebuild(&l.d, &l.err), 0);
        assert_null(written(&l));
        if (stamped)
            SAID("is not there");
        else
            assert_int_equal(l.out.finding_count, 0);
        nothing_of_rke_is_said(&l);
    }
}

static void test_a_bare_state_of_ours_lacks_nothing(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    l.d.state_missing = false;
    l.d.s->state = rkestate_bare(l.d.s->state_path);
    assert_int_equal(doctor_rebuild(&l.d, &l.err), 0);
    SAID("RKE's own members");
    size_t before = l.out.finding_count;
    make_ours(&l);
    assert_int_equal(doctor_rebuild(&l.d, &l.err), 0);
    assert_int_equal(l.out.finding_count, before);
}

static void test_the_union_is_put_by_the_words_of_the_kind(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("b", K2) ", " ID));
    char *path CLEANUP(cleanup_mem) = mem_printf("%s/union.yaml", l.folder);
    make_ours(&l);
    l.d.store_read = true;
    l.asked.write_union = path;
    mem_free(l.d.s->cluster->nodes[1].ssh.user);
    l.d.s->cluster->nodes[1].ssh.user = mem_strdup("op");
    assert_int_equal(doctor_union(&l.d, &l.err), 0);
    unlink(path);
    SAID(" root@10.0.0.1 'sh -ec '\\''umask 077; cat >");
    SAID(" op@10.0.0.2 'sudo sh -ec '\\''umask 077; cat >");
    SAID("; sync\nsystemctl restart a.service'\\'''");
    nothing_of_rke_is_said(&l);
}

/* Their files lie there still, or not (`gone`). */
static void take_flags(struct lab *l, bool gone)
{
    for (size_t i = 0; i < NODES; i++) {
        struct member *m = &l->d.s->members[i];
        mem_free(STEAL(m->seen.config_path));
        l->d.nodes[i].stray = STEAL(l->d.nodes[i].config);
        m->file_missing = gone;
        if (gone)
            encryption_config_free(STEAL(l->d.nodes[i].stray));
    }
}

static void store(struct lab *l, const char *prefix)
{
    static char text[64];
    snprintf(text, sizeof(text), "%s", prefix);
    l->d.stored = mem_alloc(1, sizeof(*l->d.stored));
    l->d.stored[0] = (struct doctor_stored){resource_find("secrets"), text};
    l->d.stored_count = 1;
    l->d.store_read = true;
}

/* The file is what reads what is stored: it is not moved away, no union is put beside it, nothing
 * is enabled anew. */
static void test_a_flag_that_is_lost_comes_back_and_the_file_stays(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    char *path CLEANUP(cleanup_mem) = mem_printf("%s/union.yaml", l.folder);
    make_ours(&l);
    take_flags(&l, false);
    store(&l, "k8s:enc:aescbc:v1:a:");
    l.asked.write_union = path;
    doctor_stray_files(&l.d);
    assert_int_equal(doctor_union(&l.d, &l.err), -1);
    assert_non_null(strstr(l.err.message, "is not told to read a file"));
    SAID("the flag was lost");
    SAID("--encryption-provider-config=/etc/kubernetes/ssl/encryption.yaml, in the unit a.service");
    NOT_SAID("mv -n");
    NOT_SAID("the nodes don't encrypt");
    nothing_of_rke_is_said(&l);
    assert_int_equal(access(path, F_OK), -1);
    /* Nor is a state made of nodes that have nothing. */
    error_clear(&l.err);
    l.asked.write_union = NULL;
    l.asked.write_state = true;
    doctor_history(&l.d);
    assert_int_equal(doctor_rebuild(&l.d, &l.err), -1);
    if (!strstr(l.err.message, "is not told to read the file"))
        fail_msg("%s", l.err.message);
}

static void test_a_file_is_moved_only_where_nothing_needs_it(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    make_ours(&l);
    take_flags(&l, false);
    doctor_stray_files(&l.d);
    SAID("could not be looked at: leave it there");
    NOT_SAID("mv -n");
    store(&l, "");
    doctor_stray_files(&l.d);
    SAID("mv -n");
}

/* The files are gone too: the union has the key, and the flag has to come after it. */
static void test_where_the_files_are_gone_too_the_union_and_the_flag_are_told(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    char *path CLEANUP(cleanup_mem) = mem_printf("%s/union.yaml", l.folder);
    make_ours(&l);
    l.d.needed = encryption_config_copy(l.d.nodes[0].config);
    take_flags(&l, true);
    store(&l, "k8s:enc:aescbc:v1:a:");
    l.asked.write_union = path;
    if (doctor_union(&l.d, &l.err) != 0)
        fail_msg("%s", l.err.message);
    unlink(path);
    SAID("no kube-apiserver is told to read it yet");
    SAID("--encryption-provider-config=/etc/kubernetes/ssl/encryption.yaml, in the unit a.service");
}

static void test_a_restart_that_would_take_the_flag_away_is_not_advised(void **state)
{
    static const char same[] = SECRETS(CBC("a", K1) ", " ID);
    for (int safe = 0; safe <= 1; safe++) {
        LAB(same, same);
        struct apiserver *a = &l.d.s->members[1].seen;
        make_ours(&l);
        for (size_t i = 0; i < NODES; i++)
            encryption_config_free(STEAL(l.d.nodes[i].config));
        a->doubt = mem_strdup("its settings were changed");
        a->doubt_next = safe ? mem_strdup(a->config_path) : NULL;
        assert_int_equal(doctor_nodes(&l.d, &l.err), 0);
        SAID("its settings were changed");
        if (safe) {
            SAID("systemctl restart a.service");
        } else {
            NOT_SAID("systemctl restart a.service");
            SAID("must not be restarted as it is");
            SAID("put back --encryption-provider-config=/etc/kubernetes/ssl/encryption.yaml");
        }
    }
}

static void test_words_are_root_s_unless_the_kind_says_otherwise(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    const struct member *m = &l.d.s->members[1];
    static const struct driver users = {.words.user = true};
    make_ours(&l);
    struct {
        const char *user;
        const struct driver *driver;
        const char *words, *end;
    } table[] = {
        {"root", &ours, ours.words.logs, " root@10.0.0.2 -n 'journalctl -u a.service -n 50'"},
        {"op", &ours, ours.words.logs, " op@10.0.0.2 -n 'sudo journalctl -u a.service -n 50'"},
        {"op", &ours, ours.words.left_over,
         " op@10.0.0.2 -n 'sudo sh -c '\\''ls -d /etc/a.d/* | sort'\\'''"},
        {"op", &users, "docker ps", " op@10.0.0.2 -n docker ps"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct ssh_access *a = &l.d.s->cluster->nodes[1].ssh;
        mem_free(a->user);
        a->user = mem_strdup(table[i].user);
        l.d.s->members[1].node.driver = table[i].driver;
        char *got CLEANUP(cleanup_mem) = node_words(&l.d, m, table[i].words);
        size_t len = strlen(got), end = strlen(table[i].end);
        assert_true(len > end);
        assert_string_equal(got + len - end, table[i].end);
    }
}

/* A copy that is evidence, or can be gone back to, is not told to be idle. */
static void test_left_overs_are_told_as_what_they_are(void **state)
{
    (void)state;
    static const struct driver *const kinds[] = {&driver_kubeadm, &driver_systemd,
                                                 &driver_openshift3};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        assert_non_null(kinds[i]->words.left_over_means);
        assert_null(strstr(kinds[i]->words.left_over_means, "do nothing"));
    }
}

static void test_words_name_the_unit_of_cluster_yml(void **state)
{
    static char unit[] = "api.service";
    static const struct cluster named = {.apiserver_unit = unit}, none = {0};
    struct member m = {.node.cluster = &none};
    (void)state;
    char *usual CLEANUP(cleanup_mem) = member_words(&m, "a kube-apiserver.service b");
    assert_string_equal(usual, "a kube-apiserver.service b");
    m.node.cluster = &named;
    char *other CLEANUP(cleanup_mem) =
        member_words(&m, "kube-apiserver.service b kube-apiserver.service");
    assert_string_equal(other, "api.service b api.service");
    assert_null(member_words(&m, NULL));
}

static void test_a_change_that_is_open_keeps_off_what_the_kind_has(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    char *rke CLEANUP(cleanup_mem) = session_keep_off(l.d.s);
    assert_string_equal(rke, "; don't run `rke` before it is finished");
    make_ours(&l);
    char *none CLEANUP(cleanup_mem) = session_keep_off(l.d.s);
    assert_string_equal(none, "");
}

static void test_damaged_copy_is_no_lack_of_one(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    l.d.copy_read = true;
    l.d.copy.secret.kind = "Secret";
    l.d.copy.newest = &l.d.copy.secret;
    refused(&l, "can't be used");
}

static void test_nothing_while_another_is_at_work(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("b", K2) ", " ID));
    l.d.copy_read = true;
    l.d.busy = mem_strdup("ann@host holds the lock: let that run finish");
    refused(&l, "let that run finish");
    SAID("let that run finish");
    NOT_SAID("write-union");
    error_clear(&l.err);
    encryption_config_free(STEAL(l.d.united));
    encryption_config_free(STEAL(l.d.mended));
    l.asked.write_state = false;
    l.asked.write_union = "/nowhere/union.yaml";
    assert_int_equal(doctor_union(&l.d, &l.err), -1);
    assert_non_null(strstr(l.err.message, "let that run finish"));
}

static void test_base_of_another_cluster(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    char *path CLEANUP(cleanup_mem) = mem_printf("%s/older", l.folder);
    l.d.copy_read = true;
    l.asked.from = path;
    FILE *f = fopen(path, "w");
    fputs(STATE("10.9.9.9"), f);
    fclose(f);
    refused(&l, "mode 0644");
    chmod(path, 0600);
    error_clear(&l.err);
    mem_free(STEAL(l.d.older_trouble));
    journal_free(STEAL(l.d.history));
    doctor_history(&l.d);
    assert_int_equal(doctor_rebuild(&l.d, &l.err), -1);
    assert_non_null(strstr(l.err.message, "is of another cluster"));
    unlink(path);
}

static void test_generation_that_no_copy_has(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    l.d.copy_read = true;
    stamps[0] = STAMP("00000001", "7");
    stamps[1] = STAMP("00000001", "9");
    assert_int_equal(write_state(&l), 0);
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    json_t *j = json_object_get(s->root, "encrypt");
    assert_string_equal(json_string_value(json_object_get(j, "cluster")),
                        "00000001-0000-4000-8000-000000000000");
    assert_true(json_integer_value(json_object_get(j, "generation")) >= 1000);
}

/* That it couldn't be read says nothing of the state file. */
static void test_stamp_that_cant_be_read(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    l.d.copy_read = true;
    stamps[0] = STAMP("00000001", "7");
    stamps[1] = "?";
    refused(&l, "stamp");
    SAID("the node does not answer");
    SAID("then look again");
    NOT_SAID("mv -n");
    error_clear(&l.err);
    encrypt_diagnosis_free(&l.out);
    stamps[1] = "{";
    assert_int_equal(doctor_stamps(&l.d, &l.err), 0);
    SAID("use that version");
    SAID("encryption.yaml.encrypt.damaged-20260102T030405Z");
    NOT_SAID("--from");
}

static void test_stamp_of_another_cluster(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("a", K1) ", " ID));
    l.d.copy_read = true;
    l.d.state_missing = false;
    assert_int_equal(journal_new(l.d.s->state_path, &l.d.s->journal, &l.err), 0);
    snprintf(l.d.s->journal->cluster_id, 37, "00000001-0000-4000-8000-000000000000");
    stamps[0] = STAMP("00000001", "0");
    stamps[1] = STAMP("00000002", "9");
    assert_int_equal(doctor_stamps(&l.d, &l.err), 0);
    SAID("node 10.0.0.2: it bears the stamp of cluster 00000002");
    SAID("encryption.yaml.encrypt.other-cluster-20260102T030405Z");
    /* The state file is not to blame. */
    NOT_SAID("rkestate.older");
}

/* The machine that enabled it is lost, and with it the journal. */
static void test_half_way(void **state)
{
    LAB(SECRETS(ID ", " CBC("a", K1)), NULL);
    l.d.copy_read = true;
    /* What is stored must be known: `resume` goes on without the checks that a change begins with.
     */
    assert_null(doctor_half_way(&l.d));
    l.d.store_read = true;
    assert_int_equal(write_state(&l), 0);
    SAID("was not finished");
    struct error err CLEANUP(error_clear) = {0};
    struct rkestate *s CLEANUP(cleanup_rkestate) = written(&l);
    struct journal *j CLEANUP(cleanup_journal) = NULL;
    assert_int_equal(journal_read(s, l.d.s->state_path, &j, &err), 0);
    assert_non_null(j->transition);
    assert_true(j->transition->switched);
    assert_null(j->transition->from);
    assert_string_equal(encryption_active_key(j->transition->to)->name, "a");
}

static void test_no_half_way(void **state)
{
    LAB(SECRETS(CBC("b", K2) ", " CBC("a", K1)), NULL);
    l.d.store_read = true;
    assert_null(doctor_half_way(&l.d));
    doctor_history(&l.d);
    assert_int_equal(doctor_union(&l.d, &l.err), 0);
    SAID("encrypt has no command");
    NOT_SAID("write-union");
}

/* Where it isn't known what is stored, a restart may lose the last place of a key. */
static void test_no_union_in_the_dark(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("b", K2) ", " CBC("a", K1) ", " ID));
    char *file CLEANUP(cleanup_mem) = mem_printf("%s/union.yaml", l.folder);
    l.asked.write_union = file;
    doctor_history(&l.d);
    assert_int_equal(doctor_union(&l.d, &l.err), -1);
    assert_non_null(strstr(l.err.message, "the last place of a key"));
    assert_int_not_equal(access(file, F_OK), 0);
}

/* Nothing is put over a file that may be needed, and nothing half. */
static void test_commands(void **state)
{
    LAB(SECRETS(CBC("a", K1) ", " ID), SECRETS(CBC("b", K2) ", " CBC("a", K1) ", " ID));
    char *file CLEANUP(cleanup_mem) = mem_printf("%s/un ion.yaml", l.folder);
    l.asked.write_union = file;
    l.d.store_read = true;
    doctor_history(&l.d);
    assert_int_equal(doctor_union(&l.d, &l.err), 0);
    SAID("un ion.yaml'");
    SAID("sha256sum");
    SAID("cp -p");
    SAID("ready 10.0.0.2 &&\n");
    NOT_SAID("jq");
    NOT_SAID(K1);
    NOT_SAID(K2);
    /* For a shell to read. */
    char *script CLEANUP(cleanup_mem) = mem_printf("%s/script", l.folder);
    FILE *f = fopen(script, "w");
    for (size_t i = 0; i < l.out.finding_count; i++)
        fputs(l.out.findings[i].mend, f);
    fclose(f);
    char *check CLEANUP(cleanup_mem) = mem_printf("sh -n %s", script);
    assert_int_equal(system(check), 0);
    unlink(script);
    unlink(file);
}

static int changed_later(struct node *n, const char *path, long long *out, struct error *err)
{
    (void)path;
    *out = 1795251155;
    return str_eq(n->name, "10.0.0.2") ? error_set(err, RESULT_FAILED, "sudo refuses") : 0;
}

/* With no journal, by the node's own clock alone. */
static void test_a_file_newer_than_its_process_is_told(void **state)
{
    static const char items[] = SECRETS(CBC("a", K1) ", " ID);
    static const struct driver tells = {.kind = "none", .changed_at = changed_later};
    LAB(items, items);
    for (size_t i = 0; i < NODES; i++) {
        struct member *m = &l.d.s->members[i];
        encryption_config_free(STEAL(l.d.nodes[i].config));
        m->node.driver = &tells;
        m->seen.process = mem_strdup("p1");
        m->seen.since = mem_strdup("2026-11-20T08:52:35Z");
    }
    assert_int_equal(doctor_nodes(&l.d, &l.err), 0);
    SAID("encryption.yaml was changed at 2026-11-21T08:52:35Z, after its kube-apiserver had "
         "started (2026-11-20T08:52:35Z)");
    assert_int_equal(l.out.finding_count, 1);
    assert_string_equal(l.out.findings[0].about, "node 10.0.0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_left_overs_are_told_as_what_they_are),
        cmocka_unit_test(test_equal_nodes_as_they_are),
        cmocka_unit_test(test_two_secrets_of_one_name),
        cmocka_unit_test(test_no_union_no_state),
        cmocka_unit_test(test_bare_only_where_there_is_no_copy),
        cmocka_unit_test(test_a_lost_state_of_ours_is_rebuilt_from_the_nodes_alone),
        cmocka_unit_test(test_what_never_was_is_not_lost),
        cmocka_unit_test(test_a_bare_state_of_ours_lacks_nothing),
        cmocka_unit_test(test_the_union_is_put_by_the_words_of_the_kind),
        cmocka_unit_test(test_a_flag_that_is_lost_comes_back_and_the_file_stays),
        cmocka_unit_test(test_a_file_is_moved_only_where_nothing_needs_it),
        cmocka_unit_test(test_where_the_files_are_gone_too_the_union_and_the_flag_are_told),
        cmocka_unit_test(test_a_restart_that_would_take_the_flag_away_is_not_advised),
        cmocka_unit_test(test_words_are_root_s_unless_the_kind_says_otherwise),
        cmocka_unit_test(test_words_name_the_unit_of_cluster_yml),
        cmocka_unit_test(test_a_change_that_is_open_keeps_off_what_the_kind_has),
        cmocka_unit_test(test_damaged_copy_is_no_lack_of_one),
        cmocka_unit_test(test_nothing_while_another_is_at_work),
        cmocka_unit_test(test_base_of_another_cluster),
        cmocka_unit_test(test_generation_that_no_copy_has),
        cmocka_unit_test(test_stamp_that_cant_be_read),
        cmocka_unit_test(test_stamp_of_another_cluster),
        cmocka_unit_test(test_half_way),
        cmocka_unit_test(test_no_half_way),
        cmocka_unit_test(test_no_union_in_the_dark),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_a_file_newer_than_its_process_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
