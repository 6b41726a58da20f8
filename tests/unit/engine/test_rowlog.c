/* The row log as a file: what is written is read; torn, rotten, foreign and hostile bytes are told
 * apart. */
#include "tests/lib/testlib.h"

#include <stdio.h>

#include "engine/base/env_sim.h"
#include "engine/rowlog.h"

#define ROOT "/r"
#define LOG ROOT "/meta.3.log"

static struct env_sim *sim;
static struct rowlog_ident id;
static struct rowlog rl;

static void add_row(struct cat_buf *b, uint32_t lane, uint64_t v)
{
    struct cat_lane row = {.id = lane, .checkpoint_lsn = v};
    assert_int_equal(cat_row_encode_struct(b, CAT_T_LANE, CAT_OP_PUT, &row), ST_OK);
}

static int setup(void **state)
{
    struct err err;
    struct rowlog_dump d;
    struct cat_buf b = {0};
    (void)state;
    sim = env_sim_create(test_seed());
    id = (struct rowlog_ident){
        .env = env_sim_env(sim), .root = ROOT, .store_uuid = {7}, .crc_seed = 99};
    TEST_OK(env_mkdir(id.env, ROOT, &err), &err);
    TEST_OK(env_dirsync(id.env, "/", &err), &err);
    TEST_OK(rowlog_dump_begin(&d, &id, 3, 10, 1, &err), &err);
    for (uint32_t i = 0; i < 40; i++) {
        b.len = 0;
        add_row(&b, i, i);
        TEST_OK(rowlog_dump_row(&d, b.data, b.len, &err), &err);
    }
    TEST_OK(rowlog_dump_finish(&d, &rl, &err), &err);
    TEST_OK(env_dirsync(id.env, ROOT, &err), &err);
    cat_buf_fini(&b);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rowlog_close(&rl);
    env_sim_destroy(sim);
    return 0;
}

/* Appends a batch of n rows that all carry the generation. */
static enum st append(unsigned n, struct err *err)
{
    struct cat_txn *txn = cat_txn_create();
    struct cat_row_ref *refs;
    size_t nrefs, bytes;
    for (unsigned i = 0; i < n; i++) {
        cat_put_lane(txn, &(struct cat_lane){.id = i, .checkpoint_lsn = rl.last_generation + 1});
    }
    TEST_OK(cat_txns_sort(&txn, 1, &refs, &nrefs, &bytes, err), err);
    enum st st = rowlog_append(&rl, refs, nrefs, bytes, err);
    base_free(refs);
    cat_txn_destroy(txn);
    return st;
}

static enum st count_row(void *arg, const struct cat_row *row, struct err *err)
{
    (void)row;
    (void)err;
    *(unsigned *)arg += 1;
    return ST_OK;
}

static void test_write_read(void **state)
{
    (void)state;
    struct rowlog_scan s;
    struct err err;
    unsigned rows = 0;
    for (unsigned i = 0; i < 5; i++) {
        TEST_OK(append(i * 100, &err), &err);
    }
    TEST_OK(rowlog_scan(&id, 3, &s, &err), &err);
    assert_true(s.header_ok);
    assert_true(s.nbatches == 6 && s.nchain == 6);
    assert_true(s.bad_off == 0 && s.tail_off == 0 && s.pad_off == 0);
    assert_int_equal(s.batches[5].generation, 15);
    for (size_t i = 0; i < s.nbatches; i++) {
        TEST_OK(rowlog_read_batch(&id, &s, i, count_row, &rows, &err), &err);
    }
    assert_int_equal(rows, 40 + 100 + 200 + 300 + 400);
    rowlog_close(&rl);
    TEST_OK(rowlog_open(&id, &s, &rl, &err), &err);
    rowlog_scan_fini(&s);
    TEST_OK(append(3, &err), &err);
    TEST_OK(rowlog_scan(&id, 3, &s, &err), &err);
    assert_int_equal(s.nchain, 7);
    rowlog_scan_fini(&s);
}

static void test_undo(void **state)
{
    (void)state;
    struct rowlog_scan s;
    struct err err;
    TEST_OK(append(5, &err), &err);
    TEST_OK(append(500, &err), &err);
    TEST_OK(rowlog_undo(&rl, &err), &err);
    assert_int_equal(rl.last_generation, 11);
    TEST_OK(rowlog_scan(&id, 3, &s, &err), &err);
    assert_int_equal(s.nchain, 2);
    rowlog_scan_fini(&s);
    TEST_OK(append(1, &err), &err);
    env_sim_power_loss(sim, 5);
    TEST_OK(rowlog_scan(&id, 3, &s, &err), &err);
    assert_int_equal(s.nchain, 3);
    assert_int_equal(s.batches[2].nrows, 1);
    rowlog_scan_fini(&s);
}

