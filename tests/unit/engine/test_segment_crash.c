/* Crashes in a flush, in the simulated world: stop at every operation on the disk, lose a legal
 * part of what was not synced, open what the last commit named. Every committed message is there
 * and right, nothing is reported as damage (I19), and the stream goes on from there. Then the same
 * with a failing or full disk instead of a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants these first */
#include <cmocka.h>

#include "engine/base/env_sim.h"
#include "tests/lib/seg_fixture.h"

#define ROWS_MAX 128u
#define PER_FLUSH 12u
#define FLUSHES 8u
#define SUBJECTS 5u

static size_t size_of(uint64_t seq)
{
    return seq % 7 == 0 ? 3000 : 1 + seq % 90;
}

/* The catalogue: what was committed. */
struct committed {
    struct seg_row rows[ROWS_MAX];
    size_t n;
    size_t msgs; /* of the set, from the start */
    uint64_t next_segno;
};

struct stream {
    struct seg_fix f;
    struct seg_view *v[ROWS_MAX];
    size_t n;
    struct committed c;
};

static void views_release(struct stream *s)
{
    for (size_t i = 0; i < s->n; i++) {
        seg_view_release(s->v[i]);
    }
    s->n = 0;
}

static void commit(struct stream *s, size_t msgs)
{
    s->c.n = s->n;
    s->c.msgs = msgs;
    for (size_t i = 0; i < s->n; i++) {
        s->c.rows[i] = s->v[i]->row;
        s->c.next_segno = u64_max(s->c.next_segno, s->v[i]->row.segno + 1);
    }
}

static void publish(struct stream *s, struct seg_flush_result *out)
{
    for (size_t i = 0; i < out->n; i++) {
        if (out->v[i].replaces_active) {
            seg_view_release(s->v[--s->n]);
        }
        assert_true(s->n < ROWS_MAX);
        s->v[s->n++] = out->v[i].view;
        out->v[i].view = NULL;
    }
    seg_flush_result_fini(out);
}

/* One checkpoint. After an error the active segment is closed and the messages go to a new one. */
static enum st checkpoint(struct stream *s, const struct msg_set *m, size_t n, bool give_up)
{
    struct seg_view *last = s->n != 0 ? s->v[s->n - 1] : NULL;
    struct seg_flush_req req = {
        .gid = FIX_GID,
        .active = last != NULL && last->row.state == SEG_ACTIVE ? last : NULL,
        .next_segno = u64_max(s->c.next_segno, 1),
        .prev_last_seq = last != NULL ? last->row.last_seq : 0,
        .msgs = m->src + s->c.msgs,
        .n = n,
        .block_raw_bytes = 512,
        .segment_bytes = 24 * KIB,
    };
    struct seg_flush_result out;
    enum st st = seg_flush(s->f.segs, &req, &out, NULL);
    if (st == ST_OK) {
        st = segs_sync_dirs(s->f.segs, FIX_GID, NULL);
        if (st != ST_OK) {
            seg_flush_result_fini(&out);
        }
    }
    if (st == ST_OK) {
        publish(s, &out);
        commit(s, s->c.msgs + n);
    } else if (!give_up && req.active != NULL) {
        struct seg_view *closed = seg_view_closed(last);
        seg_view_release(last);
        s->v[s->n - 1] = closed;
    }
    segs_reap(s->f.segs);
    return st;
}

/* Flushes all; returns false when it was stopped. */
static bool run(struct stream *s, const struct msg_set *m)
{
    while (s->c.msgs + PER_FLUSH <= m->n) {
        if (checkpoint(s, m, PER_FLUSH, true) != ST_OK) {
            return false;
        }
    }
    return true;
}

