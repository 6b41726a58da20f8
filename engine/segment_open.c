/* Opening a segment of the catalogue (segment.h).
 *
 * What is read: header page, last page of a sealed file, footer or chain of sections. The row is
 * the authority: what disagrees with it is damage. Anything wrong with an index means a rebuild
 * from the blocks, and the file is then never continued. */
#include "engine/segment_impl.h"

#include <inttypes.h>
#include <stdio.h>

void seg_opening_damage(const struct seg_opening *o, enum seg_damage_cause cause, uint64_t off,
                        uint64_t lo, uint64_t hi, bool lost, const char *text)
{
    if (o->v->damage != NULL) {
        o->v->damage(o->v->arg, cause, o->row, off, lo, hi, lost, text);
    }
}

void seg_opening_line(struct seg_opening *o, const struct seg_bidx *line)
{
    if (o->ndata == o->ndata_cap) {
        o->ndata_cap = o->ndata_cap == 0 ? 64 : o->ndata_cap * 2;
        o->bidx = base_realloc(o->bidx, o->ndata_cap * sizeof(*o->bidx));
    }
    o->bidx[o->ndata++] = *line;
}

void seg_opening_lost(struct seg_opening *o, uint64_t lo, uint64_t hi)
{
    ASSERT(lo >= o->row->first_seq && lo <= hi);
    seg_opening_line(o, &(struct seg_bidx){
                            .first_delta = (uint32_t)(lo - o->row->first_seq),
                            .max_ts = o->ndata != 0 ? o->bidx[o->ndata - 1].max_ts : o->row->min_ts,
                        });
}

static void all_lost(struct seg_opening *o, const char *text)
{
    o->damaged = true;
    o->ndata = 0;
    seg_opening_lost(o, o->row->first_seq, o->row->last_seq);
    seg_opening_damage(o, SEG_DAMAGE_FILE_MISSING, 0, o->row->first_seq, o->row->last_seq, true,
                       text);
}

/* --- header and trailer ----------------------------------------------------------------------- */

static bool head_is_ours(const struct seg_opening *o, const struct seg_header *h)
{
    const struct seg_row *r = o->row;
    return h->gid == r->gid && h->segno == r->segno && h->gen == r->gen &&
           memcmp(h->seg_uuid, r->seg_uuid, 16) == 0 &&
           memcmp(h->store_uuid, o->segs->store_uuid, 16) == 0 && h->base_seq == r->first_seq;
}

/* One of the two copies. ST_CORRUPT is reported here and is not an error of the opening. */
static enum st check_head(struct seg_opening *o, uint64_t off, bool *foreign, struct err *err)
{
    uint8_t half[SEG_HALF];
    struct seg_header h;
    enum st st = seg_io_read(&o->io, half, sizeof(half), off, NULL);
    if (st == ST_OK) {
        st = seg_header_get(half, &h);
    }
    if (st == ST_VERSION || st == ST_UNSUPPORTED) {
        return err_set(err, st, 0, "segment %" PRIu64 " of stream %" PRIu32 ": %s", o->row->segno,
                       o->row->gid, st_text(st));
    }
    if (st == ST_OK) {
        *foreign = !head_is_ours(o, &h);
        return ST_OK;
    }
    seg_opening_damage(o, SEG_DAMAGE_HEADER, off, 0, 0, false,
                       off == 0 ? "header page is damaged; the catalogue serves"
                                : "copy of the header page is damaged");
    return ST_OK;
}

static void check_trailer(struct seg_opening *o)
{
    uint8_t half[SEG_HALF];
    struct seg_trailer t;
    const struct seg_row *r = o->row;
    enum st st = seg_io_read(&o->io, half, sizeof(half), r->durable_len - SEG_HALF, NULL);
    if (st == ST_OK) {
        st = seg_trailer_get(half, r->seg_uuid, &t);
    }
    if (st != ST_OK || t.footer_off != r->last_section || t.file_len != r->durable_len ||
        t.chain_crc != r->chain_crc || t.nblocks != r->nblocks || t.first_seq != r->first_seq ||
        t.last_seq != r->last_seq) {
        seg_opening_damage(o, SEG_DAMAGE_TRAILER, r->durable_len - SEG_HALF, 0, 0, false,
                           "trailer is damaged; the catalogue serves");
    }
}

