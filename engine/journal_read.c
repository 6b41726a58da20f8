/* Reading journal files for recovery and check: bytes, frames, the look forward (journal_read.h).
 *
 * Groups are read straight into chunks, which the visitor may keep: the tail after a restart is
 * what was read. */
#include "engine/journal_read.h"

#include <stdarg.h>
#include <stdio.h>

#define SCAN_BYTES MIB

void rd_fini(struct jr_rd *rd)
{
    if (rd->chunk != NULL) {
        jr_chunk_release(rd->chunk);
    }
    rd_batches_fini(rd);
    base_free(rd->scan_buf);
    base_free(rd->chains);
    base_free(rd->recs);
}

void rd_damage(struct jr_rd *rd, enum jr_damage_cause cause, uint32_t gid, uint64_t lo, uint64_t hi,
               bool lost, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    rd->out->damaged = true;
    if (rd->fi < rd->files->n) {
        rd_file(rd, rd->fi)->damaged = true;
    }
    if (rd->report != NULL) {
        rd->report->damaged_records += cause == JR_DAMAGE_RECORD ? 1 : 0;
        rd->report->damaged_groups += cause != JR_DAMAGE_RECORD ? 1 : 0;
    }
    if (rd->v->damage != NULL) {
        rd->v->damage(rd->v->arg, cause, gid, lo, hi, lost, text);
    }
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* Reads what can be read, page by page where the device refuses; the rest is zero and fails its
 * checksums. */
static void read_all(struct jr_rd *rd, size_t fi, uint64_t off, uint8_t *buf, size_t len)
{
    struct env_file *f = rd_file(rd, fi)->f;
    size_t got = 0;
    struct err err = {0};
    if (env_pread(rd->env, f, buf, len, off, &got, &err) == ST_OK) {
        memset(buf + got, 0, len - got);
        return;
    }
    log_wrn("journal: reading page by page after an error: %s", err.msg);
    for (size_t at = 0; at < len; at += JF_PAGE) {
        size_t n = len - at < JF_PAGE ? len - at : JF_PAGE;
        got = 0;
        if (env_pread(rd->env, f, buf + at, n, off + at, &got, NULL) != ST_OK) {
            got = 0;
        }
        memset(buf + at + got, 0, n - got);
    }
}

static enum st chunk_for(struct jr_rd *rd, size_t want)
{
    if (rd->chunk != NULL) {
        bool ours = atomic_load(&rd->chunk->refs) == 1; /* nobody kept it: read over it */
        if (ours && rd->chunk->cap >= want) {
            return ST_OK;
        }
        jr_chunk_release(rd->chunk);
    }
    rd->chunk = jr_chunk_create(NULL, want);
    return rd->chunk != NULL
               ? ST_OK
               : err_set(rd->err, ST_NOMEM, 0, "journal: no memory to read %zu bytes", want);
}

enum st rd_map(struct jr_rd *rd, size_t fi, uint64_t off, size_t len, const uint8_t **p_out)
{
    uint64_t end = u64_max(rd_end_off(rd, fi), off + len);
    ASSERT(len <= UINT32_MAX);
    if (rd->chunk == NULL || rd->chunk_file != fi || off < rd->chunk_off ||
        off + len > rd->chunk_off + rd->chunk->used) {
        size_t want = (size_t)u64_min(
            end - off, len > LIM_JOURNAL_CHUNK_BYTES ? len : LIM_JOURNAL_CHUNK_BYTES);
        enum st st = chunk_for(rd, want);
        if (st != ST_OK) {
            return st;
        }
        read_all(rd, fi, off, rd->chunk->base, want);
        rd->chunk->used = want;
        rd->chunk_file = fi;
        rd->chunk_off = off;
    }
    *p_out = rd->chunk->base + (off - rd->chunk_off);
    return ST_OK;
}

/* --- frames ----------------------------------------------------------------------------------- */

static bool frame_fits(struct jr_rd *rd, size_t fi, uint64_t off, const struct jg_header *h)
{
    return h->lsn == rd_lsn(rd, fi, off) && off + h->total_len <= rd_end_off(rd, fi);
}

static enum st refuse(struct jr_rd *rd, size_t fi, uint64_t off)
{
    return err_set(rd->err, ST_UNSUPPORTED, 0,
                   "journal file %llu, group at %llu: uses a codec, cipher or field this version "
                   "does not serve",
                   (unsigned long long)rd_file(rd, fi)->h.file_no, (unsigned long long)off);
}

enum st rd_frame(struct jr_rd *rd, size_t fi, uint64_t off, struct jr_frame *fr_out)
{
    const uint8_t *p;
    uint32_t seed = rd_file(rd, fi)->seed;
    *fr_out = (struct jr_frame){0};
    enum st st = rd_map(rd, fi, off, JG_ALIGN, &p);
    if (st != ST_OK) {
        return st;
    }
    struct jg_header h;
    st = jg_get(p, false, seed, &h);
    if (st == ST_UNSUPPORTED) {
        return refuse(rd, fi, off);
    }
    if (st != ST_OK || !frame_fits(rd, fi, off, &h)) {
        return ST_OK;
    }
    fr_out->head_ok = true;
    fr_out->h = h;
    st = rd_map(rd, fi, off, h.total_len, &p);
    if (st != ST_OK) {
        return st;
    }
    struct jg_header t;
    st = jg_get(p + h.total_len - JG_FRAME, true, seed, &t);
    fr_out->tail_ok =
        st == ST_OK && t.lsn == h.lsn && t.hdr_crc == h.hdr_crc && t.total_len == h.total_len;
    return ST_OK;
}

/* --- the look forward ------------------------------------------------------------------------- */

static void scan_later(struct jr_rd *rd, size_t fi, const struct jg_header *h, struct jr_scan *sc)
{
    if (!sc->later) {
        sc->later = true;
        sc->later_off = h->lsn - rd_file(rd, fi)->h.base_lsn;
        sc->later_seq = h->group_seq;
    }
    sc->max_durable = u64_max(sc->max_durable, h->durable_seq);
    sc->bytes += h->total_len;
}

/* One page. Returns how far to go on. */
static uint64_t scan_page(struct jr_rd *rd, size_t fi, const uint8_t *p, uint64_t off, uint64_t lsn,
                          struct jr_scan *sc)
{
    uint32_t seed = rd_file(rd, fi)->seed;
    struct jg_header h;
    if (jg_get(p, false, seed, &h) == ST_OK && frame_fits(rd, fi, off, &h) && h.lsn > lsn) {
        scan_later(rd, fi, &h, sc);
        return h.total_len;
    }
    if (jg_get(p + JG_ALIGN - JG_FRAME, true, seed, &h) != ST_OK ||
        h.total_len > off + JG_ALIGN - JR_FIRST_OFF ||
        h.lsn != rd_lsn(rd, fi, off + JG_ALIGN - h.total_len)) {
        return JG_ALIGN;
    }
    if (h.lsn == lsn) {
        sc->own_tail = true;
        sc->own = h;
    } else if (h.lsn > lsn) {
        scan_later(rd, fi, &h, sc);
    }
    return JG_ALIGN;
}

enum st rd_scan(struct jr_rd *rd, size_t fi, uint64_t off, uint64_t end, uint64_t lsn,
                struct jr_scan *sc)
{
    if (rd->scan_buf == NULL) {
        rd->scan_buf = base_malloc(SCAN_BYTES);
    }
    while (off < end) {
        size_t n = (size_t)u64_min(SCAN_BYTES, end - off);
        read_all(rd, fi, off, rd->scan_buf, n);
        uint64_t at = 0;
        while (at + JG_ALIGN <= n) {
            at += scan_page(rd, fi, rd->scan_buf + at, off + at, lsn, sc);
        }
        off += u64_max(at, n);
    }
    return ST_OK;
}

/* --- chains ----------------------------------------------------------------------------------- */

static struct jr_chain *chain_slot(struct jr_rd *rd, uint32_t gid)
{
    size_t i = (gid * 2654435761u) & (rd->chains_cap - 1);
    while (rd->chains[i].used && rd->chains[i].gid != gid) {
        i = (i + 1) & (rd->chains_cap - 1);
    }
    return &rd->chains[i];
}

struct jr_chain *rd_chain(struct jr_rd *rd, uint32_t gid)
{
    struct jr_chain *c = rd->chains_cap != 0 ? chain_slot(rd, gid) : NULL;
    return c != NULL && c->used ? c : NULL;
}

static void chains_grow(struct jr_rd *rd)
{
    struct jr_chain *old = rd->chains;
    size_t old_cap = rd->chains_cap;
    rd->chains_cap = old_cap == 0 ? 64 : old_cap * 2;
    rd->chains = base_calloc(rd->chains_cap, sizeof(*rd->chains));
    for (size_t i = 0; i < old_cap; i++) {
        if (old[i].used) {
            *chain_slot(rd, old[i].gid) = old[i];
        }
    }
    base_free(old);
}

void rd_chain_set(struct jr_rd *rd, const struct ji_entry *e)
{
    if (rd->nchains * 2 >= rd->chains_cap) {
        chains_grow(rd);
    }
    struct jr_chain *c = chain_slot(rd, e->gid);
    rd->nchains += c->used ? 0 : 1;
    *c = (struct jr_chain){
        .gid = e->gid, .used = true, .next_oseq = e->first_oseq + e->nrec, .last_seq = e->last_seq};
}