static void reopen(struct stream *s)
{
    struct seg_visitor v;
    struct seen seen;
    struct err err = {0};
    seg_fix_reopen(&s->f);
    seen_visitor(&v, &seen);
    for (size_t i = 0; i < s->c.n; i++) {
        enum st st = seg_open(s->f.segs, &s->c.rows[i], &v, &s->v[i], &err);
        if (st != ST_OK) {
            fail_msg("%s", err.msg);
        }
        s->n++;
    }
    if (seen_damage(&seen) != 0) {
        fail_msg("a crash is reported as damage: %s", seen.text);
    }
    assert_int_equal(seen.subject_msgs, s->c.msgs);
}

static void check(struct stream *s, const struct msg_set *m)
{
    for (size_t i = 0; i < s->c.msgs; i++) {
        struct msg want;
        struct msg got;
        uint32_t no = 0;
        struct block *b = NULL;
        assert_int_equal(msg_get(m->src[i].msg, m->src[i].len, &want), ST_OK);
        size_t at = seg_views_find(s->v, s->n, want.seq);
        assert_true(at < s->n && seg_view_block_of(s->v[at], want.seq, &no));
        assert_int_equal(reader_read_sync(s->f.segs, NULL, s->v[at], no, &b, NULL), ST_OK);
        assert_int_equal(block_find(b, want.seq, &got), ST_OK);
        assert_true(msg_is_right(&got, SUBJECTS, size_of));
        block_release(b);
    }
}

static void stream_begin(struct stream *s, struct env_sim *sim)
{
    memset(s, 0, sizeof(*s));
    struct env *env = env_sim_env(sim);
    enum st st = env_mkdir(env, "/st", NULL);
    assert_int_equal(st, ST_OK);
    assert_int_equal(env_dirsync(env, "/", NULL), ST_OK);
    seg_fix_open(&s->f, env, "/st");
}

static void stream_end(struct stream *s)
{
    views_release(s);
    seg_fix_close(&s->f);
}

static uint64_t count_ops(const struct msg_set *m)
{
    struct env_sim *sim = env_sim_create(1);
    struct stream s;
    stream_begin(&s, sim);
    uint64_t before = env_sim_ops(sim);
    assert_true(run(&s, m));
    uint64_t n = env_sim_ops(sim) - before;
    assert_true(s.n > 2);
    check(&s, m);
    stream_end(&s);
    env_sim_destroy(sim);
    return n;
}

static void crash_once(const struct msg_set *m, uint64_t at, uint64_t seed, bool partial,
                       bool power)
{
    struct env_sim *sim = env_sim_create(seed);
    struct stream s;
    stream_begin(&s, sim);
    env_sim_crash_at(sim, at, partial);
    assert_false(run(&s, m));
    views_release(&s);
    segs_close(s.f.segs);
    s.f.segs = NULL;
    if (power) {
        env_sim_power_loss(sim, seed);
    } else {
        env_sim_process_crash(sim);
    }
    env_sim_crash_at(sim, 0, false);
    reopen(&s);
    check(&s, m);
    assert_true(run(&s, m)); /* over what the crash left */
    check(&s, m);
    stream_end(&s);
    env_sim_destroy(sim);
}

static void crash_everywhere(void **state)
{
    (void)state;
    struct msg_set m = {0};
    msg_set_add(&m, 5, PER_FLUSH * FLUSHES, 2, SUBJECTS, size_of);
    uint64_t n = count_ops(&m);
    assert_true(n > 15);
    for (uint64_t at = 1; at <= n; at++) {
        for (uint64_t seed = 0; seed < 6; seed++) {
            crash_once(&m, at, at * 100 + seed, seed % 2 == 0, seed < 5);
        }
    }
    msg_set_fini(&m);
}

/* The n-th operation fails, the machine goes on: the file is abandoned, the messages go to a new
 * one. */
