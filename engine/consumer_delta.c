/* Consumer state as bytes: CONS_DELTA records and snapshots for checkpoints.
 *
 * Body (varints unless said otherwise):
 *   u8 version (1), u8 parts
 *   POSITION  delivered cseq, sseq; floor cseq, sseq; next sequence to look at; last_per_subject:
 * its resume sequence or 0 ACKED     runs of pending messages that are done with PENDING   i64le
 * base (store time), count, then ascending: sseq - the one before, cseq, dcount, flags, deadline:
 *             0 = none, else zigzag(deadline - base) + 1. Deadlines are store time
 *   REMOVED   runs of messages that this record removes from the stream
 *   FULL      (flag only) a snapshot: replaces everything
 *   PLACED    (flag only, with POSITION) a reset chose the position, perhaps beyond the stream's
 * end All values are absolute, so applying one twice, or on top of a newer one's loss, gives the
 * same state. */
#include "engine/consumer_impl.h"
#include "engine/snapshot.h"

enum {
    DELTA_VERSION = 1,
    PART_POSITION = 1,
    PART_ACKED = 2,
    PART_PENDING = 4,
    PART_REMOVED = 8,
    PART_FULL = 16,
    PART_PLACED = 32,
    PARTS_KNOWN = 63,
};
enum {
    FLUSH_NS = 50 * 1000 * 1000, /* an unconfirmed ack is logged within this */
    FLUSH_ACKS = 64,             /* or with so many */
    FLUSH_DIRTY = 4096,          /* pending changes that wait for a delta, at most */
};

bool cons_logs_state(const struct store_cons *c)
{
    return !c->s->memory && !c->cfg.mem_storage;
}

void cons_mark(struct store_cons *c, struct cons_pend *e)
{
    if (cons_logs_state(c) && (e->flags & PEND_DIRTY) == 0) {
        e->flags |= PEND_DIRTY;
        seqs_push(&c->dirty, e->sseq);
    }
}

void cons_mark_position(struct store_cons *c, bool soon)
{
    c->dirty_position = true;
    if (soon || c->acks_since >= FLUSH_ACKS || c->dirty.n >= FLUSH_DIRTY) {
        cons_log_soon(c);
    } else if (c->flush_at_ns == INT64_MAX && cons_logs_state(c)) {
        c->flush_at_ns = eng_boot_ns(c->s->eng) + FLUSH_NS;
        cons_arm(c);
    }
}

static enum st decode(struct store_cons *c, const uint8_t *body, size_t len, bool full,
                      struct seq_runs *removed);

/* --- encoding --------------------------------------------------------------------------------- */

struct body {
    uint8_t *v; /* owned */
    size_t n, cap;
};

static uint8_t *body_room(struct body *b, size_t more)
{
    if (b->n + more > b->cap) {
        b->cap = (b->n + more) * 2;
        b->v = base_realloc(b->v, b->cap);
    }
    return b->v + b->n;
}

static void put(struct body *b, uint64_t v)
{
    uint8_t *p = body_room(b, 10);
    b->n += varint_put(p, v);
}

static void put_runs(struct body *b, const struct seq_runs *r)
{
    uint8_t *p = body_room(b, seq_runs_size(r));
    b->n += seq_runs_put(p, r);
}

static void put_position(const struct store_cons *c, struct body *b)
{
    put(b, c->delivered_cseq);
    put(b, c->delivered_sseq);
    put(b, c->floor_cseq);
    put(b, c->floor_sseq);
    put(b, c->next_seq);
    put(b, c->lps_resume);
}

/* The deadline is written relative to `now`: what is left of it on the boot clock. */
static void put_pend(struct body *b, const struct cons_pend *e, uint64_t *before, int64_t boot_ns)
{
    put(b, e->sseq - *before);
    put(b, e->cseq);
    put(b, e->dcount);
    put(b, e->flags & PEND_EXHAUSTED);
    put(b, e->deadline_ns == INT64_MAX ? 0 : zigzag(e->deadline_ns - boot_ns) + 1);
    *before = e->sseq;
}

