/* engine/reader.c and blockcache.c: completions, joining, reading ahead, bounds, damage,
 * forgetting; and real tasks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants these first */
#include <cmocka.h>

#include "engine/base/env_sim.h"
#include "engine/lot.h"
#include "tests/lib/seg_fixture.h"

#define NMSGS 400u

static size_t size_of(uint64_t seq)
{
    return 50 + seq % 50;
}

static size_t large_size_of(uint64_t seq)
{
    return 30 * 1024 + seq % 50 * 1024; /* below and above what stays where it was read */
}

static size_t huge_size_of(uint64_t seq)
{
    return 66 * 1024 + seq % 50 * 1500; /* all of them large blocks */
}

struct world {
    fix_size_fn size_of; /* NULL: size_of */
    unsigned lots_max;
    struct env_sim *sim; /* NULL: the real one */
    struct seg_fix f;
    struct msg_set m;
    struct seg_view *v;
    struct blockcache *cache;
    struct reader_pool *pool;
    struct seen seen;
    atomic_uint rings;
};

static void ring(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static void world_open(struct world *w, bool simulated, unsigned queue_max, uint64_t cache_bytes)
{
    struct err err = {0};
    struct seg_flush_result out;
    fix_size_fn size = w->size_of;
    unsigned lots_max = w->lots_max;
    memset(w, 0, sizeof(*w));
    w->lots_max = lots_max;
    if (simulated) {
        w->sim = env_sim_create(5);
        assert_int_equal(env_mkdir(env_sim_env(w->sim), "/r", &err), ST_OK);
        seg_fix_open(&w->f, env_sim_env(w->sim), "/r");
    } else {
        seg_fix_open(&w->f, NULL, NULL);
    }
    msg_set_add(&w->m, 1, size != NULL ? 60 : NMSGS, 1, 9, size != NULL ? size : size_of);
    struct seg_flush_req req = {.gid = FIX_GID,
                                .next_segno = 1,
                                .msgs = w->m.src,
                                .n = w->m.n,
                                .block_raw_bytes = 1024,
                                .no_compress = true};
    assert_int_equal(seg_flush(w->f.segs, &req, &out, &err), ST_OK);
    w->v = out.v[0].view;
    out.v[0].view = NULL;
    seg_flush_result_fini(&out);
    w->cache = blockcache_create(cache_bytes);
    struct seg_visitor v;
    seen_visitor(&v, &w->seen);
    struct reader_opts o = {.segs = w->f.segs,
                            .cache = w->cache,
                            .queue_max = queue_max,
                            .lots_max = w->lots_max,
                            .doorbell = ring,
                            .doorbell_arg = &w->rings,
                            .damage = v.damage,
                            .damage_arg = &w->seen};
    assert_int_equal(reader_pool_create(w->f.env, &o, &w->pool, &err), ST_OK);
    assert_true(w->v->ndata > 20);
}

static void world_close(struct world *w)
{
    reader_pool_destroy(w->pool);
    blockcache_destroy(w->cache);
    seg_view_release(w->v);
    msg_set_fini(&w->m);
    seg_fix_close(&w->f);
    env_sim_destroy(w->sim);
}

struct got {
    unsigned calls, good, corrupt;
    struct world *w;
    struct got *forget; /* forgotten in the callback */
};

static void on_block(void *arg, enum st st, struct block *b, const struct err *err)
{
    struct got *g = arg;
    (void)err;
    g->calls++;
    g->corrupt += st == ST_CORRUPT;
    for (uint32_t i = 0; st == ST_OK && i < b->nmsgs; i++) {
        struct msg m;
        assert_int_equal(block_msg(b, i, &m), ST_OK);
        g->good += msg_is_right(&m, 9, size_of);
    }
    if (g->forget != NULL) {
        reader_forget(g->w->pool, g->forget);
    }
}

static void complete_and_join(void **state)
{
    (void)state;
    struct world w = {0};
    struct got a = {0};
    struct got b = {0};
    world_open(&w, true, 0, 0);
    assert_null(reader_get(w.pool, w.v, 0));
    assert_int_equal(reader_submit(w.pool, w.v, 0, 3, on_block, &a), ST_OK);
    assert_int_equal(reader_submit(w.pool, w.v, 0, 0, on_block, &b), ST_OK);
    assert_int_equal(reader_submit(w.pool, w.v, 2, 0, on_block, &b),
                     ST_OK); /* was read ahead, is wanted now */
    assert_int_equal(a.calls, 0);
    env_sim_run(w.sim, 1000);
    assert_int_equal(a.calls, 0);
    assert_true(atomic_load(&w.rings) >= 1);
    assert_int_equal(reader_poll(w.pool), 4);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 2);
    assert_true(a.good > 5);
    struct blockcache_stats st;
    blockcache_stats_get(w.cache, &st);
    assert_int_equal(st.inserts, 4);
    for (uint32_t i = 0; i < 4; i++) {
        struct block *blk = reader_get(w.pool, w.v, i);
        assert_non_null(blk);
        block_release(blk);
    }
    assert_int_equal(reader_poll(w.pool), 0);
    world_close(&w);
}