static void fail_everywhere(void **state)
{
    (void)state;
    static const enum env_sim_effect effects[] = {ENV_SIM_FAIL, ENV_SIM_FAIL_CACHED,
                                                  ENV_SIM_FAIL_PART, ENV_SIM_FAIL_DONE};
    struct msg_set m = {0};
    msg_set_add(&m, 5, PER_FLUSH * FLUSHES, 2, SUBJECTS, size_of);
    uint64_t n = count_ops(&m);
    for (uint64_t at = 0; at < n; at++) {
        for (size_t e = 0; e < ARRAY_LEN(effects); e++) {
            struct env_sim *sim = env_sim_create(at + 7);
            struct stream s;
            stream_begin(&s, sim);
            env_sim_fault(sim, &(struct env_sim_fault){.skip = at,
                                                       .times = 1,
                                                       .effect = effects[e],
                                                       .st = e % 2 != 0 ? ST_NOSPACE : ST_IO});
            unsigned failed = 0;
            while (s.c.msgs + PER_FLUSH <= m.n) {
                failed += checkpoint(&s, &m, PER_FLUSH, false) != ST_OK;
                assert_true(failed <= 1);
            }
            env_sim_faults_clear(sim);
            views_release(&s);
            segs_close(s.f.segs);
            s.f.segs = NULL;
            env_sim_power_loss(sim, at);
            reopen(&s);
            check(&s, &m);
            stream_end(&s);
            env_sim_destroy(sim);
        }
    }
    msg_set_fini(&m);
}

/* A commit fails after its row became durable in one of the two places: what that row names must
 * stay as it is, so the next flush, which goes out from the view before, does not touch it. */
static void unknown_commit(void **state)
{
    (void)state;
    struct msg_set m = {0};
    struct stream s;
    struct env_sim *sim = env_sim_create(3);
    struct seg_flush_result out;
    msg_set_add(&m, 5, 100, 1, SUBJECTS, size_of);
    stream_begin(&s, sim);
    assert_int_equal(checkpoint(&s, &m, 10, false), ST_OK);
    struct seg_flush_req req = {
        .gid = FIX_GID, .active = s.v[0], .next_segno = 2, .msgs = m.src + 10, .n = 20};
    assert_int_equal(seg_flush(s.f.segs, &req, &out, NULL), ST_OK);
    assert_int_equal(out.n, 1);
    assert_true(out.v[0].replaces_active);
    struct seg_row maybe = out.v[0].view->row;
    seg_flush_result_fini(&out); /* the commit failed, or so it seemed */
    assert_int_equal(checkpoint(&s, &m, 30, false), ST_OK);
    assert_int_equal(s.n, 2);
    check(&s, &m);
    struct seg_visitor v;
    struct seen seen;
    struct seg_view *view = NULL;
    seen_visitor(&v, &seen);
    assert_int_equal(seg_open(s.f.segs, &maybe, &v, &view, NULL), ST_OK);
    assert_int_equal(seen_damage(&seen), 0);
    assert_int_equal(seen.subject_msgs, 30);
    seg_view_release(view);
    stream_end(&s);
    env_sim_destroy(sim);
    msg_set_fini(&m);
}

/* A file that was lost while the store was up: the next checkpoint begins a new one. */
static void active_is_gone(void **state)
{
    (void)state;
    struct msg_set m = {0};
    struct stream s;
    struct env_sim *sim = env_sim_create(3);
    msg_set_add(&m, 5, 100, 1, SUBJECTS, size_of);
    stream_begin(&s, sim);
    assert_int_equal(checkpoint(&s, &m, 10, false), ST_OK);
    assert_int_equal(env_unlink(s.f.env, "/st/s/00000007/1.0.seg", NULL), ST_OK);
    assert_int_equal(checkpoint(&s, &m, 10, false), ST_OK);
    assert_int_equal(s.n, 2);
    stream_end(&s);
    env_sim_destroy(sim);
    msg_set_fini(&m);
}

/* Writes and syncs that say yes and do nothing, then a power loss: what is gone is an error on read
 * and reported; what is served is right. */
