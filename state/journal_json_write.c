/* The journal as JSON, written. */
#include "state/journal_json_parts.h"

#include "state/json_text.h"

#include <openssl/evp.h>

const char *const journal_stage_names[JOURNAL_STAGES] = {"open", "narrowing"};

void journal_add_base64(struct buf *out, const unsigned char *data, size_t len)
{
    size_t room = (len + 2) / 3 * 4 + 1;
    unsigned char *to = (unsigned char *)buf_reserve(out, room);
    out->len += (size_t)EVP_EncodeBlock(to, data, (int)len);
}

/* Writing. A text that isn't UTF-8 makes json_string() give NULL: *ok tells. */
static void put_text(json_t *object, const char *member, const char *text, bool *ok)
{
    json_t *json = text ? json_string(text) : json_null();
    *ok = *ok && json;
    json_put(object, member, json ? json : json_null());
}

static void put_config(json_t *object, const char *member, const struct encryption_config *c,
                       bool *ok)
{
    struct buf yaml CLEANUP(buf_free) = {0};
    if (c)
        encryption_config_write(c, &yaml);
    put_text(object, member, buf_str(&yaml), ok);
}

static json_t *proof_to_json(bool proved, int64_t revision, int64_t values, const char *at,
                             bool *ok)
{
    if (!proved)
        return json_null();
    json_t *proof = json_object();
    json_put(proof, "revision", json_integer(revision));
    json_put(proof, "values", json_integer(values));
    put_text(proof, "at", at, ok);
    return proof;
}

static json_t *transition_to_json(const struct transition *t, bool *ok)
{
    if (!t)
        return json_null();
    json_t *json = json_object();
    put_text(json, "id", t->id, ok);
    put_text(json, "why", t->why, ok);
    put_text(json, "opened", t->opened, ok);
    put_text(json, "by", t->by, ok);
    put_text(json, "stage", journal_stage_names[t->stage == TRANSITION_NARROWING], ok);
    put_config(json, "from", t->from, ok);
    put_config(json, "to", t->to, ok);
    put_config(json, "custom", t->custom, ok);
    json_put(json, "aborting", json_boolean(t->aborting));
    json_put(json, "reopened", json_boolean(t->reopened));
    json_put(json, "staged", json_boolean(t->staged));
    json_put(json, "requested", json_boolean(t->requested));
    json_put(json, "initial", json_boolean(t->initial));
    put_config(json, "before", t->before, ok);
    put_text(json, "started", t->started, ok);
    json_put(json, "switched", json_boolean(t->switched));
    json_put(json, "rewritten", json_boolean(t->rewritten));
    json_put(json, "proved",
             proof_to_json(t->proved, t->proof_revision, t->proof_values, t->proved_at, ok));
    return json;
}

static json_t *owned_to_json(const struct owned_record *o, bool *ok)
{
    json_t *json = json_object();
    put_text(json, "why", o->why, ok);
    put_text(json, "opened", o->opened, ok);
    put_text(json, "by", o->by, ok);
    put_config(json, "from", o->from, ok);
    json_put(json, "staged", json_boolean(o->staged));
    json_put(json, "at_once", json_boolean(o->at_once));
    json_put(json, "gone", json_boolean(o->gone));
    json_put(json, "stuck", json_boolean(o->stuck));
    json_put(json, "proved",
             proof_to_json(o->proved, o->proof_revision, o->proof_values, o->proved_at, ok));
    return json;
}

static json_t *last_to_json(const struct finished *f, bool *ok)
{
    if (!f->why)
        return json_null();
    json_t *json = json_object();
    put_text(json, "why", f->why, ok);
    json_put(json, "aborted", json_boolean(f->aborted));
    put_text(json, "closed", f->closed, ok);
    return json;
}

/* An object of two texts, or null where the first is NULL. */
static json_t *pair_to_json(const char *first, const char *value, const char *process, bool *ok)
{
    if (!value)
        return json_null();
    json_t *json = json_object();
    put_text(json, first, value, ok);
    put_text(json, "process", process, ok);
    return json;
}

static json_t *node_to_json(const struct node_record *n, bool *ok)
{
    json_t *json = json_object();
    json_put(json, "intent", pair_to_json("form", n->intent_form, n->intent_process, ok));
    json_put(json, "placed", pair_to_json("sha256", n->placed.sha256, n->placed.process, ok));
    json_put(json, "runs", pair_to_json("sha256", n->runs.sha256, n->runs.process, ok));
    put_text(json, "path", n->path, ok);
    return json;
}

static json_t *key_to_json(const struct key_record *k, bool *ok)
{
    struct buf secret CLEANUP(buf_free) = {0};
    char fingerprint[13];
    journal_add_base64(&secret, k->key.secret, k->key.secret_len);
    encryption_key_fingerprint(&k->key, fingerprint);
    json_t *json = json_object();
    put_text(json, "name", k->key.name, ok);
    put_text(json, "type", provider_type_name(k->type), ok);
    put_text(json, "secret", buf_str(&secret), ok);
    put_text(json, "fingerprint", fingerprint, ok);
    put_text(json, "created", k->created, ok);
    put_text(json, "activated", k->activated, ok);
    put_text(json, "retired", k->retired, ok);
    return json;
}

int journal_to_json(const struct journal *j, json_t **out, struct error *err)
{
    json_t *json CLEANUP(cleanup_json) = json_object();
    json_t *nodes = json_object(), *keys = json_array();
    bool ok = true;
    json_put(json, "version",
             json_integer(j->owned || j->kind ? JOURNAL_VERSION : JOURNAL_VERSION - 1));
    json_put(json, "sequence", json_integer(j->sequence));
    put_text(json, "cluster", j->cluster_id, &ok);
    json_put(json, "generation", json_integer(j->generation));
    json_put(json, "transition", transition_to_json(j->transition, &ok));
    if (j->owned)
        json_put(json, "owned", owned_to_json(j->owned, &ok));
    if (j->kind)
        put_text(json, "kind", j->kind, &ok);
    json_put(json, "last", last_to_json(&j->last, &ok));
    json_put(json, "nodes", nodes);
    put_config(json, "custom", j->custom, &ok);
    json_put(json, "keys", keys);
    for (size_t i = 0; i < j->node_count; i++) {
        json_t *node = node_to_json(&j->nodes[i], &ok);
        if (json_object_set_new(nodes, j->nodes[i].address, node) != 0)
            ok = false;
    }
    for (size_t i = 0; i < j->key_count; i++)
        if (json_array_append_new(keys, key_to_json(&j->keys[i], &ok)) != 0)
            abort();
    if (!ok)
        return error_set(err, RESULT_FAILED, "the journal: a text to be written is not UTF-8");
    *out = STEAL(json);
    return 0;
}
