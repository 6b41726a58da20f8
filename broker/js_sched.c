/* Message schedules (ADR-51): a message with Nats-Schedule is kept as the last one of its subject;
 * when it is due, a message with its body goes to Nats-Schedule-Target.
 *
 * What is kept here is only when a subject is due; everything else is read from the stored message
 * when the time has come, so that a schedule that was deleted, purged or replaced does what the
 * stream says. A schedule with one time gives way to what it makes in one record. At a start, and
 * when the feature is switched on, the store says which there are; only in a store written before
 * it kept them is the last message of each subject looked at, once. Loop thread.
 *
 * Times of six fields are UTC's or those of the zone that the message names (js_zone.h). */
#include "broker/js_int.h"

#include "broker/js_cron.h"
#include "broker/js_zone.h"
#include "engine/base/base.h"
#include "engine/base/env.h"
#include "engine/base/subject.h"

#define SCAN_PER_TURN 512u
#define RETRY_MS 5
#define ZONE_RETRY_NS (60 * NS_PER_S)

struct js_sched {
    struct htab_node by_subject;
    int64_t next_ns; /* 0: not known; the stored message says */
    size_t len;
    char subject[];
};

/* --- what a publish asks for ------------------------------------------------------------------ */

static bool captured(const struct stream_cfg *cfg, struct brk_str subject)
{
    for (size_t i = 0; i < cfg->nsubjects; i++) {
        if (subject_match(subject.p, subject.n, cfg->subjects[i], strlen(cfg->subjects[i]))) {
            return true;
        }
    }
    return false;
}

static bool literal_other(struct brk_str v, const char *not_p, size_t not_len)
{
    return v.n > 0 && subject_valid(v.p, v.n) && !subject_has_wildcard(v.p, v.n) &&
           !js_str_eq(v, not_p, not_len);
}

static bool names_zone(const struct js_headers *h)
{
    return (h->seen >> JS_HDR_SCHEDULE_TIME_ZONE & 1u) != 0;
}

/* The zone that the headers name, if they do. False: there is none of that name. */
static bool find_zone(struct js *js, const struct js_headers *h, const struct tzif **zone_out)
{
    *zone_out = NULL;
    return !names_zone(h) ||
           (js_hdr_has(h, JS_HDR_SCHEDULE_TIME_ZONE) &&
            js_zone_find(&js->zones, js->d.env, h->value[JS_HDR_SCHEDULE_TIME_ZONE], zone_out));
}

static enum api_err check_time(struct js *js, const struct js_headers *h)
{
    struct js_cron c;
    const struct tzif *zone;
    struct brk_str v = h->value[JS_HDR_SCHEDULE];
    if (!find_zone(js, h, &zone)) {
        return API_MESSAGE_SCHEDULES_TIME_ZONE_INVALID;
    }
    return js_cron_parse(&c, v.p, v.n) && (!names_zone(h) || c.kind == JS_CRON_FIELDS)
               ? API_OK
               : API_MESSAGE_SCHEDULES_PATTERN_INVALID;
}

static enum api_err check_schedule(struct js_stream *s, const struct js_headers *h,
                                   const struct store_append *a)
{
    const struct stream_cfg *cfg = s->ja->js->ops->stream_cfg(s->ss);
    struct brk_str target = h->value[JS_HDR_SCHEDULE_TARGET], ttl = h->value[JS_HDR_SCHEDULE_TTL],
                   source = h->value[JS_HDR_SCHEDULE_SOURCE];
    int64_t seconds;
    enum api_err off = check_time(s->ja->js, h);
    if (off != API_OK) {
        return off;
    }
    if (js_hdr_has(h, JS_HDR_SCHEDULE_TTL)) {
        if (!store_ttl_parse(ttl.p, ttl.n, &seconds)) {
            return API_MESSAGE_SCHEDULES_TTL_INVALID;
        }
    }
    if (js_hdr_has(h, JS_HDR_SCHEDULE_ROLLUP) &&
        !js_str_eq(h->value[JS_HDR_SCHEDULE_ROLLUP], "sub", 3)) {
        return API_MESSAGE_SCHEDULES_ROLLUP_INVALID;
    }
    if (js_hdr_has(h, JS_HDR_SCHEDULE_TTL) && !cfg->allow_msg_ttl) {
        return API_MESSAGE_TTL_DISABLED;
    }
    if (!js_hdr_has(h, JS_HDR_SCHEDULE_TARGET) ||
        !literal_other(target, a->subject, a->subject_len)) {
        return API_MESSAGE_SCHEDULES_TARGET_INVALID;
    }
    bool sourced = js_hdr_has(h, JS_HDR_SCHEDULE_SOURCE);
    if (sourced && (!literal_other(source, a->subject, a->subject_len) ||
                    js_str_eq(source, target.p, target.n))) {
        return API_MESSAGE_SCHEDULES_SOURCE_INVALID;
    }
    if (!captured(cfg, target)) {
        return API_MESSAGE_SCHEDULES_TARGET_INVALID;
    }
    if (sourced && !captured(cfg, source)) {
        return API_MESSAGE_SCHEDULES_SOURCE_INVALID;
    }
    bool bad = js_hdr_has(h, JS_HDR_ROLLUP) && !js_str_eq(h->value[JS_HDR_ROLLUP], "sub", 3);
    return bad ? API_MESSAGE_SCHEDULES_ROLLUP_INVALID : API_OK;
}