static void put_pend_head(const struct store_cons *c, struct body *b, uint64_t n)
{
    put_u64le(body_room(b, 8), (uint64_t)eng_now_ns(c->s->eng));
    b->n += 8;
    put(b, n);
}

static void put_head(struct body *b, uint8_t parts)
{
    uint8_t *p = body_room(b, 2);
    p[0] = DELTA_VERSION;
    p[1] = parts;
    b->n += 2;
}

static void runs_of(const struct cons_seqs *l, struct seq_runs *out)
{
    for (size_t i = 0; i < l->n; i++) {
        seq_runs_add(out, l->v[i]);
    }
}

/* Pending messages that changed since the last delta and still are pending. */
static void put_dirty(struct store_cons *c, struct body *b)
{
    size_t n = 0;
    for (size_t i = 0; i < c->dirty.n; i++) {
        if (pends_find(&c->pend, c->dirty.v[i]) != NULL) {
            c->dirty.v[n++] = c->dirty.v[i];
        }
    }
    c->dirty.n = n;
    int64_t boot_ns = eng_boot_ns(c->s->eng);
    uint64_t before = 0;
    put_pend_head(c, b, n);
    for (size_t i = 0; i < n; i++) {
        put_pend(b, pends_find(&c->pend, c->dirty.v[i]), &before, boot_ns);
    }
}

void cons_snapshot(const struct store_cons *c, uint8_t **blob_out, size_t *len_out)
{
    struct body b = {0};
    if (!cons_logs_state(c)) {
        *blob_out = base_malloc(1);
        *len_out = 0; /* positions of memory consumers are not kept */
        return;
    }
    put_head(&b,
             (uint8_t)(PART_POSITION | PART_PENDING | PART_FULL | (c->placed ? PART_PLACED : 0)));
    put_position(c, &b);
    int64_t boot_ns = eng_boot_ns(c->s->eng);
    uint64_t before = 0;
    put_pend_head(c, &b, c->pend.used);
    for (const struct cons_pend *e = pends_begin(&c->pend); e != pends_end(&c->pend); e++) {
        if (e->dcount > 0) {
            put_pend(&b, e, &before, boot_ns);
        }
    }
    *blob_out = b.v;
    *len_out = b.n;
}

void cons_capture(const struct store_cons *c, struct snap_cons *out)
{
    int64_t now = eng_now_ns(c->s->eng), boot = eng_boot_ns(c->s->eng);
    *out = (struct snap_cons){.created_ns = c->created_ns,
                              .delivered_cseq = c->delivered_cseq,
                              .delivered_sseq = c->delivered_sseq,
                              .floor_cseq = c->floor_cseq,
                              .floor_sseq = c->floor_sseq,
                              .next_seq = c->next_seq,
                              .lps_resume = c->lps_resume};
    cons_cfg_copy(&out->cfg, &c->cfg);
    out->pend = c->pend.used > 0 ? base_calloc(c->pend.used, sizeof *out->pend) : NULL;
    for (const struct cons_pend *e = pends_begin(&c->pend); e != pends_end(&c->pend); e++) {
        if (e->dcount == 0) {
            continue;
        }
        int64_t wait = cons_wait_ns(c, e->dcount);
        int64_t due = e->deadline_ns == INT64_MAX ? i64_add_sat(now, wait)
                      : c->running                ? i64_add_sat(now, e->deadline_ns - boot)
                                                  : e->deadline_ns; /* loaded, not started */
        out->pend[out->npend++] =
            (struct snap_pend){.sseq = e->sseq,
                               .cseq = e->cseq,
                               .ts_ns = wait == INT64_MAX ? now : i64_sub_sat(due, wait),
                               .dcount = e->dcount,
                               .exhausted = (e->flags & PEND_EXHAUSTED) != 0};
    }
}

