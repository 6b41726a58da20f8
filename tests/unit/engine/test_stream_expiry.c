/* What goes by time: max_age, Nats-TTL, markers; across restarts and from segments. */
#include "tests/lib/eng_fixture.h"

static void ttl(struct stream_cfg *c)
{
    c->allow_msg_ttl = true;
}

static void ttl_markers(struct stream_cfg *c)
{
    c->allow_msg_ttl = c->allow_rollup = true;
    c->subject_delete_marker_ttl_ns = 2500 * NS_PER_MS;
}

static void ttl_age(struct stream_cfg *c)
{
    c->allow_msg_ttl = true;
    c->max_age_ns = 2 * NS_PER_S;
    c->duplicates_ns = 2 * NS_PER_S;
}

static void age_markers(struct stream_cfg *c)
{
    ttl_markers(c);
    c->max_age_ns = 2 * NS_PER_S;
    c->duplicates_ns = 2 * NS_PER_S;
}

static void memory_markers(struct stream_cfg *c)
{
    ttl_markers(c);
    c->storage = STORAGE_MEMORY;
}

static uint64_t put(struct ef *f, const char *subject, const char *ttl_value)
{
    char hdr[64];
    if (ttl_value == NULL) {
        return ef_publish(f, subject, NULL, "x", 0).seq;
    }
    snprintf(hdr, sizeof hdr, "Nats-TTL: %s\r\n", ttl_value);
    return ef_publish(f, subject, hdr, "x", MSG_TTL).seq;
}

static void values(void **state)
{
    static const struct {
        const char *text;
        int64_t want; /* -2: invalid */
    } t[] = {{"", 0},
             {"never", -1},
             {"NEVER", -1},
             {"1", 1},
             {"1.9s", 1},
             {"1h", 3600},
             {"0", -2},
             {"999ms", -2},
             {"-1", -2},
             {"x", -2},
             {"1 ", -2},
             {"9223372036854775807", INT64_MAX},
             {"9223372036854775808", -2}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        int64_t got = 0;
        bool ok = store_ttl_parse(t[i].text, strlen(t[i].text), &got);
        assert_int_equal(ok ? got : -2, t[i].want);
    }
}

static void goes_when_due(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 1, ttl);
    put(&f, "a", "1");
    put(&f, "a", "3");
    put(&f, "b", "1");
    put(&f, "c", NULL);
    put(&f, "d", "never");
    put(&f, "e", "9223372036854775807");
    ef_advance(&f, 950 * NS_PER_MS);
    assert_int_equal(ef_state(&f).msgs, 6);
    ef_advance(&f, 100 * NS_PER_MS);
    assert_null(ef_get(&f, 1));
    assert_null(ef_get(&f, 3));
    assert_int_equal(ef_state(&f).msgs, 4);
    ef_advance(&f, 2 * NS_PER_S);
    assert_null(ef_get(&f, 2));
    ef_advance(&f, 60 * NS_PER_S);
    assert_int_equal(ef_state(&f).msgs, 3);
    assert_int_equal(ef_state(&f).last_seq, 6);
    ef_fini(&f);
}

static void survives(enum ef_end how, bool ckpt)
{
    struct ef f;
    ef_init(&f, 2, ttl_markers);
    for (int i = 0; i < 50; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "s.%d", i);
        put(&f, subject, i % 2 == 0 ? "4" : NULL);
    }
    ef_advance(&f, NS_PER_S);
    if (ckpt) {
        ef_checkpoint(&f);
    }
    ef_restart(&f, how);
    ef_advance(&f, 2 * NS_PER_S);
    assert_int_equal(ef_state(&f).msgs, 50);
    ef_advance(&f, 1200 * NS_PER_MS);
    assert_int_equal(ef_state(&f).msgs, 50);
    assert_int_equal(ef_state(&f).last_seq, 75); /* 25 markers stand in for 25 messages */
    assert_null(ef_get(&f, 1));
    assert_string_equal(ef_hdr(&f, 51), "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: "
                                        "2s\r\nNats-Rollup: sub\r\n\r\n");
    ef_restart(&f, how);
    assert_int_equal(ef_state(&f).msgs, 50);
    ef_advance(&f, 3 * NS_PER_S);
    assert_int_equal(ef_state(&f).msgs, 25);
    assert_int_equal(ef_state(&f).last_seq, 75);
    ef_fini(&f);
}

static void survives_restarts(void **state)
{
    (void)state;
    for (int how = EF_CLEAN; how <= EF_POWER; how++) {
        survives((enum ef_end)how, false);
        survives((enum ef_end)how, true);
    }
}

