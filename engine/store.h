/* The store: streams and consumers as broker, kv and objstore see them. One interface, submit and
 * complete; the engine implements it (engine/engine.h opens one), raft/ will wrap it. Nobody above
 * this header knows segments, journal or SQLite.
 *
 * Thread: everything here is called on the owner thread (the loop), and every callback runs there,
 * never inside the call that started it, but from poll, turn or timers of struct store_ops. A
 * submitted operation completes exactly once.
 *
 * Durability: state that a call returns at once (stream_state, cons_state, lookups) may rest on
 * records that are not durable yet. Before anything of it leaves the process, wait with
 * stream_barrier. Callbacks of operations have waited already. Messages are never delivered
 * before they are durable (as the stream's policy has it).
 *
 * Times are store time in unix ns unless a name ends in _boot_ns. Strings in configs are owned by
 * the config. */
#ifndef ENGINE_STORE_H
#define ENGINE_STORE_H

#include "engine/msg_keep.h"
#include "engine/record.h"

struct store;
struct store_snap; /* engine/store_snap.h */
struct snap_info;
struct snap_cons;
struct store_stream; /* handle; valid until stream_delete is called or the store closes */
struct store_cons; /* handle; valid until cons_delete (or stream_delete of its stream) is called */

/* ---- configuration --------------------------------------------------------------------------- */

enum store_storage { STORAGE_FILE = 0, STORAGE_MEMORY = 1 };
enum store_retention { RETENTION_LIMITS = 0, RETENTION_INTEREST = 1, RETENTION_WORKQUEUE = 2 };
enum store_discard { DISCARD_OLD = 0, DISCARD_NEW = 1 };
enum store_compression { COMPRESSION_NONE = 0, COMPRESSION_S2 = 1 };
enum store_persist { PERSIST_DEFAULT = 0, PERSIST_ASYNC = 1 };
/* What an acknowledgement means; follows from the stream's persist mode and the store's
 * sync_interval. */
enum store_durability {
    DURABILITY_DURABLE,
    DURABILITY_RELAXED,
    DURABILITY_ASYNC,
    DURABILITY_MEMORY
};

struct store_kv {
    char *key, *value; /* owned */
};

/* Limits: -1 = none, as on the wire. */
struct stream_cfg {
    char *account, *name; /* owned */
    char *description;    /* owned or NULL */
    char **subjects;      /* owned */
    size_t nsubjects;
    enum store_retention retention;
    enum store_storage storage;
    enum store_discard discard;
    enum store_compression compression;
    enum store_persist persist;
    int64_t max_consumers, max_msgs, max_bytes, max_msgs_per_subject;
    int64_t max_age_ns;    /* 0 = none */
    int32_t max_msg_size;  /* -1 = none */
    int64_t duplicates_ns; /* dedup window */
    uint64_t first_seq;    /* 0 or 1 = starts at 1 */
    uint32_t replicas;
    bool no_ack, sealed, deny_delete, deny_purge, allow_rollup, allow_direct, mirror_direct,
        discard_new_per_subject;
    bool allow_msg_ttl, allow_msg_counter, allow_atomic, allow_msg_schedules, allow_batched;
    bool mirror; /* sequences come from another stream (store_append.at_seq): none is made up or
                    reserved here */
    int64_t subject_delete_marker_ttl_ns;
    struct store_kv *metadata; /* owned */
    size_t nmetadata;
    uint8_t *opaque; /* owned: what only the broker knows; the engine stores it untouched */
    size_t opaque_len;
};

enum cons_deliver {
    DELIVER_ALL,
    DELIVER_LAST,
    DELIVER_NEW,
    DELIVER_BY_START_SEQ,
    DELIVER_BY_START_TIME,
    DELIVER_LAST_PER_SUBJECT
};
/* ACK_FLOW_CONTROL: as ACK_ALL; what acknowledges is the answer to a flow control request. */
enum cons_ack_policy { ACK_NONE = 0, ACK_ALL = 1, ACK_EXPLICIT = 2, ACK_FLOW_CONTROL = 3 };
enum cons_replay { REPLAY_INSTANT = 0, REPLAY_ORIGINAL = 1 };
/* Who of those that wait is served; the broker's business, the engine only keeps it. */
enum cons_priority {
    PRIORITY_NONE = 0,
    PRIORITY_OVERFLOW = 1,
    PRIORITY_PINNED = 2,
    PRIORITY_PRIORITIZED = 3
};

