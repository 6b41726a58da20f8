/* Time zones against the C library's, which reads the same files one zone a process; schedules in
 * zones against walking the clock second by second. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "broker/js_cron.h"
#include "broker/js_zone.h"
#include "broker/tzif.h"
#include "engine/base/base.h"
#include "engine/base/env.h"
#include "tests/lib/testlib.h"

#define FOLDER "/usr/share/zoneinfo"

static struct env *env;
static struct js_zones *zones;

static const struct tzif *zone(const char *name)
{
    const struct tzif *z;
    assert_true(js_zone_find(&zones, env, (struct brk_str){name, strlen(name)}, &z));
    return z;
}

static bool none(const char *name)
{
    const struct tzif *z;
    return !js_zone_find(&zones, env, (struct brk_str){name, strlen(name)}, &z);
}

static void use(const char *name)
{
    assert_int_equal(setenv("TZ", name, 1), 0);
    tzset();
}

static int64_t theirs(int64_t t)
{
    time_t tt = (time_t)t;
    struct tm tm;
    assert_non_null(localtime_r(&tt, &tm));
    return tm.tm_gmtoff;
}

/* From 1975 to 2150, every 41 days, and around each change. */
static unsigned compare(const char *name)
{
    const struct tzif *z = zone(name);
    int64_t until;
    unsigned changes = 0;
    use(name);
    for (int64_t t = 157766400; t < 5680281600; t += (int64_t)41 * 86400 + 1234) {
        int32_t have = tzif_offset(z, t, &until);
        if (have != theirs(t)) {
            fail_msg("%s at %lld: %d, the C library has %lld", name, (long long)t, have,
                     (long long)theirs(t));
        }
        assert_true(until > t);
        if (until < t + (int64_t)41 * 86400) {
            changes++;
            assert_int_equal(tzif_offset(z, until - 1, &(int64_t){0}), theirs(until - 1));
            assert_int_equal(tzif_offset(z, until, &(int64_t){0}), theirs(until));
        }
    }
    return changes;
}

