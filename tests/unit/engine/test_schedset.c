/* The set of schedules: order, the dead, what stands in the catalogue, hostile bytes. */
#include "tests/lib/testlib.h"

#include "engine/liveset.h"
#include "engine/schedset.h"

static void order_and_the_dead(void **state)
{
    (void)state;
    struct liveset live;
    struct schedset s = {.known = true};
    liveset_init(&live, 1, 200);
    static const uint64_t seqs[] = {5, 9, 7, 9, 100, 6};
    for (size_t i = 0; i < ARRAY_LEN(seqs); i++) {
        schedset_add(&s, &live, seqs[i]);
    }
    assert_int_equal(s.n, 5);
    for (size_t i = 1; i < s.n; i++) {
        assert_true(s.v[i - 1] < s.v[i]);
    }
    liveset_remove(&live, 7);
    schedset_tidy(&s, &live);
    assert_int_equal(s.n, 4);
    for (uint64_t seq = 101; seq <= 200; seq++) { /* the dead make room */
        schedset_add(&s, &live, seq);
        liveset_remove(&live, seq);
    }
    assert_true(s.cap <= 64);
    schedset_clear(&s);
    assert_false(s.known);
    liveset_fini(&live);
}

static void column(void **state)
{
    (void)state;
    struct liveset live;
    struct schedset s = {.known = true}, back = {0};
    const uint8_t *rest;
    size_t len, rest_len;
    liveset_init(&live, 1, UINT64_C(1) << 40);
    for (uint64_t seq = 3; seq < UINT64_C(1) << 40; seq *= 7) {
        schedset_add(&s, &live, seq);
    }
    uint8_t *column = schedset_wrap(&s, true, (uint8_t *)base_strdup("rest"), 4, &len);
    assert_int_equal(schedset_unwrap(&back, column, len, &rest, &rest_len), ST_OK);
    assert_true(back.known);
    assert_int_equal(back.n, s.n);
    assert_memory_equal(back.v, s.v, s.n * sizeof *s.v);
    assert_int_equal(rest_len, 4);
    assert_memory_equal(rest, "rest", 4);
    for (size_t n = 0; n < len - 4; n++) { /* cut short */
        enum st st = schedset_unwrap(&back, column, n, &rest, &rest_len);
        assert_true(st == (n == 0 ? ST_OK : ST_CORRUPT));
        assert_false(back.known);
    }
    for (size_t i = 0; i < len * 8; i++) { /* never harm */
        column[i / 8] ^= (uint8_t)(1u << i % 8);
        enum st st = schedset_unwrap(&back, column, len, &rest, &rest_len);
        assert_true(st == ST_OK || st == ST_CORRUPT);
        column[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    base_free(column);
    schedset_clear(&s);
    schedset_clear(&back);
    liveset_fini(&live);
}

/* Nothing to say, or not known: the column is as it was before there were any. */
static void as_before(void **state)
{
    (void)state;
    struct schedset s = {.known = true};
    size_t len;
    uint8_t *column = schedset_wrap(&s, false, (uint8_t *)base_strdup("\001window"), 7, &len);
    assert_int_equal(len, 7);
    s.known = false;
    column = schedset_wrap(&s, true, column, len, &len);
    assert_int_equal(len, 7);
    const uint8_t *rest;
    assert_int_equal(schedset_unwrap(&s, column, len, &rest, &len), ST_OK);
    assert_false(s.known);
    assert_int_equal(len, 7);
    base_free(column);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_the_dead),
        cmocka_unit_test(column),
        cmocka_unit_test(as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
