/* Recovery (RULES.md, "Start", steps 2-6): catalogue rows and segment sections give the state of
 * the last checkpoint, the journal's tail brings it up to date through the same functions that
 * wrote it, and what had to be left out is reported.
 *
 * Nothing here deletes or resets anything because something else is missing: what cannot be read is
 * damage of the stream it belongs to. */
#include "engine/checkpoint.h"
#include "engine/compact.h"
#include "engine/extent.h"

#include <stdio.h>

#include "engine/base/log.h"
#include "engine/config.h"
#include "engine/snapshot.h"

struct load {
    struct eng *e;
    uint64_t checkpoint_lsn, end_lsn;
    struct store_stream *s; /* whose segments are being loaded */
};

/* --- rows ------------------------------------------------------------------------------------- */

static enum st load_stream(void *arg, const struct cat_stream *row, struct err *err)
{
    struct load *l = arg;
    struct stream_cfg cfg;
    struct cfg_head head = {0};
    bool dropped = row->name.data == NULL;
    if (dropped) {
        stream_cfg_init(&cfg);
        cfg.account = base_strndup(row->account.data, row->account.len);
        cfg.name = base_strdup("");
        cfg.storage = (enum store_storage)row->storage;
    } else {
        enum st st = stream_cfg_decode(row->cfg.data, row->cfg.len, &head, &cfg);
        if (st != ST_OK) {
            return err_set(err, st, 0, "catalogue: config of stream %u cannot be read", row->gid);
        }
    }
    struct store_stream *s = stream_make(l->e, row->gid, &cfg, row->cfg_version, row->created_ns);
    stream_cfg_fini(&cfg);
    s->next_sub = row->next_sub != 0 ? row->next_sub : 1;
    s->dropped = dropped;
    s->drop_lsn = row->drop_lsn;
    eng_stream_add(l->e, s);
    if (dropped) {
        s->tomb_generation = cat_generation(l->e->cat);
        l->e->ckpt->tombstones_wait = true;
    } else {
        eng_stream_link(l->e, s);
    }
    return ST_OK;
}

static enum st load_stream_ckpt(void *arg, const struct cat_stream_ckpt *row, struct err *err)
{
    struct load *l = arg;
    struct store_stream *s = eng_stream_by_gid(l->e, row->gid);
    if (s == NULL || s->dropped) {
        return ST_OK;
    }
    s->flushed_lsn = s->last_lsn = s->newest_lsn = row->flushed_lsn;
    s->oseq = row->oseq;
    s->last_ts_ns = row->last_ts_ns;
    if (s->memory) {
        s->reserved_seq = row->last_seq;
        return ST_OK;
    }
    const uint8_t *ids, *rest;
    size_t ids_len, rest_len;
    uint64_t fresh_seed = s->id_seed;
    size_t column_len = row->dedup.len;
    const uint8_t *column = window_unwrap(s, row->dedup.data, &column_len);
    if (schedset_unwrap(&s->scheds, column, column_len, &rest, &rest_len) != ST_OK ||
        srcpos_unwrap(&s->sources, rest, rest_len, &ids, &ids_len) != ST_OK ||
        dedup_decode(s->dedup, ids, ids_len, err) != ST_OK) {
        stream_note_damage(
            s, 0, 0,
            "the duplicate window in the catalogue cannot be read; duplicates may be taken");
    }
    if (dedup_count(s->dedup) == 0 && s->id_seed == l->e->ident.crc_seed) {
        s->id_seed = fresh_seed;
    }
    /* The tail comes last, when the segments are in: keep it. */
    s->flushed_seq = row->tail.len >= 8 ? get_u64le(row->tail.data) : row->last_seq;
    liveset_fini(s->live);
    uint64_t first = u64_max(row->first_seq, 1);
    if (first <= s->flushed_seq) {
        liveset_init(s->live, first, s->flushed_seq);
    } else {
        liveset_init(s->live, first, first - 1);
    }
    s->first_seq = s->ckpt_first_seq = first;
    s->last_seq = u64_max(s->flushed_seq, first - 1);
    s->load_last_seq = row->last_seq;
    s->load_tail = base_malloc(row->tail.len + 1);
    s->load_tail_len = row->tail.len;
    memcpy(s->load_tail, row->tail.data != NULL ? row->tail.data : "", row->tail.len);
    return ST_OK;
}

