/* Interest streams: the look for what nobody wants any more, which goes in steps, goes on after a
 * crash between two of them; what a start must not touch. */
#include "tests/lib/eng_fixture.h"

static void interest(struct stream_cfg *cfg)
{
    cfg->retention = RETENTION_INTEREST;
    cfg->subjects = base_calloc(1, sizeof *cfg->subjects);
    cfg->subjects[0] = base_strdup(">");
    cfg->nsubjects = 1;
}

struct got_cons {
    int calls;
    enum st st;
    struct store_cons *c;
};

static void on_cons(void *arg, enum st st, struct store_cons *c, const struct err *err)
{
    struct got_cons *g = arg;
    (void)err;
    g->calls++;
    g->st = st;
    g->c = c;
}

static struct store_cons *add_cons(struct ef *f, const char *name, const char *filter)
{
    struct cons_cfg cfg;
    struct got_cons g = {0};
    cons_cfg_init(&cfg);
    cfg.name = base_strdup(name);
    cfg.durable = true;
    cfg.ack = ACK_EXPLICIT;
    cfg.ack_wait_ns = 3600 * NS_PER_S;
    if (filter != NULL) {
        cfg.filters = base_calloc(1, sizeof *cfg.filters);
        cfg.filters[0] = base_strdup(filter);
        cfg.nfilters = 1;
    }
    f->store->ops->cons_create(f->s, &cfg, on_cons, &g);
    cons_cfg_fini(&cfg);
    ef_spin(f);
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.st, ST_OK);
    return g.c;
}

/* Thirty messages for a consumer of `a`, thirty that only the consumer `all` wants. */
static struct store_cons *fill(struct ef *f)
{
    ef_init(f, 21, interest);
    (void)add_cons(f, "some", "a");
    struct store_cons *all = add_cons(f, "all", NULL);
    for (int i = 0; i < 60; i++) {
        assert_int_equal(ef_publish(f, i % 2 == 0 ? "a" : "b", NULL, "x", 0).verdict,
                         APPEND_STORED);
    }
    assert_int_equal(ef_state(f).msgs, 60);
    eng_of(f->store)->release_step = 8;
    return all;
}

/* The consumer is gone for good and one step is done; no timer has run. */
static void drop(struct ef *f, struct store_cons *c)
{
    struct ef_got g = {0};
    f->store->ops->cons_delete(c, ef_on_done, &g);
    ef_spin(f);
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.st, ST_OK);
    assert_int_equal(ef_state(f).msgs, 56);
}

static void goes_on(struct ef *f, enum ef_end how)
{
    ef_restart(f, how);
    assert_int_equal(ef_state(f).msgs, 56); /* replay changes nothing by itself */
    ef_advance(f, NS_PER_S);
    assert_int_equal(ef_state(f).msgs, 30);
    assert_null(ef_get(f, 60));
    assert_non_null(ef_get(f, 59));
    assert_false(f->s->release_owed);
    /* done is done: the next start has nothing to look for */
    ef_restart(f, EF_KILL);
    assert_false(f->s->release_owed);
    assert_int_equal(f->s->release_at, 0);
    assert_int_equal(ef_state(f).msgs, 30);
    ef_fini(f);
}

static void between_steps(void **state)
{
    (void)state;
    struct ef f;
    for (int how = EF_CLEAN; how <= EF_POWER; how++) {
        struct store_cons *all = fill(&f);
        drop(&f, all);
        goes_on(&f, (enum ef_end)how);
    }
}

/* The record that began it is below the checkpoint: the catalogue says it. */
static void between_steps_checkpointed(void **state)
{
    (void)state;
    struct ef f;
    struct store_cons *all = fill(&f);
    drop(&f, all);
    ef_checkpoint(&f);
    assert_true(f.s->release_saved);
    goes_on(&f, EF_POWER);
}

/* A catalogue that says it, and the end of it behind the checkpoint. */
static void ended_after_the_checkpoint(void **state)
{
    (void)state;
    struct ef f;
    struct store_cons *all = fill(&f);
    drop(&f, all);
    ef_checkpoint(&f);
    ef_advance(&f, NS_PER_S);
    assert_int_equal(ef_state(&f).msgs, 30);
    ef_restart(&f, EF_POWER);
    assert_int_equal(f.s->release_at, 0);
    ef_checkpoint(&f);
    assert_false(f.s->release_saved);
    ef_restart(&f, EF_CLEAN);
    assert_false(f.s->release_owed || f.s->release_saved);
    ef_fini(&f);
}

/* What nobody takes any more, without a consumer that went: stays where it is. */
static void a_start_looks_for_nothing(void **state)
{
    (void)state;
    struct ef f;
    (void)fill(&f);
    for (int how = EF_CLEAN; how <= EF_POWER; how++) {
        ef_restart(&f, (enum ef_end)how);
        assert_false(f.s->release_owed);
        assert_int_equal(f.s->release_at, 0);
        ef_advance(&f, NS_PER_S);
        assert_int_equal(ef_state(&f).msgs, 60);
    }
    ef_fini(&f);
}

/* Consumers may be among what was lost: nothing is taken from a damaged stream. */
static void damaged(void **state)
{
    (void)state;
    struct ef f;
    struct store_cons *all = fill(&f);
    drop(&f, all);
    stream_note_damage(f.s, 3, 3, "a test says so");
    f.s->ckpt_dirty = true;
    ef_checkpoint(&f);
    ef_restart(&f, EF_KILL);
    assert_true(f.s->release_owed);
    ef_advance(&f, NS_PER_S);
    assert_int_equal(ef_state(&f).msgs, 56);
    ef_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(between_steps),
        cmocka_unit_test(between_steps_checkpointed),
        cmocka_unit_test(ended_after_the_checkpoint),
        cmocka_unit_test(a_start_looks_for_nothing),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
