#include "base/file.h"
#include "state/journal.h"
#include "state/journal_json.h"
#include "state/json_text.h"
#include "state/timestamp.h"

#include <string.h>

enum { SIDECAR_LIMIT = 64 << 20 };

static const char member[] = "encrypt";

/* *out is NULL where there is none. */
static int read_sidecar(const char *path, json_t **out, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    bool missing = false;
    if (file_read(path, SIDECAR_LIMIT, true, &text, &missing, err) != 0)
        return -1;
    return missing ? 0 : json_text_read(buf_str(&text), text.len, path, out, err);
}

/* The keys of the lower copy that the higher one lacks: no history is ever lost to the other. */
static void add_keys_of(struct journal *j, const struct journal *other)
{
    for (size_t i = 0; i < other->key_count; i++)
        if (!journal_find_key(j, other->keys[i].type, &other->keys[i].key))
            journal_append_key(j, &other->keys[i]);
}

static int choose(struct journal *sidecar, struct journal *own, bool equal,
                  const char *sidecar_path, const char *state_path, struct journal **chosen,
                  struct error *err)
{
    if (!sidecar || !own) {
        *chosen = sidecar ? sidecar : own;
        return 0;
    }
    if (!str_eq(sidecar->cluster_id, own->cluster_id))
        return error_set(err, RESULT_REFUSED, "%s and %s are of different clusters", state_path,
                         sidecar_path);
    if (sidecar->sequence == own->sequence && !equal)
        return error_set(err, RESULT_REFUSED,
                         "%s and %s tell different stories of the same step (sequence %lld): were "
                         "they changed on two machines?",
                         state_path, sidecar_path, (long long)own->sequence);
    *chosen = sidecar->sequence >= own->sequence ? sidecar : own;
    add_keys_of(*chosen, *chosen == sidecar ? own : sidecar);
    return 0;
}

/* The keys of one of the state's configurations. */
static int add_keys_of_state(struct journal *j, const char *yaml, const char *name, bool running,
                             struct error *err)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    if (encryption_config_read(yaml, strlen(yaml), name, ENCRYPTION_LENIENT, &c, err) != 0)
        return -1;
    size_t before = j->key_count;
    journal_add_config_keys(j, c);
    for (size_t i = before; running && i < j->key_count; i++)
        j->keys[i].activated = timestamp_now();
    for (size_t i = before; i < j->key_count; i++)
        j->keys[i].found = true;
    return 0;
}

static int add_keys_of_states(struct journal *j, const struct rkestate *state,
                              const char *state_path, bool fresh, struct error *err)
{
    struct error unreadable CLEANUP(error_clear) = {0};
    char *running CLEANUP(cleanup_mem) = mem_printf("%s: the running encryptionConfig", state_path);
    char *desired CLEANUP(cleanup_mem) = mem_printf("%s: the desired encryptionConfig", state_path);
    const char *text = rkestate_encryption_config(state);
    struct encryption_config *custom CLEANUP(cleanup_encryption_config) = NULL;
    if (add_keys_of_state(j, text, running, true, &unreadable) != 0 && fresh)
        return error_move(err, &unreadable);
    if (fresh && rkestate_is_custom(state) &&
        encryption_config_read(text, strlen(text), running, ENCRYPTION_LENIENT, &custom, err) == 0)
        journal_set_custom(j, custom);
    error_clear(&unreadable);
    /* A text that doesn't read never ran on any apiserver: there's no key in it to keep. */
    if (add_keys_of_state(j, rkestate_desired_encryption_config(state), desired, false,
                          &unreadable) != 0)
        error_clear(&unreadable);
    return 0;
}

int journal_new(const char *state_path, struct journal **out, struct error *err)
{
    struct journal *j CLEANUP(cleanup_journal) = mem_alloc(1, sizeof(*j));
    if (!(j->cluster_id = journal_uuid(err)))
        return -1;
    j->sidecar_path = file_beside(state_path, "encrypt-state");
    *out = STEAL(j);
    return 0;
}

int journal_read(const struct rkestate *state, const char *state_path, struct journal **out,
                 struct error *err)
{
    char *sidecar_path CLEANUP(cleanup_mem) = file_beside(state_path, "encrypt-state");
    char *own_name CLEANUP(cleanup_mem) = mem_printf("%s: %s", state_path, member);
    json_t *sidecar_json CLEANUP(cleanup_json) = NULL;
    const json_t *own_json = state ? json_object_get(state->root, member) : NULL;
    struct journal *sidecar CLEANUP(cleanup_journal) = NULL;
    struct journal *own CLEANUP(cleanup_journal) = NULL;
    struct journal *fresh CLEANUP(cleanup_journal) = NULL;
    *out = NULL;
    if (read_sidecar(sidecar_path, &sidecar_json, err) != 0 ||
        (sidecar_json && journal_from_json(sidecar_json, sidecar_path, &sidecar, err) != 0) ||
        (own_json && journal_from_json(own_json, own_name, &own, err) != 0))
        return -1;
    if (!state && !sidecar)
        return 0;
    struct journal *chosen = NULL;
    if (choose(sidecar, own, json_equal(sidecar_json, own_json), sidecar_path, state_path, &chosen,
               err) != 0)
        return -1;
    if (!chosen) {
        if (journal_new(state_path, &fresh, err) != 0)
            return -1;
        chosen = fresh;
    }
    if (state && add_keys_of_states(chosen, state, state_path, chosen == fresh, err) != 0)
        return -1;
    chosen->behind =
        chosen != fresh && state && !(sidecar && own && json_equal(sidecar_json, own_json));
    chosen->cut_off = chosen == sidecar && own && !json_equal(sidecar_json, own_json);
    if (!chosen->sidecar_path)
        chosen->sidecar_path = STEAL(sidecar_path);
    /* What was chosen is handed out, the others are freed. */
    *out = chosen;
    if (chosen == sidecar)
        sidecar = NULL;
    else if (chosen == own)
        own = NULL;
    else
        fresh = NULL;
    return 0;
}

/* Nothing is written that we would refuse to read. */
static int check_readable(const json_t *json, struct error *err)
{
    struct journal *again CLEANUP(cleanup_journal) = NULL;
    struct error why CLEANUP(error_clear) = {0};
    if (journal_from_json(json, "the journal to be written", &again, &why) == 0)
        return 0;
    why.result = RESULT_FAILED;
    return error_move(err, &why);
}

int journal_write(struct journal *j, struct rkestate *state, struct error *err)
{
    json_t *json CLEANUP(cleanup_json) = NULL;
    struct buf text CLEANUP(buf_free) = {0};
    if (j->only_told)
        abort();
    if (state && rkestate_check_unchanged(state, err) != 0)
        return -1;
    /* A sequence is never used twice, whatever comes of the write. */
    j->sequence++;
    if (journal_to_json(j, &json, err) != 0 || check_readable(json, err) != 0)
        return -1;
    json_text_write(json, &text);
    /* Commit point: the sidecar holds the new journal, and its higher sequence wins. */
    if (file_write(j->sidecar_path, text.data, text.len, err) != 0)
        return -1;
    if (!state)
        return 0;
    json_put(state->root, member, STEAL(json));
    return rkestate_write(state, err);
}
