/* CLOCK over a ring of slots, found through a chained hash (blockcache.h). */
#include "engine/blockcache.h"

#include "engine/base/mutex.h"
#include "engine/base/limits.h"

#define NONE UINT32_MAX

struct slot {
    struct block *b; /* shared: one reference; NULL = free */
    uint32_t next;   /* in the bucket, or in the free list */
    bool second_chance;
    uint32_t passed; /* its stamp in the list of those, or 0 */
};

enum { PASSED_MAX = 1024 };

/* Blocks that readers in order are through with, oldest first. An entry counts while the slot still
 * has its stamp. */
struct passed {
    struct {
        uint32_t slot, stamp;
    } v[PASSED_MAX];
    uint32_t first, n, stamp;
    uint64_t bytes;
};

struct blockcache {
    struct base_mutex mutex;
    uint64_t bytes_max;
    /* all below guarded by: mutex */
    struct slot *slots; /* owned */
    uint32_t nslots, hand, free_head;
    uint32_t *buckets; /* owned; as many as slots */
    struct blockcache_stats stats;
    struct passed passed;
};

static void lock(struct blockcache *c) BASE_ACQUIRES(c->mutex);
static void unlock(struct blockcache *c) BASE_RELEASES(c->mutex);

static void lock(struct blockcache *c)
{
    base_mutex_lock(&c->mutex);
}
static void unlock(struct blockcache *c)
{
    base_mutex_unlock(&c->mutex);
}

struct blockcache *blockcache_create(uint64_t bytes_max)
{
    struct blockcache *c = base_calloc(1, sizeof(*c));
    c->bytes_max = bytes_max != 0 ? bytes_max : LIM_BLOCK_CACHE_BYTES_DEFAULT;
    c->free_head = NONE;
    base_mutex_init(&c->mutex);
    return c;
}

static uint32_t *bucket(struct blockcache *c, uint64_t file_id, uint32_t block_no)
{
    uint64_t h = (file_id * 0x9e3779b97f4a7c15u) ^ ((uint64_t)block_no * 0xc2b2ae3d27d4eb4fu);
    return &c->buckets[(h >> 20) & (c->nslots - 1)];
}

static uint32_t find(struct blockcache *c, uint64_t file_id, uint32_t block_no)
    BASE_HOLDS(c->mutex);

static uint32_t find(struct blockcache *c, uint64_t file_id, uint32_t block_no)
{
    if (c->nslots == 0) {
        return NONE;
    }
    uint32_t i = *bucket(c, file_id, block_no);
    while (i != NONE &&
           (c->slots[i].b->file_id != file_id || c->slots[i].b->block_no != block_no)) {
        i = c->slots[i].next;
    }
    return i;
}

static struct block *slot_clear(struct blockcache *c, uint32_t i) BASE_HOLDS(c->mutex);
static void unpass(struct blockcache *c, uint32_t i) BASE_HOLDS(c->mutex);

static void unpass(struct blockcache *c, uint32_t i)
{
    if (c->slots[i].passed != 0) {
        c->passed.bytes -= c->slots[i].b->mem_bytes;
        c->slots[i].passed = 0;
    }
}

/* Empties a slot; the reference goes to the caller. */
static struct block *slot_clear(struct blockcache *c, uint32_t i)
{
    struct block *b = c->slots[i].b;
    unpass(c, i);
    uint32_t *at = bucket(c, b->file_id, b->block_no);
    while (*at != i) {
        at = &c->slots[*at].next;
    }
    *at = c->slots[i].next;
    c->slots[i] = (struct slot){.next = c->free_head};
    c->free_head = i;
    c->stats.bytes -= b->mem_bytes;
    c->stats.blocks--;
    return b;
}

void blockcache_destroy(struct blockcache *c)
{
    if (c == NULL) {
        return;
    }
    for (uint32_t i = 0; i < c->nslots; i++) {
        block_release(c->slots[i].b);
    }
    base_mutex_destroy(&c->mutex);
    base_free(c->slots);
    base_free(c->buckets);
    base_free(c);
}

static void slots_grow(struct blockcache *c) BASE_HOLDS(c->mutex);

