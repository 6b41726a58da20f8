/* /connz: connections, open ones and the closed ones that are still remembered.
 *
 * The first step picks and sorts (numbers only); the rows are written a few a step, each looked up
 * anew by its cid: a connection that went meanwhile is left out. With `acc` nothing of another
 * account is shown or counted. */
#include <stdlib.h>
#include <strings.h>

#include "broker/conn.h"
#include "broker/monitor_int.h"
#include "engine/base/base.h"
#include "engine/base/subject.h"

enum { STATE_OPEN = 1, STATE_CLOSED = 2 };

#define SORT_LIST(X)                                                                               \
    X(SORT_CID, "cid")                                                                             \
    X(SORT_START, "start")                                                                         \
    X(SORT_SUBS, "subs")                                                                           \
    X(SORT_PENDING, "pending")                                                                     \
    X(SORT_MSGS_TO, "msgs_to")                                                                     \
    X(SORT_MSGS_FROM, "msgs_from")                                                                 \
    X(SORT_BYTES_TO, "bytes_to")                                                                   \
    X(SORT_BYTES_FROM, "bytes_from")                                                               \
    X(SORT_LAST, "last")                                                                           \
    X(SORT_IDLE, "idle")                                                                           \
    X(SORT_UPTIME, "uptime")                                                                       \
    X(SORT_RTT, "rtt")                                                                             \
    X(SORT_STOP, "stop")                                                                           \
    X(SORT_REASON, "reason")

enum sort {
#define X(code, text) code,
    SORT_LIST(X)
#undef X
        SORT_COUNT
};
static const char *const sort_names[SORT_COUNT] = {
#define X(code, text) text,
    SORT_LIST(X)
#undef X
};

/* One connection, open or closed, as a row shows it. Strings are borrowed. */
struct view {
    uint64_t cid;
    const char *ip;
    uint16_t port;
    int64_t start_ns, last_ns, stop_ns; /* stop 0: open */
    enum brk_close_reason reason;
    int64_t rtt_ns;
    const struct brk_flow *flow;
    uint64_t pending, subs, stalls;
    const char *name, *lang, *version, *user, *account;
    const struct brk_conn *conn; /* NULL: closed */
};

struct row {
    int64_t key; /* ascending */
    uint64_t cid;
    bool closed;
};

struct connz {
    unsigned states;
    enum sort sort;
    int64_t offset, limit;
    uint64_t cid;
    bool by_cid, subs, detail, auth;
    bool by_mqtt; /* no connection has an MQTT client id */
    char acc[BRK_HTTP_VALUE_MAX + 1], user[BRK_HTTP_VALUE_MAX + 1], subject[BRK_HTTP_VALUE_MAX + 1];
    int64_t now_ns;
    uint64_t total;
    struct row *rows;       /* owned */
    size_t n, cap, at, end; /* at..end is still to be written */
    struct json_out list;
    uint64_t written;
    bool picked;
};

/* --- views ------------------------------------------------------------------------------------ */

static struct view open_view(struct brk_conn *c)
{
    return (struct view){.cid = c->cid,
                         .ip = c->trans != NULL ? c->trans->peer_ip : "",
                         .port = c->trans != NULL ? c->trans->peer_port : (uint16_t)0,
                         .start_ns = c->start_real_ns,
                         .last_ns = c->last_real_ns,
                         .rtt_ns = c->rtt_ns,
                         .flow = &c->flow,
                         .pending = brk_conn_pending_bytes(c),
                         .subs = c->subs.count,
                         .stalls = c->stalls,
                         .name = c->name,
                         .lang = c->lang,
                         .version = c->version,
                         .user = c->user,
                         .account = c->account != NULL ? c->account->name : NULL,
                         .conn = c};
}

static struct view closed_view(const struct brk_closed *k)
{
    return (struct view){.cid = k->cid,
                         .ip = k->ip,
                         .port = k->port,
                         .start_ns = k->start_real_ns,
                         .last_ns = k->last_real_ns,
                         .stop_ns = k->stop_real_ns,
                         .reason = k->reason,
                         .rtt_ns = k->rtt_ns,
                         .flow = &k->flow,
                         .subs = k->subs_count,
                         .name = k->name,
                         .lang = k->lang,
                         .version = k->version,
                         .user = k->user,
                         .account = k->account};
}

