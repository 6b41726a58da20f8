/* Copies of another stream's messages: sequences and times are the origin's, with its gaps, over
 * checkpoints, kills and power losses. */
#include "tests/lib/small_store.h"

#include <stdio.h>

#define T0 (1600000000 * NS_PER_S)

struct world {
    struct env_sim *sim;
    struct store *store;
    int64_t duplicates_ns; /* 0: a mirror */
};

static void world_open(struct world *w)
{
    struct eng_opts o = small_store_opts(MIB);
    w->store = small_store_open(w->sim, &o);
}

static void spin(struct world *w)
{
    small_store_spin(w->store, w->sim, 200);
}

struct got {
    int calls;
    enum st st;
    struct store_stream *s;
    struct store_append_result append;
    int64_t ts;
};

static void on_stream(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct got *g = arg;
    (void)err;
    *g = (struct got){.calls = 1, .st = st, .s = s};
}
static void on_append(void *arg, const struct store_append_result *r)
{
    struct got *g = arg;
    *g = (struct got){.calls = 1, .append = *r};
}
static void on_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct got *g = arg;
    (void)n;
    (void)err;
    *g = (struct got){.calls = 1, .st = st};
}
static void on_get(void *arg, enum st st, const struct msg *m)
{
    struct got *g = arg;
    *g = (struct got){.calls = 1, .st = st, .ts = m != NULL ? m->ts_ns : 0};
}

static struct store_stream *create(struct world *w, enum store_storage storage, int64_t max_msgs)
{
    struct stream_cfg cfg;
    struct got g = {0};
    stream_cfg_init(&cfg);
    cfg.account = base_strdup("$G");
    cfg.name = base_strdup("M");
    cfg.storage = storage;
    cfg.max_msgs = max_msgs;
    cfg.mirror = w->duplicates_ns == 0;
    cfg.duplicates_ns = w->duplicates_ns;
    w->store->ops->stream_create(w->store, &cfg, on_stream, &g);
    stream_cfg_fini(&cfg);
    spin(w);
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.st, ST_OK);
    return g.s;
}

static struct store_append_result copy(struct world *w, struct store_stream *s, uint64_t seq)
{
    struct store_append a = {.subject = "a.b",
                             .subject_len = 3,
                             .data = (const uint8_t *)"payload",
                             .data_len = 7,
                             .at_seq = seq,
                             .at_time_ns = T0 + (int64_t)seq};
    struct got g = {0};
    assert_int_equal(w->store->ops->append(s, &a, on_append, &g), ST_OK);
    spin(w);
    assert_int_equal(g.calls, 1);
    return g.append;
}

static struct got get(struct world *w, struct store_stream *s, uint64_t seq)
{
    struct got g = {0};
    struct store_get q = {GET_BY_SEQ, seq, "", 0, 0};
    w->store->ops->get(s, &q, on_get, &g);
    for (int i = 0; i < 20 && g.calls == 0; i++) {
        spin(w);
    }
    assert_int_equal(g.calls, 1);
    return g;
}

static struct stream_state state(struct world *w, struct store_stream *s)
{
    struct stream_state st;
    w->store->ops->stream_state(s, &st);
    return st;
}

static void move_up(struct world *w, struct store_stream *s, uint64_t seq)
{
    struct got g = {0};
    w->store->ops->seq_skip(s, seq, on_done, &g);
    spin(w);
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.st, ST_OK);
}

static void checkpoint(struct world *w)
{
    struct got g = {0};
    eng_checkpoint(w->store, on_done, &g);
    for (int i = 0; i < 20 && g.calls == 0; i++) {
        spin(w);
    }
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.st, ST_OK);
}

static struct store_stream *reopen(struct world *w, int how)
{
    if (how == 0) {
        eng_close(w->store);
    } else {
        eng_abandon(w->store);
        if (how == 1) {
            env_sim_process_crash(w->sim);
        } else {
            env_sim_power_loss(w->sim, 7);
        }
    }
    world_open(w);
    struct store_stream *s = w->store->ops->stream_find(w->store, "$G", "M");
    assert_non_null(s);
    return s;
}

/* 1, 2, 5, then far ones: dense, narrow and wide gaps. */
static const uint64_t seqs[] = {1, 2, 5, 9, 10, 1000, 1001, 5000000000, 5000000001, 20000000000};

