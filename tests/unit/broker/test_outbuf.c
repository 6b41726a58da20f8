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

static void count_release(void *what)
{
    uint32_t *refs = what;
    assert_true(*refs > 0);
    *refs -= 1;
}

/* Names `len` bytes of their own allocation: whoever looks at them too late is seen by ASan. */
struct kept {
    uint32_t refs;
    uint8_t bytes[];
};

static void free_kept(void *what)
{
    struct kept *k = what;
    if (--k->refs == 0) {
        free(k);
    }
}

static void append_kept(struct brk_outbuf *o, size_t *in, size_t len)
{
    struct kept *k = malloc(sizeof *k + len);
    k->refs = 1;
    for (size_t i = 0; i < len; i++) {
        k->bytes[i] = pattern(*in + i);
    }
    brk_outbuf_append_kept(o, k->bytes, len, k, free_kept);
    *in += len;
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
        uint64_t what = prng_next(&rnd) % 5;
        size_t len = prng_next(&rnd) % (what == 0 ? 200000 : 3000) + 1;
        if (what == 0 && in - sent < TOTAL / 4) {
            for (size_t i = 0; i < len; i++) {
                tmp[i] = pattern(in + i);
            }
            brk_outbuf_append(&o, tmp, len);
            in += len;
        } else if (what == 4 && in - sent < TOTAL / 4) {
            append_kept(&o, &in, len * 20);
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

/* A reference goes when its last byte was sent, not before, and all go with the chain. */
static void kept_bytes(void **state)
{
    (void)state;
    struct brk_chunk_pool pool = {0};
    struct brk_outbuf o;
    struct iovec iov[8];
    static uint8_t payload[100000];
    uint32_t a = 1, b = 2;
    brk_outbuf_init(&o, &pool);
    brk_outbuf_append(&o, "line", 4);
    brk_outbuf_append_kept(&o, payload, sizeof payload, &a, count_release);
    brk_outbuf_append(&o, "\r\nline", 6);
    brk_outbuf_append_kept(&o, payload + 5, 10, &b, count_release);
    brk_outbuf_append_kept(&o, payload + 7, 20, &b, count_release);
    brk_outbuf_append(&o, "\r\n", 2);
    assert_int_equal(o.bytes, 4 + sizeof payload + 6 + 30 + 2);
    assert_int_equal(brk_outbuf_iov(&o, iov, 8), 6);
    assert_ptr_equal(iov[1].iov_base, payload);
    assert_ptr_equal(iov[4].iov_base, payload + 7);
    brk_outbuf_sent(&o, 4 + sizeof payload - 1);
    assert_int_equal(a, 1);
    assert_int_equal(brk_outbuf_iov(&o, iov, 8), 5);
    assert_ptr_equal(iov[0].iov_base, payload + sizeof payload - 1);
    brk_outbuf_sent(&o, 1 + 6 + 9);
    assert_int_equal(a, 0);
    assert_int_equal(b, 2);
    brk_outbuf_sent(&o, 2);
    assert_int_equal(b, 1);
    brk_outbuf_fini(&o);
    assert_int_equal(b, 0);
    brk_chunk_pool_trim(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_walk),
                                       cmocka_unit_test(append_behind_a_write),
                                       cmocka_unit_test(kept_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
