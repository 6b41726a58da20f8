/* Counters that come from sources (ADR-49): what is added is what the origin's number has grown by
 * since it was last heard of. `Nats-Counter-Sources` holds what each source's subjects stood at,
 * {"STREAM":{"subject":"7"}}, and goes from message to message of a subject. */
#include "broker/js_int.h"

#include <json-c/json.h>

#include "broker/bigdec.h"
#include "broker/js_copier.h"
#include "broker/json_in.h"
#include "engine/base/base.h"

/* A header's value is an object of objects of strings, null standing for none of them; an empty one
 * is as none. False: it is anything else. *all_out is owned by the caller; NULL: there is none. */
static bool parse_sources(struct brk_str text, struct json_object **all_out)
{
    struct json_in doc = {0};
    *all_out = NULL;
    if (text.n == 0) {
        return true;
    }
    if (json_in_parse(&doc, text.p, text.n, NULL) != ST_OK ||
        (doc.root != NULL && json_object_get_type(doc.root) != json_type_object)) {
        json_in_fini(&doc);
        return false;
    }
    bool fine = true;
    if (doc.root != NULL) {
        json_object_object_foreach(doc.root, name, of)
        {
            (void)name;
            fine = fine && (of == NULL || json_object_get_type(of) == json_type_object);
            if (!fine || of == NULL) {
                continue;
            }
            json_object_object_foreach(of, subject, value)
            {
                (void)subject;
                fine = fine && (value == NULL || json_object_get_type(value) == json_type_string);
            }
        }
    }
    *all_out = fine ? json_object_get(doc.root) : NULL;
    json_in_fini(&doc);
    return fine;
}

struct entry {
    const char *key;
    struct json_object *value;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

/* As Go writes maps: by name. */
static void put_map(struct json_out *j, struct json_object *o, bool of_maps)
{
    size_t n = 0;
    struct entry *all = base_calloc((size_t)json_object_object_length(o) + 1, sizeof *all);
    json_object_object_foreach(o, key, value)
    {
        all[n++] = (struct entry){key, value};
    }
    qsort(all, n, sizeof *all, by_key);
    json_out_begin(j);
    for (size_t i = 0; i < n; i++) {
        json_out_key_escaped(j, all[i].key, strlen(all[i].key));
        if (!of_maps) {
            const char *s = all[i].value != NULL ? json_object_get_string(all[i].value) : "";
            json_out_val_str(j, s, strlen(s));
        } else if (all[i].value != NULL) {
            put_map(j, all[i].value, false);
        } else {
            json_out_raw(j, "null", 4);
        }
    }
    json_out_end(j);
    base_free(all);
}

bool js_counter_sources_kept(struct brk_str text, struct json_out *out)
{
    struct json_object *all;
    if (!parse_sources(text, &all)) {
        return false;
    }
    if (all != NULL && json_object_object_length(all) > 0) {
        put_map(out, all, true);
    }
    json_object_put(all);
    return true;
}

/* The object of a header's value; a new one where there is none or it cannot be read. */
static struct json_object *read_sources(const struct msg *last)
{
    struct js_headers h;
    struct json_object *o = NULL;
    js_headers_read(&h, last != NULL ? last->hdr : NULL, last != NULL ? last->hdr_len : 0);
    if (js_hdr_has(&h, JS_HDR_COUNTER_SOURCES)) {
        (void)parse_sources(h.value[JS_HDR_COUNTER_SOURCES], &o);
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
    size_t sources_len;
};

/* What the message adds, and the header that says so afterwards. */
static void measure(const char *source, struct brk_str subject, const char *value,
                    const struct msg *last, struct growth *g)
{
    struct json_object *all = read_sources(last), *mine = of_source(all, source), *was = NULL;
    char *key = base_strndup(subject.p, subject.n);
    const char *before = "0";
    if (json_object_object_get_ex(mine, key, &was)) {
        const char *s = was != NULL ? json_object_get_string(was) : "0";
        before = bigdec_valid(s, strlen(s)) ? s : "0";
    }
    size_t n = strlen(value), m = strlen(before);
    g->incr = base_malloc((n > m ? n : m) + 4);
    g->incr[bigdec_sub(value, n, before, m, g->incr)] = '\0';
    json_object_object_add(mine, key, json_object_new_string(value));
    struct json_out j = {0};
    put_map(&j, all, true);
    g->sources = json_out_take(&j, &g->sources_len);
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
    js_hdr_edit_add(out, "Nats-Counter-Sources", g->sources, g->sources_len);
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
