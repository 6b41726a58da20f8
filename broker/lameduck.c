#include "broker/lameduck.h"

#include "broker/conn_priv.h"
#include "broker/transport.h"
#include "engine/base/base.h"

#define STEP_MS_MAX 1000

/* How long until the next client goes: the clients spread over what is left of the duration, never
 * more than a second apart, and not in step with other servers that do the same. */
static uint64_t step_ms(struct brk_server *s)
{
    struct brk_impl *im = brk_impl_of(s);
    uint64_t most = im->lame_left_ms / (s->conns_count > 0 ? s->conns_count : 1);
    most = u64_min(most, STEP_MS_MAX);
    uint64_t ms = most == 0 ? 0 : brk_random(im) % most;
    im->lame_left_ms -= u64_min(ms, im->lame_left_ms);
    return ms;
}

static struct brk_conn *next_to_go(const struct brk_server *s)
{
    struct brk_conn *c = s->conns_first;
    while (c != NULL && c->state == BRK_CONN_CLOSING) {
        c = c->next;
    }
    return c;
}

static void on_step(void *arg)
{
    struct brk_server *s = arg;
    struct brk_impl *im = brk_impl_of(s);
    if (s->shutting_down) {
        return;
    }
    if (!im->lame_closing) {
        im->lame_closing = true;
        log_inf("Closing existing clients");
    }
    /* More clients than milliseconds: several a step. */
    uint64_t batch = im->lame_left_ms > 0 ? s->conns_count / im->lame_left_ms + 1 : UINT64_MAX;
    struct brk_conn *c = next_to_go(s);
    while (c != NULL && batch-- > 0) {
        brk_conn_close(c, BRK_CLOSE_SHUTDOWN, NULL);
        c = next_to_go(s);
    }
    if (c == NULL) {
        log_inf("Initiating Shutdown...");
        brk_server_shutdown(s);
        return;
    }
    brk_timer_start(im->lame_timer, step_ms(s), 0);
}

void brk_lame_duck_enter(struct brk_server *s)
{
    struct brk_impl *im = brk_impl_of(s);
    if (s->lame_duck || s->shutting_down) {
        return;
    }
    s->lame_duck = true;
    log_inf("Entering lame duck mode, stop accepting new clients");
    brk_listener_close(s->listener);
    s->listener = NULL;
    if (next_to_go(s) == NULL) {
        log_inf("Initiating Shutdown...");
        brk_server_shutdown(s);
        return;
    }
    for (struct brk_conn *c = s->conns_first; c != NULL; c = c->next) {
        if (c->state == BRK_CONN_OPEN && c->protocol >= 1) {
            brk_conn_send_info(c, false);
        }
    }
    int64_t rest = s->opts->lame_duck_duration_ns - s->opts->lame_duck_grace_ns;
    im->lame_left_ms = rest > 0 ? (uint64_t)(rest / NS_PER_MS) : 0;
    im->lame_timer = brk_timer_create(s->loop, on_step, s);
    brk_timer_start(im->lame_timer, (uint64_t)(s->opts->lame_duck_grace_ns / NS_PER_MS), 0);
}

void brk_lame_duck_fini(struct brk_server *s)
{
    brk_timer_destroy(brk_impl_of(s)->lame_timer);
    brk_impl_of(s)->lame_timer = NULL;
}
