/* C4 of a checkpoint: the catalogue's rows of the frozen units, as one transaction (checkpoint.h).
 *
 * The owner builds them when the freeze ticket is done; the catalogue's task commits them. Rows say
 * what was frozen, except for what a drop has made of a stream since. */
#include "engine/checkpoint.h"

#include "engine/compact.h"

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
        if (ckpt_is_dead(u, s->segs->v[i])) {
            cat_del_segment(t, u->gid, s->segs->v[i]->row.segno);
        }
    }
    for (size_t i = 0; i < u->flushed.n; i++) {
        ckpt_put_segment(t, &u->flushed.v[i].view->row);
    }
    const struct seg_set *set = s->segs;
    if (set != NULL && set->n > 0 && set->v[set->n - 1]->row.state == SEG_CLOSED &&
        !ckpt_is_dead(u, set->v[set->n - 1])) {
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

void ckpt_build_txn(struct eng *e)
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
