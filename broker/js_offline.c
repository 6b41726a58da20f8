#include "broker/js_offline.h"

#include <stdio.h>
#include <string.h>

#include "broker/js_config.h"
#include "engine/base/base.h"

static char *decoding_error(const char *what)
{
    char text[API_ERROR_TEXT_MAX + 32];
    int n = snprintf(text, sizeof text, "decoding error: %s", what);
    return base_strndup(text, (size_t)n);
}

char *js_offline_stream_reason(const struct stream_cfg *c)
{
    static const struct js_limits strict = {.strict = true};
    static const char unknown[] = "invalid JSON: json: unknown field "; /* a request's error */
    struct js_stream_req r;
    struct api_error e = {0};
    char *reason = NULL;
    if (c->opaque_len == 0) {
        return NULL;
    }
    js_stream_req_init(&r);
    if (!js_stream_req_parse(&r, c->opaque, c->opaque_len, &strict, &e) &&
        strncmp(e.text, unknown, sizeof unknown - 1) == 0) {
        reason = decoding_error(e.text + strlen("invalid JSON: "));
    }
    js_stream_req_fini(&r);
    return reason;
}

char *js_offline_consumer_reason(const struct cons_cfg *c)
{
    bool known = c->opaque_len == 0 || js_cons_name_made_up(c);
    return known ? NULL : decoding_error("unknown field in what the broker keeps of the consumer");
}

char *js_offline_reason(const struct store_ops *ops, struct store_stream *s)
{
    char *reason = js_offline_stream_reason(ops->stream_cfg(s));
    struct store_cons *sc = NULL;
    while (reason == NULL && (sc = ops->cons_next_of(s, sc)) != NULL) {
        char *of_consumer = js_offline_consumer_reason(ops->cons_cfg(sc));
        if (of_consumer != NULL) {
            const char *name = ops->cons_cfg(sc)->name;
            size_t size = strlen(name) + 40;
            reason = base_malloc(size);
            (void)snprintf(reason, size, "stopped - unsupported consumer \"%s\"", name);
            base_free(of_consumer);
        }
    }
    return reason;
}