static void slots_grow(struct blockcache *c)
{
    uint32_t n = c->nslots == 0 ? 64 : c->nslots * 2;
    c->slots = base_realloc(c->slots, n * sizeof(*c->slots));
    base_free(c->buckets);
    c->buckets = base_malloc(n * sizeof(*c->buckets));
    for (uint32_t i = 0; i < n; i++) {
        c->buckets[i] = NONE;
    }
    for (uint32_t i = n; i-- > c->nslots;) {
        c->slots[i] = (struct slot){.next = c->free_head};
        c->free_head = i;
    }
    uint32_t old = c->nslots;
    c->nslots = n;
    for (uint32_t i = 0; i < old; i++) {
        uint32_t *at = bucket(c, c->slots[i].b->file_id,
                              c->slots[i].b->block_no); /* all in use, else no growth */
        c->slots[i].next = *at;
        *at = i;
    }
}

static void make_room(struct blockcache *c, uint64_t need) BASE_HOLDS(c->mutex);

/* Evicts until `need` more bytes fit. What it evicts may be the last reference: freed under the
 * mutex, which is a free() of tens of KiB. */
static void make_room(struct blockcache *c, uint64_t need)
{
    while (c->stats.blocks != 0 && c->stats.bytes + need > c->bytes_max) {
        struct slot *s = &c->slots[c->hand];
        if (s->b != NULL && s->second_chance) {
            s->second_chance = false;
        } else if (s->b != NULL) {
            block_release(slot_clear(c, c->hand));
            c->stats.evictions++;
        }
        c->hand = (c->hand + 1) & (c->nslots - 1);
    }
}

void blockcache_put(struct blockcache *c, struct block *b)
{
    if (b->mem_bytes > c->bytes_max / 4) {
        return;
    }
    lock(c);
    if (find(c, b->file_id, b->block_no) == NONE) {
        make_room(c, b->mem_bytes);
        if (c->free_head == NONE) {
            slots_grow(c);
        }
        uint32_t i = c->free_head;
        c->free_head = c->slots[i].next;
        uint32_t *at = bucket(c, b->file_id, b->block_no);
        block_acquire(b);
        c->slots[i] = (struct slot){.b = b, .next = *at};
        *at = i;
        c->stats.bytes += b->mem_bytes;
        c->stats.blocks++;
        c->stats.inserts++;
    }
    unlock(c);
}

struct block *blockcache_get(struct blockcache *c, uint64_t file_id, uint32_t block_no)
{
    struct block *b = NULL;
    lock(c);
    uint32_t i = find(c, file_id, block_no);
    if (i != NONE) {
        b = c->slots[i].b;
        c->slots[i].second_chance = true;
        unpass(c, i);
        block_acquire(b);
        c->stats.hits++;
    } else {
        c->stats.misses++;
    }
    unlock(c);
    return b;
}

static void drop_oldest_passed(struct blockcache *c) BASE_HOLDS(c->mutex);

static void drop_oldest_passed(struct blockcache *c)
{
    struct passed *l = &c->passed;
    uint32_t i = l->v[l->first].slot;
    bool there = c->slots[i].passed == l->v[l->first].stamp;
    l->first = (l->first + 1) % PASSED_MAX;
    l->n--;
    if (there) {
        block_release(slot_clear(c, i));
        c->stats.evictions++;
    }
}

void blockcache_pass(struct blockcache *c, uint64_t file_id, uint32_t block_no)
{
    struct passed *l = &c->passed;
    lock(c);
    uint32_t i = find(c, file_id, block_no);
    if (i != NONE && c->slots[i].passed == 0) {
        if (l->n == PASSED_MAX) {
            drop_oldest_passed(c);
        }
        l->stamp += l->stamp == UINT32_MAX ? 2 : 1;
        l->v[(l->first + l->n) % PASSED_MAX].slot = i;
        l->v[(l->first + l->n++) % PASSED_MAX].stamp = l->stamp;
        c->slots[i].passed = l->stamp;
        l->bytes += c->slots[i].b->mem_bytes;
    }
    while (l->n > 1 && l->bytes > c->bytes_max / 12) {
        drop_oldest_passed(c);
    }
    unlock(c);
}

bool blockcache_has(struct blockcache *c, uint64_t file_id, uint32_t block_no)
{
    lock(c);
    bool has = find(c, file_id, block_no) != NONE;
    unlock(c);
    return has;
}

void blockcache_forget_file(struct blockcache *c, uint64_t file_id)
{
    lock(c);
    for (uint32_t i = 0; i < c->nslots; i++) {
        if (c->slots[i].b != NULL && c->slots[i].b->file_id == file_id) {
            block_release(slot_clear(c, i));
        }
    }
    unlock(c);
}

void blockcache_stats_get(struct blockcache *c, struct blockcache_stats *out)
{
    lock(c);
    *out = c->stats;
    unlock(c);
}
