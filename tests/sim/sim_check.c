/* The recovered store against the model (I1-I3, I8-I11, I14, I15, I18, I19 of engine/RULES.md).
 *
 * One lane writes the records of all streams in one order, so what survives is a prefix of all
 * events. Each stream is matched with a prefix of its own history that reaches at least to the last
 * promise; then one cut through the common order must fit them all. */
#include "tests/sim/sim_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/compact.h"
#include "engine/consumer_impl.h"
#include "engine/eng.h"
#include "engine/extent.h"

struct fit {
    uint64_t gmin, gmax; /* the cut lies in [gmin, gmax): events with gidx < cut were recovered */
};

static bool is_config(enum md_kind k)
{
    return k == EV_CREATE || k == EV_UPDATE || k == EV_DROP || k == EV_CCREATE || k == EV_CUPDATE ||
           k == EV_CDROP;
}

/* Was it promised that this event survives such an end? */
static bool promised(const struct sw_inst *in, const struct md_event *e, const struct sw_cut *cut)
{
    if (e->acked_op > cut->op && !cut->clean) {
        return false;
    }
    if (is_config(e->kind)) {
        return true;
    }
    switch (in->durability) {
    case DURABILITY_DURABLE:
        return true;
    case DURABILITY_RELAXED:
        return e->sync || !cut->power || cut->clean;
    case DURABILITY_ASYNC:
        return cut->clean;
    default:
        return false;
    }
}

static size_t submitted(const struct sw_inst *in, const struct sw_cut *cut)
{
    size_t n = in->nev;
    while (n > 0 && in->ev[n - 1].submit_op > cut->op) {
        n--;
    }
    return n;
}

/* Events that must be there: what was promised, and what stands before a promise of any stream. */
static uint64_t horizon(const struct world *w, const struct sw_cut *cut)
{
    uint64_t h = 0;
    for (size_t i = 0; i < w->ninst; i++) {
        const struct sw_inst *in = w->inst[i];
        for (size_t k = in->nev; k-- > in->base;) {
            if (promised(in, &in->ev[k], cut)) {
                h = u64_max(h, in->ev[k].gidx + 1);
                break;
            }
        }
    }
    return h;
}

static uint32_t uid_of(const char *description, char kind)
{
    return description != NULL && description[0] == kind
               ? (uint32_t)strtoul(description + 1, NULL, 10)
               : 0;
}

static bool same_config(const struct sw_inst *in, const struct md_stream *md,
                        struct store_stream *h)
{
    if (strcmp(md->cfg.description, h->cfg.description) != 0 || md->ncons != h->ncons) {
        return false;
    }
    for (size_t i = 0; i < h->ncons; i++) {
        if (strcmp(md->cons[i]->cfg.name, h->cons[i]->cfg.name) != 0 ||
            strcmp(md->cons[i]->cfg.description, h->cons[i]->cfg.description) != 0) {
            return false;
        }
    }
    return md->cfg.max_msgs == h->cfg.max_msgs && md->cfg.max_bytes == h->cfg.max_bytes &&
           md->cfg.retention == h->cfg.retention && (int)in->memory == (int)h->memory;
}

static bool same_state(const struct sw_inst *in, struct md_stream *md, struct store_stream *h)
{
    if (!same_config(in, md, h)) {
        return false;
    }
    return in->memory || (md->last_seq == h->last_seq && md->first_seq == h->first_seq &&
                          md->msgs == h->msgs && md->bytes == h->bytes);
}

/* --- one stream in depth ---------------------------------------------------------------------- */

