/* Compaction: in the background after a checkpoint, by request, of what was deleted for good; with
 * damage; across restarts. */
/* roomy: no checkpoint but those asked for */
#define EW_WINDOW_BYTES (8 * MIB)
#include "tests/lib/eng_world.h"

#include <stdlib.h>

/* --- tests ------------------------------------------------------------------------------------ */

#define MSGS 400

static void text_of(char out[256], int i)
{
    int n = snprintf(out, 256, "marker-%d-", i);
    uint64_t x = (uint64_t)i * 2654435761u + 1;
    while (n < 240) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        out[n++] = (char)('a' + (x >> 60));
    }
    out[n] = 0;
}

static void fill(struct world *w, struct store_stream *s)
{
    char text[256], subject[32];
    for (int i = 1; i <= MSGS; i++) {
        text_of(text, i);
        snprintf(subject, sizeof subject, "k.%d", i % 7);
        assert_int_equal(publish(w, s, subject, text).seq, i);
    }
}

static void remove_msg(struct world *w, struct store_stream *s, uint64_t seq, bool secure)
{
    struct got g = {0};
    w->store->ops->msg_delete(s, seq, secure, on_done, &g);
    spin(w);
    assert_int_equal(g.st, ST_OK);
}

static void expect_content(struct world *w, struct store_stream *s, int every)
{
    char text[256];
    uint64_t live = 0;
    for (int i = 1; i <= MSGS; i++) {
        struct got m = get(w, s, GET_BY_SEQ, (uint64_t)i, "");
        text_of(text, i);
        assert_int_equal(m.st, i % every == 0 ? ST_OK : ST_NOTFOUND);
        live += i % every == 0;
        if (i % every == 0) {
            assert_string_equal(m.data, text);
        }
    }
    assert_int_equal(state(w, s).msgs, live);
    assert_int_equal(state(w, s).damaged_msgs, 0);
}

static struct eng_info info(struct world *w)
{
    struct eng_info i;
    eng_info_get(w->store, &i);
    return i;
}

static uint64_t seg_bytes(struct store_stream *s)
{
    uint64_t n, bytes, tail;
    eng_stream_space(s, &n, &bytes, &tail);
    return bytes;
}

static uint64_t compact(struct world *w)
{
    struct got g = {0};
    eng_compact(w->store, on_done, &g);
    for (int i = 0; i < 100 && g.calls == 0; i++) {
        spin(w);
    }
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.st, ST_OK);
    return g.n;
}

static void after_a_checkpoint(void **state_)
{
    struct world w;
    (void)state_;
    world_init(&w, 1);
    struct store_stream *s = create(&w, "S", NULL);
    fill(&w, s);
    checkpoint(&w);
    uint64_t before = seg_bytes(s);
    for (int i = 1; i <= MSGS; i++) {
        if (i % 5 != 0) {
            remove_msg(&w, s, (uint64_t)i, false);
        }
    }
    assert_int_equal(info(&w).compactions, 0); /* nothing of it is in the catalogue yet */
    checkpoint(&w);
    for (int i = 0; i < 10; i++) {
        spin(&w);
    }
    assert_true(info(&w).compactions >= 1);
    assert_true(seg_bytes(s) < before);
    expect_content(&w, s, 5);
    eng_abandon(w.store);
    env_sim_power_loss(w.sim, 7);
    s = reopen(&w, "S");
    expect_content(&w, s, 5);
    assert_int_equal(info(&w).damaged_streams, 0);
    world_fini(&w);
}

/* Everything that holds something removed, the segment being filled too; and again: nothing to do.
 */
