/* CONSUMER.PAUSE, CONSUMER.UNPIN, CONSUMER.RESET, and what a pause does: nothing is delivered until
 * its time; requests wait, acks count, heartbeats go on. The time stands in the config, so a pause
 * outlives a restart. Loop thread only. */
#include "broker/js_int.h"

#include <stdio.h>

#include "engine/base/base.h"
#include "engine/base/env.h"

#define JS_PAUSE_LOOK_MS                                                                           \
    ((uint64_t)60 * 1000) /* the wall clock may be set: looked at again at least this often */

void js_put_go_time(struct json_out *j, const char *key, int64_t ns)
{
    if (ns == 0) {
        json_out_str(j, key, "0001-01-01T00:00:00Z");
    } else {
        json_out_time(j, key, ns);
    }
}

int64_t js_pause_left_ns(struct js *js, int64_t until_ns)
{
    return until_ns == 0 ? 0 : i64_max(i64_sub_sat(until_ns, env_real_ns(js->d.env)), 0);
}

/* --- the pause -------------------------------------------------------------------------------- */

static void wait_for_end(struct js_consumer *c, int64_t left_ns)
{
    uint64_t ms = (uint64_t)js_ms_up(left_ns);
    brk_timer_start(c->pause, ms < JS_PAUSE_LOOK_MS ? ms : JS_PAUSE_LOOK_MS, 0);
}

static void pause_due(void *arg)
{
    struct js_consumer *c = arg;
    if (c->gone) {
        return;
    }
    int64_t left = js_pause_left_ns(c->stream->ja->js, c->pause_until_ns);
    if (left > 0) {
        wait_for_end(c, left);
        return;
    }
    js_pause_stop(c);
    js_adv_pause(c, false, c->pause_until_ns);
    js_consumer_queue_run(c);
}

void js_pause_reload(struct js_consumer *c, const struct cons_cfg *k)
{
    struct js *js = c->stream->ja->js;
    int64_t left = js_pause_left_ns(js, k->pause_until_ns);
    c->pause_until_ns = k->pause_until_ns;
    if (left == 0) {
        js_pause_stop(c);
        return;
    }
    if (c->pause == NULL) {
        c->pause = brk_timer_create(js->d.loop, pause_due, c);
    }
    wait_for_end(c, left);
}

void js_pause_stop(struct js_consumer *c)
{
    brk_timer_destroy(c->pause);
    c->pause = NULL;
}

/* --- CONSUMER.PAUSE --------------------------------------------------------------------------- */

struct pause_body {
    int64_t until_ns;
};
static const struct json_field pause_fields[] = {
    {"pause_until", JSON_TIME, offsetof(struct pause_body, until_ns), NULL, NULL}};
static const struct json_schema pause_schema = {"JSApiConsumerPauseRequest",
                                                "server.JSApiConsumerPauseRequest", pause_fields,
                                                ARRAY_LEN(pause_fields)};

static void paused(void *arg, enum st st, struct store_cons *sc, const struct err *err)
{
    struct js_req *r = arg;
    struct js_consumer *c = r->consumer;
    (void)sc;
    if (r->ja->stopped) {
        js_req_fail_with(r, API_CLUSTER_NOT_AVAIL);
        return;
    }
    if (c->gone) {
        js_req_fail_with(r, API_CONSUMER_NOT_FOUND);
        return;
    }
    if (st != ST_OK) {
        js_req_fail_st(r, API_CONSUMER_STORE_FAILED, st, err);
        return;
    }
    js_consumer_reload(c);
    if (r->number != 0) {
        js_adv_pause(c, js_paused(c), c->pause_until_ns);
    }
    struct json_out *j = js_req_begin(r);
    json_out_bool(j, "paused", js_paused(c));
    js_put_go_time(j, "pause_until", c->pause_until_ns);
    if (js_paused(c)) {
        json_out_i64(j, "pause_remaining", js_pause_left_ns(r->js, c->pause_until_ns));
    }
    js_req_answer_durable(r, c->stream);
}

void js_h_consumer_pause(struct js_req *r)
{
    struct pause_body b = {0};
    struct cons_cfg next;
    struct js_consumer *c = NULL;
    if (js_req_is_json(r) && !js_req_decode(r, &pause_schema, &b)) {
        js_req_fail(r);
    } else {
        c = js_req_consumer(r);
    }
    if (c == NULL) {
        return;
    }
    cons_cfg_copy(&next, r->js->ops->cons_cfg(c->sc));
    r->number = next.pause_until_ns != b.until_ns;
    next.pause_until_ns = b.until_ns;
    r->js->ops->cons_update(c->sc, &next, paused, r);
    cons_cfg_fini(&next);
}

/* --- CONSUMER.UNPIN --------------------------------------------------------------------------- */

/* These two bodies are read as Go's json.Unmarshal does: unknown members are passed over. */
static bool decode_loosely(struct js_req *r, const struct json_schema *s, void *base)
{
    struct json_in doc = {0};
    struct json_decode d = {0};
    struct err err = {0};
    enum st st = json_in_parse(&doc, r->body.p, r->body.n, &err);
    if (st == ST_OK) {
        st = json_in_decode(&d, doc.root, s, base, &err);
    }
    json_in_fini(&doc);
    if (st != ST_OK) {
        api_error_set2(&r->err, API_INVALID_JSON, err.msg, NULL);
        js_req_fail(r);
    }
    return st == ST_OK;
}

