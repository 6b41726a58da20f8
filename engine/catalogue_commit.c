/* C4: one generation into both copies (RULES.md, "Checkpoint").
 *
 *   BEGIN, rows, generation into SQLite's transaction     everything that can be refused is refused
 * here row-log batch, fdatasync                              C4a: from here on the rows may be
 * found after a crash COMMIT (WAL, fdatasync)                               C4b
 *
 * A row-log file whose sync failed is given up for a new one, dumped from meta.db. A database whose
 * page or sync failed is set aside and rebuilt from the row log. A full disk takes the ballast
 * once. What still fails is taken back: the batch is wiped from the row log, so that no restart
 * finds a generation whose commit failed (the owner may have reused what its rows refer to). If
 * that fails as well the outcome is in doubt, and there are no more commits. */
#include <inttypes.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/catalogue_priv.h"

static bool meta_is_bad(enum st st)
{
    return st == ST_CORRUPT || st == ST_IO || st == ST_INTERNAL;
}

static enum st read_next_gid(void *arg, const struct cat_row *row, struct err *err)
{
    struct cat *cat = arg;
    struct cat_cell cells[CAT_COLS_MAX];
    enum st st = cat_row_cells(row, cells, err);
    if (st == ST_OK) {
        cat->next_gid = (uint32_t)cells[1].u;
    }
    return st;
}

/* Makes meta.db equal to the row log: by its batches, or as a whole. */
static enum st heal_meta(struct cat *cat, bool suspect, struct err *err)
{
    struct rowlog_scan scan;
    struct err why = {0};

    enum st st = rowlog_scan(&cat->ident, cat->log.n, &scan, err);
    if (st != ST_OK) {
        return st;
    }
    if (scan.nchain == 0 || scan.batches[scan.nchain - 1].generation != cat->log.last_generation) {
        st = err_set(err, ST_CORRUPT, 0, "meta.%" PRIu64 ".log no longer holds generation %" PRIu64,
                     cat->log.n, cat->log.last_generation);
        goto free_scan;
    }
    if (cat->sql.db != NULL && !suspect) {
        st = cat_meta_catch_up(cat, &scan, &why);
        if (st == ST_NOSPACE &&
            (cat_sql_checkpoint(&cat->sql, NULL) == ST_OK || ballast_release(&cat->ballast))) {
            st = cat_meta_catch_up(cat, &scan, &why);
        }
        if (!meta_is_bad(st)) {
            if (st != ST_OK) {
                (void)err_set(err, st, why.os_errno, "%s", why.msg);
            }
            goto free_scan;
        }
        cat_incident(cat, "%s; meta.db is set aside and rebuilt", why.msg);
    }
    st = cat_meta_rebuild(cat, &scan, err);
    if (st == ST_NOSPACE && ballast_release(&cat->ballast)) {
        st = cat_meta_rebuild(cat, &scan, err);
    }
free_scan:
    if (st == ST_OK) {
        st = cat_sql_each(&cat->sql, CAT_T_STORE, read_next_gid, cat, err);
    }
    rowlog_scan_fini(&scan);
    return st;
}

enum st cat_heal(struct cat *cat, struct err *err)
{
    enum st st = ST_OK;
    if (cat->sql.db == NULL || cat->sql_gen != cat->log.last_generation) {
        st = heal_meta(cat, false, err);
    }
    if (st == ST_OK && cat->log.failed) {
        st = cat_log_redump(cat, err);
        if (st == ST_NOSPACE && ballast_release(&cat->ballast)) {
            st = cat_log_redump(cat, err);
        }
    }
    return st;
}

/* A failed read or sync of meta.db: rebuild it at once from the row log. */
static enum st replace_meta(struct cat *cat, const struct err *why, struct err *err)
{
    cat_incident(cat, "%s; meta.db is set aside and rebuilt", why->msg);
    return heal_meta(cat, true, err);
}

/* Leaves out a next_gid that would not rise. */
static void drop_stale_next_gid(const struct cat *cat, struct cat_row_ref *refs, size_t *nrefs,
                                size_t *bytes)
{
    struct cat_cell cells[CAT_COLS_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < *nrefs; i++) {
        const struct cat_row *row = &refs[i].row;
        if (row->table == CAT_T_STORE && cat_row_cells(row, cells, NULL) == ST_OK &&
            cells[1].u <= cat->next_gid) {
            *bytes -= row->raw_len;
            continue;
        }
        refs[kept++] = refs[i];
    }
    *nrefs = kept;
}

