#include "broker/js_cron.h"

#include "engine/base/base.h"
#include "tests/lib/testlib.h"

#include <stdio.h>

static int64_t at(const char *text)
{
    struct js_cron c;
    char line[64];
    int n = snprintf(line, sizeof line, "@at %s", text);
    assert_true(js_cron_parse(&c, line, (size_t)n));
    assert_int_equal(c.kind, JS_CRON_AT);
    return c.ns;
}

static void next_is(const char *pattern, const char *after, const char *want)
{
    struct js_cron c;
    char out[JS_CRON_TIME_MAX];
    assert_true(js_cron_parse(&c, pattern, strlen(pattern)));
    js_cron_time(out, js_cron_next(&c, at(after)), NULL);
    assert_string_equal(out, want);
}

/* The stamp of a message that came with a snapshot may be any. */
static void far_stamps(void **state)
{
    struct js_cron every, fields;
    int64_t now = at("2030-01-01T00:00:00Z");
    (void)state;
    assert_true(js_cron_parse(&every, "@every 1s", 9));
    assert_true(js_cron_parse(&fields, "0 0 0 1 1 *", 11));
    assert_int_equal(js_cron_first(&every, INT64_MIN, now), now + NS_PER_S);
    assert_int_equal(js_cron_first(&every, INT64_MAX, now), INT64_MAX);
    assert_int_equal(js_cron_next(&fields, INT64_MAX), INT64_MAX);
}

static void patterns(void **state)
{
    static const char *const good[] = {"@at 2030-01-01T00:00:00Z",
                                       "@at 2030-01-01T00:00:00.5Z",
                                       "@at 2030-01-01T00:00:00+02:00",
                                       "@every 1s",
                                       "@every 1.5s",
                                       "@every 1h30m",
                                       "@hourly",
                                       "@daily",
                                       "@midnight",
                                       "@weekly",
                                       "@monthly",
                                       "@yearly",
                                       "@annually",
                                       "* * * * * *",
                                       "0 0 5 * * 0",
                                       "*/5 * * * * *",
                                       "0/5 * * * * *",
                                       "1-5 * * * * *",
                                       "1,2,3 * * * * *",
                                       "0 0 0 1 JAN MON",
                                       "0 0 0 1 jan mon-fri",
                                       "0 0 0 ? * ?",
                                       "0 0 0 1 1 SUN,TUE",
                                       "  0 0 5 * * *",
                                       "0  0 5 * * *",
                                       "1-5/2 * * * * *",
                                       "*/99 * * * * *"};
    static const char *const bad[] = {"",
                                      "@at x",
                                      "@at",
                                      "@at  2030-01-01T00:00:00Z",
                                      "@AT 2030-01-01T00:00:00Z",
                                      "2030-01-01T00:00:00Z",
                                      "@every 999ms",
                                      "@every x",
                                      "@every",
                                      "@every -1s",
                                      "@reboot",
                                      "@Hourly",
                                      "* * * * *",
                                      "* * * * * * *",
                                      "0 0 5 * * 7",
                                      "0 0 5 31 2 *",
                                      "60 * * * * *",
                                      "0 60 * * * *",
                                      "0 0 24 * * *",
                                      "0 0 0 0 * *",
                                      "0 0 0 1 13 *",
                                      "0 0 0 L * *",
                                      "5-1 * * * * *",
                                      "*/0 * * * * *",
                                      "a * * * * *",
                                      "TZ=UTC 0 0 5 * * *",
                                      "1, * * * * *",
                                      "1- * * * * *",
                                      "99999999999999999999 * * * * *"};
    struct js_cron c;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!js_cron_parse(&c, good[i], strlen(good[i]))) {
            fail_msg("\"%s\" is a schedule", good[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (js_cron_parse(&c, bad[i], strlen(bad[i]))) {
            fail_msg("\"%s\" is no schedule", bad[i]);
        }
    }
}

static void next_times(void **state)
{
    (void)state;
    next_is("* * * * * *", "2026-11-21T13:29:59Z", "2026-11-21T13:30:00Z");
    next_is("* * * * * *", "2026-11-21T23:59:59.9Z", "2026-11-22T00:00:00Z");
    next_is("*/2 * * * * *", "2026-11-21T13:29:26Z", "2026-11-21T13:29:28Z");
    next_is("0 0 5 * * *", "2026-11-21T05:00:00Z", "2026-11-22T05:00:00Z");
    next_is("0 30 4 1,15 * 5", "2026-11-21T13:00:00Z", "2026-11-27T04:30:00Z"); /* a Friday */
    next_is("0 30 4 1,15 * 5", "2026-11-27T13:00:00Z", "2026-12-01T04:30:00Z");
    next_is("0 0 0 29 2 *", "2026-11-21T13:00:00Z", "2028-02-29T00:00:00Z");
    next_is("@hourly", "2026-12-31T23:10:00Z", "2027-01-01T00:00:00Z");
    next_is("@weekly", "2026-11-21T13:00:00Z", "2026-11-22T00:00:00Z");
    next_is("@monthly", "2026-11-21T13:00:00Z", "2026-12-01T00:00:00Z");
    next_is("@yearly", "2026-11-21T13:00:00Z", "2027-01-01T00:00:00Z");
    next_is("0 59 23 31 dec *", "2026-11-21T13:00:00Z", "2026-12-31T23:59:00Z");
    next_is("5,10 1 1 * * mon", "1969-12-30T00:00:00Z", "1970-01-05T01:01:05Z");
}

static void first_times(void **state)
{
    struct js_cron c;
    int64_t ts = at("2026-11-21T13:29:25.4Z"), now = at("2026-11-21T13:29:25.5Z");
    (void)state;
    assert_true(js_cron_parse(&c, "@every 10s", 10));
    assert_int_equal(js_cron_first(&c, ts, now), at("2026-11-21T13:29:35Z"));
    now = at("2026-11-21T15:00:00.2Z"); /* the server was down */
    assert_int_equal(js_cron_first(&c, ts, now), at("2026-11-21T15:00:10Z"));
    assert_true(js_cron_parse(&c, "@at 2020-01-01T00:00:00Z", 24));
    assert_int_equal(js_cron_first(&c, ts, now), at("2020-01-01T00:00:00Z"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(far_stamps),
        cmocka_unit_test(next_times),
        cmocka_unit_test(first_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
