/* The map of live messages against an array, near and far apart. */
#include "tests/lib/testlib.h"

#include "engine/msgmap.h"

enum { SPAN = 3 << 21 };

static void test_walk(void **state)
{
    (void)state;
    struct msgmap m;
    uint32_t *want = base_calloc(SPAN, sizeof *want), id, size;
    uint64_t base = (1ull << 40) - 5000, rng = test_seed();
    msgmap_init(&m);
    for (uint32_t k = 1; k < 400000; k++) {
        rng = rng * 6364136223846793005u + 1442695040888963407u;
        uint64_t i = (rng >> 33) % 8 == 0 ? (rng >> 20) % SPAN : k % 9000;
        if ((rng >> 50) % 3 != 0) {
            msgmap_set(&m, base + i, k, k + 1);
            want[i] = k;
        } else {
            assert_int_equal(msgmap_clear(&m, base + i), want[i] != 0);
            want[i] = 0;
        }
    }
    for (uint64_t i = 0; i < SPAN; i++) {
        assert_int_equal(msgmap_get(&m, base + i, &id, &size), want[i] != 0);
        assert_true(want[i] == 0 || (id == want[i] && size == want[i] + 1));
    }
    for (uint64_t i = 0; i < SPAN; i++) {
        assert_int_equal(msgmap_clear(&m, base + i), want[i] != 0);
    }
    assert_int_equal(m.ntables, 0);
    msgmap_fini(&m);
    base_free(want);
}

/* What lies between costs nothing. */
static void test_far_apart(void **state)
{
    (void)state;
    struct msgmap m;
    uint32_t id, size;
    msgmap_init(&m);
    for (uint32_t k = 0; k < 62; k++) {
        msgmap_set(&m, 1ull << (61 - k), k + 1, k);
    }
    assert_true(m.ntables <= 42);
    for (uint32_t k = 0; k < 62; k++) {
        assert_true(msgmap_get(&m, 1ull << (61 - k), &id, &size) && id == k + 1 && size == k);
    }
    assert_false(msgmap_get(&m, (1ull << 60) + 1, &id, &size));
    assert_false(msgmap_get(&m, UINT64_MAX, &id, &size));
    assert_false(msgmap_clear(&m, 3ull << 50));
    msgmap_reset(&m);
    assert_false(msgmap_get(&m, 1, &id, &size));
    msgmap_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_far_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
