/* JSON writer and reader: bytes as Go's encoding/json makes them, strictness on the way in. */
#include <stdio.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "broker/json_in.h"
#include "broker/json_out.h"
#include "engine/base/base.h"

static void check_text(struct json_out *j, const char *want)
{
    assert_int_equal(j->len, strlen(want));
    assert_memory_equal(j->buf, want, j->len);
    json_out_fini(j);
}

static void test_members(void **state)
{
    (void)state;
    struct json_out j = {0};
    json_out_begin(&j);
    json_out_str(&j, "a", "x");
    json_out_u64(&j, "b", UINT64_MAX);
    json_out_i64(&j, "c", INT64_MIN);
    json_out_array(&j, "d");
    json_out_val_u64(&j, 1);
    json_out_begin(&j);
    json_out_end(&j);
    json_out_val_null(&j);
    json_out_array_end(&j);
    json_out_open(&j, "e");
    json_out_bool(&j, "f", true);
    json_out_end(&j);
    json_out_end(&j);
    check_text(
        &j, "{\"a\":\"x\",\"b\":18446744073709551615,\"c\":-9223372036854775808,\"d\":[1,{},null],"
            "\"e\":{\"f\":true}}");
}

static void test_escapes(void **state)
{
    (void)state;
    struct json_out j = {0};
    json_out_val_str(&j, "a<b>&\"\\\n\x01\x7f\xc3\xa9\xff\xe2\x80\xa8z", 17);
    check_text(&j, "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\u0001\x7f\xc3\xa9\\ufffd\\u2028z\"");
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } rows[] = {
        {0, "0001-01-01T00:00:00Z"},
        {1, "1970-01-01T00:00:00.000000001Z"},
        {1577836800000000000, "2020-01-01T00:00:00Z"},
        {1582934400500000000, "2020-02-29T00:00:00.5Z"},
        {-1, "1969-12-31T23:59:59.999999999Z"},
        {4102444799999999999, "2099-12-31T23:59:59.999999999Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char t[JSON_TIME_MAX];
        size_t n = json_time_text(t, rows[i].ns);
        assert_int_equal(n, strlen(rows[i].text));
        assert_memory_equal(t, rows[i].text, n);
        int64_t back;
        assert_true(json_time_parse(t, n, &back));
        assert_int_equal(back, rows[i].ns);
    }
    int64_t ns, back;
    assert_true(json_time_parse("2020-01-01T02:00:00+02:00", 25, &ns));
    assert_int_equal(ns, 1577836800000000000);
    assert_false(json_time_parse("2020-02-30T00:00:00Z", 20, &ns));
    assert_false(json_time_parse("x", 1, &ns));
    assert_false(json_time_parse("2020-01-01T00:00:00", 19, &ns));
    assert_false(json_time_parse("2020-01-01t00:00:00Z", 20, &ns));
    assert_false(json_time_parse("2020-01-01T00:00:00z", 20, &ns));
    assert_false(json_time_parse("2020-01-01T00:00:00.Z", 21, &ns));
    assert_false(json_time_parse("2020-01-01T00:00:00+1:00", 24, &ns));
    assert_false(json_time_parse("2020-01-01T0:00:0Z", 18, &ns));
    assert_true(json_time_parse("2020-01-01T0:00:00Z", 19, &ns));
    assert_true(json_time_parse("2020-01-01T00:00:00,5Z", 22, &back));
    assert_int_equal(back, ns + NS_PER_S / 2);
    assert_true(json_time_parse("9999-01-01T00:00:00Z", 20, &ns));
    assert_int_equal(ns, INT64_MAX / NS_PER_S * NS_PER_S - NS_PER_S);
    assert_true(json_time_parse("0000-01-01T00:00:00.9Z", 22, &ns));
    assert_int_equal(ns, INT64_MIN / NS_PER_S * NS_PER_S + NS_PER_S);
}

static void test_base64(void **state)
{
    (void)state;
    struct json_out j = {0};
    json_out_val_base64(&j, "hello", 5);
    json_out_val_base64(&j, "", 0);
    json_out_val_base64(&j, "abc", 3);
    check_text(&j, "\"aGVsbG8=\",\"\",\"YWJj\"");
}

