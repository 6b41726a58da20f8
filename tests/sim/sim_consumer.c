/* Consumers of the simulated world: made, changed, reset, deleted; what they fetch and acknowledge,
 * beside the model. */
#include "tests/sim/sim_call.h"

#include <stdio.h>

#include "engine/eng.h"

static void on_cons(void *arg, enum st st, struct store_cons *h, const struct err *err)
{
    struct sw_call *c = arg;
    (void)h;
    if (st == ST_OK) {
        sw_ack_event(c->w, c->in, c->ev);
    } else if (!sw_excused(c->w)) {
        sw_fail(c->w, "consumer of i%u: %s (%s)", c->in->uid, err != NULL ? err->msg : "",
                st_text(st));
    }
    sw_call_free(c);
}

/* Work queue, interest: acks take effect on the stream when the delta is written, as the turn ends.
 */
static void flush_consumed(struct world *w, struct sw_inst *in, struct md_cons *c)
{
    if (c->nconsumed == 0) {
        return;
    }
    uint64_t *seqs;
    size_t n = md_take_consumed(&in->md, c, &seqs);
    if (n == 0) {
        base_free(seqs);
        return;
    }
    struct md_event *e = sw_event(w, in, EV_REMOVE);
    e->seqs = seqs;
    e->nseqs = n;
    e->cons_uid = c->uid;
    md_apply(&in->md, e);
}

void sw_flush_all_consumed(struct world *w)
{
    for (size_t i = 0; i < w->ninst; i++) {
        struct sw_inst *in = w->inst[i];
        for (size_t k = 0; in->h != NULL && k < in->md.ncons; k++) {
            flush_consumed(w, in, in->md.cons[k]);
        }
    }
}

static void set_filters(struct world *w, struct cons_cfg *cfg)
{
    static const char *const filters[] = {"a.0", "a.*", ">", "b.>", "c", "*.1"};
    cfg->nfilters = prng_below(&w->rnd, 2) == 0 ? 0 : 1 + prng_below(&w->rnd, 2);
    cfg->filters = cfg->nfilters > 0 ? base_calloc(cfg->nfilters, sizeof(char *)) : NULL;
    size_t from = prng_below(&w->rnd, 5);
    for (size_t i = 0; i < cfg->nfilters; i++) {
        cfg->filters[i] = base_strdup(filters[cfg->nfilters == 2 ? i * 3 : from]);
    }
}

void sw_cons_create(struct world *w, struct sw_inst *in)
{
    struct prng *r = &w->rnd;
    char name[16];
    snprintf(name, sizeof name, "C%u", (unsigned)prng_below(r, 3));
    if (md_cons_by_name(&in->md, name) != NULL) {
        return;
    }
    struct cons_cfg *cfg = base_calloc(1, sizeof *cfg);
    cons_cfg_init(cfg);
    cfg->name = base_strdup(name);
    cfg->durable = true;
    cfg->ack = prng_below(r, 5) == 0 ? ACK_NONE : prng_below(r, 3) == 0 ? ACK_ALL : ACK_EXPLICIT;
    cfg->deliver = prng_below(r, 2) == 0 ? DELIVER_ALL : (enum cons_deliver)prng_below(r, 6);
    if (cfg->deliver == DELIVER_BY_START_TIME || in->md.cfg.retention != RETENTION_LIMITS) {
        cfg->deliver = DELIVER_ALL;
    }
    cfg->opt_start_seq = in->md.first_seq + prng_below(r, in->md.last_seq + 3 - in->md.first_seq);
    cfg->ack_wait_ns = cfg->ack == ACK_NONE ? 0 : (int64_t)(1 + prng_below(r, 20)) * NS_PER_S + 137;
    cfg->max_deliver = prng_below(r, 3) == 0 ? (int64_t)(1 + prng_below(r, 3)) : -1;
    cfg->max_ack_pending = prng_below(r, 3) == 0 ? (int64_t)(1 + prng_below(r, 10)) : -1;
    if (cfg->ack != ACK_NONE && prng_below(r, 5) == 0) {
        cfg->nbackoff = 2;
        cfg->backoff_ns = base_calloc(2, sizeof *cfg->backoff_ns);
        cfg->backoff_ns[0] = NS_PER_S + 139;
        cfg->backoff_ns[1] = 5 * NS_PER_S + 139;
    }
    set_filters(w, cfg);
    cfg->sourcing =
        in->md.cfg.retention == RETENTION_WORKQUEUE && prng_mix(w->seed * 97 + w->steps) % 3 == 0;
    if (in->md.cfg.retention == RETENTION_INTEREST && cfg->nfilters == 0 &&
        prng_mix(w->seed * 95 + w->steps) % 2 == 0) { /* others leave something that it wants not */
        cfg->nfilters = 1;
        cfg->filters = base_calloc(1, sizeof(char *));
        cfg->filters[0] = base_strdup(w->steps % 2 == 0 ? "c" : "b.>");
    }
    if (in->ncons == in->cons_cap) {
        in->cons_cap = in->cons_cap == 0 ? 4 : in->cons_cap * 2;
        in->cons = base_realloc(in->cons, in->cons_cap * sizeof *in->cons);
    }
    struct sw_cons *sc = &in->cons[in->ncons++];
    *sc = (struct sw_cons){.uid = w->next_uid++, .loose = cfg->deliver == DELIVER_LAST_PER_SUBJECT};
    char text[32];
    snprintf(text, sizeof text, "c%u v0", sc->uid);
    cfg->description = base_strdup(text);
    struct sw_call *c = sw_call_make(w, in, CALL_EVENT);
    c->ev = in->nev;
    c->cons = in->ncons - 1;
    w->store->ops->cons_create(in->h, cfg, on_cons, c);
    sc->h = w->store->ops->cons_find(in->h, name);
    struct md_event *e = sw_event(w, in, EV_CCREATE);
    e->cons_uid = sc->uid;
    e->ccfg = cfg;
    e->sync = true;
    md_apply(&in->md, e);
    struct md_cons *mc = md_cons(&in->md, sc->uid);
    sc->start_sseq = mc->next_seq;
    if (sc->h == NULL && !sw_excused(w)) {
        sw_fail(w, "consumer c%u was not made", sc->uid);
    }
}

