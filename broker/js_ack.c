/* Acknowledgements: $JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<ts>.<pending> (v1), or
 * $JS.ACK.<domain>.<account
 * hash>.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<ts>.<pending>[.<more>] (v2).
 *
 * Empty, +ACK, +OK: done. -NAK [{"delay":ns} or 5s], +WPI, +TERM [reason], +NXT [pull request].
 * Whoever asks for an answer gets an empty message once the ack is durable. Hot: no allocation but
 * a pooled context where an answer is wanted. */
#include "broker/conf.h"
#include "broker/js_int.h"

#include <stdio.h>

#include "engine/base/base.h"
#include "engine/base/env.h"

struct ack_in {
    struct js_consumer *c;
    uint64_t deliveries, sseq, cseq;
};

static const char *domain_of(const struct js_account *ja)
{
    return ja->js->d.opts->domain != NULL ? ja->js->d.opts->domain : "_";
}

void js_v2_part(const struct js_account *ja, char *out, size_t size)
{
    out[0] = '\0';
    if (ja->js->d.opts->ack_fc_v2) {
        (void)snprintf(out, size, "%s.%s.", domain_of(ja), ja->hash);
    }
}

bool js_v2_is_ours(const struct js_account *ja, struct brk_str domain, struct brk_str hash)
{
    const char *ours = domain_of(ja);
    return js_str_eq(domain, ours, strlen(ours)) && js_str_eq(hash, ja->hash, 8);
}

static bool parse_subject(struct js_account *ja, struct brk_str s, struct ack_in *out)
{
    struct brk_str tok[12];
    size_t n = 0;
    const char *p = s.p, *end = s.p + s.n;
    while (p <= end && n < ARRAY_LEN(tok)) {
        const char *dot = p < end ? memchr(p, '.', (size_t)(end - p)) : NULL;
        const char *stop = dot != NULL ? dot : end;
        tok[n++] = (struct brk_str){p, (size_t)(stop - p)};
        p = stop + 1;
    }
    size_t at = n == 9 ? 2 : n >= 11 && js_v2_is_ours(ja, tok[2], tok[3]) ? 4 : 0;
    if (at == 0) {
        return false;
    }
    struct js_stream *st = js_stream_find(ja, tok[at]);
    out->c = st == NULL ? NULL : js_consumer_find(st, tok[at + 1]);
    return out->c != NULL && js_parse_u64(tok[at + 2], &out->deliveries) &&
           js_parse_u64(tok[at + 3], &out->sseq) && js_parse_u64(tok[at + 4], &out->cseq);
}

static void done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_ctx *x = arg;
    struct js *js = x->ja->js;
    (void)n;
    (void)err;
    if (st == ST_OK || st == ST_NOTFOUND) {
        js_send(x->ja, (struct brk_str){x->reply, x->reply_len}, NULL, 0, NULL, 0);
    }
    js_ctx_free(js, x);
}

static bool starts(const struct brk_msg *m, const char *word, size_t n)
{
    return m->payload_len >= n && memcmp(m->payload, word, n) == 0;
}

static void submit(struct js_account *ja, const struct ack_in *a, enum cons_ack_kind kind,
                   int64_t delay_ns, struct brk_str reply)
{
    struct js *js = ja->js;
    struct js_ctx *x = reply.n > 0 ? js_ctx_take(js, ja, NULL, reply) : NULL;
    js->ops->cons_ack(a->c->sc, kind, a->sseq, a->cseq, delay_ns, x != NULL ? done : NULL, x);
}

struct nak_body {
    int64_t delay_ns;
};
static const struct json_field nak_fields[] = {
    {"delay", JSON_DURATION, offsetof(struct nak_body, delay_ns), NULL, NULL}};
static const struct json_schema nak_schema = {"ConsumerNakOptions", "server.ConsumerNakOptions",
                                              nak_fields, ARRAY_LEN(nak_fields)};

static int64_t text_delay(const uint8_t *p, size_t n)
{
    char text[40];
    int64_t ns = 0;
    if (n >= sizeof text) {
        return 0;
    }
    memcpy(text, p, n);
    text[n] = '\0';
    return brk_conf_duration(text, &ns, NULL) == ST_OK ? i64_max(ns, 0) : 0;
}

/* {"delay":ns}, or a duration as Go writes it. A delay that cannot be read counts as none, as
 * upstream does. */
static int64_t nak_delay(const uint8_t *p, size_t n)
{
    struct json_in doc = {0};
    struct json_decode d = {0};
    struct nak_body b = {0};
    while (n > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        n--;
    }
    if (n > 0 && *p != '{') {
        return text_delay(p, n);
    }
    if (n > 0 && json_in_parse(&doc, p, n, NULL) == ST_OK &&
        json_in_decode(&d, doc.root, &nak_schema, &b, NULL) != ST_OK) {
        b.delay_ns = 0;
    }
    json_in_fini(&doc);
    return b.delay_ns > 0 ? b.delay_ns : 0;
}

