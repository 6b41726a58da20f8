#include "broker/conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/conn_priv.h"
#include "broker/connect.h"
#include "engine/base/base.h"

/* Upstream measures a round trip soon after a client came, then pings on its own timer. */
#define FIRST_PING_NS (2 * NS_PER_S)
#define RTT_EVERY_NS (3600 * NS_PER_S)

static const char *const close_texts[] = {
#define X(code, text) text,
    BRK_CLOSE_LIST(X)
#undef X
};

const char *brk_close_text(enum brk_close_reason reason)
{
    ASSERT((size_t)reason < ARRAY_LEN(close_texts));
    return close_texts[reason];
}

/* --- log lines -------------------------------------------------------------------------------- */

void brk_conn_log(const struct brk_conn *c, enum log_level level, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    /* What clients sent may stand in it. */
    for (char *p = text; *p != 0; p++) {
        if ((unsigned char)*p < ' ' || *p == 127) {
            *p = '?';
        }
    }
    log_line(level, "%s - %s", c->who, text);
}

void brk_conn_name_for_log(struct brk_conn *c)
{
    char client[300] = "", login[300] = "";
    const char *parts[] = {c->version, c->lang, c->name};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i] != NULL && n < sizeof client - 1) {
            int k = snprintf(client + n, sizeof client - n, "%s%s%.90s", n == 0 ? " - \"" : ":",
                             i == 0 ? "v" : "", parts[i]);
            n += k < 0 ? 0 : (size_t)k;
        }
    }
    if (n > 0 && n < sizeof client - 1) {
        client[n] = '"';
        client[n + 1] = 0;
    }
    if (c->user != NULL) {
        bool token = c->user[0] == 0;
        (void)snprintf(login, sizeof login, " - \"%.120s/%s%.120s\"", c->account->name,
                       token ? "token" : "user:", c->user);
    }
    char who[800];
    (void)snprintf(who, sizeof who, "%s:%u - cid:%llu%s%s", c->trans->peer_ip,
                   (unsigned)c->trans->peer_port, (unsigned long long)c->cid, client, login);
    for (char *p = who; *p != 0; p++) {
        if ((unsigned char)*p < ' ' || *p == 127) {
            *p = '?';
        }
    }
    base_free(c->who);
    c->who = base_strdup(who);
}

/* --- output ----------------------------------------------------------------------------------- */

void brk_conn_send(struct brk_conn *c, const char *text, size_t len)
{
    brk_outbuf_append(&c->out, text, len);
    brk_conn_mark_dirty(c);
}

void brk_conn_send_err(struct brk_conn *c, const char *text)
{
    char line[512];
    int n = snprintf(line, sizeof line, "-ERR '%s'\r\n", text);
    if (n > 0 && (size_t)n < sizeof line) {
        brk_conn_send(c, line, (size_t)n);
    }
    if (log_enabled(LOG_TRC)) {
        brk_conn_log(c, LOG_TRC, "->> [-ERR %s]", text);
    }
}

static void on_write_deadline(void *arg)
{
    struct brk_conn *c = arg;
    if (c->state == BRK_CONN_CLOSING || !c->writing) {
        return;
    }
    c->server->counters.slow_consumers++;
    c->server->counters.slow_deadline++;
    if (c->account != NULL) {
        c->account->slow_consumers++;
    }
    brk_conn_log(
        c, LOG_INF,
        "Slow Consumer Detected: WriteDeadline of %gs exceeded with %d chunks of %llu total bytes.",
        (double)c->server->opts->write_deadline_ns / (double)NS_PER_S, c->write_chunks,
        (unsigned long long)c->write_len);
    brk_conn_close(c, BRK_CLOSE_SLOW_DEADLINE, NULL);
}

