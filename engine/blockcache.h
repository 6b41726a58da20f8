/* Cache of decoded blocks, shared by all streams of a store, bounded in bytes.
 *
 * CLOCK: a block enters unreferenced and earns its second chance with its first hit, so a scan does
 * not push out what is read again. Of what a reader in order is through with, only the newest
 * twelfth of the bound stays, so that reading a large stream once does not take the whole bound.
 * The bound counts what the cache holds; blocks in use elsewhere live on by their own references.
 * Memory is only touched as blocks come. Any thread; one mutex, held for a few instructions. */
#ifndef ENGINE_BLOCKCACHE_H
#define ENGINE_BLOCKCACHE_H

#include "engine/block.h"

struct blockcache;

struct blockcache_stats {
    uint64_t hits, misses, inserts, evictions, bytes, blocks;
};

/* bytes_max 0 = 64 MiB. */
struct blockcache *blockcache_create(uint64_t bytes_max);
void blockcache_destroy(struct blockcache *c); /* NULL is a no-op */
/* A new reference, or NULL. */
struct block *blockcache_get(struct blockcache *c, uint64_t file_id, uint32_t block_no);
/* A reader in order holds it and will not come back; another one may, close behind. The next
 * blockcache_get takes this back. Does nothing when it is not there. */
void blockcache_pass(struct blockcache *c, uint64_t file_id, uint32_t block_no);
bool blockcache_has(struct blockcache *c, uint64_t file_id, uint32_t block_no);
/* Takes a reference of its own. A block above a quarter of the bound is not kept. Does nothing when
 * it is there. */
void blockcache_put(struct blockcache *c, struct block *b);
/* Forgets all blocks of a file (dropped or replaced). */
void blockcache_forget_file(struct blockcache *c, uint64_t file_id);
void blockcache_stats_get(struct blockcache *c, struct blockcache_stats *out);

#endif
