/* Pull consumers: requests wait in a bounded queue and are served in turn, one message each, as
 * upstream does: a request that still wants messages goes to the end of the queue. A request leaves
 * the queue when it is filled, when it expires, when its inbox has no subscriber any more, or when
 * its consumer goes; it is told so, except in the third case. */
#include "broker/js_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/js_level.h"
#include "engine/base/godur.h"

struct pull_body {
    int64_t batch, expires_ns, max_bytes, heartbeat_ns, min_pending, min_ack_pending, priority;
    bool no_wait;
    char *group, *id;
};

#define F(member) offsetof(struct pull_body, member)
static const struct json_schema group_part = {"JSApiConsumerGetNextRequest.PriorityGroup", NULL,
                                              NULL, 0};
static const struct json_field pull_fields[] = {
    {"expires", JSON_DURATION, F(expires_ns), NULL, NULL},
    {"batch", JSON_INT, F(batch), NULL, NULL},
    {"max_bytes", JSON_INT, F(max_bytes), NULL, NULL},
    {"no_wait", JSON_BOOL, F(no_wait), NULL, NULL},
    {"idle_heartbeat", JSON_DURATION, F(heartbeat_ns), NULL, NULL},
    {"group", JSON_STRING, F(group), NULL, &group_part},
    {"min_pending", JSON_I64, F(min_pending), NULL, &group_part},
    {"min_ack_pending", JSON_I64, F(min_ack_pending), NULL, &group_part},
    {"id", JSON_STRING, F(id), NULL, &group_part},
    {"priority", JSON_INT, F(priority), NULL, &group_part},
};
#undef F
static const struct json_schema pull_schema = {"JSApiConsumerGetNextRequest",
                                               "server.JSApiConsumerGetNextRequest", pull_fields,
                                               ARRAY_LEN(pull_fields)};

/* --- the queue
 * --------------------------------------------------------------------------------------------
 */

static uint64_t asks_for(const struct js_wait *w)
{
    return u64_min((uint64_t)w->n, UINT32_MAX); /* so that no sum overflows */
}

void js_wait_push(struct js_consumer *c, struct js_wait *w)
{
    w->next = NULL;
    if (c->wait_last != NULL) {
        c->wait_last->next = w;
    } else {
        c->wait_first = w;
    }
    c->wait_last = w;
    c->waiting++;
    c->waiting_msgs += asks_for(w);
}

struct js_wait *js_wait_pop(struct js_consumer *c)
{
    struct js_wait *w = c->wait_first;
    c->wait_first = w->next;
    if (c->wait_first == NULL) {
        c->wait_last = NULL;
    }
    c->waiting--;
    c->waiting_msgs -= asks_for(w);
    w->next = NULL;
    return w;
}

void js_wait_to_front(struct js_consumer *c, struct js_wait *w)
{
    struct js_wait **p = &c->wait_first, *before = NULL;
    while (*p != w) {
        before = *p;
        p = &before->next;
    }
    if (before == NULL) {
        return;
    }
    before->next = w->next;
    if (c->wait_last == w) {
        c->wait_last = before;
    }
    w->next = c->wait_first;
    c->wait_first = w;
}

void js_wait_free(struct js_wait *w)
{
    base_free(w->group);
    base_free(w->id);
    base_free(w);
}

static struct brk_str reply_of(const struct js_wait *w)
{
    return (struct brk_str){w->reply, w->reply_len};
}

static bool interested(const struct js_consumer *c, const struct js_wait *w)
{
    return brk_account_has_interest(c->stream->ja->acc, reply_of(w));
}

void js_pull_status_pending(struct js_consumer *c, const struct js_wait *w, const char *status)
{
    char h[96];
    (void)snprintf(h, sizeof h, "Nats-Pending-Messages: %lld\r\nNats-Pending-Bytes: %lld\r\n",
                   (long long)(w->n + w->less_n), (long long)(w->max_bytes + w->less_bytes));
    js_send_status(c->stream->ja, reply_of(w), status, h);
}

