#include "engine/ttl_heap.h"

static bool before(const struct ttl_entry *a, const struct ttl_entry *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void sift_down(struct ttl_heap *h, size_t i)
{
    struct ttl_entry e = h->v[i];
    for (size_t kid; (kid = 2 * i + 1) < h->n; i = kid) {
        kid += kid + 1 < h->n && before(&h->v[kid + 1], &h->v[kid]);
        if (!before(&h->v[kid], &e)) {
            break;
        }
        h->v[i] = h->v[kid];
    }
    h->v[i] = e;
}

static void sweep(struct ttl_heap *h, ttl_live_fn live, const void *arg)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        if (live(arg, h->v[i].seq)) {
            h->v[n++] = h->v[i];
        }
    }
    h->n = n;
    for (size_t i = n / 2; i-- > 0;) {
        sift_down(h, i);
    }
}

void ttl_heap_fini(struct ttl_heap *h)
{
    ttl_heap_clear(h);
}

void ttl_heap_clear(struct ttl_heap *h)
{
    base_free(h->v);
    *h = (struct ttl_heap){0};
}

void ttl_heap_add(struct ttl_heap *h, int64_t at_ns, uint64_t seq, ttl_live_fn live,
                  const void *arg)
{
    if (h->n == h->cap) {
        sweep(h, live, arg);
        if (h->n > h->cap / 2 || h->cap == 0) {
            h->cap = h->cap == 0 ? 16 : h->cap * 2;
            h->v = base_realloc(h->v, h->cap * sizeof *h->v);
        }
    }
    struct ttl_entry e = {at_ns, seq};
    size_t i = h->n++;
    while (i > 0 && before(&e, &h->v[(i - 1) / 2])) {
        h->v[i] = h->v[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->v[i] = e;
}

const struct ttl_entry *ttl_heap_top(const struct ttl_heap *h)
{
    return h->n > 0 ? &h->v[0] : NULL;
}

void ttl_heap_pop(struct ttl_heap *h)
{
    ASSERT(h->n > 0);
    h->v[0] = h->v[--h->n];
    if (h->n > 0) {
        sift_down(h, 0);
    }
}
