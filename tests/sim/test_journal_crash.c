/* Crash sweep of the journal: random lives, each ended at some operation of the disk by a power
 * loss or a kill, each followed by a recovery that is compared with the model; the recovery itself
 * is cut off too (I1, I3, I6, I11, I19).
 *
 * MR_ROUNDS sets the number of lives, MR_SEED the first seed. A failure prints the seed of the run.
 */
#include <stdio.h>

#include "engine/base/log.h"
#include "tests/lib/jr_fixture.h"
#include "tests/lib/testlib.h"

static void quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg;
    (void)level;
    (void)line;
    (void)len;
}

/* A write or sync that fails: the lane is poisoned, or a spare cannot be made. After
 * ENV_SIM_FAIL_CACHED the page cache shows what the device does not hold. */
static void some_fault(struct jfx *x)
{
    static const enum env_sim_effect effects[] = {ENV_SIM_FAIL, ENV_SIM_FAIL_CACHED,
                                                  ENV_SIM_FAIL_PART, ENV_SIM_FAIL_DONE};
    static const enum env_sim_kind kinds[] = {ENV_SIM_WRITE,   ENV_SIM_DATASYNC, ENV_SIM_DATASYNC,
                                              ENV_SIM_DIRSYNC, ENV_SIM_RENAME,   ENV_SIM_FALLOCATE};
    struct env_sim_fault f = {.kinds = ENV_SIM_BIT(kinds[prng_below(&x->rnd, ARRAY_LEN(kinds))]),
                              .skip = prng_below(&x->rnd, 40),
                              .times = 1 + prng_below(&x->rnd, 3),
                              .effect = effects[prng_below(&x->rnd, ARRAY_LEN(effects))]};
    if (prng_below(&x->rnd, 3) == 0) {
        f.st = ST_NOSPACE;
    }
    if (test_rounds(0) == 1) {
        print_message("fault kinds=%x effect=%d skip=%llu\n", f.kinds, f.effect,
                      (unsigned long long)f.skip);
    }
    env_sim_fault(x->sim, &f);
}

/* One life: opens, works, dies. crash_op 0: somewhere. Returns false when the model was broken. */
static bool life(struct jfx *x, uint64_t crash_op, unsigned steps)
{
    struct err err = {0};
    struct prng *r = &x->rnd;
    if (crash_op != 0) {
        env_sim_crash_at(x->sim, crash_op, prng_below(r, 2) == 0);
    }
    enum st st = jfx_open(x, &err);
    if (x->broken != NULL) {
        return false;
    }
    if (st != ST_OK && !env_sim_down(x->sim)) {
        print_error("open: %s\n", err.msg);
        return false;
    }
    if (st == ST_OK && prng_below(r, 4) == 0) {
        some_fault(x);
    }
    for (unsigned i = 0; i < steps && st == ST_OK && !env_sim_down(x->sim); i++) {
        jfx_step(x);
    }
    bool hit = env_sim_fault_hits(x->sim) > 0;
    env_sim_faults_clear(x->sim);
    x->faulted = x->faulted || hit;
    if (st == ST_OK && !env_sim_down(x->sim) && prng_below(r, 6) == 0) {
        st = jfx_stop(x);
        if (st != ST_OK && st != ST_POISONED) {
            return env_sim_down(x->sim);
        }
        jfx_crashed(x, hit); /* a failed sync may have cost what was only written */
        return true;
    }
    if (st == ST_OK) {
        jfx_poll(x);
    }
    bool power = prng_below(r, 2) == 0;
    if (test_rounds(0) == 1) {
        print_message("crash_op=%llu down=%d power=%d opened=%d checkpoint=%llu hint=%llu\n",
                      (unsigned long long)crash_op, env_sim_down(x->sim), power, st == ST_OK,
                      (unsigned long long)x->checkpoint_lsn, (unsigned long long)x->end_hint);
    }
    uint64_t seed = prng_next(r);
    if (power) {
        env_sim_power_loss(x->sim, seed);
    } else {
        env_sim_process_crash(x->sim);
    }
    jfx_crashed(x, power || hit);
    jfx_drop(x);
    return true;
}

static void options(struct jfx *x)
{
    static const uint64_t sizes[] = {32 * KIB, 64 * KIB, 256 * KIB};
    x->opts.file_min_bytes = sizes[prng_below(&x->rnd, 3)];
    x->opts.file_max_bytes = x->opts.file_min_bytes << prng_below(&x->rnd, 3);
    x->opts.sync_interval_ns = prng_below(&x->rnd, 2) == 0 ? 0 : 30 * NS_PER_MS;
    env_sim_set_tick_ns(x->sim, (int64_t)prng_below(&x->rnd, 200) * NS_PER_US);
}

static void random_lives(void **state)
{
    (void)state;
    unsigned rounds = test_rounds(1500);
    uint64_t seed = test_seed();
    for (unsigned i = 0; i < rounds; i++) {
        struct jfx x;
        jfx_init(&x, NULL, seed + i);
        options(&x);
        bool ok = true;
        for (int n = 0; n < 6 && ok; n++) {
            /* short ones fall into the recovery, long ones into the work */
            uint64_t op = prng_below(&x.rnd, 5) == 0
                              ? 0
                              : 1 + prng_below(&x.rnd, prng_below(&x.rnd, 3) == 0 ? 12 : 150);
            ok = life(&x, op, 20 + (unsigned)prng_below(&x.rnd, 300));
        }
        if (!ok || x.broken != NULL) {
            print_error("MR_SEED=%llu MR_ROUNDS=1\n", (unsigned long long)(seed + i));
        }
        jfx_check(&x);
        assert_true(ok);
        jfx_fini(&x);
    }
}

/* Every operation of one scripted life in turn, with both kinds of crash and several choices of
 * what survives. */
static void every_operation(void **state)
{
    (void)state;
    unsigned stride = test_rounds(1500) >= 1000 ? 1 : 3;
    for (uint64_t relaxed = 0; relaxed < 2; relaxed++) {
        uint64_t ops = UINT64_MAX;
        for (uint64_t n = 1; n <= ops; n += stride) {
            struct jfx x;
            jfx_init(&x, NULL, 77 + relaxed); /* the same life each time, up to the crash */
            x.opts.file_min_bytes = 32 * KIB;
            x.opts.file_max_bytes = 64 * KIB;
            x.opts.sync_interval_ns = relaxed != 0 ? 30 * NS_PER_MS : 0;
            if (ops == UINT64_MAX) { /* the count */
                assert_true(life(&x, 0, 250));
                ops = env_sim_ops(x.sim);
                n = 0;
                jfx_fini(&x);
                continue;
            }
            bool ok = life(&x, n, 250);
            x.rnd.state += n;
            for (int more = 0; more < 3 && ok; more++) {
                ok = life(&x, 1 + prng_below(&x.rnd, 40), 40);
            }
            if (!ok || x.broken != NULL) {
                print_error("crash at operation %llu of %llu\n", (unsigned long long)n,
                            (unsigned long long)ops);
            }
            jfx_check(&x);
            assert_true(ok);
            jfx_fini(&x);
        }
    }
}

int main(void)
{
    if (test_rounds(0) != 1) {
        log_set_sink(quiet, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lives),
        cmocka_unit_test(every_operation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
