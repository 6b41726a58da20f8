/* Reset of a consumer, who is told of what goes unacknowledged, what is waited for, and the release
 * of an interest stream in steps: through engine/store.h, on the simulated world, with restarts. */
#include "tests/lib/small_store.h"

struct world {
    struct env_sim *sim;
    struct store *store;
    struct store_stream *s;
    struct store_cons *c;
    unsigned done;
    uint64_t deleted[64];
    unsigned ndeleted;
};

static void open_store(struct world *w)
{
    struct eng_opts o = small_store_opts(4 * MIB);
    w->store = small_store_open(w->sim, &o);
}

static void spin(struct world *w)
{
    for (int k = 0; k < 2; k++) {
        w->store->ops->turn(w->store);
        for (int i = 0; i < 200 && env_sim_step_one(w->sim); i++) {
            w->store->ops->poll(w->store);
        }
        w->store->ops->poll(w->store);
    }
}

static void on_stream(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct world *w = arg;
    (void)err;
    assert_int_equal(st, ST_OK);
    w->s = s;
}

static void on_cons(void *arg, enum st st, struct store_cons *c, const struct err *err)
{
    struct world *w = arg;
    (void)err;
    assert_int_equal(st, ST_OK);
    w->c = c;
}

static void on_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct world *w = arg;
    (void)n;
    (void)err;
    assert_int_equal(st, ST_OK);
    w->done++;
}

static void on_ready(void *arg, struct store_cons *c)
{
    (void)arg;
    (void)c;
}

static void on_deleted(void *arg, struct store_cons *c, uint64_t sseq, uint64_t cseq, uint64_t n)
{
    struct world *w = arg;
    (void)c;
    assert_int_equal(cseq, sseq);
    assert_int_equal(n, 1);
    w->deleted[w->ndeleted++] = sseq;
}

static void make_stream(struct world *w, enum store_retention retention, int64_t max_msgs)
{
    struct stream_cfg cfg;
    memset(w, 0, sizeof *w);
    w->sim = env_sim_create(5);
    env_sim_set_real_ns(w->sim, 1700000000 * NS_PER_S);
    open_store(w);
    stream_cfg_init(&cfg);
    cfg.account = base_strdup("$G");
    cfg.name = base_strdup("S");
    cfg.retention = retention;
    cfg.max_msgs = max_msgs;
    cfg.allow_rollup = true;
    w->store->ops->stream_create(w->store, &cfg, on_stream, w);
    stream_cfg_fini(&cfg);
    spin(w);
    assert_non_null(w->s);
}

static struct store_cons *make_cons(struct world *w, const char *name, const char *filter)
{
    struct cons_cfg cfg;
    struct cons_events ev = {.arg = w, .ready = on_ready, .deleted = on_deleted};
    cons_cfg_init(&cfg);
    cfg.name = base_strdup(name);
    cfg.durable = true;
    cfg.ack = ACK_EXPLICIT;
    cfg.ack_wait_ns = 30 * NS_PER_S;
    if (filter != NULL) {
        cfg.filters = base_malloc(sizeof *cfg.filters);
        cfg.filters[0] = base_strdup(filter);
        cfg.nfilters = 1;
    }
    w->c = NULL;
    w->store->ops->cons_create(w->s, &cfg, on_cons, w);
    cons_cfg_fini(&cfg);
    spin(w);
    assert_non_null(w->c);
    w->store->ops->cons_attach(w->c, &ev);
    return w->c;
}

static void publish(struct world *w, const char *subject, unsigned n, uint8_t rollup)
{
    struct store_append a = {.subject = subject,
                             .subject_len = (uint32_t)strlen(subject),
                             .data = (const uint8_t *)"x",
                             .data_len = 1,
                             .rollup = rollup};
    for (unsigned i = 0; i < n; i++) {
        while (w->store->ops->append(w->s, &a, NULL, NULL) != ST_OK) {
            spin(w);
        }
    }
    spin(w);
}

static uint64_t take(struct world *w, unsigned n)
{
    struct cons_peek p = {0};
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(w->store->ops->cons_peek(w->c, &p), ST_OK);
        w->store->ops->cons_take(w->c);
    }
    return p.m.seq;
}