/* A message that ends a schedule names its subject, which must hold one or nothing. */
static enum api_err check_end(struct js_stream *s, const struct js_headers *h,
                              struct store_append *a)
{
    struct brk_str v = h->value[JS_HDR_SCHEDULER];
    struct msg m;
    if (!js_hdr_has(h, JS_HDR_SCHEDULER) || !js_hdr_has(h, JS_HDR_SCHEDULE_NEXT) ||
        !js_str_eq(h->value[JS_HDR_SCHEDULE_NEXT], "purge", 5) || !subject_valid(v.p, v.n) ||
        subject_has_wildcard(v.p, v.n) || js_str_eq(v, a->subject, a->subject_len)) {
        return API_MESSAGE_SCHEDULES_SCHEDULER_INVALID;
    }
    if (!s->schedules) {
        return API_MESSAGE_SCHEDULES_DISABLED;
    }
    enum st st = s->ja->js->ops->last_msg(s->ss, v.p, (uint32_t)v.n, &m);
    if (st != ST_NOTFOUND && st != ST_AGAIN && (st != ST_OK || (m.flags & MSG_SCHED) == 0)) {
        return API_MESSAGE_SCHEDULES_SCHEDULER_INVALID;
    }
    a->purge_subject = v.p;
    a->purge_subject_len = (uint32_t)v.n;
    return API_OK;
}

enum api_err js_sched_read(struct js_stream *s, const struct js_headers *h, struct store_append *a)
{
    const struct tzif *zone;
    bool ends = js_hdr_has(h, JS_HDR_SCHEDULER) || js_hdr_has(h, JS_HDR_SCHEDULE_NEXT);
    if (!js_hdr_has(h, JS_HDR_SCHEDULE)) {
        if (!find_zone(s->ja->js, h, &zone)) { /* told with or without a schedule */
            return s->schedules ? API_MESSAGE_SCHEDULES_TIME_ZONE_INVALID
                                : API_MESSAGE_SCHEDULES_DISABLED;
        }
        return ends ? check_end(s, h, a) : API_OK;
    }
    if (!s->schedules) {
        return API_MESSAGE_SCHEDULES_DISABLED;
    }
    enum api_err off = check_schedule(s, h, a);
    off = off == API_OK && ends ? check_end(s, h, a) : off;
    if (off != API_OK) {
        return off;
    }
    a->flags |= MSG_SCHED;
    a->rollup = 1;
    if (!js_hdr_has(h, JS_HDR_ROLLUP)) {
        struct js_hdr_edit *e = &s->ja->js->edit;
        if (a->hdr != (const uint8_t *)e->buf) {
            js_hdr_edit_begin(e, a->hdr, a->hdr_len);
        }
        js_hdr_edit_add_str(e, "Nats-Rollup", "sub");
        a->hdr = (const uint8_t *)e->buf;
        a->hdr_len = (uint32_t)e->len;
    }
    return API_OK;
}

/* --- the table -------------------------------------------------------------------------------- */

static void tick(void *arg);

static void wake(struct js_stream *s, int64_t at_ns)
{
    struct js *js = s->ja->js;
    int64_t now = env_real_ns(js->d.env), ms = at_ns <= now ? 0 : (at_ns - now) / NS_PER_MS + 1;
    ms = ms < 60000 ? ms : 60000; /* the clock may be set meanwhile */
    int64_t at_ms = js_now_ms(js) + ms;
    if (s->sched_timer == NULL) {
        s->sched_timer = brk_timer_create(js->d.loop, tick, s);
    }
    if (!brk_timer_active(s->sched_timer) || at_ms < s->sched_at_ms) {
        s->sched_at_ms = at_ms;
        brk_timer_start(s->sched_timer, (uint64_t)ms, 0);
    }
}

static struct js_sched *find(const struct js_stream *s, const char *p, size_t n)
{
    uint64_t h = js_name_hash(p, n);
    for (struct htab_node *node = htab_chain(&s->scheds, h); node != NULL; node = node->next) {
        struct js_sched *k = CONTAINER_OF(node, struct js_sched, by_subject);
        if (node->hash == h && k->len == n && memcmp(k->subject, p, n) == 0) {
            return k;
        }
    }
    return NULL;
}

