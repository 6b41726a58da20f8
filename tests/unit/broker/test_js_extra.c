/* placement, subject_transform, republish: what is kept of them, and how it is written. The wider
 * table of answers stands in tests/integration/js/config.txt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "broker/js_config.h"
#include "broker/js_extra.h"
#include "engine/base/base.h"

static const struct js_limits limits = {.strict = true};

static bool make(const char *field, struct js_stream_req *r, struct api_error *e)
{
    struct json_out j = {0};
    json_out_raw(&j, "{\"name\":\"S\",\"subjects\":[\"s.>\"],", 31);
    json_out_raw(&j, field, strlen(field));
    json_out_raw(&j, "}", 1);
    js_stream_req_init(r);
    *e = (struct api_error){0};
    bool ok =
        js_stream_req_parse(r, j.buf, j.len, &limits, e) && js_stream_req_check(r, &limits, e);
    json_out_fini(&j);
    return ok;
}

/* The config of what `field` made holds `want` (NULL: nothing that begins with `not`), and still
 * does after it was written and read again. */
static void check_kept(const char *field, const char *want, const char * not )
{
    struct js_stream_req r;
    struct api_error e;
    struct json_out j = {0};
    assert_true(make(field, &r, &e));
    js_stream_cfg_put(&j, &r.cfg, false);
    json_out_raw(&j, "", 1);
    if (want != NULL) {
        if (strstr(j.buf, want) == NULL) {
            fail_msg("%s: no %s in %s", field, want, j.buf);
        }
    } else {
        assert_null(strstr(j.buf, not ));
    }
    struct js_extra x;
    js_extra_read(&r.cfg, &x);
    struct json_out again = {0};
    js_extra_put_placement(&again, &x);
    js_extra_put_subjects(&again, &x);
    json_out_raw(&again, "", 1);
    assert_true(want == NULL ? again.buf[0] == '\0' : strstr(again.buf, want) != NULL);
    js_extra_fini(&x);
    json_out_fini(&again);
    json_out_fini(&j);
    js_stream_req_fini(&r);
}

/* What says nothing is no placement; a list of tags says something even where it is empty. Learnt
 * from nats-server 2.14.5. */
static void test_placement(void **state)
{
    (void)state;
    check_kept("\"placement\":{\"cluster\":\"\"}", NULL, "placement");
    check_kept("\"placement\":{\"preferred\":\"\"}", NULL, "placement");
    check_kept("\"placement\":{}", NULL, "placement");
    check_kept("\"placement\":null", NULL, "placement");
    check_kept("\"placement\":{\"cluster\":\"x\",\"preferred\":\"\"}",
               "\"placement\":{\"cluster\":\"x\"}", NULL);
    check_kept("\"placement\":{\"tags\":[]}", "\"placement\":{}", NULL);
    check_kept("\"placement\":{\"cluster\":\"\",\"tags\":[\"\"]}",
               "\"placement\":{\"tags\":[\"\"]}", NULL);
}

static void check_refused(const char *field, int err_code, const char *words)
{
    struct js_stream_req r;
    struct api_error e;
    assert_false(make(field, &r, &e));
    assert_int_equal(e.err_code, err_code);
    assert_string_equal(e.text, words);
    js_stream_req_fini(&r);
}

static void test_refused(void **state)
{
    (void)state;
    check_refused("\"placement\":{\"preferred\":\"x\"}", 10052,
                  "preferred server not permitted in placement");
    check_refused("\"republish\":{\"src\":\"a\",\"dest\":\"s.x\"}", 10052,
                  "stream configuration for republish destination forms a cycle");
    check_refused("\"republish\":{\"src\":\"a.*\",\"dest\":\"b.*.*\"}", 10052,
                  "stream configuration for republish with transform from 'a.*' to 'b.*.*' not "
                  "valid");
    check_refused("\"subject_transform\":{\"src\":\"a..b\",\"dest\":\"c\"}", 10155,
                  "stream transform source: invalid subject a..b");
    check_refused("\"subject_transform\":{\"src\":\"a.*\",\"dest\":\"c.{{wildcard(2)}}\"}", 10156,
                  "stream transform: invalid mapping destination: wildcard index out of range in "
                  "{{wildcard(2)}}: [2]");
}

static void test_republish(void **state)
{
    (void)state;
    check_kept("\"republish\":{\"dest\":\"r.>\"}",
               "\"republish\":{\"src\":\"\\u003e\",\"dest\":\"r.\\u003e\"}", NULL);
    check_kept("\"republish\":{\"src\":\"s.a\",\"dest\":\"r.b\",\"headers_only\":true}",
               "\"republish\":{\"src\":\"s.a\",\"dest\":\"r.b\",\"headers_only\":true}", NULL);
    check_refused("\"republish\":{\"dest\":\"r.>\"},\"pedantic\":true", 10157,
                  "pedantic mode: republish source can not be empty");
}

/* Bytes of a config that this version cannot read are as none. */
static void test_unreadable(void **state)
{
    (void)state;
    static const char *const rows[] = {"{\"placement\":5}", "{\"placement\"", "[]",
                                       "{\"republish\":{\"src\":\"a\",\"dest\":1}}"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream_cfg c = {.opaque = (uint8_t *)base_strdup(rows[i]),
                               .opaque_len = strlen(rows[i])};
        struct js_extra x;
        js_extra_read(&c, &x);
        assert_null(x.placement.v);
        assert_null(x.republish.v);
        js_extra_fini(&x);
        base_free(c.opaque);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_republish),
        cmocka_unit_test(test_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