/* The socket is full: queues a write and gives it write_deadline. */
static void queue_write(struct brk_conn *c)
{
    struct iovec iov[BRK_IOV_MAX];
    int n = brk_outbuf_iov(&c->out, iov, BRK_IOV_MAX);
    c->write_len = 0;
    c->write_chunks = n;
    for (int i = 0; i < n; i++) {
        c->write_len += iov[i].iov_len;
    }
    if (c->trans->ops->writev(c->trans, iov, n) != ST_OK) {
        brk_conn_close(c, BRK_CLOSE_WRITE_ERROR, NULL);
        return;
    }
    c->writing = true;
    if (c->write_timer == NULL) {
        c->write_timer = brk_timer_create(c->loop, on_write_deadline, c);
    }
    brk_timer_start(c->write_timer, (uint64_t)(c->server->opts->write_deadline_ns / NS_PER_MS), 0);
}

/* Writes until everything went or the socket is full; true: everything went. */
static bool write_ready(struct brk_conn *c)
{
    while (c->out.bytes > 0) {
        struct iovec iov[BRK_IOV_MAX];
        int n = brk_outbuf_iov(&c->out, iov, BRK_IOV_MAX);
        size_t offered = 0;
        for (int i = 0; i < n; i++) {
            offered += iov[i].iov_len;
        }
        ptrdiff_t took = c->trans->ops->try_writev(c->trans, iov, n);
        if (took < 0) {
            brk_conn_close(c, BRK_CLOSE_WRITE_ERROR, NULL);
            return false;
        }
        brk_outbuf_sent(&c->out, (size_t)took);
        if ((size_t)took < offered) {
            return false;
        }
    }
    return true;
}

void brk_conn_flush(struct brk_conn *c)
{
    if (c->state == BRK_CONN_CLOSING || c->writing || c->out.bytes == 0) {
        return;
    }
    if (!write_ready(c) && c->state != BRK_CONN_CLOSING) {
        queue_write(c);
    }
}

static void on_written(void *arg, int os_errno)
{
    struct brk_conn *c = arg;
    c->writing = false;
    brk_timer_stop(c->write_timer);
    if (c->state == BRK_CONN_CLOSING) {
        return;
    }
    if (os_errno != 0) {
        brk_conn_close(c, BRK_CLOSE_WRITE_ERROR, NULL);
        return;
    }
    brk_outbuf_sent(&c->out, c->write_len);
    brk_conn_flush(c);
}

void brk_conns_flush(struct brk_server *s)
{
    struct brk_impl *im = brk_impl_of(s);
    while (im->dirty != NULL) {
        struct brk_conn *c = im->dirty;
        im->dirty = c->dirty_next;
        c->dirty = false;
        brk_conn_flush(c);
    }
}

/* --- input ------------------------------------------------------------------------------------ */

static uint8_t *on_room(void *arg, size_t *len_out)
{
    struct brk_conn *c = arg;
    struct brk_impl *im = brk_impl_of(c->server);
    return brk_parser_room(&c->parser, im->read_buf, im->read_len, len_out);
}

static void brk_conn_stall(struct brk_conn *c);

void brk_conn_after_parse(struct brk_conn *c, enum brk_parse r)
{
    if (c->state == BRK_CONN_CLOSING) {
        return;
    }
    ASSERT(r != BRK_PARSE_CLOSE);
    if (r == BRK_PARSE_PAUSE) {
        c->trans->ops->read_stop(c->trans);
    } else if (c->stall_wanted) {
        brk_conn_stall(c);
    }
}

/* Counts what a connection read in this turn; one that had its share waits for the next. */
static void share_turn(struct brk_conn *c, size_t len)
{
    struct brk_impl *im = brk_impl_of(c->server);
    c->turn_bytes = c->turn == im->turn ? c->turn_bytes + len : len;
    c->turn = im->turn;
    if (c->turn_bytes >= BRK_TURN_READ_BYTES && !c->yielded && c->state != BRK_CONN_CLOSING) {
        c->trans->ops->read_stop(c->trans);
        c->yielded = true;
        c->yield_next = im->yielded;
        im->yielded = c;
    }
}

/* Reading is stopped for one of several reasons; it goes on when none is left. */
void brk_conn_read_on(struct brk_conn *c)
{
    if (c->state != BRK_CONN_CLOSING && c->state != BRK_CONN_AUTH && !c->stalled && !c->yielded) {
        c->trans->ops->read_start(c->trans);
    }
}

