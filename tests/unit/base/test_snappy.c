/* Snappy and S2 blocks and frames: round trips, S2's own forms, damage; and Debian's libsnappy on
 * both sides, where it is installed. */
#include "tests/lib/testlib.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "engine/base/prng.h"
#include "engine/base/snappy.h"

typedef int (*uncompress_fn)(const char *in, size_t n, char *out, size_t *out_len);
typedef int (*compress_fn)(const char *in, size_t n, char *out, size_t *out_len);
static uncompress_fn their_uncompress;
static compress_fn their_compress;

/* Content between noise and one byte over and over. */
static size_t make(uint8_t *p, uint64_t seed)
{
    struct prng r = {.state = prng_mix(seed)};
    size_t n = prng_below(&r, seed % 3 == 0 ? 40 : SNAPPY_RAW_MAX + 1);
    uint64_t kind = prng_below(&r, 4), alphabet = 1 + prng_below(&r, 255);
    for (size_t i = 0; i < n; i++) {
        p[i] = kind == 0                            ? (uint8_t)prng_next(&r)
               : kind == 1                          ? (uint8_t)prng_below(&r, alphabet)
               : i > 100 && prng_below(&r, 30) != 0 ? p[i - 1 - prng_below(&r, 2) * 97]
                                                    : (uint8_t)prng_next(&r);
    }
    return n;
}

static void there_and_back(void **state)
{
    uint8_t *in = malloc(SNAPPY_RAW_MAX), *back = malloc(SNAPPY_RAW_MAX + 1);
    uint8_t *packed = malloc(snappy_bound(SNAPPY_RAW_MAX));
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        size_t n = make(in, seed), len, head;
        size_t m = snappy_block_put(in, n, packed);
        assert_true(m <= snappy_bound(n));
        assert_int_equal(s2_block_len(packed, m, &len, &head), ST_OK);
        assert_int_equal(len, n);
        assert_int_equal(s2_block_get(packed, m, back, n), ST_OK);
        assert_memory_equal(in, back, n);
        if (m > 1) {
            assert_int_equal(s2_block_get(packed, m - 1, back, n), ST_CORRUPT);
        }
        if (their_uncompress != NULL) {
            size_t out_len = SNAPPY_RAW_MAX + 1;
            assert_int_equal(their_uncompress((const char *)packed, m, (char *)back, &out_len), 0);
            assert_int_equal(out_len, n);
            assert_memory_equal(in, back, n);
            size_t their_len = snappy_bound(SNAPPY_RAW_MAX);
            assert_int_equal(their_compress((const char *)in, n, (char *)packed, &their_len), 0);
            assert_int_equal(s2_block_get(packed, their_len, back, n), ST_OK);
            assert_memory_equal(in, back, n);
        }
    }
    free(in);
    free(back);
    free(packed);
}

static void repeats(void **state)
{
    (void)state;
    /* "abcd", copy 4 from 4, repeat of 4+0, 8+1 (one byte), 260+0 (two bytes), 65540+0 (three) */
    static const uint8_t in[] = {0xf4 + 0, 0x83, 0x04, 3 << 2, 'a',  'b',  'c',  'd',
                                 0x01,     4,    0x01, 0x00,   0x15, 0x00, 0x01, 0x19,
                                 0x00,     0x00, 0x00, 0x1d,   0x00, 0x00, 0x00, 0x00};
    size_t len = 4 + 4 + 4 + 9 + 260 + 65540, got, head;
    uint8_t fixed[sizeof in];
    memcpy(fixed, in, sizeof in);
    assert_int_equal(varint_put(fixed, len), 3);
    uint8_t *out = malloc(len);
    assert_int_equal(s2_block_len(fixed, sizeof fixed, &got, &head), ST_OK);
    assert_int_equal(got, len);
    assert_int_equal(s2_block_get(fixed, sizeof fixed, out, len), ST_OK);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(out[i], "abcd"[i % 4]);
    }
    /* A repeat before any copy, and a copy from before the beginning. */
    static const uint8_t early[] = {8, 3 << 2, 'a', 'b', 'c', 'd', 0x01, 0x00};
    assert_int_equal(s2_block_get(early, sizeof early, out, 8), ST_CORRUPT);
    static const uint8_t before[] = {8, 3 << 2, 'a', 'b', 'c', 'd', 0x01, 0x05};
    assert_int_equal(s2_block_get(before, sizeof before, out, 8), ST_CORRUPT);
    free(out);
}

static size_t stream(uint8_t *out, const uint8_t *in, size_t n)
{
    size_t o = SNAPPY_HEAD_SIZE;
    snappy_head_put(out);
    for (size_t at = 0; at < n; at += SNAPPY_RAW_MAX) {
        o += snappy_frame_put(in + at, n - at < SNAPPY_RAW_MAX ? n - at : SNAPPY_RAW_MAX, out + o);
    }
    return o;
}

static void in_pieces(void **state)
{
    enum { N = 300000 };
    uint8_t *in = malloc(N), *out = malloc(2 * N), *back = malloc(N);
    struct prng r = {.state = 5};
    (void)state;
    for (size_t i = 0; i < N; i++) {
        in[i] = (uint8_t)(i % 1000 < 900 ? i % 13 : prng_next(&r));
    }
    size_t n = stream(out, in, N);
    assert_true(n < N / 2);
    for (size_t step = 1; step < n; step = step * 3 + 1) {
        struct s2_reader rd = {0};
        size_t got = 0;
        for (size_t at = 0; at < n; at += step) {
            const uint8_t *p = out + at, *raw;
            size_t left = n - at < step ? n - at : step, len;
            enum st st;
            while ((st = s2_read(&rd, &p, &left, &raw, &len)) == ST_OK) {
                memcpy(back + got, raw, len);
                got += len;
            }
            assert_int_equal(st, ST_AGAIN);
            assert_int_equal(left, 0);
        }
        assert_true(s2_at_end(&rd));
        assert_int_equal(got, N);
        assert_memory_equal(in, back, N);
        s2_reader_fini(&rd);
    }
    free(in);
    free(out);
    free(back);
}

/* One changed bit is an error, or changes nothing. */
static void flips(void **state)
{
    uint8_t in[400], out[600];
    (void)state;
    for (size_t i = 0; i < sizeof in; i++) {
        in[i] = (uint8_t)(i % 7);
    }
    size_t n = stream(out, in, sizeof in);
    for (size_t bit = 0; bit < n * 8; bit++) {
        struct s2_reader rd = {0};
        const uint8_t *p = out, *raw = NULL;
        size_t left = n, len = 0;
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum st st = s2_read(&rd, &p, &left, &raw, &len);
        if (st == ST_OK) {
            assert_int_equal(len, sizeof in);
            assert_memory_equal(raw, in, sizeof in);
        }
        s2_reader_fini(&rd);
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(repeats),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(flips),
    };
    void *lib = dlopen("libsnappy.so.1", RTLD_NOW);
    if (lib != NULL) {
        *(void **)&their_uncompress = dlsym(lib, "snappy_uncompress");
        *(void **)&their_compress = dlsym(lib, "snappy_compress");
    }
    int code = cmocka_run_group_tests(tests, NULL, NULL);
    return code;
}
