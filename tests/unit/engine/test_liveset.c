/* The live set against an array of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/liveset.h"

static uint64_t rng_state = 7;
static uint64_t rnd(uint64_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % n;
}

enum { SPAN = 40000 };
static uint8_t live[SPAN + 2]; /* by sequence - base */

static void check(const struct liveset *l, uint64_t base)
{
    uint64_t a = l->first + rnd(l->last + 2 - l->first), b = l->first + rnd(l->last + 2 - l->first);
    uint64_t rank = 0, next = 0, prev = 0, msgs = 0;
    for (uint64_t s = l->first; s <= l->last; s++) {
        bool is = live[s - base] != 0;
        msgs += is;
        rank += is && s >= a && s < b;
        next = is && s >= a && next == 0 ? s : next;
        prev = is && s <= a ? s : prev;
        if (s % 37 == 0) {
            assert_int_equal(liveset_is_live(l, s), is);
        }
    }
    assert_int_equal(l->msgs, msgs);
    assert_int_equal(liveset_rank(l, a, b), rank);
    assert_int_equal(liveset_rank(l, 0, UINT64_MAX), msgs);
    assert_int_equal(liveset_next(l, a), next);
    assert_int_equal(liveset_prev(l, a), prev);
    assert_false(liveset_is_live(l, l->first - 1));
    assert_false(liveset_is_live(l, l->last + 1));
    if (next != 0) {
        assert_int_equal(liveset_nth(l, liveset_rank(l, 0, next)), next);
    }
    assert_int_equal(liveset_nth(l, msgs), 0);
}

/* The dead runs of one set, given to another, make it equal. */
static void check_copy(const struct liveset *l)
{
    struct seq_runs runs = {0};
    liveset_dead_runs(l, l->first, l->last + 1, UINT64_MAX, &runs);
    struct liveset copy;
    liveset_init(&copy, l->first, l->last);
    uint64_t dead = 0;
    for (size_t i = 0; i < runs.n; i++) {
        dead += liveset_remove_run(&copy, runs.v[i].first, runs.v[i].count);
    }
    assert_int_equal(dead, liveset_ndead(l));
    assert_int_equal(copy.msgs, l->msgs);
    for (uint64_t s = l->first; s <= l->last; s++) {
        assert_int_equal(liveset_is_live(l, s), liveset_is_live(&copy, s));
    }
    liveset_fini(&copy);
    seq_runs_fini(&runs);
    uint64_t max = 1 + rnd(20), sum = 0;
    liveset_dead_runs(l, l->first, l->last + 1, max, &runs);
    for (size_t i = 0; i < runs.n; i++) {
        sum += runs.v[i].count;
    }
    assert_int_equal(sum, u64_min(max, liveset_ndead(l)));
    seq_runs_fini(&runs);
}

static void walk(uint64_t base)
{
    struct liveset l;
    memset(live, 0, sizeof live);
    liveset_init(&l, base + 1, base);
    while (l.last - base < SPAN - 3000) {
        uint64_t from = l.last + 1, n = 1 + (rnd(8) == 0 ? rnd(1500) : rnd(4)), r = rnd(100);
        if (r < 35) {
            liveset_append(&l, l.last + n);
            memset(live + (from - base), 1, n);
        } else if (r < 40) {
            liveset_skip(&l, l.last + n);
        } else if (r < 85 && l.msgs > 0) {
            uint64_t s = l.first + rnd(l.last + 1 - l.first);
            assert_int_equal(liveset_remove(&l, s), live[s - base] != 0);
            live[s - base] = 0;
        } else if (r < 95 && l.last >= l.first) {
            uint64_t s = l.first + rnd(l.last + 1 - l.first), was = 0;
            uint64_t count = rnd(10) == 0 ? rnd(9000) : rnd(70);
            for (uint64_t i = s; i < s + count && i <= l.last; i++) {
                was += live[i - base];
                live[i - base] = 0;
            }
            assert_int_equal(liveset_remove_run(&l, s, count), was);
        } else if (r < 98) {
            uint64_t to = l.first + (rnd(10) == 0 ? rnd(l.last + 20 - l.first) : rnd(200)), was = 0;
            for (uint64_t i = l.first; i < to && i <= l.last; i++) {
                was += live[i - base];
                live[i - base] = 0;
            }
            assert_int_equal(liveset_set_floor(&l, to), was);
            assert_int_equal(l.first, to);
        } else {
            liveset_tidy(&l);
            assert_true(l.msgs == 0 ? l.first == l.last + 1 : liveset_is_live(&l, l.first));
        }
        if (rnd(50) == 0) {
            check(&l, base);
        }
        if (rnd(400) == 0) {
            check_copy(&l);
        }
    }
    check(&l, base);
    liveset_set_floor(&l, l.last + 1);
    assert_int_equal(l.msgs, 0);
    liveset_fini(&l);
}

static void test_random_walks(void **state)
{
    (void)state;
    walk(0);
    walk((2u << 20) - 20000); /* across groups of 2 Mi */
    walk(1ull << 50);
    for (int i = 0; i < 5; i++) {
        walk(rnd(1ull << 40));
    }
}

