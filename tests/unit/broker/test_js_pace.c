/* How fast a consumer may send: rates as a bucket of tokens, replays as far apart as the messages
 * came in. The clock is the simulated one. */
#include "tests/lib/testlib.h"

#include "broker/js_int.h"
#include "engine/base/env_sim.h"

static struct stream_cfg cfg;

static const struct stream_cfg *cfg_of(struct store_stream *s)
{
    (void)s;
    return &cfg;
}

struct world {
    struct env_sim *sim;
    struct js js;
    struct js_account ja;
    struct js_stream *s;
    struct js_consumer *c;
};
static const struct store_ops ops = {.stream_cfg = cfg_of};

static struct world *begin(void)
{
    struct world *w = base_calloc(1, sizeof *w);
    struct err err = {0};
    w->sim = env_sim_create(1);
    w->js.d.env = env_sim_env(w->sim);
    w->js.ops = &ops;
    w->ja.js = &w->js;
    w->s = base_calloc(1, sizeof *w->s);
    w->c = base_calloc(1, sizeof *w->c);
    w->s->ja = &w->ja;
    w->c->stream = w->s;
    TEST_OK(brk_loop_create(w->js.d.env, &w->js.d.loop, &err), &err);
    cfg = (struct stream_cfg){0};
    env_sim_advance(w->sim, 10 * NS_PER_S);
    return w;
}

static void end(struct world *w)
{
    js_pace_stop(w->c);
    brk_loop_destroy(w->js.d.loop);
    env_sim_destroy(w->sim);
    base_free(w->s);
    base_free(w->c);
    base_free(w);
}

static bool send(struct world *w, int64_t ts_ns, uint64_t dcount, size_t size)
{
    struct cons_peek p = {.m = {.ts_ns = ts_ns}, .dcount = dcount};
    bool ready = js_pace_ready(w->c, &p, size);
    if (ready) {
        js_pace_sent(w->c, &p, size);
    } else {
        assert_true(brk_timer_active(w->c->pace));
    }
    return ready;
}

static void rate(void **state)
{
    (void)state;
    struct world *w = begin();
    struct cons_cfg k = {.rate_limit_bps = 8000}; /* 1000 bytes a second */
    cfg.max_msg_size = 500;
    js_pace_reload(w->c, &k);
    assert_true(send(w, 0, 1, 300));
    assert_true(send(w, 0, 1, 200)); /* the bucket is empty */
    assert_false(send(w, 0, 1, 100));
    env_sim_advance(w->sim, 99 * NS_PER_MS);
    assert_false(send(w, 0, 1, 100));
    env_sim_advance(w->sim, 2 * NS_PER_MS);
    assert_true(send(w, 0, 1, 100));
    assert_false(send(w, 0, 1, 100));
    env_sim_advance(w->sim, 3600 * NS_PER_S); /* it never holds more than its size */
    assert_true(send(w, 0, 1, 500));
    assert_false(send(w, 0, 1, 1));
    env_sim_advance(w->sim, 500 * NS_PER_MS); /* larger than the bucket: passes when it is full */
    assert_true(send(w, 0, 1, 100000));
    k.rate_limit_bps = 0;
    js_pace_reload(w->c, &k);
    assert_true(send(w, 0, 1, 100000));
    end(w);
}

/* A reload with the same rate gives nothing away. */
static void reload(void **state)
{
    (void)state;
    struct world *w = begin();
    struct cons_cfg k = {.rate_limit_bps = 8000};
    cfg.max_msg_size = 500;
    js_pace_reload(w->c, &k);
    assert_true(send(w, 0, 1, 500));
    js_pace_reload(w->c, &k);
    assert_false(send(w, 0, 1, 500));
    k.rate_limit_bps = 16000;
    js_pace_reload(w->c, &k);
    assert_true(send(w, 0, 1, 500));
    end(w);
}

static void replay(void **state)
{
    (void)state;
    struct world *w = begin();
    struct cons_cfg k = {.replay = REPLAY_ORIGINAL};
    int64_t ts = 1000 * NS_PER_S;
    js_pace_reload(w->c, &k);
    assert_true(send(w, ts, 1, 1)); /* the first at once */
    assert_true(send(w, ts, 1, 1));
    assert_false(send(w, ts + 2 * NS_PER_S, 1, 1));
    assert_true(send(w, ts + 2 * NS_PER_S, 2, 1)); /* a redelivery does not wait */
    env_sim_advance(w->sim, 1999 * NS_PER_MS);
    assert_false(send(w, ts + 2 * NS_PER_S, 1, 1));
    env_sim_advance(w->sim, NS_PER_MS);
    assert_true(send(w, ts + 2 * NS_PER_S, 1, 1));
    assert_true(send(w, ts + 2 * NS_PER_S - 1, 1, 1)); /* the clock was set back */
    js_pace_caught_up(w->c);
    assert_true(send(w, ts + 900 * NS_PER_S, 1, 1));
    js_pace_reload(w->c, &k); /* does not begin again */
    assert_true(send(w, ts + 9000 * NS_PER_S, 1, 1));
    end(w);
}

/* Stamps of messages that came with a snapshot may be any. */
static void far_stamps(void **state)
{
    (void)state;
    struct world *w = begin();
    struct cons_cfg k = {.replay = REPLAY_ORIGINAL};
    js_pace_reload(w->c, &k);
    assert_true(send(w, INT64_MIN, 1, 1));
    assert_false(send(w, INT64_MAX, 1, 1)); /* centuries later */
    js_pace_stop(w->c);
    w->c->replay_ts_ns = INT64_MAX;
    assert_true(send(w, INT64_MIN, 1, 1));
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate),
        cmocka_unit_test(reload),
        cmocka_unit_test(replay),
        cmocka_unit_test(far_stamps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
