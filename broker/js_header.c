#include "broker/js_header.h"

#include <string.h>

#include "engine/base/base.h"

static const struct {
    const char *name;
    size_t len;
} names[JS_HDR_COUNT] = {
#define N(s)                                                                                       \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
    [JS_HDR_MSG_ID] = N("Nats-Msg-Id"),
    [JS_HDR_EXP_STREAM] = N("Nats-Expected-Stream"),
    [JS_HDR_EXP_LAST_SEQ] = N("Nats-Expected-Last-Sequence"),
    [JS_HDR_EXP_LAST_MSG_ID] = N("Nats-Expected-Last-Msg-Id"),
    [JS_HDR_EXP_LAST_SUBJ_SEQ] = N("Nats-Expected-Last-Subject-Sequence"),
    [JS_HDR_EXP_LAST_SUBJ_SEQ_SUBJ] = N("Nats-Expected-Last-Subject-Sequence-Subject"),
    [JS_HDR_ROLLUP] = N("Nats-Rollup"),
    [JS_HDR_TTL] = N("Nats-TTL"),
    [JS_HDR_INCR] = N("Nats-Incr"),
    [JS_HDR_COUNTER_SOURCES] = N("Nats-Counter-Sources"),
    [JS_HDR_BATCH_ID] = N("Nats-Batch-Id"),
    [JS_HDR_BATCH_SEQ] = N("Nats-Batch-Sequence"),
    [JS_HDR_BATCH_COMMIT] = N("Nats-Batch-Commit"),
    [JS_HDR_SCHEDULE] = N("Nats-Schedule"),
    [JS_HDR_SCHEDULE_TIME_ZONE] = N("Nats-Schedule-Time-Zone"),
    [JS_HDR_SCHEDULE_TARGET] = N("Nats-Schedule-Target"),
    [JS_HDR_SCHEDULE_SOURCE] = N("Nats-Schedule-Source"),
    [JS_HDR_SCHEDULE_TTL] = N("Nats-Schedule-TTL"),
    [JS_HDR_SCHEDULE_ROLLUP] = N("Nats-Schedule-Rollup"),
    [JS_HDR_SCHEDULE_NEXT] = N("Nats-Schedule-Next"),
    [JS_HDR_SCHEDULER] = N("Nats-Scheduler"),
    [JS_HDR_REQUIRED_LEVEL] = N("Nats-Required-Api-Level"),
#undef N
};

static void one_line(struct js_headers *h, const char *p, size_t n)
{
    if (n < 9 || memcmp(p, "Nats-", 5) != 0) {
        return;
    }
    const char *colon = memchr(p, ':', n);
    if (colon == NULL) {
        return;
    }
    size_t name_len = (size_t)(colon - p);
    for (unsigned i = 0; i < JS_HDR_COUNT; i++) {
        if (names[i].len != name_len || memcmp(names[i].name, p, name_len) != 0) {
            continue;
        }
        if ((h->seen >> i & 1u) != 0) { /* the first counts, also an empty one */
            return;
        }
        h->seen |= 1u << i;
        const char *v = colon + 1;
        const char *end = p + n;
        while (v < end && *v == ' ') {
            v++;
        }
        h->value[i] = (struct brk_str){v, (size_t)(end - v)};
        if (v < end) {
            h->have |= 1u << i;
        }
        return;
    }
}

/* Where the line at p ends: its CR LF, or the end of the block. A CR or LF alone is part of it. */
static const char *line_end(const char *p, const char *end)
{
    for (const char *nl = p; (nl = memchr(nl, '\n', (size_t)(end - nl))) != NULL; nl++) {
        if (nl > p && nl[-1] == '\r') {
            return nl - 1;
        }
    }
    return end;
}

void js_headers_read(struct js_headers *h, const uint8_t *hdr, size_t len)
{
    h->have = h->seen = 0;
    const char *p = (const char *)hdr;
    const char *end = p + len;
    const char *eol = len == 0 ? end : line_end(p, end); /* of the version line */
    while (end - eol > 2) {
        p = eol + 2;
        eol = line_end(p, end);
        one_line(h, p, (size_t)(eol - p));
    }
}

bool js_parse_u64(struct brk_str s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 20) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        uint64_t d = (uint64_t)(s.p[i] - '0');
        if (v > (UINT64_MAX - d) / 10) {
            return false;
        }
        v = v * 10 + d;
    }
    *out = v;
    return true;
}

bool js_header_find(const uint8_t *hdr, size_t len, const char *name, struct brk_str *out)
{
    size_t n = strlen(name);
    const char *p = (const char *)hdr, *end = p + len;
    const char *nl = len == 0 ? NULL : memchr(p, '\n', len);
    while (nl != NULL && (size_t)(end - nl) > n + 1) {
        p = nl + 1;
        nl = memchr(p, '\n', (size_t)(end - p));
        if (memcmp(p, name, n) != 0 || p[n] != ':') {
            continue;
        }
        const char *v = p + n + 1, *stop = nl != NULL ? nl : end;
        while (stop > v && (stop[-1] == '\r' || stop[-1] == ' ')) {
            stop--;
        }
        while (v < stop && *v == ' ') {
            v++;
        }
        *out = (struct brk_str){v, (size_t)(stop - v)};
        return true;
    }
    return false;
}
