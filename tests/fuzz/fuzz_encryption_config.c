/*
 * Any bytes. The strict findings are in order, have a place in the file, and say why where nothing
 * was read. What reads strictly reads leniently to the same; written and read again strictly it is
 * equal; its unions with a fixed other configuration read all of both, write as the first, and
 * survive the round trip as well.
 */
#include "templates/encryption_config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct encryption_config *read_as(const char *text, size_t len, enum encryption_reading how)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    if (encryption_config_read(text, len, "fuzz", how, &c, &err) != 0) {
        if (c || err.result != RESULT_REFUSED)
            abort();
        return NULL;
    }
    return c;
}

static void check_findings(const char *text, size_t len, const struct encryption_config *read)
{
    struct error err CLEANUP(error_clear) = {0};
    struct yaml *y CLEANUP(cleanup_yaml) = NULL;
    struct config_findings f CLEANUP(config_findings_free) = {0};
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
    if (yaml_read(text, len, "fuzz", &y, &err) != 0)
        return;
    encryption_config_check(y, &f, &c);
    if ((c == NULL) != (f.errors > 0) || (c && !encryption_config_equal(c, read)))
        abort();
    size_t errors = 0;
    for (size_t i = 0; i < f.count; i++) {
        const struct config_finding *one = &f.list[i];
        if (!one->line || !one->column || !one->field || !*one->what)
            abort();
        if (i && (one->line < one[-1].line ||
                  (one->line == one[-1].line && one->column < one[-1].column)))
            abort();
        errors += !one->warning;
    }
    if (errors > f.errors || (errors < f.errors && f.count < CONFIG_FINDINGS_MAX))
        abort();
    if ((config_findings_error(&f, "fuzz", &err) != 0) != (f.errors > 0))
        abort();
}

static void round_trip(const struct encryption_config *c)
{
    struct buf out CLEANUP(buf_free) = {0};
    encryption_config_write(c, &out);
    struct encryption_config *again CLEANUP(cleanup_encryption_config) =
        read_as(buf_str(&out), out.len, ENCRYPTION_STRICT);
    if (!again || !encryption_config_equal(c, again))
        abort();
}

static void check_union(const struct encryption_config *write, const struct encryption_config *read,
                        bool strict)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *u CLEANUP(cleanup_encryption_config) = NULL;
    if (encryption_config_union(write, read, &u, &err) != 0)
        return;
    if (!encryption_config_reads_all(u, write) || !encryption_config_reads_all(u, read))
        abort();
    char **names = encryption_resources(u, write);
    for (size_t i = 0; names[i]; i++) {
        char *before CLEANUP(cleanup_mem) = encryption_write_prefix(write, names[i]);
        char *after CLEANUP(cleanup_mem) = encryption_write_prefix(u, names[i]);
        if (!str_eq(before, after) || !encryption_config_reads(u, names[i], before, strlen(before)))
            abort();
    }
    encryption_resources_free(names);
    if (strict)
        round_trip(u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    char *prefix = encryption_stored_prefix(data, size);
    mem_free(prefix);
    struct encryption_config *lenient CLEANUP(cleanup_encryption_config) =
        read_as(text, size, ENCRYPTION_LENIENT);
    struct encryption_config *c CLEANUP(cleanup_encryption_config) =
        read_as(text, size, ENCRYPTION_STRICT);
    check_findings(text, size, c);
    if (c && (!lenient || !encryption_config_equal(c, lenient)))
        abort();
    unsigned char secret[32] = "another key of thirty-two bytes";
    char name[] = "key-other";
    struct encryption_config *other CLEANUP(cleanup_encryption_config) = encryption_config_managed(
        PROVIDER_AESCBC, NULL, &(struct encryption_key){name, secret, sizeof(secret)});
    if (lenient)
        check_union(other, lenient, c != NULL);
    if (!c)
        return 0;
    round_trip(c);
    check_union(c, other, true);
    check_union(c, NULL, true);
    return 0;
}
