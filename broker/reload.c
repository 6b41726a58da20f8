#include "broker/reload.h"

#include <inttypes.h>
#include <stdio.h>

#include "broker/conn_priv.h"
#include "engine/base/base.h"

/* --- what differs ----------------------------------------------------------------------------- */

enum kind { K_BOOL, K_INT, K_I64, K_NS, K_STR };

struct field {
    const char *name; /* as nats-server writes it: what changed, or what cannot */
    enum kind kind;
    size_t at;
};
#define FIELD(name, kind, member)                                                                  \
    {                                                                                              \
        name, kind, offsetof(struct brk_opts, member)                                              \
    }

/* In nats-server's order of log lines, where it has one. */
static const struct field live[] = {
    FIELD("trace", K_BOOL, trace),
    FIELD("trace_verbose", K_BOOL, trace_verbose),
    FIELD("debug", K_BOOL, debug),
    FIELD("logtime", K_BOOL, logtime),
    FIELD("log_file", K_STR, log_file),
    FIELD("max_connections", K_I64, max_connections),
    FIELD("authorization timeout", K_NS, auth_timeout_ns),
    FIELD("ping_interval", K_NS, ping_interval_ns),
    FIELD("ping_max", K_I64, ping_max),
    FIELD("max_control_line", K_I64, max_control_line),
    FIELD("max_payload", K_I64, max_payload),
    FIELD("pid_file", K_STR, pid_file),
    FIELD("ports_file_dir", K_STR, ports_file_dir),
    FIELD("write_deadline", K_NS, write_deadline_ns),
};

static const struct field fixed[] = {
    FIELD("Host", K_STR, host),
    FIELD("Port", K_INT, port),
    FIELD("ServerName", K_STR, server_name),
    FIELD("HTTPHost", K_STR, http_host),
    FIELD("HTTPPort", K_INT, http_port),
    FIELD("HTTPBasePath", K_STR, http_base_path),
    FIELD("MaxPending", K_I64, max_pending),
    FIELD("MaxSubs", K_I64, max_subscriptions),
    FIELD("MaxSubTokens", K_I64, max_sub_tokens),
    FIELD("MaxClosedClients", K_I64, max_closed_clients),
    FIELD("NoHeaderSupport", K_BOOL, no_header_support),
    FIELD("LogtimeUTC", K_BOOL, logtime_utc), /* it is the whole process's time zone */
    FIELD("LameDuckDuration", K_NS, lame_duck_duration_ns),
    FIELD("LameDuckGracePeriod", K_NS, lame_duck_grace_ns),
    FIELD("busy_poll", K_NS, busy_poll_ns),
    FIELD("NoAuthUser", K_STR, no_auth_user),
    FIELD("SystemAccount", K_STR, system_account),
    FIELD("NoSystemAccount", K_BOOL, no_system_account),
    FIELD("JetStream", K_BOOL, js.enabled),
    FIELD("NoJetStreamStrict", K_BOOL, js.strict),
    FIELD("jetstream storage directory", K_STR, js.store_dir),
    FIELD("jetstream domain", K_STR, js.domain),
    FIELD("jetstream max memory", K_I64, js.max_memory_store),
    FIELD("jetstream max store", K_I64, js.max_file_store),
    FIELD("js_ack_fc_v2", K_BOOL, js.ack_fc_v2),
    FIELD("SyncAlways", K_BOOL, js.sync_always),
    FIELD("SyncInterval", K_NS, js.sync_interval_ns),
    FIELD("jetstream max_ack_pending", K_I64, js.limit_max_ack_pending),
    FIELD("jetstream max_request_batch", K_I64, js.limit_max_request_batch),
    FIELD("jetstream duplicate_window", K_NS, js.limit_duplicate_window_ns),
    FIELD("jetstream request_queue_limit", K_I64, js.request_queue_limit),
};

static bool text_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static size_t kind_size(enum kind k)
{
    switch (k) {
    case K_BOOL:
        return sizeof(bool);
    case K_INT:
        return sizeof(int);
    case K_STR:
        return sizeof(char *);
    case K_I64:
    case K_NS:
        break;
    }
    return sizeof(int64_t);
}

static bool field_same(const struct field *f, const struct brk_opts *a, const struct brk_opts *b)
{
    const char *x = (const char *)a + f->at, *y = (const char *)b + f->at;
    if (f->kind == K_STR) {
        const char *s, *t;
        memcpy(&s, x, sizeof s);
        memcpy(&t, y, sizeof t);
        return text_same(s, t);
    }
    return memcmp(x, y, kind_size(f->kind)) == 0;
}

