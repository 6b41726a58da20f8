/* From the bytes of a segment file to a struct block. Whoever may block; the scratch belongs to one
 * task. */
#ifndef ENGINE_BLOCK_DECODE_H
#define ENGINE_BLOCK_DECODE_H

#include "engine/block.h"
#include "engine/segment_impl.h"

/* Calls fn for each message of a decoded data block. ST_CORRUPT when the run of MSG forms is not
 * valid; then fn has not been called. `bad`: the content does not match its CRC. */
typedef void (*seg_msg_fn)(void *arg, const struct msg *m, uint32_t form_len, bool bad);
MUST_USE enum st seg_block_msgs(const struct seg_bh *bh, const uint8_t *raw, uint32_t crc_seed,
                                seg_msg_fn fn, void *arg);

/* Reads the data block that `line` describes, verifies it against it, decodes it. *b_out has one
 * reference. ST_CORRUPT, ST_IO, ST_NOMEM. */
MUST_USE enum st seg_block_load(const struct seg_io *io, const struct seg_bidx *line,
                                uint64_t file_id, uint32_t block_no, uint32_t crc_seed,
                                struct seg_scratch *sc, struct block **b_out, struct err *err);

struct lot;
/* The same of what was read before: head and body, as long as `line` says, stand at `bytes`, in
 * `lot`; a body that is stored as it is stays there, and the block holds a reference. lot NULL: it
 * is copied. */
MUST_USE enum st seg_block_of_lot(const struct seg_io *io, const struct seg_bidx *line,
                                  uint64_t file_id, uint32_t block_no, uint32_t crc_seed,
                                  const uint8_t *bytes, struct lot *lot, struct seg_scratch *sc,
                                  struct block **b_out, struct err *err);
#endif
