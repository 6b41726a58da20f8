/* Admission of a publish: checks, then one record that holds the message and everything it evicts,
 * applied at once. Nothing is changed before the last check has passed; nothing fails after the
 * record was reserved. */
#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/base/subject.h"
#include "engine/msg_header.h"
#include "engine/stream_admit.h"

/* What a message pushes out. */
struct evict {
    struct seq_runs runs;
    uint64_t floor; /* 0 = unchanged */
    uint64_t msgs, bytes;
    uint64_t of_subject; /* the oldest so many of the message's own subject are in runs */
    bool unwanted;       /* nobody's interest: the message itself goes */
};

static uint32_t size_of(const struct store_stream *s, uint64_t seq)
{
    uint32_t id, size = 0;
    (void)msgmap_get(&s->map, seq, &id, &size);
    return size;
}

static void evict_seq(struct store_stream *s, struct evict *ev, uint64_t seq)
{
    seq_runs_add(&ev->runs, seq);
    ev->msgs++;
    ev->bytes += size_of(s, seq);
}

/* --- expected-*, dedup ------------------------------------------------------------------------ */

uint64_t stream_last_of(const struct store_stream *s, const char *subject, size_t len)
{
    if (subject_has_wildcard(subject, len)) {
        return sidx_last_match(s->idx, subject, len);
    }
    const struct sidx_entry *e = sidx_find(s->idx, subject, len);
    return e != NULL ? sidx_last(e) : 0;
}

static struct hash128 id_hash(const struct store_stream *s, const char *id, size_t len)
{
    return hash128(s->id_seed, id, len);
}

bool stream_is_duplicate(struct store_stream *s, const struct store_append *a, uint64_t *seq_out)
{
    if (a->msg_id == NULL || s->cfg.duplicates_ns <= 0) {
        return false;
    }
    dedup_expire(s->dedup, eng_now_ns(s->eng) - s->cfg.duplicates_ns);
    return dedup_find(s->dedup, id_hash(s, a->msg_id, a->msg_id_len), seq_out);
}

/* False: it was copied before, or something before it is missing. */
static bool source_in_order(const struct store_stream *s, const struct store_append *a)
{
    char key[SRCPOS_KEY_MAX];
    size_t len;
    uint64_t seq;
    if (!a->has_expected_source_seq) {
        return true;
    }
    if (!srcpos_parse(a->hdr, a->hdr_len, key, &len, &seq)) {
        return false;
    }
    uint64_t at = srcpos_get(&s->sources, key, len);
    return at == a->expected_source_seq && at < seq;
}

/* A duplicate from a source is done with: a record says so, for it may come again after a restart,
 * when its id has left the window. One that finds no room is passed over in memory alone. */
static void pass_source(struct store_stream *s, const struct store_append *a)
{
    char key[SRCPOS_KEY_MAX];
    size_t len;
    uint64_t seq;
    if (!a->has_expected_source_seq || !srcpos_parse(a->hdr, a->hdr_len, key, &len, &seq)) {
        return;
    }
    uint8_t body[24 + SRCPOS_KEY_MAX] = {0};
    put_u64le(body, s->last_seq);
    body[8] = REASON_SOURCE;
    put_u64le(body + 16, seq);
    memcpy(body + 24, key, len);
    srcpos_set(&s->sources, key, len, seq);
    if (!s->memory && stream_log(s, REC_SKIP, 0, 0, body, 24 + len, NULL, false, true) != ST_OK) {
        log_wrn("stream \"%s\": a duplicate from a source may come again after a restart",
                s->cfg.name);
    }
}

bool stream_replay_source(struct store_stream *s, const uint8_t *body, size_t len)
{
    if (len <= 24 || len > 24 + SRCPOS_KEY_MAX) {
        return false;
    }
    srcpos_set(&s->sources, (const char *)body + 24, len - 24, get_u64le(body + 16));
    return true;
}

bool stream_refused(const struct store_append *a, enum append_refuse here,
                    struct store_append_result *r)
{
    if (a->refuse == here) {
        r->verdict = APPEND_REFUSED;
    }
    return a->refuse == here;
}

