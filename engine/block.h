/* A decoded data block: messages of a segment, in memory, immutable, shared by reference count.
 *
 * Decoding has verified the header, the body's checksum, every bound, the order of sequences and
 * every message's content; a message with bad content is kept apart and found as ST_CORRUPT. Any
 * thread. */
#ifndef ENGINE_BLOCK_H
#define ENGINE_BLOCK_H

#include <stdatomic.h>

#include "engine/record.h"

struct block {
    atomic_uint refs;
    uint64_t file_id;  /* key in the cache */
    uint32_t block_no; /* data block number in its segment */
    uint32_t nmsgs;
    uint32_t raw_len;
    uint32_t bad; /* messages with bad content */
    uint64_t first_seq;
    uint64_t last_seq;
    uint32_t *offs;   /* inside the allocation; nmsgs offsets into raw, BLOCK_OFF_BAD set where
                         content is bad */
    uint8_t *raw;     /* inside the allocation, in `body` or in `lot` */
    uint8_t *body;    /* owned; what was read, where it needed no decoding; or NULL */
    struct lot *lot;  /* owned reference; what raw stands in, if that is a lot; or NULL */
    size_t mem_bytes; /* of it all; of a lot, its part */
};
#define BLOCK_OFF_BAD 0x80000000u

void block_acquire(struct block *b);
void block_release(struct block *b); /* NULL is a no-op */
/* Message i (0..nmsgs-1); pointers are valid as long as the block is held. ST_CORRUPT when its
 * content is bad (seq and ts of *m_out are then set, nothing else). */
MUST_USE enum st block_msg(const struct block *b, uint32_t i, struct msg *m_out);
/* The message with this sequence. ST_NOTFOUND when the block does not hold it; ST_CORRUPT. */
MUST_USE enum st block_find(const struct block *b, uint64_t seq, struct msg *m_out);

#endif
