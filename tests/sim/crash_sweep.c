/* Crash sweep of the whole engine. A life of random operations runs with the disk saved at its
 * operations; each saved disk is then crashed (power loss with a random legal subset of what was
 * not synced, or a killed process), recovered and compared with the model; now and then the
 * recovery is cut off and recovered again, or done twice. Then the life itself ends at some
 * operation, and the next one starts from what was found.
 *
 * crash_sweep [--count N] [--seed S] [--time SECONDS] [--verbose]: crashes to do, first seed;
 * `--seed S --one` replays one. Seeds from tests/sim/seeds.txt (--seeds FILE) come first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/env_sim_world.h"
#include "engine/eng.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/sim_world.h"

/* A moment of the machine: what is on the disk after one operation. */
struct point {
    struct env_sim_disk *disk; /* owned */
    uint64_t op;
    int64_t real_ns, boot_ns;
    uint8_t boot_id[16];
};
enum { POINTS_MAX = 96 };

struct sweep {
    struct world w;
    struct point points[POINTS_MAX];
    size_t npoints;
    uint64_t seen;   /* operations of this life */
    struct prng rnd; /* choices of the sweep, apart from those of the life */
    uint64_t crashes;
    bool tracing;
};

static uint64_t
    releases_owed; /* interest: looks for what nobody wants, cut short and gone on with */

static void print_op(void *arg, const struct env_sim_op *op)
{
    (void)arg;
    if (op->n != 0) {
        fprintf(stderr, "  op %llu %s %s %s %llu+%llu %d\n", (unsigned long long)op->n,
                env_sim_kind_name(op->kind), op->path, op->path2 != NULL ? op->path2 : "",
                (unsigned long long)op->off, (unsigned long long)op->len, (int)op->result);
    }
}

static void on_op(void *arg, const struct env_sim_op *op)
{
    struct sweep *s = arg;
    if (sim_verbose) {
        print_op(arg, op);
    }
    if (op->n == 0 || env_sim_down(s->w.sim) || !s->tracing) {
        return;
    }
    /* A fair sample of the operations of this life. */
    size_t at = s->npoints;
    s->seen++;
    if (at == POINTS_MAX) {
        at = prng_below(&s->rnd, s->seen);
        if (at >= POINTS_MAX) {
            return;
        }
        env_sim_disk_free(s->points[at].disk);
    } else {
        s->npoints++;
    }
    struct env_sim *sim = s->w.sim;
    s->points[at] = (struct point){env_sim_disk_save(sim), op->n, sim->real_ns, sim->boot_ns, {0}};
    memcpy(s->points[at].boot_id, sim->boot_id, 16);
}

static void clear_points(struct sweep *s)
{
    for (size_t i = 0; i < s->npoints; i++) {
        env_sim_disk_free(s->points[i].disk);
    }
    s->npoints = 0;
    s->seen = 0;
}

static void crash(struct sweep *s, struct env_sim *sim, bool power)
{
    if (power) {
        env_sim_power_loss(sim, prng_next(&s->rnd));
    } else {
        env_sim_process_crash(sim);
    }
    s->crashes++;
}

/* Opens; the recovery may be cut off. cut->power becomes true when that was a power loss: only a
 * finished recovery has made durable what it found. */
static bool recover(struct sweep *s, struct env_sim *sim, struct sw_cut *cut,
                    struct store **store_out)
{
    struct world *w = &s->w;
    struct err err = {0};
    *store_out = NULL;
    for (int tries = 0; tries < 3; tries++) {
        bool cut_off = tries < 2 && prng_below(&s->rnd, 4) == 0;
        if (cut_off) {
            env_sim_crash_at(sim, 1 + prng_below(&s->rnd, 40), prng_below(&s->rnd, 2) == 0);
        }
        enum st st = eng_open(env_sim_env(sim), &w->opts, store_out, &err);
        if (st != ST_OK && !env_sim_down(sim)) {
            sw_fail(w, "after a crash at op %llu (%s) the store does not open: %s (%s)",
                    (unsigned long long)cut->op, cut->power ? "power" : "process", err.msg,
                    st_text(st));
            return false;
        }
        if (!env_sim_down(sim)) {
            env_sim_crash_at(sim, 0, false);
            return true;
        }
        if (st == ST_OK) {
            eng_abandon(*store_out);
            *store_out = NULL;
        }
        bool power = prng_below(&s->rnd, 2) == 0;
        cut->power = cut->power || power;
        crash(s, sim, power);
    }
    enum st st = eng_open(env_sim_env(sim), &w->opts, store_out, &err);
    if (st != ST_OK) {
        sw_fail(w, "the store does not open after a recovery that was cut off: %s (%s)", err.msg,
                st_text(st));
    }
    return st == ST_OK;
}

