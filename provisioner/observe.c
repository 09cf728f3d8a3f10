/* What the nodes show of a transition: the files, and by which evidence what runs. */
#include "provisioner/run.h"

#include <string.h>

static form_set forms_of_sha256(const struct run *r, const char *sha256)
{
    form_set set = 0;
    for (unsigned f = 0; f < FORM_COUNT; f++) {
        if (str_eq(r->sha256[f], sha256))
            set |= FORM_BIT(f);
    }
    return set;
}

form_set run_file_forms(struct run *r, struct member *m)
{
    form_set set = forms_of_sha256(r, m->file_sha256);
    if (set || m->file_missing)
        return set;
    /* Not ours byte for byte: RKE's own text of the same configuration counts as well. */
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    if (encryption_config_read(buf_str(&m->file), m->file.len, m->config_path, ENCRYPTION_LENIENT,
                               &c, &ignored) < 0)
        return 0;
    return forms_of(&r->forms, c);
}

/*
 * What an apiserver without the flag runs is "none". Else it is known by its process: one that the
 * journal saw running a file still runs that; one that started after the file was put (another
 * process than at the moment when the file had been read back), with the file unchanged since, runs
 * the file.
 */
static form_set forms_by_process(const struct run *r, const struct member *m,
                                 const struct node_record *n, form_set file, bool *by_placement)
{
    if (str_eq(n->runs.process, m->seen.process)) {
        form_set set = forms_of_sha256(r, n->runs.sha256);
        return set || !str_eq(n->runs.sha256, m->file_sha256) ? set : file;
    }
    if (n->placed.process && !str_eq(n->placed.process, m->seen.process) &&
        str_eq(n->placed.sha256, m->file_sha256)) {
        *by_placement = true;
        return file;
    }
    return 0;
}

/*
 * With automatic reload a process may run what was put after it started. Where it is told which
 * file is in force, that counts. Else the process that was seen to have read what lies there still
 * runs that as long as nothing was put since (rollout.c takes the record back before each put).
 */
static form_set forms_by_reload(const struct run *r, const struct member *m,
                                const struct node_record *n, form_set file, bool *by_placement)
{
    form_set set = forms_by_process(r, m, n, file, by_placement);
    if (m->reload.told)
        return str_eq(m->reload.sha256, m->file_sha256) ? file
                                                        : forms_of_sha256(r, m->reload.sha256);
    return *by_placement || str_eq(n->runs.sha256, m->file_sha256) ? set : 0;
}

static form_set forms_that_run(struct run *r, struct member *m, form_set file, bool *by_placement)
{
    const struct node_record *n = journal_node(r->s->journal, m->node.name);
    *by_placement = false;
    /* (In doubt: its settings were changed after it had started.) */
    if (!m->seen.running || !m->seen.process || m->seen.doubt)
        return 0;
    if (!m->seen.config_path)
        return forms_of(&r->forms, NULL);
    return (m->seen.automatic_reload ? forms_by_reload : forms_by_process)(r, m, n, file,
                                                                           by_placement);
}

/* What a node shows outweighs a journal that says that nothing was switched: an older copy's. */
static void note_what_was_written(struct run *r, const struct plan_node *n)
{
    form_set good = plan_writes_to(true);
    if (r->facts.back && ((n->runs && !(n->runs & good)) || (n->file_there && !(n->file & good))))
        r->facts.switched = r->s->journal->transition->switched = true;
}

/* Going back where nothing was switched, nobody waits for an apiserver with the new configuration,
 * which may be what doesn't work: it is brought to the one before. */
static void leave_unconfirmed(struct run *r)
{
    if (!r->facts.back || r->facts.switched || r->facts.narrowing)
        return;
    for (size_t i = 0; i < r->s->count; i++) {
        if (r->unconfirmed >> i & 1)
            r->nodes[i].runs = 0;
    }
    r->unconfirmed = 0;
}

/* It took up what lies there by itself, with nobody waiting for it: from here on writes of what it
 * had before come in, as after a restart. */
static void note_taken_up(struct run *r, const struct member *m)
{
    struct node_record *n = journal_node(r->s->journal, m->node.name);
    if (!m->reload.told || !str_eq(m->reload.sha256, m->file_sha256) ||
        (str_eq(n->runs.sha256, m->file_sha256) && str_eq(n->runs.process, m->seen.process)))
        return;
    node_record_runs(n, m->file_sha256, m->seen.process);
    node_record_placed(n, m->file_sha256, m->seen.process);
    r->switched_at = loop_now();
}

int run_observe(struct run *r, struct error *err)
{
    struct session *s = r->s;
    r->unconfirmed = 0;
    r->placed = 0;
    r->facts.singly = false;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        bool by_placement = false;
        if (member_observe(m, err) < 0 || member_ask_reload(m, err) < 0)
            return -1;
        r->facts.singly = r->facts.singly || (m->seen.automatic_reload && m->seen.running &&
                                              m->seen.config_path && !m->reload.told);
        form_set file = run_file_forms(r, m);
        form_set runs = forms_that_run(r, m, file, &by_placement);
        if (runs)
            note_taken_up(r, m);
        /* (In doubt there is nothing to wait for: it is brought to what it is to run.) */
        if (by_placement || (m->seen.unsettled && !m->seen.doubt))
            r->unconfirmed |= UINT64_C(1) << i;
        if (by_placement)
            r->placed |= UINT64_C(1) << i;
        r->nodes[i] =
            (struct plan_node){.file = file, .file_there = !m->file_missing, .runs = runs};
        note_what_was_written(r, &r->nodes[i]);
        if (!(runs & plan_writes_to(r->facts.back)) && !r->facts.narrowing) {
            r->facts.rewritten = false;
            r->facts.proved = false;
        }
    }
    leave_unconfirmed(r);
    return 0;
}

static void take_placed(const struct run *r, const struct node_record *record, struct plan_node *n)
{
    const char *sha256 = record ? record->placed.sha256 : NULL;
    if (!sha256)
        return;
    n->file = forms_of_sha256(r, sha256);
    n->file_there = n->file && !str_eq(sha256, "none");
}

void run_take_placed(struct run *r)
{
    const struct session *s = r->s;
    for (size_t i = 0; i < s->count; i++)
        if (s->members[i].unread)
            take_placed(r, journal_seen_node(s->journal, s->members[i].node.name), &r->nodes[i]);
}