struct target {
    char *s;
    int64_t i, d, small, t, p;
    uint64_t u;
    bool b;
    struct json_strings list;
    struct json_map map;
};
static const struct json_field fields[] = {
    {"s", JSON_STRING, offsetof(struct target, s), NULL, NULL},
    {"i", JSON_I64, offsetof(struct target, i), NULL, NULL},
    {"small", JSON_I32, offsetof(struct target, small), NULL, NULL},
    {"u", JSON_U64, offsetof(struct target, u), NULL, NULL},
    {"b", JSON_BOOL, offsetof(struct target, b), NULL, NULL},
    {"d", JSON_DURATION, offsetof(struct target, d), NULL, NULL},
    {"t", JSON_TIME, offsetof(struct target, t), NULL, NULL},
    {"p", JSON_TIME_PTR, offsetof(struct target, p), NULL, NULL},
    {"list", JSON_STRINGS, offsetof(struct target, list), NULL, NULL},
    {"map", JSON_MAP, offsetof(struct target, map), NULL, NULL},
    {"later", JSON_UNSERVED, 0, NULL, NULL},
};
static const struct json_schema schema = {"T", "server.T", fields, ARRAY_LEN(fields)};

static void target_fini(struct target *t)
{
    base_free(t->s);
    json_strings_fini(&t->list);
    json_map_fini(&t->map);
}

static enum st decode(const char *text, struct target *t, struct json_decode *d, struct err *err)
{
    struct json_in in = {0};
    enum st st = json_in_parse(&in, text, strlen(text), err);
    if (st == ST_OK) {
        st = json_in_decode(d, in.root, &schema, t, err);
    }
    json_in_fini(&in);
    return st;
}

static void test_decode(void **state)
{
    (void)state;
    struct target t = {0};
    struct json_decode d = {.strict = true};
    struct err err = {0};
    assert_int_equal(
        decode(
            "{\"S\":\"x\",\"i\":-9223372036854775808,\"u\":18446744073709551615,\"b\":true,\"d\":5,"
            "\"t\":\"2020-01-01T00:00:00Z\",\"list\":[\"p\",\"q\"],\"map\":{\"z\":\"1\",\"a\":"
            "\"2\"},"
            "\"small\":-3,\"later\":null} \n",
            &t, &d, &err),
        ST_OK);
    assert_string_equal(t.s, "x");
    assert_true(t.i == INT64_MIN);
    assert_true(t.u == UINT64_MAX);
    assert_true(t.b);
    assert_int_equal(t.d, 5);
    assert_int_equal(t.t, 1577836800000000000);
    assert_int_equal(t.list.n, 2);
    assert_int_equal(t.map.n, 2);
    assert_string_equal(t.map.v[0].key, "a");
    assert_null(d.unserved);
    target_fini(&t);
}

/* Where no time and Go's zero time differ: kept apart, and written as they came. */
static void test_zero_time(void **state)
{
    (void)state;
    static const char *const rows[] = {"0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z",
                                       "1969-12-31T23:59:59Z", "2020-01-01T00:00:00Z"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct target t = {0};
        struct json_decode d = {.strict = true};
        struct err err = {0};
        char text[64], out[JSON_TIME_MAX + 1];
        (void)snprintf(text, sizeof text, "{\"p\":\"%s\"}", rows[i]);
        assert_int_equal(decode(text, &t, &d, &err), ST_OK);
        assert_true(t.p != 0);
        out[json_time_text(out, t.p)] = '\0';
        assert_string_equal(out, rows[i]);
        target_fini(&t);
    }
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"{", "unexpected end of JSON input"},
        {"{\"s\":5}", "json: cannot unmarshal number into Go struct field T.s of type string"},
        {"{\"i\":\"5\"}", "json: cannot unmarshal string into Go struct field T.i of type int64"},
        {"{\"i\":5.5}", "json: cannot unmarshal number 5.5 into Go struct field T.i of type int64"},
        {"{\"i\":9223372036854775808}", "json: cannot unmarshal number 9223372036854775808 into Go "
                                        "struct field T.i of type int64"},
        {"{\"u\":-1}", "json: cannot unmarshal number -1 into Go struct field T.u of type uint64"},
        {"{\"small\":3000000000}",
         "json: cannot unmarshal number 3000000000 into Go struct field T.small of type int32"},
        {"{\"b\":1}", "json: cannot unmarshal number into Go struct field T.b of type bool"},
        {"{\"list\":\"x\"}",
         "json: cannot unmarshal string into Go struct field T.list of type []string"},
        {"{\"list\":[1]}",
         "json: cannot unmarshal number into Go struct field T.list of type string"},
        {"{\"nope\":1}", "json: unknown field \"nope\""},
        {"[]", "json: cannot unmarshal array into Go value of type server.T"},
        {"{}x", "invalid character 'x' after top-level value"},
        {"{\"d\":\"1s\"}",
         "json: cannot unmarshal string into Go struct field T.d of type time.Duration"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct target t = {0};
        struct json_decode d = {.strict = true};
        struct err err = {0};
        assert_int_equal(decode(rows[i].text, &t, &d, &err), ST_INVALID);
        assert_string_equal(err.msg, rows[i].error);
        target_fini(&t);
    }
}

