/* Atomic batches (ADR-50): every message is checked before the first is written; then all are
 * written as one batch of APPEND records (BATCH_MORE on all but the last), so that a crash keeps
 * all of them or none.
 *
 * The checks look at the stream as it is before the batch, and at the batch's own earlier messages
 * where upstream does: ids, subjects with an expected sequence, roll-ups, limits of a stream that
 * discards new messages (counted as if nothing were evicted, as upstream counts them). What passes
 * is never refused when it is written. A batch that spans tickets is not delivered in part:
 * s->batches holds visible_seq below it until its last ticket is done. */
#include "engine/base/subject.h"
#include "engine/stream_admit.h"

struct seen {
    struct hash128 subject, id;
};

struct batch {
    struct store_stream *s;
    const struct store_append *v;
    size_t n;
    struct seen *seen; /* owned */
    uint64_t bytes;    /* logical, of the messages checked so far */
    uint64_t room;     /* bytes of journal */
};

static struct hash128 hash_of(const struct store_stream *s, const char *p, size_t len)
{
    return hash128(s->id_seed, p, len);
}

static bool same(struct hash128 a, struct hash128 b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* Messages of the batch before i on this subject, or matching the filter. */
static uint64_t written_before(const struct batch *b, size_t i, const char *subject, size_t len)
{
    uint64_t n = 0;
    bool filter = subject_has_wildcard(subject, len);
    struct hash128 h = hash_of(b->s, subject, len);
    for (size_t k = 0; k < i; k++) {
        n += filter ? subject_match(b->v[k].subject, b->v[k].subject_len, subject, len)
                    : same(b->seen[k].subject, h);
    }
    return n;
}

static bool refuse(struct store_append_result *r, enum append_verdict verdict, uint64_t actual)
{
    r->verdict = verdict;
    r->actual = actual;
    return false;
}

static bool check_id(struct batch *b, size_t i, struct store_append_result *r)
{
    const struct store_append *a = &b->v[i];
    if (a->msg_id == NULL || b->s->cfg.duplicates_ns <= 0) {
        return true;
    }
    if (stream_is_duplicate(b->s, a, &r->seq)) {
        return refuse(r, APPEND_DUPLICATE, 0);
    }
    for (size_t k = 0; k < i; k++) {
        if (b->v[k].msg_id != NULL && same(b->seen[k].id, b->seen[i].id)) {
            return refuse(r, APPEND_DUPLICATE, 0);
        }
    }
    return true;
}

static bool check_expected(struct batch *b, size_t i, struct store_append_result *r)
{
    const struct store_append *a = &b->v[i];
    if (a->has_expected_last_seq) {
        uint64_t last = b->s->last_seq + i;
        if (a->expected_last_seq != last) {
            return refuse(r, APPEND_WRONG_LAST_SEQ, last);
        }
        if (i > 0) {
            return refuse(r, APPEND_WRONG_LAST_CONSTANT, 0);
        }
    }
    if (stream_refused(a, REFUSE_BATCH_SEQ, r)) {
        return false;
    }
    if (a->has_expected_last_subj_seq) {
        const char *subject = a->expected_subject != NULL ? a->expected_subject : a->subject;
        size_t len = a->expected_subject != NULL ? a->expected_subject_len : a->subject_len;
        if (written_before(b, i, subject, len) > 0) {
            return refuse(r, APPEND_WRONG_LAST_CONSTANT, 0);
        }
        uint64_t last = stream_last_of(b->s, subject, len);
        if (last != a->expected_last_subj_seq) {
            return refuse(r, APPEND_WRONG_LAST_SUBJ_SEQ, last);
        }
    }
    return !stream_refused(a, REFUSE_AFTER_SEQS, r);
}

static bool check_rollup(struct batch *b, size_t i, struct store_append_result *r)
{
    const struct store_append *a = &b->v[i];
    if (!stream_check_config(b->s, a, r)) {
        return false;
    }
    if (a->rollup == 1 && written_before(b, i, a->subject, a->subject_len) > 0) {
        return refuse(r, APPEND_ROLLUP_BATCH_SUB, 0);
    }
    return a->rollup != 2 || i == 0 || refuse(r, APPEND_ROLLUP_BATCH_ALL, 0);
}

static bool over(int64_t limit, uint64_t value)
{
    return limit > 0 && value > (uint64_t)limit;
}

static bool check_limits(struct batch *b, size_t i, struct store_append_result *r)
{
    const struct stream_cfg *cfg = &b->s->cfg;
    const struct store_append *a = &b->v[i];
    struct eng *e = b->s->eng;
    if (cfg->discard == DISCARD_NEW) {
        if (over(cfg->max_msgs, b->s->msgs + i + 1)) {
            return refuse(r, APPEND_MAX_MSGS, 0);
        }
        if (over(cfg->max_bytes, b->s->bytes + b->bytes)) {
            return refuse(r, APPEND_MAX_BYTES, 0);
        }
        if (cfg->discard_new_per_subject && a->rollup == 0) {
            const struct sidx_entry *entry = sidx_find(b->s->idx, a->subject, a->subject_len);
            uint64_t have = (entry != NULL ? sidx_count(entry) : 0) +
                            written_before(b, i, a->subject, a->subject_len);
            if (over(cfg->max_msgs_per_subject, have + 1)) {
                return refuse(r, APPEND_MAX_MSGS_PER_SUBJECT, 0);
            }
        }
    }
    uint64_t used = b->s->memory ? e->mem_bytes : e->file_bytes;
    uint64_t max = b->s->memory ? e->opts.max_mem_bytes : e->opts.max_file_bytes;
    if (b->bytes > max || used > max - b->bytes || (!b->s->memory && e->low_space)) {
        return refuse(r, b->s->memory ? APPEND_NO_MEMORY : APPEND_NO_STORE, 0);
    }
    return true;
}

/* Upstream's order; a message is looked at whole before the next one. */
static bool check_one(struct batch *b, size_t i, struct store_append_result *r)
{
    const struct store_append *a = &b->v[i];
    return !stream_refused(a, REFUSE_BATCH_FIRST, r) && check_id(b, i, r) &&
           !stream_refused(a, REFUSE_BATCH_IDS, r) && check_expected(b, i, r) &&
           check_rollup(b, i, r) && check_limits(b, i, r);
}

bool stream_check_in_batch(struct store_stream *s, const struct store_append *a,
                           struct store_append_result *r)
{
    struct batch b = {.s = s, .v = a, .n = 1}; /* nothing is before it: `seen` is not looked at */
    b.bytes = stream_msg_size(s, a->subject_len, a->hdr_len, a->data_len);
    return !stream_refused(a, REFUSE_BATCH_FIRST, r) && check_id(&b, 0, r) &&
           !stream_refused(a, REFUSE_BATCH_IDS, r) && check_expected(&b, 0, r) &&
           check_rollup(&b, 0, r) &&
           (a->expected_last_msgid == NULL ||
            (check_limits(&b, 0, r) && !stream_other_last_id(s, a, r)));
}

static bool check_all(struct batch *b, struct store_append_result *r)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct store_append *a = &b->v[i];
        ASSERT(a->subject_len > 0 && a->subject_len <= UINT16_MAX && a->at_seq == 0);
        r->index = i;
        b->seen[i].subject = hash_of(b->s, a->subject, a->subject_len);
        if (a->msg_id != NULL) {
            b->seen[i].id = hash_of(b->s, a->msg_id, a->msg_id_len);
        }
        b->bytes += stream_msg_size(b->s, a->subject_len, a->hdr_len, a->data_len);
        b->room += align_up(REC_HEAD_SIZE + 64 + msg_size(a->subject_len, a->hdr_len, a->data_len),
                            REC_ALIGN);
        if (!check_one(b, i, r)) {
            return false;
        }
    }
    return true;
}

