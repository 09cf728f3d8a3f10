/* The doctor: looks at everything, changes nothing on any node. */
#include "provisioner/doctor.h"
#include "provisioner/engine.h"
#include "provisioner/owned/owned.h"
#include "state/timestamp.h"

#include <string.h>

void saw(struct doctor *d, const char *about, const char *fmt, ...)
{
    va_list ap;
    MEM_GROW(d->out->seen, d->out->seen_count);
    struct encrypt_seen *s = &d->out->seen[d->out->seen_count++];
    va_start(ap, fmt);
    *s = (struct encrypt_seen){mem_strdup(about), mem_vprintf(fmt, ap)};
    va_end(ap);
}

struct encrypt_finding *wrong(struct doctor *d, const char *about, const char *fmt, ...)
{
    va_list ap;
    MEM_GROW(d->out->findings, d->out->finding_count);
    struct encrypt_finding *f = &d->out->findings[d->out->finding_count++];
    va_start(ap, fmt);
    *f = (struct encrypt_finding){.about = mem_strdup(about), .what = mem_vprintf(fmt, ap)};
    va_end(ap);
    return f;
}

/* One line more at the end of `text`. */
static void add_line(char **text, char *line)
{
    if (!*text) {
        *text = line;
        return;
    }
    char *both = mem_printf("%s\n%s", *text, line);
    mem_free(*text);
    mem_free(line);
    *text = both;
}

struct encrypt_finding *means(struct encrypt_finding *f, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_line(&f->means, mem_vprintf(fmt, ap));
    va_end(ap);
    return f;
}

struct encrypt_finding *mend(struct encrypt_finding *f, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_line(&f->mend, mem_vprintf(fmt, ap));
    va_end(ap);
    return f;
}

char *shell_word(const char *s)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:@,%";
    struct buf b = {0};
    if (*s && !s[strspn(s, plain)])
        return mem_strdup(s);
    buf_adds(&b, "'");
    for (; *s; s++) {
        if (*s == '\'')
            buf_adds(&b, "'\\''");
        else
            buf_add(&b, s, 1);
    }
    buf_adds(&b, "'");
    return b.data;
}

static void add_option(struct buf *b, const char *name, const char *value)
{
    if (!value)
        return;
    char *word CLEANUP(cleanup_mem) = shell_word(value);
    buf_printf(b, " %s %s", name, word);
}

char *command_as_called(const struct encrypt_options *o, const char *name)
{
    struct buf b = {0};
    buf_printf(&b, "encrypt %s", name);
    add_option(&b, "--config", o->config);
    add_option(&b, "--state", o->state);
    add_option(&b, "--kubeconfig", o->kubeconfig);
    add_option(&b, "--known-hosts", o->known_hosts);
    return b.data;
}

char *doctor_command(const struct doctor *d, const char *name)
{
    return command_as_called(d->o, name);
}

bool doctor_open_change(const struct doctor *d)
{
    return journal_is_open(d->s->journal);
}

bool doctor_knows_all_nodes(const struct doctor *d)
{
    for (size_t i = 0; i < d->s->count; i++) {
        if (!d->nodes[i].known)
            return false;
    }
    return d->s->count && !d->s->absent_count;
}

void mend_move(struct doctor *d, struct encrypt_finding *f, const char *path, const char *why)
{
    char *to CLEANUP(cleanup_mem) = mem_printf("%s.%s-%s", path, why, d->now);
    char *from_word CLEANUP(cleanup_mem) = shell_word(path);
    char *to_word CLEANUP(cleanup_mem) = shell_word(to);
    mend(f, "mv -n %s %s", from_word, to_word);
}

char *ssh_command(const struct doctor *d, const struct cluster_node *n)
{
    const struct ssh_access *a = &n->ssh;
    const struct ssh_access *bastion = d->s->cluster->bastion;
    bool agent = d->o->ssh_agent_auth || d->s->cluster->ssh_agent_auth;
    struct buf b = {0};
    buf_adds(&b, "ssh");
    if (d->o->known_hosts) {
        char *option CLEANUP(cleanup_mem) = mem_printf("UserKnownHostsFile=%s", d->o->known_hosts);
        add_option(&b, "-o", option);
    }
    if (bastion) {
        char *jump CLEANUP(cleanup_mem) =
            mem_printf("%s@%s:%d", bastion->user, bastion->address, bastion->port);
        add_option(&b, "-J", jump);
    }
    if (!agent && a->key_path && !a->key)
        add_option(&b, "-i", a->key_path);
    if (a->port != 22)
        buf_printf(&b, " -p %d", a->port);
    char *target CLEANUP(cleanup_mem) = mem_printf("%s@%s", a->user, a->address);
    char *word CLEANUP(cleanup_mem) = shell_word(target);
    buf_printf(&b, " %s", word);
    return b.data;
}

