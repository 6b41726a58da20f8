#include "engine/catalogue_tables.h"

#include <string.h>

#include "engine/base/base.h"

#define COL(type, member, sql, kind)                                                               \
    {                                                                                              \
        sql, kind, offsetof(struct type, member)                                                   \
    }

static const struct cat_table_def defs[CAT_T_COUNT] = {
    [CAT_T_STORE] = {"store",
                     1,
                     2,
                     {COL(cat_store_row, id, "id", CAT_U32),
                      COL(cat_store_row, next_gid, "next_gid", CAT_U32)}},
    [CAT_T_ACCOUNT] = {"account",
                       1,
                       3,
                       {COL(cat_account, id, "id", CAT_U32),
                        COL(cat_account, name, "name", CAT_TEXT),
                        COL(cat_account, limits, "limits", CAT_BLOB)}},
    [CAT_T_STREAM] =
        {"stream",
         1,
         10,
         {COL(cat_stream, gid, "gid", CAT_U32), COL(cat_stream, account, "account", CAT_TEXT),
          COL(cat_stream, name, "name", CAT_TEXT), COL(cat_stream, storage, "storage", CAT_U32),
          COL(cat_stream, cfg, "cfg", CAT_BLOB),
          COL(cat_stream, cfg_version, "cfg_version", CAT_U32),
          COL(cat_stream, created_ns, "created", CAT_I64),
          COL(cat_stream, next_sub, "next_sub", CAT_U32), COL(cat_stream, state, "state", CAT_U32),
          COL(cat_stream, drop_lsn, "drop_lsn", CAT_U64)}},
    [CAT_T_STREAM_CKPT] = {"stream_ckpt",
                           1,
                           15,
                           {COL(cat_stream_ckpt, gid, "gid", CAT_U32),
                            COL(cat_stream_ckpt, flushed_lsn, "flushed_lsn", CAT_U64),
                            COL(cat_stream_ckpt, oseq, "oseq", CAT_U64),
                            COL(cat_stream_ckpt, last_seq, "last_seq", CAT_U64),
                            COL(cat_stream_ckpt, first_seq, "first_seq", CAT_U64),
                            COL(cat_stream_ckpt, msgs, "msgs", CAT_U64),
                            COL(cat_stream_ckpt, bytes, "bytes", CAT_U64),
                            COL(cat_stream_ckpt, last_ts_ns, "last_ts", CAT_I64),
                            COL(cat_stream_ckpt, raft_index, "raft_index", CAT_U64),
                            COL(cat_stream_ckpt, raft_term, "raft_term", CAT_U64),
                            COL(cat_stream_ckpt, raft_vote, "raft_vote", CAT_BLOB),
                            COL(cat_stream_ckpt, index_root, "index_root", CAT_BLOB),
                            COL(cat_stream_ckpt, delete_epoch, "delete_epoch", CAT_U64),
                            COL(cat_stream_ckpt, dedup, "dedup", CAT_BLOB),
                            COL(cat_stream_ckpt, tail, "tail", CAT_BLOB)}},
    [CAT_T_CONSUMER] = {"consumer",
                        2,
                        7,
                        {COL(cat_consumer, gid, "gid", CAT_U32),
                         COL(cat_consumer, sub, "sub", CAT_U32),
                         COL(cat_consumer, name, "name", CAT_TEXT),
                         COL(cat_consumer, cfg, "cfg", CAT_BLOB),
                         COL(cat_consumer, cfg_version, "cfg_version", CAT_U32),
                         COL(cat_consumer, created_ns, "created", CAT_I64),
                         COL(cat_consumer, state, "state", CAT_U32)}},
    [CAT_T_CONSUMER_CKPT] = {"consumer_ckpt",
                             2,
                             3,
                             {COL(cat_consumer_ckpt, gid, "gid", CAT_U32),
                              COL(cat_consumer_ckpt, sub, "sub", CAT_U32),
                              COL(cat_consumer_ckpt, blob, "blob", CAT_BLOB)}},
    [CAT_T_SEGMENT] = {"segment",
                       2,
                       19,
                       {COL(cat_segment, gid, "gid", CAT_U32),
                        COL(cat_segment, segno, "segno", CAT_U64),
                        COL(cat_segment, gen, "gen", CAT_U32),
                        COL(cat_segment, seg_uuid, "seg_uuid", CAT_UUID),
                        COL(cat_segment, state, "state", CAT_U32),
                        COL(cat_segment, created_generation, "created_generation", CAT_U64),
                        COL(cat_segment, first_seq, "first_seq", CAT_U64),
                        COL(cat_segment, last_seq, "last_seq", CAT_U64),
                        COL(cat_segment, min_ts_ns, "min_ts", CAT_I64),
                        COL(cat_segment, max_ts_ns, "max_ts", CAT_I64),
                        COL(cat_segment, durable_len, "durable_len", CAT_U64),
                        COL(cat_segment, nblocks, "nblocks", CAT_U32),
                        COL(cat_segment, chain_crc, "chain_crc", CAT_U32),
                        COL(cat_segment, last_section, "last_section", CAT_U64),
                        COL(cat_segment, live_msgs, "live_msgs", CAT_U64),
                        COL(cat_segment, live_bytes, "live_bytes", CAT_U64),
                        COL(cat_segment, min_expiry_ns, "min_expiry", CAT_I64),
                        COL(cat_segment, dict_id, "dict_id", CAT_U32),
                        COL(cat_segment, wrapped_dek, "wrapped_dek", CAT_BLOB)}},
    [CAT_T_SEGDEL] = {"segdel",
                      3,
                      4,
                      {COL(cat_segdel, gid, "gid", CAT_U32),
                       COL(cat_segdel, segno, "segno", CAT_U64),
                       COL(cat_segdel, part, "part", CAT_U32),
                       COL(cat_segdel, runs, "runs", CAT_BLOB)}},
    [CAT_T_PENDING_PURGE] = {"pending_purge",
                             2,
                             4,
                             {COL(cat_pending_purge, gid, "gid", CAT_U32),
                              COL(cat_pending_purge, lsn, "lsn", CAT_U64),
                              COL(cat_pending_purge, filter, "filter", CAT_BLOB),
                              COL(cat_pending_purge, hi_seq, "hi_seq", CAT_U64)}},
    [CAT_T_LANE] = {"lane",
                    1,
                    3,
                    {COL(cat_lane, id, "id", CAT_U32),
                     COL(cat_lane, checkpoint_lsn, "checkpoint_lsn", CAT_U64),
                     COL(cat_lane, end_lsn, "end_lsn", CAT_U64)}},
    [CAT_T_DAMAGE] = {"damage",
                      3,
                      6,
                      {COL(cat_damage, gid, "gid", CAT_U32), COL(cat_damage, lo, "lo", CAT_U64),
                       COL(cat_damage, hi, "hi", CAT_U64),
                       COL(cat_damage, cause, "cause", CAT_TEXT),
                       COL(cat_damage, found_ns, "found_ns", CAT_I64),
                       COL(cat_damage, state, "state", CAT_U32)}},
};

