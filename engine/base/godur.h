/* Durations as Go writes and reads them: "1h30m", "1.5s", "-2ms". Exact integers. Any thread. */
#ifndef ENGINE_BASE_GODUR_H
#define ENGINE_BASE_GODUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False for what is no duration, or does not fit. "0" needs no unit. */
bool godur_parse(const char *p, size_t len, int64_t *ns_out);

#define GODUR_MAX 40u
/* Writes at most GODUR_MAX bytes with the NUL ("1m0s", "1.5s", "250ms", "0s"); returns the length.
 */
size_t godur_put(char *out, int64_t ns);

#endif
