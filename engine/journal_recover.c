/* Recovery: walks the groups from the checkpoint on, tells a torn tail from damage, salvages
 * (RULES.md, "Torn or rotten", "Start").
 *
 * Invariants: nothing here changes a file, so recovery killed at any step finds the same evidence
 * and comes to the same result (I11). What one recovery judged to be the end is final: the file
 * opened next carries it as prev_end_lsn, and [prev_end_lsn, base_lsn) is void for every later one.
 * A verdict rests on durable_seq, on files that could only be opened later, on a clean stop's
 * end_lsn, or on the boot under which the page cache lived; never on a queue depth. */
#include "engine/journal_read.h"

/* How much of a later file is looked through for a first sign of a group: one group of ordinary
 * size. */
#define PROBE_BYTES (LIM_JOURNAL_GATHER_BYTES_MAX + 64 * KIB)
#define DISCARD_LINES_MAX 16

/* --- place ------------------------------------------------------------------------------------ */

/* A later file whose opener judged that the log ended at or before lsn; its index, or 0. */
static size_t void_until(struct jr_rd *rd, size_t fi, uint64_t lsn)
{
    for (size_t k = rd->files->n - 1; k > fi; k--) {
        const struct jr_file *f = rd_file(rd, k);
        if (!f->unreadable && f->h.prev_end_lsn != 0 && f->h.prev_end_lsn <= lsn) {
            return k;
        }
    }
    return 0;
}

/* Where reading ends in file fi: its last page, or what a recovery judged. */
static uint64_t readable_end(struct jr_rd *rd, size_t fi)
{
    uint64_t end = rd_end_off(rd, fi);
    uint64_t base = rd_file(rd, fi)->h.base_lsn;
    for (size_t k = fi + 1; k < rd->files->n; k++) {
        const struct jr_file *f = rd_file(rd, k);
        if (!f->unreadable && f->h.prev_end_lsn != 0 && f->h.prev_end_lsn >= base) {
            end = u64_min(end, f->h.prev_end_lsn - base);
        }
    }
    return end;
}

static void lost_blindly(struct jr_rd *rd)
{
    rd->blind = true;
    rd->chain_known = false;
    rd_batches_doubt(rd);
}

/* On to the next file, through ROTATE or because the rest of this one is lost. */
static void next_file(struct jr_rd *rd)
{
    const struct jr_file *f = rd_file(rd, rd->fi);
    uint64_t end = f->h.base_lsn + f->h.size;
    uint64_t no = f->h.file_no;
    rd->fi++;
    rd->off = JR_FIRST_OFF;
    bool last = rd->fi == rd->files->n;
    if (!last && rd_file(rd, rd->fi)->h.file_no == no + 1) {
        return;
    }
    uint64_t until = last ? end : rd_file(rd, rd->fi)->h.base_lsn;
    bool covered = !last && until <= rd->from_lsn;
    bool was_void = !last && void_until(rd, rd->fi - 1, end) != 0;
    if (!covered && !was_void) {
        rd_damage(rd, JR_DAMAGE_FILE_MISSING, 0, 0, 0, true,
                  "journal file %llu is missing behind lsn %llu", (unsigned long long)no + 1,
                  (unsigned long long)end);
        lost_blindly(rd);
    }
}

/* --- whole groups ----------------------------------------------------------------------------- */

static void group_seen(struct jr_rd *rd, const struct jg_header *h)
{
    rd->prev_known = true;
    rd->prev_seq = h->group_seq;
    rd->chain_known = true;
    rd->prev_crc = h->hdr_crc;
    rd->out->groups++;
    rd->out->group_seq = h->group_seq;
    rd->out->meta_gen_max = u64_max(rd->out->meta_gen_max, h->meta_gen);
    rd->out->wall_ns_max = u64_max(rd->out->wall_ns_max, h->wall_ns);
    rd->out->any_groups_on_disk = true;
    rd->out->bytes += h->lsn + h->total_len > rd->from_lsn ? h->total_len : 0;
    rd->out->clean = (h->flags & JG_SHUTDOWN) != 0;
    if (rd->report != NULL) {
        rd->report->groups++;
        rd->report->bytes += h->total_len;
    }
}

