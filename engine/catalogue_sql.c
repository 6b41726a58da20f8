#include "engine/catalogue_sql.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/migrations.h"

#define APPLICATION_ID 0x4d4c5253 /* "MLRS", in the header of meta.db */
#define APPLICATION_ID_OFF 68u
#define RESERVED_OFF 20u
#define READ_VERSION_OFF 18u

/* --- SQL -------------------------------------------------------------------------------------- */
static const char sql_setup[] = "PRAGMA locking_mode=EXCLUSIVE;"
                                "PRAGMA mmap_size=0;"
                                "PRAGMA temp_store=MEMORY;"
                                "PRAGMA cell_size_check=ON;"
                                "PRAGMA foreign_keys=ON;"
                                "PRAGMA trusted_schema=OFF;"
                                "PRAGMA cache_size=-512;";
static const char sql_setup_open[] = "PRAGMA secure_delete=ON;"
                                     "PRAGMA synchronous=FULL;"
                                     "PRAGMA wal_autocheckpoint=0;";
static const char sql_setup_build[] = "PRAGMA page_size=4096;"
                                      "PRAGMA auto_vacuum=NONE;"
                                      "PRAGMA journal_mode=OFF;"
                                      "PRAGMA synchronous=OFF;"
                                      "BEGIN;"
                                      "PRAGMA application_id=1296847443;"; /* APPLICATION_ID */
static const char sql_version_add[] =
    "INSERT INTO schema_version(version, name, applied_ns) VALUES(?1, ?2, ?3)";
static const char sql_version_get[] = "SELECT max(version) FROM schema_version";
static const char sql_store_add[] =
    "INSERT INTO store(id, uuid, generation, next_gid, clean) VALUES(1, ?1, 0, 1, 0)";
static const char sql_store_get[] =
    "SELECT uuid, generation, next_gid, clean FROM store WHERE id = 1";
static const char sql_store_put[] = "UPDATE store SET next_gid = ?2 WHERE id = ?1";
static const char sql_state_set[] = "UPDATE store SET generation = ?1, clean = ?2 WHERE id = 1";

struct text {
    char s[2048];
    size_t len;
};

static void text_add(struct text *t, const char *s)
{
    size_t n = strlen(s);
    ASSERT(t->len + n < sizeof(t->s));
    memcpy(t->s + t->len, s, n + 1);
    t->len += n;
}

/* "INSERT INTO t(a,b) VALUES(?,?) ON CONFLICT(a) DO UPDATE SET b=excluded.b": unlike REPLACE it
 * never removes another row that has the same name. */
static void text_put(struct text *t, const struct cat_table_def *def, unsigned ncols)
{
    text_add(t, "INSERT INTO ");
    text_add(t, def->name);
    for (unsigned i = 0; i < ncols; i++) {
        text_add(t, i == 0 ? "(" : ",");
        text_add(t, def->cols[i].name);
    }
    for (unsigned i = 0; i < ncols; i++) {
        text_add(t, i == 0 ? ") VALUES(?" : ",?");
    }
    for (unsigned i = 0; i < def->nkeys; i++) {
        text_add(t, i == 0 ? ") ON CONFLICT(" : ",");
        text_add(t, def->cols[i].name);
    }
    for (unsigned i = def->nkeys; i < ncols; i++) {
        text_add(t, i == def->nkeys ? ") DO UPDATE SET " : ",");
        text_add(t, def->cols[i].name);
        text_add(t, "=excluded.");
        text_add(t, def->cols[i].name);
    }
}

static void text_keys(struct text *t, const struct cat_table_def *def, const char *lead,
                      const char *sep, const char *after)
{
    for (unsigned i = 0; i < def->nkeys; i++) {
        text_add(t, i == 0 ? lead : sep);
        text_add(t, def->cols[i].name);
        text_add(t, after);
    }
}

/* --- errors ----------------------------------------------------------------------------------- */
static enum st code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ST_NOSPACE;
    case SQLITE_NOMEM:
        return ST_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return ST_CORRUPT;
    case SQLITE_CONSTRAINT:
        return rc == SQLITE_CONSTRAINT_UNIQUE ? ST_EXISTS : ST_INVALID;
    case SQLITE_TOOBIG:
        return ST_TOOBIG;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return ST_DENIED;
    case SQLITE_ERROR: /* such as a table that is missing */
        return ST_CORRUPT;
    default:
        return ST_IO;
    }
}

