/* The protocol parser: every way to split a stream of bytes gives the same operations, and each
 * fault is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/parser.h"
#include "engine/base/base.h"

/* Operations are written down as text; two runs are equal when their texts are. */
struct log {
    char text[16384];
    size_t n;
    bool refuse_login;
    bool pause_on_connect;
};

static void note(struct log *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct log *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(l->text + l->n, sizeof l->text - l->n, fmt, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < sizeof l->text - l->n);
    l->n += (size_t)n;
}

static unsigned long long digest(const void *p, size_t n)
{
    return n == 0 ? 0 : (unsigned long long)hash64(1, p, n);
}

static enum brk_op on_before_login(void *arg)
{
    struct log *l = arg;
    note(l, "before-login;");
    return l->refuse_login ? BRK_OP_CLOSE : BRK_OP_GO;
}
static enum brk_op on_connect(void *arg, struct brk_str s)
{
    struct log *l = arg;
    note(l, "connect %.*s;", (int)s.n, s.p);
    return l->pause_on_connect ? BRK_OP_PAUSE : BRK_OP_GO;
}
static enum brk_op on_ping(void *arg)
{
    note(arg, "ping;");
    return BRK_OP_GO;
}
static enum brk_op on_pong(void *arg)
{
    note(arg, "pong;");
    return BRK_OP_GO;
}
static enum brk_op on_info(void *arg, struct brk_str s)
{
    note(arg, "info %.*s;", (int)s.n, s.p);
    return BRK_OP_GO;
}
static enum brk_op on_err(void *arg, struct brk_str s)
{
    note(arg, "err %.*s;", (int)s.n, s.p);
    return BRK_OP_GO;
}
static enum brk_op on_sub(void *arg, struct brk_str subject, struct brk_str queue,
                          struct brk_str sid)
{
    note(arg, "sub %.*s|%.*s|%.*s;", (int)subject.n, subject.p, (int)queue.n,
         queue.n > 0 ? queue.p : "", (int)sid.n, sid.p);
    return BRK_OP_GO;
}
static enum brk_op on_unsub(void *arg, struct brk_str sid, uint64_t max)
{
    note(arg, "unsub %.*s|%llu;", (int)sid.n, sid.p, (unsigned long long)max);
    return BRK_OP_GO;
}
static enum brk_op on_pub_line(void *arg, const struct brk_pub_args *a)
{
    note(arg, "line %.*s %zu;", (int)a->subject.n, a->subject.p, a->total_len);
    return BRK_OP_GO;
}
static enum brk_op on_pub(void *arg, const struct brk_msg *m)
{
    note(arg, "pub %.*s|%.*s|h%zu:%llx|p%zu:%llx;", (int)m->subject.n, m->subject.p,
         (int)m->reply.n, m->reply.n > 0 ? m->reply.p : "", m->hdr_len, digest(m->hdr, m->hdr_len),
         m->payload_len, digest(m->payload, m->payload_len));
    return BRK_OP_GO;
}
static void on_fault(void *arg, const struct brk_parse_fault *f)
{
    note(arg, "fault %d;", (int)f->what);
}

static const struct brk_parse_ops ops = {
    .before_login = on_before_login,
    .connect = on_connect,
    .ping = on_ping,
    .pong = on_pong,
    .info = on_info,
    .err = on_err,
    .sub = on_sub,
    .unsub = on_unsub,
    .pub_line = on_pub_line,
    .pub = on_pub,
    .fault = on_fault,
};

#define SHARED_LEN ((size_t)64 * 1024)

static void start(struct brk_parser *p, struct log *l)
{
    brk_parser_init(p, &ops, l);
    p->control_line_max = 256;
    p->payload_max = 1 << 20;
    p->headers = true;
    *l = (struct log){.n = 0};
}

/* Feeds `in`, at most `step` bytes a time (0: as much as there is room for). */
static enum brk_parse feed_all(struct brk_parser *p, const uint8_t *in, size_t len, size_t step)
{
    uint8_t *shared = malloc(SHARED_LEN);
    enum brk_parse r = BRK_PARSE_OK;
    while (len > 0 && r == BRK_PARSE_OK) {
        size_t room;
        uint8_t *at = brk_parser_room(p, shared, SHARED_LEN, &room);
        assert_true(room > 0);
        size_t n = u64_min(len, room);
        n = step > 0 ? u64_min(n, step) : n;
        memcpy(at, in, n);
        r = brk_parser_feed(p, at, n);
        in += n;
        len -= n;
        memset(shared, 0xAA, SHARED_LEN); /* what was handed must not be needed any more */
        while (r == BRK_PARSE_PAUSE) {
            note(p->arg, "paused;");
            r = brk_parser_resume(p);
        }
    }
    free(shared);
    return r;
}

static const char *run(const char *in, size_t step)
{
    static struct log l;
    struct brk_parser p;
    start(&p, &l);
    (void)feed_all(&p, (const uint8_t *)in, strlen(in), step);
    brk_parser_fini(&p);
    return l.text;
}