static bool check_messages(struct world *w, struct env_sim *sim, struct store *store,
                           struct sw_inst *in, struct md_stream *md, struct store_stream *h)
{
    char why[200];
    int64_t last_ts = 0;
    for (uint64_t seq = md->first_seq; seq <= md->last_seq; seq++) {
        struct md_msg *want = md_find(md, seq);
        bool live = want != NULL && want->live;
        struct msg m;
        if (live != liveset_is_live(h->live, seq)) {
            sw_fail(w, "stream i%u: message %llu is %s", in->uid, (unsigned long long)seq,
                    live ? "lost" : "back again");
            return false;
        }
        if (!live) {
            continue;
        }
        enum st st = sw_read(sim, store, h, seq, &m);
        if (st != ST_OK) {
            sw_fail(w, "stream i%u: message %llu cannot be read: %s", in->uid,
                    (unsigned long long)seq, st_text(st));
            return false;
        }
        if (!sw_same_msg(want, &m, why, sizeof why)) {
            sw_fail(w, "stream i%u after recovery: %s", in->uid, why);
            return false;
        }
        if (m.ts_ns < last_ts) {
            sw_fail(w, "stream i%u: time decreases at %llu", in->uid, (unsigned long long)seq);
        }
        last_ts = m.ts_ns;
    }
    (void)sw_check_schedules(w, in, md, h);
    struct stream_state st;
    store->ops->stream_state(h, &st);
    if (st.nsubjects != md_nsubjects(md) || st.ndeleted != md_ndeleted(md)) {
        sw_fail(w, "stream i%u: %llu subjects and %llu deleted, the model says %llu and %llu",
                in->uid, (unsigned long long)st.nsubjects, (unsigned long long)st.ndeleted,
                (unsigned long long)md_nsubjects(md), (unsigned long long)md_ndeleted(md));
    }
    for (uint32_t i = 0; i < MD_SUBJECTS; i++) {
        const struct sidx_entry *e = sidx_find(h->idx, md_subject(i), strlen(md_subject(i)));
        uint64_t last = e != NULL ? sidx_last(e) : 0;
        if (last != md_last_of(md, i)) {
            sw_fail(w, "stream i%u: last of %s is %llu, the model says %llu", in->uid,
                    md_subject(i), (unsigned long long)last, (unsigned long long)md_last_of(md, i));
        }
    }
    return !w->failed;
}

struct dedup_arg {
    struct world *w;
    struct sw_inst *in;
    uint64_t last_seq;
};

static bool id_known(void *arg, struct hash128 id, uint64_t seq, int64_t ts_ns)
{
    struct dedup_arg *a = arg;
    (void)id;
    (void)ts_ns;
    if (seq > a->last_seq) {
        sw_fail(a->w,
                "stream i%u: the duplicate window knows sequence %llu, which was never stored",
                a->in->uid, (unsigned long long)seq);
        return false;
    }
    return true;
}

static void check_dedup(struct world *w, struct sw_inst *in, struct md_stream *md,
                        struct store_stream *h, int64_t now)
{
    struct dedup_arg a = {w, in, md->last_seq};
    dedup_each(h->dedup, id_known, &a);
    for (size_t i = 0; i < md->ndedup; i++) {
        const struct md_dedup *d = &md->dedup[i];
        bool newer = false;
        for (size_t k = i + 1; k < md->ndedup; k++) {
            newer = newer || md->dedup[k].id == d->id;
        }
        char id[16];
        uint64_t seq = 0;
        size_t len = (size_t)snprintf(id, sizeof id, "id-%u", d->id);
        if (newer || md->cfg.duplicates_ns <= 0 || d->ts_ns <= now - md->cfg.duplicates_ns) {
            continue;
        }
        if (!dedup_find(h->dedup, hash128(h->id_seed, id, len), &seq) || seq != d->seq) {
            sw_fail(w, "stream i%u: id %s of sequence %llu is not in the duplicate window", in->uid,
                    id, (unsigned long long)d->seq);
            return;
        }
    }
}

/* --- consumers -------------------------------------------------------------------------------- */

static const struct sw_ack *find_ack(const struct sw_cons *sc, uint64_t sseq)
{
    const struct sw_ack *found = NULL;
    for (size_t i = 0; i < sc->nacks; i++) {
        if ((sc->acks[i].all ? sseq <= sc->acks[i].sseq : sseq == sc->acks[i].sseq) &&
            (found == NULL || sc->acks[i].confirmed_op < found->confirmed_op)) {
            found = &sc->acks[i];
        }
    }
    return found;
}

