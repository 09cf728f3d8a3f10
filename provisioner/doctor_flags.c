/* Apiservers without the flag, and the files that lie beside them: left over, or all that reads
 * what is stored. */
#include "provisioner/doctor.h"
#include "provisioner/lost_flag.h"

#include <string.h>

enum need { NOT_NEEDED, NEEDED, NOT_KNOWN };

static bool reads(const struct encryption_config *c, const struct resource *r, const char *prefix)
{
    return encryption_config_reads(c, r->name, prefix, strlen(prefix));
}

/* (None: plain text alone.) */
static bool any_node_reads(const struct doctor *d, const struct resource *r, const char *prefix)
{
    for (size_t i = 0; i < d->s->count; i++)
        if (d->nodes[i].known && reads(d->nodes[i].config, r, prefix))
            return true;
    return false;
}

static bool any_node_has(const struct doctor *d, const struct key_record *k)
{
    for (size_t i = 0; i < d->s->count; i++)
        if (encryption_config_has_key(d->nodes[i].config, k->type, &k->key))
            return true;
    return false;
}

/* Does what is stored need `c`, which no apiserver reads? */
static enum need need_of(const struct doctor *d, const struct encryption_config *c)
{
    const struct journal *j = d->s->journal;
    for (size_t i = 0; i < d->stored_count; i++) {
        const struct doctor_stored *s = &d->stored[i];
        if (s->prefix && reads(c, s->resource, s->prefix) &&
            !any_node_reads(d, s->resource, s->prefix))
            return NEEDED;
    }
    if (d->store_read)
        return NOT_NEEDED;
    for (size_t i = 0; j && i < j->key_count; i++) {
        const struct key_record *k = &j->keys[i];
        if (k->activated && !k->retired && encryption_config_has_key(c, k->type, &k->key) &&
            !any_node_has(d, k))
            return NEEDED;
    }
    return NOT_KNOWN;
}

struct member *doctor_stray_reader(const struct doctor *d, const struct resource *r,
                                   const char *prefix)
{
    for (size_t i = 0; i < d->s->count; i++)
        if (d->nodes[i].stray && prefix && reads(d->nodes[i].stray, r, prefix))
            return &d->s->members[i];
    return NULL;
}

bool doctor_flag_is_lost(const struct doctor *d)
{
    for (size_t i = 0; i < d->s->count; i++)
        if (d->nodes[i].stray && need_of(d, d->nodes[i].stray) == NEEDED)
            return true;
    return false;
}

void mend_flag(struct doctor *d, struct encrypt_finding *f, struct member *m,
               const struct encryption_config *c)
{
    struct buf words CLEANUP(buf_free) = {0};
    struct error why CLEANUP(error_clear) = {0};
    if (lost_flag_way_back(d->s, m, m->config_path, c, &words, &why) < 0)
        buf_printf(&words, "give it the flag for %s back", m->config_path);
    mend(f, "# node %s: %s", m->node.name, buf_str(&words));
}

static void stray_file(struct doctor *d, size_t i)
{
    struct member *m = &d->s->members[i];
    const struct encryption_config *c = d->nodes[i].stray;
    enum need need = c ? need_of(d, c) : NOT_NEEDED;
    struct buf keys CLEANUP(buf_free) = {0};
    char *about CLEANUP(cleanup_mem) = mem_printf("node %s", m->node.name);
    if (c)
        doctor_describe(c, d->s->journal, &keys);
    else
        buf_adds(&keys, "it is no configuration that can be read");
    struct encrypt_finding *f =
        wrong(d, about, "%s is there, and its kube-apiserver is not told to read it (%s)",
              m->config_path, buf_str(&keys));
    if (m->seen.doubt) {
        means(f, "what it runs with isn't known: leave the file there until that is mended");
    } else if (need == NEEDED) {
        means(f,
              "what is stored needs it, and no kube-apiserver reads it: the flag was lost. Leave "
              "the file there");
        mend_flag(d, f, m, c);
    } else if (need == NOT_KNOWN) {
        means(f, "it may be the last place of a key that stored values need, which could not be "
                 "looked at: leave it there until etcd could be read");
    } else {
        means(f, "it may be the last place of a key; `encrypt up` won't write over it");
        mend(f, "# keep it, under another name:");
        mend_remote_move(d, f, m, m->config_path, "unread");
    }
}

void doctor_stray_files(struct doctor *d)
{
    for (size_t i = 0; i < d->s->count; i++) {
        const struct member *m = &d->s->members[i];
        if (m->seen.exists && !m->seen.config_path && !m->file_missing && !doctor_open_change(d))
            stray_file(d, i);
    }
}
