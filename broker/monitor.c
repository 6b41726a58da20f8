/* Listener, connections and times of the monitoring port; the jobs stand in monitor_job.c. */
#include "broker/monitor.h"

#include "broker/loop_turn.h"
#include "broker/monitor_int.h"
#include "engine/base/base.h"
#include "engine/base/log.h"

static int64_t now_ms(const struct monitor *m)
{
    return brk_loop_now_ms(m->server->loop);
}

static void enter(struct mon_conn *c, enum mon_conn_state state)
{
    c->state = state;
    c->since_ms = now_ms(c->m);
}

/* --- end of a connection ---------------------------------------------------------------------- */

static void close_conn(struct mon_conn *c)
{
    if (c->closing) {
        return;
    }
    c->closing = true;
    c->m->open_count--;
    if (c->job != NULL) {
        mon_job_abandon(c->job);
        c->job = NULL;
    }
    c->t->ops->close(c->t);
}

static void drop_body(struct mon_conn *c)
{
    c->m->held_bytes -= c->body_len;
    base_free(c->body);
    c->body = NULL;
    c->body_len = 0;
    mon_jobs_kick(c->m);
}

static void on_closed(void *arg)
{
    struct mon_conn *c = arg;
    struct monitor *m = c->m;
    drop_body(c);
    *(c->prev != NULL ? &c->prev->next : &m->conns) = c->next;
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    base_free(c);
    if (--m->conns_count == 0) {
        brk_timer_stop(m->tick);
    }
}

