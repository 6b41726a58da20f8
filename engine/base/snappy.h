/* Snappy and S2: what nats-server packs its snapshots with. We write Snappy (blocks of at most 64
 * KiB, framing format), which every S2 reader takes; we read both: S2 adds repeated offsets, copies
 * further back and frames of up to 4 MiB. Nothing here allocates but struct s2_reader. Pure. */
#ifndef ENGINE_BASE_SNAPPY_H
#define ENGINE_BASE_SNAPPY_H

#include "engine/base/base.h"

#define SNAPPY_RAW_MAX 65536u           /* of a block we write */
#define SNAPPY_HEAD_SIZE 10u            /* stream identifier */
#define S2_RAW_MAX (4u * 1024u * 1024u) /* of a frame we read */
#define S2_STORED_MAX (S2_RAW_MAX + S2_RAW_MAX / 6 + 64u)

static inline size_t snappy_bound(size_t n)
{
    return 32 + n + n / 6;
}
/* Packs n <= SNAPPY_RAW_MAX bytes; out has snappy_bound(n). Returns the packed size. */
size_t snappy_block_put(const uint8_t *in, size_t n, uint8_t *out);
/* Unpacked length of a block and the bytes of that field. ST_CORRUPT. */
MUST_USE enum st s2_block_len(const uint8_t *in, size_t n, size_t *raw_len_out, size_t *head_out);
/* Unpacks a whole block into exactly out_len bytes. ST_CORRUPT. */
MUST_USE enum st s2_block_get(const uint8_t *in, size_t n, uint8_t *out, size_t out_len);

/* The identifier that a stream begins with. */
void snappy_head_put(uint8_t out[SNAPPY_HEAD_SIZE]);
/* One frame of n <= SNAPPY_RAW_MAX bytes; out has snappy_bound(n) + 8. Returns its size. */
size_t snappy_frame_put(const uint8_t *in, size_t n, uint8_t *out);

/* A stream of frames that comes in pieces. Zeroed is ready. */
struct s2_reader {
    uint8_t *part, *raw; /* owned: a frame under way; unpacked bytes */
    size_t npart, part_cap, raw_cap;
    bool begun; /* the identifier was there */
};
void s2_reader_fini(struct s2_reader *r);
/* Takes bytes from *in, *n until one frame with content is whole: ST_OK, its bytes (valid until the
 * next call). ST_AGAIN: all was taken, more is wanted. ST_CORRUPT. */
MUST_USE enum st s2_read(struct s2_reader *r, const uint8_t **in, size_t *n,
                         const uint8_t **raw_out, size_t *raw_len_out);
/* Nothing of a frame is missing. */
bool s2_at_end(const struct s2_reader *r);

#endif