static enum st load_consumer(void *arg, const struct cat_consumer *row, struct err *err)
{
    struct load *l = arg;
    struct store_stream *s = eng_stream_by_gid(l->e, row->gid);
    struct cons_cfg cfg;
    struct cfg_head head;
    if (s == NULL || s->dropped) {
        return ST_OK;
    }
    enum st st = cons_cfg_decode(row->cfg.data, row->cfg.len, &head, &cfg);
    if (st != ST_OK) {
        return err_set(err, st, 0,
                       "catalogue: config of consumer %u of stream \"%s\" cannot be read", row->sub,
                       s->cfg.name);
    }
    cons_make(s, row->sub, &cfg, row->cfg_version, row->created_ns, false);
    s->next_sub = row->sub >= s->next_sub ? row->sub + 1 : s->next_sub;
    cons_cfg_fini(&cfg);
    return ST_OK;
}

static enum st load_consumer_ckpt(void *arg, const struct cat_consumer_ckpt *row, struct err *err)
{
    struct load *l = arg;
    struct store_stream *s = eng_stream_by_gid(l->e, row->gid);
    struct store_cons *c = s != NULL && !s->dropped ? cons_by_sub(s, row->sub) : NULL;
    return c != NULL ? cons_load(c, row->blob.data, row->blob.len, err) : ST_OK;
}

static enum st load_segdel(void *arg, const struct cat_segdel *row, struct err *err)
{
    struct load *l = arg;
    struct store_stream *s = eng_stream_by_gid(l->e, row->gid);
    struct seq_runs runs = {0};
    size_t used;
    if (s == NULL || s->dropped) {
        return ST_OK;
    }
    if (seq_runs_get(row->runs.data, row->runs.len, &used, &runs) != ST_OK) {
        seq_runs_fini(&runs);
        return err_set(err, ST_CORRUPT, 0, "catalogue: delete runs of stream \"%s\" cannot be read",
                       s->cfg.name);
    }
    if (row->segno == SEGDEL_RELEASE) {
        seq_runs_fini(&runs);
        s->release_owed = s->release_saved = true;
        return ST_OK;
    }
    if (row->segno == SEGDEL_ERASE) {
        seq_runs_fini(&s->erase);
        s->erase = runs;
        s->erase_saved = true;
        return ST_OK;
    }
    for (size_t i = 0; i < runs.n; i++) {
        liveset_remove_run(s->live, runs.v[i].first, runs.v[i].count);
    }
    seq_runs_fini(&runs);
    if (s->segs == NULL) {
        s->segs = base_calloc(1, sizeof *s->segs);
        s->segs->next_segno = 1;
    }
    s->segs->segdel_parts =
        row->part + 1 > s->segs->segdel_parts ? row->part + 1 : s->segs->segdel_parts;
    return ST_OK;
}

static enum st load_lane(void *arg, const struct cat_lane *row, struct err *err)
{
    struct load *l = arg;
    (void)err;
    l->checkpoint_lsn = row->checkpoint_lsn;
    l->end_lsn = row->end_lsn;
    return ST_OK;
}

static enum st load_damage(void *arg, const struct cat_damage *row, struct err *err)
{
    struct load *l = arg;
    char text[256];
    (void)err;
    snprintf(text, sizeof text, "%.*s", (int)row->cause.len, (const char *)row->cause.data);
    eng_note_damage(l->e, row->gid, row->lo, row->hi, text);
    struct store_stream *s = eng_stream_by_gid(l->e, row->gid);
    if (s != NULL) {
        s->damage_saved = s->ndamage;
    }
    return ST_OK;
}

