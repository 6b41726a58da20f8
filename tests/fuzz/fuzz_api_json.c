/* Fuzz target: JSON of stream and consumer configurations. What is accepted is written out and read
 * again: the second reading must be accepted too and give the same bytes, but for a placement of an
 * empty list of tags: nats-server writes it `{}`, and takes that for none.
 *
 * First byte: bit 0: streams, else consumers; bit 1: there are two texts, parted by a newline, the
 * second an update of the first; bit 2: the stream of the consumers has limits of its own. */
#include <stdlib.h>

#include "broker/js_config.h"
#include "engine/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct js_limits limits = {.strict = true};
static const struct js_limits narrow = {
    .strict = true, .max_ack_pending = 500, .max_request_batch = 100};

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static bool told(bool ok, const struct api_error *e)
{
    must(ok || (e->err_code != API_OK && e->text[0] != '\0'));
    return ok;
}

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

/* --- streams ---------------------------------------------------------------------------------- */

static bool read_stream(struct js_stream_req *r, const void *p, size_t len, bool update)
{
    struct api_error e = {0};
    js_stream_req_init(r);
    bool ok = js_stream_req_parse(r, p, len, &limits, &e);
    r->create = !update;
    return told(ok && js_stream_req_check(r, &limits, &e), &e);
}

/* Every other stream is the one that is asked about. */
static const struct stream_cfg *find(void *arg, const char *name)
{
    return name[0] != 'x' ? arg : NULL;
}

/* What nats-server 2.14.5 takes, shows, and would not take again: a counter with a TTL of markers
 * is shown with the allow_msg_ttl that this implies and that a counter may not have; one that is
 * sealed loses the roll-ups that schedules and markers want. */
static bool upstream_oddity(const struct stream_cfg *c)
{
    bool markers = c->subject_delete_marker_ttl_ns > 0;
    return (c->allow_msg_counter && markers) || (c->sealed && (c->allow_msg_schedules || markers));
}

static void stream_again(const struct js_stream_req *r)
{
    if (upstream_oddity(&r->cfg)) {
        return;
    }
    struct json_out first = {0}, second = {0};
    struct js_stream_req again;
    js_stream_cfg_put(&first, &r->cfg, true);
    must(read_stream(&again, first.buf, first.len, !r->create));
    js_stream_cfg_put(&second, &again.cfg, true);
    drop_empty_placement(&first);
    must(first.len == second.len && memcmp(first.buf, second.buf, first.len) == 0);
    js_stream_req_fini(&again);
    json_out_fini(&first);
    json_out_fini(&second);
}

static void one_stream(const char *p, size_t len, const char *next, size_t next_len)
{
    struct js_stream_req r, n;
    struct api_error e = {0};
    if (!read_stream(&r, p, len, false)) {
        js_stream_req_fini(&r);
        return;
    }
    stream_again(&r);
    must(js_stream_cfg_equal(&r.cfg, &r.cfg));
    if (next != NULL && read_stream(&n, next, next_len, true)) {
        if (told(js_origins_check_others(&n.origins, &n.cfg, n.pedantic, find, &r.cfg, &e), &e) &&
            told(js_stream_update_check(&n, &r.cfg, &e), &e)) {
            stream_again(&n);
        }
    }
    if (next != NULL) {
        js_stream_req_fini(&n);
    }
    js_stream_req_fini(&r);
}

/* --- consumers -------------------------------------------------------------------------------- */

static bool read_consumer(struct js_cons_req *r, const void *p, size_t len,
                          const struct stream_cfg *s, const struct js_limits *lim)
{
    struct api_error e = {0};
    js_cons_req_init(r);
    bool ok = js_cons_req_parse(r, p, len, lim, &e);
    if (ok && r->cfg.name == NULL) {
        r->cfg.name = base_strdup(r->durable != NULL ? r->durable : "made");
    }
    ok = ok && (!r->cfg.durable || strcmp(r->cfg.name, r->durable) == 0) &&
         told(js_cons_req_check(r, s, lim, &e), &e);
    if (ok) {
        e = (struct api_error){0};
        (void)told(js_cons_check_new(&r->cfg, s, &e), &e);
    }
    return ok;
}

static void consumer_again(const struct js_cons_req *r, const struct stream_cfg *s,
                           const struct js_limits *lim)
{
    struct json_out first = {0}, second = {0};
    struct js_cons_req again;
    json_out_raw(&first, "{\"config\":", 10);
    js_cons_cfg_put(&first, &r->cfg, true);
    json_out_raw(&first, "}", 1);
    must(read_consumer(&again, first.buf, first.len, s, lim));
    json_out_raw(&second, "{\"config\":", 10);
    js_cons_cfg_put(&second, &again.cfg, true);
    json_out_raw(&second, "}", 1);
    must(first.len == second.len && memcmp(first.buf, second.buf, first.len) == 0);
    must(js_cons_cfg_equal(&r->cfg, &again.cfg));
    js_cons_req_fini(&again);
    json_out_fini(&first);
    json_out_fini(&second);
}

static void one_consumer(const char *p, size_t len, const char *next, size_t next_len, bool tight)
{
    static const char text[] =
        "{\"name\":\"S\",\"subjects\":[\"a.>\",\"b\"],\"retention\":\"workqueue\","
        "\"consumer_limits\":{\"inactive_threshold\":60000000000,\"max_ack_pending\":200}}";
    const struct js_limits *lim = tight ? &narrow : &limits;
    struct js_stream_req s;
    struct js_cons_req r, n;
    struct api_error e = {0};
    if (tight) {
        must(read_stream(&s, text, sizeof text - 1, false));
    } else {
        js_stream_req_init(&s);
    }
    bool ok = read_consumer(&r, p, len, &s.cfg, lim);
    if (ok) {
        consumer_again(&r, &s.cfg, lim);
    }
    if (ok && next != NULL) {
        if (read_consumer(&n, next, next_len, &s.cfg, lim)) {
            (void)told(js_cons_update_check(&r.cfg, &n.cfg, &e), &e);
            (void)js_cons_cfg_equal(&r.cfg, &n.cfg);
        }
        js_cons_req_fini(&n);
    }
    js_cons_req_fini(&r);
    js_stream_req_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const char *p = (const char *)data + 1, *next = NULL;
    size_t len = size - 1, next_len = 0;
    const char *line = (data[0] & 2) != 0 ? memchr(p, '\n', len) : NULL;
    if (line != NULL) {
        next = line + 1;
        next_len = len - (size_t)(next - p);
        len = (size_t)(line - p);
    }
    if ((data[0] & 1) != 0) {
        one_stream(p, len, next, next_len);
    } else {
        one_consumer(p, len, next, next_len, (data[0] & 4) != 0);
    }
    return 0;
}