static void keeps_sequence_and_time(void **state_)
{
    (void)state_;
    for (int how = 0; how < 3; how++) {
        for (int ckpt = 0; ckpt < 3; ckpt++) {
            struct world w = {.sim = env_sim_create((uint64_t)(how * 3 + ckpt + 1))};
            env_sim_set_real_ns(w.sim, 1700000000 * NS_PER_S);
            world_open(&w);
            struct store_stream *s = create(&w, STORAGE_FILE, -1);
            for (size_t i = 0; i < ARRAY_LEN(seqs); i++) {
                struct store_append_result r = copy(&w, s, seqs[i]);
                assert_int_equal(r.verdict, APPEND_STORED);
                assert_int_equal(r.seq, seqs[i]);
                if (ckpt == 1 && i % 4 == 3) {
                    checkpoint(&w);
                }
            }
            if (ckpt == 2) { /* enough to leave the catalogue row for a segment */
                for (uint64_t i = 0; i < 200; i++) {
                    (void)copy(&w, s, 20000000001 + i * 7);
                }
                checkpoint(&w);
            }
            for (int round = 0; round < 2; round++) {
                struct stream_state st = state(&w, s);
                uint64_t more = ckpt == 2 ? 200 : 0;
                assert_int_equal(st.msgs, ARRAY_LEN(seqs) + more);
                assert_int_equal(st.first_seq, 1);
                assert_int_equal(st.last_seq, more ? 20000000001 + 199 * 7 : 20000000000);
                assert_int_equal(st.ndeleted, st.last_seq - st.msgs);
                assert_int_equal(st.damaged_msgs, 0);
                for (size_t i = 0; i < ARRAY_LEN(seqs); i++) {
                    struct got g = get(&w, s, seqs[i]);
                    assert_int_equal(g.st, ST_OK);
                    assert_int_equal(g.ts, T0 + (int64_t)seqs[i]);
                }
                assert_int_equal(get(&w, s, 3).st, ST_NOTFOUND);
                assert_int_equal(get(&w, s, 6000000000).st, ST_NOTFOUND);
                s = round == 0 ? reopen(&w, how) : s;
            }
            eng_close(w.store);
            env_sim_destroy(w.sim);
        }
    }
}

static void a_copy_is_stored_once(void **state_)
{
    (void)state_;
    struct world w = {.sim = env_sim_create(1)};
    world_open(&w);
    struct store_stream *s = create(&w, STORAGE_FILE, -1);
    (void)copy(&w, s, 7);
    struct store_append_result r = copy(&w, s, 7);
    assert_int_equal(r.verdict, APPEND_WRONG_LAST_SEQ);
    assert_int_equal(r.actual, 7);
    assert_int_equal(copy(&w, s, 3).verdict, APPEND_WRONG_LAST_SEQ);
    assert_int_equal(state(&w, s).msgs, 1);
    assert_int_equal(state(&w, s).first_seq, 7);
    assert_int_equal(state(&w, s).ndeleted, 0);
    eng_close(w.store);
    env_sim_destroy(w.sim);
}

static void limits_hold_for_copies(void **state_)
{
    (void)state_;
    struct world w = {.sim = env_sim_create(1)};
    world_open(&w);
    struct store_stream *s = create(&w, STORAGE_FILE, 2);
    (void)copy(&w, s, 10);
    (void)copy(&w, s, 20);
    (void)copy(&w, s, 30);
    assert_int_equal(state(&w, s).msgs, 2);
    assert_int_equal(state(&w, s).first_seq, 20);
    assert_int_equal(state(&w, s).ndeleted, 9);
    eng_close(w.store);
    env_sim_destroy(w.sim);
}

static void skips(void **state_)
{
    (void)state_;
    for (int how = 0; how < 3; how++) {
        struct world w = {.sim = env_sim_create(1)};
        world_open(&w);
        struct store_stream *s = create(&w, STORAGE_FILE, -1);
        move_up(&w, s, 6);
        assert_int_equal(state(&w, s).first_seq, 7);
        assert_int_equal(state(&w, s).last_seq, 6);
        s = reopen(&w, how);
        assert_int_equal(state(&w, s).last_seq, 6);
        (void)copy(&w, s, 8);
        move_up(&w, s, 12);
        move_up(&w, s, 5);
        s = reopen(&w, how);
        struct stream_state st = state(&w, s);
        assert_int_equal(st.first_seq, 8);
        assert_int_equal(st.last_seq, 12);
        assert_int_equal(st.msgs, 1);
        assert_int_equal(st.ndeleted, 4);
        eng_close(w.store);
        env_sim_destroy(w.sim);
    }
}

/* Nothing of a memory mirror survives; it starts where its origin does, not behind a reservation.
 */
static void memory_mirror_starts_anew(void **state_)
{
    (void)state_;
    struct world w = {.sim = env_sim_create(1)};
    world_open(&w);
    struct store_stream *s = create(&w, STORAGE_MEMORY, -1);
    (void)copy(&w, s, 100000);
    assert_int_equal(state(&w, s).last_seq, 100000);
    s = reopen(&w, 1);
    assert_int_equal(state(&w, s).last_seq, 0);
    (void)copy(&w, s, 3);
    assert_int_equal(state(&w, s).first_seq, 3);
    eng_close(w.store);
    env_sim_destroy(w.sim);
}

