/* What each control-plane node has and runs, and whether all are the same. */
#include "provisioner/status.h"

#include <string.h>

enum status_evidence status_runs(const struct member *m, const struct node_record *record,
                                 const char **sha256)
{
    *sha256 = NULL;
    if (!m->seen.running || !m->seen.process)
        return RUNS_UNKNOWN;
    *sha256 = "none";
    if (!m->seen.config_path)
        return RUNS_BY_FLAGS;
    if (m->reload.told) {
        *sha256 = m->reload.sha256;
        return RUNS_BY_METRIC;
    }
    *sha256 = m->file_sha256;
    /* With automatic reload a process is no evidence of another file than lies there. */
    bool by_process =
        !m->seen.automatic_reload || (record && str_eq(record->runs.sha256, m->file_sha256));
    if (by_process && record && record->runs.sha256 &&
        str_eq(record->runs.process, m->seen.process)) {
        *sha256 = record->runs.sha256;
        return RUNS_BY_JOURNAL;
    }
    if (record && record->placed.process && !str_eq(record->placed.process, m->seen.process) &&
        str_eq(record->placed.sha256, m->file_sha256))
        return RUNS_BY_PLACEMENT;
    if (!m->file_missing)
        return RUNS_ASSUMED;
    *sha256 = NULL;
    return RUNS_UNKNOWN;
}

static void add_provider(struct buf *b, const struct encryption_provider *p, bool writes)
{
    const char *mark = writes ? " (writes)" : "";
    if (p->type == PROVIDER_IDENTITY)
        buf_printf(b, "identity%s", mark);
    if (p->type == PROVIDER_KMS)
        buf_printf(b, "%s%s", p->kms_name, mark);
    for (size_t k = 0; k < p->key_count; k++)
        buf_printf(b, "%s%s%s", k ? ", " : "", p->keys[k].name, k ? "" : mark);
}

char *status_describe(const struct encryption_config *c)
{
    struct buf b = {0};
    for (size_t i = 0; c && i < c->item_count; i++) {
        const struct encryption_item *item = &c->items[i];
        buf_adds(&b, i ? "; " : "");
        for (size_t r = 0; c->item_count > 1 && r < item->resource_count; r++)
            buf_printf(&b, "%s%s", item->resources[r], r + 1 < item->resource_count ? ", " : ": ");
        for (size_t k = 0; k < item->provider_count; k++) {
            buf_adds(&b, k ? ", " : "");
            add_provider(&b, &item->providers[k], k == 0);
        }
    }
    return b.len ? b.data : mem_strdup("none");
}

static void look_at_file(struct status *d, size_t i)
{
    const struct member *m = &d->s->members[i];
    struct status_node *n = &d->nodes[i];
    struct error why CLEANUP(error_clear) = {0};
    if (m->unread) {
        n->file_trouble = mem_strdup("not looked at");
    } else if (m->file_missing) {
        n->file_known = !m->seen.config_path;
        n->file_trouble = m->seen.config_path
                              ? mem_strdup("its kube-apiserver is told to read it, and it is not "
                                           "there")
                              : NULL;
    } else if (encryption_config_read(buf_str(&m->file), m->file.len, m->config_path,
                                      ENCRYPTION_LENIENT, &n->file, &why) == 0) {
        n->file_known = true;
    } else {
        n->file_trouble = mem_strdup(why.message);
    }
    if (n->file_trouble && m->seen.config_path)
        status_problem(d, "node %s: %s: %s", m->node.name, m->config_path, n->file_trouble);
}

bool status_config(const struct status *d, size_t i, const struct encryption_config **out)
{
    const struct apiserver *seen = &d->s->members[i].seen;
    const struct status_node *n = &d->nodes[i];
    *out = !seen->config_path ? NULL : n->file_known ? n->file : n->runs;
    return seen->exists && (!seen->config_path || n->file_known || n->runs_known);
}

/* The configuration that has this very text, as far as it is at hand: a node's file, a form of the
 * open transition, the state file's. */