static void group_passed(struct jr_rd *rd, const struct jg_header *h)
{
    rd->off += h->total_len;
    if ((h->flags & JG_ROTATE) != 0) {
        next_file(rd);
    }
}

/* Decodes and verifies all records of a group into rd->recs. */
static enum st group_records(struct jr_rd *rd, const struct jg_header *h, const uint8_t *p)
{
    if (h->nrec > rd->recs_cap) {
        rd->recs_cap = h->nrec;
        rd->recs = base_realloc(rd->recs, rd->recs_cap * sizeof(*rd->recs));
    }
    size_t at = JG_FRAME + h->index_len;
    size_t end = JG_FRAME + h->body_len - h->twin_len;
    for (uint32_t i = 0; i < h->nrec; i++) {
        struct rec *r = &rd->recs[i];
        enum st st = at < end ? rec_get(p + at, end - at, rd->opts->crc_seed, r) : ST_CORRUPT;
        if (st != ST_OK) {
            return st;
        }
        uint64_t seq;
        if (r->type == REC_APPEND && !msg_body_ok(r->body, r->body_len, rd->opts->crc_seed, &seq)) {
            return ST_CORRUPT;
        }
        if ((r->flags & REC_IS_TWIN) != 0) {
            return ST_CORRUPT;
        }
        at += (size_t)align_up(r->len, REC_ALIGN);
    }
    return ST_OK;
}

/* Takes note of the index. After a blind loss a gap in a stream's record ordinals is how the loss
 * shows. */
static enum st group_index(struct jr_rd *rd, const struct jg_header *h, const uint8_t *p)
{
    uint64_t sum = 0;
    for (size_t at = 0; at < h->index_len;) {
        struct ji_entry e;
        if (ji_get(p + JG_FRAME + at, h->index_len - at, &e) != ST_OK) {
            return ST_CORRUPT;
        }
        at += e.entry_len;
        sum += e.nrec;
    }
    if (sum != h->nrec) {
        return ST_CORRUPT;
    }
    for (size_t at = 0; at < h->index_len;) {
        struct ji_entry e;
        if (ji_get(p + JG_FRAME + at, h->index_len - at, &e) != ST_OK) {
            return ST_CORRUPT;
        }
        at += e.entry_len;
        const struct jr_chain *c = rd->blind ? rd_chain(rd, e.gid) : NULL;
        if (c != NULL && e.first_oseq > c->next_oseq) {
            rd_damage(rd, JR_DAMAGE_RECORD, e.gid, c->last_seq + 1, 0, true,
                      "%llu records of the stream are missing",
                      (unsigned long long)(e.first_oseq - c->next_oseq));
        }
        rd_chain_set(rd, &e);
    }
    return ST_OK;
}

static enum st group_deliver(struct jr_rd *rd, const struct jg_header *h, const uint8_t *p)
{
    const uint8_t *end = p + JG_FRAME + h->body_len;
    if (rd->report != NULL) {
        rd->report->records += h->nrec;
    }
    for (uint32_t i = 0; i < h->nrec; i++) {
        const struct rec *r = &rd->recs[i];
        const uint8_t *bytes = r->ext - REC_HEAD_SIZE;
        enum st st = rd_record(rd, h->lsn + (uint64_t)(bytes - p), r, bytes, (size_t)(end - bytes),
                               h->wall_ns);
        if (st != ST_OK) {
            return st;
        }
    }
    return ST_OK;
}

/* Checks a framed group; *what_out names the first part that is bad, NULL when it is whole. */
static enum st group_check(struct jr_rd *rd, const struct jr_frame *fr, const uint8_t *p,
                           const char **what_out)
{
    const struct jg_header *h = &fr->h;
    uint32_t seed = rd_file(rd, rd->fi)->seed;
    *what_out = NULL;
    if (!fr->head_ok) {
        *what_out = "header";
    } else if (!fr->tail_ok) {
        *what_out = "trailer";
    }
    if (crc32c(seed, p + JG_FRAME, h->index_len) != h->index_crc) {
        *what_out = "index";
        return ST_OK;
    }
    if (crc32c(seed, p + JG_FRAME, h->body_len) != h->body_crc) {
        *what_out = "body";
        return ST_OK;
    }
    enum st st = group_records(rd, h, p);
    if (st == ST_UNSUPPORTED) {
        return err_set(rd->err, ST_UNSUPPORTED, 0,
                       "journal: group at lsn %llu holds a record this version does not serve",
                       (unsigned long long)h->lsn);
    }
    if (st != ST_OK) {
        *what_out = "records";
    }
    return ST_OK;
}