static struct sw_cons *random_cons(struct world *w, struct sw_inst *in)
{
    size_t have = 0;
    for (size_t i = 0; i < in->ncons; i++) {
        have += in->cons[i].h != NULL;
    }
    size_t pick = have > 0 ? prng_below(&w->rnd, have) : 0;
    for (size_t i = 0; i < in->ncons; i++) {
        if (in->cons[i].h != NULL && pick-- == 0) {
            return &in->cons[i];
        }
    }
    return NULL;
}

void sw_cons_update(struct world *w, struct sw_inst *in)
{
    struct sw_cons *sc = random_cons(w, in);
    if (sc == NULL) {
        return;
    }
    struct cons_cfg *cfg = base_calloc(1, sizeof *cfg);
    cons_cfg_copy(cfg, w->store->ops->cons_cfg(sc->h));
    char text[48];
    snprintf(text, sizeof text, "c%u v%u", sc->uid, (unsigned)prng_below(&w->rnd, 1000000));
    base_free(cfg->description);
    cfg->description = base_strdup(text);
    if (in->md.cfg.retention == RETENTION_LIMITS && cfg->deliver != DELIVER_LAST_PER_SUBJECT &&
        prng_below(&w->rnd, 2) == 0) {
        for (size_t i = 0; i < cfg->nfilters; i++) {
            base_free(cfg->filters[i]);
        }
        base_free(cfg->filters);
        set_filters(w, cfg);
        sc->loose = true;
    }
    struct sw_call *c = sw_call_make(w, in, CALL_EVENT);
    c->ev = in->nev;
    w->store->ops->cons_update(sc->h, cfg, on_cons, c);
    struct md_event *e = sw_event(w, in, EV_CUPDATE);
    e->cons_uid = sc->uid;
    e->ccfg = cfg;
    e->sync = true;
    md_apply(&in->md, e);
    flush_consumed(w, in, md_cons(&in->md, sc->uid));
}

void sw_cons_delete(struct world *w, struct sw_inst *in)
{
    struct sw_cons *sc = random_cons(w, in);
    if (sc == NULL) {
        return;
    }
    struct md_cons *mc = md_cons(&in->md, sc->uid);
    struct sw_call *c = sw_call_make(w, in, CALL_EVENT);
    c->ev = in->nev;
    c->value = SW_NEVER;
    struct store_cons *h = sc->h;
    sc->h = NULL;
    /* DROP, then what it still had to remove, then what nobody wants any more. */
    struct md_event *e = sw_event(w, in, EV_CDROP);
    e->cons_uid = sc->uid;
    e->sync = true;
    uint64_t *seqs;
    size_t n = md_take_consumed(&in->md, mc, &seqs);
    if (n > 0) {
        struct md_event *rm = sw_event(w, in, EV_REMOVE);
        rm->seqs = seqs;
        rm->nseqs = n;
        rm->cons_uid = sc->uid;
        md_apply(&in->md, rm);
    } else {
        base_free(seqs);
    }
    md_apply(&in->md, &in->ev[c->ev]);
    size_t drop = c->ev;
    in->ev[drop].released_at = SIZE_MAX;
    w->store->ops->cons_delete(h, sw_on_done, c);
    sw_released_by(w, in, drop);
}

