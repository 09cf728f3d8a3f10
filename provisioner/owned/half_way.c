/* A rotation that was begun by hand, and one that their rotate-keys left half-way. */
#include "provisioner/owned/owned.h"
#include "provisioner/run.h"

/* --- begun by hand --- */

static void note_keys(const struct encryption_config *c, const struct encryption_key *found[3],
                      enum provider_type types[3], size_t *count)
{
    for (size_t p = 0; c && c->item_count == 1 && p < c->items[0].provider_count; p++) {
        const struct encryption_provider *provider = &c->items[0].providers[p];
        for (size_t k = 0; k < provider->key_count; k++) {
            size_t at = 0;
            while (at < *count && (types[at] != provider->type ||
                                   !encryption_key_equal(found[at], &provider->keys[k])))
                at++;
            if (at < *count || *count == 3)
                continue;
            found[at] = &provider->keys[k];
            types[(*count)++] = provider->type;
        }
    }
}

struct encryption_config *owned_half_way(const struct owned_run *r)
{
    const struct encryption_key *found[3] = {0};
    enum provider_type types[3] = {0};
    size_t count = 0;
    for (size_t i = 0; i < r->s->count; i++) {
        if (!r->seen[i].config)
            return NULL;
        note_keys(r->seen[i].config, found, types, &count);
    }
    for (size_t old = 0; count == 2 && old < 2; old++) {
        /* With that one as the old key, is each server's file of such a rotation, and does the
         * furthest one's stage say so? (The other way round a half-way one is none.) */
        struct encryption_config *from CLEANUP(cleanup_encryption_config) =
            encryption_config_managed(types[old], NULL, found[old]);
        struct owned_record o = {.why = "rotate-key", .from = from};
        enum owned_file furthest = OWNED_FILE_FROM;
        bool fits = true;
        size_t leader = 0;
        for (size_t i = 0; i < r->s->count; i++) {
            enum owned_file f = owned_file_of(r->seen[i].config, &o);
            fits = fits && f != OWNED_FILE_OTHER;
            if (f > furthest) {
                furthest = f;
                leader = i;
            }
        }
        enum stage stage = r->seen[leader].status.stage;
        enum stage wants = furthest == OWNED_FILE_PREPARED ? STAGE_PREPARE
                           : furthest == OWNED_FILE_TO     ? STAGE_REENCRYPT_FINISHED
                                                           : STAGE_ROTATE;
        bool at_work =
            furthest == OWNED_FILE_ROTATED && stage != STAGE_PREPARE && stage != STAGE_START;
        if (fits && furthest != OWNED_FILE_FROM && (stage == wants || at_work))
            return STEAL(from);
    }
    return NULL;
}

void owned_note_adopted(struct owned_run *r, const struct encryption_config *from)
{
    struct session *s = r->s;
    struct owned_record *o = NULL;
    journal_open_owned(s->journal, "rotate-key", from);
    o = s->journal->owned;
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        journal_add_config_keys(s->journal, r->seen[i].config);
        /* Which command is at work can't be told, and a restart in the middle of rotate-keys may
         * take the fresh key from the server. That has the file ROTATED, and the stage from before,
         * until it has seen it loaded; `rotate` alone says so, and has saved it. */
        enum stage stage = r->seen[i].status.stage;
        o->at_once =
            o->at_once || stage == STAGE_REENCRYPT_REQUEST || stage == STAGE_REENCRYPT_ACTIVE ||
            (stage != STAGE_ROTATE && owned_file_of(r->seen[i].config, o) == OWNED_FILE_ROTATED);
        /* What an earlier change noted of its process says nothing of this file. */
        node_record_placed(journal_node(s->journal, m->node.name), m->file_sha256, m->seen.process);
    }
}

/* --- left half-way --- */

bool owned_reads_all(const struct owned_record *o, enum owned_file at)
{
    return !str_eq(o->why, "rotate-key") || at != OWNED_FILE_TO || o->gone;
}

static enum provider_type fresh_type(const struct encryption_config *c)
{
    return c && c->item_count && c->items[0].provider_count ? c->items[0].providers[0].type
                                                            : PROVIDER_IDENTITY;
}

void owned_tell_half_way(const struct owned_run *r, size_t i, struct error *err)
{
    const struct owned_record *o = r->s->journal->owned;
    const char *node = r->s->members[i].node.name;
    char *abort CLEANUP(cleanup_mem) = run_command_line("abort", r->s->options);
    char *force CLEANUP(cleanup_mem) =
        fresh_type(r->seen[i].config) == PROVIDER_AESCBC
            ? mem_printf("`%s secrets-encrypt reencrypt --force`, given once, drops the old key "
                         "where the fresh one is shown to be written with (docs/kinds/rke2.md), "
                         "then: %s; ",
                         r->kind->program, r->again)
            : mem_strdup("");
    if (r->servers[i].file == OWNED_FILE_TO) {
        error_state(err,
                    "%s is open; the old key has gone from the server's file, and is in the key "
                    "history of %s%s; a restart of %s may take the fresh key from the server, "
                    "where its version saves it at the end alone",
                    o->why, r->s->state_path, o->gone ? ", and nothing lies under it any more" : "",
                    r->kind->unit);
        error_next(err,
                   "don't restart %s on %s before its stage is reencrypt_finished (%s "
                   "secrets-encrypt status; journalctl -u %s), and don't give reencrypt: it would "
                   "drop the only key; docs/kinds/rke2.md (rotate-keys ended half-way); then: %s",
                   r->kind->unit, node, r->kind->program, r->kind->unit, r->again);
        return;
    }
    error_state(err,
                "%s is open; both keys are in the server's file and in the key history of %s, and "
                "values may lie under either; a restart of %s may take the fresh key from the "
                "server, where its version saves it at the end alone: what lies under it could "
                "not be read then",
                o->why, r->s->state_path, r->kind->unit);
    error_next(err,
               "don't restart %s on %s; journalctl -u %s there tells why; docs/kinds/rke2.md "
               "(rotate-keys ended half-way) tells the ways on; %sor leave both keys there, and "
               "close it: %s",
               r->kind->unit, node, r->kind->unit, force, abort);
}