struct cons_cfg {
    char *name;        /* owned; always set (the broker makes up names of ephemerals) */
    bool durable;      /* durable_name was given */
    char *description; /* owned or NULL */
    enum cons_deliver deliver;
    enum cons_ack_policy ack;
    enum cons_replay replay;
    uint64_t opt_start_seq;
    int64_t opt_start_time_ns;
    int64_t ack_wait_ns; /* 0 where ack policy is none or flow control */
    int64_t max_deliver; /* -1 = no limit */
    int64_t *backoff_ns; /* owned */
    size_t nbackoff;
    char **filters; /* owned; none = everything */
    size_t nfilters;
    bool single_filter;           /* given as filter_subject, not filter_subjects */
    int64_t max_ack_pending;      /* -1 = no limit */
    int64_t max_waiting;          /* pull */
    int64_t max_batch, max_bytes; /* of one pull request; 0 = no limit */
    int64_t max_expires_ns;       /* likewise */
    char *deliver_subject;        /* owned; NULL = pull */
    char *deliver_group;          /* owned or NULL */
    bool flow_control, headers_only, mem_storage, direct;
    int64_t heartbeat_ns;          /* 0 = none */
    int64_t inactive_threshold_ns; /* gone after that long without anybody; 0 = stays */
    uint64_t rate_limit_bps;       /* bits a second; 0 = no limit */
    char *sample_freq;             /* owned or NULL: of 100 acks, how many are told of */
    uint32_t replicas;
    struct store_kv *metadata; /* owned */
    size_t nmetadata;
    uint8_t *opaque; /* owned */
    size_t opaque_len;
    int64_t pause_until_ns; /* 0 = not paused */
    enum cons_priority priority;
    char **priority_groups; /* owned */
    size_t npriority_groups;
    int64_t priority_timeout_ns; /* how long a silent client stays pinned; 0 = not set */
    bool sourcing;               /* another stream reads by it */
};

void stream_cfg_init(struct stream_cfg *c); /* all limits -1, replicas 1, zero elsewhere */
void stream_cfg_fini(struct stream_cfg *c);
void stream_cfg_copy(struct stream_cfg *to,
                     const struct stream_cfg *from); /* `to` is initialised by this */
void cons_cfg_init(struct cons_cfg *c);
void cons_cfg_fini(struct cons_cfg *c);
void cons_cfg_copy(struct cons_cfg *to, const struct cons_cfg *from);

/* ---- state ----------------------------------------------------------------------------------- */

struct stream_state {
    uint64_t msgs, bytes; /* bytes by nats' formula */
    uint64_t first_seq, last_seq;
    int64_t first_ts_ns, last_ts_ns; /* 0 = none */
    uint64_t nsubjects, ndeleted;
    uint64_t nconsumers;
    int64_t created_ns;
    enum store_durability durability;
    uint64_t damaged_msgs;    /* messages known to be lost to damage */
    uint64_t store_incidents; /* damage of the store that is no stream's: the catalogue's copies */
};

struct cons_state {
    uint64_t delivered_cseq, delivered_sseq; /* last delivered */
    int64_t delivered_ts_ns;                 /* 0 = never; not kept across restarts */
    uint64_t floor_cseq, floor_sseq;
    int64_t floor_ts_ns;
    uint64_t num_ack_pending, num_redelivered, num_pending;
    uint64_t num_queued; /* to be delivered again as soon as somebody asks; about so many */
    int64_t created_ns;
};

/* ---- operations ------------------------------------------------------------------------------ */

/* Why a publish was refused. The broker turns it into the API error. */
enum append_verdict {
    APPEND_STORED,
    APPEND_DUPLICATE,            /* seq is the original's */
    APPEND_MAX_MSGS,             /* discard new: "maximum messages exceeded" */
    APPEND_MAX_BYTES,            /* "maximum bytes exceeded" */
    APPEND_MAX_MSGS_PER_SUBJECT, /* "maximum messages per subject exceeded" */
    APPEND_MSG_TOO_BIG,          /* over max_msg_size: 10054 */
    APPEND_WRONG_LAST_SEQ,       /* `actual` is the last sequence: 10071 */
    APPEND_WRONG_LAST_SUBJ_SEQ,  /* `actual` is the subject's last sequence: 10071 */
    APPEND_WRONG_LAST_MSGID,     /* actual_id: 10070 */
    APPEND_SEALED,               /* 10109 */
    APPEND_ROLLUP_DENIED,        /* rollup not permitted: 10111 */
    APPEND_NO_STORE,             /* file storage limit of server or disk low water: 10047 */
    APPEND_NO_MEMORY,            /* memory storage limit: 10028 */
    APPEND_WRONG_LAST_CONSTANT,  /* batch: expectation about what the batch itself wrote: 10164 */
    APPEND_ROLLUP_BATCH_SUB,     /* batch: subject rolled up after a write to it: 10111 */
    APPEND_ROLLUP_BATCH_ALL,     /* batch: all rolled up, but not first: 10111 */
    APPEND_BATCH_TOO_LARGE,      /* batch: no room in the journal for that many bytes */
    APPEND_REFUSED,              /* as `refuse` asked: no check before it said anything else */
    APPEND_FAILED,               /* poisoned: the outcome is not known; never "not stored" */
};

