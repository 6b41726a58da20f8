/* API levels (ADR-44): what a request may ask for, what a stream or consumer needs, and the three
 * entries in their metadata that say so.
 *
 *   _nats.req.level   the level that the config needs: what it uses decides
 *   _nats.level       the level of the server that answers
 *   _nats.ver         its version
 *
 * They are the server's: what a client writes under these names is dropped when a config is read,
 * and nothing of them is stored. The last two stand in answers about one stream or consumer, not in
 * lists, snapshots and /jsz. Pure; any thread. */
#ifndef BROKER_JS_LEVEL_H
#define BROKER_JS_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/json_out.h"
#include "broker/version.h"
#include "engine/store.h"

/* Of a metadata's bytes, those of _nats.req.level: they count. */
#define JS_LEVEL_METADATA_BYTES (sizeof "_nats.req.level" - 1 + 1)

/* True when the request's headers name a level above ours (`Nats-Required-Api-Level`), or none that
 * can be read. */
bool js_level_too_high(const uint8_t *hdr, size_t len);

unsigned js_level_of_stream(const struct stream_cfg *c);
unsigned js_level_of_consumer(const struct cons_cfg *c);

/* Drops our three entries. */
void js_level_strip(struct store_kv *kv, size_t *n);
/* Writes the member `metadata`: kv and the level needed, with `server` also what we are. */
void js_level_put(struct json_out *j, const struct store_kv *kv, size_t n, unsigned needed,
                  bool server);

#endif
