/* What pull and push consumers share: life, the reply subject of a delivery, turns, inactivity. */
#include "broker/js_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/base.h"

struct js_consumer *js_consumer_find(struct js_stream *s, struct brk_str name)
{
    uint64_t h = js_name_hash(name.p, name.n);
    for (struct htab_node *n = htab_chain(&s->consumers, h); n != NULL; n = n->next) {
        struct js_consumer *c = CONTAINER_OF(n, struct js_consumer, by_name);
        if (n->hash == h && js_str_eq(name, c->name, c->name_len)) {
            return c;
        }
    }
    return NULL;
}

void js_consumer_ref(struct js_consumer *c)
{
    c->refs++;
}

void js_consumer_unref(struct js_consumer *c)
{
    ASSERT(c->refs > 0);
    if (--c->refs > 0) {
        return;
    }
    ASSERT(c->gone);
    js_stream_unref(c->stream);
    base_free(c->ack_head);
    base_free(c->deliver_text);
    base_free(c->group_text);
    base_free(c->pin_group);
    base_free(c);
}

/* --- inactivity ------------------------------------------------------------------------------- */

bool js_consumer_bound(const struct js_consumer *c)
{
    return c->push && c->active;
}

static void remove_idle(struct js_consumer *c);

static void idle_due(void *arg)
{
    struct js_consumer *c = arg;
    struct js *js = c->stream->ja->js;
    if (c->gone || c->idle_ms == 0) {
        return;
    }
    if (c->push ? c->active : js_pull_waiting(c) > 0) {
        if (!c->push) {
            js_consumer_used(c);
            brk_timer_start(c->idle, (uint64_t)c->idle_ms, 0);
        }
        return;
    }
    int64_t quiet = js_now_ms(js) - c->last_use_ms;
    if (quiet < c->idle_ms) {
        brk_timer_start(c->idle, (uint64_t)(c->idle_ms - quiet), 0);
        return;
    }
    remove_idle(c);
}

void js_consumer_used(struct js_consumer *c)
{
    c->last_use_ms = js_now_ms(c->stream->ja->js);
}

static void take_idle(struct js_consumer *c, int64_t threshold_ns)
{
    struct js *js = c->stream->ja->js;
    c->idle_ms = js_ms_up(threshold_ns);
    if (c->idle_ms == 0) {
        brk_timer_destroy(c->idle);
        c->idle = NULL;
        return;
    }
    if (c->idle == NULL) {
        c->idle = brk_timer_create(js->d.loop, idle_due, c);
    }
    js_consumer_used(c);
    brk_timer_start(c->idle, (uint64_t)c->idle_ms, 0);
}

static void removed(void *arg, enum st st, uint64_t n, const struct err *err)
{
    (void)arg;
    (void)st;
    (void)n;
    (void)err;
}

/* Deletes it (inactive), with its advisory. */
static void remove_idle(struct js_consumer *c)
{
    struct js *js = c->stream->ja->js;
    struct store_cons *sc = c->sc;
    js_adv_consumer(c, "DELETED", "delete");
    js_consumer_detach(c, "409 Consumer Deleted");
    js->ops->cons_delete(sc, removed, NULL);
}

/* --- life ------------------------------------------------------------------------------------- */

static void on_ready(void *arg, struct store_cons *sc)
{
    (void)sc;
    js_consumer_run(arg);
}

static void on_max_deliver(void *arg, struct store_cons *sc, uint64_t stream_seq, uint64_t dcount)
{
    (void)sc;
    js_adv_max_deliver(arg, stream_seq, dcount);
}

static void on_deleted(void *arg, struct store_cons *sc, uint64_t stream_seq, uint64_t cseq,
                       uint64_t dcount)
{
    static const char why[] = "Unacknowledged message was deleted";
    (void)sc;
    js_adv_terminated(arg, cseq, stream_seq, dcount, why, sizeof why - 1);
}

static void tick(void *arg)
{
    struct js_consumer *c = arg;
    if (c->gone) {
        return;
    }
    if (c->push) {
        js_push_tick(c);
    } else {
        js_pull_tick(c);
    }
}