void sw_cons_reset(struct world *w, struct sw_inst *in)
{
    struct sw_cons *sc = random_cons(w, in);
    if (sc == NULL) {
        return;
    }
    struct md_cons *mc = md_cons(&in->md, sc->uid);
    uint64_t seq = prng_below(&w->rnd, 3) == 0 ? 0 : prng_below(&w->rnd, in->md.last_seq + 5);
    struct sw_call *c = sw_call_make(w, in, CALL_PLAIN);
    c->want = ST_OK;
    flush_consumed(w, in, mc);
    md_reset(mc, seq);
    for (size_t i = 0; i < sc->nacks; i++) {
        sc->acks[i].sseq = UINT64_MAX; /* they promise nothing any more */
        sc->acks[i].all = false;
    }
    sc->loose = true;
    w->store->ops->cons_reset(sc->h, seq, sw_on_done, c);
    sw_released_by(w, in, SIZE_MAX);
}

static void rung(void *arg)
{
    *(bool *)arg = true;
}

enum st sw_read(struct env_sim *sim, struct store *store, struct store_stream *s, uint64_t seq,
                struct msg *m)
{
    bool again = true;
    for (int i = 0; i < 1000; i++) {
        if (again) {
            again = false;
            enum stream_read r = stream_read(s, seq, true, m, rung, &again);
            if (r != STREAM_READ_PENDING) {
                return r == STREAM_READ_OK     ? ST_OK
                       : r == STREAM_READ_GONE ? ST_NOTFOUND
                                               : ST_CORRUPT;
            }
        }
        env_sim_step_one(sim);
        store->ops->poll(store);
    }
    stream_read_cancel(s, rung, &again);
    eng_undefer(s->eng, &again);
    return ST_AGAIN;
}

/* I2: what a durable stream delivers was acknowledged to its publisher, or could have been. */
static bool is_durable(struct world *w, struct sw_inst *in, uint64_t seq)
{
    for (size_t i = in->nev; in->durability == DURABILITY_DURABLE && i-- > in->base;) {
        bool batch =
            in->ev[i].kind == EV_BATCH && in->ev[i].batch[0].seq <= seq && seq <= in->ev[i].msg.seq;
        if (batch || (in->ev[i].kind == EV_APPEND && in->ev[i].msg.seq == seq)) {
            if (in->ev[i].msg.marker) {
                sw_ack_event(w, in, i); /* nobody else is told of it: what is delivered must stay */
            }
            return in->ev[i].acked_op != SW_NEVER;
        }
    }
    return true;
}

static void one_delivery(struct world *w, struct sw_inst *in, struct sw_cons *sc,
                         struct md_cons *mc, const struct cons_peek *p)
{
    char why[200];
    struct md_msg *m = md_find(&in->md, p->m.seq);
    struct md_pend *pend = md_pend(mc, p->m.seq);
    bool again = p->dcount > 1;
    if (m == NULL || !m->live) {
        sw_fail(w, "i%u c%u: message %llu is delivered, but was removed", in->uid, sc->uid,
                (unsigned long long)p->m.seq);
    } else if (!sw_same_msg(m, &p->m, why, sizeof why)) {
        sw_fail(w, "i%u c%u: delivery: %s", in->uid, sc->uid, why);
    } else if (!is_durable(w, in, p->m.seq) && !sw_excused(w)) {
        sw_fail(w, "i%u c%u: message %llu is delivered before it is durable", in->uid, sc->uid,
                (unsigned long long)p->m.seq);
    } else if (p->cseq != mc->delivered_cseq + 1) {
        sw_fail(w, "i%u c%u: consumer sequence %llu after %llu", in->uid, sc->uid,
                (unsigned long long)p->cseq, (unsigned long long)mc->delivered_cseq);
    } else if (again &&
               (pend == NULL || !pend->due || pend->exhausted || pend->dcount + 1 != p->dcount)) {
        sw_fail(w, "i%u c%u: redelivery %llu of %llu is not due (pending %d due %d count %u)",
                in->uid, sc->uid, (unsigned long long)p->dcount, (unsigned long long)p->m.seq,
                pend != NULL, pend != NULL && pend->due, pend != NULL ? pend->dcount : 0);
    } else if (!again && p->m.seq != md_next(&in->md, mc)) {
        sw_fail(w, "i%u c%u: message %llu is delivered, the model says %llu", in->uid, sc->uid,
                (unsigned long long)p->m.seq, (unsigned long long)md_next(&in->md, mc));
    }
    if (!w->failed) {
        w->store->ops->cons_take(sc->h);
        md_take(&in->md, mc, p->m.seq, again, env_boot_ns(env_sim_env(w->sim)));
        sc->delivered_max = u64_max(sc->delivered_max, mc->delivered_cseq);
    }
}

/* Nothing came: was nothing to come? Only what is durable may be delivered, so it is asked when all
 * is answered. */