struct unpin_body {
    char *group;
};
static const struct json_field unpin_fields[] = {
    {"group", JSON_STRING, offsetof(struct unpin_body, group), NULL, NULL}};
static const struct json_schema unpin_schema = {"JSApiConsumerUnpinRequest",
                                                "server.JSApiConsumerUnpinRequest", unpin_fields,
                                                ARRAY_LEN(unpin_fields)};

static void unpin(struct js_req *r, const char *group)
{
    if (group == NULL || group[0] == '\0') {
        api_error_set2(&r->err, API_INVALID_JSON, "consumer group not specified", NULL);
        js_req_fail(r);
        return;
    }
    struct js_consumer *c = js_req_consumer(r);
    if (c == NULL) {
        return;
    }
    if (!js_priority_has_group(c, group)) {
        js_req_fail_with(r, API_CONSUMER_INVALID_PRIORITY_GROUP);
        return;
    }
    js_priority_unpin(c, group, "admin");
    (void)js_req_begin(r);
    js_req_answer(r);
}

void js_h_consumer_unpin(struct js_req *r)
{
    struct unpin_body b = {0};
    if (decode_loosely(r, &unpin_schema, &b)) {
        unpin(r, b.group);
    }
    base_free(b.group);
}

/* --- CONSUMER.RESET --------------------------------------------------------------------------- */

struct reset_body {
    uint64_t seq;
};
static const struct json_field reset_fields[] = {
    {"seq", JSON_U64, offsetof(struct reset_body, seq), NULL, NULL}};
static const struct json_schema reset_schema = {"JSApiConsumerResetRequest",
                                                "server.JSApiConsumerResetRequest", reset_fields,
                                                ARRAY_LEN(reset_fields)};

static void refuse_reset(struct js_req *r, const char *why)
{
    api_error_set2(&r->err, API_CONSUMER_INVALID_RESET, why, NULL);
    js_req_fail(r);
}

static void was_reset(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_req *r = arg;
    struct js_consumer *c = r->consumer;
    (void)n;
    if (r->ja->stopped || c->gone) {
        js_req_fail_with(r, r->ja->stopped ? API_CLUSTER_NOT_AVAIL : API_CONSUMER_NOT_FOUND);
        return;
    }
    if (st != ST_OK) {
        js_req_fail_st(r, API_STREAM_GENERAL_ERROR, st, err);
        return;
    }
    js_req_answer(r);
    js_consumer_queue_run(c);
}

static void reset(struct js_req *r, uint64_t seq)
{
    struct cons_state st;
    r->js->ops->cons_state(r->consumer->sc, &st);
    r->number = seq != 0 ? seq : st.floor_sseq + 1;
    r->js->ops->cons_reset(r->consumer->sc, seq, was_reset, r);
    /* as it stands now, before it delivers; sent when that is durable */
    struct json_out *j = js_req_begin(r);
    js_put_consumer_members(r->js, j, r->consumer->sc);
    json_out_u64(j, "reset_seq", r->number);
}

/* by_start_time: the first message from there on must not be older than the start. */
static void found_first(void *arg, enum st st, const struct msg *m)
{
    struct js_req *r = arg;
    struct js_consumer *c = r->consumer;
    if (r->ja->stopped || c->gone) {
        js_req_fail_with(r, r->ja->stopped ? API_CLUSTER_NOT_AVAIL : API_CONSUMER_NOT_FOUND);
    } else if (st == ST_OK && m->ts_ns < r->js->ops->cons_cfg(c->sc)->opt_start_time_ns) {
        refuse_reset(r, "below start time");
    } else {
        reset(r, r->number);
    }
}

static void check_start_time(struct js_req *r, uint64_t seq)
{
    struct store_get g = {.kind = GET_NEXT_BY_SUBJ, .seq = seq};
    r->number = seq;
    r->js->ops->get(r->stream->ss, &g, found_first, r);
}

void js_h_consumer_reset(struct js_req *r)
{
    struct reset_body b = {0};
    if (r->body.n > 0 && !decode_loosely(r, &reset_schema, &b)) {
        return;
    }
    struct js_consumer *c = js_req_consumer(r);
    if (c == NULL) {
        return;
    }
    const struct cons_cfg *k = r->js->ops->cons_cfg(c->sc);
    if (b.seq == 0) {
        reset(r, 0);
    } else if (k->deliver == DELIVER_BY_START_TIME) {
        check_start_time(r, b.seq);
    } else if (k->deliver == DELIVER_BY_START_SEQ && b.seq < k->opt_start_seq) {
        refuse_reset(r, "below start seq");
    } else if (k->deliver != DELIVER_ALL && k->deliver != DELIVER_BY_START_SEQ) {
        refuse_reset(r, "not allowed");
    } else if (b.seq > (uint64_t)1 << 62) {
        refuse_reset(r, "sequence out of range");
    } else {
        reset(r, b.seq);
    }
}
