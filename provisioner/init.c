#include "provisioner/encrypt.h"

#include <curl/curl.h>
#include <jansson.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>

int encrypt_init(struct error *err)
{
    json_set_alloc_funcs(wipe_malloc, wipe_free);
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, wipe_malloc, wipe_free, wipe_realloc, wipe_strdup,
                             wipe_calloc) != CURLE_OK)
        return error_set(err, RESULT_FAILED, "libcurl can't be initialised");
    /* libyaml and OpenSSL's own buffers have no hooks: glibc overwrites whatever is freed. */
    mallopt(M_PERTURB, 0x5a);
    /* Not dumpable: no core file, no ptrace by the same user. */
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L);
    return 0;
}
