/*
 * cluster.rkestate, and our journal in it or (as a file of its own) as the whole text: any bytes.
 * What reads is written and reads again, equal. Seeds: tests/data/rke.
 */
#include "state/journal_json.h"
#include "state/json_text.h"
#include "state/rkestate.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void try_journal(const json_t *json)
{
    struct error err CLEANUP(error_clear) = {0};
    struct journal *j CLEANUP(cleanup_journal) = NULL, *k CLEANUP(cleanup_journal) = NULL;
    json_t *first CLEANUP(cleanup_json) = NULL, *second CLEANUP(cleanup_json) = NULL;
    if (journal_from_json(json, "f", &j, &err) != 0) {
        must(!j && err.result == RESULT_REFUSED && str_starts(err.message, "f:"));
        return;
    }
    must(journal_to_json(j, &first, &err) == 0);
    must(journal_from_json(first, "f", &k, &err) == 0);
    must(journal_to_json(k, &second, &err) == 0 && json_equal(first, second));
}

static void try_state(const char *text, size_t len)
{
    struct error err CLEANUP(error_clear) = {0};
    struct rkestate *s CLEANUP(cleanup_rkestate) = NULL, *again CLEANUP(cleanup_rkestate) = NULL;
    struct buf out CLEANUP(buf_free) = {0};
    if (rkestate_parse(text, len, "f", &s, &err) != 0) {
        must(!s && err.result == RESULT_REFUSED && str_starts(err.message, "f:"));
        return;
    }
    try_journal(json_object_get(s->root, "encrypt"));
    rkestate_certificate(s, "kube-ca");
    rkestate_key(s, "kube-ca");
    char **list = rkestate_controlplane(s);
    for (char **p = list; *p; p++)
        mem_free(*p);
    mem_free(list);
    rkestate_set_encryption(s, "new\n", len % 2);
    must(rkestate_agrees(s, len % 2));
    rkestate_is_custom(s);
    rkestate_copy_custom(s, s);
    rkestate_set_custom(s, NULL);
    must(!rkestate_is_custom(s));
    json_text_write(s->root, &out);
    must(rkestate_parse(out.data, out.len, "f", &again, &err) == 0);
    must(json_equal(s->root, again->root));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err CLEANUP(error_clear) = {0};
    json_t *json CLEANUP(cleanup_json) = NULL;
    try_state((const char *)data, size);
    if (json_text_read((const char *)data, size, "f", &json, &err) == 0)
        try_journal(json);
    return 0;
}
