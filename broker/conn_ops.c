/* What a connection does for each operation of the client protocol. Loop thread only. */
#include <stdio.h>

#include "broker/conn_priv.h"
#include "broker/connect.h"
#include "engine/base/base.h"
#include "engine/base/subject.h"

#define TRACED_PAYLOAD_MAX 256

static void send_ok(struct brk_conn *c)
{
    brk_conn_send(c, "+OK\r\n", 5);
    if (log_enabled(LOG_TRC)) {
        brk_conn_log(c, LOG_TRC, "->> [OK]");
    }
}

static enum brk_op op_of(const struct brk_conn *c)
{
    return c->state == BRK_CONN_CLOSING ? BRK_OP_CLOSE : BRK_OP_GO;
}

/* --- CONNECT ---------------------------------------------------------------------------------- */

static enum brk_op auth_violation(struct brk_conn *c, const char *user, bool token)
{
    c->server->counters.auth_errors++;
    if (user != NULL) {
        brk_conn_log(c, LOG_ERR, "authentication error - User \"%s\"", user);
    } else {
        brk_conn_log(c, LOG_ERR,
                     token ? "authentication error - Token \"[REDACTED]\""
                           : "authentication error");
    }
    brk_conn_close(c, BRK_CLOSE_AUTH_FAILURE, "Authorization Violation");
    return BRK_OP_CLOSE;
}

static void logged_in(struct brk_conn *c, const struct brk_auth_user *u)
{
    struct brk_server *s = c->server;
    struct brk_account *acc =
        brk_account_lookup(s, (struct brk_str){u->account, strlen(u->account)});
    ASSERT(acc != NULL);
    brk_conn_set_account(c, acc);
    base_free(c->user);
    c->user = base_strdup(u->user != NULL ? u->user : "");
}

/* From here on the client need not present a login. */
static void login_over(struct brk_conn *c)
{
    c->parser.login = false;
    brk_timer_destroy(c->auth_timer);
    c->auth_timer = NULL;
}

static void take(char **slot, char **from)
{
    base_free(*slot);
    *slot = *from;
    *from = NULL;
}

/* Takes over what CONNECT said, once the login is good. */
static enum brk_op connect_finish(struct brk_conn *c, struct brk_connect *said)
{
    c->state = BRK_CONN_OPEN;
    c->connect_received = true;
    c->verbose = said->verbose;
    c->pedantic = said->pedantic;
    c->echo = said->echo;
    c->no_responders = said->no_responders;
    c->headers = said->headers && !c->server->opts->no_header_support;
    c->parser.headers = c->headers;
    c->protocol = (int)said->protocol;
    take(&c->name, &said->name);
    take(&c->lang, &said->lang);
    take(&c->version, &said->version);
    brk_conn_name_for_log(c);
    if (said->protocol < 0 || said->protocol > 1) {
        brk_conn_log(c, LOG_ERR, "invalid client protocol");
        brk_conn_close(c, BRK_CLOSE_BAD_PROTOCOL_VERSION, "invalid client protocol");
        return BRK_OP_CLOSE;
    }
    if (c->no_responders && !c->headers) {
        brk_conn_log(c, LOG_ERR, "no responders requires headers support");
        brk_conn_close(c, BRK_CLOSE_NO_RESPONDERS, "no responders requires headers support");
        return BRK_OP_CLOSE;
    }
    if (c->verbose) {
        send_ok(c);
    }
    return BRK_OP_GO;
}

static char *dup_or_null(const char *s)
{
    return s == NULL ? NULL : base_strdup(s);
}

/* A second CONNECT changes only what it names. */
static void connect_defaults(const struct brk_conn *c, struct brk_connect *said)
{
    *said = (struct brk_connect){.verbose = c->verbose,
                                 .pedantic = c->pedantic,
                                 .echo = c->echo,
                                 .headers = c->connect_received && c->headers,
                                 .no_responders = c->no_responders,
                                 .protocol = c->protocol,
                                 .name = dup_or_null(c->name),
                                 .lang = dup_or_null(c->lang),
                                 .version = dup_or_null(c->version)};
}

/* A login whose password takes long to check: the connection waits, unread, until the worker
 * answers. */