/* Goes through the queue once: expired requests are told and dropped, dead ones dropped. */
static void sweep(struct js_consumer *c, bool check_interest)
{
    int64_t now = js_now_ms(c->stream->ja->js);
    uint32_t n = c->waiting;
    while (n-- > 0) {
        struct js_wait *w = js_wait_pop(c);
        if (w->expires_ms != 0 && w->expires_ms <= now) {
            js_pull_status_pending(c, w, "408 Request Timeout");
            js_wait_free(w);
        } else if (check_interest && !interested(c, w)) {
            js_wait_free(w);
        } else {
            js_wait_push(c, w);
        }
    }
}

uint32_t js_pull_waiting(struct js_consumer *c)
{
    if (!c->push && c->waiting > 0) {
        sweep(c, true);
    }
    return c->waiting;
}

void js_pull_drop_all(struct js_consumer *c, const char *status)
{
    while (c->wait_first != NULL) {
        struct js_wait *w = js_wait_pop(c);
        if (status != NULL) {
            js_send_status(c->stream->ja, reply_of(w), status, NULL);
        }
        js_wait_free(w);
    }
}

/* --- expiries and heartbeats
 * ------------------------------------------------------------------------------
 */

static int64_t due_of(const struct js_wait *w)
{
    int64_t due = w->expires_ms != 0 ? w->expires_ms : INT64_MAX;
    return w->heartbeat_ms != 0 && w->beat_ms < due ? w->beat_ms : due;
}

/* The timer fires no later than `due`. It may fire for nothing: requests that left do not move it.
 */
static void arm_for(struct js_consumer *c, int64_t due)
{
    int64_t now = js_now_ms(c->stream->ja->js);
    if (due == INT64_MAX || (c->due_ms != 0 && c->due_ms <= due)) {
        return;
    }
    c->due_ms = due;
    brk_timer_start(c->timer, due > now ? (uint64_t)(due - now) : 0, 0);
}

static void arm_all(struct js_consumer *c)
{
    int64_t due = INT64_MAX;
    for (struct js_wait *w = c->wait_first; w != NULL; w = w->next) {
        int64_t d = due_of(w);
        due = d < due ? d : due;
    }
    arm_for(c, due);
}

static void beat(struct js_consumer *c, struct js_wait *w, int64_t now)
{
    struct cons_state st;
    char h[96];
    c->stream->ja->js->ops->cons_state(c->sc, &st);
    (void)snprintf(h, sizeof h, "Nats-Last-Consumer: %llu\r\nNats-Last-Stream: %llu\r\n",
                   (unsigned long long)st.delivered_cseq, (unsigned long long)st.delivered_sseq);
    js_send_status(c->stream->ja, reply_of(w), "100 Idle Heartbeat", h);
    w->beat_ms = now + w->heartbeat_ms;
}

void js_pull_tick(struct js_consumer *c)
{
    int64_t now = js_now_ms(c->stream->ja->js);
    c->due_ms = 0;
    sweep(c, true);
    for (uint32_t n = c->waiting; n > 0; n--) {
        struct js_wait *w = js_wait_pop(c);
        bool due = w->heartbeat_ms != 0 && w->beat_ms <= now;
        if (due && w->no_wait && w->delivered) {
            /* It got what there was, and max_ack_pending kept it here: upstream ends it now. */
            js_send_status(c->stream->ja, reply_of(w), "404 No Messages", NULL);
            js_wait_free(w);
            continue;
        }
        if (due) {
            beat(c, w, now);
        }
        js_wait_push(c, w);
    }
    arm_all(c);
    js_consumer_queue_run(c);
}

/* --- delivery
 * ---------------------------------------------------------------------------------------------
 */

/* What a request gets when nothing is there for it now. True: it stays. */
static bool keep_waiting(struct js_consumer *c, struct js_wait *w, enum st st)
{
    if (!w->no_wait || st != ST_NOTFOUND || (w->expires_ms != 0 && !w->delivered)) {
        return true; /* no_wait with expires: waits for the first message only */
    }
    js_send_status(c->stream->ja, reply_of(w), "404 No Messages", NULL);
    return false;
}

