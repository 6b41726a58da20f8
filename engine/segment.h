/* Segments: the immutable files that hold a stream's flushed messages (engine/FORMAT-segment.md).
 *
 *   flusher task  seg_flush (blocks, index section, fdatasync) -> segs_sync_dirs -> the catalogue
 *                 commits the row
 *   owner thread  swaps the new seg_view in; a sequence -> view -> block -> blockcache or reader
 *   start-up      seg_open (sections only) for each row; a visitor is told subjects, removals,
 *                 expiries, damage
 *
 * Invariants
 * 1. Bytes below a row's durable_len are never rewritten; a sealed file is never written again.
 * 2. A seg_view is immutable. A flush makes a new one and leaves the old as it is; both share the
 *    seg_file.
 * 3. A file is unlinked only after seg_view_drop and when the last reference to its seg_file has
 *    gone (segs_reap).
 * 4. A sequence that lies in a damaged or lost block is an error on read (ST_CORRUPT), never "not
 *    found".
 *
 * A crash can leave: bytes past durable_len (ignored, overwritten by the next flush), files no row
 * names (judged by the owner of the store after replay), half-removed `.dropped` directories
 * (segs_drop_stream finishes them).
 *
 * Threads: struct segs and references are safe from any thread; functions that touch the disk say
 * so. */
#ifndef ENGINE_SEGMENT_H
#define ENGINE_SEGMENT_H

#include <stdatomic.h>

#include "engine/base/env.h"
#include "engine/record.h"

struct segs;     /* all segment files of a store: descriptors, pins, doomed files */
struct seg_file; /* one file; shared by its views */

enum seg_state {
    SEG_ACTIVE = 1, /* the next flush continues it */
    SEG_SEALED = 2, /* has a footer; never written again */
    SEG_CLOSED =
        3, /* no footer, never continued (a flush to it failed); read through its sections */
};

/* What the catalogue keeps of a segment (table `segment`). */
struct seg_row {
    uint32_t gid;
    uint32_t gen;
    uint64_t segno; /* from 1, per stream, never reused */
    uint8_t seg_uuid[16];
    enum seg_state state;
    uint64_t created_generation;
    uint64_t first_seq; /* of the messages written; 0 = none */
    uint64_t last_seq;
    int64_t min_ts; /* unix ns */
    int64_t max_ts;
    uint64_t durable_len; /* bytes; multiple of 4 KiB */
    uint32_t nblocks;     /* data and index blocks; the footer does not count */
    uint32_t chain_crc;
    uint64_t last_section; /* offset of the last index section, or of the footer when sealed */
    uint64_t live_msgs;    /* the owner lowers these as messages are removed */
    uint64_t live_bytes;   /* logical (msg_logical_size) */
    int64_t min_expiry;    /* earliest per-message expiry, unix ns; 0 = none */
};

/* One data block, 24 B in memory. */
struct seg_bidx {
    uint32_t off8;        /* offset in the file / 8 */
    uint32_t stored_len;  /* bytes behind the header; 0 = the block is known to be lost */
    uint32_t first_delta; /* first_seq - view->base_seq */
    uint32_t hdr_crc;
    int64_t max_ts;
};

struct seg_view {
    atomic_uint refs;
    struct seg_file *file; /* shared */
    struct seg_row
        row; /* as of the flush or open that made the view; live_* are not kept up to date here */
    uint64_t base_seq;
    uint64_t nmsgs;        /* messages written, removed ones included */
    uint32_t ndata;        /* data blocks */
    uint32_t sections;     /* index sections since the start of the file */
    uint32_t last_hdr_crc; /* of the block written last: chains the next flush */
    bool keep;             /* owner only: it could not be compacted (damage): left as it is */
    struct seg_bidx *bidx; /* owned; ascending */
};
void seg_view_acquire(struct seg_view *v);
void seg_view_release(struct seg_view *v); /* NULL is a no-op */
/* A process-wide id of the file, never reused: the cache's key with the block number. */
uint64_t seg_view_file_id(const struct seg_view *v);
/* Data block that holds seq if anything does: the last one that starts at or before it. False when
 * seq lies outside. */
bool seg_view_block_of(const struct seg_view *v, uint64_t seq, uint32_t *block_no_out);
/* First data block with a message whose ts is >= ts. False when there is none. */
bool seg_view_block_by_time(const struct seg_view *v, int64_t ts, uint32_t *block_no_out);
/* Sequences a block may hold: [*first_out, *last_out] (last: just before the next block's first).
 */
void seg_view_block_range(const struct seg_view *v, uint32_t block_no, uint64_t *first_out,
                          uint64_t *last_out);
/* Index of the first view (sorted by first_seq, empty views not among them) whose last_seq >= seq;
 * n when none. */
size_t seg_views_find(struct seg_view *const *views, size_t n, uint64_t seq);

/* --- the store's segments --------------------------------------------------------------------- */