/* Turns SQLite's failure into ours; the VFS knows more where the disk was the cause. */
static enum st fail(struct cat_sql *s, int rc, const char *doing, struct err *err)
{
    struct meta_fault fault;
    meta_vfs_fault_take(s->vfs, &fault);
    if (fault.st != ST_OK) {
        return err_set(err, fault.st, fault.err.os_errno, "%s", fault.err.msg);
    }
    return err_set(err, code_of(rc), 0, "meta.db: %s: %s", doing,
                   s->db != NULL ? sqlite3_errmsg(s->db) : "no memory");
}

static void fault_clear(struct cat_sql *s)
{
    struct meta_fault fault;
    meta_vfs_fault_take(s->vfs, &fault);
}

static enum st exec(struct cat_sql *s, const char *sql, const char *doing, struct err *err)
{
    fault_clear(s);
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ST_OK : fail(s, rc, doing, err);
}

static enum st prepare(struct cat_sql *s, const char *sql, sqlite3_stmt **stmt_out, struct err *err)
{
    if (*stmt_out != NULL) {
        return ST_OK;
    }
    int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt_out, NULL);
    return rc == SQLITE_OK ? ST_OK : fail(s, rc, "prepare", err);
}

/* Runs a bound statement that returns no row, and resets it. */
static enum st run(struct cat_sql *s, sqlite3_stmt *stmt, const char *doing, struct err *err)
{
    int rc = sqlite3_step(stmt);
    enum st st = rc == SQLITE_DONE ? ST_OK : fail(s, sqlite3_extended_errcode(s->db), doing, err);
    (void)sqlite3_reset(stmt);
    return st;
}

/* --- open, close ------------------------------------------------------------------------------ */
static enum st open_db(struct cat_sql *s, struct env *env, struct meta_vfs *vfs, const char *path,
                       int flags, struct err *err)
{
    memset(s, 0, sizeof(*s));
    s->env = env;
    s->vfs = vfs;
    fault_clear(s);
    int rc = sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                             META_VFS_NAME);
    if (rc != SQLITE_OK) {
        enum st st = fail(s, rc, "open", err);
        cat_sql_close(s);
        return st;
    }
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    enum st st = exec(s, sql_setup, "set up", err);
    if (st != ST_OK) {
        cat_sql_close(s);
    }
    return st;
}

void cat_sql_close(struct cat_sql *s)
{
    for (unsigned t = 0; t < CAT_T_COUNT; t++) {
        (void)sqlite3_finalize(s->put[t]);
        (void)sqlite3_finalize(s->del[t]);
    }
    (void)sqlite3_finalize(s->state);
    if (s->db != NULL) {
        int rc = sqlite3_close(s->db);
        ASSERT(rc == SQLITE_OK);
    }
    cat_buf_fini(&s->buf);
    memset(s, 0, sizeof(*s));
}

static int bits_set(uint32_t v)
{
    return __builtin_popcount(v);
}

/* A database that some other program made, as its header says: refused, where damage would be
 * repaired. One or two flipped bits do not turn ours into a foreign one. */
static enum st header_judge(struct env *env, const char *path, struct err *err)
{
    struct env_file *f = NULL;
    uint8_t hdr[100];
    size_t got = 0;

    enum st st = env_open(env, path, ENV_RDONLY, &f, err);
    if (st != ST_OK) {
        return st;
    }
    st = env_pread(env, f, hdr, sizeof(hdr), 0, &got, err);
    env_close(env, f);
    if (st != ST_OK) {
        return st;
    }
    if (got ==
        0) { /* it got its name when it was whole: neither a crash nor a flipped bit does that */
        return err_set(err, ST_FOREIGN, 0, "meta.db is empty");
    }
    if (got < sizeof(hdr)) {
        return err_set(err, ST_CORRUPT, 0, "meta.db is cut short");
    }
    uint32_t app = (uint32_t)hdr[APPLICATION_ID_OFF] << 24 |
                   (uint32_t)hdr[APPLICATION_ID_OFF + 1] << 16 |
                   (uint32_t)hdr[APPLICATION_ID_OFF + 2] << 8 | hdr[APPLICATION_ID_OFF + 3];
    if (memcmp(hdr, "SQLite format 3", 16) == 0 && bits_set(app ^ APPLICATION_ID) > 2) {
        return err_set(err, ST_FOREIGN, 0, "meta.db is another program's database");
    }
    return ST_OK;
}

