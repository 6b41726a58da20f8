/* The engine's inside: what stream.c, ddl.c, recover.c and checkpoint.c share. Private to engine/.
 * Owner thread, but where a field says otherwise. */
#ifndef ENGINE_ENG_H
#define ENGINE_ENG_H

#include <stdatomic.h>

#include "engine/blockcache.h"
#include "engine/catalogue.h"
#include "engine/engine.h"
#include "engine/journal.h"
#include "engine/reader.h"
#include "engine/segment.h"
#include "engine/store_file.h"
#include "engine/store_time.h"
#include "engine/stream.h"
#include "engine/wheel.h"

/* Bytes of an account's streams, kept as they come and go; for its lifetime. */
struct eng_account {
    char *name; /* owned */
    uint64_t file_bytes, mem_bytes;
};
/* One completion that waits: a ring of these, in order of ticket. */
struct eng_waiter {
    uint64_t ticket;
    store_done_fn fn;
    store_append_fn append_fn; /* or this: a stored message, n is its sequence */
    void *arg;
    uint64_t n;
    enum st st;
    bool own; /* fn frees arg; told ST_CLOSED when the store goes first */
};
struct eng_ring {
    struct eng_waiter *v; /* owned */
    size_t cap, head, n;
};
struct eng_deferred {
    void (*fn)(void *arg);
    void *arg;
};

/* The stream's segments: immutable views, ascending. */
struct seg_set {
    struct seg_view **v; /* owned references */
    size_t n, cap;
    uint64_t next_segno;
    uint32_t segdel_parts; /* rows in segdel */
};

struct ckpt;    /* checkpoint.c */
struct compact; /* compact.c */

struct eng {
    struct store base;
    uint32_t magic;
    struct env *env; /* borrowed */
    struct eng_opts opts;
    char *root, *journal_dir, *quarantine_dir; /* owned */
    struct env_lock *lock;                     /* owned */
    struct store_ident ident;
    struct cat *cat;          /* owned */
    struct jr *jr;            /* owned */
    struct jw *jw;            /* owned */
    struct segs *segs;        /* owned */
    struct blockcache *cache; /* owned */
    struct reader_pool *pool; /* owned */
    struct ckpt *ckpt;        /* owned */
    struct compact *compact;  /* owned */

    struct store_stream *
        *by_name; /* owned array, sorted by (account, name): streams that can be found */
    size_t nstreams, by_name_cap;
    size_t walk_at;               /* in by_name: what stream_next gave last; only a hint */
    struct store_stream **by_gid; /* owned array of owned streams, sorted by gid; dropped ones until
                                     they are tombstones */
    size_t ngids, by_gid_cap;
    uint32_t next_gid;

    struct eng_ring waiting;       /* tickets not done yet */
    struct eng_ring ready;         /* run at the next turn or poll */
    struct eng_deferred *deferred; /* owned */
    size_t ndeferred, deferred_cap;
    struct wheel wheel;
    uint64_t done_ticket; /* highest done ticket seen by poll */
    uint64_t done_lsn;    /* LSN of the newest record known to be done */

    struct store_time time;
    int64_t now_ns, boot_ns; /* cached for the turn; 0 = stale */

    struct store_stream **kick; /* owned: memory and async streams with new visible messages */
    size_t nkick, kick_cap;
    struct block **held; /* owned: block references let go at the end of the turn */
    size_t nheld, held_cap;

    uint64_t file_bytes, mem_bytes; /* logical, all streams */
    struct eng_account **accounts;  /* owned array of owned */
    size_t naccounts;
    enum st poisoned; /* ST_OK, or why nothing goes out any more */
    struct err poison_err;
    int64_t pace_before_ns; /* expiries due before this store time are a backlog: paced */
    bool low_space;
    bool replaying; /* recovery: records are applied, nothing is logged, nobody is told */
    bool shut;      /* closing */
    /* Tests look on: told of each removal by time, in the order of the records. floor, or runs, or
     * the sequence that a marker replaced. */
    void (*on_expired)(void *arg, struct store_stream *s, uint64_t floor,
                       const struct seq_runs *runs, uint64_t marked);
    void *on_expired_arg;
    bool hold_expiry;      /* tests: nothing goes by time, nor what nobody wants any more */
    unsigned release_step; /* tests: of how many messages; 0 = as it should be */
    /* Tests: interest; messages [from, upto) were looked at and `runs` are removed, or all by
     * `floor`. done: it was the last step. */
    void (*on_released)(void *arg, struct store_stream *s, uint64_t from, uint64_t upto,
                        uint64_t floor, const struct seq_runs *runs, bool done);
    void (*on_batch_part)(void *arg); /* tests: each message of an atomic batch gets a ticket */

