#include "engine/tail.h"

void tail_init(struct tail *t)
{
    memset(t, 0, sizeof *t);
}

void tail_fini(struct tail *t)
{
    tail_trim(t, UINT64_MAX);
    base_free(t->slots);
    base_free(t->chunks);
    memset(t, 0, sizeof *t);
}

static struct tail_slot *slot_at(const struct tail *t, uint64_t seq)
{
    return &t->slots[(t->slots_head + (size_t)(seq - t->first_seq)) & (t->slots_cap - 1)];
}

static struct tail_chunk *chunk_at(const struct tail *t, uint32_t number)
{
    return &t->chunks[number & (t->chunks_cap - 1)];
}

static void grow_slots(struct tail *t)
{
    size_t cap = t->slots_cap == 0 ? 64 : t->slots_cap * 2;
    struct tail_slot *v = base_malloc(cap * sizeof *v);
    for (uint64_t i = 0; i < t->n; i++) {
        v[i] = *slot_at(t, t->first_seq + i);
    }
    base_free(t->slots);
    t->slots = v;
    t->slots_cap = cap;
    t->slots_head = 0;
}

static void grow_chunks(struct tail *t)
{
    size_t cap = t->chunks_cap == 0 ? 4 : t->chunks_cap * 2;
    struct tail_chunk *v = base_malloc(cap * sizeof *v);
    for (uint32_t i = 0; i < t->chunks_n; i++) {
        uint32_t number = t->chunks_first + i;
        v[number & (cap - 1)] = *chunk_at(t, number);
    }
    base_free(t->chunks);
    t->chunks = v;
    t->chunks_cap = cap;
}

/* The number of the chunk, taking a reference when it is new or was let go. Chunk numbers wrap; 0
 * is skipped. */
static uint32_t chunk_number(struct tail *t, struct jr_chunk *chunk)
{
    if (t->chunks_n > 0) {
        uint32_t last = t->chunks_first + t->chunks_n - 1;
        struct tail_chunk *c = chunk_at(t, last);
        if (c->chunk == chunk) {
            return last;
        }
    }
    if (t->chunks_n == t->chunks_cap) {
        grow_chunks(t);
    }
    if (t->chunks_n == 0 && t->chunks_first == 0) {
        t->chunks_first = 1;
    }
    uint32_t number = t->chunks_first + t->chunks_n;
    t->chunks_n++;
    if (number == 0) { /* wrapped: slot value 0 means dead, so the number stays unused */
        *chunk_at(t, 0) = (struct tail_chunk){NULL, 0};
        return chunk_number(t, chunk);
    }
    jr_chunk_acquire(chunk);
    *chunk_at(t, number) = (struct tail_chunk){chunk, 0};
    return number;
}

void tail_add(struct tail *t, uint64_t seq, struct jr_chunk *chunk, uint32_t off,
              uint32_t msg_bytes)
{
    ASSERT(off % 8 == 0);
    if (t->n == 0) {
        t->first_seq = seq;
    }
    ASSERT(seq >= tail_end_seq(t));
    while (tail_end_seq(t) <= seq) {
        if (t->n == t->slots_cap) {
            grow_slots(t);
        }
        *slot_at(t, tail_end_seq(t)) = (struct tail_slot){0, 0};
        t->n++;
    }
    uint32_t number = chunk_number(t, chunk);
    chunk_at(t, number)->live++;
    *slot_at(t, seq) = (struct tail_slot){number, off / 8};
    t->msgs++;
    t->bytes += msg_bytes;
}

const uint8_t *tail_get(const struct tail *t, uint64_t seq, struct jr_chunk **chunk_out)
{
    if (t->n == 0 || seq < t->first_seq || seq >= tail_end_seq(t)) {
        return NULL;
    }
    const struct tail_slot *s = slot_at(t, seq);
    if (s->chunk_no == 0) {
        return NULL;
    }
    struct jr_chunk *c = chunk_at(t, s->chunk_no)->chunk;
    if (chunk_out != NULL) {
        *chunk_out = c;
    }
    return c->base + (size_t)s->off8 * 8;
}

static void drop_dead_chunks(struct tail *t)
{
    while (t->chunks_n > 0 && chunk_at(t, t->chunks_first)->chunk == NULL) {
        t->chunks_first++;
        t->chunks_n--;
    }
}

void tail_kill(struct tail *t, uint64_t seq)
{
    const uint8_t *p = tail_get(t, seq, NULL);
    if (p == NULL) {
        return;
    }
    struct tail_slot *s = slot_at(t, seq);
    struct tail_chunk *c = chunk_at(t, s->chunk_no);
    t->msgs--;
    t->bytes -= get_u32le(p);
    s->chunk_no = 0;
    c->live--;
    if (c->live == 0) {
        jr_chunk_release(c->chunk);
        c->chunk = NULL;
        drop_dead_chunks(t);
    }
}

void tail_trim(struct tail *t, uint64_t seq)
{
    while (t->n > 0 && t->first_seq < seq) {
        tail_kill(t, t->first_seq);
        t->first_seq++;
        t->slots_head = (t->slots_head + 1) & (t->slots_cap - 1);
        t->n--;
    }
    if (t->n == 0 && t->slots_cap > 4096) {
        base_free(t->slots);
        t->slots = NULL;
        t->slots_cap = 0;
        t->slots_head = 0;
    }
}

void tail_rehome(struct tail *t, uint64_t upto_seq)
{
    size_t pinned = 0;
    for (uint32_t i = 0; i < t->chunks_n; i++) {
        const struct tail_chunk *c = chunk_at(t, t->chunks_first + i);
        pinned += c->chunk != NULL ? c->chunk->cap : 0;
    }
    if (t->msgs == 0 || pinned < 2 * t->bytes + 8192) {
        return;
    }
    struct jr_chunk *home = jr_chunk_create(NULL, t->bytes + 8 * t->msgs);
    if (home == NULL) {
        return;
    }
    /* A fresh tail in the same order: what lies above upto_seq keeps its chunk. */
    struct tail fresh;
    tail_init(&fresh);
    for (uint64_t seq = t->first_seq; seq < tail_end_seq(t); seq++) {
        struct jr_chunk *c;
        const uint8_t *p = tail_get(t, seq, &c);
        if (p == NULL) {
            continue;
        }
        uint32_t len = get_u32le(p);
        if (seq <= upto_seq) {
            memcpy(home->base + home->used, p, len);
            tail_add(&fresh, seq, home, (uint32_t)home->used, len);
            home->used += align_up(len, 8);
        } else {
            tail_add(&fresh, seq, c, (uint32_t)(p - c->base), len);
        }
    }
    jr_chunk_release(home);
    tail_fini(t);
    *t = fresh;
}
