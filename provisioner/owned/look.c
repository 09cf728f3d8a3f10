/* What each server is and says. */
#include "provisioner/owned/owned.h"
#include "provisioner/store.h"

#include <string.h>

void owned_seen_free(struct owned_seen *o)
{
    mem_free(o->unit);
    mem_free(o->start);
    mem_free(o->tried);
    mem_free(o->silence);
    mem_free(o->remedy);
    owned_status_free(&o->status);
    encryption_config_free(o->config);
    *o = (struct owned_seen){0};
}

void owned_run_free(struct owned_run *r)
{
    for (size_t i = 0; i < PLAN_MAX_NODES; i++)
        owned_seen_free(&r->seen[i]);
    mem_free(r->again);
    mem_free(r->complaints);
}

/* Properties that systemd 219 has too. Of a unit that is not active no start is told. */
static int ask_unit(const struct owned_kind *kind, const struct host *h, struct owned_seen *out,
                    struct error *err)
{
    static const char script[] = "systemctl show -p ActiveState -p MainPID "
                                 "-p ExecMainStartTimestampMonotonic \"$1\"";
    const char *args[] = {kind->unit, NULL};
    struct buf text CLEANUP(buf_free) = {0};
    char *what CLEANUP(cleanup_mem) = mem_printf("asking systemd for %s", kind->unit);
    if (host_do(h, what, script, args, NULL, &text, err) < 0)
        return -1;
    char *pid CLEANUP(cleanup_mem) = NULL;
    char *began CLEANUP(cleanup_mem) = NULL;
    for (const char *at = buf_str(&text); *at;) {
        size_t len = strcspn(at, "\n");
        const char *value = memchr(at, '=', len);
        char **to = !value                            ? NULL
                    : str_starts(at, "ActiveState=")  ? &out->unit
                    : str_starts(at, "MainPID=")      ? &pid
                    : str_starts(at, "ExecMainStart") ? &began
                                                      : NULL;
        if (to && !*to)
            *to = mem_strndup(value + 1, len - (size_t)(value + 1 - at));
        at += len + (at[len] == '\n');
    }
    out->active = str_eq(out->unit, "active");
    if (!out->unit)
        out->unit = mem_strdup("unknown");
    out->tried = mem_strdup(began ? began : "");
    if (out->active && pid && began && !str_eq(pid, "0"))
        out->start = mem_printf("%s at %s", pid, began);
    return 0;
}

/* JSON where their version has it; an older one takes the option for an error. */
static int ask_status(const struct owned_kind *kind, const struct host *h, struct owned_seen *out,
                      struct error *err)
{
    static const char script[] =
        "for dir in /usr/local/bin /usr/bin /opt/rke2/bin; do\n"
        "  [ -x \"$dir/$1\" ] || continue\n"
        "  as_root \"$dir/$1\" secrets-encrypt status -o json 2>/dev/null && exit 0\n"
        "  as_root \"$dir/$1\" secrets-encrypt status\n"
        "  exit\n"
        "done\n"
        "echo \"no program $1 in /usr/local/bin, /usr/bin, /opt/rke2/bin\" >&2\n"
        "exit 90";
    const char *args[] = {kind->program, NULL};
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    struct error why CLEANUP(error_clear) = {0};
    char *what CLEANUP(cleanup_mem) = mem_printf("%s secrets-encrypt status", kind->program);
    if (host_run(h, script, args, NULL, &a, err) < 0)
        return error_wrap(err, "%s", what);
    if (a.status != 0)
        host_explain(h, what, &a, &why);
    else if (owned_status_read(buf_str(&a.out), a.out.len, &out->status, &why) == 0)
        out->answers = true;
    if (!out->answers) {
        out->silence = STEAL(why.message);
        out->remedy = STEAL(why.next);
    }
    return 0;
}

