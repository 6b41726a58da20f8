/* A store in memory for tests of what stands above engine/store.h: simple arrays, callbacks from
 * poll, nothing durable. It follows the interface's rules (a call never completes inside itself)
 * and nothing of the engine's design. */
#ifndef TESTS_LIB_FAKE_STORE_H
#define TESTS_LIB_FAKE_STORE_H

#include "engine/base/env.h"
#include "engine/store.h"

/* doorbell is called when poll has something to do. */
struct store *fake_store_create(struct env *env, void (*doorbell)(void *), void *arg);
void fake_store_destroy(struct store *s);
/* The next n appends return ST_FULL. */
void fake_store_full(struct store *s, unsigned n);

#endif