/* --- segments --------------------------------------------------------------------------------- */

static void seg_subject(void *arg, const uint8_t *subj, size_t len, const uint64_t *seqs,
                        const uint32_t *sizes, size_t n)
{
    struct load *l = arg;
    struct store_stream *s = l->s;
    size_t i = 0;
    while (i < n) {
        /* Runs of live ones are loaded at once; dead ones are stepped over. */
        while (i < n && !liveset_is_live(s->live, seqs[i])) {
            i++;
        }
        size_t from = i;
        while (i < n && liveset_is_live(s->live, seqs[i])) {
            i++;
        }
        if (i == from) {
            continue;
        }
        const struct sidx_entry *entry = sidx_find(s->idx, (const char *)subj, len);
        if (entry != NULL && sidx_last(entry) >= seqs[from]) {
            continue; /* a rebuilt section told it already */
        }
        sidx_load(s->idx, (const char *)subj, len, seqs + from, i - from);
        uint32_t id = sidx_id(sidx_find(s->idx, (const char *)subj, len));
        for (size_t k = from; k < i; k++) {
            msgmap_set(&s->map, seqs[k], id, sizes[k]);
            s->bytes += sizes[k];
        }
        s->msgs += i - from;
    }
}

static void seg_ttl(void *arg, uint64_t seq, int64_t expire_ns)
{
    struct load *l = arg;
    if (liveset_is_live(l->s->live, seq)) {
        stream_ttl_add(l->s, seq, expire_ns);
    }
}

static int64_t seg_expiry_of(void *arg, const struct msg *m)
{
    (void)arg;
    int64_t at = msg_expires_ns(m);
    return at == INT64_MAX ? 0 : at;
}

static void seg_damage(void *arg, enum seg_damage_cause cause, const struct seg_row *row,
                       uint64_t off, uint64_t lo, uint64_t hi, bool lost, const char *text)
{
    struct load *l = arg;
    char line[300];
    snprintf(line, sizeof line, "segment %llu at %llu: %s: %s%s", (unsigned long long)row->segno,
             (unsigned long long)off, seg_damage_text(cause), text,
             lost ? "; messages are lost" : "; nothing is lost");
    if (lost) {
        eng_note_damage(l->e, row->gid, lo, hi, line);
    } else {
        log_wrn("damage in stream %u: %s", row->gid, line);
        eng_note_damage(l->e, 0, lo, hi, line);
    }
}

static enum st load_segment(void *arg, const struct cat_segment *row, struct err *err)
{
    struct load *l = arg;
    struct store_stream *s = eng_stream_by_gid(l->e, row->gid);
    if (s == NULL || s->dropped) {
        return ST_OK;
    }
    struct seg_row r = {
        .gid = row->gid,
        .gen = row->gen,
        .segno = row->segno,
        .state = (enum seg_state)row->state,
        .created_generation = row->created_generation,
        .first_seq = row->first_seq,
        .last_seq = row->last_seq,
        .min_ts = row->min_ts_ns,
        .max_ts = row->max_ts_ns,
        .durable_len = row->durable_len,
        .nblocks = row->nblocks,
        .chain_crc = row->chain_crc,
        .last_section = row->last_section,
        .live_msgs = row->live_msgs,
        .live_bytes = row->live_bytes,
        .min_expiry = row->min_expiry_ns,
    };
    memcpy(r.seg_uuid, row->seg_uuid, sizeof r.seg_uuid);
    struct seg_visitor v = {.arg = l,
                            .subject = seg_subject,
                            .ttl = seg_ttl,
                            .expiry_of = seg_expiry_of,
                            .damage = seg_damage};
    struct seg_view *view;
    l->s = s;
    enum st st = seg_open(l->e->segs, &r, &v, &view, err);
    if (st == ST_OK) {
        ckpt_add_view(s, view);
    }
    return st;
}

/* What the sections do not know of is lost, and is said so; the rest of the state follows from what
 * was loaded. */
