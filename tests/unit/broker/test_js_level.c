/* API levels: what a request may ask for, what configs need, and the metadata that says so. */
#include <stdio.h>

#include "tests/lib/testlib.h"

#include "broker/js_level.h"
#include "engine/base/base.h"

static bool asks(const char *value)
{
    char hdr[200];
    int n = snprintf(hdr, sizeof hdr, "NATS/1.0\r\nNats-Required-Api-Level:%s\r\n\r\n", value);
    return js_level_too_high((const uint8_t *)hdr, (size_t)n);
}

static void test_request(void **state)
{
    char ours[16], more[16];
    (void)state;
    (void)snprintf(ours, sizeof ours, " %u", JS_API_LEVEL);
    (void)snprintf(more, sizeof more, " %u", JS_API_LEVEL + 1);
    assert_false(js_level_too_high(NULL, 0));
    assert_false(asks(""));
    assert_false(asks(ours));
    assert_false(asks(" 0"));
    assert_false(asks(" -1"));
    assert_false(asks(" -9"));
    assert_false(asks(" +1"));
    assert_false(asks(" 01"));
    assert_true(asks(more));
    assert_true(asks(" abc"));
    assert_true(asks(" 1 "));
    assert_true(asks(" 1.0"));
    assert_true(asks(" 0x1"));
    assert_true(asks(" -"));
    assert_true(asks(" +"));
    assert_true(asks(" -x"));
    assert_true(asks(" 99999999999999999999"));
    assert_true(asks(" -99999999999999999999"));
}

static void test_needed(void **state)
{
    struct stream_cfg s;
    struct cons_cfg c;
    (void)state;
    stream_cfg_init(&s);
    assert_int_equal(js_level_of_stream(&s), 0);
    s.allow_msg_ttl = true;
    assert_int_equal(js_level_of_stream(&s), 1);
    s.allow_atomic = true;
    assert_int_equal(js_level_of_stream(&s), 2);
    s.allow_batched = true;
    assert_int_equal(js_level_of_stream(&s), 4);
    stream_cfg_fini(&s);
    stream_cfg_init(&s);
    s.subject_delete_marker_ttl_ns = NS_PER_S;
    assert_int_equal(js_level_of_stream(&s), 1);
    s.persist = PERSIST_ASYNC;
    assert_int_equal(js_level_of_stream(&s), 2);
    stream_cfg_fini(&s);
    cons_cfg_init(&c);
    assert_int_equal(js_level_of_consumer(&c), 0);
    c.pause_until_ns = 1;
    assert_int_equal(js_level_of_consumer(&c), 1);
    c.pause_until_ns = 0;
    c.priority = PRIORITY_OVERFLOW;
    assert_int_equal(js_level_of_consumer(&c), 1);
    c.ack = ACK_FLOW_CONTROL;
    assert_int_equal(js_level_of_consumer(&c), 4);
    cons_cfg_fini(&c);
}

static void put(const struct store_kv *kv, size_t n, bool server, const char *want)
{
    struct json_out j = {0};
    json_out_begin(&j);
    js_level_put(&j, kv, n, 2, server);
    json_out_end(&j);
    assert_int_equal(j.len, strlen(want));
    assert_memory_equal(j.buf, want, j.len);
    json_out_fini(&j);
}

static void test_metadata(void **state)
{
    struct store_kv kv[4];
    size_t n = ARRAY_LEN(kv);
    char want[256];
    (void)state;
    static const char *const keys[] = {"z", "_nats.req.level", "A", "_nats.ver"};
    for (size_t i = 0; i < n; i++) {
        kv[i] = (struct store_kv){base_strdup(keys[i]), base_strdup("9")};
    }
    put(NULL, 0, false, "{\"metadata\":{\"_nats.req.level\":\"2\"}}");
    put(kv, n, false, "{\"metadata\":{\"A\":\"9\",\"_nats.req.level\":\"2\",\"z\":\"9\"}}");
    js_level_strip(kv, &n);
    assert_int_equal(n, 2);
    (void)snprintf(want, sizeof want,
                   "{\"metadata\":{\"A\":\"9\",\"_nats.level\":\"%u\",\"_nats.req.level\":\"2\","
                   "\"_nats.ver\":\"%s\",\"z\":\"9\"}}",
                   JS_API_LEVEL, BRK_NATS_VERSION);
    put(kv, n, true, want);
    for (size_t i = 0; i < n; i++) {
        base_free(kv[i].key);
        base_free(kv[i].value);
    }
    struct store_kv many[40];
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = (struct store_kv){(char *)(uintptr_t) "k", (char *)(uintptr_t) "v"};
    }
    struct json_out j = {0};
    js_level_put(&j, many, ARRAY_LEN(many), 0, true);
    json_out_fini(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_needed),
        cmocka_unit_test(test_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
