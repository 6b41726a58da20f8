/* What the catalogue's files share. Private to engine/catalogue*.c and their tests. */
#ifndef ENGINE_CATALOGUE_PRIV_H
#define ENGINE_CATALOGUE_PRIV_H

#include <stdatomic.h>

#include "engine/ballast.h"
#include "engine/base/mutex.h"
#include "engine/catalogue.h"
#include "engine/catalogue_sql.h"
#include "engine/quarantine.h"
#include "engine/rowlog.h"

#define CAT_MAGIC 0x5f746143u
#define CAT_WAL_BYTES_MAX (4u << 20) /* beyond, the WAL is folded into meta.db */
#define CAT_OLD_LOGS_MAX 8u
#define CAT_MERGE_MAX 16u /* queued transactions that may share a generation */

struct cat_incident {
    int64_t found_ns;
    char text[240];
};

struct cat_job {
    struct cat_txn *txn; /* owned from submit to callback */
    cat_done_fn done;
    void *arg;
};

struct cat {
    uint32_t magic;
    struct env *env;
    char *root;                /* owned */
    struct rowlog_ident ident; /* borrows root */
    struct meta_vfs *vfs;      /* owned */
    struct cat_sql sql;        /* closed while meta.db is out of service */
    struct rowlog log;
    uint64_t sql_gen; /* durable in meta.db; log.last_generation or one less */
    uint64_t log_n;   /* the highest row-log number seen */
    uint32_t next_gid;
    bool clean, fresh, read_only;
    bool in_doubt;   /* a commit's outcome is not known: no more commits until the next open */
    bool sql_doubt;  /* a commit of SQLite failed on the disk: meta.db may hold it */
    bool installing; /* meta.db is being replaced: which one has the name is not known */
    bool dead;       /* abandoned: the disk is not touched any more */
    atomic_uint_fast64_t generation; /* durable in both */
    uint64_t found_sql_gen;          /* meta.db's generation as cat_open found it */

    /* row-log files that a newer one replaced: removed once a generation above old_gen is durable
     * in both */
    uint64_t old[CAT_OLD_LOGS_MAX];
    unsigned nold;
    uint64_t old_gen;

    uint64_t wal_bytes_max, log_bytes_min;
    uint64_t c4_bytes_max; /* the largest commit seen: row log and WAL */
    struct ballast ballast;

    struct base_mutex incident_lock;
    struct cat_incident incidents[CAT_INCIDENTS_MAX]; /* guarded by: incident_lock */
    size_t nincidents; /* guarded by: incident_lock; may exceed the array */

    struct env_task *task; /* owned; NULL: not started */
    struct base_mutex queue_lock;
    struct cat_job queue[CAT_QUEUE_MAX]; /* ring; guarded by: queue_lock */
    unsigned queue_head, queue_len;      /* guarded by: queue_lock */
    bool queue_open;                     /* guarded by: queue_lock */
};

/* Logs at WRN and remembers for /healthz. Any thread. */
void cat_incident(struct cat *cat, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts meta.db and its WAL into quarantine, builds a new one from the chain of `scan`, and opens
 * it: sql_gen is then the chain's last generation. On failure meta.db may be out of service (sql
 * closed); the row log stays whole. */
MUST_USE enum st cat_meta_rebuild(struct cat *cat, const struct rowlog_scan *scan, struct err *err);
/* Opens a database in memory with the chain of `scan`; sql_gen is then its last generation. Nothing
 * on disk is altered. */
MUST_USE enum st cat_meta_in_memory(struct cat *cat, const struct rowlog_scan *scan,
                                    struct err *err);
/* Makes an empty meta.db-wal; one that is there is emptied durably, a new one is durable with the
 * directory. */
MUST_USE enum st cat_wal_empty(struct env *env, const char *root, struct err *err);
/* Opens meta.db for work; on ST_OK sql_gen and next_gid are set. */
MUST_USE enum st cat_meta_open(struct cat *cat, struct err *err);
/* Writes a new row log from meta.db and makes it the current one; the one before becomes old. */
MUST_USE enum st cat_log_redump(struct cat *cat, struct err *err);
/* Applies the row log's batches behind sql_gen to meta.db; each one a transaction. */
MUST_USE enum st cat_meta_catch_up(struct cat *cat, const struct rowlog_scan *scan,
                                   struct err *err);
/* Brings both copies to one generation and the row log to a file that works, after an error. */
MUST_USE enum st cat_heal(struct cat *cat, struct err *err);
/* ST_OK: the copies agree row by row. ST_MISMATCH names a table. */
MUST_USE enum st cat_compare(const struct rowlog_ident *ident, struct cat_sql *sql,
                             const struct rowlog_scan *scan, struct err *err);
/* Removes replaced row logs when it is their time. */
void cat_log_old_remove(struct cat *cat);
void cat_log_old_add(struct cat *cat, uint64_t n);

/* Commits several transactions as one generation. */
MUST_USE enum st cat_commit_many(struct cat *cat, struct cat_txn *const *txns, size_t n,
                                 uint64_t *gen_out, struct err *err);
/* What is due after commits: fold the WAL, compact the row log, grow the ballast. */
void cat_maintain(struct cat *cat);

#endif
