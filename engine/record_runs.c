/* Runs of sequences (record.h). The list is always sorted, without overlaps and with adjacent runs
 * merged, whatever order sequences come in: appending at the end, which is nearly every call, costs
 * O(1). */
#include "engine/record.h"

void seq_runs_fini(struct seq_runs *r)
{
    base_free(r->v);
    *r = (struct seq_runs){0};
}

void seq_runs_clear(struct seq_runs *r)
{
    r->n = 0;
}

static void runs_grow(struct seq_runs *r)
{
    if (r->n == r->cap) {
        r->cap = r->cap == 0 ? 4 : r->cap * 2;
        r->v = base_realloc(r->v, r->cap * sizeof(*r->v));
    }
}

/* Index of the first run that ends at or behind `first`, that is, which [first, ...) may touch. */
static size_t runs_find(const struct seq_runs *r, uint64_t first)
{
    size_t lo = 0;
    size_t hi = r->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r->v[mid].first + r->v[mid].count < first) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void runs_insert(struct seq_runs *r, uint64_t first, uint64_t end)
{
    size_t at = runs_find(r, first);
    size_t to = at; /* runs [at, to) are swallowed */
    while (to < r->n && r->v[to].first <= end) {
        first = u64_min(first, r->v[to].first);
        end = u64_max(end, r->v[to].first + r->v[to].count);
        to++;
    }
    if (to == at) {
        runs_grow(r);
        memmove(r->v + at + 1, r->v + at, (r->n - at) * sizeof(*r->v));
        r->n++;
    } else {
        memmove(r->v + at + 1, r->v + to, (r->n - to) * sizeof(*r->v));
        r->n -= to - at - 1;
    }
    r->v[at] = (struct seq_run){.first = first, .count = end - first};
}

void seq_runs_add_run(struct seq_runs *r, uint64_t first, uint64_t count)
{
    if (count == 0) {
        return;
    }
    ASSERT(count <= UINT64_MAX - first);
    if (r->n > 0) {
        struct seq_run *last = &r->v[r->n - 1];
        uint64_t end = last->first + last->count;
        if (first == end) {
            last->count += count;
            return;
        }
        if (first < end) {
            runs_insert(r, first, first + count);
            return;
        }
    }
    runs_grow(r);
    r->v[r->n++] = (struct seq_run){.first = first, .count = count};
}

void seq_runs_add(struct seq_runs *r, uint64_t seq)
{
    seq_runs_add_run(r, seq, 1);
}

bool seq_runs_has(const struct seq_runs *r, uint64_t seq)
{
    size_t i = runs_find(r, seq + 1);
    return i < r->n && r->v[i].first <= seq && seq - r->v[i].first < r->v[i].count;
}

uint64_t seq_runs_count(const struct seq_runs *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->n; i++) {
        sum += r->v[i].count;
    }
    return sum;
}

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

size_t seq_runs_size(const struct seq_runs *r)
{
    size_t size = varint_size(r->n);
    uint64_t at = 0;
    for (size_t i = 0; i < r->n; i++) {
        size += varint_size(r->v[i].first - at) + varint_size(r->v[i].count);
        at = r->v[i].first + r->v[i].count;
    }
    return size;
}

size_t seq_runs_put(uint8_t *out, const struct seq_runs *r)
{
    size_t used = varint_put(out, r->n);
    uint64_t at = 0;
    for (size_t i = 0; i < r->n; i++) {
        ASSERT(r->v[i].first >= at);
        used += varint_put(out + used, r->v[i].first - at);
        used += varint_put(out + used, r->v[i].count);
        at = r->v[i].first + r->v[i].count;
    }
    return used;
}

enum st seq_runs_get(const uint8_t *in, size_t len, size_t *used_out, struct seq_runs *r)
{
    *used_out = 0;
    uint64_t n;
    size_t used = varint_get(in, len, &n);
    if (used == 0 || n > (len - used) / 2) {
        return ST_CORRUPT;
    }
    uint64_t at = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t gap;
        uint64_t count;
        size_t k = varint_get(in + used, len - used, &gap);
        if (k == 0) {
            return ST_CORRUPT;
        }
        used += k;
        k = varint_get(in + used, len - used, &count);
        if (k == 0 || count == 0 || gap > UINT64_MAX - at || count > UINT64_MAX - at - gap) {
            return ST_CORRUPT;
        }
        used += k;
        seq_runs_add_run(r, at + gap, count);
        at += gap + count;
    }
    *used_out = used;
    return ST_OK;
}
