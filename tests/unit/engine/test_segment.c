/* engine/segment*.c on a real directory: what is flushed is read back, across flushes, seals and
 * restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants these first */
#include <cmocka.h>

#include <stdio.h>

#include "engine/base/prng.h"
#include "tests/lib/seg_fixture.h"
#include "tests/lib/testlib.h"

#define VIEWS_MAX 64u

struct book { /* the views a stream would have */
    struct seg_view *v[VIEWS_MAX];
    size_t n;
};

static void book_release(struct book *b)
{
    for (size_t i = 0; i < b->n; i++) {
        seg_view_release(b->v[i]);
    }
    b->n = 0;
}

/* As the owner does: flush, then take the new views. */
static void flush(struct seg_fix *f, struct book *b, const struct msg_set *m, size_t from, size_t n,
                  const struct seg_flush_req *how)
{
    struct seg_view *last = b->n != 0 ? b->v[b->n - 1] : NULL;
    struct seg_flush_req req = *how;
    req.gid = FIX_GID;
    req.account = "$G";
    req.name = "ORDERS";
    req.active = last != NULL && last->row.state == SEG_ACTIVE ? last : NULL;
    req.next_segno = last != NULL ? last->row.segno + 1 : 1;
    req.prev_last_seq = last != NULL ? last->row.last_seq : 0;
    req.created_generation = 3;
    req.msgs = m->src + from;
    req.n = n;
    struct seg_flush_result out;
    struct err err = {0};
    enum st st = seg_flush(f->segs, &req, &out, &err);
    if (st != ST_OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(segs_sync_dirs(f->segs, FIX_GID, &err), ST_OK);
    for (size_t i = 0; i < out.n; i++) {
        if (out.v[i].replaces_active) {
            seg_view_release(b->v[b->n - 1]);
            b->n--;
        }
        assert_true(b->n < VIEWS_MAX);
        b->v[b->n++] = out.v[i].view;
        out.v[i].view = NULL;
    }
    seg_flush_result_fini(&out);
}

/* Every message is found at its place and right. */
static void check_all(struct seg_fix *f, const struct book *b, const struct msg_set *m,
                      unsigned subjects, fix_size_fn size)
{
    struct block *blk = NULL;
    struct err err = {0};
    for (size_t i = 0; i < m->n; i++) {
        struct msg want;
        assert_int_equal(msg_get(m->src[i].msg, m->src[i].len, &want), ST_OK);
        size_t at = seg_views_find(b->v, b->n, want.seq);
        assert_true(at < b->n);
        uint32_t no = 0;
        assert_true(seg_view_block_of(b->v[at], want.seq, &no));
        if (blk == NULL || blk->block_no != no || blk->file_id != seg_view_file_id(b->v[at])) {
            block_release(blk);
            assert_int_equal(reader_read_sync(f->segs, NULL, b->v[at], no, &blk, &err), ST_OK);
        }
        struct msg got;
        assert_int_equal(block_find(blk, want.seq, &got), ST_OK);
        assert_true(got.seq == want.seq && msg_is_right(&got, subjects, size));
    }
    block_release(blk);
}

/* Opens all rows anew, as after a restart, and compares with what the visitor must see. */
static void reopen_all(struct seg_fix *f, struct book *b, const struct msg_set *m,
                       unsigned subjects, struct seen *sum)
{
    struct seg_row rows[VIEWS_MAX];
    size_t n = b->n;
    for (size_t i = 0; i < n; i++) {
        rows[i] = b->v[i]->row;
    }
    book_release(b);
    seg_fix_reopen(f);
    struct seg_visitor v;
    seen_visitor(&v, sum);
    struct err err = {0};
    for (size_t i = 0; i < n; i++) {
        enum st st = seg_open(f->segs, &rows[i], &v, &b->v[b->n], &err);
        if (st != ST_OK) {
            fail_msg("%s", err.msg);
        }
        b->n++;
    }
    uint64_t want = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct msg msg;
        assert_int_equal(msg_get(m->src[i].msg, m->src[i].len, &msg), ST_OK);
        want += msg.seq * (1 + hash64(0, msg.subj, msg.subj_len) % 1000);
        bytes += msg_logical_size(msg.subj_len, msg.hdr_len, msg.data_len);
    }
    (void)subjects;
    if (seen_damage(sum) != 0) {
        fail_msg("%s", sum->text);
    }
    assert_int_equal(sum->subject_msgs, m->n);
    assert_int_equal(sum->bytes, bytes);
    assert_int_equal(sum->seq_sum, want);
}