static enum st settle_stream(struct eng *e, struct store_stream *s, struct err *err)
{
    if (s->load_tail == NULL) {
        return ST_OK;
    }
    if (s->live->msgs != s->msgs) {
        uint64_t lost = 0, lo = 0, hi = 0;
        for (uint64_t seq = liveset_next(s->live, s->first_seq); seq != 0;
             seq = liveset_next(s->live, seq + 1)) {
            uint32_t id, size;
            if (!msgmap_get(&s->map, seq, &id, &size)) {
                liveset_remove(s->live, seq);
                lo = lost++ == 0 ? seq : lo;
                hi = seq;
            }
        }
        char text[160];
        snprintf(text, sizeof text, "%llu messages stand in no readable index",
                 (unsigned long long)lost);
        eng_note_damage(e, s->gid, lo, hi, text);
    }
    e->file_bytes += s->bytes;
    eng_account_add(s, s->bytes);
    uint8_t *tail = s->load_tail;
    s->load_tail = NULL;
    enum st st = ckpt_load_tail(s, tail, s->load_tail_len);
    base_free(tail);
    if (st != ST_OK) {
        eng_note_damage(e, s->gid, s->last_seq + 1, s->load_last_seq,
                        "the tail in the catalogue cannot be read");
    }
    stream_apply_skip(s, s->load_last_seq);
    liveset_tidy(s->live);
    s->first_seq = s->live->first;
    (void)err;
    return ST_OK;
}

enum st recover_load(struct eng *e, uint64_t *checkpoint_lsn_out, uint64_t *end_lsn_out,
                     struct err *err)
{
    struct load l = {.e = e};
    /* Deletes before segments: a section's messages are looked up in the liveset. */
    struct cat_loader first = {.stream = load_stream,
                               .stream_ckpt = load_stream_ckpt,
                               .consumer = load_consumer,
                               .consumer_ckpt = load_consumer_ckpt,
                               .segdel = load_segdel,
                               .lane = load_lane,
                               .damage = load_damage};
    struct cat_loader second = {.segment = load_segment};
    enum st st = cat_load(e->cat, &first, &l, err);
    if (st == ST_OK) {
        st = cat_load(e->cat, &second, &l, err);
    }
    for (size_t i = 0; i < e->ngids && st == ST_OK; i++) {
        st = settle_stream(e, e->by_gid[i], err);
    }
    *checkpoint_lsn_out = l.checkpoint_lsn;
    *end_lsn_out = l.end_lsn;
    e->ckpt->checkpoint_lsn = l.checkpoint_lsn;
    return st;
}

/* --- journal ---------------------------------------------------------------------------------- */

static enum st replay_cfg(struct eng *e, struct store_stream *s, const struct rec *r,
                          struct err *err)
{
    struct cfg_head head;
    if (r->sub == 0) {
        struct stream_cfg cfg;
        enum st st = stream_cfg_decode(r->body, r->body_len, &head, &cfg);
        if (st != ST_OK) {
            return err_set(err, st, 0, "config of stream %u cannot be read", r->gid);
        }
        if (s == NULL) {
            s = stream_make(e, r->gid, &cfg, head.cfg_version, head.created_ns);
            eng_stream_add(e, s);
            eng_stream_link(e, s);
            s->oseq = r->oseq;
        } else {
            bool named =
                strcmp(s->cfg.account, cfg.account) == 0; /* no import that gets its name */
            if (!named) {
                eng_stream_unlink(e, s);
                s->created_ns = head.created_ns;
            }
            stream_set_cfg(s, &cfg, head.cfg_version);
            if (!named) {
                eng_stream_link(e, s);
            }
        }
        stream_cfg_fini(&cfg);
        return ST_OK;
    }
    struct cons_cfg cfg;
    enum st st = cons_cfg_decode(r->body, r->body_len, &head, &cfg);
    if (st != ST_OK) {
        return err_set(err, st, 0, "config of consumer %u of stream %u cannot be read", r->sub,
                       r->gid);
    }
    struct store_cons *c = cons_by_sub(s, r->sub);
    if (c != NULL) {
        s->release_owed = s->release_owed || !cons_same_filters(cons_op_cfg(c), &cfg);
        cons_set_cfg(c, &cfg, head.cfg_version);
    } else {
        cons_make(s, r->sub, &cfg, head.cfg_version, head.created_ns, true);
        s->next_sub = r->sub >= s->next_sub ? r->sub + 1 : s->next_sub;
    }
    cons_cfg_fini(&cfg);
    return ST_OK;
}

