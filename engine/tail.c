#include "engine/tail.h"

void tail_init(struct tail *t)
{
    memset(t, 0, sizeof *t);
}

void tail_fini(struct tail *t)
{
    tail_trim(t, UINT64_MAX);
    base_free(t->slots);
    base_free(t->spans);
    base_free(t->chunks);
    memset(t, 0, sizeof *t);
}

/* Wider gaps start a new span (16 B); narrower ones are dead slots (8 B each). */
enum { GAP_MAX = 4 };

static struct tail_slot *slot_at(const struct tail *t, uint64_t number)
{
    return &t->slots[number & (t->slots_cap - 1)];
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
        v[(t->slot_first + i) & (cap - 1)] = *slot_at(t, t->slot_first + i);
    }
    base_free(t->slots);
    t->slots = v;
    t->slots_cap = cap;
}

/* --- spans ------------------------------------------------------------------------------------ */

static struct tail_span *span_at(const struct tail *t, size_t i)
{
    return &t->spans[t->spans_head + i];
}

static uint64_t span_end_slot(const struct tail *t, size_t i)
{
    return i + 1 < t->spans_n ? span_at(t, i + 1)->slot : t->slot_first + t->n;
}

static void add_span(struct tail *t, uint64_t seq)
{
    if (t->spans_head + t->spans_n == t->spans_cap) {
        if (t->spans_head * 2 > t->spans_cap) {
            memmove(t->spans, span_at(t, 0), t->spans_n * sizeof *t->spans);
        } else {
            size_t cap = t->spans_cap == 0 ? 1 : t->spans_cap * 2;
            struct tail_span *v = base_malloc(cap * sizeof *v);
            for (size_t i = 0; i < t->spans_n; i++) {
                v[i] = *span_at(t, i);
            }
            base_free(t->spans);
            t->spans = v;
            t->spans_cap = cap;
        }
        t->spans_head = 0;
    }
    t->spans_n++;
    *span_at(t, t->spans_n - 1) = (struct tail_span){seq, t->slot_first + t->n};
}

/* The last span that begins at or before seq (by_slot: at or before slot number seq). Not empty,
 * and the first span begins before. */
static size_t find_span(const struct tail *t, uint64_t seq, bool by_slot)
{
    size_t lo = 0, hi = t->spans_n - 1;
    while (lo < hi) {
        size_t mid = lo + (hi - lo + 1) / 2;
        const struct tail_span *s = span_at(t, mid);
        if ((by_slot ? s->slot : s->seq) <= seq) {
            lo = mid;
        } else {
            hi = mid - 1;
        }
    }
    return lo;
}

/* The slot of seq, or NULL where a gap stands. */
static struct tail_slot *slot_of(const struct tail *t, uint64_t seq)
{
    if (t->n == 0 || seq < t->first_seq || seq >= t->end_seq) {
        return NULL;
    }
    size_t i = t->spans_n - 1;
    if (seq < span_at(t, i)->seq) {
        i = find_span(t, seq, false);
    }
    uint64_t number = span_at(t, i)->slot + (seq - span_at(t, i)->seq);
    return number < span_end_slot(t, i) ? slot_at(t, number) : NULL;
}

static uint64_t seq_of_slot(const struct tail *t, uint64_t number)
{
    const struct tail_span *s = span_at(t, find_span(t, number, true));
    return s->seq + (number - s->slot);
}

static void drop_first_slot(struct tail *t)
{
    t->slot_first++;
    t->n--;
    if (t->n == 0) {
        t->first_seq = t->end_seq;
        t->spans_n = 0;
        t->spans_head = 0;
    } else if (t->spans_n > 1 && span_at(t, 1)->slot == t->slot_first) {
        t->spans_head++;
        t->spans_n--;
        t->first_seq = span_at(t, 0)->seq;
    } else {
        t->first_seq++;
        span_at(t, 0)->seq++;
        span_at(t, 0)->slot++;
    }
}

/* --- chunks ----------------------------------------------------------------------------------- */

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

/* A slot for seq, dead; what lies between the last slot and it is a gap. */
static void extend(struct tail *t, uint64_t seq)
{
    if (t->n == 0 || seq - t->end_seq > GAP_MAX) {
        if (t->n == 0) {
            t->first_seq = seq;
        }
        add_span(t, seq);
        t->end_seq = seq;
    }
    while (t->end_seq <= seq) {
        if (t->n == t->slots_cap) {
            grow_slots(t);
        }
        *slot_at(t, t->slot_first + t->n) = (struct tail_slot){0, 0};
        t->n++;
        t->end_seq++;
    }
}

void tail_add(struct tail *t, uint64_t seq, struct jr_chunk *chunk, uint32_t off,
              uint32_t msg_bytes)
{
    ASSERT(off % 8 == 0);
    ASSERT(t->n == 0 || seq >= t->end_seq);
    extend(t, seq);
    uint32_t number = chunk_number(t, chunk);
    chunk_at(t, number)->live++;
    *slot_at(t, t->slot_first + t->n - 1) = (struct tail_slot){number, off / 8};
    t->msgs++;
    t->bytes += msg_bytes;
}

const uint8_t *tail_get(const struct tail *t, uint64_t seq, struct jr_chunk **chunk_out)
{
    const struct tail_slot *s = slot_of(t, seq);
    if (s == NULL || s->chunk_no == 0) {
        return NULL;
    }
    struct jr_chunk *c = chunk_at(t, s->chunk_no)->chunk;
    if (chunk_out != NULL) {
        *chunk_out = c;
    }
    return c->base + (size_t)s->off8 * 8;
}

uint64_t tail_next(const struct tail *t, uint64_t seq)
{
    if (t->n == 0 || seq >= t->end_seq) {
        return 0;
    }
    uint64_t number = t->slot_first;
    if (seq > t->first_seq) {
        size_t i = find_span(t, seq, false);
        number = u64_min(span_at(t, i)->slot + (seq - span_at(t, i)->seq), span_end_slot(t, i));
    }
    for (; number < t->slot_first + t->n; number++) {
        if (slot_at(t, number)->chunk_no != 0) {
            return seq_of_slot(t, number);
        }
    }
    return 0;
}

uint64_t tail_seq_at_time(const struct tail *t, int64_t ts_ns)
{
    uint64_t lo = t->slot_first, hi = t->slot_first + t->n, end = hi;
    struct msg m;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2, at = mid;
        while (at < hi && slot_at(t, at)->chunk_no == 0) {
            at++; /* dead slots are stepped over */
        }
        const uint8_t *p = at < hi ? tail_get(t, seq_of_slot(t, at), NULL) : NULL;
        if (p == NULL || msg_get(p, get_u32le(p), &m) != ST_OK || m.ts_ns >= ts_ns) {
            hi = mid;
        } else {
            lo = at + 1;
        }
    }
    return lo < end ? seq_of_slot(t, lo) : tail_end_seq(t);
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
    struct tail_slot *s = slot_of(t, seq);
    if (s == NULL || s->chunk_no == 0) {
        return;
    }
    struct tail_chunk *c = chunk_at(t, s->chunk_no);
    t->msgs--;
    t->bytes -= get_u32le(c->chunk->base + (size_t)s->off8 * 8);
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
        drop_first_slot(t);
    }
    if (t->n == 0 && t->slots_cap > 4096) {
        base_free(t->slots);
        t->slots = NULL;
        t->slots_cap = 0;
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
    for (uint64_t seq = tail_next(t, 0); seq != 0; seq = tail_next(t, seq + 1)) {
        struct jr_chunk *c;
        const uint8_t *p = tail_get(t, seq, &c);
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