static size_t size_small(uint64_t seq)
{
    return 1 + seq % 200;
}
static size_t size_mixed(uint64_t seq)
{
    static const size_t sizes[] = {1, 10, 100, 1000, 63 * 1024, 64 * 1024, 65 * 1024, 4096};
    return sizes[seq % 8];
}
static size_t size_large(uint64_t seq)
{
    return seq % 5 == 0 ? 8 * MIB : seq % 5 == 1 ? MIB + 1 : 1;
}

static void one_flush(void **state)
{
    (void)state;
    struct seg_fix f;
    struct book b = {0};
    struct msg_set m = {0};
    struct seen sum;
    seg_fix_open(&f, NULL, NULL);
    msg_set_add(&m, 1, 3000, 1, 10, size_small);
    flush(&f, &b, &m, 0, m.n, &(struct seg_flush_req){.floor = 1});
    assert_int_equal(b.n, 1);
    assert_int_equal(b.v[0]->row.state, SEG_ACTIVE);
    assert_int_equal(b.v[0]->row.first_seq, 1);
    assert_int_equal(b.v[0]->row.last_seq, 3000);
    assert_int_equal(b.v[0]->row.live_msgs, 3000);
    check_all(&f, &b, &m, 10, size_small);
    reopen_all(&f, &b, &m, 10, &sum);
    assert_int_equal(sum.subjects, 10);
    check_all(&f, &b, &m, 10, size_small);
    uint32_t no;
    assert_false(seg_view_block_of(b.v[0], 3001, &no));
    assert_true(seg_view_block_by_time(b.v[0], 1500 * NS_PER_MS, &no));
    uint64_t lo;
    uint64_t hi;
    seg_view_block_range(b.v[0], no, &lo, &hi);
    assert_true(lo <= 1500 && hi >= 1500);
    book_release(&b);
    msg_set_fini(&m);
    seg_fix_close(&f);
}

static void many_flushes_and_seals(void **state)
{
    (void)state;
    struct seg_fix f;
    struct book b = {0};
    struct msg_set m = {0};
    struct seen sum;
    seg_fix_open(&f, NULL, NULL);
    msg_set_add(&m, 10, 2000, 3, 100, size_mixed);
    struct seq_runs removed = {0};
    seq_runs_add_run(&removed, 1, 9);
    struct seg_flush_req how = {
        .segment_bytes = 4 * MIB, .no_compress = true, .floor = 10, .removed = &removed};
    for (size_t at = 0; at < m.n; at += 50) {
        flush(&f, &b, &m, at, 50, &how);
        how.removed = NULL;
    }
    assert_true(b.n > 2);
    for (size_t i = 0; i + 1 < b.n; i++) {
        assert_int_equal(b.v[i]->row.state, SEG_SEALED);
    }
    check_all(&f, &b, &m, 100, size_mixed);
    reopen_all(&f, &b, &m, 100, &sum);
    assert_int_equal(sum.floor, 10);
    assert_int_equal(sum.removed, 9);
    check_all(&f, &b, &m, 100, size_mixed);
    /* and goes on after the restart */
    how.no_compress = false;
    size_t before = m.n;
    msg_set_add(&m, 10 + 3 * 2000, 500, 2, 100, size_mixed);
    flush(&f, &b, &m, before, 500, &how);
    reopen_all(&f, &b, &m, 100, &sum);
    check_all(&f, &b, &m, 100, size_mixed);
    seq_runs_fini(&removed);
    book_release(&b);
    msg_set_fini(&m);
    seg_fix_close(&f);
}

static void large_messages(void **state)
{
    (void)state;
    struct seg_fix f;
    struct book b = {0};
    struct msg_set m = {0};
    struct seen sum;
    seg_fix_open(&f, NULL, NULL);
    msg_set_add(&m, 1, 20, 1, 3, size_large);
    flush(&f, &b, &m, 0, 10, &(struct seg_flush_req){.segment_bytes = 32 * MIB});
    flush(&f, &b, &m, 10, 10,
          &(struct seg_flush_req){.segment_bytes = 32 * MIB, .no_compress = true});
    check_all(&f, &b, &m, 3, size_large);
    reopen_all(&f, &b, &m, 3, &sum);
    check_all(&f, &b, &m, 3, size_large);
    book_release(&b);
    msg_set_fini(&m);
    seg_fix_close(&f);
}