/* --- verdict ---------------------------------------------------------------------------------- */

static bool same_boot(const struct jr_rd *rd, const struct jr_file *f)
{
    static const uint8_t unknown[16];
    return memcmp(f->h.boot_id, rd->boot_id, 16) == 0 && memcmp(rd->boot_id, unknown, 16) != 0;
}

/* A later file that could only come to be when everything before it was durable: it holds a group,
 * and ROTATE is synced before that; or a recovery opened it, which syncs first, and judged the end
 * to be further on. */
static enum st later_file_proves(struct jr_rd *rd, uint64_t lsn, bool *proves_out)
{
    *proves_out = false;
    for (size_t k = rd->fi + 1; k < rd->files->n && !*proves_out; k++) {
        const struct jr_file *f = rd_file(rd, k);
        if (f->unreadable) {
            continue;
        }
        if (f->h.prev_end_lsn != 0) {
            *proves_out = f->h.prev_end_lsn > lsn;
            continue;
        }
        struct jr_scan sc = {0};
        enum st st = rd_scan(rd, k, JR_FIRST_OFF,
                             u64_min(rd_end_off(rd, k), JR_FIRST_OFF + PROBE_BYTES), lsn, &sc);
        if (st != ST_OK) {
            return st;
        }
        *proves_out = sc.later;
    }
    return ST_OK;
}

/* The table "Torn or rotten" of RULES.md. Completes fr from the trailer when only that can be read.
 */
static enum st classify(struct jr_rd *rd, struct jr_frame *fr, struct jr_scan *sc, bool *rotten_out)
{
    uint64_t lsn = rd_lsn(rd, rd->fi, rd->off);
    uint64_t behind = rd->off + (fr->head_ok ? fr->h.total_len : 0);
    *sc = (struct jr_scan){0};
    enum st st = rd_scan(rd, rd->fi, behind, readable_end(rd, rd->fi), lsn, sc);
    if (st != ST_OK) {
        return st;
    }
    if (!fr->head_ok && sc->own_tail) {
        fr->tail_ok = true;
        fr->h = sc->own;
    }
    uint64_t expected = 1;
    if (fr->head_ok || fr->tail_ok) {
        expected = fr->h.group_seq;
    } else if (rd->prev_known) {
        expected = rd->prev_seq + 1;
    } else if (sc->later) {
        expected = sc->later_seq - 1;
    }
    *rotten_out = (sc->later && sc->max_durable >= expected) || rd->hint_lsn > lsn ||
                  (same_boot(rd, rd_file(rd, rd->fi)) && (fr->tail_ok || sc->later));
    if (!*rotten_out) {
        st = later_file_proves(rd, lsn, rotten_out);
    }
    return st;
}

/* --- what is discarded ------------------------------------------------------------------------ */

static void log_discarded(struct jr_rd *rd, const struct jg_header *h, int *lines)
{
    const uint8_t *p;
    uint64_t off = h->lsn - rd_file(rd, rd->fi)->h.base_lsn;
    log_inf("journal: group %llu at lsn %llu was never synced, discarded records=%u",
            (unsigned long long)h->group_seq, (unsigned long long)h->lsn, (unsigned)h->nrec);
    if (rd_map(rd, rd->fi, off, h->total_len, &p) != ST_OK ||
        crc32c(rd_file(rd, rd->fi)->seed, p + JG_FRAME, h->index_len) != h->index_crc) {
        return;
    }
    for (size_t at = 0; at < h->index_len && (*lines)++ < DISCARD_LINES_MAX;) {
        struct ji_entry e;
        if (ji_get(p + JG_FRAME + at, h->index_len - at, &e) != ST_OK) {
            return;
        }
        at += e.entry_len;
        log_inf("journal: discarded gid=%u records=%u last_seq=%llu", (unsigned)e.gid,
                (unsigned)e.nrec, (unsigned long long)e.last_seq);
    }
}