static void by_request(void **state_)
{
    struct world w;
    (void)state_;
    world_init(&w, 2);
    struct store_stream *s = create(&w, "S", NULL);
    struct store_stream *empty = create(&w, "EMPTY", NULL);
    fill(&w, s);
    checkpoint(&w);
    for (int i = 1; i <= MSGS; i++) {
        if (i % 4 != 0) {
            remove_msg(&w, s, (uint64_t)i, false);
        }
    }
    uint64_t before = seg_bytes(s);
    assert_true(compact(&w) >= 2);
    struct eng_compact_progress p;
    eng_compact_progress(w.store, &p);
    assert_int_equal(p.rewritten, p.todo);
    assert_int_equal(p.bytes_in - p.bytes_out, before - seg_bytes(s));
    assert_true(seg_bytes(s) < before);
    expect_content(&w, s, 4);
    assert_int_equal(compact(&w), 0);
    eng_close(w.store);
    s = reopen(&w, "S");
    expect_content(&w, s, 4);
    assert_int_equal(publish(&w, s, "k.1", "next").seq, MSGS + 1);
    assert_int_equal(state(&w, empty = w.store->ops->stream_find(w.store, "$G", "EMPTY")).msgs, 0);
    world_fini(&w);
}

struct search {
    struct world *w;
    const char *text, *where; /* part of the names looked at */
    int found;
};

static void search_file(void *arg, const char *path, uint64_t size)
{
    struct search *x = arg;
    if (strstr(path, x->where) == NULL) {
        return;
    }
    char *buf = malloc((size_t)size + 1);
    assert_int_equal(env_sim_file_read(x->w->sim, path, 0, buf, (size_t)size), ST_OK);
    x->found += memmem(buf, (size_t)size, x->text, strlen(x->text)) != NULL;
    free(buf);
}

static int in_segments(struct world *w, const char *text)
{
    struct search x = {w, text, ".seg", 0};
    env_sim_each_file(w->sim, search_file, &x);
    return x.found;
}

static int in_journal(struct world *w, const char *text)
{
    struct search x = {w, text, "/journal/", 0};
    env_sim_each_file(w->sim, search_file, &x);
    return x.found;
}

/* A message larger than a block of its own, that does not compress: it is found on disk as it is.
 */
static void publish_secret(struct world *w, struct store_stream *s, char text[9000], int seed)
{
    uint64_t x = (uint64_t)seed;
    for (int i = 0; i < 8999; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        text[i] = (char)(1 + (x >> 33) % 255);
    }
    text[8999] = 0;
    (void)publish(w, s, "secret", text);
}

static void wait_for_erasure(struct world *w)
{
    env_sim_advance(w->sim, 6 * NS_PER_S);
    (void)w->store->ops->timers(w->store);
    for (int i = 0; i < 10; i++) {
        spin(w);
    }
}

static void deleted_for_good(void **state_)
{
    struct world w;
    char a[9000], b[9000];
    (void)state_;
    world_init(&w, 3);
    struct store_stream *s = create(&w, "S", NULL);
    publish_secret(&w, s, a, 1);
    publish_secret(&w, s, b, 2);
    checkpoint(&w);
    assert_int_equal(in_segments(&w, a), 1);
    remove_msg(&w, s, 1, true);
    wait_for_erasure(&w);
    assert_int_equal(in_segments(&w, a), 0);
    assert_int_equal(in_segments(&w, b), 1);
    assert_string_equal(get(&w, s, GET_BY_SEQ, 2, "").data, b);
    /* The wish outlives a killed process, whether or not a checkpoint has seen it. */
    for (int ckpt = 0; ckpt < 2; ckpt++) {
        publish_secret(&w, s, a, 3 + ckpt);
        checkpoint(&w);
        assert_int_equal(in_segments(&w, a), 1);
        remove_msg(&w, s, state(&w, s).last_seq, true);
        if (ckpt == 1) {
            struct got g = {0};
            eng_checkpoint(w.store, on_done, &g);
            for (int i = 0; i < 300 && g.calls == 0; i++) {
                env_sim_step_one(w.sim);
                w.store->ops->poll(w.store);
            }
        }
        eng_abandon(w.store);
        env_sim_process_crash(w.sim);
        s = reopen(&w, "S");
        wait_for_erasure(&w);
        assert_int_equal(in_segments(&w, a), 0);
    }
    world_fini(&w);
}

