/* The pool of reader tasks and the owner's side of it (reader.h).
 *
 * Two queues, one order: what somebody waits for goes before what is only read ahead. A block is
 * asked for once at a time: later requests for it join the one in flight. The table of requests in
 * flight and their waiters belong to the owner; the queues and the list of finished requests are
 * shared under the mutex. */
#include "engine/reader.h"

#include "engine/base/mutex.h"
#include "engine/block_decode.h"
#include "engine/lot.h"

#define TASKS_MAX 4u
#define QUEUE_DEFAULT 1024u
#define AHEAD_MAX 64u
#define AHEAD_BYTES_MAX (8 * MIB) /* large messages: fewer blocks ahead */
#define LOT_MAX 32u               /* blocks that one transfer brings */
/* Lots that blocks may hold, whether cached or being sent: what the cache counts of them may be
 * little. Enough for what readers in order leave, and for one that a client takes slowly. */
#define LOTS_MAX 20u
#define LOTS_FREE_MAX 4u
/* A file that was read as often as this past the page cache is wanted by many: from then on it goes
 * through it. Filling the cache costs several times what a transfer past it does; with 8 instead of
 * 2, ten readers at once moved a third less. */
#define COLD_READS 2u

struct waiter {
    reader_cb cb; /* NULL: forgotten */
    void *arg;
    struct waiter *next;
};

struct request {
    struct seg_view *view; /* shared: one reference */
    uint32_t block_no;
    struct waiter *waiters;    /* owned; in order of arrival; owner only */
    struct request *hash_next; /* owner only */
    /* guarded by: pool->mutex */
    struct request *prev, *next;
    bool ahead; /* nobody waits: stands in the second queue */
    bool queued;
    /* set by the task, read by the owner after the request is in `done` */
    enum st st;
    struct err err;
    struct block *b; /* owned: one reference */
};

struct queue {
    struct request *head, *tail;
};

struct task {
    struct reader_pool *pool;
    struct env_task *t;
    struct seg_scratch sc; /* task only */
    struct lot *lot;       /* owned reference, or NULL; task only */
    size_t lot_used;       /* bytes of it that transfers have filled */
    uint8_t *pages; /* owned; SEG_BULK_BYTES, or NULL; where no lot is to be had; task only */
};

struct reader_pool {
    struct env *env;
    struct reader_opts o;
    struct base_mutex mutex;
    struct queue wanted, ahead, done; /* guarded by: mutex */
    struct lot_pool *lots;            /* owned */
    struct task tasks[TASKS_MAX];
    unsigned ntasks;
    struct request **table; /* owned; requests in flight by block; owner only */
    size_t table_mask;
    unsigned inflight;       /* owner only */
    struct request *calling; /* its waiters are being called; owner only */
};

static void lock(struct reader_pool *p) BASE_ACQUIRES(p->mutex);
static void unlock(struct reader_pool *p) BASE_RELEASES(p->mutex);

static void lock(struct reader_pool *p)
{
    base_mutex_lock(&p->mutex);
}
static void unlock(struct reader_pool *p)
{
    base_mutex_unlock(&p->mutex);
}

static void queue_push(struct queue *q, struct request *r)
{
    r->next = NULL;
    r->prev = q->tail;
    *(q->tail != NULL ? &q->tail->next : &q->head) = r;
    q->tail = r;
}

static void queue_append(struct queue *q, const struct queue *more)
{
    more->head->prev = q->tail;
    *(q->tail != NULL ? &q->tail->next : &q->head) = more->head;
    q->tail = more->tail;
}

static void queue_remove(struct queue *q, struct request *r)
{
    *(r->prev != NULL ? &r->prev->next : &q->head) = r->next;
    *(r->next != NULL ? &r->next->prev : &q->tail) = r->prev;
    r->prev = NULL;
    r->next = NULL;
}

/* --- the task's side -------------------------------------------------------------------------- */

static enum st open_view(struct segs *s, const struct seg_view *v, struct seg_io *io,
                         struct err *err)
{
    *io = (struct seg_io){.env = s->env, .uuid = v->file->uuid, .limit = v->row.durable_len};
    enum st st = seg_file_pin(v->file, &io->f, err);
    /* the row promised the file; only a stream that is being dropped loses it under a reader */
    return st == ST_NOTFOUND ? ST_CLOSED : st;
}