enum st cons_delta_of(const struct store_cons *c, const struct snap_cons *k, uint8_t **body_out,
                      size_t *len_out)
{
    struct body b = {0};
    uint64_t next = k->next_seq != 0 ? k->next_seq : k->delivered_sseq + 1, before = 0;
    int64_t now = eng_now_ns(c->s->eng);
    put_head(&b, PART_POSITION | PART_PENDING);
    put(&b, k->delivered_cseq);
    put(&b, k->delivered_sseq);
    put(&b, k->floor_cseq);
    put(&b, k->floor_sseq);
    put(&b, next);
    put(&b, k->lps_resume);
    put_pend_head(c, &b, k->npend);
    for (size_t i = 0; i < k->npend; i++) {
        const struct snap_pend *p = &k->pend[i];
        int64_t wait = cons_wait_ns(c, p->dcount), at = INT64_MAX;
        bool timed = wait != INT64_MAX && !__builtin_add_overflow(p->ts_ns, wait, &at);
        put(&b, p->sseq - before);
        put(&b, p->cseq);
        put(&b, p->dcount);
        put(&b, p->exhausted ? PEND_EXHAUSTED : 0);
        /* INT64_MIN is left out: its code and one would be "none" */
        put(&b, timed ? zigzag(i64_max(i64_sub_sat(at, now), -INT64_MAX)) + 1 : 0);
        before = p->sseq;
    }
    struct seq_runs none = {0};
    enum st st = decode(NULL, b.v, b.n, false, &none) == ST_OK ? ST_OK : ST_INVALID;
    seq_runs_fini(&none);
    if (st != ST_OK) {
        base_free(b.v);
        return st;
    }
    *body_out = b.v;
    *len_out = b.n;
    return ST_OK;
}

/* --- logging ---------------------------------------------------------------------------------- */

/* True when another consumer still wants the message. */
static bool wanted_by_others(const struct store_cons *c, uint64_t seq)
{
    const struct store_stream *s = c->s;
    const struct sidx_entry *e = stream_entry(s, seq);
    for (size_t i = 0; i < s->ncons; i++) {
        if (s->cons[i] != c && cons_wants(s->cons[i], seq, e)) {
            return true;
        }
    }
    return false;
}

/* On a work queue consumers have their messages to themselves, but for those by which other streams
 * copy: a message goes once all who want it are done. */
static bool shared(const struct store_stream *s)
{
    if (s->cfg.retention != RETENTION_WORKQUEUE) {
        return true;
    }
    for (size_t i = 0; i < s->ncons; i++) {
        if (s->cons[i]->cfg.sourcing) {
            return s->ncons > 1;
        }
    }
    return false;
}

/* What leaves the stream with this delta. */
static void take_removed(struct store_cons *c, struct seq_runs *out)
{
    bool ask = c->consumed.n > 0 && shared(c->s);
    seqs_sort(&c->consumed);
    for (size_t i = 0; i < c->consumed.n; i++) {
        uint64_t seq = c->consumed.v[i];
        if (liveset_is_live(c->s->live, seq) && (!ask || !wanted_by_others(c, seq))) {
            seq_runs_add(out, seq);
        }
    }
}

static void logged(struct store_cons *c)
{
    for (size_t i = 0; i < c->dirty.n; i++) {
        struct cons_pend *e = pends_find(&c->pend, c->dirty.v[i]);
        if (e != NULL) {
            e->flags = (e->flags & ~(unsigned)PEND_DIRTY) | PEND_LOGGED;
        }
    }
    c->dirty.n = c->acked.n = c->consumed.n = 0;
    if (c->dirty.cap > 4 * FLUSH_DIRTY) {
        seqs_fini(&c->dirty);
    }
    c->dirty_position = false;
    c->acks_since = 0;
    c->flush_at_ns = INT64_MAX;
}

static void answer_waiters(struct store_cons *c, uint64_t ticket, enum st st)
{
    size_t n = c->nwaiters;
    c->nwaiters = 0;
    for (size_t i = 0; i < n; i++) {
        eng_wait(c->s->eng, ticket, c->waiter[i].fn, c->waiter[i].arg, st, 0);
    }
}

