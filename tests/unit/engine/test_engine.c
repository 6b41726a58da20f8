/* The engine through engine/store.h, on the simulated world: publish, read, restart, crash,
 * checkpoint, drop. */
#define EW_WINDOW_BYTES MIB
#define EW_SEGMENT_BYTES 0
#include "tests/lib/eng_world.h"

/* --- tests ------------------------------------------------------------------------------------ */

static void publish_and_read(void **state_)
{
    struct world w;
    (void)state_;
    world_init(&w, 1);
    struct store_stream *s = create(&w, "S", NULL);
    assert_int_equal(publish(&w, s, "a.b", "one").seq, 1);
    assert_int_equal(publish(&w, s, "a.c", "two").seq, 2);
    assert_int_equal(publish(&w, s, "a.b", "three").seq, 3);
    assert_string_equal(get(&w, s, GET_BY_SEQ, 2, "").data, "two");
    assert_string_equal(get(&w, s, GET_LAST_BY_SUBJ, 0, "a.b").data, "three");
    assert_string_equal(get(&w, s, GET_NEXT_BY_SUBJ, 2, "a.*").data, "two");
    assert_int_equal(get(&w, s, GET_BY_SEQ, 9, "").st, ST_NOTFOUND);
    struct stream_state st = state(&w, s);
    assert_int_equal(st.msgs, 3);
    assert_int_equal(st.nsubjects, 2);
    assert_int_equal(st.bytes, 3 * 33 + 3 + 3 + 5);
    world_fini(&w);
}

static void survives(void (*kill)(struct env_sim *), bool ckpt)
{
    struct world w;
    world_init(&w, 2);
    struct store_stream *s = create(&w, "S", NULL);
    char text[32];
    for (int i = 1; i <= 300; i++) {
        snprintf(text, sizeof text, "message %d", i);
        char subject[32];
        snprintf(subject, sizeof subject, "k.%d", i % 7);
        assert_int_equal(publish(&w, s, subject, text).seq, i);
        if (ckpt && i % 100 == 0) {
            checkpoint(&w);
        }
    }
    struct got g = {0};
    w.store->ops->msg_delete(s, 5, false, on_done, &g);
    spin(&w);
    assert_int_equal(g.st, ST_OK);
    if (kill != NULL) {
        eng_abandon(w.store);
        kill(w.sim);
    } else {
        eng_close(w.store);
    }
    s = reopen(&w, "S");
    struct stream_state st = state(&w, s);
    assert_int_equal(st.msgs, 299);
    assert_int_equal(st.last_seq, 300);
    assert_int_equal(st.nsubjects, 7);
    assert_int_equal(st.ndeleted, 1);
    for (int i = 1; i <= 300; i++) {
        struct got m = get(&w, s, GET_BY_SEQ, (uint64_t)i, "");
        snprintf(text, sizeof text, "message %d", i);
        assert_int_equal(m.st, i == 5 ? ST_NOTFOUND : ST_OK);
        if (i != 5) {
            assert_string_equal(m.data, text);
        }
    }
    assert_int_equal(publish(&w, s, "k.0", "next").seq, 301);
    world_fini(&w);
}

static void power_loss(struct env_sim *sim)
{
    env_sim_power_loss(sim, 7);
}

static void survives_clean_stop(void **state_)
{
    (void)state_;
    survives(NULL, false);
    survives(NULL, true);
}

static void survives_kill(void **state_)
{
    (void)state_;
    survives(env_sim_process_crash, false);
    survives(env_sim_process_crash, true);
}

static void survives_power_loss(void **state_)
{
    (void)state_;
    survives(power_loss, false);
    survives(power_loss, true);
}

/* A lap that begins right after a start, before the first ticket of the run, must not take later
 * records for its own. Which of lane and flusher runs first is up to the seed. */
static void lap_before_the_first_ticket(void **state_)
{
    (void)state_;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;
        world_init(&w, seed);
        struct store_stream *s = create(&w, "S", NULL);
        for (int i = 0; i < 5; i++) {
            publish(&w, s, "k", "before");
        }
        eng_abandon(w.store);
        env_sim_process_crash(w.sim);
        s = reopen(&w, "S");
        struct got lap = {0}, g = {0};
        eng_checkpoint(w.store, on_done, &lap);
        w.store->ops->poll(w.store);
        struct store_append a = {
            .subject = "k", .subject_len = 1, .data = (const uint8_t *)"after", .data_len = 5};
        for (int i = 0; i < 5; i++) {
            assert_int_equal(w.store->ops->append(s, &a, on_append, &g), ST_OK);
        }
        for (int i = 0; i < 20 && (lap.calls == 0 || g.calls < 5); i++) {
            spin(&w);
        }
        assert_int_equal(g.calls, 5);
        assert_int_equal(lap.calls, 1);
        eng_abandon(w.store);
        env_sim_process_crash(w.sim);
        s = reopen(&w, "S");
        assert_int_equal(state(&w, s).msgs, 10);
        world_fini(&w);
    }
}

static void tweak_history(struct stream_cfg *c)
{
    c->max_msgs_per_subject = 2;
    c->max_msgs = 5;
}

static void limits_evict(void **state_)
{
    struct world w;
    (void)state_;
    world_init(&w, 3);
    struct store_stream *s = create(&w, "S", tweak_history);
    for (int i = 0; i < 4; i++) {
        publish(&w, s, "a", "x");
    }
    assert_int_equal(state(&w, s).msgs, 2);
    assert_int_equal(state(&w, s).first_seq, 3);
    publish(&w, s, "b", "x");
    publish(&w, s, "c", "x");
    publish(&w, s, "d", "x");
    publish(&w, s, "e", "x");
    assert_int_equal(state(&w, s).msgs, 5);
    assert_int_equal(state(&w, s).first_seq, 4);
    eng_abandon(w.store);
    env_sim_process_crash(w.sim);
    s = reopen(&w, "S");
    assert_int_equal(state(&w, s).msgs, 5);
    assert_int_equal(state(&w, s).first_seq, 4);
    assert_int_equal(state(&w, s).last_seq, 8);
    world_fini(&w);
}