static void on_end(void *arg, int os_errno)
{
    (void)os_errno;
    close_conn(arg);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void next_request(struct mon_conn *c);

static void answered(struct mon_conn *c)
{
    drop_body(c);
    c->head_len = 0;
    if (c->refused) {
        enter(c, MON_DRAINING);
        c->in_len = 0;
        c->t->ops->read_start(c->t);
    } else if (c->keep_alive && !c->m->stopping) {
        enter(c, MON_READING);
        next_request(c);
    } else {
        close_conn(c);
    }
}

/* The next piece of head and body. */
static int next_piece(struct mon_conn *c, struct iovec iov[2])
{
    int n = 0;
    size_t in_body = c->sent > c->head_len ? c->sent - c->head_len : 0;
    if (c->sent < c->head_len) {
        iov[n++] = (struct iovec){c->head + c->sent, c->head_len - c->sent};
    }
    if (in_body < c->body_len) {
        iov[n++] =
            (struct iovec){c->body + in_body, u64_min(c->body_len - in_body, MON_WRITE_BYTES)};
    }
    return n;
}

/* Writes what goes at once; queues the next piece otherwise, so that its time can be measured. */
static void write_on(struct mon_conn *c)
{
    struct iovec iov[2];
    int n;
    while ((n = next_piece(c, iov)) > 0) {
        ptrdiff_t took = c->t->ops->try_writev(c->t, iov, n);
        if (took < 0) {
            close_conn(c);
            return;
        }
        c->sent += (size_t)took;
        if (took > 0) {
            continue;
        }
        if (c->t->ops->writev(c->t, iov, n) != ST_OK) {
            close_conn(c);
        }
        return;
    }
    answered(c);
}

static void on_written(void *arg, int os_errno)
{
    struct mon_conn *c = arg;
    struct iovec iov[2];
    if (os_errno != 0) {
        close_conn(c);
        return;
    }
    int n = next_piece(c, iov);
    for (int i = 0; i < n; i++) {
        c->sent += iov[i].iov_len;
    }
    c->since_ms = now_ms(c->m);
    write_on(c);
}

void mon_conn_answer(struct mon_conn *c, int status, const char *type, char *body, size_t body_len,
                     bool head_only)
{
    ASSERT(!c->closing);
    ASSERT(c->body == NULL);
    struct brk_http_answer a = {status, type, body_len, c->keep_alive,
                                env_real_ns(c->m->server->env)};
    c->head_len = brk_http_answer_head(&a, c->head);
    c->sent = 0;
    c->job = NULL;
    if (head_only) {
        base_free(body);
    } else {
        c->body = body;
        c->body_len = body_len;
        c->m->held_bytes += body_len;
    }
    enter(c, MON_WRITING);
    write_on(c);
}

/* An answer that needs no page: text, then the end of the connection. */
static void answer_refusal(struct mon_conn *c, int status, const char *why)
{
    struct json_out text = {0};
    size_t len;
    json_out_raw(&text, why, strlen(why));
    json_out_raw(&text, "\n", 1);
    c->keep_alive = false;
    c->refused = true;
    c->t->ops->read_stop(c->t);
    char *body = json_out_take(&text, &len);
    mon_conn_answer(c, status, "text/plain; charset=utf-8", body, len, false);
}

/* --- requests --------------------------------------------------------------------------------- */

/* Looks for a request in what has come; reads on when there is none. */
static void next_request(struct mon_conn *c)
{
    struct brk_http_request r;
    size_t used;
    switch (brk_http_take(c->in, c->in_len, &c->seen, &r, &used)) {
    case BRK_HTTP_MORE:
        c->t->ops->read_start(c->t);
        break;
    case BRK_HTTP_REFUSED:
        answer_refusal(c, r.status, r.why);
        break;
    case BRK_HTTP_READY:
        memmove(c->in, c->in + used, c->in_len - used);
        c->in_len -= used;
        c->seen = 0;
        c->keep_alive = r.keep_alive;
        c->t->ops->read_stop(c->t);
        enter(c, MON_RUNNING);
        c->job = mon_job_create(c, &r);
        break;
    }
}

static uint8_t *on_room(void *arg, size_t *len_out)
{
    struct mon_conn *c = arg;
    if (c->state == MON_DRAINING) {
        c->in_len = 0;
    }
    ASSERT(c->in_len < sizeof c->in);
    *len_out = sizeof c->in - c->in_len;
    return c->in + c->in_len;
}

static void on_read(void *arg, uint8_t *buf, size_t len)
{
    struct mon_conn *c = arg;
    (void)buf;
    if (c->closing || c->state != MON_READING) {
        return;
    }
    if (c->in_len == 0) {
        c->since_ms = now_ms(c->m);
    }
    c->in_len += len;
    next_request(c);
}

static const struct brk_transport_events events = {
    .room = on_room,
    .read = on_read,
    .end = on_end,
    .written = on_written,
    .closed = on_closed,
};

/* --- beginning and times ---------------------------------------------------------------------- */

static bool is_idle(const struct mon_conn *c)
{
    return !c->closing && c->state == MON_READING && c->in_len == 0;
}

/* Makes room for one more connection, where one can go: a probe must get in although dashboards
 * hold theirs open. */
static bool evict_idle(struct monitor *m)
{
    struct mon_conn *oldest = NULL;
    for (struct mon_conn *c = m->conns; c != NULL; c = c->next) {
        if (is_idle(c) && (oldest == NULL || c->since_ms <= oldest->since_ms)) {
            oldest = c;
        }
    }
    if (oldest != NULL) {
        close_conn(oldest);
    }
    return oldest != NULL;
}

static int64_t time_left(const struct mon_conn *c, int64_t now)
{
    static const int64_t most[] = {
        [MON_READING] = MON_IDLE_MS,
        [MON_RUNNING] = INT64_MAX,
        [MON_WRITING] = MON_WRITE_MS,
        [MON_DRAINING] = MON_DRAIN_MS,
    };
    int64_t max = c->state == MON_READING && c->in_len > 0 ? MON_REQUEST_MS : most[c->state];
    return max == INT64_MAX ? max : c->since_ms + max - now;
}

static void on_tick(void *arg)
{
    struct monitor *m = arg;
    for (struct mon_conn *c = m->conns; c != NULL; c = c->next) {
        if (c->closing || time_left(c, now_ms(m)) > 0) {
            continue;
        }
        if (c->state == MON_READING && c->in_len > 0) {
            answer_refusal(c, 408, "the request took too long");
        } else {
            close_conn(c);
        }
    }
}

static void on_accept(void *arg, struct brk_transport *t)
{
    struct monitor *m = arg;
    struct mon_conn *c = base_calloc(1, sizeof *c);
    bool full = m->open_count >= MON_CONNS_MAX && !evict_idle(m);
    c->m = m;
    c->t = t;
    t->events = &events;
    t->arg = c;
    c->next = m->conns;
    if (c->next != NULL) {
        c->next->prev = c;
    }
    m->conns = c;
    if (m->conns_count++ == 0) {
        brk_timer_start(m->tick, MON_TICK_MS, MON_TICK_MS);
    }
    m->open_count++;
    enter(c, MON_READING);
    if (m->open_count > 2 * MON_CONNS_MAX) {
        close_conn(c);
    } else if (full) {
        answer_refusal(c, 503, "too many monitoring connections");
    } else {
        next_request(c);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

enum st mon_create(struct brk_server *server, struct monitor **monitor_out, struct err *err)
{
    const struct brk_opts *o = server->opts;
    const char *host = o->http_host != NULL ? o->http_host : o->host;
    struct monitor *m = base_calloc(1, sizeof *m);
    *monitor_out = NULL;
    m->server = server;
    m->cpu_boot_ns = env_boot_ns(server->env);
    uint16_t port = o->http_port == BRK_PORT_RANDOM ? 0 : (uint16_t)o->http_port;
    enum st st = brk_tcp_listen(server->loop, host, port, on_accept, m, &m->listener, err);
    if (st != ST_OK) {
        err_prefix(err, "Can't start monitoring: can't listen to the monitor port");
        base_free(m);
        return st;
    }
    m->port = brk_listener_port(m->listener);
    m->tick = brk_timer_create(server->loop, on_tick, m);
    m->slice = brk_slice_create(server->loop, mon_jobs_slice, m);
    bool v6 = strchr(host, ':') != NULL;
    log_inf("Starting http monitor on %s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "",
            (unsigned)m->port);
    *monitor_out = m;
    return ST_OK;
}

uint16_t mon_port(const struct monitor *m)
{
    return m->port;
}

void mon_show(struct monitor *m, const struct mon_store *store)
{
    m->s = *store;
}

void mon_stop(struct monitor *m)
{
    if (m == NULL || m->stopping) {
        return;
    }
    m->stopping = true;
    brk_listener_close(m->listener);
    m->listener = NULL;
    for (struct mon_conn *c = m->conns; c != NULL; c = c->next) {
        close_conn(c);
    }
    while (m->conns_count > 0) {
        (void)brk_loop_turn(m->server->loop);
    }
    brk_slice_destroy(m->slice);
    m->slice = NULL;
    brk_timer_destroy(m->tick);
    m->tick = NULL;
    m->s = (struct mon_store){.js = NULL};
}

void mon_destroy(struct monitor *m)
{
    if (m != NULL) {
        mon_stop(m);
        mon_jobs_fini(m);
        base_free(m);
    }
}
