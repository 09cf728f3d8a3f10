#include "provisioner/encrypt.h"

#include <curl/curl.h>
#include <jansson.h>
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

int encrypt_init(struct error *err)
{
    /* First: OpenSSL takes no other allocator once it has allocated. */
    if (!CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free))
        return error_set(err, RESULT_FAILED, "OpenSSL was in use before encrypt_init()");
    json_set_alloc_funcs(wipe_malloc, wipe_free);
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, wipe_malloc, wipe_free, wipe_realloc, wipe_strdup,
                             wipe_calloc) != CURLE_OK)
        return error_set(err, RESULT_FAILED, "libcurl can't be initialised");
    /* For what has no hooks: glibc overwrites what is freed, but for small blocks that it caches.
     */
    mallopt(M_PERTURB, 0x5a);
    /* Not dumpable: no core file, no ptrace by the same user. */
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L);
    return 0;
}