static enum brk_op wait_for_login(struct brk_conn *c, struct brk_connect *said)
{
    c->login = base_malloc(sizeof *c->login);
    *c->login = *said;
    *said = (struct brk_connect){0};
    brk_secret_free(c->login->pass);
    c->login->pass = NULL;
    c->state = BRK_CONN_AUTH;
    return BRK_OP_PAUSE;
}

static enum brk_op check_login(struct brk_conn *c, struct brk_connect *said)
{
    struct brk_server *s = c->server;
    bool again = c->user != NULL && said->user == NULL && said->token == NULL;
    if (!brk_auth_enabled(s->auth) || again) {
        return connect_finish(c, said);
    }
    const struct brk_auth_user *u;
    switch (brk_auth_check(s->auth, c->cid, said->user, said->pass, said->token, &u)) {
    case BRK_AUTH_PENDING:
        return wait_for_login(c, said);
    case BRK_AUTH_DENIED:
        return auth_violation(c, said->user, said->token != NULL);
    case BRK_AUTH_OK:
        break;
    }
    if (c->subs.count > 0 && strcmp(c->account->name, u->account) != 0) {
        /* It has subscriptions in another account: upstream moves them, we do not. */
        return auth_violation(c, said->user, said->token != NULL);
    }
    logged_in(c, u);
    login_over(c);
    return connect_finish(c, said);
}

static enum brk_op op_connect(void *arg, struct brk_str json)
{
    struct brk_conn *c = arg;
    struct brk_connect said;
    struct err err;
    connect_defaults(c, &said);
    if (log_enabled(LOG_TRC)) {
        brk_conn_log(c, LOG_TRC, "<<- [CONNECT {...} %zu bytes]", json.n);
    }
    enum brk_op op;
    if (brk_connect_parse(&said, json, &err) != ST_OK) {
        brk_conn_log(c, LOG_ERR, "%s", err.msg);
        brk_conn_close(c, BRK_CLOSE_PROTOCOL, NULL);
        op = BRK_OP_CLOSE;
    } else {
        if (c->rtt_ns == 0) {
            c->rtt_ns = i64_max(env_boot_ns(c->server->env) - c->start_boot_ns, 1);
        }
        op = check_login(c, &said);
    }
    brk_connect_fini(&said);
    return op;
}

void brk_conn_login_done(void *server, uint64_t cid, const struct brk_auth_user *user)
{
    struct brk_conn *c = brk_server_conn(server, cid);
    if (c == NULL || c->state != BRK_CONN_AUTH) {
        return; /* it has gone meanwhile */
    }
    struct brk_connect *said = c->login;
    c->login = NULL;
    c->state = c->connect_received ? BRK_CONN_OPEN : BRK_CONN_NEW;
    if (user == NULL || (c->subs.count > 0 && strcmp(c->account->name, user->account) != 0)) {
        (void)auth_violation(c, said->user, said->token != NULL);
    } else {
        logged_in(c, user);
        login_over(c);
        (void)connect_finish(c, said);
    }
    brk_connect_fini(said);
    base_free(said);
    if (c->state == BRK_CONN_CLOSING) {
        return;
    }
    enum brk_parse r = brk_parser_resume(&c->parser);
    brk_conn_read_on(c);
    brk_conn_after_parse(c, r);
}

/* Something else than CONNECT came first: fine where a no_auth_user stands for everybody. */
static enum brk_op op_before_login(void *arg)
{
    struct brk_conn *c = arg;
    const struct brk_auth_user *u = brk_auth_no_auth_user(c->server->auth);
    if (u == NULL) {
        return auth_violation(c, NULL, false);
    }
    logged_in(c, u);
    login_over(c);
    c->state = BRK_CONN_OPEN;
    return BRK_OP_GO;
}

/* --- PING, PONG, INFO, -ERR ------------------------------------------------------------------- */

static enum brk_op op_ping(void *arg)
{
    struct brk_conn *c = arg;
    brk_conn_send(c, "PONG\r\n", 6);
    if (log_enabled(LOG_TRC)) {
        brk_conn_log(c, LOG_TRC, "<<- [PING]");
        brk_conn_log(c, LOG_TRC, "->> [PONG]");
    }
    if (c->connect_received && !c->pinged) {
        c->pinged = true;
        if (c->protocol >= 1 && c->account != NULL) {
            brk_conn_send_info(c, true);
        }
    }
    return BRK_OP_GO;
}

