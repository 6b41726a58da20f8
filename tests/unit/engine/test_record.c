/* engine/record.c and record_runs.c: round trips, every flipped bit, hostile lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants these first */
#include <cmocka.h>

#include "engine/record.h"

#define SEED 0x1234abcdu

static size_t build_append(uint8_t *buf, const char *subj, const char *hdr, const char *data,
                           uint64_t floor, const struct seq_runs *evicted)
{
    struct msg m = {.seq = 77,
                    .ts_ns = 1234567890123,
                    .subj = (const uint8_t *)subj,
                    .hdr = (const uint8_t *)hdr,
                    .data = (const uint8_t *)data,
                    .subj_len = (uint16_t)strlen(subj),
                    .hdr_len = (uint32_t)strlen(hdr),
                    .data_len = (uint32_t)strlen(data),
                    .flags = MSG_MSGID};
    size_t ext = append_ext_size(floor, evicted);
    append_ext_put(buf + REC_HEAD_SIZE, ext, floor, evicted);
    size_t body = msg_put(buf + REC_HEAD_SIZE + ext, &m, SEED);
    rec_seal(buf, REC_APPEND, REC_BATCH_MORE, 5, 0, 99, ext, body, SEED);
    return REC_HEAD_SIZE + ext + body;
}

static void append_round_trip(void **state)
{
    (void)state;
    uint8_t buf[512];
    struct seq_runs ev = {0};
    seq_runs_add(&ev, 3);
    seq_runs_add(&ev, 4);
    seq_runs_add(&ev, 9);
    size_t len = build_append(buf, "a.b", "NATS/1.0\r\nA: b\r\n\r\n", "hello", 3, &ev);
    struct rec r;
    assert_int_equal(rec_get(buf, len, SEED, &r), ST_OK);
    assert_int_equal(r.type, REC_APPEND);
    assert_int_equal(r.flags, REC_BATCH_MORE);
    assert_int_equal(r.gid, 5);
    assert_int_equal(r.oseq, 99);
    assert_int_equal(r.len, len);
    uint64_t floor;
    struct seq_runs got = {0};
    assert_int_equal(append_ext_get(r.ext, r.ext_len, &floor, &got), ST_OK);
    assert_int_equal(floor, 3);
    assert_int_equal(got.n, 2);
    assert_true(seq_runs_has(&got, 4));
    assert_false(seq_runs_has(&got, 5));
    assert_true(seq_runs_has(&got, 9));
    assert_int_equal(seq_runs_count(&got), 3);
    struct msg m;
    assert_int_equal(msg_get(r.body, r.body_len, &m), ST_OK);
    assert_true(msg_check(&m, SEED));
    assert_int_equal(m.flags, MSG_MSGID | MSG_HDR);
    assert_memory_equal(m.data, "hello", 5);
    assert_int_equal(m.seq, 77);
    rec_reflag(buf, 0, SEED);
    assert_int_equal(rec_get(buf, len, SEED, &r), ST_OK);
    assert_int_equal(r.flags, 0);
    seq_runs_fini(&got);
    seq_runs_fini(&ev);
}

/* Any flipped bit of the covered part is ST_CORRUPT, any of the content fails msg_check; nothing
 * else happens. */