static size_t size_object(uint64_t seq)
{
    (void)seq;
    return 128 * 1024;
}

/* Noise is given up on after a few large blocks, but what can be made smaller never is. */
static void noise_is_not_packed(void **state)
{
    (void)state;
    struct seg_fix f;
    struct book b = {0};
    struct msg_set m = {0};
    struct prng p = {test_seed() + 3};
    seg_fix_open(&f, NULL, NULL);
    msg_set_add(&m, 1, 60, 1, 3, size_object);
    for (size_t i = 0; i < m.n; i++) { /* 50 of noise, with base64 at 30 and half of it at 40 */
        size_t from = m.src[i].len - 128 * 1024, n = i >= 50 ? 0 : i == 40 ? 64 * 1024 : 128 * 1024;
        for (size_t k = 0; k < n; k++) {
            uint8_t v = (uint8_t)prng_next(&p);
            m.bytes[i][from + k] = i == 30 ? (uint8_t)(' ' + v % 64) : v;
        }
    }
    flush(&f, &b, &m, 0, 60, &(struct seg_flush_req){.segment_bytes = 32 * MIB});
    const struct seg_view *v = b.v[0];
    assert_int_equal(v->ndata, 60);
    for (uint32_t i = 0; i < v->ndata; i++) {
        bool packed = v->bidx[i].stored_len < m.src[i].len;
        assert_int_equal(packed, i == 30 || i == 40 || i >= 50);
    }
    book_release(&b);
    msg_set_fini(&m);
    seg_fix_close(&f);
}

static void any_file(void *arg, uint32_t gid, uint64_t segno, uint32_t gen, bool dropped,
                     uint64_t generation, const char *path)
{
    char *last = arg;
    (void)gid, (void)segno, (void)gen, (void)dropped, (void)generation;
    snprintf(last, 256, "%s", path);
}

static void strange_files(void **state)
{
    (void)state;
    struct seg_fix f;
    struct book b = {0};
    struct msg_set m = {0};
    struct err err = {0};
    char path[256] = "";
    uint8_t *bytes = NULL;
    size_t len = 0;
    seg_fix_open(&f, NULL, NULL);
    msg_set_add(&m, 1, 10, 1, 3, size_small);
    flush(&f, &b, &m, 0, 10, &(struct seg_flush_req){0});
    assert_int_equal(segs_list(f.segs, any_file, path, &err), ST_OK);
    assert_int_equal(segs_quarantine(f.segs, path, &err), ST_OK);
    assert_int_equal(env_read_file(f.env, path, MIB, &bytes, &len, &err), ST_NOTFOUND);
    assert_int_equal(segs_quarantine(f.segs, "/etc/passwd", &err), ST_INVALID);
    /* the number is free again; then the file is found to be garbage */
    book_release(&b);
    flush(&f, &b, &m, 0, 10, &(struct seg_flush_req){0});
    book_release(&b);
    /* a number that is taken by a file nobody knows is passed by */
    flush(&f, &b, &m, 0, 10, &(struct seg_flush_req){0});
    assert_int_equal(b.v[0]->row.segno, 2);
    book_release(&b);
    assert_int_equal(segs_remove_unknown(f.segs, path, &err), ST_OK);
    assert_int_equal(segs_remove_unknown(f.segs, path, &err), ST_NOTFOUND);
    msg_set_fini(&m);
    seg_fix_close(&f);
}

/* Subjects in runs; a checkpoint that only removes; one subject with more messages than one call
 * gives. */