static struct cons_state state(struct world *w)
{
    struct cons_state st;
    w->store->ops->cons_state(w->c, &st);
    return st;
}

static void expect(struct world *w, uint64_t cseq, uint64_t sseq, uint64_t floor, uint64_t ackp,
                   uint64_t pending)
{
    struct cons_state st = state(w);
    assert_int_equal(st.delivered_cseq, cseq);
    assert_int_equal(st.delivered_sseq, sseq);
    assert_int_equal(st.floor_sseq, floor);
    assert_int_equal(st.num_ack_pending, ackp);
    assert_int_equal(st.num_pending, pending);
}

static void ack(struct world *w, uint64_t seq)
{
    w->store->ops->cons_ack(w->c, CONS_ACK, seq, seq, 0, NULL, NULL);
}

static void reset(struct world *w, uint64_t seq)
{
    unsigned before = w->done;
    w->store->ops->cons_reset(w->c, seq, on_done, w);
    assert_int_equal(w->done, before);
    spin(w);
    assert_int_equal(w->done, before + 1);
}

static void restart(struct world *w, bool kill)
{
    if (kill) {
        eng_abandon(w->store);
    } else {
        eng_close(w->store);
    }
    open_store(w);
    w->s = w->store->ops->stream_find(w->store, "$G", "S");
    assert_non_null(w->s);
    w->c = w->store->ops->cons_find(w->s, "c");
    assert_non_null(w->c);
}

