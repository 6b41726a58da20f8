/* A stand-in for engine and stream around the real consumers: subjects, liveset and index are real,
 * the journal is an array of records that a "crash" cuts off and a restart replays. It defines the
 * functions of the engine that consumers call, so it is included by one program alone. */
#ifndef TESTS_UNIT_ENGINE_CONSUMER_STANDIN_H
#define TESTS_UNIT_ENGINE_CONSUMER_STANDIN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/base/subject.h"
#include "engine/consumer_impl.h"
#include "engine/eng.h"

static uint64_t rng_state;
static uint64_t rnd(uint64_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % n;
}

/* ---- the stand-in for engine and stream ------------------------------------------------------ */

enum { SEQS = 6000, CONS = 3, LOG_MAX = 60000 };
static const char *const subjects[] = {"a.1", "a.2", "b.1", "b.2", "c"};

enum what { LOG_APPEND, LOG_REMOVE, LOG_FLOOR, LOG_DELTA, LOG_MAKE, LOG_CFG, LOG_DROP };
struct logged {
    enum what what;
    uint64_t seq;
    unsigned subj;
    uint32_t sub;
    uint8_t *body;
    size_t len;
    struct seq_runs runs;
    struct cons_cfg cfg;
};
static struct logged logs[LOG_MAX];
static size_t nlogs, durable; /* durable: records a crash keeps */

static struct eng eng;
static struct store_stream *s;
static int64_t boot_ns, wall_ns;
static uint8_t subj_of[SEQS];

struct eng_timer {
    void (*fn)(void *);
    void *arg;
    int64_t at;
    struct eng_timer *next;
};
static struct eng_timer *timers;
struct call {
    void (*fn)(void *);
    void *arg;
    store_done_fn done;
    enum st st;
};
static struct call calls[5000];
static size_t ncalls;

int64_t eng_now_ns(struct eng *e)
{
    (void)e;
    return wall_ns;
}
int64_t eng_boot_ns(struct eng *e)
{
    (void)e;
    return boot_ns;
}

struct eng_timer *eng_timer_create(struct eng *e, void (*fn)(void *arg), void *arg)
{
    (void)e;
    struct eng_timer *t = base_calloc(1, sizeof *t);
    *t = (struct eng_timer){fn, arg, INT64_MAX, timers};
    timers = t;
    return t;
}
void eng_timer_set(struct eng_timer *t, int64_t at_boot_ns)
{
    t->at = at_boot_ns;
}
void eng_timer_destroy(struct eng_timer *t)
{
    struct eng_timer **at = &timers;
    while (*at != t) {
        at = &(*at)->next;
    }
    *at = t->next;
    base_free(t);
}
void eng_defer(struct eng *e, void (*fn)(void *arg), void *arg)
{
    (void)e;
    assert_true(ncalls < ARRAY_LEN(calls));
    calls[ncalls++] = (struct call){.fn = fn, .arg = arg};
}
void eng_undefer(struct eng *e, const void *arg)
{
    (void)e;
    for (size_t i = 0; i < ncalls; i++) {
        if (calls[i].arg == arg) {
            calls[i].fn = NULL;
        }
    }
}
void eng_wait(struct eng *e, uint64_t ticket, store_done_fn fn, void *arg, enum st st, uint64_t n)
{
    (void)e, (void)ticket, (void)n;
    assert_true(ncalls < ARRAY_LEN(calls));
    calls[ncalls++] = (struct call){.done = fn, .arg = arg, .st = st};
}

static void run_calls(void)
{
    for (size_t i = 0; i < ncalls; i++) {
        struct call c = calls[i];
        if (c.done != NULL) {
            durable = nlogs; /* whatever was answered is durable */
            c.done(c.arg, c.st, 0, NULL);
        } else if (c.fn != NULL) {
            c.fn(c.arg);
        }
    }
    ncalls = 0;
}

static struct logged *log_add(enum what what)
{
    assert_true(nlogs < LOG_MAX);
    logs[nlogs] = (struct logged){.what = what};
    return &logs[nlogs++];
}

const struct sidx_entry *stream_entry(const struct store_stream *st, uint64_t seq)
{
    uint32_t id, size;
    return msgmap_get(&st->map, seq, &id, &size) ? sidx_by_id(st->idx, id) : NULL;
}

static void remove_one(uint64_t seq, const struct store_cons *except)
{
    const struct sidx_entry *e = stream_entry(s, seq);
    for (size_t i = 0; i < s->ncons && !eng.replaying; i++) {
        if (s->cons[i] != except) {
            cons_on_remove(s->cons[i], seq, e);
        }
    }
    assert_true(sidx_remove_from(s->idx, e, seq));
    msgmap_clear(&s->map, seq);
    assert_true(liveset_remove(s->live, seq));
    s->msgs--;
}

