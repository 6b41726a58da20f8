#include "tests/lib/testlib.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);
    return s == NULL || *s == '\0' ? otherwise : strtoull(s, NULL, 0);
}

uint64_t test_seed(void)
{
    static uint64_t seed;
    static bool drawn;
    if (!drawn) {
        drawn = true;
        uint64_t fresh = 1;
        if (getrandom(&fresh, sizeof(fresh), 0) != (ssize_t)sizeof(fresh)) {
            fresh = 1;
        }
        seed = number_from_env("MR_SEED", fresh >> 16); /* short enough to copy by hand */
        printf("seed: MR_SEED=%llu\n", (unsigned long long)seed);
        fflush(stdout);
    }
    return seed;
}

unsigned test_rounds(unsigned usual)
{
    return (unsigned)number_from_env("MR_ROUNDS", usual);
}

char *test_mkdtemp(void)
{
    const char *base = getenv("TMPDIR");
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/millrace-test-XXXXXX",
                   base == NULL || *base == '\0' ? "/tmp" : base);
    if (mkdtemp(path) == NULL) {
        fail_msg("could not make a directory from %s", path);
    }
    return base_strdup(path);
}

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
    (void)sb;
    (void)type;
    (void)ftw;
    return remove(path);
}

void test_rmdir(char *path)
{
    if (path != NULL) {
        (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        base_free(path);
    }
}

const char *test_path(const char *dir, const char *name)
{
    static char ring[8][1024];
    static unsigned next;
    char *out = ring[next++ % ARRAY_LEN(ring)];
    (void)snprintf(out, sizeof(ring[0]), "%s/%s", dir, name);
    return out;
}

void test_ok_at(enum st st, const struct err *err, const char *file, int line)
{
    if (st != ST_OK) {
        print_error("%s:%d: %s: %s\n", file, line, st_name(st), err == NULL ? "" : err->msg);
        _fail(file, line);
    }
}

void test_st_at(enum st st, enum st want, const char *file, int line)
{
    if (st != want) {
        print_error("%s:%d: %s, wanted %s\n", file, line, st_name(st), st_name(want));
        _fail(file, line);
    }
}

unsigned test_sweep_alloc(void (*scenario)(void *arg), void *arg)
{
    for (unsigned n = 1;; n++) {
        base_fail_try_alloc_at(n);
        scenario(arg);
        bool hit = base_try_alloc_count() >= n;
        base_fail_try_alloc_at(0);
        if (!hit) {
            return n;
        }
        assert_true(n < 100000);
    }
}
