/* When the messages of a stream expire by their own TTL: a binary heap of (unix ns, sequence).
 *
 * Messages that go for another reason are not taken out: the owner finds them dead when they come
 * to the top, and ttl_heap_add asks `live` and drops the dead ones before the heap grows, so that
 * it holds at most twice the live entries. 16 B each. Owner thread (start-up: the opening one). */
#ifndef ENGINE_TTL_HEAP_H
#define ENGINE_TTL_HEAP_H

#include "engine/base/base.h"

struct ttl_entry {
    int64_t at_ns;
    uint64_t seq;
};

struct ttl_heap {
    struct ttl_entry *v; /* owned */
    size_t n, cap;
};

typedef bool (*ttl_live_fn)(const void *arg, uint64_t seq);

void ttl_heap_fini(struct ttl_heap *h);
/* Empties it, keeping nothing. */
void ttl_heap_clear(struct ttl_heap *h);
void ttl_heap_add(struct ttl_heap *h, int64_t at_ns, uint64_t seq, ttl_live_fn live,
                  const void *arg);
/* The earliest, ties by sequence; NULL when empty. Valid until the next call. */
const struct ttl_entry *ttl_heap_top(const struct ttl_heap *h);
void ttl_heap_pop(struct ttl_heap *h);

#endif