/* One value after another; the words are those of nats-server 2.14.5 for the same bytes. */
static void test_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error; /* NULL: fine */
        int64_t i;
    } rows[] = {
        {"", NULL, 0},
        {" \n", NULL, 0},
        {"{\"i\":1}{\"i\":2}", NULL, 2},
        {"{\"i\":1}null", NULL, 1},
        {"{\"i\":1} {}", NULL, 1},
        {"{}5", "json: cannot unmarshal number into Go value of type server.T", 0},
        {"{}{", "unexpected EOF", 0},
        {"{}nul", "unexpected EOF", 0},
        {"{}trux", "invalid character 'x' in literal true (expecting 'e') at offset 6", 0},
        {"{} x", "invalid character 'x' looking for beginning of value at offset 4", 0},
        {"{}\\", "invalid character '\\\\' looking for beginning of value at offset 3", 0},
        {"{\"a\":1,}",
         "invalid character '}' looking for beginning of object key string at offset 8", 0},
        {"{a:1}", "invalid character 'a' looking for beginning of object key string at offset 2",
         0},
        {"{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair at offset 8", 0},
        {"{\"a\":01}", "invalid character '1' after object key:value pair at offset 7", 0},
        {"{\"a\":1.}", "invalid character '}' after decimal point in numeric literal at offset 8",
         0},
        {"{\"a\":-}", "invalid character '}' in numeric literal at offset 7", 0},
        {"{\"a\":1e}", "invalid character '}' in exponent of numeric literal at offset 8", 0},
        {"{\"a\":\"\\x\"}", "invalid character 'x' in string escape code at offset 8", 0},
        {"{\"a\":\"\\u00g\"}",
         "invalid character 'g' in \\u hexadecimal character escape at offset 11", 0},
        {"{\"a\":\"\n\"}", "invalid character '\\n' in string literal at offset 7", 0},
        {"{\"a\" 1}", "invalid character '1' after object key at offset 6", 0},
        {"[1 2]", "invalid character '2' after array element at offset 4", 0},
        {"[1,]", "invalid character ']' looking for beginning of value at offset 4", 0},
        {"\x80", "invalid character '\\u0080' looking for beginning of value at offset 1", 0},
        {"\xc3", "invalid character '\xc3\x83' looking for beginning of value at offset 1", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct target t = {0};
        struct json_decode d = {.strict = true};
        struct err err = {0};
        enum st st = json_in_read(&d, rows[i].text, strlen(rows[i].text), &schema, &t, &err);
        assert_string_equal(st == ST_OK ? "" : err.msg, rows[i].error == NULL ? "" : rows[i].error);
        assert_int_equal(t.i, rows[i].i);
        target_fini(&t);
    }
}

static void test_strictness(void **state)
{
    (void)state;
    static const char *const bad[] = {"{'s':1}",
                                      "{\"s\":\"\xff\"}",
                                      "{\"i\":NaN}",
                                      "{\"i\":01}",
                                      "{\"i\":1,}",
                                      "{s:1}",
                                      "{\"s\":\"a\\u0000b\"}",
                                      "{\"i\":99999999999999999999}",
                                      "{\"i\":1}{}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct target t = {0};
        struct json_decode d = {0};
        struct err err = {0};
        if (decode(bad[i], &t, &d, &err) == ST_OK) {
            fail_msg("accepted %s", bad[i]);
        }
        target_fini(&t);
    }
    char deep[200];
    memset(deep, '[', sizeof deep);
    struct json_in in = {0};
    struct err err = {0};
    assert_int_equal(json_in_parse(&in, deep, sizeof deep, &err), ST_INVALID);
}

static void test_unserved(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool set;
    } rows[] = {{"{\"later\":false}", false},       {"{\"later\":{}}", false},
                {"{\"later\":[]}", false},          {"{\"later\":0}", false},
                {"{\"later\":\"\"}", false},        {"{\"later\":true}", true},
                {"{\"later\":[1]}", true},          {"{\"later\":{\"a\":1}}", true},
                {"{\"later\":{\"a\":\"\"}}", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct target t = {0};
        struct json_decode d = {.strict = true};
        assert_int_equal(decode(rows[i].text, &t, &d, NULL), ST_OK);
        assert_int_equal(d.unserved != NULL, rows[i].set);
        target_fini(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),    cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_times),      cmocka_unit_test(test_base64),
        cmocka_unit_test(test_decode),     cmocka_unit_test(test_zero_time),
        cmocka_unit_test(test_errors),     cmocka_unit_test(test_read),
        cmocka_unit_test(test_strictness), cmocka_unit_test(test_unserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