static enum st discard(struct jr_rd *rd, const struct jr_frame *fr, const struct jr_scan *sc)
{
    int lines = 0;
    bool framed = fr->head_ok || fr->tail_ok;
    rd->out->torn_bytes = sc->bytes + (framed ? fr->h.total_len : 0);
    if (framed) {
        log_discarded(rd, &fr->h, &lines);
    }
    uint64_t off = sc->later ? sc->later_off : UINT64_MAX;
    uint64_t end = readable_end(rd, rd->fi);
    while (off < end) {
        struct jr_frame later;
        enum st st = rd_frame(rd, rd->fi, off, &later);
        if (st != ST_OK) {
            return st;
        }
        if (later.head_ok) {
            log_discarded(rd, &later.h, &lines);
        }
        off += later.head_ok ? later.h.total_len : JG_ALIGN;
    }
    return ST_OK;
}

/* --- damaged groups --------------------------------------------------------------------------- */

/* Nothing frames the group at this place: go on at the next one there is. */
static bool pass_unframed(struct jr_rd *rd, const struct jr_scan *sc)
{
    uint64_t lsn = rd_lsn(rd, rd->fi, rd->off);
    uint64_t base = rd_file(rd, rd->fi)->h.base_lsn;
    uint64_t hint_off =
        rd->hint_lsn > base ? u64_min(rd->hint_lsn - base, readable_end(rd, rd->fi)) : 0;
    bool last = rd->fi + 1 == rd->files->n;
    uint64_t until = readable_end(rd, rd->fi);
    if (sc->later) {
        until = sc->later_off;
    } else if (last && hint_off > rd->off) {
        until = hint_off;
    }
    if (base + until > rd->from_lsn) {
        rd_damage(rd, JR_DAMAGE_GROUP, 0, 0, 0, true, "groups from lsn %llu to %llu are unreadable",
                  (unsigned long long)lsn, (unsigned long long)(base + until));
        lost_blindly(rd);
    }
    rd->chain_known = false;
    rd->off = until;
    if (sc->later) {
        return true;
    }
    if (last) {
        return false;
    }
    next_file(rd);
    return true;
}

/* The group at hand does not verify whole. *more_out: whether there is anything behind it. */
static enum st pass_damaged(struct jr_rd *rd, struct jr_frame *fr, const char *what, bool *more_out)
{
    struct jr_scan sc;
    bool rotten;
    bool framed = fr->head_ok;
    *more_out = true;
    if (framed && fr->h.lsn + fr->h.total_len <= rd->from_lsn) {
        rd_file(rd, rd->fi)->damaged = true;
        group_seen(rd, &fr->h); /* covered by the checkpoint */
        group_passed(rd, &fr->h);
        return ST_OK;
    }
    enum st st = classify(rd, fr, &sc, &rotten);
    if (st != ST_OK) {
        return st;
    }
    if (!rotten) {
        *more_out = false;
        return discard(rd, fr, &sc);
    }
    framed = fr->head_ok || fr->tail_ok;
    if (!framed) {
        *more_out = pass_unframed(rd, &sc);
        return ST_OK;
    }
    if (fr->h.lsn + fr->h.total_len <= rd->from_lsn) {
        group_seen(rd, &fr->h);
        group_passed(rd, &fr->h);
        return ST_OK;
    }
    const uint8_t *p;
    st = rd_map(rd, rd->fi, rd->off, fr->h.total_len, &p);
    if (st == ST_OK && what == NULL) {
        st = group_check(rd, fr, p, &what);
    }
    if (st == ST_OK) {
        st = rd_salvage(rd, fr, p, what);
    }
    if (st == ST_OK) {
        group_seen(rd, &fr->h);
        group_passed(rd, &fr->h);
    }
    return st;
}

static enum st pass_whole(struct jr_rd *rd, const struct jr_frame *fr, const uint8_t *p)
{
    if (rd->chain_known && fr->h.prev_hdr_crc != rd->prev_crc) {
        rd_damage(rd, JR_DAMAGE_GROUP, 0, 0, 0, true,
                  "group at lsn %llu does not follow the one before it",
                  (unsigned long long)fr->h.lsn);
    }
    enum st st = group_index(rd, &fr->h, p);
    if (st != ST_OK) {
        return rd_salvage(rd, fr, p, "index");
    }
    return group_deliver(rd, &fr->h, p);
}

