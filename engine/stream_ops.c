/* Requests on a stream: get, delete, purge, state. What is quoted waits for the
 * ticket it rests on. */
#include "engine/eng.h"
#include "engine/base/subject.h"

#include <stdlib.h>

/* --- get -------------------------------------------------------------------------------------- */

/* A get under way: the message is fixed when the request comes, and held until the answer may
 * leave. */
struct get_op {
    struct store_stream *s; /* NULL when the stream went away */
    store_get_fn fn;
    store_done_fn barrier_fn; /* or this: a barrier that has to learn the first message's time */
    void *arg;
    bool reading;
    uint64_t seq, ticket;
    int64_t since_ns;       /* not before this */
    char *subject;          /* owned: what comes next must match; only with since_ns */
    struct jr_chunk *chunk; /* shared: holds m when it lies in the tail */
    struct block *block;    /* shared: ... in a segment */
    struct msg m;
    enum st st;
    struct get_op *next;
};

static void get_unlink(struct get_op *op)
{
    for (struct get_op **p = &op->s->gets; *p != NULL; p = &(*p)->next) {
        if (*p == op) {
            *p = op->next;
            return;
        }
    }
}

static void get_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct get_op *op = arg;
    (void)n;
    if (op->s != NULL) {
        get_unlink(op);
    }
    if (st != ST_OK) {
        op->st = st;
    }
    if (st == ST_CLOSED) {
        /* the store goes: nobody is told any more */
    } else if (op->barrier_fn != NULL) {
        op->barrier_fn(op->arg, st, 0, err);
    } else {
        op->fn(op->arg, op->st, op->st == ST_OK ? &op->m : NULL);
    }
    if (op->chunk != NULL) {
        jr_chunk_release(op->chunk);
    }
    block_release(op->block);
    base_free(op->subject);
    base_free(op);
}

static uint64_t next_matching(const struct store_stream *s, const char *subject, size_t len,
                              uint64_t from)
{
    bool any = len == 0 || (len == 1 && subject[0] == '>');
    return any ? liveset_next(s->live, u64_max(from, 1))
               : sidx_next_match(s->idx, subject, len, u64_max(from, 1));
}

static void get_read(void *arg)
{
    struct get_op *op = arg;
    struct store_stream *s = op->s;
    enum stream_read r;
    do {
        r = stream_read(s, op->seq, op->since_ns != 0, &op->m, get_read, op);
        op->reading = r == STREAM_READ_PENDING;
        if (op->reading) {
            return;
        }
        /* the index of times is exact to a block only */
        bool older = op->since_ns != 0 && (r != STREAM_READ_OK || op->m.ts_ns < op->since_ns);
        if (!older) {
            break;
        }
        op->seq = next_matching(s, op->subject, strlen(op->subject), op->seq + 1);
    } while (op->seq != 0);
    if (op->seq == 0) {
        r = STREAM_READ_GONE;
    }
    op->st = r == STREAM_READ_OK ? ST_OK : r == STREAM_READ_GONE ? ST_NOTFOUND : ST_CORRUPT;
    if (r == STREAM_READ_OK) {
        (void)tail_get(&s->tail, op->seq, &op->chunk);
        if (op->chunk != NULL) {
            jr_chunk_acquire(op->chunk);
        } else {
            op->block = stream_block_of(s, &op->m);
        }
        if (op->barrier_fn != NULL && op->seq == s->first_seq) {
            s->first_ts_ns = op->m.ts_ns;
            s->first_ts_seq = s->first_seq;
        }
    }
    eng_wait_own(s->eng, op->ticket, get_done, op, ST_OK, 0);
}

