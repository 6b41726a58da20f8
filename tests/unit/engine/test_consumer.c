/* Consumers against a brute-force model, over a stand-in stream: random publishes, pulls, acks,
 * naks, deletes, purges, clock steps, updates, restarts. The stand-in keeps the records it was
 * given and replays them after a "crash". */
#include "engine/snapshot.h"
#include "tests/unit/engine/consumer_model.h"

/* ---- comparing ------------------------------------------------------------------------------- */

static int step_no;
static uint64_t step_r;

static void compare(void)
{
    for (size_t i = 0; i < CONS; i++) {
        struct mcons *m = &model[i];
        if (!m->there) {
            continue;
        }
        struct store_cons *c = real_of(m);
        assert_non_null(c);
        struct cons_state st;
        cons_op_state(c, &st);
        if (st.delivered_sseq != m->delivered_sseq || st.num_pending != m_npending(m) ||
            st.floor_sseq != m->floor_sseq || st.floor_cseq != m->floor_cseq) {
            print_message("step %d r %llu: %s delivered %llu floor %llu stream %llu..%llu msgs "
                          "%llu next %llu/%llu lps %llu/%llu deliver %d ack %d floor %llu/%llu\n",
                          step_no, (unsigned long long)step_r, m->name,
                          (unsigned long long)st.delivered_sseq, (unsigned long long)st.floor_sseq,
                          (unsigned long long)s->first_seq, (unsigned long long)s->last_seq,
                          (unsigned long long)s->msgs, (unsigned long long)c->next_seq,
                          (unsigned long long)m->next, (unsigned long long)c->lps_resume,
                          (unsigned long long)m->lps_resume, (int)m->cfg.deliver, (int)m->cfg.ack,
                          (unsigned long long)st.floor_cseq, (unsigned long long)m->floor_cseq);
        }
        assert_int_equal(st.delivered_cseq, m->delivered_cseq);
        assert_int_equal(st.delivered_sseq, m->delivered_sseq);
        assert_int_equal(st.num_pending, m_npending(m));
        assert_int_equal(st.num_ack_pending, m_count(m, false));
        assert_int_equal(st.num_redelivered, m_count(m, true));
        assert_int_equal(st.floor_cseq, m->floor_cseq);
        assert_int_equal(st.floor_sseq, m->floor_sseq);
        assert_true(st.floor_sseq <= st.delivered_sseq && st.floor_cseq <= st.delivered_cseq);
    }
}

/* ---- operations ------------------------------------------------------------------------------ */

static void publish(void)
{
    if (s->last_seq + 2 >= SEQS) {
        return;
    }
    uint64_t seq = s->last_seq + 1;
    subj_of[seq] = (uint8_t)rnd(ARRAY_LEN(subjects));
    bool wanted = s->cfg.retention != RETENTION_INTEREST;
    for (size_t i = 0; i < CONS; i++) {
        wanted = wanted || (model[i].there && m_matches(&model[i], seq));
    }
    struct logged *l = log_add(LOG_APPEND);
    l->seq = seq;
    l->subj = subj_of[seq];
    apply_append(seq, subj_of[seq]);
    if (!wanted) {
        struct seq_runs r = {0};
        seq_runs_add(&r, seq);
        assert_int_equal(stream_remove_logged(s, &r, REASON_NOINTEREST, 0), ST_OK);
        seq_runs_fini(&r);
    }
}

static void make_visible(void)
{
    durable = nlogs; /* nothing is delivered that is not */
    uint64_t from = s->visible_seq;
    s->visible_seq = s->last_seq;
    for (size_t i = 0; i < s->ncons && s->visible_seq > from; i++) {
        cons_on_visible(s->cons[i], from, s->visible_seq);
    }
}

static const char *const filter_sets[][3] = {{0},   {"a.1"},      {"a.*"}, {"a.1", "b.>"},
                                             {">"}, {"c", "b.1"}, {"none"}};

