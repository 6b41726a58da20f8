#include "engine/rowlog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/quarantine.h"

#define HEADER_MAGIC "MRWL"
#define BATCH_MAGIC "MRWB"
#define DUMP_WRITE_BYTES (256 * KIB) /* a dump is written in pieces of about this size */
#define ALLOC_FIRST (64 * KIB)       /* reserved at first, then up to ALLOC_STEP at a time */
#define ALLOC_STEP (512 * KIB)

static const uint8_t zeros[ROWLOG_PAGE];

void rowlog_name(char out[40], uint64_t n)
{
    (void)snprintf(out, 40, "meta.%" PRIu64 ".log", n);
}

static enum st log_path(char out[STORE_PATH_MAX], const char *root, uint64_t n, const char *suffix,
                        struct err *err)
{
    char name[64], base[40];
    rowlog_name(base, n);
    (void)snprintf(name, sizeof(name), "%s%s", base, suffix);
    return store_path(out, root, name, err);
}

static uint32_t seed_of(const struct rowlog_ident *id, uint64_t n)
{
    uint8_t no[8];
    put_u64le(no, n);
    return crc32c(crc32c(id->crc_seed, id->store_uuid, 16), no, sizeof(no));
}

/* --- header page ------------------------------------------------------------------------------ */
static uint32_t header_encode(uint8_t page[ROWLOG_PAGE], const struct rowlog_ident *id, uint64_t n,
                              uint64_t generation, uint32_t schema_version)
{
    memset(page, 0, ROWLOG_PAGE);
    memcpy(page, HEADER_MAGIC, 4);
    put_u32le(page + 4, ROWLOG_VERSION);
    memcpy(page + 8, id->store_uuid, 16);
    put_u64le(page + 24, n);
    put_u64le(page + 32, generation);
    put_u32le(page + 40, schema_version);
    uint32_t crc = crc32c(0, page, 4092);
    put_u32le(page + 4092, crc);
    return crc;
}

/* Judges a header page: ST_OK, ST_CORRUPT, ST_FOREIGN or ST_VERSION. */
static enum st header_decode(const uint8_t page[ROWLOG_PAGE], const struct rowlog_ident *id,
                             uint64_t n, struct rowlog_scan *scan, struct err *err)
{
    char name[40];
    rowlog_name(name, n);
    if (get_u32le(page + 4092) != crc32c(0, page, 4092)) {
        return err_set(err, ST_CORRUPT, 0, "%s: header checksum does not match", name);
    }
    if (memcmp(page, HEADER_MAGIC, 4) != 0) {
        return err_set(err, ST_FOREIGN, 0, "%s is not a row log of millrace", name);
    }
    if (get_u32le(page + 4) != ROWLOG_VERSION) {
        return err_set(err, ST_VERSION, 0, "%s has version %u, this program knows %u", name,
                       get_u32le(page + 4), ROWLOG_VERSION);
    }
    if (memcmp(page + 8, id->store_uuid, 16) != 0) {
        return err_set(err, ST_FOREIGN, 0, "%s belongs to another store", name);
    }
    for (size_t i = 44; i < 4092; i++) {
        if (page[i] != 0) {
            return err_set(err, ST_VERSION, 0, "%s: reserved byte %zu is set", name, i);
        }
    }
    if (get_u64le(page + 24) != n) {
        return err_set(err, ST_FOREIGN, 0, "%s says it is number %" PRIu64, name,
                       get_u64le(page + 24));
    }
    scan->base_generation = get_u64le(page + 32);
    scan->schema_version = get_u32le(page + 40);
    scan->header_ok = true;
    return ST_OK;
}

/* --- batches ---------------------------------------------------------------------------------- */
static void batch_head(uint8_t head[ROWLOG_BATCH_HEAD], uint32_t rows_crc, uint64_t generation,
                       uint32_t len, uint32_t nrows, uint32_t prev_crc)
{
    memset(head, 0, ROWLOG_BATCH_HEAD);
    memcpy(head, BATCH_MAGIC, 4);
    put_u64le(head + 8, generation);
    put_u32le(head + 16, len);
    put_u32le(head + 20, nrows);
    put_u32le(head + 24, prev_crc);
    put_u32le(head + 4, crc32c(rows_crc, head + 8, ROWLOG_BATCH_HEAD - 8));
}

