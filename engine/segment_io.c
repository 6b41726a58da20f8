/* Reading and verifying single blocks and sections (segment_impl.h). Called by whoever may block:
 * readers, flusher, start-up, tools. */
#include "engine/segment_impl.h"

#include <zstd.h>

/* Head and first part of the body come with one read when the length is not known. */
#define FIRST_READ (16u * 1024u)

void seg_scratch_fini(struct seg_scratch *sc)
{
    base_free(sc->stored);
    ZSTD_freeDCtx(sc->dctx);
    *sc = (struct seg_scratch){0};
}

static bool scratch_room(struct seg_scratch *sc, size_t need)
{
    if (sc->stored_cap >= need) {
        return true;
    }
    uint8_t *p = base_try_realloc(sc->stored, need);
    if (p == NULL) {
        return false;
    }
    sc->stored = p;
    sc->stored_cap = need;
    return true;
}

enum st seg_io_read(const struct seg_io *io, void *buf, size_t len, uint64_t off, struct err *err)
{
    if (off > io->limit || len > io->limit - off) {
        return err_set(err, ST_CORRUPT, 0, "bytes %llu+%zu lie past the end at %llu",
                       (unsigned long long)off, len, (unsigned long long)io->limit);
    }
    size_t got = 0;
    enum st st = env_pread(io->env, io->f, buf, len, off, &got, err);
    if (st == ST_OK && got != len) {
        st = err_set(err, ST_CORRUPT, 0, "short read at %llu", (unsigned long long)(off + got));
    }
    return st;
}

enum st seg_io_head(const struct seg_io *io, uint64_t off, struct seg_bh *bh_out, struct err *err)
{
    uint8_t head[SEG_BLOCK_HEAD];
    enum st st = seg_io_read(io, head, sizeof(head), off, err);
    if (st == ST_OK) {
        st = seg_bh_get(head, io->uuid, off, bh_out);
        if (st != ST_OK) {
            err_set(err, st, 0, "block header at %llu is damaged", (unsigned long long)off);
        }
    }
    return st;
}

bool seg_body_check(const struct seg_bh *bh, const uint8_t uuid[16], uint64_t off,
                    const uint8_t *stored)
{
    return crc32c(seg_block_seed(uuid, off), stored, bh->stored_len) == bh->body_crc;
}

enum st seg_body_decode(const struct seg_bh *bh, const uint8_t uuid[16], uint64_t off,
                        const uint8_t *stored, struct seg_scratch *sc, uint8_t *raw)
{
    if (!seg_body_check(bh, uuid, off, stored)) {
        return ST_CORRUPT;
    }
    if (bh->codec == SEG_CODEC_RAW) {
        memcpy(raw, stored, bh->raw_len);
        return ST_OK;
    }
    if (sc->dctx == NULL) {
        sc->dctx = ZSTD_createDCtx();
        if (sc->dctx == NULL) {
            return ST_NOMEM;
        }
    }
    size_t n = ZSTD_decompressDCtx(sc->dctx, raw, bh->raw_len, stored, bh->stored_len);
    return !ZSTD_isError(n) && n == bh->raw_len ? ST_OK : ST_CORRUPT;
}

bool seg_body_plausible(const struct seg_bh *bh, const uint8_t *stored)
{
    return bh->codec == SEG_CODEC_RAW ||
           ZSTD_getFrameContentSize(stored, bh->stored_len) == bh->raw_len;
}

static enum st decode_alloc(const struct seg_io *io, const struct seg_bh *bh, uint64_t off,
                            struct seg_scratch *sc, uint8_t **raw_out, struct err *err)
{
    uint8_t *raw = base_try_malloc(bh->raw_len);
    if (raw == NULL) {
        return err_set(err, ST_NOMEM, 0, "no memory for a block of %u bytes", bh->raw_len);
    }
    enum st st = seg_body_decode(bh, io->uuid, off, sc->stored + SEG_BLOCK_HEAD, sc, raw);
    if (st != ST_OK) {
        base_free(raw);
        return err_set(err, st, 0, "block at %llu is damaged", (unsigned long long)off);
    }
    *raw_out = raw;
    return ST_OK;
}

enum st seg_io_stored(const struct seg_io *io, uint64_t off, uint32_t stored_hint,
                      struct seg_scratch *sc, struct seg_bh *bh_out, struct err *err)
{
    *bh_out = (struct seg_bh){0};
    if (off > io->limit || io->limit - off < SEG_BLOCK_HEAD) {
        return err_set(err, ST_CORRUPT, 0, "block at %llu lies past the end",
                       (unsigned long long)off);
    }
    size_t first = stored_hint != 0 ? (size_t)SEG_BLOCK_HEAD + stored_hint : FIRST_READ;
    first = (size_t)u64_min(first, io->limit - off);
    if (!scratch_room(sc, first)) {
        return err_set(err, ST_NOMEM, 0, "no memory for a block of %zu bytes", first);
    }
    enum st st = seg_io_read(io, sc->stored, first, off, err);
    if (st != ST_OK) {
        return st;
    }
    struct seg_bh bh;
    st = seg_bh_get(sc->stored, io->uuid, off, &bh);
    if (st != ST_OK) {
        return err_set(err, st, 0, "block header at %llu is damaged", (unsigned long long)off);
    }
    *bh_out = bh;
    size_t all = (size_t)SEG_BLOCK_HEAD + bh.stored_len;
    if (all > io->limit - off) {
        return err_set(err, ST_CORRUPT, 0, "block at %llu ends past the end",
                       (unsigned long long)off);
    }
    if (all > first) {
        if (!scratch_room(sc, all)) {
            return err_set(err, ST_NOMEM, 0, "no memory for a block of %zu bytes", all);
        }
        st = seg_io_read(io, sc->stored + first, all - first, off + first, err);
        if (st != ST_OK) {
            return st;
        }
    }
    if (!seg_body_plausible(&bh, sc->stored + SEG_BLOCK_HEAD)) {
        return err_set(err, ST_CORRUPT, 0, "block at %llu is damaged", (unsigned long long)off);
    }
    return ST_OK;
}

