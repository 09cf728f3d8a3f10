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

/* The commands that put the union onto one node and wait for it. */
static void put_commands(struct doctor *d, struct encrypt_finding *f, const struct member *m,
                         const char *file)
{
    char *ssh CLEANUP(cleanup_mem) = ssh_command(d, m->node.conf);
    char *word CLEANUP(cleanup_mem) = shell_word(file);
    char *path CLEANUP(cleanup_mem) = shell_word(m->config_path);
    const char *sudo = str_eq(m->node.conf->ssh.user, "root") ? "" : "sudo ";
    const char *port = apiserver_flag(&m->seen, "secure-port");
    const char *name = strrchr(d->o->config, '/');
    name = name ? name + 1 : d->o->config;
    char *beside CLEANUP(cleanup_mem) =
        mem_printf("%.*skube_config_%s", (int)(name - d->o->config), d->o->config, name);
    char *kubeconfig CLEANUP(cleanup_mem) =
        shell_word(d->o->kubeconfig ? d->o->kubeconfig : beside);
    mend(f, "# node %s", m->node.name);
    if (!m->seen.config_path)
        mend(f,
             "# its kube-apiserver has no --encryption-provider-config and reads no file: it must "
             "be made anew with --encryption-provider-config=%s once the file is there",
             m->config_path);
    mend(f, "%s %sinstall -m 600 -o root -g root /dev/stdin %s <%s", ssh, sudo, path, word);
    mend(f, "%s docker restart kube-apiserver", ssh);
    mend(f,
         "until kubectl --kubeconfig %s --server https://%s:%s get --raw /readyz; do sleep 1; done",
         kubeconfig, m->node.conf->ssh.address, port ? port : "6443");
}

static void way_out(struct doctor *d, struct encrypt_finding *f, const size_t *which,
                    const size_t *order, size_t count)
{
    const char *file = d->asked->write_union;
    char *up CLEANUP(cleanup_mem) = doctor_command(d, "up");
    if (!file) {
        char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
        file = "union.yaml";
        mend(f, "# 1. write the configuration that reads everything (it holds keys), and nothing "
                "else:");
        mend(f, "%s --write-union %s", doctor, file);
        mend(f, "# 2. put it on the nodes, one at a time, in this order:");
    } else {
        mend(f, "# put %s on the nodes, one at a time, in this order:", file);
    }
    for (size_t i = 0; i < count; i++)
        put_commands(d, f, &d->s->members[which[order[i]]], file);
    char *word CLEANUP(cleanup_mem) = shell_word(file);
    mend(f, "# then all to one key, everything rewritten and proved:");
    mend(f, "%s", up);
    mend(f, "shred -u %s", word);
}

/* A change of ours that is open makes nodes differ, but only in its own forms. */
static struct encrypt_finding *differ_in_transition(struct doctor *d)
{
    struct forms forms = {0};
    struct error ignored CLEANUP(error_clear) = {0};
    const struct transition *t = d->s->journal->transition;
    struct encrypt_finding *f = NULL;
    if (forms_make(t->from, t->to, &forms, &ignored) < 0)
        return NULL;
    for (size_t i = 0; i < d->s->count; i++) {
        const struct member *m = &d->s->members[i];
        if (!d->nodes[i].known || !m->seen.config_path || forms_of(&forms, d->nodes[i].config))
            continue;
        char *about CLEANUP(cleanup_mem) = mem_printf("node %s", m->node.name);
        char *ssh CLEANUP(cleanup_mem) = ssh_command(d, m->node.conf);
        char *state CLEANUP(cleanup_mem) = shell_word(d->s->state_path);
        char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
        const char *sudo = str_eq(m->node.conf->ssh.user, "root") ? "" : "sudo ";
        f = wrong(d, about, "%s has none of the forms of the change that is open (%s)",
                  m->config_path, t->why);
        means(f, "somebody changed it by hand meanwhile; `encrypt resume` refuses to go on");
        mend(f, "# keep a copy of it, then put back what belongs there now, and go on:");
        mend(f, "%s %scp -p %s %s.by-hand", ssh, sudo, m->config_path, m->config_path);
        mend(f,
             "jq -r .currentState.encryptionConfig %s | %s %sinstall -m 600 -o root -g root "
             "/dev/stdin %s",
             state, ssh, sudo, m->config_path);
        mend(f, "%s", resume);
    }
    forms_free(&forms);
    return f;
}

static void tell_split(struct doctor *d, const struct encryption_config *const *configs,
                       const size_t *which, const size_t *order, size_t count, const char *trouble)
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
    if (trouble) {
        mend(f, "# no one configuration reads what all of them write: %s", trouble);
        mend(f,
             "# find out which node was changed by hand, and give it back the other nodes' file");
        return;
    }
    if (d->s->absent_count)
        mend(f, "# first make all nodes reachable: the others' keys must be in it too. Then:");
    way_out(d, f, which, order, count);
}

static int write_union(struct doctor *d, struct error *err)
{
    const char *path = d->asked->write_union;
    struct buf text CLEANUP(buf_free) = {0};
    if (d->s->journal && d->s->journal->transition) {
        char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
        error_set(err, RESULT_REFUSED, "no union is written while a change is open (%s)",
                  d->s->journal->transition->why);
        error_next(err, "%s", resume);
        return -1;
    }
    if (d->s->absent_count || !d->united)
        return error_set(err, RESULT_REFUSED, "no union is written: %s",
                         d->s->absent_count
                             ? "a control-plane node can't be looked at, and its keys would be "
                               "missing"
                             : "nothing is encrypted, or what the nodes have has no union");
    if (!d->split && !d->needed)
        return error_set(err, RESULT_REFUSED,
                         "no union is written: all nodes have the same configuration, and no key "
                         "that stored values need is missing in it");
    encryption_config_write(d->united, &text);
    if (file_create(path, buf_str(&text), text.len, err) < 0)
        return error_wrap(err, "writing the union");
    saw(d, "union", "written to %s (0600; it holds keys: remove it when it lies on the nodes)",
        path);
    return 0;
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
    char *up CLEANUP(cleanup_mem) = doctor_command(d, "up");
    doctor_describe(c, NULL, &keys);
    mend(means(wrong(d, "state file", "its encryptionConfig (%s) is not what the nodes have",
                     why.message ? why.message : buf_str(&keys)),
               "`rke up` would put that on the nodes: don't run it before they are the same"),
         "%s", up);
}

int doctor_union(struct doctor *d, struct error *err)
{
    size_t total = d->s->count ? d->s->count : 1;
    const struct encryption_config **configs CLEANUP(cleanup_mem) =
        mem_alloc(total, sizeof(*configs));
    size_t *which CLEANUP(cleanup_mem) = mem_alloc(total, sizeof(*which));
    size_t *order CLEANUP(cleanup_mem) = mem_alloc(total, sizeof(*order));
    struct error trouble CLEANUP(error_clear) = {0};
    size_t count = known(d, configs, which);
    if (d->s->journal && d->s->journal->transition)
        differ_in_transition(d);
    if (count && !d->split && d->s->state && d->s->journal && !d->s->journal->transition)
        compare_state(d, configs[0]);
    if (count && doctor_unite(configs, count, d->needed, &d->united, order, &trouble) < 0)
        d->united = NULL;
    if (d->split && !(d->s->journal && d->s->journal->transition))
        tell_split(d, configs, which, order, count, trouble.message);
    else if (d->needed && d->united && d->asked->write_union)
        way_out(d, wrong(d, "nodes", "the union with the key of the history is to be put on them"),
                which, order, count);
    return d->asked->write_union ? write_union(d, err) : 0;
}