static void runs_and_removals(void **state)
{
    (void)state;
    struct seg_fix f;
    struct book b = {0};
    struct msg_set m = {0};
    struct seen sum;
    struct seq_runs gone = {0};
    unsigned subjects = FIX_RUNS(10, 3);
    seg_fix_open(&f, NULL, NULL);
    msg_set_add(&m, 1, 2000, 1, subjects, size_small);
    flush(&f, &b, &m, 0, 1000, &(struct seg_flush_req){0});
    seq_runs_add_run(&gone, 100, 50);
    flush(&f, &b, &m, 1000, 0, &(struct seg_flush_req){.removed = &gone, .floor = 3});
    flush(&f, &b, &m, 1000, 1000, &(struct seg_flush_req){0});
    reopen_all(&f, &b, &m, subjects, &sum);
    assert_int_equal(sum.removed, 50);
    assert_int_equal(sum.floor, 3);
    seq_runs_add_run(&gone, 120, 100);
    flush(&f, &b, &m, 2000, 0, &(struct seg_flush_req){.removed = &gone, .seal = true});
    assert_int_equal(b.n, 1);
    assert_int_equal(b.v[0]->row.state, SEG_SEALED);
    reopen_all(&f, &b, &m, subjects, &sum);
    assert_int_equal(sum.removed, 120);
    check_all(&f, &b, &m, subjects, size_small);
    book_release(&b);
    size_t from = m.n;
    msg_set_add(&m, 5000, 9000, 1, 1, size_small);
    struct msg_set tail = {.src = m.src + from, .n = m.n - from};
    flush(&f, &b, &tail, 0, tail.n, &(struct seg_flush_req){.no_compress = true});
    reopen_all(&f, &b, &tail, 1, &sum);
    assert_int_equal(sum.subjects, 3); /* calls */
    seq_runs_fini(&gone);
    book_release(&b);
    msg_set_fini(&m);
    seg_fix_close(&f);
}

static bool every_third(void *arg, uint64_t seq)
{
    (void)arg;
    return seq % 3 == 0;
}

static bool none(void *arg, uint64_t seq)
{
    (void)arg, (void)seq;
    return false;
}

/* All steps at once, of one segment. */
static enum st compact(struct segs *s, const struct seg_view *old, seg_live_fn live,
                       struct seg_flush_result *out, struct err *err)
{
    struct seg_compaction *c;
    bool done = false;
    *out = (struct seg_flush_result){0};
    assert_int_equal(seg_compact_begin(s, old, NULL, 9, "A", "N", live, NULL, &c, err), ST_OK);
    assert_int_equal(seg_compact_step(c, UINT32_MAX, &done, err), ST_OK);
    assert_true(done);
    return seg_compact_end(c, out, err);
}

static void compaction(void **state)
{
    (void)state;
    struct seg_fix f;
    struct book b = {0};
    struct msg_set m = {0};
    struct msg_set live = {0};
    struct seen sum;
    struct err err = {0};
    struct seg_flush_result out;
    struct seq_runs gone = {0};
    seg_fix_open(&f, NULL, NULL);
    msg_set_add(&m, 1, 3000, 1, 50, size_small);
    msg_set_add(&live, 3, 1000, 3, 50, size_small);
    m.src[2].expire_ns = 11;
    m.src[3].expire_ns = 12;
    seq_runs_add_run(&gone, 1, 1);
    flush(&f, &b, &m, 0, 2000, &(struct seg_flush_req){.removed = &gone, .floor = 2});
    flush(&f, &b, &m, 2000, 1000, &(struct seg_flush_req){.seal = true});
    assert_int_equal(b.n, 1);
    assert_int_equal(compact(f.segs, b.v[0], none, &out, &err), ST_OK);
    assert_int_equal(out.n, 0);
    assert_int_equal(compact(f.segs, b.v[0], every_third, &out, &err), ST_OK);
    assert_int_equal(out.n, 1);
    assert_int_equal(segs_sync_dirs(f.segs, FIX_GID, &err), ST_OK);
    struct seg_view *small = out.v[0].view;
    out.v[0].view = NULL;
    seg_flush_result_fini(&out);
    assert_int_equal(small->row.gen, 1);
    assert_int_equal(small->row.segno, b.v[0]->row.segno);
    assert_int_equal(small->row.live_msgs, 1000);
    assert_int_equal(small->row.min_expiry, 11);
    assert_true(small->row.durable_len < b.v[0]->row.durable_len);
    seg_view_drop(b.v[0]);
    seg_view_release(b.v[0]);
    assert_int_equal(segs_reap(f.segs), 0);
    b.v[0] = small;
    check_all(&f, &b, &live, 50, size_small);
    struct seg_row row = small->row;
    book_release(&b);
    struct seg_visitor v;
    seen_visitor(&v, &sum);
    assert_int_equal(seg_open(f.segs, &row, &v, &b.v[0], &err), ST_OK);
    assert_int_equal(seen_damage(&sum), 0);
    assert_int_equal(sum.ttl, 1);
    assert_int_equal(sum.floor, 2);
    assert_int_equal(sum.subject_msgs, 1000);
    struct seg_check_report rep = {0};
    assert_int_equal(seg_check(f.segs, &row, &v, &rep, &err), ST_OK);
    assert_int_equal(rep.findings, 0);
    assert_int_equal(rep.msgs, 1000);
    seg_view_release(b.v[0]);
    seq_runs_fini(&gone);
    msg_set_fini(&live);
    msg_set_fini(&m);
    seg_fix_close(&f);
}

