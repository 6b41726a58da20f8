/* Counters that come from sources (ADR-49): what is added is what the origin's number has grown by
 * since it was last heard of. `Nats-Counter-Sources` holds what each source's subjects stood at,
 * {"STREAM":{"subject":"7"}}, and goes from message to message of a subject. */
#include "broker/js_int.h"

#include <json-c/json.h>

#include "broker/bigdec.h"
#include "broker/js_copier.h"
#include "engine/base/base.h"

/* The object of a header's value; a new one where there is none or it is no object. */
static struct json_object *read_sources(const struct msg *last)
{
    struct js_headers h;
    struct json_object *o = NULL;
    js_headers_read(&h, last != NULL ? last->hdr : NULL, last != NULL ? last->hdr_len : 0);
    if (js_hdr_has(&h, JS_HDR_COUNTER_SOURCES)) {
        struct brk_str v = h.value[JS_HDR_COUNTER_SOURCES];
        char *text = base_strndup(v.p, v.n);
        o = json_tokener_parse(text);
        base_free(text);
    }
    if (o != NULL && json_object_get_type(o) != json_type_object) {
        json_object_put(o);
        o = NULL;
    }
    return o != NULL ? o : json_object_new_object();
}

/* The source's own object in it, made when it is not there. */
static struct json_object *of_source(struct json_object *all, const char *name)
{
    struct json_object *o = NULL;
    if (!json_object_object_get_ex(all, name, &o) || json_object_get_type(o) != json_type_object) {
        o = json_object_new_object();
        json_object_object_add(all, name, o);
    }
    return o;
}

struct growth {
    char *incr;    /* owned */
    char *sources; /* owned */
};

/* What the message adds, and the header that says so afterwards. */
static void measure(const char *source, struct brk_str subject, const char *value,
                    const struct msg *last, struct growth *g)
{
    struct json_object *all = read_sources(last), *mine = of_source(all, source), *was = NULL;
    char *key = base_strndup(subject.p, subject.n);
    const char *before = "0";
    if (json_object_object_get_ex(mine, key, &was)) {
        const char *s = json_object_get_string(was);
        before = bigdec_valid(s, strlen(s)) ? s : "0";
    }
    size_t n = strlen(value), m = strlen(before);
    g->incr = base_malloc((n > m ? n : m) + 4);
    g->incr[bigdec_sub(value, n, before, m, g->incr)] = '\0';
    json_object_object_add(mine, key, json_object_new_string(value));
    g->sources = base_strdup(json_object_to_json_string_ext(
        all, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    base_free(key);
    json_object_put(all);
}

/* The block with another increment, which stands first. */
static void set_headers(struct js_hdr_edit *out, const struct brk_msg *m, const struct growth *g)
{
    static const size_t first = sizeof "NATS/1.0\r\n" - 1;
    struct js_hdr_edit rest = {0};
    js_hdr_edit_begin(&rest, m->hdr, m->hdr_len);
    js_hdr_edit_drop(&rest, "Nats-Incr");
    js_hdr_edit_drop(&rest, "Nats-Counter-Sources");
    size_t n = strlen(g->incr), left = rest.len > first ? rest.len - first : 2;
    char *block = base_malloc(first + 13 + n + left);
    memcpy(block, "NATS/1.0\r\nNats-Incr: ", first + 11);
    memcpy(block + first + 11, g->incr, n);
    memcpy(block + first + 11 + n, "\r\n", 2);
    memcpy(block + first + 13 + n, rest.len > first ? rest.buf + first : "\r\n", left);
    js_hdr_edit_begin(out, block, first + 13 + n + left);
    js_hdr_edit_add(out, "Nats-Counter-Sources", g->sources, strlen(g->sources));
    js_hdr_edit_fini(&rest);
    base_free(block);
}

enum js_counter js_counter_from_source(struct js_copier *c, const struct brk_msg *m,
                                       struct brk_str stored_as, struct js_hdr_edit *out)
{
    struct js_headers h;
    struct msg last;
    js_headers_read(&h, m->hdr, m->hdr_len);
    char *value = js_hdr_has(&h, JS_HDR_INCR) ? js_counter_value(m->payload, m->payload_len) : NULL;
    if (value == NULL) {
        return JS_COUNTER_REFUSED; /* no counter's message */
    }
    enum st st = c->js->ops->last_msg(c->stream->ss, stored_as.p, (uint32_t)stored_as.n, &last);
    if (st == ST_AGAIN) {
        base_free(value);
        return JS_COUNTER_AGAIN;
    }
    struct growth g;
    measure(c->origin.name, m->subject, value, st == ST_OK ? &last : NULL, &g);
    set_headers(out, m, &g);
    base_free(g.incr);
    base_free(g.sources);
    base_free(value);
    return JS_COUNTER_OK;
}
