#include "broker/loop.h"
#include "broker/spin.h"
#include "engine/base/base.h"
#include "tests/lib/testlib.h"

#define WINDOW (50 * NS_PER_US)

/* One wait: what came of its window, if it had one. */
static bool wait_once(struct brk_spin *s, int64_t *now, enum brk_spin_end end)
{
    if (!brk_spin_due(s) || brk_spin_window(s, *now) == 0) {
        *now += NS_PER_MS; /* slept */
        return false;
    }
    int64_t began = *now;
    *now += end == BRK_SPIN_READY ? 0 : end == BRK_SPIN_CAME ? 20 * NS_PER_US : WINDOW;
    brk_spin_ended(s, end, began, *now);
    return true;
}

static void off_never_polls(void **state)
{
    struct brk_spin s;
    (void)state;
    brk_spin_init(&s, 0);
    assert_false(brk_spin_due(&s));
}

static void what_pays_off_goes_on(void **state)
{
    struct brk_spin s;
    int64_t now = 5 * NS_PER_S;
    (void)state;
    brk_spin_init(&s, WINDOW);
    for (int i = 0; i < 1000; i++) {
        /* a window in vain now and then does no harm */
        assert_true(wait_once(&s, &now, i % 10 == 9 ? BRK_SPIN_NONE : BRK_SPIN_CAME));
    }
    assert_int_equal(s.hits, 900);
    assert_int_equal(s.misses, 100);
    assert_int_equal(s.spun_ns, 900 * 20 * NS_PER_US + 100 * WINDOW);
}

/* A server asked each ms by clock: rests double up to a second, so polling vanishes. */
static void what_does_not_pay_off_ends(void **state)
{
    struct brk_spin s;
    int64_t now = 0;
    (void)state;
    brk_spin_init(&s, WINDOW);
    for (int i = 0; i < 60000; i++) {
        (void)wait_once(&s, &now, BRK_SPIN_NONE);
    }
    assert_in_range(now / NS_PER_S, 59, 61);
    assert_in_range(s.misses, 60, 72); /* 1, 2, 4 .. 512 ms, then one a second */
    /* half of the windows in vain is not enough either */
    uint64_t before = s.misses;
    for (int i = 0; i < 60000; i++) {
        (void)wait_once(&s, &now, i % 2 == 0 ? BRK_SPIN_CAME : BRK_SPIN_NONE);
    }
    assert_in_range(s.misses - before, 50, 72);
    /* but behind a rest it begins again with what comes quickly, and then rests are short again */
    for (int i = 0; i < 1100; i++) {
        (void)wait_once(&s, &now, BRK_SPIN_CAME);
    }
    assert_int_equal(s.credit, BRK_SPIN_CREDIT_MAX);
    assert_int_equal(s.rest_ns, BRK_SPIN_REST_NS_MIN);
}

static void credit_is_bounded(void **state)
{
    struct brk_spin s;
    int64_t now = 0;
    (void)state;
    brk_spin_init(&s, WINDOW);
    for (int i = 0; i < 100000; i++) {
        (void)wait_once(&s, &now, BRK_SPIN_CAME);
    }
    uint64_t windows = 0;
    for (int i = 0; i < 100; i++) {
        windows += wait_once(&s, &now, BRK_SPIN_NONE);
    }
    assert_in_range(windows, BRK_SPIN_CREDIT_MAX / BRK_SPIN_MISS, 18);
}

/* Others had the processor while we offered it: as good as not seen. */
static void an_event_seen_late_is_none(void **state)
{
    struct brk_spin s;
    (void)state;
    brk_spin_init(&s, WINDOW);
    brk_spin_ended(&s, BRK_SPIN_CAME, 0, 3 * NS_PER_MS);
    assert_int_equal(s.hits, 0);
    assert_int_equal(s.misses, 1);
    assert_int_equal(brk_spin_window(&s, 3 * NS_PER_MS), 0);
    assert_int_equal(brk_spin_window(&s, 4 * NS_PER_MS), WINDOW);
}

