/* meta.db as rows: the only file that speaks SQL. Private to the catalogue.
 *
 * The connection is set up once: EXCLUSIVE locking, WAL, synchronous=FULL, no automatic
 * checkpoints, no mmap, defensive. A new database is built whole under the name meta.db.new,
 * without a journal and without syncs, then synced and renamed by the caller: meta.db is a complete
 * database or absent. Runs on the thread of the catalogue; blocking. */
#ifndef ENGINE_CATALOGUE_SQL_H
#define ENGINE_CATALOGUE_SQL_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/env.h"
#include "engine/catalogue_tables.h"
#include "engine/meta_vfs.h"

struct sqlite3;
struct sqlite3_stmt;

struct cat_sql {
    struct env *env;
    struct meta_vfs *vfs;                                     /* borrowed */
    struct sqlite3 *db;                                       /* owned; NULL: closed */
    struct sqlite3_stmt *put[CAT_T_COUNT], *del[CAT_T_COUNT]; /* owned; prepared at first use */
    struct sqlite3_stmt *state;                               /* owned */
    struct cat_buf buf;                                       /* owned: a row on its way out */
    bool in_txn;
};

struct cat_sql_info {
    int schema_version;
    uint8_t store_uuid[16];
    uint64_t generation;
    uint32_t next_gid;
    bool clean;
};

/* Opens the database at `path` and reads who it is. ST_NOTFOUND; ST_CORRUPT: unreadable;
 * ST_FOREIGN: another program's or another store's; ST_VERSION: a newer schema. Nothing on disk is
 * altered. On failure it is closed. */
MUST_USE enum st cat_sql_open(struct cat_sql *s, struct env *env, struct meta_vfs *vfs,
                              const char *path, const uint8_t store_uuid[16],
                              struct cat_sql_info *info_out, struct err *err);
/* Closes without a checkpoint. A closed one is a no-op. */
void cat_sql_close(struct cat_sql *s);

/* Starts a new database at `path` (replacing a left-over) with the tables of schema `version`; rows
 * follow with cat_sql_apply; finish commits, closes, and syncs the file. abort closes. */
MUST_USE enum st cat_sql_build_begin(struct cat_sql *s, struct env *env, struct meta_vfs *vfs,
                                     const char *path, int version, const uint8_t store_uuid[16],
                                     struct err *err);
MUST_USE enum st cat_sql_build_finish(struct cat_sql *s, const char *path, uint64_t generation,
                                      struct err *err);
void cat_sql_build_abort(struct cat_sql *s);
/* Starts a database in memory alone, with the newest tables; rows follow with cat_sql_apply, then
 * cat_sql_set_state and cat_sql_commit. */
MUST_USE enum st cat_sql_memory(struct cat_sql *s, struct env *env, struct meta_vfs *vfs,
                                const uint8_t store_uuid[16], struct err *err);
/* Brings an open database from `from` to the newest schema, each step in a transaction of its own.
 */
MUST_USE enum st cat_sql_migrate(struct cat_sql *s, int from, struct err *err);

MUST_USE enum st cat_sql_begin(struct cat_sql *s, struct err *err);
/* Puts or deletes one row. ST_EXISTS when it would break a unique name. */
MUST_USE enum st cat_sql_apply(struct cat_sql *s, const struct cat_row *row, struct err *err);
MUST_USE enum st cat_sql_set_state(struct cat_sql *s, uint64_t generation, bool clean,
                                   struct err *err);
MUST_USE enum st cat_sql_commit(struct cat_sql *s, struct err *err);
void cat_sql_rollback(struct cat_sql *s); /* without a transaction: no-op */

/* Folds the WAL into meta.db and empties it. */
MUST_USE enum st cat_sql_checkpoint(struct cat_sql *s, struct err *err);
/* SQLite's own check of its structure; text_out gets the first complaint, or "". ST_CORRUPT when
 * there is one. */
MUST_USE enum st cat_sql_integrity(struct cat_sql *s, struct err *err);
/* Gives cached pages back. */
void cat_sql_shrink(struct cat_sql *s);

/* Calls fn for each row of a table by ascending key. */
typedef enum st (*cat_sql_row_fn)(void *arg, const struct cat_row *row, struct err *err);
MUST_USE enum st cat_sql_each(struct cat_sql *s, enum cat_table table, cat_sql_row_fn fn, void *arg,
                              struct err *err);

#endif