static void every_bit_of_an_append(void **state)
{
    (void)state;
    uint8_t buf[512];
    size_t len = build_append(buf, "orders.1", "", "some payload", 0, NULL);
    for (size_t bit = 0; bit < len * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct rec r;
        enum st st = rec_get(buf, len, SEED, &r);
        if (bit / 8 < REC_HEAD_SIZE + MSG_HEAD_SIZE) {
            assert_int_equal(st, ST_CORRUPT);
        } else {
            struct msg m;
            assert_int_equal(st, ST_OK);
            assert_int_equal(msg_get(r.body, r.body_len, &m), ST_OK);
            assert_false(msg_check(&m, SEED));
        }
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void every_bit_of_a_delete(void **state)
{
    (void)state;
    uint8_t buf[64] = {0};
    memcpy(buf + REC_HEAD_SIZE, "\1\0\1\5\2", 5);
    rec_seal(buf, REC_DELETE, 0, 7, 0, 1, 0, 5, SEED);
    struct rec r;
    assert_int_equal(rec_get(buf, 29, SEED, &r), ST_OK);
    assert_int_equal(r.body_len, 5);
    assert_int_equal(rec_get(buf, 28, SEED, &r), ST_CORRUPT);
    assert_int_equal(rec_get(buf, 29, SEED + 1, &r), ST_CORRUPT);
    for (size_t bit = 0; bit < 29 * 8; bit++) {
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(rec_get(buf, 29, SEED, &r), ST_CORRUPT);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void reserved_types_are_refused(void **state)
{
    (void)state;
    uint8_t buf[128] = {0};
    struct rec r;
    for (int t = REC_RAFT_ENTRY; t <= REC_RAFT_SNAP; t++) {
        rec_seal(buf, (enum rec_type)t, 0, 7, 0, 1, 0, 40, SEED);
        assert_int_equal(rec_get(buf, 64, SEED, &r), ST_UNSUPPORTED);
    }
    memset(buf, 0, sizeof(buf));
    assert_int_equal(rec_get(buf, sizeof(buf), 0, &r), ST_CORRUPT);
}

/* Lengths inside a message that do not fit, with a CRC that does. */
static void valid_crc_over_bad_lengths(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct rec r;
    size_t len = build_append(buf, "s", "", "payload", 0, NULL);
    static const struct {
        size_t off;
        uint32_t val;
    } bad[] = {{0, 0}, {0, 39}, {0, 41}, {0, UINT32_MAX}, {28, 1}, {28, UINT32_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint8_t b[256];
        memcpy(b, buf, sizeof(b));
        put_u32le(b + REC_HEAD_SIZE + bad[i].off, bad[i].val);
        rec_seal(b, REC_APPEND, 0, 5, 0, 99, 0, len - REC_HEAD_SIZE, SEED);
        assert_int_equal(rec_get(b, len, SEED, &r), ST_CORRUPT);
    }
}

static void runs_stay_sorted(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 200; seed++) {
        struct seq_runs r = {0};
        bool model[200] = {false};
        unsigned x = seed * 7919 + 1;
        for (int i = 0; i < 60; i++) {
            x = x * 1103515245 + 12345;
            unsigned first = x / 65536 % 180;
            unsigned count = 1 + x / 7 % 6;
            seq_runs_add_run(&r, first, count);
            for (unsigned k = first; k < first + count; k++) {
                model[k] = true;
            }
        }
        uint64_t sum = 0;
        for (unsigned k = 0; k < 200; k++) {
            assert_int_equal(seq_runs_has(&r, k), model[k]);
            sum += model[k] ? 1 : 0;
        }
        assert_int_equal(seq_runs_count(&r), sum);
        for (size_t i = 1; i < r.n; i++) {
            assert_true(r.v[i].first > r.v[i - 1].first + r.v[i - 1].count);
        }
        uint8_t buf[1024];
        size_t n = seq_runs_put(buf, &r);
        assert_int_equal(n, seq_runs_size(&r));
        struct seq_runs back = {0};
        size_t used;
        assert_int_equal(seq_runs_get(buf, n, &used, &back), ST_OK);
        assert_int_equal(used, n);
        assert_int_equal(back.n, r.n);
        assert_memory_equal(back.v, r.v, r.n * sizeof(*r.v));
        for (size_t cut = 0; cut < n; cut++) {
            struct seq_runs c = {0};
            assert_int_equal(seq_runs_get(buf, cut, &used, &c), ST_CORRUPT);
            seq_runs_fini(&c);
        }
        seq_runs_fini(&back);
        seq_runs_fini(&r);
    }
}

static void runs_refuse_nonsense(void **state)
{
    (void)state;
    struct seq_runs r = {0};
    size_t used;
    uint8_t b[64];
    assert_int_equal(seq_runs_get((const uint8_t *)"\1\5\0", 3, &used, &r),
                     ST_CORRUPT); /* zero count */
    size_t n = varint_put(b, 1);
    n += varint_put(b + n, UINT64_MAX);
    n += varint_put(b + n, 2);
    assert_int_equal(seq_runs_get(b, n, &used, &r), ST_CORRUPT); /* overflow */
    n = varint_put(b, UINT64_MAX / 2);
    assert_int_equal(seq_runs_get(b, sizeof(b), &used, &r),
                     ST_CORRUPT); /* more than the bytes can hold */
    uint64_t floor;
    assert_int_equal(append_ext_get(b, 8, &floor, &r), ST_CORRUPT);
    memset(b, 0, sizeof(b));
    assert_int_equal(append_ext_get(b, 16, &floor, &r), ST_OK);
    b[15] = 1;
    assert_int_equal(append_ext_get(b, 16, &floor, &r), ST_CORRUPT);
    seq_runs_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_round_trip),          cmocka_unit_test(every_bit_of_an_append),
        cmocka_unit_test(every_bit_of_a_delete),      cmocka_unit_test(reserved_types_are_refused),
        cmocka_unit_test(valid_crc_over_bad_lengths), cmocka_unit_test(runs_stay_sorted),
        cmocka_unit_test(runs_refuse_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
