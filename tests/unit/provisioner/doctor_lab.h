/* Nodes that are made up, for tests of the doctor's judgement. */
#ifndef ENCRYPT_TESTS_DOCTOR_LAB_H
#define ENCRYPT_TESTS_DOCTOR_LAB_H

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

static inline int read_file(struct node *n, const char *path, struct buf *out, bool *missing,
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

static inline int start_with(struct node *n, const struct apiserver_want *want, char ***flags,
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
static inline void lab_make(struct lab *l, const char *first, const char *second)
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

static inline void lab_free(struct lab *l)
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

static inline int write_state(struct lab *l)
{
    l->asked.write_state = true;
    assert_int_equal(doctor_stamps(&l->d, &l->err), 0);
    doctor_history(&l->d);
    assert_int_equal(doctor_union(&l->d, &l->err), 0);
    return doctor_rebuild(&l->d, &l->err);
}

/* The state that was written; to be freed. */
static inline struct rkestate *written(const struct lab *l)
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

static inline void refused(struct lab *l, const char *why)
{
    assert_int_equal(write_state(l), -1);
    assert_int_equal(l->err.result, RESULT_REFUSED);
    if (!strstr(l->err.message, why))
        fail_msg("%s", l->err.message);
    assert_null(written(l));
}

/* --- kinds without a state of their own --- */

static inline void make_ours(struct lab *l)
{
    for (size_t i = 0; i < NODES; i++)
        l->d.s->members[i].node.driver = &ours;
}

/* No word of what there is in a cluster of RKE's alone. (".rkestate" is the file's name.) */
static inline void nothing_of_rke_is_said(const struct lab *l)
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

#endif
