/* Completions, timers and deferred work of the owner.
 *
 * Waiters stand in one ring in the order of their tickets. A waiter for an older ticket than the
 * last one in the ring waits for that one too: at most the groups in flight, and the ring stays a
 * ring. What is already done goes to the ready ring and runs at the next turn, so that no callback
 * runs inside the call that asked. */
#include "engine/eng.h"

static void ring_push(struct eng_ring *r, struct eng_waiter w)
{
    if (r->n == r->cap) {
        size_t cap = r->cap == 0 ? 256 : r->cap * 2;
        struct eng_waiter *v = base_malloc(cap * sizeof *v);
        for (size_t i = 0; i < r->n; i++) {
            v[i] = r->v[(r->head + i) & (r->cap - 1)];
        }
        base_free(r->v);
        r->v = v;
        r->cap = cap;
        r->head = 0;
    }
    r->v[(r->head + r->n) & (r->cap - 1)] = w;
    r->n++;
}

static struct eng_waiter ring_pop(struct eng_ring *r)
{
    struct eng_waiter w = r->v[r->head];
    r->head = (r->head + 1) & (r->cap - 1);
    r->n--;
    return w;
}

static void ring_shrink(struct eng_ring *r)
{
    if (r->n == 0 && r->cap > 16384) {
        base_free(r->v);
        *r = (struct eng_ring){0};
    }
}

static void push_waiter(struct eng *e, struct eng_waiter w)
{
    if (e->poisoned != ST_OK && w.ticket > e->done_ticket) {
        w.st = ST_POISONED;
        w.ticket = 0;
    }
    if (w.ticket <= e->done_ticket) {
        ring_push(&e->ready, w);
        return;
    }
    if (e->waiting.n > 0) {
        const struct eng_waiter *last =
            &e->waiting.v[(e->waiting.head + e->waiting.n - 1) & (e->waiting.cap - 1)];
        w.ticket = u64_max(w.ticket, last->ticket);
    }
    ring_push(&e->waiting, w);
}

void eng_wait(struct eng *e, uint64_t ticket, store_done_fn fn, void *arg, enum st st, uint64_t n)
{
    ASSERT(fn != NULL);
    push_waiter(e, (struct eng_waiter){.ticket = ticket, .fn = fn, .arg = arg, .n = n, .st = st});
}

void eng_wait_own(struct eng *e, uint64_t ticket, store_done_fn fn, void *arg, enum st st,
                  uint64_t n)
{
    push_waiter(e, (struct eng_waiter){
                       .ticket = ticket, .fn = fn, .arg = arg, .n = n, .st = st, .own = true});
}

void eng_wait_append(struct eng *e, uint64_t ticket, store_append_fn fn, void *arg, uint64_t seq)
{
    push_waiter(e, (struct eng_waiter){.ticket = ticket, .append_fn = fn, .arg = arg, .n = seq});
}

static void complete(struct eng *e, const struct eng_waiter *w)
{
    if (w->append_fn != NULL) {
        struct store_append_result r = {.verdict = w->st == ST_OK ? APPEND_STORED : APPEND_FAILED,
                                        .seq = w->n};
        w->append_fn(w->arg, &r);
    } else {
        w->fn(w->arg, w->st, w->n, w->st == ST_POISONED ? &e->poison_err : NULL);
    }
}

void eng_run_done(struct eng *e)
{
    while (e->waiting.n > 0 && e->waiting.v[e->waiting.head].ticket <= e->done_ticket) {
        struct eng_waiter w = ring_pop(&e->waiting);
        complete(e, &w);
    }
    /* Only what is ready now: a callback that asks again is served in the next turn. */
    for (size_t n = e->ready.n; n > 0; n--) {
        struct eng_waiter w = ring_pop(&e->ready);
        complete(e, &w);
    }
    ring_shrink(&e->waiting);
    ring_shrink(&e->ready);
}

void eng_poison(struct eng *e, enum st st, const struct err *err)
{
    if (e->poisoned != ST_OK) {
        return;
    }
    e->poisoned = st;
    e->poison_err = *err;
    while (e->waiting.n > 0) {
        struct eng_waiter w = ring_pop(&e->waiting);
        w.st = ST_POISONED;
        ring_push(&e->ready, w);
    }
}

/* --- deferred work ---------------------------------------------------------------------------- */

void eng_defer(struct eng *e, void (*fn)(void *arg), void *arg)
{
    if (e->ndeferred == e->deferred_cap) {
        e->deferred_cap = e->deferred_cap == 0 ? 32 : e->deferred_cap * 2;
        e->deferred = base_realloc(e->deferred, e->deferred_cap * sizeof *e->deferred);
    }
    e->deferred[e->ndeferred++] = (struct eng_deferred){fn, arg};
}

