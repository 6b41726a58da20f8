#include "tests/sim/sim_call.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/subject.h"
#include "engine/eng.h"

void sw_fail(struct world *w, const char *fmt, ...)
{
    if (!w->failed) {
        va_list ap;
        w->failed = true;
        va_start(ap, fmt);
        vsnprintf(w->fail, sizeof w->fail, fmt, ap);
        va_end(ap);
    }
}

uint64_t sw_op(const struct world *w)
{
    return env_sim_ops(w->sim);
}

/* --- calls ------------------------------------------------------------------------------------ */

struct sw_call *sw_call_make(struct world *w, struct sw_inst *in, enum call_kind kind)
{
    struct sw_call *c = base_calloc(1, sizeof *c);
    c->w = w;
    c->in = in;
    c->kind = kind;
    c->ev = SIZE_MAX;
    c->next = w->calls;
    c->link = &w->calls;
    if (c->next != NULL) {
        c->next->link = &c->next;
    }
    w->calls = c;
    w->outstanding++;
    return c;
}

void sw_call_free(struct sw_call *c)
{
    *c->link = c->next;
    if (c->next != NULL) {
        c->next->link = c->link;
    }
    c->w->outstanding--;
    base_free(c);
}

bool sw_excused(const struct world *w)
{
    return w->faulty || env_sim_down(w->sim);
}

struct md_event *sw_event(struct world *w, struct sw_inst *in, enum md_kind kind)
{
    if (in->nev == in->ev_cap) {
        in->ev_cap = in->ev_cap == 0 ? 64 : in->ev_cap * 2;
        in->ev = base_realloc(in->ev, in->ev_cap * sizeof *in->ev);
    }
    struct md_event *e = &in->ev[in->nev++];
    memset(e, 0, sizeof *e);
    e->kind = kind;
    e->gidx = w->next_gidx++;
    e->submit_op = sw_op(w);
    e->acked_op = SW_NEVER;
    return e;
}