static void replay_drop(struct eng *e, struct store_stream *s, const struct rec *r, uint64_t lsn)
{
    if (r->sub == 0) {
        s->dropped = true;
        s->drop_lsn = lsn;
        ckpt_stream_dropped(s);
        eng_stream_unlink(e, s);
        stream_gut(s);
        return;
    }
    struct store_cons *c = cons_by_sub(s, r->sub);
    if (c != NULL) {
        ckpt_consumer_dropped(s, r->sub);
        cons_free(c);
        s->release_owed = true;
    }
}

static void check_ordinal(struct eng *e, struct store_stream *s, const struct rec *r)
{
    uint32_t expected = (uint32_t)s->oseq + 1;
    if (r->oseq != expected) {
        char text[120];
        snprintf(text, sizeof text, "%u records of the journal are missing before sequence %llu",
                 r->oseq - expected, (unsigned long long)s->last_seq + 1);
        eng_note_damage(e, s->gid, 0, 0, text);
    }
    s->oseq += (uint32_t)(r->oseq - (uint32_t)s->oseq);
}

static enum st on_record(void *arg, uint64_t lsn, const struct rec *r, const uint8_t *bytes,
                         struct jr_chunk *chunk, uint64_t group_wall_ns, struct err *err)
{
    struct eng *e = arg;
    (void)group_wall_ns;
    struct store_stream *s = e->replay_last != NULL && e->replay_last->gid == r->gid
                                 ? e->replay_last
                                 : eng_stream_by_gid(e, r->gid);
    e->replay_last = s;
    e->next_gid = r->gid >= e->next_gid ? r->gid + 1 : e->next_gid;
    e->done_lsn = u64_max(e->done_lsn, lsn);
    if (s != NULL && (s->dropped || lsn <= s->flushed_lsn)) {
        return ST_OK;
    }
    bool create = r->type == REC_CFG && r->sub == 0;
    if (s == NULL && !create) {
        eng_note_damage(e, 0, r->gid, r->gid,
                        "records of a stream that neither catalogue nor journal made");
        return ST_OK;
    }
    if (s != NULL) {
        check_ordinal(e, s, r);
    }
    enum st st = ST_OK;
    if (r->type == REC_CFG) {
        st = replay_cfg(e, s, r, err);
        s = eng_stream_by_gid(e, r->gid);
        e->replay_last = s;
    } else if (r->type == REC_DROP) {
        replay_drop(e, s, r, lsn);
    } else {
        st = stream_replay(s, r, bytes, chunk, err);
        if (st ==
            ST_CORRUPT) { /* its checksum was good, its content makes no sense: said, not obeyed */
            eng_note_damage(e, s->gid, 0, 0, err->msg);
            st = ST_OK;
        }
    }
    if (s != NULL) {
        s->first_dirty_lsn = s->first_dirty_lsn != 0 ? s->first_dirty_lsn : lsn;
        s->newest_lsn = s->last_lsn = lsn;
        s->ckpt_dirty = true;
    }
    return st;
}

static enum st on_extent(void *arg, uint64_t lsn, uint32_t gid, const struct msg *m,
                         const struct msg_extent *x, uint8_t *out, size_t len, struct err *err)
{
    struct eng *e = arg;
    struct store_stream *s = eng_stream_by_gid(e, gid);
    if (s == NULL) {
        return err_set(err, ST_CORRUPT, 0, "neither catalogue nor journal made its stream");
    }
    if (s->dropped || lsn <= s->flushed_lsn) {
        return ST_NOTFOUND;
    }
    stream_make_extents(s);
    extents_referred(s->extents, x->segno, x->uuid);
    return segs_read_extent(e->segs, gid, x, m->seq, out, len, err);
}

