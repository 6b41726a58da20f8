/* A stream inside the engine: its state in memory, how it changes, and what consumers may use of
 * it. Private to engine/.
 *
 * One state, not two. A record is checked, encoded into the journal chunk and applied to the state
 * in memory in one go (stream_log_*), so the state is always "as of the newest record written".
 * What may be *seen* is gated: every reply, delivery and event waits until the ticket of the newest
 * record it rests on is done (s->ticket against the writer's done ticket; eng_wait). A crash
 * forgets what was not done, and nobody was told. A poisoned lane never lets anything out any more.
 * So there is no second copy of index and counters, and no undo.
 *
 * Replay applies the same records with the same functions (stream_apply_*), so I10 holds by
 * construction: a change that is not a record cannot happen.
 *
 * Everything here runs on the owner thread (start-up: the opening thread). */
#ifndef ENGINE_STREAM_H
#define ENGINE_STREAM_H

#include "engine/dedup.h"
#include "engine/liveset.h"
#include "engine/msgmap.h"
#include "engine/store.h"
#include "engine/schedset.h"
#include "engine/srcpos.h"
#include "engine/subject_index.h"
#include "engine/tail.h"
#include "engine/ttl_heap.h"

struct eng;
struct seg_set; /* engine/segment.h: the stream's segments */

struct eng_damage {
    uint64_t lo, hi; /* sequences, inclusive; 0 = not known */
    char *text;      /* owned */
};

/* An atomic batch on its way over several tickets (stream_batch.c). */
struct stream_batch_held {
    uint64_t first_seq, last_ticket;
};

struct store_stream {
    uint32_t magic;
    uint32_t gid;
    struct eng *eng;       /* borrowed */
    struct stream_cfg cfg; /* owned */
    uint32_t cfg_version;
    int64_t created_ns;
    void *user; /* broker's */
    bool dropped;
    bool memory; /* cfg.storage */
    enum store_durability durability;

    /* state as of the newest record */
    uint64_t last_seq;    /* 0 = nothing yet */
    uint64_t first_seq;   /* last_seq + 1 when empty */
    uint64_t msgs, bytes; /* bytes: logical */
    int64_t last_ts_ns;
    uint64_t oseq;                     /* ordinal of the newest record */
    uint64_t ticket;                   /* of the newest record; 0 = older than this process */
    uint64_t visible_seq;              /* messages up to here may be delivered */
    struct stream_batch_held *batches; /* owned: atomic batches whose last ticket is not done */
    size_t nbatches;
    struct liveset *live; /* owned */
    struct sidx *idx;     /* owned */
    struct msgmap map;
    struct dedup *dedup; /* owned */
    uint64_t id_seed;    /* of the hashes in it; the stream's own, so that it can move to another
                            store. The store's crc_seed, which nobody outside sees, where the window
                            is from before streams had one */
    struct srcpos sources;
    struct schedset scheds;
    struct eng_account *account; /* borrowed; NULL while the stream has no name */
    struct tail tail;
    uint64_t lap_at;         /* bytes of the tail that ask for a checkpoint; UINT64_MAX = asked */
    uint64_t lap_bytes;      /* s->bytes as of the last one */
    struct seg_set *segs;    /* owned; NULL until the first flush */
    struct extents *extents; /* owned; NULL until the first large message */
    uint64_t reserved_seq;   /* memory streams: highest sequence reserved by a SKIP */
    uint64_t reserved_done_seq; /* ... by a durable one */
    struct jr_chunk
        *mem_chunk; /* owned reference: where the next message of a memory stream goes */

    /* consumers, sorted by name */
    struct store_cons **cons;      /* owned array of owned consumers */
    struct store_cons **by_sub;    /* owned array: the same, sorted by sub */
    size_t ncons, cons_cap;        /* of both */
    struct cons_index *cons_index; /* owned: whom a subject concerns; NULL: there are none */
    uint32_t next_sub;
    uint64_t release_at;       /* interest: messages from here on are still to be looked at for
                                  whether anybody wants them; 0 = none */
    struct eng_timer *release; /* owned; NULL until it is first needed */
    bool release_owed;         /* start-up: such a look was begun, and no record says its end */
    bool release_saved;        /* the catalogue has a row that says so */
    bool quiet_removals;       /* a purge or rollup removes: consumers tell nobody */
    bool marking;              /* a delete marker is written: what it rolls up has expired */

