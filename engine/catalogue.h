/* The catalogue: which streams, consumers and segments there are, and up to where each one is
 * checkpointed (RULES.md, "Checkpoint"; byte layouts in engine/FORMAT-catalogue.md).
 *
 * It is kept twice: in meta.db (SQLite on our own VFS, engine/meta_vfs.h) and in the row log
 * meta.<n>.log (engine/rowlog.h). A commit is one *generation*: first the row-log batch and its
 * sync, then the SQLite commit. Either copy alone gives the catalogue back; whichever is damaged is
 * set aside in quarantine/ and made anew from the other, with a WRN line and an incident that
 * /healthz shows.
 *
 * Invariants
 *  1. A generation counts (cat_generation, the done callback's ST_OK) only when it is durable in
 * both copies.
 *  2. Generations rise by one; a copy never misses one that the other holds, but for the last.
 *  3. Nothing here deletes a stream, a segment or a file of theirs: an empty catalogue beside data
 * is a refusal.
 *  4. Rows of one transaction are all there or none is; the last put or delete of a key in a
 * transaction wins.
 *
 * Threads: cat_open, cat_load, cat_check_against_journal, cat_close on the starting thread, while
 * the meta task does not run; cat_commit on the meta task (or the starting thread before
 * cat_start); cat_submit, cat_generation, cat_incidents and cat_ballast_* on any thread; a cat_txn
 * belongs to whoever builds it until it is submitted. */
#ifndef ENGINE_CATALOGUE_H
#define ENGINE_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/env.h"

struct cat;
struct cat_txn;

/* --- rows ------------------------------------------------------------------------------------- */
/* Bytes borrowed by a row: for a put until the put returns, for a load until the callback returns.
 * data NULL is SQL's NULL; an empty value has data != NULL and len 0. */
struct cat_bytes {
    const void *data;
    size_t len;
};

struct cat_account { /* key: id */
    uint32_t id;
    struct cat_bytes name;
    struct cat_bytes limits; /* opaque */
};

struct cat_stream { /* key: gid */
    uint32_t gid;
    struct cat_bytes account; /* name of the account */
    struct cat_bytes name;    /* NULL: dropped, the row is a tombstone; (account, name) is unique */
    uint32_t storage;         /* the engine's number: file, memory */
    struct cat_bytes cfg;     /* payload of the last CFG record */
    uint32_t cfg_version;
    int64_t created_ns;
    uint32_t next_sub; /* the next consumer's number; never reused */
    uint32_t state;    /* the engine's number */
    uint64_t drop_lsn; /* of the DROP record; 0: alive */
};

struct cat_consumer { /* key: gid, sub */
    uint32_t gid, sub;
    struct cat_bytes name;
    struct cat_bytes cfg;
    uint32_t cfg_version;
    int64_t created_ns;
    uint32_t state;
};

struct cat_stream_ckpt { /* key: gid */
    uint32_t gid;
    uint64_t flushed_lsn; /* records of the gid up to here are in this checkpoint */
    uint64_t oseq;
    uint64_t last_seq, first_seq;
    uint64_t msgs, bytes;
    int64_t last_ts_ns;
    uint64_t raft_index, raft_term;
    struct cat_bytes raft_vote;
    struct cat_bytes index_root;
    uint64_t delete_epoch;
    struct cat_bytes dedup; /* the dedup window, the engine's encoding */
    struct cat_bytes tail;  /* a tail too small for a segment, or NULL */
};

struct cat_consumer_ckpt { /* key: gid, sub */
    uint32_t gid, sub;
    struct cat_bytes blob;
};

struct cat_segment { /* key: gid, segno */
    uint32_t gid;
    uint64_t segno;
    uint32_t gen;
    uint8_t seg_uuid[16];
    uint32_t state;
    uint64_t created_generation;
    uint64_t first_seq, last_seq;
    int64_t min_ts_ns, max_ts_ns;
    uint64_t durable_len;
    uint32_t nblocks;
    uint32_t chain_crc;
    uint64_t last_section; /* file offset */
    uint64_t live_msgs, live_bytes;
    int64_t min_expiry_ns;
    uint32_t dict_id;
    struct cat_bytes wrapped_dek;
};

struct cat_segdel { /* key: gid, segno, part */
    uint32_t gid;
    uint64_t segno;
    uint32_t part;
    struct cat_bytes runs;
};

struct cat_pending_purge { /* key: gid, lsn */
    uint32_t gid;
    uint64_t lsn;
    struct cat_bytes filter;
    uint64_t hi_seq; /* exclusive */
};

struct cat_lane { /* key: id */
    uint32_t id;
    uint64_t checkpoint_lsn;
    uint64_t end_lsn; /* of a clean stop; 0: none */
};

