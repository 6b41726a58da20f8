/* engine/journal_format.c: round trips, every flipped bit, and golden bytes: the example of
 * FORMAT-journal.md. A change that breaks the golden bytes breaks stores that people have. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/journal_format.h"
#include "tests/lib/testlib.h"

/* The group of the example: its bytes but for the zeros between body and trailer. */
static const char golden_head[] =
#include "tests/unit/engine/golden_journal.h"
    ;

static size_t from_hex(const char *hex, uint8_t *out, size_t cap)
{
    size_t n = 0;
    while (*hex != '\0') {
        unsigned v;
        assert_int_equal(sscanf(hex, "%2x", &v), 1);
        assert_true(n < cap);
        out[n++] = (uint8_t)v;
        hex += 2;
    }
    return n;
}

static struct jg_header example(uint8_t page[4096])
{
    static const uint8_t nonce[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct seq_runs removed = {0};
    seq_runs_add(&removed, 6);
    struct ji_entry e = {
        .gid = 3, .nrec = 1, .flags = JI_REMOVES, .first_oseq = 41, .last_seq = 17, .floor = 7};
    memset(page, 0, 4096);
    size_t index = ji_size(&removed);
    ji_put(page + 128, index, &e, &removed);
    uint8_t *r = page + 128 + index;
    size_t ext = append_ext_size(7, &removed);
    append_ext_put(r + REC_HEAD_SIZE, ext, 7, &removed);
    struct msg m = {.seq = 17,
                    .ts_ns = 1700000000000000000,
                    .subj = (const uint8_t *)"a.b",
                    .subj_len = 3,
                    .data = (const uint8_t *)"hello",
                    .data_len = 5};
    size_t body = msg_put(r + REC_HEAD_SIZE + ext, &m, 0);
    rec_seal(r, REC_APPEND, 0, 3, 0, 41, ext, body, 0);
    uint32_t seed = jf_seed(nonce);
    struct jg_header h = {.lsn = 4096,
                          .group_seq = 1u << 20,
                          .total_len = 4096,
                          .body_len = (uint32_t)(index + align_up(REC_HEAD_SIZE + ext + body, 8)),
                          .nrec = 1,
                          .wall_ns = 1700000000000000000,
                          .meta_gen = 2,
                          .index_len = (uint32_t)index};
    h.index_crc = crc32c(seed, page + 128, index);
    h.body_crc = crc32c(seed, page + 128, h.body_len);
    jg_put(page, page + 4096 - 128, &h, seed);
    seq_runs_fini(&removed);
    return h;
}

static void golden(void **state)
{
    (void)state;
    uint8_t page[4096];
    uint8_t want[512];
    struct jg_header h = example(page);
    size_t n = 128 + h.body_len;
    if (getenv("MR_PRINT_GOLDEN") != NULL) {
        for (size_t i = 0; i < n; i++) {
            print_message("%02x%s", page[i], i % 16 == 15 ? "\n" : "");
        }
        print_message("\n");
    }
    assert_int_equal(from_hex(golden_head, want, sizeof(want)), n);
    assert_memory_equal(page, want, n);
    assert_memory_equal(page + 4096 - 128 + 4, page + 4,
                        124); /* the trailer: the same, but for the magic */
    for (size_t i = n; i < 4096 - 128; i++) {
        assert_int_equal(page[i], 0);
    }
}

static void every_bit_of_a_frame(void **state)
{
    (void)state;
    uint8_t page[4096];
    static const uint8_t nonce[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uint32_t seed = jf_seed(nonce);
    struct jg_header h = example(page);
    struct jg_header got;
    for (int tail = 0; tail < 2; tail++) {
        uint8_t *f = page + (tail != 0 ? 4096 - 128 : 0);
        TEST_ST(jg_get(f, tail != 0, seed, &got), ST_OK);
        assert_memory_equal(&got, &h, sizeof(h));
        TEST_ST(jg_get(f, tail == 0, seed, &got), ST_CORRUPT);
        TEST_ST(jg_get(f, tail != 0, seed + 1, &got), ST_CORRUPT);
        for (unsigned bit = 0; bit < 128 * 8; bit++) {
            f[bit / 8] ^= (uint8_t)(1u << bit % 8);
            TEST_ST(jg_get(f, tail != 0, seed, &got), ST_CORRUPT);
            f[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void file_header(void **state)
{
    (void)state;
    uint8_t page[4096];
    struct jf_header h = {
        .file_no = 9, .base_lsn = 1 << 20, .size = 1 << 22, .prev_end_lsn = 8192, .created_ns = 5};
    struct jf_header got;
    memset(h.store_uuid, 1, 16);
    memset(h.file_nonce, 2, 16);
    memset(h.boot_id, 3, 16);
    jf_header_put(page, &h);
    TEST_ST(jf_header_get(page, &got), ST_OK);
    assert_memory_equal(&got, &h, sizeof(h));
    for (unsigned bit = 0; bit < 4096 * 8; bit += 5) {
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        TEST_ST(jf_header_get(page, &got), ST_CORRUPT);
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* fields of later versions */
    static const size_t later[] = {6, 96, 97, 100, 104, 175, 176, 4091};
    for (size_t i = 0; i < ARRAY_LEN(later); i++) {
        page[later[i]] = 1;
        put_u32le(page + 4092, crc32c(0, page, 4092));
        TEST_ST(jf_header_get(page, &got), ST_UNSUPPORTED);
        page[later[i]] = 0;
    }
    put_u16le(page + 4, JF_VERSION + 1);
    put_u32le(page + 4092, crc32c(0, page, 4092));
    TEST_ST(jf_header_get(page, &got), ST_VERSION);
}

static void index_entries(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct seq_runs r = {0};
    for (uint64_t i = 0; i < 30; i++) {
        seq_runs_add(&r, i * 1000);
    }
    struct ji_entry e = {.gid = 1,
                         .nrec = 2,
                         .first_oseq = UINT64_MAX / 2,
                         .last_seq = 3,
                         .floor = 4,
                         .flags = JI_OPEN | JI_BATCH};
    size_t size = ji_size(&r);
    assert_true(size <= sizeof(buf));
    ji_put(buf, size, &e, &r);
    struct ji_entry got;
    struct seq_runs back = {0};
    size_t used;
    TEST_ST(ji_get(buf, size, &got), ST_OK);
    assert_int_equal(got.first_oseq, e.first_oseq);
    assert_int_equal(got.flags, e.flags);
    TEST_ST(seq_runs_get(got.runs, got.runs_len, &used, &back), ST_OK);
    assert_int_equal(back.n, 30);
    for (size_t cut = 0; cut < size; cut++) {
        TEST_ST(ji_get(buf, cut, &got), ST_CORRUPT);
    }
    ji_put(buf, ji_size(NULL), &e, NULL);
    TEST_ST(ji_get(buf, 40, &got), ST_OK);
    assert_null(got.runs);
    put_u32le(buf + 20, 64); /* an unknown flag */
    TEST_ST(ji_get(buf, 40, &got), ST_CORRUPT);
    seq_runs_fini(&r);
    seq_runs_fini(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(every_bit_of_a_frame),
        cmocka_unit_test(file_header),
        cmocka_unit_test(index_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
