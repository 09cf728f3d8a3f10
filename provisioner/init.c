#include "provisioner/engine.h"

#include <curl/curl.h>
#include <jansson.h>
#include <libssh2.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void *openssl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size ? wipe_malloc(size) : NULL;
}

static void *openssl_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    if (size)
        return wipe_realloc(p, size);
    wipe_free(p);
    return NULL;
}

static void openssl_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    wipe_free(p);
}

int engine_init(unsigned leave, struct error *err)
{
    /* First: OpenSSL takes no other allocator once it has allocated. */
    if (!(leave & ENCRYPT_LEAVE_OPENSSL) &&
        !CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free))
        return error_set(err, RESULT_FAILED,
                         "OpenSSL was in use before encrypt_init(): call that earlier, or with "
                         "ENCRYPT_LEAVE_OPENSSL");
    if (!(leave & ENCRYPT_LEAVE_JANSSON))
        json_set_alloc_funcs(wipe_malloc, wipe_free);
    CURLcode rc = leave & ENCRYPT_LEAVE_CURL
                      ? curl_global_init(CURL_GLOBAL_DEFAULT)
                      : curl_global_init_mem(CURL_GLOBAL_DEFAULT, wipe_malloc, wipe_free,
                                             wipe_realloc, wipe_strdup, wipe_calloc);
    if (rc != CURLE_OK)
        return error_set(err, RESULT_FAILED, "libcurl can't be initialised");
    /* Here, not with the first session: it counts in a static variable, and threads may run then.
     */
    if (libssh2_init(0) != 0)
        return error_set(err, RESULT_FAILED, "libssh2 can't be initialised");
    /* For what has no hooks: glibc overwrites what is freed, but for small blocks that it caches.
     */
    if (!(leave & ENCRYPT_LEAVE_MALLOC))
        mallopt(M_PERTURB, 0x5a);
    /* Not dumpable: no core file, no ptrace by the same user. */
    if (!(leave & ENCRYPT_LEAVE_PROCESS)) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L);
    }
    return 0;
}