    uint64_t load_checkpoint_lsn, load_end_lsn; /* as the catalogue said at the start */
    struct store_stream *replay_last;           /* start-up: whose record was replayed last */
    bool fresh, clean;
    struct jr_recovered recovered;
    int64_t recovery_ns;
    uint64_t checkpoints, segment_bytes_written;
    uint64_t compactions, compacted_bytes; /* segments rewritten; what they shrank by */
    struct eng_damage *unowned;            /* owned: damage that names no stream we know */
    size_t nunowned;
};
#define ENG_MAGIC 0x454e4731u

static inline struct eng *eng_of(struct store *s)
{
    struct eng *e = CONTAINER_OF(s, struct eng, base);
    ASSERT(e->magic == ENG_MAGIC);
    return e;
}

/* --- eng_wait.c: completions, timers, deferred work ------------------------------------------- */
void eng_run_done(
    struct eng *e); /* completes waiters whose ticket is done, then everything ready */
/* The common case of a publish: no allocation. */
void eng_wait_append(struct eng *e, uint64_t ticket, store_append_fn fn, void *arg, uint64_t seq);
void eng_run_deferred(struct eng *e);
void eng_poison(struct eng *e, enum st st,
                const struct err *err); /* lane failed: every waiter gets ST_POISONED */
int64_t eng_run_timers(struct eng *e);
void eng_wait_fini(struct eng *e);
void eng_hold_block(struct eng *e,
                    struct block *b); /* takes over a reference; let go at the end of the turn */
void eng_kick(struct eng *e, struct store_stream *s);
void eng_forget_stream(struct eng *e,
                       struct store_stream *s); /* it goes away: kicks and deferred calls */

/* --- streams table (engine.c) ----------------------------------------------------------------- */
struct store_stream *eng_stream_by_gid(struct eng *e, uint32_t gid);
struct store_stream *eng_stream_find(struct eng *e, const char *account, const char *name);
void eng_stream_add(struct eng *e, struct store_stream *s);  /* into the gid table, which owns it */
void eng_stream_link(struct eng *e, struct store_stream *s); /* into the name table */
void eng_stream_unlink(struct eng *e,
                       struct store_stream *s); /* out of the name table; the gid stays known */
/* Bytes more (modulo 2^64: or fewer) for its account, where it has one. */
void eng_account_add(struct store_stream *s, uint64_t delta);
void eng_stream_forget(struct eng *e,
                       struct store_stream *s); /* out of the gid table; the caller frees */
void eng_note_damage(struct eng *e, uint32_t gid, uint64_t lo, uint64_t hi, const char *text);

/* --- stream.c --------------------------------------------------------------------------------- */
/* Makes an empty stream object (not linked). cfg is copied. */
struct store_stream *stream_make(struct eng *e, uint32_t gid, const struct stream_cfg *cfg,
                                 uint32_t cfg_version, int64_t created_ns);
void stream_free(struct store_stream *s);
/* From now on large messages of it may be written once (extent.h). No-op when it was said before.
 */
void stream_make_extents(struct store_stream *s);
void stream_set_cfg(struct store_stream *s, const struct stream_cfg *cfg, uint32_t cfg_version);
/* Applies records; the same for new ones and replayed ones. `chunk`/`off` say where the MSG form
 * lies. */
void stream_apply_append(struct store_stream *s, const struct msg *m, struct jr_chunk *chunk,
                         uint32_t off, uint64_t new_floor, const struct seq_runs *evicted);
void stream_apply_floor(struct store_stream *s, uint64_t first_seq);
void stream_apply_skip(struct store_stream *s, uint64_t last_seq);
/* Applies one replayed record of this stream (any type but CFG and DROP of the stream itself). */
MUST_USE enum st stream_replay(struct store_stream *s, const struct rec *r, const uint8_t *bytes,
                               struct jr_chunk *chunk, struct err *err);
/* Logs the removal of live messages as DELETE records of bounded size (one batch) and applies them.
 * flags: REC_BATCH_MORE when records of the same batch follow. */
MUST_USE enum st stream_remove_logged(struct store_stream *s, const struct seq_runs *runs,
                                      enum rec_reason reason, uint8_t flags);
/* A user's delete of one live message. secure: it is erased from its segment too. */
MUST_USE enum st stream_delete_logged(struct store_stream *s, uint64_t seq, bool secure);
/* flags: REC_BATCH_MORE when records of the same batch follow. */
MUST_USE enum st stream_floor_logged(struct store_stream *s, uint64_t first_seq,
                                     enum rec_reason reason, uint8_t flags);
/* Frees what only a living stream needs; identity and segments stay until the tombstone is written.
 */
