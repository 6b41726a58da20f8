/* Scans: see store_scan.h. */
#include "engine/store_scan.h"

#include <stdio.h>

#define SCAN_MAGIC 0x5343414eu
#define SCAN_BATCH 256u
#define SCAN_IDLE_NS (300 * NS_PER_S) /* as clients ask for their ordered consumers */

struct store_scan {
    uint32_t magic;
    struct store_stream *s;      /* borrowed */
    const struct store_ops *ops; /* borrowed */
    struct store_cons *cons;     /* ours; NULL until it stands and after close */
    struct store_scan_events ev;
    bool creating; /* on_created will come */
    bool deferred; /* on_deferred will come */
    bool pumping;
    bool paused, caught_up, closed;
};

void store_nuid(struct env *env, char out[STORE_NUID_SIZE])
{
    static const char digit[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (unsigned i = 0; i + 1 < STORE_NUID_SIZE; i++) {
        uint8_t b;
        do { /* 248 is the last multiple of 62: every digit as likely as any other */
            env_random(env, &b, 1);
        } while (b >= 248);
        out[i] = digit[b % 62];
    }
    out[STORE_NUID_SIZE - 1] = 0;
}

/* Frees once nothing refers to it any more. */
static void free_if_over(struct store_scan *c)
{
    if (c->closed && !c->creating && !c->deferred && !c->pumping) {
        c->magic = 0;
        base_free(c);
    }
}

static void drop_consumer(struct store_scan *c)
{
    if (c->cons != NULL) {
        c->ops->cons_attach(c->cons, NULL);
        c->ops->cons_delete(c->cons, NULL, NULL);
        c->cons = NULL;
    }
}

static void pump(struct store_scan *c);

static void on_deferred(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct store_scan *c = arg;
    (void)n;
    (void)err;
    c->deferred = false;
    if (!c->closed && st == ST_OK) {
        pump(c);
    }
    free_if_over(c);
}

/* Goes on in a later turn. */
static void defer(struct store_scan *c)
{
    if (!c->deferred) {
        c->deferred = true;
        c->ops->stream_barrier(c->s, on_deferred, c);
    }
}

static void tell_caught_up(struct store_scan *c)
{
    if (!c->caught_up) {
        c->caught_up = true;
        if (c->ev.caught_up != NULL) {
            c->ev.caught_up(c->ev.arg);
        }
    }
}

/* Gives what there is. c stays allocated until this returns, whatever the callbacks do. */
static void pump(struct store_scan *c)
{
    ASSERT(!c->pumping);
    c->pumping = true;
    for (unsigned n = 0; !c->closed && !c->paused; n++) {
        struct cons_peek p;
        if (n == SCAN_BATCH) {
            defer(c);
            break;
        }
        enum st st = c->ops->cons_peek(c->cons, &p);
        if (st == ST_NOTFOUND) {
            tell_caught_up(c);
        } else if (st != ST_OK && st != ST_AGAIN && st != ST_FULL) {
            c->ev.opened(c->ev.arg, st, 0, NULL);
        }
        if (st != ST_OK) {
            break;
        }
        c->ev.msg(c->ev.arg, &p.m, p.num_pending);
        if (!c->closed) {
            c->ops->cons_take(c->cons);
        }
    }
    c->pumping = false;
}

static void on_ready(void *arg, struct store_cons *cons)
{
    struct store_scan *c = arg;
    (void)cons;
    if (!c->pumping && !c->closed) {
        pump(c);
        free_if_over(c);
    }
}

static void on_created(void *arg, enum st st, struct store_cons *cons, const struct err *err)
{
    struct store_scan *c = arg;
    c->creating = false;
    if (st == ST_OK) {
        c->cons = cons;
    }
    if (c->closed) {
        drop_consumer(c);
        free_if_over(c);
        return;
    }
    struct cons_state state = {0};
    if (st == ST_OK) {
        struct cons_events ev = {.arg = c, .ready = on_ready};
        c->ops->cons_attach(cons, &ev);
        c->ops->cons_state(cons, &state);
    }
    c->pumping = true; /* the callback may close */
    c->ev.opened(c->ev.arg, st, state.num_pending, err);
    c->pumping = false;
    if (st == ST_OK && !c->closed) {
        pump(c);
    }
    free_if_over(c);
}

struct store_scan *store_scan_open(struct store *store, struct env *env, struct store_stream *s,
                                   const struct store_scan_opts *opts,
                                   const struct store_scan_events *ev)
{
    ASSERT(ev->opened != NULL);
    ASSERT(ev->msg != NULL);
    struct store_scan *c = base_calloc(1, sizeof *c);
    c->magic = SCAN_MAGIC;
    c->s = s;
    c->ops = store->ops;
    c->ev = *ev;
    c->creating = true;
    struct cons_cfg cfg;
    cons_cfg_init(&cfg);
    char name[STORE_NUID_SIZE];
    store_nuid(env, name);
    cfg.name = base_strdup(name);
    cfg.deliver = opts->deliver;
    cfg.opt_start_seq = opts->deliver == DELIVER_BY_START_SEQ ? opts->start_seq : 0;
    cfg.ack = ACK_NONE;
    cfg.max_deliver = 1;
    cfg.max_waiting = 512;
    cfg.mem_storage = true;
    cfg.headers_only = opts->headers_only;
    cfg.inactive_threshold_ns = SCAN_IDLE_NS;
    cfg.replicas = 1;
    cfg.single_filter = opts->nfilters == 1;
    cfg.nfilters = opts->nfilters;
    cfg.filters = opts->nfilters == 0 ? NULL : base_calloc(opts->nfilters, sizeof *cfg.filters);
    for (size_t i = 0; i < opts->nfilters; i++) {
        cfg.filters[i] = base_strdup(opts->filters[i]);
    }
    c->ops->cons_create(s, &cfg, on_created, c);
    cons_cfg_fini(&cfg);
    return c;
}

void store_scan_pause(struct store_scan *c)
{
    ASSERT(c->magic == SCAN_MAGIC);
    c->paused = true;
}

void store_scan_resume(struct store_scan *c)
{
    ASSERT(c->magic == SCAN_MAGIC);
    if (c->paused) {
        c->paused = false;
        if (c->cons != NULL && !c->pumping) {
            defer(c);
        }
    }
}

void store_scan_close(struct store_scan *c)
{
    if (c == NULL) {
        return;
    }
    ASSERT(c->magic == SCAN_MAGIC);
    ASSERT(!c->closed);
    c->closed = true;
    drop_consumer(c);
    free_if_over(c);
}
