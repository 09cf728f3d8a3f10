/* Counters that an apiserver tells of itself, in Prometheus' text format. */
#ifndef ENCRYPT_PROVISIONER_KUBE_METRICS_H
#define ENCRYPT_PROVISIONER_KUBE_METRICS_H

#include "provisioner/net/http.h"

struct metric_label {
    const char *name, *value;
};

/* The sum over the lines of this counter that have all of these labels (others may stand beside
 * them). *found: there is such a line. Lines that can't be read are passed over. */
double metrics_sum(const char *text, const char *counter, const struct metric_label *labels,
                   size_t count, bool *found);

/* The value of `label` in the one line of this metric whose number is not 0; NULL where there is no
 * such line, or several that differ. To be freed. */
char *metrics_label(const char *text, const char *metric, const char *label);

/* GET /metrics: the text, for metrics_sum(). */
int kube_metrics(const struct http_server *s, struct buf *out, struct error *err) MUST_CHECK;

#endif
