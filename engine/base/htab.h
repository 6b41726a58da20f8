/* A small intrusive hash table: nodes live in the caller's structs, the table is an array of chains
 * that grows by doubling. No allocation per entry; find, add and remove are O(1) amortised. One
 * thread. */
#ifndef ENGINE_BASE_HTAB_H
#define ENGINE_BASE_HTAB_H

#include <stdint.h>

#include "engine/base/base.h"

struct htab_node {
    struct htab_node *next; /* chain; borrowed */
    uint64_t hash;
};

struct htab {
    struct htab_node **slots; /* owned; NULL while empty */
    uint32_t mask;            /* slots - 1 */
    uint32_t count;
};

static inline void htab_fini(struct htab *t)
{
    base_free(t->slots);
    *t = (struct htab){0};
}

/* Gives the first node of the chain that may hold `hash`; walk with ->next and compare hash and
 * key. */
static inline struct htab_node *htab_chain(const struct htab *t, uint64_t hash)
{
    return t->slots == NULL ? NULL : t->slots[hash & t->mask];
}

static inline void htab_grow(struct htab *t)
{
    uint32_t n = t->slots == NULL ? 8 : (t->mask + 1) * 2;
    struct htab_node **slots = base_calloc(n, sizeof *slots);
    for (uint32_t i = 0; t->slots != NULL && i <= t->mask; i++) {
        for (struct htab_node *node = t->slots[i], *next; node != NULL; node = next) {
            next = node->next;
            node->next = slots[node->hash & (n - 1)];
            slots[node->hash & (n - 1)] = node;
        }
    }
    base_free(t->slots);
    t->slots = slots;
    t->mask = n - 1;
}

/* Adds; the caller has checked that the key is not there. */
static inline void htab_add(struct htab *t, struct htab_node *node, uint64_t hash)
{
    if (t->slots == NULL || t->count > t->mask) {
        htab_grow(t);
    }
    node->hash = hash;
    node->next = t->slots[hash & t->mask];
    t->slots[hash & t->mask] = node;
    t->count++;
}

/* Removes a node that is in the table. */
static inline void htab_del(struct htab *t, struct htab_node *node)
{
    struct htab_node **p = &t->slots[node->hash & t->mask];
    while (*p != node) {
        ASSERT(*p != NULL);
        p = &(*p)->next;
    }
    *p = node->next;
    node->next = NULL;
    t->count--;
    if (t->count == 0) {
        htab_fini(t);
    }
}

/* Walks all nodes: for (n = htab_first(t); n != NULL; n = htab_next(t, n)). The current node may be
 * read, not removed. */
static inline struct htab_node *htab_from(const struct htab *t, uint64_t slot)
{
    for (; t->slots != NULL && slot <= t->mask; slot++) {
        if (t->slots[slot] != NULL) {
            return t->slots[slot];
        }
    }
    return NULL;
}
static inline struct htab_node *htab_first(const struct htab *t)
{
    return htab_from(t, 0);
}
static inline struct htab_node *htab_next(const struct htab *t, const struct htab_node *n)
{
    return n->next != NULL ? n->next : htab_from(t, (n->hash & t->mask) + 1);
}

#endif