static void finish(struct world *w)
{
    eng_close(w->store);
    env_sim_destroy(w->sim);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void resets(void **state_)
{
    (void)state_;
    struct world w;
    make_stream(&w, RETENTION_LIMITS, -1);
    publish(&w, "a", 10, 0);
    make_cons(&w, "c", NULL);
    assert_int_equal(take(&w, 6), 6);
    ack(&w, 1);
    ack(&w, 3);
    expect(&w, 6, 6, 1, 4, 4);
    reset(&w, 0); /* behind the floor */
    expect(&w, 0, 1, 1, 0, 9);
    assert_int_equal(take(&w, 1), 2);
    reset(&w, 5);
    expect(&w, 0, 4, 4, 0, 6);
    ack(&w, 6); /* delivered before the reset, not since */
    expect(&w, 0, 4, 4, 0, 6);
    reset(&w, 1);
    expect(&w, 0, 0, 0, 0, 10);
    assert_int_equal(take(&w, 2), 2);
    finish(&w);
}

static void reset_is_durable(void **state_)
{
    (void)state_;
    static const bool kills[] = {true, false};
    for (size_t i = 0; i < ARRAY_LEN(kills); i++) {
        struct world w;
        make_stream(&w, RETENTION_LIMITS, -1);
        publish(&w, "a", 10, 0);
        make_cons(&w, "c", NULL);
        take(&w, 6);
        spin(&w);
        env_sim_advance(w.sim, NS_PER_S);
        w.store->ops->timers(w.store); /* what was taken is logged */
        spin(&w);
        reset(&w, 4);
        restart(&w, kills[i]);
        expect(&w, 0, 3, 3, 0, 7);
        reset(&w, 50); /* beyond the end: stays there */
        restart(&w, kills[i]);
        expect(&w, 0, 49, 49, 0, 0);
        finish(&w);
    }
}

static void deleted_is_told(void **state_)
{
    (void)state_;
    struct world w;
    make_stream(&w, RETENTION_LIMITS, 6);
    publish(&w, "a", 6, 0);
    make_cons(&w, "c", NULL);
    take(&w, 4);
    w.store->ops->msg_delete(w.s, 3, false, on_done, &w);
    assert_int_equal(w.ndeleted, 0); /* not inside the call */
    spin(&w);
    assert_int_equal(w.ndeleted, 1);
    assert_int_equal(w.deleted[0], 3);
    publish(&w, "a", 2, 0); /* 1 goes for the second of them */
    assert_int_equal(w.ndeleted, 2);
    assert_int_equal(w.deleted[1], 1);
    ack(&w, 2);
    publish(&w, "a", 1, 0); /* 2 goes: acknowledged */
    assert_int_equal(w.ndeleted, 2);
    publish(&w, "a", 1, 1); /* a rollup tells nobody */
    assert_int_equal(w.ndeleted, 2);
    assert_int_equal(state(&w).num_ack_pending, 0);
    finish(&w);
}

static void purge_tells_nobody(void **state_)
{
    (void)state_;
    struct world w;
    struct store_purge p = {.seq = 3};
    make_stream(&w, RETENTION_LIMITS, -1);
    publish(&w, "a", 6, 0);
    make_cons(&w, "c", NULL);
    take(&w, 4);
    w.store->ops->purge(w.s, &p, on_done, &w);
    spin(&w);
    p.seq = 0;
    w.store->ops->purge(w.s, &p, on_done, &w);
    spin(&w);
    assert_int_equal(w.done, 2);
    assert_int_equal(w.ndeleted, 0);
    finish(&w);
}

static void what_is_waited_for(void **state_)
{
    (void)state_;
    struct world w;
    struct cons_unacked u;
    make_stream(&w, RETENTION_LIMITS, -1);
    publish(&w, "a", 3, 0);
    make_cons(&w, "c", NULL);
    int64_t at = env_boot_ns(env_sim_env(w.sim));
    take(&w, 2);
    spin(&w);
    env_sim_advance(w.sim, 5 * NS_PER_S);
    w.store->ops->timers(w.store);
    assert_true(w.store->ops->cons_unacked(w.c, 2, &u));
    assert_int_equal(u.cseq, 2);
    assert_int_equal(u.dcount, 1);
    assert_int_equal(u.delivered_ns, at);
    ack(&w, 2);
    assert_false(w.store->ops->cons_unacked(w.c, 2, &u));
    assert_false(w.store->ops->cons_unacked(w.c, 3, &u));
    assert_false(w.store->ops->cons_unacked(w.c, 0, &u));
    finish(&w);
}

/* Who wanted nearly everything goes: one pass over 20,000 messages would hold up the loop. */
static void release_goes_in_steps(void **state_)
{
    (void)state_;
    struct world w;
    struct stream_state st;
    make_stream(&w, RETENTION_INTEREST, -1);
    struct store_cons *all = make_cons(&w, "all", NULL);
    make_cons(&w, "c", "b");
    publish(&w, "b", 1, 0);
    publish(&w, "a", 20000, 0);
    publish(&w, "b", 1, 0);
    w.store->ops->cons_delete(all, on_done, &w);
    w.store->ops->stream_state(w.s, &st);
    assert_int_equal(st.msgs, 20002 - 8191);
    for (int i = 0; i < 10; i++) {
        spin(&w);
        env_sim_advance(w.sim, NS_PER_S);
        w.store->ops->timers(w.store);
    }
    w.store->ops->stream_state(w.s, &st);
    assert_int_equal(st.msgs, 2);
    assert_int_equal(state(&w).num_pending, 2);
    finish(&w);
}

/* A filter that takes in less: what nobody wants any more goes, what is pending stays. */
static void narrowed_filter_releases(void **state_)
{
    (void)state_;
    struct world w;
    struct stream_state st;
    struct cons_cfg cfg;
    make_stream(&w, RETENTION_INTEREST, -1);
    make_cons(&w, "c", ">");
    publish(&w, "a", 3, 0);
    publish(&w, "b", 2, 0);
    take(&w, 1);
    cons_cfg_copy(&cfg, w.store->ops->cons_cfg(w.c));
    base_free(cfg.filters[0]);
    cfg.filters[0] = base_strdup("b");
    w.store->ops->cons_update(w.c, &cfg, on_cons, &w);
    cons_cfg_fini(&cfg);
    spin(&w);
    w.store->ops->stream_state(w.s, &st);
    assert_int_equal(st.msgs, 3);
    expect(&w, 1, 1, 0, 1, 2);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resets),
        cmocka_unit_test(reset_is_durable),
        cmocka_unit_test(deleted_is_told),
        cmocka_unit_test(purge_tells_nobody),
        cmocka_unit_test(what_is_waited_for),
        cmocka_unit_test(release_goes_in_steps),
        cmocka_unit_test(narrowed_filter_releases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
