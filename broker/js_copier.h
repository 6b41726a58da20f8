/* A copier: fills a stream from one origin (its mirror, or one of its sources). Private to
 * broker/js_copier*.c.
 *
 * It is a client of the consumer API and knows nothing else of the origin, which may live behind
 * other prefixes: it asks for an ephemeral push consumer with flow control and heartbeats, which
 * starts behind the last message that the stream has, and stores what comes. Its position is what
 * the stream has: nothing else is kept, so a restart goes on exactly there. Whatever goes wrong (a
 * gap in the consumer's sequence, silence, a refused append) ends in the same way: a new consumer.
 *
 *            js_copiers_reload           request             first message, or answer
 *   (made) ───────────────────> WAIT ──────────────> ASK ──────────────────────────> RUN
 *                                 ^                   │ error, timeout                │ gap,
 * silence, └───────────────────┴───────────────────────────────┘ refusal
 *
 * Bounded in flight: a flow control request is answered when everything that came before it is
 * stored (as durably as the stream asks), so at most the origin's window is on its way. While the
 * journal window is full, messages are kept in order; at a bound the copier starts anew.
 *
 * Invariants: 1. messages reach the store in the origin's order, each naming the one before (an
 * append behind a refused one is refused too), so nothing is left out; 2. after stop no callback
 * touches the stream; the memory goes with the last append under way.
 *
 * Loop thread only. What a crash can leave: an idle consumer at the origin, which goes by its
 * inactive threshold. */
#ifndef BROKER_JS_COPIER_H
#define BROKER_JS_COPIER_H

#include "broker/js_hdr_edit.h"
#include "broker/js_int.h"
#include "broker/js_xform.h"

#define JS_COPIER_HEARTBEAT_NS NS_PER_S
#define JS_COPIER_IDLE_NS (10 * NS_PER_S) /* inactive threshold of its consumer */
#define JS_COPIER_SILENCE_MS 10000        /* without a heartbeat: the consumer is gone */
#define JS_COPIER_CHECK_MS 2000u
#define JS_COPIER_ASK_MS 5000u      /* for the answer of a request */
#define JS_COPIER_RETRY_MIN_MS 250u /* doubles with each failure */
#define JS_COPIER_RETRY_MAX_MS 10000u
#define JS_COPIER_HELD_MAX ((size_t)64 * 1024 * 1024)
#define JS_COPIER_REPLY_MAX 640u /* bytes of a flow control subject */

enum copier_state { COPIER_WAIT, COPIER_ASK, COPIER_RUN };

/* A message that waits for room in the journal. */
struct copier_held {
    struct copier_held *next;
    uint64_t sseq;
    int64_t ts_ns;
    uint32_t subject_len, hdr_len, data_len;
    uint8_t bytes[];
};

struct js_copier {
    struct js_copier *next, *prev; /* of all */
    struct js *js;
    struct js_account *ja;
    struct js_stream *stream; /* borrowed; NULL once stopped */
    uint32_t refs;
    struct js_origin origin; /* owned */
    char *key;               /* owned: the origin's config, as JSON */
    bool mirror;
    enum copier_state state;
    struct brk_timer *timer; /* owned: next start, answer's timeout, or look for life */
    struct brk_sub *reply_sub, *deliver_sub; /* owned */
    char consumer[LIM_NAME_BYTES_MAX + 1];   /* as the origin calls it; "" = none */
    bool durable;   /* it keeps for us what is not acknowledged (work queue, interest) */
    unsigned fails; /* starts without a message or heartbeat since */
    struct api_error err;
    bool failed;     /* err is shown; an origin may answer with an empty one */
    uint64_t cseq;   /* of the consumer's last message */
    uint64_t lag;    /* messages behind it */
    int64_t last_ms; /* last sign of life; -1 = never */
    bool synced;
    /* storing */
    /* Of a mirror: the stream's last sequence; of a source: the stream's position in it. As it is
     * once all that was submitted is stored. */
    uint64_t tip;
    uint64_t source_seq;      /* the same of the last message that was submitted, not passed over */
    struct js_hdr_edit block; /* of a counter's message, before its source is marked */
    /* Of a source, owned: the position's key, and what stands in the header before and behind the
     * sequence. */
    char *source_key, *source_head, *source_tail;
    struct js_xform **xforms; /* owned: one for each transform of the origin; NULL: only filters */
    uint64_t submitted, done; /* appends */
    bool broken;              /* an append was refused */
    char fc_reply[JS_COPIER_REPLY_MAX];         /* flow control request to answer; "" = none */
    uint64_t fc_at;                             /* once this many appends are done */
    uint64_t fc_cseq, fc_sseq;                  /* the last message before it */
    uint64_t sseq;                              /* of the last message */
    struct copier_held *held_first, *held_last; /* owned */
    size_t held_bytes;
};

/* The reset of a consumer that somebody made is under way: what comes may be from before it, and
 * waits for the answer. */
static inline bool js_copier_resetting(const struct js_copier *c)
{
    return c->origin.consumer.n > 0 && c->reply_sub != NULL;
}

/* --- js_copier_store.c --- */
/* A message of the origin. False: broken off, start anew. */
bool js_copier_take(struct js_copier *c, const struct brk_msg *m, uint64_t sseq, int64_t ts_ns);
/* A flow control request: answered when all that was taken is stored. */
void js_copier_flow(struct js_copier *c, struct brk_str reply);
void js_copier_retry(struct js_copier *c);
/* Forgets what waits. */
void js_copier_forget(struct js_copier *c);
/* The same, and begins at the stream's position. */
void js_copier_rewind(struct js_copier *c);
/* The sequence of the origin to start at; 0: as the config says. */
uint64_t js_copier_start_seq(const struct js_copier *c);
/* The origin has nothing up to this sequence. */
void js_copier_skip(struct js_copier *c, uint64_t sseq);

/* The headers of a counter's message from a source as this stream stores it (js_counter_source.c).
 * REFUSED: it is none. AGAIN: what it comes on top of is being read. */
enum js_counter js_counter_from_source(struct js_copier *c, const struct brk_msg *m,
                                       struct brk_str stored_as, struct js_hdr_edit *out);

/* --- js_copier.c --- */
void js_copier_unref(struct js_copier *c);
/* Starts anew after a while; *why (may be NULL) is shown in the stream's info. */
void js_copier_again(struct js_copier *c, const struct api_error *why);

#endif
