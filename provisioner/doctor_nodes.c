/* What each control-plane node has and runs, and what the cluster says of all of them. */
#include "provisioner/doctor.h"
#include "provisioner/lost_flag.h"
#include "state/journal_json.h"

#include <string.h>

static char *about_node(const char *name)
{
    return mem_printf("node %s", name);
}

static void absent(struct doctor *d)
{
    for (size_t i = 0; i < d->s->absent_count; i++) {
        const struct absent *a = &d->s->absent[i];
        char *about CLEANUP(cleanup_mem) = about_node(a->conf->ssh.address);
        struct encrypt_finding *f = wrong(d, about, "it can't be looked at: %s", a->why.message);
        means(f, "nothing can be said of its file and its apiserver, and no command changes "
                 "anything while a control-plane node is out of reach");
        if (a->why.next)
            mend(f, "%s", a->why.next);
        else
            mend(f,
                 "# bring it back; or, where it has left the cluster for good, take it out of "
                 "%s",
                 d->o->config);
    }
}

static void describe_key(const struct encryption_key *k, enum provider_type type, bool writes,
                         const struct journal *journal, struct buf *out)
{
    char fingerprint[13];
    encryption_key_fingerprint(k, fingerprint);
    buf_printf(out, "%s%s key %s (fingerprint %s%s%s)", out->len ? ", " : "",
               provider_type_name(type), k->name, fingerprint, writes ? ", writes" : "",
               journal && !journal_find_key(journal, type, k) ? ", not in the key history" : "");
}

void doctor_describe(const struct encryption_config *c, const struct journal *journal,
                     struct buf *out)
{
    struct buf text CLEANUP(buf_free) = {0};
    for (size_t i = 0; c && i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            for (size_t j = 0; j < p->key_count; j++)
                describe_key(&p->keys[j], p->type, k == 0 && j == 0, journal, &text);
            if (p->type == PROVIDER_KMS)
                buf_printf(&text, "%skms %s%s", text.len ? ", " : "", p->kms_name,
                           k == 0 ? " (writes)" : "");
            if (p->type == PROVIDER_IDENTITY && k == 0)
                buf_printf(&text, "%splain text (writes)", text.len ? ", " : "");
        }
    }
    buf_adds(out, text.len ? buf_str(&text) : "no key");
}

/* A node whose file is what this one's apiserver was last seen to read, or what the state says that
 * all have. */
static const struct member *same_file(const struct doctor *d, const struct member *m)
{
    const struct journal *j = d->s->journal;
    const struct node_record *record = NULL;
    for (size_t i = 0; j && i < j->node_count; i++) {
        if (str_eq(j->nodes[i].address, m->node.name))
            record = &j->nodes[i];
    }
    for (size_t i = 0; record && record->runs.sha256 && i < d->s->count; i++) {
        const struct member *other = &d->s->members[i];
        if (d->nodes[i].known && other->seen.config_path && !other->file_missing &&
            str_eq(record->runs.process, m->seen.process) &&
            str_eq(record->runs.sha256, other->file_sha256))
            return other;
    }
    return NULL;
}

/* Told when all nodes were looked at. */
static void file_lacking(struct doctor *d, size_t i, const char *about)
{
    const struct member *m = &d->s->members[i];
    const struct member *from = same_file(d, m);
    struct error why CLEANUP(error_clear) = {0};
    struct encryption_config *ignored CLEANUP(cleanup_encryption_config) = NULL;
    struct encrypt_finding *f;
    if (m->file_missing) {
        f = wrong(d, about, "its kube-apiserver is told to read %s, and there is no such file",
                  m->config_path);
        means(f, "it runs on what it read before; its next restart fails");
    } else {
        if (encryption_config_read(buf_str(&m->file), m->file.len, m->config_path,
                                   ENCRYPTION_LENIENT, &ignored, &why) == 0)
            return;
        f = wrong(d, about, "its configuration can't be read: %s", why.message);
        means(f, "kube-apiserver would not start with it");
    }
    if (doctor_open_change(d)) {
        char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
        mend(f, "%s    # puts there what belongs there now", resume);
        return;
    }
    if (from) {
        mend(f, "# node %s has the file that it read:", from->node.name);
        mend_from_node(d, f, from, m);
        return;
    }
    char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
    mend(f,
         "# restart nothing on it: what it runs may have a key that no file has. The configuration "
         "that reads what all the others read and write, and how to put it there:");
    mend(f, "%s --write-union union.yaml", doctor);
}