const struct cat_table_def *cat_table_def(unsigned table)
{
    return table >= CAT_T_STORE && table < CAT_T_COUNT ? &defs[table] : NULL;
}

static bool kind_is_bytes(enum cat_kind kind)
{
    return kind == CAT_TEXT || kind == CAT_BLOB || kind == CAT_UUID;
}

/* --- buffer ----------------------------------------------------------------------------------- */
bool cat_buf_reserve(struct cat_buf *b, size_t more)
{
    if (more > CAT_ROW_BYTES_MAX + KIB || b->len > SIZE_MAX / 4) {
        return false;
    }
    if (b->cap - b->len >= more) {
        return true;
    }
    size_t cap = b->cap + b->cap / 2;
    if (cap < b->len + more) {
        cap = b->len + more;
    }
    if (cap < 512) {
        cap = 512;
    }
    uint8_t *p = base_try_realloc(b->data, cap);
    if (p == NULL) {
        return false;
    }
    b->data = p;
    b->cap = cap;
    return true;
}

void cat_buf_fini(struct cat_buf *b)
{
    base_free(b->data);
    memset(b, 0, sizeof(*b));
}

/* --- encode ----------------------------------------------------------------------------------- */
static uint32_t row_crc(const uint8_t *raw, size_t payload_len)
{
    uint32_t crc = crc32c(0, raw, 8);
    return crc32c(crc, raw + 12, 4 + payload_len);
}