void js_consumer_reload(struct js_consumer *c)
{
    struct js *js = c->stream->ja->js;
    const struct cons_cfg *k = js->ops->cons_cfg(c->sc);
    if (c->push) {
        js_push_stop(c);
    }
    c->push = k->deliver_subject != NULL;
    c->headers_only = k->headers_only;
    c->max_waiting = k->max_waiting;
    c->max_batch = k->max_batch;
    c->max_bytes = k->max_bytes;
    c->max_expires_ns = k->max_expires_ns;
    c->flow_control = k->flow_control;
    c->heartbeat_ms = js_ms_up(k->heartbeat_ns);
    c->ack = k->ack;
    c->sample = k->sample_freq != NULL ? (uint32_t)strtoul(k->sample_freq, NULL, 10) : 0;
    js_pace_reload(c, k);
    js_pause_reload(c, k);
    js_priority_reload(c, k);
    take_idle(c, k->inactive_threshold_ns);
    if (c->push) {
        base_free(c->deliver_text);
        base_free(c->group_text);
        c->deliver_text = base_strdup(k->deliver_subject);
        c->group_text = k->deliver_group != NULL ? base_strdup(k->deliver_group) : NULL;
        c->deliver = js_str(c->deliver_text);
        c->group = c->group_text != NULL ? js_str(c->group_text) : (struct brk_str){0};
        js_push_start(c);
    }
    js_consumer_queue_run(c);
}

static void take_names(struct js_consumer *c, const char *name, size_t n)
{
    const struct js_stream *s = c->stream;
    memcpy(c->name, name, n);
    c->name_len = n;
    char part[LIM_NAME_BYTES_MAX + 16];
    js_v2_part(s->ja, part, sizeof part);
    c->ack_head_len = 8 + strlen(part) + s->name_len + 1 + n + 1;
    c->ack_head = base_malloc(c->ack_head_len + 1);
    (void)snprintf(c->ack_head, c->ack_head_len + 1, "$JS.ACK.%s%s.%s.", part, s->name, c->name);
}