/* Reserves space ahead, so that an append's sync has no block map to write. Failing is harmless. */
static void reserve(struct rowlog *rl, uint64_t end)
{
    if (end <= rl->alloc_off) {
        return;
    }
    uint64_t step = u64_min(ALLOC_STEP, u64_max(ALLOC_FIRST, align_up(end / 2, ROWLOG_PAGE)));
    if (env_fallocate(rl->env, rl->file, rl->alloc_off, end + step - rl->alloc_off, NULL) ==
        ST_OK) {
        rl->alloc_off = end + step;
    }
}

enum st rowlog_append(struct rowlog *rl, const struct cat_row_ref *rows, size_t nrows, size_t bytes,
                      struct err *err)
{
    uint64_t total = align_up(ROWLOG_BATCH_HEAD + (uint64_t)bytes, ROWLOG_PAGE);
    uint64_t generation = rl->last_generation + 1;

    ASSERT(!rl->failed);
    if (bytes > UINT32_MAX - ROWLOG_PAGE || nrows > UINT32_MAX) {
        return err_set(err, ST_TOOBIG, 0, "a catalogue batch of %zu bytes", bytes);
    }
    uint8_t *buf = base_try_malloc((size_t)total);
    if (buf == NULL) {
        return err_set(err, ST_NOMEM, 0, "no memory for a catalogue batch of %zu bytes", bytes);
    }
    size_t at = ROWLOG_BATCH_HEAD;
    for (size_t i = 0; i < nrows; i++) {
        memcpy(buf + at, rows[i].row.raw, rows[i].row.raw_len);
        at += rows[i].row.raw_len;
    }
    ASSERT(at == ROWLOG_BATCH_HEAD + bytes);
    memset(buf + at, 0, (size_t)total - at);
    uint32_t crc = crc32c(rl->seed, buf + ROWLOG_BATCH_HEAD, bytes);
    batch_head(buf, crc, generation, (uint32_t)bytes, (uint32_t)nrows, rl->last_crc);
    crc = get_u32le(buf + 4);
    rl->try_off = rl->end_off;
    rl->before_generation = rl->last_generation;
    rl->before_crc = rl->last_crc;
    reserve(rl, rl->end_off + total);
    enum st st = env_pwrite(rl->env, rl->file, buf, (size_t)total, rl->end_off, err);
    base_free(buf);
    if (st == ST_NOSPACE) {
        return st;
    }
    if (st == ST_OK) {
        st = env_datasync(rl->env, rl->file, err);
    }
    if (st != ST_OK) {
        rl->failed = true;
        return st;
    }
    rl->end_off += total;
    rl->last_generation = generation;
    rl->last_crc = crc;
    return ST_OK;
}

enum st rowlog_undo(struct rowlog *rl, struct err *err)
{
    uint8_t page[ROWLOG_PAGE];
    size_t got = 0;

    ASSERT(rl->try_off != 0);
    /* A write that found no room may have left nothing; then there is no block to write zeros to
     * either. */
    enum st st = rl->failed
                     ? ST_IO
                     : env_pread(rl->env, rl->file, page, sizeof(page), rl->try_off, &got, NULL);
    if (st != ST_OK || memcmp(page, zeros, got) != 0) {
        st = env_pwrite(rl->env, rl->file, zeros, sizeof(zeros), rl->try_off, err);
        if (st == ST_OK) {
            st = env_datasync(rl->env, rl->file, err);
        }
    }
    if (st != ST_OK) {
        rl->failed = true;
        err_prefix(err, "take back generation %llu of the row log",
                   (unsigned long long)rl->before_generation + 1);
        return st;
    }
    rl->end_off = rl->try_off;
    rl->last_generation = rl->before_generation;
    rl->last_crc = rl->before_crc;
    return ST_OK;
}

void rowlog_close(struct rowlog *rl)
{
    if (rl->file != NULL) {
        env_close(rl->env, rl->file);
    }
    memset(rl, 0, sizeof(*rl));
}

