/* Rewriting a segment without its removed messages (segment.h).
 *
 * The new file is gen + 1 of the same number, sealed and synced before anything refers to it; the
 * old one is not touched. A crash leaves a file no row names. A segment with damage is not
 * compacted: it is evidence. */
#include "engine/block_decode.h"
#include "engine/reader.h"

#include <inttypes.h>
#include <stdlib.h>

#define NO_LIMIT ((uint64_t)4 * GIB)

struct seg_compaction {
    struct segs *s;                        /* borrowed */
    const struct seg_view *old;            /* borrowed until end or cancel; the one being copied */
    const struct seg_view *first, *second; /* borrowed, second NULL: one segment alone */
    struct seg_writer_opts wo;
    struct seg_writer *w; /* owned; NULL until a live message was met */
    uint32_t next_block;
    struct segidx idx; /* expiries and removals of the old file */
    struct seg_scratch sc;
    seg_live_fn live;
    void *arg;
};

static void note_ttl(void *arg, uint64_t seq, int64_t expire_ns)
{
    struct seg_compaction *c = arg;
    if (c->idx.nttl == c->idx.ttl_cap) {
        c->idx.ttl_cap = c->idx.ttl_cap == 0 ? 64 : c->idx.ttl_cap * 2;
        c->idx.ttl = base_realloc(c->idx.ttl, c->idx.ttl_cap * sizeof(*c->idx.ttl));
    }
    c->idx.ttl[c->idx.nttl++] = (struct segidx_ttl){.seq = seq, .expire_ns = expire_ns};
}

static enum st note_section(struct seg_compaction *c, const struct seg_sect *s)
{
    uint64_t floor = 0;
    enum st st = seg_sect_ttl(s, note_ttl, c);
    if (st == ST_OK && c->second == NULL) { /* of two they do not ascend; the catalogue has them */
        st = seg_sect_removed(s, &floor, &c->idx.removed);
    }
    c->idx.floor = u64_max(c->idx.floor, floor);
    return st;
}

static enum st load_notes(struct seg_compaction *c, struct err *err)
{
    const struct seg_row *row = &c->old->row;
    struct seg_io io = {.env = c->s->env, .uuid = row->seg_uuid, .limit = row->durable_len};
    enum st st = seg_file_pin(c->old->file, &io.f, err);
    if (st != ST_OK) {
        return st;
    }
    if (row->state == SEG_SEALED) {
        struct seg_sect_loaded l;
        st = seg_sect_load(&io, row->last_section, SEG_BT_FOOTER, &c->sc, &l, err);
        if (st == ST_OK) {
            st = note_section(c, &l.s);
            base_free(l.raw);
        }
    } else {
        struct seg_sect_list l;
        st = seg_sect_load_chain(&io, row->last_section, &c->sc, &l, err);
        for (size_t i = 0; st == ST_OK && i < l.n; i++) {
            st = note_section(c, &l.v[i].s);
        }
        seg_sect_list_fini(&l);
    }
    seg_file_unpin(c->old->file);
    return st;
}

static int ttl_cmp(const void *key, const void *elem)
{
    const uint64_t *seq = key;
    const struct segidx_ttl *t = elem;
    return *seq < t->seq ? -1 : *seq > t->seq;
}

static int64_t expiry_of(const struct seg_compaction *c, uint64_t seq)
{
    if (c->idx.nttl == 0) {
        return 0;
    }
    const struct segidx_ttl *t =
        bsearch(&seq, c->idx.ttl, c->idx.nttl, sizeof(*c->idx.ttl), ttl_cmp);
    return t != NULL ? t->expire_ns : 0;
}

static enum st copy_msg(struct seg_compaction *c, const struct msg *m, struct err *err)
{
    const struct seg_row *row = &c->first->row; /* whose name the new file has */
    enum st st = ST_OK;
    if (c->w == NULL) {
        st = seg_writer_begin(c->s, &c->wo, row->segno, row->gen + 1, m->seq, 0, &c->w, err);
    }
    struct seg_src src = {
        .msg = m->subj - MSG_HEAD_SIZE,
        .len = (uint32_t)msg_size(m->subj_len, m->hdr_len, m->data_len),
        .expire_ns = expiry_of(c, m->seq),
    };
    if (st == ST_OK) {
        st = seg_writer_add(c->w, &src, err);
        ASSERT(st != ST_FULL);
    }
    return st;
}