enum st cat_row_encode(struct cat_buf *b, enum cat_table table, enum cat_op op,
                       const struct cat_cell *cells, unsigned ncols)
{
    const struct cat_table_def *def = &defs[table];
    size_t need = CAT_ROW_HEAD;

    ASSERT(table >= CAT_T_STORE && table < CAT_T_COUNT);
    ASSERT(ncols == (op == CAT_OP_PUT ? def->ncols : def->nkeys));
    for (unsigned i = 0; i < ncols; i++) {
        if (cells[i].is_bytes && cells[i].len > CAT_ROW_BYTES_MAX - need) {
            return ST_TOOBIG;
        }
        need += 10 + (cells[i].is_bytes ? cells[i].len : 0);
    }
    if (need > CAT_ROW_BYTES_MAX) {
        return ST_TOOBIG;
    }
    if (!cat_buf_reserve(b, need)) {
        return ST_NOMEM;
    }
    uint8_t *raw = b->data + b->len;
    uint8_t *p = raw + CAT_ROW_HEAD;
    size_t key_len = 0;
    for (unsigned i = 0; i < ncols; i++) {
        const struct cat_cell *c = &cells[i];
        if (!c->is_bytes) {
            p += varint_put(p, c->u);
        } else if (c->p == NULL) {
            p += varint_put(p, 0);
        } else {
            p += varint_put(p, (uint64_t)c->len + 1);
            memcpy(p, c->p, c->len);
            p += c->len;
        }
        if (i + 1 == def->nkeys) {
            key_len = (size_t)(p - raw) - CAT_ROW_HEAD;
        }
    }
    size_t len = (size_t)(p - raw) - CAT_ROW_HEAD;
    raw[0] = (uint8_t)table;
    raw[1] = (uint8_t)op;
    raw[2] = (uint8_t)ncols;
    raw[3] = 0;
    put_u32le(raw + 4, (uint32_t)len);
    put_u32le(raw + 12, (uint32_t)key_len);
    put_u32le(raw + 8, row_crc(raw, len));
    b->len += CAT_ROW_HEAD + len;
    return ST_OK;
}

static void cell_of(const struct cat_col *col, const void *row, struct cat_cell *out)
{
    const uint8_t *at = (const uint8_t *)row + col->offset;
    uint32_t u32;

    *out = (struct cat_cell){.is_bytes = kind_is_bytes(col->kind)};
    switch (col->kind) {
    case CAT_U32:
        memcpy(&u32, at, sizeof(u32));
        out->u = u32;
        break;
    case CAT_U64:
    case CAT_I64:
        memcpy(&out->u, at, sizeof(out->u));
        break;
    case CAT_UUID:
        out->p = at;
        out->len = 16;
        break;
    case CAT_TEXT:
    case CAT_BLOB: {
        struct cat_bytes b;
        memcpy(&b, at, sizeof(b));
        out->p = b.data;
        out->len = b.data == NULL ? 0 : b.len;
        break;
    }
    }
}

enum st cat_row_encode_struct(struct cat_buf *b, enum cat_table table, enum cat_op op,
                              const void *row)
{
    const struct cat_table_def *def = &defs[table];
    struct cat_cell cells[CAT_COLS_MAX];
    unsigned ncols = op == CAT_OP_PUT ? def->ncols : def->nkeys;

    for (unsigned i = 0; i < ncols; i++) {
        cell_of(&def->cols[i], row, &cells[i]);
    }
    return cat_row_encode(b, table, op, cells, ncols);
}

/* --- decode ----------------------------------------------------------------------------------- */
enum st cat_row_next(const uint8_t *data, size_t len, size_t *pos, struct cat_row *row_out,
                     struct err *err)
{
    size_t left = len - *pos;
    const uint8_t *raw = data + *pos;

