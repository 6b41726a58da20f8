/* Model walk: random steps of publish, pull, ack, nak, term, delete, purge, update, clock step,
 * restart and kill; after each one every number of every stream and consumer is compared with the
 * model (I3, I12-I15, I17).
 *
 * model_walk [--steps N] [--seed S] [--verbose] */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "tests/sim/sim_world.h"

static volatile uint64_t current_seed, current_step;
static bool verbose;

static void on_abort(int sig)
{
    char line[120];
    int n = snprintf(line, sizeof line, "\nsignal %d at --seed %llu step %llu\n", sig,
                     (unsigned long long)current_seed, (unsigned long long)current_step);
    ssize_t r = write(2, line, (size_t)n);
    (void)r;
    signal(sig, SIG_DFL);
    raise(sig);
}

static void quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg;
    if (verbose) {
        fprintf(stderr, "  log[%d] %.*s\n", (int)level, (int)len, line);
    }
}

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
    current_seed = seed;
    sw_init(&w, seed);
    w.big_max = 20000;
    bool ok = sw_open(&w);
    for (uint64_t i = 0; i < steps && ok && !w.failed; i++) {
        current_step = i;
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
               (unsigned long long)steps, (unsigned long long)current_step, w.fail);
    }
    ok = !w.failed;
    sw_fini(&w);
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t steps = 10000, seed = 1, walks = 0, done = 0, failed = 0, per_walk = 500, fail_max = 1;
    for (int i = 1; i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--steps") == 0) {
            steps = strtoull(v, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(v, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--fails") == 0) {
            fail_max = strtoull(v, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else {
            fprintf(stderr, "usage: model_walk [--steps N] [--seed S] [--fails N] [--verbose]\n");
            return 2;
        }
    }
    log_set_sink(quiet, NULL);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
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
