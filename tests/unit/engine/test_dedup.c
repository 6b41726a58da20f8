/* The duplicate window against a list; encode, decode, and hostile blobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/dedup.h"

static uint64_t rng_state = 99;
static uint64_t rnd(uint64_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % n;
}

enum { STEPS = 40000 };
struct row {
    uint64_t key, seq;
    int64_t ts_ns;
};
static struct row rows[STEPS];

static struct hash128 id_of(uint64_t key)
{
    return hash128(1, &key, sizeof key);
}

struct cmp {
    size_t at, end;
};
static bool same_row(void *arg, struct hash128 id, uint64_t seq, int64_t ts_ns)
{
    struct cmp *c = arg;
    struct hash128 want = id_of(rows[c->at].key);
    assert_true(c->at < c->end && want.lo == id.lo && want.hi == id.hi);
    assert_int_equal(rows[c->at].seq, seq);
    assert_int_equal(rows[c->at].ts_ns, ts_ns);
    c->at++;
    return true;
}

static void test_random_walk(void **state)
{
    (void)state;
    struct dedup d;
    dedup_init(&d);
    size_t head = 0, tail = 0;
    int64_t now = 1000;
    for (uint64_t i = 0; i < STEPS; i++) {
        now += (int64_t)rnd(3);
        int64_t window = (i / 8000) % 2 == 0 ? 8000 : 20;
        size_t gone = 0;
        while (head < tail && rows[head].ts_ns <= now - window) {
            head++;
            gone++;
        }
        assert_int_equal(dedup_expire(&d, now - window), gone);
        uint64_t key = rnd(30000), seq = 0, want = 0;
        for (size_t k = head; k < tail && i % 50 == 0; k++) {
            want = rows[k].key == key ? rows[k].seq : want;
        }
        bool hit = dedup_find(&d, id_of(key), &seq);
        if (i % 50 == 0) {
            assert_int_equal(seq, want);
        }
        if (!hit || rnd(10) == 0) {
            rows[tail++] = (struct row){key, i + 1, now};
            dedup_add(&d, id_of(key), i + 1, now);
            dedup_add(&d, id_of(key), i + 1, now); /* as a replay would */
            assert_true(dedup_find(&d, id_of(key), &seq));
            assert_int_equal(seq, i + 1);
        }
        if (i % 1000 == 0) {
            struct cmp c = {head, tail};
            dedup_each(&d, same_row, &c);
            assert_int_equal(c.at, tail);
        }
        if (i == 7999) {
            assert_true(dedup_memory_bytes(&d) < 48 * dedup_count(&d));
        }
    }
    /* Through a blob, cut at a sequence. */
    uint8_t *blob = base_malloc(dedup_encode_bound(&d, 2));
    uint64_t cut = rows[(head + tail) / 2].seq;
    size_t len = dedup_encode(&d, cut, "id", 2, blob);
    struct dedup e;
    dedup_init(&e);
    assert_int_equal(dedup_decode(&e, blob, len, NULL), ST_OK);
    struct cmp c = {head, tail};
    dedup_each(&e, same_row, &c);
    assert_true(c.at == tail || rows[c.at].seq > cut);
    assert_true(rows[c.at - 1].seq <= cut);
    size_t id_len;
    assert_memory_equal(dedup_last_id(&e, &id_len), "id", 2);
    assert_int_equal(id_len, 2);
    for (size_t cut_at = 1; cut_at < len;
         cut_at += 1 + cut_at / 16) { /* every short form is refused */
        uint8_t *exact = base_malloc(cut_at);
        memcpy(exact, blob, cut_at);
        assert_int_equal(dedup_decode(&e, exact, cut_at, NULL), ST_CORRUPT);
        assert_int_equal(dedup_count(&e), 0);
        base_free(exact);
    }
    for (int i = 0; i < 5000; i++) { /* nonsense of any kind never harms */
        size_t at = rnd(u64_min(len, 100));
        uint8_t was = blob[at];
        blob[at] = (uint8_t)rnd(256);
        enum st st = dedup_decode(&e, blob, rnd(2) == 0 ? u64_min(len, 200) : len, NULL);
        assert_true(st == ST_OK || dedup_count(&e) == 0);
        blob[at] = was;
    }
    base_free(blob);
    dedup_fini(&d);
    dedup_fini(&e);
}

static void test_last_id(void **state)
{
    (void)state;
    struct dedup d;
    dedup_init(&d);
    size_t len;
    assert_null(dedup_last_id(&d, &len));
    dedup_set_last_id(&d, "some-long-id", 12);
    dedup_set_last_id(&d, "x", 1);
    assert_memory_equal(dedup_last_id(&d, &len), "x", 1);
    assert_int_equal(len, 1);
    dedup_set_last_id(&d, NULL, 0);
    assert_null(dedup_last_id(&d, &len));
    assert_int_equal(dedup_decode(&d, NULL, 0, NULL), ST_OK);
    uint8_t blob[64];
    size_t n = dedup_encode(&d, UINT64_MAX, NULL, 0, blob);
    assert_int_equal(dedup_decode(&d, blob, n, NULL), ST_OK);
    dedup_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_walk),
        cmocka_unit_test(test_last_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