static void set_filters(struct cons_cfg *cfg)
{
    const char *const *f = filter_sets[rnd(ARRAY_LEN(filter_sets))];
    for (size_t i = 0; i < cfg->nfilters; i++) {
        base_free(cfg->filters[i]);
    }
    base_free(cfg->filters);
    cfg->nfilters = f[0] == NULL ? 0 : f[1] == NULL ? 1 : 2;
    cfg->filters = base_calloc(2, sizeof *cfg->filters);
    for (size_t i = 0; i < cfg->nfilters; i++) {
        cfg->filters[i] = base_strdup(f[i]);
    }
}

static void create(struct mcons *m)
{
    static uint32_t next_sub = 1;
    char name[8];
    snprintf(name, sizeof name, "c%u", (unsigned)(m - model));
    memset(m, 0, sizeof *m);
    strcpy(m->name, name);
    cons_cfg_init(&m->cfg);
    m->cfg.name = base_strdup(name);
    m->cfg.ack =
        s->cfg.retention == RETENTION_WORKQUEUE ? ACK_EXPLICIT : (enum cons_ack_policy)rnd(3);
    m->cfg.deliver =
        s->cfg.retention == RETENTION_WORKQUEUE ? DELIVER_ALL : (enum cons_deliver)rnd(6);
    m->cfg.opt_start_seq = rnd(s->last_seq + 3);
    m->cfg.opt_start_time_ns = (int64_t)rnd(s->last_seq + 3) + 1;
    m->cfg.ack_wait_ns = 1000000 * (int64_t)(1 + rnd(1000));
    m->cfg.max_deliver = rnd(2) == 0 ? -1 : (int64_t)(1 + rnd(4));
    m->cfg.max_ack_pending = rnd(2) == 0 ? -1 : (int64_t)(1 + rnd(20));
    if (rnd(3) == 0) {
        m->cfg.nbackoff = 1 + rnd(3);
        m->cfg.backoff_ns = base_calloc(m->cfg.nbackoff, 8);
        for (size_t i = 0; i < m->cfg.nbackoff; i++) {
            m->cfg.backoff_ns[i] = 1000000 * (int64_t)(1 + rnd(2000));
        }
    }
    if (s->cfg.retention != RETENTION_WORKQUEUE) {
        set_filters(&m->cfg);
    }
    m->there = true;
    struct logged *l = log_add(LOG_MAKE);
    l->sub = next_sub;
    cons_cfg_copy(&l->cfg, &m->cfg);
    m_position(m);
    struct store_cons *c = cons_make(s, next_sub++, &m->cfg, 1, wall_ns, true);
    cons_flush(c);
    durable = nlogs;
}

static void expect_released(void)
{
    for (uint64_t seq = s->first_seq; seq <= s->last_seq; seq++) {
        bool want = false;
        for (size_t i = 0; i < CONS; i++) {
            const struct mcons *m = &model[i];
            want = want || (m->there && (m_new(m, seq) || (m->p[seq].is && !m->p[seq].exhausted)));
        }
        assert_true(live(seq) == want || s->cfg.retention != RETENTION_INTEREST);
    }
}

static void destroy(struct mcons *m)
{
    struct store_cons *c = real_of(m);
    log_add(LOG_DROP)->sub = c->sub;
    m->there = false;
    cons_cfg_fini(&m->cfg);
    cons_free(c);
    cons_release_unwanted(s);
    expect_released();
    for (uint64_t seq = 1; seq <= s->last_seq;
         seq++) { /* what it took is pending nowhere, but may have been exhausted */
        if (!live(seq)) {
            m_removed(seq);
        }
    }
}