int owned_ask(const struct owned_kind *kind, struct member *m, struct owned_seen *out,
              struct error *err)
{
    const struct host *h = owned_host(&m->node);
    struct owned_seen seen CLEANUP(owned_seen_free) = {0};
    struct error why CLEANUP(error_clear) = {0};
    if (ask_unit(kind, h, &seen, err) < 0 || ask_status(kind, h, &seen, err) < 0)
        return -1;
    char *name CLEANUP(cleanup_mem) = mem_printf("%s:%s", m->node.name, m->config_path);
    if (!m->file_missing &&
        encryption_config_read(buf_str(&m->file), m->file.len, name, ENCRYPTION_LENIENT,
                               &seen.config, &why) < 0 &&
        !seen.silence) {
        seen.answers = false;
        seen.silence = STEAL(why.message);
    }
    owned_seen_free(out);
    *out = seen;
    seen = (struct owned_seen){0};
    return 0;
}

/* --- what a file is --- */

const struct encryption_key *owned_only_key(const struct encryption_config *c,
                                            enum provider_type *type)
{
    const struct encryption_key *only = NULL;
    size_t count = 0;
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t p = 0; p < c->items[i].provider_count; p++) {
            const struct encryption_provider *provider = &c->items[i].providers[p];
            count += provider->key_count + (provider->type == PROVIDER_KMS);
            if (provider->key_count) {
                only = &provider->keys[0];
                *type = provider->type;
            }
        }
    return c && c->item_count == 1 && count == 1 ? only : NULL;
}

static size_t keys_of(const struct encryption_config *c)
{
    size_t count = 0;
    for (size_t p = 0; c->item_count == 1 && p < c->items[0].provider_count; p++)
        count += c->items[0].providers[p].key_count;
    return count;
}

static bool writes_with(const struct encryption_config *c, const struct encryption_key *k)
{
    const struct encryption_key *active = encryption_active_key(c);
    return active && encryption_key_equal(active, k);
}

enum owned_file owned_file_of(const struct encryption_config *c, const struct owned_record *o)
{
    enum provider_type type = PROVIDER_IDENTITY;
    const struct encryption_key *old = owned_only_key(o->from, &type);
    if (!c || c->item_count != 1 || !old)
        return OWNED_FILE_OTHER;
    if (encryption_config_equal(c, o->from))
        return OWNED_FILE_FROM;
    bool has = encryption_config_has_key(c, type, old);
    size_t count = keys_of(c);
    if (!str_eq(o->why, "rotate-key")) {
        bool plain = encryption_active_key(c) == NULL;
        bool right = has && count == 1 && plain == str_eq(o->why, "disable");
        return right ? OWNED_FILE_TO : OWNED_FILE_OTHER;
    }
    if (!encryption_active_key(c) || count > 2)
        return OWNED_FILE_OTHER;
    if (has && count == 2)
        return writes_with(c, old) ? OWNED_FILE_PREPARED : OWNED_FILE_ROTATED;
    return !has && count == 1 ? OWNED_FILE_TO : OWNED_FILE_OTHER;
}

bool owned_restart_may_lose(const struct owned_seen *seen, const struct owned_record *o)
{
    enum stage stage = seen->status.stage;
    bool at_work = stage == STAGE_REENCRYPT_REQUEST || stage == STAGE_REENCRYPT_ACTIVE;
    if (!seen->answers || !seen->config || (o && !o->at_once))
        return false;
    if (o && owned_file_of(seen->config, o) == OWNED_FILE_TO)
        return at_work;
    return keys_of(seen->config) > 1 && stage != STAGE_PREPARE && stage != STAGE_ROTATE;
}

/* --- what the planner is told --- */

bool owned_is_shown(const struct node_record *n, bool apart, const char *sha256,
                    const char *process)
{
    if (!n || !process)
        return false;
    if (n->runs.sha256 && str_eq(n->runs.process, process))
        return str_eq(n->runs.sha256, sha256);
    /* A server takes up the file before it starts its apiserver; one of its own may be older. */
    return n->placed.process && !str_eq(n->placed.process, process) &&
           (!apart || str_eq(n->placed.sha256, sha256));
}

static bool was_shown(const struct owned_run *r, size_t i)
{
    const struct member *m = &r->s->members[i];
    return r->s->journal && m->seen.running && r->seen[i].active &&
           owned_is_shown(journal_seen_node(r->s->journal, m->node.name), r->kind->apart,
                          m->file_sha256, m->seen.process);
}

/* The file is another than was noted: what runs now may have been there before it, so that another
 * process has to come. The process is looked at after the file. */
