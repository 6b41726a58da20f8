/* /healthz: 200 {"status":"ok"} while the server does its work, else the status and the reason.
 *
 * 503 says that JetStream does not work: the store has failed (only a restart helps), or publishes
 * are refused because the disk is nearly full (not with js-enabled-only, which liveness probes ask:
 * a restart makes no room). What works but wants a look (damage that was contained, a clock that
 * jumped) leaves the status "ok" and adds `warning`, and with details=1 the findings as `damage`.
 */
#include <stdio.h>

#include "broker/monitor_int.h"
#include "engine/base/base.h"

struct ask {
    bool enabled_only, server_only, details;
    char account[BRK_HTTP_VALUE_MAX + 1], stream[BRK_HTTP_VALUE_MAX + 1],
        consumer[BRK_HTTP_VALUE_MAX + 1];
};

static bool read_ask(struct mon_job *job, struct ask *a)
{
    return mon_param_bool(job, "js-enabled", &a->enabled_only) &&
           mon_param_bool(job, "js-enabled-only", &a->enabled_only) &&
           mon_param_bool(job, "js-server-only", &a->server_only) &&
           mon_param_bool(job, "js-meta-only", &a->server_only) &&
           mon_param_bool(job, "details", &a->details) &&
           mon_param_str(job, "account", a->account) && mon_param_str(job, "stream", a->stream) &&
           mon_param_str(job, "consumer", a->consumer);
}

/* Ends the page with a fault. `type` names what is wrong, in nats-server's words. */
static enum mon_step fault(struct mon_job *job, const struct ask *a, int status, const char *type,
                           const char *text)
{
    struct json_out *j = &job->out;
    job->status = status;
    json_out_begin(j);
    if (!a->details) {
        json_out_str(j, "status", status == 400 ? "error" : "unavailable");
        json_out_str(j, "error", text);
    } else {
        bool bad = status == 400;
        json_out_str(j, "status", "error");
        json_out_array(j, "errors");
        json_out_begin(j);
        json_out_str(j, "type", type);
        if (a->account[0] != 0 && !bad) {
            json_out_str(j, "account", a->account);
        }
        if (a->stream[0] != 0 && !bad) {
            json_out_str(j, "stream", a->stream);
        }
        if (a->consumer[0] != 0 && !bad) {
            json_out_str(j, "consumer", a->consumer);
        }
        json_out_str(j, "error", text);
        json_out_end(j);
        json_out_array_end(j);
    }
    json_out_end(j);
    return MON_DONE;
}

/* What was asked for by name is there? Sets text and returns the kind of what is missing, or NULL.
 */
static const char *missing(struct monitor *m, const struct ask *a, char *text, size_t size)
{
    const struct store_ops *ops = m->s.store->ops;
    if (a->account[0] == 0) {
        return NULL;
    }
    if (mon_js_account(m, a->account) == NULL) {
        (void)snprintf(text, size, "JetStream account \"%s\" not found", a->account);
        return "ACCOUNT";
    }
    if (a->stream[0] == 0) {
        return NULL;
    }
    struct store_stream *s = ops->stream_find(m->s.store, a->account, a->stream);
    if (s == NULL || ops->stream_user(s) == NULL) {
        (void)snprintf(text, size, "JetStream stream \"%s\" not found on account \"%s\"", a->stream,
                       a->account);
        return "STREAM";
    }
    if (a->consumer[0] != 0 && ops->cons_find(s, a->consumer) == NULL) {
        (void)snprintf(text, size,
                       "JetStream consumer \"%s\" not found for stream \"%s\" on account \"%s\"",
                       a->consumer, a->stream, a->account);
        return "CONSUMER";
    }
    return NULL;
}

static enum mon_step fine(struct mon_job *job, const struct ask *a, const struct mon_facts *f)
{
    struct json_out *j = &job->out;
    struct mon_damage_list damage = {.account = a->account[0] != 0 ? a->account : NULL,
                                     .stream = a->stream[0] != 0 ? a->stream : NULL};
    char warning[256] = "";
    int n = 0;
    mon_put_damage(job->m, &damage);
    if (damage.count > 0) {
        n = snprintf(warning, sizeof warning, "damage was found and contained: %llu findings%s",
                     (unsigned long long)damage.count, a->details ? "" : "; details=1 lists them");
    }
    if (f->clock_alarm) {
        (void)snprintf(warning + n, sizeof warning - (size_t)n,
                       "%sthe wall clock jumped and is not followed yet", n > 0 ? "; " : "");
    }
    json_out_begin(j);
    json_out_str(j, "status", "ok");
    if (warning[0] != 0) {
        json_out_str(j, "warning", warning);
    }
    if (a->details && damage.count > 0) {
        damage.count = 0;
        damage.j = j;
        json_out_array(j, "damage");
        mon_put_damage(job->m, &damage);
        json_out_array_end(j);
    }
    json_out_end(j);
    return MON_DONE;
}

enum mon_step mon_healthz(struct mon_job *job)
{
    struct ask a = {.details = false};
    struct mon_facts f = {.clean = true};
    struct err err = {0};
    struct monitor *m = job->m;
    char text[3 * BRK_HTTP_VALUE_MAX + 128];
    if (!read_ask(job, &a)) {
        return MON_DONE;
    }
    if (a.stream[0] != 0 && a.account[0] == 0) {
        return fault(job, &a, 400, "BAD_REQUEST",
                     "\"account\" must not be empty when checking stream health");
    }
    if (a.consumer[0] != 0 && a.stream[0] == 0) {
        return fault(job, &a, 400, "BAD_REQUEST",
                     "\"stream\" must not be empty when checking consumer health");
    }
    if (m->s.js == NULL) {
        return fine(job, &a, &f);
    }
    m->s.facts(m->s.store, &f);
    if (m->s.store->ops->health(m->s.store, &err) != ST_OK) {
        (void)snprintf(text, sizeof text, "JetStream has stopped until a restart: %s", err.msg);
        return fault(job, &a, 503, "JETSTREAM", text);
    }
    if (a.enabled_only) {
        return fine(job, &a, &f);
    }
    if (f.low_space) {
        return fault(job, &a, 503, "JETSTREAM",
                     "JetStream refuses publishes: the disk is nearly full");
    }
    const char *type = a.server_only ? NULL : missing(m, &a, text, sizeof text);
    return type != NULL ? fault(job, &a, 404, type, text) : fine(job, &a, &f);
}