static void bounds_and_forget(void **state)
{
    (void)state;
    struct world w = {0};
    struct got a = {0};
    struct got b = {0};
    world_open(&w, true, 4, 0);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(reader_submit(w.pool, w.v, i, 8, on_block, i % 2 != 0 ? &a : &b), ST_OK);
    }
    assert_int_equal(reader_submit(w.pool, w.v, 9, 0, on_block, &a), ST_FULL);
    reader_forget(w.pool, &a);
    env_sim_run(w.sim, 1000);
    assert_int_equal(reader_poll(w.pool), 4);
    assert_int_equal(a.calls, 0);
    assert_int_equal(b.calls, 2);
    /* one callback forgets another of the same block */
    struct got c = {.w = &w, .forget = &a};
    assert_int_equal(reader_submit(w.pool, w.v, 11, 0, on_block, &c), ST_OK);
    assert_int_equal(reader_submit(w.pool, w.v, 11, 0, on_block, &a), ST_OK);
    env_sim_run(w.sim, 1000);
    reader_poll(w.pool);
    assert_int_equal(c.calls, 1);
    assert_int_equal(a.calls, 0);
    /* what is in flight at the end is freed */
    assert_int_equal(reader_submit(w.pool, w.v, 12, 4, on_block, &a), ST_OK);
    world_close(&w);
}

static void damage_and_drop(void **state)
{
    (void)state;
    struct world w = {0};
    struct got a = {0};
    uint64_t lo;
    uint64_t hi;
    world_open(&w, true, 0, 0);
    uint64_t off = (uint64_t)w.v->bidx[3].off8 * 8 + 200;
    assert_int_equal(env_sim_flip_bit(w.sim, "/r/s/00000007/1.0.seg", off, 3), ST_OK);
    assert_int_equal(reader_submit(w.pool, w.v, 2, 2, on_block, &a), ST_OK);
    env_sim_run(w.sim, 1000);
    reader_poll(w.pool);
    assert_int_equal(w.seen.lost, 0); /* read ahead only: said when somebody wants it */
    assert_int_equal(reader_submit(w.pool, w.v, 3, 0, on_block, &a), ST_OK);
    env_sim_run(w.sim, 1000);
    reader_poll(w.pool);
    assert_int_equal(a.corrupt, 1);
    seg_view_block_range(w.v, 3, &lo, &hi);
    assert_int_equal(w.seen.lost, 1);
    assert_true(w.seen.lost_lo == lo && w.seen.lost_hi == hi);
    /* a dropped file is read on by those who hold it */
    seg_view_drop(w.v);
    assert_int_equal(segs_reap(w.f.segs), 1);
    assert_int_equal(reader_submit(w.pool, w.v, 10, 0, on_block, &a), ST_OK);
    env_sim_run(w.sim, 1000);
    reader_poll(w.pool);
    assert_int_equal(a.calls, 3);
    assert_int_equal(a.corrupt, 1);
    world_close(&w);
}

static void cache_is_bounded(void **state)
{
    (void)state;
    struct world w = {0};
    struct blockcache_stats st;
    world_open(&w, true, 0, 16 * 1024);
    struct block *first = NULL;
    struct block *b = NULL;
    assert_int_equal(reader_read_sync(w.f.segs, w.cache, w.v, 0, &first, NULL), ST_OK);
    for (uint32_t i = 1; i < w.v->ndata; i++) {
        block_release(blockcache_get(w.cache, first->file_id,
                                     0)); /* used again and again: survives the scan */
        assert_int_equal(reader_read_sync(w.f.segs, w.cache, w.v, i, &b, NULL), ST_OK);
        block_release(b);
        blockcache_stats_get(w.cache, &st);
        assert_true(st.bytes <= 16 * 1024);
    }
    assert_true(st.evictions > 5);
    assert_true(blockcache_has(w.cache, first->file_id, 0));
    blockcache_forget_file(w.cache, first->file_id);
    blockcache_stats_get(w.cache, &st);
    assert_int_equal(st.blocks, 0);
    assert_int_equal(st.bytes, 0);
    struct msg m;
    assert_int_equal(block_find(first, first->first_seq, &m), ST_OK); /* ours still */
    block_release(first);
    world_close(&w);
}