void brk_conns_next_turn(struct brk_server *s)
{
    struct brk_impl *im = brk_impl_of(s);
    im->turn++;
    while (im->yielded != NULL) {
        struct brk_conn *c = im->yielded;
        im->yielded = c->yield_next;
        c->yielded = false;
        brk_conn_read_on(c);
    }
}

static void on_read(void *arg, uint8_t *buf, size_t len)
{
    struct brk_conn *c = arg;
    if (c->state == BRK_CONN_CLOSING) {
        return;
    }
    c->last_real_ns = env_real_ns(c->server->env);
    c->last_boot_ns = brk_loop_now_ms(c->loop) * NS_PER_MS;
    brk_conn_after_parse(c, brk_parser_feed(&c->parser, buf, len));
    share_turn(c, len);
}

static void on_end(void *arg, int os_errno)
{
    brk_conn_close(arg, os_errno == 0 ? BRK_CLOSE_CLIENT : BRK_CLOSE_READ_ERROR, NULL);
}

static void on_closed(void *arg);

static const struct brk_transport_events conn_events = {
    .room = on_room,
    .read = on_read,
    .end = on_end,
    .written = on_written,
    .closed = on_closed,
};

/* --- fast publishers -------------------------------------------------------------------------- */

/* Stops reading until the stall timer ends. */
static void brk_conn_stall(struct brk_conn *c)
{
    struct brk_impl *im = brk_impl_of(c->server);
    c->stall_wanted = false;
    c->stalled = true;
    c->stalls++;
    c->server->counters.stalled_clients++;
    c->trans->ops->read_stop(c->trans);
    c->stall_next = im->stalled;
    im->stalled = c;
    if (!brk_timer_active(im->stall_timer)) {
        brk_timer_start(im->stall_timer, BRK_STALL_MS, 0);
    }
}

void brk_conns_unstall(void *server)
{
    struct brk_impl *im = brk_impl_of(server);
    struct brk_conn *list = im->stalled;
    im->stalled = NULL;
    while (list != NULL) {
        struct brk_conn *c = list;
        list = c->stall_next;
        if (c->held && c->server->publishers_held) {
            c->stall_next = im->stalled;
            im->stalled = c;
            continue;
        }
        c->held = c->stalled = false;
        brk_conn_read_on(c);
    }
    if (im->stalled != NULL) {
        brk_timer_start(im->stall_timer, BRK_STALL_MS, 0);
    }
}

void brk_publisher_hold(struct brk_conn *from)
{
    from->server->publishers_held = true;
    from->held = from->stall_wanted = true;
}

void brk_publishers_go(struct brk_server *s)
{
    s->publishers_held = false; /* the stall timer, a few ms long, does the rest */
}

/* --- pings ------------------------------------------------------------------------------------ */

static void on_ping_timer(void *arg)
{
    struct brk_conn *c = arg;
    const struct brk_opts *o = c->server->opts;
    if (c->state == BRK_CONN_CLOSING) {
        return;
    }
    if (log_enabled(LOG_DBG)) {
        brk_conn_log(c, LOG_DBG, "Client Ping Timer");
    }
    uint64_t interval_ms = u64_max((uint64_t)(o->ping_interval_ns / NS_PER_MS), 1);
    int64_t now = env_boot_ns(c->server->env);
    int64_t idle = brk_loop_now_ms(c->loop) * NS_PER_MS - c->last_boot_ns;
    bool need_rtt = c->rtt_boot_ns == 0 || now - c->rtt_boot_ns > RTT_EVERY_NS;
    brk_timer_start(c->ping_timer, interval_ms, 0);
    if (idle < o->ping_interval_ns && !need_rtt) {
        return;
    }
    if (c->pings_out + 1 > o->ping_max) {
        if (log_enabled(LOG_DBG)) {
            brk_conn_log(c, LOG_DBG, "Stale Client Connection - Closing");
        }
        c->server->counters.stale_connections++;
        brk_conn_close(c, BRK_CLOSE_STALE, "Stale Connection");
        return;
    }
    c->pings_out++;
    c->ping_sent_boot_ns = now;
    brk_conn_send(c, "PING\r\n", 6);
    if (log_enabled(LOG_TRC)) {
        brk_conn_log(c, LOG_TRC, "->> [PING]");
    }
}

