/* The doctor: looks at everything, changes nothing on any node. */
#include "provisioner/doctor.h"

#include <string.h>

static char *format(const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    struct buf b = {0};
    char *to = buf_reserve(&b, len > 0 ? (size_t)len + 1 : 1);
    vsnprintf(to, len > 0 ? (size_t)len + 1 : 1, fmt, again);
    va_end(again);
    return b.data;
}

void saw(struct doctor *d, const char *about, const char *fmt, ...)
{
    va_list ap;
    MEM_GROW(d->out->seen, d->out->seen_count);
    struct encrypt_seen *s = &d->out->seen[d->out->seen_count++];
    va_start(ap, fmt);
    *s = (struct encrypt_seen){mem_strdup(about), format(fmt, ap)};
    va_end(ap);
}

struct encrypt_finding *wrong(struct doctor *d, const char *about, const char *fmt, ...)
{
    va_list ap;
    MEM_GROW(d->out->findings, d->out->finding_count);
    struct encrypt_finding *f = &d->out->findings[d->out->finding_count++];
    va_start(ap, fmt);
    *f = (struct encrypt_finding){.about = mem_strdup(about), .what = format(fmt, ap)};
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
    add_line(&f->means, format(fmt, ap));
    va_end(ap);
    return f;
}

struct encrypt_finding *mend(struct encrypt_finding *f, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_line(&f->mend, format(fmt, ap));
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

char *doctor_command(const struct doctor *d, const char *name)
{
    struct buf b = {0};
    buf_printf(&b, "encrypt %s", name);
    add_option(&b, "--config", d->o->config);
    add_option(&b, "--state", d->o->state);
    add_option(&b, "--kubeconfig", d->o->kubeconfig);
    add_option(&b, "--known-hosts", d->o->known_hosts);
    return b.data;
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
    for (size_t i = 0; d->nodes && i < d->s->count; i++)
        encryption_config_free(d->nodes[i].config);
    mem_free(d->nodes);
    encryption_config_free(d->united);
    encryption_config_free(d->needed);
    cluster_state_copy_free(&d->copy);
    session_close(d->s);
}

static int look(struct doctor *d, struct error *err)
{
    struct session *s = d->s;
    doctor_files(d);
    tell(s, ENCRYPT_STEP, "look", NULL, "at the control-plane nodes, one after the other");
    if (session_look_at_nodes(s, err) < 0)
        return -1;
    d->out->nodes = s->count + s->absent_count;
    d->out->nodes_seen = s->count;
    d->nodes = mem_alloc(s->count, sizeof(*d->nodes));
    if (doctor_nodes(d, err) < 0)
        return -1;
    tell(s, ENCRYPT_STEP, "look", NULL, "at what the cluster and etcd hold");
    /* What was asked to be written comes last, and its refusal doesn't hide what was found. */
    return doctor_cluster(d, err) < 0 || doctor_store(d, err) < 0 || doctor_union(d, err) < 0 ||
                   doctor_rebuild(d, err) < 0
               ? -1
               : 0;
}

int encrypt_doctor(const struct encrypt_options *o, const struct encrypt_doctor *asked,
                   struct encrypt_diagnosis *out, struct error *err)
{
    struct doctor d CLEANUP(doctor_free) = {.o = o, .asked = asked, .out = out};
    *out = (struct encrypt_diagnosis){0};
    if (session_look(o, &d.s, err) < 0) {
        if (err->result == RESULT_FAILED)
            err->result = RESULT_REFUSED;
        return -1;
    }
    return look(&d, err);
}
