#include "broker/bigdec.h"

#include "engine/base/base.h"
#include "engine/base/prng.h"
#include "tests/lib/testlib.h"

#include <stdio.h>
#include <stdlib.h>

static void valid(void **state)
{
    static const char *const good[] = {"0", "+0", "-0", "7", "-12", "+007"};
    static const char *const bad[] = {"", "+", "-", "1.5", "1e3", " 1", "1 ", "0x1", "--1", "1_0"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(bigdec_valid(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(bigdec_valid(bad[i], strlen(bad[i])));
    }
}

static void sums(void **state)
{
    static const char *const t[][3] = {
        {"0", "0", "0"},
        {"-0", "+0", "0"},
        {"1", "+1", "2"},
        {"99", "1", "100"},
        {"1", "-2", "-1"},
        {"-5", "5", "0"},
        {"007", "-10", "-3"},
        {"100", "-1", "99"},
        {"-1", "-9", "-10"},
        {"170141183460469231731687303715884105727", "1", "170141183460469231731687303715884105728"},
        {"1", "-340282366920938463463374607431768211456",
         "-340282366920938463463374607431768211455"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char out[64];
        size_t n = bigdec_add(t[i][0], strlen(t[i][0]), t[i][1], strlen(t[i][1]), out);
        out[n] = 0;
        assert_string_equal(out, t[i][2]);
    }
}

static void as_machine_numbers(void **state)
{
    struct prng r = {3};
    (void)state;
    for (int i = 0; i < 20000; i++) {
        long long a = (long long)prng_below(&r, 1000000) - 500000;
        long long b = (long long)prng_below(&r, 1ull << prng_below(&r, 40)) - 1000;
        char x[32], y[32], out[64], want[32];
        int nx = snprintf(x, sizeof x, "%lld", a), ny = snprintf(y, sizeof y, "%+lld", b);
        out[bigdec_add(x, (size_t)nx, y, (size_t)ny, out)] = 0;
        snprintf(want, sizeof want, "%lld", a + b);
        assert_string_equal(out, want);
        out[bigdec_sub(x, (size_t)nx, y, (size_t)ny, out)] = 0;
        snprintf(want, sizeof want, "%lld", a - b);
        assert_string_equal(out, want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid),
        cmocka_unit_test(sums),
        cmocka_unit_test(as_machine_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
