/* Checkpoints: how journal and memory become segments and catalogue rows (RULES.md, "Checkpoint").
 *
 *   owner            flusher task            meta task (catalogue)      owner
 *   C1 freeze  --->  C2 write, C3 sync  -->  (owner builds rows) C4 --> C5 publish, C6 release
 *
 * One lap at a time, over every stream with something to cover. A unit is a stream with its
 * consumers, frozen at a ticket boundary: what was logged up to freeze_ticket, and nothing else, is
 * in it (I26). Rows are built when that ticket is done (flushed_lsn is then known) and committed in
 * one generation.
 *
 * A crash before C4 leaves blocks past durable_len or files no row names; after C4 everything is in
 * place. A failed lap changes nothing but that the touched segment is closed: the streams stay
 * dirty and the next lap tries again.
 *
 * Threads: the job is built and taken apart by the owner; between hand-over and completion only the
 * flusher touches it. */
#include "engine/checkpoint.h"

#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/compact.h"
#include "engine/config.h"

/* How long a failed lap rests. */
#define RETRY_NS (1 * NS_PER_S)
/* How often free space is looked at. */
#define SPACE_NS (2 * NS_PER_S)
#define SEGDEL_PARTS_MAX 64u

/* --- C1: freeze (owner) ----------------------------------------------------------------------- */

static void take_tail(struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    struct tail *t = &s->tail;
    u->nchunks = t->chunks_n;
    u->chunks = u->nchunks > 0 ? base_malloc(u->nchunks * sizeof(struct jr_chunk *)) : NULL;
    size_t n = 0;
    for (uint32_t i = 0; i < t->chunks_n; i++) {
        struct jr_chunk *c = t->chunks[(t->chunks_first + i) & (t->chunks_cap - 1)].chunk;
        if (c != NULL) {
            jr_chunk_acquire(c);
            u->chunks[n++] = c;
        }
    }
    u->nchunks = n;
    u->msgs = t->msgs > 0 ? base_malloc((size_t)t->msgs * sizeof *u->msgs) : NULL;
    for (uint64_t seq = tail_next(t, 0); seq != 0; seq = tail_next(t, seq + 1)) {
        const uint8_t *p = tail_get(t, seq, NULL);
        u->msgs[u->nmsgs++] =
            (struct seg_src){.msg = p, .len = get_u32le(p), .expire_ns = ckpt_expires_ns(p)};
    }
}