static void start_pings(struct brk_conn *c)
{
    int64_t first = i64_max(c->server->opts->ping_interval_ns, NS_PER_MS);
    first = first > FIRST_PING_NS ? FIRST_PING_NS : first;
    first += (int64_t)(brk_random(brk_impl_of(c->server)) % (uint64_t)(first / 5 + 1));
    c->ping_timer = brk_timer_create(c->loop, on_ping_timer, c);
    brk_timer_start(c->ping_timer, (uint64_t)(first / NS_PER_MS), 0);
}

static void on_auth_timeout(void *arg)
{
    struct brk_conn *c = arg;
    if (log_enabled(LOG_DBG)) {
        brk_conn_log(c, LOG_DBG, "Authentication Timeout");
    }
    c->server->counters.auth_errors++;
    brk_conn_close(c, BRK_CLOSE_AUTH_TIMEOUT, "Authentication Timeout");
}

/* --- life ------------------------------------------------------------------------------------- */

void brk_conn_set_account(struct brk_conn *c, struct brk_account *acc)
{
    if (c->account == acc) {
        return;
    }
    ASSERT(c->account == NULL || c->subs.count == 0);
    if (c->account != NULL) {
        *(c->acc_prev != NULL ? &c->acc_prev->acc_next : &c->account->conns) = c->acc_next;
        if (c->acc_next != NULL) {
            c->acc_next->acc_prev = c->acc_prev;
        }
        c->account->conns_count--;
    }
    c->account = acc;
    c->acc_prev = NULL;
    c->acc_next = NULL;
    if (acc != NULL) {
        c->acc_next = acc->conns;
        if (acc->conns != NULL) {
            acc->conns->acc_prev = c;
        }
        acc->conns = c;
        acc->conns_count++;
    }
}

static void link_server(struct brk_conn *c)
{
    struct brk_server *s = c->server;
    c->prev = s->conns_last;
    *(c->prev != NULL ? &c->prev->next : &s->conns_first) = c;
    s->conns_last = c;
    s->conns_count++;
    s->counters.total_connections++;
    htab_add(&brk_impl_of(s)->by_cid, &c->by_cid, c->cid);
    brk_impl_of(s)->conns_alive++;
}

static void unlink_server(struct brk_conn *c)
{
    struct brk_server *s = c->server;
    *(c->prev != NULL ? &c->prev->next : &s->conns_first) = c->next;
    *(c->next != NULL ? &c->next->prev : &s->conns_last) = c->prev;
    s->conns_count--;
    htab_del(&brk_impl_of(s)->by_cid, &c->by_cid);
}

static struct brk_conn *conn_create(struct brk_server *s, struct brk_transport *t)
{
    struct brk_impl *im = brk_impl_of(s);
    struct brk_conn *c = base_calloc(1, sizeof *c);
    c->magic = BRK_CONN_MAGIC;
    c->cid = ++s->last_cid;
    c->server = s;
    c->loop = s->loop;
    c->trans = t;
    c->verbose = c->pedantic = c->echo = true;
    c->start_real_ns = c->last_real_ns = env_real_ns(s->env);
    c->last_boot_ns = brk_loop_now_ms(s->loop) * NS_PER_MS;
    c->start_boot_ns = env_boot_ns(s->env);
    brk_outbuf_init(&c->out, &im->pool);
    brk_parser_init(&c->parser, &brk_conn_ops, c);
    c->parser.control_line_max = (size_t)s->opts->max_control_line;
    c->parser.payload_max = (size_t)s->opts->max_payload;
    t->events = &conn_events;
    t->arg = c;
    brk_conn_name_for_log(c);
    return c;
}

