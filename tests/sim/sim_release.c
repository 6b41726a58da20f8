/* Interest streams: what nobody wants any more once a consumer went. The engine looks for it in
 * steps and tells each; what it takes must be unwanted, what it leaves must be wanted, and a crash
 * between two steps must not end it. */
#include "engine/consumer_impl.h"
#include "engine/eng.h"
#include "tests/sim/sim_world.h"

#include <stdio.h>

static struct md_event *last_drop(struct sw_inst *in, size_t upto)
{
    for (size_t i = upto; i-- > 0;) {
        if (in->ev[i].kind == EV_CDROP) {
            return &in->ev[i];
        }
    }
    return NULL;
}

static void note_done(struct sw_inst *in)
{
    for (size_t i = in->nev; i-- > 0;) {
        if (in->ev[i].kind == EV_CDROP && in->ev[i].released_at == SIZE_MAX) {
            in->ev[i].released_at = in->nev;
        }
    }
}

static void released_all(struct world *w, struct sw_inst *in, uint64_t floor)
{
    if (in->md.ncons > 0) {
        sw_fail(w, "stream i%u: all is removed, but it has consumers", in->uid);
        return;
    }
    struct md_event *e = sw_event(w, in, EV_FLOOR);
    e->floor = floor;
    md_apply(&in->md, e);
}

static void released_some(struct world *w, struct sw_inst *in, uint64_t from, uint64_t upto,
                          const struct seq_runs *runs)
{
    int64_t boot = eng_boot_ns(in->h->eng);
    uint64_t *seqs = base_malloc((size_t)(seq_runs_count(runs) + 1) * sizeof *seqs);
    size_t n = 0;
    for (uint64_t seq = from; seq < upto && seq <= in->md.last_seq && !w->failed; seq++) {
        const struct md_msg *m = md_find(&in->md, seq);
        bool gone = seq_runs_has(runs, seq);
        if (gone && (m == NULL || !m->live || md_wanted(&in->md, m, boot))) {
            sw_fail(w, "stream i%u: message %llu is removed, but somebody wants it", in->uid,
                    (unsigned long long)seq);
        } else if (!gone && m != NULL && m->live && !md_wanted(&in->md, m, 0)) {
            sw_fail(w, "stream i%u: message %llu stays, but nobody wants it", in->uid,
                    (unsigned long long)seq);
        }
        if (gone) {
            seqs[n++] = seq;
        }
    }
    if (n == 0 || w->failed) {
        base_free(seqs);
        return;
    }
    struct md_event *e = sw_event(w, in, EV_REMOVE);
    e->seqs = seqs;
    e->nseqs = n;
    md_apply(&in->md, e);
}

static void on_released(void *arg, struct store_stream *s, uint64_t from, uint64_t upto,
                        uint64_t floor, const struct seq_runs *runs, bool done)
{
    struct world *w = arg;
    struct sw_inst *in = sw_inst_of(w, s);
    if (in == NULL || w->failed) {
        return;
    }
    if (floor != 0) {
        released_all(w, in, floor);
    } else {
        released_some(w, in, from, upto, runs);
    }
    if (done) {
        note_done(in);
    }
}

void sw_watch_release(struct world *w)
{
    struct eng *e = eng_of(w->store);
    e->on_released = on_released;
    e->release_step = w->seed % 3 == 0 ? 0 : 1 + (unsigned)(w->seed % 7);
}

void sw_released_by(struct world *w, struct sw_inst *in, size_t drop)
{
    uint64_t *seqs, floor;
    if (in->h->release_at != 0 || w->failed) {
        return; /* more steps follow */
    }
    size_t n = md_unwanted(&in->md, &floor, &seqs);
    if ((n > 0 || floor != 0) && !sw_excused(w) && in->h->eng->poisoned == ST_OK) {
        sw_fail(w, "stream i%u: nobody wants %zu messages (from %llu, floor %llu), and they stay",
                in->uid, n, (unsigned long long)(n > 0 ? seqs[0] : 0), (unsigned long long)floor);
    }
    base_free(seqs);
    if (drop != SIZE_MAX) {
        note_done(in);
    }
}

/* --- after a crash ---------------------------------------------------------------------------- */

static bool has_taker(const struct store_stream *h, const struct md_msg *m)
{
    for (size_t i = 0; i < h->ncons; i++) {
        const struct store_cons *c = h->cons[i];
        struct md_cons probe = {.cfg = c->cfg};
        if (m->seq >= c->next_seq ? md_matches(&probe, m->subject)
                                  : pends_find(&c->pend, m->seq) != NULL) {
            return true;
        }
    }
    return false;
}

/* True when the crash fell between the drop of a consumer and the end of the look, and the stream
 * was not dropped itself (another may have its name). */
static bool is_owed(struct sw_inst *in)
{
    if (in->match > 0 && in->ev[in->match - 1].kind == EV_DROP) {
        return false;
    }
    const struct md_event *drop = last_drop(in, in->match);
    return drop != NULL && drop->released_at > in->match;
}

static void check_stream(struct world *w, struct sw_inst *in, struct store_stream *h)
{
    struct md_stream md;
    md_init(&md);
    md.replay = true;
    for (size_t k = 0; k < in->match; k++) {
        md_apply(&md, &in->ev[k]);
    }
    for (uint64_t seq = md.first_seq; seq <= md.last_seq && !w->failed; seq++) {
        if (md_live(&md, seq) && liveset_is_live(h->live, seq) &&
            !has_taker(h, md_find(&md, seq))) {
            sw_fail(w, "stream i%u: message %llu, which nobody wants, stays after the crash",
                    in->uid, (unsigned long long)seq);
        }
    }
    md_fini(&md);
}

bool sw_check_release(struct world *w, struct env_sim *sim, struct store *store)
{
    struct eng *e = eng_of(store);
    bool run = true;
    e->release_step = 3;
    for (int i = 0; i < 3000 && run; i++) {
        run = false;
        for (size_t k = 0; k < e->nstreams; k++) {
            run = run || e->by_name[k]->release_at != 0;
        }
        if (run && !env_sim_step_one(sim)) {
            env_sim_advance(sim, NS_PER_MS);
            (void)store->ops->timers(store);
        }
        store->ops->poll(store);
        store->ops->turn(store);
    }
    for (size_t i = 0; i < w->ninst && !run && !w->failed; i++) {
        struct sw_inst *in = w->inst[i];
        char name[16];
        if (in->match == SIZE_MAX || in->memory || in->md.cfg.retention != RETENTION_INTEREST ||
            in->base == SIZE_MAX || !is_owed(in)) {
            continue;
        }
        snprintf(name, sizeof name, "S%u", in->slot);
        struct store_stream *h = store->ops->stream_find(store, "$G", name);
        if (h != NULL) {
            w->releases_owed++;
            check_stream(w, in, h);
        }
    }
    return !w->failed;
}

bool sw_draw_interest(const struct world *w, struct stream_cfg *cfg)
{
    if (cfg->retention != RETENTION_LIMITS || prng_mix(w->seed * 131 + w->steps) % 4 != 0) {
        return false;
    }
    cfg->retention = RETENTION_INTEREST;
    return true;
}
