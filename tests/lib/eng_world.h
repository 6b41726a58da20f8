/* A store on the simulated world with as many streams as a test makes, beside eng_fixture.h with
 * its one: submit, spin, look. EW_WINDOW_BYTES and EW_SEGMENT_BYTES may be set before it is
 * included. */
#ifndef TESTS_LIB_ENG_WORLD_H
#define TESTS_LIB_ENG_WORLD_H

#include "tests/lib/eng_fixture.h"

#ifndef EW_WINDOW_BYTES
#define EW_WINDOW_BYTES (4 * MIB)
#endif
#ifndef EW_SEGMENT_BYTES
#define EW_SEGMENT_BYTES (32 * KIB)
#endif

struct world {
    struct env_sim *sim;
    struct store *store;
    bool rung;
};

static inline void doorbell(void *arg)
{
    ((struct world *)arg)->rung = true;
}

static inline void world_open(struct world *w)
{
    struct eng_opts o = small_store_opts(EW_WINDOW_BYTES);
    o.doorbell = doorbell;
    o.doorbell_arg = w;
    o.segment_bytes = EW_SEGMENT_BYTES;
    o.compact_bytes_per_s = UINT64_MAX;
    w->store = small_store_open(w->sim, &o);
}

static inline void world_init(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->sim = env_sim_create(seed);
    env_sim_set_real_ns(w->sim, 1700000000 * NS_PER_S);
    world_open(w);
}

static inline void spin(struct world *w)
{
    small_store_spin(w->store, w->sim, 200);
}

static inline void world_fini(struct world *w)
{
    eng_close(w->store);
    env_sim_destroy(w->sim);
}

/* --- callbacks -------------------------------------------------------------------------------- */

struct got {
    int calls;
    enum st st;
    uint64_t n;
    struct store_stream *s;
    struct store_append_result append;
    char data[10000];
    uint64_t seq;
};

static inline void on_stream(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct got *g = arg;
    (void)err;
    g->calls++;
    g->st = st;
    g->s = s;
}

static inline void on_append(void *arg, const struct store_append_result *r)
{
    struct got *g = arg;
    g->calls++;
    g->append = *r;
}

static inline void on_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct got *g = arg;
    (void)err;
    g->calls++;
    g->st = st;
    g->n = n;
}

static inline void on_get(void *arg, enum st st, const struct msg *m)
{
    struct got *g = arg;
    g->calls++;
    g->st = st;
    g->seq = m != NULL ? m->seq : 0;
    snprintf(g->data, sizeof g->data, "%.*s", m != NULL ? (int)m->data_len : 0,
             m != NULL ? (const char *)m->data : "");
}

static inline struct store_stream *create(struct world *w, const char *name,
                                          void (*tweak)(struct stream_cfg *))
{
    struct stream_cfg cfg;
    struct got g = {0};
    stream_cfg_init(&cfg);
    cfg.account = base_strdup("$G");
    cfg.name = base_strdup(name);
    cfg.duplicates_ns = 120 * NS_PER_S;
    if (tweak != NULL) {
        tweak(&cfg);
    }
    w->store->ops->stream_create(w->store, &cfg, on_stream, &g);
    stream_cfg_fini(&cfg);
    assert_int_equal(g.calls, 0);
    spin(w);
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.st, ST_OK);
    return g.s;
}

static inline struct store_append_result publish(struct world *w, struct store_stream *s,
                                                 const char *subject, const char *data)
{
    struct store_append a = {.subject = subject,
                             .subject_len = (uint32_t)strlen(subject),
                             .data = (const uint8_t *)data,
                             .data_len = (uint32_t)strlen(data)};
    struct got g = {0};
    assert_int_equal(w->store->ops->append(s, &a, on_append, &g), ST_OK);
    assert_int_equal(g.calls, 0);
    spin(w);
    assert_int_equal(g.calls, 1);
    return g.append;
}

static inline struct got get(struct world *w, struct store_stream *s, enum get_kind kind,
                             uint64_t seq, const char *subject)
{
    struct got g = {0};
    struct store_get q = {kind, seq, subject, (uint32_t)strlen(subject), 0};
    w->store->ops->get(s, &q, on_get, &g);
    spin(w);
    assert_int_equal(g.calls, 1);
    return g;
}

static inline struct stream_state state(struct world *w, struct store_stream *s)
{
    struct stream_state st;
    w->store->ops->stream_state(s, &st);
    return st;
}

static inline void checkpoint(struct world *w)
{
    struct got g = {0};
    eng_checkpoint(w->store, on_done, &g);
    for (int i = 0; i < 20 && g.calls == 0; i++) {
        spin(w);
    }
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.st, ST_OK);
}

static inline struct store_stream *reopen(struct world *w, const char *name)
{
    world_open(w);
    struct store_stream *s = w->store->ops->stream_find(w->store, "$G", name);
    assert_non_null(s);
    return s;
}

#endif