static enum brk_op op_pong(void *arg)
{
    struct brk_conn *c = arg;
    if (log_enabled(LOG_TRC)) {
        brk_conn_log(c, LOG_TRC, "<<- [PONG]");
    }
    c->pings_out = 0;
    if (c->ping_sent_boot_ns > 0) {
        int64_t now = env_boot_ns(c->server->env);
        c->rtt_ns = i64_max(now - c->ping_sent_boot_ns, 1);
        c->rtt_boot_ns = now;
        c->ping_sent_boot_ns = 0;
    }
    return BRK_OP_GO;
}

static enum brk_op op_info(void *arg, struct brk_str json)
{
    struct brk_conn *c = arg;
    struct brk_connect said = {0};
    struct err err;
    enum st st = brk_connect_parse(&said, json, &err);
    brk_connect_fini(&said);
    if (st != ST_OK) {
        brk_conn_log(c, LOG_ERR, "INFO from a client: %s", err.msg);
        brk_conn_close(c, BRK_CLOSE_PROTOCOL, NULL);
    }
    return op_of(c);
}

static enum brk_op op_err(void *arg, struct brk_str text)
{
    struct brk_conn *c = arg;
    brk_conn_log(c, LOG_ERR, "Client Error %.*s", (int)u64_min(text.n, 200), text.p);
    brk_conn_close(c, BRK_CLOSE_PARSE_ERROR, NULL);
    return BRK_OP_CLOSE;
}

/* --- SUB, UNSUB ------------------------------------------------------------------------------- */

static struct brk_sub *find_sub(const struct brk_conn *c, struct brk_str sid, uint64_t *hash_out)
{
    *hash_out = hash64(brk_impl_of(c->server)->hash_seed, sid.p, sid.n);
    for (struct htab_node *n = htab_chain(&c->subs, *hash_out); n != NULL; n = n->next) {
        struct brk_sub *sub = CONTAINER_OF(n, struct brk_sub, by_sid);
        if (n->hash == *hash_out && sub->sid.n == sid.n && memcmp(sub->sid.p, sid.p, sid.n) == 0) {
            return sub;
        }
    }
    return NULL;
}

void brk_conn_remove_sub(struct brk_conn *c, struct brk_sub *sub)
{
    htab_del(&c->subs, &sub->by_sid);
    c->server->subs_count--;
    brk_account_remove(sub->account, sub);
}

static bool too_many_tokens(struct brk_conn *c, struct brk_str subject, struct brk_str sid)
{
    int64_t max = c->server->opts->max_sub_tokens;
    if (max <= 0 || subject_tokens(subject.p, subject.n) <= (size_t)max) {
        return false;
    }
    char text[400];
    (void)snprintf(text, sizeof text,
                   "Permissions Violation for Subscription to \"%.*s\", too many tokens",
                   (int)u64_min(subject.n, 300), subject.p);
    brk_conn_send_err(c, text);
    brk_conn_log(c, LOG_ERR, "Subscription Violation Too Many Tokens - Subject \"%.*s\", SID %.*s",
                 (int)subject.n, subject.p, (int)sid.n, sid.p);
    return true;
}

static enum brk_op op_sub(void *arg, struct brk_str subject, struct brk_str queue,
                          struct brk_str sid)
{
    struct brk_conn *c = arg;
    const struct brk_opts *o = c->server->opts;
    if (log_enabled(LOG_TRC)) {
        brk_conn_log(c, LOG_TRC, "<<- [SUB %.*s %.*s%s%.*s]", (int)subject.n, subject.p,
                     (int)queue.n, queue.n > 0 ? queue.p : "", queue.n > 0 ? " " : "", (int)sid.n,
                     sid.p);
    }
    if (too_many_tokens(c, subject, sid)) {
        return BRK_OP_GO;
    }
    if (o->max_subscriptions > 0 && c->subs.count >= (uint64_t)o->max_subscriptions) {
        brk_conn_log(c, LOG_ERR, "maximum subscriptions exceeded");
        brk_conn_send_err(c, "maximum subscriptions exceeded");
        return BRK_OP_GO;
    }
    uint64_t hash;
    bool known = find_sub(c, sid, &hash) != NULL; /* then the rest is not looked at, as upstream */
    if (!known && !subject_valid(subject.p, subject.n)) {
        brk_conn_send_err(c, "Invalid Subject");
        return BRK_OP_GO;
    }
    if (!known) {
        struct brk_sub *sub = brk_sub_create(subject, queue, sid);
        sub->conn = c;
        htab_add(&c->subs, &sub->by_sid, hash);
        c->server->subs_count++;
        brk_account_insert(c->account, sub);
    }
    if (c->verbose) {
        send_ok(c);
    }
    return BRK_OP_GO;
}

