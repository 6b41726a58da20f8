/* Stream and consumer configs: defaults, refusals, update rules, round trips. The wider table of
 * answers stands in tests/integration/js. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "broker/js_config.h"
#include "broker/js_header.h"
#include "engine/base/base.h"

static const struct js_limits limits = {.strict = true};

static bool request(const char *text, bool create, struct js_stream_req *r, struct api_error *e)
{
    js_stream_req_init(r);
    r->create = create;
    return js_stream_req_parse(r, text, strlen(text), &limits, e) &&
           js_stream_req_check(r, &limits, e);
}

static bool stream(const char *text, struct js_stream_req *r, struct api_error *e)
{
    return request(text, false, r, e);
}

static bool consumer(const char *text, struct js_cons_req *r, struct api_error *e)
{
    struct stream_cfg s;
    stream_cfg_init(&s);
    js_cons_req_init(r);
    bool ok = js_cons_req_parse(r, text, strlen(text), &limits, e) &&
              js_cons_req_check(r, &s, &limits, e);
    stream_cfg_fini(&s);
    return ok;
}

/* The max_ack_pending that a stream gives its consumers counts like one of their own: nats-server
 * 2.14.5 refuses both in a push consumer without acks, and takes both in a pull consumer. */
static void test_consumer_limits(void **state)
{
    (void)state;
    static const char text[] = "{\"name\":\"S\",\"consumer_limits\":{\"max_ack_pending\":200}}";
    static const struct {
        const char *config;
        int err_code;
    } rows[] = {
        {"\"deliver_subject\":\"x\"", 10082},
        {"\"deliver_subject\":\"x\",\"max_ack_pending\":20", 10082},
        {"\"deliver_subject\":\"x\",\"max_ack_pending\":-1", 0},
        {"\"max_ack_pending\":0", 0},
        {"\"max_ack_pending\":-1", 0},
    };
    struct js_stream_req s;
    struct api_error e = {0};
    assert_true(stream(text, &s, &e));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct js_cons_req r;
        char body[200];
        int n =
            snprintf(body, sizeof body, "{\"config\":{\"name\":\"c\",\"ack_policy\":\"none\",%s}}",
                     rows[i].config);
        e = (struct api_error){0};
        js_cons_req_init(&r);
        assert_true(js_cons_req_parse(&r, body, (size_t)n, &limits, &e));
        assert_int_equal(js_cons_req_check(&r, &s.cfg, &limits, &e), rows[i].err_code == 0);
        assert_int_equal(e.err_code, rows[i].err_code);
        js_cons_req_fini(&r);
    }
    js_stream_req_fini(&s);
}

static void test_stream_defaults(void **state)
{
    (void)state;
    struct js_stream_req r;
    struct api_error e = {0};
    assert_true(stream("{\"name\":\"S\",\"max_age\":60000000000}", &r, &e));
    assert_int_equal(r.cfg.nsubjects, 1);
    assert_string_equal(r.cfg.subjects[0], "S");
    assert_int_equal(r.cfg.max_msgs, -1);
    assert_int_equal(r.cfg.max_msg_size, -1);
    assert_int_equal(r.cfg.replicas, 1);
    assert_int_equal(r.cfg.duplicates_ns, 60000000000);
    js_stream_req_fini(&r);
}

static void test_stream_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err_code;
        const char *words;
    } rows[] = {
        {"{\"name\":\"S\",\"subjects\":[\"s\"],\"mirror\":{\"name\":\"x\"}}", 10034,
         "stream mirrors can not contain subjects"},
        {"{\"name\":\"S\",\"sources\":[{\"name\":\"x\"},{\"name\":\"x\"}]}", 10140,
         "duplicate source configuration detected"},
        {"{\"name\":\"S\",\"nope\":1}", 10025, "invalid JSON: json: unknown field \"nope\""},
        {"{\"name\":\"S\",\"num_replicas\":3}", 10074,
         "replicas > 1 not supported in non-clustered mode"},
        {"{\"name\":\"S\",\"subjects\":[\"a.*\",\"*.b\"]}", 10052,
         "subject \"a.*\" overlaps with \"*.b\""},
        {"{\"name\":\"S\",\"subjects\":[\">\"]}", 10052,
         "capturing all subjects requires no-ack to be true"},
        {"{\"name\":\"a b\"}", 10052,
         "stream name is required and can not contain '.', '*', '>', '\\', '/'"},
        {"{\"name\":\"S\",\"max_age\":1}", 10052, "max age needs to be >= 100ms"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct js_stream_req r;
        struct api_error e = {0};
        assert_false(request(rows[i].text, true, &r, &e));
        assert_int_equal(e.err_code, rows[i].err_code);
        assert_string_equal(e.text, rows[i].words);
        js_stream_req_fini(&r);
    }
}