static void check_cons(struct world *w, struct sw_inst *in, struct sw_cons *sc,
                       struct md_stream *md, struct store_cons *c, const struct sw_cut *cut)
{
    if (in->memory) {
        return;
    }
    if (c->floor_sseq > c->delivered_sseq || c->floor_cseq > c->delivered_cseq ||
        c->delivered_cseq > sc->delivered_max) {
        sw_fail(w, "i%u c%u: delivered %llu/%llu floor %llu/%llu, at most %llu were delivered",
                in->uid, sc->uid, (unsigned long long)c->delivered_cseq,
                (unsigned long long)c->delivered_sseq, (unsigned long long)c->floor_cseq,
                (unsigned long long)c->floor_sseq, (unsigned long long)sc->delivered_max);
        return;
    }
    for (uint64_t seq = md->first_seq; seq <= md->last_seq; seq++) {
        if (!md_live(md, seq)) {
            continue;
        }
        const struct sw_ack *a = find_ack(sc, seq);
        const struct cons_pend *p = pends_find(&c->pend, seq);
        bool confirmed = a != NULL && a->confirmed_op <= cut->op;
        if (confirmed && (p != NULL || seq >= c->next_seq) && c->cfg.ack != ACK_NONE &&
            promised(in, &in->ev[0], cut) && in->durability != DURABILITY_ASYNC) {
            sw_fail(
                w, "i%u c%u: ack of %llu was confirmed, but it will be delivered again (next %llu)",
                in->uid, sc->uid, (unsigned long long)seq, (unsigned long long)c->next_seq);
            return;
        }
        struct md_cons probe = {.cfg = c->cfg};
        if (!sc->loose && c->cfg.ack != ACK_NONE && seq >= sc->start_sseq && seq < c->next_seq &&
            p == NULL && a == NULL && md_matches(&probe, md_find(md, seq)->subject)) {
            sw_fail(
                w,
                "i%u c%u: message %llu was passed over: not acknowledged, not pending (next %llu)",
                in->uid, sc->uid, (unsigned long long)seq, (unsigned long long)c->next_seq);
            return;
        }
    }
    struct cons_state st;
    cons_op_state(c, &st);
    uint64_t n = 0;
    struct md_cons probe = {.cfg = c->cfg};
    for (size_t i = 0; i < md->n; i++) {
        n += md->m[i].live && md->m[i].seq >= c->next_seq && md_matches(&probe, md->m[i].subject);
    }
    if (c->lps_resume == 0 && n != st.num_pending) {
        sw_fail(w, "i%u c%u: num_pending %llu, counted %llu (next %llu)", in->uid, sc->uid,
                (unsigned long long)st.num_pending, (unsigned long long)n,
                (unsigned long long)c->next_seq);
    }
    struct md_cons *mc = cut->clean ? md_cons(&in->md, sc->uid) : NULL;
    if (mc != NULL) {
        md_scan(mc, eng_boot_ns(c->s->eng)); /* recovery looks at the deadlines */
    }
    if (mc != NULL && (mc->delivered_cseq != st.delivered_cseq ||
                       mc->delivered_sseq != st.delivered_sseq || mc->floor_cseq != st.floor_cseq ||
                       mc->floor_sseq != st.floor_sseq || md_nack(mc) != st.num_ack_pending)) {
        sw_fail(w,
                "i%u c%u: after a clean stop delivered %llu/%llu floor %llu/%llu pending %llu, "
                "before it %llu/%llu %llu/%llu %llu",
                in->uid, sc->uid, (unsigned long long)st.delivered_cseq,
                (unsigned long long)st.delivered_sseq, (unsigned long long)st.floor_cseq,
                (unsigned long long)st.floor_sseq, (unsigned long long)st.num_ack_pending,
                (unsigned long long)mc->delivered_cseq, (unsigned long long)mc->delivered_sseq,
                (unsigned long long)mc->floor_cseq, (unsigned long long)mc->floor_sseq,
                (unsigned long long)md_nack(mc));
    }
}

