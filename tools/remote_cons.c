/* The remote store: consumers without acks, read by pull requests. The first requests do not wait:
 * when one comes back short, everything that was there has come (peek says ST_NOTFOUND then, as the
 * engine's does); from then on they wait for news. One request is under way at a time; the next is
 * sent while the last messages of it still stand here. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/remote_int.h"

#define PULL_EXPIRES_NS (30 * NS_PER_S)
#define PULL_BYTES (8 * MIB)         /* asked for at once, about */
#define PULL_LATE_NS (10 * NS_PER_S) /* after this much more, a request counts as lost */

static size_t held(const struct store_cons *c)
{
    return c->held.len - c->held_at;
}

static void tell_ready(struct store_cons *c)
{
    if (c->attached && c->hungry && c->ev.ready != NULL) {
        c->hungry = false;
        c->ev.ready(c->ev.arg, c); /* may delete it: nothing after this */
    }
}

/* As many as PULL_BYTES hold, by what has come so far. */
static unsigned batch_of(const struct store_cons *c)
{
    uint64_t n = c->msgs_seen == 0 ? REMOTE_BATCH : PULL_BYTES / (c->bytes_seen / c->msgs_seen);
    return (unsigned)u64_min(u64_max(n, 16), REMOTE_BATCH_MAX);
}

static void ask(struct store_cons *c)
{
    char subject[600], reply[128], json[96];
    struct remote *r = c->s->r;
    unsigned batch = batch_of(c);
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", c->s->cfg.name,
                   c->name);
    (void)snprintf(reply, sizeof reply, "%s.c.%llu", r->inbox, (unsigned long long)c->id);
    if (c->no_wait) {
        (void)snprintf(json, sizeof json, "{\"batch\":%u,\"no_wait\":true}", batch);
    } else {
        (void)snprintf(json, sizeof json, "{\"batch\":%u,\"expires\":%lld}", batch,
                       PULL_EXPIRES_NS);
    }
    c->outstanding = c->asked = batch;
    c->deadline_ns =
        env_boot_ns(r->env) + (c->no_wait ? REMOTE_TIMEOUT_NS : PULL_EXPIRES_NS + PULL_LATE_NS);
    if (remote_publish(r, subject, reply, json) != ST_OK) {
        c->deadline_ns = env_boot_ns(r->env) + NS_PER_S; /* again, when connected again */
    }
}

static void ask_if_low(struct store_cons *c)
{
    if (c->outstanding == 0 && c->failed == ST_OK && held(c) <= c->asked / 2) {
        ask(c);
    }
}

int64_t remote_cons_timer(struct store_cons *c, int64_t now_ns)
{
    if (c->outstanding == 0 || c->failed != ST_OK) {
        return INT64_MAX;
    }
    if (natsConnection_IsClosed(c->s->r->nc)) {
        c->failed = ST_IO; /* the server did not come back */
        tell_ready(c);
        return INT64_MAX;
    }
    if (c->deadline_ns <= now_ns) {
        c->outstanding = 0;
        ask(c);
    }
    int64_t look_ns = now_ns + NS_PER_S; /* whether the server is there */
    return c->deadline_ns < look_ns ? c->deadline_ns : look_ns;
}

/* --- what comes ------------------------------------------------------------------------------- */

static uint64_t pending_of(natsMsg *m);

static void on_status(struct store_cons *c, const char *status, natsMsg *m)
{
    const char *text = "";
    (void)natsMsgHeader_Get(m, "Description", &text);
    bool gone = strcmp(status, "503") == 0 ||
                (strcmp(status, "409") == 0 && strstr(text, "Consumer Deleted") != NULL);
    if (strcmp(status, "100") == 0) { /* a heartbeat */
        natsMsg_Destroy(m);
        return;
    }
    c->outstanding = 0;
    if (gone) {
        c->failed = ST_CLOSED;
    } else if (c->no_wait) {
        c->no_wait = false;
    }
    natsMsg_Destroy(m);
    ask_if_low(c);
    tell_ready(c);
}

void remote_cons_deliver(struct store_cons *c, natsMsg *m)
{
    const char *status = NULL;
    if (natsMsgHeader_Get(m, "Status", &status) == NATS_OK) {
        on_status(c, status, m);
        return;
    }
    c->outstanding -= c->outstanding > 0;
    c->msgs_seen++;
    c->bytes_seen += (uint64_t)natsMsg_GetDataLength(m) + 200; /* with subject, headers, overhead */
    if (c->held_at > 0 && c->held.len == c->held.cap) {        /* make room at the end */
        memmove(c->held.items, c->held.items + c->held_at, held(c) * sizeof c->held.items[0]);
        c->held.len = held(c);
        c->held_at = 0;
    }
    VEC_PUSH(&c->held, m);
    if (c->no_wait && pending_of(m) == 0) {
        c->no_wait = false;
    }
    ask_if_low(c);
    tell_ready(c);
}

