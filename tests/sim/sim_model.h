/* A small model of streams and consumers: arrays in memory, no cleverness. What the engine does is
 * written down here a second time, in the plainest way, so that random walks and crash sweeps have
 * something to compare with.
 *
 * A stream's history is a list of events in the order of the records that the engine writes for it.
 * The state is what applying them gives; so the state after a crash must be the state after some
 * prefix of the events. */
#ifndef TESTS_SIM_SIM_MODEL_H
#define TESTS_SIM_SIM_MODEL_H

#include "engine/store.h"

#define MD_SUBJECTS 14u
#define MD_DRAWN 12u /* the rest have wildcards: only roll-ups are published to them */
#define MD_HDR_MAX 160u

struct md_msg {
    uint64_t seq;
    int64_t ts_ns;
    uint64_t fill;    /* seed of the payload */
    uint32_t subject; /* number of the subject */
    uint32_t data_len;
    uint32_t id;   /* message id, 0 = none */
    uint32_t size; /* logical */
    int32_t ttl_s; /* Nats-TTL: 0 = none, -1 = never */
    bool sched;    /* a schedule */
    bool marker;   /* the server's, where a subject lost its last message */
    bool live;
};

struct md_pend {
    uint64_t sseq, cseq;
    int64_t deadline_ns; /* boot */
    uint32_t dcount;
    bool exhausted;
    bool due; /* may be redelivered */
};

struct md_cons {
    uint32_t uid;
    struct cons_cfg cfg; /* owned */
    uint64_t delivered_cseq, delivered_sseq, floor_cseq, floor_sseq, next_seq, lps_resume;
    struct md_pend *pend; /* owned, ascending */
    size_t npend, pend_cap;
    uint64_t *consumed; /* owned: acked, not removed from the stream yet */
    size_t nconsumed, consumed_cap;
    bool attached;
};

struct md_dedup {
    uint32_t id;
    uint64_t seq;
    int64_t ts_ns;
};

struct md_stream {
    struct stream_cfg cfg; /* owned; name, account not used */
    struct md_msg *m;      /* owned, ascending, without gaps from first_made */
    size_t n, cap;
    uint64_t first_made; /* sequence of m[0] */
    uint64_t first_seq, last_seq, msgs, bytes;
    int64_t last_ts_ns;
    struct md_dedup *dedup; /* owned */
    size_t ndedup, dedup_cap;
    uint32_t last_id;
    struct md_cons **cons; /* owned array of owned, by name */
    size_t ncons;
    bool replay; /* rebuilding a prefix: consumers are only made and dropped */
};

enum md_kind {
    EV_CREATE,
    EV_UPDATE,
    EV_DROP,
    EV_APPEND,
    EV_BATCH,
    EV_SKIP,
    EV_REMOVE,
    EV_FLOOR,
    EV_CCREATE,
    EV_CUPDATE,
    EV_CDROP
};

struct md_event {
    enum md_kind kind;
    bool sync;          /* durable when acknowledged, whatever the stream's mode */
    uint64_t gidx;      /* place among the events of all streams */
    uint64_t submit_op; /* disk operations done when it was submitted */
    uint64_t acked_op;  /* ... when the acknowledgement came; UINT64_MAX = none came */
    struct md_msg msg;  /* APPEND */
    uint8_t rollup;
    uint32_t
        fired; /* APPEND: number of the subject whose schedule made it and goes, + 1; 0 = none */
    struct md_msg *batch; /* owned: BATCH; rollup is each one's */
    uint8_t *rollups;     /* owned */
    size_t nbatch;
    uint64_t floor;    /* FLOOR; SKIP: the last sequence */
    const char *purge; /* FLOOR or REMOVE by a purge of this filter: consumers move up too */
    uint64_t *seqs;    /* owned: REMOVE */
    size_t nseqs;
    size_t released_at; /* CDROP, interest: events there were when the engine had looked at all for
                           what nobody wants; SIZE_MAX = it is not through */
    uint32_t cons_uid;  /* C*; REMOVE by an ack: whose */
    struct stream_cfg *cfg; /* owned: CREATE, UPDATE */
    struct cons_cfg *ccfg;  /* owned: CCREATE, CUPDATE */
};
void md_event_fini(struct md_event *e);

