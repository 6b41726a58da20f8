/* Replay's hand-over of records to the visitor: batches whole or not at all.
 *
 * Records of one gid keep their order. Records of a batch wait for its last one, so between gids
 * the order of LSNs is not kept; nothing but the gid's own records changes a stream. */
#include "engine/journal_read.h"

static struct jr_batch *batch_find(struct jr_rd *rd, uint32_t gid)
{
    for (size_t i = 0; i < rd->nbatches; i++) {
        if (rd->batches[i].gid == gid) {
            return &rd->batches[i];
        }
    }
    return NULL;
}

/* --- messages that stand elsewhere ------------------------------------------------------------ */

/* What the record evicts holds, its message is lost. */
static void extent_lost(struct jr_rd *rd, const struct rec *r, uint64_t seq, const char *why)
{
    struct seq_runs removed = {0};
    uint64_t floor = 0;
    rd_damage(rd, JR_DAMAGE_RECORD, r->gid, seq, seq, true,
              "the message of a record stands in a segment file and cannot be read there: %s", why);
    if (append_ext_get(r->ext, r->ext_len, &floor, &removed) != ST_OK) {
        seq_runs_clear(&removed);
    }
    if (rd->v->claim != NULL) {
        rd->v->claim(rd->v->arg, r->gid, seq, floor, &removed);
    }
    seq_runs_fini(&removed);
}

/* The record as it was before its message was placed elsewhere. *chunk_out NULL: nobody needs it,
 * or it is lost and that is said. */
static enum st extent_fetch(struct jr_rd *rd, uint64_t lsn, const struct rec *r,
                            const uint8_t *bytes, struct jr_chunk **chunk_out)
{
    struct msg m;
    struct msg_extent x;
    struct err why = {0};
    *chunk_out = NULL;
    enum st st = msg_get_extent(r->body, r->body_len, rd->opts->crc_seed, &m, &x);
    if (st != ST_OK) {
        return err_set(rd->err, ST_INTERNAL, 0, "journal: a record changed while it was read");
    }
    if (rd->v->extent == NULL) {
        extent_lost(rd, r, m.seq, "nobody can read it");
        return ST_OK;
    }
    size_t head = REC_HEAD_SIZE + r->ext_len;
    size_t body = (size_t)msg_size(m.subj_len, m.hdr_len, m.data_len);
    struct jr_chunk *c = jr_chunk_create(NULL, head + body);
    if (c == NULL) {
        return ST_NOMEM;
    }
    memcpy(c->base, bytes, head);
    st = rd->v->extent(rd->v->arg, lsn, r->gid, &m, &x, c->base + head, body, &why);
    struct msg got;
    if (st == ST_OK &&
        (msg_get(c->base + head, body, &got) != ST_OK || got.content_crc != m.content_crc ||
         got.seq != m.seq || got.ts_ns != m.ts_ns || got.flags != m.flags ||
         !msg_check(&got, rd->opts->crc_seed))) {
        st = err_set(&why, ST_CORRUPT, 0, "another message, or a damaged one, stands there");
    }
    if (st != ST_OK) {
        jr_chunk_release(c);
        if (st != ST_NOTFOUND) {
            extent_lost(rd, r, m.seq, why.msg);
        }
        return ST_OK;
    }
    rec_resize(c->base, body, rd->opts->crc_seed);
    c->used = head + body;
    *chunk_out = c;
    return ST_OK;
}

static enum st give_extent(struct jr_rd *rd, uint64_t lsn, const struct rec *r,
                           const uint8_t *bytes, uint64_t wall_ns)
{
    struct jr_chunk *c;
    struct rec whole;
    enum st st = extent_fetch(rd, lsn, r, bytes, &c);
    if (st == ST_OK && c != NULL) {
        st = rec_get(c->base, c->used, rd->opts->crc_seed, &whole);
        if (st == ST_OK) {
            st = rd->v->record(rd->v->arg, lsn, &whole, c->base, c, wall_ns, rd->err);
        }
        jr_chunk_release(c);
    }
    return st;
}

/* --- records ---------------------------------------------------------------------------------- */

