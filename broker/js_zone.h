/* The time zones that schedules name: read from the system's files when first asked for, and kept.
 *
 * The one file the loop thread reads: some kilobytes, once a zone (DESIGN rule 38 is about what
 * waits for a disk; these lie in the page cache). Bounded: at ZONES_MAX names all are let go and
 * read again. Names are paths below the folder of zones, as Go takes them: case counts, `..` and
 * what begins with a slash is none; `Local` is the machine's zone. Loop thread. */
#ifndef BROKER_JS_ZONE_H
#define BROKER_JS_ZONE_H

#include <stdbool.h>

#include "broker/msg.h"
#include "broker/tzif.h"
#include "engine/base/env.h"

struct js_zones;

void js_zones_destroy(struct js_zones *z);
/* *zone_out is valid until the next call; NULL: UTC. False: there is no such zone. */
bool js_zone_find(struct js_zones **zones, struct env *env, struct brk_str name,
                  const struct tzif **zone_out);

#endif
