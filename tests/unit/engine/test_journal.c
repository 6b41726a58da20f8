/* The journal on the simulated disk: writing, tickets, rotation, restart, clean stop. */
#include "tests/lib/jr_fixture.h"
#include "tests/lib/testlib.h"

static void write_stop_read(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 1);
    TEST_OK(jfx_open(&x, &err), &err);
    assert_true(x.rec.contiguous);
    assert_false(x.rec.any_groups_on_disk);
    for (int i = 0; i < 200; i++) {
        assert_true(jfx_put(&x, (unsigned)i % 3, REC_APPEND, 100, 0, true));
        if (i % 7 == 0) {
            jfx_settle(&x);
        }
    }
    assert_int_equal(jfx_stop(&x), ST_OK);
    TEST_OK(jfx_open(&x, &err), &err);
    jfx_check(&x);
    assert_int_equal(x.given, 200);
    assert_true(x.rec.clean);
    assert_int_equal(x.rec.next_gid_min, 4);
    assert_int_equal(x.rec.torn_bytes, 0);
    jfx_fini(&x);
}

static void kill_and_go_on(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 2);
    for (int life = 0; life < 5; life++) {
        TEST_OK(jfx_open(&x, &err), &err);
        jfx_check(&x);
        assert_int_equal(x.given, life * 300);
        for (int i = 0; i < 300; i++) {
            assert_true(jfx_put(&x, (unsigned)i % JFX_GIDS, REC_APPEND, 500, 0, true));
            if (i % 10 == 9) {
                jfx_settle(&x);
            }
        }
        env_sim_process_crash(x.sim);
        jfx_crashed(&x, false);
        jfx_drop(&x);
    }
    jfx_fini(&x);
}

/* A record far above the largest file gets a file of its own; the next ones go on in ordinary
 * files. */
static void large_records(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 3);
    TEST_OK(jfx_open(&x, &err), &err);
    static const uint32_t sizes[] = {1,   300000,  63 * 1024, 65 * 1024, 1 << 20,
                                     200, 8 << 20, 5,         4 << 20};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        assert_true(jfx_put(&x, 0, REC_APPEND, sizes[i], 0, true));
        jfx_settle(&x);
        assert_true(x.gids[0].v[i].durable);
    }
    x.keep_chunks = true;
    env_sim_power_loss(x.sim, 5);
    jfx_crashed(&x, true);
    jfx_drop(&x);
    TEST_OK(jfx_open(&x, &err), &err);
    jfx_check(&x);
    assert_int_equal(x.given, ARRAY_LEN(sizes));
    jfx_fini(&x);
}

static void count_files(void *arg, const char *path, uint64_t size)
{
    uint64_t *sum = arg;
    (void)path;
    sum[0] += 1;
    sum[1] += size;
}

static void fresh_is_small_and_release_recycles(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 4);
    x.opts.file_min_bytes = 4 * MIB;
    x.opts.file_max_bytes = 8 * MIB;
    TEST_OK(jfx_open(&x, &err), &err);
    (void)env_sim_run(x.sim, 1000);
    uint64_t sum[2] = {0};
    env_sim_each_file(x.sim, count_files, sum);
    assert_true(sum[1] <= 8 * MIB);
    struct jr_stats s;
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 1000; i++) {
            assert_true(jfx_put(&x, 0, REC_APPEND, 2000, 0, true));
        }
        jfx_settle(&x);
        jfx_checkpoint(&x, true);
    }
    (void)env_sim_run(x.sim, 1000);
    jr_stats_get(x.jr, &s);
    assert_true(s.files_recycled > 0);
    sum[0] = sum[1] = 0;
    env_sim_each_file(x.sim, count_files, sum);
    assert_true(sum[1] <= 8 * 8 * MIB);
    assert_true(jr_window_used(x.jr) < 64 * MIB);
    jfx_fini(&x);
}

/* 200 clean restarts: few files stay. */
static void restarts_do_not_pile_up(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 5);
    for (int i = 0; i < 200; i++) {
        TEST_OK(jfx_open(&x, &err), &err);
        jfx_check(&x);
        assert_true(jfx_put(&x, 0, REC_APPEND, 10, 0, true));
        jfx_settle(&x);
        jfx_checkpoint(&x, true);
        (void)env_sim_run(x.sim, 1000);
        assert_int_equal(jfx_stop(&x), ST_OK);
    }
    uint64_t sum[2] = {0};
    env_sim_each_file(x.sim, count_files, sum);
    assert_true(sum[0] <= 6);
    jfx_fini(&x);
}

