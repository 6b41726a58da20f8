/* Atomic batches: one event of the model, so that a crash that keeps a part of one fits no prefix
 * of the history. */
#include <stdio.h>

#include "engine/eng.h"
#include "tests/sim/sim_world.h"

enum { BATCH_MAX = 12 };

struct draft {
    struct store_append a[BATCH_MAX];
    struct md_msg m[BATCH_MAX];
    char hdr[BATCH_MAX][MD_HDR_MAX], id[BATCH_MAX][16];
    uint8_t data[BATCH_MAX][4008];
    size_t n;
};

void sw_widen(const struct md_stream *md, struct md_msg *m, struct store_append *a)
{
    if (a->rollup != 1 || a->has_expected_last_subj_seq || m->fill % 2 != 0) {
        return;
    }
    m->subject = MD_DRAWN + (uint32_t)(m->fill / 2 % (MD_SUBJECTS - MD_DRAWN));
    m->size = md_size(md, m);
    a->subject = md_subject(m->subject);
    a->subject_len = (uint32_t)strlen(a->subject);
}

static void draw(struct world *w, struct sw_inst *in, struct draft *d, size_t i)
{
    struct prng *r = &w->rnd;
    struct md_msg *m = &d->m[i];
    struct store_append *a = &d->a[i];
    uint32_t len = (uint32_t)prng_below(r, prng_below(r, 10) == 0 ? 4000 : 300);
    *m = sw_random_msg(w, len, in->md.cfg.allow_msg_ttl);
    md_payload(m, d->data[i]);
    m->size = md_size(&in->md, m);
    const char *subject = md_subject(m->subject);
    *a = (struct store_append){.subject = subject,
                               .subject_len = (uint32_t)strlen(subject),
                               .hdr = (const uint8_t *)d->hdr[i],
                               .hdr_len = md_header(m, d->hdr[i]),
                               .data = d->data[i],
                               .data_len = len,
                               .flags = m->ttl_s != 0 ? MSG_TTL : 0};
    if (m->id != 0) {
        a->msg_id_len = (uint32_t)snprintf(d->id[i], sizeof d->id[i], "id-%u", m->id);
        a->msg_id = d->id[i];
    }
    if (i == 0 && prng_below(r, 6) == 0) {
        a->has_expected_last_seq = true;
        a->expected_last_seq = in->md.last_seq + (prng_below(r, 4) == 0);
    } else if (prng_below(r, 20) == 0) {
        a->has_expected_last_subj_seq = true;
        a->expected_last_subj_seq = md_last_of(&in->md, m->subject);
    }
    if (prng_below(r, 30) == 0) {
        a->rollup = (uint8_t)(1 + prng_below(r, 2));
    }
    if (i == 0) { /* later ones are refused where they match an earlier one */
        sw_widen(&in->md, m, a);
    }
}

static void stored(struct world *w, struct sw_inst *in, const struct draft *d, struct sw_call *c,
                   uint64_t submit_op)
{
    struct md_event *e = sw_event(w, in, EV_BATCH);
    e->batch = base_calloc(d->n, sizeof *e->batch);
    e->rollups = base_calloc(d->n, 1);
    e->nbatch = d->n;
    e->submit_op = submit_op; /* the disk may have worked during the call */
    for (size_t i = 0; i < d->n; i++) {
        e->batch[i] = d->m[i];
        e->batch[i].seq = in->md.last_seq + 1 + i;
        e->batch[i].ts_ns = in->h->last_ts_ns;
        e->rollups[i] = d->a[i].rollup;
    }
    e->msg = e->batch[d->n - 1];
    sw_call_stored(c, in->nev - 1, e->msg.seq);
    md_apply(&in->md, e);
}

void sw_batch(struct world *w, struct sw_inst *in)
{
    struct draft *d = base_calloc(1, sizeof *d);
    d->n = 1 + prng_below(&w->rnd, BATCH_MAX);
    for (size_t i = 0; i < d->n; i++) {
        draw(w, in, d, i);
    }
    uint64_t value = 0, before = in->h->last_seq, op = sw_op(w);
    enum append_verdict verdict =
        md_batch_verdict(&in->md, d->a, d->m, d->n, eng_now_ns(in->h->eng), &value);
    struct sw_call *c = sw_call_append(w, in, verdict, value);
    enum st st = w->store->ops->append_batch(in->h, d->a, d->n, sw_on_append, c);
    w->published += d->n;
    if (st != ST_OK) {
        if (st != ST_FULL || in->h->last_seq != before) {
            sw_fail(w, "batch to i%u: %s, last sequence %llu before, %llu now", in->uid,
                    st_text(st), (unsigned long long)before, (unsigned long long)in->h->last_seq);
        }
        w->full++;
        sw_call_free(c);
    } else if (in->h->last_seq == before + d->n) {
        stored(w, in, d, c, op);
    } else if (in->h->last_seq != before && !sw_excused(w)) { /* a lane that fails in the middle */
        sw_fail(w, "batch of %zu to i%u: the last sequence went from %llu to %llu", d->n, in->uid,
                (unsigned long long)before, (unsigned long long)in->h->last_seq);
    } else if (verdict == APPEND_STORED && !sw_excused(w)) {
        sw_fail(w, "batch to i%u was not stored, the model stores it", in->uid);
    }
    base_free(d);
}