static enum brk_op op_unsub(void *arg, struct brk_str sid, uint64_t max)
{
    struct brk_conn *c = arg;
    if (log_enabled(LOG_TRC)) {
        brk_conn_log(c, LOG_TRC, "<<- [UNSUB %.*s %llu]", (int)sid.n, sid.p,
                     (unsigned long long)max);
    }
    uint64_t hash;
    struct brk_sub *sub = find_sub(c, sid, &hash);
    if (sub != NULL) {
        sub->max = max;
        if (max == 0 || sub->delivered >= max) {
            brk_conn_remove_sub(c, sub);
        }
    }
    if (c->verbose) {
        send_ok(c);
    }
    return BRK_OP_GO;
}

/* --- PUB, HPUB -------------------------------------------------------------------------------- */

static enum brk_op op_pub_line(void *arg, const struct brk_pub_args *a)
{
    struct brk_conn *c = arg;
    if (log_enabled(LOG_TRC)) {
        brk_conn_log(c, LOG_TRC, "<<- [%sPUB %.*s %.*s%s%zu]", a->hdr_len > 0 ? "H" : "",
                     (int)a->subject.n, a->subject.p, (int)a->reply.n,
                     a->reply.n > 0 ? a->reply.p : "", a->reply.n > 0 ? " " : "", a->total_len);
    }
    if (c->pedantic && !subject_literal(a->subject.p, a->subject.n)) {
        brk_conn_send_err(c, "Invalid Publish Subject");
    }
    return BRK_OP_GO;
}

/* Finds a plain subscription of the client itself that would get a message to `reply`. */
static struct brk_sub *own_sub(struct brk_conn *c, struct brk_str reply)
{
    struct brk_match m;
    struct brk_sub *found = NULL;
    brk_interest_match(&c->account->interest, reply, &m);
    struct brk_leaf **leaves = brk_match_leaves(&m);
    for (uint32_t i = 0; i < m.count && found == NULL; i++) {
        for (uint32_t k = 0; k < leaves[i]->subs_count && found == NULL; k++) {
            struct brk_sub *sub = leaves[i]->subs[k];
            found = sub->conn == c && !sub->dead ? sub : NULL;
        }
    }
    brk_match_fini(&m);
    return found;
}

/* Nobody is there to answer a request: the client is told at once. */
static void send_no_responders(struct brk_conn *c, struct brk_str subject, struct brk_str reply)
{
    struct brk_sub *sub = own_sub(c, reply);
    if (sub == NULL) {
        return;
    }
    static const char head[] = "NATS/1.0 503\r\nNats-Subject: ";
    size_t hdr = sizeof head - 1 + subject.n + 4;
    char sizes[64];
    int n = snprintf(sizes, sizeof sizes, " %zu %zu\r\n", hdr, hdr);
    ASSERT(n > 0);
    struct brk_str parts[] = {
        BRK_STR("HMSG "),        reply,   BRK_STR(" "),           sub->sid, {sizes, (size_t)n},
        {head, sizeof head - 1}, subject, BRK_STR("\r\n\r\n\r\n")};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        brk_conn_send(c, parts[i].p, parts[i].n);
    }
}

static void count_in(struct brk_conn *c, uint64_t bytes)
{
    struct brk_flow *flows[] = {&c->flow, &c->account->flow, &c->server->counters.flow};
    for (size_t i = 0; i < ARRAY_LEN(flows); i++) {
        flows[i]->in_msgs++;
        flows[i]->in_bytes += bytes;
    }
}

