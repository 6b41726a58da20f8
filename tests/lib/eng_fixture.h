/* A store on the simulated world for unit tests: submit, spin, look. One stream, "S" of "$G". A
 * header only, since other tests replace parts of the engine. */
#ifndef TESTS_LIB_ENG_FIXTURE_H
#define TESTS_LIB_ENG_FIXTURE_H

#include <stdio.h>

#include "engine/eng.h"
#include "tests/lib/small_store.h"

struct ef {
    struct env_sim *sim;
    struct store *store;
    struct store_stream *s;
    char data[4096], hdr[4096]; /* of the last message got */
};
enum ef_end { EF_CLEAN, EF_KILL, EF_POWER };

struct ef_got {
    int calls;
    enum st st;
    struct store_stream *s;
    struct store_append_result append;
    struct ef *f;
};

static inline void ef_on_stream(void *arg, enum st st, struct store_stream *s,
                                const struct err *err)
{
    struct ef_got *g = arg;
    (void)err;
    g->calls++;
    g->st = st;
    g->s = s;
}

static inline void ef_on_append(void *arg, const struct store_append_result *r)
{
    struct ef_got *g = arg;
    g->calls++;
    g->append = *r;
}

static inline void ef_on_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct ef_got *g = arg;
    (void)n;
    (void)err;
    g->calls++;
    g->st = st;
}

static inline void ef_on_get(void *arg, enum st st, const struct msg *m)
{
    struct ef_got *g = arg;
    g->calls++;
    g->st = st;
    if (m != NULL) {
        snprintf(g->f->data, sizeof g->f->data, "%.*s", (int)m->data_len, (const char *)m->data);
        snprintf(g->f->hdr, sizeof g->f->hdr, "%.*s", (int)m->hdr_len, (const char *)m->hdr);
    }
}

static inline void ef_open(struct ef *f)
{
    struct eng_opts o = small_store_opts(MIB);
    f->store = small_store_open(f->sim, &o);
}

static inline void ef_spin(struct ef *f)
{
    small_store_spin(f->store, f->sim, 400);
}

/* A fresh world with the stream S; tweak (may be NULL) changes its config first. */
static inline void ef_init(struct ef *f, uint64_t seed, void (*tweak)(struct stream_cfg *))
{
    struct stream_cfg cfg;
    struct ef_got g = {0};
    memset(f, 0, sizeof *f);
    f->sim = env_sim_create(seed);
    env_sim_set_real_ns(f->sim, 1700000000 * NS_PER_S);
    ef_open(f);
    stream_cfg_init(&cfg);
    cfg.account = base_strdup("$G");
    cfg.name = base_strdup("S");
    cfg.duplicates_ns = 120 * NS_PER_S;
    if (tweak != NULL) {
        tweak(&cfg);
    }
    f->store->ops->stream_create(f->store, &cfg, ef_on_stream, &g);
    stream_cfg_fini(&cfg);
    ef_spin(f);
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.st, ST_OK);
    f->s = g.s;
}

static inline void ef_fini(struct ef *f)
{
    eng_close(f->store);
    env_sim_destroy(f->sim);
}

/* Moves the clock in steps of 50 ms, running timers. */
static inline void ef_advance(struct ef *f, int64_t ns)
{
    for (int64_t at = 0; at < ns; at += 50 * NS_PER_MS) {
        env_sim_advance(f->sim, 50 * NS_PER_MS);
        (void)f->store->ops->timers(f->store);
        ef_spin(f);
    }
}

static inline void ef_checkpoint(struct ef *f)
{
    struct ef_got g = {0};
    eng_checkpoint(f->store, ef_on_done, &g);
    for (int i = 0; i < 20 && g.calls == 0; i++) {
        ef_spin(f);
    }
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.st, ST_OK);
}

/* Ends the process in this way and opens the store again. */
static inline void ef_restart(struct ef *f, enum ef_end how)
{
    if (how == EF_CLEAN) {
        eng_close(f->store);
    } else {
        eng_abandon(f->store);
        if (how == EF_POWER) {
            env_sim_power_loss(f->sim, 7);
        } else {
            env_sim_process_crash(f->sim);
        }
    }
    ef_open(f);
    f->s = f->store->ops->stream_find(f->store, "$G", "S");
    assert_non_null(f->s);
}

static inline void ef_update(struct ef *f, void (*tweak)(struct stream_cfg *))
{
    struct stream_cfg cfg;
    struct ef_got g = {0};
    stream_cfg_copy(&cfg, f->store->ops->stream_cfg(f->s));
    tweak(&cfg);
    f->store->ops->stream_update(f->store, f->s, &cfg, ef_on_stream, &g);
    stream_cfg_fini(&cfg);
    ef_spin(f);
    assert_int_equal(g.st, ST_OK);
}

/* hdr: lines behind the first ("A: b\r\n"), or NULL. */
static inline struct store_append_result
ef_publish(struct ef *f, const char *subject, const char *hdr, const char *data, uint16_t flags)
{
    char block[1024];
    struct ef_got g = {0};
    int n = hdr != NULL ? snprintf(block, sizeof block, "NATS/1.0\r\n%s\r\n", hdr) : 0;
    struct store_append a = {.subject = subject,
                             .subject_len = (uint32_t)strlen(subject),
                             .hdr = (const uint8_t *)block,
                             .hdr_len = (uint32_t)n,
                             .data = (const uint8_t *)data,
                             .data_len = (uint32_t)strlen(data),
                             .flags = flags};
    assert_int_equal(f->store->ops->append(f->s, &a, ef_on_append, &g), ST_OK);
    ef_spin(f);
    assert_int_equal(g.calls, 1);
    return g.append;
}

/* Payload of a live message, "" when it is empty, NULL when there is none; until the next call. */
static inline const char *ef_get(struct ef *f, uint64_t seq)
{
    struct ef_got g = {.f = f};
    struct store_get q = {GET_BY_SEQ, seq, "", 0, 0};
    f->store->ops->get(f->s, &q, ef_on_get, &g);
    ef_spin(f);
    assert_int_equal(g.calls, 1);
    return g.st == ST_OK ? f->data : NULL;
}

/* Its header block. */
static inline const char *ef_hdr(struct ef *f, uint64_t seq)
{
    return ef_get(f, seq) != NULL ? f->hdr : NULL;
}

static inline struct stream_state ef_state(struct ef *f)
{
    struct stream_state st;
    f->store->ops->stream_state(f->s, &st);
    return st;
}

#endif
