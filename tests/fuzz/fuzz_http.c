/* Fuzz target: what comes in on the monitoring port. The first byte says in what pieces the rest
 * comes; the same bytes in one piece must give the same answer. */
#include <stdlib.h>

#include "broker/http.h"
#include "engine/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void check_text(const char *s, size_t max)
{
    size_t n = strnlen(s, max + 1);
    must(n <= max);
    for (size_t i = 0; i < n; i++) {
        must((unsigned char)s[i] >= ' ');
    }
}

static void check_ready(const struct brk_http_request *r, const uint8_t *data, size_t used)
{
    char v[BRK_HTTP_VALUE_MAX + 1];
    static const char *const names[] = {"acc", "limit", "subs", "a", ""};
    must(used >= 4 && memcmp(data + used - 4, "\r\n\r\n", 4) == 0);
    must(r->path[0] != 0);
    check_text(r->path, BRK_HTTP_PATH_MAX);
    must(strnlen(r->query, BRK_HTTP_QUERY_MAX + 1) <= BRK_HTTP_QUERY_MAX);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        enum brk_http_param p = brk_http_param(r, names[i], v);
        check_text(v, BRK_HTTP_VALUE_MAX);
        must(p == BRK_HTTP_FOUND || v[0] == 0);
    }
}

static void check_answer(int status)
{
    char head[BRK_HTTP_ANSWER_HEAD_MAX];
    struct brk_http_answer a = {status, "text/plain; charset=utf-8", SIZE_MAX, false, INT64_MAX};
    size_t n = brk_http_answer_head(&a, head);
    must(n > 4 && n < sizeof head && memcmp(head + n - 4, "\r\n\r\n", 4) == 0);
    must(brk_http_status_text(status)[0] != 'I'); /* never "Internal Server Error" */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t step = (size_t)data[0] + 1, have = 0, seen = 0, used = 0, whole_seen = 0, whole_used = 0;
    static struct brk_http_request r, whole;
    data++;
    size--;
    enum brk_http_take t = BRK_HTTP_MORE;
    while (t == BRK_HTTP_MORE && have < size) {
        have = have + step < size ? have + step : size;
        /* the reader's buffer ends here: what it holds is answered before more is read */
        t = brk_http_take(data, have < BRK_HTTP_HEAD_MAX ? have : BRK_HTTP_HEAD_MAX, &seen, &r,
                          &used);
        must(seen <= have && used <= have);
    }
    enum brk_http_take w = brk_http_take(data, size, &whole_seen, &whole, &whole_used);
    must(t == w && used == whole_used && memcmp(&r, &whole, sizeof r) == 0);
    if (t == BRK_HTTP_READY) {
        check_ready(&r, data, used);
    } else if (t == BRK_HTTP_REFUSED) {
        must(r.status >= 400 && r.why != NULL && !r.keep_alive);
        check_answer(r.status);
    }
    return 0;
}
