/* Nodes that differ, and the way out: one configuration that reads everything. */
#include "base/file.h"
#include "provisioner/doctor.h"

#include <string.h>

bool doctor_reads_writes(const struct encryption_config *by, const struct encryption_config *c)
{
    char **names = encryption_resources(by, c);
    bool all = true;
    for (size_t i = 0; names[i]; i++) {
        char *prefix CLEANUP(cleanup_mem) = encryption_write_prefix(c, names[i]);
        all = all && encryption_config_reads(by, names[i], prefix, strlen(prefix));
    }
    encryption_resources_free(names);
    return all;
}

static size_t readers_of(const struct encryption_config *const *configs, size_t count, size_t i)
{
    size_t n = 0;
    for (size_t k = 0; k < count; k++)
        n += doctor_reads_writes(configs[k], configs[i]);
    return n;
}

static size_t writer(const struct encryption_config *const *configs, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        size_t mine = readers_of(configs, count, i);
        size_t its = readers_of(configs, count, best);
        bool encrypts = encryption_active_key(configs[i]) && !encryption_active_key(configs[best]);
        if (mine > its || (mine == its && encrypts))
            best = i;
    }
    return best;
}

int doctor_unite(const struct encryption_config *const *configs, size_t count,
                 const struct encryption_config *needed, struct encryption_config **out,
                 size_t *order, struct error *err)
{
    size_t first = writer(configs, count);
    struct encryption_config *sum CLEANUP(cleanup_encryption_config) =
        configs[first] ? encryption_config_copy(configs[first]) : NULL;
    for (size_t i = 0; i < count + (needed ? 1 : 0); i++) {
        struct encryption_config *more = NULL;
        if (encryption_config_union(sum, i < count ? configs[i] : needed, &more, err) < 0)
            return -1;
        encryption_config_free(sum);
        sum = more;
    }
    size_t n = 0;
    for (int reads = 0; reads <= 1; reads++) {
        for (size_t i = 0; i < count; i++) {
            if (doctor_reads_writes(configs[i], configs[first]) == reads)
                order[n++] = i;
        }
    }
    *out = STEAL(sum);
    return 0;
}

/* The members whose configuration is known: their number; `which` gets their indexes. */
static size_t known(const struct doctor *d, const struct encryption_config **configs, size_t *which)
{
    size_t n = 0;
    for (size_t i = 0; i < d->s->count; i++) {
        if (!d->nodes[i].known)
            continue;
        configs[n] = d->nodes[i].config;
        which[n++] = i;
    }
    return n;
}

/* Told to read a file that is gone, or can't be read: it gets one by the union. */
static bool lacks_file(const struct doctor *d, size_t i)
{
    return !d->nodes[i].known && d->s->members[i].seen.config_path;
}

static bool any_lacks_file(const struct doctor *d)
{
    for (size_t i = 0; i < d->s->count; i++) {
        if (lacks_file(d, i))
            return true;
    }
    return false;
}

/* The file onto one node, whole and as meant; its apiserver anew. What lay there is kept. */
static char *put_command(struct doctor *d, const struct member *m, const char *file,
                         const char *sha256)
{
    char *at CLEANUP(cleanup_mem) = doctor_host_path(m, m->config_path);
    char *copy CLEANUP(cleanup_mem) = mem_printf("%s.before-%s", at, d->now);
    char *fresh CLEANUP(cleanup_mem) = mem_printf("%s.new", at);
    char *path CLEANUP(cleanup_mem) = shell_word(at);
    char *kept CLEANUP(cleanup_mem) = shell_word(copy);
    char *new CLEANUP(cleanup_mem) = shell_word(fresh);
    char *word CLEANUP(cleanup_mem) = shell_word(file);
    char *script CLEANUP(cleanup_mem) = mem_printf(
        "umask 077; cat >%s; [ \"$(sha256sum <%s | cut -c 1-64)\" = %s ]; [ ! -e %s ] || "
        "[ -e %s ] || cp -p %s %s; mv %s %s; sync",
        new, new, sha256, path, kept, path, kept, new, path);
    const struct driver_words *words = &m->node.driver->words;
    char *restart CLEANUP(cleanup_mem) =
        member_words(m, words->restart_checked ? words->restart_checked : words->restart);
    char *command CLEANUP(cleanup_mem) = node_command(d, m, script, restart, true);
    return mem_printf("%s <%s", command, word);
}

