/* Page checksums, and the VFS under a real SQLite connection on the simulated disk. */
#include "tests/lib/testlib.h"

#include <stdio.h>

#include "engine/base/env_sim.h"
#include "engine/catalogue_sql.h"
#include "engine/meta_vfs.h"

#define DB "/r/meta.db"

static struct env_sim *sim;
static struct env *env;
static struct meta_vfs *vfs;
static struct cat_sql sql;
static const uint8_t uuid[16] = {3};

static void open_sql(void)
{
    struct cat_sql_info info;
    struct err err;
    TEST_OK(cat_sql_open(&sql, env, vfs, DB, uuid, &info, &err), &err);
}

static int setup(void **state)
{
    struct err err;
    (void)state;
    sim = env_sim_create(test_seed());
    env = env_sim_env(sim);
    vfs = meta_vfs_create(env);
    TEST_OK(env_mkdir(env, "/r", &err), &err);
    TEST_OK(cat_sql_build_begin(&sql, env, vfs, DB, 1, uuid, &err), &err);
    TEST_OK(cat_sql_build_finish(&sql, DB, 1, &err), &err);
    open_sql();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    meta_vfs_set_mode(vfs, META_VFS_DEAD);
    cat_sql_close(&sql);
    meta_vfs_destroy(vfs);
    env_sim_destroy(sim);
    return 0;
}

static void write_lanes(uint32_t from, uint32_t to)
{
    struct cat_buf b = {0};
    struct cat_row row;
    struct err err;
    TEST_OK(cat_sql_begin(&sql, &err), &err);
    for (uint32_t i = from; i < to; i++) {
        size_t pos = 0;
        b.len = 0;
        struct cat_lane lane = {.id = i, .end_lsn = i};
        assert_int_equal(cat_row_encode_struct(&b, CAT_T_LANE, CAT_OP_PUT, &lane), ST_OK);
        TEST_OK(cat_row_next(b.data, b.len, &pos, &row, &err), &err);
        TEST_OK(cat_sql_apply(&sql, &row, &err), &err);
    }
    TEST_OK(cat_sql_commit(&sql, &err), &err);
    cat_buf_fini(&b);
}

static void test_every_bit_of_a_page(void **state)
{
    (void)state;
    uint8_t page[META_PAGE];
    for (size_t i = 0; i < sizeof(page); i++) {
        page[i] = (uint8_t)(i * 7);
    }
    meta_page_stamp(page, 9);
    assert_true(meta_page_verify(page, 9));
    assert_false(meta_page_verify(page, 10)); /* a misplaced page */
    for (size_t i = 0; i < sizeof(page) * 8; i++) {
        page[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_false(meta_page_verify(page, 9));
        page[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    memset(page, 0, sizeof(page));
    assert_false(meta_page_verify(page, 1)); /* a page that was lost */
}

static void count(void *arg, uint32_t pgno)
{
    (void)pgno;
    *(unsigned *)arg += 1;
}

/* Every page that reaches meta.db is stamped, 64 bytes stay reserved, and the WAL's frames are read
 * as SQLite does. */
static void test_pages_and_frames(void **state)
{
    (void)state;
    uint64_t pages = 0, frames = 0;
    unsigned bad = 0, seen = 0;
    bool junk = true;
    uint8_t reserved = 0;
    struct err err;
    write_lanes(0, 3000);
    write_lanes(3000, 3100);
    TEST_OK(meta_wal_scan(env, DB "-wal", count, &seen, &frames, &junk, &err), &err);
    assert_true(frames > 10 && seen == frames);
    assert_int_equal(meta_vfs_wal_bytes(vfs), 32 + frames * (24 + 4096));
    assert_false(junk);
    TEST_OK(meta_pages_scan(env, DB, count, &bad, &pages, &err), &err);
    uint64_t before = pages;
    TEST_OK(cat_sql_checkpoint(&sql, &err), &err);
    assert_int_equal(meta_vfs_wal_bytes(vfs), 0);
    TEST_OK(meta_pages_scan(env, DB, count, &bad, &pages, &err), &err);
    assert_true(pages > before);
    assert_int_equal(bad, 0);
    assert_int_equal(env_sim_file_read(sim, DB, 20, &reserved, 1), ST_OK);
    assert_int_equal(reserved, META_PAGE_RESERVED);
    /* a flip in the third frame hides it and all behind it */
    write_lanes(5000, 9000);
    assert_int_equal(env_sim_flip_bit(sim, DB "-wal", 32 + 2 * 4120 + 500, 1), ST_OK);
    TEST_OK(meta_wal_scan(env, DB "-wal", NULL, NULL, &frames, &junk, &err), &err);
    assert_int_equal(frames, 0);
    assert_true(junk);
}

static enum st take_row(void *arg, const struct cat_row *row, struct err *err)
{
    (void)row;
    (void)err;
    *(unsigned *)arg += 1;
    return ST_OK;
}

static void test_bad_page_is_named(void **state)
{
    (void)state;
    struct err err;
    unsigned rows = 0;
    write_lanes(0, 20000);
    TEST_OK(cat_sql_checkpoint(&sql, &err), &err);
    cat_sql_close(&sql);
    assert_int_equal(env_sim_flip_bit(sim, DB, 4096 * 40 + 9, 0), ST_OK);
    open_sql();
    TEST_ST(cat_sql_each(&sql, CAT_T_LANE, take_row, &rows, &err), ST_CORRUPT);
    assert_string_equal(err.msg, "meta.db page 41: checksum does not match");
}

/* A rollback journal that somebody left must not be played back, nor touched. */
static void test_stray_journal(void **state)
{
    (void)state;
    struct env_file *f;
    struct err err;
    uint64_t size;
    cat_sql_close(&sql);
    TEST_OK(env_open(env, DB "-journal", ENV_RDWR | ENV_CREATE, &f, &err), &err);
    TEST_OK(env_pwrite(env, f, "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7\0\0\0\1", 12, 0, &err), &err);
    env_close(env, f);
    open_sql();
    write_lanes(0, 10);
    assert_int_equal(env_sim_file_size(sim, DB "-journal", &size), ST_OK);
    assert_int_equal(size, 12);
}

static void test_readonly(void **state)
{
    (void)state;
    struct err err;
    unsigned rows = 0;
    write_lanes(0, 100);
    cat_sql_close(&sql);
    uint64_t ops = env_sim_ops(sim);
    meta_vfs_set_mode(vfs, META_VFS_READONLY);
    open_sql();
    TEST_OK(cat_sql_each(&sql, CAT_T_LANE, take_row, &rows, &err), &err);
    assert_int_equal(rows, 100);
    TEST_OK(cat_sql_integrity(&sql, &err), &err);
    assert_true(cat_sql_begin(&sql, &err) != ST_OK ||
                cat_sql_set_state(&sql, 9, false, &err) != ST_OK ||
                cat_sql_commit(&sql, &err) != ST_OK);
    cat_sql_rollback(&sql);
    cat_sql_close(&sql);
    assert_int_equal(env_sim_ops(sim), ops);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_every_bit_of_a_page), T(test_pages_and_frames),
                                       T(test_bad_page_is_named), T(test_stray_journal),
                                       T(test_readonly)};
    return cmocka_run_group_tests_name("meta_vfs", tests, NULL, NULL);
}