static void answer_now(struct js_account *ja, struct brk_str reply)
{
    js_send(ja, reply, NULL, 0, NULL, 0);
}

static void terminate(struct js_account *ja, const struct ack_in *a, const struct brk_msg *m)
{
    const char *reason = (const char *)m->payload + 5;
    size_t n = m->payload_len - 5;
    while (n > 0 && *reason == ' ') {
        reason++;
        n--;
    }
    while (n > 0 && reason[n - 1] == ' ') {
        n--;
    }
    if (a->sseq == 0) {
        answer_now(ja, m->reply);
    } else {
        submit(ja, a, CONS_TERM, 0, m->reply);
    }
    js_adv_terminated(a->c, a->cseq, a->sseq, a->deliveries, reason, n);
}

/* What is not waited for is told nobody; upstream still answers, but for sequence 0. */
static void nak(struct js_account *ja, const struct ack_in *a, const struct brk_msg *m)
{
    struct cons_unacked u;
    if (ja->js->ops->cons_unacked(a->c->sc, a->sseq, &u)) {
        int64_t delay_ns = nak_delay(m->payload + 4, m->payload_len - 4);
        submit(ja, a, CONS_NAK, delay_ns, m->reply);
        js_adv_nak(a->c, a->cseq, a->sseq, a->deliveries);
    } else if (a->sseq != 0) {
        answer_now(ja, m->reply);
    }
}

static void progress(struct js_account *ja, const struct ack_in *a, const struct brk_msg *m)
{
    struct cons_unacked u;
    if (ja->js->ops->cons_unacked(a->c->sc, a->sseq, &u)) {
        submit(ja, a, CONS_PROGRESS, 0, m->reply);
    } else if (a->sseq != 0) {
        answer_now(ja, m->reply);
    }
}

/* sample_freq: so many percent of the acks are told of, with the time they took. */
static void sample(struct js_account *ja, const struct ack_in *a)
{
    struct js *js = ja->js;
    struct cons_unacked u;
    uint8_t dice = 0;
    if (a->c->ack != ACK_EXPLICIT || !js->ops->cons_unacked(a->c->sc, a->sseq, &u)) {
        return;
    }
    if (a->c->sample < 100) {
        do {
            env_random(js->d.env, &dice, 1);
        } while (dice >= 200);
    }
    if (dice % 100 < a->c->sample) {
        js_metric_ack(a->c, a->cseq, a->sseq, a->deliveries,
                      i64_sub_sat(env_boot_ns(js->d.env), u.delivered_ns));
    }
}

static void acknowledge(struct js_account *ja, const struct ack_in *a, struct brk_str reply)
{
    if (a->sseq == 0) {
        answer_now(ja, reply);
        return;
    }
    if (a->c->sample > 0) {
        sample(ja, a);
    }
    submit(ja, a, CONS_ACK, 0, reply);
}

static bool is(const struct brk_msg *m, const char *word, size_t n)
{
    return m->payload_len == n && memcmp(m->payload, word, n) == 0;
}

static void take_ack(struct js_account *ja, const struct ack_in *a, const struct brk_msg *m)
{
    if (m->payload_len == 0 || is(m, "+ACK", 4) || is(m, "+OK", 3)) {
        acknowledge(ja, a, m->reply);
    } else if (starts(m, "-NAK", 4)) {
        nak(ja, a, m);
    } else if (is(m, "+WPI", 4)) {
        progress(ja, a, m);
    } else if (starts(m, "+TERM", 5)) {
        terminate(ja, a, m);
    } else if (starts(m, "+NXT", 4)) {
        acknowledge(ja, a, (struct brk_str){0});
        js_pull_request(a->c, m->reply, m->payload + 4, m->payload_len - 4);
    } else {
        answer_now(ja, m->reply);
    }
}

/* What a client is told when there is no subscriber. */
void js_no_taker(struct js_account *ja, const struct brk_msg *msg)
{
    char h[32 + JS_NO_TAKER_MAX];
    if (msg->reply.n > 0 && msg->subject.n < JS_NO_TAKER_MAX) {
        memcpy(h, "Nats-Subject: ", 14);
        memcpy(h + 14, msg->subject.p, msg->subject.n);
        memcpy(h + 14 + msg->subject.n, "\r\n", 3);
        js_send_status(ja, msg->reply, "503", h);
    }
}

void js_ack_cb(void *arg, const struct brk_msg *msg)
{
    struct js_account *ja = arg;
    struct ack_in a = {0};
    if (!parse_subject(ja, msg->subject, &a) || a.c->ack == ACK_NONE ||
        a.c->ack == ACK_FLOW_CONTROL) {
        js_no_taker(ja, msg);
        return;
    }
    js_consumer_ref(a.c);
    js_consumer_used(a.c);
    take_ack(ja, &a, msg);
    js_consumer_unref(a.c);
}
