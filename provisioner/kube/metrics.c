#include "provisioner/kube/metrics.h"

#include "provisioner/kube/list.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One label at `at` ("name=\"value\""): its end behind the quote, NULL where it is none. The value
 * is unescaped into `value`. */
static const char *read_label(const char *at, const char *end, const char **name, size_t *name_len,
                              struct buf *value)
{
    const char *equals = memchr(at, '=', (size_t)(end - at));
    if (!equals || equals + 1 >= end || equals[1] != '"')
        return NULL;
    *name = at;
    *name_len = (size_t)(equals - at);
    buf_reset(value);
    for (const char *c = equals + 2; c < end; c++) {
        if (*c == '"')
            return c + 1;
        if (*c == '\\' && c + 1 < end && *++c == 'n')
            buf_adds(value, "\n");
        else
            buf_add(value, c, 1);
    }
    return NULL;
}

/* `at` is behind the brace. Gives what follows the closing one, NULL where that is missing; *has:
 * all the labels stand there. */
static const char *match_labels(const char *at, const char *end, const struct metric_label *labels,
                                size_t count, bool *has)
{
    struct buf value CLEANUP(buf_free) = {0};
    size_t matched = 0;
    while (at < end && *at != '}') {
        const char *name = NULL;
        size_t len = 0;
        at = read_label(at, end, &name, &len, &value);
        if (!at)
            return NULL;
        for (size_t i = 0; i < count; i++)
            matched += strlen(labels[i].name) == len && strncmp(labels[i].name, name, len) == 0 &&
                       str_eq(labels[i].value, buf_str(&value));
        while (at < end && (*at == ',' || *at == ' '))
            at++;
    }
    *has = matched == count;
    return at < end ? at + 1 : NULL;
}

double metrics_sum(const char *text, const char *counter, const struct metric_label *labels,
                   size_t count, bool *found)
{
    size_t len = strlen(counter);
    double sum = 0;
    *found = false;
    for (const char *line = text; *line;) {
        const char *end = line + strcspn(line, "\n");
        if (strncmp(line, counter, len) == 0 && line[len] == '{') {
            bool has = false;
            const char *number = match_labels(line + len + 1, end, labels, count, &has);
            char *rest = NULL;
            double value = number && has ? strtod(number, &rest) : 0;
            if (rest && rest > number && rest <= end && isfinite(value)) {
                *found = true;
                sum += value;
            }
        }
        line = *end ? end + 1 : end;
    }
    return sum;
}

/* What the label of the line is; `at` is behind the brace. *number: what follows the labels. */
static char *find_label(const char *at, const char *end, const char *label, const char **number)
{
    struct buf value CLEANUP(buf_free) = {0};
    char *found CLEANUP(cleanup_mem) = NULL;
    while (at < end && *at != '}') {
        const char *name = NULL;
        size_t len = 0;
        at = read_label(at, end, &name, &len, &value);
        if (!at)
            return NULL;
        if (!found && strlen(label) == len && strncmp(label, name, len) == 0)
            found = mem_strdup(buf_str(&value));
        while (at < end && (*at == ',' || *at == ' '))
            at++;
    }
    *number = at < end ? at + 1 : NULL;
    return STEAL(found);
}

char *metrics_label(const char *text, const char *metric, const char *label)
{
    size_t len = strlen(metric);
    char *one CLEANUP(cleanup_mem) = NULL;
    for (const char *line = text; *line;) {
        const char *end = line + strcspn(line, "\n"), *number = NULL;
        char *value CLEANUP(cleanup_mem) = NULL;
        if (strncmp(line, metric, len) == 0 && line[len] == '{')
            value = find_label(line + len + 1, end, label, &number);
        char *rest = NULL;
        double set = value && number ? strtod(number, &rest) : 0;
        if (rest && rest > number && rest <= end && isfinite(set) && set > 0) {
            if (one && !str_eq(one, value))
                return NULL;
            mem_free(one);
            one = STEAL(value);
        }
        line = *end ? end + 1 : end;
    }
    return STEAL(one);
}

int kube_metrics(const struct http_server *s, struct buf *out, struct error *err)
{
    struct http_request r CLEANUP(http_reset) = {
        .server = s, .method = "GET", .path = mem_strdup("/metrics"), .accept = "text/plain"};
    if (kube_perform(&r, err) < 0)
        return -1;
    if (r.status != 200)
        return http_error(&r, err);
    buf_add(out, buf_str(&r.answer), r.answer.len);
    return 0;
}
