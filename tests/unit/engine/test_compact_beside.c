/* Compactions and checkpoints beside each other: neither takes for its own what the other has made
 * of a segment since. */
#define EW_WINDOW_BYTES (8 * MIB)
#define EW_SEGMENT_BYTES (64 * KIB)
#include "tests/lib/eng_world.h"

#include "engine/compact.h"
#include "engine/eng.h"
#include "engine/segment.h"

#define MSGS 1500
#define STEPS 24

static void on_step(struct world *w)
{
    (void)env_sim_step_one(w->sim);
    w->store->ops->poll(w->store);
    w->store->ops->turn(w->store);
}

/* Steps the world until the checkpoint that is asked for here is done. */
static void checkpoint_stepwise(struct world *w)
{
    struct got g = {0};
    eng_checkpoint(w->store, on_done, &g);
    w->store->ops->turn(w->store);
    while (g.calls == 0) {
        on_step(w);
    }
}

#define KEPT 8 /* each so many-th message: what is left of a segment is worth merging */

/* A checkpoint begins, at some step of the compactions and merges after another one, when nothing
 * lives in the first segment: it drops that file, not what a merge has made of it since. Returns
 * whether there was such a merge. */
static bool checkpoint_beside_a_merge(int steps)
{
    struct world w;
    char text[201];
    world_init(&w, 11);
    struct store_stream *s = create(&w, "S", NULL);
    for (int i = 1; i <= MSGS; i++) {
        for (size_t k = 0; k < sizeof text - 1; k++) {
            text[k] = (char)('a' + prng_mix((uint64_t)i * 1000 + k) % 26);
        }
        text[sizeof text - 1] = 0;
        publish(&w, s, "k", text);
    }
    checkpoint(&w);
    struct got deleted = {0};
    for (uint64_t seq = 1; seq <= MSGS; seq++) {
        if (seq % KEPT != 0) {
            w.store->ops->msg_delete(s, seq, false, on_done, &deleted);
        }
    }
    checkpoint_stepwise(&w);
    for (int i = 0; i < steps; i++) {
        on_step(&w);
    }
    bool merging = s->eng->compact->next != NULL;
    uint64_t gone = s->segs->v[0]->row.last_seq;
    for (uint64_t seq = KEPT; seq <= gone; seq += KEPT) {
        w.store->ops->msg_delete(s, seq, false, on_done, &deleted);
    }
    checkpoint_stepwise(&w);
    for (int again = 0; again < 2; again++) {
        for (uint64_t seq = KEPT; seq <= MSGS; seq += KEPT) {
            enum st want = seq <= gone ? ST_NOTFOUND : ST_OK;
            assert_int_equal(get(&w, s, GET_BY_SEQ, seq, "").st, want);
        }
        if (again == 0) {
            eng_abandon(w.store);
            env_sim_power_loss(w.sim, 7);
            s = reopen(&w, "S");
        }
    }
    struct eng_info info;
    eng_info_get(w.store, &info);
    assert_int_equal(info.damaged_streams, 0);
    world_fini(&w);
    return merging;
}

static void merged_during_a_checkpoint(void **state_)
{
    int merging = 0;
    (void)state_;
    for (int steps = 0; steps < STEPS; steps++) {
        merging += checkpoint_beside_a_merge(steps);
    }
    assert_true(merging > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(merged_during_a_checkpoint)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
