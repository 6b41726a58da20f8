/* The table of keys. A new key: one line here; if its value is not of a plain kind, C() and a case
 * in conf_map.c. */
#include "broker/conf_keys.h"

#include <strings.h>

#include "broker/opts.h"
#include "engine/base/base.h"

#define AT(field) offsetof(struct brk_opts, field)
#define S(block, kind, names, field)                                                               \
    {BRK_KEYS_##block, BRK_KEY_SERVED, BRK_KEY_##kind, names, AT(field), NULL},
#define C(block, names) {BRK_KEYS_##block, BRK_KEY_SERVED, BRK_KEY_CUSTOM, names, 0, NULL},
#define W(block, names, note) {BRK_KEYS_##block, BRK_KEY_WARNED, BRK_KEY_NONE, names, 0, note},
#define R(block, names, note) {BRK_KEYS_##block, BRK_KEY_REFUSED, BRK_KEY_NONE, names, 0, note},
#define E(block, kind, names, note)                                                                \
    {BRK_KEYS_##block, BRK_KEY_REFUSED, BRK_KEY_##kind, names, 0, note},

static const struct brk_key table[] = {
    /* --- top level: served */
    C(TOP, "listen") S(TOP, PORT, "port", port) S(TOP, STRING, "host|net",
                                                  host) S(TOP, NAME, "server_name", server_name)
        C(TOP, "http") S(TOP, PORT, "http_port|monitor_port", http_port) S(
            TOP, STRING, "http_base_path", http_base_path) S(TOP, BOOL, "debug", debug)
            S(TOP, BOOL, "trace", trace) C(TOP, "trace_verbose") S(TOP, BOOL, "logtime", logtime) S(
                TOP, BOOL, "logtime_utc", logtime_utc) S(TOP, STRING, "log_file|logfile", log_file)
                S(TOP, STRING, "pid_file|pidfile",
                  pid_file) S(TOP, STRING, "ports_file_dir", ports_file_dir) C(TOP, "authorization")
                    C(TOP, "accounts") S(TOP, STRING, "no_auth_user", no_auth_user)
                        S(TOP, STRING, "system_account|system", system_account) S(
                            TOP, BOOL, "no_system_account|no_system|no_sys_acc",
                            no_system_account) C(TOP, "jetstream") C(TOP, "store_dir|storedir")
                            S(TOP, INT31, "max_control_line", max_control_line) S(
                                TOP, INT31, "max_payload", max_payload) S(TOP, COUNT, "max_pending",
                                                                          max_pending)
                                S(TOP, INT, "max_connections|max_conn", max_connections) S(
                                    TOP, COUNT, "max_subscriptions|max_subs", max_subscriptions)
                                    S(TOP, COUNT, "max_sub_tokens|max_subscription_tokens",
                                      max_sub_tokens) S(TOP, COUNT, "max_closed_clients",
                                                        max_closed_clients)
                                        S(TOP, DURATION, "ping_interval",
                                          ping_interval_ns) S(TOP, COUNT, "ping_max", ping_max)
                                            S(TOP, DURATION, "write_deadline", write_deadline_ns)
                                                S(TOP, BOOL, "no_header_support", no_header_support)
                                                    S(TOP, DURATION, "lame_duck_duration",
                                                      lame_duck_duration_ns)
                                                        S(TOP, DURATION, "lame_duck_grace_period",
                                                          lame_duck_grace_ns) C(TOP, "busy_poll")
    /* --- top level: known, without effect yet */
    W(TOP, "client_advertise", "other addresses are not advertised") W(TOP, "trace_headers",
                                                                       "traces do not show headers")
        W(TOP, "disable_sublist_cache|no_sublist_cache", "there is no such cache to switch off") W(
            TOP, "log_size_limit|logfile_size_limit",
            "log files are not rotated by size; send USR1 after renaming")
            W(TOP, "log_max_num|logfile_max_num", "log files are not rotated by size") W(
                TOP, "syslog", "the log goes to stderr or log_file")
                W(TOP, "remote_syslog", "the log goes to stderr or log_file") W(
                    TOP, "prof_port", "there is no profiling port") W(TOP, "prof_block_rate",
                                                                      "there is no profiling port")
                    W(TOP, "max_traced_msg_len", "traced messages are not cut")
                        W(TOP, "write_timeout", "a slow consumer is closed") W(
                            TOP, "no_fast_producer_stall", "producers follow the default policy")
                            W(TOP, "connect_error_reports", "there are no routes to report on") W(
                                TOP, "reconnect_error_reports", "there are no routes to report on")
                                W(TOP, "server_tags", "tags are not shown")
                                    W(TOP, "server_metadata", "metadata are not shown")
                                        W(TOP, "default_js_domain", "there are no leaf nodes")
                                            C(TOP, "feature_flags")
    /* --- top level: refused */
    R(TOP, "tls", "start without TLS") R(TOP, "allow_non_tls", "start without TLS") R(
        TOP, "ocsp", "start without OCSP stapling") R(TOP, "ocsp_cache", "start without OCSP")
        R(TOP, "https", "start without encrypted monitoring") R(
            TOP, "https_port", "start without encrypted monitoring") E(TOP, GROUP, "cluster",
                                                                       "start a single server")
            E(TOP, GROUP, "gateway",
              "start without gateways") E(TOP, GROUP, "leafnodes|leaf", "start without leaf nodes")
                E(TOP, GROUP, "websocket|ws",
                  "start without WebSocket") E(TOP, GROUP, "mqtt", "start without MQTT")
                    R(TOP, "operator|operators|roots|root|root_operators|root_operator",
                      "start without JWT authentication")
                        R(TOP, "resolver|account_resolver|accounts_resolver",
                          "start without JWT authentication") R(TOP, "resolver_tls",
                                                                "start without JWT authentication")
                            R(TOP, "resolver_preload", "start without JWT authentication") R(
                                TOP, "resolver_pinned_accounts", "start without JWT authentication")
                                R(TOP, "trusted_keys|trusted", "start without JWT authentication")
                                    R(TOP, "default_sentinel", "start without JWT authentication")
                                        E(TOP, GROUP, "mappings|maps",
                                          "start without subject mapping")
                                            R(TOP, "proxies", "start without trusted proxies")
                                                R(TOP, "proxy_protocol",
                                                  "start without the PROXY protocol")
    /* --- authorization */
    C(AUTH, "user|username") C(AUTH, "password|pass") C(AUTH, "token") C(AUTH, "timeout")
        C(AUTH, "users") R(AUTH, "permissions|default_permission|default_permissions",
                           "start without permissions: users may do anything")
            R(AUTH, "auth_callout|auth_hook", "start without the auth callout")
                R(AUTH, "proxy_required", "start without trusted proxies")
    /* --- one user */
    C(USER, "user|username") C(USER, "password|pass")
        R(USER, "nkey", "start without nkey authentication")
            R(USER, "permissions|permission|authorization",
              "start without permissions: the user may do anything")
                R(USER, "allowed_connection_types|connection_types|clients",
                  "start without limits on how the user connects")
                    R(USER, "proxy_required", "start without trusted proxies")
    /* --- one account */
    C(ACCOUNT, "users") C(ACCOUNT, "jetstream") R(ACCOUNT, "nkey", "start without account nkeys")
        E(ACCOUNT, LIST, "imports", "start without imports") E(ACCOUNT, LIST, "exports",
                                                               "start without exports")
            R(ACCOUNT, "default_permissions", "start without permissions: users may do anything")
                E(ACCOUNT, GROUP, "mappings|maps", "start without subject mapping")
                    R(ACCOUNT, "limits", "start without limits on the account")
                        W(ACCOUNT, "msg_trace|trace_dest", "message paths are not traced")
    /* --- JetStream in one account */
    C(ACCOUNT_JS, "enabled|enable") C(ACCOUNT_JS, "disabled|disable")
        C(ACCOUNT_JS, "max_memory|max_mem|mem|memory")
            C(ACCOUNT_JS, "max_store|max_file|max_disk|store|disk")
                C(ACCOUNT_JS, "max_streams|streams") C(ACCOUNT_JS, "max_consumers|consumers")
                    C(ACCOUNT_JS, "max_bytes_required|max_stream_bytes|max_bytes")
                        C(ACCOUNT_JS, "mem_max_stream_bytes|memory_max_stream_bytes")
                            C(ACCOUNT_JS, "disk_max_stream_bytes|store_max_stream_bytes")
                                C(ACCOUNT_JS, "max_ack_pending")
                                    W(ACCOUNT_JS, "cluster_traffic", "there is no cluster")
    /* --- JetStream */
    C(JS, "enabled|enable") C(JS, "disabled|disable") S(JS, BOOL, "strict", js.strict)
        C(JS, "store_dir|store|storedir") C(JS, "sync_interval|sync") S(
            JS, SIZE, "max_memory_store|max_mem_store|max_mem",
            js.max_memory_store) S(JS, SIZE, "max_file_store|max_file", js.max_file_store)
            S(JS, COUNT, "request_queue_limit", js.request_queue_limit) C(JS, "limits") C(
                JS, "domain") R(JS, "key|ek|encryption_key", "start without encryption at rest")
                R(JS, "prev_key|prev_ek|prev_encryption_key", "start without encryption at rest")
                    R(JS, "cipher", "start without encryption at rest")
                        R(JS, "tpm", "start without encryption at rest") W(JS, "extension_hint",
                                                                           "it concerns leaf nodes")
                            W(JS, "unique_tag", "there is no cluster to place streams in")
                                W(JS, "max_outstanding_catchup", "there is no cluster") W(
                                    JS, "max_buffered_size",
                                    "publishes are bounded by the journal's buffers")
                                    W(JS, "max_buffered_msgs",
                                      "publishes are bounded by the journal's buffers")
                                        W(JS, "info_queue_limit",
                                          "info requests share request_queue_limit")
                                            W(JS, "meta_compact", "there is no cluster")
                                                W(JS, "meta_compact_size", "there is no cluster") W(
                                                    JS, "meta_compact_sync", "there is no cluster")
                                                    W(JS, "max_concurrent_io",
                                                      "the engine has its own threads")
    /* --- jetstream.limits */
    S(JS_LIMITS, COUNT, "max_ack_pending",
      js.limit_max_ack_pending) S(JS_LIMITS, COUNT, "max_request_batch", js.limit_max_request_batch)
        S(JS_LIMITS, DURATION, "duplicate_window", js.limit_duplicate_window_ns)
            W(JS_LIMITS, "max_ha_assets", "there are no replicated streams")
                W(JS_LIMITS, "batch", "atomic batches have the limits of nats-server's defaults")
    /* --- flags */
    S(FEATURES, BOOL, "js_ack_fc_v2", js.ack_fc_v2)};

const struct brk_key *brk_key_table(size_t *count_out)
{
    *count_out = ARRAY_LEN(table);
    return table;
}

static bool has_name(const char *names, const char *key)
{
    size_t len = strlen(key);
    for (const char *n = names; n != NULL; n = strchr(n, '|')) {
        n += *n == '|';
        if (strncasecmp(n, key, len) == 0 && (n[len] == '|' || n[len] == '\0')) {
            return true;
        }
    }
    return false;
}

const struct brk_key *brk_key_find(enum brk_key_block block, const char *key)
{
    for (size_t i = 0; strchr(key, '|') == NULL && i < ARRAY_LEN(table); i++) {
        if (table[i].block == block && has_name(table[i].names, key)) {
            return &table[i];
        }
    }
    return NULL;
}

const char *brk_key_block_name(enum brk_key_block block)
{
    static const char *const names[] = {
        "",          "authorization",    "user",         "account", "account jetstream",
        "jetstream", "jetstream.limits", "feature_flags"};
    return names[block];
}