/* The numbers of a message stand in its reply: $JS.ACK.[domain.account.]stream.consumer.deliveries.
 * stream sequence.consumer sequence.time.pending[.token] */
struct ack_subject {
    uint64_t dcount, sseq, cseq, ts_ns, pending;
};

static bool ack_read(natsMsg *m, struct ack_subject *a)
{
    const char *s = natsMsg_GetReply(m), *token[16];
    size_t n = 0;
    for (; s != NULL && n < ARRAY_LEN(token); n++) {
        token[n] = s;
        s = strchr(s, '.');
        s = s == NULL ? NULL : s + 1;
    }
    size_t at = n == 9 ? 4 : 6;
    if (n < at + 5) {
        return false;
    }
    uint64_t v[5];
    for (size_t i = 0; i < 5; i++) {
        v[i] = strtoull(token[at + i], NULL, 10);
    }
    *a = (struct ack_subject){v[0], v[1], v[2], v[3], v[4]};
    return true;
}

static uint64_t pending_of(natsMsg *m)
{
    struct ack_subject a;
    return ack_read(m, &a) ? a.pending : 1;
}

/* libnats keeps headers as a table; the store's messages have the block. */
static size_t header_block(struct store_cons *c, natsMsg *m)
{
    const char **keys = NULL;
    int nkeys = 0;
    size_t n = 0;
    if (natsMsgHeader_Keys(m, &keys, &nkeys) != NATS_OK) {
        return 0;
    }
    c->hdr = base_realloc(c->hdr, 16);
    n = (size_t)snprintf(c->hdr, 16, "NATS/1.0\r\n");
    for (int i = 0; i < nkeys; i++) {
        const char **values = NULL;
        int nvalues = 0;
        if (natsMsgHeader_Values(m, keys[i], &values, &nvalues) != NATS_OK) {
            continue;
        }
        for (int k = 0; k < nvalues; k++) {
            size_t size = strlen(keys[i]) + strlen(values[k]) + 5;
            c->hdr = base_realloc(c->hdr, n + size + 3);
            n += (size_t)snprintf(c->hdr + n, size, "%s: %s\r\n", keys[i], values[k]);
        }
        free((void *)(uintptr_t)values); /* libnats's */
    }
    free((void *)(uintptr_t)keys);
    c->hdr = base_realloc(c->hdr, n + 3);
    return n + (size_t)snprintf(c->hdr + n, 3, "\r\n");
}

enum st remote_cons_peek(struct store_cons *c, struct cons_peek *out)
{
    c->hungry = false;
    if (held(c) == 0) {
        c->hungry = true;
        return c->failed != ST_OK ? c->failed : c->no_wait ? ST_AGAIN : ST_NOTFOUND;
    }
    natsMsg *m = c->held.items[c->held_at];
    struct ack_subject a;
    if (!ack_read(m, &a)) {
        return ST_CORRUPT;
    }
    const char *subject = natsMsg_GetSubject(m);
    size_t hdr_len = header_block(c, m);
    *out = (struct cons_peek){.cseq = a.cseq, .dcount = a.dcount, .num_pending = a.pending};
    out->m = (struct msg){.seq = a.sseq,
                          .ts_ns = (int64_t)a.ts_ns,
                          .subj = (const uint8_t *)subject,
                          .subj_len = (uint16_t)strlen(subject),
                          .hdr = hdr_len > 0 ? (const uint8_t *)c->hdr : NULL,
                          .hdr_len = (uint32_t)hdr_len,
                          .data = (const uint8_t *)natsMsg_GetData(m),
                          .data_len = (uint32_t)natsMsg_GetDataLength(m)};
    return ST_OK;
}

void remote_cons_take(struct store_cons *c)
{
    ASSERT(held(c) > 0);
    natsMsg_Destroy(c->held.items[c->held_at++]);
    if (c->held_at == c->held.len) {
        c->held_at = c->held.len = 0;
    }
    ask_if_low(c);
}

/* --- life ------------------------------------------------------------------------------------- */

struct create_op {
    struct store_cons *c;
    store_cons_fn fn;
    void *arg;
};

