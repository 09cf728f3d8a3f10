#include "state/journal.h"

#include "base/user.h"
#include "state/journal_json.h"
#include "state/timestamp.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void transition_free(struct transition *t)
{
    if (!t)
        return;
    mem_free(t->id);
    mem_free(t->why);
    mem_free(t->opened);
    mem_free(t->by);
    mem_free(t->proved_at);
    encryption_config_free(t->from);
    encryption_config_free(t->to);
    encryption_config_free(t->custom);
    encryption_config_free(t->before);
    mem_free(t->started);
    mem_free(t);
}

void journal_set_kind(struct journal *j, const char *kind)
{
    char *copy = mem_strdup(kind);
    mem_free(j->kind);
    j->kind = copy;
}

bool journal_is_open(const struct journal *j)
{
    return j && (j->transition || j->owned);
}

static void node_file_set(struct node_file *f, const char *sha256, const char *process)
{
    char *new_sha256 = mem_strdup(sha256), *new_process = sha256 ? mem_strdup(process) : NULL;
    mem_free(f->sha256);
    mem_free(f->process);
    *f = (struct node_file){new_sha256, new_process};
}

void node_record_intend(struct node_record *n, const char *form, const char *process)
{
    char *new_form = mem_strdup(form), *new_process = form ? mem_strdup(process) : NULL;
    mem_free(n->intent_form);
    mem_free(n->intent_process);
    n->intent_form = new_form;
    n->intent_process = new_process;
}

void node_record_placed(struct node_record *n, const char *sha256, const char *process)
{
    node_file_set(&n->placed, sha256, process);
}

void node_record_runs(struct node_record *n, const char *sha256, const char *process)
{
    node_file_set(&n->runs, sha256, process);
}

void node_record_path(struct node_record *n, const char *path)
{
    char *copy = mem_strdup(path);
    mem_free(n->path);
    n->path = copy;
}

static void node_record_clear(struct node_record *n)
{
    mem_free(n->path);
    node_record_intend(n, NULL, NULL);
    node_record_placed(n, NULL, NULL);
    node_record_runs(n, NULL, NULL);
    mem_free(n->address);
}

static void owned_record_free(struct owned_record *o)
{
    if (!o)
        return;
    mem_free(o->why);
    mem_free(o->opened);
    mem_free(o->by);
    mem_free(o->proved_at);
    encryption_config_free(o->from);
    mem_free(o);
}

void journal_free(struct journal *j)
{
    if (!j)
        return;
    for (size_t i = 0; i < j->node_count; i++)
        node_record_clear(&j->nodes[i]);
    for (size_t i = 0; i < j->key_count; i++) {
        struct key_record *k = &j->keys[i];
        mem_free(k->key.name);
        mem_free(k->key.secret);
        mem_free(k->created);
        mem_free(k->activated);
        mem_free(k->retired);
    }
    mem_free(j->nodes);
    mem_free(j->keys);
    transition_free(j->transition);
    owned_record_free(j->owned);
    mem_free(j->last.why);
    mem_free(j->last.closed);
    encryption_config_free(j->custom);
    mem_free(j->cluster_id);
    mem_free(j->kind);
    mem_free(j->sidecar_path);
    mem_free(j);
}

void cleanup_journal(struct journal **j)
{
    journal_free(*j);
}

void journal_keep_nodes(struct journal *j, const char *const *addresses)
{
    size_t kept = 0;
    for (size_t i = 0; i < j->node_count; i++) {
        bool keep = false;
        for (size_t k = 0; addresses[k]; k++)
            keep = keep || str_eq(addresses[k], j->nodes[i].address);
        if (keep)
            j->nodes[kept++] = j->nodes[i];
        else
            node_record_clear(&j->nodes[i]);
    }
    j->node_count = kept;
}

bool journal_forget_node(struct journal *j, const char *address)
{
    for (size_t i = 0; i < j->node_count; i++) {
        if (!str_eq(j->nodes[i].address, address))
            continue;
        node_record_clear(&j->nodes[i]);
        j->nodes[i] = j->nodes[--j->node_count];
        return true;
    }
    return false;
}

const struct node_record *journal_seen_node(const struct journal *j, const char *address)
{
    for (size_t i = 0; i < j->node_count; i++)
        if (str_eq(j->nodes[i].address, address))
            return &j->nodes[i];
    return NULL;
}

struct node_record *journal_node(struct journal *j, const char *address)
{
    for (size_t i = 0; i < j->node_count; i++)
        if (str_eq(j->nodes[i].address, address))
            return &j->nodes[i];
    MEM_GROW(j->nodes, j->node_count);
    struct node_record *n = &j->nodes[j->node_count++];
    *n = (struct node_record){.address = mem_strdup(address)};
    return n;
}

