/* One suite for struct env, run on the real and on the simulated world. Everything happens below a
 * directory of its own, made through the env under test. */
#include "tests/lib/testlib.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/env_sim.h"

struct world {
    struct env *env;
    struct env_sim *sim; /* NULL: real */
    char *tmp;           /* real: directory to remove */
    const char *dir;
};

static int real_setup(void **state)
{
    struct world *w = base_calloc(1, sizeof(*w));
    w->env = env_real_create();
    w->tmp = test_mkdtemp();
    w->dir = w->tmp;
    *state = w;
    return 0;
}

static int sim_setup(void **state)
{
    struct world *w = base_calloc(1, sizeof(*w));
    w->sim = env_sim_create(test_seed());
    w->env = env_sim_env(w->sim);
    w->dir = "/store";
    TEST_OK(env_mkdir(w->env, w->dir, NULL), NULL);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    if (w->sim != NULL) {
        env_sim_destroy(w->sim);
    } else {
        test_rmdir(w->tmp);
        env_real_destroy(w->env);
    }
    base_free(w);
    return 0;
}

static struct env_file *must_open(struct world *w, const char *name, unsigned flags)
{
    struct env_file *f;
    struct err err;
    TEST_OK(env_open(w->env, test_path(w->dir, name), flags, &f, &err), &err);
    return f;
}

static void opens_say_what_is_wrong(void **state)
{
    struct world *w = *state;
    struct err err;
    struct env_file *f = (struct env_file *)(void *)w;
    const char *path = test_path(w->dir, "f");
    TEST_ST(env_open(w->env, path, ENV_RDWR, &f, &err), ST_NOTFOUND);
    assert_null(f);
    assert_non_null(strstr(err.msg, path));
    assert_int_not_equal(err.os_errno, 0);
    TEST_OK(env_open(w->env, path, ENV_RDWR | ENV_CREATE | ENV_EXCL, &f, &err), &err);
    env_close(w->env, f);
    TEST_ST(env_open(w->env, path, ENV_RDWR | ENV_CREATE | ENV_EXCL, &f, &err), ST_EXISTS);
    TEST_OK(env_open(w->env, path, ENV_RDONLY | ENV_CREATE, &f, &err), &err);
    TEST_ST(env_pwrite(w->env, f, "x", 1, 0, NULL), ST_INVALID);
    env_close(w->env, f);
    TEST_ST(env_open(w->env, test_path(w->dir, "no/f"), ENV_RDWR | ENV_CREATE, &f, NULL),
            ST_NOTFOUND);
    TEST_ST(env_open(w->env, test_path(w->dir, "f/g"), ENV_RDWR | ENV_CREATE, &f, NULL),
            ST_INVALID);
    TEST_ST(env_open(w->env, w->dir, ENV_RDWR, &f, NULL), ST_INVALID);
    env_close(w->env, NULL);
}

static void reads_what_was_written(void **state)
{
    struct world *w = *state;
    struct env_file *f = must_open(w, "f", ENV_RDWR | ENV_CREATE);
    struct err err;
    char a[] = "hello ", b[] = "", c[] = "world";
    struct iovec iov[] = {{b, 0}, {a, 6}, {b, 0}, {c, 5}, {b, 0}};
    TEST_OK(env_pwritev(w->env, f, iov, 5, 10, &err), &err);
    TEST_OK(env_pwritev(w->env, f, iov, 0, 99, &err), &err);
    char buf[32];
    size_t got;
    TEST_OK(env_pread(w->env, f, buf, sizeof(buf), 8, &got, &err), &err);
    assert_int_equal(got, 13);
    assert_memory_equal(buf, "\0\0hello world", 13);
    TEST_OK(env_pread(w->env, f, buf, sizeof(buf), 21, &got, &err), &err);
    assert_int_equal(got, 0);
    TEST_OK(env_pread(w->env, f, buf, sizeof(buf), 1 << 20, &got, &err), &err);
    assert_int_equal(got, 0);
    uint64_t size;
    TEST_OK(env_size(w->env, f, &size, &err), &err);
    assert_int_equal(size, 21);
    TEST_OK(env_datasync(w->env, f, &err), &err);
    env_drop_cache(w->env, f, 0, 0);
    TEST_OK(env_pread(w->env, f, buf, 5, 10, &got, &err), &err);
    assert_memory_equal(buf, "hello", 5);
    env_close(w->env, f);
}