/* Where an append that the caller will not have stored is refused, so that of two things that are
 * wrong with it the one upstream looks at first is told. */
enum append_refuse {
    REFUSE_NOT,
    /* Of a batch, which looks at ids first: */
    REFUSE_BATCH_FIRST, /* before anything else of this message */
    REFUSE_BATCH_IDS,   /* behind duplicates */
    REFUSE_BATCH_SEQ,   /* behind the stream's expected sequence */
    /* Of a message alone; behind the subject's sequence a batch goes on in the same order. */
    REFUSE_AFTER_SEQS,   /* behind the expected sequences */
    REFUSE_AFTER_IDS,    /* behind duplicates and the expected last id */
    REFUSE_AFTER_ROLLUP, /* behind whether a rollup is permitted */
    REFUSE_AFTER_SIZE,   /* behind max_msg_size and interest, before the limits of the stream: what
                            nobody wants passes, and is not kept */
};

#define TTL_NEVER ((int64_t)-1)
/* Reads a Nats-TTL value: whole seconds, a Go duration (cut to seconds), "never". False: invalid.
 * *ttl_s_out: 0 = empty, TTL_NEVER, or >= 1. */
bool store_ttl_parse(const char *value, size_t len, int64_t *ttl_s_out);

struct store_append {
    const char *subject;
    const uint8_t *hdr, *data; /* hdr: whole block as it is to be stored; copied by the call */
    uint32_t subject_len, hdr_len, data_len;
    const char *msg_id; /* Nats-Msg-Id, or NULL */
    uint32_t msg_id_len;
    const char *expected_last_msgid; /* or NULL */
    uint32_t expected_last_msgid_len;
    const char *expected_subject; /* Nats-Expected-Last-Subject-Sequence-Subject; NULL = subject.
                                     May be a filter */
    uint32_t expected_subject_len;
    bool has_expected_last_seq, has_expected_last_subj_seq;
    uint64_t expected_last_seq, expected_last_subj_seq;
    uint8_t refuse;   /* enum append_refuse; never stored where it is set */
    bool batch_order; /* looked at in the order of a batch's messages; the expected last id last */
    uint8_t rollup;   /* 0, MSG_ROLLUP_SUB or MSG_ROLLUP_ALL as enum msg_flags >> 5 (1 or 2) */
    uint16_t flags;   /* MSG_HDR and MSG_MSGID are set by the engine; MSG_TTL by the caller */
    /* A copy of another stream's message keeps its sequence and time; what lies between the last
     * sequence and at_seq stays empty. at_seq at or below the last one is WRONG_LAST_SEQ: a copy is
     * stored once. Of what the caller may expect only expected_last_seq counts. 0 = next sequence,
     * now. */
    uint64_t at_seq;
    int64_t at_time_ns;
    /* A message with MSG_SOURCED in flags and a Nats-Stream-Source header moves on the stream's
     * position in that source. It is stored once and in order: where the position is not
     * expected_source_seq, or not below the header's sequence, it is WRONG_LAST_SEQ. */
    bool has_expected_source_seq;
    uint64_t expected_source_seq;
    const char *purge_subject; /* NULL, or: what this literal subject holds goes with it */
    uint32_t purge_subject_len;
    enum append_verdict *verdict_now; /* NULL, or: filled in before the call returns ST_OK */
};
struct store_append_result {
    enum append_verdict verdict;
    uint64_t seq;          /* stored: the new one; duplicate: the original's */
    uint64_t actual;       /* see verdicts */
    size_t index;          /* batch, refused: which message */
    const char *actual_id; /* WRONG_LAST_MSGID; valid during the callback */
};
typedef void (*store_append_fn)(void *arg, const struct store_append_result *r);

