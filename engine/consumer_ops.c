/* What the broker does with a consumer: state, peek, take, ack (engine/store.h). */
#include "engine/consumer_impl.h"

enum { SKIPS_MAX = 1000 }; /* messages passed over in one peek (damaged, before the start time) */

const struct cons_cfg *cons_op_cfg(struct store_cons *c)
{
    return &c->cfg;
}
struct store_stream *cons_op_stream(struct store_cons *c)
{
    return c->s;
}
void *cons_op_user(struct store_cons *c)
{
    return c->user;
}
void cons_op_set_user(struct store_cons *c, void *user)
{
    c->user = user;
}

void cons_op_state(struct store_cons *c, struct cons_state *out)
{
    *out = (struct cons_state){
        .delivered_cseq = c->delivered_cseq,
        .delivered_sseq = c->delivered_sseq,
        .delivered_ts_ns = c->delivered_ts_ns,
        .floor_cseq = c->floor_cseq,
        .floor_sseq = c->floor_sseq,
        .floor_ts_ns = c->floor_ts_ns,
        .num_ack_pending = c->nack,
        .num_redelivered = c->nredelivered,
        .num_pending = c->npending,
        .num_queued = c->queue.n - c->queue_at,
        .created_ns = c->created_ns,
    };
}

void cons_op_attach(struct store_cons *c, const struct cons_events *ev)
{
    c->attached = ev != NULL;
    c->ev = ev != NULL ? *ev : (struct cons_events){0};
    c->ready_soon = false;
}

/* --- peek ------------------------------------------------------------------------------------- */

void cons_read_done(void *arg)
{
    struct store_cons *c = arg;
    c->reading = false;
    cons_ready_soon(c);
}

/* Reads a message; PENDING makes the consumer wait for it. */
static enum stream_read read_msg(struct store_cons *c, uint64_t sseq, struct msg *m)
{
    bool sequential = sseq > c->last_read && sseq - c->last_read <= 16;
    enum stream_read r = stream_read(c->s, sseq, sequential, m, cons_read_done, c);
    c->last_read = sseq;
    c->reading = c->reading || r == STREAM_READ_PENDING;
    return r;
}

static enum st wait_for(struct store_cons *c, enum st why)
{
    c->hungry = true;
    return why;
}

static enum st give(struct store_cons *c, uint64_t sseq, uint64_t dcount, struct cons_peek *out)
{
    out->keep = stream_keep(c->s, &out->m);
    c->hungry = true; /* until it is taken: it may be for somebody who does not want it now */
    c->peeked.sseq = sseq;
    c->peeked.redelivery = dcount > 1;
    out->cseq = c->delivered_cseq + 1;
    out->dcount = dcount;
    out->num_pending = c->npending - (dcount == 1);
    return ST_OK;
}

/* The first of the redelivery queue; ST_NOTFOUND = it is empty. */
static enum st peek_redelivery(struct store_cons *c, struct cons_peek *out)
{
    uint64_t sseq;
    while ((sseq = cons_queue_front(c)) != 0) {
        struct cons_pend *e = pends_find(&c->pend, sseq);
        switch (read_msg(c, sseq, &out->m)) {
        case STREAM_READ_OK:
            return give(c, sseq, (uint64_t)e->dcount + 1, out);
        case STREAM_READ_PENDING:
            return wait_for(c, ST_AGAIN);
        case STREAM_READ_DAMAGED:
        case STREAM_READ_GONE:
            cons_queue_pop(c);
            cons_settle(c, e);
            cons_mark_position(c, false);
            break;
        }
    }
    return ST_NOTFOUND;
}

static void pass_over(struct store_cons *c, uint64_t sseq)
{
    c->next_seq = sseq + 1;
    c->npending--;
    cons_mark_position(c, false);
}

enum st cons_op_peek(struct store_cons *c, struct cons_peek *out)
{
    ASSERT(c->running);
    c->peeked.sseq = 0;
    c->hungry = false;
    enum st st = peek_redelivery(c, out);
    if (st != ST_NOTFOUND) {
        return st;
    }
    if (c->cfg.ack != ACK_NONE && c->cfg.max_ack_pending > 0 &&
        c->nack >= (uint64_t)c->cfg.max_ack_pending) {
        return wait_for(c, ST_FULL);
    }
    for (unsigned i = 0; i < SKIPS_MAX; i++) {
        uint64_t sseq = cons_next_new(c);
        if (sseq == 0) {
            return wait_for(c, ST_NOTFOUND);
        }
        switch (read_msg(c, sseq, &out->m)) {
        case STREAM_READ_OK:
            if (c->cfg.deliver == DELIVER_BY_START_TIME && c->delivered_cseq == 0 &&
                out->m.ts_ns < c->cfg.opt_start_time_ns) {
                pass_over(c, sseq); /* the position was exact to the block only */
                break;
            }
            return give(c, sseq, 1, out);
        case STREAM_READ_PENDING:
            return wait_for(c, ST_AGAIN);
        case STREAM_READ_DAMAGED:
        case STREAM_READ_GONE:
            pass_over(c, sseq);
            break;
        }
    }
    c->hungry = true;
    cons_ready_soon(c);
    return ST_AGAIN;
}

