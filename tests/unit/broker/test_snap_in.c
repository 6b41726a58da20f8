/* Snapshots on their way in: whatever the pieces they come in, messages and files are the same;
 * what does not fit is told by name. */
#include "broker/snap_in.h"

#include "tests/lib/testlib.h"

#include <stdio.h>
#include <string.h>

struct made {
    struct snap_buf tar, packed;
};

static void file(struct made *m, const char *name, const void *p, size_t n)
{
    snap_tar_head(&m->tar, name, n, 0);
    snap_add(&m->tar, p, n);
    snap_tar_pad(&m->tar, n);
}

static void meta(struct made *m, const char *dir, const char *consumer, const char *text)
{
    char name[600], sum[17];
    uint8_t key[SNAP_KEY_SIZE];
    snap_key_meta("S", consumer, key);
    snap_sum_text(key, text, strlen(text), sum);
    (void)snprintf(name, sizeof name, "%smeta.inf", dir);
    file(m, name, text, strlen(text));
    (void)snprintf(name, sizeof name, "%smeta.sum", dir);
    file(m, name, sum, 16);
}

static void record(struct snap_buf *b, uint64_t block, uint64_t seq, uint64_t bits,
                   const char *subject, const char *data)
{
    uint8_t key[SNAP_KEY_SIZE];
    struct msg m = {.seq = seq,
                    .ts_ns = 5,
                    .subj = (const uint8_t *)subject,
                    .subj_len = (uint16_t)strlen(subject),
                    .data = (const uint8_t *)data,
                    .data_len = (uint32_t)strlen(data)};
    snap_key_block("S", block, key);
    snap_rec_put(b, key, &m, bits);
}

static void pack(struct made *m)
{
    snappy_head_put(snap_room(&m->packed, SNAPPY_HEAD_SIZE));
    m->packed.n = SNAPPY_HEAD_SIZE;
    for (size_t at = 0, n; at < m->tar.n; at += n) {
        n = m->tar.n - at < SNAPPY_RAW_MAX ? m->tar.n - at : SNAPPY_RAW_MAX;
        uint8_t *to = snap_room(&m->packed, snappy_bound(n) + 8);
        m->packed.n += snappy_frame_put(m->tar.v + at, n, to);
    }
}

static void made_fini(struct made *m)
{
    snap_buf_fini(&m->tar);
    snap_buf_fini(&m->packed);
}

struct got {
    char text[400];  /* "seq subject data;" of each message */
    int metas, full; /* full: so many times the next message is not taken */
};

static enum st on_msg(void *arg, const struct msg *m, struct err *err)
{
    struct got *g = arg;
    size_t n = strlen(g->text);
    (void)err;
    if (g->full > 0) {
        g->full--;
        return ST_FULL;
    }
    (void)snprintf(g->text + n, sizeof g->text - n, "%llu %.*s %.*s;", (unsigned long long)m->seq,
                   (int)m->subj_len, (const char *)m->subj, (int)m->data_len,
                   (const char *)m->data);
    return ST_OK;
}

static enum st on_meta(void *arg, const void *p, size_t n, struct err *err)
{
    struct got *g = arg;
    (void)p, (void)n, (void)err;
    g->metas++;
    return ST_OK;
}

/* Feeds it in pieces of `step` bytes; the last error, or ST_OK. */
static enum st feed(struct snap_in *in, struct got *g, const struct made *m, size_t step,
                    struct err *err)
{
    *in = (struct snap_in){.stream = "S", .msg = on_msg, .got_meta = on_meta, .arg = g};
    *err = (struct err){0};
    for (size_t at = 0; at < m->packed.n; at += step) {
        const uint8_t *p = m->packed.v + at;
        size_t n = m->packed.n - at < step ? m->packed.n - at : step;
        enum st st;
        do {
            st = snap_in_step(in, &p, &n, err);
        } while (st == ST_OK || st == ST_FULL);
        if (st != ST_AGAIN) {
            return st;
        }
    }
    return snap_in_end(in, err);
}

static void whole(struct made *m)
{
    struct snap_buf b = {0};
    char name[300];
    meta(m, "", NULL, "{\"name\":\"S\"}");
    record(&b, 1, 1, 0, "a", "one");
    record(&b, 1, 2, SNAP_ERASED, "b", "");
    record(&b, 1, 3, 0, "a.b", "");
    file(m, "msgs/1.blk", b.v, b.n);
    b.n = 0;
    record(&b, 12, 9, SNAP_TOMBSTONE, "", "");
    record(&b, 12, 5, SNAP_TOMBSTONE, "", "");
    file(m, "msgs/12.blk", b.v, b.n);
    file(m, "msgs/x.blk", "?", 1); /* what nobody knows is passed over */
    file(m, "other", "?", 1);
    meta(m, "obs/c/", "c", "{}");
    file(m, "obs/c/o.dat", "state", 5);
    memset(name, 'n', 250);
    name[250] = 0;
    char dir[400];
    (void)snprintf(dir, sizeof dir, "obs/%s/", name);
    meta(m, dir, name, "{\"long\":1}");
    snap_tar_end(&m->tar);
    snap_buf_fini(&b);
}

