/* Messages that go by time: max_age of the stream, Nats-TTL of the message, and the markers left
 * where a subject lost its last message (subject_delete_marker_ttl, ADR-43).
 *
 * Everything is decided here and logged: a FLOOR or DELETE record for what goes, one APPEND with
 * the eviction for a marker, so that no crash can leave both or neither. Nothing expires for a
 * reader before it was logged. What is due is kept in memory only (max_age by order of sequences,
 * TTLs in s->ttl) and made anew at a start from segments, tail and journal.
 *
 * Runs only from the stream's timer, never inside another call: a caller's own record comes first.
 * A message with `Nats-TTL: never` stays whatever max_age says; s->age_next is behind those that
 * were met. */
#include "engine/base/godur.h"
#include "engine/eng.h"
#include "engine/msg_header.h"

#include <stdio.h>
#include <strings.h>

/* At most this many go in one turn, so that a long backlog does not hold up the loop. */
enum { EXPIRE_PER_TURN = 2048 };
#define RETRY_NS (100 * NS_PER_MS)
/* A marker that the stream's limits refuse is tried again, as upstream does. */
#define MARKER_RETRY_NS (2 * NS_PER_S)

/* What one pass takes out, not logged yet. */
struct reap {
    struct store_stream *s;
    int64_t now;
    int budget;
    uint64_t floor; /* 0 = not moved; all live messages below it go */
    struct seq_runs runs;
    bool kept; /* age: a message below the walk stays */
    enum rec_reason reason;
};

bool store_ttl_parse(const char *value, size_t len, int64_t *ttl_s_out)
{
    int64_t ns, v = 0;
    *ttl_s_out = 0;
    if (len == 0) {
        return true;
    }
    if (len == 5 && strncasecmp(value, "never", 5) == 0) {
        *ttl_s_out = TTL_NEVER;
        return true;
    }
    bool digits = len <= 19;
    for (size_t i = 0; i < len && digits; i++) {
        digits = value[i] >= '0' && value[i] <= '9' && !__builtin_mul_overflow(v, 10, &v) &&
                 !__builtin_add_overflow(v, value[i] - '0', &v);
    }
    if (!digits) {
        if (!godur_parse(value, len, &ns)) {
            return false;
        }
        v = ns / NS_PER_S;
    }
    *ttl_s_out = v;
    return v >= 1;
}

int64_t msg_expires_ns(const struct msg *m)
{
    size_t len = 0;
    int64_t ttl, ns;
    const char *v =
        (m->flags & MSG_TTL) != 0 ? msg_header_get(m->hdr, m->hdr_len, "Nats-TTL", &len) : NULL;
    if (v == NULL || !store_ttl_parse(v, len, &ttl) || ttl == 0) {
        return 0;
    }
    if (ttl == TTL_NEVER || __builtin_mul_overflow(ttl, NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, m->ts_ns, &ns)) {
        return INT64_MAX;
    }
    return ns;
}

/* --- what is known about TTLs ----------------------------------------------------------------- */

static bool seq_live(const void *arg, uint64_t seq)
{
    const struct store_stream *s = arg;
    return liveset_is_live(s->live, seq);
}

void stream_ttl_add(struct store_stream *s, uint64_t seq, int64_t at_ns)
{
    if (at_ns != 0 && at_ns != INT64_MAX) {
        ttl_heap_add(&s->ttl, at_ns, seq, seq_live, s);
    }
}

/* --- a pass ----------------------------------------------------------------------------------- */

static bool planned(const struct reap *r, uint64_t seq)
{
    return seq < r->floor || seq_runs_has(&r->runs, seq);
}

/* The subject has no other message that stays. */
static bool is_last(const struct reap *r, uint64_t seq, const struct sidx_entry *entry)
{
    for (uint64_t i = sidx_count(entry); i-- > 0;) {
        uint64_t other = sidx_nth(entry, i);
        if (other != seq && !planned(r, other)) {
            return false;
        }
    }
    return true;
}

/* Markers of a server, and purges by key-value clients, go without leaving one. */
static bool is_marker(const struct msg *m)
{
    size_t len = 0;
    const char *v = msg_header_get(m->hdr, m->hdr_len, "Nats-Marker-Reason", &len);
    if (v != NULL && len > 0) {
        return true;
    }
    v = msg_header_get(m->hdr, m->hdr_len, "KV-Operation", &len);
    return v != NULL && len == 5 && memcmp(v, "PURGE", 5) == 0;
}

static void told(struct store_stream *s, uint64_t floor, const struct seq_runs *runs,
                 uint64_t marked)
{
    struct eng *e = s->eng;
    s->removal_ticket = s->ticket;
    if (e->on_expired != NULL) {
        e->on_expired(e->on_expired_arg, s, floor, runs, marked);
    }
}

