#include "provisioner/reload.h"

#include "provisioner/kube/metrics.h"
#include "provisioner/session.h"

#include <stdlib.h>
#include <string.h>

#define CONTROLLER "apiserver_encryption_config_controller_"

enum { ASK_MS = 30000, ASK_TIMES = 2, AN_HOUR_MS = 3600000 };

/* "sha256:" and 64 digits. */
static bool read_hash(const char *text, char out[65])
{
    static const char prefix[] = "sha256:";
    if (!text || !str_starts(text, prefix))
        return false;
    const char *hex = text + strlen(prefix);
    if (strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64)
        return false;
    memcpy(out, hex, 65);
    return true;
}

/* One counter with a label since 1.28 or so, two without before. */
static double count(const char *metrics, const char *status, const char *older, bool *counted)
{
    const struct metric_label label = {"status", status};
    bool found = false, found_older = false;
    double now = metrics_sum(metrics, CONTROLLER "automatic_reloads_total", &label, 1, &found);
    double before = metrics_sum(metrics, older, NULL, 0, &found_older);
    *counted = *counted || found || found_older;
    /* (Some versions have both: they count the same.) */
    return found ? now : before;
}

void reload_read(const char *metrics, struct reload_seen *out)
{
    *out = (struct reload_seen){0};
    char *hash CLEANUP(cleanup_mem) = metrics_label(metrics, CONTROLLER "last_config_info", "hash");
    out->told = read_hash(hash, out->sha256);
    out->successes =
        count(metrics, "success", CONTROLLER "automatic_reload_success_total", &out->counted);
    out->failures =
        count(metrics, "failure", CONTROLLER "automatic_reload_failures_total", &out->counted);
}

int64_t reload_longest_request_ms(const struct session *s)
{
    int64_t longest = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct apiserver *seen = &s->members[i].seen;
        int64_t ms = seen->automatic_reload && seen->config_path
                         ? reload_request_timeout_ms(apiserver_flag(seen, "request-timeout"))
                         : 0;
        longest = ms > longest ? ms : longest;
    }
    return longest;
}

int64_t reload_request_timeout_ms(const char *flag)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
    if (!flag)
        return RELOAD_REQUEST_TIMEOUT_MS;
    double sum = 0;
    for (const char *at = flag; *at;) {
        char *end = NULL;
        double n = strtod(at, &end);
        size_t u = 0;
        while (u < ARRAY_LEN(units) && !str_starts(end, units[u].unit))
            u++;
        if (end == at || u == ARRAY_LEN(units) || !(n >= 0))
            return AN_HOUR_MS;
        sum += n * units[u].ms;
        at = end + strlen(units[u].unit);
    }
    return *flag && sum < AN_HOUR_MS ? (int64_t)sum : AN_HOUR_MS;
}

int member_ask_reload(struct member *m, struct error *err)
{
    m->reload = (struct reload_seen){0};
    if (!m->seen.automatic_reload || !m->seen.running || !m->node.api.url || !m->node.api.cert)
        return 0;
    /* (A big cluster has tens of megabytes of them.) */
    for (int i = 0; i < ASK_TIMES; i++) {
        struct http_request r CLEANUP(http_reset) = {.server = &m->node.api,
                                                     .method = "GET",
                                                     .path = mem_strdup("/metrics"),
                                                     .accept = "text/plain",
                                                     .timeout_ms = ASK_MS};
        struct http_request *one[] = {&r};
        if (http_perform_all(one, 1, err) < 0)
            return -1;
        if (r.status == 200) {
            reload_read(buf_str(&r.answer), &m->reload);
            return 0;
        }
    }
    return 0;
}

int reload_check_in_force(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (m->joins || !m->seen.config_path)
            continue;
        if (member_ask_reload(m, err) < 0)
            return -1;
        if (!m->reload.told || str_eq(m->reload.sha256, m->file_sha256))
            continue;
        error_set(err, RESULT_REFUSED,
                  "node %s: %s is not what its kube-apiserver has in force (automatic reload: its "
                  "metric tells another SHA-256): it was changed a moment ago, or it fails to load "
                  "(%.0f failures counted), and the last good one stays in force",
                  m->node.name, m->config_path, m->reload.failures);
        error_next(err,
                   "wait a minute (it looks at the file every %d s), then run the same command "
                   "again; where it stays so: encrypt doctor --config %s",
                   RELOAD_POLL_MS / 1000, s->options->config);
        return -1;
    }
    return 0;
}

int reload_check_can_go(const struct session *s, const struct encryption_config *to,
                        struct error *err)
{
    static const char flag[] = "encryption-provider-config-automatic-reload";
    const struct yaml *told =
        yaml_path(s->cluster->document, "services", "kube-api", "extra_args", flag, NULL);
    const char *where = NULL;
    if (to && to->item_count)
        return 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        if (m->seen.automatic_reload && !m->node.driver->drops_reload)
            where = m->node.name;
    }
    if (!where && yaml_is_null(told))
        return 0;
    if (where)
        error_set(err, RESULT_REFUSED,
                  "node %s: its kube-apiserver has --%s, and does not start with that and without "
                  "a configuration",
                  where, flag);
    else
        error_set(err, RESULT_REFUSED,
                  "%s:%zu: extra_args has %s: a kube-apiserver that is deployed with that and "
                  "without a configuration does not start",
                  s->cluster->path, told->line, flag);
    error_next(err,
               "take that flag away where kube-apiserver has it from, on one node after the other, "
               "each ready before the next; then run the same command again");
    return -1;
}
