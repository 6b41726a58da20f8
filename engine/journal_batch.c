/* Replay's hand-over of records to the visitor: batches whole or not at all (STORAGE 5.3).
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