struct cat_damage { /* key: gid, lo, hi */
    uint32_t gid;
    uint64_t lo, hi; /* sequences, inclusive */
    struct cat_bytes cause;
    int64_t found_ns;
    uint32_t state; /* the engine's number */
};

struct cat_state {
    uint64_t generation; /* durable in both copies; 1 in a fresh store */
    uint32_t next_gid;   /* the next stream's number; never reused */
    bool clean;          /* nothing was committed since a clean cat_close */
    bool fresh;          /* this cat_open created the catalogue */
};

/* --- open, load, check, close ----------------------------------------------------------------- */
struct cat_opts {
    const char *root;          /* <store_dir>/millrace; borrowed during the call */
    const uint8_t *store_uuid; /* 16 bytes, from STORE */
    uint32_t crc_seed;         /* from STORE */
    bool create; /* make a catalogue when there is neither a copy of one nor any data of a store */
    bool read_only; /* for checks: nothing on the disk is altered, whatever its state; rows can be
                       loaded, commits are refused */
    uint64_t wal_bytes_max; /* fold the WAL beyond; 0: 4 MiB */
    uint64_t log_bytes_min; /* never compact a row log below; 0: 4 MiB */
};

/* Opens the catalogue: compares the copies, applies, rebuilds, sets aside (see above). Blocking.
 * ST_NOTFOUND: there is none and create is false. ST_CORRUPT: both copies are gone or unreadable
 * (nothing was altered). ST_FOREIGN, ST_VERSION: a copy of another store, or of a newer version
 * (nothing was altered). ST_IO, ST_NOSPACE, ST_DENIED. Exactly one catalogue can be open in a
 * process. */
MUST_USE enum st cat_open(struct env *env, const struct cat_opts *opts, struct cat **cat_out,
                          struct err *err);

/* Second half of opening, once the journal's frames have been read: is this catalogue the
 * journal's? max_meta_gen is the highest meta_gen of any group; journal_reaches says that the
 * journal is contiguous from the catalogue's lane.checkpoint_lsn on, so that replay brings an older
 * catalogue up to date. ST_MISMATCH (refuse to start; nothing was altered) names both generations.
 */
MUST_USE enum st cat_check_against_journal(struct cat *cat, bool has_groups, uint64_t max_meta_gen,
                                           bool journal_reaches, struct err *err);

void cat_state_get(const struct cat *cat, struct cat_state *state_out);
/* The last generation that is durable in both copies: a journal group's meta_gen, and the release
 * point. */
uint64_t cat_generation(const struct cat *cat);

/* One callback per table, NULL to skip it; called in the order of the members, rows by ascending
 * key. A row and its bytes are valid during the call. Anything but ST_OK ends the load and is
 * returned. */
struct cat_loader {
    enum st (*account)(void *arg, const struct cat_account *, struct err *);
    enum st (*stream)(void *arg, const struct cat_stream *, struct err *);
    enum st (*stream_ckpt)(void *arg, const struct cat_stream_ckpt *, struct err *);
    enum st (*consumer)(void *arg, const struct cat_consumer *, struct err *);
    enum st (*consumer_ckpt)(void *arg, const struct cat_consumer_ckpt *, struct err *);
    enum st (*segment)(void *arg, const struct cat_segment *, struct err *);
    enum st (*segdel)(void *arg, const struct cat_segdel *, struct err *);
    enum st (*pending_purge)(void *arg, const struct cat_pending_purge *, struct err *);
    enum st (*lane)(void *arg, const struct cat_lane *, struct err *);
    enum st (*damage)(void *arg, const struct cat_damage *, struct err *);
};
MUST_USE enum st cat_load(struct cat *cat, const struct cat_loader *loader, void *arg,
                          struct err *err);

/* Closes and frees. clean: mark the stop as clean and fold the WAL into meta.db first (errors are
 * logged; the copies stay whole without it). The meta task must have been stopped. NULL is a no-op.
 */
void cat_close(struct cat *cat, bool clean);
/* Frees as a dying process would: no further write or sync reaches the disk. For crash tests. */
void cat_abandon(struct cat *cat);

/* --- transactions ----------------------------------------------------------------------------- */
/* At most this many rows should go into one transaction (whole units each). Not enforced. */
#define CAT_TXN_ROWS_TARGET 2000u
/* A row may not exceed this encoded; the put makes the transaction fail with ST_TOOBIG. */
#define CAT_ROW_BYTES_MAX (256u << 20)

struct cat_txn *cat_txn_create(void);
void cat_txn_destroy(struct cat_txn *txn);
size_t cat_txn_rows(const struct cat_txn *txn);

/* Puts insert the row or replace it whole; deletes of a missing key do nothing. The bytes are
 * copied. What cannot be taken (memory, size) is remembered and returned by the commit. */