static void test_folder(const char *below, unsigned *n)
{
    char path[512];
    (void)snprintf(path, sizeof path, FOLDER "/%s", below);
    DIR *d = opendir(path);
    const struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        char name[300];
        (void)snprintf(name, sizeof name, "%.100s%s%.150s", below, below[0] != 0 ? "/" : "",
                       e->d_name);
        const struct tzif *z;
        if (e->d_name[0] == '.' || strcmp(e->d_name, "right") == 0 ||
            strcmp(e->d_name, "posix") == 0) {
            continue;
        }
        if (js_zone_find(&zones, env, (struct brk_str){name, strlen(name)}, &z)) {
            (void)compare(name);
            (*n)++;
        } else if (e->d_name[0] >= 'A' && e->d_name[0] <= 'Z') {
            test_folder(name, n);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

static void test_all_zones(void **state)
{
    unsigned n = 0;
    (void)state;
    test_folder("", &n);
    printf("%u zones\n", n);
    assert_true(n > 300);
    assert_true(compare("Europe/Berlin") > 300);
    assert_true(compare("America/New_York") > 300);
    assert_true(compare("Australia/Lord_Howe") > 300); /* half an hour */
    assert_true(compare("Africa/Casablanca") > 100);
    assert_int_equal(compare("Asia/Kolkata"), 0);
}

static void test_names(void **state)
{
    static const char *const bad[] = {
        "",         "utc",           "europe/berlin",  "+01:00",
        "Europe",   "Europe/",       "/Europe/Berlin", "..",
        "../zone",  "Europe/../UTC", "Europe/..",      "Europe/Berlin/",
        "Bad/Zone", "zone.tab",      "Europe\\Berlin", "Europe/Berlin "};
    static const char *const good[] = {"UTC",
                                       "GMT",
                                       "EST5EDT",
                                       "Etc/GMT+5",
                                       "Europe//Berlin",
                                       "./Europe/Berlin",
                                       "US/Pacific",
                                       "Local",
                                       "posix/Europe/Berlin"};
    char name[64], far[300];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_true(none(bad[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        (void)zone(good[i]);
    }
    assert_null(zone("UTC"));
    memset(far, 'x', sizeof far);
    far[299] = 0;
    assert_true(none(far));
    for (int i = 1; i < 1500; i++) { /* more names than are kept */
        (void)snprintf(name, sizeof name, "Europe/%.*sBerlin", i % 40,
                       "////////////////////////////////////////");
        (void)zone(name);
    }
}

static bool fits(const struct js_cron *c, int64_t t)
{
    time_t tt = (time_t)t;
    struct tm tm;
    assert_non_null(localtime_r(&tt, &tm));
    return (c->second >> tm.tm_sec & 1u) != 0 && (c->minute >> tm.tm_min & 1u) != 0 &&
           (c->hour >> tm.tm_hour & 1u) != 0;
}

/* Two days from `from`, each time it is due, against every second of them. */
static unsigned walk(const char *name, const char *pattern, int64_t from)
{
    struct js_cron c;
    assert_true(js_cron_parse(&c, pattern, strlen(pattern)));
    c.zone = zone(name);
    use(name);
    int64_t next = js_cron_next(&c, from * NS_PER_S);
    unsigned n = 0;
    for (int64_t t = from + 1; t < from + (int64_t)2 * 86400; t++) {
        bool due = next == t * NS_PER_S;
        assert_int_equal(due, fits(&c, t));
        if (due) {
            n++;
            next = js_cron_next(&c, next);
        }
    }
    return n;
}

static void test_schedules(void **state)
{
    (void)state;
    int64_t spring = 1774652400, autumn = 1792706400; /* Berlin, 2026-03-28 and 2026-10-23 */
    assert_int_equal(walk("Europe/Berlin", "0 30 2 * * *", spring), 1);
    assert_int_equal(walk("Europe/Berlin", "0 30 2 * * *", autumn + 86400), 3);
    assert_int_equal(walk("Europe/Berlin", "0 0 5 * * *", spring), 2);
    (void)walk("Europe/Berlin", "0 */7 * * * *", spring);
    (void)walk("America/New_York", "0 30 1,2 * * *", 1793404800);
    (void)walk("America/Havana", "0 0 0 * * *", 1772841600); /* no midnight that day */
    (void)walk("Australia/Lord_Howe", "0 */15 1,2 * * *", 1790812800);
    assert_int_equal(walk("Asia/Kolkata", "0 0 5 * * *", spring), 2);
    struct js_cron c;
    char out[JS_CRON_TIME_MAX];
    assert_true(js_cron_parse(&c, "0 0 0 29 2 *", 12));
    c.zone = zone("Asia/Kolkata");
    int64_t next = js_cron_next(&c, spring * NS_PER_S);
    assert_int_equal(js_cron_time(out, next, c.zone), 25);
    assert_string_equal(out, "2028-02-29T00:00:00+05:30");
    (void)js_cron_time(out, next, zone("America/New_York"));
    assert_string_equal(out, "2028-02-28T13:30:00-05:00");
    (void)js_cron_time(out, next, zone("Etc/GMT"));
    assert_string_equal(out, "2028-02-28T18:30:00Z");
    assert_int_equal(js_cron_next(&c, INT64_MAX), INT64_MAX);
}

static void test_damaged(void **state)
{
    uint8_t *buf = NULL;
    size_t len = 0;
    struct tzif *z;
    (void)state;
    assert_int_equal(env_read_file(env, FOLDER "/Europe/Berlin", TZIF_BYTES_MAX, &buf, &len, NULL),
                     ST_OK);
    for (size_t cut = 0; cut < len; cut++) {
        if (tzif_parse(buf, cut, &z) == ST_OK) { /* the line at the end is missing */
            tzif_destroy(z);
        }
    }
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            buf[i] ^= (uint8_t)(1 << bit);
            int64_t until;
            if (tzif_parse(buf, len, &z) == ST_OK) {
                (void)tzif_offset(z, 1774652400, &until);
                (void)tzif_offset(z, 4000000000, &until);
                tzif_destroy(z);
            }
            buf[i] ^= (uint8_t)(1 << bit);
        }
    }
    base_free(buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_zones),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_damaged),
    };
    env = env_real_create();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    js_zones_destroy(zones);
    env_real_destroy(env);
    return failed;
}
