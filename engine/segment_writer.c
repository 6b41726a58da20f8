/* Writing one segment file (segment_impl.h; segment_flush.c and segment_compact.c drive it).
 *
 * Bytes gather in a buffer of a MiB or two and go out in file order, whole pages at a time. A new
 * file's header page is the first of them. What a crash leaves: any part of what was written, past
 * every durable_len that the catalogue knows; the next flush of the segment starts at the same
 * place and overwrites it.
 *
 * Point of no return: none. Until the caller commits the row, nothing refers to these bytes. */
#include "engine/segment_impl.h"

#include <zstd.h>

#define OUT_BYTES ((size_t)1 * MIB)
#define RAW_BLOCK_DEFAULT ((uint32_t)(64 * KIB))
#define ZSTD_LEVEL 1

struct seg_writer {
    struct segs *segs;
    struct seg_writer_opts o;
    struct env_file *file;
    struct seg_file *sf;
    struct seg_row row;         /* as it will be; base: the continued view's */
    const struct seg_view *old; /* continued; borrowed; NULL for a new file */
    struct seg_header head;
    uint64_t base_seq;
    uint64_t off; /* file offset of out[0]; on SEG_PAGE */
    uint8_t *out; /* owned; of OUT_BYTES, or the pages of a bulk writer */
    size_t out_len, out_cap;
    bool bulk;    /* large messages were met: past the page cache, in larger steps */
    uint8_t *raw; /* owned; the open block */
    size_t raw_len;
    struct seg_bh open; /* of the open block: sequences, times, count */
    uint8_t *packed;    /* owned; compressed body */
    size_t packed_cap;
    ZSTD_CCtx *cctx; /* owned */
    uint32_t dense;  /* large blocks in a row that it did not make smaller, or was not tried on */
    uint32_t prev_hdr_crc;
    uint64_t prev_last_seq;
    uint32_t sections;
    uint32_t ndata_before;
    struct segidx idx; /* of this flush */
    uint64_t bytes;
    uint64_t cut_at; /* up to where the file has been made durable by a cut */
    bool
        referred; /* something else tells of what was cut: the file stays, whatever becomes of it */
    bool ended;
};

/* --- out buffer ------------------------------------------------------------------------------- */

/* Writes the whole pages of it; what is left moves to its front. */
static enum st out_flush(struct seg_writer *w, struct err *err)
{
    size_t n = w->out_len - w->out_len % SEG_PAGE;
    if (n == 0) {
        return ST_OK;
    }
    enum st st =
        (w->bulk ? env_pwrite_direct : env_pwrite)(w->segs->env, w->file, w->out, n, w->off, err);
    if (st == ST_OK) {
        w->off += n;
        w->bytes += n;
        w->out_len -= n;
        memmove(w->out, w->out + n, w->out_len);
    }
    return st;
}

static uint64_t out_at(const struct seg_writer *w)
{
    return w->off + w->out_len;
}

static void out_begin(struct seg_writer *w)
{
    w->out_cap = OUT_BYTES;
    w->out = base_malloc(w->out_cap);
}

static enum st out_put(struct seg_writer *w, const void *p, size_t n, struct err *err)
{
    const uint8_t *in = p;
    enum st st = ST_OK;
    if (w->out == NULL && n != 0) {
        out_begin(w);
    }
    while (n != 0 && st == ST_OK) {
        size_t some = (size_t)u64_min(n, w->out_cap - w->out_len);
        memcpy(w->out + w->out_len, in, some);
        w->out_len += some;
        in += some;
        n -= some;
        st = w->out_len == w->out_cap ? out_flush(w, err) : ST_OK;
    }
    return st;
}

/* The lane waits for what it writes: larger transfers keep the device busier. */
static size_t bulk_bytes(const struct seg_writer *w)
{
    return w->o.extent ? SEG_EXTENT_BYTES : SEG_BULK_BYTES;
}

/* The pages kept for the next writer that wants them. */
static uint8_t *_Atomic *kept_pages(struct seg_writer *w)
{
    return w->o.extent ? &w->segs->extent_pages : &w->segs->bulk_pages;
}

/* Large messages are read once in a while and by few, so the page cache would cost more than the
 * device: from here on they go past it. */
