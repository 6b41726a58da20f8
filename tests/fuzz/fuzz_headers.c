/* Fuzz target: header blocks of messages. Values must lie inside the block and hold no line end,
 * which is CR LF (a single one of them is part of a value, as upstream reads it). */
#include <stdlib.h>
#include <string.h>

#include "broker/js_header.h"
#include "broker/js_level.h"
#include "engine/msg_header.h"
#include "engine/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct js_headers h;
    js_headers_read(&h, data, size);
    for (unsigned i = 0; i < JS_HDR_COUNT; i++) {
        if (!js_hdr_has(&h, i)) {
            continue;
        }
        const uint8_t *v = (const uint8_t *)h.value[i].p;
        if (h.value[i].n == 0 || v < data || v + h.value[i].n > data + size) {
            abort();
        }
        if (memmem(v, h.value[i].n, "\r\n", 2) != NULL) {
            abort();
        }
        uint64_t n;
        (void)js_parse_u64(h.value[i], &n);
        int64_t ttl_s;
        (void)store_ttl_parse(h.value[i].p, h.value[i].n, &ttl_s);
    }
    (void)js_level_too_high(data, size);
    struct brk_str v;
    if (js_header_find(data, size, "Nats-Last-Stream", &v) &&
        (v.p < (const char *)data || v.p + v.n > (const char *)data + size)) {
        abort();
    }
    size_t len;
    const char *id = msg_header_get(data, size, "Nats-Msg-Id", &len);
    if (id != NULL && (id < (const char *)data || id + len > (const char *)data + size)) {
        abort();
    }
    return 0;
}