enum st seg_io_block(const struct seg_io *io, uint64_t off, uint32_t stored_hint,
                     struct seg_scratch *sc, struct seg_bh *bh_out, uint8_t **raw_out,
                     struct err *err)
{
    *raw_out = NULL;
    enum st st = seg_io_stored(io, off, stored_hint, sc, bh_out, err);
    return st == ST_OK ? decode_alloc(io, bh_out, off, sc, raw_out, err) : st;
}

/* --- sections --------------------------------------------------------------------------------- */

static void sect_loaded_fini(struct seg_sect_loaded *l)
{
    base_free(l->raw);
    l->raw = NULL;
}

void seg_sect_list_fini(struct seg_sect_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        sect_loaded_fini(&l->v[i]);
    }
    base_free(l->v);
    *l = (struct seg_sect_list){0};
}

/* Head and body were written together, so they say the same. */
static bool sect_fits_head(const struct seg_sect *s, const struct seg_bh *bh, uint64_t off)
{
    if (bh->nmsgs != s->totals.nmsgs || s->prev_section >= off) {
        return false;
    }
    if (bh->nmsgs == 0) {
        return true;
    }
    if (bh->first_seq != s->totals.first_seq || seg_bh_last_seq(bh) != s->totals.last_seq) {
        return false;
    }
    struct seg_bidx_disk last;
    seg_sect_block(s, s->ndata - 1, &last);
    return last.off + SEG_BLOCK_HEAD + last.stored_len <= off;
}

enum st seg_sect_load(const struct seg_io *io, uint64_t off, enum seg_block_type type,
                      struct seg_scratch *sc, struct seg_sect_loaded *out, struct err *err)
{
    memset(out, 0, sizeof(*out));
    out->off = off;
    if (off < SEG_PAGE || off % SEG_PAGE != 0) {
        return err_set(err, ST_CORRUPT, 0, "section at an impossible place %llu",
                       (unsigned long long)off);
    }
    enum st st = seg_io_block(io, off, 0, sc, &out->bh, &out->raw, err);
    if (st != ST_OK) {
        return st;
    }
    if (out->bh.type != type) {
        st = ST_CORRUPT;
    } else {
        st = seg_sect_parse(out->raw, out->bh.raw_len, &out->s);
    }
    if (st == ST_OK && !sect_fits_head(&out->s, &out->bh, off)) {
        st = ST_CORRUPT;
    }
    if (st == ST_OK) {
        st = seg_sect_check(&out->s);
    }
    if (st != ST_OK) {
        sect_loaded_fini(out);
        return err_set(err, st, 0, "section at %llu is damaged", (unsigned long long)off);
    }
    return ST_OK;
}

static void list_push(struct seg_sect_list *l, const struct seg_sect_loaded *s)
{
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 8 : l->cap * 2;
        l->v = base_realloc(l->v, l->cap * sizeof(*l->v));
    }
    l->v[l->n++] = *s;
}

static void list_reverse(struct seg_sect_list *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        struct seg_sect_loaded t = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = t;
    }
}

/* Each section begins where the one before ended, in blocks, sequences and count. */
static bool chain_fits(const struct seg_sect_list *l)
{
    uint64_t last_seq = 0;
    uint32_t ndata = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct seg_sect *s = &l->v[i].s;
        if (s->nsections != i + 1 || s->first_data != ndata || s->base_seq != l->v[0].s.base_seq) {
            return false;
        }
        ndata += s->ndata;
        if (s->totals.nmsgs == 0) {
            continue;
        }
        if (s->totals.first_seq <= last_seq) {
            return false;
        }
        last_seq = s->totals.last_seq;
        struct seg_bidx_disk first;
        seg_sect_block(s, 0, &first);
        if (i != 0 && first.off < l->v[i - 1].off + SEG_BLOCK_HEAD + l->v[i - 1].bh.stored_len) {
            return false;
        }
    }
    return true;
}

enum st seg_sect_load_chain(const struct seg_io *io, uint64_t last, struct seg_scratch *sc,
                            struct seg_sect_list *out, struct err *err)
{
    *out = (struct seg_sect_list){0};
    uint64_t off = last;
    while (off != 0) {
        struct seg_sect_loaded l;
        enum st st = seg_sect_load(io, off, SEG_BT_INDEX, sc, &l, err);
        if (st != ST_OK) {
            seg_sect_list_fini(out);
            return st;
        }
        list_push(out, &l);
        off = l.s.prev_section; /* always lower: sect_fits_head */
    }
    list_reverse(out);
    if (out->n == 0 || !chain_fits(out)) {
        seg_sect_list_fini(out);
        return err_set(err, ST_CORRUPT, 0, "the chain of sections that ends at %llu does not fit",
                       (unsigned long long)last);
    }
    return ST_OK;
}