static enum st load_block(struct segs *s, const struct seg_view *v, const struct seg_io *io,
                          uint32_t block_no, struct seg_scratch *sc, struct block **b_out,
                          struct err *err)
{
    return seg_block_load(io, &v->bidx[block_no], v->file->id, block_no, s->crc_seed, sc, b_out,
                          err);
}

static uint64_t block_off(const struct seg_view *v, uint32_t block_no)
{
    return (uint64_t)v->bidx[block_no].off8 * SEG_ALIGN;
}

/* Bytes of whole pages from the first block's to the last one's. */
static uint64_t lot_bytes(const struct seg_view *v, uint32_t first, uint32_t last)
{
    uint64_t end = block_off(v, last) + SEG_BLOCK_HEAD + v->bidx[last].stored_len;
    uint64_t from = block_off(v, first);
    return align_up(end, SEG_PAGE) - (from - from % SEG_PAGE);
}

/* What one transfer brought. */
struct brought {
    const uint8_t *bytes; /* borrowed of the task; NULL: nothing */
    uint64_t off;
    size_t len;
    struct lot *lot; /* borrowed of the task; NULL: what is wanted of it has to be copied */
};

/* Memory for a transfer: what is free of the task's lot, else a new one, else pages that are used
 * again for the next transfer. */
static uint8_t *transfer_room(struct task *t, size_t len, struct lot **lot_out)
{
    if (t->lot != NULL && lot_is_mine(t->lot)) {
        t->lot_used = 0; /* nothing of it stayed */
    } else if (t->lot == NULL || LOT_BYTES - t->lot_used < len) {
        lot_release(t->lot);
        t->lot = lot_get(t->pool->lots);
        t->lot_used = 0;
    }
    *lot_out = t->lot;
    if (t->lot != NULL) {
        t->lot_used += len;
        return t->lot->pages + t->lot_used - len;
    }
    if (t->pages == NULL) {
        t->pages = base_pages(SEG_BULK_BYTES);
    }
    return t->pages;
}

/* Large blocks that follow each other come with one transfer past the page cache. Failing is no
 * error: each block is then read by itself. */
static void read_ahead(struct task *t, const struct seg_view *v, const struct seg_io *io,
                       uint32_t first, size_t n, struct brought *out)
{
    uint64_t from = block_off(v, first);
    from -= from % SEG_PAGE;
    uint64_t len = lot_bytes(v, first, first + (uint32_t)n - 1);
    if (v->bidx[first].stored_len <= SEG_LARGE_BLOCK || len > SEG_BULK_BYTES ||
        from + len > io->limit ||
        atomic_load(&v->file->past_cache) > COLD_READS * v->row.durable_len) {
        return;
    }
    uint8_t *room = transfer_room(t, (size_t)len, &out->lot);
    size_t got = 0;
    if (env_pread_direct(io->env, io->f, room, (size_t)len, from, &got, NULL) == ST_OK) {
        atomic_fetch_add(&v->file->past_cache, got);
        out->bytes = room;
        out->off = from;
        out->len = got;
    }
}

static enum st load_one(struct task *t, const struct seg_view *v, const struct seg_io *io,
                        uint32_t block_no, const struct brought *all, struct block **b_out,
                        struct err *err)
{
    struct segs *s = t->pool->o.segs;
    const struct seg_bidx *line = &v->bidx[block_no];
    uint64_t off = block_off(v, block_no);
    if (all->bytes == NULL || line->stored_len == 0 ||
        off + SEG_BLOCK_HEAD + line->stored_len > all->off + all->len) {
        return load_block(s, v, io, block_no, &t->sc, b_out, err);
    }
    return seg_block_of_lot(io, line, v->file->id, block_no, s->crc_seed,
                            all->bytes + (off - all->off), all->lot, &t->sc, b_out, err);
}

