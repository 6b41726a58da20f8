/* Opening the catalogue: look at both copies without altering anything, refuse what is not ours,
 * then make both whole and equal (RULES.md, "Start", step 2).
 *
 *   s = generation of meta.db, l = last generation of the row log's unbroken chain
 *
 *   meta.db          row log              what is done
 *   missing          missing              create, if asked and no data lies about; else refuse
 *   missing or bad   whole                rebuild meta.db from the row log
 *   missing or bad   missing or bad       refuse: both copies are gone
 *   whole            whole, l = s         nothing (after an unclean stop: compare row by row)
 *   whole            whole, l = s + 1     a crash between the two commits: apply the batch
 *   whole            whole, l > s + 1     meta.db lost commits (its WAL rotted): rebuild it
 *   whole            l < s, or damaged    dump the row log anew, set the damaged file aside
 *   empty, foreign   any                  refuse: no crash of ours and no flipped bit leaves that
 *
 * All but the crash cases are incidents. Killed at any step, the next open finds one of these
 * states again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/catalogue_priv.h"
#include "engine/migrations.h"

#define LOGS_MAX 64u

enum copy { COPY_MISSING, COPY_BAD, COPY_WHOLE };

struct opening {
    struct cat *cat;
    uint64_t logs[LOGS_MAX]; /* numbers found, highest first */
    unsigned nlogs;
    bool too_many_logs;
    unsigned log_pick;  /* index of the file that `scan` describes */
    enum copy log;      /* WHOLE: scan.nchain > 0 */
    bool log_rotten;    /* damaged bytes anywhere in it, or in a higher-numbered file */
    char log_text[200]; /* what is wrong with it */
    struct rowlog_scan scan;
    enum copy meta;
    struct err meta_err; /* why it is bad */
    struct cat_sql_info info;
};

/* --- look at the row log ---------------------------------------------------------------------- */
static void note_log(void *arg, uint64_t n)
{
    struct opening *o = arg;
    if (o->nlogs < LOGS_MAX) {
        o->logs[o->nlogs++] = n;
    } else {
        o->too_many_logs = true;
    }
}

static int descending(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return *a > *b ? -1 : *a < *b;
}

static void log_wrong(struct opening *o, uint64_t n, const char *what, uint64_t off)
{
    if (!o->log_rotten) {
        (void)snprintf(o->log_text, sizeof(o->log_text), "meta.%" PRIu64 ".log: %s at %" PRIu64, n,
                       what, off);
    }
    o->log_rotten = true;
}

static uint64_t chain_last(const struct rowlog_scan *s)
{
    return s->nchain == 0 ? 0 : s->batches[s->nchain - 1].generation;
}

static void judge_scan(struct opening *o, const struct rowlog_scan *s)
{
    if (!s->header_ok) {
        log_wrong(o, s->n, "damaged header", 0);
    }
    if (s->nchain == 0) {
        log_wrong(o, s->n, "no dump", ROWLOG_PAGE);
    }
    if (s->bad_off != 0) {
        log_wrong(o, s->n, "damaged batch", s->bad_off);
    }
    if (s->pad_off != 0) {
        log_wrong(o, s->n, "bytes behind the rows of the batch", s->pad_off);
    }
}

/* Reads file i; takes it when it reaches further than what was taken so far. */
static enum st look_at_log(struct opening *o, unsigned i, struct err *err)
{
    struct cat *cat = o->cat;
    struct rowlog_scan scan;
    struct err why = {0};

    enum st st = rowlog_scan(&cat->ident, o->logs[i], &scan, &why);
    if (st == ST_IO) { /* a sector that cannot be read is damage */
        if (o->log != COPY_WHOLE) {
            log_wrong(o, o->logs[i], "unreadable", 0);
            o->log = COPY_BAD;
        }
        return ST_OK;
    }
    if (st == ST_FOREIGN) {
        return err_set(err, st, 0,
                       "%s: nothing was changed; move it away: it is then made anew from meta.db",
                       why.msg);
    }
    if (st != ST_OK) {
        return err_set(err, st, why.os_errno, "%s", why.msg);
    }
    if (scan.schema_version > (uint32_t)migrations_count) {
        st =
            err_set(err, ST_VERSION, 0, "meta.%" PRIu64 ".log has schema %u, this program knows %d",
                    scan.n, scan.schema_version, migrations_count);
        rowlog_scan_fini(&scan);
        return st;
    }
    if (o->log == COPY_WHOLE && chain_last(&scan) <= chain_last(&o->scan)) {
        rowlog_scan_fini(&scan); /* replaced by the one we have: its state is of no interest */
        return ST_OK;
    }
    judge_scan(o, &scan);
    if (scan.nchain > 0 || o->log != COPY_WHOLE) {
        rowlog_scan_fini(&o->scan);
        o->scan = scan;
        o->log_pick = i;
        o->log = scan.nchain > 0 ? COPY_WHOLE : COPY_BAD;
    }
    return ST_OK;
}

