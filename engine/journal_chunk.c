/* Chunks: reference-counted memory for records (journal.h). A chunk may outlive its journal, since
 * tails and readers hold references; so releasing one touches nothing but the chunk. */
#include "engine/journal_int.h"

struct jr_chunk *jr_chunk_create(struct jr *jr, size_t cap)
{
    ASSERT(cap <= UINT32_MAX);
    /* asked for as it is: a page more would fall into the allocator's next class, a quarter above
     */
    size_t room = (size_t)align_up(cap, BASE_PAGE);
    uint8_t *base = base_try_aligned(BASE_PAGE, room);
    if (base == NULL) {
        return NULL;
    }
    struct jr_chunk *c = base_calloc(1, sizeof(*c));
    c->base = base;
    c->cap = room;
    c->jr = jr;
    atomic_init(&c->refs, 1);
    return c;
}

void jr_chunk_acquire(struct jr_chunk *c)
{
    unsigned before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
}

void jr_chunk_release(struct jr_chunk *c)
{
    unsigned before = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1) {
        base_free(c->base);
        base_free(c);
    }
}
