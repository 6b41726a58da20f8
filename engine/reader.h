/* Reading blocks of segments off the owner's thread.
 *
 *   owner        reader_get (cache); a miss: reader_submit
 *   reader task  pread, decode, cache, doorbell
 *   owner        reader_poll: damage fn, cb
 *
 * One pool serves one owner thread; pools may share a cache. A request pins its view, so its file
 * is not unlinked. */
#ifndef ENGINE_READER_H
#define ENGINE_READER_H

#include "engine/blockcache.h"
#include "engine/segment.h"

struct reader_pool;

struct reader_opts {
    struct segs *segs;           /* borrowed */
    struct blockcache *cache;    /* borrowed */
    unsigned tasks;              /* 1..4; 0 = 2 */
    unsigned queue_max;          /* requests in flight; 0 = 1024; beyond: ST_FULL */
    unsigned lots_max;           /* lots that blocks may stand in (lot.h); 0 = 20 */
    void (*doorbell)(void *arg); /* on a reader task, when completions wait */
    void *doorbell_arg;
    seg_damage_fn
        damage; /* on the owner thread, from reader_poll; may be NULL; once per damaged read */
    void *damage_arg;
};

/* st: ST_OK with a block (borrowed during the call; block_acquire to keep), ST_CORRUPT, ST_IO,
 * ST_NOMEM, ST_CLOSED (file dropped meanwhile). Owner thread, from reader_poll only. */
typedef void (*reader_cb)(void *arg, enum st st, struct block *b, const struct err *err);

MUST_USE enum st reader_pool_create(struct env *env, const struct reader_opts *opts,
                                    struct reader_pool **pool_out, struct err *err);
/* Stops the tasks; outstanding callbacks are not called. NULL is a no-op. */
void reader_pool_destroy(struct reader_pool *p);

/* From the cache: a new reference, or NULL. */
struct block *reader_get(struct reader_pool *p, const struct seg_view *v, uint32_t block_no);
/* A reader in order holds b now and will not ask for it again (blockcache_pass). */
void reader_passed(struct reader_pool *p, const struct block *b);
/* Reads block_no and, at lower priority, up to `ahead` blocks after it into the cache (sequential
 * readers: 4). The cb never runs inside this call. ST_FULL: the queue's bound; ST_CORRUPT: the view
 * knows the block to be lost. */
MUST_USE enum st reader_submit(struct reader_pool *p, struct seg_view *v, uint32_t block_no,
                               unsigned ahead, reader_cb cb, void *arg);
/* Blocks [block_no, block_no+count) into the cache, when there is room in the queue. No completion.
 */
void reader_prefetch(struct reader_pool *p, struct seg_view *v, uint32_t block_no, unsigned count);
/* Calls what has completed; returns how many. Owner thread. */
size_t reader_poll(struct reader_pool *p);
/* Outstanding requests with this arg complete without a call. Owner thread. */
void reader_forget(struct reader_pool *p, void *arg);

/* Reads and decodes one block on the calling thread, through the cache when given (may be NULL):
 * start-up, flusher, tools. *b_out has one reference. ST_CORRUPT, ST_IO, ST_NOMEM. */
MUST_USE enum st reader_read_sync(struct segs *s, struct blockcache *cache,
                                  const struct seg_view *v, uint32_t block_no, struct block **b_out,
                                  struct err *err);

#endif