struct key_record *journal_find_key(const struct journal *j, enum provider_type type,
                                    const struct encryption_key *k)
{
    for (size_t i = 0; i < j->key_count; i++) {
        struct key_record *r = &j->keys[i];
        if (r->type == type && r->key.secret_len == k->secret_len && str_eq(r->key.name, k->name) &&
            CRYPTO_memcmp(r->key.secret, k->secret, k->secret_len) == 0)
            return r;
    }
    return NULL;
}

void journal_append_key(struct journal *j, const struct key_record *record)
{
    const struct encryption_key *k = &record->key;
    MEM_GROW(j->keys, j->key_count);
    struct key_record *r = &j->keys[j->key_count++];
    *r = (struct key_record){.type = record->type,
                             .created = mem_strdup(record->created),
                             .activated = mem_strdup(record->activated),
                             .retired = mem_strdup(record->retired)};
    r->key.name = mem_strdup(k->name);
    r->key.secret = mem_alloc(k->secret_len, 1);
    memcpy(r->key.secret, k->secret, k->secret_len);
    r->key.secret_len = k->secret_len;
}

void journal_add_key(struct journal *j, enum provider_type type, const struct encryption_key *k)
{
    char *now CLEANUP(cleanup_mem) = timestamp_now();
    if (!journal_find_key(j, type, k))
        journal_append_key(j, &(struct key_record){.key = *k, .type = type, .created = now});
}

/* Calls `visit` for every key of the configuration (NULL: none). */
static void each_key(struct journal *j, const struct encryption_config *c,
                     void (*visit)(struct journal *, enum provider_type,
                                   const struct encryption_key *))
{
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t p = 0; p < c->items[i].provider_count; p++) {
            const struct encryption_provider *provider = &c->items[i].providers[p];
            for (size_t k = 0; k < provider->key_count; k++)
                visit(j, provider->type, &provider->keys[k]);
        }
}

static void add_found(struct journal *j, enum provider_type type, const struct encryption_key *k)
{
    if (!journal_find_key(j, type, k))
        journal_append_key(j, &(struct key_record){.key = *k, .type = type});
}

void journal_add_config_keys(struct journal *j, const struct encryption_config *c)
{
    each_key(j, c, add_found);
}

static char *user_and_host(void)
{
    char *user CLEANUP(cleanup_mem) = user_name();
    char host[256] = {0};
    if (gethostname(host, sizeof(host) - 1) != 0 || !*host)
        memcpy(host, "localhost", sizeof("localhost"));
    return user ? mem_printf("%s@%s", user, host)
                : mem_printf("%lu@%s", (unsigned long)geteuid(), host);
}

void journal_open(struct journal *j, const char *why, const struct encryption_config *from,
                  const struct encryption_config *to, const struct encryption_config *custom)
{
    struct error err CLEANUP(error_clear) = {0};
    struct transition *t = mem_alloc(1, sizeof(*t));
    if (j->transition || !(t->id = journal_uuid(&err)))
        abort();
    t->why = mem_strdup(why);
    t->opened = timestamp_now();
    t->by = user_and_host();
    t->from = from ? encryption_config_copy(from) : NULL;
    t->to = to ? encryption_config_copy(to) : NULL;
    t->custom = custom ? encryption_config_copy(custom) : NULL;
    j->transition = t;
    j->generation++;
    each_key(j, from, add_found);
    each_key(j, to, journal_add_key);
}

