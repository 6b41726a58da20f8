/* Chunks: reference-counted memory for records (journal.h). A chunk may outlive its journal, since
 * tails and readers hold references; so releasing one touches nothing but the chunk. */
#include "engine/journal_int.h"

/* --- memory of chunks for large records ------------------------------------------------------- */

/* What a checkpoint lets go is what the next records want: the pages stay with the process while
 * they are in use, since taking them anew costs more than filling them. */
enum { KEPT_MAX = LIM_JOURNAL_WINDOW_BYTES_DEFAULT / LIM_JOURNAL_LARGE_CHUNK_BYTES };
static uint8_t *_Atomic kept[KEPT_MAX];
static atomic_uint kept_used; /* since the last trim */

static uint8_t *pages_take(void)
{
    atomic_fetch_add_explicit(&kept_used, 1, memory_order_relaxed);
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        uint8_t *p = atomic_load_explicit(&kept[i], memory_order_relaxed);
        if (p != NULL && (p = atomic_exchange(&kept[i], NULL)) != NULL) {
            return p;
        }
    }
    return base_pages(LIM_JOURNAL_LARGE_CHUNK_BYTES);
}

static void pages_give(uint8_t *p)
{
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        uint8_t *none = NULL;
        if (atomic_load_explicit(&kept[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong(&kept[i], &none, p)) {
            return;
        }
    }
    base_pages_free(p, LIM_JOURNAL_LARGE_CHUNK_BYTES);
}

void jr_chunks_trim(void)
{
    if (atomic_exchange(&kept_used, 0) != 0) {
        return;
    }
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        base_pages_free(atomic_exchange(&kept[i], NULL), LIM_JOURNAL_LARGE_CHUNK_BYTES);
    }
}

/* --- chunks ----------------------------------------------------------------------------------- */

struct jr_chunk *jr_chunk_create(struct jr *jr, size_t cap)
{
    ASSERT(cap <= UINT32_MAX);
    /* asked for as it is: a page more would fall into the allocator's next class, a quarter above
     */
    size_t room = (size_t)align_up(cap, BASE_PAGE);
    uint8_t *base =
        room == LIM_JOURNAL_LARGE_CHUNK_BYTES ? pages_take() : base_try_aligned(BASE_PAGE, room);
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
        if (c->cap == LIM_JOURNAL_LARGE_CHUNK_BYTES) {
            pages_give(c->base);
        } else {
            base_free(c->base);
        }
        base_free(c);
    }
}