/* "a.0" ... "b.1" ...; literal. */
const char *md_subject(uint32_t n);
/* Header block and payload of a message, into buffers of the caller (hdr MD_HDR_MAX B). Returns the
 * header length. */
uint32_t md_header(const struct md_msg *m, char hdr[MD_HDR_MAX]);
void md_payload(const struct md_msg *m, uint8_t *out);
uint32_t md_size(const struct md_stream *s, const struct md_msg *m);
/* When it goes by time, as the stream's config has it now; INT64_MAX = never. */
int64_t md_due(const struct md_stream *s, const struct md_msg *m);
/* An interest stream keeps only what some consumer's filter matches. */
bool md_unwanted_subject(const struct md_stream *s, uint32_t subject);

void md_init(struct md_stream *s);
void md_fini(struct md_stream *s);
/* Applies one event: limits, evictions, index, consumers that hear of removals. */
void md_apply(struct md_stream *s, const struct md_event *e);
struct md_msg *md_find(struct md_stream *s, uint64_t seq); /* NULL: never made */
bool md_live(struct md_stream *s, uint64_t seq);
uint64_t md_ndeleted(const struct md_stream *s);
uint64_t md_nsubjects(const struct md_stream *s);
/* The last message of a subject is a schedule. */
bool md_scheduled(const struct md_stream *s, uint32_t subject);
/* Last live sequence of a subject, 0 = none. */
uint64_t md_last_of(const struct md_stream *s, uint32_t subject);
/* What a publish gets; *seq_out of a duplicate or the `actual` of a refusal. */
enum append_verdict md_verdict(struct md_stream *s, const struct store_append *a,
                               const struct md_msg *m, int64_t now_ns, uint64_t *seq_out);
/* The same for an atomic batch; `index` is not compared. */
enum append_verdict md_batch_verdict(struct md_stream *s, const struct store_append *a,
                                     const struct md_msg *m, size_t n, int64_t now_ns,
                                     uint64_t *seq_out);
/* Sequences an update to cfg removes: floor and singles, as events appended by the caller. */
void md_shrink(struct md_stream *s, bool to_interest, uint64_t *floor_out, uint64_t **seqs_out,
               size_t *n_out);

/* --- consumers --- */
struct md_cons *md_cons(struct md_stream *s, uint32_t uid);
struct md_cons *md_cons_by_name(struct md_stream *s, const char *name);
bool md_matches(const struct md_cons *c, uint32_t subject);
void md_purged_all(struct md_stream *s, const char *filter);
void md_position(struct md_stream *s, struct md_cons *c);
uint64_t md_num_pending(struct md_stream *s, struct md_cons *c);
uint64_t md_next(struct md_stream *s, struct md_cons *c); /* next new message, 0 = none */
void md_take(struct md_stream *s, struct md_cons *c, uint64_t sseq, bool again, int64_t boot_ns);
struct md_pend *md_pend(struct md_cons *c, uint64_t sseq);
uint64_t md_nack(const struct md_cons *c);
uint64_t md_nredelivered(const struct md_cons *c);
/* What the ack call returns at once. */
/* seq 0: behind the floor. */
void md_reset(struct md_cons *c, uint64_t seq);
enum st md_ack(struct md_stream *s, struct md_cons *c, enum cons_ack_kind kind, uint64_t sseq,
               uint64_t cseq, int64_t delay_ns, int64_t boot_ns);
void md_scan(struct md_cons *c, int64_t boot_ns);
/* Sequences that the consumer's next delta removes from the stream; empties `consumed`. */
size_t md_take_consumed(struct md_stream *s, struct md_cons *c, uint64_t **seqs_out);
/* Interest: what nobody wants after a consumer went. *floor_out != 0: everything. */
/* Some consumer wants it; boot_ns: as it will be when that moment's deadlines were looked at, 0: as
 * it is. */
bool md_wanted(const struct md_stream *s, const struct md_msg *m, int64_t boot_ns);
size_t md_unwanted(struct md_stream *s, uint64_t *floor_out, uint64_t **seqs_out);

#endif