static void out_bulk(struct seg_writer *w)
{
    if (!w->bulk) {
        uint8_t *pages = atomic_exchange(kept_pages(w), NULL);
        pages = pages != NULL ? pages : base_pages(bulk_bytes(w));
        atomic_store(&w->segs->extent_pages_used, true);
        if (w->out_len > 0) {
            memcpy(pages, w->out, w->out_len);
        }
        base_free(w->out);
        w->out = pages;
        w->out_cap = bulk_bytes(w);
        w->bulk = true;
    }
}

static void out_free(struct seg_writer *w)
{
    if (w->bulk) { /* kept for the next one: its pages are there already */
        base_pages_free(atomic_exchange(kept_pages(w), w->out), bulk_bytes(w));
    } else {
        base_free(w->out);
    }
    w->out = NULL;
    w->out_cap = 0;
    w->bulk = false;
}

static enum st out_pad(struct seg_writer *w, uint32_t to, struct err *err)
{
    static const uint8_t zeros[SEG_PAGE];
    return out_put(w, zeros, (size_t)(align_up(out_at(w), to) - out_at(w)), err);
}

/* --- begin ------------------------------------------------------------------------------------ */

static struct seg_writer *writer_new(struct segs *s, const struct seg_writer_opts *o)
{
    struct seg_writer *w = base_calloc(1, sizeof(*w));
    w->segs = s;
    w->o = *o;
    if (o->extent) {
        atomic_fetch_add(&s->extents, 1);
    }
    if (w->o.block_raw_bytes == 0) {
        w->o.block_raw_bytes = RAW_BLOCK_DEFAULT;
    }
    if (w->o.segment_bytes == 0) {
        w->o.segment_bytes = LIM_SEGMENT_BYTES_TARGET;
    }
    out_begin(w);
    w->raw = base_malloc(w->o.block_raw_bytes);
    return w;
}

void seg_writer_destroy(struct seg_writer *w)
{
    if (w == NULL) {
        return;
    }
    if (w->file != NULL && w->old != NULL && !w->ended) {
        atomic_store(&w->sf->written_len, UINT64_MAX);
        /* what was written past the durable part is needed by nobody, and its room by others */
        enum st st = env_truncate(w->segs->env, w->file, w->old->row.durable_len, NULL);
        (void)st;
    }
    env_close(w->segs->env, w->file);
    if (w->file != NULL && w->old == NULL && !w->ended && !w->referred) {
        /* nothing refers to it; on a full disk its bytes are needed */
        char path[SEG_PATH_MAX];
        segs_path_file(w->segs, w->row.gid, w->row.segno, w->row.gen, path);
        enum st st = env_unlink(w->segs->env, path, NULL);
        (void)st;
    }
    if (w->sf != NULL) {
        seg_file_release(w->sf);
    }
    if (w->o.extent) {
        atomic_fetch_sub(&w->segs->extents, 1);
    }
    segidx_fini(&w->idx);
    ZSTD_freeCCtx(w->cctx);
    base_free(w->packed);
    base_free(w->raw);
    out_free(w);
    base_free(w);
}

static void head_name(char *out, uint16_t *len_out, const char *s)
{
    size_t n = s != NULL ? strnlen(s, SEG_NAME_MAX) : 0;
    memcpy(out, s != NULL ? s : "", n);
    *len_out = (uint16_t)n;
}

static void head_fill(struct seg_writer *w)
{
    w->head = (struct seg_header){
        .flags = w->o.extent ? SEG_EXTENT : 0,
        .gid = w->row.gid,
        .gen = w->row.gen,
        .segno = w->row.segno,
        .base_seq = w->base_seq,
        .created_generation = w->row.created_generation,
        .created_ns = env_real_ns(w->segs->env),
    };
    memcpy(w->head.seg_uuid, w->row.seg_uuid, 16);
    memcpy(w->head.store_uuid, w->segs->store_uuid, 16);
    head_name(w->head.account, &w->head.account_len, w->o.account);
    head_name(w->head.name, &w->head.name_len, w->o.name);
}

