/* Requests for messages: the body of STREAM.MSG.GET and DIRECT.GET (ADR-31). Private to
 * broker/js_*.c; loop thread. */
#ifndef BROKER_JS_DIRECT_H
#define BROKER_JS_DIRECT_H

#include "broker/json_in.h"
#include "engine/store.h"

struct js_get_body {
    uint64_t seq, up_to_seq;
    int64_t start_time_ns, up_to_time_ns; /* 0: not given */
    int64_t batch, max_bytes;
    char *last_by, *next_by; /* owned */
    struct json_strings multi;
    bool no_hdr;
};
extern const struct json_schema js_get_schema;
void js_get_body_fini(struct js_get_body *b);
/* Asks for nothing. */
bool js_get_empty(const struct js_get_body *b);
/* One message: false when members contradict each other. */
bool js_get_single(const struct js_get_body *b, struct store_get *g);

#endif
