/* Reset of a consumer by request: it stands where a new one would that starts at a sequence, and
 * its consumer sequences begin at 1 again. What was pending or due is forgotten, acknowledged or
 * not; what was acknowledged before counts.
 *
 * A crash leaves the state before or after: one delta holds all of it. Owner thread. */
#include "engine/consumer_impl.h"

bool cons_was_reset(const struct store_cons *c)
{
    return c->placed && c->delivered_cseq == 0;
}

#include "engine/eng.h"

static void forget_pending(struct store_cons *c)
{
    for (struct cons_pend *e = pends_begin(&c->pend); e != pends_end(&c->pend); e++) {
        if (e->dcount > 0 && (e->flags & PEND_LOGGED) != 0 && cons_logs_state(c)) {
            seqs_push(&c->acked, e->sseq);
        }
    }
    pends_fini(&c->pend);
    c->queue.n = c->queue_at = 0;
    c->nack = c->nredelivered = 0;
    c->scan_at_ns = INT64_MAX;
}

void cons_op_reset(struct store_cons *c, uint64_t seq, store_done_fn fn, void *arg)
{
    struct store_stream *s = c->s;
    ASSERT(c->running);
    if (s->eng->poisoned != ST_OK) {
        eng_wait(s->eng, 0, fn, arg, ST_POISONED, 0);
        return;
    }
    cons_log(c); /* acks that take messages off the stream are done with first */
    forget_pending(c);
    uint64_t at = seq != 0 ? u64_min(seq, CONS_SEQ_MAX) - 1 : c->floor_sseq;
    c->delivered_cseq = c->floor_cseq = 0;
    c->delivered_sseq = c->floor_sseq = at;
    c->delivered_ts_ns = c->floor_ts_ns = 0;
    c->next_seq = at + 1;
    c->placed = true;
    c->peeked.sseq = 0;
    c->ahead.n = c->ahead_at = 0;
    c->lps.n = c->lps_at = 0;
    c->lps_resume = 0; /* as upstream: from here on all of a subject */
    cons_recount(c);
    cons_add_waiter(c, fn, arg);
    cons_mark_position(c, true);
    cons_log(c);
    cons_release_unwanted(s); /* it may have stepped over some */
    cons_ready_soon(c);
}