/* The user as it is shown; who came with the token has an empty one. */
static const char *shown_user(const struct view *v)
{
    return v->user != NULL && v->user[0] == 0 ? "[REDACTED]" : v->user;
}

/* --- picking ---------------------------------------------------------------------------------- */

static int64_t reason_rank(enum brk_close_reason reason)
{
    int64_t rank = 0;
    for (unsigned i = 0; i < BRK_CLOSE_COUNT; i++) {
        rank += strcmp(brk_close_text((enum brk_close_reason)i), brk_close_text(reason)) < 0;
    }
    return rank;
}

/* Biggest first, newest first where a person looks for what stands out; as nats-server sorts. */
static int64_t sort_key(const struct connz *z, const struct view *v)
{
    switch (z->sort) {
    case SORT_START:
        return v->start_ns;
    case SORT_SUBS:
        return -(int64_t)v->subs;
    case SORT_PENDING:
        return -(int64_t)v->pending;
    case SORT_MSGS_TO:
        return -(int64_t)v->flow->out_msgs;
    case SORT_MSGS_FROM:
        return -(int64_t)v->flow->in_msgs;
    case SORT_BYTES_TO:
        return -(int64_t)v->flow->out_bytes;
    case SORT_BYTES_FROM:
        return -(int64_t)v->flow->in_bytes;
    case SORT_LAST:
        return -v->last_ns;
    case SORT_IDLE:
        return v->last_ns;
    case SORT_UPTIME:
        return (v->stop_ns != 0 ? v->stop_ns : z->now_ns) - v->start_ns;
    case SORT_RTT:
        return -v->rtt_ns;
    case SORT_STOP:
        return -v->stop_ns;
    case SORT_REASON:
        return reason_rank(v->reason);
    default:
        return (int64_t)v->cid;
    }
}

static int cmp_row(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return x->cid < y->cid ? -1 : x->cid > y->cid;
}

static bool has_subject(const struct view *v, const char *subject)
{
    if (v->conn == NULL) {
        return false;
    }
    for (struct htab_node *n = htab_first(&v->conn->subs); n != NULL;
         n = htab_next(&v->conn->subs, n)) {
        const struct brk_sub *s = CONTAINER_OF(n, struct brk_sub, by_sid);
        if (subject_match(subject, strlen(subject), s->subject.p, s->subject.n)) {
            return true;
        }
    }
    return false;
}

static void pick(struct connz *z, const struct view *v)
{
    const char *user = shown_user(v);
    if (z->acc[0] != 0 && (v->account == NULL || strcmp(v->account, z->acc) != 0)) {
        return;
    }
    z->total++;
    if ((z->by_cid && v->cid != z->cid) || z->by_mqtt ||
        (z->user[0] != 0 && (user == NULL || strcmp(user, z->user) != 0)) ||
        (z->subject[0] != 0 && z->acc[0] != 0 && !has_subject(v, z->subject))) {
        return;
    }
    if (z->n == z->cap) {
        z->cap = z->cap == 0 ? 64 : z->cap * 2;
        z->rows = base_realloc(z->rows, z->cap * sizeof *z->rows);
    }
    z->rows[z->n++] = (struct row){sort_key(z, v), v->cid, v->conn == NULL};
}

static bool pick_closed(void *arg, const struct brk_closed *k)
{
    struct view v = closed_view(k);
    pick(arg, &v);
    return true;
}

static void pick_all(struct mon_job *job, struct connz *z)
{
    struct brk_server *s = job->m->server;
    z->now_ns = env_real_ns(s->env);
    if ((z->states & STATE_OPEN) != 0) {
        for (struct brk_conn *c = s->conns_first; c != NULL; c = c->next) {
            struct view v = open_view(c);
            pick(z, &v);
        }
    }
    if ((z->states & STATE_CLOSED) != 0) {
        brk_server_each_closed(s, pick_closed, z);
    }
    if (z->n > 1) {
        qsort(z->rows, z->n, sizeof *z->rows, cmp_row);
    }
    z->at = (uint64_t)z->offset < z->n ? (size_t)z->offset : z->n;
    z->end = z->at + u64_min((uint64_t)z->limit, z->n - z->at);
    z->picked = true;
}

/* --- parameters ------------------------------------------------------------------------------- */