/* Requests that do not wait are answered once nothing is left; the others stay. */
static void nothing_now(struct js_consumer *c, enum st st)
{
    uint32_t n = c->waiting;
    while (n-- > 0) {
        struct js_wait *w = js_wait_pop(c);
        if (keep_waiting(c, w, st)) {
            js_wait_push(c, w);
        } else {
            js_wait_free(w);
        }
    }
}

/* Gives one message to the first request. False: the request was dropped and the message is still
 * there. */
static bool serve(struct js_consumer *c, const struct cons_peek *p)
{
    struct js *js = c->stream->ja->js;
    char text[JS_ACK_SUBJECT_MAX];
    struct brk_str ack = {text, 0};
    struct js_wait *w = js_wait_pop(c);
    js_consumer_reply(c, p, text, &ack.n);
    if (w->max_bytes > 0) {
        int64_t size = (int64_t)js_consumer_msg_size(c, p, ack.n);
        if (size > w->max_bytes) {
            js_pull_status_pending(c, w, "409 Message Size Exceeds MaxBytes");
            js_wait_free(w);
            return false;
        }
        w->max_bytes -= size;
        if (w->max_bytes == 0 && w->n > 1) {
            js_consumer_send(c, reply_of(w), p, ack);
            js->ops->cons_take(c->sc);
            w->n--;
            js_pull_status_pending(c, w, "409 Batch Completed");
            js_wait_free(w);
            return true;
        }
    }
    js_consumer_send(c, reply_of(w), p, ack);
    js->ops->cons_take(c->sc);
    js_pace_sent(c, p, 0);
    w->delivered = true;
    w->beat_ms = js_now_ms(js) + w->heartbeat_ms;
    if (--w->n > 0) {
        js_wait_push(c, w);
        return true;
    }
    if (w->max_bytes > 0) { /* what it may still have is told, as upstream does */
        js_pull_status_pending(c, w, "409 Batch Completed");
    }
    js_wait_free(w);
    return true;
}

void js_pull_while_paused(struct js_consumer *c)
{
    nothing_now(c, ST_NOTFOUND);
}

bool js_pull_usable(struct js_consumer *c, struct js_wait *w, bool *slow)
{
    struct js *js = c->stream->ja->js;
    if (w->checked == js->runs) {
        return true;
    }
    if (w->expires_ms != 0 && w->expires_ms <= js_now_ms(js)) {
        js_pull_status_pending(c, w, "408 Request Timeout");
    } else if (interested(c, w)) {
        if (brk_deliver_pending(c->stream->ja->acc, reply_of(w)) > js->pending_high) {
            *slow = true;
            js_wait_push(c, js_wait_pop(c));
            return false;
        }
        w->checked = js->runs;
        return true;
    }
    js_wait_free(js_wait_pop(c));
    return false;
}

/* Brings a request that may be served to the front; false when there is none. *slow: one was passed
 * over. */
static bool next_ready(struct js_consumer *c, bool *slow)
{
    for (uint32_t n = c->waiting; n > 0; n--) {
        if (js_pull_usable(c, c->wait_first, slow)) {
            return true;
        }
    }
    return false;
}

bool js_pull_run(struct js_consumer *c, unsigned budget)
{
    struct js *js = c->stream->ja->js;
    bool slow = false;
    size_t since = 0;
    js->runs++;
    while (c->wait_first != NULL) {
        struct cons_peek p;
        if (budget-- == 0) {
            return true;
        }
        if (since >= js->check_bytes) {
            since = 0;
            js->runs++; /* look at the clients' buffers again */
        }
        if (!next_ready(c, &slow)) {
            break;
        }
        enum st st = js->ops->cons_peek(c->sc, &p);
        if (st == ST_OK && c->priority != PRIORITY_NONE && !js_priority_pick(c, &p, &slow)) {
            st = ST_NOTFOUND; /* there is one, for others */
        } else if (st == ST_NOTFOUND) {
            js_pace_caught_up(c);
        }
        if (st != ST_OK) {
            nothing_now(c, st);
            break;
        }
        if (!js_pace_ready(c, &p, 0)) {
            break;
        }
        since += (size_t)p.m.hdr_len + p.m.data_len;
        (void)serve(c, &p);
        if (c->gone) {
            return false;
        }
    }
    if (slow) {
        arm_for(c, js_now_ms(js) + JS_RETRY_MS);
    }
    return false;
}

