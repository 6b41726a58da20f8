#include "broker/loop.h"

#include <poll.h>
#include <sched.h>
#include <uv.h>

#include "broker/loop_turn.h"
#include "broker/spin.h"
#include "engine/base/base.h"

#define LOOP_MAGIC 0x4c4f4f50u
#define HOOKS_MAX 16u
/* No system call is quicker: ends the polling where a clock stands still. */
#define LOOK_NS_MIN 100

struct hook {
    brk_hook_fn fn; /* NULL: taken away */
    void *arg;
};

struct brk_slice {
    struct brk_loop *loop;
    brk_slice_fn fn;
    void *arg;
    bool queued;    /* in loop's list */
    bool running;   /* fn is on the stack */
    bool destroyed; /* from inside fn */
    struct brk_slice *next;
};

struct brk_timer {
    uv_timer_t uv;
    brk_hook_fn fn; /* NULL: destroyed */
    void *arg;
};

struct brk_loop {
    uint32_t magic;
    uv_loop_t uv;
    uv_async_t bell;
    uv_prepare_t prepare;
    uv_idle_t spin; /* active while slices wait, so that the loop does not sleep */
    struct env *env;
    struct hook turn[HOOKS_MAX], wake[HOOKS_MAX];
    uint32_t turn_count, wake_count;
    struct hook begin, end; /* the server's own: interest changes first, flush last */
    struct brk_slice *slices_first, **slices_tail;
    struct brk_spin busy_poll;
    bool spinning, stopping;
    bool may_poll; /* inside brk_loop_run */
};

static void on_bell(uv_async_t *bell)
{
    struct brk_loop *l = bell->data;
    for (uint32_t i = 0; i < l->wake_count; i++) {
        if (l->wake[i].fn != NULL) {
            l->wake[i].fn(l->wake[i].arg);
        }
    }
}

static void on_spin(uv_idle_t *h)
{
    (void)h;
}

static struct brk_slice *slice_pop(struct brk_loop *l)
{
    struct brk_slice *s = l->slices_first;
    l->slices_first = s->next;
    if (l->slices_first == NULL) {
        l->slices_tail = &l->slices_first;
    }
    s->queued = false;
    s->next = NULL;
    return s;
}

static void slice_push(struct brk_slice *s)
{
    s->queued = true;
    s->next = NULL;
    *s->loop->slices_tail = s;
    s->loop->slices_tail = &s->next;
}

static void run_slices(struct brk_loop *l)
{
    int64_t until_ns = 0;
    for (uint32_t step = 0; l->slices_first != NULL && step < BRK_SLICE_STEPS_MAX; step++) {
        if (step == 0) {
            until_ns = env_boot_ns(l->env) + BRK_SLICE_NS_MAX;
        } else if (step % 4 == 0 && env_boot_ns(l->env) >= until_ns) {
            break;
        }
        struct brk_slice *s = slice_pop(l);
        s->running = true;
        bool more = s->fn(s->arg);
        s->running = false;
        if (s->destroyed) {
            base_free(s);
        } else if (more && !s->queued) {
            slice_push(s);
        }
    }
    bool spin = l->slices_first != NULL;
    if (spin != l->spinning) {
        l->spinning = spin;
        (void)(spin ? uv_idle_start(&l->spin, on_spin) : uv_idle_stop(&l->spin));
    }
}

/* Looks for events without taking them, until one is there or the window is over. The processor is
 * offered to others all the time: what is waited for may need it (the journal's lane, a client). */
static enum brk_spin_end look(struct brk_loop *l, int64_t window_ns, int64_t until_ns)
{
    struct pollfd fd = {.fd = uv_backend_fd(&l->uv), .events = POLLIN};
    if (poll(&fd, 1, 0) != 0) {
        return BRK_SPIN_READY;
    }
    for (int64_t looks = window_ns / LOOK_NS_MIN; looks > 0; looks--) {
        (void)sched_yield();
        if (poll(&fd, 1, 0) != 0) {
            return BRK_SPIN_CAME;
        }
        if (env_boot_ns(l->env) >= until_ns) {
            break;
        }
    }
    return BRK_SPIN_NONE;
}