struct js_consumer *js_consumer_attach(struct js_stream *s, struct store_cons *sc)
{
    struct js *js = s->ja->js;
    const struct cons_cfg *k = js->ops->cons_cfg(sc);
    size_t n = strlen(k->name);
    struct js_consumer *c = base_calloc(1, sizeof *c + n + 1);
    c->stream = s;
    js_stream_ref(s);
    c->sc = sc;
    c->refs = 1;
    take_names(c, k->name, n);
    htab_add(&s->consumers, &c->by_name, js_name_hash(c->name, n));
    js->ops->cons_set_user(sc, c);
    c->timer = brk_timer_create(js->d.loop, tick, c);
    char buf[64 + 2 * (LIM_NAME_BYTES_MAX + 1)];
    int len = snprintf(buf, sizeof buf, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", s->name, c->name);
    c->next_sub = brk_isub_create(s->ja->acc, (struct brk_str){buf, (size_t)len},
                                  (struct brk_str){0}, js_pull_request_cb, c);
    js_consumer_reload(c);
    struct cons_events ev = {
        .arg = c, .ready = on_ready, .max_deliver = on_max_deliver, .deleted = on_deleted};
    js->ops->cons_attach(sc, &ev);
    return c;
}

void js_consumer_silence(struct js_consumer *c)
{
    brk_isub_destroy(c->next_sub);
    c->next_sub = NULL;
    if (c->push) {
        js_push_stop(c);
    }
    brk_timer_stop(c->timer);
    js_pace_stop(c);
    js_pause_stop(c);
    js_priority_stop(c);
    if (c->idle != NULL) {
        brk_timer_stop(c->idle);
    }
    js_pull_drop_all(c, c->stream->ja->stopped ? NULL : "409 Server Shutdown");
}

void js_consumer_detach(struct js_consumer *c, const char *status)
{
    struct js *js = c->stream->ja->js;
    ASSERT(!c->gone);
    js_pull_drop_all(c, status);
    if (c->push) {
        js_push_stop(c);
    }
    brk_isub_destroy(c->next_sub);
    c->next_sub = NULL;
    brk_timer_destroy(c->timer);
    brk_timer_destroy(c->idle);
    c->timer = NULL;
    c->idle = NULL;
    js_pace_stop(c);
    js_pause_stop(c);
    js_priority_stop(c);
    if (!c->stream->ja->stopped) { /* else the store may be gone */
        js->ops->cons_attach(c->sc, NULL);
        js->ops->cons_set_user(c->sc, NULL);
    }
    htab_del(&c->stream->consumers, &c->by_name);
    c->gone = true;
    c->sc = NULL;
    js_consumer_unref(c);
}

/* --- turns ------------------------------------------------------------------------------------ */

void js_consumer_queue_run(struct js_consumer *c)
{
    struct js *js = c->stream->ja->js;
    if (c->in_run_list || c->gone) {
        return;
    }
    c->in_run_list = true;
    c->run_next = NULL;
    js_consumer_ref(c);
    if (js->run_last != NULL) {
        js->run_last->run_next = c;
    } else {
        js->run_first = c;
    }
    js->run_last = c;
    brk_slice_kick(js->run_slice);
}

static bool run(struct js_consumer *c, unsigned budget)
{
    if (c->gone || c->held || c->stream->ja->stopped) {
        return false;
    }
    if (js_paused(c)) {
        js_pull_while_paused(c);
        return false;
    }
    return c->push ? js_push_run(c, budget) : js_pull_run(c, budget);
}

void js_consumer_run(struct js_consumer *c)
{
    /* A delivery may run callbacks that delete the consumer. */
    js_consumer_ref(c);
    if (!c->in_run_list && run(c, JS_DELIVER_BUDGET)) {
        js_consumer_queue_run(c);
    }
    js_consumer_unref(c);
}

bool js_run_slice(void *arg)
{
    struct js *js = arg;
    struct js_consumer *c = js->run_first;
    if (c == NULL) {
        return false;
    }
    js->run_first = c->run_next;
    if (js->run_first == NULL) {
        js->run_last = NULL;
    }
    c->in_run_list = false;
    c->run_next = NULL;
    if (run(c, JS_DELIVER_BUDGET)) {
        js_consumer_queue_run(c);
    }
    js_consumer_unref(c);
    return js->run_first != NULL;
}

/* --- one delivery ----------------------------------------------------------------------------- */

void js_consumer_reply(const struct js_consumer *c, const struct cons_peek *p, char *out,
                       size_t *len_out)
{
    memcpy(out, c->ack_head, c->ack_head_len);
    char *q = js_put_u64(out + c->ack_head_len, p->dcount);
    *q++ = '.';
    q = js_put_u64(q, p->m.seq);
    *q++ = '.';
    q = js_put_u64(q, p->cseq);
    *q++ = '.';
    q = js_put_u64(q, (uint64_t)p->m.ts_ns);
    *q++ = '.';
    q = js_put_u64(q, p->num_pending);
    *len_out = (size_t)(q - out);
}

/* `Nats-Msg-Size` (headers only: the payload stays away) and `Nats-Pin-Id` go behind the message's
 * own headers. */
static void send_with_more(struct js_consumer *c, struct brk_str to, struct brk_msg *m)
{
    static char version[] = "NATS/1.0\r\n";
    char more[64 + sizeof "Nats-Pin-Id: \r\n" + JS_PIN_LEN];
    int n = 0;
    if (c->headers_only) {
        n += snprintf(more, sizeof more, "Nats-Msg-Size: %zu\r\n", m->payload_len);
    }
    if (c->pin[0] != '\0') {
        n += snprintf(more + n, sizeof more - (size_t)n, "Nats-Pin-Id: %s\r\n", c->pin);
    }
    n += snprintf(more + n, sizeof more - (size_t)n, "\r\n");
    size_t keep = m->hdr_len >= 2 ? m->hdr_len - 2 : 0;
    struct iovec parts[3];
    parts[0] = keep > 0 ? (struct iovec){(void *)(uintptr_t)m->hdr, keep}
                        : (struct iovec){version, sizeof version - 1};
    parts[1] = (struct iovec){more, (size_t)n};
    parts[2] = (struct iovec){(void *)(uintptr_t)m->payload, m->payload_len};
    int count = c->headers_only || m->payload_len == 0 ? 2 : 3;
    (void)brk_deliver_iov(c->stream->ja->acc, to, m, parts[0].iov_len + parts[1].iov_len, parts,
                          count);
}

size_t js_consumer_msg_size(const struct js_consumer *c, const struct cons_peek *p,
                            size_t reply_len)
{
    size_t size = p->m.subj_len + reply_len + p->m.hdr_len;
    if (!c->headers_only) {
        return size + p->m.data_len;
    }
    char digits[24];
    size_t more = sizeof "Nats-Msg-Size: \r\n" - 1;
    more += (size_t)(js_put_u64(digits, p->m.data_len) - digits);
    return size + more + (p->m.hdr_len == 0 ? sizeof "NATS/1.0\r\n\r\n" - 1 : 0);
}

void js_consumer_send(struct js_consumer *c, struct brk_str to, const struct cons_peek *p,
                      struct brk_str reply)
{
    struct brk_msg m = {.subject = {(const char *)p->m.subj, p->m.subj_len},
                        .reply = reply,
                        .hdr = p->m.hdr,
                        .hdr_len = p->m.hdr_len,
                        .payload = p->m.data,
                        .payload_len = p->m.data_len,
                        .keep = p->keep.what != NULL ? &p->keep : NULL};
    if (c->headers_only || c->pin[0] != '\0') {
        send_with_more(c, to, &m);
    } else {
        (void)brk_deliver(c->stream->ja->acc, to, &m);
    }
}
