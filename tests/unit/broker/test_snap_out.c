/* Snapshots on their way out, read back: every message, what was deleted at the end, consumers; a
 * message that cannot be read ends it. */
#include "broker/snap_in.h"
#include "broker/snap_out.h"

#include "tests/lib/testlib.h"

#include <stdio.h>
#include <string.h>

#define BODY_BYTES (900u * 1024u) /* a few of them fill a block */

struct store_snap {
    struct snap_info info;
    uint64_t at, last, bad; /* sequences; bad: cannot be read */
    size_t body;
};

static const struct snap_info *info(const struct store_snap *s)
{
    return &s->info;
}

static enum st next(struct store_snap *s, struct msg *m_out, struct err *err)
{
    static uint8_t body[BODY_BYTES];
    if (s->at >= s->last) {
        return ST_NOTFOUND;
    }
    s->at += 2; /* 2, 4, 6 */
    memset(body, (int)s->at, sizeof body);
    *m_out = (struct msg){.seq = s->at,
                          .ts_ns = (int64_t)s->at * NS_PER_S,
                          .subj = (const uint8_t *)"a.b",
                          .subj_len = 3,
                          .hdr = (const uint8_t *)"NATS/1.0\r\n\r\n",
                          .hdr_len = s->at == 4 ? 12 : 0,
                          .data = body,
                          .data_len = (uint32_t)s->body};
    return s->at == s->bad ? err_set(err, ST_CORRUPT, 0, "damaged") : ST_OK;
}

static const struct store_ops ops = {.snap_info = info, .snap_next = next};

static void prepare(struct snap_out *o, struct store_snap *s, const char *consumer)
{
    *o = (struct snap_out){.ops = &ops,
                           .snap = s,
                           .name = base_strdup("S"),
                           .meta = base_strdup("{\"name\":\"S\"}"),
                           .meta_len = 12,
                           .now_ns = 1700000000 * NS_PER_S};
    if (consumer != NULL) {
        o->ncons = 2;
        o->cons = base_calloc(2, sizeof *o->cons);
        o->cons[1].name = base_strdup(consumer); /* the first is left out */
        o->cons[1].meta = base_strdup("{}");
        o->cons[1].meta_len = 2;
    }
}

struct got {
    uint64_t msgs, sum, last_seq;
    size_t body;
    int blocks;
    bool sound;
};

static enum st on_msg(void *arg, const struct msg *m, struct err *err)
{
    struct got *g = arg;
    (void)err;
    g->sound = g->sound && m->seq > g->last_seq && m->data_len == g->body &&
               m->ts_ns == (int64_t)m->seq * NS_PER_S && (m->hdr_len == 12) == (m->seq == 4) &&
               (m->data_len == 0 || m->data[m->data_len - 1] == (uint8_t)m->seq);
    g->msgs++;
    g->last_seq = m->seq;
    return ST_OK;
}

static enum st on_meta(void *arg, const void *p, size_t n, struct err *err)
{
    struct got *g = arg;
    (void)err;
    g->sound = g->sound && n == 12 && memcmp(p, "{\"name\":\"S\"}", 12) == 0;
    return ST_OK;
}

/* Makes it piece by piece, each read at once. */
static void pump(struct snap_out *o, struct snap_in *in, struct got *g)
{
    struct err err = {0};
    enum st st;
    g->sound = true;
    *in = (struct snap_in){.stream = "S", .msg = on_msg, .got_meta = on_meta, .arg = g};
    while ((st = snap_out_more(o, &err)) == ST_OK) {
        const uint8_t *p = o->out.v;
        size_t n = o->out.n;
        while ((st = snap_in_step(in, &p, &n, &err)) == ST_OK) {
        }
        TEST_ST(st, ST_AGAIN);
        snap_cut(&o->out, o->out.n);
    }
    TEST_ST(st, ST_NOTFOUND);
    TEST_OK(snap_in_end(in, &err), &err);
    assert_true(g->sound);
}

static void round_trip(void **state)
{
    (void)state;
    static const size_t bodies[] = {0, 100, BODY_BYTES};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct snap_pend pend = {.sseq = 4, .cseq = 2, .dcount = 3, .ts_ns = NS_PER_S};
        struct snap_cons cons[2] = {{.delivered_sseq = 1}, {.delivered_sseq = 6}};
        struct store_snap s = {.last = 24, .body = bodies[i]};
        struct snap_out o;
        struct snap_in in;
        struct got g = {.body = bodies[i]};
        cons[1].delivered_cseq = 3;
        cons[1].floor_sseq = 2;
        cons[1].floor_cseq = 1;
        cons[1].pend = &pend;
        cons[1].npend = 1;
        s.info.cons = cons;
        s.info.ncons = 2;
        s.info.state.last_seq = 24;
        s.info.state.msgs = 12;
        prepare(&o, &s, "con");
        pump(&o, &in, &g);
        assert_int_equal(g.msgs, 12);
        assert_int_equal(in.last_seq, 24);
        assert_int_equal(in.gone.len, 0);
        assert_int_equal(in.ncons, 1);
        assert_string_equal(in.cons[0].name, "con");
        struct snap_cons k = {0};
        TEST_ST(snap_cons_get(in.cons[0].state.v, in.cons[0].state.n, &k), ST_OK);
        assert_int_equal(k.delivered_sseq, 6);
        assert_int_equal(k.npend, 1);
        assert_int_equal(k.pend[0].dcount, 3);
        assert_int_equal(k.pend[0].ts_ns, NS_PER_S);
        assert_true(o.raw_bytes >= 12 * bodies[i]);
        base_free(k.pend);
        snap_in_fini(&in);
        snap_out_fini(&o);
    }
}

/* The last sequence stands in the snapshot even when no message does. */
static void last_seq(void **state)
{
    (void)state;
    struct seq_run run = {.first = 7, .count = 4};
    static const struct {
        uint64_t last, msgs, want;
        bool gone;
    } rows[] = {{0, 0, 0, false}, {9, 0, 9, true}, {10, 3, 10, true}, {6, 3, 6, false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store_snap s = {.last = rows[i].msgs * 2};
        struct snap_out o;
        struct snap_in in;
        struct got g = {0};
        s.info.state.last_seq = rows[i].last;
        s.info.state.msgs = rows[i].msgs;
        if (rows[i].last == 10) {
            s.info.deleted = (struct seq_runs){&run, 1, 1};
        }
        prepare(&o, &s, NULL);
        pump(&o, &in, &g);
        assert_int_equal(g.msgs, rows[i].msgs);
        assert_int_equal(in.last_seq, rows[i].want);
        assert_int_equal(in.gone.len == 1 && in.gone.items[0] == rows[i].want, rows[i].gone);
        snap_in_fini(&in);
        snap_out_fini(&o);
    }
}

static void unreadable(void **state)
{
    (void)state;
    struct store_snap s = {.last = 10, .bad = 6};
    struct snap_out o;
    struct err err = {0};
    enum st st;
    prepare(&o, &s, NULL);
    while ((st = snap_out_more(&o, &err)) == ST_OK) {
    }
    TEST_ST(st, ST_CORRUPT);
    assert_string_equal(err.msg, "damaged");
    snap_out_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(last_seq),
        cmocka_unit_test(unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
