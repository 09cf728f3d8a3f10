/*
 * A systemd unit of a node, by systemctl and journalctl. `unit` is its whole name
 * ("kube-apiserver.service"). What changes something runs as root; looking does where systemd
 * doesn't tell the SSH user.
 */
#ifndef ENCRYPT_PROVISIONER_HOST_UNIT_H
#define ENCRYPT_PROVISIONER_HOST_UNIT_H

#include "provisioner/host/host.h"

/* What `systemctl show` tells: "Name=value" each, NULL-terminated. {0} before. */
struct host_unit {
    char **properties;
};
void host_unit_free(struct host_unit *u); /* also for CLEANUP */

/* A unit that isn't there is no error: its LoadState is "not-found". */
int host_unit_show(const struct host *h, const char *unit, struct host_unit *out,
                   struct error *err) MUST_CHECK;

/* A property's value; "" where it is empty, or where this version of systemd has none of that name.
 * Not owned. */
const char *host_unit_get(const struct host_unit *u, const char *name);

/* The main process; *found is false where there is none, or where systemd has not yet executed the
 * unit's program in it. */
int host_unit_process(const struct host *h, const struct host_unit *u, struct host_process *out,
                      bool *found, struct error *err) MUST_CHECK;

/* systemctl daemon-reload */
int host_units_reload(const struct host *h, struct error *err) MUST_CHECK;

/* Asks for a restart (a start, where it doesn't run), and doesn't wait for it. One that failed, or
 * was started too often, is forgiven. */
int host_unit_restart(const struct host *h, const char *unit, struct error *err) MUST_CHECK;

/* Its last log lines, as log_add_safe_lines() leaves them: what its processes said; what systemd
 * says of it only where they said nothing. */
int host_unit_log(const struct host *h, const char *unit, size_t lines, struct buf *out,
                  struct error *err) MUST_CHECK;
/* The same from what journalctl gave (-o short), for its test. */
void host_unit_log_lines(const char *text, size_t lines, struct buf *out);

#endif
