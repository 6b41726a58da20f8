/* The catalogue on the simulated disk: rows in and out, what is refused, the meta task, full and
 * failing disks. */
#include "tests/lib/cattest.h"
#include "engine/catalogue_priv.h"

#include <stdio.h>
#include <stdlib.h>

static struct ct t;

static int setup(void **state)
{
    (void)state;
    ct_init(&t, test_seed());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ct_fini(&t);
    return 0;
}

static void flip(const char *name, uint64_t off)
{
    char path[64];
    (void)snprintf(path, sizeof(path), CT_ROOT "/%s", name);
    assert_int_equal(env_sim_flip_bit(t.sim, path, off, 3), ST_OK);
}

static bool exists(const char *path)
{
    uint64_t size;
    return env_sim_file_size(t.sim, path, &size) == ST_OK;
}

static void test_fresh(void **state)
{
    (void)state;
    struct cat_state cs;
    struct err err;
    TEST_ST(ct_open(&t, false, &err), ST_NOTFOUND);
    ct_open_ok(&t, true);
    cat_state_get(t.cat, &cs);
    assert_int_equal(cs.generation, 1);
    assert_int_equal(cs.next_gid, 1);
    assert_true(cs.fresh);
    assert_false(cs.clean);
    ct_close(&t, true);
    assert_true(env_sim_all_synced(t.sim, CT_ROOT "/meta.db"));
    ct_open_ok(&t, false);
    cat_state_get(t.cat, &cs);
    assert_int_equal(cs.generation, 1);
    assert_false(cs.fresh);
    assert_true(cs.clean);
}

static void test_rows_survive(void **state)
{
    (void)state;
    struct cat_state cs;
    struct ct_counts n;
    struct prng p = {test_seed() + 1};
    ct_open_ok(&t, true);
    for (unsigned i = 0; i < 60; i++) {
        struct cat_txn *txn = ct_random_txn(&p, 1 + (unsigned)prng_below(&p, 12), 6000);
        assert_int_equal(ct_commit_ok(&t, txn), i + 2);
        uint64_t before = ct_digest(t.cat);
        bool clean = prng_below(&p, 2) == 0;
        if (prng_below(&p, 2) == 0) {
            ct_close(&t, clean);
            ct_open_ok(&t, false);
            cat_state_get(t.cat, &cs);
            assert_int_equal(cs.generation, i + 2);
            assert_int_equal(cs.clean, clean);
            assert_int_equal(cat_incidents(t.cat, NULL, NULL), 0);
            assert_int_equal(ct_digest(t.cat), before);
        }
    }
    ct_count(t.cat, &n);
    assert_true(n.streams + n.tombstones + n.consumers + n.consumer_ckpts + n.segments > 0);
}

struct seen {
    unsigned n;
    struct cat_segment seg;
    struct cat_stream stream;
    char name[32];
};

static enum st see_segment(void *arg, const struct cat_segment *row, struct err *err)
{
    struct seen *s = arg;
    (void)err;
    s->n++;
    s->seg = *row;
    return ST_OK;
}

static enum st see_stream(void *arg, const struct cat_stream *row, struct err *err)
{
    struct seen *s = arg;
    (void)err;
    s->n++;
    s->stream = *row;
    (void)snprintf(s->name, sizeof(s->name), "%.*s", (int)row->name.len,
                   (const char *)row->name.data);
    return ST_OK;
}

static void test_every_value(void **state)
{
    (void)state;
    struct err err;
    struct seen seen = {0};
    struct cat_segment seg = {.gid = UINT32_MAX,
                              .segno = UINT64_MAX,
                              .gen = 3,
                              .seg_uuid = {0xff, 0, 1},
                              .state = 1,
                              .first_seq = 1ull << 63,
                              .min_ts_ns = INT64_MIN,
                              .max_ts_ns = INT64_MAX,
                              .chain_crc = UINT32_MAX,
                              .live_bytes = UINT64_MAX,
                              .min_expiry_ns = -1,
                              .wrapped_dek = {"", 0}};
    ct_open_ok(&t, true);
    struct cat_txn *txn = cat_txn_create();
    cat_put_segment(txn, &seg);
    ct_put_stream(txn, 7, "a name");
    ct_commit_ok(&t, txn);
    TEST_OK(cat_load(t.cat, &(struct cat_loader){.segment = see_segment}, &seen, &err), &err);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.seg.gid, UINT32_MAX);
    assert_true(seen.seg.segno == UINT64_MAX && seen.seg.first_seq == 1ull << 63);
    assert_true(seen.seg.min_ts_ns == INT64_MIN && seen.seg.max_ts_ns == INT64_MAX);
    assert_memory_equal(seen.seg.seg_uuid, seg.seg_uuid, 16);
    assert_non_null(seen.seg.wrapped_dek.data);
    assert_int_equal(seen.seg.wrapped_dek.len, 0);
    TEST_OK(cat_load(t.cat, &(struct cat_loader){.stream = see_stream}, &seen, &err), &err);
    assert_string_equal(seen.name, "a name");
    assert_true(seen.stream.created_ns == -5);
}