static enum st read_info(struct cat_sql *s, struct cat_sql_info *info, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum st st = prepare(s, sql_version_get, &stmt, err);
    if (st != ST_OK) {
        return st;
    }
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        info->schema_version = sqlite3_column_int(stmt, 0);
    } else {
        st = fail(s, rc, "read the schema version", err);
    }
    (void)sqlite3_finalize(stmt);
    stmt = NULL;
    if (st == ST_OK && info->schema_version > migrations_count) {
        st = err_set(err, ST_VERSION, 0, "meta.db has schema %d, this program knows %d",
                     info->schema_version, migrations_count);
    }
    if (st != ST_OK || (st = prepare(s, sql_store_get, &stmt, err)) != ST_OK) {
        return st;
    }
    rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW) {
        st = rc == SQLITE_DONE ? err_set(err, ST_CORRUPT, 0, "meta.db names no store")
                               : fail(s, rc, "read the store's row", err);
    } else if (sqlite3_column_bytes(stmt, 0) != 16) {
        st = err_set(err, ST_CORRUPT, 0, "meta.db: the store's id has %d bytes",
                     sqlite3_column_bytes(stmt, 0));
    } else {
        memcpy(info->store_uuid, sqlite3_column_blob(stmt, 0), 16);
        info->generation = (uint64_t)sqlite3_column_int64(stmt, 1);
        info->next_gid = (uint32_t)sqlite3_column_int64(stmt, 2);
        info->clean = sqlite3_column_int(stmt, 3) != 0;
    }
    (void)sqlite3_finalize(stmt);
    return st;
}

/* The file says WAL already; ask, so that a header that does not is seen. */
static enum st check_wal_mode(struct cat_sql *s, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum st st = prepare(s, "PRAGMA journal_mode", &stmt, err);
    if (st != ST_OK) {
        return st;
    }
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW) {
        st = fail(s, rc, "read the journal mode", err);
    } else {
        const unsigned char *mode = sqlite3_column_text(stmt, 0);
        if (mode == NULL || memcmp(mode, "wal", 4) != 0) {
            st = err_set(err, ST_CORRUPT, 0, "meta.db is not in WAL mode");
        }
    }
    (void)sqlite3_finalize(stmt);
    return st;
}

enum st cat_sql_open(struct cat_sql *s, struct env *env, struct meta_vfs *vfs, const char *path,
                     const uint8_t store_uuid[16], struct cat_sql_info *info_out, struct err *err)
{
    memset(s, 0, sizeof(*s));
    memset(info_out, 0, sizeof(*info_out));
    enum st st = header_judge(env, path, err);
    if (st == ST_OK) {
        st = open_db(s, env, vfs, path, SQLITE_OPEN_READWRITE, err);
    }
    if (st != ST_OK) {
        return st;
    }
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1,
                            NULL); /* a build needs journal_mode=OFF */
    if ((st = exec(s, sql_setup_open, "set up", err)) == ST_OK &&
        (st = read_info(s, info_out, err)) == ST_OK) {
        st = check_wal_mode(s, err);
    }
    if (st == ST_OK && memcmp(info_out->store_uuid, store_uuid, 16) != 0) {
        st = err_set(err, ST_FOREIGN, 0, "meta.db belongs to another store");
    }
    if (st != ST_OK) {
        cat_sql_close(s);
    }
    return st;
}

/* --- build, migrate --------------------------------------------------------------------------- */
static enum st run_migration(struct cat_sql *s, const struct migration *m, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum st st = exec(s, m->sql, m->name, err);
    if (st != ST_OK || (st = prepare(s, sql_version_add, &stmt, err)) != ST_OK) {
        return st;
    }
    (void)sqlite3_bind_int(stmt, 1, m->version);
    (void)sqlite3_bind_text(stmt, 2, m->name, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 3, env_real_ns(s->env));
    st = run(s, stmt, "note the schema version", err);
    (void)sqlite3_finalize(stmt);
    return st;
}