/* Without the flag, a file in a place of the administrator's own is known by the journal alone. */
static void look_where_it_was(struct doctor *d, struct member *m)
{
    const char *path = lost_flag_path(d->s->journal, m);
    struct error ignored CLEANUP(error_clear) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    bool gone = false;
    if (!m->file_missing || str_eq(path, m->config_path) ||
        m->node.driver->read_file(&m->node, path, &text, &gone, &ignored) < 0 || gone)
        return;
    char *copy = mem_strdup(path);
    mem_free(m->config_path);
    m->config_path = copy;
    m->file_missing = false;
    sha256_hex(buf_str(&text), text.len, m->file_sha256);
    buf_free(&m->file);
    m->file = text;
    text = (struct buf){0};
}

/* Sets the node's configuration, where it is known. */
static void look_at_file(struct doctor *d, size_t i)
{
    struct member *m = &d->s->members[i];
    struct doctor_node *n = &d->nodes[i];
    struct error why CLEANUP(error_clear) = {0};
    if (!m->seen.config_path) {
        n->known = true;
        look_where_it_was(d, m);
        if (!m->file_missing &&
            encryption_config_read(buf_str(&m->file), m->file.len, m->config_path,
                                   ENCRYPTION_LENIENT, &n->stray, &why) < 0)
            n->stray = NULL;
        return;
    }
    n->known =
        !m->file_missing && encryption_config_read(buf_str(&m->file), m->file.len, m->config_path,
                                                   ENCRYPTION_LENIENT, &n->config, &why) == 0;
}

static int file_is_newer(struct doctor *d, struct member *m, const struct node_record *n,
                         const char *about, struct error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    char *changed CLEANUP(cleanup_mem) = NULL;
    bool failed = member_file_is_newer(m, n, &changed, &e) < 0;
    if (failed && e.result == RESULT_INTERRUPTED)
        return error_move(err, &e);
    if (failed)
        saw(d, about, "when its configuration was changed can't be told: %s", e.message);
    else if (changed)
        means(wrong(d, about, "%s was changed at %s, after its kube-apiserver had started (%s)",
                    m->config_path, changed, m->seen.since),
              "it may run another configuration than lies there; its next restart takes up what "
              "lies there");
    return 0;
}

/* The journal saw the process that runs read another file than the one that lies there now; or by
 * the node's clock it may have. */
static int file_and_process(struct doctor *d, struct member *m, const char *about,
                            struct error *err)
{
    const struct journal *j = d->s->journal;
    const struct node_record *n = j ? journal_seen_node(j, m->node.name) : NULL;
    if ((j && journal_is_open(j)) || !m->seen.process || m->file_missing ||
        m->seen.automatic_reload)
        return 0;
    if (!n || !n->runs.sha256 || !str_eq(n->runs.process, m->seen.process))
        return file_is_newer(d, m, n, about, err);
    if (!str_eq(n->runs.sha256, m->file_sha256))
        means(
            wrong(d, about, "%s was changed after its kube-apiserver had read it", m->config_path),
            "it still runs what it read; its next restart takes the new one up");
    return 0;
}

/* What it tells to be in force is another file than lies there. */
static void reloads(struct doctor *d, const struct member *m, const char *about)
{
    if (!m->seen.automatic_reload || !m->seen.config_path)
        return;
    if (!m->reload.told) {
        saw(d, about,
            "its kube-apiserver takes files up by itself, and does not tell which is in force");
        return;
    }
    bool same = str_eq(m->reload.sha256, m->file_sha256);
    saw(d, about, "its kube-apiserver takes files up by itself%s",
        same ? ", and has the one that lies there in force" : "");
    if (same || m->file_missing)
        return;
    means(
        wrong(d, about,
              "%s is not what its kube-apiserver has in force (%.0f files failed to load since "
              "it started)",
              m->config_path, m->reload.failures),
        "where it was changed a moment ago it is taken up within %d s; else it fails to load, and "
        "the next restart of that kube-apiserver would fail: its log tells why",
        RELOAD_POLL_MS / 1000);
}