/* Rows and generation into an open transaction of SQLite. */
static enum st stage(struct cat *cat, const struct cat_row_ref *refs, size_t nrefs,
                     uint64_t generation, struct err *err)
{
    enum st st = cat_sql_begin(&cat->sql, err);
    for (size_t i = 0; st == ST_OK && i < nrefs; i++) {
        st = cat_sql_apply(&cat->sql, &refs[i].row, err);
    }
    if (st == ST_OK) {
        st = cat_sql_set_state(&cat->sql, generation, false, err);
    }
    if (st != ST_OK) {
        cat_sql_rollback(&cat->sql);
    }
    return st;
}

/* As stage, and what can be done about an error is done once. */
static enum st stage_or_repair(struct cat *cat, const struct cat_row_ref *refs, size_t nrefs,
                               uint64_t generation, struct err *err)
{
    struct err why = {0};
    enum st st = stage(cat, refs, nrefs, generation, &why);
    if (st == ST_OK) {
        return ST_OK;
    }
    if (st == ST_NOSPACE &&
        (cat_sql_checkpoint(&cat->sql, NULL) == ST_OK || ballast_release(&cat->ballast))) {
        return stage(cat, refs, nrefs, generation, err);
    }
    if (meta_is_bad(st)) {
        st = replace_meta(cat, &why, err);
        return st == ST_OK ? stage(cat, refs, nrefs, generation, err) : st;
    }
    return err_set(err, st, why.os_errno, "%s", why.msg);
}

/* After a failure whose effects could not be undone: a restart may find the generation or not. */
static enum st doubt(struct cat *cat, const struct err *why, struct err *err)
{
    cat->in_doubt = true;
    cat_incident(cat, "%s; checkpoints stop until a restart", why->msg);
    return err_set(err, ST_POISONED, why->os_errno,
                   "%s; whether generation %" PRIu64 " counts is known after a restart", why->msg,
                   cat->sql_gen + 1);
}

/* C4a. May replace the row-log file; SQLite's transaction is then staged again. On any error but
 * ST_POISONED the batch will not be found. */
static enum st log_batch(struct cat *cat, const struct cat_row_ref *refs, size_t nrefs,
                         size_t bytes, uint64_t generation, struct err *err)
{
    struct err why = {0}, undo = {0};
    enum st st = rowlog_append(&cat->log, refs, nrefs, bytes, &why);
    if (st == ST_NOSPACE && !cat->log.failed && ballast_release(&cat->ballast)) {
        st = rowlog_append(&cat->log, refs, nrefs, bytes, &why);
    }
    if (st == ST_OK) {
        return ST_OK;
    }
    if (st == ST_NOMEM || st == ST_TOOBIG) { /* nothing was written */
        return err_set(err, st, why.os_errno, "%s", why.msg);
    }
    bool failed = cat->log.failed;
    bool undone = rowlog_undo(&cat->log, &undo) == ST_OK;
    if (!failed) {
        return undone ? err_set(err, st, why.os_errno, "%s", why.msg) : doubt(cat, &undo, err);
    }
    cat_incident(cat, "%s; the row log goes on in a new file", why.msg);
    cat_sql_rollback(&cat->sql);
    cat->log.failed = true;
    if ((st = cat_heal(cat, &why)) == ST_OK &&
        (st = stage(cat, refs, nrefs, generation, &why)) == ST_OK) {
        st = rowlog_append(&cat->log, refs, nrefs, bytes, &why);
        if (st == ST_OK) {
            return ST_OK; /* the new file is believed, whatever became of the batch in the old one
                           */
        }
        undone = undone && rowlog_undo(&cat->log, &undo) == ST_OK;
    }
    return undone ? err_set(err, st, why.os_errno, "%s", why.msg) : doubt(cat, &why, err);
}

/* C4b failed with the batch in the row log: go on if meta.db can be brought up to it, else take the
 * batch back. */
