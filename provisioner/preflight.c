#include "provisioner/lost_flag.h"
#include "provisioner/objects.h"
#include "provisioner/run.h"
#include "provisioner/store.h"
#include "provisioner/stubborn.h"
#include "templates/encryption_features.h"

#include <stdlib.h>
#include <string.h>

/* etcd's own default; a full etcd stops the whole cluster. */
static const int64_t default_quota = (int64_t)2 << 30;

static int read_config(struct session *s, struct member *m, struct encryption_config **out,
                       struct error *err)
{
    *out = NULL;
    if (!m->seen.exists) {
        error_set(err, RESULT_REFUSED, "node %s: there is no kube-apiserver", m->node.name);
        error_next(err,
                   "encrypt up --config %s    (tells what to start it with; --initial where "
                   "the cluster has none yet)",
                   s->options->config);
        return -1;
    }
    if (m->seen.doubt)
        return lost_flag_refuse_doubt(s, m, err);
    if (!m->seen.config_path)
        return 0;
    if (m->file_missing)
        return error_set(err, RESULT_REFUSED,
                         "node %s: its kube-apiserver is told to read %s, and there is no such "
                         "file: its next restart would fail",
                         m->node.name, m->config_path);
    char *name CLEANUP(cleanup_mem) = mem_printf("%s:%s", m->node.name, m->config_path);
    return encryption_config_read(buf_str(&m->file), m->file.len, name, ENCRYPTION_LENIENT, out,
                                  err);
}

static void describe(const struct encryption_config *c, struct buf *out)
{
    const struct encryption_key *active = encryption_active_key(c);
    size_t count = 0;
    if (!c || !c->item_count) {
        buf_adds(out, "no encryption");
        return;
    }
    buf_adds(out, "a configuration with ");
    for (size_t i = 0; i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            for (size_t j = 0; j < p->key_count; j++)
                buf_printf(out, "%s%s", count++ ? ", " : "keys ", p->keys[j].name);
        }
    }
    buf_printf(out, "%s, writing with %s", count ? "" : "no key", active ? active->name : "none");
}

int preflight_agree(struct session *s, struct encryption_config **out, struct error *err)
{
    struct encryption_config *first CLEANUP(cleanup_encryption_config) = NULL;
    const struct member *model = NULL;
    for (size_t i = 0; i < s->count; i++) {
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
        if (s->members[i].joins)
            continue;
        if (read_config(s, &s->members[i], &c, err) < 0)
            return -1;
        if (!model) {
            model = &s->members[i];
            first = STEAL(c);
            continue;
        }
        if (encryption_config_equal(first, c))
            continue;
        struct buf text CLEANUP(buf_free) = {0};
        buf_printf(&text, "node %s has ", model->node.name);
        describe(first, &text);
        buf_printf(&text, ", node %s has ", s->members[i].node.name);
        describe(c, &text);
        error_set(err, RESULT_REFUSED,
                  "the apiservers are configured differently: %s. One of them may write what "
                  "another can't read",
                  buf_str(&text));
        error_next(err,
                   "encrypt doctor --config %s    (what each has, and the file that reads "
                   "everything)",
                   s->options->config);
        return -1;
    }
    *out = STEAL(first);
    return 0;
}

static bool is_ours(const struct session *s, const char *address)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        if (str_eq(m->node.conf->ssh.address, address) ||
            str_eq(m->node.conf->internal_address, address) ||
            apiserver_serves_at(&m->seen, address))
            return true;
    }
    return false;
}

/* Is it among those that the user says are gone for good? */
bool preflight_is_gone(const struct session *s, const char *address)
{
    size_t len = strlen(address);
    for (const char *at = s->options->forget_node; at && len; at = strchr(at, ',')) {
        at += *at == ',';
        if (strcspn(at, ",") == len && memcmp(at, address, len) == 0)
            return true;
    }
    return false;
}

/* `may_be_gone`: one that the user says is gone for good is passed over. */
static int check_addresses(struct session *s, char **addresses, const char *where, bool may_be_gone,
                           struct error *err)
{
    const char *given = may_be_gone && s->options->forget_node ? s->options->forget_node : "";
    for (size_t i = 0; addresses[i]; i++) {
        if (is_ours(s, addresses[i]) || (may_be_gone && preflight_is_gone(s, addresses[i])))
            continue;
        error_set(err, RESULT_REFUSED,
                  "%s is a control-plane node by %s, and %s doesn't list it as one: what it "
                  "writes could not be read after the change, or not by it",
                  addresses[i], where, s->options->config);
        error_next(err,
                   "add the node to %s%s, or take its kube-apiserver out of the cluster "
                   "first%s%s%s%s",
                   s->options->config,
                   session_shares_state(s) ? ""
                                           : " (where it is a listed one by another address: as "
                                             "the internal_address of that)",
                   may_be_gone ? "; where the machine is gone for good: the same command with "
                                 "--forget-node "
                               : "",
                   given, given[0] ? "," : "", may_be_gone ? addresses[i] : "");
        return -1;
    }
    return 0;
}

