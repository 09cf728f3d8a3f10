/* The public functions: the engine's, with the public kind of error. */
#include "provisioner/engine.h"

#define SAME(name) _Static_assert((int)RESULT_##name == (int)ENCRYPT_##name, "exit codes")
SAME(OK);
SAME(FAILED);
SAME(USAGE);
SAME(STOPPED);
SAME(REFUSED);
SAME(FOUND);
SAME(INTERRUPTED);
SAME(TERMINATED);

/* Hands `from` over to the caller, where there is something. Gives rc. */
static int give(int rc, struct error *from, struct encrypt_error *to)
{
    if (rc == 0)
        return 0;
    encrypt_error_clear(to);
    *to = (struct encrypt_error){.result = (enum encrypt_result)(int)from->result,
                                 .message = STEAL(from->message),
                                 .state = STEAL(from->state),
                                 .next = STEAL(from->next)};
    return rc;
}

void encrypt_error_clear(struct encrypt_error *err)
{
    mem_free(err->message);
    mem_free(err->state);
    mem_free(err->next);
    *err = (struct encrypt_error){0};
}

const char *encrypt_version(void)
{
    return ENCRYPT_VERSION;
}

int encrypt_init(unsigned leave, struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_init(leave, &e), &e, err);
}

int encrypt_up(const struct encrypt_options *o, struct encrypt_report *report,
               struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_up(o, report, &e), &e, err);
}

int encrypt_rotate_key(const struct encrypt_options *o, struct encrypt_report *report,
                       struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_rotate_key(o, report, &e), &e, err);
}

int encrypt_prepare(const struct encrypt_options *o, struct encrypt_report *report,
                    struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_prepare(o, report, &e), &e, err);
}

int encrypt_rotate(const struct encrypt_options *o, struct encrypt_report *report,
                   struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_rotate(o, report, &e), &e, err);
}

int encrypt_reencrypt(const struct encrypt_options *o, struct encrypt_report *report,
                      struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_reencrypt(o, report, &e), &e, err);
}

int encrypt_restart(const struct encrypt_options *o, struct encrypt_report *report,
                    struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_restart(o, report, &e), &e, err);
}

int encrypt_resume(const struct encrypt_options *o, struct encrypt_report *report,
                   struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_resume(o, report, &e), &e, err);
}

int encrypt_abort(const struct encrypt_options *o, struct encrypt_report *report,
                  struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_abort(o, report, &e), &e, err);
}

int encrypt_lint(const struct encrypt_options *o, struct encrypt_lint *out,
                 struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_lint(o, out, &e), &e, err);
}

int encrypt_doctor(const struct encrypt_options *o, const struct encrypt_doctor *d,
                   struct encrypt_diagnosis *out, struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_doctor(o, d, out, &e), &e, err);
}

int encrypt_status(const struct encrypt_options *o, struct encrypt_status *out,
                   struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_status(o, out, &e), &e, err);
}

int encrypt_plan(const struct encrypt_options *o, enum encrypt_plan_of what,
                 struct encrypt_plan *out, struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_plan(o, what, out, &e), &e, err);
}

int encrypt_up_initial(const struct encrypt_options *o, struct encrypt_start *out,
                       struct encrypt_error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    return give(engine_up_initial(o, out, &e), &e, err);
}