/* A dropped stream's name is free for another gid at once, in either order of the calls; two live
 * ones never share. */
static void test_names(void **state)
{
    (void)state;
    struct err err;
    struct ct_counts n;
    uint64_t gen;
    ct_open_ok(&t, true);
    struct cat_txn *txn = cat_txn_create();
    ct_put_stream(txn, 1, "A");
    ct_commit_ok(&t, txn);
    uint64_t before = ct_digest(t.cat);

    txn = cat_txn_create();
    ct_put_stream(txn, 2, "A");
    TEST_ST(cat_commit(t.cat, txn, &gen, &err), ST_EXISTS);
    cat_txn_destroy(txn);
    assert_int_equal(ct_digest(t.cat), before);
    assert_int_equal(cat_generation(t.cat), 2);

    txn = cat_txn_create();
    ct_put_stream(txn, 2, "A");
    cat_put_stream(txn, &(struct cat_stream){.gid = 1, .account = {"$G", 2}, .drop_lsn = 9});
    assert_int_equal(ct_commit_ok(&t, txn), 3);
    ct_count(t.cat, &n);
    assert_true(n.streams == 1 && n.tombstones == 1);
    ct_abandon(&t);
    ct_open_ok(&t, false);
    ct_count(t.cat, &n);
    assert_true(n.streams == 1 && n.tombstones == 1);
    assert_int_equal(cat_incidents(t.cat, NULL, NULL), 0);
}

static void test_last_call_wins(void **state)
{
    (void)state;
    struct ct_counts n;
    struct cat_state cs;
    ct_open_ok(&t, true);
    struct cat_txn *txn = cat_txn_create();
    ct_put_stream(txn, 1, "A");
    cat_del_stream(txn, 1);
    ct_put_stream(txn, 2, "B");
    cat_del_stream(txn, 3);
    ct_put_stream(txn, 3, "C");
    cat_put_next_gid(txn, 9);
    cat_put_next_gid(txn, 4);
    ct_commit_ok(&t, txn);
    ct_count(t.cat, &n);
    assert_int_equal(n.streams, 2);
    cat_state_get(t.cat, &cs);
    assert_int_equal(cs.next_gid, 9);
    txn = cat_txn_create();
    cat_put_next_gid(txn, 5);
    ct_commit_ok(&t, txn);
    ct_abandon(&t);
    ct_open_ok(&t, false);
    cat_state_get(t.cat, &cs);
    assert_int_equal(cs.next_gid, 9);
}

/* --- refusals --------------------------------------------------------------------------------- */
static void test_data_without_catalogue_is_refused(void **state)
{
    (void)state;
    struct err err;
    ct_open_ok(&t, true);
    ct_close(&t, true);
    TEST_OK(env_unlink(t.env, CT_ROOT "/meta.db", &err), &err);
    TEST_OK(env_unlink(t.env, CT_ROOT "/meta.1.log", &err), &err);
    TEST_OK(env_mkdir(t.env, CT_ROOT "/s", &err), &err);
    TEST_OK(env_mkdir(t.env, CT_ROOT "/s/00000001", &err), &err);
    TEST_ST(ct_open(&t, true, &err), ST_CORRUPT);
    assert_non_null(strstr(err.msg, "s/00000001"));
    assert_false(exists(CT_ROOT "/meta.db"));
    assert_false(exists(CT_ROOT "/meta.1.log"));
    TEST_OK(env_rmdir(t.env, CT_ROOT "/s/00000001", &err), &err);
    ct_open_ok(&t, true);
}

static void test_foreign_and_newer(void **state)
{
    (void)state;
    struct err err;
    uint8_t page[4096];
    ct_open_ok(&t, true);
    ct_close(&t, true);
    /* another store's STORE beside our catalogue */
    uint8_t mine[16];
    memcpy(mine, t.ident.store_uuid, 16);
    uint8_t other[16] = {1};
    struct cat_opts opts = {.root = CT_ROOT, .store_uuid = other, .crc_seed = 1, .create = true};
    uint64_t ops = env_sim_ops(t.sim);
    TEST_ST(cat_open(t.env, &opts, &t.cat, &err), ST_FOREIGN);
    assert_int_equal(env_sim_ops(t.sim), ops); /* nothing was altered */
    TEST_OK(env_unlink(t.env, CT_ROOT "/meta.1.log", &err), &err);
    TEST_ST(cat_open(t.env, &opts, &t.cat, &err), ST_FOREIGN);
    assert_non_null(strstr(err.msg, "meta.db"));
    opts = (struct cat_opts){.root = CT_ROOT, .store_uuid = mine, .crc_seed = t.ident.crc_seed};
    /* a row log of a newer version */
    memset(page, 0, sizeof(page));
    memcpy(page, "MRWL", 4);
    put_u32le(page + 4, 2);
    put_u32le(page + 4092, crc32c(0, page, 4092));
    struct env_file *f;
    TEST_OK(env_open(t.env, CT_ROOT "/meta.7.log", ENV_RDWR | ENV_CREATE, &f, &err), &err);
    TEST_OK(env_pwrite(t.env, f, page, sizeof(page), 0, &err), &err);
    env_close(t.env, f);
    TEST_ST(cat_open(t.env, &opts, &t.cat, &err), ST_VERSION);
    assert_non_null(strstr(err.msg, "meta.7.log"));
}

