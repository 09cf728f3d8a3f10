/* What etcd holds: under which keys, who can read it, where the key is that nobody has. */
#include "provisioner/doctor.h"
#include "provisioner/store.h"

#include <string.h>

enum { EXAMPLES = 3 };
static const char about[] = "etcd";

static bool any(void *ctx, const struct resource *r, const unsigned char *value, size_t len)
{
    (void)ctx;
    (void)r;
    (void)value;
    (void)len;
    return true;
}

/* True where the value lies under another prefix than the one in ctx. */
static bool other_prefix(void *ctx, const struct resource *r, const unsigned char *value,
                         size_t len)
{
    (void)r;
    const char *want = ctx;
    char *prefix CLEANUP(cleanup_mem) = encryption_stored_prefix(value, len);
    return !str_eq(prefix, want);
}

static char *first_names(struct doctor *d, const struct resource *r, char *prefix,
                         struct error *err)
{
    char **names = NULL;
    struct buf b = {0};
    if (census_find(d->s, r, NULL, EXAMPLES, other_prefix, prefix, &names, err) < 0)
        return NULL;
    for (size_t i = 0; names[i]; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", names[i]);
    encryption_resources_free(names);
    return b.data ? b.data : mem_strdup("");
}

static bool reads(const struct encryption_config *c, const struct resource *r, const char *prefix)
{
    return encryption_config_reads(c, r->name, prefix, strlen(prefix));
}

/* A configuration for the resource with this one key to read with. */
static struct encryption_config *reader(const struct resource *r, const struct key_record *k)
{
    struct encryption_key key = k->key;
    char *names[] = {mem_strdup(r->name)};
    struct encryption_provider provider = {.type = k->type, .keys = &key, .key_count = 1};
    struct encryption_item item = {
        .resources = names, .resource_count = 1, .providers = &provider, .provider_count = 1};
    struct encryption_config c = {.items = &item, .item_count = 1};
    struct encryption_config *copy = encryption_config_copy(&c);
    mem_free(names[0]);
    return copy;
}

/* Adds the keys of the history by which values under this prefix were written. How many there are:
 * 0 is none, two and more can't be told apart. */
static size_t add_needed(struct doctor *d, const struct resource *r, const char *prefix,
                         char fingerprint[13])
{
    const struct journal *j = d->history;
    const struct key_record *found = NULL;
    size_t count = 0;
    for (size_t i = 0; j && i < j->key_count; i++) {
        const struct key_record *k = &j->keys[i];
        char *its CLEANUP(cleanup_mem) =
            mem_printf("k8s:enc:%s:v1:%s:", provider_type_name(k->type), k->key.name);
        if (!str_eq(its, prefix))
            continue;
        found = k;
        count++;
    }
    if (count != 1)
        return count;
    encryption_key_fingerprint(&found->key, fingerprint);
    struct encryption_config *one CLEANUP(cleanup_encryption_config) = reader(r, found);
    struct encryption_config *both = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    if (encryption_config_union(d->needed, one, &both, &ignored) < 0)
        return 2;
    encryption_config_free(d->needed);
    d->needed = both;
    return 1;
}

/* Where keys can be, and nobody looked; to be freed, NULL: everywhere was looked. */
static char *unsearched(const struct doctor *d)
{
    struct buf b = {0};
    if (!doctor_knows_all_nodes(d))
        buf_adds(&b, "nodes that could not be looked at");
    if (!d->s->journal)
        buf_printf(&b, "%sthe journal of this state file (%s)", b.len ? ", " : "",
                   d->state_missing ? "it is lost" : "it can't be read");
    if (session_shares_state(d->s) &&
        (!d->copy_read || d->copy.secret.trouble || d->copy.config_map.trouble))
        buf_printf(&b, "%sthe copy of the state in the cluster", b.len ? ", " : "");
    if (d->state_missing && !d->older)
        buf_printf(&b, "%solder state files (--from)", b.len ? ", " : "");
    return b.data;
}

static void no_key(struct doctor *d, struct encrypt_finding *f, const struct resource *r,
                   const char *prefix)
{
    char *not_looked CLEANUP(cleanup_mem) = unsearched(d);
    if (!prefix || str_starts(prefix, "k8s:enc:kms:")) {
        mend(f, "# %s",
             prefix ? "bring the KMS provider of that name back into the configuration of "
                      "all nodes, as a reader; delete nothing: only the KMS can tell what "
                      "its keys still open"
                    : "this is no form that kube-apiserver writes by itself: find out who "
                      "wrote it");
        return;
    }
    if (not_looked) {
        means(f, "no key for them was found so far, but not everywhere was looked: %s", not_looked);
        mend(f, "# look there first, and in backups of the nodes' configuration and in snapshots; "
                "delete nothing");
        return;
    }
    means(f, session_shares_state(d->s)
                 ? "neither the state file's history nor the copy in the cluster has that key"
                 : "the state file's history does not have that key");
    mend(f,
         "# look for it in other machines' state files, in backups of the nodes' configuration and "
         "in snapshots. Only where it is surely lost, and with it these values, and no running "
         "kube-apiserver reads them (kubectl --server, one after the other), delete those %s in "
         "etcd",
         r->name);
}

static void unreadable_by_all(struct doctor *d, const struct resource *r,
                              const struct prefix_count *p, const char *names, size_t looked_at)
{
    char fingerprint[13];
    struct member *stray = doctor_stray_reader(d, r, p->prefix);
    size_t keys = p->prefix && !stray ? add_needed(d, r, p->prefix, fingerprint) : 0;
    struct encrypt_finding *f =
        wrong(d, about,
              "%s: %zu under %s can't be read with the files of any of the %zu nodes looked "
              "at: %s%s",
              r->name, p->count, p->prefix ? p->prefix : "an unknown form", looked_at, names,
              p->count > EXAMPLES ? ", …" : "");
    means(f,
          "no change is begun until then. Restart no kube-apiserver before that: one that runs may "
          "still have a key that was taken out of its file, and one that can't read them does not "
          "become ready");
    if (stray) {
        means(f,
              "%s on node %s reads them, and its kube-apiserver is not told to read that: the "
              "flag was lost",
              stray->config_path, stray->node.name);
        mend(f, "# see what is said of node %s below: the flag is to come back", stray->node.name);
    } else if (keys == 1) {
        char *doctor CLEANUP(cleanup_mem) = doctor_command(d, "doctor");
        means(f, "the key history has that key (fingerprint %s)", fingerprint);
        mend(f, "# the configuration that reads them too, to be put on all nodes:");
        mend(f, "%s --write-union union.yaml", doctor);
    } else if (keys > 1) {
        means(f, "the key history has several keys of that name, and can't tell which it was");
        mend(f, "# try them as a second reader, one after the other, in a copy of the cluster");
    } else {
        no_key(d, f, r, p->prefix);
    }
}

static void unreadable_by_some(struct doctor *d, const struct resource *r,
                               const struct prefix_count *p, const char *nodes, const char *names)
{
    char *form =
        p->prefix && p->prefix[0] ? mem_printf("under %s", p->prefix) : mem_strdup("stored plain");
    mend(means(wrong(d, about, "%s: %zu %s can't be read by %s: %s%s", r->name, p->count, form,
                     nodes, names, p->count > EXAMPLES ? ", …" : ""),
               "whoever is answered by such an apiserver can't read them"),
         "# bring the nodes to one configuration: see what is said of them below");
    mem_free(form);
}

/* Readable, but in another form than the one that is written. */
static void stale(struct doctor *d, const struct resource *r, const struct prefix_count *p)
{
    const struct encryption_config *first = NULL;
    bool have = false;
    for (size_t i = 0; i < d->s->count; i++) {
        if (!d->nodes[i].known)
            continue;
        if (have && !encryption_config_equal(first, d->nodes[i].config))
            return; /* split: told elsewhere */
        first = d->nodes[i].config;
        have = true;
    }
    if (!have || !p->prefix || doctor_open_change(d))
        return;
    char *want CLEANUP(cleanup_mem) = encryption_write_prefix(first, r->name);
    if (str_eq(want, p->prefix))
        return;
    bool keys_to_go = p->prefix[0];
    /* What is to be: see what is said of the cluster file. */
    bool agrees = !encryption_config_is_plain(first) ==
                  (d->s->cluster->encryption == SECRETS_ENCRYPTION_ENABLED);
    char *command CLEANUP(cleanup_mem) =
        doctor_command(d, encryption_config_is_plain(first) ? "up" : "rotate-key");
    struct encrypt_finding *f =
        keys_to_go ? wrong(d, about, "%s: %zu still under %s", r->name, p->count, p->prefix)
                   : wrong(d, about, "%s: %zu stored plain, though what is written is encrypted",
                           r->name, p->count);
    means(f, "they were not rewritten when the key changed; they can be read");
    if (!agrees)
        mend(f, "# first what is said of the cluster file below, then:");
    mend(f, "%s    # rewrites all", command);
}

static int look_at_prefix(struct doctor *d, const struct resource *r, const struct prefix_count *p,
                          struct error *err)
{
    struct buf blind CLEANUP(buf_free) = {0};
    size_t known = 0;
    size_t cant = 0;
    for (size_t i = 0; i < d->s->count; i++) {
        if (!d->nodes[i].known)
            continue;
        known++;
        if (p->prefix && reads(d->nodes[i].config, r, p->prefix))
            continue;
        buf_printf(&blind, "%s%s", cant++ ? ", " : "", d->s->members[i].node.name);
    }
    if (!known)
        return 0;
    if (!cant) {
        stale(d, r, p);
        return 0;
    }
    char *names CLEANUP(cleanup_mem) = first_names(d, r, p->prefix, err);
    if (!names)
        return -1;
    if (cant == known)
        unreadable_by_all(d, r, p, names, known);
    else
        unreadable_by_some(d, r, p, buf_str(&blind), names);
    return 0;
}

static int look_at_resource(struct doctor *d, const struct resource *r, struct error *err)
{
    struct census c CLEANUP(census_free) = {0};
    if (census_resource(d->s, r, 0, any, NULL, &c, err) < 0)
        return -1;
    char *text CLEANUP(cleanup_mem) = census_text(&c);
    saw(d, about, "%s at revision %lld: %s", r->name, (long long)c.revision, text);
    for (size_t i = 0; i < c.prefix_count; i++) {
        MEM_GROW(d->stored, d->stored_count);
        d->stored[d->stored_count++] = (struct doctor_stored){r, mem_strdup(c.prefixes[i].prefix)};
        if (look_at_prefix(d, r, &c.prefixes[i], err) < 0)
            return -1;
    }
    return 0;
}

/* Secrets, and what any configuration at hand names: the nodes', the state's, the journal's, and
 * what is asked for. */
static char **resource_names(struct doctor *d)
{
    const struct session *s = d->s;
    const struct journal *j = s->journal;
    const struct transition *t = j ? j->transition : NULL;
    char **list = mem_alloc(2, sizeof(char *));
    size_t count = 0;
    store_add_name(&list, &count, "secrets");
    for (size_t i = 0; i < s->count; i++)
        store_add_names(&list, &count, d->nodes[i].config);
    if (s->state) {
        const char *text = rkestate_encryption_config(s->state);
        struct error ignored CLEANUP(error_clear) = {0};
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
        if (encryption_config_read(text, strlen(text), "", ENCRYPTION_LENIENT, &c, &ignored) == 0)
            store_add_names(&list, &count, c);
    }
    store_add_names(&list, &count, j ? j->custom : NULL);
    store_add_names(&list, &count, t ? t->from : NULL);
    store_add_names(&list, &count, t ? t->to : NULL);
    store_add_names(&list, &count, s->cluster->custom);
    return list;
}

/* Where discovery can't be had, those that are known without it; *whole: none was left out. */
static int find_resources(struct doctor *d, const struct resources **out, bool *whole,
                          struct error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    char **names CLEANUP(cleanup_encryption_resources) = resource_names(d);
    *whole = true;
    if (store_named(d->s, names, out, &e) == 0) {
        for (size_t i = 0; i < (*out)->other_count; i++)
            *whole = *whole && (!(*out)->others[i].stored || (*out)->others[i].follows);
        return 0;
    }
    if (e.result == RESULT_INTERRUPTED)
        return error_move(err, &e);
    size_t known = 0;
    for (size_t i = 0; names[i]; i++) {
        if (resource_find(names[i])) {
            names[known++] = names[i];
            continue;
        }
        saw(d, about, "%s: can't be counted: %s", names[i], e.message);
        *whole = false;
        mem_free(names[i]);
    }
    names[known] = NULL;
    return store_built_in(d->s, names, out, err);
}

int doctor_store(struct doctor *d, struct error *err)
{
    struct error why CLEANUP(error_clear) = {0};
    const struct resources *list = NULL;
    bool all = true;
    if (d->s->count == 0)
        return 0;
    if (find_resources(d, &list, &all, err) < 0)
        return -1;
    for (size_t i = 0; i < list->count && !why.result; i++)
        if (look_at_resource(d, &list->list[i], &why) < 0)
            break;
    d->store_read = all && !why.result;
    if (!why.result)
        return 0;
    if (why.result == RESULT_INTERRUPTED)
        return error_move(err, &why);
    struct encrypt_finding *f = wrong(d, about, "it can't be counted: %s", why.message);
    means(f, "which keys are needed can't be said");
    if (why.next)
        mend(f, "%s", why.next);
    return 0;
}
