/* A stream as of one moment, to be read from beginning to end while the stream goes on; and the way
 * back: a stream put together from messages and consumers that another one gave (store_ops'
 * snap_*, cons_import, stream_adopt).
 *
 * Reading: snap_open takes hold of everything in memory (segment files, tail, consumers' states) on
 * the owner thread and calls back when that state is durable. snap_info, snap_next and snap_rewind
 * may then be used by one thread of any kind; they block on the disk. snap_close on the owner.
 *
 * Putting together: a stream is created in account STORE_IMPORT_ACCOUNT under any name, with
 * `mirror` set and without limits, so that append takes at_seq and at_time_ns and seq_skip works.
 * Nobody but its maker sees it (stream_next steps over it), and a start finds and drops what was
 * left behind. When all is in, stream_adopt gives it its true account, name and config in one
 * record; a stream it replaces is dropped in the same group: a crash leaves the old state or the
 * new. */
#ifndef ENGINE_STORE_SNAP_H
#define ENGINE_STORE_SNAP_H

#include "engine/store.h"

#define STORE_IMPORT_ACCOUNT "\001import"

struct store_snap;

struct snap_pend {
    uint64_t sseq, cseq;
    int64_t ts_ns;   /* of the last delivery, store time; a guess after a restart */
    uint32_t dcount; /* deliveries, from 1 */
    bool exhausted;  /* max_deliver was reached: not pending, counted as redelivered */
};
struct snap_cons {
    struct cons_cfg cfg; /* owned */
    int64_t created_ns;
    uint64_t delivered_cseq, delivered_sseq, floor_cseq, floor_sseq;
    uint64_t next_seq;      /* first sequence not looked at; 0 = not known: behind the delivered */
    uint64_t lps_resume;    /* last_per_subject: see consumer_impl.h */
    struct snap_pend *pend; /* owned; ascending by sseq */
    size_t npend;
};
void snap_cons_fini(struct snap_cons *c);

struct snap_info {
    uint32_t gid;
    struct stream_cfg cfg; /* owned by the snapshot, as everything here */
    struct stream_state state;
    struct seq_runs deleted; /* between first_seq and last_seq */
    struct snap_cons *cons;
    size_t ncons;
};

typedef void (*store_snap_fn)(void *arg, enum st st, struct store_snap *snap);

#endif