static void test_both_damaged_is_refused(void **state)
{
    (void)state;
    struct err err;
    ct_open_ok(&t, true);
    struct cat_txn *txn = cat_txn_create();
    ct_put_stream(txn, 1, "A");
    ct_commit_ok(&t, txn);
    ct_close(&t, true);
    flip("meta.db", 5000);
    flip("meta.db", 100);
    flip("meta.1.log", 4096 + 40);
    uint64_t ops = env_sim_ops(t.sim);
    TEST_ST(ct_open(&t, true, &err), ST_CORRUPT);
    assert_int_equal(env_sim_ops(t.sim), ops);
}

static void test_against_journal(void **state)
{
    (void)state;
    struct err err;
    ct_open_ok(&t, true);
    TEST_OK(cat_check_against_journal(t.cat, false, 0, false, &err), &err);
    TEST_OK(cat_check_against_journal(t.cat, true, 1, false, &err), &err);
    TEST_ST(cat_check_against_journal(t.cat, true, 5, false, &err), ST_MISMATCH);
    assert_non_null(strstr(err.msg, "generation 1 "));
    assert_non_null(strstr(err.msg, "generation 5"));
    assert_int_equal(cat_incidents(t.cat, NULL, NULL), 0);
    TEST_OK(cat_check_against_journal(t.cat, true, 5, true, &err), &err);
    assert_int_equal(cat_incidents(t.cat, NULL, NULL), 1);
}

/* --- compaction, WAL -------------------------------------------------------------------------- */
static void test_log_compaction(void **state)
{
    (void)state;
    t.wal_bytes_max = 100000;
    t.log_bytes_min = 60000;
    ct_open_ok(&t, true);
    struct prng p = {test_seed() + 2};
    for (unsigned i = 0; i < 80; i++) {
        ct_commit_ok(&t, ct_random_txn(&p, 6, 3000));
    }
    uint64_t digest = ct_digest(t.cat), size = 0;
    assert_false(exists(CT_ROOT "/meta.1.log"));
    ct_abandon(&t);
    unsigned logs = 0;
    for (unsigned n = 1; n < 40; n++) {
        char path[64];
        (void)snprintf(path, sizeof(path), CT_ROOT "/meta.%u.log", n);
        logs += exists(path);
    }
    assert_true(logs >= 1 && logs <= 2);
    assert_int_equal(env_sim_file_size(t.sim, CT_ROOT "/meta.db-wal", &size), ST_OK);
    assert_true(size < 300000);
    ct_open_ok(&t, false);
    assert_int_equal(ct_digest(t.cat), digest);
    assert_int_equal(cat_incidents(t.cat, NULL, NULL), 0);
}

/* --- either copy alone ------------------------------------------------------------------------ */
static uint64_t fill(void)
{
    struct prng p = {test_seed() + 3};
    ct_open_ok(&t, true);
    for (unsigned i = 0; i < 12; i++) {
        ct_commit_ok(&t, ct_random_txn(&p, 8, 2000));
    }
    return ct_digest(t.cat);
}

static void expect(uint64_t digest, size_t incidents)
{
    struct cat_state cs;
    ct_open_ok(&t, false);
    cat_state_get(t.cat, &cs);
    assert_int_equal(cs.generation, 13);
    assert_int_equal(ct_digest(t.cat), digest);
    assert_int_equal(cat_incidents(t.cat, NULL, NULL), incidents);
    ct_commit_ok(&t, cat_txn_create());
    ct_close(&t, true);
    ct_open_ok(&t, false);
    assert_int_equal(ct_digest(t.cat), digest);
    assert_int_equal(cat_incidents(t.cat, NULL, NULL), 0);
}

static void test_meta_missing(void **state)
{
    (void)state;
    struct err err;
    uint64_t digest = fill();
    ct_abandon(&t);
    TEST_OK(env_unlink(t.env, CT_ROOT "/meta.db", &err),
            &err); /* its WAL stays, and must not be believed */
    expect(digest, 1);
}

