/* Deadlines against a linear search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/wheel.h"

static uint64_t rng_state = 5;
static uint64_t rnd(uint64_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % n;
}

static void test_random_walk(void **state)
{
    (void)state;
    enum { N = 300 };
    static struct wheel_node node[N];
    static int64_t at[N]; /* model: WHEEL_NEVER = not armed */
    struct wheel w;
    wheel_init(&w);
    for (size_t i = 0; i < N; i++) {
        at[i] = WHEEL_NEVER;
    }
    int64_t now = 0;
    for (int step = 0; step < 50000; step++) {
        size_t i = rnd(N);
        int64_t when = now + (int64_t)rnd(500);
        switch (rnd(5)) {
        case 0:
        case 1:
            wheel_arm(&w, &node[i], when);
            at[i] = when;
            break;
        case 2:
            wheel_cancel(&w, &node[i]);
            at[i] = WHEEL_NEVER;
            break;
        default:
            now += (int64_t)rnd(20);
        }
        int64_t least = WHEEL_NEVER;
        for (size_t k = 0; k < N; k++) {
            least = at[k] < least ? at[k] : least;
            assert_int_equal(wheel_armed(&node[k]), at[k] != WHEEL_NEVER);
        }
        assert_int_equal(wheel_next(&w), least);
        struct wheel_node *due;
        while ((due = wheel_pop(&w, now)) != NULL) {
            assert_int_equal(due->at_boot_ns, wheel_armed(due) ? -1 : least);
            assert_true(at[due - node] == least && least <= now);
            at[due - node] = WHEEL_NEVER;
            least = WHEEL_NEVER;
            for (size_t k = 0; k < N; k++) {
                least = at[k] < least ? at[k] : least;
            }
        }
        assert_true(least > now);
    }
    wheel_fini(&w);
    for (size_t i = 0; i < N; i++) {
        assert_false(wheel_armed(&node[i]));
    }
}

static void test_ties_in_order(void **state)
{
    (void)state;
    struct wheel_node node[20] = {0};
    struct wheel w;
    wheel_init(&w);
    for (size_t i = 0; i < 20; i++) {
        wheel_arm(&w, &node[i], 10);
    }
    wheel_arm(&w, &node[3], WHEEL_NEVER);
    assert_null(wheel_pop(&w, 9));
    for (size_t i = 0; i < 20; i++) {
        if (i != 3) {
            assert_ptr_equal(wheel_pop(&w, 10), &node[i]);
        }
    }
    assert_int_equal(wheel_next(&w), WHEEL_NEVER);
    wheel_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_walk),
        cmocka_unit_test(test_ties_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
