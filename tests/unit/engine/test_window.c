/* The duplicate window outside of memory: through an archive into another store, exactly, with ids
 * of messages that are gone; archives of version 1; windows from before streams had seeds. */
#include "tests/lib/eng_fixture.h"

#include "engine/backup.h"
#include "tests/unit/engine/golden_archive.h"

#define ARCHIVE "/a.arc"

static struct store_append_result publish_id(struct ef *f, const char *id)
{
    char hdr[100];
    struct ef_got g = {0};
    int n = snprintf(hdr, sizeof hdr, "NATS/1.0\r\nNats-Msg-Id: %s\r\n\r\n", id);
    struct store_append a = {.subject = "a",
                             .subject_len = 1,
                             .hdr = (const uint8_t *)hdr,
                             .hdr_len = (uint32_t)n,
                             .msg_id = id,
                             .msg_id_len = (uint32_t)strlen(id)};
    assert_int_equal(f->store->ops->append(f->s, &a, ef_on_append, &g), ST_OK);
    ef_spin(f);
    assert_int_equal(g.calls, 1);
    return g.append;
}

static void expect(struct ef *f, const char *id, enum append_verdict verdict, uint64_t seq)
{
    struct store_append_result r = publish_id(f, id);
    assert_int_equal(r.verdict, verdict);
    assert_int_equal(r.seq, seq);
}

static void backup(struct ef *f)
{
    struct err err = {0};
    struct eng_backup_opts o = {.path = ARCHIVE, .replace = true};
    struct eng_backup_report r;
    TEST_OK(eng_backup(f->store, &o, &r, &err), &err);
}

static bool sim_wait(void *arg, int64_t deadline_ns)
{
    struct ef *f = arg;
    if (!env_sim_step_one(f->sim)) {
        int64_t now = env_boot_ns(env_sim_env(f->sim));
        env_sim_advance(f->sim, deadline_ns > now && deadline_ns < now + NS_PER_MS
                                    ? deadline_ns - now
                                    : NS_PER_MS);
    }
    return true;
}

/* The bytes of an archive into this world, and S out of it. */
static void restore(struct ef *f, const uint8_t *bytes, size_t len)
{
    struct env *env = env_sim_env(f->sim);
    struct env_file *file;
    struct err err = {0};
    struct eng_backup_report r;
    TEST_OK(env_open(env, ARCHIVE, ENV_RDWR | ENV_CREATE, &file, &err), &err);
    TEST_OK(env_pwrite(env, file, bytes, len, 0, &err), &err);
    env_close(env, file);
    TEST_OK(eng_archive_verify(env, ARCHIVE, NULL, NULL, NULL, &r, &err), &err);
    struct eng_restore_opts o = {
        .path = ARCHIVE, .replace = true, .drive = {f->store, sim_wait, f}};
    TEST_OK(eng_restore(f->store, &o, &r, &err), &err);
    f->s = f->store->ops->stream_find(f->store, "$G", "S");
    assert_non_null(f->s);
}

static void delete_msg(struct ef *f, uint64_t seq)
{
    struct ef_got g = {0};
    f->store->ops->msg_delete(f->s, seq, false, ef_on_done, &g);
    ef_spin(f);
    assert_int_equal(g.st, ST_OK);
}

/* Ids a, b (its message is gone), c (gone, and the newest). */
static uint8_t *archived(size_t *len_out)
{
    struct ef f;
    struct err err = {0};
    uint8_t *bytes;
    ef_init(&f, 31, NULL);
    expect(&f, "a", APPEND_STORED, 1);
    expect(&f, "b", APPEND_STORED, 2);
    expect(&f, "c", APPEND_STORED, 3);
    delete_msg(&f, 2);
    delete_msg(&f, 3);
    ef_checkpoint(&f);
    ef_restart(&f, EF_CLEAN);
    expect(&f, "b", APPEND_DUPLICATE, 2);
    backup(&f);
    TEST_OK(env_read_file(env_sim_env(f.sim), ARCHIVE, MIB, &bytes, len_out, &err), &err);
    ef_fini(&f);
    return bytes;
}

