/* Slots of a few sizes, found by 32-bit handles instead of pointers: nodes and entries of a subject
 * index. A slot takes its size rounded to 4 B and nothing beside it; a handle leads to it through
 * one small table.
 *
 * Each class of slots has chunks of its own, the first of 2 slots, later ones of up to 64 KiB; an
 * empty chunk is given back. Slots do not move. A slot is aligned to 4 B. Handles are never 0, at
 * most 31 bits, and used again. Pure memory, one thread. */
#ifndef ENGINE_SUBJECT_SLAB_H
#define ENGINE_SUBJECT_SLAB_H

#include "engine/base/base.h"

#define SLAB_SLOT_BITS 11u /* of a handle: the slot; above: the chunk */
#define SLAB_SLOTS_MAX (1u << SLAB_SLOT_BITS)

struct slab_chunk {
    uint8_t *mem; /* owned; NULL = the number is free, `next` is the next free one */
    uint32_t stride;
    uint32_t prev, next; /* of the chunks of the class that have room */
    uint16_t cls;
    uint16_t cap, live;
    uint16_t used; /* slots that were ever taken */
    uint16_t free; /* slot + 1 that was given back last; 0 = none */
};
struct slab_class {
    uint32_t room; /* a chunk with a free slot; 0 = none */
    uint32_t chunks;
};
struct slab {
    struct slab_chunk *chunks; /* owned; [0] is not used */
    uint32_t n, cap;
    uint32_t free;              /* a chunk number to use again; 0 = none */
    struct slab_class *classes; /* owned */
    uint32_t nclasses;
    uint64_t bytes; /* of chunks and tables */
};

/* The first bytes of a slot that was given back may still be read: a user keeps a mark there behind
 * the first two. */
#define SLAB_FREE_HEAD 24u

/* Zeroed is valid and empty. */
void slab_fini(struct slab *s);
/* All slots of a class have the same `stride`, a multiple of 4 up to 68 KiB. Not cleared. */
void *slab_take(struct slab *s, uint16_t cls, uint32_t stride, uint32_t *handle_out);
void slab_give(struct slab *s, uint32_t handle);
static inline void *slab_at(const struct slab *s, uint32_t handle)
{
    const struct slab_chunk *c = &s->chunks[handle >> SLAB_SLOT_BITS];
    return c->mem + (size_t)(handle & (SLAB_SLOTS_MAX - 1)) * c->stride;
}

#endif