/* --- take ------------------------------------------------------------------------------------- */

static void arm_pending(struct store_cons *c, struct cons_pend *e)
{
    int64_t wait = cons_wait_ns(c, e->dcount);
    int64_t now = eng_boot_ns(c->s->eng);
    cons_set_deadline(c, e, wait > INT64_MAX - now ? INT64_MAX : now + wait);
    cons_mark(c, e);
}

static void take_new(struct store_cons *c, uint64_t sseq)
{
    ASSERT(sseq >= c->next_seq && c->npending > 0);
    c->next_seq = sseq + 1;
    c->npending--;
    c->delivered_sseq = sseq;
    if (c->cfg.ack == ACK_NONE) {
        c->floor_cseq = c->delivered_cseq;
        c->floor_sseq = sseq;
        if (cons_consumes(c)) {
            seqs_push(&c->consumed, sseq);
        }
        return;
    }
    struct cons_pend *e = pends_put(&c->pend, sseq);
    ASSERT(e->dcount == 0);
    *e = (struct cons_pend){
        .sseq = sseq, .cseq = c->delivered_cseq, .deadline_ns = INT64_MAX, .dcount = 1};
    c->nack++;
    arm_pending(c, e);
}

static void take_again(struct store_cons *c, uint64_t sseq)
{
    struct cons_pend *e = pends_find(&c->pend, sseq);
    if (e == NULL) {
        return;
    }
    if (cons_queue_front(c) == sseq) {
        cons_queue_pop(c);
    }
    e->flags &= ~(unsigned)PEND_QUEUED;
    c->nredelivered += e->dcount == 1;
    e->dcount++;
    arm_pending(c, e);
}

void cons_op_take(struct store_cons *c)
{
    uint64_t sseq = c->peeked.sseq;
    if (sseq == 0) {
        return; /* removed in between */
    }
    c->peeked.sseq = 0;
    c->hungry = false;
    c->delivered_cseq++;
    c->placed = false;
    c->delivered_ts_ns = eng_now_ns(c->s->eng);
    if (c->peeked.redelivery) {
        take_again(c, sseq);
    } else {
        take_new(c, sseq);
    }
    cons_mark_position(c, c->cfg.ack == ACK_NONE && cons_consumes(c));
}

/* --- ack -------------------------------------------------------------------------------------- */

/* The message was acknowledged or terminated. */
static void done_with(struct store_cons *c, struct cons_pend *e)
{
    uint64_t sseq = e->sseq;
    cons_settle(c, e);
    if (cons_consumes(c)) {
        seqs_push(&c->consumed, sseq);
    }
}

static enum st ack_one(struct store_cons *c, uint64_t sseq)
{
    struct cons_pend *e = pends_find(&c->pend, sseq);
    if (e != NULL) {
        done_with(c, e);
        return ST_OK;
    }
    /* On a work queue a late ack, of a message that is not pending any more, still takes it off the
     * stream. */
    if (c->s->cfg.retention == RETENTION_WORKQUEUE && cons_matches(c, stream_entry(c->s, sseq))) {
        seqs_push(&c->consumed, sseq);
        return ST_OK;
    }
    return ST_NOTFOUND;
}

/* Everything up to sseq; the floor becomes exactly what was acknowledged. */
static enum st ack_all(struct store_cons *c, uint64_t sseq, uint64_t cseq)
{
    if (sseq <= c->floor_sseq) {
        return ST_NOTFOUND;
    }
    uint64_t floor_cseq = u64_min(u64_max(c->floor_cseq, cseq), c->delivered_cseq);
    struct cons_pend *e;
    while ((e = pends_begin(&c->pend)) != NULL && e->sseq <= sseq) {
        done_with(c, e);
    }
    c->floor_sseq = sseq;
    c->floor_cseq = floor_cseq;
    return ST_OK;
}