void brk_conn_accept(struct brk_server *s, struct brk_transport *t)
{
    int64_t max = s->opts->max_connections;
    bool full = max > 0 && s->conns_count >= (uint64_t)max;
    struct brk_conn *c = conn_create(s, t);
    link_server(c);
    if (log_enabled(LOG_DBG)) {
        brk_conn_log(c, LOG_DBG, "Client connection created");
    }
    brk_conn_send_info(c, false);
    if (full) {
        s->counters.connections_refused++;
        brk_conn_log(c, LOG_ERR, "maximum connections exceeded");
        brk_conn_close(c, BRK_CLOSE_MAX_CONNECTIONS, "maximum connections exceeded");
        return;
    }
    if (brk_auth_enabled(s->auth)) {
        c->parser.login = true;
        c->auth_timer = brk_timer_create(c->loop, on_auth_timeout, c);
        brk_timer_start(c->auth_timer, (uint64_t)(s->opts->auth_timeout_ns / NS_PER_MS), 0);
    } else {
        brk_conn_set_account(c, s->global);
    }
    start_pings(c);
    t->ops->read_start(t);
}

void brk_conn_close(struct brk_conn *c, enum brk_close_reason reason, const char *err_text)
{
    ASSERT(c->magic == BRK_CONN_MAGIC);
    if (c->state == BRK_CONN_CLOSING) {
        return;
    }
    if (err_text != NULL) {
        brk_conn_send_err(c, err_text);
    }
    struct brk_impl *im = brk_impl_of(c->server);
    c->state = BRK_CONN_CLOSING;
    c->close_reason = reason;
    c->trans->ops->read_stop(c->trans);
    c->closing_next = im->closing;
    im->closing = c;
}

/* What may still be sent when a connection ends: nothing to one that doesn't take it. */
static bool may_flush(const struct brk_conn *c)
{
    switch (c->close_reason) {
    case BRK_CLOSE_CLIENT:
    case BRK_CLOSE_READ_ERROR:
    case BRK_CLOSE_WRITE_ERROR:
    case BRK_CLOSE_SLOW_PENDING:
    case BRK_CLOSE_SLOW_DEADLINE:
        return false;
    default:
        return !c->writing;
    }
}

static void drop_subs(struct brk_conn *c)
{
    struct htab_node *n;
    while ((n = htab_first(&c->subs)) != NULL) {
        struct brk_sub *sub = CONTAINER_OF(n, struct brk_sub, by_sid);
        if (log_enabled(LOG_TRC)) {
            brk_conn_log(c, LOG_TRC, "<-> [DELSUB %.*s]", (int)sub->sid.n, sub->sid.p);
        }
        brk_conn_remove_sub(c, sub);
    }
}

static void take_apart(struct brk_conn *c)
{
    if (c->out.bytes > 0 && may_flush(c)) {
        (void)write_ready(c);
    }
    if (log_enabled(LOG_DBG)) {
        brk_conn_log(c, LOG_DBG, "Client connection closed: %s", brk_close_text(c->close_reason));
    }
    brk_closed_add(c->server, c);
    drop_subs(c);
    brk_conn_set_account(c, NULL);
    unlink_server(c);
    brk_timer_destroy(c->ping_timer);
    brk_timer_destroy(c->auth_timer);
    brk_timer_destroy(c->write_timer);
    c->ping_timer = c->auth_timer = c->write_timer = NULL;
    c->trans->ops->close(c->trans);
}

void brk_conns_reap(struct brk_server *s)
{
    struct brk_impl *im = brk_impl_of(s);
    while (im->closing != NULL) {
        struct brk_conn *c = im->closing;
        im->closing = c->closing_next;
        take_apart(c);
    }
}

static void stall_forget(struct brk_conn *c)
{
    struct brk_conn **p = &brk_impl_of(c->server)->stalled;
    while (c->stalled && *p != NULL) {
        if (*p == c) {
            *p = c->stall_next;
            return;
        }
        p = &(*p)->stall_next;
    }
}

static void on_closed(void *arg)
{
    struct brk_conn *c = arg;
    ASSERT(c->state == BRK_CONN_CLOSING);
    ASSERT(!c->dirty);
    ASSERT(!c->yielded);
    stall_forget(c);
    brk_parser_fini(&c->parser);
    brk_outbuf_fini(&c->out);
    if (c->login != NULL) {
        brk_connect_fini(c->login);
        base_free(c->login);
    }
    base_free(c->who);
    base_free(c->name);
    base_free(c->lang);
    base_free(c->version);
    base_free(c->user);
    brk_impl_of(c->server)->conns_alive--;
    c->magic = 0;
    base_free(c);
}