static enum st look_at_logs(struct opening *o, struct err *err)
{
    struct cat *cat = o->cat;
    enum st st = rowlog_list(cat->env, cat->root, note_log, o, err);
    if (st != ST_OK) {
        return st;
    }
    if (o->too_many_logs) {
        return err_set(err, ST_FOREIGN, 0, "more than %u files meta.<n>.log", LOGS_MAX);
    }
    qsort(o->logs, o->nlogs, sizeof(o->logs[0]), descending);
    cat->log_n = o->nlogs == 0 ? 0 : o->logs[0];
    for (unsigned i = 0; st == ST_OK && i < o->nlogs; i++) {
        st = look_at_log(o, i, err);
    }
    return st;
}

/* --- look at meta.db -------------------------------------------------------------------------- */
static enum st look_at_meta(struct opening *o, struct err *err)
{
    struct cat *cat = o->cat;
    char path[STORE_PATH_MAX];

    enum st st = store_path(path, cat->root, "meta.db", err);
    if (st != ST_OK) {
        return st;
    }
    meta_vfs_set_mode(cat->vfs, META_VFS_READONLY);
    st = cat_sql_open(&cat->sql, cat->env, cat->vfs, path, cat->ident.store_uuid, &o->info,
                      &o->meta_err);
    cat_sql_close(&cat->sql);
    meta_vfs_set_mode(cat->vfs, META_VFS_NORMAL);
    switch (st) {
    case ST_OK:
        o->meta = COPY_WHOLE;
        return ST_OK;
    case ST_NOTFOUND:
        o->meta = COPY_MISSING;
        return ST_OK;
    case ST_CORRUPT:
    case ST_IO:
        o->meta = COPY_BAD;
        return ST_OK;
    case ST_FOREIGN:
        return err_set(err, st, 0,
                       "%s: nothing was changed; put the store's own back, or move meta.db away: "
                       "it is then made anew from meta.<n>.log",
                       o->meta_err.msg);
    default:
        return err_set(err, st, o->meta_err.os_errno, "%s", o->meta_err.msg);
    }
}

/* --- neither is there ------------------------------------------------------------------------- */
struct data_ctx {
    struct cat *cat;
    char found[128];
};

static void note_journal_file(void *arg, const char *name, bool is_dir)
{
    struct data_ctx *ctx = arg;
    size_t len = strlen(name);
    if (!is_dir && len > 4 && strcmp(name + len - 4, ".jnl") == 0) {
        (void)snprintf(ctx->found, sizeof(ctx->found), "journal file %.64s", name);
    }
}

static void note_lane(void *arg, const char *name, bool is_dir)
{
    struct data_ctx *ctx = arg;
    char rel[96], path[STORE_PATH_MAX];
    if (is_dir && strlen(name) < 64) {
        (void)snprintf(rel, sizeof(rel), "journal/%s", name);
        if (store_path(path, ctx->cat->root, rel, NULL) == ST_OK) {
            (void)!env_list(ctx->cat->env, path, note_journal_file, ctx, NULL);
        }
    }
}

static void note_stream(void *arg, const char *name, bool is_dir)
{
    struct data_ctx *ctx = arg;
    if (is_dir) {
        (void)snprintf(ctx->found, sizeof(ctx->found), "stream directory s/%.64s", name);
    }
}

