/* Heads of HTTP requests: what is taken, what is refused, parameters, answer heads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "broker/http.h"
#include "engine/base/base.h"

static struct brk_http_request req;
static size_t used;

/* Feeds the text in pieces of `step` bytes; the answer of the first call that is not MORE. */
static enum brk_http_take feed(const char *text, size_t len, size_t step)
{
    size_t seen = 0;
    enum brk_http_take t = BRK_HTTP_MORE;
    for (size_t have = step < len ? step : len; t == BRK_HTTP_MORE;
         have = have + step < len ? have + step : len) {
        t = brk_http_take((const uint8_t *)text, have, &seen, &req, &used);
        if (have == len) {
            break;
        }
    }
    return t;
}

static void takes(const char *text, const char *path, const char *query)
{
    for (size_t step = 1; step <= 64; step *= 4) {
        assert_int_equal(feed(text, strlen(text), step), BRK_HTTP_READY);
        assert_int_equal(used, strlen(text));
        assert_string_equal(req.path, path);
        assert_string_equal(req.query, query);
    }
}

static void refuses(const char *text, int status)
{
    for (size_t step = 1; step <= 64; step *= 4) {
        assert_int_equal(feed(text, strlen(text), step), BRK_HTTP_REFUSED);
        assert_int_equal(req.status, status);
        assert_non_null(req.why);
        assert_false(req.keep_alive);
    }
}

