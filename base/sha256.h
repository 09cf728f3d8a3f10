#ifndef ENCRYPT_BASE_SHA256_H
#define ENCRYPT_BASE_SHA256_H

#include <stddef.h>

/* Lower-case hexadecimal SHA-256; "none" where data is NULL. */
void sha256_hex(const void *data, size_t len, char out[65]);

#endif
