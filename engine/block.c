/* Decoded blocks: making and searching them (block.h, block_decode.h). */
#include "engine/block_decode.h"
#include "engine/lot.h"

void block_acquire(struct block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}

void block_release(struct block *b)
{
    if (b != NULL && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
        lot_release(b->lot);
        base_free(b->body);
        base_free(b);
    }
}

static uint32_t off_of(const struct block *b, uint32_t i)
{
    return b->offs[i] & ~BLOCK_OFF_BAD;
}

/* The sequence stands at byte 8 of a MSG head. */
static uint64_t seq_of(const struct block *b, uint32_t i)
{
    return get_u64le(b->raw + off_of(b, i) + 8);
}

enum st block_msg(const struct block *b, uint32_t i, struct msg *m_out)
{
    ASSERT(i < b->nmsgs);
    uint32_t off = off_of(b, i);
    enum st st = msg_get(b->raw + off, b->raw_len - off, m_out);
    ASSERT(st == ST_OK); /* decoding has seen it */
    if ((b->offs[i] & BLOCK_OFF_BAD) != 0) {
        *m_out = (struct msg){.seq = m_out->seq, .ts_ns = m_out->ts_ns};
        return ST_CORRUPT;
    }
    return ST_OK;
}

/* Index of the first message with a sequence >= seq; nmsgs when there is none. */
static uint32_t lower_bound(const struct block *b, uint64_t seq)
{
    if (seq <= b->first_seq) {
        return 0;
    }
    if (seq > b->last_seq) {
        return b->nmsgs;
    }
    uint32_t lo = 0;
    uint32_t hi = b->nmsgs;
    if (b->last_seq - b->first_seq == b->nmsgs - 1) {
        return (uint32_t)(seq - b->first_seq); /* no gaps: nearly always */
    }
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (seq_of(b, mid) < seq) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

enum st block_find(const struct block *b, uint64_t seq, struct msg *m_out)
{
    uint32_t i = lower_bound(b, seq);
    if (i == b->nmsgs || seq_of(b, i) != seq) {
        return ST_NOTFOUND;
    }
    return block_msg(b, i, m_out);
}

/* --- decoding --------------------------------------------------------------------------------- */

enum st seg_block_msgs(const struct seg_bh *bh, const uint8_t *raw, uint32_t crc_seed,
                       seg_msg_fn fn, void *arg)
{
    struct msg m;
    size_t at = 0;
    uint64_t prev = 0;
    for (uint32_t i = 0; i < bh->nmsgs; i++) {
        if (msg_get(raw + at, bh->raw_len - at, &m) != ST_OK || m.seq <= prev ||
            (i == 0 && m.seq != bh->first_seq)) {
            return ST_CORRUPT;
        }
        prev = m.seq;
        at = (size_t)(m.data + m.data_len - raw);
    }
    if (at != bh->raw_len || prev != seg_bh_last_seq(bh)) {
        return ST_CORRUPT;
    }
    at = 0;
    for (uint32_t i = 0; i < bh->nmsgs; i++) {
        enum st st = msg_get(raw + at, bh->raw_len - at, &m);
        ASSERT(st == ST_OK);
        size_t end = (size_t)(m.data + m.data_len - raw);
        fn(arg, &m, (uint32_t)(end - at), !msg_check(&m, crc_seed));
        at = end;
    }
    return ST_OK;
}

static void index_msg(void *arg, const struct msg *m, uint32_t form_len, bool bad)
{
    struct block *b = arg;
    (void)form_len;
    uint32_t off = (uint32_t)(m->subj - MSG_HEAD_SIZE - b->raw);
    b->offs[b->nmsgs++] = off | (bad ? BLOCK_OFF_BAD : 0);
    b->bad += bad;
}

/* One allocation: struct, offsets, and raw_len bytes. A message takes at least its head, which
 * bounds nmsgs. */
static struct block *block_alloc(const struct seg_bh *bh, uint32_t raw_len, uint64_t file_id,
                                 uint32_t block_no)
{
    size_t offs = (size_t)bh->nmsgs * sizeof(uint32_t);
    size_t size = sizeof(struct block) + offs + raw_len;
    struct block *b = base_try_malloc(size);
    if (b == NULL) {
        return NULL;
    }
    memset(b, 0, sizeof(*b));
    atomic_init(&b->refs, 1);
    b->file_id = file_id;
    b->block_no = block_no;
    b->raw_len = bh->raw_len;
    b->first_seq = bh->first_seq;
    b->last_seq = seg_bh_last_seq(bh);
    b->offs = (uint32_t *)(void *)(b + 1);
    b->raw = (uint8_t *)(b + 1) + offs;
    b->mem_bytes = size;
    return b;
}

static bool counts_plausible(const struct seg_bh *bh)
{
    return bh->type == SEG_BT_DATA && bh->nmsgs <= bh->raw_len / MSG_HEAD_SIZE;
}

enum { TAKE_MIN = 32 * 1024 }; /* smaller ones are copied, and the scratch stays */

/* A large body that is stored as it is stays where it was read. */
static bool may_take(const struct seg_bh *bh, const struct seg_scratch *sc)
{
    size_t len = (size_t)SEG_BLOCK_HEAD + bh->stored_len;
    return bh->codec == SEG_CODEC_RAW && bh->raw_len == bh->stored_len && len >= TAKE_MIN &&
           sc->stored_cap - len <= len / 4;
}

/* Makes a block of what is stored; it may stand where it is to stay. */
static enum st load(const struct seg_io *io, uint64_t off, const struct seg_bh *bh,
                    uint32_t crc_seed, const uint8_t *stored, struct seg_scratch *sc,
                    struct block *b)
{
    if (b->body == NULL && b->lot == NULL) {
        enum st st = seg_body_decode(bh, io->uuid, off, stored, sc, b->raw);
        return st == ST_OK ? seg_block_msgs(bh, b->raw, crc_seed, index_msg, b) : st;
    }
    return seg_body_check(bh, io->uuid, off, b->raw)
               ? seg_block_msgs(bh, b->raw, crc_seed, index_msg, b)
               : ST_CORRUPT;
}

static void take_body(struct block *b, struct seg_scratch *sc)
{
    b->body = sc->stored;
    b->raw = b->body + SEG_BLOCK_HEAD;
    b->mem_bytes += sc->stored_cap;
    sc->stored = NULL;
    sc->stored_cap = 0;
}

/* Hands out what was made, or lets it go. */
static enum st give(struct block *b, uint64_t off, enum st st, struct block **b_out,
                    struct err *err)
{
    if (st != ST_OK) {
        block_release(b);
        return err_set(err, st, 0, "block at %llu is damaged", (unsigned long long)off);
    }
    *b_out = b;
    return ST_OK;
}

enum st seg_block_load(const struct seg_io *io, const struct seg_bidx *line, uint64_t file_id,
                       uint32_t block_no, uint32_t crc_seed, struct seg_scratch *sc,
                       struct block **b_out, struct err *err)
{
    *b_out = NULL;
    uint64_t off = (uint64_t)line->off8 * SEG_ALIGN;
    struct seg_bh bh;
    enum st st = line->stored_len != 0 ? seg_io_stored(io, off, line->stored_len, sc, &bh, err)
                                       : err_set(err, ST_CORRUPT, 0, "the block is lost");
    if (st == ST_UNSUPPORTED) {
        st = ST_CORRUPT;
    }
    if (st != ST_OK) {
        return st;
    }
    /* the very block that the index was written for, not an older attempt at the same place */
    struct block *b = NULL;
    st = bh.hdr_crc == line->hdr_crc && counts_plausible(&bh) ? ST_OK : ST_CORRUPT;
    bool take = st == ST_OK && may_take(&bh, sc);
    if (st == ST_OK && (b = block_alloc(&bh, take ? 0 : bh.raw_len, file_id, block_no)) == NULL) {
        return err_set(err, ST_NOMEM, 0, "no memory for a block of %u bytes", bh.raw_len);
    }
    if (take) {
        take_body(b, sc);
    }
    if (st == ST_OK) {
        st = load(io, off, &bh, crc_seed, take ? NULL : sc->stored + SEG_BLOCK_HEAD, sc, b);
    }
    return give(b, off, st, b_out, err);
}

enum st seg_block_of_lot(const struct seg_io *io, const struct seg_bidx *line, uint64_t file_id,
                         uint32_t block_no, uint32_t crc_seed, const uint8_t *bytes,
                         struct lot *lot, struct seg_scratch *sc, struct block **b_out,
                         struct err *err)
{
    *b_out = NULL;
    uint64_t off = (uint64_t)line->off8 * SEG_ALIGN;
    struct seg_bh bh;
    struct block *b = NULL;
    if (seg_bh_get(bytes, io->uuid, off, &bh) != ST_OK || bh.hdr_crc != line->hdr_crc ||
        bh.stored_len != line->stored_len || !counts_plausible(&bh) ||
        !seg_body_plausible(&bh, bytes + SEG_BLOCK_HEAD)) {
        return give(b, off, ST_CORRUPT, b_out, err);
    }
    bool stays = lot != NULL && bh.codec == SEG_CODEC_RAW && bh.raw_len == bh.stored_len;
    b = block_alloc(&bh, stays ? 0 : bh.raw_len, file_id, block_no);
    if (b == NULL) {
        return err_set(err, ST_NOMEM, 0, "no memory for a block of %u bytes", bh.raw_len);
    }
    if (stays) {
        lot_acquire(lot);
        b->lot = lot;
        b->raw = (uint8_t *)(uintptr_t)(bytes + SEG_BLOCK_HEAD); /* nobody writes through it */
        b->mem_bytes += SEG_BLOCK_HEAD + bh.stored_len;
    }
    return give(b, off, load(io, off, &bh, crc_seed, bytes + SEG_BLOCK_HEAD, sc, b), b_out, err);
}
