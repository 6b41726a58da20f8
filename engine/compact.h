/* What a running compaction holds. Private to engine/ (compact.c, and what calls it). */
#ifndef ENGINE_COMPACT_H
#define ENGINE_COMPACT_H

#include "engine/eng.h"

enum compact_phase {
    COMPACT_IDLE,
    COMPACT_WRITING,    /* the compactor owns the job */
    COMPACT_WRITTEN,    /* the owner commits when no checkpoint does */
    COMPACT_COMMITTING, /* the catalogue owns the transaction */
    COMPACT_COMMITTED,
};

/* Rows of table segdel with this segno hold what secure deletes still have to erase. */
#define SEGDEL_ERASE 1u
/* With this one, and no runs: what nobody wants any more is still being looked for (interest). */
#define SEGDEL_RELEASE 2u

struct compact {
    atomic_int phase; /* enum compact_phase: hands the job over */
    /* the job */
    uint32_t gid;
    struct seg_view *old;     /* owned reference */
    struct seg_view *next;    /* owned reference: its neighbour, merged with it; or NULL */
    char *account, *name;     /* owned */
    uint64_t committed_first; /* the stream's floor as the catalogue has it */
    uint64_t first_seq;       /* as it stood in memory */
    struct seq_runs dead;     /* dead above first_seq */
    struct seq_runs fresh;    /* of those, what the catalogue does not know yet: kept */
    uint64_t created_generation;
    bool paced;
    struct seg_compaction *w; /* owned by the task */
    struct seg_flush_result out;
    struct cat_txn *txn; /* owned */
    enum st st;
    struct err err;
    /* between jobs */
    bool more;     /* some stream is to be looked at */
    bool in_doubt; /* a commit's outcome is not known: nothing more until a restart */
    int64_t retry_boot_ns;
    struct eng_timer *erase_timer; /* owned */
    struct eng_timer *dead_timer;  /* owned: looks whether removals alone made work */
    bool dead_armed;
    struct env_task *task; /* owned */
    struct {
        bool waiting; /* for its checkpoint */
        bool on;
        enum st st;
        store_done_fn fn;
        void *arg;
        struct eng_compact_progress progress;
    } request;
};

#endif
