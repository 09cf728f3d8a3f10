/* libFuzzer: what rke2's or k3s' status command said. */
#include "provisioner/owned/status_text.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct owned_status s CLEANUP(owned_status_free) = {0};
    struct error err CLEANUP(error_clear) = {0};
    int rc = owned_status_read((const char *)data, size, &s, &err);
    if ((rc == 0) != (err.result == RESULT_OK))
        abort();
    if (rc < 0 && (s.keys || s.key_count || s.hash_error))
        abort();
    if (rc == 0 && s.hash_match && s.hash_error)
        abort();
    if (rc == 0 && !s.configured && s.key_count)
        abort();
    return 0;
}