static void each_split(const char *in, const char *want)
{
    for (size_t step = 0; step <= strlen(in); step++) {
        const char *got = run(in, step);
        if (strcmp(got, want) != 0) {
            fail_msg("input %s step %zu:\n got %s\nwant %s", in, step, got, want);
        }
    }
}

static void operations(void **state)
{
    (void)state;
    each_split("PING\r\n", "ping;");
    each_split("pInG\npong\r\n+ok\r\n", "ping;pong;");
    each_split("PINGxyz\r\nPING \r\n", "ping;ping;");
    each_split("CONNECT {\"a\":1}\r\nCONNECT{}\n", "connect {\"a\":1};connect {};");
    each_split("CONNECT\r\n", "connect ;");
    each_split("INFO {}\r\n-ERR 'x y'\r\n", "info {};err 'x y';");
    each_split("SUB a 1\r\nsub  b\tq  2 \r\nUNSUB 1\r\nunsub 2 5\r\nUNSUB 3 x\r\n",
               "sub a||1;sub b|q|2;unsub 1|0;unsub 2|5;unsub 3|0;");
}

static void publishes(void **state)
{
    (void)state;
    char want[512];
    unsigned long long ok = digest("ok", 2), h = digest("NATS/1.0\r\n\r\n", 12);
    (void)snprintf(want, sizeof want, "line a 2;pub a||h0:0|p2:%llx;", ok);
    each_split("PUB a 2\r\nok\r\n", want);
    (void)snprintf(want, sizeof want, "line a 2;pub a|r|h0:0|p2:%llx;ping;", ok);
    each_split("pub\ta  r 2 \nok\r\nPING\r\n", want);
    (void)snprintf(want, sizeof want, "line a 14;pub a|r|h12:%llx|p2:%llx;ping;", h, ok);
    each_split("HPUB a r 12 14\r\nNATS/1.0\r\n\r\nok\r\nPING\r\n", want);
    each_split("PUB a 0\r\n\r\n", "line a 0;pub a||h0:0|p0:0;");
}

static void fault_is(const char *in, enum brk_parse_error what)
{
    char want[32];
    (void)snprintf(want, sizeof want, "fault %d;", (int)what);
    for (size_t step = 0; step <= strlen(in); step++) {
        const char *got = run(in, step);
        size_t n = strlen(got), w = strlen(want);
        if (n < w || strcmp(got + n - w, want) != 0) {
            fail_msg("input %.80s step %zu: got %s, want %s", in, step, got, want);
        }
    }
}

static void faults(void **state)
{
    (void)state;
    fault_is("X", BRK_PERR_UNKNOWN_OP);
    fault_is("\r\n", BRK_PERR_UNKNOWN_OP);
    fault_is("PUX", BRK_PERR_UNKNOWN_OP);
    fault_is("PUB\r\n", BRK_PERR_UNKNOWN_OP);
    fault_is("-ERR\r\n", BRK_PERR_UNKNOWN_OP);
    fault_is("MSG a 1 0\r\n", BRK_PERR_UNKNOWN_OP);
    fault_is("PUB a 2\r\nokPING\r\n", BRK_PERR_UNKNOWN_OP);
    fault_is("PUB a 2\r\nok\nPING\r\n", BRK_PERR_UNKNOWN_OP);
    fault_is("PUB a 2\r\nok\rPING\r\n", BRK_PERR_UNKNOWN_OP);
    fault_is("PUB \r\n", BRK_PERR_PUB_ARGS);
    fault_is("PUB a\r\n", BRK_PERR_PUB_ARGS);
    fault_is("PUB a b c 1\r\n", BRK_PERR_PUB_ARGS);
    fault_is("PUB a\rb 1\r\n", BRK_PERR_PUB_ARGS);
    fault_is("PUB a -1\r\n", BRK_PERR_PUB_SIZE);
    fault_is("PUB a 0000000001\r\n", BRK_PERR_PUB_SIZE);
    fault_is("PUB a 1048577\r\n", BRK_PERR_MAX_PAYLOAD);
    fault_is("HPUB a 2\r\n", BRK_PERR_HPUB_ARGS);
    fault_is("HPUB a b c 2 2\r\n", BRK_PERR_HPUB_ARGS);
    fault_is("HPUB a x 2\r\n", BRK_PERR_HPUB_HDR);
    fault_is("HPUB a 2 x\r\n", BRK_PERR_HPUB_SIZE);
    fault_is("HPUB a 3 2\r\n", BRK_PERR_HPUB_LARGER);
    fault_is("SUB a\r\n", BRK_PERR_SUB_ARGS);
    fault_is("SUB a b c d\r\n", BRK_PERR_SUB_ARGS);
    fault_is("UNSUB \r\n", BRK_PERR_UNSUB_ARGS);
    fault_is("UNSUB 1 2 3\r\n", BRK_PERR_UNSUB_ARGS);
}