/* Says what data of a store lies under the root: without a catalogue it would look like orphans. */
static bool holds_data(struct cat *cat, struct data_ctx *ctx)
{
    char path[STORE_PATH_MAX];
    ctx->cat = cat;
    ctx->found[0] = '\0';
    if (store_path(path, cat->root, "journal", NULL) == ST_OK) {
        (void)!env_list(cat->env, path, note_lane, ctx, NULL);
    }
    if (store_path(path, cat->root, "s", NULL) == ST_OK) {
        (void)!env_list(cat->env, path, note_stream, ctx, NULL);
    }
    return ctx->found[0] != '\0';
}

static enum st dump_row(void *arg, const struct cat_row *row, struct err *err)
{
    return rowlog_dump_row(arg, row->raw, row->raw_len, err);
}

/* Makes generation 1, both copies under temporary names first; one directory sync makes them
 * durable. */
static enum st create(struct cat *cat, struct err *err)
{
    char built[STORE_PATH_MAX], path[STORE_PATH_MAX];
    struct rowlog_dump d;
    struct cat_sql s;
    enum st st;

    if ((st = store_path(built, cat->root, "meta.db.new", err)) != ST_OK ||
        (st = store_path(path, cat->root, "meta.db", err)) != ST_OK ||
        (st = cat_sql_build_begin(&s, cat->env, cat->vfs, built, migrations_count,
                                  cat->ident.store_uuid, err)) != ST_OK) {
        return st;
    }
    st = rowlog_dump_begin(&d, &cat->ident, 1, 1, (uint32_t)migrations_count, err);
    if (st == ST_OK) {
        st = cat_sql_each(&s, CAT_T_STORE, dump_row, &d, err);
        if (st == ST_OK) {
            st = rowlog_dump_finish(&d, &cat->log, err);
        } else {
            rowlog_dump_abort(&d);
        }
    }
    if (st != ST_OK) {
        cat_sql_build_abort(&s);
        return st;
    }
    cat->log_n = 1;
    if ((st = cat_sql_build_finish(&s, built, 1, err)) != ST_OK ||
        (st = cat_wal_empty(cat->env, cat->root, err)) != ST_OK ||
        (st = env_rename(cat->env, built, path, err)) != ST_OK ||
        (st = env_dirsync(cat->env, cat->root, err)) != ST_OK) {
        return st;
    }
    cat->fresh = true;
    return cat_meta_open(cat, err);
}

static enum st neither(struct opening *o, bool may_create, struct err *err)
{
    struct data_ctx ctx;
    if (holds_data(o->cat, &ctx)) {
        return err_set(
            err, ST_CORRUPT, 0,
            "both copies of the catalogue (meta.db, meta.<n>.log) are gone but %s is there: "
            "nothing was changed, see jsadmin repair",
            ctx.found);
    }
    if (!may_create) {
        return err_set(err, ST_NOTFOUND, 0, "there is no catalogue in %s", o->cat->root);
    }
    return create(o->cat, err);
}

/* --- make both whole and equal ---------------------------------------------------------------- */
static void count_bad(void *arg, uint32_t pgno)
{
    uint32_t *first = arg;
    if (*first == 0) {
        *first = pgno;
    }
}

/* Opens meta.db for work, folds what its WAL holds, then verifies every page. ST_CORRUPT: not whole
 * after all. */
static enum st settle_meta(struct cat *cat, bool *had_wal_out, struct err *err)
{
    char path[STORE_PATH_MAX];
    uint32_t bad = 0;
    uint64_t pages = 0;

    *had_wal_out = false;
    enum st st = cat_meta_open(cat, err);
    if (st == ST_OK && meta_vfs_wal_bytes(cat->vfs) > 0) {
        *had_wal_out = true;
        st = cat_sql_checkpoint(&cat->sql, err);
        if (st == ST_NOSPACE && ballast_release(&cat->ballast)) {
            st = cat_sql_checkpoint(&cat->sql, err);
        }
        if (st == ST_NOSPACE) { /* works without; pages under the WAL may be torn, so they are not
                                   looked at */
            log_wrn("catalogue: could not fold the WAL: %s", err == NULL ? "disk full" : err->msg);
            err_clear(err);
            return ST_OK;
        }
    }
    if (st == ST_OK && (st = store_path(path, cat->root, "meta.db", err)) == ST_OK) {
        st = meta_pages_scan(cat->env, path, count_bad, &bad, &pages, err);
    }
    if (st == ST_OK && bad != 0) {
        st = err_set(err, ST_CORRUPT, 0, "meta.db page %u: checksum does not match", bad);
    }
    return st;
}