/* --- dump ------------------------------------------------------------------------------------- */
enum st rowlog_dump_begin(struct rowlog_dump *d, const struct rowlog_ident *ident, uint64_t n,
                          uint64_t generation, uint32_t schema_version, struct err *err)
{
    char path[STORE_PATH_MAX];
    uint8_t page[ROWLOG_PAGE];

    memset(d, 0, sizeof(*d));
    d->ident = ident;
    d->rl = (struct rowlog){.env = ident->env,
                            .n = n,
                            .seed = seed_of(ident, n),
                            .base_generation = generation,
                            .last_generation = generation};
    enum st st = log_path(path, ident->root, n, ".tmp", err);
    if (st != ST_OK ||
        (st = env_open(ident->env, path, ENV_RDWR | ENV_CREATE, &d->rl.file, err)) != ST_OK) {
        return st;
    }
    d->open = true;
    d->rl.last_crc = header_encode(page, ident, n, generation, schema_version);
    st = env_truncate(ident->env, d->rl.file, 0, err);
    if (st == ST_OK) {
        st = env_pwrite(ident->env, d->rl.file, page, sizeof(page), 0, err);
    }
    if (st != ST_OK) {
        rowlog_dump_abort(d);
        return st;
    }
    d->off = ROWLOG_PAGE + ROWLOG_BATCH_HEAD; /* the batch's head is written last */
    d->crc = d->rl.seed;
    return ST_OK;
}

static enum st dump_flush(struct rowlog_dump *d, struct err *err)
{
    if (d->buf.len == 0) {
        return ST_OK;
    }
    enum st st = env_pwrite(d->rl.env, d->rl.file, d->buf.data, d->buf.len, d->off, err);
    if (st == ST_OK) {
        d->off += d->buf.len;
        d->buf.len = 0;
    }
    return st;
}

enum st rowlog_dump_row(struct rowlog_dump *d, const uint8_t *raw, size_t len, struct err *err)
{
    if (d->len + len > UINT32_MAX - ROWLOG_PAGE || d->nrows == UINT32_MAX) {
        return err_set(err, ST_TOOBIG, 0, "the catalogue is too large for one dump");
    }
    if (!cat_buf_reserve(&d->buf, len)) {
        return err_set(err, ST_NOMEM, 0, "no memory for a catalogue row of %zu bytes", len);
    }
    memcpy(d->buf.data + d->buf.len, raw, len);
    d->buf.len += len;
    d->crc = crc32c(d->crc, raw, len);
    d->len += len;
    d->nrows++;
    return d->buf.len >= DUMP_WRITE_BYTES ? dump_flush(d, err) : ST_OK;
}

enum st rowlog_dump_finish(struct rowlog_dump *d, struct rowlog *rl_out, struct err *err)
{
    uint8_t head[ROWLOG_BATCH_HEAD];
    char tmp[STORE_PATH_MAX], path[STORE_PATH_MAX];
    uint64_t end = align_up(ROWLOG_PAGE + ROWLOG_BATCH_HEAD + d->len, ROWLOG_PAGE);
    struct env *env = d->rl.env;

    ASSERT(d->open);
    batch_head(head, d->crc, d->rl.base_generation, (uint32_t)d->len, d->nrows, d->rl.last_crc);
    d->rl.last_crc = get_u32le(head + 4);
    d->rl.dump_bytes = d->len;
    d->rl.end_off = d->rl.alloc_off = end;
    enum st st = dump_flush(d, err);
    if (st == ST_OK && end > d->off) {
        st = env_pwrite(env, d->rl.file, zeros, (size_t)(end - d->off), d->off, err);
    }
    if (st == ST_OK) {
        st = env_pwrite(env, d->rl.file, head, sizeof(head), ROWLOG_PAGE, err);
    }
    if (st == ST_OK) {
        reserve(&d->rl, end + ROWLOG_PAGE);
        st = env_datasync(env, d->rl.file, err);
    }
    if (st == ST_OK && (st = log_path(tmp, d->ident->root, d->rl.n, ".tmp", err)) == ST_OK &&
        (st = log_path(path, d->ident->root, d->rl.n, "", err)) == ST_OK) {
        st = env_rename(env, tmp, path, err);
    }
    if (st != ST_OK) {
        rowlog_dump_abort(d);
        return st;
    }
    *rl_out = d->rl;
    cat_buf_fini(&d->buf);
    memset(d, 0, sizeof(*d));
    return ST_OK;
}

