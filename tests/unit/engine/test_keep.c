/* Large messages that are kept where the engine has them: whoever holds one sees its bytes until it
 * lets go, whatever becomes of block, stream and store (run under ASan, this shows a reference too
 * few or too many). What is damaged is never given. */
#define EW_WINDOW_BYTES (16 * MIB)
#define EW_SEGMENT_BYTES MIB
#include "tests/lib/eng_world.h"

#include <stdlib.h>

enum { MSGS = 40, SIZE = 100000 };

static void fill(uint8_t out[SIZE], uint64_t seq)
{
    uint64_t x = seq * 77;
    for (size_t i = 0; i < SIZE; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        out[i] = (uint8_t)(x >> 33);
    }
}

static void put(struct world *w, struct store_stream *s, uint64_t seq)
{
    static uint8_t data[SIZE];
    struct store_append a = {
        .subject = "o.c", .subject_len = 3, .data = data, .data_len = sizeof data};
    struct got g = {0};
    fill(data, seq);
    assert_int_equal(w->store->ops->append(s, &a, on_append, &g), ST_OK);
    spin(w);
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.append.seq, seq);
}

static void on_cons(void *arg, enum st st, struct store_cons *c, const struct err *err)
{
    (void)err;
    assert_int_equal(st, ST_OK);
    *(struct store_cons **)arg = c;
}

static void on_ready(void *arg, struct store_cons *c)
{
    (void)arg, (void)c;
}

static struct store_cons *consumer(struct world *w, struct store_stream *s)
{
    struct cons_cfg cfg;
    struct store_cons *c = NULL;
    struct cons_events ev = {.ready = on_ready};
    cons_cfg_init(&cfg);
    cfg.name = base_strdup("C");
    cfg.ack = ACK_NONE;
    w->store->ops->cons_create(s, &cfg, on_cons, &c);
    cons_cfg_fini(&cfg);
    spin(w);
    assert_non_null(c);
    w->store->ops->cons_attach(c, &ev);
    return c;
}

/* The next message, waited for; false at the end. */
static bool next(struct world *w, struct store_cons *c, struct cons_peek *p)
{
    enum st st = ST_AGAIN;
    for (int i = 0; i < 100 && st == ST_AGAIN; i++) {
        st = w->store->ops->cons_peek(c, p);
        if (st == ST_AGAIN) {
            spin(w);
        }
    }
    assert_true(st == ST_OK || st == ST_NOTFOUND);
    return st == ST_OK;
}

struct held {
    struct msg m;
    struct msg_keep keep;
};

static void expect_held(const struct held *h)
{
    static uint8_t want[SIZE];
    fill(want, h->m.seq);
    assert_int_equal(h->m.data_len, SIZE);
    assert_memory_equal(h->m.data, want, SIZE);
}

/* Reads what there is and holds it all; returns how many. */
static size_t hold_all(struct world *w, struct store_cons *c, struct held out[MSGS], uint64_t lost)
{
    struct cons_peek p;
    size_t n = 0;
    uint64_t seq = 0;
    while (next(w, c, &p)) {
        seq += seq + 1 == lost ? 2 : 1;
        assert_int_equal(p.m.seq, seq);
        assert_non_null(p.keep.what);
        p.keep.acquire(p.keep.what);
        out[n++] = (struct held){p.m, p.keep};
        w->store->ops->cons_take(c);
    }
    return n;
}

static struct store_stream *in_segments(struct world *w)
{
    struct store_stream *s = create(w, "S", NULL);
    for (uint64_t seq = 1; seq <= MSGS; seq++) {
        put(w, s, seq);
    }
    checkpoint(w);
    return s;
}

static void held_beyond_everything(void **state_)
{
    (void)state_;
    struct world w;
    struct got g = {0};
    static struct held held[MSGS];
    world_init(&w, 5);
    struct store_stream *s = in_segments(&w);
    struct store_cons *c = consumer(&w, s);
    assert_int_equal(hold_all(&w, c, held, 0), MSGS);
    put(&w, s, MSGS + 1);
    struct cons_peek p;
    assert_true(next(&w, c, &p));
    assert_null(p.keep.what); /* in the tail: copied */
    w.store->ops->stream_delete(w.store, s, on_done, &g);
    spin(&w);
    assert_int_equal(g.calls, 1);
    for (size_t i = 0; i < MSGS; i++) {
        expect_held(&held[i]);
    }
    for (size_t i = 0; i < MSGS; i += 2) {
        held[i].keep.release(held[i].keep.what);
    }
    world_fini(&w);
    for (size_t i = 1; i < MSGS; i += 2) {
        expect_held(&held[i]);
        held[i].keep.release(held[i].keep.what);
    }
}

struct place {
    struct world *w;
    const uint8_t *bytes;
    char path[200];
    uint64_t off;
};

static void find_bytes(void *arg, const char *path, uint64_t size)
{
    struct place *x = arg;
    if (strstr(path, ".seg") == NULL) {
        return;
    }
    uint8_t *buf = malloc((size_t)size + 1);
    assert_int_equal(env_sim_file_read(x->w->sim, path, 0, buf, (size_t)size), ST_OK);
    const uint8_t *at = memmem(buf, (size_t)size, x->bytes, 64);
    if (at != NULL) {
        (void)snprintf(x->path, sizeof x->path, "%s", path);
        x->off = (uint64_t)(at - buf);
    }
    free(buf);
}

/* One flipped bit costs its message; those around it, of the same transfer, are given. */
static void a_flipped_bit(void **state_)
{
    (void)state_;
    struct world w;
    static uint8_t want[SIZE];
    static struct held held[MSGS];
    enum { LOST = 13 };
    world_init(&w, 6);
    struct store_stream *s = in_segments(&w);
    struct place x = {.w = &w, .bytes = want};
    fill(want, LOST);
    env_sim_each_file(w.sim, find_bytes, &x);
    assert_true(x.path[0] != 0);
    assert_int_equal(env_sim_flip_bit(w.sim, x.path, x.off + SIZE / 2, 5), ST_OK);
    assert_int_equal(hold_all(&w, consumer(&w, s), held, LOST), MSGS - 1);
    for (size_t i = 0; i < MSGS - 1; i++) {
        expect_held(&held[i]);
        held[i].keep.release(held[i].keep.what);
    }
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(held_beyond_everything),
                                       cmocka_unit_test(a_flipped_bit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
