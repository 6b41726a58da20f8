/* I/O errors and full disks (engine/RULES.md).
 *
 * Errors: a life is run once to count its disk operations; then again with each of them failing in
 * turn, in each way a write or a sync can fail. Full disk: a life meets a disk that has a little
 * less room each time; publishes may be refused, deletes and acks go on, and when there is room
 * again so do publishes. Never an assert, never a failed recovery, nothing acknowledged is lost.
 *
 * disk_faults [--stride N] [--seed S] [--only N] [--room BYTES] [--verbose] */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim_main.h"
#include "tests/sim/sim_world.h"

static bool healthy(struct world *w)
{
    struct err err;
    return w->store->ops->health(w->store, &err) == ST_OK;
}

/* Works as long as the store takes anything. */
static void live(struct world *w, unsigned steps)
{
    for (unsigned i = 0; i < steps && !w->failed && healthy(w); i++) {
        sw_step(w);
    }
    sw_run(w, 300);
}

static void count_incident(void *arg, const char *account, const char *stream, const char *text)
{
    (void)account;
    (void)stream;
    (void)text;
    ++*(uint64_t *)arg;
}

/* Ends the life, opens again on a disk that works, compares. */
static void end(struct world *w, unsigned how)
{
    struct sw_cut cut = {sw_op(w), how == 2, false};
    bool met = env_sim_fault_hits(w->sim) > 0;
    env_sim_faults_clear(w->sim);
    if (w->store != NULL) {
        if (how == 0) {
            sw_close(w);
            cut.op = sw_op(w);
        } else {
            sw_abandon(w);
        }
    }
    if (how == 2) {
        env_sim_power_loss(w->sim, w->seed);
    } else {
        env_sim_process_crash(w->sim);
    }
    w->faulty = false;
    uint64_t incidents = 0;
    cut.power = cut.power ||
                met; /* a device that fails a sync loses what relaxed streams left in the cache */
    if (!sw_open(w)) {
        return;
    }
    eng_incidents(w->store, count_incident, &incidents);
    if (met && incidents > 0) {
        (void)sw_check_kept(w, w->sim, w->store, cut);
        return;
    }
    if (sw_check(w, w->sim, w->store, cut)) {
        sw_adopt(w, cut);
        for (int i = 0; i < 40 && !w->failed; i++) { /* and it serves */
            sw_step(w);
        }
        sw_settle(w);
    }
}

/* Returns false when the fault was never met: the sweep is over. */
static bool one_error(uint64_t seed, uint64_t n, enum env_sim_effect effect, unsigned steps,
                      bool *failed, uint64_t *poisoned)
{
    struct world w;
    sim_doing("--seed %llu --only %llu (effect %d)", (unsigned long long)seed,
              (unsigned long long)n, (int)effect);
    sw_init(&w, seed);
    w.opts.journal_file_min_bytes = w.opts.journal_file_max_bytes = 32 * KIB; /* many of them */
    w.faulty = true;
    struct env_sim_fault f = {.skip = n, .times = 1, .effect = effect};
    env_sim_fault(w.sim, &f);
    if (sw_open(&w)) {
        live(&w, steps);
        *poisoned += !healthy(&w);
    }
    bool met = env_sim_fault_hits(w.sim) > 0;
    if (!w.failed) {
        end(&w, (unsigned)(n + (uint64_t)effect) % 3);
    }
    if (w.failed) {
        printf("FAIL --seed %llu --only %llu: effect %d: %s\n", (unsigned long long)seed,
               (unsigned long long)n, (int)effect, w.fail);
        *failed = true;
    }
    sw_fini(&w);
    return met;
}

/* Deletes and acks on every stream; each must be taken. */
static void shrink(struct world *w)
{
    for (uint32_t slot = 0; slot < SW_SLOTS && !w->failed; slot++) {
        struct sw_inst *in = sw_slot(w, slot);
        for (int i = 0; i < 4 && in != NULL && in->h != NULL; i++) {
            sw_fetch(w, in);
            sw_ack_some(w, in);
            sw_delete_msg(w, in);
            sw_settle(w);
        }
    }
}

/* There is room again: publishes go on. */
static void publish_again(struct world *w)
{
    w->full = w->no_store = 0;
    for (uint32_t slot = 0; slot < SW_SLOTS && !w->failed; slot++) {
        struct sw_inst *in = sw_slot(w, slot);
        if (in != NULL && in->h != NULL) {
            sw_publish(w, in, 100);
            sw_settle(w);
        }
    }
    if (w->full > 0) {
        sw_fail(w, "publishes are refused though there is room again");
    }
}

/* There is room again: publishes go on, and all numbers are right. */
static void room_again(struct world *w)
{
    for (int i = 0; i < 6 && !w->failed; i++) {
        sw_run(w, 300);
        sw_advance(w, NS_PER_S);
    }
    if (!w->failed) {
        sw_settle(w);
    }
    w->faulty = false;
    publish_again(w);
    if (!w->failed) {
        (void)sw_compare(w);
    }
}

