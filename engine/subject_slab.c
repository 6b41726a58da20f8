#include "engine/subject_slab.h"

#if defined(__SANITIZE_ADDRESS__)
#define SLAB_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_ASAN 1
#endif
#endif
#ifdef SLAB_ASAN
#include <sanitizer/asan_interface.h>
#else /* a slot that nobody has is not to be touched: ASan sees to it */
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define CHUNK_BYTES ((uint32_t)(64 * KIB))
#define CHUNKS_MAX (1u << (31 - SLAB_SLOT_BITS))

void slab_fini(struct slab *s)
{
    for (uint32_t i = 1; i < s->n; i++) {
        base_free(s->chunks[i].mem);
    }
    base_free(s->chunks);
    base_free(s->classes);
    *s = (struct slab){0};
}

static uint32_t chunk_number(struct slab *s)
{
    uint32_t no = s->free;
    if (no != 0) {
        s->free = s->chunks[no].next;
        return no;
    }
    if (s->n == s->cap) {
        uint32_t cap = s->cap == 0 ? 4 : s->cap + s->cap / 2;
        s->chunks = base_realloc(s->chunks, cap * sizeof *s->chunks);
        s->bytes += (cap - s->cap) * sizeof *s->chunks;
        s->cap = cap;
    }
    if (s->n == 0) {
        s->chunks[s->n++] = (struct slab_chunk){0};
    }
    ASSERT(s->n < CHUNKS_MAX);
    return s->n++;
}

static struct slab_class *class_of(struct slab *s, uint16_t cls)
{
    if (cls >= s->nclasses) {
        uint32_t n = cls + 1u;
        s->classes = base_realloc(s->classes, n * sizeof *s->classes);
        memset(s->classes + s->nclasses, 0, (n - s->nclasses) * sizeof *s->classes);
        s->bytes += (n - s->nclasses) * sizeof *s->classes;
        s->nclasses = n;
    }
    return &s->classes[cls];
}

/* Few slots for who has few; a stream's first subject does not cost 64 KiB. */
static uint32_t slots_of(const struct slab_class *k, uint32_t stride)
{
    uint64_t want = 2u << 2 * u64_min(k->chunks, 5);
    uint64_t most = u64_min(SLAB_SLOTS_MAX - 1, u64_max(CHUNK_BYTES / stride, 1));
    return (uint32_t)u64_min(want, most);
}

static void room_link(struct slab *s, struct slab_class *k, uint32_t no)
{
    s->chunks[no].prev = 0;
    s->chunks[no].next = k->room;
    if (k->room != 0) {
        s->chunks[k->room].prev = no;
    }
    k->room = no;
}

static void room_unlink(struct slab *s, struct slab_class *k, uint32_t no)
{
    const struct slab_chunk *c = &s->chunks[no];
    if (c->prev != 0) {
        s->chunks[c->prev].next = c->next;
    } else {
        k->room = c->next;
    }
    if (c->next != 0) {
        s->chunks[c->next].prev = c->prev;
    }
}

static void chunk_create(struct slab *s, uint16_t cls, uint32_t stride)
{
    struct slab_class *k = class_of(s, cls);
    uint32_t no = chunk_number(s), cap = slots_of(k, stride);
    s->chunks[no] = (struct slab_chunk){
        .mem = base_malloc((size_t)cap * stride),
        .stride = stride,
        .cls = cls,
        .cap = (uint16_t)cap,
    };
    ASAN_POISON_MEMORY_REGION(s->chunks[no].mem, (size_t)cap * stride);
    s->bytes += (uint64_t)cap * stride;
    k->chunks++;
    room_link(s, k, no);
}

void *slab_take(struct slab *s, uint16_t cls, uint32_t stride, uint32_t *handle_out)
{
    ASSERT(stride % 4 == 0);
    if (class_of(s, cls)->room == 0) {
        chunk_create(s, cls, stride);
    }
    struct slab_class *k = &s->classes[cls];
    uint32_t no = k->room, slot;
    struct slab_chunk *c = &s->chunks[no];
    ASSERT(c->stride == stride && c->live < c->cap);
    if (c->free != 0) {
        slot = c->free - 1u;
        ASAN_UNPOISON_MEMORY_REGION(c->mem + (size_t)slot * stride, stride);
        memcpy(&c->free, c->mem + (size_t)slot * stride, sizeof c->free);
    } else {
        slot = c->used++;
        ASAN_UNPOISON_MEMORY_REGION(c->mem + (size_t)slot * stride, stride);
    }
    c->live++;
    if (c->live == c->cap) {
        room_unlink(s, k, no);
    }
    *handle_out = no << SLAB_SLOT_BITS | slot;
    return c->mem + (size_t)slot * stride;
}

void slab_give(struct slab *s, uint32_t handle)
{
    uint32_t no = handle >> SLAB_SLOT_BITS;
    struct slab_chunk *c = &s->chunks[no];
    struct slab_class *k = &s->classes[c->cls];
    uint8_t *p = slab_at(s, handle);
    ASSERT(c->live > 0);
    if (c->live == c->cap) {
        room_link(s, k, no);
    }
    c->live--;
    memcpy(p, &c->free, sizeof c->free);
    c->free = (uint16_t)((handle & (SLAB_SLOTS_MAX - 1)) + 1);
    size_t head = u64_min(SLAB_FREE_HEAD, c->stride);
    ASAN_POISON_MEMORY_REGION(p + head, c->stride - head);
    if (c->live > 0) {
        return;
    }
    room_unlink(s, k, no);
    k->chunks--;
    s->bytes -= (uint64_t)c->cap * c->stride;
    ASAN_UNPOISON_MEMORY_REGION(c->mem, (size_t)c->cap * c->stride);
    base_free(c->mem);
    *c = (struct slab_chunk){.next = s->free};
    s->free = no;
}
