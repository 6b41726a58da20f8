/* Whole numbers of any length as decimal text: what counters add. Takes hostile bytes. */
#ifndef BROKER_BIGDEC_H
#define BROKER_BIGDEC_H

#include <stdbool.h>
#include <stddef.h>

/* [+-]?[0-9]+ */
bool bigdec_valid(const char *p, size_t len);
/* a + b (both valid), in its shortest form, into out: max(len_a, len_b) + 3 bytes. Returns the
 * length. */
size_t bigdec_add(const char *a, size_t len_a, const char *b, size_t len_b, char *out);
/* a - b. */
size_t bigdec_sub(const char *a, size_t len_a, const char *b, size_t len_b, char *out);

#endif