static void field_text(const struct field *f, const struct brk_opts *o, char *out, size_t size)
{
    const char *at = (const char *)o + f->at;
    int64_t n = 0;
    int small = 0;
    bool on = false;
    const char *text = NULL;
    switch (f->kind) {
    case K_BOOL:
        memcpy(&on, at, sizeof on);
        snprintf(out, size, "%s", on ? "true" : "false");
        break;
    case K_INT:
        memcpy(&small, at, sizeof small);
        snprintf(out, size, "%d", small);
        break;
    case K_STR:
        memcpy(&text, at, sizeof text);
        snprintf(out, size, "%.200s", text != NULL ? text : "");
        break;
    case K_I64:
        memcpy(&n, at, sizeof n);
        snprintf(out, size, "%" PRId64, n);
        break;
    case K_NS:
        memcpy(&n, at, sizeof n);
        snprintf(out, size, "%gs", (double)n / (double)NS_PER_S);
        break;
    }
}

static void field_swap(const struct field *f, struct brk_opts *a, struct brk_opts *b)
{
    char *x = (char *)a + f->at, *y = (char *)b + f->at;
    char keep[sizeof(int64_t)];
    size_t n = kind_size(f->kind);
    memcpy(keep, x, n);
    memcpy(x, y, n);
    memcpy(y, keep, n);
}

static bool users_same(const struct brk_opts *a, const struct brk_opts *b)
{
    bool same = a->users_count == b->users_count && text_same(a->user, b->user) &&
                text_same(a->pass, b->pass) && text_same(a->token, b->token);
    for (size_t i = 0; same && i < a->users_count; i++) {
        const struct brk_user_opt *x = &a->users[i], *y = &b->users[i];
        same = text_same(x->user, y->user) && text_same(x->pass, y->pass) &&
               text_same(x->account, y->account);
    }
    return same;
}

static bool limits_same(const struct brk_js_account_limits *a,
                        const struct brk_js_account_limits *b)
{
    return a->max_memory == b->max_memory && a->max_store == b->max_store &&
           a->max_streams == b->max_streams && a->max_consumers == b->max_consumers &&
           a->max_ack_pending == b->max_ack_pending &&
           a->memory_max_stream_bytes == b->memory_max_stream_bytes &&
           a->store_max_stream_bytes == b->store_max_stream_bytes &&
           a->max_bytes_required == b->max_bytes_required;
}

static bool accounts_same(const struct brk_opts *a, const struct brk_opts *b)
{
    bool same = a->accounts_count == b->accounts_count;
    for (size_t i = 0; same && i < a->accounts_count; i++) {
        const struct brk_account_opt *x = &a->accounts[i], *y = &b->accounts[i];
        same = text_same(x->name, y->name) && x->jetstream == y->jetstream &&
               limits_same(&x->limits, &y->limits);
    }
    return same;
}

enum st brk_reload_check(const struct brk_opts *now, const struct brk_opts *next, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (!field_same(&fixed[i], now, next)) {
            char was[256], is[256];
            field_text(&fixed[i], now, was, sizeof was);
            field_text(&fixed[i], next, is, sizeof is);
            return err_set(err, ST_UNSUPPORTED, 0,
                           "config reload not supported for %s: old=%s, new=%s", fixed[i].name, was,
                           is);
        }
    }
    return ST_OK;
}

/* --- logins ------------------------------------------------------------------------------------
 */

struct login {
    const char *secret, *account; /* borrowed; NULL: no such user */
};

/* What a connection's user name stood for; "" is the token. */
static struct login login_of(const struct brk_opts *o, const char *user)
{
    if (user[0] == '\0') {
        return (struct login){o->token, BRK_ACC_GLOBAL};
    }
    if (o->user != NULL && strcmp(o->user, user) == 0) {
        return (struct login){o->pass, BRK_ACC_GLOBAL};
    }
    const struct brk_user_opt *u = brk_opts_user(o, user);
    return u != NULL ? (struct login){u->pass, u->account} : (struct login){NULL, NULL};
}

static bool login_stays(const struct brk_conn *c, const struct brk_opts *was,
                        const struct brk_opts *now)
{
    if (!brk_auth_enabled(c->server->auth)) {
        return c->account == NULL || strcmp(c->account->name, BRK_ACC_GLOBAL) == 0;
    }
    if (c->user == NULL) {
        return c->parser.login; /* it has not said yet who it is, and will be asked */
    }
    struct login a = login_of(was, c->user), b = login_of(now, c->user);
    return a.secret != NULL && b.secret != NULL && strcmp(a.secret, b.secret) == 0 &&
           strcmp(a.account, b.account) == 0;
}

static void recheck(struct brk_conn *c, const struct brk_opts *was, const struct brk_opts *now)
{
    if (c->state == BRK_CONN_CLOSING) {
        return;
    }
    /* A password that was being checked is dropped with the old users. */
    if (c->state == BRK_CONN_AUTH || !login_stays(c, was, now)) {
        c->server->counters.auth_errors++;
        if (c->user != NULL && c->user[0] != '\0') {
            brk_conn_log(c, LOG_ERR, "authentication error - User \"%s\"", c->user);
        } else {
            brk_conn_log(c, LOG_ERR, "authentication error");
        }
        brk_conn_close(c, BRK_CLOSE_AUTH_FAILURE, "Authorization Violation");
    } else if (c->parser.login && !brk_auth_enabled(c->server->auth)) {
        c->parser.login = false;
        brk_timer_destroy(c->auth_timer);
        c->auth_timer = NULL;
        brk_conn_set_account(c, c->server->global);
    }
}