/* The requests are for blocks of one view that follow each other. */
static void serve(struct task *t, struct request *const *lot, size_t n)
{
    struct reader_pool *p = t->pool;
    struct segs *s = p->o.segs;
    const struct seg_view *v = lot[0]->view;
    struct seg_io io;
    struct brought brought = {0};
    struct err err = {0};
    enum st st = open_view(s, v, &io, &err);
    if (st == ST_OK) {
        read_ahead(t, v, &io, lot[0]->block_no, n, &brought);
    }
    for (size_t i = 0; i < n; i++) {
        struct request *r = lot[i];
        r->err = err;
        r->st = st != ST_OK ? st : load_one(t, v, &io, r->block_no, &brought, &r->b, &r->err);
        if (r->st == ST_OK) {
            blockcache_put(p->o.cache, r->b);
        }
    }
    if (st == ST_OK) {
        seg_file_unpin(v->file);
    }
}

static struct request *take_head(struct queue *q)
{
    struct request *r = q->head;
    queue_remove(q, r);
    r->queued = false;
    return r;
}

/* The first request, and those for large blocks right behind it that are only read ahead. */
static size_t next_requests(struct reader_pool *p, struct request *lot[LOT_MAX])
{
    struct queue *q = p->wanted.head != NULL ? &p->wanted : &p->ahead;
    if (q->head == NULL) {
        return 0;
    }
    size_t n = 0;
    lot[n++] = take_head(q);
    const struct seg_view *v = lot[0]->view;
    uint32_t first = lot[0]->block_no;
    while (n < LOT_MAX && p->ahead.head != NULL && v->bidx[first].stored_len > SEG_LARGE_BLOCK &&
           p->ahead.head->view == v && p->ahead.head->block_no == first + n &&
           lot_bytes(v, first, first + (uint32_t)n) <= SEG_BULK_BYTES) {
        lot[n++] = take_head(&p->ahead);
    }
    return n;
}

static uint64_t step(void *arg)
{
    struct task *t = arg;
    struct reader_pool *p = t->pool;
    struct request *lot[LOT_MAX];
    lock(p);
    size_t n = next_requests(p, lot);
    unlock(p);
    if (n == 0) {
        return ENV_STEP_IDLE;
    }
    serve(t, lot, n);
    lock(p);
    bool ring = p->done.head == NULL;
    for (size_t i = 0; i < n; i++) {
        queue_push(&p->done, lot[i]);
    }
    unlock(p);
    if (ring && p->o.doorbell != NULL) {
        p->o.doorbell(p->o.doorbell_arg);
    }
    return ENV_STEP_AGAIN;
}

/* --- the owner's side ------------------------------------------------------------------------- */

enum st reader_pool_create(struct env *env, const struct reader_opts *opts,
                           struct reader_pool **pool_out, struct err *err)
{
    *pool_out = NULL;
    struct reader_pool *p = base_calloc(1, sizeof(*p));
    p->env = env;
    p->o = *opts;
    p->o.queue_max = opts->queue_max != 0 ? opts->queue_max : QUEUE_DEFAULT;
    p->o.tasks = opts->tasks == 0 ? 2 : opts->tasks > TASKS_MAX ? TASKS_MAX : opts->tasks;
    size_t buckets = 64;
    while (buckets < p->o.queue_max) {
        buckets *= 2;
    }
    p->table = base_calloc(buckets, sizeof(struct request *));
    p->table_mask = buckets - 1;
    base_mutex_init(&p->mutex);
    p->lots = lot_pool_create(opts->lots_max != 0 ? opts->lots_max : LOTS_MAX, LOTS_FREE_MAX);
    for (unsigned i = 0; i < p->o.tasks; i++) {
        p->tasks[i].pool = p;
        enum st st = env_task_start(env, "reader", 0, step, &p->tasks[i], &p->tasks[i].t, err);
        if (st != ST_OK) {
            reader_pool_destroy(p);
            return st;
        }
        p->ntasks++;
    }
    *pool_out = p;
    return ST_OK;
}

static void request_free(struct request *r)
{
    while (r->waiters != NULL) {
        struct waiter *w = r->waiters;
        r->waiters = w->next;
        base_free(w);
    }
    block_release(r->b);
    seg_view_release(r->view);
    base_free(r);
}