/* An ack took effect on the stream (end of turn): the message goes when nobody else wants it. */
static void m_consumed(struct mcons *m, uint64_t seq)
{
    if (s->cfg.retention == RETENTION_LIMITS) {
        return;
    }
    for (size_t i = 0; i < CONS && s->cfg.retention == RETENTION_INTEREST; i++) {
        const struct mcons *o = &model[i];
        if (o != m && o->there && (m_new(o, seq) || (o->p[seq].is && !o->p[seq].exhausted))) {
            return;
        }
    }
    run_calls(); /* the delta is written at the end of the turn */
    assert_false(live(seq));
    for (size_t i = 0; i < CONS; i++) { /* others may have it as exhausted */
        if (&model[i] != m && model[i].there && model[i].p[seq].is) {
            m_settle(&model[i], seq);
        }
    }
}

static void m_take(struct mcons *m, uint64_t seq, bool redelivery)
{
    m->delivered_cseq++;
    struct mpend *p = &m->p[seq];
    if (redelivery) {
        m->q_head++;
        p->queued = false;
        p->dcount++;
        p->deadline = boot_ns + m_wait(m, p->dcount);
        return;
    }
    m->next = seq + 1;
    m->delivered_sseq = seq;
    if (m->cfg.ack == ACK_NONE) {
        m->floor_cseq = m->delivered_cseq;
        m->floor_sseq = seq;
        return;
    }
    *p = (struct mpend){.is = true, .cseq = m->delivered_cseq, .dcount = 1};
    p->deadline = boot_ns + m_wait(m, 1);
}

static void pull(struct mcons *m)
{
    struct store_cons *c = real_of(m);
    struct cons_peek out;
    enum st st = cons_op_peek(c, &out);
    if (st == ST_AGAIN) {
        if (m->cfg.deliver == DELIVER_BY_START_TIME && m->delivered_cseq == 0) {
            m->next = u64_max(m->next, c->next_seq); /* some were passed over before */
        }
        run_calls(); /* the read is done */
        return;
    }
    while (m->q_head < m->q_tail && !m->p[m->queue[m->q_head % ARRAY_LEN(m->queue)]].queued) {
        m->q_head++;
    }
    uint64_t want = 0, dcount = 1;
    enum st want_st = ST_OK;
    if (m->q_head < m->q_tail) {
        want = m->queue[m->q_head % ARRAY_LEN(m->queue)];
        dcount = m->p[want].dcount + 1;
    } else if (m->cfg.ack != ACK_NONE && m->cfg.max_ack_pending > 0 &&
               m_count(m, false) >= (uint64_t)m->cfg.max_ack_pending) {
        want_st = ST_FULL;
    } else {
        for (uint64_t seq = 1; seq <= s->visible_seq && want == 0; seq++) {
            if (!m_new(m, seq)) {
                continue;
            }
            if (m->cfg.deliver == DELIVER_BY_START_TIME && m->delivered_cseq == 0 &&
                (int64_t)seq < m->cfg.opt_start_time_ns) {
                m->next = seq + 1; /* before the start time: passed over */
                continue;
            }
            want = seq;
        }
        want_st = want == 0 ? ST_NOTFOUND : ST_OK;
    }
    assert_int_equal(st, want_st);
    if (st != ST_OK) {
        return;
    }
    if (out.m.seq != want) {
        print_message("%s: deliver %d ack %d filters %zu %s start %llu time %lld\n", m->name,
                      (int)m->cfg.deliver, (int)m->cfg.ack, m->cfg.nfilters,
                      m->cfg.nfilters > 0 ? m->cfg.filters[0] : "",
                      (unsigned long long)m->cfg.opt_start_seq,
                      (long long)m->cfg.opt_start_time_ns);
        print_message(
            "got %llu dcount %llu want %llu dcount %llu; subject %s next %llu model %llu\n",
            (unsigned long long)out.m.seq, (unsigned long long)out.dcount, (unsigned long long)want,
            (unsigned long long)dcount, subjects[subj_of[out.m.seq]],
            (unsigned long long)c->next_seq, (unsigned long long)m->next);
    }
    assert_int_equal(out.m.seq, want);
    assert_int_equal(out.dcount, dcount);
    assert_int_equal(out.cseq, m->delivered_cseq + 1);
    assert_int_equal(out.num_pending, m_npending(m) - (dcount == 1));
    assert_false(m->confirmed[want]);
    if (rnd(10) == 0) {
        return; /* looked, not taken */
    }
    cons_op_take(c);
    m_take(m, want, dcount > 1);
    if (m->cfg.ack == ACK_NONE) {
        m_consumed(m, want);
    }
}

