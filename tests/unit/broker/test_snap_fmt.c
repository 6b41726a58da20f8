/* nats-server's snapshot format, piece by piece: what is written is read back, what was damaged is
 * told, and numbers at the ends of their range do no harm. */
#include "broker/snap_fmt.h"

#include "tests/lib/testlib.h"

#include <string.h>

/* --- consumer state --------------------------------------------------------------------------- */

static void varint(struct snap_buf *b, uint64_t v)
{
    b->n += varint_put(snap_room(b, 10), v);
}
static void put_zigzag(struct snap_buf *b, int64_t v)
{
    varint(b, zigzag(v));
}
static void head(struct snap_buf *b, uint64_t floor_seq, uint64_t pending)
{
    snap_add(b, (uint8_t[]){22, 2}, 2);
    varint(b, floor_seq);
    varint(b, floor_seq);
    varint(b, floor_seq + 9);
    varint(b, floor_seq + 9);
    varint(b, pending);
}

static enum st get(const struct snap_buf *b, struct snap_cons *k)
{
    *k = (struct snap_cons){0};
    return snap_cons_get(b->v, b->n, k);
}

static void state_round_trip(void **state)
{
    (void)state;
    struct snap_pend pend[] = {{.sseq = 11, .cseq = 12, .dcount = 1, .ts_ns = 1000 * NS_PER_S},
                               {.sseq = 13, .cseq = 15, .dcount = 3, .ts_ns = 1005 * NS_PER_S},
                               {.sseq = 14, .dcount = 2, .exhausted = true}};
    struct snap_cons k = {.floor_cseq = 11, .floor_sseq = 10, .delivered_cseq = 15};
    struct snap_cons out;
    struct snap_buf b = {0};
    k.delivered_sseq = 14;
    k.pend = pend;
    k.npend = ARRAY_LEN(pend);
    snap_cons_put(&b, &k, 1006 * NS_PER_S);
    TEST_ST(get(&b, &out), ST_OK);
    assert_int_equal(out.floor_cseq, 11);
    assert_int_equal(out.floor_sseq, 10);
    assert_int_equal(out.delivered_cseq, 15);
    assert_int_equal(out.delivered_sseq, 14);
    assert_int_equal(out.npend, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(out.pend[i].sseq, pend[i].sseq);
        assert_int_equal(out.pend[i].cseq, pend[i].cseq);
        assert_int_equal(out.pend[i].ts_ns, pend[i].ts_ns);
        assert_int_equal(out.pend[i].dcount, pend[i].dcount);
        assert_int_equal(out.pend[i].exhausted, pend[i].exhausted);
    }
    base_free(out.pend);
    for (size_t n = 0; n < b.n; n++) { /* cut anywhere: none, never half of one */
        struct snap_buf cut = {b.v, n, n};
        assert_int_not_equal(get(&cut, &out), ST_OK);
        base_free(out.pend);
    }
    snap_buf_fini(&b);
}

static void state_other(void **state)
{
    (void)state;
    struct snap_buf b = {0};
    struct snap_cons out;
    head(&b, 0, 0);
    varint(&b, 0);
    TEST_ST(get(&b, &out), ST_OK);
    base_free(out.pend);
    b.v[1] = 3;
    TEST_ST(get(&b, &out), ST_VERSION);
    b.v[0] = 21;
    TEST_ST(get(&b, &out), ST_CORRUPT);
    snap_buf_fini(&b);
}