void reader_pool_destroy(struct reader_pool *p)
{
    if (p == NULL) {
        return;
    }
    for (unsigned i = 0; i < p->ntasks; i++) {
        env_task_stop(p->env, p->tasks[i].t);
        seg_scratch_fini(&p->tasks[i].sc);
        base_pages_free(p->tasks[i].pages, SEG_BULK_BYTES);
        lot_release(p->tasks[i].lot);
    }
    for (size_t i = 0; i <= p->table_mask; i++) {
        while (p->table[i] != NULL) {
            struct request *r = p->table[i];
            p->table[i] = r->hash_next;
            request_free(r);
        }
    }
    lot_pool_destroy(p->lots);
    base_mutex_destroy(&p->mutex);
    base_free(p->table);
    base_free(p);
}

static struct request **table_slot(struct reader_pool *p, uint64_t file_id, uint32_t block_no)
{
    uint64_t h = (file_id * 0x9e3779b97f4a7c15u) ^ ((uint64_t)block_no * 0xc2b2ae3d27d4eb4fu);
    struct request **at = &p->table[(h >> 20) & p->table_mask];
    while (*at != NULL && ((*at)->block_no != block_no || (*at)->view->file->id != file_id)) {
        at = &(*at)->hash_next;
    }
    return at;
}

static void wake(struct reader_pool *p)
{
    for (unsigned i = 0; i < p->ntasks; i++) {
        env_task_wake(p->env, p->tasks[i].t);
    }
}

/* A new request; the caller puts it into a queue and wakes. */
static struct request *request_new(struct reader_pool *p, struct request **at, struct seg_view *v,
                                   uint32_t block_no, bool ahead)
{
    struct request *r = base_calloc(1, sizeof(*r));
    seg_view_acquire(v);
    r->view = v;
    r->block_no = block_no;
    r->ahead = ahead;
    r->queued = true;
    *at = r;
    p->inflight++;
    return r;
}

static void add_waiter(struct request *r, reader_cb cb, void *arg)
{
    struct waiter **at = &r->waiters;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = base_malloc(sizeof(**at));
    **at = (struct waiter){.cb = cb, .arg = arg};
}

/* Somebody waits now for what was only read ahead. */
static void promote(struct reader_pool *p, struct request *r)
{
    if (!r->ahead) {
        return;
    }
    lock(p);
    if (r->queued) {
        queue_remove(&p->ahead, r);
        queue_push(&p->wanted, r);
    }
    unlock(p);
    r->ahead = false;
}

struct block *reader_get(struct reader_pool *p, const struct seg_view *v, uint32_t block_no)
{
    return blockcache_get(p->o.cache, v->file->id, block_no);
}

void reader_passed(struct reader_pool *p, const struct block *b)
{
    blockcache_pass(p->o.cache, b->file_id, b->block_no);
}

enum st reader_submit(struct reader_pool *p, struct seg_view *v, uint32_t block_no, unsigned ahead,
                      reader_cb cb, void *arg)
{
    ASSERT(block_no < v->ndata);
    ASSERT(cb != NULL);
    if (v->bidx[block_no].stored_len == 0) {
        return ST_CORRUPT;
    }
    struct request **at = table_slot(p, v->file->id, block_no);
    struct request *r = *at;
    if (r != NULL) {
        promote(p, r);
    } else {
        if (p->inflight >= p->o.queue_max) {
            return ST_FULL;
        }
        r = request_new(p, at, v, block_no, false);
        lock(p);
        queue_push(&p->wanted, r);
        unlock(p);
    }
    add_waiter(r, cb, arg);
    if (ahead != 0) {
        reader_prefetch(p, v, block_no + 1, ahead);
    }
    wake(p);
    return ST_OK;
}