enum get_kind {
    GET_BY_SEQ,       /* exactly seq */
    GET_LAST_BY_SUBJ, /* last of subject (wildcards allowed) */
    GET_NEXT_BY_SUBJ, /* first with sequence >= seq whose subject matches (empty subject: any) */
};
struct store_get {
    enum get_kind kind;
    uint64_t seq;
    const char *subject;
    uint32_t subject_len;
    int64_t since_ns; /* GET_NEXT_BY_SUBJ: only messages stored at this time or later; 0 = any */
};
/* ST_OK with m (borrowed during the callback), ST_NOTFOUND, ST_CORRUPT (damaged on disk), ST_CLOSED
 * (the stream was deleted meanwhile), ST_POISONED. */
typedef void (*store_get_fn)(void *arg, enum st st, const struct msg *m);
/* last_seq: of the message before it on the same subject, 0: none. m: borrowed during the call. */
typedef void (*store_tap_fn)(void *arg, const struct msg *m, uint64_t last_seq);
/* n: purge: messages removed. */
typedef void (*store_done_fn)(void *arg, enum st st, uint64_t n, const struct err *err);
typedef void (*store_stream_fn)(void *arg, enum st st, struct store_stream *s,
                                const struct err *err);
typedef void (*store_cons_fn)(void *arg, enum st st, struct store_cons *c, const struct err *err);

/* Far above what a stream reaches in its life, and so low that no arithmetic on sequences
 * overflows. */
#define STORE_SEQ_MAX (1ull << 62)

struct store_purge {
    const char *filter; /* NULL or empty: everything */
    uint32_t filter_len;
    uint64_t seq;  /* 0, or: only sequences below; without a filter it may lie beyond the last: the
                      next message gets it. At most STORE_SEQ_MAX (ST_INVALID) */
    uint64_t keep; /* 0, or: keep this many newest (of what matches) */
};

/* A message about to be delivered. Valid until the next call on the same consumer or the end of the
 * turn; what `keep` holds, longer. */
struct cons_peek {
    struct msg m;
    struct msg_keep keep; /* borrowed, as m is; headers and payload may outlive m by it */
    uint64_t cseq;   /* consumer sequence it will have (redeliveries: a new one, as upstream) */
    uint64_t dcount; /* 1 = first delivery */
    uint64_t num_pending; /* matching messages behind it */
};

/* A message that was delivered and is waited for. */
struct cons_unacked {
    uint64_t cseq;        /* of its first delivery */
    uint64_t dcount;      /* deliveries */
    int64_t delivered_ns; /* boot clock: the last of them (as far as its deadline tells) */
};

enum cons_ack_kind {
    CONS_ACK,      /* +ACK: this one (policy explicit) or everything up to it (policy all) */
    CONS_NAK,      /* -NAK with delay_ns (0 = at once) */
    CONS_PROGRESS, /* +WPI: the deadline starts anew */
    CONS_TERM,     /* +TERM: never again */
};

/* Told by the engine; from poll, turn or timers. */
struct cons_events {
    void *arg;
    /* Something may be deliverable now: new messages, a redelivery is due, max_ack_pending has
     * room, a read is done. */
    void (*ready)(void *arg, struct store_cons *c);
    /* max_deliver was reached for this message (advisory). */
    void (*max_deliver)(void *arg, struct store_cons *c, uint64_t stream_seq, uint64_t dcount);
    /* A message that was delivered and not acknowledged was deleted, or pushed out by a limit (not
     * by a purge or rollup). May be NULL. */
    void (*deleted)(void *arg, struct store_cons *c, uint64_t stream_seq, uint64_t cseq,
                    uint64_t dcount);
};

struct store_usage {
    uint64_t file_bytes, mem_bytes; /* by nats' formula */
    uint64_t streams, consumers;
    uint64_t file_max_bytes; /* what all file streams of the store may hold; UINT64_MAX = any */
};