/* An administrator's: more than docs/sudoers allows. */
static const char *sudo_of(const struct member *m)
{
    return str_eq(m->node.conf->ssh.user, "root") ? "" : "sudo ";
}

char *node_command(const struct doctor *d, const struct member *m, const char *script,
                   const char *then, bool input)
{
    const struct driver *driver = m->node.driver;
    char *ssh CLEANUP(cleanup_mem) = ssh_command(d, m->node.conf);
    char *whole CLEANUP(cleanup_mem) =
        driver->shell || !then ? mem_strdup(script) : mem_printf("%s\n%s", script, then);
    char *inner CLEANUP(cleanup_mem) = shell_word(whole);
    char *run CLEANUP(cleanup_mem) =
        driver->shell ? driver->shell(inner, input) : mem_printf("%ssh -ec %s", sudo_of(m), inner);
    char *outer CLEANUP(cleanup_mem) =
        driver->shell ? mem_printf("set -e; %s%s%s", run, then ? "\n" : "", then ? then : "")
                      : mem_strdup(run);
    char *word CLEANUP(cleanup_mem) = shell_word(outer);
    return mem_printf("%s%s %s", ssh, input ? "" : " -n", word);
}

char *doctor_host_path(const struct member *m, const char *path)
{
    struct error ignored CLEANUP(error_clear) = {0};
    struct node n = m->node;
    char *out = NULL;
    /* (Where it can't be told now, the path that the apiserver knows is the best there is.) */
    if (!n.driver->host_path || n.driver->host_path(&n, path, &out, &ignored) < 0)
        return mem_strdup(path);
    return out;
}

char *node_words(const struct doctor *d, const struct member *m, const char *general)
{
    char *words CLEANUP(cleanup_mem) = member_words(m, general);
    char *ssh CLEANUP(cleanup_mem) = ssh_command(d, m->node.conf);
    if (m->node.driver->words.user)
        return mem_printf("%s -n %s", ssh, words);
    /* What one program does needs no shell of root's. */
    bool plain = !strpbrk(words, ";|&<>()$`\\\"'*?\n");
    char *inner CLEANUP(cleanup_mem) = shell_word(words);
    char *run CLEANUP(cleanup_mem) =
        plain ? mem_printf("%s%s", sudo_of(m), words) : mem_printf("%ssh -c %s", sudo_of(m), inner);
    char *word CLEANUP(cleanup_mem) = shell_word(run);
    return mem_printf("%s -n %s", ssh, word);
}

void mend_logs(const struct doctor *d, struct encrypt_finding *f, const struct member *m)
{
    const char *words = m->node.driver->words.logs;
    char *logs CLEANUP(cleanup_mem) = words ? node_words(d, m, words) : NULL;
    if (logs)
        mend(f, "%s    # why", logs);
}

void mend_remote_move(struct doctor *d, struct encrypt_finding *f, const struct member *m,
                      const char *path, const char *why)
{
    char *at CLEANUP(cleanup_mem) = doctor_host_path(m, path);
    char *to CLEANUP(cleanup_mem) = mem_printf("%s.%s-%s", at, why, d->now);
    char *from_word CLEANUP(cleanup_mem) = shell_word(at);
    char *to_word CLEANUP(cleanup_mem) = shell_word(to);
    char *script CLEANUP(cleanup_mem) = mem_printf("mv -n %s %s", from_word, to_word);
    char *command CLEANUP(cleanup_mem) = node_command(d, m, script, NULL, false);
    mend(f, "%s", command);
}