/* A restart ends it, unless that would take the flag away. */
static void doubt(struct doctor *d, struct member *m, const char *about)
{
    const char *path = lost_flag_at_restart(d->s->journal, m);
    const char *next = m->seen.doubt_next;
    struct buf words CLEANUP(buf_free) = {0};
    struct error why CLEANUP(error_clear) = {0};
    if (path && lost_flag_words(d->s, m, path, NULL, &words, &why) < 0)
        buf_printf(&words, "its flag for %s", path);
    struct encrypt_finding *f = wrong(d, about, "%s", m->seen.doubt);
    if (path)
        means(f,
              "it must not be restarted as it is: its next kube-apiserver would be started with "
              "%s, and could not read what is encrypted",
              next ? next : "no configuration");
    if (doctor_open_change(d)) {
        char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
        mend(f, "%s    # brings it to what it is to have", resume);
    } else if (path) {
        char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
        mend(f, "# on node %s, put back %s; then look again:", m->node.name, buf_str(&words));
        mend(f, "%s", doctor);
    } else {
        char *restart CLEANUP(cleanup_mem) = node_words(d, m, m->node.driver->words.restart);
        mend(f, "%s", restart);
    }
}

static int look_at_apiserver(struct doctor *d, size_t i, const char *about, struct error *err)
{
    struct member *m = &d->s->members[i];
    char *why CLEANUP(cleanup_mem) = NULL;
    if (!m->seen.exists && d->s->journal && session_is_initial(d->s)) {
        char *again CLEANUP(cleanup_mem) = doctor_command(d, "up --initial");
        char *up CLEANUP(cleanup_mem) = doctor_command(d, "up");
        struct encrypt_finding *f = wrong(d, about, "there is no kube-apiserver on it yet");
        mend(f, "%s    # what to start it with; then, when all are started:", again);
        mend(f, "%s", up);
        return 0;
    }
    if (!m->seen.exists && !session_shares_state(d->s)) {
        char *next CLEANUP(cleanup_mem) =
            doctor_command(d, doctor_open_change(d) ? "resume" : "up");
        struct encrypt_finding *f = means(wrong(d, about, "there is no kube-apiserver on it"),
                                          "%s lists it as a control-plane node", d->o->config);
        mend(f,
             "# take the node out of %s; or, where it is to be one: this tells what to do, or what "
             "to start its kube-apiserver with:",
             d->o->config);
        mend(f, "%s", next);
        return 0;
    }
    if (!m->seen.exists) {
        mend(means(wrong(d, about, "there is no kube-apiserver on it"),
                   "%s lists it as a control-plane node", d->o->config),
             "%s or take the node out of %s",
             doctor_open_change(d)
                 ? "# no `rke` command while a change is open: `encrypt resume`, or "
                   "`encrypt abort`, first. Then `rke up` puts one there;"
             : d->s->state && !rkestate_is_bare(d->s->state)
                 ? "# where nothing is said of the state file here, `rke up` puts one there;"
                 : "# first a state file that RKE can work with: see what is said of it;",
             d->o->config);
        return 0;
    }
    if (!m->seen.running) {
        struct encrypt_finding *f = wrong(d, about, "its kube-apiserver does not run%s%s",
                                          m->seen.unseen ? ", as far as is seen: " : "",
                                          m->seen.unseen ? m->seen.unseen : "");
        mend_logs(d, f, m);
        if (m->seen.unseen)
            return 0;
        const char *words = m->node.driver->words.start;
        char *start CLEANUP(cleanup_mem) = words ? node_words(d, m, words) : NULL;
        if (doctor_open_change(d)) {
            char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
            mend(f, "%s", resume);
        } else if (start) {
            mend(f, "%s", start);
        }
        return 0;
    }
    if (m->seen.doubt)
        doubt(d, m, about);
    if (m->seen.next_start && !doctor_open_change(d)) {
        char *up CLEANUP(cleanup_mem) = doctor_command(d, "up");
        mend(means(wrong(d, about, "%s", m->seen.next_start),
                   "it must not be restarted before that is mended; `encrypt up` brings it about "
                   "that its next start has what it has now, without a restart"),
             "%s", up);
    }
    if (!d->admin)
        return 0;
    if (kube_ready(&m->node.api, &d->nodes[i].ready, &why, err) < 0)
        return -1;
    if (!d->nodes[i].ready)
        mend_logs(d,
                  wrong(d, about, "its kube-apiserver runs and is not ready: %s",
                        why ? why : "no answer"),
                  m);
    return 0;
}