static void test_meta_empty(void **state)
{
    (void)state;
    struct err err;
    struct env_file *f;
    uint64_t digest = fill();
    ct_close(&t, true);
    TEST_OK(env_open(t.env, CT_ROOT "/meta.db", ENV_RDWR, &f, &err), &err);
    TEST_OK(env_truncate(t.env, f, 0, &err), &err);
    env_close(t.env, f);
    uint64_t ops = env_sim_ops(t.sim); /* no crash of ours leaves it so: refused, nothing altered */
    struct cat_opts opts = {
        .root = CT_ROOT, .store_uuid = t.ident.store_uuid, .crc_seed = t.ident.crc_seed};
    TEST_ST(cat_open(t.env, &opts, &t.cat, &err), ST_FOREIGN);
    assert_int_equal(env_sim_ops(t.sim), ops);
    assert_non_null(strstr(err.msg, "meta.db is empty"));
    TEST_OK(env_unlink(t.env, CT_ROOT "/meta.db", &err), &err); /* what the message advises */
    expect(digest, 1);
}

static void test_meta_cut_short(void **state)
{
    (void)state;
    struct err err;
    struct env_file *f;
    uint64_t digest = fill();
    ct_close(&t, true);
    TEST_OK(env_open(t.env, CT_ROOT "/meta.db", ENV_RDWR, &f, &err), &err);
    TEST_OK(env_truncate(t.env, f, 50, &err), &err);
    env_close(t.env, f);
    expect(digest, 1);
}

static void test_log_missing(void **state)
{
    (void)state;
    struct err err;
    uint64_t digest = fill();
    ct_abandon(&t);
    TEST_OK(env_unlink(t.env, CT_ROOT "/meta.1.log", &err), &err);
    expect(digest, 1);
}

static void test_wal_missing(void **state)
{
    (void)state;
    struct err err;
    uint64_t digest = fill();
    ct_abandon(&t);
    TEST_OK(env_unlink(t.env, CT_ROOT "/meta.db-wal", &err), &err);
    expect(digest, 1);
}

struct file {
    uint8_t *data; /* owned */
    uint64_t size;
};

static struct file file_take(const char *path)
{
    struct file f = {0};
    assert_int_equal(env_sim_file_size(t.sim, path, &f.size), ST_OK);
    f.data = base_malloc(f.size + 1);
    assert_int_equal(env_sim_file_read(t.sim, path, 0, f.data, f.size), ST_OK);
    return f;
}

static void file_give(const char *path, struct file *f)
{
    struct err err;
    struct env_file *h;
    TEST_OK(env_open(t.env, path, ENV_RDWR | ENV_CREATE, &h, &err), &err);
    TEST_OK(env_truncate(t.env, h, 0, &err), &err);
    if (f->size > 0) {
        TEST_OK(env_pwrite(t.env, h, f->data, f->size, 0, &err), &err);
    }
    TEST_OK(env_datasync(t.env, h, &err), &err);
    env_close(t.env, h);
    base_free(f->data);
}

/* Both copies verify, at one generation, but say different things: the row log is believed, and it
 * is said. */
static void test_copies_differ(void **state)
{
    (void)state;
    (void)fill();
    ct_abandon(&t);
    struct env_sim_disk *d = env_sim_disk_save(t.sim);
    ct_open_ok(&t, false);
    struct cat_txn *txn = cat_txn_create();
    cat_put_lane(txn, &(struct cat_lane){.id = 0, .checkpoint_lsn = 1});
    ct_commit_ok(&t, txn);
    ct_abandon(&t);
    struct file db = file_take(CT_ROOT "/meta.db"), wal = file_take(CT_ROOT "/meta.db-wal");

    env_sim_disk_load(t.sim, d);
    env_sim_disk_free(d);
    ct_open_ok(&t, false);
    txn = cat_txn_create();
    cat_put_lane(txn, &(struct cat_lane){.id = 0, .checkpoint_lsn = 2});
    ct_commit_ok(&t, txn);
    uint64_t digest = ct_digest(t.cat);
    ct_abandon(&t);
    file_give(CT_ROOT "/meta.db", &db);
    file_give(CT_ROOT "/meta.db-wal", &wal);
    ct_open_ok(&t, false);
    assert_int_equal(ct_digest(t.cat), digest);
    assert_int_equal(cat_incidents(t.cat, NULL, NULL), 1);
}

/* --- rot at run time -------------------------------------------------------------------------- */
/* Enough rows that SQLite's cache does not hold them. */
static void fill_big(void)
{
    char name[16];
    ct_open_ok(&t, true);
    for (uint32_t k = 0; k < 4; k++) {
        struct cat_txn *txn = cat_txn_create();
        for (uint32_t i = 1; i <= 2000; i++) {
            (void)snprintf(name, sizeof(name), "S%u", k * 2000 + i);
            ct_put_stream(txn, k * 2000 + i, name);
        }
        ct_commit_ok(&t, txn);
    }
}