static enum st store_row_add(struct cat_sql *s, const uint8_t store_uuid[16], struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum st st = prepare(s, sql_store_add, &stmt, err);
    if (st != ST_OK) {
        return st;
    }
    (void)sqlite3_bind_blob(stmt, 1, store_uuid, 16, SQLITE_STATIC);
    st = run(s, stmt, "write the store's row", err);
    (void)sqlite3_finalize(stmt);
    return st;
}

enum st cat_sql_build_begin(struct cat_sql *s, struct env *env, struct meta_vfs *vfs,
                            const char *path, int version, const uint8_t store_uuid[16],
                            struct err *err)
{
    int reserved = (int)META_PAGE_RESERVED;

    memset(s, 0, sizeof(*s));
    enum st st = env_unlink(env, path, err);
    if (st != ST_OK && st != ST_NOTFOUND) {
        return st;
    }
    meta_vfs_set_mode(vfs, META_VFS_BUILD);
    st = open_db(s, env, vfs, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (st != ST_OK) {
        meta_vfs_set_mode(vfs, META_VFS_NORMAL);
        return st;
    }
    if (sqlite3_file_control(s->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved) != SQLITE_OK) {
        st = err_set(err, ST_INTERNAL, 0, "SQLite reserves no bytes per page");
    }
    if (st == ST_OK && (st = exec(s, sql_setup_build, "set up", err)) == ST_OK) {
        for (int i = 0; st == ST_OK && i < version; i++) {
            st = run_migration(s, &migrations[i], err);
        }
    }
    if (st == ST_OK) {
        st = store_row_add(s, store_uuid, err);
    }
    if (st != ST_OK) {
        cat_sql_build_abort(s);
    }
    return st;
}

void cat_sql_build_abort(struct cat_sql *s)
{
    struct meta_vfs *vfs = s->vfs;
    cat_sql_close(s);
    if (vfs != NULL) {
        meta_vfs_set_mode(vfs, META_VFS_NORMAL);
    }
}

enum st cat_sql_memory(struct cat_sql *s, struct env *env, struct meta_vfs *vfs,
                       const uint8_t store_uuid[16], struct err *err)
{
    enum st st =
        open_db(s, env, vfs,
                ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY, err);
    if (st != ST_OK) {
        return st;
    }
    st = cat_sql_begin(s, err);
    for (int i = 0; st == ST_OK && i < migrations_count; i++) {
        st = run_migration(s, &migrations[i], err);
    }
    if (st == ST_OK) {
        st = store_row_add(s, store_uuid, err);
    }
    if (st != ST_OK) {
        cat_sql_close(s);
    }
    return st;
}

/* Marks the database as a WAL one, as `PRAGMA journal_mode=WAL` would, but without making a WAL for
 * meta.db.new; then syncs it. */
static enum st seal(struct env *env, const char *path, struct err *err)
{
    struct env_file *f = NULL;
    uint8_t page[META_PAGE];
    size_t got = 0;