/* --- requests
 * ---------------------------------------------------------------------------------------------
 */

static void refuse(struct js_consumer *c, struct brk_str reply, const char *fmt, const char *arg)
{
    char text[400];
    (void)snprintf(text, sizeof text, "%s%s", fmt, arg);
    for (char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ') {
            *p = '?'; /* a status is one line */
        }
    }
    js_send_status(c->stream->ja, reply, text, NULL);
}

static bool within_limits(struct js_consumer *c, struct brk_str reply, const struct pull_body *b)
{
    char num[48];
    if (c->max_batch > 0 && b->batch > c->max_batch) {
        (void)snprintf(num, sizeof num, "%lld", (long long)c->max_batch);
        refuse(c, reply, "409 Exceeded MaxRequestBatch of ", num);
        return false;
    }
    if (c->max_expires_ns > 0 && b->expires_ns > c->max_expires_ns) {
        (void)godur_put(num, c->max_expires_ns);
        refuse(c, reply, "409 Exceeded MaxRequestExpires of ", num);
        return false;
    }
    if (c->max_bytes > 0 && b->max_bytes > c->max_bytes) {
        (void)snprintf(num, sizeof num, "%lld", (long long)c->max_bytes);
        refuse(c, reply, "409 Exceeded MaxRequestMaxBytes of ", num);
        return false;
    }
    if (b->heartbeat_ns > 0 && (b->expires_ns == 0 || b->heartbeat_ns > b->expires_ns / 2)) {
        refuse(c, reply, "400 Bad Request - heartbeat value too large", "");
        return false;
    }
    struct js_pull_ask ask = {.group = b->group != NULL ? b->group : "",
                              .id = b->id != NULL ? b->id : "",
                              .min_pending = b->min_pending,
                              .min_ack_pending = b->min_ack_pending,
                              .priority = b->priority};
    const char *no = js_priority_refuses(c, &ask);
    if (no != NULL) {
        refuse(c, reply, no, "");
        return false;
    }
    return true;
}

/* A request without a body, or of a number only, names no group: all but pinned consumers take it,
 * as upstream. */
static bool plain_ok(struct js_consumer *c, struct brk_str reply, struct pull_body *b)
{
    if (c->priority == PRIORITY_PINNED || c->priority == PRIORITY_NONE) {
        return within_limits(c, reply, b);
    }
    b->group = base_strdup(
        c->stream->ja->js->ops->cons_cfg(c->sc)->priority_groups[0]); /* as good as any */
    return within_limits(c, reply, b);
}

/* The body: empty, a number, or an object. False: refused. */
static bool read_body(struct js_consumer *c, struct brk_str reply, const char *p, size_t len,
                      struct pull_body *b)
{
    while (len > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        len--;
    }
    b->batch = 1;
    if (len == 0 || *p != '{') {
        uint64_t n;
        if (js_parse_u64((struct brk_str){p, len}, &n) && n > 0 && n <= INT32_MAX) {
            b->batch = (int64_t)n;
        }
        return plain_ok(c, reply, b);
    }
    b->batch = 0; /* not said: one, told as none */
    struct json_in doc = {0};
    struct json_decode d = {0};
    struct err err = {0};
    enum st st = json_in_parse(&doc, p, len, &err);
    if (st == ST_OK) {
        st = json_in_decode(&d, doc.root, &pull_schema, b, &err);
    }
    json_in_fini(&doc);
    if (st != ST_OK) {
        refuse(c, reply, "400 Bad Request - ", err.msg);
        return false;
    }
    return within_limits(c, reply, b);
}

static char *text_of(char **from)
{
    char *s = *from != NULL ? *from : base_strdup("");
    *from = NULL;
    return s;
}

