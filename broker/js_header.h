/* Message headers that concern a stream: one pass over the block, no allocation.
 *
 * A block is `NATS/1.0[ status]\r\n(Name: value\r\n)*\r\n`. Names are compared exactly, as
 * nats-server does; of two equal names the first counts; blanks before a value are skipped; a line
 * ends with CR LF or with the block, a CR or LF alone is part of it. Takes hostile bytes. Any
 * thread. */
#ifndef BROKER_JS_HEADER_H
#define BROKER_JS_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/msg.h"

enum js_hdr {
    JS_HDR_MSG_ID,
    JS_HDR_EXP_STREAM,
    JS_HDR_EXP_LAST_SEQ,
    JS_HDR_EXP_LAST_MSG_ID,
    JS_HDR_EXP_LAST_SUBJ_SEQ,
    JS_HDR_EXP_LAST_SUBJ_SEQ_SUBJ,
    JS_HDR_ROLLUP,
    JS_HDR_TTL,
    JS_HDR_INCR,
    JS_HDR_COUNTER_SOURCES,
    JS_HDR_BATCH_ID,
    JS_HDR_BATCH_SEQ,
    JS_HDR_BATCH_COMMIT,
    JS_HDR_SCHEDULE,
    JS_HDR_SCHEDULE_TIME_ZONE,
    JS_HDR_SCHEDULE_TARGET,
    JS_HDR_SCHEDULE_SOURCE,
    JS_HDR_SCHEDULE_TTL,
    JS_HDR_SCHEDULE_ROLLUP,
    JS_HDR_SCHEDULE_NEXT,
    JS_HDR_SCHEDULER,
    JS_HDR_REQUIRED_LEVEL,
    JS_HDR_COUNT
};

struct js_headers {
    uint32_t seen;                      /* the same, also where the value is empty */
    uint32_t have;                      /* bit per enum js_hdr */
    struct brk_str value[JS_HDR_COUNT]; /* borrowed from the block */
};

static inline bool js_hdr_has(const struct js_headers *h, enum js_hdr which)
{
    return (h->have >> which & 1u) != 0;
}

/* Reads the block. What is malformed is skipped: a stream stores what clients send. */
void js_headers_read(struct js_headers *h, const uint8_t *hdr, size_t len);
/* The value of a header by its name; false when it is not there. */
bool js_header_find(const uint8_t *hdr, size_t len, const char *name, struct brk_str *out);
/* Decimal, digits only. False when it is none or does not fit. */
bool js_parse_u64(struct brk_str s, uint64_t *out);

#endif