struct store_ops {
    /* Every operation with a callback may end with ST_POISONED: a journal write failed, the outcome
     * is not known until a restart. When the store closes, callbacks under way are not called.
     *
     * streams. create/update copy cfg. Name and account are unique together: ST_EXISTS. ST_NOSPACE.
     * The broker has validated the config; the engine refuses what it does not serve
     * (ST_UNSUPPORTED with text). update: ST_INVALID where name, account or storage differ. delete:
     * with all consumers; the handles end with the call. */
    void (*stream_create)(struct store *, const struct stream_cfg *, store_stream_fn, void *arg);
    void (*stream_update)(struct store *, struct store_stream *, const struct stream_cfg *,
                          store_stream_fn, void *arg);
    void (*stream_delete)(struct store *, struct store_stream *, store_done_fn, void *arg);
    struct store_stream *(*stream_find)(struct store *, const char *account, const char *name);
    /* Iterates in order of (account, name); prev NULL = first of the account; NULL = end. account
     * NULL = all. */
    struct store_stream *(*stream_next)(struct store *, const char *account,
                                        struct store_stream *prev);
    /* Borrowed until the stream is updated or deleted. */
    const struct stream_cfg *(*stream_cfg)(struct store_stream *);
    void (*stream_state)(struct store_stream *, struct stream_state *out);
    /* Calls fn when everything the stream's state rests on is durable. */
    void (*stream_barrier)(struct store_stream *, store_done_fn, void *arg);
    /* Calls fn(arg, subject, len, count) for each subject that matches (NULL: all); stops when fn
     * returns false. */
    void (*stream_subjects)(struct store_stream *, const char *filter, uint32_t filter_len,
                            bool (*fn)(void *arg, const char *subject, uint32_t len,
                                       uint64_t count),
                            void *arg);
    /* Calls fn for each schedule (MSG_SCHED) that is the last message of its subject. False: the
     * store was written by a version that did not keep them; look at the last message of each
     * subject, tell stream_schedule_found, and 0 when that was all. Nothing is read from disk. */
    bool (*stream_schedules)(struct store_stream *,
                             void (*fn)(void *arg, uint64_t seq, const char *subject, uint32_t len),
                             void *arg);
    void (*stream_schedule_found)(struct store_stream *, uint64_t seq);
    /* Bytes of all streams in this one's account, as of the newest message; costs nothing. */
    void (*account_bytes)(struct store_stream *, uint64_t *file_bytes_out, uint64_t *mem_bytes_out);
    /* The lowest live sequences >= from whose subject matches (filter_len 0: any), ascending, at
     * most max; returns how many. And how many there are in all. */
    size_t (*stream_seqs)(struct store_stream *, const char *filter, uint32_t filter_len,
                          uint64_t from, uint64_t *out, size_t max);
    uint64_t (*stream_count_from)(struct store_stream *, const char *filter, uint32_t filter_len,
                                  uint64_t from);
    /* Of each subject that matches one of the filters its newest message up to and with `upto`,
     * ascending. Returns how many there are, which may be more than max. */
    size_t (*stream_lasts)(struct store_stream *, char *const *filters, size_t n, uint64_t upto,
                           uint64_t *out, size_t max);
    /* Appends the deleted sequences between first and last, at most max of them. */
    void (*stream_deleted)(struct store_stream *, struct seq_runs *out, uint64_t max);
    void *(*stream_user)(struct store_stream *); /* broker's pointer */
    void (*stream_set_user)(struct store_stream *, void *);

    /* fn (NULL: nobody) hears of each message of the stream that is stored from now on, when it is
     * durable, in order; also of those that are gone again by then, but not of what an interest
     * stream never kept. Not of what was stored before a restart. */
    void (*stream_tap)(struct store_stream *, store_tap_fn, void *arg);

    /* messages. append copies during the call. ST_OK: fn will be called (also for refusals).
     * ST_FULL: the journal window is full: nothing was taken, stop reading publishers and try again
     * after the next poll. fn may be NULL. */
    enum st (*append)(struct store_stream *, const struct store_append *, store_append_fn,
                      void *arg);
    /* Moves last_seq up to `last_seq`; the sequences between stay empty. For mirrors, where the
     * origin has no message there. Lower: nothing happens. fn may be NULL. */
    void (*seq_skip)(struct store_stream *, uint64_t last_seq, store_done_fn, void *arg);
    /* All of them, as one atomic batch, or none (n >= 1). A duplicate refuses it. Stored: r->seq is
     * the last one's, those before it have the sequences below. Else as append. */
    enum st (*append_batch)(struct store_stream *, const struct store_append *, size_t n,
                            store_append_fn, void *arg);
    /* The last sequence copied from a source, as of the newest record; key: engine/srcpos.h. */
    uint64_t (*source_seq)(struct store_stream *, const char *key, size_t key_len);
    void (*get)(struct store_stream *, const struct store_get *, store_get_fn, void *arg);
    /* The last message of a literal subject, as of the newest record; valid until the next call on
     * the stream or the end of the turn. ST_NOTFOUND; ST_CORRUPT; ST_AGAIN: it is being read from
     * disk, ask again after the next poll. Nothing of it may leave before a barrier. */
    enum st (*last_msg)(struct store_stream *, const char *subject, uint32_t subject_len,
                        struct msg *m_out);
    /* ST_NOTFOUND. secure: its bytes also go from the files, soon after (engine/FORMAT.md). */
    void (*msg_delete)(struct store_stream *, uint64_t seq, bool secure, store_done_fn, void *arg);
    void (*purge)(struct store_stream *, const struct store_purge *, store_done_fn, void *arg);

