/* The offline check of one segment: every checksum, every message, the index against the messages,
 * padding (segment.h; `jsadmin check`). Read-only. */
#include "engine/block_decode.h"

#include <inttypes.h>

struct check {
    struct seg_opening o;
    struct seg_visitor v; /* ours: counts and passes on */
    const struct seg_visitor *user;
    struct seg_check_report *report;
    uint64_t listed,
        found; /* order-free sums over (subject, sequence, size): of the index, of the messages */
    uint64_t data_found;
    uint32_t chain;
    bool damaged;
};

static void on_damage(void *arg, enum seg_damage_cause cause, const struct seg_row *row,
                      uint64_t off, uint64_t lo, uint64_t hi, bool lost, const char *text)
{
    struct check *c = arg;
    c->report->findings++;
    c->report->lost_blocks += lost && cause != SEG_DAMAGE_MESSAGE;
    c->damaged = c->damaged || cause != SEG_DAMAGE_PADDING;
    if (c->user->damage != NULL) {
        c->user->damage(c->user->arg, cause, row, off, lo, hi, lost, text);
    }
}

static void finding(struct check *c, enum seg_damage_cause cause, uint64_t off, uint64_t lo,
                    uint64_t hi, bool lost, const char *text)
{
    on_damage(c, cause, c->o.row, off, lo, hi, lost, text);
}

static uint64_t mark(const uint8_t *subj, size_t len, uint64_t seq, uint64_t size)
{
    return hash64(seq * 0x9e3779b97f4a7c15u + size, subj, len);
}

static void on_subject(void *arg, const uint8_t *subj, size_t len, const uint64_t *seqs,
                       const uint32_t *sizes, size_t n)
{
    struct check *c = arg;
    for (size_t i = 0; i < n; i++) {
        c->listed += mark(subj, len, seqs[i], sizes[i]);
    }
}

static void on_msg(void *arg, const struct msg *m, uint32_t form_len, bool bad)
{
    struct check *c = arg;
    (void)form_len;
    c->report->msgs++;
    if (bad) {
        finding(c, SEG_DAMAGE_MESSAGE, 0, m->seq, m->seq, true, "content of a message is damaged");
        return;
    }
    c->found +=
        mark(m->subj, m->subj_len, m->seq, msg_logical_size(m->subj_len, m->hdr_len, m->data_len));
}

static bool section_good(const struct seg_bh *bh, const uint8_t *raw)
{
    struct seg_sect s;
    return raw != NULL && seg_sect_parse(raw, bh->raw_len, &s) == ST_OK &&
           seg_sect_check(&s) == ST_OK;
}

static void on_block(void *arg, uint64_t off, const struct seg_bh *bh, const uint8_t *raw)
{
    struct check *c = arg;
    c->report->bytes += SEG_BLOCK_HEAD + (uint64_t)bh->stored_len;
    if (bh->type != SEG_BT_DATA) {
        c->report->sections++;
        /* the one the row names has been reported */
        if (!section_good(bh, raw) && off != c->o.row->last_section) {
            finding(c, SEG_DAMAGE_SECTION, off, 0, 0, false, "section is damaged");
        }
        return;
    }
    c->report->blocks++;
    c->data_found++;
    c->chain = seg_chain_add(c->chain, bh->hdr_crc);
    if (raw == NULL || bh->nmsgs > bh->raw_len / MSG_HEAD_SIZE ||
        seg_block_msgs(bh, raw, c->o.segs->crc_seed, on_msg, c) != ST_OK) {
        finding(c, SEG_DAMAGE_BLOCK, off, bh->first_seq, seg_bh_last_seq(bh), true,
                "block is damaged");
    }
}

static void on_gap(void *arg, uint64_t off, uint64_t end, uint64_t lo, uint64_t hi)
{
    struct check *c = arg;
    (void)end;
    if (lo != 0) {
        finding(c, SEG_DAMAGE_BLOCK, off, lo, hi, true, "blocks are missing");
    } else if (!c->damaged) {
        finding(c, SEG_DAMAGE_SECTION, off, 0, 0, false, "bytes that are no block");
    }
}

static void on_padding(void *arg, uint64_t off)
{
    finding(arg, SEG_DAMAGE_PADDING, off, 0, 0, false, "padding is not zero");
}

/* The second half of the header page is padding. */
static void check_first_page(struct check *c)
{
    uint8_t half[SEG_HALF];
    if (seg_io_read(&c->o.io, half, sizeof(half), SEG_HALF, NULL) != ST_OK) {
        return;
    }
    for (size_t i = 0; i < sizeof(half); i++) {
        if (half[i] != 0) {
            on_padding(c, SEG_HALF + i);
            return;
        }
    }
}

static enum st check_content(struct check *c, struct err *err)
{
    struct err why = {0};
    enum st st = seg_opening_sections(&c->o, &why);
    bool index_good = st == ST_OK;
    if (st == ST_NOMEM || st == ST_VERSION) {
        return err_set(err, st, 0, "%s", why.msg);
    }
    if (!index_good) {
        finding(c, SEG_DAMAGE_SECTION, c->o.row->last_section, 0, 0, false, why.msg);
    }
    check_first_page(c);
    if (c->o.row->state == SEG_SEALED && c->o.io.limit == c->o.row->durable_len) {
        c->o.io.limit -= SEG_PAGE; /* header copy and trailer have been looked at */
    }
    struct seg_walk_ops ops = {.arg = c, .block = on_block, .gap = on_gap, .padding = on_padding};
    st = seg_walk(&c->o.io, c->o.row->first_seq, c->o.row->last_seq, &c->o.sc, &ops, err);
    if (st == ST_OK && index_good && !c->damaged &&
        (c->listed != c->found || c->data_found != c->o.ndata || c->chain != c->o.row->chain_crc)) {
        finding(c, SEG_DAMAGE_SECTION, c->o.row->last_section, 0, 0, false,
                "index and messages do not agree");
    }
    return st;
}

enum st seg_check(struct segs *s, const struct seg_row *row, const struct seg_visitor *v,
                  struct seg_check_report *report, struct err *err)
{
    struct check c = {.user = v, .report = report};
    c.v = (struct seg_visitor){.arg = &c, .damage = on_damage, .subject = on_subject};
    bool usable = false;
    report->files++;
    enum st st = seg_opening_begin(&c.o, s, row, &c.v, &usable, err);
    if (st == ST_OK && usable) {
        st = check_content(&c, err);
    }
    seg_opening_end(&c.o);
    if (st != ST_OK) {
        err_prefix(err, "check segment %" PRIu64 " of stream %" PRIu32, row->segno, row->gid);
    }
    return st;
}