/* Makes the file, and the stream's directory with its first one. */
static enum st create_file(struct seg_writer *w, struct err *err)
{
    struct env *env = w->segs->env;
    char path[SEG_PATH_MAX];
    segs_path_file(w->segs, w->row.gid, w->row.segno, w->row.gen, path);
    enum st st = env_open(env, path, ENV_RDWR | ENV_CREATE | ENV_EXCL, &w->file, err);
    if (st == ST_NOTFOUND) {
        char dir[SEG_PATH_MAX];
        segs_path_dir(w->segs, w->row.gid, dir);
        st = env_mkdir(env, dir, err);
        if (st == ST_OK || st == ST_EXISTS) {
            st = env_open(env, path, ENV_RDWR | ENV_CREATE | ENV_EXCL, &w->file, err);
        }
    }
    if (st == ST_OK) {
        segs_gid_entry(w->segs, w->row.gid);
    }
    return st;
}

enum st seg_writer_begin(struct segs *s, const struct seg_writer_opts *o, uint64_t segno,
                         uint32_t gen, uint64_t base_seq, uint64_t prev_last_seq,
                         struct seg_writer **w_out, struct err *err)
{
    *w_out = NULL;
    struct seg_writer *w = writer_new(s, o);
    w->row = (struct seg_row){
        .gid = o->gid,
        .gen = gen,
        .segno = segno,
        .state = SEG_ACTIVE,
        .created_generation = o->created_generation,
    };
    env_random(s->env, w->row.seg_uuid, 16);
    w->base_seq = base_seq;
    w->prev_last_seq = prev_last_seq;
    enum st st = create_file(w, err);
    if (st != ST_OK) {
        seg_writer_destroy(w);
        return st;
    }
    w->sf = seg_file_create(s, o->gid, segno, gen, w->row.seg_uuid);
    segidx_init(&w->idx, base_seq, s->hash_seed);
    head_fill(w);
    memset(w->out, 0, SEG_PAGE);
    seg_header_put(w->out, &w->head);
    w->out_len = SEG_PAGE;
    *w_out = w;
    return ST_OK;
}

enum st seg_writer_continue(struct segs *s, const struct seg_writer_opts *o,
                            const struct seg_view *v, struct seg_writer **w_out, struct err *err)
{
    *w_out = NULL;
    ASSERT(v->row.state == SEG_ACTIVE);
    struct seg_writer *w = writer_new(s, o);
    w->row = v->row;
    w->old = v;
    w->base_seq = v->base_seq;
    w->prev_last_seq = v->row.last_seq;
    w->prev_hdr_crc = v->last_hdr_crc;
    w->sections = v->sections;
    w->ndata_before = v->ndata;
    w->off = align_up(v->row.durable_len, SEG_PAGE);
    segidx_init(&w->idx, v->base_seq, s->hash_seed);
    char path[SEG_PATH_MAX];
    segs_path_file(s, v->row.gid, v->row.segno, v->row.gen, path);
    uint64_t size = 0;
    struct env_file *file = NULL;
    enum st st = atomic_load(&v->file->written_len) > v->row.durable_len
                     ? err_set(err, ST_CLOSED, 0, "segment %llu is not to be continued",
                               (unsigned long long)v->row.segno)
                     : env_open(s->env, path, ENV_RDWR, &file, err);
    if (st == ST_OK) {
        st = env_size(s->env, file, &size, err);
    }
    if (st == ST_OK && size < v->row.durable_len) {
        st = err_set(err, ST_CORRUPT, 0, "segment %llu is shorter than its durable part",
                     (unsigned long long)v->row.segno);
    }
    if (st != ST_OK) {
        env_close(s->env, file);
        seg_writer_destroy(w);
        return st;
    }
    w->file = file;
    w->sf = seg_file_acquire(v->file);
    head_fill(w); /* for the copy in the last page; the creation time is read from the first */
    *w_out = w;
    return ST_OK;
}

/* --- blocks ----------------------------------------------------------------------------------- */

bool seg_looks_random(const uint8_t *raw, size_t len)
{
    enum { PIECES = 4, PIECE = 256 };
    for (size_t i = 0; i < PIECES; i++) {
        const uint8_t *p = raw + (len - PIECE) / PIECES * (i + 1); /* past the head */
        uint8_t seen[256] = {0};
        uint32_t pairs = 0; /* 127 of random bytes, 190 at the most; above 400 of base64 */
        for (size_t k = 0; k < PIECE; k++) {
            pairs += seen[p[k]]++;
        }
        if (pairs >= PIECE * (PIECE - 1) / 512 * 8 / 5) {
            return false;
        }
    }
    return true;
}

