/*
 * The messages by which a KMS plugin is asked whether it is well, as gRPC carries them in a body:
 * one byte (0: not compressed), four of length, a protobuf of texts. Pure functions. Source:
 * k8s.io/kms apis v1beta1 and v2, grpc's PROTOCOL-HTTP2.
 */
#ifndef ENCRYPT_PROVISIONER_KMS_FRAME_H
#define ENCRYPT_PROVISIONER_KMS_FRAME_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

/* More than any plugin's answer has: a key id has at most 1 KiB. */
enum { KMS_FRAME_LIMIT = 8192 };

/* The path of the call, and its body: v1beta1's Version, v2's Status. */
const char *kms_ask_path(bool v2);
void kms_ask(bool v2, struct buf *out);

/* Checks the answer's body. `err` (FAILED): what is wrong with it; texts of the plugin's are made
 * printable and cut. *about: what it says of itself (v1: "encrypt-testbed 1.0", v2: its key id), to
 * be freed. */
int kms_answer_check(bool v2, const void *body, size_t len, char **about,
                     struct error *err) MUST_CHECK;

#endif