static enum st commit(struct reap *r)
{
    enum st st = ST_OK;
    if (r->floor > r->s->first_seq) {
        st = stream_floor_logged(r->s, r->floor, r->reason, 0);
        if (st == ST_OK) {
            told(r->s, r->floor, NULL, 0);
        }
    }
    if (st == ST_OK && r->runs.n > 0) {
        st = stream_remove_logged(r->s, &r->runs, r->reason, 0);
        if (st == ST_OK) {
            told(r->s, 0, &r->runs, 0);
        }
    }
    for (size_t i = 0; i < r->runs.n && st != ST_OK && r->reason == REASON_TTL; i++) {
        for (uint64_t k = 0; k < r->runs.v[i].count; k++) { /* tried again later */
            stream_ttl_add(r->s, r->runs.v[i].first + k, r->now);
        }
    }
    seq_runs_clear(&r->runs);
    return st;
}

/* The message gives way to a marker. ST_FULL: the journal's window is full; ST_NOSPACE: refused. */
static enum st put_marker(struct store_stream *s, uint64_t seq, const struct sidx_entry *entry)
{
    char hdr[128], ttl[GODUR_MAX], subject[UINT16_MAX + 1u];
    size_t len;
    const char *name = sidx_subject(entry, &len);
    memcpy(subject, name, len); /* the entry goes and comes back */
    godur_put(ttl, s->cfg.subject_delete_marker_ttl_ns / NS_PER_S * NS_PER_S);
    int n = snprintf(hdr, sizeof hdr,
                     "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: %s\r\nNats-Rollup: "
                     "sub\r\n\r\n",
                     ttl);
    struct store_append a = {.subject = subject,
                             .subject_len = (uint32_t)len,
                             .hdr = (const uint8_t *)hdr,
                             .hdr_len = (uint32_t)n,
                             .flags = MSG_TTL | MSG_MARKER,
                             .rollup = 1};
    s->marking = true;
    enum st st = stream_append_own(s, &a);
    s->marking = false;
    if (st == ST_OK) {
        told(s, 0, NULL, seq);
    }
    return st;
}

/* What expired while the server was down, or by a clock that stepped, goes at a pace an operator
 * can still react to: max(10,000 messages, 1 %) a second and stream (RULES.md, "Store time"). */
static bool paced_out(struct store_stream *s, int64_t due_ns)
{
    if (due_ns >= s->eng->pace_before_ns) {
        return false;
    }
    int64_t second = eng_boot_ns(s->eng) / NS_PER_S;
    if (s->pace_second != second) {
        s->pace_second = second;
        s->pace_used = 0;
    }
    return s->pace_used++ >= u64_max(10000, s->msgs / 100);
}

static void expire_due(void *arg);

/* 0: it goes (planned, or replaced by its marker). Else when to look again: it stays until then.
 * m NULL: unreadable, or its content does not matter. */
static int64_t take(struct reap *r, uint64_t seq, const struct msg *m)
{
    struct store_stream *s = r->s;
    const struct sidx_entry *entry = stream_entry(s, seq);
    if (s->cfg.subject_delete_marker_ttl_ns > 0 && m != NULL && entry != NULL &&
        is_last(r, seq, entry) && !is_marker(m) && !stream_unwanted(s, entry)) {
        if (commit(r) != ST_OK) {
            return r->now + NS_PER_S;
        }
        enum st st = put_marker(s, seq, stream_entry(s, seq));
        return st == ST_OK ? 0 : st == ST_FULL ? r->now + RETRY_NS : r->now + MARKER_RETRY_NS;
    }
    if (r->reason == REASON_AGE && !r->kept) {
        r->floor = seq + 1;
    } else {
        seq_runs_add(&r->runs, seq);
    }
    return 0;
}

static int64_t age_due(const struct store_stream *s, const struct msg *m)
{
    int64_t due;
    return __builtin_add_overflow(m->ts_ns, s->cfg.max_age_ns, &due) ? INT64_MAX : due;
}

/* Takes what is older than max_age, in order of sequences; returns when to look again. */
static int64_t expire_by_age(struct store_stream *s, int64_t now, int *budget)
{
    struct reap r = {.s = s, .now = now, .reason = REASON_AGE};
    int64_t next = INT64_MAX;
    uint64_t seq = liveset_next(s->live, u64_max(s->first_seq, s->age_next));
    r.kept = s->age_next > s->first_seq;
    for (; seq != 0 && next == INT64_MAX; seq = liveset_next(s->live, seq + 1)) {
        struct msg m;
        if (seq > s->visible_seq) {
            next = now + RETRY_NS;
            break;
        }
        enum stream_read got = stream_read(s, seq, true, &m, expire_due, s);
        if (got == STREAM_READ_PENDING) {
            next = now + NS_PER_S; /* expire_due comes earlier */
            break;
        }
        bool ok = got == STREAM_READ_OK;
        int64_t due = ok ? age_due(s, &m) : now;
        if (due > now) {
            next = due;
            break;
        }
        if (ok && msg_expires_ns(&m) == INT64_MAX) {
            r.kept = true;
            continue;
        }
        if ((*budget)-- <= 0) {
            next = now;
            break;
        }
        if (paced_out(s, due)) {
            next = now + NS_PER_S;
            break;
        }
        int64_t again = take(&r, seq, ok ? &m : NULL);
        if (again != 0) {
            next = again;
            break;
        }
    }
    if (commit(&r) != ST_OK) {
        next = now + NS_PER_S; /* poisoned: what was passed over is found again */
    } else if (r.kept) {
        s->age_next = seq != 0 ? seq : s->last_seq + 1;
    }
    seq_runs_fini(&r.runs);
    return next;
}