/* The last generation of an unbroken run of batches from `from` + 1 on; `from` when there is none.
 */
static uint64_t run_end(const struct rowlog_scan *s, uint64_t from)
{
    for (size_t i = 0; i < s->nbatches; i++) {
        if (s->batches[i].generation == from + 1) {
            from++;
        }
    }
    return from;
}

/* meta.db is missing or bad. Only said aloud when more than the first directory sync of a new store
 * was lost. */
static enum st rebuild(struct opening *o, const struct err *why, struct err *err)
{
    struct cat *cat = o->cat;
    ASSERT(o->log == COPY_WHOLE);
    if (o->meta != COPY_MISSING) {
        cat_incident(cat, "%s; set aside, rebuilt from the row log", why->msg);
    } else if (chain_last(&o->scan) > 1) {
        cat_incident(cat, "meta.db is missing; rebuilt from the row log");
    }
    return cat_meta_rebuild(cat, &o->scan, err);
}

/* meta.db is whole as far as could be seen without writing. */
static enum st reconcile(struct opening *o, struct err *err)
{
    struct cat *cat = o->cat;
    struct err why = {0};
    bool had_wal = false, compare = !o->info.clean || o->log_rotten;

    enum st st = settle_meta(cat, &had_wal, &why);
    if (st == ST_CORRUPT || st == ST_IO) {
        if (o->log == COPY_WHOLE && chain_last(&o->scan) >= o->info.generation) {
            o->meta = COPY_BAD;
            cat_sql_close(&cat->sql);
            return rebuild(o, &why, err);
        }
        if (cat->sql.db == NULL) {
            return err_set(err, st, why.os_errno, "%s; and the row log cannot replace it: %s",
                           why.msg, o->log_text);
        }
        /* a page that no row needs, it may be: dump what can be read, then build from that */
        cat_incident(cat, "%s", why.msg);
        if ((st = cat_log_redump(cat, err)) != ST_OK) {
            return st;
        }
        rowlog_scan_fini(&o->scan);
        st = rowlog_scan(&cat->ident, cat->log.n, &o->scan, err);
        return st == ST_OK ? cat_meta_rebuild(cat, &o->scan, err) : st;
    }
    if (st != ST_OK) {
        return err_set(err, st, why.os_errno, "%s", why.msg);
    }
    uint64_t reach = run_end(&o->scan, cat->sql_gen);
    if (reach > cat->sql_gen + 1) {
        cat_incident(cat,
                     "meta.db stands at generation %" PRIu64 ", the row log at %" PRIu64
                     ": its WAL lost commits",
                     cat->sql_gen, reach);
        if (chain_last(&o->scan) >= reach) {
            return cat_meta_rebuild(cat, &o->scan, err);
        }
    }
    if (reach > cat->sql_gen) {
        compare = true;
        st = cat_meta_catch_up(cat, &o->scan, err);
        if (st == ST_CORRUPT && chain_last(&o->scan) >= reach) {
            cat_incident(cat, "%s", err == NULL ? "meta.db is damaged" : err->msg);
            err_clear(err);
            return cat_meta_rebuild(cat, &o->scan, err);
        }
        if (st != ST_OK) {
            return st;
        }
    }
    if (o->log == COPY_WHOLE && chain_last(&o->scan) == cat->sql_gen && (compare || had_wal)) {
        st = cat_compare(&cat->ident, &cat->sql, &o->scan, &why);
        if (st == ST_MISMATCH || st == ST_CORRUPT) {
            cat_incident(cat, "%s; the row log is believed", why.msg);
            return cat_meta_rebuild(cat, &o->scan, err);
        }
        if (st != ST_OK) {
            return err_set(err, st, why.os_errno, "%s", why.msg);
        }
    }
    return ST_OK;
}

/* meta.db is right; now the row log: go on with the file, or replace it. */
static enum st take_log(struct opening *o, struct err *err)
{
    struct cat *cat = o->cat;
    bool behind = chain_last(&o->scan) != cat->sql_gen;
    bool lost = o->log != COPY_WHOLE || behind;
    enum st st;

