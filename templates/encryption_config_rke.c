#include "base/yaml.h"
#include "templates/encryption_config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * What go-yaml 2.4 makes of a configuration that went through the JSON of Kubernetes' types:
 * members sorted by name, lists not indented, strings plain where they may be.
 */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* It reads a date as a string, but writes a string that is one in quotes. */
static bool is_date(const char *s)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = 0, month = 0, day = 0, len = 0;
    if (strspn(s, "0123456789") != 4 || !is_digit(s[4] ? s[5] : '\0') ||
        sscanf(s, "%4d-%2d-%n", &year, &month, &len) != 2 || !len || !is_digit(s[len]) ||
        sscanf(s + len, "%2d", &day) != 1 || s[len + 1 + is_digit(s[len + 1])])
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month >= 1 && month <= 12 && day >= 1 &&
           day <= days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* As the emitter looks for what would be no plain scalar in a block. */
static bool fits_plain(const char *s)
{
    size_t len = strlen(s);
    if (!len || strchr("#,[]{}&*!|>'\"%@`", *s) || s[0] == ' ' || s[len - 1] == ' ' ||
        str_starts(s, "---") || str_starts(s, "..."))
        return false;
    for (size_t i = 0; i < len; i++) {
        bool last = i + 1 == len || s[i + 1] == ' ';
        if ((s[i] == ':' && last) || (i == 0 && last && (s[i] == '?' || s[i] == '-')) ||
            (s[i] == '#' && s[i - 1] == ' '))
            return false;
    }
    return true;
}

static bool is_ascii(const char *s)
{
    for (; *s; s++)
        if (*s < 0x20 || *s > 0x7e)
            return false;
    return true;
}

static void write_text(struct buf *out, const char *s)
{
    if ((!yaml_plain_is_string(s) && !str_eq(s, "<<")) || is_date(s) || !is_ascii(s))
        yaml_write(out, s, YAML_STYLE_DOUBLE);
    else if (fits_plain(s))
        buf_adds(out, s);
    else
        yaml_write(out, s, YAML_STYLE_SINGLE);
}

struct unit {
    const char *name;
    int64_t nanoseconds;
};

/* Go's time.ParseDuration of a positive duration; false where it is too large, or none. */
static bool read_duration(const char *s, int64_t *out)
{
    static const struct unit units[] = {
        {"ns", 1},       {"us", 1000},      {"\xc2\xb5s", 1000}, {"\xce\xbcs", 1000},
        {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000},
    };
    int64_t total = 0;
    if (*s == '+')
        s++;
    if (!*s)
        return false;
    while (*s) {
        int64_t whole = 0, part = 0, add = 0;
        double scale = 1;
        for (; is_digit(*s); s++)
            if (__builtin_mul_overflow(whole, 10, &whole) ||
                __builtin_add_overflow(whole, *s - '0', &whole))
                return false;
        if (*s == '.') {
            for (s++; is_digit(*s); s++) {
                if (part > (INT64_MAX - 9) / 10)
                    continue;
                part = part * 10 + (*s - '0');
                scale *= 10;
            }
        }
        const struct unit *unit = NULL;
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && !unit; i++)
            if (str_starts(s, units[i].name))
                unit = &units[i];
        if (!unit || __builtin_mul_overflow(whole, unit->nanoseconds, &add) ||
            __builtin_add_overflow(total, add, &total) ||
            __builtin_add_overflow(
                total, (int64_t)((double)part * ((double)unit->nanoseconds / scale)), &total))
            return false;
        s += strlen(unit->name);
    }
    *out = total;
    return true;
}

/* `value` in units of 10^digits, with a fraction that ends in no zero. */
static void write_fraction(struct buf *out, int64_t value, int64_t unit, int digits)
{
    buf_printf(out, "%" PRId64, value / unit);
    char fraction[24];
    int len = snprintf(fraction, sizeof(fraction), "%0*" PRId64, digits, value % unit);
    while (len > 0 && fraction[len - 1] == '0')
        len--;
    if (len > 0)
        buf_printf(out, ".%.*s", len, fraction);
}

/* Go's Duration.String(). */
static void write_duration(struct buf *out, const char *s)
{
    int64_t d = 0, second = 1000000000;
    if (!read_duration(s, &d)) {
        write_text(out, s);
        return;
    }
    if (d == 0) {
        buf_adds(out, "0s");
    } else if (d < 1000) {
        buf_printf(out, "%" PRId64 "ns", d);
    } else if (d < 1000000) {
        write_fraction(out, d, 1000, 3);
        buf_adds(out, "\xc2\xb5s");
    } else if (d < second) {
        write_fraction(out, d, 1000000, 6);
        buf_adds(out, "ms");
    } else {
        int64_t minutes = d / second / 60;
        if (minutes >= 60)
            buf_printf(out, "%" PRId64 "h", minutes / 60);
        if (minutes > 0)
            buf_printf(out, "%" PRId64 "m", minutes % 60);
        write_fraction(out, d % (60 * second), second, 9);
        buf_adds(out, "s");
    }
}

bool encryption_duration_equal(const char *a, const char *b)
{
    int64_t x = 0, y = 0;
    return str_eq(a, b) || (a && b && read_duration(a, &x) && read_duration(b, &y) && x == y);
}

static void write_kms(struct buf *out, const struct encryption_provider *p)
{
    buf_printf(out, "      apiVersion: %s\n", p->kms_v2 ? "v2" : "\"\"");
    if (p->has_cachesize)
        buf_printf(out, "      cachesize: %ld\n", p->cachesize);
    buf_adds(out, "      endpoint: ");
    write_text(out, p->kms_endpoint);
    buf_adds(out, "\n      name: ");
    write_text(out, p->kms_name);
    buf_adds(out, "\n");
    if (!p->kms_timeout)
        return;
    buf_adds(out, "      timeout: ");
    write_duration(out, p->kms_timeout);
    buf_adds(out, "\n");
}

static void write_provider(struct buf *out, const struct encryption_provider *p)
{
    if (p->type == PROVIDER_IDENTITY) {
        buf_adds(out, "  - identity: {}\n");
        return;
    }
    buf_printf(out, "  - %s:\n", provider_type_name(p->type));
    if (p->type == PROVIDER_KMS) {
        write_kms(out, p);
        return;
    }
    buf_adds(out, "      keys:\n");
    for (size_t i = 0; i < p->key_count; i++) {
        struct buf secret CLEANUP(buf_free) = {0};
        buf_adds(out, "      - name: ");
        write_text(out, p->keys[i].name);
        buf_adds(out, "\n        secret: ");
        encryption_key_write_secret(&p->keys[i], &secret);
        write_text(out, buf_str(&secret));
        buf_adds(out, "\n");
    }
}

void encryption_config_write_rke_custom(const struct encryption_config *c, enum rke_heading heading,
                                        struct buf *out)
{
    static const char kind[] =
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n";
    if (!c || !c->item_count)
        return;
    buf_adds(out, kind);
    if (heading == RKE_HEADING_TWICE)
        buf_adds(out, kind);
    buf_adds(out, "resources:\n");
    for (size_t i = 0; i < c->item_count; i++) {
        const struct encryption_item *item = &c->items[i];
        buf_adds(out, "- providers:\n");
        for (size_t j = 0; j < item->provider_count; j++)
            write_provider(out, &item->providers[j]);
        buf_adds(out, "  resources:\n");
        for (size_t j = 0; j < item->resource_count; j++) {
            buf_adds(out, "  - ");
            write_text(out, item->resources[j]);
            buf_adds(out, "\n");
        }
    }
    buf_adds(out, "\n");
}