/* The message at the heap's top, where its marker has to be judged. */
static enum stream_read read_top(struct store_stream *s, uint64_t seq, struct msg *m)
{
    if (s->cfg.subject_delete_marker_ttl_ns <= 0) {
        return STREAM_READ_GONE;
    }
    return stream_read(s, seq, false, m, expire_due, s);
}

static int64_t expire_by_ttl(struct store_stream *s, int64_t now, int *budget)
{
    struct reap r = {.s = s, .now = now, .reason = REASON_TTL};
    int64_t next = INT64_MAX;
    const struct ttl_entry *top;
    while (next == INT64_MAX && (top = ttl_heap_top(&s->ttl)) != NULL) {
        struct ttl_entry e = *top;
        struct msg m;
        if (!liveset_is_live(s->live, e.seq) || planned(&r, e.seq)) {
            ttl_heap_pop(&s->ttl);
            continue;
        }
        if (e.at_ns > now) {
            next = e.at_ns;
            break;
        }
        if (e.seq > s->visible_seq) {
            next = now + RETRY_NS;
            break;
        }
        if ((*budget)-- <= 0) {
            next = now;
            break;
        }
        if (paced_out(s, e.at_ns)) {
            next = now + NS_PER_S;
            break;
        }
        enum stream_read got = read_top(s, e.seq, &m);
        if (got == STREAM_READ_PENDING) {
            next = now + NS_PER_S;
            break;
        }
        ttl_heap_pop(&s->ttl);
        int64_t again = take(&r, e.seq, got == STREAM_READ_OK ? &m : NULL);
        if (again != 0) {
            stream_ttl_add(s, e.seq, again);
        }
    }
    if (commit(&r) != ST_OK) {
        next = now + NS_PER_S;
    }
    seq_runs_fini(&r.runs);
    return next;
}

/* --- the timer -------------------------------------------------------------------------------- */

static void arm(struct store_stream *s, int64_t at_ns)
{
    if (at_ns >= s->expiry_at_ns || s->dropped || s->eng->poisoned != ST_OK) {
        return;
    }
    if (s->expiry == NULL) {
        s->expiry = eng_timer_create(s->eng, expire_due, s);
    }
    s->expiry_at_ns = at_ns;
    eng_timer_set(s->expiry, i64_add_sat(eng_boot_ns(s->eng),
                                         i64_max(i64_sub_sat(at_ns, eng_now_ns(s->eng)), 0)));
}

static void expire_due(void *arg)
{
    struct store_stream *s = arg;
    s->expiry_at_ns = INT64_MAX;
    if (s->dropped || s->eng->poisoned != ST_OK || s->msgs == 0) {
        return;
    }
    int64_t now = eng_now_ns(s->eng), next = INT64_MAX;
    if (s->eng->hold_expiry) {
        arm(s, now + NS_PER_S);
        return;
    }
    int budget = EXPIRE_PER_TURN;
    if (s->cfg.max_age_ns > 0) {
        next = expire_by_age(s, now, &budget);
    }
    if (s->cfg.allow_msg_ttl) {
        int64_t ttl = expire_by_ttl(s, now, &budget);
        next = ttl < next ? ttl : next;
    }
    if (s->msgs > 0) {
        arm(s, next);
    }
}

void stream_arm_expiry(struct store_stream *s)
{
    s->age_next = 0;
    if (s->msgs > 0 && (s->cfg.max_age_ns > 0 || (s->cfg.allow_msg_ttl && s->ttl.n > 0))) {
        arm(s, eng_now_ns(s->eng));
    }
}

void stream_expiry_added(struct store_stream *s, const struct msg *m)
{
    if (s->cfg.max_age_ns > 0 && s->expiry_at_ns == INT64_MAX) {
        arm(s, age_due(s, m));
    }
    if ((m->flags & MSG_TTL) != 0 && s->cfg.allow_msg_ttl) {
        arm(s, i64_max(msg_expires_ns(m), 1));
    }
}