static void many_pieces_are_one_write(void **state)
{
    struct world *w = *state;
    struct env_file *f = must_open(w, "f", ENV_RDWR | ENV_CREATE);
    enum { PIECES = 1500 }; /* more than one system call takes */
    static char data[PIECES * 7], back[PIECES * 7];
    static struct iovec iov[PIECES];
    struct prng p = {test_seed()};
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (char)prng_next(&p);
    }
    for (size_t i = 0; i < PIECES; i++) {
        iov[i] = (struct iovec){data + 7 * i, 7};
    }
    TEST_OK(env_pwritev(w->env, f, iov, PIECES, 4090, NULL), NULL);
    size_t got;
    TEST_OK(env_pread(w->env, f, back, sizeof(back), 4090, &got, NULL), NULL);
    assert_int_equal(got, sizeof(back));
    assert_memory_equal(data, back, sizeof(back));
    env_close(w->env, f);
}

static void sizes_change(void **state)
{
    struct world *w = *state;
    struct env_file *f = must_open(w, "f", ENV_RDWR | ENV_CREATE);
    uint64_t size;
    uint8_t b[8];
    size_t got;
    struct err err;
    TEST_OK(env_fallocate(w->env, f, 4096, 4096, &err), &err);
    TEST_OK(env_size(w->env, f, &size, &err), &err);
    assert_int_equal(size, 8192);
    TEST_OK(env_pwrite(w->env, f, "abcdefgh", 8, 0, &err), &err);
    TEST_OK(env_fallocate(w->env, f, 0, 4096, &err), &err);
    TEST_OK(env_size(w->env, f, &size, &err), &err);
    assert_int_equal(size, 8192);
    TEST_OK(env_truncate(w->env, f, 3, &err), &err);
    TEST_OK(env_truncate(w->env, f, 100, &err), &err);
    TEST_OK(env_pread(w->env, f, b, 8, 0, &got, &err), &err);
    assert_memory_equal(b, "abc\0\0\0\0\0", 8);
    TEST_OK(env_size(w->env, f, &size, &err), &err);
    assert_int_equal(size, 100);
    env_close(w->env, f);
}

static void a_hole_reads_as_zeros(void **state)
{
    struct world *w = *state;
    struct env_file *f = must_open(w, "f", ENV_RDWR | ENV_CREATE);
    uint8_t data[4 * BASE_PAGE], back[4 * BASE_PAGE];
    uint64_t size;
    size_t got;
    struct err err;
    memset(data, 'x', sizeof(data));
    TEST_OK(env_pwrite(w->env, f, data, sizeof(data), 0, &err), &err);
    enum st st = env_punch(w->env, f, BASE_PAGE, 2ull * BASE_PAGE, &err);
    if (st != ST_UNSUPPORTED) {
        TEST_OK(st, &err);
        memset(data + BASE_PAGE, 0, 2ull * BASE_PAGE);
    }
    TEST_OK(env_size(w->env, f, &size, &err), &err);
    assert_int_equal(size, sizeof(data));
    TEST_OK(env_pread(w->env, f, back, sizeof(back), 0, &got, &err), &err);
    assert_int_equal(got, sizeof(back));
    assert_memory_equal(data, back, sizeof(back));
    env_close(w->env, f);
}