static void acked_cb(void *arg, enum st st, uint64_t n, const struct err *err)
{
    (void)n, (void)err;
    enum st *out = arg;
    *out = st;
}

static void ack(struct mcons *m)
{
    uint64_t seq = 1 + rnd(s->last_seq + 2), from = 0;
    for (uint64_t k = 1; k <= s->last_seq && rnd(8) != 0; k++) { /* mostly something pending */
        if (m->p[k].is && (from == 0 || rnd(3) == 0)) {
            from = seq = k;
        }
    }
    struct store_cons *c = real_of(m);
    enum cons_ack_kind kind = rnd(2) == 0 ? CONS_ACK : (enum cons_ack_kind)rnd(4);
    int64_t delay = rnd(2) == 0 ? 0 : (int64_t)rnd(2000000000);
    enum st got = ST_COUNT, want = ST_NOTFOUND;
    bool confirm = rnd(2) == 0;
    uint64_t cseq = m->p[seq].is ? m->p[seq].cseq : rnd(m->delivered_cseq + 2);
    cons_op_ack(c, kind, seq, cseq, delay, confirm ? acked_cb : NULL, &got);
    struct mpend *p = &m->p[seq];
    bool done = kind == CONS_ACK || kind == CONS_TERM;
    bool was_live = live(seq);
    if (seq > m->delivered_sseq) {
        want = ST_INVALID;
    } else if (m->cfg.ack == ACK_NONE) {
        want = ST_NOTFOUND;
    } else if (done && m->cfg.ack == ACK_ALL) {
        if (seq > m->floor_sseq) {
            uint64_t floor_cseq = u64_min(u64_max(m->floor_cseq, cseq), m->delivered_cseq);
            uint64_t gone[SEQS], n = 0;
            for (uint64_t k = 1; k <= seq; k++) {
                if (m->p[k].is) {
                    m->p[k] = (struct mpend){0};
                    gone[n++] = k;
                }
            }
            m->floor_sseq = seq;
            m->floor_cseq = floor_cseq;
            want = ST_OK;
            for (uint64_t k = 0; k < n; k++) {
                m_consumed(m, gone[k]);
            }
        }
    } else if (done && p->is) {
        m_settle(m, seq);
        want = ST_OK;
        m_consumed(m, seq);
    } else if (done && s->cfg.retention == RETENTION_WORKQUEUE && was_live && m_matches(m, seq)) {
        want = ST_OK;
        m_consumed(m, seq);
    } else if (!done && p->is && !p->exhausted) {
        want = ST_OK;
        if (kind == CONS_PROGRESS) {
            p->deadline = boot_ns + m_wait(m, p->dcount);
        } else {
            bool used_up = m->cfg.max_deliver > 0 && p->dcount >= (uint64_t)m->cfg.max_deliver;
            p->deadline = boot_ns + delay;
            if (delay > 0) {
                p->queued = false;
            } else if (!used_up && !p->queued) {
                p->queued = true;
                m->queue[m->q_tail++ % ARRAY_LEN(m->queue)] = seq;
            }
        }
    }
    if (confirm) {
        run_calls();
        run_calls();
        assert_int_equal(got, want);
        if (want == ST_OK && done && m->cfg.ack == ACK_EXPLICIT && was_live) {
            m->confirmed[seq] = true;
        }
    }
}