void stream_gut(struct store_stream *s);
/* Reserves sequences of a memory stream when it runs low. */
MUST_USE enum st stream_reserve_seqs(struct store_stream *s);
/* Journal said that the ticket with these records is done. */
void stream_entry_done(struct store_stream *s, uint64_t ticket, const struct jr_entry *entry);
/* stream_expiry.c. Config or content is new: looks for what is due at the next run of timers. */
void stream_arm_expiry(struct store_stream *s);
/* A message was appended: the timer comes in time for it. */
void stream_expiry_added(struct store_stream *s, const struct msg *m);
/* Notes when a live message expires (0 and INT64_MAX: never). */
void stream_ttl_add(struct store_stream *s, uint64_t seq, int64_t at_ns);
/* By its Nats-TTL header: unix ns, INT64_MAX = told to stay, 0 = has none. */
int64_t msg_expires_ns(const struct msg *m);
/* window.c: the duplicate window with the seed of its hashes, as it stands in the catalogue (in
 * front of what follows there) and moves between stores. */
uint8_t *window_wrap(const struct store_stream *s, uint8_t *rest, size_t rest_len, size_t *len_out);
const uint8_t *window_unwrap(struct store_stream *s, const uint8_t *in, size_t *len); /* the rest */
/* The window on its own, for an archive; NULL: it cannot leave the store. base_malloc'ed. */
uint8_t *window_export(const struct store_stream *s, size_t *len_out);
/* Is it one? */
MUST_USE enum st window_check(const uint8_t *p, size_t len);
/* Replaces the window of an import by an exported one; durable when done. */
void window_import(struct store_stream *s, const uint8_t *p, size_t len, store_done_fn fn,
                   void *arg);
MUST_USE enum st window_replay(struct store_stream *s, const uint8_t *body, size_t len);
/* stream_append.c. The body of a SKIP that says how far a source has come. */
MUST_USE bool stream_replay_source(struct store_stream *s, const uint8_t *body, size_t len);
/* Appends a message of the engine's own, checked against the limits only.
 * ST_FULL: try again; ST_NOSPACE: the limits refuse it. */
MUST_USE enum st stream_append_own(struct store_stream *s, const struct store_append *a);
/* stream_batch.c. What of `seq` may be seen when `ticket` is done. */
uint64_t stream_batch_visible(struct store_stream *s, uint64_t ticket, uint64_t seq);
/* Interest: no consumer wants messages of this subject. */
bool stream_unwanted(struct store_stream *s, const struct sidx_entry *entry);
/* A reference on the held block that m points into; NULL when it points elsewhere. */
struct block *stream_block_of(const struct store_stream *s, const struct msg *m);
void stream_fail_gets(struct store_stream *s); /* gets under way are answered ST_CLOSED */
void stream_set_visible(struct store_stream *s, uint64_t seq);       /* and tells the consumers */
void stream_dedup_note(struct store_stream *s, const struct msg *m); /* its id enters the window */
void stream_release_blocks(struct store_stream *s);
void stream_note_damage(struct store_stream *s, uint64_t lo, uint64_t hi, const char *text);
bool stream_consistent(const struct store_stream *s); /* I14 and friends; for asserts and tests */

/* store_ops entries */
enum st stream_op_append(struct store_stream *s, const struct store_append *a, store_append_fn fn,
                         void *arg);
uint64_t stream_op_source_seq(struct store_stream *s, const char *key, size_t key_len);
void stream_op_skip(struct store_stream *s, uint64_t last_seq, store_done_fn fn, void *arg);
enum st stream_op_append_batch(struct store_stream *s, const struct store_append *v, size_t n,
                               store_append_fn fn, void *arg);
enum st stream_op_last_msg(struct store_stream *s, const char *subject, uint32_t len,
                           struct msg *m_out);
void stream_op_get(struct store_stream *s, const struct store_get *g, store_get_fn fn, void *arg);
void stream_op_delete(struct store_stream *s, uint64_t seq, bool secure, store_done_fn fn,
                      void *arg);
void stream_op_purge(struct store_stream *s, const struct store_purge *p, store_done_fn fn,
                     void *arg);
void stream_op_state(struct store_stream *s, struct stream_state *out);
void stream_op_barrier(struct store_stream *s, store_done_fn fn, void *arg);
void stream_op_subjects(struct store_stream *s, const char *filter, uint32_t len,
                        bool (*fn)(void *arg, const char *subject, uint32_t len, uint64_t count),
                        void *arg);
bool stream_op_schedules(struct store_stream *s,
                         void (*fn)(void *arg, uint64_t seq, const char *subject, uint32_t len),
                         void *arg);
void stream_op_schedule_found(struct store_stream *s, uint64_t seq);
size_t stream_op_seqs(struct store_stream *s, const char *filter, uint32_t len, uint64_t from,
                      uint64_t *out, size_t max);