struct segs_opts {
    const char *root; /* <store_dir>/millrace; copied */
    uint8_t store_uuid[16];
    uint32_t crc_seed;
    unsigned open_files_max; /* LRU of descriptors for reading; 0 = 512 */
};
/* Makes s/ and quarantine/ when missing (blocking; start-up). */
MUST_USE enum st segs_open(struct env *env, const struct segs_opts *opts, struct segs **segs_out,
                           struct err *err);
void segs_close(struct segs *s); /* every view must be released before; NULL is a no-op */
/* Makes durable the names of files that flushes created for gid: s/<gid>, and s/ and the root when
 * this process has not synced them for that gid yet. Does nothing when no file was made since.
 * Blocking. */
MUST_USE enum st segs_sync_dirs(struct segs *s, uint32_t gid, struct err *err);
/* Unlinks the doomed files nobody reads any more. Blocking; flusher task. Returns how many are
 * still pinned. */
size_t segs_reap(struct segs *s);

/* --- writing (flusher task; blocking) --------------------------------------------------------- */

/* One live message: its MSG form, borrowed until the flush returns. */
struct seg_src {
    const uint8_t *msg;
    uint32_t len;
    uint32_t reserved;
    int64_t expire_ns; /* 0 = never */
};

struct extent; /* extent.h */
struct seg_flush_req {
    uint32_t gid;
    const char *account; /* stand in the header of new files; may be "" */
    const char *name;
    const struct seg_view
        *active;         /* continued; NULL = a new segment is started (also after an error) */
    uint64_t next_segno; /* number for the first new file; the following ones count up */
    uint64_t created_generation;    /* for new files: the generation that will commit them */
    uint64_t prev_last_seq;         /* last sequence in the segments before; 0 = none */
    const struct seg_src *msgs;     /* ascending, unique sequences; above active's last_seq */
    size_t n;                       /* may be 0 when there are removals to note */
    uint64_t floor;                 /* first_seq of the stream at the freeze */
    const struct seq_runs *removed; /* removed since the section before; sorted; may be NULL */
    uint32_t block_raw_bytes;       /* 0 = 64 KiB; buckets 16 KiB */
    uint64_t segment_bytes;         /* seal at this size; 0 = 64 MiB */
    bool no_compress;
    bool seal; /* seal the last file too, whatever its size */
    /* Files that the lane has written for this stream, ascending: the messages in their ranges are
     * not written again. Those that hold any of msgs get their footers and are among the results;
     * after an error none is, and all of them stay on disk. */
    struct extent *extents;
    size_t nextents;
};

struct seg_flushed {
    struct seg_view
        *view; /* one reference, yours. row.live_* = those of `active` plus what was added */
    bool replaces_active; /* it is the grown `active` (same segno); else a new segment */
};
struct seg_flush_result {
    struct seg_flushed *v; /* owned: seg_flush_result_fini */
    size_t n;
    uint64_t bytes_written;
};

/* Writes the messages as blocks, closes each file touched with an index section or, at the target
 * size, with a footer (then the next one is begun), and fdatasyncs it. Nothing in memory changes:
 * the caller commits the rows, then publishes the views. Names of new files are not durable before
 * segs_sync_dirs. On an error the touched files are abandoned: retry with active = NULL and higher
 * segnos, and close the old one with seg_view_closed. An `active` whose last flush failed, or was
 * never published (the commit's outcome is not known), or whose file is missing or short, is not
 * continued but left as it is; new segments are begun. ST_NOSPACE, ST_IO; ST_CORRUPT when the
 * source bytes are not valid MSG forms in order. Files that this call made are unlinked again after
 * an error. */
MUST_USE enum st seg_flush(struct segs *s, const struct seg_flush_req *req,
                           struct seg_flush_result *out, struct err *err);
void seg_flush_result_fini(
    struct seg_flush_result *r); /* releases views still in it (set view = NULL to keep) */
/* A copy of an active view with state SEG_CLOSED, to be committed and published after a failed
 * flush. */
struct seg_view *seg_view_closed(const struct seg_view *v);

/* --- opening (start-up; blocking) ------------------------------------------------------------- */

enum seg_damage_cause {
    SEG_DAMAGE_BLOCK,        /* a data block: its messages are lost */
    SEG_DAMAGE_SECTION,      /* an index section or footer: rebuilt from blocks */
    SEG_DAMAGE_HEADER,       /* header page: last page or row served */
    SEG_DAMAGE_TRAILER,      /* last page of a sealed file: row served */
    SEG_DAMAGE_FILE_MISSING, /* missing or short */
    SEG_DAMAGE_MESSAGE,      /* one message inside a good block */
    SEG_DAMAGE_PADDING,      /* bytes that must be zero are not (check only) */
};
const char *seg_damage_text(enum seg_damage_cause cause);
/* lo..hi: the sequences concerned; `lost`: messages in that range cannot be served. */
typedef void (*seg_damage_fn)(void *arg, enum seg_damage_cause cause, const struct seg_row *row,
                              uint64_t off, uint64_t lo, uint64_t hi, bool lost, const char *text);

