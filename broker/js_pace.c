/* How fast a consumer sends: `replay_policy: original` (as far apart as the messages came in, until
 * it has caught up) and `rate_limit_bps` (a bucket of tokens; its size is the stream's largest
 * message, so that any message can pass).
 *
 * Both only hold back new deliveries; redeliveries of a replay go at once. Loop thread only;
 * nothing here is kept over a restart: a replay begins at the message it stands at. */
#include "broker/js_int.h"

#include "engine/base/base.h"
#include "engine/base/env.h"

#define JS_BURST_DEFAULT (1024.0 * 1024.0) /* bytes; the largest payload a server takes unasked */

static int64_t boot_ns(const struct js_consumer *c)
{
    return env_boot_ns(c->stream->ja->js->d.env);
}

void js_pace_reload(struct js_consumer *c, const struct cons_cfg *k)
{
    const struct js *js = c->stream->ja->js;
    double rate = (double)k->rate_limit_bps / 8.0;
    int32_t largest = js->ops->stream_cfg(c->stream->ss)->max_msg_size;
    c->burst = largest > 0 ? (double)largest : JS_BURST_DEFAULT;
    if (rate > 0 && rate != c->rate_bytes) {
        c->tokens = c->burst;
        c->tokens_at_ns = boot_ns(c);
    }
    c->rate_bytes = rate;
    if (k->replay == REPLAY_ORIGINAL && c->replay_at_ns == 0) {
        c->replaying = true;
    }
}

void js_pace_stop(struct js_consumer *c)
{
    brk_timer_destroy(c->pace);
    c->pace = NULL;
}

static void due(void *arg)
{
    struct js_consumer *c = arg;
    if (!c->gone) {
        js_consumer_queue_run(c);
    }
}

/* Nanoseconds until a replayed message is due. */
static int64_t replay_left(const struct js_consumer *c, const struct cons_peek *p)
{
    if (!c->replaying || p->dcount > 1 || c->replay_ts_ns == 0) {
        return 0;
    }
    int64_t gap = i64_sub_sat(p->m.ts_ns, c->replay_ts_ns);
    return gap < NS_PER_MS ? 0 : i64_max(i64_add_sat(c->replay_at_ns, gap) - boot_ns(c), 0);
}

static int64_t rate_left(struct js_consumer *c, size_t size)
{
    if (c->rate_bytes <= 0) {
        return 0;
    }
    int64_t now = boot_ns(c);
    c->tokens += (double)(now - c->tokens_at_ns) * c->rate_bytes / (double)NS_PER_S;
    c->tokens = c->tokens > c->burst ? c->burst : c->tokens;
    c->tokens_at_ns = now;
    double need = (double)size > c->burst ? c->burst : (double)size;
    return need <= c->tokens ? 0
                             : (int64_t)((need - c->tokens) / c->rate_bytes * (double)NS_PER_S) + 1;
}

bool js_pace_ready(struct js_consumer *c, const struct cons_peek *p, size_t size)
{
    int64_t left = i64_max(replay_left(c, p), rate_left(c, size));
    if (left == 0) {
        return true;
    }
    if (c->pace == NULL) {
        c->pace = brk_timer_create(c->stream->ja->js->d.loop, due, c);
    }
    brk_timer_start(c->pace, (uint64_t)js_ms_up(left), 0);
    return false;
}

void js_pace_sent(struct js_consumer *c, const struct cons_peek *p, size_t size)
{
    if (c->replaying && p->dcount == 1) {
        c->replay_ts_ns = p->m.ts_ns;
        c->replay_at_ns = boot_ns(c);
    }
    if (c->rate_bytes > 0) {
        c->tokens -= (double)size > c->burst ? c->burst : (double)size;
    }
}
