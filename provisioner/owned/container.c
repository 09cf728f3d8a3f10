/* The kube-apiserver's container, which rke2's documents have the administrator of a single server
 * stop in the place of a restart of the server. */
#include "provisioner/owned/owned.h"

#include <string.h>

bool owned_container_id(const char *text, char out[OWNED_ID + 1])
{
    size_t len = strspn(text, "0123456789abcdef");
    if (len < OWNED_ID || strcspn(text + len, "\n") != 0 || text[len + (text[len] == '\n')])
        return false;
    memcpy(out, text, OWNED_ID);
    out[OWNED_ID] = '\0';
    return true;
}

/* (sudo's environment is its own, so the way to containerd is an option.) */
static int crictl(const struct owned_run *r, const struct host *h, const char *script,
                  const char *id, char **why, struct buf *out, struct error *err)
{
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    const char *args[] = {r->kind->crictl, r->kind->crictl_config, id, NULL};
    if (host_run(h, script, args, NULL, &a, err) < 0)
        return error_wrap(err, "crictl");
    if (a.status != 0) {
        host_explain(h, "crictl", &a, &e);
        *why = STEAL(e.message);
        return 0;
    }
    if (out)
        buf_adds(out, buf_str(&a.out));
    return 0;
}

int owned_stop_container(struct owned_run *r, size_t i, char **why, struct error *err)
{
    static const char ps[] = "as_root \"$1\" --config \"$2\" ps --name kube-apiserver -q";
    static const char stop[] = "as_root \"$1\" --config \"$2\" stop \"$3\"";
    const struct host *h = owned_host(&r->s->members[i].node);
    struct buf ids CLEANUP(buf_free) = {0};
    char id[OWNED_ID + 1];
    *why = NULL;
    if (crictl(r, h, ps, NULL, why, &ids, err) < 0)
        return -1;
    if (!*why && !owned_container_id(buf_str(&ids), id))
        *why =
            mem_printf("%s tells of no container kube-apiserver, or of several", r->kind->crictl);
    return *why ? 0 : crictl(r, h, stop, id, why, NULL, err);
}