static enum brk_op op_pub(void *arg, const struct brk_msg *parsed)
{
    struct brk_conn *c = arg;
    struct brk_msg m = *parsed;
    m.from = c;
    count_in(c, m.hdr_len + m.payload_len);
    if (log_enabled(LOG_TRC)) {
        brk_conn_log(c, LOG_TRC, "<<- MSG_PAYLOAD: [\"%.*s\"]",
                     (int)u64_min(m.payload_len, TRACED_PAYLOAD_MAX),
                     m.payload_len > 0 ? (const char *)m.payload : "");
    }
    if (c->verbose) {
        send_ok(c);
    }
    struct brk_map map; /* its name is told, too, when nobody is there */
    m.subject = brk_map_subject(c->account, m.subject, &map);
    if (brk_deliver(c->account, m.subject, &m) == 0 && c->no_responders && m.reply.n > 0 &&
        (c->account->silent == NULL || !c->account->silent(m.subject))) {
        send_no_responders(c, m.subject, m.reply);
    }
    brk_map_fini(&map);
    return op_of(c);
}

/* --- faults ----------------------------------------------------------------------------------- */

static void fault_close(struct brk_conn *c, const struct brk_parse_fault *f, const char *what)
{
    brk_conn_log(c, LOG_ERR, "%s: \"%.*s\"", what, (int)u64_min(f->near.n, 200), f->near.p);
    brk_conn_close(c, BRK_CLOSE_PROTOCOL, NULL);
}

static void op_fault(void *arg, const struct brk_parse_fault *f)
{
    struct brk_conn *c = arg;
    switch (f->what) {
    case BRK_PERR_UNKNOWN_OP:
        brk_conn_log(c, LOG_ERR, "Client parser ERROR: proto='\"%.*s\"...'",
                     (int)u64_min(f->near.n, 32), f->near.p);
        brk_conn_close(c, BRK_CLOSE_PROTOCOL, "Unknown Protocol Operation");
        break;
    case BRK_PERR_CONTROL_LINE:
        brk_conn_log(c, LOG_ERR, "maximum control line exceeded");
        brk_conn_close(c, BRK_CLOSE_MAX_CONTROL_LINE, "maximum control line exceeded");
        break;
    case BRK_PERR_MAX_PAYLOAD:
        brk_conn_log(c, LOG_ERR, "maximum payload exceeded: %llu vs %llu",
                     (unsigned long long)f->size, (unsigned long long)c->parser.payload_max);
        brk_conn_close(c, BRK_CLOSE_MAX_PAYLOAD, "Maximum Payload Violation");
        break;
    case BRK_PERR_NO_HEADERS:
        brk_conn_log(c, LOG_ERR, "message headers not supported");
        brk_conn_close(c, BRK_CLOSE_PROTOCOL, NULL);
        break;
    case BRK_PERR_NO_MEMORY:
        brk_conn_log(c, LOG_ERR, "could not take a message: out of memory bytes=%llu",
                     (unsigned long long)f->size);
        brk_conn_close(c, BRK_CLOSE_PROTOCOL, NULL);
        break;
    case BRK_PERR_PUB_ARGS:
        fault_close(c, f, "processPub Parse Error");
        break;
    case BRK_PERR_PUB_SIZE:
        fault_close(c, f, "processPub Bad or Missing Size");
        break;
    case BRK_PERR_HPUB_ARGS:
        fault_close(c, f, "processHeaderPub Parse Error");
        break;
    case BRK_PERR_HPUB_SIZE:
        fault_close(c, f, "processHeaderPub Bad or Missing Total Size");
        break;
    case BRK_PERR_HPUB_HDR:
        fault_close(c, f, "processHeaderPub Bad or Missing Header Size");
        break;
    case BRK_PERR_HPUB_LARGER:
        fault_close(c, f, "processHeaderPub Header Size larger then TotalSize");
        break;
    case BRK_PERR_SUB_ARGS:
        fault_close(c, f, "processSub Parse Error");
        break;
    case BRK_PERR_UNSUB_ARGS:
        fault_close(c, f, "processUnsub Parse Error");
        break;
    }
}

const struct brk_parse_ops brk_conn_ops = {
    .before_login = op_before_login,
    .connect = op_connect,
    .ping = op_ping,
    .pong = op_pong,
    .info = op_info,
    .err = op_err,
    .sub = op_sub,
    .unsub = op_unsub,
    .pub_line = op_pub_line,
    .pub = op_pub,
    .fault = op_fault,
};