/* Room for all of it, so that nothing can stop half-way. */
static enum st ask_room(struct batch *b, struct store_append_result *r)
{
    struct store_stream *s = b->s;
    if (!s->memory) {
        if (b->room > s->eng->opts.journal_window_bytes / 4) {
            r->verdict = APPEND_BATCH_TOO_LARGE;
            return ST_OK;
        }
        return jw_room(s->eng->jw, b->room, false);
    }
    enum st st = stream_reserve_seqs(s);
    return st == ST_OK && s->last_seq + b->n > s->reserved_done_seq ? ST_FULL : st;
}

/* Deliveries stop below the batch until all of it is done. */
static void hold_back(struct store_stream *s, uint64_t first_seq, uint64_t first_ticket)
{
    if (s->memory || s->ticket == first_ticket) {
        return;
    }
    s->batches = base_realloc(s->batches, (s->nbatches + 1) * sizeof *s->batches);
    s->batches[s->nbatches++] = (struct stream_batch_held){first_seq, s->ticket};
}

uint64_t stream_batch_visible(struct store_stream *s, uint64_t ticket, uint64_t seq)
{
    size_t n = 0;
    for (size_t i = 0; i < s->nbatches; i++) {
        if (ticket >= s->batches[i].last_ticket) {
            continue;
        }
        seq = u64_min(seq, s->batches[i].first_seq - 1);
        s->batches[n++] = s->batches[i];
    }
    s->nbatches = n;
    return seq;
}