static void test_wide_spans(void **state)
{
    (void)state;
    struct liveset l;
    liveset_init(&l, 1, 1000000000);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_true(liveset_remove(&l, 1 + i * 999983));
    }
    assert_int_equal(liveset_rank(&l, 1, 1000000001), 1000000000 - 1000);
    assert_int_equal(liveset_rank(&l, 2, 999983 * 10 + 2), 999983 * 10 - 10);
    assert_int_equal(liveset_nth(&l, 999999999 - 1000), 1000000000);
    assert_int_equal(liveset_remove_run(&l, 500000000, 400000000), 400000000 - 400);
    assert_int_equal(liveset_next(&l, 600000000), 900000000);
    assert_int_equal(liveset_prev(&l, 600000000), 499999999);
    assert_true(l.memory_bytes < 16 << 20);
    uint64_t far = 1ull << 62, memory = l.memory_bytes;
    liveset_skip(&l, far); /* a gap costs the same however wide it is */
    assert_int_equal(l.msgs, 1000000000 - 1000 - 400000000 + 400);
    assert_true(l.memory_bytes < memory + 65536);
    liveset_append(&l, far + 1);
    assert_int_equal(liveset_next(&l, 1000000001), far + 1);
    assert_int_equal(liveset_prev(&l, far), 1000000000);
    assert_int_equal(liveset_nth(&l, l.msgs - 1), far + 1);
    assert_int_equal(liveset_rank(&l, 1000000000, far + 2), 2);
    (void)liveset_set_floor(&l, far);
    assert_int_equal(l.msgs, 1);
    assert_int_equal(liveset_next(&l, 1), far + 1);
    liveset_fini(&l);
    liveset_fini(&l);
}

/* Wide ranges, against a list of what is live. */
enum { RANGES = 1500 };
static struct seq_run range[RANGES];
static size_t nranges;

static void model_kill(uint64_t a, uint64_t b)
{
    size_t n = nranges;
    for (size_t i = 0; i < n; i++) {
        uint64_t lo = range[i].first, hi = lo + range[i].count;
        if (hi <= a || lo >= b) {
            continue;
        }
        range[i].count = lo < a ? a - lo : 0;
        if (hi > b) {
            assert_true(nranges < RANGES);
            range[nranges++] = (struct seq_run){b, hi - b};
        }
    }
}

static uint64_t model_rank(uint64_t a, uint64_t b)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < nranges; i++) {
        uint64_t lo = u64_max(range[i].first, a), hi = range[i].first + range[i].count;
        hi = u64_min(hi, b);
        sum += lo < hi ? hi - lo : 0;
    }
    return sum;
}

static void check_wide(const struct liveset *l)
{
    uint64_t a = l->first + rnd(l->last + 2 - l->first), b = l->first + rnd(l->last + 2 - l->first);
    uint64_t next = 0, prev = 0;
    for (size_t i = 0; i < nranges; i++) {
        uint64_t lo = u64_max(range[i].first, a), end = range[i].first + range[i].count;
        if (range[i].count > 0 && lo < end && (next == 0 || lo < next)) {
            next = lo;
        }
        if (range[i].count > 0 && range[i].first <= a) {
            prev = u64_max(prev, u64_min(a, end - 1));
        }
    }
    assert_int_equal(l->msgs, model_rank(0, UINT64_MAX));
    assert_int_equal(liveset_rank(l, a, b), model_rank(a, b));
    assert_int_equal(liveset_next(l, a), next);
    assert_int_equal(liveset_prev(l, a), prev);
    assert_int_equal(liveset_is_live(l, a), next == a);
    if (next != 0) {
        assert_int_equal(liveset_nth(l, model_rank(0, next)), next);
    }
    struct seq_runs dead = {0};
    liveset_dead_runs(l, l->first, l->last + 1, UINT64_MAX, &dead);
    struct liveset copy;
    liveset_init(&copy, l->first, l->last);
    for (size_t i = 0; i < dead.n; i++) {
        (void)liveset_remove_run(&copy, dead.v[i].first, dead.v[i].count);
    }
    assert_int_equal(copy.msgs, l->msgs);
    assert_int_equal(liveset_rank(&copy, a, b), model_rank(a, b));
    liveset_fini(&copy);
    seq_runs_fini(&dead);
}

/* A width of some magnitude, often whole groups. */
static uint64_t wide(void)
{
    uint64_t n = 1 + rnd(1ull << (1 + rnd(44)));
    return rnd(3) == 0 ? (n | ((2u << 20) - 1)) + 1 : n;
}

static void walk_wide(void)
{
    struct liveset l;
    nranges = 0;
    uint64_t first = rnd(3) == 0 ? 1 : 1 + rnd(1ull << 40);
    liveset_init(&l, first, first - 1);
    while (nranges < RANGES - 800) {
        uint64_t from = l.last + 1, n = wide(), r = rnd(100);
        if (r < 30) {
            liveset_append(&l, l.last + n);
            range[nranges++] = (struct seq_run){from, n};
        } else if (r < 50) {
            liveset_skip(&l, l.last + n);
        } else if (r < 90 && l.last >= l.first) {
            uint64_t s = l.first + rnd(l.last + 1 - l.first);
            s = rnd(3) == 0 ? u64_max(s & ~(uint64_t)((2u << 20) - 1), l.first) : s;
            uint64_t was = model_rank(s, s + n);
            model_kill(s, s + n);
            assert_int_equal(liveset_remove_run(&l, s, n), was);
        } else if (r < 93 && l.last >= l.first) {
            uint64_t to = l.first + rnd((l.last + 2 - l.first) / 8 + 1);
            uint64_t was = model_rank(0, to);
            model_kill(0, to);
            assert_int_equal(liveset_set_floor(&l, to), was);
        } else {
            liveset_tidy(&l);
        }
        if (l.last >= l.first) {
            check_wide(&l);
        }
        assert_true(l.memory_bytes < 64u << 20);
    }
    liveset_fini(&l);
}

static void test_wide_walks(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        walk_wide();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_walks),
        cmocka_unit_test(test_wide_spans),
        cmocka_unit_test(test_wide_walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