static void delete_some(void)
{
    uint64_t seq = s->first_seq + rnd(s->last_seq + 1 - s->first_seq + 1);
    if (!live(seq)) {
        return;
    }
    struct seq_runs r = {0};
    seq_runs_add(&r, seq);
    assert_int_equal(stream_remove_logged(s, &r, REASON_USER, 0), ST_OK);
    seq_runs_fini(&r);
    m_removed(seq);
}

static void floor_up(void)
{
    uint64_t first = rnd(10) == 0 ? s->last_seq + 1 : s->first_seq + rnd(6);
    if (first <= s->first_seq || first > s->last_seq + 1) {
        return;
    }
    bool was[SEQS];
    for (uint64_t k = s->first_seq; k <= s->last_seq; k++) {
        was[k] = live(k);
    }
    uint64_t from = s->first_seq;
    assert_int_equal(stream_floor_logged(s, first, REASON_LIMIT, 0), ST_OK);
    for (uint64_t k = from; k < first; k++) {
        if (was[k]) {
            m_removed(k);
        }
    }
    if (rnd(2) == 0) { /* a purge by request, not a limit */
        for (size_t i = 0; i < CONS; i++) {
            if (model[i].there) {
                cons_on_purged(real_of(&model[i]), first);
                m_purged(&model[i], first);
            }
        }
    }
}

static void tick(void)
{
    int64_t step = rnd(20) == 0 ? 3000000000 : (int64_t)rnd(200000000);
    boot_ns += step;
    wall_ns += step;
    struct eng_timer *due[32];
    size_t n = 0;
    for (struct eng_timer *t = timers; t != NULL; t = t->next) {
        if (t->at <= boot_ns) {
            due[n++] = t;
        }
    }
    for (size_t i = 0; i < n; i++) {
        due[i]->at = INT64_MAX;
        due[i]->fn(due[i]->arg);
    }
    run_calls();
}

static void update(struct mcons *m)
{
    struct store_cons *c = real_of(m);
    if (s->cfg.retention == RETENTION_LIMITS && rnd(2) == 0) {
        struct cons_cfg old;
        cons_cfg_copy(&old, &m->cfg);
        set_filters(&m->cfg);
        bool same = old.nfilters == m->cfg.nfilters;
        for (size_t i = 0; i < old.nfilters && same; i++) {
            same = strcmp(old.filters[i], m->cfg.filters[i]) == 0;
        }
        cons_cfg_fini(&old);
        if (!same) {
            m->next = m->delivered_sseq + 1;
        }
    } else {
        m->cfg.max_ack_pending = rnd(2) == 0 ? -1 : (int64_t)(1 + rnd(20));
        int64_t was = m->cfg.ack_wait_ns;
        m->cfg.ack_wait_ns = 1000000 * (int64_t)(1 + rnd(1000));
        for (uint64_t i = 0; i < SEQS && m->cfg.nbackoff == 0; i++) {
            struct mpend *p = &m->p[i]; /* what is pending waits by the new one */
            p->deadline += !p->is || p->queued || p->exhausted ? 0 : m->cfg.ack_wait_ns - was;
        }
    }
    struct logged *l = log_add(LOG_CFG);
    l->sub = c->sub;
    cons_cfg_copy(&l->cfg, &m->cfg);
    cons_set_cfg(c, &m->cfg, 2);
    cons_flush(c);
    durable = nlogs;
}

static void replay_one(const struct logged *l)
{
    struct store_cons *c;
    switch (l->what) {
    case LOG_APPEND:
        apply_append(l->seq, l->subj);
        break;
    case LOG_REMOVE:
        (void)stream_apply_removed(s, &l->runs, NULL);
        break;
    case LOG_FLOOR:
        apply_floor(l->seq);
        break;
    case LOG_DELTA: {
        struct seq_runs removed = {0};
        c = cons_by_sub(s, l->sub);
        assert_int_equal(c != NULL ? cons_apply_delta(c, l->body, l->len, &removed)
                                   : cons_delta_removed(l->body, l->len, &removed),
                         ST_OK);
        (void)stream_apply_removed(s, &removed, NULL);
        seq_runs_fini(&removed);
        break;
    }
    case LOG_MAKE:
        (void)cons_make(s, l->sub, &l->cfg, 1, 0, true);
        break;
    case LOG_CFG:
        cons_set_cfg(cons_by_sub(s, l->sub), &l->cfg, 2);
        break;
    case LOG_DROP:
        cons_free(cons_by_sub(s, l->sub));
        break;
    }
}