bool stream_other_last_id(struct store_stream *s, const struct store_append *a,
                          struct store_append_result *r)
{
    if (a->expected_last_msgid != NULL) {
        size_t len;
        const char *last = dedup_last_id(s->dedup, &len);
        if (last == NULL || len != a->expected_last_msgid_len ||
            memcmp(last, a->expected_last_msgid, len) != 0) {
            r->verdict = APPEND_WRONG_LAST_MSGID; /* the caller adds the id */
            return true;
        }
    }
    return false;
}

/* True when the publish is settled (duplicate or refused); *r says how. The order is upstream's:
 * the subject's sequence, the stream's, duplicate, last id. */
static bool check_expected(struct store_stream *s, const struct store_append *a,
                           struct store_append_result *r)
{
    if (!source_in_order(s, a)) {
        r->verdict = APPEND_WRONG_LAST_SEQ;
        r->actual = s->last_seq;
        return true;
    }
    if (a->at_seq != 0) {
        bool wrong = a->at_seq <= s->last_seq ||
                     (a->has_expected_last_seq && a->expected_last_seq != s->last_seq);
        r->verdict = wrong ? APPEND_WRONG_LAST_SEQ : APPEND_STORED;
        r->actual = s->last_seq;
        return wrong;
    }
    if (a->has_expected_last_subj_seq) {
        const char *subject = a->expected_subject != NULL ? a->expected_subject : a->subject;
        size_t len = a->expected_subject != NULL ? a->expected_subject_len : a->subject_len;
        r->actual = stream_last_of(s, subject, len);
        if (r->actual != a->expected_last_subj_seq) {
            r->verdict = APPEND_WRONG_LAST_SUBJ_SEQ;
            return true;
        }
    }
    if (a->has_expected_last_seq && a->expected_last_seq != s->last_seq) {
        r->verdict = APPEND_WRONG_LAST_SEQ;
        r->actual = s->last_seq;
        return true;
    }
    if (stream_refused(a, REFUSE_AFTER_SEQS, r)) {
        return true;
    }
    if (stream_is_duplicate(s, a, &r->seq)) {
        r->verdict = APPEND_DUPLICATE;
        pass_source(s, a);
        return true;
    }
    return stream_other_last_id(s, a, r);
}

/* --- limits ----------------------------------------------------------------------------------- */

static bool over(int64_t limit, uint64_t value)
{
    return limit > 0 && value > (uint64_t)limit;
}

/* The oldest of the subject go until one more fits. */
static void evict_per_subject(struct store_stream *s, const struct sidx_entry *entry,
                              struct evict *ev)
{
    uint64_t count = sidx_count(entry), max = (uint64_t)s->cfg.max_msgs_per_subject;
    for (uint64_t i = 0; count + 1 > max + i; i++) {
        evict_seq(s, ev, sidx_nth(entry, i));
        ev->of_subject++;
    }
}

/* The sequence the message gets. */
static uint64_t next_seq(const struct store_stream *s, const struct store_append *a)
{
    return a->at_seq != 0 ? a->at_seq : s->last_seq + 1;
}

/* What a subject with wildcards matches, in no order. */
struct matched {
    uint64_t *seqs; /* owned */
    size_t n, cap;
};

static bool collect_matched(void *arg, const struct sidx_entry *e)
{
    struct matched *m = arg;
    for (uint64_t seq = sidx_first(e); seq != 0; seq = sidx_next(e, seq + 1)) {
        if (m->n == m->cap) {
            m->cap = m->cap == 0 ? 256 : m->cap * 2;
            m->seqs = base_realloc(m->seqs, m->cap * sizeof *m->seqs);
        }
        m->seqs[m->n++] = seq;
    }
    return true;
}