static void flip_pages(const char *path, uint64_t from, uint64_t step)
{
    uint64_t size = 0;
    assert_int_equal(env_sim_file_size(t.sim, path, &size), ST_OK);
    for (uint64_t off = from; off < size; off += step) {
        assert_int_equal(env_sim_flip_bit(t.sim, path, off, 1), ST_OK);
    }
}

/* A commit that meets a bad page of meta.db rebuilds it from the row log, and then succeeds. */
static void test_bad_page_at_run_time(void **state)
{
    (void)state;
    struct err err;
    struct ct_counts n;
    fill_big();
    ct_close(&t, true);
    ct_open_ok(&t, false);
    flip_pages(CT_ROOT "/meta.db", 4096 * 30 + 77, 4096);
    TEST_ST(cat_load(t.cat, &(struct cat_loader){.stream = see_stream}, &(struct seen){0}, &err),
            ST_CORRUPT);
    assert_non_null(strstr(err.msg, "meta.db page"));
    struct cat_txn *txn = cat_txn_create();
    for (uint32_t i = 1; i < 8000; i += 50) {
        cat_del_stream(txn, i);
    }
    ct_commit_ok(&t, txn);
    assert_int_equal(cat_incidents(t.cat, NULL, NULL), 1);
    ct_count(t.cat, &n);
    assert_int_equal(n.streams, 8000 - 160);
    ct_abandon(&t);
    env_sim_power_loss(t.sim, 3);
    ct_open_ok(&t, false);
    ct_count(t.cat, &n);
    assert_int_equal(n.streams, 8000 - 160);
    assert_int_equal(cat_incidents(t.cat, NULL, NULL), 0);
}

/* Rot in the WAL does not get a good checksum on its way into meta.db. */
static void test_bad_wal_at_run_time(void **state)
{
    (void)state;
    struct ct_counts n;
    uint64_t gen;
    struct err err;
    t.wal_bytes_max = 64 * MIB;
    fill_big();
    assert_true(meta_vfs_wal_bytes(t.cat->vfs) > 100000);
    t.cat->wal_bytes_max = 200000;
    flip_pages(CT_ROOT "/meta.db-wal", 32 + 24 + 200, 4096 + 24);
    for (uint32_t i = 0; i < 6; i++) {
        struct cat_txn *txn = cat_txn_create();
        for (uint32_t k = 1; k < 8000; k += 9) {
            cat_put_stream_ckpt(txn, &(struct cat_stream_ckpt){.gid = k, .last_seq = i});
        }
        TEST_OK(cat_commit(t.cat, txn, &gen, &err), &err);
        cat_txn_destroy(txn);
    }
    assert_true(cat_incidents(t.cat, NULL, NULL) >= 1);
    ct_count(t.cat, &n);
    assert_int_equal(n.streams, 8000);
    uint64_t digest = ct_digest(t.cat);
    ct_close(&t, true);
    ct_open_ok(&t, false);
    assert_int_equal(ct_digest(t.cat), digest);
    assert_int_equal(cat_incidents(t.cat, NULL, NULL), 0);
}

/* Whatever the state, a reader alters nothing and sees all rows that some copy still has. */
static void test_read_only(void **state)
{
    (void)state;
    struct err err;
    uint64_t gen, digest = fill();
    ct_abandon(&t);
    struct env_sim_disk *d = env_sim_disk_save(t.sim);
    struct cat_opts opts = {.root = CT_ROOT,
                            .store_uuid = t.ident.store_uuid,
                            .crc_seed = t.ident.crc_seed,
                            .read_only = true};
    for (unsigned i = 0; i < 7; i++) {
        env_sim_disk_load(t.sim, d);
        const char *gone[] = {NULL, "/store/meta.db", "/store/meta.1.log", "/store/meta.db-wal"};
        if (i > 0 && i < 4) {
            TEST_OK(env_unlink(t.env, gone[i], &err), &err);
        } else if (i == 4) {
            flip("meta.db", 60);
        } else if (i == 5) {
            flip("meta.1.log", 4096 * 4 + 50);
        } else if (i == 6) {
            flip("meta.db-wal", 32 + 24 + 9);
        }
        uint64_t ops = env_sim_ops(t.sim);
        TEST_OK(cat_open(t.env, &opts, &t.cat, &err), &err);
        assert_true(ct_digest(t.cat) == digest);
        assert_int_equal(cat_generation(t.cat), 13);
        struct cat_txn *txn = cat_txn_create();
        TEST_ST(cat_commit(t.cat, txn, &gen, &err), ST_DENIED);
        cat_txn_destroy(txn);
        ct_close(&t, true);
        assert_int_equal(env_sim_ops(t.sim), ops);
    }
    env_sim_disk_load(t.sim, d);
    env_sim_disk_free(d);
    TEST_OK(env_unlink(t.env, CT_ROOT "/meta.db", &err), &err);
    TEST_OK(env_unlink(t.env, CT_ROOT "/meta.1.log", &err), &err);
    TEST_ST(cat_open(t.env, &opts, &t.cat, &err), ST_NOTFOUND);
}