/* One after the other, and none where the one before it failed. */
static void put_commands(struct doctor *d, struct encrypt_finding *f, const size_t *members,
                         size_t count, const char *file)
{
    struct buf text CLEANUP(buf_free) = {0};
    char sha256[65];
    char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
    session_write_config(d->s, d->mended, &text);
    sha256_hex(buf_str(&text), text.len, sha256);
    mend(f,
         "ready() { for i in $(seq 100); do %s 2>/dev/null | grep -qF \"node $1: kube-apiserver "
         "%s\" && return; sleep 1; done; echo \"node $1: not ready: go no further\"; return 1; }",
         doctor, d->admin ? "is ready" : "runs");
    for (size_t i = 0; i < count; i++) {
        const struct member *m = &d->s->members[members[i]];
        char *command CLEANUP(cleanup_mem) = put_command(d, m, file, sha256);
        mend(f, "# node %s", m->node.name);
        mend(f, "%s && ready %s%s", command, m->node.name, i + 1 < count ? " &&" : "");
    }
}

/* What is not said means disabled to RKE alone. */
static bool asks_for_plain(const struct doctor *d)
{
    return session_shares_state(d->s) || d->s->cluster->encryption == SECRETS_ENCRYPTION_DISABLED;
}

/* `up` does what cluster.yml says, which may be another thing than is wanted here. */
static void then_up(struct doctor *d, struct encrypt_finding *f, const char *file)
{
    char *up CLEANUP(cleanup_mem) = doctor_command(d, "up");
    char *word CLEANUP(cleanup_mem) = shell_word(file);
    if (d->s->cluster->encryption != SECRETS_ENCRYPTION_ENABLED)
        mend(f,
             "# then set services.kube-api.secrets_encryption_config.enabled: true in %s (or `up` "
             "%s), and:",
             d->o->config, asks_for_plain(d) ? "decrypts everything" : "refuses");
    else
        mend(f, "# then all to one key, everything rewritten and proved:");
    mend(f, "%s && shred -u %s", up, word);
}

/* The first node without the flag, which a file doesn't help; NULL: there is none. */
static struct member *flagless(const struct doctor *d)
{
    for (size_t i = 0; i < d->s->count; i++) {
        if (d->nodes[i].known && !d->s->members[i].seen.config_path)
            return &d->s->members[i];
    }
    return NULL;
}

static void way_out(struct doctor *d, struct encrypt_finding *f, const size_t *which,
                    const size_t *order, size_t count)
{
    const char *file = d->asked->write_union;
    size_t *members CLEANUP(cleanup_mem) = mem_alloc(d->s->count + 1, sizeof(*members));
    size_t n = 0;
    if (!file) {
        char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
        mend(f,
             "# write the configuration that reads everything (it holds keys) to a new file, and "
             "nothing else; what to do with it is printed then:");
        mend(f, "%s --write-union union.yaml", doctor);
        return;
    }
    for (size_t i = 0; i < d->s->count; i++) {
        if (lacks_file(d, i))
            members[n++] = i;
    }
    for (size_t i = 0; (d->split || d->needed) && i < count; i++)
        members[n++] = which[order[i]];
    mend(f, "# put %s on the nodes, one after the other, in this order:", file);
    put_commands(d, f, members, n, file);
    if (flagless(d)) {
        mend(f, "# no kube-apiserver is told to read it yet:");
        mend_flag(d, f, flagless(d), d->mended);
    }
    then_up(d, f, file);
}

/* A change that enables or disables, of which the journal is lost or another's. */
static void half_way(struct doctor *d, struct encrypt_finding *f, const struct member *m)
{
    char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = doctor_half_way(d);
    means(f,
          "the kube-apiserver on %s is not told to read a file, and a file alone changes nothing "
          "there: enabling or disabling was not finished",
          m->node.name);
    if (!to) {
        mend(f,
             "# it must be made anew with --encryption-provider-config=%s and a file that reads "
             "what the others write, which is the provisioner's to do; encrypt has no command "
             "for these configurations",
             m->config_path);
        return;
    }
    mend(f, "# a state file that is rebuilt from the nodes takes the change up again:");
    if (d->state_missing)
        mend(f, "# --write-state, as said of the state file, then:");
    else
        mend_anew(d, f, "half-way");
    mend(f, "%s", resume);
}

/* --- nodes that differ --- */

/* No one configuration reads what all of them wrote. */
static void tell_clash(struct doctor *d, struct encrypt_finding *f, const size_t *which,
                       size_t count)
{
    mend(f, "# no one configuration reads what all of them write: %s", d->no_union);
    mend(f, "# what a node wrote under such a name can be read through that node alone. Keep the "
            "files first:");
    for (size_t i = 0; i < count; i++) {
        const struct member *m = &d->s->members[which[i]];
        if (!m->seen.config_path)
            continue;
        char *at CLEANUP(cleanup_mem) = doctor_host_path(m, m->config_path);
        char *to CLEANUP(cleanup_mem) = mem_printf("%s.kept-%s", at, d->now);
        char *from_word CLEANUP(cleanup_mem) = shell_word(at);
        char *to_word CLEANUP(cleanup_mem) = shell_word(to);
        char *script CLEANUP(cleanup_mem) = mem_printf("cp -p %s %s", from_word, to_word);
        char *command CLEANUP(cleanup_mem) = node_command(d, m, script, NULL, false);
        mend(f, "%s", command);
    }
    mend(f,
         "# restart no kube-apiserver. Find out which node was changed by hand; read through its "
         "own kube-apiserver what only that can read (kubectl --server), keep it, give the node "
         "the other nodes' file, restart its kube-apiserver, and write those objects again");
}

