/* Postings: the sequences of one subject. One or two lie in the entry; up to 4096 in one chunk of
 * u32 offsets; more, or a span of more than 32 bits, in a directory of chunks. A chunk is an array
 * with free room at both ends: taking from the front moves `head`, taking from the middle moves the
 * shorter side. */
#include "engine/subject_index_impl.h"

static size_t chunk_bytes(size_t cap)
{
    return sizeof(struct posts_chunk) + cap * sizeof(uint32_t);
}
static size_t dir_bytes(size_t cap)
{
    return sizeof(struct posts_dir) + cap * sizeof(struct posts_slot);
}

static bool has_dir(const struct sidx_entry *e)
{
    return (e->u.ptr & 1) != 0;
}
static struct posts_dir *dir_of(const struct sidx_entry *e)
{
    return (struct posts_dir *)(e->u.ptr & ~(uintptr_t)1);
}
static struct posts_chunk *chunk_of(const struct sidx_entry *e)
{
    return (struct posts_chunk *)e->u.ptr;
}

static void set_dir(struct sidx_entry *e, struct posts_dir *d)
{
    e->u.ptr = (uintptr_t)d | 1;
    e->count = d->total < UINT32_MAX ? (uint32_t)d->total : UINT32_MAX;
}

/* --- chunks ----------------------------------------------------------------------------------- */

static uint64_t chunk_at(const struct posts_chunk *c, size_t i)
{
    return c->base + c->off[c->head + i];
}