void eng_undefer(struct eng *e, const void *arg)
{
    for (size_t i = 0; i < e->ndeferred; i++) {
        if (e->deferred[i].arg == arg) {
            e->deferred[i].fn = NULL;
        }
    }
}

void eng_kick(struct eng *e, struct store_stream *s)
{
    for (size_t i = e->nkick; i > 0 && i + 4 > e->nkick; i--) {
        if (e->kick[i - 1] == s) {
            return;
        }
    }
    if (e->nkick == e->kick_cap) {
        e->kick_cap = e->kick_cap == 0 ? 16 : e->kick_cap * 2;
        e->kick = base_realloc(e->kick, e->kick_cap * sizeof *e->kick);
    }
    e->kick[e->nkick++] = s;
}

void eng_forget_stream(struct eng *e, struct store_stream *s)
{
    for (size_t i = 0; i < e->nkick; i++) {
        if (e->kick[i] == s) {
            e->kick[i] = NULL;
        }
    }
    eng_undefer(e, s);
}

void eng_hold_block(struct eng *e, struct block *b)
{
    if (e->nheld == e->held_cap) {
        e->held_cap = e->held_cap == 0 ? 16 : e->held_cap * 2;
        e->held = base_realloc(e->held, e->held_cap * sizeof *e->held);
    }
    e->held[e->nheld++] = b;
}

void eng_run_deferred(struct eng *e)
{
    for (size_t i = 0; i < e->nkick; i++) {
        if (e->kick[i] != NULL) {
            stream_set_visible(e->kick[i], e->kick[i]->last_seq);
        }
    }
    e->nkick = 0;
    /* What a deferred call defers itself runs in the next turn. */
    size_t n = e->ndeferred;
    for (size_t i = 0; i < n; i++) {
        struct eng_deferred d = e->deferred[i];
        e->deferred[i].fn = NULL;
        if (d.fn != NULL) {
            d.fn(d.arg);
        }
    }
    if (n > 0) {
        memmove(e->deferred, e->deferred + n, (e->ndeferred - n) * sizeof *e->deferred);
        e->ndeferred -= n;
    }
    for (size_t i = 0; i < e->nheld; i++) {
        block_release(e->held[i]);
    }
    e->nheld = 0;
}

/* --- time ------------------------------------------------------------------------------------- */

int64_t eng_boot_ns(struct eng *e)
{
    if (e->boot_ns == 0) {
        e->boot_ns = env_boot_ns(e->env);
    }
    return e->boot_ns;
}

int64_t eng_now_ns(struct eng *e)
{
    if (e->now_ns == 0) {
        e->now_ns = store_time_read(&e->time, env_real_ns(e->env), eng_boot_ns(e));
        if (e->jr != NULL) {
            jr_set_wall_ns(e->jr, (uint64_t)e->now_ns);
        }
    }
    return e->now_ns;
}

struct eng_timer {
    struct wheel_node node;
    struct eng *e;
    void (*fn)(void *arg);
    void *arg;
};

struct eng_timer *eng_timer_create(struct eng *e, void (*fn)(void *arg), void *arg)
{
    struct eng_timer *t = base_calloc(1, sizeof *t);
    t->e = e;
    t->fn = fn;
    t->arg = arg;
    return t;
}

void eng_timer_set(struct eng_timer *t, int64_t at_boot_ns)
{
    wheel_arm(&t->e->wheel, &t->node, at_boot_ns);
}

void eng_timer_destroy(struct eng_timer *t)
{
    if (t != NULL) {
        wheel_cancel(&t->e->wheel, &t->node);
        base_free(t);
    }
}

int64_t eng_run_timers(struct eng *e)
{
    struct wheel_node *node;
    /* Bounded: a timer that arms itself for now must not keep the loop. */
    for (int i = 0; i < 10000 && (node = wheel_pop(&e->wheel, eng_boot_ns(e))) != NULL; i++) {
        struct eng_timer *t = CONTAINER_OF(node, struct eng_timer, node);
        t->fn(t->arg);
    }
    return wheel_next(&e->wheel);
}

static void drop_waiters(struct eng_ring *r)
{
    while (r->n > 0) {
        struct eng_waiter w = ring_pop(r);
        if (w.own) {
            w.fn(w.arg, ST_CLOSED, 0, NULL);
        }
    }
}

void eng_wait_fini(struct eng *e)
{
    drop_waiters(&e->waiting);
    drop_waiters(&e->ready);
    for (size_t i = 0; i < e->nheld; i++) {
        block_release(e->held[i]);
    }
    base_free(e->waiting.v);
    base_free(e->ready.v);
    base_free(e->deferred);
    base_free(e->kick);
    base_free(e->held);
    wheel_fini(&e->wheel);
}