    ASSERT(*pos <= len);
    if (left < CAT_ROW_HEAD) {
        return err_set(err, ST_CORRUPT, 0, "row at %zu: cut short", *pos);
    }
    size_t payload = get_u32le(raw + 4), key_len = get_u32le(raw + 12);
    if (payload > left - CAT_ROW_HEAD || key_len > payload) {
        return err_set(err, ST_CORRUPT, 0, "row at %zu: length %zu of %zu", *pos, payload, left);
    }
    if (get_u32le(raw + 8) != row_crc(raw, payload)) {
        return err_set(err, ST_CORRUPT, 0, "row at %zu: checksum does not match", *pos);
    }
    const struct cat_table_def *def = cat_table_def(raw[0]);
    if (def == NULL || (raw[1] != CAT_OP_PUT && raw[1] != CAT_OP_DEL) || raw[2] > def->ncols ||
        raw[3] != 0) {
        return err_set(err, ST_VERSION, 0, "row at %zu: table=%u op=%u columns=%u not known", *pos,
                       raw[0], raw[1], raw[2]);
    }
    if (raw[2] < def->nkeys || (raw[1] == CAT_OP_DEL && raw[2] != def->nkeys)) {
        return err_set(err, ST_CORRUPT, 0, "row at %zu: %u columns", *pos, raw[2]);
    }
    *row_out = (struct cat_row){.table = (enum cat_table)raw[0],
                                .op = (enum cat_op)raw[1],
                                .ncols = raw[2],
                                .raw = raw,
                                .raw_len = CAT_ROW_HEAD + payload,
                                .key_len = key_len};
    *pos += row_out->raw_len;
    return ST_OK;
}

enum st cat_row_cells(const struct cat_row *row, struct cat_cell *cells, struct err *err)
{
    const struct cat_table_def *def = &defs[row->table];
    const uint8_t *p = row->raw + CAT_ROW_HEAD, *end = row->raw + row->raw_len;

    for (unsigned i = 0; i < def->ncols; i++) {
        struct cat_cell *c = &cells[i];
        *c = (struct cat_cell){.is_bytes = kind_is_bytes(def->cols[i].kind)};
        if (i >= row->ncols) {
            continue;
        }
        uint64_t v = 0;
        size_t n = varint_get(p, (size_t)(end - p), &v);
        p += n;
        if (n == 0 || (c->is_bytes && v > (uint64_t)(end - p) + 1)) {
            return err_set(err, ST_CORRUPT, 0, "row of table %s: column %s", def->name,
                           def->cols[i].name);
        }
        if (!c->is_bytes) {
            c->u = v;
        } else if (v != 0) {
            c->p = p;
            c->len = (size_t)(v - 1);
            p += c->len;
        }
    }
    if (p != end) {
        return err_set(err, ST_CORRUPT, 0, "row of table %s: bytes behind the last column",
                       def->name);
    }
    return ST_OK;
}

enum st cat_row_struct(enum cat_table table, const struct cat_cell *cells, union cat_any *out,
                       struct err *err)
{
    const struct cat_table_def *def = &defs[table];

    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < def->ncols; i++) {
        const struct cat_col *col = &def->cols[i];
        const struct cat_cell *c = &cells[i];
        uint8_t *at = (uint8_t *)out + col->offset;
        uint32_t u32 = (uint32_t)c->u;
        struct cat_bytes b = {c->p, c->len};
        switch (col->kind) {
        case CAT_U32:
            if (c->u > UINT32_MAX) {
                return err_set(err, ST_CORRUPT, 0, "row of table %s: column %s is out of range",
                               def->name, col->name);
            }
            memcpy(at, &u32, sizeof(u32));
            break;
        case CAT_U64:
        case CAT_I64:
            memcpy(at, &c->u, sizeof(c->u));
            break;
        case CAT_UUID:
            if (c->p == NULL || c->len != 16) {
                return err_set(err, ST_CORRUPT, 0, "row of table %s: column %s has %zu bytes",
                               def->name, col->name, c->len);
            }
            memcpy(at, c->p, 16);
            break;
        case CAT_TEXT:
        case CAT_BLOB:
            memcpy(at, &b, sizeof(b));
            break;
        }
    }
    return ST_OK;
}