/* Encodes what is not logged. Empty: nothing to write. */
static void encode_delta(struct store_cons *c, const struct seq_runs *removed, struct body *b)
{
    bool state = cons_logs_state(c);
    uint8_t parts = 0;
    seqs_sort(&c->dirty);
    seqs_sort(&c->acked);
    parts |= state && (c->dirty_position || c->acked.n > 0 || c->dirty.n > 0) ? PART_POSITION : 0;
    parts |= (parts & PART_POSITION) != 0 && c->placed ? PART_PLACED : 0;
    parts |= state && c->acked.n > 0 ? PART_ACKED : 0;
    parts |= state && c->dirty.n > 0 ? PART_PENDING : 0;
    parts |= removed->n > 0 ? PART_REMOVED : 0;
    if (parts == 0) {
        return;
    }
    put_head(b, parts);
    if (parts & PART_POSITION) {
        put_position(c, b);
    }
    if (parts & PART_ACKED) {
        struct seq_runs acked = {0};
        runs_of(&c->acked, &acked);
        put_runs(b, &acked);
        seq_runs_fini(&acked);
    }
    if (parts & PART_PENDING) {
        put_dirty(c, b);
    }
    if (parts & PART_REMOVED) {
        put_runs(b, removed);
    }
}

void cons_log(struct store_cons *c)
{
    struct store_stream *s = c->s;
    struct seq_runs removed = {0};
    struct body b = {0};
    take_removed(c, &removed);
    encode_delta(c, &removed, &b);
    bool sync = c->nwaiters > 0 || removed.n > 0;
    enum st st = ST_OK;
    if (b.n > 0) {
        st = stream_log(s, REC_CONS_DELTA, 0, c->sub, b.v, b.n, removed.n > 0 ? &removed : NULL,
                        sync, true);
    }
    if (st == ST_OK) {
        logged(c);
        if (removed.n > 0) {
            s->removal_ticket = s->ticket;
            (void)stream_apply_removed(s, &removed, c);
        }
        answer_waiters(c, stream_ticket(s), ST_OK);
    } else if (st == ST_POISONED) {
        answer_waiters(c, 0, ST_POISONED);
        c->flush_at_ns = INT64_MAX;
    } else { /* no memory, no room: try again soon; the waiters wait */
        c->flush_at_ns = eng_boot_ns(s->eng) + FLUSH_NS;
    }
    cons_arm(c);
    base_free(b.v);
    seq_runs_fini(&removed);
}

void cons_flush(struct store_cons *c)
{
    if (c->running) {
        cons_log(c);
    }
}

/* --- decoding --------------------------------------------------------------------------------- */

static void get_runs(struct varint_in *r, struct seq_runs *out)
{
    size_t used = 0;
    if (r->bad || seq_runs_get(r->p, r->left, &used, out) != ST_OK) {
        r->bad = true;
        return;
    }
    r->p += used;
    r->left -= used;
}

/* c NULL: only walks over it. */
static void get_position(struct varint_in *r, struct store_cons *c)
{
    uint64_t v[6];
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = varint_next(r);
    }
    bool sane = v[2] <= v[0] && v[3] <= v[1] && v[1] < v[4] && v[4] < UINT64_MAX / 2 &&
                v[5] < UINT64_MAX / 2;
    if (r->bad || !sane) {
        r->bad = true;
        return;
    }
    if (c != NULL) {
        c->delivered_cseq = v[0];
        c->delivered_sseq = v[1];
        c->floor_cseq = v[2];
        c->floor_sseq = v[3];
        c->next_seq = v[4];
        c->lps_resume = v[5];
        c->lps.n = c->lps_at = 0;
        c->positioned = true;
    }
}

static void forget_acked(struct store_cons *c, const struct seq_runs *acked)
{
    for (size_t i = 0; i < acked->n; i++) {
        const struct seq_run *run = &acked->v[i];
        uint64_t seq = run->first;
        struct cons_pend *e;
        while ((e = pends_at_or_after(&c->pend, seq)) != NULL &&
               e->sseq - run->first < run->count) {
            seq = e->sseq + 1;
            pends_drop(&c->pend, e);
        }
    }
}

