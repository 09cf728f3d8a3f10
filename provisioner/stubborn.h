/* Objects that could not be rewritten: what their answers mean, and what to do. Pure. */
#ifndef ENCRYPT_PROVISIONER_STUBBORN_H
#define ENCRYPT_PROVISIONER_STUBBORN_H

#include "base/buf.h"
#include "provisioner/kube/rewrite.h"

enum { STUBBORN_SHOWN = 20 };

/*
 * Appends the objects grouped by cause, each cause with what it means, what kube-apiserver said of
 * the first one, and what to do about it; STUBBORN_SHOWN objects at most, and how many more there
 * are. Each line is indented and ends with a newline.
 *
 * list, kept: what is known; more: how many there are besides. etcd_prefix: "/registry".
 */
void stubborn_explain(const struct resource *r, const struct stubborn *list, size_t kept,
                      size_t more, const char *etcd_prefix, struct buf *out);

#endif