static int by_seq(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* A subject with wildcards, published to as if it were a literal one, stands for all it matches:
 * upstream purges by it. The runs are made anew in order, since what the limits have pushed out
 * (of the very subject, so it matches too) lies anywhere among the rest. */
static void evict_matched(struct store_stream *s, const struct store_append *a, struct evict *ev)
{
    struct matched m = {0};
    struct seq_runs limits = ev->runs;
    ev->runs = (struct seq_runs){0};
    sidx_match(s->idx, a->subject, a->subject_len, NULL, 0, collect_matched, &m);
    if (m.n > 1) {
        qsort(m.seqs, m.n, sizeof *m.seqs, by_seq);
    }
    for (size_t i = 0; i < m.n; i++) {
        if (seq_runs_has(&limits, m.seqs[i])) {
            seq_runs_add(&ev->runs, m.seqs[i]); /* counted before */
        } else if (m.seqs[i] >= ev->floor) {
            evict_seq(s, ev, m.seqs[i]);
        }
    }
    seq_runs_fini(&limits);
    base_free(m.seqs);
}

/* A marker replaces what was stored under its very name. */
static bool rolls_up_matches(const struct store_append *a)
{
    return (a->flags & MSG_MARKER) == 0 && subject_has_wildcard(a->subject, a->subject_len);
}

/* A rollup is a message like any other first: it comes on top of what the limits have pushed out.
 */
static void evict_rollup(struct store_stream *s, const struct store_append *a, struct evict *ev)
{
    if (a->rollup == 2) {
        ev->runs.n = 0;
        ev->floor = u64_max(ev->floor, next_seq(s, a));
        ev->msgs = s->msgs;
        ev->bytes = s->bytes;
        return;
    }
    if (rolls_up_matches(a)) {
        evict_matched(s, a, ev);
        return;
    }
    const struct sidx_entry *entry = sidx_find(s->idx, a->subject, a->subject_len);
    uint64_t i = entry != NULL ? ev->of_subject : 0; /* its oldest are among the runs already */
    for (; entry != NULL && i < sidx_count(entry); i++) {
        uint64_t seq = sidx_nth(entry, i);
        if (seq >= ev->floor) {
            evict_seq(s, ev, seq);
        }
    }
}

/* Takes from the front until the new message fits; it may push out itself (a message above
 * max_bytes). */
static void evict_front(struct store_stream *s, uint64_t own_seq, uint64_t size, struct evict *ev)
{
    uint64_t seq = liveset_next(s->live, s->first_seq);
    while (over(s->cfg.max_msgs, s->msgs - ev->msgs + 1) ||
           over(s->cfg.max_bytes, s->bytes - ev->bytes + size)) {
        if (seq == 0) {
            ev->floor = own_seq + 1;
            return;
        }
        if (!seq_runs_has(&ev->runs, seq)) {
            ev->msgs++;
            ev->bytes += size_of(s, seq);
        }
        ev->floor = seq + 1;
        seq = liveset_next(s->live, seq + 1);
    }
}

/* Discard new. A message that takes an older one's place in its subject passes max_msgs, and
 * max_bytes too unless it is larger than that one: upstream's rule. */
static enum append_verdict check_room(const struct store_stream *s,
                                      const struct sidx_entry *replaces, uint64_t size)
{
    const struct stream_cfg *cfg = &s->cfg;
    if (replaces == NULL && over(cfg->max_msgs, s->msgs + 1)) {
        return APPEND_MAX_MSGS;
    }
    if (over(cfg->max_bytes, s->bytes + size) &&
        (replaces == NULL || size_of(s, sidx_first(replaces)) < size)) {
        return APPEND_MAX_BYTES;
    }
    return APPEND_STORED;
}

/* own: a message of the stream's own that takes the place of one that is due to go. */
static bool plan_limits(struct store_stream *s, const struct store_append *a, bool own,
                        uint64_t size, struct evict *ev, struct store_append_result *r)
{
    const struct stream_cfg *cfg = &s->cfg;
    const struct sidx_entry *entry = NULL; /* the subject's, when it is at its limit */
    if (cfg->max_msgs_per_subject > 0) {
        entry = sidx_find(s->idx, a->subject, a->subject_len);
        if (entry != NULL && sidx_count(entry) < (uint64_t)cfg->max_msgs_per_subject) {
            entry = NULL;
        }
    }
    if (entry != NULL && cfg->discard == DISCARD_NEW && cfg->discard_new_per_subject &&
        a->rollup == 0) {
        r->verdict = APPEND_MAX_MSGS_PER_SUBJECT;
        return false;
    }
    if (cfg->discard == DISCARD_NEW && !own &&
        (r->verdict = check_room(s, entry, size)) != APPEND_STORED) {
        return false;
    }
    if (entry != NULL) {
        evict_per_subject(s, entry, ev);
    }
    if (cfg->discard == DISCARD_OLD) {
        evict_front(s, next_seq(s, a), size, ev);
    }
    if (a->rollup != 0) {
        evict_rollup(s, a, ev);
    }
    uint64_t used = s->memory ? s->eng->mem_bytes : s->eng->file_bytes;
    uint64_t max = s->memory ? s->eng->opts.max_mem_bytes : s->eng->opts.max_file_bytes;
    if (used - ev->bytes + size > max || (!s->memory && s->eng->low_space)) {
        r->verdict = s->memory ? APPEND_NO_MEMORY : APPEND_NO_STORE;
        return false;
    }
    return true;
}

/* --- interest --------------------------------------------------------------------------------- */

/* An interest stream keeps only what some consumer wants: else the message evicts itself. */
static bool wanted_by_nobody(const struct store_stream *s, const char *subject, size_t len)
{
    return s->cfg.retention == RETENTION_INTEREST && !cons_any_matches(s, subject, len);
}

bool stream_unwanted(struct store_stream *s, const struct sidx_entry *entry)
{
    size_t len;
    const char *subject = sidx_subject(entry, &len);
    return wanted_by_nobody(s, subject, len);
}

/* --- writing ---------------------------------------------------------------------------------- */

void stream_dedup_note(struct store_stream *s, const struct msg *m)
{
    size_t len = 0;
    const char *id = (m->flags & MSG_MSGID) != 0
                         ? msg_header_get(m->hdr, m->hdr_len, "Nats-Msg-Id", &len)
                         : NULL;
    if (id != NULL && s->cfg.duplicates_ns > 0) {
        dedup_add(s->dedup, id_hash(s, id, len), m->seq, m->ts_ns);
    }
    dedup_set_last_id(s->dedup, id, len);
    if ((m->flags & MSG_SOURCED) != 0) {
        char key[SRCPOS_KEY_MAX];
        uint64_t seq;
        if (srcpos_parse(m->hdr, m->hdr_len, key, &len, &seq)) {
            srcpos_set(&s->sources, key, len, seq);
        }
    }
}

/* Room for one record: in the journal's chunk, or in the stream's own for memory streams. */
static enum st reserve(struct store_stream *s, size_t len, bool urgent, uint8_t **p,
                       struct jr_chunk **chunk, uint32_t *off)
{
    if (!s->memory) {
        return jw_reserve(s->eng->jw, len, urgent, p, chunk, off);
    }
    enum { CHUNK = 64 * 1024 };
    struct jr_chunk *c = s->mem_chunk;
    if (c == NULL || c->cap - c->used < len) {
        size_t cap = s->msgs < 16 && len < 4096 ? 8192 : CHUNK;
        struct jr_chunk *fresh = jr_chunk_create(NULL, len > cap ? len : cap);
        if (fresh == NULL) {
            return ST_NOMEM;
        }
        if (c != NULL) {
            jr_chunk_release(c);
        }
        s->mem_chunk = c = fresh;
    }
    *p = c->base + c->used;
    *chunk = c;
    *off = (uint32_t)c->used;
    c->used += align_up(len, REC_ALIGN);
    return ST_OK;
}

/* What the lane is to know of the stream to write the message elsewhere; NULL = nothing. */
static struct extents *bulk_of(struct store_stream *s, size_t msg_bytes)
{
    const struct eng_opts *o = &s->eng->opts;
    if (msg_bytes > o->extent_message_bytes && o->extent_begin_bytes != UINT64_MAX &&
        s->durability == DURABILITY_DURABLE) {
        stream_make_extents(s);
    }
    return s->extents;
}

static enum st write_append(struct store_stream *s, const struct store_append *a,
                            const struct evict *ev, uint8_t rec_flags, bool urgent, struct msg *m)
{
    size_t ext = append_ext_size(ev->floor, &ev->runs);
    size_t body = (size_t)msg_size(a->subject_len, a->hdr_len, a->data_len);
    size_t len = REC_HEAD_SIZE + ext + body;
    uint8_t *p;
    struct jr_chunk *chunk;
    uint32_t off;
    enum st st = reserve(s, len, urgent, &p, &chunk, &off);
    if (st != ST_OK) {
        return st;
    }
    uint16_t flags = a->flags;
    flags |= a->hdr_len > 0 ? MSG_HDR : 0;
    flags |= a->msg_id != NULL ? MSG_MSGID : 0;
    flags |= a->rollup == 1 ? MSG_ROLLUP_SUB : a->rollup == 2 ? MSG_ROLLUP_ALL : 0;
    *m = (struct msg){.seq = next_seq(s, a),
                      .ts_ns = a->at_seq != 0 ? a->at_time_ns
                                              : i64_max(eng_now_ns(s->eng), s->last_ts_ns),
                      .subj = (const uint8_t *)a->subject,
                      .hdr = a->hdr,
                      .data = a->data,
                      .hdr_len = a->hdr_len,
                      .data_len = a->data_len,
                      .subj_len = (uint16_t)a->subject_len,
                      .flags = flags};
    append_ext_put(p + REC_HEAD_SIZE, ext, ev->floor, &ev->runs);
    msg_put(p + REC_HEAD_SIZE + ext, m, s->eng->ident.crc_seed);
    uint32_t msg_off = (uint32_t)(off + REC_HEAD_SIZE + ext);
    if (!s->memory) {
        s->oseq++;
        rec_seal(p, REC_APPEND, rec_flags, s->gid, 0, (uint32_t)s->oseq, ext, body,
                 s->eng->ident.crc_seed);
    }
    bool tapped = s->tap != NULL && !ev->unwanted;
    uint64_t before = tapped ? stream_last_of(s, a->subject, a->subject_len) : 0;
    s->quiet_removals = a->rollup != 0 && !s->marking;
    stream_apply_append(s, m, chunk, msg_off, ev->floor, &ev->runs);
    s->quiet_removals = false;
    for (size_t i = 0; i < s->ncons && a->rollup != 0; i++) {
        if (a->rollup == 1) {
            cons_on_purged_subject(s->cons[i], a->subject, a->subject_len);
        } else {
            cons_on_purged(s->cons[i], s->first_seq);
        }
    }
    if (!s->memory) {
        struct jw_rec r = {.user = s,
                           .gid = s->gid,
                           .oseq = s->oseq,
                           .last_seq = s->last_seq,
                           .floor = s->first_seq,
                           .removed = ev->runs.n > 0 ? &ev->runs : NULL,
                           .type = REC_APPEND,
                           .flags = rec_flags,
                           .sync = s->durability == DURABILITY_DURABLE,
                           .bulk = bulk_of(s, body)};
        s->ticket = jw_commit(s->eng->jw, &r, len);
        s->ckpt_dirty = true;
        if (ev->floor != 0) {
            s->removal_ticket = s->ticket;
        }
    }
    if (tapped) {
        stream_tap_stored(s, chunk, p + REC_HEAD_SIZE + ext, body, before);
    }
    return ST_OK;
}

/* What the config says of the message itself; upstream looks at it last. */
bool stream_check_config(const struct store_stream *s, const struct store_append *a,
                         struct store_append_result *r)
{
    if (stream_refused(a, REFUSE_AFTER_IDS, r)) {
        return false;
    }
    if (a->rollup != 0 && (!s->cfg.allow_rollup || s->cfg.deny_purge)) {
        r->verdict = APPEND_ROLLUP_DENIED;
        return false;
    }
    if (stream_refused(a, REFUSE_AFTER_ROLLUP, r)) {
        return false;
    }
    if (s->cfg.max_msg_size >= 0 &&
        (uint64_t)a->hdr_len + a->data_len > (uint64_t)s->cfg.max_msg_size) {
        r->verdict = APPEND_MSG_TOO_BIG;
        return false;
    }
    return wanted_by_nobody(s, a->subject, a->subject_len) ||
           !stream_refused(a, REFUSE_AFTER_SIZE, r);
}

/* Writes a message that passed all checks. ST_FULL, ST_NOMEM: nothing was taken. */
static enum st write_checked(struct store_stream *s, const struct store_append *a,
                             const struct evict *ev, uint8_t rec_flags, bool urgent,
                             uint64_t *seq_out)
{
    struct msg m;
    enum st st = stream_reserve_seqs(s);
    if (st == ST_OK && s->memory && !s->cfg.mirror && next_seq(s, a) > s->reserved_done_seq) {
        return ST_FULL; /* the reservation is on its way */
    }
    if (st == ST_OK) {
        st = write_append(s, a, ev, rec_flags, urgent, &m);
    }
    if (st == ST_OK) {
        stream_dedup_note(s, &m);
        stream_expiry_added(s, &m);
        *seq_out = m.seq;
        if (s->memory || s->durability == DURABILITY_ASYNC) {
            eng_kick(s->eng, s);
        }
    }
    return st;
}

/* The schedule that made this message goes with it. */
static void evict_purged(struct store_stream *s, const struct store_append *a, struct evict *ev)
{
    const struct sidx_entry *entry =
        a->purge_subject != NULL ? sidx_find(s->idx, a->purge_subject, a->purge_subject_len) : NULL;
    for (uint64_t i = 0; entry != NULL && i < sidx_count(entry); i++) {
        if (!seq_runs_has(&ev->runs, sidx_nth(entry, i))) {
            evict_seq(s, ev, sidx_nth(entry, i));
        }
    }
}

/* More evictions than the message's record can tell of: all but the last run go by records of their
 * own, one batch with it, so that a crash keeps all or nothing. ST_FULL: nothing was taken. */
static enum st shed(struct store_stream *s, const struct store_append *a, bool urgent,
                    struct evict *ev)
{
    struct eng *e = s->eng;
    struct seq_runs most = {ev->runs.v, ev->runs.n - 1, 0};
    uint64_t bytes = REC_HEAD_SIZE + seq_runs_size(&most);
    bytes += REC_HEAD_SIZE + 64 + msg_size(a->subject_len, a->hdr_len, a->data_len);
    enum st st = jw_room(e->jw, bytes, urgent);
    if (st != ST_OK) {
        return st;
    }
    s->quiet_removals = a->rollup != 0 && !s->marking;
    st = stream_remove_logged(s, &most, REASON_PURGE, REC_BATCH_MORE);
    s->quiet_removals = false;
    s->removal_ticket = s->ticket;
    if (st == ST_OK) {
        ev->runs.v[0] = ev->runs.v[ev->runs.n - 1];
        ev->runs.n = 1;
    }
    return st;
}

/* Half of it is in memory and must never be told of or built upon. */
static enum st half_done(struct store_stream *s)
{
    struct err err = {0};
    err_set(&err, ST_POISONED, 0, "out of memory inside a rollup of \"%s\"", s->cfg.name);
    eng_poison(s->eng, ST_POISONED, &err);
    return ST_POISONED;
}

static enum st write_evicting(struct store_stream *s, const struct store_append *a,
                              struct evict *ev, uint8_t rec_flags, bool own, uint64_t *seq_out)
{
    if (s->memory || append_ext_size(ev->floor, &ev->runs) <= s->eng->opts.evict_bytes ||
        ev->runs.n < 2) {
        return write_checked(s, a, ev, rec_flags, own, seq_out);
    }
    uint64_t oseq = s->oseq;
    enum st st = shed(s, a, own, ev);
    if (st == ST_OK) {
        st = write_checked(s, a, ev, rec_flags, true, seq_out);
    }
    return st == ST_OK || s->oseq == oseq ? st : half_done(s);
}

enum st stream_admit(struct store_stream *s, const struct store_append *a, uint8_t rec_flags,
                     bool own, struct store_append_result *r)
{
    struct evict ev = {0};
    enum st st = ST_OK;
    uint64_t size = stream_msg_size(s, a->subject_len, a->hdr_len, a->data_len);
    if (wanted_by_nobody(s, a->subject, a->subject_len)) {
        ev.unwanted = true;
        ev.floor = s->msgs == 0 || a->rollup == 2 ? next_seq(s, a) + 1 : 0;
        if (ev.floor == 0) {
            if (a->rollup == 1) { /* it still is one */
                evict_rollup(s, a, &ev);
            }
            seq_runs_add(&ev.runs, next_seq(s, a));
        }
    }
    if (ev.floor != 0 || ev.runs.n != 0 || plan_limits(s, a, own, size, &ev, r)) {
        evict_purged(s, a, &ev);
        st = write_evicting(s, a, &ev, rec_flags, own, &r->seq);
    }
    seq_runs_fini(&ev.runs);
    return st;
}

enum st stream_append_own(struct store_stream *s, const struct store_append *a)
{
    struct store_append_result r = {.verdict = APPEND_STORED};
    enum st st = stream_admit(s, a, 0, true, &r);
    return st == ST_OK && r.verdict != APPEND_STORED ? ST_NOSPACE : st;
}

/* A publish that waits for its ticket. */
struct append_wait {
    store_append_fn fn;
    void *arg;
    struct store_append_result r;
    char *actual_id; /* owned */
};

static void append_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct append_wait *w = arg;
    (void)n;
    (void)err;
    if (st != ST_OK) {
        w->r.verdict = APPEND_FAILED;
    }
    if (st != ST_CLOSED) { /* else the store goes: nobody is told any more */
        w->fn(w->arg, &w->r);
    }
    base_free(w->actual_id);
    base_free(w);
}

