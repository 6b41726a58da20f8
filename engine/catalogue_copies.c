/* Making one copy of the catalogue from the other, and comparing them.
 *
 * Rebuilding meta.db: the new database is whole and synced under another name before the old one is
 * moved to quarantine/, so at every step the row log is untouched and meta.db is old, absent, or
 * new. A crash in between leaves meta.db absent; the next open builds it again. The old WAL is gone
 * *durably* before the new database gets its name: one that came back (SQLite does not sync its
 * truncation) would be played onto a database it does not belong to. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/catalogue_priv.h"
#include "engine/migrations.h"

/* --- meta.db from the row log ----------------------------------------------------------------- */
static enum st apply_row(void *arg, const struct cat_row *row, struct err *err)
{
    return cat_sql_apply(arg, row, err);
}

enum st cat_meta_in_memory(struct cat *cat, const struct rowlog_scan *scan, struct err *err)
{
    uint64_t generation = scan->batches[scan->nchain - 1].generation;
    enum st st = cat_sql_memory(&cat->sql, cat->env, cat->vfs, cat->ident.store_uuid, err);
    if (st != ST_OK) {
        return st;
    }
    for (size_t i = 0; st == ST_OK && i < scan->nchain; i++) {
        st = rowlog_read_batch(&cat->ident, scan, i, apply_row, &cat->sql, err);
    }
    if (st == ST_OK && (st = cat_sql_set_state(&cat->sql, generation, false, err)) == ST_OK &&
        (st = cat_sql_commit(&cat->sql, err)) == ST_OK) {
        cat->sql_gen = generation;
    }
    return st;
}

static enum st build_from(struct cat *cat, const struct rowlog_scan *scan, const char *path,
                          struct err *err)
{
    struct cat_sql s;
    uint64_t generation = scan->batches[scan->nchain - 1].generation;

    enum st st = cat_sql_build_begin(&s, cat->env, cat->vfs, path, migrations_count,
                                     cat->ident.store_uuid, err);
    if (st != ST_OK) {
        return st;
    }
    for (size_t i = 0; st == ST_OK && i < scan->nchain; i++) {
        st = rowlog_read_batch(&cat->ident, scan, i, apply_row, &s, err);
    }
    if (st != ST_OK) {
        cat_sql_build_abort(&s);
        return st;
    }
    return cat_sql_build_finish(&s, path, generation, err);
}

/* Moves meta.db, then its WAL (an empty one may stay) out of the way. In this order: a database
 * without its WAL would look whole. */
static enum st set_aside(struct cat *cat, struct err *err)
{
    char moved[STORE_PATH_MAX], path[STORE_PATH_MAX];
    struct env_file *f = NULL;
    uint64_t size = 0;

    enum st st = quarantine_move(cat->env, cat->root, "meta.db", moved, err);
    if (st != ST_OK) {
        return st;
    }
    if (moved[0] != '\0') {
        log_wrn("catalogue: meta.db was moved to %s", moved);
    }
    if ((st = store_path(path, cat->root, "meta.db-wal", err)) != ST_OK) {
        return st;
    }
    st = env_open(cat->env, path, ENV_RDONLY, &f, err);
    if (st == ST_OK) {
        st = env_size(cat->env, f, &size, err);
        env_close(cat->env, f);
    }
    if (st == ST_NOTFOUND || (st == ST_OK && size == 0)) {
        return ST_OK;
    }
    return quarantine_move(cat->env, cat->root, "meta.db-wal", NULL, err);
}

enum st cat_wal_empty(struct env *env, const char *root, struct err *err)
{
    char path[STORE_PATH_MAX];
    struct env_file *f = NULL;

    enum st st = store_path(path, root, "meta.db-wal", err);
    if (st != ST_OK) {
        return st;
    }
    st = env_open(env, path, ENV_RDWR, &f, err);
    if (st == ST_NOTFOUND) {
        err_clear(err);
        if ((st = env_open(env, path, ENV_RDWR | ENV_CREATE, &f, err)) == ST_OK) {
            env_close(env, f);
        }
        return st;
    }
    if (st != ST_OK) {
        return st;
    }
    st = env_truncate(env, f, 0, err);
    if (st == ST_OK) {
        st = env_datasync(env, f, err);
    }
    env_close(env, f);
    return st;
}

/* Gives the finished database its name, with an empty WAL beside it. */
static enum st install(struct cat *cat, const char *built, struct err *err)
{
    char path[STORE_PATH_MAX];
    enum st st;

    if ((st = store_path(path, cat->root, "meta.db", err)) != ST_OK ||
        (st = cat_wal_empty(cat->env, cat->root, err)) != ST_OK ||
        (st = env_rename(cat->env, built, path, err)) != ST_OK) {
        return st;
    }
    return env_dirsync(cat->env, cat->root, err);
}

