/*
 * The drop-in by which a unit of kube-apiserver gets a flag, or loses one: the unit's own
 * ExecStart= once more, with the flag at the end, where it is the one that counts. The unit itself
 * and the administrator's files stay as they are. An empty value takes a flag away that the unit or
 * an environment file gives: kube-apiserver takes it for none.
 */
#ifndef ENCRYPT_TEMPLATES_UNIT_DROPIN_H
#define ENCRYPT_TEMPLATES_UNIT_DROPIN_H

#include "templates/unit_text.h"

/* Its name in <unit>.d: systemd reads drop-ins in the order of their names. */
#define UNIT_DROPIN_NAME "50-encrypt.conf"

/* `command`: an ExecStart= value as written; `flag`: the name without dashes; `value`: the path, or
 * NULL for none. */
void unit_dropin_write(const char *command, const char *flag, const char *value, struct buf *out);

/* True where the text is a drop-in of ours, whatever its ExecStart= is; *value: what its flag says,
 * NULL for none; to be freed. */
bool unit_dropin_read(const char *text, size_t len, char **value);

/* The drop-in that says ExecStart= and is read after ours, which has no effect then; NULL: there is
 * none. One of `files`, which are those of the unit without ours. */
const char *unit_dropin_overruled_by(const struct unit_file *files, size_t count);

/* REFUSED where a drop-in of ours would not do: there is no ExecStart= or more than one, a drop-in
 * of a later name says ExecStart= too, or an argument at the end would not reach kube-apiserver.
 * `files` are those of the unit without ours, `service` what they say. The error's next says what
 * to do; `value` as above. */
int unit_dropin_check(const struct unit_file *files, size_t count,
                      const struct unit_service *service, const char *flag, const char *value,
                      struct error *err) MUST_CHECK;

#endif