/* The name that the form of an intent has on the way back. */
static const char *turned(const char *form)
{
    static const char *const names[][2] = {
        {"from", "narrow"}, {"widen", "switch"}, {"switch", "widen"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(form, names[i][0]))
            return names[i][1];
    return NULL;
}

void journal_abort(struct journal *j)
{
    struct transition *t = j->transition;
    if (!t || t->aborting || t->stage != TRANSITION_OPEN)
        abort();
    t->aborting = true;
    t->requested = t->rewritten = t->proved = false;
    for (size_t i = 0; i < j->node_count; i++) {
        struct node_record *n = &j->nodes[i];
        char *process CLEANUP(cleanup_mem) = mem_strdup(n->intent_process);
        node_record_intend(n, turned(n->intent_form), process);
    }
    j->generation++;
}

void journal_narrow(struct journal *j)
{
    if (!j->transition || !j->transition->proved)
        abort();
    j->transition->stage = TRANSITION_NARROWING;
    j->generation++;
}

void journal_reopen(struct journal *j)
{
    struct transition *t = j->transition;
    if (!t || t->stage != TRANSITION_NARROWING)
        abort();
    t->stage = TRANSITION_OPEN;
    t->reopened = true;
    t->rewritten = t->proved = false;
    j->generation++;
}

static void set_now(char **moment)
{
    if (!*moment)
        *moment = timestamp_now();
}

/* A key of what is left: those of what is gone to are taken back by activate(), which comes after.
 */
static void retire(struct journal *j, enum provider_type type, const struct encryption_key *k)
{
    set_now(&journal_find_key(j, type, k)->retired);
}

/* Nothing is activated while a transition is open: what is in use now was so before it. */
static void retire_unused(struct journal *j, enum provider_type type,
                          const struct encryption_key *k)
{
    struct key_record *r = journal_find_key(j, type, k);
    if (!r->activated)
        set_now(&r->retired);
}

static void activate(struct journal *j, enum provider_type type, const struct encryption_key *k)
{
    struct key_record *r = journal_find_key(j, type, k);
    set_now(&r->activated);
    mem_free(STEAL(r->retired));
}

void journal_take_over(struct journal *j, const struct encryption_config *c)
{
    each_key(j, c, add_found);
    each_key(j, c, activate);
}

void journal_close(struct journal *j)
{
    struct transition *t = j->transition;
    if (!t)
        abort();
    /* They entered when it was opened, but the journal may have been edited since. */
    each_key(j, t->from, add_found);
    each_key(j, t->to, journal_add_key);
    each_key(j, t->aborting ? t->to : t->from,
             t->aborting && t->stage == TRANSITION_OPEN ? retire_unused : retire);
    each_key(j, t->aborting ? t->from : t->to, activate);
    j->generation++;
    for (size_t i = 0; i < j->node_count; i++)
        node_record_intend(&j->nodes[i], NULL, NULL);
    if (!t->aborting)
        journal_set_custom(j, t->custom);
    mem_free(j->last.why);
    mem_free(j->last.closed);
    j->last = (struct finished){mem_strdup(t->why), t->aborting, timestamp_now()};
    j->transition = NULL;
    transition_free(t);
}

void journal_open_owned(struct journal *j, const char *why, const struct encryption_config *from)
{
    if (j->transition || j->owned)
        abort();
    j->owned = mem_alloc(1, sizeof(*j->owned));
    *j->owned = (struct owned_record){.why = mem_strdup(why),
                                      .opened = timestamp_now(),
                                      .by = user_and_host(),
                                      .from = encryption_config_copy(from)};
    j->generation++;
    each_key(j, from, add_found);
    if (encryption_active_key(from))
        each_key(j, from, activate);
}

void journal_close_owned(struct journal *j, const struct encryption_config *to, bool aborted)
{
    struct owned_record *o = j->owned;
    if (!o)
        abort();
    if (to) {
        each_key(j, o->from, add_found);
        each_key(j, to, add_found);
        each_key(j, o->from, retire);
        /* (A key that only reads, after disabling, is not in use.) */
        if (encryption_active_key(to))
            each_key(j, to, activate);
    }
    j->generation++;
    mem_free(j->last.why);
    mem_free(j->last.closed);
    j->last = (struct finished){mem_strdup(o->why), aborted, timestamp_now()};
    j->owned = NULL;
    owned_record_free(o);
}

bool journal_set_custom(struct journal *j, const struct encryption_config *custom)
{
    if (encryption_config_equal(j->custom, custom))
        return false;
    struct encryption_config *copy = custom ? encryption_config_copy(custom) : NULL;
    encryption_config_free(j->custom);
    j->custom = copy;
    return true;
}

char *journal_uuid(struct error *err)
{
    unsigned char b[16];
    if (RAND_bytes(b, sizeof(b)) != 1) {
        error_set(err, RESULT_FAILED, "no random numbers from libcrypto");
        return NULL;
    }
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    return mem_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                      b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
                      b[13], b[14], b[15]);
}

/* Five of 36 letters and digits, each as likely as the next. */
static int random_name(char name[sizeof("key-12345")])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    memcpy(name, "key-", 4);
    for (size_t i = 4; i < sizeof("key-12345") - 1;) {
        unsigned char b;
        if (RAND_bytes(&b, 1) != 1)
            return -1;
        if (b < 256 - 256 % 36)
            name[i++] = letters[b % 36];
    }
    name[sizeof("key-12345") - 1] = '\0';
    return 0;
}

static bool name_is_taken(const struct journal *j, const char *name)
{
    for (size_t i = 0; i < j->key_count; i++)
        if (str_eq(j->keys[i].key.name, name))
            return true;
    return false;
}

int journal_fresh_key(const struct journal *j, struct encryption_key *out, struct error *err)
{
    enum { TRIES = 1000, LENGTH = 32 };
    char name[sizeof("key-12345")];
    int tries = 0;
    do {
        if (random_name(name) != 0)
            return error_set(err, RESULT_FAILED, "making a key: no random numbers from libcrypto");
        if (tries++ == TRIES)
            return error_set(err, RESULT_FAILED, "making a key: every name tried is taken");
    } while (name_is_taken(j, name));

    unsigned char *secret CLEANUP(cleanup_mem) = mem_alloc(LENGTH, 1);
    if (RAND_priv_bytes(secret, LENGTH) != 1)
        return error_set(err, RESULT_FAILED, "making a key: no random numbers from libcrypto");
    *out = (struct encryption_key){mem_strdup(name), STEAL(secret), LENGTH};
    return 0;
}