/* --- faults ----------------------------------------------------------------------------------- */
/* Every single failing call (and the `times` - 1 behind it): the commit survives it, or fails with
 * nothing changed, or says that its outcome is open. What a failed commit wanted to write is never
 * found, even though the next one is another. */
static bool fault_one(const struct env_sim_fault *f, uint64_t seed)
{
    struct prng p = {seed};
    struct err err = {0};
    uint64_t gen = 0, acked, digest;
    bool poisoned = false;

    ct_fini(&t);
    ct_init(&t, seed);
    t.wal_bytes_max = 30000;
    t.log_bytes_min = 20000;
    ct_open_ok(&t, true);
    acked = 1;
    digest = ct_digest(t.cat);
    env_sim_fault(t.sim, f);
    for (unsigned i = 0; i < 10 && !poisoned; i++) {
        struct cat_txn *txn = ct_random_txn(&p, 6, 3000);
        enum st st = cat_commit(t.cat, txn, &gen, &err);
        cat_txn_destroy(txn);
        if (st == ST_OK) {
            assert_true(gen == acked + 1 && gen == cat_generation(t.cat));
            acked = gen;
            digest = t.cat->sql.db != NULL ? ct_digest(t.cat) : 0; /* the next commit repairs it */
        } else if (st == ST_POISONED) {
            poisoned = true;
        } else {
            assert_true(st == ST_IO || st == ST_NOSPACE);
            assert_true(cat_generation(t.cat) == acked);
        }
    }
    uint64_t hits = env_sim_fault_hits(t.sim);
    env_sim_faults_clear(t.sim);
    ct_abandon(&t);
    env_sim_power_loss(t.sim, prng_next(&p));
    ct_open_ok(&t, false);
    gen = cat_generation(t.cat);
    if (poisoned && gen == acked + 1) {
        return true; /* the one in doubt counts */
    }
    assert_int_equal(gen, acked);
    assert_true(digest == 0 || ct_digest(t.cat) == digest);
    return hits != 0;
}

static void fault_sweep(enum env_sim_effect effect, enum st st, unsigned kinds)
{
    for (uint64_t times = 1; times <= 12; times = times * 2 + 1) {
        uint64_t skip = 0;
        struct env_sim_fault f = {.kinds = kinds, .times = times, .effect = effect, .st = st};
        do {
            f.skip = skip++;
        } while (fault_one(&f, test_seed() + skip * 31 + times));
        assert_true(skip >= 5);
    }
}

static void test_write_errors(void **state)
{
    (void)state;
    fault_sweep(ENV_SIM_FAIL_PART, ST_IO, ENV_SIM_BIT(ENV_SIM_WRITE));
}

static void test_sync_errors(void **state)
{
    (void)state;
    fault_sweep(ENV_SIM_FAIL, ST_IO, ENV_SIM_BIT(ENV_SIM_DATASYNC) | ENV_SIM_BIT(ENV_SIM_DIRSYNC));
    fault_sweep(ENV_SIM_FAIL_CACHED, ST_IO, ENV_SIM_BIT(ENV_SIM_DATASYNC));
}

static void test_other_errors(void **state)
{
    (void)state;
    fault_sweep(ENV_SIM_FAIL, ST_IO,
                ENV_SIM_CHANGES & ~(ENV_SIM_BIT(ENV_SIM_WRITE) | ENV_SIM_BIT(ENV_SIM_DATASYNC)));
}

static void test_no_space(void **state)
{
    (void)state;
    fault_sweep(ENV_SIM_FAIL_PART, ST_NOSPACE,
                ENV_SIM_BIT(ENV_SIM_WRITE) | ENV_SIM_BIT(ENV_SIM_FALLOCATE));
}

/* Opening (a kill and two kinds of damage before it) under each failing call: it opens or says why;
 * nothing is lost. */
