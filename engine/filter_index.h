/* Which filters match a subject, without looking at each: a trie by tokens, whose literal children
 * stand in one hash table. Adding and removing cost the filter's tokens, a match the nodes that the
 * subject reaches (one for each of its tokens, and more only where filters have wildcards there).
 *
 * Pure memory. Thread: owner of the stream. About 100 B for a filter's last token, and for each
 * before it that no other filter shares. */
#ifndef ENGINE_FILTER_INDEX_H
#define ENGINE_FILTER_INDEX_H

#include "engine/base/base.h"
#include "engine/base/htab.h"

struct filter_node; /* private */

struct filter_index {
    struct filter_node *root; /* owned; NULL while empty */
    struct htab children;     /* literal ones, by parent and token */
    uint64_t seed;            /* of the hash; random, since clients choose the tokens */
};

/* False ends the match. Must not add or remove. */
typedef bool (*filter_index_fn)(void *arg, void *who);

void filter_index_init(struct filter_index *x, uint64_t seed);
/* Everything was removed. Zeroed memory: no-op. */
void filter_index_fini(struct filter_index *x);
/* `filter` is valid (subject_valid). The same who may be added by several filters, and once by
 * each. */
void filter_index_add(struct filter_index *x, const char *filter, size_t len, void *who);
/* It was added so. */
void filter_index_remove(struct filter_index *x, const char *filter, size_t len, const void *who);
/* Calls fn for each who of each filter that matches the literal subject, in no order; once for each
 * such filter. False: fn ended it. */
bool filter_index_match(const struct filter_index *x, const char *subject, size_t len,
                        filter_index_fn fn, void *arg);

#endif