static void get_pending(struct varint_in *r, struct store_cons *c)
{
    if (r->bad || r->left < 8) {
        r->bad = true;
        return;
    }
    int64_t base = (int64_t)get_u64le(r->p);
    r->p += 8;
    r->left -= 8;
    uint64_t n = varint_next(r), sseq = 0;
    if (r->bad || n > r->left / 5) {
        r->bad = true;
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t step = varint_next(r), cseq = varint_next(r), dcount = varint_next(r),
                 flags = varint_next(r), deadline = varint_next(r);
        if (r->bad || step == 0 || sseq > UINT64_MAX / 2 || step > UINT64_MAX / 2 || dcount == 0 ||
            dcount > UINT32_MAX || (flags & ~(uint64_t)PEND_EXHAUSTED) != 0) {
            r->bad = true;
            return;
        }
        sseq += step;
        if (c != NULL) {
            int64_t at = INT64_MAX;
            if (deadline != 0 && __builtin_add_overflow(base, unzigzag(deadline - 1), &at)) {
                at = INT64_MAX;
            }
            struct cons_pend *e = pends_put(&c->pend, sseq);
            *e = (struct cons_pend){.sseq = sseq,
                                    .cseq = cseq,
                                    .deadline_ns = at,
                                    .dcount = (uint32_t)dcount,
                                    .flags = (uint32_t)flags | PEND_LOGGED};
        }
    }
}

static enum st decode(struct store_cons *c, const uint8_t *body, size_t len, bool full,
                      struct seq_runs *removed)
{
    if (len < 2 || body[0] != DELTA_VERSION || (body[1] & ~PARTS_KNOWN) != 0 ||
        ((body[1] & PART_FULL) != 0) != full ||
        (body[1] & (PART_PLACED | PART_POSITION)) == PART_PLACED) {
        return ST_CORRUPT;
    }
    uint8_t parts = body[1];
    struct varint_in r = {body + 2, len - 2, false};
    if (parts & PART_POSITION) {
        get_position(&r, c);
        if (c != NULL) {
            c->placed = (parts & PART_PLACED) != 0;
        }
    }
    if (parts & PART_ACKED) {
        struct seq_runs acked = {0};
        get_runs(&r, &acked);
        if (!r.bad && c != NULL) {
            forget_acked(c, &acked);
        }
        seq_runs_fini(&acked);
    }
    if (parts & PART_PENDING) {
        get_pending(&r, c);
    }
    if (parts & PART_REMOVED) {
        get_runs(&r, removed);
    }
    return r.bad || r.left != 0 ? ST_CORRUPT : ST_OK;
}

/* Checks everything before it touches the consumer. */
enum st cons_apply_delta(struct store_cons *c, const uint8_t *body, size_t len,
                         struct seq_runs *removed_out)
{
    struct seq_runs unused = {0};
    enum st st = decode(NULL, body, len, false, &unused);
    seq_runs_fini(&unused);
    return st == ST_OK ? decode(c, body, len, false, removed_out) : st;
}

enum st cons_delta_removed(const uint8_t *body, size_t len, struct seq_runs *removed_out)
{
    return decode(NULL, body, len, false, removed_out);
}

enum st cons_load(struct store_cons *c, const uint8_t *blob, size_t len, struct err *err)
{
    if (len == 0) {
        return ST_OK;
    }
    struct seq_runs unused = {0};
    enum st st = decode(NULL, blob, len, true, &unused);
    if (st == ST_OK) {
        pends_fini(&c->pend);
        st = decode(c, blob, len, true, &unused);
    }
    seq_runs_fini(&unused);
    return st == ST_OK ? ST_OK
                       : err_set(err, ST_CORRUPT, 0, "consumer \"%s\": snapshot cannot be decoded",
                                 c->cfg.name);
}