uint64_t stream_apply_removed(struct store_stream *st, const struct seq_runs *runs,
                              const struct store_cons *except)
{
    uint64_t n = 0;
    for (size_t i = 0; i < runs->n; i++) {
        for (uint64_t k = 0; k < runs->v[i].count; k++) {
            if (liveset_is_live(st->live, runs->v[i].first + k)) {
                remove_one(runs->v[i].first + k, except);
                n++;
            }
        }
    }
    liveset_tidy(st->live);
    st->first_seq = st->live->first;
    return n;
}

static void apply_floor(uint64_t first)
{
    for (uint64_t seq = s->first_seq; seq < first && first <= s->last_seq; seq++) {
        if (liveset_is_live(s->live, seq)) {
            remove_one(seq, NULL);
        }
    }
    if (first > s->last_seq) {
        sidx_clear(s->idx);
        msgmap_reset(&s->map);
        s->msgs = 0;
    }
    (void)liveset_set_floor(s->live, first);
    liveset_tidy(s->live);
    s->first_seq = s->live->first;
    for (size_t i = 0; i < s->ncons && !eng.replaying; i++) {
        cons_on_floor(s->cons[i], s->first_seq);
    }
}

enum st stream_log(struct store_stream *st, enum rec_type type, uint8_t flags, uint32_t sub,
                   const uint8_t *body, size_t body_len, const struct seq_runs *removed, bool sync,
                   bool urgent)
{
    (void)st, (void)flags, (void)removed, (void)sync, (void)urgent;
    assert_int_equal(type, REC_CONS_DELTA);
    struct logged *l = log_add(LOG_DELTA);
    l->sub = sub;
    l->body = base_malloc(body_len);
    memcpy(l->body, body, body_len);
    l->len = body_len;
    return ST_OK;
}
enum st stream_remove_logged(struct store_stream *st, const struct seq_runs *runs,
                             enum rec_reason reason, uint8_t flags)
{
    (void)flags;
    (void)reason;
    struct logged *l = log_add(LOG_REMOVE);
    for (size_t i = 0; i < runs->n; i++) {
        seq_runs_add_run(&l->runs, runs->v[i].first, runs->v[i].count);
    }
    (void)stream_apply_removed(st, runs, NULL);
    return ST_OK;
}
enum st stream_floor_logged(struct store_stream *st, uint64_t first_seq, enum rec_reason reason,
                            uint8_t flags)
{
    (void)st, (void)reason, (void)flags;
    log_add(LOG_FLOOR)->seq = first_seq;
    apply_floor(first_seq);
    return ST_OK;
}
enum stream_read stream_read(struct store_stream *st, uint64_t seq, bool hint, struct msg *m,
                             stream_read_fn fn, void *arg)
{
    (void)hint;
    if (!liveset_is_live(st->live, seq)) {
        return STREAM_READ_GONE;
    }
    if (rnd(20) == 0) {
        eng_defer(&eng, fn, arg);
        return STREAM_READ_PENDING;
    }
    *m = (struct msg){.seq = seq, .ts_ns = (int64_t)seq};
    return STREAM_READ_OK;
}
struct msg_keep stream_keep_large(const struct store_stream *st, const struct msg *m)
{
    (void)st, (void)m;
    return (struct msg_keep){0};
}

void stream_read_cancel(struct store_stream *st, stream_read_fn fn, void *arg)
{
    (void)st, (void)fn, eng_undefer(&eng, arg);
}
uint64_t stream_seq_at_time(struct store_stream *st, int64_t ts_ns)
{
    uint64_t lo = (uint64_t)ts_ns > 3 ? (uint64_t)ts_ns - 3 : 1; /* exact to the block only */
    return u64_max(st->first_seq, u64_min(lo, st->last_seq + 1));
}

static void stream_new(enum store_retention retention)
{
    s = base_calloc(1, sizeof *s);
    s->eng = &eng;
    s->cfg.retention = retention;
    s->first_seq = 1;
    s->live = base_calloc(1, sizeof *s->live);
    liveset_init(s->live, 1, 0);
    s->idx = sidx_create();
    msgmap_init(&s->map);
}
static void stream_end(void)
{
    while (s->ncons > 0) {
        cons_free(s->cons[0]);
    }
    liveset_fini(s->live);
    base_free(s->live);
    sidx_destroy(s->idx);
    msgmap_fini(&s->map);
    base_free(s->cons);
    base_free(s->by_sub);
    base_free(s);
    ncalls = 0;
}
static void apply_append(uint64_t seq, unsigned subj)
{
    liveset_append(s->live, seq);
    const struct sidx_entry *e = sidx_add(s->idx, subjects[subj], strlen(subjects[subj]), seq);
    msgmap_set(&s->map, seq, sidx_id(e), 1);
    s->last_seq = seq;
    s->msgs++;
    s->first_seq = s->live->first;
}

#endif