void stream_answer_append(struct store_stream *s, const struct store_append_result *r,
                          store_append_fn fn, void *arg, uint64_t ticket)
{
    if (fn == NULL) {
        return;
    }
    if (r->verdict == APPEND_STORED) {
        eng_wait_append(s->eng, ticket, fn, arg, r->seq);
        return;
    }
    struct append_wait *w = base_malloc(sizeof *w);
    size_t id_len = 0;
    const char *id =
        r->verdict == APPEND_WRONG_LAST_MSGID ? dedup_last_id(s->dedup, &id_len) : NULL;
    *w = (struct append_wait){fn, arg, *r, id != NULL ? base_strndup(id, id_len) : NULL};
    w->r.actual_id = w->actual_id != NULL ? w->actual_id : "";
    eng_wait_own(s->eng, ticket, append_done, w, ST_OK, 0);
}

enum st stream_op_append(struct store_stream *s, const struct store_append *a, store_append_fn fn,
                         void *arg)
{
    struct store_append_result r = {.verdict = APPEND_STORED};
    uint64_t ticket = stream_ticket(s);
    ASSERT(a->subject_len > 0 && a->subject_len <= UINT16_MAX);
    if (s->eng->poisoned != ST_OK) {
        r.verdict = APPEND_FAILED;
    } else if (s->cfg.sealed) {
        r.verdict = APPEND_SEALED;
    } else if (a->batch_order ? stream_check_in_batch(s, a, &r)
                              : !check_expected(s, a, &r) && stream_check_config(s, a, &r)) {
        enum st st = stream_admit(s, a, 0, false, &r);
        if (st == ST_FULL || st == ST_NOMEM) {
            return ST_FULL;
        }
        if (st != ST_OK) {
            r.verdict = APPEND_FAILED;
        } else if (r.verdict == APPEND_STORED) {
            ticket = stream_ticket(s);
        }
    } else if (r.verdict == APPEND_DUPLICATE && a->has_expected_source_seq) {
        ticket = stream_ticket(s); /* of the record that says it is done with */
    }
    if (a->verdict_now != NULL) {
        *a->verdict_now = r.verdict;
    }
    stream_answer_append(s, &r, fn, arg, ticket);
    return ST_OK;
}
