/* A stream as of one moment (store_snap.h). Segments are pinned by their views, the tail by its
 * chunks; what was deleted until then is left out, what is deleted later is not. Compaction and
 * checkpoints go on: files they replace are unlinked when the last view goes.
 *
 * Nothing on disk refers to a snapshot; a crash ends it. */
#include "engine/snapshot.h"

void snap_cons_fini(struct snap_cons *c)
{
    cons_cfg_fini(&c->cfg);
    base_free(c->pend);
    *c = (struct snap_cons){0};
}

/* --- taking hold (owner) ---------------------------------------------------------------------- */

static void take_tail(struct store_snap *n, struct store_stream *s)
{
    struct tail *t = &s->tail;
    n->chunks = t->chunks_n > 0 ? base_malloc(t->chunks_n * sizeof(struct jr_chunk *)) : NULL;
    for (uint32_t i = 0; i < t->chunks_n; i++) {
        struct jr_chunk *c = t->chunks[(t->chunks_first + i) & (t->chunks_cap - 1)].chunk;
        if (c != NULL) {
            jr_chunk_acquire(c);
            n->chunks[n->nchunks++] = c;
        }
    }
    n->tail = t->msgs > 0 ? base_malloc((size_t)t->msgs * sizeof(const uint8_t *)) : NULL;
    for (uint64_t seq = tail_next(t, 1); seq != 0; seq = tail_next(t, seq + 1)) {
        n->tail[n->ntail++] = tail_get(t, seq, NULL);
    }
}

static void take_views(struct store_snap *n, struct store_stream *s)
{
    size_t count = s->segs != NULL ? s->segs->n : 0;
    n->views = count > 0 ? base_malloc(count * sizeof(struct seg_view *)) : NULL;
    for (size_t i = 0; i < count; i++) {
        if (s->segs->v[i]->row.first_seq != 0) {
            seg_view_acquire(s->segs->v[i]);
            n->views[n->nviews++] = s->segs->v[i];
        }
    }
}

struct store_snap *snap_take(struct store_stream *s, bool consumers)
{
    struct store_snap *n = base_calloc(1, sizeof *n);
    n->eng = s->eng;
    n->segs = s->eng->segs;
    n->info.gid = s->gid;
    stream_cfg_copy(&n->info.cfg, &s->cfg);
    stream_op_state(s, &n->info.state);
    if (s->msgs > 0) {
        liveset_dead_runs(s->live, s->first_seq, s->last_seq + 1, UINT64_MAX, &n->info.deleted);
    }
    take_views(n, s);
    take_tail(n, s);
    n->info.cons = consumers && s->ncons > 0 ? base_calloc(s->ncons, sizeof *n->info.cons) : NULL;
    for (size_t i = 0; consumers && i < s->ncons; i++) {
        cons_capture(s->cons[i], &n->info.cons[n->info.ncons++]);
    }
    store_snap_rewind(n);
    return n;
}

void store_snap_close(struct store_snap *n)
{
    if (n == NULL) {
        return;
    }
    block_release(n->block);
    for (size_t i = 0; i < n->nviews; i++) {
        seg_view_release(n->views[i]);
    }
    for (size_t i = 0; i < n->nchunks; i++) {
        jr_chunk_release(n->chunks[i]);
    }
    for (size_t i = 0; i < n->info.ncons; i++) {
        snap_cons_fini(&n->info.cons[i]);
    }
    stream_cfg_fini(&n->info.cfg);
    seq_runs_fini(&n->info.deleted);
    base_free(n->info.cons);
    base_free(n->views);
    base_free(n->chunks);
    base_free(n->tail);
    base_free(n);
}

struct open_wait {
    struct store_snap *snap;
    store_snap_fn fn;
    void *arg;
};

static void opened(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct open_wait *w = arg;
    (void)n, (void)err;
    if (st != ST_OK) {
        store_snap_close(w->snap);
        w->snap = NULL;
    }
    if (st != ST_CLOSED) {
        w->fn(w->arg, st, w->snap);
    }
    base_free(w);
}