static enum append_verdict sourced(struct world *w, struct store_stream *s, const char *name,
                                   uint64_t seq, uint64_t before, const char *id)
{
    char hdr[256];
    int n = snprintf(hdr, sizeof hdr,
                     "NATS/1.0\r\nNats-Msg-Id: %s\r\nNats-Stream-Source: %s %llu > > a.b\r\n\r\n",
                     id, name, (unsigned long long)seq);
    struct store_append a = {.subject = "a.b",
                             .subject_len = 3,
                             .hdr = (const uint8_t *)hdr,
                             .hdr_len = (uint32_t)n,
                             .msg_id = id,
                             .msg_id_len = (uint32_t)strlen(id),
                             .flags = MSG_SOURCED,
                             .has_expected_source_seq = true,
                             .expected_source_seq = before};
    struct got g = {0};
    assert_int_equal(w->store->ops->append(s, &a, on_append, &g), ST_OK);
    spin(w);
    assert_int_equal(g.calls, 1);
    return g.append.verdict;
}

static uint64_t position(struct world *w, struct store_stream *s, const char *key)
{
    return w->store->ops->source_seq(s, key, strlen(key));
}

/* Positions outlive their messages, in journal and checkpoint. */
static void sources_have_positions(void **state_)
{
    (void)state_;
    for (int how = 0; how < 3; how++) {
        for (int ckpt = 0; ckpt < 2; ckpt++) {
            struct world w = {.sim = env_sim_create((uint64_t)(how * 2 + ckpt + 1))};
            env_sim_set_real_ns(w.sim, 1700000000 * NS_PER_S);
            world_open(&w);
            struct store_stream *s = create(&w, STORAGE_FILE, -1);
            assert_int_equal(sourced(&w, s, "A", 5, 0, "1"), APPEND_STORED);
            assert_int_equal(sourced(&w, s, "A", 5, 0, "2"), APPEND_WRONG_LAST_SEQ);
            assert_int_equal(sourced(&w, s, "A", 5, 5, "3"), APPEND_WRONG_LAST_SEQ);
            assert_int_equal(sourced(&w, s, "A", 9, 6, "4"), APPEND_WRONG_LAST_SEQ);
            assert_int_equal(sourced(&w, s, "B", 7, 0, "5"), APPEND_STORED);
            assert_int_equal(sourced(&w, s, "A", 9, 5, "6"), APPEND_STORED);
            struct store_purge all = {0};
            struct got g = {0};
            w.store->ops->purge(s, &all, on_done, &g);
            spin(&w);
            assert_int_equal(g.st, ST_OK);
            if (ckpt) {
                checkpoint(&w);
            }
            s = reopen(&w, how);
            assert_int_equal(state(&w, s).msgs, 0);
            assert_int_equal(position(&w, s, "A > >"), 9);
            assert_int_equal(position(&w, s, "B > >"), 7);
            assert_int_equal(position(&w, s, "C > >"), 0);
            assert_int_equal(sourced(&w, s, "A", 9, 9, "7"), APPEND_WRONG_LAST_SEQ);
            assert_int_equal(sourced(&w, s, "A", 10, 9, "8"), APPEND_STORED);
            eng_close(w.store);
            env_sim_destroy(w.sim);
        }
    }
}

/* A message that came another way before is a duplicate; that it was heard of is not forgotten, or
 * it would be stored when it comes again and its id has left the window. */
static void a_duplicate_moves_the_position(void **state_)
{
    (void)state_;
    for (int how = 0; how < 3; how++) {
        for (int ckpt = 0; ckpt < 2; ckpt++) {
            struct world w = {.sim = env_sim_create((uint64_t)(how * 2 + ckpt + 1)),
                              .duplicates_ns = 120 * NS_PER_S};
            env_sim_set_real_ns(w.sim, 1700000000 * NS_PER_S);
            world_open(&w);
            struct store_stream *s = create(&w, STORAGE_FILE, -1);
            assert_int_equal(sourced(&w, s, "A", 5, 0, "one"), APPEND_STORED);
            assert_int_equal(sourced(&w, s, "B", 3, 0, "one"), APPEND_DUPLICATE);
            assert_int_equal(sourced(&w, s, "B", 8, 3, "one"), APPEND_DUPLICATE);
            if (ckpt) {
                checkpoint(&w);
            }
            s = reopen(&w, how);
            assert_int_equal(state(&w, s).msgs, 1);
            assert_int_equal(state(&w, s).last_seq, 1);
            assert_int_equal(position(&w, s, "A > >"), 5);
            assert_int_equal(position(&w, s, "B > >"), 8);
            env_sim_advance(w.sim, 3600 * NS_PER_S);
            assert_int_equal(sourced(&w, s, "B", 8, 8, "one"), APPEND_WRONG_LAST_SEQ);
            assert_int_equal(sourced(&w, s, "B", 9, 8, "two"), APPEND_STORED);
            assert_int_equal(state(&w, s).last_seq, 2);
            eng_close(w.store);
            env_sim_destroy(w.sim);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_sequence_and_time),        cmocka_unit_test(a_copy_is_stored_once),
        cmocka_unit_test(limits_hold_for_copies),         cmocka_unit_test(skips),
        cmocka_unit_test(memory_mirror_starts_anew),      cmocka_unit_test(sources_have_positions),
        cmocka_unit_test(a_duplicate_moves_the_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
