/* Push consumers: delivery while the deliver subject has a subscriber, idle heartbeats, flow
 * control.
 *
 * Flow control: of the bytes sent since the last answer, once more than half the window is out a
 * request
 * (`100 FlowControl Request`, reply $JS.FC.<stream>.<consumer>.<n>) is sent; when the window is
 * full nothing is sent until the client answers it, and heartbeats then carry
 * Nats-Consumer-Stalled. Each answer that comes before the window is full doubles the window, up to
 * 32 MiB. */
#include "broker/js_int.h"

#include <stdio.h>

#include "engine/base/base.h"

static void interest_changed(void *arg, bool active)
{
    struct js_consumer *c = arg;
    struct js *js = c->stream->ja->js;
    if (c->gone || c->active == active) {
        return;
    }
    c->active = active;
    js_consumer_used(c);
    if (active) {
        if (c->idle != NULL) {
            brk_timer_stop(c->idle);
        }
        c->last_sent_ms = js_now_ms(js);
        if (c->heartbeat_ms > 0) {
            brk_timer_start(c->timer, (uint64_t)c->heartbeat_ms, 0);
        }
        js_consumer_queue_run(c);
        return;
    }
    brk_timer_stop(c->timer);
    c->fc_reply[0] = '\0';
    c->fc_bytes = 0;
    c->fc_sent_bytes = 0;
    if (c->idle != NULL) {
        brk_timer_start(c->idle, (uint64_t)c->idle_ms, 0);
    }
}

void js_push_start(struct js_consumer *c)
{
    c->fc_window = JS_FC_WINDOW_START;
    c->watch = brk_watch_create(c->stream->ja->acc, c->deliver, c->group, interest_changed, c);
    c->active = false;
    interest_changed(c, brk_watch_active(c->watch));
}

void js_push_stop(struct js_consumer *c)
{
    brk_watch_destroy(c->watch);
    c->watch = NULL;
    c->active = false;
    if (c->timer != NULL) {
        brk_timer_stop(c->timer);
    }
}

static bool stalled(const struct js_consumer *c)
{
    return c->flow_control && c->fc_bytes >= c->fc_window;
}

static void ask_flow(struct js_consumer *c)
{
    char part[LIM_NAME_BYTES_MAX + 16];
    js_v2_part(c->stream->ja, part, sizeof part);
    int n = snprintf(c->fc_reply, sizeof c->fc_reply, "$JS.FC.%s%s.%s.%x", part, c->stream->name,
                     c->name, ++c->fc_next);
    static const char text[] = "NATS/1.0 100 FlowControl Request\r\n\r\n";
    struct brk_msg m = {.subject = c->deliver,
                        .reply = {c->fc_reply, (size_t)n},
                        .hdr = (const uint8_t *)text,
                        .hdr_len = sizeof text - 1};
    c->fc_sent_bytes = c->fc_bytes;
    (void)brk_deliver(c->stream->ja->acc, c->deliver, &m);
}

static void count_flow(struct js_consumer *c, size_t size)
{
    if (!c->flow_control) {
        return;
    }
    c->fc_bytes += size;
    if (c->fc_reply[0] == '\0' && c->fc_bytes > c->fc_window / 2) {
        ask_flow(c);
    }
}

/* Where flow control acknowledges, a consumer that may have no more pending asks at once; again
 * only when it has sent more, or at the next heartbeat: an answer may acknowledge nothing. */
static void peeked_nothing(struct js_consumer *c, enum st st)
{
    struct cons_state cs;
    if (st == ST_NOTFOUND) {
        js_pace_caught_up(c);
    } else if (st == ST_FULL && c->ack == ACK_FLOW_CONTROL && c->fc_reply[0] == '\0') {
        c->stream->ja->js->ops->cons_state(c->sc, &cs);
        if (cs.delivered_cseq != c->fc_asked_cseq) {
            c->fc_asked_cseq = cs.delivered_cseq;
            ask_flow(c);
        }
    }
}

bool js_push_run(struct js_consumer *c, unsigned budget)
{
    struct js *js = c->stream->ja->js;
    bool any = false;
    size_t since = js->check_bytes;
    while (c->active && !stalled(c)) {
        struct cons_peek p;
        char text[JS_ACK_SUBJECT_MAX];
        struct brk_str ack = {text, 0};
        if (budget-- == 0) {
            return true;
        }
        if (since >= js->check_bytes) {
            since = 0;
            if (brk_deliver_pending(c->stream->ja->acc, c->deliver) > js->pending_high) {
                brk_timer_start(c->timer, JS_RETRY_MS, 0);
                return false;
            }
        }
        enum st st = js->ops->cons_peek(c->sc, &p);
        if (st != ST_OK) {
            peeked_nothing(c, st);
            break;
        }
        js_consumer_reply(c, &p, text, &ack.n);
        size_t size = js_consumer_msg_size(c, &p, ack.n);
        if (!js_pace_ready(c, &p, size)) {
            break;
        }
        js_consumer_send(c, c->deliver, &p, ack);
        if (c->gone) {
            return false;
        }
        js->ops->cons_take(c->sc);
        js_pace_sent(c, &p, size);
        any = true;
        since += size;
        count_flow(c, size);
    }
    if (any) {
        c->last_sent_ms = js_now_ms(js);
    }
    return false;
}

