/* The journals and keys that are at hand, wherever they lie: none of them may be forgotten. */
#include "base/file.h"
#include "provisioner/doctor.h"
#include "state/journal_json.h"
#include "state/json_text.h"

#include <string.h>

enum { STATE_LIMIT = 64 << 20 };

static void add_keys(struct doctor *d, const struct journal *j)
{
    for (size_t i = 0; j && i < j->key_count; i++) {
        if (!journal_find_key(d->history, j->keys[i].type, &j->keys[i].key))
            journal_append_key(d->history, &j->keys[i]);
    }
}

static void add_text(struct doctor *d, const char *yaml)
{
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    if (encryption_config_read(yaml, strlen(yaml), "encryptionConfig", ENCRYPTION_LENIENT, &c,
                               &ignored) == 0)
        journal_add_config_keys(d->history, c);
}

/* A change that a copy tells of was finished since, or will be found on the nodes. */
static void add_tale(struct doctor *d, const char *name, const json_t *member)
{
    struct error why CLEANUP(error_clear) = {0};
    struct journal *j = NULL;
    json_t *json CLEANUP(cleanup_json) = json_deep_copy(member);
    if (json_is_object(json)) {
        json_put(json, "transition", json_null());
        json_put(json, "nodes", json_object());
    }
    if (journal_from_json(json, name, &j, &why) < 0) {
        saw(d, "state file", "the key history in %s is no use: %s", name, why.message);
        return;
    }
    add_keys(d, j);
    MEM_GROW(d->tales, d->tale_count);
    d->tales[d->tale_count++] = (struct doctor_tale){mem_strdup(name), j};
}

static void add_state(struct doctor *d, const char *name, const struct rkestate *state)
{
    if (!state)
        return;
    const json_t *member = json_object_get(state->root, "encrypt");
    if (member && !json_is_null(member))
        add_tale(d, name, member);
    add_text(d, rkestate_encryption_config(state));
    add_text(d, rkestate_desired_encryption_config(state));
}

static void read_older(struct doctor *d)
{
    struct error why CLEANUP(error_clear) = {0};
    struct buf text CLEANUP(buf_free) = {0};
    const char *from = d->asked->from;
    if (from && (file_read(from, STATE_LIMIT, true, &text, NULL, &why) < 0 ||
                 rkestate_parse(buf_str(&text), text.len, from, &d->older, &why) < 0))
        d->older_trouble = mem_printf("--from: %s", why.message);
}

void doctor_history(struct doctor *d)
{
    struct error why CLEANUP(error_clear) = {0};
    if (journal_new(d->s->state_path, &d->history, &why) < 0) {
        saw(d, "state file", "its keys can't be gathered: %s", why.message);
        return;
    }
    read_older(d);
    add_keys(d, d->s->journal);
    add_state(d, "the Secret kube-system/full-cluster-state", d->copy.secret.state);
    add_state(d, "the ConfigMap kube-system/full-cluster-state", d->copy.config_map.state);
    add_state(d, d->asked->from, d->older);
}
