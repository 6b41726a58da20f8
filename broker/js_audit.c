/* The audit of API requests: $JS.EVENT.ADVISORY.API, one message for each request of a client, with
 * who asked, what, and the answer. Made only when somebody listened as the request came. As
 * upstream, reading a message (STREAM.MSG.GET that finds it, DIRECT.GET, CONSUMER.MSG.NEXT) is not
 * audited. */
#include "broker/js_int.h"

#include "broker/conn.h"
#include "broker/transport.h"
#include "engine/base/base.h"
#include "engine/base/env.h"

static const struct brk_str topic = {"$JS.EVENT.ADVISORY.API", 22};

static void put_set(struct json_out *j, const char *key, const char *s)
{
    if (s != NULL && s[0] != '\0') {
        json_out_str(j, key, s);
    }
}

void js_audit_begin(struct js_req *r, const struct brk_conn *from)
{
    struct js_account *ja = r->ja;
    struct json_out j = {0};
    bool told = r->route->fn == js_h_stream_snapshot || r->route->fn == js_h_stream_restore;
    if (from == NULL || (!told && !brk_account_has_interest(ja->acc, topic))) {
        return;
    }
    json_out_begin(&j);
    json_out_time(&j, "start", from->start_real_ns);
    put_set(&j, "host", from->trans != NULL ? from->trans->peer_ip : NULL);
    json_out_u64(&j, "id", from->cid);
    json_out_str(&j, "acc", ja->acc->name);
    put_set(&j, "user", from->user);
    put_set(&j, "name", from->name);
    put_set(&j, "lang", from->lang);
    put_set(&j, "ver", from->version);
    if (from->rtt_ns > 0) {
        json_out_i64(&j, "rtt", from->rtt_ns);
    }
    put_set(&j, "server", ja->js->d.server_name);
    json_out_str(&j, "kind", "Client");
    json_out_str(&j, "client_type", "nats");
    json_out_end(&j);
    r->audit = base_strndup(j.buf, j.len);
    json_out_fini(&j);
}

void js_audit_send(struct js_req *r)
{
    struct json_out j = {0};
    char id[23];
    bool read = r->route->fn == js_h_msg_get && r->err.err_code == API_OK;
    if (r->audit == NULL || r->ja->stopped || read) {
        return;
    }
    js_unique_id(r->js, id);
    json_out_begin(&j);
    json_out_str(&j, "type", "io.nats.jetstream.advisory.v1.api_audit");
    json_out_str(&j, "id", id);
    json_out_time(&j, "timestamp", env_real_ns(r->js->d.env));
    put_set(&j, "server", r->js->d.server_name);
    json_out_key(&j, "client");
    json_out_raw(&j, r->audit, strlen(r->audit));
    j.comma = true;
    json_out_strn(&j, "subject", r->subject.p, r->subject.n);
    if (r->body.n > 0) {
        json_out_strn(&j, "request", r->body.p, r->body.n);
    }
    json_out_strn(&j, "response", r->out.buf, r->out.len);
    js_domain_put(r->js, &j);
    json_out_end(&j);
    js_send(r->ja, topic, NULL, 0, j.buf, j.len);
    json_out_fini(&j);
}
