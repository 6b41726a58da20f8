/* Output chains: random appends, reserves and partial sends give back the bytes that went in. */
#include "tests/lib/testlib.h"

#include <stdlib.h>

#include "broker/outbuf.h"

#define TOTAL ((size_t)4 << 20)

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 131 + (i >> 8));
}

/* Takes `len` bytes off the front, checking them. */
static void take(struct brk_outbuf *o, size_t *sent, size_t len)
{
    struct iovec iov[64];
    int n = brk_outbuf_iov(o, iov, 64);
    size_t left = len;
    for (int i = 0; i < n && left > 0; i++) {
        const uint8_t *p = iov[i].iov_base;
        size_t k = u64_min(left, iov[i].iov_len);
        for (size_t b = 0; b < k; b++) {
            assert_int_equal(p[b], pattern(*sent + b));
        }
        *sent += k;
        left -= k;
    }
    brk_outbuf_sent(o, len - left);
}

static void random_walk(void **state)
{
    (void)state;
    struct prng rnd = {test_seed()};
    struct brk_chunk_pool pool = {0};
    struct brk_outbuf o;
    brk_outbuf_init(&o, &pool);
    uint8_t *tmp = malloc(200000);
    size_t in = 0, sent = 0;
    while (sent < TOTAL) {
        uint64_t what = prng_next(&rnd) % 4;
        size_t len = prng_next(&rnd) % (what == 0 ? 200000 : 3000) + 1;
        if (what == 0 && in - sent < TOTAL / 4) {
            for (size_t i = 0; i < len; i++) {
                tmp[i] = pattern(in + i);
            }
            brk_outbuf_append(&o, tmp, len);
            in += len;
        } else if (what < 3 && in - sent < TOTAL / 4) {
            uint8_t *p = brk_outbuf_reserve(&o, len);
            size_t used = len - len / 3;
            for (size_t i = 0; i < used; i++) {
                p[i] = pattern(in + i);
            }
            brk_outbuf_commit(&o, used);
            in += used;
        } else {
            take(&o, &sent, prng_next(&rnd) % (in - sent + 1));
        }
        assert_int_equal(o.bytes, in - sent);
    }
    while (o.bytes > 0) {
        take(&o, &sent, o.bytes);
    }
    assert_int_equal(sent, in);
    assert_null(o.head);
    assert_null(o.tail);
    brk_outbuf_append(&o, tmp, 100000);
    brk_outbuf_fini(&o);
    brk_chunk_pool_trim(&pool);
    free(tmp);
}

/* Bytes may be added behind a queued write, in the chunk that it names. */
static void append_behind_a_write(void **state)
{
    (void)state;
    struct brk_chunk_pool pool = {0};
    struct brk_outbuf o;
    brk_outbuf_init(&o, &pool);
    brk_outbuf_append(&o, "abc", 3);
    struct iovec iov[4];
    assert_int_equal(brk_outbuf_iov(&o, iov, 4), 1);
    brk_outbuf_append(&o, "def", 3);
    assert_memory_equal(iov[0].iov_base, "abc", iov[0].iov_len);
    brk_outbuf_sent(&o, 3);
    assert_int_equal(brk_outbuf_iov(&o, iov, 4), 1);
    assert_int_equal(iov[0].iov_len, 3);
    assert_memory_equal(iov[0].iov_base, "def", 3);
    brk_outbuf_fini(&o);
    brk_chunk_pool_trim(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_walk),
                                       cmocka_unit_test(append_behind_a_write)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