/* A time of delivery that no clock shows is none; the message is pending all the same. */
static void state_far_times(void **state)
{
    (void)state;
    static const struct {
        int64_t base, before;
    } rows[] = {{INT64_MIN, 1}, {INT64_MAX, -1}, {INT64_MAX, 0}, {0, INT64_MIN}, {-1, INT64_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct snap_buf b = {0};
        struct snap_cons out;
        head(&b, 0, 1);
        put_zigzag(&b, rows[i].base);
        varint(&b, 1);
        varint(&b, 1);
        put_zigzag(&b, rows[i].before);
        varint(&b, 0);
        TEST_ST(get(&b, &out), ST_OK);
        assert_int_equal(out.npend, 1);
        assert_int_equal(out.pend[0].ts_ns, 0);
        base_free(out.pend);
        snap_buf_fini(&b);
    }
}

/* The same message twice, and numbers of deliveries that are none. */
static void state_senseless(void **state)
{
    (void)state;
    struct snap_buf b = {0};
    struct snap_cons out;
    head(&b, 0, 2);
    put_zigzag(&b, 0);
    for (int i = 0; i < 2; i++) {
        varint(&b, 1);
        varint(&b, 1);
        put_zigzag(&b, 0);
    }
    varint(&b, 0);
    TEST_ST(get(&b, &out), ST_CORRUPT);
    base_free(out.pend);
    static const uint64_t counts[] = {0, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        b.n = 0;
        head(&b, 0, 0);
        varint(&b, 1);
        varint(&b, 1);
        varint(&b, counts[i]);
        TEST_ST(get(&b, &out), ST_CORRUPT);
        base_free(out.pend);
    }
    b.n = 0;
    head(&b, 0, UINT64_MAX); /* more than there are bytes */
    TEST_ST(get(&b, &out), ST_CORRUPT);
    base_free(out.pend);
    snap_buf_fini(&b);
}

/* --- records ---------------------------------------------------------------------------------- */

static void records(void **state)
{
    (void)state;
    struct snap_buf b = {0};
    struct snap_rec rec;
    uint8_t key[SNAP_KEY_SIZE];
    struct msg m = {.seq = 7,
                    .ts_ns = -5,
                    .subj = (const uint8_t *)"a.b",
                    .subj_len = 3,
                    .hdr = (const uint8_t *)"NATS/1.0\r\n\r\n",
                    .hdr_len = 12,
                    .data = (const uint8_t *)"body",
                    .data_len = 4};
    snap_key_block("S", 1, key);
    snap_rec_put(&b, key, &m, SNAP_ERASED);
    assert_int_equal(snap_rec_len(b.v), b.n);
    assert_true(snap_rec_get(b.v, b.n, key, &rec));
    assert_int_equal(rec.m.seq, 7);
    assert_int_equal(rec.m.ts_ns, -5);
    assert_true(rec.erased);
    assert_false(rec.tombstone);
    assert_int_equal(rec.m.hdr_len, 12);
    assert_memory_equal(rec.m.hdr, m.hdr, 12);
    assert_int_equal(rec.m.data_len, 4);
    assert_memory_equal(rec.m.data, "body", 4);
    for (size_t i = 4; i < b.n; i++) { /* every byte that the hash or a length covers */
        b.v[i] ^= 0x10;
        assert_false(snap_rec_get(b.v, b.n, key, &rec));
        b.v[i] ^= 0x10;
    }
    snap_key_block("S", 2, key);
    assert_false(snap_rec_get(b.v, b.n, key, &rec));
    put_u32le(b.v, SNAP_REC_MIN - 1);
    assert_int_equal(snap_rec_len(b.v), 0);
    put_u32le(b.v, SNAP_REC_MAX + 1);
    assert_int_equal(snap_rec_len(b.v), 0);
    snap_buf_fini(&b);
}

/* --- tar -------------------------------------------------------------------------------------- */

static void tar(void **state)
{
    (void)state;
    struct snap_buf b = {0};
    struct snap_tar_entry e;
    char name[400], path[600];
    snap_tar_head(&b, "msgs/1.blk", 0777777, 1700000000);
    TEST_ST(snap_tar_get(b.v, &e), ST_OK);
    assert_string_equal(e.name, "msgs/1.blk");
    assert_int_equal(e.size, 0777777);
    assert_int_equal(e.type, '0');
    b.v[0] ^= 1; /* the checksum tells */
    TEST_ST(snap_tar_get(b.v, &e), ST_CORRUPT);

    b.n = 0; /* a long name stands in a PAX header of its own */
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    snap_tar_head(&b, name, 3, 0);
    assert_int_equal(b.n, 3 * TAR_BLOCK);
    TEST_ST(snap_tar_get(b.v, &e), ST_OK);
    assert_int_equal(e.type, 'x');
    assert_true(snap_pax_path(b.v + TAR_BLOCK, e.size, path, sizeof path));
    assert_string_equal(path, name);
    assert_false(snap_pax_path(b.v + TAR_BLOCK, e.size, path, 300)); /* does not fit */
    for (size_t n = 0; n < e.size; n++) {
        assert_false(snap_pax_path(b.v + TAR_BLOCK, n, path, sizeof path));
    }
    TEST_ST(snap_tar_get(b.v + 2 * TAR_BLOCK, &e), ST_OK);
    assert_int_equal(e.size, 3);
    b.n = 0;
    snap_tar_end(&b);
    TEST_ST(snap_tar_get(b.v, &e), ST_NOTFOUND);
    snap_buf_fini(&b);
}

static void pax(void **state)
{
    (void)state;
    char out[100];
    static const char *const none[] = {
        "",           "5 a=b\n",      "999 path=x\n", "99999999999999999999 path=x\n",
        "0 path=x\n", "11 path-xy\n", "x path=y\n",   "9 path=x",
        " path=x\n"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        assert_false(snap_pax_path((const uint8_t *)none[i], strlen(none[i]), out, sizeof out));
    }
    static const char two[] = "11 mtime=1\n11 path=xy\n";
    assert_true(snap_pax_path((const uint8_t *)two, sizeof two - 1, out, sizeof out));
    assert_string_equal(out, "xy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_round_trip),
        cmocka_unit_test(state_other),
        cmocka_unit_test(state_far_times),
        cmocka_unit_test(state_senseless),
        cmocka_unit_test(records),
        cmocka_unit_test(tar),
        cmocka_unit_test(pax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
