/* Consumers: life cycle, what the stream tells them, timers, release of what nobody wants. See
 * consumer_impl.h. */
#include "engine/consumer_impl.h"

#include "engine/base/log.h"
#include "engine/base/subject.h"
#include "engine/eng.h"

enum { RELEASE_STEP = 8192 }; /* messages looked at in one go for whether anybody wants them */

/* --- turn end and timer ----------------------------------------------------------------------- */

static void tell_gone(struct store_cons *c)
{
    for (size_t i = 0; i < c->ngone && c->attached && c->ev.deleted != NULL; i++) {
        const struct cons_gone *g = &c->gone[i];
        c->ev.deleted(c->ev.arg, c, g->sseq, g->cseq, g->dcount);
    }
    c->ngone = 0;
}

static void turn_end(void *arg)
{
    struct store_cons *c = arg;
    c->deferred = false;
    if (c->log_soon) {
        c->log_soon = false;
        cons_log(c);
    }
    tell_gone(c);
    bool tell = c->ready_soon && c->hungry && c->attached && c->ev.ready != NULL;
    c->ready_soon = false;
    if (tell) {
        c->hungry = false;
        c->ev.ready(c->ev.arg, c); /* may delete the consumer: nothing after this */
    }
}

static void defer(struct store_cons *c)
{
    if (!c->deferred) {
        c->deferred = true;
        eng_defer(c->s->eng, turn_end, c);
    }
}

/* A pending message is about to go without having been acknowledged. */
static void note_gone(struct store_cons *c, const struct cons_pend *e)
{
    if (c->s->quiet_removals || !c->attached || c->ev.deleted == NULL ||
        (e->flags & PEND_EXHAUSTED) != 0) {
        return;
    }
    if (c->ngone == c->gone_cap) {
        c->gone_cap = c->gone_cap == 0 ? 8 : c->gone_cap * 2;
        c->gone = base_realloc(c->gone, c->gone_cap * sizeof *c->gone);
    }
    c->gone[c->ngone++] = (struct cons_gone){e->sseq, e->cseq, e->dcount};
    defer(c);
}

void cons_log_soon(struct store_cons *c)
{
    if (c->running) {
        c->log_soon = true;
        defer(c);
    }
}

void cons_ready_soon(struct store_cons *c)
{
    if (c->running && c->attached && c->hungry) {
        c->ready_soon = true;
        defer(c);
    }
}

void cons_arm(struct store_cons *c)
{
    if (c->running) {
        eng_timer_set(c->timer, c->flush_at_ns < c->scan_at_ns ? c->flush_at_ns : c->scan_at_ns);
    }
}

static void timer_due(void *arg)
{
    struct store_cons *c = arg;
    int64_t now = eng_boot_ns(c->s->eng);
    if (c->flush_at_ns <= now) {
        cons_log(c);
    }
    if (c->scan_at_ns <= now) {
        cons_scan(c, now);
    }
    cons_arm(c);
}

/* --- life ------------------------------------------------------------------------------------- */