static void new_users(struct brk_server *s, const struct brk_opts *was, const struct brk_opts *now)
{
    struct brk_auth *old = s->auth;
    s->auth = brk_auth_create(now, s->env, s->loop, brk_conn_login_done, s);
    brk_auth_destroy(old);
    s->auth_required = brk_auth_enabled(s->auth) && brk_auth_no_auth_user(s->auth) == NULL;
    for (struct brk_conn *c = s->conns_first; c != NULL; c = c->next) {
        recheck(c, was, now);
    }
}

/* Accounts live as long as the server: one that left the file keeps its streams and has no users.
 */
static void new_accounts(struct brk_server *s, const struct brk_opts *now)
{
    for (size_t i = 0; i < now->accounts_count; i++) {
        const char *name = now->accounts[i].name;
        (void)brk_account_get(s, (struct brk_str){name, strlen(name)});
    }
    for (struct brk_account *a = s->accounts_first; a != NULL; a = a->next) {
        if (brk_opts_account(now, a->name) != NULL || strcmp(a->name, BRK_ACC_GLOBAL) == 0) {
            a->jetstream = !a->system && s->jetstream && brk_opts_account_jetstream(now, a->name);
        }
        a->js_limits = brk_opts_account_limits(now, a->name);
    }
}

/* --- limits ------------------------------------------------------------------------------------
 */

static void new_limits(struct brk_server *s, const struct brk_opts *now)
{
    struct brk_impl *im = brk_impl_of(s);
    size_t len = BRK_READ_BYTES + (size_t)now->max_control_line + BRK_CARRY_PAYLOAD_MAX;
    if (len > im->read_len) { /* no read is under way: this is a callback of its own */
        im->read_buf = base_realloc(im->read_buf, len);
        im->read_len = len;
    }
    for (struct brk_conn *c = s->conns_first; c != NULL; c = c->next) {
        c->parser.control_line_max = (size_t)now->max_control_line;
        c->parser.payload_max = (size_t)now->max_payload;
    }
}

/* The youngest go first. */
static void shed_conns(struct brk_server *s, const struct brk_opts *now)
{
    uint64_t open = 0, closed = 0;
    for (const struct brk_conn *c = s->conns_first; c != NULL; c = c->next) {
        open += c->state != BRK_CONN_CLOSING;
    }
    for (struct brk_conn *c = s->conns_last; c != NULL && now->max_connections > 0; c = c->prev) {
        if (open <= (uint64_t)now->max_connections) {
            break;
        }
        if (c->state != BRK_CONN_CLOSING) {
            brk_conn_log(c, LOG_ERR, "maximum connections exceeded");
            brk_conn_close(c, BRK_CLOSE_MAX_CONNECTIONS, "maximum connections exceeded");
            open--;
            closed++;
        }
    }
    if (closed > 0) {
        log_inf("Closed %" PRIu64 " connections to fall within max_connections", closed);
    }
}

/* --- all of it ----------------------------------------------------------------------------------
 */

static void swap_text(char **a, char **b)
{
    char *keep = *a;
    *a = *b;
    *b = keep;
}

static void swap_users(struct brk_opts *a, struct brk_opts *b)
{
    struct brk_user_opt *users = a->users;
    size_t count = a->users_count;
    a->users = b->users;
    a->users_count = b->users_count;
    b->users = users;
    b->users_count = count;
    swap_text(&a->user, &b->user);
    swap_text(&a->pass, &b->pass);
    swap_text(&a->token, &b->token);
}

static void swap_accounts(struct brk_opts *a, struct brk_opts *b)
{
    struct brk_account_opt *accounts = a->accounts;
    size_t count = a->accounts_count;
    a->accounts = b->accounts;
    a->accounts_count = b->accounts_count;
    b->accounts = accounts;
    b->accounts_count = count;
}

void brk_server_reload(struct brk_server *s, struct brk_opts *now, struct brk_opts *next)
{
    ASSERT(s->opts == now);
    bool users = !users_same(now, next), accounts = !accounts_same(now, next);
    for (size_t i = 0; i < ARRAY_LEN(live); i++) {
        if (!field_same(&live[i], now, next)) {
            char text[256];
            field_swap(&live[i], now, next);
            field_text(&live[i], now, text, sizeof text);
            log_inf("Reloaded: %s = %s", live[i].name, text);
        }
    }
    log_set_level(now->debug, now->trace);
    new_limits(s, now);
    if (accounts) {
        swap_accounts(now, next);
        new_accounts(s, now);
        log_inf("Reloaded: accounts");
    }
    if (users) {
        swap_users(now, next);
        log_inf("Reloaded: authorization users");
        new_users(s, next, now);
    }
    shed_conns(s, now);
}
