/* `/` and /varz: the server as a whole. Members in nats-server's order; those of parts that are not
 * built (cluster, gateway, leaf, mqtt, websocket, TLS) are empty or 0, as upstream shows them when
 * they are off. Ours come last. */
#include <stdio.h>

#include "broker/monitor_int.h"
#include "broker/procstat.h"
#include "broker/spin.h"
#include "engine/base/base.h"
#include "engine/base/version.h"

enum mon_step mon_root(struct mon_job *job)
{
    static const char *const names[MON_PAGES] = {
        [MON_PAGE_VARZ] = "General",
        [MON_PAGE_JSZ] = "JetStream",
        [MON_PAGE_CONNZ] = "Connections",
        [MON_PAGE_HEALTHZ] = "Health",
    };
    const char *base = job->m->server->opts->http_base_path;
    struct json_out *j = &job->out;
    static const char top[] =
        "<!DOCTYPE html>\n<html lang=\"en\"><head><title>Millrace</title></head>\n<body>\n"
        "<h1>Millrace " MILLRACE_VERSION "</h1>\n<p>serves nats-server v" BRK_NATS_VERSION
        "</p>\n<ul>\n";
    json_out_raw(j, top, sizeof top - 1);
    for (size_t i = 0; i < MON_PAGES; i++) {
        if (names[i] != NULL) {
            const char *const parts[] = {
                "<li><a href=\".", base != NULL ? base : "", mon_pages[i].path, "\">", names[i],
                "</a> ",           mon_pages[i].path,        "</li>\n"};
            for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
                json_out_raw(j, parts[k], strlen(parts[k]));
            }
        }
    }
    static const char bottom[] = "</ul>\n</body></html>\n";
    json_out_raw(j, bottom, sizeof bottom - 1);
    job->type = "text/html; charset=utf-8";
    return MON_DONE;
}

static void put_empty(struct json_out *j, const char *key)
{
    json_out_open(j, key);
    json_out_end(j);
}

/* Whole seconds, or with decimals: Go's float of a number that people write. */
static void put_seconds(struct json_out *j, const char *key, int64_t ns)
{
    char text[48];
    int n = snprintf(text, sizeof text, "%.9g", (double)ns / (double)NS_PER_S);
    json_out_key(j, key);
    json_out_raw(j, text, (size_t)n);
    j->comma = true;
}

static void put_options(struct json_out *j, const struct monitor *m)
{
    const struct brk_server *s = m->server;
    const struct brk_opts *o = s->opts;
    json_out_str(j, "server_id", s->id);
    json_out_str(j, "server_name", s->name);
    json_out_str(j, "version", BRK_NATS_VERSION);
    json_out_i64(j, "proto", BRK_PROTO);
    json_out_str(j, "go", brk_compiler());
    json_out_str(j, "host", o->host);
    json_out_u64(j, "port", s->port);
    if (s->auth_required) {
        json_out_bool(j, "auth_required", true);
    }
    json_out_i64(j, "max_connections", o->max_connections);
    if (o->max_subscriptions != 0) {
        json_out_i64(j, "max_subscriptions", o->max_subscriptions);
    }
    json_out_i64(j, "ping_interval", o->ping_interval_ns);
    json_out_i64(j, "ping_max", o->ping_max);
    json_out_str(j, "http_host", o->http_host != NULL ? o->http_host : o->host);
    json_out_u64(j, "http_port", m->port);
    json_out_str(j, "http_base_path", o->http_base_path != NULL ? o->http_base_path : "");
    json_out_u64(j, "https_port", 0);
    put_seconds(j, "auth_timeout", o->auth_timeout_ns);
    json_out_i64(j, "max_control_line", o->max_control_line);
    json_out_i64(j, "max_payload", o->max_payload);
    json_out_i64(j, "max_pending", o->max_pending);
    put_empty(j, "cluster");
    put_empty(j, "gateway");
    put_empty(j, "leaf");
    put_empty(j, "mqtt");
    put_empty(j, "websocket");
}

static void put_jetstream(struct mon_job *job)
{
    struct json_out *j = &job->out;
    json_out_open(j, "jetstream");
    if (job->m->s.js != NULL) {
        mon_put_js_config(job);
        json_out_open(j, "stats");
        mon_put_js_stats(job, NULL);
        json_out_end(j);
        mon_put_js_limits(job);
    }
    json_out_end(j);
    json_out_u64(j, "tls_timeout", 0);
    json_out_i64(j, "write_deadline", job->m->server->opts->write_deadline_ns);
}

/* Percent of one processor since the last look, which lies at least a second back. */
static void look_at_cpu(struct monitor *m, uint64_t cpu_ns)
{
    int64_t now = env_boot_ns(m->server->env);
    int64_t passed = now - m->cpu_boot_ns;
    if (passed >= NS_PER_S) {
        m->cpu_percent = (cpu_ns - m->cpu_ns) * 100 / (uint64_t)passed;
        m->cpu_ns = cpu_ns;
        m->cpu_boot_ns = now;
    }
}