static void test_sealing(void **state)
{
    (void)state;
    struct js_stream_req old, next;
    struct api_error e = {0};
    assert_true(
        stream("{\"name\":\"S\",\"max_age\":60000000000,\"allow_rollup_hdrs\":true}", &old, &e));
    assert_true(stream(
        "{\"name\":\"S\",\"max_age\":60000000000,\"allow_rollup_hdrs\":true,\"sealed\":true}",
        &next, &e));
    assert_true(js_stream_update_check(&next, &old.cfg, &e));
    assert_true(next.cfg.deny_delete);
    assert_true(next.cfg.deny_purge);
    assert_int_equal(next.cfg.max_age_ns, 0);
    assert_false(js_stream_update_check(&old, &next.cfg, &e));
    js_stream_req_fini(&old);
    js_stream_req_fini(&next);
}

static void test_consumer_limits_survive(void **state)
{
    (void)state;
    struct js_stream_req r;
    struct api_error e = {0};
    struct js_cons_limits lim;
    assert_true(stream(
        "{\"name\":\"S\",\"consumer_limits\":{\"max_ack_pending\":7,\"inactive_threshold\":5}}", &r,
        &e));
    struct stream_cfg copy;
    stream_cfg_copy(&copy, &r.cfg);
    js_stream_limits(&copy, &lim);
    assert_int_equal(lim.max_ack_pending, 7);
    assert_int_equal(lim.inactive_threshold_ns, 5);
    assert_true(js_stream_cfg_equal(&copy, &r.cfg));
    copy.max_msgs = 5;
    assert_false(js_stream_cfg_equal(&copy, &r.cfg));
    stream_cfg_fini(&copy);
    js_stream_req_fini(&r);
}

static void test_consumer_defaults(void **state)
{
    (void)state;
    struct js_cons_req r;
    struct api_error e = {0};
    assert_true(consumer(
        "{\"stream_name\":\"S\",\"config\":{\"ack_policy\":\"explicit\",\"backoff\":[5,6]}}", &r,
        &e));
    assert_int_equal(r.cfg.ack_wait_ns, 5);
    assert_int_equal(r.cfg.max_ack_pending, 1000);
    assert_int_equal(r.cfg.max_waiting, 512);
    assert_int_equal(r.cfg.max_deliver, -1);
    assert_int_equal(r.cfg.inactive_threshold_ns, 5000000000);
    js_cons_req_fini(&r);
    assert_true(
        consumer("{\"config\":{\"durable_name\":\"d\",\"deliver_subject\":\"x\"}}", &r, &e));
    assert_int_equal(r.cfg.inactive_threshold_ns, 0);
    assert_int_equal(r.cfg.ack_wait_ns, 0);
    assert_int_equal(r.cfg.max_waiting, 0);
    js_cons_req_fini(&r);
}

static void test_consumer_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err_code;
    } rows[] = {
        {"{\"config\":{\"pause_until\":5}}", 10025},
        {"{\"config\":{\"ack_policy\":\"flow_control\"}}", 10218},
        {"{\"config\":{\"ack_policy\":\"flow_control\",\"deliver_subject\":\"x\","
         "\"max_ack_pending\":-1}}",
         10220},
        {"{\"config\":{\"ack_policy\":\"flow_control\",\"deliver_subject\":\"x\","
         "\"ack_wait\":5}}",
         10221},
        {"{\"config\":{\"ack_policy\":\"flow_control\",\"deliver_subject\":\"x\","
         "\"max_deliver\":5}}",
         10222},
        {"{\"config\":{\"priority_groups\":[\"a\"]}}", 10196},
        {"{\"config\":{\"priority_timeout\":5}}", 10197},
        {"{\"config\":{\"priority_policy\":\"overflow\"}}", 10159},
        {"{\"config\":{\"priority_policy\":\"overflow\",\"priority_groups\":[\"\"]}}", 10161},
        {"{\"config\":{\"priority_policy\":\"overflow\",\"priority_groups\":[\"a.b\"]}}", 10162},
        {"{\"config\":{\"priority_policy\":\"overflow\",\"priority_groups\":[\"a\"],"
         "\"deliver_subject\":\"x\"}}",
         10178},
        {"{\"config\":{\"priority_policy\":\"nope\"}}", 10025},
        {"{\"config\":{\"sample_freq\":\"-5\"}}", 10095},
        {"{\"config\":{\"rate_limit_bps\":5}}", 10086},
        {"{\"config\":{\"idle_heartbeat\":1000000000}}", 10088},
        {"{\"config\":{\"filter_subject\":\"a\",\"filter_subjects\":[\"b\"]}}", 10136},
        {"{\"config\":{\"filter_subjects\":[\"a\",\"*\"]}}", 10138},
        {"{\"config\":{\"deliver_policy\":\"by_start_time\"}}", 10094},
        {"{\"config\":{\"sample_freq\":\"x\"}}", 10095},
        {"{\"config\":{},\"nope\":1}", 10025},
        {"{\"action\":\"nope\"}", 10025},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct js_cons_req r;
        struct api_error e = {0};
        assert_false(consumer(rows[i].text, &r, &e));
        assert_int_equal(e.err_code, rows[i].err_code);
        js_cons_req_fini(&r);
    }
}