static void control_line(void **state)
{
    (void)state;
    char in[600];
    memset(in, 'a', sizeof in);
    memcpy(in, "SUB ", 4);
    /* 256 bytes of arguments pass, 257 do not */
    memcpy(in + 4 + 254, " 1\r\n", 5);
    assert_non_null(strstr(run(in, 0), "sub aaa"));
    assert_non_null(strstr(run(in, 7), "sub aaa"));
    memcpy(in + 4 + 254, "a 1\r\n", 6);
    fault_is(in, BRK_PERR_CONTROL_LINE);
    memset(in, 'a', sizeof in);
    memcpy(in, "CONNECT ", 8);
    in[400] = 0; /* never ends: refused before it does */
    fault_is(in, BRK_PERR_CONTROL_LINE);
    memset(in, ' ', sizeof in);
    memcpy(in, "SUB ", 4);
    memcpy(in + 580, "a 1\r\n", 6); /* white space in front does not count */
    for (size_t step = 0; step < 580; step += 31) {
        assert_string_equal(run(in, step), "sub a||1;");
    }
}

static void headers_off(void **state)
{
    (void)state;
    static struct log l;
    struct brk_parser p;
    start(&p, &l);
    p.headers = false;
    const char *in = "HPUB a 12 14\r\n";
    assert_int_equal(feed_all(&p, (const uint8_t *)in, strlen(in), 0), BRK_PARSE_CLOSE);
    brk_parser_fini(&p);
    char want[32];
    (void)snprintf(want, sizeof want, "fault %d;", (int)BRK_PERR_NO_HEADERS);
    assert_string_equal(l.text, want);
}

static void login(void **state)
{
    (void)state;
    static struct log l;
    struct brk_parser p;
    start(&p, &l);
    p.login = true;
    l.refuse_login = true;
    const char *in = "cOnNECT {}\r\nP";
    assert_int_equal(feed_all(&p, (const uint8_t *)in, strlen(in), 0), BRK_PARSE_CLOSE);
    assert_string_equal(l.text, "connect {};before-login;");
    brk_parser_fini(&p);
}

static void pauses(void **state)
{
    (void)state;
    static struct log l;
    const char *in = "CONNECT {}\r\nPING\r\nCONNECT 2\r\nPUB a 2\r\nok\r\nPI";
    const char *want = "connect {};paused;ping;connect 2;paused;line a 2;pub a";
    for (size_t step = 0; step < strlen(in); step++) {
        struct brk_parser p;
        start(&p, &l);
        l.pause_on_connect = true;
        assert_int_equal(feed_all(&p, (const uint8_t *)in, strlen(in), step), BRK_PARSE_OK);
        assert_int_equal(strncmp(l.text, want, strlen(want)), 0);
        brk_parser_fini(&p);
    }
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 12;
}

/* Appends a message of `size` bytes to in and what it should come out as to `want`. */
static size_t add_message(uint8_t *in, size_t hdr, size_t size, uint32_t fill, struct log *want)
{
    size_t n = (size_t)(hdr > 0 ? sprintf((char *)in, "HPUB big.one rep %zu %zu\r\n", hdr, size)
                                : sprintf((char *)in, "PUB big.one rep %zu\r\n", size));
    for (size_t i = 0; i < size; i++) {
        in[n + i] = (uint8_t)(i * 31 + fill);
    }
    note(want, "line big.one %zu;pub big.one|rep|h%zu:%llx|p%zu:%llx;", size, hdr,
         digest(in + n, hdr), size - hdr, digest(in + n + hdr, size - hdr));
    memcpy(in + n + size, "\r\n", 2);
    return n + size + 2;
}

/* Messages of every kind of size, in random pieces: the bytes must come out as they went in. */
static void large_messages(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1,     100,   16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1,
                                   65534, 65535, 65536, 300000,        1 << 20};
    static struct log got, want;
    for (uint32_t round = 0; round < 60; round++) {
        uint32_t seed = round * 2654435761u + 1;
        uint8_t *in = malloc((size_t)6 << 20);
        size_t n = 0;
        want = (struct log){.n = 0};
        for (int k = 0; k < 5; k++) {
            size_t size = sizes[next(&seed) % ARRAY_LEN(sizes)];
            size_t hdr = next(&seed) % 3 == 0 ? 0 : u64_min(size, next(&seed));
            n += add_message(in + n, hdr, size, next(&seed), &want);
        }
        struct brk_parser p;
        start(&p, &got);
        assert_int_equal(feed_all(&p, in, n, round == 0 ? 0 : 1 + next(&seed) % 40000),
                         BRK_PARSE_OK);
        assert_null(p.carry);
        assert_null(p.blob);
        brk_parser_fini(&p);
        free(in);
        assert_string_equal(got.text, want.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations),   cmocka_unit_test(publishes),      cmocka_unit_test(faults),
        cmocka_unit_test(control_line), cmocka_unit_test(headers_off),    cmocka_unit_test(login),
        cmocka_unit_test(pauses),       cmocka_unit_test(large_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