static struct sw_cons *cons_of(struct sw_inst *in, struct store_cons *c)
{
    uint32_t uid = uid_of(c->cfg.description, 'c');
    for (size_t i = 0; i < in->ncons; i++) {
        if (in->cons[i].uid == uid) {
            return &in->cons[i];
        }
    }
    return NULL;
}

/* --- matching --------------------------------------------------------------------------------- */

/* Finds the prefixes that fit; looks at the first one in depth. */
static bool match_stream(struct world *w, struct env_sim *sim, struct store *store,
                         struct sw_inst *in, struct store_stream *h, uint64_t h_min,
                         const struct sw_cut *cut, struct fit *fit)
{
    size_t hi = submitted(in, cut), lo = in->base, kmin = SIZE_MAX;
    struct md_stream md;
    while (lo < hi && in->ev[lo].gidx < h_min) {
        lo++;
    }
    lo = lo == 0 ? 1 : lo;
    md_init(&md);
    md.replay = true;
    for (size_t k = 0; k < lo; k++) {
        md_apply(&md, &in->ev[k]);
    }
    uint64_t lo_last = md.last_seq, lo_msgs = md.msgs;
    for (size_t k = lo; k <= hi && !w->failed; k++) {
        if (k > lo) {
            if (in->ev[k - 1].kind == EV_DROP) {
                break;
            }
            md_apply(&md, &in->ev[k - 1]);
        }
        if (same_state(in, &md, h)) {
            if (kmin == SIZE_MAX) {
                kmin = k;
                if (!in->memory && check_messages(w, sim, store, in, &md, h)) {
                    check_dedup(w, in, &md, h, env_real_ns(env_sim_env(sim)));
                    for (size_t i = 0; i < h->ncons; i++) {
                        struct sw_cons *sc = cons_of(in, h->cons[i]);
                        if (sc == NULL) {
                            sw_fail(w, "stream i%u: unknown consumer %s", in->uid,
                                    h->cons[i]->cfg.name);
                        } else {
                            check_cons(w, in, sc, &md, h->cons[i], cut);
                        }
                    }
                }
            }
            in->match =
                k; /* not always in one run: a consumer that is made and dropped leaves no trace */
        }
    }
    if (kmin == SIZE_MAX && !w->failed) {
        sw_fail(w,
                "stream i%u (%s, durability %d): first %llu last %llu msgs %llu bytes %llu \"%s\" "
                "cons %zu is no prefix of its "
                "history; %zu..%zu of %zu events, from last %llu msgs %llu to first %llu last %llu "
                "msgs %llu bytes %llu \"%s\" cons %zu",
                in->uid, in->memory ? "memory" : "file", (int)in->durability,
                (unsigned long long)h->first_seq, (unsigned long long)h->last_seq,
                (unsigned long long)h->msgs, (unsigned long long)h->bytes, h->cfg.description,
                h->ncons, lo, hi, in->nev, (unsigned long long)lo_last, (unsigned long long)lo_msgs,
                (unsigned long long)md.first_seq, (unsigned long long)md.last_seq,
                (unsigned long long)md.msgs, (unsigned long long)md.bytes, md.cfg.description,
                md.ncons);
    }
    uint64_t issued = in->seq_max;
    for (size_t k = 0; k < hi && in->memory; k++) {
        bool append = in->ev[k].kind == EV_APPEND || in->ev[k].kind == EV_BATCH;
        issued = append ? u64_max(issued, in->ev[k].msg.seq) : issued; /* batch: the last one's */
    }
    if (in->memory && h->last_seq < issued) {
        sw_fail(w, "memory stream i%u: sequence %llu was issued and will be again after %llu",
                in->uid, (unsigned long long)issued, (unsigned long long)h->last_seq);
    }
    md_fini(&md);
    if (!w->failed) {
        fit->gmin = in->ev[kmin - 1].gidx + 1;
        fit->gmax = in->match < hi ? in->ev[in->match].gidx + 1 : UINT64_MAX;
    }
    return !w->failed;
}

