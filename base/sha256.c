#include "base/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sha256_hex(const void *data, size_t len, char out[65])
{
    if (!data) {
        memcpy(out, "none", 5);
        return;
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (!EVP_Digest(data, len, digest, &size, EVP_sha256(), NULL) || size != 32)
        abort();
    for (unsigned i = 0; i < size; i++)
        snprintf(out + (size_t)2 * i, 3, "%02x", digest[i]);
}