void store_snap_open(struct store_stream *s, bool consumers, store_snap_fn fn, void *arg)
{
    struct open_wait *w = base_malloc(sizeof *w);
    for (size_t i = 0; consumers && i < s->ncons; i++) {
        cons_flush(s->cons[i]); /* what is told of them has a record */
    }
    *w = (struct open_wait){snap_take(s, consumers), fn, arg};
    eng_wait_own(s->eng, stream_ticket(s), opened, w, ST_OK, 0);
}

/* --- reading (one thread of any kind) --------------------------------------------------------- */

const struct snap_info *store_snap_info(const struct store_snap *n)
{
    return &n->info;
}

void store_snap_rewind(struct store_snap *n)
{
    block_release(n->block);
    n->block = NULL;
    n->view = n->block_no = 0;
    n->tail_at = 0;
    n->run = 0;
    n->msg = 0;
}

/* Deleted before the snapshot; sequences only rise from call to call. */
static bool is_deleted(struct store_snap *n, uint64_t seq)
{
    const struct seq_runs *d = &n->info.deleted;
    while (n->run < d->n && d->v[n->run].first + d->v[n->run].count <= seq) {
        n->run++;
    }
    return seq < n->info.state.first_seq || seq > n->info.state.last_seq ||
           (n->run < d->n && d->v[n->run].first <= seq);
}

static enum st next_in_block(struct store_snap *n, struct msg *m, struct err *err)
{
    while (n->msg < n->block->nmsgs) {
        enum st st = block_msg(n->block, n->msg++, m);
        if (is_deleted(n, m->seq)) {
            continue;
        }
        return st == ST_OK
                   ? ST_OK
                   : err_set(err, st, 0, "message %llu is damaged", (unsigned long long)m->seq);
    }
    return ST_NOTFOUND;
}

/* A block of which nothing lives need not be read. */
static bool block_wanted(struct store_snap *n, const struct seg_view *v)
{
    uint64_t lo, hi;
    seg_view_block_range(v, (uint32_t)n->block_no, &lo, &hi);
    const struct seq_runs *d = &n->info.deleted;
    if (hi < n->info.state.first_seq || lo > n->info.state.last_seq) {
        return false;
    }
    while (n->run < d->n && d->v[n->run].first + d->v[n->run].count <= lo) {
        n->run++;
    }
    return !(n->run < d->n && d->v[n->run].first <= lo &&
             d->v[n->run].first + d->v[n->run].count > hi);
}

static enum st next_in_segments(struct store_snap *n, struct msg *m, struct err *err)
{
    for (;;) {
        if (n->block != NULL) {
            enum st st = next_in_block(n, m, err);
            if (st != ST_NOTFOUND) {
                return st;
            }
            block_release(n->block);
            n->block = NULL;
            n->block_no++;
        }
        while (n->view < n->nviews && n->block_no >= n->views[n->view]->ndata) {
            n->view++;
            n->block_no = 0;
        }
        if (n->view == n->nviews) {
            return ST_NOTFOUND;
        }
        const struct seg_view *v = n->views[n->view];
        if (!block_wanted(n, v)) {
            n->block_no++;
            continue;
        }
        n->msg = 0;
        enum st st = reader_read_sync(n->segs, NULL, v, (uint32_t)n->block_no, &n->block, err);
        if (st != ST_OK) {
            n->block = NULL;
            n->block_no++; /* a caller that goes on gets what follows */
            err_prefix(err, "segment %llu", (unsigned long long)v->row.segno);
            return st;
        }
    }
}

enum st store_snap_next(struct store_snap *n, struct msg *m_out, struct err *err)
{
    enum st st = next_in_segments(n, m_out, err);
    while (st == ST_NOTFOUND && n->tail_at < n->ntail) {
        const uint8_t *p = n->tail[n->tail_at++];
        st = msg_get(p, get_u32le(p), m_out);
        if (st == ST_OK && is_deleted(n, m_out->seq)) {
            st = ST_NOTFOUND;
        }
    }
    return st;
}
