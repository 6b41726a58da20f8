/* Memory that a large transfer fills and that the blocks in it share.
 *
 * 2 MiB each, made of huge pages: a transfer into small pages takes more than twice as long. A lot
 * goes back to its pool with the last reference, whichever block holds it; the pool's max bounds
 * how many there are, since one block that stays holds all of its lot. Beyond, readers copy blocks
 * out. The pool outlives its owner as long as a lot does: what a client has yet to be sent may be
 * the last of a store. Any thread. */
#ifndef ENGINE_LOT_H
#define ENGINE_LOT_H

#include <stdatomic.h>

#include "engine/base/base.h"

#define LOT_BYTES ((size_t)2 * MIB)

struct lot_pool;

struct lot {
    atomic_uint refs;
    struct lot_pool *pool;
    struct lot *next; /* among the free ones; guarded by: pool's mutex */
    uint8_t *pages;   /* owned; LOT_BYTES */
};

/* At most `max` lots, of which `max_free` are kept for the next who ask. */
struct lot_pool *lot_pool_create(unsigned max, unsigned max_free);
void lot_pool_destroy(struct lot_pool *p); /* NULL is a no-op */
/* One reference; NULL: there are as many as may be. */
struct lot *lot_get(struct lot_pool *p);
void lot_acquire(struct lot *l);
void lot_release(struct lot *l); /* NULL is a no-op */
/* True when nobody else holds it: it may be filled anew. Only the owner of that reference asks. */
static inline bool lot_is_mine(const struct lot *l)
{
    return atomic_load_explicit(&l->refs, memory_order_acquire) == 1;
}

#endif
