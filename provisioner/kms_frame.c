#include "provisioner/kms_frame.h"

#include "base/printable.h"

#include <stdint.h>
#include <string.h>

enum { HEADER = 5, FIELDS = 3, SHOWN = 200 };

/* What is read of a message: its texts, by their numbers less one. Not owned, not ended. */
struct message {
    struct {
        const char *data;
        size_t len;
    } text[FIELDS];
};

const char *kms_ask_path(bool v2)
{
    return v2 ? "/v2.KeyManagementService/Status" : "/v1beta1.KeyManagementService/Version";
}

void kms_ask(bool v2, struct buf *out)
{
    /* VersionRequest{version = 1: "v1beta1"}; StatusRequest{}. */
    static const char version[] = "\0\0\0\0\x09\x0a\x07v1beta1";
    buf_add(out, version, v2 ? 0 : sizeof(version) - 1);
    if (v2)
        buf_add(out, "\0\0\0\0\0", HEADER);
}

/* A protobuf varint; false where it is cut or too long. */
static bool take_number(const unsigned char **at, const unsigned char *end, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (*at == end)
            return false;
        unsigned char byte = *(*at)++;
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

static bool read_message(const unsigned char *at, size_t len, struct message *out)
{
    enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
    const unsigned char *end = at + len;
    while (at < end) {
        uint64_t tag = 0;
        uint64_t size = 0;
        if (!take_number(&at, end, &tag) || tag >> 3 == 0)
            return false;
        switch (tag & 7) {
        case VARINT:
            if (!take_number(&at, end, &size))
                return false;
            continue;
        case FIXED64:
            size = 8;
            break;
        case FIXED32:
            size = 4;
            break;
        case BYTES:
            if (!take_number(&at, end, &size))
                return false;
            break;
        default:
            return false;
        }
        if (size > (uint64_t)(end - at))
            return false;
        if ((tag & 7) == BYTES && tag >> 3 <= FIELDS) {
            out->text[(tag >> 3) - 1].data = (const char *)at;
            out->text[(tag >> 3) - 1].len = (size_t)size;
        }
        at += size;
    }
    return true;
}

static bool is(const struct message *m, size_t field, const char *text)
{
    return m->text[field].len == strlen(text) &&
           memcmp(m->text[field].data, text, m->text[field].len) == 0;
}

static char *shown(const struct message *m, size_t field)
{
    size_t len = m->text[field].len < SHOWN ? m->text[field].len : SHOWN;
    char *text CLEANUP(cleanup_mem) = mem_strndup(len ? m->text[field].data : "", len);
    char *printable = make_printable(text);
    for (char *c = printable; *c; c++) {
        if (*c == '\n')
            *c = ' ';
    }
    return printable;
}

static int check_v1(const struct message *m, char **about, struct error *err)
{
    char *version CLEANUP(cleanup_mem) = shown(m, 0);
    char *name CLEANUP(cleanup_mem) = shown(m, 1);
    char *number CLEANUP(cleanup_mem) = shown(m, 2);
    if (!is(m, 0, "v1beta1"))
        return error_set(err, RESULT_FAILED, "it speaks version '%s' and not 'v1beta1'", version);
    *about = mem_printf("%s %s", name, number);
    return 0;
}

static int check_v2(const struct message *m, char **about, struct error *err)
{
    char *version CLEANUP(cleanup_mem) = shown(m, 0);
    char *health CLEANUP(cleanup_mem) = shown(m, 1);
    char *key CLEANUP(cleanup_mem) = shown(m, 2);
    if (!is(m, 0, "v2") && !is(m, 0, "v2beta1"))
        return error_set(err, RESULT_FAILED, "it speaks version '%s' and not 'v2'", version);
    if (!is(m, 1, "ok"))
        return error_set(err, RESULT_FAILED, "it says of itself: healthz '%s', and not 'ok'",
                         health);
    if (!*key)
        return error_set(err, RESULT_FAILED, "it names no key id");
    *about = mem_printf("key id %s", key);
    return 0;
}

int kms_answer_check(bool v2, const void *body, size_t len, char **about, struct error *err)
{
    const unsigned char *b = body;
    struct message m = {0};
    if (len == 0)
        return error_set(err, RESULT_FAILED,
                         "it answered an error instead of its %s: does it speak %s?",
                         v2 ? "status" : "version", v2 ? "v2" : "v1beta1");
    if (len < HEADER)
        return error_set(err, RESULT_FAILED, "its answer is cut off");
    if (b[0] != 0)
        return error_set(err, RESULT_FAILED, "its answer is %s",
                         b[0] == 1 ? "compressed, which nobody asked for" : "no gRPC");
    size_t size = (size_t)b[1] << 24 | (size_t)b[2] << 16 | (size_t)b[3] << 8 | b[4];
    if (size > KMS_FRAME_LIMIT)
        return error_set(err, RESULT_FAILED, "its answer has %zu bytes: more than %d", size,
                         (int)KMS_FRAME_LIMIT);
    if (size != len - HEADER)
        return error_set(err, RESULT_FAILED, "its answer %s",
                         size > len - HEADER ? "is cut off" : "goes on after its end");
    if (!read_message(b + HEADER, size, &m))
        return error_set(err, RESULT_FAILED, "its answer is no %s",
                         v2 ? "StatusResponse" : "VersionResponse");
    return v2 ? check_v2(&m, about, err) : check_v1(&m, about, err);
}
