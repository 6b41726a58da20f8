/* C1 of a checkpoint: a stream with its consumers exactly as of the freeze ticket (checkpoint.h).
 *
 * What is taken is copied, or held by a reference, so that the stream goes on meanwhile. A frozen
 * unit refers to its stream, which lives as long as ckpt_busy is set. Owner thread; a crash leaves
 * nothing of it. */
#include "engine/checkpoint.h"

#include <stdlib.h>

#include "engine/config.h"

#define SEGDEL_PARTS_MAX 64u /* rows of removed sequences; then the next lap writes all as one */

/* --- what is taken ---------------------------------------------------------------------------- */

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

bool ckpt_is_dead(const struct ckpt_unit *u, const struct seg_view *v)
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
    return v != NULL && v->row.state == SEG_ACTIVE && !ckpt_is_dead(u, v) ? v : NULL;
}

void ckpt_freeze(struct eng *e, struct store_stream *s)
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

void ckpt_unit_fini(struct ckpt_unit *u)
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