    /* consumers. create/update copy cfg; ST_EXISTS. A cfg is borrowed until the consumer is updated
     * or deleted. */
    void (*cons_create)(struct store_stream *, const struct cons_cfg *, store_cons_fn, void *arg);
    void (*cons_update)(struct store_cons *, const struct cons_cfg *, store_cons_fn, void *arg);
    void (*cons_delete)(struct store_cons *, store_done_fn, void *arg);
    struct store_cons *(*cons_find)(struct store_stream *, const char *name);
    struct store_cons *(*cons_next_of)(struct store_stream *,
                                       struct store_cons *prev); /* by name order */
    const struct cons_cfg *(*cons_cfg)(struct store_cons *);
    struct store_stream *(*cons_stream)(struct store_cons *);
    void (*cons_state)(struct store_cons *, struct cons_state *out);
    void (*cons_attach)(struct store_cons *,
                        const struct cons_events *); /* copied; NULL detaches */
    void *(*cons_user)(struct store_cons *);
    void (*cons_set_user)(struct store_cons *, void *);
    /* The next message to deliver. ST_OK; ST_NOTFOUND = nothing now; ST_FULL = max_ack_pending
     * reached; ST_AGAIN = being read from disk. For all but ST_OK the ready event tells when to ask
     * again. Damaged messages are skipped. */
    enum st (*cons_peek)(struct store_cons *, struct cons_peek *out);
    /* Marks what the last peek gave as delivered. */
    void (*cons_take)(struct store_cons *);
    /* fn (may be NULL) is called once the ack is durable; ST_NOTFOUND when there was nothing to ack
     * (still answered); ST_INVALID for a sequence that was not delivered: upstream does not answer
     * that, and neither may the broker. */
    void (*cons_ack)(struct store_cons *, enum cons_ack_kind, uint64_t stream_seq,
                     uint64_t consumer_seq, int64_t delay_ns, store_done_fn, void *arg);
    /* Starts anew at seq (0: behind the ack floor), consumer sequences at 1. fn (not NULL) is
     * called when that is durable. */
    void (*cons_reset)(struct store_cons *, uint64_t seq, store_done_fn, void *arg);
    /* False: the message is not waited for (acknowledged, gone, never delivered, or out of
     * deliveries). */
    bool (*cons_unacked)(struct store_cons *, uint64_t stream_seq, struct cons_unacked *out);

    /* Snapshots and streams put together from them: engine/store_snap.h. snap_next: ST_NOTFOUND at
     * the end; ST_CORRUPT, ST_IO: what could not be read, the next call goes on behind it.
     * cons_import only on imports. stream_adopt: replaced may be NULL; ST_EXISTS when the name is
     * taken by another. */
    void (*snap_open)(struct store_stream *, bool consumers,
                      void (*fn)(void *arg, enum st st, struct store_snap *), void *arg);
    void (*snap_close)(struct store_snap *);
    const struct snap_info *(*snap_info)(const struct store_snap *);
    enum st (*snap_next)(struct store_snap *, struct msg *m_out, struct err *err);
    void (*snap_rewind)(struct store_snap *);
    void (*cons_import)(struct store_stream *, const struct snap_cons *, store_cons_fn, void *arg);
    void (*stream_adopt)(struct store *, struct store_stream *, const struct stream_cfg *,
                         int64_t created_ns, struct store_stream *replaced, store_stream_fn,
                         void *arg);

    void (*usage)(struct store *, const char *account,
                  struct store_usage *out); /* account NULL = all */
    /* Failed for good (lane poisoned)? Fills err. */
    enum st (*health)(struct store *, struct err *err);

    /* driving. turn: at the end of each loop turn (seals what was written, runs due callbacks).
     * poll: after the doorbell. timers: runs what is due, returns the boot_ns of the next deadline
     * (INT64_MAX = none). */
    void (*turn)(struct store *);
    void (*poll)(struct store *);
    int64_t (*timers)(struct store *);
};

struct store {
    const struct store_ops *ops;
};

#endif