static enum st copy_block(struct seg_compaction *c, uint32_t block_no, struct err *err)
{
    struct block *b = NULL;
    enum st st = reader_read_sync(c->s, NULL, c->old, block_no, &b, err);
    for (uint32_t i = 0; st == ST_OK && i < b->nmsgs; i++) {
        struct msg m;
        st = block_msg(b, i, &m);
        if (c->live(c->arg, m.seq)) {
            st = st == ST_OK ? copy_msg(c, &m, err) : err_set(err, st, 0, "a message is damaged");
        } else {
            st = ST_OK; /* what is removed may be damaged */
        }
    }
    block_release(b);
    return st;
}

static enum st failed(const struct seg_compaction *c, enum st st, struct err *err)
{
    err_prefix(err, "compact segment %" PRIu64 " of stream %" PRIu32, c->old->row.segno,
               c->old->row.gid);
    return st;
}

enum st seg_compact_begin(struct segs *s, const struct seg_view *old, const struct seg_view *next,
                          uint64_t created_generation, const char *account, const char *name,
                          seg_live_fn live, void *arg, struct seg_compaction **c_out,
                          struct err *err)
{
    ASSERT(old->row.state != SEG_ACTIVE && (next == NULL || next->row.state != SEG_ACTIVE));
    ASSERT(next == NULL || (next->row.gid == old->row.gid && next->row.segno > old->row.segno &&
                            next->row.first_seq > old->row.last_seq));
    struct seg_compaction *c = base_calloc(1, sizeof *c);
    *c = (struct seg_compaction){
        .s = s,
        .old = old,
        .first = old,
        .second = next,
        .live = live,
        .arg = arg,
        .wo = {.gid = old->row.gid,
               .account = account,
               .name = name,
               .created_generation = created_generation,
               .segment_bytes = NO_LIMIT},
    };
    segidx_init(&c->idx, old->base_seq, s->hash_seed);
    enum st st = load_notes(c, err);
    if (st == ST_OK && next != NULL) {
        c->old = next;
        st = load_notes(c, err);
        c->old = old;
    }
    *c_out = st == ST_OK ? c : NULL;
    if (st != ST_OK) {
        st = failed(c, st, err);
        seg_compact_cancel(c);
    }
    return st;
}

enum st seg_compact_step(struct seg_compaction *c, uint32_t blocks_max, bool *done_out,
                         struct err *err)
{
    enum st st = ST_OK;
    for (uint32_t i = 0; i < blocks_max && st == ST_OK; i++) {
        if (c->next_block == c->old->ndata && c->second != NULL && c->old != c->second) {
            c->old = c->second;
            c->next_block = 0;
        }
        if (c->next_block == c->old->ndata) {
            break;
        }
        st = copy_block(c, c->next_block++, err);
    }
    *done_out = c->next_block == c->old->ndata && (c->second == NULL || c->old == c->second);
    return st == ST_OK ? ST_OK : failed(c, st, err);
}

enum st seg_compact_end(struct seg_compaction *c, struct seg_flush_result *out, struct err *err)
{
    enum st st = ST_OK;
    *out = (struct seg_flush_result){0};
    ASSERT(c->next_block == c->old->ndata);
    if (c->w != NULL) {
        seg_writer_removed(c->w, c->idx.floor, &c->idx.removed);
        out->v = base_calloc(1, sizeof(*out->v));
        st = seg_writer_end(c->w, true, &out->v[0], &out->bytes_written, err);
        out->n = st == ST_OK;
    }
    if (st != ST_OK) {
        st = failed(c, st, err);
        seg_flush_result_fini(out);
    }
    seg_compact_cancel(c);
    return st;
}

void seg_compact_cancel(struct seg_compaction *c)
{
    if (c != NULL) {
        seg_writer_destroy(c->w);
        segidx_fini(&c->idx);
        seg_scratch_fini(&c->sc);
        base_free(c);
    }
}
