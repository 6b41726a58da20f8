/* What the engine removes by time: each removal must be due, the last message of a subject must
 * leave its marker, and both become events of the model in the order of their records. */
#include "engine/eng.h"
#include "tests/sim/sim_world.h"

struct sw_inst *sw_inst_of(struct world *w, const struct store_stream *h)
{
    for (size_t i = 0; i < w->ninst; i++) {
        if (w->inst[i]->h == h) {
            return w->inst[i];
        }
    }
    return NULL;
}

static bool is_due(struct world *w, struct sw_inst *in, uint64_t seq)
{
    const struct md_msg *m = md_find(&in->md, seq);
    int64_t now = eng_now_ns(in->h->eng);
    if (m == NULL || !m->live) {
        sw_fail(w, "stream i%u: message %llu expired, but was not there", in->uid,
                (unsigned long long)seq);
    } else if (md_due(&in->md, m) > now) {
        sw_fail(w, "stream i%u: message %llu expired %lld ns early", in->uid,
                (unsigned long long)seq, (long long)(md_due(&in->md, m) - now));
    }
    return !w->failed;
}

/* The last of a subject goes only by way of a marker, unless that last one is a marker: one pass
 * may take a message while an older marker, due later, still stands behind it, and then the marker.
 */
static void no_marker_owed(struct world *w, struct sw_inst *in, uint64_t seq, const uint64_t *gone,
                           size_t n)
{
    const struct md_msg *m = md_find(&in->md, seq);
    for (size_t i = 0; i < n; i++) {
        const struct md_msg *other = md_find(&in->md, gone[i]);
        if (other->marker && other->subject == m->subject &&
            md_due(&in->md, other) >= md_due(&in->md, m)) {
            return;
        }
    }
    if (in->md.cfg.subject_delete_marker_ttl_ns > 0 && !m->marker &&
        md_last_of(&in->md, m->subject) == 0 && !md_unwanted_subject(&in->md, m->subject)) {
        sw_fail(w, "stream i%u: message %llu was the last of its subject and left no marker",
                in->uid, (unsigned long long)seq);
    }
}

static void expired_floor(struct world *w, struct sw_inst *in, uint64_t floor)
{
    uint64_t from = in->md.first_seq;
    for (uint64_t seq = from; seq < floor; seq++) {
        if (md_live(&in->md, seq) && !is_due(w, in, seq)) {
            return;
        }
    }
    struct md_event *e = sw_event(w, in, EV_FLOOR);
    e->floor = floor;
    e->sync = true;
    uint64_t *gone = base_malloc((size_t)(floor - from + 1) * sizeof *gone);
    size_t n = 0;
    for (uint64_t seq = from; seq < floor; seq++) {
        if (md_live(&in->md, seq)) {
            gone[n++] = seq;
        }
    }
    md_apply(&in->md, e);
    for (size_t i = 0; i < n; i++) {
        no_marker_owed(w, in, gone[i], gone, n);
    }
    base_free(gone);
}

static void expired_runs(struct world *w, struct sw_inst *in, const struct seq_runs *runs)
{
    uint64_t *seqs = base_malloc((size_t)seq_runs_count(runs) * sizeof *seqs);
    size_t n = 0;
    for (size_t i = 0; i < runs->n; i++) {
        for (uint64_t k = 0; k < runs->v[i].count; k++) {
            seqs[n++] = runs->v[i].first + k;
            if (!is_due(w, in, seqs[n - 1])) {
                base_free(seqs);
                return;
            }
        }
    }
    struct md_event *e = sw_event(w, in, EV_REMOVE);
    e->seqs = seqs;
    e->nseqs = n;
    e->sync = true;
    md_apply(&in->md, e);
    for (size_t i = 0; i < n; i++) {
        no_marker_owed(w, in, seqs[i], seqs, n);
    }
}

static void expired_to_marker(struct world *w, struct sw_inst *in, uint64_t seq)
{
    if (!is_due(w, in, seq)) {
        return;
    }
    struct md_msg *old = md_find(&in->md, seq);
    for (uint64_t q = in->md.first_seq; q <= in->md.last_seq; q++) {
        if (q != seq && md_live(&in->md, q) && md_find(&in->md, q)->subject == old->subject) {
            sw_fail(w, "stream i%u: a marker for %llu, but %llu is of the same subject", in->uid,
                    (unsigned long long)seq, (unsigned long long)q);
        }
    }
    if (old->marker) {
        sw_fail(w, "stream i%u: a marker for the marker %llu", in->uid, (unsigned long long)seq);
    }
    struct md_msg m = {.subject = old->subject,
                       .seq = in->md.last_seq + 1,
                       .ts_ns = in->h->last_ts_ns,
                       .ttl_s = (int32_t)(in->md.cfg.subject_delete_marker_ttl_ns / NS_PER_S),
                       .marker = true,
                       .live = true};
    m.size = md_size(&in->md, &m);
    struct md_event *e = sw_event(w, in, EV_APPEND);
    e->msg = m;
    e->rollup = 1;
    md_apply(&in->md, e);
}

static void on_expired(void *arg, struct store_stream *s, uint64_t floor,
                       const struct seq_runs *runs, uint64_t marked)
{
    struct world *w = arg;
    struct sw_inst *in = sw_inst_of(w, s);
    if (in == NULL || w->failed) {
        return;
    }
    if (marked != 0) {
        expired_to_marker(w, in, marked);
    } else if (runs != NULL) {
        expired_runs(w, in, runs);
    } else {
        expired_floor(w, in, floor);
    }
}

/* The lane works while a batch is being written: its records get into several groups. */
static void on_batch_part(void *arg)
{
    struct world *w = arg;
    for (uint64_t n = prng_mix(w->seed + w->published + sw_op(w)) % 4; n > 0; n--) {
        (void)env_sim_step_one(w->sim);
    }
}

void sw_watch(struct world *w)
{
    eng_of(w->store)->on_expired = on_expired;
    eng_of(w->store)->on_expired_arg = w;
    sw_watch_release(w);
    eng_of(w->store)->on_batch_part = w->seed % 2 == 0 ? on_batch_part : NULL;
}
