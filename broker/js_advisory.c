/* Advisories: small JSON messages on $JS.EVENT.ADVISORY.>, made only when somebody listens. */
#include "broker/js_int.h"

#include <stdio.h>

#include "engine/base/base.h"
#include "engine/base/env.h"

struct adv {
    struct json_out j;
    char subject[64 + 2 * (LIM_NAME_BYTES_MAX + 1)];
    size_t subject_len;
};

/* event: ADVISORY or METRIC; type: what stands behind io.nats.jetstream. False: nobody listens. */
static bool begin_event(struct js_account *ja, struct adv *a, const char *event, const char *type,
                        const char *what, const char *stream, const char *consumer)
{
    char id[23];
    int n = snprintf(a->subject, sizeof a->subject, "$JS.EVENT.%s.%s%s%s%s%s", event, what,
                     stream != NULL ? "." : "", stream != NULL ? stream : "",
                     consumer != NULL ? "." : "", consumer != NULL ? consumer : "");
    a->subject_len = (size_t)n;
    a->j = (struct json_out){0};
    if (ja->stopped ||
        !brk_account_has_interest(ja->acc, (struct brk_str){a->subject, a->subject_len})) {
        return false;
    }
    js_unique_id(ja->js, id);
    json_out_begin(&a->j);
    json_out_key(&a->j, "type");
    json_out_raw(&a->j, "\"io.nats.jetstream.", 19);
    json_out_raw(&a->j, type, strlen(type));
    json_out_raw(&a->j, "\"", 1);
    a->j.comma = true;
    json_out_str(&a->j, "id", id);
    json_out_time(&a->j, "timestamp", env_real_ns(ja->js->d.env));
    return true;
}

static bool begin(struct js_account *ja, struct adv *a, const char *type, const char *what,
                  const char *stream, const char *consumer)
{
    char full[64];
    (void)snprintf(full, sizeof full, "advisory.v1.%s", type);
    return begin_event(ja, a, "ADVISORY", full, what, stream, consumer);
}

static void names(struct adv *a, const char *stream, const char *consumer)
{
    json_out_str(&a->j, "stream", stream);
    if (consumer != NULL) {
        json_out_str(&a->j, "consumer", consumer);
    }
}

static void send_as_is(struct js_account *ja, struct adv *a)
{
    json_out_end(&a->j);
    js_send(ja, (struct brk_str){a->subject, a->subject_len}, NULL, 0, a->j.buf, a->j.len);
    json_out_fini(&a->j);
}

/* With the domain at the end, where most have it. */
static void send(struct js_account *ja, struct adv *a)
{
    js_domain_put(ja->js, &a->j);
    send_as_is(ja, a);
}

void js_adv_stream(struct js_stream *s, const char *verb, const char *action)
{
    struct adv a;
    char what[32];
    (void)snprintf(what, sizeof what, "STREAM.%s", verb);
    if (!begin(s->ja, &a, "stream_action", what, s->name, NULL)) {
        return;
    }
    names(&a, s->name, NULL);
    json_out_str(&a.j, "action", action);
    send(s->ja, &a);
}

void js_adv_batch(struct js_stream *s, const char *id, size_t id_len, const char *reason)
{
    struct adv a;
    if (!begin(s->ja, &a, "stream_batch_abandoned", "STREAM.BATCH_ABANDONED", s->name, NULL)) {
        return;
    }
    names(&a, s->name, NULL);
    js_domain_put(s->ja->js, &a.j);
    json_out_strn(&a.j, "batch", id, id_len);
    json_out_str(&a.j, "reason", reason);
    send_as_is(s->ja, &a);
}

void js_adv_consumer(struct js_consumer *c, const char *verb, const char *action)
{
    struct adv a;
    char what[32];
    (void)snprintf(what, sizeof what, "CONSUMER.%s", verb);
    if (!begin(c->stream->ja, &a, "consumer_action", what, c->stream->name, c->name)) {
        return;
    }
    names(&a, c->stream->name, c->name);
    json_out_str(&a.j, "action", action);
    send(c->stream->ja, &a);
}

void js_adv_max_deliver(struct js_consumer *c, uint64_t stream_seq, uint64_t deliveries)
{
    struct adv a;
    if (!begin(c->stream->ja, &a, "max_deliver", "CONSUMER.MAX_DELIVERIES", c->stream->name,
               c->name)) {
        return;
    }
    names(&a, c->stream->name, c->name);
    json_out_u64(&a.j, "stream_seq", stream_seq);
    json_out_u64(&a.j, "deliveries", deliveries);
    send(c->stream->ja, &a);
}

void js_adv_nak(struct js_consumer *c, uint64_t cseq, uint64_t sseq, uint64_t deliveries)
{
    struct adv a;
    if (!begin(c->stream->ja, &a, "nak", "CONSUMER.MSG_NAKED", c->stream->name, c->name)) {
        return;
    }
    names(&a, c->stream->name, c->name);
    json_out_u64(&a.j, "consumer_seq", cseq);
    json_out_u64(&a.j, "stream_seq", sseq);
    json_out_u64(&a.j, "deliveries", deliveries);
    send(c->stream->ja, &a);
}

