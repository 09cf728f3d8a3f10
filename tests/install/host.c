/*
 * A host of libencrypt, built against what is installed. Each mode ends with exit status 0 where
 * the promise is kept.
 *
 *   host clean FILE    encrypt_init() and encrypt_lint() leave signals, descriptors, the
 * environment and the working folder as they were, print nothing, and leave no key in the memory
 * that they freed host late FILE     OpenSSL was used before: encrypt_init(0) says so, with
 * ENCRYPT_LEAVE_OPENSSL it works host error         a call that fails gives the error, and gives it
 * anew host threads FILE  calls from several threads at a time
 *
 * It has functions of its own by the names of the library's inner ones: neither meets the other's.
 */
#include <encrypt.h>

#include <dirent.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 50, SIGNALS = 31, MASK = 0x55 };

void *mem_alloc(size_t n, size_t size);
int error_set(void *err);
int libssh2_channel_direct_streamlocal_ex(int flags);
int yaml_parser_initialize(void *parser);
void *wipe_malloc(size_t size);

void *mem_alloc(size_t n, size_t size)
{
    (void)n;
    (void)size;
    abort();
}
int error_set(void *err)
{
    (void)err;
    abort();
}
int libssh2_channel_direct_streamlocal_ex(int flags)
{
    (void)flags;
    abort();
}
int yaml_parser_initialize(void *parser)
{
    (void)parser;
    abort();
}
void *wipe_malloc(size_t size)
{
    (void)size;
    abort();
}

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static int open_descriptors(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    CHECK(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

/* The key of the file, as it stands in it and as bytes, each byte masked: this program has no copy
 * of its own. */
static unsigned char masked[2][64];
static size_t masked_len[2];

static void learn_key(const char *path)
{
    static const char table[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char begin[] = "secret: ";
    unsigned bits = 0, have = 0;
    int c;
    FILE *f = fopen(path, "r");
    CHECK(f);
    CHECK(setvbuf(f, NULL, _IONBF, 0) == 0);
    for (const char *at = begin; *at;) {
        CHECK((c = fgetc(f)) != EOF);
        at = c == *at ? at + 1 : c == *begin ? begin + 1 : begin;
    }
    while ((c = fgetc(f)) != EOF && c != '\n' && masked_len[0] < 64) {
        masked[0][masked_len[0]++] = (unsigned char)(c ^ MASK);
        const char *digit = strchr(table, c);
        if (!digit)
            continue;
        bits = bits << 6 | (unsigned)(digit - table);
        have += 6;
        if (have >= 8) {
            have -= 8;
            masked[1][masked_len[1]++] = (unsigned char)((bits >> have & 0xff) ^ MASK);
        }
    }
    fclose(f);
    CHECK(masked_len[0] == 44 && masked_len[1] == 32);
}

/* Half of a key is as good a find as all of it: blocks that moved leave pieces. */
static size_t count_pieces(const unsigned char *from, const unsigned char *to)
{
    size_t found = 0;
    for (const unsigned char *p = from; p + 16 <= to; p++)
        for (int form = 0; form < 2; form++)
            for (size_t at = 0; at + 16 <= masked_len[form]; at += 4) {
                size_t n = 0;
                while (n < 16 && (p[n] ^ MASK) == masked[form][at + n])
                    n++;
                found += n == 16;
            }
    return found;
}

static size_t pieces_on_heap(void)
{
    char line[512];
    size_t found = 0, heaps = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    CHECK(f);
    while (fgets(line, sizeof(line), f)) {
        void *from = NULL, *to = NULL;
        if (!strstr(line, "[heap]") || sscanf(line, "%p-%p", &from, &to) != 2)
            continue;
        heaps++;
        found += count_pieces(from, to);
    }
    fclose(f);
    CHECK(heaps == 1);
    return found;
}

static size_t lint(const char *path, size_t *errors)
{
    struct encrypt_error err = {0};
    struct encrypt_lint out = {0};
    const struct encrypt_options o = {.config = path};
    int rc = encrypt_lint(&o, &out, &err);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.message);
    CHECK(rc == 0 && err.result == ENCRYPT_OK && !err.message);
    *errors = out.errors;
    size_t findings = out.finding_count;
    encrypt_lint_free(&out);
    encrypt_error_clear(&err);
    return findings;
}

static void clean(const char *path)
{
    struct sigaction before[SIGNALS + 1], after;
    struct encrypt_error err = {0};
    char folder[4096], again[4096];
    size_t errors = 0;
    extern char **environ;
    char **environment = environ;
    memset(before, 0, sizeof(before));
    learn_key(path);
    /* That a piece would be found: a block that is not wiped. */
    unsigned char *mine = malloc(4096);
    CHECK(mine);
    for (size_t i = 0; i < 16; i++)
        mine[1000 + i] = masked[0][i] ^ MASK;
    CHECK(pieces_on_heap() == 1);
    explicit_bzero(mine, 4096);
    free(mine);
    for (int s = 1; s <= SIGNALS; s++)
        sigaction(s, NULL, &before[s]);
    CHECK(getcwd(folder, sizeof(folder)));
    /* Without what glibc overwrites by itself: the library's own wiping is what counts. */
    CHECK(encrypt_init(ENCRYPT_LEAVE_MALLOC | ENCRYPT_LEAVE_PROCESS, &err) == 0);
    int descriptors = open_descriptors();
    (void)lint(path, &errors);
    CHECK(pieces_on_heap() == 0);
    CHECK(open_descriptors() == descriptors);
    CHECK(environ == environment);
    CHECK(getcwd(again, sizeof(again)) && strcmp(folder, again) == 0);
    for (int s = 1; s <= SIGNALS; s++) {
        memset(&after, 0, sizeof(after));
        sigaction(s, NULL, &after);
        CHECK(after.sa_handler == before[s].sa_handler && after.sa_flags == before[s].sa_flags);
    }
}

static void late(const char *path)
{
    struct encrypt_error err = {0};
    unsigned char bytes[8];
    size_t errors = 0;
    CHECK(RAND_bytes(bytes, sizeof(bytes)) == 1);
    CHECK(encrypt_init(0, &err) < 0);
    CHECK(err.result == ENCRYPT_FAILED && strstr(err.message, "ENCRYPT_LEAVE_OPENSSL"));
    encrypt_error_clear(&err);
    CHECK(!err.message && err.result == ENCRYPT_OK);
    CHECK(encrypt_init(ENCRYPT_LEAVE_OPENSSL, &err) == 0);
    CHECK(lint(path, &errors) == 0 && errors == 0);
}

static void errors_are_given(void)
{
    struct encrypt_error err = {0};
    struct encrypt_report report = {0};
    const struct encrypt_options o = {.config = "/nonexistent/cluster.yml"};
    CHECK(encrypt_init(0, &err) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK(encrypt_up(&o, &report, &err) < 0);
        CHECK(err.result == ENCRYPT_FAILED || err.result == ENCRYPT_REFUSED);
        CHECK(strstr(err.message, "/nonexistent/cluster.yml"));
        CHECK(strcmp(err.state, "nothing was changed") == 0 && err.next);
    }
    encrypt_error_clear(&err);
}

static void *many(void *path)
{
    for (int i = 0; i < ROUNDS; i++) {
        size_t errors = 0;
        CHECK(lint(path, &errors) == 0 && errors == 0);
    }
    return NULL;
}

static void threads(char *path)
{
    struct encrypt_error err = {0};
    pthread_t t[THREADS];
    CHECK(encrypt_init(0, &err) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, many, path) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    CHECK(strcmp(encrypt_version(), ENCRYPT_VERSION) == 0);
    if (strcmp(mode, "clean") == 0 && argc == 3)
        clean(argv[2]);
    else if (strcmp(mode, "late") == 0 && argc == 3)
        late(argv[2]);
    else if (strcmp(mode, "error") == 0)
        errors_are_given();
    else if (strcmp(mode, "threads") == 0 && argc == 3)
        threads(argv[2]);
    else
        return 2;
    return 0;
}