static void large_bodies(void **state)
{
    (void)state;
    struct world w = {.size_of = large_size_of};
    struct got a = {0};
    struct block *b = NULL;
    struct err err = {0};
    world_open(&w, true, 0, 4 * MIB);
    uint64_t seq = 1, off = (uint64_t)w.v->bidx[9].off8 * 8;
    for (uint32_t i = 0; i < w.v->ndata; i++) {
        assert_int_equal(reader_read_sync(w.f.segs, w.cache, w.v, i, &b, &err), ST_OK);
        for (uint32_t k = 0; k < b->nmsgs; k++, seq++) {
            struct msg m;
            assert_int_equal(block_msg(b, k, &m), ST_OK);
            assert_int_equal(m.seq, seq);
            assert_true(msg_is_right(&m, 9, large_size_of));
        }
        assert_in_range(b->mem_bytes, b->raw_len, b->raw_len + b->raw_len / 4 + 1024);
        block_release(b);
    }
    assert_int_equal(seq, 61);
    /* a damaged one is refused, and its memory is freed */
    blockcache_forget_file(w.cache, seg_view_file_id(w.v));
    assert_int_equal(env_sim_flip_bit(w.sim, "/r/s/00000007/1.0.seg", off + 9000, 3), ST_OK);
    assert_int_equal(reader_read_sync(w.f.segs, w.cache, w.v, 9, &b, &err), ST_CORRUPT);
    assert_int_equal(reader_submit(w.pool, w.v, 10, 0, on_block, &a), ST_OK);
    env_sim_run(w.sim, 1000);
    reader_poll(w.pool);
    assert_int_equal(a.calls, 1);
    world_close(&w);
}

static void count_reads(void *arg, const struct env_sim_op *op)
{
    *(uint64_t *)arg += op->kind == ENV_SIM_READ;
}

/* Reads all blocks in order, as a stream does, and says how many reads of the file that took. */
static uint64_t read_in_lots(struct world *w, uint32_t damaged)
{
    uint64_t reads = 0;
    env_sim_set_trace(w->sim, count_reads, &reads);
    for (uint32_t i = 0; i < w->v->ndata; i += 20) {
        reader_prefetch(w->pool, w->v, i, 20);
        env_sim_run(w->sim, 1000);
        reader_poll(w->pool);
        for (uint32_t k = i; k < w->v->ndata && k < i + 20; k++) {
            struct block *b = reader_get(w->pool, w->v, k);
            struct msg m;
            assert_true(k == damaged ? b == NULL : b != NULL);
            if (b != NULL) {
                assert_int_equal(block_msg(b, 0, &m), ST_OK);
                assert_int_equal(m.seq, k + 1);
                assert_true(msg_is_right(&m, 9, huge_size_of));
                block_release(b);
            }
        }
    }
    blockcache_forget_file(w->cache, seg_view_file_id(w->v));
    env_sim_set_trace(w->sim, NULL, NULL);
    return reads;
}

/* Large blocks come several at a time, each verified by itself; a file that many read is read
 * through the page cache again. */
static void large_blocks_come_in_lots(void **state)
{
    (void)state;
    struct world w = {.size_of = huge_size_of};
    struct got a = {0};
    world_open(&w, true, 0, 16 * MIB);
    assert_int_equal(w.v->ndata, 60);
    assert_in_range(read_in_lots(&w, UINT32_MAX), 3, 6);
    uint64_t off = (uint64_t)w.v->bidx[7].off8 * 8 + 9000;
    assert_int_equal(env_sim_flip_bit(w.sim, "/r/s/00000007/1.0.seg", off, 3), ST_OK);
    assert_in_range(read_in_lots(&w, 7), 3, 6);
    assert_int_equal(reader_submit(w.pool, w.v, 7, 3, on_block, &a), ST_OK);
    env_sim_run(w.sim, 1000);
    reader_poll(w.pool);
    assert_int_equal(a.corrupt, 1);
    blockcache_forget_file(w.cache, seg_view_file_id(w.v));
    uint64_t ops = 0;
    for (int i = 0; i < 3; i++) {
        ops = read_in_lots(&w, 7);
    }
    assert_in_range(ops, 60, 70);
    world_close(&w);
}