/* Another path is an administrator's own (extra_args of kube-api): it is as good as the usual one,
 * where all have it. */
static int check_paths(struct session *s, struct error *err)
{
    const struct member *model = NULL;
    const char *usual = s->members[0].node.driver->default_config_path;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (m->joins)
            continue;
        model = model ? model : m;
        if (m->node.driver->check_place(&m->node, m->config_path, err) < 0)
            return error_wrap(err, "node %s", m->node.name);
    }
    const char *first = model ? model->seen.config_path : NULL;
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        if (!m->joins && !str_eq(m->seen.config_path, first))
            return error_set(err, RESULT_REFUSED,
                             "node %s: its kube-apiserver reads %s, that of node %s reads %s: they "
                             "must be told to read the same path",
                             m->node.name, m->seen.config_path ? m->seen.config_path : "no file",
                             model->node.name, first ? first : "no file");
    }
    if (first && !str_eq(first, usual))
        tell(
            s, ENCRYPT_NOTE, NULL, NULL,
            "the apiservers read %s, a configuration of your own: it is taken as what runs, and is "
            "changed where it lies%s%s",
            first, session_shares_state(s) ? "; RKE's next `up` moves it to " : "",
            session_shares_state(s) ? usual : "");
    return 0;
}

int preflight_version(struct session *s, const struct encryption_config *to, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        char *version CLEANUP(cleanup_mem) = NULL;
        if (kube_server_version(&m->node.api, &version, err) < 0 ||
            kube_check_lists(version, m->node.api.what, err) < 0 ||
            encryption_config_check_version(to, version, m->node.api.what,
                                            apiserver_flag(&m->seen, "feature-gates"),
                                            m->node.driver->old_format, err) < 0)
            return -1;
    }
    return 0;
}

int preflight_cluster(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        bool ready = false;
        char *why CLEANUP(cleanup_mem) = NULL;
        if (m->joins)
            continue;
        if (!m->seen.exists || !m->seen.running)
            return error_set(err, RESULT_REFUSED, "node %s: kube-apiserver does not run%s%s",
                             m->node.name, m->seen.unseen ? ", as far as is seen: " : "",
                             m->seen.unseen ? m->seen.unseen : "");
        if (kube_ready(&m->node.api, &ready, &why, err) < 0)
            return -1;
        if (!ready)
            return error_set(err, RESULT_REFUSED,
                             "node %s: kube-apiserver is not ready (%s): all must be, or none is "
                             "touched",
                             m->node.name, why ? why : "no answer");
    }
    return reload_check_in_force(s, err) < 0 || check_paths(s, err) < 0
               ? -1
               : preflight_addresses(s, err);
}

/* Those that have, or are to have, a configuration of ours. `all`: also where they are known to
 * have run it and no transition is open. */
static int check_journal_nodes(struct session *s, bool all, struct error *err)
{
    const struct journal *j = s->journal;
    for (size_t i = 0; i < j->node_count; i++) {
        const struct node_record *n = &j->nodes[i];
        bool prepared = n->placed.sha256 && !n->runs.sha256;
        char *one[2] = {n->address, NULL};
        if ((j->transition || prepared || (all && n->runs.sha256)) &&
            check_addresses(s, one,
                            j->transition ? "the open transition"
                            : prepared    ? "an earlier run, which has prepared it to join"
                                          : "an earlier run",
                            true, err) < 0)
            return -1;
    }
    return 0;
}

static int check_state_nodes(struct session *s, struct error *err)
{
    char **addresses = rkestate_controlplane(s->state);
    int rc = check_addresses(s, addresses, "the state file", true, err);
    encryption_resources_free(addresses);
    return rc;
}

static void forget_nodes(struct session *s)
{
    for (size_t i = s->journal->node_count; i-- > 0;) {
        char *address CLEANUP(cleanup_mem) = mem_strdup(s->journal->nodes[i].address);
        if (!preflight_is_gone(s, address) || is_ours(s, address) ||
            !journal_forget_node(s->journal, address))
            continue;
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             "going on without %s: should that machine ever come back, take its kube-apiserver "
             "away before it joins the network: it may have another configuration than the others",
             address);
    }
}