static enum st give(struct jr_rd *rd, uint64_t lsn, const struct rec *r, const uint8_t *bytes,
                    struct jr_chunk *chunk, uint64_t wall_ns)
{
    if (lsn < rd->from_lsn) {
        return ST_OK; /* the checkpoint covers it */
    }
    rd->out->records++;
    if (rd->v->record == NULL) {
        return ST_OK;
    }
    if (r->type == REC_APPEND && msg_is_extent(r->body, r->body_len)) {
        return give_extent(rd, lsn, r, bytes, wall_ns);
    }
    return rd->v->record(rd->v->arg, lsn, r, bytes, chunk, wall_ns, rd->err);
}

static void batch_hold(struct jr_rd *rd, struct jr_batch *b, uint64_t lsn, const struct rec *r,
                       const uint8_t *bytes, size_t room, uint64_t wall_ns)
{
    if (b == NULL) {
        if (rd->nbatches == rd->batches_cap) {
            rd->batches_cap = rd->batches_cap == 0 ? 4 : rd->batches_cap * 2;
            rd->batches = base_realloc(rd->batches, rd->batches_cap * sizeof(*rd->batches));
        }
        b = &rd->batches[rd->nbatches++];
        *b = (struct jr_batch){.gid = r->gid};
    }
    if (b->n == b->cap) {
        b->cap = b->cap == 0 ? 16 : b->cap * 2;
        b->v = base_realloc(b->v, b->cap * sizeof(*b->v));
    }
    jr_chunk_acquire(rd->chunk);
    b->v[b->n++] = (struct jr_held){
        .lsn = lsn, .bytes = bytes, .room = room, .chunk = rd->chunk, .wall_ns = wall_ns};
}

static void batch_drop(struct jr_rd *rd, struct jr_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        jr_chunk_release(b->v[i].chunk);
    }
    base_free(b->v);
    *b = rd->batches[--rd->nbatches];
}

static enum st batch_give(struct jr_rd *rd, struct jr_batch *b)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < b->n && st == ST_OK; i++) {
        const struct jr_held *h = &b->v[i];
        struct rec r;
        st = rec_get(h->bytes, h->room, rd->opts->crc_seed, &r); /* verified before; this fills r */
        if (st == ST_OK) {
            st = give(rd, h->lsn, &r, h->bytes, h->chunk, h->wall_ns);
        }
    }
    batch_drop(rd, b);
    return st;
}

enum st rd_record(struct jr_rd *rd, uint64_t lsn, const struct rec *r, const uint8_t *bytes,
                  size_t room, uint64_t wall_ns)
{
    rd->out->next_gid_min = u64_max(rd->out->next_gid_min, (uint64_t)r->gid + 1);
    if (r->type == REC_PAD) {
        return ST_OK;
    }
    struct jr_batch *b = rd->nbatches != 0 ? batch_find(rd, r->gid) : NULL;
    if ((r->flags & REC_BATCH_MORE) != 0) {
        batch_hold(rd, b, lsn, r, bytes, room, wall_ns);
        return ST_OK;
    }
    if (b != NULL) {
        enum st st = batch_give(rd, b);
        if (st != ST_OK) {
            return st;
        }
    }
    return give(rd, lsn, r, bytes, rd->chunk, wall_ns);
}

enum st rd_batch_flush(struct jr_rd *rd, uint32_t gid)
{
    struct jr_batch *b = batch_find(rd, gid);
    return b != NULL ? batch_give(rd, b) : ST_OK;
}

void rd_batches_doubt(struct jr_rd *rd)
{
    for (size_t i = 0; i < rd->nbatches; i++) {
        rd->batches[i].doubtful = true;
    }
}

enum st rd_batches_end(struct jr_rd *rd)
{
    while (rd->nbatches > 0) {
        struct jr_batch *b = &rd->batches[rd->nbatches - 1];
        if (b->doubtful) {
            enum st st = batch_give(rd, b);
            if (st != ST_OK) {
                return st;
            }
            continue;
        }
        log_inf(
            "journal: an unfinished batch of %zu records of gid %u was never acknowledged, dropped",
            b->n, (unsigned)b->gid);
        batch_drop(rd, b);
    }
    return ST_OK;
}

void rd_batches_fini(struct jr_rd *rd)
{
    while (rd->nbatches > 0) {
        batch_drop(rd, &rd->batches[rd->nbatches - 1]);
    }
    base_free(rd->batches);
    rd->batches = NULL;
}
