/*
 * What the tests of transitions share: configurations of one key, and the forms between two.
 */
#ifndef ENCRYPT_TESTS_FORMS_H
#define ENCRYPT_TESTS_FORMS_H

#include "provisioner/planner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define F FORM_BIT(FORM_FROM)
#define W FORM_BIT(FORM_WIDEN)
#define S FORM_BIT(FORM_SWITCH)
#define T FORM_BIT(FORM_TO)

/* AES-CBC with the key "k" and this letter; to be freed. */
static inline struct encryption_config *managed(char letter)
{
    unsigned char secret[32];
    memset(secret, letter, sizeof(secret));
    char name[] = {'k', letter, '\0'};
    return encryption_config_managed(PROVIDER_AESCBC, NULL,
                                     &(struct encryption_key){name, secret, sizeof(secret)});
}

/* From one to the other; both are freed. forms_free(). */
static inline struct forms make(struct encryption_config *from, struct encryption_config *to)
{
    struct error err CLEANUP(error_clear) = {0};
    struct forms f = {0};
    if (forms_make(from, to, &f, &err) != 0)
        fail_msg("%s", err.message);
    encryption_config_free(from);
    encryption_config_free(to);
    return f;
}

#endif