/* The first place whose consumer's name is not below. */
static size_t name_place(const struct store_stream *s, const char *name)
{
    size_t lo = 0, hi = s->ncons;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(s->cons[mid]->cfg.name, name) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct store_cons *cons_by_name(const struct store_stream *s, const char *name)
{
    size_t i = name_place(s, name);
    return i < s->ncons && strcmp(s->cons[i]->cfg.name, name) == 0 ? s->cons[i] : NULL;
}

struct store_cons *cons_after(const struct store_stream *s, const struct store_cons *c)
{
    size_t i = c != NULL ? name_place(s, c->cfg.name) + 1 : 0;
    return i < s->ncons ? s->cons[i] : NULL;
}

/* The first place whose consumer's sub is not below; new ones go to the end. */
static size_t sub_place(const struct store_stream *s, uint32_t sub)
{
    size_t lo = 0, hi = s->ncons;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->by_sub[mid]->sub < sub) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void put_at(struct store_cons **v, size_t n, size_t at, struct store_cons *c)
{
    memmove(v + at + 1, v + at, (n - at) * sizeof *v);
    v[at] = c;
}

static void take_at(struct store_cons **v, size_t n, size_t at, const struct store_cons *c)
{
    ASSERT(at < n && v[at] == c);
    memmove(v + at, v + at + 1, (n - at - 1) * sizeof *v);
}

static void link_cons(struct store_stream *s, struct store_cons *c)
{
    if (s->ncons == s->cons_cap) {
        s->cons_cap = s->cons_cap == 0 ? 4 : s->cons_cap * 2;
        s->cons = base_realloc(s->cons, s->cons_cap * sizeof *s->cons);
        s->by_sub = base_realloc(s->by_sub, s->cons_cap * sizeof *s->by_sub);
    }
    put_at(s->cons, s->ncons, name_place(s, c->cfg.name), c);
    put_at(s->by_sub, s->ncons, sub_place(s, c->sub), c);
    s->ncons++;
}

struct store_cons *cons_make(struct store_stream *s, uint32_t sub, const struct cons_cfg *cfg,
                             uint32_t cfg_version, int64_t created_ns, bool fresh)
{
    struct store_cons *c = base_calloc(1, sizeof *c);
    c->s = s;
    c->sub = sub;
    c->cfg_version = cfg_version;
    c->created_ns = created_ns;
    c->flush_at_ns = c->scan_at_ns = INT64_MAX;
    cons_cfg_copy(&c->cfg, cfg);
    cons_set_filters(c);
    c->odd = cfg_version > 1; /* perhaps */
    cons_index_add(c);
    c->timer = eng_timer_create(s->eng, timer_due, c);
    link_cons(s, c);
    if (fresh) {
        cons_position_fresh(c);
        if (!s->eng->replaying) { /* else records follow, and cons_recovered */
            c->running = true;
            cons_recount(c);
            cons_mark_position(c, false);
        }
    }
    return c;
}

bool cons_same_filters(const struct cons_cfg *a, const struct cons_cfg *b)
{
    bool same = a->nfilters == b->nfilters;
    for (size_t i = 0; i < a->nfilters && same; i++) {
        same = strcmp(a->filters[i], b->filters[i]) == 0;
    }
    return same;
}

void cons_set_cfg(struct store_cons *c, const struct cons_cfg *cfg, uint32_t cfg_version)
{
    struct cons_cfg copy;
    cons_cfg_copy(&copy, cfg);
    bool same = cons_same_filters(&c->cfg, &copy);
    cons_index_remove(c);
    struct cons_cfg before = c->cfg;
    c->cfg = copy;
    c->cfg_version = cfg_version;
    if (c->running) {
        cons_wait_changed(c, &before);
    }
    cons_cfg_fini(&before);
    cons_set_filters(c);
    c->odd = c->odd || !same;
    cons_index_add(c);
    if (!same) { /* what was passed over may match now */
        c->next_seq = c->delivered_sseq + 1;
        c->lps.n = c->lps_at = 0;
    }
    c->peeked.sseq = 0;
    if (c->running) {
        if (!same) {
            cons_recount(c);
        }
        cons_mark_position(c, false);
        cons_ready_soon(c);
    }
}

/* Acks that have not been logged are, unless the stream goes as a whole. */
static void settle_debts(struct store_cons *c)
{
    struct eng *e = c->s->eng;
    if (!c->running || e->shut) {
        return;
    }
    if (!c->s->dropped && (c->consumed.n > 0 || c->nwaiters > 0)) {
        cons_log(c);
    }
    for (size_t i = 0; i < c->nwaiters; i++) {
        eng_wait(e, 0, c->waiter[i].fn, c->waiter[i].arg, ST_NOTFOUND, 0);
    }
}

void cons_free(struct store_cons *c)
{
    struct store_stream *s = c->s;
    settle_debts(c);
    c->running = false;
    eng_timer_destroy(c->timer);
    eng_undefer(s->eng, c);
    if (c->reading) {
        stream_read_cancel(s, cons_read_done, c);
    }
    take_at(s->cons, s->ncons, name_place(s, c->cfg.name), c);
    take_at(s->by_sub, s->ncons, sub_place(s, c->sub), c);
    s->ncons--;
    cons_index_remove(c);
    pends_fini(&c->pend);
    seqs_fini(&c->lps);
    seqs_fini(&c->queue);
    seqs_fini(&c->ahead);
    seqs_fini(&c->dirty);
    seqs_fini(&c->acked);
    seqs_fini(&c->consumed);
    base_free(c->waiter);
    base_free(c->gone);
    base_free(c->filters);
    base_free(c->wild);
    cons_cfg_fini(&c->cfg);
    base_free(c);
}

struct store_cons *cons_by_sub(struct store_stream *s, uint32_t sub)
{
    size_t i = sub_place(s, sub);
    return i < s->ncons && s->by_sub[i]->sub == sub ? s->by_sub[i] : NULL;
}

uint32_t cons_sub(const struct store_cons *c)
{
    return c->sub;
}
uint32_t cons_cfg_version(const struct store_cons *c)
{
    return c->cfg_version;
}
int64_t cons_created_ns(const struct store_cons *c)
{
    return c->created_ns;
}

/* A position that nothing was delivered from says nothing about sequences of the stream. */
uint64_t cons_max_seq(const struct store_cons *c)
{
    return c->delivered_cseq > 0 ? c->delivered_sseq : 0;
}

/* --- recovery --------------------------------------------------------------------------------- */

/* Deadlines were read as store time; what is not live any more is done with. */
static void load_pending(struct store_cons *c)
{
    int64_t now = eng_now_ns(c->s->eng), boot = eng_boot_ns(c->s->eng);
    struct cons_seqs gone = {0};
    c->nack = c->nredelivered = 0;
    for (struct cons_pend *e = pends_begin(&c->pend); e != pends_end(&c->pend); e++) {
        if (e->dcount == 0) {
            continue;
        }
        c->nack += (e->flags & PEND_EXHAUSTED) == 0;
        c->nredelivered += e->dcount > 1;
        if (e->deadline_ns != INT64_MAX) {
            e->deadline_ns = e->deadline_ns <= now ? boot : i64_add_sat(boot, e->deadline_ns - now);
        }
        if (!liveset_is_live(c->s->live, e->sseq) || e->sseq > c->delivered_sseq) {
            seqs_push(&gone, e->sseq);
        }
    }
    for (size_t i = 0; i < gone.n; i++) {
        cons_settle(c, pends_find(&c->pend, gone.v[i]));
    }
    if (gone.n > 0) {
        cons_mark_position(c, false);
    }
    seqs_fini(&gone);
}

void cons_recovered(struct store_cons *c)
{
    struct store_stream *s = c->s;
    c->running = true;
    if (!cons_logs_state(c) || !c->positioned) {
        pends_fini(&c->pend);
        cons_position_fresh(c);
        cons_mark_position(c, false);
    }
    if (c->delivered_cseq == 0 && c->cfg.deliver != DELIVER_BY_START_SEQ && !c->placed &&
        c->delivered_sseq > s->last_seq) {
        c->delivered_sseq = c->floor_sseq =
            s->last_seq; /* the stream lost messages that nobody was told of */
        c->next_seq = s->last_seq + 1;
    }
    load_pending(c);
    cons_recount(c);
    cons_scan(c, eng_boot_ns(s->eng));
    cons_arm(c);
}

/* --- what the stream tells -------------------------------------------------------------------- */

void cons_on_visible(struct store_cons *c, uint64_t from_seq, uint64_t to_seq)
{
    if (!c->running || to_seq <= c->counted_to) {
        return;
    }
    const struct store_stream *s = c->s;
    uint64_t counted = u64_max(c->counted_to, from_seq), n = 0;
    if (c->npending == 0 && c->lps_resume <= counted) {
        c->next_seq = u64_max(c->next_seq, counted + 1); /* nothing to walk through there */
    }
    uint64_t lo = u64_max(counted + 1, c->next_seq);
    c->counted_to = to_seq;
    if (lo > to_seq) {
        return; /* it starts behind all that */
    }
    if (c->nfilters == 0 && lo > c->lps_resume) {
        n = liveset_rank(s->live, lo, to_seq + 1);
    } else if (c->nfilters == 1 && !c->wild[0] &&
               lo > c->lps_resume) { /* many consumers of one subject each */
        const struct sidx_entry *e = sidx_find(s->idx, c->filters[0].s, c->filters[0].len);
        n = e == NULL || sidx_last(e) < lo ? 0
                                           : sidx_rank_from(e, lo) - sidx_rank_from(e, to_seq + 1);
    } else {
        for (uint64_t seq = liveset_next(s->live, lo); seq != 0 && seq <= to_seq;
             seq = liveset_next(s->live, seq + 1)) {
            n += cons_wants_new(c, seq, stream_entry(s, seq));
        }
    }
    c->npending += n;
    if (n > 0) {
        cons_ready_soon(c);
    }
}

void cons_on_remove(struct store_cons *c, uint64_t seq, const struct sidx_entry *entry)
{
    if (!c->running) {
        return;
    }
    if (c->peeked.sseq == seq) {
        c->peeked.sseq = 0;
    }
    if (seq >= c->next_seq) {
        if (cons_wants_new(c, seq, entry)) {
            ASSERT(c->npending > 0 || seq > c->counted_to);
            c->npending -= seq <= c->counted_to;
            if (seq <= c->lps_resume) {
                cons_lps_replace(c, seq, entry);
            }
        }
        return;
    }
    struct cons_pend *e = pends_find(&c->pend, seq);
    if (e != NULL) {
        note_gone(c, e);
        cons_settle(c, e);
        cons_mark_position(c, false);
        cons_ready_soon(c); /* room below max_ack_pending */
    }
}

/* Message by message, cons_on_remove has seen to it; but when everything goes, it goes without
 * telling. */
void cons_on_floor(struct store_cons *c, uint64_t first_seq)
{
    (void)first_seq;
    if (!c->running || c->s->msgs > 0 || (c->pend.n == 0 && c->npending == 0)) {
        return;
    }
    struct cons_pend *e;
    if (c->pend.n > 0) {
        c->floor_ts_ns = eng_now_ns(c->s->eng); /* shown as if it had been acknowledged */
    }
    while ((e = pends_begin(&c->pend)) != NULL) {
        note_gone(c, e);
        cons_settle(c, e);
    }
    c->peeked.sseq = 0;
    cons_recount(c);
    cons_mark_position(c, false);
    cons_ready_soon(c);
}

void cons_on_purged(struct store_cons *c, uint64_t first_seq)
{
    bool settled = c->pend.n == 0 && c->npending == 0 && c->floor_sseq == c->delivered_sseq &&
                   c->floor_cseq == c->delivered_cseq;
    if (!c->running || (settled && c->delivered_sseq + 1 >= first_seq)) {
        return;
    }
    struct cons_pend *e = pends_begin(&c->pend);
    if (e != NULL && e->sseq < first_seq) {
        c->floor_ts_ns = eng_now_ns(c->s->eng); /* shown as if it had been acknowledged */
    }
    while ((e = pends_begin(&c->pend)) != NULL && e->sseq < first_seq) {
        c->floor_cseq = u64_max(c->floor_cseq, e->cseq);
        c->nack -= (e->flags & PEND_EXHAUSTED) == 0;
        c->nredelivered -= e->dcount > 1;
        if ((e->flags & PEND_LOGGED) != 0) {
            seqs_push(&c->acked, e->sseq);
        }
        pends_drop(&c->pend, e);
    }
    c->delivered_sseq = u64_max(c->delivered_sseq, first_seq - 1);
    c->next_seq = u64_max(c->next_seq, c->delivered_sseq + 1);
    c->floor_sseq = u64_max(c->floor_sseq, first_seq - 1);
    if (c->nack == 0) {
        c->floor_cseq = c->delivered_cseq;
        c->floor_sseq = c->delivered_sseq;
    }
    c->peeked.sseq = 0;
    cons_recount(c);
    cons_mark_position(c, false);
    cons_ready_soon(c);
}

/* Nothing of what it wants is left below the first message that the filter still matches, or, where
 * it wants more than was purged, below the stream's first. */
void cons_on_purged_subject(struct store_cons *c, const char *filter, size_t len)
{
    const struct store_stream *s = c->s;
    bool within = c->nfilters > 0, touched = c->nfilters == 0;
    for (size_t i = 0; i < c->nfilters; i++) {
        const struct sidx_filter *f = &c->filters[i];
        within = within && subject_subset(f->s, f->len, filter, len);
        touched = touched || subject_overlap(f->s, f->len, filter, len);
    }
    uint64_t left = within ? sidx_next_match(s->idx, filter, len, 1) : s->first_seq;
    if (touched) {
        cons_on_purged(c, left != 0 ? left : s->last_seq + 1);
    }
}

/* --- interest --------------------------------------------------------------------------------- */

bool cons_wants(const struct store_cons *c, uint64_t seq, const struct sidx_entry *entry)
{
    if (seq >= c->next_seq) {
        return cons_wants_new(c, seq, entry);
    }
    const struct cons_pend *e = pends_find(&c->pend, seq);
    return e != NULL &&
           ((e->flags & PEND_EXHAUSTED) == 0 || c->s->cfg.retention == RETENTION_WORKQUEUE);
}

static bool wanted(const struct store_stream *s, uint64_t seq)
{
    return cons_any_wants(s, seq, stream_entry(s, seq));
}

static bool settled(const struct store_stream *s, uint64_t seq)
{
    const struct sidx_entry *entry = stream_entry(s, seq);
    bool had = false;
    for (size_t i = 0; i < s->ncons; i++) {
        if (cons_wants(s->cons[i], seq, entry)) {
            return false;
        }
        had = had || (seq < s->cons[i]->next_seq && cons_matches(s->cons[i], entry));
    }
    return had;
}

uint64_t cons_next_settled(const struct store_stream *s, uint64_t from)
{
    uint64_t end = 0;
    for (size_t i = 0; i < s->ncons; i++) {
        end = u64_max(end, s->cons[i]->next_seq);
    }
    uint64_t seq = liveset_next(s->live, from);
    while (seq != 0 && seq < end && !settled(s, seq)) {
        seq = liveset_next(s->live, seq + 1);
    }
    return seq < end ? seq : 0;
}

/* A consumer without filter wants all that it has not looked at: nothing goes from there on. */
static uint64_t release_end(const struct store_stream *s)
{
    uint64_t end = s->last_seq + 1;
    for (size_t i = 0; i < s->ncons; i++) {
        const struct store_cons *c = s->cons[i];
        if (c->nfilters == 0 && c->lps_resume == 0) {
            end = u64_min(end, c->next_seq);
        }
    }
    return end;
}

static void released(struct store_stream *s, uint64_t from, uint64_t upto, uint64_t floor,
                     const struct seq_runs *runs)
{
    struct eng *e = s->eng;
    if (e->on_released != NULL) {
        e->on_released(e->on_expired_arg, s, from, upto, floor, runs, s->release_at == 0);
    }
}

/* Looks at RELEASE_STEP messages from release_at on. */
static enum st release_step(struct store_stream *s)
{
    struct seq_runs runs = {0};
    uint64_t end = release_end(s), from = u64_max(s->release_at, s->first_seq);
    uint64_t seq = liveset_next(s->live, from);
    unsigned looked = 0, step = s->eng->release_step != 0 ? s->eng->release_step : RELEASE_STEP;
    for (; seq != 0 && seq < end && looked < step; looked++) {
        if (!wanted(s, seq)) {
            seq_runs_add(&runs, seq);
        }
        seq = liveset_next(s->live, seq + 1);
    }
    enum st st = runs.n > 0 ? stream_remove_logged(s, &runs, REASON_NOINTEREST, 0) : ST_OK;
    if (st == ST_OK) {
        s->release_at = seq != 0 && seq < end ? seq : 0;
        released(s, from, s->release_at != 0 ? s->release_at : end, 0, &runs);
    }
    seq_runs_fini(&runs);
    return st;
}

static void release_go_on(struct store_stream *s);

static void release_due(void *arg)
{
    struct store_stream *s = arg;
    if (s->release_at == 0 || s->dropped || s->eng->poisoned != ST_OK) {
        return;
    }
    if (s->eng->hold_expiry) {
        eng_timer_set(s->release, eng_boot_ns(s->eng) + NS_PER_S);
        return;
    }
    release_go_on(s);
}

static void release_later(struct store_stream *s, int64_t ns)
{
    if (s->release == NULL) {
        s->release = eng_timer_create(s->eng, release_due, s);
    }
    eng_timer_set(s->release, eng_boot_ns(s->eng) + ns);
}

/* All of it: nobody is left who could want anything. */
static enum st release_all(struct store_stream *s)
{
    uint64_t floor = s->last_seq + 1;
    enum st st = stream_floor_logged(s, floor, REASON_NOINTEREST, 0);
    if (st == ST_OK) {
        s->release_at = 0;
        released(s, 0, 0, floor, NULL);
    }
    return st;
}

/* The end of it is a record too, a floor that moves nothing: a start that replays what began it (a
 * consumer that went, wants less, or was reset) and not this goes on with it. */
static void release_go_on(struct store_stream *s)
{
    bool all = s->ncons == 0;
    enum st st = all ? release_all(s) : release_step(s);
    if (st == ST_OK) {
        s->removal_ticket = s->ticket;
    }
    if (st == ST_OK && s->release_at == 0 && !all) {
        st = stream_floor_logged(s, s->first_seq, REASON_NOINTEREST, 0);
        s->release_at = st == ST_OK ? 0 : s->last_seq + 1; /* nothing more but this record */
    }
    if (st != ST_OK) {
        log_wrn("could not remove messages without interest from stream \"%s\": %s; trying again",
                s->cfg.name, st_text(st));
    }
    if (s->release_at != 0) {
        release_later(s, st == ST_OK ? NS_PER_MS : NS_PER_S);
    }
}

void cons_release_unwanted(struct store_stream *s)
{
    if (s->cfg.retention != RETENTION_INTEREST || s->msgs == 0) {
        return;
    }
    s->release_at = s->first_seq;
    release_go_on(s);
}

void cons_release_resume(struct store_stream *s)
{
    if (!s->release_owed || s->cfg.retention != RETENTION_INTEREST || s->memory) {
        s->release_owed = false;
        return;
    }
    if (s->ndamage > 0) { /* who wanted what may be among what was lost */
        log_wrn("stream \"%s\" is damaged: messages that nobody may want stay", s->cfg.name);
        return;
    }
    s->release_owed = false;
    if (s->msgs > 0) {
        s->release_at = s->first_seq;
        release_later(s, 0);
    }
}