static void random_io_equals_an_array(void **state)
{
    struct world *w = *state;
    struct prng p = {test_seed() + 7};
    enum { MAX = 300 * 1024 };
    uint8_t *model = base_calloc(1, MAX), *buf = base_malloc(MAX);
    uint64_t size = 0;
    struct env_file *f = must_open(w, "f", ENV_RDWR | ENV_CREATE);
    for (unsigned i = 0; i < 400; i++) {
        uint64_t off = prng_below(&p, MAX - 1);
        size_t len = (size_t)prng_below(&p, u64_min(20000, MAX - off)) + 1;
        size_t got;
        switch (prng_below(&p, 6)) {
        case 0:
        case 1:
            for (size_t k = 0; k < len; k++) {
                buf[k] = prng_below(&p, 3) == 0 ? 0 : (uint8_t)prng_next(&p);
            }
            TEST_OK(env_pwrite(w->env, f, buf, len, off, NULL), NULL);
            memcpy(model + off, buf, len);
            size = u64_max(size, off + len);
            break;
        case 2:
            TEST_OK(env_truncate(w->env, f, off, NULL), NULL);
            memset(model + off, 0, MAX - off);
            size = off;
            break;
        case 3:
            TEST_OK(env_datasync(w->env, f, NULL), NULL);
            env_drop_cache(w->env, f, off, len);
            break;
        case 4:
            TEST_OK(env_fallocate(w->env, f, off, len, NULL), NULL);
            size = u64_max(size, off + len);
            break;
        default:
            TEST_OK(env_pread(w->env, f, buf, len, off, &got, NULL), NULL);
            assert_int_equal(got, off >= size ? 0 : u64_min(len, size - off));
            assert_memory_equal(buf, model + off, got);
            break;
        }
    }
    size_t got;
    TEST_OK(env_pread(w->env, f, buf, MAX, 0, &got, NULL), NULL);
    assert_int_equal(got, size);
    assert_memory_equal(buf, model, got);
    env_close(w->env, f);
    base_free(model);
    base_free(buf);
}

/* What goes past the page cache is seen through it, and the other way round. */
static void direct_io_beside_the_cache(void **state)
{
    struct world *w = *state;
    struct prng p = {test_seed() + 8};
    enum { PAGES = 40, MAX = PAGES * BASE_PAGE };
    uint8_t *model = base_calloc(1, MAX), *buf = base_pages(MAX);
    struct env_file *f = must_open(w, "f", ENV_RDWR | ENV_CREATE);
    uint64_t size = 0;
    size_t got;
    for (unsigned i = 0; i < 200; i++) {
        uint64_t at = prng_below(&p, PAGES), off = at * BASE_PAGE;
        size_t len = (size_t)(prng_below(&p, PAGES - at) + 1) * BASE_PAGE;
        unsigned what = (unsigned)prng_below(&p, 4);
        if (what < 2) {
            memset(buf, (int)(i & 0xff), len);
            buf[len / 2] = (uint8_t)prng_next(&p);
            TEST_OK(what == 0 ? env_pwrite_direct(w->env, f, buf, len, off, NULL)
                              : env_pwrite(w->env, f, buf, len - 9, off, NULL),
                    NULL);
            memcpy(model + off, buf, what == 0 ? len : len - 9);
            size = u64_max(size, off + len - (what == 0 ? 0 : 9));
            continue;
        }
        memset(buf, 0xee, len);
        TEST_OK(what == 2 ? env_pread_direct(w->env, f, buf, len, off, &got, NULL)
                          : env_pread(w->env, f, buf, len, off, &got, NULL),
                NULL);
        assert_int_equal(got, off >= size ? 0 : u64_min(len, size - off));
        assert_memory_equal(buf, model + off, got);
    }
    TEST_OK(env_datasync(w->env, f, NULL), NULL);
    env_close(w->env, f);
    f = must_open(w, "f", ENV_RDONLY);
    TEST_OK(env_pread_direct(w->env, f, buf, MAX, 0, &got, NULL), NULL);
    assert_int_equal(got, size);
    assert_memory_equal(buf, model, got);
    assert_int_not_equal(env_pwrite_direct(w->env, f, buf, BASE_PAGE, 0, NULL), ST_OK);
    env_close(w->env, f);
    base_free(model);
    base_pages_free(buf, MAX);
}

static void collect(void *arg, const char *name, bool is_dir)
{
    char *out = arg;
    size_t at = strlen(out);
    (void)snprintf(out + at, 256 - at, "%s%s ", name, is_dir ? "/" : "");
}