/* Not there: never made, or dropped. */
static bool match_missing(struct world *w, struct sw_inst *in, uint64_t h_min,
                          const struct sw_cut *cut, struct fit *fit)
{
    size_t hi = submitted(in, cut);
    bool dropped = hi > 0 && in->ev[hi - 1].kind == EV_DROP;
    bool unborn = in->base == 0 && (hi == 0 || in->ev[0].gidx >= h_min);
    *fit = (struct fit){0, UINT64_MAX};
    if (!dropped && !unborn) {
        sw_fail(w, "stream i%u is missing", in->uid);
        return false;
    }
    in->match = dropped && !unborn ? hi : SIZE_MAX;
    if (dropped && !unborn) {
        fit->gmin = in->ev[hi - 1].gidx + 1;
    } else if (unborn && !dropped && hi > 0) {
        fit->gmax = in->ev[0].gidx + 1;
    }
    return true;
}

static void on_incident(void *arg, const char *account, const char *stream, const char *text)
{
    (void)account;
    sw_fail(arg, "damage is reported after a mere crash: %s: %s", stream != NULL ? stream : "-",
            text);
}

struct files {
    struct world *w;
    struct eng *e;
};

/* I9: every segment file belongs to a row, or the journal refers to it; quarantine is empty. */
static void on_file(void *arg, const char *path, uint64_t size)
{
    struct files *f = arg;
    unsigned gid = 0, gen = 0;
    unsigned long long segno = 0;
    const char *p = strstr(path, "/millrace/");
    (void)size;
    if (p == NULL) {
        return;
    }
    p += 10;
    if (strncmp(p, "quarantine/", 11) == 0) {
        sw_fail(f->w, "file in quarantine after a mere crash: %s", path);
    } else if (strncmp(p, "s/", 2) == 0 &&
               sscanf(p + 2, "%8x/%llu.%u.seg", &gid, &segno, &gen) == 3) {
        struct store_stream *s = eng_stream_by_gid(f->e, gid);
        bool known = s != NULL && (s->dropped || (s->extents != NULL && gen == 0 &&
                                                  extents_refers_to(s->extents, segno)));
        for (size_t i = 0; s != NULL && s->segs != NULL && i < s->segs->n; i++) {
            known = known || (s->segs->v[i]->row.segno == segno && s->segs->v[i]->row.gen == gen);
        }
        if (!known) {
            sw_fail(f->w, "segment file that nobody knows: %s (stream %s)", path,
                    s != NULL ? "there" : "gone");
        }
    }
}

static void dump(const struct world *w)
{
    for (size_t i = 0; i < w->ninst; i++) {
        const struct sw_inst *in = w->inst[i];
        fprintf(stderr, "stream i%u slot %u durability %d base %zu match %zu\n", in->uid, in->slot,
                (int)in->durability, in->base, in->match);
        for (size_t k = 0; k < in->nev; k++) {
            const struct md_event *e = &in->ev[k];
            fprintf(stderr,
                    "  event %zu kind %d gidx %llu submitted %lld acked %lld seq %llu floor %llu "
                    "nseqs %zu sync %d cons %u\n",
                    k, (int)e->kind, (unsigned long long)e->gidx, (long long)e->submit_op,
                    (long long)e->acked_op, (unsigned long long)e->msg.seq,
                    (unsigned long long)e->floor, e->nseqs, e->sync, e->cons_uid);
        }
    }
}