    /* checkpoint bookkeeping (checkpoint.c) */
    uint64_t
        first_dirty_lsn; /* of the first record no checkpoint covers; 0 = none known durable yet */
    uint64_t next_dirty_lsn; /* the same for records behind a running freeze */
    uint64_t newest_lsn;     /* of the newest done record */
    uint64_t last_lsn;       /* of the newest done record that a running freeze covers */
    uint64_t flushed_lsn;    /* records up to here are in catalogue and segments */
    uint64_t freeze_ticket;  /* while ckpt_busy: state as of this ticket; 0 when nothing was written
                                yet in this run */
    uint64_t flushed_seq;    /* messages up to here are in segments (or dead) */
    uint64_t drop_lsn;       /* dropped: of the DROP record; 0 = not durable yet */
    uint64_t tomb_generation; /* dropped: generation that holds the tombstone; 0 = none yet */
    bool dir_gone;            /* dropped: s/<gid> has been removed */
    uint32_t *dropped_subs;   /* owned: consumers whose rows must go at the next checkpoint */
    size_t ndropped_subs;
    bool ckpt_busy;  /* a checkpoint job holds it */
    bool ckpt_dirty; /* something is not covered by a checkpoint */
    struct seq_runs
        ckpt_removed; /* flushed messages removed since the last freeze: rows for segdel */

    uint64_t ckpt_first_seq; /* the floor that the catalogue has */
    struct seq_runs erase;   /* securely deleted; may still stand in a segment (compact.c) */
    bool erase_saved;        /* the catalogue has a row of them */
    bool compact_look;       /* its segments are to be looked at, from compact_at on */
    size_t compact_at;
    bool dead_look;     /* something was removed since it was last counted (compact.c) */
    uint64_t dead_seen; /* dead messages in segments, when that last asked for a checkpoint */

    uint8_t *load_tail; /* owned: tail column until the segments are in (start-up) */
    size_t load_tail_len;
    uint64_t load_last_seq;

    struct eng_damage *damage; /* owned */
    size_t ndamage;
    size_t damage_saved; /* of these, the first so many stand in the catalogue */
    uint64_t damaged_msgs;
    bool damage_vague; /* damaged_msgs is a guess: no sequence is known */

    uint64_t removal_ticket; /* of the newest record that can uncover an older message (delete,
                                purge, consumed) */
    struct block
        *blocks[4]; /* owned references: blocks read last, so that sequential readers find them */
    unsigned block_next;
    struct read_wait *reads;  /* owned: reads under way */
    bool last_reading;        /* stream_op_last_msg waits for a block */
    struct get_op *gets;      /* gets under way (stream_ops.c) */
    struct stream_tap *tap;   /* counted; NULL: nobody listens (stream_tap.c) */
    struct eng_timer *expiry; /* owned; NULL until something is to expire */
    int64_t expiry_at_ns;     /* store time it is set for; INT64_MAX = not set */
    struct ttl_heap ttl;      /* when messages expire by their own TTL */
    uint64_t age_next;        /* live messages below stay whatever their age */
    int64_t pace_second;      /* boot second of pace_used */
    uint64_t pace_used;       /* backlog messages expired in it */

    int64_t first_ts_ns; /* of first_seq when first_ts_seq == first_seq */
    uint64_t first_ts_seq;
};
#define STREAM_MAGIC 0x5354524du

/* ---- what consumer.c implements, called by stream.c ------------------------------------------ */

/* Messages (from, to] became visible: tells the consumers that want some of them. Called once per
 * done ticket and stream. */
void cons_tell_visible(struct store_stream *s, uint64_t from_seq, uint64_t to_seq);
/* A live message is about to be removed; its index entry still stands. Tells the consumers that
 * wanted or have it, but `except` (whose own ack removes it). */
void cons_tell_removed(struct store_stream *s, uint64_t seq, const struct sidx_entry *entry,
                       const struct store_cons *except);
/* Whether some consumer's filters match the literal subject. */
bool cons_any_matches(const struct store_stream *s, const char *subject, size_t len);
/* What cons_tell_visible and cons_tell_removed say, to one consumer. */
void cons_on_visible(struct store_cons *c, uint64_t from_seq, uint64_t to_seq);
void cons_on_remove(struct store_cons *c, uint64_t seq, const struct sidx_entry *entry);
/* The floor moved over many messages at once (purge of all, big floors): recompute what was
 * counted. */
void cons_on_floor(struct store_cons *c, uint64_t first_seq);
/* A purge by request moved the floor to first_seq (its messages have been removed): consumers that
 * stood below move there, as upstream's do (limits and expiry do not move them). */
void cons_on_purged(struct store_cons *c, uint64_t first_seq);
/* The same for a purge, or rollup, of the subjects that a filter matches. */
void cons_on_purged_subject(struct store_cons *c, const char *filter, size_t len);

/* ---- what consumer.c may use ----------------------------------------------------------------- */

/* Writes one record of this stream and makes it part of the state's ticket. `body` is copied.
 * removed (may be NULL) are sequences that the record removes: they go into the group index; the
 * caller then applies the removal with stream_apply_removed(). sync: on relaxed streams, wait for a
 * sync all the same (removals, config, confirmed acks). Memory streams: returns ST_OK, writes
 * nothing. ST_POISONED, ST_FULL (only when not urgent), ST_NOMEM. */
