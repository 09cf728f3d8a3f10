#include "provisioner/stamp.h"

#include "state/json_text.h"
#include "state/timestamp.h"

#include <string.h>

enum { VERSION = 1 };

void stamp_free(struct stamp *s)
{
    mem_free(s->cluster);
    mem_free(s->transition);
    mem_free(s->by);
    mem_free(s->at);
    *s = (struct stamp){0};
}

int stamp_parse(const char *text, size_t len, const char *name, struct stamp *out,
                struct error *err)
{
    json_t *json CLEANUP(cleanup_json) = NULL;
    const char *cluster = NULL, *transition = NULL, *by = NULL, *at = NULL;
    json_int_t version = 0, generation = -1;
    if (json_text_read(text, len, name, &json, err) < 0)
        return -1;
    if (json_unpack(json, "{s:I}", "version", &version) == 0 && version > VERSION)
        return error_set(err, RESULT_REFUSED, "%s: written by a newer encrypt (version %lld)", name,
                         (long long)version);
    if (json_unpack(json, "{s:I, s:s, s:I, s:s, s:s, s:s}", "version", &version, "cluster",
                    &cluster, "generation", &generation, "transition", &transition, "by", &by, "at",
                    &at) < 0 ||
        version < 1 || generation < 0)
        return error_set(err, RESULT_REFUSED, "%s: damaged: not what encrypt writes there", name);
    *out = (struct stamp){.cluster = mem_strdup(cluster),
                          .transition = mem_strdup(transition),
                          .by = mem_strdup(by),
                          .at = mem_strdup(at),
                          .generation = generation};
    return 0;
}

void stamp_write(const struct journal *j, const char *by, struct buf *out)
{
    char *now CLEANUP(cleanup_mem) = timestamp_now();
    json_t *json CLEANUP(cleanup_json) =
        json_pack("{s:i, s:s, s:I, s:s, s:s, s:s}", "version", VERSION, "cluster", j->cluster_id,
                  "generation", (json_int_t)j->generation, "transition",
                  j->transition ? j->transition->id : "", "by", by, "at", now);
    json_text_write(json, out);
    buf_adds(out, "\n");
}

char *stamp_path(const struct member *m)
{
    return mem_printf("%s.encrypt", m->config_path);
}

int stamp_read(struct member *m, struct stamp *out, bool *found, struct error *err)
{
    char *path CLEANUP(cleanup_mem) = stamp_path(m);
    char *name CLEANUP(cleanup_mem) = mem_printf("node %s: %s", m->node.name, path);
    struct buf text CLEANUP(buf_free) = {0};
    bool missing = true;
    *found = false;
    if (m->node.driver->read_file(&m->node, path, &text, &missing, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    if (missing)
        return 0;
    *found = true;
    if (stamp_parse(buf_str(&text), text.len, name, out, err) == 0)
        return 0;
    error_next(err, "encrypt doctor");
    return -1;
}

int stamp_judge(const struct stamp *s, const struct journal *j, const char *node,
                const char *state_path, struct error *err)
{
    const char *own = j->transition ? j->transition->id : "";
    if (!str_eq(s->cluster, j->cluster_id)) {
        error_set(
            err, RESULT_REFUSED,
            "node %s was last changed with the state file of the cluster %s (generation %lld, "
            "by %s, %s), and %s is of %s (generation %lld): another cluster's file, or one "
            "that was made anew",
            node, s->cluster, (long long)s->generation, s->by, s->at, state_path, j->cluster_id,
            (long long)j->generation);
        error_next(err, "use the state file that belongs to these nodes, with the .encrypt-state "
                        "beside it; where both are lost: encrypt doctor");
        return -1;
    }
    if (s->generation > j->generation) {
        error_set(
            err, RESULT_REFUSED,
            "node %s was last changed with generation %lld of the state file (by %s, %s), and "
            "%s has generation %lld: this is an older copy",
            node, (long long)s->generation, s->by, s->at, state_path, (long long)j->generation);
        error_next(err, "use the newest state file, with the .encrypt-state beside it (--state); "
                        "where it is lost: encrypt doctor");
        return -1;
    }
    if (s->generation == j->generation && !str_eq(s->transition, own)) {
        error_set(err, RESULT_REFUSED,
                  "node %s was last changed with generation %lld of the state file (by %s, %s), in "
                  "another transition than %s has of that generation: two copies of the state file "
                  "went apart",
                  node, (long long)s->generation, s->by, s->at, state_path);
        error_next(err, "use the state file of the one who changed the nodes (--state)");
        return -1;
    }
    return s->generation == j->generation;
}

/* There is none, and the nodes tell of one. */
static int refuse_lost_state(const struct session *s, const struct member *m,
                             const struct stamp *stamp, struct error *err)
{
    error_clear(err);
    error_set(err, RESULT_REFUSED,
              "there is no state file %s, and node %s was last changed with one (cluster %s, "
              "generation %lld, by %s, %s): a new one would lack its keys",
              s->state_path, m->node.name, stamp->cluster, (long long)stamp->generation, stamp->by,
              stamp->at);
    error_next(err,
               "use that state file, with the .encrypt-state beside it (--state); where it is "
               "lost: encrypt doctor --config %s --write-state    (makes it anew of what the nodes "
               "have)",
               s->options->config);
    return -1;
}

int stamp_check(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        struct stamp stamp CLEANUP(stamp_free) = {0};
        bool found = false;
        m->stamped = false;
        if (m->unread)
            continue;
        if (stamp_read(m, &stamp, &found, err) < 0)
            return -1;
        int rc = found ? stamp_judge(&stamp, s->journal, m->node.name, s->state_path, err) : 0;
        if (rc < 0)
            return s->state_missing ? refuse_lost_state(s, m, &stamp, err) : -1;
        m->stamped = rc > 0;
    }
    return 0;
}

int stamp_claim(struct session *s, struct member *m, struct error *err)
{
    char *path CLEANUP(cleanup_mem) = stamp_path(m);
    struct buf text CLEANUP(buf_free) = {0};
    struct stamp there CLEANUP(stamp_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    bool claimed = false, found = false;
    if (m->stamped)
        return 0;
    stamp_write(s->journal, s->who, &text);
    struct node_text file = {path, buf_str(&text), text.len};
    int rc = m->node.driver->claim_file(&m->node, &file, &claimed, &e);
    if (rc == 0 && claimed) {
        m->stamped = true;
        return 0;
    }
    /* Somebody's is there: another's who was quicker, or whose run has cleared ours away; our own,
     * of before, or of a call whose answer was lost. */
    if (stamp_read(m, &there, &found, err) < 0)
        return -1;
    if (!found)
        return rc < 0
               ? error_wrap(&e, "node %s", m->node.name),
               error_move(err, &e)
               : error_set(err, RESULT_FAILED, "node %s: %s comes and goes", m->node.name, path);
    int own = stamp_judge(&there, s->journal, m->node.name, s->state_path, err);
    if (own < 0)
        return -1;
    m->stamped = own > 0;
    return stamp_put(s, m, err);
}

int stamp_put(struct session *s, struct member *m, struct error *err)
{
    char *path CLEANUP(cleanup_mem) = stamp_path(m);
    struct buf text CLEANUP(buf_free) = {0};
    if (m->stamped)
        return 0;
    stamp_write(s->journal, s->who, &text);
    struct node_text file = {path, buf_str(&text), text.len};
    if (m->node.driver->put_file(&m->node, &file, NULL, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    m->stamped = true;
    return 0;
}
