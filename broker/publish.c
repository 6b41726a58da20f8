/* From a message to its receivers: the one path that every publish takes (client, internal client,
 * consumer delivery).
 *
 * (account, subject) -> map_subject -> interest -> deliveries. Mappings, imports/exports,
 * transforms and tracing go into brk_publish, before the look-up. Loop thread only. A message's
 * bytes are copied once per receiving client, into its out buffer, or kept where they are and named
 * there (struct msg_keep); callbacks get pointers. */
#include "broker/conn_priv.h"
#include "engine/base/base.h"

#define ONE_PIECE_MAX ((size_t)8 * 1024)

/* A message ready to be encoded for many receivers. */
struct frame {
    const struct brk_msg *msg; /* subject and reply as shown; origin */
    const struct iovec *parts; /* headers, then payload */
    int parts_count;
    size_t hdr_len, payload_len;
    char plain[16], full[32]; /* sizes as text: payload; headers and total */
    size_t plain_n, full_n;
    uint8_t *flat; /* owned; a contiguous copy for callbacks, made when the first one needs it */
};

static size_t put_u64(char *out, uint64_t v)
{
    char tmp[20];
    size_t n = 0;
    do {
        tmp[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    for (size_t i = 0; i < n; i++) {
        out[i] = tmp[n - 1 - i];
    }
    return n;
}

static void frame_sizes(struct frame *f)
{
    f->plain_n = put_u64(f->plain, f->payload_len);
    if (f->hdr_len > 0) {
        f->full_n = put_u64(f->full, f->hdr_len);
        f->full[f->full_n++] = ' ';
        f->full_n += put_u64(f->full + f->full_n, f->hdr_len + f->payload_len);
    }
}

static uint8_t *put_str(uint8_t *at, const char *p, size_t n)
{
    memcpy(at, p, n);
    return at + n;
}

/* Writes the control line; at has room for it. */
static uint8_t *put_line(uint8_t *at, const struct frame *f, const struct brk_sub *sub,
                         bool headers)
{
    at = headers ? put_str(at, "HMSG ", 5) : put_str(at, "MSG ", 4);
    at = put_str(at, f->msg->subject.p, f->msg->subject.n);
    *at++ = ' ';
    at = put_str(at, sub->sid.p, sub->sid.n);
    *at++ = ' ';
    if (f->msg->reply.n > 0) {
        at = put_str(at, f->msg->reply.p, f->msg->reply.n);
        *at++ = ' ';
    }
    at = headers ? put_str(at, f->full, f->full_n) : put_str(at, f->plain, f->plain_n);
    return put_str(at, "\r\n", 2);
}

/* Copies the body from byte `skip` on. */
static uint8_t *copy_body(uint8_t *at, const struct frame *f, size_t skip)
{
    for (int i = 0; i < f->parts_count; i++) {
        size_t n = f->parts[i].iov_len;
        size_t from = u64_min(skip, n);
        skip -= from;
        if (n > from) {
            at = put_str(at, (const char *)f->parts[i].iov_base + from, n - from);
        }
    }
    return at;
}

static void append_body(struct brk_outbuf *o, const struct frame *f, size_t skip)
{
    const struct msg_keep *keep = f->msg->keep;
    for (int i = 0; i < f->parts_count; i++) {
        size_t n = f->parts[i].iov_len;
        size_t from = u64_min(skip, n);
        skip -= from;
        const uint8_t *p = (const uint8_t *)f->parts[i].iov_base + from;
        if (keep != NULL && n - from >= MSG_KEEP_BYTES_MIN) {
            keep->acquire(keep->what);
            brk_outbuf_append_kept(o, p, n - from, keep->what, keep->release);
        } else if (n > from) {
            brk_outbuf_append(o, p, n - from);
        }
    }
}

/* Small messages go into one chunk; of larger ones only the line has to stand in one piece. */
static void encode(struct brk_conn *c, const struct brk_sub *sub, const struct frame *f,
                   bool headers)
{
    size_t skip = headers ? 0 : f->hdr_len;
    size_t body = f->hdr_len - skip + f->payload_len;
    size_t line = 5 + f->msg->subject.n + sub->sid.n + f->msg->reply.n + sizeof f->full + 5;
    if (line + body + 2 <= ONE_PIECE_MAX) {
        uint8_t *start = brk_outbuf_reserve(&c->out, line + body + 2);
        uint8_t *end = put_line(start, f, sub, headers);
        end = copy_body(end, f, skip);
        end = put_str(end, "\r\n", 2);
        brk_outbuf_commit(&c->out, (size_t)(end - start));
        return;
    }
    if (line <= BRK_RESERVE_MAX) {
        uint8_t *start = brk_outbuf_reserve(&c->out, line);
        brk_outbuf_commit(&c->out, (size_t)(put_line(start, f, sub, headers) - start));
    } else {
        uint8_t *tmp = base_malloc(line);
        brk_outbuf_append(&c->out, tmp, (size_t)(put_line(tmp, f, sub, headers) - tmp));
        base_free(tmp);
    }
    append_body(&c->out, f, skip);
    brk_outbuf_append(&c->out, "\r\n", 2);
}

static void trace_delivery(const struct brk_conn *c, const struct brk_sub *sub,
                           const struct frame *f, bool headers)
{
    const struct brk_msg *m = f->msg;
    brk_conn_log(c, LOG_TRC, "->> [%sMSG %.*s %.*s %.*s%s%.*s]", headers ? "H" : "",
                 (int)m->subject.n, m->subject.p, (int)sub->sid.n, sub->sid.p, (int)m->reply.n,
                 m->reply.n > 0 ? m->reply.p : "", m->reply.n > 0 ? " " : "",
                 (int)(headers ? f->full_n : f->plain_n), headers ? f->full : f->plain);
}

/* The client takes in more slowly than it is sent: over max_pending it is cut off, as upstream
 * does; nothing that waits for it is sent any more. Below that, fast publishers are held back for a
 * moment. */
static void check_pending(struct brk_conn *c, struct brk_conn *from)
{
    uint64_t max = (uint64_t)c->server->opts->max_pending;
    if (c->out.bytes > max) {
        c->server->counters.slow_consumers++;
        c->server->counters.slow_pending++;
        c->account->slow_consumers++;
        brk_conn_log(c, LOG_INF, "Slow Consumer Detected: MaxPending of %llu Exceeded",
                     (unsigned long long)max);
        brk_conn_close(c, BRK_CLOSE_SLOW_PENDING, NULL);
    } else if (from != NULL && from != c && c->out.bytes > BRK_STALL_PART(max)) {
        from->stall_wanted = true;
    }
}

static bool to_conn(struct brk_sub *sub, const struct frame *f)
{
    struct brk_conn *c = sub->conn;
    struct brk_conn *from = f->msg->from;
    if (c->state == BRK_CONN_CLOSING || (from == c && !c->echo)) {
        return false;
    }
    sub->delivered++;
    bool headers = f->hdr_len > 0 && c->headers;
    encode(c, sub, f, headers);
    uint64_t bytes = f->payload_len + (headers ? f->hdr_len : 0);
    struct brk_flow *flows[] = {&c->flow, &c->account->flow, &c->server->counters.flow};
    for (size_t i = 0; i < ARRAY_LEN(flows); i++) {
        flows[i]->out_msgs++;
        flows[i]->out_bytes += bytes;
    }
    if (log_enabled(LOG_TRC)) {
        trace_delivery(c, sub, f, headers);
    }
    brk_conn_mark_dirty(c);
    if (sub->max > 0 && sub->delivered >= sub->max) {
        if (log_enabled(LOG_DBG)) {
            brk_conn_log(c, LOG_DBG, "Auto-unsubscribe limit of %llu reached for sid '%.*s'",
                         (unsigned long long)sub->max, (int)sub->sid.n, sub->sid.p);
        }
        brk_conn_remove_sub(c, sub);
    }
    const struct brk_impl *im = brk_impl_of(c->server);
    if (c->out.bytes >= (f->msg->keep != NULL ? im->flush_kept : im->flush_early)) {
        brk_conn_flush(c);
        check_pending(c, from);
    }
    return true;
}

static bool to_callback(struct brk_sub *sub, struct frame *f)
{
    struct brk_msg m = *f->msg;
    const uint8_t *body = NULL;
    m.keep = NULL; /* the copy below may not be kept */
    if (f->parts_count > 2 || (f->parts_count == 2 && f->parts[0].iov_len != f->hdr_len)) {
        if (f->flat == NULL) {
            f->flat = base_malloc(f->hdr_len + f->payload_len + 1);
            (void)copy_body(f->flat, f, 0);
        }
        body = f->flat;
    } else if (f->parts_count == 2) {
        m.hdr = f->parts[0].iov_base;
        m.payload = f->parts[1].iov_base;
    } else if (f->parts_count == 1) {
        body = f->parts[0].iov_base;
    }
    if (body != NULL) {
        m.hdr = body;
        m.payload = body + f->hdr_len;
    }
    m.hdr = f->hdr_len > 0 ? m.hdr : NULL;
    m.hdr_len = f->hdr_len;
    m.payload_len = f->payload_len;
    sub->delivered++;
    sub->cb(sub->arg, &m);
    return true;
}

static bool to_sub(struct brk_sub *sub, struct frame *f)
{
    if (sub->dead) {
        return false;
    }
    return sub->conn != NULL ? to_conn(sub, f) : to_callback(sub, f);
}

/* --- queue groups ----------------------------------------------------------------------------- */

static const struct brk_group *same_group(const struct brk_leaf *leaf, const struct brk_group *g)
{
    for (uint32_t i = 0; i < leaf->groups_count; i++) {
        if (leaf->groups[i]->name.n == g->name.n &&
            memcmp(leaf->groups[i]->name.p, g->name.p, g->name.n) == 0) {
            return leaf->groups[i];
        }
    }
    return NULL;
}

/* One member of a group gets the message: any, with equal chance, of all the leaves' members. A
 * group of the same name on several matching subjects is one group. If the first choice can't take
 * it, the next one does.
 */
static bool to_group(struct brk_server *s, struct brk_leaf **leaves, uint32_t count, uint32_t first,
                     const struct brk_group *g, struct frame *f)
{
    uint64_t members = 0;
    for (uint32_t i = first; i < count; i++) {
        const struct brk_group *same = i == first ? g : same_group(leaves[i], g);
        members += same == NULL ? 0 : same->count;
    }
    uint64_t start = members < 2 ? 0 : brk_random(brk_impl_of(s)) % members;
    for (uint64_t n = 0; n < members; n++) {
        uint64_t at = (start + n) % members;
        for (uint32_t i = first; i < count; i++) {
            const struct brk_group *same = i == first ? g : same_group(leaves[i], g);
            uint64_t have = same == NULL ? 0 : same->count;
            if (at < have) {
                if (to_sub(same->subs[at], f)) {
                    return true;
                }
                break;
            }
            at -= have;
        }
    }
    return false;
}

static bool seen_before(struct brk_leaf **leaves, uint32_t leaf, const struct brk_group *g)
{
    for (uint32_t i = 0; i < leaf; i++) {
        if (same_group(leaves[i], g) != NULL) {
            return true;
        }
    }
    return false;
}

/* --- fan-out ---------------------------------------------------------------------------------- */

static size_t fan_out(struct brk_account *acc, struct brk_str to, struct frame *f)
{
    struct brk_match m;
    brk_interest_match(&acc->interest, to, &m);
    if (m.count == 0) {
        return 0;
    }
    frame_sizes(f);
    brk_interest_hold(&acc->interest);
    struct brk_leaf **leaves = brk_match_leaves(&m);
    size_t n = 0;
    for (uint32_t i = 0; i < m.count; i++) {
        struct brk_leaf *leaf = leaves[i];
        /* Whoever subscribes from inside a callback gets the next message, not this one. */
        for (uint32_t k = 0, end = leaf->subs_count; k < end; k++) {
            n += to_sub(leaf->subs[k], f);
        }
        for (uint32_t k = 0, end = leaf->groups_count; k < end; k++) {
            const struct brk_group *g = leaf->groups[k];
            if (i == 0 || !seen_before(leaves, i, g)) {
                n += to_group(acc->server, leaves, m.count, i, g, f);
            }
        }
    }
    brk_interest_unhold(&acc->interest);
    brk_match_fini(&m);
    base_free(f->flat);
    return n;
}

static int msg_parts(const struct brk_msg *msg, struct iovec parts[2])
{
    int n = 0;
    if (msg->hdr_len > 0) {
        /* iovec has no const; nobody writes through it. */
        parts[n].iov_base = (void *)(uintptr_t)msg->hdr;
        parts[n++].iov_len = msg->hdr_len;
    }
    if (msg->payload_len > 0) {
        parts[n].iov_base = (void *)(uintptr_t)msg->payload;
        parts[n++].iov_len = msg->payload_len;
    }
    return n;
}

size_t brk_deliver(struct brk_account *acc, struct brk_str to, const struct brk_msg *msg)
{
    struct iovec parts[2];
    struct frame f = {.msg = msg, .parts = parts, .parts_count = msg_parts(msg, parts)};
    f.hdr_len = msg->hdr_len;
    f.payload_len = msg->payload_len;
    return fan_out(acc, to, &f);
}

size_t brk_deliver_iov(struct brk_account *acc, struct brk_str to, const struct brk_msg *msg,
                       size_t hdr_len, const struct iovec *parts, int parts_count)
{
    struct frame f = {.msg = msg, .parts = parts, .parts_count = parts_count, .hdr_len = hdr_len};
    size_t total = 0;
    for (int i = 0; i < parts_count; i++) {
        total += parts[i].iov_len;
    }
    ASSERT(hdr_len <= total);
    f.payload_len = total - hdr_len;
    return fan_out(acc, to, &f);
}

struct brk_str brk_map_subject(const struct brk_account *acc, struct brk_str subject,
                               struct brk_map *m)
{
    m->large = NULL;
    if (acc->map_subject == NULL) {
        return subject;
    }
    if (subject.n > sizeof m->small) {
        m->large = base_malloc(subject.n);
    }
    return acc->map_subject(acc->map_arg, subject, m->large != NULL ? m->large : m->small);
}

void brk_map_fini(struct brk_map *m)
{
    base_free(m->large);
}

size_t brk_publish(struct brk_account *acc, const struct brk_msg *msg)
{
    ASSERT(acc->magic == BRK_ACCOUNT_MAGIC);
    if (acc->map_subject == NULL) {
        return brk_deliver(acc, msg->subject, msg);
    }
    struct brk_map map;
    struct brk_msg mapped = *msg;
    mapped.subject = brk_map_subject(acc, msg->subject, &map);
    size_t n = brk_deliver(acc, mapped.subject, &mapped);
    brk_map_fini(&map);
    return n;
}

/* --- the internal client ---------------------------------------------------------------------- */

struct brk_sub *brk_isub_create(struct brk_account *acc, struct brk_str subject,
                                struct brk_str queue, brk_msg_cb cb, void *arg)
{
    ASSERT(acc->magic == BRK_ACCOUNT_MAGIC);
    struct brk_sub *sub = brk_sub_create(subject, queue, (struct brk_str){NULL, 0});
    sub->cb = cb;
    sub->arg = arg;
    brk_account_insert(acc, sub);
    return sub;
}

void brk_isub_destroy(struct brk_sub *sub)
{
    if (sub != NULL) {
        ASSERT(sub->conn == NULL);
        brk_account_remove(sub->account, sub);
    }
}

bool brk_account_has_interest(struct brk_account *acc, struct brk_str subject)
{
    return brk_interest_any(&acc->interest, subject, (struct brk_str){NULL, 0});
}

static size_t pending_of(struct brk_sub *const *subs, uint32_t count, size_t most)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!subs[i]->dead && subs[i]->conn != NULL && subs[i]->conn->out.bytes > most) {
            most = (size_t)subs[i]->conn->out.bytes;
        }
    }
    return most;
}

size_t brk_deliver_pending(struct brk_account *acc, struct brk_str to)
{
    struct brk_match m;
    brk_interest_match(&acc->interest, to, &m);
    struct brk_leaf **leaves = brk_match_leaves(&m);
    size_t most = 0;
    for (uint32_t i = 0; i < m.count; i++) {
        most = pending_of(leaves[i]->subs, leaves[i]->subs_count, most);
        for (uint32_t k = 0; k < leaves[i]->groups_count; k++) {
            most = pending_of(leaves[i]->groups[k]->subs, leaves[i]->groups[k]->count, most);
        }
    }
    brk_match_fini(&m);
    return most;
}