void rowlog_dump_abort(struct rowlog_dump *d)
{
    char path[STORE_PATH_MAX];
    if (d->open) {
        struct env *env = d->rl.env;
        uint64_t n = d->rl.n;
        rowlog_close(&d->rl);
        /* On a full disk its space is wanted; a file that stays is removed by the next open. */
        if (log_path(path, d->ident->root, n, ".tmp", NULL) == ST_OK) {
            (void)!env_unlink(env, path, NULL);
        }
    }
    cat_buf_fini(&d->buf);
    memset(d, 0, sizeof(*d));
}

/* --- list ------------------------------------------------------------------------------------- */
struct list_ctx {
    rowlog_list_fn fn;
    void *arg;
};

/* Reads "meta.<n>.log" exactly as rowlog_name writes it. */
static bool name_parse(const char *name, uint64_t *n_out)
{
    char again[40], *end = NULL;
    if (strncmp(name, "meta.", 5) != 0 || name[5] < '0' || name[5] > '9') {
        return false;
    }
    *n_out = strtoull(name + 5, &end, 10);
    rowlog_name(again, *n_out);
    return strcmp(again, name) == 0;
}

static void list_one(void *arg, const char *name, bool is_dir)
{
    struct list_ctx *ctx = arg;
    uint64_t n = 0;
    if (!is_dir && name_parse(name, &n)) {
        ctx->fn(ctx->arg, n);
    }
}

enum st rowlog_list(struct env *env, const char *root, rowlog_list_fn fn, void *arg,
                    struct err *err)
{
    struct list_ctx ctx = {fn, arg};
    return env_list(env, root, list_one, &ctx, err);
}

/* --- scan ------------------------------------------------------------------------------------- */
struct reader {
    struct env *env;
    struct env_file *file; /* owned */
    uint32_t seed;
    uint64_t size;
    uint8_t *buf; /* owned: head, rows and padding of a batch */
    size_t cap;
};

static enum st reader_open(struct reader *r, const struct rowlog_ident *id, uint64_t n,
                           struct err *err)
{
    char path[STORE_PATH_MAX];
    memset(r, 0, sizeof(*r));
    r->env = id->env;
    r->seed = seed_of(id, n);
    enum st st = log_path(path, id->root, n, "", err);
    if (st == ST_OK && (st = env_open(id->env, path, ENV_RDONLY, &r->file, err)) == ST_OK) {
        st = env_size(id->env, r->file, &r->size, err);
    }
    return st;
}

static void reader_close(struct reader *r)
{
    env_close(r->env, r->file);
    base_free(r->buf);
}

/* Reads len bytes at off into r->buf; a short file is ST_CORRUPT. */
static enum st reader_fill(struct reader *r, uint64_t off, size_t len, struct err *err)
{
    size_t got = 0;
    if (len > r->cap) {
        uint8_t *p = base_try_realloc(r->buf, len);
        if (p == NULL) {
            return err_set(err, ST_NOMEM, 0, "no memory for a row-log batch of %zu bytes", len);
        }
        r->buf = p;
        r->cap = len;
    }
    enum st st = env_pread(r->env, r->file, r->buf, len, off, &got, err);
    if (st == ST_OK && got < len) {
        st = err_set(err, ST_CORRUPT, 0, "row log ends at %llu", (unsigned long long)(off + got));
    }
    return st;
}

enum page_kind { PAGE_ZERO, PAGE_BATCH, PAGE_OTHER };

/* Looks at the page at `off`: a batch that verifies (then *b and r->buf hold it), zeros, or
 * something else. */