    if (cat->log.file == NULL &&
        (lost || o->log_rotten || o->scan.schema_version != (uint32_t)migrations_count)) {
        if (o->log_rotten) {
            cat_incident(cat, "%s; set aside, dumped anew from meta.db", o->log_text);
        } else if (lost && cat->sql_gen > 1) {
            cat_incident(cat, "%s generation %" PRIu64 " of meta.db; dumped anew from it",
                         o->nlogs == 0 ? "the row log is missing at" : "the row log ends before",
                         cat->sql_gen);
        }
        if ((st = cat_log_redump(cat, err)) != ST_OK) {
            return st;
        }
    } else if (cat->log.file == NULL) {
        if (o->scan.tail_off != 0) {
            log_inf("catalogue: meta.%" PRIu64 ".log: an unfinished batch at %" PRIu64
                    " is discarded",
                    o->scan.n, o->scan.tail_off);
        }
        if ((st = rowlog_open(&cat->ident, &o->scan, &cat->log, err)) != ST_OK) {
            return st;
        }
    }
    for (unsigned i = 0; i < o->nlogs; i++) {
        char name[40];
        if (o->logs[i] == cat->log.n) {
            continue;
        }
        rowlog_name(name, o->logs[i]);
        if (i <= o->log_pick && o->log_rotten) { /* evidence */
            if ((st = quarantine_move(cat->env, cat->root, name, NULL, err)) != ST_OK) {
                return st;
            }
        } else {
            cat_log_old_add(cat, o->logs[i]);
        }
    }
    return ST_OK;
}

/* What the page cache shows after the death of a process alone may not be on the disk yet: the
 * names and the row log's last batch are put there before anything is built on them. (SQLite's WAL
 * is synced before it is folded.) */
static enum st settle_names(struct opening *o, struct err *err)
{
    struct cat *cat = o->cat;
    /* meta.db goes on saying "clean" until its first commit, which comes after that of the row log.
     */
    bool same = o->log == COPY_WHOLE && chain_last(&o->scan) == o->info.generation;
    if (o->meta == COPY_WHOLE && o->info.clean && same) {
        return ST_OK;
    }
    enum st st = env_dirsync(cat->env, cat->root, err);
    return st == ST_OK && o->log == COPY_WHOLE ? rowlog_sync(&cat->ident, o->scan.n, err) : st;
}

struct tmp_ctx {
    struct cat *cat;
};

/* Files under a temporary name were never part of the catalogue. */
static void remove_tmp(void *arg, const char *name, bool is_dir)
{
    struct tmp_ctx *ctx = arg;
    char path[STORE_PATH_MAX];
    size_t len = strlen(name);
    bool ours =
        strncmp(name, "meta.", 5) == 0 &&
        ((len > 8 && strcmp(name + len - 8, ".log.tmp") == 0) || strcmp(name, "meta.db.new") == 0);
    if (!is_dir && ours && store_path(path, ctx->cat->root, name, NULL) == ST_OK) {
        (void)!env_unlink(ctx->cat->env, path, NULL);
    }
}

/* Reads from whichever copy is whole and reaches furthest, and repairs nothing. */
static enum st open_to_look(struct opening *o, struct err *err)
{
    struct cat *cat = o->cat;
    if (o->log == COPY_WHOLE &&
        (o->meta != COPY_WHOLE || chain_last(&o->scan) >= o->info.generation)) {
        cat->clean = o->meta == COPY_WHOLE && o->info.clean;
        return cat_meta_in_memory(cat, &o->scan, err);
    }
    if (o->meta != COPY_WHOLE) {
        return err_set(err, o->meta == COPY_MISSING && o->nlogs == 0 ? ST_NOTFOUND : ST_CORRUPT, 0,
                       "no copy of the catalogue is whole: %s; %s",
                       o->meta == COPY_MISSING ? "meta.db is missing" : o->meta_err.msg,
                       o->nlogs == 0 ? "no meta.<n>.log" : o->log_text);
    }
    meta_vfs_set_mode(cat->vfs, META_VFS_READONLY);
    return cat_meta_open(cat, err);
}

static enum st open_copies(struct opening *o, bool may_create, struct err *err)
{
    struct cat *cat = o->cat;
    struct tmp_ctx tmp = {cat};

