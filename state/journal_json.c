/* The journal as JSON, read. */
#include "state/journal_json_parts.h"

#include "base/buf.h"
#include "state/json_text.h"
#include "state/timestamp.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 4096, MAX_CONFIG = 4 << 20, MAX_SECRET = 32, MAX_BASE64 = 44 };
/* What any reader of JSON keeps exactly. */
#define MAX_NUMBER ((int64_t)1 << 53)

static const char *const forms[] = {"widen", "switch", "narrow", "from"};

struct reader {
    const char *name;
    int64_t version;
    struct error *err;
};

static int damaged(struct reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

static int damaged(struct reader *r, const char *fmt, ...)
{
    va_list ap;
    char *what CLEANUP(cleanup_mem) = NULL;
    va_start(ap, fmt);
    if (vasprintf(&what, fmt, ap) < 0)
        abort();
    va_end(ap);
    error_set(r->err, RESULT_REFUSED, "%s: damaged: %s", r->name, what);
    return -1;
}

/* An object with these members (NULL-terminated) and no others. */
static int want_object(struct reader *r, const json_t *json, const char *where,
                       const char *const *members)
{
    if (!json_is_object(json))
        return damaged(r, "%s is not an object", where);
    size_t count = 0;
    for (; members[count]; count++)
        if (!json_object_get(json, members[count]))
            return damaged(r, "%s.%s is missing", where, members[count]);
    if (json_object_size(json) != count)
        return damaged(r, "%s has a member that does not belong there", where);
    return 0;
}

/* A key's name may hold anything but NUL, as in a configuration. */
enum text_kind { LINE, KEY_NAME, CONFIG };

static int get_text(struct reader *r, const json_t *from, const char *where, const char *member,
                    enum text_kind kind, char **out)
{
    const json_t *json = json_object_get(from, member);
    const char *text = json_string_value(json);
    size_t len = json_string_length(json);
    if (!text)
        return damaged(r, "%s.%s is not a text", where, member);
    if (strlen(text) != len || len > (kind == CONFIG ? MAX_CONFIG : MAX_TEXT))
        return damaged(r, "%s.%s is too long or holds a NUL", where, member);
    for (const char *c = text; kind == LINE && *c; c++)
        if (iscntrl((unsigned char)*c))
            return damaged(r, "%s.%s holds a control character", where, member);
    *out = mem_strdup(text);
    return 0;
}

static int get_text_or_null(struct reader *r, const json_t *from, const char *where,
                            const char *member, char **out)
{
    if (json_is_null(json_object_get(from, member)))
        return 0;
    return get_text(r, from, where, member, LINE, out);
}

static int get_moment(struct reader *r, const json_t *from, const char *where, const char *member,
                      char **out)
{
    if (get_text(r, from, where, member, LINE, out) != 0)
        return -1;
    return timestamp_valid(*out) ? 0 : damaged(r, "%s.%s is not a moment", where, member);
}

static int get_moment_or_null(struct reader *r, const json_t *from, const char *where,
                              const char *member, char **out)
{
    if (json_is_null(json_object_get(from, member)))
        return 0;
    return get_moment(r, from, where, member, out);
}

static int get_uuid(struct reader *r, const json_t *from, const char *where, const char *member,
                    char **out)
{
    if (get_text(r, from, where, member, LINE, out) != 0)
        return -1;
    bool fits = strlen(*out) == 36;
    for (size_t i = 0; fits && i < 36; i++) {
        char c = (*out)[i];
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        fits = hyphen ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    }
    return fits ? 0 : damaged(r, "%s.%s is not a UUID", where, member);
}

static int get_number(struct reader *r, const json_t *from, const char *where, const char *member,
                      int64_t least, int64_t *out)
{
    const json_t *json = json_object_get(from, member);
    if (!json_is_integer(json))
        return damaged(r, "%s.%s is not a whole number", where, member);
    *out = json_integer_value(json);
    if (*out < least || *out > MAX_NUMBER)
        return damaged(r, "%s.%s is out of range", where, member);
    return 0;
}

static int get_bool(struct reader *r, const json_t *from, const char *where, const char *member,
                    bool *out)
{
    const json_t *json = json_object_get(from, member);
    if (!json_is_boolean(json))
        return damaged(r, "%s.%s is neither true nor false", where, member);
    *out = json_is_true(json);
    return 0;
}

static int get_one_of(struct reader *r, const json_t *from, const char *where, const char *member,
                      const char *const *names, size_t count, size_t *out)
{
    const json_t *json = json_object_get(from, member);
    for (size_t i = 0; i < count; i++)
        if (json_string_length(json) == strlen(names[i]) &&
            str_eq(json_string_value(json), names[i])) {
            *out = i;
            return 0;
        }
    return damaged(r, "%s.%s is not one of what it can be", where, member);
}

static int get_config(struct reader *r, const json_t *from, const char *where, const char *member,
                      struct encryption_config **out)
{
    char *text CLEANUP(cleanup_mem) = NULL;
    if (get_text(r, from, where, member, CONFIG, &text) != 0 || !text)
        return -1;
    char *name CLEANUP(cleanup_mem) = mem_printf("%s: damaged: %s.%s", r->name, where, member);
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    if (encryption_config_read(text, strlen(text), name, ENCRYPTION_LENIENT, &c, r->err) != 0)
        return -1;
    *out = c && c->item_count > 0 ? STEAL(c) : NULL;
    return 0;
}

struct proof {
    bool *proved;
    int64_t *revision, *values;
    char **at;
};

static int get_proof(struct reader *r, const json_t *json, const char *where, struct proof p)
{
    static const char *const members[] = {"revision", "values", "at", NULL};
    if (json_is_null(json))
        return 0;
    *p.proved = true;
    if (want_object(r, json, where, members) != 0 ||
        get_number(r, json, where, "revision", 0, p.revision) != 0 ||
        get_number(r, json, where, "values", 0, p.values) != 0)
        return -1;
    return get_moment(r, json, where, "at", p.at);
}

/* (Only there while one is open.) */
static int get_owned(struct reader *r, const json_t *json, struct journal *j)
{
    static const char *const members[] = {"why",  "opened",  "by",    "from",   "staged",
                                          "gone", "at_once", "stuck", "proved", NULL};
    static const char *const whys[] = {"rotate-key", "enable", "disable"};
    const char *where = "owned";
    size_t why = 0;
    if (!json)
        return 0;
    /* The journal owns it from here on, whatever fails. */
    struct owned_record *o = j->owned = mem_alloc(1, sizeof(*o));
    if (want_object(r, json, where, members) != 0 ||
        get_one_of(r, json, where, "why", whys, ARRAY_LEN(whys), &why) != 0 ||
        get_moment(r, json, where, "opened", &o->opened) != 0 ||
        get_text(r, json, where, "by", LINE, &o->by) != 0 ||
        get_config(r, json, where, "from", &o->from) != 0 ||
        get_bool(r, json, where, "staged", &o->staged) != 0 ||
        get_bool(r, json, where, "at_once", &o->at_once) != 0 ||
        get_bool(r, json, where, "gone", &o->gone) != 0 ||
        get_bool(r, json, where, "stuck", &o->stuck) != 0 ||
        get_proof(
            r, json_object_get(json, "proved"), "owned.proved",
            (struct proof){&o->proved, &o->proof_revision, &o->proof_values, &o->proved_at}) != 0)
        return -1;
    o->why = mem_strdup(whys[why]);
    if (!o->from)
        return damaged(r, "owned.from is none");
    if (j->transition)
        return damaged(r, "two changes are open");
    return 0;
}

static int get_transition(struct reader *r, const json_t *json, struct journal *j)
{
    static const char *const members[] = {
        "id",      "why",      "opened",   "by",        "stage",    "from",   "to",
        "custom",  "switched", "aborting", "rewritten", "reopened", "staged", "requested",
        "initial", "before",   "started",  "proved",    NULL};
    static const char *const members_3[] = {
        "id",     "why",      "opened",   "by",        "stage",    "from",   "to",
        "custom", "switched", "aborting", "rewritten", "reopened", "proved", NULL};
    static const char *const members_2[] = {
        "id",       "why",      "opened",    "by",       "stage",  "from", "to",
        "switched", "aborting", "rewritten", "reopened", "proved", NULL};
    static const char *const members_1[] = {"id",        "why",    "opened", "by",
                                            "stage",     "from",   "to",     "switched",
                                            "rewritten", "proved", NULL};
    const char *where = "transition";
    if (json_is_null(json))
        return 0;
    /* The journal owns it from here on, whatever fails. */
    struct transition *t = j->transition = mem_alloc(1, sizeof(*t));
    size_t stage = 0;
    const char *const *those = r->version == 1   ? members_1
                               : r->version == 2 ? members_2
                               : r->version == 3 ? members_3
                                                 : members;
    if (want_object(r, json, where, those) != 0 || get_uuid(r, json, where, "id", &t->id) != 0 ||
        get_text(r, json, where, "why", LINE, &t->why) != 0 ||
        get_moment(r, json, where, "opened", &t->opened) != 0 ||
        get_text(r, json, where, "by", LINE, &t->by) != 0 ||
        get_one_of(r, json, where, "stage", journal_stage_names, JOURNAL_STAGES, &stage) != 0 ||
        get_config(r, json, where, "from", &t->from) != 0 ||
        get_config(r, json, where, "to", &t->to) != 0 ||
        (r->version > 2 && get_config(r, json, where, "custom", &t->custom) != 0) ||
        (r->version > 1 && (get_bool(r, json, where, "aborting", &t->aborting) != 0 ||
                            get_bool(r, json, where, "reopened", &t->reopened) != 0)) ||
        (r->version > 3 && (get_bool(r, json, where, "staged", &t->staged) != 0 ||
                            get_bool(r, json, where, "requested", &t->requested) != 0 ||
                            get_bool(r, json, where, "initial", &t->initial) != 0 ||
                            get_config(r, json, where, "before", &t->before) != 0 ||
                            get_text_or_null(r, json, where, "started", &t->started) != 0)) ||
        get_bool(r, json, where, "switched", &t->switched) != 0 ||
        get_bool(r, json, where, "rewritten", &t->rewritten) != 0 ||
        get_proof(
            r, json_object_get(json, "proved"), "transition.proved",
            (struct proof){&t->proved, &t->proof_revision, &t->proof_values, &t->proved_at}) != 0)
        return -1;
    t->stage = stage == 0 ? TRANSITION_OPEN : TRANSITION_NARROWING;
    if (t->stage == TRANSITION_NARROWING && !t->proved)
        return damaged(r, "transition.stage is narrowing, and nothing is proved");
    return 0;
}

static int get_last(struct reader *r, const json_t *json, struct finished *out)
{
    static const char *const members[] = {"why", "aborted", "closed", NULL};
    const char *where = "last";
    if (json_is_null(json))
        return 0;
    if (want_object(r, json, where, members) != 0 ||
        get_text(r, json, where, "why", LINE, &out->why) != 0 ||
        get_bool(r, json, where, "aborted", &out->aborted) != 0)
        return -1;
    return get_moment(r, json, where, "closed", &out->closed);
}

static int get_node_file(struct reader *r, const json_t *node, const char *node_where,
                         const char *member, struct node_file *out)
{
    static const char *const members[] = {"sha256", "process", NULL};
    const json_t *json = json_object_get(node, member);
    char *where CLEANUP(cleanup_mem) = mem_printf("%s.%s", node_where, member);
    if (json_is_null(json))
        return 0;
    if (want_object(r, json, where, members) != 0 ||
        get_text(r, json, where, "sha256", LINE, &out->sha256) != 0 ||
        get_text_or_null(r, json, where, "process", &out->process) != 0)
        return -1;
    bool is_hash = strlen(out->sha256) == 64 && strspn(out->sha256, "0123456789abcdef") == 64;
    if (!is_hash && !str_eq(out->sha256, "none"))
        return damaged(r, "%s.sha256 is not a SHA-256", where);
    return 0;
}

static int get_intent(struct reader *r, const json_t *json, const char *where,
                      struct node_record *n)
{
    static const char *const members[] = {"form", "process", NULL};
    size_t form = 0;
    if (json_is_null(json))
        return 0;
    if (want_object(r, json, where, members) != 0 ||
        get_one_of(r, json, where, "form", forms, ARRAY_LEN(forms), &form) != 0)
        return -1;
    n->intent_form = mem_strdup(forms[form]);
    return get_text_or_null(r, json, where, "process", &n->intent_process);
}

static int get_nodes(struct reader *r, const json_t *json, struct journal *j)
{
    static const char *const members[] = {"intent", "placed", "runs", "path", NULL};
    static const char *const members_2[] = {"intent", "placed", "runs", NULL};
    const char *address;
    const json_t *node;
    if (!json_is_object(json))
        return damaged(r, "nodes is not an object");
    json_object_foreach ((json_t *)json, address, node) {
        /* Addresses are not quoted: a damaged file may hold anything in their place. */
        char *where CLEANUP(cleanup_mem) = mem_printf("nodes[%zu]", j->node_count);
        char *intent CLEANUP(cleanup_mem) = mem_printf("%s.intent", where);
        bool fits = *address && strlen(address) <= MAX_TEXT;
        for (const char *c = address; *c; c++)
            fits = fits && !iscntrl((unsigned char)*c);
        if (!fits)
            return damaged(r, "%s has no proper address", where);
        struct node_record *n = journal_node(j, address);
        if (want_object(r, node, where, r->version < 3 ? members_2 : members) != 0 ||
            get_intent(r, json_object_get(node, "intent"), intent, n) != 0 ||
            get_node_file(r, node, where, "placed", &n->placed) != 0 ||
            get_node_file(r, node, where, "runs", &n->runs) != 0 ||
            (r->version > 2 && get_text_or_null(r, node, where, "path", &n->path) != 0))
            return -1;
    }
    return 0;
}

/* Only the canonical form: libcrypto's decoder alone forgives too much. */
static int get_secret(struct reader *r, const json_t *from, const char *where,
                      enum provider_type type, struct encryption_key *out)
{
    const json_t *json = json_object_get(from, "secret");
    const char *text = json_string_value(json);
    size_t len = json_string_length(json);
    unsigned char *secret CLEANUP(cleanup_mem) = mem_alloc(MAX_SECRET + 4, 1);
    struct buf again CLEANUP(buf_free) = {0};
    if (!text || strlen(text) != len || len == 0 || len % 4 != 0 || len > MAX_BASE64)
        return damaged(r, "%s.secret is not the base64 of a key", where);
    int decoded = EVP_DecodeBlock(secret, (const unsigned char *)text, (int)len);
    decoded -= (text[len - 1] == '=') + (text[len - 2] == '=');
    if (decoded > 0)
        journal_add_base64(&again, secret, (size_t)decoded);
    if (again.len != len || CRYPTO_memcmp(again.data, text, len) != 0)
        return damaged(r, "%s.secret is not the base64 of a key", where);
    if (decoded != 32 && (type == PROVIDER_SECRETBOX || (decoded != 16 && decoded != 24)))
        return damaged(r, "%s.secret has no length of a key", where);
    out->secret = STEAL(secret);
    out->secret_len = (size_t)decoded;
    return 0;
}

static int get_key(struct reader *r, const json_t *json, const char *where, struct key_record *k)
{
    static const char *const members[] = {"name",    "type",      "secret",  "fingerprint",
                                          "created", "activated", "retired", NULL};
    static const enum provider_type types[] = {PROVIDER_AESCBC, PROVIDER_AESGCM,
                                               PROVIDER_SECRETBOX};
    static const char *const names[] = {"aescbc", "aesgcm", "secretbox"};
    size_t type = 0;
    char fingerprint[13];
    if (want_object(r, json, where, members) != 0 ||
        get_text(r, json, where, "name", KEY_NAME, &k->key.name) != 0 ||
        get_one_of(r, json, where, "type", names, ARRAY_LEN(types), &type) != 0)
        return -1;
    k->type = types[type];
    if (get_secret(r, json, where, k->type, &k->key) != 0 ||
        get_moment_or_null(r, json, where, "created", &k->created) != 0 ||
        get_moment_or_null(r, json, where, "activated", &k->activated) != 0 ||
        get_moment_or_null(r, json, where, "retired", &k->retired) != 0)
        return -1;
    encryption_key_fingerprint(&k->key, fingerprint);
    if (!str_eq(json_string_value(json_object_get(json, "fingerprint")), fingerprint))
        return damaged(r, "%s.fingerprint is not that of its secret", where);
    return 0;
}

static int get_keys(struct reader *r, const json_t *json, struct journal *j)
{
    const json_t *item;
    size_t i;
    if (!json_is_array(json))
        return damaged(r, "keys is not a list");
    json_array_foreach (json, i, item) {
        char *where CLEANUP(cleanup_mem) = mem_printf("keys[%zu]", i);
        MEM_GROW(j->keys, j->key_count);
        struct key_record *k = &j->keys[j->key_count];
        *k = (struct key_record){0};
        int failed = get_key(r, item, where, k);
        bool twice = !failed && journal_find_key(j, k->type, &k->key);
        j->key_count++;
        if (failed)
            return -1;
        if (twice)
            return damaged(r, "%s is there twice", where);
    }
    return 0;
}

int journal_from_json(const json_t *json, const char *name, struct journal **out, struct error *err)
{
    static const char *const members[] = {"version",    "sequence", "cluster", "generation",
                                          "transition", "last",     "nodes",   "custom",
                                          "keys",       NULL};
    static const char *const members_3[] = {"version",    "sequence",   "cluster",
                                            "generation", "transition", "nodes",
                                            "custom",     "keys",       NULL};
    static const char *const members_2[] = {"version",    "sequence", "cluster", "generation",
                                            "transition", "nodes",    "keys",    NULL};
    struct reader r = {.name = name, .err = err};
    struct journal *j CLEANUP(cleanup_journal) = mem_alloc(1, sizeof(*j));
    const json_t *owned = json_object_get(json, "owned");
    const json_t *kind = json_object_get(json, "kind");
    const char *latest[ARRAY_LEN(members) + 2] = {NULL};
    size_t count = 0;
    /* First, since a newer one may have other members. */
    if (!json_is_object(json))
        return damaged(&r, "the journal is not an object");
    if (get_number(&r, json, "journal", "version", 1, &r.version) != 0)
        return -1;
    if (r.version > JOURNAL_VERSION)
        return error_set(err, RESULT_REFUSED,
                         "%s: written by a newer encrypt (version %lld of the journal; this one "
                         "knows %d)",
                         name, (long long)r.version, JOURNAL_VERSION);
    for (; members[count]; count++)
        latest[count] = members[count];
    if (owned)
        latest[count++] = "owned";
    if (kind && r.version > 4)
        latest[count++] = "kind";
    if (want_object(&r, json, "journal",
                    r.version < 3   ? members_2
                    : r.version < 4 ? members_3
                                    : latest) != 0 ||
        (kind && get_text(&r, json, "journal", "kind", LINE, &j->kind) != 0) ||
        get_number(&r, json, "journal", "sequence", 1, &j->sequence) != 0 ||
        get_uuid(&r, json, "journal", "cluster", &j->cluster_id) != 0 ||
        get_number(&r, json, "journal", "generation", 0, &j->generation) != 0 ||
        get_transition(&r, json_object_get(json, "transition"), j) != 0 ||
        get_owned(&r, owned, j) != 0 || get_nodes(&r, json_object_get(json, "nodes"), j) != 0 ||
        (r.version > 2 && get_config(&r, json, "journal", "custom", &j->custom) != 0) ||
        (r.version > 3 && get_last(&r, json_object_get(json, "last"), &j->last) != 0) ||
        get_keys(&r, json_object_get(json, "keys"), j) != 0)
        return -1;
    *out = STEAL(j);
    return 0;
}