/* After a restart deliveries come again in another order: the model takes over what is not state.
 */
static void m_restarted(void)
{
    for (size_t i = 0; i < CONS; i++) {
        struct mcons *m = &model[i];
        if (!m->there) {
            continue;
        }
        m->q_head = m->q_tail = 0;
        for (uint64_t seq = 1; seq <= s->last_seq; seq++) {
            m->p[seq].queued = false;
        }
        m_due(m);
        const struct store_cons *c = real_of(m); /* in order of sequence, as the scan finds them */
        assert_int_equal(c->queue.n - c->queue_at, m->q_tail);
    }
}

static void rebuild(void)
{
    enum store_retention retention = s->cfg.retention;
    eng.shut = true;
    stream_end();
    eng.shut = false;
    stream_new(retention);
    eng.replaying = true;
    for (size_t i = 0; i < nlogs; i++) {
        replay_one(&logs[i]);
    }
    eng.replaying = false;
}

static void recovered(void)
{
    s->visible_seq = s->last_seq;
    for (size_t i = 0; i < s->ncons; i++) {
        cons_recovered(s->cons[i]);
    }
    durable = nlogs;
}

/* A clean one: everything is as before, whether it comes from records or from snapshots. */
static void restart(void)
{
    for (size_t i = 0; i < 2 * s->ncons;
         i++) { /* twice: a flush that removes messages changes other consumers */
        cons_flush(s->cons[i % s->ncons]);
    }
    run_calls();
    run_calls();
    bool through_blob = rnd(2) == 0;
    uint8_t *blob[CONS] = {0};
    size_t len[CONS] = {0};
    for (size_t i = 0; i < CONS; i++) {
        if (model[i].there) {
            cons_snapshot(real_of(&model[i]), &blob[i], &len[i]);
        }
    }
    rebuild();
    for (size_t i = 0; i < CONS; i++) {
        if (model[i].there && through_blob) {
            assert_int_equal(cons_load(real_of(&model[i]), blob[i], len[i], NULL), ST_OK);
        }
        base_free(blob[i]);
    }
    recovered();
    m_restarted();
}

/* Records that were not durable are gone. What was promised holds; the model takes the rest over
 * from the consumers. */
static void crash(void)
{
    while (nlogs > durable) {
        struct logged *l = &logs[--nlogs];
        base_free(l->body);
        seq_runs_fini(&l->runs);
        if (l->what == LOG_MAKE || l->what == LOG_CFG) {
            cons_cfg_fini(&l->cfg);
        }
    }
    rebuild();
    recovered();
    for (size_t i = 0; i < CONS; i++) {
        struct mcons *m = &model[i];
        bool there = false;
        for (size_t k = 0; k < s->ncons; k++) {
            there = there || strcmp(s->cons[k]->cfg.name, m->name) == 0;
        }
        assert_true(there || !m->there);
        if (there && !m->there) { /* its delete was not durable: away with it again */
            cons_cfg_copy(&m->cfg, &real_of(m)->cfg);
            m->there = true;
        }
        if (!there) {
            continue;
        }
        const struct store_cons *c = real_of(m);
        m->delivered_cseq = c->delivered_cseq;
        m->delivered_sseq = c->delivered_sseq;
        m->floor_cseq = c->floor_cseq;
        m->floor_sseq = c->floor_sseq;
        m->next = c->next_seq;
        m->lps_resume = c->lps_resume;
        for (uint64_t seq = 1; seq < SEQS; seq++) {
            const struct cons_pend *e = pends_find(&c->pend, seq);
            m->p[seq] = (struct mpend){0};
            if (e != NULL) {
                assert_true(live(seq) && seq <= c->delivered_sseq);
                m->p[seq] = (struct mpend){true,      (e->flags & PEND_EXHAUSTED) != 0,
                                           false,     e->cseq,
                                           e->dcount, e->deadline_ns};
            }
            m->confirmed[seq] = m->confirmed[seq] && seq <= s->last_seq;
            assert_false(m->confirmed[seq] && (e != NULL || m_new(m, seq)));
        }
    }
    m_restarted();
}

