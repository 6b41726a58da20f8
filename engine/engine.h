/* The engine: opens a store directory and serves engine/store.h over it. See engine/README.md for
 * the reading order. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "engine/base/env.h"
#include "engine/store.h"

struct eng_opts {
    const char *store_dir;    /* data goes to <store_dir>/millrace; made when missing; nothing else
                                 there is touched */
    int64_t sync_interval_ns; /* 0 = always: durable; else relaxed */
    uint64_t max_file_bytes;  /* logical bytes of all file streams; UINT64_MAX = no limit */
    bool max_file_is_of_free; /* it was reckoned from what the disk has free: what the store holds
                                 comes on top */
    uint64_t max_mem_bytes;
    uint64_t journal_window_bytes;                           /* 0 = 256 MiB */
    uint64_t journal_file_min_bytes, journal_file_max_bytes; /* 0 = 4 MiB, 64 MiB */
    uint64_t tail_bytes;        /* of one stream, in memory and in no segment: a checkpoint begins;
                                   0 = LIM_TAIL_STREAM_BYTES */
    uint64_t block_cache_bytes; /* 0 = LIM_BLOCK_CACHE_BYTES_DEFAULT */
    int64_t clock_hold_ns;      /* 0 = 10 min */
    uint64_t evict_bytes;       /* what a message's record tells of others that go; 0 = the format's
                                   most. For tests */
    uint64_t extent_message_bytes; /* a message above this is large; 0 = 64 KiB. For tests */
    uint64_t extent_begin_bytes;   /* of large ones in a group: they are written once, to a segment;
                                      0 = 2 MiB, UINT64_MAX = never */
    uint32_t few_consumers; /* a stream with fewer asks each of them about every message; 0 = 8. For
                               tests */
    uint64_t segment_bytes; /* segments are sealed at this size; 0 = 64 MiB */
    uint64_t compact_bytes_per_s; /* background compaction reads so much; 0 = 32 MiB,
                                     UINT64_MAX = no limit */
    /* jsadmin: load and replay in memory and start nothing; no message is written or removed
     * (second copies of STORE and of the catalogue are repaired as at any start). Only lookups,
     * states and eng_check may be called then. */
    bool read_only_check;
    /* Called on an engine task when the owner should call poll soon; coalesces nothing itself. */
    void (*doorbell)(void *arg);
    void *doorbell_arg;
};

/* Opens (recovering what there is) and starts the engine's tasks. Blocking; the calling thread
 * becomes the owner. ST_BUSY: another process holds the store. ST_VERSION, ST_FOREIGN, ST_MISMATCH,
 * ST_CORRUPT: refused, nothing altered. ST_DENIED, ST_NOSPACE, ST_IO. */
MUST_USE enum st eng_open(struct env *env, const struct eng_opts *opts, struct store **store_out,
                          struct err *err);
/* Stops: checkpoints everything, says SHUTDOWN in the journal, frees. Outstanding callbacks are not
 * called. */
void eng_close(struct store *store);
/* Frees without writing anything: what a killed process leaves. For crash tests. */
void eng_abandon(struct store *store);

struct eng_info {
    char root[4096]; /* <store_dir>/millrace */
    uint8_t store_uuid[16];
    bool fresh; /* made by this open */
    bool clean; /* the last stop was clean */
    uint64_t replayed_records, torn_bytes;
    int64_t recovery_ns;
    uint64_t streams, consumers, segments;
    uint64_t journal_window_used, journal_window_bytes;
    uint64_t groups, syncs, journal_bytes_written, sync_ns_total, sync_ns_max;
    uint64_t checkpoints, segment_bytes_written;
    uint64_t compactions, compacted_bytes; /* segments rewritten; what they shrank by */
    uint64_t generation;
    uint64_t incidents, damaged_streams;
    bool poisoned, low_space, clock_alarm;
};
void eng_info_get(struct store *store, struct eng_info *out);
/* Everything found damaged since the start or standing in the damage table; stream NULL where it is
 * not known. */
void eng_incidents(struct store *store,
                   void (*fn)(void *arg, const char *account, const char *stream, const char *text),
                   void *arg);
/* Damage of one stream, oldest first. */
void eng_stream_damage(struct store_stream *s,
                       void (*fn)(void *arg, uint64_t lo, uint64_t hi, const char *text),
                       void *arg);
/* Verifies every checksum of the store: STORE pages, catalogue copies, segments, journal. The store
 * was opened with read_only_check; afterwards it can only be closed. fn is called per finding;
 * object names the place ("segment s/00000001/1.0.seg at 4096"). Blocking. */
struct eng_check_report {
    uint64_t catalogue_pages, segments, blocks, journal_files, journal_groups, records, bytes,
        torn_bytes, findings;
    uint64_t quarantine_files, quarantine_bytes; /* no finding by itself */
};
typedef void (*eng_finding_fn)(void *arg, const char *object, const char *text, bool lost);
MUST_USE enum st eng_check(struct store *store, eng_finding_fn fn, void *arg,
                           struct eng_check_report *out, struct err *err);
/* What was set aside in quarantine/ (damaged or unknown files), oldest first; since_ns is INT64_MAX
 * where the name does not say it. `remove`: all of it is removed, durably, and told once it is.
 * Blocking. */
typedef void (*eng_quarantined_fn)(void *arg, const char *name, uint64_t bytes, int64_t since_ns);
MUST_USE enum st eng_quarantine(struct store *store, bool remove, eng_quarantined_fn fn, void *arg,
                                struct err *err);
/* What the stream takes on disk: segment files, and bytes that only the journal holds. */
void eng_stream_space(struct store_stream *s, uint64_t *segments_out, uint64_t *segment_bytes_out,
                      uint64_t *tail_msgs_out);

/* Rewrites every segment that holds anything removed, the ones being filled too, at full speed;
 * a checkpoint comes first. done: n = segments rewritten; ST_BUSY when one runs; ST_NOSPACE, ST_IO.
 * Damaged segments are left as they are and counted. */
struct eng_compact_progress {
    bool running;
    uint64_t todo, rewritten, damaged; /* segments */
    uint64_t bytes_in, bytes_out;      /* of those rewritten */
};
void eng_compact(struct store *store, store_done_fn done, void *arg);
void eng_compact_progress(struct store *store, struct eng_compact_progress *out);

/* Asks for a checkpoint of everything now; done runs on the owner when it is durable. For tests. */
void eng_checkpoint(struct store *store, store_done_fn done, void *arg);

#endif