static void put_process(struct json_out *j, struct monitor *m)
{
    struct brk_server *s = m->server;
    struct brk_procstat p;
    brk_procstat_get(&p);
    look_at_cpu(m, p.cpu_ns);
    json_out_time(j, "start", s->start_real_ns);
    json_out_time(j, "now", env_real_ns(s->env));
    mon_put_uptime(j, "uptime", env_boot_ns(s->env) - s->start_boot_ns);
    json_out_u64(j, "mem", p.mem_bytes);
    json_out_u64(j, "cores", p.cores);
    json_out_u64(j, "gomaxprocs", p.cores);
    json_out_u64(j, "cpu", m->cpu_percent);
}

static void put_counters(struct json_out *j, const struct brk_server *s)
{
    const struct brk_counters *c = &s->counters;
    uint64_t subs = 0;
    for (const struct brk_account *a = s->accounts_first; a != NULL; a = a->next) {
        subs += a->interest.count;
    }
    json_out_u64(j, "connections", s->conns_count);
    json_out_u64(j, "total_connections", c->total_connections);
    json_out_u64(j, "routes", 0);
    json_out_u64(j, "remotes", 0);
    json_out_u64(j, "leafnodes", 0);
    json_out_u64(j, "in_msgs", c->flow.in_msgs);
    json_out_u64(j, "in_bytes", c->flow.in_bytes);
    json_out_u64(j, "in_client_msgs", c->flow.in_msgs);
    json_out_u64(j, "in_client_bytes", c->flow.in_bytes);
    json_out_u64(j, "out_msgs", c->flow.out_msgs);
    json_out_u64(j, "out_bytes", c->flow.out_bytes);
    json_out_u64(j, "out_client_msgs", c->flow.out_msgs);
    json_out_u64(j, "out_client_bytes", c->flow.out_bytes);
    json_out_u64(j, "slow_consumers", c->slow_consumers);
    json_out_u64(j, "stale_connections", c->stale_connections);
    json_out_u64(j, "stalled_clients", c->stalled_clients);
    json_out_u64(j, "subscriptions", subs);
}

static void put_by_kind(struct json_out *j, const char *key, uint64_t clients)
{
    json_out_open(j, key);
    json_out_u64(j, "clients", clients);
    json_out_u64(j, "routes", 0);
    json_out_u64(j, "gateways", 0);
    json_out_u64(j, "leafs", 0);
    json_out_end(j);
}

static void put_requests(struct json_out *j, const struct monitor *m)
{
    static const int by_name[MON_PAGES] = {MON_PAGE_ROOT, MON_PAGE_CONNZ, MON_PAGE_HEALTHZ,
                                           MON_PAGE_JSZ, MON_PAGE_VARZ};
    json_out_open(j, "http_req_stats");
    for (size_t i = 0; i < MON_PAGES; i++) {
        if (m->requests[by_name[i]] > 0) {
            json_out_u64(j, mon_pages[by_name[i]].path, m->requests[by_name[i]]);
        }
    }
    json_out_end(j);
}

static void put_features(struct json_out *j, const struct brk_opts *o)
{
    json_out_open(j, "feature_flags");
    json_out_bool(j, "js_ack_fc_v2", o->js.ack_fc_v2);
    json_out_bool(j, "js_raft_delete_range", false); /* of a cluster */
    json_out_end(j);
}

static void put_busy_poll(struct json_out *j, const struct brk_spin *spin)
{
    json_out_open(j, "busy_poll");
    json_out_i64(j, "window", spin->window_ns);
    json_out_u64(j, "hits", spin->hits);
    json_out_u64(j, "misses", spin->misses);
    json_out_u64(j, "time", spin->spun_ns);
    json_out_end(j);
}

static void put_ours(struct json_out *j, const struct brk_server *s)
{
    const struct brk_counters *c = &s->counters;
    json_out_open(j, "millrace");
    json_out_str(j, "version", MILLRACE_VERSION);
    json_out_u64(j, "slow_consumers_pending", c->slow_pending);
    json_out_u64(j, "slow_consumers_deadline", c->slow_deadline);
    json_out_u64(j, "auth_errors", c->auth_errors);
    json_out_u64(j, "connections_refused", c->connections_refused);
    put_busy_poll(j, brk_loop_busy_poll(s->loop));
    json_out_end(j);
}

enum mon_step mon_varz(struct mon_job *job)
{
    struct json_out *j = &job->out;
    struct monitor *m = job->m;
    const struct brk_server *s = m->server;
    json_out_begin(j);
    put_options(j, m);
    put_jetstream(job);
    put_process(j, m);
    put_counters(j, s);
    put_requests(j, m);
    json_out_time(j, "config_load_time", s->start_real_ns);
    put_features(j, s->opts);
    if (s->system != NULL) {
        json_out_str(j, "system_account", s->system->name);
    }
    put_by_kind(j, "slow_consumer_stats", s->counters.slow_consumers);
    put_by_kind(j, "stale_connection_stats", s->counters.stale_connections);
    put_ours(j, s);
    json_out_end(j);
    return MON_DONE;
}