void mend_anew(struct doctor *d, struct encrypt_finding *f, const char *why)
{
    char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
    char *older CLEANUP(cleanup_mem) = mem_printf("%s.%s-%s", d->s->state_path, why, d->now);
    char *word CLEANUP(cleanup_mem) = shell_word(older);
    if (!d->copy_read && session_shares_state(d->s)) {
        mend(f, "# first let the cluster be asked for its copy of the state (credentials, an "
                "apiserver that is ready), then look again; it may be newer than this file");
        return;
    }
    mend_move(d, f, d->s->state_path, why);
    if (d->copy.newest)
        mend(f, "%s --write-state", doctor);
    else if (!session_shares_state(d->s))
        mend(f, "%s --write-state --from %s    # for its history of keys", doctor, word);
    else
        mend(f, "%s --write-state --from %s    # the cluster has no copy", doctor, word);
}

void encrypt_diagnosis_free(struct encrypt_diagnosis *d)
{
    for (size_t i = 0; i < d->finding_count; i++) {
        struct encrypt_finding *f = &d->findings[i];
        mem_free(f->about);
        mem_free(f->what);
        mem_free(f->means);
        mem_free(f->mend);
    }
    for (size_t i = 0; i < d->seen_count; i++) {
        mem_free(d->seen[i].about);
        mem_free(d->seen[i].text);
    }
    mem_free(d->findings);
    mem_free(d->seen);
    *d = (struct encrypt_diagnosis){0};
}

static void doctor_free(struct doctor *d)
{
    for (size_t i = 0; d->nodes && i < d->s->count; i++) {
        encryption_config_free(d->nodes[i].config);
        encryption_config_free(d->nodes[i].stray);
        stamp_free(&d->nodes[i].stamp);
    }
    mem_free(d->nodes);
    for (size_t i = 0; i < d->tale_count; i++) {
        mem_free(d->tales[i].name);
        journal_free(d->tales[i].journal);
    }
    mem_free(d->tales);
    for (size_t i = 0; i < d->stored_count; i++)
        mem_free(d->stored[i].prefix);
    mem_free(d->stored);
    journal_free(d->history);
    rkestate_free(d->older);
    mem_free(d->older_trouble);
    mem_free(d->now);
    mem_free(d->busy);
    mem_free(d->no_union);
    encryption_config_free(d->united);
    encryption_config_free(d->mended);
    encryption_config_free(d->needed);
    cluster_state_copy_free(&d->copy);
    session_close(d->s);
}

static char *moment(void)
{
    char *now = timestamp_now();
    size_t n = 0;
    for (const char *c = now; *c; c++) {
        if (*c != '-' && *c != ':')
            now[n++] = *c;
    }
    now[n] = '\0';
    return now;
}

static int look(struct doctor *d, struct error *err)
{
    struct session *s = d->s;
    doctor_files(d);
    tell(s, ENCRYPT_STEP, "look", NULL, "at the control-plane nodes");
    if (session_look_at_nodes(s, err) < 0)
        return -1;
    doctor_journal(d);
    doctor_credentials(d);
    d->out->nodes = s->count + s->absent_count;
    d->out->nodes_seen = s->count;
    if (session_driver(s)->owned) {
        doctor_owned_state(d);
        return owned_tell_doctor(d, err);
    }
    d->nodes = mem_alloc(s->count, sizeof(*d->nodes));
    if (doctor_nodes(d, err) < 0)
        return -1;
    tell(s, ENCRYPT_STEP, "look", NULL, "at what the cluster and etcd hold");
    if (doctor_cluster(d, err) < 0 || doctor_stamps(d, err) < 0)
        return -1;
    doctor_history(d);
    /* What was asked to be written comes last, and its refusal doesn't hide what was found. */
    if (doctor_store(d, err) < 0)
        return -1;
    doctor_stray_files(d);
    return doctor_union(d, err) < 0 || doctor_rebuild(d, err) < 0 ? -1 : 0;
}

int engine_doctor(const struct encrypt_options *o, const struct encrypt_doctor *asked,
                  struct encrypt_diagnosis *out, struct error *err)
{
    struct doctor d CLEANUP(doctor_free) = {.o = o, .asked = asked, .out = out, .now = moment()};
    *out = (struct encrypt_diagnosis){0};
    if (session_look(o, &d.s, err) < 0) {
        if (err->result == RESULT_FAILED)
            err->result = RESULT_REFUSED;
        return -1;
    }
    return look(&d, err);
}