static void a_busy_server_hardly_looks(void **state)
{
    struct brk_spin s;
    int64_t now = 0;
    uint64_t looks = 0;
    (void)state;
    brk_spin_init(&s, WINDOW);
    for (int i = 0; i < 6500; i++) {
        looks += wait_once(&s, &now, BRK_SPIN_READY);
    }
    assert_in_range(looks, 100, 107);
    assert_int_equal(s.hits + s.misses, 0);
    while (!wait_once(&s, &now, BRK_SPIN_CAME)) {
    }
    assert_true(wait_once(&s, &now, BRK_SPIN_CAME)); /* no longer busy: each wait again */
}

/* --- the loop, under a clock of ours ---------------------------------------------------------- */

struct world {
    struct env env;
    struct env_ops ops;
    int64_t now_ns, step_ns; /* of each reading */
    struct brk_loop *loop;
    int wake_in; /* readings until the doorbell rings; 0: never */
    int wakes;
};

static int64_t world_boot_ns(struct env *env)
{
    struct world *w = CONTAINER_OF(env, struct world, env);
    if (w->wake_in > 0 && --w->wake_in == 0) {
        brk_loop_wake(w->loop);
    }
    w->now_ns += w->step_ns;
    return w->now_ns;
}

static void stop(void *arg)
{
    struct world *w = arg;
    brk_loop_stop(w->loop);
}

/* The first wake only makes a first turn, in which libuv tells the kernel of the doorbell. */
static void on_wake(void *arg)
{
    struct world *w = arg;
    if (w->wakes++ > 0) {
        stop(w);
    }
}

static const struct brk_spin *world_run(struct world *w, bool with_timer)
{
    struct err err = {0};
    w->ops.boot_ns = world_boot_ns;
    w->env.ops = &w->ops;
    TEST_OK(brk_loop_create(&w->env, &w->loop, &err), &err);
    brk_loop_on_wake(w->loop, on_wake, w);
    brk_loop_wake(w->loop);
    brk_loop_set_busy_poll(w->loop, WINDOW);
    struct brk_timer *t = brk_timer_create(w->loop, stop, w);
    if (with_timer) {
        brk_timer_start(t, 2, 0);
    }
    brk_loop_run(w->loop);
    brk_timer_destroy(t);
    return brk_loop_busy_poll(w->loop);
}

static void the_loop_sees_what_comes_while_it_looks(void **state)
{
    struct world w = {.step_ns = NS_PER_US, .wake_in = 10};
    (void)state;
    const struct brk_spin *s = world_run(&w, false);
    assert_int_equal(s->hits, 1);
    assert_int_equal(s->misses, 0);
    assert_in_range(s->spun_ns, 8 * NS_PER_US, 12 * NS_PER_US);
    brk_loop_destroy(w.loop);
}

static void the_loop_sleeps_behind_the_window_and_when_the_clock_stands(void **state)
{
    (void)state;
    for (int64_t step = 0; step <= NS_PER_US; step += NS_PER_US) {
        struct world w = {.step_ns = step};
        const struct brk_spin *s = world_run(&w, true);
        assert_int_equal(s->hits, 0);
        assert_in_range(s->misses, 1, 2);
        brk_loop_destroy(w.loop);
    }
}

static void a_turn_that_does_not_sleep_does_not_look(void **state)
{
    struct world w = {.step_ns = NS_PER_US};
    struct err err = {0};
    (void)state;
    w.ops.boot_ns = world_boot_ns;
    w.env.ops = &w.ops;
    TEST_OK(brk_loop_create(&w.env, &w.loop, &err), &err);
    brk_loop_set_busy_poll(w.loop, WINDOW);
    (void)brk_loop_poll(w.loop);
    assert_int_equal(w.now_ns, 0);
    brk_loop_destroy(w.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(off_never_polls),
        cmocka_unit_test(what_pays_off_goes_on),
        cmocka_unit_test(what_does_not_pay_off_ends),
        cmocka_unit_test(credit_is_bounded),
        cmocka_unit_test(an_event_seen_late_is_none),
        cmocka_unit_test(a_busy_server_hardly_looks),
        cmocka_unit_test(the_loop_sees_what_comes_while_it_looks),
        cmocka_unit_test(the_loop_sleeps_behind_the_window_and_when_the_clock_stands),
        cmocka_unit_test(a_turn_that_does_not_sleep_does_not_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