void js_sched_note(struct js_stream *s, const struct store_append *a)
{
    struct js_sched *k = find(s, a->subject, a->subject_len);
    if (k == NULL) {
        k = base_calloc(1, sizeof *k + a->subject_len);
        k->len = a->subject_len;
        memcpy(k->subject, a->subject, a->subject_len);
        htab_add(&s->scheds, &k->by_subject, js_name_hash(k->subject, k->len));
    }
    k->next_ns = 0;
    wake(s, 0);
}

static void forget(struct js_stream *s, struct js_sched *k)
{
    htab_del(&s->scheds, &k->by_subject);
    base_free(k);
}

static void scan_fini(struct js_stream *s)
{
    while (s->sched_scan_n > 0) {
        base_free(s->sched_scan[--s->sched_scan_n]);
    }
    base_free(s->sched_scan);
    s->sched_scan = NULL;
}

void js_sched_drop_all(struct js_stream *s)
{
    struct htab_node *n;
    while ((n = htab_first(&s->scheds)) != NULL) {
        forget(s, CONTAINER_OF(n, struct js_sched, by_subject));
    }
    scan_fini(s);
    brk_timer_destroy(s->sched_timer);
    s->sched_timer = NULL;
}

/* --- what is stored already ------------------------------------------------------------------- */

static bool collect(void *arg, const char *subject, uint32_t len, uint64_t count)
{
    struct js_stream *s = arg;
    (void)count;
    if (s->sched_scan_n % 1024 == 0) {
        s->sched_scan = base_realloc(s->sched_scan, (s->sched_scan_n + 1024) * sizeof(char *));
    }
    s->sched_scan[s->sched_scan_n++] = base_strndup(subject, len);
    return true;
}

static void note_stored(void *arg, uint64_t seq, const char *subject, uint32_t len)
{
    struct store_append a = {.subject = subject, .subject_len = len};
    (void)seq;
    js_sched_note(arg, &a);
}

void js_sched_start(struct js_stream *s)
{
    bool known = s->ja->js->ops->stream_schedules(s->ss, note_stored, s);
    if (!known && s->sched_scan_n == 0) {
        s->ja->js->ops->stream_subjects(s->ss, ">", 1, collect, s);
        wake(s, 0);
    }
}

/* True: all of it has been looked at. */
static bool scan(struct js_stream *s)
{
    for (unsigned i = 0; i < SCAN_PER_TURN && s->sched_scan_n > 0; i++) {
        char *subject = s->sched_scan[s->sched_scan_n - 1];
        struct msg m;
        uint32_t len = (uint32_t)strlen(subject);
        enum st st = s->ja->js->ops->last_msg(s->ss, subject, len, &m);
        if (st == ST_AGAIN) {
            return false;
        }
        if (st == ST_OK && (m.flags & MSG_SCHED) != 0) {
            struct store_append a = {.subject = subject, .subject_len = len};
            js_sched_note(s, &a);
            s->ja->js->ops->stream_schedule_found(s->ss, m.seq);
        }
        base_free(subject);
        s->sched_scan_n--;
    }
    if (s->sched_scan_n == 0 && s->sched_scan != NULL) {
        s->ja->js->ops->stream_schedule_found(s->ss, 0);
        scan_fini(s);
    }
    return s->sched_scan_n == 0;
}

/* --- firing ----------------------------------------------------------------------------------- */

static void own_headers(struct js_hdr_edit *e, const struct msg *m)
{
    static const char *const prefixes[] = {"Nats-Schedule", "Nats-Expected-", "Nats-Batch-",
                                           "Nats-Msg-Id:",  "Nats-TTL:",      "Nats-Rollup:"};
    js_hdr_edit_begin(e, m->hdr, m->hdr_len);
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        js_hdr_edit_drop_prefix(e, prefixes[i]);
    }
}

enum fired { FIRED, FIRED_NOT, FIRED_LATER };

/* Stores what the schedule makes. m is the schedule, h its headers, next INT64_MAX: the last time.
 */