enum { DENSE_MIN = 8, DENSE_TRY = 8 };

/* Trying is not free: among large blocks that did not get smaller, one that looks like noise is
 * tried now and then only. */
static bool worth_packing(const struct seg_writer *w, size_t raw_len, const uint8_t *raw)
{
    return raw_len <= SEG_LARGE_BLOCK || w->dense < DENSE_MIN || w->dense % DENSE_TRY == 0 ||
           !seg_looks_random(raw, raw_len);
}

/* Compresses into w->packed when that saves more than 12 %; gives what is to be stored. */
static const uint8_t *pack(struct seg_writer *w, const uint8_t *raw, size_t raw_len,
                           struct seg_bh *bh)
{
    bh->codec = SEG_CODEC_RAW;
    bh->raw_len = (uint32_t)raw_len;
    bh->stored_len = (uint32_t)raw_len;
    if (w->o.no_compress || raw_len < 64) {
        return raw;
    }
    if (!worth_packing(w, raw_len, raw)) {
        w->dense++;
        return raw;
    }
    size_t bound = ZSTD_compressBound(raw_len);
    if (w->packed_cap < bound) {
        base_free(w->packed);
        w->packed_cap = 0;
        w->packed = base_try_malloc(bound);
        if (w->packed == NULL) {
            return raw;
        }
        w->packed_cap = bound;
    }
    if (w->cctx == NULL) {
        w->cctx = ZSTD_createCCtx();
        if (w->cctx == NULL) {
            return raw;
        }
    }
    size_t n = ZSTD_compressCCtx(w->cctx, w->packed, w->packed_cap, raw, raw_len, ZSTD_LEVEL);
    if (ZSTD_isError(n) || n >= (uint64_t)raw_len * 88 / 100) {
        w->dense += raw_len > SEG_LARGE_BLOCK;
        return raw;
    }
    w->dense = 0;
    bh->codec = SEG_CODEC_ZSTD;
    bh->stored_len = (uint32_t)n;
    return w->packed;
}

/* Writes head and body; *bh gets the lengths, CRCs and chain fields. *off_out: where. */
static enum st put_block(struct seg_writer *w, struct seg_bh *bh, const uint8_t *raw,
                         size_t raw_len, uint64_t *off_out, struct err *err)
{
    const uint8_t *stored = pack(w, raw, raw_len, bh);
    uint64_t off = out_at(w);
    ASSERT(off % SEG_ALIGN == 0);
    bh->block_no = w->row.nblocks;
    bh->prev_hdr_crc = w->prev_hdr_crc;
    bh->prev_last_seq = w->prev_last_seq;
    bh->body_crc = crc32c(seg_block_seed(w->row.seg_uuid, off), stored, bh->stored_len);
    uint8_t head[SEG_BLOCK_HEAD];
    seg_bh_put(head, bh, w->row.seg_uuid, off);
    *off_out = off;
    enum st st = out_put(w, head, sizeof(head), err);
    if (st == ST_OK) {
        st = out_put(w, stored, bh->stored_len, err);
    }
    if (st == ST_OK) {
        st = out_pad(w, SEG_ALIGN, err);
    }
    w->prev_hdr_crc = bh->hdr_crc;
    return st;
}

static enum st put_data(struct seg_writer *w, const uint8_t *raw, size_t raw_len, struct err *err)
{
    struct seg_bh *bh = &w->open;
    uint64_t off = 0;
    bh->type = SEG_BT_DATA;
    enum st st = put_block(w, bh, raw, raw_len, &off, err);
    if (st != ST_OK) {
        return st;
    }
    w->row.nblocks++;
    w->row.chain_crc = seg_chain_add(w->row.chain_crc, bh->hdr_crc);
    w->prev_last_seq = seg_bh_last_seq(bh);
    segidx_add_block(&w->idx, &(struct seg_bidx_disk){
                                  .off = off,
                                  .first_seq = bh->first_seq,
                                  .span = bh->seq_span,
                                  .stored_len = bh->stored_len,
                                  .hdr_crc = bh->hdr_crc,
                                  .nmsgs = bh->nmsgs,
                                  .raw_len = bh->raw_len,
                                  .min_ts = bh->min_ts,
                                  .max_ts = bh->max_ts,
                              });
    *bh = (struct seg_bh){0};
    w->raw_len = 0;
    return ST_OK;
}

