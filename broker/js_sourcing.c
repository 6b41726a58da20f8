/* Consumers by which other streams copy, at the origin's side (`direct` and `sourcing` in a create
 * request).
 *
 * Of a stream with limits they are ephemeral, and the name gets 8 characters more, so that a copier
 * which comes again is never in its own way. On a work queue or an interest stream messages go once
 * they are acknowledged: there the consumer becomes a durable one of that name whose messages are
 * acknowledged by the answers to flow control, which a copier gives when it has stored them. A
 * copier that comes again finds it, and gets from it what it had not acknowledged (ADR-60). */
#include "broker/js_int.h"

#include "engine/base/base.h"

static void reset_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_req *r = arg;
    (void)n;
    if (r->ja->stopped) {
        js_req_fail_with(r, API_CLUSTER_NOT_AVAIL);
    } else if (st != ST_OK) {
        js_req_fail_st(r, API_CONSUMER_CREATE, st, err);
    } else if (r->consumer->gone) {
        js_req_fail_with(r, API_CONSUMER_NOT_FOUND);
    } else {
        js_answer_consumer(r, r->consumer);
    }
}

static void readdressed(void *arg, enum st st, struct store_cons *sc, const struct err *err)
{
    struct js_req *r = arg;
    if (r->ja->stopped) {
        js_req_fail_with(r, API_CLUSTER_NOT_AVAIL);
    } else if (st != ST_OK) {
        js_req_fail_st(r, API_CONSUMER_CREATE, st, err);
    } else if (r->consumer->gone) {
        js_req_fail_with(r, API_CONSUMER_NOT_FOUND);
    } else {
        js_consumer_reload(r->consumer);
        r->js->ops->cons_reset(sc, 0, reset_done, r);
    }
}

/* The copier is back: the consumer sends to its new subject, from what it has not acknowledged. */
static void take_up(struct js_req *r, struct js_consumer *old, const struct js_cons_req *q)
{
    const struct store_ops *ops = r->js->ops;
    struct cons_cfg c;
    cons_cfg_copy(&c, ops->cons_cfg(old->sc));
    base_free(c.deliver_subject);
    c.deliver_subject = base_strdup(q->cfg.deliver_subject);
    js_consumer_ref(old);
    r->consumer = old;
    ops->cons_update(old->sc, &c, readdressed, r);
    cons_cfg_fini(&c);
}

static void make_durable(struct js_cons_req *q, bool workqueue)
{
    struct cons_cfg *c = &q->cfg;
    c->direct = false;
    c->durable = true;
    q->durable = base_strdup(c->name);
    c->ack = ACK_FLOW_CONTROL;
    c->ack_wait_ns = 0;
    c->max_deliver = -1;
    c->inactive_threshold_ns = 0;
    c->max_ack_pending = LIM_ACK_PENDING_DEFAULT;
    c->mem_storage = false;
    if (workqueue) { /* has everything to give; the copier knows what it has */
        c->deliver = DELIVER_ALL;
        c->opt_start_seq = 0;
        c->opt_start_time_ns = 0;
    }
}

bool js_sourcing_adapt(struct js_req *r, struct js_stream *s, struct js_cons_req *q)
{
    enum store_retention keeps = r->js->ops->stream_cfg(s->ss)->retention;
    struct cons_cfg *c = &q->cfg;
    if (!c->sourcing || !c->direct || c->name == NULL || c->deliver_subject == NULL) {
        return true;
    }
    if (keeps == RETENTION_LIMITS) {
        char id[23];
        js_unique_id(r->js, id);
        size_t n = strlen(c->name);
        c->name = base_realloc(c->name, n + 10);
        c->name[n] = '-';
        memcpy(c->name + n + 1, id, 8);
        c->name[n + 9] = '\0';
        return true;
    }
    struct js_consumer *old = js_consumer_find(s, js_str(c->name));
    const struct cons_cfg *have = old != NULL ? r->js->ops->cons_cfg(old->sc) : NULL;
    if (have != NULL && have->sourcing && have->ack == ACK_FLOW_CONTROL) {
        take_up(r, old, q);
        return false;
    }
    make_durable(q, keeps == RETENTION_WORKQUEUE);
    return true;
}