/* --- the walk --------------------------------------------------------------------------------- */

/* One group, or the end of a file. *more_out false: this is the end of the log. */
static enum st walk_step(struct jr_rd *rd, bool *more_out)
{
    struct jr_frame fr;
    const char *what = NULL;
    *more_out = true;
    enum st st = rd_frame(rd, rd->fi, rd->off, &fr);
    if (st != ST_OK) {
        return st;
    }
    if (rd->prev_known && fr.h.group_seq <= rd->prev_seq) {
        fr = (struct jr_frame){0}; /* cannot be ours */
    }
    if (!fr.head_ok) {
        return pass_damaged(rd, &fr, NULL, more_out);
    }
    if (fr.h.lsn + fr.h.total_len <= rd->from_lsn && fr.tail_ok) {
        group_seen(rd, &fr.h);
        group_passed(rd, &fr.h);
        return ST_OK;
    }
    const uint8_t *p;
    st = rd_map(rd, rd->fi, rd->off, fr.h.total_len, &p);
    if (st == ST_OK) {
        st = group_check(rd, &fr, p, &what);
    }
    if (st != ST_OK) {
        return st;
    }
    if (what != NULL) {
        return pass_damaged(rd, &fr, what, more_out);
    }
    st = pass_whole(rd, &fr, p);
    if (st == ST_OK) {
        group_seen(rd, &fr.h);
        group_passed(rd, &fr.h);
    }
    return st;
}

/* True when the walk may stop here without a look at the rest: a clean stop, and nothing was opened
 * since. */
static bool clean_end(struct jr_rd *rd)
{
    uint64_t lsn = rd_lsn(rd, rd->fi, rd->off);
    return rd->out->clean && rd->hint_lsn == lsn && void_until(rd, rd->fi, lsn) == 0;
}

static void report_headers(struct jr_rd *rd, size_t from)
{
    for (size_t i = from; i < rd->files->n; i++) {
        const struct jr_file *f = rd_file(rd, i);
        if (f->copy_bad) {
            rd_damage(rd, JR_DAMAGE_GROUP, 0, 0, 0, false,
                      "one header of journal file %llu is bad, its copy served",
                      (unsigned long long)f->h.file_no);
        }
    }
    if (rd->report != NULL) {
        rd->report->files = rd->files->n - from;
    }
}

/* The file in which the checkpoint lies; the one behind it where it lies in a void; or the first
 * there is. */
static size_t start_file(struct jr_rd *rd)
{
    size_t at = 0;
    for (size_t i = 0; i < rd->files->n; i++) {
        if (rd_file(rd, i)->h.base_lsn <= rd->from_lsn) {
            at = i;
        }
    }
    size_t k = void_until(rd, at, rd->from_lsn);
    return k != 0 ? k : at;
}

static enum st probe_old_files(struct jr_rd *rd, size_t until)
{
    for (size_t i = 0; i < until && !rd->out->any_groups_on_disk; i++) {
        struct jr_scan sc = {0};
        uint64_t end = u64_min(rd_end_off(rd, i), JR_FIRST_OFF + PROBE_BYTES);
        enum st st = rd_file(rd, i)->unreadable ? ST_OK : rd_scan(rd, i, JR_FIRST_OFF, end, 0, &sc);
        if (st != ST_OK) {
            return st;
        }
        rd->out->any_groups_on_disk = sc.later;
    }
    return ST_OK;
}

static void check_reach(struct jr_rd *rd)
{
    struct jr_recovered *out = rd->out;
    if (rd->files->n == 0) {
        out->contiguous = rd->from_lsn == 0 && rd->hint_lsn == 0;
    } else {
        const struct jr_file *f = rd_file(rd, 0);
        out->contiguous = f->h.base_lsn <= rd->from_lsn || void_until(rd, 0, rd->from_lsn) != 0 ||
                          (f->h.prev_end_lsn != 0 && f->h.prev_end_lsn <= rd->from_lsn);
    }
    if (!out->contiguous) {
        rd_damage(rd, JR_DAMAGE_FILE_MISSING, 0, 0, 0, true,
                  "the journal does not reach back to lsn %llu", (unsigned long long)rd->from_lsn);
        lost_blindly(rd);
    }
}