static void ready(void *arg, struct store_cons *c)
{
    (void)arg, (void)c;
}

static void forget_all(void)
{
    stream_end();
    for (size_t i = 0; i < nlogs; i++) {
        base_free(logs[i].body);
        seq_runs_fini(&logs[i].runs);
        cons_cfg_fini(&logs[i].cfg);
    }
    nlogs = 0;
}

static void walk(enum store_retention retention, uint64_t seed, int steps)
{
    rng_state = seed;
    boot_ns = 1000000000;
    wall_ns = 1700000000000000000;
    memset(model, 0, sizeof model);
    stream_new(retention);
    for (int i = 0; i < steps; i++) {
        struct mcons *m = &model[retention == RETENTION_WORKQUEUE ? 0 : rnd(CONS)];
        uint64_t r = rnd(100);
        step_no = i;
        step_r = r;
        if (!m->there) {
            if (rnd(4) == 0) {
                create(m);
                struct cons_events ev = {.ready = ready};
                cons_op_attach(real_of(m), rnd(2) == 0 ? &ev : NULL);
            }
        } else if (r < 40) {
            pull(m);
        } else if (r < 65) {
            ack(m);
        } else if (r < 66) {
            update(m);
        } else if (r < 67 && rnd(4) == 0) {
            destroy(m);
        }
        if (r >= 67 && r < 87) {
            publish();
            if (rnd(3) != 0) {
                make_visible();
            }
        } else if (r >= 87 && r < 91) {
            delete_some();
        } else if (r >= 91 && r < 93) {
            floor_up();
        } else if (r >= 93 && r < 99) {
            make_visible();
            tick();
            for (size_t k = 0; k < CONS; k++) {
                if (model[k].there) {
                    m_due(&model[k]);
                }
            }
        } else if (r == 99 && rnd(3) == 0) {
            restart();
        } else if (r == 99 && rnd(2) == 0) {
            crash();
        }
        run_calls();
        run_calls();
        compare();
    }
    for (size_t i = 0; i < CONS; i++) {
        if (model[i].there) {
            cons_cfg_fini(&model[i].cfg);
        }
    }
    forget_all();
}

static uint64_t seeds = 12;

static void walks(enum store_retention retention)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        walk(retention, seed * 7919, 2500);
    }
}

static void test_limits(void **state)
{
    (void)state, walks(RETENTION_LIMITS);
}
static void test_workqueue(void **state)
{
    (void)state, walks(RETENTION_WORKQUEUE);
}
static void test_interest(void **state)
{
    (void)state, walks(RETENTION_INTEREST);
}

/* Damaged deltas and snapshots are refused or taken, and never harm. */
/* A redelivery that is asked for in centuries, and times of delivery out of a foreign snapshot:
 * what is captured and taken in stays in order and in range. */
