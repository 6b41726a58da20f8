/* What a running checkpoint holds. Private to engine/checkpoint*.c (and the tests that look
 * inside). */
#ifndef ENGINE_CHECKPOINT_H
#define ENGINE_CHECKPOINT_H

#include "engine/eng.h"
#include "engine/extent.h"

enum ckpt_phase {
    CKPT_IDLE,
    CKPT_FROZEN,     /* owner waits for the freeze ticket: the lane may be writing extents */
    CKPT_WRITING,    /* flusher owns the units */
    CKPT_WRITTEN,    /* owner waits for the freeze ticket */
    CKPT_COMMITTING, /* catalogue owns the transaction */
    CKPT_COMMITTED,
};

struct ckpt_cons {
    uint32_t sub, cfg_version;
    int64_t created_ns;
    char *name;          /* owned */
    uint8_t *cfg, *blob; /* owned */
    size_t cfg_len, blob_len;
};

/* A stream with its consumers as of the freeze ticket. */
struct ckpt_unit {
    struct store_stream *s; /* borrowed; it lives as long as ckpt_busy */
    uint32_t gid;
    bool dropped, drop_dir, forget;
    bool blob_only; /* the tail goes into the row */
    bool full_segdel;
    bool releasing;              /* interest: a look for what nobody wants was under way */
    char *account, *name;        /* owned */
    uint8_t *cfg, *dedup, *tail; /* owned */
    size_t cfg_len, dedup_len, tail_len;
    uint32_t cfg_version, next_sub;
    uint64_t oseq, last_seq, first_seq, msg_count, bytes, flushed_lsn;
    int64_t last_ts_ns;
    struct ckpt_cons *cons; /* owned */
    size_t ncons;
    uint32_t *dropped_subs; /* owned */
    size_t ndropped_subs;
    struct jr_chunk **chunks; /* owned references that keep msgs alive */
    size_t nchunks;
    struct seg_src *msgs; /* owned */
    size_t nmsgs;
    struct seq_runs removed;
    uint32_t segdel_parts;  /* after this lap */
    size_t damage_saved;    /* after this lap */
    struct seg_view **dead; /* owned references: nothing of them lived at the freeze */
    size_t ndead;
    struct seg_view *active; /* owned reference */
    uint64_t next_segno, prev_last_seq, segment_bytes;
    struct extent_list extents; /* owned: written by the lane, up to last_seq */
    struct seg_flush_result flushed;
    enum st st;
    struct err err;
};

struct ckpt_request {
    store_done_fn fn;
    void *arg;
    struct ckpt_request *next;
};

struct ckpt {
    atomic_int phase;        /* enum ckpt_phase: hands the units over */
    struct ckpt_unit *units; /* owned */
    size_t nunits, cap;
    uint64_t freeze_ticket;
    uint64_t generation; /* new files say it: no commit before this lap's own can reach it */
    struct cat_txn *txn; /* owned */
    uint64_t checkpoint_lsn, new_checkpoint_lsn, end_lsn;
    enum st commit_st;
    uint64_t commit_gen;
    struct err commit_err;
    bool wanted, tombstones_wait;
    bool tail_full; /* some stream's: a lap over the large ones is due */
    bool in_doubt;  /* the catalogue cannot say whether a commit counts: nothing more is flushed
                       until a restart */
    int64_t retry_boot_ns;
    int64_t starved_boot_ns; /* since when the journal has had no next file for want of space; 0 =
                                it has */
    int64_t starved_lap_boot_ns;     /* the last lap begun for that */
    bool lap_no_space;               /* the last lap failed for want of space */
    struct eng_timer *timer;         /* owned: wakes the owner for a retry */
    struct env_task *flusher;        /* owned */
    atomic_bool space_low;           /* set by the flusher */
    int64_t trim_at_ns;              /* when memory kept for chunks is looked at; flusher only */
    atomic_uint_fast64_t space_free; /* bytes; likewise, before space_low */
    struct ckpt_request *requests, *running_requests; /* owned */
};

/* --- checkpoint_tail.c --- */
/* The tail column of a frozen unit. */
void ckpt_make_blob(struct ckpt_unit *u, bool with_msgs);

/* --- checkpoint_freeze.c --- */
/* Adds the stream as it is now to the lap's units. */
void ckpt_freeze(struct eng *e, struct store_stream *s);
/* Nothing of this very file lived at the freeze. (A compaction that was published since may have
 * put the neighbour's messages into one of the same number.) */
bool ckpt_is_dead(const struct ckpt_unit *u, const struct seg_view *v);
void ckpt_unit_fini(struct ckpt_unit *u);

/* --- checkpoint_rows.c --- */
/* Makes the lap's transaction, k->txn, of its units. */
void ckpt_build_txn(struct eng *e);

/* --- checkpoint_publish.c --- */
/* The lap is over. done: it is committed, what it covers is let go; else its streams are dirty as
 * before. */
void ckpt_finish_lap(struct eng *e, bool done);
/* Puts a view (one reference, taken over) behind the others; for recovery. */
void ckpt_add_view(struct store_stream *s, struct seg_view *v);

#endif