static void ttl_is_kept(void **state)
{
    (void)state;
    struct seg_fix f;
    struct book b = {0};
    struct msg_set m = {0};
    struct seen sum;
    struct seg_visitor v;
    struct err err = {0};
    seg_fix_open(&f, NULL, NULL);
    msg_set_add(&m, 1, 100, 1, 10, size_small);
    m.src[3].expire_ns = 5 * NS_PER_S;
    m.src[50].expire_ns = 4 * NS_PER_S;
    flush(&f, &b, &m, 0, 100, &(struct seg_flush_req){.seal = true});
    assert_int_equal(b.v[0]->row.min_expiry, 4 * NS_PER_S);
    struct seg_row row = b.v[0]->row;
    book_release(&b);
    seen_visitor(&v, &sum);
    v.subject = NULL;
    assert_int_equal(seg_open(f.segs, &row, &v, &b.v[0], &err), ST_OK);
    b.n = 1;
    assert_int_equal(sum.ttl, 2);
    assert_int_equal(sum.seq_sum, (4 ^ (5 * NS_PER_S)) + (51 ^ (4 * NS_PER_S)));
    book_release(&b);
    msg_set_fini(&m);
    seg_fix_close(&f);
}

static void count_file(void *arg, uint32_t gid, uint64_t segno, uint32_t gen, bool dropped,
                       uint64_t generation, const char *path)
{
    unsigned *n = arg;
    (void)path;
    assert_int_equal(gid, FIX_GID);
    assert_true(segno != 0);
    assert_int_equal(gen, 0);
    assert_int_equal(generation, 3);
    (void)dropped;
    ++*n;
}

static void drop_and_list(void **state)
{
    (void)state;
    struct seg_fix f;
    struct book b = {0};
    struct msg_set m = {0};
    struct err err = {0};
    unsigned n = 0;
    seg_fix_open(&f, NULL, NULL);
    msg_set_add(&m, 1, 200, 1, 10, size_small);
    flush(&f, &b, &m, 0, 100, &(struct seg_flush_req){.seal = true});
    flush(&f, &b, &m, 100, 100, &(struct seg_flush_req){.seal = true});
    assert_int_equal(b.n, 2);
    assert_int_equal(segs_list(f.segs, count_file, &n, &err), ST_OK);
    assert_int_equal(n, 2);
    /* a drop waits for the reader */
    struct seg_view *pinned = b.v[0];
    seg_view_acquire(pinned);
    seg_view_drop(pinned);
    seg_view_release(b.v[0]);
    assert_int_equal(segs_reap(f.segs), 1);
    struct block *blk = NULL;
    assert_int_equal(reader_read_sync(f.segs, NULL, pinned, 0, &blk, &err), ST_OK);
    block_release(blk);
    seg_view_release(pinned);
    assert_int_equal(segs_reap(f.segs), 0);
    n = 0;
    assert_int_equal(segs_list(f.segs, count_file, &n, &err), ST_OK);
    assert_int_equal(n, 1);
    seg_view_release(b.v[1]);
    assert_int_equal(segs_drop_stream(f.segs, FIX_GID, &err), ST_OK);
    assert_int_equal(segs_drop_stream(f.segs, FIX_GID, &err), ST_OK);
    n = 0;
    assert_int_equal(segs_list(f.segs, count_file, &n, &err), ST_OK);
    assert_int_equal(n, 0);
    msg_set_fini(&m);
    seg_fix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_flush),           cmocka_unit_test(many_flushes_and_seals),
        cmocka_unit_test(large_messages),      cmocka_unit_test(strange_files),
        cmocka_unit_test(runs_and_removals),   cmocka_unit_test(compaction),
        cmocka_unit_test(ttl_is_kept),         cmocka_unit_test(drop_and_list),
        cmocka_unit_test(noise_is_not_packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