/* Killed again and again before anything was written: what a start leaves, the next one takes back.
 */
static void kills_at_start_do_not_pile_up(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 17);
    for (int i = 0; i < 300; i++) {
        TEST_OK(jfx_open(&x, &err), &err);
        jfx_check(&x);
        assert_int_equal(x.damage.reports, 0);
        (void)env_sim_run(x.sim, (uint64_t)i % 50);
        if (i % 100 == 0) {
            assert_true(jfx_put(&x, 0, REC_APPEND, 10, 0, true));
            jfx_settle(&x);
        }
        bool power = i % 3 == 0;
        if (power) {
            env_sim_power_loss(x.sim, (uint64_t)i);
        } else {
            env_sim_process_crash(x.sim);
        }
        jfx_crashed(&x, power);
        jfx_drop(&x);
        uint64_t sum[2] = {0};
        env_sim_each_file(x.sim, count_files, sum);
        assert_true(sum[0] <= 10); /* three writes, two files each at most; and spares */
    }
    jfx_fini(&x);
}

/* Relaxed tickets are done without a sync, then synced by the timer; durable ones wait. */
static void relaxed_and_durable(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    struct jr_stats s;
    jfx_init(&x, NULL, 6);
    x.opts.sync_interval_ns = 50 * NS_PER_MS;
    TEST_OK(jfx_open(&x, &err), &err);
    (void)env_sim_run(x.sim, 1000);
    assert_true(jfx_put(&x, 0, REC_APPEND, 10, 0, false));
    jfx_seal(&x);
    (void)env_sim_run(x.sim, 1000);
    jfx_poll(&x);
    assert_true(x.gids[0].v[0].done);
    assert_false(x.gids[0].v[0].durable);
    jr_stats_get(x.jr, &s);
    assert_int_equal(s.syncs, 0);
    env_sim_advance(x.sim, 50 * NS_PER_MS);
    (void)env_sim_run(x.sim, 1000);
    jfx_poll(&x);
    assert_true(x.gids[0].v[0].durable);
    assert_true(jfx_put(&x, 0, REC_APPEND, 10, 0, false));
    jfx_seal(&x);
    assert_true(jfx_put(&x, 1, REC_DELETE, 10, 0, true));
    jfx_settle(&x);
    assert_true(x.gids[0].v[1].durable);
    assert_true(x.gids[1].v[0].durable);
    jr_stats_get(x.jr, &s);
    assert_int_equal(s.syncs, 2);
    /* and it comes to rest: one IDLE group, then nothing */
    for (int i = 0; i < 10; i++) {
        (void)env_sim_advance_to_timer(x.sim);
        (void)env_sim_run(x.sim, 1000);
    }
    struct jr_stats t;
    jr_stats_get(x.jr, &s);
    for (int i = 0; i < 10; i++) {
        (void)env_sim_advance_to_timer(x.sim);
        (void)env_sim_run(x.sim, 1000);
    }
    jr_stats_get(x.jr, &t);
    assert_int_equal(s.groups, t.groups);
    jfx_fini(&x);
}

static void poison(void **state)
{
    (void)state;
    static const unsigned kinds[] = {ENV_SIM_BIT(ENV_SIM_WRITE), ENV_SIM_BIT(ENV_SIM_DATASYNC)};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct jfx x;
        struct err err;
        jfx_init(&x, NULL, 7);
        TEST_OK(jfx_open(&x, &err), &err);
        (void)env_sim_run(x.sim, 1000);
        assert_true(jfx_put(&x, 0, REC_APPEND, 10, 0, true));
        jfx_settle(&x);
        uint64_t done = jw_done(x.jw);
        struct env_sim_fault f = {.kinds = kinds[k], .times = 1};
        env_sim_fault(x.sim, &f);
        assert_true(jfx_put(&x, 0, REC_APPEND, 10, 0, true));
        jfx_settle(&x);
        assert_int_equal(jr_poisoned(x.jr, &err), ST_POISONED);
        assert_int_equal(err.code, ST_IO);
        assert_int_equal(jw_done(x.jw), done);
        assert_false(jfx_put(&x, 0, REC_APPEND, 10, 0, true));
        (void)env_sim_run(x.sim, 1000);
        assert_int_equal(jw_done(x.jw), done); /* never again */
        assert_int_equal(jfx_stop(&x), ST_POISONED);
        x.end_hint = 0;
        TEST_OK(jfx_open(&x, &err), &err);
        jfx_check(&x);
        jfx_fini(&x);
    }
}