enum st cat_meta_open(struct cat *cat, struct err *err)
{
    char path[STORE_PATH_MAX];
    struct cat_sql_info info;

    enum st st = store_path(path, cat->root, "meta.db", err);
    if (st != ST_OK) {
        return st;
    }
    st = cat_sql_open(&cat->sql, cat->env, cat->vfs, path, cat->ident.store_uuid, &info, err);
    if (st == ST_OK) {
        cat->sql_gen = info.generation;
        cat->next_gid = info.next_gid;
        cat->clean = info.clean;
    }
    return st;
}

enum st cat_meta_rebuild(struct cat *cat, const struct rowlog_scan *scan, struct err *err)
{
    char path[STORE_PATH_MAX];

    ASSERT(scan->nchain > 0);
    cat_sql_close(&cat->sql);
    enum st st = store_path(path, cat->root, "meta.db.new", err);
    if (st == ST_OK && (st = build_from(cat, scan, path, err)) == ST_OK &&
        (st = set_aside(cat, err)) == ST_OK) {
        cat->installing = true;
        if ((st = install(cat, path, err)) == ST_OK && (st = cat_meta_open(cat, err)) == ST_OK) {
            cat->installing = cat->sql_doubt = false;
        }
    }
    if (st != ST_OK) {
        err_prefix(err, "rebuild meta.db from the row log");
        return st;
    }
    ASSERT(cat->sql_gen == scan->batches[scan->nchain - 1].generation);
    log_wrn("catalogue: meta.db was rebuilt from meta.%" PRIu64 ".log generation=%" PRIu64, scan->n,
            cat->sql_gen);
    return ST_OK;
}

enum st cat_meta_catch_up(struct cat *cat, const struct rowlog_scan *scan, struct err *err)
{
    for (size_t i = 0; i < scan->nbatches; i++) {
        const struct rowlog_batch *b = &scan->batches[i];
        if (b->generation != cat->sql_gen + 1) {
            continue;
        }
        enum st st = cat_sql_begin(&cat->sql, err);
        if (st == ST_OK) {
            st = rowlog_read_batch(&cat->ident, scan, i, apply_row, &cat->sql, err);
        }
        if (st == ST_OK) {
            st = cat_sql_set_state(&cat->sql, b->generation, false, err);
        }
        if (st == ST_OK && (st = cat_sql_commit(&cat->sql, err)) != ST_OK) {
            cat->sql_doubt = st != ST_NOSPACE;
        }
        if (st != ST_OK) {
            cat_sql_rollback(&cat->sql);
            err_prefix(err, "apply generation %" PRIu64 " to meta.db", b->generation);
            return st;
        }
        cat->sql_gen = b->generation;
        log_inf("catalogue: generation %" PRIu64 " of meta.%" PRIu64 ".log was applied to meta.db",
                b->generation, scan->n);
    }
    return ST_OK;
}

/* --- the row log from meta.db ----------------------------------------------------------------- */
static enum st dump_row(void *arg, const struct cat_row *row, struct err *err)
{
    return rowlog_dump_row(arg, row->raw, row->raw_len, err);
}

enum st cat_log_redump(struct cat *cat, struct err *err)
{
    struct rowlog_dump d;
    struct rowlog fresh;

    ASSERT(cat->sql.db != NULL);
    enum st st = rowlog_dump_begin(&d, &cat->ident, cat->log_n + 1, cat->sql_gen,
                                   (uint32_t)migrations_count, err);
    if (st != ST_OK) {
        return st;
    }
    for (unsigned t = CAT_T_STORE; st == ST_OK && t < CAT_T_COUNT; t++) {
        st = cat_sql_each(&cat->sql, (enum cat_table)t, dump_row, &d, err);
    }
    if (st != ST_OK) {
        rowlog_dump_abort(&d);
        return st;
    }
    if ((st = rowlog_dump_finish(&d, &fresh, err)) != ST_OK) {
        return st;
    }
    cat->log_n = fresh.n; /* whatever comes, this number is used */
    if ((st = env_dirsync(cat->env, cat->root, err)) != ST_OK) {
        char name[40], path[STORE_PATH_MAX];
        rowlog_name(name, fresh.n);
        rowlog_close(&fresh);
        if (store_path(path, cat->root, name, NULL) == ST_OK) {
            (void)!env_unlink(cat->env, path,
                              NULL); /* if it stays: cat_open takes the file that reaches further */
        }
        return st;
    }
    if (cat->log.file != NULL) {
        cat_log_old_add(cat, cat->log.n);
        rowlog_close(&cat->log);
    }
    cat->log = fresh;
    return ST_OK;
}