static bool find_config(struct status *d, const char *sha256, const struct encryption_config **out)
{
    *out = NULL;
    if (str_eq(sha256, "none"))
        return true;
    for (size_t i = 0; i < d->s->count; i++) {
        if (d->nodes[i].file_known && str_eq(d->s->members[i].file_sha256, sha256)) {
            *out = d->nodes[i].file;
            return true;
        }
    }
    for (int f = 0; d->observed && f < FORM_COUNT; f++) {
        if (str_eq(d->run.sha256[f], sha256)) {
            *out = d->run.forms.config[f];
            return true;
        }
    }
    const char *text = d->s->state ? rkestate_encryption_config(d->s->state) : "";
    char hash[65];
    sha256_hex(text, strlen(text), hash);
    /* RKE may have written it anew everywhere, in its own way: ours is at hand nowhere then. */
    struct buf ours CLEANUP(buf_free) = {0};
    char our_hash[65] = "";
    if (d->recorded) {
        session_write_config(d->s, d->recorded, &ours);
        sha256_hex(buf_str(&ours), ours.len, our_hash);
    }
    if (!d->recorded || (!str_eq(hash, sha256) && !str_eq(our_hash, sha256)))
        return false;
    *out = d->recorded;
    return true;
}

static int ask_ready(struct status *d, size_t i, struct error *err)
{
    struct member *m = &d->s->members[i];
    struct status_node *n = &d->nodes[i];
    const char *name = m->node.name;
    if (!m->seen.exists) {
        status_problem(d, "node %s: there is no kube-apiserver on it", name);
        return 0;
    }
    if (!m->seen.running) {
        status_problem(d, "node %s: its kube-apiserver does not run%s%s", name,
                       m->seen.unseen ? ", as far as is seen: " : "",
                       m->seen.unseen ? m->seen.unseen : "");
        return 0;
    }
    if (m->seen.doubt)
        status_problem(d, "node %s: %s", name, m->seen.doubt);
    /* (A change that is open may be just about to restart it.) */
    if (m->seen.next_start && !(d->s->journal && d->s->journal->transition))
        status_problem(d, "node %s: %s. `encrypt up` mends that", name, m->seen.next_start);
    if (d->no_credentials)
        return 0;
    if (kube_ready(&m->node.api, &n->ready, &n->why, err) < 0)
        return -1;
    n->asked = true;
    if (n->ready && member_ask_reload(m, err) < 0)
        return -1;
    if (!n->ready)
        status_problem(d, "node %s: its kube-apiserver runs and is not ready: %s", name,
                       n->why ? n->why : "no answer");
    else if (!d->api)
        d->api = &m->node.api;
    return 0;
}

/* The open transition's forms, and what the nodes are of them. */
static int observe(struct status *d, struct error *err)
{
    struct session *s = d->s;
    struct encrypt_report ignored = {0};
    struct error why CLEANUP(error_clear) = {0};
    if (!s->journal || !s->journal->transition || !s->count)
        return 0;
    if (run_prepare(&d->run, s, &ignored, &why) == 0 && run_observe(&d->run, &why) == 0) {
        d->observed = true;
        run_take_placed(&d->run);
        return 0;
    }
    if (why.result == RESULT_INTERRUPTED)
        return error_move(err, &why);
    status_problem(d, "what the nodes have can't be held against the open transition: %s",
                   why.message);
    return 0;
}

/* Why a node could not be looked at, without its name in front. */
static const char *absent_reason(const struct absent *a)
{
    char *name CLEANUP(cleanup_mem) = mem_printf("node %s: ", a->conf->ssh.address);
    return a->why.message + (str_starts(a->why.message, name) ? strlen(name) : 0);
}