static enum st row_check(const struct seg_row *r, struct err *err)
{
    bool ok = r->gid != 0 && r->first_seq != 0 && r->last_seq >= r->first_seq &&
              r->last_seq - r->first_seq <= SEG_SPAN_MAX &&
              r->last_seq <= UINT64_MAX - 2 * (uint64_t)SEG_SPAN_MAX &&
              r->durable_len >= 2 * (uint64_t)SEG_PAGE && r->durable_len % SEG_PAGE == 0 &&
              r->durable_len < (uint64_t)1 << 35 && r->state >= SEG_ACTIVE &&
              r->state <= SEG_CLOSED;
    return ok ? ST_OK
              : err_set(err, ST_INVALID, 0,
                        "row of segment %" PRIu64 " of stream %" PRIu32 " is not valid", r->segno,
                        r->gid);
}

enum st seg_opening_begin(struct seg_opening *o, struct segs *s, const struct seg_row *row,
                          const struct seg_visitor *v, bool *usable_out, struct err *err)
{
    *usable_out = false;
    *o = (struct seg_opening){.segs = s, .row = row, .v = v};
    enum st st = row_check(row, err);
    if (st != ST_OK) {
        return st;
    }
    o->file = seg_file_create(s, row->gid, row->segno, row->gen, row->seg_uuid);
    o->io = (struct seg_io){.env = s->env, .uuid = row->seg_uuid, .limit = row->durable_len};
    uint64_t size = 0;
    st = seg_file_pin(o->file, &o->io.f, err);
    if (st == ST_OK) {
        st = env_size(s->env, o->io.f, &size, err);
    }
    if (st != ST_OK) {
        all_lost(o, st == ST_NOTFOUND ? "file is missing" : "file cannot be opened");
        return ST_OK;
    }
    if (size < row->durable_len) {
        o->io.limit = size;
        o->damaged = true;
        seg_opening_damage(o, SEG_DAMAGE_FILE_MISSING, size, 0, 0, false,
                           "file is shorter than its durable part");
    }
    bool foreign = false;
    st = check_head(o, 0, &foreign, err);
    if (st == ST_OK && row->state == SEG_SEALED && size >= row->durable_len) {
        bool copy_foreign = false;
        st = check_head(o, row->durable_len - SEG_PAGE, &copy_foreign, err);
        check_trailer(o);
    }
    if (st == ST_OK && foreign) {
        all_lost(o, "file belongs to another store or stream");
        return ST_OK;
    }
    *usable_out = st == ST_OK;
    return st;
}

void seg_opening_end(struct seg_opening *o)
{
    if (o->io.f != NULL) {
        seg_file_unpin(o->file);
    }
    if (o->file != NULL) {
        seg_file_release(o->file);
    }
    seg_scratch_fini(&o->sc);
    base_free(o->bidx);
    *o = (struct seg_opening){0};
}

/* --- sections --------------------------------------------------------------------------------- */

/* True when the data blocks listed are those the row was written for. */
static bool bidx_fits_row(const struct seg_bidx *bidx, uint32_t ndata, const struct seg_row *row)
{
    uint32_t chain = 0;
    for (uint32_t i = 0; i < ndata; i++) {
        chain = seg_chain_add(chain, bidx[i].hdr_crc);
    }
    return chain == row->chain_crc;
}

static void take_lines(struct seg_opening *o, const struct seg_sect *s)
{
    struct seg_bidx_disk e;
    struct seg_bidx line;
    for (uint32_t i = 0; i < s->ndata; i++) {
        seg_sect_block(s, i, &e);
        seg_bidx_of(&line, &e, s->base_seq);
        seg_opening_line(o, &line);
    }
    o->nmsgs += s->totals.nmsgs;
}