static void open_note(struct seg_bh *bh, const struct msg *m)
{
    if (bh->nmsgs == 0) {
        bh->first_seq = m->seq;
        bh->min_ts = m->ts_ns;
        bh->max_ts = m->ts_ns;
    }
    bh->seq_span = (uint32_t)(m->seq - bh->first_seq);
    bh->min_ts = m->ts_ns < bh->min_ts ? m->ts_ns : bh->min_ts;
    bh->max_ts = i64_max(bh->max_ts, m->ts_ns);
    bh->nmsgs++;
}

bool seg_writer_full(const struct seg_writer *w)
{
    /* what compresses very well is bounded by what it is when read again */
    return out_at(w) + w->raw_len / 2 >= w->o.segment_bytes ||
           w->idx.totals.raw_bytes >= 8 * w->o.segment_bytes;
}

static enum st source_msg(const struct seg_writer *w, const struct seg_src *src, struct msg *m,
                          struct err *err)
{
    enum st st = msg_get(src->msg, src->len, m);
    uint64_t last = w->open.nmsgs != 0 ? seg_bh_last_seq(&w->open) : w->prev_last_seq;
    if (st != ST_OK || m->data + m->data_len != src->msg + src->len || m->seq <= last ||
        m->seq < w->base_seq) {
        return err_set(err, ST_CORRUPT, 0, "message to be flushed after sequence %llu is not valid",
                       (unsigned long long)last);
    }
    return ST_OK;
}

enum st seg_writer_add(struct seg_writer *w, const struct seg_src *src, struct err *err)
{
    struct msg m;
    enum st st = source_msg(w, src, &m, err);
    if (st != ST_OK) {
        return st;
    }
    bool has_some = w->row.first_seq != 0 || w->idx.totals.nmsgs != 0;
    uint64_t count = (w->old != NULL ? w->old->nmsgs : 0) + w->idx.nmsgs;
    if (m.seq - w->base_seq >= SEG_SPAN_MAX ||
        (has_some && (seg_writer_full(w) || count >= SEG_MSGS_MAX))) {
        return ST_FULL;
    }
    if (w->open.nmsgs != 0 && w->raw_len + src->len > w->o.block_raw_bytes) {
        st = put_data(w, w->raw, w->raw_len, err);
        if (st != ST_OK) {
            return st;
        }
    }
    segidx_add_msg(&w->idx, &m, src->len, src->expire_ns);
    open_note(&w->open, &m);
    if (src->len > w->o.block_raw_bytes) {
        out_bulk(w);
        return put_data(w, src->msg, src->len, err);
    }
    memcpy(w->raw + w->raw_len, src->msg, src->len);
    w->raw_len += src->len;
    return ST_OK;
}

enum st seg_writer_cut(struct seg_writer *w, struct err *err)
{
    ASSERT(w->old == NULL);
    enum st st = w->open.nmsgs != 0 ? put_data(w, w->raw, w->raw_len, err) : ST_OK;
    if (st == ST_OK) {
        st = out_pad(w, SEG_PAGE, err);
    }
    if (st == ST_OK && out_at(w) != w->cut_at) {
        st = out_flush(w, err);
        st = st == ST_OK ? env_datasync(w->segs->env, w->file, err) : st;
    }
    if (st == ST_OK) {
        w->cut_at = out_at(w);
        w->referred = true;
        out_free(w); /* it may be long until more comes */
    }
    return st;
}

size_t seg_writer_block(const struct seg_writer *w)
{
    return w->open.nmsgs != 0 ? w->idx.nblocks : w->idx.nblocks - 1;
}

void seg_writer_extent(const struct seg_writer *w, size_t block, struct msg_extent *x)
{
    const struct seg_bidx_disk *b = &w->idx.blocks[block];
    *x = (struct msg_extent){.segno = w->row.segno, .off = b->off, .stored_len = b->stored_len};
    memcpy(x->uuid, w->row.seg_uuid, sizeof x->uuid);
}

struct seg_file *seg_writer_file(const struct seg_writer *w)
{
    return seg_file_acquire(w->sf);
}

void seg_writer_removed(struct seg_writer *w, uint64_t floor, const struct seq_runs *runs)
{
    segidx_add_removed(&w->idx, floor, runs);
}

/* --- end -------------------------------------------------------------------------------------- */

