/* Insides of a consumer, shared by consumer*.c. What the rest of the engine sees is in stream.h.
 *
 * A consumer is a cursor over its stream: `next_seq` is the first sequence it has not looked at;
 * everything below was delivered, did not match, or was gone. What was delivered and not
 * acknowledged stands in `pend`, ascending by stream sequence. State changes at once in memory;
 * CONS_DELTA records follow, coalesced (50 ms, or 64 acks; at the end of the turn when an ack asks
 * for an answer or removes messages). Deltas hold absolute values, so that losing the last ones in
 * a crash means redelivery and nothing else. On work-queue and interest streams an ack takes effect
 * on the stream when its delta is written: one record holds both.
 *
 * Numbers are upstream's as observed: the floor follows an ack only when that ack was for the
 * oldest pending message, or when nothing is pending any more (then it is `delivered`); a
 * redelivery takes a new consumer sequence but the pending message keeps its first; a message that
 * used up max_deliver is no longer pending but counts as redelivered.
 *
 * Invariants (I13, I15): 1. npending == live matching messages in [next_seq, counted_to]; 2. floor
 * <= delivered < next_seq;
 * 3. pend ascends, holds only live messages, all <= delivered_sseq; nack counts those not
 * exhausted. A crash leaves: the state of the last durable delta. Owner thread. */
#ifndef ENGINE_CONSUMER_IMPL_H
#define ENGINE_CONSUMER_IMPL_H

#include "engine/stream.h"

#define CONS_SEQ_MAX (1ull << 62) /* a start beyond any stream's end is in range for arithmetic */

enum pend_flags {
    PEND_QUEUED = 1,    /* stands in the redelivery queue */
    PEND_EXHAUSTED = 2, /* max_deliver was reached: neither pending nor delivered again */
    PEND_DIRTY = 4,     /* changed since the last delta; stands in the dirty list */
    PEND_LOGGED = 8,    /* some delta or snapshot names it */
};

struct cons_pend {
    uint64_t sseq;
    uint64_t cseq;       /* of the first delivery */
    int64_t deadline_ns; /* boot clock; while recovering: store time. INT64_MAX = none */
    uint32_t dcount;     /* deliveries; 0 = a hole */
    uint32_t flags;
};

/* Slots [head, head + n), ascending by sseq, with holes; the first slot is never a hole. */
struct cons_pends {
    struct cons_pend *v; /* owned */
    size_t head, n, cap;
    size_t used; /* without holes */
};

struct cons_seqs { /* a growable list of sequences */
    uint64_t *v;   /* owned */
    size_t n, cap;
};

struct cons_waiter {
    store_done_fn fn;
    void *arg;
};

struct cons_gone {
    uint64_t sseq, cseq, dcount;
};

struct store_cons {
    struct store_stream *s; /* borrowed */
    uint32_t sub;
    uint32_t cfg_version;
    struct cons_cfg cfg; /* owned */
    int64_t created_ns;
    void *user;
    struct cons_events ev;
    bool attached;
    bool running;    /* counts and timers are kept; false while recovering */
    bool positioned; /* has a position (fresh, or from a record) */
    bool placed;     /* a reset put it there, perhaps beyond the stream's end */
    bool hungry;     /* the last peek gave nothing: tell when that changes */
    bool deferred;   /* on the engine's list for the end of the turn, for: */
    bool log_soon;   /*   writing a delta */
    bool ready_soon; /*   the ready event */
    bool reading;    /* a disk read is under way */

    struct sidx_filter *filters; /* owned array; strings borrowed from cfg */
    bool *wild;                  /* owned: filter i has wildcards */
    size_t nfilters;             /* 0 = everything */
    bool odd;  /* may hold messages that its filters do not match: they were changed once */
    bool wide; /* consumer_index.c: in the list of those that are always asked, at wide_at */
    size_t wide_at;
    uint64_t round; /* of the last removal it was told of */

    /* state */
    uint64_t delivered_cseq, delivered_sseq;
    uint64_t floor_cseq, floor_sseq;
    int64_t delivered_ts_ns, floor_ts_ns;
    uint64_t next_seq;
    uint64_t lps_resume;  /* last_per_subject: up to here only the sequences of `lps` count; 0 = no
                             such phase */
    struct cons_seqs lps; /* ascending; [lps_at ..) not delivered yet */
    size_t lps_at;
    struct cons_pends pend;
    uint64_t nack, nredelivered; /* pending (without exhausted); slots with dcount > 1 */
    uint64_t npending;           /* matching messages not looked at yet */
    uint64_t counted_to;         /* visible sequence that npending covers; what became visible
                                    since then does not match */
    struct cons_seqs
        queue; /* redeliveries, oldest first from queue_at; entries are checked when taken */
    size_t queue_at;
    struct cons_seqs ahead; /* sparse filters: matching sequences found in advance, from ahead_at */
    size_t ahead_at;
    uint64_t last_read; /* for read-ahead hints */

    struct {           /* the last peek, until take */
        uint64_t sseq; /* 0 = none */
        bool redelivery;
    } peeked;

    /* not logged yet */
    bool dirty_position;
    struct cons_seqs dirty; /* pending messages that changed */
    struct cons_seqs acked; /* pending messages that a delta named and that are gone */
    struct cons_seqs
        consumed; /* work queue, interest: removed from the stream with the next delta */
    struct cons_waiter *waiter; /* owned: acks that want an answer */
    size_t nwaiters, waiter_cap;
    struct cons_gone *gone; /* owned: deleted without an ack, told at the end of the turn */
    size_t ngone, gone_cap;
    unsigned acks_since;     /* since the last delta */
    int64_t flush_at_ns;     /* boot; INT64_MAX = nothing to flush */
    int64_t scan_at_ns;      /* boot; earliest deadline known; INT64_MAX = none */
    struct eng_timer *timer; /* owned */
};