static bool check(struct world *w, struct env_sim *sim, struct store *store, struct sw_cut cut)
{
    uint64_t h_min = horizon(w, &cut), gmin = 0, gmax = UINT64_MAX;
    struct sw_inst *by_min = NULL, *by_max = NULL;
    if (w->failed) {
        return false;
    }
    eng_incidents(store, on_incident, w);
    for (size_t i = 0; i < w->ninst && !w->failed; i++) {
        struct sw_inst *in = w->inst[i];
        char name[16];
        struct fit fit = {0};
        if (in->base == SIZE_MAX || submitted(in, &cut) == 0) {
            in->match = SIZE_MAX;
            continue;
        }
        snprintf(name, sizeof name, "S%u", in->slot);
        struct store_stream *h = store->ops->stream_find(store, "$G", name);
        if (h != NULL && uid_of(h->cfg.description, 'i') == in->uid) {
            match_stream(w, sim, store, in, h, h_min, &cut, &fit);
        } else {
            match_missing(w, in, h_min, &cut, &fit);
        }
        if (w->failed) {
            return false;
        }
        if (fit.gmin > gmin) {
            gmin = fit.gmin;
            by_min = in;
        }
        if (fit.gmax < gmax) {
            gmax = fit.gmax;
            by_max = in;
        }
    }
    if (gmin >= gmax && !w->failed) {
        sw_fail(w,
                "streams i%u (durability %d) and i%u (%d) were recovered as of different moments: "
                "%llu and before %llu",
                by_min->uid, (int)by_min->durability, by_max->uid, (int)by_max->durability,
                (unsigned long long)gmin, (unsigned long long)gmax);
    }
    for (struct store_stream *h = store->ops->stream_next(store, NULL, NULL);
         h != NULL && !w->failed; h = store->ops->stream_next(store, NULL, h)) {
        bool known = false;
        for (size_t i = 0; i < w->ninst; i++) {
            known = known || (w->inst[i]->uid == uid_of(h->cfg.description, 'i') &&
                              w->inst[i]->match != SIZE_MAX);
        }
        if (!known) {
            sw_fail(w, "stream \"%s\" (%s) is there and should not be", h->cfg.name,
                    h->cfg.description);
        }
    }
    return !w->failed;
}

bool sw_check(struct world *w, struct env_sim *sim, struct store *store, struct sw_cut cut)
{
    bool ok = check(w, sim, store, cut);
    if (!ok && getenv("SIM_DUMP") != NULL) {
        dump(w);
    }
    return ok;
}

bool sw_check_kept(struct world *w, struct env_sim *sim, struct store *store, struct sw_cut cut)
{
    for (size_t i = 0; i < w->ninst && !w->failed; i++) {
        struct sw_inst *in = w->inst[i];
        char name[16], why[200];
        if (in->dropped || in->memory || in->nev == 0 || !promised(in, &in->ev[0], &cut)) {
            continue;
        }
        snprintf(name, sizeof name, "S%u", in->slot);
        struct store_stream *h = store->ops->stream_find(store, "$G", name);
        if (h == NULL || uid_of(h->cfg.description, 'i') != in->uid) {
            sw_fail(w, "stream i%u is missing", in->uid);
            return false;
        }
        for (size_t k = 0; k < in->nev && !w->failed; k++) {
            const struct md_event *e = &in->ev[k];
            struct msg m;
            if (e->kind != EV_APPEND || !promised(in, e, &cut) || !md_live(&in->md, e->msg.seq) ||
                in->md.cfg.max_age_ns > 0) {
                continue;
            }
            enum st st = sw_read(sim, store, h, e->msg.seq, &m);
            if (st != ST_OK) {
                sw_fail(w, "stream i%u: acknowledged message %llu: %s", in->uid,
                        (unsigned long long)e->msg.seq, st_text(st));
            } else if (!sw_same_msg(&e->msg, &m, why, sizeof why)) {
                sw_fail(w, "stream i%u: %s", in->uid, why);
            }
        }
    }
    return !w->failed;
}