static enum st put_index(struct seg_writer *w, enum seg_block_type type, struct segidx *x,
                         uint64_t prev_section, uint32_t nsections, uint32_t first_data,
                         struct seg_bh *bh, uint64_t *off_out, struct err *err)
{
    enum st st = out_pad(w, SEG_PAGE, err);
    if (st != ST_OK) {
        return st;
    }
    uint8_t *body = NULL;
    size_t len = 0;
    st = segidx_encode(x, prev_section, nsections, first_data, &body, &len);
    if (st != ST_OK) {
        return err_set(err, st, 0, "index of segment %llu is too large",
                       (unsigned long long)w->row.segno);
    }
    const struct seg_totals *t = &x->totals;
    *bh = (struct seg_bh){
        .type = type,
        .first_seq = t->first_seq,
        .seq_span = (uint32_t)(t->last_seq - t->first_seq),
        .nmsgs = (uint32_t)t->nmsgs,
        .min_ts = t->min_ts,
        .max_ts = t->max_ts,
    };
    st = put_block(w, bh, body, len, off_out, err);
    base_free(body);
    return st == ST_OK ? out_pad(w, SEG_PAGE, err) : st;
}

/* The sections of the continued part, for the footer. Not ST_OK: there cannot be one. */
static enum st load_old(struct seg_writer *w, struct segidx *all, struct err *err)
{
    struct seg_io io = {.env = w->segs->env,
                        .f = w->file,
                        .uuid = w->row.seg_uuid,
                        .limit = w->old->row.durable_len};
    struct seg_scratch sc = {0};
    struct seg_sect_list l = {0};
    enum st st = seg_sect_load_chain(&io, w->old->row.last_section, &sc, &l, err);
    for (size_t i = 0; st == ST_OK && i < l.n; i++) {
        st = segidx_add_sect(all, &l.v[i].s);
    }
    if (st == ST_OK && all->nblocks != w->ndata_before) {
        st = ST_CORRUPT;
    }
    seg_sect_list_fini(&l);
    seg_scratch_fini(&sc);
    return st;
}

static enum st put_trailer(struct seg_writer *w, const struct segidx *x, const struct seg_bh *bh,
                           uint64_t footer_off, uint64_t prev_section, struct err *err)
{
    uint8_t page[SEG_PAGE];
    struct seg_trailer t = {
        .footer_off = footer_off,
        .footer_len = SEG_BLOCK_HEAD + bh->stored_len,
        .footer_crc = bh->hdr_crc,
        .chain_crc = w->row.chain_crc,
        .nblocks = w->row.nblocks,
        .first_seq = x->totals.first_seq,
        .last_seq = x->totals.last_seq,
        .min_ts = x->totals.min_ts,
        .max_ts = x->totals.max_ts,
        .file_len = out_at(w) + SEG_PAGE,
        .nmsgs = x->totals.nmsgs,
        .raw_bytes = x->totals.raw_bytes,
        .logical_bytes = x->totals.logical_bytes,
        .prev_section = prev_section,
    };
    memcpy(t.seg_uuid, w->row.seg_uuid, 16);
    seg_header_put(page, &w->head);
    seg_trailer_put(page + SEG_HALF, &t);
    return out_put(w, page, sizeof(page), err);
}

/* The copy in the last page is that of the first page, creation time and names as they were. */
static void reread_head(struct seg_writer *w)
{
    struct seg_io io = {
        .env = w->segs->env, .f = w->file, .uuid = w->row.seg_uuid, .limit = w->row.durable_len};
    uint8_t page[SEG_HALF];
    struct seg_header h;
    if (w->old != NULL && seg_io_read(&io, page, sizeof(page), 0, NULL) == ST_OK &&
        seg_header_get(page, &h) == ST_OK) {
        w->head = h;
    }
}

static enum st write_footer(struct seg_writer *w, struct segidx *x, struct err *err)
{
    struct seg_bh bh;
    uint64_t off = 0;
    uint64_t prev = w->old != NULL ? w->old->row.last_section : 0;
    enum st st = put_index(w, SEG_BT_FOOTER, x, prev, w->sections, 0, &bh, &off, err);
    if (st == ST_OK) {
        reread_head(w);
        st = put_trailer(w, x, &bh, off, prev, err);
    }
    w->row.state = SEG_SEALED;
    w->row.last_section = off;
    return st;
}

