/* Going through a segment without its index: for rebuilds and for the check (segment_impl.h).
 *
 * Blocks follow each other on 8 B, sections on 4 KiB, zeros between. Where no header verifies, the
 * next one is looked for in 8 B steps: its checksum covers file and place, so bytes of a payload
 * cannot pass for one. What lay between is known from the chain: prev_last_seq of the block found,
 * and prev_hdr_crc, which names the block right before it. */
#include "engine/segment_impl.h"

#define SCAN_BYTES (32u * 1024u)

struct walk {
    const struct seg_io *io;
    const struct seg_walk_ops *ops;
    struct seg_scratch *sc;
    uint8_t *buf;      /* owned; SCAN_BYTES */
    uint64_t last_seq; /* of the last good or known block */
    uint64_t max_seq;  /* of the row: nothing durable is above it */
    uint32_t prev_hdr_crc;
    bool started; /* a block was seen */
};

/* True when [off, end) is zero. */
static bool zeros(struct walk *w, uint64_t off, uint64_t end)
{
    while (off < end) {
        size_t n = (size_t)u64_min(end - off, SCAN_BYTES);
        if (seg_io_read(w->io, w->buf, n, off, NULL) != ST_OK) {
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            if (w->buf[i] != 0) {
                return false;
            }
        }
        off += n;
    }
    return true;
}

/* A good header at off that may follow what was seen. */
static bool head_at(const struct walk *w, uint64_t off, struct seg_bh *bh)
{
    if (seg_io_head(w->io, off, bh, NULL) != ST_OK) {
        return false;
    }
    if (bh->type != SEG_BT_DATA && off % SEG_PAGE != 0) {
        return false;
    }
    if (off + SEG_BLOCK_HEAD + bh->stored_len > w->io->limit) {
        return false;
    }
    return bh->type != SEG_BT_DATA ||
           (bh->first_seq > w->last_seq && seg_bh_last_seq(bh) <= w->max_seq);
}

/* The next good header at or after off; limit when there is none. */
static uint64_t scan(struct walk *w, uint64_t off, struct seg_bh *bh)
{
    for (off = align_up(off, SEG_ALIGN); off + SEG_BLOCK_HEAD <= w->io->limit;) {
        size_t n = (size_t)u64_min(w->io->limit - off, SCAN_BYTES);
        if (seg_io_read(w->io, w->buf, n, off, NULL) != ST_OK) {
            /* an unreadable stretch: step over it page by page */
            off = align_up(off + 1, SEG_PAGE);
            continue;
        }
        size_t i = 0;
        for (; i + SEG_BLOCK_HEAD <= n; i += SEG_ALIGN) {
            struct seg_bh got;
            if (w->buf[i] == 'M' && w->buf[i + 1] == 'B' &&
                seg_bh_get(w->buf + i, w->io->uuid, off + i, &got) == ST_OK &&
                head_at(w, off + i, bh)) {
                return off + i;
            }
        }
        off += i;
    }
    return w->io->limit;
}

static enum st give_block(struct walk *w, uint64_t off, struct err *err)
{
    struct seg_bh bh;
    uint8_t *raw = NULL;
    enum st st = seg_io_block(w->io, off, 0, w->sc, &bh, &raw, err);
    if (st == ST_NOMEM) {
        return st;
    }
    struct seg_bh head;
    if (seg_io_head(w->io, off, &head, NULL) == ST_OK) {
        w->ops->block(w->ops->arg, off, &head, raw);
    }
    base_free(raw);
    return ST_OK;
}

static void note_gap(struct walk *w, uint64_t off, uint64_t end, uint64_t last)
{
    last = u64_min(last, w->max_seq);
    bool lost = last > w->last_seq;
    w->ops->gap(w->ops->arg, off, end, lost ? w->last_seq + 1 : 0, lost ? last : 0);
    w->last_seq = u64_max(w->last_seq, last);
}

/* Finds the header that stands at pos, behind padding, or behind damage. limit when there is none.
 */
static uint64_t next_head(struct walk *w, uint64_t pos, struct seg_bh *bh)
{
    uint64_t page = align_up(pos, SEG_PAGE);
    if (head_at(w, pos, bh)) {
        return pos;
    }
    bool blank = zeros(w, pos, u64_min(page, w->io->limit));
    if (blank && page >= w->io->limit) {
        return w->io->limit;
    }
    if (head_at(w, page, bh) && (blank || bh->prev_hdr_crc == w->prev_hdr_crc)) {
        if (!blank && w->ops->padding != NULL) {
            w->ops->padding(w->ops->arg, pos);
        }
        return page;
    }
    uint64_t at = scan(w, pos, bh);
    if (at < w->io->limit) {
        note_gap(w, pos, at, bh->prev_last_seq);
    }
    return at;
}

static bool chain_broken(const struct walk *w, const struct seg_bh *bh)
{
    return w->started && bh->prev_hdr_crc != w->prev_hdr_crc;
}

static void check_padding(struct walk *w, uint64_t off, uint64_t end)
{
    if (w->ops->padding != NULL && !zeros(w, off, u64_min(end, w->io->limit))) {
        w->ops->padding(w->ops->arg, off);
    }
}

static enum st walk_all(struct walk *w, struct err *err)
{
    uint64_t pos = SEG_PAGE;
    while (pos < w->io->limit) {
        struct seg_bh bh;
        uint64_t at = next_head(w, pos, &bh);
        if (at >= w->io->limit) {
            break;
        }
        if (chain_broken(w, &bh) && bh.prev_last_seq > w->last_seq) {
            note_gap(w, at, at, bh.prev_last_seq);
        }
        enum st st = give_block(w, at, err);
        if (st != ST_OK) {
            return st;
        }
        w->started = true;
        w->prev_hdr_crc = bh.hdr_crc;
        if (bh.type == SEG_BT_DATA) {
            w->last_seq = seg_bh_last_seq(&bh);
        }
        uint64_t end = at + SEG_BLOCK_HEAD + bh.stored_len;
        pos = align_up(end, bh.type == SEG_BT_DATA ? SEG_ALIGN : SEG_PAGE);
        check_padding(w, end, pos);
        if (bh.type == SEG_BT_FOOTER) {
            break;
        }
    }
    check_padding(w, pos, w->io->limit);
    if (w->last_seq < w->max_seq) {
        note_gap(w, pos, w->io->limit, w->max_seq);
    }
    return ST_OK;
}

enum st seg_walk(const struct seg_io *io, uint64_t first_seq, uint64_t last_seq,
                 struct seg_scratch *sc, const struct seg_walk_ops *ops, struct err *err)
{
    ASSERT(first_seq > 0 && first_seq <= last_seq);
    struct walk w = {
        .io = io, .ops = ops, .sc = sc, .last_seq = first_seq - 1, .max_seq = last_seq};
    w.buf = base_malloc(SCAN_BYTES);
    enum st st = walk_all(&w, err);
    base_free(w.buf);
    return st;
}
