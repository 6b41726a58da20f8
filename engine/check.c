/* Offline check of a whole store: every checksum of every file, each finding with its place
 * (jsadmin check). */
#include "engine/eng.h"
#include "engine/extent.h"

#include <stdio.h>

#include "engine/quarantine.h"

struct check {
    struct eng *e;
    eng_finding_fn fn;
    void *arg;
    struct eng_check_report *out;
};

static void finding(struct check *k, const char *object, const char *text, bool lost)
{
    k->out->findings++;
    k->fn(k->arg, object, text, lost);
}

static void store_finding(void *arg, const char *file, const char *text)
{
    finding(arg, file, text, false);
}

static void cat_finding(void *arg, const char *what, const char *text)
{
    finding(arg, what, text, false);
}

static void seg_finding(void *arg, enum seg_damage_cause cause, const struct seg_row *row,
                        uint64_t off, uint64_t lo, uint64_t hi, bool lost, const char *text)
{
    struct check *k = arg;
    char object[128], line[400];
    snprintf(object, sizeof object, "segment s/%08x/%llu.%u.seg at %llu", row->gid,
             (unsigned long long)row->segno, row->gen, (unsigned long long)off);
    snprintf(line, sizeof line, "%s: %s (sequences %llu to %llu)", seg_damage_text(cause), text,
             (unsigned long long)lo, (unsigned long long)hi);
    finding(k, object, line, lost);
}

static void journal_finding(void *arg, enum jr_damage_cause cause, uint32_t gid, uint64_t lo,
                            uint64_t hi, bool lost, const char *text)
{
    struct check *k = arg;
    char object[64];
    (void)cause, (void)lo, (void)hi;
    snprintf(object, sizeof object, gid != 0 ? "journal, stream %u" : "journal", gid);
    finding(k, object, text, lost);
}

static enum st nothing(void *arg, uint64_t lsn, const struct rec *r, const uint8_t *bytes,
                       struct jr_chunk *chunk, uint64_t wall_ns, struct err *err)
{
    (void)arg, (void)lsn, (void)r, (void)bytes, (void)chunk, (void)wall_ns, (void)err;
    return ST_OK;
}

static enum st check_extent(void *arg, uint64_t lsn, uint32_t gid, const struct msg *m,
                            const struct msg_extent *x, uint8_t *out, size_t len, struct err *err)
{
    struct check *k = arg;
    const struct store_stream *s = eng_stream_by_gid(k->e, gid);
    if (s == NULL || s->dropped || lsn <= s->flushed_lsn) {
        return ST_NOTFOUND;
    }
    return segs_read_extent(k->e->segs, gid, x, m->seq, out, len, err);
}

static void no_claim(void *arg, uint32_t gid, uint64_t last_seq, uint64_t floor,
                     const struct seq_runs *removed)
{
    (void)arg, (void)gid, (void)last_seq, (void)floor, (void)removed;
}

static enum st check_segments(struct check *k, struct err *err)
{
    struct seg_visitor v = {.arg = k, .damage = seg_finding};
    struct seg_check_report r = {0};
    for (size_t i = 0; i < k->e->ngids; i++) {
        const struct store_stream *s = k->e->by_gid[i];
        for (size_t n = 0; s->segs != NULL && n < s->segs->n; n++) {
            enum st st = seg_check(k->e->segs, &s->segs->v[n]->row, &v, &r, err);
            if (st != ST_OK) {
                return st;
            }
        }
    }
    k->out->segments = r.files;
    k->out->blocks = r.blocks;
    k->out->bytes += r.bytes;
    return ST_OK;
}

static enum st check_journal(struct check *k, struct err *err)
{
    struct eng *e = k->e;
    struct jr_opts jo = {.dir = e->journal_dir,
                         .crc_seed = e->ident.crc_seed,
                         .file_min_bytes = e->opts.journal_file_min_bytes,
                         .file_max_bytes = e->opts.journal_file_max_bytes,
                         .window_bytes = e->opts.journal_window_bytes};
    memcpy(jo.store_uuid, e->ident.store_uuid, 16);
    struct jr_visitor v = {.arg = k,
                           .record = nothing,
                           .extent = check_extent,
                           .claim = no_claim,
                           .damage = journal_finding};
    struct jr_check_report r = {0};
    enum st st = jr_check(e->env, &jo, e->load_checkpoint_lsn, e->load_end_lsn, &v, &r, err);
    k->out->journal_files = r.files;
    k->out->journal_groups = r.groups;
    k->out->records = r.records;
    k->out->bytes += r.bytes;
    k->out->torn_bytes = r.torn_bytes;
    return st;
}

enum st eng_quarantine(struct store *store, bool remove, eng_quarantined_fn fn, void *arg,
                       struct err *err)
{
    struct eng *e = eng_of(store);
    struct quarantine_list l;
    enum st st = remove ? quarantine_empty(e->env, e->root, &l, err)
                        : quarantine_list(e->env, e->root, &l, err);
    if (st == ST_OK) {
        for (size_t i = 0; i < l.n; i++) {
            fn(arg, l.v[i].name, l.v[i].bytes, l.v[i].since_ns);
        }
        quarantine_list_fini(&l);
    }
    return st;
}

static enum st check_quarantine(struct check *k, struct err *err)
{
    struct quarantine_list l;
    enum st st = quarantine_list(k->e->env, k->e->root, &l, err);
    if (st == ST_OK) {
        k->out->quarantine_files = l.n;
        k->out->quarantine_bytes = l.bytes;
        quarantine_list_fini(&l);
    }
    return st;
}

enum st eng_check(struct store *store, eng_finding_fn fn, void *arg, struct eng_check_report *out,
                  struct err *err)
{
    struct check k = {.e = eng_of(store), .fn = fn, .arg = arg, .out = out};
    struct store_ident ident;
    struct cat_verify_sum sum = {0};
    memset(out, 0, sizeof *out);
    ASSERT(k.e->opts.read_only_check);
    enum st st = store_file_check(k.e->env, k.e->root, &ident, store_finding, &k, err);
    if (st == ST_OK) {
        st = check_segments(&k, err);
    }
    if (st == ST_OK) {
        st = check_journal(&k, err);
    }
    if (st == ST_OK) {
        st = check_quarantine(&k, err);
    }
    if (st == ST_OK) {
        /* Everything is loaded; the files are verified with nobody else on them. */
        cat_close(k.e->cat, false);
        k.e->cat = NULL;
        struct cat_opts co = {.root = k.e->root,
                              .store_uuid = k.e->ident.store_uuid,
                              .crc_seed = k.e->ident.crc_seed};
        st = cat_verify(k.e->env, &co, cat_finding, &k, &sum, err);
        out->catalogue_pages = sum.pages;
    }
    return st;
}

void eng_stream_space(struct store_stream *s, uint64_t *segments_out, uint64_t *segment_bytes_out,
                      uint64_t *tail_msgs_out)
{
    *segments_out = s->segs != NULL ? s->segs->n : 0;
    *segment_bytes_out = 0;
    for (size_t i = 0; i < *segments_out; i++) {
        *segment_bytes_out += s->segs->v[i]->row.durable_len;
    }
    *tail_msgs_out = s->tail.msgs;
}