static void test_faults_while_opening(void **state)
{
    (void)state;
    struct err err;
    uint64_t digest = fill();
    ct_abandon(&t);
    struct env_sim_disk *d = env_sim_disk_save(t.sim);
    for (unsigned damage = 0; damage < 3; damage++) {
        for (unsigned effect = 0; effect < 3; effect++) {
            uint64_t skip = 0, hits;
            do {
                env_sim_disk_load(t.sim, d);
                if (damage == 1) {
                    flip("meta.db", 30);
                } else if (damage == 2) {
                    flip("meta.1.log", 4096 * 3 + 60);
                }
                struct env_sim_fault f = {.skip = skip++,
                                          .times = effect == 2 ? 0 : 1,
                                          .effect = effect == 0 ? ENV_SIM_FAIL_PART : ENV_SIM_FAIL,
                                          .st = effect == 2 ? ST_NOSPACE : ST_IO};
                env_sim_fault(t.sim, &f);
                enum st st = ct_open(&t, false, &err);
                assert_true(st == ST_OK || err.msg[0] != '\0');
                hits = env_sim_fault_hits(t.sim);
                env_sim_faults_clear(t.sim);
                ct_abandon(&t);
                env_sim_power_loss(t.sim, skip);
                ct_open_ok(&t, false);
                assert_int_equal(cat_generation(t.cat), 13);
                assert_true(ct_digest(t.cat) == digest);
                ct_abandon(&t);
            } while (hits != 0);
        }
    }
    env_sim_disk_free(d);
}

/* Out of memory at each allocation that may fail: an error, no leak, nothing lost. */
static void no_memory(void *arg)
{
    struct env_sim_disk *d = arg;
    struct prng p = {9};
    struct err err;
    uint64_t gen;
    env_sim_disk_load(t.sim, d);
    if (ct_open(&t, false, &err) == ST_OK) {
        struct cat_txn *txn = ct_random_txn(&p, 5, 100);
        enum st st = cat_commit(t.cat, txn, &gen, &err);
        assert_true(st == ST_OK || st == ST_NOMEM);
        cat_txn_destroy(txn);
    }
    ct_close(&t, true);
}

static void test_no_memory(void **state)
{
    (void)state;
    (void)fill();
    ct_abandon(&t);
    struct env_sim_disk *d = env_sim_disk_save(t.sim);
    assert_true(test_sweep_alloc(no_memory, d) > 5);
    env_sim_disk_free(d);
}

/* A disk that stays full: commits fail, nothing is lost, and they go on when there is room. */
static void test_full_disk(void **state)
{
    (void)state;
    struct prng p = {test_seed() + 5};
    struct err err;
    uint64_t gen, fails = 0, digest = 0;
    ct_open_ok(&t, true);
    ct_commit_ok(&t, ct_random_txn(&p, 8, 2000));
    digest = ct_digest(t.cat);
    env_sim_set_disk_bytes(t.sim, env_sim_used_bytes(t.sim) + 40000);
    for (unsigned i = 0; i < 500 && fails < 3; i++) {
        struct cat_txn *txn = ct_random_txn(&p, 8, 6000);
        enum st st = cat_commit(t.cat, txn, &gen, &err);
        if (st != ST_OK) {
            TEST_ST(st, ST_NOSPACE);
            fails++;
        } else { /* a smaller one may still fit */
            digest = ct_digest(t.cat);
        }
        if (fails == 3 && st != ST_OK) {
            env_sim_set_disk_bytes(t.sim, 1ull << 33);
            TEST_OK(cat_commit(t.cat, txn, &gen, &err), &err);
            digest = ct_digest(t.cat);
        }
        cat_txn_destroy(txn);
    }
    assert_int_equal(fails, 3);
    ct_abandon(&t);
    env_sim_power_loss(t.sim, 1);
    ct_open_ok(&t, false);
    assert_int_equal(ct_digest(t.cat), digest);
}

/* --- the meta task ---------------------------------------------------------------------------- */
struct done {
    unsigned n;
    uint64_t gen;
    enum st st[128];
};

static void on_done(void *arg, struct cat_txn *txn, enum st st, uint64_t gen, const struct err *err)
{
    struct done *d = arg;
    (void)err;
    assert_true(d->n < ARRAY_LEN(d->st));
    d->st[d->n++] = st;
    if (st == ST_OK) {
        assert_true(gen >= d->gen);
        d->gen = gen;
    }
    cat_txn_destroy(txn);
}