void cat_log_old_add(struct cat *cat, uint64_t n)
{
    if (cat->nold < CAT_OLD_LOGS_MAX) { /* one that is forgotten here is found by the next open */
        cat->old[cat->nold++] = n;
    }
    cat->old_gen = cat->sql_gen;
}

void cat_log_old_remove(struct cat *cat)
{
    char name[40], path[STORE_PATH_MAX];
    if (cat->nold == 0 || atomic_load(&cat->generation) <= cat->old_gen) {
        return;
    }
    for (unsigned i = 0; i < cat->nold; i++) {
        rowlog_name(name, cat->old[i]);
        if (store_path(path, cat->root, name, NULL) == ST_OK) {
            (void)!env_unlink(cat->env, path,
                              NULL); /* a file that stays is found by the next open */
        }
    }
    cat->nold = 0;
}

/* --- compare ---------------------------------------------------------------------------------- */
/* What the row log says, without the rows: a key's hash to its row's hash. Open addressing; row 0 =
 * deleted. */
struct seen {
    struct hash128 key; /* lo 0 and hi 0: free */
    uint64_t row;
};
struct seen_map {
    struct seen *slots; /* owned */
    size_t cap, used;   /* cap is a power of two */
    size_t live;
};

static struct hash128 key_hash(const struct cat_row *row)
{
    struct hash128 h = hash128((uint64_t)row->table, row->raw + CAT_ROW_HEAD, row->key_len);
    h.lo |= 1;
    return h;
}

static uint64_t row_hash(const struct cat_row *row)
{
    return hash64((uint64_t)row->table, row->raw + CAT_ROW_HEAD, row->raw_len - CAT_ROW_HEAD) | 1;
}

static struct seen *seen_slot(struct seen *slots, size_t cap, struct hash128 key)
{
    size_t i = (size_t)key.hi & (cap - 1);
    while (slots[i].key.lo != 0 && (slots[i].key.lo != key.lo || slots[i].key.hi != key.hi)) {
        i = (i + 1) & (cap - 1);
    }
    return &slots[i];
}

static bool seen_grow(struct seen_map *m)
{
    size_t cap = m->cap == 0 ? 256 : m->cap * 2;
    struct seen *slots = base_try_malloc(cap * sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    memset(slots, 0, cap * sizeof(*slots));
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].key.lo != 0) {
            *seen_slot(slots, cap, m->slots[i].key) = m->slots[i];
        }
    }
    base_free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return true;
}

static enum st seen_row(void *arg, const struct cat_row *row, struct err *err)
{
    struct seen_map *m = arg;
    if (m->used + m->used / 2 >= m->cap && !seen_grow(m)) {
        return err_set(err, ST_NOMEM, 0, "no memory to compare the catalogue's copies");
    }
    struct hash128 key = key_hash(row);
    struct seen *s = seen_slot(m->slots, m->cap, key);
    if (s->key.lo == 0) {
        s->key = key;
        m->used++;
    }
    m->live -= s->row != 0;
    s->row = row->op == CAT_OP_PUT ? row_hash(row) : 0;
    m->live += s->row != 0;
    return ST_OK;
}

static enum st check_row(void *arg, const struct cat_row *row, struct err *err)
{
    struct seen_map *m = arg;
    struct seen *s = m->cap == 0 ? NULL : seen_slot(m->slots, m->cap, key_hash(row));
    if (s == NULL || s->row != row_hash(row)) {
        return err_set(err, ST_MISMATCH, 0, "meta.db and row log differ in table %s: %s",
                       cat_table_def(row->table)->name,
                       s == NULL || s->row == 0 ? "a row of meta.db is not in the row log"
                                                : "another value of a row");
    }
    s->row = 0; /* each one once */
    m->live--;
    return ST_OK;
}

enum st cat_compare(const struct rowlog_ident *ident, struct cat_sql *sql,
                    const struct rowlog_scan *scan, struct err *err)
{
    struct seen_map m = {0};
    enum st st = ST_OK;

    for (size_t i = 0; st == ST_OK && i < scan->nchain; i++) {
        st = rowlog_read_batch(ident, scan, i, seen_row, &m, err);
    }
    for (unsigned t = CAT_T_STORE; st == ST_OK && t < CAT_T_COUNT; t++) {
        st = cat_sql_each(sql, (enum cat_table)t, check_row, &m, err);
    }
    if (st == ST_OK && m.live != 0) {
        st = err_set(err, ST_MISMATCH, 0,
                     "meta.db and row log differ: %zu rows of the row log are not in meta.db",
                     m.live);
    }
    base_free(m.slots);
    return st;
}
