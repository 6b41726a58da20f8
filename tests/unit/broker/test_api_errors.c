/* The error table: sorted, complete, and its texts filled in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "broker/api_errors.h"
#include "broker/json_out.h"

static void test_table(void **state)
{
    (void)state;
    assert_int_equal(api_error_count(), 222);
    enum api_err id, last = API_OK;
    int code;
    const char *text;
    for (unsigned i = 0; api_error_row(i, &id, &code, &text); i++) {
        assert_true(id > last);
        assert_true(code >= 400);
        assert_true(code < 600);
        assert_true(text[0] != '\0');
        last = id;
    }
}

static void test_texts(void **state)
{
    (void)state;
    struct api_error e;
    api_error_set(&e, API_STREAM_NOT_FOUND);
    assert_int_equal(e.err_code, 10059);
    assert_int_equal(e.code, 404);
    assert_string_equal(e.text, "stream not found");
    api_error_setf(&e, API_STREAM_WRONG_LAST_SEQUENCE, "%d", 7);
    assert_string_equal(e.text, "wrong last sequence: 7");
    api_error_set2(&e, API_STREAM_EXTERNAL_API_OVERLAP, "a", "b");
    assert_string_equal(e.text, "stream external api prefix a must not overlap with b");
    api_error_text(&e, API_STREAM_INVALID_CONFIG, "%s is not served yet by this version", "mirror");
    assert_int_equal(e.code, 500);
    assert_string_equal(e.text, "mirror is not served yet by this version");
    char longest[2000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    api_error_set2(&e, API_STREAM_CREATE, longest, NULL);
    assert_int_equal(strlen(e.text), API_ERROR_TEXT_MAX - 1);
}

static void test_json(void **state)
{
    (void)state;
    struct api_error e;
    struct json_out j = {0};
    api_error_set(&e, API_NO_MESSAGE_FOUND);
    json_out_begin(&j);
    api_error_put(&j, &e);
    json_out_end(&j);
    static const char want[] =
        "{\"error\":{\"code\":404,\"err_code\":10037,\"description\":\"no message found\"}}";
    assert_int_equal(j.len, sizeof want - 1);
    assert_memory_equal(j.buf, want, j.len);
    json_out_fini(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_texts),
                                       cmocka_unit_test(test_json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