static void full_disk(uint64_t seed, uint64_t room, bool *failed, uint64_t *refused)
{
    struct world w;
    sim_doing("full disk --seed %llu, %llu bytes of room", (unsigned long long)seed,
              (unsigned long long)room);
    sw_init(&w, seed);
    w.opts.journal_file_min_bytes = w.opts.journal_file_max_bytes = 32 * KIB; /* many of them */
    bool ok = sw_open(&w);
    for (unsigned i = 0; i < 60 && ok && !w.failed; i++) {
        sw_step(&w);
    }
    if (ok && !w.failed) {
        sw_settle(&w);
    }
    w.faulty = true;
    w.refused = 0;
    /* A disk that is full by its size, without the low-water mark: that one is looked at every two
     * seconds. */
    env_sim_set_disk_bytes(w.sim, env_sim_used_bytes(w.sim) + room);
    for (unsigned i = 0; i < 150 && ok && !w.failed && healthy(&w); i++) {
        struct sw_inst *in = sw_slot(&w, (uint32_t)prng_below(&w.rnd, SW_SLOTS));
        if (in != NULL && in->h != NULL) {
            sw_publish(&w, in, 1 + (uint32_t)prng_below(&w.rnd, 6000));
        }
        if (i % 8 == 7) {
            sw_run(&w, 100);
            sw_advance(&w, 500 * NS_PER_MS);
        }
    }
    *refused += w.full + w.no_store;
    if (ok && !w.failed && !healthy(&w)) {
        sw_fail(&w, "the lane is poisoned by a full disk");
    }
    bool killed = ok && !w.failed && room / 4096 % 2 == 1; /* while it is full */
    if (killed) {
        env_sim_set_disk_bytes(w.sim, 64 * GIB);
        end(&w, 1 + (unsigned)(room / 8192 % 2));
        ok = false;
    }
    for (int i = 0; i < 4 && ok && !w.failed; i++) {
        shrink(&w);
        sw_checkpoint(&w);
        sw_run(&w, 300);
        sw_advance(&w, 1500 * NS_PER_MS);
    }
    if (ok && !w.failed && w.refused > 0) {
        sw_fail(&w, "%llu deletes and acks were refused on a full disk",
                (unsigned long long)w.refused);
    }
    env_sim_set_disk_bytes(w.sim, 64 * GIB);
    if (ok && !w.failed) {
        room_again(&w);
    }
    if (!w.failed && !killed) {
        end(&w, (unsigned)(room / 4096 % 3));
    }
    if (w.failed) {
        printf("FAIL full disk: --seed %llu --room %llu: %s\n", (unsigned long long)seed,
               (unsigned long long)room, w.fail);
        *failed = true;
    }
    sw_fini(&w);
}

int main(int argc, char **argv)
{
    uint64_t stride = 20, seed = 1, only = UINT64_MAX, room_only = UINT64_MAX, runs = 0,
             failures = 0, poisoned = 0, refused = 0, fulls = 0, fail_max = 1;
    const struct sim_option options[] = {
        {.name = "stride", .hint = "N", .number = &stride},
        {.name = "seed", .hint = "S", .number = &seed},
        {.name = "only", .hint = "N", .number = &only},
        {.name = "room", .hint = "BYTES", .number = &room_only},
        {.name = "fails", .hint = "N", .number = &fail_max},
    };
    if (!sim_begin("disk_faults", options, ARRAY_LEN(options), argc, argv)) {
        return 2;
    }
    double began = sim_seconds();
    static const enum env_sim_effect effects[] = {ENV_SIM_FAIL, ENV_SIM_FAIL_CACHED,
                                                  ENV_SIM_FAIL_PART, ENV_SIM_FAIL_DONE};
    if (room_only != UINT64_MAX) {
        bool failed = false;
        full_disk(seed, room_only, &failed, &refused);
        return failed;
    }
    for (uint64_t s = seed; s < seed + 3 && failures < fail_max; s++) {
        for (size_t e = 0; e < ARRAY_LEN(effects) && failures < fail_max; e++) {
            bool met = true;
            for (uint64_t n = only != UINT64_MAX ? only : e; met && failures < fail_max;
                 n += stride) {
                bool failed = false;
                met = one_error(s, n, effects[e], 120, &failed, &poisoned) && only == UINT64_MAX;
                failures += failed;
                runs++;
            }
        }
        for (uint64_t room = 0; room < 400 * 4096 && failures < fail_max && only == UINT64_MAX;
             room += stride * 2048) {
            bool failed = false;
            full_disk(s, room, &failed, &refused);
            failures += failed;
            fulls++;
        }
    }
    printf("disk_faults: %llu lives with a failing operation (%llu poisoned), %llu with a full "
           "disk (%llu publishes refused), "
           "seeds %llu..%llu, %.1f s, %llu failed\n",
           (unsigned long long)runs, (unsigned long long)poisoned, (unsigned long long)fulls,
           (unsigned long long)refused, (unsigned long long)seed, (unsigned long long)seed + 2,
           sim_seconds() - began, (unsigned long long)failures);
    return failures != 0;
}