void sw_ack_event(struct world *w, struct sw_inst *in, size_t ev)
{
    if (ev != SIZE_MAX) {
        ASSERT(ev < in->nev);
        in->ev[ev].acked_op = in->ev[ev].acked_op < sw_op(w) ? in->ev[ev].acked_op : sw_op(w);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

static void doorbell(void *arg)
{
    (void)arg;
}

void sw_init(struct world *w, uint64_t seed)
{
    static const uint64_t segments[] = {0, 16 * KIB, 32 * KIB, 128 * KIB};
    static const uint64_t windows[] = {512 * KIB, MIB, 4 * MIB};
    static const uint64_t tails[] = {0, 4 * KIB, 24 * KIB, 100 * KIB};
    static const uint64_t extents[] = {UINT64_MAX, 1, 600, 4 * KIB}, larges[] = {1, 40, 300, 2000};
    *w = (struct world){.seed = seed};
    w->rnd.state = prng_mix(seed * 2 + 1);
    w->sim = env_sim_create(prng_next(&w->rnd));
    w->next_uid = w->next_id = 1, w->big_max = 70 * 1024;
    env_sim_set_real_ns(w->sim, 1800000000 * NS_PER_S);
    uint64_t min = (32 * KIB) << prng_below(&w->rnd, 3);
    w->opts = (struct eng_opts){
        .store_dir = "/data",
        .max_file_bytes = UINT64_MAX,
        .max_mem_bytes = UINT64_MAX,
        .doorbell = doorbell,
        .journal_file_min_bytes = min,
        .journal_file_max_bytes = min << prng_below(&w->rnd, 3),
        .journal_window_bytes = windows[prng_below(&w->rnd, 3)],
        .block_cache_bytes = 256 * KIB,
        .compact_bytes_per_s = UINT64_MAX,
        .tail_bytes = tails[prng_mix(seed + 1) % ARRAY_LEN(tails)],
        .extent_begin_bytes = extents[prng_mix(seed + 2) % ARRAY_LEN(extents)],
        .extent_message_bytes = larges[prng_mix(seed + 3) % ARRAY_LEN(larges)],
        .few_consumers = (uint32_t)(prng_mix(seed + 4) % 2), /* 8, or all by the index */
        .segment_bytes = segments[prng_mix(seed) % ARRAY_LEN(segments)],
        .sync_interval_ns = prng_below(&w->rnd, 3) == 0 ? 100 * NS_PER_MS : 0,
        .evict_bytes = seed % 2 == 0 ? 16 : 0,
    };
}

static void inst_free(struct sw_inst *in)
{
    for (size_t i = 0; i < in->nev; i++) {
        md_event_fini(&in->ev[i]);
    }
    for (size_t i = 0; i < in->ncons; i++) {
        base_free(in->cons[i].acks);
    }
    base_free(in->ev);
    base_free(in->cons);
    md_fini(&in->md);
    base_free(in);
}

void sw_fini(struct world *w)
{
    if (w->store != NULL) {
        sw_abandon(w);
    }
    for (size_t i = 0; i < w->ninst; i++) {
        inst_free(w->inst[i]);
    }
    base_free(w->inst);
    env_sim_destroy(w->sim);
}

bool sw_open(struct world *w)
{
    struct err err = {0};
    enum st st = eng_open(env_sim_env(w->sim), &w->opts, &w->store, &err);
    if (st != ST_OK && !sw_excused(w)) {
        sw_fail(w, "open: %s (%s)", err.msg, st_text(st));
    }
    if (st == ST_OK) {
        sw_watch(w);
    }
    return st == ST_OK;
}

static void forget_calls(struct world *w)
{
    while (w->calls != NULL) {
        sw_call_free(w->calls);
    }
    for (size_t i = 0; i < w->ninst; i++) {
        w->inst[i]->h = NULL;
        for (size_t k = 0; k < w->inst[i]->ncons; k++) {
            w->inst[i]->cons[k].h = NULL;
        }
    }
}

void sw_abandon(struct world *w)
{
    eng_abandon(w->store);
    w->store = NULL;
    forget_calls(w);
}

void sw_close(struct world *w)
{
    w->stopping = true;
    sw_flush_all_consumed(w);
    eng_close(w->store);
    w->store = NULL;
    w->stopping = false;
    forget_calls(w);
}

void sw_run(struct world *w, unsigned n)
{
    sw_flush_all_consumed(w);
    w->store->ops->turn(w->store);
    for (unsigned i = 0; i < n; i++) {
        bool stepped = env_sim_step_one(w->sim);
        sw_flush_all_consumed(w);
        w->store->ops->poll(w->store);
        if (!stepped) {
            break;
        }
    }
}

static void scan_all(struct world *w)
{
    int64_t boot = env_boot_ns(env_sim_env(w->sim));
    for (size_t i = 0; i < w->ninst; i++) {
        for (size_t k = 0; w->inst[i]->h != NULL && k < w->inst[i]->md.ncons; k++) {
            md_scan(w->inst[i]->md.cons[k], boot);
        }
    }
}

/* From deadline to deadline, as a loop does it. */
void sw_advance(struct world *w, int64_t ns)
{
    sw_flush_all_consumed(w);
    w->store->ops->turn(w->store);
    int64_t now = env_boot_ns(env_sim_env(w->sim)), end = now + ns;
    for (int i = 0; i < 2000 && !w->failed; i++) {
        int64_t next = w->store->ops->timers(w->store);
        scan_all(w);
        if (now >= end) {
            break;
        }
        next = i64_max(next, now + NS_PER_MS / 10);
        next = next < end && i < 1900 ? next : end;
        env_sim_advance(w->sim, next - now);
        now = next;
    }
}

/* Markers are nobody's call. */
static bool all_visible(const struct world *w)
{
    for (size_t i = 0; i < w->ninst; i++) {
        const struct store_stream *h = w->inst[i]->h;
        if (h != NULL && h->visible_seq < h->last_seq && h->msgs > 0) {
            return false;
        }
    }
    return true;
}

void sw_settle(struct world *w)
{
    for (int i = 0; i < 400 && !env_sim_down(w->sim); i++) {
        sw_run(w, 200);
        if (w->outstanding == 0 && all_visible(w)) {
            return;
        }
        if (env_sim_idle(w->sim)) {
            int64_t at = env_sim_next_timer_ns(w->sim), now = env_boot_ns(env_sim_env(w->sim));
            sw_advance(w, at > now && at - now < NS_PER_S ? at - now : 10 * NS_PER_MS);
        }
    }
    if (!sw_excused(w)) {
        sw_fail(w, "%zu calls are not answered (kind %d of stream i%u)", w->outstanding,
                w->calls != NULL ? (int)w->calls->kind : -1,
                w->calls != NULL && w->calls->in != NULL ? w->calls->in->uid : 0);
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

struct sw_call *sw_call_append(struct world *w, struct sw_inst *in, enum append_verdict verdict,
                               uint64_t value)
{
    struct sw_call *c = sw_call_make(w, in, CALL_APPEND);
    c->verdict = verdict;
    c->value = value;
    return c;
}

void sw_call_stored(struct sw_call *c, size_t ev, uint64_t seq)
{
    c->ev = ev;
    c->value = seq;
}

void sw_on_append(void *arg, const struct store_append_result *r)
{
    struct sw_call *c = arg;
    struct world *w = c->w;
    if (r->verdict == APPEND_FAILED || r->verdict == APPEND_NO_STORE) {
        w->no_store += r->verdict == APPEND_NO_STORE;
        if (!sw_excused(w)) {
            sw_fail(w, "publish to i%u failed without a fault (verdict %d)", c->in->uid,
                    (int)r->verdict);
        }
    } else if (r->verdict != c->verdict) {
        sw_fail(w, "publish to i%u: verdict %d, the model says %d (value %llu, model %llu)",
                c->in->uid, (int)r->verdict, (int)c->verdict,
                (unsigned long long)(r->seq != 0 ? r->seq : r->actual),
                (unsigned long long)c->value);
    } else if (r->verdict == APPEND_STORED || r->verdict == APPEND_DUPLICATE) {
        if (r->seq != c->value) {
            sw_fail(w, "publish to i%u: sequence %llu, the model says %llu", c->in->uid,
                    (unsigned long long)r->seq, (unsigned long long)c->value);
        }
        if (r->verdict == APPEND_STORED) {
            sw_ack_event(w, c->in, c->ev);
            w->acked++;
        }
    } else if ((r->verdict == APPEND_WRONG_LAST_SEQ || r->verdict == APPEND_WRONG_LAST_SUBJ_SEQ) &&
               r->actual != c->value) {
        sw_fail(w, "publish to i%u: actual %llu, the model says %llu", c->in->uid,
                (unsigned long long)r->actual, (unsigned long long)c->value);
    }
    sw_call_free(c);
}

static void on_stream(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct sw_call *c = arg;
    if (st == ST_OK) {
        if (s != c->in->h && !c->in->dropped) {
            sw_fail(c->w, "stream i%u: another handle", c->in->uid);
        }
        sw_ack_event(c->w, c->in, c->ev);
    } else if (!sw_excused(c->w)) {
        sw_fail(c->w, "stream i%u: %s (%s)", c->in->uid, err != NULL ? err->msg : "", st_text(st));
    }
    sw_call_free(c);
}

void sw_on_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct sw_call *c = arg;
    struct world *w = c->w;
    if (st == ST_OK && c->want == ST_OK) {
        sw_ack_event(w, c->in, c->ev);
        if (c->kind == CALL_ACK) {
            c->in->cons[c->cons].acks[c->ack].confirmed_op = sw_op(w);
        }
        if (c->kind == CALL_EVENT && c->value != SW_NEVER && n != c->value) {
            sw_fail(w, "stream i%u: %llu messages removed, the model says %llu", c->in->uid,
                    (unsigned long long)n, (unsigned long long)c->value);
        }
    } else if (st != c->want) {
        w->refused += c->in != NULL;
    }
    if (st != c->want && !sw_excused(w)) {
        sw_fail(w, "call of kind %d on i%u: %s (%s), the model says %s", (int)c->kind,
                c->in != NULL ? c->in->uid : 0, err != NULL ? err->msg : "", st_text(st),
                st_text(c->want));
    }
    sw_call_free(c);
}

bool sw_same_msg(const struct md_msg *want, const struct msg *got, char *why, size_t why_len)
{
    char hdr[MD_HDR_MAX];
    uint32_t hdr_len = md_header(want, hdr);
    const char *subject = md_subject(want->subject);
    const char *what =
        got->seq != want->seq       ? "sequence"
        : got->ts_ns != want->ts_ns ? "time"
        : got->subj_len != strlen(subject) || memcmp(got->subj, subject, got->subj_len) != 0
            ? "subject"
        : got->hdr_len != hdr_len || (hdr_len > 0 && memcmp(got->hdr, hdr, hdr_len) != 0)
            ? "headers"
        : got->data_len != want->data_len ? "length"
                                          : NULL;
    if (what == NULL && want->data_len > 0) {
        uint8_t *data = base_malloc(want->data_len);
        md_payload(want, data);
        what = memcmp(data, got->data, want->data_len) != 0 ? "payload" : NULL;
        base_free(data);
    }
    if (what != NULL) {
        snprintf(why, why_len, "message %llu has the wrong %s (ts %lld, wanted %lld)",
                 (unsigned long long)want->seq, what, (long long)got->ts_ns,
                 (long long)want->ts_ns);
    }
    return what == NULL;
}

static void on_get(void *arg, enum st st, const struct msg *m)
{
    struct sw_call *c = arg;
    char why[200];
    bool removed_since = st == ST_NOTFOUND && c->want == ST_OK && !md_live(&c->in->md, c->value);
    if (st != c->want && !sw_excused(c->w) && !removed_since &&
        !(st == ST_CLOSED && c->in->dropped)) {
        sw_fail(c->w, "get %llu of i%u: %s, the model says %s", (unsigned long long)c->value,
                c->in->uid, st_text(st), st_text(c->want));
    } else if (st == ST_OK && c->want == ST_OK && !sw_same_msg(&c->msg, m, why, sizeof why)) {
        sw_fail(c->w, "get from i%u: %s", c->in->uid, why);
    }
    sw_call_free(c);
}

/* --- streams ---------------------------------------------------------------------------------- */

struct sw_inst *sw_slot(struct world *w, uint32_t slot)
{
    for (size_t i = w->ninst; i-- > 0;) {
        if (w->inst[i]->slot == slot && !w->inst[i]->dropped) {
            return w->inst[i]; /* not always the newest: a crash can undo a drop and the create
                                  behind it */
        }
    }
    return NULL;
}

static void describe(struct stream_cfg *cfg, const struct sw_inst *in)
{
    char text[64];
    snprintf(text, sizeof text, "i%u v%u", in->uid, in->version);
    base_free(cfg->description);
    cfg->description = base_strdup(text);
}

static void random_limits(struct world *w, struct stream_cfg *cfg)
{
    struct prng *r = &w->rnd;
    cfg->max_msgs = prng_below(r, 4) == 0 ? (int64_t)(1 + prng_below(r, 40)) : -1;
    cfg->max_bytes = prng_below(r, 5) == 0 ? (int64_t)(200 + prng_below(r, 20000)) : -1;
    cfg->max_msgs_per_subject = prng_below(r, 4) == 0 ? (int64_t)(1 + prng_below(r, 5)) : -1;
    cfg->max_msg_size = prng_below(r, 6) == 0 ? 1000 : -1;
}

static void random_cfg(struct world *w, struct stream_cfg *cfg)
{
    struct prng *r = &w->rnd;
    random_limits(w, cfg);
    cfg->retention = prng_below(r, 4) == 0   ? RETENTION_WORKQUEUE
                     : prng_below(r, 5) == 0 ? RETENTION_INTEREST
                                             : RETENTION_LIMITS;
    cfg->storage = prng_below(r, 6) == 0 ? STORAGE_MEMORY : STORAGE_FILE;
    cfg->discard = prng_below(r, 4) == 0 ? DISCARD_NEW : DISCARD_OLD;
    cfg->discard_new_per_subject = cfg->discard == DISCARD_NEW && prng_below(r, 2) == 0;
    cfg->persist = prng_below(r, 6) == 0 ? PERSIST_ASYNC : PERSIST_DEFAULT;
    cfg->duplicates_ns = prng_below(r, 4) != 0 ? 120 * NS_PER_S : 0;
    cfg->allow_rollup = true;
    cfg->first_seq = prng_below(r, 5) == 0 ? 1 + prng_below(r, 1000) : 0;
    cfg->max_age_ns = prng_below(r, 6) == 0 ? (int64_t)(1 + prng_below(r, 20)) * NS_PER_S : 0;
    /* Not from r: what older seeds mean stays, but for these streams. */
    uint64_t more = prng_mix(w->seed * 1000003 + w->next_uid);
    cfg->allow_msg_ttl = more % 4 == 0;
    cfg->allow_msg_schedules = more / 1024 % 3 == 0;
    if (cfg->allow_msg_ttl && more / 4 % 3 != 0) {
        cfg->subject_delete_marker_ttl_ns = (int64_t)(1 + more / 16 % 4) * NS_PER_S;
    }
}

void sw_stream_create(struct world *w, uint32_t slot, const struct stream_cfg *given)
{
    struct sw_inst *in = base_calloc(1, sizeof *in);
    struct stream_cfg *cfg = base_calloc(1, sizeof *cfg);
    char name[16];
    in->uid = w->next_uid++;
    in->slot = slot;
    if (given != NULL) {
        stream_cfg_copy(cfg, given);
    } else {
        stream_cfg_init(cfg);
        random_cfg(w, cfg);
    }
    snprintf(name, sizeof name, "S%u", slot);
    base_free(cfg->account);
    base_free(cfg->name);
    cfg->account = base_strdup("$G");
    cfg->name = base_strdup(name);
    describe(cfg, in);
    in->memory = cfg->storage == STORAGE_MEMORY;
    md_init(&in->md);
    w->inst = base_realloc(w->inst, (w->ninst + 1) * sizeof(struct sw_inst *));
    w->inst[w->ninst++] = in;
    struct sw_call *c = sw_call_make(w, in, CALL_EVENT);
    c->ev = in->nev;
    w->store->ops->stream_create(w->store, cfg, on_stream, c);
    in->h = w->store->ops->stream_find(w->store, "$G", name);
    struct md_event *e = sw_event(w, in, EV_CREATE);
    e->cfg = cfg;
    e->sync = true;
    md_apply(&in->md, e);
    if (in->h == NULL) { /* refused: the answer says so */
        in->dropped = true;
        return;
    }
    in->durability = in->h->durability;
}

/* Removals that an update or a consumer's end brings, as events behind it. */
static void removal_events(struct world *w, struct sw_inst *in, uint64_t floor, uint64_t *seqs,
                           size_t n)
{
    if (floor != 0) {
        struct md_event *e = sw_event(w, in, EV_FLOOR);
        e->floor = floor;
        md_apply(&in->md, e);
    }
    if (n > 0) {
        struct md_event *e = sw_event(w, in, EV_REMOVE);
        e->seqs = seqs;
        e->nseqs = n;
        md_apply(&in->md, e);
    } else {
        base_free(seqs);
    }
}

void sw_stream_update(struct world *w, struct sw_inst *in)
{
    struct stream_cfg *cfg = base_calloc(1, sizeof *cfg);
    stream_cfg_copy(cfg, w->store->ops->stream_cfg(in->h));
    random_limits(w, cfg);
    bool to_interest = sw_draw_interest(w, cfg);
    in->version++;
    describe(cfg, in);
    struct sw_call *c = sw_call_make(w, in, CALL_EVENT);
    c->ev = in->nev;
    w->store->ops->stream_update(w->store, in->h, cfg, on_stream, c);
    struct md_event *e = sw_event(w, in, EV_UPDATE);
    e->cfg = cfg;
    e->sync = true;
    md_apply(&in->md, e);
    uint64_t floor, *seqs;
    size_t n;
    md_shrink(&in->md, to_interest, &floor, &seqs, &n);
    removal_events(w, in, floor, seqs, n);
    c->ev = in->nev - 1; /* one batch */
}

void sw_stream_delete(struct world *w, struct sw_inst *in)
{
    struct sw_call *c = sw_call_make(w, in, CALL_EVENT);
    c->ev = in->nev;
    c->value = SW_NEVER;
    struct store_stream *h = in->h;
    in->h = NULL;
    in->dropped = true;
    for (size_t i = 0; i < in->ncons; i++) {
        in->cons[i].h = NULL;
    }
    struct md_event *e = sw_event(w, in, EV_DROP);
    e->sync = true;
    w->store->ops->stream_delete(w->store, h, sw_on_done, c);
}

/* --- messages --------------------------------------------------------------------------------- */

struct md_msg sw_random_msg(struct world *w, uint32_t data_len, bool ttl)
{
    struct prng *r = &w->rnd;
    struct md_msg m = {.subject = (uint32_t)prng_below(r, prng_below(r, 2) == 0 ? 3 : MD_DRAWN),
                       .data_len = data_len,
                       .fill = prng_next(r),
                       .live = true};
    if (prng_below(r, 4) == 0) {
        m.id = prng_below(r, 3) == 0 && w->next_id > 4 ? w->next_id - 1 - (uint32_t)prng_below(r, 4)
                                                       : w->next_id++;
    }
    if (ttl && m.fill / 1024 % 3 == 0) {
        m.ttl_s = m.fill / 4096 % 10 == 0 ? -1 : (int32_t)(1 + m.fill / 4096 % 7);
    }
    return m;
}

void sw_publish(struct world *w, struct sw_inst *in, uint32_t data_len)
{
    struct prng *r = &w->rnd;
    struct md_stream *md = &in->md;
    struct md_msg m = sw_random_msg(w, data_len, md->cfg.allow_msg_ttl);
    char hdr[MD_HDR_MAX], id[16];
    uint8_t *data = base_malloc(data_len + 8);
    uint32_t hdr_len = md_header(&m, hdr);
    md_payload(&m, data);
    m.size = md_size(md, &m);
    const char *subject = md_subject(m.subject);
    struct store_append a = {.subject = subject,
                             .subject_len = (uint32_t)strlen(subject),
                             .hdr = (const uint8_t *)hdr,
                             .hdr_len = hdr_len,
                             .data = data,
                             .data_len = data_len};
    a.flags = m.ttl_s != 0 ? MSG_TTL : 0;
    if (m.id != 0) {
        a.msg_id_len = (uint32_t)snprintf(id, sizeof id, "id-%u", m.id);
        a.msg_id = id;
    }
    if (prng_below(r, 12) == 0) {
        a.has_expected_last_seq = true;
        a.expected_last_seq = md->last_seq - (prng_below(r, 3) == 0 && md->last_seq > 0);
    } else if (prng_below(r, 12) == 0) {
        a.has_expected_last_subj_seq = true;
        a.expected_last_subj_seq = prng_below(r, 3) == 0 ? 1 : md_last_of(md, m.subject);
    }
    a.rollup = prng_below(r, 40) == 0 ? (uint8_t)(1 + prng_below(r, 2)) : 0;
    sw_widen(md, &m, &a);
    uint32_t fired = md->cfg.allow_msg_schedules ? sw_schedule_or_fire(w, in, &a, &m) : 0;
    struct sw_call *c = sw_call_make(w, in, CALL_APPEND);
    int64_t now = eng_now_ns(in->h->eng);
    c->verdict = md_verdict(md, &a, &m, now, &c->value);
    uint64_t before = in->h->last_seq;
    enum st st = w->store->ops->append(in->h, &a, sw_on_append, c);
    base_free(data);
    w->published++;
    if (st != ST_OK) {
        if (st != ST_FULL) {
            sw_fail(w, "publish to i%u: %s", in->uid, st_text(st));
        }
        if (in->h->last_seq != before) {
            sw_fail(w, "publish to i%u: refused, but the last sequence moved", in->uid);
        }
        w->full++;
        sw_call_free(c);
        return;
    }
    if (in->h->last_seq == before) { /* a refusal; a stored one moves last_seq at once */
        if (c->verdict == APPEND_STORED && !sw_excused(w)) {
            sw_fail(w, "publish to i%u was not stored, the model stores it", in->uid);
        }
        return;
    }
    m.seq = md->last_seq + 1;
    m.ts_ns = in->h->last_ts_ns;
    if (m.ts_ns < md->last_ts_ns) {
        sw_fail(w, "stream i%u: time of message %llu decreases", in->uid,
                (unsigned long long)m.seq);
    }
    c->value = m.seq;
    c->ev = in->nev;
    struct md_event *e = sw_event(w, in, EV_APPEND);
    e->msg = m;
    e->rollup = a.rollup;
    e->fired = fired;
    md_apply(md, e);
}

static uint64_t random_live(struct world *w, struct md_stream *md)
{
    if (md->msgs == 0) {
        return 0;
    }
    uint64_t seq = md->first_seq + prng_below(&w->rnd, md->last_seq + 1 - md->first_seq);
    while (!md_live(md, seq)) {
        seq = seq == md->last_seq ? md->first_seq : seq + 1;
    }
    return seq;
}

void sw_delete_msg(struct world *w, struct sw_inst *in)
{
    uint64_t seq = prng_below(&w->rnd, 8) == 0 ? in->md.last_seq + prng_below(&w->rnd, 3)
                                               : random_live(w, &in->md);
    struct sw_call *c = sw_call_make(w, in, CALL_EVENT);
    c->value = 1;
    c->want = md_live(&in->md, seq) ? ST_OK : ST_NOTFOUND;
    if (c->want == ST_OK) {
        c->ev = in->nev;
    }
    w->store->ops->msg_delete(in->h, seq, seq % 2 == 0, sw_on_done, c);
    if (c->want == ST_OK) {
        struct md_event *e = sw_event(w, in, EV_REMOVE);
        e->sync = true;
        e->seqs = base_malloc(sizeof *e->seqs);
        e->seqs[0] = seq;
        e->nseqs = 1;
        md_apply(&in->md, e);
    }
}

void sw_purge(struct world *w, struct sw_inst *in)
{
    struct prng *r = &w->rnd;
    struct md_stream *md = &in->md;
    struct store_purge p = {0};
    static const char *const filters[] = {"a.*", "a.0", "b.>", "c", "none", ">"};
    bool filtered = prng_below(r, 2) == 0;
    if (filtered) {
        p.filter = filters[prng_below(r, 6)];
        p.filter_len = (uint32_t)strlen(p.filter);
        filtered = strcmp(p.filter, ">") != 0;
    }
    if (prng_below(r, 3) == 0) {
        p.keep = 1 + prng_below(r, 5);
    } else if (prng_below(r, 3) == 0) {
        p.seq = md->first_seq + prng_below(r, md->last_seq + 2 - md->first_seq);
        p.seq += prng_below(r, 4) == 0 ? prng_below(r, 30) : 0; /* may lie beyond the end */
    }
    uint64_t *seqs = NULL, front, n = 0, matching = 0, kept = md->last_seq + 1;
    uint64_t hi = p.seq != 0 ? p.seq : md->last_seq + 1;
    for (size_t i = md->n; i-- > 0 && md->m[i].seq >= md->first_seq;) {
        const struct md_msg *m = &md->m[i];
        const char *subject = md_subject(m->subject);
        if (!m->live || m->seq >= hi ||
            (filtered && !subject_match(subject, strlen(subject), p.filter, p.filter_len))) {
            continue;
        }
        if (++matching > p.keep) {
            seqs = base_realloc(seqs, (n + 1) * sizeof *seqs);
            seqs[n++] = m->seq;
        } else {
            kept = m->seq;
        }
    }
    front = p.seq != 0 ? p.seq : p.keep >= md->msgs && p.keep != 0 ? md->first_seq : kept;
    struct sw_call *c = sw_call_make(w, in, CALL_EVENT);
    bool changes = n > 0 || (!filtered && front > md->first_seq);
    c->value = n;
    c->ev = changes ? in->nev : SIZE_MAX;
    w->store->ops->purge(in->h, &p, sw_on_done, c);
    if (changes) {
        struct md_event *e = sw_event(w, in, filtered ? EV_REMOVE : EV_FLOOR);
        e->sync = true;
        if (filtered) {
            e->seqs = seqs;
            e->nseqs = n;
            seqs = NULL;
        } else {
            e->floor = front;
        }
        e->purge = p.filter_len == 0 ? ">" : p.filter;
        md_apply(md, e);
    } else {
        md_purged_all(md, p.filter_len == 0 ? ">" : p.filter);
    }
    base_free(seqs);
}

void sw_get(struct world *w, struct sw_inst *in)
{
    struct prng *r = &w->rnd;
    struct md_stream *md = &in->md;
    uint32_t subject = (uint32_t)prng_below(r, MD_DRAWN);
    struct store_get g = {.kind = (enum get_kind)prng_below(r, 3), .subject = ""};
    uint64_t seq = 0;
    if (g.kind == GET_BY_SEQ) {
        g.seq = prng_below(r, 3) == 0 ? prng_below(r, md->last_seq + 3) : random_live(w, md);
        seq = md_live(md, g.seq) ? g.seq : 0;
    } else if (g.kind == GET_LAST_BY_SUBJ) {
        seq = md_last_of(md, subject);
    } else {
        g.seq = prng_below(r, md->last_seq + 2);
        for (uint64_t s = u64_max(g.seq, md->first_seq); s <= md->last_seq && seq == 0; s++) {
            seq = md_live(md, s) && md_find(md, s)->subject == subject ? s : 0;
        }
    }
    if (g.kind != GET_BY_SEQ) {
        g.subject = md_subject(subject);
        g.subject_len = (uint32_t)strlen(g.subject);
    }
    struct sw_call *c = sw_call_make(w, in, CALL_GET);
    c->want = seq != 0 ? ST_OK : ST_NOTFOUND;
    c->value = seq != 0 ? seq : g.seq;
    if (seq != 0) {
        c->msg = *md_find(md, seq);
    }
    w->store->ops->get(in->h, &g, on_get, c);
}

void sw_checkpoint(struct world *w)
{
    struct sw_call *c = sw_call_make(w, NULL, CALL_PLAIN);
    eng_checkpoint(w->store, sw_on_done, c);
}

static void on_compacted(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct sw_call *c = arg;
    c->want = st == ST_BUSY ? ST_BUSY : c->want; /* one is under way */
    sw_on_done(arg, st, n, err);
}

void sw_compact(struct world *w)
{
    eng_compact(w->store, on_compacted, sw_call_make(w, NULL, CALL_PLAIN));
}