static enum fired produce(struct js_stream *s, const struct js_sched *k, const struct msg *m,
                          const struct js_headers *h, int64_t next, const struct tzif *zone)
{
    struct js *js = s->ja->js;
    struct js_hdr_edit *e = &js->edit;
    struct brk_str target = h->value[JS_HDR_SCHEDULE_TARGET];
    struct msg body = *m;
    char time[JS_CRON_TIME_MAX];
    if (js_hdr_has(h, JS_HDR_SCHEDULE_SOURCE)) {
        struct brk_str v = h->value[JS_HDR_SCHEDULE_SOURCE];
        enum st st = js->ops->last_msg(s->ss, v.p, (uint32_t)v.n, &body);
        if (st == ST_AGAIN) {
            return FIRED_LATER;
        }
        body = st == ST_OK ? body : *m;
    }
    own_headers(e, &body);
    js_hdr_edit_add(e, "Nats-Scheduler", k->subject, k->len);
    js_hdr_edit_add(e, "Nats-Schedule-Next", next == INT64_MAX ? "purge" : time,
                    next == INT64_MAX ? 5 : js_cron_time(time, next, zone));
    struct store_append a = {.subject = target.p,
                             .subject_len = (uint32_t)target.n,
                             .data = body.data,
                             .data_len = body.data_len};
    if (js_hdr_has(h, JS_HDR_SCHEDULE_TTL)) {
        struct brk_str v = h->value[JS_HDR_SCHEDULE_TTL];
        js_hdr_edit_add(e, "Nats-TTL", v.p, v.n);
        a.flags |= MSG_TTL;
    }
    if (js_hdr_has(h, JS_HDR_SCHEDULE_ROLLUP)) {
        js_hdr_edit_add_str(e, "Nats-Rollup", "sub");
        a.rollup = 1;
    }
    if (next == INT64_MAX) {
        a.purge_subject = k->subject;
        a.purge_subject_len = (uint32_t)k->len;
    }
    a.hdr = (const uint8_t *)e->buf;
    a.hdr_len = (uint32_t)e->len;
    enum append_verdict verdict = APPEND_STORED;
    a.verdict_now = &verdict;
    if (js->ops->append(s->ss, &a, NULL, NULL) != ST_OK) {
        return FIRED_LATER;
    }
    return verdict == APPEND_STORED ? FIRED : FIRED_NOT;
}

static int64_t settle(struct js_sched *k, int64_t next)
{
    k->next_ns = next;
    return next;
}

/* Does what is due of one subject; when to look again, INT64_MAX: its schedule is gone. */
static int64_t look(struct js_stream *s, struct js_sched *k, int64_t now)
{
    struct js *js = s->ja->js;
    int64_t retry = now + RETRY_MS * NS_PER_MS;
    struct msg m;
    struct js_headers h;
    struct js_cron c;
    enum st st = js->ops->last_msg(s->ss, k->subject, (uint32_t)k->len, &m);
    if (st == ST_AGAIN) {
        return retry;
    }
    if (st != ST_OK || (m.flags & MSG_SCHED) == 0) {
        return INT64_MAX;
    }
    js_headers_read(&h, m.hdr, m.hdr_len);
    struct brk_str v = h.value[JS_HDR_SCHEDULE];
    if (!js_hdr_has(&h, JS_HDR_SCHEDULE) || !js_hdr_has(&h, JS_HDR_SCHEDULE_TARGET) ||
        !js_cron_parse(&c, v.p, v.n)) {
        return INT64_MAX;
    }
    if (!find_zone(js, &h, &c.zone)) { /* the machine has it no more; perhaps again */
        return settle(k, now + ZONE_RETRY_NS);
    }
    int64_t due = k->next_ns != 0 ? k->next_ns : js_cron_first(&c, m.ts_ns, now);
    if (due > now) {
        return settle(k, due);
    }
    int64_t next = c.kind == JS_CRON_AT ? INT64_MAX : js_cron_next(&c, due);
    if (next <= now) { /* what was missed is not made up for */
        next = js_cron_first(&c, now, now);
    }
    switch (produce(s, k, &m, &h, next, c.zone)) {
    case FIRED:
        return settle(k, next);
    case FIRED_NOT: /* refused by the stream's limits */
        return settle(k, next != INT64_MAX ? next : now + NS_PER_S);
    case FIRED_LATER:
    default:
        k->next_ns = due;
        return retry;
    }
}

static void tick(void *arg)
{
    struct js_stream *s = arg;
    int64_t now = env_real_ns(s->ja->js->d.env), at = INT64_MAX;
    if (s->gone || s->ss == NULL || s->ja->stopped) {
        return;
    }
    if (!scan(s)) {
        at = now + RETRY_MS * NS_PER_MS;
    }
    for (struct htab_node *n = htab_first(&s->scheds), *next; n != NULL; n = next) {
        struct js_sched *k = CONTAINER_OF(n, struct js_sched, by_subject);
        next = htab_next(&s->scheds, n);
        if (k->next_ns <= now) {
            int64_t again = look(s, k, now);
            if (again == INT64_MAX) {
                forget(s, k);
                continue;
            }
            at = again < at ? again : at;
        } else {
            at = k->next_ns < at ? k->next_ns : at;
        }
    }
    if (at != INT64_MAX) {
        wake(s, at);
    }
}