/* The journal has it until the file is released; then no file has, spares neither. */
static void gone_from_the_journal(void **state_)
{
    struct world w;
    char a[9000], b[9000], more[9000];
    (void)state_;
    for (int kill = 0; kill < 2; kill++) {
        world_init(&w, 5);
        struct store_stream *s = create(&w, "S", NULL);
        publish_secret(&w, s, a, 1);
        publish_secret(&w, s, b, 2);
        remove_msg(&w, s, 1, true);
        assert_int_equal(in_journal(&w, a), 1);
        if (kill) {
            eng_abandon(w.store);
            env_sim_process_crash(w.sim);
            s = reopen(&w, "S");
        }
        for (int i = 0; i < 120; i++) {
            publish_secret(&w, s, more, 10 + i);
            if (i % 20 == 19) {
                checkpoint(&w);
                wait_for_erasure(&w);
            }
        }
        assert_int_equal(in_journal(&w, a), 0);
        assert_int_equal(in_segments(&w, a), 0);
        assert_string_equal(get(&w, s, GET_BY_SEQ, 2, "").data, b);
        world_fini(&w);
    }
}

static uint64_t segment_files;

static void count_segment(void *arg, const char *path, uint64_t size)
{
    (void)arg, (void)size;
    segment_files += strstr(path, ".seg") != NULL;
}

static uint64_t count_segments(struct world *w)
{
    segment_files = 0;
    env_sim_each_file(w->sim, count_segment, NULL);
    return segment_files;
}

/* Deletes and nothing else: the space comes back without a publish or a request, and what is left
 * of many segments ends in few. */
static void removals_alone(void **state_)
{
    struct world w;
    (void)state_;
    world_init(&w, 6);
    struct store_stream *s = create(&w, "S", NULL);
    char text[9000];
    for (int i = 1; i <= 60; i++) {
        publish_secret(&w, s, text, i);
        if (i % 10 == 0) {
            checkpoint(&w);
        }
    }
    uint64_t before = count_segments(&w);
    assert_true(before > 10);
    eng_of(w.store)->opts.segment_bytes = 128 * KIB; /* what is left is small beside that */
    for (uint64_t i = 1; i <= 60; i++) {
        if (i % 6 != 0) {
            remove_msg(&w, s, i, false);
        }
    }
    for (int i = 0; i < 60; i++) {
        env_sim_advance(w.sim, NS_PER_S);
        (void)w.store->ops->timers(w.store);
        spin(&w);
    }
    struct eng_info info;
    eng_info_get(w.store, &info);
    assert_true(info.compactions > 0);
    uint64_t after = count_segments(&w);
    if (after * 3 > before) {
        fail_msg("%llu segments, %llu before", (unsigned long long)after,
                 (unsigned long long)before);
    }
    for (int restart = 0; restart < 2; restart++) {
        assert_int_equal(state(&w, s).msgs, 10);
        for (uint64_t i = 6; i <= 60; i += 6) {
            publish_secret(&w, s, text, (int)i); /* the same text */
            assert_string_equal(get(&w, s, GET_BY_SEQ, i, "").data, text);
            remove_msg(&w, s, state(&w, s).last_seq, false);
        }
        eng_abandon(w.store);
        env_sim_power_loss(w.sim, 4);
        s = reopen(&w, "S");
    }
    world_fini(&w);
}

/* What cannot be read is evidence: the segment stays as it is. */
static void damage_stays(void **state_)
{
    struct world w;
    (void)state_;
    world_init(&w, 4);
    struct store_stream *s = create(&w, "S", NULL);
    fill(&w, s);
    for (int i = 1; i <= 100; i++) {
        remove_msg(&w, s, (uint64_t)i * 2, false);
    }
    checkpoint(&w);
    eng_close(w.store);
    assert_int_equal(env_sim_flip_bit(w.sim, "/data/millrace/s/00000001/1.0.seg", 4096 + 300, 3),
                     ST_OK);
    s = reopen(&w, "S");
    (void)compact(&w);
    struct eng_compact_progress p;
    uint64_t size;
    eng_compact_progress(w.store, &p);
    assert_int_equal(p.damaged, 1);
    assert_int_equal(env_sim_file_size(w.sim, "/data/millrace/s/00000001/1.0.seg", &size), ST_OK);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_checkpoint), cmocka_unit_test(by_request),
        cmocka_unit_test(deleted_for_good),   cmocka_unit_test(gone_from_the_journal),
        cmocka_unit_test(removals_alone),     cmocka_unit_test(damage_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