static void overdue_goes_after_the_start(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 3, ttl_markers);
    put(&f, "a", "1");
    put(&f, "b", "1");
    put(&f, "b", NULL);
    ef_checkpoint(&f);
    eng_of(f.store)->hold_expiry = true;
    ef_advance(&f, 5 * NS_PER_S);
    assert_int_equal(ef_state(&f).msgs, 3);
    ef_restart(&f, EF_KILL);
    ef_advance(&f, 100 * NS_PER_MS);
    assert_int_equal(ef_state(&f).msgs, 2); /* b's other message and a's marker */
    assert_int_equal(ef_state(&f).last_seq, 4);
    ef_fini(&f);
}

static void never_outlives_max_age(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 4, ttl_age);
    put(&f, "a", NULL);
    put(&f, "a", "never");
    put(&f, "a", "10");
    put(&f, "a", NULL);
    ef_advance(&f, 2100 * NS_PER_MS);
    assert_int_equal(ef_state(&f).msgs, 1);
    assert_int_equal(ef_state(&f).first_seq, 2);
    put(&f, "b", NULL);
    ef_restart(&f, EF_KILL);
    ef_advance(&f, 2100 * NS_PER_MS);
    assert_int_equal(ef_state(&f).msgs, 1);
    assert_non_null(ef_get(&f, 2));
    ef_fini(&f);
}

static void age_leaves_one_marker_a_subject(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 5, age_markers);
    for (int i = 0; i < 3; i++) {
        put(&f, "a", NULL);
    }
    put(&f, "b", NULL);
    ef_publish(&f, "c", "KV-Operation: PURGE\r\n", "", 0);
    ef_publish(&f, "d", "KV-Operation: DEL\r\n", "", 0);
    ef_advance(&f, 2100 * NS_PER_MS);
    assert_int_equal(ef_state(&f).msgs, 3);
    assert_int_equal(ef_state(&f).last_seq, 9);
    ef_advance(&f, 2600 * NS_PER_MS);
    assert_int_equal(ef_state(&f).msgs, 0);
    assert_int_equal(ef_state(&f).last_seq, 9);
    ef_fini(&f);
}

static void memory_streams_too(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 6, memory_markers);
    put(&f, "a", "1");
    put(&f, "b", "1");
    put(&f, "b", NULL);
    ef_advance(&f, 1100 * NS_PER_MS);
    assert_int_equal(ef_state(&f).msgs, 2);
    assert_int_equal(ef_state(&f).last_seq, 4);
    ef_fini(&f);
}

static void switched_on_later(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 7, NULL);
    put(&f, "a", "1"); /* as a source would store it */
    ef_advance(&f, 3 * NS_PER_S);
    assert_int_equal(ef_state(&f).msgs, 1);
    ef_update(&f, ttl);
    ef_advance(&f, 100 * NS_PER_MS);
    assert_int_equal(ef_state(&f).msgs, 0);
    ef_fini(&f);
}

/* The wall clock is set back: times of messages never go back, nothing expires early or is lost,
 * and a message still goes, at the latest when the clock has come to where it was. */
static void clock_set_back(bool restart, enum ef_end how, void (*tweak)(struct stream_cfg *))
{
    struct ef f;
    int64_t noon = 1700000000 * NS_PER_S;
    ef_init(&f, 9, tweak);
    put(&f, "a", "2");
    struct stream_state before = ef_state(&f);
    env_sim_set_real_ns(f.sim, noon - 10 * NS_PER_S);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(put(&f, "b", i % 2 == 0 ? "2" : NULL), i + 2);
        assert_true(ef_state(&f).last_ts_ns >= before.last_ts_ns);
        before = ef_state(&f);
    }
    assert_int_equal(ef_state(&f).msgs, 21);
    if (restart) {
        ef_checkpoint(&f);
        ef_restart(&f, how);
    }
    assert_int_equal(ef_state(&f).msgs, 21);
    assert_int_equal(put(&f, "c", NULL), 22);
    assert_true(ef_state(&f).last_ts_ns >= before.last_ts_ns);
    env_sim_set_real_ns(f.sim, 0); /* before anything was stored */
    assert_int_equal(put(&f, "c", "1"), 23);
    assert_true(ef_state(&f).last_ts_ns >= before.last_ts_ns);
    env_sim_set_real_ns(f.sim, noon + 60 * NS_PER_S);
    ef_advance(&f, NS_PER_S);
    assert_null(ef_get(&f, 1));
    assert_null(ef_get(&f, 23));
    ef_fini(&f);
}

static void clocks_that_step_back(void **state)
{
    (void)state;
    clock_set_back(false, EF_CLEAN, ttl);
    clock_set_back(false, EF_CLEAN, memory_markers);
    for (int how = EF_CLEAN; how <= EF_POWER; how++) {
        clock_set_back(true, (enum ef_end)how, ttl);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(goes_when_due),
        cmocka_unit_test(survives_restarts),
        cmocka_unit_test(overdue_goes_after_the_start),
        cmocka_unit_test(never_outlives_max_age),
        cmocka_unit_test(age_leaves_one_marker_a_subject),
        cmocka_unit_test(memory_streams_too),
        cmocka_unit_test(switched_on_later),
        cmocka_unit_test(clocks_that_step_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
