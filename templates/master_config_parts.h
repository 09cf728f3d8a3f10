/* What master_config.c and master_config_edit.c share. */
#ifndef ENCRYPT_TEMPLATES_MASTER_CONFIG_PARTS_H
#define ENCRYPT_TEMPLATES_MASTER_CONFIG_PARTS_H

#include "base/yaml.h"
#include "templates/master_config.h"

extern const char master_config_part[];      /* "kubernetesMasterConfig" */
extern const char master_config_arguments[]; /* its "apiServerArguments" */

/* The document, checked; *part: its kubernetesMasterConfig, a part of it. NULL: error set. */
struct yaml *master_config_read(const char *text, size_t len, const char *path,
                                const struct yaml **part, struct error *err);

#endif
