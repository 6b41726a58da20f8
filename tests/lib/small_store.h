/* What fixtures of a store on the simulated world share: options with which little is much (the
 * journal turns over after a few hundred messages), and its turns. A header only, since other tests
 * replace parts of the engine. */
#ifndef TESTS_LIB_SMALL_STORE_H
#define TESTS_LIB_SMALL_STORE_H

#include "engine/base/env_sim.h"
#include "engine/engine.h"
#include "tests/lib/testlib.h"

static inline void small_store_quiet(void *arg)
{
    (void)arg; /* a doorbell for tests that look anyway */
}

static inline struct eng_opts small_store_opts(uint64_t window_bytes)
{
    return (struct eng_opts){.store_dir = "/data",
                             .max_file_bytes = UINT64_MAX,
                             .max_mem_bytes = UINT64_MAX,
                             .doorbell = small_store_quiet,
                             .journal_file_min_bytes = 64 * KIB,
                             .journal_file_max_bytes = 256 * KIB,
                             .journal_window_bytes = window_bytes};
}

/* Opens it; fails the test where it cannot be. */
static inline struct store *small_store_open(struct env_sim *sim, const struct eng_opts *o)
{
    struct store *store;
    struct err err = {0};
    TEST_OK(eng_open(env_sim_env(sim), o, &store, &err), &err);
    return store;
}

/* The owner's turns while there is something to do, `steps` of the engine's tasks at most. */
static inline void small_store_spin(struct store *store, struct env_sim *sim, int steps)
{
    store->ops->turn(store);
    for (int i = 0; i < steps; i++) {
        bool stepped = env_sim_step_one(sim);
        store->ops->poll(store);
        if (!stepped) {
            break;
        }
    }
    store->ops->turn(store);
}

#endif