static int run_cmp(const void *a, const void *b)
{
    const struct seq_run *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

/* Sorts and merges, and drops what lies below the floor (the floor says it). */
static void normalise(struct seq_runs *r, uint64_t floor)
{
    struct seq_runs out = {0};
    if (r->n > 1) {
        qsort(r->v, r->n, sizeof *r->v, run_cmp);
    }
    for (size_t i = 0; i < r->n; i++) {
        uint64_t first = u64_max(r->v[i].first, floor), end = r->v[i].first + r->v[i].count;
        if (out.n > 0) {
            first = u64_max(first, out.v[out.n - 1].first + out.v[out.n - 1].count);
        }
        if (first < end) {
            seq_runs_add_run(&out, first, end - first);
        }
    }
    seq_runs_fini(r);
    *r = out;
}

/* Sequences up to what will be flushed that are dead and above the floor: the delta since the last
 * lap, or all of them. */
static void take_removed(struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    u->full_segdel = s->segs != NULL && s->segs->segdel_parts >= SEGDEL_PARTS_MAX;
    uint64_t upto = u->blob_only ? s->flushed_seq : s->last_seq;
    if (u->full_segdel) {
        liveset_dead_runs(s->live, s->first_seq, upto + 1, UINT64_MAX, &u->removed);
        seq_runs_fini(&s->ckpt_removed);
        s->ckpt_removed = (struct seq_runs){0};
        return;
    }
    u->removed = s->ckpt_removed;
    s->ckpt_removed = (struct seq_runs){0};
    if (!u->blob_only && s->last_seq > s->flushed_seq) {
        liveset_dead_runs(s->live, u64_max(s->first_seq, s->flushed_seq + 1), s->last_seq + 1,
                          UINT64_MAX, &u->removed);
    }
    normalise(&u->removed, s->first_seq);
}

static void take_consumers(struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    u->cons = s->ncons > 0 ? base_calloc(s->ncons, sizeof *u->cons) : NULL;
    for (size_t i = 0; i < s->ncons; i++) {
        struct store_cons *c = s->cons[i];
        struct ckpt_cons *k = &u->cons[u->ncons++];
        struct cfg_head head = {CFG_KIND_CONSUMER, CFG_OP_UPDATE, cons_cfg_version(c),
                                cons_created_ns(c)};
        k->sub = cons_sub(c);
        k->cfg_version = head.cfg_version;
        k->created_ns = head.created_ns;
        k->name = base_strdup(cons_op_cfg(c)->name);
        cons_cfg_encode(&head, cons_op_cfg(c), &k->cfg, &k->cfg_len);
        cons_snapshot(c, &k->blob, &k->blob_len);
    }
    u->dropped_subs = s->dropped_subs;
    u->ndropped_subs = s->ndropped_subs;
    s->dropped_subs = NULL;
    s->ndropped_subs = 0;
}

/* Segments whose messages are all dead; the active one too, when nothing of it lives. */
static void take_dead_segments(struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    for (size_t i = 0; s->segs != NULL && i < s->segs->n; i++) {
        struct seg_view *v = s->segs->v[i];
        const struct seg_row *row = &v->row;
        if (row->first_seq == 0 || liveset_rank(s->live, row->first_seq, row->last_seq + 1) == 0) {
            u->dead = base_realloc(u->dead, (u->ndead + 1) * sizeof(struct seg_view *));
            u->dead[u->ndead++] = v;
            seg_view_acquire(v);
        }
    }
}

/* This very file: a compaction that was published since may have put the neighbour's messages into
 * one of the same number. */
static bool is_dead(const struct ckpt_unit *u, const struct seg_view *v)
{
    for (size_t i = 0; i < u->ndead; i++) {
        if (u->dead[i] == v) {
            return true;
        }
    }
    return false;
}

static struct seg_view *active_view(const struct ckpt_unit *u)
{
    const struct seg_set *set = u->s->segs;
    struct seg_view *v = set != NULL && set->n > 0 ? set->v[set->n - 1] : NULL;
    return v != NULL && v->row.state == SEG_ACTIVE && !is_dead(u, v) ? v : NULL;
}

static void freeze(struct eng *e, struct store_stream *s)
{
    struct ckpt *k = e->ckpt;
    if (k->nunits == k->cap) {
        k->cap = k->cap == 0 ? 16 : k->cap * 2;
        k->units = base_realloc(k->units, k->cap * sizeof *k->units);
    }
    struct ckpt_unit *u = &k->units[k->nunits++];
    memset(u, 0, sizeof *u);
    u->s = s;
    u->gid = s->gid;
    s->ckpt_busy = true;
    s->freeze_ticket = k->freeze_ticket;
    if (s->dropped) {
        u->dropped = true;
        return;
    }
    struct cfg_head head = {CFG_KIND_STREAM, CFG_OP_UPDATE, s->cfg_version, s->created_ns};
    stream_cfg_encode(&head, &s->cfg, &u->cfg, &u->cfg_len);
    u->cfg_version = s->cfg_version;
    u->account = base_strdup(s->cfg.account);
    u->name = base_strdup(s->cfg.name);
    u->next_sub = s->next_sub;
    u->oseq = s->oseq;
    u->last_seq = s->memory ? s->reserved_seq : s->last_seq;
    u->first_seq = s->memory ? u->last_seq + 1 : s->first_seq;
    u->msg_count = s->memory ? 0 : s->msgs;
    u->bytes = s->memory ? 0 : s->bytes;
    u->last_ts_ns = s->last_ts_ns;
    u->releasing = s->release_at != 0 || s->release_owed;
    take_consumers(u);
    if (s->memory) {
        return;
    }
    size_t id_len = 0;
    const char *last_id = dedup_last_id(s->dedup, &id_len);
    u->dedup = base_malloc(dedup_encode_bound(s->dedup, id_len) + 1);
    u->dedup_len = dedup_encode(s->dedup, UINT64_MAX, last_id, id_len, u->dedup);
    u->dedup = srcpos_wrap(&s->sources, u->dedup, u->dedup_len, &u->dedup_len);
    schedset_tidy(&s->scheds, s->live);
    u->dedup = schedset_wrap(&s->scheds, s->cfg.allow_msg_schedules, u->dedup, u->dedup_len,
                             &u->dedup_len);
    u->dedup = window_wrap(s, u->dedup, u->dedup_len, &u->dedup_len);
    u->blob_only = s->tail.bytes < CKPT_TAIL_BLOB_MAX;
    take_tail(u);
    take_removed(u);
    take_dead_segments(u);
    ckpt_make_blob(u, u->blob_only);
    u->active = active_view(u);
    if (u->active != NULL) {
        seg_view_acquire(u->active);
    }
    u->next_segno = s->segs != NULL ? s->segs->next_segno : 1;
    u->prev_last_seq = s->flushed_seq;
    u->segment_bytes = s->eng->opts.segment_bytes;
    if (s->extents != NULL) {
        extents_boundary(s->extents, s->last_seq, k->generation + 1, u->next_segno);
    }
}

/* --- C2, C3: write and sync (flusher) --------------------------------------------------------- */

static void flush_unit(struct eng *e, struct ckpt_unit *u, uint64_t generation)
{
    if (u->dropped) {
        if (u->drop_dir) {
            u->st = segs_drop_stream(e->segs, u->gid, &u->err);
        }
        return;
    }
    if (u->s->extents != NULL) {
        extents_take(u->s->extents, u->last_seq, &u->extents);
    }
    if (u->blob_only || u->nmsgs == 0) {
        return;
    }
    struct seg_flush_req req = {
        .gid = u->gid,
        .account = u->account,
        .name = u->name,
        .active = u->active,
        .next_segno = u->next_segno,
        .created_generation = generation,
        .prev_last_seq = u->prev_last_seq,
        .msgs = u->msgs,
        .n = u->nmsgs,
        .floor = u->first_seq,
        .removed = &u->removed,
        .segment_bytes = u->segment_bytes,
        .extents = u->extents.v,
        .nextents = u->extents.n,
    };
    u->st = seg_flush(e->segs, &req, &u->flushed, &u->err);
    if (u->st == ST_OK) {
        u->st = segs_sync_dirs(e->segs, u->gid, &u->err);
    }
}

static void write_units(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    for (size_t i = 0; i < k->nunits; i++) {
        flush_unit(e, &k->units[i], k->generation);
    }
}

/* --- C4: rows (owner builds, meta task commits) ----------------------------------------------- */

static struct cat_bytes bytes_of(const void *p, size_t len)
{
    return (struct cat_bytes){p, len};
}

void ckpt_put_segment(struct cat_txn *t, const struct seg_row *r)
{
    struct cat_segment c = {
        .gid = r->gid,
        .segno = r->segno,
        .gen = r->gen,
        .state = (uint32_t)r->state,
        .created_generation = r->created_generation,
        .first_seq = r->first_seq,
        .last_seq = r->last_seq,
        .min_ts_ns = r->min_ts,
        .max_ts_ns = r->max_ts,
        .durable_len = r->durable_len,
        .nblocks = r->nblocks,
        .chain_crc = r->chain_crc,
        .last_section = r->last_section,
        .live_msgs = r->live_msgs,
        .live_bytes = r->live_bytes,
        .min_expiry_ns = r->min_expiry,
    };
    memcpy(c.seg_uuid, r->seg_uuid, sizeof c.seg_uuid);
    cat_put_segment(t, &c);
}

static void put_removed(struct cat_txn *t, struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    uint32_t part = s->segs != NULL ? s->segs->segdel_parts : 0;
    if (u->full_segdel) {
        for (uint32_t i = 0; i < part; i++) {
            cat_del_segdel(t, u->gid, 0, i);
        }
        part = 0;
    }
    if (u->removed.n == 0) {
        u->segdel_parts = part;
        return;
    }
    size_t len = seq_runs_size(&u->removed);
    uint8_t *buf = base_malloc(len);
    len = seq_runs_put(buf, &u->removed);
    struct cat_segdel d = {u->gid, 0, part, bytes_of(buf, len)};
    cat_put_segdel(t, &d);
    base_free(buf);
    u->segdel_parts = part + 1;
}

static void put_consumers(struct cat_txn *t, const struct ckpt_unit *u)
{
    for (size_t i = 0; i < u->ndropped_subs; i++) {
        cat_del_consumer(t, u->gid, u->dropped_subs[i]);
        cat_del_consumer_ckpt(t, u->gid, u->dropped_subs[i]);
    }
    for (size_t i = 0; i < u->ncons; i++) {
        const struct ckpt_cons *k = &u->cons[i];
        struct cat_consumer c = {.gid = u->gid,
                                 .sub = k->sub,
                                 .name = bytes_of(k->name, strlen(k->name)),
                                 .cfg = bytes_of(k->cfg, k->cfg_len),
                                 .cfg_version = k->cfg_version,
                                 .created_ns = k->created_ns};
        struct cat_consumer_ckpt b = {u->gid, k->sub, bytes_of(k->blob, k->blob_len)};
        cat_put_consumer(t, &c);
        cat_put_consumer_ckpt(t, &b);
    }
}

/* What was found damaged stands in the catalogue: the journal that told it will be recycled. */
static void put_damage(struct cat_txn *t, struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    for (size_t i = s->damage_saved; i < s->ndamage; i++) {
        const struct eng_damage *d = &s->damage[i];
        struct cat_damage row = {.gid = u->gid,
                                 .lo = d->lo,
                                 .hi = d->hi,
                                 .cause = bytes_of(d->text, strlen(d->text)),
                                 .found_ns = eng_now_ns(s->eng)};
        cat_put_damage(t, &row);
    }
    u->damage_saved = s->ndamage;
}

/* As of the freeze: the records of the steps since then may yet be lost. */
static void put_releasing(struct cat_txn *t, const struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    uint8_t none[16];
    struct seq_runs no_runs = {0};
    if (u->releasing) {
        struct cat_segdel d = {u->gid, SEGDEL_RELEASE, 0,
                               bytes_of(none, seq_runs_put(none, &no_runs))};
        cat_put_segdel(t, &d);
        s->release_saved = true;
    } else if (s->release_saved) {
        cat_del_segdel(t, u->gid, SEGDEL_RELEASE, 0);
        s->release_saved = false;
    }
}

static void put_unit(struct cat_txn *t, struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    struct cat_stream row = {.gid = u->gid,
                             .account = bytes_of(u->account, strlen(u->account)),
                             .name = bytes_of(u->name, strlen(u->name)),
                             .storage = (uint32_t)s->cfg.storage,
                             .cfg = bytes_of(u->cfg, u->cfg_len),
                             .cfg_version = u->cfg_version,
                             .created_ns = s->created_ns,
                             .next_sub = u->next_sub};
    struct cat_stream_ckpt ck = {.gid = u->gid,
                                 .flushed_lsn = s->last_lsn,
                                 .oseq = u->oseq,
                                 .last_seq = u->last_seq,
                                 .first_seq = u->first_seq,
                                 .msgs = u->msg_count,
                                 .bytes = u->bytes,
                                 .last_ts_ns = u->last_ts_ns,
                                 .dedup = bytes_of(u->dedup, u->dedup_len),
                                 .tail = bytes_of(u->tail, u->tail_len)};
    u->flushed_lsn = s->last_lsn;
    cat_put_stream(t, &row);
    cat_put_stream_ckpt(t, &ck);
    put_consumers(t, u);
    put_removed(t, u);
    compact_put_erase(t, s);
    put_releasing(t, u);
    put_damage(t, u);
    for (size_t i = 0; s->segs != NULL && i < s->segs->n; i++) {
        if (is_dead(u, s->segs->v[i])) {
            cat_del_segment(t, u->gid, s->segs->v[i]->row.segno);
        }
    }
    for (size_t i = 0; i < u->flushed.n; i++) {
        ckpt_put_segment(t, &u->flushed.v[i].view->row);
    }
    const struct seg_set *set = s->segs;
    if (set != NULL && set->n > 0 && set->v[set->n - 1]->row.state == SEG_CLOSED &&
        !is_dead(u, set->v[set->n - 1])) {
        ckpt_put_segment(t, &set->v[set->n - 1]->row); /* closed by a failed flush */
    }
}

static void put_dropped(struct cat_txn *t, struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    for (size_t i = 0; i < s->ndropped_subs; i++) {
        cat_del_consumer(t, u->gid, s->dropped_subs[i]);
        cat_del_consumer_ckpt(t, u->gid, s->dropped_subs[i]);
    }
    for (size_t i = 0; s->segs != NULL && i < s->segs->n; i++) {
        cat_del_segment(t, u->gid, s->segs->v[i]->row.segno);
    }
    for (uint32_t i = 0; s->segs != NULL && i < s->segs->segdel_parts; i++) {
        cat_del_segdel(t, u->gid, 0, i);
    }
    if (s->release_saved) {
        cat_del_segdel(t, u->gid, SEGDEL_RELEASE, 0);
    }
    seq_runs_clear(&s->erase);
    compact_put_erase(t, s);
    for (size_t i = 0; i < s->ndamage; i++) {
        cat_del_damage(t, u->gid, s->damage[i].lo, s->damage[i].hi);
    }
    cat_del_stream_ckpt(t, u->gid);
    if (s->dir_gone && s->tomb_generation != 0 && s->eng->ckpt->checkpoint_lsn > s->drop_lsn) {
        cat_del_stream(t, u->gid);
        u->forget = true;
        return;
    }
    struct cat_stream row = {.gid = u->gid,
                             .account = bytes_of(s->cfg.account, strlen(s->cfg.account)),
                             .storage = (uint32_t)s->cfg.storage,
                             .cfg = bytes_of("", 0),
                             .created_ns = s->created_ns,
                             .next_sub = s->next_sub,
                             .drop_lsn = s->drop_lsn};
    cat_put_stream(t, &row);
}

/* The oldest record that some stream would still need once this lap is committed. */
static uint64_t oldest_needed(const struct eng *e)
{
    uint64_t lsn = e->done_lsn;
    for (size_t i = 0; i < e->ngids; i++) {
        const struct store_stream *s = e->by_gid[i];
        uint64_t first = s->ckpt_busy ? s->next_dirty_lsn : s->first_dirty_lsn;
        if (first != 0) {
            lsn = u64_min(lsn, first);
        }
    }
    return lsn;
}

static void build_txn(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    k->txn = cat_txn_create();
    for (size_t i = 0; i < k->nunits; i++) {
        struct ckpt_unit *u = &k->units[i];
        if (u->dropped) {
            u->s->drop_lsn = u->s->drop_lsn != 0 ? u->s->drop_lsn : u->s->newest_lsn;
            put_dropped(k->txn, u);
        } else {
            put_unit(k->txn, u);
        }
    }
    cat_put_next_gid(k->txn, e->next_gid);
    k->new_checkpoint_lsn = u64_max(oldest_needed(e), k->checkpoint_lsn);
    struct cat_lane lane = {
        .id = 0, .checkpoint_lsn = k->new_checkpoint_lsn, .end_lsn = k->end_lsn};
    cat_put_lane(k->txn, &lane);
}

/* Meta task. */
static void committed(void *arg, struct cat_txn *txn, enum st st, uint64_t gen,
                      const struct err *err)
{
    struct eng *e = arg;
    struct ckpt *k = e->ckpt;
    (void)txn;
    k->commit_st = st;
    k->commit_gen = gen;
    if (err != NULL) {
        k->commit_err = *err;
    }
    atomic_store_explicit(&k->phase, CKPT_COMMITTED, memory_order_release);
    e->opts.doorbell(e->opts.doorbell_arg);
}

/* --- C5, C6: publish, release (owner) --------------------------------------------------------- */

void ckpt_add_view(struct store_stream *s, struct seg_view *v)
{
    if (s->segs == NULL) {
        s->segs = base_calloc(1, sizeof *s->segs);
        s->segs->next_segno = 1;
    }
    struct seg_set *set = s->segs;
    if (set->n == set->cap) {
        set->cap = set->cap == 0 ? 4 : set->cap * 2;
        set->v = base_realloc(set->v, set->cap * sizeof(struct seg_view *));
    }
    ASSERT(set->n == 0 || set->v[set->n - 1]->row.segno < v->row.segno);
    set->v[set->n++] = v;
    set->next_segno = u64_max(set->next_segno, v->row.segno + 1);
}

void ckpt_replace_view(struct store_stream *s, size_t i, struct seg_view *v)
{
    ASSERT(s->segs->v[i]->row.segno == v->row.segno);
    seg_view_release(s->segs->v[i]);
    s->segs->v[i] = v;
}

void ckpt_remove_view(struct store_stream *s, size_t i)
{
    struct seg_set *set = s->segs;
    seg_view_release(set->v[i]);
    memmove(set->v + i, set->v + i + 1, (set->n - i - 1) * sizeof(struct seg_view *));
    set->n--;
}

static void replace_last(struct store_stream *s, struct seg_view *v)
{
    ckpt_replace_view(s, s->segs->n - 1, v);
}

static void drop_dead(struct store_stream *s, const struct ckpt_unit *u)
{
    size_t n = 0;
    for (size_t i = 0; s->segs != NULL && i < s->segs->n; i++) {
        struct seg_view *v = s->segs->v[i];
        if (is_dead(u, v)) {
            blockcache_forget_file(s->eng->cache, seg_view_file_id(v));
            seg_view_drop(v);
            seg_view_release(v);
        } else {
            s->segs->v[n++] = v;
        }
    }
    if (s->segs != NULL) {
        s->segs->n = n;
    }
}

static void publish_unit(struct eng *e, struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    drop_dead(s, u);
    if (s->extents != NULL) {
        jr_placed_done(e->jr, extents_done(s->extents, &u->extents));
    }
    for (size_t i = 0; i < u->flushed.n; i++) {
        struct seg_flushed *f = &u->flushed.v[i];
        if (f->replaces_active) {
            replace_last(s, f->view);
        } else {
            ckpt_add_view(s, f->view);
        }
        f->view = NULL;
    }
    e->segment_bytes_written += u->flushed.bytes_written;
    if (u->segdel_parts > 0 || s->segs != NULL) {
        if (s->segs == NULL) {
            s->segs = base_calloc(1, sizeof *s->segs);
            s->segs->next_segno = 1;
        }
        s->segs->segdel_parts = u->segdel_parts;
    }
    if (!s->memory) {
        if (u->blob_only) {
            tail_rehome(&s->tail, u->last_seq);
        } else {
            /* Removed since the freeze, but in the segment now: the next lap must say so. */
            for (size_t i = 0; i < u->nmsgs; i++) {
                uint64_t seq = get_u64le(u->msgs[i].msg + 8);
                if (!liveset_is_live(s->live, seq)) {
                    seq_runs_add(&s->ckpt_removed, seq);
                }
            }
            tail_trim(&s->tail, u->last_seq + 1);
            s->flushed_seq = u->last_seq;
        }
        s->lap_bytes = u->bytes;
    }
    s->flushed_lsn = u->flushed_lsn;
    s->ckpt_first_seq = u->first_seq;
    compact_look_at(s);
}

static void unfreeze(struct eng *e, struct ckpt_unit *u, bool done)
{
    struct store_stream *s = u->s;
    s->ckpt_busy = false;
    s->freeze_ticket = 0;
    if (done) {
        s->first_dirty_lsn = s->next_dirty_lsn;
        s->ckpt_dirty =
            s->ticket > e->ckpt->freeze_ticket || (!u->dropped && u->damage_saved < s->ndamage);
        s->damage_saved = u->damage_saved;
    } else {
        for (size_t i = 0; i < u->removed.n && !u->dropped; i++) {
            seq_runs_add_run(&s->ckpt_removed, u->removed.v[i].first, u->removed.v[i].count);
        }
        for (size_t i = 0; i < u->ndropped_subs; i++) {
            ckpt_consumer_dropped(s, u->dropped_subs[i]);
        }
        s->ckpt_dirty = true;
    }
    s->next_dirty_lsn = 0;
    s->last_lsn = s->newest_lsn;
    s->lap_at = s->memory ? UINT64_MAX : e->opts.tail_bytes;
}

static void unit_fini(struct ckpt_unit *u)
{
    if (u->extents.n > 0) { /* else the stream may be gone */
        extents_undone(u->s->extents, &u->extents);
    }
    for (size_t i = 0; i < u->nchunks; i++) {
        jr_chunk_release(u->chunks[i]);
    }
    for (size_t i = 0; i < u->ncons; i++) {
        base_free(u->cons[i].name);
        base_free(u->cons[i].cfg);
        base_free(u->cons[i].blob);
    }
    seg_flush_result_fini(&u->flushed);
    seg_view_release(u->active);
    seq_runs_fini(&u->removed);
    base_free(u->chunks);
    base_free(u->msgs);
    base_free(u->cons);
    base_free(u->dropped_subs);
    for (size_t i = 0; i < u->ndead; i++) {
        seg_view_release(u->dead[i]);
    }
    base_free(u->dead);
    base_free(u->cfg);
    base_free(u->account);
    base_free(u->name);
    base_free(u->dedup);
    base_free(u->tail);
}

static void publish_dropped(struct eng *e, struct ckpt_unit *u)
{
    struct store_stream *s = u->s;
    if (s->extents != NULL) { /* the tombstone keeps replay from asking for them */
        extents_take(s->extents, UINT64_MAX, &u->extents);
        jr_placed_done(e->jr, extents_done(s->extents, &u->extents));
    }
    if (u->forget) {
        eng_stream_forget(e, s);
        stream_free(s);
        return;
    }
    if (u->drop_dir) {
        s->dir_gone = true;
    }
    for (size_t i = 0; s->segs != NULL && i < s->segs->n; i++) {
        blockcache_forget_file(e->cache, seg_view_file_id(s->segs->v[i]));
        seg_view_drop(s->segs->v[i]);
        seg_view_release(s->segs->v[i]);
    }
    if (s->segs != NULL) {
        s->segs->n = 0;
        s->segs->segdel_parts = 0;
    }
    base_free(s->dropped_subs);
    s->dropped_subs = NULL;
    s->ndropped_subs = 0;
    s->tomb_generation = e->ckpt->commit_gen;
    e->ckpt->tombstones_wait = true;
}

static void finish_lap(struct eng *e, bool done)
{
    struct ckpt *k = e->ckpt;
    for (size_t i = 0; i < k->nunits; i++) {
        struct ckpt_unit *u = &k->units[i];
        bool forget = done && u->dropped && u->forget;
        if (!forget) {
            unfreeze(e, u, done);
        }
        if (done && u->dropped) {
            publish_dropped(e, u);
        } else if (done) {
            publish_unit(e, u);
        }
        unit_fini(u);
    }
    k->nunits = 0;
    cat_txn_destroy(k->txn);
    k->txn = NULL;
    if (done) {
        k->checkpoint_lsn = k->new_checkpoint_lsn;
        k->lap_no_space = false;
        e->checkpoints++;
        jr_release(e->jr, k->checkpoint_lsn, k->commit_gen);
        ckpt_wake_flusher(e); /* unlinks what this lap let go */
    }
    atomic_store_explicit(&k->phase, CKPT_IDLE, memory_order_relaxed);
}

static void answer_requests(struct eng *e, enum st st)
{
    struct ckpt *k = e->ckpt;
    while (k->running_requests != NULL) {
        struct ckpt_request *r = k->running_requests;
        k->running_requests = r->next;
        eng_wait(e, 0, r->fn, r->arg, st, 0);
        base_free(r);
    }
}

static void lap_failed(struct eng *e, enum st st, const struct err *err)
{
    struct ckpt *k = e->ckpt;
    if (st == ST_POISONED) { /* a flush would write over blocks which the rows in doubt refer to */
        log_err("could not checkpoint: %s; no checkpoint until a restart", err->msg);
        k->in_doubt = true;
        finish_lap(e, false);
        answer_requests(e, st);
        return;
    }
    log_err("could not checkpoint: %s (%s); nothing is released, trying again in 1 s", err->msg,
            st_text(st));
    if (st == ST_NOSPACE) {
        k->lap_no_space = true;
        cat_ballast_release(e->cat);
    }
    finish_lap(e, false);
    answer_requests(e, st);
    k->wanted = true;
    k->retry_boot_ns = eng_boot_ns(e) + RETRY_NS;
    eng_timer_set(k->timer, k->retry_boot_ns);
}

/* A unit whose flush failed: its active segment is closed by the next lap, which starts a new one.
 */
static enum st first_error(struct ckpt *k, struct err *err)
{
    for (size_t i = 0; i < k->nunits; i++) {
        if (k->units[i].st != ST_OK) {
            *err = k->units[i].err;
            struct seg_set *set = k->units[i].s->segs;
            if (k->units[i].active != NULL && set != NULL && set->n > 0) {
                replace_last(k->units[i].s, seg_view_closed(k->units[i].active));
                k->units[i].s->ckpt_dirty = true;
            }
            if (set != NULL) {
                set->next_segno += 4; /* names that the failed flush may have used */
            }
            return k->units[i].st;
        }
    }
    return ST_OK;
}

/* --- driving (owner) -------------------------------------------------------------------------- */

/* A journal that finds no room for its next file gets some back from a checkpoint, long before its
 * window is a quarter used; what has gone on for longer than a lap takes is a full disk. */
#define STARVED_LAP_NS (2 * NS_PER_S)
#define STARVED_FULL_NS (3 * NS_PER_S)
#define STARVED_USED_MIN MIB /* less gives no file back */

static bool starved_due(struct eng *e, uint64_t used)
{
    struct ckpt *k = e->ckpt;
    int64_t now = eng_boot_ns(e);
    if (k->starved_boot_ns == 0 || used < STARVED_USED_MIN ||
        (k->starved_lap_boot_ns != 0 && now - k->starved_lap_boot_ns < STARVED_LAP_NS)) {
        return false;
    }
    k->starved_lap_boot_ns = now;
    return true;
}

/* A limit that was reckoned from a disk that was full then would refuse for ever what there is room
 * for now. It only rises. */
static void limit_anew(struct eng *e)
{
    if (e->opts.max_file_is_of_free) {
        uint64_t most = atomic_load(&e->ckpt->space_free) / 4 * 3 + e->file_bytes;
        e->opts.max_file_bytes = u64_max(e->opts.max_file_bytes, most);
    }
}

static void look_at_space(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    int64_t now = eng_boot_ns(e);
    if (!jr_starved(e->jr)) {
        k->starved_boot_ns = 0;
        k->starved_lap_boot_ns = 0;
    } else {
        k->starved_boot_ns = k->starved_boot_ns != 0 ? k->starved_boot_ns : now;
        eng_timer_set(k->timer, now + NS_PER_S / 2);
    }
    bool low = atomic_load(&k->space_low) || k->lap_no_space ||
               (k->starved_boot_ns != 0 && now - k->starved_boot_ns >= STARVED_FULL_NS);
    if (low != e->low_space) {
        e->low_space = low;
        log_wrn("%s", low ? "disk is nearly full: publishes are refused until there is room"
                          : "disk has room again: publishes are taken");
        if (!low) {
            limit_anew(e);
        }
    }
}

/* Over which streams; LAP_FINAL: everything, at shutdown. */
enum lap { LAP_NONE, LAP_TAILS, LAP_ALL, LAP_FINAL };

static enum lap due(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    uint64_t used = jr_window_used(e->jr);
    if (k->in_doubt || eng_boot_ns(e) < k->retry_boot_ns) {
        return LAP_NONE;
    }
    /* A lap that could not cover anything new would follow lap for ever. */
    if (k->wanted || k->tombstones_wait ||
        (e->done_lsn > k->checkpoint_lsn &&
         (used > e->opts.journal_window_bytes / 100 * LIM_JOURNAL_CHECKPOINT_PERCENT ||
          starved_due(e, used)))) {
        return LAP_ALL;
    }
    return k->tail_full ? LAP_TAILS : LAP_NONE;
}

/* Whether the lap goes over this stream. A lap for memory's sake leaves the many small ones to the
 * next whole lap: their tails are not worth a flush each. What was dropped goes along: its row
 * holds the name that a new stream may have by now. */
static bool takes(const struct store_stream *s, enum lap lap)
{
    if (s->dropped) {
        return s->ckpt_dirty || s->tomb_generation != 0;
    }
    return s->ckpt_dirty &&
           (lap != LAP_TAILS || (!s->memory && s->tail.bytes >= s->eng->opts.tail_bytes / 4));
}

static void begin_lap(struct eng *e, enum lap lap)
{
    struct ckpt *k = e->ckpt;
    k->tail_full = false;
    if (lap != LAP_TAILS) {
        k->wanted = false;
        k->tombstones_wait = false;
    }
    for (size_t i = 0; i < e->nstreams && lap != LAP_FINAL; i++) {
        struct store_stream *s = e->by_name[i];
        for (size_t c = 0; takes(s, lap) && c < s->ncons; c++) {
            cons_flush(s->cons[c]);
        }
    }
    /* A compaction under way may commit before this lap does: what a crash then leaves of the lap
     * must not pass for files of an older generation. */
    k->generation = cat_generation(e->cat) + 1 + (compact_idle(e) ? 0 : 1);
    jw_seal(e->jw);
    k->freeze_ticket = jw_open_ticket(e->jw) - 1;
    for (size_t i = 0; i < e->ngids; i++) {
        struct store_stream *s = e->by_gid[i];
        if (takes(s, lap)) {
            freeze(e, s);
            k->units[k->nunits - 1].drop_dir =
                s->dropped && s->tomb_generation != 0 && !s->dir_gone;
        }
    }
    if (lap == LAP_TAILS) {
        return; /* who asked for everything waits for a lap over everything */
    }
    struct ckpt_request **tail =
        &k->running_requests; /* behind those of a lap that was cut short */
    while (*tail != NULL) {
        tail = &(*tail)->next;
    }
    *tail = k->requests;
    k->requests = NULL;
}

/* The catalogue never runs ahead of the journal: what relaxed and async streams applied is synced
 * first (I8, C4). */
static bool durable(struct eng *e)
{
    uint64_t lsn = 0;
    for (size_t i = 0; i < e->ckpt->nunits; i++) {
        const struct store_stream *s = e->ckpt->units[i].s;
        lsn = u64_max(lsn, e->ckpt->units[i].dropped ? s->newest_lsn : s->last_lsn);
    }
    if (jr_durable_lsn(e->jr) > lsn) {
        return true;
    }
    jr_want_sync(e->jr);
    return false;
}

/* Some unit's messages may be on their way to files of their own. */
static bool has_extents(const struct ckpt *k)
{
    for (size_t i = 0; i < k->nunits; i++) {
        if (!k->units[i].dropped && k->units[i].s->extents != NULL) {
            return true;
        }
    }
    return false;
}

static void hand_over(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    bool ready = e->done_ticket >= k->freeze_ticket || !has_extents(k);
    atomic_store_explicit(&k->phase, ready ? CKPT_WRITING : CKPT_FROZEN, memory_order_release);
    if (ready) {
        env_task_wake(e->env, k->flusher);
    }
}

void ckpt_poll(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    enum ckpt_phase phase = (enum ckpt_phase)atomic_load_explicit(&k->phase, memory_order_acquire);
    struct err err;
    look_at_space(e);
    if ((e->poisoned != ST_OK || k->in_doubt) && k->requests != NULL &&
        k->running_requests == NULL) {
        k->running_requests = k->requests; /* nothing will come of them */
        k->requests = NULL;
        answer_requests(e, ST_POISONED);
    }
    if (e->poisoned != ST_OK) {
        return;
    }
    switch (phase) {
    case CKPT_IDLE: {
        enum lap lap = k->flusher != NULL ? due(e) : LAP_NONE;
        if (lap != LAP_NONE) {
            begin_lap(e, lap);
            hand_over(e);
        }
        break;
    }
    case CKPT_FROZEN:
        hand_over(e);
        break;
    case CKPT_WRITTEN: {
        enum st st = first_error(k, &err);
        if (st != ST_OK) {
            lap_failed(e, st, &err);
        } else if (e->done_ticket >= k->freeze_ticket && durable(e) && !compact_committing(e)) {
            build_txn(e);
            atomic_store_explicit(&k->phase, CKPT_COMMITTING, memory_order_release);
            st = cat_submit(e->cat, k->txn, committed, e);
            if (st != ST_OK) {
                err_set(&err, st, 0, "catalogue takes no transaction");
                lap_failed(e, st, &err);
            }
        }
        break;
    }
    case CKPT_COMMITTED:
        if (k->commit_st != ST_OK) {
            err = k->commit_err;
            lap_failed(e, k->commit_st, &err);
            break;
        }
        finish_lap(e, true);
        answer_requests(e, ST_OK);
        break;
    default:
        break;
    }
}

static uint64_t flusher_step(void *arg)
{
    struct eng *e = arg;
    struct ckpt *k = e->ckpt;
    if (atomic_load_explicit(&k->phase, memory_order_acquire) == CKPT_WRITING) {
        write_units(e);
        atomic_store_explicit(&k->phase, CKPT_WRITTEN, memory_order_release);
        e->opts.doorbell(e->opts.doorbell_arg);
    }
    segs_reap(e->segs);
    int64_t now = env_boot_ns(e->env);
    if (now >= k->trim_at_ns) {
        jr_chunks_trim();
        segs_trim(e->segs);
        k->trim_at_ns = now + SPACE_NS;
    }
    uint64_t free_bytes, total_bytes;
    if (env_space(e->env, e->root, &free_bytes, &total_bytes, NULL) == ST_OK) {
        uint64_t low =
            u64_min(u64_max(LIM_LOW_WATER_BYTES, total_bytes / 100 * LIM_LOW_WATER_PERCENT),
                    total_bytes / 100 * LIM_LOW_WATER_PERCENT_MAX);
        bool is_low = free_bytes < low;
        atomic_store(&k->space_free, free_bytes);
        if (is_low != atomic_load(&k->space_low)) {
            atomic_store(&k->space_low, is_low);
            e->opts.doorbell(e->opts.doorbell_arg);
        }
    }
    return SPACE_NS;
}

void ckpt_request(struct eng *e, store_done_fn done, void *arg)
{
    struct ckpt *k = e->ckpt;
    k->wanted = true;
    if (done != NULL) {
        struct ckpt_request *r = base_malloc(sizeof *r);
        *r = (struct ckpt_request){done, arg, k->requests};
        k->requests = r;
    }
}

bool ckpt_committing(const struct eng *e)
{
    int phase = atomic_load_explicit(&e->ckpt->phase, memory_order_acquire);
    return phase == CKPT_COMMITTING || phase == CKPT_COMMITTED;
}

void ckpt_wake_flusher(struct eng *e)
{
    if (e->ckpt->flusher != NULL) {
        env_task_wake(e->env, e->ckpt->flusher);
    }
}

bool ckpt_idle(struct eng *e)
{
    return atomic_load(&e->ckpt->phase) == CKPT_IDLE;
}

static void wake_owner(void *arg)
{
    (void)arg; /* the turn after the timer polls */
}

enum st ckpt_create(struct eng *e, struct err *err)
{
    (void)err;
    e->ckpt = base_calloc(1, sizeof *e->ckpt);
    e->ckpt->timer = eng_timer_create(e, wake_owner, e);
    return ST_OK;
}

enum st ckpt_start(struct eng *e, struct err *err)
{
    return env_task_start(e->env, "flusher", 5, flusher_step, e, &e->ckpt->flusher, err);
}

void ckpt_stop(struct eng *e)
{
    if (e->ckpt != NULL && e->ckpt->flusher != NULL) {
        env_task_stop(e->env, e->ckpt->flusher);
        e->ckpt->flusher = NULL;
    }
}

void ckpt_destroy(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    if (k == NULL) {
        return;
    }
    for (size_t i = 0; i < k->nunits; i++) {
        unit_fini(&k->units[i]);
    }
    while (k->requests != NULL) {
        struct ckpt_request *r = k->requests;
        k->requests = r->next;
        base_free(r);
    }
    while (k->running_requests != NULL) {
        struct ckpt_request *r = k->running_requests;
        k->running_requests = r->next;
        base_free(r);
    }
    cat_txn_destroy(k->txn);
    eng_timer_destroy(k->timer);
    base_free(k->units);
    base_free(k);
    e->ckpt = NULL;
}

/* --- drops ------------------------------------------------------------------------------------ */

void ckpt_consumer_dropped(struct store_stream *s, uint32_t sub)
{
    s->dropped_subs =
        base_realloc(s->dropped_subs, (s->ndropped_subs + 1) * sizeof *s->dropped_subs);
    s->dropped_subs[s->ndropped_subs++] = sub;
    s->ckpt_dirty = true;
}

void ckpt_stream_dropped(struct store_stream *s)
{
    for (size_t i = 0; i < s->ncons; i++) {
        ckpt_consumer_dropped(s, cons_sub(s->cons[i]));
    }
    s->ckpt_dirty = true;
}

/* --- shutdown --------------------------------------------------------------------------------- */

/* Ends a running lap on this thread, whatever its phase. The flusher has been stopped. */
static void drain_lap(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    struct err err;
    if (atomic_load(&k->phase) == CKPT_WRITING) {
        write_units(e);
        atomic_store(&k->phase, CKPT_WRITTEN);
    }
    cat_stop(e->cat); /* a submitted transaction is committed or given back: committed() has run */
    if (atomic_load(&k->phase) == CKPT_COMMITTED) {
        err = k->commit_err;
        finish_lap(e, k->commit_st == ST_OK);
    } else if (atomic_load(&k->phase) == CKPT_WRITTEN || atomic_load(&k->phase) == CKPT_FROZEN) {
        (void)first_error(k, &err);
        finish_lap(e, false);
    }
}

void ckpt_close(struct eng *e)
{
    for (size_t i = 0; i < e->nstreams; i++) {
        for (size_t c = 0; c < e->by_name[i]->ncons; c++) {
            cons_flush(e->by_name[i]->cons[c]);
        }
    }
    jw_seal(e->jw);
    compact_stop(e);
    ckpt_stop(e);
    drain_lap(e);
    compact_settle(e);
}

bool ckpt_commit_end(struct eng *e, uint64_t end_lsn)
{
    struct ckpt *k = e->ckpt;
    struct err err;
    e->base.ops->poll(&e->base);
    if (e->poisoned != ST_OK || k->in_doubt) {
        return false;
    }
    k->end_lsn = end_lsn;
    for (int lap = 0; lap < 3; lap++) { /* a second and third for tombstones */
        begin_lap(e, LAP_FINAL);
        bool more = k->nunits > 0;
        write_units(e);
        enum st st = first_error(k, &err);
        if (st == ST_OK) {
            build_txn(e);
            st = cat_commit(e->cat, k->txn, &k->commit_gen, &err);
        }
        if (st != ST_OK) {
            log_err("could not checkpoint at shutdown: %s; the journal has everything", err.msg);
            finish_lap(e, false);
            return false;
        }
        finish_lap(e, true);
        if (!more || !k->tombstones_wait) {
            break;
        }
    }
    segs_reap(e->segs);
    return true;
}
