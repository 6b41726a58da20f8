/* The catalogue's tables as data: columns, keys, and the one row encoding shared by transactions,
 * the row log, and the code that talks to SQLite. Private to the catalogue.
 *
 * Encoded row, as it stands in the row log (unaligned, little-endian):
 *   off 0 table u8 · 1 op u8 (1 put, 2 delete) · 2 ncols u8 · 3 reserved u8 · 4 len u32 · 8 crc u32
 * · 12 key_len u32 off 16 payload, len bytes: key columns, then (put only) the other columns crc is
 * CRC-32C over bytes 0..7, 12..15 and the payload. key_len is how much of the payload is key. A
 * column is an unsigned LEB128: the value for integers (signed ones as the unsigned of the same
 * bits), length + 1 before the bytes for text and blobs, 0 for NULL. Columns are only ever appended
 * to a table, so an older row decodes as a prefix.
 *
 * Any thread; no I/O. */
#ifndef ENGINE_CATALOGUE_TABLES_H
#define ENGINE_CATALOGUE_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/catalogue.h"

enum cat_table {
    CAT_T_STORE = 1, /* one row, id 1: next_gid */
    CAT_T_ACCOUNT,
    CAT_T_STREAM,
    CAT_T_STREAM_CKPT,
    CAT_T_CONSUMER,
    CAT_T_CONSUMER_CKPT,
    CAT_T_SEGMENT,
    CAT_T_SEGDEL,
    CAT_T_PENDING_PURGE,
    CAT_T_LANE,
    CAT_T_DAMAGE,
    CAT_T_COUNT,
    /* reserved: extent 12, key 13, zdict 14, raft_snap 15 */
};

enum cat_op { CAT_OP_PUT = 1, CAT_OP_DEL = 2 };
enum cat_kind { CAT_U32, CAT_U64, CAT_I64, CAT_TEXT, CAT_BLOB, CAT_UUID };

struct cat_col {
    const char *name;
    enum cat_kind kind;
    size_t offset; /* in the row's struct */
};

#define CAT_COLS_MAX 20u
struct cat_table_def {
    const char *name;
    unsigned nkeys; /* the first columns */
    unsigned ncols;
    struct cat_col cols[CAT_COLS_MAX];
};

struct cat_store_row {
    uint32_t id; /* 1 */
    uint32_t next_gid;
};

/* Any row's struct. */
union cat_any {
    struct cat_store_row store;
    struct cat_account account;
    struct cat_stream stream;
    struct cat_stream_ckpt stream_ckpt;
    struct cat_consumer consumer;
    struct cat_consumer_ckpt consumer_ckpt;
    struct cat_segment segment;
    struct cat_segdel segdel;
    struct cat_pending_purge pending_purge;
    struct cat_lane lane;
    struct cat_damage damage;
};

/* One column's value. */
struct cat_cell {
    bool is_bytes;
    uint64_t u;    /* integers */
    const void *p; /* bytes, borrowed; NULL = SQL NULL */
    size_t len;
};

struct cat_buf {
    uint8_t *data; /* owned */
    size_t len, cap;
};

#define CAT_ROW_HEAD 16u
struct cat_row {
    enum cat_table table;
    enum cat_op op;
    unsigned ncols;
    const uint8_t *raw; /* borrowed: head and payload */
    size_t raw_len;
    size_t key_len; /* key = raw + CAT_ROW_HEAD */
};

/* NULL for a number that is no table. */
const struct cat_table_def *cat_table_def(unsigned table);

/* Makes room for `more` bytes. False when out of memory or beyond what one row may be. */
bool cat_buf_reserve(struct cat_buf *b, size_t more);
void cat_buf_fini(struct cat_buf *b);

/* Appends an encoded row made from ncols cells (all columns for a put, the keys for a delete). */
MUST_USE enum st cat_row_encode(struct cat_buf *b, enum cat_table table, enum cat_op op,
                                const struct cat_cell *cells, unsigned ncols);
/* Appends an encoded row made from a row's struct. */
MUST_USE enum st cat_row_encode_struct(struct cat_buf *b, enum cat_table table, enum cat_op op,
                                       const void *row);

/* Takes the row at *pos of data and moves *pos behind it. ST_CORRUPT for anything that is not one,
 * ST_VERSION for an unknown table, op, or more columns than known. */
MUST_USE enum st cat_row_next(const uint8_t *data, size_t len, size_t *pos, struct cat_row *row_out,
                              struct err *err);
/* Splits a row into cells (CAT_COLS_MAX); missing trailing columns are 0 or NULL. ST_CORRUPT. */
MUST_USE enum st cat_row_cells(const struct cat_row *row, struct cat_cell *cells, struct err *err);
/* Fills the row's struct from cells. ST_CORRUPT when a value does not fit its column. */
MUST_USE enum st cat_row_struct(enum cat_table table, const struct cat_cell *cells,
                                union cat_any *out, struct err *err);

/* A transaction's rows: encoded one after the other, in the order of the calls. */
struct cat_txn {
    uint32_t magic;
    struct cat_buf buf; /* owned */
    size_t nrows;
    enum st st; /* the first put that failed */
};

/* Where a row lies, for sorting. */
struct cat_row_ref {
    struct cat_row row;
    size_t index;   /* order of the calls */
    unsigned phase; /* deletes, tombstones, puts */
};
/* The rows that count of n transactions, in the order in which they are to be applied (deletes
 * first, then streams that give up their name, then the rest), each key once. *refs_out is
 * base_malloc'ed, the caller's; it borrows from the transactions. *bytes_out is the sum of their
 * sizes. */
MUST_USE enum st cat_txns_sort(struct cat_txn *const *txns, size_t n, struct cat_row_ref **refs_out,
                               size_t *nrefs_out, size_t *bytes_out, struct err *err);

#endif
