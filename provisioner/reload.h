/*
 * Automatic reload (--encryption-provider-config-automatic-reload, Kubernetes 1.26 and later): the
 * apiserver looks at its file every 60 s, and what lies there takes effect while the process stays
 * the same; a file that fails to load leaves the last good one in force. So its process is no
 * evidence of what it runs. From about 1.34 on a metric tells the SHA-256 of the file that is in
 * force: that counts, asked anew each time. Before, nothing tells, and a file counts only after a
 * restart that came after it was put.
 */
#ifndef ENCRYPT_PROVISIONER_RELOAD_H
#define ENCRYPT_PROVISIONER_RELOAD_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RELOAD_POLL_MS = 60000,
    RELOAD_REQUEST_TIMEOUT_MS = 60000, /* kube-apiserver's own default of --request-timeout */
};

/* What an apiserver tells of its reloads. */
struct reload_seen {
    bool told;        /* which file is in force */
    char sha256[65];  /* its SHA-256, lower-case hexadecimal; "" where it isn't told */
    bool counted;     /* whether it counts what failed to load */
    double successes; /* since it started; 0 where it isn't counted */
    double failures;
};

/* Reads the text of /metrics, of any version. */
void reload_read(const char *metrics, struct reload_seen *out);

/* How long a write of an apiserver may be under way in it after a reload, by its --request-timeout
 * (a duration as Go writes it; NULL: its default): what it had encrypted before may still be sent.
 * What can't be read counts as one hour. */
int64_t reload_request_timeout_ms(const char *flag);

struct encryption_config;
struct member;
struct session;

/* The longest of those of the members that have automatic reload: where an apiserver took a file up
 * by itself the sender lives on, and what it had encrypted with the old key may wait in it as long
 * as a request may take. 0: none has. */
int64_t reload_longest_request_ms(const struct session *s);

/* Asks the member's apiserver, where it has automatic reload, runs and is known how to be reached;
 * fills member->reload. No answer is no error: then nothing is told. The error is for INTERRUPTED.
 */
int member_ask_reload(struct member *m, struct error *err) MUST_CHECK;

/* REFUSED where what some apiserver with automatic reload has in force is told, and is another file
 * than lies on its node: it was changed a moment ago, or failed to load. Asks each of them. */
int reload_check_in_force(struct session *s, struct error *err) MUST_CHECK;

/* An apiserver with that flag and no configuration does not start: it would be seen when narrowing
 * has begun. So, where `to` (NULL: none) is to have none, REFUSED where an apiserver has the flag
 * and its driver doesn't take it away with the other; and where cluster.yml gives it, since what
 * deploys the apiservers would not take it away. */
int reload_check_can_go(const struct session *s, const struct encryption_config *to,
                        struct error *err) MUST_CHECK;

#endif