    enum st st = env_open(env, path, ENV_RDWR, &f, err);
    if (st != ST_OK) {
        return st;
    }
    st = env_pread(env, f, page, sizeof(page), 0, &got, err);
    if (st == ST_OK && (got != sizeof(page) || !meta_page_verify(page, 1) ||
                        page[RESERVED_OFF] != META_PAGE_RESERVED)) {
        st = err_set(err, ST_CORRUPT, 0, "meta.db.new page 1 is not what was written");
    }
    if (st == ST_OK) {
        page[READ_VERSION_OFF] = page[READ_VERSION_OFF + 1] = 2;
        meta_page_stamp(page, 1);
        st = env_pwrite(env, f, page, sizeof(page), 0, err);
    }
    if (st == ST_OK) {
        st = env_datasync(env, f, err);
    }
    env_close(env, f);
    return st;
}

enum st cat_sql_build_finish(struct cat_sql *s, const char *path, uint64_t generation,
                             struct err *err)
{
    struct env *env = s->env;
    enum st st = cat_sql_set_state(s, generation, false, err);
    if (st == ST_OK) {
        st = exec(s, "COMMIT", "commit", err);
    }
    cat_sql_build_abort(s);
    return st == ST_OK ? seal(env, path, err) : st;
}

enum st cat_sql_migrate(struct cat_sql *s, int from, struct err *err)
{
    for (int i = from; i < migrations_count; i++) {
        enum st st = cat_sql_begin(s, err);
        if (st == ST_OK) {
            st = run_migration(s, &migrations[i], err);
        }
        if (st == ST_OK) {
            st = cat_sql_commit(s, err);
        }
        if (st != ST_OK) {
            cat_sql_rollback(s);
            return st;
        }
    }
    return ST_OK;
}

/* --- transactions ----------------------------------------------------------------------------- */
enum st cat_sql_begin(struct cat_sql *s, struct err *err)
{
    ASSERT(!s->in_txn);
    enum st st = exec(s, "BEGIN IMMEDIATE", "begin", err);
    s->in_txn = st == ST_OK;
    return st;
}

static int bind_cell(sqlite3_stmt *stmt, int at, enum cat_kind kind, const struct cat_cell *c)
{
    if (!c->is_bytes) {
        return sqlite3_bind_int64(stmt, at, (sqlite3_int64)c->u);
    }
    if (c->p == NULL) {
        return sqlite3_bind_null(stmt, at);
    }
    if (kind == CAT_TEXT) {
        return sqlite3_bind_text64(stmt, at, c->p, c->len, SQLITE_STATIC, SQLITE_UTF8);
    }
    return c->len == 0 ? sqlite3_bind_zeroblob(stmt, at, 0)
                       : sqlite3_bind_blob64(stmt, at, c->p, c->len, SQLITE_STATIC);
}

static enum st stmt_for(struct cat_sql *s, const struct cat_row *row, sqlite3_stmt **stmt_out,
                        struct err *err)
{
    const struct cat_table_def *def = cat_table_def(row->table);
    sqlite3_stmt **slot = row->op == CAT_OP_PUT ? &s->put[row->table] : &s->del[row->table];
    struct text t = {.len = 0};

    if (*slot == NULL) {
        if (row->op == CAT_OP_DEL) {
            text_add(&t, "DELETE FROM ");
            text_add(&t, def->name);
            text_keys(&t, def, " WHERE ", " AND ", "=?");
        } else if (row->table == CAT_T_STORE) {
            text_add(&t, sql_store_put);
        } else {
            text_put(&t, def, def->ncols);
        }
        enum st st = prepare(s, t.s, slot, err);
        if (st != ST_OK) {
            return st;
        }
    }
    *stmt_out = *slot;
    return ST_OK;
}

enum st cat_sql_apply(struct cat_sql *s, const struct cat_row *row, struct err *err)
{
    const struct cat_table_def *def = cat_table_def(row->table);
    struct cat_cell cells[CAT_COLS_MAX];
    sqlite3_stmt *stmt = NULL;
    unsigned ncols = row->op == CAT_OP_PUT ? def->ncols : def->nkeys;

