/* What the kind's own tools would start apiservers with later says what these run with. */
#include "provisioner/kms.h"
#include "provisioner/run.h"

static struct member *first_there(struct session *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->members[i].seen.exists && !s->members[i].joins)
            return &s->members[i];
    return NULL;
}

int record_flags(struct session *s, const struct encryption_config *config, struct error *err)
{
    struct member *m = first_there(s);
    const struct http_server *api = NULL;
    bool changed = false;
    bool flag = config && config->item_count;
    if (!m || !m->node.driver->record)
        return 0;
    char **binds CLEANUP(cleanup_mem) = flag ? kms_binds(s->cluster, config) : NULL;
    struct apiserver_want want = {flag ? m->config_path : NULL, binds};
    if (session_ready_api(s, &api, err) < 0 ||
        m->node.driver->record(&m->node, api, &want, &changed, err) < 0)
        return error_wrap(err, "what kube-apiservers are to be started with by %s",
                          m->node.driver->kind);
    if (changed)
        tell(s, ENCRYPT_NOTE, NULL, NULL, "%s is told to start kube-apiservers %s%s",
             m->node.driver->kind, flag ? "with --encryption-provider-config=" : "without the flag",
             flag ? want.config_path : "");
    return 0;
}

void record_early(struct run *r, enum form f)
{
    struct session *s = r->s;
    struct error e CLEANUP(error_clear) = {0};
    if (f != FORM_SWITCH || r->recorded || !r->text[f])
        return;
    r->recorded = true;
    if (record_flags(s, r->forms.config[f], &e) == 0)
        return;
    tell(s, ENCRYPT_WARNING, form_name(f), NULL,
         "%s; don't upgrade kube-apiservers with it before this run is finished, which tries again "
         "at its end%s%s",
         e.message, e.next ? "; " : "", e.next ? e.next : "");
}

int record_at_end(struct run *r, struct error *err)
{
    if (record_flags(r->s, r->text[FORM_TO] ? r->forms.config[FORM_TO] : NULL, err) == 0)
        return 0;
    if (err->result != RESULT_INTERRUPTED)
        err->result = RESULT_STOPPED;
    error_state(err, "every apiserver runs what it should; what the next upgrade would start them "
                     "with is not that yet: don't upgrade before it is");
    error_next(err, "mend that, then: %s", r->again);
    return -1;
}
