#include "engine/ttl_heap.h"

#include "engine/base/prng.h"
#include "tests/lib/testlib.h"

static bool alive[4096];

static bool is_live(const void *arg, uint64_t seq)
{
    (void)arg;
    return alive[seq];
}

static void comes_out_in_order(void **state)
{
    struct ttl_heap h = {0};
    struct prng r = {5};
    (void)state;
    for (uint64_t seq = 1; seq < 4096; seq++) {
        alive[seq] = true;
        ttl_heap_add(&h, (int64_t)prng_below(&r, 300), seq, is_live, NULL);
    }
    struct ttl_entry last = {-1, 0};
    size_t n = 0;
    for (const struct ttl_entry *e; (e = ttl_heap_top(&h)) != NULL; n++) {
        assert_true(e->at_ns > last.at_ns || (e->at_ns == last.at_ns && e->seq > last.seq));
        last = *e;
        ttl_heap_pop(&h);
    }
    assert_int_equal(n, 4095);
    ttl_heap_fini(&h);
}

static void the_dead_do_not_pile_up(void **state)
{
    struct ttl_heap h = {0};
    (void)state;
    memset(alive, 0, sizeof alive);
    for (int i = 0; i < 100000; i++) {
        alive[(i + 4096 - 10) % 4096] = false;
        alive[i % 4096] = true;
        ttl_heap_add(&h, i, (uint64_t)(i % 4096), is_live, NULL);
    }
    assert_true(h.cap <= 64);
    ttl_heap_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_out_in_order),
        cmocka_unit_test(the_dead_do_not_pile_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