static enum st write_all(struct batch *b, struct store_append_result *r)
{
    struct store_stream *s = b->s;
    uint64_t first_seq = s->last_seq + 1, first_ticket = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct store_append a = b->v[i];
        a.flags |= MSG_BATCH;
        enum st st = stream_admit(s, &a, i + 1 < b->n ? REC_BATCH_MORE : 0, true, r);
        if (st != ST_OK || r->verdict != APPEND_STORED) {
            /* Half a batch is in memory and must never be told of or built upon. */
            struct err err = {0};
            ASSERT(st != ST_OK);
            err_set(&err, ST_POISONED, 0, "out of memory inside an atomic batch of \"%s\"",
                    s->cfg.name);
            eng_poison(s->eng, ST_POISONED, &err);
            return ST_POISONED;
        }
        first_ticket = i == 0 ? s->ticket : first_ticket;
        if (s->eng->on_batch_part != NULL) {
            jw_seal(s->eng->jw);
            s->eng->on_batch_part(s->eng->on_expired_arg);
        }
    }
    hold_back(s, first_seq, first_ticket);
    return ST_OK;
}

enum st stream_op_append_batch(struct store_stream *s, const struct store_append *v, size_t n,
                               store_append_fn fn, void *arg)
{
    struct store_append_result r = {.verdict = APPEND_STORED};
    uint64_t ticket = stream_ticket(s);
    struct batch b = {.s = s, .v = v, .n = n};
    ASSERT(n > 0);
    if (s->eng->poisoned != ST_OK) {
        r.verdict = APPEND_FAILED;
    } else if (s->cfg.sealed) {
        r.verdict = APPEND_SEALED;
    }
    if (r.verdict != APPEND_STORED) {
        stream_answer_append(s, &r, fn, arg, ticket);
        return ST_OK;
    }
    b.seen = base_calloc(n, sizeof *b.seen);
    enum st st = check_all(&b, &r) ? ask_room(&b, &r) : ST_OK;
    if (st == ST_OK && r.verdict == APPEND_STORED) {
        r.verdict = write_all(&b, &r) == ST_OK ? APPEND_STORED : APPEND_FAILED;
        ticket = stream_ticket(s);
    }
    base_free(b.seen);
    if (st == ST_FULL || st == ST_NOMEM) {
        return ST_FULL;
    }
    if (st != ST_OK) {
        r.verdict = APPEND_FAILED;
    }
    stream_answer_append(s, &r, fn, arg, ticket);
    return ST_OK;
}