void cat_put_account(struct cat_txn *, const struct cat_account *);
void cat_put_stream(struct cat_txn *, const struct cat_stream *);
void cat_put_stream_ckpt(struct cat_txn *, const struct cat_stream_ckpt *);
void cat_put_consumer(struct cat_txn *, const struct cat_consumer *);
void cat_put_consumer_ckpt(struct cat_txn *, const struct cat_consumer_ckpt *);
void cat_put_segment(struct cat_txn *, const struct cat_segment *);
void cat_put_segdel(struct cat_txn *, const struct cat_segdel *);
void cat_put_pending_purge(struct cat_txn *, const struct cat_pending_purge *);
void cat_put_lane(struct cat_txn *, const struct cat_lane *);
void cat_put_damage(struct cat_txn *, const struct cat_damage *);
/* Raises next_gid; a lower value than the catalogue's is ignored. */
void cat_put_next_gid(struct cat_txn *, uint32_t next_gid);
void cat_del_stream(struct cat_txn *, uint32_t gid);
void cat_del_stream_ckpt(struct cat_txn *, uint32_t gid);
void cat_del_consumer(struct cat_txn *, uint32_t gid, uint32_t sub);
void cat_del_consumer_ckpt(struct cat_txn *, uint32_t gid, uint32_t sub);
void cat_del_segment(struct cat_txn *, uint32_t gid, uint64_t segno);
void cat_del_segdel(struct cat_txn *, uint32_t gid, uint64_t segno, uint32_t part);
void cat_del_damage(struct cat_txn *, uint32_t gid, uint64_t lo, uint64_t hi);

/* Commits (C4): row-log batch and sync, then SQLite. Blocking; meta task, or the starting thread
 * before cat_start. The transaction stays the caller's and may be committed again after an error.
 * On ST_OK *gen_out is its generation. ST_EXISTS: two live streams would have one name (nothing
 * changed; a retry is useless). ST_INVALID, ST_TOOBIG, ST_NOMEM, ST_NOSPACE, ST_IO: nothing
 * changed, and no restart will find the rows. ST_POISONED: whether they count is known after a
 * restart; until then nothing may be released, no byte that a row refers to may be altered, and
 * every commit gives ST_POISONED. */
MUST_USE enum st cat_commit(struct cat *cat, struct cat_txn *txn, uint64_t *gen_out,
                            struct err *err);

/* --- the meta task ---------------------------------------------------------------------------- */
#define CAT_QUEUE_MAX 64u /* transactions waiting; at the bound cat_submit says ST_AGAIN */

/* Called on the meta task, once per accepted submit, and never from inside cat_submit. txn is the
 * caller's again. */
typedef void (*cat_done_fn)(void *arg, struct cat_txn *txn, enum st st, uint64_t gen,
                            const struct err *err);

/* Starts the meta task: commits what is submitted (several queued transactions may share a
 * generation), then WAL checkpoints, row-log compaction and the ballast in idle moments. */
MUST_USE enum st cat_start(struct cat *cat, struct err *err);
/* Stops the task. What still waits is given back with ST_CLOSED, on the calling thread. */
void cat_stop(struct cat *cat);
/* Queues a transaction. ST_AGAIN: full, try again after a callback. ST_CLOSED: not started, or
 * stopped. On any error the transaction stays the caller's and the callback is not called. */
MUST_USE enum st cat_submit(struct cat *cat, struct cat_txn *txn, cat_done_fn done, void *arg);

/* --- incidents, ballast ----------------------------------------------------------------------- */
#define CAT_INCIDENTS_MAX 32u /* kept; later ones are only logged and counted */
/* Damage that was found and repaired since cat_open, oldest first. Any thread; fn must not call
 * back. Returns the count, which may be above what is kept. */
size_t cat_incidents(struct cat *cat, void (*fn)(void *arg, int64_t found_ns, const char *text),
                     void *arg);

/* Gives the ballast's space back to the file system, for a checkpoint that met ST_NOSPACE. True
 * when there was some, so that one retry makes sense. It grows again in the background once there
 * is room. */
bool cat_ballast_release(struct cat *cat);

/* --- offline check ---------------------------------------------------------------------------- */
struct cat_verify_sum {
    uint64_t meta_generation, log_generation; /* 0: unreadable */
    uint64_t pages, wal_frames, batches, rows;
    uint64_t streams, consumers, segments, tombstones;
    uint64_t findings;
};
/* Checks meta.db (every page), its WAL, every row-log batch and row, and that both copies say the
 * same. Alters nothing. The store must be stopped and its LOCK held. `what` names the file
 * ("meta.db page 7"). ST_OK whenever the check could run, whatever it found. */
typedef void (*cat_finding_fn)(void *arg, const char *what, const char *text);
MUST_USE enum st cat_verify(struct env *env, const struct cat_opts *opts, cat_finding_fn fn,
                            void *arg, struct cat_verify_sum *sum_out, struct err *err);

#endif
