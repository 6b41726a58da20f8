/* An engine of one's own and a drive for it, on the simulated world or on a real directory: for
 * tests of what stands above engine/store.h. All in the header: tests/lib is linked into every
 * test, and some of them replace parts of the engine. */
#ifndef TESTS_LIB_DRIVEFIX_H
#define TESTS_LIB_DRIVEFIX_H

#include "tests/lib/testlib.h"

#include <pthread.h>
#include <time.h>

#include "engine/base/env_sim.h"
#include "engine/engine.h"
#include "engine/store_drive.h"

struct drivefix {
    bool real;
    bool roomy; /* simulated, with a journal of the usual size */
    struct env *env;
    struct env_sim *sim; /* NULL: real */
    char *dir;           /* real: owned */
    struct store *store;
    struct store_drive drive;
    void *bell; /* real: what wait rests on */
};

struct drivefix_bell {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool rung;
};

static inline void drivefix_ring(void *arg)
{
    struct drivefix_bell *b = arg;
    pthread_mutex_lock(&b->mutex);
    b->rung = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->mutex);
}

static inline bool drivefix_wait_real(void *arg, int64_t deadline_boot_ns)
{
    struct drivefix *f = arg;
    struct drivefix_bell *b = f->bell;
    int64_t rest = deadline_boot_ns - env_boot_ns(f->env);
    if (rest <= 0) {
        return true;
    }
    rest = rest > 10 * NS_PER_S ? 10 * NS_PER_S : rest;
    int64_t until = env_real_ns(f->env) + rest;
    struct timespec ts = {.tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S};
    pthread_mutex_lock(&b->mutex);
    int late = 0;
    while (!b->rung && late == 0) {
        late = pthread_cond_timedwait(&b->cond, &b->mutex, &ts);
    }
    b->rung = false;
    pthread_mutex_unlock(&b->mutex);
    return true;
}

/* Nothing left to run: time goes to the next deadline; without one it gives up. */
static inline bool drivefix_wait_sim(void *arg, int64_t deadline_boot_ns)
{
    struct drivefix *f = arg;
    if (env_sim_step_one(f->sim)) {
        return true;
    }
    int64_t now = env_boot_ns(f->env);
    if (deadline_boot_ns == INT64_MAX) {
        return env_sim_advance_to_timer(f->sim);
    }
    if (deadline_boot_ns > now) {
        env_sim_advance(f->sim, deadline_boot_ns - now);
    }
    return true;
}

static inline void drivefix_open_store(struct drivefix *f)
{
    struct err err = {0};
    struct eng_opts o = {.store_dir = f->real ? f->dir : "/data",
                         .max_file_bytes = UINT64_MAX,
                         .max_mem_bytes = UINT64_MAX,
                         .doorbell = drivefix_ring,
                         .doorbell_arg = f->bell,
                         .journal_file_min_bytes = f->real || f->roomy ? 0 : 64 * KIB,
                         .journal_file_max_bytes = f->real || f->roomy ? 0 : 256 * KIB,
                         .journal_window_bytes = f->real || f->roomy ? 0 : MIB};
    TEST_OK(eng_open(f->env, &o, &f->store, &err), &err);
    f->drive.store = f->store;
}

static inline void drivefix_init_as(struct drivefix *f, bool real, bool roomy, uint64_t seed)
{
    memset(f, 0, sizeof *f);
    f->roomy = roomy;
    struct drivefix_bell *b = base_calloc(1, sizeof *b);
    pthread_mutex_init(&b->mutex, NULL);
    pthread_cond_init(&b->cond, NULL);
    f->bell = b;
    f->real = real;
    if (real) {
        f->env = env_real_create();
        f->dir = test_mkdtemp();
    } else {
        f->sim = env_sim_create(seed);
        f->env = env_sim_env(f->sim);
        env_sim_set_real_ns(f->sim, 1700000000 * NS_PER_S);
    }
    f->drive.wait = real ? drivefix_wait_real : drivefix_wait_sim;
    f->drive.arg = f;
    drivefix_open_store(f);
}

static inline void drivefix_init(struct drivefix *f, bool real, uint64_t seed)
{
    drivefix_init_as(f, real, false, seed);
}

static inline void drivefix_fini(struct drivefix *f)
{
    struct drivefix_bell *b = f->bell;
    eng_close(f->store);
    if (f->real) {
        env_real_destroy(f->env);
        test_rmdir(f->dir);
    } else {
        env_sim_destroy(f->sim);
    }
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->mutex);
    base_free(b);
}

/* Closes the store and opens it again; kill: as a killed process leaves it. */
static inline void drivefix_restart(struct drivefix *f, bool kill)
{
    if (kill) {
        eng_abandon(f->store);
        if (!f->real) {
            env_sim_process_crash(f->sim);
        }
    } else {
        eng_close(f->store);
    }
    drivefix_open_store(f);
}

static inline void drivefix_on_settled(void *arg, enum st st, uint64_t n, const struct err *err)
{
    (void)st;
    (void)n;
    (void)err;
    *(bool *)arg = true;
}

/* Lets everything that is under way end. */
static inline void drivefix_settle(struct drivefix *f)
{
    const struct store_ops *ops = f->store->ops;
    for (int round = 0; round < 2; round++) {
        for (struct store_stream *s = ops->stream_next(f->store, NULL, NULL); s != NULL;
             s = ops->stream_next(f->store, NULL, s)) {
            bool done = false;
            ops->stream_barrier(s, drivefix_on_settled, &done);
            assert_int_equal(store_drive_until(&f->drive, &done), ST_OK);
        }
    }
}

#endif
