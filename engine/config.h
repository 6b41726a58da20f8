/* Configurations of streams and consumers as bytes: the payload of a CFG record and of the
 * catalogue's cfg column (engine/FORMAT.md).
 *
 *   off 0 kind u8 (0 stream, 1 consumer) · 1 op u8 (0 create, 1 update) · 2 zero u16 · 4
 * cfg_version u32 off 8 created_ns i64 · 16 fields: { id u8, length varint, bytes }* ascending by
 * id; absent = default
 *
 * Field ids are never reused. An unknown id is an error (ST_VERSION), never ignored: a config that
 * we understand by half must not be served. Pure functions. */
#ifndef ENGINE_CONFIG_H
#define ENGINE_CONFIG_H

#include "engine/store.h"

struct cfg_head {
    uint8_t kind, op;
    uint32_t cfg_version;
    int64_t created_ns;
};
enum { CFG_KIND_STREAM = 0, CFG_KIND_CONSUMER = 1, CFG_OP_CREATE = 0, CFG_OP_UPDATE = 1 };

/* base_malloc'ed bytes in *out. */
void stream_cfg_encode(const struct cfg_head *h, const struct stream_cfg *c, uint8_t **out,
                       size_t *len_out);
void cons_cfg_encode(const struct cfg_head *h, const struct cons_cfg *c, uint8_t **out,
                     size_t *len_out);
/* Initialises *c_out and fills it; on failure it is left finished. ST_CORRUPT, ST_VERSION. */
MUST_USE enum st stream_cfg_decode(const uint8_t *in, size_t len, struct cfg_head *h_out,
                                   struct stream_cfg *c_out);
MUST_USE enum st cons_cfg_decode(const uint8_t *in, size_t len, struct cfg_head *h_out,
                                 struct cons_cfg *c_out);

#endif
