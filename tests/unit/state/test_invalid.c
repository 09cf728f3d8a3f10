/*
 * The table of invalid configurations: each file of tests/unit/invalid has one fault. Its first
 * lines say what is to be said of it, and where:
 *
 *   # expect: <a part of "field: what; mend">
 *   # line: <of the fault>
 *   # only: file | cluster      (file: not inside of a cluster.yml; cluster: a fragment of one)
 *   # kube-apiserver 1.20.2: accepts | dies: <its words> | never sees it (tests/cluster/try-config)
 */
#include "state/cluster_yml.h"
#include "support.h"

#define FOLDER "tests/unit/invalid"
#define NODES "nodes: [{address: a, user: u, role: [controlplane]}]\n"
#define AROUND                                                                                     \
    NODES "services:\n  kube-api:\n    secrets_encryption_config:\n      enabled: true\n"          \
          "      custom_config:\n"
enum { AROUND_LINES = 6, AT_LEAST = 100 };

struct sample {
    char *name, *expect, *only, *tried;
    size_t line;
    struct buf text;
};

static void sample_free(struct sample *s)
{
    mem_free(s->name);
    mem_free(s->expect);
    mem_free(s->only);
    mem_free(s->tried);
    buf_free(&s->text);
}

/* The rest of the line that begins with `start`; "" where there is none. */
static char *comment(const char *text, const char *start)
{
    const char *at = strstr(text, start);
    if (!at || (at != text && at[-1] != '\n'))
        return mem_strdup("");
    at += strlen(start);
    return mem_strndup(at, strcspn(at, "\n"));
}

static struct sample read_sample(const char *name)
{
    struct sample s = {.name = mem_printf("%s/%s", FOLDER, name)};
    slurp(s.name, &s.text);
    s.expect = comment(buf_str(&s.text), "# expect: ");
    s.only = comment(buf_str(&s.text), "# only: ");
    s.tried = comment(buf_str(&s.text), "# kube-apiserver 1.20.2: ");
    char *line CLEANUP(cleanup_mem) = comment(buf_str(&s.text), "# line: ");
    s.line = strtoul(line, NULL, 10);
    return s;
}

/* What stands behind each "secret: ": none of it may be said. */
static void no_secret_in(const struct sample *s, const char *message)
{
    const char *text = buf_str(&s->text);
    for (const char *at = text; (at = strstr(at, "secret: "));) {
        at += strlen("secret: ");
        at += strspn(at, "'\"[|!binary \n");
        size_t len = strcspn(at, "'\"] \n");
        char *secret CLEANUP(cleanup_mem) = mem_strndup(at, len);
        if (len >= 12 && strstr(message, secret))
            fail_msg("%s: says the secret: %s", s->name, message);
    }
}

/* One line alone: "<name>:<line>:<column>: …<expect>…" */
static void says(const struct sample *s, const char *message, size_t line)
{
    char *place CLEANUP(cleanup_mem) = mem_printf("f:%zu:", line);
    if (!message)
        fail_msg("%s: nothing is found", s->name);
    if (!str_starts(message, place) || !strstr(message, s->expect) || strchr(message, '\n'))
        fail_msg("%s: wanted \"%s … %s\" alone, got: %s", s->name, place, s->expect, message);
    no_secret_in(s, message);
}

static void read_alone(const struct sample *s)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    assert_int_equal(
        encryption_config_read(buf_str(&s->text), s->text.len, "f", ENCRYPTION_STRICT, &c, &err),
        -1);
    assert_null(c);
    assert_int_equal(err.result, RESULT_REFUSED);
    says(s, err.message, s->line);
}

static void read_cluster(const struct sample *s, const struct buf *text, size_t line)
{
    struct error err CLEANUP(error_clear) = {0};
    struct cluster *c CLEANUP(cleanup_cluster) = NULL;
    if (cluster_parse(text->data, text->len, "f", &c, &err) != 0)
        fail_msg("%s: nothing else can be done any more: %s", s->name, err.message);
    assert_int_equal(config_findings_error(&c->findings, c->path, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    says(s, err.message, line);
}

static void read_as_custom_config(const struct sample *s)
{
    struct buf text CLEANUP(buf_free) = {0};
    buf_adds(&text, AROUND);
    for (const char *at = buf_str(&s->text); *at;) {
        size_t len = strcspn(at, "\n");
        buf_printf(&text, "        %.*s\n", (int)len, at);
        at += len + (at[len] == '\n');
    }
    read_cluster(s, &text, s->line + AROUND_LINES);
}

static void read_fragment(const struct sample *s)
{
    struct buf text CLEANUP(buf_free) = {0};
    buf_printf(&text, "%s%s", NODES, buf_str(&s->text));
    read_cluster(s, &text, s->line + 1);
}

static void each_invalid_configuration_is_refused_with_its_message(void **state)
{
    (void)state;
    size_t count = 0;
    DIR *d = opendir(FOLDER);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        struct sample s CLEANUP(sample_free) = read_sample(e->d_name);
        bool fragment = str_eq(s.only, "cluster");
        if (!*s.expect || !s.line)
            fail_msg("%s: no comments that say what is expected", s.name);
        if (fragment ? !str_eq(s.tried, "never sees it")
                     : !str_eq(s.tried, "accepts") && !str_starts(s.tried, "dies: "))
            fail_msg("%s: was not tried: tests/cluster/try-config --mark", s.name);
        if (!fragment)
            read_alone(&s);
        if (!*s.only)
            read_as_custom_config(&s);
        if (fragment)
            read_fragment(&s);
        count++;
    }
    closedir(d);
    assert_true(count >= AT_LEAST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_invalid_configuration_is_refused_with_its_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
