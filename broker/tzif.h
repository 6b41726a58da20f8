/* Time zones as the system keeps them: TZif files (RFC 9636), versions 1 to 4.
 *
 * glibc's own reader serves one zone a process (tzset); the libraries that read several carry their
 * own data (ICU) or a great deal else (GLib, libical), so these few fields are read here. From the
 * last transition on the POSIX TZ string at the end of the file decides. Leap seconds are passed
 * over, as Go does. Pure; takes hostile bytes; any thread. */
#ifndef BROKER_TZIF_H
#define BROKER_TZIF_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define TZIF_BYTES_MAX ((size_t)256 * 1024)

struct tzif;

/* ST_CORRUPT: it is none. The bytes are not kept. */
MUST_USE enum st tzif_parse(const uint8_t *p, size_t len, struct tzif **out);
void tzif_destroy(struct tzif *z);
/* Seconds east of UTC at unix time t_s, and until when that holds (exclusive; INT64_MAX: for good,
 * or for centuries). NULL is UTC. */
int32_t tzif_offset(const struct tzif *z, int64_t t_s, int64_t *until_s_out);

#endif
