/* The tail beside an array: random adds with gaps of all widths, kills, trims. */
#include "tests/lib/testlib.h"

#include "engine/tail.h"

enum { MOST = 4000 };

struct model {
    uint64_t seq[MOST];
    uint32_t off[MOST];
    size_t n;
};

static uint64_t rnd(uint64_t *x)
{
    *x = *x * 6364136223846793005ull + 1442695040888963407ull;
    return *x >> 33;
}

static struct jr_chunk *filled(size_t msgs)
{
    struct jr_chunk *c = jr_chunk_create(NULL, msgs * 64);
    for (size_t i = 0; i < msgs; i++) {
        struct msg m = {
            .seq = i + 1, .ts_ns = (int64_t)i, .subj = (const uint8_t *)"a.b", .subj_len = 3};
        assert_int_equal(msg_put(c->base + i * 64, &m, 0), 35);
        c->used += 64;
    }
    return c;
}

static void compare(const struct tail *t, const struct model *m, struct jr_chunk *c)
{
    assert_int_equal(t->msgs, m->n);
    uint64_t seq = tail_next(t, 0);
    for (size_t i = 0; i < m->n; i++) {
        assert_int_equal(seq, m->seq[i]);
        assert_ptr_equal(tail_get(t, seq, NULL), c->base + m->off[i]);
        assert_int_equal(tail_next(t, seq), seq);
        if (i + 1 == m->n || m->seq[i + 1] > seq + 1) {
            assert_null(tail_get(t, seq + 1, NULL));
        }
        seq = tail_next(t, seq + 1);
    }
    assert_int_equal(seq, 0);
}

static void drop(struct model *m, size_t i, size_t count)
{
    memmove(m->seq + i, m->seq + i + count, (m->n - i - count) * sizeof m->seq[0]);
    memmove(m->off + i, m->off + i + count, (m->n - i - count) * sizeof m->off[0]);
    m->n -= count;
}

static void random_walk(void **state_)
{
    (void)state_;
    struct jr_chunk *c = filled(MOST);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct tail t;
        struct model m = {.n = 0};
        uint64_t x = seed, last = 0;
        tail_init(&t);
        for (uint32_t step = 0; step < MOST; step++) {
            uint64_t what = rnd(&x) % 20;
            if (what < 14) {
                uint64_t width = rnd(&x) % 10;
                last += 1 + (width < 6 ? 0 : width < 8 ? rnd(&x) % 8 : rnd(&x) % 2000000000u);
                tail_add(&t, last, c, step * 64, 35);
                m.seq[m.n] = last;
                m.off[m.n++] = step * 64;
            } else if (what < 18 && m.n > 0) {
                size_t i = rnd(&x) % m.n;
                tail_kill(&t, m.seq[i]);
                drop(&m, i, 1);
            } else if (what == 18 && m.n > 0) {
                size_t i = rnd(&x) % (m.n < 10 ? m.n : 10);
                tail_trim(&t, m.seq[i]);
                drop(&m, 0, i);
            }
            if (step % 97 == 0) {
                compare(&t, &m, c);
            }
        }
        compare(&t, &m, c);
        /* only the wide gaps cost anything, and little */
        assert_true(t.slots_cap <= 16384);
        assert_true(tail_end_seq(&t) == last + 1);
        tail_fini(&t);
    }
    jr_chunk_release(c);
}

static void finds_by_time(void **state_)
{
    (void)state_;
    struct jr_chunk *c = filled(100);
    struct tail t;
    tail_init(&t);
    for (uint32_t i = 0; i < 100; i++) { /* message i has time i */
        tail_add(&t, 1 + (uint64_t)i * 1000, c, i * 64, 35);
    }
    tail_kill(&t, 50001);
    assert_int_equal(tail_seq_at_time(&t, -5), 1);
    assert_int_equal(tail_seq_at_time(&t, 7), 7001);
    assert_int_equal(tail_next(&t, tail_seq_at_time(&t, 50)), 51001);
    assert_int_equal(tail_seq_at_time(&t, 99), 99001);
    assert_int_equal(tail_seq_at_time(&t, 100), tail_end_seq(&t));
    tail_fini(&t);
    jr_chunk_release(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_walk),
        cmocka_unit_test(finds_by_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