static enum st commit_failed(struct cat *cat, enum st st, const struct err *why, struct err *err)
{
    struct err then = {0};
    cat->sql_doubt =
        st !=
        ST_NOSPACE; /* SQLite writes the commit mark last: without room for it there is none */
    cat_sql_rollback(&cat->sql);
    st = meta_is_bad(st) ? replace_meta(cat, why, &then) : cat_heal(cat, &then);
    if (st == ST_OK) {
        return ST_OK;
    }
    if (cat->installing || cat->sql_doubt || rowlog_undo(&cat->log, &then) != ST_OK) {
        return doubt(cat, &then, err);
    }
    return err_set(err, st, then.os_errno, "%s", then.msg);
}

static enum st commit_rows(struct cat *cat, const struct cat_row_ref *refs, size_t nrefs,
                           size_t bytes, struct err *err)
{
    struct err why = {0};
    uint64_t generation = cat->sql_gen + 1;

    enum st st = stage_or_repair(cat, refs, nrefs, generation, err);
    if (st != ST_OK) {
        return st;
    }
    if ((st = log_batch(cat, refs, nrefs, bytes, generation, err)) != ST_OK) {
        cat_sql_rollback(&cat->sql);
        return st;
    }
    /* The point of no return: the rows are in one copy. */
    st = cat_sql_commit(&cat->sql, &why);
    if (st == ST_OK) {
        cat->sql_gen = generation;
        return ST_OK;
    }
    return commit_failed(cat, st, &why, err);
}

enum st cat_commit_many(struct cat *cat, struct cat_txn *const *txns, size_t n, uint64_t *gen_out,
                        struct err *err)
{
    struct cat_row_ref *refs = NULL;
    size_t nrefs = 0, bytes = 0;
    struct cat_cell cells[CAT_COLS_MAX];

    ASSERT(cat->magic == CAT_MAGIC);
    *gen_out = 0;
    if (cat->read_only) {
        return err_set(err, ST_DENIED, 0, "catalogue: opened to be read only");
    }
    if (cat->in_doubt) {
        return err_set(err, ST_POISONED, 0,
                       "catalogue: an earlier commit failed; its outcome is known after a restart");
    }
    enum st st = cat_txns_sort(txns, n, &refs, &nrefs, &bytes, err);
    if (st != ST_OK || (st = cat_heal(cat, err)) != ST_OK) {
        goto free_refs;
    }
    drop_stale_next_gid(cat, refs, &nrefs, &bytes);
    if ((st = commit_rows(cat, refs, nrefs, bytes, err)) != ST_OK) {
        goto free_refs;
    }
    ASSERT(cat->sql_gen == cat->log.last_generation);
    for (size_t i = 0; i < nrefs; i++) {
        if (refs[i].row.table == CAT_T_STORE && cat_row_cells(&refs[i].row, cells, NULL) == ST_OK) {
            cat->next_gid = (uint32_t)cells[1].u;
        }
    }
    cat->clean = false;
    cat->c4_bytes_max = u64_max(cat->c4_bytes_max, 2 * (uint64_t)bytes + 64 * KIB);
    atomic_store(&cat->generation, cat->sql_gen);
    *gen_out = cat->sql_gen;
    cat_log_old_remove(cat);
free_refs:
    base_free(refs);
    if (st != ST_OK) {
        err_prefix(err, "catalogue");
    }
    return st;
}

enum st cat_commit(struct cat *cat, struct cat_txn *txn, uint64_t *gen_out, struct err *err)
{
    enum st st = cat_commit_many(cat, &txn, 1, gen_out, err);
    if (st == ST_OK && cat->task == NULL) {
        cat_maintain(cat);
    }
    return st;
}

/* Errors here cost nothing but space: they are logged, and the next round tries again. */
void cat_maintain(struct cat *cat)
{
    struct err err = {0};

    if (cat->in_doubt || cat->sql.db == NULL || cat->sql_gen != cat->log.last_generation ||
        cat->log.failed) {
        return;
    }
    if (meta_vfs_wal_bytes(cat->vfs) > cat->wal_bytes_max) {
        enum st st = cat_sql_checkpoint(&cat->sql, &err);
        if (meta_is_bad(st)) {
            st = replace_meta(cat, &err, &err);
        }
        if (st != ST_OK) {
            log_wrn("catalogue: could not fold the WAL: %s", err.msg);
            return;
        }
    }
    uint64_t limit = u64_max(cat->log_bytes_min, 4 * cat->log.dump_bytes);
    if (cat->log.end_off > limit && cat_log_redump(cat, &err) != ST_OK) {
        log_wrn("catalogue: could not compact the row log: %s", err.msg);
    }
}