int preflight_listed(struct session *s, struct error *err)
{
    if (check_journal_nodes(s, true, err) < 0 || check_state_nodes(s, err) < 0)
        return -1;
    forget_nodes(s);
    return 0;
}

int preflight_addresses(struct session *s, struct error *err)
{
    char **addresses = NULL;
    const struct http_server *api = NULL;
    struct error e CLEANUP(error_clear) = {0};
    if (s->options->forget_node && is_ours(s, s->options->forget_node))
        return error_set(err, RESULT_REFUSED, "%s: can't forget node %s, which it lists",
                         s->options->config, s->options->forget_node);
    /* Where no state of RKE's lists the nodes, those that we gave a configuration stand for that.
     */
    if (check_journal_nodes(s, !session_shares_state(s), err) < 0)
        return -1;
    if (session_ready_api(s, &api, &e) < 0)
        return error_move(err, &e);
    if (kube_apiserver_addresses(api, &addresses, err) < 0)
        return -1;
    int rc = check_addresses(s, addresses, "the endpoints of default/kubernetes", false, err);
    encryption_resources_free(addresses);
    if (rc < 0 || check_state_nodes(s, err) < 0)
        return -1;
    forget_nodes(s);
    return 0;
}

static int64_t etcd_quota(const struct session *s)
{
    const struct yaml *y = yaml_path(s->cluster->document, "services", "etcd", "extra_args",
                                     "quota-backend-bytes", NULL);
    long long given = y && y->kind == YAML_KIND_SCALAR ? strtoll(y->scalar, NULL, 10) : 0;
    return given > 0 ? given : default_quota;
}

int preflight_room(struct session *s, int64_t bytes, struct error *err)
{
    struct etcd_status status = {0};
    if (etcd_status(s->etcd, &status, err) < 0)
        return -1;
    int64_t used = status.db_size_in_use > 0 ? status.db_size_in_use : status.db_size;
    int64_t quota = etcd_quota(s);
    /* Each rewritten value is a new revision beside the old one, and base and index pages grow too.
     */
    int64_t need = bytes + bytes / 2;
    tell(s, ENCRYPT_DEBUG, NULL, NULL,
         "etcd uses %lld of %lld MiB, the rewrite adds up to %lld MiB", (long long)(used >> 20),
         (long long)(quota >> 20), (long long)(need >> 20));
    if (used + need <= quota)
        return 0;
    error_set(
        err, RESULT_REFUSED,
        "etcd holds %lld MiB and the rewrite would add up to %lld MiB: more than its quota of "
        "%lld MiB, and a full etcd stops the whole cluster",
        (long long)(used >> 20), (long long)(need >> 20), (long long)(quota >> 20));
    error_next(err,
               "compact and defragment etcd, or raise quota-backend-bytes (%sin %s: "
               "services.etcd.extra_args)",
               session_shares_state(s) ? "" : "of each etcd, and then ", s->options->config);
    return -1;
}

/*
 * The API can't list although every value's prefix is one that can be read: some are damaged, or
 * were written with another secret under a key's name. kube-apiserver runs on with such a secret,
 * but one that is restarted does not become ready (its informers never sync): no rollout could
 * succeed, nor be taken back.
 */
static int refuse_unreadable(struct session *s, const struct resource *r, struct error *list_error,
                             struct error *err)
{
    struct tally t CLEANUP(tally_free) = {.resource = r};
    struct buf text CLEANUP(buf_free) = {0};
    if (objects_find_unreadable(s, &t, err) < 0)
        return error_wrap(err, "looking for what keeps the API from listing the %s (%s)", r->name,
                          list_error->message);
    if (t.kept == 0)
        return error_move(err, list_error);
    if (t.patched == 0) {
        error_set(err, RESULT_REFUSED,
                  "none of the %zu %s can be read through the API, and what is stored has the "
                  "prefixes of keys that the nodes have: a key has another secret than the one "
                  "they were written with, or its KMS does not answer (%s)",
                  t.kept + t.more, r->name, t.stubborn[0].why);
        error_next(err, "encrypt doctor --config %s", s->options->config);
        return -1;
    }
    stubborn_explain(r, t.stubborn, t.kept, t.more, s->etcd_prefix, &text);
    error_set(err, RESULT_REFUSED,
              "%zu of the %zu %s can't be read through the API, and a kube-apiserver that is "
              "restarted does not become ready as long as that is so:\n%.*s",
              t.kept + t.more, t.kept + t.more + t.patched, r->name, (int)text.len - 1,
              buf_str(&text));
    error_next(err, "do what stands there, then run the same command again; restart no "
                    "kube-apiserver before that");
    return -1;
}