static bool read_sort(struct mon_job *job, struct connz *z)
{
    char v[BRK_HTTP_VALUE_MAX + 1];
    if (!mon_param_str(job, "sort", v)) {
        return false;
    }
    z->sort = SORT_CID;
    for (unsigned i = 0; v[0] != 0 && i <= SORT_COUNT; i++) {
        if (i == SORT_COUNT) {
            mon_fail(job, 400, "invalid sorting option: %s", v);
            return false;
        }
        if (strcmp(v, sort_names[i]) == 0) {
            z->sort = (enum sort)i;
            break;
        }
    }
    if ((z->sort == SORT_STOP || z->sort == SORT_REASON) && z->states != STATE_CLOSED) {
        mon_fail(job, 400, "sort by %s only valid on closed connections", v);
        return false;
    }
    return true;
}

static bool read_state(struct mon_job *job, struct connz *z)
{
    static const struct {
        const char *word;
        unsigned states;
    } words[] = {{"", STATE_OPEN},
                 {"open", STATE_OPEN},
                 {"closed", STATE_CLOSED},
                 {"any", STATE_OPEN | STATE_CLOSED},
                 {"all", STATE_OPEN | STATE_CLOSED}};
    char v[BRK_HTTP_VALUE_MAX + 1];
    if (!mon_param_str(job, "state", v)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(v, words[i].word) == 0) {
            z->states = words[i].states;
            return true;
        }
    }
    mon_fail(job, 400, "Error decoding state for %s", v);
    return false;
}

static bool read_subs(struct mon_job *job, struct connz *z)
{
    char v[BRK_HTTP_VALUE_MAX + 1];
    if (!mon_param_str(job, "subs", v)) {
        return false;
    }
    z->detail = strcasecmp(v, "detail") == 0;
    return z->detail || mon_param_bool(job, "subs", &z->subs);
}

static bool read_params(struct mon_job *job, struct connz *z)
{
    char mqtt[BRK_HTTP_VALUE_MAX + 1];
    z->by_cid = brk_http_param(&job->req, "cid", mqtt) == BRK_HTTP_FOUND && mqtt[0] != 0;
    if (!read_state(job, z) || !read_sort(job, z) || !mon_param_bool(job, "auth", &z->auth) ||
        !read_subs(job, z) || !mon_param_int(job, "offset", &z->offset) ||
        !mon_param_int(job, "limit", &z->limit) || !mon_param_u64(job, "cid", &z->cid) ||
        !mon_param_str(job, "acc", z->acc) || !mon_param_str(job, "user", z->user) ||
        !mon_param_str(job, "filter_subject", z->subject) ||
        !mon_param_str(job, "mqtt_client", mqtt)) {
        return false;
    }
    z->by_cid = z->by_cid && z->cid != 0;
    z->by_mqtt = mqtt[0] != 0;
    z->offset = z->offset < 0 ? 0 : z->offset;
    z->limit = z->by_cid ? 1 : z->limit <= 0 ? 1024 : z->limit;
    return true;
}

/* --- rows ------------------------------------------------------------------------------------- */

static void put_given(struct json_out *j, const char *key, const char *s)
{
    if (s != NULL && s[0] != 0) {
        json_out_str(j, key, s);
    }
}

static void put_sub(struct json_out *j, const struct brk_sub *s, uint64_t cid)
{
    json_out_begin(j);
    json_out_strn(j, "subject", s->subject.p, s->subject.n);
    if (s->queue.n > 0) {
        json_out_strn(j, "qgroup", s->queue.p, s->queue.n);
    }
    json_out_strn(j, "sid", s->sid.p, s->sid.n);
    json_out_u64(j, "msgs", s->delivered);
    if (s->max > 0) {
        json_out_u64(j, "max", s->max);
    }
    json_out_u64(j, "cid", cid);
    json_out_end(j);
}

/* Subscriptions of closed connections are not kept, only counted. */
static void put_subs(struct json_out *j, const struct connz *z, const struct view *v)
{
    if (v->conn == NULL || v->subs == 0 || (!z->subs && !z->detail)) {
        return;
    }
    json_out_array(j, z->detail ? "subscriptions_list_detail" : "subscriptions_list");
    for (struct htab_node *n = htab_first(&v->conn->subs); n != NULL;
         n = htab_next(&v->conn->subs, n)) {
        const struct brk_sub *s = CONTAINER_OF(n, struct brk_sub, by_sid);
        if (z->detail) {
            put_sub(j, s, v->cid);
        } else {
            json_out_val_str(j, s->subject.p, s->subject.n);
        }
    }
    json_out_array_end(j);
}

