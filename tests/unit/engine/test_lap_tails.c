/* A stream's tail is bounded: it asks for a checkpoint of itself long before the journal's window
 * does. */
#define EW_WINDOW_BYTES (64 * MIB)
#define EW_SEGMENT_BYTES 0
#include "tests/lib/eng_world.h"

#include "engine/checkpoint.h"

#define BUDGET ((uint64_t)(32 * KIB))
#define BODY 1000

static void open_world(struct world *w, uint64_t seed)
{
    world_init(w, seed);
    eng_of(w->store)->opts.tail_bytes = BUDGET;
}

static uint64_t laps(const struct world *w)
{
    return eng_of(w->store)->checkpoints;
}

static void put(struct world *w, struct store_stream *s, unsigned key)
{
    static char body[BODY + 1];
    char subject[32];
    memset(body, 'x', BODY);
    snprintf(subject, sizeof subject, "k.%u", key);
    assert_true(publish(w, s, subject, body).seq > 0);
}

static void fill(struct world *w, struct store_stream *s, unsigned first, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        put(w, s, first + i);
    }
}

static void what_grows_is_flushed(void **state_)
{
    (void)state_;
    struct world w;
    open_world(&w, 1);
    struct store_stream *s = create(&w, "S", NULL);
    struct store_stream *small = create(&w, "T", NULL);
    put(&w, small, 1);
    for (unsigned i = 0; i < 300; i++) {
        put(&w, s, i);
        assert_true(s->tail.bytes < BUDGET + 8 * KIB);
    }
    assert_true(laps(&w) >= 300 * BODY / (BUDGET + 8 * KIB));
    assert_int_equal(small->tail.msgs, 1); /* not worth a flush */
    assert_true(small->ckpt_dirty);
    eng_abandon(w.store);
    env_sim_process_crash(w.sim);
    s = reopen(&w, "S");
    assert_int_equal(state(&w, s).msgs, 300);
    world_fini(&w);
}

static void tweak_one_a_key(struct stream_cfg *c)
{
    c->max_msgs_per_subject = 1;
}

/* What is overwritten all the time dies in the tail, as long as that is not twice as large. */
static void what_turns_over_waits(void **state_)
{
    (void)state_;
    struct world w;
    open_world(&w, 2);
    struct store_stream *s = create(&w, "S", tweak_one_a_key);
    fill(&w, s, 0, 50); /* grows: flushed, and once more for the rest of it */
    fill(&w, s, 0, 50);
    uint64_t before = laps(&w);
    assert_true(before > 0);
    for (unsigned i = 0; i < 1000; i++) {
        put(&w, s, i % 50);
    }
    assert_int_equal(laps(&w), before);
    assert_int_equal(state(&w, s).msgs, 50);
    fill(&w, s, 100, 30); /* grows again */
    assert_true(laps(&w) > before);
    world_fini(&w);
}

static void drop(struct world *w, struct store_stream *s)
{
    struct got g = {0};
    w->store->ops->stream_delete(w->store, s, on_done, &g);
    spin(w);
    assert_int_equal(g.st, ST_OK);
}

/* The row of what was dropped holds the name: a lap over the new one alone could not be committed.
 */
static void made_again_under_its_name(void **state_)
{
    (void)state_;
    struct world w;
    open_world(&w, 3);
    struct store_stream *s = create(&w, "S", NULL);
    fill(&w, s, 0, 60);
    uint64_t before = laps(&w);
    assert_true(before > 0);
    drop(&w, s);
    s = create(&w, "S", NULL);
    fill(&w, s, 0, 60);
    assert_true(laps(&w) > before);
    assert_int_equal(eng_of(w.store)->ckpt->retry_boot_ns, 0); /* none failed */
    world_fini(&w);
}

static void tweak_memory(struct stream_cfg *c)
{
    c->storage = STORAGE_MEMORY;
}

/* A memory stream's tail is all it has. */
static void memory_streams_ask_for_nothing(void **state_)
{
    (void)state_;
    struct world w;
    open_world(&w, 4);
    struct store_stream *s = create(&w, "S", tweak_memory);
    fill(&w, s, 0, 200);
    assert_int_equal(laps(&w), 0);
    assert_int_equal(s->tail.msgs, 200);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_grows_is_flushed),
                                       cmocka_unit_test(what_turns_over_waits),
                                       cmocka_unit_test(made_again_under_its_name),
                                       cmocka_unit_test(memory_streams_ask_for_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
