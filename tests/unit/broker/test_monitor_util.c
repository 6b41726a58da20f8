/* What the monitoring pages share: Go's indentation, times, parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "broker/monitor_int.h"
#include "engine/base/base.h"

static void indents(const char *in, const char *want)
{
    for (size_t step = 1; step < 20; step += 3) {
        struct mon_indent state = {0};
        struct json_out out = {0};
        for (size_t at = 0; at < strlen(in); at += step) {
            mon_indent(&state, &out, in + at, u64_min(step, strlen(in) - at));
        }
        assert_int_equal(out.len, strlen(want));
        assert_memory_equal(out.buf, want, out.len);
        json_out_fini(&out);
    }
}

static void test_indent(void **state)
{
    (void)state;
    indents("{}", "{}");
    indents("[]", "[]");
    indents("[[],{}]", "[\n  [],\n  {}\n]");
    indents("{\"a\":1,\"b\":{\"c\":[1,2],\"d\":{}},\"e\":[]}",
            "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [\n      1,\n      2\n    ],\n    \"d\": {}\n  "
            "},\n  "
            "\"e\": []\n}");
    indents("[\"a\\\"{,:}\\\\\",\"]\"]", "[\n  \"a\\\"{,:}\\\\\",\n  \"]\"\n]");
}

static const char *uptime(int64_t ns)
{
    static char text[128];
    struct json_out j = {0};
    mon_put_uptime(&j, "k", ns);
    (void)snprintf(text, sizeof text, "%.*s", (int)j.len, j.buf);
    json_out_fini(&j);
    return text;
}

static const char *duration(int64_t ns)
{
    static char text[128];
    struct json_out j = {0};
    mon_put_duration(&j, "k", ns);
    (void)snprintf(text, sizeof text, "%.*s", (int)j.len, j.buf);
    json_out_fini(&j);
    return text;
}

static void test_times(void **state)
{
    (void)state;
    assert_string_equal(uptime(0), "\"k\":\"0s\"");
    assert_string_equal(uptime(-5), "\"k\":\"0s\"");
    assert_string_equal(uptime(59 * NS_PER_S + 999), "\"k\":\"59s\"");
    assert_string_equal(uptime(78 * NS_PER_S), "\"k\":\"1m18s\"");
    assert_string_equal(uptime(3600 * NS_PER_S), "\"k\":\"1h0m0s\"");
    assert_string_equal(uptime((2 * 86400 + 61) * NS_PER_S), "\"k\":\"2d0h1m1s\"");
    assert_string_equal(uptime((366LL * 86400 + 1) * NS_PER_S), "\"k\":\"1y1d0h0m1s\"");
    assert_string_equal(duration(0), "\"k\":\"0s\"");
    assert_string_equal(duration(999), "\"k\":\"0s\"");
    assert_string_equal(duration(630 * NS_PER_US + 7), "\"k\":\"630\xc2\xb5s\"");
    assert_string_equal(duration(NS_PER_MS), "\"k\":\"1ms\"");
    assert_string_equal(duration(1230 * NS_PER_US), "\"k\":\"1.23ms\"");
    assert_string_equal(duration(10 * NS_PER_MS), "\"k\":\"10ms\"");
    assert_string_equal(duration(1050 * NS_PER_MS), "\"k\":\"1.05s\"");
    assert_string_equal(duration(90 * NS_PER_S), "\"k\":\"1m30s\"");
    assert_string_equal(duration(3660 * NS_PER_S + NS_PER_MS), "\"k\":\"1h1m0.001s\"");
}

static struct mon_job job;

static void ask(const char *query)
{
    json_out_fini(&job.out);
    memset(&job, 0, sizeof job);
    job.status = 200;
    (void)snprintf(job.req.query, sizeof job.req.query, "%s", query);
}

static void said(const char *text)
{
    assert_int_equal(job.status, 400);
    assert_int_equal(job.out.len, strlen(text));
    assert_memory_equal(job.out.buf, text, job.out.len);
}

static void test_params(void **state)
{
    (void)state;
    bool b = true;
    int64_t n = 7;
    uint64_t u = 7;
    ask("a=&b=T&c=False&d=yes");
    assert_true(mon_param_bool(&job, "a", &b) && b);
    assert_true(mon_param_bool(&job, "x", &b) && b);
    assert_true(mon_param_bool(&job, "c", &b) && !b);
    assert_true(mon_param_bool(&job, "b", &b) && b);
    assert_false(mon_param_bool(&job, "d", &b));
    said("Error decoding boolean for 'd': strconv.ParseBool: parsing \"yes\": invalid syntax");
    ask("a=-12&b=&c=x&d=99999999999999999999&e=1%20");
    assert_true(mon_param_int(&job, "b", &n) && n == 7);
    assert_true(mon_param_int(&job, "a", &n) && n == -12);
    assert_false(mon_param_int(&job, "c", &n));
    said("Error decoding int for 'c': strconv.Atoi: parsing \"x\": invalid syntax");
    ask("d=99999999999999999999&e=1%20");
    assert_false(mon_param_int(&job, "d", &n));
    said("Error decoding int for 'd': strconv.Atoi: parsing \"99999999999999999999\": value out of "
         "range");
    ask("e=1%20&f=-1&g=18446744073709551615");
    assert_false(mon_param_int(&job, "e", &n));
    ask("f=-1&g=18446744073709551615");
    assert_true(mon_param_u64(&job, "g", &u) && u == UINT64_MAX);
    assert_false(mon_param_u64(&job, "f", &u));
    said("Error decoding uint64 for 'f': strconv.ParseUint: parsing \"-1\": invalid syntax");
    json_out_fini(&job.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_indent),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_params),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