static void tell_split(struct doctor *d, const struct encryption_config *const *configs,
                       const size_t *which, const size_t *order, size_t count)
{
    struct encrypt_finding *f =
        wrong(d, "nodes", "the control-plane nodes have different configurations:");
    for (size_t i = 0; i < count; i++) {
        struct buf line CLEANUP(buf_free) = {0};
        const struct member *m = &d->s->members[which[i]];
        doctor_describe(configs[i], d->s->journal, &line);
        char *more = mem_printf("%s\n%s: %s", f->what, m->node.name,
                                m->seen.config_path ? buf_str(&line) : "no flag, plain text");
        mem_free(f->what);
        f->what = more;
    }
    means(f, "one may write what another can't read; `up` and `rotate-key` refuse until they are "
             "the same");
    if (d->busy) {
        means(f, "%s: it is that run that makes them differ, most likely", d->busy);
        mend(f, "# let that run finish, then look again; change nothing on the nodes meanwhile");
    } else if (d->no_union) {
        tell_clash(d, f, which, count);
    } else if (d->s->absent_count) {
        mend(f,
             "# first make all nodes reachable: the others' keys are needed too. Then look again");
    } else if (flagless(d)) {
        half_way(d, f, flagless(d));
    } else if (d->mended) {
        way_out(d, f, which, order, count);
    }
}

/* Why no union is written as things are; NULL: it can be. */
static const char *union_obstacle(const struct doctor *d)
{
    static const char lacks_flag[] =
        "a kube-apiserver is not told to read a file: see what is said of the nodes";
    if (d->busy)
        return d->busy;
    if (d->s->absent_count)
        return "a control-plane node can't be looked at, and its keys would be missing";
    if (d->no_union)
        return d->no_union;
    if (doctor_flag_is_lost(d))
        return lacks_flag;
    if (!d->mended)
        return "nothing is encrypted, or what the nodes have has no union with the keys that "
               "stored values need";
    if (!doctor_reads_all_stored(d, d->mended))
        return "not all that is stored can be read with it (or etcd could not be read): the "
               "process of "
               "a kube-apiserver may be the last place of a key, and a restart would lose it";
    if (d->split && flagless(d))
        return lacks_flag;
    if (!d->split && !d->needed && !any_lacks_file(d))
        return "all nodes have the same configuration, and no key that stored values need is "
               "missing in it";
    return NULL;
}

static int write_union(struct doctor *d, struct error *err)
{
    const char *path = d->asked->write_union;
    struct buf text CLEANUP(buf_free) = {0};
    if (doctor_open_change(d)) {
        char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
        const struct journal *j = d->s->journal;
        error_set(err, RESULT_REFUSED, "no union is written while a change is open (%s)",
                  j->transition ? j->transition->why : j->owned->why);
        error_next(err, "%s", resume);
        return -1;
    }
    if (union_obstacle(d))
        return error_set(err, RESULT_REFUSED, "no union is written: %s", union_obstacle(d));
    session_write_config(d->s, d->mended, &text);
    if (file_create(path, buf_str(&text), text.len, err) < 0)
        return error_wrap(err, "writing the union");
    saw(d, "union", "written to %s (0600; it holds keys: remove it when it lies on the nodes)",
        path);
    return 0;
}

/* Plain text alone, and something that is stored can't be read so. */
static bool reads_less(const struct doctor *d, const struct encryption_config *running)
{
    for (size_t i = 0; encryption_config_is_plain(running) && i < d->stored_count; i++) {
        const struct doctor_stored *s = &d->stored[i];
        if (!s->prefix ||
            !encryption_config_reads(running, s->resource->name, s->prefix, strlen(s->prefix)))
            return true;
    }
    return false;
}

