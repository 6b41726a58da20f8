/* STORE and STORE.2: either serves, the other is repaired; what is not ours is refused and left
 * alone. */
#include "tests/lib/testlib.h"

#include "engine/base/env_sim.h"
#include "engine/base/log.h"
#include "engine/store_file.h"

#define ROOT "/r"

static struct env_sim *sim;
static struct env *env;

static void quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg;
    (void)level;
    (void)line;
    (void)len;
}

static int setup(void **state)
{
    struct err err;
    (void)state;
    log_set_sink(quiet, NULL);
    sim = env_sim_create(test_seed());
    env = env_sim_env(sim);
    TEST_OK(env_mkdir(env, ROOT, &err), &err);
    TEST_OK(env_dirsync(env, "/", &err), &err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    env_sim_destroy(sim);
    return 0;
}

static enum st open_store(bool create, struct store_ident *id, enum store_file_note *note,
                          struct err *err)
{
    memset(id, 0, sizeof(*id));
    return store_file_open(env, ROOT, create, id, note, err);
}

static void test_create_and_read(void **state)
{
    (void)state;
    struct store_ident a, b;
    enum store_file_note note;
    struct err err;
    TEST_ST(open_store(false, &a, &note, &err), ST_NOTFOUND);
    TEST_OK(open_store(true, &a, &note, &err), &err);
    assert_int_equal(note, STORE_FILE_CREATED);
    assert_int_equal(a.lanes, 1);
    assert_true(env_sim_all_synced(sim, NULL));
    /* Nothing stands behind the two yet: the making goes on. */
    assert_int_equal(env_unlink(env, ROOT "/STORE.2", NULL), ST_OK);
    TEST_OK(open_store(true, &b, &note, &err), &err);
    assert_int_equal(note, STORE_FILE_CREATED);
    assert_true(env_sim_all_synced(sim, NULL));
    TEST_OK(env_mkdir(env, ROOT "/journal", &err), &err);
    TEST_OK(open_store(true, &b, &note, &err), &err);
    assert_int_equal(note, STORE_FILE_OK);
    assert_memory_equal(a.store_uuid, b.store_uuid, 16);
    assert_int_equal(a.crc_seed, b.crc_seed);
    assert_int_equal(a.created_ns, b.created_ns);
}

/* Every bit of both files, one at a time. */
static void test_every_bit(void **state)
{
    (void)state;
    struct store_ident a, b;
    enum store_file_note note;
    struct err err;
    TEST_OK(open_store(true, &a, &note, &err), &err);
    TEST_OK(env_mkdir(env, ROOT "/journal", &err), &err);
    struct env_sim_disk *d = env_sim_disk_save(sim);
    for (unsigned file = 0; file < 2; file++) {
        for (uint64_t off = 0; off < 4096; off += off < 128 || off > 4000 ? 1 : 13) {
            for (unsigned bit = 0; bit < 8; bit += off < 64 ? 1 : 5) {
                env_sim_disk_load(sim, d);
                assert_int_equal(
                    env_sim_flip_bit(sim, file == 0 ? ROOT "/STORE" : ROOT "/STORE.2", off, bit),
                    ST_OK);
                TEST_OK(open_store(false, &b, &note, &err), &err);
                assert_int_equal(note, STORE_FILE_REPAIRED);
                assert_memory_equal(&a, &b, sizeof(a));
                TEST_OK(open_store(false, &b, &note, &err), &err);
                assert_int_equal(note, STORE_FILE_OK);
            }
        }
    }
    env_sim_disk_free(d);
}

static void put(const char *path, const void *data, size_t len)
{
    struct env_file *f;
    struct err err;
    TEST_OK(env_open(env, path, ENV_RDWR | ENV_CREATE, &f, &err), &err);
    TEST_OK(env_truncate(env, f, 0, &err), &err);
    if (len > 0) {
        TEST_OK(env_pwrite(env, f, data, len, 0, &err), &err);
    }
    env_close(env, f);
}

static void expect_refusal(enum st want, const char *text)
{
    struct store_ident id;
    enum store_file_note note;
    struct err err;
    uint64_t ops = env_sim_ops(sim);
    TEST_ST(open_store(true, &id, &note, &err), want);
    assert_non_null(strstr(err.msg, text));
    assert_int_equal(env_sim_ops(sim), ops); /* nothing was touched */
}

static void test_refusals(void **state)
{
    (void)state;
    uint8_t page[4096], big[5000] = {1};
    struct store_ident a;
    enum store_file_note note;
    struct err err;
    TEST_OK(open_store(true, &a, &note, &err), &err);
    assert_int_equal(env_sim_file_read(sim, ROOT "/STORE", 0, page, sizeof(page)), ST_OK);
    /* a newer version, whole */
    put_u32le(page + 8, 2);
    put_u32le(page + 4092, crc32c(0, page, 4092));
    put(ROOT "/STORE", page, sizeof(page));
    expect_refusal(ST_VERSION, "STORE version=2");
    /* a reserved byte in use */
    put_u32le(page + 8, 1);
    page[100] = 1;
    put_u32le(page + 4092, crc32c(0, page, 4092));
    put(ROOT "/STORE", page, sizeof(page));
    expect_refusal(ST_VERSION, "STORE");
    /* another store's */
    page[100] = 0;
    page[20] ^= 1;
    put_u32le(page + 4092, crc32c(0, page, 4092));
    put(ROOT "/STORE", page, sizeof(page));
    expect_refusal(ST_MISMATCH, "different stores");
    /* a longer file */
    put(ROOT "/STORE", big, sizeof(big));
    expect_refusal(ST_FOREIGN, "STORE has 5000 bytes");
    /* neither is ours */
    memset(page, 'x', sizeof(page));
    put(ROOT "/STORE", page, sizeof(page));
    put(ROOT "/STORE.2", page, sizeof(page));
    expect_refusal(ST_FOREIGN, "is not a STORE file");
    put(ROOT "/STORE", page, 100);
    put(ROOT "/STORE.2", page, 0);
    expect_refusal(ST_CORRUPT, "STORE has 100 bytes");
    /* both gone, with data beside them */
    put(ROOT "/meta.db", page, 100);
    TEST_OK(env_unlink(env, ROOT "/STORE", &err), &err);
    TEST_OK(env_unlink(env, ROOT "/STORE.2", &err), &err);
    expect_refusal(ST_CORRUPT, "there is data");
}

/* Power lost at any step of creation or repair: none, or a good pair after the next open; an
 * identity that was returned stays. */
static void test_crashes(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 40; n++) {
        for (uint64_t seed = 0; seed < 12; seed++) {
            struct store_ident a, b;
            enum store_file_note note;
            struct err err;
            (void)teardown(NULL);
            (void)setup(NULL);
            bool repair = seed % 2 == 1;
            if (repair) {
                TEST_OK(open_store(true, &a, &note, &err), &err);
                assert_int_equal(env_sim_flip_bit(sim, ROOT "/STORE", 17, 2), ST_OK);
            }
            env_sim_crash_at(sim, n, seed % 3 == 0);
            bool acked = open_store(true, &b, &note, &err) == ST_OK;
            if (!repair && acked) {
                a = b;
            }
            env_sim_crash_at(sim, 0, false);
            env_sim_power_loss(sim, test_seed() + seed);
            TEST_OK(open_store(true, &b, &note, &err), &err);
            if (repair || acked) {
                assert_memory_equal(&a, &b, sizeof(a));
            }
            TEST_OK(store_file_check(env, ROOT, &b, NULL, NULL, &err), &err);
        }
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_create_and_read), T(test_every_bit), T(test_refusals),
                                       T(test_crashes)};
    return cmocka_run_group_tests_name("store_file", tests, NULL, NULL);
}