void js_adv_terminated(struct js_consumer *c, uint64_t cseq, uint64_t sseq, uint64_t deliveries,
                       const char *reason, size_t reason_len)
{
    struct adv a;
    if (!begin(c->stream->ja, &a, "terminated", "CONSUMER.MSG_TERMINATED", c->stream->name,
               c->name)) {
        return;
    }
    names(&a, c->stream->name, c->name);
    json_out_u64(&a.j, "consumer_seq", cseq);
    json_out_u64(&a.j, "stream_seq", sseq);
    json_out_u64(&a.j, "deliveries", deliveries);
    if (reason_len > 0) {
        json_out_strn(&a.j, "reason", reason, reason_len);
    }
    send(c->stream->ja, &a);
}

void js_adv_pause(struct js_consumer *c, bool paused, int64_t until_ns)
{
    struct adv a;
    if (!begin(c->stream->ja, &a, "consumer_pause", "CONSUMER.PAUSE", c->stream->name, c->name)) {
        return;
    }
    names(&a, c->stream->name, c->name);
    json_out_bool(&a.j, "paused", paused);
    js_put_go_time(&a.j, "pause_until", until_ns);
    send(c->stream->ja, &a);
}

void js_adv_pinned(struct js_consumer *c, const char *group, const char *pin, const char *reason)
{
    struct adv a;
    if (!begin(c->stream->ja, &a, pin != NULL ? "consumer_group_pinned" : "consumer_group_unpinned",
               pin != NULL ? "CONSUMER.PINNED" : "CONSUMER.UNPINNED", c->stream->name, c->name)) {
        return;
    }
    json_out_str(&a.j, "account", c->stream->ja->acc->name);
    names(&a, c->stream->name, c->name);
    js_domain_put(c->stream->ja->js, &a.j);
    json_out_str(&a.j, "group", group);
    json_out_str(&a.j, pin != NULL ? "pinned_id" : "reason", pin != NULL ? pin : reason);
    send_as_is(c->stream->ja, &a);
}

void js_metric_ack(struct js_consumer *c, uint64_t cseq, uint64_t sseq, uint64_t deliveries,
                   int64_t ack_time_ns)
{
    struct adv a;
    if (!begin_event(c->stream->ja, &a, "METRIC", "metric.v1.consumer_ack", "CONSUMER.ACK",
                     c->stream->name, c->name)) {
        return;
    }
    names(&a, c->stream->name, c->name);
    json_out_u64(&a.j, "consumer_seq", cseq);
    json_out_u64(&a.j, "stream_seq", sseq);
    json_out_i64(&a.j, "ack_time", ack_time_ns);
    json_out_u64(&a.j, "deliveries", deliveries);
    send(c->stream->ja, &a);
}

void js_adv_api_limit(struct js *js, struct js_account *ja)
{
    struct adv a;
    if (!begin(ja, &a, "api_limit_reached", "API.LIMIT_REACHED", NULL, NULL)) {
        return;
    }
    json_out_str(&a.j, "server", js->d.server_name);
    json_out_u64(&a.j, "dropped", js->dropped);
    send(ja, &a);
}

/* --- snapshots and restores ------------------------------------------------------------------- */

static bool begin_snap(struct js_account *ja, struct adv *a, const char *type, const char *what,
                       const char *stream)
{
    if (!begin(ja, a, type, what, stream, NULL)) {
        return false;
    }
    names(a, stream, NULL);
    return true;
}

static void put_client(struct adv *a, const char *client)
{
    if (client != NULL) {
        json_out_key(&a->j, "client");
        json_out_raw(&a->j, client, strlen(client));
        a->j.comma = true;
    }
}

void js_adv_snapshot_create(struct js_account *ja, const char *stream, const char *client,
                            const struct stream_state *st)
{
    struct adv a;
    if (begin_snap(ja, &a, "snapshot_create", "STREAM.SNAPSHOT_CREATE", stream)) {
        js_put_snap_state(&a.j, st);
        put_client(&a, client);
        send(ja, &a);
    }
}

void js_adv_snapshot_complete(struct js_account *ja, const char *stream, const char *client,
                              int64_t begun_ns)
{
    struct adv a;
    if (begin_snap(ja, &a, "snapshot_complete", "STREAM.SNAPSHOT_COMPLETE", stream)) {
        json_out_time(&a.j, "start", begun_ns);
        json_out_time(&a.j, "end", env_real_ns(ja->js->d.env));
        put_client(&a, client);
        send(ja, &a);
    }
}

void js_adv_restore_create(struct js_account *ja, const char *stream, const char *client)
{
    struct adv a;
    if (begin_snap(ja, &a, "restore_create", "STREAM.RESTORE_CREATE", stream)) {
        put_client(&a, client);
        send(ja, &a);
    }
}

void js_adv_restore_complete(struct js_account *ja, const char *stream, const char *client,
                             int64_t begun_ns, uint64_t bytes)
{
    struct adv a;
    if (begin_snap(ja, &a, "restore_complete", "STREAM.RESTORE_COMPLETE", stream)) {
        json_out_time(&a.j, "start", begun_ns);
        json_out_time(&a.j, "end", env_real_ns(ja->js->d.env));
        json_out_u64(&a.j, "bytes", bytes);
        put_client(&a, client);
        send(ja, &a);
    }
}