static void in_pieces(void **state)
{
    (void)state;
    struct made m = {0};
    whole(&m);
    pack(&m);
    static const size_t steps[] = {1, 7, 100, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct snap_in in;
        struct got g = {.full = i == 1 ? 3 : 0};
        struct err err;
        enum st st = feed(&in, &g, &m, steps[i], &err);
        TEST_OK(st, &err);
        assert_string_equal(g.text, "1 a one;3 a.b ;");
        assert_int_equal(g.metas, 1);
        assert_int_equal(in.last_seq, 9);
        assert_int_equal(in.gone.len, 2);
        assert_true(in.gone.items[0] == 9 && in.gone.items[1] == 5);
        assert_int_equal(in.ncons, 2);
        assert_string_equal(in.cons[0].name, "c");
        assert_int_equal(in.cons[0].state.n, 5);
        assert_int_equal(strlen(in.cons[1].name), 250);
        snap_in_fini(&in);
    }
    made_fini(&m);
}

/* Cut anywhere, it is never taken for whole. */
static void cut_short(void **state)
{
    (void)state;
    struct made m = {0};
    whole(&m);
    pack(&m);
    size_t all = m.packed.n;
    for (size_t n = 0; n < all; n += 1 + n % 13) {
        struct snap_in in;
        struct got g = {0};
        struct err err;
        m.packed.n = n;
        enum st st = feed(&in, &g, &m, 1000000, &err);
        assert_int_not_equal(st, ST_OK);
        assert_true(err.msg[0] != 0);
        snap_in_fini(&in);
    }
    m.packed.n = all;
    made_fini(&m);
}

static void check_broken(void (*make)(struct made *m), enum st want, const char *words)
{
    struct made m = {0};
    struct snap_in in;
    struct got g = {0};
    struct err err;
    make(&m);
    pack(&m);
    TEST_ST(feed(&in, &g, &m, 50, &err), want);
    if (strstr(err.msg, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
    }
    snap_in_fini(&in);
    made_fini(&m);
}

static void block_of(struct made *m, uint64_t seq, uint64_t bits, const char *subject, size_t less,
                     size_t flip)
{
    struct snap_buf b = {0};
    meta(m, "", NULL, "{\"name\":\"S\"}");
    record(&b, 1, seq, bits, subject, "data");
    b.v[flip] ^= (uint8_t)(flip != 0);
    file(m, "msgs/1.blk", b.v, b.n - less);
    snap_tar_end(&m->tar);
    snap_buf_fini(&b);
}
static void cut_block(struct made *m)
{
    block_of(m, 1, 0, "a", 3, 0);
}
static void flipped(struct made *m)
{
    block_of(m, 1, 0, "a", 0, 24);
}
static void no_subject(struct made *m)
{
    block_of(m, 1, 0, "", 0, 0);
}
static void line_end(struct made *m)
{
    block_of(m, 1, 0, "a\r\nPING", 0, 0);
}
static void blank(struct made *m)
{
    block_of(m, 1, 0, "a 1", 0, 0);
}
static void empty_token(struct made *m)
{
    block_of(m, 1, 0, "a..b", 0, 0);
}
static void far_seq(struct made *m)
{
    block_of(m, UINT64_MAX / 4, 0, "a", 0, 0);
}
static void no_record(struct made *m)
{
    block_of(m, 1, 0, "a", 0, 2); /* its length */
}
static void no_meta(struct made *m)
{
    file(m, "other", "", 0);
    snap_tar_end(&m->tar);
}
static void wrong_sum(struct made *m)
{
    file(m, "meta.inf", "{}", 2);
    file(m, "meta.sum", "0123456789abcdef", 16);
    snap_tar_end(&m->tar);
}
static void wrong_consumer_sum(struct made *m)
{
    meta(m, "", NULL, "{}");
    meta(m, "obs/c/", "d", "{}");
    snap_tar_end(&m->tar);
}
static void too_large(struct made *m)
{
    static const char text[65] = "too much";
    file(m, "meta.sum", text, sizeof text);
    snap_tar_end(&m->tar);
}
/* Each file may be as large as it is; all of them may not. */
static void too_many(struct made *m)
{
    char name[32];
    uint8_t *zeros = base_calloc(1, SNAP_STATE_MAX);
    for (size_t i = 0; i <= SNAP_HELD_MAX / SNAP_STATE_MAX; i++) {
        (void)snprintf(name, sizeof name, "obs/%zu/o.dat", i);
        file(m, name, zeros, SNAP_STATE_MAX);
    }
    base_free(zeros);
}
static void no_tar(struct made *m)
{
    memset(snap_room(&m->tar, TAR_BLOCK), 'x', TAR_BLOCK);
    m->tar.n = TAR_BLOCK;
}

static void broken(void **state)
{
    (void)state;
    check_broken(cut_block, ST_CORRUPT, "msgs/1.blk is cut short at 0");
    check_broken(flipped, ST_CORRUPT, "the message at 0 is damaged");
    check_broken(no_subject, ST_CORRUPT, "no subject at 0");
    check_broken(line_end, ST_CORRUPT, "no subject at 0");
    check_broken(blank, ST_CORRUPT, "no subject at 0");
    check_broken(empty_token, ST_CORRUPT, "no subject at 0");
    check_broken(too_many, ST_TOOBIG, "take more than 128 MiB");
    check_broken(far_seq, ST_CORRUPT, "sequence out of range at 0");
    check_broken(no_record, ST_CORRUPT, "msgs/1.blk");
    check_broken(no_meta, ST_CORRUPT, "meta.inf is missing");
    check_broken(wrong_sum, ST_MISMATCH, "meta.inf does not fit its checksum");
    check_broken(wrong_consumer_sum, ST_CORRUPT, "obs/c/meta.inf does not fit its checksum");
    check_broken(too_large, ST_CORRUPT, "file \"meta.sum\" is too large");
    check_broken(no_tar, ST_CORRUPT, "invalid tar header");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
