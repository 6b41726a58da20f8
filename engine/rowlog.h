/* The row log meta.<n>.log: the catalogue's rows outside SQLite (FORMAT-catalogue.md).
 *
 * Header page: 0 magic "MRWL" · 4 version u32 · 8 store_uuid 16 · 24 n u64 · 32 base_generation u64
 * · 40 schema_version u32 · 44 cipher u8, 0 (3) · 48 key_id u32 · 52 0 (4) · 56 wrapped_dek 72 ·
 * zeros · 4092 crc of 0..4091. Batches, each from a 4 KiB boundary: 0 magic "MRWB" · 4 crc u32 · 8
 * generation u64 · 16 len u32 · 20 nrows u32 · 24 prev_crc u32 · 28 0 (4) · 32 len bytes of rows
 * (engine/catalogue_tables.h) · zeros to the boundary. A batch's crc covers the rows, then
 * bytes 8..31; it is seeded with (crc_seed, n), so that nothing a user stores can look like a
 * batch. prev_crc is the crc of the batch before; the first batch has the header page's. The first
 * batch is a dump of the whole catalogue at base_generation; each later one is the generation after
 * the one before it. Behind the last batch lie zeros (space reserved ahead) or the remains of a
 * torn append.
 *
 * Invariants: bytes of a batch are never written again once its generation counts. After an error
 * of append the file is given up: the next batch goes to a new file (but ST_NOSPACE from the write,
 * before the sync, may be retried). A batch whose generation failed is taken back by zeroing its
 * first page. Of two files the one that reaches the higher generation is believed, the
 * higher-numbered one when equal. A new file is written under a temporary name and synced before
 * its rename, so meta.<n>.log is whole or absent. Runs on the thread of the catalogue; blocking. */
#ifndef ENGINE_ROWLOG_H
#define ENGINE_ROWLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/env.h"
#include "engine/catalogue_tables.h"

#define ROWLOG_PAGE 4096u
#define ROWLOG_VERSION 1u
#define ROWLOG_BATCH_HEAD 32u

struct rowlog_ident {
    struct env *env;
    const char *root; /* borrowed */
    uint8_t store_uuid[16];
    uint32_t crc_seed;
};

/* --- writing ---------------------------------------------------------------------------------- */
struct rowlog {
    struct env *env;
    struct env_file *file; /* owned */
    uint64_t n;            /* file number */
    uint32_t seed;
    uint64_t base_generation; /* of the dump */
    uint64_t last_generation;
    uint32_t last_crc;
    uint64_t end_off;    /* where the next batch goes */
    uint64_t alloc_off;  /* reserved up to here */
    uint64_t dump_bytes; /* size of the first batch */
    uint64_t
        try_off; /* where the last append went or tried to; 0: none since the file was opened */
    uint64_t before_generation; /* as before that append */
    uint32_t before_crc;
    bool failed; /* a write or sync failed: given up */
};

/* Appends generation last_generation + 1 and syncs. ST_NOSPACE with failed unset: nothing durable,
 * may be retried. */
MUST_USE enum st rowlog_append(struct rowlog *rl, const struct cat_row_ref *rows, size_t nrows,
                               size_t bytes, struct err *err);
/* Takes the last append back, whether it said ST_OK or not: on ST_OK its batch will never be read.
 * On an error it may be. */
MUST_USE enum st rowlog_undo(struct rowlog *rl, struct err *err);
void rowlog_close(struct rowlog *rl);

/* Writes file n with its dump: begin, row for every row, finish (which leaves the file synced and
 * renamed, but the directory unsynced) or abort. */
struct rowlog_dump {
    const struct rowlog_ident *ident; /* borrowed until finish or abort */
    struct rowlog rl;
    struct cat_buf buf; /* owned: rows not yet written */
    uint64_t off;       /* where buf goes */
    uint64_t len;       /* of the batch's rows so far */
    uint32_t crc;
    uint32_t nrows;
    bool open;
};
MUST_USE enum st rowlog_dump_begin(struct rowlog_dump *d, const struct rowlog_ident *ident,
                                   uint64_t n, uint64_t generation, uint32_t schema_version,
                                   struct err *err);
MUST_USE enum st rowlog_dump_row(struct rowlog_dump *d, const uint8_t *raw, size_t len,
                                 struct err *err);
MUST_USE enum st rowlog_dump_finish(struct rowlog_dump *d, struct rowlog *rl_out, struct err *err);
void rowlog_dump_abort(struct rowlog_dump *d);

/* --- reading ---------------------------------------------------------------------------------- */
struct rowlog_batch {
    uint64_t generation;
    uint64_t off;
    uint32_t len, nrows, crc;
};

/* What a file holds. */
struct rowlog_scan {
    uint64_t n;
    bool header_ok;
    uint64_t base_generation;
    uint32_t schema_version;
    struct rowlog_batch *batches; /* owned: every batch that verifies, in file order */
    size_t nbatches;
    size_t nchain;     /* how many of them form the dump and its unbroken successors; 0: no dump */
    uint64_t bad_off;  /* of the first damage that lies before a later good batch; 0: none */
    uint64_t tail_off; /* of the first non-zero page behind the last good batch; 0: none */
    uint64_t pad_off;  /* of the first batch whose padding is not zero; 0: none */
    uint64_t end_off;  /* behind the chain's last batch */
    uint64_t size;
};

typedef void (*rowlog_list_fn)(void *arg, uint64_t n);
/* Calls fn for each meta.<n>.log in root. ST_NOTFOUND when root is missing. */
MUST_USE enum st rowlog_list(struct env *env, const char *root, rowlog_list_fn fn, void *arg,
                             struct err *err);
/* Writes the plain name of file n ("meta.7.log"). */
void rowlog_name(char out[40], uint64_t n);

/* Reads file n and verifies everything. ST_OK whatever the damage; ST_FOREIGN, ST_VERSION by name;
 * ST_NOTFOUND, ST_IO. rowlog_scan_fini frees. */
MUST_USE enum st rowlog_scan(const struct rowlog_ident *ident, uint64_t n,
                             struct rowlog_scan *scan_out, struct err *err);
void rowlog_scan_fini(struct rowlog_scan *scan);

/* Calls fn for each row of batch `index` of a scan. ST_CORRUPT when it no longer verifies. */
typedef enum st (*rowlog_row_fn)(void *arg, const struct cat_row *row, struct err *err);
MUST_USE enum st rowlog_read_batch(const struct rowlog_ident *ident, const struct rowlog_scan *scan,
                                   size_t index, rowlog_row_fn fn, void *arg, struct err *err);
/* Syncs file n: after the death of a process alone its last batch may be in the page cache only,
 * and nothing may be built on it before it is on the disk. */
MUST_USE enum st rowlog_sync(const struct rowlog_ident *ident, uint64_t n, struct err *err);
/* Opens a scanned file for appending behind its chain. */
MUST_USE enum st rowlog_open(const struct rowlog_ident *ident, const struct rowlog_scan *scan,
                             struct rowlog *rl_out, struct err *err);

#endif