static void test_made_up_name(void **state)
{
    (void)state;
    struct js_cons_req r;
    struct api_error e = {0};
    struct json_out j = {0};
    assert_true(consumer("{\"config\":{}}", &r, &e));
    r.cfg.name = base_strdup("abcdefgh");
    js_cons_cfg_put(&j, &r.cfg, false);
    assert_non_null(memmem(j.buf, j.len, "abcdefgh", 8));
    json_out_reset(&j);
    js_cons_mark_made_up(&r.cfg);
    js_cons_cfg_put(&j, &r.cfg, false);
    assert_null(memmem(j.buf, j.len, "abcdefgh", 8));
    json_out_fini(&j);
    js_cons_req_fini(&r);
}

static void test_headers(void **state)
{
    (void)state;
    static const char block[] =
        "NATS/1.0\r\nX: y\r\nNats-Msg-Id:  a b \r\nNats-Msg-Id: second\r\n"
        "Nats-Expected-Last-Sequence:12\r\nNats-Rollup: \r\nnats-ttl: 5\r\n\r\n";
    struct js_headers h;
    uint64_t n;
    js_headers_read(&h, (const uint8_t *)block, sizeof block - 1);
    assert_true(js_hdr_has(&h, JS_HDR_MSG_ID));
    assert_int_equal(h.value[JS_HDR_MSG_ID].n, 4);
    assert_memory_equal(h.value[JS_HDR_MSG_ID].p, "a b ", 4);
    assert_true(js_parse_u64(h.value[JS_HDR_EXP_LAST_SEQ], &n));
    assert_int_equal(n, 12);
    assert_false(js_hdr_has(&h, JS_HDR_ROLLUP));
    assert_false(js_hdr_has(&h, JS_HDR_TTL));
    assert_false(js_parse_u64(BRK_STR("18446744073709551616"), &n));
    assert_true(js_parse_u64(BRK_STR("18446744073709551615"), &n));
    js_headers_read(&h, (const uint8_t *)"", 0);
    assert_int_equal(h.have, 0);
    static const char open_end[] = "NATS/1.0\r\nX: y\nNats-TTL: 5\r\nNats-Rollup: a\nb\rc\r\n\r\n"
                                   "Nats-Msg-Id: last";
    js_headers_read(&h, (const uint8_t *)open_end, sizeof open_end - 1);
    assert_false(js_hdr_has(&h, JS_HDR_TTL)); /* a line ends with CR LF only */
    assert_int_equal(h.value[JS_HDR_ROLLUP].n, 5);
    assert_true(js_hdr_has(&h, JS_HDR_MSG_ID)); /* or with the block */
    assert_int_equal(h.value[JS_HDR_MSG_ID].n, 4);
    js_headers_read(&h, (const uint8_t *)open_end, sizeof open_end - 6);
    assert_false(js_hdr_has(&h, JS_HDR_MSG_ID));
    assert_true((h.seen >> JS_HDR_MSG_ID & 1u) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_defaults),
        cmocka_unit_test(test_consumer_limits),
        cmocka_unit_test(test_stream_refusals),
        cmocka_unit_test(test_sealing),
        cmocka_unit_test(test_consumer_limits_survive),
        cmocka_unit_test(test_consumer_defaults),
        cmocka_unit_test(test_consumer_refusals),
        cmocka_unit_test(test_made_up_name),
        cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
