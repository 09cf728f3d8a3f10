/* A configuration file checked without any cluster. */
#include "base/file.h"
#include "provisioner/engine.h"
#include "provisioner/kind.h"
#include "state/cluster_yml.h"
#include "state/journal.h"
#include "templates/encryption_features.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 16 << 20 };

/* A reader's error, which begins with "path:line:column: ", as a finding. */
static void add_error(struct config_findings *f, const char *path, const struct error *err)
{
    struct yaml at = {0};
    const char *text = err->message ? err->message : "can't be read";
    size_t len = strlen(path);
    if (strncmp(text, path, len) == 0 && text[len] == ':') {
        char *end = NULL;
        const char *rest = text + len + 1;
        at.line = strtoul(rest, &end, 10);
        if (end > rest && *end == ':')
            at.column = strtoul(end + 1, &end, 10);
        text = at.line && *end == ':' ? end + 1 : rest;
        text += strspn(text, " ");
    }
    config_findings_add(f, at.line ? &at : NULL, false, "", text, err->next);
}

/* Where there is no state file there is nothing to compare with. One that can't be read is said: a
 * check that was not made must not pass for one that found nothing. */
static void check_history(const struct encrypt_options *o, const struct cluster *c,
                          struct config_findings *f)
{
    struct error err CLEANUP(error_clear) = {0};
    struct rkestate *state CLEANUP(cleanup_rkestate) = NULL;
    struct journal *journal CLEANUP(cleanup_journal) = NULL;
    struct config_findings own CLEANUP(config_findings_free) = {0};
    char *path CLEANUP(cleanup_mem) =
        o->state ? mem_strdup(o->state) : file_beside(o->config, "rkestate");
    if (!c->custom)
        return;
    if (rkestate_read(path, &state, &err) < 0 || journal_read(state, path, &journal, &err) < 0) {
        char *what CLEANUP(cleanup_mem) =
            mem_printf("its keys were not held against the key history: %s", err.message);
        config_findings_add(f, c->custom_config, true, "custom_config", what, err.next);
        return;
    }
    if (journal)
        journal_check_names(journal, c->custom, c->custom_config, &own);
    config_findings_move(f, &own, "custom_config", c->encryption != SECRETS_ENCRYPTION_ENABLED);
}

/* What kubernetes_version of cluster.yml doesn't know of the configuration that is asked for. */
static void check_version(const struct cluster *c, struct config_findings *f)
{
    unsigned char secret[32] = {0};
    char name[] = "any";
    const struct encryption_key key = {name, secret, sizeof(secret)};
    struct error err CLEANUP(error_clear) = {0};
    if (!c->kubernetes_version || c->encryption != SECRETS_ENCRYPTION_ENABLED || f->errors)
        return;
    const struct driver *kind = kind_driver(c->kind);
    struct encryption_config *asked CLEANUP(cleanup_encryption_config) =
        c->custom ? encryption_config_copy(c->custom)
                  : encryption_config_managed(c->provider, c->resources, &key);
    if (encryption_config_check_version(asked, c->kubernetes_version,
                                        "kubernetes_version of cluster.yml", c->feature_gates,
                                        kind && kind->old_format, &err) < 0)
        config_findings_add(f, c->custom_config, false,
                            c->custom ? "custom_config" : "secrets_encryption_config", err.message,
                            err.next);
}

/* What cluster.yml says to RKE alone, where it names another kind. */
static void check_kind(const struct cluster *c, struct config_findings *f)
{
    const struct driver *driver = c->kind ? kind_driver(c->kind) : NULL;
    const struct yaml *binds = yaml_path(c->document, "services", "kube-api", "extra_binds", NULL);
    if (!driver || driver->needs_state)
        return;
    if (c->extra_binds && !driver->mounts) {
        char *what CLEANUP(cleanup_mem) =
            mem_printf("has no effect: a kube-apiserver of kind %s has no mounts, it sees the "
                       "node's own files",
                       c->kind);
        config_findings_add(f, binds, true, "extra_binds", what, "take it out");
    }
    if (c->encryption == SECRETS_ENCRYPTION_ABSENT && !c->own_config_path)
        config_findings_add(f, NULL, true, "services.kube-api.secrets_encryption_config",
                            "is not there: `up` refuses where the apiservers have a configuration",
                            "write enabled: true or enabled: false");
}

static void lint_cluster(const struct encrypt_options *o, const struct buf *text,
                         struct config_findings *f)
{
    struct error err CLEANUP(error_clear) = {0};
    struct cluster *c CLEANUP(cleanup_cluster) = NULL;
    if (cluster_parse(buf_str(text), text->len, o->config, &c, &err) < 0) {
        add_error(f, o->config, &err);
        return;
    }
    config_findings_move(f, &c->findings, "", false);
    check_history(o, c, f);
    check_version(c, f);
    check_kind(c, f);
}

static bool is_cluster(const struct yaml *y)
{
    static const char *const members[] = {"kind", "apiVersion", "resources"};
    if (yaml_get(y, "nodes") || yaml_get(y, "services"))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (yaml_get(y, members[i]))
            return false;
    return y->kind == YAML_KIND_MAP;
}

static void hand_over(struct config_findings *f, struct encrypt_lint *out)
{
    config_findings_sort(f);
    out->errors = f->errors;
    out->findings = mem_alloc(f->count, sizeof(*out->findings));
    for (size_t i = 0; i < f->count; i++) {
        struct config_finding *one = &f->list[i];
        out->findings[out->finding_count++] =
            (struct encrypt_lint_finding){.line = one->line,
                                          .column = one->column,
                                          .field = STEAL(one->field),
                                          .what = STEAL(one->what),
                                          .mend = STEAL(one->mend),
                                          .warning = one->warning};
    }
}

int engine_lint(const struct encrypt_options *o, struct encrypt_lint *out, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct yaml *y CLEANUP(cleanup_yaml) = NULL;
    struct config_findings f CLEANUP(config_findings_free) = {0};
    struct error why CLEANUP(error_clear) = {0};
    *out = (struct encrypt_lint){0};
    if (file_read(o->config, FILE_LIMIT, false, &text, NULL, err) < 0)
        return -1;
    size_t bom = text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (yaml_read(buf_str(&text) + bom, text.len - bom, o->config, &y, &why) < 0) {
        add_error(&f, o->config, &why);
    } else if (is_cluster(y)) {
        out->is_cluster = true;
        lint_cluster(o, &text, &f);
    } else {
        struct encryption_config *c CLEANUP(cleanup_encryption_config) = NULL;
        encryption_config_check(y, &f, &c);
    }
    hand_over(&f, out);
    return 0;
}

void encrypt_lint_free(struct encrypt_lint *l)
{
    for (size_t i = 0; i < l->finding_count; i++) {
        mem_free(l->findings[i].field);
        mem_free(l->findings[i].what);
        mem_free(l->findings[i].mend);
    }
    mem_free(l->findings);
    *l = (struct encrypt_lint){0};
}
