/* Rebuilding a segment's index from its blocks when a section or the footer is damaged.
 *
 * All blocks are read. What cannot be read is marked lost in the view, so that reads of it are
 * errors; what can be read is served as before. Nothing is written: the file is evidence. */
#include "engine/block_decode.h"

#include <stdio.h>

struct rebuild {
    struct seg_opening *o;
    struct segidx idx;
};

static void add_msg(void *arg, const struct msg *m, uint32_t form_len, bool bad)
{
    struct rebuild *r = arg;
    if (bad) {
        seg_opening_damage(r->o, SEG_DAMAGE_MESSAGE, 0, m->seq, m->seq, true,
                           "content of a message is damaged");
        return; /* its subject cannot be trusted */
    }
    const struct seg_visitor *v = r->o->v;
    int64_t expire_ns = v->expiry_of != NULL ? v->expiry_of(v->arg, m) : 0;
    segidx_add_msg(&r->idx, m, form_len, expire_ns);
}

static void data_block(struct rebuild *r, uint64_t off, const struct seg_bh *bh, const uint8_t *raw)
{
    struct seg_opening *o = r->o;
    struct seg_bidx line;
    struct seg_bidx_disk e = {.off = off,
                              .first_seq = bh->first_seq,
                              .stored_len = bh->stored_len,
                              .hdr_crc = bh->hdr_crc,
                              .max_ts = bh->max_ts};
    seg_bidx_of(&line, &e, o->row->first_seq);
    seg_opening_line(o, &line);
    o->nmsgs += bh->nmsgs;
    if (raw == NULL || seg_block_msgs(bh, raw, o->segs->crc_seed, add_msg, r) != ST_OK) {
        seg_opening_damage(o, SEG_DAMAGE_BLOCK, off, bh->first_seq, seg_bh_last_seq(bh), true,
                           "block is damaged");
    }
}

/* Good sections on the way still say what was removed, and when messages expire. */
static void index_block(struct rebuild *r, const struct seg_bh *bh, const uint8_t *raw)
{
    struct seg_sect s;
    const struct seg_visitor *v = r->o->v;
    if (raw == NULL || seg_sect_parse(raw, bh->raw_len, &s) != ST_OK ||
        seg_sect_check(&s) != ST_OK) {
        return;
    }
    uint64_t floor = 0;
    if (seg_sect_removed(&s, &floor, &r->idx.removed) == ST_OK) {
        r->idx.floor = u64_max(r->idx.floor, floor);
    }
    if (v->expiry_of == NULL && v->ttl != NULL && bh->type == SEG_BT_INDEX) {
        enum st st = seg_sect_ttl(&s, v->ttl, v->arg);
        ASSERT(st == ST_OK);
    }
}

static void walk_block(void *arg, uint64_t off, const struct seg_bh *bh, const uint8_t *raw)
{
    struct rebuild *r = arg;
    if (bh->type == SEG_BT_DATA) {
        data_block(r, off, bh, raw);
    } else {
        index_block(r, bh, raw);
    }
}

static void walk_gap(void *arg, uint64_t off, uint64_t end, uint64_t lo, uint64_t hi)
{
    struct rebuild *r = arg;
    (void)end;
    if (lo != 0) {
        seg_opening_lost(r->o, lo, hi);
        seg_opening_damage(r->o, SEG_DAMAGE_BLOCK, off, lo, hi, true, "blocks are missing");
    }
}

enum st seg_rebuild(struct seg_opening *o, struct err *err)
{
    struct rebuild r = {.o = o};
    segidx_init(&r.idx, o->row->first_seq, o->segs->hash_seed);
    struct seg_walk_ops ops = {.arg = &r, .block = walk_block, .gap = walk_gap};
    enum st st = seg_walk(&o->io, o->row->first_seq, o->row->last_seq, &o->sc, &ops, err);
    if (st == ST_OK) {
        const struct seg_visitor *v = o->v;
        if (v->removed != NULL) {
            v->removed(v->arg, r.idx.floor, &r.idx.removed);
        }
        if (v->subject != NULL) {
            segidx_subjects(&r.idx, v->subject, v->arg);
        }
        for (size_t i = 0; v->ttl != NULL && i < r.idx.nttl; i++) {
            v->ttl(v->arg, r.idx.ttl[i].seq, r.idx.ttl[i].expire_ns);
        }
    }
    segidx_fini(&r.idx);
    return st;
}
