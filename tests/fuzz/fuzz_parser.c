/* Fuzz target: the client protocol parser. The input's first bytes choose the limits and how the
 * rest is cut into reads; the same bytes are then parsed in one piece, and both runs must report
 * the same operations.
 *
 * Oracle: no crash, no sanitizer report, pointers that can be read, and equal digests of the two
 * runs. */
#include <stdlib.h>

#include "broker/parser.h"
#include "engine/base/base.h"

#define SHARED_LEN ((size_t)96 * 1024)

struct run {
    uint64_t digest;
    uint32_t ops;
    bool pausing; /* CONNECT pauses */
};

static void mix(struct run *r, uint8_t kind, const void *p, size_t n)
{
    r->digest = hash64(r->digest + kind, n > 0 ? p : "", n);
    r->ops++;
}
static void mix_str(struct run *r, uint8_t kind, struct brk_str s)
{
    mix(r, kind, s.p, s.n);
}

static enum brk_op on_before_login(void *arg)
{
    (void)arg; /* may be asked more than once for an operation that comes in pieces */
    return BRK_OP_GO;
}
static enum brk_op on_connect(void *arg, struct brk_str s)
{
    struct run *r = arg;
    mix_str(r, 1, s);
    return r->pausing ? BRK_OP_PAUSE : BRK_OP_GO;
}
static enum brk_op on_ping(void *arg)
{
    mix(arg, 2, NULL, 0);
    return BRK_OP_GO;
}
static enum brk_op on_pong(void *arg)
{
    mix(arg, 3, NULL, 0);
    return BRK_OP_GO;
}
static enum brk_op on_info(void *arg, struct brk_str s)
{
    mix_str(arg, 4, s);
    return BRK_OP_GO;
}
static enum brk_op on_err(void *arg, struct brk_str s)
{
    mix_str(arg, 5, s);
    return BRK_OP_GO;
}
static enum brk_op on_sub(void *arg, struct brk_str subject, struct brk_str queue,
                          struct brk_str sid)
{
    mix_str(arg, 6, subject);
    mix_str(arg, 7, queue);
    mix_str(arg, 8, sid);
    return BRK_OP_GO;
}
static enum brk_op on_unsub(void *arg, struct brk_str sid, uint64_t max)
{
    mix_str(arg, 9, sid);
    mix(arg, 10, &max, sizeof max);
    return max == 7 ? BRK_OP_CLOSE : BRK_OP_GO;
}
static enum brk_op on_pub_line(void *arg, const struct brk_pub_args *a)
{
    mix_str(arg, 11, a->subject);
    return BRK_OP_GO;
}
static enum brk_op on_pub(void *arg, const struct brk_msg *m)
{
    mix_str(arg, 12, m->subject);
    mix_str(arg, 13, m->reply);
    mix(arg, 14, m->hdr, m->hdr_len);
    mix(arg, 15, m->payload, m->payload_len);
    return BRK_OP_GO;
}
static void on_fault(void *arg, const struct brk_parse_fault *f)
{
    uint8_t what = (uint8_t)f->what;
    volatile uint8_t sum = 0; /* `near` must be readable */
    for (size_t i = 0; i < f->near.n; i++) {
        sum = (uint8_t)(sum + (uint8_t)f->near.p[i]);
    }
    mix(arg, 16, &what, 1);
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

static struct run parse(const uint8_t *in, size_t len, uint8_t flags, size_t step, uint8_t *shared)
{
    struct run r = {.pausing = (flags & 1) != 0};
    struct brk_parser p;
    brk_parser_init(&p, &ops, &r);
    p.control_line_max = (flags & 2) != 0 ? 40 : 4096;
    p.payload_max = (flags & 4) != 0 ? 100 : 200000;
    p.headers = (flags & 8) != 0;
    p.login = (flags & 16) != 0;
    enum brk_parse rc = BRK_PARSE_OK;
    while (len > 0 && rc == BRK_PARSE_OK) {
        size_t room;
        uint8_t *at = brk_parser_room(&p, shared, SHARED_LEN, &room);
        ASSERT(room > 0);
        size_t n = u64_min(u64_min(len, room), step);
        memcpy(at, in, n);
        rc = brk_parser_feed(&p, at, n);
        in += n;
        len -= n;
        while (rc == BRK_PARSE_PAUSE) {
            rc = brk_parser_resume(&p);
        }
    }
    ASSERT(p.carry == NULL || p.blob == NULL);
    brk_parser_fini(&p);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *shared;
    if (size < 3) {
        return 0;
    }
    if (shared == NULL) {
        shared = malloc(SHARED_LEN);
    }
    size_t step = (size_t)data[1] + ((size_t)data[2] << 4) + 1;
    struct run whole = parse(data + 3, size - 3, data[0], SIZE_MAX, shared);
    struct run pieces = parse(data + 3, size - 3, data[0], step, shared);
    ASSERT(whole.digest == pieces.digest);
    ASSERT(whole.ops == pieces.ops);
    return 0;
}
