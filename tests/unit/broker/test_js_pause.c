/* How long a pause still lasts. What a pause does stands in tests/integration. */
#include "tests/lib/testlib.h"

#include "broker/js_int.h"

static void left(void **state)
{
    (void)state;
    struct js js = {.d = {.env = env_real_create()}};
    int64_t now = env_real_ns(js.d.env);
    assert_int_equal(js_pause_left_ns(&js, 0), 0);
    assert_int_equal(js_pause_left_ns(&js, now), 0);
    assert_int_equal(js_pause_left_ns(&js, INT64_MIN), 0); /* a time in 1677 is long past */
    assert_int_equal(js_pause_left_ns(&js, -9000000000 * NS_PER_S), 0);
    int64_t far = js_pause_left_ns(&js, INT64_MAX);
    assert_true(far > 0 && far <= INT64_MAX - now);
    env_real_destroy(js.d.env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