static void lying_disk(void **state)
{
    (void)state;
    struct msg_set m = {0};
    msg_set_add(&m, 5, PER_FLUSH * FLUSHES, 2, SUBJECTS, size_of);
    uint64_t n = count_ops(&m);
    unsigned lost_somewhere = 0;
    for (uint64_t at = 0; at < n; at++) {
        struct env_sim *sim = env_sim_create(at + 7);
        struct stream s;
        stream_begin(&s, sim);
        env_sim_fault(sim, &(struct env_sim_fault){.kinds = ENV_SIM_BIT(ENV_SIM_WRITE) |
                                                            ENV_SIM_BIT(ENV_SIM_DATASYNC),
                                                   .skip = at,
                                                   .times = 1 + at % 3,
                                                   .effect = ENV_SIM_LIE});
        assert_true(run(&s, &m));
        env_sim_faults_clear(sim);
        views_release(&s);
        segs_close(s.f.segs);
        s.f.segs = NULL;
        env_sim_power_loss(sim, at);
        seg_fix_reopen(&s.f);
        struct seg_visitor v;
        struct seen seen;
        seen_visitor(&v, &seen);
        for (size_t i = 0; i < s.c.n; i++) {
            assert_int_equal(seg_open(s.f.segs, &s.c.rows[i], &v, &s.v[i], NULL), ST_OK);
            s.n++;
        }
        unsigned bad = 0;
        for (size_t i = 0; i < m.n; i++) {
            struct msg want;
            struct msg got;
            uint32_t no = 0;
            struct block *b = NULL;
            assert_int_equal(msg_get(m.src[i].msg, m.src[i].len, &want), ST_OK);
            size_t k = seg_views_find(s.v, s.n, want.seq);
            assert_true(k < s.n && seg_view_block_of(s.v[k], want.seq, &no));
            enum st st = reader_read_sync(s.f.segs, NULL, s.v[k], no, &b, NULL);
            if (st == ST_OK) {
                assert_int_equal(block_find(b, want.seq, &got), ST_OK);
                assert_true(msg_is_right(&got, SUBJECTS, size_of));
                block_release(b);
            } else {
                assert_int_equal(st, ST_CORRUPT);
                bad++;
            }
        }
        struct seg_check_report rep = {0};
        for (size_t i = 0; i < s.c.n; i++) {
            assert_int_equal(seg_check(s.f.segs, &s.c.rows[i], &v, &rep, NULL), ST_OK);
        }
        assert_true(bad == 0 || rep.lost_blocks != 0);
        lost_somewhere += bad != 0;
        stream_end(&s);
        env_sim_destroy(sim);
    }
    assert_true(lost_somewhere > 3);
    msg_set_fini(&m);
}

/* A full disk: flushes fail, nothing committed suffers, no file is left over; with room again it
 * goes on. */
static void full_disk(void **state)
{
    (void)state;
    struct msg_set m = {0};
    struct stream s;
    struct env_sim *sim = env_sim_create(3);
    msg_set_add(&m, 5, 600, 1, SUBJECTS, size_of);
    stream_begin(&s, sim);
    assert_int_equal(checkpoint(&s, &m, 200, false), ST_OK);
    uint64_t used = env_sim_used_bytes(sim);
    env_sim_set_disk_bytes(sim, used + 8 * KIB);
    assert_int_equal(checkpoint(&s, &m, 400, false), ST_NOSPACE);
    assert_int_equal(checkpoint(&s, &m, 400, false), ST_NOSPACE);
    assert_int_equal(env_sim_used_bytes(sim), used);
    check(&s, &m);
    env_sim_set_disk_bytes(sim, GIB);
    assert_int_equal(checkpoint(&s, &m, 400, false), ST_OK);
    check(&s, &m);
    views_release(&s);
    reopen(&s);
    check(&s, &m);
    stream_end(&s);
    env_sim_destroy(sim);
    msg_set_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crash_everywhere), cmocka_unit_test(fail_everywhere),
        cmocka_unit_test(unknown_commit),   cmocka_unit_test(active_is_gone),
        cmocka_unit_test(lying_disk),       cmocka_unit_test(full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
