#include "engine/base/godur.h"

#include "tests/lib/testlib.h"

static void reads_what_go_reads(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"0", 0},
        {"0s", 0},
        {"1s", 1000000000},
        {"1.5s", 1500000000},
        {"-1.5h", -5400000000000},
        {"+5s", 5000000000},
        {".5m", 30000000000},
        {"1.s", 1000000000},
        {"1h30m", 5400000000000},
        {"2h45m30.5s", 9930500000000},
        {"100ns", 100},
        {"7us", 7000},
        {"7\xc2\xb5s", 7000},
        {"7\xce\xbcs", 7000},
        {"1m1ms", 60001000000},
        {"9223372036854775807ns", INT64_MAX},
        {"2562047h47m16.854775807s", INT64_MAX},
    };
    static const char *const bad[] = {"",       "s",       "1",  "-",
                                      "+",      ".s",      "1d", "1 s",
                                      "1h ",    "1e9s",    "s1", "9223372036854775808ns",
                                      "1.2.3s", "3000000h"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ns = 77;
        assert_true(godur_parse(good[i].text, strlen(good[i].text), &ns));
        assert_int_equal(ns, good[i].ns);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ns;
        if (godur_parse(bad[i], strlen(bad[i]), &ns)) {
            fail_msg("\"%s\" is no duration", bad[i]);
        }
    }
}

static void writes_what_go_writes(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } t[] = {{0, "0s"},
             {1, "1ns"},
             {1500, "1.5\xc2\xb5s"},
             {2000000, "2ms"},
             {1000000000, "1s"},
             {1500000000, "1.5s"},
             {60000000000, "1m0s"},
             {5400000000000, "1h30m0s"},
             {-61000000000, "-1m1s"},
             {INT64_MAX, "2562047h47m16.854775807s"},
             {INT64_MIN, "-2562047h47m16.854775808s"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char out[GODUR_MAX];
        assert_int_equal(godur_put(out, t[i].ns), strlen(t[i].text));
        assert_string_equal(out, t[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_go_reads),
        cmocka_unit_test(writes_what_go_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