static enum st write_section(struct seg_writer *w, struct err *err)
{
    struct seg_bh bh;
    uint64_t off = 0;
    uint64_t prev = w->old != NULL ? w->old->row.last_section : 0;
    enum st st =
        put_index(w, SEG_BT_INDEX, &w->idx, prev, w->sections + 1, w->ndata_before, &bh, &off, err);
    w->row.nblocks++;
    w->sections++;
    w->row.last_section = off;
    return st;
}

/* A sealed file has one footer over everything. When the earlier sections cannot be read, the file
 * stays without one: closed, and read through what is good. */
static enum st write_sealed(struct seg_writer *w, struct err *err)
{
    if (w->old == NULL) {
        return write_footer(w, &w->idx, err);
    }
    struct segidx all;
    segidx_init(&all, w->base_seq, w->segs->hash_seed);
    enum st st = load_old(w, &all, NULL);
    uint8_t *body = NULL;
    size_t len = 0;
    struct seg_sect s;
    if (st == ST_OK) {
        st = segidx_encode(&w->idx, 0, 1, 0, &body, &len);
    }
    if (st == ST_OK) {
        st = seg_sect_parse(body, len, &s);
    }
    if (st == ST_OK) {
        st = segidx_add_sect(&all, &s);
    }
    base_free(body);
    if (st == ST_OK) {
        st = write_footer(w, &all, err);
    } else {
        st = write_section(w, err);
        w->row.state = SEG_CLOSED;
    }
    segidx_fini(&all);
    return st;
}

static void row_update(struct seg_writer *w)
{
    const struct seg_totals *t = &w->idx.totals;
    struct seg_row *r = &w->row;
    r->durable_len = w->off;
    r->live_msgs += t->nmsgs;
    r->live_bytes += t->logical_bytes;
    if (t->min_expiry != 0 && (r->min_expiry == 0 || t->min_expiry < r->min_expiry)) {
        r->min_expiry = t->min_expiry;
    }
    if (t->nmsgs == 0) {
        return;
    }
    r->min_ts = r->first_seq == 0 || t->min_ts < r->min_ts ? t->min_ts : r->min_ts;
    r->max_ts = r->first_seq == 0 ? t->max_ts : i64_max(r->max_ts, t->max_ts);
    r->first_seq = r->first_seq == 0 ? t->first_seq : r->first_seq;
    r->last_seq = t->last_seq;
}

static struct seg_view *make_view(struct seg_writer *w)
{
    uint32_t ndata = w->ndata_before + (uint32_t)w->idx.nblocks;
    struct seg_bidx *bidx = base_malloc(((size_t)ndata + 1) * sizeof(*bidx));
    if (w->ndata_before != 0) {
        memcpy(bidx, w->old->bidx, w->ndata_before * sizeof(*bidx));
    }
    for (size_t i = 0; i < w->idx.nblocks; i++) {
        seg_bidx_of(&bidx[w->ndata_before + i], &w->idx.blocks[i], w->base_seq);
    }
    struct seg_view *v = seg_view_create(w->sf, &w->row, w->base_seq, bidx, ndata);
    v->nmsgs = (w->old != NULL ? w->old->nmsgs : 0) + w->idx.nmsgs;
    v->sections = w->sections;
    v->last_hdr_crc = w->prev_hdr_crc;
    return v;
}

enum st seg_writer_end(struct seg_writer *w, bool seal, struct seg_flushed *out,
                       uint64_t *bytes_out, struct err *err)
{
    enum st st = w->open.nmsgs != 0 ? put_data(w, w->raw, w->raw_len, err) : ST_OK;
    if (st == ST_OK) {
        st = seal ? write_sealed(w, err) : write_section(w, err);
    }
    if (st == ST_OK) {
        st = out_flush(w, err);
    }
    if (st == ST_OK) {
        st = env_datasync(w->segs->env, w->file, err);
    }
    *bytes_out += w->bytes;
    if (st != ST_OK) {
        return st;
    }
    ASSERT(w->out_len == 0);
    w->ended = true;
    atomic_store(&w->sf->written_len, w->off);
    row_update(w);
    *out = (struct seg_flushed){
        .view = make_view(w),
        .replaces_active = w->old != NULL,
    };
    return ST_OK;
}
