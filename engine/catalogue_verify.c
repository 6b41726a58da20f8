/* The offline check of the catalogue for jsadmin: reads everything, alters nothing. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/catalogue_priv.h"
#include "engine/migrations.h"

struct verify {
    struct env *env;
    const struct cat_opts *opts;
    struct rowlog_ident ident;
    cat_finding_fn fn;
    void *arg;
    struct cat_verify_sum *sum;
    uint8_t *in_wal; /* owned: a bit per page that the WAL holds */
    size_t in_wal_pages;
    struct rowlog_scan best; /* the row log that reaches furthest */
    uint32_t *gids;          /* owned: of the stream table, ascending */
    size_t ngids, gids_cap;
    uint64_t n; /* row log under inspection */
};

__attribute__((format(printf, 3, 4))) static void finding(struct verify *v, const char *what,
                                                          const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    v->sum->findings++;
    if (v->fn != NULL) {
        v->fn(v->arg, what, text);
    }
}

/* --- row log ---------------------------------------------------------------------------------- */
static enum st decode_log_row(void *arg, const struct cat_row *row, struct err *err)
{
    struct cat_cell cells[CAT_COLS_MAX];
    union cat_any any;
    (void)arg;
    enum st st = cat_row_cells(row, cells, err);
    if (st == ST_OK && row->op == CAT_OP_PUT) {
        st = cat_row_struct(row->table, cells, &any, err);
    }
    return st;
}

static enum st verify_log(struct verify *v, uint64_t n, struct err *err)
{
    struct rowlog_scan scan;
    struct err why = {0};
    char name[40], what[96];

    rowlog_name(name, n);
    enum st st = rowlog_scan(&v->ident, n, &scan, err);
    if (st == ST_IO) {
        finding(v, name, "unreadable: %s", err == NULL ? st_text(st) : err->msg);
        err_clear(err);
        return ST_OK;
    }
    if (st != ST_OK) {
        return st;
    }
    if (!scan.header_ok) {
        finding(v, name, "header checksum does not match");
    }
    if (scan.nchain == 0) {
        finding(v, name, "holds no whole dump");
    }
    if (scan.bad_off != 0) {
        finding(v, name, "damage at %" PRIu64 " before later batches", scan.bad_off);
    }
    if (scan.pad_off != 0) {
        finding(v, name, "bytes behind the rows of the batch at %" PRIu64, scan.pad_off);
    }
    for (size_t i = 0; i < scan.nbatches; i++) {
        v->sum->batches++;
        st = rowlog_read_batch(&v->ident, &scan, i, decode_log_row, v, &why);
        if (st != ST_OK) {
            (void)snprintf(what, sizeof(what), "%s generation %" PRIu64, name,
                           scan.batches[i].generation);
            finding(v, what, "%s", why.msg);
        }
    }
    uint64_t reach = scan.nchain == 0 ? 0 : scan.batches[scan.nchain - 1].generation;
    if (reach > v->sum->log_generation) {
        v->sum->log_generation = reach;
        rowlog_scan_fini(&v->best);
        v->best = scan;
    } else {
        rowlog_scan_fini(&scan);
    }
    return ST_OK;
}

struct logs {
    uint64_t n[64];
    unsigned count;
};

static void note_log(void *arg, uint64_t n)
{
    struct logs *l = arg;
    if (l->count < ARRAY_LEN(l->n)) {
        unsigned at = l->count++;
        for (; at > 0 && l->n[at - 1] < n; at--) { /* highest first: it wins a tie */
            l->n[at] = l->n[at - 1];
        }
        l->n[at] = n;
    }
}

static enum st verify_logs(struct verify *v, struct err *err)
{
    struct logs logs = {.count = 0};
    enum st st = rowlog_list(v->env, v->opts->root, note_log, &logs, err);
    if (st == ST_OK && logs.count == 0) {
        finding(v, "meta.<n>.log", "is missing");
    }
    for (unsigned i = 0; st == ST_OK && i < logs.count; i++) {
        st = verify_log(v, logs.n[i], err);
    }
    return st;
}

/* --- meta.db ---------------------------------------------------------------------------------- */
static void note_wal_page(void *arg, uint32_t pgno)
{
    struct verify *v = arg;
    if (pgno >= v->in_wal_pages) {
        size_t pages = ((size_t)pgno + 4096) & ~(size_t)7;
        uint8_t *p = base_try_realloc(v->in_wal, pages / 8);
        if (p == NULL) {
            return;
        }
        memset(p + v->in_wal_pages / 8, 0, (pages - v->in_wal_pages) / 8);
        v->in_wal = p;
        v->in_wal_pages = pages;
    }
    v->in_wal[pgno / 8] |= (uint8_t)(1u << (pgno % 8));
}

static void bad_page(void *arg, uint32_t pgno)
{
    struct verify *v = arg;
    char what[40];
    if (pgno < v->in_wal_pages && (v->in_wal[pgno / 8] & 1u << (pgno % 8)) != 0) {
        return; /* being replaced when the power went; the WAL has it */
    }
    (void)snprintf(what, sizeof(what), "meta.db page %u", pgno);
    finding(v, what, "checksum does not match");
}

