/* Model walk: random steps of publish, pull, ack, nak, term, delete, purge, update, clock step,
 * restart and kill; after each one every number of every stream and consumer is compared with the
 * model (I3, I12-I15, I17).
 *
 * model_walk [--steps N] [--seed S] [--verbose] */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim_main.h"
#include "tests/sim/sim_world.h"

static void restart(struct world *w)
{
    struct sw_cut cut = {0, prng_below(&w->rnd, 2) == 0, prng_below(&w->rnd, 2) == 0};
    if (cut.clean) {
        sw_close(w);
    } else {
        sw_abandon(w);
        if (cut.power) {
            env_sim_power_loss(w->sim, prng_next(&w->rnd));
        } else {
            env_sim_process_crash(w->sim);
        }
    }
    cut.op = sw_op(w);
    if (sw_open(w) && sw_check(w, w->sim, w->store, cut)) {
        sw_adopt(w, cut);
    }
}

/* One walk of some hundred steps; false = failed. */
static bool walk(uint64_t seed, uint64_t steps)
{
    struct world w;
    uint64_t step = 0;
    sw_init(&w, seed);
    w.big_max = 20000;
    bool ok = sw_open(&w);
    for (uint64_t i = 0; i < steps && ok && !w.failed; i++) {
        step = i;
        sim_doing("--seed %llu step %llu", (unsigned long long)seed, (unsigned long long)step);
        if (prng_below(&w.rnd, 200) == 0) {
            restart(&w);
        } else {
            sw_step(&w);
        }
        if (!w.failed) {
            sw_settle(&w);
        }
        if (!w.failed) {
            (void)sw_compare(&w);
        }
    }
    if (w.failed) {
        printf("FAIL --seed %llu --steps %llu (step %llu): %s\n", (unsigned long long)seed,
               (unsigned long long)steps, (unsigned long long)step, w.fail);
    }
    ok = !w.failed;
    sw_fini(&w);
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t steps = 10000, seed = 1, walks = 0, done = 0, failed = 0, per_walk = 500, fail_max = 1;
    const struct sim_option options[] = {
        {.name = "steps", .hint = "N", .number = &steps},
        {.name = "seed", .hint = "S", .number = &seed},
        {.name = "fails", .hint = "N", .number = &fail_max},
    };
    if (!sim_begin("model_walk", options, ARRAY_LEN(options), argc, argv)) {
        return 2;
    }
    for (; done < steps && failed < fail_max; walks++) {
        uint64_t n = steps - done < per_walk ? steps - done : per_walk;
        failed += !walk(seed + walks, n);
        done += n;
    }
    printf("model_walk: %llu steps in %llu walks from seed %llu, %llu failed\n",
           (unsigned long long)done, (unsigned long long)walks, (unsigned long long)seed,
           (unsigned long long)failed);
    return failed != 0;
}