MUST_USE enum st stream_log(struct store_stream *s, enum rec_type type, uint8_t flags, uint32_t sub,
                            const uint8_t *body, size_t body_len, const struct seq_runs *removed,
                            bool sync, bool urgent);
/* Removes live messages from the state (index, counters, tail), telling all consumers but `except`
 * (may be NULL). Sequences that are not live are skipped. Returns how many were live. */
uint64_t stream_apply_removed(struct store_stream *s, const struct seq_runs *runs,
                              const struct store_cons *except);
/* What the message counts for in limits and state.bytes. */
static inline uint64_t stream_msg_size(const struct store_stream *s, uint64_t subj_len,
                                       uint64_t hdr_len, uint64_t data_len)
{
    return s->memory ? msg_memory_size(subj_len, hdr_len, data_len)
                     : msg_logical_size(subj_len, hdr_len, data_len);
}
/* Subject entry of a live message; NULL when it is not live. */
const struct sidx_entry *stream_entry(const struct store_stream *s, uint64_t seq);

void stream_op_tap(struct store_stream *s, store_tap_fn fn, void *arg);
/* A message was written: its MSG form lies at p in the chunk. Only while s->tap is set. */
void stream_tap_stored(struct store_stream *s, struct jr_chunk *chunk, const uint8_t *p, size_t len,
                       uint64_t last_seq);

enum stream_read { STREAM_READ_OK, STREAM_READ_PENDING, STREAM_READ_DAMAGED, STREAM_READ_GONE };
typedef void (*stream_read_fn)(void *arg);
/* Gives live message `seq`: from the tail or the block cache at once (STREAM_READ_OK; valid until
 * the end of the turn), or starts a disk read (STREAM_READ_PENDING: fn(arg) runs on the owner when
 * it makes sense to ask again; one per (fn, arg) at a time). DAMAGED: lost to rot. GONE: not live.
 * hint_sequential asks for read-ahead. */
enum stream_read stream_read(struct store_stream *s, uint64_t seq, bool hint_sequential,
                             struct msg *m_out, stream_read_fn fn, void *arg);
/* How the bytes of what stream_read just gave are kept beyond the turn: large messages that stand
 * in a block. Those in the tail are not; they would hold a chunk of the journal. */
struct msg_keep stream_keep_large(const struct store_stream *s, const struct msg *m);
static inline struct msg_keep stream_keep(const struct store_stream *s, const struct msg *m)
{
    return m->data_len >= MSG_KEEP_BYTES_MIN ? stream_keep_large(s, m) : (struct msg_keep){0};
}
/* Forgets a pending read's callback (the consumer goes away). */
void stream_read_cancel(struct store_stream *s, stream_read_fn fn, void *arg);

/* First sequence whose timestamp is >= ts. Exact for the tail; in segments exact to the message
 * when the block is cached, else the first sequence of the block that holds it (reads from there
 * skip older ones by their timestamp). */
uint64_t stream_seq_at_time(struct store_stream *s, int64_t ts_ns);

/* Runs fn(arg, st, n, err) on the owner when `ticket` is done (ST_OK) or the lane is poisoned
 * (ST_POISONED). Never inside the call. fn may not be NULL. */
void eng_wait(struct eng *e, uint64_t ticket, store_done_fn fn, void *arg, enum st st, uint64_t n);
/* The same for a call of the engine's own, whose arg has to be freed: when the store closes before,
 * fn is called with ST_CLOSED and only frees. */
void eng_wait_own(struct eng *e, uint64_t ticket, store_done_fn fn, void *arg, enum st st,
                  uint64_t n);
/* The ticket to wait for so that everything of the stream is durable; 0 = nothing to wait for. */
static inline uint64_t stream_ticket(const struct store_stream *s)
{
    return s->memory || s->durability == DURABILITY_ASYNC ? 0 : s->ticket;
}
/* Store time now (unix ns, never goes back) and the boot clock (intervals). */
int64_t eng_now_ns(struct eng *e);
int64_t eng_boot_ns(struct eng *e);

/* Deadlines on the owner: one-shot timers keyed by boot_ns (engine/wheel.h nodes inside). */
struct eng_timer;
struct eng_timer *eng_timer_create(struct eng *e, void (*fn)(void *arg), void *arg);
void eng_timer_set(struct eng_timer *t, int64_t at_boot_ns); /* moves it if set; INT64_MAX = off */
void eng_timer_destroy(struct eng_timer *t);                 /* NULL is a no-op */
/* Runs fn(arg) once at the end of this turn (or of the running poll); coalesced by (fn, arg) by the
 * caller's own flag. */