/* Blocks that stand in lots hold them; when there are no more, blocks are copied out. */
static void few_lots(void **state)
{
    (void)state;
    struct world w = {.size_of = huge_size_of, .lots_max = 2};
    world_open(&w, true, 0, 64 * MIB);
    for (int round = 0; round < 2; round++) {
        struct block *held[60];
        size_t in_lots = 0;
        for (uint32_t i = 0; i < w.v->ndata; i += 20) {
            reader_prefetch(w.pool, w.v, i, 20);
            env_sim_run(w.sim, 1000);
            reader_poll(w.pool);
        }
        for (uint32_t i = 0; i < w.v->ndata; i++) {
            held[i] = reader_get(w.pool, w.v, i);
            assert_non_null(held[i]);
            in_lots += held[i]->lot != NULL;
        }
        blockcache_forget_file(w.cache, seg_view_file_id(w.v));
        for (uint32_t i = 0; i < w.v->ndata; i++) {
            struct msg m;
            assert_int_equal(block_msg(held[i], 0, &m), ST_OK);
            assert_true(msg_is_right(&m, 9, huge_size_of));
            block_release(held[i]);
        }
        assert_in_range(in_lots, 10, 50);
    }
    world_close(&w);
}

static void lot_pool(void **state)
{
    (void)state;
    struct lot_pool *p = lot_pool_create(3, 1);
    struct lot *a = lot_get(p), *b = lot_get(p), *c = lot_get(p);
    assert_null(lot_get(p));
    assert_true(lot_is_mine(a));
    lot_acquire(a);
    assert_false(lot_is_mine(a));
    lot_release(a);
    lot_release(a);
    lot_release(b);
    assert_ptr_equal(lot_get(p), a); /* the one that is kept */
    memset(c->pages, 1, LOT_BYTES);
    lot_release(a);
    lot_pool_destroy(p);
    assert_int_equal(c->pages[LOT_BYTES - 1], 1); /* outlives it */
    lot_release(c);
    lot_release(NULL);
    lot_pool_destroy(NULL);
}

static void passed_blocks_go(void **state)
{
    (void)state;
    struct world w = {0};
    struct blockcache_stats st;
    world_open(&w, true, 0, 64 * 1024);
    uint64_t id = seg_view_file_id(w.v);
    struct block *b = NULL;
    for (uint32_t i = 0; i < w.v->ndata; i++) {
        assert_int_equal(reader_read_sync(w.f.segs, w.cache, w.v, i, &b, NULL), ST_OK);
        if (i == 0) {
            reader_passed(w.pool, b);
            block_release(reader_get(w.pool, w.v, 0)); /* somebody else wants it: it stays */
        } else {
            reader_passed(w.pool, b);
            reader_passed(w.pool, b);
        }
        block_release(b);
    }
    blockcache_stats_get(w.cache, &st);
    assert_true(st.evictions > 5);
    assert_in_range(st.bytes, 4 * 1024, 64 * 1024 / 12 + 2 * 1024);
    assert_true(blockcache_has(w.cache, id, 0));
    assert_false(blockcache_has(w.cache, id, 1));
    assert_true(blockcache_has(w.cache, id, w.v->ndata - 1));
    blockcache_pass(w.cache, id, 1); /* not there: nothing */
    blockcache_forget_file(w.cache, id);
    for (uint32_t round = 0; round < 3000; round++) { /* more than its list holds */
        assert_int_equal(reader_read_sync(w.f.segs, w.cache, w.v, round % 3, &b, NULL), ST_OK);
        reader_passed(w.pool, b);
        block_release(b);
    }
    blockcache_stats_get(w.cache, &st);
    assert_int_equal(st.blocks, 3);
    world_close(&w);
}

static void real_tasks(void **state)
{
    (void)state;
    struct world w = {0};
    struct got a = {0};
    world_open(&w, false, 0, 64 * 1024);
    unsigned want = 0;
    for (unsigned round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < w.v->ndata; i += 1 + round % 3) {
            struct block *b = reader_get(w.pool, w.v, i);
            if (b != NULL) {
                block_release(b);
                continue;
            }
            assert_int_equal(reader_submit(w.pool, w.v, i, 2, on_block, &a), ST_OK);
            want++;
        }
        while (a.calls < want) {
            reader_poll(w.pool);
        }
    }
    assert_true(a.good > 0);
    assert_int_equal(a.corrupt, 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete_and_join), cmocka_unit_test(bounds_and_forget),
        cmocka_unit_test(damage_and_drop),   cmocka_unit_test(cache_is_bounded),
        cmocka_unit_test(large_bodies),      cmocka_unit_test(passed_blocks_go),
        cmocka_unit_test(real_tasks),        cmocka_unit_test(large_blocks_come_in_lots),
        cmocka_unit_test(few_lots),          cmocka_unit_test(lot_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