/* Takes the strings of b over. */
static void enqueue(struct js_consumer *c, struct brk_str reply, struct pull_body *b)
{
    int64_t now = js_now_ms(c->stream->ja->js);
    struct js_wait *w = base_calloc(1, sizeof *w + reply.n + 1);
    w->n = i64_max(b->batch, 1);
    w->less_n = b->batch - w->n;
    w->max_bytes = i64_max(b->max_bytes, 0);
    w->less_bytes = b->max_bytes - w->max_bytes;
    w->no_wait = b->no_wait;
    w->group = text_of(&b->group);
    w->id = text_of(&b->id);
    w->min_pending = b->min_pending;
    w->min_ack_pending = b->min_ack_pending;
    w->priority = b->priority;
    if (b->expires_ns != 0) {
        int64_t ms = js_ms_up(b->expires_ns);
        w->expires_ms = now + ms + (ms == 0 && now == 0 ? 1 : 0);
    }
    w->heartbeat_ms = js_ms_up(b->heartbeat_ns);
    w->beat_ms = now + w->heartbeat_ms;
    w->reply_len = reply.n;
    memcpy(w->reply, reply.p, reply.n);
    js_wait_push(c, w);
    arm_for(c, due_of(w));
}

/* Not again before somebody unsubscribed: a flood of requests must not cost the length of the queue
 * each. (What expires leaves by the timer.) */
static void sweep_once(struct js_consumer *c)
{
    uint64_t removes = c->stream->ja->acc->interest.removes;
    if (c->swept_removes != removes + 1) {
        c->swept_removes = removes + 1;
        sweep(c, true);
    }
}

/* Why a request that does not wait would have to; NULL: it may get something at once. */
static const char *must_wait(struct js_consumer *c, const struct pull_body *b)
{
    const struct store_ops *ops = c->stream->ja->js->ops;
    struct cons_state st;
    ops->cons_state(c->sc, &st);
    uint64_t there = st.num_pending + st.num_queued;
    int64_t most = ops->cons_cfg(c->sc)->max_ack_pending;
    if (there == 0) {
        bool blocked = most > 0 && st.num_ack_pending >= (uint64_t)most;
        return b->expires_ns == 0 && blocked ? "404 No Messages" : NULL;
    }
    if (c->waiting_msgs > there) {
        sweep_once(c);
    }
    return c->waiting_msgs > there ? "408 Requests Pending" : NULL;
}

static void accept_request(struct js_consumer *c, struct brk_str reply, struct pull_body *b)
{
    const char *why = b->no_wait ? must_wait(c, b) : NULL;
    if (why != NULL) {
        js_send_status(c->stream->ja, reply, why, NULL);
        return;
    }
    if (c->waiting >= (uint64_t)c->max_waiting) {
        sweep_once(c);
    }
    if (c->waiting >= (uint64_t)c->max_waiting) {
        struct cons_state st;
        c->stream->ja->js->ops->cons_state(c->sc, &st);
        if (b->no_wait && b->expires_ns == 0 && st.num_pending == 0) {
            js_send_status(c->stream->ja, reply, "404 No Messages", NULL);
            return;
        }
        js_send_status(c->stream->ja, reply, "409 Exceeded MaxWaiting", NULL);
        return;
    }
    enqueue(c, reply, b);
    js_consumer_run(c);
}

void js_pull_request(struct js_consumer *c, struct brk_str reply, const void *body, size_t len)
{
    struct pull_body b = {0};
    if (reply.n == 0 || c->gone) {
        return;
    }
    if (c->push) {
        js_send_status(c->stream->ja, reply, "409 Consumer is push based", NULL);
        return;
    }
    js_consumer_used(c);
    if (read_body(c, reply, body, len, &b)) {
        if (b.id != NULL) {
            js_priority_heard(c, b.id);
        }
        accept_request(c, reply, &b);
    }
    base_free(b.group);
    base_free(b.id);
}

void js_pull_request_cb(void *arg, const struct brk_msg *msg)
{
    struct js_consumer *c = arg;
    if (js_level_too_high(msg->hdr, msg->hdr_len)) {
        js_send_status(c->stream->ja, msg->reply, "412 Required Api Level", NULL);
        return;
    }
    js_consumer_ref(c);
    js_pull_request(c, msg->reply, msg->payload, msg->payload_len);
    js_consumer_unref(c);
}