static enum st ack_done(struct store_cons *c, uint64_t sseq, uint64_t cseq)
{
    bool all = c->cfg.ack == ACK_ALL || c->cfg.ack == ACK_FLOW_CONTROL;
    enum st st = all ? ack_all(c, sseq, cseq) : ack_one(c, sseq);
    if (st == ST_OK) {
        c->floor_ts_ns = eng_now_ns(c->s->eng);
        c->acks_since++;
    }
    return st;
}

static enum st nak(struct store_cons *c, uint64_t sseq, int64_t delay_ns)
{
    struct cons_pend *e = pends_find(&c->pend, sseq);
    if (e == NULL || (e->flags & PEND_EXHAUSTED) != 0) {
        return ST_NOTFOUND;
    }
    int64_t now = eng_boot_ns(c->s->eng);
    bool used_up = c->cfg.max_deliver > 0 && e->dcount >= (uint64_t)c->cfg.max_deliver;
    e->flags &= ~(unsigned)(delay_ns > 0 ? PEND_QUEUED : 0);
    /* What used up its deliveries is retired by the scan, from the timer: its event must not come
     * from in here. */
    cons_set_deadline(c, e,
                      delay_ns <= 0                ? now
                      : delay_ns > INT64_MAX - now ? INT64_MAX - 1
                                                   : now + delay_ns);
    cons_mark(c, e);
    if (delay_ns <= 0 && !used_up) {
        cons_queue(c, e);
        cons_ready_soon(c);
    }
    return ST_OK;
}

static enum st progress(struct store_cons *c, uint64_t sseq)
{
    struct cons_pend *e = pends_find(&c->pend, sseq);
    if (e == NULL || (e->flags & PEND_EXHAUSTED) != 0) {
        return ST_NOTFOUND;
    }
    arm_pending(c, e);
    return ST_OK;
}

bool cons_op_unacked(struct store_cons *c, uint64_t sseq, struct cons_unacked *out)
{
    const struct cons_pend *e = pends_find(&c->pend, sseq);
    if (e == NULL || (e->flags & PEND_EXHAUSTED) != 0) {
        return false;
    }
    int64_t wait = cons_wait_ns(c, e->dcount);
    *out = (struct cons_unacked){.cseq = e->cseq, .dcount = e->dcount};
    out->delivered_ns = e->deadline_ns == INT64_MAX || wait == INT64_MAX
                            ? eng_boot_ns(c->s->eng)
                            : i64_sub_sat(e->deadline_ns, wait);
    return true;
}

void cons_add_waiter(struct store_cons *c, store_done_fn fn, void *arg)
{
    if (c->nwaiters == c->waiter_cap) {
        c->waiter_cap = c->waiter_cap == 0 ? 8 : c->waiter_cap * 2;
        c->waiter = base_realloc(c->waiter, c->waiter_cap * sizeof *c->waiter);
    }
    c->waiter[c->nwaiters++] = (struct cons_waiter){fn, arg};
}

void cons_op_ack(struct store_cons *c, enum cons_ack_kind kind, uint64_t stream_seq,
                 uint64_t consumer_seq, int64_t delay_ns, store_done_fn fn, void *arg)
{
    ASSERT(c->running);
    bool full = c->cfg.max_ack_pending > 0 && c->nack >= (uint64_t)c->cfg.max_ack_pending;
    enum st st = ST_NOTFOUND;
    if (stream_seq == 0 || stream_seq > c->delivered_sseq) {
        /* Not delivered, as far as we know; as upstream, no answer. It may have been, by a process
         * that was killed before it logged that: the message comes again then, and an answer here
         * would have promised that it does not. */
        st = ST_INVALID;
    } else if (c->cfg.ack == ACK_NONE) {
        st = ST_NOTFOUND;
    } else if (kind == CONS_NAK) {
        st = nak(c, stream_seq, delay_ns);
    } else if (kind == CONS_PROGRESS) {
        st = progress(c, stream_seq);
    } else {
        st = ack_done(c, stream_seq, consumer_seq);
    }
    if (st == ST_OK) {
        if (fn != NULL) {
            cons_add_waiter(c, fn, arg);
        }
        cons_mark_position(c, fn != NULL || c->consumed.n > 0);
        if (full && c->nack < (uint64_t)c->cfg.max_ack_pending) {
            cons_ready_soon(c);
        }
    } else if (fn != NULL) {
        eng_wait(c->s->eng, stream_ticket(c->s), fn, arg, st, 0);
    }
}
