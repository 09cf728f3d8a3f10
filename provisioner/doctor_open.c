/* A change of ours that is open makes nodes differ, but only in its own forms. */
#include "provisioner/doctor.h"

#include <string.h>

bool doctor_reads_all_stored(const struct doctor *d, const struct encryption_config *c)
{
    for (size_t i = 0; i < d->stored_count; i++) {
        const struct doctor_stored *s = &d->stored[i];
        if (!s->prefix ||
            !encryption_config_reads(c, s->resource->name, s->prefix, strlen(s->prefix)))
            return false;
    }
    return d->store_read;
}

/* Another node with a form of the change that reads all that is stored; NULL: none. */
static const struct member *giver(const struct doctor *d, const struct forms *forms)
{
    for (size_t i = 0; i < d->s->count; i++) {
        const struct member *m = &d->s->members[i];
        if (d->nodes[i].known && m->seen.config_path && !m->file_missing &&
            forms_of(forms, d->nodes[i].config) && doctor_reads_all_stored(d, d->nodes[i].config))
            return m;
    }
    return NULL;
}

void mend_from_node(struct doctor *d, struct encrypt_finding *f, const struct member *from,
                    const struct member *to)
{
    char *there CLEANUP(cleanup_mem) = doctor_host_path(from, from->config_path);
    char *at CLEANUP(cleanup_mem) = doctor_host_path(to, to->config_path);
    char *copy CLEANUP(cleanup_mem) = mem_printf("%s.before-%s", at, d->now);
    char *fresh CLEANUP(cleanup_mem) = mem_printf("%s.new", at);
    char *source CLEANUP(cleanup_mem) = shell_word(there);
    char *path CLEANUP(cleanup_mem) = shell_word(at);
    char *kept CLEANUP(cleanup_mem) = shell_word(copy);
    char *new CLEANUP(cleanup_mem) = shell_word(fresh);
    char *read CLEANUP(cleanup_mem) = mem_printf("cat %s", source);
    char *write CLEANUP(cleanup_mem) = mem_printf(
        "umask 077; cat >%s; [ \"$(sha256sum <%s | cut -c 1-64)\" = %s ]; [ ! -e %s ] || "
        "[ -e %s ] || cp -p %s %s; mv %s %s; sync",
        new, new, from->file_sha256, path, kept, path, kept, new, path);
    char *get CLEANUP(cleanup_mem) = node_command(d, from, read, NULL, false);
    char *put CLEANUP(cleanup_mem) = node_command(d, to, write, NULL, true);
    mend(f, "%s | %s", get, put);
}

static void tell_by_hand(struct doctor *d, size_t i, const struct forms *forms)
{
    const struct transition *t = d->s->journal->transition;
    const struct member *m = &d->s->members[i];
    const struct member *from = giver(d, forms);
    struct buf keys CLEANUP(buf_free) = {0};
    char *about CLEANUP(cleanup_mem) = mem_printf("node %s", m->node.name);
    char *resume CLEANUP(cleanup_mem) = doctor_command(d, "resume");
    doctor_describe(d->nodes[i].config, d->s->journal, &keys);
    struct encrypt_finding *f =
        wrong(d, about, "%s has none of the forms of the change that is open (%s): %s",
              m->config_path, t->why, buf_str(&keys));
    means(f, "somebody changed it by hand meanwhile; `encrypt resume` refuses to go on");
    if (d->busy) {
        mend(f, "# %s", d->busy);
    } else if (from) {
        mend(f,
             "# all that is stored can be read with the file of node %s: copy that (what lies "
             "there now is kept beside it), and go on:",
             from->node.name);
        mend_from_node(d, f, from, m);
        mend(f, "%s", resume);
    } else {
        mend(f,
             "# put nothing over it: what is stored may need a key that only this file has, or "
             "etcd could not be asked. Add the keys of the change to it as further readers, read "
             "through this node what is said of etcd above, and write it again through another");
    }
}

void doctor_open_forms(struct doctor *d)
{
    struct forms forms = {0};
    struct error ignored CLEANUP(error_clear) = {0};
    const struct transition *t = d->s->journal->transition;
    if (forms_make(t->from, t->to, &forms, &ignored) < 0)
        return;
    for (size_t i = 0; i < d->s->count; i++) {
        if (d->nodes[i].known && d->s->members[i].seen.config_path &&
            !forms_of(&forms, d->nodes[i].config))
            tell_by_hand(d, i, &forms);
    }
    forms_free(&forms);
}