static void send_heartbeat(struct js_consumer *c)
{
    struct cons_state st;
    char h[96 + sizeof c->fc_reply];
    c->stream->ja->js->ops->cons_state(c->sc, &st);
    int n = snprintf(
        h, sizeof h,
        "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: %llu\r\nNats-Last-Stream: %llu\r\n",
        (unsigned long long)st.delivered_cseq, (unsigned long long)st.delivered_sseq);
    if (c->fc_reply[0] != '\0') {
        n += snprintf(h + n, sizeof h - (size_t)n, "Nats-Consumer-Stalled: %s\r\n", c->fc_reply);
    }
    if ((size_t)n + 3 > sizeof h) {
        return;
    }
    memcpy(h + n, "\r\n", 2);
    struct brk_msg m = {.subject = c->deliver, .hdr = (const uint8_t *)h, .hdr_len = (size_t)n + 2};
    (void)brk_deliver(c->stream->ja->acc, c->deliver, &m);
}

/* A quiet stream: what was sent since the last answer is asked for, so that it is acknowledged. */
static void ask_idle(struct js_consumer *c)
{
    struct cons_state st;
    c->stream->ja->js->ops->cons_state(c->sc, &st);
    if (c->ack == ACK_FLOW_CONTROL && st.num_ack_pending > 0 && c->fc_reply[0] == '\0') {
        ask_flow(c);
    }
}

void js_push_tick(struct js_consumer *c)
{
    int64_t now = js_now_ms(c->stream->ja->js);
    if (!c->active) {
        return;
    }
    if (c->heartbeat_ms > 0) {
        int64_t quiet = now - c->last_sent_ms;
        if (quiet >= c->heartbeat_ms) {
            send_heartbeat(c);
            ask_idle(c);
            c->last_sent_ms = now;
            quiet = 0;
        }
        brk_timer_start(c->timer, (uint64_t)(c->heartbeat_ms - quiet), 0);
    }
    js_consumer_queue_run(c);
}

/* $JS.FC.<stream>.<consumer>.<x>, or $JS.FC.<domain>.<account hash>.<stream>.<consumer>.<x> */
static struct js_consumer *find_fc(struct js_account *ja, struct brk_str s)
{
    struct brk_str tok[8];
    size_t n = 0;
    const char *p = s.p, *end = s.p + s.n;
    while (p <= end && n < ARRAY_LEN(tok)) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        const char *stop = dot != NULL ? dot : end;
        tok[n++] = (struct brk_str){p, (size_t)(stop - p)};
        p = stop + 1;
    }
    if (n != 5 && (n != 7 || !js_v2_is_ours(ja, tok[2], tok[3]))) {
        return NULL;
    }
    struct js_stream *st = js_stream_find(ja, tok[n - 3]);
    return st == NULL ? NULL : js_consumer_find(st, tok[n - 2]);
}

static bool header_u64(const struct brk_msg *m, const char *name, uint64_t *out)
{
    struct brk_str v;
    return js_header_find(m->hdr, m->hdr_len, name, &v) && js_parse_u64(v, out);
}

/* What the receiver has stored, if it says so: acknowledged up to there. */
static void ack_by_flow(struct js_consumer *c, const struct brk_msg *m)
{
    uint64_t sseq, cseq;
    if (c->ack == ACK_FLOW_CONTROL && header_u64(m, "Nats-Last-Stream", &sseq) &&
        header_u64(m, "Nats-Last-Consumer", &cseq)) {
        c->stream->ja->js->ops->cons_ack(c->sc, CONS_ACK, sseq, cseq, 0, NULL, NULL);
    }
}

/* False: an old one, or nothing was asked. */
static bool is_answer(const struct js_consumer *c, struct brk_str subject)
{
    if (c->fc_reply[0] == '\0') {
        return false;
    }
    const char *tail = strrchr(c->fc_reply, '.');
    size_t n = strlen(tail);
    return subject.n >= n && memcmp(subject.p + subject.n - n, tail, n) == 0;
}

void js_push_fc_cb(void *arg, const struct brk_msg *msg)
{
    struct js_consumer *c = find_fc(arg, msg->subject);
    if (c == NULL || !c->flow_control) {
        js_no_taker(arg, msg);
        return;
    }
    if (!is_answer(c, msg->subject)) {
        return;
    }
    if (!stalled(c) && c->fc_window < JS_FC_WINDOW_MAX) {
        c->fc_window *= 2;
    }
    c->fc_bytes -= c->fc_sent_bytes < c->fc_bytes ? c->fc_sent_bytes : c->fc_bytes;
    c->fc_sent_bytes = 0;
    c->fc_reply[0] = '\0';
    ack_by_flow(c, msg);
    if (c->fc_bytes >
        c->fc_window / 2) { /* sent after the question: a consumer that stalls has always asked */
        ask_flow(c);
    }
    js_consumer_run(c);
}