static void on_created(void *arg, natsMsg *answer, const struct err *why)
{
    struct create_op *op = arg;
    struct err err = why != NULL ? *why : (struct err){0};
    json_object *o = remote_answer(answer, &err);
    op->c->s->r->last = err;
    if (o == NULL) {
        remote_cons_free(op->c);
        op->fn(op->arg, err.code, NULL, &err);
    } else {
        op->c->pending_at_start = (uint64_t)remote_i64(o, "num_pending", 0);
        op->c->no_wait = true;
        op->c->door = remote_door_open(op->c->s->r, op->c->id);
        op->c->failed = op->c->door == NULL ? ST_IO : ST_OK;
        ask_if_low(op->c);
        op->fn(op->arg, ST_OK, op->c, &err);
    }
    json_object_put(o);
    base_free(op);
}

static const char *const deliver_name[] = {
    "all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject"};

static json_object *create_json(const struct store_stream *s, const struct cons_cfg *cfg)
{
    json_object *o = json_object_new_object(), *c = json_object_new_object();
    json_object_object_add(o, "stream_name", json_object_new_string(s->cfg.name));
    json_object_object_add(o, "config", c);
    json_object_object_add(o, "action", json_object_new_string("create"));
    json_object_object_add(c, "name", json_object_new_string(cfg->name));
    json_object_object_add(c, "deliver_policy", json_object_new_string(deliver_name[cfg->deliver]));
    if (cfg->deliver == DELIVER_BY_START_SEQ) {
        json_object_object_add(c, "opt_start_seq",
                               json_object_new_int64((int64_t)cfg->opt_start_seq));
    }
    json_object_object_add(c, "ack_policy", json_object_new_string("none"));
    json_object_object_add(c, "replay_policy", json_object_new_string("instant"));
    json_object_object_add(c, "mem_storage", json_object_new_boolean(true));
    json_object_object_add(c, "num_replicas", json_object_new_int64(1));
    json_object_object_add(c, "headers_only", json_object_new_boolean(cfg->headers_only));
    json_object_object_add(c, "inactive_threshold",
                           json_object_new_int64(cfg->inactive_threshold_ns));
    if (cfg->nfilters == 1) {
        json_object_object_add(c, "filter_subject", json_object_new_string(cfg->filters[0]));
    } else if (cfg->nfilters > 1) {
        json_object *v = json_object_new_array();
        for (size_t i = 0; i < cfg->nfilters; i++) {
            json_object_array_add(v, json_object_new_string(cfg->filters[i]));
        }
        json_object_object_add(c, "filter_subjects", v);
    }
    return o;
}

void remote_cons_create(struct store_stream *s, const struct cons_cfg *cfg, store_cons_fn fn,
                        void *arg)
{
    char name[600];
    struct store_cons *c = base_calloc(1, sizeof *c);
    c->s = s;
    c->id = s->r->next_id++;
    c->name = base_strdup(cfg->name);
    list_push_back(&s->r->conses, &c->node);
    struct create_op *op = base_malloc(sizeof *op);
    *op = (struct create_op){c, fn, arg};
    (void)snprintf(name, sizeof name, "%s.%s", s->cfg.name, cfg->name);
    remote_api(s->r, "CONSUMER.CREATE.", name, create_json(s, cfg), on_created, op);
}

void remote_cons_free(struct store_cons *c)
{
    list_remove(&c->node);
    remote_door_shut(c->door);
    while (c->held_at < c->held.len) {
        natsMsg_Destroy(c->held.items[c->held_at++]);
    }
    VEC_FREE(&c->held);
    base_free(c->hdr);
    base_free(c->name);
    base_free(c);
}

static void on_deleted(void *arg, natsMsg *answer, const struct err *why)
{
    (void)arg;
    (void)answer; /* else it goes by its inactive threshold */
    (void)why;
}

/* Without fn only: scans ask for nothing else. */
void remote_cons_delete(struct store_cons *c, store_done_fn fn, void *arg)
{
    char name[600];
    (void)arg;
    ASSERT(fn == NULL);
    (void)snprintf(name, sizeof name, "%s.%s", c->s->cfg.name, c->name);
    remote_api(c->s->r, "CONSUMER.DELETE.", name, NULL, on_deleted, NULL);
    remote_cons_free(c);
}

void remote_cons_state(struct store_cons *c, struct cons_state *out)
{
    *out = (struct cons_state){.num_pending = c->pending_at_start};
}

void remote_cons_attach(struct store_cons *c, const struct cons_events *ev)
{
    c->attached = ev != NULL;
    c->ev = ev != NULL ? *ev : (struct cons_events){0};
}
