/* Moments as RFC 3339 in UTC, to the second: "2026-01-02T03:04:05Z". */
#ifndef ENCRYPT_STATE_TIMESTAMP_H
#define ENCRYPT_STATE_TIMESTAMP_H

#include "base/mem.h"

#include <stdbool.h>

/* Now. To be freed with mem_free(). */
char *timestamp_now(void);
/* So many seconds after 1970. NULL where that is no year up to 9999. To be freed with mem_free().
 */
char *timestamp_at(long long seconds);

/* True for a moment of exactly this form (a second 60 included), of the years 1970 to 9999. */
bool timestamp_valid(const char *s);

#endif