/* No room for a group, and no ROTATE was read: the file was cut short. */
static enum st walk_file_end(struct jr_rd *rd, bool *more_out)
{
    const struct jr_file *f = rd_file(rd, rd->fi);
    enum st st = later_file_proves(rd, rd_lsn(rd, rd->fi, rd->off), more_out);
    if (st != ST_OK || !*more_out) {
        return st;
    }
    if (f->h.base_lsn + f->h.size > rd->from_lsn) {
        rd_damage(rd, JR_DAMAGE_GROUP, 0, 0, 0, true, "journal file %llu ends early, at lsn %llu",
                  (unsigned long long)f->h.file_no,
                  (unsigned long long)rd_lsn(rd, rd->fi, rd->off));
        lost_blindly(rd);
    }
    next_file(rd);
    return ST_OK;
}

static enum st walk_place(struct jr_rd *rd, bool *more_out)
{
    size_t k = void_until(rd, rd->fi, rd_lsn(rd, rd->fi, rd->off));
    if (k != 0) { /* an earlier recovery ended here; what it dropped stays dropped */
        rd->fi = k;
        rd->off = JR_FIRST_OFF;
        rd->chain_known = false;
        return rd_batches_end(rd);
    }
    const struct jr_file *f = rd_file(rd, rd->fi);
    if (f->unreadable) {
        if (f->h.base_lsn + f->h.size > rd->from_lsn) {
            rd_damage(rd, JR_DAMAGE_FILE_MISSING, 0, 0, 0, true,
                      "both headers of journal file %llu are unreadable",
                      (unsigned long long)f->h.file_no);
            lost_blindly(rd);
        }
        if (rd->fi + 1 == rd->files->n) {
            rd->off = f->h.size;
            *more_out = false;
        } else {
            next_file(rd);
        }
        return ST_OK;
    }
    if (rd->off + JG_ALIGN > rd_end_off(rd, rd->fi)) {
        return walk_file_end(rd, more_out);
    }
    return walk_step(rd, more_out);
}

/* The walk from the checkpoint to the end. */
static enum st rd_walk(struct jr_rd *rd)
{
    check_reach(rd);
    if (rd->files->n == 0) {
        rd->out->end_lsn = align_up(u64_max(rd->from_lsn, rd->hint_lsn), JF_PAGE);
        return ST_OK;
    }
    rd->fi = start_file(rd);
    rd->off = JR_FIRST_OFF;
    report_headers(rd, rd->fi);
    enum st st = probe_old_files(rd, rd->fi);
    bool more = true;
    while (st == ST_OK && more && rd->fi < rd->files->n && !clean_end(rd)) {
        st = walk_place(rd, &more);
    }
    if (st != ST_OK) {
        return st;
    }
    if (rd->fi < rd->files->n) {
        rd->out->end_lsn = rd_lsn(rd, rd->fi, rd->off);
    } else {
        const struct jf_header *h = &rd_file(rd, rd->files->n - 1)->h;
        rd->out->end_lsn = h->base_lsn + h->size;
    }
    if (rd->hint_lsn > rd->out->end_lsn) {
        rd_damage(rd, JR_DAMAGE_FILE_MISSING, 0, 0, 0, true,
                  "the journal ends at lsn %llu, a clean stop ended at %llu",
                  (unsigned long long)rd->out->end_lsn, (unsigned long long)rd->hint_lsn);
        lost_blindly(rd);
    }
    return rd_batches_end(rd);
}

/* --- entry points ----------------------------------------------------------------------------- */

/* Files without a readable header lie between their neighbours. */
static void place_unreadable(struct jr_files *fs, uint64_t from_lsn)
{
    for (size_t i = 0; i < fs->n; i++) {
        struct jr_file *f = &fs->v[i];
        if (!f->unreadable) {
            continue;
        }
        f->h.base_lsn = from_lsn & ~(uint64_t)(JF_PAGE - 1);
        if (i > 0) {
            f->h.base_lsn = fs->v[i - 1].h.base_lsn + fs->v[i - 1].h.size;
        } else if (fs->n > 1 && !fs->v[1].unreadable) {
            f->h.base_lsn = fs->v[1].h.base_lsn - u64_min(fs->v[1].h.base_lsn, f->h.size);
        }
        if (i + 1 < fs->n && !fs->v[i + 1].unreadable && fs->v[i + 1].h.base_lsn >= f->h.base_lsn) {
            f->h.size = fs->v[i + 1].h.base_lsn - f->h.base_lsn;
        }
    }
}