static void explain(struct sweep *s, const char *what, const struct sw_cut *cut)
{
    if (s->w.failed) {
        char was[sizeof s->w.fail];
        memcpy(was, s->w.fail, sizeof was);
        snprintf(s->w.fail, sizeof s->w.fail, "%s at op %llu (%s): %.800s", what,
                 (unsigned long long)cut->op,
                 cut->clean   ? "clean stop"
                 : cut->power ? "power loss"
                              : "kill",
                 was);
    }
}

/* Lets the store tidy up. Nothing expires meanwhile: it will be compared once more. */
static void let_run(struct env_sim *sim, struct store *store)
{
    eng_of(store)->hold_expiry = true;
    for (int i = 0, rests = 0; i < 600 && rests < 3; i++) {
        if (!env_sim_step_one(sim)) {
            env_sim_advance(sim, NS_PER_S);
            (void)store->ops->timers(store);
            rests++;
        }
        store->ops->poll(store);
        store->ops->turn(store);
    }
}

/* One saved moment: crash, recover, compare; sometimes once more. */
static void try_point(struct sweep *s, const struct point *p)
{
    struct world *w = &s->w;
    struct env_sim *sim = env_sim_create(prng_next(&s->rnd));
    struct store *store = NULL;
    struct sw_cut cut = {p->op, prng_below(&s->rnd, 3) != 0, false};
    env_sim_disk_load(sim, p->disk);
    sim->real_ns = p->real_ns;
    sim->boot_ns = p->boot_ns;
    memcpy(sim->boot_id, p->boot_id, 16);
    if (sim_verbose) {
        fprintf(stderr, "-- point op %llu %s\n", (unsigned long long)p->op,
                cut.power ? "power" : "process");
        env_sim_set_trace(sim, print_op, NULL);
    }
    crash(s, sim, cut.power);
    if (recover(s, sim, &cut, &store)) {
        if (sim_verbose) {
            struct eng_info info;
            eng_info_get(store, &info);
            fprintf(stderr, "   replayed %llu records, %llu bytes torn, generation %llu\n",
                    (unsigned long long)info.replayed_records, (unsigned long long)info.torn_bytes,
                    (unsigned long long)info.generation);
        }
        (void)sw_check(w, sim, store, cut);
        if (!w->failed && prng_below(&s->rnd, 4) == 0) {
            let_run(sim, store);
            (void)sw_check_files(w, sim, store);
            eng_abandon(store);
            crash(s, sim, prng_below(&s->rnd, 2) == 0);
            if (sim_verbose) {
                fprintf(stderr, "-- again\n");
            }
            struct sw_cut again = cut;
            if (recover(s, sim, &again, &store)) {
                (void)sw_check(w, sim, store, cut); /* what was recovered once is durable */
            }
        }
        if (store != NULL && !w->failed && !eng_of(store)->hold_expiry) {
            (void)sw_check_release(w, sim, store);
        }
        if (store != NULL) {
            eng_abandon(store);
        }
    }
    explain(s, "saved disk", &cut);
    env_sim_destroy(sim);
}

static void one_life(struct sweep *s, unsigned steps)
{
    struct world *w = &s->w;
    uint64_t end = prng_below(&w->rnd, 10);
    for (unsigned i = 0; i < steps && !w->failed && !env_sim_down(w->sim); i++) {
        sw_step(w);
    }
    if (!env_sim_down(w->sim) && !w->failed && end < 5) {
        sw_settle(w);
    }
    s->tracing = false;
    struct sw_cut cut = {sw_op(w), false, false};
    if (!env_sim_down(w->sim) && !w->failed && end < 3) {
        cut.clean = true;
        for (int i = 0; i < 5 && w->outstanding > 0; i++) {
            sw_settle(w);
        }
        sw_close(w);
        if (env_sim_down(w->sim)) { /* it was not to be */
            cut.clean = false;
            cut.op = sw_op(w);
            cut.power = prng_below(&w->rnd, 2) == 0;
            crash(s, w->sim, cut.power);
        }
        env_sim_crash_at(w->sim, 0, false);
    } else {
        sw_abandon(w);
        cut.power = prng_below(&w->rnd, 2) == 0;
        crash(s, w->sim, cut.power);
    }
    for (size_t i = 0; i < s->npoints && !w->failed; i++) {
        try_point(s, &s->points[i]);
    }
    clear_points(s);
    if (w->failed) {
        return;
    }
    /* The life itself. */
    struct err err = {0};
    if (sim_verbose) {
        fprintf(stderr, "-- life ends at op %llu\n", (unsigned long long)cut.op);
    }
    if (cut.clean) {
        enum st st = eng_open(env_sim_env(w->sim), &w->opts, &w->store, &err);
        if (st != ST_OK) {
            sw_fail(w, "after a clean stop the store does not open: %s", err.msg);
            return;
        }
    } else if (!recover(s, w->sim, &cut, &w->store)) {
        return;
    }
    if (sw_check(w, w->sim, w->store, cut)) {
        sw_adopt(w, cut);
    }
    explain(s, "life", &cut);
}