/* Each byte of a file of several batches: the damage is seen, and no other batch is lost to it. */
static void test_flips(void **state)
{
    (void)state;
    struct rowlog_scan s;
    struct err err;
    for (unsigned i = 0; i < 4; i++) {
        TEST_OK(append(10 + i * 70, &err), &err);
    }
    uint64_t end = rl.end_off;
    struct env_sim_disk *d = env_sim_disk_save(sim);
    for (uint64_t off = 0; off < end; off += 3) {
        env_sim_disk_load(sim, d);
        assert_int_equal(env_sim_flip_bit(sim, LOG, off, off % 8), ST_OK);
        TEST_OK(rowlog_scan(&id, 3, &s, &err), &err);
        bool seen =
            !s.header_ok || s.bad_off != 0 || s.tail_off != 0 || s.pad_off != 0 || s.nchain != 5;
        if (!seen) {
            fail_msg("flip at %llu was not seen", (unsigned long long)off);
        }
        assert_true(s.nbatches >= 4);
        rowlog_scan_fini(&s);
    }
    env_sim_disk_free(d);
}

static void test_not_ours(void **state)
{
    (void)state;
    struct rowlog_scan s;
    struct err err;
    struct rowlog_ident other = id;
    other.store_uuid[0] = 8;
    TEST_ST(rowlog_scan(&other, 3, &s, &err), ST_FOREIGN);
    other = id;
    other.crc_seed = 1; /* the batches of a store with another seed */
    TEST_OK(rowlog_scan(&other, 3, &s, &err), &err);
    assert_int_equal(s.nbatches, 0);
    rowlog_scan_fini(&s);
    TEST_ST(rowlog_scan(&id, 4, &s, &err), ST_NOTFOUND);
    /* renamed to another number */
    TEST_OK(env_rename(id.env, LOG, ROOT "/meta.4.log", &err), &err);
    TEST_ST(rowlog_scan(&id, 4, &s, &err), ST_FOREIGN);
}

static void note(void *arg, uint64_t n)
{
    *(uint64_t *)arg = *(uint64_t *)arg * 100 + n;
}

static void test_names(void **state)
{
    (void)state;
    struct err err;
    struct env_file *f;
    uint64_t found = 0;
    const char *others[] = {"/r/meta.03.log",    "/r/meta.log", "/r/meta.x.log",
                            "/r/meta.3.log.tmp", "/r/meta.db",  "/r/xmeta.9.log",
                            "/r/meta.-1.log"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        TEST_OK(env_open(id.env, others[i], ENV_RDWR | ENV_CREATE, &f, &err), &err);
        env_close(id.env, f);
    }
    TEST_OK(rowlog_list(id.env, ROOT, note, &found, &err), &err);
    assert_int_equal(found, 3);
}

/* Valid checksums over bad content: rows of any bytes are refused or decoded, never trusted. */
static void test_hostile_rows(void **state)
{
    (void)state;
    struct prng p = {test_seed()};
    uint8_t raw[200];
    unsigned good = 0;
    for (unsigned i = 0; i < 200000; i++) {
        struct cat_row row;
        struct cat_cell cells[CAT_COLS_MAX];
        union cat_any any;
        size_t pos = 0, len = CAT_ROW_HEAD + prng_below(&p, 60);
        for (size_t k = 0; k < len; k++) {
            raw[k] = prng_below(&p, 3) == 0 ? (uint8_t)prng_next(&p) : (uint8_t)prng_below(&p, 4);
        }
        raw[0] = (uint8_t)prng_below(&p, 14);
        raw[1] = (uint8_t)prng_below(&p, 3);
        raw[2] = (uint8_t)prng_below(&p, 22);
        raw[3] = 0;
        put_u32le(raw + 4, (uint32_t)(len - CAT_ROW_HEAD));
        put_u32le(raw + 12, (uint32_t)prng_below(&p, 8));
        put_u32le(raw + 8, crc32c(crc32c(0, raw, 8), raw + 12, len - 12));
        if (cat_row_next(raw, len, &pos, &row, NULL) == ST_OK &&
            cat_row_cells(&row, cells, NULL) == ST_OK) {
            good += cat_row_struct(row.table, cells, &any, NULL) == ST_OK;
        }
    }
    assert_true(good > 5);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_write_read), T(test_undo),  T(test_flips),
                                       T(test_not_ours),   T(test_names), T(test_hostile_rows)};
    return cmocka_run_group_tests_name("rowlog", tests, NULL, NULL);
}