/* A full disk: publishers are told to wait, urgent records go on in the space there is, and it ends
 * when there is room again. */
static void full_disk_is_backpressure(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 8);
    x.opts.file_min_bytes = 4 * MIB;
    x.opts.file_max_bytes = 4 * MIB;
    TEST_OK(jfx_open(&x, &err), &err);
    env_sim_set_disk_bytes(x.sim, 4 * MIB + 64 * KIB);
    (void)env_sim_run(x.sim, 1000);
    assert_false(jfx_put(&x, 0, REC_APPEND, 10, 0, true));
    for (int i = 0; i < 500; i++) {
        assert_true(jfx_put(&x, 1, REC_DELETE, 1000, 0, true));
        jfx_settle(&x);
    }
    assert_true(x.gids[1].v[499].durable);
    /* beyond the file: it waits, and is not an error */
    for (int i = 0; i < 5000; i++) {
        assert_true(jfx_put(&x, 1, REC_DELETE, 1000, 0, true));
    }
    jfx_settle(&x);
    assert_int_equal(jr_poisoned(x.jr, NULL), ST_OK);
    assert_false(x.gids[1].v[x.gids[1].n - 1].done);
    env_sim_set_disk_bytes(x.sim, 1 * GIB);
    env_sim_advance(x.sim, 2 * NS_PER_S);
    jfx_settle(&x);
    assert_true(x.gids[1].v[x.gids[1].n - 1].durable);
    assert_true(jfx_put(&x, 0, REC_APPEND, 10, 0, true));
    assert_int_equal(jfx_stop(&x), ST_OK);
    TEST_OK(jfx_open(&x, &err), &err);
    jfx_check(&x);
    jfx_fini(&x);
}

static void window_bounds_publishers(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 9);
    x.opts.window_bytes = 1 * MIB;
    TEST_OK(jfx_open(&x, &err), &err);
    unsigned n = 0;
    while (jfx_put(&x, 0, REC_APPEND, 2000, 0, true)) {
        n++;
    }
    assert_in_range(n, 400, 520);
    assert_true(jfx_put(&x, 0, REC_DELETE, 100, 0, true));
    jfx_settle(&x);
    assert_false(jfx_put(&x, 0, REC_APPEND, 2000, 0, true));
    jfx_checkpoint(&x, true);
    assert_true(jfx_put(&x, 0, REC_APPEND, 2000, 0, true));
    jfx_fini(&x);
}

static void forgotten_entries_are_not_given(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 10);
    TEST_OK(jfx_open(&x, &err), &err);
    assert_true(jfx_put(&x, 0, REC_APPEND, 10, 0, true));
    assert_true(jfx_put(&x, 1, REC_APPEND, 10, 0, true));
    jfx_seal(&x);
    assert_true(jfx_put(&x, 0, REC_APPEND, 10, 0, true));
    jw_forget(x.jw, &x.gids[0]);
    jfx_settle(&x);
    assert_false(x.gids[0].v[0].done);
    assert_false(x.gids[0].v[1].done);
    assert_true(x.gids[1].v[0].done);
    jfx_fini(&x);
}

/* Files of another store, of a newer version: refused by name. */
static void foreign_and_newer(void **state)
{
    (void)state;
    struct jfx x;
    struct err err;
    jfx_init(&x, NULL, 11);
    TEST_OK(jfx_open(&x, &err), &err);
    assert_int_equal(jfx_stop(&x), ST_OK);
    x.opts.store_uuid[0] ^= 1;
    TEST_ST(jfx_open(&x, &err), ST_FOREIGN);
    jfx_drop(&x);
    x.opts.store_uuid[0] ^= 1;
    struct jr_check_report rep;
    struct jr_visitor v = {0};
    TEST_OK(jr_check(x.env, &x.opts, 0, x.end_hint, &v, &rep, &err), &err);
    assert_int_equal(rep.damaged_groups + rep.damaged_records, 0);
    jfx_fini(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_stop_read),
        cmocka_unit_test(kill_and_go_on),
        cmocka_unit_test(large_records),
        cmocka_unit_test(fresh_is_small_and_release_recycles),
        cmocka_unit_test(restarts_do_not_pile_up),
        cmocka_unit_test(kills_at_start_do_not_pile_up),
        cmocka_unit_test(relaxed_and_durable),
        cmocka_unit_test(poison),
        cmocka_unit_test(full_disk_is_backpressure),
        cmocka_unit_test(window_bounds_publishers),
        cmocka_unit_test(forgotten_entries_are_not_given),
        cmocka_unit_test(foreign_and_newer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