static void poll_before_sleep(struct brk_loop *l)
{
    /* 0: libuv will not wait, or has sockets that it has not told the kernel of yet */
    if (!l->may_poll || uv_backend_timeout(&l->uv) == 0 || !brk_spin_due(&l->busy_poll)) {
        return;
    }
    int64_t began_ns = env_boot_ns(l->env);
    int64_t window_ns = brk_spin_window(&l->busy_poll, began_ns);
    if (window_ns > 0) {
        enum brk_spin_end end = look(l, window_ns, began_ns + window_ns);
        brk_spin_ended(&l->busy_poll, end, began_ns, env_boot_ns(l->env));
    }
}

/* The end of a turn: between the timers and the next poll, so that nothing waits over a sleep. */
static void on_prepare(uv_prepare_t *h)
{
    struct brk_loop *l = h->data;
    if (l->begin.fn != NULL) {
        l->begin.fn(l->begin.arg);
    }
    run_slices(l);
    for (uint32_t i = 0; i < l->turn_count; i++) {
        if (l->turn[i].fn != NULL) {
            l->turn[i].fn(l->turn[i].arg);
        }
    }
    if (l->end.fn != NULL) {
        l->end.fn(l->end.arg);
    }
    poll_before_sleep(l);
}

enum st brk_loop_create(struct env *env, struct brk_loop **loop_out, struct err *err)
{
    *loop_out = NULL;
    struct brk_loop *l = base_calloc(1, sizeof *l);
    l->magic = LOOP_MAGIC;
    l->env = env;
    l->slices_tail = &l->slices_first;
    int rc = uv_loop_init(&l->uv);
    if (rc != 0) {
        base_free(l);
        return err_set(err, ST_NOMEM, -rc, "event loop: %s", uv_strerror(rc));
    }
    rc = uv_async_init(&l->uv, &l->bell, on_bell);
    if (rc != 0) {
        (void)uv_loop_close(&l->uv);
        base_free(l);
        return err_set(err, ST_NOMEM, -rc, "event loop doorbell: %s", uv_strerror(rc));
    }
    l->bell.data = l;
    brk_spin_init(&l->busy_poll, 0);
    (void)uv_prepare_init(&l->uv, &l->prepare);
    l->prepare.data = l;
    (void)uv_prepare_start(&l->prepare, on_prepare);
    (void)uv_idle_init(&l->uv, &l->spin);
    *loop_out = l;
    return ST_OK;
}

void brk_loop_run(struct brk_loop *l)
{
    ASSERT(l->magic == LOOP_MAGIC);
    l->may_poll = true;
    while (!l->stopping) {
        (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    }
    l->may_poll = false;
    l->stopping = false;
}

bool brk_loop_poll(struct brk_loop *l)
{
    ASSERT(l->magic == LOOP_MAGIC);
    return uv_run(&l->uv, UV_RUN_NOWAIT) != 0;
}

bool brk_loop_turn(struct brk_loop *l)
{
    ASSERT(l->magic == LOOP_MAGIC);
    return uv_run(&l->uv, UV_RUN_ONCE) != 0;
}

void brk_loop_stop(struct brk_loop *l)
{
    l->stopping = true;
    uv_stop(&l->uv);
}

static void close_leftover(uv_handle_t *h, void *arg)
{
    struct brk_loop *l = arg;
    if (uv_is_closing(h)) {
        return;
    }
    ASSERT(h == (uv_handle_t *)&l->bell || h == (uv_handle_t *)&l->prepare ||
           h == (uv_handle_t *)&l->spin);
    uv_close(h, NULL);
}

void brk_loop_destroy(struct brk_loop *l)
{
    if (l == NULL) {
        return;
    }
    ASSERT(l->magic == LOOP_MAGIC);
    ASSERT(l->slices_first == NULL);
    uv_walk(&l->uv, close_leftover, l);
    while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0) {
    }
    int rc = uv_loop_close(&l->uv);
    ASSERT(rc == 0);
    l->magic = 0;
    base_free(l);
}

struct uv_loop_s *brk_loop_uv(struct brk_loop *l)
{
    return &l->uv;
}

void brk_loop_set_busy_poll(struct brk_loop *l, int64_t window_ns)
{
    brk_spin_init(&l->busy_poll, window_ns);
}

