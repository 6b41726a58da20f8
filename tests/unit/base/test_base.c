/* Varints, checksums, hashes, allocation hooks. */
#include "tests/lib/testlib.h"

static void varint_round_trips(void **state)
{
    (void)state;
    const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, 1ull << 63, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        uint8_t buf[10];
        uint64_t got = 0;
        size_t n = varint_put(buf, values[i]);
        assert_in_range(n, 1, 10);
        assert_int_equal(varint_get(buf, n, &got), n);
        assert_true(got == values[i]);
        assert_int_equal(varint_get(buf, n - 1, &got), 0);
    }
}

static void varint_refuses_overflow(void **state)
{
    (void)state;
    uint8_t buf[11];
    uint64_t v = 77;
    memset(buf, 0x80, sizeof(buf));
    assert_int_equal(varint_get(buf, sizeof(buf), &v), 0);
    memset(buf, 0xff, 9);
    buf[9] = 2; /* bit 64 */
    assert_int_equal(varint_get(buf, sizeof(buf), &v), 0);
    assert_true(v == 77);
}

static void crc_is_standard_and_chains(void **state)
{
    (void)state;
    assert_true(crc32c(0, "123456789", 9) == 0xE3069283u);
    assert_true(crc32c(0, "", 0) == 0);
    for (size_t cut = 0; cut <= 9; cut++) {
        assert_true(crc32c(crc32c(0, "123456789", cut), &"123456789"[cut], 9 - cut) == 0xE3069283u);
    }
    assert_true(crc32c(1, "a", 1) != crc32c(0, "a", 1));
}

static void hashes_take_the_seed(void **state)
{
    (void)state;
    assert_true(hash64(0, "", 0) == 0x2d06800538d394c2ull); /* XXH3 test vector */
    assert_true(hash64(1, "abc", 3) != hash64(0, "abc", 3));
    struct hash128 a = hash128(0, "", 0);
    assert_true(a.lo == 0x6001c324468d497full && a.hi == 0x99aa06d3014798d8ull);
}

static void little_endian_access(void **state)
{
    (void)state;
    uint8_t b[8];
    put_u16le(b, 0x1234);
    assert_memory_equal(b, "\x34\x12", 2);
    assert_int_equal(get_u16le(b), 0x1234);
    put_u32le(b, 0x89abcdefu);
    assert_memory_equal(b, "\xef\xcd\xab\x89", 4);
    assert_true(get_u32le(b) == 0x89abcdefu);
    put_u64le(b, 0x0102030405060708ull);
    assert_memory_equal(b, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    assert_true(get_u64le(b) == 0x0102030405060708ull);
}

static void nth_try_alloc_fails(void **state)
{
    (void)state;
    base_fail_try_alloc_at(2);
    void *a = base_try_malloc(1);
    void *b = base_try_malloc(1);
    void *c = base_try_realloc(a, 100);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    assert_int_equal(base_try_alloc_count(), 3);
    base_fail_try_alloc_at(0);
    base_free(c);
    void *z = base_malloc(0);
    assert_non_null(z);
    base_free(z);
    void *al = base_aligned(4096, 10);
    assert_int_equal((uintptr_t)al % 4096, 0);
    base_free(al);
    char *s = base_strndup("hello", 3);
    assert_string_equal(s, "hel");
    base_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varint_round_trips),         cmocka_unit_test(varint_refuses_overflow),
        cmocka_unit_test(crc_is_standard_and_chains), cmocka_unit_test(hashes_take_the_seed),
        cmocka_unit_test(little_endian_access),       cmocka_unit_test(nth_try_alloc_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