void eng_defer(struct eng *e, void (*fn)(void *arg), void *arg);
void eng_undefer(struct eng *e,
                 const void *arg); /* deferred calls with this argument are forgotten */

/* ---- consumers, as engine.c and checkpoint.c use them (implemented in consumer*.c) ----------- */

/* Makes a consumer object in the stream's array. fresh: positions by its deliver policy (the caller
 * has logged CFG); else empty, to be filled by cons_load / replay. Owned by the stream. */
struct store_cons *cons_make(struct store_stream *s, uint32_t sub, const struct cons_cfg *cfg,
                             uint32_t cfg_version, int64_t created_ns, bool fresh);
bool cons_same_filters(const struct cons_cfg *a, const struct cons_cfg *b);
void cons_set_cfg(struct store_cons *c, const struct cons_cfg *cfg,
                  uint32_t cfg_version); /* update; copies */
void cons_free(
    struct store_cons *c); /* takes it out of the array; cancels timers and reads; frees */
struct store_cons *cons_by_sub(struct store_stream *s, uint32_t sub);
/* NULL: there is none. */
struct store_cons *cons_by_name(const struct store_stream *s, const char *name);
/* Its state comes from elsewhere: it may hold messages that its filters do not match. */
void cons_distrust(struct store_cons *c);
/* The next one by name; c NULL: the first. NULL: that was the last. */
struct store_cons *cons_after(const struct store_stream *s, const struct store_cons *c);
/* Replays a CONS_DELTA body (ST_CORRUPT on nonsense). Removed runs are applied by the caller. */
MUST_USE enum st cons_apply_delta(struct store_cons *c, const uint8_t *body, size_t len,
                                  struct seq_runs *removed_out);
/* Reads only the removed runs of a delta (its consumer may be gone). */
MUST_USE enum st cons_delta_removed(const uint8_t *body, size_t len, struct seq_runs *removed_out);
/* Snapshot for a checkpoint. cons_flush first logs what no delta holds yet, so that state ==
 * records. */
void cons_flush(struct store_cons *c);
void cons_snapshot(const struct store_cons *c, uint8_t **blob_out,
                   size_t *len_out); /* base_malloc'ed */
MUST_USE enum st cons_load(struct store_cons *c, const uint8_t *blob, size_t len, struct err *err);
/* After recovery: recompute counts from the stream, start timers, clamp to the stream's bounds.
 * mem_storage consumers are positioned as their deliver policy would put a new one. */
void cons_recovered(struct store_cons *c);
/* Highest sequence the consumer's state names (delivered, acked): a lost record must not let it be
 * issued again. */
uint64_t cons_max_seq(const struct store_cons *c);
uint32_t cons_sub(const struct store_cons *c);
uint32_t cons_cfg_version(const struct store_cons *c);
int64_t cons_created_ns(const struct store_cons *c);
/* True when the message would be wanted by this consumer (its filters match) and it has not been
 * acknowledged yet. */
bool cons_wants(const struct store_cons *c, uint64_t seq, const struct sidx_entry *entry);
/* Interest and work queue: after a consumer was deleted or acked, or none is left: removes what
 * nobody wants any more (logged with reason CONSUMED or NOINTEREST) up to the visible sequence.
 * Bounded work per call; continues by eng_defer. */
void cons_release_unwanted(struct store_stream *s);
/* A stream that becomes one of interest: the next live message from there on that a consumer has
 * had and none wants any more; 0: none. What no consumer ever matched stays, as upstream has it. */
uint64_t cons_next_settled(const struct store_stream *s, uint64_t from);
bool cons_was_reset(const struct store_cons *c); /* and nothing was delivered since */
/* Recovery: goes on with what a crash cut short, from the timer. */
void cons_release_resume(struct store_stream *s);

/* store_ops entries (consumer_ops.c): */
const struct cons_cfg *cons_op_cfg(struct store_cons *c);
struct store_stream *cons_op_stream(struct store_cons *c);
void cons_op_state(struct store_cons *c, struct cons_state *out);
void cons_op_attach(struct store_cons *c, const struct cons_events *ev);
void *cons_op_user(struct store_cons *c);
void cons_op_set_user(struct store_cons *c, void *user);
enum st cons_op_peek(struct store_cons *c, struct cons_peek *out);
void cons_op_take(struct store_cons *c);
void cons_op_ack(struct store_cons *c, enum cons_ack_kind kind, uint64_t stream_seq,
                 uint64_t consumer_seq, int64_t delay_ns, store_done_fn fn, void *arg);
void cons_op_reset(struct store_cons *c, uint64_t seq, store_done_fn fn, void *arg);
bool cons_op_unacked(struct store_cons *c, uint64_t sseq, struct cons_unacked *out);
/* create, update, delete of consumers: engine/ddl.c. */

#endif
