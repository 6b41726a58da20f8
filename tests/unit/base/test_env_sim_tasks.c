/* The seeded scheduler: same seed, same order; time moves only when told; a down machine runs
 * nothing. */
#include "tests/lib/testlib.h"

#include "engine/base/env_sim.h"

enum { TASKS = 4, STEPS = 64 };

struct run {
    struct env_sim *sim;
    char order[STEPS + 1];
    size_t len;
};

struct worker {
    struct run *run;
    struct env_task *task;
    char name;
    uint64_t rest_ns;
    struct env_task **victim; /* stopped by the first step, when set */
};

static uint64_t work(void *arg)
{
    struct worker *w = arg;
    if (w->run->len < STEPS) {
        w->run->order[w->run->len++] = w->name;
    }
    if (w->victim != NULL && *w->victim != NULL) {
        env_task_stop(env_sim_env(w->run->sim), *w->victim);
        *w->victim = NULL;
    }
    return w->rest_ns;
}

static void start(struct run *r, struct worker *w, char name, uint64_t rest_ns)
{
    *w = (struct worker){.run = r, .name = name, .rest_ns = rest_ns};
    TEST_OK(env_task_start(env_sim_env(r->sim), "w", 0, work, w, &w->task, NULL), NULL);
}

static void run_order(uint64_t seed, struct run *r)
{
    *r = (struct run){.sim = env_sim_create(seed)};
    struct worker w[TASKS];
    for (int i = 0; i < TASKS; i++) {
        start(r, &w[i], (char)('a' + i), ENV_STEP_AGAIN);
    }
    assert_int_equal(env_sim_run(r->sim, STEPS), STEPS);
    env_sim_destroy(r->sim); /* frees the tasks */
}

static void order_comes_from_the_seed(void **state)
{
    (void)state;
    struct run a, b, c;
    run_order(test_seed(), &a);
    run_order(test_seed(), &b);
    run_order(test_seed() + 1, &c);
    assert_string_equal(a.order, b.order);
    assert_string_not_equal(a.order, c.order);
    for (int i = 0; i < TASKS; i++) {
        assert_non_null(strchr(a.order, 'a' + i));
    }
}

static bool len_is_ten(void *arg)
{
    return ((struct run *)arg)->len >= 10;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void timers_wait_for_time(void **state)
{
    (void)state;
    struct run r = {.sim = env_sim_create(test_seed())};
    struct env *e = env_sim_env(r.sim);
    struct worker t, idle;
    start(&r, &t, 't', 1000);
    assert_int_equal(env_sim_run(r.sim, 100), 1);
    assert_true(env_sim_idle(r.sim));
    int64_t now = env_boot_ns(e);
    assert_int_equal(env_sim_next_timer_ns(r.sim), now + 1000);
    env_sim_advance(r.sim, 999);
    assert_true(env_sim_idle(r.sim));
    env_sim_advance(r.sim, 1);
    assert_int_equal(env_sim_run(r.sim, 100), 1);
    assert_true(env_sim_advance_to_timer(r.sim));
    assert_int_equal(env_boot_ns(e), now + 2000);
    assert_true(env_sim_run_until(r.sim, len_is_ten, &r, 1000));
    assert_int_equal(r.len, 10);
    env_task_stop(e, t.task);
    start(&r, &idle, 'i', ENV_STEP_IDLE);
    assert_false(
        env_sim_run_until(r.sim, never, NULL, 1000)); /* comes back: nothing left to wait for */
    assert_int_equal(env_sim_next_timer_ns(r.sim), INT64_MAX);
    assert_false(env_sim_advance_to_timer(r.sim));
    env_task_wake(e, idle.task);
    env_task_wake(e, idle.task); /* coalesces */
    assert_int_equal(env_sim_run(r.sim, 100), 1);
    env_sim_destroy(r.sim);
}

static void a_step_may_stop_another_task(void **state)
{
    (void)state;
    struct run r = {.sim = env_sim_create(test_seed())};
    struct worker a, b;
    start(&r, &a, 'a', ENV_STEP_IDLE);
    start(&r, &b, 'b', ENV_STEP_IDLE);
    env_sim_run(r.sim, 10);
    a.victim = &b.task;
    env_task_wake(env_sim_env(r.sim), a.task);
    env_task_wake(env_sim_env(r.sim), b.task);
    while (b.task != NULL) {
        assert_true(env_sim_step_one(r.sim));
    }
    env_task_stop(env_sim_env(r.sim), a.task);
    assert_true(env_sim_idle(r.sim));
    env_sim_destroy(r.sim);
}

static void a_down_machine_runs_nothing(void **state)
{
    (void)state;
    struct run r = {.sim = env_sim_create(test_seed())};
    struct env *e = env_sim_env(r.sim);
    struct worker a, b;
    start(&r, &a, 'a', ENV_STEP_AGAIN);
    env_sim_crash_at(r.sim, 1, false);
    TEST_ST(env_mkdir(e, "/x", NULL), ST_IO);
    env_task_wake(e, a.task);
    assert_true(env_sim_idle(r.sim));
    assert_int_equal(env_sim_next_timer_ns(r.sim), INT64_MAX);
    struct env_task *t;
    TEST_ST(env_task_start(e, "b", 0, work, &b, &t, NULL), ST_IO);
    assert_null(t);
    env_sim_power_loss(r.sim, 1);
    env_task_wake(e, a.task);
    assert_true(env_sim_idle(r.sim)); /* a task of the dead process */
    env_task_stop(e, a.task);
    start(&r, &b, 'b', ENV_STEP_IDLE);
    assert_int_equal(env_sim_run(r.sim, 5), 1);
    env_task_stop(e, b.task);
    env_sim_destroy(r.sim);
}

static void clock_and_variables(void **state)
{
    (void)state;
    struct env_sim *sim = env_sim_create(test_seed());
    struct env *e = env_sim_env(sim);
    int64_t boot = env_boot_ns(e), real = env_real_ns(e);
    assert_int_equal(env_boot_ns(e), boot);
    env_sim_set_real_ns(sim, real + NS_PER_S);
    assert_int_equal(env_real_ns(e), real + NS_PER_S);
    assert_int_equal(env_boot_ns(e), boot);
    env_sim_set_tick_ns(sim, 5);
    assert_int_equal(env_boot_ns(e), boot + 5);
    assert_int_equal(env_boot_ns(e), boot + 10);
    assert_null(env_getenv(e, "A"));
    env_sim_setenv(sim, "A", "1");
    env_sim_setenv(sim, "A", "2");
    assert_string_equal(env_getenv(e, "A"), "2");
    env_sim_setenv(sim, "A", NULL);
    assert_null(env_getenv(e, "A"));
    struct env_sim *twin = env_sim_create(test_seed());
    uint8_t a[40], b[40];
    env_random(e, a, sizeof(a));
    env_random(env_sim_env(twin), b, sizeof(b));
    assert_memory_equal(a, b, sizeof(a));
    env_sim_destroy(twin);
    env_sim_destroy(sim);
    env_sim_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_comes_from_the_seed),
        cmocka_unit_test(timers_wait_for_time),
        cmocka_unit_test(a_step_may_stop_another_task),
        cmocka_unit_test(a_down_machine_runs_nothing),
        cmocka_unit_test(clock_and_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
