/* Fuzz target: JSON of stream and consumer configurations. What is accepted is written out and read
 * again: the second reading must be accepted too and give the same bytes, but for a placement of an
 * empty list of tags: nats-server writes it `{}`, and takes that for none. */
#include <stdlib.h>

#include "broker/js_config.h"
#include "engine/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct js_limits limits = {.strict = true};

static void drop_empty_placement(struct json_out *j)
{
    static const char text[] = "\"placement\":{},";
    size_t len = sizeof text - 1;
    char *at = j->len > 0 ? memmem(j->buf, j->len, text, len) : NULL;
    if (at != NULL) {
        j->len -= len;
        memmove(at, at + len, (size_t)(j->buf + j->len - at));
    }
}

static void same(const struct json_out *a, const struct json_out *b)
{
    if (a->len != b->len || memcmp(a->buf, b->buf, a->len) != 0) {
        abort();
    }
}

static bool read_stream(const void *p, size_t len, struct json_out *j)
{
    struct js_stream_req r;
    struct api_error e = {0};
    js_stream_req_init(&r);
    bool ok = js_stream_req_parse(&r, p, len, &limits, &e) && js_stream_req_check(&r, &limits, &e);
    if (ok) {
        js_stream_cfg_put(j, &r.cfg);
    } else if (e.err_code == API_OK || e.text[0] == '\0') {
        abort();
    }
    js_stream_req_fini(&r);
    return ok;
}

static bool read_consumer(const void *p, size_t len, struct json_out *j)
{
    struct stream_cfg stream;
    struct js_cons_req r;
    struct api_error e = {0};
    stream_cfg_init(&stream);
    js_cons_req_init(&r);
    bool ok = js_cons_req_parse(&r, p, len, &limits, &e);
    if (ok && r.cfg.name == NULL) {
        r.cfg.name = base_strdup(r.durable != NULL ? r.durable : "made");
    }
    ok = ok && (!r.cfg.durable || strcmp(r.cfg.name, r.durable) == 0) &&
         js_cons_req_check(&r, &stream, &limits, &e);
    if (ok) {
        json_out_raw(j, "{\"config\":", 10);
        js_cons_cfg_put(j, &r.cfg);
        json_out_raw(j, "}", 1);
    }
    js_cons_req_fini(&r);
    stream_cfg_fini(&stream);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    bool (*read)(const void *, size_t, struct json_out *) =
        (data[0] & 1) != 0 ? read_stream : read_consumer;
    struct json_out first = {0}, second = {0};
    if (read(data + 1, size - 1, &first)) {
        if (!read(first.buf, first.len, &second)) {
            abort();
        }
        drop_empty_placement(&first);
        same(&first, &second);
    }
    json_out_fini(&first);
    json_out_fini(&second);
    return 0;
}