/* Segment files after the recovered store had time to tidy up. */
bool sw_check_files(struct world *w, struct env_sim *sim, struct store *store)
{
    struct files f = {w, eng_of(store)};
    if (!ckpt_idle(f.e) || atomic_load(&f.e->compact->phase) != COMPACT_IDLE ||
        segs_reap(f.e->segs) > 0) {
        return true;
    }
    env_sim_each_file(sim, on_file, &f);
    return !w->failed;
}

/* --- going on --------------------------------------------------------------------------------- */

static void adopt_cons(struct md_cons *mc, struct store_cons *c)
{
    mc->delivered_cseq = c->delivered_cseq;
    mc->delivered_sseq = c->delivered_sseq;
    mc->floor_cseq = c->floor_cseq;
    mc->floor_sseq = c->floor_sseq;
    mc->next_seq = c->next_seq;
    mc->lps_resume = c->lps_resume;
    mc->npend = 0;
    mc->nconsumed = 0;
    for (struct cons_pend *e = pends_begin(&c->pend); e != pends_end(&c->pend); e++) {
        if (e->dcount == 0) {
            continue;
        }
        if (mc->npend == mc->pend_cap) {
            mc->pend_cap = mc->pend_cap == 0 ? 16 : mc->pend_cap * 2;
            mc->pend = base_realloc(mc->pend, mc->pend_cap * sizeof *mc->pend);
        }
        mc->pend[mc->npend++] = (struct md_pend){.sseq = e->sseq,
                                                 .cseq = e->cseq,
                                                 .deadline_ns = e->deadline_ns,
                                                 .dcount = e->dcount,
                                                 .exhausted = (e->flags & PEND_EXHAUSTED) != 0,
                                                 .due = (e->flags & PEND_QUEUED) != 0};
    }
}

static void adopt_inst(struct world *w, struct sw_inst *in)
{
    char name[16];
    size_t keep = in->match == SIZE_MAX ? 0 : in->match, n = 0;
    for (size_t i = 0; i < in->nev; i++) {
        if (i >= keep || (in->memory && !is_config(in->ev[i].kind))) {
            md_event_fini(&in->ev[i]);
        } else {
            in->ev[n] = in->ev[i];
            in->ev[n].submit_op = in->ev[n].acked_op = 0;
            in->ev[n].released_at = in->ev[n].released_at > keep ? SIZE_MAX : in->ev[n].released_at;
            n++;
        }
    }
    in->nev = in->base = n;
    in->dropped = n == 0 || in->ev[n - 1].kind == EV_DROP;
    md_fini(&in->md);
    md_init(&in->md);
    in->md.replay = true;
    for (size_t i = 0; i < n; i++) {
        md_apply(&in->md, &in->ev[i]);
    }
    in->md.replay = false;
    if (in->dropped) {
        in->base = SIZE_MAX;
        return;
    }
    snprintf(name, sizeof name, "S%u", in->slot);
    in->h = w->store->ops->stream_find(w->store, "$G", name);
    ASSERT(in->h != NULL);
    if (in->memory) {
        in->seq_max = in->md.last_seq = in->h->last_seq;
        in->md.first_seq = in->h->last_seq + 1;
        in->md.ndedup = 0;
        in->md.last_ts_ns = in->h->last_ts_ns;
    }
    for (size_t i = 0; i < in->h->ncons; i++) {
        struct sw_cons *sc = cons_of(in, in->h->cons[i]);
        ASSERT(sc != NULL);
        sc->h = in->h->cons[i];
        adopt_cons(md_cons(&in->md, sc->uid), sc->h);
        sc->delivered_max = sc->h->delivered_cseq;
        if (in->memory) {
            sc->nacks = 0;
            sc->start_sseq = sc->h->next_seq;
        }
    }
}

void sw_adopt(struct world *w, struct sw_cut cut)
{
    (void)cut;
    sw_watch(w);
    for (size_t i = 0; i < w->ninst; i++) {
        struct sw_inst *in = w->inst[i];
        if (in->base == SIZE_MAX) {
            continue; /* dropped in an earlier life */
        }
        adopt_inst(w, in);
    }
}