static void put_login(struct json_out *j, const struct view *v)
{
    put_given(j, "authorized_user", shown_user(v));
    if (v->account != NULL && strcmp(v->account, BRK_ACCOUNT_GLOBAL) != 0) {
        json_out_str(j, "account", v->account);
    }
}

static void put_row(struct connz *z, const struct view *v)
{
    struct json_out *j = &z->list;
    int64_t until = v->stop_ns != 0 ? v->stop_ns : z->now_ns;
    json_out_begin(j);
    json_out_u64(j, "cid", v->cid);
    json_out_str(j, "kind", "Client");
    json_out_str(j, "type", "nats");
    json_out_str(j, "ip", v->ip);
    json_out_u64(j, "port", v->port);
    json_out_time(j, "start", v->start_ns);
    json_out_time(j, "last_activity", v->last_ns);
    if (v->stop_ns != 0) {
        json_out_time(j, "stop", v->stop_ns);
        json_out_str(j, "reason", brk_close_text(v->reason));
    }
    mon_put_duration(j, "rtt", v->rtt_ns);
    mon_put_uptime(j, "uptime", until - v->start_ns);
    mon_put_uptime(j, "idle", until - v->last_ns);
    json_out_u64(j, "pending_bytes", v->pending);
    json_out_u64(j, "in_msgs", v->flow->in_msgs);
    json_out_u64(j, "out_msgs", v->flow->out_msgs);
    json_out_u64(j, "in_bytes", v->flow->in_bytes);
    json_out_u64(j, "out_bytes", v->flow->out_bytes);
    if (v->stalls > 0) {
        json_out_u64(j, "stalls", v->stalls);
    }
    json_out_u64(j, "subscriptions", v->subs);
    put_given(j, "name", v->name);
    put_given(j, "lang", v->lang);
    put_given(j, "version", v->version);
    if (z->auth) {
        put_login(j, v);
    }
    put_subs(j, z, v);
    if (z->auth) {
        put_given(j, "name_tag", v->account);
    }
    json_out_end(j);
    z->written++;
}

struct find_closed {
    uint64_t cid;
    const struct brk_closed *found; /* borrowed for the step */
};

static bool find_closed(void *arg, const struct brk_closed *k)
{
    struct find_closed *f = arg;
    f->found = k->cid == f->cid ? k : NULL;
    return f->found == NULL;
}

static void put_found(struct mon_job *job, struct connz *z, const struct row *r)
{
    struct view v;
    if (r->closed) {
        struct find_closed f = {.cid = r->cid};
        brk_server_each_closed(job->m->server, find_closed, &f);
        if (f.found == NULL) {
            return;
        }
        v = closed_view(f.found);
    } else {
        struct brk_conn *c = brk_server_conn(job->m->server, r->cid);
        if (c == NULL) {
            return;
        }
        v = open_view(c);
    }
    put_row(z, &v);
}

/* --- the page --------------------------------------------------------------------------------- */

static enum mon_step put_whole(struct mon_job *job, struct connz *z)
{
    struct json_out *j = &job->out;
    json_out_begin(j);
    json_out_str(j, "server_id", job->m->server->id);
    json_out_time(j, "now", z->now_ns);
    json_out_u64(j, "num_connections", z->written);
    json_out_u64(j, "total", z->total);
    json_out_i64(j, "offset", z->offset);
    json_out_i64(j, "limit", z->limit);
    json_out_array(j, "connections");
    json_out_raw(j, z->list.buf, z->list.len);
    json_out_array_end(j);
    json_out_end(j);
    return MON_DONE;
}

enum mon_step mon_connz(struct mon_job *job)
{
    struct connz *z = job->state;
    if (z == NULL) {
        job->state = z = base_calloc(1, sizeof *z);
        if (!read_params(job, z)) {
            return MON_DONE;
        }
    }
    if (!z->picked) {
        pick_all(job, z);
    }
    for (unsigned i = 0; i < MON_ROWS && z->at < z->end && z->list.len <= MON_PAGE_MAX; i++) {
        put_found(job, z, &z->rows[z->at++]);
    }
    return z->at < z->end && z->list.len <= MON_PAGE_MAX ? MON_GOES_ON : put_whole(job, z);
}

void mon_connz_fini(struct mon_job *job)
{
    struct connz *z = job->state;
    if (z != NULL) {
        json_out_fini(&z->list);
        base_free(z->rows);
        base_free(z);
    }
}