    enum st st = look_at_logs(o, err);
    if (st != ST_OK || (st = look_at_meta(o, err)) != ST_OK) {
        return st;
    }
    cat->found_sql_gen = o->info.generation;
    if (cat->read_only) {
        return open_to_look(o, err);
    }
    if (o->meta == COPY_MISSING && o->nlogs == 0) {
        return neither(o, may_create, err);
    }
    if (o->meta != COPY_WHOLE && o->log != COPY_WHOLE) {
        return err_set(err, ST_CORRUPT, 0,
                       "both copies of the catalogue are damaged: %s; %s: nothing was changed",
                       o->meta == COPY_MISSING ? "meta.db is missing" : o->meta_err.msg,
                       o->nlogs == 0 ? "no meta.<n>.log" : o->log_text);
    }
    if ((st = settle_names(o, err)) != ST_OK) {
        return st;
    }
    st = o->meta == COPY_WHOLE ? reconcile(o, err) : rebuild(o, &o->meta_err, err);
    if (st != ST_OK) {
        return st;
    }
    if (o->info.schema_version != 0 && o->info.schema_version < migrations_count &&
        (st = cat_sql_migrate(&cat->sql, o->info.schema_version, err)) != ST_OK) {
        return st;
    }
    if ((st = take_log(o, err)) != ST_OK) {
        return st;
    }
    return env_list(cat->env, cat->root, remove_tmp, &tmp, err);
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

enum st cat_open(struct env *env, const struct cat_opts *opts, struct cat **cat_out,
                 struct err *err)
{
    *cat_out = NULL;
    struct cat *cat = base_calloc(1, sizeof(*cat));
    struct opening *o = base_calloc(1, sizeof(*o));
    cat->magic = CAT_MAGIC;
    cat->env = env;
    cat->root = base_strdup(opts->root);
    cat->ident = (struct rowlog_ident){.env = env, .root = cat->root, .crc_seed = opts->crc_seed};
    memcpy(cat->ident.store_uuid, opts->store_uuid, 16);
    cat->read_only = opts->read_only;
    cat->wal_bytes_max = opts->wal_bytes_max != 0 ? opts->wal_bytes_max : CAT_WAL_BYTES_MAX;
    cat->log_bytes_min = opts->log_bytes_min != 0 ? opts->log_bytes_min : LIM_ROW_LOG_BYTES_MIN;
    base_mutex_init(&cat->incident_lock);
    base_mutex_init(&cat->queue_lock);
    ballast_init(&cat->ballast, env, cat->root);
    cat->vfs = meta_vfs_create(env);
    o->cat = cat;

    enum st st = open_copies(o, opts->create, err);
    if (st == ST_OK) {
        st = cat_sql_each(&cat->sql, CAT_T_STORE, read_next_gid, cat, err);
    }
    rowlog_scan_fini(&o->scan);
    base_free(o);
    if (st != ST_OK) {
        err_prefix(err, "catalogue");
        cat_close(cat, false);
        return st;
    }
    ASSERT(cat->read_only || cat->log.last_generation == cat->sql_gen);
    atomic_store(&cat->generation, cat->sql_gen);
    cat_sql_shrink(&cat->sql);
    *cat_out = cat;
    return ST_OK;
}

enum st cat_check_against_journal(struct cat *cat, bool has_groups, uint64_t max_meta_gen,
                                  bool journal_reaches, struct err *err)
{
    uint64_t generation = atomic_load(&cat->generation);

    if (!has_groups) {
        return ST_OK;
    }
    if (generation >= max_meta_gen) {
        if (!cat->read_only && cat->found_sql_gen < max_meta_gen &&
            cat_incidents(cat, NULL, NULL) == 0 && !cat->fresh) {
            cat_incident(cat,
                         "meta.db stood at generation %" PRIu64 " although %" PRIu64
                         " was durable: repaired from the row log",
                         cat->found_sql_gen, max_meta_gen);
        }
        return ST_OK;
    }
    if (!journal_reaches) {
        return err_set(
            err, ST_MISMATCH, 0,
            "the catalogue is at generation %" PRIu64
            " but the journal was written up to generation %" PRIu64
            ", and no longer holds what lies between: is it an older copy? nothing was changed",
            generation, max_meta_gen);
    }
    cat_incident(cat,
                 "the catalogue is at generation %" PRIu64 ", older than the journal's %" PRIu64
                 "; the journal still holds everything since and brings it up to date",
                 generation, max_meta_gen);
    return ST_OK;
}