/* --- consumer_index.c ------------------------------------------------------------------------- */
/* Around every change of its filters, or of `odd`. */
void cons_index_add(struct store_cons *c);
void cons_index_remove(struct store_cons *c);
/* Whether some consumer is still to get this message, or has it pending. */
bool cons_any_wants(const struct store_stream *s, uint64_t seq, const struct sidx_entry *entry);

/* --- consumer_pending.c ----------------------------------------------------------------------- */
void seqs_push(struct cons_seqs *l, uint64_t seq);
void seqs_fini(struct cons_seqs *l);
/* Sorts, and drops repeats. */
void seqs_sort(struct cons_seqs *l);
/* First index >= from whose value is >= seq, in a sorted list. */
size_t seqs_find(const struct cons_seqs *l, size_t from, uint64_t seq);

struct cons_pend *pends_find(const struct cons_pends *p, uint64_t sseq); /* NULL = none */
/* First (not a hole) with sseq >= this; NULL = none. */
struct cons_pend *pends_at_or_after(const struct cons_pends *p, uint64_t sseq);
/* Finds or makes a slot (dcount 0 when made; the caller sets it). Ascending is O(1). */
struct cons_pend *pends_put(struct cons_pends *p, uint64_t sseq);
void pends_drop(struct cons_pends *p,
                struct cons_pend *e); /* moves slots: pointers are void after it */
void pends_fini(struct cons_pends *p);
static inline struct cons_pend *pends_begin(const struct cons_pends *p)
{
    return p->n == 0 ? NULL : p->v + p->head;
}
static inline struct cons_pend *pends_end(const struct cons_pends *p)
{
    return p->n == 0 ? NULL : p->v + p->head + p->n;
}

/* Puts a pending message into the redelivery queue (once). */
void cons_queue(struct store_cons *c, struct cons_pend *e);
/* The first valid one of the redelivery queue; 0 = empty. Drops stale ones on the way. */
uint64_t cons_queue_front(struct store_cons *c);
void cons_queue_pop(struct store_cons *c);
/* How long delivery number dcount may stay unacknowledged; INT64_MAX = for ever. */
int64_t cons_wait_ns(const struct store_cons *c, uint32_t dcount);
/* The config has changed: what is pending waits as long as if it had been delivered under the new
 * one, as upstream has it. */
void cons_wait_changed(struct store_cons *c, const struct cons_cfg *before);
/* Sets a deadline and the time of the next scan. */
void cons_set_deadline(struct store_cons *c, struct cons_pend *e, int64_t at_boot_ns);
/* Queues what is overdue, retires what used up max_deliver, finds the next deadline. */
void cons_scan(struct store_cons *c, int64_t now_boot_ns);
/* A pending message is done with (acked, terminated, gone): drops it and moves the floor as
 * upstream does. */
void cons_settle(struct store_cons *c, struct cons_pend *e);

/* --- consumer_walk.c -------------------------------------------------------------------------- */
void cons_set_filters(struct store_cons *c); /* from cfg */
bool cons_matches(const struct store_cons *c, const struct sidx_entry *e);
/* Not looked at yet and matching (entry of a live message). */
bool cons_wants_new(const struct store_cons *c, uint64_t seq, const struct sidx_entry *e);
/* Positions as the deliver policy says for a consumer made now. */
void cons_position_fresh(struct store_cons *c);
/* Computes npending from the stream, and the rest of the last_per_subject phase. */
void cons_recount(struct store_cons *c);
/* last_per_subject: `seq` of this subject is about to go before it was delivered; what stands
 * before it is the subject's last then. So the phase is a function of the stream and lps_resume,
 * and a restart finds the same. */
void cons_lps_replace(struct store_cons *c, uint64_t seq, const struct sidx_entry *e);
/* The next live matching sequence from next_seq on, at most counted_to; 0 = none. Moves next_seq
 * over what does not match. */
uint64_t cons_next_new(struct store_cons *c);

/* --- consumer_delta.c ------------------------------------------------------------------------- */
/* Remembers a change of a pending message for the next delta. */
void cons_mark(struct store_cons *c, struct cons_pend *e);
/* Something is to be logged: soon (end of the turn) or within 50 ms. */
void cons_mark_position(struct store_cons *c, bool soon);
/* Writes one delta with all that is not logged; applies removals; hands waiters their ticket. */
void cons_log(struct store_cons *c);
bool cons_logs_state(const struct store_cons *c); /* false: memory stream or mem_storage */

/* --- consumer.c ------------------------------------------------------------------------------- */
void cons_arm(struct store_cons *c);      /* sets the timer for the earlier of flush and scan */
void cons_log_soon(struct store_cons *c); /* cons_log at the end of the turn */
void cons_read_done(void *arg);           /* stream_read's callback (consumer_ops.c) */
void cons_ready_soon(
    struct store_cons *c); /* tells the broker at the end of the turn, if it waits */
/* fn is told when the next delta is durable. */
void cons_add_waiter(struct store_cons *c, store_done_fn fn, void *arg);
/* True where an ack removes the message (work queue; interest, when it was the last). */
static inline bool cons_consumes(const struct store_cons *c)
{
    return c->s->cfg.retention != RETENTION_LIMITS;
}

#endif