const struct brk_spin *brk_loop_busy_poll(const struct brk_loop *l)
{
    return &l->busy_poll;
}

int64_t brk_loop_now_ms(struct brk_loop *l)
{
    return (int64_t)uv_now(&l->uv);
}

static void hook_add(struct hook *hooks, uint32_t *count, brk_hook_fn fn, void *arg)
{
    for (uint32_t i = 0; i < *count; i++) {
        if (hooks[i].fn == NULL) {
            hooks[i] = (struct hook){fn, arg};
            return;
        }
    }
    ASSERT(*count < HOOKS_MAX);
    hooks[(*count)++] = (struct hook){fn, arg};
}

void brk_loop_on_wake(struct brk_loop *l, brk_hook_fn fn, void *arg)
{
    hook_add(l->wake, &l->wake_count, fn, arg);
}

void brk_loop_wake(struct brk_loop *l)
{
    (void)uv_async_send(&l->bell);
}

void brk_loop_on_turn(struct brk_loop *l, brk_hook_fn fn, void *arg)
{
    hook_add(l->turn, &l->turn_count, fn, arg);
}

void brk_loop_off(struct brk_loop *l, brk_hook_fn fn, void *arg)
{
    for (uint32_t i = 0; i < HOOKS_MAX; i++) {
        if (l->turn[i].fn == fn && l->turn[i].arg == arg) {
            l->turn[i].fn = NULL;
        }
        if (l->wake[i].fn == fn && l->wake[i].arg == arg) {
            l->wake[i].fn = NULL;
        }
    }
}

void brk_loop_set_ends(struct brk_loop *l, brk_hook_fn begin, brk_hook_fn end, void *arg)
{
    l->begin = (struct hook){begin, arg};
    l->end = (struct hook){end, arg};
}

/* --- timers ----------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *h)
{
    struct brk_timer *t = h->data;
    if (t->fn != NULL) {
        t->fn(t->arg);
    }
}

struct brk_timer *brk_timer_create(struct brk_loop *l, brk_hook_fn fn, void *arg)
{
    struct brk_timer *t = base_calloc(1, sizeof *t);
    (void)uv_timer_init(&l->uv, &t->uv);
    t->uv.data = t;
    t->fn = fn;
    t->arg = arg;
    return t;
}

void brk_timer_start(struct brk_timer *t, uint64_t delay_ms, uint64_t repeat_ms)
{
    ASSERT(t->fn != NULL);
    (void)uv_timer_start(&t->uv, on_timer, delay_ms, repeat_ms);
}

void brk_timer_stop(struct brk_timer *t)
{
    (void)uv_timer_stop(&t->uv);
}

bool brk_timer_active(const struct brk_timer *t)
{
    return uv_is_active((const uv_handle_t *)&t->uv) != 0;
}

static void free_timer(uv_handle_t *h)
{
    base_free(h->data);
}

void brk_timer_destroy(struct brk_timer *t)
{
    if (t != NULL) {
        t->fn = NULL;
        uv_close((uv_handle_t *)&t->uv, free_timer);
    }
}

/* --- slices ----------------------------------------------------------------------------------- */

struct brk_slice *brk_slice_create(struct brk_loop *l, brk_slice_fn fn, void *arg)
{
    struct brk_slice *s = base_calloc(1, sizeof *s);
    s->loop = l;
    s->fn = fn;
    s->arg = arg;
    return s;
}

void brk_slice_kick(struct brk_slice *s)
{
    if (!s->queued && !s->destroyed) {
        slice_push(s);
        if (!s->loop->spinning) {
            s->loop->spinning = true;
            (void)uv_idle_start(&s->loop->spin, on_spin);
        }
    }
}

static void slice_unlink(struct brk_slice *s)
{
    struct brk_loop *l = s->loop;
    struct brk_slice **p = &l->slices_first;
    while (*p != s) {
        p = &(*p)->next;
    }
    *p = s->next;
    if (l->slices_tail == &s->next) {
        l->slices_tail = p;
    }
    s->queued = false;
}

void brk_slice_destroy(struct brk_slice *s)
{
    if (s == NULL) {
        return;
    }
    if (s->queued) {
        slice_unlink(s);
    }
    if (s->running) {
        s->destroyed = true;
    } else {
        base_free(s);
    }
}
