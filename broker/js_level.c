#include "broker/js_level.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/js_header.h"
#include "engine/base/base.h"

#define REQUIRED "_nats.req.level"
#define LEVEL "_nats.level"
#define VERSION "_nats.ver"

bool js_level_too_high(const uint8_t *hdr, size_t len)
{
    struct js_headers h;
    uint64_t level;
    if (len == 0) {
        return false;
    }
    js_headers_read(&h, hdr, len);
    struct brk_str v = h.value[JS_HDR_REQUIRED_LEVEL];
    if (!js_hdr_has(&h, JS_HDR_REQUIRED_LEVEL)) {
        return false;
    }
    bool minus = v.p[0] == '-';
    if (minus || v.p[0] == '+') { /* a number with a sign is one */
        v.p++;
        v.n--;
    }
    return !js_parse_u64(v, &level) || level > (uint64_t)INT64_MAX ||
           (!minus && level > JS_API_LEVEL);
}

unsigned js_level_of_stream(const struct stream_cfg *c)
{
    if (c->allow_batched) {
        return 4;
    }
    if (c->allow_msg_counter || c->allow_atomic || c->allow_msg_schedules ||
        c->persist == PERSIST_ASYNC) {
        return 2;
    }
    return c->allow_msg_ttl || c->subject_delete_marker_ttl_ns > 0 ? 1 : 0;
}

unsigned js_level_of_consumer(const struct cons_cfg *c)
{
    if (c->ack == ACK_FLOW_CONTROL) {
        return 4;
    }
    return c->pause_until_ns != 0 || c->priority != PRIORITY_NONE || c->npriority_groups > 0 ? 1
                                                                                             : 0;
}

static bool ours(const char *key)
{
    return strcmp(key, REQUIRED) == 0 || strcmp(key, LEVEL) == 0 || strcmp(key, VERSION) == 0;
}

void js_level_strip(struct store_kv *kv, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        if (ours(kv[i].key)) {
            base_free(kv[i].key);
            base_free(kv[i].value);
        } else {
            kv[kept++] = kv[i];
        }
    }
    *n = kept;
}

struct entry {
    const char *key, *value;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

void js_level_put(struct json_out *j, const struct store_kv *kv, size_t n, unsigned needed,
                  bool server)
{
    char need[12], have[12];
    (void)snprintf(need, sizeof need, "%u", needed);
    (void)snprintf(have, sizeof have, "%u", JS_API_LEVEL);
    struct entry few[16], *all = few;
    size_t count = 0;
    if (n + 3 > ARRAY_LEN(few)) {
        all = base_calloc(n + 3, sizeof *all);
    }
    for (size_t i = 0; i < n; i++) {
        if (!ours(kv[i].key)) { /* of a store from before they were the server's */
            all[count++] = (struct entry){kv[i].key, kv[i].value};
        }
    }
    all[count++] = (struct entry){REQUIRED, need};
    if (server) {
        all[count++] = (struct entry){LEVEL, have};
        all[count++] = (struct entry){VERSION, BRK_NATS_VERSION};
    }
    qsort(all, count, sizeof *all, by_key);
    json_out_open(j, "metadata");
    for (size_t i = 0; i < count; i++) {
        json_out_key_escaped(j, all[i].key, strlen(all[i].key));
        json_out_val_str(j, all[i].value, strlen(all[i].value));
    }
    json_out_end(j);
    if (all != few) {
        base_free(all);
    }
}
