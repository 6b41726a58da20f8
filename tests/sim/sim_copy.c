/* Copies of another stream's messages: at a sequence of their own, with gaps below and the origin's
 * time; and gaps alone, as a mirror has where its origin has nothing. */
#include "engine/eng.h"
#include "tests/sim/sim_world.h"

enum { LEN_MAX = 4000 };

static void draw(struct world *w, struct sw_inst *in, struct md_msg *m, struct store_append *a,
                 char hdr[MD_HDR_MAX], uint8_t *data)
{
    struct prng *r = &w->rnd;
    uint32_t len = (uint32_t)prng_below(r, prng_below(r, 10) == 0 ? LEN_MAX : 300);
    *m = sw_random_msg(w, len, in->md.cfg.allow_msg_ttl);
    m->id = 0; /* the sequence tells copies apart */
    md_payload(m, data);
    m->size = md_size(&in->md, m);
    const char *subject = md_subject(m->subject);
    uint64_t gap = prng_below(r, 3) == 0 ? prng_below(r, 20) : 0;
    *a = (struct store_append){.subject = subject,
                               .subject_len = (uint32_t)strlen(subject),
                               .hdr = (const uint8_t *)hdr,
                               .hdr_len = md_header(m, hdr),
                               .data = data,
                               .data_len = len,
                               .flags = m->ttl_s != 0 ? MSG_TTL : 0,
                               .at_seq = in->md.last_seq + 1 + gap,
                               .at_time_ns = i64_max(eng_now_ns(in->h->eng), in->md.last_ts_ns)};
    if (in->md.last_seq > 0 && prng_below(r, 10) == 0) {
        a->at_seq = in->md.last_seq; /* a second time */
    }
    a->has_expected_last_seq = prng_below(r, 2) == 0;
    a->expected_last_seq = in->md.last_seq - (in->md.last_seq > 0 && prng_below(r, 8) == 0);
}

/* A copy that is not refused for its sequence is judged like any message. */
static enum append_verdict judge(struct sw_inst *in, const struct store_append *a,
                                 const struct md_msg *m, uint64_t *value)
{
    struct store_append plain = *a;
    plain.has_expected_last_seq = false;
    if (a->at_seq <= in->md.last_seq ||
        (a->has_expected_last_seq && a->expected_last_seq != in->md.last_seq)) {
        *value = in->md.last_seq;
        return APPEND_WRONG_LAST_SEQ;
    }
    return md_verdict(&in->md, &plain, m, eng_now_ns(in->h->eng), value);
}

void sw_copy(struct world *w, struct sw_inst *in)
{
    char hdr[MD_HDR_MAX];
    uint8_t *data = base_malloc(LEN_MAX + 8);
    struct md_msg m;
    struct store_append a;
    if (in->memory) { /* its sequences are reserved, these may lie beyond */
        base_free(data);
        return;
    }
    draw(w, in, &m, &a, hdr, data);
    uint64_t value = 0, before = in->h->last_seq, op = sw_op(w);
    enum append_verdict verdict = judge(in, &a, &m, &value);
    struct sw_call *c = sw_call_append(w, in, verdict, value);
    enum st st = w->store->ops->append(in->h, &a, sw_on_append, c);
    base_free(data);
    w->published++;
    if (st != ST_OK) {
        if (st != ST_FULL || in->h->last_seq != before) {
            sw_fail(w, "copy to i%u: %s, last sequence %llu before, %llu now", in->uid, st_text(st),
                    (unsigned long long)before, (unsigned long long)in->h->last_seq);
        }
        w->full++;
        sw_call_free(c);
    } else if (in->h->last_seq == a.at_seq && before != a.at_seq) {
        m.seq = a.at_seq;
        m.ts_ns = a.at_time_ns;
        struct md_event *e = sw_event(w, in, EV_APPEND);
        e->msg = m;
        e->submit_op = op;
        sw_call_stored(c, in->nev - 1, m.seq);
        md_apply(&in->md, e);
    } else if (in->h->last_seq != before) {
        sw_fail(w, "copy at %llu to i%u: the last sequence went from %llu to %llu",
                (unsigned long long)a.at_seq, in->uid, (unsigned long long)before,
                (unsigned long long)in->h->last_seq);
    } else if (verdict == APPEND_STORED && !sw_excused(w)) {
        sw_fail(w, "copy to i%u was not stored, the model stores it", in->uid);
    }
}

void sw_skip(struct world *w, struct sw_inst *in)
{
    uint64_t to = in->md.last_seq + prng_below(&w->rnd, 12), before = in->h->last_seq;
    if (in->memory) {
        return;
    }
    uint64_t op = sw_op(w);
    w->store->ops->seq_skip(in->h, to, NULL, NULL);
    if (in->h->last_seq == before) {
        if (to > before && !sw_excused(w)) {
            sw_fail(w, "skip of i%u to %llu did nothing", in->uid, (unsigned long long)to);
        }
        return;
    }
    struct md_event *e = sw_event(w, in, EV_SKIP);
    e->floor = to;
    e->sync = true;
    e->submit_op = op;
    md_apply(&in->md, e);
}