static int note_file(struct owned_run *r, struct member *m, struct error *err)
{
    enum { TRIES = 5 };
    const struct node_record *n = journal_seen_node(r->s->journal, m->node.name);
    for (int i = 0; i < TRIES; i++) {
        if (!n || !n->placed.sha256 || str_eq(n->placed.sha256, m->file_sha256))
            return 0;
        char seen[65];
        memcpy(seen, m->file_sha256, sizeof(seen));
        if (member_observe(m, err) < 0)
            return -1;
        if (!str_eq(seen, m->file_sha256))
            continue;
        char *process CLEANUP(cleanup_mem) =
            mem_strdup(m->seen.process ? m->seen.process : n->placed.process);
        node_record_placed(journal_node(r->s->journal, m->node.name), m->file_sha256, process);
        r->unrecorded = true;
        return 0;
    }
    return error_set(err, RESULT_STOPPED, "node %s: %s changes at each look", m->node.name,
                     m->config_path);
}

void owned_judge(struct owned_run *r)
{
    const struct owned_record *o = r->s->journal ? r->s->journal->owned : NULL;
    for (size_t i = 0; i < r->s->count; i++) {
        const struct owned_seen *seen = &r->seen[i];
        r->servers[i] = (struct owned_server){
            .active = seen->active,
            .up = seen->active && seen->answers,
            .stage = seen->status.stage,
            .hash_match = seen->status.hash_match,
            .file = o ? owned_file_of(seen->config, o) : OWNED_FILE_FROM,
            .shown = was_shown(r, i),
        };
    }
    r->leader = owned_leader(r->servers, r->s->count);
    for (size_t i = 0; i < r->s->count; i++)
        r->servers[i].same =
            str_eq(r->s->members[i].file_sha256, r->s->members[r->leader].file_sha256);
}

int owned_look_at(struct owned_run *r, size_t i, struct error *err)
{
    struct member *m = &r->s->members[i];
    size_t had = r->s->journal->key_count;
    if (member_observe(m, err) < 0 ||
        (r->s->journal->owned && r->kind->apart && note_file(r, m, err) < 0) ||
        owned_ask(r->kind, m, &r->seen[i], err) < 0)
        return -1;
    store_know_keys(r->s, r->seen[i].config);
    if (!r->s->journal->owned)
        return 0;
    store_know_keys(r->s, r->s->journal->owned->from);
    journal_add_config_keys(r->s->journal, r->seen[i].config);
    r->unrecorded = r->unrecorded || r->s->journal->key_count > had;
    return 0;
}

void owned_keep_keys(struct owned_run *r)
{
    for (size_t i = 0; i < r->s->count; i++)
        if (r->seen[i].config)
            journal_add_config_keys(r->s->journal, r->seen[i].config);
}

int owned_look_only(struct owned_run *r, struct error *err)
{
    for (size_t i = 0; i < r->s->count; i++) {
        if (owned_ask(r->kind, &r->s->members[i], &r->seen[i], err) < 0)
            return -1;
        store_know_keys(r->s, r->seen[i].config);
    }
    owned_judge(r);
    return 0;
}

int owned_look(struct owned_run *r, struct error *err)
{
    for (size_t i = 0; i < r->s->count; i++)
        if (owned_look_at(r, i, err) < 0)
            return -1;
    owned_judge(r);
    /* A fresh key of theirs: should a server lose it, as when rotate-keys is interrupted, here it
     * is. */
    return r->s->journal->owned && r->unrecorded ? owned_record(r, err) : 0;
}

bool owned_keys_differ(const struct encryption_config *const *configs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct encryption_config *c = configs[i];
        for (size_t n = 0; c && n < c->item_count; n++)
            for (size_t p = 0; p < c->items[n].provider_count; p++) {
                const struct encryption_provider *provider = &c->items[n].providers[p];
                for (size_t k = 0; k < provider->key_count; k++)
                    for (size_t other = 0; other < count; other++)
                        if (configs[other] &&
                            !encryption_config_has_key(configs[other], provider->type,
                                                       &provider->keys[k]))
                            return true;
            }
    }
    return false;
}