static void on_claim(void *arg, uint32_t gid, uint64_t last_seq, uint64_t floor,
                     const struct seq_runs *removed)
{
    struct eng *e = arg;
    struct store_stream *s = eng_stream_by_gid(e, gid);
    if (s == NULL || s->dropped) {
        return;
    }
    stream_apply_removed(s, removed, NULL);
    if (!s->memory) {
        if (floor > s->first_seq && floor <= last_seq + 1) {
            stream_apply_floor(s, floor);
        }
        stream_apply_skip(s, last_seq);
    }
}

static void on_damage(void *arg, enum jr_damage_cause cause, uint32_t gid, uint64_t lo, uint64_t hi,
                      bool lost, const char *text)
{
    struct eng *e = arg;
    char line[300];
    (void)cause;
    snprintf(line, sizeof line, "journal: %s%s", text, lost ? "" : "; nothing is lost");
    eng_note_damage(e, lost ? gid : 0, lo, hi, line);
}

enum st recover_replay(struct eng *e, uint64_t checkpoint_lsn, uint64_t end_lsn, struct err *err)
{
    struct jr_visitor v = {
        .arg = e, .record = on_record, .extent = on_extent, .claim = on_claim, .damage = on_damage};
    e->done_lsn = e->load_checkpoint_lsn = checkpoint_lsn;
    e->load_end_lsn = end_lsn;
    enum st st = jr_recover(e->jr, checkpoint_lsn, end_lsn, &v, &e->recovered, err);
    /* All before the end has been seen: without this, a run that writes nothing could never let a
     * file go. */
    e->done_lsn = u64_max(e->done_lsn, e->recovered.end_lsn);
    if (e->recovered.next_gid_min > e->next_gid) {
        e->next_gid = (uint32_t)e->recovered.next_gid_min;
    }
    e->replay_last = NULL;
    return st;
}

/* --- after the new journal file is open ------------------------------------------------------- */

static enum st finish_stream(struct eng *e, struct store_stream *s)
{
    enum st st = ST_OK;
    if (s->memory) {
        uint64_t end = s->reserved_seq;
        if (end > s->last_seq) {
            stream_apply_skip(s, end);
        }
        s->reserved_done_seq = s->reserved_seq;
        st = stream_reserve_seqs(s);
        log_inf(
            "memory stream \"%s\" of account \"%s\" starts empty after the restart first_seq=%llu",
            s->cfg.name, s->cfg.account, (unsigned long long)s->first_seq);
    } else {
        uint64_t known = 0;
        for (size_t i = 0; i < s->ncons; i++) {
            known = u64_max(known, cons_max_seq(s->cons[i]));
        }
        if (known > s->last_seq) {
            uint8_t body[16] = {0};
            put_u64le(body, known);
            body[8] = REASON_RECOVERY;
            st = stream_log(s, REC_SKIP, 0, 0, body, sizeof body, NULL, true, true);
            eng_note_damage(e, s->gid, s->last_seq + 1, known,
                            "consumers know of sequences that are not there");
            stream_apply_skip(s, known);
        }
    }
    s->visible_seq = s->last_seq;
    for (size_t i = 0; i < s->ncons; i++) {
        cons_recovered(s->cons[i]);
    }
    cons_release_resume(s);
    stream_arm_expiry(s);
    return st;
}

enum st recover_finish(struct eng *e, struct err *err)
{
    for (size_t i = 0; i < e->nstreams; i++) {
        enum st st = finish_stream(e, e->by_name[i]);
        if (st != ST_OK) {
            return err_set(err, st, 0, "recover stream \"%s\": %s", e->by_name[i]->cfg.name,
                           st_text(st));
        }
    }
    enum st st = import_drop_left(e);
    jw_seal(e->jw);
    return st;
}