static bool lists_fit_row(struct seg_opening *o, const struct seg_sect_list *l)
{
    const struct seg_row *r = o->row;
    uint64_t first = 0;
    uint64_t last = 0;
    uint32_t nblocks = r->state == SEG_SEALED ? l->v[0].s.nsections : (uint32_t)l->n;
    for (size_t i = 0; i < l->n; i++) {
        const struct seg_sect *s = &l->v[i].s;
        if (s->base_seq != r->first_seq) {
            return false;
        }
        take_lines(o, s);
        nblocks += s->ndata;
        if (s->totals.nmsgs != 0) {
            first = first == 0 ? s->totals.first_seq : first;
            last = s->totals.last_seq;
        }
    }
    const struct seg_sect_loaded *end = &l->v[l->n - 1];
    return first == r->first_seq && last == r->last_seq && nblocks == r->nblocks &&
           end->off == r->last_section &&
           end->off + SEG_BLOCK_HEAD + end->bh.stored_len <= r->durable_len &&
           bidx_fits_row(o->bidx, o->ndata, r);
}

static void visit(const struct seg_opening *o, const struct seg_sect *s)
{
    const struct seg_visitor *v = o->v;
    enum st st = ST_OK;
    if (v->removed != NULL) {
        struct seq_runs runs = {0};
        uint64_t floor = 0;
        st = seg_sect_removed(s, &floor, &runs);
        v->removed(v->arg, floor, &runs);
        seq_runs_fini(&runs);
    }
    if (st == ST_OK && v->subject != NULL) {
        st = seg_sect_subjects(s, v->subject, v->arg);
    }
    if (st == ST_OK && v->ttl != NULL) {
        st = seg_sect_ttl(s, v->ttl, v->arg);
    }
    ASSERT(st == ST_OK); /* all of it was checked when it was loaded */
}

static enum st load(struct seg_opening *o, struct seg_sect_list *l, struct err *err)
{
    if (o->row->state != SEG_SEALED) {
        return seg_sect_load_chain(&o->io, o->row->last_section, &o->sc, l, err);
    }
    *l = (struct seg_sect_list){.v = base_malloc(sizeof(*l->v)), .cap = 1};
    enum st st = seg_sect_load(&o->io, o->row->last_section, SEG_BT_FOOTER, &o->sc, &l->v[0], err);
    if (st != ST_OK) {
        seg_sect_list_fini(l);
        return st;
    }
    l->n = 1;
    return ST_OK;
}

enum st seg_opening_sections(struct seg_opening *o, struct err *err)
{
    struct seg_sect_list l = {0};
    enum st st = load(o, &l, err);
    if (st != ST_OK) {
        return st;
    }
    if (lists_fit_row(o, &l)) {
        for (size_t i = 0; i < l.n; i++) {
            visit(o, &l.v[i].s);
        }
        o->sections = l.v[l.n - 1].s.nsections;
        o->last_hdr_crc = l.v[l.n - 1].bh.hdr_crc;
    } else {
        st = err_set(err, ST_CORRUPT, 0, "the index does not fit the catalogue's row");
    }
    seg_sect_list_fini(&l);
    return st;
}

static enum st open_usable(struct seg_opening *o, struct err *err)
{
    struct err why = {0};
    enum st st = seg_opening_sections(o, &why);
    if (st == ST_OK) {
        return ST_OK;
    }
    if (st == ST_NOMEM || st == ST_VERSION) {
        return err_set(err, st, 0, "%s", why.msg);
    }
    seg_opening_damage(o, SEG_DAMAGE_SECTION, o->row->last_section, 0, 0, false, why.msg);
    o->ndata = 0;
    o->nmsgs = 0;
    o->damaged = true;
    return seg_rebuild(o, err);
}

enum st seg_open(struct segs *s, const struct seg_row *row, const struct seg_visitor *v,
                 struct seg_view **view_out, struct err *err)
{
    *view_out = NULL;
    struct seg_opening o;
    bool usable = false;
    enum st st = seg_opening_begin(&o, s, row, v, &usable, err);
    if (st == ST_OK && usable) {
        st = open_usable(&o, err);
    }
    if (st == ST_OK) {
        struct seg_view *view = seg_view_create(o.file, row, row->first_seq, o.bidx, o.ndata);
        view->nmsgs = o.nmsgs;
        view->sections = o.sections;
        view->last_hdr_crc = o.last_hdr_crc;
        if (o.damaged && row->state == SEG_ACTIVE) {
            view->row.state = SEG_CLOSED;
        }
        o.bidx = NULL;
        segs_gid_synced(s, row->gid);
        *view_out = view;
    } else {
        err_prefix(err, "open segment %" PRIu64 " of stream %" PRIu32, row->segno, row->gid);
    }
    seg_opening_end(&o);
    return st;
}