static void test_taken(void **state)
{
    (void)state;
    takes("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "/", "");
    assert_true(req.keep_alive);
    assert_false(req.head);
    takes("HEAD /varz HTTP/1.1\r\nhost:x\r\nConnection: close\r\n\r\n", "/varz", "");
    assert_false(req.keep_alive);
    assert_true(req.head);
    takes("GET /jsz?acc=A&streams=1 HTTP/1.0\r\n\r\n", "/jsz", "acc=A&streams=1");
    assert_false(req.keep_alive);
    takes("GET http://h:8222/varz?a HTTP/1.1\r\nHost: h\r\nX-Y: \xc3\xa9\tz\r\n\r\n", "/varz", "a");
    takes("GET /a%2Fb%20c HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "/a/b c", "");
    takes("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "/ws",
          "");
}

static void test_refused(void **state)
{
    (void)state;
    refuses("GET / HTTP/1.1\nHost: x\n\n", 400);                     /* bare LF */
    refuses("GET / HTTP/1.1\r\nHost: x\n\r\n", 400);                 /* once */
    refuses("GET / HTTP/1.1\r\nHost: x\rY: z\r\n\r\n", 400);         /* bare CR */
    refuses("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400);              /* blank before the colon */
    refuses("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400); /* folded line */
    refuses("GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\nHost: x\r\n: v\r\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\n\r\n", 400);                       /* no Host */
    refuses("GET / HTTP/1.1\r\nHost: x\r\nHOST: y\r\n\r\n", 400); /* two */
    refuses("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n", 400);
    refuses("\r\n\r\n", 400);
    refuses("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    refuses("GET / HTTP/1.1\r\nHost: x\x01\r\n\r\n", 400);
    refuses("GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    refuses("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    refuses("GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    refuses("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505);
    refuses("GET /\r\n\r\n", 505); /* HTTP/0.9 */
    refuses("FOO / HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    refuses("POST /varz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", 405);
    refuses("DELETE /varz HTTP/1.1\r\nHost: x\r\n\r\n", 405);
}

static void test_sizes(void **state)
{
    (void)state;
    static char big[BRK_HTTP_HEAD_MAX + 64];
    int n = snprintf(big, sizeof big, "GET / HTTP/1.1\r\nHost: x\r\nA: ");
    memset(big + n, 'a', sizeof big - (size_t)n);
    assert_int_equal(feed(big, sizeof big, 1000), BRK_HTTP_REFUSED);
    assert_int_equal(req.status, 431);
    memcpy(big + BRK_HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
    assert_int_equal(feed(big, BRK_HTTP_HEAD_MAX, 1000), BRK_HTTP_READY);
    assert_int_equal(used, BRK_HTTP_HEAD_MAX);
    assert_int_equal(feed(big, BRK_HTTP_HEAD_MAX - 1, 1000), BRK_HTTP_MORE);
    char text[6000];
    (void)snprintf(text, sizeof text, "GET /%0600d HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    refuses(text, 414);
    (void)snprintf(text, sizeof text, "GET /?%05000d HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    refuses(text, 414);
}

static void test_pipelined(void **state)
{
    (void)state;
    static const char two[] =
        "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(feed(two, sizeof two - 1, sizeof two), BRK_HTTP_READY);
    assert_string_equal(req.path, "/a");
    assert_int_equal(feed(two + used, sizeof two - 1 - used, sizeof two), BRK_HTTP_READY);
    assert_string_equal(req.path, "/b");
}

static enum brk_http_param param(const char *query, const char *name, char *out)
{
    memset(&req, 0, sizeof req);
    (void)snprintf(req.query, sizeof req.query, "%s", query);
    return brk_http_param(&req, name, out);
}

static void test_params(void **state)
{
    (void)state;
    char v[BRK_HTTP_VALUE_MAX + 1];
    assert_int_equal(param("a=1&b=2&a=3", "a", v), BRK_HTTP_FOUND);
    assert_string_equal(v, "1");
    assert_int_equal(param("a=1&b=x%26y+z", "b", v), BRK_HTTP_FOUND);
    assert_string_equal(v, "x&y z");
    assert_int_equal(param("%61cc=%24G", "acc", v), BRK_HTTP_FOUND);
    assert_string_equal(v, "$G");
    assert_int_equal(param("subs", "subs", v), BRK_HTTP_FOUND);
    assert_string_equal(v, "");
    assert_int_equal(param("a=b=c", "a", v), BRK_HTTP_FOUND);
    assert_string_equal(v, "b=c");
    assert_int_equal(param("xa=1&&=&a", "b", v), BRK_HTTP_ABSENT);
    assert_int_equal(param("", "b", v), BRK_HTTP_ABSENT);
    assert_int_equal(param("b=%1", "b", v), BRK_HTTP_BAD);
    assert_int_equal(param("b=%0a", "b", v), BRK_HTTP_BAD);
    assert_string_equal(v, "");
    char q[BRK_HTTP_VALUE_MAX + 8] = "b=";
    memset(q + 2, 'x', BRK_HTTP_VALUE_MAX + 1);
    assert_int_equal(param(q, "b", v), BRK_HTTP_BAD);
    q[2 + BRK_HTTP_VALUE_MAX] = 0;
    assert_int_equal(param(q, "b", v), BRK_HTTP_FOUND);
}

static void test_answer(void **state)
{
    (void)state;
    char out[BRK_HTTP_ANSWER_HEAD_MAX + 1];
    struct brk_http_answer a = {200, "text/plain", 15, true, 1795254187 * NS_PER_S + 5};
    out[brk_http_answer_head(&a, out)] = 0;
    assert_string_equal(
        out, "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: text/plain\r\n"
             "X-Content-Type-Options: nosniff\r\nDate: Sat, 21 Nov 2026 09:43:07 GMT\r\n"
             "Content-Length: 15\r\n\r\n");
    a = (struct brk_http_answer){405, "text/plain", 0, false, NS_PER_S};
    out[brk_http_answer_head(&a, out)] = 0;
    assert_non_null(strstr(out, "HTTP/1.1 405 Method Not Allowed\r\n"));
    assert_non_null(strstr(out, "Date: Thu, 01 Jan 1970 00:00:01 GMT\r\n"));
    assert_non_null(strstr(out, "Allow: GET, HEAD\r\nConnection: close\r\n\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_sizes),  cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_params), cmocka_unit_test(test_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