    enum st st = cat_row_cells(row, cells, err);
    if (st != ST_OK || (st = stmt_for(s, row, &stmt, err)) != ST_OK) {
        return st;
    }
    fault_clear(s);
    for (unsigned i = 0; i < ncols; i++) {
        int rc = bind_cell(stmt, (int)i + 1, def->cols[i].kind, &cells[i]);
        if (rc != SQLITE_OK) {
            return fail(s, rc, "bind", err);
        }
    }
    st = run(s, stmt, def->name, err);
    (void)sqlite3_clear_bindings(stmt);
    return st;
}

enum st cat_sql_set_state(struct cat_sql *s, uint64_t generation, bool clean, struct err *err)
{
    enum st st = prepare(s, sql_state_set, &s->state, err);
    if (st != ST_OK) {
        return st;
    }
    (void)sqlite3_bind_int64(s->state, 1, (sqlite3_int64)generation);
    (void)sqlite3_bind_int(s->state, 2, clean);
    fault_clear(s);
    return run(s, s->state, "set the generation", err);
}

enum st cat_sql_commit(struct cat_sql *s, struct err *err)
{
    ASSERT(s->in_txn);
    enum st st = exec(s, "COMMIT", "commit", err);
    if (st == ST_OK) {
        s->in_txn = false;
    }
    return st;
}

void cat_sql_rollback(struct cat_sql *s)
{
    if (s->db != NULL && s->in_txn && sqlite3_get_autocommit(s->db) == 0) {
        (void)exec(s, "ROLLBACK", "roll back", NULL);
    }
    s->in_txn = false;
}

enum st cat_sql_checkpoint(struct cat_sql *s, struct err *err)
{
    fault_clear(s);
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    return rc == SQLITE_OK ? ST_OK : fail(s, rc, "checkpoint the WAL", err);
}

enum st cat_sql_integrity(struct cat_sql *s, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    fault_clear(s);
    enum st st = prepare(s, "PRAGMA quick_check(1)", &stmt, err);
    if (st != ST_OK) {
        return st;
    }
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW) {
        st = fail(s, rc, "quick_check", err);
    } else {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        if (text == NULL || strcmp(text, "ok") != 0) {
            st = err_set(err, ST_CORRUPT, 0, "meta.db: %s", text == NULL ? "?" : text);
        }
    }
    (void)sqlite3_finalize(stmt);
    return st;
}

void cat_sql_shrink(struct cat_sql *s)
{
    if (s->db != NULL) {
        (void)sqlite3_db_release_memory(s->db);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */
static void column_cell(sqlite3_stmt *stmt, int i, struct cat_cell *c, bool is_bytes)
{
    *c = (struct cat_cell){.is_bytes = is_bytes};
    if (!is_bytes) {
        c->u = (uint64_t)sqlite3_column_int64(stmt, i);
    } else if (sqlite3_column_type(stmt, i) != SQLITE_NULL) {
        c->p = sqlite3_column_blob(stmt, i); /* text too: its bytes as they are */
        c->len = (size_t)sqlite3_column_bytes(stmt, i);
        if (c->p == NULL) {
            c->p = ""; /* an empty value is not NULL */
        }
    }
}

static enum st each_row(struct cat_sql *s, enum cat_table table, sqlite3_stmt *stmt,
                        cat_sql_row_fn fn, void *arg, struct err *err)
{
    const struct cat_table_def *def = cat_table_def(table);
    struct cat_cell cells[CAT_COLS_MAX];
    struct cat_row row;
    size_t pos = 0;

    for (unsigned i = 0; i < def->ncols; i++) {
        enum cat_kind k = def->cols[i].kind;
        column_cell(stmt, (int)i, &cells[i], k == CAT_TEXT || k == CAT_BLOB || k == CAT_UUID);
    }
    s->buf.len = 0;
    enum st st = cat_row_encode(&s->buf, table, CAT_OP_PUT, cells, def->ncols);
    if (st != ST_OK) {
        return err_set(err, st, 0, "row of table %s: %s", def->name, st_text(st));
    }
    st = cat_row_next(s->buf.data, s->buf.len, &pos, &row, err);
    return st == ST_OK ? fn(arg, &row, err) : st;
}

enum st cat_sql_each(struct cat_sql *s, enum cat_table table, cat_sql_row_fn fn, void *arg,
                     struct err *err)
{
    const struct cat_table_def *def = cat_table_def(table);
    sqlite3_stmt *stmt = NULL;
    struct text t = {.len = 0};
    int rc = SQLITE_DONE;

    for (unsigned i = 0; i < def->ncols; i++) {
        text_add(&t, i == 0 ? "SELECT " : ",");
        text_add(&t, def->cols[i].name);
    }
    text_add(&t, " FROM ");
    text_add(&t, def->name);
    text_keys(&t, def, " ORDER BY ", ",", "");
    fault_clear(s);
    enum st st = prepare(s, t.s, &stmt, err);
    if (st != ST_OK) {
        return st;
    }
    while (st == ST_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        st = each_row(s, table, stmt, fn, arg, err);
    }
    if (st == ST_OK && rc != SQLITE_DONE) {
        st = fail(s, rc, def->name, err);
    }
    (void)sqlite3_finalize(stmt);
    return st;
}