/* Number of postings of c below seq. */
static size_t chunk_below(const struct posts_chunk *c, uint64_t seq)
{
    if (seq <= c->base) {
        return 0;
    }
    uint64_t rel = seq - c->base;
    const uint32_t *p = c->off + c->head;
    size_t lo = 0, hi = c->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (p[mid] < rel) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static struct posts_chunk *chunk_create(uint64_t base, size_t cap, uint64_t *mem)
{
    struct posts_chunk *c = base_malloc(chunk_bytes(cap));
    c->base = base;
    c->head = 0;
    c->n = 0;
    c->cap = (uint16_t)cap;
    *mem += chunk_bytes(cap);
    return c;
}

static void chunk_destroy(struct posts_chunk *c, uint64_t *mem)
{
    *mem -= chunk_bytes(c->cap);
    base_free(c);
}

static struct posts_chunk *chunk_resize(struct posts_chunk *c, size_t cap, uint64_t *mem)
{
    ASSERT(cap >= c->n && cap <= POSTS_CHUNK_MAX);
    memmove(c->off, c->off + c->head, c->n * sizeof c->off[0]);
    c->head = 0;
    *mem = *mem - chunk_bytes(c->cap) + chunk_bytes(cap);
    c = base_realloc(c, chunk_bytes(cap));
    c->cap = (uint16_t)cap;
    return c;
}

/* True when `want` more postings, the last of them seq, fit the offsets and the greatest capacity.
 */
static bool chunk_fits(const struct posts_chunk *c, size_t want, uint64_t seq)
{
    return c->n + want <= POSTS_CHUNK_MAX && seq - c->base <= UINT32_MAX;
}

/* Makes room for `want` more at the end; may move the chunk. Growth by a quarter keeps a posting
 * near 4-5 B. */
static struct posts_chunk *chunk_room(struct posts_chunk *c, size_t want, uint64_t *mem)
{
    size_t need = c->n + want;
    if ((size_t)c->head + need <= c->cap) {
        return c;
    }
    if (need <= c->cap && c->head >= c->cap / 4) {
        memmove(c->off, c->off + c->head, c->n * sizeof c->off[0]);
        c->head = 0;
        return c;
    }
    size_t cap = need <= 4 ? 4 : need <= 8 ? 8 : align_up(need + need / 4, 4);
    return chunk_resize(c, u64_min(cap, POSTS_CHUNK_MAX), mem);
}

static void chunk_push(struct posts_chunk *c, uint64_t seq)
{
    c->off[c->head + c->n] = (uint32_t)(seq - c->base);
    c->n++;
}

/* Takes the i-th out. */
static struct posts_chunk *chunk_take(struct posts_chunk *c, size_t i, uint64_t *mem)
{
    uint32_t *p = c->off + c->head;
    if (i < c->n / 2u) {
        memmove(p + 1, p, i * sizeof *p);
        c->head++;
    } else {
        memmove(p + i, p + i + 1, (c->n - i - 1) * sizeof *p);
    }
    c->n--;
    if (c->cap > 16 && c->n < c->cap / 4) {
        c = chunk_resize(c, c->n + c->n / 2u + 4, mem);
    }
    return c;
}

/* --- directory -------------------------------------------------------------------------------- */

/* Last chunk whose base is <= seq (its place counted from head); the first one when there is none.
 */
static uint32_t dir_find(const struct posts_dir *d, uint64_t seq)
{
    const struct posts_slot *v = d->v + d->head;
    uint32_t lo = 0, hi = d->n;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (v[mid].base <= seq) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static struct posts_dir *dir_push(struct posts_dir *d, struct posts_chunk *c, uint64_t *mem)
{
    if (d->head + d->n == d->cap) {
        if (d->head > d->cap / 2) {
            memmove(d->v, d->v + d->head, d->n * sizeof d->v[0]);
            d->head = 0;
        } else {
            uint32_t cap = d->cap * 2;
            *mem += dir_bytes(cap) - dir_bytes(d->cap);
            d = base_realloc(d, dir_bytes(cap));
            d->cap = cap;
        }
    }
    d->v[d->head + d->n] = (struct posts_slot){.base = c->base, .c = c, .n = c->n};
    d->n++;
    return d;
}

static void dir_drop_slot(struct posts_dir *d, uint32_t i, uint64_t *mem)
{
    struct posts_slot *v = d->v + d->head;
    chunk_destroy(v[i].c, mem);
    if (i == 0) {
        d->head++;
    } else {
        memmove(v + i, v + i + 1, (d->n - i - 1) * sizeof *v);
    }
    d->n--;
}

static void chunk_to_dir(struct sidx_entry *e, uint64_t *mem)
{
    struct posts_chunk *c = chunk_of(e);
    struct posts_dir *d = base_malloc(dir_bytes(4));
    *mem += dir_bytes(4);
    *d = (struct posts_dir){.total = c->n, .cap = 4};
    set_dir(e, dir_push(d, c, mem));
}

/* --- changes of form -------------------------------------------------------------------------- */

static void inline_to_chunk(struct sidx_entry *e, size_t want, uint64_t *mem)
{
    uint64_t first = e->u.first;
    bool two = e->count == 2;
    ASSERT(two || e->count == 1);
    size_t cap = u64_min(want + 2 <= 4 ? 4 : align_up(want + 2, 4), POSTS_CHUNK_MAX);
    struct posts_chunk *c = chunk_create(first, cap, mem);
    chunk_push(c, first);
    e->u.ptr = (uintptr_t)c;
    if (!two) {
        return;
    }
    if (e->last - first <= UINT32_MAX) {
        chunk_push(c, e->last);
        return;
    }
    chunk_to_dir(e, mem);
    struct posts_chunk *c2 = chunk_create(e->last, 4, mem);
    chunk_push(c2, e->last);
    struct posts_dir *d = dir_push(dir_of(e), c2, mem);
    d->total = 2;
    set_dir(e, d);
}

/* After a removal: picks the smallest form and sets count and last. */
static void settle(struct sidx_entry *e, uint64_t count, uint64_t *mem)
{
    if (count > 2) {
        if (!has_dir(e)) {
            e->count = (uint32_t)count;
            e->last = chunk_at(chunk_of(e), chunk_of(e)->n - 1u);
            return;
        }
        struct posts_dir *d = dir_of(e);
        const struct posts_chunk *c = d->v[d->head + d->n - 1].c;
        d->total = count;
        e->last = chunk_at(c, c->n - 1u);
        set_dir(e, d);
        if (d->n == 1) {
            e->u.ptr = (uintptr_t)d->v[d->head].c;
            *mem -= dir_bytes(d->cap);
            base_free(d);
        }
        return;
    }
    uint64_t first = 0, last = 0;
    if (count > 0) {
        e->count = 3; /* read it in its present form */
        first = sidx_first(e);
        if (!has_dir(e)) {
            last = chunk_at(chunk_of(e), chunk_of(e)->n - 1u);
        } else {
            struct posts_dir *d = dir_of(e);
            const struct posts_chunk *c = d->v[d->head + d->n - 1].c;
            last = chunk_at(c, c->n - 1u);
        }
    }
    e->count = 3;
    posts_free(e, mem);
    e->count = (uint32_t)count;
    e->u.first = first;
    e->last = last;
}

/* --- public ----------------------------------------------------------------------------------- */

void posts_free(struct sidx_entry *e, uint64_t *mem)
{
    if (e->count > 2) {
        if (!has_dir(e)) {
            chunk_destroy(chunk_of(e), mem);
        } else {
            struct posts_dir *d = dir_of(e);
            for (uint32_t i = 0; i < d->n; i++) {
                chunk_destroy(d->v[d->head + i].c, mem);
            }
            *mem -= dir_bytes(d->cap);
            base_free(d);
        }
    }
    e->count = 0;
    e->u.first = 0;
}

void posts_add(struct sidx_entry *e, uint64_t seq, uint64_t *mem)
{
    posts_load(e, &seq, 1, mem);
}

/* Appends as many as fit into the last chunk, or into a fresh one; returns how many. */
static size_t load_some(struct sidx_entry *e, const uint64_t *seqs, size_t n, uint64_t *mem)
{
    struct posts_dir *d = has_dir(e) ? dir_of(e) : NULL;
    struct posts_slot *s = d == NULL ? NULL : &d->v[d->head + d->n - 1];
    struct posts_chunk *c = d == NULL ? chunk_of(e) : s->c;
    size_t k = u64_min(n, POSTS_CHUNK_MAX - c->n);
    while (k > 0 && !chunk_fits(c, k, seqs[k - 1])) {
        k /= 2; /* spans of more than 32 bits are rare: no need to find the exact place */
    }
    if (k == 0) {
        if (d == NULL) {
            chunk_to_dir(e, mem);
        }
        struct posts_chunk *fresh =
            chunk_create(seqs[0], u64_min(align_up(n, 4), POSTS_CHUNK_MAX), mem);
        set_dir(e, dir_push(dir_of(e), fresh, mem));
        return 0;
    }
    c = chunk_room(c, k, mem);
    for (size_t i = 0; i < k; i++) {
        chunk_push(c, seqs[i]);
    }
    if (d == NULL) {
        e->u.ptr = (uintptr_t)c;
        e->count = c->n;
    } else {
        s->c = c;
        s->n = c->n;
        d->total += k;
        set_dir(e, d);
    }
    e->last = seqs[k - 1];
    return k;
}

void posts_load(struct sidx_entry *e, const uint64_t *seqs, size_t n, uint64_t *mem)
{
    ASSERT(n == 0 || e->count == 0 || seqs[0] > e->last);
    if (n > 0 && e->count == 0) {
        e->u.first = e->last = seqs[0];
        e->count = 1;
        seqs++;
        n--;
    }
    if (n > 0 && e->count == 1) {
        e->last = seqs[0];
        e->count = 2;
        seqs++;
        n--;
    }
    if (n > 0 && e->count == 2) {
        inline_to_chunk(e, n, mem);
        if (!has_dir(e)) {
            e->count = 3; /* from here on the pointer is meant; load_some sets the true count */
        }
    }
    while (n > 0) {
        size_t k = load_some(e, seqs, n, mem);
        seqs += k;
        n -= k;
    }
}

bool posts_remove(struct sidx_entry *e, uint64_t seq, uint64_t *mem)
{
    if (e->count <= 2) {
        if (e->count == 0 || (seq != e->u.first && seq != e->last)) {
            return false;
        }
        if (e->count == 2 && seq == e->u.first) {
            e->u.first = e->last;
        } else {
            e->last = e->u.first;
        }
        e->count--;
        return true;
    }
    struct posts_dir *d = has_dir(e) ? dir_of(e) : NULL;
    uint32_t at = d == NULL ? 0 : dir_find(d, seq);
    struct posts_chunk *c = d == NULL ? chunk_of(e) : d->v[d->head + at].c;
    size_t i = chunk_below(c, seq);
    if (i == c->n || chunk_at(c, i) != seq) {
        return false;
    }
    c = chunk_take(c, i, mem);
    if (d == NULL) {
        e->u.ptr = (uintptr_t)c;
        settle(e, c->n, mem);
        return true;
    }
    d->v[d->head + at].c = c;
    d->v[d->head + at].n = c->n;
    if (c->n == 0) {
        dir_drop_slot(d, at, mem);
    }
    settle(e, d->total - 1, mem);
    return true;
}

uint64_t sidx_count(const struct sidx_entry *e)
{
    return e->count > 2 && has_dir(e) ? dir_of(e)->total : e->count;
}

uint64_t sidx_first(const struct sidx_entry *e)
{
    if (e->count <= 2) {
        return e->u.first;
    }
    if (!has_dir(e)) {
        return chunk_at(chunk_of(e), 0);
    }
    const struct posts_dir *d = dir_of(e);
    return chunk_at(d->v[d->head].c, 0);
}

uint64_t sidx_nth(const struct sidx_entry *e, uint64_t n)
{
    ASSERT(n < sidx_count(e));
    if (e->count <= 2) {
        return n == 0 ? e->u.first : e->last;
    }
    if (!has_dir(e)) {
        return chunk_at(chunk_of(e), n);
    }
    const struct posts_dir *d = dir_of(e);
    const struct posts_slot *s = d->v + d->head;
    while (n >= s->n) {
        n -= s->n;
        s++;
    }
    return chunk_at(s->c, n);
}

uint64_t sidx_next(const struct sidx_entry *e, uint64_t from)
{
    if (e->count == 0 || from > e->last) {
        return 0;
    }
    if (e->count <= 2) {
        return from <= e->u.first ? e->u.first : e->last;
    }
    const struct posts_chunk *c;
    if (!has_dir(e)) {
        c = chunk_of(e);
        return chunk_at(c, chunk_below(c, from));
    }
    const struct posts_dir *d = dir_of(e);
    uint32_t at = dir_find(d, from);
    c = d->v[d->head + at].c;
    size_t i = chunk_below(c, from);
    return i < c->n ? chunk_at(c, i) : chunk_at(d->v[d->head + at + 1].c, 0);
}

uint64_t sidx_prev(const struct sidx_entry *e, uint64_t to)
{
    if (e->count == 0) {
        return 0;
    }
    if (to >= e->last) {
        return e->last;
    }
    uint64_t below = sidx_count(e) - sidx_rank_from(e, to + 1);
    return below == 0 ? 0 : sidx_nth(e, below - 1);
}

uint64_t sidx_rank_from(const struct sidx_entry *e, uint64_t from)
{
    if (e->count == 0 || from > e->last) {
        return 0;
    }
    if (e->count <= 2) {
        return e->count == 2 && from <= e->u.first ? 2 : 1;
    }
    if (!has_dir(e)) {
        const struct posts_chunk *c = chunk_of(e);
        return c->n - chunk_below(c, from);
    }
    const struct posts_dir *d = dir_of(e);
    const struct posts_slot *v = d->v + d->head;
    uint32_t at = dir_find(d, from);
    uint64_t below = chunk_below(v[at].c, from);
    if (at < d->n / 2) {
        for (uint32_t i = 0; i < at; i++) {
            below += v[i].n;
        }
        return d->total - below;
    }
    uint64_t rank = v[at].n - below;
    for (uint32_t i = at + 1; i < d->n; i++) {
        rank += v[i].n;
    }
    return rank;
}

static bool chunk_check(const struct posts_chunk *c, uint64_t *prev)
{
    if (c->n == 0 || c->head + c->n > c->cap) {
        return false;
    }
    for (size_t i = 0; i < c->n; i++) {
        if (chunk_at(c, i) <= *prev) {
            return false;
        }
        *prev = chunk_at(c, i);
    }
    return true;
}

bool posts_check(const struct sidx_entry *e)
{
    if (e->count == 0 || e->last == 0) {
        return false;
    }
    if (e->count <= 2) {
        return e->count == 2 ? e->u.first < e->last : e->u.first == e->last;
    }
    uint64_t prev = 0;
    if (!has_dir(e)) {
        return chunk_check(chunk_of(e), &prev) && prev == e->last && chunk_of(e)->n == e->count;
    }
    const struct posts_dir *d = dir_of(e);
    uint64_t total = 0;
    for (uint32_t i = 0; i < d->n; i++) {
        const struct posts_slot *s = &d->v[d->head + i];
        if (s->base != s->c->base || s->base <= prev || s->n != s->c->n ||
            !chunk_check(s->c, &prev)) {
            return false;
        }
        total += s->n;
    }
    return total == d->total && prev == e->last;
}