static void directories_work(void **state)
{
    struct world *w = *state;
    struct err err;
    char names[256] = "";
    const char *d = test_path(w->dir, "d"), *e = test_path(w->dir, "e");
    TEST_OK(env_mkdir(w->env, d, &err), &err);
    TEST_ST(env_mkdir(w->env, d, &err), ST_EXISTS);
    env_close(w->env, must_open(w, "d/x", ENV_RDWR | ENV_CREATE));
    TEST_ST(env_rmdir(w->env, d, &err), ST_BUSY);
    TEST_ST(env_unlink(w->env, test_path(w->dir, "nothing"), &err), ST_NOTFOUND);
    TEST_OK(env_list(w->env, w->dir, collect, names, &err), &err);
    assert_string_equal(names, "d/ ");
    TEST_OK(env_rename(w->env, d, e, &err), &err);
    names[0] = '\0';
    TEST_OK(env_list(w->env, e, collect, names, &err), &err);
    assert_string_equal(names, "x ");
    TEST_ST(env_list(w->env, d, collect, names, &err), ST_NOTFOUND);
    TEST_OK(env_dirsync(w->env, w->dir, &err), &err);
    TEST_ST(env_dirsync(w->env, d, &err), ST_NOTFOUND);
    TEST_ST(env_rmdir(w->env, test_path(e, "x"), &err), ST_INVALID);
    TEST_OK(env_unlink(w->env, test_path(e, "x"), &err), &err);
    TEST_OK(env_rmdir(w->env, e, &err), &err);
    TEST_ST(env_rename(w->env, d, e, &err), ST_NOTFOUND);
}

static void rename_replaces(void **state)
{
    struct world *w = *state;
    struct err err;
    struct env_file *old = must_open(w, "b", ENV_RDWR | ENV_CREATE);
    TEST_OK(env_pwrite(w->env, old, "old", 3, 0, &err), &err);
    struct env_file *f = must_open(w, "a", ENV_RDWR | ENV_CREATE);
    TEST_OK(env_pwrite(w->env, f, "new", 3, 0, &err), &err);
    env_close(w->env, f);
    TEST_OK(env_rename(w->env, test_path(w->dir, "a"), test_path(w->dir, "b"), &err), &err);
    uint8_t *buf;
    size_t len;
    TEST_OK(env_read_file(w->env, test_path(w->dir, "b"), 100, &buf, &len, &err), &err);
    assert_int_equal(len, 3);
    assert_string_equal((char *)buf, "new");
    base_free(buf);
    char back[3];
    TEST_OK(env_pread(w->env, old, back, 3, 0, &len, &err), &err); /* still open, nameless */
    assert_memory_equal(back, "old", 3);
    env_close(w->env, old);
    TEST_ST(env_read_file(w->env, test_path(w->dir, "b"), 2, &buf, &len, &err), ST_TOOBIG);
    assert_null(buf);
    TEST_ST(env_read_file(w->env, test_path(w->dir, "a"), 2, &buf, &len, &err), ST_NOTFOUND);
}

static void read_file_survives_no_memory(void **state)
{
    struct world *w = *state;
    env_close(w->env, must_open(w, "f", ENV_RDWR | ENV_CREATE));
    uint8_t *buf;
    size_t len;
    base_fail_try_alloc_at(1);
    TEST_ST(env_read_file(w->env, test_path(w->dir, "f"), 10, &buf, &len, NULL), ST_NOMEM);
    base_fail_try_alloc_at(0);
    assert_null(buf);
}

static void lock_excludes(void **state)
{
    struct world *w = *state;
    struct err err;
    struct env_lock *l, *m;
    const char *path = test_path(w->dir, "LOCK");
    TEST_OK(env_lock_take(w->env, path, &l, &err), &err);
    TEST_ST(env_lock_take(w->env, path, &m, &err), ST_BUSY);
    assert_null(m);
    char want[32];
    (void)snprintf(want, sizeof(want), "pid=%d", w->sim == NULL ? (int)getpid() : 4242);
    assert_non_null(strstr(err.msg, want));
    env_lock_release(w->env, l);
    TEST_OK(env_lock_take(w->env, path, &m, &err), &err);
    env_lock_release(w->env, m);
    env_lock_release(w->env, NULL);
}