static void test_far_times(void **state)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX - 1, INT64_MAX};
    (void)state;
    rng_state = 78;
    memset(model, 0, sizeof model);
    stream_new(RETENTION_LIMITS);
    publish();
    make_visible();
    create(&model[0]);
    struct store_cons *c = real_of(&model[0]);
    model[0].cfg.ack = ACK_EXPLICIT;
    model[0].cfg.deliver = DELIVER_ALL;
    model[0].cfg.ack_wait_ns = INT64_MAX - 1;
    cons_set_cfg(c, &model[0].cfg, 2);
    struct cons_pend *e = pends_put(&c->pend, 1);
    *e = (struct cons_pend){.sseq = 1, .cseq = 1, .dcount = 1, .deadline_ns = INT64_MAX - 1};
    c->delivered_sseq = c->delivered_cseq = 1;
    c->next_seq = 2;
    struct snap_cons k;
    cons_capture(c, &k);
    assert_int_equal(k.npend, 1);
    assert_true(k.pend[0].ts_ns >= 0);
    model[0].cfg.ack_wait_ns = NS_PER_S;
    cons_set_cfg(c, &model[0].cfg, 3);
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        uint8_t *delta;
        size_t len;
        struct seq_runs none = {0};
        k.pend[0].ts_ns = times[i];
        assert_int_equal(cons_delta_of(c, &k, &delta, &len), ST_OK);
        struct store_cons *t = cons_make(s, 9999, &model[0].cfg, 1, 0, false);
        assert_int_equal(cons_apply_delta(t, delta, len, &none), ST_OK);
        const struct cons_pend *got = pends_find(&t->pend, 1);
        assert_non_null(got);
        /* what has a time of redelivery keeps one; the order of times stays */
        assert_true(times[i] > 0 ? got->deadline_ns > wall_ns : got->deadline_ns < INT64_MAX);
        seq_runs_fini(&none);
        base_free(delta);
        cons_free(t);
    }
    cons_cfg_fini(&k.cfg);
    base_free(k.pend);
    cons_cfg_fini(&model[0].cfg);
    forget_all();
}

static void test_hostile_bytes(void **state)
{
    (void)state;
    rng_state = 77;
    memset(model, 0, sizeof model);
    stream_new(RETENTION_LIMITS);
    for (int i = 0; i < 60; i++) {
        publish();
    }
    make_visible();
    create(&model[0]);
    model[0].cfg.ack = ACK_EXPLICIT;
    cons_set_cfg(real_of(&model[0]), &model[0].cfg, 2);
    struct store_cons *c = real_of(&model[0]);
    struct cons_peek out;
    for (int i = 0; i < 200; i++) {
        if (cons_op_peek(c, &out) == ST_OK) {
            cons_op_take(c);
        }
        run_calls();
    }
    cons_flush(c);
    uint8_t *blob;
    size_t len;
    cons_snapshot(c, &blob, &len);
    const struct logged *delta = &logs[nlogs - 1];
    struct cons_cfg cfg;
    cons_cfg_copy(&cfg, &c->cfg);
    struct store_cons *t = cons_make(s, 9999, &cfg, 1, 0, false);
    for (int i = 0; i < 20000; i++) {
        bool full = rnd(2) == 0;
        size_t n = full ? len : delta->len, at = rnd(n), cut = rnd(3) == 0 ? 1 + rnd(n) : n;
        uint8_t *copy = base_malloc(cut);
        memcpy(copy, full ? blob : delta->body, cut);
        if (at < cut) {
            copy[at] = (uint8_t)rnd(256);
        }
        struct seq_runs removed = {0};
        enum st st =
            full ? cons_load(t, copy, cut, NULL) : cons_apply_delta(t, copy, cut, &removed);
        assert_true(st == ST_OK || st == ST_CORRUPT);
        assert_true(t->delivered_sseq <= UINT64_MAX / 2);
        seq_runs_fini(&removed);
        base_free(copy);
    }
    assert_int_equal(cons_load(t, blob, len, NULL), ST_OK);
    assert_int_equal(t->pend.used, c->pend.used);
    base_free(blob);
    cons_cfg_fini(&cfg);
    cons_cfg_fini(&model[0].cfg);
    forget_all();
}

int main(int argc, char **argv)
{
    seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : seeds;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_workqueue),
        cmocka_unit_test(test_interest),      cmocka_unit_test(test_far_times),
        cmocka_unit_test(test_hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