static void tell_node(struct doctor *d, size_t i, const char *about)
{
    const struct member *m = &d->s->members[i];
    const struct doctor_node *n = &d->nodes[i];
    struct buf keys CLEANUP(buf_free) = {0};
    const char *state = !m->seen.exists    ? "no kube-apiserver"
                        : !m->seen.running ? "kube-apiserver is down"
                        : n->ready         ? "kube-apiserver is ready"
                        : d->admin         ? "kube-apiserver is not ready"
                                           : "kube-apiserver runs";
    if (!m->seen.exists) {
        saw(d, about, "%s, so what lies there was not looked at", state);
        return;
    }
    if (!m->seen.config_path)
        buf_adds(&keys, "no flag, nothing is encrypted by it");
    else if (n->known)
        doctor_describe(n->config, d->s->journal, &keys);
    else
        buf_adds(&keys, "what it has is not known");
    saw(d, about, "%s%s%s: %s", state, m->seen.config_path ? ", reads " : "",
        m->seen.config_path ? m->seen.config_path : "", buf_str(&keys));
}

static void find_split(struct doctor *d)
{
    const struct doctor_node *first = NULL;
    for (size_t i = 0; i < d->s->count; i++) {
        const struct doctor_node *n = &d->nodes[i];
        if (!n->known)
            continue;
        first = first ? first : n;
        d->split = d->split || !encryption_config_equal(first->config, n->config);
    }
}

/* A key on a node that no state file of this machine has. Where nodes differ that is the first
 * thing to mend, and told with it. */
static void unknown_keys(struct doctor *d)
{
    const struct journal *j = d->s->journal;
    struct buf text CLEANUP(buf_free) = {0};
    for (size_t i = 0; j && i < d->s->count; i++) {
        struct buf keys CLEANUP(buf_free) = {0};
        doctor_describe(d->nodes[i].config, j, &keys);
        if (strstr(buf_str(&keys), "not in the key history"))
            buf_printf(&text, "%s%s", text.len ? ", " : "", d->s->members[i].node.name);
    }
    if (!text.len || !d->s->state || d->split)
        return;
    char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
    struct encrypt_finding *f =
        wrong(d, "keys", "%s: a key is there that %s doesn't know", text.data, d->s->state_path);
    means(f, "somebody changed the node by hand, or another machine's state file is newer than "
             "this one");
    mend(f,
         "# where another machine changed the cluster last: use its state file. Where nodes were "
         "changed by hand, and all are the same, this enters the key:");
    mend(f, "%s", resume);
    mend(f,
         "# where this is an older state file and the last one is lost: move it away; what to do "
         "then is said by encrypt doctor:");
    mend_move(d, f, d->s->state_path, "older");
}

static void left_overs(struct doctor *d)
{
    struct buf text CLEANUP(buf_free) = {0};
    const char *one = NULL;
    for (size_t i = 0; i < d->s->count; i++) {
        const struct member *m = &d->s->members[i];
        if (!m->seen.unsettled || m->seen.next_start)
            continue;
        buf_printf(&text, "%s%s", text.len ? ", " : "", m->node.name);
        one = m->node.name;
    }
    if (!one || doctor_open_change(d))
        return;
    const struct driver_words *words = &session_driver(d->s)->words;
    struct encrypt_finding *f = wrong(
        d, "left-overs", "%s: %s", text.data,
        words->left_over_is ? words->left_over_is : "files of an interrupted change lie there");
    means(f, "%s%s",
          words->left_over_means ? words->left_over_means
                                 : "the next change (a rotation, say) removes them",
          words->left_over ? ". Look with" : "");
    for (size_t i = 0; words->left_over && i < d->s->count; i++) {
        if (!d->s->members[i].seen.unsettled || d->s->members[i].seen.next_start)
            continue;
        char *command CLEANUP(cleanup_mem) = node_words(d, &d->s->members[i], words->left_over);
        mend(f, "%s", command);
    }
}

int doctor_nodes(struct doctor *d, struct error *err)
{
    absent(d);
    for (size_t i = 0; i < d->s->count; i++) {
        struct member *m = &d->s->members[i];
        char *about CLEANUP(cleanup_mem) = about_node(m->node.name);
        if (look_at_apiserver(d, i, about, err) < 0)
            return -1;
        if (m->seen.exists)
            look_at_file(d, i);
        if (member_ask_reload(m, err) < 0 || file_and_process(d, m, about, err) < 0)
            return -1;
        reloads(d, m, about);
        tell_node(d, i, about);
        if (!d->api && d->nodes[i].ready)
            d->api = &m->node.api;
    }
    for (size_t i = 0; i < d->s->count; i++) {
        char *about CLEANUP(cleanup_mem) = about_node(d->s->members[i].node.name);
        if (d->s->members[i].seen.exists && !d->nodes[i].known)
            file_lacking(d, i, about);
    }
    find_split(d);
    unknown_keys(d);
    left_overs(d);
    return 0;
}
