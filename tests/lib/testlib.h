/* What unit tests share: a seed that can be replayed, a directory of one's own, fault sweeps. Tests
 * include this instead of cmocka.h (which wants four headers before it). */
#ifndef TESTS_LIB_TESTLIB_H
#define TESTS_LIB_TESTLIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/base/base.h"
#include "engine/base/env.h"
#include "engine/base/prng.h"

/* The seed of this run: MR_SEED when set, else drawn once per process; printed the first time it is
 * asked for. Derive one generator per test: struct prng p = {test_seed() + n}; */
uint64_t test_seed(void);
/* MR_ROUNDS when set, else `usual`: how often a random test goes round. */
unsigned test_rounds(unsigned usual);

/* Makes a fresh directory under TMPDIR (or /tmp). Returns its path, owned by the caller (test_rmdir
 * frees it). */
char *test_mkdtemp(void);
/* Removes the directory with everything in it and frees path. NULL is a no-op. */
void test_rmdir(char *path);
/* "dir/name" in one of a few static buffers: valid for the next seven calls. */
const char *test_path(const char *dir, const char *name);

/* Fails the test with the error's text when st is not ST_OK. */
void test_ok_at(enum st st, const struct err *err, const char *file, int line);
#define TEST_OK(st, err) test_ok_at((st), (err), __FILE__, __LINE__)
/* Fails the test unless st is `want`, naming both. */
void test_st_at(enum st st, enum st want, const char *file, int line);
#define TEST_ST(st, want) test_st_at((st), (want), __FILE__, __LINE__)

/* Allocation sweep: runs scenario(arg) failing the 1st, 2nd, 3rd ... base_try_* call, until a run
 * ends without one. The scenario checks itself; it must come through every failure without a leak.
 * Returns the runs. */
unsigned test_sweep_alloc(void (*scenario)(void *arg), void *arg);

#endif