static void test_task(void **state)
{
    (void)state;
    struct err err;
    struct done d = {0};
    struct ct_counts n;
    char name[16];
    ct_open_ok(&t, true);
    struct cat_txn *txn = cat_txn_create();
    assert_int_equal(cat_submit(t.cat, txn, on_done, &d), ST_CLOSED);
    TEST_OK(cat_start(t.cat, &err), &err);
    for (unsigned i = 0; i < CAT_QUEUE_MAX; i++) {
        (void)snprintf(name, sizeof(name), "S%u", i == 9 ? 8 : i); /* one takes another's name */
        ct_put_stream(txn, i + 1, name);
        assert_int_equal(cat_submit(t.cat, txn, on_done, &d), ST_OK);
        txn = cat_txn_create();
    }
    assert_int_equal(cat_submit(t.cat, txn, on_done, &d), ST_AGAIN);
    assert_int_equal(d.n, 0);
    env_sim_run(t.sim, 1000);
    assert_int_equal(d.n, CAT_QUEUE_MAX);
    for (unsigned i = 0; i < d.n; i++) {
        assert_int_equal(d.st[i], i == 9 ? ST_EXISTS : ST_OK);
    }
    assert_int_equal(cat_generation(t.cat), d.gen);
    assert_true(d.gen < CAT_QUEUE_MAX); /* neighbours shared a generation */
    assert_true(exists(CT_ROOT "/ballast"));
    assert_int_equal(cat_submit(t.cat, txn, on_done, &d), ST_OK);
    cat_stop(t.cat);
    assert_int_equal(d.n, CAT_QUEUE_MAX + 1);
    assert_int_equal(d.st[CAT_QUEUE_MAX], ST_CLOSED);
    ct_count(t.cat, &n);
    assert_int_equal(n.streams, CAT_QUEUE_MAX - 1);
    assert_true(cat_ballast_release(t.cat));
    assert_false(cat_ballast_release(t.cat));
    assert_false(exists(CT_ROOT "/ballast"));
}

/* --- verify ----------------------------------------------------------------------------------- */
static void on_finding(void *arg, const char *what, const char *text)
{
    unsigned *n = arg;
    *n += 1;
    if (getenv("MR_LOG") != NULL) {
        printf("finding: %s: %s\n", what, text);
    }
}

static unsigned verify(struct cat_verify_sum *sum)
{
    struct err err = {0};
    unsigned n = 0;
    struct cat_opts opts = {
        .root = CT_ROOT, .store_uuid = t.ident.store_uuid, .crc_seed = t.ident.crc_seed};
    uint64_t ops = env_sim_ops(t.sim);
    TEST_OK(cat_verify(t.env, &opts, on_finding, &n, sum, &err), &err);
    assert_int_equal(env_sim_ops(t.sim), ops);
    assert_int_equal(sum->findings, n);
    return n;
}

static void test_verify(void **state)
{
    (void)state;
    struct cat_verify_sum sum;
    ct_open_ok(&t, true);
    for (unsigned i = 0; i < 6; i++) {
        struct cat_txn *txn = cat_txn_create();
        char name[16];
        (void)snprintf(name, sizeof(name), "S%u", i);
        ct_put_stream(txn, i + 1, name);
        cat_put_stream_ckpt(txn, &(struct cat_stream_ckpt){.gid = i + 1});
        ct_commit_ok(&t, txn);
    }
    ct_abandon(&t);
    assert_int_equal(verify(&sum), 0);
    assert_true(sum.meta_generation == 7 && sum.log_generation == 7);
    assert_true(sum.batches == 7 && sum.streams == 6 && sum.wal_frames > 0);
    ct_open_ok(&t, false);
    ct_close(&t, true);
    assert_int_equal(verify(&sum), 0);
    assert_int_equal(sum.wal_frames, 0);
    struct env_sim_disk *d = env_sim_disk_save(t.sim);
    flip("meta.1.log", 4096 * 3 + 40);
    assert_true(verify(&sum) > 0);
    env_sim_disk_load(t.sim, d);
    flip("meta.db", 4096 * 5 + 1);
    assert_true(verify(&sum) > 0);
    env_sim_disk_load(t.sim, d);
    env_sim_disk_free(d);
    ct_open_ok(&t, false);
    struct cat_txn *txn = cat_txn_create();
    cat_put_consumer(txn, &(struct cat_consumer){.gid = 77, .sub = 1});
    ct_commit_ok(&t, txn);
    ct_close(&t, true);
    assert_int_equal(verify(&sum), 1); /* a consumer of no stream */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_fresh),
        T(test_rows_survive),
        T(test_every_value),
        T(test_names),
        T(test_last_call_wins),
        T(test_data_without_catalogue_is_refused),
        T(test_foreign_and_newer),
        T(test_both_damaged_is_refused),
        T(test_against_journal),
        T(test_log_compaction),
        T(test_meta_missing),
        T(test_meta_empty),
        T(test_meta_cut_short),
        T(test_log_missing),
        T(test_wal_missing),
        T(test_copies_differ),
        T(test_read_only),
        T(test_bad_page_at_run_time),
        T(test_bad_wal_at_run_time),
        T(test_write_errors),
        T(test_sync_errors),
        T(test_other_errors),
        T(test_no_space),
        T(test_faults_while_opening),
        T(test_no_memory),
        T(test_full_disk),
        T(test_task),
        T(test_verify),
    };
    return cmocka_run_group_tests_name("catalogue", tests, NULL, NULL);
}