uint64_t stream_op_count_from(struct store_stream *s, const char *filter, uint32_t len,
                              uint64_t from);
size_t stream_op_lasts(struct store_stream *s, char *const *filters, size_t n, uint64_t upto,
                       uint64_t *out, size_t max);
void stream_op_deleted(struct store_stream *s, struct seq_runs *out, uint64_t max);

/* --- ddl.c ------------------------------------------------------------------------------------ */
void ddl_stream_create(struct store *st, const struct stream_cfg *cfg, store_stream_fn fn,
                       void *arg);
void ddl_stream_update(struct store *st, struct store_stream *s, const struct stream_cfg *cfg,
                       store_stream_fn fn, void *arg);
void ddl_stream_delete(struct store *st, struct store_stream *s, store_done_fn fn, void *arg);
void ddl_cons_create(struct store_stream *s, const struct cons_cfg *cfg, store_cons_fn fn,
                     void *arg);
void ddl_cons_update(struct store_cons *c, const struct cons_cfg *cfg, store_cons_fn fn, void *arg);
void ddl_cons_delete(struct store_cons *c, store_done_fn fn, void *arg);

/* --- recover.c -------------------------------------------------------------------------------- */
MUST_USE enum st recover_load(struct eng *e, uint64_t *checkpoint_lsn_out, uint64_t *end_lsn_out,
                              struct err *err);
MUST_USE enum st recover_replay(struct eng *e, uint64_t checkpoint_lsn, uint64_t end_lsn,
                                struct err *err);
MUST_USE enum st
recover_judge_files(struct eng *e,
                    struct err *err); /* recover_files.c: after replay, before any flush */
MUST_USE enum st recover_finish(struct eng *e,
                                struct err *err); /* after jr_start: SKIPs, consumers, timers */

/* --- checkpoint.c ----------------------------------------------------------------------------- */
MUST_USE enum st ckpt_create(struct eng *e, struct err *err);
MUST_USE enum st ckpt_start(struct eng *e, struct err *err);
void ckpt_stop(struct eng *e); /* the flusher; idempotent */
/* Shutdown, on the owner: checkpoints everything, waiting for it. Then, with the journal stopped:
 * commits its end. */
void ckpt_close(struct eng *e);
bool ckpt_commit_end(struct eng *e, uint64_t end_lsn);
void ckpt_destroy(struct eng *e);
void ckpt_poll(struct eng *e);                                   /* owner: starts and publishes */
void ckpt_request(struct eng *e, store_done_fn done, void *arg); /* everything; done may be NULL */
bool ckpt_idle(struct eng *e);
/* The stream's tail has reached s->lap_at. */
void ckpt_tail_grew(struct store_stream *s);
void ckpt_stream_dropped(
    struct store_stream *s); /* before its consumers are freed: their rows go too */
void ckpt_consumer_dropped(struct store_stream *s, uint32_t sub);
#define CKPT_TAIL_BLOB_MAX 4096u /* bytes of a tail that goes into the row instead of a segment */
/* The tail column: flushed_seq u64, then MSG forms, each padded to 8 B. */
MUST_USE enum st ckpt_load_tail(struct store_stream *s, const uint8_t *blob, size_t len);
/* For compact.c. */
bool ckpt_committing(const struct eng *e);
void ckpt_wake_flusher(struct eng *e);
/* When a message expires by itself, as segments keep it: 0 = never. p: its MSG form. */
int64_t ckpt_expires_ns(const uint8_t *p);
void ckpt_put_segment(struct cat_txn *t, const struct seg_row *r);
/* Puts a view of the same segment (one reference, taken over) in place of the i-th; takes it out.
 */
void ckpt_replace_view(struct store_stream *s, size_t i, struct seg_view *v);
void ckpt_remove_view(struct store_stream *s, size_t i);

/* --- compact.c -------------------------------------------------------------------------------- */
void compact_create(struct eng *e);
MUST_USE enum st compact_start(struct eng *e, struct err *err);
void compact_stop(struct eng *e);   /* the task; idempotent */
void compact_settle(struct eng *e); /* shutdown, catalogue stopped: ends the job where it stands */
void compact_destroy(struct eng *e);
void compact_poll(struct eng *e); /* owner: chooses, commits, publishes */
bool compact_committing(const struct eng *e);
bool compact_idle(const struct eng *e);       /* no job under way */
void compact_look_at(struct store_stream *s); /* a checkpoint of it is durable */
/* Secure delete of a message: the segment that holds it is rewritten soon. */
void compact_erase(struct store_stream *s, uint64_t seq);
void compact_removed(struct store_stream *s);                      /* messages of it went */
void compact_put_erase(struct cat_txn *t, struct store_stream *s); /* what stands to be erased */

#endif