void reader_prefetch(struct reader_pool *p, struct seg_view *v, uint32_t block_no, unsigned count)
{
    struct queue added = {0};
    uint64_t bytes = 0;
    count = count < AHEAD_MAX ? count : AHEAD_MAX;
    for (unsigned i = 0; i < count && block_no < v->ndata && bytes < AHEAD_BYTES_MAX;
         i++, block_no++) {
        bytes += v->bidx[block_no].stored_len;
        /* half of the queue is kept for those who wait */
        if (p->inflight >= p->o.queue_max / 2) {
            break;
        }
        struct request **at = table_slot(p, v->file->id, block_no);
        if (*at == NULL && v->bidx[block_no].stored_len != 0 &&
            !blockcache_has(p->o.cache, v->file->id, block_no)) {
            queue_push(&added, request_new(p, at, v, block_no, true));
        }
    }
    if (added.head != NULL) { /* all at once: they may make one transfer */
        lock(p);
        queue_append(&p->ahead, &added);
        unlock(p);
        wake(p);
    }
}

static void report_damage(struct reader_pool *p, const struct request *r)
{
    if (p->o.damage == NULL) {
        return;
    }
    const struct seg_row *row = &r->view->row;
    uint64_t off = (uint64_t)r->view->bidx[r->block_no].off8 * SEG_ALIGN;
    if (r->st == ST_OK) {
        for (uint32_t i = 0; i < r->b->nmsgs; i++) {
            struct msg m;
            if (block_msg(r->b, i, &m) == ST_CORRUPT) {
                p->o.damage(p->o.damage_arg, SEG_DAMAGE_MESSAGE, row, off, m.seq, m.seq, true,
                            "content of a message is damaged");
            }
        }
        return;
    }
    uint64_t lo = 0;
    uint64_t hi = 0;
    seg_view_block_range(r->view, r->block_no, &lo, &hi);
    p->o.damage(p->o.damage_arg, SEG_DAMAGE_BLOCK, row, off, lo, hi, true, r->err.msg);
}

static void complete(struct reader_pool *p, struct request *r)
{
    struct request **at = table_slot(p, r->view->file->id, r->block_no);
    ASSERT(*at == r);
    *at = r->hash_next;
    p->inflight--;
    if (r->waiters != NULL &&
        (r->st == ST_CORRUPT || r->st == ST_IO || (r->st == ST_OK && r->b->bad != 0))) {
        report_damage(p, r); /* nobody waits: the next reader reports it */
    }
    p->calling = r;
    for (struct waiter *w = r->waiters; w != NULL; w = w->next) {
        if (w->cb != NULL) {
            w->cb(w->arg, r->st, r->b, &r->err);
        }
    }
    p->calling = NULL;
    request_free(r);
}

size_t reader_poll(struct reader_pool *p)
{
    lock(p);
    struct request *r = p->done.head;
    p->done = (struct queue){0};
    unlock(p);
    size_t n = 0;
    while (r != NULL) {
        struct request *next = r->next;
        complete(p, r);
        r = next;
        n++;
    }
    return n;
}

static void forget_in(struct request *r, const void *arg)
{
    for (struct waiter *w = r->waiters; w != NULL; w = w->next) {
        w->cb = w->arg == arg ? NULL : w->cb;
    }
}

void reader_forget(struct reader_pool *p, void *arg)
{
    for (size_t i = 0; i <= p->table_mask; i++) {
        for (struct request *r = p->table[i]; r != NULL; r = r->hash_next) {
            forget_in(r, arg);
        }
    }
    if (p->calling != NULL) {
        forget_in(p->calling, arg);
    }
}

enum st reader_read_sync(struct segs *s, struct blockcache *cache, const struct seg_view *v,
                         uint32_t block_no, struct block **b_out, struct err *err)
{
    ASSERT(block_no < v->ndata);
    *b_out = cache != NULL ? blockcache_get(cache, v->file->id, block_no) : NULL;
    if (*b_out != NULL) {
        return ST_OK;
    }
    struct seg_scratch sc = {0};
    struct seg_io io;
    enum st st = open_view(s, v, &io, err);
    if (st == ST_OK) {
        st = load_block(s, v, &io, block_no, &sc, b_out, err);
        seg_file_unpin(v->file);
    }
    seg_scratch_fini(&sc);
    if (st == ST_OK && cache != NULL) {
        blockcache_put(cache, *b_out);
    }
    return st;
}