int preflight_refuse_unknown(struct session *s, const struct resource *r, const struct census *c,
                             const char *text, struct error *err)
{
    error_set(err, RESULT_REFUSED,
              "%zu of %zu %s in etcd can't be read with the configuration that the nodes "
              "have (%s), the first is %s: an old key is missing there, or the apiservers "
              "run another file than the one that lies on their nodes",
              c->refused, c->values, r->name, text, c->examples[0]);
    error_next(
        err,
        "encrypt doctor --config %s    (tells which; where the key history has the key, it writes "
        "the configuration that reads everything%s)",
        s->options->config,
        session_shares_state(s) ? ": was `rke up` run with a cluster.yml of before a rotation?"
                                : "");
    return -1;
}

/* aesgcm's nonces are random: after some 200,000 writes with a key they begin to be likely to
 * repeat (kubernetes.io/docs/tasks/administer-cluster/encrypt-data). */
static void warn_of_writes(struct session *s, const struct resource *r,
                           const struct encryption_config *to, size_t values)
{
    enum { MOST = 200000 };
    if (encryption_writes_with(to, r->name, PROVIDER_AESGCM))
        tell(s, ENCRYPT_WARNING, "check", NULL,
             "%s are written with aesgcm, whose key is good for %d writes: this change alone makes "
             "%zu, and each later write of any of them is one more. Rotate the key before",
             r->name, (int)MOST, values);
}

/* *bytes grows by what is to be rewritten. */
static int check_resource(struct session *s, const struct resource *r,
                          const struct encryption_config *from, const struct encryption_config *to,
                          int64_t *bytes, struct error *err)
{
    struct census c CLEANUP(census_free) = {0};
    const struct http_server *api = NULL;
    int64_t revision = 0;
    size_t listed = 0;
    struct error e CLEANUP(error_clear) = {0};
    if (session_ready_api(s, &api, err) < 0)
        return -1;
    /* One value that can't be read fails the whole list: etcd then tells which. */
    bool counted = kube_count(api, r, &listed, &revision, &e) == 0;
    if (!counted && e.result == RESULT_INTERRUPTED)
        return error_move(err, &e);
    if (census_unreadable(s, r, from, counted ? revision : 0, &c, err) < 0)
        return -1;
    if (counted && c.values != listed)
        return error_set(err, RESULT_REFUSED,
                         "the API lists %zu %s and etcd holds %zu under %s/%s/ at the same "
                         "revision (%lld): this is not where they are stored, so nothing could "
                         "be proved",
                         listed, r->name, c.values, s->etcd_prefix, r->etcd_dir,
                         (long long)revision);
    char *text CLEANUP(cleanup_mem) = census_text(&c);
    tell(s, ENCRYPT_NODE, "check", NULL, "%s in etcd: %s", r->name, text);
    if (c.refused)
        return preflight_refuse_unknown(s, r, &c, text, err);
    if (encryption_resource_changes(from, to, r->name)) {
        *bytes += c.bytes;
        warn_of_writes(s, r, to, c.values);
    }
    return counted ? 0 : refuse_unreadable(s, r, &e, err);
}

/* RKE keeps its state, and so the keys, in a secret of the cluster. */
static void warn_of_plain_keys(struct session *s, const struct resources *all,
                               const struct encryption_config *to)
{
    bool local = false;
    if (!session_shares_state(s))
        return;
    for (size_t i = 0; i < all->count; i++)
        local = local || !(encryption_writes_with(to, all->list[i].name, PROVIDER_IDENTITY) ||
                           encryption_writes_with(to, all->list[i].name, PROVIDER_KMS));
    if (local && encryption_writes_with(to, "secrets", PROVIDER_IDENTITY))
        tell(s, ENCRYPT_WARNING, "check", NULL,
             "other resources are encrypted and secrets are not: RKE's copy of its state, a secret "
             "of the cluster, has the keys in it. Encrypt secrets as well");
}

int preflight_store(struct session *s, const struct encryption_config *from,
                    const struct encryption_config *to, struct error *err)
{
    const struct resources *all = NULL;
    int64_t bytes = 0;
    if (store_resources(s, from, to, &all, err) < 0 ||
        store_check_unchangeable(s, all, from, to, err) < 0)
        return -1;
    warn_of_plain_keys(s, all, to);
    for (size_t i = 0; i < all->count; i++) {
        if (check_resource(s, &all->list[i], from, to, &bytes, err) < 0)
            return -1;
    }
    return preflight_room(s, bytes, err);
}
