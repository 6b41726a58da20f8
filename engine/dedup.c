#include "engine/dedup.h"

enum { CHUNK = 64, BLOB_VERSION = 1 };

struct entry {
    struct hash128 id;
    uint64_t seq;
    int64_t ts_ns;
};
struct dedup_chunk {
    struct entry v[CHUNK];
};

static struct entry *entry_at(const struct dedup *d, uint64_t ordinal)
{
    uint64_t i = ordinal / CHUNK - d->head / CHUNK;
    return &d->chunk[d->chunk_head + i]->v[ordinal % CHUNK];
}

/* A slot holds an ordinal modulo 2^32 - 1, plus 1; the window never holds so many that this is
 * ambiguous. */
static uint32_t to_slot(uint64_t ordinal)
{
    return (uint32_t)(ordinal % UINT32_MAX) + 1;
}
static uint64_t from_slot(const struct dedup *d, uint32_t slot)
{
    uint64_t behind = ((uint64_t)slot - 1 + UINT32_MAX - d->head % UINT32_MAX) % UINT32_MAX;
    return d->head + behind;
}

static bool same_id(struct hash128 a, struct hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

void dedup_init(struct dedup *d)
{
    memset(d, 0, sizeof *d);
}

void dedup_fini(struct dedup *d)
{
    dedup_clear(d);
    base_free(d->chunk);
    base_free(d->slot);
    memset(d, 0, sizeof *d);
}

void dedup_clear(struct dedup *d)
{
    for (size_t i = 0; i < d->chunk_n; i++) {
        base_free(d->chunk[d->chunk_head + i]);
    }
    base_free(d->slot);
    d->slot = NULL;
    d->slot_cap = d->slot_used = 0;
    d->chunk_head = d->chunk_n = 0;
    d->head = d->tail = 0;
    dedup_set_last_id(d, NULL, 0);
}

/* --- hash table: linear probing, backward shift on removal ------------------------------------ */

/* Place of the id's slot, or of the free slot where it would go. */
static size_t slot_place(const struct dedup *d, struct hash128 id)
{
    size_t mask = d->slot_cap - 1;
    size_t i = id.lo & mask;
    while (d->slot[i] != 0 && !same_id(entry_at(d, from_slot(d, d->slot[i]))->id, id)) {
        i = (i + 1) & mask;
    }
    return i;
}

static void slot_remove(struct dedup *d, size_t i)
{
    size_t mask = d->slot_cap - 1;
    d->slot_used--;
    for (size_t j = (i + 1) & mask; d->slot[j] != 0; j = (j + 1) & mask) {
        size_t home = entry_at(d, from_slot(d, d->slot[j]))->id.lo & mask;
        if (((j - home) & mask) >= ((j - i) & mask)) {
            d->slot[i] = d->slot[j];
            i = j;
        }
    }
    d->slot[i] = 0;
}

static void rehash(struct dedup *d, size_t cap)
{
    uint32_t *old = d->slot;
    size_t old_cap = d->slot_cap;
    d->slot = base_calloc(cap, sizeof d->slot[0]);
    d->slot_cap = cap;
    for (size_t i = 0; i < old_cap; i++) {
        if (old[i] != 0) {
            d->slot[slot_place(d, entry_at(d, from_slot(d, old[i]))->id)] = old[i];
        }
    }
    base_free(old);
}

bool dedup_find(const struct dedup *d, struct hash128 id, uint64_t *seq_out)
{
    if (d->slot_used == 0) {
        return false;
    }
    size_t i = slot_place(d, id);
    if (d->slot[i] == 0) {
        return false;
    }
    *seq_out = entry_at(d, from_slot(d, d->slot[i]))->seq;
    return true;
}

/* --- the ring --------------------------------------------------------------------------------- */

static struct entry *push_entry(struct dedup *d)
{
    uint64_t need = d->tail / CHUNK - d->head / CHUNK + 1;
    if (need > d->chunk_n) {
        if (d->chunk_head + d->chunk_n == d->chunk_cap) {
            if (d->chunk_head > d->chunk_cap / 2) {
                memmove(d->chunk, d->chunk + d->chunk_head, d->chunk_n * sizeof d->chunk[0]);
                d->chunk_head = 0;
            } else {
                d->chunk_cap = d->chunk_cap == 0 ? 4 : d->chunk_cap * 2;
                d->chunk = base_realloc(d->chunk, d->chunk_cap * sizeof d->chunk[0]);
            }
        }
        d->chunk[d->chunk_head + d->chunk_n] = base_malloc(sizeof(struct dedup_chunk));
        d->chunk_n++;
    }
    d->tail++;
    return entry_at(d, d->tail - 1);
}

void dedup_add(struct dedup *d, struct hash128 id, uint64_t seq, int64_t ts_ns)
{
    ASSERT(d->tail - d->head < UINT32_MAX - 1);
    if ((d->slot_used + 1) * 4 > d->slot_cap * 3) {
        rehash(d, d->slot_cap == 0 ? 32 : d->slot_cap * 2);
    }
    size_t i = slot_place(d, id);
    if (d->slot[i] != 0 && entry_at(d, from_slot(d, d->slot[i]))->seq >= seq) {
        return;
    }
    if (d->tail > d->head) {
        ts_ns = i64_max(ts_ns, entry_at(d, d->tail - 1)->ts_ns);
    }
    d->slot_used += d->slot[i] == 0;
    *push_entry(d) = (struct entry){id, seq, ts_ns};
    d->slot[i] = to_slot(d->tail - 1);
}

size_t dedup_expire(struct dedup *d, int64_t cutoff_ns)
{
    size_t gone = 0;
    while (d->head < d->tail && entry_at(d, d->head)->ts_ns <= cutoff_ns) {
        size_t i = slot_place(d, entry_at(d, d->head)->id);
        if (d->slot[i] == to_slot(d->head)) { /* else a newer message has taken the id over */
            slot_remove(d, i);
        }
        d->head++;
        gone++;
        if (d->head % CHUNK == 0) {
            base_free(d->chunk[d->chunk_head]);
            d->chunk_head++;
            d->chunk_n--;
        }
    }
    if (gone > 0 && d->slot_cap > 32 && d->slot_used < d->slot_cap / 8) {
        rehash(d, d->slot_cap / 2);
    }
    return gone;
}

size_t dedup_count(const struct dedup *d)
{
    return d->slot_used;
}

size_t dedup_memory_bytes(const struct dedup *d)
{
    return d->chunk_n * sizeof(struct dedup_chunk) + d->chunk_cap * sizeof d->chunk[0] +
           d->slot_cap * sizeof d->slot[0] + d->last_id_len;
}

void dedup_set_last_id(struct dedup *d, const char *id, size_t len)
{
    if (id == NULL || len == 0) {
        base_free(d->last_id);
        d->last_id = NULL;
        d->last_id_len = 0;
        return;
    }
    if (len > d->last_id_len || d->last_id_len > 4 * len) {
        d->last_id = base_realloc(d->last_id, len);
    }
    memmove(d->last_id, id, len);
    d->last_id_len = len;
}

const char *dedup_last_id(const struct dedup *d, size_t *len_out)
{
    *len_out = d->last_id_len;
    return d->last_id;
}

void dedup_each(const struct dedup *d, dedup_fn fn, void *arg)
{
    for (uint64_t o = d->head; o < d->tail; o++) {
        const struct entry *e = entry_at(d, o);
        if (!fn(arg, e->id, e->seq, e->ts_ns)) {
            return;
        }
    }
}

/* --- blob: version u8, last id (varint length, bytes), entries (varint count, then each: id 16 B,
 * sequence and time as zigzag differences to the entry before)
 * ----------------------------------------------------------------------------- */

size_t dedup_encode_bound(const struct dedup *d, size_t last_id_len)
{
    return 1 + 10 + last_id_len + 10 + (size_t)(d->tail - d->head) * (16 + 10 + 10);
}

size_t dedup_encode(const struct dedup *d, uint64_t last_seq, const char *last_id,
                    size_t last_id_len, uint8_t *out)
{
    uint8_t *p = out;
    *p++ = BLOB_VERSION;
    p += varint_put(p, last_id_len);
    if (last_id_len > 0) {
        memcpy(p, last_id, last_id_len);
        p += last_id_len;
    }
    uint64_t n = 0;
    for (uint64_t o = d->head; o < d->tail; o++) {
        n += entry_at(d, o)->seq <= last_seq;
    }
    p += varint_put(p, n);
    uint64_t seq = 0, ts = 0;
    for (uint64_t o = d->head; o < d->tail; o++) {
        const struct entry *e = entry_at(d, o);
        if (e->seq > last_seq) {
            continue;
        }
        put_u64le(p, e->id.lo);
        put_u64le(p + 8, e->id.hi);
        p += 16;
        p += varint_put(p, zigzag((int64_t)(e->seq - seq)));
        p += varint_put(p, zigzag((int64_t)((uint64_t)e->ts_ns - ts)));
        seq = e->seq;
        ts = (uint64_t)e->ts_ns;
    }
    return (size_t)(p - out);
}

static const uint8_t *take(struct varint_in *r, size_t n)
{
    const uint8_t *p = r->p;
    r->p += n;
    r->left -= n;
    return p;
}

static bool decode(struct dedup *d, struct varint_in *r)
{
    if (*take(r, 1) != BLOB_VERSION) {
        return false;
    }
    uint64_t id_len = varint_next(r);
    if (r->bad || id_len > r->left) {
        return false;
    }
    dedup_set_last_id(d, (const char *)take(r, (size_t)id_len), (size_t)id_len);
    uint64_t n = varint_next(r);
    if (r->bad || n > r->left / 18) {
        return false;
    }
    uint64_t seq = 0, ts = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (r->left < 18) {
            return false;
        }
        const uint8_t *p = take(r, 16);
        struct hash128 id = {get_u64le(p), get_u64le(p + 8)};
        seq += (uint64_t)unzigzag(varint_next(r));
        ts += (uint64_t)unzigzag(varint_next(r));
        if (r->bad || seq == 0) {
            return false;
        }
        dedup_add(d, id, seq, (int64_t)ts);
    }
    return r->left == 0;
}

enum st dedup_decode(struct dedup *d, const uint8_t *in, size_t len, struct err *err)
{
    dedup_clear(d);
    if (len == 0) {
        return ST_OK;
    }
    struct varint_in r = {in, len, false};
    if (!decode(d, &r)) {
        dedup_clear(d);
        return err_set(err, ST_CORRUPT, 0, "message ids: bad blob at byte %zu", (size_t)(r.p - in));
    }
    return ST_OK;
}