static enum st page_look(struct reader *r, uint64_t off, enum page_kind *kind_out,
                         struct rowlog_batch *b, uint32_t *prev_crc_out, bool *pad_zero_out,
                         struct err *err)
{
    *kind_out = PAGE_OTHER;
    size_t first = (size_t)u64_min(ROWLOG_PAGE, r->size - off);
    enum st st = reader_fill(r, off, first, err);
    if (st != ST_OK) {
        return st;
    }
    if (memcmp(r->buf, zeros, first) == 0) {
        *kind_out = PAGE_ZERO;
        return ST_OK;
    }
    if (first < ROWLOG_PAGE || memcmp(r->buf, BATCH_MAGIC, 4) != 0 || get_u32le(r->buf + 28) != 0) {
        return ST_OK;
    }
    uint64_t len = get_u32le(r->buf + 16);
    uint64_t total = align_up(ROWLOG_BATCH_HEAD + len, ROWLOG_PAGE);
    if (total > r->size - off) {
        return ST_OK;
    }
    if (total > ROWLOG_PAGE && (st = reader_fill(r, off, (size_t)total, err)) != ST_OK) {
        return st;
    }
    uint32_t crc = crc32c(r->seed, r->buf + ROWLOG_BATCH_HEAD, (size_t)len);
    if (crc32c(crc, r->buf + 8, ROWLOG_BATCH_HEAD - 8) != get_u32le(r->buf + 4)) {
        return ST_OK;
    }
    *kind_out = PAGE_BATCH;
    *b = (struct rowlog_batch){.generation = get_u64le(r->buf + 8),
                               .off = off,
                               .len = (uint32_t)len,
                               .nrows = get_u32le(r->buf + 20),
                               .crc = get_u32le(r->buf + 4)};
    *prev_crc_out = get_u32le(r->buf + 24);
    size_t used = (size_t)(ROWLOG_BATCH_HEAD + len);
    *pad_zero_out = memcmp(r->buf + used, zeros, (size_t)total - used) == 0;
    return ST_OK;
}

static void scan_add(struct rowlog_scan *scan, const struct rowlog_batch *b, size_t *cap)
{
    if (scan->nbatches == *cap) {
        *cap = *cap * 2 + 16;
        scan->batches = base_realloc(scan->batches, *cap * sizeof(*scan->batches));
    }
    scan->batches[scan->nbatches++] = *b;
}

/* True when b continues what is known of the chain. The dump stands at the first page behind the
 * header. */
static bool chains(const struct rowlog_scan *scan, const struct rowlog_batch *b, uint32_t prev_crc,
                   uint32_t header_crc)
{
    if (scan->nchain != scan->nbatches) {
        return false;
    }
    if (scan->nbatches == 0) {
        return b->off == ROWLOG_PAGE &&
               (!scan->header_ok ||
                (prev_crc == header_crc && b->generation == scan->base_generation));
    }
    const struct rowlog_batch *last = &scan->batches[scan->nbatches - 1];
    return prev_crc == last->crc && b->generation == last->generation + 1;
}

static enum st scan_batches(struct reader *r, uint32_t header_crc, struct rowlog_scan *scan,
                            struct err *err)
{
    uint64_t suspect =
        0; /* first page that is neither batch nor zeros, since the last good batch */
    size_t cap = 0;

    scan->end_off = ROWLOG_PAGE;
    for (uint64_t off = ROWLOG_PAGE; off < r->size;) {
        enum page_kind kind;
        struct rowlog_batch b;
        uint32_t prev_crc = 0;
        bool pad_zero = true;
        enum st st = page_look(r, off, &kind, &b, &prev_crc, &pad_zero, err);
        if (st != ST_OK) {
            return st;
        }
        if (kind != PAGE_BATCH) {
            if (kind == PAGE_OTHER && suspect == 0) {
                suspect = off;
            }
            off += ROWLOG_PAGE;
            continue;
        }
        uint64_t next = off + align_up(ROWLOG_BATCH_HEAD + (uint64_t)b.len, ROWLOG_PAGE);
        bool in_chain = chains(scan, &b, prev_crc, header_crc);
        if (!in_chain && scan->bad_off == 0) {
            scan->bad_off = suspect != 0 ? suspect : off;
        }
        if (!pad_zero && scan->pad_off == 0) {
            scan->pad_off = off;
        }
        scan_add(scan, &b, &cap);
        if (in_chain) {
            scan->nchain = scan->nbatches;
            scan->end_off = next;
        }
        suspect = 0;
        off = next;
    }
    scan->tail_off = suspect;
    return ST_OK;
}

