/* C5 and C6 of a checkpoint: segments that are committed take the place of the tail, and the
 * journal before them is released (checkpoint.h). Also the end of a lap that failed: nothing is let
 * go. Owner thread. */
#include "engine/checkpoint.h"

#include "engine/compact.h"

/* --- the views of a stream -------------------------------------------------------------------- */

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

/* --- one unit --------------------------------------------------------------------------------- */

static void drop_dead(struct store_stream *s, const struct ckpt_unit *u)
{
    size_t n = 0;
    for (size_t i = 0; s->segs != NULL && i < s->segs->n; i++) {
        struct seg_view *v = s->segs->v[i];
        if (ckpt_is_dead(u, v)) {
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
            ckpt_replace_view(s, s->segs->n - 1, f->view);
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

/* --- all of them ------------------------------------------------------------------------------ */

void ckpt_finish_lap(struct eng *e, bool done)
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
        ckpt_unit_fini(u);
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