static void clocks_and_chance(void **state)
{
    struct world *w = *state;
    int64_t t = env_boot_ns(w->env);
    assert_true(t > 0);
    assert_true(env_boot_ns(w->env) >= t);
    assert_true(env_real_ns(w->env) > 1700000000 * NS_PER_S);
    uint8_t a[16], b[16], zero[16] = {0};
    env_boot_id(w->env, a);
    env_boot_id(w->env, b);
    assert_memory_equal(a, b, 16);
    assert_memory_not_equal(a, zero, 16);
    env_random(w->env, a, 16);
    env_random(w->env, b, 16);
    assert_memory_not_equal(a, b, 16);
    uint64_t free_bytes, total;
    TEST_OK(env_space(w->env, w->dir, &free_bytes, &total, NULL), NULL);
    assert_true(free_bytes > 0 && free_bytes <= total);
    assert_null(env_getenv(w->env, "MR_SURELY_NOT_SET"));
}

/* A task that works when woken, rests a little, counts, and tells when it has done. */
struct counter {
    _Atomic unsigned steps;
    unsigned again;
    _Atomic bool fed;
};

static uint64_t count_step(void *arg)
{
    struct counter *c = arg;
    unsigned n = atomic_fetch_add(&c->steps, 1) + 1;
    if (n < 3) {
        return ENV_STEP_AGAIN;
    }
    if (n < 6) {
        return 1000; /* a timer */
    }
    if (atomic_exchange(&c->fed, false)) {
        c->again++;
    }
    return ENV_STEP_IDLE;
}

static bool six_steps(void *arg)
{
    return atomic_load(&((struct counter *)arg)->steps) >= 6;
}

static bool was_fed(void *arg)
{
    return !atomic_load(&((struct counter *)arg)->fed);
}

static void wait_for(struct world *w, bool (*done)(void *), void *arg)
{
    if (w->sim != NULL) {
        assert_true(env_sim_run_until(w->sim, done, arg, 1000));
        return;
    }
    while (!done(arg)) {
        sched_yield(); /* nothing to hook into; bounded by the runner's timeout */
    }
}

static void tasks_step_rest_and_wake(void **state)
{
    struct world *w = *state;
    struct counter c = {0};
    struct env_task *t;
    struct err err;
    TEST_OK(env_task_start(w->env, "a-task-with-a-long-name", 5, count_step, &c, &t, &err), &err);
    wait_for(w, six_steps, &c);
    for (unsigned i = 0; i < 50; i++) {
        atomic_store(&c.fed, true);
        env_task_wake(w->env, t);
        wait_for(w, was_fed, &c);
    }
    env_task_stop(w->env, t);
    assert_int_equal(c.again, 50);
    env_task_stop(w->env, NULL);
}

static void idle_task_can_be_stopped(void **state)
{
    struct world *w = *state;
    struct counter c = {.steps = 10};
    struct env_task *t[8];
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        TEST_OK(env_task_start(w->env, "t", 0, count_step, &c, &t[i], NULL), NULL);
    }
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        env_task_stop(w->env, t[i]);
    }
}

#define BOTH(t)                                                                                    \
    {"real: " #t, t, real_setup, teardown, NULL},                                                  \
    {                                                                                              \
        "sim: " #t, t, sim_setup, teardown, NULL                                                   \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(opens_say_what_is_wrong),
        BOTH(reads_what_was_written),
        BOTH(many_pieces_are_one_write),
        BOTH(sizes_change),
        BOTH(a_hole_reads_as_zeros),
        BOTH(random_io_equals_an_array),
        BOTH(direct_io_beside_the_cache),
        BOTH(directories_work),
        BOTH(rename_replaces),
        BOTH(read_file_survives_no_memory),
        BOTH(lock_excludes),
        BOTH(clocks_and_chance),
        BOTH(tasks_step_rest_and_wake),
        BOTH(idle_task_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
