/* Transactions of the catalogue: rows encoded as they are put, sorted and thinned when they are
 * committed. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/catalogue_tables.h"

#define TXN_MAGIC 0x6e787443u

struct cat_txn *cat_txn_create(void)
{
    struct cat_txn *txn = base_calloc(1, sizeof(*txn));
    txn->magic = TXN_MAGIC;
    return txn;
}

void cat_txn_destroy(struct cat_txn *txn)
{
    if (txn == NULL) {
        return;
    }
    ASSERT(txn->magic == TXN_MAGIC);
    txn->magic = 0;
    cat_buf_fini(&txn->buf);
    base_free(txn);
}

size_t cat_txn_rows(const struct cat_txn *txn)
{
    return txn->nrows;
}

static void add(struct cat_txn *txn, enum cat_table table, enum cat_op op, const void *row)
{
    ASSERT(txn->magic == TXN_MAGIC);
    enum st st = cat_row_encode_struct(&txn->buf, table, op, row);
    if (st == ST_OK) {
        txn->nrows++;
    }
    txn->st = st_merge(txn->st, st);
}

#define PUT(name, table)                                                                           \
    void cat_put_##name(struct cat_txn *txn, const struct cat_##name *row)                         \
    {                                                                                              \
        add(txn, table, CAT_OP_PUT, row);                                                          \
    }
PUT(account, CAT_T_ACCOUNT)
PUT(stream, CAT_T_STREAM)
PUT(stream_ckpt, CAT_T_STREAM_CKPT)
PUT(consumer, CAT_T_CONSUMER)
PUT(consumer_ckpt, CAT_T_CONSUMER_CKPT)
PUT(segment, CAT_T_SEGMENT)
PUT(segdel, CAT_T_SEGDEL)
PUT(pending_purge, CAT_T_PENDING_PURGE)
PUT(lane, CAT_T_LANE)
PUT(damage, CAT_T_DAMAGE)
#undef PUT

void cat_put_next_gid(struct cat_txn *txn, uint32_t next_gid)
{
    add(txn, CAT_T_STORE, CAT_OP_PUT, &(struct cat_store_row){.id = 1, .next_gid = next_gid});
}

void cat_del_stream(struct cat_txn *txn, uint32_t gid)
{
    add(txn, CAT_T_STREAM, CAT_OP_DEL, &(struct cat_stream){.gid = gid});
}
void cat_del_stream_ckpt(struct cat_txn *txn, uint32_t gid)
{
    add(txn, CAT_T_STREAM_CKPT, CAT_OP_DEL, &(struct cat_stream_ckpt){.gid = gid});
}
void cat_del_consumer(struct cat_txn *txn, uint32_t gid, uint32_t sub)
{
    add(txn, CAT_T_CONSUMER, CAT_OP_DEL, &(struct cat_consumer){.gid = gid, .sub = sub});
}
void cat_del_consumer_ckpt(struct cat_txn *txn, uint32_t gid, uint32_t sub)
{
    add(txn, CAT_T_CONSUMER_CKPT, CAT_OP_DEL, &(struct cat_consumer_ckpt){.gid = gid, .sub = sub});
}
void cat_del_segment(struct cat_txn *txn, uint32_t gid, uint64_t segno)
{
    add(txn, CAT_T_SEGMENT, CAT_OP_DEL, &(struct cat_segment){.gid = gid, .segno = segno});
}
void cat_del_segdel(struct cat_txn *txn, uint32_t gid, uint64_t segno, uint32_t part)
{
    add(txn, CAT_T_SEGDEL, CAT_OP_DEL,
        &(struct cat_segdel){.gid = gid, .segno = segno, .part = part});
}
void cat_del_damage(struct cat_txn *txn, uint32_t gid, uint64_t lo, uint64_t hi)
{
    add(txn, CAT_T_DAMAGE, CAT_OP_DEL, &(struct cat_damage){.gid = gid, .lo = lo, .hi = hi});
}

/* --- sort ------------------------------------------------------------------------------------- */
static int key_cmp(const struct cat_row *a, const struct cat_row *b)
{
    if (a->table != b->table) {
        return a->table < b->table ? -1 : 1;
    }
    if (a->key_len != b->key_len) {
        return a->key_len < b->key_len ? -1 : 1;
    }
    return memcmp(a->raw + CAT_ROW_HEAD, b->raw + CAT_ROW_HEAD, a->key_len);
}

static int by_key(const void *pa, const void *pb)
{
    const struct cat_row_ref *a = pa, *b = pb;
    int c = key_cmp(&a->row, &b->row);
    if (c != 0) {
        return c;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

static int by_phase(const void *pa, const void *pb)
{
    const struct cat_row_ref *a = pa, *b = pb;
    if (a->phase != b->phase) {
        return a->phase < b->phase ? -1 : 1;
    }
    return by_key(pa, pb);
}

static unsigned phase_of(const struct cat_row *row)
{
    struct cat_cell cells[CAT_COLS_MAX];
    if (row->op == CAT_OP_DEL) {
        return 0;
    }
    if (row->table == CAT_T_STREAM && cat_row_cells(row, cells, NULL) == ST_OK &&
        cells[2].p == NULL) {
        return 1; /* a tombstone: its name is free for a later row */
    }
    return 2;
}

/* next_gid of a store row, 0 for any other. */
static uint64_t store_next_gid(const struct cat_row *row)
{
    struct cat_cell cells[CAT_COLS_MAX];
    return row->table == CAT_T_STORE && cat_row_cells(row, cells, NULL) == ST_OK ? cells[1].u : 0;
}

enum st cat_txns_sort(struct cat_txn *const *txns, size_t n, struct cat_row_ref **refs_out,
                      size_t *nrefs_out, size_t *bytes_out, struct err *err)
{
    size_t total = 0, count = 0, kept = 0;

    *refs_out = NULL;
    *nrefs_out = *bytes_out = 0;
    for (size_t i = 0; i < n; i++) {
        ASSERT(txns[i]->magic == TXN_MAGIC);
        if (txns[i]->st != ST_OK) {
            return err_set(err, txns[i]->st, 0, "catalogue row: %s", st_text(txns[i]->st));
        }
        total += txns[i]->nrows;
    }
    struct cat_row_ref *refs = base_try_malloc((total + 1) * sizeof(*refs));
    if (refs == NULL) {
        return err_set(err, ST_NOMEM, 0, "no memory for %zu catalogue rows", total);
    }
    for (size_t i = 0; i < n; i++) {
        const struct cat_buf *b = &txns[i]->buf;
        for (size_t pos = 0; pos < b->len; count++) {
            enum st st = cat_row_next(b->data, b->len, &pos, &refs[count].row, err);
            ASSERT(st == ST_OK && count < total);
            refs[count].index = count;
            refs[count].phase = phase_of(&refs[count].row);
        }
    }
    qsort(refs, count, sizeof(*refs), by_key);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && key_cmp(&refs[i].row, &refs[i + 1].row) == 0) {
            if (store_next_gid(&refs[i].row) > store_next_gid(&refs[i + 1].row)) {
                refs[i + 1] = refs[i]; /* next_gid only rises */
            }
            continue; /* a later call on the same key wins */
        }
        refs[kept++] = refs[i];
    }
    qsort(refs, kept, sizeof(*refs), by_phase);
    for (size_t i = 0; i < kept; i++) {
        *bytes_out += refs[i].row.raw_len;
    }
    *refs_out = refs;
    *nrefs_out = kept;
    return ST_OK;
}