/* Returns the crashes done. */
static uint64_t one_seed(uint64_t seed, char *fail, size_t fail_len)
{
    static struct sweep s;
    memset(&s, 0, sizeof s);
    sim_doing("--seed %llu --one", (unsigned long long)seed);
    sw_init(&s.w, seed);
    s.rnd.state = prng_mix(seed ^ 0x5eed);
    env_sim_set_trace(s.w.sim, on_op, &s);
    s.tracing = true;
    if (!sw_open(&s.w)) {
        snprintf(fail, fail_len, "%s", s.w.fail);
    }
    unsigned lives = 1 + (unsigned)prng_below(&s.w.rnd, 4);
    for (unsigned i = 0; i < lives && !s.w.failed; i++) {
        s.tracing = true;
        if (prng_below(&s.w.rnd, 3) == 0) {
            env_sim_crash_at(s.w.sim, 1 + prng_below(&s.w.rnd, 400), prng_below(&s.w.rnd, 2) == 0);
        }
        one_life(&s, 30 + (unsigned)prng_below(&s.w.rnd, 250));
    }
    clear_points(&s);
    if (s.w.failed) {
        snprintf(fail, fail_len, "%s", s.w.fail);
    }
    releases_owed += s.w.releases_owed;
    sw_fini(&s.w);
    return s.crashes;
}

static bool report(uint64_t seed, const char *fail)
{
    if (fail[0] != 0) {
        printf("FAIL --seed %llu --one: %s\n", (unsigned long long)seed, fail);
        fflush(stdout);
    }
    return fail[0] != 0;
}

int main(int argc, char **argv)
{
    uint64_t count = 2000, seed = 1, crashes = 0, failures = 0, seeds = 0, fail_max = 1;
    double limit = 0, began = sim_seconds();
    bool one = false;
    const char *list = NULL;
    const struct sim_option options[] = {
        {.name = "count", .hint = "N", .number = &count},
        {.name = "seed", .hint = "S", .number = &seed},
        {.name = "one", .flag = &one},
        {.name = "time", .hint = "SECONDS", .decimal = &limit},
        {.name = "fails", .hint = "N", .number = &fail_max},
        {.name = "seeds", .hint = "FILE", .text = &list},
    };
    if (!sim_begin("crash_sweep", options, ARRAY_LEN(options), argc, argv)) {
        return 2;
    }
    uint64_t first = seed;
    FILE *f = list != NULL ? fopen(list, "r") : NULL;
    char line[200];
    while (f != NULL && fgets(line, sizeof line, f) != NULL && failures < fail_max) {
        char fail[1200] = "";
        if (line[0] >= '0' && line[0] <= '9') {
            uint64_t old = strtoull(line, NULL, 10);
            crashes += one_seed(old, fail, sizeof fail);
            failures += report(old, fail);
            seeds++;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    do {
        char fail[1200] = "";
        crashes += one_seed(seed, fail, sizeof fail);
        failures += report(seed, fail);
        seeds++;
        seed++;
    } while (!one && failures < fail_max &&
             (limit > 0 ? sim_seconds() - began < limit : crashes < count));
    double took = sim_seconds() - began;
    printf("crash_sweep: %llu crashes, %llu lives from seeds %llu..%llu, %.1f s, %.2f ms a crash, "
           "%llu releases cut short, %llu failed\n",
           (unsigned long long)crashes, (unsigned long long)seeds, (unsigned long long)first,
           (unsigned long long)(seed - 1), took, crashes > 0 ? took * 1000 / (double)crashes : 0,
           (unsigned long long)releases_owed, (unsigned long long)failures);
    return failures != 0;
}