static uint64_t find(const struct store_stream *s, const struct store_get *g)
{
    bool any = g->subject_len == 0 || (g->subject_len == 1 && g->subject[0] == '>');
    switch (g->kind) {
    case GET_BY_SEQ:
        return liveset_is_live(s->live, g->seq) ? g->seq : 0;
    case GET_LAST_BY_SUBJ:
        if (!any && !subject_has_wildcard(g->subject, g->subject_len)) {
            const struct sidx_entry *e = sidx_find(s->idx, g->subject, g->subject_len);
            return e != NULL ? sidx_last(e) : 0;
        }
        return any ? liveset_prev(s->live, s->last_seq)
                   : sidx_last_match(s->idx, g->subject, g->subject_len);
    case GET_NEXT_BY_SUBJ:
        return next_matching(s, g->subject, g->subject_len, g->seq);
    }
    return 0;
}

static struct get_op *get_make(struct store_stream *s, void *arg)
{
    struct get_op *op = base_calloc(1, sizeof *op);
    op->s = s;
    op->arg = arg;
    op->next = s->gets;
    s->gets = op;
    return op;
}

void stream_op_get(struct store_stream *s, const struct store_get *g, store_get_fn fn, void *arg)
{
    struct get_op *op = get_make(s, arg);
    struct store_get from = *g;
    if (g->since_ns != 0) {
        from.seq = u64_max(g->seq, stream_seq_at_time(s, g->since_ns));
        op->since_ns = g->since_ns;
        op->subject = base_strndup(g->subject_len > 0 ? g->subject : "", g->subject_len);
    }
    op->fn = fn;
    op->seq = find(s, &from);
    /* An answer rests on the newest append only when it shows it; else on the newest removal that
     * could have uncovered it. */
    op->ticket = stream_ticket(s) == 0      ? 0
                 : op->seq > s->visible_seq ? s->ticket
                                            : s->removal_ticket;
    if (op->seq == 0) {
        op->st = ST_NOTFOUND;
        op->ticket = stream_ticket(s);
        eng_wait_own(s->eng, op->ticket, get_done, op, ST_OK, 0);
    } else {
        get_read(op);
    }
}

static void last_read(void *arg)
{
    struct store_stream *s = arg;
    s->last_reading = false;
}

enum st stream_op_last_msg(struct store_stream *s, const char *subject, uint32_t len,
                           struct msg *m_out)
{
    const struct sidx_entry *e = sidx_find(s->idx, subject, len);
    if (e == NULL) {
        return ST_NOTFOUND;
    }
    const uint8_t *p = tail_get(&s->tail, sidx_last(e), NULL);
    if (p != NULL) {
        return msg_get(p, get_u32le(p), m_out);
    }
    if (s->last_reading) {
        return ST_AGAIN;
    }
    switch (stream_read(s, sidx_last(e), false, m_out, last_read, s)) {
    case STREAM_READ_OK:
        return ST_OK;
    case STREAM_READ_PENDING:
        s->last_reading = true;
        return ST_AGAIN;
    case STREAM_READ_GONE:
        return ST_NOTFOUND;
    case STREAM_READ_DAMAGED:
    default:
        return ST_CORRUPT;
    }
}

/* The stream goes away: reads under way are answered. */
void stream_fail_gets(struct store_stream *s)
{
    while (s->gets != NULL) {
        struct get_op *op = s->gets;
        s->gets = op->next;
        op->s = NULL;
        if (op->reading) {
            stream_read_cancel(s, get_read, op);
            eng_undefer(s->eng, op);
            op->st = ST_CLOSED;
            eng_wait_own(s->eng, 0, get_done, op, ST_OK, 0);
        }
    }
}

/* --- delete, purge ---------------------------------------------------------------------------- */

static void fail(struct eng *e, store_done_fn fn, void *arg, enum st st)
{
    eng_wait(e, 0, fn, arg, st, 0);
}

void stream_op_delete(struct store_stream *s, uint64_t seq, bool secure, store_done_fn fn,
                      void *arg)
{
    if (s->eng->poisoned != ST_OK) {
        fail(s->eng, fn, arg, ST_POISONED);
        return;
    }
    if (!liveset_is_live(s->live, seq)) {
        eng_wait(s->eng, stream_ticket(s), fn, arg, ST_NOTFOUND, 0);
        return;
    }
    enum st st = stream_delete_logged(s, seq, secure);
    s->removal_ticket = s->ticket;
    if (st == ST_OK && secure) {
        compact_erase(s, seq);
    }
    eng_wait(s->eng, st == ST_OK ? stream_ticket(s) : 0, fn, arg, st, 1);
}

