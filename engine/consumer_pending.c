/* Pending messages of a consumer: a sorted array with holes, the redelivery queue, deadlines, the
 * ack floor.
 *
 * First deliveries ascend by stream sequence, so a new entry goes to the end; acks leave holes,
 * which go from the front at once and from the middle when they are the greater part. */
#include "engine/consumer_impl.h"

#include <stdlib.h>

/* A scan may take a two-hundredth of the time between scans: 200 ns between scans for each pending
 * message. */
enum { SCAN_PACE_NS = 200 };

/* --- lists of sequences ----------------------------------------------------------------------- */

void seqs_push(struct cons_seqs *l, uint64_t seq)
{
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 16 : l->cap * 2;
        l->v = base_realloc(l->v, l->cap * sizeof l->v[0]);
    }
    l->v[l->n++] = seq;
}

void seqs_fini(struct cons_seqs *l)
{
    base_free(l->v);
    *l = (struct cons_seqs){0};
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void seqs_sort(struct cons_seqs *l)
{
    bool sorted = true;
    for (size_t i = 1; i < l->n && sorted; i++) {
        sorted = l->v[i - 1] < l->v[i];
    }
    if (sorted) {
        return;
    }
    qsort(l->v, l->n, sizeof l->v[0], by_value);
    size_t n = 1;
    for (size_t i = 1; i < l->n; i++) {
        if (l->v[i] != l->v[n - 1]) {
            l->v[n++] = l->v[i];
        }
    }
    l->n = n;
}

size_t seqs_find(const struct cons_seqs *l, size_t from, uint64_t seq)
{
    size_t lo = from, hi = l->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->v[mid] < seq) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* --- pending slots ---------------------------------------------------------------------------- */

/* Place of the first slot with sseq >= seq, counted from head. */
static size_t slot_find(const struct cons_pends *p, uint64_t seq)
{
    const struct cons_pend *v = p->v + p->head;
    size_t lo = 0, hi = p->n;
    if (p->n > 0 && seq >= v[0].sseq && seq - v[0].sseq < p->n && v[seq - v[0].sseq].sseq == seq) {
        return (size_t)(seq - v[0].sseq); /* dense */
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v[mid].sseq < seq) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct cons_pend *pends_find(const struct cons_pends *p, uint64_t sseq)
{
    if (p->n == 0) {
        return NULL;
    }
    size_t i = slot_find(p, sseq);
    struct cons_pend *e = p->v + p->head + i;
    return i < p->n && e->sseq == sseq && e->dcount > 0 ? e : NULL;
}

static struct cons_pend *next_from(const struct cons_pends *p, uint64_t from, bool exhausted_too)
{
    for (size_t i = p->n == 0 ? 0 : slot_find(p, from); i < p->n; i++) {
        struct cons_pend *e = p->v + p->head + i;
        if (e->dcount > 0 && (exhausted_too || (e->flags & PEND_EXHAUSTED) == 0)) {
            return e;
        }
    }
    return NULL;
}

/* First (not a hole) with sseq > after, exhausted ones left out; NULL = none. */
static struct cons_pend *pends_next(const struct cons_pends *p, uint64_t after)
{
    return next_from(p, after + 1, false);
}

struct cons_pend *pends_at_or_after(const struct cons_pends *p, uint64_t sseq)
{
    return next_from(p, sseq, true);
}

static void make_room(struct cons_pends *p)
{
    if (p->head + p->n < p->cap) {
        return;
    }
    if (p->head > p->cap / 2) {
        memmove(p->v, p->v + p->head, p->n * sizeof p->v[0]);
        p->head = 0;
        return;
    }
    p->cap = p->cap == 0 ? 8 : p->cap * 2;
    p->v = base_realloc(p->v, p->cap * sizeof p->v[0]);
}

struct cons_pend *pends_put(struct cons_pends *p, uint64_t sseq)
{
    size_t i = p->n == 0 || p->v[p->head + p->n - 1].sseq < sseq ? p->n : slot_find(p, sseq);
    if (i < p->n && p->v[p->head + i].sseq == sseq) {
        struct cons_pend *e = p->v + p->head + i;
        if (e->dcount == 0) {
            p->used++;
        }
        return e;
    }
    make_room(p);
    struct cons_pend *e = p->v + p->head + i;
    memmove(e + 1, e, (p->n - i) * sizeof *e);
    *e = (struct cons_pend){.sseq = sseq, .deadline_ns = INT64_MAX};
    p->n++;
    p->used++;
    return e;
}

void pends_drop(struct cons_pends *p, struct cons_pend *e)
{
    ASSERT(e->dcount > 0);
    e->dcount = 0;
    p->used--;
    while (p->n > 0 && p->v[p->head].dcount == 0) {
        p->head++;
        p->n--;
    }
    if (p->n == 0) {
        p->head = 0;
        if (p->cap > 64) {
            base_free(p->v);
            p->v = NULL;
            p->cap = 0;
        }
    } else if (p->n > 64 && p->used < p->n / 2) {
        size_t n = 0;
        for (size_t i = 0; i < p->n; i++) {
            if (p->v[p->head + i].dcount > 0) {
                p->v[n++] = p->v[p->head + i];
            }
        }
        p->head = 0;
        p->n = n;
    }
}

void pends_fini(struct cons_pends *p)
{
    base_free(p->v);
    *p = (struct cons_pends){0};
}

/* --- redelivery ------------------------------------------------------------------------------- */

void cons_queue(struct store_cons *c, struct cons_pend *e)
{
    if ((e->flags & (PEND_QUEUED | PEND_EXHAUSTED)) == 0) {
        e->flags |= PEND_QUEUED;
        seqs_push(&c->queue, e->sseq);
    }
}

void cons_queue_pop(struct store_cons *c)
{
    c->queue_at++;
    if (c->queue_at == c->queue.n) {
        c->queue_at = c->queue.n = 0;
    } else if (c->queue_at > 1024 && c->queue_at > c->queue.n / 2) {
        c->queue.n -= c->queue_at;
        memmove(c->queue.v, c->queue.v + c->queue_at, c->queue.n * sizeof c->queue.v[0]);
        c->queue_at = 0;
    }
}

uint64_t cons_queue_front(struct store_cons *c)
{
    while (c->queue_at < c->queue.n) {
        uint64_t sseq = c->queue.v[c->queue_at];
        const struct cons_pend *e = pends_find(&c->pend, sseq);
        if (e != NULL && (e->flags & PEND_QUEUED) != 0) {
            return sseq;
        }
        cons_queue_pop(c);
    }
    return 0;
}

static int64_t wait_ns(const struct cons_cfg *cfg, uint32_t dcount)
{
    if (cfg->nbackoff > 0) {
        size_t i = dcount == 0 ? 0 : dcount - 1;
        return cfg->backoff_ns[i < cfg->nbackoff ? i : cfg->nbackoff - 1];
    }
    return cfg->ack_wait_ns > 0 ? cfg->ack_wait_ns : INT64_MAX;
}

int64_t cons_wait_ns(const struct store_cons *c, uint32_t dcount)
{
    return wait_ns(&c->cfg, dcount);
}

void cons_wait_changed(struct store_cons *c, const struct cons_cfg *before)
{
    for (struct cons_pend *e = pends_begin(&c->pend); e != pends_end(&c->pend); e++) {
        if (e->dcount == 0 || e->deadline_ns == INT64_MAX ||
            (e->flags & (PEND_QUEUED | PEND_EXHAUSTED)) != 0) {
            continue;
        }
        int64_t was = wait_ns(before, e->dcount), is = wait_ns(&c->cfg, e->dcount);
        if (was != is && was != INT64_MAX) {
            cons_set_deadline(c, e,
                              is == INT64_MAX ? INT64_MAX
                                              : i64_add_sat(i64_sub_sat(e->deadline_ns, was), is));
            cons_mark(c, e);
        }
    }
}

void cons_set_deadline(struct store_cons *c, struct cons_pend *e, int64_t at_boot_ns)
{
    e->deadline_ns = at_boot_ns;
    if (at_boot_ns < c->scan_at_ns) {
        c->scan_at_ns = at_boot_ns;
        cons_arm(c);
    }
}

static bool used_up(const struct store_cons *c, const struct cons_pend *e)
{
    return c->cfg.max_deliver > 0 && e->dcount >= (uint64_t)c->cfg.max_deliver;
}

void cons_scan(struct store_cons *c, int64_t now_boot_ns)
{
    int64_t next = INT64_MAX;
    struct cons_seqs gone = {0};
    size_t queued = 0;
    for (struct cons_pend *e = pends_begin(&c->pend); e != pends_end(&c->pend); e++) {
        if (e->dcount == 0 || (e->flags & (PEND_QUEUED | PEND_EXHAUSTED)) != 0) {
            continue;
        }
        if (e->deadline_ns > now_boot_ns) {
            next = e->deadline_ns < next ? e->deadline_ns : next;
        } else if (used_up(c, e)) {
            e->flags |= PEND_EXHAUSTED;
            c->nack--;
            cons_mark(c, e);
            seqs_push(&gone, e->sseq);
        } else {
            cons_queue(c, e);
            queued++;
        }
    }
    int64_t pace = now_boot_ns + (int64_t)c->pend.n * SCAN_PACE_NS;
    c->scan_at_ns = next != INT64_MAX && next < pace ? pace : next;
    if (gone.n > 0) {
        cons_mark_position(c, false);
    }
    if (queued > 0 || gone.n > 0) {
        cons_ready_soon(c);
    }
    for (size_t i = 0; i < gone.n && c->attached && c->ev.max_deliver != NULL; i++) {
        const struct cons_pend *e = pends_find(&c->pend, gone.v[i]);
        c->ev.max_deliver(c->ev.arg, c, gone.v[i],
                          e != NULL ? e->dcount : (uint64_t)c->cfg.max_deliver);
    }
    seqs_fini(&gone);
}

/* --- the floor -------------------------------------------------------------------------------- */

void cons_settle(struct store_cons *c, struct cons_pend *e)
{
    uint64_t sseq = e->sseq, cseq = e->cseq;
    bool counted = (e->flags & PEND_EXHAUSTED) == 0;
    if ((e->flags & PEND_LOGGED) != 0 && cons_logs_state(c)) {
        seqs_push(&c->acked, sseq);
    }
    c->nredelivered -= e->dcount > 1;
    c->nack -= counted;
    pends_drop(&c->pend, e);
    if (!counted) {
        return;
    }
    if (c->nack == 0) {
        c->floor_cseq = c->delivered_cseq;
        c->floor_sseq = c->delivered_sseq;
        return;
    }
    if (cseq != c->floor_cseq + 1) {
        return;
    }
    const struct cons_pend *low = pends_next(&c->pend, sseq);
    c->floor_cseq = low != NULL ? low->cseq - 1 : cseq;
    c->floor_sseq = low != NULL ? low->sseq - 1 : sseq;
}