enum st rowlog_scan(const struct rowlog_ident *ident, uint64_t n, struct rowlog_scan *scan_out,
                    struct err *err)
{
    struct reader r;
    uint32_t header_crc = 0;

    memset(scan_out, 0, sizeof(*scan_out));
    scan_out->n = n;
    enum st st = reader_open(&r, ident, n, err);
    if (st == ST_OK) {
        scan_out->size = r.size;
        st = reader_fill(&r, 0, ROWLOG_PAGE, err);
        if (st == ST_OK) {
            header_crc = get_u32le(r.buf + 4092);
            st = header_decode(r.buf, ident, n, scan_out, err);
        }
    }
    if (st == ST_CORRUPT) { /* the batches carry all that matters */
        err_clear(err);
        st = ST_OK;
    }
    if (st == ST_OK) {
        st = scan_batches(&r, header_crc, scan_out, err);
    }
    if (st == ST_OK && !scan_out->header_ok && scan_out->nchain > 0) {
        scan_out->base_generation = scan_out->batches[0].generation;
    }
    reader_close(&r);
    if (st != ST_OK) {
        rowlog_scan_fini(scan_out);
    }
    return st;
}

void rowlog_scan_fini(struct rowlog_scan *scan)
{
    base_free(scan->batches);
    memset(scan, 0, sizeof(*scan));
}

enum st rowlog_read_batch(const struct rowlog_ident *ident, const struct rowlog_scan *scan,
                          size_t index, rowlog_row_fn fn, void *arg, struct err *err)
{
    struct reader r;
    struct rowlog_batch b;
    enum page_kind kind = PAGE_OTHER;
    uint32_t prev_crc, nrows = 0;
    bool pad_zero;

    ASSERT(index < scan->nbatches);
    enum st st = reader_open(&r, ident, scan->n, err);
    if (st == ST_OK) {
        st = page_look(&r, scan->batches[index].off, &kind, &b, &prev_crc, &pad_zero, err);
    }
    if (st == ST_OK && (kind != PAGE_BATCH || b.crc != scan->batches[index].crc)) {
        st = err_set(err, ST_CORRUPT, 0, "row log batch at %llu changed while it was read",
                     (unsigned long long)scan->batches[index].off);
    }
    for (size_t pos = 0; st == ST_OK && pos < b.len; nrows++) {
        struct cat_row row;
        st = cat_row_next(r.buf + ROWLOG_BATCH_HEAD, b.len, &pos, &row, err);
        if (st == ST_OK) {
            st = fn(arg, &row, err);
        }
    }
    if (st == ST_OK && nrows != b.nrows) {
        st = err_set(err, ST_CORRUPT, 0, "row log batch at %llu holds %u rows, not %u",
                     (unsigned long long)b.off, nrows, b.nrows);
    }
    reader_close(&r);
    return st;
}

enum st rowlog_sync(const struct rowlog_ident *ident, uint64_t n, struct err *err)
{
    char path[STORE_PATH_MAX];
    struct env_file *f = NULL;
    enum st st = log_path(path, ident->root, n, "", err);
    if (st == ST_OK && (st = env_open(ident->env, path, ENV_RDWR, &f, err)) == ST_OK) {
        st = env_datasync(ident->env, f, err);
        env_close(ident->env, f);
    }
    return st;
}

enum st rowlog_open(const struct rowlog_ident *ident, const struct rowlog_scan *scan,
                    struct rowlog *rl_out, struct err *err)
{
    char path[STORE_PATH_MAX];

    ASSERT(scan->nchain > 0);
    const struct rowlog_batch *last = &scan->batches[scan->nchain - 1];
    *rl_out = (struct rowlog){.env = ident->env,
                              .n = scan->n,
                              .seed = seed_of(ident, scan->n),
                              .base_generation = scan->base_generation,
                              .last_generation = last->generation,
                              .last_crc = last->crc,
                              .end_off = scan->end_off,
                              .alloc_off = u64_max(scan->size, scan->end_off),
                              .dump_bytes = scan->batches[0].len};
    enum st st = log_path(path, ident->root, scan->n, "", err);
    return st != ST_OK ? st : env_open(ident->env, path, ENV_RDWR, &rl_out->file, err);
}