static bool gid_known(const struct verify *v, uint64_t gid)
{
    size_t lo = 0, hi = v->ngids;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v->gids[mid] < gid) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < v->ngids && v->gids[lo] == gid;
}

static void note_stream(struct verify *v, const struct cat_stream *s)
{
    if (s->name.data == NULL) {
        v->sum->tombstones++;
    } else {
        v->sum->streams++;
    }
    if (v->ngids == v->gids_cap) {
        v->gids_cap = v->gids_cap * 2 + 64;
        v->gids = base_realloc(v->gids, v->gids_cap * sizeof(*v->gids));
    }
    v->gids[v->ngids++] = s->gid;
}

static enum st check_row(void *arg, const struct cat_row *row, struct err *err)
{
    struct verify *v = arg;
    struct cat_cell cells[CAT_COLS_MAX];
    union cat_any any;
    char what[64];

    v->sum->rows++;
    enum st st = cat_row_cells(row, cells, err);
    if (st != ST_OK || (st = cat_row_struct(row->table, cells, &any, err)) != ST_OK) {
        return st;
    }
    switch (row->table) {
    case CAT_T_STREAM:
        note_stream(v, &any.stream);
        break;
    case CAT_T_CONSUMER:
        v->sum->consumers++;
        break;
    case CAT_T_SEGMENT:
        v->sum->segments++;
        break;
    default:
        break;
    }
    /* everything that hangs on a stream has the gid as its first key (damage may name none) */
    bool hangs = row->table != CAT_T_STORE && row->table != CAT_T_ACCOUNT &&
                 row->table != CAT_T_STREAM && row->table != CAT_T_LANE &&
                 row->table != CAT_T_DAMAGE;
    if (hangs && !gid_known(v, cells[0].u)) {
        (void)snprintf(what, sizeof(what), "table %s", cat_table_def(row->table)->name);
        finding(v, what, "row of stream gid=%" PRIu64 ", which is not in the catalogue",
                cells[0].u);
    }
    return ST_OK;
}

static enum st verify_rows(struct verify *v, struct cat_sql *sql, struct err *err)
{
    enum st st = cat_sql_integrity(sql, err);
    for (unsigned t = CAT_T_STORE; st == ST_OK && t < CAT_T_COUNT; t++) {
        st = cat_sql_each(sql, (enum cat_table)t, check_row, v, err);
    }
    if (st != ST_OK) {
        return st;
    }
    uint64_t s = v->sum->meta_generation, l = v->sum->log_generation;
    if (l != 0 && s != l && s + 1 != l) { /* one behind is a crash between the two commits */
        finding(v, "meta.db", "stands at generation %" PRIu64 ", the row log at %" PRIu64, s, l);
    } else if (s == l) {
        st = cat_compare(&v->ident, sql, &v->best, err);
        if (st == ST_MISMATCH) {
            finding(v, "meta.db", "%s", err == NULL ? "differs from the row log" : err->msg);
            err_clear(err);
            st = ST_OK;
        }
    }
    return st;
}

static enum st verify_meta(struct verify *v, struct meta_vfs *vfs, struct err *err)
{
    char path[STORE_PATH_MAX], wal[STORE_PATH_MAX];
    struct cat_sql sql;
    struct cat_sql_info info;
    struct err why = {0};
    bool junk;
    enum st st;

    if ((st = store_path(path, v->opts->root, "meta.db", err)) != ST_OK ||
        (st = store_path(wal, v->opts->root, "meta.db-wal", err)) != ST_OK ||
        (st = meta_wal_scan(v->env, wal, note_wal_page, v, &v->sum->wal_frames, &junk, err)) !=
            ST_OK) {
        return st;
    }
    st = meta_pages_scan(v->env, path, bad_page, v, &v->sum->pages, &why);
    if (st == ST_OK) {
        st = cat_sql_open(&sql, v->env, vfs, path, v->opts->store_uuid, &info, &why);
    }
    if (st == ST_OK) {
        v->sum->meta_generation = info.generation;
        st = verify_rows(v, &sql, &why);
        cat_sql_close(&sql);
    }
    if (st == ST_CORRUPT || st == ST_IO || st == ST_NOTFOUND) {
        finding(v, "meta.db", "%s", why.msg);
        return ST_OK;
    }
    return st == ST_OK ? ST_OK : err_set(err, st, why.os_errno, "%s", why.msg);
}

enum st cat_verify(struct env *env, const struct cat_opts *opts, cat_finding_fn fn, void *arg,
                   struct cat_verify_sum *sum_out, struct err *err)
{
    struct verify v = {.env = env, .opts = opts, .fn = fn, .arg = arg, .sum = sum_out};

    memset(sum_out, 0, sizeof(*sum_out));
    v.ident = (struct rowlog_ident){.env = env, .root = opts->root, .crc_seed = opts->crc_seed};
    memcpy(v.ident.store_uuid, opts->store_uuid, 16);
    struct meta_vfs *vfs = meta_vfs_create(env);
    meta_vfs_set_mode(vfs, META_VFS_READONLY);
    enum st st = verify_logs(&v, err);
    if (st == ST_OK) {
        st = verify_meta(&v, vfs, err);
    }
    meta_vfs_destroy(vfs);
    rowlog_scan_fini(&v.best);
    base_free(v.in_wal);
    base_free(v.gids);
    return st;
}