static void check_nothing(struct world *w, struct sw_inst *in, struct sw_cons *sc,
                          struct md_cons *mc, enum st st)
{
    bool full = mc->cfg.ack != ACK_NONE && mc->cfg.max_ack_pending > 0 &&
                md_nack(mc) >= (uint64_t)mc->cfg.max_ack_pending;
    if (w->outstanding > 0 || w->failed || sw_excused(w)) {
        return;
    }
    for (size_t i = 0; i < mc->npend; i++) {
        if (mc->pend[i].due) {
            sw_fail(w, "i%u c%u: message %llu is due again and not delivered", in->uid, sc->uid,
                    (unsigned long long)mc->pend[i].sseq);
            return;
        }
    }
    if (full != (st == ST_FULL)) {
        sw_fail(w, "i%u c%u: peek says %s, %llu are pending", in->uid, sc->uid, st_text(st),
                (unsigned long long)md_nack(mc));
    } else if (!full && md_next(&in->md, mc) != 0) {
        sw_fail(
            w,
            "i%u (durability %d) c%u: message %llu is not delivered: visible %llu, model last %llu",
            in->uid, (int)in->durability, sc->uid, (unsigned long long)md_next(&in->md, mc),
            (unsigned long long)in->h->visible_seq, (unsigned long long)in->md.last_seq);
    }
}

/* A marker is written by the engine itself: nobody waits for it, so it may be on its way to the
 * disk when all calls are answered. It must come within the tries of sw_fetch. */
static bool marker_on_its_way(struct sw_inst *in, struct md_cons *mc)
{
    uint64_t next = md_next(&in->md, mc);
    return next > in->h->visible_seq && md_find(&in->md, next)->marker;
}

void sw_fetch(struct world *w, struct sw_inst *in)
{
    struct sw_cons *sc = random_cons(w, in);
    if (sc == NULL) {
        return;
    }
    struct md_cons *mc = md_cons(&in->md, sc->uid);
    for (uint64_t n = 1 + prng_below(&w->rnd, 8), tries = 0; n > 0 && tries < 300 && !w->failed;
         tries++) {
        struct cons_peek p;
        enum st st = w->store->ops->cons_peek(sc->h, &p);
        if (st == ST_OK) {
            one_delivery(w, in, sc, mc, &p);
            n--;
        } else if (st == ST_AGAIN || (tries < 299 && marker_on_its_way(in, mc))) {
            sw_run(w, 5); /* removals may come in between */
        } else {
            check_nothing(w, in, sc, mc, st);
            break;
        }
    }
}

void sw_ack_some(struct world *w, struct sw_inst *in)
{
    struct prng *r = &w->rnd;
    struct sw_cons *sc = random_cons(w, in);
    if (sc == NULL) {
        return;
    }
    struct md_cons *mc = md_cons(&in->md, sc->uid);
    for (uint64_t n = 1 + prng_below(r, 5); n > 0 && !w->failed; n--) {
        enum cons_ack_kind kind =
            prng_below(r, 4) != 0 ? CONS_ACK : (enum cons_ack_kind)prng_below(r, 4);
        uint64_t sseq = mc->npend > 0
                            ? mc->pend[prng_below(r, prng_below(r, 2) == 0 ? 1 : mc->npend)].sseq
                            : prng_below(r, mc->delivered_sseq + 2);
        struct md_pend *p = md_pend(mc, sseq);
        uint64_t cseq = p != NULL ? p->cseq : 0;
        int64_t delay =
            kind == CONS_NAK && prng_below(r, 2) == 0 ? (int64_t)prng_below(r, 5) * NS_PER_S : 0;
        bool confirm = prng_below(r, 2) == 0;
        struct sw_call *c = NULL;
        enum st st = md_ack(&in->md, mc, kind, sseq, cseq, delay, env_boot_ns(env_sim_env(w->sim)));
        if (st == ST_OK && (kind == CONS_ACK || kind == CONS_TERM)) {
            if (sc->nacks == sc->acks_cap) {
                sc->acks_cap = sc->acks_cap == 0 ? 16 : sc->acks_cap * 2;
                sc->acks = base_realloc(sc->acks, sc->acks_cap * sizeof *sc->acks);
            }
            sc->acks[sc->nacks++] = (struct sw_ack){sseq, mc->cfg.ack == ACK_ALL, SW_NEVER};
        }
        if (confirm) {
            bool counts = st == ST_OK && (kind == CONS_ACK || kind == CONS_TERM);
            c = sw_call_make(w, in, counts ? CALL_ACK : CALL_PLAIN);
            c->want = st;
            c->cons = (size_t)(sc - in->cons);
            c->ack = sc->nacks - 1;
        }
        w->store->ops->cons_ack(sc->h, kind, sseq, cseq, delay, confirm ? sw_on_done : NULL, c);
    }
    sw_flush_all_consumed(w);
    w->store->ops->turn(w->store);
}