int status_nodes(struct status *d, struct error *err)
{
    struct session *s = d->s;
    for (size_t i = 0; i < s->absent_count; i++)
        status_problem(d, "node %s can't be looked at: %s", s->absent[i].conf->ssh.address,
                       absent_reason(&s->absent[i]));
    if (observe(d, err) < 0)
        return -1;
    for (size_t i = 0; i < s->count; i++) {
        look_at_file(d, i);
        if (ask_ready(d, i, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        struct status_node *n = &d->nodes[i];
        const struct node_record *record =
            s->journal ? journal_seen_node(s->journal, m->node.name) : NULL;
        n->evidence = status_runs(m, record, &n->runs_sha256);
        if (n->evidence == RUNS_BY_METRIC && m->reload.failures > 0 &&
            !str_eq(m->reload.sha256, m->file_sha256))
            status_problem(
                d,
                "node %s: its kube-apiserver has counted %.0f files that failed to load: "
                "the last good one stays in force",
                m->node.name, m->reload.failures);
        /* What an open transition leans on is shown, not assumed. */
        if (d->observed && n->evidence == RUNS_ASSUMED) {
            n->evidence = RUNS_UNKNOWN;
            n->runs_sha256 = NULL;
            status_note(d,
                        "node %s: nobody saw with which file its kube-apiserver was started: what "
                        "it runs is not known until it is restarted",
                        m->node.name);
        }
        /* Somebody may have written the same anew (RKE does): by what it says, not byte for byte.
         */
        n->runs_known = n->runs_sha256 && find_config(d, n->runs_sha256, &n->runs);
    }
    return 0;
}

/* --- hashes --- */

/* A set of configurations that were seen, each a bit; what can't be read stands for itself. */
struct classes {
    struct {
        const struct encryption_config *config;
        bool known;
        const char *sha256;
    } seen[sizeof(form_set) * 8];
    size_t count;
};

static form_set class_of(struct classes *c, bool known, const struct encryption_config *config,
                         const char *sha256)
{
    const size_t most = ARRAY_LEN(c->seen);
    for (size_t i = 0; i < c->count; i++) {
        bool same = known && c->seen[i].known ? encryption_config_equal(c->seen[i].config, config)
                                              : str_eq(c->seen[i].sha256, sha256);
        if (same)
            return 1u << i;
    }
    /* More than there are bits: that they differ was seen long before. */
    if (c->count == most)
        return 1u << (most - 1);
    c->seen[c->count].config = config;
    c->seen[c->count].known = known;
    c->seen[c->count].sha256 = sha256;
    return 1u << c->count++;
}

/* As stage_compare() wants them, where no transition tells the forms. */
static void plan_nodes(const struct status *d, struct plan_node *out)
{
    struct classes c = {0};
    for (size_t i = 0; i < d->s->count; i++) {
        const struct member *m = &d->s->members[i];
        const struct status_node *n = &d->nodes[i];
        bool told = m->seen.config_path != NULL;
        out[i] = (struct plan_node){.file_there = !m->file_missing};
        out[i].file = class_of(&c, told ? n->file_known : true, told ? n->file : NULL,
                               told ? m->file_sha256 : "none");
        if (n->runs_sha256)
            out[i].runs = class_of(&c, n->runs_known, n->runs, n->runs_sha256);
    }
}

/* It is known what it runs, and that is another file than the one on it. */
static bool is_late(const struct status *d, size_t i)
{
    return d->nodes[i].runs_sha256 && !d->out->nodes[i].matches;
}

static void tell_assumed(struct status *d)
{
    struct buf names CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < d->s->count; i++)
        if (d->nodes[i].evidence == RUNS_ASSUMED)
            buf_printf(&names, "%s%s", names.len ? ", " : "", d->s->members[i].node.name);
    if (!names.len)
        return;
    d->out->hash_assumed = true;
    status_note(d,
                "%s: nobody saw with which file the kube-apiserver was started; that it runs what "
                "lies there is assumed",
                names.data);
}

void status_hashes(struct status *d)
{
    const struct session *s = d->s;
    struct plan_node nodes[PLAN_MAX_NODES];
    if (d->observed)
        memcpy(nodes, d->run.nodes, sizeof(nodes));
    else
        plan_nodes(d, nodes);
    struct stage_hashes h = stage_compare(nodes, s->count);
    const char *late = NULL, *unknown = NULL;
    for (size_t i = s->count; i-- > 0;) {
        const struct member *m = &s->members[i];
        const char *sha256 = d->nodes[i].runs_sha256;
        /* (On the way back the planner takes what is not to stay for unknown.) */
        d->out->nodes[i].matches =
            (nodes[i].runs & nodes[i].file) || (sha256 && str_eq(sha256, m->file_sha256));
        late = is_late(d, i) ? m->node.name : late;
        unknown = sha256 ? unknown : m->node.name;
    }
    if (!unknown && s->absent_count)
        unknown = s->absent[0].conf->ssh.address;
    char *text = NULL;
    if (h.match == STAGE_MISMATCH_NODES)
        text = mem_printf("hash does not match between %s and %s", s->members[h.first].node.name,
                          s->members[h.second].node.name);
    else if (late)
        text = mem_printf("hash does not match between %s and the file on it", late);
    if (text)
        status_problem(d, "%s", text);
    else if (unknown)
        text = mem_printf("hash of %s is not known", unknown);
    else
        tell_assumed(d);
    d->out->hash_error = text;
    d->out->hash_match = !text;
}

/* --- what is told --- */

static const char *evidence_name(enum status_evidence e)
{
    static const char *const names[] = {NULL, "flags", "journal", "placement", "metric", "assumed"};
    return names[e];
}

static char *stage_of_one(const struct status *d, size_t i)
{
    enum stage stage = d->stage;
    const struct transition *t = d->s->journal ? d->s->journal->transition : NULL;
    if (!t)
        return d->nodes[i].runs_sha256 ? mem_strdup(stage_name(stage)) : NULL;
    if (!d->observed)
        return NULL;
    if (d->run.facts.back) {
        struct plan_node n = d->run.nodes[i];
        if (!n.runs)
            return NULL;
        n.file = n.runs;
        return mem_strdup(stage_name(status_at(t, &d->run.forms, &n, 1, d->run.facts).stage));
    }
    return stage_of_node(d->run.nodes[i].runs, stage, &stage) ? mem_strdup(stage_name(stage))
                                                              : NULL;
}

static char *file_text(const struct member *m, const struct status_node *n)
{
    if (n->file_trouble)
        return mem_strdup(n->file_trouble);
    char *text CLEANUP(cleanup_mem) = status_describe(n->file);
    /* No apiserver is told to read it. */
    return !m->file_missing && !m->seen.config_path ? mem_printf("%s (not read)", text)
                                                    : STEAL(text);
}

static void tell_node(struct status *d, size_t i)
{
    const struct member *m = &d->s->members[i];
    const struct status_node *n = &d->nodes[i];
    struct encrypt_status_node *o = &d->out->nodes[i];
    *o = (struct encrypt_status_node){
        .address = mem_strdup(m->node.name),
        .name = mem_strdup(m->node.conf->name),
        .stage = stage_of_one(d, i),
        .path = mem_strdup(m->config_path),
        .file_sha256 = m->unread ? NULL : mem_strdup(m->file_sha256),
        .file = file_text(m, n),
        .runs_sha256 = mem_strdup(n->runs_sha256),
        .evidence = evidence_name(n->evidence),
        .since = mem_strdup(m->seen.since),
        .apiserver = !m->seen.exists    ? "none"
                     : !m->seen.running ? "down"
                     : !n->asked        ? "runs"
                     : n->ready         ? "ready"
                                        : "not ready",
        .reason = mem_strdup(n->why),
    };
    if (n->runs_known)
        o->runs = status_describe(n->runs);
    else if (n->runs_sha256)
        o->runs = mem_strdup("a file that is not at hand any more");
}

void status_tell_nodes(struct status *d)
{
    struct session *s = d->s;
    d->out->nodes = mem_alloc(s->count + s->absent_count, sizeof(*d->out->nodes));
    d->out->node_count = s->count + s->absent_count;
    for (size_t i = 0; i < s->count; i++)
        tell_node(d, i);
    for (size_t i = 0; i < s->absent_count; i++)
        d->out->nodes[s->count + i] = (struct encrypt_status_node){
            .address = mem_strdup(s->absent[i].conf->ssh.address),
            .name = mem_strdup(s->absent[i].conf->name),
            .unseen = mem_strdup(absent_reason(&s->absent[i])),
        };
}