static void purge_and_recreate(void **state_)
{
    struct world w;
    (void)state_;
    world_init(&w, 4);
    struct store_stream *s = create(&w, "S", NULL);
    for (int i = 0; i < 10; i++) {
        publish(&w, s, i % 2 == 0 ? "even" : "odd", "x");
    }
    struct got g = {0};
    struct store_purge p = {.filter = "odd", .filter_len = 3, .keep = 1};
    w.store->ops->purge(s, &p, on_done, &g);
    spin(&w);
    assert_int_equal(g.n, 4);
    assert_int_equal(state(&w, s).msgs, 6);
    p = (struct store_purge){0};
    w.store->ops->purge(s, &p, on_done, &g);
    spin(&w);
    assert_int_equal(g.n, 6);
    assert_int_equal(state(&w, s).msgs, 0);
    assert_int_equal(state(&w, s).first_seq, 11);
    assert_int_equal(state(&w, s).last_seq, 10);
    w.store->ops->stream_delete(w.store, s, on_done, &g);
    spin(&w);
    assert_int_equal(g.calls, 3);
    s = create(&w, "S", NULL);
    assert_int_equal(publish(&w, s, "new", "x").seq, 1);
    checkpoint(&w);
    checkpoint(&w);
    eng_abandon(w.store);
    env_sim_process_crash(w.sim);
    s = reopen(&w, "S");
    assert_int_equal(state(&w, s).msgs, 1);
    world_fini(&w);
}

static void tweak_memory(struct stream_cfg *c)
{
    c->storage = STORAGE_MEMORY;
}

static void memory_stream_starts_empty(void **state_)
{
    struct world w;
    (void)state_;
    world_init(&w, 5);
    struct store_stream *s = create(&w, "M", tweak_memory);
    assert_int_equal(publish(&w, s, "a", "x").seq, 1);
    assert_string_equal(get(&w, s, GET_BY_SEQ, 1, "").data, "x");
    eng_abandon(w.store);
    env_sim_process_crash(w.sim);
    s = reopen(&w, "M");
    spin(&w); /* the next reservation becomes durable */
    assert_int_equal(state(&w, s).msgs, 0);
    assert_true(state(&w, s).last_seq >= 65536);
    assert_true(publish(&w, s, "a", "x").seq > 65536);
    world_fini(&w);
}

static void duplicates_are_refused(void **state_)
{
    struct world w;
    (void)state_;
    world_init(&w, 6);
    struct store_stream *s = create(&w, "S", NULL);
    const char hdr[] = "NATS/1.0\r\nNats-Msg-Id: id-1\r\n\r\n";
    struct store_append a = {.subject = "a",
                             .subject_len = 1,
                             .hdr = (const uint8_t *)hdr,
                             .hdr_len = sizeof hdr - 1,
                             .msg_id = "id-1",
                             .msg_id_len = 4};
    for (int round = 0; round < 3; round++) {
        struct got g = {0};
        assert_int_equal(w.store->ops->append(s, &a, on_append, &g), ST_OK);
        spin(&w);
        assert_int_equal(g.append.verdict, round == 0 ? APPEND_STORED : APPEND_DUPLICATE);
        assert_int_equal(g.append.seq, 1);
        if (round == 1) {
            eng_abandon(w.store);
            env_sim_process_crash(w.sim);
            s = reopen(&w, "S");
        }
    }
    world_fini(&w);
}

static void on_wrong_id(void *arg, const struct store_append_result *r)
{
    struct got *g = arg;
    g->calls++;
    g->append = *r;
    snprintf(g->data, sizeof g->data, "%s", r->actual_id);
}

/* The id that stands against the expectation is told as a text of its own. */
static void wrong_last_id_is_told(void **state_)
{
    struct world w;
    (void)state_;
    world_init(&w, 7);
    struct store_stream *s = create(&w, "S", NULL);
    const char hdr[] = "NATS/1.0\r\nNats-Msg-Id: first\r\n\r\n";
    struct store_append a = {.subject = "a",
                             .subject_len = 1,
                             .expected_last_msgid = "other",
                             .expected_last_msgid_len = 5};
    struct got g = {0};
    assert_int_equal(w.store->ops->append(s, &a, on_wrong_id, &g), ST_OK);
    spin(&w);
    assert_int_equal(g.append.verdict, APPEND_WRONG_LAST_MSGID);
    assert_string_equal(g.data, "");
    struct store_append first = {.subject = "a",
                                 .subject_len = 1,
                                 .hdr = (const uint8_t *)hdr,
                                 .hdr_len = sizeof hdr - 1,
                                 .msg_id = "first",
                                 .msg_id_len = 5};
    assert_int_equal(w.store->ops->append(s, &first, on_append, &g), ST_OK);
    assert_int_equal(w.store->ops->append(s, &a, on_wrong_id, &g), ST_OK);
    spin(&w);
    assert_string_equal(g.data, "first");
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_and_read),
        cmocka_unit_test(survives_clean_stop),
        cmocka_unit_test(survives_kill),
        cmocka_unit_test(survives_power_loss),
        cmocka_unit_test(lap_before_the_first_ticket),
        cmocka_unit_test(limits_evict),
        cmocka_unit_test(purge_and_recreate),
        cmocka_unit_test(memory_stream_starts_empty),
        cmocka_unit_test(duplicates_are_refused),
        cmocka_unit_test(wrong_last_id_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