struct seg_visitor {
    void *arg;
    /* Each subject once per section or footer (in several calls when it has more than 4,096
     * messages there), sections in ascending order; seqs ascending, valid during the call. Removed
     * messages are among them: the caller filters by its delete runs. sizes[i] is the logical size
     * (msg_logical_size) of seqs[i], so that the owner can take a flushed message out of
     * state.bytes without reading its block. May be NULL. */
    void (*subject)(void *arg, const uint8_t *subj, size_t len, const uint64_t *seqs,
                    const uint32_t *sizes, size_t n);
    void (*removed)(void *arg, uint64_t floor, const struct seq_runs *runs); /* may be NULL */
    void (*ttl)(void *arg, uint64_t seq, int64_t expire_ns);                 /* may be NULL */
    /* Only for rebuilds: when the message expires (0 = never), from its headers. May be NULL. */
    int64_t (*expiry_of)(void *arg, const struct msg *m);
    seg_damage_fn damage; /* may be NULL */
};
/* Opens the segment of a catalogue row: header page, trailer and sections or footer; data blocks
 * only when an index is damaged. Damage is reported, not an error: what cannot be read is marked
 * lost in the view. Bytes past durable_len are ignored. A damaged active segment's view says
 * SEG_CLOSED: it is not continued. ST_NOMEM, ST_VERSION, ST_UNSUPPORTED (reserved fields set),
 * ST_INVALID (the row). */
MUST_USE enum st seg_open(struct segs *s, const struct seg_row *row, const struct seg_visitor *v,
                          struct seg_view **view_out, struct err *err);

/* --- removing and judging (blocking but for seg_view_drop) ------------------------------------ */

/* The file is to go (its row is gone and past the release point): segs_reap unlinks it when nobody
 * pins it. */
void seg_view_drop(struct seg_view *v);
/* Renames s/<gid> to s/<gid>.dropped (directory synced), unlinks what is in it, removes it.
 * Idempotent: finishes what an earlier run began; ST_OK when there is nothing. */
MUST_USE enum st segs_drop_stream(struct segs *s, uint32_t gid, struct err *err);
/* One call per file below s/ (also strange names: gid and segno 0). `dropped`: in a .dropped
 * directory. created_generation is 0 when the header cannot be read. */
typedef void (*segs_list_fn)(void *arg, uint32_t gid, uint64_t segno, uint32_t gen, bool dropped,
                             uint64_t created_generation, const char *path);
MUST_USE enum st segs_list(struct segs *s, segs_list_fn fn, void *arg, struct err *err);
/* Reads every message of a file that no row names (path as segs_list gave it). True: all of it
 * could be read, but for what may follow the last good block. False: not this store's, not what its
 * name says, or damaged. */
bool segs_read_unknown(struct segs *s, const char *path, uint32_t gid, uint64_t segno, uint32_t gen,
                       void (*fn)(void *arg, const struct msg *m), void *arg);
/* Moves a file (path as segs_list gave it) to quarantine/, under a name that tells where it came
 * from; synced. */
MUST_USE enum st segs_quarantine(struct segs *s, const char *path, struct err *err);
/* Unlinks a file the store does not know and has judged (12.6); directory synced. */
MUST_USE enum st segs_remove_unknown(struct segs *s, const char *path, struct err *err);

/* --- check, compaction (blocking) ------------------------------------------------------------- */

struct seg_check_report {
    uint64_t files, blocks, sections, msgs, bytes, findings, lost_blocks;
};
/* Verifies every checksum of a segment, read-only; v->damage per finding. Adds to *report. */
MUST_USE enum st seg_check(struct segs *s, const struct seg_row *row, const struct seg_visitor *v,
                           struct seg_check_report *report, struct err *err);

/* Writes the live messages of a sealed or closed segment to gen + 1, sealed and synced (name:
 * segs_sync_dirs), in steps, so that the I/O can be paced. The caller commits the new row in place
 * of the old, publishes, drops the old view. Lost blocks make it ST_CORRUPT: a damaged file is
 * evidence and stays. Nothing live: ST_OK and out->n == 0, and the segment may be dropped.
 *
 * `next` (may be NULL): the segment behind it, which goes into the same file; the new one has the
 * name of `old`, the row of `next` goes. `old`, account and name are borrowed until end or cancel;
 * end frees, also on an error; after a failed step only cancel may follow. A file begun is unlinked
 * by cancel. */
typedef bool (*seg_live_fn)(void *arg, uint64_t seq);
struct seg_compaction;
MUST_USE enum st seg_compact_begin(struct segs *s, const struct seg_view *old,
                                   const struct seg_view *next, uint64_t created_generation,
                                   const char *account, const char *name, seg_live_fn live,
                                   void *arg, struct seg_compaction **c_out, struct err *err);
MUST_USE enum st seg_compact_step(struct seg_compaction *c, uint32_t blocks_max, bool *done_out,
                                  struct err *err);
MUST_USE enum st seg_compact_end(struct seg_compaction *c, struct seg_flush_result *out,
                                 struct err *err);
void seg_compact_cancel(struct seg_compaction *c); /* NULL is a no-op */

#endif