/* After a failed sync the page cache may show what the device does not hold, and the next sync
 * would say it is well. Whatever was not synced lies in the last file that holds groups: ROTATE is
 * synced before the next one gets its first. */
static enum st forget_cache(struct jr_rd *rd)
{
    for (size_t i = rd->files->n; i > 0; i--) {
        struct jr_frame fr = {0};
        struct jr_file *f = rd_file(rd, i - 1);
        env_drop_cache(rd->env, f->f, 0, f->h.size);
        enum st st = f->unreadable ? ST_OK : rd_frame(rd, i - 1, JR_FIRST_OFF, &fr);
        if (st == ST_UNSUPPORTED) { /* there is a group; whether it counts is for the walk to say */
            err_clear(rd->err);
            return ST_OK;
        }
        if (st != ST_OK || fr.head_ok) {
            return st;
        }
    }
    return ST_OK;
}

static enum st recover_sync(struct jr *jr, size_t from, struct err *err)
{
    for (size_t i = from; i < jr->files.n; i++) {
        enum st st = env_datasync(jr->env, jr->files.v[i].f, err);
        if (st != ST_OK) {
            err_prefix(err, "journal file %llu", (unsigned long long)jr->files.v[i].h.file_no);
            return st;
        }
    }
    return ST_OK;
}

enum st jr_recover(struct jr *jr, uint64_t checkpoint_lsn, uint64_t end_lsn_hint,
                   const struct jr_visitor *v, struct jr_recovered *out, struct err *err)
{
    ASSERT(!jr->recovered);
    *out = (struct jr_recovered){.next_gid_min = 1};
    place_unreadable(&jr->files, checkpoint_lsn);
    struct jr_rd rd = {.env = jr->env,
                       .opts = &jr->opts,
                       .files = &jr->files,
                       .v = v,
                       .out = out,
                       .from_lsn = checkpoint_lsn,
                       .hint_lsn = end_lsn_hint,
                       .err = err};
    memcpy(rd.boot_id, jr->boot_id, 16);
    enum st st = forget_cache(&rd);
    if (st == ST_OK) {
        st = rd_walk(&rd);
    }
    size_t from = jr->files.n > 0 ? start_file(&rd) : 0;
    rd_fini(&rd);
    if (st == ST_OK) {
        st = recover_sync(jr, from, err);
    }
    if (st != ST_OK) {
        return st;
    }
    atomic_store(&jr->checkpoint_lsn, checkpoint_lsn);
    atomic_store(&jr->meta_gen, out->meta_gen_max);
    out->files = jr->files.n;
    jr->rec = *out;
    jr->recovered = true;
    return ST_OK;
}

enum st jr_check(struct env *env, const struct jr_opts *opts, uint64_t checkpoint_lsn,
                 uint64_t end_lsn_hint, const struct jr_visitor *v, struct jr_check_report *out,
                 struct err *err)
{
    struct jr_files files = {0};
    struct jr_spare *spares = NULL;
    size_t nspares = 0;
    uint64_t max_file_no;
    uint64_t max_spare;
    struct jr_recovered rec = {0};
    *out = (struct jr_check_report){0};
    enum st st = jr_files_load(env, opts->dir, opts->store_uuid, &files, &spares, &nspares,
                               &max_file_no, &max_spare, err);
    base_free(spares);
    if (st == ST_OK) {
        place_unreadable(&files, checkpoint_lsn);
        struct jr_rd rd = {.env = env,
                           .opts = opts,
                           .files = &files,
                           .v = v,
                           .out = &rec,
                           .report = out,
                           .from_lsn = checkpoint_lsn,
                           .hint_lsn = end_lsn_hint,
                           .err = err};
        env_boot_id(env, rd.boot_id);
        st = rd_walk(&rd);
        rd_fini(&rd);
        out->torn_bytes = rec.torn_bytes;
    }
    jr_files_fini(env, &files);
    return st;
}