/* What the nodes agree on is what RKE must find in its state. */
static void compare_state(struct doctor *d, const struct encryption_config *running)
{
    const char *text = rkestate_encryption_config(d->s->state);
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct error why CLEANUP(error_clear) = {0};
    struct buf keys CLEANUP(buf_free) = {0};
    if (encryption_config_read(text, strlen(text), "encryptionConfig", ENCRYPTION_LENIENT, &c,
                               &why) == 0 &&
        encryption_config_equal(c, running))
        return;
    /* `resume` refuses: it is not the state that is wrong. */
    if (reads_less(d, running))
        return;
    char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
    doctor_describe(c, NULL, &keys);
    mend(means(wrong(d, "state file", "its encryptionConfig (%s) is not what the nodes have",
                     why.message ? why.message : buf_str(&keys)),
               "%s",
               session_shares_state(d->s)
                   ? "`rke up` would put that on the nodes: don't run it before they are the same"
                   : "it is behind, or the nodes were changed by other means"),
         "%s    # makes the state file say what the nodes run", resume);
}

/* What cluster.yml says is what `up` does. */
static void compare_cluster(struct doctor *d, const struct encryption_config *running)
{
    bool runs = !encryption_config_is_plain(running);
    bool wanted = d->s->cluster->encryption == SECRETS_ENCRYPTION_ENABLED;
    /* (Without what reads it nothing is to be enabled anew: told of etcd.) */
    if (runs == wanted || (wanted && reads_less(d, running)))
        return;
    char *up CLEANUP(cleanup_mem) = doctor_command(d, "up");
    struct encrypt_finding *f =
        wrong(d, "cluster file",
              runs ? "%s doesn't say secrets_encryption_config.enabled: true, and the nodes encrypt"
                   : "%s says secrets_encryption_config.enabled: true, and the nodes don't encrypt",
              d->o->config);
    means(f, !runs               ? "secrets are stored plain until `encrypt up`"
             : asks_for_plain(d) ? "`encrypt up` would decrypt everything, `rotate-key` refuses"
                                 : "`encrypt up` and `rotate-key` refuse until it says which");
    if (runs)
        mend(f,
             "# set services.kube-api.secrets_encryption_config.enabled: true in %s; only where "
             "everything is to be decrypted%s:",
             d->o->config, asks_for_plain(d) ? "" : ", enabled: false there, and then");
    mend(f, "%s", up);
}

/* A file that its apiserver is not told to read may have keys that nobody else has. */
static void add_stray_files(struct doctor *d)
{
    for (size_t i = 0; i < d->s->count; i++) {
        const struct member *m = &d->s->members[i];
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
        struct encryption_config *both = NULL;
        struct error ignored CLEANUP(error_clear) = {0};
        if (m->seen.config_path || m->file_missing ||
            encryption_config_read(buf_str(&m->file), m->file.len, m->config_path,
                                   ENCRYPTION_LENIENT, &c, &ignored) < 0 ||
            encryption_config_union(d->needed, c, &both, &ignored) < 0)
            continue;
        encryption_config_free(d->needed);
        d->needed = both;
    }
}

/* Sets `united`, `no_union`, `mended`. */
static void unite(struct doctor *d, const struct encryption_config *const *configs, size_t count,
                  size_t *order)
{
    struct error why CLEANUP(error_clear) = {0};
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        any = any || (configs[i] && configs[i]->item_count);
        order[i] = i;
    }
    if (!count)
        return;
    if (!d->split)
        /* As it is, whatever a union with itself would say of it. */
        d->united = configs[0] ? encryption_config_copy(configs[0]) : NULL;
    else if (doctor_unite(configs, count, NULL, &d->united, order, &why) < 0 && any)
        d->no_union = mem_strdup(why.message);
    error_clear(&why);
    if (!d->needed)
        d->mended = d->united ? encryption_config_copy(d->united) : NULL;
    else if (!d->no_union && doctor_unite(configs, count, d->needed, &d->mended, order, &why) < 0)
        saw(d, "nodes",
            "the keys that stored values need can't be added to what the nodes have: %s",
            why.message);
}

int doctor_union(struct doctor *d, struct error *err)
{
    size_t total = d->s->count ? d->s->count : 1;
    const struct encryption_config **configs CLEANUP(cleanup_mem) =
        mem_alloc(total, sizeof(*configs));
    size_t *which CLEANUP(cleanup_mem) = mem_alloc(total, sizeof(*which));
    size_t *order CLEANUP(cleanup_mem) = mem_alloc(total, sizeof(*order));
    size_t count = known(d, configs, which);
    bool open = doctor_open_change(d);
    if (open && d->s->journal->transition)
        doctor_open_forms(d);
    if (count && !d->split && !open) {
        compare_cluster(d, configs[0]);
        if (d->s->state && d->s->journal)
            compare_state(d, configs[0]);
    }
    if (d->split)
        add_stray_files(d);
    unite(d, configs, count, order);
    if (d->split && !open)
        tell_split(d, configs, which, order, count);
    else if (!open && d->asked->write_union && !union_obstacle(d))
        way_out(d, wrong(d, "nodes", "the union is to be put on them"), which, order, count);
    return d->asked->write_union ? write_union(d, err) : 0;
}
