#include "broker/cpus.h"
#include "engine/base/base.h"
#include "tests/lib/testlib.h"

#include <stdlib.h>

static void quotas(void **state)
{
    (void)state;
    assert_int_equal(brk_cpus_quota_of("50000 100000\n"), 50);
    assert_int_equal(brk_cpus_quota_of("200000 100000\n"), 200);
    assert_int_equal(brk_cpus_quota_of("1000 10000"), 10);
    static const char *const none[] = {
        "max 100000\n", "",     "0 100000",  "-5 100000",
        "50000",        "50 0", "50000 max", "9223372036854775807 1"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        assert_true(brk_cpus_quota_of(none[i]) == BRK_CPUS_NO_QUOTA);
    }
}

/* A /proc and /sys of ours. */
struct world {
    struct env env;
    const char *const (*files)[2];
};

static enum st world_open(struct env *env, const char *path, unsigned flags,
                          struct env_file **file_out, struct err *err)
{
    struct world *w = CONTAINER_OF(env, struct world, env);
    (void)flags;
    *file_out = NULL;
    for (size_t i = 0; w->files[i][0] != NULL; i++) {
        if (strcmp(w->files[i][0], path) == 0) {
            union {
                const char *in;
                struct env_file *out;
            } u = {.in = w->files[i][1]};
            *file_out = u.out;
            return ST_OK;
        }
    }
    return err_set(err, ST_NOTFOUND, 0, "%s", path);
}

static enum st world_pread(struct env *env, struct env_file *f, void *buf, size_t len, uint64_t off,
                           size_t *got, struct err *err)
{
    const char *text = (const char *)f;
    (void)env;
    (void)err;
    assert_int_equal(off, 0);
    *got = strlen(text) < len ? strlen(text) : len;
    memcpy(buf, text, *got);
    return ST_OK;
}

static void world_close(struct env *env, struct env_file *f)
{
    (void)env;
    (void)f;
}

static int64_t quota_in(const char *const files[][2])
{
    static const struct env_ops ops = {
        .open = world_open, .pread = world_pread, .close = world_close};
    struct world w = {.env = {&ops}, .files = files};
    return brk_cpus_quota(&w.env);
}

#define SELF "/proc/self/cgroup"
#define MAX "/cpu.max"
#define ROOT "/sys/fs/cgroup"

static void the_least_of_all_groups_above_counts(void **state)
{
    static const char *const nothing[][2] = {{NULL, NULL}};
    static const char *const old[][2] = {{SELF, "12:cpu,cpuacct:/a\n"}, {NULL, NULL}};
    static const char *const own[][2] = {
        {SELF, "0::/a/b\n"}, {ROOT "/a/b" MAX, "150000 100000\n"}, {NULL, NULL}};
    static const char *const above[][2] = {{SELF, "1:name=systemd:/x\n0::/a/b\n"},
                                           {ROOT "/a/b" MAX, "max 100000\n"},
                                           {ROOT "/a" MAX, "30000 100000\n"},
                                           {ROOT MAX, "100000 100000\n"},
                                           {NULL, NULL}};
    static const char *const container[][2] = {
        {SELF, "0::/\n"}, {ROOT MAX, "100000 100000\n"}, {NULL, NULL}};
    static const char *const outside[][2] = {
        {SELF, "0::/../x\n"}, {ROOT MAX, "100000 100000\n"}, {NULL, NULL}};
    (void)state;
    assert_true(quota_in(nothing) == BRK_CPUS_NO_QUOTA);
    assert_true(quota_in(old) == BRK_CPUS_NO_QUOTA);
    assert_int_equal(quota_in(own), 150);
    assert_int_equal(quota_in(above), 30);
    assert_int_equal(quota_in(container), 100);
    assert_int_equal(quota_in(outside), 100);
}

static void this_machine(void **state)
{
    struct env *env = env_real_create();
    (void)state;
    assert_true(brk_cpus_online() >= 1);
    assert_int_equal(brk_cpus_to_spare(env), brk_cpus_online() > 1 && brk_cpus_quota(env) >= 200);
    env_real_destroy(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotas),
        cmocka_unit_test(the_least_of_all_groups_above_counts),
        cmocka_unit_test(this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