/* The matching live sequences below hi, but the newest `keep` of those that match at all. */
struct purge_plan {
    struct seq_runs runs;
    uint64_t *seqs; /* owned */
    size_t n, cap;
    uint64_t hi;
};

static bool purge_collect(void *arg, const struct sidx_entry *e)
{
    struct purge_plan *p = arg;
    for (uint64_t seq = sidx_first(e); seq != 0 && seq < p->hi; seq = sidx_next(e, seq + 1)) {
        if (p->n == p->cap) {
            p->cap = p->cap == 0 ? 256 : p->cap * 2;
            p->seqs = base_realloc(p->seqs, p->cap * sizeof *p->seqs);
        }
        p->seqs[p->n++] = seq;
    }
    return true;
}

static int by_seq(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static enum st purge_filtered(struct store_stream *s, const struct store_purge *p, uint64_t *n_out)
{
    struct purge_plan plan = {.hi = p->seq != 0 ? p->seq : s->last_seq + 1};
    sidx_match(s->idx, p->filter, p->filter_len, NULL, 0, purge_collect, &plan);
    if (plan.n > 1) {
        qsort(plan.seqs, plan.n, sizeof *plan.seqs, by_seq);
    }
    size_t n = plan.n > p->keep ? plan.n - (size_t)p->keep : 0;
    for (size_t i = 0; i < n; i++) {
        seq_runs_add(&plan.runs, plan.seqs[i]);
    }
    enum st st = n > 0 ? stream_remove_logged(s, &plan.runs, REASON_PURGE, 0) : ST_OK;
    for (size_t i = 0; i < s->ncons && st == ST_OK; i++) {
        cons_on_purged_subject(s->cons[i], p->filter, p->filter_len);
    }
    seq_runs_fini(&plan.runs);
    base_free(plan.seqs);
    *n_out = n;
    return st;
}

static enum st purge_front(struct store_stream *s, const struct store_purge *p, uint64_t *n_out)
{
    uint64_t floor = s->last_seq + 1;
    if (p->seq != 0) {
        floor = p->seq; /* beyond the end: the next message gets it */
    } else if (p->keep != 0) {
        floor = p->keep >= s->msgs ? s->first_seq : liveset_nth(s->live, s->msgs - p->keep);
    }
    uint64_t before = s->msgs;
    enum st st = floor > s->first_seq ? stream_floor_logged(s, floor, REASON_PURGE, 0) : ST_OK;
    for (size_t i = 0; i < s->ncons && st == ST_OK; i++) {
        cons_on_purged(s->cons[i], s->first_seq);
    }
    *n_out = before - s->msgs;
    return st;
}

void stream_op_purge(struct store_stream *s, const struct store_purge *p, store_done_fn fn,
                     void *arg)
{
    if (s->eng->poisoned != ST_OK) {
        fail(s->eng, fn, arg, ST_POISONED);
        return;
    }
    uint64_t n = 0;
    bool all = p->filter_len == 0 || (p->filter_len == 1 && p->filter[0] == '>');
    if (all && p->seq > STORE_SEQ_MAX) {
        fail(s->eng, fn, arg, ST_INVALID);
        return;
    }
    s->quiet_removals = true;
    enum st st = all ? purge_front(s, p, &n) : purge_filtered(s, p, &n);
    s->quiet_removals = false;
    s->removal_ticket = s->ticket;
    eng_wait(s->eng, st == ST_OK ? stream_ticket(s) : 0, fn, arg, st, n);
}

/* --- state ------------------------------------------------------------------------------------ */

static void first_ts_nothing(void *arg)
{
    (void)arg;
}

/* The first message's time, when it can be had without waiting for the disk. */
static void learn_first_ts(struct store_stream *s)
{
    if (s->msgs == 0 || s->first_ts_seq == s->first_seq) {
        return;
    }
    const uint8_t *p = tail_get(&s->tail, s->first_seq, NULL);
    struct msg m;
    if (p != NULL
            ? msg_get(p, get_u32le(p), &m) == ST_OK
            : stream_read(s, s->first_seq, false, &m, first_ts_nothing, s) == STREAM_READ_OK) {
        s->first_ts_ns = m.ts_ns;
        s->first_ts_seq = s->first_seq;
    }
}

void stream_op_state(struct store_stream *s, struct stream_state *out)
{
    struct sidx_stats stats;
    sidx_stats_get(s->idx, &stats);
    learn_first_ts(s);
    *out = (struct stream_state){
        .msgs = s->msgs,
        .bytes = s->bytes,
        .first_seq = s->first_seq,
        .last_seq = s->last_seq,
        .first_ts_ns = s->msgs > 0 && s->first_ts_seq == s->first_seq ? s->first_ts_ns : 0,
        .last_ts_ns = s->last_ts_ns,
        .nsubjects = stats.subjects,
        .ndeleted = liveset_ndead(s->live),
        .nconsumers = s->ncons,
        .created_ns = s->created_ns,
        .durability = s->durability,
        .damaged_msgs = s->damaged_msgs,
        .store_incidents = cat_incidents(s->eng->cat, NULL, NULL) + s->eng->nunowned,
    };
}

void stream_op_barrier(struct store_stream *s, store_done_fn fn, void *arg)
{
    learn_first_ts(s);
    if (s->msgs == 0 || s->first_ts_seq == s->first_seq) {
        eng_wait(s->eng, stream_ticket(s), fn, arg, ST_OK, 0);
        return;
    }
    /* The first message's time has to come from a segment; state is exact inside the callback. */
    struct get_op *op = get_make(s, arg);
    op->barrier_fn = fn;
    op->seq = s->first_seq;
    op->ticket = stream_ticket(s);
    get_read(op);
}

struct subjects_arg {
    bool (*fn)(void *arg, const char *subject, uint32_t len, uint64_t count);
    void *arg;
};

static bool each_subject(void *arg, const struct sidx_entry *e)
{
    struct subjects_arg *a = arg;
    size_t len;
    const char *subject = sidx_subject(e, &len);
    return a->fn(a->arg, subject, (uint32_t)len, sidx_count(e));
}

void stream_op_subjects(struct store_stream *s, const char *filter, uint32_t len,
                        bool (*fn)(void *arg, const char *subject, uint32_t len, uint64_t count),
                        void *arg)
{
    struct subjects_arg a = {fn, arg};
    sidx_match(s->idx, filter, len, NULL, 0, each_subject, &a);
}

bool stream_op_schedules(struct store_stream *s,
                         void (*fn)(void *arg, uint64_t seq, const char *subject, uint32_t len),
                         void *arg)
{
    for (size_t i = 0; i < s->scheds.n; i++) {
        uint64_t seq = s->scheds.v[i];
        const struct sidx_entry *entry =
            liveset_is_live(s->live, seq) ? stream_entry(s, seq) : NULL;
        if (entry != NULL && sidx_last(entry) == seq) {
            size_t len;
            const char *subject = sidx_subject(entry, &len);
            fn(arg, seq, subject, (uint32_t)len);
        }
    }
    return s->scheds.known;
}

void stream_op_schedule_found(struct store_stream *s, uint64_t seq)
{
    if (seq == 0) {
        s->scheds.known = true;
        s->ckpt_dirty = true;
    } else if (liveset_is_live(s->live, seq)) {
        schedset_add(&s->scheds, s->live, seq);
    }
}

size_t stream_op_seqs(struct store_stream *s, const char *filter, uint32_t len, uint64_t from,
                      uint64_t *out, size_t max)
{
    size_t n = 0;
    if (len > 0 && !(len == 1 && filter[0] == '>')) {
        struct sidx_filter f = {filter, len};
        return sidx_collect(s->idx, &f, 1, u64_max(from, 1), out, max);
    }
    for (uint64_t seq = liveset_next(s->live, u64_max(from, 1)); seq != 0 && n < max;
         seq = liveset_next(s->live, seq + 1)) {
        out[n++] = seq;
    }
    return n;
}

uint64_t stream_op_count_from(struct store_stream *s, const char *filter, uint32_t len,
                              uint64_t from)
{
    if (len > 0 && !(len == 1 && filter[0] == '>')) {
        struct sidx_filter f = {filter, len};
        return sidx_count_from(s->idx, &f, 1, from);
    }
    return from > s->last_seq ? 0 : liveset_rank(s->live, from, s->last_seq + 1);
}

struct lasts {
    uint64_t upto, *out;
    size_t n, max;
    char *const *filters; /* those before the one that is walked */
    size_t before;
};

static bool each_last(void *arg, const struct sidx_entry *e)
{
    struct lasts *l = arg;
    size_t len;
    const char *subject = sidx_subject(e, &len);
    for (size_t i = 0; i < l->before; i++) {
        if (subject_match(subject, len, l->filters[i], strlen(l->filters[i]))) {
            return true; /* counted with that one */
        }
    }
    uint64_t seq = sidx_prev(e, l->upto);
    if (seq != 0 && l->n < l->max) {
        l->out[l->n] = seq;
    }
    l->n += seq != 0;
    return l->n <= l->max;
}

size_t stream_op_lasts(struct store_stream *s, char *const *filters, size_t n, uint64_t upto,
                       uint64_t *out, size_t max)
{
    struct lasts l = {.upto = upto, .out = out, .max = max, .filters = filters};
    for (size_t i = 0; i < n && l.n <= max; i++) {
        l.before = i;
        if (subject_valid(filters[i], strlen(filters[i]))) {
            sidx_match(s->idx, filters[i], strlen(filters[i]), NULL, 0, each_last, &l);
        }
    }
    qsort(out, l.n < max ? l.n : max, sizeof *out, by_seq);
    return l.n;
}

void stream_op_deleted(struct store_stream *s, struct seq_runs *out, uint64_t max)
{
    if (s->msgs > 0) {
        liveset_dead_runs(s->live, s->first_seq, s->last_seq + 1, max, out);
    }
}

/* --- time ------------------------------------------------------------------------------------- */

uint64_t stream_op_source_seq(struct store_stream *s, const char *key, size_t key_len)
{
    return srcpos_get(&s->sources, key, key_len);
}

void stream_op_skip(struct store_stream *s, uint64_t last_seq, store_done_fn fn, void *arg)
{
    enum st st = s->eng->poisoned != ST_OK ? ST_POISONED : ST_OK;
    if (st == ST_OK && last_seq > s->last_seq) {
        uint8_t body[16] = {0};
        put_u64le(body, last_seq);
        body[8] = REASON_ORIGIN;
        if (!s->memory) {
            st = stream_log(s, REC_SKIP, 0, 0, body, sizeof body, NULL, true, true);
        }
        if (st == ST_OK) {
            stream_apply_skip(s, last_seq);
        }
        if (st == ST_OK && (s->memory || s->durability == DURABILITY_ASYNC)) {
            eng_kick(s->eng, s);
        }
    }
    if (fn != NULL) {
        eng_wait(s->eng, stream_ticket(s), fn, arg, st, 0);
    }
}

uint64_t stream_seq_at_time(struct store_stream *s, int64_t ts_ns)
{
    for (size_t i = 0; s->segs != NULL && i < s->segs->n; i++) {
        const struct seg_view *v = s->segs->v[i];
        uint32_t block_no;
        if (v->row.max_ts >= ts_ns && seg_view_block_by_time(v, ts_ns, &block_no)) {
            uint64_t lo, hi;
            seg_view_block_range(v, block_no, &lo, &hi);
            return u64_max(lo, s->first_seq);
        }
    }
    return u64_max(tail_seq_at_time(&s->tail, ts_ns), s->first_seq);
}
