/*
 * What encrypt.h offers, as the engine has it: with its own kind of error. api.c alone calls these,
 * and turns the one error into the other. Contracts: encrypt.h.
 */
#ifndef ENCRYPT_PROVISIONER_ENGINE_H
#define ENCRYPT_PROVISIONER_ENGINE_H

#include "base/error.h"
#include "provisioner/encrypt.h"

int engine_init(unsigned leave, struct error *err) MUST_CHECK;
int engine_up(const struct encrypt_options *o, struct encrypt_report *report,
              struct error *err) MUST_CHECK;
int engine_rotate_key(const struct encrypt_options *o, struct encrypt_report *report,
                      struct error *err) MUST_CHECK;
int engine_prepare(const struct encrypt_options *o, struct encrypt_report *report,
                   struct error *err) MUST_CHECK;
int engine_rotate(const struct encrypt_options *o, struct encrypt_report *report,
                  struct error *err) MUST_CHECK;
int engine_reencrypt(const struct encrypt_options *o, struct encrypt_report *report,
                     struct error *err) MUST_CHECK;
int engine_restart(const struct encrypt_options *o, struct encrypt_report *report,
                   struct error *err) MUST_CHECK;
int engine_resume(const struct encrypt_options *o, struct encrypt_report *report,
                  struct error *err) MUST_CHECK;
int engine_abort(const struct encrypt_options *o, struct encrypt_report *report,
                 struct error *err) MUST_CHECK;
int engine_lint(const struct encrypt_options *o, struct encrypt_lint *out,
                struct error *err) MUST_CHECK;
int engine_doctor(const struct encrypt_options *o, const struct encrypt_doctor *d,
                  struct encrypt_diagnosis *out, struct error *err) MUST_CHECK;
int engine_status(const struct encrypt_options *o, struct encrypt_status *out,
                  struct error *err) MUST_CHECK;
int engine_plan(const struct encrypt_options *o, enum encrypt_plan_of what,
                struct encrypt_plan *out, struct error *err) MUST_CHECK;
int engine_up_initial(const struct encrypt_options *o, struct encrypt_start *out,
                      struct error *err) MUST_CHECK;

#endif