static void into_another_store(void **state)
{
    (void)state;
    size_t len;
    uint8_t *bytes = archived(&len);
    for (int how = EF_CLEAN; how <= EF_POWER; how++) {
        for (int ckpt = 0; ckpt < 2; ckpt++) {
            struct ef f;
            ef_init(&f, 32 + (uint64_t)how, NULL);
            expect(&f, "z", APPEND_STORED, 1); /* of the stream that goes */
            restore(&f, bytes, len);
            if (ckpt) {
                ef_checkpoint(&f);
            }
            for (int again = 0; again < 2; again++) {
                expect(&f, "a", APPEND_DUPLICATE, 1);
                expect(&f, "b", APPEND_DUPLICATE, 2);
                expect(&f, "c", APPEND_DUPLICATE, 3);
                if (again == 0) {
                    expect(&f, "z", APPEND_STORED, 4);
                }
                ef_restart(&f, (enum ef_end)how);
            }
            expect(&f, "z", APPEND_DUPLICATE, 4);
            assert_int_equal(ef_state(&f).last_seq, 4);
            ef_advance(&f, 121 * NS_PER_S); /* of its own time, as ever */
            expect(&f, "b", APPEND_STORED, 5);
            ef_fini(&f);
        }
    }
    base_free(bytes);
}

static void version_1(void **state)
{
    (void)state;
    struct ef f;
    ef_init(&f, 35, NULL);
    restore(&f, golden_archive, sizeof golden_archive);
    assert_int_equal(ef_state(&f).msgs, 2);
    assert_string_equal(ef_get(&f, 1), "golden 1");
    assert_string_equal(ef_get(&f, 2), "golden 2");
    ef_fini(&f);
}

/* Of the store's seed: works on, is not told to an archive, and gives way when it is empty. */
static void from_before_seeds(void **state)
{
    (void)state;
    struct ef f;
    uint8_t *bytes;
    size_t len;
    struct err err = {0};
    ef_init(&f, 36, NULL);
    uint64_t old = eng_of(f.store)->ident.crc_seed;
    f.s->id_seed = old;
    expect(&f, "a", APPEND_STORED, 1);
    expect(&f, "b", APPEND_STORED, 2);
    ef_checkpoint(&f);
    ef_restart(&f, EF_POWER);
    assert_true(f.s->id_seed == old);
    expect(&f, "a", APPEND_DUPLICATE, 1);
    backup(&f);
    TEST_OK(env_read_file(env_sim_env(f.sim), ARCHIVE, MIB, &bytes, &len, &err), &err);
    ef_advance(&f, 121 * NS_PER_S);
    assert_int_equal(ef_publish(&f, "a", NULL, "x", 0).verdict, APPEND_STORED);
    expect(&f, "c", APPEND_STORED, 4); /* a look at the window empties it of the old */
    ef_advance(&f, 121 * NS_PER_S);
    expect(&f, "c", APPEND_STORED, 5);
    ef_advance(&f, 121 * NS_PER_S);
    (void)dedup_expire(f.s->dedup, INT64_MAX);
    f.s->ckpt_dirty = true;
    ef_restart(&f, EF_CLEAN);
    assert_true(f.s->id_seed != old);
    expect(&f, "d", APPEND_STORED, 6);
    expect(&f, "d", APPEND_DUPLICATE, 6);
    ef_fini(&f);
    ef_init(&f, 37, NULL);
    restore(&f, bytes, len); /* from the messages */
    expect(&f, "a", APPEND_DUPLICATE, 1);
    base_free(bytes);
    ef_fini(&f);
}

static void hostile(void **state)
{
    (void)state;
    size_t len;
    struct ef f;
    ef_init(&f, 38, NULL);
    expect(&f, "a", APPEND_STORED, 1);
    uint8_t *p = window_export(f.s, &len);
    assert_non_null(p);
    assert_int_equal(window_check(p, len), ST_OK);
    for (size_t n = 0; n < len; n++) {
        enum st st = window_check(p, n); /* 8 B are a seed and an empty window */
        assert_int_equal(st, n == 8 ? ST_OK : ST_CORRUPT);
    }
    assert_int_equal(window_check(p, 7), ST_CORRUPT);
    for (size_t i = 0; i < len * 8; i++) {
        p[i / 8] ^= (uint8_t)(1u << i % 8);
        enum st st = window_check(p, len);
        assert_true(st == ST_OK || st == ST_CORRUPT || st == ST_NOMEM);
        p[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    base_free(p);
    ef_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(into_another_store),
        cmocka_unit_test(version_1),
        cmocka_unit_test(from_before_seeds),
        cmocka_unit_test(hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
